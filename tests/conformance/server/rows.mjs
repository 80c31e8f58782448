// The rows of a space, and how an edit takes effect on them.

import { digest, rowHash } from './digest.mjs';
import { keyOf } from './order.mjs';
import { problem, Refused } from './problem.mjs';
import { INT_MAX, writeValue } from './schema.mjs';

const BLOCKERS_SHOWN = 10;

/** Stamps are `[ms, count, client, seq]`; client ids compare as they are numbers. */
function isBefore(a, b) {
  const at = a.findIndex((part, i) => part !== b[i]);
  return at >= 0 && a[at] < b[at];
}

export class Rows {
  constructor(schema, faults) {
    Object.assign(this, { schema, faults });
    this.byKey = new Map(); // {table, id, values, created, stamps}
    this.referrers = new Map(); // Of a row: keys of those that refer to it.
    this.deleted = new Set();
    this.undo = [];
  }

  get digest() {
    const rows = [...this.byKey.values()];
    // A row is never altered, so its hash is worked out once, and only if somebody asks.
    for (const row of rows) row.hash ??= rowHash(this.schema, row);
    return digest(this.faults.has('wrong_digest') ? [] : rows.map(({ hash }) => hash));
  }

  get(row) {
    return this.byKey.get(keyOf(row));
  }

  /** `[column, target]` of each reference that a row holds. */
  references(row) {
    const held = this.get(row);
    if (held === undefined) return [];
    return [...this.columns(row).values()]
      .filter(({ name, kind }) => kind === 'ref' && held.values.get(name) !== null)
      .map(({ name }) => [name, held.values.get(name)]);
  }

  columns({ table }) {
    return this.schema.tables.get(table).columns;
  }

  /** Puts a row in the place of what is under its key, or takes that away; `rollBack` can undo it. */
  put(row, next) {
    const before = this.get(row);
    const wasDeleted = this.deleted.has(keyOf(row));
    this.undo.push(() => this.swap(row, before, wasDeleted));
    this.swap(row, next, wasDeleted || next === undefined);
  }

  swap(row, next, isDeleted) {
    const key = keyOf(row);
    for (const [, target] of this.references(row)) this.referrers.get(keyOf(target))?.delete(key);
    if (next === undefined) this.byKey.delete(key);
    else this.byKey.set(key, next);
    for (const [, target] of this.references(row)) {
      if (!this.referrers.has(keyOf(target))) this.referrers.set(keyOf(target), new Set());
      this.referrers.get(keyOf(target)).add(key);
    }
    if (isDeleted) this.deleted.add(key);
    else this.deleted.delete(key);
  }

  /** Applies steps that stand in order: `{changes, notices}`. Where one is refused none has an effect; `error.part` says which. */
  apply(steps, stamps) {
    const effect = { changes: [], notices: [] };
    this.undo = [];
    for (const { part, edit } of steps) {
      try {
        this[edit.op](edit, stamps[part], effect, part);
      } catch (error) {
        if (!this.faults.has('half_a_unit')) this.rollBack();
        throw Object.assign(error, { part });
      }
    }
    return effect;
  }

  rollBack() {
    while (this.undo.length > 0) this.undo.pop()();
  }

  create({ row, set }, stamp, effect) {
    if (this.get(row) !== undefined) throw new Refused('row_exists', 'a row with this id is there already', [row]);
    if (this.deleted.has(keyOf(row))) throw new Refused('row_deleted', 'a row with this id was deleted', [row]);
    this.needParents(row, set);
    this.hold(row, set, stamp, new Map());
    effect.changes.push(this.change('create', row, [...this.columns(row).keys()]));
  }

