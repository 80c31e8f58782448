// Driftline at the same work.

import { nextTask } from './work.js';

export async function openSpace(schema, options) {
  const { open } = await import('/driftline/index.js');
  const db = await open({ schema, ...options });
  await db.loaded;
  return db;
}

function make(tx, { op, table, id, row }) {
  if (op === 'create') tx[table].create({ id, ...row });
  else if (op === 'update') tx[table].update(id, row);
  else tx[table].delete(id);
}

/** Each transaction in its own task, none of them awaited. */
export async function issue(db, work) {
  for (const transaction of work) {
    await nextTask();
    db.transaction((tx) => {
      for (const edit of transaction) make(tx, edit);
    });
  }
}

export async function burst(db, work) {
  const began = performance.now();
  await issue(db, work);
  await db.saved();
  return performance.now() - began;
}

/** Times of `count` single edits, each on the disk before the next. */
export async function singles(db, from, count, make) {
  const times = [];
  for (let n = from; n < from + count; n++) {
    await nextTask();
    const began = performance.now();
    await db.tables.card.create(make(n)).saved;
    times.push(performance.now() - began);
  }
  return times;
}

/** How long the call takes, without what follows it. */
export async function calls(db, from, count, make) {
  const times = [];
  for (let n = from; n < from + count; n++) {
    const row = make(n);
    await nextTask();
    const began = performance.now();
    db.tables.card.create(row);
    times.push(performance.now() - began);
  }
  await db.saved();
  return times;
}

export async function drain(db) {
  const began = performance.now();
  db.setOnline(true);
  await db.accepted();
  return performance.now() - began;
}

/** By table, how many rows there are. */
export function count(db) {
  return {
    card: db.tables.card.size,
    connection_type: db.tables.connection_type.size,
    connection: db.tables.connection.size,
  };
}

/** Resolves once so many rows are there. */
export function untilThere(db, rows) {
  const isThere = () => Object.entries(rows).every(([table, count]) => db.tables[table].size === count);
  return new Promise((resolve) => {
    if (isThere()) return resolve();
    const stop = db.subscribe(() => {
      if (!isThere()) return;
      stop();
      resolve();
    });
  });
}

/** From a script's begin to rows, the engine's loading included. */
export async function coldOpen(schema, options, rows) {
  const began = performance.now();
  const { open } = await import('/driftline/index.js');
  const db = await open({ schema, ...options });
  await db.loaded;
  await untilThere(db, rows);
  return { db, ms: performance.now() - began };
}

/** Notes from now on when the page's last write was on the disk. */
export function watchDisk() {
  const begin = IDBDatabase.prototype.transaction;
  const seen = { last: 0 };
  IDBDatabase.prototype.transaction = function (...args) {
    const transaction = begin.apply(this, args);
    if (args[1] === 'readwrite') {
      transaction.addEventListener('complete', () => {
        seen.last = performance.now();
      });
    }
    return transaction;
  };
  return seen;
}
