/** Taking files from this device, and what must not be done with them. */

import { DriftlineError } from '../errors.js';
import type { SchemaInput } from '../schema.js';
import { blobsName, done, hold, type Owner, openDatabase, prefixOf, within, write } from '../storage.js';
import type { Entry } from './store.js';

/** A page holds it while it has the files of a space open. */
export const openLock = (prefix: string, space: string) => `${prefix}blobs/${space}/open`;

export interface RemoveOptions extends Owner {
  /** One space; all of the user's if left out. */
  readonly space?: string;
  /** Also gives up what the server does not have. */
  readonly discard?: boolean;
}

/**
 * Removes files from this device, as when a space is deleted here or the user signs out: what the server has stays there. Refused, with
 * nothing changed, while a page has them open (`space_open`), and where some have not arrived that `discard` does not give up (`unsynced`).
 */
export async function removeBlobs(options: RemoveOptions): Promise<void> {
  const prefix = prefixOf(options);
  const database = await openDatabase(blobsName(prefix));
  if (!database) return;
  try {
    const names = options.space === undefined ? await spacesOf(database) : [options.space];
    await alone(
      names.map((space) => openLock(prefix, space)),
      () => write(database, (tx) => remove(tx, names, options.discard ?? false)),
    );
  } finally {
    database.close();
  }
}

async function spacesOf(database: IDBDatabase): Promise<string[]> {
  const keys = (await done(database.transaction('entry').objectStore('entry').getAllKeys())) as [string, string][];
  return [...new Set(keys.map(([space]) => space))];
}

async function remove(tx: IDBTransaction, names: readonly string[], discard: boolean): Promise<void> {
  for (const space of names) {
    const entries = (await done(tx.objectStore('entry').getAll(within(space)))) as Entry[];
    const rows = await done(tx.objectStore('row').count(within(space)));
    const waiting = entries.filter(({ state }) => state !== 'uploaded').length;
    if ((waiting > 0 || rows > 0) && !discard) {
      tx.abort();
      const detail = `${Math.max(waiting, rows)} files of the space “${space}” have not arrived at the server: send them first, or discard them.`;
      throw new DriftlineError({ code: 'unsynced', detail });
    }
    for (const store of ['entry', 'content', 'row']) tx.objectStore(store).delete(within(space));
  }
}

async function alone(locks: readonly string[], work: () => Promise<void>): Promise<void> {
  const held = await Promise.all(locks.map((lock) => hold(lock, { ifAvailable: true })));
  try {
    if (held.includes(undefined)) {
      throw new DriftlineError({ code: 'space_open', detail: 'A page has files of this user open: close it first.' });
    }
    await work();
  } finally {
    for (const release of held) release?.();
  }
}

/**
 * A row that may do without its reference, in a table whose `edits_to_deleted` is `null`, is not held back for it: it would be sent
 * before the file, and lose it.
 */
export function refuseLoose(schema: SchemaInput, table: string): void {
  for (const [name, { edits_to_deleted, references = {} }] of Object.entries(schema.tables)) {
    if (edits_to_deleted !== 'null') continue;
    for (const [column, reference] of Object.entries(references)) {
      if ('weak' in reference || !reference.nullable || !reference.to.includes(table)) continue;
      const detail = `\`${name}.${column}\` would become null while the file is on its way: make it required, or \`${name}.edits_to_deleted\` another.`;
      throw new DriftlineError({ code: 'loose_reference', detail });
    }
  }
}
