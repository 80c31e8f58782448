/**
 * A live connection for presence alone, opened again for as long as it is wanted: after a back-off with full jitter, and not while the
 * server has asked for a pause or the app has switched to offline.
 */

import { backOffMs } from '../backoff.js';
import type { Db } from '../db.js';
import { DriftlineError } from '../index.js';
import type { Status } from '../status.js';

// biome-ignore lint/suspicious/noExplicitAny: which tables a space has makes no difference here
export type AnyDb = Db<any>;

export interface Listener {
  opened(): void;
  /** What others say, by the names of their connections; `null` is somebody who has left. */
  heard(said: Readonly<Record<string, unknown>>): void;
  lost(): void;
  failed(error: DriftlineError): void;
}

type Timer = ReturnType<typeof setTimeout>;

/** The server says something every 2 s: after so long without a word it is not there. */
const SILENCE_MS = 5_000;
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 30_000;
const LONGEST_PAUSE_S = 3_600;
/** Those who were told to pause do not come back all at once. */
const STAGGER_MS = 1_000;

/** Close codes that an app has to hear of. After all others, 4401 among them, it helps to connect again. */
const REFUSALS = new Map([
  [4400, { code: 'invalid_request', detail: 'The server does not understand what this page says.' }],
  [4403, { code: 'forbidden', detail: 'The credential does not allow to see who is in this space.' }],
  [4413, { code: 'presence_full', detail: 'More people are in this space than the server shows to each other.' }],
  [4429, { code: 'rate_limited', detail: 'This user has too many live connections, or asks too often.' }],
]);

export class Connection {
  readonly #db: AnyDb;
  readonly #listener: Listener;
  readonly #undo: (() => void)[];
  #socket: WebSocket | undefined;
  /** Names the present attempt: a token that comes too late opens nothing. */
  #attempt = 0;
  #isIdle = true;
  #wasOffline = false;
  #failures = 0;
  /** What was told last, until the server takes this page again. */
  #told: number | undefined;
  #pausedUntil = 0;
  #retry: Timer | undefined;
  #silence: Timer | undefined;

  constructor(db: AnyDb, listener: Listener) {
    this.#db = db;
    this.#listener = listener;
    const close = () => this.close();
    db.onClose.add(close);
    this.#undo = [() => db.onClose.delete(close), db.onStatus((status) => this.#heed(status))];
    this.#heed(db.status);
  }

  /** Whether something can be said, and may be. */
  get isOpen(): boolean {
    return this.#socket?.readyState === 1 && this.#db.isOnline;
  }

  /** For so long the server wants to hear nothing. */
  get pauseMs(): number {
    return Math.max(0, this.#pausedUntil - performance.now());
  }

  say(text: string): void {
    this.#socket?.send(`{"presence":${text}}`);
  }

  close(): void {
    for (const undo of this.#undo.splice(0)) undo();
    this.#end();
  }

  #heed({ state }: Status): void {
    // Where the engine reaches the server again, so does this.
    const isBack = this.#wasOffline && state !== 'offline' && this.#retry !== undefined;
    this.#wasOffline = state === 'offline';
    if (!this.#db.isOnline) this.#end();
    else if (this.#isIdle || isBack) this.#connectIn(this.pauseMs);
  }

  #connectIn(waitMs: number): void {
    clearTimeout(this.#retry);
    this.#isIdle = false;
    if (waitMs === 0) void this.#connect();
    else this.#retry = setTimeout(() => void this.#connect(), waitMs);
  }

  async #connect(): Promise<void> {
    this.#end();
    if (!this.#db.isOnline) return;
    this.#isIdle = false;
    const attempt = this.#attempt;
    const { home } = this.#db;
    try {
      const token = (await home.token?.()) ?? undefined;
      if (attempt !== this.#attempt) return;
      this.#open(addressOf(home), JSON.stringify({ presence: true, token, user: home.identity || undefined }));
    } catch {
      // The app could get no token, or the browser refuses the address.
      if (attempt === this.#attempt) this.#failed();
    }
  }

  #open(address: string, hello: string): void {
    const socket = new WebSocket(address);
    this.#socket = socket;
    this.#expect();
    socket.onopen = () => {
      socket.send(hello);
      this.#expect();
      this.#listener.opened();
    };
    socket.onmessage = ({ data }) => {
      this.#expect();
      this.#take(JSON.parse(data));
    };
    socket.onclose = ({ code }) => this.#failed(code);
  }

  #take(message: { ping?: number; pause?: number; presence?: Record<string, unknown> }): void {
    if (message.presence) this.#listener.heard(message.presence);
    if (message.pause !== undefined) {
      const pause = Math.min(message.pause, LONGEST_PAUSE_S) * 1_000;
      this.#pausedUntil = performance.now() + pause + Math.random() * STAGGER_MS;
    }
    if (message.ping === undefined) return;
    this.#failures = 0;
    this.#told = undefined;
  }

  /** Waits for the next word of the server, but not for ever. */
  #expect(): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#failed(), SILENCE_MS);
  }

  #failed(code?: number): void {
    const attempt = this.#attempt + 1;
    this.#end();
    // Whoever heard of it may have left.
    if (attempt !== this.#attempt) return;
    const refusal = code === undefined ? undefined : REFUSALS.get(code);
    const wait = backOffMs(this.#failures, refusal ? LONGEST_RETRY_MS : FIRST_RETRY_MS, LONGEST_RETRY_MS);
    this.#failures += 1;
    this.#connectIn(Math.max(wait, this.pauseMs));
    if (!refusal || this.#told === code) return;
    this.#told = code;
    this.#listener.failed(new DriftlineError(refusal));
  }

  /** Leaves nothing behind that could be heard of any more. */
  #end(): void {
    this.#attempt += 1;
    this.#isIdle = true;
    clearTimeout(this.#retry);
    clearTimeout(this.#silence);
    this.#retry = undefined;
    const socket = this.#socket;
    if (!socket) return;
    this.#socket = undefined;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    this.#listener.lost();
  }
}

/** `ws://host/v1/spaces/name/live`; the server's origin may have a path. */
function addressOf({ url, space }: AnyDb['home']): string {
  const address = new URL(url || location.origin);
  address.protocol = address.protocol.replace('http', 'ws');
  return `${address.href.replace(/\/+$/, '')}/v1/spaces/${space}/live`;
}
