/**
 * The outbox of blobs: sends what waits, the oldest first, and makes the rows of what has arrived. One tab does it, the one with the Web
 * Lock; the next takes over when it is gone, from what the disk and the server hold.
 */

import { backOffMs } from '../backoff.js';
import { asError, DriftlineError, type Problem } from '../errors.js';
import { type BlobServer, Refusal } from './server.js';
import type { Entry, RowToMake, Store } from './store.js';

const BASE_MS = 500;
const CAP_MS = 30_000;
/** Whoever has something to do says so; this is for what nobody says. */
const IDLE_MS = 600_000;
/** These say nothing of the blob, and would be said of any other: all wait. So does what stands before the server, with more than 500. */
const OF_ALL = [0, 401, 403, 404, 405, 408, 429];
/** Another part is asked for, or the same once more, and then it is a person's to decide. */
const AGAIN = ['wrong_offset', 'hash_mismatch'];
const AGAIN_TIMES = 3;

export interface UploadsOptions {
  readonly store: Store;
  readonly server: Pick<BlobServer, 'upload'>;
  /** Makes a row, or finds that it is there. On disk when it resolves. */
  readonly make: (row: RowToMake) => Promise<void>;
  /** Something is on disk that was not before. */
  readonly changed: () => void;
  /** Why nothing can be sent, or that it can. */
  readonly trouble: (code: string | null) => void;
  readonly until: AbortSignal;
  readonly random?: () => number;
}

/** When to try again, after how many failures. Not by the time of day, which may be set back. */
class BackOff {
  #failures = 0;
  notBefore = 0;
  /** How much of the blob the server has had. */
  reached = 0;

  get failures(): number {
    return this.#failures;
  }

  fail(retryAfterMs: number, random: () => number): void {
    const wait = backOffMs(this.#failures++, BASE_MS, CAP_MS, random);
    this.notBefore = performance.now() + Math.max(wait, retryAfterMs);
  }
}

export class Uploads {
  readonly #options: UploadsOptions;
  readonly #ended: Promise<number>;
  /** Of single blobs, by hash. */
  readonly #aside = new Map<string, BackOff>();
  #all = new BackOff();
  #rows = new BackOff();
  #isOnline = true;
  #isWoken = false;
  #wake = () => {};

  constructor(options: UploadsOptions) {
    this.#options = options;
    this.#ended = new Promise((end) => {
      options.until.addEventListener('abort', () => end(0), { once: true });
    });
    this.#ended.then(() => this.wake());
  }

  /** There is something to look at. */
  wake(): void {
    this.#isWoken = true;
    this.#wake();
  }

  /** There is reason to believe that what failed goes now. */
  hurry(): void {
    this.#all = new BackOff();
    this.#rows = new BackOff();
    this.#aside.clear();
    this.wake();
  }

  setOnline(online: boolean): void {
    this.#isOnline = online;
    if (online) this.hurry();
    else this.#options.trouble('unreachable');
  }

  /** Works until it is told to end. */
  async run(): Promise<void> {
    while (!this.#options.until.aborted) {
      this.#isWoken = false;
      const step = this.#step().catch(() => CAP_MS); // The disk cannot be read: it may be later.
      // An app may take for ever to give a token, and a browser to open a database; the lock is let go all the same.
      const wait = await Promise.race([step, this.#ended]);
      if (wait > 0) await this.#sleep(wait);
    }
  }

  /** Does one thing. Returns after how many ms there may be another. */
  async #step(): Promise<number> {
    const { entries, rows } = await this.#options.store.held();
    const now = performance.now();
    const made = rows.find(({ hash, problem }) => entries.get(hash)?.state === 'uploaded' && !problem);
    if (made && this.#rows.notBefore <= now) {
      await this.#make(made.hash, made);
      return 0;
    }
    const waiting = [...entries].filter(([, { state }]) => state === 'waiting').sort(([, a], [, b]) => a.at - b.at);
    const times = [made ? this.#rows.notBefore : now + IDLE_MS];
    for (const [hash, entry] of this.#isOnline ? waiting : []) {
      const at = Math.max(this.#all.notBefore, this.#aside.get(hash)?.notBefore ?? 0);
      if (at <= now) {
        await this.#upload(hash, entry);
        return 0;
      }
      times.push(at);
    }
    if (this.#isOnline && waiting.length === 0) this.#options.trouble(null);
    return Math.max(1, Math.min(...times) - now);
  }

  async #upload(hash: string, { type, bytes }: Entry): Promise<void> {
    const { store, server, changed, trouble } = this.#options;
    let reached = 0;
    const sent = (offset: number) => {
      reached = offset;
      trouble(null);
    };
    try {
      await server.upload(store, hash, type, bytes, sent);
      await store.settle(hash, 'uploaded');
    } catch (error) {
      await this.#failed(hash, error, reached);
      return;
    }
    this.#all = new BackOff();
    this.#aside.delete(hash);
    trouble(null);
    changed();
  }

  async #failed(hash: string, error: unknown, reached: number): Promise<void> {
    const { store, changed, trouble, until, random = Math.random } = this.#options;
    if (until.aborted) return;
    const { status, retryAfterMs, code, detail } =
      error instanceof Refusal ? error : new Refusal(problemOf(error), error instanceof DriftlineError ? 500 : 0);
    if (OF_ALL.includes(status) || status > 500) {
      this.#all.fail(retryAfterMs, random);
      trouble(code);
      return;
    }
    const before = this.#aside.get(hash) ?? new BackOff();
    // Somebody else sends it as well: it gets there.
    const own = code === 'wrong_offset' && reached > before.reached ? new BackOff() : before;
    own.reached = Math.max(reached, before.reached);
    this.#aside.set(hash, own);
    const isOver = status < 500 && !(AGAIN.includes(code) && own.failures < AGAIN_TIMES);
    own.fail(retryAfterMs, random);
    if (!isOver) {
      trouble(code);
      return;
    }
    this.#aside.delete(hash);
    await store.settle(hash, 'parked', { code, detail });
    changed();
  }

  async #make(hash: string, row: RowToMake): Promise<void> {
    const { store, make, changed, until, random = Math.random } = this.#options;
    try {
      await make(row);
      await store.settleRow(hash, row.row.id);
      this.#rows = new BackOff();
    } catch (error) {
      if (until.aborted) return;
      const problem = problemOf(error);
      // What passes by itself: the outbox has no room, the space is being closed, the disk.
      const passes =
        ['outbox_full', 'closed', 'not_saved'].includes(problem.code) || problem.code.startsWith('storage_');
      this.#rows.fail(0, random);
      if (passes) return;
      await store.settleRow(hash, row.row.id, problem);
    }
    changed();
  }

  async #sleep(ms: number): Promise<void> {
    if (this.#isWoken || this.#options.until.aborted) return;
    await new Promise<void>((wake) => {
      const timer = setTimeout(wake, ms);
      this.#wake = () => {
        clearTimeout(timer);
        wake();
      };
    });
  }
}

export function problemOf(thrown: unknown): Problem {
  const error = asError(thrown);
  if (error instanceof DriftlineError) return { code: error.code, detail: error.detail };
  return { code: 'unreachable', detail: String(error) };
}
