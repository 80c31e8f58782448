// Ways in and out of a device that need no server: files of unsynced work, spaces made and deleted offline, users who come and go.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, before, test } from 'node:test';
import { openBrowser, ROOT, runDriftline, startNetwork, startServer, tempDir, until } from './harness.mjs';
import { distinctKeys, logCount, readLog } from './log.mjs';
import { makeSite, openSite, untilKeptForOffline, untilSynced } from './page.mjs';

const FOLDER = join(ROOT, 'tests', 'schemas', 'tree');
const SCHEMA = join(FOLDER, 'schema.json');
const TREE = {
  name: 'tree',
  version: 1,
  tables: {
    branch: { fields: { name: { type: 'text', default: '' } } },
    twig: {
      fields: { name: { type: 'text', default: '' }, count: { type: 'counter' } },
      references: { branch: { to: ['branch'], on_delete: 'cascade' } },
    },
    leaf: {
      fields: { name: { type: 'text', default: '' } },
      references: { twig: { to: ['twig'], on_delete: 'cascade' } },
    },
  },
};

const site = makeSite();
const secretFile = join(tempDir('secret'), 'secret');
let server; // Everybody may do everything.
let guarded; // Tokens name users.
const tokens = {};
before(async () => {
  const place = { schema: SCHEMA, migrations: join(FOLDER, 'migrations'), staticDir: site };
  for (const sub of ['alice', 'bob']) {
    tokens[sub] = (await runDriftline(['token', '--secret-file', secretFile, '--sub', sub])).trim();
  }
  server = await startServer(place);
  guarded = await startServer({ ...place, args: ['--secret-file', secretFile] });
});

const browsers = [];
afterEach(async () => {
  for (const browser of browsers.splice(0)) await browser.close();
});

/** A browser with a network of its own, on a page that works offline too. */
async function openDevice(to = server) {
  const network = await startNetwork(to.port);
  const browser = await openBrowser();
  browsers.push(browser);
  const load = async () => {
    const page = await browser.context.newPage();
    await openSite(page, network.url);
    await untilKeptForOffline(page);
    return page;
  };
  const cut = () => network.cut(browser.context);
  const restore = () => network.restore(browser.context);
  return { browser, network, load, cut, restore, page: await load() };
}

const start = (page, space, options = {}) =>
  page.evaluate(([schema, space, options]) => window.start(schema, space, options), [TREE, space, options]);
const stop = (page) => page.evaluate(() => window.db.close());

/** Opens a space as a user, with whatever token the page holds when it is asked for one. */
const startAs = (page, space, user) =>
  page.evaluate(
    ([schema, space, user]) => window.start(schema, space, { user, token: () => window.token }),
    [TREE, space, user],
  );

/** A branch, and on it a twig that is counted up once for each edit: anything that counts twice shows. */
const work = (page) =>
  page.evaluate(async () => {
    const { branch, twig } = window.db.tables;
    const { id } = twig.create({ branch: branch.create({ name: 'made offline' }).id });
    for (let i = 0; i < 3; i++) {
      // Apart, so that they do not fold into one.
      window.db.transaction((tx) => tx.twig.update(id, { count: window.driftline.increment(1) }), {
        after: [twig.update(id, { name: `${i}` })],
      });
    }
    await window.db.saved();
    return id;
  });

const exported = (page) => page.evaluate(() => window.db.exportUnsynced());
const imported = (page, text, options) =>
  page.evaluate(([text, options]) => window.db.importUnsynced(text, options), [text, options]);
const waiting = (page) => page.evaluate(() => window.db.outbox().length);

/** The code of what `act` is refused with in the page. */
const refusal = (page, act, argument) =>
  page.evaluate(
    async ([act, argument]) => {
      const run = new Function('argument', `return (${act})(argument)`);
      return await run(argument).then(
        () => undefined,
        (error) => (error instanceof window.driftline.DriftlineError ? error.code : String(error)),
      );
    },
    [act.toString(), argument],
  );

const listed = (page, owner = { app: 'tree' }) => page.evaluate((owner) => window.driftline.listSpaces(owner), owner);

async function counts(space, of = server) {
  const id = `(SELECT id FROM _space WHERE name = '${space}')`;
  return await of.query(`SELECT count FROM twig WHERE space = ${id}`);
}

