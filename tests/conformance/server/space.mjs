// A space: its clients and their marks, its rows and its log. All that happens in it is a push.

import { madeTogether } from './digest.mjs';
import { arrange } from './order.mjs';
import { Held, problem, Refused, RequestError } from './problem.mjs';
import { addRange, holds } from './ranges.mjs';
import { Rows } from './rows.mjs';

const CLOCK_AHEAD_MS = 60_000;
const CLOSED_RANGES_KEPT = 10_000;
const CHANGES_REVISIONS = 2_000;
const CHANGES_BYTES = 2 * 1024 * 1024;

export class Space {
  constructor(schema, faults) {
    Object.assign(this, { schema, faults, rev: 0, log: [], clients: new Map() });
    this.rows = new Rows(schema, faults);
  }

  /** Refuses a push of a sender whose time is over, before anything changes. */
  check(principal, push) {
    if (this.faults.has('ignores_epochs')) return;
    for (const { id } of push.clients) {
      const epoch = this.clients.get(`${principal} ${id}`)?.epoch ?? 0;
      if (push.epoch < epoch) throw new RequestError(409, 'stale_sender', `epoch ${epoch} has taken over`, { epoch });
    }
  }

  /** Takes a push in. `receipts` has a new one for each client; `now` is in milliseconds since 1970. */
  push(principal, push, { now, receipts }) {
    const clients = push.clients.map((asked, i) => this.meet(principal, asked, push.epoch, receipts[i]));
    const decision = { now, failed: new Set(), outcomes: [], clients: clients.map(({ client }) => client) };
    for (const unit of push.units) this.takeUnit(unit, decision);
    for (const { client } of clients) forgetClosed(client);
    return {
      outcomes: decision.outcomes,
      clients: clients.map(({ client, fork }) => ({ id: client.id, receipt: client.current, fork })),
    };
  }

  meet(principal, asked, epoch, fresh) {
    const name = `${principal} ${asked.id}`;
    if (!this.clients.has(name)) {
      const actor = this.clients.size + 1;
      const marks = { settled: new Map(), logged: new Map() };
      this.clients.set(name, {
        id: asked.id,
        principal,
        actor,
        epoch: 0,
        current: null,
        previous: null,
        closed: [],
        ...marks,
      });
    }
    const client = this.clients.get(name);
    // Whoever has forgotten a client has nothing to hold against its receipt.
    client.current ??= asked.receipt;
    const isNew = asked.receipt === client.current;
    const isCopy = !isNew && asked.receipt !== client.previous && !this.faults.has('knows_no_copies');
    if (isCopy) return { client, fork: true };
    if (isNew) Object.assign(client, { previous: client.current, current: fresh });
    client.epoch = epoch;
    const closed = this.faults.has('forgets_gaps') ? asked.closed.map(([, to]) => [1, to]) : asked.closed;
    const ranges = closed.reduce(addRange, client.closed);
    if (ranges.length <= CLOSED_RANGES_KEPT) client.closed = ranges;
    return { client, fork: false };
  }

  takeUnit({ txns, after }, decision) {
    const fresh = [];
    let isBroken = false;
    for (const txn of txns) {
      const told = this.recall(txn, decision);
      if (told === undefined) fresh.push(txn);
      else {
        isBroken ||= told.outcome !== 'applied';
        answer(decision, txn, told);
      }
    }
    if (fresh.length === 0) return;
    const waits = after.some((key) => !this.isApplied(key, decision)) && !this.faults.has('ignores_order');
    if (isBroken || waits) return hold(fresh, decision);
    try {
      this.accept(fresh, this.takeEffect(fresh, decision), decision);
    } catch (error) {
      if (error instanceof Held) return hold(fresh, decision);
      if (!(error instanceof Refused)) throw error;
      this.refuse(fresh, error, decision);
    }
  }

  /** What is remembered of a transaction as its outcome; nothing where it is fresh. */
  recall({ client: index, seq, hash }, decision) {
    const client = decision.clients[index];
    const first = client.settled.get(seq);
    const mark = first ?? client.logged.get(seq);
    if (this.faults.has('forgets_marks') && first === undefined) return undefined;
    if (mark === undefined) return holds(client.closed, seq) ? unknown() : undefined;
    if (mark.hash === hash) {
      if (this.faults.has('applies_twice')) return undefined;
      return first?.told ?? { outcome: 'applied', rev: mark.rev, notices: [] };
    }
    if (madeTogether(mark.hash, hash)) return unknown();
    return { outcome: 'refused', problem: problem('key_reused', 'this key stands for another transaction') };
  }

