// What is around the canvas: spaces, links with a role, versions, people, and what a person is told when something is wrong.

import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { build } from 'esbuild';
import { ROOT, startNetwork, startServer, tempDir, until } from './harness.mjs';
import { logCount } from './log.mjs';
import { untilKeptForOffline } from './page.mjs';
import { choose, isStatus, PLACE, STATES, startWorld, untilSaved, visit } from './screenshots.mjs';

let world;
before(async () => {
  world = await startWorld();
});
after(() => world.browser.close());
afterEach(async () => {
  for (const context of world.browser.contexts()) await context.close();
});

const card = (page, text) => page.locator('[data-testid=card]', { hasText: text });
const banner = (page, code) => page.locator(`[data-testid=banner][data-code=${code}]`);
const row = (page, space) => page.locator(`[data-testid=space-row][data-space=${space}]`);
const texts = (page) =>
  page.evaluate(() =>
    window.driftline.tables.card
      .query()
      .map((row) => row.text)
      .sort(),
  );
const create = (page, text) =>
  page.evaluate((text) => window.driftline.tables.card.create({ text }).saved.then(() => {}), text);

// ---- Words ----

test('r3_every_code_of_the_protocol_and_of_the_package_has_a_sentence_for_people', async () => {
  const entry = join(ROOT, 'www', 'src', 'panel', 'codes.ts');
  const { outputFiles } = await build({ entryPoints: [entry], bundle: true, format: 'esm', write: false });
  const { SENTENCES, sayError } = await import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`);

  const protocol = readFileSync(join(ROOT, 'docs', 'protocol.md'), 'utf8');
  const part = (from, to) => protocol.slice(protocol.indexOf(from), protocol.indexOf(to, protocol.indexOf(from)));
  const refused = [...part('### Codes of a refused transaction', 'A `cycle` is told').matchAll(/^\| `(\w+)` \|/gm)];
  const requests = part('## Errors of a request', 'Where `"unsure"')
    .split('\n')
    .filter((line) => /^\| \d/.test(line));
  const codes = [
    ...refused.map((match) => match[1]),
    ...requests.flatMap((line) => [...line.split('|')[2].matchAll(/`(\w+)`/g)].map((match) => match[1])),
    ...['row_newer', 'reference_dropped'],
  ];
  const reasons = readFileSync(join(ROOT, 'crates', 'driftline-client', 'ts', 'status.ts'), 'utf8');
  codes.push(...[...reasons.matchAll(/`(storage_[a-z]+)`/g)].map((match) => match[1]));
  assert.ok(codes.length > 45, `${codes.length} codes were found in the documents`);
  assert.deepEqual(
    codes.filter((code) => !SENTENCES[code]),
    [],
  );
  for (const [code, sentence] of Object.entries(SENTENCES)) {
    assert.match(sentence, /^[A-Z].*\.$/, code);
    assert.ok(!code.includes('_') || !sentence.includes(code), `${code} is no word for people`);
  }
  assert.equal(sayError({ code: 'denied', detail: 'Only on weekdays.' }), 'Only on weekdays.');
  // What nobody has written for people is for the console alone.
  const unsaid = [new Error('As it was thrown.'), { code: 'of_a_later_version', detail: 'For developers.' }];
  for (const error of unsaid) assert.equal(sayError(error), 'Something went wrong. Try again.');
  assert.equal(sayError(undefined), 'Something went wrong. Try again.');
});

// ---- First use ----

test('an_empty_canvas_says_what_can_be_done_and_loads_a_sample', async () => {
  const { page, go } = await visit(world);
  await go('first-use');
  const welcome = page.locator('[data-testid=welcome]');
  await welcome.waitFor();
  assert.match(await welcome.textContent(), /Double-click.*write a card/);
  await page.click('[data-testid=load-sample]');
  await welcome.waitFor({ state: 'detached' });
  await untilSaved(page);
  const count = () => page.evaluate(() => window.driftline.tables.card.size);
  assert.equal(await count(), 5);
  assert.equal(await page.evaluate(() => window.driftline.tables.connection.size), 4);
  await page.evaluate(() => {
    const { card, box } = window.driftline.tables;
    for (const { id } of box.query()) box.delete(id);
    for (const { id } of card.query()) card.delete(id);
  });
  await welcome.waitFor();
});

