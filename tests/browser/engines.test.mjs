// The same in Chromium, Firefox and WebKit: the main job, reloads, kills, tabs, a full disk and a cold start, in each of them.
//
// DRIFTLINE_BROWSER names one engine to run alone, as `npm run test:browser -- --browser firefox` does. What engines differ in is in
// docs/engines.md.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { byId, planDrawing, readDrawing } from './documents.mjs';
import { ROOT, startNetwork, startServer, until } from './harness.mjs';
import { assertKeys, assertSound } from './ledger.mjs';
import { checkOrder, checkSent, distinctKeys, logCount, readLog, serverDigest } from './log.mjs';
import { makeSite, openSite, untilKeptForOffline, untilSynced } from './page.mjs';
import { traceSyncs } from './syncs.mjs';
import { ENGINES, openEngine } from './webdriver.mjs';

const CANVAS = join(ROOT, 'www', 'server');
const DRAWINGS = join(ROOT, 'tests', 'schemas', 'tldraw');
const SPACE = 'engines';
const INCREMENTS = 600;
const KILLS = 2;
const MIB = 1024 * 1024;
const CLOCKS_DIFFER_MS = 3; // Pages are told whole milliseconds.
const ESCAPE = '\uE00C'; // As WebDriver writes the key.

const asked = process.env.DRIFTLINE_BROWSER;
const engines = asked === undefined ? ENGINES : ENGINES.filter((name) => name === asked);
if (engines.length === 0) throw new Error(`the engines are ${ENGINES.join(', ')}; not ${asked}`);

const drawing = readDrawing();
const browsers = [];
afterEach(async () => {
  for (const browser of browsers.splice(0)) await browser.kill();
});

async function startAll({ folder = CANVAS, staticDir = makeSite() } = {}) {
  const path = join(folder, 'schema.json');
  const server = await startServer({ schema: path, migrations: join(folder, 'migrations'), staticDir });
  const network = await startNetwork(server.port);
  const schema = JSON.parse(readFileSync(path, 'utf8'));
  const open = async (engine, options) => {
    const browser = await openEngine(engine, options);
    browsers.push(browser);
    return browser;
  };
  /** The space in a window of its own. */
  const show = async (browser) => {
    const page = await browser.newPage();
    await openSite(page, network.url);
    await start(page);
    return page;
  };
  const start = async (page) => {
    await page.evaluate(recordSent);
    await page.evaluate(([schema, space]) => window.start(schema, space), [schema, SPACE]);
  };
  const reload = async (page) => {
    await page.reload();
    await page.waitForFunction(() => window.isReady);
    await start(page);
  };
  return { server, network, schema, open, show, start, reload };
}

// ---- What runs in pages ----

/** Keeps what the page sends as `window.sent`, unit by unit. Every request counts, also one that is not answered. */
function recordSent() {
  const { fetch } = window;
  window.sent = [];
  window.fetch = (url, options) => {
    if (String(url).endsWith('/reconcile')) window.sent.push(...JSON.parse(options.body).units);
    return fetch(url, options);
  };
}

const sentBy = (page) => page.evaluate(() => window.sent);

/** The network is cut under the browser, which is not told. Whoever knows that it is back need not wait. */
function tryNow() {
  window.db.setOnline(false);
  window.db.setOnline(true);
}

const waiting = (page) => page.evaluate(() => window.db.outbox().map((entry) => entry.key));
const rowsOf = (page, tables) =>
  page.evaluate((tables) => tables.flatMap((table) => window.db.tables[table].query()), tables);

async function assertSameAsServer(server, pages) {
  const kept = await serverDigest(server, SPACE);
  for (const page of pages) {
    const { rev, digest } = await page.evaluate(() => window.db.digest);
    assert.deepEqual({ rev, digest }, kept);
  }
}

// ---- The tests ----

