// Holds a whole database of the server against what a client knows that it made. The database has one space.

import assert from 'node:assert/strict';
import { checkOrder, distinctKeys, replay } from './log.mjs';

/** A random number generator that a seed repeats (mulberry32); numbers from 0 to below 1. */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Asserts what must hold whatever happened on the way: a log without gaps, in order, and tables that agree with it. */
export async function assertSound(server, schema, log) {
  const revs = [...new Set(log.map((part) => part.rev))];
  const gap = revs.findIndex((rev, i) => rev !== i + 1);
  assert.equal(gap, -1, `revision ${gap + 1} is missing from the log`);
  distinctKeys(log);
  const rows = checkOrder(schema, log);
  const tables = Object.keys(schema.tables).map((table) => `SELECT count(*) AS n FROM "${table}"`);
  const [{ n }] = await server.query(`SELECT sum(n) AS n FROM (${tables.join(' UNION ALL ')})`);
  assert.equal(n, rows.size, 'the tables hold the rows that the log leaves');
  assert.deepEqual(await server.query('PRAGMA foreign_key_check'), []);
  assert.deepEqual(await server.query('PRAGMA integrity_check'), [{ integrity_check: 'ok' }]);
}

/** Asserts that exactly these transactions are in the log. */
export function assertKeys(log, keys) {
  const applied = new Set(log.map((part) => part.key));
  const expected = new Set(keys);
  const lost = [...expected].filter((key) => !applied.has(key));
  const foreign = [...applied].filter((key) => !expected.has(key));
  assert.deepEqual({ lost, foreign }, { lost: [], foreign: [] });
  assert.equal(log.length, expected.size, 'each transaction is in the log once');
}

// ---- Edits that are noted outside the browser that makes them ----

/** Increments of one row. Each adds its own power of four, so that the sum tells of each whether it counted, once or twice. */
const DIGITS = 25;
const weight = (digit) => 4 ** digit;

/** How often each increment counts in a sum. */
const digitsOf = (sum) => Array.from({ length: DIGITS + 1 }, (_, digit) => Math.floor(sum / weight(digit)) % 4);

/**
 * Thinks up the edits of two tabs, notes each before it is made, and what its promise said; then tells what became of them.
 *
 * An edit is `planned`; then `saved`, or `refused` by the engine when it was made, or `unsure`, because the browser died before it
 * said anything. What is unsure may have been kept or not, and nothing is built on it. Each tab (`lane`) updates and deletes rows
 * of its own; those that are `shared` are never deleted, and both count them up and refer to them.
 */
export class Ledger {
  #random;
  #newId;
  #edits = [];
  /** By id: the table, the lane, the edit that creates it, the edits of it, the cards that it hangs on. */
  #rows = new Map();
  /** The ids that a lane may use, by table. */
  #own = [newPools(), newPools()];
  #shared = newPools();
  savedCount = 0;
  #life = 1;

