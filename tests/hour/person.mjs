// A person at a device of their own: a browser with one or two tabs of the app, and a network between it and the server.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFaultyNetwork } from '../browser/faulty.mjs';
import { openBrowser, startNetwork, until } from '../browser/harness.mjs';
import { untilKeptForOffline } from '../browser/page.mjs';
import { Truth } from './truth.mjs';

const VIEWPORT = { width: 1600, height: 1000 };
const ACTION_TIMEOUT_MS = 10_000;
const OPEN_TIMEOUT_MS = 40_000;
/** What a browser says by itself when a request fails. */
const OF_NETWORK = /Failed to load resource|net::ERR_|WebSocket connection to|Failed to fetch|service worker/i;

/** Of what waits for rows, those are named; of what waits for other transactions, their keys. */
const isUpToPerson = ({ state, waits_on }) =>
  state === 'parked' || (state === 'waiting' && !waits_on.some((awaited) => awaited.includes(' ')));

export class Person {
  name;
  truth = new Truth();
  /** What the browsers' consoles held that no failing network explains. */
  errors = [];
  browser;
  /** `near` is cut and stalled, `far` fails at random. */
  near;
  far;
  #space;
  #tabs = [];
  /** Pages are opened and killed, and browsers told of the network, one after the other. */
  #ready = Promise.resolve();
  #doing = Promise.resolve();
  /** How often something of this person was killed: what was begun before is not finished afterwards. */
  lives = 0;

  static async open({ name, space, serverPort, seed }) {
    const person = new Person();
    person.name = name;
    person.#space = space;
    person.far = await startFaultyNetwork(serverPort, { seed });
    person.near = await startNetwork(person.far.port);
    person.browser = await openBrowser({ options: { viewport: VIEWPORT, reducedMotion: 'reduce' } });
    await person.openTab();
    await untilKeptForOffline(person.#tabs[0]);
    return person;
  }

  get tabs() {
    return this.#tabs;
  }

  /** The tab with that number, or the first; once it can be used and nothing is about to kill it. */
  async tab(number = 0) {
    for (let ready; ready !== this.#ready; ) {
      ready = this.#ready;
      await ready;
    }
    return this.#tabs[number] ?? this.#tabs[0];
  }

  openTab = () => this.#inTurn(() => this.#openTab());

  async #openTab() {
    this.truth.begin('opening');
    if (this.#tabs.length > 0) this.truth.begin('tabs');
    const page = await this.browser.context.newPage();
    page.setDefaultTimeout(ACTION_TIMEOUT_MS);
    page.on('pageerror', (error) => this.errors.push(`thrown: ${error.stack ?? error.message}`));
    page.on('console', (message) => {
      const text = `${message.text()} ${message.location().url}`;
      if (message.type() === 'error' && !OF_NETWORK.test(text)) this.errors.push(`console: ${text}`);
    });
    await page.goto(`${this.near.url}/?space=${this.#space}&debug=1`, { timeout: OPEN_TIMEOUT_MS });
    await page.waitForFunction(() => window.driftline, undefined, { timeout: OPEN_TIMEOUT_MS });
    await page.evaluate(() => window.driftline.loaded);
    await page.click('[data-testid=tab-inspector]');
    await page.locator('.inspector-tab .sentence').first().waitFor();
    // Escape closes a panel that has the focus.
    await page.evaluate(() => document.activeElement?.blur());
    // "Work offline" outlives a page that was killed: whoever comes back switches it off first.
    const isOff = await page.getAttribute('[data-testid=online-switch]', 'aria-checked');
    if (this.#tabs.length === 0 && isOff === 'true') {
      this.truth.begin('switching');
      await page.click('[data-testid=online-switch]');
      await page.evaluate(() => document.activeElement?.blur());
      this.truth.end('switching');
    }
    this.truth.end('opening');
    this.#tabs.push(page);
  }

  closeSecondTab = () =>
    this.#inTurn(async () => {
      for (const page of this.#tabs.splice(1)) await page.close();
      this.truth.end('tabs');
      this.#assertKnown();
    });

  /** A page that nobody knows of would hold locks, and send: what the others then say of it is true. */
  #assertKnown() {
    const isApp = (page) => page.url().startsWith(this.near.url);
    const unknown = this.browser.context.pages().filter((page) => isApp(page) && !this.#tabs.includes(page));
    assert.equal(unknown.length, 0, `${this.name} has ${unknown.length} pages open that the script does not know`);
  }

  /** What the browser says of the network. A page that is being opened meanwhile would go on saying what was so before. */
  tellOffline = (isOffline) => this.#inTurn(() => this.browser.context.setOffline(isOffline));

  #inTurn(act) {
    const done = this.#ready.then(act);
    this.#ready = done;
    return done;
  }

  /** Ends by SIGKILL what `kill` ends, and opens one tab again `afterMs` later. */
  die = (kill, afterMs) =>
    this.#inTurn(async () => {
      this.lives += 1;
      const pages = this.#tabs.splice(0);
      await kill(pages);
      for (const what of ['tabs', 'switching', 'switched']) this.truth.end(what);
      this.#assertKnown();
      await sleep(afterMs);
      await this.#openTab();
    });

  killBrowser = (afterMs) =>
    this.die(async () => {
      await this.browser.kill();
      await this.browser.reopen();
      if (this.truth.was('told')) await this.browser.context.setOffline(true);
    }, afterMs);

  killTabs = (afterMs) =>
    this.die(async (pages) => {
      await this.browser.killTabs();
      for (const page of pages) await page.close();
    }, afterMs);

  /** One thing after the other: nobody reaches for a switch while typing. */
  alone(act) {
    const done = this.#doing.then(act);
    this.#doing = done.catch(() => {});
    return done;
  }

  /** Waits until nothing is on its way to the disk: the status says that it is saved on this device. */
  async untilOnDisk(page) {
    await page.waitForFunction(() => window.driftline.outbox().every(({ state }) => state !== 'saving'));
  }

  /** Waits until all is on the server but what is held back, and what waits for that. */
  async untilSettled({ timeoutMs }) {
    const [page] = this.#tabs;
    let seen;
    const isSettled = async () => {
      seen = await page.evaluate(() => ({ status: window.driftline.status, outbox: window.driftline.outbox() }));
      const { status, outbox } = seen;
      return (status.state === 'saved' || ['parked', 'waiting'].includes(status.reason)) && outbox.every(isUpToPerson);
    };
    await until(`${this.name} to settle`, isSettled, { timeoutMs, everyMs: 250 }).catch((error) => {
      throw new Error(`${error.message}; the device shows ${JSON.stringify(seen)}`);
    });
  }
}
