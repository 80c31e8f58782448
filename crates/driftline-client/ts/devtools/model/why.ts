/** Why a transaction waits, in one sentence that is true. */

import type { OutboxEntry } from '../../status.js';
import type { SeenStatus } from '../db.js';
import { describe, duration, shortId, time } from './format.js';
import { isOfDisk, type Network, offlineSentence, reasonSentence } from './reasons.js';

/** What has been seen besides the outbox. Times are those of the wall, in ms; `null` where they have not been seen. */
export interface Seen {
  readonly now: number;
  readonly status: SeenStatus;
  readonly network: Network;
  /** Since when the status has had its state and reason. */
  readonly since: number | null;
  /** Until when the server asked not to be asked again (`Retry-After`, or a pause). */
  readonly pausedUntil: number | null;
  /** When the push that is out was sent. */
  readonly sentAt: number | null;
  readonly isFirstLoad: boolean;
  readonly entries: ReadonlyMap<string, OutboxEntry>;
  /** Places in the order of sending, from 1. */
  readonly places: ReadonlyMap<string, number>;
}

const REASONS_OF_TOKEN = new Set(['unauthenticated', 'forbidden', 'wrong_user']);

export function why(entry: OutboxEntry, seen: Seen): string {
  switch (entry.state) {
    case 'parked':
      return parked(entry);
    case 'suspended':
      return 'Put aside: the server failed on it again and again while others passed. It is tried again by itself, within 10 min.';
    case 'applied':
      return 'Taken by the server. It leaves the outbox once this device holds the revision that it made.';
    case 'in_flight':
      return inFlight(seen);
    case 'saving':
      return isOfDisk(seen.status.reason)
        ? `Waits for this device’s disk. ${reasonSentence(seen.status.reason ?? '')}`
        : 'Waits for this device’s disk: it is being written.';
    case 'waiting':
      return waiting(entry, seen);
    case 'queued':
      return queued(seen);
  }
}

function parked({ problem, dependents = [] }: OutboxEntry): string {
  const reason = problem ? `${problem.detail || problem.title || problem.code}` : 'no reason was given';
  const others =
    dependents.length > 0 ? ` ${dependents.length} more ${dependents.length === 1 ? 'waits' : 'wait'} for it.` : '';
  return `Held back until somebody decides: ${sentence(reason)}${others}`;
}

function inFlight({ status, sentAt, now }: Seen): string {
  const since = sentAt === null ? '' : ` ${duration(now - sentAt)} ago`;
  if (status.reason === 'sender_silent') return `Another tab has sent it. ${reasonSentence(status.reason)}`;
  if (status.sender === false) return 'Another tab has sent it, and waits for the server’s answer.';
  return `Sent${since}; the server has not answered yet.`;
}

function waiting(entry: OutboxEntry, seen: Seen): string {
  const rows = entry.waits_on.filter((awaited) => awaited.includes(' '));
  if (rows.length > 0) return `Waits for ${list(rows.map((row) => rowWords(row, seen)))}.`;
  const keys = entry.waits_on.map((key) => seen.entries.get(key) ?? key);
  if (keys.length > 0) return `Waits for ${list(keys.map((awaited) => entryWords(awaited, seen)))}.`;
  return 'Waits for a transaction that is held back, and with which it must go.';
}

function rowWords(row: string, { entries }: Seen): string {
  const [table = '', id = ''] = row.split(' ');
  const isOf = (entry: OutboxEntry) =>
    entry.edits.some((edit) => edit.op !== 'delete' && edit.op !== 'update' && edit.id === id && edit.table === table);
  const maker = [...entries.values()].find(isOf);
  return `the row ${table} ${shortId(id)}, made by ${maker ? describe(maker) : 'nobody known here'}`;
}

function entryWords(awaited: OutboxEntry | string, { places }: Seen): string {
  if (typeof awaited === 'string') return 'a transaction that is not shown here';
  const place = places.get(awaited.key);
  const name = `${place === undefined ? '' : `№ ${place}, `}${describe(awaited)}`;
  const rows = awaited.waits_on.filter((row) => row.includes(' '));
  if (awaited.problem) return `${name}, which is held back (${awaited.problem.code})`;
  if (rows.length > 0) return `${name}, which waits for a row that nobody known here has made`;
  return awaited.state === 'saving' ? `${name}, which is not on disk yet` : name;
}

/** On disk, and its parents can go: whatever holds it holds everything. */
function queued(seen: Seen): string {
  const { status, network, pausedUntil, now } = seen;
  const { state, reason } = status;
  if (reason === 'schema_newer' && state === 'not_saving') return `Waits for a newer page. ${reasonSentence(reason)}`;
  if (isOfDisk(reason)) return `Waits for this device’s disk. ${reasonSentence(reason ?? '')}`;
  if (state === 'offline')
    return `Waits for the network${since(seen)}. ${offlineSentence(status, network)}${nextTry(seen)}`;
  if (reason === 'sender_silent') return `Waits for another tab${since(seen)}. ${reasonSentence(reason)}`;
  const another = status.sender === false ? ' Another tab sends for this one.' : '';
  if (reason && REASONS_OF_TOKEN.has(reason)) return `Waits for a token. ${reasonSentence(reason)}${another}`;
  if (pausedUntil !== null && pausedUntil > now) {
    return `Waits for the server’s pause: it asked not to be asked for another ${duration(pausedUntil - now)}.`;
  }
  if (state === 'not_saving' && reason && reason !== 'waiting' && reason !== 'parked') {
    return `Waits for the server${since(seen)}. ${reasonSentence(reason)}${another}${nextTry(seen)}`;
  }
  if (status.sender === false) return 'Waits for another tab, which sends for this one.';
  if (seen.isFirstLoad)
    return 'Waits for the first load: nothing is sent before this device knows what the space holds.';
  const isOut = [...seen.entries.values()].some((entry) => entry.state === 'in_flight');
  if (isOut) return 'Waits for its turn behind the push in flight: one goes at a time.';
  return 'Nothing known here holds it: it goes with one of the next requests.';
}

function since({ since }: Seen): string {
  return since === null ? '' : ` since ${time(since)}`;
}

function nextTry({ network, pausedUntil, now, status }: Seen): string {
  if (!network.browser || !network.app || status.sender === false) return '';
  if (pausedUntil !== null && pausedUntil > now)
    return ` It is tried again in ${duration(pausedUntil - now)} at the earliest.`;
  return ' It is tried again by itself: after 30 s at most, or when the server says.';
}

const LISTED_MAX = 3;

function list(names: readonly string[]): string {
  const all = [...new Set(names)];
  const more = all.length > LISTED_MAX ? [`${all.length - LISTED_MAX} more`] : [];
  return [...all.slice(0, LISTED_MAX), ...more].join('; and for ');
}

const sentence = (text: string) => (/[.!?]$/.test(text) ? text : `${text}.`);
