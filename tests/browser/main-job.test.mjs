// The main job on real input: a day offline in a browser that reloads and is killed, then the network comes back.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { byId, planDrawing, readCanvases, readDrawing } from './documents.mjs';
import { openBrowser, ROOT, startNetwork, startServer, until } from './harness.mjs';
import { checkOrder, checkSent, distinctKeys, logCount, readLog, recordSent, serverDigest } from './log.mjs';
import { makeSite, openSite, untilKeptForOffline, untilSynced } from './page.mjs';

const SPACE = 'main-job';
const INCREMENTS = 3_300;

const drawing = readDrawing();
const { source: canvasSource, canvases } = readCanvases();

const uuid = (column) =>
  `(SELECT substr(h,1,8)||'-'||substr(h,9,4)||'-'||substr(h,13,4)||'-'||substr(h,17,4)||'-'||substr(h,21)
      FROM (SELECT lower(hex(${column})) AS h) WHERE length(h) = 32)`;

test(`q1_o1_d1_v1_main_job_on_a_drawing: ${drawing.source}`, async (t) => {
  t.diagnostic(`input: ${drawing.source}`);
  const folder = join(ROOT, 'tests', 'schemas', 'tldraw');
  const schema = JSON.parse(readFileSync(join(folder, 'schema.json'), 'utf8'));
  const server = await startServer({
    schema: join(folder, 'schema.json'),
    migrations: join(folder, 'migrations'),
    staticDir: makeSite(),
  });
  const network = await startNetwork(server.port);
  const browser = await openBrowser();
  const start = async ({ context }) => {
    const page = await context.newPage();
    await openSite(page, network.url);
    await page.evaluate(([schema, space]) => window.start(schema, space), [schema, SPACE]);
    return page;
  };

  // The page alone is loaded with a network; the space is never opened with one.
  const page = await browser.context.newPage();
  await openSite(page, network.url);
  await network.cut(browser.context);
  await page.evaluate(([schema, space]) => window.start(schema, space), [schema, SPACE]);

  const { steps, journal } = planDrawing(drawing, INCREMENTS);
  const keys = await page.evaluate(async (steps) => {
    const { db, driftline } = window;
    const changes = steps.map(({ table, row, id, votes }) =>
      row ? db.tables[table].create(row) : db.tables[table].update(id, { votes: driftline.increment(votes) }),
    );
    await Promise.all(changes.map((change) => change.saved));
    return changes.map((change) => change.key);
  }, steps);
  assert.equal(keys.length, steps.length);

  const readAll = (page) =>
    page.evaluate(() => [window.db.tables.shape.query(), window.db.tables.binding.query()].flat());
  const expectAll = async (page, where) =>
    assert.deepEqual((await readAll(page)).sort(byId), journal.rows, `${where} does not show what was made`);
  await expectAll(page, 'the tab');

  await page.reload();
  await page.waitForFunction(() => window.isReady);
  await page.evaluate(([schema, space]) => window.start(schema, space), [schema, SPACE]);
  await expectAll(page, 'the reloaded tab');

  await browser.kill();
  await browser.reopen();
  const after = await start(browser);
  await expectAll(after, 'the browser that was killed');
  const outbox = await after.evaluate(() => window.db.outbox().map((entry) => entry.key));
  assert.equal(outbox.length, drawing.shapes.length + drawing.bindings.length, 'increments folded into the creates');
  assert.deepEqual([...new Set(keys)].sort(), [...outbox].sort(), 'what waits has the keys that the tab was given');
  assert.equal(await logCount(server, SPACE), 0, 'nothing may have been sent');

  const sent = recordSent(after);
  await network.restore(browser.context);
  await untilSynced(after);
  checkSent(schema, sent);

  const log = await readLog(server, SPACE);
  const there = checkOrder(schema, log);
  assert.deepEqual([...distinctKeys(log)].sort(), [...outbox].sort(), 'what was applied is what waited');
  assert.equal(there.size, journal.rows.length);

  const shapes = await server.query(
    `SELECT ${uuid('id')} AS id, votes, ${uuid('parent')} AS parent, ${uuid('handle_start')} AS handle_start,
       ${uuid('handle_end')} AS handle_end FROM shape ORDER BY id`,
  );
  const columns = ({ id, votes, parent, handle_start, handle_end }) => ({
    id,
    votes,
    parent,
    handle_start,
    handle_end,
  });
  assert.deepEqual(shapes, journal.rows.filter((row) => 'votes' in row).map(columns));
  const handles = shapes.flatMap((row) => [row.handle_start, row.handle_end]).filter(Boolean);
  assert.equal(handles.length, 4);
  assert.equal(shapes.filter((row) => row.parent).length, 69);
  const bindings = await server.query(
    `SELECT ${uuid('id')} AS id, ${uuid('"from"')} AS "from", ${uuid('"to"')} AS "to" FROM binding ORDER BY id`,
  );
  assert.deepEqual(bindings, drawing.bindings.map(({ id, from, to }) => ({ id, from, to })).sort(byId));
  await expectForeignKeys(server, { shape: ['handle_end', 'handle_start', 'parent'], binding: ['from', 'to'] });

  const other = await start(await openBrowser());
  await untilSynced(other);
  await expectAll(other, 'a fresh profile');
  await expectSameDigests(server, after, other, () => window.db.digest);
  const sum = shapes.reduce((total, row) => total + row.votes, 0);
  t.diagnostic(
    `${steps.length} transactions, ${INCREMENTS} of them increments, as ${log.length} keys in ${log.at(-1).rev} revisions; ` +
      `votes sum to ${sum}; ${handles.length} handles`,
  );
});

