// axe-core over each state of the canvas app, light and dark, on a desk and on a phone: nothing that it calls serious or critical.
// And what axe does not see: sizes of what is touched, the focus, landmarks, and what is told to those who hear the page.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { until } from './harness.mjs';
import { choose, SIZES, STATES, startWorld, THEMES, untilSaved, visit, withState } from './screenshots.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let world;
before(async () => {
  world = await startWorld();
});
after(() => world.browser.close());

const COLUMN = { One: [0, 0], Two: [0, 160], Three: [0, 320] };
const card = (page, text) => page.locator('[data-testid=card]', { hasText: text });

/** A canvas with cards of 200 by 100 pixels at these places, by their words, all of them in view. */
async function openCards(space, cards, options) {
  const person = await visit(world, options);
  const page = await person.go(space);
  await page.evaluate(() => window.driftline.loaded);
  await page.evaluate((cards) => {
    for (const [text, [x, y]] of Object.entries(cards))
      window.driftline.tables.card.create({ text, x, y, width: 200, height: 100 });
  }, cards);
  await page.waitForFunction(
    (count) => document.querySelectorAll('[data-testid=card]').length === count,
    Object.keys(cards).length,
  );
  // The first rows bring the view to them, with the frame after they are drawn.
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  return { person, page };
}

/** What has the focus: an item by its words, anything else by what it is called in tests. */
function nameOfFocused() {
  const { activeElement } = document;
  const isItem = activeElement.matches('.react-flow__node, .react-flow__edge');
  return isItem ? activeElement.getAttribute('aria-label') : activeElement.dataset.testid;
}
const focused = (page) => page.evaluate(nameOfFocused);
const untilFocused = (page, name) =>
  until(`the focus to be on ${name}`, async () => (await focused(page)) === name, { timeoutMs: 10_000 });

/** The words of the cards that are selected. */
const selected = (page) =>
  page.$$eval('.card.is-selected', (all) =>
    all.map((one) => one.closest('.react-flow__node').getAttribute('aria-label')).sort(),
  );

/** What axe finds, a line each: the rule, and where. */
async function findings(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ target, any }) => `${id}: ${target.join(' ')} ${any[0]?.message ?? ''}`));
}

for (const name of Object.keys(STATES)) {
  test(`axe_finds_nothing_serious_in_the_state_${name}`, async () => {
    for (const size of Object.keys(SIZES)) {
      await withState(world, name, { size }, async (page) => {
        for (const colorScheme of THEMES) {
          await page.emulateMedia({ colorScheme });
          assert.deepEqual(await findings(page), [], `${name}, ${size}, ${colorScheme}`);
        }
      });
    }
  });
}

for (const name of ['canvas', 'menu', 'panel', 'people']) {
  test(`axe_finds_nothing_serious_where_the_system_chooses_the_colours_in_the_state_${name}`, async () => {
    await withState(world, name, { size: 'desk' }, async (page) => {
      for (const colorScheme of THEMES) {
        await page.emulateMedia({ colorScheme, forcedColors: 'active' });
        assert.deepEqual(await findings(page), [], `${name}, ${colorScheme}`);
      }
    });
  });
}

test('what_is_chosen_is_told_apart_where_the_system_chooses_the_colours', async () => {
  const { person, page } = await openCards('forced-colours', { One: [0, 0], Two: [0, 160] });
  await page.emulateMedia({ forcedColors: 'active' });
  await card(page, 'One').click({ position: { x: 12, y: 8 } });
  const look = (selector, property) =>
    page.$eval(selector, (one, property) => getComputedStyle(one)[property], property);
  assert.equal(await look('.card.is-selected', 'outlineStyle'), 'solid');
  assert.notEqual(await look('.card:not(.is-selected)', 'outlineStyle'), 'solid');
  for (const [chosen, other, property] of [
    ['.swatch[aria-pressed=true]', '.swatch[aria-pressed=false]', 'boxShadow'],
    ['.view-bar [aria-pressed=true]', '.view-bar [aria-pressed=false]', 'borderTopWidth'],
    ['.themes label:has(:checked)', '.themes label:not(:has(:checked))', 'borderTopWidth'],
  ])
    assert.notEqual(await look(chosen, property), await look(other, property), chosen);
  const red = await look('[data-testid=color-1]', 'backgroundColor');
  assert.notEqual(red, await look('[data-testid=color-4]', 'backgroundColor'), 'a colour is shown as it is');
  await person.context.close();
});

