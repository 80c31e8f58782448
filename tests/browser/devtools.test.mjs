// The inspector against the real engine and server: what it says is so, and what it simulates happens, and ends.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { openBrowser, ROOT, runDriftline, startNetwork, startProxy, startServer, tempDir, until } from './harness.mjs';
import { makeSite, openSite, untilSynced } from './page.mjs';
import { isStatus, startWorld, untilSaved, visit } from './screenshots.mjs';

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const SPACE = 'talk';
const schema = {
  name: 'talk',
  version: 1,
  tables: {
    topic: { fields: { name: { type: 'text', default: '' } } },
    comment: {
      fields: { text: { type: 'text', default: '' } },
      references: { topic: { to: ['topic'], on_delete: 'cascade' } },
    },
    reply: {
      fields: { text: { type: 'text', default: '' } },
      references: { comment: { to: ['comment'], on_delete: 'cascade' } },
    },
  },
};

const closing = new Set();
// Each test starts a few browsers, and all of them at once would be too many.
afterEach(async () => {
  for (const close of closing) await close();
  closing.clear();
});

/** A server, and a network before it. */
async function startAll() {
  const folder = tempDir('schema');
  const place = { schema: join(folder, 'schema.json'), migrations: join(folder, 'migrations') };
  writeFileSync(place.schema, JSON.stringify(schema));
  await runDriftline(['migrate', 'plan', '--schema', place.schema, '--migrations', place.migrations, '--data', folder]);
  const server = await startServer({ ...place, staticDir: makeSite() });
  closing.add(server.stop);
  const network = await startNetwork(server.port);
  return { server, network };
}

/** A device of its own that has the space open, at a desk's width, with the inspector beside it where it is asked for. */
async function openDevice(network, { width = 900, isInspected = true } = {}) {
  const browser = await openBrowser({ options: { viewport: { width, height: 900 } } });
  closing.add(browser.close);
  const page = await browser.context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.message));
  await openSite(page, network.url);
  await page.evaluate(([schema, space]) => window.start(schema, space), [schema, SPACE]);
  if (isInspected) await mount(page);
  return { browser, page, errors };
}

async function mount(page) {
  await page.evaluate(async () => {
    window.before = { fetch: window.fetch, WebSocket: window.WebSocket };
    const { mountInspector } = await import('/driftline/devtools.js');
    const place = document.createElement('main');
    place.style.height = '100%';
    document.body.append(place);
    window.unmount = mountInspector(place, window.db);
  });
}

const tab = (page, name) => page.getByRole('tab', { name }).click();
const nodes = (page) => page.locator('svg [data-key]');
const untilState = (page, state) =>
  until(state, () => page.evaluate((state) => window.db.status.state === state, state));
const tellsStatus = (page, text) => page.locator('header .sentence', { hasText: text }).waitFor();

/** Somebody else deletes what another device goes on from meanwhile. */
async function deleteElsewhere(network, topic) {
  const { page } = await openDevice(network, { isInspected: false });
  await page.waitForFunction((id) => window.db.tables.topic.get(id), topic);
  await page.evaluate((id) => window.db.tables.topic.delete(id).accepted, topic);
}

/** Keeps a picture where a folder for them is named. */
async function shoot(page, name) {
  const folder = process.env.DRIFTLINE_PICTURES;
  if (folder) await page.screenshot({ path: join(folder, `${name}.png`) });
}

/** A topic with a comment and a reply to that, each a transaction of its own. Returns their keys. */
const makeThree = (page) =>
  page.evaluate(() => {
    const { topic, comment, reply } = window.db.tables;
    const made = [topic.create({ name: 'Plan' })];
    made.push(comment.create({ text: 'Agreed', topic: made[0].id }));
    made.push(reply.create({ text: 'So do I', comment: made[1].id }));
    return made.map(({ key }) => key);
  });

test('p3_what_waits_offline_is_drawn_with_why_and_ends_with_the_revision', async () => {
  const { server, network } = await startAll();
  const { browser, page, errors } = await openDevice(network);
  await page.getByText('Nothing waits').waitFor();
  await network.cut(browser.context);
  await untilState(page, 'offline');
  const keys = await makeThree(page);

  await nodes(page).nth(2).waitFor();
  assert.deepEqual(await nodes(page).evaluateAll((all) => all.map((node) => node.dataset.key)), keys);
  assert.equal(await page.locator('svg .edge.uses').count(), 2, 'each goes after the one whose row it refers to');
  await tellsStatus(page, 'The browser says that there is no network.');

  await nodes(page).nth(1).click();
  const detail = page.getByRole('complementary');
  await detail
    .getByText(/^Waits for the network since [0-9:]+\. The browser says that there is no network\.$/)
    .waitFor();
  await detail.getByRole('heading', { name: '№ 2 create comment' }).waitFor();
  const marks = () => page.locator('.timeline li').evaluateAll((all) => all.map((li) => li.className));
  assert.deepEqual(await marks(), ['made', 'saved']);

  await network.restore(browser.context);
  await untilSynced(page);
  await detail.getByText(/^Confirmed: the server took it at revision \d+/).waitFor();
  const [log] = await server.query('SELECT max(rev) AS rev FROM _log');
  const told = await page.locator('.timeline .accepted').textContent();
  assert.match(
    told,
    new RegExp(`at revision ${log.rev - 1}: others see it once they have that revision`),
    'the second of three',
  );
  // A request that went out too early fails first, and a live message that comes soon enough is there already.
  const settled = [...new Set(await marks())].filter((what) => what !== 'failed' && what !== 'live');
  assert.deepEqual(settled, ['made', 'saved', 'sent', 'accepted']);

  assert.deepEqual(errors, []);
});

