//! The simulated server: the real decision over a store in memory, and a store's own distrust of what it is told.

use super::Finding;
use driftline_core::counts::counting;
use driftline_core::dedupe::{ClientState, Settled};
use driftline_core::digest::Digest;
use driftline_core::edit::{Edit, Merge, Op, Values, write_edits};
use driftline_core::field::{list_of, text_of, texts};
use driftline_core::integrity::{Judge, apply, on_delete};
use driftline_core::json::Json;
use driftline_core::load::{Load, Query, SpaceState};
use driftline_core::merge::{Element, Hlc, Stamp};
use driftline_core::order::referrers_first;
use driftline_core::reconcile::{Plan, StaleSender, reconcile};
use driftline_core::rows::Rows;
use driftline_core::schema::{Kind, OnDelete, Schema};
use driftline_core::upgrade::{Step, table_now, upgrade_changes, upgrade_snapshot};
use driftline_core::value::{Row, RowKey, Value};
use driftline_core::wire::{self, ChangeRow, Push};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub type Principal = u32;
/// Client and sequence number.
pub type Key = (u64, u64);

/// A transaction that took effect.
#[derive(Clone)]
pub struct Applied {
    pub rev: u64,
    pub at: Hlc,
    pub key: Key,
    pub hash: u128,
    pub edits: Vec<Edit>,
}

#[derive(Clone)]
struct LogRow {
    rev: u64,
    principal: Principal,
    key: Key,
    hash: u128,
    actor: u32,
    changes: String,
}

#[derive(Clone)]
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
    /// Rows that were there before the server was set back.
    pub once: BTreeSet<RowKey>,
    pub findings: Vec<Finding>,
}

/// A count that is not the number of the rows that refer to its row.
/// Where a field of an older version stands now.
fn column_now(schema: &Schema, from: u32, table: &str, field: &str) -> Option<u16> {
    let (mut table, mut field) = (table.to_string(), field.to_string());
    for step in schema.upgrades.iter().filter(|upgrade| upgrade.to > from).flat_map(|upgrade| &upgrade.steps) {
        match step {
            Step::RenameTable { from, to, .. } if *from == table => table = to.clone(),
            Step::Rename { table: of, from, to } if *of == table && *from == field => field = to.clone(),
            Step::Drop { table: of, field: gone } if *of == table && *gone == field => return None,
            _ => {}
        }
    }
    let columns = &schema.tables[schema.table(&table)? as usize].columns;
    columns.iter().position(|column| column.name == field).map(|at| at as u16)
}

