// The app that each bundler is given: it opens a space, makes a card, and shows each promise as it resolves.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { openBrowser, ROOT, runDriftline, startServer, tempDir } from '../browser/harness.mjs';

const SCHEMA = join(ROOT, 'tests', 'package', 'notes', 'schema.json');
const SHOWN = ['saved', 'accepted'];

let opening;

/** The sync server for the apps, with a new database. Pages of `origin` may ask it. */
export async function startNotesServer(origin) {
  const [migrations, planned] = [tempDir('migrations'), tempDir('planned')];
  await runDriftline(['migrate', 'plan', '--schema', SCHEMA, '--migrations', migrations, '--data', planned]);
  return startServer({ schema: SCHEMA, migrations, args: ['--origin', origin] });
}

/** A page of this process's one browser, which tells what went wrong in it. */
export async function openPage() {
  opening ??= openBrowser();
  const { context } = await opening;
  const page = await context.newPage();
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(`${error}`));
  page.on('console', (message) => message.type() === 'error' && wrong.push(message.text()));
  page.on('requestfailed', (request) => wrong.push(`${request.url()} ${request.failure()?.errorText}`));
  page.on('response', (response) => response.status() >= 400 && wrong.push(`${response.url()} ${response.status()}`));
  return { page, wrong };
}

/**
 * Opens an app's page and holds it to what it is there for: the card is on this device, then on the server, once. `act` does what
 * a page waits for that makes no card by itself.
 */
export async function assertMakesACard({ app, origin, act = async () => {} }) {
  const server = await startNotesServer(origin);
  const { page, wrong } = await openPage();
  await page.goto(`${origin}/?server=${encodeURIComponent(server.url)}`);
  await act(page);
  const isDone = (last) => document.querySelector('#steps')?.lastElementChild?.textContent === last;
  await page
    .waitForFunction(isDone, SHOWN.at(-1))
    .catch((error) => assert.fail(`${error.message}: ${wrong.join('\n')}`));

  assert.deepEqual(await page.locator('#steps li').allTextContents(), SHOWN);
  assert.deepEqual(wrong, []);
  assert.deepEqual(await server.query('SELECT text FROM card'), [{ text: `Hello from ${app}` }]);
  await page.close();
  await server.stop();
}
