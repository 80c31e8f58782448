// The server's disk: full, failing, and with a database on it that is not as it was left.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { smallDisk } from './disk.mjs';
import { openBrowser, ROOT, runDriftline, startNetwork, startServer, tempDir, until } from './harness.mjs';
import { assertSound } from './ledger.mjs';
import { readLog, serverDigest } from './log.mjs';
import { makeSite, openSite, untilSynced } from './page.mjs';

const SERVER = join(ROOT, 'www', 'server');
const PLACE = { schema: join(SERVER, 'schema.json'), migrations: join(SERVER, 'migrations') };
const schema = JSON.parse(readFileSync(PLACE.schema, 'utf8'));
const SPACE = 'disk';
const CLIENT = 'd15c000000000001';

const idOf = (seq) => `01990000-0000-7000-8000-${String(seq).padStart(12, '0')}`;

/** A transaction that makes a card; the same number makes the same bytes. */
const makeCard = (seq, chars) => ({
  txns: [
    {
      key: [0, seq],
      body: {
        schema: 1,
        at: [1_790_000_000_000, seq],
        edits: [{ op: 'create', table: 'card', id: idOf(seq), set: { text: 'x'.repeat(chars), votes: 1 } }],
      },
    },
  ],
  after: [],
});

const CODES = ['server_full', 'server_disk', 'server_corrupt'];

async function post(server, units, { cursor = null, receipt = null } = {}) {
  const clients = [{ id: CLIENT, receipt, closed: [] }];
  const response = await fetch(`${server.url}/v1/spaces/${SPACE}/reconcile`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ epoch: 1, cursor, clients, units }),
  });
  const { status, headers } = response;
  return { status, headers, json: await response.json() };
}

function assertRefused({ status, headers, json }, expectedStatus, code) {
  assert.deepEqual([status, json.code], [expectedStatus, code]);
  assert.equal(headers.get('content-type'), 'application/problem+json');
  assert.ok(Number(headers.get('retry-after')) > 0, 'it says when to come back');
}

const check = (server, disk) =>
  runDriftline(['check', '--schema', PLACE.schema, '--migrations', PLACE.migrations, '--data', server.data], { disk });

async function assertAll(server, seqs) {
  const log = await readLog(server, SPACE);
  await assertSound(server, schema, log);
  const keys = log.map((part) => part.key).filter((key) => key.startsWith(CLIENT));
  assert.deepEqual(keys.sort(), seqs.map((seq) => `${CLIENT}:${seq}`).sort(), 'each is there once');
}

// ---- Full ----

/** Pushes cards until the disk takes no more; returns the numbers of those that were applied and of the one that was not. */
async function pushUntilFull(server, from, chars) {
  const [applied, outcomes] = [[], []];
  for (let seq = from; ; seq += 1) {
    const answer = await post(server, [makeCard(seq, chars)]);
    if (answer.status !== 200) {
      assertRefused(answer, 507, 'server_full');
      return { applied, outcomes, refused: seq };
    }
    assert.equal(answer.json.outcomes[0].outcome, 'applied');
    applied.push(seq);
    outcomes.push(answer.json.outcomes[0]);
    assert.ok(applied.length < 5_000, 'it gets full');
  }
}

