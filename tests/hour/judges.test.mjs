// What judges the hour, judged itself: each planted fault has to be found.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeSentence, OF_ENTRIES, OF_STATUS, rawIn } from './claims.mjs';
import { Ledger } from './ledger.mjs';
import { planHour } from './script.mjs';
import { Truth } from './truth.mjs';

const TEXT = { table: 'card', text: 'amber 1', votes: 2 };

/** Two cards with two votes for the first, and a connection between them; a minute passes between any two actions. */
function makeLedger() {
  const clock = { ms: 0 };
  const ledger = new Ledger(() => clock.ms);
  const seen = (who, ...changes) => {
    clock.ms += 60_000;
    ledger.seen(who, changes);
  };
  seen('ann', { op: 'create', table: 'card', id: 'a', name: 'amber 1', set: { text: 'amber' } });
  seen('ben', { op: 'create', table: 'card', id: 'b', name: 'birch 2', set: { text: 'birch 2' } });
  seen('ben', { op: 'create', table: 'connection', id: 'c', ends: ['a', 'b'], set: { connection_type: null } });
  seen('ann', { op: 'set', id: 'a', set: { text: 'amber 1' } });
  for (const who of ['ann', 'ben']) seen(who, { op: 'vote', id: 'a' });
  const rows = new Map([
    ['a', TEXT],
    ['b', { table: 'card', text: 'birch 2', votes: 0 }],
    ['c', { table: 'connection', connection_type: null }],
  ]);
  return { ledger, seen, rows, clock };
}

test('the ledger finds nothing in rows that are as they were seen', () => {
  const { ledger, rows } = makeLedger();
  assert.deepEqual(ledger.judge(rows), []);
});

test('the ledger finds what is lost, doubled, made by nobody, older than it was seen, or back again', () => {
  const wrongs = [
    [/^lost: card “birch 2”/, ({ rows }) => rows.delete('b')],
    [/^made by nobody, or twice: card d/, ({ rows }) => rows.set('d', TEXT)],
    [/text is "amber", and should be "amber 1"/, ({ rows }) => rows.set('a', { ...TEXT, text: 'amber' })],
    [/it has 1 votes, and 2 were given/, ({ rows }) => rows.set('a', { ...TEXT, votes: 1 })],
    [/it has 3 votes, and 2 were given/, ({ rows }) => rows.set('a', { ...TEXT, votes: 3 })],
    [/^back again: card “birch 2”/, ({ seen }) => seen('ann', { op: 'delete', id: 'b' })],
    [/^lost: connection/, ({ rows }) => rows.delete('c')],
  ];
  for (const [pattern, plant] of wrongs) {
    const made = makeLedger();
    plant(made);
    assert.match(made.ledger.judge(made.rows)[0] ?? 'nothing', pattern);
  }
});

test('a connection goes with the card that it hangs on, and what was cut short may be there or not', () => {
  const { ledger, seen, rows } = makeLedger();
  seen('ann', { op: 'delete', id: 'b' });
  rows.delete('b');
  assert.match(ledger.judge(rows)[0], /^back again: connection/);
  rows.delete('c');
  assert.deepEqual(ledger.judge(rows), []);

  ledger.unsure('ben', { touched: ['a'], strays: [{ table: 'card', isIt: ({ text }) => 'cedar 3'.startsWith(text) }] });
  assert.deepEqual(ledger.judge(rows), []);
  rows.set('a', { ...TEXT, votes: 3 }).set('d', { table: 'card', text: 'ced' });
  assert.deepEqual(ledger.judge(rows), []);
  rows.set('e', { table: 'card', text: 'cedar' });
  assert.match(ledger.judge(rows)[0], /^made by nobody, or twice: card e/);
});

test('of two people who change the same at about the same time either may be the last', () => {
  const { ledger, rows, clock } = makeLedger();
  clock.ms += 60_000;
  ledger.seen('ben', [{ op: 'set', id: 'a', set: { text: 'amber by ben' } }]);
  clock.ms += 1_000;
  ledger.seen('ann', [{ op: 'set', id: 'a', set: { text: 'amber by ann' } }]);
  for (const text of ['amber by ben', 'amber by ann'])
    assert.deepEqual(ledger.judge(rows.set('a', { ...TEXT, text })), []);
  assert.equal(ledger.judge(rows.set('a', TEXT)).length, 1);
});

test('p3_a_sentence_that_is_missing_unknown_or_not_so_is_found', () => {
  const clock = { ms: 0 };
  const truth = new Truth(() => clock.ms);
  const judge = (sentence, isStuck) => judgeSentence(sentence, OF_ENTRIES, truth, isStuck).wrong;
  const told = 'Waits for the network since 12:00:01. The browser says that there is no network.';
  const idle = 'Nothing known here holds it: it goes with one of the next requests.';

  assert.equal(judge(''), 'there is no sentence');
  assert.equal(judge('Waits for the network. no_answer'), 'nobody knows this sentence');
  assert.equal(judge(told), 'none of this is so: told');
  truth.begin('told');
  assert.equal(judge(told), undefined);
  assert.equal(judge(idle, true), undefined, 'a device needs a moment to notice');
  clock.ms = 10_000;
  assert.equal(judge(idle, false), undefined, 'what has just been made is on its way to disk at least');
  assert.equal(judge(idle, true), 'and yet this has lasted: told');
  truth.end('told');
  clock.ms = 12_000;
  assert.equal(judge(told), undefined, 'it is drawn a moment later');
  clock.ms = 14_000;
  assert.equal(judge(told), 'none of this is so: told');
  assert.equal(judgeSentence('Offline. undefined', OF_STATUS, truth).wrong, 'nobody knows this sentence');
});

test('what is not for people is found on a screen', () => {
  assert.equal(rawIn('All changes saved\nam 5 Error'), undefined);
  const raws = ['x: undefined', 'NaN %', '[object Object]', 'TypeError: a', '\n  at f (main.js:1:22)', 'storage_full'];
  for (const raw of raws) assert.notEqual(rawIn(raw), undefined, raw);
});

test('the same seed is the same hour, and another seed another', () => {
  const of = (seed) => JSON.stringify(planHour({ seed, rounds: 20 }));
  assert.equal(of(7), of(7));
  assert.notEqual(of(7), of(8));
});
