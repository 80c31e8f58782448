import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { readClipboard, readFile } from '../formats.js';
import type { Imported } from '../json-canvas.js';

const read = (file: object) => readFile(JSON.stringify(file));
const words = ({ cards, boxes }: Imported) => [
  ...cards.map((row) => row.text ?? row.url),
  ...boxes.map((row) => row.label),
];

/** Connections by the words of their ends. */
function lines({ cards, boxes, connections }: Imported) {
  const names = new Map(
    [...cards, ...boxes].map((row) => [row.id, 'text' in row ? row.text : 'label' in row && row.label]),
  );
  return connections.map(({ start_item, end_item, label, from_end, to_end }) => [
    names.get(Object.values(start_item)[0]),
    names.get(Object.values(end_item)[0]),
    label,
    from_end,
    to_end,
  ]);
}

const shape = (id: string, more: object) => ({ id, type: 'rectangle', x: 0, y: 0, width: 200, height: 80, ...more });
const EXCALIDRAW = {
  type: 'excalidraw',
  elements: [
    shape('outer', { x: -20, y: -20, width: 500, height: 300, strokeColor: '#1e1e1e' }),
    shape('a', { backgroundColor: '#ffc9c9', angle: 1 }),
    shape('at', { type: 'text', containerId: 'a', text: 'Two\nlines', originalText: 'Two lines' }),
    shape('b', { type: 'text', x: 260, text: 'Alone' }),
    shape('gone', { isDeleted: true }),
    shape('f', { type: 'frame', name: 'Frame', x: 1000 }),
    shape('p', { type: 'embeddable', link: 'https://example.org', x: 1200 }),
    shape('l1', {
      type: 'arrow',
      startBinding: { elementId: 'a' },
      endBinding: { elementId: 'b' },
      startArrowhead: 'dot',
    }),
    shape('l1t', { type: 'text', containerId: 'l1', text: 'says' }),
    shape('l2', { type: 'arrow', startBinding: { elementId: 'a' }, endBinding: null, endArrowhead: 'arrow' }),
    shape('i', { type: 'image' }),
    shape('d1', { type: 'freedraw' }),
    shape('d2', { type: 'freedraw' }),
    shape('n', { type: 'novel' }),
  ],
};

test('an Excalidraw drawing becomes cards, boxes and connections, and what cannot is told', () => {
  const drawn = read(EXCALIDRAW);
  assert.deepEqual(words(drawn), ['Two lines', 'Alone', 'https://example.org', null, 'Frame']);
  assert.deepEqual(lines(drawn), [['Two lines', 'Alone', 'says', 'arrow', 'none']]);
  assert.equal(drawn.cards[0]?.color, '#ffc9c9');
  assert.equal(drawn.boxes[0]?.color, null, 'ink is no colour');
  assert.deepEqual(drawn.cards[0]?.extra, { excalidraw: { type: 'rectangle', angle: 1, backgroundColor: '#ffc9c9' } });
  assert.deepEqual(drawn.left_out.sort(), [
    'Left out: 1 arrows that are not tied to something at both ends.',
    'Left out: 1 elements of the kind “novel”.',
    'Left out: 1 images.',
    'Left out: 2 strokes of a pen.',
  ]);
});

const old = (id: string, more: object) => ({
  id,
  type: 'rectangle',
  childIndex: 1,
  point: [0, 0],
  size: [200, 100],
  ...more,
});
const TLDRAW_1 = {
  document: {
    pages: {
      one: {
        shapes: {
          b: old('b', {
            childIndex: 2,
            type: 'ellipse',
            point: [300, 0],
            radius: [50, 40],
            label: 'Round',
            style: { color: 'red' },
          }),
          a: old('a', { type: 'sticky', text: 'To\u00a0do' }),
          g: old('g', { type: 'group' }),
          l: old('l', {
            type: 'arrow',
            decorations: { end: 'arrow' },
            label: 'then',
            handles: { start: { bindingId: 'x' }, end: {} },
          }),
          d: old('d', { type: 'draw' }),
        },
        bindings: {
          x: { fromId: 'l', toId: 'a' },
          y: { fromId: 'l', handleId: 'end', toId: 'b' },
        },
      },
      two: { shapes: { t: old('t', { type: 'text', text: 'Next page', size: undefined }) }, bindings: {} },
    },
  },
};

test('a drawing of the first tldraw becomes rows, its pages side by side', () => {
  const drawn = read(TLDRAW_1);
  assert.deepEqual(words(drawn), ['To do', 'Round', 'Next page']);
  assert.deepEqual(lines(drawn), [['To do', 'Round', 'then', null, null]]);
  assert.deepEqual(
    drawn.cards.map(({ x, y, width, height, color }) => [x, y, width, height, color]),
    [
      [0, 0, 200, 100, null],
      [300, 0, 100, 80, '1'],
      [600, 0, 121, 52, null],
    ],
  );
  assert.deepEqual(drawn.left_out, ['Left out: 1 strokes of a pen.']);
});

