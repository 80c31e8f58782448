// Sets of numbers as ascending, disjoint, inclusive ranges. A gap stays a gap.

export const holds = (ranges, number) => ranges.some(([from, to]) => from <= number && number <= to);

/** The ranges with another among them; neighbours are joined. */
export function addRange(ranges, [from, to]) {
  const apart = ranges.filter(([first, last]) => last + 1 < from || to + 1 < first);
  const joined = ranges.filter((range) => !apart.includes(range));
  const all = [...joined, [from, to]];
  const range = [Math.min(...all.map(([first]) => first)), Math.max(...all.map(([, last]) => last))];
  return [...apart, range].sort(([a], [b]) => a - b);
}
