/**
 * Files such as images: `driftline/blobs`.
 *
 * A file is named by the SHA-256 of its bytes, kept on this device, and sent to the server by an outbox of its own: in parts, from where it
 * stood, whatever was killed. A row that tells of it is made once the server has it; what refers to that row waits for it, and
 * all else flows.
 */

import { openLock, type RemoveOptions, refuseLoose, removeBlobs as remove } from './blobs/remove.js';
import { BlobServer, safeType, sha256 } from './blobs/server.js';
import { type BlobStatus, type ParkedBlob, parkedOf, together } from './blobs/status.js';
import { BlobStore, type RowToMake } from './blobs/store.js';
import { Uploads } from './blobs/uploads.js';
import { Watch } from './blobs/watch.js';
import type { Db } from './db.js';
import type { Transaction } from './edits.js';
import { DriftlineError, newId, type OpenOptions } from './index.js';
import type { Unsubscribe } from './rows.js';
import type { NewRow, SchemaInput, TableName } from './schema.js';
import type { Status } from './status.js';
import { ANONYMOUS, hold, holdOpen, prefixOf, type Release } from './storage.js';

export type { BlobStatus, ParkedBlob, RemoveOptions };

const MIB = 1024 * 1024;

/** As given to `open`, and how much may be kept. */
export interface BlobsOptions<S extends SchemaInput> extends Omit<OpenOptions<S>, 'wasm'> {
  /** Bytes of files, of all spaces of this user, that stay here though the server has them: 256 MiB if left out. What waits always stays. */
  readonly keepBytes?: number;
  /** A larger file is refused: 32 MiB if left out, which is what a server takes. */
  readonly maxBytes?: number;
}

export interface Stored {
  /** SHA-256 of the bytes: 64 hex digits. */
  readonly hash: string;
  readonly bytes: number;
  /** `image/png`, `image/jpeg`, `image/gif`, `image/webp` or `image/avif`; of anything else `application/octet-stream`. */
  readonly type: string;
}

/** The row that tells of a file. */
export interface RowOf<S extends SchemaInput, T extends TableName<S>> {
  readonly table: T;
  readonly row: (file: Stored) => NewRow<S, T>;
}

export class Blobs<S extends SchemaInput> {
  readonly #db: Db<S>;
  readonly #options: BlobsOptions<S>;
  readonly #store: BlobStore;
  readonly #server: BlobServer;
  readonly #uploads: Uploads;
  readonly #watch: Watch;
  readonly #closing = new AbortController();
  readonly #urls = new Map<string, Promise<string>>();
  readonly #release: Release;

