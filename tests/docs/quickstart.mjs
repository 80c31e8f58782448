// What follows a page to the letter, and what a person then does with the page of the quickstart.
//
//   const made = await follow('docs/quickstart.md', tempDir('quickstart'));
//   await assertSyncs(made);

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
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
import { untilKeptForOffline } from '../browser/page.mjs';
import { packed } from '../package/packed.mjs';
import { blocksOf } from './blocks.mjs';

const execute = promisify(execFile);
const programs = tempDir('programs');
symlinkSync(SERVER_BINARY, join(programs, 'driftline'));
export const ENV = { ...process.env, PATH: `${programs}:${process.env.PATH}`, NEXT_TELEMETRY_DISABLED: '1' };
// Where this is set, `node --test` takes itself for a part of these tests, and runs nothing.
delete ENV.NODE_TEST_CONTEXT;

const BUILDS_SERVER = 'cargo install --path crates/driftline-server';
const INSTALLS = /^npm install (?:--save-dev )?(.+)$/;

/** A command of a page; one that would fetch or build what is here already has something else done in its place. */
async function commandOf(line, others) {
  if (line === BUILDS_SERVER) return 'true';
  const [, names] = INSTALLS.exec(line) ?? [];
  if (names === undefined) return line;
  if (names === 'driftline') return `npm install --offline ${(await packed()).tarball}`;
  return others(names.split(' '));
}

/** What a page needs besides the package is there when it is followed. */
const isThere = (names) => names.map((name) => `test -d node_modules/${name}`).join(' && ');

/**
 * Writes the files of a page and gives its commands, in order, until one does not end: returns that one. Of the page it takes all, or the
 * `sections` with these headings. `install` is given the packages that the page has installed, and says what is to be done for it.
 */
export async function follow(path, folder, { sections, install = isThere } = {}) {
  let cwd = folder;
  const said = [];
  const text = readFileSync(join(ROOT, path), 'utf8');
  for (const { language, name, code } of blocksOf({ path, text: sections ? only(text, sections) : text })) {
    if (name) {
      mkdirSync(dirname(join(cwd, name)), { recursive: true });
      writeFileSync(join(cwd, name), `${code}\n`);
    } else if (language === 'sh') {
      for (const line of code.split('\n')) {
        if (line.startsWith('driftline serve')) return { cwd, said, command: line };
        const { stdout } = await execute('bash', ['-ec', `${await commandOf(line, install)}\npwd`], { cwd, env: ENV });
        cwd = stdout.trim().split('\n').at(-1);
        said.push(stdout);
      }
    }
  }
  return { cwd, said };
}

function only(text, headings) {
  const sections = text.split(/^## /m).slice(1);
  return headings
    .map((heading) => {
      const section = sections.find((one) => one.startsWith(`${heading}\n`));
      assert.ok(section, `there is no section ${heading}`);
      return section;
    })
    .join('\n');
}

/** Starts the server as the page says, but on a port of its own; resolves once it listens. */
export async function serve({ cwd, command }, port) {
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

/** Waits until the page shows this status. */
export const says = (page, what) =>
  until(`the page to say ${what}`, async () => (await page.textContent('#status')) === what);

export async function add(page, text) {
  await page.fill('#text', text);
  await page.click('#add button');
}

/** Does what the quickstart's last step says, with the page that `follow` has made: online, offline, closed, again, elsewhere. */
export async function assertSyncs(made) {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  let server = await serve(made, port);
  const [one, other] = [await openBrowser(), await openBrowser()];
  const page = await one.context.newPage();
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(`${error}`));
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && wrong.push(message.text()));
  await page.goto(url);
  await says(page, 'saved');
  await add(page, 'online');
  await says(page, 'saved');
  await untilKeptForOffline(page);
  assert.deepEqual(wrong, []);

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
  await one.close();
  await other.close();
}

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
