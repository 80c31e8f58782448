// A second server of the protocol, for its core: pushes, snapshots and changes, for one person on one machine.
//
//   node tests/conformance/server/main.mjs --schema schema.json --data file [--port 0]
//
// FAULT names faults that it is to have, separated by commas, so that the kit can be seen to find them.

import { Buffer } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { RequestError } from './problem.mjs';
import { byBytes, readSchema, writeValue } from './schema.mjs';
import { Store } from './store.mjs';

const BODY_BYTES = 4 * 1024 * 1024;
const LINE_ROWS = 500;
const PRINCIPAL = 'local';
const SPACE_NAME = /^(?!\.{1,2}$)[A-Za-z0-9_.-]{1,64}$/;

const { values: options } = parseArgs({
  options: { schema: { type: 'string' }, data: { type: 'string' }, port: { type: 'string', default: '0' } },
});
const faults = new Set((process.env.FAULT ?? '').split(',').filter((name) => name !== ''));
const schema = readSchema(readFileSync(options.schema, 'utf8'));
const store = new Store(options.data, schema, faults);

const ROUTES = {
  reconcile: { method: 'POST', answer: reconcile },
  snapshot: { method: 'GET', answer: snapshot },
  changes: { method: 'GET', answer: changes },
};

async function route(request) {
  const url = new URL(request.url, 'http://localhost');
  const [, name, action] = /^\/v1\/spaces\/([^/]+)\/([^/]+)$/.exec(url.pathname) ?? [];
  const found = Object.hasOwn(ROUTES, action ?? '') ? ROUTES[action] : undefined;
  if (found === undefined || !SPACE_NAME.test(decode(name))) {
    throw new RequestError(404, 'not_found', 'there is no such route, or no space can have this name');
  }
  if (request.method !== found.method) throw new RequestError(405, 'method_not_allowed', `send ${found.method}`);
  return found.answer(decode(name), request, url.searchParams);
}

function decode(name) {
  try {
    return decodeURIComponent(name);
  } catch {
    return '';
  }
}

async function reconcile(space, request) {
  const text = await readBody(request);
  return { type: 'application/json', text: JSON.stringify(store.push(space, PRINCIPAL, text)) };
}

async function readBody(request) {
  const type = (request.headers['content-type'] ?? '').split(';')[0].trim().toLowerCase();
  if (type !== 'application/json' || request.headers['content-encoding'] !== undefined) {
    throw new RequestError(415, 'unsupported_media_type', 'send `content-type: application/json`, not encoded');
  }
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    // What is too long is read to its end all the same: who still sends does not hear the answer.
    if (bytes <= BODY_BYTES) chunks.push(chunk);
  }
  if (bytes > BODY_BYTES) throw new RequestError(413, 'too_large', 'a request body has at most 4 MiB');
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks));
  } catch {
    throw new RequestError(400, 'malformed', 'the body is not UTF-8');
  }
}

function snapshot(name) {
  const space = store.look(name);
  const rows = [...space.rows.byKey.values()];
  const head = { schema: schema.version, rev: space.rev, digest: space.rows.digest, rows: rows.length };
  const lines = [head, ...[...schema.tables.values()].flatMap((table) => tableLines(table, rows)), { end: true }];
  return { type: 'application/x-ndjson', text: lines.map((line) => `${JSON.stringify(line)}\n`).join('') };
}

function tableLines(table, all) {
  const columns = [...table.columns.values()];
  const own = all.filter((row) => row.table === table.name).sort((a, b) => byBytes(a.id, b.id));
  const rows = own.map(({ id, values }) => [
    id,
    ...columns.map((column) => writeValue(column, values.get(column.name))),
  ]);
  const lines = [];
  for (let at = 0; at < rows.length; at += LINE_ROWS) {
    const names = columns.map(({ name: column }) => column);
    lines.push({ table: table.name, columns: names, rows: rows.slice(at, at + LINE_ROWS) });
  }
  return lines;
}

/** It answers at once: who asks it to `wait` asks again. */
function changes(name, _request, query) {
  const cursor = Number(query.get('cursor') ?? '0');
  if (!Number.isSafeInteger(cursor) || cursor < 0)
    throw new RequestError(400, 'invalid_request', 'ask with `?cursor=0`');
  const { changes: revisions, more, reload } = store.look(name).changes(PRINCIPAL, cursor);
  const rev = revisions.at(-1)?.rev ?? cursor;
  const told = { schema: schema.version, rev, changes: revisions, more, reload };
  return { type: 'application/json', text: JSON.stringify(told) };
}

const server = createServer(async (request, response) => {
  try {
    const { type, text } = await route(request);
    response.writeHead(200, { 'content-type': type, 'cache-control': 'no-store' }).end(text);
  } catch (thrown) {
    if (response.headersSent || response.destroyed) return response.destroy();
    const error = thrown instanceof RequestError ? thrown : new RequestError(500, 'internal', 'the server failed');
    if (error !== thrown) console.error(thrown);
    const head = { 'content-type': 'application/problem+json', 'cache-control': 'no-store' };
    response.writeHead(error.status, head).end(JSON.stringify(error));
  }
});

server.listen(Number(options.port), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    server.close(() => store.close());
    server.closeAllConnections();
  });
}
