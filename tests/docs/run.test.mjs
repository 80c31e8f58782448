// The TypeScript on the pages is run: what opens a space in a real browser against the real server, and what is for Node in Node.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { openBrowser, ROOT, runDriftline, startServer, tempDir, until } from '../browser/harness.mjs';
import { untilKeptForOffline } from '../browser/page.mjs';
import { blocksOf, modulesOf, readPages, sourceOf } from './blocks.mjs';
import { bundle, migrationsOf, schemasOf } from './schemas.mjs';

const WASM = join(ROOT, 'crates/driftline-client/dist/driftline_client_bg.wasm');
/** Where the pages say that the server is. */
const SAID = 'http://127.0.0.1:4077';

/** With the policy that docs/guide/deploying.md names. */
const PAGE = `<!doctype html>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'">
<div id="root"></div>
<script type="module" src="main.js"></script>`;

const blocks = (await readPages()).flatMap(blocksOf);
const modules = [...modulesOf(blocks, 'ts'), ...modulesOf(blocks, 'tsx')];
const forBrowser = modules.filter((module) => sourceOf(module).includes(SAID));
const called = (name) => modules.find((module) => module.name === name);

test('p3_what_the_pages_do_in_a_browser_works', async (t) => {
  assert.deepEqual(
    new Set(forBrowser.map(({ page }) => basename(page))),
    new Set([
      ...['README.md', 'authentication.md', 'devices.md', 'files.md', 'inspector.md', 'ordering.md', 'presence.md'],
      ...['react.md', 'refusals.md', 'schema.md'],
    ]),
  );
  const browser = await openBrowser();
  for (const module of forBrowser) {
    await t.test(`${module.page}:${module.line}`, async () => {
      const { errors, said } = await runInBrowser(browser, module);
      assert.deepEqual(errors, []);
      assert.deepEqual(
        promised(module).filter((values) => !said.includes(values)),
        [],
        said.join('\n'),
      );
    });
  }
});

test('p3_a_block_that_throws_is_noticed', async () => {
  const browser = await openBrowser();
  const [module] = forBrowser;
  const code = "\nawait db.tables.card.create({ text: 'x'.repeat(70_000) }).saved;";
  const broken = { ...module, blocks: [{ ...module.blocks[0], code: module.blocks[0].code + code }] };
  const { errors } = await runInBrowser(browser, broken);
  assert.match(errors[0], /DriftlineError/);
});

/** What comments say that a line logs, where they give nothing but values: `console.log(sum); // 3`. As JSON. */
function promised(module) {
  const comments = [...sourceOf(module).matchAll(/console\.log\(.*\); \/\/ ([^:\n]+)/g)].map(([, values]) => values);
  return comments.flatMap((values) => {
    try {
      return [JSON.stringify(JSON.parse(`[${values.replaceAll("'", '"')}]`))];
    } catch {
      return [];
    }
  });
}

test('p3_what_a_comment_promises_is_read', () => {
  assert.deepEqual(forBrowser.flatMap(promised).sort(), [
    ...[
      '[0,0]',
      '[0,1]',
      '[0]',
      '[0]',
      '[1]',
      '[2,["urgent"],1]',
      '[2000000,"image/png"]',
      '[3]',
      '[true,1]',
      '[true]',
    ],
  ]);
});

test('p3_the_page_on_react_shows_what_it_says', async () => {
  const browser = await openBrowser();
  const module = forBrowser.find(({ page }) => page.endsWith('react.md'));
  const { errors } = await runInBrowser(browser, module, async (page) => {
    await page.getByRole('button', { name: 'Add a card' }).click();
    const text = page.getByLabel('Text');
    await text.focus();
    await text.press('Home');
    await text.pressSequentially('Brand ');
    assert.equal(await text.inputValue(), 'Brand New');
    await page.locator('output', { hasText: /^saved$/ }).waitFor();
    await page.getByText('Nobody else').waitFor();
    await page.getByLabel('Done', { exact: true }).click();
    await text.waitFor({ state: 'detached' });
    await page.getByLabel('Also what is done').click();
    assert.equal(await text.inputValue(), 'Brand New');
  });
  assert.deepEqual(errors, []);
});

