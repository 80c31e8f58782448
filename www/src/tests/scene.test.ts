import assert from 'node:assert/strict';
import { test } from 'node:test';
import { routeOf } from '../canvas/route.js';
import { type Carrying, Scene } from '../canvas/scene.js';
import type { Connection } from '../schema.js';
import type { Database } from '../space.js';

type Rows = Map<string, Record<string, unknown>>;

/** As much of an open space as a scene reads, and what tells it that rows changed. */
function makeSpace(items: Record<string, [x: number, y: number]>, lines: readonly [from: string, to: string][]) {
  const tables: Record<string, Rows> = {
    card: new Map(),
    box: new Map(),
    connection: new Map(),
    connection_type: new Map(),
  };
  const rows = (name: string) => tables[name] ?? new Map();
  const size = { width: 100, height: 50, z: 0, text: '', kind: 'text', color: null };
  for (const [id, [x, y]] of Object.entries(items)) rows('card').set(id, { id, x, y, ...size });
  for (const [from, to] of lines) {
    const row = { start_item: { card: from }, end_item: { card: to }, connection_type: null, color: null };
    rows('connection').set(from + to, { id: from + to, ...row });
  }
  const table = (name: string) => ({
    get: (id: string) => rows(name).get(id),
    query: (keep: (row: unknown) => boolean = () => true) => [...rows(name).values()].filter(keep),
    get size() {
      return rows(name).size;
    },
  });
  let hear: (changed: Map<string, Set<string>>) => void = () => {};
  const db = {
    tables: Object.fromEntries(Object.keys(tables).map((name) => [name, table(name)])),
    subscribe: (listener: typeof hear) => {
      hear = listener;
      return () => {};
    },
  };
  const moves: unknown[] = [];
  const carried = {
    to: ({ by, routes, guides }: Carrying) => void moves.push([by, [...routes], guides]),
    drop: () => void moves.push('dropped'),
  };
  const unpainted: (() => void)[] = [];
  const scene = new Scene(db as unknown as Database, carried, (act) => unpainted.push(act));
  const leave = scene.follow();
  const paint = () => {
    for (const act of unpainted.splice(0)) act();
  };
  const change = (name: string, id: string, row: Record<string, unknown> | null) => {
    if (row) rows(name).set(id, { ...rows(name).get(id), id, ...row });
    else rows(name).delete(id);
    hear(new Map([[name, new Set([id])]]));
  };
  return { scene, change, moves, paint, leave };
}

const ids = (all: readonly { id: string }[]) => all.map(({ id }) => id).sort();
const VIEW = { x: 0, y: 0, width: 1000, height: 800 };

test('what lies around the view is drawn, and a connection that crosses it with both of its ends', () => {
  const { scene } = makeSpace({ a: [0, 0], near: [1400, 0], far: [9000, 0], left: [-9000, 50], up: [0, -9000] }, [
    ['left', 'far'],
    ['up', 'far'],
    ['a', 'up'],
  ]);
  scene.look(VIEW);
  assert.deepEqual(ids(scene.read().edges), ['aup', 'leftfar', 'upfar']);
  assert.deepEqual(ids(scene.read().nodes), ['a', 'far', 'left', 'near', 'up']);
  scene.look({ ...VIEW, x: 50_000 });
  assert.deepEqual(scene.read().nodes, []);
  assert.deepEqual(scene.read().edges, []);
  assert.equal(scene.read().isEmpty, false);
});

test('rows come into the view and leave it, and what did not change stays the very same', () => {
  const { scene, change } = makeSpace({ a: [0, 0], far: [9000, 0] }, []);
  scene.look(VIEW);
  const [before] = scene.read().nodes;
  change('card', 'far', { x: 300 });
  assert.deepEqual(ids(scene.read().nodes), ['a', 'far']);
  assert.equal(scene.read().nodes[0], before);
  const { nodes, edges } = scene.read();
  scene.look(VIEW);
  change('card', 'a', {});
  assert.equal(scene.read().nodes, nodes);
  assert.equal(scene.read().edges, edges);
  change('card', 'a', null);
  assert.deepEqual(ids(scene.read().nodes), ['far']);
});

