import assert from 'node:assert/strict';
import { test } from 'node:test';
import { graft, marksIn } from '../canvas/caret.js';

/** `|` stands for either end of what is marked. */
function marked(old: string, next: string): string {
  const [before = '', between = '', after] = old.split('|');
  const value = old.replaceAll('|', '');
  const selectionStart = before.length;
  const selectionEnd = after === undefined ? selectionStart : selectionStart + between.length;
  const [start, end] = marksIn({ value, selectionStart, selectionEnd }, next);
  const within = end > start ? `${next.slice(start, end)}|` : '';
  return `${next.slice(0, start)}|${within}${next.slice(end)}`;
}

test('the caret stays beside the words that it stood beside', () => {
  assert.equal(marked('one two|', 'zero one two'), 'zero one two|');
  assert.equal(marked('|one two', 'one two three'), '|one two three');
  assert.equal(marked('one| two', 'zero one two'), 'zero one| two');
  assert.equal(marked('one |two| three', 'zero one two three'), 'zero one |two| three');
});

test('where its words have gone the caret stands in their place', () => {
  assert.equal(marked('one tw|o three', 'one three'), 'one t|hree');
  assert.equal(marked('one|', ''), '|');
  assert.equal(marked('|', 'one'), '|one');
});

test('what is typed goes into what the text has become elsewhere', () => {
  assert.equal(graft('one two', 'one two three', 'zero one two'), 'zero one two three');
  assert.equal(graft('one two', 'one 2', 'one two\nmore'), 'one 2\nmore');
  assert.equal(graft('one', 'one', 'two'), 'two');
  assert.equal(graft('', 'typed', 'elsewhere'), 'typedelsewhere');
});
