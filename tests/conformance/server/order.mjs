// The order inside a unit: what makes a row before what refers to it, what refers to a row before what deletes it, and the
// edits of one row as they came. Where rows need each other, a reference that may be null is set once both exist.

import { Refused } from './problem.mjs';

export const keyOf = ({ table, id }) => `${table} ${id}`;

/** `steps` are `{part, edit}`; `held` tells the references of a row as it is: a list of `[column, target]`. */
export function arrange(schema, steps, held) {
  const makers = new Map();
  steps.forEach(({ edit }, i) => {
    if (edit.op === 'create' && !makers.has(keyOf(edit.row))) makers.set(keyOf(edit.row), i);
  });
  const needs = breakCycles(dependencies(schema, steps, held, makers));
  const order = depthFirst(needs);
  const place = new Map(order.map((step, at) => [step, at]));
  const slots = order.map((i) => {
    const waits = (target) => place.get(makers.get(keyOf(target))) > place.get(i);
    return split(schema, steps[i], waits);
  });
  // What waits comes right behind the last of what it waits for.
  const behind = slots.map(() => []);
  for (const { late } of slots.filter((slot) => slot.late !== undefined)) {
    const targets = [...late.edit.set.values()];
    behind[Math.max(...targets.map((target) => place.get(makers.get(keyOf(target)))))].push(late);
  }
  return slots.flatMap(({ now }, at) => [now, ...behind[at]]);
}

const columnOf = (schema, row, name) => schema.tables.get(row.table).columns.get(name);

const references = (schema, { row, set }) =>
  [...set].filter(([name, value]) => columnOf(schema, row, name).kind === 'ref' && value !== null);

/** All that a step needs before it: `{step, on, isHard}`. What is not hard gives way where needs form a cycle. */
function dependencies(schema, steps, held, makers) {
  const isHard = (row, name) => !columnOf(schema, row, name).nullable;
  const users = new Map(); // Of a row: the steps that refer to it, or whose row does.
  const all = [];
  const last = new Map();
  steps.forEach(({ edit }, step) => {
    const own = keyOf(edit.row);
    const set = references(schema, edit);
    for (const [name, target] of [...(edit.op === 'create' ? [] : held(edit.row)), ...set]) {
      if (!users.has(keyOf(target))) users.set(keyOf(target), []);
      users.get(keyOf(target)).push({ on: step, isHard: isHard(edit.row, name) });
    }
    for (const [name, target] of set) all.push({ step, on: makers.get(keyOf(target)), isHard: isHard(edit.row, name) });
    if (makers.get(own) === step) return;
    all.push({ step, on: makers.get(own), isHard: true }, { step, on: last.get(own), isHard: true });
    last.set(own, step);
  });
  steps.forEach(({ edit }, step) => {
    if (edit.op !== 'delete') return;
    const before = (users.get(keyOf(edit.row)) ?? []).filter(({ on }) => on < step || steps[on].edit.op !== 'create');
    all.push(...before.map((user) => ({ step, ...user })));
  });
  const rows = steps.map(({ edit }) => edit.row);
  return { rows, all: all.filter(({ step, on }) => on !== undefined && on !== step) };
}

/** Takes each need that closes no cycle, the hard ones first; a cycle of these has no order. */
function breakCycles({ rows, all }) {
  const needs = rows.map(() => []);
  const isBackward = ({ step, on }) => on < step;
  all.sort((a, b) => b.isHard - a.isHard || isBackward(b) - isBackward(a));
  let goesForward = false;
  for (const need of all) {
    const { step, on, isHard } = need;
    // As long as all needs lead back to earlier steps none of them closes a cycle.
    if ((isBackward(need) && !goesForward) || !reached(needs, on).has(step)) {
      needs[step].push(on);
      goesForward ||= !isBackward(need);
    } else if (isHard) {
      throw new Refused('cycle', 'these rows need each other through required references', [rows[on], rows[step]]);
    }
  }
  return needs;
}

function reached(needs, from) {
  const found = new Set([from]);
  for (const step of found) for (const on of needs[step]) found.add(on);
  return found;
}

/** Each step after what it needs, otherwise as they came. */
function depthFirst(needs) {
  const order = new Set();
  const enter = (step) => {
    for (const on of needs[step]) if (!order.has(on)) enter(on);
    order.add(step);
  };
  needs.forEach((_, step) => {
    if (!order.has(step)) enter(step);
  });
  return [...order];
}

/** A step without the references that have to wait, and a step for these. */
function split(schema, { part, edit }, waits) {
  const mayWait = ([name, target]) => waits(target) && columnOf(schema, edit.row, name).nullable;
  const waiting = references(schema, edit).filter(mayWait);
  if (waiting.length === 0) return { now: { part, edit } };
  const set = new Map([...edit.set, ...waiting.map(([name]) => [name, null])]);
  const late = { op: 'update', row: edit.row, set: new Map(waiting), add: new Map() };
  return { now: { part, edit: { ...edit, set } }, late: { part, edit: late } };
}
