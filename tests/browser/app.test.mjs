// The canvas app as a person uses it: by its buttons, with a network that comes and goes.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, before, test } from 'node:test';
import { openBrowser, ROOT, startNetwork, startServer, tempDir, until } from './harness.mjs';
import { checkOrder, logCount, readLog } from './log.mjs';
import { untilKeptForOffline } from './page.mjs';

const APP = join(ROOT, 'www');
const schema = JSON.parse(readFileSync(join(APP, 'server', 'schema.json'), 'utf8'));

let server;
before(async () => {
  server = await startServer({
    schema: join(APP, 'server', 'schema.json'),
    migrations: join(APP, 'server', 'migrations'),
    staticDir: join(APP, 'dist'),
  });
});

const browsers = [];
afterEach(async () => {
  for (const browser of browsers.splice(0)) await browser.close();
});

/** A person at a browser. `page` is the canvas of the space; `show` opens it again in a browser that was killed. */
async function openPerson(space) {
  const network = await startNetwork(server.port);
  const browser = await openBrowser({ options: { viewport: { width: 1280, height: 800 } } });
  browsers.push(browser);
  const person = {
    browser,
    network,
    page: undefined,
    show: async () => {
      const page = await browser.context.newPage();
      page.setDefaultTimeout(10_000);
      // The browser may say no, or ask; that the app asked is what can be seen.
      await page.addInitScript(() => {
        const { persist } = StorageManager.prototype;
        StorageManager.prototype.persist = function (...args) {
          window.askedToPersist = true;
          return persist.apply(this, args);
        };
      });
      await page.goto(`${network.url}/?space=${space}&debug=1`);
      await page.waitForSelector('[data-testid=canvas]');
      person.page = page;
      return page;
    },
  };
  await person.show();
  return person;
}

const status = (page) => page.getAttribute('[data-testid=status]', 'data-state');
const untilStatus = (page, wanted) => until(`the status ${wanted}`, async () => (await status(page)) === wanted);
const untilSaved = async (page) => {
  await page.waitForFunction(() => window.driftline.outbox().length === 0);
  await untilStatus(page, 'saved');
};
const card = (page, text) => page.locator('[data-testid=card]', { hasText: text });

/** By the toolbar, then to a place of its own: new cards lie in the middle. */
async function addCard(page, text, dx, dy) {
  await page.click('[data-testid=add-text]');
  await page.locator('[data-testid=draft]').pressSequentially(text);
  await page.keyboard.press('Escape');
  const { x, y, width } = await card(page, text).boundingBox();
  const [fromX, fromY] = [x + width / 2, y + 12];
  await page.mouse.move(fromX, fromY);
  await page.mouse.down();
  // The first pixels only tell a drag from a click.
  await page.mouse.move(fromX + 2, fromY + 2);
  await page.mouse.move(fromX + 2 + dx, fromY + 2 + dy, { steps: 5 });
  await page.mouse.up();
  await page.mouse.click(850, 650);
}

async function connectCards(page, from, to) {
  await card(page, from).click({ position: { x: 20, y: 12 } });
  await card(page, to).click({ position: { x: 20, y: 12 }, modifiers: ['Shift'] });
  await page.click('[data-testid=connect-selection]');
}

const entries = (page) =>
  page.$$eval('[data-testid=outbox-entry]', (list) =>
    list.map((entry) => ({ key: entry.dataset.key, text: entry.querySelector('p').textContent })),
  );