pub fn miscounted(schema: &Schema, rows: &[(RowKey, &Row)]) -> Option<String> {
    schema.counts.iter().find_map(|count| {
        let mut children: BTreeMap<RowKey, i64> = BTreeMap::new();
        let counted = rows.iter().filter(|(key, _)| key.table == count.child).filter_map(|(_, row)| counting(count, Some(row)));
        counted.for_each(|parent| *children.entry(parent).or_default() += 1);
        rows.iter().filter(|(key, _)| key.table == count.parent).find_map(|(key, row)| {
            let (is, should) = (&row.values[count.column as usize], children.get(key).copied().unwrap_or(0));
            (*is != Value::Int(should)).then(|| format!("{key:?} counts {is:?} in column {} and has {should}", count.column))
        })
    })
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
            once: BTreeSet::new(),
            findings: Vec::new(),
        }
    }

    /// The same server after a migration to another version of the schema; nothing may be dying. What that makes is a revision.
    pub fn migrated(self, schema: Rc<Schema>) -> Option<Server> {
        let from = self.schema.version;
        let snapshot = upgrade_snapshot(&schema, from, &self.snapshot())?;
        let key_now =
            |key: &RowKey| Some(RowKey { table: table_now(&schema, from, &self.schema.tables[key.table as usize].name)?, ..*key });
        let there: BTreeSet<RowKey> = self.rows.keys().filter_map(key_now).collect();
        let keys_now = |keys: &BTreeSet<RowKey>| keys.iter().filter_map(key_now).collect();
        let (deleted, poison, once) = (keys_now(&self.deleted), keys_now(&self.poison), keys_now(&self.once));
        let mut log = Vec::new();
        for row in self.log {
            let Ok(Json::List(changes)) = Json::parse(&row.changes) else { return None };
            let mut text = String::new();
            Json::List(upgrade_changes(&schema, from, changes).ok()?).write(&mut text);
            log.push(LogRow { changes: text, ..row });
        }
        let mut space = SpaceState { digest: snapshot.digest, ..self.space };
        let set = |row: &Row| row.values.iter().cloned().enumerate().map(|(i, value)| (i as u16, value)).collect();
        let new = snapshot.rows.iter().filter(|(key, _)| !there.contains(key));
        let made: Vec<Edit> = new.map(|(key, row)| Edit { set: set(row), ..Edit::new(Op::Create, *key) }).collect();
        if !made.is_empty() {
            space.rev += 1;
            let mut changes = String::from("[");
            write_edits(&schema, &made, &mut changes);
            changes.push(']');
            log.push(LogRow { rev: space.rev, principal: 0, key: (0, space.rev), hash: 0, actor: 0, changes });
        }
        let mut rows: BTreeMap<RowKey, Row> = snapshot.rows.into_iter().collect();
        for (key, old) in &self.rows {
            let table = &self.schema.tables[key.table as usize];
            let now = |column: u16| column_now(&schema, from, &table.name, &table.columns[column as usize].name);
            let Some(row) = key_now(key).and_then(|key| rows.get_mut(&key)) else { continue };
            row.clocks.created = old.clocks.created;
            row.clocks.fields = old.clocks.fields.iter().filter_map(|(column, stamp)| Some((now(*column)?, *stamp))).collect();
            let elements = old.clocks.elements.iter();
            row.clocks.elements = elements.filter_map(|e| Some(Element { column: now(e.column)?, ..e.clone() })).collect();
            row.clocks.fields.sort_by_key(|field| field.0);
            row.clocks.elements.sort_by(|a, b| (a.column, &a.text).cmp(&(b.column, &b.text)));
        }
        let replayed = rows.iter().map(|(key, row)| (*key, row.values.clone())).collect();
        let (marks, clients, logged, findings) = (self.marks, self.clients, self.logged, self.findings);
        let (delete_rows, next_actor, applied) = (self.delete_rows, self.next_actor, self.applied);
        let fresh = Server::new(schema);
        Some(Server {
            space,
            rows,
            log,
            marks,
            clients,
            deleted,
            delete_rows,
            next_actor,
            applied,
            logged,
            replayed,
            poison,
            once,
            findings,
            ..fresh
        })
    }

    /// The server as it was when it was backed up.
    pub fn set_back(&mut self, backup: Server) {
        let now = std::mem::replace(self, backup);
        self.once.extend(now.once.into_iter().chain(now.deleted).chain(now.rows.into_keys()));
        (self.poison, self.findings) = (now.poison, now.findings);
    }

    pub fn schema(&self) -> &Schema {
        &self.schema
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
                Query::Blockers { heads, apart, limit } => {
                    let mut blockers = Vec::new();
                    for head in &heads {
                        let going = self.going_without([*head].into(), |row| heads.contains(row) || apart.contains(row));
                        for (key, row) in self.rows.iter().filter(|(key, _)| !going.contains(key)) {
                            let forbidden = row.references().filter(|r| on_delete(&self.schema, *key, r.0) == OnDelete::Restrict);
                            blockers.extend(forbidden.filter(|r| going.contains(&r.1)).map(|r| (*key, r.1)));
                        }
                    }
                    load.give_blockers(blockers.into_iter().take(limit));
                }
                Query::Doomed(keys) => {
                    let going = self.going(self.dying.clone());
                    load.give_doomed(keys.into_iter().filter(|key| going.contains(key)));
                }
                Query::Above(rows) => {
                    let mut up: Vec<RowKey> = rows;
                    let mut seen = BTreeSet::new();
                    let mut above = Vec::new();
                    while let Some(key) = up.pop() {
                        let row = self.rows.get(&key).filter(|_| seen.insert(key)).into_iter();
                        let references = row.flat_map(|row| row.references());
                        for (_, target) in references.filter(|r| on_delete(&self.schema, key, r.0) == OnDelete::Cascade) {
                            above.push((key, target));
                            up.push(target);
                        }
                    }
                    load.give_above(above);
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

    pub fn commit(&mut self, principal: Principal, push: &Push, plan: &mut Plan, now_ms: u64) {
        self.write_rows(plan);
        self.deleted.retain(|row| !plan.revived.contains(row));
        self.deleted.extend(plan.deleted.iter().map(|d| d.0));
        self.lower_counts(plan);
        self.space = plan.space;
        for row in &plan.log {
            let key = (push.clients[row.key.0].id, row.key.1);
            let actor = plan.clients[row.key.0].actor;
            if self.logged.insert(key, self.applied.len()).is_some() {
                self.find("doubled", format!("{key:x?} stands in the log twice"));
            }
            let txn = push.units.iter().flat_map(|u| &u.txns).find(|t| (t.client, t.seq) == row.key);
            if let Some(txn) = txn.and_then(|t| t.txn.as_ref().ok()) {
                self.applied.push(Applied { rev: row.rev, at: txn.at.clamped(now_ms), key, hash: row.hash, edits: txn.edits.clone() });
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
        self.going_without(roots, |_| false)
    }

    /// The same, without the rows that are `apart` and what goes with these alone.
    fn going_without(&self, roots: BTreeSet<RowKey>, apart: impl Fn(&RowKey) -> bool) -> BTreeSet<RowKey> {
        let mut going = roots;
        loop {
            let found = self.rows.iter().filter(|(key, row)| {
                !going.contains(key)
                    && !apart(key)
                    && row.references().any(|r| going.contains(&r.1) && on_delete(&self.schema, **key, r.0) == OnDelete::Cascade)
            });
            let found: Vec<RowKey> = found.map(|(key, _)| *key).collect();
            if found.is_empty() {
                return going;
            }
            going.extend(found);
        }
    }

    /// Takes what is dying from now on out of the counts of rows that stay.
    fn lower_counts(&mut self, plan: &mut Plan) {
        let before = self.going(self.dying.clone());
        self.dying.extend(plan.dying.iter().map(|d| d.0));
        let hidden = self.going(self.dying.clone());
        let mut lowered: BTreeMap<(RowKey, u16), i64> = BTreeMap::new();
        for count in &self.schema.counts {
            let gone = hidden.difference(&before).filter(|key| key.table == count.child).filter_map(|key| self.rows.get(key));
            for parent in gone.filter_map(|row| counting(count, Some(row))).filter(|parent| !hidden.contains(parent)) {
                *lowered.entry((parent, count.column)).or_default() += 1;
            }
        }
        let mut values = Vec::new();
        for ((key, column), by) in lowered {
            let Some(row) = self.rows.get_mut(&key) else { continue };
            plan.space.digest.remove(&self.schema, key, row);
            if let Value::Int(count) = &mut row.values[column as usize] {
                *count -= by;
                values.push((key, column, *count));
            }
            plan.space.digest.add(&self.schema, key, row);
        }
        plan.log_counts(&self.schema, values, |row| hidden.contains(&row));
    }

    /// Puts a row of a table that clients do not hold straight into the database, as a counter of views would: with what counts it.
    pub fn plant(&mut self, key: RowKey, row: Row) {
        for count in &self.schema.counts {
            let Some(parent) = counting(count, Some(&row)).filter(|_| count.child == key.table) else { continue };
            let Some(counts) = self.rows.get_mut(&parent) else { continue };
            self.space.digest.remove(&self.schema, parent, counts);
            for values in [Some(&mut counts.values), self.replayed.get_mut(&parent)].into_iter().flatten() {
                if let Value::Int(count) = &mut values[usize::from(count.column)] {
                    *count += 1;
                }
            }
            self.space.digest.add(&self.schema, parent, counts);
        }
        self.rows.insert(key, row);
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
                Op::Create | Op::Restore => drop(self.replayed.insert(edit.row, edit.set.into_iter().map(|s| s.1).collect())),
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
            rows.put(*key, Some(Row::of(values.clone())));
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
            let keys: BTreeSet<RowKey> = visible.keys().chain(self.replayed.keys()).copied().collect();
            let key = keys.into_iter().find(|key| visible.get(key).map(|row| &row.values) != self.replayed.get(key));
            let two = key.map(|key| (key, visible.get(&key).map(|row| &row.values), self.replayed.get(&key)));
            self.find("diverged", format!("the log at {} does not lead to the rows: row, as it is, by the log: {two:?}", self.space.rev));
        }
        // What clients do not hold is counted, too.
        let hidden = self.going(self.dying.clone());
        let there: Vec<_> = self.rows.iter().filter(|(key, _)| !hidden.contains(key)).map(|(key, row)| (*key, row)).collect();
        if let Some(text) = miscounted(&self.schema, &there) {
            self.find("diverged", format!("the server at {}: {text}", self.space.rev));
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
            own: (row.principal == principal).then_some((row.key.0, row.key.1, row.hash)),
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
        wire::write_answer(&self.schema, push, plan, &changes, more, reload)
    }

    pub fn live_message(&self, principal: Principal, cursor: u64) -> Option<String> {
        let (rows, _) = self.changes(principal, cursor, usize::MAX >> 8)?;
        Some(wire::write_live(&self.schema, self.space.rev, &rows))
    }

    pub fn snapshot(&self) -> String {
        let visible = self.visible();
        let mut digest = Digest::default();
        visible.iter().for_each(|(key, row)| digest.add(&self.schema, *key, row));
        let mut out = wire::write_snapshot_head(&self.schema, self.space.rev, digest, visible.len());
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
        let lives = self.lives();
        for (key, row) in &self.rows {
            for (column, value) in row.values.iter().enumerate() {
                let kind = &self.schema.tables[key.table as usize].columns[column].kind;
                let life = lives.get(key);
                let expected = match kind {
                    Kind::Ref { .. } | Kind::Count { .. } => continue,
                    Kind::Counter => life.and_then(|life| self.sum(*key, column as u16, life)),
                    Kind::Conflicts { .. } => continue,
                    Kind::Text { conflicts: Some(kept), .. } => {
                        let gone = life.map(|life| self.gone_lines(*key, column as u16, *kept, row, life)).unwrap_or_default();
                        wrong.extend(gone.into_iter().map(|line| (false, format!("{key:?} column {column}: {line:?} is gone: {row:?}"))));
                        continue;
                    }
                    Kind::Set => life.and_then(|life| self.last_elements(*key, column as u16, life)),
                    _ => life.and_then(|life| self.last_written(*key, column as u16, life)),
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

    /// Each row's present life: the revision that made it, and its values as of that.
    fn lives(&self) -> BTreeMap<RowKey, (u64, Vec<Value>)> {
        let mut lives: BTreeMap<RowKey, (u64, Vec<Value>)> = BTreeMap::new();
        for row in &self.log {
            for change in self.read_log(&row.changes) {
                match (change.op, lives.get_mut(&change.row)) {
                    (Op::Create, _) => drop(lives.insert(change.row, (row.rev, change.set.into_iter().map(|s| s.1).collect()))),
                    (Op::Update, Some((rev, values))) if *rev == row.rev => {
                        change.set.into_iter().for_each(|(column, value)| values[column as usize] = value);
                    }
                    _ => {}
                }
            }
        }
        lives
    }

    fn read_log(&self, changes: &str) -> Vec<Edit> {
        let json = Json::parse_or_null(changes);
        let items = json.as_list().unwrap_or(&[]).iter();
        items.filter_map(|change| Edit::read(&self.schema, change, Values::Final).ok()).collect()
    }

    fn sum(&self, row: RowKey, column: u16, (rev, first): &(u64, Vec<Value>)) -> Option<Value> {
        let Value::Int(first) = first[column as usize] else { return None };
        let later = self.applied.iter().filter(|a| a.rev > *rev).flat_map(|a| &a.edits).filter(|edit| edit.row == row);
        let merges = later.flat_map(|edit| edit.add.iter().filter(|a| a.0 == column));
        let added: i64 = merges.map(|a| if let Merge::Add(by) = a.1 { by } else { 0 }).sum();
        Some(Value::Int(first + added))
    }

    /// What was applied since a row was made in this revision, which it may have been more than once; and whether it was made as such, and
    /// not brought back by what changed it.
    fn since_made(&self, row: RowKey, rev: u64) -> (&[Applied], bool) {
        let makes = |a: &Applied| a.rev == rev && a.edits.iter().any(|edit| edit.row == row && edit.makes());
        let deletes = |a: &Applied| a.rev == rev && a.edits.iter().any(|edit| edit.row == row && edit.op == Op::Delete);
        let gone = self.applied.iter().rposition(deletes).unwrap_or(0);
        let made = self.applied.iter().rposition(makes).filter(|made| *made >= gone);
        let carries = |a: &Applied| a.rev == rev && a.edits.iter().any(|edit| edit.row == row && !edit.was.is_empty());
        let brought = || self.applied.iter().enumerate().position(|(i, a)| i >= gone && carries(a));
        let first = made.or_else(brought).or_else(|| self.applied.iter().position(|a| a.rev >= rev));
        (&self.applied[first.unwrap_or(self.applied.len())..], made.is_some())
    }

    /// What goes into a set last, by its own account.
    fn last_elements(&self, row: RowKey, column: u16, (rev, first): &(u64, Vec<Value>)) -> Option<Value> {
        let mut last: BTreeMap<&str, (_, bool)> = BTreeMap::new();
        let mut all = texts(&first[column as usize]);
        for a in self.since_made(row, *rev).0 {
            for edit in a.edits.iter().filter(|edit| edit.row == row) {
                for (_, merge) in edit.add.iter().filter(|a| a.0 == column) {
                    let Merge::Set { insert, remove } = merge else { continue };
                    for (text, is_in) in insert.iter().map(|text| (text, true)).chain(remove.iter().map(|text| (text, false))) {
                        let stamp = (a.at, a.key);
                        let known = last.entry(text).or_insert((stamp, is_in));
                        if known.0 <= stamp {
                            *known = (stamp, is_in);
                        }
                    }
                }
            }
        }
        all.retain(|text| !last.contains_key(text.as_str()));
        all.extend(last.iter().filter(|(_, last)| last.1).map(|(text, _)| text.to_string()));
        all.sort();
        Some(list_of(&all))
    }

    /// Lines that somebody has typed and nobody has taken out, and that are neither in the text nor beside it.
    fn gone_lines(&self, row: RowKey, column: u16, kept: u16, held: &Row, (rev, first): &(u64, Vec<Value>)) -> Vec<String> {
        let lines = |text: &Value| text_of(text).split('\n').map(str::to_string).collect::<BTreeSet<String>>();
        let (mut typed, mut taken) = (lines(&first[column as usize]), BTreeSet::new());
        for edit in self.applied.iter().filter(|a| a.rev > *rev).flat_map(|a| &a.edits).filter(|edit| edit.row == row) {
            for (at, merge) in &edit.add {
                match merge {
                    Merge::Text { from, to } if *at == column => {
                        typed.extend(lines(to).difference(&lines(from)).cloned());
                        taken.extend(lines(from).difference(&lines(to)).cloned());
                    }
                    Merge::Set { remove, .. } if *at == kept => {
                        taken.extend(remove.iter().flat_map(|text| lines(&Value::Text(text.clone()))));
                    }
                    _ => {}
                }
            }
        }
        let beside = texts(&held.values[kept as usize]).into_iter().flat_map(|text| lines(&Value::Text(text)));
        let there: BTreeSet<String> = lines(&held.values[column as usize]).into_iter().chain(beside).collect();
        typed.into_iter().filter(|line| !line.is_empty() && !taken.contains(line) && !there.contains(line)).collect()
    }

    fn last_written(&self, row: RowKey, column: u16, (rev, first): &(u64, Vec<Value>)) -> Option<Value> {
        let (since, made_as_such) = self.since_made(row, *rev);
        let writes = since.iter().enumerate().flat_map(|(i, a)| {
            let edits = a.edits.iter().filter(|edit| edit.row == row);
            edits.filter_map(move |edit| {
                let makes = a.rev == *rev && (edit.makes() || i == 0 && !made_as_such && !edit.was.is_empty());
                let set = edit.set.iter().find(|s| s.0 == column).map(|s| &s.1);
                // As of the revision that made it, the log tells.
                let value = if a.rev == *rev { Some(&first[column as usize]).filter(|_| makes || set.is_some()) } else { set };
                Some(((a.at, a.key.0, a.key.1, !makes), value.filter(|_| a.rev == *rev || !edit.makes())?))
            })
        });
        writes.max_by_key(|write| write.0).map(|write| write.1.clone())
    }
}
