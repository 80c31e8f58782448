/** A canvas opens as it was left: with the same in view, and with a picture of it until the canvas itself is drawn. */

import { type RefObject, useEffect } from 'react';
import { tokenOf } from '../share/pass.js';
import { openedWith, useDatabase } from '../space.js';
import { forgetLook, keepLook, type Picture, takeLookAway } from '../states/look.js';
import { isUnreadable } from '../states/use-rows.js';
import type { Camera } from './camera.js';
import { centerOf, distance, type Place } from './geometry.js';
import type { Scene } from './scene.js';

/** After the last change. A page that is killed is seen anew as it was then. */
const STILL_MS = 2000;
/** When all is read, what is in view is drawn by then; or else nothing is. */
const FRAMES_MAX = 10;
/** So many items, those nearest to the middle, and so many connections. */
const MOST = 64;
/** What only a hand was for, and what another page cannot show. */
const PASSING = [
  ...[
    '.react-flow__handle',
    '.react-flow__resize-control',
    '.react-flow__edge-interaction',
    '.anchor',
    '.draft',
    '.draft-problem',
    '.not-kept',
  ],
  ...['.selected .votes', 'img[src^="blob:"]'],
].join();
/** What is not seen. */
const UNSEEN = [
  'data-testid',
  'data-id',
  'tabindex',
  'role',
  'aria-label',
  'aria-description',
  'aria-roledescription',
  'aria-describedby',
];

export interface LookOptions {
  readonly space: string;
  readonly main: RefObject<HTMLElement | null>;
  readonly scene: Scene;
  readonly camera: Camera;
}

export function useLook({ space, main, scene, camera }: LookOptions): void {
  const db = useDatabase();
  useEffect(() => {
    const pass = openedWith();
    let isLoaded = false;
    void db.loaded.then(() => {
      isLoaded = true;
    });
    const keep = () => {
      // With another pass the page is about to be loaded anew, as somebody else's.
      if (tokenOf(space) !== pass) return;
      if (isLoaded && scene.read().isEmpty) forgetLook(space);
      if (scene.isHolding || scene.isFilling || scene.read().isEmpty || !main.current) return;
      const center = camera.center();
      const picture = pictureOf(main.current, scene, center);
      keepLook(space, { at: Date.now(), center, zoom: camera.zoom(), pass, picture });
    };
    let timer: ReturnType<typeof setTimeout> | undefined;
    const soon = () => {
      clearTimeout(timer);
      timer = setTimeout(keep, STILL_MS);
    };
    const listening = new AbortController();
    const { signal } = listening;
    document.addEventListener('visibilitychange', () => document.hidden && keep(), { signal });
    addEventListener('pagehide', keep, { signal });
    const stops = [scene.subscribe(soon), camera.watch(soon)];
    return () => {
      clearTimeout(timer);
      listening.abort();
      for (const stop of stops) stop();
    };
  }, [db, space, main, scene, camera]);

  useEffect(() => {
    let isWanted = true;
    let isLoaded = false;
    let framesLeft = FRAMES_MAX;
    const look = () => {
      if (!isWanted) return;
      const isDrawn = !scene.isFilling && main.current?.querySelector('.react-flow__node') != null;
      if ((isLoaded || isUnreadable(db.status)) && !scene.isFilling) framesLeft -= 1;
      if (isDrawn || framesLeft <= 0) takeLookAway();
      else requestAnimationFrame(look);
    };
    look();
    // Whoever begins to do something is not to do it to a picture.
    const listening = new AbortController();
    for (const type of ['pointerdown', 'wheel']) addEventListener(type, takeLookAway, { signal: listening.signal });
    void db.loaded.then(() => {
      isLoaded = true;
    });
    return () => {
      isWanted = false;
      listening.abort();
    };
  }, [db, main, scene]);
}

function pictureOf(main: HTMLElement, scene: Scene, center: Place): Picture | undefined {
  const [flow, viewport] = ['.react-flow', '.react-flow__viewport'].map((part) => main.querySelector(part));
  if (!flow || !viewport) return undefined;
  const { left, top, width, height } = flow.getBoundingClientRect();
  const near = nearest(scene, center);
  const copy = viewport.cloneNode() as Element;
  for (const part of viewport.children) {
    let connections = 0;
    const layer = part.cloneNode() as Element;
    for (const child of part.children) {
      const { id } = (child as HTMLElement).dataset;
      const isItem = child.matches('.react-flow__node');
      if (isItem ? !near.has(id ?? '') : connections >= MOST) continue;
      if (!isItem) connections += 1;
      layer.append(child.cloneNode(true));
    }
    copy.append(layer);
  }
  for (const one of copy.querySelectorAll(PASSING)) one.remove();
  for (const one of copy.querySelectorAll('.selected, .is-selected')) one.classList.remove('selected', 'is-selected');
  for (const one of [copy, ...copy.querySelectorAll('*')]) {
    for (const name of UNSEEN) one.removeAttribute(name);
    if (!one.matches('marker')) one.removeAttribute('id');
    // A policy may forbid styles that come with the elements; those that a script sets it lets through.
    const style = one.getAttribute('style');
    one.removeAttribute('style');
    if (style) one.setAttribute('data-style', style);
  }
  return { window: [innerWidth, innerHeight], frame: { left, top, width, height }, html: copy.outerHTML };
}

function nearest(scene: Scene, center: Place): ReadonlySet<string> {
  const ranked = scene.around.map((item) => [distance(centerOf(item), center), item.id] as const);
  ranked.sort(([a], [b]) => a - b);
  return new Set(ranked.slice(0, MOST).map(([, id]) => id));
}
