/** What items and panels need of the canvas: which text is being edited, how to edit, and how to tell what went wrong. */

import { createContext, useContext, useSyncExternalStore } from 'react';
import type { Rect } from './geometry.js';
import type { Scene } from './scene.js';

export interface Editing {
  readonly id: string | null;
  readonly scene: Scene;
  readonly begin: (id: string) => void;
  /** With `isByKey` the item that was edited gets the focus back. */
  readonly end: (isByKey?: boolean) => void;
  /** Ends it where what is written in can be seen no more. */
  readonly leave: (id: string, hasFocus: boolean) => void;
  /** Runs an edit; a refusal is shown to the person and changes nothing. */
  readonly attempt: (edit: () => void) => void;
  /** Runs an edit; says why it was refused. */
  readonly tryTo: (edit: () => void) => string | undefined;
  readonly resizing: {
    readonly onResizeStart: (id: string) => void;
    readonly onResize: (id: string, rect: Rect) => void;
  };
}

const EditingContext = createContext<Editing | null>(null);
export const EditingProvider = EditingContext.Provider;

export function useEditing(): Editing {
  const editing = useContext(EditingContext);
  if (!editing) throw new Error('useEditing is used outside of EditingProvider');
  return editing;
}

export function useSelection(scene: Scene): ReadonlySet<string> {
  return useSyncExternalStore(scene.subscribe, () => scene.selection);
}
