/** What the tests of the React bindings stand on: an open space whose engine does what the test says, and a renderer without a page. */

import { type FunctionComponent, memo } from 'react';
import { act, create, type ReactTestRenderer } from 'react-test-renderer';
import { Db } from '../db.js';
import type { Engine } from '../engine.js';
import { defineSchema, type Row } from '../schema.js';
import type { OutboxEntry, Status } from '../status.js';

export const schema = defineSchema({
  name: 's',
  version: 1,
  tables: {
    card: { fields: { name: { type: 'text', default: '' }, x: { type: 'real', default: 0 } } },
    line: { references: { from: { to: ['card'], on_delete: 'cascade' } } },
  },
});
export type S = typeof schema;
export type Card = Row<S, 'card'>;

const SAVED: Status = {
  state: 'saved',
  reason: null,
  line: 'q0 f0 p0 r0',
  queued: 0,
  in_flight: 0,
  parked: 0,
  rev: 0,
  undo: 0,
  redo: 0,
};

/** An open space. `patch` brings rows as from the server, `listeners` counts who listens. */
export async function openSpace() {
  let onPatch!: (json: string) => void;
  let onEvent!: (json: string) => void;
  const space = { outbox: [] as OutboxEntry[], decisions: [] as unknown[], reads: 0, listeners: 0 };
  const engine = {
    status: () => SAVED,
    outbox: () => {
      space.reads += 1;
      return JSON.stringify(space.outbox);
    },
    decide: (json: string) => {
      space.decisions.push(JSON.parse(json));
      return '{}';
    },
    close: async () => true,
    free: () => {},
  } as unknown as Engine;
  const start = async (patch: (json: string) => void, event: (json: string) => void) => {
    onPatch = patch;
    onEvent = event;
    return engine;
  };
  const db = await Db.over(schema, start, {
    app: 's',
    user: 'u',
    space: 'a',
    url: 'http://h',
    identity: '',
    release: () => {},
  });
  count(space, db.tables.card, 'subscribe');
  count(space, db.tables.line, 'subscribe');
  count(space, db, 'onStatus');
  return Object.assign(space, {
    db,
    patch: (...rows: unknown[]) => onPatch(JSON.stringify(rows)),
    say: (status: Partial<Status>) => {
      onEvent(JSON.stringify({ event: 'status', status: { ...SAVED, ...status } }));
    },
  });
}

/** Has a method that adds a listener counted, and its return value, too. */
function count(space: { listeners: number }, owner: object, method: string): void {
  const object = owner as { [method: string]: (...args: unknown[]) => () => void };
  const subscribe = object[method]?.bind(owner);
  object[method] = (...args) => {
    const stop = subscribe?.(...args);
    space.listeners += 1;
    return () => {
      space.listeners -= 1;
      stop?.();
    };
  };
}

export const card = (id: string, name: string, x = 0) => ['card', id, { name, x }, 1];
export const gone = (id: string) => ['card', id, null];

/** A component that shows nothing, renders again for what its hooks tell alone, and notes what they returned at each render. */
export function probe<Props extends object, Value>(hook: (props: Props) => Value) {
  const values: Value[] = [];
  const component: FunctionComponent<Props> = memo((props: Props) => {
    values.push(hook(props));
    return null;
  });
  return { component, values };
}

/** Does something, and waits until all that follows from it has been rendered. */
export async function settle(work: () => void): Promise<void> {
  await act(async () => work());
}

export async function render(element: React.ReactElement): Promise<ReactTestRenderer> {
  let renderer!: ReactTestRenderer;
  await settle(() => {
    renderer = create(element);
  });
  return renderer;
}

// What React complains of is a failure; that its renderer for tests is to be replaced one day is not.
const complain = console.error;
console.error = (...args: unknown[]) => {
  if (String(args[0]).includes('react-test-renderer is deprecated')) return;
  complain(...args);
  throw new Error(`React complained: ${args.join(' ')}`);
};
Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });
