/** The outbox as a picture: what goes first stands to the left. */

import type { OutboxEntry } from '../../status.js';
import { describe, plural, shortId, shortKey } from '../model/format.js';
import { type GraphEdge, type GraphNode, NODE } from '../model/graph.js';
import type { Actions, State } from '../state.js';
import { h, type Node } from './dom.js';
import { nextIndex } from './tabs.js';
import { STATE_WORDS } from './words.js';

const STATES: readonly OutboxEntry['state'][] = [
  'saving',
  'queued',
  'waiting',
  'in_flight',
  'applied',
  'parked',
  'suspended',
];

export function graph(state: State, actions: Actions): Node {
  const { nodes, edges, width, height, more } = state.graph;
  const entries = nodes.filter(({ entry }) => entry !== undefined);
  const selected = state.selected?.key;
  const focused = entries.some(({ key }) => key === selected) ? selected : entries[0]?.key;
  const move = (event: KeyboardEvent) => {
    const at = entries.findIndex(({ key }) => key === focused);
    const next = nextIndex(event.key, at, entries.length);
    const entry = next === null ? undefined : entries[next];
    if (!entry) return;
    event.preventDefault();
    actions.select(entry.key);
    (event.currentTarget as Element).querySelectorAll<SVGElement>('[role=button]')[next ?? 0]?.focus();
  };
  const picture = h(
    'svg',
    {
      width,
      height,
      viewBox: `0 0 ${width} ${height}`,
      role: 'group',
      'aria-label': 'Outbox, in sending order',
      on: { keydown: move },
    },
    arrow(),
    edges.map((one) => edge(one, selected)),
    nodes.map((one) => node(one, selected, one.key === focused, actions)),
  );
  return h(
    'div',
    { class: 'graph' },
    h('div', { class: 'scroll' }, picture),
    more > 0 && h('p', { class: 'hint more' }, `… and ${more} more`),
    legend(state.outbox),
  );
}

const arrow = () =>
  h(
    'defs',
    null,
    h(
      'marker',
      { id: 'arrow', viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: 'auto' },
      h('path', { d: 'M0 .8L7 4 0 7.2z', class: 'arrow' }),
    ),
  );

function edge({ from, to, kind, path }: GraphEdge, selected: string | undefined): Node {
  const isNear = from === selected || to === selected;
  const name = `edge ${kind}${isNear ? ' near' : ''}`;
  return h('path', { key: `${from}>${to}`, class: name, d: path, 'marker-end': 'url(#arrow)', 'aria-hidden': 'true' });
}

function node(
  { key, entry, place, x, y }: GraphNode,
  selected: string | undefined,
  isFocused: boolean,
  actions: Actions,
): Node {
  const at = { key, transform: `translate(${x} ${y})` };
  const box = h('rect', { class: 'box', width: NODE.width, height: NODE.height, rx: 8 });
  if (!entry) {
    const [table = '', id = ''] = key.split(' ');
    const texts = [text(14, 19, 'name', cut(table)), text(14, 35, 'small mono', `${shortId(id)} · not there`)];
    return h(
      'g',
      { ...at, class: 'node row', role: 'img', 'aria-label': `Row ${table} ${id}, not there yet` },
      box,
      ...texts,
    );
  }
  const select = () => actions.select(key);
  const press = (event: KeyboardEvent) => {
    if (event.key !== 'Enter' && event.key !== ' ') return;
    event.preventDefault();
    select();
  };
  return h(
    'g',
    {
      ...at,
      class: `node ${entry.state}`,
      role: 'button',
      tabindex: isFocused ? 0 : -1,
      'aria-pressed': key === selected ? 'true' : 'false',
      'data-key': key,
      on: { click: select, keydown: press },
    },
    box,
    h('rect', { class: 'stripe', x: 1, y: 9, width: 4, height: NODE.height - 18, rx: 2 }),
    // What is read is its name, too.
    text(NODE.width - 10, 19, 'small place', `${place} `),
    text(14, 19, 'name', `${cut(describe(entry))} `),
    text(14, 35, 'small mono', `${shortKey(key)} `),
    text(NODE.width - 10, 35, 'small state', STATE_WORDS[entry.state]),
  );
}

const text = (x: number, y: number, name: string, content: string) => h('text', { x, y, class: name }, content);

/** What fits into a box. */
const CHARS_MAX = 18;
const cut = (name: string) => (name.length > CHARS_MAX ? `${name.slice(0, CHARS_MAX - 1)}…` : name);

function legend(outbox: readonly OutboxEntry[]): Node {
  const counts = STATES.map((state) => [state, outbox.filter((entry) => entry.state === state).length] as const);
  const shown = counts.filter(([, count]) => count > 0);
  return h(
    'ul',
    { class: 'legend', 'aria-label': plural(outbox.length, 'transaction') },
    shown.map(([state, count]) =>
      h('li', { class: state }, h('span', { class: 'number' }, count), ` ${STATE_WORDS[state]}`),
    ),
  );
}
