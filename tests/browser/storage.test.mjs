// What this device does to its databases: aborted, refused and full, deleted, blocked or changed under the page, damaged, copied.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { cpSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, before, test } from 'node:test';
import { openBrowser, ROOT, startNetwork, startServer, tempDir, until } from './harness.mjs';
import { assertKeys } from './ledger.mjs';
import { readLog } from './log.mjs';
import { makeSite, openSite, untilSynced } from './page.mjs';

const SCHEMA = join(ROOT, 'www', 'server', 'schema.json');
const MIGRATIONS = join(ROOT, 'www', 'server', 'migrations');
const schema = JSON.parse(readFileSync(SCHEMA, 'utf8'));

let server;
let network;
let browser;

before(async () => {
  server = await startServer({ schema: SCHEMA, migrations: MIGRATIONS, staticDir: makeSite() });
  network = await startNetwork(server.port);
  browser = await openBrowser();
  await browser.context.addInitScript(plantFaults);
});

// A test that failed half-way leaves the others their network.
afterEach(() => network.restore(browser.context));

// Runs in the page before anything else. `fail(database, how)` lets every write to databases of that name fail from now on.
function plantFaults() {
  const { transaction } = IDBDatabase.prototype;
  const { commit } = IDBTransaction.prototype;
  const { put } = IDBObjectStore.prototype;
  const { open } = IDBFactory.prototype;
  let [name, how, hits] = ['nothing', '', 0];
  const doomed = new WeakSet();
  const refused = new DOMException('planted', 'UnknownError');
  window.fail = (database, kind) => {
    [name, how, hits] = [database, kind, 0];
  };
  window.heal = () => window.fail('nothing', '');
  window.hits = () => hits;
  IDBDatabase.prototype.transaction = function (stores, mode, options) {
    const isHit = mode === 'readwrite' && this.name.includes(name);
    if (isHit) hits += 1;
    if (isHit && how === 'refuse') throw refused;
    const made = transaction.call(this, stores, mode, options);
    if (isHit) doomed.add(made);
    return made;
  };
  const end = (one) => {
    try {
      one.abort();
    } catch {
      // It has ended already.
    }
  };
  IDBTransaction.prototype.commit = function () {
    if (!doomed.has(this)) return commit.call(this);
    return end(this);
  };
  IDBObjectStore.prototype.put = function (...what) {
    const request = put.apply(this, what);
    if (doomed.has(this.transaction)) request.addEventListener('success', () => end(this.transaction));
    return request;
  };
  IDBFactory.prototype.open = function (database, ...more) {
    if (how === 'forbid' && database.includes(name)) throw new DOMException('planted', 'SecurityError');
    return open.call(this, database, ...more);
  };
}

// ---- Pages ----

/** A page of an app of its own, so that the databases of tests are apart: `driftline/APP/anonymous/…`. Not yet opened. */
async function newPage({ context } = browser, faults) {
  const page = await context.newPage();
  await openSite(page, network.url);
  if (faults) await page.evaluate((faults) => window.fail(...faults), faults);
  return page;
}

/** Opens the space. Waits for what is on this device, unless told not to. */
async function open(page, app, { waits = true } = {}) {
  await page.evaluate(
    async ([schema, app, waits]) => {
      await window.begin(schema, app, { app });
      window.errors = [];
      window.db.onError((error) => window.errors.push(error.code));
      window.states = [];
      window.db.onStatus(({ state, reason }) => window.states.push(`${state} ${reason ?? ''}`.trim()));
      window.changes = [];
      window.isLoaded = false;
      const loaded = window.db.loaded.then(() => {
        window.isLoaded = true;
      });
      if (waits) await loaded;
    },
    [schema, app, waits],
  );
}

async function openPage(app, options) {
  const page = await newPage(options?.browser);
  await open(page, app, options);
  return page;
}

