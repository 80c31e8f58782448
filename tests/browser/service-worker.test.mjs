// `driftline/service-worker` in an app of its own: cold starts, new versions, and what must never come from a cache.

import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { build } from 'esbuild';
import { openBrowser, ROOT, startNetwork, startServer, tempDir, until } from './harness.mjs';
import { untilKeptForOffline } from './page.mjs';

const FOLDER = join(ROOT, 'tests', 'schemas', 'canvas');
const DIST = join(ROOT, 'crates', 'driftline-client', 'dist');

const schema = readFileSync(join(FOLDER, 'schema.json'), 'utf8');

const main = (version) => `
  import { open } from './driftline/index.js';
  window.version = ${JSON.stringify(version)};
  window.later = () => import('./later-${version}.js');
  window.openSpace = (space) => open({ schema: ${schema}, space, url: '' });
  await navigator.serviceWorker.register('./worker.js');
`;

/** Puts a version of the app into a folder, and takes the one before away; its worker asks for `more` files, too. */
async function publish(folder, version, more = []) {
  rmSync(folder, { recursive: true, force: true });
  cpSync(DIST, join(folder, 'driftline'), { recursive: true });
  writeFileSync(join(folder, 'index.html'), '<!doctype html><script type="module" src="/main.js"></script>');
  writeFileSync(join(folder, 'main.js'), main(version));
  writeFileSync(join(folder, `later-${version}.js`), `export const version = '${version}';`);
  const engine = ['index.js', 'driftline_client.js', 'driftline_client_bg.wasm'].map((name) => `driftline/${name}`);
  const options = { version, files: ['main.js', `later-${version}.js`, ...engine, ...more] };
  await build({
    stdin: {
      contents: `import { precache } from 'driftline/service-worker'; precache(${JSON.stringify(options)});`,
      resolveDir: ROOT,
    },
    outfile: join(folder, 'worker.js'),
    bundle: true,
    logLevel: 'error',
  });
}

async function openApp() {
  const folder = join(tempDir('site'), 'app');
  await publish(folder, 'one');
  const files = { schema: join(FOLDER, 'schema.json'), migrations: join(FOLDER, 'migrations') };
  const server = await startServer({ ...files, staticDir: folder });
  const network = await startNetwork(server.port);
  const browser = await openBrowser();
  const visit = async (path = '/') => {
    const page = await browser.context.newPage();
    await page.goto(network.url + path);
    await page.waitForFunction(() => window.openSpace && window.version);
    return page;
  };
  const page = await visit();
  await untilKeptForOffline(page);
  return { folder, server, network, browser, page, visit };
}

const versionOf = (page) => page.evaluate(() => window.version);

/** The versions that are kept, oldest first, and caches that are not the worker's. */
const kept = (page) => page.evaluate(async () => (await caches.keys()).map((name) => name.split(' ').at(-1)));

const update = (page) =>
  page.evaluate(async () => void (await (await navigator.serviceWorker.getRegistration()).update().catch(() => {})));

const untilTaken = (page, version) =>
  until(`version ${version} to take over`, async () => {
    const names = await kept(page);
    const isActive = await page.evaluate(async () => {
      const { active, installing, waiting } = await navigator.serviceWorker.getRegistration();
      return !installing && !waiting && active.state === 'activated';
    });
    return isActive && names.includes(version);
  });

test('l4_an_app_starts_cold_without_a_network_and_shows_its_rows', async () => {
  const { network, browser, page, visit } = await openApp();
  await page.evaluate(async () => {
    const db = await window.openSpace('a-space');
    await db.tables.card.create({ name: 'kept' }).saved;
  });
  await network.cut(browser.context);
  await browser.kill();
  await browser.reopen();
  for (const path of ['/', '/?space=a-space', '/some/other/page']) {
    const again = await visit(path);
    const names = await again.evaluate(async () => {
      const db = await window.openSpace('a-space');
      await db.loaded;
      return db.tables.card.query().map(({ name }) => name);
    });
    assert.deepEqual(names, ['kept'], path);
    await again.close();
  }
  await browser.close();
});

