import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { AnyDb } from '../devtools/db.js';
import { measureDevice } from '../devtools/device.js';
import { Inspector } from '../devtools/inspector.js';
import { bytes, describe, duration, shortId, shortKey } from '../devtools/model/format.js';
import { layOut, linksOf, NODE, NODES_MAX } from '../devtools/model/graph.js';
import { History } from '../devtools/model/history.js';
import { REASONS, statusSentence } from '../devtools/model/reasons.js';
import { Ring } from '../devtools/model/ring.js';
import { type Seen, why } from '../devtools/model/why.js';
import { drawFault, faultWords, NO_FAULTS } from '../devtools/network/faults.js';
import type { Actions, State as Shown } from '../devtools/state.js';
import type { Node } from '../devtools/views/dom.js';
import { nextIndex } from '../devtools/views/tabs.js';
import { trace } from '../devtools/views/trace.js';
import { OPENING, type OutboxEntry } from '../status.js';

type State = OutboxEntry['state'];

const entry = (key: string, state: State, more: Partial<OutboxEntry> = {}): OutboxEntry => {
  const edits = [{ op: 'create', table: 'card', id: `row-of-${key}` } as const];
  return { key, state, edits, waits_on: [], problem: null, ...more };
};
const noRow = () => undefined;

// ---- Why ----

const NETWORK = { browser: true, app: true, isSimulated: false };
const SAVING = { ...OPENING, state: 'saving', reason: null, sender: true } as const;

/** Why a transaction waits among others, with all that is known beside. */
function whyOf(one: OutboxEntry, seen: Partial<Seen> = {}, others: readonly OutboxEntry[] = []): string {
  const all = [...others, one];
  return why(one, {
    now: 100_000,
    status: SAVING,
    network: NETWORK,
    since: null,
    pausedUntil: null,
    sentAt: null,
    isFirstLoad: false,
    entries: new Map(all.map((entry) => [entry.key, entry])),
    places: new Map(all.map(({ key }, index) => [key, index + 1])),
    ...seen,
  });
}

test('p3_why_something_waits_is_told_in_one_way_for_each_reason', () => {
  const queued = entry('c:2', 'queued');
  const offline = { ...SAVING, state: 'offline' } as const;
  const silent = { ...SAVING, state: 'not_saving', reason: 'sender_silent', sender: false } as const;
  const told = [
    whyOf(entry('c:1', 'saving')),
    whyOf(queued, { status: offline, network: { ...NETWORK, browser: false } }),
    whyOf(queued, { status: offline, network: { ...NETWORK, app: false } }),
    whyOf(queued, { status: offline }),
    whyOf(queued, { status: { ...offline, sender: false } }),
    whyOf(queued, { status: offline, pausedUntil: 112_000 }),
    whyOf(queued, { pausedUntil: 112_000 }),
    whyOf(queued, { status: { ...SAVING, state: 'not_saving', reason: 'unauthenticated' } }),
    whyOf(queued, { status: { ...SAVING, state: 'not_saving', reason: 'schema_newer' } }),
    whyOf(queued, { status: { ...SAVING, state: 'not_saving', reason: 'server_full' } }),
    whyOf(queued, { status: { ...SAVING, sender: false } }),
    whyOf(queued, { status: silent }),
    whyOf(queued, { isFirstLoad: true }),
    whyOf(queued, {}, [entry('c:1', 'in_flight')]),
    whyOf(queued),
    whyOf(entry('c:1', 'in_flight'), { sentAt: 98_800 }),
    whyOf(entry('c:1', 'in_flight'), { status: { ...SAVING, sender: false } }),
    whyOf(entry('c:1', 'in_flight'), { status: silent }),
    whyOf(entry('c:1', 'applied')),
  ];
  assert.deepEqual(told, [
    'Waits for this device’s disk: it is being written.',
    'Waits for the network. The browser says that there is no network.',
    'Waits for the network. The app has switched sending off.',
    'Waits for the network. The server cannot be reached. It is tried again by itself: after 30 s at most, or when the server says.',
    'Waits for the network. The tab that sends for this one says that it is offline.',
    'Waits for the network. The server cannot be reached. It is tried again in 12 s at the earliest.',
    'Waits for the server’s pause: it asked not to be asked for another 12 s.',
    'Waits for a token. The server wants a valid token: the app is asked for one at each try.',
    'Waits for a newer page. The server or another tab has a newer version of the app: load this page again.',
    'Waits for the server. The server’s disk is full. It is tried again by itself: after 30 s at most, or when the server says.',
    'Waits for another tab, which sends for this one.',
    'Waits for another tab. The tab that sends for this one has not answered for some seconds: this one takes over if it stays silent.',
    'Waits for the first load: nothing is sent before this device knows what the space holds.',
    'Waits for its turn behind the push in flight: one goes at a time.',
    'Nothing known here holds it: it goes with one of the next requests.',
    'Sent 1.2 s ago; the server has not answered yet.',
    'Another tab has sent it, and waits for the server’s answer.',
    'Another tab has sent it. The tab that sends for this one has not answered for some seconds: this one takes over if it stays silent.',
    'Taken by the server. It leaves the outbox once this device holds the revision that it made.',
  ]);
});

