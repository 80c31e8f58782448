// `driftline/service-worker` in an app of its own: cold starts, new versions, and what must never come from a cache.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  cpSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { build } from 'esbuild';
import { serveFolder } from '../package/site.mjs';
import { openBrowser, ROOT, startNetwork, startServer, tempDir, until } from './harness.mjs';
import { untilKeptForOffline } from './page.mjs';

const FOLDER = join(ROOT, 'tests', 'schemas', 'canvas');
const DIST = join(ROOT, 'crates', 'driftline-client', 'dist');

/** A section of WebAssembly that only has a name, `a`: a module with it does the same. */
const EMPTY_SECTION = Buffer.from([0, 2, 1, 0x61]);

const schema = readFileSync(join(FOLDER, 'schema.json'), 'utf8');

const main = (version) => `
  import { open } from './driftline/index.js';
  window.version = ${JSON.stringify(version)};
  window.later = () => import('./later-${version}.js');
  window.openSpace = (space) => open({ schema: ${schema}, space, url: '' });
  await navigator.serviceWorker.register('./worker.js');
`;

/**
 * Puts a version of the app into a folder, and takes the one before away; its worker asks for `more` files, too, and for those of
 * `integrity` as they have to be.
 */
async function publish(folder, version, more = [], integrity = {}) {
  rmSync(folder, { recursive: true, force: true });
  cpSync(DIST, join(folder, 'driftline'), { recursive: true });
  writeFileSync(join(folder, 'index.html'), '<!doctype html><script type="module" src="/main.js"></script>');
  writeFileSync(join(folder, 'main.js'), main(version));
  writeFileSync(join(folder, `later-${version}.js`), `export const version = '${version}';`);
  const engine = ['index.js', 'driftline_client.js', 'driftline_client_bg.wasm'].map((name) => `driftline/${name}`);
  const options = { version, files: ['main.js', `later-${version}.js`, ...engine, ...more], integrity };
  await build({
    stdin: {
      contents: `import { precache } from 'driftline/service-worker'; precache(${JSON.stringify(options)});`,
      resolveDir: ROOT,
    },
    outfile: join(folder, 'worker.js'),
    bundle: true,
    logLevel: 'error',
  });
  makeNewer(folder);
}

let age = 0;

/** Browsers and hosts tell versions of a file by the second in which it was changed: another one each time. */
function makeNewer(folder) {
  age += 10;
  const time = Date.now() / 1_000 - 100_000 + age;
  for (const path of readdirSync(folder, { recursive: true })) utimesSync(join(folder, path), time, time);
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
const kept = (page) =>
  page.evaluate(async () => {
    const names = (await caches.keys()).filter((name) => !name.startsWith('driftline/pages/'));
    return names.map((name) => name.split(' ').at(-1));
  });

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

/** Asks for the new version, and waits until its worker is given up. */
const untilRefused = (page) =>
  page.evaluate(async () => {
    const registration = await navigator.serviceWorker.getRegistration();
    const found = new Promise((resolve) => {
      registration.onupdatefound = () => resolve(registration.installing);
    });
    await registration.update();
    // The browser may have looked for itself meanwhile.
    const worker = registration.installing ?? (await found);
    while (worker.state !== 'redundant') {
      if (worker.state === 'activated') throw new Error('the version was taken');
      await new Promise((resolve) => worker.addEventListener('statechange', resolve, { once: true }));
    }
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
  const between = await visit();
  assert.equal(await versionOf(between), 'two');
  await between.close();

  // However many versions later, while the page is open.
  await publish(folder, 'three');
  await update(page);
  await untilTaken(page, 'three');
  assert.deepEqual((await kept(page)).sort(), ['app', 'one', 'three', 'two']);
  assert.equal(await old.evaluate(async () => (await window.later()).version), 'one');
  await old.close();
  await page.goto('about:blank');
  const last = await visit();
  await publish(folder, 'four');
  await update(last);
  await untilTaken(last, 'four');
  await until('the oldest to be gone', async () => !(await kept(last)).includes('one'));
  assert.deepEqual((await kept(last)).sort(), ['app', 'four', 'three']);
  await network.cut(browser.context);
  assert.equal(await versionOf(await visit()), 'four');
  await browser.close();
});

test('l4_a_version_that_cannot_be_had_whole_leaves_the_one_before_at_work', async () => {
  const { folder, network, browser, page, visit } = await openApp();
  await publish(folder, 'two', ['missing.js']);
  await untilRefused(page);
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

test('l4_a_page_that_is_given_in_place_of_a_file_is_not_kept_as_that_file', async () => {
  const folder = join(tempDir('site'), 'app');
  await publish(folder, 'one');
  const { origin } = await serveFolder(folder, {}, 'index.html');
  const browser = await openBrowser();
  const page = await browser.context.newPage();
  await page.goto(origin);
  await untilKeptForOffline(page);
  for (const missing of ['chunk.js', 'style.css', 'engine.wasm']) {
    await publish(folder, 'two', [missing]);
    await untilRefused(page);
    assert.deepEqual(await kept(page), ['one'], missing);
  }
  // A page of the app may be given, whatever its address.
  await publish(folder, 'two', ['board', 'help/']);
  await update(page);
  await untilTaken(page, 'two');
  assert.deepEqual((await kept(page)).sort(), ['one', 'two']);
  await browser.close();
});

test('l4_a_version_of_which_the_host_still_has_old_files_leaves_the_one_before_at_work', async () => {
  const { folder, browser, page, visit } = await openApp();
  const integrity = { 'main.js': `sha256-${createHash('sha256').update(main('two')).digest('base64')}` };
  await publish(folder, 'two', [], integrity);
  writeFileSync(join(folder, 'main.js'), main('one'));
  makeNewer(folder);
  await untilRefused(page);
  assert.deepEqual(await kept(page), ['one']);

  writeFileSync(join(folder, 'main.js'), main('two'));
  makeNewer(folder);
  await update(page);
  await untilTaken(page, 'two');
  assert.equal(await versionOf(await visit()), 'two');
  await browser.close();
});

test('l4_an_open_page_goes_on_with_the_engine_of_its_own_version', async () => {
  const { folder, browser, page, visit } = await openApp();
  const wasm = join('driftline', 'driftline_client_bg.wasm');
  const before = statSync(join(folder, wasm)).size;
  const sizeOf = (of) => of.evaluate(async (url) => (await (await fetch(url)).arrayBuffer()).byteLength, `/${wasm}`);
  const second = await visit();
  await publish(folder, 'two');
  appendFileSync(join(folder, wasm), EMPTY_SECTION);
  makeNewer(folder);
  await update(page);
  await untilTaken(page, 'two');
  const third = await visit();
  const after = before + EMPTY_SECTION.length;
  // The page that was there before any worker, one that the worker has shown, and one of the new version.
  assert.deepEqual([await sizeOf(page), await sizeOf(second), await sizeOf(third)], [before, before, after]);
  assert.deepEqual([await versionOf(page), await versionOf(second), await versionOf(third)], ['one', 'one', 'two']);
  await page.reload();
  await page.waitForFunction(() => window.version === 'two');
  assert.equal(await sizeOf(page), after);
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
    const names = (await caches.keys()).filter((name) => name.startsWith('driftline/files/'));
    const all = names.map(async (name) => (await (await caches.open(name)).keys()).map(({ url }) => url));
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
