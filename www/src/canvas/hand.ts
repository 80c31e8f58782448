/** A hand on some items: what it moves is written on its way, as one gesture, and can be taken back. */

import { itemsOf, type Moved, move } from '../edits.js';
import type { Database } from '../space.js';
import { putHandOn } from '../states/hands.js';

/**
 * Others see about 20 positions a second, and one where many things are dragged: writing many costs a frame here. The engine folds
 * those that have not been sent.
 */
const WRITE_INTERVAL_MS = 50;
const WRITE_INTERVAL_MANY_MS = 1000;
const MANY = 10;
/** More than this are written when they are let go, because a frame has no room for them. */
const LIVE_MAX = 500;
/** The page hears of these wherever the hand is then. The library does not, where what it began with is gone, or a second finger came. */
const LET_GO = ['pointerup', 'pointercancel', 'pointerdown'] as const;

let gestures = 0;

export interface HandOptions {
  readonly db: Database;
  readonly report: (error: unknown) => void;
  /** What the hand is on, as it was. */
  readonly before: readonly Moved[];
  /** Where it is now. */
  readonly places: () => readonly Moved[];
  /** Called when the hand lets go, or another one comes. */
  readonly letGo: () => void;
}

export class Hand {
  readonly #options: HandOptions;
  readonly #gesture: number;
  readonly #listening = new AbortController();
  readonly #takeOff = putHandOn();
  readonly #written = new Map<string, Moved>();
  #writtenAt = 0;

  constructor(options: HandOptions) {
    this.#options = options;
    gestures += 1;
    this.#gesture = gestures;
    const { signal } = this.#listening;
    for (const type of LET_GO) addEventListener(type, options.letGo, { capture: true, signal });
  }

  write(): void {
    this.#write(this.#options.places());
  }

  /** Writes where enough time has passed since. */
  writeInTime(): void {
    const { length } = this.#options.before;
    const interval = length > MANY ? WRITE_INTERVAL_MANY_MS : WRITE_INTERVAL_MS;
    if (length <= LIVE_MAX && performance.now() - this.#writtenAt >= interval) this.write();
  }

  /** Brings back what still is where this hand has put it; where others have put something meanwhile, it stays. */
  takeBack(): void {
    const rows = new Map(itemsOf(this.#options.db, this.#written.keys()).map((row) => [row.id, row]));
    const isOurs = ({ id }: Moved) => {
      const [{ id: _id, ...put }, row] = [this.#written.get(id) ?? { id }, rows.get(id)];
      return row && Object.entries(put).every(([key, value]) => row[key as 'x'] === Math.round(value));
    };
    this.#write(this.#options.before.filter(isOurs));
  }

  end(): void {
    this.#listening.abort();
    this.#takeOff();
  }

  #write(moved: readonly Moved[]): void {
    this.#writtenAt = performance.now();
    try {
      move(this.#options.db, moved, this.#gesture);
      for (const one of moved) this.#written.set(one.id, one);
    } catch (error) {
      this.#options.report(error);
    }
  }
}

/**
 * Keeps from the library that a second finger has come to an item, until the function that it returns is called: the library would give up
 * what it drags, and then not tell of the next drag.
 */
export function hideSecondFinger(): () => void {
  const hide = (event: TouchEvent) => {
    if (event.touches.length < 2 || !(event.target as Element).closest('.react-flow__node')) return;
    event.stopPropagation();
    if (event.cancelable) event.preventDefault();
  };
  addEventListener('touchmove', hide, { capture: true, passive: false });
  return () => removeEventListener('touchmove', hide, { capture: true });
}
