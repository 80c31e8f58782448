// The packed package in Next.js: a client component, which the server renders, too.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../browser/harness.mjs';
import { assertMakesACard } from './notes.mjs';
import { installApp, runIn } from './packed.mjs';
import { serveWith } from './site.mjs';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const WATCH = join(ROOT, 'tests', 'package', 'watch-wasm.mjs');
const ENGINE_LOADED = 'the engine was loaded';
const ENV = { NEXT_TELEMETRY_DISABLED: '1', NO_COLOR: '1', NODE_OPTIONS: `--import=${WATCH}` };

const start = (folder, command) =>
  serveWith(folder, 'next', (port) => [command, '-H', '127.0.0.1', '-p', port], { env: ENV });

// The button is disabled until the space is open.
const act = (page) => page.getByRole('button', { name: 'Add a card' }).click();

const loads = (log) => log.filter((line) => line.includes(ENGINE_LOADED));

test('p2_the_package_works_in_next_and_loads_no_engine_where_it_renders_on_the_server', async () => {
  const folder = await installApp('next');
  const { stdout, stderr } = await runIn(folder, 'npm', ['run', '--silent', 'build'], { env: ENV });
  assert.deepEqual(loads([stdout, stderr]), []);

  const { origin, log } = await start(folder, 'start');
  const rendered = await (await fetch(origin)).text();
  assert.match(rendered.match(/data-made-on-the-server="([^"]*)"/)?.[1] ?? rendered, UUID);
  assert.match(rendered, /<ol id="steps" data-tables="card"><\/ol>/);
  await assertMakesACard({ app: 'next', origin, act });
  assert.deepEqual(loads(log), []);
});

// In development React runs each effect twice, so the space is opened, closed and opened again at once.
test('p2_the_package_works_in_next_while_developing', async () => {
  const { origin, log } = await start(await installApp('next'), 'dev');
  await assertMakesACard({ app: 'next', origin, act });
  assert.deepEqual(loads(log), []);
});

test('p2_an_engine_that_a_server_loads_would_be_seen', async () => {
  const dist = join(await installApp('plain'), 'node_modules', 'driftline', 'dist');
  const script = `import { readFileSync } from 'node:fs';
    import { initSync } from '${dist}/driftline_client.js';
    initSync({ module: readFileSync('${dist}/driftline_client_bg.wasm') });`;
  const { stderr } = await runIn(dist, 'node', ['--input-type=module', '--eval', script], { env: ENV });
  assert.deepEqual(stderr.split('\n'), [ENGINE_LOADED, '']);
});
