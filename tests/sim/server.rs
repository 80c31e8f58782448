//! The simulated server: the real decision over a store in memory, and a store's own distrust of what it is told.

use super::Finding;
use driftline_core::dedupe::{ClientState, Settled};
use driftline_core::digest::Digest;
use driftline_core::edit::{Edit, Op, Values};
use driftline_core::integrity::{Judge, apply, on_delete};
use driftline_core::json::Json;
use driftline_core::load::{Load, Query, SpaceState};
use driftline_core::merge::{Hlc, Stamp};
use driftline_core::order::referrers_first;
use driftline_core::reconcile::{Plan, StaleSender, reconcile};
use driftline_core::rows::Rows;
use driftline_core::schema::{Kind, OnDelete, Schema};
use driftline_core::value::{Row, RowKey, Value};
use driftline_core::wire::{self, ChangeRow, Push};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub type Principal = u32;
/// Client and sequence number.
pub type Key = (u64, u64);

/// A transaction that took effect.
pub struct Applied {
    pub rev: u64,
    pub at: Hlc,
    pub key: Key,
    pub edits: Vec<Edit>,
}

struct LogRow {
    rev: u64,
    principal: Principal,
    key: Key,
    hash: u128,
    actor: u32,
    changes: String,
}

pub struct Server {
    schema: Rc<Schema>,
    pub space: SpaceState,
    pub rows: BTreeMap<RowKey, Row>,
    log: Vec<LogRow>,
    marks: BTreeMap<(Principal, Key), Settled>,
    clients: BTreeMap<(Principal, u64), ClientState>,
    pub deleted: BTreeSet<RowKey>,
    /// Deleted rows that are still there with all that hangs on them, until the background has taken it.
    dying: BTreeSet<RowKey>,
    /// What more than so many rows hang on is deleted in the background.
    pub delete_rows: usize,
    next_actor: u32,
    /// In the order of the log.
    pub applied: Vec<Applied>,
    /// Where in `applied` a key stands.
    pub logged: BTreeMap<Key, usize>,
    /// The log played back, edit by edit.
    replayed: BTreeMap<RowKey, Vec<Value>>,
    /// Rows on which the server fails.
    pub poison: BTreeSet<RowKey>,
    pub findings: Vec<Finding>,
}

impl Server {
    pub fn new(schema: Rc<Schema>) -> Server {
        Server {
            schema,
            space: SpaceState::default(),
            rows: BTreeMap::new(),
            log: Vec::new(),
            marks: BTreeMap::new(),
            clients: BTreeMap::new(),
            deleted: BTreeSet::new(),
            dying: BTreeSet::new(),
            delete_rows: driftline_core::limits::DELETE_ROWS,
            next_actor: 1,
            applied: Vec::new(),
            logged: BTreeMap::new(),
            replayed: BTreeMap::new(),
            poison: BTreeSet::new(),
            findings: Vec::new(),
        }
    }

    fn find(&mut self, kind: &'static str, text: String) {
        self.findings.push(Finding { kind, text });
    }

    // ---- load, decide, commit ----

    pub fn decide(&self, principal: Principal, push: &Push, now_ms: u64, random: u64) -> Result<Plan, StaleSender> {
        let mut load = Load::new(&self.schema, push, self.delete_rows);
        let key = |k: &(usize, u64)| (principal, (push.clients[k.0].id, k.1));
        while let Some(query) = load.next() {
            match query {
                Query::Space => {
                    load.give_space(self.space);
                    load.give_dying(!self.dying.is_empty());
                }
                Query::Clients => load.give_clients(push.clients.iter().map(|c| self.clients.get(&(principal, c.id)).cloned()).collect()),
                Query::Settled(keys) => load.give_settled(keys.iter().filter_map(|k| Some((*k, self.marks.get(&key(k))?.clone())))),
                Query::Logged(keys) => {
                    let found = |k: &(usize, u64)| {
                        let wanted = key(k);
                        let row = self.log.iter().find(|row| (row.principal, row.key) == wanted && row.rev > self.space.horizon)?;
                        Some((*k, (row.hash, row.rev)))
                    };
                    load.give_logged(keys.iter().filter_map(found));
                }
                Query::Rows { table, ids } => {
                    let keys = ids.into_iter().map(|id| RowKey { table, id });
                    load.give_rows(keys.filter_map(|key| Some((key, self.rows.get(&key)?.clone()))));
                }
                Query::Children { table, column, parents, limit } => {
                    let refers = |row: &Row| matches!(row.values[column as usize], Value::Ref(target) if parents.contains(&target));
                    let children = self.rows.iter().filter(|(key, row)| key.table == table && refers(row));
                    load.give_rows(children.take(limit).map(|(key, row)| (*key, row.clone())));
                }
                Query::Blockers { root, limit } => {
                    let going = self.going([root].into());
                    let blocks = |(key, row): &(&RowKey, &Row)| {
                        !going.contains(key)
                            && row.references().any(|r| going.contains(&r.1) && on_delete(&self.schema, **key, r.0) == OnDelete::Restrict)
                    };
                    load.give_blockers(root, self.rows.iter().filter(blocks).take(limit).map(|(key, _)| *key).collect());
                }
                Query::Doomed(keys) => {
                    let going = self.going(self.dying.clone());
                    load.give_doomed(keys.into_iter().filter(|key| going.contains(key)));
                }
                Query::Below { roots, rows } => {
                    for root in roots {
                        let going = self.going([root].into());
                        load.give_below(rows.iter().filter(|row| going.contains(row)).map(|row| (*row, root)));
                    }
                }
                Query::Deleted(keys) => load.give_deleted(keys.into_iter().filter(|key| self.deleted.contains(key))),
            }
        }
        reconcile(&self.schema, push, load.finish(), now_ms, random, self.next_actor)
    }

