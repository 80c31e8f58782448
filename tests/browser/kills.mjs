// The real server and a real Chromium, killed again and again while two tabs make edits over a network that fails.
//
//   npm run kills -- --server 200 --browser 100 --seed 7
//
// Every edit is noted outside the browser before it is made, and again when its `saved` resolves (see ledger.mjs). In the end the
// server's log and tables are held against that: nothing lost, nothing doubled, nothing out of order. Exit code 1 otherwise.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { runAsCommand, say } from '../../scripts/run.mjs';
import { startFaultyNetwork } from './faulty.mjs';
import { openBrowser, ROOT, runDriftline, startServer, until } from './harness.mjs';
import { Ledger, seeded } from './ledger.mjs';
import { logCount, readLog, replay, serverDigest } from './log.mjs';
import { makeSite, openSite, untilSynced } from './page.mjs';

const SPACE = 'kills';
const APP = join(ROOT, 'www', 'server');
export const PLACE = { schema: join(APP, 'schema.json'), migrations: join(APP, 'migrations') };
export const SCHEMA = JSON.parse(readFileSync(PLACE.schema, 'utf8'));

const LANES = [0, 1];
/** Edits that a tab makes at once before it waits for all of them to be saved. */
const BURST = 6;
const PAUSE_MS = 100;
/** The share of the server's kills that come at a named fault point instead of at a random moment. */
const NAMED_SHARE = 0.3;
const REOPEN_TIMEOUT_MS = 60_000;
const DRAIN_TIMEOUT_MS = 180_000;

// ---- What runs in the page ----

async function work([lane, burst, pauseMs]) {
  const { db, driftline } = window;
  const carryOut = (tx, { op, table, id, set, by }) => {
    if (op === 'create') tx[table].create({ id, ...set });
    else if (op === 'increment') tx[table].update(id, { votes: driftline.increment(by) });
    else if (op === 'move') tx[table].update(id, set);
    else tx[table].delete(id);
  };
  for (;;) {
    const edits = await window.plan(lane, burst);
    if (edits === null) return;
    const ends = edits.map(async ({ n, ops }) => {
      try {
        const change = db.transaction((tx) => {
          for (const op of ops) carryOut(tx, op);
        });
        await change.saved;
        await window.saved(n);
      } catch (error) {
        await window.refused(n, error.code ?? error.message);
      }
    });
    await Promise.all(ends);
    await new Promise((done) => setTimeout(done, pauseMs));
  }
}

const view = (page) =>
  page.evaluate(() => {
    const rows = [];
    for (const table of ['card', 'connection', 'connection_type']) {
      for (const { id, votes, x } of window.db.tables[table].query()) rows.push([`${table} ${id}`, { votes, x }]);
    }
    return rows;
  });

/** Off and on again, as a user does who does not want to wait for the next try. */
function tryNow() {
  window.db?.setOnline(false);
  window.db?.setOnline(true);
}

// ---- The run ----

