/** All that the engine was given, from which a run can be repeated. */

import type { Actions, State } from '../state.js';
import { h, type Node } from './dom.js';
import { button, empty } from './pieces.js';

const NO_TRACE = 'This page keeps no trace';
const HOLDS = 'It holds what was edited, as it was typed: look whom it is sent to.';

export function trace({ isTraced, canKeepTrace }: State, actions: Actions): Node[] {
  if (!isTraced && canKeepTrace) return offer(actions);
  if (!isTraced) {
    return [
      empty(
        NO_TRACE,
        'Open the space with the option trace: true, do what goes wrong, and take the file along from here: the run can be repeated from it.',
      ),
    ];
  }
  return [
    h(
      'section',
      { key: 'kept' },
      h('p', null, 'All that the engine was given since this space was opened, and where that has led.'),
      h(
        'div',
        { class: 'actions' },
        button('Download', () => actions.downloadTrace(), 'main'),
        button('Copy', () => actions.copyTrace()),
      ),
      h('p', { class: 'hint' }, HOLDS),
    ),
  ];
}

function offer(actions: Actions): Node[] {
  return [
    h(
      'section',
      { key: 'offer' },
      h('h3', null, NO_TRACE),
      h(
        'p',
        null,
        'A trace is all that the engine is given, with the time: each edit, answer, message and record. Have it kept, do what goes wrong, and take the file along from here: the run can be repeated from it.',
      ),
      h(
        'div',
        { class: 'actions' },
        button('Keep a trace', () => actions.keepTrace(), 'main'),
      ),
      h('p', { class: 'hint' }, `The page is loaded again for it. It stays in memory, up to 32 MiB. ${HOLDS}`),
    ),
  ];
}
