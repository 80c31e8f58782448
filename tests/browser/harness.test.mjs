// The tests lean on what is done here to browsers and networks, so that is tested first, without the sync server.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { openBrowser, startNetwork, until } from './harness.mjs';

const PAGE = '<!doctype html><title>harness</title>';

async function servePage() {
  const server = createServer((_request, response) => response.setHeader('content-type', 'text/html').end(PAGE));
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  server.unref();
  return server.address().port;
}

async function reaches(page) {
  return await page.evaluate(() =>
    fetch('/', { cache: 'no-store', signal: AbortSignal.timeout(1500) }).then(
      (response) => response.ok,
      () => false,
    ),
  );
}

test('a cut or stalled network lets nothing pass, and a restored one does', async () => {
  const network = await startNetwork(await servePage());
  const browser = await openBrowser();
  const page = await browser.context.newPage();
  await page.goto(network.url);
  assert.equal(await reaches(page), true);

  await network.cut(browser.context);
  assert.equal(await reaches(page), false);
  assert.equal(await page.evaluate(() => navigator.onLine), false);
  await network.restore(browser.context);
  assert.equal(await reaches(page), true);
  assert.equal(await page.evaluate(() => navigator.onLine), true);

  network.stall();
  assert.equal(await reaches(page), false);
  await network.restore();
  assert.equal(await reaches(page), true);
  await browser.close();
});

test('a killed browser leaves no process, and reopens with what was on its disk', async () => {
  const network = await startNetwork(await servePage());
  const browser = await openBrowser();
  for (let round = 0; round < 3; round += 1) {
    const page = await browser.context.newPage();
    await page.goto(network.url);
    assert.equal(await page.evaluate(countInIndexedDb), round);
    const { pid } = browser;
    await browser.kill();
    await until('the process group to be gone', () => isGone(-pid));
    await browser.reopen();
    assert.notEqual(browser.pid, pid);
  }
  await browser.close();
});

function isGone(pid) {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return error.code === 'ESRCH';
  }
}

// Runs in the page: returns the number kept on disk, and keeps one more, strictly, before it returns.
async function countInIndexedDb() {
  const request = indexedDB.open('harness', 1);
  const opened = new Promise((done, failed) => {
    request.onupgradeneeded = () => request.result.createObjectStore('numbers');
    request.onsuccess = done;
    request.onerror = failed;
  });
  await opened;
  const transaction = request.result.transaction('numbers', 'readwrite', { durability: 'strict' });
  const store = transaction.objectStore('numbers');
  const get = store.get('count');
  get.onsuccess = () => store.put((get.result ?? 0) + 1, 'count');
  await new Promise((done, failed) => {
    transaction.oncomplete = done;
    transaction.onabort = failed;
  });
  return get.result ?? 0;
}
