/** Edits that only say where items are: to each other, or above each other. */

import { allItems, bottomZ, inSlices, itemsOf, move, topZ } from '../edits.js';
import type { Database } from '../space.js';
import {
  type Alignment,
  align,
  contains,
  type Direction,
  distribute,
  type Place,
  type Placed,
  SIZE_MIN,
} from './geometry.js';

/** What lies within a box goes where the box goes. */
export function contentsOf(db: Database, boxId: string): Placed[] {
  const box = db.tables.box.get(boxId);
  return box ? allItems(db).filter((row) => row.id !== boxId && contains(box, row)) : [];
}

export function moveBy(db: Database, ids: Iterable<string>, by: Place): void {
  move(
    db,
    withContents(db, ids).map(({ id, x, y }) => ({ id, x: x + by.x, y: y + by.y })),
  );
}

/** The items, and what lies in those of them that are boxes. */
export function withContents(db: Database, ids: Iterable<string>): Placed[] {
  const all = new Map<string, Placed>();
  for (const item of itemsOf(db, ids)) {
    all.set(item.id, item);
    for (const inside of contentsOf(db, item.id)) all.set(inside.id, inside);
  }
  return [...all.values()];
}

export function alignItems(db: Database, ids: Iterable<string>, alignment: Alignment): void {
  move(db, align(itemsOf(db, ids), alignment));
}

export function distributeItems(db: Database, ids: Iterable<string>, direction: Direction): void {
  move(db, distribute(itemsOf(db, ids), direction));
}

/** Lays items above all others, or below, in the order that they have among themselves. */
export function restack(db: Database, ids: Iterable<string>, isToFront: boolean): void {
  const items = itemsOf(db, ids).sort((a, b) => a.z - b.z);
  const from = isToFront ? topZ(db) + 1 : bottomZ(db) - items.length;
  inSlices(db, items, (tx, item, index) => {
    (db.tables.card.get(item.id) ? tx.card : tx.box).update(item.id, { z: from + index });
  });
}

export function resizeBy(db: Database, ids: Iterable<string>, by: Place): void {
  const resized = itemsOf(db, ids).map(({ id, x, y, width, height }) => ({
    id,
    x,
    y,
    width: Math.max(SIZE_MIN.width, width + by.x),
    height: Math.max(SIZE_MIN.height, height + by.y),
  }));
  move(db, resized);
}
