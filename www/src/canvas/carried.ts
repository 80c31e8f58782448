/**
 * Shows what a hand carries. What goes as it is (drawn with the class `is-held`) lies as copies in layers that the browser moves whole;
 * connections of which one end stays (`is-loose`) are drawn anew. To move each item by itself, or to have the lines made anew by their
 * components, costs a frame several milliseconds of style, layout and paint.
 */

import { Lines } from './lines.js';
import { Guides, Moving } from './moving.js';
import { transformOf } from './route.js';
import type { Carried, Carrying } from './scene.js';
import { giveFocusBack, isFocusLost } from './use-focus.js';

const BOX = '.react-flow__node-box';

class Copies {
  readonly #viewport: Element;
  /** What moves whole: boxes below connections and cards, as they lie, and all else above everything. */
  readonly #whole: readonly Moving[];
  readonly #loose = makeLayer('carried-ends');
  readonly #lines: Lines;
  readonly #labels = new Map<string, Moving>();
  readonly #guides: Guides;
  /** Lies over everything, so that the browser need not look for what is under the hand. */
  readonly #shield = makeLayer('carrying-shield', false);
  /** What is hidden loses the focus. */
  readonly #focused = document.activeElement;

  constructor(viewport: Element) {
    this.#viewport = viewport;
    const boxes = copiesOf(viewport, BOX, makeLayer('carried carried-boxes'));
    const others = copiesOf(viewport, `:not(${BOX})`, makeLayer('carried'));
    this.#whole = (boxes.querySelector(BOX) ? [boxes, others] : [others]).map((layer) => new Moving(layer));
    this.#lines = new Lines(viewport);
    this.#loose.append(this.#lines.canvas);
    for (const line of viewport.querySelectorAll<SVGElement>('.react-flow__edge.is-loose')) {
      const path = line.querySelector<SVGPathElement>('.react-flow__edge-path');
      if (path) this.#lines.add(line.dataset.id ?? '', path);
    }
    for (const label of viewport.querySelectorAll<HTMLElement>('.connection-label.is-loose')) {
      const copy = new Moving(unnamed(label));
      this.#loose.append(copy.element);
      this.#labels.set(label.dataset.of ?? '', copy);
    }
    this.#guides = new Guides(
      makeLayer('carried-guides'),
      new DOMMatrixReadOnly(getComputedStyle(viewport).transform).a,
    );
    viewport.classList.add('is-carrying');
    // Where connections lie: below the cards.
    viewport.querySelector('.react-flow__nodes')?.before(this.#loose);
    viewport.append(...this.#whole.map(({ element }) => element), this.#guides.layer);
    // The menu of a second button is not for what is in the hand.
    this.#shield.addEventListener('contextmenu', (event) => {
      event.preventDefault();
      event.stopPropagation();
    });
    viewport.closest('.react-flow__renderer')?.append(this.#shield);
  }

  moveTo({ by, routes, guides }: Carrying): void {
    for (const layer of this.#whole) layer.to(`translate(${by.x}px, ${by.y}px)`);
    this.#guides.show(guides);
    const all = [...routes];
    this.#lines.draw(all);
    for (const [id, route] of all) this.#labels.get(id)?.to(transformOf(route));
  }

  remove(): void {
    this.#viewport.classList.remove('is-carrying');
    for (const { element } of this.#whole) element.remove();
    this.#lines.remove();
    for (const layer of [this.#loose, this.#guides.layer, this.#shield]) layer.remove();
    if (isFocusLost()) giveFocusBack(this.#focused);
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

function makeLayer(name: string, isInert = true): HTMLElement {
  const layer = document.createElement('div');
  layer.className = name;
  layer.inert = isInert;
  return layer;
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
