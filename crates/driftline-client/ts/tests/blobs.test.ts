import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { refuseLoose } from '../blobs/remove.js';
import { safeType, sha256 } from '../blobs/server.js';
import { parkedOf, statusOf, together } from '../blobs/status.js';
import { CHUNK_BYTES, type Entry, type RowToMake } from '../blobs/store.js';
import { DriftlineError } from '../errors.js';
import { OPENING, type OutboxEntry, type Status } from '../status.js';
import { memory, missing, part, problem, running, server, told } from './blobs.harness.js';

const BYTES = 2 * CHUNK_BYTES + 10;
const [HASH, OTHER] = ['aa', 'bb'];
const PNG = 'image/png';

/** Lets all promises that can be settled be. */
const settled = async () => {
  for (let n = 0; n < 50; n++) await new Promise((done) => setImmediate(done));
};

function clock(t: TestContext) {
  // The time of day stands still: no wait may depend on it.
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  t.mock.method(Date, 'now', () => 0);
  return async (ms: number) => {
    await settled();
    now += ms;
    t.mock.timers.tick(ms);
    await settled();
  };
}

test('v8_a_blob_goes_part_by_part_and_from_where_it_stands', async () => {
  const { store } = memory();
  await store.add(HASH, PNG, new ArrayBuffer(BYTES));
  const answers = [
    missing(),
    told(202, CHUNK_BYTES, BYTES),
    told(202, 2 * CHUNK_BYTES, BYTES),
    told(201, BYTES, BYTES),
  ];
  const fresh = server((_, nth) => answers[nth] as Response);
  await fresh.server.upload(store, HASH, PNG, BYTES, () => {});
  assert.deepEqual(
    fresh.seen.map(({ method, headers, bytes }) => [
      method,
      headers['upload-length'] ?? headers['upload-offset'],
      bytes,
    ]),
    [
      ['HEAD', undefined, 0],
      ['PUT', String(BYTES), CHUNK_BYTES],
      ['PATCH', String(CHUNK_BYTES), CHUNK_BYTES],
      ['PATCH', String(2 * CHUNK_BYTES), 10],
    ],
  );
  assert.equal(fresh.seen[1]?.headers['content-type'], PNG);
  assert.equal(fresh.seen[1]?.path, 'http://server/v1/spaces/a/blobs/aa');
  // Another version of the package had other parts.
  const later = server(
    (_, nth) =>
      [part(CHUNK_BYTES + 7, BYTES), told(202, 2 * CHUNK_BYTES, BYTES), told(201, BYTES, BYTES)][nth] as Response,
  );
  await later.server.upload(store, HASH, PNG, BYTES, () => {});
  assert.deepEqual(later.seen.map(({ method, bytes }) => [method, bytes]).slice(1), [
    ['PATCH', CHUNK_BYTES - 7],
    ['PATCH', 10],
  ]);
});

test('v8_what_the_server_has_is_not_sent_and_what_came_whole_is_only_looked_at', async () => {
  const { store } = memory();
  await store.add(HASH, PNG, new ArrayBuffer(BYTES));
  const whole = new Response(null, { headers: { 'upload-offset': String(BYTES), 'upload-length': String(BYTES) } });
  const there = server(() => whole);
  await there.server.upload(store, HASH, PNG, BYTES, () => {});
  assert.deepEqual(
    there.seen.map(({ method }) => method),
    ['HEAD'],
  );
  const unhashed = server((_, nth) => (nth === 0 ? part(BYTES, BYTES) : told(201, BYTES, BYTES)));
  await unhashed.server.upload(store, HASH, PNG, BYTES, () => {});
  assert.deepEqual([unhashed.seen[1]?.method, unhashed.seen[1]?.bytes], ['PATCH', 0]);
  const wrong = server((_, nth) => (nth === 0 ? part(5, 6) : told(201, BYTES, BYTES)));
  await wrong.server.upload(store, HASH, PNG, BYTES, () => {});
  assert.equal(wrong.seen[1]?.method, 'PUT', 'another length was begun with');
});

test('v8_what_comes_as_a_file_has_to_be_it', async () => {
  const content = new TextEncoder().encode('pixels');
  const hash = await sha256(content.buffer as ArrayBuffer);
  const { server: good } = server(() => new Response(content, { headers: { 'content-type': 'image/svg+xml' } }));
  const { type, content: came } = await good.download(hash);
  assert.deepEqual([type, new Uint8Array(came)], ['application/octet-stream', content]);
  const { server: bad } = server(() => new Response('other'));
  await assert.rejects(bad.download(hash), { code: 'hash_mismatch' });
  assert.deepEqual(['image/PNG', 'text/html', 'image/svg+xml', ''].map(safeType), [
    PNG,
    ...Array(3).fill('application/octet-stream'),
  ]);
});