/** Runs to the end and returns what was done and what was found. `log` and `ledger` are for whoever wants to look for themselves. */
export async function runKills({ serverKills, browserKills, seed, tell = () => {} }) {
  const began = Date.now();
  const random = { ledger: seeded(seed), server: seeded(seed + 1), browser: seeded(seed + 2) };
  const env = {};
  const server = await startServer({ ...PLACE, staticDir: makeSite(), env });
  const network = await startFaultyNetwork(server.port, { seed: seed + 3 });
  const browser = await openBrowser();
  const ledger = new Ledger(random.ledger);
  const run = {
    isOver: false,
    pages: [],
    kills: { random: 0, before_commit: 0, after_commit: 0, browser: 0 },
    lengths: [],
  };

  const openTabs = async () => {
    await browser.context.exposeBinding('plan', (_source, lane, count) =>
      run.isOver ? null : ledger.plan(lane, count),
    );
    await browser.context.exposeBinding('saved', (_source, n) => ledger.saved(n));
    await browser.context.exposeBinding('refused', (_source, n, why) => ledger.refused(n, why));
    const open = async () => {
      const page = await browser.context.newPage();
      await openSite(page, network.url);
      await page.evaluate(([schema, space]) => window.start(schema, space), [SCHEMA, SPACE]);
      return page;
    };
    run.pages = [await open(), await open()];
  };
  const startWork = () => LANES.map((lane) => run.pages[lane].evaluate(work, [lane, BURST, PAUSE_MS]).catch(() => {}));
  const poke = () => Promise.all(run.pages.map((page) => page.evaluate(tryNow).catch(() => {})));

  // What a page needs to start is kept by its service worker from the first time on.
  await openTabs();
  await Promise.all([killServer(), killBrowser()]);
  tell(`the kills are over; ${await logCount(server, SPACE)} transactions are applied so far`);
  return await settle();

  async function killServer() {
    network.isCalm = false;
    for (let kill = 1; kill <= serverKills; kill += 1) {
      const { fault } = run;
      await whilePoking(async () => {
        if (fault) return await server.ended({ timeoutMs: REOPEN_TIMEOUT_MS });
        const { asked } = network;
        const isAsked = () => network.asked > asked;
        await until('something to be asked', isAsked, { timeoutMs: REOPEN_TIMEOUT_MS, everyMs: 1 });
        await sleep(random.server() * 500);
        await server.kill();
      });
      run.kills[fault ?? 'random'] += 1;
      run.lengths.push(await logCount(server, SPACE));
      const isNamed = kill < serverKills && random.server() < NAMED_SHARE;
      run.fault = isNamed ? (random.server() < 0.5 ? 'before_commit' : 'after_commit') : undefined;
      env.DRIFTLINE_FAULT = isNamed ? `abort_${run.fault}=${1 + Math.floor(random.server() * 6)}` : '';
      await server.restart();
      await poke();
      if (kill % 20 === 0) tell(`${kill} kills of the server, ${run.lengths.at(-1)} transactions applied`);
    }
    run.serverIsDone = true;
  }

  /** Whoever waits for its next try sends nothing, and commits nothing. */
  async function whilePoking(body) {
    const poking = setInterval(poke, 2_000);
    try {
      await body();
    } finally {
      clearInterval(poking);
    }
  }

  async function killBrowser() {
    for (;;) {
      const { savedCount } = ledger;
      const working = startWork();
      await until('an edit to be saved', () => ledger.savedCount > savedCount, { timeoutMs: REOPEN_TIMEOUT_MS });
      await sleep(200 + random.browser() * 1_500);
      if (run.kills.browser === browserKills) {
        await until('the last kill of the server', () => run.serverIsDone, { timeoutMs: 3_600_000 });
        run.isOver = true;
        await Promise.all(working);
        return;
      }
      await browser.kill();
      run.pages = [];
      await Promise.all(working);
      ledger.died();
      run.kills.browser += 1;
      await browser.reopen();
      await openTabs();
      await assertKept();
      if (run.kills.browser % 10 === 0)
        tell(`${run.kills.browser} kills of the browser, ${ledger.savedCount} edits saved`);
    }
  }

  /** What was saved is on the screen again, whatever the server has of it. */
  async function assertKept() {
    let found;
    const isKept = async () => {
      const { lost, double, nobody } = ledger.judgeRows(new Map(await view(run.pages[0])));
      found = [...lost, ...double, ...nobody, ...(await parked())];
      return found.length === 0;
    };
    await until('all that was saved', isKept, { everyMs: 200 }).catch((error) => {
      throw new Error(
        `${error.message} after kill ${run.kills.browser} of the browser, seed ${seed}:\n${found.slice(0, 20).join('\n')}`,
      );
    });
  }

  /** What the server would not take, or what nobody can send: nothing here gives a reason for either. */
  async function parked() {
    const entries = await run.pages[0].evaluate(() => window.db.parked());
    return entries.map((entry) => {
      const about = entry.edits.flatMap(({ id }) => ledger.about(id));
      return `parked: ${JSON.stringify(entry)}\n  ${about.join('\n  ')}`;
    });
  }

  async function settle() {
    network.isCalm = true;
    await poke();
    for (const page of run.pages) {
      await untilSynced(page, { timeoutMs: DRAIN_TIMEOUT_MS }).catch(async (error) => {
        throw new Error([`seed ${seed}: ${error.message}`, ...(await parked())].join('\n'));
      });
    }
    const log = await readLog(server, SPACE);
    const found = { ...ledger.judgeLog(SCHEMA, log), differing: await differences(log) };
    await browser.close();
    await server.stop();
    return {
      seed,
      seconds: Math.round((Date.now() - began) / 1000),
      ...run,
      faults: network.faults,
      edits: ledger.counts,
      refusals: ledger.refusals,
      log,
      ledger,
      found,
    };
  }

  /** Where the log, the tables, the browser that made it all and one that never saw it do not agree. */
  async function differences(log) {
    const found = [];
    const differ = (what, one, other) => {
      if (JSON.stringify(one) !== JSON.stringify(other))
        found.push(`${what}: ${JSON.stringify(one)} and ${JSON.stringify(other)}`);
    };
    const { rows } = replay(SCHEMA, log);
    const ofLog = sorted(
      [...rows].filter(([name]) => name.startsWith('card ')).map(([name, { votes = 0, x = 0 }]) => [name, votes, x]),
    );
    const tables = Object.keys(SCHEMA.tables).map((table) => `SELECT count(*) AS n FROM "${table}"`);
    const [{ n }] = await server.query(`SELECT sum(n) AS n FROM (${tables.join(' UNION ALL ')})`);
    differ('the rows of the log and of the tables', rows.size, n);
    const stored = await server.query('SELECT lower(hex(id)) AS hex, votes, x FROM card ORDER BY id');
    const dashed = (hex) => hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
    differ(
      'the cards of the log and of the table',
      ofLog,
      sorted(stored.map(({ hex, votes, x }) => [`card ${dashed(hex)}`, votes, x])),
    );
    differ('dangling references', await server.query('PRAGMA foreign_key_check'), []);
    differ('the check of SQLite', await server.query('PRAGMA integrity_check'), [{ integrity_check: 'ok' }]);
    await runDriftline([
      'check',
      '--schema',
      PLACE.schema,
      '--migrations',
      PLACE.migrations,
      '--data',
      server.data,
    ]).catch((error) => found.push(`driftline check: ${error.stdout}${error.stderr}`));

    const fresh = await openBrowser();
    const page = await fresh.context.newPage();
    await openSite(page, server.url);
    await page.evaluate(([schema, space]) => window.start(schema, space), [SCHEMA, SPACE]);
    await untilSynced(page);
    const expected = await serverDigest(server, SPACE);
    for (const [who, one] of [
      ['a tab', run.pages[0]],
      ['the other tab', run.pages[1]],
      ['a fresh browser', page],
    ]) {
      const { rev, digest } = await one.evaluate(() => window.db.digest);
      differ(`the digest of ${who} and of the server`, { rev, digest }, expected);
      const cards = (await view(one)).filter(([name]) => name.startsWith('card '));
      differ(
        `the cards of ${who} and of the server`,
        sorted(cards.map(([name, { votes, x }]) => [name, votes, x])),
        ofLog,
      );
    }
    await fresh.close();
    return found;
  }
}

