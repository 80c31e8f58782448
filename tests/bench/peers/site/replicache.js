// Replicache: a mutator for a list of edits. Its public class writes to the disk when the page is idle, at most twice a second, and
// tells nobody; `persist` of the class behind it, which the package exports, does that at once.

import { ReplicacheImpl } from 'replicache/impl';
import { nextTask } from '/work.js';
import { TABLES } from './common.js';

const mutators = {
  async edit(tx, edits) {
    for (const { op, table, id, row } of edits) {
      const key = `${table}/${id}`;
      if (op === 'create') await tx.set(key, { id, ...row });
      else if (op === 'update') await tx.set(key, { ...(await tx.get(key)), ...row });
      else await tx.del(key);
    }
  },
};

export async function open({ name, room, url }) {
  const options = { name, mutators, pullInterval: null, logLevel: 'error' };
  const rep = new ReplicacheImpl(options, { enableScheduledPersist: false, enablePullAndPushInOpen: false });
  await rep.clientGroupID;
  await rep.query((tx) => tx.isEmpty());
  return { rep, room, url };
}

export async function openSecond(options) {
  const db = await open(options);
  await pull(db);
  return db;
}

async function pull({ rep, room, url }) {
  rep.pullURL = `${url}/replicache/${room}/pull`;
  await rep.pull({ now: true });
}

export async function burst({ rep }, work) {
  const made = [];
  for (const edits of work) {
    await nextTask();
    made.push(rep.mutate.edit(edits));
  }
  await Promise.all(made);
  await rep.persist();
}

export async function single({ rep }, { id, ...row }) {
  await rep.mutate.edit([{ op: 'create', table: 'card', id, row }]);
  await rep.persist();
}

export async function drain(db) {
  const { rep, room, url } = db;
  rep.pushURL = `${url}/replicache/${room}/push`;
  await rep.push({ now: true });
  await pull(db);
  const waiting = await rep.experimentalPendingMutations();
  if (waiting.length > 0) throw new Error(`${waiting.length} mutations are not confirmed`);
}

export function read({ rep }) {
  return rep.query(async (tx) => {
    const rows = {};
    for (const table of TABLES) {
      rows[table] = await tx
        .scan({ prefix: `${table}/` })
        .values()
        .toArray();
    }
    return rows;
  });
}

export async function close({ rep }) {
  await rep.persist();
  await rep.close();
}
