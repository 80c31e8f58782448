// What lists, evicts and deletes spaces knows of their files; and files that the disk has damaged.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openBrowser, runDriftline, startProxy, startServer, tempDir } from './harness.mjs';
import { makeSite, openSite, untilSynced } from './page.mjs';

const schema = { name: 'files', version: 1, tables: { card: { fields: { text: { type: 'text', default: '' } } } } };
const BYTES = 200_000;
const OWNER = { app: 'files' };
const NAMES = ['entry', 'content', 'row'];

let browser;
let proxy;
before(async () => {
  const place = { schema: join(tempDir('schema'), 'schema.json'), migrations: tempDir('migrations') };
  writeFileSync(place.schema, JSON.stringify(schema));
  const args = ['--schema', place.schema, '--migrations', place.migrations, '--data', tempDir('planned')];
  await runDriftline(['migrate', 'plan', ...args, '--name', 'create']);
  const server = await startServer({ ...place, staticDir: makeSite() });
  proxy = await startProxy(server.port);
  browser = await openBrowser();
});
after(() => browser.close());

async function openTab() {
  const page = await browser.context.newPage();
  await openSite(page, `http://127.0.0.1:${proxy.port}`);
  return page;
}

/** Opens a space with its files, and makes a card that arrives. */
async function openSpace(page, space) {
  const start = async ([schema, space]) => {
    const { openBlobs } = await import('/driftline/blobs.js');
    await window.start(schema, space);
    window.blobs = await openBlobs(window.db, { schema, space, url: '' });
    window.db.tables.card.create({ text: space });
  };
  await page.evaluate(start, [schema, space]);
  await untilSynced(page);
}

const put = (page, bytes) =>
  page.evaluate((list) => window.blobs.put(new Blob([Uint8Array.from(list)])), [...bytes]).then(({ hash }) => hash);

const closeBlobs = (page) => page.evaluate(() => window.blobs.close());
const closeAll = async (page) => {
  await closeBlobs(page);
  await page.evaluate(() => window.db.close());
};

/** Calls what the package exports; a refusal is its code. */
const call = (page, name, ...args) =>
  page.evaluate(([name, args]) => window.driftline[name](...args).catch(({ code }) => code), [name, args]);

const list = async (page) =>
  Object.fromEntries((await call(page, 'listSpaces', OWNER)).map((space) => [space.name, space]));

/** How many of each the database of files has of a space. */
const kept = (page, space) =>
  page.evaluate(
    async ([space, names]) => {
      const done = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
      const all = (await indexedDB.databases()).map(({ name }) => name);
      if (!all.includes('driftline/files/anonymous/blobs')) return 'no database';
      const database = await done(indexedDB.open('driftline/files/anonymous/blobs'));
      const stores = names.map((name) => database.transaction(name).objectStore(name).getAllKeys());
      const keys = await Promise.all(stores.map(done));
      database.close();
      return keys.map((some) => some.filter(([of]) => of === space).length);
    },
    [space, NAMES],
  );

/** One space whose file has arrived, and one whose file cannot. */
async function twoSpaces(page) {
  proxy.meddle = undefined;
  await openSpace(page, 'sent');
  const hash = await put(page, randomBytes(BYTES));
  await page.evaluate((hash) => window.blobs.uploaded(hash), hash);
  await closeAll(page);
  proxy.meddle = async ({ method, path }, pass) => {
    if (method !== 'HEAD' || !path.includes('/blobs/')) return await pass();
    return { status: 503, headers: {}, body: '' };
  };
  await openSpace(page, 'waits');
  await put(page, randomBytes(BYTES));
}

