/** Blobs on this device: a database of their own for each user, in which every write is on disk before it counts. */

import type { Problem } from '../errors.js';
import { blobsName, done, openDatabase, within, write } from '../storage.js';

/** Bytes of each part of a blob but its last, here and on the way to the server. */
export const CHUNK_BYTES = 1024 * 1024;
const STORES = ['entry', 'content', 'row'];

/** Begins with the space and the hash. */
type Key = readonly [space: string, hash: string];

export interface Entry {
  readonly bytes: number;
  readonly type: string;
  /** `waiting`: this device has to send it. `parked`: it was refused. `uploaded`: the server has it, and it may go from here. */
  readonly state: 'waiting' | 'parked' | 'uploaded';
  readonly problem?: Problem;
  /** When it was put here, and last used, in ms since 1970. */
  readonly at: number;
  readonly usedAt: number;
}

/** A row that is to be made once the server has the blob. */
export interface RowToMake {
  readonly table: string;
  readonly row: { readonly id: string; readonly [column: string]: unknown };
  /** Why the engine refused it. */
  readonly problem?: Problem;
}

export interface Held {
  readonly entries: ReadonlyMap<string, Entry>;
  readonly rows: readonly (RowToMake & { readonly hash: string })[];
}

/** What the upload and the tabs need of a store. */
export interface Store {
  held(): Promise<Held>;
  /** Keeps a blob to be sent, with its row. On disk when it resolves. */
  add(hash: string, type: string, content: ArrayBuffer, row?: RowToMake): Promise<void>;
  /** Keeps what the server has, in place of what is damaged here. */
  cache(hash: string, type: string, content: ArrayBuffer): Promise<void>;
  /** As the disk has it: whether it is what its name says is for the reader to see. */
  content(hash: string): Promise<{ type: string; parts: ArrayBuffer[] } | undefined>;
  chunk(hash: string, index: number): Promise<ArrayBuffer | undefined>;
  settle(hash: string, state: Entry['state'], problem?: Problem): Promise<void>;
  settleRow(hash: string, id: string, problem?: Problem): Promise<void>;
  /** Tries again what was refused. */
  retry(hash: string): Promise<void>;
  /** Gives up the rows of a blob, and the blob itself unless the server has it. */
  discard(hash: string): Promise<void>;
  /** Blobs that the server has go, the longest unused first, until there are at most so many bytes of them. */
  evict(keepBytes: number): Promise<void>;
  close(): void;
}

export class BlobStore implements Store {
  readonly #name: string;
  readonly #space: string;
  #opening: Promise<IDBDatabase> | undefined;

  constructor(prefix: string, space: string) {
    this.#name = blobsName(prefix);
    this.#space = space;
  }

  async held(): Promise<Held> {
    return await this.#read(async (tx) => {
      const [entry, row, here] = [tx.objectStore('entry'), tx.objectStore('row'), within(this.#space)];
      const all = [
        done(entry.getAllKeys(here)),
        done(entry.getAll(here)),
        done(row.getAllKeys(here)),
        done(row.getAll(here)),
      ];
      const [hashes, entries, names, rows] = (await Promise.all(all)) as [Key[], Entry[], Key[], RowToMake[]];
      return {
        entries: new Map(hashes.map(([, hash], i) => [hash, entries[i] as Entry])),
        rows: names.map(([, hash], i) => ({ ...(rows[i] as RowToMake), hash })),
      };
    });
  }

