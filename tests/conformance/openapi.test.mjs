// docs/openapi.json against the real server: its routes, and real requests and answers, good ones and one for each code.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT, tempDir } from '../browser/harness.mjs';
import { violations } from './json-schema.mjs';
import { ServerUnderTest } from './kit/server.mjs';
import { play, readVectors } from './kit/vectors.mjs';
import { issueToken, startDriftline } from './start.mjs';

const DOCUMENT = JSON.parse(readFileSync(join(ROOT, 'docs', 'openapi.json'), 'utf8'));
const METHODS = ['get', 'head', 'post', 'put', 'patch'];
const SOURCES = join(ROOT, 'crates', 'driftline-server', 'src');

/** Codes that only a fault of the server brings, or half a minute of waiting, or a rule of an app. */
const OUT_OF_REACH = [
  'timeout',
  'internal',
  'not_restored',
  'server_full',
  'server_disk',
  'server_corrupt',
  'server_database',
];

const resolve = (pointer) =>
  pointer
    .slice(2)
    .split('/')
    .reduce((json, name) => json[name], DOCUMENT);
const deref = (json) => (json.$ref === undefined ? json : resolve(json.$ref));
const assertIs = (schema, value, what) => assert.deepEqual(violations(schema, value, resolve, what), []);

const operations = Object.entries(DOCUMENT.paths).flatMap(([path, item]) =>
  METHODS.filter((method) => method in item).map((method) => ({ path, method, operation: item[method] })),
);

function operationOf(method, path) {
  const fits = (template) => new RegExp(`^${template.replace(/\{\w+\}/g, '[^/]+')}$`).test(path);
  // What names no place of its own stands before what may have any name.
  return operations.find((one) => one.method === method.toLowerCase() && fits(one.path))?.operation;
}

const seenCodes = new Set();
const seenAnswers = new Set();

/** A server whose every answer has to be as the document says. */
class DocumentedServer extends ServerUnderTest {
  async request(asked) {
    const answer = await super.request(asked);
    const { method = 'GET', path, text } = asked;
    const operation = operationOf(method, path.split('?')[0]);
    if (operation === undefined)
      assert.ok([404, 405].includes(answer.status), `${method} ${path} is not in the document`);
    else checkAnswer(operation, answer, method);
    // What answers HEAD has no body.
    if (answer.status >= 400 && method !== 'HEAD') checkProblem(answer);
    else if (method === 'POST' && operation.requestBody !== undefined) checkRequest(operation, text, answer);
    return answer;
  }

  async connect(space) {
    const socket = await super.connect(space);
    const receive = socket.receive.bind(socket);
    socket.receive = async (wants) => {
      const message = await receive(wants);
      assertIs(DOCUMENT.components.schemas.LiveMessage, message, 'a live message');
      return message;
    };
    return socket;
  }
}

function checkAnswer(operation, { status, headers, text }, method) {
  seenAnswers.add(`${operation.operationId} ${status}`);
  const what = `${operation.operationId} ${status}`;
  const documented = operation.responses[status];
  // Another method, or a name that no route takes, is said once for all.
  assert.ok(documented !== undefined, `${what} is not in the document: ${text.slice(0, 300)}`);
  const { content, headers: wanted = {} } = deref(documented);
  for (const [name, { schema }] of Object.entries(wanted))
    assertIs(schema, headers[name] ?? null, `${what}, header ${name}`);
  if (method === 'HEAD') return;
  const [type] = headers['content-type'].split(';');
  assert.ok(Object.keys(content).includes(type), `${what}: ${type}`);
  const { schema } = content[type];
  if (type === 'application/x-ndjson') {
    for (const line of text.trimEnd().split('\n')) assertIs(schema, JSON.parse(line), what);
  } else assertIs(schema, type.endsWith('json') ? JSON.parse(text) : text, what);
}

function checkProblem({ status, headers, text }) {
  assert.equal(headers['content-type'], 'application/problem+json');
  const problem = JSON.parse(text);
  assertIs(DOCUMENT.components.schemas.Problem, problem, 'a problem');
  assert.deepEqual([problem.status, problem.type], [status, `urn:driftline:${problem.code}`]);
  seenCodes.add(problem.code);
}

/** What was taken is a request as the document says, but for transactions that were not taken. */
function checkRequest(operation, text, answer) {
  const untaken = JSON.parse(answer.text).outcomes.some(({ problem }) => problem?.code === 'invalid');
  if (!untaken) assertIs(operation.requestBody.content['application/json'].schema, JSON.parse(text), 'the request');
}

