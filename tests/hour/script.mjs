// What two people do in an hour, and what goes wrong meanwhile: all of it follows from a seed, before anything has begun.
//
// A round is about a minute of such an hour. In it each person does a few things, and one or two troubles come at some moment. What
// one person touches in a round the other leaves alone until the next, but for this: now and then one deletes what the other has just
// connected. Across rounds they meet, also where one of them has been away.

import { seeded } from '../browser/ledger.mjs';

export const PEOPLE = ['ann', 'ben'];
const WORDS =
  'amber birch cedar delta ember fjord grove haven inlet juniper kelp larch maple north ocean pebble quartz reed stone tide'.split(
    ' ',
  );
const COLORS = ['1', '2', '3', '4', '5', '6'];
/** Each person has a half of the canvas for new cards: columns by rows. */
const [COLUMNS, ROWS] = [3, 4];
const KINDS_MAX = 5;
const KEPT_MIN = 3;

/** Troubles, each dealt as often as it stands here before any comes again. */
const TROUBLES = [
  'server-killed',
  'browser-killed',
  'tabs-killed',
  'cut',
  'offline',
  'switched-off',
  'stalled',
  'bad-network',
  'server-killed',
  'browser-killed-while-cut',
];

/** The rounds: `{ actions: { ann, ben }, troubles, secondTab }`. */
export function planHour({ seed, rounds }) {
  const random = seeded(seed);
  const board = new Board(random);
  const deck = new Deck(TROUBLES, random);
  return Array.from({ length: rounds }, (_, round) => {
    board.beginRound();
    const secondTab = random() < 0.3 ? pick(random, PEOPLE) : undefined;
    const actions = Object.fromEntries(PEOPLE.map((who) => [who, board.planActions(who, 4, secondTab === who)]));
    const troubles = round === 0 ? [] : planTroubles(random, deck);
    return { actions, troubles, secondTab };
  });
}

function planTroubles(random, deck) {
  const first = { ...deal(random, deck), afterMs: 300 + Math.floor(random() * 3_000) };
  if (random() < 0.4) return [first];
  return [first, { ...deal(random, deck), afterMs: first.afterMs + 2_000 + Math.floor(random() * 3_000) }];
}

const deal = (random, deck) => ({
  kind: deck.next(),
  who: pick(random, PEOPLE),
  forMs: 4_000 + Math.floor(random() * 9_000),
});

const pick = (random, all) => all[Math.floor(random() * all.length)];

class Deck {
  #kinds;
  #random;
  #left = [];

  constructor(kinds, random) {
    this.#kinds = kinds;
    this.#random = random;
  }

  next() {
    if (this.#left.length === 0) this.#left = [...this.#kinds];
    return this.#left.splice(Math.floor(this.#random() * this.#left.length), 1)[0];
  }
}

/** What would be on the canvas if all went as planned. */
class Board {
  #random;
  #items = new Map(); // By name: owner, cell, and what it is.
  #kinds = [];
  #count = 0;
  #touched = new Map();
  /** What has been connected in this round, and by whom. */
  #connected = new Map();

  constructor(random) {
    this.#random = random;
  }

  beginRound() {
    this.#touched = new Map();
    this.#connected = new Map();
  }

