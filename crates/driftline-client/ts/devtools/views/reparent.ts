/** Choosing another row for a transaction to refer to, or none. */

import type { RowRef } from '../../errors.js';
import type { OutboxEntry } from '../../status.js';
import { shortId } from '../model/format.js';
import type { Actions, State } from '../state.js';
import { h, type Node } from './dom.js';
import { button } from './pieces.js';

/** A list that can still be looked through. */
const ROWS_MAX = 200;
const TITLE_MAX = 40;

export function reparent(entry: OutboxEntry, state: State, actions: Actions): Node {
  const rows = rowsOf(entry, state);
  const cancel = button('Cancel', () => actions.openReparent(null));
  if (rows.length === 0) {
    const why = 'No row that this refers to, or that waits in the outbox, is known here: the app can amend it.';
    return h('div', { class: 'question' }, h('p', null, why), h('div', { class: 'actions' }, cancel));
  }
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const chosen = new FormData(event.currentTarget as HTMLFormElement);
    const from = rows[Number(chosen.get('from'))];
    const to = String(chosen.get('to'));
    if (!from) return;
    actions.reparent(entry.key, from, to === '' ? null : { table: from.table, id: to }, chosen.has('dependents'));
  };
  const tables = [...new Set(rows.map(({ table }) => table))];
  return h(
    'form',
    { class: 'question', on: { submit } },
    choice(
      'Instead of',
      'from',
      rows.map(({ table, id }, index) => option(String(index), `${table} ${shortId(id)}`)),
    ),
    choice('refer to', 'to', [option('', 'none (null)'), ...tables.flatMap((table) => targets(table, rows, state))]),
    h('label', { class: 'check' }, h('input', { type: 'checkbox', name: 'dependents' }), 'also in what waits for it'),
    h('div', { class: 'actions' }, h('button', { type: 'submit', class: 'button main' }, 'Reparent'), cancel),
  );
}

function choice(label: string, name: string, options: readonly Node[]): Node {
  return h('label', { class: 'choice' }, label, h('select', { name, autofocus: name === 'from' }, options));
}

const option = (value: string, text: string) => h('option', { value }, text);

/** The rows that may be referred to in vain: those that the server missed, and those that are waited for. */
function rowsOf({ problem, edits, waits_on, dependents = [] }: OutboxEntry, { waiting, tables }: State): RowRef[] {
  const awaited = [waits_on, ...dependents.map((key) => waiting.entries.get(key)?.waits_on ?? [])].flat();
  const rows = awaited
    .filter((one) => one.includes(' '))
    .map((one) => {
      const [table = '', id = ''] = one.split(' ');
      return { table, id };
    });
  const referred = edits
    .flatMap(({ table, id }) => references(tables[table]?.get(id)))
    .filter(({ table }) => table in tables);
  const made = edits.filter(({ op }) => op === 'create').map(({ table, id }) => ({ table, id }));
  const all = [...(problem?.rows ?? []), ...rows, ...referred, ...(dependents.length > 0 ? made : [])];
  return [...new Map(all.map((row) => [`${row.table} ${row.id}`, row])).values()];
}

/** References to one of several tables name theirs; those to one table are ids, which nothing tells from texts. */
function references(row: object | undefined): RowRef[] {
  return Object.values(row ?? {}).flatMap((value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return [];
    const [entry, ...others] = Object.entries(value);
    return entry && others.length === 0 && typeof entry[1] === 'string' ? [{ table: entry[0], id: entry[1] }] : [];
  });
}

function targets(table: string, but: readonly RowRef[], { tables }: State): Node[] {
  const rows = tables[table]?.query() ?? [];
  const others = rows.filter(({ id }) => !but.some((row) => row.id === id)).slice(0, ROWS_MAX);
  return others.map((row) => {
    const title = Object.entries(row).find(
      ([name, value]) => name !== 'id' && typeof value === 'string' && value !== '',
    )?.[1];
    return option(
      row.id,
      [table, shortId(row.id), title ? `“${String(title).slice(0, TITLE_MAX)}”` : ''].filter(Boolean).join(' '),
    );
  });
}
