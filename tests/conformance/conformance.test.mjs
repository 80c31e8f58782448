// The kit against the real server and against the second one; and that it finds what is wrong with a server.

import assert from 'node:assert/strict';
import { appendFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '../browser/harness.mjs';
import { differs } from './kit/match.mjs';
import { ServerUnderTest } from './kit/server.mjs';
import { readVectors } from './kit/vectors.mjs';
import { issueToken, runKit, startDriftline, startSecond } from './start.mjs';

const namesOf = (lines, result) =>
  lines.filter((line) => line.startsWith(`${result} `)).map((line) => line.split(/\s+/)[1]);
const failed = ({ lines }) => lines.filter((line) => !/^(ok|skip) /.test(line)).join('\n');

test('p4_the_server_passes_all_vectors', async () => {
  const { url } = await startDriftline({ args: ['--search'] });
  const run = await runKit(url);
  assert.equal(run.code, 0, failed(run));
  const needToken = readVectors().filter(({ needs = [] }) => needs.includes('token'));
  assert.deepEqual(
    namesOf(run.lines, 'skip'),
    needToken.map(({ name }) => name),
  );
});

test('p4_the_server_passes_all_vectors_with_a_token', async () => {
  const secret = join(tempDir(), 'secret');
  const token = await issueToken(secret, '--sub', 'ada');
  const { url } = await startDriftline({ secret, args: ['--search', '--burst-requests', '100000'] });
  const run = await runKit(url, '--token', token);
  assert.equal(run.code, 0, failed(run));
  assert.deepEqual(
    namesOf(run.lines, 'ok'),
    readVectors().map(({ name }) => name),
  );
});

test('p4_a_server_in_another_language_passes_the_core', async () => {
  const { url } = await startSecond();
  const run = await runKit(url, '--level', 'core');
  assert.equal(run.code, 0, failed(run));
  assert.deepEqual(
    namesOf(run.lines, 'ok'),
    readVectors({ level: 'core' }).map(({ name }) => name),
  );
});

const FAULTS = {
  applies_twice: 'd1_a_resend_gets_the_first_answer',
  forgets_marks: 'd4_a_closed_key_is_told_from_the_log',
  forgets_gaps: 'd4_a_gap_stays_a_gap',
  ignores_epochs: 'o5_an_older_epoch_changes_nothing',
  ignores_order: 'o2_what_comes_after_something_unknown_is_held',
  half_a_unit: 'o6_a_transaction_takes_effect_whole_or_not_at_all',
  takes_orphans: 'i3_a_reference_to_nothing_is_refused',
  hides_cascades: 'i4_cascade_ends_on_cycles_and_diamonds',
  leaves_orphans: 'i4_cascade_goes_all_the_way_down',
  knows_no_copies: 'd5_receipts_tell_a_lost_answer_from_a_copy',
  last_to_come_wins: 'i7_a_field_goes_to_the_last_writer',
  wrong_digest: 'v4_digest_of_every_kind',
};

for (const [fault, vector] of Object.entries(FAULTS)) {
  test(`p4_the_fault_${fault}_is_found`, async () => {
    const { url } = await startSecond({ fault });
    const run = await runKit(url, '--level', 'core');
    assert.equal(run.code, 1);
    assert.ok(namesOf(run.lines, 'FAIL').includes(vector), run.lines.join('\n'));
    assert.equal((await runKit(url, '--only', vector)).code, 1, 'the one vector, too');
    assert.equal(
      (await runKit(url, '--only', 'v1_a_push_carries_the_changes_after_its_cursor')).code,
      0,
      'another holds',
    );
  });
}

const CLIENT = '00000000000000a1';
const CARD = '00000000-0000-7000-8000-0000000000c1';
const txn = (seq, edit) => ({ key: [0, seq], body: { schema: 1, at: [1_700_000_000_000 + seq, 0], edits: [edit] } });
const pushOf = (...txns) =>
  JSON.stringify({
    epoch: 1,
    cursor: 0,
    clients: [{ id: CLIENT, receipt: null, closed: [] }],
    units: txns.map((one) => ({ txns: [one], after: [] })),
  });
const FIRST = txn(1, { op: 'create', table: 'card', id: CARD });
const SECOND = txn(2, { op: 'update', table: 'card', id: CARD, add: { votes: 2 } });

test('p4_the_second_server_keeps_what_it_answered', async () => {
  const file = join(tempDir(), 'log');
  const server = await startSecond({ file });
  const before = JSON.parse((await new ServerUnderTest(server.url).push('a', pushOf(FIRST, SECOND))).text);
  assert.equal(before.rev, 2);
  await server.kill();
  const whole = readFileSync(file).length;
  // What was being written when it was killed.
  appendFileSync(file, '{"space": "a", "principal"');
  const again = await startSecond({ file });
  assert.equal(readFileSync(file).length, whole, 'the line that was not whole is gone');
  const after = JSON.parse((await new ServerUnderTest(again.url).push('a', pushOf(FIRST, SECOND))).text);
  assert.deepEqual(after, before);
});

test('p4_the_kit_tells_answers_apart', () => {
  assert.equal(differs({ a: 1, b: [{ c: null }] }, { a: 1, b: [{ c: null, d: 2 }], e: 3 }), undefined);
  for (const [wanted, found] of [
    [{ a: 1 }, { a: 2 }],
    [{ a: 1 }, { a: '1' }],
    [{ a: null }, {}],
    [[1], [1, 2]],
    [[1], { 0: 1 }],
    [{ $absent: true }, null],
    [{ $maybe: 1 }, 2],
    [{ $not: 1 }, 1],
    [{ $some: [1, 2] }, [1, 3]],
    [{ $length: 1 }, []],
    [{ $type: 'object' }, []],
    [{ $match: '^a$' }, 'ab'],
  ]) {
    assert.match(differs(wanted, found), /^it/, JSON.stringify({ wanted, found }));
  }
});

test('p4_the_kit_says_how_it_is_called', async () => {
  assert.equal((await runKit()).code, 2);
  assert.equal((await runKit('http://127.0.0.1:1', '--level', 'most')).code, 2);
  assert.equal((await runKit('http://127.0.0.1:1', '--only', 'no_such_vector')).code, 2);
  const nobody = await runKit('http://127.0.0.1:1', '--only', 'v1_a_push_is_answered_and_read_back');
  assert.equal(nobody.code, 1, 'where nobody listens no vector passes');
});