for (const importFirst of [true, false]) {
  const order = importFirst ? 'first' : 'last';
  test(`q9_work_exported_offline_and_imported_elsewhere_counts_once_the_importer_${order}`, async () => {
    const space = `file-${order}`;
    const one = await openDevice();
    const two = await openDevice();
    await one.cut();
    await start(one.page, space);
    const twig = await work(one.page);
    const { text, transactions, leftOut } = await exported(one.page);
    assert.deepEqual([transactions, leftOut], [await waiting(one.page), 0]);
    // What is made after the export is not in the file, and not lost.
    await one.page.evaluate(
      (id) => window.db.tables.twig.update(id, { count: window.driftline.increment(10) }).saved,
      twig,
    );

    await two.cut();
    await start(two.page, space);
    assert.deepEqual(await imported(two.page, text), { imported: transactions, known: 0, unreadable: 0 });
    const count = (page) => page.evaluate((id) => window.db.tables.twig.get(id)?.count, twig);
    assert.equal(await count(two.page), 3, 'it is seen when the call returns');
    assert.deepEqual(await imported(two.page, text), { imported: 0, known: transactions, unreadable: 0 });
    // It is on that device's disk by then.
    await two.browser.kill();
    await two.network.restore();
    await two.browser.reopen();
    two.page = await two.load();
    if (!importFirst) {
      await one.restore();
      await untilSynced(one.page);
      assert.deepEqual(await counts(space), [{ count: 13 }]);
    }
    await start(two.page, space);
    await untilSynced(two.page);
    assert.equal(await count(two.page), importFirst ? 3 : 13);
    if (importFirst) {
      assert.deepEqual(await counts(space), [{ count: 3 }]);
      await one.restore();
      await untilSynced(one.page);
    }
    assert.deepEqual(await counts(space), [{ count: 13 }]);
    distinctKeys(await readLog(server, space));
    await until('the importer to hear of what came later', async () => (await count(two.page)) === 13);
  });
}

test('q9_a_file_has_the_work_of_every_tab', async () => {
  const space = 'tabs';
  const { page, load, cut, restore } = await openDevice();
  const other = await load();
  await cut();
  for (const tab of [page, other]) {
    await start(tab, space);
    await work(tab);
  }
  await until('each tab to see the other', async () => (await waiting(page)) === (await waiting(other)));
  const { transactions, leftOut } = await exported(page);
  assert.deepEqual([transactions, leftOut], [await waiting(page), 0]);
  // What is in a file is not folded into any more, in no tab.
  await other.evaluate(() => {
    const [twig] = window.db.tables.twig.query();
    return window.db.tables.twig.update(twig.id, { count: window.driftline.increment(1) }).saved;
  });
  assert.equal(await waiting(other), transactions + 1);
  await restore();
  await untilSynced(page);
  assert.equal(
    (await counts(space)).reduce((sum, row) => sum + row.count, 0),
    7,
  );
});

test('q9_a_file_that_is_damaged_or_of_another_place_changes_nothing', async () => {
  const one = await openDevice();
  await one.cut();
  await start(one.page, 'source', { user: 'alice' });
  await work(one.page);
  const { text, transactions } = await exported(one.page);
  await stop(one.page);
  const take = (text) => window.db.importUnsynced(text);
  await start(one.page, 'source', { user: 'bob' });
  const at = text.indexOf('made offline');
  for (const damaged of [text.slice(0, -9), `${text.slice(0, at)}M${text.slice(at + 1)}`, '{}', 'no file']) {
    assert.equal(await refusal(one.page, take, damaged), 'invalid_file');
  }
  assert.equal(await refusal(one.page, take, text), 'wrong_user');
  assert.equal(await waiting(one.page), 0);
  const indented = JSON.stringify(JSON.parse(text), null, 2);
  assert.equal(
    (await imported(one.page, indented, { otherUser: true })).imported,
    transactions,
    'unless it is asked for',
  );
  await stop(one.page);
  await start(one.page, 'elsewhere', { user: 'alice' });
  assert.equal(await refusal(one.page, take, text), 'wrong_space');
});

test('q9_an_app_waits_for_the_tier_that_it_needs', async () => {
  const { page, cut, restore } = await openDevice();
  await cut();
  await start(page, 'tiers');
  await work(page);
  await page.evaluate(() => {
    window.isAccepted = false;
    window.accepted = window.db.accepted().then(() => {
      window.isAccepted = true;
    });
  });
  assert.equal(await page.evaluate(() => window.isAccepted), false);
  await restore();
  await page.evaluate(() => window.accepted);
  assert.equal(await logCount(server, 'tiers'), await page.evaluate(() => window.db.status.rev));
  assert.deepEqual(await counts('tiers'), [{ count: 3 }]);
});

