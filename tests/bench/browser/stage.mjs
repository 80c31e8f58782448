// Where the browser's figures are measured: the real server, a real Chromium, and pages with fine clocks.
//
// A page may measure to 5 µs only where it is isolated from other origins, so that a small server of this module hands out the site,
// and Driftline's is another origin to it, as it is to most apps.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TARGET_DIR } from '../../../scripts/run.mjs';
import { openBrowser, ROOT, startListening, startServer } from '../../browser/harness.mjs';
import { serveFolder } from '../../package/site.mjs';

const SITE = join(ROOT, 'tests', 'bench', 'browser', 'site');
const PACKAGE = join(ROOT, 'crates', 'driftline-client', 'dist');
const SCHEMA = join(ROOT, 'tests', 'schemas', 'canvas');

/** `folders` are handed out beside the site, each by what its paths begin with. */
export async function startStage(folders = {}) {
  const schema = JSON.parse(await readFile(join(SCHEMA, 'schema.json'), 'utf8'));
  const site = await startSite({ '/driftline/': PACKAGE, ...folders });
  const files = { schema: join(SCHEMA, 'schema.json'), migrations: join(SCHEMA, 'migrations') };
  const server = await startServer({ ...files, args: ['--origin', site.origin] });
  const limits = await startLimitServer();
  const browser = await openBrowser();
  let spaces = 0;
  return {
    schema,
    server,
    browser,
    /** Takes what is posted there. */
    takenUrl: `${limits.url}/taken`,
    /** Sends back what it is sent, once it is committed. */
    echoUrl: `${limits.url.replace('http', 'ws')}/echo`,
    /** Names that nobody has used: a space, and an app whose databases are new. */
    fresh: () => ({ space: `space-${++spaces}`, app: `app-${spaces}`, url: server.url }),
    /** A page of its own, closed after `use`. */
    async page(use) {
      const page = await browser.context.newPage();
      const errors = [];
      page.on('pageerror', (error) => errors.push(error));
      try {
        await page.goto(site.origin);
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
      await limits.kill();
      site.stop();
    },
  };
}

/** A server that does nothing but its transport. */
function startLimitServer() {
  return startListening(join(TARGET_DIR, 'release', 'limit-server'), ['127.0.0.1:0']);
}

/**
 * Hands out the site, and folders by what their paths begin with. The package as apps hand out what never changes under its name: a browser
 * then keeps the compiled engine, too.
 */
const startSite = (folders) =>
  serveFolder({ ...folders, '/': SITE }, (path) => ({
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-embedder-policy': 'require-corp',
    ...(path.startsWith('/driftline/') && { 'cache-control': 'public, max-age=31536000, immutable' }),
  }));

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
