/** Who may only read learns it before an edit is made in vain: it is refused here, and nothing of it waits. */

import { DriftlineError } from 'driftline';
import { SENTENCES } from '../panel/codes.js';
import type { Database } from '../space.js';
import { type AccessStore, canEdit } from './access.js';

const METHODS = ['transaction', 'undo', 'redo', 'importUnsynced'] as const;
const TABLE_METHODS = ['create', 'update', 'delete'] as const;

/** Throws where this person may not change the canvas. */
export function requireEdit(access: AccessStore): void {
  if (canEdit(access.told)) return;
  const code = access.told?.role === 'none' ? 'no_access' : 'read_only';
  throw new DriftlineError({ code, detail: SENTENCES[code] ?? '' });
}

export function guardEdits(db: Database, access: AccessStore): void {
  const guard = <T extends object>(object: T, name: keyof T) => {
    const method = object[name] as (...args: unknown[]) => unknown;
    const guarded = (...args: unknown[]) => {
      requireEdit(access);
      return method.apply(object, args);
    };
    Object.defineProperty(object, name, { value: guarded });
  };
  for (const name of METHODS) guard(db, name);
  for (const table of Object.values(db.tables)) for (const name of TABLE_METHODS) guard(table, name);
}
