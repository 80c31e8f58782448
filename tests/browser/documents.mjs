// Documents of real apps, or generated ones of the same shape where those are not at hand.

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { REAL_DATA, tempDir } from './harness.mjs';
import { seeded } from './ledger.mjs';

const TLDRAW = join(REAL_DATA, 'tldraw-v1-old-doc.json');

/** In place (Fisher–Yates). */
export function shuffle(list, random) {
  for (let last = list.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    [list[last], list[other]] = [list[other], list[last]];
  }
  return list;
}

/** The drawing as rows of tests/schemas/tldraw. `source` says which it is. */
export function readDrawing() {
  const isReal = existsSync(TLDRAW);
  const source = isReal ? 'the real tldraw document' : 'A GENERATED DOCUMENT (the real one is absent)';
  const page = isReal ? JSON.parse(readFileSync(TLDRAW, 'utf8')).pages.page : generateDrawing();
  const shapes = Object.values(page.shapes).map(({ id, type, name, parentId, childIndex, ...data }) => ({
    id,
    kind: type,
    name,
    child_index: childIndex,
    parent: parentId in page.shapes ? parentId : null,
    handle_start: data.handles?.start?.bindingId || null,
    handle_end: data.handles?.end?.bindingId || null,
    data,
  }));
  const bindings = Object.values(page.bindings).map(({ id, fromId, toId, ...data }) => ({
    id,
    from: fromId,
    to: toId,
    data,
  }));
  return { source, shapes, bindings };
}

// As many shapes, groups, bindings and handles that name bindings as the real one has.
function generateDrawing() {
  const random = seeded(571);
  const hex = (digits) => Array.from({ length: digits }, () => Math.floor(random() * 16).toString(16)).join('');
  const newId = () => [8, 4, 4, 4, 12].map(hex).join('-');
  const kinds = { group: 31, draw: 175, text: 133, ellipse: 100, rectangle: 37, arrow: 95 };
  const all = Object.entries(kinds).flatMap(([type, count]) =>
    Array.from({ length: count }, (_, index) => ({
      id: newId(),
      type,
      name: `${type} ${index}`,
      parentId: 'page',
      childIndex: index + 1,
      point: [random() * 1000, random() * 1000],
    })),
  );
  const of = (type) => all.filter((shape) => shape.type === type);
  const groups = of('group');
  for (const [index, shape] of [...of('text').slice(0, 60), ...groups.slice(1, 10)].entries()) {
    shape.parentId = shape.type === 'group' ? groups[0].id : groups[index % groups.length].id;
  }
  const bindings = {};
  for (const [index, arrow] of of('arrow').slice(0, 11).entries()) {
    arrow.handles = { start: {}, end: {} };
    for (const handleId of ['start', 'end']) {
      const binding = {
        id: newId(),
        type: 'arrow',
        fromId: arrow.id,
        toId: of('ellipse')[index].id,
        meta: { handleId },
      };
      bindings[binding.id] = binding;
      if (index < 2) arrow.handles[handleId].bindingId = binding.id;
    }
  }
  return { shapes: Object.fromEntries(all.map((shape) => [shape.id, shape])), bindings };
}

export const byId = (a, b) => (a.id < b.id ? -1 : 1);

/** One transaction a row and so many increments, in an order that no person would choose, and what it must come to. */
export function planDrawing(drawing, increments) {
  const random = seeded(20_260_401);
  const creates = [
    ...drawing.shapes.map((row) => ({ table: 'shape', row })),
    ...drawing.bindings.map((row) => ({ table: 'binding', row })),
  ];
  shuffle(creates, random);
  const steps = [];
  const made = [];
  const votes = new Map(drawing.shapes.map(({ id }) => [id, 0]));
  const amount = () => Math.floor(random() * 12) - 3 || 1;
  for (const [index, create] of creates.entries()) {
    steps.push(create);
    if (create.table === 'shape') made.push(create.row.id);
    const due = Math.round((increments * (index + 1)) / creates.length) - (steps.length - index - 1);
    for (let count = 0; count < due; count += 1) {
      const step = { table: 'shape', id: made[Math.floor(random() * made.length)], votes: amount() };
      votes.set(step.id, votes.get(step.id) + step.votes);
      steps.push(step);
    }
  }
  const rows = [...drawing.shapes.map((row) => ({ ...row, votes: votes.get(row.id) })), ...drawing.bindings];
  return { steps, journal: { rows: rows.sort(byId) } };
}

/** JSON Canvas files, as `{ path, file }`. */
export function readCanvases() {
  const names = existsSync(REAL_DATA) ? readdirSync(REAL_DATA).filter((name) => name.endsWith('.canvas')) : [];
  const isReal = names.length > 0;
  const source = isReal ? `the real ${names.join(', ')}` : 'A GENERATED CANVAS (the real ones are absent)';
  const paths = isReal ? names.sort().map((name) => join(REAL_DATA, name)) : [generateCanvas()];
  return { source, canvases: paths.map((path) => ({ path, file: JSON.parse(readFileSync(path, 'utf8')) })) };
}

function generateCanvas() {
  const place = (index) => ({ x: (index % 4) * 320, y: Math.floor(index / 4) * 240, width: 260, height: 140 });
  const cards = Array.from({ length: 12 }, (_, index) => ({
    id: `card${index}`,
    type: 'text',
    text: `Card ${index}`,
    ...place(index),
  }));
  const group = { id: 'group', type: 'group', label: 'All', x: -40, y: -40, width: 1400, height: 800 };
  const edges = cards.slice(1).map(({ id }, index) => ({ id: `edge${index}`, fromNode: `card${index}`, toNode: id }));
  const path = join(tempDir('canvas'), 'generated.canvas');
  writeFileSync(path, JSON.stringify({ nodes: [group, ...cards], edges }));
  return path;
}