test('p3_a_refused_parent_is_shown_with_what_waits_for_it_and_is_discarded', async () => {
  const { server, network } = await startAll();
  const { browser, page, errors } = await openDevice(network);
  const topic = await page.evaluate(() => window.db.tables.topic.create({ name: 'Plan' }).id);
  await untilSynced(page);
  await network.cut(browser.context);
  await untilState(page, 'offline');
  const keys = await page.evaluate((topic) => {
    const { comment, reply } = window.db.tables;
    const made = [comment.create({ text: 'Agreed', topic })];
    made.push(reply.create({ text: 'So do I', comment: made[0].id }));
    for (const { accepted } of made) accepted.catch(() => {});
    return made.map(({ key }) => key);
  }, topic);
  await network.restore();
  await deleteElsewhere(network, topic);
  await network.restore(browser.context);

  await until('it to be held back', () => page.evaluate(() => window.db.status.parked === 1));
  await tab(page, 'Held back');
  const group = page.locator('.group');
  await group.waitFor();
  assert.equal(await group.count(), 1);
  assert.equal(await group.getAttribute('data-key'), keys[0]);
  assert.equal(await group.getAttribute('data-code'), 'missing_parent');
  await group.getByText(/^Held back until somebody decides: .* 1 more waits for it\.$/).waitFor();
  await group.getByRole('button', { name: 'create reply' }).click();
  await page.getByText(/^Waits for № 1, create comment, which is held back \(missing_parent\)\.$/).waitFor();
  await shoot(page, 'held-graph');

  await tab(page, 'Held back');
  await shoot(page, 'held');
  await group.getByRole('button', { name: 'Discard all 2…' }).click();
  await group.getByText('Give up 2 transactions for good?').waitFor();
  const focused = () => page.evaluate(() => document.querySelector('main > div').shadowRoot.activeElement?.textContent);
  await until('the focus to be on the question', async () => (await focused()) === 'Discard 2');
  assert.equal(await page.evaluate(() => window.db.parked().length), 1, 'it asks first');
  await page.getByRole('button', { name: 'Keep' }).press('Enter');
  await until('the focus to be where it was', async () => (await focused()) === 'Retry');
  assert.equal(await page.evaluate(() => window.db.outbox().length), 2);
  await group.getByRole('button', { name: 'Discard all 2…' }).click();
  await page.getByRole('button', { name: 'Discard 2', exact: true }).click();

  await page.getByText('Nothing is held back').waitFor();
  await untilState(page, 'saved');
  assert.deepEqual(await page.evaluate(() => [window.db.outbox().length, window.db.tables.comment.size]), [0, 0]);
  assert.deepEqual(await server.query('SELECT * FROM comment'), []);
  await tab(page, 'Outbox');
  const gone = page.locator('.recent button', { hasText: 'create comment' });
  await gone.getByText('Discarded, with what waited for it here').waitFor();
  assert.deepEqual(errors, []);
});

test('p3_each_group_that_is_held_back_is_asked_about_for_itself', async () => {
  const { network } = await startAll();
  const { browser, page, errors } = await openDevice(network);
  const topics = await page.evaluate(() => ['A', 'B'].map((name) => window.db.tables.topic.create({ name }).id));
  await untilSynced(page);
  await network.cut(browser.context);
  await untilState(page, 'offline');
  const keys = await page.evaluate((topics) => {
    const made = topics.map((topic) => window.db.tables.comment.create({ text: 'Agreed', topic }));
    for (const { accepted } of made) accepted.catch(() => {});
    return made.map(({ key }) => key);
  }, topics);
  await network.restore();
  for (const topic of topics) await deleteElsewhere(network, topic);
  await network.restore(browser.context);

  await until('both to be held back', () => page.evaluate(() => window.db.status.parked === 2));
  await tab(page, 'Held back');
  const group = (key) => page.locator(`.group[data-key="${key}"]`);
  for (const key of keys) await group(key).getByRole('button', { name: 'Discard…' }).click();
  await group(keys[1]).getByText('Give up 1 transaction for good?').waitFor();
  assert.equal(await page.locator('.question').count(), 1);
  await tab(page, 'Requests');
  await tab(page, 'Held back');
  await group(keys[1]).getByRole('button', { name: 'Discard…' }).waitFor();
  assert.equal(await page.evaluate(() => window.db.parked().length), 2, 'nobody has said yes');
  await group(keys[1]).getByRole('button', { name: 'Discard…' }).click();
  await page.getByRole('button', { name: 'Discard 1', exact: true }).click();
  await group(keys[1]).waitFor({ state: 'detached' });
  assert.deepEqual(await page.evaluate(() => window.db.parked().map(({ key }) => key)), [keys[0]]);
  assert.deepEqual(errors, []);
});

