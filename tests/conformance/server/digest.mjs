// SipHash-2-4 with 128 bits (Aumasson and Bernstein, 2012), and what is hashed with it: bodies and rows.

import { Buffer } from 'node:buffer';

const MASK = (1n << 64n) - 1n;
const DIGEST_MASK = (1n << 128n) - 1n;
const rotate = (x, bits) => ((x << bits) | (x >> (64n - bits))) & MASK;

function round(v) {
  v[0] = (v[0] + v[1]) & MASK;
  v[1] = rotate(v[1], 13n) ^ v[0];
  v[0] = rotate(v[0], 32n);
  v[2] = (v[2] + v[3]) & MASK;
  v[3] = rotate(v[3], 16n) ^ v[2];
  v[0] = (v[0] + v[3]) & MASK;
  v[3] = rotate(v[3], 21n) ^ v[0];
  v[2] = (v[2] + v[1]) & MASK;
  v[1] = rotate(v[1], 17n) ^ v[2];
  v[2] = rotate(v[2], 32n);
}

const rounds = (v, count) => {
  for (let i = 0; i < count; i++) round(v);
};

/** The hash as a number below 2^128: the second word of the output is the upper half. */
export function sipHash128(key, bytes) {
  const [k0, k1] = [key.readBigUInt64LE(0), key.readBigUInt64LE(8)];
  const v = [
    k0 ^ 0x736f6d6570736575n,
    k1 ^ 0x646f72616e646f6dn ^ 0xeen,
    k0 ^ 0x6c7967656e657261n,
    k1 ^ 0x7465646279746573n,
  ];
  const padded = Buffer.alloc((Math.floor(bytes.length / 8) + 1) * 8);
  bytes.copy(padded);
  padded[padded.length - 1] = bytes.length & 0xff;
  for (let at = 0; at < padded.length; at += 8) {
    const word = padded.readBigUInt64LE(at);
    v[3] ^= word;
    rounds(v, 2);
    v[0] ^= word;
  }
  v[2] ^= 0xeen;
  rounds(v, 4);
  const low = v[0] ^ v[1] ^ v[2] ^ v[3];
  v[1] ^= 0xddn;
  rounds(v, 4);
  return ((v[0] ^ v[1] ^ v[2] ^ v[3]) << 64n) | low;
}

const BODY_KEY = Buffer.from('driftline-body-1');
const ROW_KEY = Buffer.from('driftline-rows-1');
const hex128 = (number) => number.toString(16).padStart(32, '0');

/** What a body is known by, 32 hex digits: 8 of when the transaction was made, 24 of all of it. */
export function bodyHash(body) {
  const head = body.split('"edits"', 1)[0];
  const made = /"made":([^\]]*)\]/.exec(head) ?? /"at":([^\]]*)\]/.exec(head);
  const hash = (text) => hex128(sipHash128(BODY_KEY, Buffer.from(text)));
  return hash(made?.[1] ?? '').slice(0, 8) + hash(body).slice(8);
}

/** Whether two bodies were made at the same time. */
export const madeTogether = (a, b) => a.slice(0, 8) === b.slice(0, 8);

/** A row's share of its space's digest, which is the sum of these modulo 2^128. Nulls are left out. */
export function rowHash(schema, { table, id, values }) {
  const parts = [counted(table), idBytes(id)];
  for (const column of schema.tables.get(table).columns.values()) {
    const value = values.get(column.name);
    if (value !== null) parts.push(counted(column.name), ...valueBytes(column, value));
  }
  return sipHash128(ROW_KEY, Buffer.concat(parts));
}

/** 32 hex digits. */
export const digest = (hashes) => hex128(hashes.reduce((sum, hash) => (sum + hash) & DIGEST_MASK, 0n));

function valueBytes({ kind }, value) {
  const number = Buffer.alloc(8);
  switch (kind) {
    case 'bool':
      return [Buffer.from([1, value ? 1 : 0])];
    case 'int':
    case 'counter':
      number.writeBigInt64BE(BigInt(value));
      return [Buffer.from([2]), number];
    case 'real':
      number.writeDoubleBE(value);
      return [Buffer.from([3]), number];
    case 'ref':
      return [Buffer.from([5]), counted(value.table), idBytes(value.id)];
    default:
      return [Buffer.from([4]), counted(kind === 'json' ? value.json : value)];
  }
}

/** A length of four bytes before a text's own. */
function counted(text) {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

const idBytes = (id) => Buffer.from(id.replaceAll('-', ''), 'hex');