/** Makes cards with these texts, each a transaction, and returns their keys. */
const make = (page, ...texts) =>
  page.evaluate((texts) => {
    return texts.map((text) => {
      const change = window.db.tables.card.create({ text });
      const one = { change, saved: false };
      change.saved.then(() => {
        one.saved = true;
      });
      window.changes.push(one);
      return change.key;
    });
  }, texts);

const savedCount = (page) => page.evaluate(() => window.changes.filter((one) => one.saved).length);
const allSaved = (page) =>
  page.evaluate(() => Promise.all(window.changes.map((one) => one.change.saved)).then(() => {}));
const keys = (page) => page.evaluate(() => window.changes.map((one) => one.change.key));
const texts = (page) =>
  page.evaluate(() =>
    window.db.tables.card
      .query()
      .map((card) => card.text)
      .sort(),
  );
const errors = (page) => page.evaluate(() => window.errors);
const status = (page) => page.evaluate(() => window.db.status);
const clientOf = (key) => key.split(':')[0];
const setOnline = (page, on) => page.evaluate((on) => window.db.setOnline(on), on);
const outboxOf = (app, slot = 0) => `driftline/${app}/anonymous/outbox/${slot}`;
const baseOf = (app) => `driftline/${app}/anonymous/base`;

async function untilStatus(page, state, reason = null) {
  const is = async () => {
    const now = await status(page);
    return now.state === state && now.reason === reason;
  };
  await until(`${state} ${reason ?? ''}`, is).catch(async (error) => {
    assert.fail(`${error.message}; the status is ${JSON.stringify(await status(page))}`);
  });
}

/** The server holds these transactions, each once, and cards with these texts. */
async function assertServerHas(space, expected) {
  const log = await readLog(server, space);
  if (expected.keys) assertKeys(log, expected.keys);
  const rows = await server.query(
    `SELECT card.text FROM card JOIN _space s ON s.id = card.space WHERE s.name = '${space}' ORDER BY text`,
  );
  assert.deepEqual(
    rows.map((row) => row.text),
    [...expected.texts].sort(),
    'the server has every card once',
  );
}

// ---- Databases, as another program of the same origin gets at them ----

/** Deletes a database; returns whether somebody kept it open and let the deletion wait. */
const deleteDatabase = (page, name) =>
  page.evaluate(
    (name) =>
      new Promise((done, failed) => {
        const request = indexedDB.deleteDatabase(name);
        let blocked = false;
        request.onblocked = () => {
          blocked = true;
        };
        request.onsuccess = () => done(blocked);
        request.onerror = () => failed(request.error);
      }),
    name,
  );

/** Opens a database and keeps it open whatever others ask, as `window.held`; returns whether that had to wait for somebody. */
const hold = (page, name, version) =>
  page.evaluate(
    ([name, version]) =>
      new Promise((done, failed) => {
        const request = indexedDB.open(name, version);
        let blocked = false;
        request.onblocked = () => {
          blocked = true;
        };
        request.onsuccess = () => {
          window.held = request.result;
          done(blocked);
        };
        request.onerror = () => failed(request.error);
      }),
    [name, version],
  );

/** All entries of a store, as `[key, value]`; none where there is no such database. */
const entries = (page, name, store) =>
  page.evaluate(
    async ([name, store]) => {
      const known = await indexedDB.databases();
      if (!known.some((one) => one.name === name)) return [];
      return new Promise((done, failed) => {
        const request = indexedDB.open(name);
        // Gone since: it is not for this page to make it.
        request.onupgradeneeded = () => request.transaction.abort();
        request.onerror = () => done([]);
        request.onsuccess = () => {
          const from = request.result.transaction(store).objectStore(store);
          const [keys, values] = [from.getAllKeys(), from.getAll()];
          values.onerror = () => failed(values.error);
          values.onsuccess = () => {
            request.result.close();
            done(keys.result.map((key, i) => [key, values.result[i]]));
          };
        };
      });
    },
    [name, store],
  );

