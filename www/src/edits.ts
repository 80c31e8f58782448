/** What people do to a canvas, as edits. Each function is one transaction, unless its comment says otherwise. */

import { DriftlineError } from 'driftline';
import { readCanvas, writeCanvas } from './json-canvas.js';
import type { Card, Item } from './schema.js';
import type { Database } from './space.js';

export interface Place {
  readonly x: number;
  readonly y: number;
}

export interface Moved extends Place {
  readonly id: string;
  readonly width?: number;
  readonly height?: number;
}

/** A transaction takes at most 1,000 edits. */
const EDITS_MAX = 500;
/** How many rows of a file are taken before the page may paint again. */
const IMPORT_SLICE = 500;

export const CARD_SIZE = { width: 260, height: 140 };
export const BOX_SIZE = { width: 520, height: 360 };

export function createCard(db: Database, kind: 'text' | 'link' | 'file', center: Place): string {
  const place = { x: Math.round(center.x - CARD_SIZE.width / 2), y: Math.round(center.y - CARD_SIZE.height / 2) };
  const content = kind === 'link' ? { url: '' } : kind === 'file' ? { file: '' } : {};
  return db.tables.card.create({ kind, ...content, ...place, ...CARD_SIZE, z: topZ(db) + 1 }).id;
}

/** A new box goes behind everything, so that it holds what it is drawn around. */
export function createBox(db: Database, center: Place): string {
  const place = { x: Math.round(center.x - BOX_SIZE.width / 2), y: Math.round(center.y - BOX_SIZE.height / 2) };
  return db.tables.box.create({ label: 'New box', ...place, ...BOX_SIZE, z: bottomZ(db) - 1 }).id;
}

export function connect(
  db: Database,
  start: string,
  end: string,
  sides: { from: string | null; to: string | null },
  connectionType: string | null,
): string | undefined {
  const start_item = itemOf(db, start);
  const end_item = itemOf(db, end);
  if (!start_item || !end_item) return undefined;
  const row = { start_item, end_item, from_side: sides.from, to_side: sides.to, connection_type: connectionType };
  return db.tables.connection.create(row).id;
}

/** Moves or resizes, in as many transactions as the limit asks for. Whole pixels, because the file format wants them. */
export function move(db: Database, moved: readonly Moved[]): void {
  for (let from = 0; from < moved.length; from += EDITS_MAX) {
    db.transaction((tx) => {
      for (const { id, ...place } of moved.slice(from, from + EDITS_MAX)) {
        const patch = Object.fromEntries(Object.entries(place).map(([key, value]) => [key, Math.round(value)]));
        if (db.tables.card.get(id)) tx.card.update(id, patch);
        else if (db.tables.box.get(id)) tx.box.update(id, patch);
      }
    });
  }
}

/** Deletes items and connections. Connections of a deleted item go with it: the schema says so. */
export function remove(db: Database, items: readonly string[], connections: readonly string[]): void {
  const gone = new Set(items);
  const stays = (item: Item) => !gone.has(rowIdOf(item));
  const edits: [table: 'card' | 'box' | 'connection', id: string][] = [];
  for (const id of connections) {
    const row = db.tables.connection.get(id);
    if (row && stays(row.start_item) && stays(row.end_item)) edits.push(['connection', id]);
  }
  for (const id of items) {
    if (db.tables.card.get(id)) edits.push(['card', id]);
    else if (db.tables.box.get(id)) edits.push(['box', id]);
  }
  for (let from = 0; from < edits.length; from += EDITS_MAX) {
    db.transaction((tx) => {
      for (const [table, id] of edits.slice(from, from + EDITS_MAX)) tx[table].delete(id);
    });
  }
}

export interface Opened {
  readonly ids: string[];
  readonly left_out: string[];
}

/** One transaction a row, so that a row which is refused takes along only what refers to it. */
export async function openFile(db: Database, text: string): Promise<Opened> {
  const { cards, boxes, connections, left_out } = readCanvas(text, topZ(db));
  const ids: string[] = [];
  const steps = [
    ...boxes.map((row) => () => ids.push(db.tables.box.create(row).id)),
    ...cards.map((row) => () => ids.push(db.tables.card.create(row).id)),
    ...connections.map((row) => () => db.tables.connection.create(row)),
  ];
  for (const [index, step] of steps.entries()) {
    if (index % IMPORT_SLICE === IMPORT_SLICE - 1) await new Promise((resolve) => setTimeout(resolve));
    try {
      step();
    } catch (error) {
      if (!(error instanceof DriftlineError)) throw error;
      left_out.push(error.detail);
    }
  }
  return { ids, left_out };
}

export function saveFile(db: Database, name: string): void {
  const text = writeCanvas(db.tables.card.query(), db.tables.box.query(), db.tables.connection.query());
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
  link.download = `${name}.canvas`;
  link.click();
  // The download has its own hold on the bytes by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export function rowIdOf(item: Item): string {
  return 'card' in item ? item.card : item.box;
}

export function titleOf(card: Card): string {
  const text = card.kind === 'file' ? card.file : card.kind === 'link' ? card.url : card.text;
  return (
    (text ?? '')
      .replace(/^[#>\s-]+/, '')
      .split('\n')[0]
      ?.slice(0, 80) || 'Empty card'
  );
}

function itemOf(db: Database, id: string): Item | undefined {
  if (db.tables.card.get(id)) return { card: id };
  return db.tables.box.get(id) ? { box: id } : undefined;
}

function topZ(db: Database): number {
  return [...db.tables.card.query(), ...db.tables.box.query()].reduce((top, row) => Math.max(top, row.z), -1);
}

function bottomZ(db: Database): number {
  return [...db.tables.card.query(), ...db.tables.box.query()].reduce((bottom, row) => Math.min(bottom, row.z), 0);
}
