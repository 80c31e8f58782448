/** A recording of all that the engine is given, from which a run can be repeated. */

import { bytes, duration, time } from '../model/format.js';
import type { Recording } from '../recorder.js';
import type { Actions, State } from '../state.js';
import { h, type Node } from './dom.js';
import { button, empty } from './pieces.js';

export function trace({ recording, waiting }: State, actions: Actions): Node[] {
  if (recording?.isOn) return [running(recording, waiting.now, actions)];
  const record = h(
    'p',
    { key: 'record' },
    button('Record', () => actions.record(), 'main'),
  );
  const { text = null } = recording ?? {};
  if (text === null)
    return [
      empty(
        'No trace yet',
        'Record what the engine is given, do what goes wrong, and take the file along: the run can be repeated from it.',
      ),
      record,
    ];
  return [
    h(
      'section',
      { key: 'done' },
      h(
        'p',
        null,
        h('strong', { class: 'number big' }, bytes(new Blob([text]).size)),
        ` in ${text.trimEnd().split('\n').length} lines, from ${time(recording?.startedAt ?? 0)} on.`,
      ),
      h(
        'div',
        { class: 'actions' },
        button('Download', () => actions.downloadTrace(), 'main'),
        button('Copy', () => actions.copyTrace()),
      ),
      h('p', { class: 'hint' }, 'It holds what was edited, as it was typed: look whom it is sent to.'),
    ),
    record,
  ];
}

function running({ startedAt }: Recording, now: number, actions: Actions): Node {
  return h(
    'section',
    { key: 'running' },
    h(
      'p',
      null,
      h('span', { class: 'dot' }),
      'Recording for ',
      h('strong', { class: 'number' }, duration(now - startedAt)),
    ),
    h(
      'div',
      { class: 'actions' },
      button('Stop recording', () => actions.stopRecording(), 'main'),
    ),
  );
}
