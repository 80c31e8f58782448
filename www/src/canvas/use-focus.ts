/** Where the focus goes: to an item, which may have to be drawn before it can take it, and back from what closes. */

import { type RefObject, useCallback, useLayoutEffect, useRef } from 'react';

const CANVAS = '.canvas .react-flow';
const ITEM = ':is(.react-flow__node, .react-flow__edge)';
/** While the view glides to an item, it is drawn only after some frames. */
const FRAMES_MAX = 60;

const elementOf = (id: string) => document.querySelector<HTMLElement>(`.canvas ${ITEM}[data-id="${id}"]`);

/** What in a card can be clicked. */
export function partsOf(item: Element): HTMLElement[] {
  return [...item.querySelectorAll<HTMLElement>('a[href], button, input')];
}

/** The item that has the focus, or has it on something in it. */
export function focusedItem(): string | undefined {
  return document.activeElement?.closest(ITEM)?.getAttribute('data-id') ?? undefined;
}

export function isFocusLost(): boolean {
  return document.activeElement === null || document.activeElement === document.body;
}

/** To an item, if it is drawn, and else to the canvas. */
export function giveFocus(id?: string, options?: FocusOptions): void {
  const element = (id && elementOf(id)) || document.querySelector<HTMLElement>(CANVAS);
  element?.focus({ preventScroll: true, ...options });
}

/** To the field of an item that is written in already. */
export function giveFocusToDraft(id: string): void {
  elementOf(id)?.querySelector<HTMLElement>('.draft')?.focus({ preventScroll: true });
}

/** To what had it before, if that is still there, and else to the canvas. */
export function giveFocusBack(before: Element | null): void {
  const canTake = before instanceof HTMLElement || before instanceof SVGElement;
  if (canTake && before.isConnected) before.focus({ preventScroll: true });
  if (document.activeElement !== before) giveFocus();
}

/** The library takes the focus from what is taken out of the selection. */
export function keepFocus(id: string): void {
  requestAnimationFrame(() => isFocusLost() && giveFocus(id));
}

/** What closes while it has the focus gives it back to what had it before, or to the canvas. */
export function useFocusBack(part: RefObject<HTMLElement | null>): void {
  useLayoutEffect(() => {
    const closing = part.current;
    const before = document.activeElement;
    const hasFocus = () => closing?.contains(document.activeElement) === true;
    return () => {
      if (hasFocus()) giveFocusBack(before);
      // What takes the focus as it opens had it before this was asked.
      if (hasFocus()) giveFocus();
    };
  }, [part]);
}

/**
 * An item that is deleted or leaves the view while it, or something in it, has the focus, leaves it to the canvas. What is written in
 * it does so by itself: its keys must not become commands.
 */
export function useFocusLeft(id: string): void {
  useLayoutEffect(
    () => () => {
      if (focusedItem() === id && !document.activeElement?.matches('.draft')) giveFocus();
    },
    [id],
  );
}

export function useFocus(main: RefObject<HTMLElement | null>): (id: string, isInside?: boolean) => void {
  const wanted = useRef('');
  // At first nothing has the focus, and keys are the canvas's. Nobody has asked for it, so that it is not shown.
  useLayoutEffect(() => {
    if (main.current && isFocusLost()) giveFocus(undefined, { focusVisible: false });
  }, [main]);
  return useCallback((id: string, isInside = false) => {
    wanted.current = id;
    let frames = 0;
    const attempt = () => {
      const item = elementOf(id);
      const element = isInside && item ? partsOf(item)[0] : item;
      if (element) element.focus({ preventScroll: true });
      else if (wanted.current === id && frames++ < FRAMES_MAX) {
        if (isFocusLost()) giveFocus();
        requestAnimationFrame(attempt);
      }
    };
    // What was just selected or edited is drawn anew first.
    requestAnimationFrame(attempt);
  }, []);
}
