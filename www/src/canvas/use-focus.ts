/** Gives the focus to an item, which may have to be drawn before it can take it. */

import { type RefObject, useCallback, useRef } from 'react';

/** While the view glides to an item, it is drawn only after some frames. */
const FRAMES_MAX = 60;

const elementOf = (main: HTMLElement | null, id: string) =>
  main?.querySelector<HTMLElement>(`.react-flow__node[data-id="${id}"], .react-flow__edge[data-id="${id}"]`);

/** What in a card can be clicked. */
export function partsOf(item: Element): HTMLElement[] {
  return [...item.querySelectorAll<HTMLElement>('a[href], button, input')];
}

export function useFocus(main: RefObject<HTMLElement | null>): (id: string, isInside?: boolean) => void {
  const wanted = useRef('');
  return useCallback(
    (id: string, isInside = false) => {
      wanted.current = id;
      let frames = 0;
      const attempt = () => {
        const item = elementOf(main.current, id);
        const element = isInside && item ? partsOf(item)[0] : item;
        if (element) element.focus({ preventScroll: true });
        else if (wanted.current === id && frames++ < FRAMES_MAX) requestAnimationFrame(attempt);
      };
      // What was just selected or edited is drawn anew first.
      requestAnimationFrame(attempt);
    },
    [main],
  );
}