test('p3_a_browser_that_does_not_tell_what_it_stores_is_not_waited_for', async () => {
  const { network } = await startAll();
  const { page, errors } = await openDevice(network);
  await page.evaluate(() => {
    const refuse = () => Promise.reject(new DOMException('no', 'SecurityError'));
    Object.assign(StorageManager.prototype, { estimate: refuse, persisted: refuse });
  });
  await tab(page, 'Device');
  await page.getByText('The browser does not tell how much is stored.').waitFor();
  await page.getByRole('region', { name: 'Spaces' }).waitFor();
  assert.deepEqual(errors, []);
});

test('p3_a_missing_parent_is_exchanged_for_another', async () => {
  const { server, network } = await startAll();
  const { browser, page } = await openDevice(network);
  const [topic, another] = await page.evaluate(() => {
    return ['Plan', 'Another plan'].map((name) => window.db.tables.topic.create({ name }).id);
  });
  await untilSynced(page);
  await network.cut(browser.context);
  await untilState(page, 'offline');
  await page.evaluate((topic) => {
    window.db.tables.comment.create({ text: 'Agreed', topic }).accepted.catch(() => {});
  }, topic);
  await network.restore();
  await deleteElsewhere(network, topic);
  await network.restore(browser.context);

  await until('it to be held back', () => page.evaluate(() => window.db.status.parked === 1));
  await tab(page, 'Held back');
  await page.getByRole('button', { name: 'Reparent…' }).click();
  await page.getByLabel('refer to').selectOption({ label: `topic …${another.slice(-6)} “Another plan”` });
  await shoot(page, 'reparent');
  await page.getByRole('button', { name: 'Reparent', exact: true }).click();
  await untilSynced(page);
  assert.deepEqual(await server.query('SELECT text FROM comment'), [{ text: 'Agreed' }]);
});

test('p3_simulated_offline_is_offline_and_ends', async () => {
  const { server, network } = await startAll();
  const { page, errors } = await openDevice(network, { isInspected: false });
  await untilSynced(page);
  await page.evaluate(() => {
    window.said = [];
    for (const event of ['online', 'offline']) addEventListener(event, () => window.said.push(event));
    return import('/driftline/devtools.js');
  });
  // Just after a ping, so that the next one finds the connection, which stood before the inspector, while offline is simulated.
  await page.evaluate(
    () =>
      new Promise((heard) => {
        const { get } = Object.getOwnPropertyDescriptor(MessageEvent.prototype, 'data');
        const tell = function () {
          if (this.target instanceof WebSocket) heard();
          return Reflect.apply(get, this, []);
        };
        Object.defineProperty(MessageEvent.prototype, 'data', { get: tell, configurable: true });
      }),
  );
  await mount(page);
  await tab(page, 'Simulate');
  await page.getByRole('switch', { name: 'Offline' }).check();
  await page.getByRole('alert').getByText('offline', { exact: false }).waitFor();
  await untilState(page, 'offline');
  await tellsStatus(page, 'Offline is simulated here.');
  await makeThree(page);
  await page.getByRole('tab', { name: 'Outbox 3' }).click();
  await nodes(page).first().click();
  await page.getByText(/^Waits for the network since [0-9:]+\. Offline is simulated here\./).waitFor();
  await shoot(page, 'offline');
  assert.deepEqual(await server.query('SELECT * FROM topic'), []);

  // The connection that was open before the inspector is gone, too, and nobody else has noticed.
  await tab(page, 'Requests');
  await page.locator('tr', { hasText: /live[1-9]\d* messages?101simulatedoffline/ }).waitFor();
  const other = await openDevice(network, { isInspected: false });
  await other.page.evaluate(() => window.db.tables.topic.create({ name: 'Unheard of' }).accepted);
  assert.equal(await page.evaluate(() => window.db.tables.topic.size), 1);

  await page.getByRole('alert').getByRole('button', { name: 'Stop' }).click();
  await untilSynced(page);
  await page.waitForFunction(() => window.db.tables.topic.size === 2);
  assert.equal(await page.getByRole('alert').count(), 0);
  assert.deepEqual(await page.evaluate(() => window.said), []);
  assert.deepEqual(errors, []);
});

