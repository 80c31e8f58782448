// B11, B15, B18: an edit seen by another, what an open space holds in memory, and dragging.

import { expectSame, figure, percentile } from './figure.mjs';
import { mainThreadTasks, tasksOf } from './stage.mjs';

const EDITS = 300;
const DRAGGED = 50;
const DRAG_MS = 10_000;

/** Times in ms from the call on one device until a listener on another has the row. */
async function seen(stage, edits) {
  const [one, other] = [stage.fresh(), stage.fresh()];
  other.space = one.space;
  const open = (page, options) =>
    page.evaluate(
      async ([schema, options]) => {
        window.ours = await import('/ours.js');
        window.work = await import('/work.js');
        window.db = await ours.openSpace(schema, options);
      },
      [stage.schema, options],
    );
  return stage.page((left) =>
    stage.page(async (right) => {
      await open(left, one);
      await open(right, other);
      // Both clocks are the machine's.
      await right.evaluate(() => {
        window.at = [];
        db.tables.card.subscribe(() => window.at.push(performance.timeOrigin + performance.now()));
        window.untilSeen = async (count) => {
          while (db.tables.card.size < count) await new Promise((done) => setTimeout(done, 1));
        };
      });
      const times = [];
      for (let n = 1; n <= edits; n++) {
        const began = await left.evaluate((n) => {
          const row = work.makeCard(n);
          const began = performance.timeOrigin + performance.now();
          db.tables.card.create(row);
          return began;
        }, n);
        await right.evaluate((n) => untilSeen(n), n);
        const at = await right.evaluate(() => window.at.splice(0)[0]);
        times.push(at - began);
      }
      expectSame('cards that the other has seen', await right.evaluate(() => db.tables.card.size), edits);
      return times;
    }),
  );
}

function echoed(stage, edits) {
  const name = `raw-${stage.fresh().app}`;
  return stage.page((page) =>
    page.evaluate(
      async ([url, name, edits]) => {
        const [limits, { makeCard, nextTask }] = await Promise.all([import('/limits.js'), import('/work.js')]);
        const db = await limits.openRaw(name);
        const socket = new WebSocket(url);
        await new Promise((done) => socket.addEventListener('open', done));
        const times = [];
        for (let n = 1; n <= edits; n++) {
          await nextTask();
          const began = performance.now();
          const text = JSON.stringify(makeCard(n));
          await limits.putStrict(db, n, text);
          const echo = new Promise((done) => socket.addEventListener('message', done, { once: true }));
          socket.send(text);
          const { data } = await echo;
          if (data !== text) throw new Error('another text came back');
          times.push(performance.now() - began);
        }
        return times;
      },
      [stage.echoUrl, name, edits],
    ),
  );
}

export async function b11(stage, repeats) {
  const [ours, limits] = [[], []];
  for (let i = 0; i < repeats; i++) {
    ours.push(await seen(stage, EDITS));
    limits.push(await echoed(stage, EDITS));
  }
  const at = (runs, share) => runs.map((times) => percentile(times, share));
  const of = (name, share) =>
    figure(
      `B11 edit seen on another device, ${name}; limit: put, WebSocket echo, commit`,
      'ms',
      at(ours, share),
      at(limits, share),
      2.0,
    );
  return [of('p50', 0.5), of('p99', 0.99)];
}

/** Keeps the memory of what WebAssembly the page loads from now on. */
const noteMemory = () => {
  for (const name of ['instantiate', 'instantiateStreaming']) {
    const original = WebAssembly[name];
    WebAssembly[name] = async (...args) => {
      const made = await original.apply(WebAssembly, args);
      window.wasmMemory = (made.instance ?? made).exports.memory;
      return made;
    };
  }
};

/** Bytes of a page after a collection: the heap and, beside it, wasm's memory. */
async function memoryOf(page) {
  const session = await page.context().newCDPSession(page);
  for (let i = 0; i < 3; i++) await session.send('HeapProfiler.collectGarbage');
  const { usedSize, embedderHeapUsedSize = 0, backingStorageSize = 0 } = await session.send('Runtime.getHeapUsage');
  const wasm = await page.evaluate(() => window.wasmMemory?.buffer.byteLength ?? 0);
  return { heap: usedSize + embedderHeapUsedSize, backing: backingStorageSize, wasm };
}

