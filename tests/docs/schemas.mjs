// The schemas that blocks define, and databases made from them.

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import { ROOT } from '../../scripts/run.mjs';
import { runDriftline, tempDir } from '../browser/harness.mjs';
import { sourceOf } from './blocks.mjs';

/** Stands in for the package: notes what is defined, and ends the module where it would open a space. */
const NOTING = `
export * from ${JSON.stringify(join(ROOT, 'crates/driftline-client/dist/index.js'))};
export function defineSchema(schema) {
  globalThis.schemasDefined.push(schema);
  return schema;
}
export function open() {
  throw globalThis.schemasDefined;
}
`;

const noting = {
  name: 'noting',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^driftline$/ }, () => ({ path: 'driftline', namespace: 'noting' }));
    onLoad({ filter: /.*/, namespace: 'noting' }, () => ({ contents: NOTING, resolveDir: ROOT }));
  },
};

/** What a module gives to `defineSchema`, in order. */
export async function schemasOf(module) {
  const source = sourceOf(module);
  if (!source.includes('defineSchema(')) return [];
  const file = join(tempDir('schemas'), 'module.mjs');
  await bundle(source, { outfile: file, platform: 'node', plugins: [noting] }, module.language);
  const schemas = [];
  globalThis.schemasDefined = schemas;
  await import(file).catch((error) => {
    // A module that opens no space by itself ends where it asks for a page.
    const asksForPage = error instanceof ReferenceError && error.message === 'document is not defined';
    if (error !== schemas && !asksForPage) throw error;
  });
  return schemas;
}

/** Bundles a module of a page for a browser, or for whatever `options` say. `language` is that of its blocks. */
export async function bundle(source, options, language = 'ts') {
  const stdin = { contents: source, loader: language, resolveDir: ROOT };
  return await build({
    stdin,
    bundle: true,
    format: 'esm',
    target: 'es2022',
    jsx: 'automatic',
    logLevel: 'silent',
    ...options,
  });
}

/** Plans the schema's tables and makes them, as an operator would. Rejects where the server does not take it. */
export async function migrationsOf(schema) {
  const folder = tempDir('schema');
  const place = {
    schema: join(folder, 'schema.json'),
    migrations: join(folder, 'migrations'),
    data: join(folder, 'data'),
  };
  await mkdir(place.data);
  await writeFile(place.schema, JSON.stringify(schema));
  const args = ['--schema', place.schema, '--migrations', place.migrations, '--data', place.data];
  await runDriftline(['migrate', 'plan', ...args, '--name', 'docs']);
  await runDriftline(['migrate', 'apply', ...args]);
  return place;
}
