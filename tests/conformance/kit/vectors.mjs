// The vectors: reading them, and playing one against a server.

import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expand, write } from './expand.mjs';
import { followChanges, loadSnapshot } from './follow.mjs';
import { differs } from './match.mjs';

const FOLDER = new URL('../vectors/', import.meta.url);
/** For what a server does in the background. */
const RETRY_MS = 60_000;
const RETRY_EVERY_MS = 100;

/** All vectors of a level, in the order of the files. */
export function readVectors({ level = 'all', only } = {}) {
  const files = readdirSync(fileURLToPath(FOLDER)).filter((name) => name.endsWith('.json'));
  const all = files.sort().flatMap((name) => {
    const {
      level: ofFile,
      vectors = [],
      hashes = [],
      digests = [],
    } = JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8'));
    const made = [...vectors, ...hashes.map(hashVector), ...digests.map(digestVector)];
    return made.map((vector) => ({ level: ofFile, ...vector }));
  });
  return all.filter(
    (vector) => (level === 'all' || vector.level === level) && (only === undefined || vector.name === only),
  );
}

const CLIENT = '00000000000000c1';
const oneUnit = (body) => ({
  epoch: 1,
  cursor: 0,
  clients: [{ id: CLIENT, receipt: null, closed: [] }],
  units: [{ txns: [{ key: [0, 1], body }], after: [] }],
});

/** A body is known by its hash, which stands beside what it changed. */
const hashVector = ({ name, body, hash }) => ({
  name,
  rule: 'D2: a transaction is known by the bytes of its body',
  steps: [
    { push: oneUnit({ $raw: body }), expect: { outcomes: [{ outcome: 'applied', rev: 1 }] } },
    {
      get: `/v1/spaces/\${space}/changes?cursor=0`,
      expect: { changes: [{ rev: 1, parts: [{ key: [CLIENT, 1], hash }] }] },
    },
  ],
});

/** Rows come to a digest, whatever the order in which they are made. */
function digestVector({ name, rows, digest }) {
  const edits = rows.map(({ table, id, columns }) => ({ op: 'create', table, id, set: columns }));
  const body = { schema: 1, at: [1_700_000_000_000, 0], edits };
  return {
    name,
    rule: 'V4: equal rows have equal digests',
    steps: [
      { push: oneUnit(body), expect: { outcomes: [{ outcome: 'applied' }], digest } },
      { snapshot: { digest, count: rows.length } },
    ],
  };
}

/** Plays a vector in a space of its own. Throws where the server does otherwise; returns why it was skipped, if it was. */
export async function play(vector, server) {
  const needed = (vector.needs ?? []).find((need) => need === 'token' && server.token === undefined);
  if (needed !== undefined) return 'needs a token';
  const space = `kit-${randomBytes(8).toString('hex')}`;
  const run = { server, space, names: { space }, sockets: new Map() };
  try {
    for (const [i, step] of vector.steps.entries()) {
      const skipped = await played(step, run).catch((error) => {
        throw new Error(`step ${i + 1}: ${error.message}`);
      });
      if (skipped !== undefined) return skipped;
    }
    await followChanges(server, space);
  } finally {
    for (const socket of run.sockets.values()) socket.close();
  }
  return undefined;
}

async function played(step, run) {
  if (!step.retry) return STEPS[kindOf(step)](step, run);
  const deadline = Date.now() + RETRY_MS;
  for (;;) {
    try {
      return await STEPS[kindOf(step)](step, run);
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(RETRY_EVERY_MS);
    }
  }
}

function kindOf(step) {
  const kind = Object.keys(STEPS).find((name) => name in step);
  if (kind === undefined) throw new Error(`the kit knows no such step: ${Object.keys(step)}`);
  return kind;
}

const STEPS = {
  /** A reconcile request; its answer is 200 unless the step says otherwise. */
  async push(step, run) {
    const answer = await run.server.push(run.space, write(expand(step.push, run.names)), step.headers);
    check(step, answer, run);
  },

  async get(step, run) {
    const answer = await run.server.request({ path: expand(step.get, run.names), headers: step.headers });
    if (answer.status === step.skip) return `the server answers ${step.skip}`;
    return check(step, answer, run);
  },

  /** Any request: `{method, path, headers, json or text}`. */
  async request(step, run) {
    const { json, text, ...request } = expand(step.request, run.names);
    const answer = await run.server.request({ ...request, text: json === undefined ? text : write(json) });
    check(step, answer, run);
  },

  /** What the snapshot says; of the tables that are named it has these rows and no others. */
  async snapshot(step, run) {
    const found = await loadSnapshot(run.server, run.space);
    const wanted = expand(step.snapshot, run.names);
    // A table without rows may be left out.
    for (const table of Object.keys(wanted.rows ?? {})) found.rows[table] ??= {};
    must(differs(wanted, found, 'the snapshot'));
    for (const [table, rows] of Object.entries(wanted.rows ?? {})) {
      must(differs(Object.keys(rows).sort(), Object.keys(found.rows[table]).sort(), `the rows of ${table}`));
    }
    keep(step, found, run);
  },

  /** Opens a live connection under a name, and sends its first message. */
  async connect(step, run) {
    const socket = await run.server.connect(run.space);
    run.sockets.set(step.connect, socket);
    const token = run.server.token === undefined ? {} : { token: run.server.token };
    socket.send(write({ ...token, ...expand(step.say, run.names) }));
  },

  say: (step, run) => run.sockets.get(step.to).send(write(expand(step.say, run.names))),

  /** The next message with the members that are expected has their values. */
  async receive(step, run) {
    const wanted = expand(step.expect, run.names);
    const wants = (message) => Object.keys(wanted).every((name) => name in message);
    const message = await run.sockets.get(step.receive).receive(wants);
    must(differs(wanted, message, 'the message'));
    keep(step, message, run);
  },

  async closed(step, run) {
    must(differs(step.code, await run.sockets.get(step.closed).closed(), 'the close code'));
  },
};

function check({ status = 200, expect, keep: kept }, answer, run) {
  if (answer.status !== status)
    throw new Error(`the answer is ${answer.status} and not ${status}: ${answer.text.slice(0, 300)}`);
  const json = /[/+]json$/.test(answer.headers['content-type']?.split(';')[0] ?? '')
    ? JSON.parse(answer.text)
    : undefined;
  if (status >= 400) must(differs('application/problem+json', answer.headers['content-type'], 'the content type'));
  if (expect !== undefined) must(differs(expand(expect, run.names), json, 'the answer'));
  keep({ keep: kept }, json, run);
}

/** Keeps values of an answer for later steps: `{"receipt": "/clients/0/receipt"}`. */
function keep({ keep: kept = {} }, answer, run) {
  for (const [name, pointer] of Object.entries(kept)) {
    const value = pointer
      .split('/')
      .slice(1)
      .reduce((json, member) => json?.[member], answer);
    if (value === undefined) throw new Error(`the answer has nothing at ${pointer}`);
    run.names[name] = value;
  }
}

function must(difference) {
  if (difference !== undefined) throw new Error(difference);
}