test('p3_a_slow_request_waits_before_it_goes', async () => {
  const { server, network } = await startAll();
  const { page, errors } = await openDevice(network);
  await untilSynced(page);
  const sent = [];
  page.on('request', (request) => request.url().endsWith('/reconcile') && sent.push(request.url()));
  await tab(page, 'Simulate');
  await page.getByText('+3000 ms').click();
  await page.getByRole('alert').getByText('+3000 ms').waitFor();
  await page.evaluate(() => void window.db.tables.topic.create({ name: 'Plan' }));
  await tab(page, 'Requests');
  await page.locator('tr', { hasText: /reconcile1 transaction….*…$/ }).waitFor();
  assert.deepEqual(sent, [], 'it is seen, and has not gone');
  // What has not gone is cut as well as what has.
  await tab(page, 'Simulate');
  await page.getByRole('switch', { name: 'Offline' }).check();
  await tab(page, 'Requests');
  await page
    .locator('tr', { hasText: /reconcile1 transaction.*offlinesimulated/ })
    .first()
    .waitFor();
  assert.deepEqual([sent, await server.query('SELECT * FROM topic')], [[], []]);
  await page.getByRole('alert').getByRole('button', { name: 'Stop' }).click();
  await untilSynced(page);
  assert.deepEqual(errors, []);
});

test('p3_what_is_simulated_ends_with_the_inspector_and_leaves_nothing', async () => {
  const { network } = await startAll();
  const { page, errors } = await openDevice(network);
  await untilSynced(page);
  await tab(page, 'Simulate');
  await page.getByRole('switch', { name: 'Offline' }).check();
  await untilState(page, 'offline');
  await page.evaluate(() => void window.db.tables.topic.create({ name: 'Plan' }));
  const left = await page.evaluate(() => {
    window.unmount();
    const { data } = Object.getOwnPropertyDescriptors(MessageEvent.prototype);
    return {
      fetch: window.fetch === window.before.fetch,
      WebSocket: window.WebSocket === window.before.WebSocket,
      messages: /native code/.test(data.get),
      elements: document.querySelector('main').childElementCount,
    };
  });
  assert.deepEqual(left, { fetch: true, WebSocket: true, messages: true, elements: 0 });
  await untilSynced(page);
  assert.deepEqual(errors, []);
});

test('p3_all_arrives_once_where_half_of_the_requests_fail', async () => {
  const { server, network } = await startAll();
  const { page, errors } = await openDevice(network);
  await untilSynced(page);
  await tab(page, 'Simulate');
  // Every other one, so that none of the two kinds is left out by chance.
  await page.evaluate(() => {
    let drawn = 0;
    Math.random = () => [0.1, 0.9][drawn++ % 2];
  });
  await page.getByRole('group', { name: 'Failing' }).getByText('50 %').click();
  for (const kind of ['answered 503', 'answer lost']) {
    await page.getByLabel('How').selectOption(kind);
    await page.getByRole('alert').getByText(kind).waitFor();
    await page.evaluate(async (kind) => {
      for (let i = 0; i < 6; i += 1) await window.db.tables.topic.create({ name: `${kind} ${i}` }).accepted;
    }, kind);
  }
  const names = await server.query('SELECT name FROM topic ORDER BY name');
  const expected = ['answer lost', 'answered 503'].flatMap((kind) =>
    [0, 1, 2, 3, 4, 5].map((i) => ({ name: `${kind} ${i}` })),
  );
  assert.deepEqual(names, expected);
  await page.getByRole('alert').getByRole('button', { name: 'Stop' }).click();
  await untilSynced(page);

  await tab(page, 'Requests');
  await page.locator('tbody tr').first().waitFor();
  const all = await page.locator('tbody tr').evaluateAll((rows) => rows.map((row) => row.textContent));
  assert.ok(
    all.some((row) => /reconcile1 transaction.*200/.test(row)),
    all.join('\n'),
  );
  const count = (what) => all.filter((row) => what.test(row)).length;
  assert.ok(count(/503simulatedunavailable/) >= 3, all.join('\n'));
  assert.ok(count(/answer lostsimulated/) >= 3, all.join('\n'));
  await shoot(page, 'requests');
  assert.deepEqual(errors, []);
});

test('p3_requests_are_listed_with_status_sizes_and_live_messages', async () => {
  const { server, network } = await startAll();
  const { page, errors } = await openDevice(network);
  await untilSynced(page);
  await tab(page, 'Requests');
  // From before the inspector, as the browser has noted it.
  await page.getByRole('row', { name: /snapshot.* 200 / }).waitFor();
  await page.evaluate(() => window.db.tables.topic.create({ name: 'Plan' }).accepted);
  const push = page.getByRole('row', { name: /reconcile ?1 transaction/ });
  await push.getByText('200').waitFor();
  const sent = page.waitForRequest((request) => request.url().endsWith('/reconcile'));
  await page.evaluate(() => window.db.tables.topic.create({ name: 'Another' }).accepted);
  const bytes = Buffer.byteLength((await sent).postData());
  await push
    .first()
    .getByRole('cell', { name: `${bytes} B`, exact: true })
    .waitFor();
  // The server pings every 2 s, on a connection that stood before the inspector.
  await page.getByRole('row', { name: /live ?[1-9]\d* messages? 101/ }).waitFor();
  const key = await page.evaluate(async () => {
    const { key, accepted } = window.db.tables.topic.create({ name: 'Live' });
    await accepted;
    return key;
  });
  await tab(page, 'Outbox');
  await page.locator('.recent button', { hasText: `${key.slice(12, 16)}:3` }).click();
  await page
    .locator(`aside[data-key="${key}"] .timeline .live`, { hasText: 'The live message with it came to this device' })
    .waitFor();
  await tab(page, 'Requests');

  await server.kill();
  await untilState(page, 'offline');
  await page
    .getByRole('row', { name: /reconcile.*no answer/ })
    .first()
    .waitFor();
  await tellsStatus(page, 'The server cannot be reached.');
  await server.restart();
  await untilState(page, 'saved');
  assert.deepEqual(errors, []);
});

