import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createElement as h, StrictMode } from 'react';
import type { Db } from '../db.js';
import { useParked, useQuery, useRow, useStatus } from '../react.js';
import type { OutboxEntry } from '../status.js';
import { type Card, card, gone, openSpace, probe, render, type S, settle } from './react.harness.js';

type Space = { db: Db<S> | undefined };

const names = (results: readonly (readonly Card[])[]) => results.map((rows) => rows.map((row) => row.name));

test('p1_only_the_components_whose_row_changed_render_again', async () => {
  const { db, patch } = await openSpace();
  patch(card('a', 'A'), card('b', 'B'));
  const a = probe(() => useRow(db, 'card', 'a')?.name);
  const b = probe(() => useRow(db, 'card', 'b')?.name);
  const renderer = await render(h('g', null, h(a.component), h(b.component)));
  await settle(() => patch(['card', 'a', { name: 'A2' }, 0], card('c', 'C')));
  await settle(() => patch(['card', 'c', { name: 'C2' }, 0]));
  assert.deepEqual([a.values, b.values], [['A', 'A2'], ['B']]);
  await settle(() => renderer.unmount());
});

test('p1_a_row_that_is_deleted_or_not_named_is_undefined', async () => {
  const { db, patch } = await openSpace();
  patch(card('a', 'A'));
  const row = probe(({ id }: { id: string | null }) => useRow(db, 'card', id)?.name);
  const renderer = await render(h(row.component, { id: 'a' }));
  await settle(() => patch(gone('a')));
  await settle(() => patch(card('a', 'back')));
  await settle(() => renderer.update(h(row.component, { id: null })));
  await settle(() => patch(card('a', 'unseen')));
  await settle(() => renderer.update(h(row.component, { id: 'b' })));
  await settle(() => patch(card('b', 'B')));
  assert.deepEqual(row.values, ['A', undefined, 'back', undefined, undefined, 'B']);
  await settle(() => renderer.unmount());
});

test('p1_a_query_is_the_same_array_until_a_row_of_it_changes_comes_or_goes', async () => {
  const { db, patch } = await openSpace();
  patch(card('a', 'A', 1), card('b', 'B', 9));
  const near = probe(() => useQuery(db, 'card', (row) => row.x < 5, []));
  const all = probe(() => useQuery(db, 'card'));
  const renderer = await render(h('g', null, h(near.component), h(all.component)));
  await settle(() => patch(['card', 'b', { name: 'B2' }, 0]));
  await settle(() => patch(['card', 'a', { name: 'A2' }, 0]));
  await settle(() => patch(['card', 'b', { x: 2 }, 0]));
  await settle(() => patch(['card', 'a', { x: 8 }, 0]));
  await settle(() => patch(gone('a'), ['line', 'l', { from: 'b' }, 1]));
  await settle(() => patch(gone('b')));
  assert.deepEqual(names(near.values), [['A'], ['A2'], ['A2', 'B2'], ['B2'], []]);
  assert.equal(all.values.length, 7);
  await settle(() => renderer.unmount());
});

test('p1_a_change_that_concerns_no_row_of_a_query_asks_no_table', async () => {
  const { db, patch } = await openSpace();
  patch(card('a', 'A', 1), card('b', 'B', 9), card('c', 'C', 2));
  const near = probe(() => useQuery(db, 'card', (row) => row.x < 5, []));
  const row = probe(() => useRow(db, 'card', 'a')?.name);
  const renderer = await render(h('g', null, h(near.component), h(row.component)));
  const far = (name: string) => settle(() => patch(['card', 'b', { name }, 0]));
  // The first change after a render looks again: the render may have seen more than listeners have been told.
  await far('B1');
  const calls = countCalls(db);
  await far('B2');
  await far('B3');
  assert.deepEqual(calls, { query: 0, get: 2 });
  await settle(() => patch(['card', 'a', { x: 6 }, 0]));
  await far('B4');
  await far('B5');
  await settle(() => patch(['card', 'b', { x: 3 }, 0]));
  assert.deepEqual(names(near.values), [['A', 'C'], ['C'], ['B5', 'C']]);
  assert.equal(row.values.length, 2);
  await settle(() => renderer.unmount());
});

