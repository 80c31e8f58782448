// `npm run bench`: measures, and writes what came out to docs/benchmarks.json and docs/benchmarks.md.
// `npm run bench -- NAME` takes the figures whose names begin so, prints them, and writes nothing.
// `npm run bench -- --peers [NAME]` prints what Driftline and other engines take for the same work in the same browser.

import { copyFile, readFile, stat, writeFile } from 'node:fs/promises';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { build } from './build.mjs';
import { capture, ROOT, run, runAsCommand, SERVER_BINARY, say, TARGET_DIR, timed } from './run.mjs';
import { setup } from './setup.mjs';

const DOCS = join(ROOT, 'docs');
const PEERS = join(ROOT, 'tests', 'bench', 'peers');

await runAsCommand(import.meta.url, async ([only, name]) => {
  if (only === '--peers') {
    await benchPeers(name);
    return;
  }
  if ('postgres'.startsWith(only ?? '')) await buildForPostgres();
  await run('cargo', ['build', '--release', '-p', 'driftline-server', '-p', 'driftline-bench']);
  const native = join(TARGET_DIR, 'release', 'driftline-bench');
  const figures = JSON.parse(await capture(native, only === undefined ? [] : ['--only', only]));
  console.log(table(figures));
  if (only !== undefined) return;
  await writeFile(join(DOCS, 'benchmarks.json'), `${JSON.stringify(figures, null, 2)}\n`);
  const page = join(DOCS, 'benchmarks.md');
  const [before, after] = split(await readFile(page, 'utf8'));
  await writeFile(page, `${before}\n\n${await machine()}\n\n${table(figures)}\n\n${after}`);
});

/** Measures the engines whose names begin so, prints their table, and returns what it is made of. */
async function benchPeers(only) {
  await setup(['browser']);
  await build(['package', 'server']);
  await run('cargo', ['build', '--release', '-p', 'driftline-bench']);
  await peersPackages();
  // Imported here and not above, because it uses npm packages, which are installed only now.
  const { measurePeers, peersTable } = await import('../tests/bench/peers/peers.mjs');
  const results = await measurePeers(only);
  console.log(peersTable(results));
  return results;
}

/** The peers have a lock file of their own: nobody needs them but this. */
async function peersPackages() {
  const modifiedAt = async (path) => (await stat(join(PEERS, path)).catch(() => undefined))?.mtimeMs;
  const installed = await modifiedAt('node_modules/.package-lock.json');
  if (installed !== undefined && installed >= (await modifiedAt('package-lock.json'))) {
    say('the npm packages of the peers are up to date');
    return;
  }
  const install = ['ci', '--ignore-scripts', '--loglevel=error'];
  await timed('installing the npm packages of the peers', () => run('npm', install, { cwd: PEERS }));
}

/** The server that knows PostgreSQL, beside the one that does not: all but its own figures are of what is built by default. */
async function buildForPostgres() {
  await run('cargo', ['build', '--release', '-p', 'driftline-server', '--features', 'postgres']);
  await copyFile(SERVER_BINARY, `${SERVER_BINARY}-postgres`);
}

/** What stands around the figures. */
function split(text) {
  const [begin, end] = ['<!-- figures -->', '<!-- end of figures -->'];
  return [text.slice(0, text.indexOf(begin) + begin.length), text.slice(text.indexOf(end))];
}

async function machine() {
  const rust = (await capture('rustc', ['--version'])).split(' ')[1];
  const [cpu] = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  return `Measured on ${cpus().length} cores of ${cpu.model.trim()}, ${memory} GiB, Linux ${release()}, Rust ${rust}, Node ${process.version}.`;
}

function table(figures) {
  const round = (value) => Number(value.toPrecision(3)).toString();
  const rows = figures.map((figure) => {
    const { name, unit, value, limit, ratio, target, n } = figure;
    return `| ${name} | ${round(value)} ${unit} | ${round(limit)} ${unit} | ${ratio.toFixed(2)} | ${target.toFixed(1)} | ${n} |`;
  });
  return ['| figure; its limit | value | limit | ratio | target | n |', '|---|---|---|---|---|---|', ...rows].join(
    '\n',
  );
}
