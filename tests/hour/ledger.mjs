// What each person has seen done, kept outside the browsers; and whether the rows that are there in the end agree with it.
//
// A person's action is begun before it is done. It ends as `seen`, once the status has said that it is saved on this device, with what
// was changed; or as `unsure`, because the tab died in the midst of it. What is unsure may have been kept or not.

/** Where two people change the same within so long, either may be the last. */
const TIE_MS = 10_000;

export class Ledger {
  /** By id: its table, what was seen done to it, in order of time. */
  #rows = new Map();
  #ids = new Map(); // By name.
  /** What a tab was making when it died: `{ table, isIt(row) }`, each good for one row at most. */
  #strays = [];
  #now;
  counts = { seen: 0, unsure: 0, skipped: 0 };

  constructor(now = Date.now) {
    this.#now = now;
  }

  idOf = (name) => this.#ids.get(name);
  nameOf = (id) => [...this.#ids].find(([, one]) => one === id)?.[0] ?? id;
  isKnown = (id) => this.#rows.has(id);

  /**
   * `changes`: `{ id, table?, name?, op: 'create' | 'set' | 'vote' | 'delete' | 'restore', set?, ends? }`. `rev`: the revision that the
   * device held when they were made.
   */
  seen(who, changes, rev = Number.POSITIVE_INFINITY) {
    this.counts.seen += 1;
    for (const { id, table, name, ends, ...change } of changes) {
      if (change.op === 'create') this.#rows.set(id, { table, ends, events: [] });
      if (name !== undefined) this.#ids.set(name, id);
      this.#rows.get(id)?.events.push({ who, at: this.#now(), rev, ...change });
    }
  }

  /** `touched`: ids of which `what` is no longer certain, fields or else all; `strays`: what it may have made. */
  unsure(who, { touched = [], what, strays = [] }) {
    this.counts.unsure += 1;
    this.#strays.push(...strays);
    for (const id of touched) this.#rows.get(id)?.events.push({ who, at: this.#now(), op: 'unsure', what });
  }

  /** What the server refused, was shown with its reason, and was given up. */
  givenUp(who, edits) {
    this.unsure(who, { touched: edits.map(({ id }) => id) });
    this.counts.unsure -= 1;
  }

  /** What this person has made, and nobody has deleted since, and is not among these ids on the same device. */
  missing(who, ids) {
    const isKept = ({ events, ends = [] }) => !events.some(isOfLife) && !ends.some((end) => this.#wasGone(end));
    const own = [...this.#rows].filter(([, known]) => known.events[0].who === who && isKept(known));
    return own.filter(([id]) => !ids.includes(id)).map(([id, { table }]) => `${table} “${this.nameOf(id)}”`);
  }

  /**
   * `rows`: by id, each with its `table`. `lastOf`: by id, what the server last did to the life of a row, `{ op: 'create' | 'delete', rev }`: in
   * its log a restore stands as the create that it came to. Returns sentences
   * about what is not as it must be.
   */
  judge(rows, lastOf = new Map()) {
    const wrong = [...this.#rows].flatMap(([id, known]) => this.#judgeRow(id, known, rows, lastOf.get(id)));
    const unknown = [...rows].filter(([id]) => !this.#rows.has(id));
    const rowOf = new Map();
    for (const [id, row] of unknown)
      if (!this.#findStray(row, rowOf))
        wrong.push(`made by nobody, or twice: ${row.table} ${id} ${JSON.stringify(row)}`);
    return wrong;
  }

  /**
   * Finds a stray that explains the row, each for one row: one that another row has taken goes over where that row finds another
   * (augmenting paths of a bipartite matching). So a row is told as unexplained only if no assignment explains them all.
   */
  #findStray(row, rowOf, tried = new Set()) {
    for (const stray of this.#strays) {
      if (tried.has(stray) || stray.table !== row.table || !stray.isIt(row)) continue;
      tried.add(stray);
      const other = rowOf.get(stray);
      if (other && !this.#findStray(other, rowOf, tried)) continue;
      rowOf.set(stray, row);
      return true;
    }
    return false;
  }

  #judgeRow(id, known, rows, last) {
    const about = `${known.table} “${this.nameOf(id)}”`;
    const row = rows.get(id);
    const life = isCrossed(known, row, last) ? 'either' : this.#lifeOf(known, rows);
    const tell = () => `${tellEvents(known)}; the server last: ${last?.op} at revision ${last?.rev}`;
    if (!row) return life === 'there' ? [`lost: ${about}, ${tell()}`] : [];
    if (life === 'gone') return [`back again: ${about}, ${tell()}`];
    return [...judgeFields(known, row), ...judgeVotes(known, row)].map((wrong) => `${about}: ${wrong}`);
  }

  #lifeOf({ events, ends = [] }, rows) {
    if (ends.some((end) => !rows.has(end))) return 'gone';
    if (events.some((event, index) => isUnsure(event, 'life') && !isSettled(event, events.slice(index + 1))))
      return 'either';
    const last = lastOfLife(events);
    if (last.op === 'delete') return 'gone';
    return ends.some((end) => this.#wasGone(end)) ? 'either' : 'there';
  }

  #wasGone = (id) => this.#rows.get(id)?.events.some(isOfLife) ?? true;
}

const lastOfLife = (events) => events.findLast(({ op }) => ['create', 'delete', 'restore'].includes(op));

/**
 * Whether somebody else's delete or restore reached the server after the last that was seen, and was not known on the device where that
 * was made: of two who do not know of each other, the one that comes to the server last has its way.
 */
function isCrossed({ events }, row, last) {
  if (last === undefined || (last.op === 'delete') === (row !== undefined)) return false;
  const seen = lastOfLife(events);
  const way = last.op === 'delete' ? 'delete' : 'restore';
  return last.rev > seen.rev && events.some(({ who, op }) => who !== seen.who && op === way);
}

/** Who did something to it afterwards, on the same device, saw that it was there. */
const isSettled = ({ who }, later) => later.some((event) => event.who === who && event.op !== 'unsure');

const isOfLife = (event) => ['delete', 'restore'].includes(event.op) || isUnsure(event, 'life');
const isUnsure = ({ op, what }, field) => op === 'unsure' && (what === undefined || what.includes(field));

function judgeFields({ events }, row) {
  const fields = new Set(events.flatMap(({ set = {} }) => Object.keys(set)));
  return [...fields].flatMap((field) => {
    const may = candidates(events, field);
    return may === null || may.some((value) => value === row[field])
      ? []
      : [
          `${field} is ${JSON.stringify(row[field])}, and should be ${may.map((one) => JSON.stringify(one)).join(' or ')}`,
        ];
  });
}

/** What a field may hold: the last that was seen, or another person's of about that time. `null`: nobody knows. */
function candidates(events, field) {
  const last = events.findLast(({ set = {} }) => field in set);
  const from = events.indexOf(last);
  const mayHide = (event, index) => index > from || (event.who !== last.who && last.at - event.at < TIE_MS);
  if (events.some((event, index) => isUnsure(event, field) && mayHide(event, index))) return null;
  const near = events.filter(({ set = {}, at, who }) => field in set && who !== last.who && last.at - at < TIE_MS);
  return [last, ...near].map(({ set }) => set[field]);
}

function judgeVotes({ events }, { votes }) {
  if (votes === undefined || events.some(({ op }) => op === 'restore')) return [];
  const sure = events.filter(({ op }) => op === 'vote').length;
  const most = sure + events.filter((event) => isUnsure(event, 'votes')).length;
  return votes >= sure && votes <= most ? [] : [`it has ${votes} votes, and ${sure} were given`];
}

const tellEvents = ({ events }) => events.map(({ who, op, rev }) => `${who} ${op} at revision ${rev}`).join(', ');
