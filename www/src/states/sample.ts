/** A canvas to begin with: a small plan that shows cards, boxes, connections and lists. */

const card = (id: string, text: string, x: number, y: number, more: object = {}) => ({
  id,
  type: 'text',
  text,
  x,
  y,
  width: 250,
  height: 120,
  ...more,
});

const nodes = [
  { id: 'ideas', type: 'group', label: 'Ideas', x: 0, y: 0, width: 300, height: 440, color: '5' },
  { id: 'week', type: 'group', label: 'This week', x: 400, y: 0, width: 300, height: 440, color: '4' },
  card('hello', '## Start here\nDouble-click a card to write in it. *Markdown* works.', 25, 40, { height: 150 }),
  card('drag', 'Drag a card by its middle, and connect two by the dots at their edges.', 25, 250, { height: 130 }),
  card('list', '### Then try\n1. a new card\n2. no network\n3. a second window', 425, 40, { height: 150 }),
  card('offline', '**Work offline**: switch it on at the top, and go on. Nothing is lost.', 425, 250, {
    height: 130,
    color: '3',
  }),
  card('others', 'Open this page in a second window: both show the same.', 800, 150, { height: 130, color: '6' }),
];

const edges = [
  { id: 'first', fromNode: 'hello', toNode: 'list', label: 'then' },
  { id: 'second', fromNode: 'drag', toNode: 'offline' },
  { id: 'third', fromNode: 'list', toNode: 'others' },
  { id: 'fourth', fromNode: 'offline', toNode: 'others' },
];

export const SAMPLE = JSON.stringify({ nodes, edges });
