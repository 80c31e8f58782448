/** Asks before the page is closed while it holds what this device could not save. */

import { useEffect } from 'react';
import { useStatus } from '../panel/use-sync.js';
import { useDatabase } from '../space.js';
import { troubleOf } from './trouble.js';

export function useLeaving(): void {
  const db = useDatabase();
  const status = useStatus(db);
  const mayLose = troubleOf(status)?.isUrgent === true && status.queued + status.in_flight > 0;
  useEffect(() => {
    if (!mayLose) return;
    const ask = (event: BeforeUnloadEvent) => event.preventDefault();
    addEventListener('beforeunload', ask);
    return () => removeEventListener('beforeunload', ask);
  }, [mayLose]);
}
