// What a huge canvas costs, with the real engine and server: how soon it shows its first cards, against reading the same rows as one
// value; and what dragging 50 cards costs the page's main thread, frame by frame, from the browser's own trace:
//
//   node tests/browser/canvas-trace.mjs [--cards 10000] [--connections 5000] [--seconds 4] [--top 12]
//
// The app must have been built into www/dist. It prints figures as JSON, and with --top what took longest, by its name in the trace.

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { runAsCommand } from '../../scripts/run.mjs';
import { openBrowser, ROOT, startServer } from './harness.mjs';

const APP = join(ROOT, 'www');
const COLUMNS = 100;
const [STEP_X, STEP_Y] = [240, 160];
/** Each transaction of the seeding, as many edits as one may hold. */
const SLICE = 500;
/** Of opening it. */
const ROUNDS = 7;
/** The page keeps how it was left when nothing has happened for a while. */
const STILL_MS = 3_000;
/** A mouse tells where it is at about this pace. */
const MOVE_MS = 8;
const CATEGORIES = ['devtools.timeline', 'devtools.timeline.frame', 'disabled-by-default-devtools.timeline'];

runAsCommand(import.meta.url, async (args) => {
  const { values } = parseArgs({
    args,
    options: {
      cards: { type: 'string', default: '10000' },
      connections: { type: 'string', default: '5000' },
      seconds: { type: 'string', default: '4' },
      top: { type: 'string', default: '0' },
    },
  });
  const server = await startServer({
    schema: join(APP, 'server', 'schema.json'),
    migrations: join(APP, 'server', 'migrations'),
    staticDir: join(APP, 'dist'),
  });
  const browser = await openBrowser({ options: { viewport: { width: 1600, height: 1000 }, reducedMotion: 'reduce' } });
  try {
    const address = `${server.url}/?space=huge&debug=1`;
    await seed(browser, address, Number(values.cards), Number(values.connections));
    const opening = await openings(browser, server.url, address, Number(values.cards));
    const page = await browser.context.newPage();
    await page.goto(address);
    await untilLoaded(page, Number(values.cards));
    const selected = await select(page);
    const events = await trace(browser, page, () => drag(page, Number(values.seconds)));
    const frames = mainThreadPerFrame(events);
    console.log(JSON.stringify({ opening, selected, ...figures(frames) }, null, 2));
    if (Number(values.top) > 0) console.table(longest(events, Number(values.top)));
  } finally {
    await browser.close();
    await server.stop();
  }
});

async function seed(browser, address, cards, connections) {
  const page = await browser.context.newPage();
  await page.goto(address);
  await page.waitForFunction(() => window.driftline);
  await page.evaluate(
    async ([cards, connections, columns, stepX, stepY, slice]) => {
      const db = window.driftline;
      await db.loaded;
      const ids = [];
      for (let from = 0; from < cards; from += slice)
        db.transaction((tx) => {
          for (let i = from; i < Math.min(from + slice, cards); i++) {
            const text = `# Card ${i}\nwith **some** words\n\n- [ ] one\n- [x] two`;
            const [x, y] = [(i % columns) * stepX, Math.floor(i / columns) * stepY];
            ids.push(tx.card.create({ text, x, y, width: 200, height: 120, z: i }));
          }
        });
      for (let from = 0; from < connections; from += slice)
        db.transaction((tx) => {
          for (let i = from; i < Math.min(from + slice, connections); i++) {
            const [start, end] = [ids[(i * 2) % cards], ids[(i * 2 + (i % 3 === 0 ? columns : 1)) % cards]];
            tx.connection.create({ start_item: { card: start }, end_item: { card: end } });
          }
        });
      await db.accepted();
    },
    [cards, connections, COLUMNS, STEP_X, STEP_Y, SLICE],
  );
  await sleep(STILL_MS);
  await page.close();
}

/**
 * Medians in ms. `code`: from the page's first script until the page is there and can show something. From there on, `firstCards`: the frame that
 * shows some has been drawn, though as a picture of how the canvas was left; `canvas`: the canvas itself shows some. `limit`: all rows are
 * read and parsed as one value, in a page without the app.
 */
async function openings(browser, url, address, cards) {
  const rounds = [];
  for (let round = 0; round < ROUNDS; round++) {
    const page = await browser.context.newPage();
    await page.addInitScript(noteFirstCards);
    await page.goto(address);
    const opening = await page.evaluate(() => window.opening);
    await untilLoaded(page, cards);
    if (round === 0) await page.evaluate(keepAsOneValue);
    await page.close();
    const bare = await browser.context.newPage();
    await bare.goto(`${url}/icon.svg`);
    rounds.push({ ...opening, limit: await bare.evaluate(readOneValue) });
    await bare.close();
  }
  const at = (what) => median(rounds.map((one) => one[what]));
  const { firstCards, limit, ...others } = {
    code: at('code'),
    canvas: at('canvas'),
    firstCards: at('firstCards'),
    limit: at('limit'),
  };
  return { ...others, firstCards, limit, ratio: Number((firstCards / limit).toFixed(2)) };
}

function noteFirstCards() {
  const began = performance.now();
  const drawn = (selector) =>
    new Promise((resolve) => {
      const look = () => {
        if (document.querySelector(selector)) setTimeout(() => resolve(performance.now()));
        else requestAnimationFrame(look);
      };
      requestAnimationFrame(look);
    });
  window.opening = Promise.all([drawn('.card'), drawn('[data-testid=card]')]).then(([firstCards, canvas]) => {
    const code = performance.getEntriesByName('look')[0].startTime;
    return { code: code - began, firstCards: firstCards - code, canvas: canvas - code };
  });
}

