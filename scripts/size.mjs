// What an app ships for Driftline: the package's wasm, and its JavaScript as a bundler would minify it.
// Prints raw, gzip and brotli bytes of each file and holds their sum against the budget in wasm-pack.toml.

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { ROOT, runAsCommand } from './run.mjs';
import { readWasmRecord } from './wasm-record.mjs';

const PACKAGE_DIR = join(ROOT, 'crates', 'driftline-client');

/** Throws if the package is over its budget, naming both figures. Returns the rows and the sum. */
export async function checkSizes() {
  const { budgetBrotliBytes } = await readWasmRecord();
  const rows = [];
  for (const { name, bytes } of await shippedFiles()) rows.push({ name, ...compressedSizes(bytes) });
  const sum = (key) => rows.reduce((total, row) => total + row[key], 0);
  const total = { name: 'total', raw: sum('raw'), gzip: sum('gzip'), brotli: sum('brotli') };
  if (total.brotli > budgetBrotliBytes) {
    printSizes([...rows, total], budgetBrotliBytes);
    throw new Error(`the package is ${total.brotli} bytes after brotli; its budget is ${budgetBrotliBytes}`);
  }
  return { rows: [...rows, total], budgetBrotliBytes };
}

async function shippedFiles() {
  const dist = join(PACKAGE_DIR, 'dist');
  const wasmNames = (await readdir(dist)).filter((name) => name.endsWith('.wasm')).sort();
  const wasm = await Promise.all(wasmNames.map(async (name) => ({ name, bytes: await readFile(join(dist, name)) })));
  if (wasm.length === 0) throw new Error(`${dist} holds no wasm: run \`npm run build\``);
  return [...wasm, ...(await minifiedJavaScript())];
}

// The package's own files are readable; what a user downloads went through a bundler.
async function minifiedJavaScript() {
  const manifest = JSON.parse(await readFile(join(PACKAGE_DIR, 'package.json'), 'utf8'));
  const entry = entryOf(manifest.exports?.['.'] ?? manifest.exports ?? manifest.main);
  const { outputFiles } = await build({
    entryPoints: [join(PACKAGE_DIR, entry)],
    bundle: true,
    minify: true,
    splitting: true,
    format: 'esm',
    target: 'es2022',
    outdir: 'memory',
    write: false,
    logLevel: 'error',
  });
  return outputFiles.map((file) => ({ name: `${file.path.split('/').pop()} (minified)`, bytes: file.contents }));
}

function entryOf(target) {
  if (typeof target === 'string') return target;
  const condition = target?.browser ?? target?.import ?? target?.default;
  if (condition === undefined) throw new Error('the package names no JavaScript entry in `exports`');
  return entryOf(condition);
}

function compressedSizes(bytes) {
  const params = { [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
  return {
    raw: bytes.length,
    gzip: gzipSync(bytes, { level: 9 }).length,
    brotli: brotliCompressSync(bytes, { params }).length,
  };
}

function printSizes(rows, budgetBrotliBytes) {
  const nameWidth = Math.max(...rows.map((row) => row.name.length));
  const line = (name, ...cells) =>
    console.log([name.padEnd(nameWidth), ...cells.map((cell) => String(cell).padStart(9))].join('  '));
  line('bytes', 'raw', 'gzip', 'brotli');
  for (const row of rows) line(row.name, row.raw, row.gzip, row.brotli);
  const { brotli } = rows[rows.length - 1];
  console.log(
    `budget: ${brotli} of ${budgetBrotliBytes} bytes after brotli (${((100 * brotli) / budgetBrotliBytes).toFixed(1)}%)`,
  );
}

await runAsCommand(import.meta.url, async () => {
  const { rows, budgetBrotliBytes } = await checkSizes();
  printSizes(rows, budgetBrotliBytes);
});
