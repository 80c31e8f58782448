// The package as npm would publish it, installed into apps that stand outside the repository, where nothing of the repository can
// be found by accident.
//
//   const folder = await installApp('vite');
//   await runIn(folder, 'npm', ['run', 'build']);
//
// What an app needs beside the package is kept from run to run, in a folder named by the hash of its lock file. Apps are built in
// these folders, so one process at a time may use them: run the tests with `--test-concurrency=1`.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ROOT, tempDir } from '../browser/harness.mjs';

const APPS = join(ROOT, 'tests', 'package', 'apps');
const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'driftline-package-tests');
const COMMAND_TIMEOUT_MS = 300_000;

const execute = promisify(execFile);

let packing;

/** Runs a program in a folder and returns what it printed. What it printed is in the error, too, where it fails. */
export async function runIn(folder, program, args, { env = {} } = {}) {
  const options = {
    cwd: folder,
    env: { ...process.env, ...env },
    timeout: COMMAND_TIMEOUT_MS,
    maxBuffer: 64 * 1024 * 1024,
  };
  return execute(program, args, options).catch((error) => {
    throw new Error(`\`${[program, ...args].join(' ')}\` failed: ${error.message}\n${error.stdout}\n${error.stderr}`);
  });
}

/** The packed package: the path of its tarball, and of its files, as npm tells them. */
export function packed() {
  packing ??= pack();
  return packing;
}

async function pack() {
  const folder = tempDir('packed');
  const args = ['pack', '--ignore-scripts', '--json', '--pack-destination', folder, '-w', 'driftline'];
  const { stdout } = await runIn(ROOT, 'npm', args);
  const [{ filename, files }] = JSON.parse(stdout);
  return { tarball: join(folder, filename), files: files.map((file) => file.path) };
}

/** A folder with the app of this name as it stands in `apps`, all that it depends on, and the packed package. */
export async function installApp(name) {
  const source = join(APPS, name);
  const folder = await withDependencies(name, source);
  fill(folder, source);
  // Caches of bundlers tell packages by their version, which stays the same from build to build.
  rmSync(join(folder, 'node_modules', '.cache'), { recursive: true, force: true });
  rmSync(join(folder, 'node_modules', '.vite'), { recursive: true, force: true });
  await installPackage(folder);
  return folder;
}

/** What `installApp` gives, with what is in `source` in place of the app itself. */
export async function installAround(name, source) {
  const folder = await installApp(name);
  fill(folder, source);
  return folder;
}

/** Has a folder hold what another holds, beside the packages that are installed in it. */
function fill(folder, source) {
  for (const entry of readdirSync(folder)) {
    if (entry !== 'node_modules') rmSync(join(folder, entry), { recursive: true });
  }
  for (const entry of readdirSync(source)) {
    if (entry !== 'node_modules') cpSync(join(source, entry), join(folder, entry), { recursive: true });
  }
}

async function withDependencies(name, source) {
  const lock = join(source, 'package-lock.json');
  const key = hash(existsSync(lock) ? readFileSync(lock) : readFileSync(join(source, 'package.json')));
  const folder = join(CACHE, `${name}-${key.slice(0, 16)}`);
  if (existsSync(folder)) return folder;

  // Under another name until it is whole, so that an installation that is broken off is not taken for one.
  const begun = `${folder}.${process.pid}`;
  rmSync(begun, { recursive: true, force: true });
  mkdirSync(begun, { recursive: true });
  for (const file of ['package.json', 'package-lock.json', '.npmrc']) {
    if (existsSync(join(source, file))) cpSync(join(source, file), join(begun, file));
  }
  try {
    if (existsSync(lock)) await runIn(begun, 'npm', ['ci', '--ignore-scripts', '--no-fund', '--no-audit']);
    renameSync(begun, folder);
  } finally {
    rmSync(begun, { recursive: true, force: true });
  }
  return folder;
}

// The package is not in the apps' lock files: these would change with each build of it.
async function installPackage(folder) {
  const { tarball } = await packed();
  const key = hash(readFileSync(tarball));
  const stamp = join(folder, 'node_modules', 'driftline', '.installed');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === key) return;
  await runIn(folder, 'npm', ['install', '--no-save', '--ignore-scripts', '--no-fund', '--no-audit', tarball]);
  writeFileSync(stamp, key);
}

const hash = (bytes) => createHash('sha256').update(bytes).digest('hex');