test('l4_v5_a_canvas_made_offline_survives_a_kill_starts_cold_and_reaches_the_others', async () => {
  const space = 'a-day';
  const person = await openPerson(space);
  let { page } = person;
  await addCard(page, 'Wake up', -330, -150);
  await addCard(page, 'Make coffee', 60, -150);
  await connectCards(page, 'Wake up', 'Make coffee');
  await untilSaved(page);
  const [wake] = await server.query(`SELECT text, x, y FROM card WHERE text = 'Wake up'`);
  assert.ok(wake, 'the card that was typed is on the server');
  assert.equal((await server.query('SELECT id FROM connection')).length, 1);
  const sent = await logCount(server, space);
  await untilKeptForOffline(page);

  const other = await openPerson(space);
  await card(other.page, 'Make coffee').waitFor();

  // Offline by the app's own switch.
  await page.click('[data-testid=online-switch]');
  await untilStatus(page, 'offline');
  await addCard(page, 'Read', 60, 60);
  await connectCards(page, 'Make coffee', 'Read');
  // The new connection is selected by its label's place once it has a type, which is made after it.
  const connection = await page.evaluate(() => {
    const { card, connection, connection_type } = window.driftline.tables;
    const [read] = card.query((row) => row.text === 'Read');
    const [{ id }] = connection.query((row) => row.end_item.card === read.id);
    const type = window.driftline.tables.connection_type.create({ name: 'while' });
    connection.update(id, { connection_type: type.id });
    return { id, type: type.id, types: connection_type.size };
  });
  await card(page, 'Wake up').dblclick({ position: { x: 20, y: 12 } });
  await page.locator('[data-testid=draft]').fill('Wake up late');
  await page.keyboard.press('Escape');
  await card(page, 'Wake up late').waitFor();

  await page.waitForFunction(
    () => document.querySelectorAll('[data-testid=outbox-entry]').length === window.driftline.outbox().length,
  );
  const shown = await entries(page);
  const outbox = await page.evaluate(() => window.driftline.outbox());
  assert.deepEqual(
    shown.map((entry) => entry.key),
    outbox.map((entry) => entry.key),
  );
  const place = (start) => shown.findIndex(({ text }) => text.startsWith(start));
  assert.ok(place('Add card “Read”') < place('Add connection'), 'the card goes before its connection');
  assert.ok(place('Add connection type “while”') < shown.length - 1);
  const typed = outbox.findIndex(({ edits }) => edits.some(({ op, id }) => op === 'update' && id === connection.id));
  assert.ok(place('Add connection type “while”') < typed, 'the type goes before the connection that takes it');
  assert.ok(place('Change card “Wake up late”') >= 0);
  assert.equal(await logCount(server, space), sent, 'nothing goes out while the switch is off');
  assert.equal(await card(other.page, 'Read').count(), 0);
  await page.waitForFunction(() => window.driftline.outbox().every((entry) => entry.state !== 'saving'));
  assert.equal(await page.evaluate(() => window.askedToPersist), true);

  // A cold start: no server, no browser, and then the browser alone.
  await server.kill();
  await person.browser.kill();
  await person.browser.reopen();
  page = await person.show();
  for (const text of ['Wake up late', 'Make coffee', 'Read']) await card(page, text).waitFor();
  await page.locator('.connection-label', { hasText: 'while' }).waitFor();
  await page.waitForFunction(
    (count) => document.querySelectorAll('[data-testid=outbox-entry]').length === count,
    outbox.length,
  );
  assert.deepEqual(
    (await entries(page)).map((entry) => entry.key),
    outbox.map((entry) => entry.key),
  );
  // Nobody answers, and within 5 s the app says so.
  await until('the status to be true', async () => ['offline', 'not_saving'].includes(await status(page)), {
    timeoutMs: 7_000,
  });

  await server.restart();
  // "Work offline" outlives the page, unless the kill was quicker than the browser's disk.
  const isOff = await page.getAttribute('[data-testid=online-switch]', 'aria-checked');
  if (isOff === 'true') await page.click('[data-testid=online-switch]');
  await untilSaved(page);
  await card(other.page, 'Read').waitFor();
  await card(other.page, 'Wake up late').waitFor();
  await other.page.locator('.connection-label', { hasText: 'while' }).waitFor();
  const log = await readLog(server, space);
  checkOrder(schema, log);
  assert.equal(log.length, sent + outbox.length);
});

test('v5_an_edit_is_seen_by_others_while_they_watch', async () => {
  const space = 'live';
  const one = await openPerson(space);
  const two = await openPerson(space);
  await untilSaved(two.page);
  await addCard(one.page, 'Seen', 0, 0);
  await card(two.page, 'Seen').waitFor({ timeout: 3_000 });
  await card(two.page, 'Seen').dblclick({ position: { x: 20, y: 12 } });
  await two.page.locator('[data-testid=draft]').fill('Seen and answered');
  await two.page.keyboard.press('Escape');
  await card(one.page, 'Seen and answered').waitFor({ timeout: 3_000 });
});

