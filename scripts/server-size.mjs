// What the default server is made of: its crates, and the bytes of its binary without debug information. Both have a budget, so that
// what not everyone needs becomes a cargo feature and not a habit.

import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { capture, run, runAsCommand, TARGET_DIR } from './run.mjs';

const CRATES = 170;
const BINARY_MIB = 11;

await runAsCommand(import.meta.url, async () => {
  const tree = await capture('cargo', [
    'tree',
    '-p',
    'driftline-server',
    '-e',
    'normal',
    '--prefix',
    'none',
    '--no-dedupe',
  ]);
  const crates = new Set(
    tree
      .split('\n')
      .flatMap((line) => line.split(' ').slice(0, 1))
      .filter(Boolean),
  );
  const folder = await mkdtemp(join(tmpdir(), 'driftline-size-'));
  const stripped = join(folder, 'driftline');
  await run('strip', ['-o', stripped, join(TARGET_DIR, 'release', 'driftline')]);
  const mib = (await stat(stripped)).size / 2 ** 20;
  await rm(folder, { recursive: true });
  console.log(
    `the default server: ${crates.size} crates of ${CRATES}, ${mib.toFixed(1)} MiB of ${BINARY_MIB} without debug information`,
  );
  if (crates.size > CRATES || mib > BINARY_MIB) {
    throw new Error('the default server is over its budget: make what not everyone needs a cargo feature');
  }
});
