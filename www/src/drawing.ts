/** What the readers of drawings share: shapes become cards and boxes, arrows become connections, and the rest is counted. */

import { type Json, newId } from 'driftline';
import { contains, type Rect } from './canvas/geometry.js';
import { type Imported, type JsonObject, nothingImported } from './json-canvas.js';
import type { Item } from './schema.js';

/** A picture that the file holds itself. */
export interface Embedded {
  readonly name: string;
  readonly dataUrl: string;
}

export interface Shape extends Rect {
  readonly id: string;
  readonly kind: 'card' | 'box' | 'link' | 'picture';
  readonly text: string;
  readonly url?: string;
  readonly picture?: Embedded;
  readonly color: string | null;
  /** What our rows have no column for. */
  readonly extra: JsonObject | null;
}

export interface Arrow {
  readonly id: string;
  readonly from: string | undefined;
  readonly to: string | undefined;
  readonly label: string | null;
  readonly color: string | null;
  readonly hasStartHead: boolean;
  readonly hasEndHead: boolean;
}

const SIZE_MIN = { width: 80, height: 48 };

export class Drawing {
  readonly shapes: Shape[] = [];
  readonly arrows: Arrow[] = [];
  readonly #leftOut = new Map<string, number>();

  /** `what` in the plural, since most are many. */
  leaveOut(what: string): void {
    this.#leftOut.set(what, (this.#leftOut.get(what) ?? 0) + 1);
  }

  rows(topZ: number): Imported {
    const imported = nothingImported();
    const items = new Map<string, Item>();
    this.shapes.forEach((shape, index) => {
      const id = newId();
      const place = placeOf(shape);
      const row = { id, source_id: shape.id, ...place, z: topZ + 1 + index, color: shape.color, extra: shape.extra };
      if (this.#isBox(shape)) imported.boxes.push({ ...row, label: shape.text || null });
      else if (shape.picture) {
        imported.cards.push({ ...row, kind: 'file', text: shape.text, file: shape.picture.name });
        imported.pictures.set(id, shape.picture.dataUrl);
      } else if (shape.kind === 'link') imported.cards.push({ ...row, kind: 'link', url: shape.url ?? '' });
      else imported.cards.push({ ...row, kind: 'text', text: shape.text });
      items.set(shape.id, this.#isBox(shape) ? { box: id } : { card: id });
    });
    for (const arrow of this.arrows) {
      const start_item = items.get(arrow.from ?? '');
      const end_item = items.get(arrow.to ?? '');
      if (!start_item || !end_item) this.leaveOut('arrows that are not tied to something at both ends');
      else
        imported.connections.push({
          id: newId(),
          source_id: arrow.id,
          start_item,
          end_item,
          label: arrow.label,
          color: arrow.color,
          from_end: arrow.hasStartHead ? 'arrow' : null,
          to_end: arrow.hasEndHead ? null : 'none',
        });
    }
    for (const [what, count] of this.#leftOut) imported.left_out.push(`Left out: ${count} ${what}.`);
    return imported;
  }

  /** A shape without words that is drawn around others is meant as a box. */
  #isBox(shape: Shape): boolean {
    if (shape.kind !== 'card' || shape.text !== '') return shape.kind === 'box';
    return this.shapes.some((other) => other !== shape && contains(shape, other));
  }
}

function placeOf({ x, y, width, height }: Rect): Rect {
  return {
    x: Math.round(x),
    y: Math.round(y),
    width: Math.max(SIZE_MIN.width, Math.round(width)),
    height: Math.max(SIZE_MIN.height, Math.round(height)),
  };
}

/** What is at an address, if that is a picture and the file holds it. */
export function embedded(address: Json | undefined, name: Json | undefined): Embedded | undefined {
  const dataUrl = asText(address);
  const [, kind] = /^data:image\/([a-z0-9]+)/i.exec(dataUrl) ?? [];
  return kind ? { name: asText(name) || `picture.${kind}`, dataUrl } : undefined;
}

/** A size for words whose drawing does not tell theirs. */
export function sizeOf(text: string): { width: number; height: number } {
  const lines = text.split('\n');
  const longest = Math.max(...lines.map((line) => line.length));
  return { width: Math.min(480, 40 + longest * 9), height: 28 + lines.length * 24 };
}

export const asText = (value: Json | undefined): string => (typeof value === 'string' ? value : '');
export const asNumber = (value: Json | undefined): number =>
  typeof value === 'number' && Number.isFinite(value) ? value : 0;