/** `.route("/path", get(…).post(…))` in the server's sources. What takes `any` method is what is no route. */
function routesOfTheServer() {
  const files = readdirSync(SOURCES, { recursive: true }).filter((name) => name.endsWith('.rs'));
  return files.flatMap((name) => {
    const calls = readFileSync(join(SOURCES, name), 'utf8').split('.route(').slice(1);
    return calls.flatMap((rest) => {
      const [, path, takes] = /^\s*"([^"]+)",(.*)$/s.exec(upToClosing(rest)) ?? [];
      assert.ok(path !== undefined, `${name} has a route that does not read as one`);
      const methods = [...takes.matchAll(/\b(get|post|put|patch|delete|head|options)\(/g)];
      return methods.map(([, method]) => `${method} ${path}`);
    });
  });
}

/** What stands before the parenthesis that closes one opened before. */
function upToClosing(text) {
  let depth = 1;
  for (const { 0: parenthesis, index } of text.matchAll(/[()]/g)) {
    depth += parenthesis === '(' ? 1 : -1;
    if (depth === 0) return text.slice(0, index);
  }
  return text;
}

test('p3_the_document_has_the_routes_of_the_server_and_no_others', () => {
  const documented = operations.map(({ method, path }) => `${method} ${path}`);
  assert.deepEqual(documented.sort(), routesOfTheServer().sort());
});

test('p3_each_route_of_the_document_is_there', async () => {
  const server = new ServerUnderTest((await startDriftline()).url);
  for (const { path } of operations) {
    const place = path.replace('{space}', 'a').replace('{rev}', '1').replace('{hash}', '0'.repeat(64));
    const { status, text } = await server.request({ method: 'DELETE', path: place });
    assert.equal(status, 405, place);
    assert.equal(JSON.parse(text).code, 'method_not_allowed');
  }
});