test('r1_a_full_disk_refuses_writes_with_a_code_serves_reads_and_goes_on_when_there_is_room', async (t) => {
  // The log beside the database is folded into it from 4 MB on: in the first case it cannot grow as far, in the second the
  // database cannot take it.
  for (const [what, leave] of Object.entries({ 'the log cannot grow': 1_500_000, 'the fold has no room': 7_000_000 })) {
    const disk = await smallDisk({ megabytes: 16 });
    const server = await startServer({ ...PLACE, disk });
    const { pid } = server;
    disk.fill({ leave });
    const { applied, outcomes, refused } = await pushUntilFull(server, 1, 60_000);
    const small = await pushUntilFull(server, refused + 1, 10);
    const seqs = [...applied, ...small.applied];
    t.diagnostic(`${what}: ${applied.length} large and ${small.applied.length} small pushes until it was full`);

    // Whoever only reads is served: new readers, and those who ask for what has changed.
    const snapshot = await fetch(`${server.url}/v1/spaces/${SPACE}/snapshot`);
    assert.equal(snapshot.status, 200);
    assert.match(await snapshot.text(), /\{"end":true\}\s*$/);
    disk.fill();
    let receipt = null;
    const isLookedUp = async () => {
      const pulled = await post(server, [], { cursor: seqs.length - 1, receipt });
      assert.deepEqual([pulled.status, pulled.json.rev, pulled.json.changes.length], [200, seqs.length, 1]);
      // As long as there is room in the log, it is written down who asked; from then on the receipt stays as it is.
      const echoed = receipt;
      receipt = pulled.json.clients[0].receipt;
      return receipt === echoed;
    };
    await until('nothing more to fit in', isLookedUp, { everyMs: 0 });

    // A repeat of what was applied before gets the first answer where that it came fits in, and is refused otherwise.
    const again = await post(server, [makeCard(seqs[0], 60_000)]);
    if (again.status === 200) assert.deepEqual(again.json.outcomes[0], outcomes[0]);
    else assertRefused(again, 507, 'server_full');

    // It may also be killed, and be started on a disk that is still full.
    if (what === 'the log cannot grow') {
      assert.equal(server.pid, pid, 'it has not been started anew');
      await server.kill();
      await server.restart().catch((error) => assert.match(error.message, /server_full: .* make room/));
    }
    disk.free();
    if (what === 'the log cannot grow') {
      await server.kill();
      await server.restart();
    } else assert.equal(server.pid, pid, 'it goes on by itself');
    for (const seq of [...seqs, refused, small.refused]) {
      const chars = seq <= refused ? 60_000 : 10;
      const { status, json } = await post(server, [makeCard(seq, chars)]);
      assert.deepEqual([status, json.outcomes?.[0].outcome], [200, 'applied'], `transaction ${seq}`);
    }
    await assertAll(server, [...seqs, refused, small.refused]);
    assert.match(await check(server, disk), /nothing is wrong/);
    assert.equal(await server.stop(), 0);
  }
});

test('r6_a_browser_says_that_the_server_is_full_keeps_all_and_drains_by_itself_when_there_is_room', async () => {
  const disk = await smallDisk({ megabytes: 16 });
  const server = await startServer({ ...PLACE, disk, staticDir: makeSite() });
  const network = await startNetwork(server.port);
  const browser = await openBrowser();
  const open = async ({ context }) => {
    const page = await context.newPage();
    await openSite(page, network.url);
    await page.evaluate(([schema, space]) => window.start(schema, space), [schema, SPACE]);
    return page;
  };
  const page = await open(browser);
  await page.evaluate(() => {
    window.made = [];
    window.make = (count) => {
      const { card } = window.db.tables;
      for (let i = 0; i < count; i += 1) {
        const made = card.create({ text: `card ${window.made.length} ${'x'.repeat(500)}` });
        window.made.push(made, card.update(made.id, { votes: window.driftline.increment(1) }));
      }
      return Promise.all(window.made.map((change) => change.saved));
    };
    return window.make(100);
  });
  await untilSynced(page);

  disk.fill();
  await page.evaluate(() => window.make(100).then(() => undefined));
  const status = () => page.evaluate(() => window.db.status);
  const isToldSo = async () => {
    const { state, reason } = await status();
    return state === 'not_saving' && reason === 'server_full';
  };
  await until('the reason', isToldSo);
  assert.ok((await status()).queued > 0);
  assert.equal(await page.evaluate(() => window.db.tables.card.size), 200, 'the view has all');
  // Whoever comes now sees what was there before, and is not told that anything fails.
  const other = await openBrowser();
  const reader = await open(other);
  await until('the reader to have the rows', () => reader.evaluate(() => window.db.tables.card.size === 100));
  await until('the reader to be at rest', () => reader.evaluate(() => window.db.status.state === 'saved'));

  const { pid } = server;
  disk.free();
  await untilSynced(page);
  assert.equal(server.pid, pid);
  await until('the reader to have the rest', () => reader.evaluate(() => window.db.tables.card.size === 200));
  const log = await readLog(server, SPACE);
  await assertSound(server, schema, log);
  const votes = await server.query('SELECT count(*) AS n, sum(votes) AS votes FROM card');
  assert.deepEqual(votes, [{ n: 200, votes: 200 }]);
  const { digest } = await serverDigest(server, SPACE);
  assert.equal(await page.evaluate(() => window.db.digest.digest), digest);
  assert.match(await check(server, disk), /nothing is wrong/);
  await other.close();
  await browser.close();
  await server.stop();
});

