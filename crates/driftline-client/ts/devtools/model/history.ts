/** What has become of each transaction, as far as it has been seen: from the outbox, from requests, and from decisions made here. */

import type { SeenBy } from '../../devtools.js';
import type { OutboxEntry } from '../../status.js';
import { type Answered, readAnswer, readPush } from './push.js';

export type MarkKind =
  | 'found'
  | 'made'
  | 'saved'
  | 'sent'
  | 'failed'
  | 'held'
  | 'accepted'
  | 'parked'
  | 'suspended'
  | 'decided'
  | 'left'
  | 'live'
  | 'seen';

export interface Mark {
  readonly what: MarkKind;
  /** The wall's time, in ms. */
  readonly at: number;
  /** A code, a decision, the key under which it goes on, or who has it on the screen. */
  readonly note?: string;
  readonly rev?: number;
}

export interface Track {
  readonly key: string;
  /** As it was last seen. */
  readonly entry: OutboxEntry;
  readonly marks: readonly Mark[];
  /** When it was found to have left the outbox. */
  readonly overAt: number | null;
  /** The revision at which the server took it; known from its answer alone. */
  readonly rev: number | null;
}

interface Kept extends Track {
  entry: OutboxEntry;
  marks: Mark[];
  overAt: number | null;
  rev: number | null;
}

/** More than the outbox tells of at once. */
const TRACKS_MAX = 1_500;
/** Of one that is tried for hours, the beginning and the latest. */
const MARKS_MAX = 40;
/** So many of the others are named. */
const SEEN_MAX = 8;

export class History {
  readonly #tracks = new Map<string, Kept>();
  /** What the outbox told of last, and whether that was all of it. */
  #present: ReadonlySet<string> = new Set();
  #isWhole = false;
  /** Up to which revision others have it on their screens. */
  #others: readonly SeenBy[] = [];
  /** The latest live message: it may be quicker than the answer. */
  #told: { readonly revs: ReadonlySet<number>; readonly at: number } | undefined;

  get(key: string): Track | undefined {
    return this.#tracks.get(key);
  }

