/** Asks before the page is closed while it holds what this device could not save, or what somebody typed and was refused. */

import { useEffect, useSyncExternalStore } from 'react';
import { unsaved } from '../canvas/unsaved.js';
import { itemsOf } from '../edits.js';
import { useFiles } from '../images/files.js';
import { useStatusPart } from '../panel/use-sync.js';
import { useDatabase } from '../space.js';
import { troubleOf } from './trouble.js';

export function useLeaving(): void {
  const db = useDatabase();
  const files = useFiles();
  const isAdding = useSyncExternalStore(files.subscribe, () => files.isAdding);
  const isUnsaved = useStatusPart(
    (status) => troubleOf(status)?.isUrgent === true && status.queued + status.in_flight > 0,
  );
  const isRefused = useSyncExternalStore(unsaved.subscribe, () => unsaved.size > 0);
  const mayLose = isUnsaved || isAdding;
  useEffect(() => {
    if (!mayLose && !isRefused) return;
    const ask = (event: BeforeUnloadEvent) => {
      // A text whose item has gone nobody can come back to, unless that is undone.
      if (mayLose || itemsOf(db, unsaved.keys()).length > 0) event.preventDefault();
    };
    addEventListener('beforeunload', ask);
    return () => removeEventListener('beforeunload', ask);
  }, [db, mayLose, isRefused]);
}
