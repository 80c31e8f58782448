/** How a person is shown to the others: a name and a colour, kept on this device. */

import { keep, kept } from '../states/kept.js';

export interface Me {
  /** Empty: a guest. */
  readonly name: string;
  /** One of `PALETTE`. */
  readonly color: number;
}

export const NAME_CHARS_MAX = 40;
export const PALETTE = ['Red', 'Orange', 'Ochre', 'Green', 'Teal', 'Blue', 'Violet', 'Pink'] as const;

export const colorOf = (color: number) => `var(--person-${color})`;
export const nameOf = ({ name }: Me) => name.trim() || 'Guest';

export function initialsOf(me: Me): string {
  const words = nameOf(me).split(/\s+/);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]];
  return letters
    .map((word) => [...(word ?? '')][0] ?? '')
    .join('')
    .toUpperCase();
}

export function readMe(): Me {
  const known = meOf(kept('me'));
  if (known) return known;
  const me = { name: '', color: Math.floor(Math.random() * PALETTE.length) };
  keep('me', me);
  return me;
}

export function keepMe(me: Me): void {
  keep('me', me);
}

/** Of whatever somebody says of themselves, what is one: nothing else of theirs reaches the page. */
export function meOf(said: unknown): Me | undefined {
  const { name, color } = (said ?? {}) as { name?: unknown; color?: unknown };
  if (typeof name !== 'string' || typeof color !== 'number') return undefined;
  return { name: name.slice(0, NAME_CHARS_MAX), color: PALETTE[color] ? color : 0 };
}
