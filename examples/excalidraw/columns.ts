/** An element as the columns of its row, and back. What Excalidraw counts for itself, such as versions, is not stored. */

import type { OrderedExcalidrawElement } from '@excalidraw/excalidraw/element/types';
import type { Json, Row } from 'driftline';
import type { schema } from './schema.js';

export type Element = OrderedExcalidrawElement;
export type ElementRow = Row<typeof schema, 'element'>;
export type Columns = Pick<ElementRow, 'place' | 'x' | 'y' | 'rest'>;

export function columnsOf(element: Element): Columns {
  const { id, index, x, y, version, versionNonce, updated, isDeleted, ...rest } = element;
  return { place: index, x, y, rest: rest as unknown as Exclude<Json, null> };
}

/** The columns in which the two differ, with the values of the first; `undefined` where there is none. */
export function differences(now: Columns, before: Columns): Partial<Columns> | undefined {
  const changed: { -readonly [C in keyof Columns]?: Columns[C] } = {};
  if (now.place !== before.place) changed.place = now.place;
  if (now.x !== before.x) changed.x = now.x;
  if (now.y !== before.y) changed.y = now.y;
  if (textOf(now.rest) !== textOf(before.rest)) changed.rest = now.rest;
  return Object.keys(changed).length > 0 ? changed : undefined;
}

/** What an element takes over from columns that have changed. */
export function propertiesOf({ place, rest, ...position }: Partial<Columns>): Partial<Element> {
  return { ...(rest as object), ...position, ...(place !== undefined && { index: place }) } as Partial<Element>;
}

export function newElement(id: string, columns: Columns): Element {
  const counted = { version: 1, versionNonce: 0, updated: Date.now(), isDeleted: false };
  return { ...propertiesOf(columns), ...counted, id } as Element;
}

/** The order in which Excalidraw draws. */
export function byPlace(a: Element, b: Element): number {
  if (a.index === b.index) return a.id < b.id ? -1 : 1;
  return (a.index ?? '~') < (b.index ?? '~') ? -1 : 1;
}

/** The same text for the same value, in whatever order its members came. */
function textOf(value: Json): string {
  return JSON.stringify(value, (_, part: unknown) =>
    part !== null && typeof part === 'object' && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
