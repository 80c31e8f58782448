// Files: put offline, killed, cut and refused on their way; their rows are made once, after them, and before what refers to them.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, before, test } from 'node:test';
import { openBrowser, runDriftline, startNetwork, startProxy, startServer, tempDir, until } from './harness.mjs';
import { makeSite, openSite, untilSynced } from './page.mjs';

const schema = {
  name: 'blobs',
  version: 1,
  tables: {
    image: { fields: { hash: { type: 'text' }, bytes: { type: 'int' }, type: { type: 'text' } } },
    card: {
      fields: { text: { type: 'text', default: '' } },
      references: { image: { to: ['image'], nullable: true, on_delete: 'set_null' } },
    },
  },
};
/** Three parts, the last of which is not full. */
const BYTES = 2 * 1024 * 1024 + 300_000;
const BLOB = /^\/v1\/spaces\/[^/]+\/blobs\/[0-9a-f]{64}$/;

let server;
before(async () => {
  const place = { schema: join(tempDir('schema'), 'schema.json'), migrations: tempDir('migrations') };
  writeFileSync(place.schema, JSON.stringify(schema));
  const args = ['--schema', place.schema, '--migrations', place.migrations, '--data', tempDir('planned')];
  await runDriftline(['migrate', 'plan', ...args, '--name', 'create']);
  server = await startServer({ ...place, staticDir: makeSite() });
});

const browsers = [];
afterEach(async () => {
  for (const browser of browsers.splice(0)) await browser.close();
});

async function openUser() {
  const browser = await openBrowser();
  browsers.push(browser);
  return browser;
}

/** A page with a space and its files open. */
async function openTab(browser, url, space, options = {}) {
  const page = await browser.context.newPage();
  await openSite(page, url);
  const start = async ([schema, space, options]) => {
    const { openBlobs, removeBlobs } = await import('/driftline/blobs.js');
    Object.assign(window, { removeBlobs });
    await window.start(schema, space);
    window.blobs = await openBlobs(window.db, { schema, space, url: '', ...options });
  };
  await page.evaluate(start, [schema, space, options]);
  return page;
}

/** Puts a file with a row, and a card that refers to it. All of it is on disk when this resolves. */
async function paste(page, bytes, text) {
  const put = async ([base64, text]) => {
    const data = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
    const row = ({ hash, bytes, type }) => ({ hash, bytes, type });
    const image = await window.blobs.put(new Blob([data], { type: 'image/png' }), { table: 'image', row });
    const card = window.db.tables.card.create({ text, image: image.id });
    await card.saved;
    return { ...image, card: card.id };
  };
  return await page.evaluate(put, [bytes.toString('base64'), text]);
}

async function untilArrived(page) {
  const state = () => page.evaluate(() => JSON.stringify(window.blobs.status));
  await until('the files to arrive', async () => JSON.parse(await state()).state === 'saved').catch(async (error) =>
    assert.fail(`${error.message}; the status is ${await state()}`),
  );
  await untilSynced(page);
}

function refusal(code, status = 413) {
  const body = JSON.stringify({ code, detail: 'not now', status });
  return { status, headers: { 'content-type': 'application/problem+json' }, body };
}

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** What the server has of a file. */
async function fetched(space, hash) {
  const response = await fetch(`${server.url}/v1/spaces/${space}/blobs/${hash}`);
  return {
    status: response.status,
    bytes: Buffer.from(await response.arrayBuffer()),
    type: response.headers.get('content-type'),
  };
}

async function assertArrived(space, { hash, id, card }, bytes) {
  const { status, bytes: there, type } = await fetched(space, hash);
  assert.deepEqual([status, type, sha256(there)], [200, 'image/png', sha256(bytes)]);
  const rows = await server.query(
    `SELECT lower(hex(i.id)) AS id, i.hash, i.bytes, lower(hex(c.id)) AS card FROM image AS i
     JOIN card AS c ON c.space = i.space AND c.image = i.id JOIN _space AS s ON s.id = i.space AND s.name = '${space}'
     WHERE i.hash = '${hash}'`,
  );
  const [hexId, hexCard] = [id, card].map((text) => text.replaceAll('-', ''));
  assert.deepEqual(rows, [{ id: hexId, hash: sha256(bytes), bytes: bytes.length, card: hexCard }]);
}

