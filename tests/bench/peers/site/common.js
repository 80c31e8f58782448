// What the pages of the peers share.

export const TABLES = ['card', 'connection_type', 'connection'];

/** The same work for engines that know no foreign keys: what a deleted card takes with it is deleted by edits of its own. */
export function withCascades(work) {
  const ofCard = new Map();
  const connect = (card, id) => ofCard.set(card, (ofCard.get(card) ?? new Set()).add(id));
  const gone = new Set();
  const spelledOut = (edit) => {
    if (edit.op === 'create' && edit.table === 'connection') {
      connect(edit.row.start_item.card, edit.id);
      connect(edit.row.end_item.card, edit.id);
    }
    if (edit.op !== 'delete') return [edit];
    const taken = [...(ofCard.get(edit.id) ?? [])].filter((id) => !gone.has(id));
    for (const id of taken) gone.add(id);
    return [edit, ...taken.map((id) => ({ op: 'delete', table: 'connection', id }))];
  };
  return work.map((edits) => edits.flatMap(spelledOut));
}

/** Rows by table and id, as edits leave them. */
export function newRows() {
  return Object.fromEntries(TABLES.map((table) => [table, new Map()]));
}

export function apply(rows, { op, table, id, row }) {
  if (op === 'create') rows[table].set(id, { id, ...row });
  else if (op === 'update') rows[table].set(id, { ...rows[table].get(id), ...row });
  else rows[table].delete(id);
}

/** By table what is created, what of which row is changed, and which rows are deleted, for engines that take many rows in a call. */
export function grouped(edits) {
  const groups = Object.fromEntries(TABLES.map((table) => [table, { created: [], updated: new Map(), deleted: [] }]));
  for (const { op, table, id, row } of edits) {
    const { created, updated, deleted } = groups[table];
    if (op === 'create') created.push({ id, ...row });
    else if (op === 'update') updated.set(id, { ...updated.get(id), ...row });
    else deleted.push(id);
  }
  return groups;
}

/** Throws unless each table holds just the rows that `work` leaves. */
export function verify(what, found, work) {
  const expected = newRows();
  for (const edit of work.flat()) apply(expected, edit);
  for (const table of TABLES) {
    const rows = found[table];
    if (rows.length !== expected[table].size) {
      throw new Error(`${what}: ${rows.length} rows of ${table} instead of ${expected[table].size}`);
    }
    for (const row of rows) {
      for (const [field, value] of Object.entries(expected[table].get(row.id) ?? { id: 'none' })) {
        if (JSON.stringify(row[field]) !== JSON.stringify(value)) {
          throw new Error(`${what}: ${field} of ${table} ${row.id} is ${row[field]}`);
        }
      }
    }
  }
}

/** Tells when IndexedDB has completed what engines write without saying when it is written. */
export function watchDisk() {
  const begin = IDBDatabase.prototype.transaction;
  const disk = { begun: 0, open: 0 };
  let waiting = [];
  const completed = () => {
    disk.open--;
    waiting = waiting.filter(({ from, done }) => {
      const isThere = disk.open === 0 && disk.begun >= from;
      if (isThere) done();
      return !isThere;
    });
  };
  IDBDatabase.prototype.transaction = function (...args) {
    const transaction = begin.apply(this, args);
    if (transaction.mode === 'readwrite') {
      disk.begun++;
      disk.open++;
      transaction.addEventListener('complete', completed);
    }
    return transaction;
  };
  /** Resolves when no write is open, and at least `from` of them have begun since the start. */
  disk.written = (from) =>
    new Promise((done) => {
      if (disk.open === 0 && disk.begun >= from) done();
      else waiting.push({ from, done });
    });
  return disk;
}

export async function post(url, body) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${url} answers ${response.status}`);
  return response.json();
}
