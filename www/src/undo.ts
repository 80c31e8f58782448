/** Undo and redo: the buttons' and the keyboard's. */

import { isDialogOpen } from './canvas/keys.js';
import { sayError } from './panel/codes.js';
import type { Database } from './space.js';

export function takeBack(db: Database, redo: boolean, notify: (text: string) => void): void {
  try {
    if (redo) db.redo();
    else db.undo();
  } catch (error) {
    notify(sayError(error));
  }
}

/** Ctrl or Cmd with Z, and with Shift+Z or Y. A text that is being typed keeps the browser's own. */
export function listenForUndo(db: Database, notify: (text: string) => void): () => void {
  const listen = (event: KeyboardEvent) => {
    const key = event.key.toLowerCase();
    const typing = event.target instanceof HTMLElement && event.target.closest('input, textarea, [contenteditable]');
    if (typing || isDialogOpen() || !(event.ctrlKey || event.metaKey) || (key !== 'z' && key !== 'y')) return;
    event.preventDefault();
    takeBack(db, key === 'y' || event.shiftKey, notify);
  };
  addEventListener('keydown', listen);
  return () => removeEventListener('keydown', listen);
}
