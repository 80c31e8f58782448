// What holds histories against what was promised must itself find what is wrong with one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SCHEMA } from './kills.mjs';
import { Ledger, seeded } from './ledger.mjs';

/** A ledger of edits that were all saved, and the log of a server that applied each as it was made. */
function history(count) {
  const ledger = new Ledger(seeded(3));
  const log = [];
  const sums = new Map();
  const changesOf = ({ op, table, id, set, by }) => {
    if (op === 'create' || op === 'delete') return [{ op, table, id, ...(set && { set }) }];
    sums.set(id, (sums.get(id) ?? 0) + (by ?? 0));
    return [{ op: 'update', table, id, set: set ?? { votes: sums.get(id) } }];
  };
  const hangOn = new Map(); // Of each card, the connections that go along with it.
  const gone = new Set();
  for (let i = 0; i < count; i += 1) {
    const [{ n, ops }] = ledger.plan(i % 2, 1);
    const changes = [...ops].reverse().flatMap((op) => {
      const own = changesOf(op);
      for (const end of [op.set?.start_item, op.set?.end_item]) {
        if (end) hangOn.set(end.card, [...(hangOn.get(end.card) ?? []), op.id]);
      }
      if (op.op !== 'delete') return own;
      const along = new Set((hangOn.get(op.id) ?? []).filter((id) => !gone.has(id)));
      for (const id of [op.id, ...along]) gone.add(id);
      return [...[...along].map((id) => ({ op: 'delete', table: 'connection', id })), ...own];
    });
    log.push({ rev: n + 1, part: 0, key: `0:${n}`, n, changes });
    ledger.saved(n);
  }
  return { ledger, log };
}

const count = (found) => Object.fromEntries(Object.entries(found).map(([kind, some]) => [kind, some.length]));

test('a history without a fault passes, and each planted fault is found', () => {
  const { ledger, log } = history(600);
  assert.deepEqual(count(ledger.judgeLog(SCHEMA, log)), { lost: 0, double: 0, nobody: 0, misordered: 0 });

  const at = (isIt) => log.findLastIndex(({ changes }) => changes.some(isIt));
  const renumbered = (some) => some.map((part, i) => ({ ...part, rev: i + 1 }));
  const without = (index) => renumbered(log.toSpliced(index, 1));
  const altered = (index, alter) => {
    const copy = structuredClone(log);
    alter(copy[index].changes);
    return copy;
  };
  const lasting = (table) => at(({ op, ...change }) => op === 'create' && change.table === table);
  const lastSum = at(({ set }) => set?.votes > 1);
  const faults = {
    'a card is missing': ['lost', without(lasting('card'))],
    'a connection is missing': ['lost', without(lasting('connection'))],
    'the last increment of a card is missing': ['lost', without(lastSum)],
    'the last move is missing': ['lost', without(at(({ set }) => set?.x > 0))],
    'the last delete is missing': ['lost', without(at(({ op }) => op === 'delete'))],
    'a revision is missing': ['lost', log.toSpliced(300, 1)],
    'a transaction is there twice': ['double', renumbered([...log, log[10]])],
    'an increment counts twice': [
      'double',
      altered(lastSum, (changes) => {
        const { set } = changes.find((change) => change.set?.votes > 1);
        set.votes += 4 ** Math.floor(Math.log(set.votes) / Math.log(4));
      }),
    ],
    'a row was made by nobody': [
      'nobody',
      altered(5, (changes) => changes.push({ op: 'create', table: 'card', id: 'x', set: {} })),
    ],
    'a connection comes first': [
      'misordered',
      renumbered([log[lasting('connection')], ...log.toSpliced(lasting('connection'), 1)]),
    ],
  };
  for (const [what, [kind, doctored]] of Object.entries(faults)) {
    assert.ok(
      ledger.judgeLog(SCHEMA, doctored)[kind].length > 0,
      `${what}: ${JSON.stringify(count(ledger.judgeLog(SCHEMA, doctored)))}`,
    );
  }
});

test('what the browser had no time to confirm may be there or not, and nothing is built on it', () => {
  const ledger = new Ledger(seeded(4));
  for (let i = 0; i < 20; i += 1) for (const { n } of ledger.plan(0, 1)) ledger.saved(n);
  const [{ n, ops }] = ledger
    .plan(0, 40)
    .filter(({ ops }) => ops.length === 1 && ops[0].op === 'create' && ops[0].table === 'card');
  const [{ id }] = ops;
  ledger.died();
  const lost = (rows) => ledger.judgeRows(rows).lost.filter((line) => line.includes(id));
  assert.deepEqual([lost(new Map()), lost(new Map([[`card ${id}`, {}]]))], [[], []]);
  const later = ledger.plan(0, 500).flatMap((edit) => JSON.stringify(edit));
  assert.equal(later.filter((text) => text.includes(id)).length, 0);
  assert.equal(ledger.counts.unsure, 40, `edit ${n} among them`);
});
