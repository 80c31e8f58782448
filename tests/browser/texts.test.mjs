// Two people who type into the same text, both offline: what both typed is there in the end, in the field or beside it.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, before, test } from 'node:test';
import { openBrowser, ROOT, startNetwork, startServer } from './harness.mjs';
import { assertKeys } from './ledger.mjs';
import { checkOrder, readLog, serverDigest } from './log.mjs';
import { makeSite, openSite, untilSynced } from './page.mjs';

const FOLDER = join(ROOT, 'tests', 'schemas', 'canvas');
const schema = JSON.parse(readFileSync(join(FOLDER, 'schema.json'), 'utf8'));
const { max_chars: FULL } = schema.tables.card.fields.name;

let server;
before(async () => {
  const migrations = join(FOLDER, 'migrations');
  server = await startServer({ schema: join(FOLDER, 'schema.json'), migrations, staticDir: makeSite() });
});

const browsers = [];
afterEach(async () => {
  for (const browser of browsers.splice(0)) await browser.close();
});

/** A person with a profile and a network of their own. */
async function openPerson(space) {
  const network = await startNetwork(server.port);
  const browser = await openBrowser();
  browsers.push(browser);
  const page = await browser.context.newPage();
  await openSite(page, network.url);
  const start = () => page.evaluate(([schema, space]) => window.start(schema, space), [schema, space]);
  await start();
  const reload = async () => {
    await page.reload();
    await page.waitForFunction(() => window.isReady);
    await start();
  };
  return {
    page,
    reload,
    cut: () => network.cut(browser.context),
    restore: () => network.restore(browser.context),
  };
}

/** Ten paragraphs, of as many characters as the field takes. */
function fullText() {
  const paragraphs = Array.from({ length: 10 }, (_, index) => `Paragraph ${index} says at length what it says. `);
  const lengths = paragraphs.map((_, index) => Math.floor((FULL - 18 + index) / 10));
  const text = paragraphs.map((start, index) => start.repeat(20).slice(0, lengths[index])).join('\n\n');
  assert.equal(text.length, FULL);
  return text;
}

/** The text with a paragraph typed over from its beginning, as long as before. */
function retype(text, paragraph, words) {
  const all = text.split('\n\n');
  all[paragraph] = words + all[paragraph].slice(words.length);
  return all.join('\n\n');
}

/** Both have the card, and then neither has a network. */
async function openTwo(space, text) {
  const [one, two] = [await openPerson(space), await openPerson(space)];
  const { id, key } = await one.page.evaluate(async (name) => {
    const change = window.db.tables.card.create({ name });
    await change.accepted;
    return { id: change.id, key: change.key };
  }, text);
  await two.page.waitForFunction((id) => window.db.tables.card.get(id), id);
  for (const { cut } of [one, two]) await cut();
  return { one, two, id, key };
}

/** Types as the app would at a keyboard: the whole text after each of some steps. */
const type = ({ page }, id, steps) =>
  page.evaluate(
    async ([id, steps]) => {
      const changes = steps.map((name) => window.db.tables.card.update(id, { name }));
      await Promise.all(changes.map((change) => change.saved));
      return [...new Set(changes.map((change) => change.key))];
    },
    [id, steps],
  );

const seen = ({ page }, id) =>
  page.evaluate((id) => {
    const { name, name_conflict } = window.db.tables.card.get(id);
    return { name, name_conflict };
  }, id);

async function stored(space) {
  const [row] = await server.query(
    `SELECT name, name_conflict FROM card WHERE space = (SELECT id FROM _space WHERE name = '${space}')`,
  );
  return { name: row.name, name_conflict: JSON.parse(row.name_conflict) };
}

