// Installs what the other scripts need and a machine with Rust (rustup), Node and apt may lack.
// Idempotent: what is there already is left alone and costs nothing. As a command: `node scripts/setup.mjs [wasm] [browser] [engines] [deny] [postgres] [valgrind]`.

import { existsSync } from 'node:fs';
import { readFile, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { capture, ROOT, run, runAsCommand, timed } from './run.mjs';

// Tools live outside the repository, by version, so that a fresh clone finds what an earlier one built.
const TOOLS_DIR = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'driftline', 'tools');
const CARGO_DENY_VERSION = '0.20.2';
const GECKODRIVER_VERSION = '0.37.1';
const CARGO_MUTANTS_VERSION = '27.1.0';

// Where Debian puts what a program loads.
const LIBRARIES = join('/usr/lib', `${{ x64: 'x86_64', arm64: 'aarch64' }[process.arch]}-linux-gnu`);

/** The Debian packages the browser tests need, each with the program, or the file, that shows that it is there. */
const BROWSER_PACKAGES = {
  chromium: 'chromium',
  'chromium-driver': 'chromedriver',
  sqlite3: 'sqlite3',
  strace: 'strace',
};
const ENGINE_PACKAGES = {
  'firefox-esr': 'firefox-esr',
  'webkit2gtk-driver': 'WebKitWebDriver',
  'gir1.2-webkit2-4.1': join(LIBRARIES, 'girepository-1.0', 'WebKit2-4.1.typelib'),
  gjs: 'gjs',
  xvfb: 'Xvfb',
};

/** PostgreSQL. The tests start one of their own; the one that Debian may start is left alone. */
const POSTGRES_PACKAGES = { postgresql: 'pg_ctlcluster', openssl: 'openssl' };

const VALGRIND_PACKAGES = { valgrind: 'valgrind' };

const PARTS = {
  /** The wasm target, the standard library's source, the wasm-bindgen tools and the npm packages: what a build needs. */
  async wasm() {
    await rustupHas('target', 'wasm32-unknown-unknown');
    await rustupHas('component', 'rust-src');
    await wasmBindgenDir();
    await npmPackages();
  },
  /** Chromium, its driver, sqlite3 to read the server's database with, and strace to see what reaches the disk. */
  async browser() {
    await npmPackages();
    await aptPackages(BROWSER_PACKAGES);
  },
  /** Firefox, WebKitGTK and what drives them: gjs runs the tests' own window around WebKitGTK, Xvfb is the display that it draws on. */
  async engines() {
    await aptPackages(ENGINE_PACKAGES);
    await geckodriver();
  },
  /** PostgreSQL, for the server's tests on it. */
  async postgres() {
    await aptPackages(POSTGRES_PACKAGES);
  },
  /** valgrind, which counts instructions. */
  async valgrind() {
    await aptPackages(VALGRIND_PACKAGES);
  },
  /** rustfmt, clippy and cargo-deny: what the checks need. */
  async deny() {
    await rustupHas('component', 'rustfmt');
    await rustupHas('component', 'clippy');
    await cargoDeny();
  },
};

/** Installs what is missing of the named parts; all of them when none is named. */
export async function setup(parts = Object.keys(PARTS)) {
  for (const part of parts) {
    if (!Object.hasOwn(PARTS, part)) throw new Error(`setup knows ${Object.keys(PARTS).join(', ')}; not ${part}`);
    await PARTS[part]();
  }
}

/** The folder of the wasm-bindgen programs at the version of the wasm-bindgen crate; installs them if need be. */
export async function wasmBindgenDir() {
  const version = await wasmBindgenVersion();
  return await cargoTool('wasm-bindgen-cli', version, `wasm-bindgen-${version}`, [
    'wasm-bindgen',
    'wasm-bindgen-test-runner',
  ]);
}