test('a_canvas_that_the_server_has_not_told_of_yet_is_not_called_empty', async () => {
  const writer = await visit(world);
  await create(await writer.go('told-late'), 'There already');
  await untilSaved(writer.page);
  const { page, go } = await visit(world);
  let answer;
  const held = new Promise((resolve) => {
    answer = resolve;
  });
  await page.route('**/v1/spaces/told-late/{snapshot,reconcile}', async (route) => {
    await held;
    await route.continue();
  });
  await go('told-late');
  await page.waitForSelector('[data-testid=wait]');
  assert.equal(await page.locator('[data-testid=welcome]').count(), 0);
  assert.equal(await page.locator('[data-testid=status]').getAttribute('aria-label'), 'Loading…. Show what waits');
  answer();
  await card(page, 'There already').waitFor();
  assert.equal(await page.locator('[data-testid=wait]').count(), 0);
});

// ---- Spaces ----

test('v7_spaces_are_made_listed_opened_and_deleted_offline_and_unsent_work_never_goes_unasked', async () => {
  const { page, context, go } = await visit(world);
  await go('home');
  await untilSaved(page);
  await untilKeptForOffline(page);
  await context.setOffline(true);

  await page.click('[data-testid=space]');
  await page.fill('[data-testid=new-space]', 'not a name');
  assert.equal(await page.isDisabled('[data-testid=go-space]'), true);
  await page.fill('[data-testid=new-space]', 'cellar');
  await page.click('[data-testid=go-space]');
  await page.waitForURL(/space=cellar/);
  await page.waitForFunction(() => window.driftline);
  await create(page, 'Only here');
  await page.click('[data-testid=space]');
  await row(page, 'home').getByRole('link').click();
  await page.waitForURL(/space=home/);
  await page.waitForSelector('[data-testid=canvas]');

  await page.click('[data-testid=space]');
  await row(page, 'cellar').waitFor();
  assert.match(await row(page, 'cellar').textContent(), /made offline.*1 not sent/);
  assert.match(await row(page, 'home').textContent(), /open here/);
  assert.equal(await row(page, 'home').locator('[data-testid=delete-row]').count(), 0);

  await row(page, 'cellar').locator('[data-testid=delete-row]').click();
  const ask = page.locator('[data-testid=ask]');
  assert.match(await ask.textContent(), /1 change.*is lost/);
  await ask.getByRole('button', { name: 'Keep it' }).click();
  await ask.waitFor({ state: 'detached' });
  assert.equal(await row(page, 'cellar').count(), 1);
  await row(page, 'cellar').locator('[data-testid=delete-row]').click();
  await page.click('[data-testid=ask-yes]');
  await row(page, 'cellar').waitFor({ state: 'detached' });
});

test('v7_tidying_up_keeps_the_last_spaces_and_whatever_has_unsent_work', async () => {
  const { page, context, go } = await visit(world);
  await go('tidy-0');
  await untilSaved(page);
  await untilKeptForOffline(page);
  await context.setOffline(true);
  for (let n = 1; n <= 7; n++) {
    await page.goto(`${world.open.url}/?space=tidy-${n}&debug=1`);
    await page.waitForFunction(() => window.driftline);
    if (n === 1) await create(page, 'Unsent');
    await page.evaluate(() => window.driftline.loaded);
  }
  await page.click('[data-testid=space]');
  await row(page, 'tidy-0').waitFor();
  await page.click('[data-testid=tidy]');
  await row(page, 'tidy-0').waitFor({ state: 'detached' });
  const names = await page.$$eval('[data-testid=space-row]', (rows) => rows.map((row) => row.dataset.space).sort());
  assert.deepEqual(names, ['tidy-1', 'tidy-4', 'tidy-5', 'tidy-6', 'tidy-7']);
});

