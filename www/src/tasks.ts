/** Cards whose text is a list of things to tick off, as Markdown writes them: `- [ ] milk`. */

const TASK = /^(\s*(?:[-*+]|\d+[.)])\s+\[)([ xX])(\].*)$/;
const ITEM = /^(\s*)([-*+]|(\d+)([.)]))(\s+)(\[[ xX]\]\s+)?(.*)$/;
const FENCE = /^\s*(```|~~~)/;

/** Ticks the nth task of a text, or takes its tick away. What stands in a block of code is no task. */
export function toggleTask(text: string, nth: number): string {
  let seen = 0;
  let isCode = false;
  const lines = text.split('\n').map((line) => {
    if (FENCE.test(line)) isCode = !isCode;
    const [, before, mark, after] = (!isCode && TASK.exec(line)) || [];
    if (mark === undefined || seen++ !== nth) return line;
    return `${before}${mark === ' ' ? 'x' : ' '}${after}`;
  });
  return lines.join('\n');
}

/** Text to put in the place of what stands between two places of a text. */
export interface Replacement {
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

/** What Enter does in a list: the next item begins, or, in an empty item, the list ends. Undefined where there is no list. */
export function continueList(text: string, caret: number): Replacement | undefined {
  const from = text.lastIndexOf('\n', caret - 1) + 1;
  const [, indent, marker, number, point, space, box, words] = ITEM.exec(text.slice(from, caret)) ?? [];
  if (marker === undefined) return undefined;
  if (!words) return { from, to: caret, text: '' };
  const next = number === undefined ? marker : `${Number(number) + 1}${point}`;
  return { from: caret, to: caret, text: `\n${indent}${next}${space}${box ? '[ ] ' : ''}` };
}
