/** Moving without drawing: what the compositor alone moves costs the page's main thread next to nothing. */

import type { Guide } from './snap.js';

/**
 * An element that is moved by an animation which stands still. Where a script sets a style instead, Chromium goes through all that is
 * drawn on the page, however it is layered, with each frame: a millisecond or more. An animation's values it hands on as they are.
 */
export class Moving<T extends HTMLElement = HTMLElement> {
  readonly element: T;
  readonly #effect: KeyframeEffect;

  constructor(element: T) {
    this.element = element;
    this.#effect = new KeyframeEffect(element, null, { duration: 1, fill: 'both' });
    new Animation(this.#effect).pause();
  }

  to(transform: string): void {
    this.#effect.setKeyframes({ transform: [transform, transform] });
  }
}

/** The lines that something has come to rest on: one pixel of the screen wide, whatever the zoom. */
export class Guides {
  readonly layer: HTMLElement;
  readonly #pixel: number;
  readonly #lines: Moving[] = [];

  constructor(layer: HTMLElement, zoom: number) {
    this.layer = layer;
    this.#pixel = 1 / zoom;
  }

  show(guides: readonly Guide[]): void {
    while (this.#lines.length < guides.length) {
      const line = new Moving(document.createElement('i'));
      this.layer.append(line.element);
      this.#lines.push(line);
    }
    for (const [index, line] of this.#lines.entries()) {
      const guide = guides[index];
      line.to(guide ? this.#along(guide) : 'scale(0)');
    }
  }

  #along({ axis, at, from, to }: Guide): string {
    const [left, length, pixel] = [at - this.#pixel / 2, to - from, this.#pixel];
    return axis === 'x'
      ? `translate(${left}px, ${from}px) scale(${pixel}, ${length})`
      : `translate(${from}px, ${left}px) scale(${length}, ${pixel})`;
  }
}
