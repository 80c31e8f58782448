// The examples as a person tries them: make something, reload without a network, meet another person, come back online.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, before, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { run } from '../../scripts/run.mjs';
import { openBrowser, ROOT, startNetwork, startServer, until } from './harness.mjs';
import { recordSent } from './log.mjs';
import { untilKeptForOffline } from './page.mjs';

const EXAMPLES = join(ROOT, 'examples');

before(async () => {
  if (!existsSync(join(EXAMPLES, 'node_modules'))) await run('npm', ['ci', '--ignore-scripts'], { cwd: EXAMPLES });
  await run('npm', ['run', '--silent', 'build'], { cwd: EXAMPLES });
});

const browsers = [];
afterEach(async () => {
  for (const browser of browsers.splice(0)) await browser.close();
});

const serve = (name) =>
  startServer({
    schema: join(EXAMPLES, name, 'server', 'schema.json'),
    migrations: join(EXAMPLES, name, 'server', 'migrations'),
    staticDir: join(EXAMPLES, 'dist', name),
  });

/** A person with a browser and a network of their own. `shown` tells what is on the screen, as values that are the same for everybody. */
async function openPerson(server, shown) {
  const network = await startNetwork(server.port);
  const browser = await openBrowser({ options: { viewport: { width: 1280, height: 800 } } });
  browsers.push(browser);
  const page = await browser.context.newPage();
  page.setDefaultTimeout(20_000);
  // What is thrown, and what is asked of any other server: that would be missing offline.
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('request', (request) => {
    if (/^(https?|wss?):/.test(request.url()) && !request.url().startsWith(network.url)) errors.push(request.url());
  });
  const sent = recordSent(page);
  await page.goto(`${network.url}/?space=a-space&debug=1`);
  await untilKeptForOffline(page);
  await page.waitForSelector('#status[data-state=saved]');
  return {
    page,
    errors,
    goOffline: () => network.cut(browser.context),
    goOnline: () => network.restore(browser.context),
    shown: () => page.evaluate(shown),
    untilShown: async (expected) => {
      let seen;
      const isShown = async () => {
        seen = await page.evaluate(shown);
        return isDeepStrictEqual(seen, expected);
      };
      await until('the same on the screen', isShown).catch(() => assert.deepEqual(seen, expected));
    },
    untilThings: (count) =>
      until(`${count} things on the screen`, async () => (await page.evaluate(shown)).things.length === count),
    untilState: (state) => page.waitForSelector(`#status[data-state=${state}]`),
    /** The rows that this page has sent edits of. */
    edited: () => {
      const edits = sent.flatMap(({ txns }) => txns.flatMap(({ body }) => body.edits));
      return new Set(edits.filter((edit) => !isPlaceAlone(edit)).map(({ id }) => id));
    },
  };
}

// Of two elements that were put into one place, Excalidraw gives one another place, and the same on all screens.
const isPlaceAlone = ({ op, set }) => op === 'update' && Object.keys(set).join() === 'place';

/** What every example has to do. `make` makes the thing of that number, and `change` changes the first by hand. */
async function tryOut(name, table, { make, change, shown }) {
  const server = await serve(name);
  const [one, two] = [await openPerson(server, shown), await openPerson(server, shown)];
  const untilRows = (count) =>
    until(`${count} rows`, async () => (await server.query(`SELECT id FROM "${table}"`)).length === count);

  await make(one.page, 1);
  await make(one.page, 2);
  await one.untilThings(2);
  await untilRows(2);
  await one.untilState('saved');
  const made = await one.shown();
  await two.untilShown(made);

  await one.goOffline();
  await one.untilState('offline');
  await change(one.page);
  await make(one.page, 3);
  await one.untilThings(3);
  const offline = await one.shown();
  assert.equal(
    made.things.filter((thing) => offline.things.includes(thing)).length,
    1,
    'one of the first two has changed',
  );
  await one.page.reload();
  await one.untilShown(offline);
  await one.untilState('offline');
  await untilRows(2);
  assert.deepEqual(await two.shown(), made, 'nothing has gone out');

  await make(two.page, 4);
  await two.untilThings(3);
  await untilRows(3);
  await one.goOnline();
  await one.untilThings(4);
  await untilRows(4);
  await one.untilState('saved');
  const all = await one.shown();
  await two.untilShown(all);
  assert.ok(offline.things.every((thing) => all.things.includes(thing)));
  assert.deepEqual(all.lines, made.lines);

  // What has come from another is not sent again: there is no echo.
  const [ofOne, ofTwo] = [one.edited(), two.edited()];
  assert.equal(ofTwo.size, 1);
  assert.deepEqual(
    [...ofTwo].filter((id) => ofOne.has(id)),
    [],
  );
  assert.deepEqual([one.errors, two.errors], [[], []]);
  return { server, one, two };
}

async function drag(page, from, to, { shift = false } = {}) {
  if (shift) await page.keyboard.down('Shift');
  await page.mouse.move(from.x, from.y);
  await page.mouse.down();
  await page.mouse.move((from.x + to.x) / 2, (from.y + to.y) / 2, { steps: 3 });
  await page.mouse.move(to.x, to.y, { steps: 3 });
  await page.mouse.up();
  if (shift) await page.keyboard.up('Shift');
}

