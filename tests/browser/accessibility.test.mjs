// axe-core over each state of the canvas app, light and dark, on a desk and on a phone: nothing that it calls serious or critical.
// And what axe does not see: sizes of what is touched, the focus, landmarks, and what is told to those who hear the page.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { choose, SIZES, STATES, startWorld, THEMES, untilSaved, visit, withState } from './screenshots.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let world;
before(async () => {
  world = await startWorld();
});
after(() => world.browser.close());

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

/** What can be pressed and is smaller than a finger, by its label; links within a text may be. */
const tooSmall = (page) =>
  page.evaluate(() => {
    const small = [];
    for (const element of document.querySelectorAll('button, select, input, [role=switch], summary')) {
      const target = element.closest('label') ?? element;
      const { width, height } = target.getBoundingClientRect();
      const isSeen = target.checkVisibility({ visibilityProperty: true }) && width > 0 && !element.closest('.canvas');
      if (isSeen && (width < 43.5 || height < 43.5)) {
        small.push(`${element.getAttribute('aria-label') ?? element.textContent} ${width}x${height}`);
      }
    }
    return small;
  });

for (const name of [
  'welcome',
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
  await page.evaluate(() => document.activeElement?.blur());
  await page.keyboard.press('Tab');
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
