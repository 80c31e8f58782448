// Builds what Driftline ships. As a command: `node scripts/build.mjs [package] [www] [server]`, all when none is named.
//
// Cargo knows by itself what it must build again. The other steps are skipped when neither what they read nor what
// they made has changed since: a stamp file in target/stamps holds the hash of both.

import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { capture, ROOT, run, runAsCommand, runNpmBinary, say, TARGET_DIR, timed } from './run.mjs';
import { setup, wasmBindgenDir } from './setup.mjs';
import { shortenImports } from './shorten.mjs';

const STAMPS_DIR = join(TARGET_DIR, 'stamps');
const PACKAGE_DIR = join(ROOT, 'crates', 'driftline-client');
const PACKAGE_DIST = join(PACKAGE_DIR, 'dist');
const APP_DIR = join(ROOT, 'www');
const APP_DIST = join(APP_DIR, 'dist');

const PARTS = { package: buildPackage, www: buildApp, server: buildServer };

/** Builds the named parts, and installs first what building needs. */
export async function build(parts = Object.keys(PARTS)) {
  const unknown = parts.filter((part) => !Object.hasOwn(PARTS, part));
  if (unknown.length > 0) throw new Error(`build knows ${Object.keys(PARTS).join(', ')}; not ${unknown.join(', ')}`);
  await setup(['wasm']);
  // The app is built from the package, so that asking for the app asks for both.
  for (const part of Object.keys(PARTS)) {
    if (parts.includes(part) || (part === 'package' && parts.includes('www'))) await PARTS[part]();
  }
}

/** The npm package: the wasm engine and the TypeScript around it, held to its size budget. */
async function buildPackage() {
  // Imported here and not above, because these use npm packages, which `setup` has installed only now.
  const { readWasmRecord } = await import('./wasm-record.mjs');
  const { checkSizes } = await import('./size.mjs');
  const record = await readWasmRecord();
  await buildWasm(record);

  const wasmStamp = await readFile(join(STAMPS_DIR, 'wasm'), 'utf8');
  const inputs = async () => [
    wasmStamp,
    await hashTree(PACKAGE_DIR, ['dist', 'src', 'tests', 'node_modules']),
    await hashLock(),
  ];
  const outputs = () => hashTree(PACKAGE_DIST);
  await unlessFresh('package', inputs, outputs, async () => {
    // What an earlier build left would be published along with what this one makes.
    for (const name of await readdir(PACKAGE_DIST)) {
      if (!name.startsWith(record.outName)) await rm(join(PACKAGE_DIST, name), { recursive: true });
    }
    await timed('building the npm package', () => run('npm', ['run', '--silent', 'build', '-w', 'driftline']));
  });
  await checkSizes();
}

async function buildWasm(record) {
  const features = record.features.length > 0 ? ['--features', record.features.join(',')] : [];
  const target = ['--profile', record.profile, '--target', 'wasm32-unknown-unknown'];
  await requireRust(record.rust);
  const std = [`-Zbuild-std=${record.buildStd}`, `-Zbuild-std-features=${record.buildStdFeatures}`];
  await timed('compiling the engine to wasm', () =>
    run('cargo', ['build', ...target, '-p', record.crate, '--lib', ...features, ...std], {
      // The flags that make the standard library small are not stable yet, and stable compilers take them only so.
      env: { RUSTC_BOOTSTRAP: '1', RUSTFLAGS: record.rustFlags.join(' ') },
    }),
  );

  const fileName = `${record.crate.replaceAll('-', '_')}.wasm`;
  const compiled = join(TARGET_DIR, 'wasm32-unknown-unknown', record.profile, fileName);
  const shipped = join(record.outDir, `${record.outName}_bg.wasm`);
  const binDir = await wasmBindgenDir();
  const shortening = await hashFile(join(ROOT, 'scripts', 'shorten.mjs'));
  const inputs = async () => [await hashFile(compiled), JSON.stringify(record), binDir, await hashLock(), shortening];
  const outputs = async () =>
    [await hashFile(shipped), await hashFile(join(record.outDir, `${record.outName}.js`))].join();
  await unlessFresh('wasm', inputs, outputs, async () => {
    const placement = ['--target', record.target, '--out-dir', record.outDir, '--out-name', record.outName];
    await timed('writing the JavaScript around the wasm', () =>
      run(join(binDir, 'wasm-bindgen'), [compiled, ...placement]),
    );
    await timed('making the wasm small', async () => {
      await runNpmBinary('wasm-opt', [...record.wasmOptFlags, shipped, '-o', shipped]);
      const around = join(record.outDir, `${record.outName}.js`);
      const short = shortenImports(await readFile(shipped), await readFile(around, 'utf8'));
      await writeFile(shipped, short.wasm);
      await writeFile(around, short.javaScript);
    });
  });
}

/** The flags that make the wasm small are known to work from this version on. */
async function requireRust(oldest) {
  const version = (await capture('rustc', ['--version'])).match(/\d+\.\d+/)?.[0] ?? '';
  const [have, need] = [version, oldest].map((text) => text.split('.').map(Number));
  if (have[0] === need[0] && have[1] >= need[1]) return;
  throw new Error(
    `the package is built with Rust ${oldest} or later, and rustc is ${version}; run: rustup update stable`,
  );
}

/** The canvas app, as static files. */
async function buildApp() {
  const inputs = async () => [
    await hashTree(PACKAGE_DIST),
    await hashTree(APP_DIR, ['dist', 'node_modules']),
    await hashLock(),
  ];
  await unlessFresh(
    'www',
    inputs,
    () => hashTree(APP_DIST),
    () => timed('building the canvas app', () => run('npm', ['run', '--silent', 'build', '-w', 'www'])),
  );
}

/** The server's binary. */
async function buildServer() {
  await timed('building the server', () => run('cargo', ['build', '--release', '-p', 'driftline-server']));
}

/**
 * Does the work unless inputs and outputs are as the stamp says they were. The stamp is written after the work, so
 * that a build that failed or was interrupted is done again.
 */
async function unlessFresh(name, inputs, outputs, work) {
  const stampFile = join(STAMPS_DIR, name);
  const describe = async () => `inputs ${hash((await inputs()).join('\n'))}\noutputs ${await outputs()}\n`;
  const recorded = existsSync(stampFile) ? await readFile(stampFile, 'utf8') : '';
  if (recorded === (await describe())) {
    say(`${name} is up to date`);
    return;
  }
  await work();
  await mkdir(STAMPS_DIR, { recursive: true });
  await writeFile(stampFile, await describe());
}

function hash(bytes) {
  return createHash('sha256').update(bytes).digest('hex');
}

async function hashFile(path) {
  return existsSync(path) ? hash(await readFile(path)) : 'absent';
}

// What npm installed decides what the bundlers and compilers write.
function hashLock() {
  return hashFile(join(ROOT, 'package-lock.json'));
}

/** One hash over the names and contents of all files below a folder, except those in the folders to skip at its top. */
async function hashTree(folder, skip = []) {
  if (!existsSync(folder)) return 'absent';
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .filter((path) => !skip.includes(relative(folder, path).split('/')[0]))
    .sort();
  const lines = await Promise.all(files.map(async (path) => `${relative(folder, path)} ${await hashFile(path)}`));
  return hash(lines.join('\n'));
}

await runAsCommand(import.meta.url, (parts) => build(parts.length > 0 ? parts : undefined));
