/** The spaces that this device holds for a user: all of it works offline, and without opening one. */

import type { Entry } from './blobs/store.js';
import { DriftlineError } from './errors.js';
import {
  ANONYMOUS,
  baseName,
  blobsName,
  databaseNames,
  deleteDatabase,
  done,
  eachOutbox,
  hold,
  type Owner,
  openDatabase,
  openSpaces,
  prefixOf,
  type Release,
  spaceLock,
  userLock,
  within,
  write,
} from './storage.js';
import { writeFile } from './transfer.js';

export interface SpaceInfo {
  readonly name: string;
  /** When it was last opened here, in ms since 1970. */
  readonly openedAt: number;
  /** The revision held here; null while no server has told what the space holds, as of one that was made offline. */
  readonly rev: number | null;
  /** About what its rows and files take here. */
  readonly bytes: number;
  /** Transactions on this disk that the server has not accepted, and files that it does not have or whose rows are still to be made. */
  readonly unsynced: number;
  /** Whether a page has it open. */
  readonly isOpen: boolean;
}

export interface Budget {
  /** At most so many spaces stay. */
  readonly keepSpaces?: number;
  /** At most about so many bytes of rows and files stay. */
  readonly keepBytes?: number;
}

/** What is known of a space while it is being looked at. */
interface Found {
  openedAt: number;
  rev: number | null;
  bytes: number;
  receipts: object;
  sent: number;
  /** Keys whose effect is in the base, though their records may still be there. */
  answered: Set<string>;
  /** By key. */
  records: Map<string, string>;
  /** Hashes of files that have not arrived, or whose rows are still to be made. */
  files: Set<string>;
}

interface Look {
  readonly slots: number;
  readonly spaces: Map<string, Found>;
}

type Part = string | number;

/** What this device holds for a user, the last opened first. */
export async function listSpaces(owner: Owner): Promise<SpaceInfo[]> {
  const prefix = prefixOf(owner);
  const [{ spaces }, open] = await Promise.all([look(prefix), openSpaces(prefix)]);
  const list = [...spaces].map(([name, found]) => {
    const { openedAt, rev, bytes } = found;
    return { name, openedAt, rev, bytes, unsynced: waitingIn(found), isOpen: open.has(name) };
  });
  return list.sort((a, b) => b.openedAt - a.openedAt);
}

/**
 * Deletes a space from this device: what the server has stays there, and comes back when the space is opened. Refused while a page
 * has it open, and while it has unsynced work that `discard` does not give up.
 */
export async function deleteSpace(space: string, options: Owner & { readonly discard?: boolean }): Promise<void> {
  const prefix = prefixOf(options);
  await alone(spaceLock(prefix, space), [space], async () => {
    const { slots, spaces } = await look(prefix);
    const found = spaces.get(space);
    if (!found) return;
    if (waitingIn(found) > 0 && !options.discard) throw unsynced([[space, found]]);
    await remove(prefix, slots, space, found);
  });
}

/**
 * Deletes from this device what goes beyond a budget, the longest unopened first; never a space with unsynced work, nor one that a
 * page has open. Returns their names.
 */
export async function evictSpaces(options: Owner & Budget): Promise<string[]> {
  const { keepSpaces = Number.POSITIVE_INFINITY, keepBytes = Number.POSITIVE_INFINITY } = options;
  const list = await listSpaces(options);
  let bytes = list.reduce((sum, space) => sum + space.bytes, 0);
  const evicted: string[] = [];
  for (const space of [...list].reverse()) {
    if (list.length - evicted.length <= keepSpaces && bytes <= keepBytes) break;
    if (!(await evict(space.name, options))) continue;
    bytes -= space.bytes;
    evicted.push(space.name);
  }
  return evicted;
}

/** Whether it could go: it may have been opened, or edited, since it was looked at. */
async function evict(space: string, owner: Owner): Promise<boolean> {
  try {
    await deleteSpace(space, owner);
    return true;
  } catch (error) {
    if (error instanceof DriftlineError && (error.code === 'space_open' || error.code === 'unsynced')) return false;
    throw error;
  }
}

export interface SignOutOptions extends Owner {
  /**
   * What becomes of unsynced work. `keep`: it stays on this device, for this user alone. `export`: the same, and it is returned as
   * files. `discard`: it is given up.
   */
  readonly unsynced?: 'keep' | 'export' | 'discard';
}

export interface SignedOut {
  /** With `export`: the text of a file for each space with unsynced work. */
  readonly files: readonly { readonly space: string; readonly text: string }[];
}

/**
 * Removes from this device what it holds for a user. Refused while a page has a space of theirs open; and where there is unsynced
 * work, until the app says what shall become of it. Then nothing has changed.
 */
export async function signOut(options: SignOutOptions): Promise<SignedOut> {
  const prefix = prefixOf(options);
  return await alone(userLock(prefix), [...(await openSpaces(prefix))], async () => {
    const { slots, spaces } = await look(prefix);
    const waiting = [...spaces].filter(([, found]) => waitingIn(found) > 0);
    if (waiting.length > 0 && !options.unsynced) throw unsynced(waiting);
    if (waiting.length === 0 || options.unsynced === 'discard') {
      for (const name of databaseNames(prefix, slots)) await deleteDatabase(name);
      return { files: [] };
    }
    const { app, user = ANONYMOUS } = options;
    const edited = waiting.filter(([, { records }]) => records.size > 0);
    const files = edited.map(async ([space, { records }]) => {
      return { space, text: await writeFile({ app, user, space, records: [...records.values()] }) };
    });
    const written = options.unsynced === 'export' ? await Promise.all(files) : [];
    for (const [space, found] of spaces) {
      if (waitingIn(found) === 0) await remove(prefix, slots, space, found);
    }
    return { files: written };
  });
}