test('p3_what_waits_for_others_names_them_and_who_makes_them', () => {
  const problem = { code: 'missing_parent', detail: 'the card that this refers to was deleted' };
  const parked = entry('c:1', 'parked', { problem, dependents: ['c:2', 'c:3'] });
  const child = entry('c:2', 'waiting', { waits_on: ['c:1'] });
  const lost = entry('c:3', 'waiting', { waits_on: ['box 0199aaaa-bbbb'] });
  assert.equal(
    whyOf(parked, {}, []),
    'Held back until somebody decides: the card that this refers to was deleted. 2 more wait for it.',
  );
  assert.equal(whyOf(child, {}, [parked]), 'Waits for № 1, create card, which is held back (missing_parent).');
  assert.equal(whyOf(lost), 'Waits for the row box …a-bbbb, made by nobody known here.');
  const maker = entry('c:9', 'saving', { edits: [{ op: 'create', table: 'box', id: '0199aaaa-bbbb' }] });
  assert.equal(whyOf(lost, {}, [maker]), 'Waits for the row box …a-bbbb, made by create box.');
  const chain = entry('c:4', 'waiting', { waits_on: ['c:3'] });
  assert.equal(
    whyOf(chain, {}, [lost]),
    'Waits for № 1, create card, which waits for a row that nobody known here has made.',
  );
  const many = entry('c:8', 'waiting', { waits_on: ['a 1', 'a 2', 'a 3', 'a 4', 'a 5'] });
  assert.match(whyOf(many), /a 3, made by nobody known here; and for 2 more\.$/);
});

test('p3_each_reason_of_a_status_has_a_sentence', () => {
  const protocol = readFileSync('../../docs/protocol.md', 'utf8');
  const table = /## Errors of a request([\s\S]*?)Where `"unsure"/.exec(protocol)?.[1] ?? '';
  const rows = table.split('\n').filter((line) => /^\| \d/.test(line));
  const codes = rows.flatMap((row) =>
    [...(row.split('|')[2] ?? '').matchAll(/`(\w+)`/g)].map(([, code]) => code ?? ''),
  );
  assert.ok(codes.length > 20, 'the codes were found');
  const told = readFileSync('ts/status.ts', 'utf8');
  const reasons = [...told.matchAll(/`(storage_[a-z]+|schema_newer)`/g)].map(([, reason]) => reason ?? '');
  assert.ok(reasons.length > 6, 'the reasons were found');
  const without = [...codes, ...reasons, 'waiting', 'parked', 'opening', 'no answer', 'sender_silent'].filter(
    (one) => !REASONS[one],
  );
  assert.deepEqual(without, []);
});