    pub fn poisoned(&self, push: &Push) -> bool {
        let edits = push.units.iter().flat_map(|u| &u.txns).filter_map(|t| t.txn.as_ref().ok()).flat_map(|t| &t.edits);
        edits.into_iter().any(|edit| self.poison.contains(&edit.row))
    }

    pub fn commit(&mut self, principal: Principal, push: &Push, plan: &Plan, now_ms: u64) {
        self.space = plan.space;
        self.write_rows(plan);
        self.deleted.extend(plan.deleted.iter().map(|d| d.0));
        self.dying.extend(plan.dying.iter().map(|d| d.0));
        for row in &plan.log {
            let key = (push.clients[row.key.0].id, row.key.1);
            let actor = plan.clients[row.key.0].actor;
            if self.logged.insert(key, self.applied.len()).is_some() {
                self.find("doubled", format!("{key:x?} stands in the log twice"));
            }
            let txn = push.units.iter().flat_map(|u| &u.txns).find(|t| (t.client, t.seq) == row.key);
            if let Some(txn) = txn.and_then(|t| t.txn.as_ref().ok()) {
                self.applied.push(Applied { rev: row.rev, at: txn.at.clamped(now_ms), key, edits: txn.edits.clone() });
            }
            self.replay(row.rev, &row.changes);
            self.log.push(LogRow { rev: row.rev, principal, key, hash: row.hash, actor, changes: row.changes.clone() });
        }
        for (key, settled) in &plan.settled {
            self.marks.insert((principal, (push.clients[key.0].id, key.1)), settled.clone());
        }
        for (client, state) in push.clients.iter().zip(&plan.clients) {
            self.next_actor = self.next_actor.max(state.actor + 1);
            self.marks.retain(|(owner, key), _| *owner != principal || key.0 != client.id || !state.closed.contains(key.1));
            self.clients.insert((principal, client.id), state.clone());
        }
        self.check_rows();
    }

    // ---- large deletes ----

    /// These rows and all that go with them.
    fn going(&self, roots: BTreeSet<RowKey>) -> BTreeSet<RowKey> {
        let mut going = roots;
        loop {
            let found = self.rows.iter().filter(|(key, row)| {
                !going.contains(key)
                    && row.references().any(|r| going.contains(&r.1) && on_delete(&self.schema, **key, r.0) == OnDelete::Cascade)
            });
            let found: Vec<RowKey> = found.map(|(key, _)| *key).collect();
            if found.is_empty() {
                return going;
            }
            going.extend(found);
        }
    }

    /// Whether something still has to be deleted in the background.
    pub fn is_dying(&self) -> bool {
        !self.dying.is_empty()
    }

    /// The rows that clients may see, as they are to be seen.
    pub fn visible(&self) -> BTreeMap<RowKey, Row> {
        let hidden = self.going(self.dying.clone());
        let mut rows = self.rows.clone();
        rows.retain(|key, _| !hidden.contains(key) && !self.schema.tables[key.table as usize].server_only);
        for value in rows.values_mut().flat_map(|row| &mut row.values) {
            if matches!(value, Value::Ref(target) if hidden.contains(target)) {
                *value = Value::Null;
            }
        }
        rows
    }