// ---- Failing ----

/** Has system calls of a process fail while `body` runs. */
async function whileFailing(pid, calls, how, body) {
  const args = [
    '-f',
    '-qq',
    '-e',
    `trace=${calls}`,
    '-e',
    `inject=${calls}:${how}`,
    '-o',
    '/dev/null',
    '-p',
    String(pid),
  ];
  const strace = spawn('strace', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  strace.stderr.on('data', (data) => {
    said += data;
  });
  const ended = new Promise((done) => strace.once('close', done));
  const isTraced = (thread) => /^TracerPid:\t[1-9]/m.test(readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8'));
  const isAttached = () => readdirSync(`/proc/${pid}/task`).every(isTraced);
  try {
    await until('strace to attach', () => isAttached() || strace.exitCode !== null);
    assert.ok(isAttached(), `strace has to be allowed to attach to processes of the same user here: ${said}`);
    return await body();
  } finally {
    strace.kill('SIGINT');
    await ended;
  }
}

test('d3_a_disk_that_fails_in_the_midst_of_a_commit_loses_and_doubles_nothing', async (t) => {
  const server = await startServer(PLACE);
  const seqs = [];
  let seq = 0;
  const apply = async () => {
    seqs.push(seq);
    const { status, json } = await post(server, [makeCard(seq, 60_000)]);
    assert.deepEqual([status, json.outcomes?.[0].outcome], [200, 'applied'], `transaction ${seq}`);
  };
  let refused = 0;
  for (const calls of ['fsync,fdatasync', 'pwrite64', 'ftruncate,fallocate', 'pread64']) {
    for (const [error, code] of [
      ['EIO', 'server_disk'],
      ['ENOSPC', 'server_full'],
    ]) {
      for (let round = 0; round < 4; round += 1) {
        seq += 1;
        const how = `error=${error}:when=${1 + 2 * round}+`;
        const answer = await whileFailing(server.pid, calls, how, () => post(server, [makeCard(seq, 60_000)]));
        if (answer.status !== 200) {
          refused += 1;
          assert.ok(CODES.includes(answer.json.code), `${calls} ${how}: ${JSON.stringify(answer.json)}`);
          if (calls === 'pwrite64') assertRefused(answer, code === 'server_full' ? 507 : 503, code);
          if (calls.startsWith('fsync')) assert.equal(answer.json.unsure, true, 'what was written may be found later');
        }
        // The next process finds on the disk whatever had reached it.
        if (round % 2 === 1) {
          await server.kill();
          await server.restart();
        }
        await apply();
      }
    }
  }
  t.diagnostic(`${refused} of ${seq} pushes met a failure`);
  assert.ok(refused >= 12, `${refused} pushes met a failure`);
  await assertAll(server, seqs);
  assert.match(await check(server), /nothing is wrong/);
  await server.stop();
});

// ---- Not as it was left ----

const FILE = 'driftline.db';
const WAL = `${FILE}-wal`;

/** A folder with a database in which `count` cards are applied, as a server leaves it that is killed, or that is stopped. */
async function makeDatabase(count, { isKilled }) {
  const server = await startServer(PLACE);
  for (let seq = 1; seq <= count; seq += 1) {
    const { json } = await post(server, [makeCard(seq, 2_000)]);
    assert.equal(json.outcomes[0].outcome, 'applied');
  }
  await (isKilled ? server.kill() : server.stop());
  return server.data;
}

function copyOf(data) {
  const copy = tempDir('data');
  for (const name of [FILE, WAL]) if (existsSync(join(data, name))) copyFileSync(join(data, name), join(copy, name));
  return copy;
}

const contents = (data) =>
  [FILE, WAL].map((name) => existsSync(join(data, name)) && readFileSync(join(data, name), 'hex'));

/** Runs the binary where it should refuse to; returns its exit code and what it said. */
const run = (data, command) =>
  runDriftline([...command, '--schema', PLACE.schema, '--migrations', PLACE.migrations, '--data', data]).then(
    (said) => ({ code: 0, said }),
    ({ code, stdout, stderr }) => ({ code, said: stdout + stderr }),
  );

test('m1_a_damaged_database_is_refused_with_a_code_and_never_replaced_by_a_new_one', async () => {
  const [stopped, killed] = [await makeDatabase(30, { isKilled: false }), await makeDatabase(30, { isKilled: true })];
  assert.ok(statSync(join(killed, WAL)).size > 100_000, 'what was applied is in the log beside the database');
  const overwrite = (bytes) => (file) => writeFileSync(file, bytes, { flag: 'r+' });
  const damages = {
    'garbage in the header': [stopped, overwrite(Buffer.alloc(100, 0xa5))],
    'another file in its place': [stopped, (file) => writeFileSync(file, 'Notes of a meeting\n'.repeat(500))],
    'cut in half': [stopped, (file) => truncateSync(file, Math.floor(statSync(file).size / 2))],
    'cut to one page': [stopped, (file) => truncateSync(file, 4096)],
    'cut to nothing, beside its log': [killed, (file) => truncateSync(file, 0)],
  };
  const commands = [['serve', '--listen', '127.0.0.1:0'], ['migrate', 'apply'], ['migrate', 'status'], ['check']];
  for (const [what, [data, damage]] of Object.entries(damages)) {
    for (const command of commands) {
      const copy = copyOf(data);
      damage(join(copy, FILE));
      const before = contents(copy);
      const { code, said } = await run(copy, command);
      assert.equal(code, 2, `${what}, ${command}: ${said}`);
      assert.match(said, /server_corrupt: .*put a backup in/, `${what}, ${command}`);
      assert.doesNotMatch(said, /listening|applied/);
      assert.deepEqual(contents(copy), before, `${what}, ${command}: nothing has changed`);
    }
  }
  // Without its log beside it, an empty file may be one that was never begun: that is for the operator to say.
  const empty = copyOf(stopped);
  truncateSync(join(empty, FILE), 0);
  const { code, said } = await run(empty, ['serve', '--listen', '127.0.0.1:0']);
  assert.equal(code, 2, said);
  assert.match(said, /server_corrupt: .* is empty: .*run: driftline migrate apply; .*put a backup in/);
  assert.equal(statSync(join(empty, FILE)).size, 0);

  // What lies beyond what a start looks at is found by those who look.
  const torn = copyOf(stopped);
  const size = statSync(join(torn, FILE)).size;
  overwrite(Buffer.alloc(size - 40_960, 0xa5))(join(torn, FILE));
  assert.notEqual((await run(torn, ['check'])).code, 0);
});

test('d3_a_torn_log_leads_back_to_the_last_commit_and_a_resend_to_all_of_it', async (t) => {
  const count = 30;
  const data = await makeDatabase(count, { isKilled: true });
  const whole = statSync(join(data, WAL)).size;
  const lengths = [];
  const tear = {
    'its last byte is missing': (file) => truncateSync(file, whole - 1),
    'its last frame is half there': (file) => truncateSync(file, whole - 2_000),
    'a third of it is missing': (file) => truncateSync(file, Math.floor((whole * 2) / 3)),
    'only its head is left': (file) => truncateSync(file, 32),
    'its last frame is garbage': (file) => {
      truncateSync(file, whole - 4_096);
      appendFileSync(file, Buffer.alloc(4_096, 0xa5));
    },
    'garbage follows it': (file) => appendFileSync(file, Buffer.alloc(10_000, 0xa5)),
  };
  for (const [what, damage] of Object.entries(tear)) {
    const copy = copyOf(data);
    damage(join(copy, WAL));
    const server = await startServer({ ...PLACE, data: copy });
    const log = await readLog(server, SPACE);
    lengths.push(log.length);
    assert.deepEqual(
      log.map((part) => part.key),
      Array.from({ length: log.length }, (_, i) => `${CLIENT}:${i + 1}`),
      `${what}: what is left is what came first`,
    );
    for (let seq = 1; seq <= count; seq += 1) {
      const { json } = await post(server, [makeCard(seq, 2_000)]);
      assert.deepEqual([json.outcomes[0].outcome, json.outcomes[0].rev], ['applied', seq], what);
    }
    await assertAll(
      server,
      Array.from({ length: count }, (_, i) => i + 1),
    );
    assert.match(await check(server), /nothing is wrong/);
    await server.stop();
  }
  t.diagnostic(`of ${count} transactions ${lengths.join(', ')} were left`);
  const [byte, frame, third, head, last, more] = lengths;
  assert.deepEqual([byte, frame, head, last, more], [count - 1, count - 1, 0, count - 1, count]);
  assert.ok(third > 0 && third < count - 1);
});
