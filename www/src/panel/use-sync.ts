/** The status and the outbox, as state of the page. */

import type { OutboxEntry } from 'driftline';
import { useEffect, useRef, useState, useSyncExternalStore } from 'react';
import { type SyncStatus, useFiles } from '../images/files.js';
import type { Database } from '../space.js';
import { isHandOn } from '../states/hands.js';

/** The outbox of a long flight is big: it is read only while it is shown, and the more waits, the less often. */
const READ_INTERVAL_MS = 250;
const READ_INTERVAL_MS_PER_ENTRY = 0.1;

/** Of the space and its files together. */
export function useStatus(): SyncStatus {
  const files = useFiles();
  return useSyncExternalStore(files.subscribe, () => files.status);
}

/** One word of it. Whoever needs no more is not drawn anew with every edit. */
export function useStatusPart<T extends string | number | boolean>(pick: (status: SyncStatus) => T): T {
  const files = useFiles();
  return useSyncExternalStore(files.subscribe, () => pick(files.status));
}

const NONE: readonly OutboxEntry[] = [];

export function useOutbox(db: Database): readonly OutboxEntry[] {
  const isOver = useStatusPart(({ queued, in_flight, parked }) => queued + in_flight + parked === 0);
  const [entries, setEntries] = useState<OutboxEntry[]>(() => db.outbox());
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let count = 0;
    const read = () => {
      timer = undefined;
      const entries = db.outbox();
      count = entries.length;
      setEntries((before) => (before.length + entries.length === 0 ? before : entries));
    };
    const soon = () => {
      // The first that waits is not kept from anybody, unless a hand needs the frame.
      const isFirst = count === 0 && !isHandOn();
      timer ??= setTimeout(read, isFirst ? 0 : READ_INTERVAL_MS + count * READ_INTERVAL_MS_PER_ENTRY);
    };
    const stops = [db.onStatus(soon), db.subscribe(soon)];
    soon();
    return () => {
      clearTimeout(timer);
      for (const stop of stops) stop();
    };
  }, [db]);
  // Nothing is shown to wait beside a status that says that nothing does.
  const gone = useRef<readonly OutboxEntry[]>(NONE);
  if (isOver) gone.current = entries;
  return entries === gone.current ? NONE : entries;
}
