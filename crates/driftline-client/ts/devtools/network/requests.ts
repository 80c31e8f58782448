/** The requests of a space and its live connections, as they were seen: the last 200. */

import { Ring } from '../model/ring.js';

export const REQUESTS_MAX = 200;

export interface Seen {
  readonly id: number;
  /** Of a live connection `LIVE`. */
  readonly method: string;
  /** What of the space was asked for: `reconcile`, `snapshot`, `live` … */
  readonly what: string;
  /** The wall's time, in ms. */
  readonly at: number;
  /** The page's own clock, as `performance` has it. */
  readonly start: number;
  ms: number | null;
  /** `null` while it is out, and where none came. */
  status: number | null;
  /** Why there was no answer, or the code of a problem. */
  note: string | null;
  retryAfterS: number | null;
  /** Transactions in it. */
  transactions: number | null;
  sentBytes: number | null;
  /** As it came over the network, compressed or not; of a live connection, the characters of its messages. */
  gotBytes: number | null;
  /** Of a live connection. */
  messages: number | null;
  isOpen: boolean;
  isSimulated: boolean;
  /** The browser has told of its size and timing. */
  isMeasured: boolean;
}

export class Requests {
  readonly #ring = new Ring<Seen>(REQUESTS_MAX);
  readonly #changed: () => void;
  #ids = 0;

  constructor(changed: () => void) {
    this.#changed = changed;
  }

  get items(): readonly Seen[] {
    return this.#ring.items;
  }

  begin(method: string, what: string, start: number): Seen {
    this.#ids += 1;
    const seen: Seen = {
      id: this.#ids,
      method,
      what,
      at: performance.timeOrigin + start,
      start,
      ms: null,
      status: null,
      note: null,
      retryAfterS: null,
      transactions: null,
      sentBytes: null,
      gotBytes: null,
      messages: null,
      isOpen: true,
      isSimulated: false,
      isMeasured: false,
    };
    this.#ring.push(seen);
    this.#changed();
    return seen;
  }

  tell(seen: Seen, what: Partial<Seen>): void {
    Object.assign(seen, what);
    this.#changed();
  }

  /** What the browser has measured; of a request from before the inspector it is all that is known. */
  measured(entry: PerformanceResourceTiming, what: string): void {
    const isOfIt = (seen: Seen) => seen.what === what && !seen.isMeasured && seen.start <= entry.startTime + 1;
    const known = this.#ring.items.findLast(isOfIt);
    const before = known === undefined && entry.startTime < this.#startOfWatch;
    if (!known && !before) return;
    const seen = known ?? this.begin(METHODS[what] ?? 'GET', what, entry.startTime);
    const status = entry.responseStatus || null;
    this.tell(seen, {
      isMeasured: true,
      ms: entry.startTime + entry.duration - seen.start,
      ...(entry.transferSize > 0 && { gotBytes: entry.transferSize }),
      ...(before && { isOpen: false, status, note: status === null ? 'no answer' : null }),
    });
  }

  readonly #startOfWatch = performance.now();
}

const METHODS: Readonly<Record<string, string>> = { reconcile: 'POST', snapshot: 'GET' };