    /// One transaction of the background: the next rows that nothing refers to any more. `false` where there is nothing to do.
    pub fn reap_step(&mut self) -> bool {
        if self.dying.is_empty() {
            return false;
        }
        // A root may be gone while others of its space still have rows below them.
        let going: Vec<RowKey> = self.going(self.dying.clone()).into_iter().filter(|key| self.rows.contains_key(key)).collect();
        let refers = |i: usize, out: &mut Vec<usize>| {
            let row = self.rows.get(&going[i]).into_iter();
            out.extend(row.flat_map(|row| row.references()).filter_map(|(_, target)| going.binary_search(&target).ok()));
        };
        let groups = referrers_first(going.len(), refers);
        let gone: BTreeSet<RowKey> = groups.first().into_iter().flatten().map(|i| going[*i]).collect();
        for (key, row) in &mut self.rows {
            let nulled = row.values.iter_mut().filter(|value| matches!(value, Value::Ref(target) if gone.contains(target)));
            if gone.contains(key) {
                self.space.digest.remove(&self.schema, *key, row);
            } else if nulled.count() > 0 {
                self.space.digest.remove(&self.schema, *key, row);
                for value in row.values.iter_mut().filter(|value| matches!(value, Value::Ref(target) if gone.contains(target))) {
                    *value = Value::Null;
                }
                self.space.digest.add(&self.schema, *key, row);
            }
        }
        self.rows.retain(|key, _| !gone.contains(key));
        if groups.len() <= 1 {
            self.dying.clear();
        }
        self.deleted.extend(gone);
        self.check_rows();
        true
    }

    fn write_rows(&mut self, plan: &Plan) {
        for (key, row) in &plan.inserts {
            if self.rows.insert(*key, row.clone()).is_some() {
                self.find("diverged", format!("an insert of a row that is there: {key:?}"));
            }
        }
        for (key, row) in &plan.updates {
            if self.rows.insert(*key, row.clone()).is_none() {
                self.find("diverged", format!("an update of a row that is not there: {key:?}"));
            }
        }
        for (key, _) in &plan.deletes {
            if self.rows.remove(key).is_none() {
                self.find("diverged", format!("a delete of a row that is not there: {key:?}"));
            }
        }
    }

    /// Plays a part of the log back: each edit must stand on what came before it.
    fn replay(&mut self, rev: u64, changes: &str) {
        let json = Json::parse_or_null(changes);
        for change in json.as_list().unwrap_or_default() {
            let Ok(edit) = Edit::read(&self.schema, change, Values::Final) else {
                self.find("diverged", format!("the log at {rev} does not read: {change:?}"));
                continue;
            };
            let missing = edit.references().find(|(_, to)| *to != edit.row && !self.replayed.contains_key(to));
            if let Some((_, target)) = missing {
                self.find("misordered", format!("the log at {rev} names {target:?}, which is not there: {change:?}"));
            }
            let there = self.replayed.contains_key(&edit.row);
            if there == (edit.op == Op::Create) {
                self.find("misordered", format!("the log at {rev}: a row that is {}there: {change:?}", if there { "" } else { "not " }));
            }
            match edit.op {
                Op::Create => drop(self.replayed.insert(edit.row, edit.set.into_iter().map(|s| s.1).collect())),
                Op::Delete => drop(self.replayed.remove(&edit.row)),
                Op::DeleteTree => self.replay_tree(edit.row),
                Op::Update => {
                    for (column, value) in edit.set {
                        if let Some(values) = self.replayed.get_mut(&edit.row) {
                            values[column as usize] = value;
                        }
                    }
                }
            }
        }
    }

    /// All that hangs on a row goes, as whoever reads the log works out for himself.
    fn replay_tree(&mut self, root: RowKey) {
        let mut rows = Rows::default();
        for (key, values) in &self.replayed {
            rows.put(*key, Some(Row { values: values.clone(), clocks: Default::default() }));
        }
        let _ = apply(&self.schema, &mut rows, Judge::View, &[Stamp::default()], &[(0, &Edit::delete(root))]);
        self.replayed = rows.iter().map(|(key, row)| (*key, row.values.clone())).collect();
    }

    /// What a database with real foreign keys would refuse, and whether the log tells the whole story.
    fn check_rows(&mut self) {
        let dangling = self.rows.iter().flat_map(|(key, row)| row.references().map(move |r| (*key, r.1)));
        let dangling: Vec<_> = dangling.filter(|(_, target)| !self.rows.contains_key(target)).collect();
        for (key, target) in dangling {
            self.find("diverged", format!("{key:?} refers to {target:?}, which is not there"));
        }
        let visible = self.visible();
        let same =
            visible.len() == self.replayed.len() && visible.iter().zip(&self.replayed).all(|(a, b)| a.0 == b.0 && a.1.values == *b.1);
        if !same {
            self.find("diverged", format!("the log at {} does not lead to the rows", self.space.rev));
        }
    }

    // ---- reading ----

