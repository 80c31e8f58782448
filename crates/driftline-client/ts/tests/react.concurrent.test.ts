/** What React does beyond rendering once: rendering in slices, giving a render up, and rendering on a server. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createElement as h, startTransition, useLayoutEffect, useState } from 'react';
import { renderToString } from 'react-dom/server';
import type { Db } from '../db.js';
import { useOpen, useParked, useQuery, useRow, useStatus } from '../react.js';
import { card, gone, openSpace, probe, render, type S, schema, settle } from './react.harness.js';

/** Longer than React renders without letting others run. */
const SLICE_MS = 12;

function keepBusy() {
  const end = performance.now() + SLICE_MS;
  while (performance.now() < end);
}

test('p1_no_commit_shows_two_states_when_rows_change_between_the_slices_of_a_render', async () => {
  const { db, patch } = await openSpace();
  patch(card('a', 'old'));
  const rendered: string[] = [];
  const commits: string[][] = [];
  let shown: string[] = [];
  let show!: (isShown: boolean) => void;
  let commit!: () => void;
  const useNoted = (name: string | undefined, unguarded: string | undefined) => {
    rendered.push(unguarded ?? '');
    if (rendered.length === 1) queueMicrotask(() => patch(['card', 'a', { name: 'new' }, 0]));
    keepBusy();
    useLayoutEffect(() => void shown.push(name ?? ''));
    return name ?? null;
  };
  const ByRow = () => useNoted(useRow(db, 'card', 'a')?.name, db.tables.card.get('a')?.name);
  const ByQuery = () => useNoted(useQuery(db, 'card')[0]?.name, db.tables.card.get('a')?.name);
  const App = () => {
    const [isShown, setIsShown] = useState(false);
    show = setIsShown;
    useLayoutEffect(() => {
      if (isShown) commit();
      shown = [];
    });
    return isShown
      ? [h(ByRow, { key: 1 }), h(ByQuery, { key: 2 }), h(ByRow, { key: 3 }), h(ByQuery, { key: 4 })]
      : null;
  };
  const renderer = await render(h(App));
  const committed = new Promise<void>((resolve) => {
    commit = () => {
      commits.push(shown);
      resolve();
    };
  });
  Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: false });
  startTransition(() => show(true));
  await committed;
  Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });
  assert.deepEqual(rendered.slice(0, 4), ['old', 'new', 'new', 'new'], 'the change came between two slices');
  assert.deepEqual(commits, [['new', 'new', 'new', 'new']]);
  await settle(() => renderer.unmount());
});

test('p1_rows_read_by_a_render_before_listeners_are_told_are_not_left_on_the_screen', async () => {
  const { db, patch } = await openSpace();
  let again!: (times: number) => void;
  const query = probe(() => {
    again = useState(0)[1];
    return useQuery(db, 'card', () => true, []).map((row) => row.id);
  });
  const renderer = await render(h(query.component));
  // The types leave it out.
  const { unstable_flushSync: flushSync } = renderer as unknown as { unstable_flushSync(work: () => void): void };
  await settle(() => {
    patch(card('a', 'A'));
    flushSync(() => again(1));
    patch(gone('a'));
  });
  assert.deepEqual(query.values, [[], ['a'], []]);
  await settle(() => renderer.unmount());
});

const useShown = (db: Db<S> | undefined) => [
  useRow(db, 'card', 'a')?.name ?? 'no row',
  useQuery(db, 'card').length,
  useStatus(db).reason,
  useParked(db).length,
];

test('p2_on_a_server_the_hooks_show_an_empty_space_and_load_nothing', async () => {
  const space = await openSpace();
  space.patch(card('a', 'A'));
  const App = () => {
    const opened = useOpen({ schema, space: 'a', url: '' });
    const shown = [useShown(undefined), useShown(space.db)];
    return JSON.stringify([opened.db ?? 'no space', opened.error ?? 'no error', ...shown]);
  };
  const html = renderToString(h(App)).replaceAll('&quot;', '"');
  const empty = ['no row', 0, 'opening', 0];
  assert.deepEqual(JSON.parse(html), ['no space', 'no error', empty, empty]);
  assert.equal(space.listeners, 0);
});
