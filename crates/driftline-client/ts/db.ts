/** An open space: its tables, its transactions, and what the engine says about them. */

import { type Change, Changes } from './changes.js';
import { Edits, type Transaction } from './edits.js';
import type { Engine } from './engine.js';
import { asError, DriftlineError, type Problem } from './errors.js';
import { add, type ChangedIds, type ChangedRows, notify, type RowPatch, RowStore, type Unsubscribe } from './rows.js';
import type { NewRow, Patch, Row, SchemaInput, TableName } from './schema.js';
import { type DamagedRecord, type Digest, type EngineEvent, OPENING, type OutboxEntry, type Status } from './status.js';
import { type Admitted, importRecords, type Owner, prefixOf, type Release } from './storage.js';
import { type Exported, type Imported, type ImportOptions, readFile, writeFile } from './transfer.js';

export interface Table<S extends SchemaInput, T extends TableName<S>> {
  readonly size: number;
  create(row: NewRow<S, T>): Change & { readonly id: string };
  update(id: string, patch: Patch<S, T>): Change;
  delete(id: string): Change;
  get(id: string): Row<S, T> | undefined;
  query(predicate?: (row: Row<S, T>) => boolean): Row<S, T>[];
  /** Calls the listener with the ids of rows that changed, at most once per flush. */
  subscribe(listener: (ids: ChangedIds) => void): Unsubscribe;
  /** @internal In haste: of the first edit that this tab makes in a task it hears before the call returns. */
  subscribe(listener: (ids: ChangedIds) => void, isHasty: true): Unsubscribe;
}

export interface TransactionOptions {
  /** Transactions that must take effect first, beyond those that the references tell of. */
  readonly after?: readonly (Change | string)[];
  /** `false`: `undo` passes it over, as what the app did and not its user. */
  readonly undo?: boolean;
  /** Any whole number from 0 up. Transactions of one gesture, such as a drag that is written on its way, are one step to `undo`, however long it takes. */
  readonly gesture?: number;
}

/** With `dependents`, a decision also concerns those that cannot take effect without the transaction. */
export interface Group {
  readonly dependents?: boolean;
}

export type RowName<S extends SchemaInput> = { readonly table: TableName<S>; readonly id: string };

export interface Notice {
  readonly key: string;
  readonly problem: Problem;
}

/** Where a space is, here and on its server, and what lets go of it. */
export interface Home extends Required<Owner> {
  readonly space: string;
  /** The server's origin; '' for the page's own. */
  readonly url: string;
  /** The user as a server is told of them, percent-encoded; empty where the app does not say. */
  readonly identity: string;
  readonly token?: () => Promise<string | null> | string | null;
  /** Whether what the engine is told is kept. */
  readonly trace?: boolean | undefined;
  readonly release: Release;
}

/** How long other tabs have to hand over what they could still alter. */
const HANDOVER_MS = [50, 150, 400, 1_000];

const DISCARDED = { code: 'discarded', detail: 'The transaction was discarded.' };

type Answer = { key: string; patch: RowPatch[] } | { problem: Problem };

export class Db<S extends SchemaInput> {
  readonly tables: { readonly [T in TableName<S>]: Table<S, T> };
  /** Resolves once reads show everything that is on this device. Edits can be made before that. */
  readonly loaded: Promise<void>;
  /** @internal For entries of the package that ask the server themselves. */
  readonly home: Home;
  /** @internal What `setOnline` was last told. */
  isOnline = true;
  /** @internal Called when the space is closed. */
  readonly onClose: Set<Release>;

  readonly #schema: S;
  readonly #rows: RowStore;
  readonly #changes = new Changes(() => this.#engine?.save_now());
  readonly #statusListeners = new Set<(status: Status) => void>();
  readonly #noticeListeners = new Set<(notice: Notice) => void>();
  readonly #errorListeners = new Set<(error: DriftlineError) => void>();
  /** Those who wait for another status, or the end. */
  #waiting: (() => void)[] = [];
  #engine: Engine | undefined;
  #status = OPENING;
  #askedToPersist = false;
  #isLoaded!: () => void;

