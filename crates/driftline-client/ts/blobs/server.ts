/** Blobs on the server: `HEAD`, `GET`, `PUT` and `PATCH` of `/v1/spaces/{space}/blobs/{sha256}`. */

import { DriftlineError, type Problem } from '../errors.js';
import { CHUNK_BYTES, type Store } from './store.js';

/** What has not got through by then is cut. */
const REQUEST_MS = 60_000;
/** The least that is sent at once where a whole chunk does not get through. */
const LEAST_PART_BYTES = 16 * 1024;
/** A server that asks for a day is asked again within the hour. */
const RETRY_AFTER_MAX_S = 3_600;

/** Types that a browser only draws. Anything else is bytes: in a page of this origin it could run. */
const IMAGES = ['image/avif', 'image/gif', 'image/jpeg', 'image/png', 'image/webp'];
const BYTES = 'application/octet-stream';

/** The type under which a file is kept and shown. */
export const safeType = (type: string) => IMAGES.find((image) => image === type.toLowerCase()) ?? BYTES;

export async function sha256(content: ArrayBuffer): Promise<string> {
  const bytes = new Uint8Array(await crypto.subtle.digest('SHA-256', content));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** What became of a request. `status` is 0 where there was no answer. */
export class Refusal extends DriftlineError {
  readonly status: number;
  readonly retryAfterMs: number;

  constructor(problem: Problem, status: number, retryAfterMs = 0) {
    super(problem);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

export interface ServerOptions {
  readonly url: string;
  readonly space: string;
  readonly token?: string | (() => Promise<string | null> | string | null);
  readonly user?: string;
  readonly fetch?: typeof fetch;
}

/** How much of a blob the server has of this user. */
export interface There {
  readonly offset: number;
  readonly bytes: number;
  readonly isWhole: boolean;
}

interface Asked {
  readonly method: string;
  readonly headers?: Record<string, string>;
  readonly body?: Blob;
}

type Read<T> = (response: Response, alive: () => void) => Promise<T>;

export class BlobServer {
  readonly #options: ServerOptions;
  readonly #until: AbortSignal;
  /** Halved where a part does not get through; grows by little with each that does. */
  #partBytes = CHUNK_BYTES;

  /** Requests end with `until`. */
  constructor(options: ServerOptions, until: AbortSignal) {
    this.#options = options;
    this.#until = until;
  }

  /** Sends what the server lacks of a blob, part by part, from where it stands. */
  async upload(store: Store, hash: string, type: string, bytes: number, sent: (offset: number) => void): Promise<void> {
    let there = await this.look(hash);
    // Begun by somebody who was wrong about its length.
    if (there.bytes !== bytes) there = { offset: 0, bytes, isWhole: false };
    while (!there.isWhole) {
      sent(there.offset);
      const part = await partAt(store, hash, there.offset, bytes, this.#partBytes);
      there =
        (await this.#send(hash, type, there, part).catch((error) => this.#halve(error))) ?? (await this.look(hash));
    }
  }

  /** Resolves where a smaller part may get through. */
  #halve(error: unknown): undefined {
    if (!isTooMuch(error) || this.#partBytes <= LEAST_PART_BYTES) throw error;
    this.#partBytes /= 2;
  }

  async look(hash: string): Promise<There> {
    const response = await this.#ask(hash, { method: 'HEAD' }, async (answer) => answer, [404]);
    if (response.status === 404) return { offset: 0, bytes: -1, isWhole: false };
    const number = (name: string) => Number(response.headers.get(name) ?? -1);
    return { offset: number('upload-offset'), bytes: number('upload-length'), isWhole: response.status === 200 };
  }

  /** The bytes of a blob, which are what their name says. */
  async download(hash: string): Promise<{ type: string; content: ArrayBuffer }> {
    const { type, content } = await this.#ask(hash, { method: 'GET' }, async ({ headers, body }, alive) => {
      return { type: safeType(headers.get('content-type') ?? ''), content: await contentOf(body, alive) };
    });
    if ((await sha256(content)) !== hash) {
      const detail = 'What came as this file has another SHA-256 than its name says.';
      throw new Refusal({ code: 'hash_mismatch', detail }, 200);
    }
    return { type, content };
  }

  async #send(hash: string, type: string, { offset, bytes }: There, body: Blob): Promise<There> {
    const asked =
      offset === 0
        ? { method: 'PUT', headers: { 'content-type': type, 'upload-length': String(bytes) }, body }
        : { method: 'PATCH', headers: { 'content-type': BYTES, 'upload-offset': String(offset) }, body };
    const there = await this.#ask(hash, asked, async (response) => {
      const told = await response.json();
      return { offset: told.offset, bytes: told.bytes, isWhole: response.status !== 202 };
    });
    this.#partBytes = Math.min(CHUNK_BYTES, this.#partBytes + LEAST_PART_BYTES);
    return there;
  }

  /** The token, the answer and its body have to come within a time, which begins anew whenever `read` says that more has come. */
  #ask<T>(hash: string, asked: Asked, read: Read<T>, also: readonly number[] = []): Promise<T> {
    return this.#within(async (signal, alive) => {
      const response = await this.#fetch(hash, asked, signal);
      if (!response.ok && !also.includes(response.status)) throw await refusalOf(response);
      return await read(response, alive);
    });
  }

  async #fetch(hash: string, { method, headers = {}, body }: Asked, signal: AbortSignal): Promise<Response> {
    const { url, space, user } = this.#options;
    const origin = (url === '' ? location.origin : url).replace(/\/+$/, '');
    const init: RequestInit = {
      method,
      headers: {
        ...headers,
        ...(await this.#credential()),
        ...(user && { 'driftline-user': encodeURIComponent(user) }),
      },
      ...(body && { body }),
      ...(method === 'GET' ? {} : { cache: 'no-store' }),
    };
    return await (this.#options.fetch ?? fetch)(`${origin}/v1/spaces/${space}/blobs/${hash}`, { ...init, signal });
  }

  async #credential(): Promise<Record<string, string>> {
    const { token } = this.#options;
    const text = typeof token === 'function' ? await token() : token;
    return text ? { authorization: `Bearer ${text}` } : {};
  }

  async #within<T>(send: (signal: AbortSignal, alive: () => void) => Promise<T>): Promise<T> {
    const abort = new AbortController();
    const cut = () => abort.abort(unreachable('The server does not answer in time.', 408));
    const end = () => abort.abort(unreachable('The files were closed.'));
    let timer = setTimeout(cut, REQUEST_MS);
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(cut, REQUEST_MS);
    };
    this.#until.addEventListener('abort', end, { once: true });
    const ended = new Promise<never>((_, fail) => {
      abort.signal.addEventListener('abort', () => fail(abort.signal.reason), { once: true });
    });
    try {
      return await Promise.race([send(abort.signal, alive), ended]);
    } catch (error) {
      throw error instanceof DriftlineError ? error : unreachable('The server does not answer.');
    } finally {
      clearTimeout(timer);
      this.#until.removeEventListener('abort', end);
    }
  }
}

