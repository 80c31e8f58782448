/** The library's words about what is selected, for a canvas of which it knows only what is on screen. */

import type { EdgeChange, NodeChange } from '@xyflow/react';
import { type Controls, count } from './controls.js';
import type { CanvasNode, ConnectionEdge } from './model.js';
import type { Scene } from './scene.js';

const NONE: ReadonlySet<string> = new Set();

/** What was chosen item by item. */
const gathered = new WeakSet<ReadonlySet<string>>();

/** Selects these and one more, or one less if that is among them. */
export function join({ scene, say }: Controls, selection: ReadonlySet<string>, id: string): void {
  const joined = new Set(selection);
  const isOut = joined.delete(id);
  if (!isOut) joined.add(id);
  scene.select(joined);
  gathered.add(scene.selection);
  say(`${isOut ? 'Taken out' : 'Added'}: ${count(joined.size, 'item')} selected.`);
}

/** Whoever chooses item by item goes on to the next without losing those. */
export function isGathered({ selection }: Scene): boolean {
  return selection.size > 0 && gathered.has(selection);
}

export class Selecting {
  readonly #scene: Scene;
  /** What was selected when a marquee with Shift began: it adds. */
  #kept = NONE;

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  beginMarquee(isAdding: boolean): void {
    this.#kept = isAdding ? this.#scene.selection : NONE;
  }

  endMarquee(): void {
    this.#kept = NONE;
  }

  /** `isAdding`: a key is held that leaves selected what is. */
  take(changes: readonly (NodeChange<CanvasNode> | EdgeChange<ConnectionEdge>)[], isAdding: boolean): void {
    const said = changes.flatMap((change) => (change.type === 'select' ? [change] : []));
    if (said.length === 0) return;
    const before = [...this.#scene.selection];
    // The library cannot deselect what it does not know.
    const selection = new Set(isAdding ? before : before.filter((id) => this.#scene.isDrawn(id)));
    for (const { id, selected } of said) {
      if (selected) selection.add(id);
      else if (!this.#kept.has(id)) selection.delete(id);
    }
    for (const id of this.#kept) selection.add(id);
    this.#scene.select(selection);
  }
}