test('r1_a_busy_server_is_asked_when_it_says_and_no_sooner', async (t) => {
  const pass = clock(t);
  const { store, entries } = memory();
  await store.add(HASH, PNG, new ArrayBuffer(10));
  const busy = problem(503, 'unavailable', { 'retry-after': '7' });
  const { seen, server: blobs } = server((_, nth) => [busy, missing(), told(201, 10, 10)][nth] as Response);
  const { troubles, stop } = running({ store, server: blobs });
  await pass(6_999);
  assert.equal(seen.length, 1);
  assert.deepEqual(troubles, ['unavailable']);
  await pass(1);
  assert.deepEqual([seen.length, entries.get(HASH)?.state, troubles.at(-1)], [3, 'uploaded', null]);
  await stop();
});

test('v8_a_part_that_does_not_get_through_is_halved_and_grows_again_by_little', async (t) => {
  const pass = clock(t);
  const { store, entries } = memory();
  await store.add(HASH, PNG, new ArrayBuffer(CHUNK_BYTES));
  const KIB = 1024;
  const parts: number[] = [];
  let offset = 0;
  const { server: blobs } = server(({ method, bytes }) => {
    if (method === 'HEAD') return offset > 0 ? part(offset, CHUNK_BYTES) : missing();
    parts.push(bytes / KIB);
    if (parts.length === 1) return new Promise(() => {});
    if (bytes > 200 * KIB) return new Response(null, { status: parts.length === 2 ? 408 : 413 });
    offset += bytes;
    return told(offset < CHUNK_BYTES ? 202 : 201, offset, CHUNK_BYTES);
  });
  const { stop } = running({ store, server: blobs });
  await pass(60_000);
  await settled();
  assert.equal(entries.get(HASH)?.state, 'uploaded');
  assert.deepEqual(parts, [1024, 512, 256, 128, 144, 160, 176, 192, 208, 104, 120]);
  await stop();
});

test('v8_a_file_that_somebody_else_sends_as_well_is_not_parked_while_it_grows', async (t) => {
  const pass = clock(t);
  const { store, entries } = memory();
  await store.add(HASH, PNG, new ArrayBuffer(100));
  let offset = 0;
  const { server: blobs } = server(({ method }) => {
    if (method !== 'HEAD') return problem(409, 'wrong_offset');
    offset += 5;
    return part(offset, 100);
  });
  const { stop } = running({ store, server: blobs });
  for (let n = 0; n < 10; n++) await pass(500);
  assert.deepEqual([offset, entries.get(HASH)?.state], [55, 'waiting']);
  await stop();
});

test('r1_what_stands_before_the_server_makes_all_files_wait_and_counts_against_none', async (t) => {
  for (const status of [429, 502, 503, 504]) {
    await t.test(`${status}`, async (t) => {
      const pass = clock(t);
      const { store, entries } = memory();
      for (const hash of [HASH, OTHER]) await store.add(hash, PNG, new ArrayBuffer(10));
      const away = new Response(null, { status, headers: { 'retry-after': '7' } });
      const { seen, server: blobs } = server(({ method }, nth) =>
        nth === 0 ? away : method === 'HEAD' ? missing() : told(201, 10, 10),
      );
      const { stop } = running({ store, server: blobs });
      await pass(6_999);
      assert.equal(seen.length, 1);
      await pass(1);
      assert.deepEqual(
        [...entries.values()].map(({ state }) => state),
        ['uploaded', 'uploaded'],
      );
      await stop();
    });
  }
});

test('v8_a_body_or_a_token_that_does_not_come_is_cut_and_one_that_comes_slowly_is_not', async (t) => {
  const pass = clock(t);
  const content = new TextEncoder().encode('pixels');
  const hash = await sha256(content.buffer as ArrayBuffer);
  let more: ReadableStreamDefaultController | undefined;
  const start = (controller: ReadableStreamDefaultController) => {
    more = controller;
  };
  const { server: blobs } = server(() => new Response(new ReadableStream({ start })));
  const cut = assert.rejects(blobs.download(hash), { code: 'unreachable', status: 408 });
  await pass(60_000);
  await cut;
  const slow = blobs.download(hash);
  for (const byte of content) {
    await pass(59_000);
    more?.enqueue(Uint8Array.of(byte));
  }
  await settled();
  more?.close();
  assert.deepEqual(new Uint8Array((await slow).content), content);
  const { server: mute } = server(missing, () => new Promise(() => {}) as never);
  const waits = assert.rejects(mute.look(hash), { code: 'unreachable', status: 408 });
  await pass(60_000);
  await waits;
});