/**
 * What can be pressed and is smaller than a finger, by its label; links within a text may be. What lies on the canvas is as large as the
 * view makes it. Swatches are smaller, and have room around them.
 */
const tooSmall = (page) =>
  page.evaluate(() => {
    const small = [];
    for (const element of document.querySelectorAll('button, select, input, [role=switch], summary')) {
      const target = element.closest('label') ?? element;
      const { width, height } = target.getBoundingClientRect();
      const isSeen = target.checkVisibility({ visibilityProperty: true }) && width > 0;
      const least = element.matches('.swatch') ? 27.5 : 43.5;
      if (isSeen && !element.closest('.react-flow__viewport') && (width < least || height < least)) {
        small.push(`${element.getAttribute('aria-label') ?? element.textContent} ${width}x${height}`);
      }
    }
    return small;
  });

for (const name of [
  'welcome',
  'canvas',
  'parked',
  'menu',
  'panel',
  'spaces',
  'spaces-ask',
  'history',
  'share-guarded',
  'people',
  'images-parked',
]) {
  test(`whatever_is_touched_on_a_phone_is_44_pixels_wide_and_high_in_the_state_${name}`, async () => {
    assert.deepEqual(await withState(world, name, { size: 'phone' }, tooSmall), []);
  });
}

test('the_bars_of_a_selection_and_of_types_fit_a_phone_and_a_finger', async () => {
  const tasks = '- [ ] milk\n- [ ] bread';
  const { person, page } = await openCards('phone-bars', { [tasks]: [0, 0], Two: [0, 160] }, { size: 'phone' });
  await page.evaluate(() => window.driftline.tables.connection_type.create({ name: 'causes' }));
  await card(page, 'Two').tap({ position: { x: 12, y: 8 } });
  await page.tap('[data-testid=legend-toggle]');
  await page.tap('[data-testid=legend-open]');
  assert.deepEqual(await tooSmall(page), []);
  const beside = await page.$$eval('.bar, .legend', (all) =>
    all.map((one) => one.getBoundingClientRect()).filter(({ left, right }) => left < 0 || right > innerWidth),
  );
  assert.deepEqual(beside, []);
  await page.waitForFunction(() => document.querySelector('.zoom').textContent === '100%');
  const boxes = await page.$$eval('.card input[type=checkbox]', (all) => all.map((one) => one.offsetWidth));
  assert.deepEqual(boxes, [24, 24]);
  await person.context.close();
});

test('what_a_phones_panel_dims_takes_no_taps', async () => {
  const { person, page } = await openCards('dimmed', { One: [0, 0] }, { size: 'phone' });
  const above = () => page.evaluate(() => document.elementFromPoint(195, 160).className);
  assert.notEqual(await above(), 'stage');
  await page.tap('[data-testid=panel-toggle]');
  await page.waitForSelector('[data-testid=outbox-panel]');
  assert.equal(await above(), 'stage');
  await page.tap('[data-testid=panel-toggle]');
  await page.waitForSelector('[data-testid=outbox-panel]', { state: 'detached' });
  await person.context.close();
});

test('nothing_of_the_page_lies_beside_a_phones_screen', async () => {
  for (const name of ['welcome', 'parked', 'panel', 'spaces', 'share-guarded', 'failure']) {
    const widths = await withState(world, name, { size: 'phone' }, (page) =>
      page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]),
    );
    assert.deepEqual(widths, [390, 390], name);
  }
});

test('the_page_has_one_of_each_landmark_and_a_way_past_the_top_bar', async () => {
  const person = await visit(world);
  const page = await person.go('landmarks');
  const count = (selector) => page.locator(selector).count();
  for (const landmark of ['header.topbar', 'main', 'aside', 'h1']) assert.equal(await count(landmark), 1, landmark);
  await page.waitForSelector('[data-testid=welcome]');
  await page.focus('[data-testid=space]');
  await page.keyboard.press('Shift+Tab');
  assert.equal(await page.evaluate(() => document.activeElement.className), 'skip-link');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'canvas');
  await person.context.close();
});

