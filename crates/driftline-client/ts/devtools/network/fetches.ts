/** Stands before `fetch` for a space's addresses: sees what passes, and lets fail what is to fail. */

import { codeOf, READ_MAX_CHARS, readPush } from '../model/push.js';
import type { Finder } from './address.js';
import { drawFault, type Faults } from './faults.js';
import type { Requests, Seen } from './requests.js';

export interface Watcher {
  /** A push goes out. */
  sent(body: string): void;
  /** Its answer, or `null` where none came; `code` says what came instead. */
  answered(body: string, answer: string | null, code: string | null): void;
  /** The server asks not to be asked for so long. */
  paused(ms: number): void;
  /** A live message with the changes of these revisions. */
  live(revs: readonly number[]): void;
}

export interface Faulty {
  readonly faults: Faults;
  /** Aborts as soon as offline is simulated. */
  readonly cut: AbortSignal;
}

/** Returns what takes it away again. */
export function watchFetch(find: Finder, requests: Requests, watcher: Watcher, faulty: Faulty): () => void {
  const original = globalThis.fetch;
  let isOver = false;
  const wrapped = (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const pass = (more?: RequestInit) =>
      Reflect.apply(original, globalThis, [input, more ?? init]) as Promise<Response>;
    const what = isOver ? null : find(input instanceof Request ? input.url : String(input));
    if (what === null) return pass();
    const body = typeof init?.body === 'string' ? init.body : null;
    const method = init?.method ?? (input instanceof Request ? input.method : 'GET');
    const seen = requests.begin(method, what, performance.now());
    return new Exchange(seen, body, init ?? {}, requests, watcher, faulty).run(pass);
  };
  globalThis.fetch = wrapped;
  return () => {
    isOver = true;
    // Whoever has wrapped it since keeps a wrapper that passes everything on.
    if (globalThis.fetch === wrapped) globalThis.fetch = original;
  };
}

type Pass = (init: RequestInit) => Promise<Response>;

class Exchange {
  readonly #seen: Seen;
  readonly #body: string | null;
  readonly #init: RequestInit;
  readonly #requests: Requests;
  readonly #watcher: Watcher;
  readonly #faulty: Faulty;

  constructor(
    seen: Seen,
    body: string | null,
    init: RequestInit,
    requests: Requests,
    watcher: Watcher,
    faulty: Faulty,
  ) {
    this.#seen = seen;
    this.#body = body;
    this.#init = init;
    this.#requests = requests;
    this.#watcher = watcher;
    this.#faulty = faulty;
  }

  async run(pass: Pass): Promise<Response> {
    const body = this.#body ?? '';
    const transactions = body === '' || body.length > READ_MAX_CHARS ? null : readPush(body).length;
    this.#requests.tell(this.#seen, { transactions, sentBytes: body === '' ? null : new Blob([body]).size });
    if (transactions) this.#watcher.sent(body);
    try {
      const response = await this.#answer(pass);
      await this.#take(response);
      return response;
    } catch (error) {
      const note = this.#seen.note ?? (error instanceof Error && error.name === 'AbortError' ? 'aborted' : 'no answer');
      this.#end({ note });
      this.#watcher.answered(body, null, note);
      throw error;
    }
  }

  async #answer(pass: Pass): Promise<Response> {
    const { faults, cut } = this.#faulty;
    if (faults.latencyMs > 0) await this.#wait(faults.latencyMs);
    if (cut.aborted) throw this.#fails('offline');
    const fault = drawFault(faults, Math.random);
    if (fault === 'unavailable') return this.#unavailable();
    if (fault === 'silent') {
      this.#requests.tell(this.#seen, { note: 'no answer', isSimulated: true });
      await this.#wait();
    }
    const signal = this.#init.signal ? AbortSignal.any([this.#init.signal, cut]) : cut;
    const response = await pass({ ...this.#init, signal }).catch((error) => {
      throw cut.aborted ? this.#fails('offline') : error;
    });
    if (fault !== 'lost') return response;
    // The server has done what was asked, and nobody hears of it.
    await response.arrayBuffer();
    throw this.#fails('answer lost');
  }

  /** Waits, for ever if no time is given; rejects as `fetch` would once the request is aborted or the network cut. */
  #wait(ms?: number): Promise<void> {
    const { signal } = this.#init;
    const { cut } = this.#faulty;
    const over = new AbortController();
    const once = { once: true, signal: over.signal };
    return new Promise<void>((resolve, reject) => {
      if (ms !== undefined) {
        const timer = setTimeout(resolve, ms);
        over.signal.addEventListener('abort', () => clearTimeout(timer));
      }
      signal?.addEventListener('abort', () => reject(signal.reason), once);
      if (signal?.aborted) reject(signal.reason);
      cut.addEventListener('abort', () => reject(this.#fails('offline')), once);
    }).finally(() => over.abort());
  }

  /** The error that a browser gives where there is no answer. */
  #fails(note: string): TypeError {
    this.#requests.tell(this.#seen, { note, isSimulated: true });
    return new TypeError('Failed to fetch');
  }

  #unavailable(): Response {
    this.#requests.tell(this.#seen, { isSimulated: true });
    const detail = 'The inspector simulates a server that is busy.';
    const problem = {
      type: 'urn:driftline:unavailable',
      title: 'Unavailable',
      status: 503,
      code: 'unavailable',
      detail,
    };
    const headers = { 'content-type': 'application/problem+json' };
    return new Response(JSON.stringify(problem), { status: 503, headers });
  }

  /** Hands the answer on at once; what is read of it is a copy. */
  async #take(response: Response): Promise<void> {
    const seconds = Number(response.headers.get('retry-after') ?? Number.NaN);
    const retryAfterS = Number.isFinite(seconds) ? seconds : null;
    this.#end({ status: response.status, retryAfterS });
    // The engine asks for these two, and heeds what they say.
    const isOfEngine = this.#seen.what === 'reconcile' || this.#seen.what === 'snapshot';
    if (retryAfterS !== null && isOfEngine) this.#watcher.paused(retryAfterS * 1000);
    const isRead = !response.ok || this.#seen.transactions;
    if (!isRead || Number(response.headers.get('content-length')) > READ_MAX_CHARS) return;
    const copy = response.clone();
    copy.text().then(
      (text) => {
        const code = response.ok ? null : codeOf(text);
        if (code !== null) this.#requests.tell(this.#seen, { note: code });
        this.#watcher.answered(this.#body ?? '', response.ok ? text : null, code ?? String(response.status));
      },
      () => this.#watcher.answered(this.#body ?? '', null, 'answer broke off'),
    );
  }

  #end(what: Partial<Seen>): void {
    this.#requests.tell(this.#seen, { ms: performance.now() - this.#seen.start, isOpen: false, ...what });
  }
}
