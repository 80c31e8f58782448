/** Small pieces that several views show. */

import type { OutboxEntry } from '../../status.js';
import { type Child, h, type Node } from './dom.js';
import { STATE_WORDS } from './words.js';

type ButtonKind = 'plain' | 'main' | 'danger' | 'link';

export function button(label: string, act: () => void, kind: ButtonKind = 'plain', more: object = {}): Node {
  return h('button', { type: 'button', class: `button ${kind}`, on: { click: act }, ...more }, label);
}

export const chip = (state: OutboxEntry['state']) => h('span', { class: `chip ${state}` }, STATE_WORDS[state]);

export const mono = (...children: Child[]) => h('span', { class: 'mono' }, ...children);

export function empty(title: string, ...text: Child[]): Node {
  const tick = h('path', { d: 'M7 12.5l3.4 3.4L17.5 8.5' });
  const icon = h(
    'svg',
    { class: 'icon', viewBox: '0 0 24 24', 'aria-hidden': 'true' },
    h('circle', { cx: 12, cy: 12, r: 10 }),
    tick,
  );
  return h('div', { class: 'empty' }, icon, h('strong', null, title), h('p', null, ...text));
}

interface Column<T> {
  readonly title: string;
  /** `number`: to the right. `wide`: left out where there is no room. */
  readonly kind?: string;
  readonly cell: (item: T) => Child;
}

export function table<T>(
  label: string,
  columns: readonly Column<T>[],
  items: readonly T[],
  keyOf: (item: T) => string,
): Node {
  const head = columns.map(({ title, kind }) => h('th', { scope: 'col', class: kind }, title));
  const rows = items.map((item) => {
    return h(
      'tr',
      { key: keyOf(item) },
      columns.map(({ kind, cell }) => h('td', { class: kind }, cell(item))),
    );
  });
  const body = [h('thead', null, h('tr', null, head)), h('tbody', null, rows)];
  return h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': label }, h('table', null, ...body));
}
