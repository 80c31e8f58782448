/** What each status means, in a sentence. */

import type { SeenStatus } from '../db.js';

/** By the reason of a status. Whatever the server answers by its code is among them. */
export const REASONS: Readonly<Record<string, string>> = {
  opening: 'The space is being opened.',
  waiting: 'All that is left waits for rows that nobody has made, or for a transaction that is held back.',
  parked: 'What is held back waits for a decision; everything else is on the server.',
  schema_newer: 'The server or another tab has a newer version of the app: load this page again.',

  storage_full: 'This device has no room left: what is made stays in this page’s memory.',
  storage_refused: 'The browser allows this page no database: what is made stays in this page’s memory.',
  storage_blocked: 'Another tab keeps the database from being opened: what is made stays in this page’s memory.',
  storage_newer: 'A later version of the package has changed the database: load this page again.',
  storage_closed: 'The browser has closed the database: it is being opened again.',
  storage_aborted: 'The browser aborted the last write to disk: it is being tried again.',
  storage_failed: 'Writing to disk failed: it is being tried again.',

  'no answer': 'A request has been out for 5 s or more, or was cut off, and no answer has come.',
  sender_silent:
    'The tab that sends for this one has not answered for some seconds: this one takes over if it stays silent.',
  unauthenticated: 'The server wants a valid token: the app is asked for one at each try.',
  forbidden: 'The token does not allow this: the app is asked for another at each try.',
  wrong_user: 'The token is another user’s: these edits wait for one of their own user.',
  not_found: 'The server knows no such address: is it a Driftline server, and is the space’s name allowed?',
  method_not_allowed: 'The server does not take this kind of request here: something in between may have changed it.',
  timeout: 'The server gave up waiting for the request to arrive.',
  incomplete: 'The request broke off on its way.',
  rate_limited: 'The server asks for fewer requests of this user.',
  unavailable: 'The server is there and asks to come again later.',
  stale_sender: 'Another tab or a later turn has begun to send: this one takes a new turn.',
  too_large: 'The server takes no request of this size: smaller ones are tried.',
  unsupported_media_type: 'The server cannot read this kind of request: something in between may have changed it.',
  malformed: 'The server could not read the request: the transaction at fault is being looked for.',
  invalid_request: 'The server refused the request as a whole: the transaction at fault is being looked for.',
  no_version: 'There is no such version of the space.',
  not_restored: 'The version could not be brought back.',
  wrong_offset: 'A file’s upload went on from another place than the server had reached: it is taken up from there.',
  blob_too_large: 'The server takes no file of this size.',
  blobs_full: 'The space holds as many bytes of files as it may.',
  hash_mismatch: 'A file came to the server with other bytes than it was to have: it is sent anew.',
  internal: 'The server failed on the request: the transaction at fault is being looked for.',
  server_full: 'The server’s disk is full.',
  server_disk: 'The server’s disk fails.',
  server_corrupt: 'The server’s database is damaged.',
  server_database: 'The server cannot reach its database.',
};

/** What is known of the network beside the status. */
export interface Network {
  /** What the browser says (`navigator.onLine`). */
  readonly browser: boolean;
  /** The app's own switch. */
  readonly app: boolean;
  readonly isSimulated: boolean;
}

export const isOfDisk = (reason: string | null) => reason?.startsWith('storage_') ?? false;

/** Why there is no network for this space. */
export function offlineSentence({ sender }: SeenStatus, { browser, app, isSimulated }: Network): string {
  if (!app) return 'The app has switched sending off.';
  if (!browser) return 'The browser says that there is no network.';
  if (sender === false) return 'The tab that sends for this one says that it is offline.';
  return isSimulated ? 'Offline is simulated here.' : 'The server cannot be reached.';
}

/** What the status says, for a person. */
export function statusSentence(status: SeenStatus, network: Network): string {
  const { state, reason } = status;
  switch (state) {
    case 'offline':
      return `${offlineSentence(status, network)} What is made is kept on this device.`;
    case 'saved':
      return reason ? reasonSentence(reason) : 'Everything is on the server.';
    case 'saving':
      return reason ? reasonSentence(reason) : 'On its way to disk and server.';
    case 'not_saving':
      return reasonSentence(reason ?? '');
  }
}

export function reasonSentence(reason: string): string {
  return REASONS[reason] ?? `The server answered with “${reason}”.`;
}
