/** A hand on some items: what it moves is written on its way, as one gesture, and can be taken back. */

import { itemsOf, type Moved, move, newGesture } from '../edits.js';
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
/** Whoever leaves the page, or it them, is not there to let go: what is held is written while it can be. */
const LEFT = ['blur', 'pagehide', 'visibilitychange'] as const;

export interface HandOptions {
  readonly db: Database;
  readonly report: (error: unknown) => void;
  /** What the hand is on, as it was. */
  readonly before: readonly Moved[];
  /** Where it is now. */
  readonly places: () => readonly Moved[];
  /** Called when the hand lets go, or another one comes. */
  readonly letGo: () => void;
  /** Called when what it does is refused, of which it has told: the next would be, too. */
  readonly giveUp: () => void;
}

export class Hand {
  readonly #options: HandOptions;
  readonly #gesture: number;
  readonly #listening = new AbortController();
  readonly #takeOff = putHandOn();
  readonly #written = new Map<string, Moved>();
  #before: ReadonlyMap<string, Moved>;
  #writtenAt = 0;
  #rest: ReturnType<typeof setTimeout> | undefined;

  constructor(options: HandOptions) {
    this.#options = options;
    this.#before = new Map(options.before.map((one) => [one.id, one]));
    this.#gesture = newGesture();
    const { signal } = this.#listening;
    for (const type of LET_GO) addEventListener(type, options.letGo, { capture: true, signal });
    // A part of the page that loses the focus is no one leaving.
    const leave = ({ type, target }: Event) => (type !== 'blur' || target === window) && options.letGo();
    for (const type of LEFT) addEventListener(type, leave, { capture: true, signal });
  }

  write(): void {
    this.#heed();
    this.#write(this.#options.places());
  }

  /** Writes where enough time has passed since, and else as soon as it has: the hand may come to rest. */
  writeInTime(): void {
    const { length } = this.#options.before;
    if (length > LIVE_MAX) return;
    const due = this.#writtenAt + (length > MANY ? WRITE_INTERVAL_MANY_MS : WRITE_INTERVAL_MS) - performance.now();
    if (due <= 0) this.write();
    else this.#rest ??= setTimeout(() => this.write(), due);
  }

  /** Brings back what still is where this hand has put it; where others have put something meanwhile, it stays. */
  takeBack(): void {
    this.#heed();
    this.#write([...this.#written.keys()].flatMap((id) => this.#before.get(id) ?? []));
  }

  end(): void {
    clearTimeout(this.#rest);
    this.#listening.abort();
    this.#takeOff();
  }

  /** What is not where this hand has put it others have put there: that is how it was before. */
  #heed(): void {
    const before = new Map(this.#before);
    for (const row of itemsOf(this.#options.db, this.#written.keys())) {
      const { id, ...put } = this.#written.get(row.id) ?? row;
      const now = Object.keys(put).map((key) => [key, row[key as 'x']] as const);
      if (now.some(([key, value]) => value !== Math.round(put[key as 'x'])))
        before.set(id, { id, x: row.x, y: row.y, ...Object.fromEntries(now) });
    }
    this.#before = before;
  }

  #write(moved: readonly Moved[]): void {
    clearTimeout(this.#rest);
    this.#rest = undefined;
    this.#writtenAt = performance.now();
    try {
      move(this.#options.db, moved, this.#gesture);
      for (const one of moved) this.#written.set(one.id, one);
    } catch (error) {
      this.#options.report(error);
      this.#options.giveUp();
    }
  }
}

/**
 * Keeps from the library that a second finger has come to an item, until the function that it returns is called: the library would give up
 * what it drags, and then not tell of the next drag.
 */
export function hideSecondFinger(): () => void {
  const hide = (event: TouchEvent) => {
    if (event.touches.length < 2 || !(event.target as Element).closest('.react-flow__node.draggable')) return;
    event.stopPropagation();
    if (event.cancelable) event.preventDefault();
  };
  addEventListener('touchmove', hide, { capture: true, passive: false });
  return () => removeEventListener('touchmove', hide, { capture: true });
}
