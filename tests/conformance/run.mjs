// Checks a server against the protocol: node tests/conformance/run.mjs URL [--token T] [--only NAME] [--level core|all]
//
// The server serves `schema.json` of this folder. Each vector works in a space of its own, with a name made at random. It prints a
// line for each, and exits with 1 if any fails. Only Node's own modules.

import { parseArgs } from 'node:util';
import { ServerUnderTest } from './kit/server.mjs';
import { play, readVectors } from './kit/vectors.mjs';

const USAGE = 'usage: node tests/conformance/run.mjs URL [--token T] [--only NAME] [--level core|all]';

function readArguments() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { token: { type: 'string' }, only: { type: 'string' }, level: { type: 'string', default: 'all' } },
  });
  if (positionals.length !== 1 || !['core', 'all'].includes(values.level)) throw new Error(USAGE);
  return { ...values, url: positionals[0] };
}

async function main() {
  const { url, token, only, level } = readArguments();
  const vectors = readVectors({ level, only });
  if (vectors.length === 0) throw new Error(`there is no vector ${only ?? ''} of level ${level}`);
  const server = new ServerUnderTest(url, token);
  const count = { ok: 0, skip: 0, FAIL: 0 };
  for (const vector of vectors) {
    const [result, why] = await play(vector, server).then(
      (skipped) => (skipped === undefined ? ['ok', ''] : ['skip', ` (${skipped})`]),
      (error) => ['FAIL', `\n     ${vector.rule}\n     ${error.message}`],
    );
    count[result] += 1;
    console.log(`${result.padEnd(4)} ${vector.name}${why}`);
  }
  console.log(`${count.ok} passed, ${count.FAIL} failed, ${count.skip} skipped`);
  if (count.FAIL > 0) process.exitCode = 1;
}

await main().catch((error) => {
  console.error(error.message);
  process.exitCode = 2;
});