/** Puts values under keys of a store, whatever was there. */
const overwrite = (page, name, store, puts) =>
  page.evaluate(
    ([name, store, puts]) =>
      new Promise((done, failed) => {
        const request = indexedDB.open(name);
        request.onerror = () => failed(request.error);
        request.onsuccess = () => {
          const database = request.result;
          const transaction = database.transaction(store, 'readwrite');
          for (const [key, value] of puts) transaction.objectStore(store).put(value, key);
          transaction.oncomplete = () => {
            database.close();
            done();
          };
        };
      }),
    [name, store, puts],
  );

// ---- Writes that fail ----

for (const [how, reason] of [
  ['abort', 'storage_aborted'],
  ['refuse', 'storage_failed'],
]) {
  test(`l2_saves_that_fail_by_${how}_are_told_and_made_up_for`, async () => {
    const space = `saves-${how}`;
    const page = await openPage(space);
    await make(page, 'before');
    await untilSynced(page);
    await page.evaluate((how) => window.fail('outbox', how), how);
    await make(page, 'one', 'two');
    await untilStatus(page, 'not_saving', reason);
    await make(page, 'three');
    await until('some failed tries', () => page.evaluate(() => window.hits() >= 4));
    assert.equal(await savedCount(page), 1, 'what is not on disk is not called saved');
    assert.equal((await status(page)).reason, reason, 'the status stays true while it fails');
    assert.deepEqual(await texts(page), ['before', 'one', 'three', 'two']);
    await assertServerHas(space, { texts: ['before'] });

    await page.evaluate(() => window.heal());
    await allSaved(page);
    await untilSynced(page);
    await assertServerHas(space, { keys: await keys(page), texts: await texts(page) });
    await page.close();
  });

  test(`l2_commits_of_the_base_that_fail_by_${how}_are_told_and_made_up_for`, async () => {
    const space = `commits-${how}`;
    const page = await openPage(space);
    await make(page, 'before');
    await untilSynced(page);
    await page.evaluate((how) => window.fail('/base', how), how);
    await make(page, 'one', 'two');
    await untilStatus(page, 'not_saving', reason);
    await allSaved(page);
    // What can be saved does not hide what cannot.
    await until('some failed tries', () => page.evaluate(() => window.hits() >= 4));
    await make(page, 'three');
    await allSaved(page);
    assert.equal((await status(page)).reason, reason);

    await page.evaluate(() => window.heal());
    await untilSynced(page);
    await assertServerHas(space, { keys: await keys(page), texts: await texts(page) });
    await page.close();
    await assertOnDisk(space, ['before', 'one', 'three', 'two'], { waiting: 0 });
  });
}

/** What a page finds on this device alone. */
async function assertOnDisk(space, expected, { waiting, browser: its = browser }) {
  await network.cut(its.context);
  const page = await openPage(space, { browser: its });
  assert.deepEqual(await texts(page), expected);
  assert.equal(await page.evaluate(() => window.db.outbox().length), waiting);
  await page.close();
  await network.restore(its.context);
}

/**
 * A page of a browser that has little room, and what makes room there. The browser counts on the room that it found for a while, so that it
 * must be short of it from the beginning.
 */
async function openCramped(space) {
  const cramped = await openBrowser();
  const page = await newPage(cramped);
  const session = await cramped.context.newCDPSession(page);
  const { usage } = await session.send('Storage.getUsageAndQuota', { origin: network.url });
  await session.send('Storage.overrideQuotaForOrigin', { origin: network.url, quotaSize: usage + 200_000 });
  await open(page, space);
  const makeRoom = () => session.send('Storage.overrideQuotaForOrigin', { origin: network.url });
  return { cramped, page, makeRoom };
}

/** Texts that together need more room than there is, and that nothing makes shorter. */
const LONG = Array.from({ length: 10 }, (_, i) => `long ${i} ${randomBytes(45_000).toString('base64')}`);