test('v7_spaces_are_made_listed_opened_and_deleted_offline', async () => {
  const { page, load, cut, restore } = await openDevice();
  await start(page, 'kept');
  await work(page);
  await untilSynced(page);
  await stop(page);
  await cut();
  await start(page, 'new');
  await work(page);
  const [newest, kept] = await listed(page);
  assert.deepEqual([newest.name, newest.rev, newest.isOpen], ['new', null, true]);
  assert.deepEqual([kept.name, kept.unsynced, kept.isOpen], ['kept', 0, false]);
  assert.ok(newest.unsynced > 0 && kept.rev > 0 && kept.bytes > 0 && newest.openedAt > kept.openedAt);

  const remove = (options) => window.driftline.deleteSpace(options.space, { app: 'tree', ...options });
  assert.equal(await refusal(page, remove, { space: 'new', discard: true }), 'space_open');
  await stop(page);
  assert.equal(await refusal(page, remove, { space: 'new' }), 'unsynced');
  assert.equal((await listed(page)).length, 2, 'refused, it changes nothing');
  assert.equal(await refusal(page, remove, { space: 'kept' }), undefined);
  await start(page, 'new');
  assert.equal(await page.evaluate(() => window.db.tables.twig.size), 1, 'opened offline');
  await restore();
  await untilSynced(page);
  await stop(page);
  await cut();
  await start(page, 'another');
  await work(page);
  const { text, transactions } = await exported(page);
  await stop(page);
  assert.equal(await refusal(page, remove, { space: 'another', discard: true }), undefined);
  assert.deepEqual(
    (await listed(page)).map((space) => space.name),
    ['new'],
  );

  // What was deleted here is on the server all the same, and is edited again as if nothing had been.
  await restore();
  const again = await load();
  await start(again, 'kept');
  await until('the rows to come', () => again.evaluate(() => window.db.tables.twig.size === 1));
  await work(again);
  await untilSynced(again);
  assert.deepEqual(await counts('kept'), [{ count: 3 }, { count: 3 }]);
  distinctKeys(await readLog(server, 'kept'));

  // Nor is a number used twice: what was given up and is in a file comes back beside what was made since.
  assert.equal(await logCount(server, 'another'), 0);
  await cut();
  await start(page, 'another');
  assert.equal(await page.evaluate(() => window.db.tables.twig.size), 0);
  await work(page);
  assert.deepEqual(await imported(page, text), { imported: transactions, known: 0, unreadable: 0 });
  await restore();
  await untilSynced(page);
  assert.deepEqual(await counts('another'), [{ count: 3 }, { count: 3 }]);
});

test('v7_what_was_accepted_is_no_unsynced_work_of_a_space_that_is_closed_at_once', async () => {
  const { page } = await openDevice();
  // The disk takes its time with what the server has answered.
  await page.evaluate(() => {
    const { commit } = IDBTransaction.prototype;
    IDBTransaction.prototype.commit = function () {
      if (!this.objectStoreNames.contains('base')) return commit.call(this);
      const heldUntil = performance.now() + 100;
      const hold = () => {
        this.objectStore('meta').get('held').onsuccess = () =>
          performance.now() < heldUntil ? hold() : commit.call(this);
      };
      hold();
    };
  });
  for (let n = 0; n < 5; n++) {
    await start(page, 'closed-at-once');
    await page.evaluate(async () => {
      window.db.tables.branch.create({ name: 'there' });
      await window.db.accepted();
    });
    await stop(page);
    const [{ unsynced }] = await listed(page);
    assert.equal(unsynced, 0, `time ${n}`);
  }
});

test('v7_the_longest_unopened_are_evicted_but_none_with_unsynced_work_or_in_use', async () => {
  const { page, load, cut } = await openDevice();
  for (const space of ['oldest', 'unsent', 'older', 'newer', 'newest', 'used']) {
    await start(page, space);
    await work(page);
    await untilSynced(page);
    await stop(page);
  }
  const user = await load();
  await start(user, 'used');
  await cut();
  await start(page, 'unsent');
  await work(page);
  await stop(page);
  for (const space of ['older', 'newer', 'newest']) {
    await start(page, space);
    await stop(page);
  }
  const evict = (budget) => page.evaluate((budget) => window.driftline.evictSpaces(budget), { app: 'tree', ...budget });
  assert.deepEqual(await evict({ keepSpaces: 6 }), []);
  assert.deepEqual(await evict({ keepSpaces: 4 }), ['oldest', 'older']);
  const { bytes } = (await listed(page)).find((space) => space.name === 'newest');
  assert.ok(bytes > 0);
  assert.deepEqual(await evict({ keepBytes: 0 }), ['newer', 'newest']);
  assert.deepEqual((await listed(page)).map((space) => space.name).sort(), ['unsent', 'used']);
  await start(page, 'unsent');
  assert.equal(await page.evaluate(() => window.db.tables.twig.size), 2);
  assert.equal(await user.evaluate(() => window.db.tables.twig.size), 1);
});

