import assert from 'node:assert/strict';
import { test } from 'node:test';
import { byPosition, positionBetween } from '../positions.js';

/** As the engine checks it. */
const FORM = /^[0-9A-Za-z]{0,199}[1-9A-Za-z]$/;

function check(before: string | null, position: string, after: string | null): void {
  assert.match(position, FORM);
  assert.ok(before === null || before < position, `${before} < ${position}`);
  assert.ok(after === null || position < after, `${position} < ${after}`);
}

test('i7_between_any_two_positions_there_is_room', () => {
  for (let round = 0; round < 20; round += 1) {
    const list: string[] = [];
    for (let i = 0; i < 500; i += 1) {
      const at = Math.floor(Math.random() * (list.length + 1));
      const [before, after] = [list[at - 1] ?? null, list[at] ?? null];
      const position = positionBetween(before, after);
      check(before, position, after);
      list.splice(at, 0, position);
    }
    assert.deepEqual([...list].sort(), list);
    assert.ok(list.every((position) => position.length < 20));
  }
});

test('i7_positions_at_one_end_stay_short_and_at_one_place_do_not_run_out', () => {
  let [last, first, inner] = [positionBetween(null, null), positionBetween(null, null), positionBetween(null, null)];
  for (let i = 0; i < 10_000; i += 1) {
    const [next, previous] = [positionBetween(last, null), positionBetween(null, first)];
    check(last, next, null);
    check(null, previous, first);
    [last, first] = [next, previous];
  }
  assert.ok(last.length <= 8 && first.length <= 8, `${last} ${first}`);
  const outer = positionBetween(inner, null);
  for (let i = 0; i < 100; i += 1) {
    const next = positionBetween(inner, outer);
    check(inner, next, outer);
    inner = next;
  }
});

test('i7_two_people_at_one_place_rarely_come_to_one_position', () => {
  const seen = new Set<string>();
  for (let i = 0; i < 100; i += 1) seen.add(positionBetween('V', 'W'));
  assert.ok(seen.size > 80, `${seen.size} of 100`);
});

test('i7_neighbours_and_ties_and_wrong_orders', () => {
  for (const [before, after] of [
    ['V', 'V1'],
    ['V', 'V0001'],
    ['Vz', 'W'],
    ['zzzz', null],
    [null, '0001'],
    ['0001', '0002'],
  ] as const) {
    check(before, positionBetween(before, after), after);
  }
  check('V', positionBetween('V', 'V'), 'V1');
  assert.throws(() => positionBetween('W', 'V'), RangeError);
});

test('i7_rows_sort_by_position_then_by_id_and_last_without_one', () => {
  const row = (id: string, at: string | null) => ({ id, at });
  const rows = [row('d', null), row('b', 'a'), row('c', 'Z'), row('a', 'a'), row('e', null)];
  assert.deepEqual(
    rows.sort(byPosition('at')).map((r) => r.id),
    ['c', 'a', 'b', 'd', 'e'],
  );
});
