// Histories that servers choked on before: dependents that come first, parents that go first, and edits made at moments
// when nobody seems to listen.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, before, test } from 'node:test';
import { openBrowser, ROOT, startNetwork, startServer, until } from './harness.mjs';
import { checkOrder, checkSent, distinctKeys, logCount, readLog, recordSent } from './log.mjs';
import { makeSite, openSite, untilSynced } from './page.mjs';

const SERVER = join(ROOT, 'www', 'server');
const schema = JSON.parse(readFileSync(join(SERVER, 'schema.json'), 'utf8'));

let server;
before(async () => {
  const migrations = join(SERVER, 'migrations');
  server = await startServer({ schema: join(SERVER, 'schema.json'), migrations, staticDir: makeSite() });
});

const browsers = [];
afterEach(async () => {
  for (const browser of browsers.splice(0)) await browser.close();
});

/** A browser with a network of its own. `tab()` opens the space in a new tab. */
async function openUser(space) {
  const network = await startNetwork(server.port);
  const browser = await openBrowser();
  browsers.push(browser);
  const underWay = new Set();
  browser.context.on('request', (request) => underWay.add(request));
  for (const end of ['requestfinished', 'requestfailed']) {
    browser.context.on(end, (request) => underWay.delete(request));
  }
  const load = async () => {
    const page = await browser.context.newPage();
    await openSite(page, network.url);
    return page;
  };
  const start = (page) => page.evaluate(([schema, space]) => window.start(schema, space), [schema, space]);
  const tab = async () => {
    const page = await load();
    await start(page);
    return page;
  };
  return {
    browser,
    load,
    tab,
    network,
    /** From now on no byte passes. What was under way is done, so that the next thing to be asked is what waits next. */
    stall: async () => {
      await until('no request to be under way', () => underWay.size === 0);
      network.stall();
    },
    cut: () => network.cut(browser.context),
    restore: () => network.restore(browser.context),
  };
}

const rows = (table, columns, space) =>
  server.query(
    `SELECT ${columns} FROM ${table} WHERE space = (SELECT id FROM _space WHERE name = '${space}') ORDER BY 1`,
  );

async function checkedLog(space) {
  const log = await readLog(server, space);
  checkOrder(schema, log);
  distinctKeys(log);
  return log;
}

const keysOf = (log) => log.map((part) => part.key);

test('o1_a_connection_made_before_its_type_in_one_tab_arrives_after_it', async () => {
  const space = 'one-tab';
  const user = await openUser(space);
  const page = await user.tab();
  await user.cut();
  const made = await page.evaluate(async () => {
    const { db, driftline } = window;
    const { card, connection, connection_type } = db.tables;
    const type = driftline.newId();
    const ends = [card.create({ text: 'a' }).id, card.create({ text: 'b' }).id];
    const first = connection.create({
      start_item: { card: ends[0] },
      end_item: { card: ends[1] },
      connection_type: type,
    });
    const last = connection_type.create({ id: type, name: 'leads to' });
    await Promise.all([first.saved, last.saved]);
    return { connection: first.key, type: last.key };
  });
  assert.equal(await logCount(server, space), 0);
  const sent = recordSent(page);
  await user.restore();
  await untilSynced(page);
  checkSent(schema, sent);
  const keys = keysOf(await checkedLog(space));
  assert.equal(keys.length, 4);
  assert.ok(keys.indexOf(made.type) < keys.indexOf(made.connection), 'the type goes first');
  assert.deepEqual(await rows('connection', 'connection_type IS NOT NULL AS typed', space), [{ typed: 1 }]);
});

