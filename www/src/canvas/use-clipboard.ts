/** Copy, cut, paste and drop, as the browser tells of them. */

import { type RefObject, useEffect } from 'react';
import { itemsOf } from '../edits.js';
import { addPictures } from '../images/add.js';
import { isPicture } from '../images/reading.js';
import { openedWords, openFile, sayUnread } from '../transfer.js';
import { copied, pasteText, removeSelection } from './clipboard.js';
import type { Controls } from './controls.js';
import type { Place } from './geometry.js';
import { isTyping } from './use-keyboard.js';

const TEXT_FILE = /\.(md|txt)$/i;

export function useClipboard(controls: RefObject<Controls>, attempt: (edit: () => void) => void): void {
  useEffect(() => {
    // Words that are marked somewhere on the page are what is meant then.
    const isOthers = (event: ClipboardEvent) =>
      isTyping(event.target) || (event.type !== 'paste' && getSelection()?.isCollapsed === false);
    const copy = (event: ClipboardEvent) => {
      const text = isOthers(event) ? undefined : copied(controls.current);
      if (text === undefined) return;
      event.preventDefault();
      event.clipboardData?.setData('text/plain', text);
      if (event.type === 'cut') attempt(() => removeSelection(controls.current));
    };
    const paste = (event: ClipboardEvent) => {
      if (isOthers(event)) return;
      const place = controls.current.place();
      const files = [...(event.clipboardData?.files ?? [])];
      const text = event.clipboardData?.getData('text/plain') ?? '';
      if (files.length === 0 && !text) return;
      event.preventDefault();
      // Some systems hand over the name of a copied file as a text beside it.
      const isName = files.some(({ name }) => name === text.trim());
      if (text && !isName) pasteText(controls.current, text, place);
      else take(controls.current, files, place);
    };
    document.addEventListener('copy', copy);
    document.addEventListener('cut', copy);
    document.addEventListener('paste', paste);
    return () => {
      document.removeEventListener('copy', copy);
      document.removeEventListener('cut', copy);
      document.removeEventListener('paste', paste);
    };
  }, [controls, attempt]);
}

/** Pictures become cards; any other file is opened. */
function take(controls: Controls, files: readonly File[], place: Place): void {
  const pictures = files.filter(isPicture);
  if (pictures.length > 0) addPictures(controls, pictures, place);
  for (const file of files) if (!isPicture(file)) open(controls, file, place);
}

/** Opens a file as it says where things are, or around a place. A file of words becomes a card. */
export async function open(controls: Controls, file: File, place?: Place): Promise<void> {
  const { db, files, scene, camera, notify } = controls;
  try {
    const text = await file.text();
    if (TEXT_FILE.test(file.name)) return await pasteText(controls, text, place ?? camera.center());
    const opened = await openFile(db, files, text, place);
    scene.select([]);
    camera.fit(itemsOf(db, opened.ids));
    notify(openedWords(file.name, opened));
  } catch (error) {
    notify(sayUnread(file, error));
  }
}

export function drop(controls: Controls, event: React.DragEvent): void {
  const files = [...event.dataTransfer.files];
  const text = event.dataTransfer.getData('text/plain');
  if (files.length === 0 && !text) return;
  event.preventDefault();
  const place = controls.camera.at({ x: event.clientX, y: event.clientY });
  if (files.length === 0) pasteText(controls, text, place);
  else take(controls, files, place);
}
