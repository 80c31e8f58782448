/** Turns calls such as `tx.card.create({...})` into the edits that cross to the engine. */

import { newId } from './ids.js';
import type { AnyRow } from './rows.js';
import {
  type FieldInput,
  Increment,
  type NewRow,
  type Patch,
  type SchemaInput,
  type SetChange,
  type TableName,
} from './schema.js';

export interface Edit {
  readonly op: 'create' | 'update' | 'delete' | 'restore';
  readonly table: string;
  readonly id: string;
  readonly set?: Record<string, unknown>;
  readonly add?: Record<string, number>;
  /** What a text was, and what it is to be. */
  readonly text?: Record<string, readonly [Text, Text]>;
  readonly insert?: Record<string, readonly string[]>;
  readonly remove?: Record<string, readonly string[]>;
}

type Text = string | null;
type Part = 'set' | 'add' | 'text' | 'insert' | 'remove';

/** How rows look before the transaction. */
export type Reader = (table: string, id: string) => AnyRow | undefined;

export interface TransactionTable<S extends SchemaInput, T extends TableName<S>> {
  /** Returns the new row's id, so that a later edit of the same transaction can refer to it. */
  create(row: NewRow<S, T>): string;
  update(id: string, patch: Patch<S, T>): void;
  delete(id: string): void;
  /** Makes a deleted row again under its id; where the row is there, nothing changes. */
  restore(row: NewRow<S, T> & { readonly id: string }): void;
}

export type Transaction<S extends SchemaInput> = { readonly [T in TableName<S>]: TransactionTable<S, T> };

/** Collects the edits of one transaction. A column that is `undefined` is left out, as JSON does. */
export class Edits {
  readonly edits: Edit[] = [];
  readonly ids: string[] = [];
  readonly #schema: SchemaInput;
  readonly #read: Reader;
  /** Rows that this transaction creates, and texts as it has left them. */
  readonly #made = new Map<string, { readonly [column: string]: unknown }>();
  readonly #typed = new Map<string, Text>();

  constructor(schema: SchemaInput, read: Reader) {
    this.#schema = schema;
    this.#read = read;
  }

  create(table: string, row: object): string {
    const { id = newId(), ...set } = row as { id?: string; [column: string]: unknown };
    this.edits.push({ op: 'create', table, id, set });
    this.ids.push(id);
    this.#made.set(`${table} ${id}`, set);
    return id;
  }

  update(table: string, id: string, patch: object): void {
    const parts: { [part in Part]?: Record<string, unknown> } = {};
    const put = (part: Part, column: string, value: unknown) => {
      parts[part] ??= {};
      parts[part][column] = value;
    };
    const fields = this.#schema.tables[table]?.fields ?? {};
    for (const [column, value] of Object.entries(patch)) {
      const field = fields[column];
      if (value === undefined) continue;
      if (value instanceof Increment) put('add', column, value.by);
      else if (isMerged(field)) put('text', column, [this.#retype(field, table, id, column, value), value]);
      else if (field?.type === 'set') {
        const change = value as SetChange;
        if (change.insert) put('insert', column, change.insert);
        if (change.remove) put('remove', column, change.remove);
      } else if (value === null && isMerged(fields[column.replace(/_conflict$/, '')]) && !field) {
        // Only what has been seen: another text may be on its way here.
        const seen = this.#read(table, id)?.[column];
        if (seen) put('remove', column, seen);
      } else put('set', column, value);
    }
    this.edits.push({ op: 'update', table, id, ...parts } as Edit);
  }

  /** What a text was before it was changed, here or in the view. */
  #retype(field: MergedText, table: string, id: string, column: string, value: Text): Text {
    const row = `${table} ${id}`;
    const at = `${row} ${column}`;
    const none = field.nullable ? null : '';
    let was = this.#typed.get(at);
    if (was === undefined) {
      const made = this.#made.get(row);
      was = ((made ? (made[column] ?? field.default) : this.#read(table, id)?.[column]) as Text | undefined) ?? none;
    }
    this.#typed.set(at, value);
    return was ?? none;
  }

  delete(table: string, id: string): void {
    this.edits.push({ op: 'delete', table, id });
  }

  restore(table: string, row: object): void {
    const { id, ...set } = row as { id: string; [column: string]: unknown };
    this.edits.push({ op: 'restore', table, id, set });
  }

  tables<S extends SchemaInput>(schema: S): Transaction<S> {
    const table = (name: string) => ({
      create: (row: object) => this.create(name, row),
      update: (id: string, patch: object) => this.update(name, id, patch),
      delete: (id: string) => this.delete(name, id),
      restore: (row: object) => this.restore(name, row),
    });
    return Object.fromEntries(Object.keys(schema.tables).map((name) => [name, table(name)])) as never;
  }
}

type MergedText = Extract<FieldInput, { type: 'text' }>;

function isMerged(field: FieldInput | undefined): field is MergedText {
  return field?.type === 'text' && field.merge === 'three_way';
}
