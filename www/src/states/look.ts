/**
 * How a canvas was left: what was in view, and a picture of it. public/look.js shows the picture before anything of the app has started;
 * here it is kept, taken away and forgotten.
 */

import type { Place } from '../canvas/geometry.js';
import { keep, kept, keptKeys } from './kept.js';

/** Of so many canvases; the one that was left the longest ago is forgotten first. */
const LOOKS_MAX = 8;
/** All are read together, before anything is drawn. */
const PICTURE_CHARS_MAX = 150_000;

export interface Look {
  /** In ms since 1970. */
  readonly at: number;
  /** The middle of what was in view. */
  readonly center: Place;
  readonly zoom: number;
  /** Under which the space was opened; null without one. With another it is somebody else's. */
  readonly pass: string | null;
  readonly picture?: Picture;
}

export interface Picture {
  /** Width and height: in a window of another size it is not shown. */
  readonly window: readonly [number, number];
  /** Where in the window it lies. */
  readonly frame: Pick<DOMRect, 'left' | 'top' | 'width' | 'height'>;
  readonly html: string;
}

const PREFIX = 'look.';

export function lookOf(space: string, pass: string | null): Look | undefined {
  const look = kept<Look>(PREFIX + space);
  return look?.pass === pass ? look : undefined;
}

export function keepLook(space: string, { picture, ...look }: Look): void {
  // Where there is no room for the new one, the old one is of no use either.
  forgetLook(space);
  const isSmall = picture !== undefined && picture.html.length <= PICTURE_CHARS_MAX;
  keep(PREFIX + space, isSmall ? { ...look, picture } : look);
  const others = keptKeys(PREFIX).filter((key) => key !== PREFIX + space);
  if (others.length < LOOKS_MAX) return;
  const oldest = others.sort((a, b) => (kept<Look>(a)?.at ?? 0) - (kept<Look>(b)?.at ?? 0));
  for (const key of oldest.slice(0, others.length + 1 - LOOKS_MAX)) keep(key, undefined);
}

export function forgetLook(space: string): void {
  keep(PREFIX + space, undefined);
}

export function takeLookAway(): void {
  document.getElementById('look')?.remove();
}
