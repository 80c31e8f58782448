// Driftline's peers at the same work in the same browser. `npm run bench -- --peers` prints the table.
//
// Each repeat is on new databases, in fresh pages, the engines taking turns. A peer commits with the durability that its
// documentation offers at most, which is the browser's relaxed one for all but Dexie.

import { checkSizes } from '../../../scripts/size.mjs';
import { startListening, tempDir } from '../../browser/harness.mjs';
import { expectSame, median, percentile } from '../browser/figure.mjs';
import { makeWork } from '../browser/site/work.js';
import { startStage } from '../browser/stage.mjs';
import { bundlePages, shippedBytes } from './bundle.mjs';
import { HERE, PEERS } from './list.mjs';

const REPEATS = 5;
const SINGLES = 1_000;
const SHAPES = { one: 'in one transaction', hundred: 'in 100 transactions' };

const NAMES = {
  burst: (shape) => `B1 burst of 10,000 edits ${SHAPES[shape]}`,
  single: (percent) => `B2 one awaited edit, p${percent}`,
  coldOpen: 'B3 cold open to rows',
  drain: 'B4 drain of 10,000 edits',
  second: 'B5 second device to rows',
  bytes: 'B17 shipped after brotli',
};

/** Plots: a file, the figures of which an engine's best counts, and a title. */
export const PLOTTED = [
  ['peers-burst.svg', [NAMES.burst('one'), NAMES.burst('hundred')], '10,000 edits, until all is on the disk'],
  ['peers-drain.svg', [NAMES.drain], '10,000 edits, from the device to the disk of the server and back'],
  ['peers-second.svg', [NAMES.second], 'A second device, from nothing to all rows'],
];

/** A list of `{ peer, figure, unit, value, n }`, values being medians. */
export async function measurePeers(only = '', repeats = REPEATS) {
  const peers = PEERS.filter(({ name }) => name.startsWith(only));
  if (peers.length === 0) throw new Error(`no engine's name begins with ${only}`);
  const pages = tempDir('peers');
  await bundlePages([...new Set(peers.map(({ module }) => module))], pages);
  const stage = await startStage({ '/peers/': pages });
  const runs = new Map(peers.map((peer) => [peer, []]));
  // In a process of its own, as Driftline's is.
  const server = await startListening(process.execPath, ['server.mjs', tempDir('peers-server')], { cwd: HERE });
  try {
    for (let i = 0; i < repeats; i++) {
      for (const peer of peers) {
        process.stderr.write(`${peer.name}, repeat ${i + 1} of ${repeats} …\n`);
        runs.get(peer).push(await measureOnce(stage, server.url, peer));
      }
    }
  } finally {
    await server.kill();
    await stage.stop();
  }
  const results = [];
  for (const [peer, values] of runs) {
    const add = (figure, unit, list) =>
      results.push({ peer: peer.name, figure, unit, value: median(list), n: list.length });
    for (const figure of Object.keys(values[0])) {
      add(
        figure,
        'ms',
        values.map((run) => run[figure]),
      );
    }
    if (peer.ships !== undefined) add(NAMES.bytes, 'bytes', [await shippedBytes(peer.ships)]);
    else if (peer.kind === undefined) add(NAMES.bytes, 'bytes', [(await checkSizes()).rows.at(-1).brotli]);
  }
  return results;
}

/** Times in ms by the name of their figure. */
async function measureOnce(stage, server, peer) {
  const times = {};
  const optionsOf = ({ space, app }, room) => ({
    name: app,
    room: room ?? space,
    url: server,
    durability: peer.durability,
    ...(peer.kind === undefined ? { schema: stage.schema, url: stage.server.url } : {}),
  });
  /** Calls a function of run.js in a page of its own. */
  const inPage = (name, ...args) =>
    stage.page((page) =>
      page.evaluate(
        async ([name, args]) => (await import('/peers/run.js'))[name](...args),
        [name, [{ module: peer.module, hasForeignKeys: peer.hasForeignKeys ?? false }, ...args]],
      ),
    );
  const { rows } = makeWork();

  for (const shape of peer.shapes) {
    const fresh = stage.fresh();
    const { burst, room } = await inPage('burst', optionsOf(fresh), shape, false);
    times[NAMES.burst(shape)] = burst;
    // What counts is what the disk gives back.
    const again = await inPage('coldOpen', optionsOf(fresh, room), false);
    if (shape === peer.shape && peer.keepsOnlyWhatWaits) times[NAMES.coldOpen] = again;
    await inPage('forget');
  }

  const fresh = stage.fresh();
  const single = await inPage('singles', optionsOf(fresh), SINGLES);
  expectSame('cards on the disk', await inPage('countCards', optionsOf(fresh, single.room)), SINGLES);
  for (const percent of [50, 95, 99]) times[NAMES.single(percent)] = percentile(single.times, percent / 100);
  await inPage('forget');

  const first = stage.fresh();
  const { drain, room } = await inPage('burst', optionsOf(first), peer.shape, true);
  times[NAMES.drain] = drain;
  expectSame('rows on the disk of the server', await rowsOnServer(stage, server, peer, room), rows);
  if (!peer.keepsOnlyWhatWaits) times[NAMES.coldOpen] = await inPage('coldOpen', optionsOf(first, room), false);
  const second = { ...optionsOf(stage.fresh(), room), counts: rows };
  times[NAMES.second] = await inPage('coldOpen', second, true);
  await inPage('forget');
  return times;
}

async function rowsOnServer(stage, server, { kind }, room) {
  if (kind !== undefined) return (await fetch(`${server}/disk/${kind}/${room}`)).json();
  const rows = {};
  for (const table of ['card', 'connection_type', 'connection']) {
    const [found] = await stage.server.query(
      `SELECT count(*) AS n FROM "${table}" WHERE space = (SELECT id FROM _space WHERE name = '${room}')`,
    );
    rows[table] = found.n;
  }
  return rows;
}

/** A Markdown table: a row for each engine, a column for each figure; below it what each server promises. */
export function peersTable(results) {
  const round = (value) => Number(value.toPrecision(3)).toString();
  const cell = (peer, figure) => {
    const found = results.find((result) => result.peer === peer && result.figure === figure);
    if (found === undefined) return '–';
    return found.unit === 'bytes' ? `${round(found.value / 1_000)} kB` : `${round(found.value)} ms`;
  };
  const columns = {
    'burst, one transaction': NAMES.burst('one'),
    'burst, 100 transactions': NAMES.burst('hundred'),
    'awaited edit p50': NAMES.single(50),
    p95: NAMES.single(95),
    p99: NAMES.single(99),
    'cold open': NAMES.coldOpen,
    drain: NAMES.drain,
    'second device': NAMES.second,
    shipped: NAMES.bytes,
  };
  const peers = PEERS.filter(({ name }) => results.some(({ peer }) => peer === name));
  return [
    `| | ${Object.keys(columns).join(' | ')} |`,
    `|---|${'---|'.repeat(Object.keys(columns).length)}`,
    ...peers.map(
      ({ name }) => `| ${[name, ...Object.values(columns).map((figure) => cell(name, figure))].join(' | ')} |`,
    ),
    '',
    '| | what its server guarantees |',
    '|---|---|',
    ...peers.map(({ name, guarantee }) => `| ${name} | ${guarantee} |`),
  ].join('\n');
}
