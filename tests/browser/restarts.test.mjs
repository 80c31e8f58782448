// The server by itself: started hundreds of times, on databases that it must not touch, and under requests that no client makes.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT, runDriftline, SERVER_BINARY, startServer, tempDir } from './harness.mjs';

const FOLDER = join(ROOT, 'tests', 'schemas', 'tree');
const SCHEMA = join(FOLDER, 'schema.json');
const MIGRATIONS = join(FOLDER, 'migrations');

const start = (options = {}) => startServer({ schema: SCHEMA, migrations: MIGRATIONS, ...options });

let made = 0;
/** A number that no earlier call returned. */
function next() {
  made += 1;
  return made;
}

const newId = () => `01990000-0000-7000-8000-${String(next()).padStart(12, '0')}`;

const CLIENT = 'c11e000000000001';

/** A push of one transaction, as text. */
function push(edits, { key = [0, next()], schema = 1 } = {}) {
  const body = { schema, at: [Date.now(), 0], edits };
  const clients = [{ id: CLIENT, receipt: null, closed: [] }];
  return JSON.stringify({ epoch: 1, cursor: null, clients, units: [{ txns: [{ key, body }], after: [] }] });
}

async function post(server, body, { path = '/v1/spaces/one/reconcile', headers = {}, method = 'POST' } = {}) {
  const response = await fetch(server.url + path, {
    method,
    headers: { 'content-type': 'application/json', ...headers },
    body: method === 'GET' ? undefined : body,
  });
  const text = await response.text();
  return { status: response.status, type: response.headers.get('content-type'), json: parsed(text) };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function assertServes(server, why, schema = 1) {
  const create = { op: 'create', table: 'branch', id: newId(), set: { name: why } };
  const { status, json } = await post(server, push([create], { schema }));
  assert.equal(status, 200, why);
  assert.equal(json.outcomes[0].outcome, 'applied', why);
}

// ---- Starts ----

test('m2_1000_starts_leave_the_tables_byte_for_byte_as_they_were', async (t) => {
  const server = await start();
  await assertServes(server, 'before');
  const tables = async () => JSON.stringify(await server.query('SELECT * FROM sqlite_master ORDER BY rowid'));
  const before = await tables();
  const times = [];
  for (let restart = 1; restart <= 1000; restart += 1) {
    if (restart % 2 === 0) await server.kill();
    else assert.equal(await server.stop(), 0, 'it ends in order when it is asked to');
    const began = performance.now();
    await server.restart();
    times.push(performance.now() - began);
    if (restart % 100 === 0) await assertServes(server, `after restart ${restart}`);
  }
  await server.stop();
  assert.equal(await tables(), before);
  const [{ n }] = await server.query('SELECT count(*) AS n FROM branch');
  assert.equal(n, 11);
  const median = (part) => [...part].sort((a, b) => a - b)[Math.floor(part.length / 2)];
  const [first, last] = [median(times.slice(0, 20)), median(times.slice(-20))];
  t.diagnostic(`a start takes ${first.toFixed(0)} ms at first and ${last.toFixed(0)} ms at last`);
  assert.ok(last < first * 2 + 20, 'the last starts are as fast as the first');
});

/** Runs the server where it should refuse to; returns its exit code and what it said. */
function serve(args) {
  return new Promise((done) => {
    const child = execFile(SERVER_BINARY, ['serve', ...args], { timeout: 10_000 }, (_error, stdout, stderr) => {
      done({ code: child.exitCode, said: stdout + stderr });
    });
  });
}

/** A database with some rows, and its server stopped. */
async function stoppedDatabase() {
  const server = await start();
  await assertServes(server, 'some row');
  await server.stop();
  return server.data;
}

/** All files of a folder and what is in them. */
function contents(folder) {
  const hash = (file) =>
    createHash('sha256')
      .update(readFileSync(join(folder, file)))
      .digest('hex');
  return Object.fromEntries(
    readdirSync(folder)
      .sort()
      .map((file) => [file, hash(file)]),
  );
}

async function assertRefuses(data, { schema = SCHEMA, migrations = MIGRATIONS, code, advice }) {
  const before = contents(data);
  const { code: exitCode, said } = await serve([
    ...['--schema', schema, '--migrations', migrations, '--data', data, '--listen', '127.0.0.1:0'],
  ]);
  assert.equal(exitCode, 2, said);
  assert.match(said, new RegExp(code));
  assert.match(said, advice);
  assert.doesNotMatch(said, /listening/);
  assert.deepEqual(contents(data), before, 'nothing has changed');
}

/** A copy of schema and migrations, to change. */
function copyOfFolder() {
  const folder = tempDir('schema');
  cpSync(FOLDER, folder, { recursive: true });
  return { folder, schema: join(folder, 'schema.json'), migrations: join(folder, 'migrations') };
}

test('m1_a_migration_that_was_not_applied_is_refused_and_left_to_the_operator', async () => {
  const data = await stoppedDatabase();
  const { schema, migrations } = copyOfFolder();
  const wider = JSON.parse(readFileSync(schema, 'utf8'));
  wider.version = 2;
  // A server of version 1 could make no leaf: it gives no color.
  wider.tables.leaf.fields.color = { type: 'text', default: '' };
  writeFileSync(schema, JSON.stringify(wider));
  // The schema has changed, and there is no migration for it yet.
  await assertRefuses(data, { schema, migrations, code: 'schema_differs', advice: /run: driftline migrate plan/ });
  const place = ['--schema', schema, '--migrations', migrations, '--data', data];
  await runDriftline(['migrate', 'plan', ...place, '--name', 'color']);
  await assertRefuses(data, { schema, migrations, code: 'migration_pending', advice: /run: driftline migrate apply/ });
  // What it says to run is what helps.
  await runDriftline(['migrate', 'apply', ...place]);
  const server = await startServer({ schema, migrations, data });
  await assertServes(server, 'after the migration', 2);
  await server.stop();

  // The same database under the older files: it is ahead of them.
  await assertRefuses(data, { code: 'server_too_old', advice: /use the files, and the server, that belong to it/ });
});

test('m1_a_migration_that_was_altered_after_it_was_applied_is_refused', async () => {
  const data = await stoppedDatabase();
  const { schema, migrations } = copyOfFolder();
  const file = join(migrations, '0001_create.sql');
  writeFileSync(file, `${readFileSync(file, 'utf8')}-- and more\n`);
  await assertRefuses(data, { schema, migrations, code: 'migration_changed', advice: /restore the file/ });
});

test('m1_a_place_without_a_database_is_refused_and_stays_empty', async () => {
  const data = tempDir('data');
  await assertRefuses(data, { code: 'no_database', advice: /run: driftline migrate apply/ });
  const empty = tempDir('migrations');
  const place = ['--schema', SCHEMA, '--migrations', MIGRATIONS, '--data', data];
  await runDriftline(['migrate', 'apply', ...place]);
  await assertRefuses(data, { migrations: empty, code: 'migration_unknown', advice: /use the files/ });
  rmSync(empty, { recursive: true });
});

test('a5_without_credentials_it_serves_its_own_machine_only', async () => {
  const data = await stoppedDatabase();
  const place = ['--schema', SCHEMA, '--migrations', MIGRATIONS, '--data', data];
  for (const listen of ['0.0.0.0:0', '[::]:0']) {
    const { code, said } = await serve([...place, '--listen', listen]);
    assert.equal(code, 2, said);
    assert.match(said, /open_needs_loopback/);
    assert.doesNotMatch(said, /listening/);
  }
  // A page of another site that names this machine, and a name that was made to point to it.
  const server = await start({ data });
  for (const headers of [{ origin: 'http://evil.example' }, { origin: 'null' }]) {
    const { status, json } = await post(server, push([]), { headers });
    assert.deepEqual([status, json.code], [403, 'forbidden']);
  }
  const answer = await raw(server, 'GET /v1/spaces/one/snapshot HTTP/1.1\r\nhost: evil.example\r\n\r\n');
  assert.match(answer, /^HTTP\/1\.1 403 /);
  await server.stop();
});

// ---- Requests that no client makes ----

/** Sends bytes as they are (`null`: no more will come) and returns what comes back until an answer is there or the connection ends. */
function raw(server, ...chunks) {
  return new Promise((done) => {
    const socket = connect(server.port, '127.0.0.1');
    let answer = '';
    const end = () => {
      socket.destroy();
      done(answer);
    };
    socket.on('data', (data) => {
      answer += data;
      if (answer.includes('\r\n\r\n')) end();
    });
    socket.on('error', end);
    socket.on('close', end);
    socket.setTimeout(10_000, end);
    for (const chunk of chunks) chunk === null ? socket.end() : socket.write(chunk);
  });
}

const deep = (depth) => '['.repeat(depth) + ']'.repeat(depth);

test('r4_a_body_that_is_no_push_gets_a_coded_answer', async () => {
  const server = await start();
  const good = push([]);
  const bad = {
    nothing: '',
    'not JSON': 'hello',
    'a cut one': good.slice(0, -5),
    'half a character': Buffer.from([0x22, 0xff, 0xfe, 0x22]),
    zeros: Buffer.alloc(1000),
    'a number': '12',
    null: 'null',
    'an empty object': '{}',
    'another shape': '{"epoch":"x","clients":{},"units":7}',
    'depth beyond any stack': deep(500_000),
    'an object as deep': `${'{"a":'.repeat(200_000)}1${'}'.repeat(200_000)}`,
    'a number beyond all': `{"epoch":${'9'.repeat(10_000)},"cursor":null,"clients":[],"units":[]}`,
    'a client that is not there': push([], { key: [7, 1] }),
    'too many clients': JSON.stringify({
      ...JSON.parse(good),
      clients: Array.from({ length: 65 }, (_, i) => ({ id: String(i).padStart(16, '0'), receipt: null, closed: [] })),
    }),
  };
  for (const [what, body] of Object.entries(bad)) {
    const { status, type, json } = await post(server, body);
    assert.equal(type, 'application/problem+json', what);
    assert.equal(status, 400, what);
    assert.ok(['malformed', 'invalid_request'].includes(json.code), `${what}: ${json.code}`);
    assert.equal(json.status, status, what);
    assert.equal(json.type, `urn:driftline:${json.code}`, what);
    assert.ok(json.title && json.detail, what);
  }
  const others = [
    [await post(server, 'x'.repeat(4 * 1024 * 1024 + 1)), 413, 'too_large'],
    [await post(server, 'x'.repeat(30 * 1024 * 1024)), 413, 'too_large'],
    [await post(server, 'x'.repeat(30 * 1024 * 1024), { path: '/v1/nowhere' }), 404, 'not_found'],
    [await post(server, good, { headers: { 'content-type': 'text/plain' } }), 415, 'unsupported_media_type'],
    [await post(server, good, { headers: { 'content-encoding': 'gzip' } }), 415, 'unsupported_media_type'],
    [await post(server, good, { path: '/v1/spaces/one/elsewhere' }), 404, 'not_found'],
    [await post(server, good, { path: '/v1/spaces/no%20name/reconcile' }), 404, 'not_found'],
    [await post(server, good, { path: `/v1/spaces/${'n'.repeat(65)}/reconcile` }), 404, 'not_found'],
    [await post(server, good, { path: '/v1/spaces/%ff%00/reconcile' }), 404, 'not_found'],
    [await post(server, good, { method: 'GET' }), 405, 'method_not_allowed'],
    [await post(server, good, { path: '/v1/spaces/one/live', method: 'GET' }), 400, 'invalid_request'],
  ];
  for (const [answer, status, code] of others) {
    assert.deepEqual([answer.status, answer.json?.code, answer.type], [status, code, 'application/problem+json']);
  }
  await assertServes(server, 'after all of it');
  assert.deepEqual(panics(server), []);
  await server.stop();
});

test('r1_a_body_that_broke_off_is_asked_for_again_and_nobody_is_blamed', async () => {
  const server = await start();
  const create = { op: 'create', table: 'branch', id: newId(), set: { name: 'whole' } };
  const body = push([create]);
  const head = 'POST /v1/spaces/one/reconcile HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n';
  const begun = {
    'a length': `${head}content-length: ${body.length}\r\n\r\n${body.slice(0, -5)}`,
    chunks: `${head}transfer-encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body.slice(0, -5)}`,
  };
  for (const [what, bytes] of Object.entries(begun)) {
    // Only this direction ends, as where a relay has lost its other side: the answer still comes.
    const answer = await raw(server, bytes, null);
    assert.match(answer, /^HTTP\/1\.1 408 /, what);
    assert.match(answer, /application\/problem\+json/, what);
  }
  const { status, json } = await post(server, body);
  assert.deepEqual([status, json.outcomes[0].outcome], [200, 'applied']);
  await server.stop();
});

test('r4_a_bad_edit_is_refused_by_itself_and_its_neighbours_are_applied', async () => {
  const server = await start();
  const create = (set, more = {}) => ({ op: 'create', table: 'branch', id: newId(), set, ...more });
  const bad = {
    'no edits': [[], 'invalid'],
    'no such table': [[create({}, { table: 'root' })], 'invalid'],
    'an inner table': [[create({}, { table: '_log' })], 'invalid'],
    'no such field': [[create({ colour: 'red' })], 'invalid'],
    'a wrong type': [[create({ name: 7 })], 'invalid'],
    'a deep value': [[create({ name: JSON.parse(deep(100)) })], 'invalid'],
    'no such operation': [[create({}, { op: 'drop' })], 'invalid'],
    'not an id': [[create({}, { id: "'; DROP TABLE branch; --" })], 'invalid'],
    'too long a text': [[create({ name: 'x'.repeat(65_537) })], 'invalid'],
    'too many edits': [Array.from({ length: 1001 }, () => create({})), 'invalid'],
    'no parent named': [[{ op: 'create', table: 'twig', id: newId(), set: {} }], 'invalid'],
    'a parent that is not there': [
      [{ op: 'create', table: 'twig', id: newId(), set: { branch: newId() } }],
      'missing_parent',
    ],
    'an unknown row': [[{ op: 'update', table: 'branch', id: newId(), set: { name: 'x' } }], 'row_unknown'],
  };
  const bodies = Object.values(bad).map(([edits]) => ({ schema: 1, at: [Date.now(), 0], edits }));
  bodies.push({ schema: 99, at: [Date.now(), 0], edits: [create({})] });
  const codes = [...Object.values(bad).map(([, code]) => code), 'held'];
  const units = bodies.flatMap((body) => {
    const neighbour = { schema: 1, at: [Date.now(), 0], edits: [create({ name: "a neighbour's; DROP TABLE branch" })] };
    return [body, neighbour].map((one) => ({ txns: [{ key: [0, next()], body: one }], after: [] }));
  });
  const request = { epoch: 1, cursor: null, clients: [{ id: CLIENT, receipt: null, closed: [] }], units };
  const { status, json } = await post(server, JSON.stringify(request));
  assert.equal(status, 200);
  const found = json.outcomes.map(({ outcome, problem }) => problem?.code ?? outcome);
  assert.deepEqual(
    found,
    codes.flatMap((code) => [code, 'applied']),
  );
  const [{ n }] = await server.query('SELECT count(*) AS n FROM branch');
  assert.equal(n, codes.length);
  await assertServes(server, 'after all of it');
  assert.deepEqual(panics(server), []);
  await server.stop();
});

test('r4_heads_and_connections_that_are_no_requests_do_not_stop_the_server', async () => {
  const server = await start();
  const head = 'POST /v1/spaces/one/reconcile HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n';
  const answers = {
    'a huge header': await raw(server, `${head}x-long: ${'a'.repeat(1_000_000)}\r\n\r\n`),
    'a thousand headers': await raw(server, `${head}${'x: y\r\n'.repeat(1000)}\r\n`),
    'a huge path': await raw(server, `GET /${'a'.repeat(1_000_000)} HTTP/1.1\r\nhost: localhost\r\n\r\n`),
    'no request': await raw(server, `${'\0'.repeat(1000)}\r\n\r\n`),
    'two lengths': await raw(server, `${head}content-length: 5\r\ncontent-length: 6\r\n\r\nhello`),
    'no length that is a number': await raw(server, `${head}content-length: -1\r\n\r\n`),
    'a chunk that is none': await raw(server, `${head}transfer-encoding: chunked\r\n\r\nzz\r\n`),
  };
  for (const [what, answer] of Object.entries(answers)) {
    // A connection that is ended without a word is an answer too, to what was not HTTP.
    assert.match(answer, /^(HTTP\/1\.1 4\d\d |$)/, what);
  }
  const claimed = await raw(server, `${head}content-length: 99999999999\r\n\r\n`);
  assert.match(claimed, /^HTTP\/1\.1 413 /);
  assert.match(claimed, /application\/problem\+json/);
  await assertServes(server, 'after bad heads');

  // Connections that say nothing, or half of it, and stay.
  const half = [head, `${head}content-length: 100\r\n\r\n{"epoch"`, ''];
  const sockets = Array.from({ length: 600 }, (_, i) => {
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(half[i % half.length]);
    return socket;
  });
  await Promise.all(sockets.map((socket) => new Promise((done) => socket.once('connect', done))));
  for (let i = 0; i < 20; i += 1) await assertServes(server, 'beside half-open connections');
  // Half of them reset in the midst of it.
  for (const socket of sockets.slice(300)) socket.resetAndDestroy();
  await assertServes(server, 'after resets');
  for (const socket of sockets) socket.destroy();

  // Many who ask and do not wait for the answer.
  const body = push([{ op: 'create', table: 'branch', id: newId(), set: {} }]);
  const asking = Array.from({ length: 100 }, () => {
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => {});
    const sent = new Promise((done) => socket.write(`${head}content-length: ${body.length}\r\n\r\n${body}`, done));
    return sent.then(() => socket.destroy());
  });
  await Promise.all(asking);
  await assertServes(server, 'after those who left');
  assert.deepEqual(panics(server), []);
  assert.equal(await server.stop(), 0);
});

const panics = (server) => server.log.filter((line) => /panick/i.test(line));