for (const engine of engines) {
  test(`l5_main_job_with_a_reload_in_${engine}: ${drawing.source}`, async (t) => {
    const { server, network, schema, open, start, reload } = await startAll({ folder: DRAWINGS });
    const browser = await open(engine);
    t.diagnostic(browser.version);
    const page = await browser.newPage();
    await openSite(page, network.url);
    await untilKeptForOffline(page);
    await network.cut();
    await start(page);

    const { steps, journal } = planDrawing(drawing, INCREMENTS);
    const keys = await page.evaluate(async (steps) => {
      const { db, driftline } = window;
      const changes = steps.map(({ table, row, id, votes }) =>
        row ? db.tables[table].create(row) : db.tables[table].update(id, { votes: driftline.increment(votes) }),
      );
      await Promise.all(changes.map((change) => change.saved));
      return changes.map((change) => change.key);
    }, steps);
    const expectAll = async (where) =>
      assert.deepEqual((await rowsOf(page, ['shape', 'binding'])).sort(byId), journal.rows, where);
    await expectAll('the tab shows what was made');
    await reload(page);
    await expectAll('the reloaded tab shows what was made');
    const outbox = await waiting(page);
    assert.deepEqual([...new Set(keys)].sort(), [...outbox].sort(), 'what waits has the keys that the tab was given');
    assert.equal(await logCount(server, SPACE), 0, 'nothing may have been sent');

    await network.restore();
    await page.evaluate(tryNow);
    await untilSynced(page);
    checkSent(schema, await sentBy(page));
    const log = await readLog(server, SPACE);
    assert.equal(checkOrder(schema, log).size, journal.rows.length);
    assert.deepEqual([...distinctKeys(log)].sort(), [...outbox].sort(), 'what was applied is what waited');
    await expectAll('the tab that synced shows what was made');
    await assertSameAsServer(server, [page]);
    t.diagnostic(`${steps.length} edits as ${log.length} transactions`);
  });

  test(`l5_whatever_was_saved_outlives_kills_of_${engine}`, async (t) => {
    const { server, network, schema, open, show } = await startAll();
    const browser = await open(engine);
    const first = await show(browser);
    await untilKeptForOffline(first);
    await network.cut();

    const saved = new Map(); // The votes of each row, as far as their promises resolved.
    const keys = new Set();
    for (let life = 0; life < KILLS; life += 1) {
      const page = life === 0 ? first : await show(browser);
      const rows = new Map((await rowsOf(page, ['card'])).map((row) => [row.id, row.votes]));
      for (const [id, votes] of saved) assert.ok(rows.get(id) >= votes, `life ${life}: ${id} has ${votes} or more`);
      const made = await page.evaluate(editAndGoOn, 15);
      for (const { id, key, votes } of made) {
        saved.set(id, votes);
        keys.add(key);
      }
      // The page goes on making edits meanwhile.
      await browser.kill();
      await browser.reopen();
    }

    const page = await show(browser);
    const rows = await rowsOf(page, ['card']);
    const outbox = await waiting(page);
    assert.equal(new Set(outbox).size, outbox.length);
    // Increments fold into creates, but for those that a try of the cut network took along meanwhile.
    assert.ok(outbox.length >= rows.length, 'each row waits');
    for (const key of keys) assert.ok(outbox.includes(key), `${key} was saved and still waits`);
    assert.equal(await logCount(server, SPACE), 0, 'nothing was sent');
    await network.restore();
    await page.evaluate(tryNow);
    await untilSynced(page);
    const log = await readLog(server, SPACE);
    assertKeys(log, outbox);
    await assertSound(server, schema, log);
    const votes = Object.fromEntries(rows.map((row) => [row.id.replaceAll('-', ''), row.votes]));
    const applied = await server.query('SELECT lower(hex(id)) AS id, votes FROM card');
    assert.deepEqual(Object.fromEntries(applied.map((row) => [row.id, row.votes])), votes);
    await assertSameAsServer(server, [page]);
    t.diagnostic(`${saved.size} rows had their promise, ${rows.length} were there after ${KILLS} kills`);
  });

  test(`q1_l5_saved_means_synced_to_disk_in_${engine}`, async (t) => {
    const count = 10;
    const { network, open, show } = await startAll();
    const browser = await open(engine);
    const page = await show(browser);
    await network.cut();
    await page.evaluate(makeTimedEdits, 2); // The first edits also bring up what is made once.
    const trace = await traceSyncs(browser.pids, () => page.evaluate(makeTimedEdits, count));
    if (trace.refused !== undefined) return t.skip(`strace may not attach to processes here: ${trace.refused}`);
    const syncs = trace.syncs();
    const isBetween = (sync, { made, saved }) =>
      sync.began >= made - CLOCKS_DIFFER_MS && sync.ended <= saved + CLOCKS_DIFFER_MS;
    const synced = trace.result.filter((edit) => syncs.some((sync) => isBetween(sync, edit)));
    assert.equal(synced.length, count, 'each edit is synced to disk before its promise resolves');
    t.diagnostic(`${syncs.length} syncs for ${count} edits`);
  });

  test(`l5_two_tabs_edit_at_once_and_one_sends_in_${engine}`, async () => {
    const { server, network, schema, open, show } = await startAll();
    const browser = await open(engine);
    const pages = [await show(browser), await show(browser)];
    const journal = [];
    const editBoth = async (round) => {
      // Begun in both before either is waited for.
      for (const [tab, page] of pages.entries())
        await page.evaluate(beginEdits, { count: 40, text: `${round} ${tab}` });
      for (const page of pages) journal.push(...(await page.evaluate(() => window.edits)));
    };
    const expectAll = (page) =>
      until('a tab to show what both made', async () => (await rowsOf(page, ['card'])).length === journal.length);

    await editBoth('together');
    for (const page of pages) await untilSynced(page);
    for (const page of pages) await expectAll(page);
    const sent = await Promise.all(pages.map(sentBy));
    const senders = pages.filter((_, i) => sent[i].length > 0);
    assert.equal(senders.length, 1, 'one tab sends for both');
    assertKeys(await readLog(server, SPACE), journal);
    await assertSameAsServer(server, pages);

    await network.cut();
    await editBoth('apart');
    const [sender] = senders;
    const [other] = pages.filter((page) => page !== sender);
    await sender.close();
    await network.restore();
    await other.evaluate(tryNow);
    await until('what both tabs made to be sent', async () => (await logCount(server, SPACE)) === journal.length);
    await untilSynced(other);
    assert.ok((await sentBy(other)).length >= 80, 'the tab that stayed sends for the closed one too');
    await expectAll(other);
    const log = await readLog(server, SPACE);
    assertKeys(log, journal);
    await assertSound(server, schema, log);
    await assertSameAsServer(server, [other]);
  });

  test(`l2_l5_a_full_disk_is_told_and_costs_nothing_in_${engine}`, async (t) => {
    const { server, network, open, show, reload } = await startAll();
    const browser = await open(engine, { storage: { origin: network.url, bytes: 12 * MIB } });
    const page = await show(browser);
    await untilKeptForOffline(page);
    await page.evaluate(() => window.db.setOnline(false));
    await page.evaluate(() => window.db.tables.card.create({ text: 'while there is room' }).saved);
    const filled = await page.evaluate(fillDisk, MIB);
    assert.ok(filled.bytes > MIB && filled.bytes < 13 * MIB, `${filled.bytes} bytes filled the disk`);
    assert.equal(filled.error, 'QuotaExceededError');

    await page.evaluate(editOnFullDisk);
    await page.waitForFunction(() => window.attempts >= 4);
    const { isSaved, reasons, rows } = await page.evaluate(() => {
      const { isSaved, reasons, db } = window;
      return { isSaved, reasons, rows: db.tables.card.size };
    });
    assert.equal(isSaved, false, 'nothing is called saved that is not');
    assert.deepEqual(reasons, ['storage_full'], 'the status says why nothing is saved');
    assert.equal(rows, 21, 'the edits are in memory');

    await page.evaluate(() => indexedDB.deleteDatabase('filler'));
    await until('the edits to be saved', () => page.evaluate(() => window.isSaved), { timeoutMs: 90_000 });
    t.diagnostic(`${filled.bytes} bytes filled the disk`);
    await network.cut();
    await reload(page);
    assert.equal((await rowsOf(page, ['card'])).length, 21, 'what was kept in memory is on disk');
    const outbox = await waiting(page);
    await network.restore();
    await page.evaluate(tryNow);
    await untilSynced(page);
    assertKeys(await readLog(server, SPACE), outbox);
  });

  test(`l4_l5_the_app_starts_cold_and_offline_in_${engine}`, async () => {
    const { server, network, open } = await startAll({ staticDir: join(ROOT, 'www', 'dist') });
    const browser = await open(engine);
    const show = async () => {
      const page = await browser.newPage();
      await page.goto(`${network.url}/?space=${SPACE}&debug=1`);
      await page.waitForSelector('[data-testid=canvas]');
      return page;
    };
    const addCard = async (page, text) => {
      await page.click('[data-testid=add-text]');
      await page.type('[data-testid=draft]', text + ESCAPE);
      await untilShown(page, text);
    };
    const untilStatus = (page, states) =>
      page.waitForFunction((states) => {
        return states.includes(document.querySelector('[data-testid=status]')?.dataset.state);
      }, states);

    const page = await show();
    await addCard(page, 'Made online');
    await untilStatus(page, ['saved']);
    await untilKeptForOffline(page);
    await network.cut();
    await addCard(page, 'Made offline');
    await page.waitForFunction(() => window.driftline.outbox().every((entry) => entry.state !== 'saving'));
    const outbox = await page.evaluate(() => window.driftline.outbox().map((entry) => entry.key));
    assert.ok(outbox.length > 0);
    const sent = await logCount(server, SPACE);
    await browser.kill();
    await browser.reopen();

    const cold = await show();
    for (const text of ['Made online', 'Made offline']) await untilShown(cold, text);
    await untilStatus(cold, ['offline', 'not_saving']);
    assert.deepEqual(await cold.evaluate(() => window.driftline.outbox().map((entry) => entry.key)), outbox);
    await network.restore();
    await untilStatus(cold, ['saved']);
    await cold.waitForFunction(() => window.driftline.outbox().length === 0);
    const texts = await server.query('SELECT text FROM card ORDER BY text');
    assert.deepEqual(texts, [{ text: 'Made offline' }, { text: 'Made online' }]);
    assert.equal(await logCount(server, SPACE), sent + outbox.length);
  });
}

