//! The server's control flow: `(push, working set) → plan`. It may refuse one transaction; it cannot fail.
//!
//! The store loads what [`crate::load`] asks for, calls [`reconcile`], writes the plan in one database transaction, and
//! answers after the commit.

use crate::counts::counts_hidden_rows;
use crate::dedupe::{ClientState, Settled, Verdict, applied_outcome, judge};
use crate::digest::made_together;
use crate::edit::{Edit, Op, write_edits};
use crate::integrity::{Effect, Judge, Knowledge, WAITS, apply};
use crate::limits;
use crate::load::{PushKey, SpaceState, WorkingSet};
use crate::merge::Stamp;
use crate::order::{Step, arrange};
use crate::problem::Problem;
use crate::schema::{Kind, Schema};
use crate::value::{Row, RowKey, Value};
use crate::wire::{Push, PushTxn, PushUnit};
use std::collections::{BTreeMap, BTreeSet};

/// What to write, and what to answer once it is written.
#[derive(Debug, Default)]
pub struct Plan {
    pub space: SpaceState,
    /// Final rows that were not there.
    pub inserts: Vec<(RowKey, Row)>,
    /// Final rows that were.
    pub updates: Vec<(RowKey, Row)>,
    /// Those of them whose texts are others now.
    pub reworded: BTreeSet<RowKey>,
    /// Rows to remove, with what they were.
    pub deletes: Vec<(RowKey, Row)>,
    /// Deleted ids to remember, with the revision; rows that were created and deleted in one push are among them.
    pub deleted: Vec<(RowKey, u64)>,
    /// Ids that are deleted no more.
    pub revived: Vec<RowKey>,
    /// Rows that are dying from now on, with the revision. They stay where they are; [`Plan::deleted`] has them too.
    pub dying: Vec<(RowKey, u64)>,
    /// New counts beside [`Plan::dying`], not in the log yet: see [`Plan::log_counts`].
    pub counted: Vec<Edit>,
    /// Some rows of the space are dying, so its digest is not that of the rows to be seen.
    pub unsettled: bool,
    pub log: Vec<LogRow>,
    /// New marks, closed keys left out.
    pub settled: Vec<(PushKey, Settled)>,
    /// The new state of each of the push's clients. Marks inside its closed ranges are to be forgotten.
    pub clients: Vec<ClientState>,
    pub forks: Vec<bool>,
    /// One per transaction sent, in order: key, and the outcome's members as JSON.
    pub outcomes: Vec<(PushKey, String)>,
    /// Keys that took effect just now and exactly as sent.
    pub as_sent: BTreeSet<PushKey>,
}

