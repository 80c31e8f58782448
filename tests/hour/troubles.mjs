// What goes wrong: kills of tabs, browsers and the server, and networks that fail. Each ends by itself, and says what is so meanwhile.

import { setTimeout as sleep } from 'node:timers/promises';

export async function bring(trouble, people, server) {
  const person = people.find(({ name }) => name === trouble.who);
  await sleep(trouble.afterMs);
  await TROUBLES[trouble.kind](trouble, person, people, server);
}

const TROUBLES = {
  'server-killed': ({ forMs }, _person, people, server) => whileServerIsDown(server, people, forMs),
  'browser-killed': ({ forMs }, person) => person.killBrowser(forMs / 4),
  'tabs-killed': ({ forMs }, person) => person.killTabs(forMs / 4),
  cut: ({ forMs }, person) => whileCut(person, forMs),
  'browser-killed-while-cut': ({ forMs }, person) =>
    whileCut(person, forMs, async () => {
      await sleep(forMs / 4);
      await person.killBrowser(forMs / 4);
    }),
  offline: ({ forMs }, person) =>
    so(person, 'told', forMs, {
      begin: () => person.tellOffline(true),
      end: () => person.tellOffline(false),
    }),
  'switched-off': ({ forMs }, person) => switchOff(person, forMs),
  stalled: ({ forMs }, person) =>
    so(person, 'stalled', forMs, { begin: () => person.near.stall(), end: () => person.near.restore() }),
  'bad-network': ({ forMs }, person) =>
    so(person, 'bad', forMs * 1.5, {
      begin: () => {
        person.far.isCalm = false;
      },
      end: () => {
        person.far.isCalm = true;
      },
    }),
};

/** One at a time of a kind for a person: what one has begun another must not end. */
async function so(person, what, forMs, { begin, end }, meanwhile = async () => {}) {
  if (person.truth.was(what)) return;
  person.truth.begin(what);
  await begin();
  await Promise.all([sleep(forMs), meanwhile()]);
  await end();
  person.truth.end(what);
}

const whileCut = (person, forMs, meanwhile) =>
  so(person, 'cut', forMs, { begin: () => person.near.cut(), end: () => person.near.restore() }, meanwhile);

async function whileServerIsDown(server, people, forMs) {
  if (people[0].truth.was('down')) return;
  for (const { truth } of people) truth.begin('down');
  await server.kill();
  await sleep(forMs);
  await server.restart();
  for (const { truth } of people) truth.end('down');
}

/** By the switch in the top bar. Of a page that dies meanwhile the next one switches it back. */
async function switchOff(person, forMs) {
  const page = await person.tab();
  const { lives } = person;
  const flip = async () => {
    await page.click('[data-testid=online-switch]');
    // As long as the switch has the focus, single keys are not the canvas's.
    await page.evaluate(() => document.activeElement.blur());
  };
  try {
    // What the person is doing comes to its end first, and that may take a while.
    await person.alone(async () => {
      // The page takes the click when it comes to that.
      person.truth.begin('switching');
      await flip();
      person.truth.begin('switched');
      person.truth.end('switching');
    });
    await sleep(forMs);
    const flipBack = async () => {
      // The page may send before the click is known here.
      person.truth.begin('switching');
      person.truth.end('switched');
      await flip();
    };
    if (person.lives === lives) await person.alone(flipBack);
  } catch (error) {
    if (person.lives === lives) throw error;
  } finally {
    for (const what of ['switching', 'switched']) person.truth.end(what);
  }
}
