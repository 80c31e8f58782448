/**
 * Row ids: UUID version 7 (RFC 9562), made here so that a new row has its id before any server hears of it.
 *
 * The counter in `rand_a` keeps ids of one tab in the order in which they were made, also within
 * a millisecond and when the clock steps back (RFC 9562, section 6.2, method 1).
 */

let lastMs = 0;
/** 12 bits of `rand_a`; it starts low so that there is room to count up. */
let count = 0;

export function newId(): string {
  const [start = 0, variant = 0, ...random] = crypto.getRandomValues(new Uint8Array(9));
  const now = Date.now();
  if (now > lastMs) {
    lastMs = now;
    count = start;
  } else if (++count > 0xfff) {
    // A full counter borrows the next millisecond rather than repeat itself.
    lastMs += 1;
    count = 0;
  }
  const time = lastMs.toString(16).padStart(12, '0');
  const tail = [(variant & 0x3f) | 0x80, ...random].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  const ordered = count.toString(16).padStart(3, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${ordered}-${tail.slice(0, 4)}-${tail.slice(4)}`;
}
