/** What the inspector asks of a space, whatever its schema. */

import type { Db } from '../db.js';
import type { RowRef } from '../errors.js';
import type { SpaceInfo } from '../spaces.js';
import type { Status } from '../status.js';

type Same = 'trace' | 'outbox' | 'retry' | 'discard' | 'detach' | 'export' | 'setOnline';

interface AnyRow {
  readonly id: string;
  readonly [field: string]: unknown;
}

interface AnyTable {
  readonly size: number;
  get(id: string): AnyRow | undefined;
  query(): AnyRow[];
}

/** The engine also says whether this tab is the one that sends. */
export type SeenStatus = Status & { readonly sender?: boolean };

export interface Place {
  readonly app: string;
  readonly user: string;
  readonly space: string;
  readonly trace?: boolean | undefined;
}

export type ListSpaces = (owner: Place) => Promise<SpaceInfo[]>;

export interface AnyDb extends Pick<Db<never>, Same> {
  readonly home: Place;
  /** What the app has told `setOnline` last. */
  readonly isOnline: boolean;
  readonly status: SeenStatus;
  readonly tables: Readonly<Record<string, AnyTable>>;
  onStatus(listener: (status: SeenStatus) => void): () => void;
  /** Called when the space is closed. */
  readonly onClose: Set<() => void>;
  reparent(key: string, from: RowRef, to: RowRef | null, options?: { readonly dependents?: boolean }): void;
}
