// Every state that a person can meet in the canvas app, and pictures of them:
//
//   node tests/browser/screenshots.mjs FOLDER [PART OF A NAME]
//
// writes a PNG of each state, light and dark, on a desk and on a phone. accessibility.test.mjs walks through the same states.

import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { chromium } from 'playwright-core';
import { runAsCommand } from '../../scripts/run.mjs';
import { endAtExit, ROOT, runDriftline, startServer, tempDir, until } from './harness.mjs';
import { untilKeptForOffline } from './page.mjs';
import { bay } from './pictures.mjs';

const APP = join(ROOT, 'www');
export const PLACE = {
  schema: join(APP, 'server', 'schema.json'),
  migrations: join(APP, 'server', 'migrations'),
  staticDir: join(APP, 'dist'),
};

export const THEMES = ['light', 'dark'];
export const SIZES = {
  desk: { viewport: { width: 1280, height: 800 } },
  phone: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
};

/** A server for everybody, one that asks for tokens, and a browser. */
export async function startWorld() {
  const secret = join(tempDir('secret'), 'secret');
  const token = async (...args) => (await runDriftline(['token', '--secret-file', secret, ...args])).trim();
  const tokens = {
    write: await token('--sub', 'ada', '--space', '*'),
    read: await token('--sub', 'grace', '--space', '*', '--role', 'read'),
    other: await token('--sub', 'linus', '--space', 'elsewhere'),
  };
  const open = await startServer(PLACE);
  const guarded = await startServer({ ...PLACE, args: ['--secret-file', secret] });
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', chromiumSandbox: false });
  endAtExit(() => void browser.close().catch(() => {}));
  return { open, guarded, tokens, browser };
}

/** A person with a browser profile of their own. */
export async function visit(world, { size = 'desk', theme = 'light' } = {}) {
  const context = await world.browser.newContext({ ...SIZES[size], colorScheme: theme, reducedMotion: 'reduce' });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const go = async (space, { server = world.open, token } = {}) => {
    await page.goto(`${server.url}/?space=${space}&debug=1${token ? `#token=${token}` : ''}`);
    await page.waitForSelector('[data-testid=canvas]');
    return page;
  };
  return { world, context, page, size, go };
}

export const isStatus = (page, state, reason) =>
  until(`the status ${state} ${reason ?? ''}`, () =>
    page.evaluate(
      ([state, reason]) => {
        const { status } = window.driftline;
        return status.state === state && (reason === undefined || status.reason === reason);
      },
      [state, reason],
    ),
  );

export const untilSaved = async (page) => {
  await page.waitForFunction(() => window.driftline.outbox().length === 0);
  await isStatus(page, 'saved');
};

const write = (page, text, place = {}) =>
  page.evaluate(([text, place]) => window.driftline.tables.card.create({ text, ...place }).id, [text, place]);

async function sample({ page }) {
  await page.click('[data-testid=load-sample]');
  await page.locator('[data-testid=card]', { hasText: 'Start here' }).waitFor();
  await untilSaved(page);
}

/** Puts a picture beside the sample, as a drop does, and waits until it is on screen. */
async function dropPicture(page, name, bytes) {
  await page.evaluate(
    ([name, base64]) => {
      const data = new DataTransfer();
      const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
      data.items.add(new File([bytes], name, { type: 'image/png' }));
      const pane = document.querySelector('.react-flow__pane');
      const { x, y, width, height } = pane.getBoundingClientRect();
      const at = { clientX: x + width * 0.5, clientY: y + height * 0.55 };
      pane.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true, ...at }));
    },
    [name, bytes.toString('base64')],
  );
  await page.locator('[data-testid=picture]', { has: page.locator(`img[alt="${name}"]`) }).waitFor();
}

const describeLast = (page, text) =>
  page.evaluate((text) => {
    const { card } = window.driftline.tables;
    const last = card.query(({ image }) => image !== null).at(-1);
    return card.update(last.id, { text }).saved;
  }, text);

const openPanel = async (page) => {
  if (!(await page.locator('[data-testid=outbox-panel]').isVisible())) await page.click('[data-testid=panel-toggle]');
};

/** Opens something by the menu, which is at every size. */
export async function choose(page, what) {
  await page.click('[data-testid=menu-button]');
  await page.click(`[data-testid=app-menu-${what}]`);
}

/** Somebody else, on the same canvas. */
async function somebody({ world }, space, name) {
  const other = await visit(world);
  await other.go(space);
  await other.page.evaluate((me) => localStorage.setItem('driftline.me', me), JSON.stringify({ name, color: 7 }));
  await other.page.reload();
  await other.page.waitForSelector('[data-testid=card]');
  return other;
}

