// What is measured in a browser.

import { b16 } from './growth.mjs';
import { b11, b15, b18 } from './living.mjs';
import { startStage } from './stage.mjs';
import { b3, b4, b5 } from './syncing.mjs';
import { b1, b2, b6 } from './writing.mjs';

const REPEATS = 5;
const FIGURES = { B1: b1, B2: b2, B3: b3, B4: b4, B5: b5, B6: b6, B11: b11, B15: b15, B16: b16, B18: b18 };

/** The figures of that name, or all. */
export async function measure(only, repeats = REPEATS) {
  const wanted = Object.entries(FIGURES).filter(([name]) => only === undefined || name === only);
  if (wanted.length === 0) return [];
  const stage = await startStage();
  const figures = [];
  try {
    for (const [name, run] of wanted) {
      process.stderr.write(`${name} …\n`);
      figures.push(...(await run(stage, repeats)));
    }
  } finally {
    await stage.stop();
  }
  return figures;
}
