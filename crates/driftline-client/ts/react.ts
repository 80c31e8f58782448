/**
 * React bindings: `driftline/react`.
 *
 * Each hook takes the space as `open()` gives it, or `undefined` where there is none yet, as while it is opened or rendered on a server: then
 * it returns what an empty space would show. A component is rendered again only when what it has read is another.
 *
 * Rows are immutable and reads are synchronous, so all hooks of one render see the same rows, also where React spreads a render over time.
 * What an event of this page changes first is rendered before the event ends, so that an input may show a row's field and its cursor stays.
 */

import { useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from 'react';
import type { Db } from './db.js';
import type { DriftlineError } from './errors.js';
import { type OpenOptions, open } from './index.js';
import { joinPresence, type Presence } from './presence.js';
import { NOTHING_PARKED, Parked, type ParkedGroup } from './react/parked.js';
import { type Kept, Query, type Readable } from './react/query.js';
import type { Row, SchemaInput, TableName } from './schema.js';
import { OPENING, type Status } from './status.js';

export type { ParkedGroup } from './react/parked.js';

/** `null` and `undefined` stand for a space that is not open yet. */
export type MaybeDb<S extends SchemaInput> = Db<S> | null | undefined;

const NOTHING: readonly never[] = Object.freeze([]);
const none = () => NOTHING;
const opening = () => OPENING;
const noRow = () => undefined;
const noSubscription = () => () => {};
const NOBODY: ReadonlyMap<string, never> = new Map<string, never>();
const nobody = () => NOBODY;
const nothingParked = () => NOTHING_PARKED;

/** The row, or `undefined` where there is none: it was deleted, has not come yet, or no id is given. */
export function useRow<S extends SchemaInput, T extends TableName<S>>(
  db: MaybeDb<S>,
  table: T,
  id: string | null | undefined,
): Row<S, T> | undefined {
  const rows = db?.tables[table];
  const subscribe = useCallback(
    (changed: () => void) => rows?.subscribe((ids) => void (id && ids.has(id) && changed()), true) ?? (() => {}),
    [rows, id],
  );
  const read = () => (id ? rows?.get(id) : undefined);
  return useSyncExternalStore(subscribe, read, noRow);
}

/**
 * The rows for which the predicate holds, all where there is none. The array is the same one as long as no row of it changed, came or went.
 *
 * `deps` are what the predicate depends on, as for `useMemo`. Without them each new function is taken for another predicate, and the
 * component subscribes anew.
 */
export function useQuery<S extends SchemaInput, T extends TableName<S>>(
  db: MaybeDb<S>,
  table: T,
  predicate?: (row: Row<S, T>) => boolean,
  deps: readonly unknown[] = [predicate],
): readonly Row<S, T>[] {
  const rows = db?.tables[table] as Readable<Row<S, T> & { readonly id: string }> | undefined;
  const kept = useRef<Kept<Row<S, T> & { readonly id: string }>>({ rows: NOTHING });
  // biome-ignore lint/correctness/useExhaustiveDependencies: what the predicate depends on, only its author knows
  const query = useMemo(() => rows && new Query(rows, predicate, kept.current), [rows, ...deps]);
  return useSyncExternalStore(query?.subscribe ?? noSubscription, query?.read ?? none, none);
}

/** Whether all is saved, and if not, why. */
export function useStatus<S extends SchemaInput>(db: MaybeDb<S>): Status {
  const subscribe = useCallback((changed: () => void) => db?.onStatus(changed) ?? (() => {}), [db]);
  return useSyncExternalStore(subscribe, () => db?.status ?? OPENING, opening);
}

// One for each space, however many components ask, so that the outbox is read once for all of them.
const parkedOf = new WeakMap<object, unknown>();

/** What was refused and waits for the user's decision: each transaction with its problem, what waits for it, and what can be done. */
export function useParked<S extends SchemaInput>(db: MaybeDb<S>): readonly ParkedGroup<S>[] {
  const parked = db && parkedIn(db);
  return useSyncExternalStore(parked?.subscribe ?? noSubscription, parked?.read ?? nothingParked, nothingParked);
}

function parkedIn<S extends SchemaInput>(db: Db<S>): Parked<S> {
  const known = parkedOf.get(db) as Parked<S> | undefined;
  if (known) return known;
  const parked = new Parked(db);
  parkedOf.set(db, parked);
  return parked;
}

export interface Opened<S extends SchemaInput> {
  readonly db: Db<S> | undefined;
  /** Why it could not be opened. */
  readonly error: unknown;
}

const NOT_OPEN = { db: undefined, error: undefined } as const;

/**
 * Opens a space for as long as the component is mounted, and again where `space`, `url`, `user`, `app` or the schema is another. On a server
 * nothing is opened. `token` and `wasm` are taken as they are when it opens: give a function as `token` where it changes.
 */
export function useOpen<S extends SchemaInput>(options: OpenOptions<S>): Opened<S> {
  const { schema, space, url, user, app } = options;
  const latest = useRef(options);
  useEffect(() => {
    latest.current = options;
  });
  // Stands for what is to be open, so that no render shows another space than the one that it asks for.
  // biome-ignore lint/correctness/useExhaustiveDependencies: another object for another space is what it is for
  const wanted = useMemo(() => ({}), [schema, space, url, user, app]);
  const [opened, setOpened] = useState<{ wanted: object; result: Opened<S> }>();
  useEffect(() => {
    let isWanted = true;
    const tell = (result: Opened<S>) => isWanted && setOpened({ wanted, result });
    const opening = open(latest.current);
    opening.then(
      (db) => tell({ db, error: undefined }),
      (error: unknown) => tell({ db: undefined, error }),
    );
    return () => {
      isWanted = false;
      setOpened(undefined);
      opening.then((db) => db.close()).catch(() => {});
    };
  }, [wanted]);
  return opened?.wanted === wanted ? opened.result : NOT_OPEN;
}

/**
 * Says `state` of this person to the others in the space, and returns what they say, by the names of their connections: the same map until it
 * changes. `null` is to look on unseen. It joins when the component is mounted and leaves with it; see `driftline/presence`.
 */
export function usePresence<P>(
  // biome-ignore lint/suspicious/noExplicitAny: which tables a space has makes no difference here
  db: MaybeDb<any>,
  state: P | null,
  onError?: (error: DriftlineError) => void,
): ReadonlyMap<string, P> {
  const [joined, setJoined] = useState<{ db: object; presence: Presence<P> }>();
  const presence = joined && joined.db === db ? joined.presence : undefined;
  const latest = useRef(onError);
  useEffect(() => {
    latest.current = onError;
  });
  useEffect(() => {
    if (!db) return;
    const presence = joinPresence<P>(db);
    presence.onError((error) => latest.current?.(error));
    setJoined({ db, presence });
    return presence.leave;
  }, [db]);
  useEffect(() => presence?.set(state), [presence, state]);
  return useSyncExternalStore(presence?.subscribe ?? noSubscription, presence ? () => presence.others : nobody, nobody);
}
