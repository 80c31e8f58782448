// Requests: a push and its transactions, checked by themselves, before any row is looked at.

import { Buffer } from 'node:buffer';
import { bodyHash } from './digest.mjs';
import { Held, Refused, RequestError } from './problem.mjs';
import { isRowId, readValue } from './schema.mjs';

const PUSH_TXNS = 1_000;
const PUSH_CLIENTS = 64;
const CLOSED_RANGES = 1_000;
const AFTER_KEYS = 1_000;
const REPLACED_KEYS = 8;
const TXN_EDITS = 1_000;
const TXN_BYTES = 1024 * 1024;
const OPS = ['create', 'update', 'delete'];
const HEX64 = /^[0-9a-f]{16}$/;

const malformed = (what) => new RequestError(400, 'malformed', `${what} is not what it has to be`);
const invalid = (detail) => new RequestError(400, 'invalid_request', detail);

/** Reads a push. What is wrong with a body stays with its transaction, as its `error`. */
export function readPush(schema, text) {
  const json = parse(text);
  const units = list(json.units, 'units');
  const count = units.reduce((sum, unit) => sum + list(unit?.txns, 'txns').length, 0);
  if (count > PUSH_TXNS) throw new RequestError(413, 'too_large', 'a request has at most 1,000 transactions');
  const clients = list(json.clients, 'clients').map(readClient);
  if (clients.length > PUSH_CLIENTS) throw invalid('a request names at most 64 clients');
  if (new Set(clients.map(({ id }) => id)).size < clients.length) throw invalid('a client stands there twice');
  const bodies = rawBodies(text);
  return {
    epoch: number(json.epoch, 'epoch'),
    cursor: json.cursor == null ? null : number(json.cursor, 'cursor'),
    clients,
    units: units.map((unit) => readUnit(schema, unit, clients.length, bodies)),
  };
}

function parse(text) {
  try {
    const json = JSON.parse(text);
    if (json !== null && typeof json === 'object') return json;
  } catch {
    // It is answered as any other text that is no push.
  }
  throw malformed('the request');
}

function list(json, name) {
  if (!Array.isArray(json)) throw malformed(`\`${name}\``);
  return json;
}

function number(json, name) {
  if (!Number.isSafeInteger(json) || json < 0) throw malformed(`\`${name}\``);
  return json;
}

function pair(json, name) {
  if (list(json, name).length !== 2) throw malformed(`\`${name}\``);
  return [number(json[0], name), number(json[1], name)];
}

function readClient(json) {
  if (typeof json?.id !== 'string') throw malformed('a client');
  const { id, receipt = null } = json;
  if (!HEX64.test(id)) throw invalid("a client's `id` is 16 lower-case hex digits");
  if (receipt !== null && !HEX64.test(receipt)) throw invalid('a `receipt` is 16 lower-case hex digits');
  const closed = list(json.closed, 'closed').map((range) => pair(range, 'closed'));
  if (closed.length > CLOSED_RANGES || !closed.every(([from, to]) => from >= 1 && from <= to)) {
    throw invalid('`closed` is a list of at most 1,000 ranges [from, to], from 1 up');
  }
  return { id, receipt, closed };
}

function readUnit(schema, json, clientCount, bodies) {
  const key = (text) => {
    const [client, seq] = pair(text, 'key');
    if (client >= clientCount || seq < 1) throw invalid('a key is [index into `clients`, number from 1 up]');
    return { client, seq };
  };
  const after = list(json.after, 'after').map(key);
  const txns = json.txns.map((txn) => {
    const replaces = list(txn?.replaces ?? [], 'replaces').map(key);
    if (replaces.length > REPLACED_KEYS) throw invalid('`replaces` has at most 8 keys');
    if (!('body' in txn)) throw malformed('a transaction');
    const body = bodies.shift();
    return { ...key(txn.key), replaces, hash: bodyHash(body), ...readBody(schema, body, txn.body) };
  });
  if (txns.length === 0 || after.length > AFTER_KEYS) {
    throw invalid('a unit has a transaction, and `after` at most 1,000 keys');
  }
  if (new Set(txns.map(({ client, seq }) => `${client} ${seq}`)).size < txns.length) {
    throw invalid('a key stands in a unit twice');
  }
  return { txns, after };
}

