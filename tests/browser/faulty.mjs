// A TCP relay that does to connections what bad networks do. Which fault meets which part of which connection follows from a seed.
//
//   const network = await startFaultyNetwork(server.port, { seed: 1 });
//   await page.goto(network.url);
//   network.isCalm = false;                // from now on a share of what passes meets a fault
//   network.isCalm = true;                 // from now on everything passes
//   network.faults                         // { drop: 3, reset: 1, … }: how many of each there were
//   network.asked                          // how many chunks the browser has sent
//
// It relays bytes, so a WebSocket passes it, and meets faults, like any request.

import { createServer, connect as tcpConnect } from 'node:net';
import { endAtExit, listen } from './harness.mjs';
import { seeded } from './ledger.mjs';

/**
 * What can happen to a chunk of bytes on its way and to the connection that it came by. `up` is the browser's side, `down` the
 * server's. Each is bounded: what lets nothing pass for a while ends the connection afterwards, as a router does that forgets it.
 */
const FAULTS = {
  /** The chunk arrives late, and whatever follows it as well. */
  delay: (link, chunk, direction, random) => {
    const { from, to } = link[direction];
    from.pause();
    link.later(5 + random() * 400, () => {
      to.write(chunk);
      from.resume();
    });
  },
  /** The connection ends in order. */
  drop: (link) => link.end(),
  /** The connection ends with RST: what was under way is lost even where it had been received. */
  reset: (link) => link.reset(),
  /** A part of the request arrives, then the connection ends. */
  truncate_request: (link, chunk, _direction, random) => {
    link.down.to.end(part(chunk, random));
    link.later(50, () => link.end());
  },
  /** A part of the answer arrives, then the connection ends. */
  truncate_answer: (link, chunk, _direction, random) => {
    link.up.to.end(part(chunk, random));
    link.later(50, () => link.end());
  },
  /** Nothing passes, in either direction. */
  black_hole: (link, _chunk, _direction, random) => {
    link.swallow('up');
    link.swallow('down');
    link.later(200 + random() * 2_500, () => link.end());
  },
  /** What is asked arrives, and takes effect; no answer comes back. */
  lose_answers: (link, chunk, _direction, random) => {
    link.down.to.write(chunk);
    link.swallow('up');
    link.later(200 + random() * 2_500, () => link.end());
  },
  /** What the server says arrives; what it is asked does not. */
  lose_requests: (link, _chunk, _direction, random) => {
    link.swallow('down');
    link.later(200 + random() * 2_500, () => link.end());
  },
};

/** `down` goes to the server, `up` to the browser. */
const MEETS = {
  down: ['delay', 'drop', 'reset', 'truncate_request', 'black_hole', 'lose_answers', 'lose_requests'],
  up: ['delay', 'drop', 'reset', 'truncate_answer', 'black_hole'],
};

const part = (chunk, random) => chunk.subarray(0, Math.floor(random() * chunk.length));

/**
 * Starts the relay, calm at first. `every` is how many chunks pass on average until one meets a fault; `only` names the faults
 * where not all are wanted.
 */
export async function startFaultyNetwork(serverPort, { seed, every = 8, only = Object.keys(FAULTS) }) {
  const random = seeded(seed);
  const links = new Set();
  const faults = Object.fromEntries(only.map((name) => [name, 0]));
  const network = { url: undefined, port: undefined, faults, isCalm: true, asked: 0 };

  const pass = (link, direction, chunk) => {
    const wire = link[direction];
    if (direction === 'down') network.asked += 1;
    if (wire.isSwallowed) return;
    const meets = MEETS[direction].filter((name) => only.includes(name));
    if (!network.isCalm && meets.length > 0 && random() * every < 1) {
      const name = meets[Math.floor(random() * meets.length)];
      faults[name] += 1;
      FAULTS[name](link, chunk, direction, random);
    } else if (!wire.to.write(chunk)) {
      wire.from.pause();
      wire.to.once('drain', () => wire.from.resume());
    }
  };

  const relay = createServer((near) => {
    const far = tcpConnect(serverPort, '127.0.0.1');
    const timers = new Set();
    const link = {
      down: { from: near, to: far, isSwallowed: false },
      up: { from: far, to: near, isSwallowed: false },
      swallow: (direction) => {
        link[direction].isSwallowed = true;
      },
      later: (ms, act) => timers.add(setTimeout(act, ms)),
      end: () => {
        near.destroy();
        far.destroy();
      },
      reset: () => {
        near.resetAndDestroy();
        far.resetAndDestroy();
      },
    };
    links.add(link);
    for (const direction of ['down', 'up']) {
      const { from } = link[direction];
      from.setNoDelay(true);
      from.on('data', (chunk) => pass(link, direction, chunk));
      from.on('error', () => {}); // `close` follows, and says all there is to say.
      from.on('close', () => {
        for (const timer of timers) clearTimeout(timer);
        links.delete(link);
        link.end();
      });
    }
  });
  endAtExit(() => {
    relay.close();
    for (const link of links) link.end();
  });
  await listen(relay, 0);
  network.port = relay.address().port;
  network.url = `http://127.0.0.1:${network.port}`;
  return network;
}
