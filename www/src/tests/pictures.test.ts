import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describedIn, withoutPicture } from '../images/described.js';
import { Pictures } from '../images/pictures.js';
import { pictureIn } from '../images/reading.js';

const HASH = 'ab'.repeat(32);
const DESCRIBED = { hash: HASH, bytes: 10, type: 'image/png', width: 3, height: 2 };

/** Loads as it is told to, and counts how often it was asked. */
function makeLoader() {
  const asked: string[] = [];
  const answers: (string | { code: string })[] = [];
  const load = async (hash: string) => {
    asked.push(hash);
    const answer = answers.shift() ?? { code: 'unreachable' };
    if (typeof answer === 'string') return answer;
    throw answer;
  };
  return { asked, answers, load };
}

const heard = (pictures: Pictures, hash: string) => {
  let stop = () => {};
  const once = new Promise<void>((done) => {
    stop = pictures.subscribe(hash, done);
  });
  return { once, stop };
};

test('v8_what_a_card_says_of_its_picture_is_believed_only_if_it_makes_sense', () => {
  assert.deepEqual(describedIn({ image: { ...DESCRIBED, more: 1 }, other: 2 }), DESCRIBED);
  for (const wrong of [
    { hash: '../x' },
    { hash: HASH.toUpperCase() },
    { width: 0 },
    { height: '2' },
    { bytes: -1 },
    { type: 7 },
  ]) {
    assert.equal(describedIn({ image: { ...DESCRIBED, ...wrong } }), undefined, JSON.stringify(wrong));
  }
  for (const extra of [undefined, null, 7, 'image', [], { image: true }]) assert.equal(describedIn(extra), undefined);
});

test('v8_what_else_a_card_says_stays_when_its_picture_goes', () => {
  assert.deepEqual(withoutPicture({ image: DESCRIBED, shape: 'pill' }), { shape: 'pill' });
  assert.deepEqual([withoutPicture({ image: DESCRIBED }), withoutPicture(null)], [null, null]);
});

test('v8_a_picture_is_loaded_once_for_all_who_show_it', async () => {
  const { asked, answers, load } = makeLoader();
  const pictures = new Pictures(load, () => {});
  answers.push('blob:1');
  const first = heard(pictures, HASH);
  const second = heard(pictures, HASH);
  assert.equal(pictures.read(HASH), undefined);
  await Promise.all([first.once, second.once]);
  assert.deepEqual(pictures.read(HASH), { url: 'blob:1' });
  pictures.again();
  assert.deepEqual(asked, [HASH]);
});

test('v8_a_picture_that_failed_is_asked_for_again_while_somebody_looks', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const { asked, answers, load } = makeLoader();
  const pictures = new Pictures(load, () => {});
  const first = heard(pictures, HASH);
  await first.once;
  assert.deepEqual(pictures.read(HASH), { code: 'unreachable' });
  first.stop();
  context.mock.timers.tick(10_000);
  assert.equal(asked.length, 1, 'nobody looks');
  const second = heard(pictures, HASH);
  await second.once;
  assert.equal(asked.length, 2);
  answers.push('blob:2');
  const third = heard(pictures, HASH);
  await third.once;
  assert.deepEqual(pictures.read(HASH), { url: 'blob:2' });
  context.mock.timers.tick(10_000);
  assert.equal(asked.length, 3, 'it is here');
});

test('v8_an_address_holds_a_picture_or_nothing', async () => {
  const blob = pictureIn('data:image/PNG;base64,AQID');
  assert.deepEqual([blob?.type, [...new Uint8Array((await blob?.arrayBuffer()) ?? [])]], ['image/png', [1, 2, 3]]);
  for (const other of ['https://example.org/a.png', 'data:text/html;base64,AQID', 'data:image/png;base64,%%', '']) {
    assert.equal(pictureIn(other), undefined, other);
  }
  const large = `data:image/png;base64,${'A'.repeat(44_000_000)}`;
  assert.throws(() => pictureIn(large), { code: 'blob_too_large' });
});

test('v8_of_the_pictures_that_nobody_looks_at_only_the_last_are_held', async () => {
  const gone: string[] = [];
  const pictures = new Pictures(
    async (hash) => `blob:${hash}`,
    (hash) => gone.push(hash),
  );
  const looker = heard(pictures, 'looked at');
  await looker.once;
  for (let n = 0; n < 60; n += 1) {
    const { once, stop } = heard(pictures, `${n}`);
    await once;
    stop();
  }
  assert.deepEqual(gone, ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
  assert.equal(pictures.read('9'), undefined);
  assert.deepEqual([pictures.read('10'), pictures.read('looked at')], [{ url: 'blob:10' }, { url: 'blob:looked at' }]);
  const again = heard(pictures, '9');
  await again.once;
  assert.deepEqual(pictures.read('9'), { url: 'blob:9' });
});
