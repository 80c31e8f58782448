// People who see each other: two pages, the real server, and a third who takes no part.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { openBrowser, ROOT, runDriftline, startNetwork, startServer, tempDir, until } from './harness.mjs';
import { makeSite, openSite } from './page.mjs';

const FOLDER = join(ROOT, 'tests', 'schemas', 'canvas');
const schema = readFileSync(join(FOLDER, 'schema.json'), 'utf8');
const SPACE = 'a-space';

const serve = (args = []) =>
  startServer({
    schema: join(FOLDER, 'schema.json'),
    migrations: join(FOLDER, 'migrations'),
    staticDir: makeSite(),
    args,
  });

/** A page that has joined, and says `state`. */
async function openPerson(browser, url, state, options = {}) {
  const page = await browser.context.newPage();
  await openSite(page, url);
  await page.evaluate(
    async ([schema, space, state, options]) => {
      const { token } = options;
      if (token) window.token = token;
      await window.start(schema, space, { ...options, ...(token && { token: () => window.token }) });
      const { joinPresence } = await import('/driftline/presence.js');
      window.presence = joinPresence(window.db, state);
      window.errors = [];
      window.presence.onError(({ code }) => window.errors.push(code));
    },
    [schema, SPACE, state, options],
  );
  const others = () => page.evaluate(() => [...window.presence.others.values()]);
  return {
    page,
    say: (state) => page.evaluate((state) => window.presence.set(state), state),
    untilOthers: async (expected) => {
      let seen;
      const isSeen = async () => {
        seen = await others();
        return isDeepStrictEqual(seen, expected);
      };
      await until('others to be seen', isSeen).catch(() => assert.deepEqual(seen, expected));
    },
  };
}

test('v5_people_see_each_other_come_move_and_go', async () => {
  const server = await serve();
  const browser = await openBrowser();
  const ada = await openPerson(browser, server.url, { name: 'Ada', x: 1 });
  const grace = await openPerson(browser, server.url, { name: 'Grace' });
  await ada.untilOthers([{ name: 'Grace' }]);
  await grace.untilOthers([{ name: 'Ada', x: 1 }]);

  // Far more than is sent, and the last is what is seen.
  await ada.page.evaluate(async () => {
    for (let x = 0; x <= 500; x += 1) {
      window.presence.set({ name: 'Ada', x });
      if (x % 100 === 0) await new Promise(requestAnimationFrame);
    }
  });
  await grace.untilOthers([{ name: 'Ada', x: 500 }]);
  const [name] = await grace.page.evaluate(() => [...window.presence.others.keys()]);
  assert.match(name, /^[0-9a-f]{16}$/);

  await ada.say(null);
  await grace.untilOthers([]);
  await ada.untilOthers([{ name: 'Grace' }]);
  await ada.say({ name: 'Ada' });
  await grace.untilOthers([{ name: 'Ada' }]);
  await ada.page.close();
  await grace.untilOthers([]);

  for (const file of readdirSync(server.data)) {
    const holds = readFileSync(join(server.data, file)).includes('Grace');
    assert.equal(holds, false, `nothing of it is in ${file}`);
  }
  await browser.close();
});

test('v5_people_see_each_other_again_after_the_server_was_killed', async () => {
  const server = await serve();
  const browser = await openBrowser();
  const ada = await openPerson(browser, server.url, 'Ada');
  const grace = await openPerson(browser, server.url, 'Grace');
  await ada.untilOthers(['Grace']);
  await grace.untilOthers(['Ada']);

  await server.kill();
  await ada.untilOthers([]);
  await grace.untilOthers([]);
  await ada.say('Ada, still');
  await server.restart();
  await grace.untilOthers(['Ada, still']);
  await ada.untilOthers(['Grace']);
  await browser.close();
});

test('v5_a_network_that_swallows_everything_shows_nobody_until_it_is_back', async () => {
  const server = await serve();
  const browser = await openBrowser();
  const network = await startNetwork(server.port);
  const ada = await openPerson(browser, server.url, 'Ada');
  const grace = await openPerson(browser, network.url, 'Grace');
  await grace.untilOthers(['Ada']);
  network.stall();
  await grace.untilOthers([]);
  await network.restore();
  await grace.untilOthers(['Ada']);

  // The app's own switch.
  await grace.page.evaluate(() => window.db.setOnline(false));
  await grace.untilOthers([]);
  await ada.untilOthers([]);
  await grace.page.evaluate(() => window.db.setOnline(true));
  await grace.untilOthers(['Ada']);
  await ada.untilOthers(['Grace']);
  await grace.page.evaluate(() => window.db.close());
  await ada.untilOthers([]);
  await browser.close();
});

test('v5_a_credential_decides_who_is_seen', async () => {
  const secret = join(tempDir('secret'), 'secret');
  const token = (...args) => runDriftline(['token', '--secret-file', secret, ...args]).then((text) => text.trim());
  const ada = await token('--sub', 'ada', '--space', SPACE);
  const reader = await token('--sub', 'grace', '--space', SPACE, '--role', 'read');
  const stranger = await token('--sub', 'mallory', '--space', 'elsewhere');
  const server = await serve(['--secret-file', secret]);
  const browser = await openBrowser();
  const one = await openPerson(browser, server.url, 'Ada', { token: ada, user: 'ada' });
  const two = await openPerson(browser, server.url, 'Grace', { token: 'worn out', user: 'grace' });
  await until('the page to be connected', () => one.page.evaluate(() => window.db.status.state === 'saved'));
  await one.untilOthers([]);
  // The function is asked again, and whoever may read is seen.
  await two.page.evaluate((token) => {
    window.token = token;
  }, reader);
  await one.untilOthers(['Grace']);
  await two.untilOthers(['Ada']);

  const three = await openPerson(browser, server.url, 'Mallory', { token: stranger, user: 'mallory' });
  const errors = () => three.page.evaluate(() => window.errors);
  await until('a refusal to be told', async () => (await errors()).length > 0);
  assert.deepEqual(await errors(), ['forbidden']);
  await three.untilOthers([]);
  await one.untilOthers(['Grace']);
  await browser.close();
});