test('l2_a_full_device_keeps_edits_in_memory_and_saves_them_when_there_is_room', async () => {
  const space = 'full';
  const { cramped, page, makeRoom } = await openCramped(space);
  await make(page, 'before');
  await untilSynced(page);
  await setOnline(page, false);
  await make(page, ...LONG);
  await untilStatus(page, 'not_saving', 'storage_full');
  assert.ok((await savedCount(page)) < LONG.length, 'not all of it is called saved');
  assert.equal((await texts(page)).length, LONG.length + 1);
  await makeRoom();
  await allSaved(page);
  await untilStatus(page, 'offline');
  await setOnline(page, true);
  await untilSynced(page);
  await assertServerHas(space, { keys: await keys(page), texts: ['before', ...LONG] });
  await cramped.close();
});

test('l2_a_device_too_full_for_what_others_made_says_so_and_takes_it_when_there_is_room', async () => {
  const space = 'full-base';
  const { cramped, page, makeRoom } = await openCramped(space);
  await make(page, 'before');
  await untilSynced(page);
  const theirs = await openPage(space);
  await make(theirs, ...LONG);
  await untilSynced(theirs);
  await theirs.close();
  await untilStatus(page, 'not_saving', 'storage_full');
  assert.equal((await texts(page)).length, LONG.length + 1, 'it is seen all the same');
  await makeRoom();
  await untilSynced(page);
  await page.close();
  await assertOnDisk(space, ['before', ...LONG].sort(), { waiting: 0, browser: cramped });
  await cramped.close();
});

// ---- Databases that are deleted ----

async function clearOrigin(page) {
  const session = await page.context().newCDPSession(page);
  await session.send('Storage.clearDataForOrigin', { origin: network.url, storageTypes: 'indexeddb' });
}

for (const [what, remove] of [
  ['outbox', (page, space) => deleteDatabase(page, outboxOf(space))],
  ['base', (page, space) => deleteDatabase(page, baseOf(space))],
  ['everything', clearOrigin],
]) {
  test(`l2_when_${what}_is_deleted_under_a_page_it_is_written_again_from_memory`, async () => {
    const space = `deleted-${what}`;
    const page = await openPage(space);
    await make(page, 'settled');
    await untilSynced(page);
    await setOnline(page, false);
    const waiting = await make(page, 'one', 'two');
    await allSaved(page);
    const stranger = await newPage();
    assert.ok(!(await remove(stranger, space)), 'the page stands in nobody’s way');
    // By itself, and without anything being made: the next moment may be the last.
    const isBack = async () => {
      const records = await entries(stranger, outboxOf(space), 'txn');
      const base = await entries(stranger, baseOf(space), 'base');
      return records.length === 2 && base.length >= 1;
    };
    await until('both databases to be as they were', isBack);
    const [later] = await make(page, 'three');
    await allSaved(page);
    if (what !== 'base') assert.notEqual(clientOf(later), clientOf(waiting[0]), 'no number is given twice');
    const made = await keys(page);
    await browser.kill();
    await browser.reopen();
    await browser.context.addInitScript(plantFaults);

    await assertOnDisk(space, ['one', 'settled', 'three', 'two'], { waiting: 3 });
    const again = await openPage(space);
    const [last] = await make(again, 'four');
    await untilSynced(again);
    await assertServerHas(space, { keys: [...made, last], texts: ['one', 'settled', 'three', 'two', 'four'] });
    await again.close();
  });
}

test('l2_a_tab_writes_again_what_it_holds_while_another_one_sends', async () => {
  const space = 'deleted-tabs';
  const first = await openPage(space);
  const second = await openPage(space);
  await untilSynced(first);
  await network.cut(browser.context);
  const made = [...(await make(first, 'one')), ...(await make(second, 'two'))];
  await allSaved(first);
  await allSaved(second);
  await clearOrigin(first);
  const stranger = await newPage();
  const isBack = async () => {
    const counts = [0, 1].map((slot) => entries(stranger, outboxOf(space, slot), 'txn'));
    return (await Promise.all(counts)).every((records) => records.length === 1);
  };
  await until('both outboxes', isBack);
  await browser.kill();
  await browser.reopen();
  await browser.context.addInitScript(plantFaults);
  await network.restore(browser.context);
  const page = await openPage(space);
  await untilSynced(page);
  await assertServerHas(space, { keys: made, texts: ['one', 'two'] });
  await page.close();
});

