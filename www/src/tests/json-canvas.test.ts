import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { readCanvas, writeCanvas } from '../json-canvas.js';
import { schema } from '../schema.js';

/** Opens and saves as the app does: the engine fills in what a create leaves out. */
function roundTrip(text: string): unknown {
  const { types, cards, boxes, connections } = readCanvas(text);
  const full = (table: keyof typeof schema.tables, rows: object[]) => {
    const fields = Object.entries<{ type: string; default?: unknown }>(schema.tables[table].fields);
    const defaults = fields.map(([name, field]) => [name, field.default ?? (field.type === 'counter' ? 0 : null)]);
    return rows.map((row) => ({ ...Object.fromEntries(defaults), ...row })) as never[];
  };
  const rows = [full('card', cards), full('box', boxes), full('connection', connections)] as const;
  return JSON.parse(writeCanvas(...rows, full('connection_type', types)));
}

const SAMPLE = {
  nodes: [
    { id: 'g', type: 'group', x: -300, y: -460, width: 610, height: 200, label: 'Group', backgroundStyle: 'ratio' },
    { id: 'f', type: 'file', file: 'readme.md', subpath: '#a', x: 0, y: 0, width: 1, height: 1, color: '6' },
    { id: 't', type: 'text', text: '', x: 0.5, y: 0, width: 1, height: 1, styleAttributes: { shape: 'pill' } },
    { id: 'l', type: 'link', url: 'https://example.org', x: 0, y: 0, width: 1, height: 1, color: null },
    { id: 'n', type: 'novel', x: 0, y: 0, width: 1, height: 1, text: 7 },
  ],
  edges: [
    { id: 'e1', fromNode: 'g', toNode: 'f', fromSide: 'right', toEnd: 'none', weight: 3 },
    { id: 'e2', fromNode: 't', toNode: 't', label: 'self' },
  ],
};

test('opening and saving a file loses nothing', () => {
  assert.deepEqual(roundTrip(JSON.stringify(SAMPLE)), SAMPLE);
});

test('the type of a connection goes into the file and comes out of it', () => {
  const typed = (id: string, connectionType: unknown) => ({ id, fromNode: 'f', toNode: 't', connectionType });
  const edges = [
    typed('e1', { name: 'causes', color: '4' }),
    typed('e2', { name: 'causes', color: '4' }),
    typed('e3', 'odd'),
  ];
  const text = JSON.stringify({ ...SAMPLE, edges });
  const { types, connections } = readCanvas(text);
  assert.deepEqual(
    types.map(({ name, color }) => [name, color]),
    [['causes', '4']],
  );
  assert.deepEqual(
    connections.map((row) => row.connection_type),
    [types[0]?.id, types[0]?.id, null],
  );
  assert.deepEqual(roundTrip(text), { ...SAMPLE, edges });
});

test('what cannot be taken is told, and the rest is taken', () => {
  const edges = [...SAMPLE.edges, { id: 'e3', fromNode: 'gone', toNode: 't' }];
  const { connections, left_out } = readCanvas(JSON.stringify({ ...SAMPLE, edges, metadata: {} }));
  assert.equal(connections.length, 2);
  assert.equal(left_out.length, 2);
  assert.match(left_out[0] ?? '', /e3/);
});

test('a file that is opened twice is saved with ids of its own', () => {
  const one = readCanvas(JSON.stringify(SAMPLE)).cards;
  const two = readCanvas(JSON.stringify(SAMPLE), 10).cards;
  const file = JSON.parse(writeCanvas([...one, ...two] as never[], [], []));
  assert.equal(new Set(file.nodes.map((node: { id: string }) => node.id)).size, 8);
});

test('an empty file is an empty canvas; anything else says what is wrong', () => {
  assert.deepEqual(roundTrip(''), { nodes: [], edges: [] });
  assert.throws(() => readCanvas('x'), /not JSON/);
  assert.throws(() => readCanvas('[]'), /no nodes/);
  assert.throws(() => readCanvas('{"nodes":{}}'), /not a list/);
});

const DATA_DIR = resolve(process.env.DRIFTLINE_REAL_DATA ?? '../../shared/data');
const files = existsSync(DATA_DIR) ? readdirSync(DATA_DIR).filter((name) => name.endsWith('.canvas')) : [];
test('real files survive', { skip: files.length === 0 && `no .canvas files in ${DATA_DIR}` }, () => {
  for (const name of files) {
    const text = readFileSync(join(DATA_DIR, name), 'utf8');
    assert.deepEqual(roundTrip(text), JSON.parse(text), name);
  }
});
