/**
 * The inspector: `driftline/devtools`.
 *
 * Shows what a space does with what is made in it: the outbox as a graph, why each transaction waits, its requests, what is stored, and what
 * happens when the network fails. It costs nothing until it is called.
 */

import type { Db } from './db.js';
import type { AnyDb } from './devtools/db.js';
import { Inspector } from './devtools/inspector.js';
import { mount } from './devtools/mount.js';
import { NO_FAULTS } from './devtools/network/faults.js';
import { listSpaces } from './index.js';
import type { SchemaInput } from './schema.js';

/** What another page says that it has on its screen. */
export interface SeenBy {
  readonly name: string;
  /** Its `status.rev`. */
  readonly rev: number;
}

export interface InspectorOptions {
  /** Opens the space again with `trace`. Where it is given, the inspector offers that. */
  readonly keepTrace?: () => void;
}

/** Watches a space, shown or not, until `stop` or until the space is closed. */
export interface Inspection {
  /** What is simulated, in a few words; empty where nothing is. */
  readonly simulated: string;
  /** Calls the listener when something else is simulated, or nothing any more. */
  readonly onSimulated: (listener: () => void) => () => void;
  readonly stopSimulating: () => void;
  /**
   * To be told who else has the space open, and up to which revision (`status.rev`) each has it on the screen, whenever that changes: it then
   * stands in what has become of a transaction. Pages say it of themselves, as by `driftline/presence`.
   */
  readonly seen: (others: readonly SeenBy[]) => void;
  /** Draws the inspector into an element, apart from the page's styles. The function that it returns takes it away, and ends nothing else. */
  readonly mount: (element: HTMLElement) => () => void;
  /** Ends all of it, and what is simulated. */
  readonly stop: () => void;
}

/** For an inspector that goes on while it is not shown: what it has seen stays, and so does what it simulates. */
export function inspect<S extends SchemaInput>(db: Db<S>, options: InspectorOptions = {}): Inspection {
  const inspector = new Inspector(db as unknown as AnyDb, listSpaces, options.keepTrace);
  return {
    get simulated() {
      return inspector.simulated;
    },
    onSimulated: (listener) => inspector.onSimulated(listener),
    seen: (others) => inspector.seen(others),
    stopSimulating: () => inspector.simulate(NO_FAULTS),
    mount: (element) => mount(element, inspector),
    stop: () => inspector.stop(),
  };
}

/**
 * Draws the inspector into an element, apart from the page's styles. The function that it returns takes all of it away, and ends what is
 * simulated. In one element there is one inspector at a time.
 */
export function mountInspector<S extends SchemaInput>(
  element: HTMLElement,
  db: Db<S>,
  options: InspectorOptions = {},
): () => void {
  const { mount, stop } = inspect(db, options);
  const unmount = mount(element);
  return () => {
    stop();
    unmount();
  };
}
