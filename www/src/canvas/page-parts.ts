/** The parts of the page that F6 goes through, in the order in which they are seen. */

import type { Controls } from './controls.js';
import { giveFocus } from './use-focus.js';

const CANVAS = '.canvas .react-flow';
const PARTS = ['.topbar', '.banner', '.tools', '.search', '.inspector', CANVAS, '.legend', '.view-bar', '.panel'];
const TAKES_FOCUS = ':is(button, input, select, a[href]):not(:disabled)';

export function goToPart({ scene }: Controls, by: 1 | -1): void {
  const shown = PARTS.filter((part) => part === CANVAS || firstOf(part));
  const around = shown.filter((part) => document.activeElement?.closest(part));
  // The canvas is around its own bars.
  const here = shown.indexOf(around.find((part) => part !== CANVAS) ?? around[0] ?? '');
  const next = here < 0 ? (by > 0 ? 0 : -1) : (here + by) % shown.length;
  const part = shown.at(next) ?? CANVAS;
  if (part === CANVAS) giveFocus([...scene.selection].at(-1));
  else firstOf(part)?.focus();
}

function firstOf(part: string): HTMLElement | undefined {
  const all = [...document.querySelectorAll<HTMLElement>(`${part} ${TAKES_FOCUS}`)];
  return all.find((one) => one.checkVisibility({ visibilityProperty: true }));
}
