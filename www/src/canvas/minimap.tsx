/** All of the canvas, small. What is in view is a frame on it, which can be dragged. */

import { type RefObject, useEffect, useRef } from 'react';
import { allItems } from '../edits.js';
import type { Controls } from './controls.js';
import { boundsOf, type Place, type Rect } from './geometry.js';

const WIDTH = 200;
const HEIGHT = 132;
const MARGIN = 8;
/** Drawing all of a huge canvas takes a while, and nobody looks at the map while dragging. */
const REDRAW_MS = 500;

interface Scale {
  readonly bounds: Rect;
  readonly by: number;
  readonly left: number;
  readonly top: number;
}

function scaleOf(rects: readonly Rect[]): Scale {
  const bounds = boundsOf(rects) ?? { x: 0, y: 0, width: 1, height: 1 };
  const by = Math.min((WIDTH - 2 * MARGIN) / bounds.width, (HEIGHT - 2 * MARGIN) / bounds.height);
  return { bounds, by, left: (WIDTH - bounds.width * by) / 2, top: (HEIGHT - bounds.height * by) / 2 };
}

export function MiniMap({ controls }: { controls: RefObject<Controls> }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const frame = useRef<HTMLDivElement>(null);
  const scale = useRef(scaleOf([]));

  useEffect(() => {
    const { db, scene, camera } = controls.current;
    const draw = () => {
      const items = allItems(db);
      scale.current = scaleOf(items);
      if (canvas.current)
        paint(canvas.current, scale.current, items, new Set(db.tables.box.query().map(({ id }) => id)));
      place(camera.view());
    };
    const place = (view: Rect) => {
      const { bounds, by, left, top } = scale.current;
      const style = frame.current?.style;
      if (!style) return;
      style.width = `${view.width * by}px`;
      style.height = `${view.height * by}px`;
      style.transform = `translate(${left + (view.x - bounds.x) * by}px, ${top + (view.y - bounds.y) * by}px)`;
    };
    let timer: ReturnType<typeof setTimeout> | undefined;
    const soon = () => {
      timer ??= setTimeout(() => {
        timer = undefined;
        if (scene.isHolding) soon();
        else draw();
      }, REDRAW_MS);
    };
    draw();
    const looks = matchMedia('(prefers-color-scheme: dark)');
    const theme = new MutationObserver(draw);
    theme.observe(document.documentElement, { attributeFilter: ['data-theme'] });
    looks.addEventListener('change', draw);
    const stops = [db.subscribe(soon), camera.watch(place)];
    return () => {
      clearTimeout(timer);
      theme.disconnect();
      looks.removeEventListener('change', draw);
      for (const stop of stops) stop();
    };
  }, [controls]);

  const go = ({ currentTarget, clientX, clientY }: React.PointerEvent) => {
    const { bounds, by, left, top } = scale.current;
    const corner = currentTarget.getBoundingClientRect();
    const x = bounds.x + (clientX - corner.x - left) / by;
    const y = bounds.y + (clientY - corner.y - top) / by;
    controls.current.camera.moveTo({ x, y } satisfies Place);
  };
  return (
    // Panning by the arrow keys does the same without a pointer.
    <div
      className="minimap"
      aria-hidden
      data-testid="minimap"
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        go(event);
      }}
      onPointerMove={(event) => event.buttons > 0 && go(event)}
    >
      <canvas ref={canvas} width={WIDTH * 2} height={HEIGHT * 2} />
      <div ref={frame} className="minimap-view" />
    </div>
  );
}

function paint(
  canvas: HTMLCanvasElement,
  scale: Scale,
  items: readonly (Rect & { id: string })[],
  boxes: Set<string>,
): void {
  const context = canvas.getContext('2d');
  if (!context) return;
  // The style sheet knows the theme's colours.
  const { color, borderTopColor } = getComputedStyle(canvas);
  const { bounds, by, left, top } = scale;
  context.setTransform(2, 0, 0, 2, 0, 0);
  context.clearRect(0, 0, WIDTH, HEIGHT);
  for (const { id, x, y, width, height } of items) {
    context.fillStyle = boxes.has(id) ? borderTopColor : color;
    const size = [Math.max(1, width * by), Math.max(1, height * by)] as const;
    context.fillRect(left + (x - bounds.x) * by, top + (y - bounds.y) * by, ...size);
  }
}
