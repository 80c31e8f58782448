// Answers that are none, come late, or say that everything here is out of date: what was made stays, and arrives once.

import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { openBrowser, ROOT, startNetwork, startProxy, startServer, tempDir, until } from './harness.mjs';
import { assertKeys } from './ledger.mjs';
import { checkOrder, logCount, readLog, serverDigest } from './log.mjs';
import { makeSite, openSite, untilSynced } from './page.mjs';

const SERVER = join(ROOT, 'www', 'server');
const SCHEMA = join(SERVER, 'schema.json');
const schema = JSON.parse(readFileSync(SCHEMA, 'utf8'));

const ended = [];
afterEach(async () => {
  for (const end of ended.splice(0).reverse()) await end();
});

/** A server, a proxy in front of it, and a browser with a network of its own. */
async function startAll() {
  const server = await startServer({ schema: SCHEMA, migrations: join(SERVER, 'migrations'), staticDir: makeSite() });
  const proxy = await startProxy(server.port);
  const network = await startNetwork(proxy.port);
  const browser = await openBrowser();
  ended.push(server.stop, browser.close);
  return { server, proxy, network, browser };
}

async function openPage({ browser, network }) {
  const page = await browser.context.newPage();
  await openSite(page, network.url);
  return page;
}

const start = (page, space) => page.evaluate(([schema, space]) => window.start(schema, space), [schema, space]);

async function reload(page) {
  await page.reload();
  await page.waitForFunction(() => window.isReady);
}

const cards = (server, columns, space) =>
  server.query(
    `SELECT ${columns} FROM card WHERE space = (SELECT id FROM _space WHERE name = '${space}') ORDER BY text`,
  );

const view = (page) =>
  page.evaluate(() => {
    const rows = window.db.tables.card.query().map(({ text, votes }) => ({ text, votes }));
    return rows.sort((a, b) => (a.text < b.text ? -1 : 1));
  });

const outboxKeys = (page) => page.evaluate(() => window.db.outbox().map((entry) => entry.key));

// Runs in the page. Off and on again, as a user does who does not want to wait for the next try.
function tryNow(db = window.db) {
  db.setOnline(false);
  db.setOnline(true);
}

/** Then nothing but the answer tells of what was sent. */
const withoutLive = ({ browser }) => browser.context.routeWebSocket('**/live', (socket) => socket.close());

/** Holds answers back: `held` of them wait until `release`. */
function makeGate() {
  const gate = { held: 0 };
  const opened = new Promise((resolve) => {
    gate.release = resolve;
  });
  gate.wait = () => {
    gate.held += 1;
    return opened;
  };
  return gate;
}

// ---- No answer ----

const html = (status, headers = {}) => ({
  status,
  headers: { 'content-type': 'text/html', ...headers },
  body: `<html><body><h1>${status}</h1></body></html>`,
});

test('r1_a_proxy_that_answers_5xx_empties_no_outbox', async () => {
  const space = 'sick';
  const all = await startAll();
  const { server, proxy } = all;
  const page = await openPage(all);
  await start(page, space);
  const first = await page.evaluate(async () => {
    const change = window.db.tables.card.create({ text: 'counted', votes: 1 });
    await change.accepted;
    return { id: change.id, key: change.key };
  });
  await untilSynced(page);

  const answers = [html(500), html(503, { 'retry-after': '1' }), html(502), html(504)];
  let failed = 0;
  proxy.meddle = ({ method }, pass) => {
    if (method !== 'POST') return pass();
    failed += 1;
    return answers[(failed - 1) % answers.length];
  };
  const made = await page.evaluate(async (id) => {
    const { db, driftline } = window;
    const { card, connection } = db.tables;
    const changes = [card.update(id, { votes: driftline.increment(10) })];
    for (let index = 0; index < 20; index += 1) {
      const one = card.create({ text: `card ${String(index).padStart(2, '0')}`, votes: index });
      changes.push(one, connection.create({ start_item: { card: id }, end_item: { card: one.id } }));
    }
    await Promise.all(changes.map((change) => change.saved));
    return changes.map((change) => change.key);
  }, first.id);
  const wanted = await view(page);
  assert.equal(wanted.length, 21);
  const untilFailed = async (count) => {
    const before = failed;
    await until('failed requests', async () => {
      await page.evaluate(tryNow);
      return failed >= before + count;
    });
  };
  const nothingIsGone = async (where) => {
    assert.deepEqual([...(await outboxKeys(page))].sort(), [...made].sort(), `the outbox ${where}`);
    assert.deepEqual(await view(page), wanted, `the view ${where}`);
  };
  await untilFailed(answers.length);
  await nothingIsGone('while pushes fail');

  await reload(page);
  await start(page, space);
  await nothingIsGone('of the reloaded page');
  await untilFailed(answers.length);
  await nothingIsGone('while pushes fail again');
  const { state, reason } = await page.evaluate(() => window.db.status);
  assert.notEqual(state, 'saved', `the status says that something is wrong: ${reason}`);

  assert.equal(await logCount(server, space), 1, 'the server has seen none of it');

  // At last one push gets through, of which the answer does not.
  let carriedOut = 0;
  proxy.meddle = async ({ body }, pass) => {
    const answer = await pass();
    if (carriedOut > 0 || !body.includes('"edits"')) return answer;
    carriedOut = await logCount(server, space);
    return answers[0];
  };
  await page.evaluate(tryNow);
  await untilSynced(page);
  assert.ok(carriedOut > 1, `of a push that was carried out (${carriedOut} are in the log) the answer was lost`);
  const log = await readLog(server, space);
  assertKeys(log, [first.key, ...made]);
  checkOrder(schema, log);
  assert.deepEqual(await cards(server, 'text, votes', space), wanted);
  assert.deepEqual(await view(page), wanted);
});

