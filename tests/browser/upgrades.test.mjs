// A page that is loaded with another version of its schema while edits of the version before wait in it.

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openBrowser, runDriftline, startNetwork, startServer, tempDir } from './harness.mjs';
import { assertKeys, assertSound } from './ledger.mjs';
import { logCount, readLog, serverDigest } from './log.mjs';
import { makeSite, openSite, untilSynced } from './page.mjs';

const SPACE = 'upgraded';
const LAYER = '0199aaaa-bbbb-7ccc-8ddd-00000000ffff';

const ONE = {
  name: 'notes',
  version: 1,
  tables: {
    line: { references: { from: { to: ['note'], on_delete: 'cascade' } } },
    note: {
      fields: {
        title: { type: 'text', default: '' },
        size: { type: 'text', default: '0' },
        old: { type: 'int', default: 5 },
        n: { type: 'counter' },
      },
    },
  },
};

/** Other names. */
const TWO = {
  name: 'notes',
  version: 2,
  upgrades: [
    {
      to: 2,
      steps: [{ rename_table: { from: 'note', to: 'card' } }, { rename: { table: 'card', from: 'title', to: 'name' } }],
    },
  ],
  tables: {
    card: {
      fields: {
        name: { type: 'text', default: '' },
        size: { type: 'text', default: '0' },
        old: { type: 'int', default: 5 },
        n: { type: 'counter' },
      },
    },
    line: { references: { from: { to: ['card'], on_delete: 'cascade' } } },
  },
};

/** Another type, a required reference to a table that is new, and a field that goes. */
const THREE = {
  name: 'notes',
  version: 3,
  upgrades: [
    ...TWO.upgrades,
    {
      to: 3,
      steps: [
        { convert: { table: 'card', field: 'size', from: 'text', to: 'int', default: -1 } },
        { add: { table: 'card', field: 'layer', default: LAYER } },
        { drop: { table: 'card', field: 'old' } },
      ],
    },
  ],
  tables: {
    card: {
      fields: {
        name: { type: 'text', default: '' },
        size: { type: 'int', default: 0 },
        n: { type: 'counter' },
      },
      references: { layer: { to: ['layer'], on_delete: 'restrict' } },
    },
    layer: { fields: { name: { type: 'text', default: 'base' } } },
    line: TWO.tables.line,
  },
};

/** Folders as an operator has them; `release` changes the schema and plans what leads there. */
function makePlace() {
  const folder = tempDir('release');
  const place = { schema: join(folder, 'schema.json'), migrations: join(folder, 'migrations'), data: tempDir('data') };
  mkdirSync(place.migrations);
  const args = ['--schema', place.schema, '--migrations', place.migrations, '--data', place.data];
  return {
    place,
    release: (schema) => {
      writeFileSync(place.schema, JSON.stringify(schema));
      return runDriftline(['migrate', 'plan', ...args, '--name', `v${schema.version}`, '--allow-drop']);
    },
    apply: (...options) => runDriftline(['migrate', 'apply', ...args, ...options]),
  };
}

const start = (page, schema) => page.evaluate(([schema, space]) => window.start(schema, space), [schema, SPACE]);

async function reload(page, schema) {
  await page.reload();
  await page.waitForFunction(() => window.isReady);
  await start(page, schema);
}

/** The page's clock goes ahead, also after a reload: as if so much time had passed. */
async function shiftClock(page, ms) {
  await page.evaluate((ms) => localStorage.setItem('ahead', ms), ms);
}

function keepShiftedClock() {
  const { now } = Date;
  Date.now = () => now.call(Date) + Number(localStorage.getItem('ahead') ?? 0);
}

const outboxKeys = async (page) => (await page.evaluate(() => window.db.outbox().map((entry) => entry.key))).sort();

const view = (page) =>
  page.evaluate(() => {
    const { card, line } = window.db.tables;
    const rows = card.query().map(({ id: _, ...row }) => row);
    return { cards: rows.sort((a, b) => (a.name < b.name ? -1 : 1)), lines: line.size };
  });

/** The log as the present schema tells it: tables of older versions by their present names. */
async function presentLog(server) {
  const log = await readLog(server, SPACE);
  const renamed = (change) => ({ ...change, table: change.table === 'note' ? 'card' : change.table });
  return log.map((part) => ({ ...part, changes: part.changes.map(renamed) }));
}

/** Collects the bodies that a page sends, as texts, by the key of the transaction. */
function recordBodies(page) {
  const bodies = new Map();
  page.on('request', (request) => {
    if (!request.url().endsWith('/reconcile')) return;
    const { clients, units } = JSON.parse(request.postData());
    for (const { key, body } of units.flatMap(({ txns }) => txns)) {
      bodies.set(`${clients[key[0]].id}:${key[1]}`, JSON.stringify(body));
    }
  });
  return bodies;
}

const uuid = (column) =>
  `(SELECT substr(h,1,8)||'-'||substr(h,9,4)||'-'||substr(h,13,4)||'-'||substr(h,17,4)||'-'||substr(h,21)
      FROM (SELECT lower(hex(${column})) AS h))`;

