/** Why this page does not save, by the status' reason: what is, what becomes of the work, and what to do. */

import type { Status } from 'driftline';
import { SENTENCES } from '../panel/codes.js';

/** What the one button does. */
export type Remedy = 'reload' | 'export' | 'link' | 'panel';

export interface Trouble {
  readonly title: string;
  readonly detail: string;
  readonly remedy?: Remedy;
  /** Where work may be lost if the page is closed now. */
  readonly isUrgent?: boolean;
}

const KEPT = 'What you make is kept on this device and sent as soon as that is possible.';
const UNSAVED = 'What you make now is in this tab alone: leave it open until it is saved, or export your work.';

const STORAGE: Record<string, Trouble> = {
  storage_full: {
    title: 'This device is full',
    detail: `Nothing more can be saved here. ${UNSAVED} Free some room, or delete spaces that you no longer need.`,
    remedy: 'export',
  },
  storage_refused: {
    title: 'This browser lets the page store nothing',
    detail: `A private window or a setting forbids it. ${UNSAVED}`,
    remedy: 'export',
  },
  storage_blocked: {
    title: 'Another tab is in the way',
    detail: `It keeps the storage of this device closed: close the other tabs of this app. ${UNSAVED}`,
  },
  storage_newer: {
    title: 'A newer version has changed what is stored here',
    detail: 'Export what you have made since, then load the page again.',
    remedy: 'export',
  },
};

const SERVER: Record<string, Trouble> = {
  schema_newer: {
    title: 'A newer version of this app is in use',
    detail: 'Load the page again to see what others make. What you have made is kept.',
    remedy: 'reload',
  },
  unauthenticated: {
    title: 'This space needs a link that holds',
    detail: 'Yours is missing, or has ended: ask whoever keeps the space for one. What waits here is kept until then.',
    remedy: 'link',
  },
  forbidden: {
    title: 'Your link does not allow this',
    detail: 'What waits here is kept. It can be sent with a link that allows writing to this space.',
    remedy: 'link',
  },
  wrong_user: {
    title: 'What waits here is somebody else’s',
    detail: 'It is kept, and sent when their own link is opened on this device.',
    remedy: 'link',
  },
  waiting: {
    title: 'Something waits for what has not come yet',
    detail: 'It refers to what another device has not sent. It is kept, and goes by itself once that has come.',
    remedy: 'panel',
  },
  parked: {
    title: 'Something is held back',
    detail: 'The server did not take it. It is kept here; look at why, then retry or give it up.',
    remedy: 'panel',
  },
  sender_silent: {
    title: 'Another tab does not answer',
    detail: `It sends for this one, which takes over if it stays silent. ${KEPT}`,
  },
  'no answer': { title: 'The server does not answer', detail: `It is asked again by itself. ${KEPT}` },
};

const SERVER_FAULT = new Set(['server_full', 'server_disk', 'server_corrupt', 'server_database', 'internal']);

/** `undefined` where there is nothing to tell: all is saved, is being saved, or waits for a network. */
export function troubleOf({ state, reason }: Status): Trouble | undefined {
  if (!reason || (state !== 'not_saving' && reason !== 'schema_newer')) return undefined;
  if (reason.startsWith('storage_')) {
    const known = STORAGE[reason] ?? { title: 'This device does not save', detail: UNSAVED, remedy: 'export' };
    return { ...known, isUrgent: true };
  }
  const known = SERVER[reason];
  if (known) return known;
  const detail = `${SENTENCES[reason] ?? 'It answers in a way that this page does not know.'} ${KEPT}`;
  return { title: SERVER_FAULT.has(reason) ? 'The server cannot save' : 'The server takes nothing just now', detail };
}
