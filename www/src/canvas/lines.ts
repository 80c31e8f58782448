/**
 * Connections that take another way with each frame, drawn by a pen: as parts of the page they would have the browser go through all that
 * is drawn there.
 */

import { Position } from '@xyflow/react';
import type { End, Route } from './route.js';

/** How the library draws the arrow at the end of a connection, in widths of its line. */
const ARROW = { length: 4, half: 3.2, outline: 0.8 } as const;

interface Ink {
  readonly color: string;
  readonly width: number;
  /** The colours of its arrows, where it has any. */
  readonly arrows: { readonly from: string | undefined; readonly to: string | undefined };
}

export class Lines {
  readonly canvas = document.createElement('canvas');
  #pen: CanvasRenderingContext2D | null = null;
  readonly #inks = new Map<string, Ink>();
  readonly #toScreen: DOMMatrix;
  readonly #size: readonly [number, number];

  /** Covers what is in view of the library's viewport, in which it lies. */
  constructor(viewport: Element) {
    const { a: zoom, e: x, f: y } = new DOMMatrixReadOnly(getComputedStyle(viewport).transform);
    const { clientWidth: width, clientHeight: height } = viewport.closest('.react-flow') ?? document.documentElement;
    this.#size = [Math.round(width * devicePixelRatio), Math.round(height * devicePixelRatio)];
    const place = { left: -x / zoom, top: -y / zoom, width: width / zoom, height: height / zoom };
    for (const [name, px] of Object.entries(place)) this.canvas.style.setProperty(name, `${px}px`);
    this.#toScreen = new DOMMatrix().scale(devicePixelRatio).translate(x, y).scale(zoom);
  }

  /** As it is drawn now. */
  add(id: string, path: SVGPathElement): void {
    // Pixels take memory: only once there is something to draw.
    if (!this.#pen) {
      [this.canvas.width, this.canvas.height] = this.#size;
      this.#pen = this.canvas.getContext('2d');
    }
    const { stroke: color, strokeWidth } = getComputedStyle(path);
    const arrows = { from: arrowOf(path, 'marker-start'), to: arrowOf(path, 'marker-end') };
    this.#inks.set(id, { color, width: Number.parseFloat(strokeWidth), arrows });
  }

  /** Gives the pixels back, without waiting for whoever collects what is not used. */
  remove(): void {
    this.canvas.width = this.canvas.height = 0;
    this.canvas.remove();
  }

  draw(routes: Iterable<readonly [string, Route]>): void {
    const pen = this.#pen;
    if (!pen) return;
    pen.resetTransform();
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    pen.setTransform(this.#toScreen);
    for (const [id, { path, from, to }] of routes) {
      const ink = this.#inks.get(id);
      if (!ink) continue;
      pen.strokeStyle = ink.color;
      pen.lineWidth = ink.width;
      pen.stroke(new Path2D(path));
      if (ink.arrows.from) drawArrow(pen, from, ink.width, ink.arrows.from);
      if (ink.arrows.to) drawArrow(pen, to, ink.width, ink.arrows.to);
    }
  }
}

function arrowOf(path: SVGPathElement, end: 'marker-start' | 'marker-end'): string | undefined {
  // A name of the library's may hold all that a colour is written with.
  const id = path.getAttribute(end)?.match(/^url\(['"]?#(.+?)['"]?\)$/)?.[1];
  const shape = id && document.getElementById(id)?.firstElementChild;
  return shape ? getComputedStyle(shape).stroke : undefined;
}

/** Out of each side, as x and y. */
const OUT = {
  [Position.Left]: [-1, 0],
  [Position.Right]: [1, 0],
  [Position.Top]: [0, -1],
  [Position.Bottom]: [0, 1],
} as const;

function drawArrow(pen: CanvasRenderingContext2D, { x, y, side }: End, width: number, color: string): void {
  const [dx, dy] = OUT[side];
  const [length, half] = [ARROW.length * width, ARROW.half * width];
  pen.strokeStyle = pen.fillStyle = color;
  pen.lineWidth = ARROW.outline * width;
  pen.lineJoin = 'round';
  pen.beginPath();
  pen.moveTo(x + dx * length - dy * half, y + dy * length + dx * half);
  pen.lineTo(x, y);
  pen.lineTo(x + dx * length + dy * half, y + dy * length - dx * half);
  pen.closePath();
  pen.fill();
  pen.stroke();
}