// ---- Another space's answer ----

/** What a page holds of a space is what the server holds of it, and nothing else. */
async function assertIsSpace(server, page, name, space, texts) {
  const held = await page.evaluate((name) => {
    const { rev, digest } = window[name].digest;
    return { texts: window[name].tables.card.query().map((row) => row.text), digest: { rev, digest } };
  }, name);
  assert.deepEqual(held.texts.sort(), texts, `what the page shows of ${space}`);
  assert.deepEqual(held.digest, await serverDigest(server, space));
  const stored = await cards(server, 'text', space);
  assert.deepEqual(
    stored.map((row) => row.text),
    texts,
  );
}

/** Both spaces hold the same ids, and their outboxes the same numbers: only the space tells them apart. */
const ID = '01990000-0000-7000-8000-00000000aaaa';

test('v3_a_late_answer_for_one_space_changes_nothing_in_the_space_opened_since', async () => {
  const all = await startAll();
  const { server, proxy } = all;
  await withoutLive(all);
  const page = await openPage(all);
  const make = (text, how) =>
    page.evaluate(
      async ([id, text, how]) => {
        const change = window.db.tables.card.create({ id, text });
        await change[how];
        return change.key;
      },
      [ID, text, how],
    );
  await start(page, 'two');
  const keyOfTwo = await make('of two', 'accepted');
  await page.evaluate(() => window.db.close());

  await start(page, 'one');
  await untilSynced(page);
  const gate = makeGate();
  proxy.meddle = async ({ path, body }, pass) => {
    const answer = await pass();
    if (path.includes('/one/') && body.includes('of one')) await gate.wait();
    return answer;
  };
  const keyOfOne = await make('of one', 'saved');
  await until('the answer to be held', () => gate.held === 1);
  assert.equal(await logCount(server, 'one'), 1, 'the server has applied it');

  await page.evaluate(() => {
    const one = window.db;
    window.closing = one.close();
  });
  await start(page, 'two');
  const pending = await page.evaluate(async () => {
    const change = window.db.tables.card.create({ text: 'later' });
    window.seen = new Set();
    window.db.subscribe(() => {
      for (const row of window.db.tables.card.query()) window.seen.add(row.text);
    });
    await change.accepted;
    return change.key;
  });
  gate.release();
  await page.evaluate(() => window.closing);
  await untilSynced(page);
  await page.evaluate(() => window.db.tables.card.create({ text: 'latest' }).accepted);
  assert.deepEqual(await page.evaluate(() => [...window.seen].sort()), ['later', 'latest', 'of two']);
  await assertIsSpace(server, page, 'db', 'two', ['later', 'latest', 'of two']);
  const keys = (await readLog(server, 'two')).map((part) => part.key);
  assert.deepEqual(keys.slice(0, 2), [keyOfTwo, pending]);

  // What became of the edit whose answer nobody heard, its own space knows.
  await page.evaluate(() => window.db.close());
  await start(page, 'one');
  assert.deepEqual(await view(page), [{ text: 'of one', votes: 0 }]);
  await untilSynced(page);
  await assertIsSpace(server, page, 'db', 'one', ['of one']);
  assertKeys(await readLog(server, 'one'), [keyOfOne]);
});

