/** What waits, as a graph, with what is known of the selected transaction beside it; and what has gone lately. */

import { describe, duration, shortId, shortKey, time } from '../model/format.js';
import type { Mark, Track } from '../model/history.js';
import { why } from '../model/why.js';
import type { Actions, State } from '../state.js';
import { h, type Node } from './dom.js';
import { graph } from './graph.js';
import { decisions } from './held.js';
import { button, chip, empty, mono } from './pieces.js';
import { markWords } from './words.js';

/** Of a transaction so many edits are told. */
const EDITS_TOLD = 10;

export function outbox(state: State, actions: Actions): Node[] {
  const { outbox, waiting, selected } = state;
  const nothing = () => {
    const { rev } = waiting.status;
    return empty(
      'Nothing waits',
      rev > 0 ? `Every change of this device is on the server, at revision ${rev}.` : 'Nothing has been made yet.',
    );
  };
  const main = outbox.length > 0 ? graph(state, actions) : nothing();
  const detail = selected ? one(selected, state, actions) : outbox.length > 0 ? hint() : null;
  return [
    h('div', { key: 'split', class: 'split' }, h('div', { class: 'main' }, main), detail),
    h('div', { key: 'recent' }, recent(state, actions)),
  ];
}

const hint = () =>
  h(
    'aside',
    { class: 'detail idle' },
    h('p', { class: 'hint' }, 'Choose a transaction to see why it waits, and what has become of it so far.'),
  );

function one(track: Track, state: State, actions: Actions): Node {
  const { entry, overAt } = track;
  const { waiting } = state;
  const now = waiting.entries.get(track.key);
  const place = waiting.places.get(track.key);
  const title = [place === undefined ? '' : `№ ${place} `, describe(entry)];
  return h(
    'aside',
    { class: 'detail', 'aria-label': `Transaction ${shortKey(track.key)}`, 'data-key': track.key },
    h(
      'div',
      { class: 'bar' },
      h('h3', null, ...title),
      now && chip(now.state),
      button('Close', () => actions.select(null), 'link'),
    ),
    now && h('p', { class: 'why' }, why(now, waiting)),
    !now && h('p', { class: 'why' }, overAt !== null ? endOf(track) : 'It is not among those that are shown.'),
    now && (now.state === 'parked' || now.state === 'suspended') && decisions(now, state, actions),
    h('h4', null, 'Timeline'),
    h(
      'ol',
      { class: 'timeline' },
      track.marks.map((mark, index) => step(mark, track.marks[index - 1])),
    ),
    h('h4', null, 'Edits'),
    h(
      'ul',
      { class: 'rows' },
      entry.edits.map(({ op, table, id }) => h('li', null, `${op} ${table} `, mono(shortId(id)))),
    ),
    entry.edits.length === EDITS_TOLD && h('p', { class: 'hint' }, 'and perhaps more: the first ten are told.'),
    h('p', { class: 'hint' }, 'Key ', mono(track.key)),
  );
}

function endOf({ marks, rev }: Track): string {
  if (rev !== null) return `Confirmed: the server took it at revision ${rev}, and this device holds that revision.`;
  const last = marks.at(-1);
  return last ? `${markWords(last)}.` : '';
}

function step(mark: Mark, before: Mark | undefined): Node {
  const later = before && mark.at > before.at ? `+${duration(mark.at - before.at)}` : '';
  return h(
    'li',
    { class: mark.what },
    h('time', { class: 'mono' }, time(mark.at)),
    h('span', null, markWords(mark), mark.note && mark.what !== 'decided' && h('code', null, mark.note)),
    h('span', { class: 'mono later' }, later),
  );
}

function recent({ recent, selected }: State, actions: Actions): Node | null {
  if (recent.length === 0) return null;
  const row = (track: Track) => {
    const last = track.marks.at(-1);
    const what = track.rev === null ? (last?.what === 'decided' ? markWords(last) : 'gone') : `revision ${track.rev}`;
    const first = track.marks[0];
    const took = first && last ? duration(last.at - first.at) : '';
    return h(
      'li',
      { key: track.key },
      h(
        'button',
        {
          type: 'button',
          'aria-pressed': selected === track ? 'true' : 'false',
          on: { click: () => actions.select(track.key) },
        },
        h('span', { class: 'name' }, describe(track.entry)),
        mono(shortKey(track.key)),
        h('span', { class: 'end' }, what),
        h('span', { class: 'mono took' }, took),
      ),
    );
  };
  return h('section', { class: 'recent' }, h('h3', null, 'Lately gone'), h('ul', null, recent.map(row)));
}