test('o1_a_connection_made_before_its_type_in_another_tab_arrives_after_it', async () => {
  const space = 'two-tabs';
  const user = await openUser(space);
  const one = await user.tab();
  const two = await user.tab();
  await user.cut();
  const [connection, type] = await one.evaluate(async () => {
    const { db, driftline } = window;
    const { card, connection } = db.tables;
    const type = driftline.newId();
    const ends = [card.create({ text: 'a' }).id, card.create({ text: 'b' }).id];
    const change = connection.create({
      start_item: { card: ends[0] },
      end_item: { card: ends[1] },
      connection_type: type,
    });
    await change.saved;
    return [change.key, type];
  });
  const typeKey = await two.evaluate(async (id) => {
    const change = window.db.tables.connection_type.create({ id, name: 'leads to' });
    await change.saved;
    return change.key;
  }, type);
  assert.notEqual(connection.split(':')[0], typeKey.split(':')[0], 'tabs are clients of their own');
  const sent = [recordSent(one), recordSent(two)];
  await user.restore();
  await untilSynced(one);
  await untilSynced(two);
  checkSent(schema, sent.flat());
  const keys = keysOf(await checkedLog(space));
  assert.equal(keys.length, 4);
  assert.ok(keys.indexOf(typeKey) < keys.indexOf(connection), 'the type goes first');
  for (const page of [one, two]) {
    assert.equal(await page.evaluate(() => window.db.tables.connection.size), 1);
    assert.equal(await page.evaluate((id) => window.db.tables.connection_type.get(id)?.name, type), 'leads to');
  }
});

test('r4_a_raw_batch_in_the_wrong_order_is_answered_and_its_neighbours_are_applied', async () => {
  const space = 'raw';
  const { pid } = server;
  const id = (number) => `01990000-0000-7000-8000-${String(number).padStart(12, '0')}`;
  const create = (table, number, set) => ({ op: 'create', table, id: id(number), set });
  const post = async (units) => {
    const response = await fetch(`${server.url}/v1/spaces/${space}/reconcile`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        epoch: 1,
        cursor: null,
        clients: [{ id: '00000000000000aa', receipt: null, closed: [] }],
        units: units.map(([seq, ...edits]) => ({
          txns: [{ key: [0, seq], body: { schema: 1, at: [Date.now(), seq], edits } }],
          after: [],
        })),
      }),
    });
    assert.equal(response.status, 200);
    return (await response.json()).outcomes;
  };

  const ends = { start_item: { card: id(1) }, end_item: { card: id(2) }, connection_type: id(9) };
  const outcomes = await post([
    [1, create('card', 1, { text: 'a' })],
    [2, create('card', 2, { text: 'b' })],
    [3, create('connection', 3, ends)],
    [4, create('connection_type', 9, { name: 'too late' })],
    [5, create('card', 5, { text: 'after' })],
  ]);
  assert.deepEqual(
    outcomes.map(({ outcome }) => outcome),
    ['applied', 'applied', 'refused', 'applied', 'applied'],
  );
  const { problem } = outcomes[2];
  assert.equal(problem.code, 'missing_parent');
  assert.deepEqual(problem.rows, [{ table: 'connection_type', id: id(9) }]);
  assert.deepEqual(await rows('card', 'text', space), [{ text: 'a' }, { text: 'after' }, { text: 'b' }]);
  assert.deepEqual(await rows('connection', 'id', space), []);

  // It goes on serving: the same process takes the next request, also that connection under a new key.
  const [again] = await post([[6, create('connection', 3, ends)]]);
  assert.equal(again.outcome, 'applied');
  assert.equal(server.pid, pid);
  assert.doesNotThrow(() => process.kill(pid, 0));
  assert.equal((await rows('connection', 'hex(connection_type) AS type', space)).length, 1);
  await checkedLog(space);
});

