/** The words of the states and marks, the same wherever they stand. */

import type { OutboxEntry } from '../../status.js';
import type { Mark, MarkKind } from '../model/history.js';
import type { Decision, Tab } from '../state.js';

export const STATE_WORDS: Readonly<Record<OutboxEntry['state'], string>> = {
  saving: 'saving',
  queued: 'ready',
  waiting: 'waiting',
  in_flight: 'in flight',
  applied: 'taken',
  parked: 'held back',
  suspended: 'suspended',
};

export const STATUS_WORDS = { saved: 'Saved', saving: 'Saving', offline: 'Offline', not_saving: 'Not saving' } as const;

export const TAB_WORDS: Readonly<Record<Tab, string>> = {
  outbox: 'Outbox',
  held: 'Held back',
  requests: 'Requests',
  device: 'Device',
  simulate: 'Simulate',
  trace: 'Trace',
};

export const DECISION_WORDS: Readonly<Record<Decision, string>> = {
  retry: 'Retried',
  detach: 'What waited for it was freed',
  discard: 'Discarded',
  'discard all': 'Discarded, with what waited for it',
  reparent: 'Made to refer to another row',
};

const MARK_WORDS: Readonly<Record<MarkKind, string>> = {
  found: 'Was here already when the inspector first saw it',
  made: 'Made',
  saved: 'On this device’s disk',
  sent: 'Sent',
  failed: 'No answer that settles it',
  held: 'The server holds it until something else is there',
  accepted: 'Taken by the server',
  parked: 'Held back',
  suspended: 'Put aside by itself',
  decided: 'Decided',
  left: 'Has left the outbox, accepted or given up: the answer was not seen here',
  live: 'The live message with it came to this device: it goes to all who have the space open',
  seen: 'On another screen',
};

export function markWords({ what, note, rev }: Mark): string {
  if (what === 'seen') return `On the screen of ${note}`;
  if (what === 'decided') return `${DECISION_WORDS[note as Decision]} here`;
  if (what === 'accepted' && rev !== undefined)
    return `Taken by the server at revision ${rev}: others see it once they have that revision`;
  return MARK_WORDS[what];
}
