// Starts the servers that the tests here check, each on a free port of 127.0.0.1 and a folder of its own, and ends them with the tests.

import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { SERVER_BINARY } from '../../scripts/run.mjs';

const execute = promisify(execFile);
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const SCHEMA = here('schema.json');
const children = new Set();
const folders = [];

const endAll = () => {
  for (const child of children) child.kill('SIGKILL');
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
};
after(endAll);
process.on('exit', endAll);

export function tempDir() {
  const folder = mkdtempSync(join(tmpdir(), 'driftline-conformance-'));
  folders.push(folder);
  return folder;
}

/** The real server; with `secret`, for those who have a token. */
export async function startDriftline({ secret, args = [] } = {}) {
  const folder = tempDir();
  const place = ['--schema', SCHEMA, '--migrations', join(folder, 'migrations'), '--data', join(folder, 'data')];
  await execute(SERVER_BINARY, ['migrate', 'plan', ...place, '--name', 'create']);
  await execute(SERVER_BINARY, ['migrate', 'apply', ...place]);
  const access = secret === undefined ? [] : ['--secret-file', secret];
  return start(SERVER_BINARY, ['serve', ...place, '--listen', '127.0.0.1:0', ...access, ...args]);
}

/** A token as the server's own command issues it; the secret is made if there is none. */
export async function issueToken(secret, ...args) {
  const { stdout } = await execute(SERVER_BINARY, ['token', '--secret-file', secret, ...args]);
  return stdout.trim();
}

/** The server of this folder, on a file. */
export const startSecond = ({ file = join(tempDir(), 'log'), fault = '' } = {}) =>
  start(process.execPath, [here('server/main.mjs'), '--schema', SCHEMA, '--data', file], { FAULT: fault });

function start(program, args, env = {}) {
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  children.add(child);
  const ended = new Promise((done) => child.once('close', done)).then(() => children.delete(child));
  const lines = [];
  return new Promise((done, failed) => {
    const read = (line) => {
      lines.push(line);
      const [, url] = /listening on (http:\S+)/.exec(line) ?? [];
      if (url !== undefined)
        done({ url, kill: () => child.kill('SIGKILL') && ended, pause: () => child.kill('SIGUSR1') });
    };
    createInterface({ input: child.stdout }).on('line', read);
    createInterface({ input: child.stderr }).on('line', read);
    child.once('error', failed);
    ended.then(() => failed(new Error(`${program} ended before it listened:\n${lines.join('\n')}`)));
  });
}

/** Runs the kit as a command: `{code, lines}`. */
export async function runKit(...args) {
  const run = execute(process.execPath, [here('run.mjs'), ...args], { maxBuffer: 16 * 1024 * 1024 });
  const { code = 0, stdout } = await run.catch((error) => error);
  return { code, lines: stdout.trim().split('\n') };
}
