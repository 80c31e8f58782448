/** The promises of transactions: `saved` (on this device's disk) and `accepted` (by the server), settled by key. */

import type { DriftlineError } from './errors.js';

/** What a transaction returns. The local view shows it already. */
export interface Change {
  /** Names the transaction. A retry gives it a new one, and this follows. */
  readonly key: string;
  /** Ids of the rows that it created, in order. */
  readonly ids: readonly string[];
  /**
   * Resolves once the transaction is on disk and survives a crash of the browser. What goes on changing while nothing can be sent, such
   * as a card that is dragged, is written at once when somebody asks for this, and else within 0.6 s.
   */
  readonly saved: Promise<void>;
  /** Resolves once the server applied it; rejects with a {@link DriftlineError} if it is parked or discarded. */
  readonly accepted: Promise<void>;
}

interface Pending {
  key: string;
  isSaved: boolean;
  saved: Deferred;
  accepted: Deferred;
}

class Deferred {
  readonly promise: Promise<void>;
  resolve!: () => void;
  reject!: (error: DriftlineError) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // Nobody has to listen: a refusal also shows in `parked()`, and must not end a process as an unhandled rejection.
    this.promise.catch(() => {});
  }
}

export class Changes {
  readonly #saveNow: () => void;
  // Folding gives several changes one key, so a key leads to all of them.
  readonly #byKey = new Map<string, Pending[]>();

  /** `saveNow` is called where somebody waits for the disk. */
  constructor(saveNow: () => void) {
    this.#saveNow = saveNow;
  }

  add(key: string, ids: readonly string[]): Change {
    const pending: Pending = { key, isSaved: false, saved: new Deferred(), accepted: new Deferred() };
    this.#put(key, [pending]);
    const saveNow = this.#saveNow;
    return {
      get key() {
        return pending.key;
      },
      ids,
      get saved() {
        if (!pending.isSaved) saveNow();
        return pending.saved.promise;
      },
      accepted: pending.accepted.promise,
    };
  }

  /** Resolves once what is known now is on disk, or given up. */
  async allSaved(): Promise<void> {
    const pending = [...this.#byKey.values()].flat();
    this.#saveNow();
    await Promise.allSettled(pending.map((one) => one.saved.promise));
  }

  saved(keys: readonly string[]): void {
    for (const key of keys) {
      for (const pending of this.#byKey.get(key) ?? []) {
        pending.isSaved = true;
        pending.saved.resolve();
      }
    }
  }

  accepted(keys: readonly string[]): void {
    for (const key of keys) {
      for (const pending of this.#take(key)) {
        pending.isSaved = true;
        pending.saved.resolve();
        pending.accepted.resolve();
      }
    }
  }

  /** The change stays known, because it can still be saved, retried under another key, or discarded. */
  parked(key: string, error: DriftlineError): void {
    for (const pending of this.#byKey.get(key) ?? []) pending.accepted.reject(error);
  }

  ended(key: string, error: DriftlineError): void {
    for (const pending of this.#take(key)) {
      pending.saved.reject(error);
      pending.accepted.reject(error);
    }
  }

  /** Ends those whose `saved` is pending. */
  endUnsaved(error: DriftlineError): void {
    for (const pending of [...this.#byKey.values()].flat()) {
      if (pending.isSaved) continue;
      pending.saved.reject(error);
      pending.accepted.reject(error);
    }
  }

  rekeyed(from: string, to: string): void {
    const moved = this.#take(from);
    for (const pending of moved) pending.key = to;
    this.#put(to, moved);
  }

  endAll(error: DriftlineError): void {
    for (const key of [...this.#byKey.keys()]) this.ended(key, error);
  }

  #put(key: string, pending: Pending[]): void {
    const known = this.#byKey.get(key);
    if (known) known.push(...pending);
    else if (pending.length > 0) this.#byKey.set(key, pending);
  }

  #take(key: string): Pending[] {
    const pending = this.#byKey.get(key) ?? [];
    this.#byKey.delete(key);
    return pending;
  }
}