test(`q1_o1_d1_v1_main_job_on_canvas_files_in_the_app: ${canvasSource}`, async (t) => {
  t.diagnostic(`input: ${canvasSource}`);
  const app = join(ROOT, 'www');
  const schema = JSON.parse(readFileSync(join(app, 'server', 'schema.json'), 'utf8'));
  const server = await startServer({
    schema: join(app, 'server', 'schema.json'),
    migrations: join(app, 'server', 'migrations'),
    staticDir: join(app, 'dist'),
  });
  const network = await startNetwork(server.port);
  const browser = await openBrowser();
  const show = async ({ context }) => {
    const page = await context.newPage();
    await page.goto(`${network.url}/?space=${SPACE}&debug=1`);
    await page.waitForFunction(() => window.driftline);
    await page.evaluate(() => window.driftline.loaded);
    return page;
  };
  const page = await show(browser);
  await untilKeptForOffline(page);
  await network.cut(browser.context);

  const count = (page) =>
    page.evaluate(() => {
      const { card, box, connection } = window.driftline.tables;
      return { nodes: card.size + box.size, edges: connection.size };
    });
  const made = { nodes: 0, edges: 0 };
  for (const { path, file } of canvases) {
    await page.setInputFiles('[data-testid=open-file]', path);
    made.nodes += file.nodes.length;
    made.edges += file.edges.length;
    await until(`${path} to be open`, async () => {
      const now = await count(page);
      return now.nodes === made.nodes && now.edges === made.edges;
    });
  }
  // The app has no promise to show for it; the engine says of each transaction when it is on disk.
  await page.waitForFunction(() => window.driftline.outbox().every((entry) => entry.state !== 'saving'));

  await page.reload();
  await page.waitForFunction(() => window.driftline);
  await page.evaluate(() => window.driftline.loaded);
  assert.deepEqual(await count(page), made, 'the reloaded tab');

  await browser.kill();
  await browser.reopen();
  const after = await show(browser);
  assert.deepEqual(await count(after), made, 'the browser that was killed');
  const outbox = await after.evaluate(() => window.driftline.outbox().map((entry) => entry.key));
  assert.equal(outbox.length, made.nodes + made.edges);
  assert.equal(await logCount(server, SPACE), 0, 'nothing may have been sent');

  await network.restore(browser.context);
  await after.waitForSelector('[data-testid=status][data-state=saved]', { timeout: 30_000 });
  await after.waitForFunction(() => window.driftline.outbox().length === 0);

  const log = await readLog(server, SPACE);
  checkOrder(schema, log);
  assert.deepEqual([...distinctKeys(log)].sort(), [...outbox].sort());
  const item = (end) =>
    `coalesce((SELECT source_id FROM card c WHERE c.space = n.space AND c.id = n.${end}_item_card),
       (SELECT source_id FROM box b WHERE b.space = n.space AND b.id = n.${end}_item_box))`;
  const edges = await server.query(
    `SELECT source_id AS id, ${item('start')} AS fromNode, ${item('end')} AS toNode FROM connection n`,
  );
  const words = (list) => list.map((value) => JSON.stringify(value)).sort();
  const wanted = canvases.flatMap(({ file }) =>
    file.edges.map(({ id, fromNode, toNode }) => ({ id, fromNode, toNode })),
  );
  assert.deepEqual(words(edges), words(wanted));
  const texts = await server.query(`SELECT source_id AS id, text FROM card WHERE kind = 'text'`);
  const nodes = canvases.flatMap(({ file }) => file.nodes);
  const wantedTexts = nodes.filter((node) => node.type === 'text').map(({ id, text }) => ({ id, text }));
  assert.deepEqual(words(texts), words(wantedTexts));
  await expectForeignKeys(server, {
    connection: ['connection_type', 'end_item_box', 'end_item_card', 'start_item_box', 'start_item_card'],
  });

  const other = await show(await openBrowser());
  await until('a fresh profile to show everything', async () => (await count(other)).edges === made.edges);
  assert.deepEqual(await count(other), made);
  await expectSameDigests(server, after, other, () => window.driftline.digest);
  t.diagnostic(`${made.nodes} nodes and ${made.edges} edges as ${log.length} transactions`);
});

async function expectForeignKeys(server, columns) {
  assert.deepEqual(await server.query('PRAGMA foreign_key_check'), []);
  for (const [table, names] of Object.entries(columns)) {
    const found = await server.query(
      `SELECT "from" AS name FROM pragma_foreign_key_list('${table}') WHERE "from" <> 'space' ORDER BY 1`,
    );
    assert.deepEqual(
      found.map((row) => row.name),
      names,
      `the foreign keys of ${table}`,
    );
  }
}

async function expectSameDigests(server, one, other, read) {
  const kept = await serverDigest(server, SPACE);
  for (const page of [one, other]) {
    const { rev, digest } = await page.evaluate(read);
    assert.deepEqual({ rev, digest }, kept);
  }
}
