// Processes that die at the worst moment: the browser while edits are saved, the server while they are sent.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openBrowser, startNetwork, startServer, until } from './harness.mjs';
import { describe, PLACE, runKills, SCHEMA } from './kills.mjs';
import { assertKeys, assertSound, seeded } from './ledger.mjs';
import { logCount, readLog } from './log.mjs';
import { makeSite, openSite, untilSynced } from './page.mjs';
import { traceSyncs } from './syncs.mjs';

const SEED = Number(process.env.DRIFTLINE_SEED ?? Date.now() % 1_000_000);

async function startAll() {
  const server = await startServer({ ...PLACE, staticDir: makeSite() });
  const network = await startNetwork(server.port);
  const browser = await openBrowser();
  return { server, network, browser };
}

async function openSpace(browser, network, space) {
  const page = await browser.context.newPage();
  await openSite(page, network.url);
  await page.evaluate(([schema, space]) => window.start(schema, space), [SCHEMA, space]);
  return page;
}

// ---- Both, again and again ----

test('q1_and_d1_hold_over_15_kills_of_the_server_and_8_of_the_browser_on_a_network_that_fails', async (t) => {
  const result = await runKills({ serverKills: 15, browserKills: 8, seed: SEED });
  for (const line of describe(result)) t.diagnostic(line);
  const none = { lost: [], double: [], nobody: [], misordered: [], differing: [] };
  assert.deepEqual(result.found, none, `seed ${SEED}`);
  assert.deepEqual([result.edits.planned, result.edits.refused], [0, 0]);
  assert.ok(result.edits.saved > 300, `${result.edits.saved} edits were saved`);
  assert.ok(Object.values(result.faults).filter((count) => count > 0).length >= 4, JSON.stringify(result.faults));

  // The very same history with one thing wrong in it must not pass.
  const { ledger, log } = result;
  const judge = (doctored) => ledger.judgeLog(SCHEMA, doctored);
  const doctor = (change) => change(structuredClone(log)) ?? assert.fail('there was nothing to doctor');
  const lastOf = (some, isIt) => some.findLastIndex((part) => part.changes.some(isIt));
  const counts = (change) => change.op === 'update' && change.set.votes !== undefined;
  const planted = {
    lost: (some) => some.toSpliced(lastOf(some, counts), 1),
    double: (some) => [...some, { ...some.at(-1), rev: some.at(-1).rev + 1 }],
    misordered: (some) => {
      const at = some.findIndex((part) => part.changes.some((change) => change.table === 'connection'));
      return [some[at], ...some.toSpliced(at, 1)];
    },
    nobody: (some) => {
      const at = lastOf(some, (change) => change.op === 'create');
      some[at].changes.push({ op: 'create', table: 'card', id: crypto.randomUUID(), set: {} });
      return some;
    },
  };
  for (const [kind, plant] of Object.entries(planted))
    assert.ok(judge(doctor(plant))[kind].length > 0, `planted: ${kind}`);
});

// ---- The browser ----

// Notes with which durability each transaction is opened; `relaxed` makes all of them so, for the control.
function watchDurability(relaxed) {
  const original = IDBDatabase.prototype.transaction;
  window.transactions = [];
  IDBDatabase.prototype.transaction = function (stores, mode, options) {
    const transaction = original.call(this, stores, mode, relaxed ? { ...options, durability: 'relaxed' } : options);
    window.transactions.push({ database: this.name, mode: transaction.mode, durability: transaction.durability });
    return transaction;
  };
}

// Makes edits one at a time, and returns when each was made and when its promise resolved, in milliseconds since 1970.
async function makeTimedEdits(count) {
  const now = () => performance.timeOrigin + performance.now();
  const edits = [];
  for (let i = 0; i < count; i += 1) {
    // So far apart that what follows on one edit is over before the next.
    await new Promise((done) => setTimeout(done, 120));
    const made = now();
    await window.db.tables.card.create({ text: `timed ${i}` }).saved;
    edits.push({ made, saved: now() });
  }
  return edits;
}

// Clocks: the page's is fixed to the system's when the page loads and ticks in tenths of a millisecond.
const CLOCKS_DIFFER_MS = 2;

