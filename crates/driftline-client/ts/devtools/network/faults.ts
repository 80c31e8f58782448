/** What goes wrong on purpose: what is set, and what that means for a request. */

export type FaultKind = 'any' | 'unavailable' | 'silent' | 'lost';

export interface Faults {
  readonly offline: boolean;
  /** Each request waits so long before it goes. */
  readonly latencyMs: number;
  /** Of a hundred requests so many fail, by chance. */
  readonly failPercent: number;
  readonly failKind: FaultKind;
}

export const NO_FAULTS: Faults = { offline: false, latencyMs: 0, failPercent: 0, failKind: 'any' };

export const FAULT_WORDS: Readonly<Record<FaultKind, string>> = {
  any: 'any of these',
  unavailable: 'answered 503',
  silent: 'no answer',
  lost: 'answer lost',
};

export const isOn = ({ offline, latencyMs, failPercent }: Faults) => offline || latencyMs > 0 || failPercent > 0;

/** In a few words, for all to see. */
export function faultWords({ offline, latencyMs, failPercent, failKind }: Faults): string {
  const slow = latencyMs > 0 ? `+${latencyMs} ms` : '';
  const kind = failKind === 'any' ? 'fail' : FAULT_WORDS[failKind];
  const fails = failPercent > 0 ? `${failPercent} % ${kind}` : '';
  return [offline ? 'offline' : '', slow, fails].filter(Boolean).join(' · ');
}

const KINDS: readonly FaultKind[] = ['unavailable', 'silent', 'lost'];

/** What is to become of a request; `random` is from 0 up to, but not, 1. */
export function drawFault({ failPercent, failKind }: Faults, random: () => number): FaultKind | null {
  if (random() * 100 >= failPercent) return null;
  return failKind === 'any' ? (KINDS[Math.floor(random() * KINDS.length)] ?? 'unavailable') : failKind;
}