  update({ row, set, add }, stamp, effect, part) {
    const before = this.get(row);
    if (before === undefined) {
      effect.notices.push({ part, notice: this.updateOfNothing(row) });
      return;
    }
    this.needParents(row, set);
    const values = new Map(before.values);
    const stamps = new Map(before.stamps);
    const written = [];
    let isOlder = false;
    for (const [name, value] of set) {
      // References follow the order in which edits take effect, and not their stamps.
      const isReference = this.columns(row).get(name).kind === 'ref';
      const last = stamps.get(name) ?? before.created;
      if (!isReference && isBefore(stamp, last) && !this.faults.has('last_to_come_wins')) {
        isOlder ||= isBefore(stamp, before.created);
        continue;
      }
      if (!isReference) stamps.set(name, stamp);
      values.set(name, value);
      written.push(name);
    }
    for (const [name, by] of add) {
      values.set(name, Math.max(-INT_MAX, Math.min(INT_MAX, values.get(name) + by)));
      written.push(name);
    }
    if (isOlder) {
      const notice = problem('row_newer', 'the row was made after this was written: it keeps its values', [row]);
      effect.notices.push({ part, notice });
    }
    this.hold(row, values, before.created, stamps);
    if (written.length > 0) effect.changes.push(this.change('update', row, written));
  }

  hold(row, set, created, stamps) {
    const values = new Map([...this.columns(row).keys()].map((name) => [name, set.get(name)]));
    this.put(row, { ...row, values, created, stamps });
  }

  /** What becomes of an update of a row that is not there: a refusal, or a notice. */
  updateOfNothing(row) {
    if (!this.deleted.has(keyOf(row))) throw new Refused('row_unknown', 'there is no such row', [row]);
    const detail = 'the row was deleted by someone else';
    if (this.schema.tables.get(row.table).policy === 'park') throw new Refused('row_deleted', detail, [row]);
    return problem('row_deleted', detail, [row]);
  }

  needParents(row, set) {
    const targets = [...set.values()].filter((value) => value?.table !== undefined && keyOf(value) !== keyOf(row));
    const missing = targets.filter((target) => this.get(target) === undefined);
    if (missing.length > 0 && !this.faults.has('takes_orphans')) {
      throw new Refused('missing_parent', 'a row that this refers to is not there', missing);
    }
  }

  delete({ row }, _stamp, effect) {
    if (this.get(row) === undefined) return;
    const { doomed, nulled } = this.whatFollows(row);
    for (const [child, name] of nulled) {
      const held = this.get(child);
      this.hold(child, new Map(held.values).set(name, null), held.created, held.stamps);
      effect.changes.push(this.change('update', child, [name]));
    }
    for (const going of doomed.reverse()) {
      const isTold = going === doomed.at(-1) || !this.faults.has('hides_cascades');
      if (isTold) effect.changes.push({ op: 'delete', table: going.table, id: going.id });
      this.put(going, undefined);
    }
  }

  /** All that a delete takes with it, parents first, and the references that become null. */
  whatFollows(root) {
    const doomed = new Map([[keyOf(root), this.get(root)]]);
    const nulled = [];
    const blockers = [];
    for (const parent of doomed.values()) {
      for (const key of this.referrers.get(keyOf(parent)) ?? []) {
        const child = this.byKey.get(key);
        for (const [name, target] of this.references(child)) {
          if (keyOf(target) !== keyOf(parent)) continue;
          const { onDelete } = this.columns(child).get(name);
          if (onDelete === 'restrict') blockers.push(child);
          else if (onDelete === 'set_null') nulled.push([child, name]);
          else if (!this.faults.has('leaves_orphans')) doomed.set(key, child);
        }
      }
    }
    const stays = (child) => !doomed.has(keyOf(child));
    const staying = blockers.filter(stays).slice(0, BLOCKERS_SHOWN);
    if (staying.length > 0) throw new Refused('restricted', 'other rows still refer to this row', staying);
    return { doomed: [...doomed.values()], nulled: nulled.filter(([child]) => stays(child)) };
  }

  /** A change as the log has it, with final values. */
  change(op, row, names) {
    const { values } = this.get(row);
    const columns = this.columns(row);
    const set = Object.fromEntries(names.map((name) => [name, writeValue(columns.get(name), values.get(name))]));
    return { op, table: row.table, id: row.id, set };
  }
}
