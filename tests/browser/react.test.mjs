// `useOpen` on a page of its own, in React's development build: StrictMode there runs each effect twice.

import assert from 'node:assert/strict';
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { build } from 'esbuild';
import { openBrowser, ROOT, runDriftline, startServer, tempDir, until } from './harness.mjs';
import { logCount } from './log.mjs';

const DIST = join(ROOT, 'crates', 'driftline-client', 'dist');

const schema = { name: 'notes', version: 1, tables: { card: { fields: { text: { type: 'text', default: '' } } } } };

const PAGE = `
  import { createElement as h, StrictMode } from 'react';
  import { createRoot } from 'react-dom/client';
  import { useOpen, useQuery, useRow } from 'driftline/react';

  const schema = ${JSON.stringify(schema)};
  const root = createRoot(document.getElementById('root'));
  window.shown = [];
  window.spaces = new Set();

  function App({ options }) {
    const { db, error } = useOpen({ schema, url: '', ...options });
    const texts = useQuery(db, 'card').map((row) => row.text);
    window.db = db;
    window.spaces.add(db);
    window.shown.push([options.space, db !== undefined, ...texts].join(' '));
    return h('p', null, error ? error.code : [db ? 'open' : 'closed', ...texts].join(' '));
  }
  function Typing({ id }) {
    const { db } = useOpen({ schema, space: 'typing', url: '' });
    const row = useRow(db, 'card', id);
    const [first] = useQuery(db, 'card', (card) => card.id === id, [id]);
    window.db = db;
    const input = (name, value) =>
      h('input', { id: name, value: value ?? '', onChange: ({ target }) => db.tables.card.update(id, { text: target.value }) });
    return h('p', null, db ? 'open' : 'closed', input('row', row?.text), input('query', first?.text));
  }
  window.type = (id) => root.render(h(StrictMode, null, h(Typing, { id })));
  window.show = (options) => root.render(options ? h(StrictMode, null, h(App, { options })) : null);
`;

async function openPage() {
  const site = tempDir('site');
  const files = tempDir('schema');
  writeFileSync(join(files, 'schema.json'), JSON.stringify(schema));
  writeFileSync(
    join(site, 'index.html'),
    '<!doctype html><link rel="icon" href="data:,"><div id="root"></div><script type="module" src="main.js"></script>',
  );
  await build({
    stdin: { contents: PAGE, resolveDir: ROOT },
    outfile: join(site, 'main.js'),
    bundle: true,
    format: 'esm',
    define: { 'process.env.NODE_ENV': '"development"' },
    logLevel: 'error',
  });
  cpSync(join(DIST, 'driftline_client_bg.wasm'), join(site, 'driftline_client_bg.wasm'));
  const place = { schema: join(files, 'schema.json'), migrations: join(files, 'migrations') };
  await runDriftline(['migrate', 'plan', '--schema', place.schema, '--migrations', place.migrations, '--data', files]);
  const server = await startServer({ ...place, staticDir: site });
  const browser = await openBrowser();
  const page = await browser.context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  await page.goto(server.url);
  await page.waitForFunction(() => window.show);
  return {
    server,
    browser,
    page,
    errors,
    show: (options) => page.evaluate((options) => window.show(options), options),
    untilText: (text) => page.locator('p', { hasText: new RegExp(`^${text}$`) }).waitFor(),
    /** How many Web Locks name a space: each open one holds some. */
    locksOf: (space) =>
      page.evaluate(async (space) => {
        const { held } = await navigator.locks.query();
        return held.filter(({ name }) => name.split(/[^a-z-]/).includes(space)).length;
      }, space),
  };
}

test('p1_a_space_is_open_as_long_as_its_component_is_and_once_in_strict_mode', async () => {
  const { server, browser, page, errors, show, untilText, locksOf } = await openPage();
  await show({ space: 'first' });
  await untilText('open');
  await page.evaluate(() => window.db.tables.card.create({ text: 'one' }).accepted);
  await untilText('open one');
  assert.equal(
    await page.evaluate(() => window.spaces.size),
    2,
    'none, and one: what StrictMode has opened and closed is not shown',
  );
  assert.equal(await logCount(server, 'first'), 1);

  await show({ space: 'second' });
  await untilText('open');
  await until('the first space to be let go', async () => (await locksOf('first')) === 0);
  assert.notEqual(await locksOf('second'), 0);
  await page.evaluate(() => window.db.tables.card.create({ text: 'two' }).accepted);
  const shown = await page.evaluate(() => window.shown);
  assert.deepEqual(
    shown.filter((line) => line.startsWith('second true one')),
    [],
    'rows of one space are never shown as those of another',
  );

  await show({ space: 'first' });
  await untilText('open one');
  await show({ space: 'not a name' });
  await untilText('invalid');
  await show(null);
  for (const space of ['first', 'second'])
    await until(`${space} to be let go`, async () => (await locksOf(space)) === 0);
  assert.deepEqual(errors, []);
  await browser.close();
});

test('p1_an_input_that_shows_a_row_keeps_its_cursor', async () => {
  const { browser, page, errors, untilText, server } = await openPage();
  const id = '01900000-0000-7000-8000-000000000001';
  await page.evaluate((id) => window.type(id), id);
  await untilText('open');
  await page.evaluate((id) => window.db.tables.card.create({ id, text: 'ab' }).accepted, id);
  let text = 'ab';
  for (const name of ['row', 'query']) {
    const input = page.locator(`#${name}`);
    await input.focus();
    await input.evaluate((input) => input.setSelectionRange(1, 1));
    await page.keyboard.type('12345');
    text = `${text[0]}12345${text.slice(1)}`;
    assert.equal(await input.inputValue(), text);
    assert.equal(await input.evaluate((input) => input.selectionStart), 6);
    await page.keyboard.press('Delete');
    text = text.slice(0, 6) + text.slice(7);
    assert.equal(await input.inputValue(), text);
  }
  await page.evaluate(() => window.db.accepted());
  assert.deepEqual(await server.query('SELECT text FROM card'), [{ text }]);
  assert.deepEqual(errors, []);
  await browser.close();
});
