/** All that is shown, as the views read it, and all that can be done, as they call it. */

import type { RowRef } from '../errors.js';
import type { OutboxEntry } from '../status.js';
import type { AnyDb, Place } from './db.js';
import type { Device } from './device.js';
import type { Graph } from './model/graph.js';
import type { Track } from './model/history.js';
import type { Seen as Waiting } from './model/why.js';
import type { Faults } from './network/faults.js';
import type { Seen as Request } from './network/requests.js';

export type Tab = 'outbox' | 'held' | 'requests' | 'device' | 'simulate' | 'trace';

export type Decision = 'retry' | 'detach' | 'discard' | 'discard all' | 'reparent';

export interface State {
  readonly place: Place;
  readonly tables: AnyDb['tables'];
  readonly isClosed: boolean;
  readonly tab: Tab;
  readonly tabs: readonly Tab[];
  readonly waiting: Waiting;
  readonly outbox: readonly OutboxEntry[];
  readonly graph: Graph;
  readonly selected: Track | undefined;
  readonly recent: readonly Track[];
  readonly requests: readonly Request[];
  readonly faults: Faults;
  readonly device: Device | null;
  /** Whether the space was opened with `trace`. */
  readonly isTraced: boolean;
  /** Whether the app offers to open it so. */
  readonly canKeepTrace: boolean;
  /** The discard that is asked about. */
  readonly asked: { readonly key: string; readonly decision: Decision } | null;
  readonly reparenting: string | null;
  /** What could not be done, or was. */
  readonly notice: string | null;
}

export interface Actions {
  show(tab: Tab): void;
  select(key: string | null): void;
  /** Asks first where it cannot be taken back. */
  decide(key: string, decision: Decision): void;
  confirm(): void;
  cancel(): void;
  openReparent(key: string | null): void;
  reparent(key: string, from: RowRef, to: RowRef | null, dependents: boolean): void;
  exportGroup(key: string): void;
  simulate(faults: Partial<Faults>): void;
  measure(): void;
  keepTrace(): void;
  downloadTrace(): void;
  copyTrace(): void;
}
