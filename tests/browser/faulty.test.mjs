// The faulty network does what it says, fault by fault, before anything is held against it. Without the sync server.

import assert from 'node:assert/strict';
import { connect, createServer } from 'node:net';
import { test } from 'node:test';
import { startFaultyNetwork } from './faulty.mjs';
import { endAtExit, listen, until } from './harness.mjs';

const REQUEST = 'a request of some length\n';
const ANSWER = 'an answer of some length\n';

/** A server that answers each line. `heard` is all that has reached it. */
async function startAnswering() {
  const server = { heard: '' };
  const listener = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (data) => {
      server.heard += data;
      if (server.heard.endsWith('\n')) socket.write(ANSWER);
    });
  });
  endAtExit(() => listener.close());
  await listen(listener, 0);
  server.port = listener.address().port;
  return server;
}

/** Asks once, and returns what came back, how long after, and how the connection ended, if it did. */
async function ask(port) {
  const began = performance.now();
  const result = { answer: '', end: 'none', ms: 0 };
  const socket = connect(port, '127.0.0.1');
  socket.on('error', (error) => {
    result.end = error.code;
  });
  socket.on('data', (data) => {
    result.answer += data;
  });
  socket.on('close', () => {
    if (result.end === 'none') result.end = 'closed';
  });
  socket.write(REQUEST);
  await until('an answer, or the end', () => result.answer === ANSWER || result.end !== 'none', { everyMs: 1 });
  result.ms = performance.now() - began;
  socket.destroy();
  return result;
}

const EXPECTED = {
  delay: { heard: 'all', answer: 'all', end: 'none' },
  drop: { end: 'closed' },
  reset: { end: 'ECONNRESET' },
  truncate_request: { heard: 'part', answer: 'none', end: 'closed' },
  truncate_answer: { heard: 'all', answer: 'part', end: 'closed' },
  black_hole: { answer: 'none', end: 'closed', lasts: true },
  lose_answers: { heard: 'all', answer: 'none', end: 'closed', lasts: true },
  lose_requests: { heard: 'none', answer: 'none', end: 'closed', lasts: true },
};

const howMuch = (text, whole) => (text === whole ? 'all' : whole.startsWith(text) && (text === '' ? 'none' : 'part'));

test('each fault does to a connection what its name says, and is counted', async () => {
  for (const [name, expected] of Object.entries(EXPECTED)) {
    const server = await startAnswering();
    const network = await startFaultyNetwork(server.port, { seed: 5, every: 1, only: [name] });
    const calm = await ask(network.port);
    assert.deepEqual([calm.answer, calm.end, network.faults[name]], [ANSWER, 'none', 0], `${name}: calm at first`);

    server.heard = '';
    network.isCalm = false;
    const { answer, end, ms } = await ask(network.port);
    assert.equal(end, expected.end, name);
    if (expected.heard) assert.equal(howMuch(server.heard, REQUEST), expected.heard, `${name}: what the server heard`);
    if (expected.answer) assert.equal(howMuch(answer, ANSWER), expected.answer, `${name}: what came back`);
    if (expected.lasts) assert.ok(ms >= 200, `${name} lasts for a while`);
    assert.ok(network.faults[name] >= 1, `${name} is counted`);
  }
});

test('the same seed chooses the same faults', async () => {
  const server = await startAnswering();
  const only = ['drop', 'reset', 'truncate_answer', 'delay'];
  const run = async (seed) => {
    const network = await startFaultyNetwork(server.port, { seed, every: 2, only });
    network.isCalm = false;
    const ends = [];
    for (let i = 0; i < 40; i += 1) ends.push(howEnded(await ask(network.port)));
    return [ends, network.faults];
  };
  const first = await run(11);
  assert.deepEqual(await run(11), first);
  assert.notDeepEqual(await run(12), first);
  assert.ok(
    Object.values(first[1]).every((count) => count > 0),
    JSON.stringify(first[1]),
  );
});

// Whether a reset overtakes what was sent just before it is the system's business.
const howEnded = ({ answer, end }) => (answer === ANSWER ? 'answered' : end === 'none' ? 'none' : 'ended');