const record = (id: string, type: string, props: object, more: object = {}) => {
  return { typeName: 'shape', id, type, parentId: 'page:p', index: id, x: 0, y: 0, props, ...more };
};
const paragraph = (text: string) => ({ type: 'paragraph', content: [{ type: 'text', text }] });
const TLDRAW = {
  tldrawFileFormatVersion: 1,
  records: [
    { typeName: 'page', id: 'page:p' },
    record('a1', 'frame', { w: 400, h: 300, name: 'Plan' }, { x: 100, y: 50 }),
    record('a2', 'geo', { w: 200, h: 100, text: 'Within', color: 'light-green' }, { parentId: 'a1', x: 10, y: 20 }),
    record(
      'a3',
      'note',
      {
        richText: {
          type: 'doc',
          content: [
            paragraph('List'),
            { type: 'bulletList', content: [{ type: 'listItem', content: [paragraph('one')] }] },
          ],
        },
      },
      { x: 900 },
    ),
    record('a4', 'bookmark', { w: 300, h: 120, url: 'https://example.org' }, { x: 1300 }),
    record('a5', 'arrow', { arrowheadStart: 'none', arrowheadEnd: 'arrow', text: 'to' }),
    record('a6', 'arrow', {
      start: { type: 'binding', boundShapeId: 'a3' },
      end: { type: 'binding', boundShapeId: 'a1' },
      arrowheadEnd: 'none',
    }),
    record('a7', 'image', {}),
    { typeName: 'binding', id: 'b1', fromId: 'a5', toId: 'a2', props: { terminal: 'start' } },
    { typeName: 'binding', id: 'b2', fromId: 'a5', toId: 'a3', props: { terminal: 'end' } },
  ],
};

test('a drawing of tldraw becomes rows, placed where its frames are', () => {
  const drawn = read(TLDRAW);
  assert.deepEqual(words(drawn), ['Within', 'List\n- one', 'https://example.org', 'Plan']);
  assert.deepEqual(lines(drawn), [
    ['Within', 'List\n- one', 'to', null, null],
    ['List\n- one', 'Plan', null, null, 'none'],
  ]);
  const [within] = drawn.cards;
  assert.deepEqual([within?.x, within?.y, within?.color], [110, 70, '4']);
  assert.deepEqual(drawn.left_out, ['Left out: 1 images.']);
});

const PIXEL = 'data:image/png;base64,iVBORw0KGgo=';
/** Name, words and address of each picture that a file holds. */
const pictures = (imported: Imported) =>
  imported.cards.flatMap(({ id = '', file, text }) => {
    const address = imported.pictures.get(id);
    return address ? [[file, text, address]] : [];
  });

test('v8_pictures_that_a_drawing_holds_itself_come_along_and_those_elsewhere_are_counted', () => {
  const excalidraw = read({
    ...EXCALIDRAW,
    elements: [shape('i', { type: 'image', fileId: 'f' }), shape('j', { type: 'image', fileId: 'gone' })],
    files: { f: { dataURL: PIXEL } },
  });
  assert.deepEqual(pictures(excalidraw), [['picture.png', '', PIXEL]]);
  assert.deepEqual(excalidraw.left_out, ['Left out: 1 images.']);

  const asset = (id: string, src: string) => ({
    typeName: 'asset',
    id,
    type: 'image',
    props: { src, name: 'tide.png' },
  });
  const size = { w: 300, h: 200 };
  const tldraw = read({
    records: [
      asset('asset:1', PIXEL),
      asset('asset:2', 'https://example.org/tide.png'),
      record('a1', 'image', { ...size, assetId: 'asset:1', altText: 'The tide' }),
      record('a2', 'image', { ...size, assetId: 'asset:2' }),
    ],
  });
  assert.deepEqual(pictures(tldraw), [['tide.png', 'The tide', PIXEL]]);
  assert.deepEqual(tldraw.left_out, ['Left out: 1 images.']);

  const first = read({
    document: {
      pages: { one: { shapes: { p: old('p', { type: 'image', assetId: 'x' }), q: old('q', { type: 'image' }) } } },
      assets: { x: { src: PIXEL, fileName: 'tide.png' } },
    },
  });
  assert.deepEqual(pictures(first), [['tide.png', '', PIXEL]]);
  assert.deepEqual(first.left_out, ['Left out: 1 images.']);
});

test('a clipboard is a canvas only if it holds one', () => {
  assert.equal(readClipboard('just words'), undefined);
  assert.equal(readClipboard('{ not json'), undefined);
  assert.equal(readClipboard('{"name":"a package","version":1}'), undefined);
  assert.equal(readClipboard('{"nodes":[],"edges":[]}'), undefined);
  const node = { id: 'n', type: 'text', text: 'A', x: 0, y: 0, width: 1, height: 1 };
  assert.equal(readClipboard(JSON.stringify({ nodes: [node] }))?.cards.length, 1);
  assert.equal(readClipboard(JSON.stringify({ ...EXCALIDRAW, type: 'excalidraw/clipboard' }))?.boxes.length, 2);
});

test('hostile drawings end in a sentence or in nothing, never in a loop', () => {
  const loop = [
    record('x', 'geo', { w: 1, h: 1 }, { parentId: 'y' }),
    record('y', 'geo', { w: 1, h: 1 }, { parentId: 'x' }),
  ];
  assert.equal(read({ records: loop }).cards.length, 2);
  assert.deepEqual(words(read({ type: 'excalidraw', elements: [null, 7, { type: 'text' }, { type: 3 }] })), ['']);
  assert.throws(() => readFile('[]'), /no nodes/);
});

const DATA_DIR = resolve(process.env.DRIFTLINE_REAL_DATA ?? '../../shared/data');
const REAL = {
  'excalidraw-vscode-test.excalidraw': { cards: 6, connections: 1 },
  'tldraw-v1-Example.tldr': { cards: 4, connections: 1 },
  'tldraw-v1-old-doc.json': { cards: 270, connections: 3 },
};
test('real drawings are read', { skip: !existsSync(DATA_DIR) && `there is no ${DATA_DIR}` }, () => {
  for (const [name, wanted] of Object.entries(REAL)) {
    const drawn = readFile(readFileSync(join(DATA_DIR, name), 'utf8'));
    const found = { cards: drawn.cards.length + drawn.boxes.length, connections: drawn.connections.length };
    assert.deepEqual(found, wanted, name);
  }
});
