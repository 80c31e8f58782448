// The inspector's sentences: which there are, and what must be so for each to be true.

/** A device learns that a network is back when it tries again, and it does within this. */
const TRY_MS = 40_000;
/** What a device is told, it knows at once; sentences are sampled about every second. */
const AT_ONCE_MS = 3_000;
/** By then a device has noticed, and says so, that nobody answers. */
export const NOTICED_MS = 9_000;

const NETWORK = ['cut', 'down', 'bad', 'stalled', 'told'];
const SINCE = ' since \\d\\d:\\d\\d:\\d\\d';
const AGE = '(\\d+ ms|\\d+(\\.\\d)? s|\\d+ min)';
const TRY = `( It is tried again (by itself: after 30 s at most, or when the server says|in ${AGE} at the earliest)\\.)`;
const WORK = '(create|update|delete|restore) (card|box|connection|connection_type)( \\+\\d+)?';
const AWAITED = `(№ \\d+, ${WORK}(, which is (held back \\([a-z_]+\\)|not on disk yet)|, which waits for a row that nobody known here has made)?)`;
const ROW = `(the row [a-z_]+ …[0-9a-f]{6}, made by (${WORK}|nobody known here))`;
const NO_ANSWER = 'A request has been out for 5 s or more, or was cut off, and no answer has come\\.';

/** A cause, what it says, and one of which must be so (`needs`), or have been so `within` that many ms. */
const CAUSES = [
  ['told offline', 'The browser says that there is no network\\.', ['told'], AT_ONCE_MS],
  ['switched off', 'The app has switched sending off\\.', ['switched'], AT_ONCE_MS],
  ['the other tab is offline', 'The tab that sends for this one says that it is offline\\.', ['tabs'], AT_ONCE_MS],
  ['not reachable', 'The server cannot be reached\\.', NETWORK, TRY_MS],
];

const claim = (name, text, needs, withinMs = 0, isIdle = false) => ({
  name,
  pattern: new RegExp(`^${text}$`),
  needs,
  withinMs,
  isIdle,
});

/** `isIdle` is what cannot be true while something has waited for a server that nobody has reached for long. */
export const OF_STATUS = [
  ...CAUSES.map(([name, text, ...so]) => claim(name, `${text} What is made is kept on this device\\.`, ...so)),
  claim('no answer', NO_ANSWER, NETWORK, TRY_MS),
  claim('on its way', 'On its way to disk and server\\.', null, 0, true),
  claim('all there', 'Everything is on the server\\.', null, 0, true),
  claim('opening', 'The space is being opened\\.', ['opening'], 20_000),
  claim(
    'another turn',
    'Another tab or a later turn has begun to send: this one takes a new turn\\.',
    ['tabs', 'opening'],
    TRY_MS,
  ),
  claim('broke off', 'The request broke off on its way\\.', NETWORK, TRY_MS),
  claim('gave up waiting', 'The server gave up waiting for the request to arrive\\.', NETWORK, TRY_MS),
  claim('held back', 'What is held back waits for a decision; everything else is on the server\\.', null),
  claim(
    'waiting for rows',
    'All that is left waits for rows that nobody has made, or for a transaction that is held back\\.',
    null,
  ),
];

export const OF_ENTRIES = [
  ...CAUSES.slice(0, 3).map(([name, text, ...so]) =>
    claim(name, `Waits for the network(${SINCE})?\\. ${text}${TRY}?`, ...so),
  ),
  claim('not reachable', `Waits for the network(${SINCE})?\\. The server cannot be reached\\.${TRY}?`, NETWORK, TRY_MS),
  claim(
    'no answer',
    `Waits for the server(${SINCE})?\\. ${NO_ANSWER}( Another tab sends for this one\\.)?${TRY}?`,
    NETWORK,
    TRY_MS,
  ),
  claim(
    'another turn',
    `Waits for the server(${SINCE})?\\. Another tab or a later turn .* takes a new turn\\..*`,
    ['tabs', 'opening'],
    TRY_MS,
  ),
  claim('broke off', `Waits for the server(${SINCE})?\\. The request broke off on its way\\..*`, NETWORK, TRY_MS),
  claim(
    'gave up waiting',
    `Waits for the server(${SINCE})?\\. The server gave up waiting .* arrive\\..*`,
    NETWORK,
    TRY_MS,
  ),
  claim('the disk', 'Waits for this device’s disk: it is being written\\.', null),
  claim('sent', `Sent( ${AGE} ago)?; the server has not answered yet\\.`, null),
  claim('sent by another tab', 'Another tab has sent it, and waits for the server’s answer\\.', ['tabs'], AT_ONCE_MS),
  claim('another tab sends', 'Waits for another tab, which sends for this one\\.', ['tabs'], AT_ONCE_MS),
  claim(
    'taken',
    'Taken by the server\\. It leaves the outbox once this device holds the revision that it made\\.',
    null,
  ),
  claim('its turn', 'Waits for its turn behind the push in flight: one goes at a time\\.', null),
  claim('the next request', 'Nothing known here holds it: it goes with one of the next requests\\.', null, 0, true),
  claim(
    'the first load',
    'Waits for the first load: nothing is sent before this device knows what the space holds\\.',
    null,
  ),
  claim('its parent', `Waits for ${AWAITED}(; and for ${AWAITED})*(; and for \\d+ more)?\\.`, null),
  claim('a row', `Waits for ${ROW}(; and for ${ROW})*(; and for \\d+ more)?\\.`, null),
  claim('held with another', 'Waits for a transaction that is held back, and with which it must go\\.', null),
  claim('held back', 'Held back until somebody decides: .{10,}[.!?]( \\d+ more waits? for it\\.)?', null),
];

/** What can hold up a device for long. */
const HOLDS = ['cut', 'down', 'stalled', 'told', 'switched'];

/**
 * Holds a sentence against the truth. Returns the claim's name, and what is wrong with it, if anything is. `truth` tells what is so
 * (see truth.mjs); `isStuck`: what it is about has been ready to go for as long as it takes to notice.
 */
export function judgeSentence(sentence, claims, truth, isStuck = false) {
  const known = claims.find(({ pattern }) => pattern.test(sentence));
  if (!known)
    return { name: 'unknown', wrong: sentence === '' ? 'there is no sentence' : 'nobody knows this sentence' };
  const { name, needs, withinMs, isIdle } = known;
  if (needs && !needs.some((what) => truth.was(what, withinMs)))
    return { name, wrong: `none of this is so: ${needs.join(', ')}` };
  const holding = HOLDS.filter((what) => truth.lasts(what) > NOTICED_MS);
  if (isStuck && isIdle && holding.length > 0) return { name, wrong: `and yet this has lasted: ${holding.join(', ')}` };
  return { name };
}

/** Nothing of this is for people. */
const RAW = /\bundefined\b|\bNaN\b|\[object |\bTypeError\b|\bError:|^\s+at .+:\d+:\d+|\bstorage_[a-z]+|panicked at/m;

export const rawIn = (text) => RAW.exec(text)?.[0];
