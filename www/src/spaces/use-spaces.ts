/** The spaces that this device holds, for everybody whose pass it has. */

import { deleteSpace, evictSpaces, listSpaces, type Owner, type SpaceInfo } from 'driftline';
import { useCallback, useEffect, useState } from 'react';
import { schema } from '../schema.js';
import { knownUsers, userOf } from '../share/pass.js';
import { useDatabase } from '../space.js';
import { forgetLook } from '../states/look.js';

export interface Held extends SpaceInfo {
  /** Whose; `undefined`: of whoever came without a pass. */
  readonly user: string | undefined;
}

export const ownerOf = (user: string | undefined): Owner => ({ app: schema.name, ...(user !== undefined && { user }) });

/** Whether it is this user's pass that opens the space here. */
export const canOpen = ({ name, user }: Held) => userOf(name) === user;

async function listAll(): Promise<Held[]> {
  const lists = [undefined, ...knownUsers()].map(async (user) => {
    const spaces = await listSpaces(ownerOf(user));
    return spaces.map((space): Held => ({ ...space, user }));
  });
  return (await Promise.all(lists)).flat().sort((a, b) => b.openedAt - a.openedAt);
}

export function useSpaces(): [spaces: readonly Held[], read: () => void] {
  const db = useDatabase();
  const [spaces, setSpaces] = useState<readonly Held[]>([]);
  const read = useCallback(() => {
    // The list is a convenience: where it cannot be read, the canvas is there all the same.
    listAll().then(setSpaces, () => {});
  }, []);
  useEffect(() => {
    read();
    // Now the space that is being opened is among them.
    db.loaded.then(read);
  }, [db, read]);
  return [spaces, read];
}

/** From this device alone. With `discard`, also what is not on the server. */
export async function removeSpace({ name, user }: Held, discard: boolean): Promise<void> {
  await deleteSpace(name, { ...ownerOf(user), discard });
  forgetLook(name);
}

/** Leaves the spaces opened last, and whatever has unsent work or is open. Returns how many went. */
export async function evictAllBut(keepSpaces: number): Promise<number> {
  const users = [undefined, ...knownUsers()];
  const gone = (await Promise.all(users.map((user) => evictSpaces({ ...ownerOf(user), keepSpaces })))).flat();
  for (const name of gone) forgetLook(name);
  return gone.length;
}
