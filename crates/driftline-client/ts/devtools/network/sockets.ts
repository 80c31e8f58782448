/** Stands before `WebSocket` for a space's addresses: counts what the live connection brings, and closes it where it is to fail. */

import { readLive } from '../model/push.js';
import type { Finder } from './address.js';
import { drawFault } from './faults.js';
import type { Faulty, Watcher } from './fetches.js';
import type { Requests, Seen } from './requests.js';

export interface Sockets {
  /** Closes all that are open, as a network that goes away would. */
  closeAll(): void;
  stop(): void;
}

export function watchSockets(find: Finder, requests: Requests, watcher: Watcher, faulty: Faulty): Sockets {
  const Original = globalThis.WebSocket;
  const open = new Map<WebSocket, Seen>();
  let isOver = false;

  const hear = (socket: WebSocket, text: string) => {
    const seen = open.get(socket);
    if (!seen) return;
    requests.tell(seen, { messages: (seen.messages ?? 0) + 1, gotBytes: (seen.gotBytes ?? 0) + text.length });
    const { revs, pause } = readLive(text);
    if (revs.length > 0) watcher.live(revs);
    if (pause !== null) watcher.paused(pause * 1000);
  };

  const meet = (socket: WebSocket, status: number | null) => {
    const seen = requests.begin('LIVE', find(socket.url) ?? 'live', performance.now());
    requests.tell(seen, { status, messages: 0, gotBytes: 0 });
    open.set(socket, seen);
    socket.addEventListener('open', () => requests.tell(seen, { status: 101 }));
    socket.addEventListener('message', ({ data }) => !isOver && typeof data === 'string' && hear(socket, data));
    socket.addEventListener('close', ({ code }) => {
      open.delete(socket);
      const note = seen.note ?? `closed ${code}`;
      requests.tell(seen, { isOpen: false, note, ms: performance.now() - seen.start });
    });
    return seen;
  };

  const fail = (socket: WebSocket, note: string) => {
    const seen = open.get(socket);
    if (seen) requests.tell(seen, { note, isSimulated: true });
    socket.close();
  };

  const Wrapped = new Proxy(Original, {
    construct(target, args, newTarget) {
      const socket: WebSocket = Reflect.construct(target, args, newTarget === Wrapped ? target : newTarget);
      if (isOver || find(socket.url) === null) return socket;
      meet(socket, null);
      if (faulty.faults.offline) fail(socket, 'offline');
      else if (drawFault(faulty.faults, Math.random)) fail(socket, 'failed');
      return socket;
    },
  });
  globalThis.WebSocket = Wrapped;

  const stopMeeting = meetThoseOpen((socket, text) => {
    if (isOver || open.has(socket) || find(socket.url) === null || socket.readyState !== Original.OPEN) return;
    meet(socket, 101);
    hear(socket, text);
    if (faulty.faults.offline) fail(socket, 'offline');
  });

  return {
    closeAll: () => {
      for (const socket of [...open.keys()]) fail(socket, 'offline');
    },
    stop: () => {
      isOver = true;
      if (globalThis.WebSocket === Wrapped) globalThis.WebSocket = Original;
      stopMeeting();
    },
  };
}

/**
 * A connection that was opened before the inspector can be found in no other way than by what reads its messages, and the server
 * sends one every 2 s.
 */
function meetThoseOpen(met: (socket: WebSocket, text: string) => void): () => void {
  const original = Object.getOwnPropertyDescriptor(MessageEvent.prototype, 'data');
  const read = original?.get;
  if (!read) return () => {};
  const get = function (this: MessageEvent) {
    const data: unknown = Reflect.apply(read, this, []);
    if (this.target instanceof WebSocket && typeof data === 'string') met(this.target, data);
    return data;
  };
  Object.defineProperty(MessageEvent.prototype, 'data', { ...original, get });
  return () => {
    const now = Object.getOwnPropertyDescriptor(MessageEvent.prototype, 'data');
    if (now?.get === get) Object.defineProperty(MessageEvent.prototype, 'data', original);
  };
}
