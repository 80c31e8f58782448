// `npm run bench`: measures all, and writes what came out to docs/benchmarks.json and docs/benchmarks.md, with its plot.
// `npm run bench -- --only B3` takes the figures of that name, prints them, and writes nothing; `--json FILE` writes figures there as well.
// `npm run bench -- --peers [--only NAME]` measures Driftline and other engines at the same work in the same browser; all of them are
// written to docs/peers.json and docs/benchmarks.md.
// `npm run bench -- --instructions` counts the instructions of the core's hot paths, and writes docs/instructions.json.

import { copyFile, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from './build.mjs';
import { bars } from './plot.mjs';
import { capture, ROOT, run, runAsCommand, SERVER_BINARY, say, TARGET_DIR, timed } from './run.mjs';
import { setup } from './setup.mjs';

const DOCS = join(ROOT, 'docs');
const PEERS = join(ROOT, 'tests', 'bench', 'peers');
/** The size that was set as a limit for the package. */
const PACKAGE_BYTES = 136 * 1024;

const OPTIONS = {
  only: { type: 'string' },
  json: { type: 'string' },
  peers: { type: 'boolean', default: false },
  instructions: { type: 'boolean', default: false },
};

await runAsCommand(import.meta.url, async (args) => {
  const { only, json, peers, instructions } = parseArgs({ args, options: OPTIONS }).values;
  if (instructions) return benchInstructions();
  const needsPostgres = !peers && (only === undefined || only === 'B9');
  await setup(['browser', ...(needsPostgres ? ['postgres'] : [])]);
  if (needsPostgres) await buildForPostgres();
  await build(['package', 'server']);
  await run('cargo', ['build', '--release', '-p', 'driftline-bench']);
  const results = peers ? await benchPeers(only) : await benchLimits(only);
  if (json !== undefined) await writeFile(json, `${JSON.stringify(results, null, 2)}\n`);
});

/** What is held against a limit: the figures of that name, or all. */
async function benchLimits(only) {
  const native = join(TARGET_DIR, 'release', 'driftline-bench');
  const figures = JSON.parse(await capture(native, only === undefined ? [] : ['--only', only]));
  // Imported here and not above, because they use npm packages, which are installed only now.
  const { measure } = await import('../tests/bench/browser/measure.mjs');
  figures.push(...(await measure(only)));
  if (only === undefined || only === 'B17') figures.push(await shippedSize());
  const number = ({ name }) => Number(/^B(\d+)/.exec(name)?.[1] ?? Infinity);
  figures.sort((a, b) => number(a) - number(b));
  console.log(table(figures));
  if (figures.length === 0) throw new Error(`no figure is called ${only}`);
  if (only === undefined) await writeFigures(figures);
  return figures;
}

async function shippedSize() {
  const { checkSizes } = await import('./size.mjs');
  const value = (await checkSizes()).rows.at(-1).brotli;
  const name = 'B17 bytes shipped after brotli, wasm and JavaScript; limit: 136 KiB';
  return { name, unit: 'bytes', value, limit: PACKAGE_BYTES, ratio: value / PACKAGE_BYTES, target: 1, n: 1 };
}

async function writeFigures(figures) {
  await writeFile(join(DOCS, 'benchmarks.json'), `${JSON.stringify(figures, null, 2)}\n`);
  await writePart('figures', `${await machine()}\n\n${table(figures)}`);
  const shown = {
    'B2 one awaited edit, p50': 'an edit until it is on the disk',
    'B3 cold open': 'opening all rows, offline',
    'B11 edit seen on another device, p50': 'an edit until another device shows it',
    'B4 drain': '10,000 edits, until the server has them',
  };
  const rows = Object.entries(shown).map(([begins, label]) => {
    const { ratio } = figures.find(({ name }) => name.startsWith(begins));
    return { label, value: ratio, text: `${ratio.toFixed(1)}×` };
  });
  const title = 'Time, as a multiple of the least that disk, network and database need (dashed)';
  await writeFile(join(DOCS, 'limits.svg'), bars({ title, rows, limit: 1 }));
}

/** Measures the engines whose names begin so, and prints their table. */
async function benchPeers(only) {
  await peersPackages();
  const { measurePeers, peersTable, PLOTTED } = await import('../tests/bench/peers/peers.mjs');
  const results = await measurePeers(only);
  console.log(peersTable(results));
  if (only !== undefined) return results;
  await writeFile(join(DOCS, 'peers.json'), `${JSON.stringify(results, null, 2)}\n`);
  await writePart('peers', `${await machine()}\n\n${peersTable(results)}`);
  for (const [file, figures, title] of PLOTTED) {
    const best = new Map();
    for (const { peer, value } of results.filter(({ figure }) => figures.includes(figure))) {
      best.set(peer, Math.min(value, best.get(peer) ?? Infinity));
    }
    const rows = [...best]
      .sort((a, b) => a[1] - b[1])
      .map(([label, value]) => ({ label, value, text: `${Math.round(value)} ms`, ours: label === 'Driftline' }));
    await writeFile(join(DOCS, file), bars({ title, rows }));
  }
  return results;
}

/** Instructions do not depend on what else the machine does, so that a small loss shows. */
async function benchInstructions() {
  await setup(['valgrind']);
  await run('cargo', ['build', '--release', '-p', 'driftline-bench', '--bin', 'hot-paths']);
  const binary = join(TARGET_DIR, 'release', 'hot-paths');
  const file = join(DOCS, 'instructions.json');
  const before = JSON.parse(await readFile(file, 'utf8').catch(() => '{}'));
  const counts = {};
  for (const name of (await capture(binary, [])).trim().split('\n')) {
    const out = join(tmpdir(), `driftline-${process.pid}.callgrind`);
    const args = [
      '--tool=callgrind',
      `--callgrind-out-file=${out}`,
      '--toggle-collect=*hot_paths::counted*',
      binary,
      name,
    ];
    await capture('valgrind', ['--quiet', ...args]);
    const [, total] = /^(?:summary|totals): (\d+)/m.exec(await readFile(out, 'utf8'));
    await rm(out);
    counts[name] = Number(total);
    const change =
      before[name] === undefined ? '' : ` (${((100 * total) / before[name] - 100).toFixed(2)} % more than recorded)`;
    say(`${name}: ${total} instructions${change}`);
  }
  await writeFile(file, `${JSON.stringify(counts, null, 2)}\n`);
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

/** Puts a text between two marks of the page. */
async function writePart(name, text) {
  const page = join(DOCS, 'benchmarks.md');
  const [begin, end] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`];
  const before = await readFile(page, 'utf8');
  const [head, tail] = [before.slice(0, before.indexOf(begin) + begin.length), before.slice(before.indexOf(end))];
  await writeFile(page, `${head}\n\n${text}\n\n${tail}`);
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
    return `| ${name} | ${round(value)} ${unit} | ${round(limit)} ${unit} | ${ratio.toFixed(2)} | ${target?.toFixed(1) ?? '–'} | ${n} |`;
  });
  return ['| figure; its limit | value | limit | ratio | target | n |', '|---|---|---|---|---|---|', ...rows].join(
    '\n',
  );
}