test('p3_a_server_that_asks_for_patience_is_told_with_its_time', async () => {
  const { server } = await startAll();
  const proxy = await startProxy(server.port);
  const { page, errors } = await openDevice({ url: `http://127.0.0.1:${proxy.port}` });
  await untilSynced(page);
  const problem = { type: 'urn:driftline:unavailable', title: 'Unavailable', status: 503, code: 'unavailable' };
  const headers = { 'content-type': 'application/problem+json', 'retry-after': '600' };
  proxy.meddle = async () => ({ status: 503, headers, body: JSON.stringify(problem) });
  await page.evaluate(() => void window.db.tables.topic.create({ name: 'Plan' }));
  await tellsStatus(page, 'The server is there and asks to come again later.');
  await nodes(page).first().click();
  await page.getByText(/^Waits for the server’s pause: it asked not to be asked for another 10 min\.$/).waitFor();
  await tab(page, 'Requests');
  await page.locator('tr', { hasText: /reconcile1 transaction503unavailable, retry after 600 s/ }).waitFor();
  assert.deepEqual(errors, []);
});

test('p3_a_tab_that_does_not_send_says_so', async () => {
  const { network } = await startAll();
  const { browser, page } = await openDevice(network, { isInspected: false });
  await untilSynced(page);
  const other = await browser.context.newPage();
  await openSite(other, network.url);
  await other.evaluate(([schema, space]) => window.start(schema, space), [schema, SPACE]);
  await mount(other);
  await other.getByText('Another tab of this browser sends for this one.').waitFor();
  await tab(other, 'Simulate');
  await other.getByText('Another tab sends for this one: what is simulated here shows once this tab sends.').waitFor();
  await network.cut(browser.context);
  await untilState(other, 'offline');
  await other.evaluate(() => void window.db.tables.topic.create({ name: 'Plan' }));
  await tab(other, 'Outbox');
  await nodes(other).first().click();
  await other
    .getByText(/^Waits for the network since [0-9:]+\. The browser says that there is no network\.$/)
    .waitFor();

  // The one that sends goes away, and this one takes over.
  await page.close();
  await network.restore(browser.context);
  await untilSynced(other);
  await other.getByText('Another tab of this browser sends for this one.').waitFor({ state: 'detached' });
  await other.locator('.timeline .accepted').waitFor();
});

test('p3_a_trace_of_a_real_page_replays_to_the_same_outbox_and_view', async () => {
  const { network } = await startAll();
  const { page, browser, errors } = await openDevice(network, { isInspected: false });
  await mount(page);
  await tab(page, 'Trace');
  await page.getByText('This page keeps no trace').waitFor();

  const traced = await browser.context.newPage();
  await openSite(traced, network.url);
  await traced.evaluate(([schema, space]) => window.start(schema, space, { trace: true }), [schema, SPACE]);
  await traced.evaluate(async () => {
    const { topic } = window.db.tables;
    const first = topic.create({ name: 'Plan' });
    await first.accepted;
    topic.update(first.id, { name: 'A plan' });
    window.db.undo();
    await window.db.accepted();
  });
  await page.evaluate(() => window.db.tables.topic.create({ name: 'Another tab' }).accepted);
  await traced.waitForFunction(() => window.db.tables.topic.size === 2);
  await mount(traced);
  await network.cut(browser.context);
  await untilState(traced, 'offline');
  await traced.evaluate(async () => {
    const waiting = window.db.tables.topic.create({ name: 'Offline' });
    await waiting.saved;
  });
  await tab(traced, 'Trace');
  const download = traced.waitForEvent('download');
  await traced.getByRole('button', { name: 'Download' }).click();
  const file = await download;
  assert.equal(file.suggestedFilename(), 'talk-trace.jsonl');
  const text = readFileSync(await file.path(), 'utf8');

  const replayed = replay(text);
  assert.match(replayed.said, /: that is where the page was$/, replayed.said);
  assert.equal(replayed.status, 0);
  // An edit less, and it comes to something else.
  const without = text.split('\n').filter((line) => !(line.startsWith('["transact"') && line.includes('Offline')));
  const other = replay(without.join('\n'));
  assert.match(other.said, /that is not where the page was$/);
  assert.equal(other.status, 1);
  assert.deepEqual(errors, []);
});

