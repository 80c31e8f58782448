/** Blobs on the server: `HEAD`, `GET`, `PUT` and `PATCH` of `/v1/spaces/{space}/blobs/{sha256}`. */

import { DriftlineError, type Problem } from '../errors.js';
import { CHUNK_BYTES, type Store } from './store.js';

/** A megabyte in this time is a network on which little else works either. */
const REQUEST_MS = 60_000;
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

export class BlobServer {
  readonly #options: ServerOptions;
  readonly #until: AbortSignal;

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
      const part = await partAt(store, hash, there.offset, bytes);
      there = await this.#send(hash, type, there, part);
    }
  }

  async look(hash: string): Promise<There> {
    const response = await this.#ask(hash, { method: 'HEAD' }, [404]);
    if (response.status === 404) return { offset: 0, bytes: -1, isWhole: false };
    const number = (name: string) => Number(response.headers.get(name) ?? -1);
    return { offset: number('upload-offset'), bytes: number('upload-length'), isWhole: response.status === 200 };
  }

  /** The bytes of a blob, which are what their name says. */
  async download(hash: string): Promise<{ type: string; content: ArrayBuffer }> {
    const response = await this.#ask(hash, { method: 'GET' });
    const content = await response.arrayBuffer().catch(() => {
      throw unreachable('The file broke off on its way.');
    });
    if ((await sha256(content)) !== hash) {
      const detail = 'What came as this file has another SHA-256 than its name says.';
      throw new Refusal({ code: 'hash_mismatch', detail }, response.status);
    }
    return { type: safeType(response.headers.get('content-type') ?? ''), content };
  }

  async #send(hash: string, type: string, { offset, bytes }: There, body: Blob): Promise<There> {
    const asked =
      offset === 0
        ? { method: 'PUT', headers: { 'content-type': type, 'upload-length': String(bytes) }, body }
        : { method: 'PATCH', headers: { 'content-type': BYTES, 'upload-offset': String(offset) }, body };
    const response = await this.#ask(hash, asked);
    const told = await response.json().catch(() => {
      throw unreachable('The answer broke off on its way.');
    });
    return { offset: told.offset, bytes: told.bytes, isWhole: response.status !== 202 };
  }

  async #ask(hash: string, { method, headers = {}, body }: Asked, also: readonly number[] = []): Promise<Response> {
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
    const response = await this.#within((signal) =>
      (this.#options.fetch ?? fetch)(`${origin}/v1/spaces/${space}/blobs/${hash}`, { ...init, signal }),
    );
    if (response.ok || also.includes(response.status)) return response;
    throw await refusalOf(response);
  }

  async #credential(): Promise<Record<string, string>> {
    const { token } = this.#options;
    const text = typeof token === 'function' ? await token() : token;
    return text ? { authorization: `Bearer ${text}` } : {};
  }

  async #within(send: (signal: AbortSignal) => Promise<Response>): Promise<Response> {
    const abort = new AbortController();
    const end = () => abort.abort();
    const timer = setTimeout(end, REQUEST_MS);
    this.#until.addEventListener('abort', end, { once: true });
    try {
      return await send(abort.signal);
    } catch {
      throw unreachable('The server does not answer.');
    } finally {
      clearTimeout(timer);
      this.#until.removeEventListener('abort', end);
    }
  }
}

function unreachable(detail: string): Refusal {
  return new Refusal({ code: 'unreachable', detail }, 0);
}

/** The bytes from `offset` to the end of their chunk; none where all are there, and only the hash is to be looked at. */
async function partAt(store: Store, hash: string, offset: number, bytes: number): Promise<Blob> {
  if (offset >= bytes) return new Blob([]);
  const chunk = await store.chunk(hash, Math.floor(offset / CHUNK_BYTES));
  if (chunk) return new Blob([chunk.slice(offset % CHUNK_BYTES)]);
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
