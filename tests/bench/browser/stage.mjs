// Where the browser's figures are measured: the real server, a real Chromium, and pages with fine clocks.
//
// A page may measure to 5 µs only where it is isolated from other origins, so that a small server of this module hands out the site,
// and Driftline's is another origin to it, as it is to most apps.

import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { TARGET_DIR } from '../../../scripts/run.mjs';
import { endAtExit, endLater, listen, openBrowser, ROOT, startServer } from '../../browser/harness.mjs';

const SITE = join(ROOT, 'tests', 'bench', 'browser', 'site');
const PACKAGE = join(ROOT, 'crates', 'driftline-client', 'dist');
const SCHEMA = join(ROOT, 'tests', 'schemas', 'canvas');
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm' };

/** `folders` are handed out beside the site, each by what its paths begin with. */
export async function startStage(folders = {}) {
  const schema = JSON.parse(await readFile(join(SCHEMA, 'schema.json'), 'utf8'));
  const site = await startSite({ '/driftline/': PACKAGE, ...folders });
  const files = { schema: join(SCHEMA, 'schema.json'), migrations: join(SCHEMA, 'migrations') };
  const server = await startServer({ ...files, args: ['--origin', site.url] });
  const { url: limitUrl, stop: stopLimits } = await startLimitServer();
  const browser = await openBrowser();
  let spaces = 0;
  return {
    schema,
    server,
    browser,
    /** Takes what is posted there. */
    takenUrl: `${limitUrl}/taken`,
    /** Sends back what it is sent, once it is committed. */
    echoUrl: `${limitUrl.replace('http', 'ws')}/echo`,
    /** Names that nobody has used: a space, and an app whose databases are new. */
    fresh: () => ({ space: `space-${++spaces}`, app: `app-${spaces}`, url: server.url }),
    /** A page of its own, closed after `use`. */
    async page(use) {
      const page = await browser.context.newPage();
      const errors = [];
      page.on('pageerror', (error) => errors.push(error));
      try {
        await page.goto(site.url);
        const result = await use(page);
        if (errors.length > 0) throw errors[0];
        return result;
      } finally {
        await page.close();
      }
    },
    async stop() {
      await browser.close();
      await server.stop();
      stopLimits();
      site.stop();
    },
  };
}

/** A server that does nothing but its transport. */
function startLimitServer() {
  return startListening(join(TARGET_DIR, 'release', 'limit-server'), ['127.0.0.1:0']);
}

/** Starts a server that says where it listens. It ends with this process, or when it is stopped. */
export async function startListening(program, args, cwd) {
  const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'inherit'] });
  endLater(child);
  for await (const line of createInterface({ input: child.stdout })) {
    return { url: line.replace('listening on ', ''), stop: () => child.kill('SIGKILL') };
  }
  throw new Error(`${program} did not say where it listens`);
}

/** Hands out the site, and folders by what their paths begin with. */
async function startSite(folders) {
  const server = createServer(async (request, response) => {
    response.setHeader('cross-origin-opener-policy', 'same-origin');
    response.setHeader('cross-origin-embedder-policy', 'require-corp');
    const path = new URL(request.url, 'http://site').pathname;
    const prefix = Object.keys(folders).find((prefix) => path.startsWith(prefix));
    const file = prefix
      ? join(folders[prefix], path.slice(prefix.length))
      : join(SITE, path === '/' ? 'index.html' : path);
    const body = await readFile(file).catch(() => undefined);
    // As apps hand out what never changes under its name. A browser then keeps the compiled engine, too.
    if (path.startsWith('/driftline/')) response.setHeader('cache-control', 'public, max-age=31536000, immutable');
    response.setHeader('content-type', TYPES[extname(file)] ?? 'text/plain');
    response.statusCode = body === undefined ? 404 : 200;
    response.end(body);
  });
  await listen(server, 0);
  const stop = () => {
    server.close();
    server.closeAllConnections();
  };
  endAtExit(stop);
  return { url: `http://127.0.0.1:${server.address().port}`, stop };
}

/** What the main thread of a page did while `run` ran: how long each of its tasks took, in ms, longest first. */
export async function tasksOf(page, run) {
  const session = await page.context().newCDPSession(page);
  const events = [];
  session.on('Tracing.dataCollected', ({ value }) => events.push(...value));
  await session.send('Tracing.start', {
    transferMode: 'ReportEvents',
    traceConfig: { includedCategories: ['toplevel', 'disabled-by-default-devtools.timeline', 'devtools.timeline'] },
  });
  const result = await run();
  const complete = new Promise((done) => session.once('Tracing.tracingComplete', done));
  await session.send('Tracing.end');
  await complete;
  await session.detach();
  return { result, events };
}

/** The tasks of the thread that ran the page's scripts. */
export function mainThreadTasks(events) {
  const isRun = ({ name, ph }) => name === 'RunTask' && ph === 'X';
  const scripts = events.filter(
    ({ name }) => name === 'FunctionCall' || name === 'EvaluateScript' || name === 'RunMicrotasks',
  );
  const counts = new Map();
  for (const { pid, tid } of scripts) counts.set(`${pid} ${tid}`, (counts.get(`${pid} ${tid}`) ?? 0) + 1);
  const [main] = [...counts].sort((a, b) => b[1] - a[1])[0] ?? [];
  const tasks = events.filter((event) => isRun(event) && `${event.pid} ${event.tid}` === main);
  return tasks.map(({ ts, dur }) => ({ at: ts / 1e3, ms: dur / 1e3 })).sort((a, b) => b.ms - a.ms);
}
