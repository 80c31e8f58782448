/** Sizes and times as people say them. */

const UNITS = ['bytes', 'KB', 'MB', 'GB'];

export function sizeWords(bytes: number): string {
  const step = bytes < 1000 ? 0 : Math.min(Math.floor(Math.log10(bytes) / 3), UNITS.length - 1);
  const value = bytes / 1000 ** step;
  return `${value.toLocaleString('en', { maximumFractionDigits: value < 10 && step > 0 ? 1 : 0 })} ${UNITS[step]}`;
}

const STEPS: readonly [seconds: number, unit: Intl.RelativeTimeFormatUnit][] = [
  [86_400, 'day'],
  [3_600, 'hour'],
  [60, 'minute'],
];
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });

/** `yesterday`, `3 hours ago`; further back than a month the date. */
export function agoWords(atMs: number, nowMs = Date.now()): string {
  const seconds = Math.max(0, (nowMs - atMs) / 1000);
  if (seconds < 60) return 'just now';
  if (seconds > 30 * 86_400) return new Date(atMs).toLocaleDateString('en', { dateStyle: 'medium' });
  const [size, unit] = STEPS.find(([size]) => seconds >= size) ?? [60, 'minute'];
  return relative.format(-Math.floor(seconds / size), unit);
}

export function momentWords(atMs: number): string {
  return new Date(atMs).toLocaleString('en', { dateStyle: 'medium', timeStyle: 'short' });
}