/** Counts how often a table is searched, and a row of it read. */
function countCalls(db: Db<S>) {
  const calls = { query: 0, get: 0 };
  const { card } = db.tables;
  const { query, get } = card;
  card.query = (predicate) => {
    calls.query += 1;
    return query(predicate);
  };
  card.get = (id) => {
    calls.get += 1;
    return get(id);
  };
  return calls;
}

test('p1_a_query_gives_the_same_array_for_another_predicate_that_finds_the_same', async () => {
  const { db, patch } = await openSpace();
  patch(card('a', 'A', 1), card('b', 'B', 9));
  const inline = probe(({ below }: { below: number }) => useQuery(db, 'card', (row) => row.x < below));
  const held = probe(({ below }: { below: number }) => useQuery(db, 'card', (row) => row.x < below, [below]));
  const both = (below: number) => h('g', null, h(inline.component, { below }), h(held.component, { below }));
  const renderer = await render(both(5));
  await settle(() => renderer.update(both(6)));
  await settle(() => renderer.update(both(10)));
  await settle(() => patch(['card', 'b', { name: 'B2' }, 0]));
  for (const { values } of [inline, held]) {
    assert.deepEqual(names(values), [['A'], ['A'], ['A', 'B'], ['A', 'B2']]);
    assert.equal(values[0], values[1]);
  }
  await settle(() => renderer.unmount());
});

test('p1_a_predicate_is_held_as_long_as_its_deps_are_the_same', async () => {
  const { db, patch } = await openSpace();
  patch(card('a', 'A', 1), card('b', 'B', 9));
  const held = probe(({ below }: { below: number }) => useQuery(db, 'card', (row) => row.x < below, []));
  const renderer = await render(h(held.component, { below: 5 }));
  await settle(() => renderer.update(h(held.component, { below: 10 })));
  assert.deepEqual(names(held.values), [['A'], ['A']]);
  await settle(() => renderer.unmount());
});

test('p1_the_status_is_rendered_once_for_each_change', async () => {
  const { db, say, patch } = await openSpace();
  const status = probe(() => useStatus(db).line);
  const renderer = await render(h(status.component));
  await settle(() => say({ line: 'q1 f0 p0 r0', queued: 1 }));
  await settle(() => patch(card('a', 'A')));
  assert.deepEqual(status.values, ['q0 f0 p0 r0', 'q1 f0 p0 r0']);
  await settle(() => renderer.unmount());
});

const entry = (key: string, state: OutboxEntry['state'], more: Partial<OutboxEntry> = {}): OutboxEntry => ({
  key,
  state,
  edits: [{ op: 'delete', table: 'card', id: 'a' }],
  waits_on: [],
  problem: null,
  ...more,
});
const problem = { code: 'restricted', detail: 'Delete the line first.' };

test('p1_parked_groups_tell_why_and_what_waits_and_take_decisions', async () => {
  const space = await openSpace();
  const { db, say } = space;
  const parked = probe(() => useParked(db));
  const other = probe(() => useParked(db).length);
  const renderer = await render(h('g', null, h(parked.component), h(other.component)));
  assert.deepEqual(other.values, [0]);
  assert.equal(space.reads, 0, 'nothing is read while nothing is parked');

  space.outbox = [
    entry('c:1', 'parked', { problem, dependents: ['c:2'] }),
    entry('c:2', 'suspended', { problem }),
    entry('c:3', 'queued'),
    entry('c:4', 'parked', { problem }),
  ];
  await settle(() => say({ parked: 3 }));
  assert.equal(space.reads, 1, 'the outbox is read once for all components');
  const [first, second] = parked.values[1] ?? [];
  assert.deepEqual([first?.key, first?.problem, first?.dependents.map((one) => one.key)], ['c:1', problem, ['c:2']]);
  assert.deepEqual([second?.key, second?.dependents], ['c:4', []]);

  await settle(() => say({ parked: 3, queued: 1 }));
  assert.equal(parked.values.length, 2, 'nothing parked has changed');
  space.outbox = space.outbox.slice(0, 3);
  await settle(() => say({ parked: 2 }));
  assert.deepEqual(parked.values[2], [first]);
  assert.equal(parked.values[2]?.[0], first, 'the group that stays is the same object');

  await settle(() => first?.retry());
  await settle(() => first?.amend((tx) => tx.card.update('a', { name: 'x' })));
  space.outbox = [];
  await settle(() => first?.discard({ dependents: true }));
  assert.deepEqual(space.decisions, [
    { what: 'retry', key: 'c:1' },
    { what: 'amend', key: 'c:1', edits: [{ op: 'update', table: 'card', id: 'a', set: { name: 'x' } }] },
    { what: 'discard', key: 'c:1', dependents: true },
  ]);
  assert.deepEqual(other.values, [0, 2, 1, 0], 'a decision shows in every component, also before the status does');
  await settle(() => renderer.unmount());
});

