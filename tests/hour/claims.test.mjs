// Each sentence that the inspector can say, held against what is so: once where it is true, and once for each way in which it is not.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeSentence, OF_ENTRIES, OF_STATUS, rawIn } from './claims.mjs';
import { Truth } from './truth.mjs';

const KEPT = ' What is made is kept on this device.';
const NETWORK = 'Waits for the network since 12:00:01. ';
const SERVER = 'Waits for the server since 12:00:01. ';
const NO_ANSWER = 'A request has been out for 5 s or more, or was cut off, and no answer has come.';
const BROKE_OFF = 'The request broke off on its way.';
const GAVE_UP = 'The server gave up waiting for the request to arrive.';
const OTHER_TAB = 'The tab that sends for this one says that it is offline.';
const SILENT =
  'The tab that sends for this one has not answered for some seconds: this one takes over if it stays silent.';
const NEW_TURN = 'Another tab or a later turn has begun to send: this one takes a new turn.';
const AGAIN = ' It is tried again in 12 s at the earliest.';

const entry = (state, more = {}) => ({ key: 'c:1', state, waits_on: [], ...more });
const parent = (state) => ({ ...entry(state), key: 'c:2' });
const problem = { code: 'missing_parent', detail: 'the card that this refers to was deleted' };
const saving = { state: 'saving', sender: true, rev: 3 };
const follower = { ...saving, sender: false };
const on = (status, ...outbox) => ({ status, entry: outbox[0], outbox });

/**
 * By claim: what it says, a truth that it needs (none: nothing but the device can contradict it), a device that fits, and devices that do not.
 */
const STATUS = {
  'told offline': [`The browser says that there is no network.${KEPT}`, 'told', on(saving)],
  'switched off': [`The app has switched sending off.${KEPT}`, 'switched', on(saving)],
  'the other tab is offline': [`${OTHER_TAB}${KEPT}`, 'tabs,cut', on(follower), on(saving)],
  'not reachable': [`The server cannot be reached.${KEPT}`, 'down', on(saving), on(follower)],
  'no answer': [NO_ANSWER, 'stalled', on(saving)],
  'the other tab is silent': [SILENT, 'tabs', on(follower), on(saving)],
  'on its way': ['On its way to disk and server.', '', on(saving), on({ ...saving, state: 'not_saving' })],
  'all there': ['Everything is on the server.', '', on(saving), on(saving, entry('queued'))],
  opening: ['The space is being opened.', 'opening', on(saving)],
  'another turn': [NEW_TURN, 'tabs', on(saving)],
  'broke off': [BROKE_OFF, 'bad', on(saving)],
  'gave up waiting': [GAVE_UP, 'bad', on(saving)],
  'held back': [
    'What is held back waits for a decision; everything else is on the server.',
    '',
    on(saving, entry('parked')),
    on(saving),
    on(saving, entry('parked'), parent('queued')),
  ],
  'waiting for rows': [
    'All that is left waits for rows that nobody has made, or for a transaction that is held back.',
    '',
    on(saving, entry('waiting')),
    on(saving),
    on(saving, entry('waiting'), parent('queued')),
  ],
};

