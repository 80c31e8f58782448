/** Turns calls such as `tx.card.create({...})` into the edits that cross to the engine. */

import { newId } from './ids.js';
import { Increment, type NewRow, type Patch, type SchemaInput, type TableName } from './schema.js';

export interface Edit {
  readonly op: 'create' | 'update' | 'delete';
  readonly table: string;
  readonly id: string;
  readonly set?: Record<string, unknown>;
  readonly add?: Record<string, number>;
}

export interface TransactionTable<S extends SchemaInput, T extends TableName<S>> {
  /** Returns the new row's id, so that a later edit of the same transaction can refer to it. */
  create(row: NewRow<S, T>): string;
  update(id: string, patch: Patch<S, T>): void;
  delete(id: string): void;
}

export type Transaction<S extends SchemaInput> = { readonly [T in TableName<S>]: TransactionTable<S, T> };

/** Collects the edits of one transaction. */
export class Edits {
  readonly edits: Edit[] = [];
  readonly ids: string[] = [];

  create(table: string, row: object): string {
    const { id = newId(), ...set } = defined(row) as { id?: string };
    this.edits.push({ op: 'create', table, id, set });
    this.ids.push(id);
    return id;
  }

  update(table: string, id: string, patch: object): void {
    const set: Record<string, unknown> = {};
    const add: Record<string, number> = {};
    for (const [column, value] of Object.entries(defined(patch))) {
      if (value instanceof Increment) add[column] = value.by;
      else set[column] = value;
    }
    this.edits.push({ op: 'update', table, id, set, add });
  }

  delete(table: string, id: string): void {
    this.edits.push({ op: 'delete', table, id });
  }

  tables<S extends SchemaInput>(schema: S): Transaction<S> {
    const table = (name: string) => ({
      create: (row: object) => this.create(name, row),
      update: (id: string, patch: object) => this.update(name, id, patch),
      delete: (id: string) => this.delete(name, id),
    });
    return Object.fromEntries(Object.keys(schema.tables).map((name) => [name, table(name)])) as never;
  }
}

/** `undefined` means left out; `null` is a value and stays. */
function defined(row: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined));
}
