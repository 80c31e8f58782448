/**
 * Who else is here. The one place that knows how: it has the shape of `driftline/presence`, and gives way to it.
 *
 * This stand-in opens a live connection for presence alone, says the latest of this page at most every 50 ms, and connects again
 * after a while when it is lost.
 */

import { tokenOf } from '../share/pass.js';
import { currentSpace, type Database } from '../space.js';

export interface Presence<P> {
  /** The same map until somebody has moved, come or gone. */
  readonly others: ReadonlyMap<string, P>;
  set(state: P | null): void;
  subscribe(listener: () => void): () => void;
  leave(): void;
}

const SAY_INTERVAL_MS = 50;
const RETRY_BASE_MS = 500;
const RETRY_CAP_MS = 30_000;
/** The server will not have this page: a token would have to be another first. */
const FINAL_CODES = new Set([4400, 4401, 4403, 4413]);

export function joinPresence<P>(_db: Database, initial: P | null = null): Presence<P> {
  return new Connection<P>(initial);
}

class Connection<P> implements Presence<P> {
  others: ReadonlyMap<string, P> = new Map();
  readonly #listeners = new Set<() => void>();
  #state: P | null;
  #socket: WebSocket | undefined;
  #saying: ReturnType<typeof setTimeout> | undefined;
  #retrying: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #hasLeft = false;

  constructor(state: P | null) {
    this.#state = state;
    this.#connect();
  }

  set(state: P | null): void {
    this.#state = state;
    this.#saying ??= setTimeout(() => {
      this.#saying = undefined;
      this.#say();
    }, SAY_INTERVAL_MS);
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  leave(): void {
    this.#hasLeft = true;
    clearTimeout(this.#saying);
    clearTimeout(this.#retrying);
    this.#socket?.close();
  }

  #connect(): void {
    const space = currentSpace();
    const socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}/v1/spaces/${space}/live`);
    this.#socket = socket;
    socket.onopen = () => {
      const token = tokenOf(space);
      socket.send(JSON.stringify({ presence: true, ...(token !== null && { token }) }));
      this.#say();
    };
    socket.onmessage = ({ data }) => {
      this.#failures = 0;
      const { presence } = JSON.parse(data);
      if (presence) this.#hear(presence);
    };
    socket.onclose = ({ code }) => {
      this.#tell(new Map());
      if (this.#hasLeft || FINAL_CODES.has(code)) return;
      const cap = Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** this.#failures++);
      this.#retrying = setTimeout(() => this.#connect(), Math.random() * cap);
    };
  }

  #say(): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ presence: this.#state }));
  }

  #hear(news: Record<string, P | null>): void {
    const others = new Map(this.others);
    for (const [name, state] of Object.entries(news)) {
      if (state === null) others.delete(name);
      else others.set(name, state);
    }
    this.#tell(others);
  }

  #tell(others: ReadonlyMap<string, P>): void {
    if (others.size === 0 && this.others.size === 0) return;
    this.others = others;
    for (const listener of this.#listeners) listener();
  }
}