const queued = on(saving, entry('queued'));
const ofAnother = on(follower, entry('queued'));
const ENTRIES = {
  'told offline': [`${NETWORK}The browser says that there is no network.`, 'told', queued],
  'switched off': [`${NETWORK}The app has switched sending off.`, 'switched', queued],
  'the other tab is offline': [`${NETWORK}${OTHER_TAB}`, 'tabs,cut', ofAnother, queued],
  'not reachable': [`${NETWORK}The server cannot be reached.${AGAIN}`, 'cut', queued, ofAnother],
  'no answer': [`${SERVER}${NO_ANSWER} Another tab sends for this one.`, 'stalled', ofAnother],
  'the other tab is silent': [`Waits for another tab since 12:00:01. ${SILENT}`, 'tabs', ofAnother, queued],
  'another turn': [`${SERVER}${NEW_TURN}${AGAIN}`, 'opening', queued],
  'broke off': [`${SERVER}${BROKE_OFF}${AGAIN}`, 'bad', queued],
  'gave up waiting': [`${SERVER}${GAVE_UP}${AGAIN}`, 'bad', queued],
  'the disk': ['Waits for this device’s disk: it is being written.', '', on(saving, entry('saving')), queued],
  sent: ['Sent 1.2 s ago; the server has not answered yet.', '', on(saving, entry('in_flight')), queued],
  'sent by another tab': [
    'Another tab has sent it, and waits for the server’s answer.',
    'tabs',
    on(follower, entry('in_flight')),
    ofAnother,
    on(saving, entry('in_flight')),
  ],
  'sent by a silent tab': [`Another tab has sent it. ${SILENT}`, 'tabs', on(follower, entry('in_flight')), ofAnother],
  'another tab sends': ['Waits for another tab, which sends for this one.', 'tabs', ofAnother, queued],
  taken: [
    'Taken by the server. It leaves the outbox once this device holds the revision that it made.',
    '',
    on(saving, entry('applied')),
    queued,
  ],
  'its turn': [
    'Waits for its turn behind the push in flight: one goes at a time.',
    '',
    on(saving, entry('queued'), parent('in_flight')),
    queued,
    on(follower, entry('queued'), parent('in_flight')),
  ],
  'the next request': [
    'Nothing known here holds it: it goes with one of the next requests.',
    '',
    queued,
    ofAnother,
    on(saving, entry('queued'), parent('in_flight')),
  ],
  'the first load': [
    'Waits for the first load: nothing is sent before this device knows what the space holds.',
    '',
    on({ ...saving, rev: 0 }, entry('queued')),
    queued,
  ],
  'its parent': [
    'Waits for № 2, create card, which is held back (missing_parent).',
    '',
    on(saving, entry('waiting', { waits_on: ['c:2'] }), parent('parked')),
    on(saving, entry('waiting', { waits_on: ['c:3'] }), parent('parked')),
    on(saving, entry('waiting', { waits_on: ['c:2'] })),
    on(saving, entry('queued', { waits_on: ['c:2'] }), parent('parked')),
  ],
  'a row': [
    'Waits for the row card …0a1b2c, made by nobody known here.',
    '',
    on(saving, entry('waiting', { waits_on: ['card 0199-0a1b2c'] })),
    on(saving, entry('waiting')),
    queued,
  ],
  'held with another': [
    'Waits for a transaction that is held back, and with which it must go.',
    '',
    on(saving, entry('waiting'), parent('parked')),
    on(saving, entry('waiting')),
    on(saving, entry('waiting', { waits_on: ['c:2'] }), parent('parked')),
  ],
  'held back': [
    `Held back until somebody decides: ${problem.detail}. 2 more wait for it.`,
    '',
    on(saving, entry('parked', { problem })),
    on(saving, entry('parked', { problem: { code: 'other', detail: 'something else' } })),
    on(saving, entry('waiting', { problem })),
  ],
};

/** A truth in which these are so from the beginning, and a clock for it. */
function truthOf(...what) {
  const clock = { ms: 100_000 };
  const truth = new Truth(() => clock.ms);
  for (const one of what.filter(Boolean)) truth.begin(one);
  return { truth, clock };
}

