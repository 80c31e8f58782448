/** What of the canvas is in view, and what brings something else there. */

import { getViewportForBounds, type ReactFlowInstance, useReactFlow, useStoreApi } from '@xyflow/react';
import { useMemo } from 'react';
import { boundsOf, centerOf, contains, type Place, type Rect } from './geometry.js';

export const ZOOM_MIN = 0.15;
export const ZOOM_MAX = 3;
/** Further out than fitting goes by itself: a huge canvas is opened at its middle, not as dust. */
const FIT_ZOOM_MIN = 0.25;
const PADDING = { top: '88px', right: '48px', bottom: '72px', left: '64px' } as const;
const READABLE_ZOOM = 0.8;
/** Below it nobody can read: a card is drawn as its title alone, and comes near when it is written in. */
export const LEGIBLE_ZOOM = 0.4;
const GLIDE_MS = 180;

export interface Camera {
  readonly view: () => Rect;
  readonly zoom: () => number;
  readonly center: () => Place;
  readonly at: (screen: Place) => Place;
  readonly fit: (rects: readonly Rect[], options?: { readonly isAtOnce?: boolean }) => void;
  /** Moves only if it is not in view yet; with `isToRead` it also comes near enough. */
  readonly reveal: (rect: Rect, options?: { readonly isToRead?: boolean }) => void;
  readonly show: (center: Place, zoom: number) => void;
  readonly moveTo: (center: Place) => void;
  /** Whether what a hand drags to the edge has the canvas move on below it. */
  readonly panAtEdges: (isOn: boolean) => void;
  readonly panBy: (screen: Place) => void;
  readonly zoomBy: (factor: number) => void;
  readonly zoomTo: (zoom: number) => void;
  /** Calls back with what is in view, now and whenever that changes. */
  readonly watch: (look: (view: Rect, zoom: number) => void) => () => void;
}

export function useCamera(): Camera {
  const flow = useReactFlow();
  const store = useStoreApi();
  return useMemo(() => makeCamera(flow, store), [flow, store]);
}

const isStill = matchMedia('(prefers-reduced-motion: reduce)');
const glide = () => ({ duration: isStill.matches ? 0 : GLIDE_MS });

function makeCamera(flow: ReactFlowInstance, store: ReturnType<typeof useStoreApi>): Camera {
  const view = () => {
    const { transform, width, height } = store.getState();
    const [x, y, zoom] = transform;
    return { x: -x / zoom, y: -y / zoom, width: width / zoom, height: height / zoom };
  };
  const zoom = () => store.getState().transform[2];
  const center = () => centerOf(view());
  return {
    view,
    zoom,
    center,
    at: (screen) => flow.screenToFlowPosition({ ...screen }),
    fit: (rects, { isAtOnce = false } = {}) => {
      const bounds = boundsOf(rects);
      if (!bounds) return;
      const { width, height } = store.getState();
      flow.setViewport(getViewportForBounds(bounds, width, height, FIT_ZOOM_MIN, 1, PADDING), isAtOnce ? {} : glide());
    },
    reveal: (rect, { isToRead = false } = {}) => {
      const wanted = isToRead ? Math.max(zoom(), READABLE_ZOOM) : zoom();
      if (contains(view(), rect) && wanted === zoom()) return;
      const { x, y } = centerOf(rect);
      flow.setCenter(x, y, { zoom: wanted, ...glide() });
    },
    show: ({ x, y }, zoom) => void flow.setCenter(x, y, { zoom }),
    moveTo: ({ x, y }) => void flow.setCenter(x, y, { zoom: zoom() }),
    panAtEdges: (isOn) => store.setState({ autoPanOnNodeDrag: isOn }),
    panBy: ({ x, y }) => {
      const now = flow.getViewport();
      flow.setViewport({ ...now, x: now.x - x, y: now.y - y });
    },
    zoomBy: (factor) => void flow.zoomTo(zoom() * factor, glide()),
    zoomTo: (to) => void flow.zoomTo(to, glide()),
    watch: (look) => {
      let before: unknown[] = [];
      const tell = () => {
        const { transform, width, height } = store.getState();
        const now = [...transform, width, height];
        if (width === 0 || now.every((value, index) => value === before[index])) return;
        before = now;
        look(view(), transform[2]);
      };
      tell();
      return store.subscribe(tell);
    },
  };
}