// ---- Databases that cannot be opened ----

for (const [what, nameOf] of [
  ['outbox', outboxOf],
  ['base', baseOf],
]) {
  test(`l2_while_another_tab_blocks_the_${what}_edits_wait_in_memory`, async () => {
    const space = `blocked-${what}`;
    const stranger = await newPage();
    await hold(stranger, nameOf(space));
    const page = await newPage();
    await page.evaluate((name) => void indexedDB.deleteDatabase(name), nameOf(space));
    await open(page, space, { waits: false });
    await make(page, 'one');
    await untilStatus(page, 'not_saving', 'storage_blocked');
    assert.deepEqual(await texts(page), ['one']);
    assert.equal(await page.evaluate(() => window.isLoaded), false);
    await stranger.close();
    await allSaved(page);
    await untilSynced(page);
    assert.equal(await page.evaluate(() => window.isLoaded), true);
    await assertServerHas(space, { keys: await keys(page), texts: ['one'] });
    await page.close();
  });

  test(`l2_an_${what}_of_a_later_version_is_told_and_left_alone`, async () => {
    const space = `newer-${what}`;
    const page = await openPage(space);
    await make(page, 'one');
    await untilSynced(page);
    const stranger = await newPage();
    assert.equal(await hold(stranger, nameOf(space), 2), false, 'the page stands in nobody’s way');
    await untilStatus(page, 'not_saving', 'storage_newer');
    await make(page, 'two');
    await page.evaluate(() => new Promise((done) => setTimeout(done, 500)));
    assert.equal((await status(page)).reason, 'storage_newer');
    if (what === 'outbox') assert.equal(await savedCount(page), 1);
    // A page that opens now finds the same.
    const later = await newPage();
    await open(later, space, { waits: false });
    await untilStatus(later, 'not_saving', 'storage_newer');
    await later.close();

    await stranger.evaluate(() => window.held.close());
    await deleteDatabase(stranger, nameOf(space));
    await stranger.close();
    await allSaved(page);
    await untilSynced(page);
    await assertServerHas(space, { keys: await keys(page), texts: ['one', 'two'] });
    await page.close();
  });
}

test('l2_a_page_that_is_refused_all_storage_opens_and_says_so', async () => {
  const space = 'refused';
  const before = await openPage(space);
  await setOnline(before, false);
  const earlier = await make(before, 'earlier');
  await allSaved(before);
  await before.close();

  const page = await newPage(browser, ['driftline', 'forbid']);
  await open(page, space, { waits: false });
  const made = await make(page, 'one', 'two');
  await untilStatus(page, 'not_saving', 'storage_refused');
  assert.deepEqual(await texts(page), ['one', 'two']);
  assert.equal(await savedCount(page), 0);
  assert.equal(await page.evaluate(() => window.isLoaded), false, 'what this device holds is not seen yet');
  const { transactions, leftOut } = await page.evaluate(() => window.db.exportUnsynced());
  assert.deepEqual([transactions, leftOut], [2, 0], 'what this tab has made can be taken along');
  await page.evaluate(() => window.heal());
  await allSaved(page);
  await untilSynced(page);
  assert.deepEqual(await texts(page), ['earlier', 'one', 'two']);
  await assertServerHas(space, { keys: [...earlier, ...made], texts: ['earlier', 'one', 'two'] });
  await page.close();
});

test('l2_what_a_space_is_closed_without_having_saved_is_not_called_kept', async () => {
  const page = await openPage('closed');
  await make(page, 'before');
  await untilSynced(page);
  await page.evaluate(() => window.fail('outbox', 'abort'));
  await make(page, 'lost');
  const code = await page.evaluate(async () => {
    const { saved } = window.changes[1].change;
    const refused = saved.then(
      () => 'saved',
      (error) => error.code,
    );
    await window.db.close();
    return refused;
  });
  assert.equal(code, 'not_saved');
  await page.close();
});