/** Plays a trace in the simulator. */
function replay(text) {
  const path = join(tempDir('trace'), 'trace.jsonl');
  writeFileSync(path, text);
  const args = ['run', '--release', '--quiet', '-p', 'driftline-tests', '--bin', 'sim', '--', '--replay', path];
  const { status, stdout, stderr } = spawnSync('cargo', args, { cwd: ROOT, encoding: 'utf8' });
  return { status, said: `${stdout}${stderr}`.trim() };
}

test('p3_the_inspector_is_usable_at_any_width_in_light_and_dark_by_keyboard_and_screen_reader', async () => {
  const { network } = await startAll();
  const { browser, page, errors } = await openDevice(network);
  await untilSynced(page);
  await network.cut(browser.context);
  await untilState(page, 'offline');
  await makeThree(page);
  await page.evaluate(() => document.documentElement.setAttribute('lang', 'en'));
  await page.addScriptTag({ path: AXE });

  for (const theme of ['light', 'dark']) {
    await page.evaluate((theme) => document.documentElement.setAttribute('data-theme', theme), theme);
    for (const width of [320, 1200]) {
      await page.setViewportSize({ width, height: 800 });
      await page.getByRole('tab', { name: 'Outbox' }).click();
      await nodes(page).nth(1).click();
      await page.getByRole('complementary').waitFor();
      for (const name of ['Outbox', 'Held back', 'Requests', 'Device', 'Simulate', 'Trace']) {
        await page.getByRole('tab', { name }).click();
        await page.getByRole('tabpanel', { name }).waitFor();
        if (name === 'Device') await page.getByRole('region', { name: 'Spaces' }).waitFor();
        await shoot(page, `${theme}-${width}-${name}`);
        assert.deepEqual(await seriousOf(page), [], `${name}, ${theme}, ${width} px`);
        const isTooWide = () => document.documentElement.scrollWidth > document.documentElement.clientWidth;
        assert.equal(await page.evaluate(isTooWide), false, `${name} fits into ${width} px`);
      }
    }
  }

  await page.getByRole('tab', { name: 'Outbox' }).focus();
  await page.keyboard.press('End');
  await page.getByRole('tabpanel', { name: 'Trace' }).waitFor();
  await page.keyboard.press('ArrowRight');
  await page.getByRole('tabpanel', { name: 'Outbox' }).waitFor();
  await nodes(page).nth(1).focus();
  await page.keyboard.press('ArrowRight');
  await page.getByRole('heading', { name: '№ 3 create reply' }).waitFor();
  assert.deepEqual(errors, []);
});