test('p2_the_example_on_a_plain_canvas_works_offline_and_meets_others', async () => {
  const at = async (page, x, y) => {
    const box = await page.locator('#canvas').boundingBox();
    return { x: box.x + x, y: box.y + y };
  };
  await tryOut('canvas-2d', 'card', {
    make: async (page, n) => {
      await page.click('#add');
      await page.fill('#text', `Thing ${n}`);
      await page.locator('#cards', { hasText: `Thing ${n}` }).waitFor({ state: 'attached' });
      if (n === 2) await drag(page, await at(page, 60, 60), await at(page, 260, 60), { shift: true });
    },
    change: async (page) => drag(page, await at(page, 60, 60), await at(page, 100, 460)),
    shown: () => {
      const texts = [...document.querySelectorAll('#cards li')].map((item) => item.textContent).sort();
      return {
        things: texts.filter((text) => text.includes(' at ')),
        lines: texts.filter((text) => text.includes('→')),
      };
    },
  }).then(async ({ one, two }) => {
    const { things, lines } = await one.shown();
    assert.ok(things.includes('Thing 1 at 80, 440'), things.join());
    assert.deepEqual(lines, ['Thing 1 → Thing 2']);
    // Lines of a card go with it.
    const place = await at(two.page, 100, 460);
    await two.page.mouse.click(place.x, place.y);
    await two.page.click('#delete');
    await one.untilShown({ things: things.filter((text) => !text.startsWith('Thing 1')), lines: [] });
  });
});

test('p2_the_example_on_react_flow_works_offline_and_meets_others', async () => {
  const node = (page, n) => page.locator('.react-flow__node').nth(n - 1);
  const middle = async (locator) => {
    const { x, y, width, height } = await locator.boundingBox();
    return { x: x + width / 2, y: y + height / 2 };
  };
  const { one, two } = await tryOut('react-flow', 'node', {
    make: async (page, n) => {
      const count = await page.locator('.react-flow__node').count();
      await page.getByRole('button', { name: 'Add note' }).click();
      await node(page, count + 1)
        .locator('input')
        .fill(`Thing ${n}`);
      if (n !== 2) return;
      const ends = [node(page, 1).locator('.source'), node(page, 2).locator('.target')];
      await drag(page, await middle(ends[0]), await middle(ends[1]));
      await page.locator('.react-flow__edge').waitFor({ state: 'attached' });
    },
    change: async (page) => {
      const { x, y } = await node(page, 1).boundingBox();
      await drag(page, { x: x + 20, y: y + 5 }, { x: x + 60, y: y + 305 });
    },
    shown: () => {
      const all = (selector) => [...document.querySelectorAll(selector)];
      const nodes = all('.react-flow__node').map((node) => [node.dataset.id, node]);
      const label = Object.fromEntries(nodes.map(([id, node]) => [id, node.querySelector('input').value]));
      const name = (text) => text.replaceAll(/[0-9a-f-]{36}/g, (id) => label[id]);
      return {
        things: nodes.map(([id, node]) => `${label[id]} ${node.style.transform}`).sort(),
        lines: all('.react-flow__edge').map((edge) => name(edge.getAttribute('aria-label'))),
      };
    },
  });
  const { things, lines } = await one.shown();
  assert.match(things[0], /^Thing 1 translate\(\d\dpx, 3\d\dpx\)$/);
  assert.deepEqual(lines, ['Edge from Thing 1 to Thing 2']);
  // A node that is removed takes its edges along.
  await two.page
    .locator('.react-flow__node', { has: two.page.locator('input[value="Thing 1"]') })
    .click({ position: { x: 20, y: 4 } });
  await two.page.keyboard.press('Backspace');
  await one.untilShown({ things: things.filter((text) => !text.startsWith('Thing 1')), lines: [] });
  assert.deepEqual([one.errors, two.errors], [[], []]);
});

test('p2_the_example_on_excalidraw_works_offline_and_meets_others', async () => {
  const corner = (n) => ({ x: 300 + n * 130, y: 300 });
  const { one, two } = await tryOut('excalidraw', 'element', {
    make: async (page, n) => {
      await page.waitForFunction(() => window.excalidraw?.getAppState().isLoading === false);
      await page.keyboard.press('r');
      await page.waitForFunction(() => window.excalidraw.getAppState().activeTool.type === 'rectangle');
      const { x, y } = corner(n);
      await drag(page, { x, y }, { x: x + 80, y: y + 60 });
    },
    change: async (page) => {
      await page.keyboard.press('Escape');
      const { x, y } = corner(1);
      // It is held by its edge, for it is not filled.
      await page.mouse.click(x + 40, y);
      await drag(page, { x: x + 40, y }, { x: x + 40, y: y + 200 });
    },
    shown: () => {
      const elements = window.excalidraw?.getSceneElements() ?? [];
      const things = elements.map((e) => `${e.type} ${e.x},${e.y} ${e.width}x${e.height} ${e.strokeColor}`).sort();
      return { things, lines: [] };
    },
  });

  // One moves what the other colours.
  const before = (await one.shown()).things[0];
  await one.goOffline();
  await one.untilState('offline');
  const alter = (page, change) =>
    page.evaluate((change) => {
      const elements = window.excalidraw.getSceneElements().toSorted((a, b) => a.x - b.x);
      const altered = { ...elements[0], ...change, version: elements[0].version + 1, versionNonce: 1 };
      window.excalidraw.updateScene({ elements: [altered, ...elements.slice(1)] });
    }, change);
  await alter(one.page, { x: 17, y: 23 });
  await alter(two.page, { strokeColor: '#e03131' });
  await one.goOnline();
  const both = before.replace(/ \S+ /, ' 17,23 ').replace('#1e1e1e', '#e03131');
  const isThere = async (person) => (await person.shown()).things.includes(both);
  await until('both changes on both screens', async () => (await isThere(one)) && (await isThere(two)));

  // What is erased is gone for both, and an undo brings it back under its id.
  const all = (await one.shown()).things;
  await one.page.keyboard.press('Control+a');
  await one.page.keyboard.press('Delete');
  await two.untilThings(0);
  await one.page.keyboard.press('Control+z');
  await two.untilShown({ things: all, lines: [] });
  assert.deepEqual([one.errors, two.errors], [[], []]);
});
