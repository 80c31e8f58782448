/** The types of the hooks, checked by `tsc` alone. */

import type { Db, DriftlineError, Problem, Row, Status } from '../index.js';
import { joinPresence } from '../presence.js';
import { type ParkedGroup, useOpen, useParked, usePresence, useQuery, useRow, useStatus } from '../react.js';
import { type S, schema } from './react.harness.js';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<_T extends true>(): void {}

export function useHooks(db: Db<S>, maybe: Db<S> | undefined): void {
  const row = useRow(db, 'card', 'a');
  same<Equal<typeof row, Row<S, 'card'> | undefined>>();
  const rows = useQuery(maybe, 'line', (line) => line.from === row?.id, [row?.id]);
  same<Equal<typeof rows, readonly Row<S, 'line'>[]>>();
  same<Equal<ReturnType<typeof useStatus<S>>, Status>>();
  const [group] = useParked(db);
  same<Equal<typeof group, ParkedGroup<S> | undefined>>();
  group?.problem satisfies Problem | undefined;
  group?.amend((tx) => tx.card.update('a', { name: 'x' }));
  const opened = useOpen({ schema, space: 'a', url: '' });
  same<Equal<typeof opened.db, Db<S> | undefined>>();

  // @ts-expect-error the schema has no such table
  useRow(db, 'cards', 'a');
  // @ts-expect-error an id is a text
  useRow(db, 'card', 1);
  // @ts-expect-error there may be no such row
  useRow(db, 'card', 'a').name;
  // @ts-expect-error a card has no such field
  useRow(db, 'card', 'a')?.nme;
  // @ts-expect-error rows are read-only
  if (row) row.x = 1;
  // @ts-expect-error the schema has no such table
  useQuery(db, 'lines');
  // @ts-expect-error a line has no such field
  useQuery(db, 'line', (line) => line.name === 'x');
  // @ts-expect-error a predicate says yes or no
  useQuery(db, 'card', (card) => card.name);
  // @ts-expect-error a result is read-only: it is shared by renders
  useQuery(db, 'card').sort();
  // @ts-expect-error a row of a query is of its table
  useQuery(db, 'card')[0]?.from;
  // @ts-expect-error a schema is no space
  useStatus(schema);
  // @ts-expect-error an amended edit is as typed as any
  group?.amend((tx) => tx.card.update('a', { x: 'far' }));
  // @ts-expect-error a problem is an object, and no error
  group?.problem satisfies DriftlineError;
  // @ts-expect-error a space has a name
  useOpen({ schema, url: '' });
  // @ts-expect-error it may not be open yet
  opened.db.tables;
}

export function useOthers(db: Db<S>, maybe: Db<S> | undefined): void {
  type Cursor = { readonly x: number };
  const others = usePresence<Cursor>(maybe, { x: 1 });
  same<Equal<typeof others, ReadonlyMap<string, Cursor>>>();
  const presence = joinPresence<Cursor>(db);
  presence.others.get('a') satisfies Cursor | undefined;
  presence.set(null);
  const inferred = joinPresence(db, { y: 'a' });
  inferred.set({ y: 'b' });

  // @ts-expect-error a word of oneself is of one type
  presence.set({ y: 1 });
  // @ts-expect-error a word of oneself is of one type
  inferred.set({ y: 1 });
  // @ts-expect-error there may be nobody of this name
  presence.others.get('a').x;
  // @ts-expect-error who is there is read-only
  others.set('a', { x: 1 });
  // @ts-expect-error a schema is no space
  joinPresence(schema);
  // @ts-expect-error what one says goes on being of that type
  usePresence<Cursor>(db, { y: 1 });
}
