/** What cannot go on as it is: why, what waits for it, and what can be decided. */

import type { RowRef } from '../../errors.js';
import type { OutboxEntry } from '../../status.js';
import { describe, plural, shortId, shortKey } from '../model/format.js';
import { why } from '../model/why.js';
import type { Actions, State } from '../state.js';
import { h, type Node } from './dom.js';
import { button, chip, empty, mono } from './pieces.js';
import { reparent } from './reparent.js';

/** More than anyone decides about by hand; how many others there are is told. */
const GROUPS_MAX = 50;
const DEPENDENTS_MAX = 8;

export function held(state: State, actions: Actions): Node[] {
  const entries = state.outbox.filter((entry) => entry.state === 'parked' || entry.state === 'suspended');
  if (entries.length === 0) {
    return [
      empty(
        'Nothing is held back',
        'What the server refuses is kept here with its reason, and everything else goes on.',
      ),
    ];
  }
  const more = entries.length - GROUPS_MAX;
  return [
    h(
      'ul',
      { key: 'groups', class: 'groups' },
      entries.slice(0, GROUPS_MAX).map((entry) => group(entry, state, actions)),
    ),
    ...(more > 0 ? [h('p', { key: 'more', class: 'hint more' }, `… and ${more} more`)] : []),
  ];
}

function group(entry: OutboxEntry, state: State, actions: Actions): Node {
  const { key, problem, dependents = [] } = entry;
  const { entries } = state.waiting;
  const shown = dependents.slice(0, DEPENDENTS_MAX);
  const others = dependents.length - shown.length;
  return h(
    'li',
    { key, class: 'group', 'data-key': key, 'data-code': problem?.code },
    h('div', { class: 'bar' }, h('h3', null, describe(entry)), mono(shortKey(key)), chip(entry.state)),
    problem && h('p', { class: 'code' }, h('code', null, problem.code)),
    h('p', { class: 'why' }, why(entry, state.waiting)),
    problem?.rows && problem.rows.length > 0 && h('ul', { class: 'rows' }, problem.rows.slice(0, 3).map(row)),
    shown.length > 0 && h('h4', null, `Wait for it · ${dependents.length}`),
    shown.length > 0 &&
      h(
        'ul',
        { class: 'rows' },
        shown.map((one) => dependent(one, entries.get(one), actions)),
      ),
    others > 0 && h('p', { class: 'hint' }, `… and ${others} more`),
    decisions(entry, state, actions),
  );
}

const row = ({ table, id }: RowRef) => h('li', null, `${table} `, mono(shortId(id)));

function dependent(key: string, entry: OutboxEntry | undefined, actions: Actions): Node {
  const show = () => {
    actions.select(key);
    actions.show('outbox');
  };
  return h('li', null, button(entry ? describe(entry) : 'a transaction', show, 'link'), ' ', mono(shortKey(key)));
}

/** What a person can decide. Saying something else instead (`amend`) is the app's, which knows what it is about. */
export function decisions(entry: OutboxEntry, state: State, actions: Actions): Node {
  const { key, dependents = [] } = entry;
  const { asked, reparenting } = state;
  if (asked?.key === key) return question(entry, asked.decision === 'discard all', actions);
  if (reparenting === key) return reparent(entry, state, actions);
  const count = dependents.length;
  return h(
    'div',
    { class: 'actions' },
    button('Retry', () => actions.decide(key, 'retry'), 'main'),
    button('Reparent…', () => actions.openReparent(key)),
    count > 0 &&
      button(`Free ${count} waiting`, () => actions.decide(key, 'detach'), 'plain', {
        title: 'Their references to its rows become null',
      }),
    button('Export', () => actions.exportGroup(key)),
    button('Discard…', () => actions.decide(key, 'discard'), 'danger'),
    count > 0 && button(`Discard all ${count + 1}…`, () => actions.decide(key, 'discard all'), 'danger'),
  );
}

function question({ dependents = [] }: OutboxEntry, isAll: boolean, actions: Actions): Node {
  const count = isAll ? dependents.length + 1 : 1;
  return h(
    'div',
    { class: 'question', role: 'group', 'aria-label': 'Discard' },
    h(
      'p',
      null,
      `Give up ${plural(count, 'transaction')} for good? The view shows the rows without ${count === 1 ? 'it' : 'them'}.`,
    ),
    h(
      'div',
      { class: 'actions' },
      button(`Discard ${count}`, () => actions.confirm(), 'danger', { autofocus: true }),
      button('Keep', () => actions.cancel()),
    ),
  );
}
