/** What people do to a canvas, as edits. Each function is one transaction, unless its comment says otherwise. */

import { increment } from 'driftline';
import type { Place, Rect } from './canvas/geometry.js';
import type { Described } from './images/described.js';
import type { Box, Card, Item } from './schema.js';
import type { Database } from './space.js';
import { toggleTask } from './tasks.js';

export interface Moved extends Place {
  readonly id: string;
  readonly width?: number;
  readonly height?: number;
}

/** A transaction takes at most 1,000 edits. */
const EDITS_MAX = 500;
export const CARD_SIZE = { width: 260, height: 140 };
export const BOX_SIZE = { width: 520, height: 360 };

export function createCard(db: Database, kind: 'text' | 'link' | 'file', center: Place, text = ''): string {
  const place = { x: Math.round(center.x - CARD_SIZE.width / 2), y: Math.round(center.y - CARD_SIZE.height / 2) };
  const content = kind === 'link' ? { url: text } : kind === 'file' ? { file: text } : { text };
  return db.tables.card.create({ kind, ...content, ...place, ...CARD_SIZE, z: topZ(db) + 1 }).id;
}

export interface NewPicture {
  /** Of its row, which need not be there yet. */
  readonly id: string;
  readonly described: Described;
  readonly name: string;
}

/** In JSON Canvas it is a node of a file, with what is known of the file beside it. */
export function createPictureCard(db: Database, { id, described, name }: NewPicture, at: Rect): string {
  const extra = { image: { ...described } };
  return db.tables.card.create({ kind: 'file', file: name, image: id, extra, ...at, z: topZ(db) + 1 }).id;
}

/** A new box goes behind everything, so that it holds what it is drawn around. */
export function createBox(db: Database, center: Place): string {
  const place = { x: Math.round(center.x - BOX_SIZE.width / 2), y: Math.round(center.y - BOX_SIZE.height / 2) };
  return db.tables.box.create({ label: 'New box', ...place, ...BOX_SIZE, z: bottomZ(db) - 1 }).id;
}

export type Kind = 'text' | 'list' | 'link' | 'file' | 'box';

export function createItem(db: Database, kind: Kind, center: Place): string {
  if (kind === 'box') return createBox(db, center);
  return kind === 'list' ? createCard(db, 'text', center, '- [ ] ') : createCard(db, kind, center);
}

export function connect(
  db: Database,
  start: string,
  end: string,
  sides: { from: string | null; to: string | null },
  connectionType: string | null,
): string | undefined {
  const start_item = itemOf(db, start);
  const end_item = itemOf(db, end);
  if (!start_item || !end_item) return undefined;
  const row = { start_item, end_item, from_side: sides.from, to_side: sides.to, connection_type: connectionType };
  return db.tables.connection.create(row).id;
}

/**
 * Moves or resizes, in as many transactions as the limit asks for; those of one `gesture` are undone together. Whole pixels, because
 * the file format wants them.
 */
export function move(db: Database, moved: readonly Moved[], gesture?: number): void {
  const isElsewhere = ({ id, ...place }: Moved) => {
    const row = db.tables.card.get(id) ?? db.tables.box.get(id);
    return row && Object.entries(place).some(([key, value]) => Math.round(value) !== row[key as 'x']);
  };
  const edit = (tx: Transaction, { id, ...place }: Moved) => {
    const patch = Object.fromEntries(Object.entries(place).map(([key, value]) => [key, Math.round(value)]));
    if (db.tables.card.get(id)) tx.card.update(id, patch);
    else tx.box.update(id, patch);
  };
  inSlices(db, moved.filter(isElsewhere), edit, gesture);
}

/** Deletes items and connections. Connections of a deleted item go with it: the schema says so. */
export function remove(db: Database, items: readonly string[], connections: readonly string[]): void {
  const gone = new Set(items);
  const stays = (item: Item) => !gone.has(rowIdOf(item));
  const edits: [table: 'card' | 'box' | 'connection', id: string][] = [];
  for (const id of connections) {
    const row = db.tables.connection.get(id);
    if (row && stays(row.start_item) && stays(row.end_item)) edits.push(['connection', id]);
  }
  for (const id of items) {
    if (db.tables.card.get(id)) edits.push(['card', id]);
    else if (db.tables.box.get(id)) edits.push(['box', id]);
  }
  inSlices(db, edits, (tx, [table, id]) => tx[table].delete(id));
}

