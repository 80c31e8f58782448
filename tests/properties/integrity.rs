//! Integrity (I3, I4, I5, V4): creates, updates and deletes of many clients straight against the server's decision, with so small a
//! limit that deletes often go in the background, which comes along at random moments.

use crate::making::{self, moved, named, one_of};
use crate::model::{self, Rows, values};
use crate::run::{Family, Run};
use driftline_core::digest::Digest;
use driftline_core::edit::{Edit, Op, Txn, Values};
use driftline_core::json::Json;
use driftline_core::merge::Hlc;
use driftline_core::outbox::Outbox;
use driftline_core::replica::Replica;
use driftline_core::schema::{EditsToDeleted, Kind, OnDelete, Schema};
use driftline_core::value::{Row, RowKey, Value};
use driftline_core::wire::{ChangeRow, Push, PushClient, PushTxn, PushUnit, read_changes, write_changes};
use driftline_tests::sim::rng::Rng;
use driftline_tests::sim::server::Server;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub const FAMILY: Family = Family {
    name: "integrity",
    rules: "I3, I4, I5, V4",
    situations: &[
        "small delete",
        "large delete",
        "delete with a cascade",
        "cascade three or more levels deep",
        "chain of 50 or more levels deleted",
        "cascade through a diamond",
        "cascade through a cycle",
        "set_null",
        "restrict refused",
        "restrict refused a large delete",
        "restrict, but the blocker went along",
        "restrict, but the blocker was dying",
        "several deletes in one transaction",
        "moved away and deleted in one transaction",
        "rows that need each other in one transaction",
        "reference to a row that was never there",
        "reference to a deleted row",
        "reference to a dying row",
        "edit of a dying row",
        "edit of a deleted row, dropped",
        "edit of a deleted row, refused",
        "create of an id that is there",
        "create of an id that was deleted",
        "delete of a row that is gone",
        "held",
        "background step between pushes",
        "rows of a server's table went along",
        "log replayed from a cursor",
        "digest compared",
    ],
    run: i3_i4_i5_the_server_keeps_every_reference,
};

const NOW: u64 = 1_800_000_000_000;

struct World {
    schema: Rc<Schema>,
    tables: Vec<u16>,
    server: Server,
    /// All rows that are to be seen, those of a server's own tables too.
    rows: Rows,
    /// What clients may see, after each revision.
    history: Vec<Rows>,
    /// Rows that were there and went.
    deleted: BTreeSet<RowKey>,
    /// Those of them that are still in the store.
    dying: BTreeSet<RowKey>,
    seqs: BTreeMap<u64, u64>,
    /// When fields were last written: what was held comes late.
    written: BTreeMap<(RowKey, u16), Hlc>,
    /// Transactions that the server held, to come again.
    held: Vec<Sent>,
    clock: u64,
    /// The first of a chain of rows.
    top: Option<RowKey>,
    /// A client that is told what has changed now and then.
    reader: Replica,
}

#[derive(Clone)]
struct Sent {
    client: u64,
    seq: u64,
    txn: Txn,
}

