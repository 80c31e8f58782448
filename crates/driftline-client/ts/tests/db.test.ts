import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Db } from '../db.js';
import type { Engine } from '../engine.js';
import { DriftlineError } from '../errors.js';
import { newId } from '../ids.js';
import { defineSchema, increment } from '../schema.js';

const schema = defineSchema({
  name: 's',
  version: 1,
  tables: {
    card: {
      fields: {
        name: { type: 'text', default: '' },
        votes: { type: 'counter' },
        body: { type: 'text', default: 'new', merge: 'three_way' },
        about: { type: 'text', nullable: true, merge: 'three_way' },
        labels: { type: 'set' },
      },
      references: { up: { to: ['card'], nullable: true, on_delete: 'set_null' } },
    },
  },
});

const HOME = { app: 's', user: 'u', space: 'a', url: '', identity: '', release: () => {} };

/** Answers with what the test puts there, and keeps what crossed the boundary. */
function scripted() {
  const sent: unknown[] = [];
  const answers: object[] = [];
  const session = {
    edit(json: string) {
      sent.push(JSON.parse(json));
      return JSON.stringify(answers.shift());
    },
    status: () => ({ state: 'saved', line: 'q0 f0 p0 r0' }),
    close: async () => true,
    free: () => {},
  } as unknown as Engine;
  let say!: (event: object) => void;
  const open = Db.over(
    schema,
    async (_onPatch, onEvent) => {
      say = (event) => onEvent(JSON.stringify(event));
      return session;
    },
    HOME,
  );
  return { sent, answers, open, say: (event: object) => say(event) };
}

test('q4_a_create_is_seen_when_the_call_returns', async () => {
  const { sent, answers, open } = scripted();
  const db = await open;
  answers.push({ key: 'c:1', patch: [['card', 'a', { name: 'x', votes: 0, up: null }, 1]] });
  const change = db.tables.card.create({ id: 'a', name: 'x' });
  assert.equal(change.id, 'a');
  assert.equal(db.tables.card.get('a')?.name, 'x');
  assert.deepEqual(sent, [{ edits: [{ op: 'create', table: 'card', id: 'a', set: { name: 'x' } }] }]);
});

test('increments cross apart from values, undefined is left out and null is kept', async () => {
  const { sent, answers, open } = scripted();
  const db = await open;
  answers.push({ key: 'c:1', patch: [] });
  const patch = { name: undefined, votes: increment(2), up: null };
  db.transaction((tx) => tx.card.update('a', patch as never), { after: ['c:0'] });
  const edit = { op: 'update', table: 'card', id: 'a', set: { up: null }, add: { votes: 2 } };
  assert.deepEqual(sent, [{ edits: [edit], after: ['c:0'] }]);
});

test('i7_a_text_crosses_with_what_it_was_in_the_view_or_earlier_in_the_transaction', async () => {
  const { sent, answers, open } = scripted();
  const db = await open;
  const row = { name: 'x', votes: 0, body: 'was', body_conflict: ['lost', 'too'], about: null, labels: [], up: null };
  answers.push({ key: 'c:1', patch: [['card', 'a', row, 1]] }, { key: 'c:2', patch: [] }, { key: 'c:3', patch: [] });
  db.tables.card.create({ id: 'a' });
  db.tables.card.update('a', { name: 'y', body: 'is', body_conflict: null, about_conflict: null });
  const texts = { op: 'update', table: 'card', id: 'a', set: { name: 'y' } };
  const merges = { text: { body: ['was', 'is'] }, remove: { body_conflict: ['lost', 'too'] } };
  assert.deepEqual(sent[1], { edits: [{ ...texts, ...merges }] });
  db.transaction((tx) => {
    tx.card.update('a', { body: 'one', about: 'x' });
    tx.card.update('a', { body: 'two', about: null });
    const id = tx.card.create({ id: 'b', about: 'given' });
    tx.card.update(id, { body: 'three', about: 'y' });
    tx.card.update('nobody', { body: 'four', about: 'z' });
  });
  const edits = (sent[2] as { edits: { text?: object }[] }).edits.map((edit) => edit.text);
  assert.deepEqual(edits, [
    { body: ['was', 'one'], about: [null, 'x'] },
    { body: ['one', 'two'], about: ['x', null] },
    undefined,
    { body: ['new', 'three'], about: ['given', 'y'] },
    { body: ['', 'four'], about: [null, 'z'] },
  ]);
});