test(`l2_l5_opening_says_why_it_is_refused_in_${engines[0]}`, async () => {
  const { network, schema, open } = await startAll();
  const browser = await open(engines[0]);
  const page = await browser.newPage();
  await openSite(page, network.url);
  // A page that came neither by https nor from localhost has none.
  await page.evaluate(() => void Object.defineProperty(navigator, 'locks', { value: undefined }));
  const thrown = await page.evaluate(
    ([schema, space]) => window.start(schema, space).catch(({ name, code, detail }) => ({ name, code, detail })),
    [schema, SPACE],
  );
  assert.equal(thrown.name, 'DriftlineError');
  assert.equal(thrown.code, 'locks_missing');
  assert.ok(thrown.detail.length > 20, 'a sentence says what is wrong');
});

test('l5_engines_that_edit_the_same_rows_come_to_the_same', async (t) => {
  const { server, network, schema, open, show } = await startAll();
  // One engine that was asked for alone works with itself.
  const names = engines.length > 1 ? engines : [engines[0], engines[0]];
  const pages = [];
  for (const name of names) pages.push(await show(await open(name)));
  const shared = await pages[0].evaluate(async () => {
    const change = window.db.tables.card.create({ text: 'first line\nsecond line\nthird line', votes: 0 });
    await change.accepted;
    return change.id;
  });
  for (const page of pages) await page.waitForFunction((id) => window.db.tables.card.get(id), shared);

  await network.cut();
  const keys = [];
  for (const [device, page] of pages.entries()) keys.push(...(await page.evaluate(editShared, { shared, device })));
  await network.restore();
  for (const page of pages) await page.evaluate(tryNow);
  for (const page of pages) await untilSynced(page);

  const log = await readLog(server, SPACE);
  assert.equal(log.length, keys.length + 1);
  for (const key of keys) assert.ok(log.some((entry) => entry.key === key));
  await assertSound(server, schema, log);
  await until('all to have heard of all', async () => {
    const { rev } = await serverDigest(server, SPACE);
    const revs = await Promise.all(pages.map((page) => page.evaluate(() => window.db.digest.rev)));
    return revs.every((one) => one === rev);
  });
  await assertSameAsServer(server, pages);
  const [first, ...others] = await Promise.all(pages.map((page) => rowsOf(page, ['card'])));
  for (const rows of others) assert.deepEqual(rows.sort(byId), first.sort(byId));
  const row = first.find(({ id }) => id === shared);
  assert.equal(row.votes, 10 * pages.length, 'everybody counted');
  assert.equal(first.length, 1 + 10 * pages.length);
  t.diagnostic(`${names.join(', ')}: ${log.length} transactions, ${JSON.stringify(row.text)}`);
});