// ---- History ----

test('v6_a_version_is_kept_compared_and_gone_back_to_by_edits_that_everybody_gets', async () => {
  const { page, go } = await visit(world);
  await go('history');
  for (const text of ['One', 'Two', 'Three']) await create(page, text);
  await untilSaved(page);
  await choose(page, 'history');
  await page.waitForSelector('[data-testid=no-versions]');
  await page.click('[data-testid=keep-version]');
  const version = page.locator('[data-testid=version]');
  await version.waitFor();
  assert.match(await version.textContent(), /3 rows/);
  await page.click('[data-testid=compare]');
  await page.locator('[data-testid=difference]', { hasText: 'The same as now' }).waitFor();
  await page.evaluate(async () => {
    const { card } = window.driftline.tables;
    const [one] = card.query((row) => row.text === 'One');
    const [two] = card.query((row) => row.text === 'Two');
    card.update(one.id, { text: 'One, changed' });
    card.delete(two.id);
    await card.create({ text: 'Four' }).accepted;
  });
  await untilSaved(page);
  await page.click('[data-testid=compare]');
  const difference = page.locator('[data-testid=difference]', { hasText: '3 rows differ' });
  await difference.waitFor();
  assert.equal(await difference.textContent(), '3 rows differ: 1 would change, 1 would come back, 1 would go');

  const other = await visit(world);
  await other.go('history');
  await card(other.page, 'Four').waitFor();
  await page.click('[data-testid=restore]');
  await page.locator('[data-testid=notice]', { hasText: 'by 3 edits' }).waitFor();
  await until('the version to be back', async () => (await texts(page)).join() === 'One,Three,Two');
  await until('the version to be with the other', async () => (await texts(other.page)).join() === 'One,Three,Two');
  // What was there before can be gone back to in turn.
  await choose(page, 'history');
  await until('two versions', async () => (await version.count()) === 2);
  await version.first().locator('[data-testid=restore]').click();
  await until('it to be as before', async () => (await texts(page)).join() === 'Four,One, changed,Three');
});

test('v6_offline_the_history_says_why_there_is_none_and_nothing_can_be_pressed', async () => {
  const { page, context, go } = await visit(world);
  await go('history-offline');
  await untilSaved(page);
  await context.setOffline(true);
  await isStatus(page, 'offline');
  await choose(page, 'history');
  assert.match(await page.textContent('[data-testid=history-problem]'), /you are offline/);
  assert.equal(await page.isDisabled('[data-testid=keep-version]'), true);
  await context.setOffline(false);
  await page.waitForSelector('[data-testid=no-versions]');
  assert.equal(await page.isDisabled('[data-testid=keep-version]'), false);
});

// ---- Links ----

test('a1_a_link_carries_its_token_in_the_fragment_and_it_stays_on_the_device_and_out_of_the_address', async () => {
  const { page, context, go } = await visit(world);
  const asked = [];
  context.on('request', (request) => asked.push(request.url()));
  await go('with-a-link', { server: world.guarded, token: world.tokens.write });
  await create(page, 'By ada');
  await untilSaved(page);
  assert.equal(new URL(page.url()).hash, '');
  assert.equal(await page.evaluate(() => history.length < 3), true);
  const signature = world.tokens.write.split('.')[2];
  assert.deepEqual(
    asked.filter((url) => url.split('#')[0].includes(signature)),
    [],
    'no address that went over the network names the token',
  );
  await page.goto(`${world.guarded.url}/?space=with-a-link&debug=1`);
  await card(page, 'By ada').waitFor();
  await untilSaved(page);
});