/** Both show the same, which is what the server has, also after a reload. */
async function assertAllSee(people, id, space, wanted) {
  assert.deepEqual(await stored(space), wanted);
  for (const person of people) {
    // What the other has done may still be on its way here.
    const arrived = ([id, wanted]) => {
      const { name, name_conflict } = window.db.tables.card.get(id);
      return JSON.stringify([name, name_conflict]) === JSON.stringify([wanted.name, wanted.name_conflict]);
    };
    await person.page.waitForFunction(arrived, [id, wanted], { timeout: 10_000 }).catch(() => {});
    assert.deepEqual(await seen(person, id), wanted);
    await person.reload();
    assert.deepEqual(await seen(person, id), wanted, 'after a reload');
    await untilSynced(person.page);
    const { rev, digest } = await person.page.evaluate(() => window.db.digest);
    assert.deepEqual({ rev, digest }, await serverDigest(server, space));
  }
}

async function assertLog(space, keys) {
  const log = await readLog(server, space);
  checkOrder(schema, log);
  assertKeys(log, keys);
}

test('i7_two_people_offline_in_different_paragraphs_of_a_full_card_both_see_both', async () => {
  const space = 'paragraphs';
  const text = fullText();
  const { one, two, id, key } = await openTwo(space, text);
  const mine = retype(text, 2, 'I typed this, and it is mine.');
  const keys = await type(one, id, [retype(text, 2, 'I typed'), mine]);
  const theirs = retype(retype(text, 7, 'They typed this.'), 9, 'And this at the end.');
  keys.push(...(await type(two, id, [retype(text, 7, 'They'), theirs])));
  assert.deepEqual(await seen(one, id), { name: mine, name_conflict: null });
  assert.deepEqual(await seen(two, id), { name: theirs, name_conflict: null });
  for (const person of [one, two]) {
    await person.restore();
    await untilSynced(person.page);
  }
  const both = retype(theirs, 2, 'I typed this, and it is mine.');
  assert.equal(both.length, FULL);
  await assertAllSee([one, two], id, space, { name: both, name_conflict: null });
  await assertLog(space, [key, ...keys]);
});

test('i7_two_people_offline_in_the_same_paragraph_both_see_what_the_other_typed_beside_theirs', async () => {
  const space = 'same-paragraph';
  const text = fullText();
  const { one, two, id, key } = await openTwo(space, text);
  const mine = retype(text, 4, 'I typed this, and it is mine.');
  const keys = await type(one, id, [mine]);
  // Later by the clock, so that this is what stands in the field.
  const theirs = retype(text, 4, 'They typed that.');
  keys.push(...(await type(two, id, [retype(text, 4, 'They'), theirs])));

  await one.restore();
  await untilSynced(one.page);
  assert.deepEqual(await stored(space), { name: mine, name_conflict: null }, 'the first meets nothing in its way');
  assert.deepEqual(await seen(two, id), { name: theirs, name_conflict: null });
  await two.restore();
  await untilSynced(two.page);
  await assertAllSee([one, two], id, space, { name: theirs, name_conflict: [mine] });

  // The first makes one text of both, and says that it is settled; the other goes on in another paragraph meanwhile.
  const settled = retype(theirs, 5, 'I typed this, and it is mine.');
  keys.push(
    ...(await one.page.evaluate(
      async ([id, name]) => {
        const change = window.db.tables.card.update(id, { name, name_conflict: null });
        await change.saved;
        return [change.key];
      },
      [id, settled],
    )),
  );
  // In what stands there: the other's text may have come in between.
  keys.push(
    ...(await two.page.evaluate(
      async ([id, words]) => {
        const paragraphs = window.db.tables.card.get(id).name.split('\n\n');
        paragraphs[0] = words + paragraphs[0].slice(words.length);
        const change = window.db.tables.card.update(id, { name: paragraphs.join('\n\n') });
        await change.saved;
        return [change.key];
      },
      [id, 'They go on.'],
    )),
  );
  for (const { page } of [one, two]) await untilSynced(page);
  await assertAllSee([one, two], id, space, { name: retype(settled, 0, 'They go on.'), name_conflict: null });
  await assertLog(space, [key, ...keys]);
});
