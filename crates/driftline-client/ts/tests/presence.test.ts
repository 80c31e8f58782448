import assert from 'node:assert/strict';
import { beforeEach, mock, test } from 'node:test';
import { Db } from '../db.js';
import type { Engine } from '../engine.js';
import { joinPresence } from '../presence.js';
import { defineSchema } from '../schema.js';
import type { Status } from '../status.js';
import { FakeSocket, fakeSockets, settled } from './sockets.js';

const schema = defineSchema({ name: 's', version: 1, tables: { card: {} } });

beforeEach(() => {
  fakeSockets();
  mock.restoreAll();
  mock.timers.reset();
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  // The time of day goes backwards: no wait may depend on it.
  const now = Date.now.bind(Date);
  mock.method(performance, 'now', now);
  mock.method(Date, 'now', () => -now());
  // The longest wait that the back-off may choose.
  mock.method(Math, 'random', () => 1);
});

/** An open space; `say` tells a status, as the engine does. */
async function openSpace(home: { token?: () => string | null | Promise<string | null>; identity?: string } = {}) {
  let say!: (state: Status['state']) => void;
  const status = (state: Status['state']) => ({ state, reason: null, line: '' });
  const engine = {
    status: () => status('saved'),
    set_online: (online: boolean) => say(online ? 'saved' : 'offline'),
    close: async () => true,
    free: () => {},
  } as unknown as Engine;
  const db = await Db.over(
    schema,
    async (_onPatch, onEvent) => {
      say = (state) => onEvent(JSON.stringify({ event: 'status', status: status(state) }));
      return engine;
    },
    { app: 's', user: 'u', space: 'a', url: 'https://h:8/', identity: '', release: () => {}, ...home },
  );
  return { db, say };
}

/** Somebody who has joined, and is connected. */
async function join<P>(initial: P | null = null, home: Parameters<typeof openSpace>[0] = {}) {
  const space = await openSpace(home);
  const presence = joinPresence<P>(space.db, initial);
  const [errors, maps]: [string[], ReadonlyMap<string, P>[]] = [[], []];
  presence.onError(({ code }) => errors.push(code));
  presence.subscribe(() => maps.push(presence.others));
  await settled();
  FakeSocket.last.open();
  return { ...space, presence, errors, maps };
}

const wait = async (ms: number) => {
  mock.timers.tick(ms);
  await settled();
};

test('v5_joining_says_who_asks_and_what_they_say_and_wants_no_changes', async () => {
  await join({ name: 'Ada' }, { token: async () => 't', identity: 'ada%20l' });
  assert.equal(FakeSocket.last.url, 'wss://h:8/v1/spaces/a/live');
  assert.deepEqual(FakeSocket.last.sent, [
    { presence: true, token: 't', user: 'ada%20l' },
    { presence: { name: 'Ada' } },
  ]);
  await join();
  assert.deepEqual(FakeSocket.last.sent, [{ presence: true }], 'whoever says nothing looks on unseen');
});

test('v5_others_come_change_and_go_and_the_map_is_the_same_between', async () => {
  const { presence, maps } = await join<{ x: number }>();
  const nobody = presence.others;
  assert.equal(nobody.size, 0);
  FakeSocket.last.say({ presence: { a: { x: 1 }, b: { x: 2 } } });
  const two = presence.others;
  FakeSocket.last.say({ ping: 0 });
  assert.equal(presence.others, two);
  FakeSocket.last.say({ presence: { a: { x: 3 }, b: null } });
  const seen = maps.map((others) => Object.fromEntries(others));
  assert.deepEqual(seen, [{ a: { x: 1 }, b: { x: 2 } }, { a: { x: 3 } }]);
  assert.equal(two.size, 2, 'what was handed out does not change');
});

