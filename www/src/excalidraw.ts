/** Excalidraw's files and clipboard (https://docs.excalidraw.com/docs/codebase/json-schema), read into rows. */

import type { Json } from 'driftline';
import { asNumber, asText, Drawing, embedded, type Shape } from './drawing.js';
import { type Imported, isObject, type JsonObject } from './json-canvas.js';

const SHAPES = ['rectangle', 'ellipse', 'diamond'];
const FRAMES = ['frame', 'magicframe'];
const PAGES = ['embeddable', 'iframe'];
const LEFT_OUT: Record<string, string> = {
  freedraw: 'strokes of a pen',
  line: 'lines',
};
/** What is kept of a shape beyond its columns: how it looks there. */
const KEPT = [
  'type',
  'angle',
  'strokeColor',
  'backgroundColor',
  'fillStyle',
  'strokeStyle',
  'opacity',
  'link',
  'groupIds',
];
/** Ink on paper is no colour that somebody chose. */
const INK = ['#1e1e1e', '#000000', '#000', '#ffffff', '#fff', 'transparent'];

export function isExcalidraw(file: JsonObject): boolean {
  return (file.type === 'excalidraw' || file.type === 'excalidraw/clipboard') && Array.isArray(file.elements);
}

export function readExcalidraw(file: JsonObject, topZ: number): Imported {
  const elements = (Array.isArray(file.elements) ? file.elements : []).filter(isObject).filter((e) => !e.isDeleted);
  const words = new Map<string, string>();
  const ids = new Set(elements.map((element) => element.id));
  const isBound = (element: JsonObject) => element.type === 'text' && ids.has(element.containerId ?? null);
  for (const element of elements) if (isBound(element)) words.set(asText(element.containerId), wordsOf(element));

  const drawing = new Drawing();
  for (const element of elements) {
    const type = asText(element.type);
    if (type === 'arrow') drawing.arrows.push(arrowOf(element, words.get(asText(element.id))));
    else if (LEFT_OUT[type]) drawing.leaveOut(LEFT_OUT[type]);
    else if (!isBound(element)) {
      const shape = shapeOf(element, words.get(asText(element.id)), file);
      if (shape) drawing.shapes.push(shape);
      else drawing.leaveOut(type === 'image' ? 'images' : `elements of the kind “${type}”`);
    }
  }
  return drawing.rows(topZ);
}

function shapeOf(element: JsonObject, words: string | undefined, { files }: JsonObject): Shape | undefined {
  const type = asText(element.type);
  const shape = {
    id: asText(element.id),
    x: asNumber(element.x),
    y: asNumber(element.y),
    width: asNumber(element.width),
    height: asNumber(element.height),
    color: colorOf(element),
    extra: { excalidraw: keptOf(element) },
  };
  if (FRAMES.includes(type)) return { ...shape, kind: 'box', text: asText(element.name) || 'Frame' };
  if (PAGES.includes(type)) return { ...shape, kind: 'link', text: '', url: asText(element.link) };
  if (type === 'text') return { ...shape, kind: 'card', text: wordsOf(element) };
  if (type === 'image') {
    const held = isObject(files) ? files[asText(element.fileId)] : undefined;
    const picture = isObject(held) ? embedded(held.dataURL, undefined) : undefined;
    return picture && { ...shape, kind: 'picture', text: '', picture };
  }
  return SHAPES.includes(type) ? { ...shape, kind: 'card', text: words ?? '' } : undefined;
}

function arrowOf(element: JsonObject, words: string | undefined) {
  const boundTo = (binding: Json | undefined) => (isObject(binding) ? asText(binding.elementId) : undefined);
  return {
    id: asText(element.id),
    from: boundTo(element.startBinding),
    to: boundTo(element.endBinding),
    label: words || null,
    color: colorOf(element),
    hasStartHead: typeof element.startArrowhead === 'string',
    hasEndHead: typeof element.endArrowhead === 'string',
  };
}

/** `text` holds the line breaks that the shape's width made; `originalText` is what was written. */
function wordsOf(element: JsonObject): string {
  return asText(element.originalText) || asText(element.text);
}

function colorOf(element: JsonObject): string | null {
  const chosen = [element.backgroundColor, element.strokeColor].map(asText);
  return chosen.find((color) => /^#[0-9a-f]{3,8}$/i.test(color) && !INK.includes(color.toLowerCase())) ?? null;
}

function keptOf(element: JsonObject): JsonObject {
  return Object.fromEntries(KEPT.flatMap((key) => (element[key] === undefined ? [] : [[key, element[key]]])));
}