/** The texts of all `units[].txns[].body`, as they were sent: what a transaction is known by is its bytes. */
function rawBodies(text) {
  const bodies = [];
  const path = []; // Of each object or list that is open: the member that is read now, or null in a list.
  let [begin, end, isName] = [-1, 0, false];
  const isBody = () => path.length === 5 && `${path[0]} ${path[2]} ${path[4]}` === 'units txns body';
  for (const { 0: token, index } of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]:,]|[^\s{}[\]:,"]+/gs)) {
    if ((token === ',' || token === '}') && begin >= 0 && isBody()) {
      bodies.push(text.slice(begin, end));
      begin = -1;
    }
    if (token === '{' || token === '[') path.push(null);
    if (token === '}' || token === ']') path.pop();
    if (token === '{' || token === ',') isName = true;
    else if (token === ':') {
      if (isBody()) begin = nextToken(text, index + 1);
      isName = false;
    } else if (isName && token.startsWith('"') && /^\s*:/.test(text.slice(index + token.length))) {
      path[path.length - 1] = JSON.parse(token);
    }
    end = index + token.length;
  }
  return bodies;
}

const nextToken = (text, from) => from + /^\s*/.exec(text.slice(from, from + 64))[0].length;

/** A transaction's content: `{at, edits}`, or `{error}`. */
function readBody(schema, text, json) {
  try {
    if (Buffer.byteLength(text) > TXN_BYTES) throw new Refused('invalid', 'a transaction has at most 1 MiB');
    if (!Number.isSafeInteger(json?.schema) || json.schema < 0) throw new Refused('invalid', '`schema` is a version');
    if (json.schema > schema.version) throw new Held();
    if (json.schema < schema.version) throw new Refused('schema_too_old', 'nothing leads to the present version');
    return { at: readTime(json.at), edits: readEdits(schema, json.edits) };
  } catch (error) {
    if (error instanceof Refused || error instanceof Held) return { error };
    throw error;
  }
}

function readTime(at) {
  const [ms, count] = Array.isArray(at) ? at : [];
  const isTime = Number.isSafeInteger(ms) && ms >= 0 && ms < 2 ** 48 && Number.isInteger(count);
  if (!isTime || count < 0 || count >= 2 ** 16) throw new Refused('invalid', '`at` is [milliseconds, count]');
  return [ms, count];
}

function readEdits(schema, json) {
  if (!Array.isArray(json) || json.length === 0 || json.length > TXN_EDITS) {
    throw new Refused('invalid', 'a transaction has 1 to 1,000 edits');
  }
  return json.map((edit) => readEdit(schema, edit));
}

function readEdit(schema, json) {
  const { op, table: name, id } = json ?? {};
  const table = schema.tables.get(name);
  if (!OPS.includes(op)) throw new Refused('invalid', 'an `op` is create, update or delete');
  if (table === undefined) throw new Refused('invalid', `there is no table ${name}`);
  if (!isRowId(id)) throw new Refused('invalid', 'an `id` is a UUID in lower case');
  const edit = { op, row: { table: name, id }, set: new Map(), add: new Map() };
  for (const [column, value] of members(table, json, 'set')) {
    if (op === 'update' && column.kind === 'counter') throw new Refused('invalid', `${column.name} takes \`add\``);
    edit.set.set(column.name, readValue(column, value));
  }
  for (const [column, value] of members(table, json, 'add')) {
    if (column.kind !== 'counter') throw new Refused('invalid', `${column.name} is not a counter`);
    edit.add.set(column.name, readValue(column, value));
  }
  for (const way of ['text', 'insert', 'remove', 'was']) {
    if (Object.keys(json[way] ?? {}).length > 0) throw new Refused('invalid', `no column here takes \`${way}\``);
  }
  checkShape(table, edit);
  return edit;
}

function members(table, json, name) {
  const object = json[name] ?? {};
  if (typeof object !== 'object' || Array.isArray(object)) throw new Refused('invalid', `\`${name}\` is an object`);
  return Object.entries(object).map(([member, value]) => {
    const column = table.columns.get(member);
    if (column === undefined) throw new Refused('invalid', `${table.name}.${member} does not exist`);
    return [column, value];
  });
}

function checkShape(table, { op, set, add }) {
  if (op === 'delete' && set.size > 0) throw new Refused('invalid', 'a delete sets nothing');
  if (op !== 'update' && add.size > 0) throw new Refused('invalid', 'only an update has `add`');
  if (op !== 'create') return;
  for (const column of table.columns.values()) {
    if (set.has(column.name)) continue;
    if (column.default === undefined) throw new Refused('invalid', `${table.name}.${column.name} has no default`);
    set.set(column.name, readValue(column, column.default));
  }
}
