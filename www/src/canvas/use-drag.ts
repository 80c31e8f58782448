/** Dragging: what is dragged, and what lies in a dragged box, moves for everyone while it moves here. */

import type { NodeChange, OnNodeDrag } from '@xyflow/react';
import { useMemo } from 'react';
import { type Moved, move } from '../edits.js';
import type { Database } from '../space.js';
import type { CanvasNode } from './model.js';
import { contentsOf } from './use-graph.js';

/** Others see about 20 positions a second; the engine folds those that have not been sent. */
const WRITE_INTERVAL_MS = 50;

export function useDrag(db: Database, report: (error: unknown) => void) {
  return useMemo(() => {
    let carried: { id: string; by: string; dx: number; dy: number }[] = [];
    let writtenAt = 0;

    const write = (nodes: readonly CanvasNode[]) => {
      const at = new Map(nodes.map((node) => [node.id, node.position]));
      const moved: Moved[] = nodes.map((node) => ({ id: node.id, ...node.position }));
      for (const { id, by, dx, dy } of carried) {
        const box = at.get(by);
        if (box) moved.push({ id, x: box.x + dx, y: box.y + dy });
      }
      writtenAt = performance.now();
      try {
        move(db, moved);
      } catch (error) {
        report(error);
      }
    };

    const onNodeDragStart: OnNodeDrag<CanvasNode> = (_event, _node, nodes) => {
      const taken = new Set(nodes.map((node) => node.id));
      carried = [];
      for (const box of nodes.filter((node) => node.type === 'box')) {
        for (const id of contentsOf(db, box.id)) {
          const row = db.tables.card.get(id) ?? db.tables.box.get(id);
          if (!row || taken.has(id)) continue;
          taken.add(id);
          carried.push({ id, by: box.id, dx: row.x - box.position.x, dy: row.y - box.position.y });
        }
      }
    };
    const onNodeDrag: OnNodeDrag<CanvasNode> = (_event, _node, nodes) => {
      if (performance.now() - writtenAt >= WRITE_INTERVAL_MS) write(nodes);
    };
    const onNodeDragStop: OnNodeDrag<CanvasNode> = (_event, _node, nodes) => write(nodes);
    return { onNodeDragStart, onNodeDrag, onNodeDragStop };
  }, [db, report]);
}

/** The library moves selected nodes by the arrow keys without a drag. What a drag or a resize says twice is left out. */
export function moveByKeyboard(db: Database, changes: readonly NodeChange<CanvasNode>[]): void {
  const resized = new Set(changes.flatMap((change) => (change.type === 'dimensions' ? change.id : [])));
  const moved: Moved[] = [];
  for (const change of changes) {
    if (change.type !== 'position' || !change.position || change.dragging || resized.has(change.id)) continue;
    const row = db.tables.card.get(change.id) ?? db.tables.box.get(change.id);
    const { x, y } = change.position;
    if (row && (row.x !== Math.round(x) || row.y !== Math.round(y))) moved.push({ id: change.id, x, y });
  }
  move(db, moved);
}
