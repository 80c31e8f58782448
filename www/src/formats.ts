/** What can be opened and pasted: JSON Canvas, Excalidraw and tldraw, told apart by what they say. */

import { boundsOf, type Rect } from './canvas/geometry.js';
import { isExcalidraw, readExcalidraw } from './excalidraw.js';
import { type Imported, parse, readCanvas } from './json-canvas.js';
import { isTldraw, readTldraw } from './tldraw.js';

export const FILE_TYPES = '.canvas,.excalidraw,.tldr,.json';

/** Reads a file of any of the formats. New rows lie above `topZ`. Throws a sentence for people. */
export function readFile(text: string, topZ = -1): Imported {
  const file = parse(text);
  if (isExcalidraw(file)) return readExcalidraw(file, topZ);
  if (isTldraw(file)) return readTldraw(file, topZ);
  return readCanvas(text, topZ);
}

/** What a clipboard's text holds, or `undefined` where it is only text. */
export function readClipboard(text: string): Imported | undefined {
  if (!text.trimStart().startsWith('{')) return undefined;
  try {
    const file = parse(text);
    const isCanvas = Array.isArray(file.nodes) || isExcalidraw(file) || isTldraw(file);
    if (!isCanvas) return undefined;
    const imported = readFile(text);
    return imported.cards.length + imported.boxes.length > 0 ? imported : undefined;
  } catch {
    return undefined;
  }
}

export function boundsOfImported({ cards, boxes }: Imported): Rect | undefined {
  const rects = [...cards, ...boxes].map(({ x = 0, y = 0, width = 0, height = 0 }) => ({ x, y, width, height }));
  return boundsOf(rects);
}
