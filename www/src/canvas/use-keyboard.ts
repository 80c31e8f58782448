/** Keys: commands by their names, and Tab, which goes through all items as a page is read. */

import { type RefObject, useEffect } from 'react';
import * as edits from '../edits.js';
import type { Database } from '../space.js';
import { COMMANDS } from './commands.js';
import type { Controls } from './controls.js';
import { boundsOf, readingOrder } from './geometry.js';
import { keyName } from './keys.js';
import { partsOf } from './use-focus.js';

const BY_KEY = new Map(COMMANDS.filter((c) => !c.isElsewhere).flatMap((c) => c.keys.map((key) => [key, c] as const)));
const CONNECTION_FIRST = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1);

const WRITTEN_IN = 'input:not([type=checkbox]), textarea, select, [contenteditable]';

export function isTyping(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest(WRITTEN_IN) !== null;
}

/** Where single keys are meant for the canvas: on it and its bars, and where nothing has the focus. */
function isOnCanvas(target: EventTarget | null): boolean {
  return target instanceof Element && (target === document.body || target.closest('.canvas') !== null);
}

export function useKeyboard(controls: RefObject<Controls>, attempt: (edit: () => void) => void): void {
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      const { target } = event;
      if (event.defaultPrevented || isTyping(target) || document.querySelector('dialog[open]')) return;
      const outer = target instanceof Element && target.closest('.react-flow__node');
      if (outer && outer !== target && stayInside(outer, controls.current, event)) return;
      if (event.key === 'Tab') return walk(controls.current, event);
      const name = keyName(event);
      const command = BY_KEY.get(name);
      // A button that has the focus keeps its own keys.
      if (!command || !(isOnCanvas(target) || name.startsWith('Mod+') || name === '?')) return;
      if (target instanceof Element && target.closest('button, a') && name === 'Enter') return;
      event.preventDefault();
      if (command.isEnabled?.(controls.current) ?? true) attempt(() => command.run(controls.current));
    };
    addEventListener('keydown', listen);
    return () => removeEventListener('keydown', listen);
  }, [controls, attempt]);
}

/** Links, boxes to tick and votes within a card take Tab among themselves, until Escape leads back to the card. */
function stayInside(outer: Element, { focus }: Controls, event: KeyboardEvent): boolean {
  if (event.key !== 'Tab' && event.key !== 'Escape') return false;
  event.preventDefault();
  const inside = partsOf(outer);
  const here = inside.indexOf(event.target as HTMLElement);
  if (event.key === 'Escape') focus(outer.getAttribute('data-id') ?? '');
  else inside.at((here + (event.shiftKey ? -1 : 1)) % inside.length)?.focus();
  return true;
}

/** From the last item on, Tab leaves the canvas, as it leaves any list. */
function walk(controls: Controls, event: KeyboardEvent): void {
  const { db, scene, camera, focus } = controls;
  const target = event.target as Element;
  const item = target.closest('.react-flow__node, .react-flow__edge');
  if (!target.matches('.react-flow') && target !== item) return;
  if (!item && event.shiftKey) return;
  const order = tabOrder(db);
  const here = item?.getAttribute('data-id') ?? [...scene.selection].at(-1) ?? '';
  const next = order[order.indexOf(here) + (event.shiftKey ? -1 : 1)];
  if (next === undefined) return;
  event.preventDefault();
  scene.select([next]);
  const ends = edits.endsOf(db, next);
  const bounds = boundsOf(edits.itemsOf(db, ends.length > 0 ? ends : [next]));
  if (bounds) camera.reveal(bounds);
  focus(next);
}

/** Items as they are read, each followed by the connections that lead away from it. */
function tabOrder(db: Database): string[] {
  const leading = new Map<string, string[]>();
  for (const row of db.tables.connection.query().sort(CONNECTION_FIRST)) {
    const start = edits.rowIdOf(row.start_item);
    leading.set(start, [...(leading.get(start) ?? []), row.id]);
  }
  return readingOrder(edits.allItems(db)).flatMap(({ id }) => [id, ...(leading.get(id) ?? [])]);
}