test('p3_a_reason_that_nobody_knows_is_told_as_it_is', () => {
  const status = { ...SAVING, state: 'not_saving', reason: 'teapot' } as const;
  assert.equal(statusSentence(status, NETWORK), 'The server answered with “teapot”.');
  assert.equal(statusSentence({ ...SAVING, state: 'saved' }, NETWORK), 'Everything is on the server.');
});

// ---- The graph ----

test('p3_a_transaction_stands_to_the_right_of_what_it_comes_after', () => {
  const rows = new Map<string, object>([
    ['card row-of-c:2', { id: 'row-of-c:2', up: 'row-of-c:1' }],
    ['card row-of-c:3', { id: 'row-of-c:3', end: { card: 'row-of-c:2' }, other: { card: 'elsewhere' } }],
  ]);
  const entries = [
    entry('c:1', 'queued'),
    entry('c:2', 'queued'),
    entry('c:3', 'queued'),
    entry('c:4', 'waiting', { waits_on: ['box 7'] }),
  ];
  const { nodes, edges, more } = layOut(entries, (table, id) => rows.get(`${table} ${id}`));
  assert.deepEqual(
    edges.map(({ from, to, kind }) => [from, to, kind]),
    [
      ['box 7', 'c:4', 'waits'],
      ['c:1', 'c:2', 'uses'],
      ['c:2', 'c:3', 'uses'],
    ],
  );
  const column = (x: number) => (x - NODE.margin) / (NODE.width + NODE.gapX);
  assert.deepEqual(
    nodes.map(({ key, place, x }) => [key, place, column(x)]),
    [
      ['box 7', 0, 0],
      ['c:1', 1, 0],
      ['c:2', 2, 1],
      ['c:3', 3, 2],
      ['c:4', 4, 1],
    ],
  );
  assert.equal(new Set(nodes.map(({ x, y }) => `${x},${y}`)).size, nodes.length, 'no two at one place');
  assert.equal(more, 0);
});

test('p3_the_graph_is_bounded_and_a_cycle_ends', () => {
  const many = Array.from({ length: NODES_MAX + 300 }, (_, index) => entry(`c:${index}`, 'queued'));
  const graph = layOut(many, noRow);
  assert.deepEqual([graph.nodes.length, graph.more], [NODES_MAX, 300]);
  const cycle = [entry('c:1', 'queued', { waits_on: ['c:2'] }), entry('c:2', 'queued', { waits_on: ['c:1'] })];
  const { nodes, edges } = layOut(cycle, noRow);
  assert.deepEqual([nodes.length, edges.length], [2, 2]);
  const chain = Array.from({ length: NODES_MAX }, (_, i) =>
    entry(`c:${i}`, 'waiting', { waits_on: i > 0 ? [`c:${i - 1}`] : [] }),
  );
  assert.equal(layOut(chain, noRow).edges.length, NODES_MAX - 1);
});

test('p3_what_waits_on_something_that_is_not_shown_has_no_edge', () => {
  const { links, rows } = linksOf([entry('c:1', 'waiting', { waits_on: ['d:9'] })], noRow);
  assert.deepEqual([links, rows], [[], []]);
});

// ---- What has become of it ----

const push = (...seqs: number[]) => {
  const txns = seqs.map((seq) => ({ key: [0, seq], body: { edits: entry(`c:${seq}`, 'queued').edits } }));
  return JSON.stringify({ clients: [{ id: 'c' }], units: txns.map((txn) => ({ txns: [txn] })) });
};
const answer = (...outcomes: object[]) => JSON.stringify({ outcomes });
const marksOf = (history: History, key: string) => history.get(key)?.marks.map(({ what, at }) => `${what} ${at}`);