const untilShown = (page, text) =>
  page.waitForFunction((text) => {
    return [...document.querySelectorAll('[data-testid=card]')].some((card) => card.textContent.includes(text));
  }, text);

/** Makes rows and counts them up, each awaited, and returns what was promised; then goes on, with nobody waiting. */
async function editAndGoOn(count) {
  const { card } = window.db.tables;
  const one = async () => {
    const made = card.create({ votes: 1 });
    await made.saved;
    await card.update(made.id, { votes: window.driftline.increment() }).saved;
    return { id: made.id, key: made.key, votes: 2 };
  };
  const promised = [];
  while (promised.length < count) promised.push(await one());
  (async () => {
    for (;;) await one();
  })();
  return promised;
}

/** Makes edits one at a time, and returns when each was made and when its promise resolved. */
async function makeTimedEdits(count) {
  const edits = [];
  for (let i = 0; i < count; i += 1) {
    // So far apart that what follows on one edit is over before the next.
    await new Promise((done) => setTimeout(done, 120));
    const made = Date.now();
    await window.db.tables.card.create({ text: `timed ${i}` }).saved;
    edits.push({ made, saved: Date.now() });
  }
  return edits;
}

/** Starts edits, each saved before the next, whose keys `window.edits` resolves to. */
function beginEdits({ count, text }) {
  const edit = async () => {
    const keys = [];
    for (let i = 0; i < count; i += 1) {
      const change = window.db.tables.card.create({ text: `${text} ${i}` });
      keys.push(change.key);
      await change.saved;
      await new Promise((done) => setTimeout(done, 5));
    }
    return keys;
  };
  window.edits = edit();
}