export async function b15(stage, repeats) {
  const [ours, limits] = [[], []];
  for (let i = 0; i < repeats; i++) {
    const options = stage.fresh();
    await stage.page(async (page) => {
      await page.evaluate(noteMemory);
      const before = await memoryOf(page);
      const bytes = await page.evaluate(
        async ([schema, options]) => {
          const [ours, { makeWork }] = await Promise.all([import('/ours.js'), import('/work.js')]);
          const { work, rows } = makeWork();
          window.db = await ours.openSpace(schema, options);
          await ours.issue(db, work);
          await db.accepted();
          const list = Object.entries(db.tables).flatMap(([table, { query }]) => query().map((row) => [table, row]));
          if (list.length !== Object.values(rows).reduce((sum, count) => sum + count))
            throw new Error(`${list.length} rows`);
          return JSON.stringify(list).length;
        },
        [stage.schema, options],
      );
      // A fresh page that opens what is there, as most do.
      await page.reload();
      await page.evaluate(noteMemory);
      await page.evaluate(
        async ([schema, options]) => {
          window.db = await (await import('/ours.js')).openSpace(schema, options);
        },
        [stage.schema, options],
      );
      const after = await memoryOf(page);
      ours.push(after.heap - before.heap + after.wasm);
      limits.push(bytes);
    });
  }
  return [figure('B15 memory of an open space, heap and wasm; limit: bytes of its JSON', 'bytes', ours, limits, 6.0)];
}

/** Drags cards for a while, at most one step per frame. Returns the steps made. */
const drag = async ([dragged, ms, withEngine]) => {
  const positions = new Map(Array.from({ length: dragged }, (_, i) => [i, { x: 0, y: 0 }]));
  const until = performance.now() + ms;
  let steps = 0;
  while (performance.now() < until) {
    await new Promise((done) => requestAnimationFrame(done));
    steps++;
    if (withEngine) {
      db.transaction((tx) => {
        for (const [i] of positions) tx.card.update(ids[i], { x: steps + i, y: steps * 2 + i });
      });
    } else {
      for (const [i, at] of positions) Object.assign(at, { x: steps + i, y: steps * 2 + i });
    }
  }
  return steps;
};

/** Time that the main thread worked, per frame. */
function perFrame(events, frames) {
  const tasks = mainThreadTasks(events).sort((a, b) => a.at - b.at);
  const begin = tasks[0].at;
  const bins = new Map();
  for (const { at, ms } of tasks) {
    const bin = Math.floor((at - begin) / (1_000 / 60));
    bins.set(bin, (bins.get(bin) ?? 0) + ms);
  }
  return [...bins.values()].slice(0, frames);
}

export async function b18(stage, repeats) {
  const [ours, bare, bytes, once] = [[], [], [], []];
  for (let i = 0; i < repeats; i++) {
    for (const withEngine of [true, false]) {
      await stage.page(async (page) => {
        await page.evaluate(
          async ([schema, options, dragged]) => {
            const [ours, { makeCard }] = await Promise.all([import('/ours.js'), import('/work.js')]);
            const db = await ours.openSpace(schema, options);
            for (let n = 1; n <= dragged; n++) db.tables.card.create(makeCard(n));
            await db.accepted();
            db.setOnline(false);
            Object.assign(window, { db, ids: Array.from({ length: dragged }, (_, i) => makeCard(i + 1).id), put: 0 });
            const put = IDBObjectStore.prototype.put;
            IDBObjectStore.prototype.put = function (value, ...key) {
              window.put += typeof value === 'string' ? value.length : 8;
              return put.call(this, value, ...key);
            };
          },
          [stage.schema, stage.fresh(), DRAGGED],
        );
        const { result: steps, events } = await tasksOf(page, () =>
          page.evaluate(drag, [DRAGGED, DRAG_MS, withEngine]),
        );
        (withEngine ? ours : bare).push(percentile(perFrame(events, steps), 0.95));
        if (!withEngine) return;
        await page.evaluate(() => db.saved());
        bytes.push(await page.evaluate(() => window.put));
        once.push(
          await page.evaluate(async () => {
            window.put = 0;
            db.transaction((tx) => {
              for (const id of ids) tx.card.update(id, { x: 1, y: 2 });
            });
            await db.saved();
            return window.put;
          }),
        );
      });
    }
  }
  const more = ours.map((ms, i) => ms - bare[i]);
  return [
    figure(
      'B18 dragging 50 cards, time of the main thread per frame beyond that without an engine, p95; limit: 4 ms',
      'ms',
      more,
      more.map(() => 4),
      1.0,
    ),
    figure('B18 bytes written meanwhile; limit: one write of the final positions', 'bytes', bytes, once, 20),
  ];
}
