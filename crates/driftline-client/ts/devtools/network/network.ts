/** All that is seen of a space's network, and all that is made to go wrong in it. */

import { finderOf } from './address.js';
import { type Faults, NO_FAULTS } from './faults.js';
import { type Watcher, watchFetch } from './fetches.js';
import { Requests } from './requests.js';
import { type Sockets, watchSockets } from './sockets.js';

export class Network {
  readonly requests: Requests;
  #faults = NO_FAULTS;
  #cut = new AbortController();
  readonly #sockets: Sockets;
  readonly #ends: (() => void)[];

  constructor(space: string, watcher: Watcher, changed: () => void) {
    const find = finderOf(space);
    this.requests = new Requests(changed);
    const network = this;
    const faulty = {
      get faults() {
        return network.#faults;
      },
      get cut() {
        return network.#cut.signal;
      },
    };
    this.#sockets = watchSockets(find, this.requests, watcher, faulty);
    this.#ends = [
      watchFetch(find, this.requests, watcher, faulty),
      watchTimings((entry) => {
        const what = find(entry.name);
        if (what !== null) this.requests.measured(entry, what);
      }),
      this.#sockets.stop,
    ];
  }

  get faults(): Faults {
    return this.#faults;
  }

  simulate(faults: Faults): void {
    const wasOffline = this.#faults.offline;
    this.#faults = faults;
    if (faults.offline === wasOffline) return;
    if (!faults.offline) {
      this.#cut = new AbortController();
      return;
    }
    this.#cut.abort();
    this.#sockets.closeAll();
  }

  stop(): void {
    for (const end of this.#ends) end();
    this.#faults = NO_FAULTS;
  }
}

/** What the browser has measured, also of requests from before. */
function watchTimings(met: (entry: PerformanceResourceTiming) => void): () => void {
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) met(entry as PerformanceResourceTiming);
  });
  observer.observe({ type: 'resource', buffered: true });
  return () => observer.disconnect();
}
