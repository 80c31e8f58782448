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

/** Collects the edits of one transaction. */
export class Edits {
  readonly edits: Edit[] = [];
  readonly ids: string[] = [];
  readonly #schema: SchemaInput;
  readonly #read: Reader;
  /** Texts as this transaction has left them. */
  readonly #typed = new Map<string, Text>();

  constructor(schema: SchemaInput, read: Reader) {
    this.#schema = schema;
    this.#read = read;
  }

  create(table: string, row: object): string {
    const { id = newId(), ...set } = defined(row) as { id?: string; [column: string]: unknown };
    this.edits.push({ op: 'create', table, id, set });
    this.ids.push(id);
    for (const [column, field] of Object.entries(this.#schema.tables[table]?.fields ?? {})) {
      if (isMerged(field)) this.#typed.set(place(table, id, column), (set[column] as Text) ?? field.default ?? null);
    }
    return id;
  }

  update(table: string, id: string, patch: object): void {
    const set: Record<string, unknown> = {};
    const add: Record<string, number> = {};
    const text: Record<string, readonly [Text, Text]> = {};
    const insert: Record<string, readonly string[]> = {};
    const remove: Record<string, readonly string[]> = {};
    const fields = this.#schema.tables[table]?.fields ?? {};
    for (const [column, value] of Object.entries(defined(patch))) {
      const field = fields[column];
      if (value instanceof Increment) add[column] = value.by;
      else if (isMerged(field)) text[column] = [this.#retype(field, table, id, column, value as Text), value as Text];
      else if (field?.type === 'set') {
        const change = value as SetChange;
        if (change.insert) insert[column] = change.insert;
        if (change.remove) remove[column] = change.remove;
      } else if (value === null && isMerged(fields[column.replace(/_conflict$/, '')]) && !field) {
        // Only what has been seen: another text may be on its way here.
        const seen = this.#read(table, id)?.[column];
        if (seen) remove[column] = seen as string[];
      } else set[column] = value;
    }
    const merges = Object.entries({ text, insert, remove }).filter(([, members]) => Object.keys(members).length > 0);
    this.edits.push({ op: 'update', table, id, set, add, ...Object.fromEntries(merges) });
  }

  /** What a text was before it was changed, here or in the view. */
  #retype(field: MergedText, table: string, id: string, column: string, value: Text): Text {
    const at = place(table, id, column);
    const was = this.#typed.has(at) ? this.#typed.get(at) : (this.#read(table, id)?.[column] as Text | undefined);
    this.#typed.set(at, value);
    return was ?? (field.nullable ? null : '');
  }

  delete(table: string, id: string): void {
    this.edits.push({ op: 'delete', table, id });
  }

  restore(table: string, row: object): void {
    const { id, ...set } = defined(row) as { id: string; [column: string]: unknown };
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

function place(table: string, id: string, column: string): string {
  return `${table} ${id} ${column}`;
}

/** `undefined` means left out; `null` is a value and stays. */
function defined(row: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined));
}