function unreachable(detail: string, status = 0): Refusal {
  return new Refusal({ code: 'unreachable', detail }, status);
}

/** Whether a part was cut for its time, or something before the server takes no such body; the server itself says what is too large. */
function isTooMuch(error: unknown): boolean {
  return error instanceof Refusal && (error.status === 408 || error.code === 'status_413');
}

async function contentOf(
  body: ReadableStream<Uint8Array<ArrayBuffer>> | null,
  alive: () => void,
): Promise<ArrayBuffer> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const reader = body?.getReader();
  for (let next = await reader?.read(); next && !next.done; next = await reader?.read()) {
    alive();
    parts.push(next.value);
  }
  return await new Blob(parts).arrayBuffer();
}

/** At most `most` bytes from `offset`, to the end of their chunk; none where all are there, and only the hash is to be looked at. */
async function partAt(store: Store, hash: string, offset: number, bytes: number, most: number): Promise<Blob> {
  if (offset >= bytes) return new Blob([]);
  const chunk = await store.chunk(hash, Math.floor(offset / CHUNK_BYTES));
  const start = offset % CHUNK_BYTES;
  if (chunk && start < chunk.byteLength) return new Blob([chunk.slice(start, start + most)]);
  const detail = 'This device has lost bytes of the file before they were sent: choose it again.';
  throw new Refusal({ code: 'blob_lost', detail }, 400);
}

/** Answers to HEAD have no body. */
const CODES: Record<number, string> = { 401: 'unauthenticated', 403: 'forbidden', 429: 'rate_limited' };

async function refusalOf(response: Response): Promise<Refusal> {
  const { status, headers } = response;
  const problem: Partial<Problem> = await response.json().catch(() => ({}));
  const code = problem.code ?? CODES[status] ?? (status >= 500 ? 'unavailable' : `status_${status}`);
  const seconds = Number(headers.get('retry-after') ?? 0) || 0;
  const detail = problem.detail ?? `The server answered ${status}.`;
  return new Refusal({ code, detail }, status, Math.min(seconds, RETRY_AFTER_MAX_S) * 1_000);
}
