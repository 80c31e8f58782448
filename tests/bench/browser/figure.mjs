// A figure and its limit, as medians of repeats that took turns.

export function median(values) {
  return percentile(values, 0.5);
}

export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const [low, high] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return low + (high - low) * (at - Math.floor(at));
}

/** `values` and `limits` are of the same repeats. */
export function figure(name, unit, values, limits, target) {
  if (values.length !== limits.length) throw new Error(`${name}: each repeat has its limit beside it`);
  const [value, limit] = [median(values), median(limits)];
  return { name, unit, value, limit, ratio: value / limit, target, n: values.length };
}

/** Fails unless what was timed was done. */
export function expectSame(what, found, expected) {
  if (JSON.stringify(found) !== JSON.stringify(expected)) {
    throw new Error(`${what}: ${JSON.stringify(found)} instead of ${JSON.stringify(expected)}`);
  }
}

/** Longer than this, and the page misses a frame. */
const FRAME_MS = 16;

/** The longest tasks of the main thread while a figure was measured. */
export function longestTask(id, longest) {
  const frames = longest.map(() => FRAME_MS);
  return figure(`${id} longest task of the main thread meanwhile; limit: a frame`, 'ms', longest, frames, 1.0);
}