test('a_dialog_keeps_the_focus_and_gives_it_back_and_focus_is_seen', async () => {
  const person = await visit(world);
  const page = await person.go('focus');
  await untilSaved(page);
  await page.focus('[data-testid=space]');
  await page.keyboard.press('Enter');
  await page.waitForSelector('[data-testid=spaces-dialog]');
  for (let step = 0; step < 12; step++) {
    await page.keyboard.press('Tab');
    const where = await page.evaluate(() => document.activeElement.closest('dialog, body').tagName);
    // From the last the focus goes through the browser's own bar, which a page without a window has as its body.
    assert.ok(where === 'DIALOG' || (await page.evaluate(() => document.activeElement === document.body)), where);
  }
  await page.focus('[data-testid=new-space]');
  await page.keyboard.press('Tab');
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(outline, 'solid');
  await page.keyboard.press('Escape');
  await page.waitForSelector('[data-testid=spaces-dialog]', { state: 'detached' });
  assert.equal(await page.evaluate(() => document.activeElement.dataset.testid), 'space');
  await person.context.close();
});

test('a_dialog_closes_only_by_a_press_beside_it_and_whatever_closes_it_gives_the_focus_back', async () => {
  const person = await visit(world);
  const page = await person.go('beside');
  await untilSaved(page);
  const dialog = page.locator('[data-testid=spaces-dialog]');
  const field = page.locator('[data-testid=new-space]');
  await page.click('[data-testid=space]');
  await field.fill('half a name');
  const { x, y, width, height } = await field.boundingBox();
  await page.mouse.move(x + width / 2, y + height / 2);
  await page.mouse.down();
  await page.mouse.move(20, 400, { steps: 4 });
  await page.mouse.up();
  assert.equal(await field.inputValue(), 'half a name', 'text was marked as far as beside it');
  await page.mouse.click(20, 400);
  await dialog.waitFor({ state: 'detached' });
  assert.equal(await focused(page), 'space');
  await page.click('[data-testid=space]');
  await dialog.getByLabel('Close', { exact: true }).click();
  await dialog.waitFor({ state: 'detached' });
  assert.equal(await focused(page), 'space');
  await person.context.close();
});

test('a_notice_is_told_and_within_reach_while_a_dialog_is_open', async () => {
  const person = await visit(world);
  const page = await person.go('told-in-a-dialog', { server: world.guarded });
  await page.click('[data-testid=remedy]');
  const notice = page.locator('[data-testid=notice]');
  const told = notice.filter({ hasText: 'no link with a token' });
  const isInDialog = () => notice.evaluate((one) => one.getAttribute('role') === 'status' && !!one.closest('dialog'));
  const tell = async () => {
    await page.fill('[data-testid=use-link]', 'what is this');
    await page.keyboard.press('Enter');
    await told.waitFor();
  };
  await tell();
  assert.equal(await isInDialog(), true);
  await notice.getByLabel('Dismiss').click();
  await told.waitFor({ state: 'detached' });
  await tell();
  await page.keyboard.press('Escape');
  await page.waitForSelector('dialog', { state: 'detached' });
  await told.waitFor();
  assert.equal(await isInDialog(), false);
  await person.context.close();
});

test('what_goes_away_gives_the_focus_to_what_it_came_from_or_to_what_is_next', async () => {
  const { person, page } = await openCards('given-back', COLUMN);
  await page.focus('.react-flow');
  await page.keyboard.press('Tab');
  await untilFocused(page, 'One');
  const whileOpen = async (key, testId, close) => {
    await page.keyboard.press(key);
    await page.waitForSelector(`[data-testid=${testId}]`);
    await close();
    await page.waitForSelector(`[data-testid=${testId}]`, { state: 'detached' });
    await untilFocused(page, 'One');
  };
  await whileOpen('Shift+F10', 'menu', () => page.keyboard.press('Escape'));
  await whileOpen('t', 'legend', () => page.locator('[data-testid=legend]').getByLabel('Close').click());
  await whileOpen('Control+f', 'search', async () => {
    await page.keyboard.type('nowhere');
    await page.keyboard.press('Escape');
  });
  await page.keyboard.press('Control+f');
  await untilFocused(page, 'search-field');
  await page.focus('.react-flow');
  await page.keyboard.press('Control+f');
  await untilFocused(page, 'search-field');
  await page.keyboard.press('Escape');

  await card(page, 'One').click({ position: { x: 12, y: 8 } });
  await page.keyboard.press('Delete');
  await untilFocused(page, 'Two');
  await page.keyboard.press('Tab');
  await untilFocused(page, 'Three');
  await page.click('[data-testid=delete-selection]');
  await untilFocused(page, 'Two');
  await page.keyboard.press('Control+a');
  await page.keyboard.press('Delete');
  await untilFocused(page, 'rf__wrapper');
  await person.context.close();
});

