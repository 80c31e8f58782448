/** What the engine knows, in words for people. */

import type { OutboxEntry, RowRef, Status } from 'driftline';
import { rowIdOf, titleOf } from '../edits.js';
import type { Item } from '../schema.js';
import type { Database } from '../space.js';

export const STATE_WORDS: Record<OutboxEntry['state'], string> = {
  saving: 'saving',
  queued: 'ready',
  waiting: 'waits',
  in_flight: 'sending',
  applied: 'applied',
  parked: 'held back',
  suspended: 'suspended',
};

const OPERATIONS = { create: 'Add', update: 'Change', delete: 'Delete', restore: 'Bring back' };
const TABLES: Record<string, string> = {
  card: 'card',
  box: 'box',
  connection: 'connection',
  connection_type: 'connection type',
};

/** Reasons that are codes. The others are words already. */
const REASONS: Record<string, string> = {
  schema_newer: 'load this page again for its new version',
  waiting: 'waits for what others have not sent yet',
  parked: 'something is held back',
  storage_full: 'this device is full',
  server_full: 'the server has no room',
  server_disk: 'the disk of the server fails',
  server_database: 'the server cannot reach its database',
  server_corrupt: 'the database of the server is damaged',
  storage_refused: 'this browser allows no storage here',
  storage_blocked: 'another tab blocks the storage of this device',
  storage_newer: 'another tab is of a newer version: load this page again',
  storage_closed: 'the storage of this device was closed',
  storage_aborted: 'this device does not save',
  storage_failed: 'this device does not save',
};

export function statusWords(status: Status): string {
  const reason = status.reason && (REASONS[status.reason] ?? status.reason);
  switch (status.state) {
    case 'saved':
      return reason ? `All changes saved · ${reason}` : 'All changes saved';
    case 'saving':
      return 'Saving…';
    case 'offline':
      return 'Offline · kept on this device';
    case 'not_saving':
      return `Not saving${reason ? ` · ${reason}` : ''}`;
  }
}

export function describe(db: Database, entry: OutboxEntry): string {
  const [first, ...others] = entry.edits;
  if (!first) return 'Nothing';
  const more = others.length > 0 ? ` and ${others.length} more` : '';
  return `${OPERATIONS[first.op]} ${rowName(db, first)}${more}`;
}

export function rowName(db: Database, { table, id }: RowRef): string {
  const kind = TABLES[table] ?? table;
  const title = titleIn(db, table, id);
  return title ? `${kind} “${title}”` : `${kind} ${id.slice(-6)}`;
}

function titleIn(db: Database, table: string, id: string): string | null | undefined {
  const card = table === 'card' && db.tables.card.get(id);
  if (card) return titleOf(card).slice(0, 40);
  if (table === 'box') return db.tables.box.get(id)?.label;
  const connection = table === 'connection' && db.tables.connection.get(id);
  if (connection)
    return connection.label ?? `${itemTitle(db, connection.start_item)} → ${itemTitle(db, connection.end_item)}`;
  if (table === 'connection_type') return db.tables.connection_type.get(id)?.name;
  return undefined;
}

function itemTitle(db: Database, item: Item): string {
  const title = titleIn(db, 'card' in item ? 'card' : 'box', rowIdOf(item));
  return (title ?? '…').slice(0, 18);
}
