/**
 * The rows of the open space, kept on this side of the wasm boundary so that reads never cross it.
 *
 * The engine hands over patches; listeners hear of them once per flush, however many patches a task brings.
 */

export type AnyRow = { readonly id: string; readonly [column: string]: unknown };

/** `[table, id, null]`: the row is gone. Else its columns: all of them if the last member is 1, or those that changed. */
export type RowPatch = readonly [string, string, null] | readonly [string, string, Record<string, unknown>, 0 | 1];

export type ChangedIds = ReadonlySet<string>;
export type ChangedRows = ReadonlyMap<string, ChangedIds>;
export type Unsubscribe = () => void;

interface TableRows {
  readonly rows: Map<string, AnyRow>;
  readonly listeners: Set<(ids: ChangedIds) => void>;
  readonly hasty: Set<(ids: ChangedIds) => void>;
}

export class RowStore {
  readonly #tables = new Map<string, TableRows>();
  readonly #listeners = new Set<(changed: ChangedRows) => void>();
  #changed = new Map<string, Set<string>>();
  /** Whether those who are in haste know all of that. */
  #isHeard = false;

  constructor(tables: Iterable<string>) {
    for (const table of tables) {
      this.#tables.set(table, { rows: new Map(), listeners: new Set(), hasty: new Set() });
    }
  }

  rows(table: string): ReadonlyMap<string, AnyRow> {
    return this.#table(table).rows;
  }

  /** Takes effect at once; listeners hear of it when the running task is done. */
  apply(patches: readonly RowPatch[]): void {
    for (const [table, id, columns, full] of patches) {
      const { rows } = this.#table(table);
      if (columns === null) {
        if (!rows.delete(id)) continue;
      } else {
        // A new object for each change lets `===` tell whether a row changed. What the patch brought is new.
        rows.set(id, Object.assign(full ? columns : { ...rows.get(id), ...columns }, { id }));
      }
      this.#isHeard = false;
      if (this.#changed.size === 0) queueMicrotask(() => this.#flush());
      const ids = this.#changed.get(table);
      if (ids) ids.add(id);
      else this.#changed.set(table, new Set([id]));
    }
  }

  /**
   * The same for what this tab itself does. The first time in a task those who are in haste hear of it at once: an input that shows a row has
   * to have been rendered when the event of its key ends. What comes after that in the task they hear of at its end, like everybody.
   */
  applyOwn(patches: readonly RowPatch[]): void {
    const isFirst = this.#changed.size === 0;
    this.apply(patches);
    if (!isFirst) return;
    this.#isHeard = true;
    for (const [table, ids] of this.#changed) notify(this.#table(table).hasty, ids);
  }

  subscribe(table: string, listener: (ids: ChangedIds) => void, isHasty?: boolean): Unsubscribe {
    const { hasty, listeners } = this.#table(table);
    return add(isHasty ? hasty : listeners, listener);
  }

  subscribeAll(listener: (changed: ChangedRows) => void): Unsubscribe {
    return add(this.#listeners, listener);
  }

  #table(name: string): TableRows {
    const table = this.#tables.get(name);
    if (!table) throw new TypeError(`the schema has no table \`${name}\``);
    return table;
  }

  #flush(): void {
    const [changed, isHeard] = [this.#changed, this.#isHeard];
    this.#changed = new Map();
    for (const [name, ids] of changed) {
      const table = this.#table(name);
      if (!isHeard) notify(table.hasty, ids);
      notify(table.listeners, ids);
    }
    notify(this.#listeners, changed);
  }
}

export function add<T>(listeners: Set<(value: T) => void>, listener: (value: T) => void): Unsubscribe {
  // Wrapped, so that one function subscribed twice is called twice and removed one at a time.
  const entry = (value: T) => listener(value);
  listeners.add(entry);
  return () => void listeners.delete(entry);
}

/** Calls each listener; one that throws is reported and does not keep the others from hearing. */
export function notify<T>(listeners: ReadonlySet<(value: T) => void>, value: T): void {
  for (const listener of [...listeners]) {
    try {
      listener(value);
    } catch (error) {
      reportError(error);
    }
  }
}
