/** What the engine knows, in words for people. */

import type { OutboxEntry, RowRef, Status } from 'driftline';
import { rowIdOf, titleOf } from '../edits.js';
import type { SyncStatus } from '../images/files.js';
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
  image: 'picture',
};

export const countOf = (count: number, one: string, many = `${one}s`) =>
  `${count.toLocaleString('en')} ${count === 1 ? one : many}`;

const unsent = ({ queued, in_flight }: Status) => queued + in_flight;

/** `2 changes and 1 picture`; empty where nothing waits. */
function waitingWords(status: SyncStatus): string {
  const { files } = status;
  const changes = unsent(status) > 0 ? countOf(unsent(status), 'change') : '';
  const pictures = files.waiting > 0 ? countOf(files.waiting, 'picture') : '';
  return [changes, pictures].filter(Boolean).join(' and ');
}

/** A few words, always true, for the place where there is little room. */
export function statusWords(status: SyncStatus): string {
  const waits = waitingWords(status);
  switch (status.state) {
    case 'saved':
      return status.reason === 'schema_newer' ? 'Saved · newer version' : 'All changes saved';
    case 'saving':
      return waits ? 'Saving…' : 'Loading…';
    case 'offline':
      return waits ? `Offline · ${waits} kept here` : 'Offline';
    case 'not_saving':
      if (isLocalWait(status)) return `Held back · ${Math.max(status.parked + status.files.parked, 1)}`;
      return isShutOut(status) && !waits ? 'No access' : 'Not saving';
  }
}

/** A sentence or two on the same. */
export function statusSentence(status: SyncStatus): string {
  const waits = waitingWords(status);
  const trouble = troubleOf(status);
  if (trouble) return `${trouble.title}. ${trouble.detail}`;
  switch (status.state) {
    case 'saved':
      return 'The server has everything that was made here.';
    case 'saving':
      return waits ? `${waits} on the way to the server.` : 'The canvas is being loaded.';
    default:
      if (waits) return `${waits} kept on this device, sent once ${untilSent(status)}.`;
      return status.isSwitchedOff
        ? 'You work offline: nothing is sent or fetched. What you make is kept on this device.'
        : 'There is no way to the server. You can go on: what you make is kept on this device.';
  }
}

/** What has to be before anything is sent, where a device is offline. */
export function untilSent({ isSwitchedOff }: SyncStatus): string {
  return isSwitchedOff ? 'you no longer work offline' : 'there is a network again';
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
  if (table === 'image') return pictureTitle(db, id);
  if (table === 'connection_type') return db.tables.connection_type.get(id)?.name;
  return undefined;
}

/** A picture is called what its card is. */
function pictureTitle(db: Database, id: string): string | undefined {
  const [card] = db.tables.card.query(({ image }) => image === id);
  return card && titleOf(card).slice(0, 40);
}

function itemTitle(db: Database, item: Item): string {
  const title = titleIn(db, 'card' in item ? 'card' : 'box', rowIdOf(item));
  return (title ?? '…').slice(0, 18);
}
