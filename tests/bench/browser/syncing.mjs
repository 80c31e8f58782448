// B3, B4, B5: opening what is on the disk, bringing what waits to the server, and a second device.

import { join } from 'node:path';
import { capture, TARGET_DIR } from '../../../scripts/run.mjs';
import { expectSame, figure, longestTask } from './figure.mjs';
import { mainThreadTasks, tasksOf } from './stage.mjs';

/** Without a write for so long, all is on the disk. */
const QUIET_MS = 500;
const NOWHERE = 'http://127.0.0.1:1';

/** A space on the server with the work in it, and the profile of who made it. Measures the way there. */
async function drained(stage, transactions) {
  const options = stage.fresh();
  const run = async (page) => {
    const { rows, bytes } = await page.evaluate(
      async ([schema, options, transactions]) => {
        const [ours, { makeWork }] = await Promise.all([import('/ours.js'), import('/work.js')]);
        const { work, rows } = makeWork(transactions);
        Object.assign(window, { ours, db: await ours.openSpace(schema, options) });
        db.setOnline(false);
        await ours.burst(db, work);
        return { rows, bytes: JSON.stringify(work).length };
      },
      [stage.schema, options, transactions],
    );
    const { result: ms, events } = await tasksOf(page, () => page.evaluate(() => ours.drain(db)));
    expectSame('rows after a drain', await page.evaluate(() => ours.count(db)), rows);
    await page.evaluate(() => db.close());
    return { ms, rows, bytes, tasks: mainThreadTasks(events) };
  };
  const result = await stage.page(run);
  for (const [table, count] of Object.entries(result.rows)) {
    const [found] = await stage.server.query(
      `SELECT count(*) AS n FROM "${table}" WHERE space = (SELECT id FROM _space WHERE name = '${options.space}')`,
    );
    expectSame(`rows of ${table} on the server`, found.n, count);
  }
  return { ...result, options };
}

/** The same bytes posted, the same rows in raw SQL, and one write of the same bytes. */
async function drainLimit(stage, { options, bytes }) {
  const inBrowser = await stage.page((page) =>
    page.evaluate(
      async ([url, name, bytes]) => {
        const limits = await import('/limits.js');
        const text = '0'.repeat(bytes);
        const db = await limits.openRaw(name);
        return (await limits.post(url, text)) + (await limits.timedPut(db, 'drained', text));
      },
      [stage.takenUrl, `raw-${options.app}`, bytes],
    ),
  );
  const inSql = JSON.parse(
    await capture(join(TARGET_DIR, 'release', 'raw-copy'), [stage.server.database, options.space]),
  );
  return inBrowser + inSql.ms;
}

export async function b4(stage, repeats, transactions = 100) {
  const [ours, limits, longest] = [[], [], []];
  for (let i = 0; i < repeats; i++) {
    const done = await drained(stage, transactions);
    ours.push(done.ms);
    longest.push(done.tasks[0].ms);
    limits.push(await drainLimit(stage, done));
  }
  return [
    figure('B4 drain of 10,000 edits; limit: one POST, raw SQL, one write', 'ms', ours, limits, 1.5),
    longestTask('B4', longest),
  ];
}

export async function b3(stage, repeats, transactions = 100) {
  const { options, rows } = await drained(stage, transactions);
  const all = Object.values(rows).reduce((sum, count) => sum + count);
  const there = await stage.page((page) =>
    page.evaluate(
      async ([schema, options, rows, name]) => {
        const [ours, limits] = await Promise.all([import('/ours.js'), import('/limits.js')]);
        const db = await ours.openSpace(schema, options);
        await ours.untilThere(db, rows);
        const list = Object.entries(db.tables).flatMap(([table, { query }]) => query().map((row) => [table, row]));
        await limits.putStrict(await limits.openRaw(name), 'rows', JSON.stringify(list));
        await db.close();
        return list.length;
      },
      [stage.schema, options, rows, `rows-${options.app}`],
    ),
  );
  expectSame('rows to open', there, all);
  const [ours, limits, longest] = [[], [], []];
  for (let i = 0; i < repeats; i++) {
    const run = (page) =>
      page.evaluate(
        async ([schema, options, rows]) => (await (await import('/ours.js')).coldOpen(schema, options, rows)).ms,
        [stage.schema, { ...options, url: NOWHERE }, rows],
      );
    ours.push(await stage.page(run));
    const { events } = await stage.page((page) => tasksOf(page, () => run(page)));
    longest.push(mainThreadTasks(events)[0].ms);
    const limit = await stage.page((page) =>
      page.evaluate(async (name) => (await import('/limits.js')).coldOpen(name), `rows-${options.app}`),
    );
    expectSame('rows of the limit', limit.rows, all);
    limits.push(limit.ms);
  }
  return [
    figure('B3 cold open to readable rows; limit: one value, read and parsed', 'ms', ours, limits, 2.0),
    longestTask('B3', longest),
  ];
}

export async function b5(stage, repeats, transactions = 100) {
  const { options, rows } = await drained(stage, transactions);
  const [readable, onDisk, longest] = [[], [], []];
  const limits = { readable: [], onDisk: [] };
  for (let i = 0; i < repeats; i++) {
    const second = { ...options, app: stage.fresh().app };
    const run = (page) =>
      page.evaluate(
        async ([schema, options, rows, quietMs]) => {
          const ours = await import('/ours.js');
          const disk = ours.watchDisk();
          const began = performance.now();
          const { db } = await ours.coldOpen(schema, options, rows);
          const readable = performance.now() - began;
          while (performance.now() - disk.last < quietMs) await new Promise((done) => setTimeout(done, quietMs / 5));
          await db.close();
          return { readable, onDisk: disk.last - began };
        },
        [stage.schema, second, rows, QUIET_MS],
      );
    const times = await stage.page(run);
    readable.push(times.readable);
    onDisk.push(times.onDisk);
    second.app = stage.fresh().app;
    const { events } = await stage.page((page) => tasksOf(page, () => run(page)));
    longest.push(mainThreadTasks(events)[0].ms);
    const limit = await stage.page((page) =>
      page.evaluate(
        async ([url, name]) => {
          const limits = await import('/limits.js');
          const { snapshot, ...times } = await limits.download(url, await limits.openRaw(name));
          return times;
        },
        [`${options.url}/v1/spaces/${options.space}/snapshot`, `raw-${second.app}`],
      ),
    );
    limits.readable.push(limit.readable);
    limits.onDisk.push(limit.onDisk);
  }
  return [
    figure(
      'B5 second device from nothing to readable rows; limit: the snapshot fetched and parsed',
      'ms',
      readable,
      limits.readable,
      1.2,
    ),
    figure('B5 the same to rows on the disk; limit: and one write', 'ms', onDisk, limits.onDisk, 1.2),
    longestTask('B5', longest),
  ];
}
