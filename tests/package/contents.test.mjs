// What comes along with the package, and what does not: no engine where none is opened, no global, no type of wasm.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';
import { ROOT, tempDir } from '../browser/harness.mjs';
import { openPage, startNotesServer } from './notes.mjs';
import { installApp, packed, runIn } from './packed.mjs';
import { serveFolder } from './site.mjs';

const SCHEMA_ONLY_LIMIT_BYTES = 1_000;
/** What the tarball holds: what can be run, its types, and what a person reads. */
const RUN = [
  ...['blobs', 'devtools', 'index', 'presence', 'react', 'service-worker', 'driftline_client'],
  ...['driftline-worker', 'worker'],
].map((name) => `dist/${name}.js`);
const TYPES = [
  ...[
    'backoff',
    'blobs',
    'changes',
    'db',
    'devtools',
    'edits',
    'engine',
    'errors',
    'ids',
    'index',
    'positions',
    'presence',
    'react',
    'rows',
    'schema',
  ],
  ...['service-worker', 'spaces', 'status', 'storage', 'transfer', 'wasm'],
  ...['remove', 'server', 'status', 'store', 'uploads', 'watch'].map((name) => `blobs/${name}`),
  ...['presence/connection', 'react/parked', 'react/query'],
].map((name) => `dist/${name}.d.ts`);
const READ = ['LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'package.json'];
const FILES = [...RUN, 'dist/driftline_client_bg.wasm', ...TYPES, ...READ];

const MADE_FOR_WASM = /driftline_client|wasm_bindgen|__wb|InitOutput|SyncInitInput/;

test('p2_no_type_that_an_app_sees_is_one_of_wasm_bindgen', async () => {
  const folder = join(await installApp('plain'), 'node_modules', 'driftline');
  const { exports } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const entries = Object.values(exports).flatMap(({ types }) => (types === undefined ? [] : [join(folder, types)]));
  assert.ok(entries.includes(join(folder, 'dist', 'index.d.ts')));

  const seen = new Map();
  const read = (file) => {
    if (seen.has(file)) return;
    const text = readFileSync(file, 'utf8');
    seen.set(file, text);
    for (const [, path] of text.matchAll(/from '(\.[^']+)\.js'/g)) read(join(dirname(file), `${path}.d.ts`));
  };
  entries.forEach(read);
  assert.deepEqual(
    [...seen].filter(([, text]) => MADE_FOR_WASM.test(text)).map(([file]) => relative(folder, file)),
    [],
  );
  // What the platform calls wasm is named once: where an app may say from what the engine is loaded.
  const named = [...seen.values()].flatMap((text) => text.match(/^.*\bWebAssembly\..*$/gm) ?? []);
  assert.deepEqual(named, [
    'export type WasmSource = string | URL | Request | Response | BufferSource | WebAssembly.Module;',
  ]);
});

test('p2_an_import_in_node_reads_the_entry_alone_and_asks_nobody', async () => {
  const folder = await installApp('plain');
  const script = join(folder, 'import.mjs');
  writeFileSync(
    script,
    `const before = Reflect.ownKeys(globalThis);
const { newId } = await import('driftline');
const added = Reflect.ownKeys(globalThis).filter((key) => !before.includes(key));
console.log(JSON.stringify({ added: added.map(String), length: newId().length }));
`,
  );
  const trace = join(tempDir('trace'), 'calls');
  const args = ['-f', '-qq', '-y', '-e', 'trace=openat,connect', '-e', 'signal=none', '-o', trace, 'node', script];
  const { stdout } = await runIn(folder, 'strace', args);
  assert.deepEqual(JSON.parse(stdout), { added: [], length: 36 });

  const calls = readFileSync(trace, 'utf8').split('\n');
  const opened = calls.map((call) => call.match(/openat\(.*"([^"]+)".* = \d/)?.[1]);
  const ofPackage = opened.filter((path) => path?.includes('/node_modules/driftline/'));
  assert.deepEqual(
    [...new Set(ofPackage)].map((path) => relative(join(folder, 'node_modules', 'driftline'), path)).sort(),
    ['dist/index.js', 'package.json'],
  );
  assert.deepEqual(
    calls.filter((call) => /connect\(.*AF_INET/.test(call)),
    [],
  );
});

/** What esbuild makes of a text in an app that has the package: the bytes, in all and of each file. */
async function bundle(folder, name, text) {
  writeFileSync(join(folder, `${name}.js`), text);
  const options = [
    '--bundle',
    '--minify',
    '--format=esm',
    '--outdir=dist',
    '--external:react',
    `--metafile=${name}.json`,
  ];
  await runIn(folder, join('node_modules', '.bin', 'esbuild'), [`${name}.js`, ...options]);
  const { outputs } = JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8'));
  const { bytes, inputs } = outputs[`dist/${name}.js`];
  return { bytes, inputs, bytesOf: (file) => inputs[`node_modules/driftline/dist/${file}`]?.bytesInOutput ?? 0 };
}

test('p2_a_page_that_only_names_a_schema_carries_no_engine', async () => {
  const folder = await installApp('esbuild');
  const whole = await bundle(folder, 'whole', "import { open } from 'driftline';\nconsole.log(open);\n");
  const engine = 'driftline_client.js';
  assert.ok(whole.bytesOf(engine) > SCHEMA_ONLY_LIMIT_BYTES, JSON.stringify(whole));

  const schema = "defineSchema({ name: 'notes', version: 1, tables: { card: {} } })";
  const text = `import { defineSchema, newId } from 'driftline';\nconsole.log(${schema}, newId());\n`;
  const small = await bundle(folder, 'small', text);
  assert.equal(small.bytesOf(engine), 0);
  assert.ok(small.bytes < SCHEMA_ONLY_LIMIT_BYTES, `${small.bytes} bytes, of ${JSON.stringify(small.inputs)}`);
});

test('p2_what_an_app_does_not_use_of_the_package_it_does_not_ship', async () => {
  const folder = await installApp('esbuild');
  const hooks = (name) => bundle(folder, name, `import { ${name} } from 'driftline/react';\nconsole.log(${name});\n`);
  const [rows, people] = [await hooks('useRow'), await hooks('usePresence')];
  assert.ok(people.bytesOf('presence.js') > 1_000, JSON.stringify(people));
  assert.equal(rows.bytesOf('presence.js'), 0);
  const worker = await bundle(
    folder,
    'worker',
    "import { precache } from 'driftline/service-worker';\nprecache({});\n",
  );
  const files = Object.keys(worker.inputs).filter((file) => worker.inputs[file].bytesInOutput > 0);
  assert.deepEqual(files.sort(), ['node_modules/driftline/dist/service-worker.js', 'worker.js']);
});

test('p2_nothing_is_left_among_the_globals_of_a_page', async () => {
  const { origin } = await serveFolder(await installApp('plain'));
  const server = await startNotesServer(origin);
  const { page, wrong } = await openPage();
  await page.goto(`${origin}/empty.html`);
  const added = await page.evaluate(async (url) => {
    const before = Reflect.ownKeys(globalThis);
    const { defineSchema, open } = await import('driftline');
    const schema = defineSchema({
      name: 'notes',
      version: 1,
      tables: { card: { fields: { text: { type: 'text', default: '' } } } },
    });
    const db = await open({ schema, space: 'globals', url });
    await db.tables.card.create({ text: 'Hello' }).accepted;
    const added = Reflect.ownKeys(globalThis).filter((key) => !before.includes(key));
    await db.close();
    return added.map(String);
  }, server.url);
  assert.deepEqual(added, []);
  assert.deepEqual(wrong, []);
  assert.deepEqual(await server.query('SELECT text FROM card'), [{ text: 'Hello' }]);
  await page.close();
  await server.stop();
});

test('p2_the_tarball_holds_these_files_and_no_others', async () => {
  assert.deepEqual((await packed()).files.sort(), FILES.sort());
  const folder = join(await installApp('plain'), 'node_modules', 'driftline');
  for (const name of ['LICENSE-APACHE', 'LICENSE-MIT']) {
    assert.equal(readFileSync(join(folder, name), 'utf8'), readFileSync(join(ROOT, name), 'utf8'), name);
  }
});

test('p2_the_tarball_holds_what_its_exports_name', async () => {
  const folder = join(await installApp('plain'), 'node_modules', 'driftline');
  const { exports } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const paths = (target) => (typeof target === 'string' ? [target] : Object.values(target).flatMap(paths));
  const { files } = await packed();
  assert.deepEqual(
    paths(exports)
      .map((path) => path.slice(2))
      .filter((path) => !files.includes(path)),
    [],
  );
});
