/** Where the caret stands in a text that has changed around it. */

export interface Marked {
  readonly value: string;
  readonly selectionStart: number | null;
  readonly selectionEnd: number | null;
}

/** What was marked, or where the caret was, in the new text: beside the same words as before. */
export function marksIn({ value: old, selectionStart, selectionEnd }: Marked, next: string): [number, number] {
  const { head, tail } = shared(old, next);
  const moved = (at: number) => {
    if (at <= head) return at;
    if (at >= old.length - tail) return at + next.length - old.length;
    return Math.min(at, next.length - tail);
  };
  const start = moved(selectionStart ?? old.length);
  return [start, Math.max(start, moved(selectionEnd ?? old.length))];
}

/** What was typed between two texts, put into a third that the first has become elsewhere. */
export function graft(base: string, typed: string, elsewhere: string): string {
  const { head, tail } = shared(base, typed);
  const place = { value: base, selectionStart: head, selectionEnd: base.length - tail };
  const [start, end] = marksIn(place, elsewhere);
  return elsewhere.slice(0, start) + typed.slice(head, typed.length - tail) + elsewhere.slice(end);
}

/** How many characters two texts share at the beginning, and of the rest at the end. */
function shared(one: string, other: string): { head: number; tail: number } {
  const shorter = Math.min(one.length, other.length);
  let head = 0;
  while (head < shorter && one[head] === other[head]) head += 1;
  let tail = 0;
  while (tail < shorter - head && one[one.length - 1 - tail] === other[other.length - 1 - tail]) tail += 1;
  return { head, tail };
}
