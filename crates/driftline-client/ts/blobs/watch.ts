/** What every tab knows of the blobs of a space: read from the disk whenever one says that it has changed. */

import { add, notify, type Unsubscribe } from '../rows.js';
import { type BlobStatus, NOTHING_HELD, statusOf } from './status.js';
import type { Held, Store } from './store.js';

interface Message {
  readonly changed?: true;
  /** From a tab that was just opened. */
  readonly ask?: true;
  /** From the tab that sends. */
  readonly trouble?: string | null;
}

export class Watch {
  held: Held = NOTHING_HELD;
  status = statusOf(NOTHING_HELD, null);
  readonly #store: Pick<Store, 'held'>;
  readonly #tabs: BroadcastChannel;
  /** Some tab has changed what is on disk. */
  readonly #hasChanged: () => void;
  readonly #listeners = new Set<(status: BlobStatus) => void>();
  #waiting: (() => void)[] = [];
  #trouble: string | null = null;
  #reading: Promise<void> | undefined;
  #isStale = false;
  #isClosed = false;

  constructor(store: Pick<Store, 'held'>, channel: string, hasChanged: () => void) {
    this.#store = store;
    this.#hasChanged = hasChanged;
    this.#tabs = new BroadcastChannel(channel);
    this.#tabs.onmessage = ({ data }) => this.#hear(data);
    this.#tabs.postMessage({ ask: true });
  }

  onStatus(listener: (status: BlobStatus) => void): Unsubscribe {
    return add(this.#listeners, listener);
  }

  /** The disk holds something else than before. */
  changed(): void {
    this.#say({ changed: true });
  }

  /** Why nothing can be sent, or that it can. */
  trouble(code: string | null): void {
    if (code !== this.#trouble) this.#say({ trouble: code });
  }

  /** Resolves when something may be another than now. */
  next(): Promise<void> {
    return new Promise((wake) => this.#waiting.push(wake));
  }

  /** Reads what is held, once for all who ask meanwhile. */
  async refresh(): Promise<void> {
    this.#isStale = true;
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    await this.#reading;
  }

  close(): void {
    this.#isClosed = true;
    this.#tabs.close();
    this.#wake();
  }

  #say(message: Message): void {
    if (this.#isClosed) return;
    this.#tabs.postMessage(message);
    this.#hear(message);
  }

  #hear({ changed, ask, trouble }: Message): void {
    if (ask && this.#trouble) this.#tabs.postMessage({ trouble: this.#trouble });
    if (trouble !== undefined) {
      this.#trouble = trouble;
      this.#show();
    }
    if (!changed) return;
    this.#hasChanged();
    this.refresh().catch(() => {}); // Whoever asks next is told.
  }

  async #read(): Promise<void> {
    while (this.#isStale && !this.#isClosed) {
      this.#isStale = false;
      this.held = await this.#store.held();
      this.#show();
    }
  }

  #show(): void {
    const status = statusOf(this.held, this.#trouble);
    const isAnother = JSON.stringify(status) !== JSON.stringify(this.status);
    this.status = status;
    if (isAnother) notify(this.#listeners, status);
    this.#wake();
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}