test('l2_the_browser_is_asked_to_keep_what_is_stored_at_the_first_edit_offline', async () => {
  const page = await newPage();
  await page.evaluate(() => {
    window.asked = 0;
    StorageManager.prototype.persist = async () => {
      window.asked += 1;
      return true;
    };
  });
  await open(page, 'persist');
  const asked = () => page.evaluate(() => window.asked);
  await make(page, 'online');
  await untilSynced(page);
  assert.equal(await asked(), 0);
  await setOnline(page, false);
  await untilStatus(page, 'offline');
  await make(page, 'offline', 'and again');
  assert.equal(await asked(), 1);
  await page.close();
});

// ---- Records that are damaged ----

test('l3_damaged_records_are_set_aside_and_told_and_the_others_are_sent', async () => {
  const space = 'records';
  await (await openPage(space)).close();
  await network.cut(browser.context);
  const page = await openPage(space);
  await make(page, 'torn', 'good', 'garbage', 'of another type', 'good too', 'without a sense');
  await allSaved(page);
  const made = await keys(page);
  await page.close();

  const stranger = await newPage();
  const records = await entries(stranger, outboxOf(space), 'txn');
  assert.equal(records.length, 6);
  const [head] = records[5][1].split('\n');
  const senseless = `${head}\n{"schema":1,"at":1,"edits":[{"op":"create","table":"none"}]}`;
  const damage = [
    [records[0][0], records[0][1].slice(0, -40)],
    [records[2][0], 'neither \u0000 JSON'],
    [records[3][0], { text: 42 }],
    [records[5][0], senseless],
  ];
  const bad = [0, 2, 3, 5].map((i) => made[i]);
  await overwrite(stranger, outboxOf(space), 'txn', damage);

  const again = await openPage(space);
  assert.deepEqual(await texts(again), ['good', 'good too']);
  assert.deepEqual(await errors(again), Array(4).fill('record_corrupt'));
  const damaged = await again.evaluate(() => window.db.damaged());
  const shown = (record) => (typeof record === 'string' ? record : JSON.stringify(record));
  assert.deepEqual(
    damaged,
    damage.map(([, record], i) => ({ key: bad[i], record: shown(record) })),
  );
  const [later] = await make(again, 'new');
  assert.equal(clientOf(later), clientOf(made[0]));
  assert.ok(!made.includes(later), 'the number of what cannot be read is not given again');

  await network.restore(browser.context);
  await untilSynced(again);
  await assertServerHas(space, { keys: [made[1], made[4], later], texts: ['good', 'good too', 'new'] });
  assert.deepEqual(await errors(again), Array(4).fill('record_corrupt'), 'each is told once');
  const left = () => entries(stranger, outboxOf(space), 'txn');
  await until('what was sent to leave the disk', async () => (await left()).length === 4);
  assert.deepEqual(await left(), damage, 'what is damaged stays as it is');

  await again.evaluate((key) => window.db.discard(key), bad[0]);
  await until('one to be discarded', async () => (await left()).length === 3);
  assert.deepEqual((await again.evaluate(() => window.db.damaged())).length, 3);
  await again.close();
  const last = await openPage(space);
  assert.deepEqual(await errors(last), Array(3).fill('record_corrupt'));
  const [newest] = await make(last, 'newest');
  assert.ok(![...made, later].includes(newest));
  await untilSynced(last);
  await last.close();
  await stranger.close();
});