test('o3_an_update_a_new_row_and_a_move_to_it_are_sent_as_they_were_made', async () => {
  const space = 'reparent';
  const user = await openUser(space);
  const page = await user.tab();
  const ids = await page.evaluate(async () => {
    const { card, connection } = window.db.tables;
    const [a, b] = [card.create({ text: 'a' }).id, card.create({ text: 'b' }).id];
    const change = connection.create({ start_item: { card: a }, end_item: { card: b } });
    await change.accepted;
    return { a, connection: change.id };
  });
  const before = await logCount(server, space);
  await user.cut();
  const made = await page.evaluate(async ({ a, connection }) => {
    const { tables } = window.db;
    const update = tables.card.update(a, { text: 'renamed' });
    const create = tables.box.create({ label: 'list' });
    const move = tables.connection.update(connection, { start_item: { box: create.id } });
    await move.saved;
    return { keys: [update.key, create.key, move.key], box: create.id };
  }, ids);
  await user.restore();
  await untilSynced(page);
  const log = await checkedLog(space);
  assert.deepEqual(keysOf(log).slice(before), made.keys);
  const [row] = await rows('connection', 'lower(hex(start_item_box)) AS box, start_item_card AS card', space);
  assert.deepEqual(row, { box: made.box.replaceAll('-', ''), card: null });
});

test('i6_a_parent_deleted_before_its_children_leaves_nothing_parked', async () => {
  const space = 'parent-first';
  const user = await openUser(space);
  const page = await user.tab();
  const ids = await page.evaluate(async () => {
    const { card, connection } = window.db.tables;
    const [a, b] = [card.create({ text: 'a' }).id, card.create({ text: 'b' }).id];
    const changes = [1, 2].map((index) =>
      connection.create({ start_item: { card: a }, end_item: { card: b }, label: `${index}` }),
    );
    await Promise.all(changes.map((change) => change.accepted));
    return { a, connections: changes.map((change) => change.id) };
  });
  const other = await openUser(space);
  const late = await other.tab();
  await untilSynced(late);
  await user.cut();
  await other.cut();

  // One deletes the parent, then a child that went with it; the other edits one child and deletes the next.
  const code = await page.evaluate(async ({ a, connections }) => {
    const { card, connection } = window.db.tables;
    await card.delete(a).saved;
    if (connection.size !== 0) throw new Error('the view still shows connections of the deleted card');
    try {
      await connection.delete(connections[0]).saved;
      return 'taken';
    } catch (error) {
      return error.code;
    }
  }, ids);
  assert.ok(['taken', 'row_deleted', 'row_unknown'].includes(code), code);
  await late.evaluate(async ({ a, connections }) => {
    const { card, connection } = window.db.tables;
    connection.update(connections[0], { label: 'edited late' });
    connection.delete(connections[1]);
    await card.update(a, { text: 'edited late' }).saved;
  }, ids);
  await user.restore();
  await untilSynced(page);
  await other.restore();
  await untilSynced(late);
  await checkedLog(space);
  assert.deepEqual(await rows('card', 'text', space), [{ text: 'b' }]);
  assert.deepEqual(await rows('connection', 'label', space), []);
  for (const tab of [page, late]) {
    const left = await tab.evaluate(() => [window.db.tables.card.size, window.db.tables.connection.size]);
    assert.deepEqual(left, [1, 0]);
  }
});

test('i4_deleting_a_type_that_is_used_is_refused_and_names_the_connection', async () => {
  const space = 'restrict';
  const user = await openUser(space);
  const page = await user.tab();
  const {
    code,
    rows: blockers,
    connection,
  } = await page.evaluate(async () => {
    const { card, connection, connection_type } = window.db.tables;
    const [a, b] = [card.create({ text: 'a' }).id, card.create({ text: 'b' }).id];
    const type = connection_type.create({ name: 'used' }).id;
    const { id } = connection.create({ start_item: { card: a }, end_item: { card: b }, connection_type: type });
    try {
      connection_type.delete(type);
      return { code: 'taken' };
    } catch ({ code, rows }) {
      return { code, rows, connection: id };
    }
  });
  assert.equal(code, 'restricted');
  assert.deepEqual(blockers, [{ table: 'connection', id: connection }]);
  await untilSynced(page);
  assert.equal((await rows('connection_type', 'name', space)).length, 1);
});

