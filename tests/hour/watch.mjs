// Looks at every tab about once a second: what waits there, and how the inspector explains it.

import { setTimeout as sleep } from 'node:timers/promises';
import { judgeSentence, NOTICED_MS, OF_ENTRIES, OF_STATUS, rawIn } from './claims.mjs';

const EVERY_MS = 1_000;
/** Of a long outbox so many sentences are read each time. */
const READ_MAX = 4;

export class Watch {
  /** By sentence: how often it explained a wait. */
  table = new Map();
  wrong = [];
  samples = 0;
  #isOver = false;
  #loops = [];
  /** What was found last time, by tab: drawing follows the engine, and what is wrong for a moment only is not. */
  #before = new WeakMap();
  #readySince = new WeakMap();

  start(people) {
    this.#loops = people.map((person) => this.#follow(person));
  }

  async stop() {
    this.#isOver = true;
    await Promise.all(this.#loops);
  }

  async #follow(person) {
    while (!this.#isOver) {
      for (const page of [...person.tabs]) await this.#lookOrDie(person, page);
      await sleep(EVERY_MS);
    }
  }

  /** A page that is killed while it is looked at says nothing. */
  async #lookOrDie(person, page) {
    const { lives } = person;
    await this.#look(person, page).catch((error) => {
      if (person.lives === lives && person.tabs.includes(page)) this.#report(`${person.name}: ${error.message}`);
    });
  }

  async #look(person, page) {
    const seen = await page.evaluate(readInspector, READ_MAX);
    if (!seen || !person.tabs.includes(page)) return;
    this.samples += 1;
    const found = this.#judge(person, page, seen);
    const before = this.#before.get(page) ?? new Set();
    for (const one of found)
      if (before.has(one)) this.#report(`${person.name}, ${tellTab(person, page, seen)}: ${one}`);
    this.#before.set(page, new Set(found));
    const raw = rawIn(seen.text);
    if (raw) this.#report(`${person.name}: on the screen stands “${raw}”`);
  }

  #report(what) {
    if (!this.wrong.includes(what)) this.wrong.push(what);
  }

  #judge(person, page, { status, header, entries, missing, waiting }) {
    const since = this.#readySince.get(page) ?? new Map();
    this.#readySince.set(page, since);
    const found = missing.map((key) => `${key} waits, and is not drawn`);
    let isStuck = false;
    for (const { key, state, sentence } of entries) {
      const name = `${key} ${state}`;
      if (!since.has(name)) since.set(name, Date.now());
      const isOld = Date.now() - since.get(name) > NOTICED_MS;
      const isReady = state === 'queued' && isOld;
      if (state === 'saving' && isOld) found.push(`${key} is not on disk yet`);
      isStuck ||= isReady;
      found.push(...this.#judgeOne('waits', sentence, OF_ENTRIES, person.truth, isReady));
    }
    const waits = status.queued + status.in_flight + status.parked > 0 || status.state !== 'saved';
    if (waits) found.push(...this.#judgeOne('status', header, OF_STATUS, person.truth, isStuck));
    if (header.startsWith('Everything is on the server') && waiting.length > 0)
      found.push(`“${header}”, while there is still ${waiting[0]}`);
    return found;
  }

  #judgeOne(what, sentence, claims, truth, isStuck) {
    const { name, wrong } = judgeSentence(sentence, claims, truth, isStuck);
    const row = `${what}: ${name}`;
    this.table.set(row, (this.table.get(row) ?? 0) + 1);
    return wrong ? [`${what}: “${sentence}”: ${wrong}`] : [];
  }
}

const tellTab = ({ tabs }, page, { status: { sender } }) =>
  `tab ${tabs.indexOf(page) + 1} of ${tabs.length}, which ${sender ? 'sends' : 'does not send'}`;

/** In the page. Chooses transactions in the inspector one after the other and reads why they wait. */
async function readInspector(most) {
  const root = document.querySelector('.inspector-tab > div')?.shadowRoot;
  if (!root || document.hidden) return undefined;
  const db = window.driftline;
  const drawn = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const nodes = () => new Map([...root.querySelectorAll('svg [data-key]')].map((one) => [one.dataset.key, one]));
  const outbox = db.outbox();
  const isAllDrawn = root.querySelector('.graph .more') === null;
  const missing = isAllDrawn ? outbox.map(({ key }) => key).filter((key) => !nodes().has(key)) : [];
  const step = Math.max(1, Math.ceil(outbox.length / most));
  const chosen = outbox.filter(({ state }, index) => index % step === 0 || state === 'parked');
  const entries = [];
  for (const { key } of chosen) {
    const node = nodes().get(key);
    if (!node) continue;
    node.dispatchEvent(new MouseEvent('click', { bubbles: true }));
    await drawn();
    const now = db.outbox().find((one) => one.key === key);
    const detail = [...root.querySelectorAll('aside.detail')].find((one) => one.dataset.key === key);
    if (now && detail)
      entries.push({ key, state: now.state, sentence: detail.querySelector('.why')?.textContent ?? '' });
  }
  await drawn();
  return {
    status: db.status,
    header: root.querySelector('header .sentence')?.textContent ?? '',
    entries,
    missing,
    waiting: db.outbox().map(({ key }) => key),
    text: `${document.body.innerText}\n${root.querySelector('.app').innerText}`,
  };
}
