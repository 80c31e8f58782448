// B1, B2, B6: what making edits costs, until they are on the disk. Nothing is sent meanwhile.

import { expectSame, figure, longestTask, percentile } from './figure.mjs';
import { mainThreadTasks, tasksOf } from './stage.mjs';

const SINGLES = 1_000;
/** Single edits are made in turns with their limit, so many at a time. */
const TURN = 100;
const WAITING = 10_000;
const CALLS = 500;

async function burst(stage, repeats, transactions) {
  const [ours, limits, longest] = [[], [], []];
  for (let i = 0; i < repeats; i++) {
    const { ms, tasks } = await oursAtOnce(stage, transactions);
    ours.push(ms);
    longest.push(tasks[0].ms);
    limits.push(await limitAtOnce(stage, transactions));
  }
  return { ours, limits, longest };
}

function oursAtOnce(stage, transactions) {
  return stage.page(async (page) => {
    const options = stage.fresh();
    const rows = await page.evaluate(
      async ([schema, options, transactions]) => {
        const [ours, { makeWork }] = await Promise.all([import('/ours.js'), import('/work.js')]);
        Object.assign(window, { ours, made: makeWork(transactions), db: await ours.openSpace(schema, options) });
        db.setOnline(false);
        return made.rows;
      },
      [stage.schema, options, transactions],
    );
    const { result: ms, events } = await tasksOf(page, () => page.evaluate(() => ours.burst(db, made.work)));
    expectSame('rows of a burst', await page.evaluate(() => ours.count(db)), rows);
    // What counts is what the disk gives back.
    await page.reload();
    const found = await page.evaluate(
      async ([schema, options]) => {
        const ours = await import('/ours.js');
        return ours.count(await ours.openSpace(schema, { ...options, url: 'http://127.0.0.1:1' }));
      },
      [stage.schema, options],
    );
    expectSame('rows of a burst, read again', found, rows);
    return { ms, tasks: mainThreadTasks(events) };
  });
}

function limitAtOnce(stage, transactions) {
  const name = `raw-${stage.fresh().app}`;
  return stage.page((page) =>
    page.evaluate(
      async ([name, transactions]) => {
        const [limits, { makeWork }] = await Promise.all([import('/limits.js'), import('/work.js')]);
        const { work } = makeWork(transactions);
        const db = await limits.openRaw(name);
        const ms = await limits.burst(db, work);
        const found = JSON.parse(await limits.readRaw(db, 'work')).length;
        if (found !== transactions) throw new Error(`${found} transactions were read again`);
        return ms;
      },
      [name, transactions],
    ),
  );
}

export async function b1(stage, repeats, transactions = 100) {
  const { ours, limits, longest } = await burst(stage, repeats, transactions);
  return [
    figure('B1 burst of 10,000 edits until all is on disk; limit: their JSON as one value', 'ms', ours, limits, 2.0),
    longestTask('B1', longest),
  ];
}

export async function b2(stage, repeats) {
  const [ours, limits] = [[], []];
  for (let i = 0; i < repeats; i++) {
    const options = stage.fresh();
    const times = await stage.page((page) =>
      page.evaluate(
        async ([schema, options, count, turn]) => {
          const [ours, limits, { makeCard }] = await Promise.all([
            import('/ours.js'),
            import('/limits.js'),
            import('/work.js'),
          ]);
          const [db, raw] = [await ours.openSpace(schema, options), await limits.openRaw(`raw-${options.app}`)];
          db.setOnline(false);
          const times = { ours: [], limit: [] };
          for (let n = 0; n < count; n += turn) {
            times.ours.push(...(await ours.singles(db, n, turn, makeCard)));
            times.limit.push(...(await limits.singles(raw, n, turn, makeCard)));
          }
          if (db.tables.card.size !== count) throw new Error(`${db.tables.card.size} cards`);
          return times;
        },
        [stage.schema, options, SINGLES, TURN],
      ),
    );
    ours.push(times.ours);
    limits.push(times.limit);
  }
  const at = (share) => [ours, limits].map((runs) => runs.map((times) => percentile(times, share)));
  const of = (name, share, target) =>
    figure(`B2 one awaited edit, ${name}; limit: a put of the same bytes`, 'ms', ...at(share), target);
  return [of('p50', 0.5, 1.2), of('p95', 0.95, 1.4), of('p99', 0.99, null)];
}

export async function b6(stage, repeats) {
  const [full, empty] = [[], []];
  for (let i = 0; i < repeats; i++) {
    for (const [waiting, times] of [
      [WAITING, full],
      [0, empty],
    ]) {
      const options = stage.fresh();
      const run = (page) =>
        page.evaluate(
          async ([schema, options, waiting, calls]) => {
            const [ours, { makeCard }] = await Promise.all([import('/ours.js'), import('/work.js')]);
            const db = await ours.openSpace(schema, options);
            db.setOnline(false);
            for (let n = 1; n <= waiting; n++) db.tables.card.create(makeCard(n));
            await db.saved();
            if (db.status.queued !== waiting) throw new Error(`${db.status.queued} are waiting`);
            // Whatever is compiled while it runs is compiled by now.
            await ours.calls(db, waiting + 1, calls, makeCard);
            return await ours.calls(db, waiting + calls + 1, calls, makeCard);
          },
          [stage.schema, options, waiting, CALLS],
        );
      times.push(percentile(await stage.page(run), 0.95));
    }
  }
  return [figure('B6 the call that makes an edit, p95, with 10,000 waiting; limit: with none', 'ms', full, empty, 1.5)];
}
