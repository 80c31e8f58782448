/** What files and the clipboard bring in, as edits, and what goes out to them. */

import { DriftlineError } from 'driftline';
import { count, few } from './canvas/controls.js';
import { centerOf, type Place } from './canvas/geometry.js';
import { bottomZ, inSlices, newGesture, rowIdOf, type Transaction, topZ } from './edits.js';
import { boundsOfImported, readFile } from './formats.js';
import { bringPictures } from './images/bring.js';
import { knownPictures, withKnown } from './images/described.js';
import type { Files } from './images/files.js';
import { type Imported, writeCanvas } from './json-canvas.js';
import { sayError, sayRefusal } from './panel/codes.js';
import { saveFile } from './panel/save-file.js';
import type { Database } from './space.js';

/** How many rows of a file are taken before the page may paint again. */
const IMPORT_SLICE = 500;
const DUPLICATE_STEP = 24;

export interface Opened {
  readonly ids: string[];
  readonly left_out: string[];
}

/**
 * As it says where things are, or around a place. One transaction a row, so that a row which is refused takes along only what refers to
 * it; all of them are undone together.
 */
export async function openFile(db: Database, files: Files, text: string, center?: Place): Promise<Opened> {
  const read = await bringPictures(db, files, readFile(text, topZ(db)));
  const { types, cards, boxes, connections, left_out } = settle(db, center ? centered(read, center) : read);
  const ids: string[] = [];
  const steps: Step[] = [
    ...boxes.map(
      (row): Step =>
        (tx) =>
          ids.push(tx.box.create(row)),
    ),
    ...cards.map(
      (row): Step =>
        (tx) =>
          ids.push(tx.card.create(row)),
    ),
    ...types.map(
      (row): Step =>
        (tx) =>
          tx.connection_type.create(row),
    ),
    ...connections.map(
      (row): Step =>
        (tx) =>
          tx.connection.create(row),
    ),
  ];
  const gesture = newGesture();
  for (const [index, step] of steps.entries()) {
    if (index % IMPORT_SLICE === IMPORT_SLICE - 1) await new Promise((resolve) => setTimeout(resolve));
    const before = ids.length;
    try {
      db.transaction(step, { gesture });
    } catch (error) {
      if (!(error instanceof DriftlineError)) throw error;
      ids.length = before;
      left_out.push(sayRefusal(error));
    }
  }
  return { ids, left_out };
}

type Step = (tx: Transaction) => void;

/** What was opened, for the person. */
export function openedWords(name: string, { ids, left_out }: Opened): string {
  return [`Opened ${name}: ${count(ids.length, 'item')}.`, ...few(left_out)].join(' ');
}

/** Why a file was not opened. One that has gone, or may not be read, fails with an error of the browser. */
export function sayUnread({ name }: File, error: unknown): string {
  const why = error instanceof DOMException ? 'The browser cannot read it any more. Choose it again.' : sayError(error);
  return `“${name}” was not opened. ${why}`;
}

/** Makes the rows of a clipboard around a place, in one transaction as far as the limit allows. Returns the ids of the items. */
export function paste(db: Database, imported: Imported, center: Place): string[] {
  const { types, cards, boxes, connections } = settle(db, centered(imported, center));
  const top = topZ(db) + 1;
  const bottom = bottomZ(db) - boxes.length;
  const makes: [table: 'box' | 'card' | 'connection_type' | 'connection', row: object][] = [
    ...boxes.map((row, i) => ['box', { ...row, source_id: null, z: bottom + i }] as never),
    ...cards.map((row, i) => ['card', { ...row, source_id: null, z: top + i }] as never),
    ...types.map((row) => ['connection_type', row] as never),
    ...connections.map((row) => ['connection', { ...row, source_id: null }] as never),
  ];
  inSlices(db, makes, (tx, [table, row]) => tx[table].create(row as never));
  return [...boxes, ...cards].map((row) => row.id ?? '');
}

function centered(imported: Imported, center: Place): Imported {
  const bounds = boundsOfImported(imported);
  const middle = bounds ? centerOf(bounds) : center;
  const shift = <T extends { x?: number; y?: number }>(row: T) => ({
    ...row,
    x: Math.round((row.x ?? 0) + center.x - middle.x),
    y: Math.round((row.y ?? 0) + center.y - middle.y),
  });
  return { ...imported, cards: imported.cards.map(shift), boxes: imported.boxes.map(shift) };
}

/** Types that the canvas has already are taken for those of the same name and colour. */
function settle(db: Database, imported: Imported): Imported {
  const known = new Map(db.tables.connection_type.query().map((type) => [`${type.color} ${type.name}`, type.id]));
  const instead = new Map<string, string>();
  for (const { id = '', name, color = null } of imported.types) {
    const existing = known.get(`${color} ${name}`);
    if (existing) instead.set(id, existing);
  }
  return {
    ...imported,
    types: imported.types.filter(({ id = '' }) => !instead.has(id)),
    connections: imported.connections.map((row) => ({
      ...row,
      connection_type: instead.get(row.connection_type ?? '') ?? row.connection_type ?? null,
    })),
  };
}

/** The items as JSON Canvas, with the connections that lie between them. */
export function copyText(db: Database, ids: ReadonlySet<string>): string {
  const { card, box, connection, connection_type } = db.tables;
  const isBetween = (id: string) => {
    const row = connection.get(id);
    return row !== undefined && ids.has(rowIdOf(row.start_item)) && ids.has(rowIdOf(row.end_item));
  };
  return writeCanvas(
    card.query((row) => ids.has(row.id)),
    box.query((row) => ids.has(row.id)),
    connection.query((row) => isBetween(row.id)),
    connection_type.query(),
  );
}

/** Copies of items, a step beside them. */
export function duplicate(db: Database, ids: ReadonlySet<string>): string[] {
  const read = readFile(copyText(db, ids));
  const known = knownPictures(db);
  const imported = { ...read, cards: read.cards.map((card) => withKnown(card, known)) };
  const bounds = boundsOfImported(imported);
  if (!bounds) return [];
  const { x, y } = centerOf(bounds);
  return paste(db, imported, { x: x + DUPLICATE_STEP, y: y + DUPLICATE_STEP });
}

/** Returns how many pictures the file only names: JSON Canvas has no place for their bytes. */
export function saveCanvas(db: Database, name: string): number {
  const { card, box, connection, connection_type } = db.tables;
  saveFile(`${name}.canvas`, writeCanvas(card.query(), box.query(), connection.query(), connection_type.query()));
  return card.query(({ image }) => image !== null).length;
}
