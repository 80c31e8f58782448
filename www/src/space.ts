/** Which space is open: the page's address names it, so that a canvas can be linked to. */

import { type Db, open } from 'driftline';
import { createContext, useContext } from 'react';
import { type CanvasSchema, schema } from './schema.js';

export type Database = Db<CanvasSchema>;

const DEFAULT_SPACE = 'welcome';
const RECENT_KEY = 'driftline-recent-spaces';
const RECENT_MAX = 12;
const SPACE_NAME = /^[A-Za-z0-9_.-]{1,64}$/;

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

export function recentSpaces(): string[] {
  try {
    const names = JSON.parse(localStorage.getItem(RECENT_KEY) ?? '[]');
    return Array.isArray(names) ? names.filter((name) => typeof name === 'string') : [];
  } catch {
    return [];
  }
}

export async function openSpace(space: string): Promise<Database> {
  const db = await open({ schema, space, url: '' });
  try {
    const names = [space, ...recentSpaces().filter((name) => name !== space)];
    localStorage.setItem(RECENT_KEY, JSON.stringify(names.slice(0, RECENT_MAX)));
  } catch {
    // The list is a convenience: where there is no room for it, the canvas opens all the same.
  }
  return db;
}

const DatabaseContext = createContext<Database | null>(null);
export const DatabaseProvider = DatabaseContext.Provider;

export function useDatabase(): Database {
  const db = useContext(DatabaseContext);
  if (!db) throw new Error('useDatabase is used outside of DatabaseProvider');
  return db;
}