  planActions(who, count, hasSecondTab) {
    return Array.from({ length: count }, () => {
      const tab = hasSecondTab && this.#random() < 0.5 ? 1 : 0;
      return { tab, ...this.#plan(who) };
    });
  }

  #plan(who) {
    const makers = {
      card: [4, () => this.#make(who, 'card')],
      list: [2, () => this.#make(who, 'list')],
      box: [1, () => this.#makeBox(who)],
      kind: [1, () => this.#makeKind()],
      copy: [1, () => this.#copy(who)],
      write: [4, () => this.#on(who, 0.3, 'write', { words: this.#words() })],
      drag: [4, () => this.#on(who, 0, 'drag', { dx: this.#within(18), dy: this.#within(26) })],
      nudge: [1, () => this.#on(who, 0, 'nudge', { key: this.#pick(['ArrowRight', 'ArrowLeft', 'ArrowDown']) })],
      drag_back: [1, () => this.#on(who, 0, 'drag-back', { dx: this.#within(18), dy: this.#within(26) })],
      paint: [2, () => this.#on(who, 0.4, 'paint', { color: this.#pick(COLORS) })],
      vote: [3, () => this.#on(who, 0.5, 'vote', {})],
      tick: [2, () => this.#on(who, 0.4, 'tick', {}, 'list')],
      connect: [4, () => this.#connect(who)],
      remove: [2, () => this.#remove(who)],
      remove_connected: [4, () => this.#removeConnected(who)],
      remove_back: [1, () => this.#on(who, 0, 'remove-back', {})],
    };
    const weighted = Object.values(makers).flatMap(([weight, make]) => Array(weight).fill(make));
    for (;;) {
      const planned = this.#pick(weighted)();
      if (planned) return planned;
    }
  }

  #make(who, kind) {
    const cell = this.#freeCell(who);
    if (cell === undefined) return undefined;
    const name = this.#name();
    this.#items.set(name, { owner: who, cell, kind });
    this.#touch(who, name);
    return { do: kind, name, cell };
  }

  #makeBox(who) {
    if ([...this.#items.values()].some(({ owner, kind }) => owner === who && kind === 'box')) return undefined;
    const name = this.#name();
    this.#items.set(name, { owner: who, kind: 'box' });
    this.#touch(who, name);
    return { do: 'box', name, cell: cellOf(who, 4) };
  }

  #makeKind() {
    if (this.#kinds.length === KINDS_MAX) return undefined;
    const name = `kind ${this.#name()}`;
    this.#kinds.push(name);
    return { do: 'kind', name };
  }

  #copy(who) {
    const [source, cell] = [this.#target(who, 0), this.#freeCell(who)];
    if (source === undefined || cell === undefined) return undefined;
    const name = this.#name();
    this.#items.set(name, { owner: who, cell, kind: 'card' });
    this.#touch(who, name);
    return { do: 'copy', target: source, name, cell };
  }

  #on(who, othersShare, what, more, kind) {
    const target = this.#target(who, othersShare, kind);
    return target && { do: what, target, cell: this.#items.get(target).cell, ...more };
  }

  #connect(who) {
    const [from, to] = [this.#target(who, 0.3), this.#target(who, 0.3)];
    if (from === undefined || to === undefined || from === to) return undefined;
    this.#connected.set(to, who);
    return { do: 'connect', from, to, kind: this.#random() < 0.6 ? this.#pick(this.#kinds) : undefined };
  }

  #remove(who) {
    if (this.#cardsOf(who).length <= KEPT_MIN) return undefined;
    const target = this.#target(who, 0.15);
    if (target === undefined) return undefined;
    this.#items.delete(target);
    return { do: 'remove', target };
  }

  #removeConnected(who) {
    const [name, by] = [...this.#connected].find(([name, by]) => by !== who && this.#items.has(name)) ?? [];
    if (name === undefined || this.#cardsOf(by).length <= KEPT_MIN) return undefined;
    this.#items.delete(name);
    return { do: 'remove', target: name };
  }

  #target(who, othersShare, kind) {
    const isOthers = this.#random() < othersShare;
    const all = [...this.#items].filter(([name, item]) => {
      const isFree = [undefined, who].includes(this.#touched.get(name));
      return isFree && item.kind !== 'box' && (kind ?? item.kind) === item.kind && (item.owner !== who) === isOthers;
    });
    const [name] = this.#pick(all) ?? [];
    if (name !== undefined) this.#touch(who, name);
    return name;
  }

  #freeCell(who) {
    const taken = new Set(this.#cardsOf(who).map(({ cell }) => cell.join()));
    const cells = Array.from({ length: COLUMNS * ROWS }, (_, n) => cellOf(who, n));
    return this.#pick(cells.filter((cell) => !taken.has(cell.join())));
  }

  #cardsOf = (who) => [...this.#items.values()].filter(({ owner, kind }) => owner === who && kind !== 'box');
  #touch = (who, name) => this.#touched.set(name, who);
  #pick = (all) => pick(this.#random, all);
  #within = (most) => Math.round((this.#random() * 2 - 1) * most);
  #words = () => `${this.#pick(WORDS)} ${this.#pick(WORDS)}`;
  #name = () => `${this.#pick(WORDS)} ${++this.#count}`;
}

/** Where a card's middle goes, on the canvas. */
function cellOf(who, n) {
  const column = (n % COLUMNS) + PEOPLE.indexOf(who) * COLUMNS;
  return [column * 300 + 150, Math.floor(n / COLUMNS) * 200 + 100];
}