test('a3_who_may_only_read_knows_it_before_editing_also_offline_and_nothing_is_made_in_vain', async () => {
  const writer = await visit(world);
  await writer.go('to-read', { server: world.guarded, token: world.tokens.write });
  await create(writer.page, 'To be read');
  await untilSaved(writer.page);
  const sent = await logCount(world.guarded, 'to-read');

  const { page, context, go } = await visit(world);
  await go('to-read', { server: world.guarded, token: world.tokens.read });
  await banner(page, 'read_only').waitFor();
  await page.waitForSelector('[data-testid=view-only]');
  assert.equal(await page.locator('[data-testid=undo]').count(), 0);
  assert.equal(await page.isVisible('[data-testid=add-text]'), false);
  const refusal = (page) =>
    page.evaluate(() => {
      try {
        window.driftline.tables.card.create({ text: 'In vain' });
      } catch (error) {
        return [error.code, error.detail];
      }
    });
  const sentence = 'You can look at this canvas, but not change it: your link is for reading.';
  assert.deepEqual(await refusal(page), ['read_only', sentence]);
  assert.equal(await page.evaluate(() => window.driftline.outbox().length), 0);
  await isStatus(page, 'saved');

  // It stays known where the server cannot be asked.
  await untilKeptForOffline(page);
  await context.setOffline(true);
  await page.reload();
  await card(page, 'To be read').waitFor();
  assert.equal((await refusal(page))[0], 'read_only');
  assert.equal(await logCount(world.guarded, 'to-read'), sent);

  // With another link they may.
  await context.setOffline(false);
  await choose(page, 'share');
  await page.fill('[data-testid=use-link]', `${world.guarded.url}/?space=to-read#token=${world.tokens.write}`);
  await page.getByRole('button', { name: 'Use it' }).click();
  await page.waitForSelector('[data-testid=undo]');
  await create(page, 'Not in vain');
  await until('the edit to arrive', async () => (await logCount(world.guarded, 'to-read')) > sent);
});

test('a2_without_a_link_that_opens_it_a_space_says_so_and_takes_nothing_that_could_not_be_sent', async () => {
  const { page, go } = await visit(world);
  await go('closed', { server: world.guarded });
  await banner(page, 'no_access').waitFor();
  assert.match(await page.textContent('[data-testid=nothing]'), /once you have used a link/);
  const code = await page.evaluate(() => {
    try {
      window.driftline.tables.card.create({ text: 'Lost' });
    } catch (error) {
      return error.code;
    }
  });
  assert.equal(code, 'no_access');
  await page.click('[data-testid=remedy]');
  await page.fill('[data-testid=use-link]', 'what is this');
  await page.keyboard.press('Enter');
  await page.locator('[data-testid=notice]', { hasText: 'no link with a token' }).waitFor();
  await page.fill('[data-testid=use-link]', world.tokens.write);
  await page.keyboard.press('Enter');
  await page.waitForSelector('[data-testid=welcome]');
  await untilSaved(page);
});

test('a_link_is_made_from_a_token_and_what_would_not_work_is_told', async () => {
  const { page, go } = await visit(world);
  await go('to-share', { server: world.guarded, token: world.tokens.write });
  await choose(page, 'share');
  const command = await page.inputValue('[data-testid=share-command]');
  assert.equal(command, 'driftline token --secret-file secret --sub NAME --space to-share --role write --hours 24');
  await page.getByLabel('only look').check();
  assert.match(await page.inputValue('[data-testid=share-command]'), /--role read /);
  const dialog = page.locator('[data-testid=share-dialog]');
  for (const [token, told] of [
    ['nonsense', 'This is not a token.'],
    [world.tokens.write, 'This is your own token'],
    [world.tokens.other, 'This token does not open “to-share”, but elsewhere.'],
  ]) {
    await page.fill('[data-testid=share-token]', token);
    await dialog.locator('.problem', { hasText: told }).waitFor();
  }
  await page.fill('[data-testid=share-token]', world.tokens.read);
  assert.match(await page.textContent('[data-testid=verdict]'), /^For grace, who may only look, until /);
  const link = new URL(await page.inputValue('[data-testid=share-link]'));
  assert.equal(link.search, '?space=to-share&debug=1');
  assert.equal(link.hash, `#token=${world.tokens.read}`);
});

test('without_credentials_a_link_is_the_address_alone', async () => {
  const { page, go } = await visit(world);
  await go('open-to-all');
  await choose(page, 'share');
  assert.equal(await page.inputValue('[data-testid=share-link]'), `${world.open.url}/?space=open-to-all&debug=1`);
  assert.equal(await page.locator('[data-testid=share-token]').count(), 0);
});

