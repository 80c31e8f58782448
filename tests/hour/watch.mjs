// Looks at every tab about once a second: what waits there, and how the inspector explains it.

import { setTimeout as sleep } from 'node:timers/promises';
import { judgeSentence, NOTICED_MS, OF_ENTRIES, OF_STATUS, rawIn } from './claims.mjs';
import { readInspector } from './inspector.mjs';
import { nameOf, Tally } from './tally.mjs';

const EVERY_MS = 1_000;
/** Of a long outbox so many sentences are read each time. */
const READ_MAX = 4;
/** A page that does not answer for so long hangs. */
const ANSWER_MS = 20_000;
/** A page that nobody kills can be read again after so many tries at the latest. */
const BLIND_MAX = 5;

export class Watch {
  /** By sentence: how often it explained a wait. */
  table = new Tally();
  /** What the device contradicted for less than a second: it goes on while it is read. */
  momentary = new Tally();
  /** Looks that failed because the page was killed, or was not ready: by what was said then. */
  swallowed = new Tally();
  wrong = [];
  samples = 0;
  #told = new Set();
  #isOver = false;
  #loops = [];
  /** By tab, and by what it is about: what did not fit last time. */
  #misfits = new WeakMap();
  #readySince = new WeakMap();
  /** By tab: how often in a row it could not be read. */
  #blind = new WeakMap();

  start(people) {
    this.#loops = people.map((person) => this.#follow(person));
  }

  async stop() {
    this.#isOver = true;
    await Promise.all(this.#loops);
  }

  async #follow(person) {
    while (!this.#isOver) {
      for (const page of [...person.tabs]) await this.look(person, page);
      await sleep(EVERY_MS);
    }
  }

  /** Looks at one tab, once. A page that is killed while it is looked at says nothing. */
  async look(person, page) {
    const { lives } = person;
    const isThere = () => person.lives === lives && person.tabs.includes(page);
    const seen = await answer(page.evaluate(readInspector, READ_MAX)).catch((error) => ({ why: error.message }));
    if (seen.why === undefined && isThere()) {
      this.#blind.delete(page);
      this.samples += 1;
      this.#judge(person, page, seen);
      return;
    }
    this.swallowed.add(seen.why ?? 'killed, or closed, as it was read');
    const times = isThere() ? (this.#blind.get(page) ?? 0) + 1 : 0;
    this.#blind.set(page, times);
    if (times === BLIND_MAX)
      this.#report(`${person.name}: the inspector could not be read ${times} times: ${seen.why}`);
  }

  /** Once, whatever the numbers in it are. */
  #report(what) {
    const name = nameOf(what);
    if (!this.#told.has(name)) this.wrong.push(what);
    this.#told.add(name);
  }

  #judge(person, page, { glances, missing, text }) {
    const who = (status) => `${person.name}, ${tellTab(person, page, status)}`;
    const misfits = new Map();
    const judge = (what, about, sentence, claims, facts) => {
      const { name, wrong, misfit } = judgeSentence(sentence, claims, { truth: person.truth, ...facts });
      this.table.add(`${what}: ${name}`);
      const told = `${who(facts.here.status)}: ${what}: “${sentence}”: `;
      if (wrong) this.#report(`${told}${wrong}\n  ${tellHere(facts.here)}`);
      if (misfit)
        misfits.set(`${about} ${name}`, {
          name: `${what}: ${name}`,
          told: `${told}${misfit}: ${tellHere(facts.here)}`,
        });
    };
    for (const key of missing) this.#report(`${person.name}: ${key} waits, and is not drawn`);
    let isStuck = false;
    for (const { at, status, outbox, header, entry, sentence } of glances) {
      if (entry) {
        const isOld = this.#isOld(page, entry, at);
        if (entry.state === 'saving' && isOld) this.#report(`${who(status)}: ${entry.key} is not on disk yet`);
        const isReady = entry.state === 'queued' && isOld;
        isStuck ||= isReady;
        const facts = { at, isStuck: isReady, here: { status, outbox, entry } };
        judge('waits', entry.key, sentence, OF_ENTRIES, facts);
      }
      const waits = status.queued + status.in_flight + status.parked > 0 || status.state !== 'saved';
      // Drawing follows the device: what it says may be late for as long as the device goes on.
      const here = { status, outbox };
      if (waits) judge('status', tellHere(here), header, OF_STATUS, { at, isStuck, here });
    }
    this.#confirm(page, misfits);
    const raw = rawIn(text);
    if (raw) this.#report(`${person.name}: on the screen stands “${raw}”`);
  }

  /** The sentence may have been drawn just before the device went on. What is still so at the next look, in whatever words, is wrong. */
  #confirm(page, misfits) {
    const before = this.#misfits.get(page) ?? new Map();
    for (const [about, { told }] of misfits) if (before.has(about)) this.#report(told);
    for (const [about, { name }] of before) if (!misfits.has(about)) this.momentary.add(name);
    this.#misfits.set(page, misfits);
  }

  /** Whether it has been in that state for as long as it takes to notice what holds it. */
  #isOld(page, { key, state }, at) {
    const since = this.#readySince.get(page) ?? new Map();
    this.#readySince.set(page, since);
    const name = `${key} ${state}`;
    if (!since.has(name)) since.set(name, at);
    return at - since.get(name) > NOTICED_MS;
  }
}

async function answer(asked) {
  const timer = new AbortController();
  const late = sleep(ANSWER_MS, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`the page does not answer for ${ANSWER_MS} ms`);
  });
  try {
    return await Promise.race([asked, late]);
  } finally {
    timer.abort();
    late.catch(() => {});
    asked.catch(() => {});
  }
}

const tellTab = ({ tabs }, page, { sender }) =>
  `tab ${tabs.indexOf(page) + 1} of ${tabs.length}, which ${sender ? 'sends' : 'does not send'}`;

const tellHere = ({ status, outbox, entry }) =>
  JSON.stringify({ status, entry, outbox: outbox.map(({ key, state }) => `${key} ${state}`) });