test('r1_without_a_network_the_waits_double_up_to_a_cap_and_end_when_it_is_back', async (t) => {
  const pass = clock(t);
  const { store, entries } = memory();
  await store.add(HASH, PNG, new ArrayBuffer(10));
  let isBack = false;
  const { seen, server: blobs } = server(({ method }) => {
    if (!isBack) throw new TypeError('Failed to fetch');
    return method === 'HEAD' ? missing() : told(201, 10, 10);
  });
  const { uploads, troubles, stop } = running({ store, server: blobs });
  await settled();
  for (const [index, ms] of [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000].entries()) {
    await pass(ms - 1);
    assert.equal(seen.length, index + 1);
    await pass(1);
    assert.equal(seen.length, index + 2);
  }
  assert.deepEqual(troubles, ['unreachable']);
  isBack = true;
  uploads.hurry();
  await settled();
  assert.equal(entries.get(HASH)?.state, 'uploaded');
  await stop();
});

test('a2_a_refused_credential_keeps_all_and_another_is_asked_for', async (t) => {
  const pass = clock(t);
  const { store, entries } = memory();
  for (const hash of [HASH, OTHER]) await store.add(hash, PNG, new ArrayBuffer(10));
  let asked = 0;
  const answer = ({ method, headers }: { method: string; headers: Record<string, string> }) => {
    if (headers.authorization !== 'Bearer token 2') return new Response(null, { status: 401 });
    return method === 'HEAD' ? missing() : told(201, 10, 10);
  };
  const { seen, server: blobs } = server(answer, () => `token ${++asked > 1 ? 2 : 1}`);
  const { troubles, stop } = running({ store, server: blobs });
  await settled();
  assert.deepEqual([seen.length, troubles], [1, ['unauthenticated']]);
  assert.deepEqual(
    [...entries.values()].map(({ state }) => state),
    ['waiting', 'waiting'],
  );
  await pass(500);
  assert.deepEqual(
    [...entries.values()].map(({ state }) => state),
    ['uploaded', 'uploaded'],
  );
  assert.equal(troubles.at(-1), null);
  await stop();
});

test('r2_a_refused_blob_is_parked_and_one_on_which_the_server_fails_steps_aside', async (t) => {
  const pass = clock(t);
  const { store, entries } = memory();
  for (const hash of [HASH, OTHER, 'cc']) await store.add(hash, PNG, new ArrayBuffer(10));
  let fails = true;
  const { seen, server: blobs } = server(({ method, path }) => {
    if (path.endsWith(HASH)) return fails ? problem(500, 'internal') : told(201, 10, 10);
    if (method === 'HEAD') return missing();
    return path.endsWith(OTHER) ? problem(413, 'blobs_full') : told(201, 10, 10);
  });
  const { stop, uploads } = running({ store, server: blobs });
  await settled();
  const states = () => [...entries.values()].map(({ state }) => state);
  assert.deepEqual(states(), ['waiting', 'parked', 'uploaded']);
  assert.deepEqual(entries.get(OTHER)?.problem, { code: 'blobs_full', detail: 'blobs_full' });
  fails = false;
  const before = seen.length;
  await pass(499);
  assert.equal(seen.length, before);
  await pass(1);
  assert.deepEqual(states(), ['uploaded', 'parked', 'uploaded']);
  // Nothing is sent of what is parked until somebody says so.
  await pass(3_600_000);
  assert.equal(seen.filter(({ method, path }) => method === 'PUT' && path.endsWith(OTHER)).length, 1);
  await store.retry(OTHER);
  uploads.hurry();
  await settled();
  assert.equal(seen.filter(({ method, path }) => method === 'PUT' && path.endsWith(OTHER)).length, 2);
  await stop();
});

test('v8_bytes_that_this_device_has_lost_are_parked_and_a_wrong_offset_is_looked_at_again', async (t) => {
  const pass = clock(t);
  const { store, entries, lose } = memory();
  await store.add(HASH, PNG, new ArrayBuffer(10));
  await store.add(OTHER, PNG, new ArrayBuffer(10));
  lose(HASH);
  const { seen, server: blobs } = server(({ method }) =>
    method === 'HEAD' ? part(5, 10) : problem(409, 'wrong_offset'),
  );
  const { stop } = running({ store, server: blobs });
  await settled();
  assert.equal(entries.get(HASH)?.problem?.code, 'blob_lost');
  for (const ms of [500, 1_000, 2_000]) await pass(ms);
  assert.deepEqual([entries.get(OTHER)?.state, entries.get(OTHER)?.problem?.code], ['parked', 'wrong_offset']);
  assert.equal(seen.filter(({ method }) => method === 'PATCH').length, 4);
  await stop();
});

