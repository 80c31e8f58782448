/** The row of tabs: arrow keys go along it, as a tab list is used everywhere. */

import { isOn } from '../network/faults.js';
import type { Actions, State, Tab } from '../state.js';
import { h, type Node } from './dom.js';
import { TAB_WORDS } from './words.js';

export function tabs(state: State, actions: Actions): Node {
  const { tab, tabs } = state;
  const move = (event: KeyboardEvent) => {
    const index = nextIndex(event.key, tabs.indexOf(tab), tabs.length);
    const next = index === null ? undefined : tabs[index];
    if (next === undefined) return;
    event.preventDefault();
    actions.show(next);
    const list = event.currentTarget as Element;
    list.querySelectorAll<HTMLElement>('[role=tab]')[index ?? 0]?.focus();
  };
  return h(
    'div',
    { key: 'tabs', class: 'tabs', role: 'tablist', 'aria-label': 'Inspector', on: { keydown: move } },
    tabs.map((name) => one(name, state, actions)),
  );
}

function one(name: Tab, state: State, actions: Actions): Node {
  const isShown = name === state.tab;
  const count = countOf(name, state);
  return h(
    'button',
    {
      key: name,
      id: `tab-${name}`,
      type: 'button',
      role: 'tab',
      'aria-selected': isShown ? 'true' : 'false',
      'aria-controls': 'panel',
      tabindex: isShown ? 0 : -1,
      on: { click: () => actions.show(name) },
    },
    `${TAB_WORDS[name]} `,
    count !== null && h('span', { class: `count ${name}` }, count),
  );
}

function countOf(name: Tab, { waiting, faults }: State): number | string | null {
  const { queued, in_flight, parked } = waiting.status;
  if (name === 'outbox') return queued + in_flight || null;
  if (name === 'held') return parked || null;
  if (name === 'simulate') return isOn(faults) ? 'on' : null;
  return null;
}

/** Where a key leads in a row of so many; `null`: nowhere. */
export function nextIndex(key: string, index: number, count: number): number | null {
  switch (key) {
    case 'ArrowRight':
    case 'ArrowDown':
      return (index + 1) % count;
    case 'ArrowLeft':
    case 'ArrowUp':
      return (index + count - 1) % count;
    case 'Home':
      return 0;
    case 'End':
      return count - 1;
    default:
      return null;
  }
}
