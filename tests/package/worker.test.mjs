// `driftline-worker`, as the packed package brings it: which files the worker it writes keeps, under which version, and what it refuses.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '../browser/harness.mjs';
import { installApp, runIn } from './packed.mjs';

const BUILT = ['index.html', 'assets/main-1.js', 'assets/engine-2.wasm', 'the board.svg', 'help/index.html'];
const NOT_ASKED_FOR = [
  'assets/main-1.js.map',
  'assets/main-1.js.br',
  '.well-known/app.json',
  '.DS_Store',
  '404.html',
  '_headers',
];

const command = join(await installApp('plain'), 'node_modules', '.bin', 'driftline-worker');

function made(files) {
  const folder = tempDir('built');
  for (const file of files) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), file);
  }
  return folder;
}

/** Runs the command, and returns what the worker that it has written is told. */
async function written(folder) {
  await runIn(folder, command, ['.']);
  const [, options] = /^driftline\.precache\((.*)\);$/m.exec(readFileSync(join(folder, 'worker.js'), 'utf8'));
  return JSON.parse(options);
}

test('l4_the_command_names_every_file_that_a_page_may_ask_for', async () => {
  const { files, integrity } = await written(made([...BUILT, ...NOT_ASKED_FOR]));
  assert.deepEqual(Object.keys(integrity), files);
  const hash = createHash('sha256').update('the board.svg').digest('base64');
  assert.equal(integrity['./the%20board.svg'], `sha256-${hash}`);
  assert.deepEqual(files, ['./assets/engine-2.wasm', './assets/main-1.js', './help/', './', './the%20board.svg']);
});

test('l4_the_version_is_another_where_what_was_built_is', async () => {
  const folder = made(BUILT);
  const { version } = await written(folder);
  assert.match(version, /^[0-9a-f]{16}$/);
  assert.equal((await written(folder)).version, version, 'its own worker is not counted');
  writeFileSync(join(folder, 'index.html'), 'changed');
  const changed = (await written(folder)).version;
  assert.notEqual(changed, version);
  renameSync(join(folder, 'the board.svg'), join(folder, 'the plan.svg'));
  assert.notEqual((await written(folder)).version, changed);
});

test('l4_a_build_without_a_page_or_an_engine_gets_no_worker', async () => {
  const folder = made(BUILT.filter((file) => !file.endsWith('.wasm')));
  await assert.rejects(runIn(folder, command, ['.']), /\. holds no engine: copy node_modules\/driftline\/dist\//);
  writeFileSync(join(folder, 'engine.wasm'), '');
  rmSync(join(folder, 'index.html'));
  await assert.rejects(runIn(folder, command, ['.']), /\. holds no index\.html/);
  await assert.rejects(runIn(folder, command, ['dist']), /there is no folder dist: is it built\?/);
  await assert.rejects(runIn(folder, command, []), /usage: driftline-worker FOLDER/);
  assert.ok(!readdirSync(folder).includes('worker.js'));
});
