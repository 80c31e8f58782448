/** The spaces that this device holds, for everybody whose pass it has. */

import { deleteSpace, evictSpaces, listSpaces, type Owner, type SpaceInfo } from 'driftline';
import { useCallback, useEffect, useState } from 'react';
import { forgetOffline } from '../panel/offline.js';
import { schema } from '../schema.js';
import { forgetPass, knownUsers, userOf } from '../share/pass.js';
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

export interface Spaces {
  readonly list: readonly Held[];
  /** `unreadable`: the browser does not let them be read. */
  readonly state: 'reading' | 'read' | 'unreadable';
}

export function useSpaces(): [spaces: Spaces, read: () => void] {
  const db = useDatabase();
  const [spaces, setSpaces] = useState<Spaces>({ list: [], state: 'reading' });
  const read = useCallback(() => {
    // The list is a convenience: where it cannot be read, the canvas is there all the same.
    listAll().then(
      (list) => setSpaces({ list, state: 'read' }),
      () => setSpaces({ list: [], state: 'unreadable' }),
    );
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
  // Of somebody else the space stays, with what is kept for it.
  if (userOf(name) !== user) return;
  forgetLook(name);
  forgetOffline(name);
  // What opens it goes too: somebody else may sit here next.
  forgetPass(name);
}

/** How many edits in a space wait on this device for the link of somebody who was here before. */
export async function waitingFor(former: string | null, space: string): Promise<number> {
  const spaces = await listSpaces(ownerOf(former ?? undefined));
  return spaces.find(({ name }) => name === space)?.unsynced ?? 0;
}

/** Leaves the spaces opened last, and whatever has unsent work or is open. Returns how many went. */
export async function evictAllBut(keepSpaces: number): Promise<number> {
  const users = [undefined, ...knownUsers()];
  const gone = (await Promise.all(users.map((user) => evictSpaces({ ...ownerOf(user), keepSpaces })))).flat();
  for (const name of gone) {
    forgetLook(name);
    forgetOffline(name);
  }
  return gone.length;
}
