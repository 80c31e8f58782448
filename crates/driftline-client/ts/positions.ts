/**
 * Positions: where a row stands among others, as a text that sorts. Between any two there is room for another.
 *
 * This is fractional indexing (David Greenspan, "Implementing Fractional Indexing", 2020) without its integer part: a position
 * is the fraction behind the point, in base 62. Chance is in it, so that two people who insert at one place rarely
 * come to one position; where they do, the id decides.
 */

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const BASE = 62n;
/** So many positions must be free before one of them is chosen: digits are added until there are. */
const ROOM = 1000n;

/** A position after `before` and before `after`; null stands for the beginning and for the end. */
export function positionBetween(before: string | null, after: string | null): string {
  if (before !== null && after !== null && before >= after) {
    if (before > after) throw new RangeError(`there is nothing between ${before} and ${after}: give them in order`);
    // Two rows stand at one place. The new one goes right behind both.
    return text(value(before, before.length + 3) + 1n + below(ROOM), before.length + 3);
  }
  for (let length = 1; ; length += 1) {
    const low = value(before ?? '', length);
    const high = after === null ? BASE ** BigInt(length) : value(after, length);
    const room = high - low - 1n;
    if (room < ROOM) continue;
    if (before !== null && after !== null) return text(low + 1n + room / 4n + below(room / 2n), length);
    // Rows are mostly added at an end. Short steps, and more digits before the last are used up, leave all of them short.
    if (room * room < BASE ** BigInt(length)) continue;
    if (before !== null && after === null) return text(low + 1n + below(ROOM / 2n), length);
    if (before === null && after !== null) return text(high - 1n - below(ROOM / 2n), length);
    return text(low + 1n + room / 4n + below(room / 2n), length);
  }
}

/** For `sort`: by a position, rows without one last, and by id where two have the same. */
export function byPosition<Field extends string>(field: Field) {
  type Placed = { readonly id: string } & { readonly [K in Field]: string | null };
  return (a: Placed, b: Placed): number => {
    const [x, y] = [a[field], b[field]];
    if (x !== y && (x === null || y === null)) return x === null ? 1 : -1;
    return compare(x ?? '', y ?? '') || compare(a.id, b.id);
  };
}

/** As bytes sort: what a locale thinks of upper and lower case is another order. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The first digits of a fraction, as a number. */
function value(digits: string, length: number): bigint {
  let sum = 0n;
  for (let i = 0; i < length; i += 1) sum = sum * BASE + BigInt(Math.max(0, DIGITS.indexOf(digits[i] ?? '0')));
  return sum;
}

function text(sum: bigint, length: number): string {
  let digits = '';
  for (let rest = sum, i = 0; i < length; i += 1, rest /= BASE) digits = DIGITS[Number(rest % BASE)] + digits;
  // A last 0 says nothing, and would leave no room before it.
  return digits.replace(/0+$/, '');
}

function below(limit: bigint): bigint {
  return BigInt(Math.floor(Math.random() * Number(limit)));
}
