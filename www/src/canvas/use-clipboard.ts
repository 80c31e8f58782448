/** Copy, cut, paste and drop, as the browser tells of them. */

import { type RefObject, useEffect } from 'react';
import { openFile } from '../transfer.js';
import { copied, pasteText, removeSelection } from './clipboard.js';
import type { Controls } from './controls.js';
import type { Place } from './geometry.js';
import { isTyping } from './use-keyboard.js';

const TEXT_FILE = /\.(md|txt)$/i;
const SENTENCES_MAX = 5;

export function useClipboard(controls: RefObject<Controls>, attempt: (edit: () => void) => void): void {
  useEffect(() => {
    // Words that are marked somewhere on the page are what is meant then.
    const isOthers = (event: ClipboardEvent) =>
      isTyping(event.target) || (event.type !== 'paste' && getSelection()?.isCollapsed === false);
    const take = (event: ClipboardEvent) => {
      const text = isOthers(event) ? undefined : copied(controls.current);
      if (text === undefined) return;
      event.preventDefault();
      event.clipboardData?.setData('text/plain', text);
      if (event.type === 'cut') attempt(() => removeSelection(controls.current));
    };
    const paste = (event: ClipboardEvent) => {
      if (isOthers(event)) return;
      const place = controls.current.place();
      const [file] = event.clipboardData?.files ?? [];
      const text = event.clipboardData?.getData('text/plain') ?? '';
      if (!file && !text) return;
      event.preventDefault();
      if (text) attempt(() => pasteText(controls.current, text, place));
      else if (file) open(controls.current, file, place);
    };
    document.addEventListener('copy', take);
    document.addEventListener('cut', take);
    document.addEventListener('paste', paste);
    return () => {
      document.removeEventListener('copy', take);
      document.removeEventListener('cut', take);
      document.removeEventListener('paste', paste);
    };
  }, [controls, attempt]);
}

/** Opens a file as it says where things are, or around a place. A file of words becomes a card. */
export async function open(controls: Controls, file: File, place?: Place): Promise<void> {
  const { db, scene, camera, notify } = controls;
  try {
    const text = await file.text();
    if (TEXT_FILE.test(file.name)) return pasteText(controls, text, place ?? camera.center());
    const { ids, left_out } = await openFile(db, text, place);
    scene.select([]);
    camera.fit([...ids].flatMap((id) => db.tables.card.get(id) ?? db.tables.box.get(id) ?? []));
    notify([`Opened ${file.name}: ${ids.length} items.`, ...few(left_out)].join(' '));
  } catch (error) {
    notify(error instanceof Error ? error.message : String(error));
  }
}

/** As many sentences as a notice holds; the others are counted. */
function few(sentences: readonly string[]): string[] {
  const more = sentences.length - SENTENCES_MAX;
  return [...sentences.slice(0, SENTENCES_MAX), ...(more > 0 ? [`And ${more} more.`] : [])];
}

export function drop(controls: Controls, event: React.DragEvent): void {
  const { files } = event.dataTransfer;
  const text = event.dataTransfer.getData('text/plain');
  if (files.length === 0 && !text) return;
  event.preventDefault();
  const place = controls.camera.at({ x: event.clientX, y: event.clientY });
  if (files.length === 0) pasteText(controls, text, place);
  for (const file of files) open(controls, file, place);
}
