// The end of the hour: the network is back, all settles, what is held back is decided by the person; then everything is compared.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../browser/harness.mjs';
import { assertSound } from '../browser/ledger.mjs';
import { readLog, serverDigest } from '../browser/log.mjs';
import { readRows } from './canvas.mjs';
import { rawIn } from './claims.mjs';

const SETTLE_MS = 120_000;
export const TABLES = ['card', 'box', 'connection', 'connection_type'];
/** Of the others' pointers and frames: they are of the moment. */
/** Others' pointers, and the kind of connection that a hand would draw, are of one screen alone. */
const WITHOUT_PEOPLE = '.people-overlay, [aria-label=Tools] [data-testid=connection-type] { visibility: hidden }';

/** Everything is brought back, and each person gives up what is held back once it has said why. Returns how many there were. */
export async function settle(people, ledger) {
  let parked = 0;
  for (const person of people) {
    await person.closeSecondTab();
    await person.untilSettled({ timeoutMs: SETTLE_MS });
    parked += await giveUpParked(person, ledger);
  }
  for (const person of people) await person.untilSettled({ timeoutMs: SETTLE_MS });
  return parked;
}

async function giveUpParked({ name, tabs: [page] }, ledger) {
  const held = page.locator('[data-testid=parked-entry]');
  await page.click('[data-testid=tab-sync]');
  let parked = 0;
  for (;;) {
    const entries = await page.evaluate(() => window.driftline.outbox());
    const [entry] = entries.filter(({ state }) => state === 'parked');
    if (!entry) break;
    const shown = held.and(page.locator(`[data-key="${entry.key}"]`));
    const reason = await shown.locator('.problem').textContent();
    assert.ok(reason.length > 20 && rawIn(reason) === undefined, `${entry.key} is held back for “${reason}”`);
    const gone = new Set([entry.key, ...(entry.dependents ?? [])]);
    ledger.givenUp(
      name,
      entries.filter(({ key }) => gone.has(key)).flatMap(({ edits }) => edits),
    );
    await shown.locator('[data-testid=discard]').click();
    await page.click('[data-testid=ask-yes]');
    try {
      await shown.waitFor({ state: 'detached' });
    } catch {
      throw new Error(`${entry.key} was given up and stays: ${await page.evaluate(howItStands)}`);
    }
    parked += gone.size;
  }
  await page.click('[data-testid=tab-inspector]');
  return parked;
}

/** In the page. */
function howItStands() {
  const { driftline: db } = window;
  const shown = [...document.querySelectorAll('[data-testid=ask], [data-testid=notice]')].map((one) => one.textContent);
  return JSON.stringify({ status: db.status, outbox: db.outbox(), shown });
}

/** Fails unless both devices and the server hold the same rows, those that the ledger says. */
export async function checkRows({ people, server, ledger, schema, space }) {
  const expected = await serverDigest(server, space);
  const views = [];
  for (const { name, tabs } of people) {
    const digest = () => tabs[0].evaluate(() => window.driftline.digest);
    await until(`${name} to have revision ${expected.rev}`, async () => (await digest()).rev === expected.rev);
    const { rev, digest: rows } = await digest();
    assert.deepEqual({ rev, digest: rows }, expected, `${name} and the server hold the same`);
    views.push(await rowsOf(tabs[0]));
  }
  const [one, other] = views;
  assert.deepEqual(one, other, 'both see the same rows');
  const counts = await Promise.all(TABLES.map((table) => server.query(`SELECT count(*) AS n FROM "${table}"`)));
  const seen = TABLES.map((table) => [...one.values()].filter((row) => row.table === table).length);
  assert.deepEqual(
    counts.map(([{ n }]) => n),
    seen,
    'the tables of the server hold as many rows',
  );
  const log = await readLog(server, space);
  await assertSound(server, schema, log);
  assert.deepEqual(ledger.judge(one, lastOfLife(log)), [], 'every edit that was seen is there once');
  return one.size;
}

/** By id, what the log has last of the life of a row. */
function lastOfLife(log) {
  const last = new Map();
  for (const { rev, changes } of log)
    for (const { op, id } of changes) if (op === 'create' || op === 'delete') last.set(id, { op, rev });
  return last;
}

async function rowsOf(page) {
  const rows = [];
  for (const table of TABLES) rows.push(...(await page.evaluate(readRows, table)));
  return new Map(rows.sort((a, b) => (a.id < b.id ? -1 : 1)).map((row) => [row.id, row]));
}

/**
 * Fails unless both canvases are drawn alike, pixel by pixel: as they stand, drawn change by change, and again from what is on disk after
 * both pages have been loaded anew. All pictures are left in `folder`.
 */
export async function checkPictures(people, folder) {
  const pictures = new Map();
  for (const when of ['as-it-stood', 'loaded-anew']) {
    for (const { name, tabs } of people) {
      if (when === 'loaded-anew') await loadAnew(tabs[0]);
      const picture = await takePicture(tabs[0]);
      writeFileSync(join(folder, `${name}-${when}.png`), picture);
      pictures.set(`${name}, ${when}`, picture);
    }
  }
  assert.deepEqual(differing(pictures), [], `pictures differ: compare those in ${folder}`);
}

/** Which of these pictures are not like the first. */
function differing(pictures) {
  const [[first, picture], ...others] = pictures;
  return others.filter(([, other]) => !other.equals(picture)).map(([name]) => `${name} is not as ${first}`);
}

async function loadAnew(page) {
  await page.reload();
  await page.waitForFunction(() => window.driftline);
  await page.evaluate(() => window.driftline.loaded);
}

/** The canvas alone: all of it in view, nothing chosen, nothing under the pointer. */
async function takePicture(page) {
  await page.bringToFront();
  const panel = page.locator('[data-testid=outbox-panel]');
  if ((await panel.count()) > 0) await page.click('[data-testid=panel-toggle]');
  await panel.waitFor({ state: 'detached' });
  await page.evaluate(() => document.activeElement?.blur());
  await page.keyboard.press('Escape');
  await page.mouse.move(5, 500);
  return await untilStill(async () => {
    await page.keyboard.press('Shift+1');
    const canvas = page.locator('[data-testid=canvas]');
    return await canvas.screenshot({ animations: 'disabled', caret: 'hide', style: WITHOUT_PEOPLE });
  });
}

async function untilStill(shoot) {
  let before = await shoot();
  return await until('a picture that stays', async () => {
    const now = await shoot();
    const isStill = now.equals(before);
    before = now;
    return isStill && now;
  });
}