  isApplied({ client: index, seq }, { failed, clients }) {
    if (failed.has(`${index} ${seq}`)) return false;
    const client = clients[index];
    const told = client.settled.get(seq)?.told;
    return told === undefined ? holds(client.closed, seq) : told.outcome === 'applied';
  }

  takeEffect(txns, { now, clients }) {
    txns.forEach((txn, part) => {
      if (txn.error) throw Object.assign(txn.error, { part });
      const replaced = txn.replaces.some((key) => this.hasReplaced(clients[key.client], key.seq, txn.hash));
      if (replaced) throw new Refused('too_late', 'what this was to replace has taken effect already');
    });
    const latest = [now + CLOCK_AHEAD_MS, 0];
    const stamps = txns.map(({ at, client, seq }) => {
      const isAhead = at[0] > latest[0] || (at[0] === latest[0] && at[1] > 0);
      return [...(isAhead ? latest : at), clients[client].id, seq];
    });
    const steps = txns.flatMap(({ edits }, part) => edits.map((edit) => ({ part, edit })));
    const held = (row) => this.rows.references(row);
    return this.rows.apply(this.faults.has('ignores_order') ? steps : arrange(this.schema, steps, held), stamps);
  }

  hasReplaced(client, seq, hash) {
    const settled = client.settled.get(seq);
    const counts = settled?.told.outcome === 'applied' || settled?.told.problem?.code === 'too_late';
    const mark = counts ? settled : client.logged.get(seq);
    return mark !== undefined && madeTogether(mark.hash, hash);
  }

  accept(txns, { changes, notices }, decision) {
    this.rev += 1;
    const { rev } = this;
    const parts = txns.map((txn, part) => {
      const client = decision.clients[txn.client];
      const own = notices.filter((notice) => notice.part === part).map(({ notice }) => notice);
      this.settle(txn, { outcome: 'applied', rev, notices: own }, decision);
      client.logged.set(txn.seq, { hash: txn.hash, rev });
      for (const { client: index, seq } of txn.replaces) closeReplaced(decision.clients[index], seq, txn.hash);
      // The changes of a unit stand together, in its last part.
      return { client, seq: txn.seq, hash: txn.hash, changes: part === txns.length - 1 ? changes : [] };
    });
    this.log.push({ rev, parts, bytes: JSON.stringify(changes).length });
  }

  refuse(txns, error, decision) {
    const culprit = error.part ?? 0;
    txns.forEach((txn, part) => {
      const refused = problem(error.code, error.message, error.rows);
      const other = problem('unit_refused', `another transaction of its unit was refused: ${error.message}`);
      this.settle(txn, { outcome: 'refused', problem: part === culprit ? refused : other }, decision);
    });
  }

  settle(txn, told, decision) {
    decision.clients[txn.client].settled.set(txn.seq, { hash: txn.hash, told });
    answer(decision, txn, told);
  }

  /** The revisions after a cursor as `principal` sees them, within the limits of an answer. */
  changes(principal, cursor) {
    if (cursor > this.rev) return { changes: [], more: false, reload: true };
    const changes = [];
    let bytes = 0;
    for (const entry of this.log.slice(cursor, cursor + CHANGES_REVISIONS)) {
      if (bytes >= CHANGES_BYTES) break;
      bytes += entry.bytes;
      changes.push({ rev: entry.rev, parts: entry.parts.map((part) => shown(part, principal)) });
    }
    return { changes, more: cursor + changes.length < this.rev, reload: false };
  }
}

function shown({ client, seq, hash, changes }, principal) {
  const own = client.principal === principal ? { key: [client.id, seq], hash } : {};
  return { actor: client.actor, ...own, changes };
}

const unknown = () => ({
  outcome: 'unknown',
  problem: problem('outcome_unknown', 'what became of this cannot be told'),
});

function answer({ outcomes, failed }, { client, seq }, told) {
  if (told.outcome === 'applied') failed.delete(`${client} ${seq}`);
  else failed.add(`${client} ${seq}`);
  outcomes.push({ key: [client, seq], ...told });
}

function hold(txns, decision) {
  for (const txn of txns) answer(decision, txn, { outcome: 'held' });
}

/** What has been replaced may still be on its way, or be replaced by another, too: it must not take effect as well. */
function closeReplaced(client, seq, hash) {
  const marked = client.settled.get(seq);
  const stays = marked && (marked.told.outcome === 'applied' || !madeTogether(marked.hash, hash));
  if (stays || holds(client.closed, seq)) return;
  const told = { outcome: 'refused', problem: problem('too_late', 'something else has taken effect in its place') };
  client.settled.set(seq, { hash: marked?.hash ?? hash, told });
}

/** Of a number that is closed the log alone tells. */
function forgetClosed(client) {
  for (const seq of client.settled.keys()) if (holds(client.closed, seq)) client.settled.delete(seq);
}