test('m3_q8_what_waits_syncs_exactly_once_after_the_page_was_upgraded_offline_by_two_versions', async () => {
  const { place, release, apply } = makePlace();
  await release(ONE);
  const env = {};
  const server = await startServer({ ...place, staticDir: makeSite(), env });
  const network = await startNetwork(server.port);
  const browser = await openBrowser();
  await browser.context.addInitScript(keepShiftedClock);
  const page = await browser.context.newPage();
  await openSite(page, network.url);
  await start(page, ONE);
  const before = recordBodies(page);
  const first = await page.evaluate(async () => {
    const change = window.db.tables.note.create({ title: 'first', size: '7', n: 1 });
    await change.accepted;
    return { id: change.id, key: change.key };
  });
  await untilSynced(page);

  // Sent, and taken, and the server dies before it can say so.
  await page.evaluate(() => window.db.setOnline(false));
  const lost = await page.evaluate(async (id) => {
    const { db, driftline } = window;
    const { note, line } = db.tables;
    const many = note.create({ title: 'many', size: 'many' });
    const changes = [
      note.update(id, { title: 'second', n: driftline.increment(10) }),
      many,
      line.create({ from: many.id }),
    ];
    await Promise.all(changes.map((change) => change.saved));
    return changes.map((change) => change.key);
  }, first.id);
  await server.kill();
  env.DRIFTLINE_FAULT = 'abort_after_commit=1';
  await server.restart();
  await page.evaluate(() => window.db.setOnline(true));
  assert.equal(await server.ended(), 'SIGABRT');
  delete env.DRIFTLINE_FAULT;
  await network.cut(browser.context);
  assert.equal(await logCount(server, SPACE), 1 + lost.length, 'all of it was taken');

  // Made later, and never sent; some of it in a tab that is closed.
  await shiftClock(page, 20_000);
  const unsent = await page.evaluate(async (id) => {
    const { db, driftline } = window;
    const { note, line } = db.tables;
    const third = note.create({ title: 'third' });
    const changes = [
      note.update(id, { size: '8', old: 9, n: driftline.increment(100) }),
      third,
      line.create({ from: third.id }),
    ];
    await Promise.all(changes.map((change) => change.saved));
    return changes.map((change) => change.key);
  }, first.id);
  const other = await browser.context.newPage();
  await openSite(other, network.url);
  await start(other, ONE);
  const closed = await other.evaluate(async (id) => {
    const { db, driftline } = window;
    const changes = [
      db.tables.note.update(id, { n: driftline.increment(1000) }),
      db.tables.note.create({ title: 'in the other tab', size: '12' }),
    ];
    await Promise.all(changes.map((change) => change.saved));
    return changes.map((change) => change.key);
  }, first.id);
  await other.close();
  const made = [...lost, ...unsent, ...closed];
  assert.equal(new Set(made).size, made.length);

  for (const schema of [TWO, THREE]) {
    await release(schema);
    await apply('--expand-only');
  }
  await server.restart();

  // The page of the new version, with no network: all is there, under the new names.
  await reload(page, THREE);
  const layer = LAYER;
  const wanted = {
    cards: [
      { name: 'in the other tab', size: 12, n: 0, layer },
      { name: 'many', size: -1, n: 0, layer },
      { name: 'second', size: 8, n: 1111, layer },
      { name: 'third', size: 0, n: 0, layer },
    ],
    lines: 2,
  };
  assert.deepEqual(await view(page), wanted);
  assert.deepEqual(await outboxKeys(page), [...made].sort());
  made.push(
    await page.evaluate(async (id) => {
      const change = window.db.tables.card.update(id, { n: window.driftline.increment(10_000) });
      await change.saved;
      return change.key;
    }, first.id),
  );
  wanted.cards[2].n = 11_111;
  await browser.kill();
  await browser.reopen();
  await browser.context.addInitScript(keepShiftedClock);
  const again = await browser.context.newPage();
  await openSite(again, network.url);
  await start(again, THREE);
  assert.deepEqual(await view(again), wanted);
  assert.deepEqual(await outboxKeys(again), [...made].sort());

  const after = recordBodies(again);
  await network.restore(browser.context);
  await untilSynced(again);
  // What the live connection tells of before the first request is over without being asked about.
  const asked = lost.filter((key) => after.has(key));
  for (const key of asked) assert.equal(after.get(key), before.get(key), 'what may have been sent goes as it went');
  const never = made.slice(lost.length);
  assert.deepEqual([...after.keys()].sort(), [...asked, ...never].sort());
  assert.deepEqual(
    never.map((key) => JSON.parse(after.get(key)).schema),
    never.map(() => 3),
  );

  const others = await openBrowser();
  const fresh = await others.context.newPage();
  await openSite(fresh, network.url);
  await start(fresh, THREE);
  await untilSynced(fresh);
  const expectSame = async () => {
    const log = await presentLog(server);
    assertKeys(log, [first.key, `migration:${2 + lost.length}`, ...made]);
    await assertSound(server, THREE, log);
    const cards = `SELECT name, size, n, ${uuid('layer')} AS layer FROM card ORDER BY name`;
    assert.deepEqual(await server.query(cards), wanted.cards);
    for (const tab of [again, fresh]) {
      await untilSynced(tab);
      await tab.waitForFunction((rev) => window.db.status.rev === rev, log.at(-1).rev);
      assert.deepEqual(await view(tab), wanted);
      const { rev, digest } = await tab.evaluate(() => window.db.digest);
      assert.deepEqual({ rev, digest }, await serverDigest(server, SPACE));
    }
  };
  await expectSame();

  // Once the old servers are gone, so is what they needed.
  await server.stop();
  assert.match(await apply(), /contract/);
  await server.restart();
  const last = await fresh.evaluate(async (id) => {
    const change = window.db.tables.card.update(id, { n: window.driftline.increment(100_000) });
    await change.accepted;
    return change.key;
  }, first.id);
  made.push(last);
  wanted.cards[2].n = 111_111;
  await expectSame();
  await others.close();
  await browser.close();
  await server.stop();
});
