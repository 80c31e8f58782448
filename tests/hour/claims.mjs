// The inspector's sentences: which there are, and what must be so for each to be true.

/** A device learns that a network is back when it tries again, and it does within this. */
const TRY_MS = 40_000;
/** What a device is told, it knows at once, and draws within a second or two. */
const AT_ONCE_MS = 3_000;
/** A space is open by then. */
const OPENED_MS = 20_000;
/** By then a device has noticed, and says so, that nobody answers. */
export const NOTICED_MS = 9_000;
/** A request is given up after 30 s. */
const REQUEST_MS = 32_000;

const SINCE = ' since \\d\\d:\\d\\d:\\d\\d';
const AGE = '(?:\\d+ ms|\\d+(?:\\.\\d)? s|\\d+ min)';
const TRY = `( It is tried again (by itself: after 30 s at most, or when the server says|in ${AGE} at the earliest)\\.)`;
const WORK = '(create|update|delete|restore) (card|box|connection|connection_type)( \\+\\d+)?';
const AWAITED = `(№ \\d+, ${WORK}(, which is (held back \\([a-z_]+\\)|not on disk yet)|, which waits for a row that nobody known here has made)?)`;
const ROW = `(the row [a-z_]+ …[0-9a-f]{6}, made by (${WORK}|nobody known here))`;
const NO_ANSWER = 'A request has been out for 5 s or more, or was cut off, and no answer has come\\.';
const SILENT =
  'The tab that sends for this one has not answered for some seconds: this one takes over if it stays silent\\.';

// What the script knows, one of which must be so, or have been so within that many ms.
const within = (ms, ...any) => ({ any, ms });
const NETWORK = within(TRY_MS, 'cut', 'down', 'bad', 'stalled', 'told');
const TOLD = within(AT_ONCE_MS, 'told');
const SWITCHED = within(AT_ONCE_MS, 'switched', 'switching');
const TABS = within(AT_ONCE_MS, 'tabs');
const UNREACHED = within(TRY_MS, 'cut', 'down', 'bad', 'stalled', 'told', 'switched', 'switching');
const NEW_TURN = within(TRY_MS, 'tabs', 'opening');
const OPENING = within(OPENED_MS, 'opening');

// What the device itself shows at the same moment, and must fit: its status, its outbox, and the entry that the sentence is about.
const isSender = ({ status }) => status.sender === true;
const isFollower = ({ status }) => status.sender === false;
const has =
  (...states) =>
  ({ outbox }) =>
    outbox.some(({ state }) => states.includes(state));
const hasNone =
  (...states) =>
  (here) =>
    !has(...states)(here);
const is =
  (state) =>
  ({ entry }) =>
    entry.state === state;
const all =
  (...checks) =>
  (here) =>
    checks.every((check) => check(here));

const isYoung = ({ sentence }) => {
  const [, number, unit] = /^Sent (\S+) (ms|s|min) ago/.exec(sentence) ?? ['', '0', 'ms'];
  return Number(number) * { ms: 1, s: 1_000, min: 60_000 }[unit] <= REQUEST_MS;
};
/** Each № is the place of one that it waits for. */
const namesParents = ({ sentence, entry, outbox }) =>
  [...sentence.matchAll(/№ (\d+)/g)].every(([, place]) => entry.waits_on.includes(outbox[place - 1]?.key));
const namesProblem = ({ sentence, entry: { problem } }) =>
  sentence.includes(problem.detail || problem.title || problem.code);

/**
 * `needs`: of each of these lists one must be so. `fits`: whether the device's own state agrees. `isIdle` is what cannot be true while
 * something has waited for a server that nobody has reached for long; `isSending` neither, and not even for a moment while nothing is sent.
 */
const claim = (name, text, needs, { fits = () => true, isIdle = false, isSending = false } = {}) => ({
  name,
  pattern: new RegExp(`^${text}$`),
  needs,
  fits,
  isIdle,
  isSending,
});

/** Why a device is offline: the claim's name, what it says, and what must be so. */
const CAUSES = [
  ['told offline', 'The browser says that there is no network\\.', [TOLD]],
  ['switched off', 'The app has switched sending off\\.', [SWITCHED]],
  [
    'the other tab is offline',
    'The tab that sends for this one says that it is offline\\.',
    [TABS, UNREACHED],
    isFollower,
  ],
  ['not reachable', 'The server cannot be reached\\.', [NETWORK], isSender],
];
const ofCauses = (write) => CAUSES.map(([name, text, needs, fits]) => claim(name, write(text), needs, { fits }));
const KEPT = 'What is made is kept on this device\\.';

export const OF_STATUS = [
  ...ofCauses((text) => `${text} ${KEPT}`),
  claim('no answer', NO_ANSWER, [NETWORK]),
  claim('the other tab is silent', SILENT, [TABS], { fits: isFollower }),
  claim('on its way', 'On its way to disk and server\\.', [], {
    fits: ({ status }) => status.state === 'saving',
    isIdle: true,
  }),
  claim('all there', 'Everything is on the server\\.', [], { fits: ({ outbox }) => outbox.length === 0, isIdle: true }),
  claim('opening', 'The space is being opened\\.', [OPENING]),
  claim('another turn', 'Another tab or a later turn has begun to send: this one takes a new turn\\.', [NEW_TURN]),
  claim('broke off', 'The request broke off on its way\\.', [NETWORK]),
  claim('gave up waiting', 'The server gave up waiting for the request to arrive\\.', [NETWORK]),
  claim('held back', 'What is held back waits for a decision; everything else is on the server\\.', [], {
    fits: all(has('parked'), hasNone('queued', 'in_flight', 'saving')),
  }),
  claim(
    'waiting for rows',
    'All that is left waits for rows that nobody has made, or for a transaction that is held back\\.',
    [],
    { fits: all(has('waiting'), hasNone('queued', 'in_flight')) },
  ),
];

