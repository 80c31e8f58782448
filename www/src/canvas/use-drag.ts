/** Dragging and resizing: what a hand is on moves here with every frame, and for everyone while it moves. */

import type { NodeChange, OnNodeDrag } from '@xyflow/react';
import { useMemo, useRef } from 'react';
import { flushSync } from 'react-dom';
import { itemsOf, type Moved } from '../edits.js';
import type { Database } from '../space.js';
import { withContents } from './arrange.js';
import type { Camera } from './camera.js';
import {
  boundsOf,
  contains,
  intersects,
  isSameRect,
  NOWHERE,
  type Place,
  type Placed,
  type Rect,
  SIZE_MIN,
  shift,
} from './geometry.js';
import { Hand } from './hand.js';
import type { CanvasNode } from './model.js';
import type { Scene } from './scene.js';
import { type Guide, snap } from './snap.js';
import type { Snapping } from './snapping.js';

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
  guides: readonly Guide[];
  /** From where what is held is carried, and with what in view. */
  held: { readonly by: Place; readonly view: Rect };
  readonly unwatch: () => void;
}

export interface DragOptions {
  readonly db: Database;
  readonly scene: Scene;
  readonly report: (error: unknown) => void;
  readonly snapping: Snapping;
  readonly camera: Camera;
}

export function useDrag({ db, scene, report, snapping, camera }: DragOptions) {
  const now = useRef(snapping);
  now.current = snapping;
  return useMemo(() => {
    let hand: Hand | undefined;
    let drag: Drag | undefined;
    let before: Placed | undefined;
    let resized: Moved | undefined;
    /** Ctrl or Cmd, while dragging, lets go of all lines. */
    let isFree = false;

    const leave = () => {
      hand?.end();
      drag?.unwatch();
      hand = drag = before = resized = undefined;
      // The library goes on panning at the edge where what it drags is gone.
      camera.panAtEdges(false);
      scene.release();
    };
    const finish = () => {
      if (!hand) return;
      hand.write();
      leave();
    };
    /** Everything goes back to where it was; true if a hand was on something. */
    const cancel = () => {
      if (!hand) return false;
      hand.takeBack();
      leave();
      return true;
    };
    const begin = (before: readonly Moved[], places: () => readonly Moved[]) => {
      finish();
      hand = new Hand({ db, report, before, places, letGo: finish, giveUp: leave });
    };

    const moved = ({ items, by }: Drag) => items.map(({ id, x, y }) => ({ id, x: x + by.x, y: y + by.y }));
    // At once, because what is carried is a copy of what is drawn.
    const hold = (drag: Drag) => {
      drag.held = { by: drag.by, view: camera.view() };
      flushSync(() => scene.hold(new Map(moved(drag).map(({ id, ...place }) => [id, place])), drag.lead.id));
    };
    /** The library leaves out connections that are not in view: where that has moved, or they may have come into it, it is told anew. */
    const isElsewhere = ({ bounds, by, held }: Drag) => {
      const now = camera.view();
      const [dx, dy] = [Math.abs(by.x - held.by.x), Math.abs(by.y - held.by.y)];
      const isFar = Math.max(dx, dy) > now.width * STEP_SHARE;
      return !isSameRect(now, held.view) || (isFar && !contains(held.view, shift(bounds, held.by)));
    };
    const carry = (drag: Drag) => {
      if (scene.isOutdated || isElsewhere(drag)) hold(drag);
      scene.carry({ x: drag.by.x - drag.held.by.x, y: drag.by.y - drag.held.by.y }, drag.guides);
    };
    /** Others go on: what is held may be changed, or deleted, meanwhile. And the view may move while the hand rests. */
    const watch = (lead: string) => {
      const look = () => {
        if (drag?.lead.id !== lead) return;
        if (scene.isDrawn(lead)) carry(drag);
        else finish();
      };
      const stops = [
        scene.subscribe(() => (!scene.isDrawn(lead) || scene.isOutdated) && queueMicrotask(look)),
        camera.watch(() => queueMicrotask(look)),
      ];
      return () => {
        for (const stop of stops) stop();
      };
    };

    const onNodeDragStart: OnNodeDrag<CanvasNode> = (_event, node) => {
      const items = withContents(db, scene.selection.has(node.id) ? scene.selection : [node.id]);
      const lead = items.find((item) => item.id === node.id);
      const bounds = boundsOf(items);
      if (!lead || !bounds) return;
      const taken = new Set(items.map((item) => item.id));
      const view = camera.view();
      const others = scene.around.filter((item) => !taken.has(item.id) && intersects(item, view));
      const held = { by: NOWHERE, view };
      begin(items.map(placeOf), () => (drag ? moved(drag) : []));
      drag = { lead, items, bounds, others, by: NOWHERE, guides: [], held, unwatch: watch(lead.id) };
      camera.panAtEdges(true);
      hold(drag);
    };
    /** The library says where the hand is; where things go from there is decided here. */
    const onPositions = (changes: readonly NodeChange<CanvasNode>[]) => {
      const change = changes.find((change) => change.type === 'position' && change.id === drag?.lead.id);
      if (!drag || change?.type !== 'position' || !change.position || !change.dragging) return;
      const raw = { x: change.position.x - drag.lead.x, y: change.position.y - drag.lead.y };
      const { toItems, toGrid } = isFree ? FREE : now.current;
      const bounds = shift(drag.bounds, raw);
      const snapped = snap(bounds, drag.others, { toItems, toGrid, reach: SNAP_REACH_PX / camera.zoom() });
      drag.by = { x: raw.x + snapped.dx, y: raw.y + snapped.dy };
      drag.guides = snapped.guides;
      carry(drag);
    };
    const onNodeDrag: OnNodeDrag<CanvasNode> = (event) => {
      isFree = event.ctrlKey || event.metaKey;
      if (drag) hand?.writeInTime();
    };
    const onResizeStart = (id: string) => {
      const [was] = itemsOf(db, [id]).map(frameOf);
      if (!was) return;
      begin([was], () => (resized ? [resized] : []));
      before = was;
    };
    const onResize = (id: string, rect: Rect) => {
      if (!hand || !before) return;
      // What is smaller already the library would make smaller still.
      const width = Math.max(rect.width, Math.min(SIZE_MIN.width, before.width));
      const height = Math.max(rect.height, Math.min(SIZE_MIN.height, before.height));
      resized = { id, ...rect, width, height };
      scene.hold(new Map([[id, { ...rect, width, height }]]), id);
      hand.writeInTime();
    };
    return { onNodeDragStart, onNodeDrag, onPositions, onResizeStart, onResize, finish, cancel };
  }, [db, scene, report, camera]);
}

const placeOf = ({ id, x, y }: Placed): Moved => ({ id, x, y });
const frameOf = ({ id, x, y, width, height }: Placed): Placed => ({ id, x, y, width, height });
