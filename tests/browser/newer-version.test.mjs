// A page of an older version under a server of a newer one: it says so, and the one button brings the newer page.

import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openBrowser, ROOT, runDriftline, startServer, tempDir, until } from './harness.mjs';
import { untilKeptForOffline } from './page.mjs';

const APP = join(ROOT, 'www');

/** The app's schema of the next version, with a field more, and the migration to it. */
async function nextSchema() {
  const folder = tempDir('next');
  cpSync(join(APP, 'server'), folder, { recursive: true });
  const place = { schema: join(folder, 'schema.json'), migrations: join(folder, 'migrations') };
  const schema = JSON.parse(readFileSync(place.schema, 'utf8'));
  schema.version += 1;
  schema.tables.card.fields.mood = { type: 'text', nullable: true };
  writeFileSync(place.schema, JSON.stringify(schema));
  const args = ['--schema', place.schema, '--migrations', place.migrations, '--data', tempDir('planned')];
  await runDriftline(['migrate', 'plan', ...args, '--name', 'mood']);
  return place;
}

/** Has the service worker's list of files say that the page is another. */
function changePage(site) {
  const shell = readFileSync(join(site, 'index.html'), 'utf8');
  writeFileSync(join(site, 'index.html'), shell.replace('<html lang="en">', '<html lang="en" data-version="2">'));
  const worker = readFileSync(join(site, 'sw.js'), 'utf8');
  const [, before, after] = worker.match(/\{url:"index\.html",revision:"(\w+)"\}|revision:"(\w+)",url:"index\.html"/);
  writeFileSync(join(site, 'sw.js'), worker.replace(before ?? after, '0123456789abcdef0123456789abcdef'));
}

test('l4_a_page_that_the_server_has_left_behind_is_replaced_when_it_is_loaded_again', async () => {
  const site = tempDir('site');
  cpSync(join(APP, 'dist'), site, { recursive: true });
  const place = { schema: join(APP, 'server', 'schema.json'), migrations: join(APP, 'server', 'migrations') };
  const server = await startServer({ ...place, staticDir: site });
  const browser = await openBrowser();
  const page = await browser.context.newPage();
  await page.goto(`${server.url}/?space=newer&debug=1`);
  await untilKeptForOffline(page);
  await server.stop();
  changePage(site);
  const next = await startServer({ ...(await nextSchema()), staticDir: site, data: server.data, port: server.port });
  await page.reload();
  await page.waitForSelector('[data-testid=banner][data-code=schema_newer]');
  const waits = () => page.evaluate(async () => Boolean((await navigator.serviceWorker.getRegistration()).waiting));
  await until('the newer page to wait', waits);
  assert.equal(await page.getAttribute('html', 'data-version'), null);
  await Promise.all([page.waitForEvent('load'), page.click('[data-testid=remedy]')]);
  await page.waitForSelector('html[data-version="2"]');
  await browser.close();
  await next.stop();
});