for (const [what, claims, cases] of [
  ['status', OF_STATUS, STATUS],
  ['transaction', OF_ENTRIES, ENTRIES],
])
  test(`p3_each_sentence_about_a_${what}_can_be_contradicted`, () => {
    assert.deepEqual(Object.keys(cases).sort(), claims.map(({ name }) => name).sort(), 'all of them are tried');
    for (const [name, [sentence, needs, fits, ...misfits]] of Object.entries(cases)) {
      const so = needs.split(',').filter(Boolean);
      assert.ok(so.length + misfits.length > 0, `nothing contradicts “${sentence}”`);
      const judge = (here, ...what) => {
        const { truth, clock } = truthOf(...what);
        return judgeSentence(sentence, claims, { truth, at: clock.ms, here });
      };
      assert.deepEqual(judge(fits, ...so), { name });
      for (const left of so) {
        const others = so.filter((one) => one !== left);
        assert.match(judge(fits, ...others).wrong ?? '', /^none of this is so/, `${name} without ${left}`);
      }
      for (const here of misfits) assert.ok(judge(here, ...so).misfit, `${name} on ${JSON.stringify(here)}`);
    }
  });

test('p3_a_sentence_that_is_missing_unknown_or_not_so_is_found', () => {
  const { truth, clock } = truthOf();
  const judge = (sentence, isStuck) =>
    judgeSentence(sentence, OF_ENTRIES, { truth, at: clock.ms, isStuck, here: queued }).wrong;
  const told = `${NETWORK}The browser says that there is no network.`;
  const idle = 'Nothing known here holds it: it goes with one of the next requests.';

  assert.equal(judge(''), 'there is no sentence');
  assert.equal(judge('Waits for the network. no_answer'), 'nobody knows this sentence');
  assert.equal(judge(told), 'none of this is so: told');
  truth.begin('told');
  assert.equal(judge(told), undefined);
  assert.equal(judge(idle, true), undefined, 'a device needs a moment to notice');
  clock.ms += 10_000;
  assert.equal(judge(idle, false), undefined, 'what has just been made is on its way to disk at least');
  assert.equal(judge(idle, true), 'and yet this has lasted: told');
  truth.end('told');
  clock.ms += 2_000;
  assert.equal(judge(told), undefined, 'it is drawn a moment later');
  clock.ms += 2_000;
  assert.equal(judge(told), 'none of this is so: told');
  assert.equal(
    judgeSentence('Offline. undefined', OF_STATUS, { truth, at: clock.ms }).wrong,
    'nobody knows this sentence',
  );
});

test('p3_a_sentence_is_held_against_what_was_so_when_it_was_read', () => {
  const { truth, clock } = truthOf('told');
  const read = clock.ms;
  const judge = (at) =>
    judgeSentence(`${NETWORK}The browser says that there is no network.`, OF_ENTRIES, { truth, at, here: queued })
      .wrong;
  truth.end('told');
  clock.ms += 60_000;
  assert.equal(judge(read), undefined);
  assert.equal(judge(read - 1), 'none of this is so: told', 'before it began');
  assert.equal(judge(clock.ms), 'none of this is so: told');
});

test('p3_nothing_is_on_its_way_from_a_device_that_sends_nothing', () => {
  const here = on(saving, entry('in_flight'));
  const judge = (ms, ...what) => {
    const { truth, clock } = truthOf(...what);
    clock.ms += ms;
    return judgeSentence('Sent 1.2 s ago; the server has not answered yet.', OF_ENTRIES, { truth, at: clock.ms, here });
  };
  assert.equal(judge(1_000, 'told').wrong, undefined);
  assert.equal(judge(4_000, 'told').wrong, 'and yet nothing is sent: told');
  assert.equal(judge(4_000, 'switched').wrong, 'and yet nothing is sent: switched');
  assert.equal(judge(4_000, 'switched', 'tabs').wrong, 'and yet nothing is sent: switched', 'nor from another tab');
  const old = { truth: truthOf().truth, at: 100_000, here };
  assert.ok(judgeSentence('Sent 45 s ago; the server has not answered yet.', OF_ENTRIES, old).misfit);
});

test('what is not for people is found on a screen', () => {
  assert.equal(rawIn('All changes saved\nam 5 Error'), undefined);
  const raws = ['x: undefined', 'NaN %', '[object Object]', 'TypeError: a', '\n  at f (main.js:1:22)', 'storage_full'];
  for (const raw of raws) assert.notEqual(rawIn(raw), undefined, raw);
});