test('r3_what_the_server_refuses_is_held_back_and_can_be_retried_or_discarded', async () => {
  const space = 'parked';
  const one = await openPerson(space);
  const two = await openPerson(space);
  const { page } = one;
  await addCard(page, 'Kept', -330, -150);
  await addCard(page, 'Doomed', 60, -150);
  const type = await page.evaluate(async () => {
    const change = window.driftline.tables.connection_type.create({ name: 'of a kind' });
    await change.accepted;
    return change.id;
  });
  await card(two.page, 'Doomed').waitFor();
  await two.page.waitForFunction((id) => window.driftline.tables.connection_type.get(id), type);

  await page.click('[data-testid=online-switch]');
  await untilStatus(page, 'offline');
  await connectCards(page, 'Kept', 'Doomed');
  await page.evaluate((id) => window.driftline.tables.connection_type.delete(id), type);
  // Meanwhile the other deletes what the connection leads to, and uses what was to go.
  const used = await two.page.evaluate(async (type) => {
    const { card, connection } = window.driftline.tables;
    const [kept] = card.query((row) => row.text === 'Kept');
    const [doomed] = card.query((row) => row.text === 'Doomed');
    const ends = { start_item: { card: kept.id }, end_item: { card: kept.id } };
    const change = connection.create({ ...ends, connection_type: type });
    await card.delete(doomed.id).accepted;
    await change.accepted;
    return change.id;
  }, type);

  await page.click('[data-testid=online-switch]');
  const parked = (code) => page.locator(`[data-testid=parked-entry][data-code=${code}]`);
  await parked('missing_parent').waitFor();
  await parked('restricted').waitFor();
  assert.equal(await page.evaluate(() => window.driftline.parked().length), 2);

  // Once nothing uses the type any more, the same delete is taken.
  await two.page.evaluate((id) => window.driftline.tables.connection.delete(id).accepted, used);
  await page.waitForFunction((id) => !window.driftline.tables.connection.get(id), used);
  await parked('restricted').locator('[data-testid=retry]').click();
  await parked('restricted').waitFor({ state: 'detached' });
  await until('the type to be deleted', async () => {
    return (await server.query(`SELECT id FROM connection_type WHERE name = 'of a kind'`)).length === 0;
  });

  // What cannot be helped stays held back, and says why, until it is given up.
  await parked('missing_parent').locator('[data-testid=retry]').click();
  await page.locator('[data-testid=notice]', { hasText: 'deleted' }).waitFor();
  assert.equal(await page.evaluate(() => window.driftline.parked().length), 1);
  await parked('missing_parent').locator('[data-testid=discard]').click();
  await page.click('[data-testid=ask-yes]');
  await parked('missing_parent').waitFor({ state: 'detached' });
  await untilSaved(page);
  await page.waitForFunction(() => window.driftline.tables.connection.size === 0);
  await page.reload();
  await page.waitForFunction(() => window.driftline);
  await page.evaluate(() => window.driftline.loaded);
  await untilSaved(page);
  assert.equal(await page.locator('[data-testid=parked-entry]').count(), 0, 'a discard outlives a reload');
  assert.deepEqual(await page.evaluate(() => window.driftline.tables.card.query().map((row) => row.text)), ['Kept']);
});

