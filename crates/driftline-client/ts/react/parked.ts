/** What is parked, as an external store of React. */

import type { Db, Group } from '../db.js';
import type { Transaction } from '../edits.js';
import type { Problem } from '../errors.js';
import type { Unsubscribe } from '../rows.js';
import type { SchemaInput } from '../schema.js';
import type { OutboxEntry, Status } from '../status.js';
import { haveSameItems } from './query.js';

/** A transaction that cannot take effect as it is, and those that wait for it. The same object as long as nothing of it changed. */
export interface ParkedGroup<S extends SchemaInput> {
  readonly key: string;
  readonly problem: Problem;
  readonly entry: OutboxEntry;
  readonly dependents: readonly OutboxEntry[];
  /** Sends it once more, and what waits for it afterwards. */
  retry(): void;
  /** Makes it say something else, and sends that. */
  amend(build: (tx: Transaction<S>) => void): void;
  /** Gives it up; with `dependents`, also those that wait for it. */
  discard(options?: Group): void;
}

interface Seen<S extends SchemaInput> {
  readonly text: string;
  readonly group: ParkedGroup<S>;
}

export const NOTHING_PARKED: readonly never[] = Object.freeze([]);

export class Parked<S extends SchemaInput> {
  readonly #db: Db<S>;
  readonly #listeners = new Set<() => void>();
  #stop: Unsubscribe | undefined;
  #status: Status | undefined;
  #seen = new Map<string, Seen<S>>();
  #groups: readonly ParkedGroup<S>[] = NOTHING_PARKED;

  constructor(db: Db<S>) {
    this.#db = db;
  }

  // The outbox of a long flight is big, so it is read once for each status in which something is parked.
  readonly read = (): readonly ParkedGroup<S>[] => {
    const { status } = this.#db;
    if (this.#status === status) return this.#groups;
    this.#status = status;
    const entries = status.parked > 0 ? this.#entries() : NOTHING_PARKED;
    if (entries) this.#take(entries);
    return this.#groups;
  };

  readonly subscribe = (changed: () => void): Unsubscribe => {
    const listener = () => changed();
    this.#listeners.add(listener);
    this.#stop ??= this.#db.onStatus(() => this.#tell());
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      this.#stop?.();
      this.#stop = undefined;
    };
  };

  /** `undefined` once the space is closed: what was known then stays. */
  #entries(): readonly OutboxEntry[] | undefined {
    try {
      return this.#db.parked();
    } catch (error) {
      if ((error as { code?: unknown }).code === 'closed') return undefined;
      throw error;
    }
  }

  #take(entries: readonly OutboxEntry[]): void {
    const byKey = new Map(entries.map((entry) => [entry.key, entry]));
    const seen = new Map<string, Seen<S>>();
    for (const entry of entries) {
      if (entry.state !== 'parked' || !entry.problem) continue;
      const dependents = (entry.dependents ?? []).flatMap((key) => byKey.get(key) ?? []);
      const text = JSON.stringify([entry, dependents]);
      const before = this.#seen.get(entry.key);
      seen.set(
        entry.key,
        before?.text === text ? before : { text, group: this.#group(entry, entry.problem, dependents) },
      );
    }
    this.#seen = seen;
    const groups = [...seen.values()].map(({ group }) => group);
    if (!haveSameItems(groups, this.#groups)) this.#groups = groups;
  }

  #group(entry: OutboxEntry, problem: Problem, dependents: readonly OutboxEntry[]): ParkedGroup<S> {
    const { key } = entry;
    // A decision shows at once, also where it leaves the status as it was.
    const decide = (decision: () => void) => {
      decision();
      this.#status = undefined;
      this.#tell();
    };
    return {
      key,
      problem,
      entry,
      dependents,
      retry: () => decide(() => this.#db.retry(key)),
      amend: (build) => decide(() => this.#db.amend(key, build)),
      discard: (options) => decide(() => this.#db.discard(key, options)),
    };
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}
