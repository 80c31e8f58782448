/** Which space is open: the page's address names it, so that a canvas can be linked to. */

import { type Db, listSpaces, open, type SpaceInfo } from 'driftline';
import { createContext, useCallback, useContext, useEffect, useState } from 'react';
import { type CanvasSchema, schema } from './schema.js';

export type Database = Db<CanvasSchema>;

const DEFAULT_SPACE = 'welcome';
const SPACE_NAME = /^[A-Za-z0-9_.-]{1,64}$/;

/** Whose spaces `openSpace` opens. */
export const owner = { app: schema.name };

const parameters = new URLSearchParams(location.search);

export const isDebug = parameters.get('debug') === '1';

export function isSpaceName(name: string): boolean {
  return SPACE_NAME.test(name);
}

export function currentSpace(): string {
  const name = parameters.get('space') ?? '';
  return isSpaceName(name) ? name : DEFAULT_SPACE;
}

export function addressOf(space: string): string {
  const address = new URL(location.href);
  address.searchParams.set('space', space);
  return address.href;
}

export async function openSpace(space: string): Promise<Database> {
  return await open({ schema, space, url: '' });
}

/** What this device holds, and what reads it again. */
export function useSpaces(): [spaces: readonly SpaceInfo[], read: () => void] {
  const db = useDatabase();
  const [spaces, setSpaces] = useState<readonly SpaceInfo[]>([]);
  const read = useCallback(() => {
    // The list is a convenience: where it cannot be read, the canvas is there all the same.
    listSpaces(owner).then(setSpaces, () => {});
  }, []);
  useEffect(() => {
    read();
    // Now the space that is being opened is among them.
    db.loaded.then(read);
  }, [db, read]);
  return [spaces, read];
}

const DatabaseContext = createContext<Database | null>(null);
export const DatabaseProvider = DatabaseContext.Provider;

export function useDatabase(): Database {
  const db = useContext(DatabaseContext);
  if (!db) throw new Error('useDatabase is used outside of DatabaseProvider');
  return db;
}
