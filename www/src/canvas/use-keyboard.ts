/** Keys: commands by their names, and Tab, which goes through all items as a page is read. */

import { type RefObject, useEffect } from 'react';
import { COMMANDS } from './commands.js';
import type { Controls } from './controls.js';
import { isDialogOpen, keyName } from './keys.js';
import { isGathered } from './selection.js';
import { partsOf } from './use-focus.js';
import { goTo, nextItem } from './walk.js';

const BY_KEY = new Map(COMMANDS.filter((c) => !c.isElsewhere).flatMap((c) => c.keys.map((key) => [key, c] as const)));

const WRITTEN_IN = 'input:not([type=checkbox]), textarea, select, [contenteditable]';

export function isTyping(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest(WRITTEN_IN) !== null;
}

function isOnCanvas(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest('.canvas') !== null;
}

/** Ctrl with a letter is the canvas's everywhere. Single keys are only where it has the focus, but for those that make nothing. */
function isMeant(name: string, target: EventTarget | null): boolean {
  if (isOnCanvas(target) || name === '?' || /^Mod\+(Shift\+)?\p{L}$/u.test(name)) return true;
  return name === 'Escape' && target instanceof Element && target.matches('body, .frame');
}

/** A button, a link or a box to tick that has the focus is pressed by these. */
function isPress(name: string, target: EventTarget | null): boolean {
  const isKey = name === 'Enter' || name.endsWith('Space');
  return isKey && target instanceof Element && target.closest('button, a, input') !== null;
}

export function useKeyboard(controls: RefObject<Controls>, attempt: (edit: () => void) => void): void {
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      const { target } = event;
      // While a word is composed, its keys are those of the composing.
      if (event.defaultPrevented || event.isComposing || isDialogOpen()) return;
      const name = keyName(event);
      const command = BY_KEY.get(name);
      if (!command?.isAnywhere) {
        if (isTyping(target)) return;
        const outer = target instanceof Element && target.closest('.react-flow__node');
        if (outer && outer !== target && stayInside(outer, controls.current, event)) return;
        if (event.key === 'Tab') return walk(controls.current, event);
        if (!command || !isMeant(name, target) || isPress(name, target)) return;
      }
      event.preventDefault();
      if (command.isEnabled?.(controls.current) ?? true) attempt(() => command.run(controls.current));
    };
    addEventListener('keydown', listen);
    return () => removeEventListener('keydown', listen);
  }, [controls, attempt]);
}

/** Links, boxes to tick and votes within a card take Tab among themselves, until Escape leads back to the card. */
function stayInside(outer: Element, { focus }: Controls, event: KeyboardEvent): boolean {
  if (event.key !== 'Tab' && event.key !== 'Escape') return false;
  event.preventDefault();
  const inside = partsOf(outer);
  const here = inside.indexOf(event.target as HTMLElement);
  if (event.key === 'Escape') focus(outer.getAttribute('data-id') ?? '');
  else inside.at((here + (event.shiftKey ? -1 : 1)) % inside.length)?.focus();
  return true;
}

/** From the last item on, Tab leaves the canvas, as it leaves any list. */
function walk(controls: Controls, event: KeyboardEvent): void {
  const { scene } = controls;
  const target = event.target as Element;
  const item = target.closest('.react-flow__node, .react-flow__edge');
  if (!target.matches('.react-flow') && target !== item) return;
  if (!item && event.shiftKey) return;
  const next = nextItem(controls, event.shiftKey ? -1 : 1);
  if (next === undefined) return;
  event.preventDefault();
  if (!isGathered(scene)) scene.select([next]);
  goTo(controls, next);
}
