/** What a command acts with: the rows, what is selected, what is in view, and what is shown beside the canvas. */

import type { Files } from '../images/files.js';
import type { Database } from '../space.js';
import type { Camera } from './camera.js';
import type { Place } from './geometry.js';
import type { Scene } from './scene.js';
import type { Snapping } from './snapping.js';

/** What a notice holds. */
const SENTENCES_MAX = 5;

export type Overlay = 'search' | 'legend' | 'help';

export interface Controls {
  readonly db: Database;
  readonly files: Files;
  readonly scene: Scene;
  readonly camera: Camera;
  readonly snapping: Snapping;
  readonly setSnapping: (change: Partial<Snapping>) => void;
  /** The type that new connections get. */
  readonly connectionType: string | null;
  /** Where new things go: under the pointer, or in the middle of what is in view. */
  readonly place: () => Place;
  /** Begins to write in an item, or on a connection. */
  readonly edit: (id: string) => void;
  /** Gives an item the focus, or the first thing in it that can be clicked. */
  readonly focus: (id: string, isInside?: boolean) => void;
  readonly toggle: (overlay: Overlay) => void;
  readonly toggleMap: () => void;
  /** Stops what is going on, such as a drag; true if there was something. */
  readonly cancel: () => boolean;
  readonly notify: (text: string) => void;
  /** For those who hear the page: what just happened. */
  readonly say: (text: string) => void;
}

export function selectedItems({ db, scene }: Controls): string[] {
  return [...scene.selection].filter((id) => db.tables.card.get(id) || db.tables.box.get(id));
}

export function selectedConnections({ db, scene }: Controls): string[] {
  return [...scene.selection].filter((id) => db.tables.connection.get(id));
}

export function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}

/** As many sentences as a notice holds; the others are counted. */
export function few(sentences: readonly string[]): string[] {
  const more = sentences.length - SENTENCES_MAX;
  return [...sentences.slice(0, SENTENCES_MAX), ...(more > 0 ? [`And ${more} more.`] : [])];
}
