/** What each code of the engine and of the protocol says to a person: what is, and what can be done. */

const REFUSED: Record<string, string> = {
  invalid: 'The server does not take this change as it is written. Change it, or give it up.',
  schema_too_old: 'This was made with a version of the app that is too old. Export it if you need it, then give it up.',
  schema_newer: 'This was made with a newer version of the app. Load the page again.',
  schema_dropped: 'What this changes no longer exists in this version of the app.',
  row_exists: 'This is on the server already.',
  row_deleted: 'Somebody has deleted what this changes.',
  row_newer: 'Somebody has made this again since; what came before is left out.',
  row_unknown: 'What this changes was deleted long ago, or was never there.',
  reference_dropped: 'It pointed at something that was deleted. It stays, and points at nothing.',
  missing_parent: 'It refers to something that was deleted, or that has not come yet.',
  restricted: 'Something else still uses it. Once nothing does, retry.',
  cycle: 'These need each other, and neither can be made first.',
  conflicts_full: 'Too many versions of one text wait to be settled. Settle some of them first.',
  set_full: 'The list has as many entries as fit.',
  key_reused: 'A copy of this browser profile has sent something else in its place. Retry.',
  unit_refused: 'It can only go together with another change, which is held back.',
  too_late: 'The change that this replaces has reached the server after all.',
  denied: 'A rule of this space forbids it.',
  outcome_unknown: 'Whether the server has taken this is no longer known. Look before you retry.',
  suspended: 'The server fails on this change. It is tried again now and then.',
};

const REQUESTS: Record<string, string> = {
  malformed: 'The server did not understand this page. Load it again.',
  invalid_request: 'The server did not understand this page. Load it again.',
  unauthenticated: 'The server wants a link with a valid token. Ask who keeps this space for a new one.',
  forbidden: 'Your link does not allow this. Ask who keeps this space for one that does.',
  wrong_user: 'Your link names somebody else than who made what waits here. It waits for its own link.',
  not_found: 'The server does not know this. Its version may be another than this page’s.',
  method_not_allowed: 'The server does not know this. Its version may be another than this page’s.',
  timeout: 'The server took too long. It is asked again.',
  incomplete: 'The connection broke off. It is tried again.',
  rate_limited: 'That was too much at once for the server. It goes on in a moment.',
  unavailable: 'The server is busy or being restarted. It is asked again.',
  stale_sender: 'Another tab has taken over sending.',
  wrong_offset: 'The upload of a file goes on from where the server has got to.',
  blob_too_large: 'The file is larger than 32 MB, which is the most that the server takes.',
  blob_lost: 'This device has lost the file before it was sent. Add it again.',
  blob_empty: 'The file is empty.',
  blobs_full: 'There is no room for more files in this space.',
  hash_mismatch: 'The file was damaged on its way.',
  no_version: 'There is nothing to keep a version of, or the canvas is too large for it.',
  not_kept:
    'What is there now is too large to be kept as a version, and would be lost by going back. Nothing has changed.',
  not_restored: 'This version cannot be brought back: a rule forbids it, or it is too old. Nothing has changed.',
  too_large: 'It is too large for the server.',
  unreachable: 'There is no way to the server.',
  unsupported_media_type: 'The server did not understand this page. Load it again.',
  internal: 'The server has failed. It is tried again.',
  server_full: 'The disk of the server is full.',
  server_disk: 'The disk of the server fails.',
  server_corrupt: 'The database of the server is damaged.',
  server_database: 'The server cannot reach its database.',
};

const DEVICE: Record<string, string> = {
  storage_full: 'There is no room left on this device.',
  storage_refused: 'This browser allows the page no storage.',
  storage_blocked: 'Another tab keeps the storage of this device closed.',
  storage_newer: 'Another tab is of a newer version of the app.',
  storage_closed: 'The browser has closed the storage of this page.',
  storage_aborted: 'This device does not save at the moment.',
  storage_failed: 'This device does not save at the moment.',
  record_corrupt: 'A change on this device cannot be read. It was put aside, and all others are there.',
  base_corrupt: 'The copy on this device was damaged. It is fetched again, and nothing of yours is lost.',
  digest_differs: 'The copy on this device was not what the server has. It is fetched again.',
  drawing_failed: 'A part of it could not be drawn.',
  engine_not_loaded: 'The engine of the canvas could not be loaded.',
  no_browser: 'The canvas needs a page in a browser.',
  locks_missing: 'Browsers give what this needs to https and localhost alone.',
  too_many_tabs: 'Too many tabs have this open. Close some of them.',
  space_open: 'It is open in a tab. Close that first.',
  unsynced: 'There is work in it that is not on the server.',
  not_saved: 'It was closed before this device had saved everything.',
  closed: 'The canvas is closed. Load the page again.',
  parked: 'Something is held back and waits for your decision.',
  discarded: 'It was given up.',
  outbox_full: 'More waits than can be kept. Go online, or export and give up some of it.',
  no_access: 'This space needs a link that opens it. Use one first: what you make could not be sent.',
  no_answer: 'The server does not answer. Try again.',
  presence_too_large: 'What you show of yourself is too much for the others to see.',
  presence_full: 'So many people are here that you are not shown to all of them.',
  read_only: 'You can look at this canvas, but not change it: your link is for reading.',
};

const ACTIONS: Record<string, string> = {
  invalid_file: 'This is no file of unsent work, or it is damaged. Nothing was taken from it.',
  wrong_app: 'The file is of another app. Nothing was taken from it.',
  wrong_space: 'The file is of another space. Open that one, and import it there.',
  invalid_schema: 'This page and its data do not belong together. Load the page again.',
  busy: 'This is being sent just now. Try again in a moment.',
  in_flight: 'This is being sent just now. Try again in a moment.',
  not_allowed: 'This cannot be done with it as it stands.',
  picture_damaged: 'This browser cannot read it as a picture: it may be damaged.',
  picture_missing: 'Neither the file nor this device has them.',
  not_a_picture: 'Only pictures that every browser shows are taken: PNG, JPEG, GIF, WebP and AVIF.',
  nothing_to_change: 'There is nothing here to change.',
  unknown_key: 'This no longer waits.',
};

export const SENTENCES: Readonly<Record<string, string>> = { ...REFUSED, ...REQUESTS, ...DEVICE, ...ACTIONS };

/** Codes whose own sentence says more than ours: a rule's reason, and what is wrong with a file, are written for the person. */
const TELLS_ITSELF = new Set(['denied', 'not_a_canvas']);

/** Anything that was thrown or told, in a sentence for people. What nobody has written for them goes to the console. */
export function sayError(error: unknown): string {
  const { code, detail } = (error ?? {}) as { code?: unknown; detail?: unknown };
  if (typeof code === 'string') {
    if (TELLS_ITSELF.has(code) && typeof detail === 'string' && detail) return detail;
    const sentence = SENTENCES[code];
    if (sentence) return sentence;
  }
  console.error(error);
  return 'Something went wrong. Try again.';
}

/** What this page itself refused, before any server saw it. */
export function sayRefusal(error: unknown): string {
  const isInvalid = (error as { code?: unknown } | undefined)?.code === 'invalid';
  return isInvalid ? 'It is too long, or not of the kind that belongs there.' : sayError(error);
}