test('v8_an_image_pasted_offline_survives_a_kill_and_arrives_once_with_what_refers_to_it', async () => {
  const bytes = randomBytes(BYTES);
  const network = await startNetwork(server.port);
  const browser = await openUser();
  const page = await openTab(browser, network.url, 'offline');
  await network.cut(browser.context);
  const image = await paste(page, bytes, 'pasted offline');
  assert.equal(image.hash, sha256(bytes));
  await until('the files to be offline', () => page.evaluate(() => window.blobs.status.state === 'offline'));
  const { waiting, bytes: left } = await page.evaluate(() => window.blobs.status);
  assert.deepEqual([waiting, left], [1, BYTES]);
  // It is shown from here.
  const shown = (page) =>
    page.evaluate(async (hash) => {
      const response = await fetch(await window.blobs.url(hash));
      const digest = await crypto.subtle.digest('SHA-256', await response.arrayBuffer());
      const hex = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
      return [hex, response.headers.get('content-type')];
    }, image.hash);
  assert.deepEqual(await shown(page), [image.hash, 'image/png']);
  const revoked = await page.evaluate(async (hash) => {
    const url = await window.blobs.url(hash);
    window.blobs.revoke(hash);
    await window.blobs.url(hash);
    return await fetch(url).then(
      () => 'held',
      () => 'gone',
    );
  }, image.hash);
  assert.equal(revoked, 'gone');
  assert.deepEqual(await shown(page), [image.hash, 'image/png'], 'it has another address');

  await browser.kill();
  await network.restore();
  await browser.reopen();
  const again = await openTab(browser, network.url, 'offline');
  await untilArrived(again);
  await assertArrived('offline', image, bytes);

  const other = await openTab(await openUser(), network.url, 'offline');
  assert.deepEqual(await shown(other), [image.hash, 'image/png'], 'another device fetches it');
});

test('v8_a_server_killed_in_mid_upload_is_sent_what_it_lacks_and_no_more', async () => {
  const bytes = randomBytes(BYTES);
  const proxy = await startProxy(server.port);
  const taken = [];
  let killing;
  proxy.meddle = async ({ method, path }, pass) => {
    if (!BLOB.test(path)) return await pass();
    // The second part does not get there, however often the browser sends it again by itself.
    if (method === 'PATCH') killing ??= server.kill();
    await killing;
    const answer = await pass();
    if ([201, 202].includes(answer.status)) taken.push(`${method} ${answer.headers['upload-offset']}`);
    return answer;
  };
  const page = await openTab(await openUser(), `http://127.0.0.1:${proxy.port}`, 'killed');
  const image = await paste(page, bytes, 'pasted while the server dies');
  await until('the server to be killed', () => killing !== undefined);
  await killing;
  await until('the page to notice', () => page.evaluate(() => window.blobs.status.state === 'offline'));
  await server.restart();
  await untilArrived(page);
  await assertArrived('killed', image, bytes);
  assert.deepEqual(taken, ['PUT 1048576', 'PATCH 2097152', `PATCH ${BYTES}`], 'each part was taken once');
});

