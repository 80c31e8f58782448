import assert from 'node:assert/strict';
import { test } from 'node:test';
import { continueList, toggleTask } from '../tasks.js';

const LIST = 'To do\n- [ ] milk\n```\n- [ ] no task\n```\n  1. [x] bread\n* [ ] tea';

test('the nth task is ticked, and unticked again', () => {
  assert.equal(toggleTask(LIST, 0), LIST.replace('[ ] milk', '[x] milk'));
  assert.equal(toggleTask(LIST, 1), LIST.replace('[x] bread', '[ ] bread'));
  assert.equal(toggleTask(LIST, 2), LIST.replace('[ ] tea', '[x] tea'));
  assert.equal(toggleTask(LIST, 3), LIST);
  assert.equal(toggleTask(toggleTask(LIST, 2), 2), LIST);
});

/** What the text is after Enter at its end. */
function enter(text: string): string | undefined {
  const added = continueList(text, text.length);
  return added && text.slice(0, added.from) + added.text + text.slice(added.to);
}

test('Enter begins the next item, and ends the list in an empty one', () => {
  assert.equal(enter('- milk'), '- milk\n- ');
  assert.equal(enter('a\n  * [x] milk'), 'a\n  * [x] milk\n  * [ ] ');
  assert.equal(enter('9. milk'), '9. milk\n10. ');
  assert.equal(enter('- [ ] milk\n- [ ] '), '- [ ] milk\n');
  assert.equal(enter('milk'), undefined);
  assert.deepEqual(continueList('- milk and tea', 6), { from: 6, to: 6, text: '\n- ' });
});