test('l3_what_the_browser_itself_cannot_read_any_more_stops_nothing', async () => {
  const space = 'files';
  const own = await openBrowser();
  const page = await openPage(space, { browser: own });
  // So long that the browser keeps what holds it in a file of its own.
  const noise = String.fromCharCode(...[...randomBytes(60_000)].map((byte) => 0x400 + byte));
  const large = (name) => `${name} ${noise}`;
  await make(page, large('settled'));
  await untilSynced(page);
  await network.cut(own.context);
  const [lost, kept] = await make(page, large('lost'), 'kept');
  await allSaved(page);
  await own.close();
  assert.ok(removeBlobs(own.profile) >= 2, 'both databases have files');
  await own.reopen();

  const again = await openPage(space, { browser: own });
  assert.deepEqual(await texts(again), ['kept']);
  assert.deepEqual((await errors(again)).sort(), ['base_corrupt', 'record_corrupt']);
  assert.deepEqual(await again.evaluate(() => window.db.damaged()), [{ key: lost, record: '' }]);
  await network.restore(own.context);
  await untilSynced(again);
  assert.deepEqual(await texts(again), ['kept', large('settled')].sort());
  await assertServerHas(space, { texts: ['kept', large('settled')] });
  assert.ok((await readLog(server, space)).some((part) => part.key === kept));
  await own.close();
});

/** Deletes the files in which a browser that is not running keeps large values; returns how many. */
function removeBlobs(profile) {
  const files = readdirSync(profile, { recursive: true })
    .filter((name) => name.includes('.indexeddb.blob/'))
    .map((name) => join(profile, name))
    .filter((name) => statSync(name).isFile());
  for (const file of files) rmSync(file);
  return files.length;
}

for (const [what, store, pick, damage, kept] of [
  ['chunk', 'base', -1, (text) => text.slice(0, -10), 0],
  ['head', 'base', 0, () => 'no head', 0],
  ['chunk_of_another_type', 'base', -1, () => 7, 0],
  ['tail', 'tail', 1, (text) => text.slice(0, -10), 1],
  ['tail_of_another_type', 'tail', -1, () => ({}), 3],
  ['meta', 'meta', 'meta', () => '[1, 2', 4],
]) {
  test(`l3_a_base_with_a_torn_${what}_opens_and_is_fetched_again`, async () => {
    const space = `torn-${what}`;
    const page = await openPage(space);
    for (const text of ['a', 'b', 'c', 'd']) {
      await make(page, text);
      await untilSynced(page);
    }
    await setOnline(page, false);
    await make(page, 'waiting');
    await allSaved(page);
    const made = await keys(page);
    await page.close();
    const stranger = await newPage();
    const found = await entries(stranger, baseOf(space), store);
    const [key, value] = typeof pick === 'number' ? found.at(pick) : found.find(([key]) => key[1] === pick);
    await overwrite(stranger, baseOf(space), store, [[key, damage(value)]]);
    await stranger.close();

    // What can be told of it is shown even where there is nobody to ask.
    await network.cut(browser.context);
    const offline = await openPage(space);
    const shown = await texts(offline);
    assert.equal(shown.length, kept + 1, `${shown}`);
    assert.ok(shown.includes('waiting'));
    assert.deepEqual(await errors(offline), ['base_corrupt']);
    await network.restore(browser.context);
    await untilSynced(offline);
    assert.deepEqual(await texts(offline), ['a', 'b', 'c', 'd', 'waiting']);
    await assertServerHas(space, { keys: made, texts: ['a', 'b', 'c', 'd', 'waiting'] });
    await offline.close();
    await assertOnDisk(space, ['a', 'b', 'c', 'd', 'waiting'], { waiting: 0 });
  });
}

// ---- Profiles that are copied ----

const bump = (page, id, by) =>
  page.evaluate(
    ([id, by]) => {
      const change = window.db.tables.card.update(id, { votes: window.driftline.increment(by) });
      window.changes.push({ change });
      return change.key;
    },
    [id, by],
  );

/** A profile with an edit that is settled, and two that wait: a card, and a vote for the settled one. */
async function makeProfile(space) {
  const original = await openBrowser();
  const page = await openPage(space, { browser: original });
  const id = await page.evaluate(() => {
    const { id } = window.db.tables.card.create({ text: 'settled' });
    return id;
  });
  await untilSynced(page);
  await network.cut(original.context);
  await make(page, 'waiting');
  await bump(page, id, 1);
  await allSaved(page);
  const waiting = await keys(page);
  await original.close();
  return { original, id, waiting };
}

