/** tldraw's files, read into rows: those of its first version, a document of pages, and those since, a list of records. */

import type { Json } from 'driftline';
import { boundsOf } from './canvas/geometry.js';
import { type Arrow, asNumber, asText, Drawing, embedded, type Shape, sizeOf } from './drawing.js';
import { type Imported, isObject, type JsonObject } from './json-canvas.js';

const PAGE_GAP = 200;
const LEFT_OUT: Record<string, string> = {
  draw: 'strokes of a pen',
  highlight: 'strokes of a pen',
  line: 'lines',
  video: 'videos',
};
/** tldraw's colours by name, as the presets of JSON Canvas; black, grey and white are no colour. */
const PRESETS: Record<string, string> = {
  red: '1',
  'light-red': '1',
  orange: '2',
  yellow: '3',
  green: '4',
  'light-green': '4',
  cyan: '5',
  blue: '5',
  'light-blue': '5',
  indigo: '6',
  violet: '6',
  'light-violet': '6',
};

export function isTldraw(file: JsonObject): boolean {
  return Array.isArray(file.records) || pagesOf(file) !== undefined;
}

export function readTldraw(file: JsonObject, topZ: number): Imported {
  const drawing = new Drawing();
  let right: number | undefined;
  for (const page of pagesOf(file) ?? recordPages(file)) {
    const shapes = page.shapes.flatMap((shape) => page.read(shape, drawing) ?? []);
    const bounds = boundsOf(shapes);
    if (!bounds) continue;
    // One page stays where it is; the others stand beside it.
    const dx = right === undefined ? 0 : right + PAGE_GAP - bounds.x;
    drawing.shapes.push(...shapes.map((shape) => ({ ...shape, x: shape.x + dx })));
    right = bounds.x + bounds.width + dx;
  }
  return drawing.rows(topZ);
}

interface Page {
  readonly shapes: JsonObject[];
  /** The shape; an arrow, or what is left out, goes to the drawing at once. */
  readonly read: (shape: JsonObject, drawing: Drawing) => Shape | undefined;
}

const values = (object: Json | undefined) => (isObject(object) ? Object.values(object).filter(isObject) : []);
const point = (at: Json | undefined) => {
  const [x, y] = Array.isArray(at) ? at : [];
  return { x: asNumber(x), y: asNumber(y) };
};
const object = (value: Json | undefined): JsonObject => (isObject(value) ? value : {});
const colorOf = (name: Json | undefined) => PRESETS[asText(name)] ?? null;

// ---- The first version ----

function pagesOf(file: JsonObject): Page[] | undefined {
  const document = isObject(file.document) ? file.document : file;
  if (!isObject(document.pages)) return undefined;
  return values(document.pages).map((page) => {
    const bindings = object(page.bindings);
    const shapes = values(page.shapes).sort((a, b) => asNumber(a.childIndex) - asNumber(b.childIndex));
    return { shapes, read: (shape, drawing) => readOld(shape, drawing, bindings, object(document.assets)) };
  });
}

function readOld(shape: JsonObject, drawing: Drawing, bindings: JsonObject, assets: JsonObject): Shape | undefined {
  const { id, type } = { id: asText(shape.id), type: asText(shape.type) };
  const style = object(shape.style);
  const words = asText(shape.label) || asText(shape.text);
  if (type === 'arrow') {
    const heads = object(shape.decorations);
    const [from, to] = ['start', 'end'].map((end) => {
      // Either side may be the one that tells, the arrow or the binding.
      const { bindingId } = object(object(shape.handles)[end]);
      const isOfEnd = (one: JsonObject) => one.fromId === id && (one.handleId ?? object(one.meta).handleId) === end;
      const binding = bindings[asText(bindingId)] ?? values(bindings).find(isOfEnd);
      return asText(object(binding).toId);
    });
    const [hasStartHead, hasEndHead] = [Boolean(heads.start), Boolean(heads.end)];
    drawing.arrows.push({ id, from, to, label: words || null, color: colorOf(style.color), hasStartHead, hasEndHead });
    return undefined;
  }
  // A group is nothing to see: its members are shapes of their own, which say where they are on the page.
  if (type === 'group') return undefined;
  const size = oldSize(shape, words);
  if (LEFT_OUT[type] || !size) {
    drawing.leaveOut(LEFT_OUT[type] ?? `shapes of the kind “${type}”`);
    return undefined;
  }
  const extra = { tldraw: { type, rotation: asNumber(shape.rotation), style } };
  if (type === 'image') {
    const { src, fileName } = object(assets[asText(shape.assetId)]);
    return pictureOr(drawing, { id, text: '', ...point(shape.point), ...size, color: null, extra }, src, fileName);
  }
  return { id, kind: 'card', text: plain(words), ...point(shape.point), ...size, color: colorOf(style.color), extra };
}

/** The shape as a picture, if the file holds it: nothing is fetched from elsewhere. */
function pictureOr(
  drawing: Drawing,
  shape: Omit<Shape, 'kind'>,
  src: Json | undefined,
  name: Json | undefined,
): Shape | undefined {
  const picture = embedded(src, name);
  if (!picture) drawing.leaveOut('images');
  return picture && { ...shape, kind: 'picture', picture };
}

function oldSize(shape: JsonObject, words: string) {
  if (shape.type === 'ellipse') {
    const radius = point(shape.radius);
    return { width: radius.x * 2, height: radius.y * 2 };
  }
  if (Array.isArray(shape.size)) {
    const size = point(shape.size);
    return { width: size.x, height: size.y };
  }
  return shape.type === 'text' ? sizeOf(words) : undefined;
}