test('v5_the_latest_is_said_at_most_every_50_ms_and_nothing_twice', async () => {
  const { presence } = await join<number>();
  for (let x = 1; x <= 9; x += 1) presence.set(x);
  assert.deepEqual(FakeSocket.last.sent.slice(1), [{ presence: 1 }]);
  await wait(49);
  assert.equal(FakeSocket.last.sent.length, 2);
  await wait(1);
  presence.set(9);
  await wait(50);
  assert.deepEqual(FakeSocket.last.sent.slice(1), [{ presence: 1 }, { presence: 9 }]);
  presence.set(null);
  assert.deepEqual(FakeSocket.last.sent.at(-1), { presence: null });
});

test('v5_after_an_interruption_others_are_gone_and_what_one_says_is_said_again', async () => {
  const { presence, maps } = await join<string>('here');
  FakeSocket.last.say({ presence: { a: 'there' } });
  FakeSocket.last.end(1006);
  assert.deepEqual(
    maps.map((others) => [...others.keys()]),
    [['a'], []],
  );
  presence.set('still here');
  await wait(499);
  assert.equal(FakeSocket.all.length, 1);
  await wait(1);
  FakeSocket.last.open();
  assert.deepEqual(FakeSocket.last.sent, [{ presence: true }, { presence: 'still here' }]);
});