const ofServer = (name, text) => claim(name, `Waits for the server(${SINCE})?\\. ${text}`, [NETWORK]);

export const OF_ENTRIES = [
  ...ofCauses((text) => `Waits for the network(${SINCE})?\\. ${text}${TRY}?`),
  ofServer('no answer', `${NO_ANSWER}( Another tab sends for this one\\.)?${TRY}?`),
  ofServer('broke off', 'The request broke off on its way\\..*'),
  ofServer('gave up waiting', 'The server gave up waiting .* arrive\\..*'),
  claim('another turn', `Waits for the server(${SINCE})?\\. Another tab or a later turn .* takes a new turn\\..*`, [
    NEW_TURN,
  ]),
  claim('the other tab is silent', `Waits for another tab(${SINCE})?\\. ${SILENT}`, [TABS], { fits: isFollower }),
  claim('the disk', 'Waits for this device’s disk: it is being written\\.', [], { fits: is('saving') }),
  claim('sent', `Sent( ${AGE} ago)?; the server has not answered yet\\.`, [], {
    fits: all(is('in_flight'), isSender, isYoung),
    isSending: true,
  }),
  claim('sent by another tab', 'Another tab has sent it, and waits for the server’s answer\\.', [TABS], {
    fits: all(is('in_flight'), isFollower),
  }),
  claim('sent by a silent tab', `Another tab has sent it\\. ${SILENT}`, [TABS], {
    fits: all(is('in_flight'), isFollower),
  }),
  claim('another tab sends', 'Waits for another tab, which sends for this one\\.', [TABS], {
    fits: all(is('queued'), isFollower),
  }),
  claim(
    'taken',
    'Taken by the server\\. It leaves the outbox once this device holds the revision that it made\\.',
    [],
    {
      fits: is('applied'),
    },
  ),
  claim('its turn', 'Waits for its turn behind the push in flight: one goes at a time\\.', [], {
    fits: all(is('queued'), has('in_flight'), isSender),
    isSending: true,
  }),
  claim('the next request', 'Nothing known here holds it: it goes with one of the next requests\\.', [], {
    fits: all(is('queued'), hasNone('in_flight'), isSender),
    isIdle: true,
  }),
  claim(
    'the first load',
    'Waits for the first load: nothing is sent before this device knows what the space holds\\.',
    [],
    {
      fits: all(is('queued'), ({ status }) => status.rev === 0),
      isIdle: true,
    },
  ),
  claim('its parent', `Waits for ${AWAITED}(; and for ${AWAITED})*(; and for \\d+ more)?\\.`, [], {
    fits: all(is('waiting'), namesParents),
  }),
  claim('a row', `Waits for ${ROW}(; and for ${ROW})*(; and for \\d+ more)?\\.`, [], {
    fits: all(is('waiting'), ({ entry }) => entry.waits_on.some((awaited) => awaited.includes(' '))),
  }),
  claim('held with another', 'Waits for a transaction that is held back, and with which it must go\\.', [], {
    fits: all(is('waiting'), has('parked'), ({ entry }) => entry.waits_on.length === 0),
  }),
  claim('held back', 'Held back until somebody decides: .{10,}[.!?]( \\d+ more waits? for it\\.)?', [], {
    fits: all(is('parked'), namesProblem),
  }),
];

/** What can hold up a device for long. */
const HOLDS = ['cut', 'down', 'stalled', 'told', 'switched'];

/**
 * Holds a sentence against what was so `at` the time it was read. Returns the claim's name, and what is wrong with it, if anything is:
 * `wrong` by the truth that the script knows (see truth.mjs), or `misfit` with what the device itself showed `here` (`status`, `outbox`,
 * and `entry`). `isStuck`: what it is about has been ready to go for as long as it takes to notice.
 */
export function judgeSentence(sentence, claims, { truth, at, isStuck = false, here }) {
  const known = claims.find(({ pattern }) => pattern.test(sentence));
  if (!known)
    return { name: 'unknown', wrong: sentence === '' ? 'there is no sentence' : 'nobody knows this sentence' };
  const { name, needs, fits, isIdle, isSending } = known;
  for (const { any, ms } of needs)
    if (!any.some((what) => truth.was(what, ms, at))) return { name, wrong: `none of this is so: ${any.join(', ')}` };
  const holding = HOLDS.filter((what) => truth.lasts(what, at) > NOTICED_MS);
  if (isStuck && isIdle && holding.length > 0) return { name, wrong: `and yet this has lasted: ${holding.join(', ')}` };
  const silent = isSending ? whatSendsNothing(truth, at) : [];
  if (silent.length > 0) return { name, wrong: `and yet nothing is sent: ${silent.join(', ')}` };
  return fits({ sentence, ...here }) ? { name } : { name, misfit: 'the device itself shows otherwise' };
}

/** Either holds for all tabs of a device. */
const whatSendsNothing = (truth, at) => ['told', 'switched'].filter((what) => truth.lasts(what, at) > AT_ONCE_MS);

/** Nothing of this is for people. */
const RAW = /\bundefined\b|\bNaN\b|\[object |\bTypeError\b|\bError:|^\s+at .+:\d+:\d+|\bstorage_[a-z]+|panicked at/m;

export const rawIn = (text) => RAW.exec(text)?.[0];