/** Does something while no page has what the lock stands for open, nor can open it. */
async function alone<T>(lock: string, names: readonly string[], work: () => Promise<T>): Promise<T> {
  const release: Release | undefined = await hold(lock, { ifAvailable: true });
  if (!release) {
    const detail = `A page has ${names.join(', ') || 'a space'} open: close it first.`;
    throw new DriftlineError({ code: 'space_open', detail });
  }
  try {
    return await work();
  } finally {
    release();
  }
}

const waitingIn = ({ records, files }: Found) => records.size + files.size;

function unsynced(waiting: readonly (readonly [space: string, found: Found])[]): DriftlineError {
  const counts = waiting.map(([space, found]) => `${space} (${waitingIn(found)})`).join(', ');
  const detail = `The server has not accepted all: ${counts}. Send it, export it, or give it up.`;
  return new DriftlineError({ code: 'unsynced', detail });
}

/** All that the disk holds. */
async function look(prefix: string): Promise<Look> {
  const spaces = new Map<string, Found>();
  const base = await openDatabase(baseName(prefix));
  const slots = base ? await lookAtBase(base, spaces).finally(() => base.close()) : 0;
  await eachOutbox(prefix, slots, async (outbox) => {
    const store = outbox.transaction('txn').objectStore('txn');
    const [keys, records] = await Promise.all([done(store.getAllKeys()), done(store.getAll())]);
    for (const [index, key] of keys.entries()) {
      const [space, client, seq] = key as [string, string, number];
      const found = foundIn(spaces, space);
      if (!found.answered.has(`${client}:${seq}`)) found.records.set(`${client}:${seq}`, String(records[index]));
    }
  });
  await lookAtFiles(prefix, spaces);
  return { slots, spaces };
}

async function lookAtFiles(prefix: string, spaces: Map<string, Found>): Promise<void> {
  const database = await openDatabase(blobsName(prefix));
  if (!database) return;
  const tx = database.transaction(['entry', 'row']);
  const [entry, row] = [tx.objectStore('entry'), tx.objectStore('row')];
  const all = [done(entry.getAllKeys()), done(entry.getAll()), done(row.getAllKeys())];
  const found = await Promise.all(all as Promise<unknown>[]).finally(() => database.close());
  const [keys, entries, rows] = found as [string[][], Entry[], string[][]];
  for (const [index, [space, hash]] of keys.entries()) {
    const found = foundIn(spaces, space as string);
    const { bytes, state } = entries[index] as Entry;
    found.bytes += bytes;
    if (state !== 'uploaded') found.files.add(hash as string);
  }
  for (const [space, hash] of rows) foundIn(spaces, space as string).files.add(hash as string);
}

function foundIn(spaces: Map<string, Found>, space: string): Found {
  const found = spaces.get(space) ?? nothing();
  spaces.set(space, found);
  return found;
}

/** Returns the number of slots ever used. */
async function lookAtBase(base: IDBDatabase, spaces: Map<string, Found>): Promise<number> {
  const store = base.transaction('meta').objectStore('meta');
  const [keys, values] = await Promise.all([done(store.getAllKeys()), done(store.getAll())]);
  const meta = new Map((keys as Part[][]).map((key, index) => [key.join('\n'), values[index]]));
  for (const [space, what] of keys as Part[][]) {
    if (what !== 'opened') continue;
    const { rev = null, receipts = {}, sent = 0, answered = [] } = JSON.parse(meta.get(`${space}\nmeta`) ?? '{}');
    const [openedAt, bytes = 0] = ['opened', 'bytes'].map((name) => meta.get(`${space}\n${name}`));
    const known = { openedAt, rev, bytes, receipts, sent };
    const found = { ...nothing(), ...known, answered: new Set<string>(answered) };
    spaces.set(String(space), found);
  }
  return meta.get('slots') ?? 0;
}

function nothing(): Found {
  return {
    openedAt: 0,
    rev: null,
    bytes: 0,
    receipts: {},
    sent: 0,
    answered: new Set(),
    records: new Map(),
    files: new Set(),
  };
}

/**
 * Takes a space from every database. What stays is a few bytes that keep a key from being used twice: the highest numbers, the
 * epoch, and the receipts.
 */
async function remove(prefix: string, slots: number, space: string, { receipts, sent }: Found): Promise<void> {
  await eachOutbox(prefix, slots, (outbox) =>
    write(outbox, async (tx) => {
      const [txn, meta] = [tx.objectStore('txn'), tx.objectStore('meta')];
      for (const key of await done(txn.getAllKeys(within(space)))) {
        const [, client, seq] = key as [string, string, number];
        const high = (await done(meta.get(['high', space, client]))) ?? 0;
        meta.put(Math.max(high, seq), ['high', space, client]);
      }
      txn.delete(within(space));
    }),
  );
  const blobs = await openDatabase(blobsName(prefix));
  const drop = (tx: IDBTransaction) => {
    for (const name of tx.objectStoreNames) tx.objectStore(name).delete(within(space));
  };
  if (blobs) await write(blobs, drop).finally(() => blobs.close());
  const base = await openDatabase(baseName(prefix));
  if (!base) return;
  const forget = (tx: IDBTransaction) => {
    const meta = tx.objectStore('meta');
    for (const name of ['base', 'tail']) tx.objectStore(name).delete(within(space));
    for (const name of ['opened', 'bytes']) meta.delete([space, name]);
    meta.put(JSON.stringify({ receipts, sent }), [space, 'meta']);
  };
  await write(base, forget).finally(() => base.close());
}