impl Plan {
    /// Logs the counts of a unit with a delete in the background, once the store has written its rows and lowered the counts of
    /// rows that stay by what goes: `lowered` has their final values. Counts of rows that go (`is_hidden`) are nobody's business.
    pub fn log_counts(&mut self, schema: &Schema, lowered: Vec<(RowKey, u16, i64)>, is_hidden: impl Fn(RowKey) -> bool) {
        let Some(last) = self.log.last_mut() else { return };
        let counted = std::mem::take(&mut self.counted).into_iter().filter(|edit| !is_hidden(edit.row));
        let mut updates: BTreeMap<RowKey, Edit> = counted.map(|edit| (edit.row, edit)).collect();
        for (row, column, value) in lowered {
            let update = updates.entry(row).or_insert_with(|| Edit { op: Op::Update, ..Edit::delete(row) });
            update.set_column(column, Value::Int(value));
            if counts_hidden_rows(schema, row.table, column) {
                self.as_sent.remove(&last.key);
            }
        }
        let shown: Vec<Edit> = updates.into_values().filter(|edit| !schema.tables[edit.row.table as usize].server_only).collect();
        if !shown.is_empty() {
            last.changes.pop();
            last.changes.push_str(if last.changes == "[" { "" } else { "," });
            write_edits(schema, &shown, &mut last.changes);
            last.changes.push(']');
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    pub rev: u64,
    pub part: u32,
    pub key: PushKey,
    pub hash: u128,
    /// A JSON array of changes.
    pub changes: String,
}

/// A sender whose epoch is over. Nothing may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaleSender {
    pub epoch: u64,
}

/// An app's own word on an edit that is about to take effect, with the row as it is before the unit that the edit is part of.
pub type Rule<'a> = &'a dyn Fn(&Edit, Option<&Row>) -> Result<(), Problem>;

/// Decides a push. `random` makes the receipts; `next_actor` numbers clients never seen in this space.
pub fn reconcile(schema: &Schema, push: &Push, set: WorkingSet, now_ms: u64, random: u64, next_actor: u32) -> Result<Plan, StaleSender> {
    reconcile_by(&|_, _| Ok(()), schema, push, set, now_ms, random, next_actor)
}

/// The same where an app has rules of its own. They are asked once, before the first decision on a transaction.
pub fn reconcile_by(
    rule: Rule,
    schema: &Schema,
    push: &Push,
    set: WorkingSet,
    now_ms: u64,
    random: u64,
    next_actor: u32,
) -> Result<Plan, StaleSender> {
    let mut decision = Decision::new(rule, schema, push, set, now_ms);
    decision.meet_clients(random, next_actor)?;
    for (i, unit) in push.units.iter().enumerate() {
        decision.unit(i, unit);
    }
    Ok(decision.into_plan())
}

fn remade(edit: &Edit) -> Edit {
    let mut made = Edit { op: Op::Restore, row: edit.row, set: edit.was.clone(), add: edit.add.clone(), was: Vec::new() };
    edit.set.iter().for_each(|(column, value)| made.set_column(*column, value.clone()));
    made
}

struct Decision<'a> {
    rule: Rule<'a>,
    schema: &'a Schema,
    push: &'a Push,
    now_ms: u64,
    set: WorkingSet,
    /// Keys answered in this push that are not applied: what comes `after` them is held.
    failed: BTreeSet<PushKey>,
    plan: Plan,
    first_rev: u64,
}