async function syncedEdits(t, { relaxed, count }) {
  const { server, network, browser } = await startAll();
  await browser.context.addInitScript(watchDurability, relaxed);
  const page = await openSpace(browser, network, 'durable');
  await page.evaluate(() => window.db.setOnline(false));
  await page.evaluate(makeTimedEdits, 2); // The first edits also bring up what is made once.
  const trace = await traceSyncs(browser.pids, () => page.evaluate(makeTimedEdits, count));
  const transactions = await page.evaluate(() => window.transactions);
  await browser.close();
  await server.stop();
  if (trace.refused !== undefined) {
    t.diagnostic(`system calls could not be traced here: ${trace.refused}`);
    return { transactions };
  }
  const syncs = trace.syncs();
  const isBetween = (sync, edit) =>
    sync.began >= edit.made - CLOCKS_DIFFER_MS && sync.ended <= edit.saved + CLOCKS_DIFFER_MS;
  const synced = trace.result.filter((edit) => syncs.some((sync) => isBetween(sync, edit))).length;
  t.diagnostic(`${relaxed ? 'relaxed' : 'strict'}: ${synced} of ${count} edits saw a sync before they were saved`);
  return { transactions, synced };
}

test('q1_saved_means_synced_to_disk_which_the_system_calls_show', async (t) => {
  const count = 12;
  const strict = await syncedEdits(t, { relaxed: false, count });
  const writes = strict.transactions.filter((one) => one.database.includes('outbox/') && one.mode === 'readwrite');
  assert.ok(writes.length >= count, `${writes.length} transactions wrote to the outbox`);
  for (const write of writes) assert.equal(write.durability, 'strict', `a write to ${write.database}`);
  if (strict.synced === undefined) return t.skip('strace may not attach to processes here');
  assert.equal(strict.synced, count, 'each edit is synced to disk before its promise resolves');

  // The same without strictness, so that the trace is known to be able to tell.
  const relaxed = await syncedEdits(t, { relaxed: true, count });
  assert.ok(relaxed.synced <= count / 4, `${relaxed.synced} of ${count} relaxed edits saw a sync`);
});

// ---- The server ----

// What a page does to have much to send; runs in the page. `journal` holds all changes, `votes` what is counted of each.
function makeMuch({ connections, cards, types, increments }) {
  const { db, driftline } = window;
  const state = window.made;
  const ids = (count) => Array.from({ length: count }, () => driftline.newId());
  const [cardIds, typeIds] = [ids(cards), ids(types)];
  const text = 'All of it is there, and once. '.repeat(170); // Long, so that many requests are needed.
  const keep = (change) => state.journal.push(change);
  for (let i = 0; i < increments; i += 1) {
    const id = state.base[i % state.base.length];
    const by = 1 + (i % 5);
    keep(db.tables.card.update(id, { votes: driftline.increment(by) }));
    state.rows.get(id).votes += by;
    if (i % 3 > 0) continue;
    keep(db.tables.card.update(id, { x: i }));
    state.rows.get(id).x = i;
  }
  // What needs others first: sent as made, all of this would be refused.
  for (let i = 0; i < connections; i += 1) {
    const [start, end] = [cardIds[i % cards], cardIds[(i * 7 + 1) % cards]];
    const connection_type = typeIds[i % types];
    keep(db.tables.connection.create({ start_item: { card: start }, end_item: { card: end }, connection_type }));
  }
  cardIds.forEach((id, i) => {
    keep(db.tables.card.create({ id, text: `${i} ${text}`, x: i }));
    state.rows.set(id, { votes: 0, x: i });
  });
  for (const id of typeIds) keep(db.tables.connection_type.create({ id, name: 'leads to' }));
}

// Cards that the server has already, whose counters are then counted up by transactions of their own.
async function makeBase(count) {
  const { db, driftline } = window;
  const base = Array.from({ length: count }, () => driftline.newId());
  window.made = { base, rows: new Map(base.map((id) => [id, { votes: 0, x: 0 }])), journal: [] };
  for (let from = 0; from < count; from += 500) {
    const change = db.transaction((tx) => {
      for (const id of base.slice(from, from + 500)) tx.card.create({ id });
    });
    window.made.journal.push(change);
  }
  await Promise.all(window.made.journal.map((change) => change.accepted));
}

