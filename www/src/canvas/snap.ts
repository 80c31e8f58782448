/** Where something that is being dragged comes to rest: on the lines of what lies around, or on the grid. */

import type { Rect } from './geometry.js';

/** The grid that is drawn, and that things are put on. */
export const GRID = 24;

export interface Guide {
  readonly axis: 'x' | 'y';
  /** Where the line stands, and from where to where it reaches on the other axis. */
  readonly at: number;
  readonly from: number;
  readonly to: number;
}

export interface Snapped {
  readonly dx: number;
  readonly dy: number;
  readonly guides: readonly Guide[];
}

export interface SnapOptions {
  readonly toItems: boolean;
  readonly toGrid: boolean;
  /** How far a line draws. */
  readonly reach: number;
}

type Axis = 'x' | 'y';

/** How much further `moving` is to go. Lines of items win over the grid, and the nearest of them wins. */
export function snap(moving: Rect, others: readonly Rect[], options: SnapOptions): Snapped {
  const x = along('x', moving, others, options);
  const y = along('y', moving, others, options);
  const moved = { ...moving, x: moving.x + x.by, y: moving.y + y.by };
  const guides = [...guidesOf('x', moved, x.lines, others), ...guidesOf('y', moved, y.lines, others)];
  return { dx: x.by, dy: y.by, guides };
}

const start = (rect: Rect, axis: Axis) => (axis === 'x' ? rect.x : rect.y);
const size = (rect: Rect, axis: Axis) => (axis === 'x' ? rect.width : rect.height);
const lines = (rect: Rect, axis: Axis) => {
  const [from, length] = [start(rect, axis), size(rect, axis)];
  return [from, from + length / 2, from + length];
};

function along(axis: Axis, moving: Rect, others: readonly Rect[], { toItems, toGrid, reach }: SnapOptions) {
  let best = reach;
  let by: number | undefined;
  if (toItems) {
    const own = lines(moving, axis);
    for (const other of others) {
      for (const line of lines(other, axis)) {
        for (const mine of own) {
          const distance = Math.abs(line - mine);
          if (distance < best || (distance === best && by === undefined)) {
            best = distance;
            by = line - mine;
          }
        }
      }
    }
  }
  if (by !== undefined) return { by, lines: lines(moving, axis).map((line) => line + by) };
  const at = start(moving, axis);
  return { by: toGrid ? Math.round(at / GRID) * GRID - at : 0, lines: [] };
}

const isSame = (a: number, b: number) => Math.abs(a - b) < 0.01;

function guidesOf(axis: Axis, moved: Rect, own: readonly number[], others: readonly Rect[]): Guide[] {
  const across = axis === 'x' ? 'y' : 'x';
  return own.flatMap((at) => {
    const met = others.filter((other) => lines(other, axis).some((line) => isSame(line, at)));
    if (met.length === 0) return [];
    const from = Math.min(...[moved, ...met].map((rect) => start(rect, across)));
    const to = Math.max(...[moved, ...met].map((rect) => start(rect, across) + size(rect, across)));
    return [{ axis, at, from, to }];
  });
}
