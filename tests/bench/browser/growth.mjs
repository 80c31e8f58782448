// B16: how B1, B3, B4 and B5 grow with the work.

import { figure } from './figure.mjs';
import { b3, b4, b5 } from './syncing.mjs';
import { b1 } from './writing.mjs';

const MEASURED = { B1: b1, B3: b3, B4: b4, B5: b5 };
/** Transactions of 100 edits each. */
const SIZES = [10, 100, 1_000];

export async function b16(stage, repeats) {
  const figures = [];
  for (const [name, run] of Object.entries(MEASURED)) {
    const times = new Map(SIZES.map((size) => [size, []]));
    for (let i = 0; i < repeats; i++) {
      for (const size of SIZES) {
        const [{ value }] = await run(stage, 1, size);
        times.get(size).push(value);
      }
    }
    const [small, middle, large] = SIZES.map((size) => times.get(size));
    const perEdit = (list, transactions) => list.map((ms) => (ms * 1e3) / (transactions * 100));
    figures.push(
      figure(
        `B16 ${name} with 100,000 edits, per edit; limit: with 10,000`,
        'µs',
        perEdit(large, SIZES[2]),
        perEdit(middle, SIZES[1]),
        1.5,
      ),
      figure(`B16 ${name} with 1,000 edits; limit: with 10,000`, 'ms', small, middle, 0.4),
    );
  }
  return figures;
}
