// RxDB with its free storage, Dexie.js: a collection for each table, many rows in a call. It has no transactions over collections.

import { createRxDatabase } from 'rxdb/plugins/core';
import { replicateRxCollection } from 'rxdb/plugins/replication';
import { getRxStorageDexie } from 'rxdb/plugins/storage-dexie';
import { nextTask } from '/work.js';
import { grouped, post, TABLES } from './common.js';

/** With the default of 100, the drain takes nearly twice as long; with 10,000, about as long. */
const BATCH = 1_000;

const id = { type: 'string', maxLength: 100 };
const text = { type: 'string' };
const number = { type: 'number' };
const item = { type: 'object', properties: { card: text } };
const FIELDS = {
  card: { id, name: text, x: number, y: number, width: number, height: number, background_color: text },
  connection_type: { id, name: text, color: text },
  connection: { id, start_item: item, end_item: item, connection_type: text, label: text },
};

export async function open({ name, room, url }) {
  const db = await createRxDatabase({ name, storage: getRxStorageDexie(), multiInstance: false, eventReduce: true });
  const schema = (properties) => ({ version: 0, primaryKey: 'id', type: 'object', properties, required: ['id'] });
  const collections = Object.entries(FIELDS).map(([table, fields]) => [table, { schema: schema(fields) }]);
  await db.addCollections(Object.fromEntries(collections));
  return { db, room, url };
}

export async function openSecond(options) {
  const db = await open(options);
  await replicate(db);
  return db;
}

async function replicate({ db, room, url }) {
  const states = TABLES.map((table) =>
    replicateRxCollection({
      collection: db[table],
      replicationIdentifier: `${url}/${room}/${table}`,
      push: { batchSize: BATCH, handler: (rows) => post(`${url}/rxdb/${room}/push`, { table, rows }) },
      pull: {
        batchSize: BATCH,
        handler: (checkpoint, limit) =>
          post(`${url}/rxdb/${room}/pull`, { table, since: checkpoint?.since ?? 0, limit }),
      },
    }),
  );
  await Promise.all(states.map((state) => state.awaitInitialReplication()));
}

async function write(collection, { created, updated, deleted }) {
  const { error } = await collection.bulkInsert(created);
  if (error.length > 0) throw new Error(`${error.length} rows were not inserted`);
  if (updated.size > 0) {
    const found = await collection.findByIds([...updated.keys()]).exec();
    await Promise.all([...updated].map(([id, row]) => found.get(id).incrementalPatch(row)));
  }
  await collection.bulkRemove(deleted);
}

export async function burst({ db }, work) {
  for (const edits of work) {
    await nextTask();
    const groups = grouped(edits);
    await Promise.all(TABLES.map((table) => write(db[table], groups[table])));
  }
}

export const single = ({ db }, row) => db.card.insert(row);

export const drain = replicate;

export async function read({ db }) {
  const found = await Promise.all(TABLES.map((table) => db[table].find().exec()));
  return Object.fromEntries(TABLES.map((table, i) => [table, found[i]]));
}

export const plain = (document) => document.toJSON();

export const close = ({ db }) => db.close();
