// Reads wasm-pack.toml, the record of the wasm build, and refuses one that lacks a member or has one too many.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { ROOT } from './run.mjs';

const isString = (value) => typeof value === 'string' && value !== '';
const isStrings = (value) => Array.isArray(value) && value.every(isString);

const MEMBERS = {
  crate: isString,
  target: isString,
  profile: isString,
  'out-dir': isString,
  'out-name': isString,
  features: isStrings,
  rust: isString,
  rustflags: isStrings,
  'build-std': isString,
  'build-std-features': isString,
  'wasm-opt': isStrings,
  budget_brotli_bytes: (value) => Number.isInteger(value) && value > 0,
};

/** The record as it stands in the file, with `outDir` made absolute and names in JavaScript's spelling. */
export async function readWasmRecord() {
  const record = parse(await readFile(join(ROOT, 'wasm-pack.toml'), 'utf8'));
  for (const [name, isValid] of Object.entries(MEMBERS)) {
    if (!isValid(record[name])) throw new Error(`wasm-pack.toml: \`${name}\` is missing or of the wrong type`);
  }
  const unknown = Object.keys(record).filter((name) => !Object.hasOwn(MEMBERS, name));
  if (unknown.length > 0) throw new Error(`wasm-pack.toml: nothing reads \`${unknown.join('`, `')}\``);
  return {
    crate: record.crate,
    target: record.target,
    profile: record.profile,
    outDir: join(ROOT, record['out-dir']),
    outName: record['out-name'],
    features: record.features,
    rust: record.rust,
    rustFlags: record.rustflags,
    buildStd: record['build-std'],
    buildStdFeatures: record['build-std-features'],
    wasmOptFlags: record['wasm-opt'],
    budgetBrotliBytes: record.budget_brotli_bytes,
  };
}