  /** Those that have left the outbox, the latest first. */
  over(max: number): Track[] {
    const over = [...this.#tracks.values()].filter(({ overAt }) => overAt !== null);
    return over.sort((a, b) => (b.overAt ?? 0) - (a.overAt ?? 0)).slice(0, max);
  }

  /** `isWhole`: nothing waits beyond these, so that what is not among them has gone. */
  look(entries: readonly OutboxEntry[], isWhole: boolean, at: number): void {
    const present = new Set<string>();
    for (const entry of entries) {
      present.add(entry.key);
      const track = this.#tracks.get(entry.key);
      if (track) this.#go(track, entry, at);
      else this.#begin(entry, at);
    }
    [this.#present, this.#isWhole] = [present, isWhole];
    for (const track of isWhole ? this.#tracks.values() : []) {
      if (track.overAt !== null || present.has(track.key)) continue;
      track.overAt = at;
      const isKnown = track.rev !== null || track.marks.at(-1)?.what === 'decided';
      if (!isKnown) mark(track, { what: 'left', at });
    }
    this.#forget();
  }

  /** A request with these bytes goes out. */
  sent(body: string, at: number): void {
    for (const { key, replaces, edits } of readPush(body)) {
      // What was made since the outbox was last read is met here first.
      if (!this.#tracks.has(key)) this.#begin({ key, state: 'queued', edits, waits_on: [], problem: null }, at);
      const track = this.#tracks.get(key);
      if (!track) continue;
      // Nothing goes out before it is on disk, and the outbox may have been read before it was.
      if (track.entry.state === 'saving') this.#go(track, { ...track.entry, state: 'queued' }, at);
      for (const old of replaces) this.#goesOnAs(old, track);
      mark(track, { what: 'sent', at });
    }
    this.#forget();
  }

  /** `code` is told where the answer is no answer to what was sent. */
  answered(body: string, answer: string | null, code: string | null, at: number): void {
    const outcomes = answer === null ? new Map<string, Answered>() : readAnswer(body, answer);
    for (const { key } of readPush(body)) {
      const track = this.#tracks.get(key);
      const outcome = outcomes.get(key);
      if (!track) continue;
      if (!outcome) mark(track, { what: 'failed', at, ...(code && { note: code }) });
      else if (outcome.outcome === 'applied') {
        accept(track, outcome, at);
        this.#hasCome(track);
        this.#isSeen(track, at);
      } else if (outcome.outcome === 'held') mark(track, { what: 'held', at });
      else mark(track, { what: 'parked', at, note: outcome.code ?? outcome.outcome });
    }
  }

  /** The live connection has brought the changes of these revisions, which all who have the space open are told at that time. */
  live(revs: readonly number[], at: number): void {
    this.#told = { revs: new Set(revs), at };
    for (const track of this.#tracks.values()) this.#hasCome(track);
  }

  /** Up to which revision others have it on their screens, by now. */
  seen(others: readonly SeenBy[], at: number): void {
    this.#others = others;
    for (const track of this.#tracks.values()) this.#isSeen(track, at);
  }

  decided(key: string, what: string, at: number): void {
    const track = this.#tracks.get(key);
    if (track) mark(track, { what: 'decided', at, note: what });
  }

  #begin(entry: OutboxEntry, at: number): void {
    const track: Kept = { key: entry.key, entry, marks: [], overAt: null, rev: null };
    this.#tracks.set(entry.key, track);
    mark(track, { what: this.#isWhole ? 'made' : 'found', at });
    if (entry.state !== 'saving') mark(track, { what: 'saved', at });
    if (entry.state === 'in_flight') mark(track, { what: 'sent', at });
    markStop(track, entry, at);
  }

  #go(track: Kept, entry: OutboxEntry, at: number): void {
    const before = track.entry.state;
    track.entry = entry;
    track.overAt = null;
    if (entry.state === before) return;
    if (before === 'saving') mark(track, { what: 'saved', at });
    // Where requests are seen they have told already.
    const isTold = track.marks.at(-1)?.what === 'sent';
    if (entry.state === 'in_flight' && !isTold) mark(track, { what: 'sent', at });
    markStop(track, entry, at);
  }

  /** A decision has put a transaction under a new key: what was seen under the old one goes before. */
  #goesOnAs(key: string, track: Kept): void {
    const old = this.#tracks.get(key);
    if (!old || old === track) return;
    track.marks = [...old.marks, ...track.marks].sort((a, b) => a.at - b.at);
    this.#tracks.delete(key);
  }

  #hasCome(track: Kept): void {
    if (!this.#told || track.rev === null || !this.#told.revs.has(track.rev)) return;
    if (!track.marks.some(({ what }) => what === 'live'))
      mark(track, { what: 'live', at: this.#told.at, rev: track.rev });
  }

  #isSeen(track: Kept, at: number): void {
    if (track.rev === null) return;
    for (const { name, rev } of this.#others) {
      const isTold = track.marks.some((mark) => mark.what === 'seen' && mark.note === name);
      if (rev >= track.rev && !isTold && count(track, 'seen') < SEEN_MAX) mark(track, { what: 'seen', at, note: name });
    }
  }

  /** First what has gone, and then what may wait beyond those that the outbox tells of; the oldest first. */
  #forget(): void {
    const hasGone = ({ overAt }: Kept) => overAt !== null;
    const isUntold = ({ key }: Kept) => !this.#present.has(key);
    for (const mayGo of [hasGone, isUntold]) {
      for (const track of this.#tracks.values()) {
        if (this.#tracks.size <= TRACKS_MAX) return;
        if (mayGo(track)) this.#tracks.delete(track.key);
      }
    }
  }
}

function markStop(track: Kept, { state, problem }: OutboxEntry, at: number): void {
  if (state !== 'parked' && state !== 'suspended') return;
  const note = problem?.code;
  // The answer has told it before the engine did.
  const last = track.marks.at(-1);
  if (last?.what === 'parked' && last.note === note) return;
  mark(track, { what: state, at, ...(note && { note }) });
}

const count = ({ marks }: Kept, what: MarkKind) => marks.filter((mark) => mark.what === what).length;

function accept(track: Kept, { rev }: Answered, at: number): void {
  track.rev = rev;
  // The answer may be read after the outbox is.
  if (track.marks.at(-1)?.what === 'left') track.marks.pop();
  mark(track, { what: 'accepted', at, ...(rev !== null && { rev }) });
}

function mark(track: Kept, mark: Mark): void {
  track.marks.push(mark);
  track.marks.splice(MARKS_MAX / 2, Math.max(0, track.marks.length - MARKS_MAX));
}
