/** The files of the space, opened beside it, and what the space and its files say together. */

import type { Status } from 'driftline';
import { type BlobStatus, type Blobs, openBlobs, type ParkedBlob } from 'driftline/blobs';
import { createContext, useContext } from 'react';
import type { CanvasSchema } from '../schema.js';
import { type Database, optionsOf } from '../space.js';
import { isHandOn } from '../states/hands.js';
import { cardsOf, type Described, withoutPicture } from './described.js';
import { Pictures } from './pictures.js';
import { FILE_BYTES_MAX, sizeOf } from './reading.js';

/** The state and the reason are those of the space and its files together; the counts are those of its changes. */
export interface SyncStatus extends Status {
  /** The person has switched sending off. */
  readonly isSwitchedOff: boolean;
  readonly files: BlobStatus;
}

const NO_FILES: BlobStatus = { state: 'saved', reason: null, waiting: 0, bytes: 0, parked: 0 };

/** What a hand writes on its way is mostly sent by then, and nothing has to be drawn. */
const CALM_MS = 250;

export class Files {
  readonly space: string;
  readonly pictures = new Pictures(
    async (hash) => (await this.open()).url(hash),
    (hash) => this.#blobs?.revoke(hash),
  );
  readonly #db: Database;
  readonly #requireEdit: () => void;
  readonly #listeners = new Set<() => void>();
  #opening: Promise<Blobs<CanvasSchema>> | undefined;
  #blobs: Blobs<CanvasSchema> | undefined;
  #isOnline = true;
  #calm: ReturnType<typeof setTimeout> | undefined;
  #adding = 0;
  #told: { from: readonly unknown[]; status: SyncStatus } | undefined;

  /** `requireEdit` throws where the person may not change the canvas. */
  constructor(db: Database, space: string, requireEdit: () => void) {
    this.#db = db;
    this.space = space;
    this.#requireEdit = requireEdit;
    let wasConnected = false;
    db.onStatus(({ state }) => {
      const isConnected = state === 'saved' || state === 'saving';
      if (isConnected && !wasConnected) this.pictures.again();
      wasConnected = isConnected;
      this.#tell();
    });
    db.tables.image.subscribe(() => this.pictures.again());
    // Without them the canvas is there all the same: whoever needs them next tries again, and is told why not.
    this.open().catch(() => {});
  }

  /** Opened when first needed, and again where that has failed. */
  open(): Promise<Blobs<CanvasSchema>> {
    this.#opening ??= this.#open().catch((error) => {
      this.#opening = undefined;
      throw error;
    });
    return this.#opening;
  }

  get status(): SyncStatus {
    const [own, files] = [this.#db.status, this.#blobs?.status ?? NO_FILES];
    const from = [own, files, this.#isOnline];
    if (!this.#told?.from.every((part, index) => part === from[index])) {
      const status = { ...own, ...this.#blobs?.together, files, isSwitchedOff: !this.#isOnline };
      this.#told = { from, status };
    }
    return this.#told.status;
  }

  /** Of what is being added nothing is on disk yet. */
  get isAdding(): boolean {
    return this.#adding > 0;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  /** Keeps a picture on this device, to be sent. Its id is that of its row, which is made once the server has it. */
  async put(file: Blob): Promise<{ id: string; described: Described }> {
    this.#requireEdit();
    this.#adding += 1;
    this.#tell();
    try {
      const { width, height } = await sizeOf(file);
      const blobs = await this.open();
      const row = { table: 'image', row: (stored: object) => ({ ...stored, width, height }) as never } as const;
      const { id, hash, bytes, type } = await blobs.put(file, row);
      return { id, described: { hash, bytes, type, width, height } };
    } finally {
      this.#adding -= 1;
      this.#tell();
    }
  }

  parked(): ParkedBlob[] {
    return this.#blobs?.parked() ?? [];
  }

  async retry(hash: string): Promise<void> {
    await (await this.open()).retry(hash);
  }

  /** Gives up a picture that the server does not have. Its cards stay with their words, and wait for it no longer. */
  async discard(hash: string): Promise<void> {
    const { tables } = this.#db;
    const waiting = cardsOf(this.#db, hash).filter(({ image }) => !tables.image.get(image ?? ''));
    for (const { id, text, file, extra } of waiting) {
      const patch = { image: null, kind: 'text', text: text || (file ?? ''), extra: withoutPicture(extra) };
      await this.#db.transaction((tx) => tx.card.update(id, patch), { undo: false }).saved;
    }
    await (await this.open()).discard(hash);
  }

  setOnline(online: boolean): void {
    this.#isOnline = online;
    this.#db.setOnline(online);
    this.#blobs?.setOnline(online);
    this.#tell();
  }

  async #open(): Promise<Blobs<CanvasSchema>> {
    const blobs = await openBlobs(this.#db, { ...optionsOf(this.space), maxBytes: FILE_BYTES_MAX });
    if (!this.#isOnline) blobs.setOnline(false);
    this.#blobs = blobs;
    blobs.onStatus(() => this.#tell());
    this.#tell();
    return blobs;
  }

  #tell(): void {
    if (isHandOn()) this.#calm ??= setTimeout(() => this.#tellNow(), CALM_MS);
    else this.#tellNow();
  }

  #tellNow(): void {
    clearTimeout(this.#calm);
    this.#calm = undefined;
    for (const listener of this.#listeners) listener();
  }
}

const FilesContext = createContext<Files | null>(null);
export const FilesProvider = FilesContext.Provider;

export function useFiles(): Files {
  const files = useContext(FilesContext);
  if (!files) throw new Error('useFiles is used outside of FilesProvider');
  return files;
}
