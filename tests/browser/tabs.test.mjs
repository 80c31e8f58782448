// Tabs of one user: who sends, and who takes over when the sending tab hangs.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openBrowser, ROOT, startServer, until } from './harness.mjs';
import { assertKeys, assertSound } from './ledger.mjs';
import { readLog } from './log.mjs';
import { makeSite, openSite, untilSynced } from './page.mjs';

const SERVER = join(ROOT, 'www', 'server');
const SCHEMA = join(SERVER, 'schema.json');
const schema = JSON.parse(readFileSync(SCHEMA, 'utf8'));
const SPACE = 'tabs';
/** Longer than it takes the others to lose patience. */
const HANG_MS = 25_000;

const make = (page, text) =>
  page.evaluate(async (text) => {
    const change = window.db.tables.card.create({ text });
    await change.saved;
    return change.key;
  }, text);

/** Keeps a page's thread busy: it hears and does nothing. Resolves when that is over. */
const hang = (page, ms) =>
  page.evaluate((ms) => {
    const end = Date.now() + ms;
    while (Date.now() < end);
  }, ms);

test('l1_a_sending_tab_that_hangs_is_replaced_and_changes_nothing_when_it_goes_on', async () => {
  const server = await startServer({ schema: SCHEMA, migrations: join(SERVER, 'migrations'), staticDir: makeSite() });
  const browser = await openBrowser();
  const open = async () => {
    const page = await browser.context.newPage();
    await openSite(page, server.url);
    await page.evaluate(([schema, space]) => window.start(schema, space), [schema, SPACE]);
    return page;
  };
  const sends = (page) => page.evaluate(() => window.db.status.sender);
  const first = await open();
  await until('the first tab to send', () => sends(first));
  const second = await open();
  const keys = [await make(first, 'by the first'), await make(second, 'by the second')];
  for (const page of [first, second]) await untilSynced(page);

  const goesOn = hang(first, HANG_MS);
  keys.push(await make(second, 'while the first hangs'));
  const status = () => second.evaluate(() => `${window.db.status.state} ${window.db.status.reason}`);
  await until(
    'the second to say that it is not being saved',
    async () => (await status()) === 'not_saving sender_silent',
  );
  await until('the second to send', () => sends(second), { timeoutMs: 60_000 });
  await untilSynced(second);
  assertKeys(await readLog(server, SPACE), keys);

  await goesOn;
  keys.push(await make(first, 'when the first goes on'));
  await until('the first to know that it sends no more', async () => !(await sends(first)));
  for (const page of [first, second]) await untilSynced(page);
  assert.ok(await sends(second));
  const log = await readLog(server, SPACE);
  assertKeys(log, keys);
  await assertSound(server, schema, log);

  // A killed one is replaced as well, without anybody having to wait.
  await second.close({ runBeforeUnload: false });
  keys.push(await make(first, 'after the second is gone'));
  await until('the first to send again', () => sends(first));
  await untilSynced(first);
  assertKeys(await readLog(server, SPACE), keys);
  await browser.close();
  await server.stop();
});