function copyProfile(from, to = tempDir('copy')) {
  rmSync(to, { recursive: true });
  cpSync(from, to, { recursive: true, filter: (path) => !path.includes('Singleton') });
  return to;
}

async function votesOf(space) {
  const [{ votes }] = await server.query(
    `SELECT votes FROM card JOIN _space s ON s.id = card.space WHERE s.name = '${space}' AND text = 'settled'`,
  );
  return votes;
}

test('d5_both_of_a_profile_and_its_copy_lose_and_double_nothing', async () => {
  const space = 'copied';
  const { original, id, waiting } = await makeProfile(space);
  const copy = await openBrowser({ profile: copyProfile(original.profile) });
  await original.reopen();
  const both = [original, copy];
  const pages = [];
  for (const [i, one] of both.entries()) {
    const page = await openPage(space, { browser: one });
    assert.deepEqual(await texts(page), ['settled', 'waiting']);
    const made = [...(await make(page, `offline ${i}`)), await bump(page, id, 10 ** (i + 1))];
    // Both give the same numbers to what they make now.
    assert.ok(made.every((key) => clientOf(key) === clientOf(waiting[0])));
    await allSaved(page);
    pages.push(page);
  }
  await network.restore(...both.map((one) => one.context));
  for (const page of pages) await untilSynced(page);
  const clients = new Set();
  for (let round = 0; round < 2; round += 1) {
    for (const [i, page] of pages.entries()) {
      const [key] = await make(page, `online ${i} ${round}`);
      await bump(page, id, 10 ** (3 + 2 * round + i));
      clients.add(clientOf(key));
      await untilSynced(page);
    }
  }
  assert.ok(clients.size >= 2, 'they go on under ids of their own');
  const expected = [
    'settled',
    'waiting',
    'offline 0',
    'offline 1',
    'online 0 0',
    'online 1 0',
    'online 0 1',
    'online 1 1',
  ];
  await assertServerHas(space, { texts: expected });
  assert.equal(await votesOf(space), 1_111_111, 'every vote counts once');
  for (const page of pages) {
    await until('both to see all', async () => (await texts(page)).length === expected.length);
    assert.deepEqual(await page.evaluate(() => window.db.parked()), []);
  }
  const digests = await Promise.all(pages.map((page) => page.evaluate(() => window.db.digest)));
  assert.deepEqual(digests[0], digests[1]);
  for (const one of both) await one.close();
});

test('d5_a_profile_restored_from_before_its_last_pushes_loses_and_doubles_nothing', async () => {
  const space = 'restored';
  const { original, id, waiting } = await makeProfile(space);
  const backup = copyProfile(original.profile);
  await original.reopen();
  await network.restore(original.context);
  const page = await openPage(space, { browser: original });
  await untilSynced(page);
  const [since] = await make(page, 'since');
  await bump(page, id, 10);
  await untilSynced(page);
  await original.close();

  copyProfile(backup, original.profile);
  await original.reopen();
  await network.cut(original.context);
  const restored = await openPage(space, { browser: original });
  assert.deepEqual(await texts(restored), ['settled', 'waiting']);
  const [again] = await make(restored, 'again');
  assert.equal(again, since, 'the number has been given before');
  await bump(restored, id, 100);
  await allSaved(restored);
  await network.restore(original.context);
  await untilSynced(restored);
  assert.notEqual((await keys(restored))[0], since, 'it has taken another');
  const [last] = await make(restored, 'last');
  assert.notEqual(clientOf(last), clientOf(waiting[0]));
  await untilSynced(restored);
  await assertServerHas(space, { texts: ['settled', 'waiting', 'since', 'again', 'last'] });
  assert.equal(await votesOf(space), 111, 'every vote counts once');
  assert.deepEqual(await restored.evaluate(() => window.db.parked()), []);
  await original.close();
});