test('p3_a_timeline_tells_what_was_seen_from_made_to_accepted', () => {
  const history = new History();
  history.look([], true, 0);
  history.look([entry('c:1', 'saving')], true, 10);
  history.look([entry('c:1', 'queued')], true, 20);
  history.sent(push(1), 30);
  history.look([entry('c:1', 'in_flight')], true, 31);
  history.answered(push(1), null, 'no answer', 40);
  history.sent(push(1), 50);
  history.live([7], 58);
  history.answered(push(1), answer({ key: [0, 1], outcome: 'applied', rev: 7 }), null, 60);
  history.look([], true, 70);
  const expected = ['made 10', 'saved 20', 'sent 30', 'failed 40', 'sent 50', 'accepted 60', 'live 58'];
  assert.deepEqual(marksOf(history, 'c:1'), expected);
  assert.equal(history.get('c:1')?.rev, 7);
  assert.deepEqual(
    history.over(10).map(({ key }) => key),
    ['c:1'],
  );
});

test('p3_a_timeline_tells_on_whose_screens_it_is_once_they_say_so', () => {
  const history = new History();
  history.look([], true, 0);
  history.sent(push(1, 2), 10);
  history.seen([{ name: 'Ada', rev: 6 }], 15);
  history.answered(push(1), answer({ key: [0, 1], outcome: 'applied', rev: 7 }), null, 20);
  history.answered(push(2), answer({ key: [0, 2], outcome: 'applied', rev: 8 }), null, 21);
  const seen = (key: string) =>
    history.get(key)?.marks.flatMap(({ what, note, at }) => (what === 'seen' ? [`${note} ${at}`] : []));
  assert.deepEqual([seen('c:1'), seen('c:2')], [[], []]);
  history.seen([{ name: 'Ada', rev: 7 }], 30);
  history.seen([{ name: 'Ada', rev: 7 }], 31);
  assert.deepEqual([seen('c:1'), seen('c:2')], [['Ada 30'], []]);
  const crowd = Array.from({ length: 20 }, (_, n) => ({ name: `Person ${n}`, rev: 9 }));
  history.seen(crowd, 40);
  assert.deepEqual([seen('c:1')?.length, seen('c:2')?.length], [8, 8], 'no more than these are named');
  history.sent(push(3), 50);
  history.answered(push(3), answer({ key: [0, 3], outcome: 'applied', rev: 9 }), null, 60);
  assert.equal(seen('c:3')?.[0], 'Person 0 60', 'who was quicker than the answer is told with it');
});

test('p3_a_timeline_begins_where_it_was_found_and_says_what_it_did_not_see', () => {
  const history = new History();
  history.look([entry('c:1', 'queued'), entry('c:2', 'queued'), entry('c:3', 'queued')], true, 10);
  history.decided('c:2', 'discard', 20);
  history.look([entry('c:3', 'queued')], false, 25);
  assert.equal(history.get('c:1')?.overAt, null, 'it may wait beyond those that are told');
  history.look([entry('c:3', 'queued')], true, 30);
  assert.deepEqual(marksOf(history, 'c:1'), ['found 10', 'saved 10', 'left 30']);
  assert.deepEqual(marksOf(history, 'c:2'), ['found 10', 'saved 10', 'decided 20']);
  history.live([1, 2], 40);
  assert.deepEqual(marksOf(history, 'c:1'), ['found 10', 'saved 10', 'left 30'], 'nobody knows its revision');
});

test('p3_an_answer_that_is_read_late_is_no_guess', () => {
  const history = new History();
  history.look([], true, 0);
  history.sent(push(1), 10);
  history.look([], true, 20);
  history.answered(push(1), answer({ key: [0, 1], outcome: 'applied', rev: 3 }), null, 21);
  assert.deepEqual(marksOf(history, 'c:1'), ['made 10', 'saved 10', 'sent 10', 'accepted 21']);
});

