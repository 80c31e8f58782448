/** How a connection runs from one item to another. */

import { getBezierPath, Position } from '@xyflow/react';
import type { Connection } from '../schema.js';
import type { Place, Rect } from './geometry.js';

export interface End extends Place {
  readonly side: Position;
}

export interface Route {
  readonly path: string;
  readonly from: End;
  readonly to: End;
  /** Where its label lies. */
  readonly middle: Place;
}

export function routeOf(row: Connection, start: Rect, end: Rect): Route {
  const from = attach(start, end, row.from_side);
  const to = attach(end, start, row.to_side);
  const [path, x, y] = getBezierPath({
    sourceX: from.x,
    sourceY: from.y,
    sourcePosition: from.side,
    targetX: to.x,
    targetY: to.y,
    targetPosition: to.side,
  });
  return { path, from, to, middle: { x, y } };
}

/** Where a connection meets an item. A side that the row leaves open is the one that faces the other item. */
function attach(a: Rect, b: Rect, side: string | null): End {
  const dx = b.x + b.width / 2 - (a.x + a.width / 2);
  const dy = b.y + b.height / 2 - (a.y + a.height / 2);
  const isBeside = Math.abs(dx) / (a.width + b.width) > Math.abs(dy) / (a.height + b.height);
  const facing = isBeside ? (dx > 0 ? Position.Right : Position.Left) : dy > 0 ? Position.Bottom : Position.Top;
  switch (side ?? facing) {
    case Position.Left:
      return { x: a.x, y: a.y + a.height / 2, side: Position.Left };
    case Position.Right:
      return { x: a.x + a.width, y: a.y + a.height / 2, side: Position.Right };
    case Position.Top:
      return { x: a.x + a.width / 2, y: a.y, side: Position.Top };
    default:
      return { x: a.x + a.width / 2, y: a.y + a.height, side: Position.Bottom };
  }
}

/** Of a label that lies in the middle of its connection. */
export function transformOf({ middle }: Route): string {
  return `translate(-50%, -50%) translate(${middle.x}px, ${middle.y}px)`;
}