  constructor(random) {
    this.#random = random;
    this.#newId = () => {
      const hex = (digits) => Array.from({ length: digits }, () => Math.floor(random() * 16).toString(16)).join('');
      return `${hex(8)}-${hex(4)}-7${hex(3)}-8${hex(3)}-${hex(12)}`;
    };
  }

  /** How many edits there are of each state. */
  get counts() {
    const counts = { planned: 0, saved: 0, unsure: 0, refused: 0 };
    for (const { state } of this.#edits) counts[state] += 1;
    return counts;
  }

  /** The next edits of a lane, as `{n, ops: [{op, table, id, set, by}]}`; each is one transaction. */
  plan(lane, count) {
    return Array.from({ length: count }, () => this.#one(lane)).map(({ n, ops }) => ({ n, ops }));
  }

  /** The promise of an edit resolved: it is on disk. */
  saved(n) {
    const edit = this.#edits[n];
    edit.state = 'saved';
    this.savedCount += 1;
    for (const { op, table, id } of edit.ops) {
      if (op === 'create' && this.#rows.get(id).isShared) this.#shared[table].push(id);
    }
  }

  /** The engine would not take it. Nothing of it may be found. */
  refused(n, why) {
    Object.assign(this.#edits[n], { state: 'refused', why });
    this.#forget(this.#edits[n]);
  }

  /** The browser is dead. What it had not said is not known. */
  died() {
    this.#life += 1;
    for (const edit of this.#edits) {
      if (edit.state !== 'planned') continue;
      edit.state = 'unsure';
      this.#forget(edit);
    }
  }

  /** Why edits were refused, with how many. */
  get refusals() {
    const whys = {};
    for (const { why } of this.#edits) if (why !== undefined) whys[why] = (whys[why] ?? 0) + 1;
    return whys;
  }

  /** All that is known of a row and of those that it hangs on. */
  about(id) {
    const row = this.#rows.get(id);
    const edits = row.edits.map(({ n, lane, state, life, ops }) => {
      const whats = ops.filter((op) => op.id === id).map(({ op, digit }) => `${op} ${digit ?? ''}`.trim());
      return `edit ${n} (${whats.join(', ')}), tab ${lane}, life ${life}: ${state}`;
    });
    return [`${row.table} ${id}: ${edits.join('; ')}`, ...row.on.flatMap((on) => this.about(on))];
  }

  #one(lane) {
    const n = this.#edits.length;
    const [own, all] = [this.#own[lane], (table) => [...this.#own[lane][table], ...this.#shared[table]]];
    const dice = this.#random();
    const cards = all('card');
    const ops = [];
    const create = (table, set, more = {}) => {
      const id = this.#newId();
      this.#rows.set(id, { table, lane, made: n, edits: [], on: [], digits: 0, ...more });
      ops.push({ op: 'create', table, id, set });
      return id;
    };
    const connect = (start, end, type) => {
      const set = { start_item: { card: start }, end_item: { card: end }, connection_type: type ?? null };
      create('connection', set, { on: [start, end] });
    };
    if (dice < 0.18 || cards.length < 3) {
      create('card', { text: `card of edit ${n}` }, { isShared: this.#random() < 0.3 });
    } else if (dice < 0.2) {
      create('connection_type', { name: `type of edit ${n}` }, { isShared: true });
    } else if (dice < 0.32) {
      connect(this.#pick(cards), this.#pick(cards), this.#pick(all('connection_type')));
    } else if (dice < 0.36) {
      // What needs the others comes first, as an import may have it.
      const id = create('card', { text: `card of edit ${n}` });
      const type = create('connection_type', { name: `type of edit ${n}` });
      connect(id, this.#pick(cards), type);
      ops.reverse();
    } else if (dice < 0.7) {
      const id =
        this.#pick(cards.filter((id) => this.#rows.get(id).digits < DIGITS)) ?? create('card', { text: 'counted' });
      if (ops.length === 0) {
        const row = this.#rows.get(id);
        ops.push({ op: 'increment', table: 'card', id, digit: row.digits, by: weight(row.digits) });
        row.digits += 1;
      }
    } else if (dice < 0.92 || own.connection.length < 3) {
      const id = this.#pick(own.card.filter((id) => !this.#rows.get(id).isShared)) ?? create('card', { text: 'moved' });
      if (ops.length === 0) ops.push({ op: 'move', table: 'card', id, set: { x: n } });
    } else {
      const table = this.#random() < 0.3 ? 'card' : 'connection';
      const id = this.#pick(own[table].filter((id) => !this.#rows.get(id).isShared));
      ops.push(
        id === undefined
          ? { op: 'delete', table: 'connection', id: this.#pick(own.connection) }
          : { op: 'delete', table, id },
      );
    }
    const edit = { n, lane, life: this.#life, ops, state: 'planned' };
    this.#edits.push(edit);
    for (const { op, table, id } of ops) {
      const row = this.#rows.get(id);
      row.edits.push(edit);
      if (op === 'create') own[table].push(id);
      if (op !== 'delete') continue;
      row.ends = edit;
      this.#drop(id);
      for (const [hanging, { on }] of this.#rows) if (on.includes(id)) this.#drop(hanging);
    }
    return edit;
  }

  #pick(list) {
    return list[Math.floor(this.#random() * list.length)];
  }

  /** Nothing more is built on a row. */
  #drop(id) {
    const { table, lane } = this.#rows.get(id);
    for (const pools of [this.#own[lane], this.#shared]) {
      const at = pools[table].indexOf(id);
      if (at >= 0) pools[table].splice(at, 1);
    }
  }

  #forget(edit) {
    for (const { op, id } of edit.ops) if (op === 'create') this.#drop(id);
  }

  /** The fates that a row may have: `there`, `gone`, or both. */
  #fates(row) {
    const edits = [row.ends, ...row.on.map((id) => this.#rows.get(id).ends)].filter((edit) => edit !== undefined);
    const made = this.#edits[row.made].state;
    if (made === 'refused' || edits.some(({ state }) => state === 'saved')) return ['gone'];
    const isSure = made === 'saved' && edits.every(({ state }) => state === 'refused');
    return isSure ? ['there'] : ['there', 'gone'];
  }

  /**
   * Holds rows, as `table id` with their values, against what is known of them. Returns what is `lost`, what counts `double`, and
   * what `nobody` made, a line for each.
   */
  judgeRows(rows) {
    const found = { lost: [], double: [], nobody: [] };
    for (const name of rows.keys()) {
      const row = this.#rows.get(name.split(' ')[1]);
      if (row === undefined) found.nobody.push(`${name} was made by nobody`);
      else if (!this.#fates(row).includes('there')) found.lost.push(`${name} is there again: its delete is lost`);
    }
    for (const [id, row] of this.#rows) {
      const values = rows.get(`${row.table} ${id}`);
      if (values !== undefined) this.#judgeValues(id, row, values, found);
      else if (!this.#fates(row).includes('gone')) found.lost.push(`${row.table} ${id} of edit ${row.made}`);
    }
    return found;
  }

  #judgeValues(id, row, { votes = 0, x = 0 }, found) {
    const states = new Map();
    const moves = [];
    for (const edit of row.edits) {
      for (const op of edit.ops.filter((op) => op.id === id)) {
        if (op.op === 'increment') states.set(op.digit, edit);
        if (op.op === 'move' && edit.state !== 'refused') moves.push(edit);
      }
    }
    for (const [digit, times] of digitsOf(votes).entries()) {
      const edit = states.get(digit);
      const what = `increment ${digit} of card ${id} (edit ${edit?.n}, ${edit?.state})`;
      if (times > 1) found.double.push(`${what} counts ${times} times`);
      if (times === 0 && edit?.state === 'saved') found.lost.push(what);
      if (times > 0 && (edit === undefined || edit.state === 'refused')) found.nobody.push(what);
    }
    const last = moves.findLastIndex((edit) => edit.state === 'saved');
    const may = moves.slice(Math.max(last, 0)).map((edit) => edit.n);
    if (last < 0) may.push(0);
    if (!may.includes(x)) found.lost.push(`the move of card ${id} in edit ${moves[last]?.n}: it stands at ${x}`);
  }

  /**
   * Holds the server's log against what is known: as `judgeRows` does for the rows that it leaves, and beside that what was applied
   * twice and what was applied before what it needs.
   */
  judgeLog(schema, log) {
    const { rows, gone, wrong } = replay(schema, log);
    const found = { ...this.judgeRows(rows), misordered: wrong };
    const [keys, created] = [new Set(), new Set()];
    for (const { rev, key, changes } of log) {
      if (keys.has(key)) found.double.push(`the transaction ${key} was applied again at revision ${rev}`);
      keys.add(key);
      for (const { op, table, id } of changes.filter((change) => change.op === 'create')) {
        if (created.has(id)) found.double.push(`the ${op} of ${table} ${id} was applied again at revision ${rev}`);
        created.add(id);
      }
    }
    for (const [name, { votes = 0 }] of gone) {
      const digit = digitsOf(votes).findIndex((times) => times > 1);
      if (digit >= 0) found.double.push(`increment ${digit} of ${name}, which is gone`);
    }
    const revs = [...new Set(log.map((part) => part.rev))];
    const gap = revs.findIndex((rev, i) => rev !== i + 1);
    if (gap >= 0) found.lost.push(`revision ${gap + 1} is missing from the log`);
    return found;
  }
}

const newPools = () => ({ card: [], connection: [], connection_type: [] });