/** The path of cargo-deny; installs it if need be. */
export async function cargoDeny() {
  const name = `cargo-deny-${CARGO_DENY_VERSION}`;
  return join(await cargoTool('cargo-deny', CARGO_DENY_VERSION, name, ['cargo-deny']), 'cargo-deny');
}

/** The path of geckodriver, which Debian does not have; installs it if need be. */
export async function geckodriver() {
  const name = `geckodriver-${GECKODRIVER_VERSION}`;
  return join(await cargoTool('geckodriver', GECKODRIVER_VERSION, name, ['geckodriver']), 'geckodriver');
}

/** The path of cargo-mutants; installs it if need be. */
export async function cargoMutants() {
  const name = `cargo-mutants-${CARGO_MUTANTS_VERSION}`;
  return join(await cargoTool('cargo-mutants', CARGO_MUTANTS_VERSION, name, ['cargo-mutants']), 'cargo-mutants');
}

// The module that the crate writes and the program that reads it must match exactly, so the version has one source.
async function wasmBindgenVersion() {
  const lock = await readFile(join(ROOT, 'Cargo.lock'), 'utf8');
  const version = lock.match(/^name = "wasm-bindgen"\nversion = "([^"]+)"/m)?.[1];
  if (version === undefined)
    throw new Error('Cargo.lock names no wasm-bindgen, so its programs cannot be matched to it');
  return version;
}

// A debug build takes half as long to make and does the same. Without --locked: a tool's lock file may name versions
// that are no longer to be had.
async function cargoTool(crate, version, folder, binaries) {
  const root = join(TOOLS_DIR, folder);
  const bin = join(root, 'bin');
  if (binaries.every((binary) => existsSync(join(bin, binary)))) return bin;
  const targetDir = join(TOOLS_DIR, `.build-${folder}-${process.pid}`);
  try {
    await timed(`installing ${crate} ${version} into ${root} (a few minutes, once)`, () =>
      run('cargo', ['install', '--quiet', '--debug', '--force', `${crate}@${version}`, '--root', root], {
        env: { CARGO_TARGET_DIR: targetDir },
      }),
    );
  } finally {
    await rm(targetDir, { recursive: true, force: true });
  }
  return bin;
}

// rustup lists a component with the host's name behind it, a target without.
async function rustupHas(kind, name) {
  const installed = (await capture('rustup', [kind, 'list', '--installed'])).split('\n');
  if (installed.some((line) => line === name || line.startsWith(`${name}-`))) return;
  await timed(`installing the Rust ${kind} ${name}`, () => run('rustup', [kind, 'add', name]));
}

async function npmPackages() {
  const modifiedAt = async (path) => (await stat(join(ROOT, path)).catch(() => undefined))?.mtimeMs;
  const installed = await modifiedAt('node_modules/.package-lock.json');
  if (installed !== undefined && installed >= (await modifiedAt('package-lock.json'))) return;
  await timed('installing the npm packages', () => run('npm', ['ci', '--loglevel=error']));
}

async function aptPackages(marks) {
  const missing = Object.keys(marks).filter((name) => !existsSync(resolve('/usr/bin', marks[name])));
  if (missing.length === 0) return;
  const install = ['install', '-y', '--no-install-recommends', ...missing];
  const byHand = `the tests need ${missing.join(', ')}; run: sudo apt-get update && sudo apt-get ${install.join(' ')}`;
  if (!existsSync('/usr/bin/apt-get')) throw new Error(byHand);
  const isRoot = process.getuid?.() === 0;
  if (!isRoot && !existsSync('/usr/bin/sudo')) throw new Error(byHand);
  const aptGet = (args) => (isRoot ? run('apt-get', args) : run('sudo', ['apt-get', ...args]));
  await timed(`installing ${missing.join(', ')} by apt`, async () => {
    await aptGet(['-qq', 'update']);
    await aptGet(['-qq', ...install]);
  });
}

await runAsCommand(import.meta.url, (parts) => setup(parts.length > 0 ? parts : undefined));
