// Chromium, Firefox and WebKitGTK, each driven over the WebDriver protocol, with pages that have the few methods of Playwright's
// that tests here use, so that they take the same helpers.
//
// The protocol is a dozen JSON requests, made here by `fetch`: the clients to be had from npm bring some hundred packages, and
// look for browsers and drivers to download where these are at hand.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { geckodriver } from '../../scripts/setup.mjs';
import { descendants, endLater, freePort, killFamily, ROOT, tempDir, until, untilGone } from './harness.mjs';

const SCRIPT_TIMEOUT_MS = 120_000;
const SIZE = { width: 1280, height: 800 };

/**
 * How each engine is started on a profile: its driver, and what the driver is told of the browser. `storage`, where it is given, says how
 * many `bytes` an `origin` may keep.
 */
const STARTS = {
  chromium: (profile, storage) => ({
    driver: '/usr/bin/chromedriver',
    capabilities: {
      'goog:chromeOptions': {
        binary: '/usr/bin/chromium',
        args: ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', `--user-data-dir=${profile}`],
      },
    },
    begin: (session) => {
      if (!storage) return;
      const params = { origin: storage.origin, quotaSize: storage.bytes };
      return session.command('POST', '/goog/cdp/execute', { cmd: 'Storage.overrideQuotaForOrigin', params });
    },
  }),
  firefox: async (profile, storage) => ({
    driver: await geckodriver(),
    // The other port is for a protocol that is not used here, and has a fixed number otherwise.
    args: ['--websocket-port=0'],
    env: { MOZ_CRASHREPORTER_DISABLE: '1' },
    capabilities: {
      'moz:firefoxOptions': {
        binary: '/usr/bin/firefox-esr',
        args: ['-headless', '-profile', profile],
        // Of all origins together, in KiB. One origin gets a fifth of it, but 10 MiB at least.
        prefs: storage && { 'dom.quotaManager.temporaryStorage.fixedLimit': Math.ceil(storage.bytes / 1024) },
      },
    },
  }),
  webkit: async (profile, storage) => ({
    driver: '/usr/bin/WebKitWebDriver',
    env: { DISPLAY: await display(), LIBGL_ALWAYS_SOFTWARE: '1', NO_AT_BRIDGE: '1', GIO_USE_VFS: 'local' },
    capabilities: {
      'webkitgtk:browserOptions': {
        binary: join(ROOT, 'tests', 'browser', 'webkit-browser.js'),
        args: [`--profile=${profile}`, ...(storage ? [`--quota=${storage.bytes}`] : [])],
      },
    },
  }),
};

export const ENGINES = Object.keys(STARTS);

/** Starts an engine on a profile folder. */
export async function openEngine(name, { profile = tempDir(name), storage } = {}) {
  const browser = {
    name,
    profile,
    ...(await startSession(name, profile, storage)),
    /** A window of its own, so that no page is in the background. */
    newPage: async () => {
      const { session } = browser;
      const { handle } = await session.command('POST', '/window/new', { type: 'window' });
      const page = pageOf(session, handle);
      await session.commandIn(handle, 'POST', '/window/rect', { x: 0, y: 0, ...SIZE });
      return page;
    },
    /** The ids of the browser's processes. */
    get pids() {
      return descendants(browser.driver.pid);
    },
    /** Ends the browser and all its processes at once (SIGKILL): nothing is flushed, no event is fired. */
    kill: () => untilGone(killFamily(browser.driver.pid)),
    /** Starts the engine again on the same profile, after `kill` or `close`. */
    reopen: async () => Object.assign(browser, await startSession(name, profile, storage)),
    /** Ends the browser as a user would. */
    close: async () => {
      await browser.session.command('DELETE', '');
      await untilGone(killFamily(browser.driver.pid));
    },
  };
  return browser;
}

