import assert from 'node:assert/strict';
import { test } from 'node:test';
import { align, boundsOf, contains, distribute, intersects, type Placed, readingOrder } from '../canvas/geometry.js';
import { keyName } from '../canvas/keys.js';
import { GRID, snap } from '../canvas/snap.js';

const at = (id: string, x: number, y: number, width = 100, height = 50): Placed => ({ id, x, y, width, height });
const ids = (items: readonly { id: string }[]) => items.map(({ id }) => id).join('');

test('bounds, crossing and holding', () => {
  assert.equal(boundsOf([]), undefined);
  assert.deepEqual(boundsOf([at('a', 10, 20), at('b', -5, 100, 10, 10)]), { x: -5, y: 20, width: 115, height: 90 });
  assert.equal(intersects(at('a', 0, 0), at('b', 100, 50)), true);
  assert.equal(intersects(at('a', 0, 0), at('b', 101, 0)), false);
  assert.equal(contains(at('a', 0, 0), at('b', 0, 0)), true);
  assert.equal(contains(at('a', 0, 0), at('b', 1, 0)), false);
});

test('items are read line by line, though they stand a little askew', () => {
  const items = [at('d', 0, 100), at('b', 200, -10), at('a', 0, 0), at('c', 400, 15), at('e', 150, 120)];
  assert.equal(ids(readingOrder(items)), 'abcde');
  assert.equal(ids(readingOrder([...items].reverse())), 'abcde');
  // A tall one is read with what lies beside its lower part.
  assert.equal(ids(readingOrder([at('a', 0, 0), at('t', 200, 0, 100, 400), at('b', 0, 60)])), 'abt');
});

test('items are aligned to what they take up together', () => {
  const items = [at('a', 0, 0), at('b', 50, 100, 200, 150)];
  const to = (alignment: Parameters<typeof align>[1]) => align(items, alignment).map(({ x, y }) => [x, y]);
  assert.deepEqual(to('left'), [
    [0, 0],
    [0, 100],
  ]);
  assert.deepEqual(to('right'), [
    [150, 0],
    [50, 100],
  ]);
  assert.deepEqual(to('center'), [
    [75, 0],
    [25, 100],
  ]);
  assert.deepEqual(to('top'), [
    [0, 0],
    [50, 0],
  ]);
  assert.deepEqual(to('bottom'), [
    [0, 200],
    [50, 100],
  ]);
  assert.deepEqual(to('middle'), [
    [0, 100],
    [50, 50],
  ]);
});

test('gaps become equal, and the outermost stay', () => {
  const items = [at('c', 900, 0), at('a', 0, 7), at('b', 120, 3, 300)];
  assert.deepEqual(distribute(items, 'horizontal'), [
    { id: 'a', x: 0, y: 7 },
    { id: 'b', x: 350, y: 3 },
    { id: 'c', x: 900, y: 0 },
  ]);
  assert.deepEqual(distribute([at('a', 0, 0), at('b', 9, 9)], 'vertical'), [
    { id: 'a', x: 0, y: 0 },
    { id: 'b', x: 9, y: 9 },
  ]);
});

const SNAP = { toItems: true, toGrid: false, reach: 6 };

test('what is dragged comes to rest on the nearest line within reach, and the lines are told', () => {
  const { dx, dy, guides } = snap(at('m', 4, 200), [at('a', 0, 0), at('b', 500, 207)], SNAP);
  assert.deepEqual([dx, dy], [-4, 0]);
  assert.deepEqual(guides[0], { axis: 'x', at: 0, from: 0, to: 250 });
  assert.equal(guides.length, 3, 'left, middle and right, for they are of one width');
  assert.deepEqual(snap(at('m', 4, 203), [at('b', 500, 207)], SNAP).dy, 4);
  assert.deepEqual(snap(at('m', 7, 200), [at('a', 0, 0)], SNAP), { dx: 0, dy: 0, guides: [] });
});

test('lines of items win over the grid, and neither draws when switched off', () => {
  const other = at('a', 2 * GRID + 3, 1000);
  const both = { toItems: true, toGrid: true, reach: 6 };
  assert.equal(snap(at('m', 2 * GRID + 1, 0), [other], both).dx, 2);
  assert.equal(snap(at('m', 5 * GRID - 3, 0), [other], both).dx, 3);
  assert.deepEqual(snap(at('m', 1, 1), [other], { toItems: false, toGrid: false, reach: 6 }), {
    dx: 0,
    dy: 0,
    guides: [],
  });
});

test('keys have one name on every layout', () => {
  const none = { ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, code: '' };
  assert.equal(keyName({ ...none, key: 'd', ctrlKey: true }), 'Mod+D');
  assert.equal(keyName({ ...none, key: 'd', metaKey: true }), 'Mod+D');
  assert.equal(keyName({ ...none, key: '!', code: 'Digit1', shiftKey: true }), 'Shift+1');
  assert.equal(keyName({ ...none, key: '?', code: 'Slash', shiftKey: true }), '?');
  assert.equal(keyName({ ...none, key: 'å', code: 'KeyA', altKey: true }), 'Alt+A');
  assert.equal(keyName({ ...none, key: 'ArrowUp', code: 'ArrowUp', shiftKey: true }), 'Shift+ArrowUp');
});
