/** The inspector of the open space. Once looked at it goes on, shown or not: what it has seen stays, and so does what it simulates. */

import type { Inspection, SeenBy } from 'driftline/devtools';
import { useEffect, useSyncExternalStore } from 'react';
import { nameOf } from '../people/me.js';
import type { Person } from '../people/people.js';
import type { Database } from '../space.js';

let begun: { readonly db: Database; readonly inspection: Inspection } | undefined;
let seenBy: readonly SeenBy[] = [];
const listeners = new Set<() => void>();

/** Loaded when it is looked at: nobody else needs it. Rejects where its file is not to be had. */
export async function inspectionOf(db: Database): Promise<Inspection> {
  const { inspect } = await import('driftline/devtools');
  if (begun?.db === db) return begun.inspection;
  begun?.inspection.stop();
  const inspection = inspect(db, { keepTrace });
  inspection.onSimulated(() => {
    for (const listener of listeners) listener();
  });
  begun = { db, inspection };
  inspection.seen(seenBy);
  return inspection;
}

/** The inspector tells whose screens have what was made here, whether it is looked at or not. */
export function useSeenByOthers(others: readonly Person[]): void {
  // Pointers move all the time; this changes with the revision alone.
  const text = JSON.stringify(others.flatMap((person) => (person.rev === null ? [] : [[nameOf(person), person.rev]])));
  useEffect(() => {
    seenBy = (JSON.parse(text) as [string, number][]).map(([name, rev]) => ({ name, rev }));
    begun?.inspection.seen(seenBy);
  }, [text]);
}

/** What is simulated, in a few words; empty where nothing is. */
export function useSimulated(): string {
  return useSyncExternalStore(subscribe, () => begun?.inspection.simulated ?? '');
}

export function stopSimulating(): void {
  begun?.inspection.stopSimulating();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

function keepTrace(): void {
  const address = new URL(location.href);
  address.searchParams.set('trace', '1');
  location.assign(address);
}