/** What a checker of accessibility finds that keeps people out. */
async function seriousOf(page) {
  const { violations } = await page.evaluate(() => window.axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa'] }));
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  return serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
}

// ---- In the canvas app, which holds it in its panel ----

let world;

/** Somebody with the app and a profile of their own. */
async function openApp() {
  world ??= await startWorld();
  const person = await visit(world);
  closing.add(() => person.context.close());
  return person;
}

const byId = (page, id) => page.locator(`[data-testid=${id}]`);
const switchOffline = (page) => page.click('[data-testid=online-switch]');

/** The inspector of the app, at one of its tabs. */
async function inspect(page, name) {
  await page.click('[data-testid=tab-inspector]');
  await tab(page, name);
}

/** Has a new card with a connection to one that somebody else deletes held back, and one more that waits for it. `undo` brings that back. */
async function holdBack(space) {
  const [one, two] = [await openApp(), await openApp()];
  const page = await one.go(space);
  const doomed = await page.evaluate(async () => {
    const { id, accepted } = window.driftline.tables.card.create({ text: 'Doomed' });
    await accepted;
    return id;
  });
  const other = await two.go(space);
  await other.waitForFunction((id) => window.driftline.tables.card.get(id), doomed);
  await switchOffline(page);
  await isStatus(page, 'offline');
  await page.evaluate(async (doomed) => {
    let id;
    const first = window.driftline.transaction((tx) => {
      id = tx.card.create({ text: 'Along', x: 300 });
      tx.connection.create({ start_item: { card: id }, end_item: { card: doomed } });
    });
    const second = window.driftline.tables.connection.create({ start_item: { card: id }, end_item: { card: id } });
    for (const { accepted } of [first, second]) accepted.catch(() => {});
    await second.saved;
  }, doomed);
  await other.evaluate((id) => window.driftline.tables.card.delete(id).accepted, doomed);
  await switchOffline(page);
  await byId(page, 'parked-entry').waitFor();
  const undo = async () => {
    await other.evaluate(() => Promise.all(window.driftline.undo().map(({ accepted }) => accepted)));
    await page.waitForFunction((id) => window.driftline.tables.card.get(id), doomed);
  };
  return { page, other, undo };
}

const waitingOf = (page) => page.evaluate(() => window.driftline.outbox().length);

test('r3_what_is_given_up_in_the_panel_is_asked_about_with_all_that_goes', async () => {
  const { page } = await holdBack('give-up');
  await byId(page, 'discard').click();
  const ask = byId(page, 'ask');
  await ask.getByRole('heading', { name: 'Give up 2 changes?' }).waitFor();
  assert.equal(await waitingOf(page), 2, 'it asks first');
  await page.keyboard.press('Escape');
  await ask.waitFor({ state: 'detached' });
  assert.ok(await byId(page, 'outbox-panel').isVisible(), 'the key was the question’s');
  assert.equal(await waitingOf(page), 2);

  // What waits for it goes alone.
  await byId(page, 'discard-waiting').click();
  await ask.getByRole('heading', { name: 'Give up this change?' }).waitFor();
  await byId(page, 'ask-yes').click();
  await until('one to be left', async () => (await waitingOf(page)) === 1);
  await byId(page, 'discard').click();
  await byId(page, 'ask-yes').click();
  await untilSaved(page);
  assert.equal(await page.evaluate(() => window.driftline.tables.card.size), 0);
});

test('r3_a_question_about_what_goes_on_meanwhile_says_so', async () => {
  const { page, undo } = await holdBack('gone-on');
  await undo();
  await byId(page, 'discard').click();
  const ask = byId(page, 'ask');
  await ask.getByRole('heading', { name: 'Give up 2 changes?' }).waitFor();
  await page.evaluate(() => {
    for (const { key, state } of window.driftline.outbox()) if (state === 'parked') window.driftline.retry(key);
  });
  await untilSaved(page);
  await ask.getByRole('heading', { name: 'It has gone on' }).waitFor();
  assert.equal(await byId(page, 'ask-yes').count(), 0, 'there is nothing to give up');
  await ask.getByRole('button', { name: 'All right' }).click();
  await ask.waitFor({ state: 'detached' });
  assert.equal(await page.evaluate(() => window.driftline.tables.card.size), 2);
});

test('r3_what_is_held_back_is_written_anew_and_sent_again', async () => {
  const { page, other, undo } = await holdBack('amend');
  await undo();
  await byId(page, 'change-parked').click();
  const form = byId(page, 'change');
  // The key closes the form alone, and leads back to where it was opened.
  await form.getByLabel('Text').press('Escape');
  await form.waitFor({ state: 'detached' });
  assert.ok(await byId(page, 'outbox-panel').isVisible());
  assert.equal(await page.evaluate(() => document.activeElement.dataset.testid), 'change-parked');
  await byId(page, 'change-parked').click();
  assert.equal(await form.getByLabel('Text').inputValue(), 'Along');
  await form.getByLabel('Text').fill('x'.repeat(70_000));
  await byId(page, 'send-again').click();
  await form.getByRole('alert').getByText('It is too long').waitFor();
  await form.getByLabel('Text').fill('Written anew');
  await byId(page, 'send-again').click();
  await untilSaved(page);
  await other.waitForFunction(() => window.driftline.tables.card.query(({ text }) => text === 'Written anew').length);
  const kept = await other.evaluate(() => {
    const { card, connection } = window.driftline.tables;
    return [card.query().map(({ text, x }) => `${text} ${x}`), connection.size];
  });
  assert.deepEqual([kept[0].sort(), kept[1]], [['Doomed 0', 'Written anew 300'], 2]);
});

test('r6_work_offline_outlives_the_page_and_nothing_is_sent_before_it_is_switched_off', async () => {
  const space = 'kept-off';
  const person = await openApp();
  const page = await person.go(space);
  await untilSaved(page);
  await switchOffline(page);
  await isStatus(page, 'offline');
  await page.evaluate(() => window.driftline.tables.card.create({ text: 'kept here' }).saved);
  const asked = [];
  const note = (request) => new URL(request.url()).pathname.startsWith('/v1/') && asked.push(request.url());
  page.on('request', note);
  page.on('websocket', note);
  await page.reload();
  await page.waitForFunction(() => window.driftline?.tables.card.size === 1);
  await isStatus(page, 'offline');
  const isOn = () => page.getAttribute('[data-testid=online-switch]', 'aria-checked');
  assert.equal(await isOn(), 'true');
  // It is said for what it is, also on a phone, where the switch is in a menu; no network is blamed for it.
  const sentence = () => page.getAttribute('[data-testid=status]', 'title');
  assert.equal(await sentence(), '1 change kept on this device, sent once you no longer work offline.');
  const banner = page.locator('[data-testid=banner][data-code=switched_off]');
  assert.equal(await banner.isVisible(), false, 'the switch says it');
  const size = page.viewportSize();
  await page.setViewportSize({ width: 390, height: 800 });
  assert.equal(await banner.isVisible(), true);
  await page.setViewportSize(size);
  // Long enough for all that a page asks when it begins.
  await page.waitForTimeout(2_000);
  assert.deepEqual(asked, []);

  const kept = () => page.evaluate((space) => localStorage.getItem(`driftline.offline.${space}`), space);
  assert.equal(await kept(), 'true');
  await page.setViewportSize({ width: 390, height: 800 });
  await banner.getByRole('button', { name: 'Go online' }).click();
  await banner.waitFor({ state: 'detached' });
  await page.setViewportSize(size);
  await untilSaved(page);
  assert.equal(await kept(), null);
  await page.context().setOffline(true);
  await isStatus(page, 'offline');
  assert.match(await sentence(), /^There is no way to the server/);
  await page.context().setOffline(false);
  await untilSaved(page);
  await page.reload();
  await page.waitForFunction(() => window.driftline);
  await untilSaved(page);
  assert.equal(await isOn(), 'false');
});

test('p3_the_app_tells_on_whose_screens_a_transaction_is', async () => {
  const [one, two] = [await openApp(), await openApp()];
  const page = await one.go('screens');
  const other = await two.go('screens');
  await other.evaluate(
    (me) => localStorage.setItem('driftline.me', me),
    JSON.stringify({ name: 'Mia Berg', color: 7 }),
  );
  await other.reload();
  await byId(page, 'avatar').first().waitFor();
  await inspect(page, 'Outbox');
  await page.locator('.inspector-tab .sentence').first().waitFor();
  const key = await page.evaluate(async () => {
    const { key, accepted } = window.driftline.tables.card.create({ text: 'For all to see' });
    await accepted;
    return key;
  });
  await page.locator('.recent button', { hasText: `${key.slice(12, 16)}:` }).click();
  const seen = page.locator(`aside[data-key="${key}"] .timeline .seen`, { hasText: 'On the screen of Mia Berg' });
  await seen.waitFor();
  await two.context.setOffline(true);
  await isStatus(other, 'offline');
  const later = await page.evaluate(async () => {
    const { key, accepted } = window.driftline.tables.card.create({ text: 'Not yet' });
    await accepted;
    return key;
  });
  await page
    .locator('.recent button', { hasText: `${later.slice(12, 16)}:${later.split(':')[1]}` })
    .first()
    .click();
  await page.locator(`aside[data-key="${later}"] .timeline .accepted`).waitFor();
  assert.equal(await page.locator(`aside[data-key="${later}"] .timeline .seen`).count(), 0);
});

test('p3_what_is_simulated_in_the_app_goes_on_with_the_panel_closed_and_is_told', async () => {
  const { go } = await openApp();
  const page = await go('simulated');
  await untilSaved(page);
  await inspect(page, 'Simulate');
  await byId(page, 'outbox-panel').getByRole('switch', { name: 'Offline' }).check();
  await isStatus(page, 'offline');
  await byId(page, 'tab-inspector').getByText('simulates').waitFor();
  await page.click('[data-testid=tab-sync]');
  await byId(page, 'simulated').getByText('offline').waitFor();
  await page.click('[data-testid=panel-toggle]');
  const key = await page.evaluate(async () => {
    const { key, saved } = window.driftline.tables.card.create({ text: 'Meanwhile' });
    await saved;
    return key;
  });
  await isStatus(page, 'offline');
  await page.click('[data-testid=panel-toggle]');
  await byId(page, 'simulated').getByRole('button').click();
  await untilSaved(page);
  await byId(page, 'simulated').waitFor({ state: 'detached' });
  await inspect(page, 'Outbox');
  await page.locator('.recent button', { hasText: `${key.slice(12, 16)}:` }).click();
  await page.locator(`aside[data-key="${key}"] .timeline .accepted`).waitFor();
});

test('p3_a_trace_is_kept_when_the_inspector_is_asked_for_one', async () => {
  const { go } = await openApp();
  const page = await go('traced');
  await untilSaved(page);
  await inspect(page, 'Trace');
  await page.getByText('each edit, answer, message and record').waitFor();
  await page.getByRole('button', { name: 'Keep a trace' }).click();
  await page.waitForURL(/trace=1/);
  const { searchParams } = new URL(page.url());
  assert.deepEqual([searchParams.get('space'), searchParams.get('debug')], ['traced', '1']);
  await inspect(page, 'Trace');
  await page.getByRole('button', { name: 'Download' }).waitFor();
});

test('p3_an_inspector_that_cannot_be_loaded_says_so_and_is_loaded_again', async () => {
  world ??= await startWorld();
  const context = await world.browser.newContext({ serviceWorkers: 'block' });
  closing.add(() => context.close());
  const page = await context.newPage();
  await page.route(/assets\/devtools-/, (route) => route.abort());
  await page.goto(`${world.open.url}/?space=missing&debug=1`);
  await page.click('[data-testid=tab-inspector]');
  await byId(page, 'inspector-missing').getByRole('alert').waitFor();
  await page.unroute(/assets\/devtools-/);
  await page.getByRole('button', { name: 'Load again' }).click();
  await page.click('[data-testid=tab-inspector]');
  await page.locator('.inspector-tab .sentence').first().waitFor();
});
