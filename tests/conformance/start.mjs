// Starts the servers that the tests here check, each on a free port of 127.0.0.1 and a folder of its own.

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { runDriftline, startListening, startServer, tempDir } from '../browser/harness.mjs';

const execute = promisify(execFile);
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const SCHEMA = here('schema.json');

/** The real server; with `secret`, for those who have a token. */
export async function startDriftline({ secret, args = [] } = {}) {
  const migrations = join(tempDir('conformance'), 'migrations');
  const place = ['--schema', SCHEMA, '--migrations', migrations, '--data', tempDir('planned')];
  await runDriftline(['migrate', 'plan', ...place, '--name', 'create']);
  const access = secret === undefined ? [] : ['--secret-file', secret];
  return startServer({ schema: SCHEMA, migrations, args: [...access, ...args] });
}

/** A token as the server's own command issues it; the secret is made if there is none. */
export async function issueToken(secret, ...args) {
  return (await runDriftline(['token', '--secret-file', secret, ...args])).trim();
}

/** The server of this folder, on a file. */
export const startSecond = ({ file = join(tempDir('second'), 'log'), fault = '' } = {}) =>
  startListening(process.execPath, [here('server/main.mjs'), '--schema', SCHEMA, '--data', file], {
    env: { FAULT: fault },
  });

/** Runs the kit as a command: `{code, lines}`. */
export async function runKit(...args) {
  const run = execute(process.execPath, [here('run.mjs'), ...args], { maxBuffer: 16 * 1024 * 1024 });
  const { code = 0, stdout } = await run.catch((error) => error);
  return { code, lines: stdout.trim().split('\n') };
}
