// A scripted hour of two people at one canvas: the real app in two browsers, the real server, and kills of tabs, browsers and server on
// networks that fail. In the end both must see the same picture, with every edit in it that they saw done, and the inspector must have
// explained every wait on the way.
//
//   npm run hour -- --minutes 60 --seed 7
//
// A minute of the script is a round; it takes less on the clock. The same seed is the same script of actions and troubles.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { runAsCommand, say } from '../../scripts/run.mjs';
import { ROOT, startServer, tempDir, until } from '../browser/harness.mjs';
import { readRows } from './canvas.mjs';
import { checkPictures, checkRows, settle, TABLES } from './checks.mjs';
import { Hands } from './hands.mjs';
import { Ledger } from './ledger.mjs';
import { Person } from './person.mjs';
import { PEOPLE, planHour } from './script.mjs';
import { bring } from './troubles.mjs';
import { Watch } from './watch.mjs';

const APP = join(ROOT, 'www');
const SCHEMA = join(APP, 'server', 'schema.json');
const SPACE = 'hour';
const PACE_MS = 300;
const KEPT_MS = 5_000;
const PICTURES = process.env.DRIFTLINE_PICTURES;

/** Runs it to the end and returns what was done and what is wrong. `folder` is where the pictures are left. */
export async function runHour({ rounds, seed, folder = PICTURES ?? tempDir('hour'), tell = () => {} }) {
  const began = Date.now();
  const server = await startServer({
    schema: SCHEMA,
    migrations: join(APP, 'server', 'migrations'),
    staticDir: join(APP, 'dist'),
  });
  const people = [];
  for (const [index, name] of PEOPLE.entries())
    people.push(await Person.open({ name, space: SPACE, serverPort: server.port, seed: seed + index }));
  const run = { seed, rounds, folder, ledger: new Ledger(), watch: new Watch(), troubles: {}, failures: [] };
  await makeCorners(people[0], run.ledger);
  run.watch.start(people);
  for (const [index, round] of planHour({ seed, rounds }).entries()) {
    await playRound(round, people, server, run);
    const { seen, unsure, skipped } = run.ledger.counts;
    const kinds = round.troubles
      .map(({ kind, who }) => (kind === 'server-killed' ? kind : `${kind} (${who})`))
      .join(', ');
    tell(
      `minute ${index + 1} of ${rounds}: ${kinds || 'no trouble'}; ${seen} actions seen, ${unsure} cut short, ${skipped} left out`,
    );
    if (run.failures.length > 0) break;
  }
  const end = async () => {
    run.parked = await settle(people, run.ledger);
    await run.watch.stop();
    run.rows = await checkRows({
      people,
      server,
      ledger: run.ledger,
      schema: JSON.parse(readFileSync(SCHEMA, 'utf8')),
      space: SPACE,
    });
    await checkPictures(people, folder);
  };
  if (run.failures.length === 0) await attempt(run, end);
  await run.watch.stop();
  run.failures.push(
    ...run.watch.wrong,
    ...people.flatMap(({ name, errors }) => errors.map((one) => `${name}: ${one}`)),
  );
  for (const { browser } of people) await browser.close();
  await server.stop();
  run.seconds = Math.round((Date.now() - began) / 1000);
  return run;
}

/** Two small cards that nobody touches keep the view the same from the first card on. */
async function makeCorners({ name, tabs: [page], untilOnDisk }, ledger) {
  for (const [text, x, y] of [
    ['North-west', -120, -110],
    ['South-east', 1840, 860],
  ]) {
    const set = { text, x, y, width: 80, height: 48 };
    const id = await page.evaluate((set) => window.driftline.tables.card.create(set).id, set);
    ledger.seen(name, [{ op: 'create', table: 'card', id, name: text, set }]);
  }
  await untilOnDisk(page);
}

async function playRound({ actions, troubles, secondTab }, people, server, run) {
  const person = people.find(({ name }) => name === secondTab);
  await attempt(run, async () => {
    if (person && person.tabs.length === 1) await person.openTab();
    await Promise.all([
      ...people.map((one) => work(one, actions[one.name], run)),
      ...troubles.map(async (trouble) => {
        run.troubles[trouble.kind] = (run.troubles[trouble.kind] ?? 0) + 1;
        await bring(trouble, people, server);
        const killed = trouble.kind.includes('killed') && people.find(({ name }) => name === trouble.who);
        if (killed) await checkKept(killed, run);
      }),
    ]);
    for (const one of people) {
      await one.tab();
      await one.closeSecondTab();
    }
  });
}