test('a7_two_people_on_one_device_each_see_their_own_unsent_work', async () => {
  const { page, context, go } = await visit(world);
  await go('two-people', { server: world.guarded, token: world.tokens.write });
  await untilSaved(page);
  await context.setOffline(true);
  await create(page, 'Of ada');
  await page.route('**/reconcile', (route) => route.abort());
  await context.setOffline(false);
  // The address of the same page with another fragment: it is the app that loads it again.
  const link = `${world.guarded.url}/?space=two-people&debug=1#token=${world.tokens.read}`;
  await Promise.all([page.waitForEvent('load'), page.goto(link)]);
  await page.waitForFunction(() => window.driftline);
  await page.evaluate(() => window.driftline.loaded);
  assert.equal(await page.evaluate(() => window.driftline.outbox().length), 0);
  assert.deepEqual(await texts(page), []);
  // What the former one has not sent is told, listed, and not lost.
  await page
    .locator('[data-testid=notice]', { hasText: /^Not sent yet: 1 change made here by .+\. They are kept/ })
    .waitFor();
  await choose(page, 'spaces');
  const entry = row(page, 'two-people').filter({ hasText: '1 not sent' });
  await entry.waitFor();
  await entry.getByRole('button', { name: /^Delete/ }).click();
  await page.locator('[data-testid=ask]').waitFor();
});

// ---- People ----

test('v5_people_see_each_others_pointers_selections_and_names_until_they_go', async () => {
  const one = await visit(world);
  const two = await visit(world);
  for (const [person, name] of [
    [one, 'Ada Lovelace'],
    [two, 'Grace'],
  ]) {
    await person.go('meeting');
    await choose(person.page, 'people');
    await person.page.fill('[data-testid=my-name]', name);
    await person.page.keyboard.press('Escape');
  }
  await create(one.page, 'Seen by both');
  await card(two.page, 'Seen by both').click({ position: { x: 20, y: 12 } });
  await one.page.locator('[data-testid=others-selection]').waitFor();
  const avatars = one.page.locator('[data-testid=avatars]');
  await until('the name', async () => (await avatars.getAttribute('aria-label')) === 'People here: you, Grace');

  // The pointer is where the other's is on the canvas, whatever each of them looks at.
  await two.page.mouse.move(300, 600);
  const cursor = one.page.locator('[data-testid=cursor]', { hasText: 'Grace' });
  await cursor.waitFor();
  const onCanvas = (page, point) =>
    page.evaluate(([x, y]) => {
      const [, dx, dy, zoom] = document
        .querySelector('.react-flow__viewport')
        .style.transform.match(/translate\((.+)px, (.+)px\) scale\((.+)\)/);
      const frame = document.querySelector('.react-flow').getBoundingClientRect();
      return [(x - frame.x - dx) / zoom, (y - frame.y - dy) / zoom];
    }, point);
  const wanted = await onCanvas(two.page, [300, 600]);
  await until('the pointer to be there', async () => {
    const { x, y } = await cursor.boundingBox();
    const at = await onCanvas(one.page, [x + 2, y + 2]);
    return at.every((value, index) => Math.abs(value - wanted[index]) < 3);
  });
  await one.page.mouse.move(500, 500);
  await one.page.mouse.wheel(120, 90);
  await one.page.keyboard.down('Control');
  await one.page.mouse.wheel(0, 300);
  await one.page.keyboard.up('Control');
  await until('the view to be further away', async () => {
    const [[left], [right]] = [await onCanvas(one.page, [0, 0]), await onCanvas(one.page, [100, 0])];
    return right - left > 110;
  });
  await until('the pointer to follow the view', async () => {
    const { x, y } = await cursor.boundingBox();
    const at = await onCanvas(one.page, [x + 2, y + 2]);
    return at.every((value, index) => Math.abs(value - wanted[index]) < 3);
  });

  // Who works offline is not seen.
  await two.page.click('[data-testid=online-switch]');
  await cursor.waitFor({ state: 'detached' });
  await two.page.click('[data-testid=online-switch]');
  await until('the name again', async () => (await avatars.getAttribute('aria-label')) === 'People here: you, Grace');
  await two.context.close();
  await until('being alone', async () => (await avatars.getAttribute('aria-label')) === 'You are alone here');
});