test('v8_all_else_flows_while_a_file_is_on_its_way_and_the_status_of_both_is_true', async () => {
  const bytes = randomBytes(1_000);
  const proxy = await startProxy(server.port);
  proxy.meddle = async ({ path }, pass) => (BLOB.test(path) ? refusal('unavailable', 503) : await pass());
  const [browser, url] = [await openUser(), `http://127.0.0.1:${proxy.port}`];
  let page = await openTab(browser, url, 'flows');
  const image = await paste(page, bytes, 'waits for its image');
  await page.evaluate(() => window.db.tables.card.create({ text: 'waits for nothing' }).accepted);
  await until('the space to wait', () => page.evaluate(() => window.db.status.reason === 'waiting'));
  const outbox = () => page.evaluate(() => window.db.outbox().map(({ state, waits_on }) => [state, waits_on]));
  assert.deepEqual(await outbox(), [['waiting', [`image ${image.id}`]]]);
  // So it does when all of it is read again.
  await page.close();
  page = await openTab(browser, url, 'flows');
  await until('the space to wait', () => page.evaluate(() => window.db.status.reason === 'waiting'));
  assert.deepEqual(await outbox(), [['waiting', [`image ${image.id}`]]]);
  const told = () => page.evaluate(() => window.blobs.together);
  await until('the trouble to be told', async () => (await told()).reason === 'unavailable');
  assert.equal((await told()).state, 'not_saving');
  proxy.meddle = undefined;
  await untilArrived(page);
  assert.deepEqual(await told(), { state: 'saved', reason: null });
  await assertArrived('flows', image, bytes);
});

test('v8_the_next_tab_goes_on_for_one_that_is_closed_and_makes_each_row_once', async () => {
  const [first, second] = [randomBytes(BYTES), randomBytes(5_000)];
  const proxy = await startProxy(server.port);
  const seen = [];
  let stop;
  const stopped = new Promise((done) => {
    stop = done;
  });
  proxy.meddle = async ({ method, path }, pass) => {
    if (!BLOB.test(path)) return await pass();
    seen.push(`${method} ${path.slice(-64)}`);
    if (method === 'PATCH' && seen.filter((one) => one.startsWith('PATCH')).length === 2) await stopped;
    return await pass();
  };
  const url = `http://127.0.0.1:${proxy.port}`;
  const browser = await openUser();
  const sender = await openTab(browser, url, 'tabs');
  const other = await openTab(browser, url, 'tabs');
  const images = [await paste(sender, first, 'by the one that sends'), await paste(other, second, 'by the other')];
  // The same once more: another row, and nothing is sent twice.
  const again = await paste(other, second, 'the same image');
  assert.equal(again.hash, images[1].hash);
  await until('the second part to be under way', () => seen.filter((one) => one.startsWith('PATCH')).length === 2);
  const waiting = () => other.evaluate(() => window.blobs.status.waiting);
  await until('both tabs to know of both files', async () => (await waiting()) === 2);
  await sender.close();
  stop();
  await untilArrived(other);
  await assertArrived('tabs', images[0], first);
  const rows = await server.query(
    `SELECT lower(hex(id)) AS id FROM image WHERE hash = '${images[1].hash}' ORDER BY id`,
  );
  const ids = [images[1], again].map(({ id }) => ({ id: id.replaceAll('-', '') }));
  assert.deepEqual(
    rows,
    ids.sort((a, b) => (a.id < b.id ? -1 : 1)),
  );
  assert.equal(seen.filter((one) => one === `PUT ${images[1].hash}`).length, 1, `${seen}`);
});