test('p1_a_component_that_leaves_takes_no_other_one_along', async () => {
  const space = await openSpace();
  const [first, second] = [0, 1].map(() => probe(() => useParked(space.db).length));
  assert.ok(first && second);
  const renderer = await render(h('g', null, h(first.component), h(second.component)));
  await settle(() => renderer.update(h('g', null, null, h(second.component))));
  space.outbox = [entry('c:1', 'parked', { problem })];
  await settle(() => space.say({ parked: 1 }));
  assert.deepEqual([first.values, second.values], [[0], [0, 1]]);
  await settle(() => renderer.unmount());
  assert.equal(space.listeners, 0);
});

test('p1_what_was_parked_stays_shown_when_the_space_is_closed', async () => {
  const space = await openSpace();
  const { db } = space;
  space.outbox = [entry('c:1', 'parked', { problem })];
  const parked = probe(() => useParked(db).map((group) => group.key));
  await settle(() => space.say({ parked: 1 }));
  const renderer = await render(h(parked.component));
  await db.close();
  await settle(() => space.say({ parked: 1, line: 'q0 f0 p1 r1' }));
  assert.deepEqual(parked.values, [['c:1']]);
  await settle(() => renderer.unmount());
});

const everything = ({ db }: Space) => [
  useRow(db, 'card', 'a')?.name,
  useQuery(db, 'card', (row) => row.x < 5).length,
  useQuery(db, 'line').length,
  useStatus(db).line,
  useParked(db).length,
];

test('p1_strict_mode_subscribes_once_and_nothing_listens_after_the_end', async () => {
  const space = await openSpace();
  space.patch(card('a', 'A'));
  const all = probe(everything);
  const renderer = await render(h(StrictMode, null, h(all.component, { db: space.db })));
  assert.equal(space.listeners, 5);
  await settle(() => space.patch(['card', 'a', { name: 'A2' }, 0]));
  assert.deepEqual(all.values.at(-1), ['A2', 1, 0, 'q0 f0 p0 r0', 0]);
  assert.equal(space.listeners, 5);
  await settle(() => renderer.unmount());
  assert.equal(space.listeners, 0);
});

test('p1_another_space_takes_the_place_of_the_first_in_every_hook', async () => {
  const [one, two] = [await openSpace(), await openSpace()];
  one.patch(card('a', 'one'));
  two.patch(card('a', 'two'), card('b', 'B'), ['line', 'l', { from: 'a' }, 1]);
  two.outbox = [entry('c:1', 'parked', { problem })];
  two.say({ line: 'q0 f0 p1 r7', parked: 1 });
  const all = probe(everything);
  const renderer = await render(h(all.component, { db: undefined }));
  await settle(() => renderer.update(h(all.component, { db: one.db })));
  await settle(() => renderer.update(h(all.component, { db: two.db })));
  assert.deepEqual([one.listeners, two.listeners], [0, 5]);
  await settle(() => one.patch(card('a', 'unseen')));
  assert.deepEqual(all.values, [
    [undefined, 0, 0, 'q0 f0 p0 r0', 0],
    ['one', 1, 0, 'q0 f0 p0 r0', 0],
    ['two', 2, 1, 'q0 f0 p1 r7', 1],
  ]);
  await settle(() => renderer.unmount());
});
