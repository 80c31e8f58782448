// TanStack DB with its offline transactions: what waits is on the disk, a value for each transaction; what the server has is not, but
// for collections that are stored by yet another package.

import { createCollection } from '@tanstack/db';
import { IndexedDBAdapter, startOfflineExecutor } from '@tanstack/offline-transactions';
import { nextTask } from '/work.js';
import { grouped, post, TABLES, watchDisk } from './common.js';

/** A collection whose rows come from `fetchRows`, and from what the server has confirmed. */
function newCollection(table, fetchRows) {
  const sync = {};
  const confirm = (changes) => {
    sync.begin();
    for (const { type, value } of changes) sync.write({ type, value });
    sync.commit();
  };
  const collection = createCollection({
    id: table,
    getKey: ({ id }) => id,
    startSync: true,
    sync: {
      sync: (given) => {
        Object.assign(sync, given);
        fetchRows().then((rows) => {
          confirm(rows[table].map((value) => ({ type: 'insert', value })));
          sync.markReady();
        });
      },
    },
  });
  return { collection, confirm };
}

async function start({ name, room, url }, fetchRows) {
  const disk = watchDisk();
  const tables = Object.fromEntries(TABLES.map((table) => [table, newCollection(table, fetchRows)]));
  const collections = Object.fromEntries(TABLES.map((table) => [table, tables[table].collection]));
  const line = { isOnline: false, tell: undefined };
  const executor = startOfflineExecutor({
    collections,
    storage: new IndexedDBAdapter(name),
    mutationFns: {
      save: async ({ transaction, idempotencyKey }) => {
        const edits = transaction.mutations.map(({ type, collection, key, modified }) =>
          type === 'delete'
            ? { op: 'delete', table: collection.id, id: key }
            : { op: 'put', row: modified, table: collection.id },
        );
        await post(`${url}/rows/${room}`, [{ key: idempotencyKey, edits }]);
        for (const [table, { confirm }] of Object.entries(tables)) {
          const own = transaction.mutations.filter(({ collection }) => collection.id === table);
          confirm(own.map(({ type, modified }) => ({ type, value: modified })));
        }
      },
    },
    onlineDetector: {
      isOnline: () => line.isOnline,
      subscribe: (tell) => {
        line.tell = tell;
        return () => {};
      },
      notifyOnline: () => line.tell(),
      dispose: () => {},
    },
  });
  await executor.waitForInit();
  await Promise.all(Object.values(collections).map((collection) => collection.stateWhenReady()));
  if (!executor.isOfflineEnabled) throw new Error('this page does not keep what waits');
  return { disk, collections, executor, line, waiting: [], room, url };
}

export function open(options) {
  const none = Object.fromEntries(TABLES.map((table) => [table, []]));
  return start(options, async () => none);
}

export function openSecond(options) {
  const rows = fetch(`${options.url}/rows/${options.room}`).then((response) => response.json());
  return start(options, () => rows);
}

function write({ collections, executor, waiting }, edits) {
  const transaction = executor.createOfflineTransaction({ mutationFnName: 'save', autoCommit: false });
  transaction.mutate(() => {
    for (const [table, { created, updated, deleted }] of Object.entries(grouped(edits))) {
      const collection = collections[table];
      if (created.length > 0) collection.insert(created);
      const rows = [...updated.values()];
      if (rows.length > 0) {
        collection.update([...updated.keys()], (drafts) => {
          for (const [i, draft] of drafts.entries()) Object.assign(draft, rows[i]);
        });
      }
      if (deleted.length > 0) collection.delete(deleted);
    }
  });
  waiting.push(transaction.commit());
}

export async function burst(db, work) {
  const before = db.disk.begun;
  for (const edits of work) {
    await nextTask();
    write(db, edits);
  }
  await db.disk.written(before + work.length);
}

export async function single(db, { id, ...row }) {
  const before = db.disk.begun;
  write(db, [{ op: 'create', table: 'card', id, row }]);
  await db.disk.written(before + 1);
}

export async function drain({ line, waiting }) {
  line.isOnline = true;
  line.tell();
  await Promise.all(waiting);
}

export function read({ collections }) {
  return Object.fromEntries(TABLES.map((table) => [table, collections[table].toArray]));
}

export async function close({ disk, executor }) {
  await disk.written(0);
  executor.dispose();
}
