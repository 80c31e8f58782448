// Every rule of SPEC.md has a test that wears its id. As a command: `node scripts/spec.mjs`.

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ROOT, runAsCommand } from './run.mjs';

const FOLDERS = ['crates/driftline-core', 'crates/driftline-client', 'crates/driftline-server', 'tests', 'www/src'];
const SKIPPED = new Set(['node_modules', 'dist', 'target']);

/** Fails, naming them, when rules have no test. */
export async function checkSpec() {
  const spec = await readFile(join(ROOT, 'SPEC.md'), 'utf8');
  const rules = [...spec.matchAll(/^- \*\*([A-Z]\d+)\*\*/gm)].map((match) => match[1].toLowerCase());
  const sources = (await Promise.all(FOLDERS.map((folder) => read(join(ROOT, folder))))).flat();
  const worn = new Set(
    sources.flatMap((text) => [...text.matchAll(/(?:fn |['"`])([a-z]\d+)_/g)].map((match) => match[1])),
  );
  const bare = rules.filter((rule) => !worn.has(rule));
  if (bare.length > 0) throw new Error(`rules of SPEC.md without a test: ${bare.join(', ')}`);
  console.log(`${rules.length} rules, each with a test that wears its id`);
}

async function read(folder) {
  const entries = await readdir(folder, { withFileTypes: true });
  const texts = entries.map(async (entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return SKIPPED.has(entry.name) ? [] : read(path);
    return /\.(rs|ts|mjs)$/.test(entry.name) ? [await readFile(path, 'utf8')] : [];
  });
  return (await Promise.all(texts)).flat();
}

await runAsCommand(import.meta.url, checkSpec);
