// What every browser test stands on: the real server, a real Chromium, and a network between them that can be cut.
//
//   const server = await startServer({ schema, migrations });
//   const network = await startNetwork(server.port);
//   const browser = await openBrowser({ profile: tempDir('profile') });
//   const page = await browser.context.newPage();
//   await page.goto(network.url);
//   await network.cut(browser.context);      // no packet passes, and the browser says that it is offline
//   await browser.kill();                    // SIGKILL, as a crash or a lost battery would
//   await browser.reopen();                  // the same profile on the same disk
//   await network.restore(browser.context);
//   await server.kill(); await server.restart();
//   const cards = await server.query('SELECT * FROM card');
//
// Whatever is still running when the last test of a file has ended is ended then. Only processes started here are ever signalled.
// After each test, and once all servers have ended, `driftline check` scans every database that a server was started on.

import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createHttpServer, request as httpRequest } from 'node:http';
import { createServer, connect as tcpConnect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { after, afterEach } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';
import { ROOT, SERVER_BINARY } from '../../scripts/run.mjs';

export { ROOT, SERVER_BINARY };

/** Documents of real apps that tests read when they are at hand. */
export const REAL_DATA = resolve(ROOT, process.env.DRIFTLINE_REAL_DATA ?? '../shared/data');

const CHROMIUM = '/usr/bin/chromium';
const CHROMIUM_ARGS = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--hide-crash-restore-bubble',
];
const START_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 20_000;

const execute = promisify(execFile);

// ---- What is cleaned up ----

const running = new Set(); // Functions that end what was started, at once and without waiting.
const folders = new Set();

function endAll() {
  for (const end of running) end();
  running.clear();
}

/** Has `end` called when this file's tests are over, or this process ends: at once, and without waiting. */
export const endAtExit = (end) => running.add(end);

// A test that failed half-way leaves a browser or a server, which would keep its process from ending. Scripts that use
// this module without being tests must not become tests by it.
if (process.argv[1]?.endsWith('.test.mjs')) {
  afterEach(checkDatabases);
  after(async () => {
    endAll();
    await checkDatabases();
  });
}
process.on('exit', () => {
  // Processes first, because they write into the folders.
  endAll();
  for (const path of folders) rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
});
for (const name of ['SIGINT', 'SIGTERM']) process.on(name, () => process.exit(1));

const databases = new Map(); // Data folders, each with what the server was last told of it, and the disk where it is on one of its own.

/** Fails on an orphan, or whatever else `driftline check` finds; a server may be running on the same database. */
async function checkDatabases() {
  for (const [data, { place, disk }] of databases) {
    if (!existsSync(data) || disk?.isGone) continue;
    await runDriftline(['check', ...place], { disk }).catch((error) => {
      throw new Error(`driftline check of ${data} ends with ${error.code}:\n${error.stdout}${error.stderr}`);
    });
  }
}

/** A new empty folder, removed with all it holds when this process ends. */
export function tempDir(name = 'test') {
  const path = mkdtempSync(join(tmpdir(), `driftline-${name}-`));
  folders.add(path);
  return path;
}

/** A port of 127.0.0.1 on which nothing listens at this moment. */
export async function freePort() {
  const server = createServer();
  await listen(server, 0);
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

/** Waits until `check` returns something true, and returns that. `what` completes "timed out waiting for …". */
export async function until(what, check, { timeoutMs = 20_000, everyMs = 50 } = {}) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const result = await check();
    if (result) return result;
    if (Date.now() > deadline) throw new Error(`timed out waiting for ${what} (${timeoutMs} ms)`);
    await sleep(everyMs);
  }
}

// ---- The server ----

/** A program with its arguments as they are to be started where it works on a disk of its own (see disk.mjs). */
const on = (disk, ...command) => [...(disk?.within ?? []), ...command];

