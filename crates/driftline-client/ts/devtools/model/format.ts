/** Numbers, times and names as they are shown. */

import type { OutboxEntry } from '../../status.js';

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/** `0 B`, `980 B`, `1.2 kB`, `48 MB`. */
export function bytes(count: number): string {
  let [value, unit] = [count, 0];
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}

/** `4 ms`, `1.2 s`, `48 s`, `3 min`, `2 h`. */
export function duration(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  if (s < 119.5) return `${Math.round(s)} s`;
  return s < 7_170 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`;
}

/** The wall's time, to the second. */
export function time(ms: number): string {
  const at = new Date(ms);
  return [at.getHours(), at.getMinutes(), at.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':');
}

export function date(ms: number): string {
  return new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' }).format(ms);
}

export const plural = (count: number, one: string, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** The client's last digits and the number: enough to tell keys apart by eye. */
export function shortKey(key: string): string {
  const [client = '', seq = ''] = key.split(':');
  return `${client.slice(-4)}:${seq}`;
}

export const shortId = (id: string) => (id.length > 8 ? `…${id.slice(-6)}` : id);

/** What a transaction does, in a few words: `create card`, `update card +2`. */
export function describe({ edits }: Pick<OutboxEntry, 'edits'>): string {
  const [first] = edits;
  if (!first) return 'no edit';
  return `${first.op} ${first.table}${edits.length > 1 ? ` +${edits.length - 1}` : ''}`;
}
