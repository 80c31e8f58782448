/** Whether the canvas holds anything, and whether that is known already. */

import { useStatus } from 'driftline/react';
import { useCallback, useEffect, useState, useSyncExternalStore } from 'react';
import { type Database, useDatabase } from '../space.js';

const hasRows = (db: Database) => db.tables.card.size + db.tables.box.size > 0;

/**
 * `reading`: what this device holds is being read. `fetching`: this device holds nothing, and the server has not said yet what the space
 * holds. `empty`: there is nothing, as far as can be known.
 */
export type Contents = 'reading' | 'fetching' | 'empty' | 'some';

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
  if (!isLoaded) return 'reading';
  const isAsking = status.state === 'saving' && status.queued + status.in_flight === 0;
  return isAsking ? 'fetching' : 'empty';
}