test('p3_what_goes_out_was_on_disk_before_though_the_outbox_was_read_earlier', () => {
  const history = new History();
  history.look([], true, 0);
  history.look([entry('c:1', 'saving')], true, 10);
  history.sent(push(1), 20);
  history.look([entry('c:1', 'in_flight')], true, 30);
  assert.deepEqual(marksOf(history, 'c:1'), ['made 10', 'saved 20', 'sent 20']);
});

test('p3_a_refusal_is_told_once_and_a_retry_goes_on_from_it', () => {
  const history = new History();
  history.look([], true, 0);
  history.look([entry('c:1', 'queued')], true, 10);
  history.sent(push(1), 20);
  history.answered(push(1), answer({ key: [0, 1], outcome: 'refused', problem: { code: 'denied' } }), null, 30);
  history.look([entry('c:1', 'parked', { problem: { code: 'denied', detail: 'No.' } })], true, 31);
  assert.deepEqual(marksOf(history, 'c:1'), ['made 10', 'saved 10', 'sent 20', 'parked 30']);
  history.decided('c:1', 'retry', 40);
  history.look([entry('c:2', 'queued')], true, 41);
  const again = { clients: [{ id: 'c' }], units: [{ txns: [{ key: [0, 2], replaces: [[0, 1]], body: {} }] }] };
  history.sent(JSON.stringify(again), 50);
  const expected = ['made 10', 'saved 10', 'sent 20', 'parked 30', 'decided 40', 'made 41', 'saved 41', 'sent 50'];
  assert.deepEqual(marksOf(history, 'c:2'), expected);
  assert.equal(history.get('c:1'), undefined);
});

test('p3_what_is_remembered_is_bounded', () => {
  const history = new History();
  history.look([], true, 0);
  for (let seq = 1; seq <= 4_000; seq += 1) {
    history.look([entry(`c:${seq}`, 'queued')], true, seq);
  }
  assert.equal(history.over(10_000).length < 1_500, true);
  assert.equal(history.get('c:1'), undefined);
  history.look([entry('c:9999', 'queued')], true, 5_000);
  for (let i = 0; i < 500; i += 1) history.sent(push(9999), 6_000 + i);
  assert.equal(history.get('c:9999')?.marks.length, 40);
  assert.equal(history.get('c:9999')?.marks.at(-1)?.at, 6_499, 'the latest stay');
  assert.equal(history.get('c:9999')?.marks[0]?.what, 'made', 'and so do the first');

  const ring = new Ring<number>(3);
  for (let i = 0; i < 10; i += 1) ring.push(i);
  assert.deepEqual(ring.items, [7, 8, 9]);
});

test('p3_what_is_remembered_is_bounded_while_more_wait_than_are_told', () => {
  const history = new History();
  const told = Array.from({ length: 1_000 }, (_, index) => entry(`c:${index}`, 'queued'));
  history.look(told, false, 0);
  let seq = 1_000;
  for (let at = 1; at <= 50; at += 1) {
    // Those that went make room for others, and nobody can tell whether they went or wait behind.
    told.splice(0, 100);
    while (told.length < 1_000) told.push(entry(`c:${seq++}`, 'queued'));
    history.look(told, false, at);
  }
  const known = () => Array.from({ length: seq }, (_, index) => history.get(`c:${index}`)).filter(Boolean).length;
  assert.equal(known(), 1_500);
  assert.ok(told.every(({ key }) => history.get(key)));
  assert.deepEqual(marksOf(history, 'c:5999'), ['found 50', 'saved 50'], 'it may have been made long before');
  for (let at = 51; at < 60; at += 1) history.sent(push(...Array.from({ length: 500 }, () => seq++)), at);
  assert.equal(known(), 1_500);
  assert.ok(
    told.every(({ key }) => history.get(key)),
    'what is told stays',
  );
});