/** A line of 1,000 cards in view, each connected with the next; the last of the rows is the one at the middle. */
function makeCrowd() {
  const cards = Array.from({ length: 1_000 }, (_, n) => [`c${n}`, [n === 999 ? 450 : n - 100, 375]] as const);
  const lines = cards.slice(1).map(([id], n) => [`c${n}`, id] as [string, string]);
  return makeSpace(Object.fromEntries(cards) as Record<string, [number, number]>, lines);
}

test('of many items in view those at the middle are drawn first, and twice as many with each paint', () => {
  const { scene, paint } = makeCrowd();
  scene.look(VIEW);
  const first = scene.read();
  assert.equal(first.nodes.length, 64);
  assert.ok(first.nodes.every(({ position }) => Math.abs(position.x + 50 - 500) <= 33));
  assert.ok(
    first.nodes.every(({ id }, n, all) => n === 0 || id > (all[n - 1]?.id ?? '')),
    'whatever came first',
  );
  assert.ok(first.edges.length > 0);
  for (const { source, target } of first.edges) assert.ok(scene.isDrawn(source) && scene.isDrawn(target));
  const counts = [];
  for (let n = 0; n < 5; n += 1) {
    paint();
    counts.push(scene.read().nodes.length);
  }
  assert.deepEqual(counts, [192, 448, 960, 1_000, 1_000]);
  assert.equal(scene.read().edges.length, 999);
  assert.deepEqual(
    scene.read().nodes.map(({ id }) => id),
    ids(scene.read().nodes),
  );
});

test('what is selected is drawn first; what goes meanwhile is not drawn, and nothing is once the canvas is left', () => {
  const { scene, change, paint, leave } = makeCrowd();
  scene.select(['c0']);
  scene.look(VIEW);
  assert.ok(scene.isDrawn('c0'));
  change('card', 'c1', null);
  paint();
  paint();
  paint();
  paint();
  assert.equal(scene.read().nodes.length, 999);
  assert.ok(!scene.isDrawn('c1') && scene.read().edges.length === 997);
  scene.look({ ...VIEW, x: 50_000 });
  scene.look(VIEW);
  leave();
  paint();
  assert.equal(scene.read().nodes.length, 64);
});

test('what a hand is on is where the hand is, whatever its row says, until it is let go', () => {
  const { scene, change } = makeSpace({ a: [0, 0] }, []);
  scene.look(VIEW);
  scene.hold(new Map([['a', { x: 40, y: 30 }]]));
  const held = scene.read().nodes[0];
  change('card', 'a', { x: 40, y: 30 });
  assert.equal(scene.read().nodes[0], held, 'the row that was written on the way changes nothing on screen');
  change('card', 'a', { x: 7 });
  assert.deepEqual(scene.read().nodes[0]?.position, { x: 40, y: 30 });
  scene.release();
  assert.deepEqual(scene.read().nodes[0]?.position, { x: 7, y: 30 });
});

test('of what a hand is on only what is in view is drawn, and what the hand itself is on', () => {
  const { scene } = makeSpace({ a: [0, 0], b: [50_000, 0], c: [60_000, 0] }, []);
  scene.look(VIEW);
  const drawn = () => scene.read().nodes.map(({ id }) => id);
  const hold = (by: number, lead: string) =>
    scene.hold(
      new Map(Object.entries({ a: 0, b: 50_000, c: 60_000 }).map(([id, x]) => [id, { x: x + by, y: 0 }])),
      lead,
    );
  hold(5, 'a');
  assert.deepEqual(drawn(), ['a']);
  hold(-50_000, 'a');
  assert.deepEqual(drawn(), ['a', 'b'], 'what comes into view is drawn then');
  scene.look({ ...VIEW, x: 200_000 });
  assert.deepEqual(drawn(), ['a']);
  scene.release();
  scene.look(VIEW);
  assert.deepEqual(drawn(), ['a']);
});

