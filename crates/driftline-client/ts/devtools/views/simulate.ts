/** What is to go wrong on purpose, for this space and in this tab alone. */

import { FAULT_WORDS, type FaultKind, isOn, NO_FAULTS } from '../network/faults.js';
import type { Actions, State } from '../state.js';
import { h, type Node } from './dom.js';
import { button } from './pieces.js';

const LATENCIES_MS = [0, 100, 300, 1_000, 3_000];
const PERCENTS = [0, 10, 25, 50, 100];

export function simulate({ faults, waiting }: State, actions: Actions): Node[] {
  const toggle = (event: Event) => actions.simulate({ offline: (event.currentTarget as HTMLInputElement).checked });
  const choose = (event: Event) =>
    actions.simulate({ failKind: (event.currentTarget as HTMLSelectElement).value as FaultKind });
  const kinds = Object.entries(FAULT_WORDS).map(([kind, words]) => h('option', { value: kind }, words));
  return [
    h(
      'p',
      { key: 'about', class: 'hint' },
      waiting.status.sender === false
        ? 'Another tab sends for this one: what is simulated here shows once this tab sends. Open the inspector there.'
        : 'For this space’s addresses in this tab only. Requests and live connection are real; what is simulated ends when it is stopped, and with this page.',
    ),
    h(
      'section',
      { key: 'offline', class: 'fault' },
      h(
        'label',
        { class: 'switch' },
        h('input', { type: 'checkbox', role: 'switch', checked: faults.offline, on: { change: toggle } }),
        'Offline',
      ),
      h('p', { class: 'hint' }, 'Requests fail, and the live connection is closed and not opened again.'),
    ),
    h(
      'section',
      { key: 'slow', class: 'fault' },
      steps(
        'Slow',
        LATENCIES_MS,
        faults.latencyMs,
        (ms) => (ms === 0 ? 'off' : `+${ms} ms`),
        (latencyMs) => actions.simulate({ latencyMs }),
      ),
      h('p', { class: 'hint' }, 'Each request waits before it goes. Live messages come as they come.'),
    ),
    h(
      'section',
      { key: 'failing', class: 'fault' },
      steps(
        'Failing',
        PERCENTS,
        faults.failPercent,
        (percent) => (percent === 0 ? 'off' : `${percent} %`),
        (failPercent) => actions.simulate({ failPercent }),
      ),
      h('label', { class: 'choice' }, 'How', h('select', { value: faults.failKind, on: { change: choose } }, kinds)),
      h(
        'p',
        { class: 'hint' },
        'By chance. Where the answer is lost the server has done what was asked; without an answer the engine gives up after 30 s. New live connections fail as often.',
      ),
    ),
    h(
      'p',
      { key: 'stop' },
      button('Stop all', () => actions.simulate(NO_FAULTS), 'plain', { disabled: !isOn(faults) }),
    ),
  ];
}

function steps(
  name: string,
  values: readonly number[],
  now: number,
  words: (value: number) => string,
  set: (value: number) => void,
): Node {
  const one = (value: number) =>
    h(
      'label',
      null,
      h('input', {
        type: 'radio',
        name,
        value: String(value),
        checked: value === now,
        on: { change: () => set(value) },
      }),
      h('span', null, words(value)),
    );
  return h('fieldset', { class: 'steps' }, h('legend', null, name), h('div', null, values.map(one)));
}
