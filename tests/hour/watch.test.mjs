// What watches the hour, watched: pages that say what is not so, that cannot be read, or that are killed meanwhile.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Truth } from './truth.mjs';
import { Watch } from './watch.mjs';

const AT = 100_000;
const saving = { state: 'saving', sender: true, rev: 3, queued: 1, in_flight: 0, parked: 0 };
const entry = { key: 'c:1', state: 'queued', waits_on: [] };
const glance = (sentence, more = {}) => ({
  at: AT,
  status: saving,
  outbox: [entry],
  header: 'On its way to disk and server.',
  entry,
  sentence,
  ...more,
});
const page = (sentence, more) => ({ glances: [glance(sentence, more)], missing: [], text: '' });

/** Lets a watch look at a tab once for each of these: what is read there, or the error. Returns it. */
async function watch(looks, { now = AT, truth = new Truth(() => now), meanwhile = () => {} } = {}) {
  const watch = new Watch();
  const person = { name: 'ann', lives: 0, tabs: [], truth };
  const left = [...looks];
  const tab = {
    evaluate: async () => {
      const seen = left.shift();
      meanwhile(person);
      if (seen instanceof Error) throw seen;
      return seen;
    },
  };
  person.tabs.push(tab);
  for (const _ of looks) await watch.look(person, tab);
  return watch;
}

const IDLE = 'Nothing known here holds it: it goes with one of the next requests.';
const offline = (at) =>
  `Waits for the network. The server cannot be reached. It is tried again in ${at} s at the earliest.`;

test('what is so is counted, and nothing is wrong with it', async () => {
  const { wrong, table, samples, momentary, swallowed } = await watch([page(IDLE), page(IDLE)]);
  assert.deepEqual([wrong, momentary.rows, swallowed.rows, samples], [[], [], [], 2]);
  assert.deepEqual(table.rows, [
    ['waits: the next request', 2],
    ['status: on its way', 2],
  ]);
});

test('p3_what_is_not_so_is_found_at_first_sight_and_told_once_whatever_its_numbers', async () => {
  for (const looks of [[page(offline(9))], [page(offline(9)), page(offline(8))]]) {
    const { wrong } = await watch(looks);
    assert.equal(wrong.length, 1);
    assert.match(wrong[0], /^ann, tab 1 of 1, which sends: waits: .* none of this is so: cut, down/);
  }
});

test('p3_a_sentence_is_judged_by_the_time_when_it_was_read', async () => {
  const clock = { ms: AT };
  const truth = new Truth(() => clock.ms);
  truth.begin('told');
  const told = page('Waits for the network. The browser says that there is no network.');
  const over = () => {
    clock.ms = AT + 60_000;
    truth.end('told');
    clock.ms += 60_000;
  };
  assert.deepEqual((await watch([told], { truth, meanwhile: over })).wrong, []);
  const late = page(told.glances[0].sentence, { at: clock.ms });
  assert.equal((await watch([late], { truth })).wrong.length, 1);
});

test('p3_what_the_device_contradicts_is_counted_once_and_wrong_when_it_is_still_so_in_other_words', async () => {
  const sent = (age) => page(`Sent ${age} ms ago; the server has not answered yet.`);
  const once = await watch([sent(1), page(IDLE)]);
  assert.deepEqual([once.wrong, once.momentary.rows], [[], [['waits: sent', 1]]]);
  const twice = await watch([sent(1), sent(900)]);
  assert.equal(twice.wrong.length, 1);
  assert.match(twice.wrong[0], /“Sent 900 ms ago.*”: the device itself shows otherwise: .*"c:1 queued"/);
});

test('p3_what_the_head_says_may_be_late_while_the_device_goes_on_and_not_once_it_stands_still', async () => {
  const late = (rev) => page(IDLE, { header: 'Everything is on the server.', status: { ...saving, rev } });
  const goesOn = await watch([late(3), late(4), page(IDLE)]);
  assert.deepEqual([goesOn.wrong, goesOn.momentary.rows], [[], [['status: all there', 2]]]);
  const stands = await watch([late(3), late(3)]);
  assert.match(stands.wrong[0], /status: “Everything is on the server.”: the device itself shows otherwise/);
});

test('p3_what_waits_and_has_no_sentence_is_not_drawn_or_never_reaches_the_disk_is_found', async () => {
  assert.match((await watch([page('')])).wrong[0], /there is no sentence/);
  assert.deepEqual((await watch([{ ...page(IDLE), missing: ['c:1'] }])).wrong, ['ann: c:1 waits, and is not drawn']);
  const disk = (at) =>
    page('Waits for this device’s disk: it is being written.', { at, entry: { ...entry, state: 'saving' } });
  assert.deepEqual((await watch([disk(AT), disk(AT + 9_000)])).wrong, []);
  assert.match((await watch([disk(AT), disk(AT + 9_001)])).wrong[0], /c:1 is not on disk yet$/);
});

test('what stands on the screen and is not for people is found', async () => {
  assert.match((await watch([{ ...page(IDLE), text: 'x: undefined' }])).wrong[0], /on the screen stands “undefined”/);
});

test('an error while a tab is killed is counted and shown, and any other that goes on is wrong', async () => {
  const crashed = new Error('page.evaluate: Target crashed\n  at somewhere');
  const kill = (person) => {
    person.lives += 1;
  };
  const killed = await watch(Array(9).fill(crashed), { meanwhile: kill });
  assert.deepEqual([killed.wrong, killed.swallowed.lines], [[], ['      9  page.evaluate: Target crashed']]);

  const few = await watch([...Array(4).fill(crashed), page(IDLE), ...Array(4).fill(crashed)]);
  assert.deepEqual([few.wrong, few.swallowed.rows], [[], [['page.evaluate: Target crashed', 8]]]);

  const hidden = await watch(Array(5).fill({ why: 'the page shows no inspector' }));
  assert.deepEqual(hidden.wrong, ['ann: the inspector could not be read 5 times: the page shows no inspector']);
  assert.equal(hidden.samples, 0);
});

test('what was read of a tab that is gone by then says nothing, and is counted', async () => {
  const close = (person) => person.tabs.splice(0);
  const { wrong, swallowed } = await watch([page('')], { meanwhile: close });
  assert.deepEqual([wrong, swallowed.rows], [[], [['killed, or closed, as it was read', 1]]]);
});
