// How every script here starts another program and tells the person at the terminal what is going on.
// Only Node's own modules: `npm start` runs this before any npm package is installed.

import { spawn } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's root; every command runs here, whatever folder it was typed in. */
export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** Where cargo puts what it builds, and where build.mjs keeps its stamps. */
export const TARGET_DIR = resolve(ROOT, process.env.CARGO_TARGET_DIR ?? 'target');

/** The server's binary, as `npm run build` makes it. */
export const SERVER_BINARY = join(TARGET_DIR, 'release', 'driftline');

const startedAt = Date.now();

/** Prints one line of progress, led by the seconds since this command began. */
export function say(text) {
  console.log(`[${((Date.now() - startedAt) / 1000).toFixed(1).padStart(6)} s] ${text}`);
}

/** Says what begins, does it, and says how long it took. */
export async function timed(label, work) {
  say(`${label} …`);
  const began = Date.now();
  const result = await work();
  say(`${label}: done in ${((Date.now() - began) / 1000).toFixed(1)} s`);
  return result;
}

/** Runs a program with its output on this terminal. Rejects unless it exits with 0. */
export async function run(command, args, { env = {}, cwd = ROOT } = {}) {
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: 'inherit' });
  await succeeded(child, command, args);
}

/** Runs a program and returns what it wrote to stdout. Rejects unless it exits with 0. */
export async function capture(command, args, { env = {}, cwd = ROOT } = {}) {
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
  const chunks = [];
  child.stdout.on('data', (chunk) => chunks.push(chunk));
  await succeeded(child, command, args);
  return Buffer.concat(chunks).toString('utf8');
}

/** Runs a program that an npm package brings; `npx` would ask to download one that is missing. */
export async function runNpmBinary(name, args, options) {
  await run(join(ROOT, 'node_modules', '.bin', name), args, options);
}

function succeeded(child, command, args) {
  return new Promise((done, failed) => {
    child.once('error', (error) => {
      failed(new Error(error.code === 'ENOENT' ? `${command} is not installed` : `${command}: ${error.message}`));
    });
    child.once('close', (code, signal) => {
      if (code === 0) done();
      else failed(new Error(`\`${[command, ...args].join(' ')}\` ended with ${signal ?? `exit code ${code}`}`));
    });
  });
}

/**
 * Calls `main` with the command line's arguments if the module is the one that node was started with, so that a
 * script can be imported as well as run. An error ends the process with exit code 1 and its message alone: a stack
 * of this plumbing would hide it.
 */
export async function runAsCommand(moduleUrl, main) {
  // Node gives the module's real path but the argument as it was typed, which may lead through a symbolic link.
  if (process.argv[1] === undefined || realpathSync(process.argv[1]) !== fileURLToPath(moduleUrl)) return;
  try {
    await main(process.argv.slice(2));
  } catch (error) {
    console.error(`\n${error.message}`);
    process.exitCode = 1;
  }
}
