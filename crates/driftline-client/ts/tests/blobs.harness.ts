/** A store in memory, and a server that is a function, for the outbox of blobs. */

import { BlobServer } from '../blobs/server.js';
import { CHUNK_BYTES, type Entry, type RowToMake, type Store } from '../blobs/store.js';
import { Uploads, type UploadsOptions } from '../blobs/uploads.js';
import type { Problem } from '../errors.js';

export function memory() {
  const entries = new Map<string, Entry>();
  const contents = new Map<string, ArrayBuffer>();
  let rows: (RowToMake & { hash: string })[] = [];
  const put = (hash: string, change: Partial<Entry>) => {
    const { problem: _, ...entry } = entries.get(hash) as Entry;
    entries.set(hash, { ...entry, ...change });
  };
  const store: Store = {
    held: async () => ({ entries: new Map(entries), rows: [...rows] }),
    add: async (hash, type, content, row) => {
      const at = entries.size;
      entries.set(hash, { bytes: content.byteLength, type, state: 'waiting', at, usedAt: at });
      contents.set(hash, content);
      if (row) rows.push({ ...row, hash });
    },
    cache: async () => {},
    content: async () => undefined,
    chunk: async (hash, index) => contents.get(hash)?.slice(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES),
    settle: async (hash, state, problem) => put(hash, { state, ...(problem && { problem }) }),
    settleRow: async (hash, id, problem?: Problem) => {
      const others = rows.filter((one) => one.hash !== hash || one.row.id !== id);
      const settled = rows
        .filter((one) => !others.includes(one))
        .map((one) => ({ ...one, problem: problem as Problem }));
      rows = problem ? [...others, ...settled] : others;
    },
    retry: async (hash) => put(hash, { state: 'waiting' }),
    discard: async (hash) => void entries.delete(hash),
    evict: async () => {},
    close: () => {},
  };
  return { store, entries, rows: () => rows, lose: (hash: string) => contents.delete(hash) };
}

export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly bytes: number;
}

/** Answers with what `answer` says, and keeps what was asked. */
export function server(answer: (seen: Seen, nth: number) => Response | Promise<Response>, token?: () => string) {
  const seen: Seen[] = [];
  const fetched = async (input: RequestInfo | URL, init: RequestInit = {}) => {
    const { method = 'GET', headers, body } = init;
    const bytes = body instanceof Blob ? body.size : 0;
    const asked = { method, path: String(input), headers: headers as Record<string, string>, bytes };
    seen.push(asked);
    return await answer(asked, seen.length - 1);
  };
  const options = { url: 'http://server', space: 'a', fetch: fetched as typeof fetch, ...(token && { token }) };
  return { seen, server: new BlobServer(options, new AbortController().signal) };
}

export const missing = () => new Response(null, { status: 404 });

export const part = (offset: number, bytes: number) =>
  new Response(null, { status: 204, headers: { 'upload-offset': String(offset), 'upload-length': String(bytes) } });

export const told = (status: number, offset: number, bytes: number) => Response.json({ offset, bytes }, { status });

export const problem = (status: number, code: string, headers: Record<string, string> = {}) =>
  Response.json({ code, detail: code }, { status, headers });

/** An outbox at work, whose back-off waits as long as it may. */
export function running(options: Pick<UploadsOptions, 'store' | 'server'> & Partial<UploadsOptions>) {
  const [end, troubles] = [new AbortController(), [] as (string | null)[]];
  const trouble = (code: string | null) => void (code === troubles.at(-1) || troubles.push(code));
  const rest = { make: async () => {}, changed: () => {}, trouble, random: () => 1, until: end.signal };
  const uploads = new Uploads({ ...rest, ...options });
  const ended = uploads.run();
  const stop = async () => {
    end.abort();
    await ended;
  };
  return { uploads, troubles, stop };
}
