/** What this device stores. */

import type { SpaceInfo } from '../../spaces.js';
import type { Device } from '../device.js';
import { bytes, date, time } from '../model/format.js';
import type { Actions, State } from '../state.js';
import { h, type Node } from './dom.js';
import { button, empty, table } from './pieces.js';

export function device(state: State, actions: Actions): Node[] {
  const { device, place } = state;
  if (!device) return [empty('Measuring', 'The browser is asked what this device holds.')];
  return [
    h('section', { key: 'quota' }, quota(device), kept(device)),
    h('section', { key: 'spaces' }, h('h3', null, `Spaces of the app “${place.app}”`), spaces(device, state)),
    h(
      'p',
      { key: 'again', class: 'bar' },
      button('Measure again', () => actions.measure()),
      h('span', { class: 'hint' }, `as of ${time(device.at)}`),
    ),
  ];
}

function quota({ usage, quota, databases }: Device): Node {
  if (usage === null || quota === null)
    return h('p', { class: 'hint' }, 'The browser does not tell how much is stored.');
  const percent = quota > 0 ? (usage / quota) * 100 : 0;
  const share = percent < 1 ? 'less than 1 %' : `${Math.round(percent)} %`;
  return h(
    'div',
    { class: 'quota' },
    h(
      'p',
      null,
      h('strong', { class: 'number big' }, bytes(usage)),
      ` of ${bytes(quota)} that this origin may use, ${share}`,
    ),
    h('meter', { min: 0, max: quota, value: usage, high: quota * 0.9, 'aria-label': 'Storage used' }),
    databases !== null && h('p', { class: 'hint' }, `${bytes(databases)} of it are databases.`),
  );
}

function kept({ persisted }: Device): Node {
  if (persisted === null) return h('p', { class: 'hint' }, 'The browser does not tell whether it may evict this.');
  return h(
    'p',
    null,
    persisted
      ? 'The browser has promised not to evict it.'
      : 'The browser may evict it when the disk is full: it has promised nothing.',
  );
}

function spaces({ spaces }: Device, { place }: State): Node {
  if (spaces.length === 0) return h('p', { class: 'hint' }, 'None is stored yet.');
  const columns = [
    {
      title: 'Space',
      cell: ({ name, isOpen }: SpaceInfo) => [
        h('span', { class: 'name' }, name),
        h('small', null, nameNote(name, isOpen, place.space)),
      ],
    },
    { title: 'Size', kind: 'number', cell: (space: SpaceInfo) => bytes(space.bytes) },
    { title: 'Revision', kind: 'number', cell: ({ rev }: SpaceInfo) => rev ?? '–' },
    { title: 'Unsynced', kind: 'number', cell: ({ unsynced }: SpaceInfo) => unsynced },
    { title: 'Opened', kind: 'wide', cell: ({ openedAt }: SpaceInfo) => (openedAt > 0 ? date(openedAt) : '–') },
  ];
  return table('Spaces', columns, spaces, ({ name }) => name);
}

function nameNote(name: string, isOpen: boolean, own: string): string {
  return name === own ? 'this one' : isOpen ? 'open' : '';
}