    /// Log rows after a cursor, at most so many revisions, and whether there are more. `None` where the cursor lies outside the log.
    pub fn changes(&self, principal: Principal, cursor: u64, limit: usize) -> Option<(Vec<ChangeRow>, bool)> {
        if cursor > self.space.rev || cursor < self.space.horizon {
            return None;
        }
        let last = cursor + limit as u64;
        let rows = self.log.iter().filter(|row| row.rev > cursor && row.rev <= last).map(|row| ChangeRow {
            rev: row.rev,
            actor: row.actor,
            own: (row.principal == principal).then_some(row.key),
            changes: row.changes.clone(),
        });
        Some((rows.collect(), last < self.space.rev))
    }

    pub fn answer(&self, principal: Principal, push: &Push, plan: &Plan, limit: usize) -> String {
        let found = match push.cursor {
            Some(cursor) => self.changes(principal, cursor, limit),
            None => Some((Vec::new(), false)),
        };
        let reload = found.is_none();
        let (changes, more) = found.unwrap_or_default();
        wire::write_answer(push, plan, &changes, more, reload)
    }

    pub fn live_message(&self, principal: Principal, cursor: u64) -> Option<String> {
        let (rows, _) = self.changes(principal, cursor, usize::MAX >> 8)?;
        let mut out = format!("{{\"rev\":{},\"changes\":", self.space.rev);
        wire::write_changes(&rows, |_, _| false, &mut out);
        out.push('}');
        Some(out)
    }

    pub fn snapshot(&self) -> String {
        let visible = self.visible();
        let mut digest = Digest::default();
        visible.iter().for_each(|(key, row)| digest.add(&self.schema, *key, row));
        let mut out = wire::write_snapshot_head(self.space.rev, digest, visible.len());
        let rows: Vec<_> = visible.iter().collect();
        for table in rows.chunk_by(|a, b| a.0.table == b.0.table) {
            wire::write_rows(&self.schema, table[0].0.table, table.iter().map(|(key, row)| (key.id, *row)), &mut out);
        }
        out.push_str(wire::SNAPSHOT_END);
        out
    }

    /// The whole log, without what clients' ids and receipts are: revision, key and changes.
    pub fn log(&self) -> impl Iterator<Item = (u64, Key, &str)> {
        self.log.iter().map(|row| (row.rev, row.key, row.changes.as_str()))
    }

    /// The numbers of a client of which the server keeps hash and outcome.
    pub fn marks_of(&self, principal: Principal, client: u64) -> Vec<u64> {
        self.marks.keys().filter(|(owner, key)| *owner == principal && key.0 == client).map(|(_, key)| key.1).collect()
    }

    pub fn client(&self, principal: Principal, client: u64) -> Option<&ClientState> {
        self.clients.get(&(principal, client))
    }

    // ---- at the end ----

    /// Whether rows, digest and every counter and field follow from what was applied.
    pub fn check_end(&mut self) {
        let mut digest = Digest::default();
        self.rows.iter().for_each(|(key, row)| digest.add(&self.schema, *key, row));
        if digest != self.space.digest {
            self.find("diverged", "the server's digest is not that of its rows".to_string());
        }
        let mut wrong = Vec::new();
        for (key, row) in &self.rows {
            for (column, value) in row.values.iter().enumerate() {
                let kind = &self.schema.tables[key.table as usize].columns[column].kind;
                let expected = match kind {
                    Kind::Ref { .. } => continue,
                    Kind::Counter => self.sum(*key, column as u16),
                    _ => self.last_written(*key, column as u16),
                };
                if expected.as_ref() != Some(value) {
                    wrong.push((*kind == Kind::Counter, format!("{key:?} column {column} is {value:?} and should be {expected:?}")));
                }
            }
        }
        for (counter, text) in wrong {
            self.find(if counter { "doubled" } else { "lost" }, text);
        }
    }

    fn sum(&self, row: RowKey, column: u16) -> Option<Value> {
        let edits = self.applied.iter().flat_map(|a| &a.edits).filter(|edit| edit.row == row);
        let parts = edits.flat_map(|edit| {
            let first = edit.set.iter().filter_map(|(c, v)| if let (true, Value::Int(n)) = (*c == column, v) { Some(*n) } else { None });
            first.chain(edit.add.iter().filter(|a| a.0 == column).map(|a| a.1))
        });
        Some(Value::Int(parts.sum()))
    }

    fn last_written(&self, row: RowKey, column: u16) -> Option<Value> {
        let writes = self.applied.iter().flat_map(|a| {
            let edits = a.edits.iter().filter(|edit| edit.row == row);
            let sets = edits.flat_map(|edit| edit.set.iter().filter(|s| s.0 == column).map(move |s| (edit.op != Op::Create, &s.1)));
            sets.map(|(later, value)| ((a.at, a.key.0, a.key.1, later), value))
        });
        writes.max_by_key(|write| write.0).map(|write| write.1.clone())
    }
}
