/** Dragging and resizing: what a hand is on moves here with every frame, and for everyone while it moves. */

import type { NodeChange, OnNodeDrag } from '@xyflow/react';
import { useMemo, useRef } from 'react';
import { flushSync } from 'react-dom';
import { type Moved, move } from '../edits.js';
import type { Database } from '../space.js';
import { withContents } from './arrange.js';
import { boundsOf, contains, intersects, isSameRect, type Place, type Placed, type Rect, shift } from './geometry.js';
import type { CanvasNode } from './model.js';
import type { Scene } from './scene.js';
import { type Guide, snap } from './snap.js';
import type { Snapping } from './snapping.js';

/**
 * Others see about 20 positions a second, and one where many things are dragged: writing many costs a frame here. The engine folds
 * those that have not been sent.
 */
const WRITE_INTERVAL_MS = 50;
const WRITE_INTERVAL_MANY_MS = 1000;
const MANY = 10;
/** More than this are written when they are let go, because a frame has no room for them. */
const LIVE_MAX = 500;
/** Of the width of what is in view: so far is carried what reaches beyond it before it is drawn anew. */
const STEP_SHARE = 1 / 16;
/** On screen, whatever the zoom. */
const SNAP_REACH_PX = 6;

const FREE: Snapping = { toItems: false, toGrid: false };

interface Drag {
  readonly lead: Placed;
  readonly items: readonly Placed[];
  readonly bounds: Rect;
  readonly others: readonly Rect[];
  by: Place;
  /** From where what is held is carried, and with what in view. */
  held: { readonly by: Place; readonly view: Rect };
  isCancelled: boolean;
}

export interface DragOptions {
  readonly db: Database;
  readonly scene: Scene;
  readonly report: (error: unknown) => void;
  readonly snapping: Snapping;
  readonly view: () => Rect;
  readonly zoom: () => number;
}

export function useDrag({ db, scene, report, snapping, view, zoom }: DragOptions) {
  const now = useRef(snapping);
  now.current = snapping;
  return useMemo(() => {
    let drag: Drag | undefined;
    let writtenAt = 0;
    /** Numbers each drag and each resizing: what they write on the way is taken back with them. */
    let gesture = 0;
    let isResizing = false;
    /** Ctrl or Cmd, while dragging, lets go of all lines. */
    let isFree = false;

    const write = (moved: readonly Moved[]) => {
      writtenAt = performance.now();
      try {
        move(db, moved, gesture);
      } catch (error) {
        report(error);
      }
    };
    const isTime = (items: number) => {
      const interval = items > MANY ? WRITE_INTERVAL_MANY_MS : WRITE_INTERVAL_MS;
      return performance.now() - writtenAt >= interval;
    };
    const moved = ({ items, by }: Drag) => items.map(({ id, x, y }) => ({ id, x: x + by.x, y: y + by.y }));
    // At once, because what is carried is a copy of what is drawn.
    const hold = (drag: Drag) =>
      flushSync(() => scene.hold(new Map(moved(drag).map(({ id, ...place }) => [id, place]))));
    /** The library leaves out connections that are not in view: where that has moved, or they may have come into it, it is told anew. */
    const isElsewhere = ({ bounds, by, held }: Drag) => {
      const now = view();
      const [dx, dy] = [Math.abs(by.x - held.by.x), Math.abs(by.y - held.by.y)];
      const isFar = Math.max(dx, dy) > now.width * STEP_SHARE;
      return !isSameRect(now, held.view) || (isFar && !contains(held.view, shift(bounds, held.by)));
    };
    const carry = (drag: Drag, guides: readonly Guide[]) => {
      if (isElsewhere(drag)) {
        drag.held = { by: drag.by, view: view() };
        hold(drag);
      }
      scene.carry({ x: drag.by.x - drag.held.by.x, y: drag.by.y - drag.held.by.y }, guides);
    };

    const onNodeDragStart: OnNodeDrag<CanvasNode> = (_event, node) => {
      const items = withContents(db, scene.selection.has(node.id) ? scene.selection : [node.id]);
      const lead = items.find((item) => item.id === node.id);
      const bounds = boundsOf(items);
      if (!lead || !bounds) return;
      const taken = new Set(items.map((item) => item.id));
      const inView = view();
      const by = { x: 0, y: 0 };
      const others = scene.around.filter((item) => !taken.has(item.id) && intersects(item, inView));
      gesture += 1;
      drag = { lead, items, bounds, others, by, held: { by, view: inView }, isCancelled: false };
      hold(drag);
    };
    /** The library says where the hand is; where things go from there is decided here. */
    const onPositions = (changes: readonly NodeChange<CanvasNode>[]) => {
      const change = changes.find((change) => change.type === 'position' && change.id === drag?.lead.id);
      if (!drag || drag.isCancelled || change?.type !== 'position' || !change.position || !change.dragging) return;
      const raw = { x: change.position.x - drag.lead.x, y: change.position.y - drag.lead.y };
      const { toItems, toGrid } = isFree ? FREE : now.current;
      const bounds = shift(drag.bounds, raw);
      const snapped = snap(bounds, drag.others, { toItems, toGrid, reach: SNAP_REACH_PX / zoom() });
      drag.by = { x: raw.x + snapped.dx, y: raw.y + snapped.dy };
      carry(drag, snapped.guides);
    };
    const onNodeDrag: OnNodeDrag<CanvasNode> = (event) => {
      isFree = event.ctrlKey || event.metaKey;
      if (drag && !drag.isCancelled && drag.items.length <= LIVE_MAX && isTime(drag.items.length)) write(moved(drag));
    };
    const onNodeDragStop: OnNodeDrag<CanvasNode> = () => {
      if (drag && !drag.isCancelled) write(moved(drag));
      drag = undefined;
      scene.release();
    };
    /** Everything goes back to where it was; true if something was being dragged. */
    const cancel = () => {
      if (!drag || drag.isCancelled) return false;
      drag.by = { x: 0, y: 0 };
      drag.isCancelled = true;
      write(moved(drag));
      scene.release();
      return true;
    };
    const resize = (id: string, rect: Rect, isOver: boolean) => {
      if (!isResizing) gesture += 1;
      isResizing = !isOver;
      if (!isOver) scene.hold(new Map([[id, rect]]));
      if (isOver || isTime(1)) write([{ id, ...rect }]);
      if (isOver) scene.release();
    };
    return { onNodeDragStart, onNodeDrag, onNodeDragStop, onPositions, cancel, resize };
  }, [db, scene, report, view, zoom]);
}
