/** What the blobs of a space tell about themselves. */

import type { Problem } from '../errors.js';
import type { OutboxEntry, Status } from '../status.js';
import type { Held } from './store.js';

export interface BlobStatus {
  /** As of the space: `saved` is on the server, rows included. `not_saving` always comes with a `reason`. */
  readonly state: Status['state'];
  readonly reason: string | null;
  /** Blobs of this device that the server does not have, those that are parked aside. */
  readonly waiting: number;
  /** Bytes of these. */
  readonly bytes: number;
  readonly parked: number;
}

/** A blob, or the row of one, that was refused. It stays on this device until somebody decides: `retry` or `discard`. */
export interface ParkedBlob {
  readonly hash: string;
  readonly bytes: number;
  readonly type: string;
  readonly problem: Problem;
}

export const NOTHING_HELD: Held = { entries: new Map(), rows: [] };

/** `trouble` is why nothing can be sent: a code, as `unreachable`. */
export function statusOf(held: Held, trouble: string | null): BlobStatus {
  const entries = [...held.entries.values()];
  const waiting = entries.filter(({ state }) => state === 'waiting');
  const bytes = waiting.reduce((sum, entry) => sum + entry.bytes, 0);
  const parked = parkedOf(held).length;
  const counts = { waiting: waiting.length, bytes, parked };
  const hasRows = held.rows.some(({ problem }) => !problem);
  if (waiting.length > 0 && trouble === 'unreachable') return { state: 'offline', reason: null, ...counts };
  if (waiting.length > 0 && trouble) return { state: 'not_saving', reason: trouble, ...counts };
  if (waiting.length > 0) return { state: 'saving', reason: null, ...counts };
  if (parked > 0) return { state: 'not_saving', reason: 'parked', ...counts };
  return { state: hasRows ? 'saving' : 'saved', reason: null, ...counts };
}

export function parkedOf({ entries, rows }: Held): ParkedBlob[] {
  const refused = new Map(rows.flatMap(({ hash, problem }) => (problem ? [[hash, problem] as const] : [])));
  return [...entries].flatMap(([hash, { bytes, type, state, problem = refused.get(hash) }]) =>
    problem && (state === 'parked' || refused.has(hash)) ? [{ hash, bytes, type, problem }] : [],
  );
}

/** What a person is to be told of a space and its blobs together. */
export function together(
  space: Status,
  blobs: BlobStatus,
  held: Held,
  outbox: () => readonly OutboxEntry[],
): Pick<Status, 'state' | 'reason'> {
  const trouble = isOnlyFor(space, held, outbox) ? undefined : space;
  const both = [trouble, blobs].filter((one) => one !== undefined);
  for (const state of ['not_saving', 'offline', 'saving'] as const) {
    const told = both.find((one) => one.state === state);
    if (told) return { state, reason: told.reason };
  }
  return { state: 'saved', reason: space.reason };
}

/** Whether all that the space waits for are rows that are made once their blobs have arrived. */
function isOnlyFor(space: Status, { rows }: Held, outbox: () => readonly OutboxEntry[]): boolean {
  if (space.state !== 'not_saving' || space.reason !== 'waiting' || space.parked > 0) return false;
  const toCome = new Set(rows.map(({ table, row }) => `${table} ${row.id}`));
  const isRow = (name: string) => name.includes(' ');
  return outbox().every(({ waits_on }) => waits_on.every((name) => !isRow(name) || toCome.has(name)));
}