test('i7_counters_of_two_browsers_add_up', async () => {
  const space = 'counters';
  const users = [await openUser(space), await openUser(space)];
  const pages = [await users[0].tab(), await users[1].tab()];
  const id = await pages[0].evaluate(async () => {
    const change = window.db.tables.card.create({ text: 'counted' });
    await change.accepted;
    return change.id;
  });
  await pages[1].waitForFunction((id) => window.db.tables.card.get(id), id);
  for (const user of users) await user.cut();
  const amounts = [7, 11];
  for (const [index, page] of pages.entries()) {
    await page.evaluate(
      async ([id, by]) => {
        const { db, driftline } = window;
        const changes = Array.from({ length: 100 }, () =>
          db.tables.card.update(id, { votes: driftline.increment(by) }),
        );
        await Promise.all(changes.map((change) => change.saved));
      },
      [id, amounts[index]],
    );
  }
  for (const user of users) await user.restore();
  for (const page of pages) await untilSynced(page);
  assert.deepEqual(await rows('card', 'votes', space), [{ votes: 1800 }]);
  for (const page of pages) await page.waitForFunction((id) => window.db.tables.card.get(id).votes === 1800, id);
});

test('q5_explicit_nulls_survive_folding', async () => {
  const space = 'nulls';
  const user = await openUser(space);
  const page = await user.tab();
  const sent = await page.evaluate(async () => {
    const change = window.db.tables.card.create({ text: 'sent', color: '1', url: 'https://example.org' });
    await change.accepted;
    return change.id;
  });
  await user.cut();
  const waiting = await page.evaluate(async (sent) => {
    const { card } = window.db.tables;
    card.update(sent, { color: '2' });
    card.update(sent, { color: null });
    card.update(sent, { text: 'sent twice' });
    const { id } = card.create({ text: 'new', color: '3' });
    card.update(id, { color: '4' });
    await card.update(id, { color: null }).saved;
    return window.db.outbox().length;
  }, sent);
  assert.equal(waiting, 2, 'the edits of each card fold into one');
  await user.restore();
  await untilSynced(page);
  assert.deepEqual(await rows('card', 'text, color, url', space), [
    { text: 'new', color: null, url: null },
    { text: 'sent twice', color: null, url: 'https://example.org' },
  ]);
});

test('q3_an_edit_made_while_a_request_is_in_flight_is_kept', async () => {
  const space = 'in-flight';
  const user = await openUser(space);
  const page = await user.tab();
  await page.evaluate(() => window.db.tables.card.create({ text: 'there' }).accepted);
  await user.stall();
  const id = await page.evaluate(() => {
    const change = window.db.tables.card.create({ text: 'first', color: '1' });
    window.first = change;
    return change.id;
  });
  await page.waitForFunction(() => window.db.outbox().some((entry) => entry.state === 'in_flight'));
  const states = await page.evaluate(async (id) => {
    const { db, driftline } = window;
    await db.tables.card.update(id, { text: 'second', votes: driftline.increment(2) }).saved;
    return db.outbox().map((entry) => entry.state);
  }, id);
  assert.equal(states.length, 2, 'what may have been sent is not altered');
  assert.equal(states[0], 'in_flight');
  await user.restore();
  await untilSynced(page);
  await page.evaluate(() => window.first.accepted);
  const columns = 'text, color, votes';
  const wanted = [
    { text: 'second', color: '1', votes: 2 },
    { text: 'there', color: null, votes: 0 },
  ];
  assert.deepEqual(await rows('card', columns, space), wanted);

  // The same, and the answer never comes: what was sent is sent again, and takes effect once.
  await user.stall();
  await page.evaluate((id) => {
    const { db, driftline } = window;
    db.tables.card.update(id, { votes: driftline.increment(10) });
  }, id);
  await page.waitForFunction(() => window.db.outbox().some((entry) => entry.state === 'in_flight'));
  await page.evaluate(async (id) => {
    const { db, driftline } = window;
    await db.tables.card.update(id, { votes: driftline.increment(100) }).saved;
  }, id);
  await user.cut();
  await user.restore();
  await untilSynced(page);
  wanted[0].votes = 112;
  assert.deepEqual(await rows('card', columns, space), wanted);
  await checkedLog(space);
});