test('p3_the_worker_that_the_page_builds_keeps_what_a_start_needs', async () => {
  const folder = tempDir('offline');
  for (const { name, code } of blocks.filter(({ page, name }) => page.endsWith('offline.md') && name)) {
    writeFileSync(join(folder, name), code);
  }
  mkdirSync(join(folder, 'public'));
  writeFileSync(join(folder, 'public', 'index.html'), '<!doctype html><script type="module" src="main.js"></script>');
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  await promisify(execFile)('node', ['build.mjs'], { cwd: folder });

  const { url } = await startServer({ ...(await migrationsOf(await schemaOf())), staticDir: join(folder, 'public') });
  const browser = await openBrowser();
  const page = await browser.context.newPage();
  await page.goto(url);
  await untilKeptForOffline(page);
  const kept = await page.evaluate(async () => {
    const cache = await caches.open((await caches.keys())[0]);
    return (await cache.keys()).map((request) => new URL(request.url).pathname);
  });
  assert.deepEqual(kept.sort(), ['/', '/driftline_client_bg.wasm', '/index.html', '/main.js']);
});

/** The schema of some page, where any will do. */
const schemaOf = async () => (await schemasOf(forBrowser[0]))[0];

/**
 * Runs a module in a page of its own, from the server that its schema makes, and then what `act` does there. Returns what it threw and logged.
 */
async function runInBrowser(browser, module, act = async () => {}) {
  const [schema] = await schemasOf(module);
  const { schema: file, migrations, data } = await migrationsOf(schema);
  const staticDir = tempDir('page');
  const source = sourceOf(module).replaceAll(SAID, '');
  await bundle(`${source}\nglobalThis.isDone = true;`, { outfile: join(staticDir, 'main.js') }, module.language);
  copyFileSync(WASM, join(staticDir, basename(WASM)));
  writeFileSync(join(staticDir, 'index.html'), PAGE);

  const server = await startServer({ schema: file, migrations, data, staticDir });
  const page = await browser.context.newPage();
  const [errors, logged] = [[], []];
  page.on('pageerror', (error) => errors.push(`${error}`));
  const hear = (message) => logged.push(Promise.all(message.args().map((value) => value.jsonValue())));
  page.on('console', hear);
  await page.goto(server.url);
  await until('the block to end', async () => errors.length > 0 || (await page.evaluate(() => globalThis.isDone)));
  if (errors.length === 0) await act(page);
  // What is said from now on nobody could ask the closed page about.
  page.off('console', hear);
  const said = (await Promise.all(logged)).map((values) => JSON.stringify(values));
  await page.close();
  await server.stop();
  return { errors, said };
}

test('p3_a_token_made_as_the_page_says_is_taken', async () => {
  const outfile = join(tempDir('token'), 'token.mjs');
  await bundle(sourceOf(called('token.ts')), { outfile, platform: 'node' });
  const { tokenFor } = await import(outfile);

  const secret = join(tempDir('secret'), 'secret');
  await runDriftline(['token', '--secret-file', secret, '--sub', 'operator']);
  const server = await startServer({ ...(await migrationsOf(await schemaOf())), args: ['--secret-file', secret] });
  const ask = async (space, token) => {
    const headers = { authorization: `Bearer ${token}` };
    const response = await fetch(`${server.url}/v1/spaces/${space}/access`, { headers });
    const { user, role, code } = await response.json();
    return { user, role, code };
  };
  const token = tokenFor('ada', ['plan'], 'read', secret);
  assert.deepEqual(await ask('plan', token), { user: 'ada', role: 'read', code: undefined });
  assert.equal((await ask('another', token)).code, 'forbidden');
  assert.equal((await ask('plan', `${token}x`)).code, 'unauthenticated');
});
