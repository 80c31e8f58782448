// Automerge repo with its adapters for IndexedDB and WebSockets: one document with a map for each table. Strings are immutable ones:
// the others may be edited by letter, which costs far more.

import wasm from '@automerge/automerge/automerge.wasm';
import { ImmutableString } from '@automerge/automerge/slim';
import { initializeWasm, isValidDocumentId, Repo } from '@automerge/automerge-repo/slim';
import { WebSocketClientAdapter } from '@automerge/automerge-repo-network-websocket';
import { IndexedDBStorageAdapter } from '@automerge/automerge-repo-storage-indexeddb';
import { nextTask } from '/work.js';
import { TABLES } from './common.js';

function newRepo(name) {
  return new Repo({ storage: new IndexedDBStorageAdapter(name) });
}

/** `room` is the document's id, once there is one. */
export async function open({ name, room, url }) {
  await initializeWasm(new URL(wasm, import.meta.url));
  const repo = newRepo(name);
  const handle = isValidDocumentId(room)
    ? await repo.find(room)
    : repo.create(Object.fromEntries(TABLES.map((table) => [table, {}])));
  await repo.flush([handle.documentId]);
  return { repo, handle, room: handle.documentId, url };
}

export async function openSecond({ name, room, url }) {
  await initializeWasm(new URL(wasm, import.meta.url));
  const repo = newRepo(name);
  connect(repo, url);
  return { repo, handle: await repo.find(room), room, url };
}

function connect(repo, url) {
  const adapter = new WebSocketClientAdapter(`${url.replace('http', 'ws')}/automerge`);
  repo.networkSubsystem.addNetworkAdapter(adapter);
  return adapter;
}

function valued(row) {
  const whole = (value) => {
    if (typeof value === 'string') return new ImmutableString(value);
    return typeof value === 'object' ? valued(value) : value;
  };
  return Object.fromEntries(Object.entries(row).map(([field, value]) => [field, whole(value)]));
}

function apply(doc, { op, table, id, row }) {
  if (op === 'create') doc[table][id] = valued({ id, ...row });
  else if (op === 'update') Object.assign(doc[table][id], valued(row));
  else delete doc[table][id];
}

export async function burst({ repo, handle }, work) {
  for (const edits of work) {
    await nextTask();
    handle.change((doc) => {
      for (const edit of edits) apply(doc, edit);
    });
  }
  await repo.flush([handle.documentId]);
}

export async function single({ repo, handle }, { id, ...row }) {
  handle.change((doc) => apply(doc, { op: 'create', table: 'card', id, row }));
  await repo.flush([handle.documentId]);
}

/** The server tells what it has in memory; that it is on its disk is asked for beside the protocol. */
export async function drain({ repo, handle, room, url }) {
  const own = handle.heads().join();
  const known = new Promise((done) => {
    handle.on('remote-heads', ({ heads }) => {
      if (heads.join() === own) done();
    });
  });
  connect(repo, url);
  await known;
  const response = await fetch(`${url}/automerge/${room}/flush`);
  if (!response.ok) throw new Error(`the server answers ${response.status}`);
}

export function read({ handle }) {
  const doc = handle.doc();
  return Object.fromEntries(TABLES.map((table) => [table, Object.values(doc[table])]));
}

export function plain(row) {
  return JSON.parse(JSON.stringify(row, (_, value) => (value instanceof ImmutableString ? value.val : value)));
}

export async function close({ repo, handle }) {
  await repo.flush([handle.documentId]);
  await repo.shutdown();
}
