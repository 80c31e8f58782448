/** The text being typed. Every keystroke is an edit, so that a crash costs none; the engine folds them. */

import { useCallback, useId, useLayoutEffect, useRef, useState } from 'react';
import { continueList } from '../tasks.js';
import { graft, marksIn } from './caret.js';
import { useEditing } from './editing.js';
import { unsaved } from './unsaved.js';

type Field = HTMLTextAreaElement & HTMLInputElement;

export interface DraftProps {
  /** Of the item. */
  readonly id: string;
  readonly label: string;
  /** What the row holds as it is drawn. */
  readonly value: string;
  readonly multiline?: boolean;
  /** What the row holds by now; `undefined` where it has gone. */
  readonly read: () => string | undefined;
  /** Throws where the text is refused. */
  readonly write: (text: string) => void;
}

/** `undefined` is no row; `null` is a field that was never written. */
export const textOf = (field: string | null | undefined) => (field === null ? '' : field);

export function Draft({ id, label, value, multiline = false, read, write }: DraftProps) {
  const editing = useEditing();
  const field = useRef<Field>(null);
  const isComposing = useRef(false);
  const isEnding = useRef(false);
  const leave = useRef(editing.leave);
  leave.current = editing.leave;
  const problemId = useId();
  const [first] = useState(() => unsaved.get(id)?.text ?? value);
  const [problem, setProblem] = useState(() => unsaved.get(id)?.why);
  /** What the field and the row had in common last. */
  const common = useRef(unsaved.get(id)?.base ?? value);

  const input = (text: string) => {
    // While a word is composed the field takes nothing in: what has come meanwhile is in the row alone, and stays there.
    const now = read();
    const whole = now === undefined || now === common.current ? text : graft(common.current, text, now);
    const why = editing.tryTo(() => write(whole));
    if (why === undefined) {
      unsaved.delete(id);
      common.current = text;
    } else {
      unsaved.set(id, { text, base: common.current, why });
    }
    setProblem(why);
  };
  // What others write meanwhile goes into the field, or the next key would take it out of the row.
  const takeIn = useCallback(() => {
    const now = read();
    const element = field.current;
    if (!element || now === undefined || now === common.current || isComposing.current || unsaved.has(id)) return;
    common.current = now;
    const [start, end] = marksIn(element, now);
    element.value = now;
    element.setSelectionRange(start, end);
  }, [read, id]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new value is what there may be something to take in for.
  useLayoutEffect(takeIn, [takeIn, value]);

  useLayoutEffect(() => {
    const element = field.current;
    // Only at first: whoever comes back to the field goes on where the caret was.
    element?.setSelectionRange(element.value.length, element.value.length);
    // Where the item goes, or leaves the view, the focus would be nowhere.
    return () => {
      const hasFocus = document.activeElement === element;
      if (!isEnding.current && (hasFocus || unsaved.has(id))) leave.current(id, hasFocus);
    };
  }, [id]);

  const end = () => {
    isEnding.current = true;
    unsaved.delete(id);
    editing.end(true);
  };
  const onKeyDown = (event: React.KeyboardEvent<Field>) => {
    event.stopPropagation();
    if (event.nativeEvent.isComposing) return;
    // What has come since the last frame goes in before the key does.
    takeIn();
    const isEnter = event.key === 'Enter';
    const isDone = isEnter && (!multiline || event.ctrlKey || event.metaKey);
    if (event.key === 'Escape' || (isDone && !problem)) end();
    else if (isEnter && !isDone && !event.shiftKey) goOn(event);
  };
  const goOn = (event: React.KeyboardEvent<Field>) => {
    const element = event.currentTarget;
    const { selectionStart, selectionEnd } = element;
    const added = selectionStart === selectionEnd ? continueList(element.value, selectionStart ?? 0) : undefined;
    if (!added) return;
    event.preventDefault();
    element.setRangeText(added.text, added.from, added.to, 'end');
    input(element.value);
  };
  const Element = multiline ? 'textarea' : 'input';
  return (
    <>
      <Element
        ref={field}
        className="draft nodrag nopan nowheel"
        aria-label={label}
        aria-invalid={problem !== undefined}
        aria-describedby={problem && problemId}
        data-testid="draft"
        defaultValue={first}
        autoFocus
        onInput={(event) => input(event.currentTarget.value)}
        onCompositionStart={() => {
          isComposing.current = true;
        }}
        onCompositionEnd={({ currentTarget }) => {
          isComposing.current = false;
          // Some browsers tell of the last input only after this.
          input(currentTarget.value);
          takeIn();
        }}
        onBlur={() => !unsaved.has(id) && editing.end()}
        onKeyDown={onKeyDown}
        onPaste={takeIn}
      />
      {problem && (
        <p className="draft-problem nodrag" role="alert" id={problemId} data-testid="draft-problem">
          Not kept. {problem} Change it, or leave it as it was with Escape.
        </p>
      )}
    </>
  );
}