test('v3_answers_that_cross_each_other_go_each_to_its_own_space', async () => {
  const all = await startAll();
  const { server, proxy } = all;
  await withoutLive(all);
  const page = await openPage(all);
  await page.evaluate(async (schema) => {
    const open = (space) => window.driftline.open({ schema, space, url: '' });
    [window.one, window.two] = await Promise.all([open('one'), open('two')]);
    await Promise.all([window.one.loaded, window.two.loaded]);
  }, schema);
  const gates = { one: makeGate(), two: makeGate() };
  proxy.meddle = async ({ method, path }, pass) => {
    const answer = await pass();
    if (method === 'POST') await gates[path.split('/')[3]].wait();
    return answer;
  };
  const keys = await page.evaluate(async (id) => {
    const { one, two, driftline } = window;
    const changes = [one, two].map((db, index) => {
      db.tables.card.create({ id, text: index === 0 ? 'of one' : 'of two' });
      return db.tables.card.update(id, { votes: driftline.increment(index + 1) });
    });
    await Promise.all(changes.map((change) => change.saved));
    window.changes = changes;
    return changes.map((change) => change.key);
  }, ID);
  await until('an answer for each to be held', () => gates.one.held > 0 && gates.two.held > 0);
  // Whichever was asked first, the second is answered first, and nothing is settled in the other.
  gates.two.release();
  await page.evaluate(() => window.changes[1].accepted);
  await page.waitForFunction(() => window.two.outbox().length === 0);
  assert.deepEqual(await page.evaluate(() => window.one.outbox().map((entry) => entry.key)), [keys[0]]);
  gates.one.release();
  await page.evaluate(() => window.changes[0].accepted);
  await page.waitForFunction(() => window.one.outbox().length === 0);
  for (const [index, space] of ['one', 'two'].entries()) {
    await assertIsSpace(server, page, space, space, [`of ${space}`]);
    assert.deepEqual(await cards(server, 'votes', space), [{ votes: index + 1 }]);
    assertKeys(await readLog(server, space), [keys[index]]);
  }
});

// ---- Everything anew ----

// Runs in the page. Notes every moment at which one of these rows is not to be seen, or not as it was left here.
function watchRows(texts) {
  window.gaps = [];
  const look = () => {
    for (const [id, text] of Object.entries(texts)) {
      const seen = window.db.tables.card.get(id)?.text;
      if (seen !== text) window.gaps.push(`${text} was ${seen}`);
    }
  };
  look();
  window.db.subscribe(look);
}

// Runs in the page. A card of one's own, a change of one that the server has, and a connection between them.
async function makeOffline(id) {
  const { card, connection } = window.db.tables;
  const own = card.create({ text: 'made offline' });
  const changed = card.update(id, { text: 'changed offline' });
  const between = connection.create({ start_item: { card: own.id }, end_item: { card: id } });
  await Promise.all([own, changed, between].map((change) => change.saved));
  return {
    texts: { [own.id]: 'made offline', [id]: 'changed offline' },
    keys: [own, changed, between].map((change) => change.key),
  };
}

/** Nothing that was made here has been out of sight, and the server has it once, beside what `others` made. */
async function assertKept(server, page, space, made, others) {
  await untilSynced(page);
  assert.deepEqual(await page.evaluate(() => window.gaps), []);
  const log = await readLog(server, space);
  checkOrder(schema, log);
  for (const key of made.keys) assert.equal(log.filter((part) => part.key === key).length, 1, `${key} is there once`);
  const texts = ['changed offline', 'made offline', others].sort();
  assert.deepEqual(
    (await view(page)).map((row) => row.text),
    texts,
  );
  assert.deepEqual(
    (await cards(server, 'text', space)).map((row) => row.text),
    texts,
  );
  const { rev, digest } = await page.evaluate(() => window.db.digest);
  assert.deepEqual({ rev, digest }, await serverDigest(server, space));
}

