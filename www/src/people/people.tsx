/** The people of this canvas: what this page says of its own, and what the others say of theirs. */

import {
  createContext,
  type ReactNode,
  useCallback,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from 'react';
import { isLetIn, useAccess } from '../share/access.js';
import { useDatabase } from '../space.js';
import { keepMe, type Me, meOf, readMe } from './me.js';
import { joinPresence, type Presence } from './presence.js';

export interface Place {
  readonly x: number;
  readonly y: number;
}

export interface Person extends Me {
  /** The pointer, in the coordinates of the canvas; null where it is elsewhere. */
  readonly cursor: Place | null;
  /** Ids of items, as many as fit into what the server relays. */
  readonly selection: readonly string[];
  /** The revision that is on the screen; null where it was not said. */
  readonly rev: number | null;
}

const SELECTION_MAX = 16;
/** So often the others are told which revision this page has come to. */
const REV_MS = 500;

interface People {
  readonly me: Me;
  readonly setMe: (me: Me) => void;
  readonly presence: Presence<unknown> | undefined;
  /** Says where this person is. */
  readonly point: (cursor: Place | null, selection: readonly string[]) => void;
}

const PeopleContext = createContext<People | null>(null);

export function PeopleProvider({ children }: { children: ReactNode }) {
  const db = useDatabase();
  // Who works offline is not seen either.
  const isOffline = useSyncExternalStore(
    useCallback((changed) => db.onStatus(changed), [db]),
    () => db.status.state === 'offline',
  );
  const mayJoin = isLetIn(useAccess()) && !isOffline;
  const [me, setMe] = useState(readMe);
  const [presence, setPresence] = useState<Presence<unknown>>();
  const said = useRef<Person>(undefined);
  const say = useCallback((presence: Presence<unknown> | undefined, news: Partial<Person>) => {
    if (!presence || !said.current) return;
    said.current = { ...said.current, ...news };
    presence.set(said.current);
  }, []);
  useEffect(() => {
    if (!mayJoin) return;
    let { rev } = db.status;
    said.current = { ...readMe(), cursor: null, selection: [], rev };
    const joined = joinPresence<unknown>(db, said.current);
    setPresence(joined);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const tell = () => {
      timer = undefined;
      say(joined, { rev });
    };
    const stop = db.onStatus((status) => {
      if (status.rev === rev) return;
      rev = status.rev;
      timer ??= setTimeout(tell, REV_MS);
    });
    return () => {
      clearTimeout(timer);
      stop();
      setPresence(undefined);
      joined.leave();
    };
  }, [db, mayJoin, say]);
  const people = useMemo<People>(
    () => ({
      me,
      setMe: (me) => {
        setMe(me);
        keepMe(me);
        say(presence, { ...me, cursor: null, selection: [] });
      },
      presence,
      point: (cursor, selection) => say(presence, { cursor, selection: selection.slice(0, SELECTION_MAX) }),
    }),
    [me, presence, say],
  );
  return <PeopleContext value={people}>{children}</PeopleContext>;
}

export function usePeople(): People {
  const people = useContext(PeopleContext);
  if (!people) throw new Error('usePeople is used outside of PeopleProvider');
  return people;
}

const NOBODY: ReadonlyMap<string, unknown> = new Map();
const never = () => () => {};

export function useOthers(): readonly (Person & { readonly id: string })[] {
  const { presence } = usePeople();
  const others = useSyncExternalStore(
    presence ? (listener) => presence.subscribe(listener) : never,
    () => presence?.others ?? NOBODY,
  );
  return useMemo(
    () =>
      [...others].flatMap(([id, said]) => {
        const person = personOf(said);
        return person ? { ...person, id } : [];
      }),
    [others],
  );
}

function personOf(said: unknown): Person | undefined {
  const me = meOf(said);
  if (!me) return undefined;
  const { cursor, selection, rev } = said as { cursor?: Partial<Place> | null; selection?: unknown; rev?: unknown };
  const isPlace = Number.isFinite(cursor?.x) && Number.isFinite(cursor?.y);
  const ids = Array.isArray(selection) ? selection.filter((id) => typeof id === 'string') : [];
  return {
    ...me,
    cursor: isPlace ? (cursor as Place) : null,
    selection: ids.slice(0, SELECTION_MAX),
    rev: Number.isSafeInteger(rev) ? (rev as number) : null,
  };
}