test('p3_a_timeline_that_goes_on_under_new_keys_is_bounded', () => {
  const history = new History();
  for (let seq = 1; seq <= 100; seq += 1) {
    const txn = { key: [0, seq], replaces: [[0, seq - 1]], body: {} };
    for (const at of [seq, seq + 0.5])
      history.sent(JSON.stringify({ clients: [{ id: 'c' }], units: [{ txns: [txn] }] }), at);
  }
  assert.equal(history.get('c:100')?.marks.length, 40);
});

// ---- The inspector itself ----

/** What it needs of a page. */
const browser = { onLine: true, storage: {} };
Object.defineProperty(globalThis, 'navigator', { value: browser });
Object.assign(globalThis, {
  window: globalThis,
  WebSocket: class {},
  document: { hidden: false },
  location: { href: 'http://localhost/' },
  requestAnimationFrame: (draw: () => void) => setTimeout(draw),
  cancelAnimationFrame: clearTimeout,
});

/** An inspector of a space with these in its outbox, what it has shown last, and what it was told to do. */
function inspected(outbox: readonly OutboxEntry[]) {
  const done: string[] = [];
  const space = {
    outbox,
    onClose: new Set<() => void>(),
    db: {
      home: { app: 'app', user: '', space: 'talk' },
      isOnline: true,
      status: SAVING,
      tables: {},
      onStatus: () => () => {},
      outbox: () => space.outbox,
      retry: (key: string) => done.push(`retry ${key}`),
      discard: (key: string) => done.push(`discard ${key}`),
      setOnline: () => done.push('online'),
      get onClose() {
        return space.onClose;
      },
    },
  };
  const inspector = new Inspector(space.db as unknown as AnyDb, async () => []);
  let shown: Shown | undefined;
  const look = () => inspector.view((state) => (shown = state));
  return { inspector, done, space, look, shown: () => shown as Shown };
}

const drawn = () => new Promise((resolve) => setTimeout(resolve, 200));

test('p3_what_cannot_be_taken_back_is_asked_for_each_transaction', async () => {
  const parked = ['c:1', 'c:2'].map((key) => entry(key, 'parked', { problem: { code: 'denied', detail: 'No.' } }));
  const { inspector, done, space, look, shown } = inspected(parked);
  look();
  const asked = async () => {
    await drawn();
    return shown().asked?.key;
  };
  inspector.decide('c:1', 'discard');
  inspector.decide('c:2', 'discard');
  assert.equal(await asked(), 'c:2');
  inspector.decide('c:2', 'discard');
  assert.deepEqual(done, [], 'only an answer carries it out');

  for (const leave of [() => inspector.show('outbox'), () => inspector.select('c:1')]) {
    inspector.decide('c:1', 'discard');
    leave();
    assert.equal(await asked(), undefined);
    inspector.confirm();
  }
  inspector.decide('c:1', 'discard');
  assert.equal(await asked(), 'c:1');
  space.outbox = parked.slice(1);
  inspector.select(null);
  inspector.decide('c:1', 'discard all');
  assert.equal(await asked(), undefined, 'it has left the outbox');
  assert.deepEqual(done, []);
  inspector.decide('c:2', 'discard');
  inspector.confirm();
  assert.deepEqual(done, ['discard c:2']);
  inspector.stop();
});

test('p3_what_is_simulated_and_seen_outlives_the_view_and_ends_with_the_space', async () => {
  const { fetch, WebSocket } = globalThis;
  const { inspector, space, look, shown } = inspected([entry('c:1', 'queued')]);
  let told = 0;
  inspector.onSimulated(() => {
    told += 1;
  });
  const leave = look();
  inspector.simulate({ latencyMs: 300 });
  leave();
  const before = shown();
  space.outbox = [entry('c:1', 'in_flight')];
  inspector.select('c:1');
  await drawn();
  assert.equal(shown(), before, 'nothing is drawn');
  assert.deepEqual([inspector.simulated, told], ['+300 ms', 1]);
  look();
  assert.deepEqual(
    shown().selected?.marks.map(({ what }) => what),
    ['found', 'saved', 'sent'],
  );

  space.db.outbox = () => {
    throw Object.assign(new Error('closed'), { code: 'closed' });
  };
  for (const end of space.onClose) end();
  assert.equal(shown().isClosed, true);
  inspector.simulate({ offline: true });
  assert.deepEqual([inspector.simulated, space.onClose.size], ['', 0]);
  assert.deepEqual([globalThis.fetch, globalThis.WebSocket], [fetch, WebSocket]);
});