const sorted = (rows) => rows.sort(([a], [b]) => (a < b ? -1 : 1));

/** What a run did and found, as lines. */
export function describe({ seed, seconds, kills, lengths, faults, edits, refusals, log, found }) {
  const list = (counts) =>
    Object.entries(counts)
      .map(([name, count]) => `${name} ${count}`)
      .join(', ');
  const ofServer = kills.random + kills.before_commit + kills.after_commit;
  const lines = [
    `seed ${seed}, ${seconds} s`,
    `kills of the server: ${ofServer} (at random moments ${kills.random}, before a commit ${kills.before_commit}, after one ${kills.after_commit})`,
    `kills of the browser: ${kills.browser}, two tabs each`,
    `the server's kills met the log at ${new Set(lengths).size} lengths: ${lengths.join(' ')}`,
    `faults of the network: ${list(faults)}`,
    `edits: ${list(edits)}; transactions applied: ${log.length}`,
    `lost ${found.lost.length}, doubled ${found.double.length}, misordered ${found.misordered.length}, ` +
      `made by nobody ${found.nobody.length}, differing ${found.differing.length}`,
  ];
  if (Object.keys(refusals).length > 0) lines.push(`refused when made: ${list(refusals)}`);
  return [...lines, ...Object.values(found).flatMap((some) => some.slice(0, 20))];
}

async function main(args) {
  const number = (name, value) => {
    if (!/^\d+$/.test(value)) throw new Error(`--${name} takes a number`);
    return Number(value);
  };
  const options = {
    server: { type: 'string', default: '200' },
    browser: { type: 'string', default: '100' },
    seed: { type: 'string' },
  };
  const { values } = parseArgs({ args, options });
  const result = await runKills({
    serverKills: number('server', values.server),
    browserKills: number('browser', values.browser),
    seed: number('seed', values.seed ?? String(Date.now() % 1_000_000)),
    tell: say,
  });
  console.log(`\n${describe(result).join('\n')}`);
  process.exit(Object.values(result.found).flat().length > 0 ? 1 : 0);
}

await runAsCommand(import.meta.url, main);
