// Holds a whole database of the server against what a client knows that it made. The database has one space.

import assert from 'node:assert/strict';
import { checkOrder, distinctKeys } from './log.mjs';

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
