// The built npm package on a bare page, under whatever schema a test wants.
//
//   const server = await startServer({ schema, migrations, staticDir: makeSite() });
//   const page = await browser.context.newPage();
//   await openSite(page, network.url);
//   await page.evaluate(([schema, space]) => window.start(schema, space), [schemaJson, 'a-space']);
//   await page.evaluate(() => window.db.tables.card.create({ text: 'Hello' }).saved);

import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, tempDir, until } from './harness.mjs';

const PAGE = join(ROOT, 'tests', 'browser', 'page');
const PACKAGE = join(ROOT, 'crates', 'driftline-client', 'dist');

/** A folder for `--static`: the page, and a copy of the built package. */
export function makeSite() {
  const folder = tempDir('site');
  cpSync(PAGE, folder, { recursive: true });
  cpSync(PACKAGE, join(folder, 'driftline'), { recursive: true });
  return folder;
}

/** Loads the page. */
export async function openSite(page, url) {
  await page.goto(url);
  await page.waitForFunction(() => window.isReady);
}

/** Waits until everything that this page knows of is on the server. */
export async function untilSynced(page, { timeoutMs = 60_000 } = {}) {
  let line;
  const isSynced = async () => {
    const now = await page.evaluate(() => {
      const { state, queued, in_flight, parked, line, reason } = window.db.status;
      return { state, waiting: queued + in_flight + parked, outbox: window.db.outbox().length, line, reason };
    });
    line = `${now.state} ${now.line} ${now.reason ?? ''}`;
    return now.state === 'saved' && now.waiting === 0 && now.outbox === 0;
  };
  await until('everything to be on the server', isSynced, { timeoutMs }).catch((error) =>
    assert.fail(`${error.message}; the status is ${line}`),
  );
}

/**
 * Waits until the page's service worker has what a start without a network needs: it is the active one once its installation is over.
 * Not until its state says so, which WebKit at times goes on calling `installing`.
 */
export async function untilKeptForOffline(page) {
  const isKept = () => page.evaluate(async () => Boolean((await navigator.serviceWorker.getRegistration())?.active));
  await until('the service worker', isKept);
}
