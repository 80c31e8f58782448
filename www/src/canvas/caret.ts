/** Where the caret stands in a text that has changed around it. */

export interface Marked {
  readonly value: string;
  readonly selectionStart: number | null;
  readonly selectionEnd: number | null;
}

/** What was marked, or where the caret was, in the new text: beside the same words as before. */
export function marksIn({ value: old, selectionStart, selectionEnd }: Marked, next: string): [number, number] {
  const shorter = Math.min(old.length, next.length);
  let head = 0;
  while (head < shorter && old[head] === next[head]) head += 1;
  let tail = 0;
  while (tail < shorter - head && old[old.length - 1 - tail] === next[next.length - 1 - tail]) tail += 1;
  const moved = (at: number) => {
    if (at <= head) return at;
    if (at >= old.length - tail) return at + next.length - old.length;
    return Math.min(at, next.length - tail);
  };
  const start = moved(selectionStart ?? old.length);
  return [start, Math.max(start, moved(selectionEnd ?? old.length))];
}
