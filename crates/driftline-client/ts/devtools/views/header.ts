/** The status, in figures and in a sentence, and what is simulated, where nobody can overlook it. */

import { statusSentence } from '../model/reasons.js';
import { faultWords, isOn, NO_FAULTS } from '../network/faults.js';
import type { Actions, State } from '../state.js';
import { h, type Node } from './dom.js';
import { button } from './pieces.js';
import { STATUS_WORDS } from './words.js';

export function header({ waiting, place, isClosed }: State): Node {
  const { status, network } = waiting;
  const state = isClosed ? 'closed' : status.state;
  const word = isClosed ? 'Closed' : STATUS_WORDS[status.state];
  const sentence = isClosed
    ? 'The space is closed: what is shown is what was known last.'
    : statusSentence(status, network);
  return h(
    'header',
    { key: 'header' },
    h(
      'div',
      { class: 'headline' },
      h('span', { class: `standing ${state}` }, word),
      h('span', { class: 'space mono' }, place.space),
    ),
    h('p', { class: 'sentence', role: 'status' }, sentence),
    h(
      'dl',
      { class: 'figures' },
      figure('queued', status.queued),
      figure('in flight', status.in_flight),
      figure('held back', status.parked, status.parked > 0 ? 'bad' : ''),
      figure('revision', status.rev),
    ),
    status.sender === false && h('p', { class: 'hint' }, 'Another tab of this browser sends for this one.'),
  );
}

function figure(name: string, value: number, kind = ''): Node {
  return h('div', null, h('dt', null, name), h('dd', { class: `number ${kind}` }, value));
}

export function banner({ faults }: State, actions: Actions): Node | null {
  if (!isOn(faults)) return null;
  return h(
    'div',
    { key: 'banner', class: 'banner', role: 'alert' },
    h('span', null, h('strong', null, 'Simulating '), faultWords(faults)),
    button('Stop', () => actions.simulate(NO_FAULTS), 'main'),
  );
}

export function notice({ notice }: State): Node {
  return h('div', { key: 'notice', class: notice ? 'notice' : 'no-notice', role: 'status' }, notice ?? '');
}