  async add(hash: string, type: string, content: ArrayBuffer, row?: RowToMake): Promise<void> {
    await this.#write(async (tx) => {
      const entries = tx.objectStore('entry');
      const known = (await done(entries.get([this.#space, hash]))) as Entry | undefined;
      // Also of what is known: what the disk has of it may be damaged.
      this.#putContent(tx, hash, content);
      // Of what was uploaded before, the server is asked whether it is still there before a row says so.
      const isSettled = known?.state === 'uploaded' && !row;
      const now = Date.now();
      const entry: Entry = { bytes: content.byteLength, type, state: 'waiting', at: known?.at ?? now, usedAt: now };
      entries.put(isSettled ? { ...known, usedAt: now } : entry, [this.#space, hash]);
      if (row) tx.objectStore('row').put(row, [this.#space, hash, row.row.id]);
    });
  }

  async cache(hash: string, type: string, content: ArrayBuffer): Promise<void> {
    await this.#write(async (tx) => {
      const entries = tx.objectStore('entry');
      const known = await done(entries.get([this.#space, hash]));
      const [bytes, now] = [content.byteLength, Date.now()];
      if (!known) entries.put({ bytes, type, state: 'uploaded', at: now, usedAt: now }, [this.#space, hash]);
      this.#putContent(tx, hash, content);
    });
  }

  async content(hash: string): Promise<{ type: string; parts: ArrayBuffer[] } | undefined> {
    const found = await this.#read(async (tx) => {
      const entry = done(tx.objectStore('entry').get([this.#space, hash])) as Promise<Entry | undefined>;
      const parts = done(tx.objectStore('content').getAll(within(this.#space, hash))) as Promise<ArrayBuffer[]>;
      return { entry: await entry, parts: await parts };
    });
    const { entry, parts } = found;
    if (!entry) return undefined;
    await this.#change(hash, (now) => ({ ...now, usedAt: Date.now() })).catch(() => {}); // It can be read all the same.
    return { type: entry.type, parts };
  }

  async chunk(hash: string, index: number): Promise<ArrayBuffer | undefined> {
    return await this.#read((tx) => done(tx.objectStore('content').get([this.#space, hash, index])));
  }

  settle(hash: string, state: Entry['state'], problem?: Problem): Promise<void> {
    return this.#change(hash, ({ problem: _, ...entry }) => ({ ...entry, state, ...(problem && { problem }) }));
  }

  async settleRow(hash: string, id: string, problem?: Problem): Promise<void> {
    await this.#write(async (tx) => {
      const [rows, key] = [tx.objectStore('row'), [this.#space, hash, id]];
      const row = (await done(rows.get(key))) as RowToMake | undefined;
      if (problem && row) rows.put({ ...row, problem }, key);
      else rows.delete(key);
    });
  }

  async retry(hash: string): Promise<void> {
    await this.settle(hash, 'waiting');
    const { rows } = await this.held();
    await this.#write((tx) => {
      for (const { hash: of, problem: _, ...row } of rows.filter((one) => one.hash === hash)) {
        tx.objectStore('row').put(row, [this.#space, of, row.row.id]);
      }
    });
  }

  async discard(hash: string): Promise<void> {
    await this.#write(async (tx) => {
      tx.objectStore('row').delete(within(this.#space, hash));
      const entry = (await done(tx.objectStore('entry').get([this.#space, hash]))) as Entry | undefined;
      if (entry?.state !== 'uploaded') this.#remove(tx, this.#space, hash);
    });
  }

  async evict(keepBytes: number): Promise<void> {
    await this.#write(async (tx) => {
      const [entries, rows] = [tx.objectStore('entry'), tx.objectStore('row')];
      const [keys, values] = await Promise.all([done(entries.getAllKeys()), done(entries.getAll())]);
      const wanted = new Set(
        ((await done(rows.getAllKeys())) as unknown as Key[]).map(([space, hash]) => `${space} ${hash}`),
      );
      const all = (keys as unknown as Key[]).map((key, i) => ({ key, entry: values[i] as Entry }));
      const mayGo = all.filter(({ key, entry }) => entry.state === 'uploaded' && !wanted.has(key.join(' ')));
      let bytes = mayGo.reduce((sum, { entry }) => sum + entry.bytes, 0);
      for (const { key, entry } of mayGo.sort((a, b) => a.entry.usedAt - b.entry.usedAt)) {
        if (bytes <= keepBytes) break;
        this.#remove(tx, key[0], key[1]);
        bytes -= entry.bytes;
      }
    });
  }

  close(): void {
    this.#opening?.then((database) => database.close()).catch(() => {});
    this.#opening = undefined;
  }

  #putContent(tx: IDBTransaction, hash: string, content: ArrayBuffer): void {
    for (let index = 0; index * CHUNK_BYTES < content.byteLength; index++) {
      const part = content.slice(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES);
      tx.objectStore('content').put(part, [this.#space, hash, index]);
    }
  }

  #remove(tx: IDBTransaction, space: string, hash: string): void {
    tx.objectStore('entry').delete([space, hash]);
    tx.objectStore('content').delete(within(space, hash));
  }

  async #change(hash: string, change: (entry: Entry) => Entry): Promise<void> {
    await this.#write(async (tx) => {
      const entries = tx.objectStore('entry');
      const entry = (await done(entries.get([this.#space, hash]))) as Entry | undefined;
      if (entry) entries.put(change(entry), [this.#space, hash]);
    });
  }

  #read<T>(work: (tx: IDBTransaction) => Promise<T>): Promise<T> {
    return this.#using((database) => work(database.transaction(STORES)));
  }

  #write(work: (tx: IDBTransaction) => Promise<void> | void): Promise<void> {
    return this.#using((database) => write(database, work));
  }

  /** Opens the database again where it was closed under the page, or deleted. */
  async #using<T>(use: (database: IDBDatabase) => Promise<T>): Promise<T> {
    try {
      return await use(await this.#open());
    } catch (error) {
      if (!(error instanceof DOMException && error.name === 'InvalidStateError')) throw error;
      this.#opening = undefined;
      return await use(await this.#open());
    }
  }

  #open(): Promise<IDBDatabase> {
    this.#opening ??= (openDatabase(this.#name, STORES) as Promise<IDBDatabase>).catch((error) => {
      this.#opening = undefined;
      throw error;
    });
    return this.#opening;
  }
}
