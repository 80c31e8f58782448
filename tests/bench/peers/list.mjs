// The engines that stand beside each other, and what each one's server promises.

import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** This folder. */
export const HERE = dirname(fileURLToPath(import.meta.url));

/**
 * `shape` is how its work goes fastest to the server and to others: in 100 transactions, or in one. `kind` names its protocol at the
 * server of this folder. `ships` is what an app imports.
 */
export const PEERS = [
  {
    name: 'Driftline',
    module: 'driftline',
    shape: 'hundred',
    shapes: ['hundred'],
    hasForeignKeys: true,
    guarantee:
      'Saved after a strict commit; accepted after the commit of an SQL transaction with foreign keys; each edit exactly once.',
  },
  {
    name: 'Replicache',
    module: 'replicache',
    kind: 'replicache',
    shape: 'one',
    shapes: ['one', 'hundred'],
    ships: `export { Replicache } from 'replicache';`,
    guarantee:
      'Mutations of a client count once and in order (lastMutationID); what they do, and what is durable, is the code of your server. On the device: relaxed durability, when the page is idle, and nobody is told.',
  },
  {
    name: 'Yjs',
    module: 'yjs',
    kind: 'yjs',
    shape: 'one',
    shapes: ['one', 'hundred'],
    ships: `export { Doc } from 'yjs';
export { IndexeddbPersistence } from 'y-indexeddb';
export { WebsocketProvider } from 'y-websocket';`,
    guarantee:
      'Replicas converge, and an update that comes twice changes nothing; the protocol knows no acknowledgement, no refusal, no rows and no references.',
  },
  {
    name: 'Automerge repo',
    module: 'automerge',
    kind: 'automerge',
    shape: 'one',
    shapes: ['one', 'hundred'],
    ships: `export { initializeWasm, Repo } from '@automerge/automerge-repo/slim';
export { ImmutableString } from '@automerge/automerge/slim';
export { IndexedDBStorageAdapter } from '@automerge/automerge-repo-storage-indexeddb';
export { WebSocketClientAdapter } from '@automerge/automerge-repo-network-websocket';
export { default as wasm } from '@automerge/automerge/automerge.wasm';`,
    guarantee:
      'Replicas converge, with their history; the server tells which changes it has in memory, writes them up to 100 ms later and forces nothing to the disk; no refusal, no references.',
  },
  {
    name: 'RxDB',
    module: 'rxdb',
    kind: 'rxdb',
    shape: 'one',
    shapes: ['one', 'hundred'],
    ships: `export { createRxDatabase } from 'rxdb/plugins/core';
export { replicateRxCollection } from 'rxdb/plugins/replication';
export { getRxStorageDexie } from 'rxdb/plugins/storage-dexie';`,
    guarantee:
      'Row by row: a row whose state the client did not know is refused as a conflict, which the client resolves; rows of different collections go in no order; what is durable is the code of your server.',
  },
  {
    name: 'TanStack offline-transactions',
    module: 'tanstack',
    kind: 'rows',
    shape: 'one',
    shapes: ['one', 'hundred'],
    keepsOnlyWhatWaits: true,
    ships: `export { createCollection } from '@tanstack/db';
export { IndexedDBAdapter, startOfflineExecutor } from '@tanstack/offline-transactions';`,
    guarantee:
      'Transactions come at least once, one after another, each with an idempotency key that your server has to heed; all else is the code of your server. Only one tab keeps what waits.',
  },
  {
    name: 'Dexie outbox',
    module: 'dexie',
    kind: 'rows',
    shape: 'one',
    shapes: ['one', 'hundred'],
    durability: 'strict',
    ships: `export { Dexie } from 'dexie';`,
    guarantee:
      'What you write: here at least once, in order, with a key for each transaction that the server remembers.',
  },
  {
    name: 'Dexie outbox, relaxed',
    module: 'dexie',
    kind: 'rows',
    shape: 'one',
    shapes: ['one', 'hundred'],
    durability: 'relaxed',
    guarantee: 'The same, but what is saved may be lost with the power.',
  },
];