test('o7_connections_of_a_file_that_name_no_node_are_told_and_all_else_is_opened', async () => {
  const space = 'dangling';
  const person = await openPerson(space);
  const { page } = person;
  const node = (id, text, y) => ({ id, type: 'text', text, x: 0, y, width: 200, height: 60 });
  const edge = (id, fromNode, toNode) => ({ id, fromNode, toNode });
  const nodes = [node('a', 'Alpha', 0), node('b', 'Beta', 200), node('c', 'Gamma', 400)];
  const lost = [1, 2, 3, 4, 5, 6, 7].map((n) => `lost${n}`);
  const edges = [
    ...lost.slice(0, 3).map((id) => edge(id, 'a', 'gone')),
    edge('kept1', 'a', 'b'),
    ...lost.slice(3).map((id) => edge(id, 'nowhere', 'b')),
    edge('kept2', 'b', 'c'),
  ];
  const path = join(tempDir('canvas'), 'dangling.canvas');
  writeFileSync(path, JSON.stringify({ nodes, edges }));
  await page.setInputFiles('[data-testid=open-file]', path);

  // The first are named, and the others counted, because a notice is short.
  const notice = page.locator('[data-testid=notice]', { hasText: 'Opened dangling.canvas' });
  await notice.waitFor();
  const said = await notice.textContent();
  for (const id of lost.slice(0, 5)) assert.ok(said.includes(`${id} names a node`), said);
  assert.match(said, /2 more/);
  for (const { text } of nodes) await card(page, text).waitFor();
  await untilSaved(page);
  const kept = await server.query(
    `SELECT source_id AS id FROM connection WHERE space = (SELECT id FROM _space WHERE name = '${space}') ORDER BY 1`,
  );
  assert.deepEqual(
    kept.map((row) => row.id),
    ['kept1', 'kept2'],
  );
  assert.equal(await logCount(server, space), 5, 'nothing was sent that could only be refused');
  assert.equal(await page.locator('[data-testid=parked-entry]').count(), 0);
});

test('q9_a_person_takes_what_cannot_be_sent_to_another_browser_in_a_file', async () => {
  const one = await openPerson('by-hand');
  await untilSaved(one.page);
  await one.network.cut(one.browser.context);
  await addCard(one.page, 'carried', -200, -120);
  const download = one.page.waitForEvent('download');
  await one.page.click('[data-testid=export-unsynced]');
  const file = join(tempDir('file'), 'unsynced.json');
  await (await download).saveAs(file);

  const two = await openPerson('by-hand');
  await untilSaved(two.page);
  await two.page.setInputFiles('[data-testid=import-unsynced]', file);
  await card(two.page, 'carried').waitFor();
  await untilSaved(two.page);
  await one.network.restore(one.browser.context);
  await untilSaved(one.page);
  assert.deepEqual(await server.query("SELECT count(*) AS n FROM card WHERE text = 'carried'"), [{ n: 1 }]);
});

test('v7_a_person_sees_the_spaces_of_this_device_and_deletes_them_offline', async () => {
  const { browser, network, page } = await openPerson('first-space');
  await untilSaved(page);
  await untilKeptForOffline(page);
  await network.cut(browser.context);
  await page.goto(`${network.url}/?space=second-space&debug=1`);
  const entry = (space) => page.locator(`[data-testid=space-entry][data-space=${space}]`);
  await entry('second-space').waitFor();
  await entry('first-space').locator('[data-testid=delete-space]').click();
  await entry('first-space').waitFor({ state: 'detached' });
  const kept = await page.evaluate(() => Object.keys(localStorage).filter((key) => key.endsWith('.first-space')));
  assert.deepEqual(kept, [], 'nothing of it is left');
  assert.equal(await entry('second-space').locator('[data-testid=delete-space]').count(), 0, 'it is open');
});

test('r6_work_offline_holds_for_all_tabs_of_the_space', async () => {
  const space = 'tabs-off';
  const person = await openPerson(space);
  const first = person.page;
  await untilSaved(first);
  const second = await person.show();
  await untilSaved(second);
  const sendsFirst = await first.evaluate(() => window.driftline.status.sender);
  const [sends, follows] = sendsFirst ? [first, second] : [second, first];
  const isOff = (page) => page.getAttribute('[data-testid=online-switch]', 'aria-checked');
  const sent = await logCount(server, space);
  await follows.click('[data-testid=online-switch]');
  await until('the tab that sends to be off', async () => (await isOff(sends)) === 'true');
  await follows.evaluate(() => window.driftline.tables.card.create({ text: 'kept here' }).saved);
  // A tab that is opened now has it from the others.
  const third = await person.show();
  await until('the third tab to be off', async () => (await isOff(third)) === 'true');
  for (const page of [first, second, third]) await untilStatus(page, 'offline');
  assert.equal(await logCount(server, space), sent, 'nobody has sent what was made');
  await third.click('[data-testid=online-switch]');
  for (const page of [first, second, third]) {
    await untilSaved(page);
    assert.equal(await isOff(page), 'false');
  }
  assert.equal(await logCount(server, space), sent + 1);
});
