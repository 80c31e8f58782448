/** The whole of it. */

import type { Actions, State, Tab } from '../state.js';
import { device } from './device.js';
import { h, type Node } from './dom.js';
import { banner, header, notice } from './header.js';
import { held } from './held.js';
import { outbox } from './outbox.js';
import { requests } from './requests.js';
import { simulate } from './simulate.js';
import { tabs } from './tabs.js';
import { trace } from './trace.js';

const PANELS: Readonly<Record<Tab, (state: State, actions: Actions) => Node[]>> = {
  outbox,
  held,
  requests,
  device,
  simulate,
  trace,
};

export function inspector(state: State, actions: Actions): Node[] {
  const { tab } = state;
  const panel = { key: 'panel', id: 'panel', class: `panel ${tab}`, role: 'tabpanel', 'aria-labelledby': `tab-${tab}` };
  const content = h('div', { key: tab, class: 'content' }, PANELS[tab](state, actions));
  const parts = [header(state), banner(state, actions), tabs(state, actions), notice(state), h('div', panel, content)];
  return parts.filter((part) => part !== null);
}
