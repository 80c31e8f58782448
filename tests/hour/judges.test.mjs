// What judges the hour, judged itself: each planted fault has to be found.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tempDir } from '../browser/harness.mjs';
import { checkPictures } from './checks.mjs';
import { Ledger } from './ledger.mjs';
import { planHour } from './script.mjs';

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

test('rows are told as unexplained only where no way of explaining them all is left', () => {
  const ledger = new Ledger();
  // The first may be anything: whichever row comes first, it is kept for the one that nothing else explains.
  ledger.unsure('ann', { strays: [{ table: 'card', isIt: () => true }] });
  ledger.unsure('ann', { strays: [{ table: 'card', isIt: ({ text }) => 'amber 1'.startsWith(text) }] });
  const [amber, kelp] = ['amber', 'kelp'].map((text) => [text, { table: 'card', text }]);
  assert.deepEqual(ledger.judge(new Map([amber, kelp])), []);
  assert.deepEqual(ledger.judge(new Map([kelp, amber])), []);
  assert.match(ledger.judge(new Map([amber, kelp, ['x', kelp[1]]]))[0], /^made by nobody, or twice: card x/);
  assert.match(ledger.judge(new Map([['b', { table: 'box' }]]))[0], /^made by nobody, or twice: box b/);
});

test('what was cut short is certain again once the same person has seen it there, or deleted it', () => {
  const row = { table: 'card', text: 'amber' };
  const judge = (rows, ...later) => {
    const ledger = new Ledger();
    ledger.seen('ann', [{ op: 'create', table: 'card', id: 'a', name: 'amber', set: { text: 'amber' } }]);
    ledger.unsure('ann', { touched: ['a'] });
    for (const [who, change] of later) ledger.seen(who, [{ id: 'a', ...change }]);
    return ledger.judge(new Map(rows));
  };
  const there = [['a', row]];
  assert.deepEqual([judge(there), judge([])], [[], []], 'it may be there or not');
  assert.match(judge([], ['ann', { op: 'vote' }])[0], /^lost: card/);
  assert.match(judge(there, ['ann', { op: 'delete' }])[0], /^back again: card/);
  assert.deepEqual(judge([], ['ben', { op: 'vote' }]), [], 'another device may have been behind');
});

test('of a delete and a restore that do not know of each other the one that comes last to the server has its way', () => {
  const judge = (rows, last, at) => {
    const ledger = new Ledger();
    ledger.seen('ann', [{ op: 'create', table: 'card', id: 'a', name: 'amber', set: { text: 'amber' } }], 1);
    ledger.seen(
      'ann',
      [
        { op: 'delete', id: 'a' },
        { op: 'restore', id: 'a' },
      ],
      5,
    );
    ledger.seen('ben', [{ op: 'delete', id: 'a' }], at);
    return ledger.judge(new Map(rows), new Map([['a', last]]));
  };
  const there = [['a', { table: 'card', text: 'amber' }]];
  assert.deepEqual(judge(there, { op: 'create', rev: 9 }, 8), [], 'her restore came after what he knew');
  assert.deepEqual(judge([], { op: 'delete', rev: 9 }, 8), []);
  assert.match(judge(there, { op: 'create', rev: 8 }, 8)[0], /^back again: card “amber”.*; the server last: create at/);
  assert.match(judge(there, { op: 'delete', rev: 9 }, 8)[0], /^back again/);

  const ledger = new Ledger();
  ledger.seen('ann', [{ op: 'create', table: 'card', id: 'a', name: 'amber', set: { text: 'amber' } }], 1);
  ledger.seen('ben', [{ op: 'delete', id: 'a' }], 5);
  assert.match(
    ledger.judge(new Map(there), new Map([['a', { op: 'create', rev: 9 }]]))[0],
    /^back again/,
    'nobody did',
  );
});

/** A person whose canvas looks like this as it stands, and like that once the page has been loaded anew. */
function seenAs(name, stood, anew) {
  let picture = stood;
  const nothing = async () => {};
  const locator = () => ({ count: async () => 0, waitFor: nothing, screenshot: async () => Buffer.from(picture) });
  const page = {
    reload: async () => {
      picture = anew;
    },
    locator,
    keyboard: { press: nothing },
    mouse: { move: nothing },
  };
  for (const one of ['bringToFront', 'evaluate', 'waitForFunction', 'click']) page[one] = nothing;
  return { name, tabs: [page] };
}

test('a picture that differs is named, whosever it is, as it stands and after the page has been loaded anew', async () => {
  const check = (ann, ben) => checkPictures([seenAs('ann', ...ann), seenAs('ben', ...ben)], tempDir('pictures'));
  await check(['a', 'a'], ['a', 'a']);
  await assert.rejects(check(['a', 'a'], ['b', 'a']), /'ben, as-it-stood is not as ann, as-it-stood'/);
  await assert.rejects(check(['a', 'a'], ['a', 'b']), /'ben, loaded-anew is not as ann, as-it-stood'/);
  await assert.rejects(check(['a', 'b'], ['a', 'b']), /'ann, loaded-anew is not as ann, as-it-stood'/);
});

test('the same seed is the same hour, and another seed another', () => {
  const of = (seed) => JSON.stringify(planHour({ seed, rounds: 20 }));
  assert.equal(of(7), of(7));
  assert.notEqual(of(7), of(8));
});
