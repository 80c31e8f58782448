// What is timed in a page, the same for each peer. A peer's module offers:
//
//   open(options)       a database on this device, what it holds being readable, without a network
//   openSecond(options) the same on a device that has nothing, once the server's rows are readable
//   burst(db, work)     resolves when each transaction of `work` is on the disk
//   single(db, row)     resolves when a new card is on the disk
//   drain(db)           resolves when the client knows that the server has everything on its disk
//   read(db)            all rows by table, as an app gets them; `plain`, if it is there, makes an object of one
//   close(db)

import { makeCard, makeWork, nextTask } from '/work.js';
import { TABLES, verify, withCascades } from './common.js';

export async function timed(run) {
  const began = performance.now();
  const result = await run();
  return { ms: performance.now() - began, result };
}

const load = (peer) => import(`/peers/${peer.module}.js`);

/** The work, in 100 transactions or in one. */
function workFor({ hasForeignKeys }, shape) {
  const { work } = makeWork();
  const edits = hasForeignKeys ? work : withCascades(work);
  return { edits: shape === 'one' ? [edits.flat()] : edits, all: withCascades(work) };
}

async function verifyRead(what, engine, db, all) {
  const found = await engine.read(db);
  const plain = engine.plain ?? ((row) => row);
  verify(what, Object.fromEntries(TABLES.map((table) => [table, found[table].map(plain)])), all);
}

/** Times the burst and then, if asked for, the drain. */
export async function burst(peer, options, shape, isDrained) {
  const engine = await load(peer);
  const { edits, all } = workFor(peer, shape);
  const db = await engine.open(options);
  const { ms } = await timed(() => engine.burst(db, edits));
  await verifyRead('after a burst', engine, db, all);
  const drain = isDrained ? await timed(() => engine.drain(db)) : undefined;
  if (isDrained) await verifyRead('after a drain', engine, db, all);
  await engine.close(db);
  return { burst: ms, drain: drain?.ms, room: db.room };
}

export async function singles(peer, options, count) {
  const engine = await load(peer);
  const db = await engine.open(options);
  const times = [];
  for (let n = 1; n <= count; n++) {
    const row = makeCard(n);
    await nextTask();
    times.push((await timed(() => engine.single(db, row))).ms);
  }
  await engine.close(db);
  return { times, room: db.room };
}

/** How many cards another page finds. */
export async function countCards(peer, options) {
  const engine = await load(peer);
  const db = await engine.open(options);
  const { card } = await engine.read(db);
  await engine.close(db);
  return card.length;
}

/** From a script's begin to rows: the engine is fetched, opened and read. */
export async function coldOpen(peer, options, isSecond) {
  const { ms, result } = await timed(async () => {
    const engine = await load(peer);
    const db = await (isSecond ? engine.openSecond(options) : engine.open(options));
    await engine.read(db);
    return { engine, db };
  });
  const { engine, db } = result;
  await verifyRead(isSecond ? 'on a second device' : 'on the disk', engine, db, workFor(peer, 'one').all);
  await engine.close(db);
  return ms;
}

/** Leaves nothing behind for the next. */
export async function forget() {
  for (const { name } of await indexedDB.databases()) {
    await new Promise((done) => {
      const request = indexedDB.deleteDatabase(name);
      request.onsuccess = done;
      request.onerror = done;
    });
  }
}
