/** Whether the canvas holds anything, and whether that is known already. */

import type { Status } from 'driftline';
import { useStatus } from 'driftline/react';
import { useCallback, useEffect, useState, useSyncExternalStore } from 'react';
import { type Database, useDatabase } from '../space.js';

/** While this device has not been read: it will not be soon. */
export const isUnreadable = ({ reason }: Status) => reason?.startsWith('storage_') === true;

export const hasRows = (db: Database) => db.tables.card.size + db.tables.box.size > 0;

/**
 * `reading`: what this device holds is being read. `unreadable`: the browser does not let the page read it, for now. `fetching`: this device holds nothing, and the server has not said yet what the space
 * holds. `empty`: there is nothing, as far as can be known.
 */
export type Contents = 'reading' | 'unreadable' | 'fetching' | 'empty' | 'some';

export function useContents(): Contents {
  const db = useDatabase();
  const status = useStatus(db);
  const [isLoaded, setIsLoaded] = useState(false);
  useEffect(() => {
    let isWanted = true;
    db.loaded.then(() => isWanted && setIsLoaded(true));
    return () => {
      isWanted = false;
    };
  }, [db]);
  const subscribe = useCallback((changed: () => void) => db.subscribe(changed), [db]);
  const isSome = useSyncExternalStore(subscribe, () => hasRows(db));
  if (isSome) return 'some';
  if (!isLoaded) return isUnreadable(status) ? 'unreadable' : 'reading';
  const isAsking = status.state === 'saving' && status.queued + status.in_flight === 0;
  return isAsking ? 'fetching' : 'empty';
}