// Runs in the page. Off and on again, as a user does who does not want to wait for the next try.
function tryNow() {
  window.db.setOnline(false);
  window.db.setOnline(true);
}

const journalKeys = (page) => page.evaluate(() => [...new Set(window.made.journal.map((change) => change.key))]);

/** What is sent to the server again and again until it is answered. */
function watchRequests(page) {
  const seen = { pushes: 0, lost: 0 };
  const isPush = (request) => request.url().endsWith('/reconcile');
  page.on('request', (request) => {
    if (isPush(request)) seen.pushes += 1;
  });
  page.on('requestfailed', (request) => {
    if (isPush(request)) seen.lost += 1;
  });
  return seen;
}

/** Asserts that server and page hold what was made: each transaction once, in order, and the very sums. */
async function assertAllApplied(server, page, space) {
  const log = await readLog(server, space);
  const expected = await page.evaluate(async () => {
    await Promise.all(window.made.journal.map((change) => change.accepted));
    const own = (ids) => ids.map((id) => ({ id, ...window.made.rows.get(id) }));
    const view = window.db.tables.card.query().map(({ id, votes, x }) => ({ id, votes, x }));
    return { rows: own([...window.made.rows.keys()].sort()), view };
  });
  assertKeys(log, await journalKeys(page));
  await assertSound(server, SCHEMA, log);
  const rows = await server.query('SELECT lower(hex(id)) AS hex, votes, x FROM card ORDER BY id');
  const dashed = (hex) => hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  const stored = rows.map(({ hex, votes, x }) => ({ id: dashed(hex), votes, x }));
  assert.deepEqual(stored, expected.rows, 'the server holds what was made, each increment counted once');
  const byId = (a, b) => (a.id < b.id ? -1 : 1);
  assert.deepEqual(expected.view.sort(byId), expected.rows, 'the page shows the same');
  return log;
}

test('d1_a_drain_of_10000_edits_is_applied_once_and_in_order_over_20_kills_of_the_server', async (t) => {
  t.diagnostic(`seed ${SEED}`);
  const random = seeded(SEED);
  const { server, network, browser } = await startAll();
  const page = await openSpace(browser, network, 'drain');
  await page.evaluate(makeBase, 1500);
  await untilSynced(page);

  await network.cut(browser.context);
  await page.evaluate(makeMuch, { connections: 2200, cards: 4000, types: 20, increments: 2835 });
  const edits = await page.evaluate(() => window.made.journal.length - 3);
  assert.equal(edits, 10_000);
  const waiting = (await journalKeys(page)).length - 3;
  const seen = watchRequests(page);
  await page.evaluate(() => Promise.all(window.made.journal.map((change) => change.saved)));
  await network.restore(browser.context);

  const counts = [];
  const total = (await logCount(server, 'drain')) + waiting;
  for (let kill = 1; kill <= 20; kill += 1) {
    const { pushes } = seen;
    await page.evaluate(tryNow);
    await until('something to be sent', () => seen.pushes > pushes, { everyMs: 1 });
    // A random moment: of the first request where the drain is ahead of the kills, else of the next few.
    const isAhead = (counts.at(-1) ?? 0) > (0.6 * total * kill) / 20;
    await sleep(random() * (isAhead ? 15 : 90));
    // On a slow machine nothing gets through in that time, and now and then something must.
    const grows = async () => (await logCount(server, 'drain')) > counts.at(-1);
    if (counts.length > 2 && counts.at(-1) === counts.at(-3)) await until('the log to grow', grows, { everyMs: 5 });
    await server.kill();
    counts.push(await logCount(server, 'drain'));
    assert.ok(counts.at(-1) < total, `kill ${kill} came while something waited`);
    await server.restart();
  }
  await page.evaluate(tryNow);
  await untilSynced(page);
  const log = await assertAllApplied(server, page, 'drain');
  const stages = new Set(counts).size;
  t.diagnostic(
    `${edits} edits in ${waiting} transactions, ${seen.pushes} requests of which ${seen.lost} were lost; ` +
      `the kills met the log at ${stages} lengths (${counts.join(' ')}), ${log.length} at the end`,
  );
  assert.ok(stages >= 8, 'the kills are spread over the drain');
  assert.ok(seen.lost >= 5, 'kills met requests under way');
  await browser.close();
  await server.stop();
});
