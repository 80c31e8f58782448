/** Exponential back-off with full jitter (Marc Brooker, “Exponential Backoff and Jitter”): a random part of twice as long each time, up to a cap. */
export function backOffMs(failures: number, baseMs: number, capMs: number, random: () => number = Math.random): number {
  return random() * Math.min(capMs, baseMs * 2 ** failures);
}