test('v5_it_connects_again_after_longer_and_longer_up_to_30_s', async () => {
  const waits: number[] = [];
  await join();
  for (let round = 0; round < 9; round += 1) {
    FakeSocket.last.end(1006);
    const [count, began] = [FakeSocket.all.length, performance.now()];
    while (FakeSocket.all.length === count) await wait(500);
    waits.push(performance.now() - began);
  }
  assert.deepEqual(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  // A word from the server ends the series.
  FakeSocket.last.open();
  FakeSocket.last.say({ ping: 0 });
  FakeSocket.last.end(1006);
  await wait(500);
  assert.equal(FakeSocket.all.length, 11);
});

test('v5_a_server_that_falls_silent_is_left_after_5_s', async () => {
  await join();
  await wait(4_999);
  FakeSocket.last.say({ ping: 0 });
  await wait(4_999);
  assert.equal(FakeSocket.last.readyState, 1);
  await wait(1);
  assert.equal(FakeSocket.last.readyState, 3);
  await wait(500);
  assert.equal(FakeSocket.all.length, 2);
  // Nor is one waited for that never answers at all.
  await wait(5_000);
  assert.equal(FakeSocket.last.readyState, 3);
});

test('v5_a_refused_credential_asks_the_app_for_another', async () => {
  const tokens = ['old', 'new'];
  const { errors } = await join('x', { token: () => tokens.shift() ?? null });
  FakeSocket.last.end(4401);
  await wait(500);
  FakeSocket.last.open();
  assert.deepEqual(FakeSocket.last.sent[0], { presence: true, token: 'new' });
  assert.deepEqual(errors, []);
});

test('v5_an_app_that_has_no_token_now_is_asked_again', async () => {
  let asked = 0;
  const { db } = await openSpace({
    token: () => {
      asked += 1;
      if (asked < 3) throw new Error('no network');
      return 't';
    },
  });
  joinPresence(db);
  await settled();
  assert.deepEqual([asked, FakeSocket.all.length], [1, 0]);
  await wait(500);
  await wait(1_000);
  assert.deepEqual([asked, FakeSocket.all.length], [3, 1]);
});

test('v5_a_refusal_is_told_once_by_its_code_and_tried_again', async () => {
  const { errors } = await join('x');
  for (const code of [4413, 4413, 4403, 4429, 4400]) {
    FakeSocket.last.end(code);
    await wait(30_000);
    FakeSocket.last.open();
  }
  assert.deepEqual(errors, ['presence_full', 'forbidden', 'rate_limited', 'invalid_request']);
  FakeSocket.last.say({ ping: 0 });
  FakeSocket.last.end(4400);
  await settled();
  assert.equal(errors.length, 5, 'a server that has taken this page again may refuse it anew');
});

test('v5_what_is_too_long_is_refused_and_what_was_said_stands', async () => {
  const { presence, errors } = await join<string>('short');
  presence.set('x'.repeat(1_022));
  presence.set('é'.repeat(512));
  await wait(50);
  await settled();
  assert.deepEqual(errors, ['presence_too_large']);
  assert.deepEqual(FakeSocket.last.sent.at(-1), { presence: 'x'.repeat(1_022) });
  const { errors: early } = await join('x'.repeat(1_023));
  assert.deepEqual(early, ['presence_too_large'], 'also where it is what one joins with');
});

test('v5_while_the_server_pauses_nothing_is_said_and_nobody_connects', async () => {
  const { presence } = await join<number>(1);
  FakeSocket.last.say({ pause: 10 });
  presence.set(2);
  FakeSocket.last.say({ ping: 0 });
  // Ten seconds, and the moment of one's own choice.
  for (let second = 0; second < 10; second += 1) {
    await wait(1_000);
    FakeSocket.last.say({ ping: 0 });
  }
  assert.equal(FakeSocket.last.sent.length, 2);
  await wait(1_000);
  assert.deepEqual(FakeSocket.last.sent.at(-1), { presence: 2 });

  FakeSocket.last.say({ pause: 10 });
  FakeSocket.last.end(1001);
  await wait(10_999);
  assert.equal(FakeSocket.all.length, 1);
  await wait(1);
  assert.equal(FakeSocket.all.length, 2);
});

test('v5_the_switch_of_the_app_ends_it_and_brings_it_back', async () => {
  const { db, presence } = await join<string>('here');
  FakeSocket.last.say({ presence: { a: 'there' } });
  db.setOnline(false);
  assert.equal(FakeSocket.last.readyState, 3);
  assert.equal(presence.others.size, 0);
  await wait(60_000);
  assert.equal(FakeSocket.all.length, 1);
  db.setOnline(true);
  await settled();
  FakeSocket.last.open();
  assert.deepEqual(FakeSocket.last.sent, [{ presence: true }, { presence: 'here' }]);
});

test('v5_switched_back_on_during_a_pause_it_waits_for_the_end_of_that', async () => {
  const { db } = await join();
  FakeSocket.last.say({ pause: 10 });
  db.setOnline(false);
  db.setOnline(true);
  await wait(10_999);
  assert.equal(FakeSocket.all.length, 1);
  await wait(1);
  assert.equal(FakeSocket.all.length, 2);
});

test('v5_where_the_engine_finds_the_server_again_it_connects_at_once', async () => {
  const { say } = await join();
  for (let round = 0; round < 6; round += 1) {
    FakeSocket.last.end(1006);
    await wait(16_000);
  }
  say('offline');
  FakeSocket.last.end(1006);
  await wait(0);
  assert.equal(FakeSocket.all.length, 7);
  say('saving');
  await settled();
  assert.equal(FakeSocket.all.length, 8);
});

test('v5_leaving_and_closing_the_space_end_it_for_good', async () => {
  const left = await join<string>('here');
  FakeSocket.last.say({ presence: { a: 'there' } });
  left.presence.leave();
  left.presence.set('again');
  left.say('offline');
  left.say('saved');
  await wait(60_000);
  assert.deepEqual([FakeSocket.all.length, FakeSocket.last.readyState, left.presence.others.size], [1, 3, 0]);

  const { db } = await join<string>('here');
  await db.close();
  await wait(60_000);
  assert.deepEqual([FakeSocket.all.length, FakeSocket.last.readyState], [2, 3]);
});

test('v5_whoever_leaves_at_once_or_on_hearing_of_the_loss_connects_no_more', async () => {
  const { db } = await openSpace();
  joinPresence(db).leave();
  await settled();
  assert.equal(FakeSocket.all.length, 0);

  const { presence } = await join<string>();
  FakeSocket.last.say({ presence: { a: 'there' } });
  presence.subscribe(presence.leave);
  FakeSocket.last.end(1006);
  await wait(60_000);
  assert.equal(FakeSocket.all.length, 1);
});