impl<'a> Decision<'a> {
    fn new(rule: Rule<'a>, schema: &'a Schema, push: &'a Push, mut set: WorkingSet, now_ms: u64) -> Decision<'a> {
        set.rows.mark();
        let plan = Plan { space: set.space, unsettled: set.dying, ..Plan::default() };
        Decision { rule, schema, push, now_ms, failed: BTreeSet::new(), first_rev: set.space.rev, plan, set }
    }

    /// Epochs, receipts and what the clients no longer need.
    fn meet_clients(&mut self, random: u64, mut next_actor: u32) -> Result<(), StaleSender> {
        for (i, client) in self.push.clients.iter().enumerate() {
            let known = self.set.clients[i].take();
            let mut state = known.unwrap_or_else(|| {
                next_actor += 1;
                ClientState { actor: next_actor - 1, ..ClientState::default() }
            });
            // A server that lost its memory of a client has nothing to hold against its receipt.
            if state.receipts.current.is_none() {
                state.receipts.current = client.receipt;
            }
            // Also where the receipt is old: a request that was long on its way is not a copy.
            if self.push.epoch < state.epoch {
                return Err(StaleSender { epoch: state.epoch });
            }
            let genuine = state.receipts.echo(client.receipt, mix(random.wrapping_add(i as u64)));
            if genuine {
                state.epoch = self.push.epoch;
                let mut closed = state.closed.clone();
                closed.add_all(&client.closed);
                if closed.len() <= limits::CLOSED_RANGES_KEPT {
                    state.closed = closed;
                }
            }
            self.plan.forks.push(!genuine);
            self.set.clients[i] = Some(state.clone());
            self.plan.clients.push(state);
        }
        Ok(())
    }

    fn unit(&mut self, index: usize, unit: &PushUnit) {
        let verdicts: Vec<_> = unit.txns.iter().map(|txn| self.judge(txn)).collect();
        let mut fresh = Vec::new();
        let mut refused_before = false;
        for (txn, verdict) in unit.txns.iter().zip(verdicts) {
            let key = (txn.client, txn.seq);
            match verdict {
                Verdict::Fresh => fresh.push(txn),
                Verdict::Repeat(settled) => {
                    refused_before |= !settled.applied;
                    self.answer(key, settled.applied, settled.outcome);
                }
                Verdict::Conflict => {
                    let problem = Problem::new("key_reused", "this key stands for another transaction; it takes a new one");
                    refused_before = true;
                    self.answer(key, false, refused_outcome(&problem));
                }
                Verdict::Unknown => {
                    let problem = Problem::new("outcome_unknown", "what became of this cannot be told: look, and retry or discard it");
                    refused_before = true;
                    self.answer(key, false, format!("\"outcome\":\"unknown\",\"problem\":{}", problem.to_json()));
                }
            }
        }
        if fresh.is_empty() {
            return;
        }
        if refused_before || unit.after.iter().any(|key| !self.is_applied(*key)) || self.must_wait(index, &fresh) {
            return self.hold(&fresh);
        }
        if let Some(part) = fresh.iter().position(|txn| self.came_too_late(txn)) {
            let problem = Problem::new("too_late", "what this was to replace has taken effect already: look, and discard it");
            return self.refuse(&fresh, part, &problem);
        }
        match self.take_effect(&fresh) {
            Ok(effect) => self.accept(&fresh, effect),
            // What this server cannot read yet, one of a later version will take.
            Err((_, problem)) if problem.code == WAITS || problem.code == "schema_newer" => self.hold(&fresh),
            Err((culprit, problem)) => self.refuse(&fresh, culprit, &problem),
        }
    }

    /// What a large delete takes with it is judged by the rows in the store: it comes first in a push, and alone.
    fn must_wait(&self, index: usize, fresh: &[&PushTxn]) -> bool {
        if self.set.cut.is_some_and(|cut| index >= cut) {
            return true;
        }
        let large =
            |txn: &&PushTxn| txn.txn.iter().flat_map(|txn| &txn.edits).any(|e| e.op == Op::Delete && self.set.known.is_large(e.row));
        !self.plan.dying.is_empty() || (self.plan.space.rev > self.first_rev && fresh.iter().any(large))
    }

    fn hold(&mut self, txns: &[&PushTxn]) {
        for txn in txns {
            self.answer((txn.client, txn.seq), false, "\"outcome\":\"held\"".to_string());
        }
    }

    fn judge(&self, txn: &PushTxn) -> Verdict {
        let key = (txn.client, txn.seq);
        judge(txn.hash, self.is_closed(key), self.set.settled.get(&key), self.set.logged.get(&key).copied())
    }

    /// Whether something that this stands for has taken effect. A copied profile may have used its key for something else.
    fn came_too_late(&self, txn: &PushTxn) -> bool {
        txn.replaces.iter().any(|key| {
            let counts = |settled: &&Settled| settled.applied || settled.outcome == replaced_outcome();
            let settled = self.set.settled.get(key).filter(counts).map(|settled| settled.hash);
            let applied = settled.or(self.set.logged.get(key).map(|logged| logged.0));
            applied.is_some_and(|hash| made_together(hash, txn.hash))
        })
    }

    /// What this stands for may still be on its way: it must not take effect as well. Nor may another that stands for the same: so also what
    /// has been refused is marked anew.
    fn close_replaced(&mut self, txn: &PushTxn) {
        for key in &txn.replaces {
            let marked = self.set.settled.get(key).cloned();
            let stays = marked.as_ref().is_some_and(|marked| marked.applied || !made_together(marked.hash, txn.hash));
            if !stays && !self.is_closed(*key) {
                let hash = marked.map_or(txn.hash, |marked| marked.hash);
                self.plan.settled.retain(|(settled, _)| settled != key);
                self.mark(*key, Settled { hash, applied: false, outcome: replaced_outcome() });
            }
        }
    }

    fn is_closed(&self, key: PushKey) -> bool {
        self.plan.clients[key.0].closed.contains(key.1)
    }

    fn is_applied(&self, key: PushKey) -> bool {
        if self.failed.contains(&key) {
            return false;
        }
        match self.set.settled.get(&key) {
            Some(settled) => settled.applied,
            // What the client has closed it knows the end of.
            None => self.is_closed(key),
        }
    }

    fn take_effect(&mut self, txns: &[&PushTxn]) -> Result<Effect, (usize, Problem)> {
        let mut steps = Vec::new();
        let mut stamps = Vec::new();
        for (part, push_txn) in txns.iter().enumerate() {
            let txn = push_txn.txn.as_ref().map_err(|problem| (part, problem.clone()))?;
            for edit in &txn.edits {
                let before = self.set.rows.get(edit.row);
                // An update that carries what the row was may make it again, and then with all of that.
                let made = (before.is_none() && !edit.was.is_empty()).then(|| remade(edit));
                (self.rule)(made.as_ref().unwrap_or(edit), before).map_err(|problem| (part, problem))?;
            }
            let at = txn.at.clamped(self.now_ms);
            stamps.push(Stamp { at, client: self.push.clients[push_txn.client].id, seq: push_txn.seq });
            steps.extend(txn.edits.iter().map(|edit| Step { part, edit: edit.clone() }));
        }
        let rows = &self.set.rows;
        let held = |key| rows.get(key).map(|row| row.references().collect()).unwrap_or_default();
        let steps = arrange(self.schema, steps, &held).map_err(|problem| (0, problem))?;
        let judge = Judge::Server(&self.set.known);
        let steps: Vec<_> = steps.iter().map(|step| (step.part, &step.edit)).collect();
        apply(self.schema, &mut self.set.rows, judge, &stamps, &steps)
    }

    fn accept(&mut self, txns: &[&PushTxn], effect: Effect) {
        self.plan.space.rev += 1;
        let rev = self.plan.space.rev;
        for edit in &effect.changes {
            if edit.op == Op::DeleteTree {
                self.plan.dying.push((edit.row, rev));
                self.plan.unsettled = true;
            }
            if matches!(edit.op, Op::Delete | Op::DeleteTree) {
                self.set.known.deleted.insert(edit.row);
                self.plan.deleted.push((edit.row, rev));
                self.plan.revived.retain(|row| *row != edit.row);
            } else if edit.op == Op::Create && self.set.known.deleted.remove(&edit.row) {
                self.plan.deleted.retain(|deleted| deleted.0 != edit.row);
                self.plan.revived.push(edit.row);
            }
        }
        self.plan.counted.extend(effect.counted);
        // Whoever reads the log holds neither what stays here nor what is dying.
        let is_shown = |edit: &&Edit| {
            let stays_here = self.schema.tables[edit.row.table as usize].server_only;
            !stays_here && !self.set.known.are_doomed(&[edit.row])
        };
        let shown: Vec<Edit> = effect.changes.iter().filter(is_shown).cloned().collect();
        for (part, txn) in txns.iter().enumerate() {
            let key = (txn.client, txn.seq);
            let is_last = part + 1 == txns.len();
            // A unit's changes interleave, so they stand together in its last part.
            let changes = if is_last { edits_json(self.schema, &shown) } else { "[]".to_string() };
            self.plan.log.push(LogRow { rev, part: part as u32, key, hash: txn.hash, changes });
            let notices = effect.notices.iter().filter(|notice| notice.0 == part).map(|notice| notice.1.to_json());
            let outcome = applied_outcome(rev, &format!("[{}]", notices.collect::<Vec<_>>().join(",")));
            self.settle(key, Settled { hash: txn.hash, applied: true, outcome });
            self.close_replaced(txn);
            if effect.as_sent && txns.len() == 1 {
                self.plan.as_sent.insert(key);
            }
        }
    }

    fn refuse(&mut self, txns: &[&PushTxn], culprit: usize, problem: &Problem) {
        for (part, txn) in txns.iter().enumerate() {
            let outcome = if part == culprit {
                refused_outcome(problem)
            } else {
                refused_outcome(&Problem::new(
                    "unit_refused",
                    format!("it needs another transaction in a cycle, and that was refused: {}", problem.detail),
                ))
            };
            self.settle((txn.client, txn.seq), Settled { hash: txn.hash, applied: false, outcome });
        }
    }

    fn settle(&mut self, key: PushKey, settled: Settled) {
        self.answer(key, settled.applied, settled.outcome.clone());
        self.mark(key, settled);
    }

    fn mark(&mut self, key: PushKey, settled: Settled) {
        self.set.settled.insert(key, settled.clone());
        self.plan.settled.push((key, settled));
    }

    fn answer(&mut self, key: PushKey, applied: bool, outcome: String) {
        if applied {
            self.failed.remove(&key);
        } else {
            self.failed.insert(key);
        }
        self.plan.outcomes.push((key, outcome));
    }

    fn into_plan(mut self) -> Plan {
        let mut digest = self.plan.space.digest;
        for (key, old) in self.set.rows.since(0) {
            let new = self.set.rows.get(key).cloned();
            if let Some(old) = &old {
                digest.remove(self.schema, key, old);
            }
            if let Some(new) = &new {
                digest.add(self.schema, key, new);
            }
            match (old, new) {
                (None, Some(row)) => self.plan.inserts.push((key, row)),
                (Some(old), Some(row)) => {
                    let columns = &self.schema.tables[key.table as usize].columns;
                    let is_text = |i: usize| matches!(columns[i].kind, Kind::Text { .. });
                    if (0..columns.len()).any(|i| is_text(i) && old.values[i] != row.values[i]) {
                        self.plan.reworded.insert(key);
                    }
                    self.plan.updates.push((key, row));
                }
                (Some(row), None) => self.plan.deletes.push((key, row)),
                (None, None) => {}
            }
        }
        self.plan.space.digest = digest;
        self.plan
    }
}

/// Of a key in whose place another has taken effect.
fn replaced_outcome() -> String {
    refused_outcome(&Problem::new("too_late", "something else has taken effect in the place of this"))
}

fn refused_outcome(problem: &Problem) -> String {
    format!("\"outcome\":\"refused\",\"problem\":{}", problem.to_json())
}

fn edits_json(schema: &Schema, edits: &[Edit]) -> String {
    let mut out = String::from("[");
    write_edits(schema, edits, &mut out);
    out.push(']');
    out
}

/// SplitMix64 (Steele, Lea and Flood, 2014): spreads one random number over several receipts.
pub fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The rows of a plan by table, for stores that write a table at a time.
pub fn by_table<T>(rows: Vec<(RowKey, T)>) -> BTreeMap<u16, Vec<(RowKey, T)>> {
    let mut tables: BTreeMap<u16, Vec<(RowKey, T)>> = BTreeMap::new();
    for (key, row) in rows {
        tables.entry(key.table).or_default().push((key, row));
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::RowId;

    #[test]
    fn d5_receipts_are_spread_as_published() {
        assert_eq!([0, 0x9e37_79b9_7f4a_7c15].map(mix), [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }

    #[test]
    fn c2_rows_are_written_a_table_at_a_time() {
        let row = |table, id| (RowKey { table, id: RowId(id) }, id);
        let tables = by_table(vec![row(2, 1), row(0, 2), row(2, 3)]);
        assert_eq!(tables.into_iter().collect::<Vec<_>>(), [(0, vec![row(0, 2)]), (2, vec![row(2, 1), row(2, 3)])]);
    }
}
