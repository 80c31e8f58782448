import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ChangedRows, RowStore } from '../rows.js';

const flushed = () => new Promise<void>((resolve) => setTimeout(resolve));

test('q4_a_patch_is_read_back_at_once', () => {
  const store = new RowStore(['card']);
  store.apply([['card', '1', { x: 1, name: 'a' }, 1]]);
  assert.deepEqual(store.rows('card').get('1'), { id: '1', x: 1, name: 'a' });
  store.apply([['card', '1', { x: 2 }, 0]]);
  assert.deepEqual(store.rows('card').get('1'), { id: '1', x: 2, name: 'a' });
  store.apply([['card', '1', { x: 3 }, 1]]);
  assert.deepEqual(store.rows('card').get('1'), { id: '1', x: 3 });
  store.apply([['card', '1', null]]);
  assert.equal(store.rows('card').size, 0);
});

test('a changed row is another object, an unchanged one is the same', () => {
  const store = new RowStore(['card']);
  store.apply([
    ['card', '1', { x: 1 }, 1],
    ['card', '2', { x: 1 }, 1],
  ]);
  const [one, two] = [store.rows('card').get('1'), store.rows('card').get('2')];
  store.apply([['card', '1', { x: 2 }, 0]]);
  assert.notEqual(store.rows('card').get('1'), one);
  assert.equal(store.rows('card').get('2'), two);
});

test('listeners hear once per flush, with every id', async () => {
  const store = new RowStore(['card', 'box']);
  const cards: string[][] = [];
  const all: ChangedRows[] = [];
  const stop = store.subscribe('card', (ids) => cards.push([...ids]));
  store.subscribeAll((changed) => all.push(changed));
  store.apply([['card', '1', { x: 1 }, 1]]);
  store.apply([
    ['card', '2', { x: 1 }, 1],
    ['card', '1', { x: 2 }, 0],
    ['box', '3', {}, 1],
  ]);
  assert.deepEqual(cards, []);
  await flushed();
  assert.deepEqual(cards, [['1', '2']]);
  assert.deepEqual(all.length, 1);
  assert.deepEqual([...(all[0]?.keys() ?? [])], ['card', 'box']);
  stop();
  store.apply([['card', '1', null]]);
  await flushed();
  assert.equal(cards.length, 1);
  assert.equal(all.length, 2);
});

test('whoever is in haste hears of the first own edit of a task at once, and of the rest at its end', async () => {
  const store = new RowStore(['card', 'box']);
  const heard: string[] = [];
  store.subscribe('card', (ids) => heard.push(`hasty ${[...ids]}`), true);
  store.subscribe('card', (ids) => heard.push(`${[...ids]}`));
  store.applyOwn([['card', '1', { x: 1 }, 1]]);
  assert.deepEqual(heard, ['hasty 1']);
  await flushed();
  assert.deepEqual(heard, ['hasty 1', '1'], 'and not of the same again');

  heard.length = 0;
  store.applyOwn([['card', '1', { x: 2 }, 0]]);
  store.applyOwn([['card', '2', { x: 2 }, 1]]);
  store.apply([['card', '3', { x: 2 }, 1]]);
  assert.deepEqual(heard, ['hasty 1'], 'a loop of edits is no loop of renders');
  await flushed();
  assert.deepEqual(heard, ['hasty 1', 'hasty 1,2,3', '1,2,3']);

  heard.length = 0;
  store.apply([['card', '1', { x: 3 }, 0]]);
  assert.deepEqual(heard, [], 'what others do is heard when the task is done');
  await flushed();
  assert.deepEqual(heard, ['hasty 1', '1']);
});

test('an edit that is made on hearing of another is heard of by everybody', async () => {
  const store = new RowStore(['card']);
  const heard: string[][] = [];
  store.subscribe('card', (ids) => heard.push([...ids]), true);
  const stop = store.subscribe(
    'card',
    () => {
      stop();
      store.applyOwn([['card', '2', { x: 1 }, 1]]);
    },
    true,
  );
  store.applyOwn([['card', '1', { x: 1 }, 1]]);
  assert.deepEqual(heard, [['1']]);
  await flushed();
  assert.deepEqual(heard, [['1'], ['1', '2']]);
});

test('the removal of a row that was never there is no change', async () => {
  const store = new RowStore(['card']);
  let calls = 0;
  store.subscribe('card', () => calls++);
  store.apply([['card', '1', null]]);
  await flushed();
  assert.equal(calls, 0);
});

test('a listener that throws does not keep the others from hearing', async () => {
  const reported: unknown[] = [];
  Object.assign(globalThis, { reportError: (error: unknown) => reported.push(error) });
  const store = new RowStore(['card']);
  let calls = 0;
  store.subscribe('card', () => {
    throw new Error('mine');
  });
  store.subscribe('card', () => calls++);
  store.apply([['card', '1', {}, 1]]);
  await flushed();
  assert.equal(calls, 1);
  assert.equal(reported.length, 1);
});
