/** Moves all that a hand carries: whatever is drawn with the class `is-held`. */

import type { Carried } from './scene.js';

export const carried: Carried = {
  by: ({ x, y }) => {
    const translate = x === 0 && y === 0 ? '' : `${x}px ${y}px`;
    for (const item of document.querySelectorAll<HTMLElement | SVGElement>('.is-held'))
      item.style.translate = translate;
  },
};
