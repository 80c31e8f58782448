/** When and where the menu opens: a right click, the menu key, or a finger that stays. */

import { useStoreApi } from '@xyflow/react';
import { useCallback, useMemo, useRef, useState } from 'react';
import type { Place } from './geometry.js';
import type { Scene } from './scene.js';

const LONG_PRESS_MS = 500;
/** A finger is never quite still: what moves less neither ends a long press nor drags. */
const STILL_PX = 10;
const STILL_MOUSE_PX = 1;

/** Where the menu is, and what it is about. */
export interface Opened extends Place {
  readonly item: string | undefined;
  /** What was selected when it opened. */
  readonly before: ReadonlySet<string>;
}

export function useMenu(scene: Scene) {
  const store = useStoreApi();
  const [at, setAt] = useState<Opened | null>(null);
  const press = useRef<{ timer: ReturnType<typeof setTimeout>; from: Place } | undefined>(undefined);
  const close = useCallback(() => setAt(null), []);
  const handlers = useMemo(() => {
    // The library asks with every move of what is pressed.
    const dragAfter = (nodeDragThreshold: number) =>
      store.getState().nodeDragThreshold !== nodeDragThreshold && store.setState({ nodeDragThreshold });
    const open = (target: Element, at: Place) => {
      if (!target.closest('.react-flow__renderer') || target.closest('input, textarea')) return false;
      const item = target.closest('.react-flow__node, .react-flow__edge')?.getAttribute('data-id') ?? undefined;
      const before = scene.selection;
      if (item === undefined) scene.select([]);
      else if (!before.has(item)) scene.select([item]);
      // Some systems tell of a finger that stays a second time.
      setAt((shown) => ({ ...at, item, before: shown !== null && shown.item === item ? shown.before : before }));
      return true;
    };
    const release = () => {
      clearTimeout(press.current?.timer);
      press.current = undefined;
    };
    return {
      onContextMenu: (event: React.MouseEvent) => {
        const target = event.target as Element;
        const corner = target.getBoundingClientRect();
        // The menu key says no place.
        const isKey = event.clientX === 0 && event.clientY === 0;
        const at = isKey ? { x: corner.x + 24, y: corner.y + 24 } : { x: event.clientX, y: event.clientY };
        if (open(target, at)) event.preventDefault();
      },
      onPointerDown: ({ target, pointerType, isPrimary, clientX, clientY }: React.PointerEvent) => {
        release();
        dragAfter(pointerType === 'touch' ? STILL_PX : STILL_MOUSE_PX);
        if (pointerType !== 'touch' || !isPrimary) return;
        const from = { x: clientX, y: clientY };
        // The finger that has opened the menu drags nothing any more.
        const timer = setTimeout(
          () => open(target as Element, from) && dragAfter(Number.POSITIVE_INFINITY),
          LONG_PRESS_MS,
        );
        press.current = { timer, from };
      },
      onPointerMoveCapture: ({ clientX, clientY }: React.PointerEvent) => {
        const from = press.current?.from;
        if (from && Math.hypot(clientX - from.x, clientY - from.y) > STILL_PX) release();
      },
      onPointerUp: release,
      onPointerCancel: release,
    };
  }, [scene, store]);
  return { at, close, handlers };
}
