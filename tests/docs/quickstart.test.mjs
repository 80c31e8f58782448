// Does what docs/quickstart.md says, in a folder of its own: every file that it shows, every command that it gives. Then does
// the same with docs/guide/testing.md in that folder. Only what comes from a registry is taken from this repository.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { ROOT, tempDir } from '../browser/harness.mjs';
import { assertSyncs, ENV, follow } from './quickstart.mjs';

const made = await follow('docs/quickstart.md', tempDir('quickstart'));

test('p3_the_quickstart_leads_to_a_page_that_edits_offline_and_syncs', () => assertSyncs(made));

test('p3_the_test_of_the_testing_guide_passes', async () => {
  // Those that are there already stay: the package, and its command.
  const link = (from, to) => `{ ln -s ${join(ROOT, 'node_modules', from)}/* ${to} 2>/dev/null || true; }`;
  const install = () => `${link('.', 'node_modules')}; ${link('.bin', 'node_modules/.bin')}`;
  const { said } = await follow('docs/guide/testing.md', made.cwd, { install });
  assert.match(said.at(-1), /^# pass 2\n# fail 0$/m);
});

test('p3_the_test_of_the_testing_guide_fails_where_edits_are_doubled', async () => {
  const file = join(made.cwd, 'public', 'main.js');
  const source = readFileSync(file, 'utf8');
  const create = 'cards.create({ text: text.value, x: 20, y: 20 + 50 * cards.query().length });';
  writeFileSync(file, source.replace(create, create + create));
  const options = { cwd: made.cwd, env: ENV, timeout: 60_000 };
  await assert.rejects(promisify(execFile)('node', ['--test', 'build/cards.test.js'], options), ({ stdout }) => {
    assert.match(stdout, /^# pass 1\n# fail 1$/m);
    return true;
  });
});
