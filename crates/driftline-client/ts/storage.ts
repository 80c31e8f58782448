/** Where a user's spaces are kept in this browser: names of databases and locks, and small ways into IndexedDB. */

import { DriftlineError } from './errors.js';

/** Whose spaces, of which app. */
export interface Owner {
  /** As in `open`: the schema's name if that said nothing else. */
  readonly app: string;
  /** As in `open`. */
  readonly user?: string;
}

export const ANONYMOUS = 'anonymous';
/** The slot of what was imported. */
const IMPORTED = 256;
const STORES = ['txn', 'meta'];

/** What the names of a user's databases, locks and channels begin with. Encoded, so that no two users have names in common. */
export function prefixOf({ app, user = ANONYMOUS }: Owner): string {
  return `driftline/${encodeURIComponent(app)}/${encodeURIComponent(user)}/`;
}

export const baseName = (prefix: string) => `${prefix}base`;
export const blobsName = (prefix: string) => `${prefix}blobs`;
const outboxName = (prefix: string, slot: number) => `${prefix}outbox/${slot}`;

// ---- Locks ----

export type Release = () => void;

/** A page holds the first while it has any space of a user open, and the second for each of them. */
export const userLock = (prefix: string) => `${prefix}user`;
export const spaceLock = (prefix: string, space: string) => `${prefix}open/${space}`;

/** Takes a lock. `undefined` where others hold it and `ifAvailable` is set. */
export function hold(name: string, options: LockOptions): Promise<Release | undefined> {
  if (!navigator.locks) {
    const detail = 'tabs cannot agree without Web Locks, which browsers give to https and localhost alone';
    return Promise.reject(new DriftlineError({ code: 'locks_missing', detail }));
  }
  return new Promise((taken, failed) => {
    const granted = (lock: Lock | null) => {
      if (lock) return new Promise<void>((release) => taken(release));
      taken(undefined);
      return undefined;
    };
    navigator.locks.request(name, options, granted).catch(failed);
  });
}

/** Keeps others from deleting a space for as long as a page has it open. */
export async function holdOpen(prefix: string, space: string): Promise<Release> {
  const user = await hold(userLock(prefix), { mode: 'shared' });
  const held = await hold(spaceLock(prefix, space), { mode: 'shared' });
  return () => {
    held?.();
    user?.();
  };
}

/** The spaces of a user that pages have open. */
export async function openSpaces(prefix: string): Promise<Set<string>> {
  const { held = [] } = await navigator.locks.query();
  const start = spaceLock(prefix, '');
  const names = held.flatMap(({ name }) => (name?.startsWith(start) ? [name.slice(start.length)] : []));
  return new Set(names);
}

// ---- Databases ----

/** Opens a database that is there. One that is not is made with `stores`; `undefined` without. */
export function openDatabase(name: string, stores?: readonly string[]): Promise<IDBDatabase | undefined> {
  return new Promise((opened, failed) => {
    const request = indexedDB.open(name);
    request.onupgradeneeded = () => {
      for (const store of stores ?? []) request.result.createObjectStore(store);
      if (!stores) request.transaction?.abort();
    };
    request.onsuccess = () => {
      const database = request.result;
      database.onversionchange = () => database.close();
      opened(database);
    };
    request.onerror = () =>
      stores || request.error?.name !== 'AbortError' ? failed(storageError(request.error)) : opened(undefined);
  });
}

export function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, failed) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => failed(storageError(request.error));
  });
}

/** Runs `work` in one strict transaction, and waits until that is on disk. */
export async function write(database: IDBDatabase, work: (tx: IDBTransaction) => Promise<void> | void): Promise<void> {
  const tx = database.transaction([...database.objectStoreNames], 'readwrite', { durability: 'strict' });
  const finished = new Promise<void>((resolve, failed) => {
    tx.oncomplete = () => resolve();
    tx.onabort = () => failed(storageError(tx.error));
  });
  finished.catch(() => {});
  await work(tx);
  await finished;
}

export function deleteDatabase(name: string): Promise<unknown> {
  return done(indexedDB.deleteDatabase(name));
}

/** All keys that begin with these parts. */
export function within(...parts: readonly (string | number)[]): IDBKeyRange {
  return IDBKeyRange.bound(parts, [...parts, []]);
}

/** The outboxes that are there, with `slots` as the base counts them. They are closed when `look` is done. */
export async function eachOutbox(prefix: string, slots: number, look: (database: IDBDatabase) => Promise<void>) {
  for (const slot of [...Array(slots).keys(), IMPORTED]) {
    const database = await openDatabase(outboxName(prefix, slot));
    if (!database) continue;
    await look(database).finally(() => database.close());
  }
}

/** Every database of a user. */
export function databaseNames(prefix: string, slots: number): string[] {
  return [
    baseName(prefix),
    blobsName(prefix),
    ...[...Array(slots).keys(), IMPORTED].map((slot) => outboxName(prefix, slot)),
  ];
}

/** What the engine makes of a file's records: what is to be written, and told to every tab. */
export interface Admitted {
  readonly puts: readonly [key: string, record: string][];
  readonly message: string;
  readonly known: number;
  readonly unreadable: number;
}

/**
 * Writes what `admit` lets through into the slot of what is imported, strictly, and then tells every tab. No tab takes the slot over
 * meanwhile.
 */
export async function importRecords(
  prefix: string,
  space: string,
  admit: () => Admitted,
  imported: (message: string) => void,
): Promise<Admitted> {
  const release = await hold(`${prefix}slot/${space}/${IMPORTED}`, {});
  try {
    const admitted = admit();
    const { puts, message, known } = admitted;
    if (puts.length === 0 && known === 0) return admitted;
    if (puts.length > 0) await writeImported(prefix, space, puts);
    // Also of what is known here already: a page may have died before it told the one that sends.
    imported(message);
    const channel = new BroadcastChannel(`${prefix}tabs/${space}`);
    channel.postMessage([IMPORTED, message]);
    channel.close();
    return admitted;
  } finally {
    release?.();
  }
}

async function writeImported(prefix: string, space: string, puts: Admitted['puts']): Promise<void> {
  const database = (await openDatabase(outboxName(prefix, IMPORTED), STORES)) as IDBDatabase;
  const put = (tx: IDBTransaction) => {
    for (const [key, record] of puts) {
      const [client = '', seq] = key.split(':');
      tx.objectStore('txn').put(record, [space, client, Number(seq)]);
    }
  };
  await write(database, put).finally(() => database.close());
}

function storageError(error: DOMException | null): DriftlineError {
  const code = error?.name === 'QuotaExceededError' ? 'storage_full' : 'storage_failed';
  return new DriftlineError({ code, detail: error?.message || 'This browser could not use its storage.' });
}
