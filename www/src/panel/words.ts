/** What the engine knows, in words for people. */

import type { OutboxEntry, RowRef, Status } from 'driftline';
import { rowIdOf, titleOf } from '../edits.js';
import type { Item } from '../schema.js';
import type { Database } from '../space.js';
import { troubleOf } from '../states/trouble.js';

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

export const countOf = (count: number, one: string, many = `${one}s`) =>
  `${count.toLocaleString('en')} ${count === 1 ? one : many}`;

const unsent = ({ queued, in_flight }: Status) => queued + in_flight;

/** A few words, always true, for the place where there is little room. */
export function statusWords(status: Status): string {
  switch (status.state) {
    case 'saved':
      return status.reason === 'schema_newer' ? 'Saved · newer version' : 'All changes saved';
    case 'saving':
      return unsent(status) > 0 ? 'Saving…' : 'Loading…';
    case 'offline':
      return unsent(status) > 0 ? `Offline · ${countOf(unsent(status), 'change')} kept here` : 'Offline';
    case 'not_saving':
      if (isLocalWait(status)) return `Held back · ${Math.max(status.parked, 1)}`;
      return isShutOut(status) && unsent(status) === 0 ? 'No access' : 'Not saving';
  }
}

/** A sentence or two on the same. */
export function statusSentence(status: Status): string {
  const waits = unsent(status);
  const trouble = troubleOf(status);
  if (trouble) return `${trouble.title}. ${trouble.detail}`;
  switch (status.state) {
    case 'saved':
      return 'The server has everything that was made here.';
    case 'saving':
      return waits > 0 ? `${countOf(waits, 'change')} on the way to the server.` : 'The canvas is being loaded.';
    default:
      return waits > 0
        ? `${countOf(waits, 'change')} kept on this device, sent once there is a network again.`
        : 'There is no way to the server. You can go on: what you make is kept on this device.';
  }
}

function isShutOut({ reason }: Status): boolean {
  return reason === 'unauthenticated' || reason === 'forbidden';
}

/** The server is all right; it is single changes that cannot go on. */
function isLocalWait({ reason }: Status): boolean {
  return reason === 'parked' || reason === 'waiting';
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