/** Creates a card as somebody else does. */
async function createElsewhere(server, space, text) {
  const id = '01990000-0000-7000-8000-00000000e15e';
  const body = { schema: 1, at: [Date.now(), 0], edits: [{ op: 'create', table: 'card', id, set: { text } }] };
  const response = await fetch(`${server.url}/v1/spaces/${space}/reconcile`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      epoch: 1,
      cursor: null,
      clients: [{ id: 'e15e000000000001', receipt: null, closed: [] }],
      units: [{ txns: [{ key: [0, 1], body }], after: [] }],
    }),
  });
  assert.equal((await response.json()).outcomes[0].outcome, 'applied');
}

async function createAndSync(page, text) {
  const id = await page.evaluate(async (text) => {
    const change = window.db.tables.card.create({ text });
    await change.accepted;
    return change.id;
  }, text);
  await untilSynced(page);
  return id;
}

test('v2_a_base_that_is_gone_from_the_disk_is_fetched_and_what_was_made_offline_stays', async () => {
  const space = 'base-gone';
  const all = await startAll();
  const { server, proxy, network, browser } = all;
  const page = await openPage(all);
  await start(page, space);
  const id = await createAndSync(page, 'there');
  await network.cut(browser.context);
  const made = await page.evaluate(makeOffline, id);
  await page.evaluate(() => window.db.close());
  const removed = await page.evaluate(async () => {
    const [base] = (await indexedDB.databases()).filter(({ name }) => name.endsWith('/base'));
    await new Promise((resolve, reject) => {
      const request = indexedDB.deleteDatabase(base.name);
      request.onsuccess = resolve;
      request.onerror = () => reject(request.error);
      request.onblocked = () => reject(new Error('the base is in use'));
    });
    return base.name;
  });
  assert.ok(removed.endsWith('/base'));
  await createElsewhere(server, space, 'of another');

  await reload(page);
  await start(page, space);
  const own = Object.entries(made.texts).filter(([, text]) => text === 'made offline');
  await page.evaluate(watchRows, Object.fromEntries(own));
  // No push gets through, so that nothing hides what the fetch does to the view.
  let snapshots = 0;
  proxy.meddle = ({ method }, pass) => {
    if (method === 'POST') return html(503);
    snapshots += 1;
    return pass();
  };
  await network.restore(browser.context);
  await page.waitForFunction(() => window.db.tables.card.query((row) => row.text === 'of another').length === 1);
  assert.equal(snapshots, 1);
  assert.deepEqual([...(await outboxKeys(page))].sort(), [...made.keys].sort());
  assert.equal(await page.evaluate(() => window.db.tables.connection.size), 1);
  const isChanged = (id) => window.db.tables.card.get(id).text === 'changed offline';
  assert.ok(await page.evaluate(isChanged, id), 'nor is a field overwritten that was changed here');
  proxy.meddle = undefined;
  await page.evaluate(tryNow);
  await assertKept(server, page, space, made, 'of another');
});

test('v2_a_server_that_was_set_back_to_a_backup_takes_nothing_from_what_was_made_offline', async () => {
  const space = 'set-back';
  const all = await startAll();
  const { server, proxy, network, browser } = all;
  const page = await openPage(all);
  await start(page, space);
  const id = await createAndSync(page, 'there');
  await server.stop();
  const backup = join(tempDir('backup'), 'data');
  cpSync(server.data, backup, { recursive: true });
  await server.restart();
  await page.evaluate(tryNow);
  for (let index = 0; index < 8; index += 1) await createAndSync(page, `after the backup ${index}`);
  await network.cut(browser.context);
  const made = await page.evaluate(makeOffline, id);

  await server.stop();
  rmSync(server.data, { recursive: true });
  cpSync(backup, server.data, { recursive: true });
  await server.restart();
  await createElsewhere(server, space, 'of another');
  await page.evaluate(watchRows, made.texts);
  const gate = makeGate();
  let reloads = 0;
  proxy.meddle = async ({ method }, pass) => {
    const answer = await pass();
    if (method === 'POST') reloads += JSON.parse(answer.body).reload ? 1 : 0;
    else await gate.wait();
    return answer;
  };
  await network.restore(browser.context);
  await until('the page to ask for everything anew', () => gate.held > 0);
  assert.ok(reloads > 0, 'the server said that it should');
  assert.deepEqual(await page.evaluate(() => window.gaps), []);
  gate.release();
  await assertKept(server, page, space, made, 'of another');
});