/// A code, and the rows that it may name.
type Problems = Vec<(&'static str, BTreeSet<RowKey>)>;

/// What should come of a transaction.
enum Verdict {
    Applied {
        rows: Rows,
        notices: usize,
    },
    /// Any of these.
    Refused(Problems),
}

fn i3_i4_i5_the_server_keeps_every_reference(run: &mut Run) {
    let deep = run.rng.chance(35);
    let schema = if deep { run.schemas.publishing.clone() } else { run.real_schema() };
    let most = run.rng.range(4, 9) as usize;
    let tables = if deep { deep_tables(&schema) } else { making::some_tables(&mut run.rng, &schema, false, most) };
    let mut server = Server::new(schema.clone());
    server.delete_rows = run.rng.pick(&[0, 1, 2, 4, 8, 2_000]).copied().unwrap_or(1);
    let mut world = World {
        schema,
        tables,
        server,
        rows: Rows::new(),
        history: vec![Rows::new()],
        deleted: BTreeSet::new(),
        dying: BTreeSet::new(),
        seqs: BTreeMap::new(),
        written: BTreeMap::new(),
        held: Vec::new(),
        clock: 1,
        top: None,
        reader: Replica::default(),
    };
    if deep {
        world.grow_deep(run);
    }
    for _ in 0..run.rng.range(8, 34) {
        if !run.step() {
            break;
        }
        world.step(run);
        world.check(run);
    }
    if run.findings.is_empty() {
        world.finish(run);
    }
}

/// The tables whose rows hang on rows of their own table, with what hangs on these.
fn deep_tables(schema: &Schema) -> Vec<u16> {
    let own = |t: u16| making::reference_columns(schema, t).iter().any(|c| c.1.contains(&t));
    let near = |t: &u16| own(*t) || making::reference_columns(schema, *t).iter().any(|c| c.1.iter().any(|to| own(*to)));
    (0..schema.tables.len() as u16).filter(near).collect()
}

impl World {
    // ---- making ----

    fn is_servers(&self, table: u16) -> bool {
        self.schema.tables[usize::from(table)].server_only
    }

    fn any_row(&self, rng: &mut Rng) -> Option<RowKey> {
        one_of(rng, self.rows.keys().copied().filter(|key| !self.is_servers(key.table)))
    }

    fn any_table(&self, rng: &mut Rng, servers: bool) -> Option<u16> {
        let tables: Vec<u16> = self.tables.iter().copied().filter(|table| self.is_servers(*table) == servers).collect();
        rng.pick(&tables).copied()
    }

    /// What a reference names: mostly a row that is there, at times one that is gone, dying or was never there.
    fn target(&self, rng: &mut Rng, to: &[u16], beside: &[RowKey]) -> Option<RowKey> {
        let fits = |key: &RowKey| to.contains(&key.table);
        match rng.below(200) {
            0..6 => one_of(rng, self.dying.iter().copied().filter(fits)),
            6..9 => one_of(rng, self.deleted.iter().copied().filter(fits)),
            9 => rng.pick(to).copied().map(|table| making::fresh(rng, table)),
            10..70 if beside.iter().any(fits) => one_of(rng, beside.iter().copied().filter(fits)),
            _ => one_of(rng, self.rows.keys().copied().filter(fits)),
        }
    }

    fn create(&self, rng: &mut Rng, row: RowKey, beside: &[RowKey]) -> Option<Edit> {
        making::create(rng, &self.schema, row, |rng, column, to| {
            let nullable = self.schema.tables[usize::from(row.table)].columns[column].nullable;
            if nullable && rng.chance(250) { None } else { self.target(rng, to, beside) }
        })
    }

    /// Several new rows that may name each other, in any order.
    fn creates(&self, rng: &mut Rng) -> Vec<Edit> {
        let mut keys = Vec::new();
        for _ in 0..rng.range(1, 5) {
            keys.extend(self.any_table(rng, false).map(|table| making::fresh(rng, table)));
        }
        // Whoever cannot be made for want of a parent is left out, and so are those that count on it.
        let mut edits: Vec<Edit> = keys.iter().filter_map(|key| self.create(rng, *key, &keys)).collect();
        loop {
            let made: Vec<RowKey> = edits.iter().map(|edit| edit.row).collect();
            let before = edits.len();
            edits.retain(|edit| edit.references().all(|r| !keys.contains(&r.1) || made.contains(&r.1)));
            if edits.len() == before {
                return edits;
            }
        }
    }

    fn moves(&self, rng: &mut Rng, row: RowKey) -> Option<Edit> {
        let columns = making::reference_columns(&self.schema, row.table);
        let (column, to, nullable) = *rng.pick(&columns)?;
        let target = if nullable && rng.chance(300) { None } else { Some(self.target(rng, to, &[])?) };
        Some(moved(row, column, target))
    }

    /// Rows let go of a row that goes.
    fn leave_and_delete(&self, rng: &mut Rng) -> Vec<Edit> {
        let Some(parent) = self.any_row(rng) else { return Vec::new() };
        let mut edits = vec![Edit::delete(parent)];
        let mut rows = self.rows.clone();
        for (key, values) in &self.rows {
            let Some((column, _)) = model::references(&self.schema, key, values).find(|r| r.1 == parent) else { continue };
            if *key == parent || self.is_servers(key.table) || rng.chance(300) {
                continue;
            }
            let Some((_, to, nullable)) = making::reference_columns(&self.schema, key.table).into_iter().find(|c| c.0 == column) else {
                continue;
            };
            let other = one_of(rng, self.rows.keys().copied().filter(|other| to.contains(&other.table) && *other != parent));
            if other.is_some() || nullable {
                let edit = moved(*key, column, other);
                rows.get_mut(key).into_iter().for_each(|row| model::write(&self.schema, row, &edit));
                edits.push(edit);
            }
        }
        // What goes all the same need not be moved.
        let gone = model::going(&self.schema, &rows, parent).gone;
        edits.retain(|edit| edit.op == Op::Delete || !gone.contains(&edit.row));
        rng.shuffle(&mut edits);
        edits
    }

    fn edits(&self, rng: &mut Rng) -> Vec<Edit> {
        match rng.below(100) {
            0..46 => self.creates(rng),
            46..54 => self.any_row(rng).map(|row| making::update(rng, &self.schema, row)).into_iter().collect(),
            54..66 => self.any_row(rng).and_then(|row| self.moves(rng, row)).into_iter().collect(),
            66..72 => self.leave_and_delete(rng),
            72..74 => {
                let old = one_of(rng, self.deleted.iter().copied().filter(|key| !self.is_servers(key.table)));
                let row = if rng.chance(500) { self.any_row(rng) } else { old };
                row.and_then(|row| self.create(rng, row, &[])).into_iter().collect()
            }
            74..78 => {
                let gone = if rng.chance(500) { &self.dying } else { &self.deleted };
                let row = one_of(rng, gone.iter().copied().filter(|key| !self.is_servers(key.table)));
                row.map(|row| making::update(rng, &self.schema, row)).into_iter().collect()
            }
            _ => self.deletes(rng),
        }
    }

    fn deletes(&self, rng: &mut Rng) -> Vec<Edit> {
        let mut rows: Vec<RowKey> = Vec::new();
        for _ in 0..if rng.chance(650) { 1 } else { rng.range(2, 3) } {
            let row = match rng.below(20) {
                0 => one_of(rng, self.deleted.iter().copied().filter(|key| !self.is_servers(key.table))),
                // What a dying row still forbids.
                1..4 if self.server.is_dying() => {
                    let names = |key: &RowKey| self.server.rows.get(key).map(|row| row.reference_list()).unwrap_or_default();
                    let named = self.dying.iter().flat_map(names).map(|r| r.1);
                    one_of(rng, named.filter(|key| self.rows.contains_key(key)))
                }
                1..6 => self.top.filter(|top| self.rows.contains_key(top)).or_else(|| self.any_row(rng)),
                // What a row hangs on: more goes.
                6..12 => {
                    let row = self.any_row(rng);
                    let above = row.and_then(|row| model::references(&self.schema, &row, &self.rows[&row]).next());
                    above.map(|r| r.1).or(row)
                }
                _ => self.any_row(rng),
            };
            rows.extend(row.filter(|row| !rows.contains(row)));
        }
        rows.into_iter().map(Edit::delete).collect()
    }

    /// A chain of rows, each hanging on the one before.
    fn grow_deep(&mut self, run: &mut Run) {
        let Some((table, column)) = self.tables.iter().find_map(|table| {
            let own = making::reference_columns(&self.schema, *table).into_iter().find(|c| c.1 == [*table]);
            own.map(|own| (*table, own.0))
        }) else {
            return;
        };
        let mut last: Option<RowKey> = None;
        let mut edits = Vec::new();
        for _ in 0..run.rng.range(52, 70) {
            let row = making::fresh(&mut run.rng, table);
            edits.extend(making::create(&mut run.rng, &self.schema, row, |_, at, _| if at == column { last } else { None }));
            self.top = self.top.or(Some(row));
            last = Some(row);
        }
        run.rng.shuffle(&mut edits);
        let sent = self.sent(&mut run.rng, edits);
        self.push(run, vec![sent]);
    }

    fn sent(&mut self, rng: &mut Rng, edits: Vec<Edit>) -> Sent {
        self.clock += 1;
        let client = rng.range(1, 4);
        let seq = self.seqs.entry(client).or_insert(0);
        *seq += 1;
        Sent { client, seq: *seq, txn: Txn { at: Hlc::new(NOW - 1_000_000 + self.clock, 0), edits } }
    }

    // ---- steps ----

    fn step(&mut self, run: &mut Run) {
        match run.rng.below(100) {
            0..22 if self.server.is_dying() => {
                run.hit("background step between pushes");
                run.say(|| "the background goes on".to_string());
                self.server.reap_step();
            }
            22..28 => self.plant(run),
            28..38 if !self.held.is_empty() => {
                let again = std::mem::take(&mut self.held);
                self.push(run, again);
            }
            38..46 => self.replay(run),
            46..56 => self.read(run),
            _ => {
                let mut units = Vec::new();
                for _ in 0..if run.rng.chance(600) { 1 } else { run.rng.range(2, 4) } {
                    let edits = self.edits(&mut run.rng);
                    if !edits.is_empty() {
                        units.push(self.sent(&mut run.rng, edits));
                    }
                }
                self.push(run, units);
            }
        }
    }

    /// A row of a table that clients do not hold: somebody puts it straight into the database.
    fn plant(&mut self, run: &mut Run) {
        let Some(table) = self.any_table(&mut run.rng, true) else { return };
        let row = making::fresh(&mut run.rng, table);
        let there = |rng: &mut Rng, _, to: &[u16]| one_of(rng, self.rows.keys().copied().filter(|key| to.contains(&key.table)));
        let Some(edit) = making::create(&mut run.rng, &self.schema, row, there) else { return };
        let values = model::created(&self.schema, &edit);
        run.say(|| format!("the server keeps {}", making::shown(&self.schema, &[edit])));
        self.server.plant(row, Row::of(values.clone()));
        self.rows.insert(row, values);
        // What counts it has changed, and no log tells of that: whoever compares digests loads again.
        let (rev, seen) = (self.server.space.rev, self.seen());
        let (digest, mut rows) = (digest_of(&self.schema, &seen), Vec::new());
        rows.extend(seen.iter().map(|(key, values)| (*key, Row::of(values.clone()))));
        self.reader.rebase(&self.schema, |base| base.replace(rev, digest, rows), &Outbox::default());
        if let Some(last) = self.history.last_mut() {
            *last = seen;
        }
    }

    fn push(&mut self, run: &mut Run, sent: Vec<Sent>) {
        if sent.is_empty() {
            return;
        }
        let mut clients: Vec<u64> = sent.iter().map(|sent| sent.client).collect();
        clients.sort_unstable();
        clients.dedup();
        let unit = |sent: &Sent| {
            let client = clients.binary_search(&sent.client).unwrap_or(0);
            let hash = u128::from(sent.client) << 64 | u128::from(sent.seq);
            PushUnit {
                txns: vec![PushTxn { client, seq: sent.seq, hash, replaces: Vec::new(), txn: Ok(sent.txn.clone()) }],
                after: Vec::new(),
            }
        };
        let known = |id: &u64| PushClient {
            id: *id,
            receipt: self.server.client(1, *id).and_then(|client| client.receipts.current),
            closed: Default::default(),
        };
        let push = Push { epoch: 1, cursor: None, clients: clients.iter().map(known).collect(), units: sent.iter().map(unit).collect() };
        let was_dying = self.server.is_dying();
        let Ok(mut plan) = self.server.decide(1, &push, NOW, run.rng.draw()) else {
            return run.find("r4", "a push was refused".to_string());
        };
        self.server.commit(1, &push, &mut plan, NOW);
        run.transactions += sent.len() as u64;
        run.check("r4", plan.outcomes.len() == sent.len(), || format!("{} outcomes of {}", plan.outcomes.len(), sent.len()));
        let may_hold = was_dying || sent.len() > 1;
        let is_large = !plan.dying.is_empty();
        for (sent, (_, outcome)) in sent.into_iter().zip(&plan.outcomes) {
            run.say(|| format!("{} -> {outcome}", making::shown(&self.schema, &sent.txn.edits)));
            let outcome = format!("{{{outcome}}}");
            let json = Json::parse_or_null(&outcome);
            if json.text("outcome") == Some("held") {
                run.hit("held");
                run.check("i5", may_hold, || format!("held for nothing: {}", making::shown(&self.schema, &sent.txn.edits)));
                let stored = values(&self.server.rows);
                let by_dying = |edit: &Edit| {
                    let going = model::going(&self.schema, &stored, edit.row);
                    going.blockers.iter().any(|row| self.dying.contains(row)) && !self.dying.contains(&edit.row)
                };
                let deletes = sent.txn.edits.iter().filter(|edit| edit.op == Op::Delete);
                run.hits_of("restrict, but the blocker was dying", deletes.filter(|edit| by_dying(edit)).count() as u64);
                self.held.push(sent);
                continue;
            }
            self.compare(run, &sent.txn, &json, is_large);
        }
        run.check("i5", self.history.len() as u64 == self.server.space.rev + 1, || {
            format!("revision {} after {} units", self.server.space.rev, self.history.len() - 1)
        });
        self.note_dying();
    }

    fn note_dying(&mut self) {
        self.dying = self.server.rows.keys().copied().filter(|key| !self.rows.contains_key(key)).collect();
    }

    /// Compares an outcome with what should have come of it, and takes it over.
    fn compare(&mut self, run: &mut Run, txn: &Txn, outcome: &Json, is_large: bool) {
        let what = || making::shown(&self.schema, &txn.edits);
        let problem = outcome.get("problem").map(driftline_core::problem::Problem::from_json);
        match (self.judge(txn), problem) {
            (Verdict::Applied { rows, notices }, None) => {
                let told = outcome.list("notices").len();
                run.check("i4", told == notices, || format!("{told} notices instead of {notices}: {}", what()));
                self.note_applied(run, txn, &rows, notices, is_large);
                let went: Vec<RowKey> = self.rows.keys().copied().filter(|key| !rows.contains_key(key)).collect();
                self.deleted.extend(went);
                for edit in txn.edits.iter().filter(|edit| edit.op == Op::Update) {
                    let field = |column: u16| !matches!(model::kind(&self.schema, edit.row.table, usize::from(column)), Kind::Ref { .. });
                    for (column, _) in edit.set.iter().filter(|set| field(set.0)) {
                        let written = self.written.entry((edit.row, *column)).or_default();
                        *written = txn.at.max(*written);
                    }
                }
                self.rows = rows;
                self.history.push(self.seen());
            }
            (Verdict::Refused(expected), Some(problem)) => {
                let named: BTreeSet<RowKey> = problem.rows.iter().filter_map(|row| self.key(row)).collect();
                let fits = |(code, rows): &(&str, BTreeSet<RowKey>)| {
                    *code == problem.code && named.is_subset(rows) && named.len() == rows.len().min(10)
                };
                run.check("i4", expected.iter().any(fits), || format!("{problem:?} and should be one of {expected:?}: {}", what()));
                self.note_refused(run, txn, &problem.code, &named);
            }
            (Verdict::Applied { .. }, Some(problem)) => run.find("i4", format!("refused with {problem:?}: {}", what())),
            (Verdict::Refused(expected), None) => run.find("i4", format!("applied, and should be refused with {expected:?}: {}", what())),
        }
    }

    fn key(&self, row: &(String, driftline_core::value::RowId)) -> Option<RowKey> {
        Some(RowKey { table: self.schema.table(&row.0)?, id: row.1 })
    }

    // ---- what should be ----

    fn judge(&self, txn: &Txn) -> Verdict {
        let mut rows = self.rows.clone();
        let mut problems: Problems = Vec::new();
        let mut notices = 0;
        let creates = || txn.edits.iter().filter(|edit| edit.op == Op::Create);
        for edit in creates() {
            if self.rows.contains_key(&edit.row) {
                problems.push(("row_exists", [edit.row].into()));
            } else if self.deleted.contains(&edit.row) {
                problems.push(("row_deleted", [edit.row].into()));
            } else {
                rows.insert(edit.row, model::created(&self.schema, edit));
            }
        }
        let missing = |rows: &Rows, edit: &Edit| -> BTreeSet<RowKey> {
            edit.references().map(|r| r.1).filter(|to| *to != edit.row && !rows.contains_key(to)).collect()
        };
        for edit in creates() {
            let missing = missing(&rows, edit);
            if !missing.is_empty() {
                problems.push(("missing_parent", missing));
            }
        }
        for edit in txn.edits.iter().filter(|edit| edit.op == Op::Update) {
            if !rows.contains_key(&edit.row) {
                let park = self.schema.tables[usize::from(edit.row.table)].edits_to_deleted == EditsToDeleted::Park;
                match (self.deleted.contains(&edit.row), park) {
                    (true, true) => problems.push(("row_deleted", [edit.row].into())),
                    (true, false) => notices += 1,
                    (false, _) => problems.push(("row_unknown", [edit.row].into())),
                }
                continue;
            }
            let missing = missing(&rows, edit);
            if !missing.is_empty() {
                problems.push(("missing_parent", missing));
            }
            let mut edit = edit.clone();
            edit.set.retain(|(column, _)| self.written.get(&(edit.row, *column)).is_none_or(|at| *at <= txn.at));
            rows.get_mut(&edit.row).into_iter().for_each(|row| model::write(&self.schema, row, &edit));
        }
        let named: Vec<RowKey> = txn.edits.iter().filter(|edit| edit.op == Op::Delete).map(|edit| edit.row).collect();
        for root in model::leaves_first(&self.schema, &self.rows, &named) {
            if let Err(blockers) = model::delete(&self.schema, &mut rows, root) {
                problems.push(("restricted", blockers));
                break;
            }
        }
        if problems.is_empty() { Verdict::Applied { rows, notices } } else { Verdict::Refused(problems) }
    }

    /// The rows that clients may see.
    fn seen(&self) -> Rows {
        let held = self.rows.iter().filter(|(key, _)| !self.is_servers(key.table)).map(|(key, values)| (*key, values.clone()));
        model::counted(&self.schema, &held.collect(), &values(&self.server.visible()))
    }

    // ---- what was met ----

    fn note_applied(&self, run: &mut Run, txn: &Txn, after: &Rows, notices: usize, is_large: bool) {
        let roots: Vec<RowKey> = txn.edits.iter().filter(|edit| edit.op == Op::Delete).map(|edit| edit.row).collect();
        run.hits_of("edit of a deleted row, dropped", u64::from(notices > 0));
        let dying = |edit: &Edit| edit.op == Op::Update && self.dying.contains(&edit.row);
        run.hits_of("edit of a dying row", u64::from(txn.edits.iter().any(dying)));
        let creates: Vec<RowKey> = txn.edits.iter().filter(|edit| edit.op == Op::Create).map(|edit| edit.row).collect();
        let needs = |from: &RowKey| -> Vec<RowKey> {
            txn.edits.iter().filter(|edit| edit.row == *from).flat_map(|edit| edit.references().map(|r| r.1)).collect()
        };
        let needed = creates.iter().any(|a| needs(a).iter().any(|b| a != b && creates.contains(b) && needs(b).contains(a)));
        run.hits_of("rows that need each other in one transaction", u64::from(needed));
        if roots.is_empty() {
            return;
        }
        run.hits_of("delete of a row that is gone", roots.iter().filter(|row| !self.rows.contains_key(row)).count() as u64);
        run.hits_of("several deletes in one transaction", u64::from(roots.len() > 1));
        run.hits_of("moved away and deleted in one transaction", u64::from(txn.edits.len() > roots.len()));
        let gone: BTreeSet<RowKey> = self.rows.keys().copied().filter(|key| !after.contains_key(key)).collect();
        if gone.is_empty() {
            return;
        }
        run.hit(if is_large { "large delete" } else { "small delete" });
        run.hits_of("delete with a cascade", u64::from(gone.len() > roots.len()));
        run.hits_of("rows of a server's table went along", u64::from(gone.iter().any(|key| self.is_servers(key.table))));
        let mut levels = self.levels(&gone, &roots);
        run.hits_of("cascade three or more levels deep", u64::from(levels >= 3));
        run.hits_of("chain of 50 or more levels deleted", u64::from(levels >= 50));
        let cascading = |key: &RowKey| -> BTreeSet<RowKey> { self.above(key, OnDelete::Cascade).filter(|to| gone.contains(to)).collect() };
        run.hits_of("cascade through a diamond", u64::from(gone.iter().any(|key| cascading(key).len() > 1)));
        // Rows that hang on none of the others are taken away until none are left, or a cycle.
        let mut left = gone.clone();
        loop {
            levels = left.len();
            let free = |key: &RowKey| !cascading(key).iter().any(|to| left.contains(to));
            let rest: BTreeSet<RowKey> = left.iter().copied().filter(|key| !free(key)).collect();
            left = rest;
            if left.len() == levels {
                break;
            }
        }
        run.hits_of("cascade through a cycle", u64::from(!left.is_empty()));
        let nulls = |key: &RowKey| self.above(key, OnDelete::SetNull).any(|to| gone.contains(&to));
        run.hits_of("set_null", u64::from(after.keys().any(nulls)));
        let went_along = gone.iter().any(|key| self.above(key, OnDelete::Restrict).any(|to| gone.contains(&to)));
        run.hits_of("restrict, but the blocker went along", u64::from(went_along));
    }

    /// The rows that a row refers to by references of a policy.
    fn above(&self, key: &RowKey, wanted: OnDelete) -> impl Iterator<Item = RowKey> {
        let columns = &self.schema.tables[usize::from(key.table)].columns;
        let values = self.rows.get(key).into_iter();
        values.flat_map(|values| columns.iter().zip(values)).filter_map(move |(column, value)| match (&column.kind, value) {
            (Kind::Ref { on_delete, .. }, Value::Ref(to)) if *on_delete == wanted => Some(*to),
            _ => None,
        })
    }

    /// How far down rows went.
    fn levels(&self, gone: &BTreeSet<RowKey>, roots: &[RowKey]) -> usize {
        let mut known: BTreeSet<RowKey> = roots.iter().copied().collect();
        let mut levels = 0;
        loop {
            let next = |key: &&RowKey| !known.contains(key) && self.above(key, OnDelete::Cascade).any(|to| known.contains(&to));
            let found: Vec<RowKey> = gone.iter().filter(next).copied().collect();
            if found.is_empty() {
                return levels;
            }
            known.extend(found);
            levels += 1;
        }
    }

    fn note_refused(&self, run: &mut Run, txn: &Txn, code: &str, named: &BTreeSet<RowKey>) {
        let all = |set: &BTreeSet<RowKey>| named.iter().any(|key| set.contains(key));
        match code {
            "restricted" => {
                run.hit("restrict refused");
                let below = |edit: &Edit| model::going(&self.schema, &self.rows, edit.row).gone.len() > self.server.delete_rows + 1;
                run.hits_of("restrict refused a large delete", u64::from(txn.edits.iter().any(below)));
            }
            "missing_parent" if all(&self.dying) => run.hit("reference to a dying row"),
            "missing_parent" if all(&self.deleted) => run.hit("reference to a deleted row"),
            "missing_parent" => run.hit("reference to a row that was never there"),
            "row_exists" => run.hit("create of an id that is there"),
            "row_deleted" if txn.edits.iter().any(|edit| edit.op == Op::Create && named.contains(&edit.row)) => {
                run.hit("create of an id that was deleted");
            }
            "row_deleted" => {
                run.hits_of("edit of a dying row", u64::from(all(&self.dying)));
                run.hit("edit of a deleted row, refused");
            }
            _ => {}
        }
    }

    // ---- what must hold ----

    fn check(&mut self, run: &mut Run) {
        self.note_dying();
        let found: Vec<String> = self.server.findings.drain(..).map(|finding| finding.text).collect();
        run.find_all("i3", found);
        run.find_all("i3", model::orphans(&self.schema, &values(&self.server.rows)));
        let seen = values(&self.server.visible());
        run.find_all("i3", model::orphans(&self.schema, &seen));
        if let Some(text) = model::differ(&self.schema, &seen, &self.seen()) {
            run.find("i4", text);
        }
        if !self.server.is_dying() {
            let physical = values(&self.server.rows);
            if let Some(text) = model::differ(&self.schema, &physical, &self.rows) {
                run.find("i5", format!("when nothing is dying any more, {text}"));
            }
            let digest = digest_of(&self.schema, &model::counted(&self.schema, &self.rows, &physical));
            run.check("v4", digest == self.server.space.digest, || "the digest kept is not that of the rows".to_string());
        }
    }

    /// Whoever reads the log from any cursor comes to the rows of each revision.
    fn replay(&self, run: &mut Run) {
        let cursor = run.rng.below(self.history.len() as u64);
        let mut rows = self.history[cursor as usize].clone();
        let Some((log, _)) = self.server.changes(2, cursor, usize::MAX >> 8) else { return run.find("v1", "no log".to_string()) };
        run.hit("log replayed from a cursor");
        for (i, row) in log.iter().enumerate() {
            let json = Json::parse_or_null(&row.changes);
            for change in json.as_list().unwrap_or_default() {
                let Ok(edit) = Edit::read(&self.schema, change, Values::Final) else { return run.find("v1", format!("{change:?}")) };
                let there = rows.contains_key(&edit.row);
                let unnamed = edit.references().find(|r| r.1 != edit.row && !rows.contains_key(&r.1));
                let text =
                    || format!("the log at {} says {} and {unnamed:?}", row.rev, making::shown(&self.schema, std::slice::from_ref(&edit)));
                run.check("o1", unnamed.is_none() && there != (edit.op == Op::Create), text);
                match edit.op {
                    // In the log a delete is of one row, and says apart what else goes.
                    Op::Delete => drop(rows.remove(&edit.row)),
                    Op::DeleteTree => {
                        let blocked = model::delete(&self.schema, &mut rows, edit.row).is_err();
                        run.check("i5", !blocked, || format!("a large delete of {} that is forbidden", named(&self.schema, edit.row)));
                    }
                    _ => model::show(&self.schema, &mut rows, &edit),
                }
            }
            if log.get(i + 1).is_none_or(|next| next.rev != row.rev) {
                run.find_all("i3", model::orphans(&self.schema, &rows));
                if let Some(text) = model::differ(&self.schema, &rows, &self.history[row.rev as usize]) {
                    return run.find("v1", format!("the log from {cursor} leads at {} elsewhere: {text}", row.rev));
                }
            }
        }
    }

    /// A client takes what has changed since it last asked.
    fn read(&mut self, run: &mut Run) {
        let limit = run.rng.range(1, 8) as usize;
        let Some((log, more)) = self.server.changes(2, self.reader.rev, limit) else { return run.find("v1", "no log".to_string()) };
        let mut text = String::new();
        write_changes(&log as &[ChangeRow], |_, _| false, &mut text);
        let Some(revisions) = read_changes(&self.schema, &Json::parse_or_null(&text)) else {
            return run.find("v1", format!("unreadable: {text}"));
        };
        let take = |base: &mut driftline_core::replica::Base| {
            for revision in &revisions {
                revision.parts.iter().flat_map(|part| &part.changes).for_each(|changes| base.changes(changes, &mut Vec::new()));
                base.set_rev(revision.rev);
            }
        };
        self.reader.rebase(&self.schema, take, &Outbox::default());
        let is = values(self.reader.base().iter().map(|(key, row)| (key, *row)));
        let should = &self.history[self.reader.rev as usize];
        if let Some(text) = model::differ(&self.schema, &is, should) {
            run.find("v1", format!("a reader at {}: {text}", self.reader.rev));
        }
        run.check("v4", self.reader.digest == digest_of(&self.schema, &model::counted(&self.schema, should, &is)), || {
            "the reader's digest is not that of its rows".to_string()
        });
        if !more && !self.server.is_dying() {
            run.hit("digest compared");
            run.check("v4", self.reader.digest == self.server.space.digest, || "the digests differ at equal cursors".to_string());
        }
    }

    /// The background comes to its end, and what was held takes effect or is refused for good.
    fn finish(&mut self, run: &mut Run) {
        for _ in 0..100 {
            while self.server.reap_step() {
                self.check(run);
            }
            let Some(again) = self.held.pop() else { break };
            self.push(run, vec![again]);
            self.check(run);
        }
        run.check("i5", self.held.is_empty() && !self.server.is_dying(), || "something is held or dying for ever".to_string());
        for _ in 0..2 {
            self.replay(run);
        }
        while self.reader.rev < self.server.space.rev && run.findings.is_empty() {
            self.read(run);
        }
    }
}

fn digest_of(schema: &Schema, rows: &Rows) -> Digest {
    let mut digest = Digest::default();
    for (key, values) in rows {
        digest.add(schema, *key, &Row::of(values.clone()));
    }
    digest
}
