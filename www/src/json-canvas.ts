/**
 * JSON Canvas 1.0 (https://jsoncanvas.org/spec/1.0/) to rows and back.
 *
 * A file that is opened and saved says the same: ids stay in `source_id`, the order of nodes in `z`, and what the format
 * does not define, or has another type than it should, in `extra`. The type of a connection, which the format does not know,
 * is written beside the edge as `connectionType`.
 */

import { DriftlineError, type Json, type NewRow, newId } from 'driftline';
import type { Box, CanvasSchema, Card, Connection, ConnectionType, Item } from './schema.js';

export type JsonObject = { readonly [key: string]: Json };

export interface Imported {
  /** Types of the connections; one that the canvas has already, by name and colour, takes their place. */
  types: NewRow<CanvasSchema, 'connection_type'>[];
  cards: NewRow<CanvasSchema, 'card'>[];
  boxes: NewRow<CanvasSchema, 'box'>[];
  connections: NewRow<CanvasSchema, 'connection'>[];
  /** By the id of a card: a picture that the file itself holds, as a data URL. */
  pictures: Map<string, string>;
  /** What could not be taken, in sentences for the person who opened the file. */
  left_out: string[];
}

/** Column by key of the file. `string` or `number` is the type that the format asks for. */
const PLACE = {
  x: ['x', 'number'],
  y: ['y', 'number'],
  width: ['width', 'number'],
  height: ['height', 'number'],
} as const;
const CARD = {
  id: ['source_id', 'string'],
  type: ['kind', 'string'],
  text: ['text', 'string'],
  file: ['file', 'string'],
  subpath: ['subpath', 'string'],
  url: ['url', 'string'],
  ...PLACE,
  color: ['color', 'string'],
} as const;
const BOX = {
  id: ['source_id', 'string'],
  label: ['label', 'string'],
  background: ['background', 'string'],
  backgroundStyle: ['background_style', 'string'],
  ...PLACE,
  color: ['color', 'string'],
} as const;
const EDGE = {
  id: ['source_id', 'string'],
  fromSide: ['from_side', 'string'],
  toSide: ['to_side', 'string'],
  fromEnd: ['from_end', 'string'],
  toEnd: ['to_end', 'string'],
  color: ['color', 'string'],
  label: ['label', 'string'],
} as const;
type Columns = { readonly [key: string]: readonly [column: string, type: 'string' | 'number'] };

export function nothingImported(): Imported {
  return { types: [], cards: [], boxes: [], connections: [], pictures: new Map(), left_out: [] };
}

/** Reads a file. New rows lie above `topZ`. Throws a sentence for people if the text is not JSON Canvas at all. */
export function readCanvas(text: string, topZ = -1): Imported {
  const file = parse(text);
  const imported = nothingImported();
  const items = new Map<string, Item>();

  list(file, 'nodes').forEach((node, index) => {
    const id = newId();
    const isBox = node.type === 'group';
    const row = { id, z: topZ + 1 + index, ...toColumns(node, isBox ? BOX : CARD, isBox ? ['type'] : []) };
    if (isBox) imported.boxes.push(row);
    else imported.cards.push(row);
    // Of two nodes with one id the first is meant, as in a search from the front.
    if (!items.has(String(node.id))) items.set(String(node.id), isBox ? { box: id } : { card: id });
  });

  for (const edge of list(file, 'edges')) {
    const start_item = items.get(String(edge.fromNode));
    const end_item = items.get(String(edge.toNode));
    if (start_item && end_item) {
      const connection_type = typeOf(edge, imported.types);
      const known = ['fromNode', 'toNode', ...(connection_type ? ['connectionType'] : [])];
      const columns = toColumns(edge, EDGE, known);
      imported.connections.push({ id: newId(), start_item, end_item, connection_type, ...columns });
    } else {
      imported.left_out.push(`The connection ${edge.id} names a node that is not in the file.`);
    }
  }
  for (const key of Object.keys(file)) {
    if (key !== 'nodes' && key !== 'edges') imported.left_out.push(`“${key}” is no part of a JSON Canvas.`);
  }
  return imported;
}

function typeOf({ connectionType }: JsonObject, types: Imported['types']): string | null {
  if (connectionType === undefined || !isObject(connectionType)) return null;
  const { name, color = null } = connectionType;
  if (typeof name !== 'string' || (color !== null && typeof color !== 'string')) return null;
  const known = types.find((type) => type.name === name && type.color === color);
  if (known?.id) return known.id;
  const id = newId();
  types.push({ id, name, color });
  return id;
}

