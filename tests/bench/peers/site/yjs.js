// Yjs with y-indexeddb and y-websocket: a map for each table, a row being one plain value of it.

import { createEncoder, toUint8Array, writeVarUint } from 'lib0/encoding';
import { IndexeddbPersistence } from 'y-indexeddb';
import { writeSyncStep1 } from 'y-protocols/sync';
import { messageSync, WebsocketProvider } from 'y-websocket';
import { Doc } from 'yjs';
import { nextTask } from '/work.js';
import { TABLES, watchDisk } from './common.js';

export async function open({ name, room, url }) {
  const disk = watchDisk();
  const doc = new Doc();
  const tables = Object.fromEntries(TABLES.map((table) => [table, doc.getMap(table)]));
  const stored = new IndexeddbPersistence(name, doc);
  await stored.whenSynced;
  return { disk, doc, tables, stored, room, url };
}

export async function openSecond(options) {
  const db = await open(options);
  await connect(db);
  return db;
}

function connect(db) {
  db.provider = new WebsocketProvider(`${db.url.replace('http', 'ws')}/yjs`, db.room, db.doc, { disableBc: true });
  return new Promise((done) => db.provider.once('sync', done));
}

function apply(tables, { op, table, id, row }) {
  const rows = tables[table];
  if (op === 'create') rows.set(id, { id, ...row });
  else if (op === 'update') rows.set(id, { ...rows.get(id), ...row });
  else rows.delete(id);
}

export async function burst({ disk, doc, tables }, work) {
  for (const edits of work) {
    await nextTask();
    doc.transact(() => {
      for (const edit of edits) apply(tables, edit);
    });
  }
  await disk.written(1);
}

export async function single({ disk, tables }, row) {
  tables.card.set(row.id, row);
  await disk.written(1);
}

/** The protocol knows no acknowledgement, but messages keep their order: what is asked last is answered when all before it is stored. */
export async function drain(db) {
  await connect(db);
  const { ws } = db.provider;
  const answer = new Promise((done) => ws.addEventListener('message', done, { once: true }));
  const encoder = createEncoder();
  writeVarUint(encoder, messageSync);
  writeSyncStep1(encoder, db.doc);
  ws.send(toUint8Array(encoder));
  await answer;
}

export function read({ tables }) {
  return Object.fromEntries(TABLES.map((table) => [table, [...tables[table].values()]]));
}

export async function close({ disk, stored, provider }) {
  provider?.destroy();
  await disk.written(1);
  await stored.destroy();
}