test('v8_a_row_is_made_after_its_blob_and_waits_for_room_and_a_refused_one_is_told', async (t) => {
  const pass = clock(t);
  const { store, rows } = memory();
  const row = (id: string): RowToMake => ({ table: 'image', row: { id } });
  await store.add(HASH, PNG, new ArrayBuffer(10), row('1'));
  await store.add(OTHER, PNG, new ArrayBuffer(10), row('2'));
  const order: string[] = [];
  let code: string | undefined = 'outbox_full';
  const { server: blobs } = server(({ method, path }) => {
    order.push(`${method} ${path.slice(-2)}`);
    return method === 'HEAD' ? missing() : told(201, 10, 10);
  });
  const make = async ({ row: { id } }: RowToMake) => {
    order.push(`make ${id}`);
    if (id === '2') throw new DriftlineError({ code: 'invalid', detail: 'no such column' });
    if (code) throw new DriftlineError({ code, detail: '' });
  };
  const { stop } = running({ store, server: blobs, make });
  await settled();
  assert.deepEqual(order, ['HEAD aa', 'PUT aa', 'make 1', 'HEAD bb', 'PUT bb']);
  assert.equal(rows().length, 2, 'what has no room is kept');
  code = undefined;
  await pass(500);
  assert.deepEqual(order.slice(5), ['make 1', 'make 2']);
  assert.deepEqual(rows(), [{ ...row('2'), hash: OTHER, problem: { code: 'invalid', detail: 'no such column' } }]);
  const held = await store.held();
  assert.deepEqual(parkedOf(held), [
    { hash: OTHER, bytes: 10, type: PNG, problem: { code: 'invalid', detail: 'no such column' } },
  ]);
  assert.equal(statusOf(held, null).reason, 'parked');
  await stop();
});

test('r6_the_status_of_files_and_of_a_space_with_them_is_true', () => {
  const entry = (state: Entry['state']): Entry => ({ bytes: 10, type: PNG, state, at: 0, usedAt: 0 });
  const toMake = { table: 'image', row: { id: '1' }, hash: HASH };
  const held = { entries: new Map([[HASH, entry('waiting')]]), rows: [toMake] };
  const brief = ({ state, reason }: Pick<Status, 'state' | 'reason'>) => `${state} ${reason}`;
  const waits = (...waits_on: string[]) => ({ waits_on }) as unknown as OutboxEntry;
  const space = (state: Status['state'], reason: string | null, parked = 0): Status => ({
    ...OPENING,
    state,
    reason,
    parked,
  });
  assert.equal(brief(statusOf(held, null)), 'saving null');
  assert.equal(brief(statusOf(held, 'unreachable')), 'offline null');
  assert.equal(brief(statusOf(held, 'unauthenticated')), 'not_saving unauthenticated');
  const uploaded = { ...held, entries: new Map([[HASH, entry('uploaded')]]) };
  assert.equal(brief(statusOf(uploaded, 'unreachable')), 'saving null', 'its row is still to be made');
  assert.equal(brief(statusOf({ ...uploaded, rows: [] }, null)), 'saved null');
  const both = (status: Status, outbox: OutboxEntry[], trouble: string | null = null) =>
    brief(together(status, statusOf(held, trouble), held, () => outbox));
  const waiting = space('not_saving', 'waiting');
  assert.equal(both(waiting, [waits('image 1'), waits('c:1')]), 'saving null');
  assert.equal(both(waiting, [waits('image 1')], 'unreachable'), 'offline null');
  assert.equal(both(waiting, [waits('image 1'), waits('card 9')]), 'not_saving waiting', 'nobody makes that row');
  assert.equal(both(space('not_saving', 'waiting', 1), [waits('image 1')]), 'not_saving waiting');
  assert.equal(both(space('not_saving', 'storage_full'), []), 'not_saving storage_full');
  assert.equal(both(space('offline', null), []), 'offline null');
  assert.equal(both(space('saved', null), []), 'saving null');
});

test('v8_a_reference_that_would_not_wait_for_the_file_is_refused', () => {
  const tables = (card: object) => ({ name: 's', version: 1, tables: { image: {}, card } }) as never;
  const to = { to: ['image'], nullable: true, on_delete: 'set_null' };
  const refused = (card: object) => () => refuseLoose(tables(card), 'image');
  assert.throws(refused({ edits_to_deleted: 'null', references: { image: to } }), { code: 'loose_reference' });
  refused({ references: { image: to } })();
  refused({ edits_to_deleted: 'null', references: { image: { to: ['image'], on_delete: 'cascade' } } })();
  refused({ edits_to_deleted: 'null', references: { image: { weak: true, nullable: true } } })();
  refused({ edits_to_deleted: 'null', references: { image: { ...to, to: ['card'] } } })();
});