const signOut = (options) => window.driftline.signOut({ app: 'tree', ...options });

test('a7_signing_out_with_unsynced_work_asks_keeps_exports_or_discards', async () => {
  const { page, cut, restore } = await openDevice();
  const alice = { app: 'tree', user: 'alice' };
  await start(page, 'signed-out-sent', { user: 'alice' });
  await work(page);
  await untilSynced(page);
  await stop(page);
  await cut();
  await start(page, 'signed-out', { user: 'alice' });
  await work(page);
  assert.equal(await refusal(page, signOut, { user: 'alice', unsynced: 'discard' }), 'space_open');
  await stop(page);
  assert.equal(await refusal(page, signOut, { user: 'alice' }), 'unsynced');
  assert.equal((await listed(page, alice)).length, 2, 'refused, it changes nothing');

  await page.evaluate(signOut, { user: 'alice', unsynced: 'keep' });
  const [{ name, unsynced }, ...others] = await listed(page, alice);
  assert.deepEqual([name, others], ['signed-out', []], 'what the server has goes');
  const { files } = await page.evaluate(signOut, { user: 'alice', unsynced: 'export' });
  assert.deepEqual(
    files.map((file) => file.space),
    ['signed-out'],
  );
  assert.equal((await listed(page, alice)).length, 1, 'until whoever has the file says that it may go');
  await page.evaluate(signOut, { user: 'alice', unsynced: 'discard' });
  assert.deepEqual(await listed(page, alice), []);
  const databases = () => page.evaluate(async () => (await indexedDB.databases()).map(({ name }) => name));
  assert.deepEqual(
    (await databases()).filter((name) => name.startsWith('driftline/tree/alice/')),
    [],
  );

  await start(page, 'signed-out', { user: 'alice' });
  assert.equal(await page.evaluate(() => window.db.tables.twig.size), 0);
  assert.equal((await imported(page, files[0].text)).imported, unsynced);
  await restore();
  await untilSynced(page);
  assert.deepEqual(await counts('signed-out'), [{ count: 3 }]);
  await stop(page);
  await page.evaluate(signOut, { user: 'alice' });
  assert.deepEqual(await listed(page, alice), [], 'where all is on the server nobody is asked');
});

test('a7_another_user_of_the_profile_neither_sees_nor_sends', async () => {
  const { page, cut, restore } = await openDevice(guarded);
  await page.evaluate((token) => Object.assign(window, { token }), tokens.alice);
  await cut();
  await startAs(page, 'shared', 'alice');
  await work(page);
  await stop(page);
  await page.evaluate((token) => Object.assign(window, { token }), tokens.bob);
  await restore();
  await startAs(page, 'shared', 'bob');
  assert.deepEqual(await page.evaluate(() => [window.db.tables.twig.size, window.db.outbox().length]), [0, 0]);
  assert.deepEqual(
    (await listed(page, { app: 'tree', user: 'bob' })).map((space) => space.unsynced),
    [0],
  );
  await page.evaluate(() => window.db.tables.branch.create({ name: "bob's" }).accepted);
  assert.equal(await logCount(guarded, 'shared'), 1);
  await stop(page);
  await page.evaluate((token) => Object.assign(window, { token }), tokens.alice);
  await startAs(page, 'shared', 'alice');
  await untilSynced(page);
  assert.deepEqual(await counts('shared', guarded), [{ count: 3 }]);
  const makers = await guarded.query("SELECT DISTINCT principal FROM _client WHERE principal IN ('alice', 'bob')");
  assert.equal(makers.length, 2);
});

test('a7_edits_wait_for_a_credential_of_whoever_made_them', async () => {
  const { page } = await openDevice(guarded);
  await page.evaluate((token) => Object.assign(window, { token }), tokens.alice);
  await startAs(page, 'switched', 'alice');
  await work(page);
  await untilSynced(page);
  const held = await logCount(guarded, 'switched');
  // The app has signed somebody else in, and left the space open.
  await page.evaluate((token) => Object.assign(window, { token }), tokens.bob);
  await work(page);
  await until('the status to say why', () => page.evaluate(() => window.db.status.reason === 'wrong_user'));
  assert.equal(await logCount(guarded, 'switched'), held);
  assert.equal(await page.evaluate(() => window.db.parked().length), 0, 'they wait, as for any token');
  await page.evaluate((token) => Object.assign(window, { token }), tokens.alice);
  await untilSynced(page);
  assert.deepEqual(await counts('switched', guarded), [{ count: 3 }, { count: 3 }]);
  assert.deepEqual(
    await guarded.query(
      "SELECT principal FROM _client WHERE principal = 'bob' AND space = (SELECT id FROM _space WHERE name = 'switched')",
    ),
    [],
  );
});
