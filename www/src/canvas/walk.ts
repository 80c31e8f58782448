/** Goes through all items as a page is read, each followed by the connections that lead away from it. */

import * as edits from '../edits.js';
import type { Database } from '../space.js';
import type { Controls } from './controls.js';
import { boundsOf, readingOrder } from './geometry.js';
import { focusedItem } from './use-focus.js';

const CONNECTION_FIRST = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1);

/** What is read after the item that has the focus, or that was selected last; or before it. */
export function nextItem({ db, scene }: Controls, by: 1 | -1): string | undefined {
  const order = orderOf(db);
  const here = focusedItem() ?? [...scene.selection].at(-1) ?? '';
  return order[order.indexOf(here) + by];
}

/** Brings an item into view and gives it the focus. */
export function goTo({ db, camera, focus }: Controls, id: string): void {
  const ends = edits.endsOf(db, id);
  const bounds = boundsOf(edits.itemsOf(db, ends.length > 0 ? ends : [id]));
  if (bounds) camera.reveal(bounds);
  focus(id);
}

/** What is read next once these have gone, or else what was read before them. */
export function nextWithout(db: Database, gone: ReadonlySet<string>): string | undefined {
  const order = orderOf(db);
  const from = order.findIndex((id) => gone.has(id));
  if (from < 0) return undefined;
  const stays = (id: string) => !gone.has(id) && !edits.endsOf(db, id).some((end) => gone.has(end));
  return order.slice(from).find(stays) ?? order.slice(0, from).findLast(stays);
}

function orderOf(db: Database): string[] {
  const leading = new Map<string, string[]>();
  for (const row of db.tables.connection.query().sort(CONNECTION_FIRST)) {
    const start = edits.rowIdOf(row.start_item);
    leading.set(start, [...(leading.get(start) ?? []), row.id]);
  }
  return readingOrder(edits.allItems(db)).flatMap(({ id }) => [id, ...(leading.get(id) ?? [])]);
}
