/** Rows as the node-graph library wants them. */

import { type Edge, MarkerType, type Node, type NodeHandle, Position } from '@xyflow/react';
import { rowIdOf, titleOf } from '../edits.js';
import type { Box, Card, Connection, ConnectionType } from '../schema.js';
import type { Database } from '../space.js';

export type CardNode = Node<{ row: Card }, 'card'>;
export type BoxNode = Node<{ row: Box }, 'box'>;
export type CanvasNode = CardNode | BoxNode;
export type ConnectionEdge = Edge<{ row: Connection; type: ConnectionType | undefined }, 'connection'>;

export const SIDES = [Position.Top, Position.Right, Position.Bottom, Position.Left] as const;
const HANDLE_SIZE = 12;
/** Boxes lie below connections and cards, however high they stand in the file. */
const BOX_Z_OFFSET = -1_000_000;

export function makeNode(db: Database, id: string, before?: CanvasNode): CanvasNode | undefined {
  const card = db.tables.card.get(id);
  if (card)
    return {
      ...frame(card, before),
      type: 'card',
      data: { row: card },
      zIndex: Math.max(card.z, 0),
      ariaLabel: `Card: ${titleOf(card)}`,
    };
  const box = db.tables.box.get(id);
  if (box)
    return {
      ...frame(box, before),
      type: 'box',
      data: { row: box },
      zIndex: box.z + BOX_Z_OFFSET,
      ariaLabel: `Box: ${box.label ?? ''}`,
    };
  return undefined;
}

function frame(row: Card | Box, before: CanvasNode | undefined) {
  const { width, height } = row;
  return {
    id: row.id,
    // What a hand is on stays under the hand; the row has the last word when it lets go.
    position: before?.dragging ? before.position : { x: row.x, y: row.y },
    selected: before?.selected ?? false,
    dragging: before?.dragging ?? false,
    width,
    height,
    // Sizes and handles given beforehand spare the library from mounting every node once just to measure it.
    measured: { width, height },
    handles: SIDES.map((side) => handle(side, width, height)),
  };
}

function handle(side: Position, width: number, height: number): NodeHandle {
  const x = side === Position.Left ? 0 : side === Position.Right ? width : width / 2;
  const y = side === Position.Top ? 0 : side === Position.Bottom ? height : height / 2;
  const half = HANDLE_SIZE / 2;
  return {
    id: side,
    type: 'source',
    position: side,
    x: x - half,
    y: y - half,
    width: HANDLE_SIZE,
    height: HANDLE_SIZE,
  };
}

export function makeEdge(db: Database, id: string, before?: ConnectionEdge): ConnectionEdge | undefined {
  const row = db.tables.connection.get(id);
  if (!row) return undefined;
  const type = row.connection_type === null ? undefined : db.tables.connection_type.get(row.connection_type);
  const color = cssColor(row.color ?? type?.color ?? null) ?? 'var(--line)';
  const arrow = { type: MarkerType.ArrowClosed, color, width: 16, height: 16 };
  return {
    id,
    type: 'connection',
    source: rowIdOf(row.start_item),
    target: rowIdOf(row.end_item),
    sourceHandle: sideOf(row.from_side),
    targetHandle: sideOf(row.to_side),
    selected: before?.selected ?? false,
    data: { row, type },
    style: { stroke: color },
    ariaLabel: `Connection: ${row.label ?? type?.name ?? ''}`,
    // JSON Canvas: without a word the end has an arrow and the start has none.
    ...(row.from_end === 'arrow' && { markerStart: arrow }),
    ...((row.to_end ?? 'arrow') === 'arrow' && { markerEnd: arrow }),
  };
}

export function sideOf(side: string | null): Position | null {
  return SIDES.find((known) => known === side) ?? null;
}

/** JSON Canvas has six preset colours by number; any other is a hex colour, and nothing else reaches the page's style. */
export const PRESETS = { 1: 'Red', 2: 'Orange', 3: 'Yellow', 4: 'Green', 5: 'Cyan', 6: 'Purple' } as const;

export function cssColor(color: string | null): string | undefined {
  if (color === null) return undefined;
  if (color in PRESETS) return `var(--preset-${color})`;
  return /^#[0-9a-f]{3,8}$/i.test(color) ? color : undefined;
}
