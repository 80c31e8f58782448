/** Making a transaction that is held back say something else: what of it can be written anew, and the decision. */

import { increment, type OutboxEntry, type RowRef } from 'driftline';
import { schema } from '../schema.js';
import type { Database } from '../space.js';

/** What people write, by the name of its column; where things are and how they hang together is the canvas's. */
const NAMES: Readonly<Record<string, string>> = {
  text: 'Text',
  name: 'Name',
  label: 'Label',
  url: 'Address',
  file: 'File',
  color: 'Colour',
  x: 'From the left',
  y: 'From the top',
  width: 'Width',
  height: 'Height',
};

/** An edit as it is sent, as far as it can be said again. */
interface Edit extends RowRef {
  readonly op: OutboxEntry['edits'][number]['op'];
  readonly set?: Readonly<Record<string, unknown>>;
  readonly add?: Readonly<Record<string, number>>;
}

export interface Value {
  readonly row: RowRef;
  /** Which edit of the transaction sets it. */
  readonly edit: number;
  readonly column: string;
  readonly name: string;
  readonly now: string | number;
}

export interface Draft {
  readonly key: string;
  readonly edits: readonly Edit[];
  readonly values: readonly Value[];
}

const MEMBERS: ReadonlySet<string> = new Set(['op', 'table', 'id', 'set', 'add']);

/** `undefined` where nothing in it can be written anew. */
export function draftOf(db: Database, key: string): Draft | undefined {
  const edits = editsOf(db, key);
  const isKnown = edits.every((edit) => Object.keys(edit).every((member) => MEMBERS.has(member)));
  const values = edits.flatMap(valuesOf);
  return isKnown && values.length > 0 ? { key, edits, values } : undefined;
}

/** None where it was made by another version of the app, or waits no longer. */
function editsOf(db: Database, key: string): readonly Edit[] {
  try {
    const { version, transactions } = JSON.parse(db.export(key));
    const [{ body }] = transactions;
    return body.schema === version ? body.edits : [];
  } catch {
    return [];
  }
}

function valuesOf({ table, id, set = {} }: Edit, edit: number): Value[] {
  const { fields = {} } = (schema.tables as Readonly<Record<string, { fields?: object }>>)[table] ?? {};
  return Object.entries(set).flatMap(([column, now]) => {
    const name = column in fields ? NAMES[column] : undefined;
    const isWritten = typeof now === 'string' || typeof now === 'number';
    return name !== undefined && isWritten ? { row: { table, id }, edit, column, name, now } : [];
  });
}

/** Has it say these values instead, in the order of the draft's. Throws where they are refused. */
export function amend(db: Database, { key, edits, values }: Draft, instead: readonly (string | number)[]): void {
  const changed = edits.map((edit, index) => {
    const own = values.flatMap((value, at) => (value.edit === index ? [[value.column, instead[at]]] : []));
    return { ...edit, set: { ...edit.set, ...Object.fromEntries(own) } };
  });
  db.amend(key, (tx) => {
    for (const { op, table, id, set, add = {} } of changed) {
      const rows = tx[table as 'card'];
      const added = Object.entries(add).map(([column, by]) => [column, increment(by)]);
      if (op === 'delete') rows.delete(id);
      else if (op === 'update') rows.update(id, { ...set, ...Object.fromEntries(added) });
      else rows[op]({ ...set, id } as never);
    }
  });
}
