// The packed package in the bundlers that people use, and without one: as each would be set up by its own first example.

import { join } from 'node:path';
import { test } from 'node:test';
import { assertMakesACard } from './notes.mjs';
import { installApp, runIn } from './packed.mjs';
import { serveFolder, serveWith } from './site.mjs';

/** Installs an app, builds it with a script of its own, and serves what a host would be given. */
async function built(app, { served = '.', script = 'build', headers } = {}) {
  const folder = await installApp(app);
  await runIn(folder, 'npm', ['run', '--silent', script]);
  return (await serveFolder(join(folder, served), headers)).origin;
}

test('p2_the_package_works_in_a_page_without_a_bundler', async () => {
  const { origin } = await serveFolder(await installApp('plain'));
  await assertMakesACard({ app: 'plain', origin });
});

test('p2_the_package_works_in_what_vite_builds', async () => {
  await assertMakesACard({ app: 'vite', origin: await built('vite', { served: 'dist' }) });
});

test('p2_of_a_content_security_policy_the_package_asks_wasm_and_its_server', async () => {
  const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; img-src data:";
  const server = "connect-src 'self' http://127.0.0.1:* ws://127.0.0.1:*";
  const headers = { 'content-security-policy': `${policy}; ${server}` };
  await assertMakesACard({ app: 'vite', origin: await built('vite', { served: 'dist', headers }) });
});

test('p2_the_package_works_in_what_vite_serves_while_developing', async () => {
  const folder = await installApp('vite');
  const args = (port) => ['--host', '127.0.0.1', '--port', port, '--strictPort'];
  const { origin } = await serveWith(folder, 'vite', args, { env: { NO_COLOR: '1' } });
  await assertMakesACard({ app: 'vite', origin });
});

test('p2_the_package_works_in_what_webpack_builds', async () => {
  await assertMakesACard({ app: 'webpack', origin: await built('webpack') });
});

test('p2_the_package_works_in_what_esbuild_builds', async () => {
  await assertMakesACard({ app: 'esbuild', origin: await built('esbuild') });
});

test('p2_esbuild_may_also_hand_over_the_address_of_the_wasm', async () => {
  await assertMakesACard({ app: 'esbuild', origin: await built('esbuild', { script: 'build:with-option' }) });
});