export function itemsOf(db: Database, ids: Iterable<string>): (Card | Box)[] {
  return [...ids].flatMap((id) => db.tables.card.get(id) ?? db.tables.box.get(id) ?? []);
}

export function allItems(db: Database): (Card | Box)[] {
  return [...db.tables.box.query(), ...db.tables.card.query()];
}

export function paint(db: Database, ids: Iterable<string>, color: string | null): void {
  inSlices(db, [...ids], (tx, id) => {
    if (db.tables.card.get(id)) tx.card.update(id, { color });
    else if (db.tables.box.get(id)) tx.box.update(id, { color });
    else if (db.tables.connection.get(id)) tx.connection.update(id, { color });
  });
}

export function tickTask(db: Database, id: string, nth: number): void {
  const row = db.tables.card.get(id);
  if (row) db.tables.card.update(id, { text: toggleTask(row.text, nth) });
}

export function setConnectionType(db: Database, ids: Iterable<string>, connection_type: string | null): void {
  inSlices(db, [...ids], (tx, id) => tx.connection.update(id, { connection_type }));
}

const COLORS = ['5', '4', '2', '6', '1', '3'];

/** A new type gets the colour that the fewest have. */
export function createConnectionType(db: Database, name: string): string {
  const uses = (color: string) => db.tables.connection_type.query((type) => type.color === color).length;
  const color = COLORS.reduce((best, color) => (uses(color) < uses(best) ? color : best));
  return db.tables.connection_type.create({ name, color }).id;
}

export function vote(db: Database, id: string): void {
  db.tables.card.update(id, { votes: increment() });
}

export type Transaction = Parameters<Parameters<Database['transaction']>[0]>[0];

let gestures = 0;

/** Transactions of one gesture are undone together. */
export function newGesture(): number {
  gestures += 1;
  return gestures;
}

/** In as many transactions as the limit asks for, which are one gesture. */
export function inSlices<T>(
  db: Database,
  all: readonly T[],
  edit: (tx: Transaction, one: T, index: number) => void,
  gesture = all.length > EDITS_MAX ? newGesture() : undefined,
): void {
  const options = gesture === undefined ? {} : { gesture };
  for (let from = 0; from < all.length; from += EDITS_MAX) {
    db.transaction((tx) => {
      for (const [index, one] of all.slice(from, from + EDITS_MAX).entries()) edit(tx, one, from + index);
    }, options);
  }
}

export function rowIdOf(item: Item): string {
  return 'card' in item ? item.card : item.box;
}

export function titleOf(card: Pick<Card, 'kind' | 'text' | 'file' | 'url' | 'image'>): string {
  if (card.image) return firstLine(card.text) || card.file || 'Picture';
  const text = card.kind === 'file' ? card.file : card.kind === 'link' ? card.url : card.text;
  return firstLine(text ?? '') || 'Empty card';
}

function firstLine(text: string): string {
  const [line = ''] = text
    .replace(/^[#>\s-]+(\[[ xX]\]\s*)?/, '')
    .replaceAll(/\*\*|__|`/g, '')
    .split('\n');
  return line.slice(0, 80);
}

function itemOf(db: Database, id: string): Item | undefined {
  if (db.tables.card.get(id)) return { card: id };
  return db.tables.box.get(id) ? { box: id } : undefined;
}

export function topZ(db: Database): number {
  return allItems(db).reduce((top, row) => Math.max(top, row.z), -1);
}

export function bottomZ(db: Database): number {
  return allItems(db).reduce((bottom, row) => Math.min(bottom, row.z), 0);
}

/** The items that a connection ties to each other. */
export function endsOf(db: Database, connection: string): string[] {
  const row = db.tables.connection.get(connection);
  return row ? [rowIdOf(row.start_item), rowIdOf(row.end_item)] : [];
}