// ---- Since the second ----

function recordPages(file: JsonObject): Page[] {
  const records = (Array.isArray(file.records) ? file.records : []).filter(isObject);
  const shapes = records.filter((record) => record.typeName === 'shape');
  const byId = new Map(shapes.map((shape) => [asText(shape.id), shape]));
  const ends = new Map<string, string>();
  for (const { typeName, fromId, toId, props } of records)
    if (typeName === 'binding') ends.set(`${fromId} ${object(props).terminal}`, asText(toId));
  const pageOf = (shape: JsonObject) => asText((lineageOf(shape, byId).at(-1) ?? shape).parentId);
  const order = (a: JsonObject, b: JsonObject) => (asText(a.index) < asText(b.index) ? -1 : 1);
  const assets = new Map(records.filter((one) => one.typeName === 'asset').map((one) => [asText(one.id), one]));
  return [...new Set(shapes.map(pageOf))].map((page) => ({
    shapes: shapes.filter((shape) => pageOf(shape) === page).sort(order),
    read: (shape, drawing) => readRecord(shape, drawing, byId, ends, assets),
  }));
}

function readRecord(
  shape: JsonObject,
  drawing: Drawing,
  byId: ReadonlyMap<string, JsonObject>,
  ends: ReadonlyMap<string, string>,
  assets: ReadonlyMap<string, JsonObject>,
): Shape | undefined {
  const { id, type } = { id: asText(shape.id), type: asText(shape.type) };
  const props = object(shape.props);
  const words = plain(isObject(props.richText) ? richWords(props.richText).trim() : asText(props.text));
  const color = colorOf(props.color);
  if (type === 'arrow') drawing.arrows.push(arrowOf(id, props, words, ends));
  if (type === 'arrow' || type === 'group') return undefined;
  if (LEFT_OUT[type]) {
    drawing.leaveOut(LEFT_OUT[type]);
    return undefined;
  }
  const size =
    typeof props.w === 'number' && props.h !== undefined ? { width: props.w, height: asNumber(props.h) } : null;
  const extra = {
    tldraw: { type, rotation: asNumber(shape.rotation), ...(props.geo !== undefined && { geo: props.geo }) },
  };
  const made = { id, ...placeOf(shape, byId), color, extra };
  switch (type) {
    case 'frame':
      return { ...made, ...(size ?? sizeOf(words)), kind: 'box', text: asText(props.name) || 'Frame' };
    case 'bookmark':
    case 'embed':
      return { ...made, ...(size ?? { width: 300, height: 120 }), kind: 'link', text: '', url: asText(props.url) };
    case 'image': {
      const { src, name } = object(assets.get(asText(props.assetId))?.props);
      const text = asText(props.altText);
      return pictureOr(drawing, { ...made, ...(size ?? sizeOf('')), text }, src, name);
    }
    case 'note':
      return { ...made, width: 200, height: 200 + asNumber(props.growY), kind: 'card', text: words };
    case 'text':
    case 'geo':
      return { ...made, ...(size ?? sizeOf(words)), kind: 'card', text: words };
    default:
      drawing.leaveOut(`shapes of the kind “${type}”`);
      return undefined;
  }
}

function arrowOf(id: string, props: JsonObject, words: string, ends: ReadonlyMap<string, string>): Arrow {
  // Bindings were once told by the arrow itself.
  const bound = (end: 'start' | 'end') =>
    ends.get(`${id} ${end}`) ?? (asText(object(props[end]).boundShapeId) || undefined);
  return {
    id,
    from: bound('start'),
    to: bound('end'),
    label: words || null,
    color: colorOf(props.color),
    hasStartHead: ![undefined, 'none'].includes(props.arrowheadStart as string | undefined),
    hasEndHead: props.arrowheadEnd !== 'none',
  };
}

/** The shape, and the frames and groups around it, from the inside. A file in which they lie in each other ends somewhere, too. */
function lineageOf(shape: JsonObject, byId: ReadonlyMap<string, JsonObject>): JsonObject[] {
  const lineage: JsonObject[] = [];
  let next: JsonObject | undefined = shape;
  while (next && !lineage.includes(next)) {
    lineage.push(next);
    next = byId.get(asText(next.parentId));
  }
  return lineage;
}

/** Shapes in a frame or a group say where they are in it. */
function placeOf(shape: JsonObject, byId: ReadonlyMap<string, JsonObject>): { x: number; y: number } {
  const lineage = lineageOf(shape, byId);
  const sum = (key: 'x' | 'y') => lineage.reduce((sum, one) => sum + asNumber(one[key]), 0);
  return { x: sum('x'), y: sum('y') };
}

/** Rich text is a tree of paragraphs and lists. */
function richWords(node: JsonObject): string {
  const inside = (Array.isArray(node.content) ? node.content : []).filter(isObject);
  const texts = inside.map(richWords);
  switch (node.type) {
    case 'text':
      return asText(node.text);
    case 'hardBreak':
      return '\n';
    case 'bulletList':
      return `${texts.map((text) => `- ${text.trim()}`).join('\n')}\n`;
    case 'orderedList':
      return `${texts.map((text, index) => `${index + 1}. ${text.trim()}`).join('\n')}\n`;
    case 'paragraph':
    case 'heading':
      return `${texts.join('')}\n`;
    default:
      return texts.join('');
  }
}

const plain = (words: string) => words.replaceAll('\u00a0', ' ');
