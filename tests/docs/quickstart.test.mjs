// Does what docs/quickstart.md says, in a folder of its own: every file that it shows, every command that it gives. Then does
// the same with docs/guide/testing.md in that folder. Only what comes from a registry is taken from this repository.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { promisify } from 'node:util';
import {
  endLater,
  freePort,
  openBrowser,
  queryDatabase,
  ROOT,
  SERVER_BINARY,
  tempDir,
  until,
} from '../browser/harness.mjs';
import { blocksOf } from './blocks.mjs';

const execute = promisify(execFile);
const programs = tempDir('programs');
symlinkSync(SERVER_BINARY, join(programs, 'driftline'));
const ENV = { ...process.env, PATH: `${programs}:${process.env.PATH}` };
// Where this is set, `node --test` takes itself for a part of these tests, and runs nothing.
delete ENV.NODE_TEST_CONTEXT;

/** Commands that would fetch or build what is here already, and what is done in their place. */
const INSTEAD = {
  'cargo install --path crates/driftline-server': 'true',
  'npm install driftline': `npm install --offline --install-links ${join(ROOT, 'crates', 'driftline-client')}`,
  'npm install --save-dev playwright-core esbuild': `ln -s ${join(ROOT, 'node_modules')}/* ${join(ROOT, 'node_modules')}/.bin node_modules/ 2>/dev/null || true`,
};

/** Writes the files of a page and gives its commands, in order, until one does not end: returns that one. */
async function follow(path, folder) {
  let cwd = folder;
  const said = [];
  for (const { language, name, code } of blocksOf({ path, text: readFileSync(join(ROOT, path), 'utf8') })) {
    if (name) {
      mkdirSync(dirname(join(cwd, name)), { recursive: true });
      writeFileSync(join(cwd, name), `${code}\n`);
    } else if (language === 'sh') {
      for (const line of code.split('\n')) {
        if (line.startsWith('driftline serve')) return { cwd, said, command: line };
        const { stdout } = await execute('bash', ['-ec', `${INSTEAD[line] ?? line}\npwd`], { cwd, env: ENV });
        cwd = stdout.trim().split('\n').at(-1);
        said.push(stdout);
      }
    }
  }
  return { cwd, said };
}

/** Starts the server as the page says, but on a port of its own; resolves once it listens. */
async function serve({ cwd, command }, port) {
  const [, ...args] = command.split(' ');
  const server = spawn(SERVER_BINARY, [...args, '--listen', `127.0.0.1:${port}`], {
    cwd,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  endLater(server);
  for await (const line of createInterface({ input: server.stdout })) if (line.includes('listening on')) break;
  server.stdout.resume();
  const ended = new Promise((done) => server.once('exit', done));
  return {
    stop: () => {
      server.kill('SIGINT');
      return ended;
    },
  };
}

const texts = (page) => page.locator('.card').allTextContents();
const says = (page, what) => until(`the page to say ${what}`, async () => (await page.textContent('#status')) === what);

async function add(page, text) {
  await page.fill('#text', text);
  await page.click('#add button');
}

const made = await follow('docs/quickstart.md', tempDir('quickstart'));

test('p3_the_quickstart_leads_to_a_page_that_edits_offline_and_syncs', async () => {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  let server = await serve(made, port);
  const [one, other] = [await openBrowser(), await openBrowser()];
  const page = await one.context.newPage();
  await page.goto(url);
  await says(page, 'saved');
  await add(page, 'online');
  await says(page, 'saved');
  await page.evaluate(async () => void (await navigator.serviceWorker.ready));

  await server.stop();
  await until('the page to notice', async () => (await page.textContent('#status')).startsWith('offline'));
  await add(page, 'offline');
  assert.deepEqual(await texts(page), ['online', 'offline'], 'seen at once');
  await drag(page, 'offline', { x: 300, y: 200 });
  // Another tab opens with no network, and shows what is on the disk.
  const tab = await one.context.newPage();
  await tab.goto(url);
  const placed = tab.locator('.card[style*="translate: 300px 200px"]', { hasText: 'offline' });
  await placed.waitFor();

  await one.kill();
  await one.reopen();
  const again = await one.context.newPage();
  await again.goto(url);
  await until('both cards to be there again', async () => (await texts(again)).length === 2);

  server = await serve(made, port);
  await says(again, 'saved');
  const second = await other.context.newPage();
  await second.goto(url);
  await until('another device to show both', async () => (await texts(second)).length === 2);
  assert.deepEqual((await texts(second)).sort(), ['offline', 'online']);
  const rows = await queryDatabase(join(made.cwd, 'data', 'driftline.db'), 'SELECT text, x, y FROM card ORDER BY text');
  assert.deepEqual(rows, [
    { text: 'offline', x: 300, y: 200 },
    { text: 'online', x: 20, y: 20 },
  ]);
  await server.stop();
});

/** Takes a card at its corner to a place of the canvas. */
async function drag(page, text, { x, y }) {
  const card = await page.locator('.card', { hasText: text }).boundingBox();
  const { left, top } = await page.evaluate(() => {
    const { left, top } = document.getElementById('canvas').getBoundingClientRect();
    return { left, top };
  });
  await page.mouse.move(card.x + 5, card.y + 5);
  await page.mouse.down();
  await page.mouse.move(left + x, top + y, { steps: 5 });
  await page.mouse.up();
}

test('p3_the_test_of_the_testing_guide_passes', async () => {
  const { said } = await follow('docs/guide/testing.md', made.cwd);
  assert.match(said.at(-1), /^# pass 2\n# fail 0$/m);
});

test('p3_the_test_of_the_testing_guide_fails_where_edits_are_doubled', async () => {
  const file = join(made.cwd, 'public', 'main.js');
  const source = readFileSync(file, 'utf8');
  const create = 'cards.create({ text: text.value, x: 20, y: 20 });';
  writeFileSync(file, source.replace(create, create + create));
  const options = { cwd: made.cwd, env: ENV, timeout: 60_000 };
  await assert.rejects(execute('node', ['--test', 'build/cards.test.js'], options), ({ stdout }) => {
    assert.match(stdout, /^# pass 1\n# fail 1$/m);
    return true;
  });
});