test('q3_edits_made_before_the_space_has_loaded_are_kept', async () => {
  const space = 'early';
  const user = await openUser(space);
  const first = await user.tab();
  await user.cut();
  await first.evaluate(async () => {
    const changes = Array.from({ length: 500 }, (_, index) => window.db.tables.card.create({ text: `old ${index}` }));
    await Promise.all(changes.map((change) => change.saved));
  });
  await first.close();

  await user.restore();
  const page = await user.load();
  await user.network.cut();
  const early = await page.evaluate(
    async ([schema, space]) => {
      await window.begin(schema, space);
      const { db } = window;
      let isLoaded = false;
      db.loaded.then(() => {
        isLoaded = true;
      });
      const changes = Array.from({ length: 50 }, (_, index) => db.tables.card.create({ text: `early ${index}` }));
      await Promise.resolve();
      const wasLoaded = isLoaded;
      const seen = db.tables.card.query((row) => row.text.startsWith('early')).length;
      await Promise.all(changes.map((change) => change.saved));
      await db.loaded;
      return { wasLoaded, seen, after: db.tables.card.size, waiting: db.outbox().length };
    },
    [schema, space],
  );
  assert.deepEqual(early, { wasLoaded: false, seen: 50, after: 550, waiting: 550 });
  await user.restore();
  await untilSynced(page);
  assert.equal((await rows('card', 'id', space)).length, 550);
  await checkedLog(space);
});

test('q3_two_tabs_that_save_at_once_overwrite_nothing_and_outlive_a_kill', async () => {
  const space = 'both-save';
  const user = await openUser(space);
  const pages = [await user.tab(), await user.tab()];
  const id = await pages[0].evaluate(async () => {
    const change = window.db.tables.card.create({ text: 'shared' });
    await change.accepted;
    return change.id;
  });
  await pages[1].waitForFunction((id) => window.db.tables.card.get(id), id);
  await user.cut();
  await Promise.all(
    pages.map((page, tab) =>
      page.evaluate(
        async ([id, tab]) => {
          const { db, driftline } = window;
          const changes = [];
          for (let index = 0; index < 200; index += 1) {
            changes.push(db.tables.card.create({ text: `tab ${tab} card ${index}` }));
            changes.push(db.tables.card.update(id, { votes: driftline.increment() }));
            // Lets the other tab be heard in between.
            if (index % 10 === 9) await new Promise((resolve) => setTimeout(resolve));
          }
          await Promise.all(changes.map((change) => change.saved));
        },
        [id, tab],
      ),
    ),
  );
  for (const page of pages) {
    await page.waitForFunction(() => window.db.tables.card.size === 401);
    await page.waitForFunction((id) => window.db.tables.card.get(id).votes === 400, id);
  }

  await user.browser.kill();
  await user.browser.reopen();
  const page = await user.tab();
  const kept = await page.evaluate((id) => [window.db.tables.card.size, window.db.tables.card.get(id).votes], id);
  assert.deepEqual(kept, [401, 400]);
  assert.equal(await logCount(server, space), 1);
  await user.restore();
  await untilSynced(page);
  const cards = await rows('card', 'text, votes', space);
  assert.equal(new Set(cards.map((card) => card.text)).size, 401);
  assert.equal(
    cards.reduce((sum, card) => sum + card.votes, 0),
    400,
  );
  await checkedLog(space);
  await until('the outbox to be empty', () => page.evaluate(() => window.db.outbox().length === 0));
});
