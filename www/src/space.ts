/** Which space is open: the page's address names it, so that a canvas can be linked to. */

import { type Db, open } from 'driftline';
import { createContext, useContext } from 'react';
import { type CanvasSchema, schema } from './schema.js';
import { tokenOf, userOf } from './share/pass.js';

export type Database = Db<CanvasSchema>;

const DEFAULT_SPACE = 'welcome';
const SPACE_NAME = /^[A-Za-z0-9_.-]{1,64}$/;

const parameters = new URLSearchParams(location.search);

export const isDebug = parameters.get('debug') === '1';
/** Whether what the engine is told is kept, to be taken along from the inspector. */
export const isTraced = parameters.get('trace') === '1';

export function isSpaceName(name: string): boolean {
  return SPACE_NAME.test(name);
}

export function currentSpace(): string {
  const name = parameters.get('space') ?? '';
  return isSpaceName(name) ? name : DEFAULT_SPACE;
}

/** Never with a token: what is in the fragment stays behind. */
export function addressOf(space: string): string {
  const address = new URL(location.href);
  address.searchParams.set('space', space);
  address.searchParams.delete('trace');
  address.hash = '';
  return address.href;
}

/** As whom a space is opened here: with a pass as the user that it names. */
export function optionsOf(space: string) {
  const user = userOf(space);
  const token = () => tokenOf(space);
  return { schema, space, url: '', token, ...(user !== undefined && { user }) };
}

let pass: string | null = null;

/** The pass with which this page has opened its space. Another tab may have been given another one since. */
export const openedWith = () => pass;

export async function openSpace(space: string): Promise<Database> {
  pass = tokenOf(space);
  return await open({ ...optionsOf(space), trace: isTraced });
}

const DatabaseContext = createContext<Database | null>(null);
export const DatabaseProvider = DatabaseContext.Provider;

export function useDatabase(): Database {
  const db = useContext(DatabaseContext);
  if (!db) throw new Error('useDatabase is used outside of DatabaseProvider');
  return db;
}