test('connections of what a hand brings into view are drawn, while it is held and after', () => {
  const { scene, change } = makeSpace(
    { a: [0, 0], far: [9000, 0], deep: [9500, 0], out: [9000, 900], end: [9500, 900] },
    [
      ['a', 'far'],
      ['far', 'deep'],
      ['out', 'end'],
    ],
  );
  scene.look(VIEW);
  assert.deepEqual(ids(scene.read().nodes), ['a', 'far'], 'one is drawn for its line, and far away');
  const all = ['afar', 'fardeep', 'outend'];
  scene.hold(new Map(Object.entries({ far: { x: 300, y: 0 }, out: { x: 300, y: 400 } })), 'far');
  assert.deepEqual(ids(scene.read().edges), all);
  change('card', 'far', { x: 300 });
  change('card', 'out', { x: 300, y: 400 });
  scene.release();
  assert.deepEqual(ids(scene.read().edges), all);

  // What others move there brings its own along, too.
  const other = makeSpace({ a: [0, 0], far: [9000, 0], deep: [9500, 0] }, [
    ['a', 'far'],
    ['far', 'deep'],
  ]);
  other.scene.look(VIEW);
  other.change('card', 'far', { x: 300 });
  assert.deepEqual(ids(other.scene.read().edges), ['afar', 'fardeep']);
});

test('what a hand carries is moved by the page, and nothing of it is made anew', () => {
  const { scene, moves } = makeSpace({ a: [0, 0], b: [200, 0], c: [400, 0] }, [
    ['a', 'b'],
    ['b', 'c'],
  ]);
  scene.look(VIEW);
  scene.hold(
    new Map([
      ['a', { x: 5, y: 5 }],
      ['b', { x: 205, y: 5 }],
    ]),
  );
  const { nodes, edges } = scene.read();
  const classes = (all: readonly { id: string; className?: string }[]) => all.map((one) => [one.id, one.className]);
  assert.deepEqual(classes(nodes), [
    ['a', 'is-held'],
    ['b', 'is-held'],
    ['c', undefined],
  ]);
  assert.deepEqual(classes(edges), [
    ['ab', 'is-held'],
    ['bc', 'is-loose'],
  ]);
  scene.carry({ x: 30, y: 40 }, []);
  const [from, to] = [
    { x: 235, y: 45, width: 100, height: 50 },
    { x: 400, y: 0, width: 100, height: 50 },
  ];
  const row = edges.find(({ id }) => id === 'bc')?.data?.row as Connection;
  assert.deepEqual(moves.at(-1), [{ x: 30, y: 40 }, [['bc', routeOf(row, from, to)]], []]);
  assert.equal(scene.read().nodes, nodes);
  assert.equal(scene.read().edges, edges);
  scene.release();
  assert.equal(moves.at(-1), 'dropped');
  assert.deepEqual(
    classes([...scene.read().nodes, ...scene.read().edges]).map(([, name]) => name),
    Array(5).fill(undefined),
  );
});

test('what only moved shows the same face, and what is deleted is not selected any more', () => {
  const { scene, change } = makeSpace({ a: [0, 0], b: [200, 0] }, []);
  scene.look(VIEW);
  scene.select(['a', 'b']);
  const face = scene.read().nodes[0]?.data;
  change('card', 'a', { x: 10 });
  assert.equal(scene.read().nodes[0]?.data, face);
  change('card', 'a', { text: 'new' });
  assert.notEqual(scene.read().nodes[0]?.data, face);
  change('card', 'b', null);
  assert.deepEqual([...scene.read().selection], ['a']);
});
