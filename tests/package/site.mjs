// What serves an app's page: a folder on a server that knows nothing of Driftline, or a bundler's own server.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { endAtExit, endLater, freePort, killFamily, listen } from '../browser/harness.mjs';

const START_TIMEOUT_MS = 60_000;
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm', '.css': 'text/css' };

/**
 * Serves files as any host of static pages does; `stop` ends it, or else the end of the tests. `folders` is one, or several by what paths
 * begin with, the longest first. `headers` are given with each file, or those that the function says for its path. Where there is no
 * file, `instead` is the one that is given, if one is named.
 */
export async function serveFolder(folders, headers = {}, instead = undefined) {
  const places = Object.entries(typeof folders === 'string' ? { '/': folders } : folders);
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const [prefix, folder] = places.find(([prefix]) => pathname.startsWith(prefix)) ?? [];
    const name = pathname.endsWith('/') ? `${pathname}index.html` : pathname;
    const asked = folder && join(folder, name.slice(prefix.length));
    const path = instead && !existsSync(asked) ? join(folder, instead) : asked;
    const bytes = path && (await readFile(path).catch(() => undefined));
    if (bytes === undefined) return response.writeHead(404).end();
    const type = TYPES[extname(path)] ?? 'application/octet-stream';
    const more = typeof headers === 'function' ? headers(pathname) : headers;
    response.writeHead(200, { ...more, 'content-type': type }).end(bytes);
  });
  const stop = () => {
    server.close();
    server.closeAllConnections();
  };
  endAtExit(stop);
  await listen(server, 0);
  return { origin: `http://127.0.0.1:${server.address().port}`, stop };
}

/**
 * Starts a program of the app's dependencies that serves it, waits until it names its address, and returns its origin and what it
 * goes on printing. `args` is given the port.
 */
export async function serveWith(folder, program, args, { env = {} } = {}) {
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const path = join(folder, 'node_modules', '.bin', program);
  const child = spawn(path, args(String(port)), {
    cwd: folder,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  endLater(child, () => killFamily(child.pid));
  const log = [];
  await new Promise((started, failed) => {
    const fail = (why) => failed(new Error(`${program} ${why}; it printed:\n${log.join('\n')}`));
    const timer = setTimeout(fail, START_TIMEOUT_MS, `named no address within ${START_TIMEOUT_MS} ms`);
    const read = (line) => {
      log.push(line);
      if (!line.includes(`:${port}`)) return;
      clearTimeout(timer);
      started();
    };
    createInterface({ input: child.stdout }).on('line', read);
    createInterface({ input: child.stderr }).on('line', read);
    child.once('error', (error) => fail(`did not start (${error.message})`));
    child.once('close', (code) => fail(`ended with exit code ${code}`));
  });
  return { origin, log };
}