test('p3_a_browser_that_does_not_tell_what_it_stores_is_not_waited_for', async () => {
  const refuse = () => Promise.reject(new DOMException('no', 'SecurityError'));
  browser.storage = { estimate: refuse, persisted: refuse };
  const device = await measureDevice({ app: 'app', user: '', space: 'talk' }, refuse);
  assert.deepEqual(
    { ...device, at: 0 },
    { usage: null, quota: null, databases: null, persisted: null, spaces: [], at: 0 },
  );
});

test('p3_a_trace_is_offered_where_the_app_can_keep_one', () => {
  let kept = 0;
  const actions = { keepTrace: () => (kept += 1) } as unknown as Actions;
  const buttons = (canKeepTrace: boolean) => {
    const all = (nodes: readonly (Node | string)[]): Node[] =>
      nodes.flatMap((node) => (typeof node === 'string' ? [] : [node, ...all(node.children)]));
    const shown = trace({ isTraced: false, canKeepTrace } as Shown, actions);
    return all(shown).filter(({ tag }) => tag === 'button');
  };
  assert.equal(buttons(false).length, 0);
  const [keep] = buttons(true);
  assert.deepEqual(keep?.children, ['Keep a trace']);
  keep?.props.on?.click?.(undefined as never);
  assert.equal(kept, 1);
});

// ---- Small things ----

test('p3_faults_are_drawn_as_often_as_was_said', () => {
  let next = 0;
  const inTurn = () => (next++ % 100) / 100;
  const count = (failPercent: number) => {
    const drawn = Array.from({ length: 100 }, () => drawFault({ ...NO_FAULTS, failPercent, failKind: 'lost' }, inTurn));
    return drawn.filter((fault) => fault === 'lost').length;
  };
  assert.deepEqual([count(0), count(25), count(100)], [0, 25, 100]);
  const kinds = [0, 0.4, 0.8].map((value) => {
    const values = [0, value];
    return drawFault({ ...NO_FAULTS, failPercent: 100 }, () => values.shift() ?? 0);
  });
  assert.deepEqual(kinds, ['unavailable', 'silent', 'lost']);
  assert.equal(
    faultWords({ offline: true, latencyMs: 300, failPercent: 50, failKind: 'any' }),
    'offline · +300 ms · 50 % fail',
  );
});

test('p3_numbers_and_names_are_short', () => {
  assert.deepEqual([0, 999, 1_000, 9_949, 9_951, 999_600, 12_345_678].map(bytes), [
    '0 B',
    '999 B',
    '1.0 kB',
    '9.9 kB',
    '10 kB',
    '1.0 MB',
    '12 MB',
  ]);
  assert.deepEqual([0, 12.4, 999.6, 9_960, 90_000, 300_000, 7_200_000].map(duration), [
    '0 ms',
    '12 ms',
    '1.0 s',
    '10 s',
    '90 s',
    '5 min',
    '2 h',
  ]);
  assert.deepEqual(
    [shortKey('20c666e1ad3f217b:12'), shortId('0199aaaa-bbbb'), shortId('7')],
    ['217b:12', '…a-bbbb', '7'],
  );
  assert.equal(describe({ edits: [] }), 'no edit');
  assert.deepEqual(
    ['ArrowRight', 'ArrowLeft', 'Home', 'End', 'x'].map((key) => nextIndex(key, 0, 3)),
    [1, 2, 0, 2, null],
  );
});