test('v7_a_space_whose_files_have_not_arrived_is_listed_so_and_stays', async () => {
  const page = await openTab();
  await twoSpaces(page);
  await closeAll(page);
  const { sent, waits } = await list(page);
  assert.deepEqual([sent.unsynced, waits.unsynced], [0, 1]);
  assert.ok(sent.bytes >= BYTES && waits.bytes >= BYTES, `${sent.bytes} ${waits.bytes}`);
  assert.equal(await call(page, 'deleteSpace', 'waits', OWNER), 'unsynced');
  assert.deepEqual(await call(page, 'evictSpaces', { ...OWNER, keepSpaces: 0 }), ['sent']);
  assert.deepEqual(
    [await kept(page, 'sent'), await kept(page, 'waits')],
    [
      [0, 0, 0],
      [1, 1, 0],
    ],
  );
  assert.equal(await call(page, 'deleteSpace', 'waits', { ...OWNER, discard: true }), undefined);
  assert.deepEqual([await kept(page, 'waits'), await list(page)], [[0, 0, 0], {}]);
  await page.close();
});

test('v7_signing_out_takes_files_along_and_keeps_those_that_have_not_arrived', async () => {
  const page = await openTab();
  await twoSpaces(page);
  await page.evaluate(() => window.db.close());
  assert.equal(await call(page, 'deleteSpace', 'waits', { ...OWNER, discard: true }), 'space_open');
  assert.equal(await call(page, 'signOut', OWNER), 'space_open');
  await closeBlobs(page);
  assert.equal(await call(page, 'signOut', OWNER), 'unsynced');
  assert.deepEqual(await call(page, 'signOut', { ...OWNER, unsynced: 'export' }), { files: [] });
  assert.deepEqual(
    [await kept(page, 'sent'), await kept(page, 'waits')],
    [
      [0, 0, 0],
      [1, 1, 0],
    ],
  );
  await call(page, 'signOut', { ...OWNER, unsynced: 'discard' });
  assert.equal(await kept(page, 'waits'), 'no database');
  await page.close();
});

/** Changes one byte of what the disk has of a file, or removes it all. */
const damage = (page, hash, how) =>
  page.evaluate(
    async ([hash, how]) => {
      const done = (request) =>
        new Promise((resolve) => {
          request.onsuccess = () => resolve(request.result);
        });
      const database = await done(indexedDB.open('driftline/files/anonymous/blobs'));
      const content = database.transaction('content', 'readwrite').objectStore('content');
      const key = (await done(content.getAllKeys())).find(([, of]) => of === hash);
      const bytes = new Uint8Array(await done(content.get(key)));
      bytes[7] ^= 1;
      await done(how === 'remove' ? content.delete(key) : content.put(bytes.buffer, key));
      database.close();
    },
    [hash, how],
  );

const shown = (page, hash) =>
  page.evaluate(async (hash) => {
    const url = await window.blobs.url(hash).catch(({ code }) => code);
    return url.startsWith('blob:') ? [...new Uint8Array(await (await fetch(url)).arrayBuffer())] : url;
  }, hash);

test('v8_what_the_disk_has_damaged_is_told_and_mended_by_putting_or_fetching_it_again', async () => {
  const refuse = async ({ method, path }, pass) =>
    method === 'HEAD' && path.includes('/blobs/') ? { status: 503, headers: {}, body: '' } : await pass();
  for (const how of ['change', 'remove']) {
    const page = await openTab();
    const bytes = randomBytes(BYTES);
    proxy.meddle = refuse;
    await openSpace(page, how);
    const hash = await put(page, bytes);
    await damage(page, hash, how);
    assert.equal(await shown(page, hash), 'blob_lost');
    await put(page, bytes);
    assert.deepEqual(await shown(page, hash), [...bytes], 'put again');
    await closeAll(page);

    proxy.meddle = undefined;
    await openSpace(page, how);
    await page.evaluate((hash) => window.blobs.uploaded(hash), hash);
    await damage(page, hash, how);
    assert.deepEqual(await shown(page, hash), [...bytes], 'fetched again');
    assert.deepEqual(await kept(page, how), [1, 1, 0], 'and kept');
    await page.close();
  }
});
