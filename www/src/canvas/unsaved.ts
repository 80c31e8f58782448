/** What was typed and refused. It waits for whoever typed it, for as long as the page is open. */

import { useSyncExternalStore } from 'react';

export interface Unsaved {
  readonly text: string;
  /** What it was typed into. */
  readonly base: string;
  readonly why: string;
}

/** By the item's id. It tells when a text comes or goes, and of none that changes: those come with every key. */
class UnsavedTexts extends Map<string, Unsaved> {
  readonly #listeners = new Set<() => void>();

  override set(id: string, text: Unsaved): this {
    const isNew = !this.has(id);
    super.set(id, text);
    if (isNew) this.#tell();
    return this;
  }

  override delete(id: string): boolean {
    const isGone = super.delete(id);
    if (isGone) this.#tell();
    return isGone;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}

export const unsaved = new UnsavedTexts();

export function useIsUnsaved(id: string): boolean {
  return useSyncExternalStore(unsaved.subscribe, () => unsaved.has(id));
}