const untilLoaded = (page, cards) =>
  page.waitForFunction((cards) => window.driftline?.tables.card.size === cards, cards);

const median = (all) => Math.round(all.sort((a, b) => a - b)[Math.floor(all.length / 2)]);

async function keepAsOneValue() {
  const { card, connection } = window.driftline.tables;
  const text = JSON.stringify([card.query(), connection.query()]);
  await new Promise((done, fail) => {
    const opening = indexedDB.open('one-value', 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore('values');
    opening.onerror = () => fail(opening.error);
    opening.onsuccess = () => {
      const writing = opening.result.transaction('values', 'readwrite');
      writing.objectStore('values').put(text, 'rows');
      writing.oncomplete = () => done(opening.result.close());
    };
  });
}

async function readOneValue() {
  const began = performance.now();
  await new Promise((done, fail) => {
    const opening = indexedDB.open('one-value', 1);
    opening.onerror = () => fail(opening.error);
    opening.onsuccess = () => {
      const reading = opening.result.transaction('values').objectStore('values').get('rows');
      reading.onsuccess = () => done(JSON.parse(reading.result));
    };
  });
  return performance.now() - began;
}

/** 50 cards by a marquee, at a zoom at which their text is drawn. */
async function select(page) {
  await page.keyboard.press('Shift+0');
  await page.waitForFunction(() => document.querySelector('.zoom')?.textContent === '100%');
  for (const zoom of ['80%', '64%', '51%']) {
    await page.keyboard.press('-');
    await page.waitForFunction((zoom) => document.querySelector('.zoom').textContent === zoom, zoom);
  }
  await sleep(500);
  const cards = await page.$$eval('[data-testid=card]', (all) =>
    all.map((one) => one.getBoundingClientRect().toJSON()),
  );
  const lefts = [...new Set(cards.map(({ x }) => Math.round(x)))].filter((x) => x > 20).sort((a, b) => a - b);
  const tops = [...new Set(cards.map(({ y }) => Math.round(y)))].filter((y) => y > 190).sort((a, b) => a - b);
  await page.mouse.move(lefts[0] - 8, tops[0] - 8);
  await page.mouse.down();
  const last = { left: lefts[Math.min(9, lefts.length - 1)], top: tops[4] };
  await page.mouse.move(last.left - 40, last.top - 40, { steps: 4 });
  await page.mouse.move(last.left + 20, last.top + 20, { steps: 4 });
  await page.mouse.up();
  await page.mouse.move(lefts[2] + 20, tops[2] + 6);
  return await page.locator('.react-flow__node.selected').count();
}

async function drag(page, seconds) {
  const session = await page.context().newCDPSession(page);
  const place = await page.locator('.react-flow__node.selected').nth(12).boundingBox();
  const [x, y] = [place.x + 30, place.y + 6];
  const mouse = (type, dx, dy) =>
    session.send('Input.dispatchMouseEvent', { type, x: x + dx, y: y + dy, button: 'left', buttons: 1, clickCount: 1 });
  await mouse('mousePressed', 0, 0);
  const start = performance.now();
  while (performance.now() - start < seconds * 1000) {
    const turn = ((performance.now() - start) / 1000) * Math.PI;
    await Promise.all([mouse('mouseMoved', 60 * Math.sin(turn), 40 * Math.sin(turn * 1.3)), sleep(MOVE_MS)]);
  }
  await mouse('mouseReleased', 0, 0);
}

async function trace(browser, page, work) {
  const session = await browser.context.newCDPSession(page);
  const events = [];
  session.on('Tracing.dataCollected', ({ value }) => events.push(...value));
  const done = new Promise((resolve) => session.once('Tracing.tracingComplete', resolve));
  await session.send('Tracing.start', {
    transferMode: 'ReportEvents',
    traceConfig: { includedCategories: CATEGORIES, excludedCategories: ['*'] },
  });
  await work();
  await session.send('Tracing.end');
  await done;
  return onMainThread(events);
}

/** Of the renderer that drew most: the page's. */
function onMainThread(events) {
  const mains = events.filter(({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain');
  const of = ({ pid, tid }) => events.filter((event) => event.pid === pid && event.tid === tid);
  return mains.map(of).reduce((most, one) => (one.length > most.length ? one : most), []);
}

/**
 * Milliseconds of processor time that tasks take between one frame of the main thread and the next. Time on the clock would also
 * count what other programs of the machine do meanwhile.
 */
function mainThreadPerFrame(events) {
  const tasks = events.filter(({ name, ph }) => name === 'RunTask' && ph === 'X').sort((a, b) => a.ts - b.ts);
  const begins = events.filter(({ name, ph }) => name === 'AnimationFrame::Render' && ph === 'b').map(({ ts }) => ts);
  const frames = [];
  let sum = 0;
  for (const { ts, dur, tdur = dur } of tasks) {
    sum += tdur / 1000;
    if (!begins.some((begin) => begin >= ts && begin <= ts + dur)) continue;
    frames.push(sum);
    sum = 0;
  }
  return frames.slice(1);
}

function figures(frames) {
  const sorted = [...frames].sort((a, b) => a - b);
  const at = (share) =>
    Number((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(2));
  return { frames: sorted.length, mainThreadMs: { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) } };
}

function longest(events, top) {
  const byName = new Map();
  for (const { name, ph, dur = 0, tdur = dur, args } of events) {
    if (ph !== 'X') continue;
    const what = args?.data?.type ? `${name} ${args.data.type}` : (args?.data?.functionName ?? name);
    const sum = byName.get(what) ?? { name: what, ms: 0, count: 0 };
    sum.ms += tdur / 1000;
    sum.count += 1;
    byName.set(what, sum);
  }
  return [...byName.values()].sort((a, b) => b.ms - a.ms).slice(0, top);
}
