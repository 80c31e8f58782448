/** Asks before the page is closed while it holds what this device could not save. */

import { useEffect, useSyncExternalStore } from 'react';
import { useFiles } from '../images/files.js';
import { useStatusPart } from '../panel/use-sync.js';
import { troubleOf } from './trouble.js';

export function useLeaving(): void {
  const files = useFiles();
  const isAdding = useSyncExternalStore(files.subscribe, () => files.isAdding);
  const isUnsaved = useStatusPart(
    (status) => troubleOf(status)?.isUrgent === true && status.queued + status.in_flight > 0,
  );
  const mayLose = isUnsaved || isAdding;
  useEffect(() => {
    if (!mayLose) return;
    const ask = (event: BeforeUnloadEvent) => event.preventDefault();
    addEventListener('beforeunload', ask);
    return () => removeEventListener('beforeunload', ask);
  }, [mayLose]);
}