/** What a person has seen saved is on this device after each kill, whatever the server has of it. */
async function checkKept(person, { ledger, watch }) {
  let missing;
  const isKept = async () => {
    const page = await person.tab();
    const rows = await Promise.all(TABLES.map((table) => page.evaluate(readRows, table)));
    const ids = rows.flat().map(({ id }) => id);
    missing = ledger.missing(person.name, ids);
    return missing.length === 0;
  };
  // It may be killed once more meanwhile.
  const isKeptOrDead = () =>
    isKept().catch((error) => {
      watch.swallowed.add(error.message);
      return false;
    });
  await until(`${person.name} to see all again`, isKeptOrDead, { timeoutMs: KEPT_MS }).catch((error) => {
    throw new Error(`${error.message}: ${missing?.join(', ')}`);
  });
}

async function work(person, actions, run) {
  for (const action of actions) {
    await person.alone(() => carryOut(person, action, run));
    await sleep(PACE_MS);
  }
}

async function carryOut(person, action, { ledger, watch, folder }) {
  const page = await person.tab(action.tab);
  const { lives } = person;
  const hands = new Hands(page, ledger, PACE_MS);
  let plan;
  try {
    await page.bringToFront();
    plan = await hands.prepare(action);
    if (!plan) {
      ledger.counts.skipped += 1;
      return;
    }
    const { rev } = await page.evaluate(() => window.driftline.status);
    const changes = await plan.act();
    await person.untilOnDisk(page);
    ledger.seen(person.name, changes, rev);
  } catch (error) {
    // Killed in the midst of it; somebody else has just deleted what it is about; or it lies below something else.
    const isCovered = error.message.includes('intercepts pointer events');
    const isExplained = isCovered || person.lives !== lives || !(await hands.areThere(action).catch(() => true));
    if (!isExplained) throw await described(error, person, action, page, folder);
    watch.swallowed.add(`${action.do}: ${error.message}`);
    if (plan) ledger.unsure(person.name, plan.may);
  }
}

async function described(error, { name }, action, page, folder) {
  const path = join(folder, 'failure.png');
  await page.screenshot({ path }).catch(() => {});
  return new Error(`${name} could not ${JSON.stringify(action)}: ${error.message}\nThe page: ${path}`, {
    cause: error,
  });
}

async function attempt(run, act) {
  await act().catch((error) => run.failures.push(error.message));
}

/** What a run did and found, as lines. */
export function describe({ seed, rounds, seconds, ledger, watch, troubles, parked, rows, failures }) {
  const list = (counts) =>
    Object.entries(counts)
      .map(([name, count]) => `${name} ${count}`)
      .join(', ');
  return [
    `seed ${seed}, ${rounds} rounds in ${seconds} s`,
    `troubles: ${list(troubles)}`,
    `actions: ${list(ledger.counts)}; held back and given up: ${parked ?? '?'}; rows in the end: ${rows ?? '?'}`,
    `waits that were looked at in ${watch.samples} samples, by what the inspector said:`,
    ...watch.table.lines,
    'of these the device itself said otherwise for a moment:',
    ...watch.momentary.lines,
    'errors that a kill, a closed tab, somebody else’s deletion or what lies above explains:',
    ...watch.swallowed.lines,
    failures.length === 0 ? 'both see the same picture, and every wait was explained' : `wrong: ${failures.length}`,
    ...failures,
  ];
}

async function main(args) {
  const { values } = parseArgs({
    args,
    options: { minutes: { type: 'string', default: '60' }, seed: { type: 'string' } },
  });
  const rounds = Number(values.minutes);
  const seed = Number(values.seed ?? Date.now() % 1_000_000);
  if (!Number.isInteger(rounds) || rounds < 1 || !Number.isInteger(seed))
    throw new Error('--minutes and --seed take numbers');
  say(`seed ${seed}`);
  // Pictures that differ are there to be looked at afterwards.
  const folder = PICTURES ?? mkdtempSync(join(tmpdir(), 'driftline-hour-'));
  const run = await runHour({ rounds, seed, folder, tell: say });
  console.log(`\n${describe(run).join('\n')}`);
  if (run.failures.length > 0) process.exit(1);
  if (!PICTURES) rmSync(folder, { recursive: true });
  process.exit(0);
}

await runAsCommand(import.meta.url, main);
