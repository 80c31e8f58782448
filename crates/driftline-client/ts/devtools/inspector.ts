/** Gathers what the space tells, for as long as it is not stopped, and draws it at most once per frame, where it is to be drawn. */

import type { SeenBy } from '../devtools.js';
import type { OutboxEntry } from '../status.js';
import type { AnyDb, ListSpaces, SeenStatus } from './db.js';
import { type Device, measureDevice } from './device.js';
import { shortKey } from './model/format.js';
import { type Graph, layOut } from './model/graph.js';
import { History } from './model/history.js';
import { type Faults, faultWords, NO_FAULTS } from './network/faults.js';
import { Network } from './network/network.js';
import { Pace } from './pace.js';
import { saveFile } from './save.js';
import type { Actions, Decision, State, Tab } from './state.js';

/** How many entries `outbox()` tells of at most. */
const OUTBOX_SHOWN = 1_000;
const RECENT_MAX = 12;
/** Ages, and what changes without a word, are drawn anew so often. */
const TICK_MS = 500;

type Draw = (state: State, actions: Actions) => void;

export class Inspector implements Actions {
  readonly #db: AnyDb;
  readonly #listSpaces: ListSpaces;
  readonly #keepTrace: (() => void) | undefined;
  readonly #views = new Set<Draw>();
  readonly #simulatedListeners = new Set<() => void>();
  readonly #history = new History();
  readonly #network: Network;
  readonly #ends: (() => void)[] = [];
  readonly #pace = new Pace(() => {
    this.#read();
    for (const draw of this.#views) draw(this.#state(), this);
  });

  #isClosed = false;
  #isOver = false;
  #tab: Tab = 'outbox';
  #outbox: readonly OutboxEntry[] = [];
  #outboxText = '';
  #graph: Graph = layOut([], () => undefined);
  #status: SeenStatus;
  #since: number | null = null;
  #pausedUntil: number | null = null;
  #sentAt: number | null = null;
  #selected: string | null = null;
  #device: Device | null = null;
  #asked: State['asked'] = null;
  #reparenting: string | null = null;
  #notice: string | null = null;

  /** With `keepTrace` it offers to open the space again with a trace. */
  constructor(db: AnyDb, listSpaces: ListSpaces, keepTrace?: () => void) {
    this.#db = db;
    this.#listSpaces = listSpaces;
    this.#keepTrace = keepTrace;
    this.#status = db.status;
    const watcher = {
      sent: (body: string) => {
        this.#sentAt = Date.now();
        this.#history.sent(body, this.#sentAt);
      },
      answered: (body: string, answer: string | null, code: string | null) => {
        this.#history.answered(body, answer, code, Date.now());
        this.#pace.soon();
      },
      paused: (ms: number) => {
        this.#pausedUntil = Math.max(this.#pausedUntil ?? 0, Date.now() + ms);
      },
      live: (revs: readonly number[]) => this.#history.live(revs, Date.now()),
    };
    this.#network = new Network(db.home.space, watcher, () => this.#pace.soon());
    this.#ends.push(db.onStatus((status) => this.#hear(status)));
    const tick = setInterval(() => this.#tick(), TICK_MS);
    this.#ends.push(() => clearInterval(tick));
    const close = () => {
      this.#pace.now();
      this.stop();
    };
    db.onClose.add(close);
    this.#ends.push(() => db.onClose.delete(close));
    this.#pace.now();
  }

  /** Draws at once, and whenever there is something new. Returns what ends that. */
  view(draw: Draw): () => void {
    this.#views.add(draw);
    this.#pace.now();
    return () => {
      this.#views.delete(draw);
      this.#asked = null;
    };
  }

  /** What is simulated, in a few words; empty where nothing is. */
  get simulated(): string {
    return faultWords(this.#network.faults);
  }

  onSimulated(listener: () => void): () => void {
    this.#simulatedListeners.add(listener);
    return () => void this.#simulatedListeners.delete(listener);
  }

  /** What others say that they have on their screens. */
  seen(others: readonly SeenBy[]): void {
    this.#history.seen(others, Date.now());
    this.#pace.soon();
  }

  /** Lets go of everything, and undoes what is simulated. */
  stop(): void {
    if (this.#isOver) return;
    this.simulate(NO_FAULTS);
    this.#isOver = true;
    this.#pace.stop();
    this.#network.stop();
    for (const end of this.#ends) end();
  }

  // ---- What can be done ----

  show(tab: Tab): void {
    this.#tab = tab;
    this.#notice = null;
    this.#asked = null;
    if (tab === 'device') this.measure();
    this.#pace.next();
  }

  select(key: string | null): void {
    this.#selected = key;
    this.#asked = null;
    this.#pace.next();
  }

  decide(key: string, decision: Decision): void {
    const isFinal = decision === 'discard' || decision === 'discard all';
    if (isFinal) this.#asked = { key, decision };
    else this.#carryOut(key, decision, () => this.#do(key, decision));
    this.#pace.next();
  }

  confirm(): void {
    const asked = this.#asked;
    this.#asked = null;
    if (asked) this.#carryOut(asked.key, asked.decision, () => this.#do(asked.key, asked.decision));
  }

  cancel(): void {
    this.#asked = null;
    this.#pace.next();
  }

  openReparent(key: string | null): void {
    this.#reparenting = key;
    this.#pace.next();
  }

  reparent(key: string, ...rest: Parameters<Actions['reparent']> extends [string, ...infer R] ? R : never): void {
    const [from, to, dependents] = rest;
    this.#reparenting = null;
    this.#carryOut(key, 'reparent', () => this.#db.reparent(key, from, to, { dependents }));
  }

  exportGroup(key: string): void {
    this.#attempt(() =>
      saveFile(`transaction-${shortKey(key).replace(':', '-')}.json`, this.#db.export(key, { dependents: true })),
    );
  }

  simulate(more: Partial<Faults>): void {
    if (this.#isOver) return;
    const wasOffline = this.#network.faults.offline;
    this.#network.simulate({ ...this.#network.faults, ...more });
    // Where the app has not switched it off, what waits need not wait for the next try.
    if (wasOffline && !this.#network.faults.offline && this.#db.isOnline) this.#attempt(() => this.#db.setOnline(true));
    for (const listener of this.#simulatedListeners) listener();
    this.#pace.next();
  }

  measure(): void {
    measureDevice(this.#db.home, this.#listSpaces).then((device) => {
      this.#device = device;
      this.#pace.next();
    });
  }

  keepTrace(): void {
    this.#keepTrace?.();
  }

  downloadTrace(): void {
    this.#attempt(() => saveFile(`${this.#db.home.space}-trace.jsonl`, this.#db.trace() ?? ''));
  }

  copyTrace(): void {
    navigator.clipboard.writeText(this.#db.trace() ?? '').then(
      () => this.#say('The trace is in the clipboard.'),
      () => this.#say('The browser does not let this page write to the clipboard: download the file.'),
    );
  }

  #say(notice: string): void {
    this.#notice = notice;
    this.#pace.next();
  }

  // ---- What is seen ----

  #hear(status: SeenStatus): void {
    const { state, reason } = this.#status;
    if (status.state !== state || status.reason !== reason) this.#since = Date.now();
    this.#status = status;
    this.#pace.soon();
  }

  #tick(): void {
    if (document.hidden || this.#views.size === 0) return;
    if (this.#outbox.length > 0 || this.#status.state !== 'saved') this.#pace.soon();
  }

  #read(): void {
    try {
      this.#take(this.#db.outbox());
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'closed') throw error;
      this.#isClosed = true;
    }
  }

  #take(outbox: readonly OutboxEntry[]): void {
    this.#history.look(outbox, outbox.length < OUTBOX_SHOWN, Date.now());
    if (this.#views.size === 0) return;
    const text = JSON.stringify(outbox);
    if (text === this.#outboxText) return;
    [this.#outbox, this.#outboxText] = [outbox, text];
    if (!outbox.some(({ key }) => key === this.#asked?.key)) this.#asked = null;
    this.#graph = layOut(outbox, (table, id) => this.#db.tables[table]?.get(id));
  }

  #state(): State {
    const outbox = this.#outbox;
    const { requests, faults } = this.#network;
    const selected = this.#selected === null ? undefined : this.#history.get(this.#selected);
    return {
      place: this.#db.home,
      tables: this.#db.tables,
      isClosed: this.#isClosed,
      tab: this.#tab,
      tabs: ['outbox', 'held', 'requests', 'device', 'simulate', 'trace'],
      waiting: {
        now: Date.now(),
        status: this.#status,
        network: { browser: navigator.onLine, app: this.#db.isOnline, isSimulated: faults.offline },
        since: this.#since,
        pausedUntil: this.#pausedUntil,
        sentAt: this.#sentAt,
        isFirstLoad: requests.items.some(({ what, isOpen }) => what === 'snapshot' && isOpen) && this.#status.rev === 0,
        entries: new Map(outbox.map((entry) => [entry.key, entry])),
        places: new Map(outbox.map(({ key }, index) => [key, index + 1])),
      },
      outbox,
      graph: this.#graph,
      selected,
      recent: this.#history.over(RECENT_MAX),
      requests: requests.items,
      faults,
      device: this.#device,
      isTraced: this.#db.home.trace ?? false,
      canKeepTrace: this.#keepTrace !== undefined,
      asked: this.#asked,
      reparenting: this.#reparenting,
      notice: this.#notice,
    };
  }

  // ---- Small steps ----

  #do(key: string, decision: Decision): void {
    if (decision === 'retry') this.#db.retry(key);
    else if (decision === 'detach') this.#db.detach(key);
    else this.#db.discard(key, { dependents: decision === 'discard all' });
  }

  #carryOut(key: string, decision: Decision, act: () => void): void {
    const group = decision === 'discard all' ? (this.#history.get(key)?.entry.dependents ?? []) : [];
    if (!this.#attempt(act)) return;
    for (const one of [key, ...group]) this.#history.decided(one, decision, Date.now());
  }

  /** Returns whether it could be done. */
  #attempt(act: () => void): boolean {
    try {
      act();
      this.#notice = null;
      return true;
    } catch (error) {
      this.#notice = error instanceof Error ? error.message : String(error);
      return false;
    } finally {
      this.#pace.next();
    }
  }
}
