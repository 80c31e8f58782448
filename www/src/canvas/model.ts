/** Rows as the node-graph library wants them. */

import { type Edge, MarkerType, type Node, type NodeHandle, Position } from '@xyflow/react';
import { rowIdOf, titleOf } from '../edits.js';
import type { Box, Card, Connection, ConnectionType } from '../schema.js';
import type { Database } from '../space.js';
import type { Held } from './scene.js';

/** What a card or a box shows. Where it is, its node says: a row that only moved is not drawn anew. */
export type Face<T> = Omit<T, 'x' | 'y' | 'z' | 'width' | 'height'>;
export type CardNode = Node<{ row: Face<Card> }, 'card'>;
export type BoxNode = Node<{ row: Face<Box> }, 'box'>;
export type CanvasNode = CardNode | BoxNode;
/** What a hand has of a connection: both of its ends, or one. */
export type Grip = 'is-held' | 'is-loose';
export type ConnectionEdge = Edge<
  { row: Connection; type: ConnectionType | undefined; grip: Grip | undefined },
  'connection'
>;
type Ends = Pick<ConnectionEdge, 'source' | 'target'>;

export const SIDES = [Position.Top, Position.Right, Position.Bottom, Position.Left] as const;
const HANDLE_SIZE = 12;
/** Boxes lie below connections and cards, however high they stand in the file. */
const BOX_Z_OFFSET = -1_000_000;
/** In characters: more than this nobody wants to hear at once. */
const DESCRIPTION_MAX = 500;
/** As long as a title is. */
const TITLE_MAX = 80;

export interface Shown<T> {
  readonly before?: T | undefined;
  readonly isSelected: boolean;
  /** Where it is, and of which size, while a hand is on it. */
  readonly held?: Held | undefined;
}

export function makeNode(db: Database, id: string, shown: Shown<CanvasNode>): CanvasNode | undefined {
  const card = db.tables.card.get(id);
  if (card)
    return {
      ...frame(card, shown),
      type: 'card',
      data: face(card, shown.before?.type === 'card' ? shown.before.data : undefined),
      zIndex: Math.max(card.z, 0),
      ariaLabel: titleOf(card),
      domAttributes: { ...CARD_ATTRIBUTES, ...described(card) },
    };
  const box = db.tables.box.get(id);
  if (box)
    return {
      ...frame(box, shown),
      type: 'box',
      data: face(box, shown.before?.type === 'box' ? shown.before.data : undefined),
      zIndex: box.z + BOX_Z_OFFSET,
      ariaLabel: box.label || 'Box without a name',
      domAttributes: BOX_ATTRIBUTES,
    };
  return undefined;
}

// The canvas takes Tab itself: it goes through all items, also those that are not drawn.
const CARD_ATTRIBUTES = { tabIndex: -1, 'aria-roledescription': 'card' };
const BOX_ATTRIBUTES = { tabIndex: -1, 'aria-roledescription': 'box' };
const CONNECTION_ATTRIBUTES = { tabIndex: -1, 'aria-roledescription': 'connection' };

/** For those who hear it: all that a card says, where that is more than its title. */
function described({ text }: Card) {
  const words = text.slice(0, DESCRIPTION_MAX).trim();
  return words.includes('\n') || words.length > TITLE_MAX ? { 'aria-description': words } : {};
}

const PLACE_KEYS: ReadonlySet<string> = new Set(['x', 'y', 'z', 'width', 'height']);

function face<T extends object>(row: T, before?: { row: Face<T> }): { row: Face<T> } {
  const was = before?.row as T | undefined;
  const isSame = was && (Object.keys(row) as (keyof T & string)[]).every((k) => PLACE_KEYS.has(k) || row[k] === was[k]);
  return before && isSame ? before : { row };
}

function frame(row: Card | Box, { isSelected, held }: Shown<CanvasNode>) {
  const { x, y, width, height } = { ...row, ...held };
  return {
    id: row.id,
    position: { x, y },
    selected: isSelected,
    dragging: held !== undefined,
    ...(held !== undefined && { className: 'is-held' }),
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

export interface ShownEdge {
  readonly isSelected: boolean;
  /** The items that a hand is on. */
  readonly held: ReadonlyMap<string, Held>;
}

export function makeEdge(db: Database, id: string, { isSelected, held }: ShownEdge): ConnectionEdge | undefined {
  const row = db.tables.connection.get(id);
  if (!row) return undefined;
  const type = row.connection_type === null ? undefined : db.tables.connection_type.get(row.connection_type);
  const color = cssColor(row.color ?? type?.color ?? null) ?? 'var(--line)';
  const [source, target] = [rowIdOf(row.start_item), rowIdOf(row.end_item)];
  const grip = gripOf({ source, target }, held);
  const arrow = { type: MarkerType.ArrowClosed, color, width: 16, height: 16 };
  return {
    id,
    type: 'connection',
    source,
    target,
    sourceHandle: sideOf(row.from_side),
    targetHandle: sideOf(row.to_side),
    selected: isSelected,
    data: { row, type, grip },
    ...(grip && { className: grip }),
    style: { stroke: color },
    ariaLabel: nameOf(db, row),
    domAttributes: CONNECTION_ATTRIBUTES,
    // JSON Canvas: without a word the end has an arrow and the start has none.
    ...(row.from_end === 'arrow' && { markerStart: arrow }),
    ...((row.to_end ?? 'arrow') === 'arrow' && { markerEnd: arrow }),
  };
}

/** A connection goes where its ends go. */
export function gripOf({ source, target }: Ends, held: ReadonlyMap<string, Held>): Grip | undefined {
  const hands = [source, target].filter((id) => held.has(id)).length;
  return ([undefined, 'is-loose', 'is-held'] as const)[hands];
}

function nameOf(db: Database, row: Connection): string {
  const word = row.label || db.tables.connection_type.get(row.connection_type ?? '')?.name;
  const between = `from ${itemName(db, rowIdOf(row.start_item))} to ${itemName(db, rowIdOf(row.end_item))}`;
  return word ? `${word}, ${between}` : between;
}

/** What a person calls it. */
export function itemName(db: Database, id: string): string {
  const card = db.tables.card.get(id);
  return card ? titleOf(card) : db.tables.box.get(id)?.label || 'Box without a name';
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

/** The node as it was, where the new one says the same: a row that is written under a hand is where the hand is already. */
export function sameNodeOr(before: CanvasNode, now: CanvasNode | undefined): CanvasNode | undefined {
  const isSame =
    now !== undefined &&
    before.data === now.data &&
    before.position.x === now.position.x &&
    before.position.y === now.position.y &&
    before.width === now.width &&
    before.height === now.height &&
    before.zIndex === now.zIndex &&
    before.selected === now.selected &&
    before.dragging === now.dragging;
  return isSame ? before : now;
}

/** For `memo`: where an item is, its node says, so what is in it is drawn anew only if it shows something else. */
export function isSameFace<T extends { id: string; data: unknown; selected: boolean }>(a: T, b: T): boolean {
  return a.id === b.id && a.data === b.data && a.selected === b.selected;
}