test('v8_a_file_that_is_refused_is_parked_until_somebody_decides', async () => {
  const [kept, given] = [randomBytes(3_000), randomBytes(4_000)];
  const proxy = await startProxy(server.port);
  proxy.meddle = async ({ method, path }, pass) =>
    BLOB.test(path) && method === 'PUT' ? refusal('blobs_full') : await pass();
  const page = await openTab(await openUser(), `http://127.0.0.1:${proxy.port}`, 'parked');
  const images = [await paste(page, kept, 'tried again'), await paste(page, given, 'given up')];
  await until('both to be parked', () => page.evaluate(() => window.blobs.status.parked === 2));
  const parked = await page.evaluate(() => window.blobs.parked().map(({ hash, problem }) => [hash, problem.code]));
  assert.deepEqual(parked.sort(), images.map(({ hash }) => [hash, 'blobs_full']).sort());
  const { state, reason } = await page.evaluate(() => window.blobs.status);
  assert.deepEqual([state, reason], ['not_saving', 'parked']);
  const refused = await page.evaluate((hash) => window.blobs.uploaded(hash).catch(({ code }) => code), images[0].hash);
  assert.equal(refused, 'blobs_full');
  const left = (options) =>
    page.evaluate(
      (options) =>
        window
          .removeBlobs({ app: 'blobs', ...options })
          .catch((error) => [error.code, error instanceof window.driftline.DriftlineError]),
      options,
    );
  assert.deepEqual(await left({}), ['space_open', true]);

  await page.evaluate((hash) => window.blobs.discard(hash), images[1].hash);
  assert.equal(
    await page.evaluate((hash) => window.blobs.uploaded(hash).catch(({ code }) => code), images[1].hash),
    'discarded',
  );
  proxy.meddle = undefined;
  await page.evaluate((hash) => window.blobs.retry(hash), images[0].hash);
  await page.evaluate((hash) => window.blobs.uploaded(hash), images[0].hash);
  const [waits] = await until('the card of what was given up to be all that waits', async () => {
    const outbox = await page.evaluate(() => window.db.outbox());
    return outbox.length === 1 ? outbox : undefined;
  });
  assert.deepEqual(waits.waits_on, [`image ${images[1].id}`]);
  const told = () => page.evaluate(() => `${window.blobs.together.state} ${window.blobs.together.reason}`);
  await until('that to be told as trouble', async () => (await told()) === 'not_saving waiting');
  await page.evaluate((key) => window.db.discard(key), waits.key);
  await untilArrived(page);
  await assertArrived('parked', images[0], kept);
});

test('v8_what_the_server_has_goes_from_a_device_that_may_keep_little_and_what_waits_stays', async () => {
  const [sent, waits, full] = [randomBytes(7_000), randomBytes(8_000), randomBytes(9_000)];
  const proxy = await startProxy(server.port);
  proxy.meddle = async ({ method, path }, pass) =>
    method === 'PUT' && path.endsWith(sha256(full)) ? refusal('blobs_full') : await pass();
  const network = await startNetwork(proxy.port);
  const browser = await openUser();
  const page = await openTab(browser, network.url, 'little', { keepBytes: 0 });
  const alone = (bytes) => window.blobs.put(new Blob([Uint8Array.from(bytes)]));
  const parked = await page.evaluate(alone, [...full]);
  await until('it to be refused', () => page.evaluate(() => window.blobs.status.parked === 1));
  const image = await paste(page, sent, 'sent');
  await page.evaluate((hash) => window.blobs.uploaded(hash), image.hash);
  await untilSynced(page);
  const kept = () =>
    page.evaluate(async () => {
      const database = await new Promise((done) => {
        const request = indexedDB.open('driftline/blobs/anonymous/blobs');
        request.onsuccess = () => done(request.result);
      });
      const request = database.transaction('content').objectStore('content').getAllKeys();
      const keys = await new Promise((done) => {
        request.onsuccess = () => done(request.result);
      });
      database.close();
      return keys.map(([, hash]) => hash);
    });
  await until('it to be gone from here', async () => !(await kept()).includes(image.hash));
  assert.deepEqual(await kept(), [parked.hash]);
  await network.cut(browser.context);
  const other = await paste(page, waits, 'waits');
  const both = [parked.hash, other.hash].sort();
  assert.deepEqual((await kept()).sort(), both);
  const missing = await page.evaluate((hash) => window.blobs.url(hash).catch(({ code }) => code), image.hash);
  assert.equal(missing, 'unreachable');
  const closing = async (options) => {
    window.blobs.close();
    return await window.removeBlobs({ app: 'blobs', space: 'little', ...options }).catch(({ code }) => code);
  };
  assert.equal(await page.evaluate(closing, {}), 'unsynced');
  assert.deepEqual((await kept()).sort(), both);
  assert.equal(await page.evaluate(closing, { discard: true }), undefined);
  assert.deepEqual(await kept(), []);
});
