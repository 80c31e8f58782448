/**
 * Who else is in a space, and where: `driftline/presence`.
 *
 * What people say of themselves (a name, a cursor, a selection) goes from page to page, is stored nowhere, and is gone with whoever said it.
 */

import type { Db } from './db.js';
import { DriftlineError } from './index.js';
import { type AnyDb, Connection } from './presence/connection.js';
import { add, notify, type Unsubscribe } from './rows.js';

export interface Presence<P> {
  /**
   * What each of the others says, by the name of their connection. The same map until one of them says something else, comes or goes; empty
   * while there is no connection.
   */
  readonly others: ReadonlyMap<string, P>;
  /**
   * Says something else of oneself: anything that JSON can hold, up to 1,024 bytes; `null` to be unseen. Others hear of the latest, at most
   * every 50 ms. It is said again after each interruption.
   */
  readonly set: (state: P | null) => void;
  /** Calls the listener when `others` is another map. */
  readonly subscribe: (listener: () => void) => Unsubscribe;
  /**
   * Told once for each: `presence_too_large` (what was said before stands), `presence_full`, `forbidden`, `rate_limited`. All but the first
   * are tried again.
   */
  readonly onError: (listener: (error: DriftlineError) => void) => Unsubscribe;
  /** Leaves for good. So does closing the space. */
  readonly leave: () => void;
}

const LONGEST_BYTES = 1_024;
const SAY_EVERY_MS = 50;
const UNSEEN = 'null';
const NOBODY: ReadonlyMap<string, never> = new Map<string, never>();

/** Enters a space, and says `initial`. While `setOnline(false)` holds, nobody is heard or told anything. */
// biome-ignore lint/suspicious/noExplicitAny: which tables a space has makes no difference here
export function joinPresence<P>(db: Db<any>, initial: P | null = null): Presence<P> {
  return new Visit<P>(db, initial);
}

class Visit<P> implements Presence<P> {
  others: ReadonlyMap<string, P> = NOBODY;
  readonly #connection: Connection;
  readonly #listeners = new Set<(value: undefined) => void>();
  readonly #errorListeners = new Set<(error: DriftlineError) => void>();
  /** As JSON: what is to be said, and what this connection has said. A new one is unseen. */
  #state = UNSEEN;
  #said = UNSEEN;
  #saidAt = Number.NEGATIVE_INFINITY;
  #next: ReturnType<typeof setTimeout> | undefined;

  constructor(db: AnyDb, initial: P | null) {
    this.#connection = new Connection(db, {
      opened: () => this.#speak(),
      heard: (said) => this.#hear(said),
      lost: () => this.#lose(),
      failed: (error) => this.#fail(error),
    });
    this.set(initial);
  }

  readonly set = (state: P | null): void => {
    const text = JSON.stringify(state) ?? UNSEEN;
    const bytes = new TextEncoder().encode(text).length;
    if (bytes > LONGEST_BYTES) {
      const detail = `What is said of oneself has at most ${LONGEST_BYTES} bytes as JSON, and this has ${bytes}.`;
      this.#fail(new DriftlineError({ code: 'presence_too_large', detail }));
      return;
    }
    this.#state = text;
    this.#speak();
  };

  readonly subscribe = (listener: () => void): Unsubscribe => add(this.#listeners, listener);

  readonly onError = (listener: (error: DriftlineError) => void): Unsubscribe => add(this.#errorListeners, listener);

  readonly leave = (): void => this.#connection.close();

  /** Says the latest, now or as soon as it may be said. */
  #speak(): void {
    if (this.#next || !this.#connection.isOpen || this.#state === this.#said) return;
    const wait = Math.max(this.#connection.pauseMs, this.#saidAt + SAY_EVERY_MS - performance.now());
    if (wait > 0) {
      this.#next = setTimeout(() => {
        this.#next = undefined;
        this.#speak();
      }, wait);
      return;
    }
    this.#said = this.#state;
    this.#saidAt = performance.now();
    this.#connection.say(this.#said);
  }

  #hear(said: Readonly<Record<string, unknown>>): void {
    const others = new Map(this.others);
    for (const [name, state] of Object.entries(said)) {
      if (state === null) others.delete(name);
      else others.set(name, state as P);
    }
    this.#show(others);
  }

  #lose(): void {
    clearTimeout(this.#next);
    this.#next = undefined;
    this.#said = UNSEEN;
    if (this.others.size > 0) this.#show(NOBODY);
  }

  /** Not at once: whoever has just joined is still to say that they listen. */
  #fail(error: DriftlineError): void {
    queueMicrotask(() => notify(this.#errorListeners, error));
  }

  #show(others: ReadonlyMap<string, P>): void {
    this.others = others;
    notify(this.#listeners, undefined);
  }
}
