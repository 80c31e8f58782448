import { open, type Status } from 'driftline';
import { schema } from './schema.js';
import { cardAt, describe, draw, type Point, type Selection } from './view.js';

const element = <E extends HTMLElement>(id: string) => document.getElementById(id) as E;
const canvas = element<HTMLCanvasElement>('canvas');
const text = element<HTMLInputElement>('text');
const remove = element<HTMLButtonElement>('delete');
const status = element('status');

// Not waited for: a page that the browser keeps no worker for works online.
navigator.serviceWorker?.register('./service-worker.js').catch(() => {});

const space = new URLSearchParams(location.search).get('space') ?? 'welcome';
const db = await open({ schema, space, url: '' });
const { card, line } = db.tables;

// ---- What is shown ----

let selection: Selection = { selected: undefined, pending: undefined };
let isDrawing = false;

function show(): void {
  if (isDrawing) return;
  isDrawing = true;
  requestAnimationFrame(() => {
    isDrawing = false;
    draw(canvas, db, selection);
    describe(element('cards'), db);
  });
}

function select(id: string | undefined): void {
  selection = { selected: id, pending: undefined };
  showSelected();
  show();
}

function showSelected(): void {
  const row = selection.selected && card.get(selection.selected);
  text.disabled = remove.disabled = !row;
  // What somebody else types arrives here, too, but not into what is being typed.
  if (document.activeElement !== text) text.value = row ? row.text : '';
}

function showStatus({ state, reason, queued, in_flight, parked, line }: Status): void {
  const waiting = queued + in_flight;
  const kept = waiting === 0 ? '' : `: ${waiting} ${waiting === 1 ? 'edit waits' : 'edits wait'} on this device`;
  const says = { saved: 'Saved', saving: 'Saving …', offline: `Offline${kept}`, not_saving: `Not saved: ${reason}` };
  status.textContent = parked === 0 ? says[state] : `${says[state]} (${parked} refused)`;
  status.dataset.state = state;
  status.title = line;
}

db.subscribe(() => {
  showSelected();
  show();
});
db.onStatus(showStatus);
db.onError((error) => {
  status.textContent = error.detail;
});
showStatus(db.status);
new ResizeObserver(show).observe(canvas);

// ---- What is done ----

const pointOf = (event: PointerEvent): Point => ({ x: event.offsetX, y: event.offsetY });

/** Drags a card; with Shift, draws a line from it to another. */
canvas.addEventListener('pointerdown', (event) => {
  const start = pointOf(event);
  const held = cardAt(db, start);
  select(held?.id);
  if (!held) return;
  canvas.setPointerCapture(event.pointerId);
  const isConnecting = event.shiftKey;
  let to = start;
  const move = (moved: PointerEvent) => {
    to = pointOf(moved);
    if (isConnecting) selection = { ...selection, pending: { from: held.id, to } };
    // One transaction for each movement: those that are not sent yet fold into one.
    else if (card.get(held.id)) card.update(held.id, { x: held.x + to.x - start.x, y: held.y + to.y - start.y });
    show();
  };
  const drop = () => {
    canvas.removeEventListener('pointermove', move);
    const target = isConnecting && cardAt(db, to);
    if (target && target.id !== held.id && card.get(held.id)) line.create({ from: held.id, to: target.id });
    select(held.id);
  };
  canvas.addEventListener('pointermove', move);
  canvas.addEventListener('lostpointercapture', drop, { once: true });
});

element('add').addEventListener('click', () => {
  const place = { x: 40 + (card.size % 4) * 200, y: 40 + Math.floor(card.size / 4) * 100 };
  select(card.create({ text: `Card ${card.size + 1}`, ...place }).id);
  text.focus();
  text.select();
});

text.addEventListener('input', () => {
  const id = selection.selected;
  if (id && card.get(id)) card.update(id, { text: text.value });
});

// Lines of the card go with it: the schema says so.
remove.addEventListener('click', () => {
  const id = selection.selected;
  if (id && card.get(id)) card.delete(id);
  select(undefined);
});

element('undo').addEventListener('click', () => void db.undo());

element<HTMLInputElement>('online').addEventListener('change', (event) => {
  db.setOnline((event.target as HTMLInputElement).checked);
});

await db.loaded;
show();
