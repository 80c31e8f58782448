/**
 * Keeps the elements of Excalidraw and the rows of a table the same, both ways.
 *
 * For each element it holds what both sides last agreed on. A side that says something else has changed, and only the columns that it
 * changed go over to the other side. What comes back from there is what was agreed on, so nothing goes round in circles; and where both
 * sides change at once, each column goes its own way.
 */

import { CaptureUpdateAction, isInvisiblySmallElement, newElementWith } from '@excalidraw/excalidraw';
import type { ExcalidrawImperativeAPI } from '@excalidraw/excalidraw/types';
import type { Db, Transaction } from 'driftline';
import { byPlace, type Columns, columnsOf, differences, type Element, newElement, propertiesOf } from './columns.js';
import type { schema } from './schema.js';

export type Space = Db<typeof schema>;

interface Agreed {
  readonly columns: Columns;
  /** Excalidraw's count of changes to the element: as long as it is the same, there is nothing to compare. */
  readonly version: number;
}

export class Mirror {
  readonly #db: Space;
  readonly #api: ExcalidrawImperativeAPI;
  readonly #agreed = new Map<string, Agreed>();
  /** The rows of elements, also of deleted ones: an undo brings these back under their ids. */
  readonly #rowOf = new Map<string, string>();
  readonly #elementOf = new Map<string, string>();
  readonly #stops: (() => void)[] = [];
  #isStarted = false;

  constructor(db: Space, api: ExcalidrawImperativeAPI) {
    this.#db = db;
    this.#api = api;
    this.#stops.push(api.onChange((elements) => this.#changed(elements as readonly Element[])));
    if (!api.getAppState().isLoading) this.#start();
  }

  stop(): void {
    for (const stop of this.#stops) stop();
  }

  /** Not before Excalidraw has loaded: it replaces all elements then. */
  #start(): void {
    this.#isStarted = true;
    const { element } = this.#db.tables;
    this.#stops.push(element.subscribe((ids) => this.#toScene(ids)));
    this.#toScene(element.query().map((row) => row.id));
  }

  #changed(elements: readonly Element[]): void {
    // Excalidraw tells of changes once it has loaded.
    if (this.#isStarted) this.#toRows(elements);
    else this.#start();
  }

  // ---- From Excalidraw to the rows ----

  #toRows(elements: readonly Element[]): void {
    const edits: ((tx: Transaction<typeof schema>) => void)[] = [];
    const gone = new Set(this.#agreed.keys());
    for (const element of elements) {
      if (!element.isDeleted) gone.delete(element.id);
      const edit = element.isDeleted ? undefined : this.#editOf(element);
      if (edit) edits.push(edit);
    }
    for (const id of gone) {
      this.#agreed.delete(id);
      const row = this.#rowOf.get(id) ?? '';
      if (this.#db.tables.element.get(row)) edits.push((tx) => tx.element.delete(row));
    }
    if (edits.length === 0) return;
    this.#db.transaction((tx) => {
      for (const edit of edits) edit(tx);
    });
  }

  #editOf(element: Element): ((tx: Transaction<typeof schema>) => void) | undefined {
    const { id, version } = element;
    const agreed = this.#agreed.get(id);
    if (agreed?.version === version) return undefined;
    if (!agreed && isInvisiblySmallElement(element)) return undefined;
    const columns = columnsOf(element);
    const row = this.#rowOf.get(id);
    // Somebody has just deleted it: the scene will hear of that.
    if (agreed && row && !this.#db.tables.element.get(row)) return undefined;
    const changed = agreed && differences(columns, agreed.columns);
    this.#agreed.set(id, { columns, version });
    if (agreed) return changed && row ? (tx) => tx.element.update(row, changed) : undefined;
    if (row) return (tx) => tx.element.restore({ id: row, element_id: id, ...columns });
    return (tx) => this.#pair(id, tx.element.create({ element_id: id, ...columns }));
  }

  // ---- From the rows to Excalidraw ----

  #toScene(rows: Iterable<string>): void {
    const elements = new Map(this.#api.getSceneElementsIncludingDeleted().map((one) => [one.id, one as Element]));
    let isChanged = false;
    for (const id of rows) {
      const element = this.#elementFor(id, elements);
      if (!element) continue;
      elements.set(element.id, element);
      isChanged = true;
    }
    if (!isChanged) return;
    const inOrder = [...elements.values()].sort(byPlace);
    // What others do is not for Excalidraw's undo to take back.
    this.#api.updateScene({ elements: inOrder, captureUpdate: CaptureUpdateAction.NEVER });
  }

  /** What the element of a row is to become; `undefined` where it is that already. */
  #elementFor(rowId: string, elements: ReadonlyMap<string, Element>): Element | undefined {
    const row = this.#db.tables.element.get(rowId);
    const id = row?.element_id ?? this.#elementOf.get(rowId) ?? '';
    const before = elements.get(id);
    const agreed = this.#agreed.get(id);
    if (!row) {
      this.#agreed.delete(id);
      return agreed && before ? newElementWith(before, { isDeleted: true }) : undefined;
    }
    this.#pair(id, rowId);
    const { place, x, y, rest } = row;
    const columns = { place, x, y, rest };
    const changed = agreed ? differences(columns, agreed.columns) : columns;
    if (!changed) return undefined;
    const properties = { ...propertiesOf(changed), isDeleted: false } as object;
    const element = before ? newElementWith(before, properties) : newElement(id, columns);
    // A change of this side that has not gone over yet is still to be found.
    const isPending = agreed && before && before.version !== agreed.version;
    this.#agreed.set(id, { columns, version: isPending ? agreed.version : element.version });
    return element;
  }

  #pair(element: string, row: string): void {
    this.#rowOf.set(element, row);
    this.#elementOf.set(row, element);
  }
}
