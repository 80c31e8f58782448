/** Rectangles of a canvas: x to the right, y down, in the canvas's own pixels. */

export interface Place {
  readonly x: number;
  readonly y: number;
}

export const distance = (a: Place, b: Place): number => Math.hypot(a.x - b.x, a.y - b.y);

/** No hand and no key makes an item smaller. From elsewhere come smaller ones, which stay as they are. */
export const SIZE_MIN = { width: 80, height: 48 } as const;

/** By how far something is moved that stays where it is. */
export const NOWHERE: Place = { x: 0, y: 0 };

export interface Rect extends Place {
  readonly width: number;
  readonly height: number;
}

export interface Placed extends Rect {
  readonly id: string;
}

export function boundsOf(rects: Iterable<Rect>): Rect | undefined {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const { x, y, width, height } of rects) {
    left = Math.min(left, x);
    top = Math.min(top, y);
    right = Math.max(right, x + width);
    bottom = Math.max(bottom, y + height);
  }
  return left > right ? undefined : { x: left, y: top, width: right - left, height: bottom - top };
}

export function intersects(a: Rect, b: Rect): boolean {
  return a.x <= b.x + b.width && b.x <= a.x + a.width && a.y <= b.y + b.height && b.y <= a.y + a.height;
}

export function contains(outer: Rect, inner: Rect): boolean {
  return (
    inner.x >= outer.x &&
    inner.y >= outer.y &&
    inner.x + inner.width <= outer.x + outer.width &&
    inner.y + inner.height <= outer.y + outer.height
  );
}

export function isSameRect(a: Rect, b: Rect): boolean {
  return a.x === b.x && a.y === b.y && a.width === b.width && a.height === b.height;
}

export function shift(rect: Rect, by: Place): Rect {
  return { ...rect, x: rect.x + by.x, y: rect.y + by.y };
}

export function grow(rect: Rect, by: Place): Rect {
  return { x: rect.x - by.x, y: rect.y - by.y, width: rect.width + 2 * by.x, height: rect.height + 2 * by.y };
}

export function centerOf(rect: Rect): Place {
  return { x: rect.x + rect.width / 2, y: rect.y + rect.height / 2 };
}

/**
 * As a page is read: line by line, from the left. Items share a line where the middle of one lies beside another that
 * began the line, so that cards which stand a little askew are still read side by side.
 */
export function readingOrder<T extends Placed>(items: readonly T[]): T[] {
  const fromTop = [...items].sort((a, b) => a.y - b.y || a.x - b.x || (a.id < b.id ? -1 : 1));
  const lines: T[][] = [];
  let end = -Infinity;
  for (const item of fromTop) {
    const middle = item.y + item.height / 2;
    const line = lines.at(-1);
    if (line && middle <= end) line.push(item);
    else {
      lines.push([item]);
      end = item.y + item.height;
    }
  }
  return lines.flatMap((line) => line.sort((a, b) => a.x - b.x || a.y - b.y || (a.id < b.id ? -1 : 1)));
}

export type Alignment = 'left' | 'center' | 'right' | 'top' | 'middle' | 'bottom';
export type Direction = 'horizontal' | 'vertical';
type To = Place & { readonly id: string };

/** Where items go to share an edge or a middle: that of what they all take up together. */
export function align(items: readonly Placed[], alignment: Alignment): To[] {
  const all = boundsOf(items);
  if (!all) return [];
  const right = all.x + all.width;
  const bottom = all.y + all.height;
  const to: Record<Alignment, (item: Rect) => Partial<Place>> = {
    left: () => ({ x: all.x }),
    center: ({ width }) => ({ x: all.x + (all.width - width) / 2 }),
    right: ({ width }) => ({ x: right - width }),
    top: () => ({ y: all.y }),
    middle: ({ height }) => ({ y: all.y + (all.height - height) / 2 }),
    bottom: ({ height }) => ({ y: bottom - height }),
  };
  return items.map((item) => ({ id: item.id, x: item.x, y: item.y, ...to[alignment](item) }));
}

/** Where items go to have equal gaps between them. The outermost two stay. */
export function distribute(items: readonly Placed[], direction: Direction): To[] {
  const isAcross = direction === 'horizontal';
  const start = (item: Rect) => (isAcross ? item.x : item.y);
  const size = (item: Rect) => (isAcross ? item.width : item.height);
  const sorted = [...items].sort((a, b) => start(a) + size(a) / 2 - (start(b) + size(b) / 2));
  const [first, last] = [sorted[0], sorted.at(-1)];
  if (!first || !last || sorted.length < 3) return items.map(({ id, x, y }) => ({ id, x, y }));
  const taken = sorted.reduce((sum, item) => sum + size(item), 0);
  const gap = (start(last) + size(last) - start(first) - taken) / (sorted.length - 1);
  let at = start(first);
  return sorted.map((item) => {
    const place = { id: item.id, x: isAcross ? at : item.x, y: isAcross ? item.y : at };
    at += size(item) + gap;
    return place;
  });
}
