// What the server's database says happened, for tests that compare it with what browsers were promised.

import assert from 'node:assert/strict';

/**
 * The log of a space in the order in which it took effect: the key of each transaction and what it changed. What a migration
 * made has no client, and a key that says so.
 */
export async function readLog(server, space) {
  const parts = await server.query(
    `SELECT l.rev, l.part, iif(c.client IS NULL, 'migration:' || l.rev, printf('%016x:%d', c.client, l.seq)) AS key, l.changes
       FROM _log l JOIN _space s ON s.id = l.space LEFT JOIN _client c ON c.space = l.space AND c.actor = l.actor
      WHERE s.name = '${space}' ORDER BY l.rev, l.part`,
  );
  return parts.map((part) => ({ ...part, changes: JSON.parse(part.changes) }));
}

/**
 * Walks the log edit by edit. Returns the rows that it leaves, as `table id` with their values; what had become of those that
 * are `gone`; and what is `wrong`: an edit that names a row which was not there at that very moment, or was there already.
 */
export function replay(schema, log) {
  const [rows, gone, wrong] = [new Map(), new Map(), []];
  for (const { rev, part, key, changes } of log) {
    for (const { op, table, id, set = {} } of changes) {
      const place = `revision ${rev}, part ${part} (${key}): ${op} of ${table} ${id}`;
      const row = `${table} ${id}`;
      const isThere = rows.has(row);
      if (isThere === (op === 'create')) wrong.push(`${place}: the row ${isThere ? 'was' : 'was not'} there`);
      for (const target of referred(schema, table, set)) {
        if (!rows.has(target)) wrong.push(`${place}: it names ${target}, which was not there yet`);
      }
      if (op === 'delete') {
        if (isThere) gone.set(row, rows.get(row));
        rows.delete(row);
      } else rows.set(row, { ...rows.get(row), ...set });
    }
  }
  return { rows, gone, wrong };
}

/** Asserts that no edit of the log names a row that was not there at that very moment. Returns the rows that it leaves. */
export function checkOrder(schema, log) {
  const { rows, wrong } = replay(schema, log);
  assert.deepEqual(wrong, []);
  return rows;
}

/** Each transaction is in the log once. Returns the keys. */
export function distinctKeys(log) {
  const keys = new Set(log.map((part) => part.key));
  assert.equal(keys.size, log.length, 'a transaction is in the log more than once');
  return keys;
}

export async function serverDigest(server, space) {
  const [row] = await server.query(`SELECT rev, lower(hex(digest)) AS digest FROM _space WHERE name = '${space}'`);
  return row;
}

/** How many transactions of a space the server has applied. */
export async function logCount(server, space) {
  const [{ count }] = await server.query(
    `SELECT count(*) AS count FROM _log WHERE space IN (SELECT id FROM _space WHERE name = '${space}')`,
  );
  return count;
}

/**
 * Collects what a page sends, unit by unit, as `units` of the protocol. Every request counts, also one that is answered
 * with an error or not at all.
 */
export function recordSent(page) {
  const sent = [];
  page.on('request', (request) => {
    if (request.url().endsWith('/reconcile')) sent.push(...JSON.parse(request.postData()).units);
  });
  return sent;
}

/** What was sent never names a row that neither an earlier unit nor its own creates. For spaces that began empty. */
export function checkSent(schema, units) {
  assert.ok(units.length > 0, 'nothing was sent');
  const created = new Set();
  for (const { txns } of units) {
    const edits = txns.flatMap((txn) => txn.body.edits);
    for (const { op, table, id } of edits) if (op === 'create') created.add(`${table} ${id}`);
    for (const { op, table, id, set = {} } of edits) {
      for (const row of [`${table} ${id}`, ...referred(schema, table, set)]) {
        assert.ok(created.has(row), `the ${op} of ${table} ${id} was sent before ${row}`);
      }
    }
  }
}

/** The rows that values refer to, as `table id`. */
function referred(schema, table, set) {
  return Object.entries(schema.tables[table].references ?? {}).flatMap(([name, { to }]) => {
    const value = set[name];
    if (value === undefined || value === null) return [];
    const [target, id] = to.length === 1 ? [to[0], value] : Object.entries(value)[0];
    return [`${target} ${id}`];
  });
}