test('what_others_say_of_themselves_reaches_the_page_only_where_it_is_what_it_should_be', async () => {
  const { page, go } = await visit(world);
  await go('strangers');
  await page.evaluate(async () => {
    const say = (presence) =>
      new Promise((done) => {
        const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/v1/spaces/strangers/live`);
        socket.onopen = () => {
          socket.send(JSON.stringify({ presence: true }));
          socket.send(JSON.stringify({ presence }));
          done(socket);
        };
      });
    window.strangers = await Promise.all(
      [
        'hello',
        { name: 7, color: 1 },
        { name: 'Styled', color: 'url(//evil)' },
        { name: 'x'.repeat(300), color: 99, cursor: { x: 'a', y: null }, selection: 'all' },
        { name: 'Real', color: 2, cursor: { x: 1, y: 2 }, selection: ['no such card', 5] },
      ].map(say),
    );
  });
  const avatars = page.locator('[data-testid=avatars]');
  await until('those who are people', async () => {
    const label = await avatars.getAttribute('aria-label');
    return label.includes('Real') && label.includes('x'.repeat(40)) && !label.includes('x'.repeat(41));
  });
  const colors = await page.$$eval('[data-testid=avatar]', (all) =>
    all.map((one) => getComputedStyle(one).backgroundColor),
  );
  assert.deepEqual(colors.sort(), ['rgb(122, 92, 0)', 'rgb(179, 38, 30)'], 'colours of the palette');
  assert.equal(await page.locator('[data-testid=cursor]').count(), 1);
  assert.equal(await page.locator('[data-testid=others-selection]').count(), 0);
});

// ---- What is wrong ----

for (const [name, code, told] of [
  ['server-full', 'server_full', /^The server cannot save\. The disk of the server is full\./],
  ['parked', 'parked', /^Something is held back\./],
  ['device-full', 'storage_full', /^This device is full\. Nothing more can be saved here\./],
  ['newer-app', 'update', /^A newer version is ready\./],
]) {
  test(`l2_a_person_is_told_in_a_sentence_what_is_wrong_and_what_to_do: ${name}`, async () => {
    const person = await visit(world);
    await STATES[name](person);
    assert.match(await banner(person.page, code).locator('p').textContent(), told);
  });
}

test('l2_what_this_device_cannot_save_is_taken_out_in_a_file_and_closing_asks_first', async () => {
  const person = await visit(world);
  const { page } = person;
  await STATES['device-full'](person);
  const download = page.waitForEvent('download');
  await page.click('[data-testid=remedy]');
  const file = JSON.parse(readFileSync(await (await download).path(), 'utf8'));
  assert.equal(file.driftline, 'unsynced');
  assert.equal(file.content.records.length, 1);
  await page.mouse.click(300, 600);
  const asked = page.waitForEvent('dialog');
  await page.close({ runBeforeUnload: true });
  const dialog = await asked;
  assert.equal(dialog.type(), 'beforeunload');
  await dialog.accept();
});

test('a_page_whose_engine_does_not_load_says_why_and_starts_once_it_does', async () => {
  const { page } = await visit(world);
  await page.route('**/*.wasm', (route) => route.abort());
  await page.goto(`${world.open.url}/?space=no-engine&debug=1`);
  const failure = page.locator('[data-testid=failure]');
  await failure.waitFor();
  assert.equal(await failure.getAttribute('data-code'), 'engine_not_loaded');
  assert.match(await failure.locator('h1').textContent(), /^The canvas could not start$/);
  await page.unroute('**/*.wasm');
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.waitForSelector('[data-testid=canvas]');
});

test('a_page_whose_code_does_not_come_says_so_and_starts_once_it_does', async () => {
  const { page } = await visit(world);
  await page.route('**/assets/*.js', (route) => route.abort());
  await page.goto(`${world.open.url}/?space=no-code&debug=1`);
  await page.getByText('The page could not be loaded').waitFor();
  await page.unroute('**/assets/*.js');
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.waitForSelector('[data-testid=canvas]');
});

test('what_fails_while_it_is_drawn_leaves_a_page_that_says_so', async () => {
  const { page, go } = await visit(world);
  await page.addInitScript(() => {
    window.seen = [];
    addEventListener('unhandledrejection', ({ reason }) => window.seen.push(String(reason)));
  });
  await go('broken');
  await create(page, 'Before');
  await card(page, 'Before').waitFor();
  await create(page, 'After');
  await untilSaved(page);
  // What is drawn of the status is read as it is drawn.
  await page.evaluate(() => {
    const get = () => {
      throw new TypeError('a fault of the page');
    };
    Object.defineProperty(window.driftline, 'status', { get });
    window.dispatchEvent(new Event('offline'));
  });
  const failure = page.locator('[data-testid=failure][data-code=drawing_failed]');
  await failure.waitFor();
  assert.doesNotMatch(await failure.locator('p').textContent(), /TypeError|fault of the page/);
  await failure.getByRole('button', { name: 'Try again' }).click();
  await card(page, 'After').waitFor();
});

test('l4_a_newer_version_of_the_page_is_told_of_and_takes_over_when_the_person_says_so', async () => {
  const site = tempDir('site');
  cpSync(PLACE.staticDir, site, { recursive: true });
  const server = await startServer({ ...PLACE, staticDir: site });
  const { page, go } = await visit(world);
  await go('newer', { server });
  await untilKeptForOffline(page);
  assert.equal(await page.locator('[data-testid=banner]').count(), 0, 'the first version is no newer one');
  await page.reload();
  await page.waitForFunction(() => navigator.serviceWorker.controller && window.driftline);
  await create(page, 'Made in the old one');

  const shell = readFileSync(join(site, 'index.html'), 'utf8');
  writeFileSync(join(site, 'index.html'), shell.replace('<html lang="en">', '<html lang="en" data-version="2">'));
  const worker = readFileSync(join(site, 'sw.js'), 'utf8');
  const revision =
    worker.match(/\{url:"index\.html",revision:"(\w+)"\}/)?.[1] ??
    worker.match(/revision:"(\w+)",url:"index\.html"/)?.[1];
  writeFileSync(join(site, 'sw.js'), worker.replace(revision, '0123456789abcdef0123456789abcdef'));
  await page.evaluate(async () => (await navigator.serviceWorker.getRegistration()).update());
  await banner(page, 'update').waitFor();
  assert.equal(await page.getAttribute('html', 'data-version'), null, 'nobody’s work is interrupted');
  await Promise.all([page.waitForEvent('load'), page.click('[data-testid=remedy]')]);
  await page.waitForSelector('html[data-version="2"]');
  await card(page, 'Made in the old one').waitFor();
  await server.stop();
});

test('the_status_is_true_while_the_network_goes_and_comes', async () => {
  const { page, context, go } = await visit(world);
  await go('true-status');
  await untilSaved(page);
  const words = () => page.textContent('[data-testid=status]');
  assert.equal(await words(), 'All changes saved');
  await context.setOffline(true);
  await isStatus(page, 'offline');
  assert.equal(await words(), 'Offline');
  await create(page, 'One');
  await until('the count', async () => (await words()) === 'Offline · 1 change kept here');
  await context.setOffline(false);
  await untilSaved(page);
  await until('the words', async () => (await words()) === 'All changes saved');
  await page.click('[data-testid=online-switch]');
  await isStatus(page, 'offline');
  assert.equal(await page.getAttribute('[data-testid=online-switch]', 'aria-checked'), 'true');
});

// ---- What a browser asks of an app ----

test('l4_the_app_can_be_installed', async () => {
  const { page, go } = await visit(world);
  await go('install');
  const { manifest, at } = await page.evaluate(async () => {
    const at = document.querySelector('link[rel=manifest]').href;
    return { manifest: await (await fetch(at)).json(), at };
  });
  assert.equal(manifest.name, 'Driftline canvas');
  assert.equal(manifest.short_name, 'Driftline');
  assert.equal(manifest.start_url, '/');
  assert.equal(manifest.scope, '/');
  assert.equal(manifest.display, 'standalone');
  assert.match(manifest.theme_color, /^#[0-9a-f]{6}$/);
  for (const [purpose, size] of [
    ['any', 192],
    ['any', 512],
    ['maskable', 192],
    ['maskable', 512],
  ]) {
    const icon = manifest.icons.find((one) => one.purpose === purpose && one.sizes === `${size}x${size}`);
    assert.equal(icon?.type, 'image/png', `${purpose} ${size}`);
    const bytes = Buffer.from(await (await fetch(new URL(icon.src, at))).arrayBuffer());
    assert.equal(bytes.toString('latin1', 1, 4), 'PNG');
    assert.deepEqual([bytes.readUInt32BE(16), bytes.readUInt32BE(20)], [size, size]);
  }
  const installability = await (await page.context().newCDPSession(page)).send('Page.getInstallabilityErrors');
  assert.deepEqual(
    installability.installabilityErrors.map(({ errorId }) => errorId).filter((id) => id !== 'in-incognito'),
    [],
  );
});

test('the_page_says_what_it_is_and_loads_without_errors_or_jumps', async (t) => {
  const { page } = await visit(world);
  const errors = [];
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  page.on('pageerror', (error) => errors.push(String(error)));
  await page.addInitScript(() => {
    window.seen = { shift: 0, tasks: [] };
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.seen.shift += entry.value;
    }).observe({ type: 'layout-shift', buffered: true });
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) window.seen.tasks.push(Math.round(duration));
    }).observe({ type: 'longtask', buffered: true });
  });
  await page.goto(`${world.open.url}/?space=lighthouse&debug=1`);
  await page.waitForSelector('[data-testid=welcome]');
  await page.waitForFunction(() => window.driftline.status.state === 'saved');
  assert.equal(await page.getAttribute('html', 'lang'), 'en');
  assert.equal(await page.title(), 'lighthouse · Driftline');
  assert.match(await page.getAttribute('meta[name=description]', 'content'), /.{50,}/);
  assert.match(await page.getAttribute('meta[name=viewport]', 'content'), /width=device-width/);
  assert.ok(
    !(await page.getAttribute('meta[name=viewport]', 'content')).includes('user-scalable'),
    'it may be enlarged',
  );
  const { shift, tasks } = await page.evaluate(() => window.seen);
  t.diagnostic(`layout shift ${shift.toFixed(3)}; long tasks at load: ${tasks.join(', ') || 'none'} ms`);
  assert.ok(shift < 0.1, `the page jumped by ${shift}`);
  assert.deepEqual(errors, []);
});

test('l4_the_app_starts_cold_and_offline_with_all_that_it_shows', async () => {
  const { page, context } = await visit(world);
  const network = await startNetwork(world.open.port);
  await page.goto(`${network.url}/?space=cold&debug=1`);
  await page.waitForFunction(() => window.driftline);
  await create(page, 'Before');
  await untilSaved(page);
  await untilKeptForOffline(page);
  await page.close();
  await network.cut(context);
  const cold = await context.newPage();
  const failed = [];
  cold.on('requestfailed', (request) => failed.push(new URL(request.url()).pathname));
  await cold.goto(`${network.url}/?space=cold&debug=1`);
  await card(cold, 'Before').waitFor();
  assert.ok(await cold.evaluate(() => document.querySelector('.brand img').naturalWidth > 0));
  assert.equal(await cold.evaluate(async () => (await document.fonts.load('14px "Inter Variable"')).length > 0), true);
  assert.deepEqual(
    failed.filter((path) => !path.startsWith('/v1/')),
    [],
  );
});