test('the_name_of_a_type_that_is_refused_stays_in_its_field', async () => {
  const { person, page } = await openCards('naming', { One: [0, 0] });
  await page.locator('.tools [data-testid=connection-type]').selectOption('new');
  const field = page.locator('[data-testid=type-name]');
  await field.fill('x'.repeat(4_001));
  await page.keyboard.press('Enter');
  await page.locator('[data-testid=notice] .notice').waitFor();
  assert.equal((await field.inputValue()).length, 4_001);
  await field.fill('causes');
  await page.keyboard.press('Enter');
  await field.waitFor({ state: 'detached' });
  await untilFocused(page, 'rf__wrapper');
  assert.equal(await page.evaluate(() => window.driftline.tables.connection_type.query()[0].name), 'causes');
  await person.context.close();
});

test('single_keys_are_the_canvases_where_it_has_the_focus_and_it_has_it_at_first', async () => {
  const person = await visit(world);
  const page = await person.go('single-keys');
  await page.waitForSelector('[data-testid=welcome]');
  const cards = () => page.evaluate(() => window.driftline.tables.card.size);
  assert.equal(await focused(page), 'rf__wrapper');
  await page.keyboard.press('n');
  await page.keyboard.type('Made by a key');
  await page.keyboard.press('Escape');
  await untilFocused(page, 'Made by a key');
  assert.equal(await cards(), 1);
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('n');
  await page.keyboard.press('b');
  assert.equal(await cards(), 1);
  assert.equal(await page.locator('[data-testid=draft]').count(), 0);
  await page.keyboard.press('Escape');
  assert.equal(await focused(page), 'rf__wrapper');

  // What is composed has its own Escape, and a dialog all of its keys.
  await page.keyboard.press('Control+a');
  await page.evaluate(() => {
    const event = { key: 'Escape', isComposing: true, bubbles: true, cancelable: true };
    document.activeElement.dispatchEvent(new KeyboardEvent('keydown', event));
  });
  assert.deepEqual(await selected(page), ['Made by a key']);
  await page.click('[data-testid=space]');
  await page.waitForSelector('[data-testid=spaces-dialog]');
  await page.locator('[data-testid=spaces-dialog]').getByLabel('Close', { exact: true }).focus();
  await page.keyboard.press('Control+z');
  assert.equal(await cards(), 1);
  await person.context.close();
});

test('items_are_selected_one_after_the_other_by_keys', async () => {
  const { person, page } = await openCards('one-by-one', COLUMN);
  await page.focus('.react-flow');
  const press = async (key, focus, ...selection) => {
    await page.keyboard.press(key);
    await untilFocused(page, focus);
    await page.waitForFunction(
      (count) => document.querySelectorAll('.card.is-selected').length === count,
      selection.length,
    );
    assert.deepEqual(await selected(page), selection.sort(), key);
  };
  await press('Tab', 'One', 'One');
  await press('Control+ArrowDown', 'Two', 'One');
  await press('Control+Space', 'Two', 'One', 'Two');
  await press('Tab', 'Three', 'One', 'Two');
  await press('Shift+Space', 'Three', 'One', 'Two', 'Three');
  await press('Control+ArrowUp', 'Two', 'One', 'Two', 'Three');
  await press('Shift+Space', 'Two', 'One', 'Three');
  await press('Escape', 'Two');
  await press('Tab', 'Three', 'Three');
  await person.context.close();
});

test('items_are_selected_one_after_the_other_by_a_finger_that_stays', async () => {
  const { person, page } = await openCards('by-finger', { One: [0, 0], Two: [0, 160] }, { size: 'phone' });
  await card(page, 'One').tap({ position: { x: 12, y: 8 } });
  await page.waitForSelector('.card.is-selected');
  const session = await person.context.newCDPSession(page);
  const { x, y } = await card(page, 'Two').boundingBox();
  const stay = async () => {
    const touchPoints = [{ x: x + 20, y: y + 10, id: 0 }];
    await session.send('Input.dispatchTouchEvent', { type: 'touchStart', touchPoints });
    await page.waitForSelector('[data-testid=menu]');
    await session.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] });
    return page.locator('[data-testid=menu-join]');
  };
  const add = await stay();
  assert.match(await add.innerText(), /^Add to the selection/);
  await add.tap();
  assert.deepEqual(await selected(page), ['One', 'Two']);
  const takeOut = await stay();
  assert.match(await takeOut.innerText(), /^Take out of the selection/);
  await takeOut.tap();
  assert.deepEqual(await selected(page), ['One']);
  await person.context.close();
});

