import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { createElement as h, StrictMode } from 'react';
import { renderToString } from 'react-dom/server';
import type { Db } from '../db.js';
import { usePresence } from '../react.js';
import { openSpace, probe, render, type S, settle } from './react.harness.js';
import { FakeSocket, fakeSockets } from './sockets.js';

type Cursor = { x: number };
type Props = { db: Db<S> | undefined; state: Cursor | null };

beforeEach(fakeSockets);

const hook = () => {
  const errors: string[] = [];
  const shown = probe(({ db, state }: Props) => usePresence<Cursor>(db, state, ({ code }) => errors.push(code)));
  return { ...shown, errors };
};

test('v5_a_component_joins_once_in_strict_mode_and_leaves_when_it_goes', async () => {
  const { db } = await openSpace();
  const { component } = hook();
  const renderer = await render(h(StrictMode, null, h(component, { db, state: { x: 1 } })));
  assert.equal(FakeSocket.all.length, 1);
  await settle(() => FakeSocket.last.open());
  assert.deepEqual(FakeSocket.last.sent, [{ presence: true }, { presence: { x: 1 } }]);
  await settle(() => renderer.unmount());
  assert.equal(FakeSocket.last.readyState, 3);
});

test('v5_a_component_shows_the_others_and_says_what_it_is_given', async () => {
  const { db } = await openSpace();
  const { component, values } = hook();
  const renderer = await render(h(component, { db, state: null }));
  await settle(() => FakeSocket.last.open());
  await settle(() => FakeSocket.last.say({ presence: { a: { x: 7 } } }));
  await settle(() => FakeSocket.last.say({ ping: 0 }));
  await settle(() => renderer.update(h(component, { db, state: { x: 2 } })));
  assert.deepEqual(FakeSocket.last.sent, [{ presence: true }, { presence: { x: 2 } }]);
  // The first is what is shown before it has joined.
  const seen = [...new Set(values.slice(1))].map((others) => [...others]);
  assert.deepEqual(seen, [[], [['a', { x: 7 }]]]);
  await settle(() => renderer.unmount());
});

test('v5_nobody_of_another_space_is_shown_and_nobody_where_none_is_open', async () => {
  const [one, two] = [await openSpace(), await openSpace()];
  const { component, values } = hook();
  const renderer = await render(h(component, { db: undefined, state: null }));
  assert.equal(FakeSocket.all.length, 0);
  await settle(() => renderer.update(h(component, { db: one.db, state: null })));
  await settle(() => FakeSocket.last.open());
  await settle(() => FakeSocket.last.say({ presence: { a: { x: 7 } } }));
  assert.equal(values.at(-1)?.size, 1);
  const [first, rendered] = [FakeSocket.last, values.length];
  await settle(() => renderer.update(h(component, { db: two.db, state: null })));
  assert.deepEqual(
    values.slice(rendered).map((others) => others.size),
    values.slice(rendered).map(() => 0),
  );
  assert.deepEqual([first.readyState, FakeSocket.all.length], [3, 2]);
  await settle(() => renderer.unmount());
});

test('v5_a_component_hears_why_it_is_not_shown', async () => {
  const { db } = await openSpace();
  const { component, errors } = hook();
  const renderer = await render(h(component, { db, state: null }));
  await settle(() => FakeSocket.last.open());
  await settle(() => FakeSocket.last.end(4403));
  assert.deepEqual(errors, ['forbidden']);
  await settle(() => renderer.unmount());
});

test('v5_rendered_on_a_server_nobody_is_there', async () => {
  const { db } = await openSpace();
  const Count = () => String(usePresence(db, null).size);
  assert.equal(renderToString(h(Count)), '0');
  assert.equal(FakeSocket.all.length, 0);
});