const problem = (status, code) => (route) =>
  route.fulfill({
    status,
    contentType: 'application/problem+json',
    body: JSON.stringify({ type: `urn:driftline:${code}`, title: code, status, code, detail: 'as a test says' }),
  });

let made = 0;
const newSpace = (name) => `${name}-${++made}`;

/** The disk is full for whatever the page writes from now on. */
const fullDisk = (page) =>
  page.addInitScript(() => {
    const { put } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.put = function (...args) {
      if (window.diskIsFull) throw new DOMException('no room', 'QuotaExceededError');
      return put.apply(this, args);
    };
  });

/** The browser opens no database for the page. */
const noStorage = (page) =>
  page.addInitScript(() => {
    IDBFactory.prototype.open = () => {
      throw new DOMException('not in this window', 'SecurityError');
    };
  });

const cardOf = (page, text) => page.locator('[data-testid=card]', { hasText: text });
const CORNER = { position: { x: 12, y: 8 } };

/** A canvas on which the first card of the sample is chosen. */
async function chosen(person, name) {
  await person.go(newSpace(name));
  await sample(person);
  await cardOf(person.page, 'Start here').click(CORNER);
  await person.page.waitForSelector('[data-testid=color-1]');
}

/** Each brings a person's page into a state and returns when the state is on screen. */
export const STATES = {
  welcome: async ({ page, go }) => {
    await go(newSpace('welcome'));
    await page.waitForSelector('[data-testid=welcome]');
    await isStatus(page, 'saved');
  },
  fetching: async ({ page, go }) => {
    await page.route('**/v1/**', () => {});
    await go(newSpace('fetching'));
    await page.waitForSelector('[data-testid=wait]');
  },
  canvas: async (person) => {
    const space = newSpace('harbour-plan');
    const { page } = person;
    await person.go(space);
    await sample(person);
    const other = await somebody(person, space, 'Mia Berg');
    const [x, y] = person.size === 'phone' ? [400, 500] : [500, 420];
    await page.waitForFunction(() => document.querySelector('[data-testid=avatar]'));
    await other.page.locator('[data-testid=card]', { hasText: 'Start here' }).click({ position: { x: 40, y: 20 } });
    await until('the pointer of the other to be seen', async () => {
      await other.page.mouse.move(x + Math.random() * 4, y);
      return (await page.locator('[data-testid=cursor]').count()) > 0;
    });
    await page.waitForSelector('[data-testid=others-selection]');
  },
  offline: async (person) => {
    const { page, context } = person;
    await person.go(newSpace('offline'));
    await sample(person);
    await context.setOffline(true);
    await isStatus(page, 'offline');
    const id = await write(page, 'Made without a network', { x: 60, y: 480 });
    await page.evaluate((id) => {
      const { card, connection } = window.driftline.tables;
      const [first] = card.query();
      connection.create({ start_item: { card: first.id }, end_item: { card: id }, label: 'later' });
    }, id);
    await page.waitForFunction(
      () => document.querySelectorAll('[data-testid=outbox-entry]').length === 2 || innerWidth < 721,
    );
  },
  'offline-by-choice': async (person) => {
    const { page } = person;
    await person.go(newSpace('by-choice'));
    await sample(person);
    const isPhone = page.viewportSize().width < 721;
    if (isPhone) await page.click('[data-testid=menu-button]');
    await page.click(`[data-testid=${isPhone ? 'app-menu-online' : 'online-switch'}]`);
    if (isPhone) await page.keyboard.press('Escape');
    await isStatus(page, 'offline');
    await write(page, 'Made on the train', { x: 60, y: 480 });
  },
  'offline-new': async ({ page, go, context }) => {
    await go('first-visit');
    await untilKeptForOffline(page);
    await context.setOffline(true);
    await page.goto(page.url().replace('first-visit', newSpace('made-offline')));
    await page.waitForSelector('[data-testid=unknown]');
  },
  parked: async (person) => {
    const space = newSpace('parked');
    const { page, context } = person;
    await person.go(space);
    await sample(person);
    const other = await somebody(person, space, 'Jonas');
    await context.setOffline(true);
    await isStatus(page, 'offline');
    await page.evaluate(() => {
      const { card, connection } = window.driftline.tables;
      const [from] = card.query((row) => row.text.includes('Drag a card'));
      const [to] = card.query((row) => row.text.startsWith('Open this page'));
      connection.create({ start_item: { card: from.id }, end_item: { card: to.id }, label: 'and then' });
    });
    await other.page.evaluate(() => {
      const { card } = window.driftline.tables;
      return card.delete(card.query((row) => row.text.startsWith('Open this page'))[0].id).accepted;
    });
    await context.setOffline(false);
    await page.waitForSelector('[data-testid=banner][data-code=parked]');
  },
  'server-full': async (person) => {
    const { page } = person;
    await person.go(newSpace('server-full'));
    await sample(person);
    await page.route('**/reconcile', problem(507, 'server_full'));
    await write(page, 'Not taken yet', { x: 60, y: 480 });
    await page.waitForSelector('[data-testid=banner][data-code=server_full]');
  },
  'device-full': async (person) => {
    const { page, context } = person;
    await fullDisk(page);
    await person.go(newSpace('device-full'));
    await sample(person);
    await context.setOffline(true);
    await page.evaluate(() => {
      window.diskIsFull = true;
    });
    await write(page, 'Only in this tab', { x: 60, y: 480 });
    await page.waitForSelector('[data-testid=banner][data-code=storage_full]');
  },
  'newer-app': async (person) => {
    const { page } = person;
    await person.go(newSpace('newer-app'));
    await sample(person);
    await untilKeptForOffline(page);
    await page.reload();
    await page.waitForFunction(() => navigator.serviceWorker.controller && window.driftline);
    await page.waitForSelector('[data-testid=card]');
    await page.evaluate(() => navigator.serviceWorker.dispatchEvent(new Event('controllerchange')));
    await page.waitForSelector('[data-testid=banner][data-code=update]');
  },
  'read-only': async (person) => {
    const { page, world } = person;
    const space = newSpace('read-only');
    const writer = await visit(world);
    await writer.go(space, { server: world.guarded, token: world.tokens.write });
    await sample(writer);
    await person.go(space, { server: world.guarded, token: world.tokens.read });
    await page.waitForSelector('[data-testid=card]');
    await page.waitForSelector('[data-testid=banner][data-code=read_only]');
  },
  'needs-a-link': async ({ page, go, world }) => {
    await go(newSpace('guarded'), { server: world.guarded });
    await page.waitForSelector('[data-testid=banner][data-code=no_access]');
  },
  'wrong-link': async ({ page, go, world }) => {
    await go(newSpace('guarded'), { server: world.guarded, token: world.tokens.other });
    await page.waitForSelector('[data-testid=banner][data-code=no_access]');
  },
  unreadable: async ({ page, go }) => {
    await noStorage(page);
    await go(newSpace('unreadable'));
    await page.waitForSelector('[data-testid=unreadable]');
    await page.waitForSelector('[data-testid=banner][data-code=storage_refused]');
  },
  'no-code': async ({ page, world }) => {
    await page.route('**/assets/*.js', (route) => route.abort());
    await page.goto(`${world.open.url}/?space=no-code`);
    await page.getByRole('button', { name: 'Try again' }).waitFor();
  },
  chosen: async (person) => {
    await chosen(person, 'chosen');
    await person.page.keyboard.press('ControlOrMeta+a');
  },
  writing: async (person) => {
    await chosen(person, 'writing');
    await cardOf(person.page, 'Start here').dblclick(CORNER);
    await person.page.waitForSelector('[data-testid=draft]');
  },
  'writing-refused': async (person) => {
    const { page } = person;
    await STATES.writing(person);
    await page.fill('[data-testid=draft]', 'Far too long. '.repeat(5_000));
    await page.waitForSelector('[data-testid=draft-problem]');
  },
  'item-menu': async (person) => {
    await chosen(person, 'item-menu');
    await person.page.keyboard.press('Shift+F10');
    await person.page.waitForSelector('[data-testid=menu]');
  },
  help: async (person) => {
    await person.go(newSpace('help'));
    await sample(person);
    await person.page.keyboard.press('?');
    await person.page.waitForSelector('[data-testid=help][open]');
  },
  search: async (person) => {
    const { page } = person;
    await person.go(newSpace('search'));
    await sample(person);
    await page.keyboard.press('ControlOrMeta+f');
    await page.keyboard.type('card');
    await page.waitForTimeout(300);
  },
  legend: async (person) => {
    const { page } = person;
    await person.go(newSpace('legend'));
    await sample(person);
    await page.click('[data-testid=legend-toggle]');
    await page.waitForSelector('[data-testid=legend]');
  },
  inspector: async (person) => {
    const { page } = person;
    await STATES.offline(person);
    await openPanel(page);
    await page.click('[data-testid=tab-inspector]');
    await page.locator('.inspector-tab .sentence').first().waitFor();
  },
  simulated: async (person) => {
    const { page } = person;
    await person.go(newSpace('simulated'));
    await sample(person);
    await openPanel(page);
    await page.click('[data-testid=tab-inspector]');
    await page.locator('.inspector-tab').getByRole('tab', { name: 'Simulate' }).click();
    await page.locator('.inspector-tab').getByRole('switch', { name: 'Offline' }).check();
    await page.click('[data-testid=tab-sync]');
    await page.waitForSelector('[data-testid=simulated]');
  },
  'left-behind': async (person) => {
    const { page, context, world } = person;
    const space = newSpace('left-behind');
    await person.go(space, { server: world.guarded, token: world.tokens.write });
    await sample(person);
    await context.setOffline(true);
    await write(page, 'Of ada');
    await page.evaluate(() => window.driftline.saved());
    await page.route('**/reconcile', (route) => route.abort());
    await context.setOffline(false);
    await choose(page, 'share');
    await page.fill('[data-testid=use-link]', world.tokens.read);
    await page.getByRole('button', { name: 'Use it' }).click();
    await page.waitForSelector('[data-testid=ask]');
  },
  'discard-ask': async (person) => {
    const { page } = person;
    await STATES.parked(person);
    await openPanel(page);
    await page.click('[data-testid=discard]');
    await page.waitForSelector('[data-testid=ask]');
  },
  failure: async ({ page, world }) => {
    await page.route('**/*.wasm', (route) => route.abort());
    await page.goto(`${world.open.url}/?space=failure`);
    await page.waitForSelector('[data-testid=failure]');
  },
  menu: async (person) => {
    await person.go(newSpace('menu'));
    await sample(person);
    await person.page.click('[data-testid=menu-button]');
    await person.page.waitForSelector('[data-testid=app-menu]:popover-open');
  },
  panel: async (person) => {
    const { page, context } = person;
    await STATES.offline(person);
    await openPanel(page);
    await page.waitForFunction(() => document.querySelectorAll('[data-testid=outbox-entry]').length === 2);
    await context.setOffline(true);
  },
  spaces: async (person) => {
    const { page, context } = person;
    await person.go(newSpace('trip-to-porto'));
    await sample(person);
    await untilKeptForOffline(page);
    await context.setOffline(true);
    await page.goto(page.url().replace(/space=[^&]+/, `space=${newSpace('garden')}`));
    await page.waitForFunction(() => window.driftline);
    await write(page, 'Only here');
    await page.evaluate(() => window.driftline.saved());
    await page.goto(page.url().replace(/space=[^&]+/, `space=${newSpace('kitchen')}`));
    await page.waitForSelector('[data-testid=welcome]');
    await page.click('[data-testid=space]');
    await page.waitForFunction(() => document.querySelectorAll('[data-testid=space-row]').length === 3);
  },
  'spaces-ask': async (person) => {
    const { page } = person;
    await STATES.spaces(person);
    await page.locator('[data-testid=space-row]', { hasText: 'garden' }).locator('[data-testid=delete-row]').click();
    await page.waitForSelector('[data-testid=ask]');
  },
  history: async (person) => {
    const { page } = person;
    await person.go(newSpace('history'));
    await sample(person);
    await choose(page, 'history');
    await page.click('[data-testid=keep-version]');
    await page.waitForSelector('[data-testid=version]');
    await page.evaluate(() => {
      const { card } = window.driftline.tables;
      const [first, second] = card.query();
      card.update(first.id, { text: '# Another text' });
      return card.delete(second.id).accepted;
    });
    await page.click('[data-testid=compare]');
    await page.locator('[data-testid=difference]', { hasText: 'differ' }).waitFor();
  },
  'history-offline': async (person) => {
    const { page, context } = person;
    await person.go(newSpace('history'));
    await sample(person);
    await context.setOffline(true);
    await isStatus(page, 'offline');
    await choose(page, 'history');
    await page.waitForSelector('[data-testid=history-problem]');
  },
  share: async (person) => {
    await person.go(newSpace('share'));
    await sample(person);
    await choose(person.page, 'share');
    await person.page.waitForSelector('[data-testid=share-link]');
  },
  'share-guarded': async (person) => {
    const { page, world } = person;
    await person.go(newSpace('share'), { server: world.guarded, token: world.tokens.write });
    await sample(person);
    await choose(page, 'share');
    await page.fill('[data-testid=share-token]', world.tokens.read);
    await page.waitForSelector('[data-testid=share-link]');
  },
  people: async (person) => {
    const { page } = person;
    const space = newSpace('people');
    await person.go(space);
    await sample(person);
    await somebody(person, space, 'Mia Berg');
    await page.waitForFunction(() => document.querySelector('[data-testid=avatar]'));
    await choose(page, 'people');
    await page.fill('[data-testid=my-name]', 'Ada Lovelace');
  },
  images: async (person) => {
    const { page } = person;
    await person.go(newSpace('images'));
    await page.waitForSelector('[data-testid=welcome]');
    await dropPicture(page, 'bay.png', bay(720, 480));
    await describeLast(page, 'The bay at dusk, from the pier');
    await untilSaved(page);
    await page.waitForFunction(() => !document.querySelector('[data-testid=outbox-entry]'));
  },
  'images-described': async (person) => {
    const { page } = person;
    await STATES.images(person);
    await page.locator('[data-testid=picture]').dblclick();
    await page.waitForSelector('[data-testid=draft]');
  },
  'images-offline': async (person) => {
    const { page, context } = person;
    await person.go(newSpace('images-offline'));
    await page.waitForSelector('[data-testid=welcome]');
    await isStatus(page, 'saved');
    await context.setOffline(true);
    await isStatus(page, 'offline');
    await dropPicture(page, 'bay.png', bay(360, 240));
    await openPanel(page);
    await page.locator('[data-testid=files-waiting]', { hasText: 'kept on this device' }).waitFor();
    await page.waitForSelector('[data-testid=outbox-entry]');
  },
  'images-away': async (person) => {
    const { page, world } = person;
    const space = newSpace('images-away');
    const other = await visit(world);
    await other.go(space);
    await dropPicture(other.page, 'bay.png', bay(720, 480));
    await describeLast(other.page, 'The bay at dusk, from the pier');
    await untilSaved(other.page);
    await page.route('**/blobs/*', (route) => route.abort());
    await person.go(space);
    await page.locator('[data-testid=picture-away]', { hasText: 'Waiting for a network' }).waitFor();
    await page.evaluate(() => {
      const { card } = window.driftline.tables;
      const [{ x, y }] = card.query();
      const image = { hash: 'ab'.repeat(32), bytes: 10, type: 'image/png', width: 300, height: 200 };
      const place = { x, y: y + 360, width: 300, height: 200, z: 9 };
      return card.create({ kind: 'file', file: 'a.png', image: crypto.randomUUID(), extra: { image }, ...place }).saved;
    });
    await page.unroute('**/blobs/*');
    await page.route('**/blobs/*', problem(404, 'not_found'));
    await page.locator('[data-testid=picture-away]', { hasText: 'Waiting for another device' }).waitFor();
  },
  'images-parked': async (person) => {
    const { page } = person;
    await person.go(newSpace('images-parked'));
    await page.waitForSelector('[data-testid=welcome]');
    await page.route('**/blobs/*', problem(413, 'blobs_full'));
    await dropPicture(page, 'bay.png', bay(360, 240));
    await openPanel(page);
    await page.waitForSelector('[data-testid=parked-file]');
    await page.waitForSelector('[data-testid=banner][data-code=parked]');
  },
  'images-refused': async (person) => {
    const { page } = person;
    await person.go(newSpace('images-refused'));
    await page.waitForSelector('[data-testid=welcome]');
    await page.evaluate(() => {
      const data = new DataTransfer();
      data.items.add(new File(['no picture'], 'holiday.png', { type: 'image/png' }));
      const event = new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true });
      document.body.dispatchEvent(event);
    });
    await page.locator('[data-testid=notice]', { hasText: 'was not added' }).waitFor();
  },
};

/** Opens a state, hands the page over, and closes all that was opened for it. */
export async function withState(world, name, options, use) {
  const person = await visit(world, options);
  try {
    await STATES[name](person);
    return await use(person.page);
  } finally {
    for (const context of world.browser.contexts()) await context.close();
  }
}

async function takePictures([folder, part = '']) {
  if (!folder) throw new Error('name the folder that the pictures are to be written into');
  mkdirSync(resolve(folder), { recursive: true });
  const world = await startWorld();
  for (const name of Object.keys(STATES).filter((name) => name.includes(part))) {
    for (const size of Object.keys(SIZES)) {
      await withState(world, name, { size }, async (page) => {
        for (const colorScheme of THEMES) {
          await page.emulateMedia({ colorScheme });
          const path = join(resolve(folder), `${name}-${size}-${colorScheme}.png`);
          await page.screenshot({ path });
          console.log(path);
        }
      });
    }
  }
  await world.browser.close();
  for (const server of [world.open, world.guarded]) await server.stop();
}

await runAsCommand(import.meta.url, takePictures);