  private constructor(schema: S, home: Home) {
    this.#schema = schema;
    this.home = home;
    this.onClose = new Set([home.release]);
    this.#rows = new RowStore(Object.keys(schema.tables));
    this.loaded = new Promise((resolve) => {
      this.#isLoaded = resolve;
    });
    const tables = Object.keys(schema.tables).map((name) => [name, this.#table(name)]);
    this.tables = Object.fromEntries(tables);
  }

  /** @internal For `open()`. The engine may call back before it is handed over, so the space exists first. */
  static async over<S extends SchemaInput>(
    schema: S,
    start: (onPatch: (json: string) => void, onEvent: (json: string) => void) => Promise<Engine>,
    home: Home,
  ): Promise<Db<S>> {
    const db = new Db(schema, home);
    db.#engine = await start(
      (json) => db.#rows.apply(JSON.parse(json)),
      (json) => db.#hear(JSON.parse(json)),
    ).catch((thrown) => {
      throw asError(thrown);
    });
    if (db.#status === OPENING) db.#setStatus(db.#engine.status() as Status);
    return db;
  }

  /** Makes the edits take effect together or not at all. Throws a {@link DriftlineError}, and changes nothing, if refused. */
  transaction(build: (tx: Transaction<S>) => void, options: TransactionOptions = {}): Change {
    const edits = this.#edits();
    build(edits.tables(this.#schema));
    return this.#commit(edits, options);
  }

  subscribe(listener: (changed: ChangedRows) => void): Unsubscribe {
    return this.#rows.subscribeAll(listener);
  }

  get status(): Status {
    return this.#status;
  }

  onStatus(listener: (status: Status) => void): Unsubscribe {
    return add(this.#statusListeners, listener);
  }

  /**
   * What the server did otherwise than a transaction said, by the rules of its tables: an edit of a row that somebody had
   * deleted was dropped, or a reference to one was made null.
   */
  onNotice(listener: (notice: Notice) => void): Unsubscribe {
    return add(this.#noticeListeners, listener);
  }

  /** Problems that belong to no single transaction, such as a store that cannot be written. */
  onError(listener: (error: DriftlineError) => void): Unsubscribe {
    return add(this.#errorListeners, listener);
  }

  /** For comparing devices with each other and with the server. What waits in the outbox is not in it. */
  get digest(): Digest {
    const [rev, digest, rows] = this.#open().digest() as [number, string, number];
    return { rev, digest, rows };
  }

  /** What waits, in the order in which it is sent. */
  outbox(): OutboxEntry[] {
    return JSON.parse(this.#open().outbox());
  }

  parked(): OutboxEntry[] {
    return this.outbox().filter((entry) => entry.state === 'parked' || entry.state === 'suspended');
  }

  retry(key: string): void {
    this.#decide('retry', key);
  }

  /** Gives a transaction up; with `dependents`, also those that cannot take effect without it. */
  discard(key: string, options: Group = {}): void {
    this.#decide('discard', key, { dependents: options.dependents ?? false });
  }

  /** Makes a waiting transaction say something else. */
  amend(key: string, build: (tx: Transaction<S>) => void): void {
    const edits = this.#edits();
    build(edits.tables(this.#schema));
    this.#decide('amend', key, { edits: edits.edits });
  }

  /** Makes a waiting transaction refer to another row, or to none, wherever it refers to `from`. */
  reparent(key: string, from: RowName<S>, to: RowName<S> | null, options: Group = {}): void {
    this.#decide('reparent', key, { from, to, dependents: options.dependents ?? false });
  }

  /** Frees what waits for a transaction: references to the rows that it makes become null. */
  detach(key: string): void {
    this.#decide('detach', key);
  }

  /**
   * Edits that were found on this device and cannot be read; `onError` tells of each with the code `record_corrupt`. All others are
   * there. `discard` removes one for good.
   */
  damaged(): DamagedRecord[] {
    return JSON.parse(this.#open().damaged());
  }

  /** A waiting transaction as a file may hold it, with what the server holds of its rows. */
  export(key: string, options: Group = {}): string {
    const text = this.#open().export_waiting(key, options.dependents ?? false);
    const { problem } = JSON.parse(text);
    if (problem) throw new DriftlineError(problem);
    return text;
  }

  /** Resolves once all that this tab has made is on disk. */
  saved(): Promise<void> {
    return this.#changes.allSaved();
  }

  /** Resolves once nothing waits any more, of any tab; rejects with `parked` where the rest is the user's to decide. */
  async accepted(): Promise<void> {
    await this.loaded;
    for (;;) {
      const { queued, in_flight, parked } = this.#open().status() as Status;
      if (queued + in_flight === 0 && parked === 0) return;
      if (queued + in_flight === 0) {
        const detail = `${parked} are parked: \`parked()\` tells why.`;
        throw new DriftlineError({ code: 'parked', detail });
      }
      await new Promise<void>((wake) => this.#waiting.push(wake));
    }
  }

  /**
   * All that waits on this device, also what is not on disk yet and what is parked, as a file that this user can import on any
   * device. It stays here too, and takes effect once, whoever sends it first. Where the browser does not let this device be read, the
   * file has what this tab has made since.
   */
  async exportUnsynced(): Promise<Exported> {
    if (!this.status.reason?.startsWith('storage_')) await this.loaded;
    let found: { records: string[]; left_out: number } = JSON.parse(this.#open().export_unsynced());
    for (const ms of HANDOVER_MS) {
      if (found.left_out === 0) break;
      await new Promise((resolve) => setTimeout(resolve, ms));
      found = JSON.parse(this.#open().export_unsynced());
    }
    const { records, left_out } = found;
    const { app, user, space } = this.home;
    return { text: await writeFile({ app, user, space, records }), transactions: records.length, leftOut: left_out };
  }

  /**
   * What the engine of this tab has been told since the space was opened with `trace`, as text that `npm run sim -- --replay FILE`
   * plays again: to the same outbox and the same view. Undefined without that option.
   */
  trace(): string | undefined {
    return this.#open().trace();
  }

  /** Takes a file of `exportUnsynced`. What it holds is on this disk, and seen, when this resolves. Refused, it changes nothing. */
  async importUnsynced(text: string, options: ImportOptions = {}): Promise<Imported> {
    const content = await readFile(text);
    const { app, user, space } = this.home;
    const refuse = (what: string, is: string, code: string) => {
      throw new DriftlineError({ code, detail: `The file is of the ${what} “${is}”. Nothing was taken from it.` });
    };
    if (content.app !== app) refuse('app', content.app, 'wrong_app');
    if (content.space !== space) refuse('space', content.space, 'wrong_space');
    if (content.user !== user && !options.otherUser) refuse('user', content.user, 'wrong_user');
    await this.loaded;
    const admit = () => {
      const admitted: Admitted | { problem: Problem } = JSON.parse(this.#open().admit(JSON.stringify(content.records)));
      if ('problem' in admitted) throw new DriftlineError(admitted.problem);
      return admitted;
    };
    const imported = (message: string) => this.#open().imported(message);
    const { puts, known, unreadable } = await importRecords(prefixOf(this.home), space, admit, imported);
    return { imported: puts.length, known, unreadable };
  }

  /**
   * Takes back what this tab did last, as far as nobody has gone on from it, by transactions like any other. Returns these;
   * none where there is nothing to undo. `status.undo` and `status.redo` tell how many steps there are. A step that cannot be
   * taken back throws, and the next call takes the one before it.
   */
  undo(): Change[] {
    return this.#takeBack(false);
  }

  /** Takes back the last undo. */
  redo(): Change[] {
    return this.#takeBack(true);
  }

  /** The app's own switch: while it is off nothing is sent, and everything is kept. */
  setOnline(online: boolean): void {
    this.isOnline = online;
    this.#open().set_online(online);
  }

  /**
   * Saves what is not yet on disk and lets the space go. What waits is sent when it is opened again. What this device does not save
   * (`status` says so) is given up after some seconds: its promises reject with the code `not_saved`.
   */
  async close(): Promise<void> {
    const engine = this.#engine;
    if (!engine) return;
    this.#engine = undefined;
    const isSaved = await engine.close();
    engine.free();
    if (!isSaved) {
      const detail = 'The space was closed before this was saved.';
      this.#changes.endUnsaved(new DriftlineError({ code: 'not_saved', detail }));
    }
    for (const end of this.onClose) end();
    this.#wake();
    const detail = 'The space was closed: what waits is sent when it is opened again.';
    this.#changes.endAll(new DriftlineError({ code: 'closed', detail }));
  }

  #table(name: string): Table<S, never> {
    const one = (build: (edits: Edits) => void) => {
      const edits = this.#edits();
      build(edits);
      return this.#commit(edits, {});
    };
    const rows = this.#rows.rows(name);
    const table: Table<SchemaInput, string> = {
      get size() {
        return rows.size;
      },
      create: (row) => {
        const change = one((edits) => edits.create(name, row));
        return Object.defineProperty(change, 'id', { value: change.ids[0], enumerable: true }) as never;
      },
      update: (id, patch) => one((edits) => edits.update(name, id, patch)),
      delete: (id) => one((edits) => edits.delete(name, id)),
      get: (id) => rows.get(id) as never,
      query: (predicate) => {
        const all = [...rows.values()] as never[];
        return predicate ? all.filter(predicate) : all;
      },
      subscribe: (listener, isHasty?: true) => this.#rows.subscribe(name, listener, isHasty),
    };
    return table as never;
  }

  /** Asks the browser, at the first edit that only this device holds for a while, not to evict what is stored. */
  #askToPersist(): void {
    if (this.#askedToPersist || this.#status.state !== 'offline') return;
    this.#askedToPersist = true;
    // It may refuse, or not know the question.
    globalThis.navigator?.storage?.persist?.().catch(() => {});
  }

  #decide(what: string, key: string, more: object = {}): void {
    const { problem } = JSON.parse(this.#open().decide(JSON.stringify({ what, key, ...more })));
    if (problem) throw new DriftlineError(problem);
  }

  #takeBack(redo: boolean): Change[] {
    const made: { key: string; patch: RowPatch[] }[] | { problem: Problem } = JSON.parse(this.#open().undo(redo));
    if ('problem' in made) throw new DriftlineError(made.problem);
    if (made.length > 0) this.#askToPersist();
    return made.map(({ key, patch }) => {
      this.#rows.applyOwn(patch);
      return this.#changes.add(key, []);
    });
  }

  #edits(): Edits {
    return new Edits(this.#schema, (table, id) => this.#rows.rows(table).get(id));
  }

  #commit({ edits, ids }: Edits, options: TransactionOptions): Change {
    const after = options.after?.map((change) => (typeof change === 'string' ? change : change.key));
    const { gesture, undo } = options;
    const answer: Answer = JSON.parse(
      this.#open().edit(JSON.stringify({ edits, after, gesture, ...(undo === false && { apart: true }) })),
    );
    if ('problem' in answer) throw new DriftlineError(answer.problem);
    this.#askToPersist();
    this.#rows.applyOwn(answer.patch);
    return this.#changes.add(answer.key, ids);
  }

  #open(): Engine {
    if (this.#engine) return this.#engine;
    throw new DriftlineError({ code: 'closed', detail: 'The space is closed: open it again to go on.' });
  }

  #hear(event: EngineEvent): void {
    switch (event.event) {
      case 'loaded':
        this.#isLoaded();
        break;
      case 'saved':
        this.#changes.saved(event.keys);
        break;
      case 'accepted':
        this.#changes.accepted(event.keys);
        break;
      case 'parked':
        this.#changes.parked(event.key, new DriftlineError(event.problem));
        break;
      case 'notice':
        notify(this.#noticeListeners, { key: event.key, problem: event.problem });
        break;
      case 'discarded':
        this.#changes.ended(event.key, new DriftlineError(DISCARDED));
        break;
      case 'rekeyed':
        this.#changes.rekeyed(event.from, event.to);
        break;
      case 'status':
        this.#setStatus(event.status);
        break;
      case 'error':
        notify(this.#errorListeners, new DriftlineError(event.problem));
        break;
    }
  }

  #setStatus(status: Status): void {
    this.#status = status;
    notify(this.#statusListeners, status);
    this.#wake();
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}