test('l4_a_new_version_takes_over_when_it_is_whole_and_old_ones_go', async () => {
  const { folder, network, browser, page, visit } = await openApp();
  await page.evaluate(() => caches.open('of the app'));
  await publish(folder, 'two');
  const old = await visit();
  assert.equal(await versionOf(old), 'one', 'what is kept is shown at once');
  await update(page);
  await untilTaken(page, 'two');
  assert.deepEqual((await kept(page)).sort(), ['app', 'one', 'two']);
  // A page of the version before still finds what it loads later, though the server has it no more.
  assert.equal(await old.evaluate(async () => (await window.later()).version), 'one');
  assert.equal(await versionOf(await visit()), 'two');

  await publish(folder, 'three');
  await update(page);
  await untilTaken(page, 'three');
  await until('the oldest to be gone', async () => !(await kept(page)).includes('one'));
  assert.deepEqual((await kept(page)).sort(), ['app', 'three', 'two']);
  await network.cut(browser.context);
  assert.equal(await versionOf(await visit()), 'three');
  await browser.close();
});

test('l4_a_version_that_cannot_be_had_whole_leaves_the_one_before_at_work', async () => {
  const { folder, network, browser, page, visit } = await openApp();
  await publish(folder, 'two', ['missing.js']);
  const failed = page.evaluate(async () => {
    const registration = await navigator.serviceWorker.getRegistration();
    const found = new Promise((resolve) => {
      registration.onupdatefound = () => resolve(registration.installing);
    });
    await registration.update();
    const worker = await found;
    if (worker.state !== 'redundant') await new Promise((resolve) => worker.addEventListener('statechange', resolve));
    return worker.state;
  });
  assert.equal(await failed, 'redundant');
  assert.deepEqual(await kept(page), ['one']);
  await network.cut(browser.context);
  const again = await visit();
  assert.equal(await versionOf(again), 'one');
  assert.equal(await again.evaluate(async () => (await window.later()).version), 'one');

  // Once it is whole it takes over.
  await network.restore(browser.context);
  await publish(folder, 'two');
  await update(again);
  await untilTaken(again, 'two');
  assert.equal(await versionOf(await visit()), 'two');
  await browser.close();
});

test('l4_the_api_is_never_answered_from_a_cache_nor_put_into_one', async () => {
  const { folder, server, network, browser, page } = await openApp();
  await page.reload();
  await page.waitForFunction(() => window.openSpace && navigator.serviceWorker.controller);
  await page.evaluate(async () => {
    const db = await window.openSpace('a-space');
    await db.tables.card.create({ name: 'sent' }).accepted;
  });
  assert.deepEqual(await server.query('SELECT name FROM card'), [{ name: 'sent' }]);
  const addresses = await page.evaluate(async () => {
    const all = (await caches.keys()).map(async (name) =>
      (await (await caches.open(name)).keys()).map(({ url }) => url),
    );
    return (await Promise.all(all)).flat();
  });
  const engine = ['index.js', 'driftline_client.js', 'driftline_client_bg.wasm'].map((name) => `/driftline/${name}`);
  assert.deepEqual(
    addresses.map((url) => new URL(url).pathname).sort(),
    ['/', '/main.js', '/later-one.js', ...engine].sort(),
  );
  const access = () =>
    page.evaluate(() =>
      fetch('/v1/spaces/a-space/access').then(
        async (response) => (await response.json()).role,
        () => 'no answer',
      ),
    );
  // Even where somebody else has put it into a cache of ours.
  await page.evaluate(async () => {
    const [name] = await caches.keys();
    await (await caches.open(name)).put('/v1/spaces/a-space/access', new Response('{"role": "planted"}'));
  });
  assert.equal(await access(), 'write');
  await network.cut(browser.context);
  assert.equal(await access(), 'no answer');
  await network.restore(browser.context);

  await publish(folder, 'two', ['/v1/spaces/a-space/snapshot']);
  const refused = await page.evaluate(() =>
    navigator.serviceWorker.register('./worker.js?again').then(
      () => 'taken',
      (error) => error.name,
    ),
  );
  assert.equal(refused, 'TypeError');
  await browser.close();
});
