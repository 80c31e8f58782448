// The schema, and what a value of each column may be. Kinds that the core level does not need are left out, with their tables.

import { Buffer } from 'node:buffer';
import { Refused } from './problem.mjs';

const KINDS = new Set(['text', 'real', 'int', 'bool', 'json', 'counter']);
const POLICIES = new Set(['drop', 'park']);
const TEXT_CHARS = 65_536;
const JSON_BYTES = 262_144;
const JSON_DEPTH = 64;
export const INT_MAX = Number.MAX_SAFE_INTEGER;
const ROW_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export const isRowId = (text) => typeof text === 'string' && ROW_ID.test(text);

/** Names and JSON members are sorted by their bytes. */
export const byBytes = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b));

const sortedEntries = (object) => Object.entries(object ?? {}).sort(([a], [b]) => byBytes(a, b));

/** Reads a schema file: `{version, tables}`, where each table has its columns in the order in which they are hashed. */
export function readSchema(text) {
  const json = JSON.parse(text);
  const tables = new Map();
  for (const [name, definition] of sortedEntries(json.tables)) {
    const table = readTable(name, definition);
    if (table !== undefined) tables.set(name, table);
  }
  return { version: json.version, tables };
}

function readTable(name, definition) {
  const policy = definition.edits_to_deleted ?? 'drop';
  const fields = sortedEntries(definition.fields);
  const isPlain = fields.every(([, field]) => KINDS.has(field.type) && field.merge === undefined);
  if (!isPlain || !POLICIES.has(policy) || definition.counts !== undefined) return undefined;
  const columns = new Map();
  for (const [column, field] of fields) columns.set(column, readField(column, field));
  for (const [column, reference] of sortedEntries(definition.references)) {
    const { to, on_delete: onDelete, nullable = false } = reference;
    columns.set(column, { name: column, kind: 'ref', to, onDelete, nullable, default: nullable ? null : undefined });
  }
  return { name, columns, policy };
}

function readField(name, field) {
  const { type: kind, nullable = false, max_chars: maxChars = TEXT_CHARS } = field;
  const implied = kind === 'counter' ? 0 : nullable ? null : undefined;
  return { name, kind, nullable, maxChars, default: field.default ?? implied };
}

/** A value as rows hold it: a reference is `{table, id}`, JSON is its text. Refuses what the column cannot hold. */
export function readValue(column, json) {
  if (json === null) {
    if (!column.nullable) throw wrong(column, 'must not be null');
    return null;
  }
  const value = READERS[column.kind](json, column);
  if (value === undefined) throw wrong(column, `is not a value of type ${column.kind}, or over a limit`);
  return value;
}

const wrong = (column, why) => new Refused('invalid', `${column.name} ${why}`);

const READERS = {
  text: (json, { maxChars }) => (typeof json === 'string' && [...json].length <= maxChars ? json : undefined),
  // Minus zero is zero.
  real: (json) => (Number.isFinite(json) ? json + 0 : undefined),
  int: (json) => (Number.isSafeInteger(json) ? json + 0 : undefined),
  counter: (json) => (Number.isSafeInteger(json) ? json + 0 : undefined),
  bool: (json) => (typeof json === 'boolean' ? json : undefined),
  json: readJson,
  ref: readReference,
};

function readJson(json) {
  if (depth(json) > JSON_DEPTH) return undefined;
  const text = canonical(json);
  return Buffer.byteLength(text) <= JSON_BYTES ? { json: text } : undefined;
}

const depth = (json) =>
  json !== null && typeof json === 'object' ? 1 + Math.max(0, ...Object.values(json).map(depth)) : 0;

/** Members sorted, no spaces: equal values are equal bytes. */
function canonical(json) {
  if (Array.isArray(json)) return `[${json.map(canonical).join(',')}]`;
  if (typeof json === 'number') return canonicalNumber(json);
  if (json === null || typeof json !== 'object') return JSON.stringify(json);
  return `{${sortedEntries(json)
    .map(([name, value]) => `${JSON.stringify(name)}:${canonical(value)}`)
    .join(',')}}`;
}

/** The shortest digits; with an exponent where it is very small, or no whole number of 64 bits. */
function canonicalNumber(number) {
  const size = Math.abs(number);
  const hasExponent = size >= 2 ** 64 || (size > 0 && size < 1e-5);
  return hasExponent ? number.toExponential() : JSON.stringify(number);
}

function readReference(json, { to }) {
  if (to.length === 1) return isRowId(json) ? { table: to[0], id: json } : undefined;
  const [entry, ...more] = json !== null && typeof json === 'object' ? Object.entries(json) : [];
  if (entry === undefined || more.length > 0 || !to.includes(entry[0]) || !isRowId(entry[1])) return undefined;
  return { table: entry[0], id: entry[1] };
}

/** The same as it stands in messages. */
export function writeValue(column, value) {
  if (value === null) return null;
  if (column.kind === 'json') return JSON.parse(value.json);
  if (column.kind === 'ref') return column.to.length === 1 ? value.id : { [value.table]: value.id };
  return value;
}