async function startSession(name, profile, storage) {
  const { driver: program, args = [], env = {}, capabilities, begin } = await STARTS[name](profile, storage);
  // Chromium's port, which its driver would read before the new one is written there.
  rmSync(join(profile, 'DevToolsActivePort'), { force: true });
  const port = await freePort();
  const driver = spawn(program, [`--port=${port}`, ...args], { env: { ...process.env, ...env }, stdio: 'ignore' });
  endLater(driver, () => killFamily(driver.pid));
  const url = `http://127.0.0.1:${port}`;
  await until(`the driver of ${name}`, async () => (await ask('GET', `${url}/status`).catch(() => undefined))?.ready);
  const wanted = { alwaysMatch: { ...capabilities, timeouts: { script: SCRIPT_TIMEOUT_MS } } };
  const { sessionId, capabilities: given } = await ask('POST', `${url}/session`, { capabilities: wanted });
  const session = sessionAt(`${url}/session/${sessionId}`);
  await begin?.(session);
  return { driver, session, version: `${given.browserName} ${given.browserVersion}` };
}

/** A session has one current window, so commands to windows go one after the other. */
function sessionAt(url) {
  let last = Promise.resolve();
  const inTurn = (work) => {
    const mine = last.then(work);
    last = mine.catch(() => {});
    return mine;
  };
  const command = (method, path, body) => ask(method, url + path, body);
  return {
    command: (...request) => inTurn(() => command(...request)),
    commandIn: (handle, ...request) =>
      inTurn(async () => {
        await command('POST', '/window', { handle });
        return await command(...request);
      }),
  };
}

function pageOf(session, handle) {
  const command = (...request) => session.commandIn(handle, ...request);
  const find = async (selector) => {
    // What was there may be drawn anew just then: it is waited for again, as long as it comes.
    for (;;) {
      await page.waitForSelector(selector);
      const [found] = await command('POST', '/elements', { using: 'css selector', value: selector });
      if (found) return Object.values(found)[0];
    }
  };
  const page = {
    goto: (url) => command('POST', '/url', { url }),
    /** As a person reloads; the driver's own reload goes past the service worker in Firefox. */
    reload: async () => {
      await page.evaluate(() => {
        window.isLeaving = true;
        setTimeout(() => location.reload());
      });
      const isBack = () => page.evaluate(() => !window.isLeaving && document.readyState === 'complete');
      // A page that is just being left answers with an error.
      await until('the page to be loaded again', () => isBack().catch(() => false));
    },
    close: () => command('DELETE', '/window'),
    /** Calls a function in the page, waits for what it promises, and returns that as JSON would. */
    evaluate: async (work, argument = null) => {
      const args = [JSON.stringify(argument)];
      const answer = await command('POST', '/execute/async', { script: callOf(work), args });
      if (answer.error !== undefined) throw new Error(`in the page: ${answer.error}`);
      return answer.json === undefined || answer.json === null ? undefined : JSON.parse(answer.json);
    },
    /** Waits until a function of the page returns something true. */
    waitForFunction: (check, argument) =>
      until(`${check} in the page`, () => page.evaluate(check, argument), { timeoutMs: 30_000 }),
    waitForSelector: (selector) =>
      page.waitForFunction((selector) => Boolean(document.querySelector(selector)), selector),
    /** Clicks in the middle of an element, as a person would. */
    click: async (selector) => command('POST', `/element/${await find(selector)}/click`, {}),
    /** Types into an element. */
    type: async (selector, text) => command('POST', `/element/${await find(selector)}/value`, { text }),
    screenshot: async (path) => writeFileSync(path, await command('GET', '/screenshot'), 'base64'),
  };
  return page;
}

// Both ways as JSON text: drivers differ in what they make of other values, and Firefox's reads numbers off by a last digit.
function callOf(work) {
  return `const [argument, done] = arguments;
    Promise.resolve().then(() => (${work})(JSON.parse(argument))).then(
      (value) => done({ json: JSON.stringify(value) }),
      (error) => done({ error: String(error) + '\\n' + (error && error.stack) }),
    );`;
}

async function ask(method, url, body) {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
  const { value } = await response.json();
  if (!response.ok) throw new Error(`${method} ${url} is answered with ${value.error}: ${value.message}`);
  return value;
}

// WebKitGTK draws on a display; this one is memory. All browsers of a test file share it.
let shared;
function display() {
  shared ??= startDisplay();
  return shared;
}

async function startDisplay() {
  const size = `${SIZE.width}x${SIZE.height}x24`;
  const server = spawn('Xvfb', ['-displayfd', '3', '-screen', '0', size, '-nolisten', 'tcp'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  });
  endLater(server);
  // It writes the number that it chose once it can be used.
  const [number] = await once(server.stdio[3], 'data');
  return `:${String(number).trim()}`;
}