test('p3_the_document_has_the_codes_of_the_server', () => {
  const text = readFileSync(join(SOURCES, 'error.rs'), 'utf8');
  const [, arms] = /fn title\(.*?\{\s*match code \{(.*?)\n {4}\}/s.exec(text);
  const codes = [...arms.matchAll(/"(\w+)" =>/g)].map(([, code]) => code);
  assert.deepEqual([...codes, 'internal'].sort(), [...DOCUMENT.components.schemas.ProblemCode.enum].sort());
});

let played;
/** Plays all vectors once, whichever test comes first. */
const playAll = () => {
  played ??= playVectors();
  return played;
};

async function playVectors() {
  const secret = join(tempDir(), 'secret');
  const token = await issueToken(secret, '--sub', 'ada');
  const args = ['--search', '--burst-requests', '100000', '--space-blob-mib', '1'];
  const { url } = await startDriftline({ secret, args });
  const server = new DocumentedServer(url, token);
  for (const vector of readVectors()) await play(vector, server);
  await sendBlobs(server);
  for (const path of ['/healthz', '/readyz', '/metrics']) assert.equal((await server.request({ path })).status, 200);
}

async function sendBlobs(server) {
  const hash = (text) => createHash('sha256').update(text).digest('hex');
  const at = (text) => `/v1/spaces/blobs/blobs/${hash(text)}`;
  const ask = async (method, path, text, headers = {}) => {
    const { status } = await server.request({
      method,
      path,
      text,
      headers: { 'content-type': 'image/png', ...headers },
    });
    return status;
  };
  const path = at('pixels');
  assert.equal(await ask('HEAD', path), 404);
  assert.equal(await ask('PUT', path, 'pix', { 'upload-length': '6' }), 202);
  assert.equal(await ask('HEAD', path), 204);
  assert.equal(await ask('PATCH', path, 'els', { 'upload-offset': '2' }), 409);
  assert.equal(await ask('PATCH', path, 'els', { 'upload-offset': '3' }), 201);
  for (const method of ['HEAD', 'GET', 'PUT'])
    assert.equal(await ask(method, path, method === 'PUT' ? 'x' : undefined), 200);
  assert.equal(await ask('PATCH', path, 'els', { 'upload-offset': '3' }), 200);
  assert.equal(await ask('PUT', at('other'), 'pixels'), 422);
  assert.equal(await ask('PUT', at('large'), '', { 'upload-length': '1000000000' }), 413);
  assert.equal(await ask('PUT', at('full'), '', { 'upload-length': '2000000' }), 413);
}

test('p3_answers_to_all_vectors_are_as_the_document_says', async () => {
  await playAll();
  const open = new DocumentedServer((await startDriftline()).url);
  assert.equal((await open.request({ path: '/v1/spaces/a/search?q=x' })).status, 404);
  assert.equal((await open.request({ path: '/healthz', headers: { host: 'example.org' } })).status, 403);
  const good = operations.filter(({ operation }) => 200 in operation.responses);
  const unseen = good.map(({ operation }) => `${operation.operationId} 200`).filter((name) => !seenAnswers.has(name));
  assert.deepEqual(unseen, [], 'each route has answered');
});

const PUSH = JSON.stringify({ epoch: 1, cursor: null, clients: [], units: [] });

test('p3_each_code_in_reach_is_as_the_document_says', async () => {
  await playAll();
  const secret = join(tempDir(), 'secret');
  const all = await issueToken(secret, '--sub', 'ada');
  const reader = await issueToken(secret, '--sub', 'bob', '--role', 'read');
  const other = await issueToken(secret, '--sub', 'eve', '--space', 'b');
  const { url, pid } = await startDriftline({ secret, args: ['--burst-requests', '20', '--requests-per-s', '1'] });
  const server = new DocumentedServer(url, all);
  const refused = async (code, answer) => assert.equal(JSON.parse((await answer).text).code, code);
  await refused('forbidden', new DocumentedServer(url, other).request({ path: '/v1/spaces' }));
  await refused(
    'forbidden',
    new DocumentedServer(url, reader).request({ method: 'POST', path: '/v1/spaces/a/versions' }),
  );
  await refused('not_found', server.request({ path: '/v1/nothing' }));
  checkProblem(await cutOff(url, all));
  const spent = Array.from({ length: 30 }, () => server.push('a', PUSH));
  assert.ok((await Promise.all(spent)).some(({ status }) => status === 429));
  process.kill(pid, 'SIGUSR1');
  await refused('unavailable', whenPaused(new DocumentedServer(url, reader)));
  const reached = DOCUMENT.components.schemas.ProblemCode.enum.filter((code) => !OUT_OF_REACH.includes(code));
  assert.deepEqual(
    reached.filter((code) => !seenCodes.has(code)),
    [],
    'each code has come',
  );
});

/** The signal is heard a moment after it is sent. */
async function whenPaused(server) {
  for (;;) {
    const answer = await server.request({ path: '/v1/spaces/a/access' });
    if (answer.status === 503) return answer;
  }
}

/** A body that ends before its length. */
function cutOff(url, token) {
  const { port } = new URL(url);
  const head = ['POST /v1/spaces/a/reconcile HTTP/1.1', `host: 127.0.0.1:${port}`, `authorization: Bearer ${token}`];
  const rest = ['content-type: application/json', 'content-length: 100', '', '{"epoch"'];
  return new Promise((done, failed) => {
    let text = '';
    const socket = connect(Number(port), '127.0.0.1', () => socket.end([...head, ...rest].join('\r\n')));
    socket.on('data', (bytes) => {
      text += bytes;
    });
    socket.once('error', failed);
    socket.once('end', () => {
      const [start, body] = text.split('\r\n\r\n');
      const [, type] = /content-type: (\S+)/i.exec(start) ?? [];
      done({ status: Number(start.split(' ')[1]), headers: { 'content-type': type }, text: body });
    });
  });
}

test('p3_an_answer_that_is_not_as_the_document_says_is_found', () => {
  const { Answer, Problem, Push } = DOCUMENT.components.schemas;
  const answer = { schema: 1, rev: 1, more: false, reload: false, clients: [], outcomes: [], changes: [] };
  const push = { epoch: 1, cursor: 0, clients: [], units: [] };
  const problem = { type: 'urn:driftline:internal', title: '', status: 500, code: 'internal', detail: '' };
  const all = [
    [Answer, answer],
    [Push, push],
    [Problem, problem],
  ];
  for (const [schema, value] of all) assertIs(schema, value, 'it');
  const without = ({ [Object.keys(answer)[1]]: _, ...rest }) => rest;
  for (const [schema, value] of [
    [Answer, without(answer)],
    [Answer, { ...answer, rev: '1' }],
    [Answer, { ...answer, other: 1 }],
    [Answer, { ...answer, digest: 'x' }],
    [Answer, { ...answer, outcomes: [{ key: [0, 1], outcome: 'applied', rev: 1 }] }],
    [Answer, { ...answer, outcomes: [{ key: [0, 0], outcome: 'held' }] }],
    [Answer, { ...answer, changes: [{ rev: 1, parts: [] }] }],
    [Push, { ...push, epoch: -1 }],
    [Push, { ...push, clients: [{ id: 'A', receipt: null, closed: [] }] }],
    [Push, { ...push, clients: [{ id: '00000000000000a1', receipt: null, closed: [[1]] }] }],
    [Problem, { ...problem, code: 'other' }],
  ]) {
    assert.notDeepEqual(violations(schema, value, resolve), [], JSON.stringify(value));
  }
});