/** Writes a file, in Obsidian's way of a node a line. */
export function writeCanvas(
  cards: readonly Card[],
  boxes: readonly Box[],
  connections: readonly Connection[],
  types: readonly ConnectionType[] = [],
): string {
  const names = new Names();
  const order = (a: Card | Box, b: Card | Box) => a.z - b.z || (a.id < b.id ? -1 : 1);
  const kinds = new Map<string, 'card' | 'box'>([
    ...cards.map((card) => [card.id, 'card'] as const),
    ...boxes.map((box) => [box.id, 'box'] as const),
  ]);
  const nodes = [...cards, ...boxes].sort(order).map((row) => {
    const isBox = kinds.get(row.id) === 'box';
    const node = toFile(row, isBox ? BOX : CARD);
    if (isBox) node.type = 'group';
    // `text` is required of a text node, and means nothing on the others.
    if (!isBox && node.type !== 'text' && node.text === '') delete node.text;
    return { ...node, id: names.of(row) };
  });
  const edges = [...connections]
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .map((row) => ({
      ...toFile(row, EDGE),
      id: names.of(row),
      fromNode: names.at(Object.values(row.start_item)[0]),
      toNode: names.at(Object.values(row.end_item)[0]),
      ...typeInFile(types.find(({ id }) => id === row.connection_type)),
    }));
  const lines = (rows: object[]) => rows.map((row) => `\n\t\t${JSON.stringify(row)}`).join(',');
  return `{\n\t"nodes":[${lines(nodes)}\n\t],\n\t"edges":[${lines(edges)}\n\t]\n}\n`;
}

function typeInFile(type: ConnectionType | undefined): Record<string, Json> {
  if (!type) return {};
  return { connectionType: { name: type.name, ...(type.color !== null && { color: type.color }) } };
}

/** Ids in the file: those that the rows came with, as long as they are told apart. */
class Names {
  readonly #byRow = new Map<string, string>();
  readonly #used = new Set<string>();

  of(row: { readonly id: string; readonly source_id: string | null }): string {
    const name = row.source_id !== null && !this.#used.has(row.source_id) ? row.source_id : row.id;
    this.#used.add(name);
    this.#byRow.set(row.id, name);
    return name;
  }

  at(rowId: string | undefined): string {
    return this.#byRow.get(rowId ?? '') ?? '';
  }
}

function toColumns(object: JsonObject, columns: Columns, known: readonly string[]): Record<string, never> {
  const row: Record<string, Json> = {};
  const extra: Record<string, Json> = {};
  for (const [key, value] of Object.entries(object)) {
    const column = Object.hasOwn(columns, key) ? columns[key] : undefined;
    if (column && typeof value === column[1]) row[column[0]] = value;
    else if (!known.includes(key)) extra[key] = value;
  }
  if (Object.keys(extra).length > 0) row.extra = extra;
  return row as Record<string, never>;
}

function toFile(row: object, columns: Columns): Record<string, Json> {
  const values = row as Record<string, Json>;
  const extra = values.extra;
  const object: Record<string, Json> = extra !== undefined && isObject(extra) ? { ...extra } : {};
  for (const [key, [column]] of Object.entries(columns)) {
    const value = values[column];
    const isSaid = value !== null && value !== undefined;
    // An empty text says nothing, so it does not replace what the file had in its place.
    if (isSaid && !(value === '' && key in object)) object[key] = value;
  }
  return object;
}

const notACanvas = (what: string) =>
  new DriftlineError({ code: 'not_a_canvas', detail: `The file is not a JSON Canvas: ${what}.` });

/** The object that a file holds. Throws a sentence for people. */
export function parse(text: string): JsonObject {
  let file: Json;
  try {
    // Files from some editors begin with a byte order mark, and an empty file is an empty canvas.
    file = JSON.parse(text.replace(/^\uFEFF/, '').trim() || '{}');
  } catch {
    throw notACanvas('it is not JSON');
  }
  if (!isObject(file)) throw notACanvas('it has no nodes');
  return file;
}

function list(file: JsonObject, key: string): JsonObject[] {
  const items = file[key] ?? [];
  if (!Array.isArray(items)) throw notACanvas(`“${key}” is not a list`);
  return items.filter(isObject);
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
