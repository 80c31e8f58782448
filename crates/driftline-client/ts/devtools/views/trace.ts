/** All that the engine was given, from which a run can be repeated. */

import type { Actions, State } from '../state.js';
import { h, type Node } from './dom.js';
import { button, empty } from './pieces.js';

export function trace({ isTraced }: State, actions: Actions): Node[] {
  if (!isTraced) {
    return [
      empty(
        'This page keeps no trace',
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
      h('p', { class: 'hint' }, 'It holds what was edited, as it was typed: look whom it is sent to.'),
    ),
  ];
}
