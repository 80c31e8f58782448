// What is measured in a browser. `node tests/bench/browser/measure.mjs [NAME]` prints the figures of that name.

import { b11, b15, b18 } from './living.mjs';
import { startStage } from './stage.mjs';
import { b3, b4, b5 } from './syncing.mjs';
import { b1, b2, b6 } from './writing.mjs';

const REPEATS = 5;
const FIGURES = { B1: b1, B2: b2, B3: b3, B4: b4, B5: b5, B6: b6, B11: b11, B15: b15, B18: b18 };

export async function measure(only = '', repeats = REPEATS) {
  const stage = await startStage();
  const figures = [];
  try {
    for (const [name, run] of Object.entries(FIGURES)) {
      if (only !== '' && name !== only) continue;
      process.stderr.write(`${name} …\n`);
      figures.push(...(await run(stage, repeats)));
    }
  } finally {
    await stage.stop();
  }
  return figures;
}

if (import.meta.url === `file://${process.argv[1]}`) {
  const figures = await measure(process.argv[2], Number(process.argv[3] ?? REPEATS));
  for (const { name, value, limit, ratio, target, unit } of figures) {
    console.log(
      `${ratio.toFixed(2)} (${target ?? '–'})  ${value.toPrecision(3)} / ${limit.toPrecision(3)} ${unit}  ${name}`,
    );
  }
}
