// Does what docs/guide/bundlers.md says, in the folder that docs/quickstart.md leads to: each bundler's section from the packed
// package on. The bundlers themselves are those that tests/package has installed.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { freePort, openBrowser, ROOT, tempDir } from '../browser/harness.mjs';
import { installAround } from '../package/packed.mjs';
import { serveWith } from '../package/site.mjs';
import { add, assertSyncs, follow, says, serve } from './quickstart.mjs';

const PAGE = 'docs/guide/bundlers.md';
const BUNDLERS = ['Vite', 'webpack', 'esbuild', 'Next'];

const { cwd: quickstart } = await follow('docs/quickstart.md', tempDir('quickstart'));
await follow(PAGE, quickstart, { sections: ['The sources'] });

/** What a bundler's section leads to. */
async function built(bundler) {
  const folder = await installAround(bundler.toLowerCase(), quickstart);
  return await follow(PAGE, folder, { sections: [bundler] });
}

for (const bundler of BUNDLERS) {
  test(`p3_the_quickstart_built_by_${bundler.toLowerCase()}_edits_and_starts_offline_and_syncs`, async () =>
    assertSyncs(await built(bundler)));
}

const DEV_SERVERS = [
  {
    bundler: 'Vite',
    config: 'vite.config.js',
    args: (port) => ['--host', '127.0.0.1', '--port', port, '--strictPort'],
  },
  { bundler: 'Next', config: 'next.config.mjs', args: (port) => ['dev', '-H', '127.0.0.1', '-p', port] },
];

for (const { bundler, config, args } of DEV_SERVERS) {
  const program = bundler.toLowerCase();
  test(`p3_what_${program}_serves_while_developing_syncs_with_the_server_beside_it`, async () => {
    const made = await built(bundler);
    const port = await freePort();
    const file = join(made.cwd, config);
    writeFileSync(file, readFileSync(file, 'utf8').replace('127.0.0.1:4077', `127.0.0.1:${port}`));
    const server = await serve(made, port);
    const { origin } = await serveWith(made.cwd, program, args, { env: { NO_COLOR: '1' } });
    const [one, other] = [await openSaved(origin), await openSaved(`http://127.0.0.1:${port}`)];
    await add(one, 'while developing');
    await other.locator('.card', { hasText: 'while developing' }).waitFor();
    await add(other, 'from what was built');
    await one.locator('.card', { hasText: 'from what was built' }).waitFor();
    await server.stop();
  });
}

/** The page at this address in a browser of its own, once it says that all is saved. */
async function openSaved(url) {
  const page = await (await openBrowser()).context.newPage();
  await page.goto(url);
  await says(page, 'saved');
  return page;
}

test('every bundler that the page names is followed', () => {
  const headings = readFileSync(join(ROOT, PAGE), 'utf8').match(/(?<=^## ).+$/gm);
  const others = ['The sources', 'What the build adds', 'When something is wrong'];
  assert.deepEqual(
    headings.filter((heading) => !others.includes(heading)),
    BUNDLERS,
  );
});