/** Runs the server's binary with a command such as `['token', …]` and returns what it printed. */
export async function runDriftline(args, { env = {}, disk } = {}) {
  const [program, ...rest] = on(disk, SERVER_BINARY, ...args);
  const { stdout } = await execute(program, rest, {
    env: { ...process.env, ...env },
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout;
}

/**
 * Starts the real server, after bringing its database up to date as an operator would.
 *
 * `schema` is a schema.json, `migrations` a folder, `staticDir` a folder to serve (optional). The data folder and the
 * port are new ones unless given. `env` and `args` are handed to `driftline serve` at every start. `disk` is where the data
 * folder is, if that is one of its own.
 */
export async function startServer({
  schema,
  migrations,
  disk,
  data = disk?.path ?? tempDir('data'),
  staticDir,
  port,
  env = {},
  args = [],
}) {
  const place = ['--schema', schema, '--migrations', migrations, '--data', data];
  const fixedPort = port ?? (await freePort());
  const serveArgs = ['serve', ...place, '--listen', `127.0.0.1:${fixedPort}`, ...args];
  if (staticDir !== undefined) serveArgs.push('--static', staticDir);

  let child;
  const log = [];

  const start = async () => {
    const [program, ...rest] = on(disk, SERVER_BINARY, ...serveArgs);
    child = spawn(program, rest, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    endLater(child);
    await new Promise((started, failed) => {
      const fail = (why) => {
        clearTimeout(timer);
        failed(new Error(`the server ${why}; its output was:\n${log.slice(-30).join('\n')}`));
      };
      const timer = setTimeout(fail, START_TIMEOUT_MS, `named no address within ${START_TIMEOUT_MS} ms`);
      const read = (line) => {
        log.push(line);
        if (!line.includes('listening on http://')) return;
        clearTimeout(timer);
        started();
      };
      createInterface({ input: child.stdout }).on('line', read);
      createInterface({ input: child.stderr }).on('line', read);
      child.once('error', (error) => fail(`did not start (${error.message})`));
      child.once('close', (code, signalName) => fail(`ended with ${signalName ?? `exit code ${code}`}`));
    });
  };

  await runDriftline(['migrate', 'apply', ...place], { disk });
  databases.set(data, { place, disk });
  await start();

  const server = {
    port: fixedPort,
    url: `http://127.0.0.1:${fixedPort}`,
    data,
    /** What the server has printed since the first start, a line each. */
    log,
    get pid() {
      return child.pid;
    },
    /** Asks the server to end (SIGTERM) and returns its exit code. */
    stop: async () => {
      await signalAndWait(child, 'SIGTERM');
      return child.exitCode;
    },
    /** Ends the server between two instructions (SIGKILL). */
    kill: () => signalAndWait(child, 'SIGKILL'),
    /** Waits until the server has ended by itself, as it does at a fault point, and returns the signal that it died of. */
    ended: async (options) => {
      await until('the server to end by itself', () => child.exitCode !== null || child.signalCode !== null, options);
      return child.signalCode;
    },
    /** Starts it again, on the same port and data, after `stop` or `kill`. */
    restart: start,
    /** The file of the SQLite database. */
    get database() {
      const name = readdirSync(disk?.outside ?? data).find((file) => /\.(db|sqlite3?)$/.test(file));
      if (name === undefined) throw new Error(`${data} holds no database`);
      return join(data, name);
    },
    /** The rows that a SELECT finds in the server's database; works while the server runs and after it was killed. */
    query: (sql) => queryDatabase(server.database, sql, disk),
  };
  return server;
}

/**
 * The rows that a SELECT finds in a SQLite file, as objects. Opened read-only, so that looking at a database that a
 * killed server left behind does not do the server's recovery for it.
 */
export async function queryDatabase(file, sql, disk) {
  const args = ['-readonly', '-batch', '-bail', '-json', '-cmd', '.timeout 10000', file, sql];
  const [program, ...rest] = on(disk, 'sqlite3', ...args);
  const { stdout } = await execute(program, rest, { maxBuffer: 512 * 1024 * 1024 });
  return stdout.trim() === '' ? [] : JSON.parse(stdout);
}

/** Starts a program that says `listening on http://…`, and waits for that. It ends with the tests, or by `kill`, at once. */
export function startListening(program, args, { env = {}, cwd } = {}) {
  const child = spawn(program, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
  endLater(child);
  return new Promise((started, failed) => {
    // Read to its end: a program whose pipe is full stands still.
    createInterface({ input: child.stdout }).on('line', (line) => {
      const [, url] = /listening on (http:\S+)/.exec(line) ?? [];
      if (url) started({ url, kill: () => signalAndWait(child, 'SIGKILL') });
    });
    child.once('error', failed);
    child.once('close', () => failed(new Error(`${program} ended before it said where it listens`)));
  });
}

// ---- The network ----

/**
 * A TCP relay in front of a server: what browsers are pointed at. Playwright's own offline switch does not outlive a
 * killed browser and spares service workers; a relay that is gone stops everything.
 *
 * Methods take the browser contexts that should also be told (`navigator.onLine`, the `online` and `offline` events).
 */
export async function startNetwork(serverPort) {
  const links = new Set(); // Pairs of sockets: to the browser, to the server.
  let isStalled = false;

  const connect = ([near, far]) => {
    near.pipe(far);
    far.pipe(near);
  };
  const part = ([near, far]) => {
    near.unpipe(far).pause();
    far.unpipe(near).pause();
  };
  const end = ([near, far]) => {
    near.destroy();
    far.destroy();
  };

  const relay = createServer((near) => {
    const link = [near, tcpConnect(serverPort, '127.0.0.1')];
    links.add(link);
    for (const socket of link) {
      socket.setNoDelay(true);
      socket.on('error', () => {}); // `close` follows, and says all there is to say.
      socket.on('close', () => {
        links.delete(link);
        end(link);
      });
    }
    if (isStalled) part(link);
    else connect(link);
  });
  const endAllLinks = () => {
    for (const link of links) end(link);
  };
  running.add(() => {
    relay.close();
    endAllLinks();
  });
  await listen(relay, 0);
  const { port } = relay.address();

  return {
    port,
    url: `http://127.0.0.1:${port}`,
    /** Ends every connection and refuses new ones. */
    cut: async (...contexts) => {
      const closed = new Promise((done) => relay.close(done));
      endAllLinks();
      await closed;
      for (const context of contexts) await context.setOffline(true);
    },
    /** Keeps connections open, and accepts new ones, but lets no byte pass: a network that swallows packets. */
    stall: () => {
      isStalled = true;
      for (const link of links) part(link);
    },
    /** Undoes `cut` and `stall`. */
    restore: async (...contexts) => {
      if (isStalled) for (const link of links) connect(link);
      isStalled = false;
      if (!relay.listening) await listen(relay, port);
      for (const context of contexts) await context.setOffline(false);
    },
  };
}

/**
 * An HTTP proxy in front of a server, as a hoster puts one there. While `meddle` is set, it answers the requests of the API: it is
 * given `{ method, path, body }` and a function that asks the server, and returns `{ status, headers, body }`. All else passes.
 */
export async function startProxy(serverPort) {
  const proxy = { port: undefined, meddle: undefined };
  const relay = createHttpServer(async (request, response) => {
    try {
      const body = await readAll(request);
      const pass = () => forward(serverPort, request, body);
      const { method, url: path } = request;
      const meddle = path.startsWith('/v1/') ? proxy.meddle : undefined;
      const answer = await (meddle ? meddle({ method, path, body: body.toString() }, pass) : pass());
      response.writeHead(answer.status, answer.headers).end(answer.body);
    } catch {
      response.destroy(); // One of the two has gone.
    }
  });
  const tunnels = new Set();
  relay.on('upgrade', (request, near, head) => {
    const far = tcpConnect(serverPort, '127.0.0.1');
    const lines = request.rawHeaders.map((text, i) => (i % 2 === 0 ? `${text}: ` : `${text}\r\n`));
    far.write(`GET ${request.url} HTTP/1.1\r\n${lines.join('')}\r\n`);
    far.write(head);
    near.pipe(far).pipe(near);
    for (const socket of [near, far]) {
      tunnels.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        tunnels.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
  });
  running.add(() => {
    relay.close();
    relay.closeAllConnections();
    for (const socket of tunnels) socket.destroy();
  });
  await listen(relay, 0);
  proxy.port = relay.address().port;
  return proxy;
}

async function readAll(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** What the server answers, whole; nothing of it depends on the connection that it came by. */
async function forward(port, { method, url: path, headers }, body) {
  const response = await new Promise((answered, failed) => {
    const options = { host: '127.0.0.1', port, method, path, headers, agent: false };
    httpRequest(options, answered).on('error', failed).end(body);
  });
  const ofConnection = ['connection', 'keep-alive', 'transfer-encoding'];
  const kept = Object.entries(response.headers).filter(([name]) => !ofConnection.includes(name));
  return { status: response.statusCode, headers: Object.fromEntries(kept), body: await readAll(response) };
}

export function listen(server, port) {
  return new Promise((done, failed) => {
    server.once('error', failed);
    server.listen(port, '127.0.0.1', () => {
      server.removeListener('error', failed);
      done();
    });
  });
}

// ---- The browser ----

/** Starts Chromium on a profile folder. `context` is Playwright's; a new one takes its place after `reopen`. */
export async function openBrowser({ profile = tempDir('profile'), args = [], options = {} } = {}) {
  const open = async () => {
    const context = await chromium.launchPersistentContext(profile, {
      executablePath: CHROMIUM,
      headless: true,
      chromiumSandbox: false,
      args: [...CHROMIUM_ARGS, ...args],
      ...options,
    });
    return { context, pid: pidOfBrowser(profile) };
  };
  const browser = {
    profile,
    ...(await open()),
    /** The ids of the browser's processes. */
    get pids() {
      return [...descendants(browser.pid), browser.pid];
    },
    /** Ends the browser and all its processes at once (SIGKILL): nothing is flushed, no event is fired. */
    kill: async () => {
      const { context } = browser;
      const closed = new Promise((done) => context.once('close', done));
      await untilGone(killBrowser(browser.pid, profile));
      await closed;
    },
    /** Ends the processes of all its pages at once (SIGKILL); the browser itself goes on. */
    killTabs: async () => {
      const pids = browser.pids.filter((pid) => commandLine(pid).includes('--type=renderer'));
      for (const pid of pids) signal(pid, 'SIGKILL');
      await untilGone(pids);
    },
    /** Starts Chromium again on the same profile, after `kill` or `close`. */
    reopen: async () => Object.assign(browser, await open()),
    /** Ends the browser as a user would. */
    close: () =>
      browser.context.close().catch((error) => {
        // It may have ended by itself a moment before: that is what was wanted.
        if (!/has been closed/.test(error.message)) throw error;
      }),
  };
  running.add(() => killBrowser(browser.pid, profile));
  return browser;
}

// Playwright does not tell the process id of a persistent context's browser. It is the child of this process whose
// command line names the profile.
function pidOfBrowser(profile) {
  const pid = processes().find((one) => one.parent === process.pid && isBrowserOf(one.pid, profile))?.pid;
  if (pid === undefined) throw new Error(`found no browser process for ${profile}`);
  return pid;
}

function isBrowserOf(pid, profile) {
  return commandLine(pid).includes(`--user-data-dir=${profile}`);
}

// The id of a browser that is gone may by now be another program's.
function killBrowser(pid, profile) {
  return isBrowserOf(pid, profile) ? killFamily(pid) : [];
}

// ---- Processes ----

function processes() {
  const ids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return ids.map((id) => statusOf(Number(id))).filter((status) => status !== undefined);
}

// The second field of /proc/PID/stat is the program's name in brackets and may hold spaces; state and parent follow it.
function statusOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { pid, state, parent: Number(parent) };
  } catch {
    return undefined;
  }
}

function commandLine(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return [];
  }
}

/** Children, their children and so on, deepest first. Taken before the first signal: orphans lose their parent. */
export function descendants(pid) {
  const all = processes();
  const below = (parent) => all.filter((one) => one.parent === parent).flatMap((one) => [...below(one.pid), one.pid]);
  return below(pid);
}

/** Ends a process and all below it at once (SIGKILL). Returns their ids. */
export function killFamily(pid) {
  const family = [...descendants(pid), pid];
  for (const member of family) signal(member, 'SIGKILL');
  return family;
}

/** Waits until none of these processes runs any more. */
export async function untilGone(pids) {
  await until('the killed processes to be gone', () => pids.every((pid) => !isAlive(pid)));
}

function isAlive(pid) {
  const status = statusOf(pid);
  return status !== undefined && status.state !== 'Z' && status.state !== 'X';
}

function signal(pid, name) {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

/** Sees to it that a process started here ends with the tests: by `end`, or else by SIGKILL. */
export function endLater(child, end = () => child.kill('SIGKILL')) {
  running.add(end);
  child.once('exit', () => running.delete(end));
}

async function signalAndWait(child, name) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((done) => child.once('exit', done));
  child.kill(name);
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await ended;
  clearTimeout(timer);
}