test('i7_elements_of_a_set_cross_one_by_one', async () => {
  const { sent, answers, open } = scripted();
  const db = await open;
  answers.push({ key: 'c:1', patch: [] }, { key: 'c:2', patch: [] });
  db.tables.card.update('a', { labels: { insert: ['x'], remove: ['y'] } });
  db.tables.card.update('a', { labels: { insert: ['z'] } });
  const edit = { op: 'update', table: 'card', id: 'a' };
  assert.deepEqual(sent, [
    { edits: [{ ...edit, insert: { labels: ['x'] }, remove: { labels: ['y'] } }] },
    { edits: [{ ...edit, insert: { labels: ['z'] } }] },
  ]);
});

test('a refused edit throws with its code and changes nothing', async () => {
  const { answers, open } = scripted();
  const db = await open;
  const rows = [{ table: 'card', id: 'b' }];
  answers.push({ problem: { code: 'restricted', title: 't', detail: 'delete b first', rows } });
  assert.throws(
    () => db.tables.card.delete('a'),
    (error) => error instanceof DriftlineError && error.code === 'restricted' && error.rows[0]?.id === 'b',
  );
});

test('q9_saved_and_accepted_settle_by_key_also_when_folded_or_rekeyed', async () => {
  const { answers, open, say } = scripted();
  const db = await open;
  answers.push({ key: 'c:1', patch: [] }, { key: 'c:1', patch: [] });
  const first = db.tables.card.update('a', { name: 'x' });
  const second = db.tables.card.update('a', { name: 'y' });
  say({ event: 'saved', keys: ['c:1'] });
  await Promise.all([first.saved, second.saved]);
  say({ event: 'rekeyed', from: 'c:1', to: 'd:1' });
  assert.equal(second.key, 'd:1');
  say({ event: 'accepted', keys: ['d:1'] });
  await Promise.all([first.accepted, second.accepted]);
});

test('a parked transaction rejects accepted, and nobody has to listen', async () => {
  const { answers, open, say } = scripted();
  const db = await open;
  answers.push({ key: 'c:1', patch: [] }, { key: 'c:2', patch: [] });
  const parked = db.tables.card.delete('a');
  db.tables.card.delete('b');
  say({ event: 'parked', key: 'c:1', problem: { code: 'missing_parent', detail: 'gone' } });
  say({ event: 'discarded', key: 'c:2' });
  await assert.rejects(parked.accepted, { code: 'missing_parent', name: 'DriftlineError' });
});

test('status, loaded and closing', async () => {
  const { open, say } = scripted();
  const db = await open;
  assert.equal(db.status.state, 'saved');
  const seen: string[] = [];
  db.onStatus((status) => seen.push(status.line));
  say({ event: 'status', status: { ...db.status, line: 'q1 f0 p0 r0' } });
  assert.deepEqual(seen, ['q1 f0 p0 r0']);
  say({ event: 'loaded' });
  await db.loaded;
  await db.close();
  await db.close();
  assert.throws(() => db.tables.card.delete('a'), { code: 'closed' });
});

test('ids are UUIDs of version 7, in order, and never the same', () => {
  const ids = Array.from({ length: 10_000 }, newId);
  assert.deepEqual([...ids].sort(), ids);
  assert.equal(new Set(ids).size, ids.length);
  for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.ok(Math.abs(Number.parseInt(newId().replace('-', '').slice(0, 12), 16) - Date.now()) < 1000);
});
