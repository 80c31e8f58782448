/** What the engine tells about itself. */

import type { Problem } from './errors.js';

export interface Status {
  /**
   * `not_saving` always comes with a `reason`. `saved` has one where the server is newer: `schema_newer`, load the page again.
   *
   * Reasons that begin with `storage_` mean that this device does not save. What is made waits in memory, `saved` of it stays
   * pending, and it is saved as soon as it can be, without anybody's help: `storage_full` (no room), `storage_refused` (the browser allows this
   * page no database), `storage_blocked` (another tab keeps it from being opened), `storage_newer` (a later version of the package has
   * changed it: load the page again, once what matters has been exported), `storage_closed`, `storage_aborted` and `storage_failed`.
   */
  readonly state: 'saved' | 'saving' | 'offline' | 'not_saving';
  readonly reason: string | null;
  /** For people and tests: queued, in flight, parked, revision, as in `q3 f2 p1 r40`. */
  readonly line: string;
  readonly queued: number;
  readonly in_flight: number;
  readonly parked: number;
  readonly rev: number;
  /** How many steps of this tab can be undone, and redone. */
  readonly undo: number;
  readonly redo: number;
}

/** What this device holds as confirmed by the server; the same digest at the same revision means the same rows. */
export interface Digest {
  readonly rev: number;
  /** 32 hex digits. */
  readonly digest: string;
  readonly rows: number;
}

/** An edit that was found on this device and cannot be read. It stays there, is not sent, and nothing takes its place. */
export interface DamagedRecord {
  readonly key: string;
  /** What stands there, as text. */
  readonly record: string;
}

/** A transaction that waits. */
export interface OutboxEntry {
  readonly key: string;
  readonly state: 'saving' | 'queued' | 'waiting' | 'in_flight' | 'applied' | 'parked' | 'suspended';
  readonly edits: readonly {
    readonly op: 'create' | 'update' | 'delete' | 'restore';
    readonly table: string;
    readonly id: string;
  }[];
  /** What must be there first: keys of transactions, or rows as `table id` that no device has shown yet. */
  readonly waits_on: readonly string[];
  readonly problem: Problem | null;
  /** Of what is parked or suspended: the edits that lead back to what the server holds of its rows. */
  readonly before?: readonly {
    readonly op: 'create' | 'delete';
    readonly table: string;
    readonly id: string;
    readonly set?: object;
  }[];
  /** Of what is parked or suspended: the keys of what waits on it. */
  readonly dependents?: readonly string[];
}

export type EngineEvent =
  | { readonly event: 'loaded' }
  | { readonly event: 'saved' | 'accepted'; readonly keys: readonly string[] }
  | { readonly event: 'parked'; readonly key: string; readonly problem: Problem }
  | { readonly event: 'notice'; readonly key: string; readonly problem: Problem }
  | { readonly event: 'discarded'; readonly key: string }
  | { readonly event: 'rekeyed'; readonly from: string; readonly to: string }
  | { readonly event: 'status'; readonly status: Status }
  | { readonly event: 'error'; readonly problem: Problem };

export const OPENING: Status = {
  state: 'saving',
  reason: 'opening',
  line: 'q0 f0 p0 r0',
  queued: 0,
  in_flight: 0,
  parked: 0,
  rev: 0,
  undo: 0,
  redo: 0,
};
