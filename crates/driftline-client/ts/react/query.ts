/** A query as an external store of React: its result is the same array as long as no row of it changed, came or went. */

import type { ChangedIds, Unsubscribe } from '../rows.js';

/** What is read of a table; `Table` has it. */
export interface Readable<R> {
  get(id: string): R | undefined;
  query(predicate?: (row: R) => boolean): readonly R[];
  subscribe(listener: (ids: ChangedIds) => void, isHasty: true): Unsubscribe;
}

/** The last result, kept by a component while its predicate changes. */
export interface Kept<R> {
  rows: readonly R[];
}

export class Query<R extends { readonly id: string }> {
  readonly #table: Readable<R>;
  readonly #predicate: ((row: R) => boolean) | undefined;
  readonly #kept: Kept<R>;
  #wasRead = false;

  constructor(table: Readable<R>, predicate: ((row: R) => boolean) | undefined, kept: Kept<R>) {
    this.#table = table;
    this.#predicate = predicate;
    this.#kept = kept;
  }

  // Rows change before listeners hear of it. A read goes through the table, so that it never lags behind `useRow`.
  readonly read = (): readonly R[] => {
    this.#wasRead = true;
    const rows = this.#table.query(this.#predicate);
    if (!haveSameItems(rows, this.#kept.rows)) this.#kept.rows = rows;
    return this.#kept.rows;
  };

  readonly subscribe = (changed: () => void): Unsubscribe => {
    const found = new Set(this.#table.query(this.#predicate).map((row) => row.id));
    const hear = (ids: ChangedIds) => {
      // Since a read the component may show rows that neither were in the result at the last call, nor are now.
      let concerns = this.#wasRead;
      for (const id of ids) {
        const was = found.delete(id);
        const is = this.#holds(id);
        if (is) found.add(id);
        concerns ||= was || is;
      }
      if (concerns) changed();
      this.#wasRead = false;
    };
    return this.#table.subscribe(hear, true);
  };

  #holds(id: string): boolean {
    const row = this.#table.get(id);
    return row !== undefined && (this.#predicate?.(row) ?? true);
  }
}

export function haveSameItems<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}