/** Fills what storage the origin may have, with ever smaller values, and returns how much it was and what refused the next. */
async function fillDisk(largest) {
  const open = indexedDB.open('filler', 1);
  open.onupgradeneeded = () => open.result.createObjectStore('filler');
  await new Promise((done, failed) => {
    open.onsuccess = done;
    open.onerror = failed;
  });
  const filler = open.result;
  let key = 0;
  const put = (size) =>
    new Promise((done) => {
      // What could be pressed together would fill nothing.
      const value = new Uint8Array(size);
      for (let at = 0; at < size; at += 65_536) crypto.getRandomValues(value.subarray(at, at + 65_536));
      const transaction = filler.transaction('filler', 'readwrite');
      transaction.oncomplete = () => done();
      transaction.onabort = () => done(transaction.error.name);
      try {
        transaction.objectStore('filler').put(value, key);
        key += 1;
      } catch (thrown) {
        done(thrown.name);
      }
    });
  const sum = { bytes: 0, error: undefined };
  for (let size = largest; size >= 1024; ) {
    const error = await put(size);
    if (error === undefined) {
      sum.bytes += size;
      continue;
    }
    if (error === 'QuotaExceededError') sum.error = error;
    size /= 2;
  }
  filler.close();
  return sum;
}

/** Makes more than there is room for; counts the tries to save it, and the reasons that the status gives meanwhile. */
function editOnFullDisk() {
  const { db } = window;
  const { transaction } = IDBDatabase.prototype;
  Object.assign(window, { attempts: 0, reasons: [], isSaved: false });
  IDBDatabase.prototype.transaction = function (stores, mode, options) {
    if (this.name.includes('outbox/') && mode === 'readwrite') window.attempts += 1;
    return transaction.call(this, stores, mode, options);
  };
  db.onStatus(({ state, reason }) => {
    if (state === 'not_saving' && !window.reasons.includes(reason)) window.reasons.push(reason);
  });
  const changes = Array.from({ length: 20 }, (_, i) => db.tables.card.create({ text: `${i} `.repeat(20_000) }));
  Promise.all(changes.map((change) => change.saved)).then(() => {
    window.isSaved = true;
  });
}

/** Counts a shared row up, changes its text, and makes rows of its own. Returns the keys. */
async function editShared({ shared, device }) {
  const { db, driftline } = window;
  const { card } = db.tables;
  const lines = card.get(shared).text.split('\n');
  lines[device] = `${lines[device]}, as device ${device} has it`;
  const changes = [card.update(shared, { text: lines.join('\n') })];
  for (let i = 0; i < 10; i += 1) {
    changes.push(card.create({ text: `${device} ${i}` }));
    changes.push(card.update(shared, { votes: driftline.increment() }));
  }
  await Promise.all(changes.map((change) => change.saved));
  return [...new Set(changes.map((change) => change.key))];
}