test('f6_goes_through_the_parts_of_the_page', async () => {
  const { person, page } = await openCards('parts', { One: [0, 0] });
  await page.focus('.react-flow');
  await page.keyboard.press('Tab');
  await untilFocused(page, 'One');
  const part = () =>
    page.evaluate(() => {
      const parts = ['topbar', 'tools', 'inspector', 'view-bar', 'panel', 'react-flow'];
      return parts.find((name) => document.activeElement.closest(`.${name}`));
    });
  const seen = [];
  for (let step = 0; step < 6; step++) {
    await page.keyboard.press('F6');
    seen.push(await part());
  }
  assert.deepEqual(seen, ['view-bar', 'panel', 'topbar', 'tools', 'inspector', 'react-flow']);
  assert.equal(await focused(page), 'One', 'back where it was on the canvas');
  await page.keyboard.press('Shift+F6');
  assert.equal(await part(), 'inspector');
  await person.context.close();
});

test('those_who_hear_the_page_hear_tasks_texts_and_colours', async () => {
  const tasks = '- [ ] milk\n- [x] **rye** bread\n  - [ ] with seeds';
  const { person, page } = await openCards('names', { [tasks]: [0, 0], One: [300, 0] });
  const names = await page.$$eval('.card input', (all) => all.map((one) => one.getAttribute('aria-label')));
  assert.deepEqual(names, ['milk', 'rye bread', 'with seeds']);
  const texts = await page.$$eval('.react-flow__node', (all) => all.map((one) => one.getAttribute('aria-description')));
  assert.deepEqual(texts.sort(), [tasks, null].sort());
  await card(page, 'One').click({ position: { x: 12, y: 8 } });
  const pressed = () =>
    page.$$eval('.inspector .swatch[aria-pressed=true]', (all) => all.map((one) => one.getAttribute('aria-label')));
  assert.deepEqual(await pressed(), ['No colour']);
  await page.click('[data-testid=inspector] [data-testid=color-1]');
  assert.deepEqual(await pressed(), ['Red']);
  await page.keyboard.press('Control+a');
  assert.deepEqual(await pressed(), []);
  await person.context.close();
});

test('those_who_hear_the_page_are_told_how_it_stands', async () => {
  const person = await visit(world);
  const page = await person.go('heard');
  const region = page.locator('[data-testid=status-region]');
  await region.filter({ hasText: 'All changes saved' }).waitFor({ state: 'attached' });
  assert.equal(await region.getAttribute('role'), 'status');
  await person.context.setOffline(true);
  await region.filter({ hasText: 'There is no way to the server' }).waitFor({ state: 'attached' });
  await person.context.close();
});

test('a_person_chooses_light_or_dark_and_the_device_keeps_it', async () => {
  const person = await visit(world, { theme: 'light' });
  const page = await person.go('theme');
  const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  assert.equal(await ground(), 'rgb(245, 246, 249)');
  await page.click('[data-testid=menu-button]');
  await page.check('[data-testid=theme-dark]', { force: true });
  assert.equal(await ground(), 'rgb(18, 21, 28)');
  await page.reload();
  assert.equal(await ground(), 'rgb(18, 21, 28)', 'before anything else has run');
  await page.click('[data-testid=menu-button]');
  await page.check('[data-testid=theme-system]', { force: true });
  assert.equal(await ground(), 'rgb(245, 246, 249)');
  await person.context.close();
});

test('who_wants_less_movement_sees_none', async () => {
  const person = await visit(world);
  const page = await person.go('still');
  await page.click('[data-testid=panel-toggle]');
  const moving = await page.evaluate(
    () => document.getAnimations().filter((one) => one.playState === 'running').length,
  );
  assert.equal(moving, 0);
  await choose(page, 'people');
  const style = await page.evaluate(() => getComputedStyle(document.querySelector('.track')).transitionDuration);
  assert.equal(style, '0s');
  await person.context.close();
});
