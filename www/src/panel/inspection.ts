/** The inspector of the open space. Once looked at it goes on, shown or not: what it has seen stays, and so does what it simulates. */

import type { Inspection } from 'driftline/devtools';
import { useSyncExternalStore } from 'react';
import type { Database } from '../space.js';

let begun: { readonly db: Database; readonly inspection: Inspection } | undefined;
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
  return inspection;
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
