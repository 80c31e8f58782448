// An outbox as one writes it by hand with Dexie.js: the rows and what waits in one transaction, sent in one request.

import { Dexie } from 'dexie';
import { nextTask } from '/work.js';
import { apply, newRows, post, TABLES } from './common.js';

export async function open({ name, room, url, durability }) {
  const db = new Dexie(name, { chromeTransactionDurability: durability });
  db.version(1).stores({ card: 'id', connection_type: 'id', connection: 'id', outbox: '++n' });
  await db.open();
  return { db, rows: newRows(), room, url };
}

export async function openSecond(options) {
  const { db, ...rest } = await open(options);
  const found = await (await fetch(`${options.url}/rows/${options.room}`)).json();
  await db.transaction('rw', TABLES, () => Promise.all(TABLES.map((table) => db[table].bulkPut(found[table]))));
  return { db, ...rest };
}

/** The app has its rows in memory, so that nothing needs to be read for a change of one. */
function write({ db, rows }, edits) {
  const touched = Object.fromEntries(TABLES.map((table) => [table, new Set()]));
  for (const edit of edits) {
    apply(rows, edit);
    touched[edit.table].add(edit.id);
  }
  const changes = TABLES.map((table) => {
    const ids = [...touched[table]];
    const there = ids.filter((id) => rows[table].has(id)).map((id) => rows[table].get(id));
    return { table, there, gone: ids.filter((id) => !rows[table].has(id)) };
  });
  return db.transaction('rw', [...TABLES, 'outbox'], async () => {
    const done = [db.outbox.add({ key: crypto.randomUUID(), edits })];
    for (const { table, there, gone } of changes) {
      if (there.length > 0) done.push(db[table].bulkPut(there));
      if (gone.length > 0) done.push(db[table].bulkDelete(gone));
    }
    await Promise.all(done);
  });
}

export async function burst(db, work) {
  const written = [];
  for (const edits of work) {
    await nextTask();
    written.push(write(db, edits));
  }
  await Promise.all(written);
}

export const single = (db, { id, ...row }) => write(db, [{ op: 'create', table: 'card', id, row }]);

export async function drain({ db, room, url }) {
  const waiting = await db.outbox.toArray();
  await post(
    `${url}/rows/${room}`,
    waiting.map(({ key, edits }) => ({ key, edits })),
  );
  await db.outbox.bulkDelete(waiting.map(({ n }) => n));
}

export async function read({ db }) {
  const found = await Promise.all(TABLES.map((table) => db[table].toArray()));
  return Object.fromEntries(TABLES.map((table, i) => [table, found[i]]));
}

export const close = ({ db }) => db.close();
