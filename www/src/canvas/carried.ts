/**
 * Shows what a hand carries as copies of what is drawn. What goes as it is (drawn with the class `is-held`) lies in layers that the browser
 * moves whole, and connections of which one end stays (`is-loose`) in another, as lines. To move each item by itself, or to have the lines made
 * anew by their components, costs a frame several milliseconds of style, layout and paint.
 */

import { transformOf } from './route.js';
import type { Carried, Carrying } from './scene.js';
import type { Guide } from './snap.js';

const SVG = 'http://www.w3.org/2000/svg';
const BOX = '.react-flow__node-box';

class Copies {
  readonly #viewport: Element;
  /** What moves whole: boxes below connections and cards, as they lie, and all else above everything. */
  readonly #whole: readonly HTMLElement[];
  readonly #loose = makeLayer('carried-ends');
  readonly #lines = new Map<string, SVGPathElement>();
  readonly #labels = new Map<string, HTMLElement>();
  readonly #over = makeLayer('carried-guides');
  readonly #guides = document.createElementNS(SVG, 'path');
  /** Lies over everything, so that the browser need not look for what is under the hand. */
  readonly #shield = makeLayer('carrying-shield', false);
  /** What is hidden loses the focus. */
  readonly #focused = document.activeElement;

  constructor(viewport: Element) {
    this.#viewport = viewport;
    const boxes = copiesOf(viewport, BOX, makeLayer('carried carried-boxes'));
    this.#whole = [
      ...(boxes.querySelector(BOX) ? [boxes] : []),
      copiesOf(viewport, `:not(${BOX})`, makeLayer('carried')),
    ];
    const lines = document.createElementNS(SVG, 'svg');
    this.#loose.append(groundOf(viewport), lines);
    for (const line of viewport.querySelectorAll<SVGElement>('.react-flow__edge.is-loose')) {
      const path = line.querySelector<SVGPathElement>('.react-flow__edge-path');
      const id = line.dataset.id;
      if (!path || !id) continue;
      const copy = unnamed(path);
      lines.append(copy);
      this.#lines.set(id, copy);
    }
    for (const label of viewport.querySelectorAll<HTMLElement>('.connection-label.is-loose')) {
      const copy = unnamed(label);
      this.#loose.append(copy);
      this.#labels.set(label.dataset.of ?? '', copy);
    }
    this.#guides.classList.add('guides');
    this.#guides.dataset.testid = 'guides';
    const over = document.createElementNS(SVG, 'svg');
    over.append(this.#guides);
    this.#over.append(over);
    viewport.classList.add('is-carrying');
    // Where connections lie: below the cards.
    viewport.querySelector('.react-flow__nodes')?.before(this.#loose);
    viewport.append(...this.#whole, this.#over);
    viewport.closest('.react-flow__renderer')?.append(this.#shield);
  }

  moveTo({ by, routes, guides }: Carrying): void {
    for (const layer of this.#whole) layer.style.translate = `${by.x}px ${by.y}px`;
    this.#guides.setAttribute('d', guides.map(lineOf).join(''));
    for (const [id, route] of routes) {
      this.#lines.get(id)?.setAttribute('d', route.path);
      const label = this.#labels.get(id);
      if (label) label.style.transform = transformOf(route);
    }
  }

  remove(): void {
    this.#viewport.classList.remove('is-carrying');
    for (const layer of [...this.#whole, this.#loose, this.#over, this.#shield]) layer.remove();
    if (document.activeElement === document.body && this.#focused instanceof HTMLElement)
      this.#focused.focus({ preventScroll: true });
  }
}

let copies: Copies | undefined;

export const carried: Carried = {
  to: (carrying) => {
    if (!copies) {
      const viewport = document.querySelector('.react-flow__viewport');
      if (!viewport?.querySelector('.is-held')) return;
      copies = new Copies(viewport);
    }
    copies.moveTo(carrying);
  },
  drop: () => {
    copies?.remove();
    copies = undefined;
  },
};

function lineOf({ axis, at, from, to }: Guide): string {
  return axis === 'x' ? `M${at} ${from}V${to}` : `M${from} ${at}H${to}`;
}

function makeLayer(name: string, isInert = true): HTMLElement {
  const layer = document.createElement('div');
  layer.className = name;
  layer.inert = isInert;
  return layer;
}

/**
 * As large as lines may reach, and not quite without a colour: a layer that keeps its size with every line is not laid out anew with each
 * frame.
 */
function groundOf(viewport: Element): HTMLElement {
  const ground = makeLayer('carried-ground');
  const { a: zoom, e: x, f: y } = new DOMMatrixReadOnly(getComputedStyle(viewport).transform);
  const [width, height] = [innerWidth / zoom, innerHeight / zoom];
  const place = { left: -x / zoom - width, top: -y / zoom - height, width: 3 * width, height: 3 * height };
  for (const [name, px] of Object.entries(place)) ground.style.setProperty(name, `${px}px`);
  return ground;
}

/** Of each of the library's layers (connections, labels, items) what is held in it, as far as it is of these. */
function copiesOf(viewport: Element, these: string, into: HTMLElement): HTMLElement {
  for (const part of viewport.children) {
    const copy = part.cloneNode() as Element;
    for (const held of part.querySelectorAll(`.is-held${these}`)) copy.append(unnamed(held.closest('svg') ?? held));
    into.append(copy);
  }
  return into;
}

/** A copy without what tells the original from others. */
function unnamed<T extends Element>(original: T): T {
  const copy = original.cloneNode(true) as T;
  for (const one of [copy, ...copy.querySelectorAll('[id], [data-id], [data-testid]')])
    for (const name of ['id', 'data-id', 'data-testid']) one.removeAttribute(name);
  return copy;
}
