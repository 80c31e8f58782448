/** Draws the rows, and tells which card lies at a point. It knows nothing of pointers, and changes no row. */

import type { Db, Row } from 'driftline';
import type { schema } from './schema.js';

export type Space = Db<typeof schema>;
export type Card = Row<typeof schema, 'card'>;
export type Point = { readonly x: number; readonly y: number };

const WIDTH = 160;
const HEIGHT = 60;

export function cardAt(db: Space, { x, y }: Point): Card | undefined {
  return db.tables.card.query((card) => x >= card.x && x < card.x + WIDTH && y >= card.y && y < card.y + HEIGHT).at(-1);
}

/** What only this screen knows. */
export interface Selection {
  readonly selected: string | undefined;
  /** A line that is being drawn. */
  readonly pending: { readonly from: string; readonly to: Point } | undefined;
}

export function draw(canvas: HTMLCanvasElement, db: Space, { selected, pending }: Selection): void {
  const context = canvas.getContext('2d');
  if (!context) return;
  const { clientWidth, clientHeight } = canvas;
  const scale = devicePixelRatio;
  canvas.width = clientWidth * scale;
  canvas.height = clientHeight * scale;
  context.scale(scale, scale);
  context.strokeStyle = '#667085';
  for (const { from, to } of db.tables.line.query()) {
    const [start, end] = [db.tables.card.get(from), db.tables.card.get(to)];
    if (start && end) drawLine(context, middle(start), middle(end));
  }
  const start = pending && db.tables.card.get(pending.from);
  if (start) drawLine(context, middle(start), pending.to);
  for (const card of db.tables.card.query()) drawCard(context, card, card.id === selected);
}

const middle = ({ x, y }: Card): Point => ({ x: x + WIDTH / 2, y: y + HEIGHT / 2 });

function drawLine(context: CanvasRenderingContext2D, from: Point, to: Point): void {
  context.beginPath();
  context.moveTo(from.x, from.y);
  context.lineTo(to.x, to.y);
  context.stroke();
}

function drawCard(context: CanvasRenderingContext2D, { text, x, y }: Card, isSelected: boolean): void {
  context.beginPath();
  context.roundRect(x, y, WIDTH, HEIGHT, 8);
  context.fillStyle = '#ffffff';
  context.fill();
  context.lineWidth = isSelected ? 3 : 1;
  context.stroke();
  context.lineWidth = 1;
  context.fillStyle = '#101828';
  context.font = '15px system-ui, sans-serif';
  context.textBaseline = 'middle';
  context.fillText(text, x + 12, y + HEIGHT / 2, WIDTH - 24);
}

/** The canvas in words. */
export function describe(list: HTMLElement, db: Space): void {
  const cards = db.tables.card.query().map(({ text, x, y }) => `${text} at ${Math.round(x)}, ${Math.round(y)}`);
  const name = (id: string) => db.tables.card.get(id)?.text ?? '';
  const lines = db.tables.line.query().map(({ from, to }) => `${name(from)} → ${name(to)}`);
  list.replaceChildren(
    ...[...cards, ...lines].map((text) => Object.assign(document.createElement('li'), { textContent: text })),
  );
}
