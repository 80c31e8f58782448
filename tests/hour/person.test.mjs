// The devices of the hour: what the script believes of their tabs and of what their browsers are told has to be so.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { endAtExit, listen } from '../browser/harness.mjs';
import { Person } from './person.mjs';

/** As much of the app as a person waits for. A service worker brings it without a network. */
const PAGE = `<!doctype html><button data-testid="tab-inspector">Inspector</button>
<button data-testid="online-switch" role="switch" aria-checked="false">Work offline</button>
<div class="inspector-tab"><p class="sentence">Everything is on the server.</p></div>
<script>navigator.serviceWorker.register('/sw.js'); window.driftline = { loaded: Promise.resolve() };</script>`;
const WORKER = `const page = ${JSON.stringify(PAGE)};
const answer = () => new Response(page, { headers: { 'Content-Type': 'text/html' } });
addEventListener('activate', (event) => event.waitUntil(clients.claim()));
addEventListener('fetch', (event) => event.request.mode === 'navigate' && event.respondWith(answer()));`;

async function openPerson() {
  const site = createServer((request, response) => {
    const [type, text] = request.url === '/sw.js' ? ['text/javascript', WORKER] : ['text/html', PAGE];
    response.writeHead(200, { 'Content-Type': type }).end(text);
  });
  endAtExit(() => {
    site.close();
    site.closeAllConnections();
  });
  await listen(site, 0);
  return await Person.open({ name: 'ann', space: 'test', serverPort: site.address().port, seed: 1 });
}

const isOnline = (page) => page.evaluate(() => navigator.onLine);
const appsOf = ({ browser, near }) => browser.context.pages().filter((page) => page.url().startsWith(near.url));

test('the second tab is one as long as it is open, and is gone when the script says so', async () => {
  const ann = await openPerson();
  await ann.openTab();
  assert.ok(ann.truth.was('tabs'));
  assert.deepEqual(appsOf(ann), ann.tabs);
  assert.equal(ann.tabs.length, 2);

  await ann.closeSecondTab();
  assert.equal(ann.truth.lasts('tabs'), 0);
  assert.deepEqual(appsOf(ann), ann.tabs);
  assert.equal(ann.tabs.length, 1);

  await ann.openTab();
  await ann.killTabs(0);
  assert.equal(ann.truth.lasts('tabs'), 0);
  assert.deepEqual(appsOf(ann), ann.tabs);
  assert.equal(ann.tabs.length, 1);
  await ann.browser.close();
});

test('a page that nobody knows of is found: it would send, and the others would say so', async () => {
  const ann = await openPerson();
  const page = await ann.browser.context.newPage();
  await page.goto(ann.near.url);
  await assert.rejects(ann.closeSecondTab(), /ann has 1 pages open that the script does not know/);
  await ann.browser.close();
});

test('a page that is being opened as the network comes back is told so, and so is a browser that is being killed', async () => {
  const ann = await openPerson();
  // At some moments of its opening a page would miss it, and be told that there is no network for as long as it is open.
  for (let waitMs = 0; waitMs <= 80; waitMs += 10) {
    await ann.tellOffline(true);
    const opening = ann.openTab();
    await sleep(waitMs);
    await Promise.all([opening, ann.tellOffline(false)]);
    assert.deepEqual(await Promise.all(ann.tabs.map(isOnline)), [true, true], `after ${waitMs} ms`);
    await ann.closeSecondTab();
  }

  ann.truth.begin('told');
  await ann.tellOffline(true);
  const killing = ann.killBrowser(0);
  const telling = ann.tellOffline(false);
  await Promise.all([killing, telling]);
  ann.truth.end('told');
  assert.deepEqual(await Promise.all(ann.tabs.map(isOnline)), [true]);
  await ann.browser.close();
});
