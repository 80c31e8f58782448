// One small server for all peers. `node server.mjs FOLDER` prints where it listens.
//
// Each room is a file. What a request brings is appended to it and forced to the disk (fsync) before the request is answered; what a
// room holds is in memory, too, and is made again from the file. That is about the fastest that a server with a disk can be: a real one
// keeps its rows in a database. (Node 20 has none of its own.) Automerge repo has its own storage for Node, which forces nothing.

import { fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { Repo } from '@automerge/automerge-repo';
import { WebSocketServerAdapter } from '@automerge/automerge-repo-network-websocket';
import { NodeFSStorageAdapter } from '@automerge/automerge-repo-storage-nodefs';
import { createDecoder, readVarUint } from 'lib0/decoding';
import { createEncoder, length, toUint8Array, writeVarUint } from 'lib0/encoding';
import { WebSocketServer } from 'ws';
import { readSyncMessage, writeSyncStep1 } from 'y-protocols/sync';
import { applyUpdate, Doc } from 'yjs';
import { apply, newRows, TABLES } from './site/common.js';

const MESSAGE_SYNC = 0;
const folder = process.argv[2];

/** Entries of bytes, each led by its length. */
class Log {
  constructor(path) {
    this.file = openSync(path, 'a');
  }

  append(bytes) {
    const head = Buffer.alloc(4);
    head.writeUInt32BE(bytes.length);
    const entry = Buffer.concat([head, bytes]);
    for (let at = 0; at < entry.length; ) at += writeSync(this.file, entry, at);
    fsyncSync(this.file);
  }

  static *read(path) {
    const bytes = readFileSync(path);
    for (let at = 0; at < bytes.length; ) {
      const end = at + 4 + bytes.readUInt32BE(at);
      yield bytes.subarray(at + 4, end);
      at = end;
    }
  }
}

/** A room whose entries are JSON. `take` is given each one, when it comes and when the file is read again. */
class JsonRoom {
  store(log, body) {
    log.append(body);
    return this.take(JSON.parse(body));
  }
}

/** Lists of edits, each list with a key by which it is known when it comes again. For the outbox and for TanStack. */
class Rows extends JsonRoom {
  keys = new Set();
  rows = newRows();

  take(lists) {
    for (const { key, edits } of lists) {
      if (this.keys.has(key)) continue;
      this.keys.add(key);
      for (const edit of edits) {
        if (edit.op === 'put') this.rows[edit.table].set(edit.row.id, edit.row);
        else apply(this.rows, edit);
      }
    }
    return {};
  }

  all() {
    return Object.fromEntries(TABLES.map((table) => [table, [...this.rows[table].values()]]));
  }

  count() {
    return Object.fromEntries(TABLES.map((table) => [table, this.rows[table].size]));
  }
}

/** Pushes as Replicache documents them: a mutation counts if it is its client's next. The cookie is a version of the whole room. */
class ReplicacheRoom extends JsonRoom {
  version = 0;
  rows = newRows();
  changed = new Map();
  clients = new Map();

  take({ clientGroupID, mutations }) {
    this.version++;
    for (const { id, clientID, args } of mutations) {
      const client = this.clients.get(clientID) ?? { clientGroupID, lastMutationID: 0 };
      if (id !== client.lastMutationID + 1) continue;
      for (const edit of args) {
        apply(this.rows, edit);
        this.changed.set(`${edit.table}/${edit.id}`, this.version);
      }
      this.clients.set(clientID, { clientGroupID, lastMutationID: id, version: this.version });
    }
    return {};
  }

  pull({ clientGroupID, cookie }) {
    const since = cookie ?? 0;
    const patch = [];
    for (const [key, version] of this.changed) {
      if (version <= since) continue;
      const [table, id] = key.split('/');
      const value = this.rows[table].get(id);
      if (value !== undefined) patch.push({ op: 'put', key, value });
      else if (cookie !== null) patch.push({ op: 'del', key });
    }
    const own = [...this.clients].filter(
      ([, client]) => client.clientGroupID === clientGroupID && client.version > since,
    );
    const lastMutationIDChanges = Object.fromEntries(own.map(([id, { lastMutationID }]) => [id, lastMutationID]));
    return { cookie: this.version, lastMutationIDChanges, patch };
  }

  count() {
    return Object.fromEntries(TABLES.map((table) => [table, this.rows[table].size]));
  }
}

/** What RxDB's replication pushes: a row counts if the client knew the server's; else the server's is the answer. */
class RxdbRoom extends JsonRoom {
  version = 0;
  documents = Object.fromEntries(TABLES.map((table) => [table, new Map()]));

  take({ table, rows }) {
    const documents = this.documents[table];
    const conflicts = [];
    for (const { newDocumentState, assumedMasterState } of rows) {
      const { id } = newDocumentState;
      const own = documents.get(id)?.document;
      if (own !== undefined && !isDeepStrictEqual(own, assumedMasterState)) conflicts.push(own);
      else {
        documents.delete(id);
        documents.set(id, { document: newDocumentState, version: ++this.version });
      }
    }
    return conflicts;
  }

  /** A map keeps the order in which its keys came, which is that of the versions. */
  pull({ table, since, limit }) {
    const found = [];
    for (const one of this.documents[table].values()) {
      if (one.version > since) found.push(one);
      if (found.length === limit) break;
    }
    const checkpoint = { since: found.at(-1)?.version ?? since };
    return { documents: found.map(({ document }) => document), checkpoint };
  }

  count() {
    const there = (table) => [...this.documents[table].values()].filter(({ document }) => !document._deleted).length;
    return Object.fromEntries(TABLES.map((table) => [table, there(table)]));
  }
}

/** Entries are Yjs's updates. Nobody else is told of them: here, only one device at a time is connected. */
class YjsRoom {
  doc = new Doc();

  keep(log) {
    this.doc.on('update', (update) => log.append(Buffer.from(update)));
  }

  take(update) {
    applyUpdate(this.doc, update);
  }

  /** y-websocket's protocol. An update is on the disk before the next message is read. */
  join(socket) {
    const encoder = createEncoder();
    writeVarUint(encoder, MESSAGE_SYNC);
    writeSyncStep1(encoder, this.doc);
    socket.send(toUint8Array(encoder));
    socket.on('message', (message) => {
      const decoder = createDecoder(new Uint8Array(message));
      if (readVarUint(decoder) !== MESSAGE_SYNC) return;
      const answer = createEncoder();
      writeVarUint(answer, MESSAGE_SYNC);
      readSyncMessage(decoder, answer, this.doc, socket);
      if (length(answer) > 1) socket.send(toUint8Array(answer));
    });
  }

  count() {
    return Object.fromEntries(TABLES.map((table) => [table, this.doc.getMap(table).size]));
  }
}

const KINDS = { rows: Rows, replicache: ReplicacheRoom, rxdb: RxdbRoom, yjs: YjsRoom };
const rooms = new Map();

const pathOf = (kind, name) => join(folder, `${kind}-${name}`);

function roomOf(kind, name) {
  const path = pathOf(kind, name);
  if (!rooms.has(path)) {
    const [log, room] = [new Log(path), new KINDS[kind]()];
    room.keep?.(log);
    rooms.set(path, { log, room });
  }
  return rooms.get(path);
}

/** How many rows the file of a room holds, read anew. */
function countOnDisk(kind, name) {
  const room = new KINDS[kind]();
  for (const entry of Log.read(pathOf(kind, name))) room.take(kind === 'yjs' ? entry : JSON.parse(entry));
  return room.count();
}

const documents = () => new NodeFSStorageAdapter(join(folder, 'automerge'));
const automerge = new WebSocketServer({ noServer: true });
const repo = new Repo({
  network: [new WebSocketServerAdapter(automerge)],
  storage: documents(),
  sharePolicy: async () => false,
});

async function countDocument(id) {
  const fresh = new Repo({ storage: documents() });
  const doc = (await fresh.find(id)).doc();
  return Object.fromEntries(TABLES.map((table) => [table, Object.keys(doc[table]).length]));
}

async function answer(request) {
  const [, kind, name, what] = new URL(request.url, 'http://server').pathname.split('/');
  if (kind === 'disk') return name === 'automerge' ? countDocument(what) : countOnDisk(name, what);
  if (kind === 'automerge') {
    await repo.flush([name]);
    return {};
  }
  const { log, room } = roomOf(kind, name);
  if (request.method === 'GET') return room.all();
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  return what === 'pull' ? room.pull(JSON.parse(body)) : room.store(log, body);
}

const server = createServer(async (request, response) => {
  response.setHeader('access-control-allow-origin', '*');
  response.setHeader('access-control-allow-headers', '*, authorization');
  response.setHeader('access-control-max-age', '600');
  if (request.method === 'OPTIONS') return response.end();
  try {
    const body = JSON.stringify(await answer(request));
    response.setHeader('content-type', 'application/json');
    response.end(body);
  } catch (error) {
    console.error(error);
    response.statusCode = 500;
    response.end(error.message);
  }
});

const yjs = new WebSocketServer({ noServer: true });
server.on('upgrade', (request, socket, head) => {
  const [, kind, name] = request.url.split('/');
  if (kind === 'automerge') {
    automerge.handleUpgrade(request, socket, head, (connected) => automerge.emit('connection', connected, request));
  } else {
    yjs.handleUpgrade(request, socket, head, (connected) => roomOf('yjs', name).room.join(connected));
  }
});

server.listen(0, '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