  private constructor(db: Db<S>, options: BlobsOptions<S>, prefix: string, release: Release) {
    const { url, space, token, user } = options;
    const until = this.#closing.signal;
    this.#db = db;
    this.#options = options;
    this.#release = release;
    this.#store = new BlobStore(prefix, space);
    this.#watch = new Watch(this.#store, `${prefix}blobs/${space}`, () => this.#uploads.wake());
    this.#server = new BlobServer({ url, space, ...(token && { token }), ...(user && { user }) }, until);
    this.#uploads = new Uploads({
      store: this.#store,
      server: this.#server,
      make: (row) => this.#make(row),
      changed: () => void this.#evict().then(() => this.#watch.changed()),
      trouble: (code) => this.#watch.trouble(code),
      until,
    });
    globalThis.addEventListener?.('online', this.#hurry);
    // Held by one tab as long as it lives.
    const run = () => this.#uploads.run();
    navigator.locks.request(`${prefix}blobs/${space}/send`, { signal: until }, run).catch(() => {});
  }

  /** @internal For `openBlobs()`. */
  static async open<S extends SchemaInput>(db: Db<S>, options: BlobsOptions<S>): Promise<Blobs<S>> {
    const { space, app = options.schema.name, user = ANONYMOUS } = options;
    const prefix = prefixOf({ app, user });
    const release = await holdBoth(prefix, space);
    const blobs = new Blobs(db, options, prefix, release);
    try {
      await blobs.#watch.refresh();
    } catch (error) {
      blobs.close();
      throw error;
    }
    return blobs;
  }

  /**
   * Keeps a file. It is on disk, strictly, when this resolves, and is sent by itself. With a row, that row is made once the server has the
   * file; its id is known now, and what refers to it can be made at once.
   */
  put(file: Blob): Promise<Stored>;
  put<T extends TableName<S>>(file: Blob, rowOf: RowOf<S, T>): Promise<Stored & { readonly id: string }>;
  put<T extends TableName<S>>(file: Blob, rowOf?: RowOf<S, T>): Promise<Stored & { readonly id?: string }> {
    return coded(this.#put(file, rowOf));
  }

  /**
   * An object URL of a file, from this device or else from the server. It holds until `revoke` or `close()`. Rejects with `unreachable`, `not_found`, or
   * what else the server says; asked again, it tries again.
   */
  url(hash: string): Promise<string> {
    const known = this.#urls.get(hash);
    if (known) return known;
    const loading = coded(this.#load(hash));
    this.#urls.set(hash, loading);
    loading.catch(() => this.#urls.delete(hash));
    return loading;
  }

  /** Lets the bytes behind an address of `url` go, which the browser holds in memory. The next `url` gives another. */
  revoke(hash: string): void {
    const known = this.#urls.get(hash);
    this.#urls.delete(hash);
    known?.then((text) => URL.revokeObjectURL(text)).catch(() => {});
  }

  /** Resolves once the server has the file; rejects with its problem where it is parked, and with `discarded` or `closed`. */
  uploaded(hash: string): Promise<void> {
    return coded(this.#uploaded(hash));
  }

  get status(): BlobStatus {
    return this.#watch.status;
  }

  onStatus(listener: (status: BlobStatus) => void): Unsubscribe {
    return this.#watch.onStatus(listener);
  }

  /**
   * What to show a person of the space and its files together. The space alone says `not_saving` with the reason `waiting` while all that it
   * has to send refers to files that are under way.
   */
  get together(): Pick<Status, 'state' | 'reason'> {
    return together(this.#db.status, this.#watch.status, this.#watch.held, () => this.#db.outbox());
  }

  parked(): ParkedBlob[] {
    return parkedOf(this.#watch.held);
  }

  /** Sends again what was refused. */
  async retry(hash: string): Promise<void> {
    await this.#decide(this.#store.retry(hash));
    this.#uploads.hurry();
  }

  /** Gives up a file that the server does not have, and the rows that wait for it. What refers to these rows waits until it is discarded. */
  discard(hash: string): Promise<void> {
    return this.#decide(this.#store.discard(hash));
  }

  /** The app's own switch, as that of the space: while it is off nothing is sent. Each tab has its own. */
  setOnline(online: boolean): void {
    this.#uploads.setOnline(online);
  }

  /** Ends what is under way, and revokes all URLs. What waits is kept and sent when it is opened again. */
  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    globalThis.removeEventListener?.('online', this.#hurry);
    this.#watch.close();
    this.#store.close();
    for (const hash of [...this.#urls.keys()]) this.revoke(hash);
    this.#release();
  }

  readonly #hurry = () => this.#uploads.hurry();

  #requireOpen(): void {
    if (!this.#closing.signal.aborted) return;
    const detail = 'The files of the space were closed: open them again to go on.';
    throw new DriftlineError({ code: 'closed', detail });
  }

  async #put<T extends TableName<S>>(file: Blob, rowOf?: RowOf<S, T>): Promise<Stored & { readonly id?: string }> {
    this.#requireOpen();
    if (rowOf) refuseLoose(this.#options.schema, rowOf.table);
    const { maxBytes = 32 * MIB } = this.#options;
    const refuse = (code: string, detail: string) => new DriftlineError({ code, detail });
    if (file.size === 0) throw refuse('blob_empty', 'The file has no bytes.');
    if (file.size > maxBytes) throw refuse('blob_too_large', `The file has ${file.size} bytes of at most ${maxBytes}.`);
    const content = await file.arrayBuffer();
    const stored = { hash: await sha256(content), bytes: content.byteLength, type: safeType(file.type) };
    const toMake = rowOf && { table: rowOf.table as string, row: { id: newId(), ...(rowOf.row(stored) as object) } };
    await this.#decide(this.#store.add(stored.hash, stored.type, content, toMake));
    if (this.status.state === 'offline') navigator.storage?.persist?.().catch(() => {});
    return toMake ? { ...stored, id: toMake.row.id } : stored;
  }

  /** Every tab looks again once this is on disk. */
  async #decide(written: Promise<void>): Promise<void> {
    await coded(written);
    this.#watch.changed();
    await coded(this.#watch.refresh());
  }

  async #load(hash: string): Promise<string> {
    this.#requireOpen();
    const here = await this.#store.content(hash).catch(() => undefined);
    const isDamaged = here && (await sha256(await new Blob(here.parts).arrayBuffer())) !== hash;
    const { type, parts } = here && !isDamaged ? here : await this.#download(hash).catch(isDamaged ? lost : undefined);
    this.#requireOpen();
    return URL.createObjectURL(new Blob(parts, { type: safeType(type) }));
  }

  async #download(hash: string): Promise<{ type: string; parts: ArrayBuffer[] }> {
    const { type, content } = await this.#server.download(hash);
    const kept = this.#store.cache(hash, type, content).then(() => this.#evict());
    await kept.catch(() => {}); // What cannot be kept is shown all the same.
    return { type, parts: [content] };
  }

  #evict(): Promise<void> {
    const { keepBytes = 256 * MIB } = this.#options;
    return this.#store.evict(keepBytes).catch(() => {});
  }

  async #uploaded(hash: string): Promise<void> {
    for (;;) {
      this.#requireOpen();
      await this.#watch.refresh();
      const next = this.#watch.next();
      const entry = this.#watch.held.entries.get(hash);
      if (!entry) throw new DriftlineError({ code: 'discarded', detail: 'This device does not hold the file.' });
      if (entry.state === 'uploaded') return;
      if (entry.problem) throw new DriftlineError(entry.problem);
      await next;
    }
  }

  /** By a restore, which does nothing where the row is there: an earlier attempt may have made it and died before it said so. */
  async #make({ table, row }: RowToMake): Promise<void> {
    await this.#db.loaded;
    if (this.#db.tables[table as TableName<S>].get(row.id)) return;
    const restore = (tx: Transaction<S>) => tx[table as TableName<S>].restore(row as never);
    const change = this.#db.transaction(restore, { undo: false });
    await change.saved;
  }
}

/** Keeps others from removing the files, and from deleting the space with them. */
async function holdBoth(prefix: string, space: string): Promise<Release> {
  const held = [await holdOpen(prefix, space), await hold(openLock(prefix, space), { mode: 'shared' })];
  return () => {
    for (const release of held) release?.();
  };
}

/** Opens the files of a space beside it, with the options that the space was opened with. Close it before the space. */
export function openBlobs<S extends SchemaInput>(db: Db<S>, options: BlobsOptions<S>): Promise<Blobs<S>> {
  return coded(Blobs.open(db, options));
}

/**
 * Removes files from this device, as when a space is deleted here or the user signs out: what the server has stays there. Refused, with
 * nothing changed, while a page has them open (`space_open`), and where some have not arrived that `discard` does not give up (`unsynced`).
 */
export function removeBlobs(options: RemoveOptions): Promise<void> {
  return coded(remove(options));
}

/** Nobody has what is damaged here. */
function lost(error: unknown): never {
  if ((error as { code?: unknown }).code !== 'not_found') throw error;
  const detail = 'What this device has of the file is damaged, and the server does not have it: put it again.';
  throw new DriftlineError({ code: 'blob_lost', detail });
}

/** Errors of this entry are of the same class as those of the package, of which a bundle may have its own. */
async function coded<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (thrown) {
    if (!(thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string')) throw thrown;
    throw new DriftlineError({ code: thrown.code, detail: thrown.message });
  }
}
