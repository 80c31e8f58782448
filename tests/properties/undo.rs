//! Undo and redo (I8): what a tab takes back and does again, alone and among others, against a model that keeps two piles of
//! pictures: what the rows were before each step, and what they were after it.

use crate::making::{self, call, moved, one_of, shown};
use crate::model::{self, Rows, values};
use crate::run::{Family, Run};
use crate::tab::{Tab, config, serve};
use driftline_core::edit::{Edit, Merge, Op};
use driftline_core::field::{list_of, text_of, texts};
use driftline_core::outbox::{Key, State};
use driftline_core::schema::{Kind, Schema};
use driftline_core::sender::SendFailure;
use driftline_core::value::{RowKey, Value};
use driftline_tests::sim::rng::Rng;
use driftline_tests::sim::server::Server;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub const FAMILY: Family = Family {
    name: "undo",
    rules: "I6, I8, I9, V4",
    situations: &[
        "undone alone",
        "redone alone",
        "undone to the very start alone",
        "redone to the very end alone",
        "undone among others",
        "redone among others",
        "undone five or more steps in a row",
        "updates of one gesture undone as one",
        "undone what was not sent yet",
        "undone what was on its way",
        "undone what the server had taken",
        "undone offline",
        "undone after a delete went in the background",
        "row deleted by an undo",
        "row brought back",
        "rows brought back that had died with it",
        "reference brought back that a delete had made null",
        "reference that could not be brought back",
        "row that could not be brought back",
        "row that is back already",
        "plain field of somebody else left alone",
        "counter that others had added to",
        "set that others had changed",
        "text that others had typed into",
        "text of somebody else left alone",
        "step passed over",
        "nothing left to undo",
        "row left, for what others made of it",
        "what could be redone given up by a new edit",
        "undone step discarded",
        "answer lost",
        "reloaded",
        "parked",
        "came to the server exactly once",
    ],
    run: i8_what_is_taken_back_is_what_was_done,
};

const NOW: u64 = 1_800_000_000_000;
/// As close as updates of one gesture follow one another.
const GESTURE_MS: u64 = 500;

/// What one step did: the rows that it changed, as they were and as they came to be.
#[derive(Debug, Clone, PartialEq)]
struct Step {
    keys: Vec<Key>,
    at: u64,
    before: Rows,
    after: Rows,
    /// The fields that it wrote, where it made no row and deleted none.
    fields: Option<BTreeSet<(RowKey, usize)>>,
}

impl Step {
    fn new(key: Key, at: u64, was: &Rows, is: &Rows) -> Step {
        let changed: BTreeSet<RowKey> = was.keys().chain(is.keys()).copied().filter(|key| was.get(key) != is.get(key)).collect();
        let of = |rows: &Rows| rows.iter().filter(|(key, _)| changed.contains(key)).map(|(key, row)| (*key, row.clone())).collect();
        let (before, after): (Rows, Rows) = (of(was), of(is));
        let fields = |(key, was): (&RowKey, &Vec<Value>)| {
            let changed: Vec<_> = (0..was.len()).filter(|i| was[*i] != after[key][*i]).map(|i| (*key, i)).collect();
            changed
        };
        let fields = before.keys().eq(after.keys()).then(|| before.iter().flat_map(fields).collect());
        Step { keys: vec![key], at, before, after, fields }
    }

    fn goes_on_with(&self, later: &Step) -> bool {
        self.fields.is_some()
            && self.fields == later.fields
            && later.at <= self.at + GESTURE_MS
            && self.fields.iter().flatten().all(|(key, i)| self.after[key][*i] == later.before[key][*i])
    }
}

struct World {
    schema: Rc<Schema>,
    tables: Vec<u16>,
    server: Server,
    tab: Tab,
    other: Tab,
    /// Nobody else changes anything.
    alone: bool,
    /// Nothing was given up either, so that what is taken back comes to exactly what was before.
    exact: bool,
    done: Vec<Step>,
    undone: Vec<Step>,
    /// What must come to the server, and nothing has kept it from that so far.
    pending: BTreeSet<Key>,
    /// Those of undo and redo.
    taken_back: BTreeSet<Key>,
}

fn i8_what_is_taken_back_is_what_was_done(run: &mut Run) {
    let schema = run.varied_schema();
    let most = run.rng.range(3, 6) as usize;
    let tables = making::some_tables(&mut run.rng, &schema, true, most);
    let mut server = Server::new(schema.clone());
    server.delete_rows = run.rng.pick(&[1, 3, 2_000, 2_000]).copied().unwrap_or(1);
    let mut other = Tab::leading(config(&schema, 0xb1), &server, NOW);
    other.sync(&schema, &mut server, 2);
    let tab = Tab::leading(config(&schema, 0xa1), &server, NOW);
    let alone = run.rng.chance(250);
    let (done, undone, pending, taken_back) = Default::default();
    let mut world = World { schema, tables, server, tab, other, alone, exact: alone, done, undone, pending, taken_back };
    for _ in 0..run.rng.range(2, 5) {
        world.remote(run);
    }
    world.tab.pushes.clear();
    world.tab = Tab::leading(config(&world.schema, 0xa1), &world.server, world.other.now + 10);
    world.deliver(run, false);
    let start = world.tab.view();
    let mut whole = true;
    for _ in 0..run.rng.range(8, 32) {
        if !run.step() {
            break;
        }
        whole &= !world.step(run);
        world.check(run);
    }
    if run.findings.is_empty() && world.exact && whole && !world.done.is_empty() {
        world.there_and_back(run, &start);
    }
    if run.findings.is_empty() {
        world.finish(run);
    }
}

impl World {
    // ---- making ----

    fn target(rng: &mut Rng, rows: &Rows, to: &[u16]) -> Option<RowKey> {
        one_of(rng, rows.keys().copied().filter(|key| to.contains(&key.table)))
    }

    fn edit(&self, rng: &mut Rng, rows: &Rows) -> Option<Edit> {
        let any = |rng: &mut Rng| one_of(rng, rows.keys().copied());
        match rng.below(100) {
            0..38 => {
                let row = rng.pick(&self.tables).copied().map(|table| making::fresh(rng, table))?;
                making::create(rng, &self.schema, row, |rng, column, to| {
                    let nullable = self.schema.tables[usize::from(row.table)].columns[column].nullable;
                    if nullable && rng.chance(200) { None } else { World::target(rng, rows, to) }
                })
            }
            // What is merged by its content.
            38..52 => {
                let merges = |key: &&RowKey| self.schema.tables[usize::from(key.table)].columns.iter().any(|c| c.kind == Kind::Set);
                let row = one_of(rng, rows.keys().filter(merges).copied())?;
                let mut edit = making::rewrite(rng, &self.schema, row, rows.get(&row));
                edit.set.clear();
                let texts = rng.chance(650);
                edit.add.retain(|add| matches!(add.1, Merge::Text { .. }) == texts);
                Some(edit).filter(writes)
            }
            52..66 => any(rng).map(|row| making::rewrite(rng, &self.schema, row, rows.get(&row))).filter(writes),
            66..80 => {
                let row = any(rng)?;
                let columns = making::reference_columns(&self.schema, row.table);
                let (column, to, nullable) = rng.pick(&columns).copied()?;
                let target = if nullable && rng.chance(300) { None } else { World::target(rng, rows, to) };
                (target.is_some() || nullable).then(|| moved(row, column, target))
            }
            // What others hang on: more goes.
            80..90 => any(rng).map(|row| model::references(&self.schema, &row, &rows[&row]).next().map_or(row, |r| r.1)).map(Edit::delete),
            _ => any(rng).map(Edit::delete),
        }
    }

    /// One edit or several that take effect together.
    fn edits(&self, rng: &mut Rng, rows: &Rows) -> Vec<Edit> {
        let mut rows = rows.clone();
        let mut edits: Vec<Edit> = Vec::new();
        for _ in 0..if rng.chance(550) { 1 } else { rng.range(2, 4) } {
            let Some(edit) = self.edit(rng, &rows) else { continue };
            // What is deleted in a transaction is gone at its end, and so is what hangs on it.
            let gone = if edit.op == Op::Delete { model::going(&self.schema, &rows, edit.row).gone } else { BTreeSet::new() };
            if edits.iter().any(|other| gone.contains(&other.row) || other.references().any(|r| gone.contains(&r.1))) {
                continue;
            }
            model::show(&self.schema, &mut rows, &edit);
            edits.push(edit);
        }
        edits
    }

    // ---- steps ----

    /// Returns whether the past is forgotten.
    fn step(&mut self, run: &mut Run) -> bool {
        match run.rng.below(100) {
            0..36 => self.make(run),
            36..40 => self.drag(run),
            40..52 => {
                let deep = if run.rng.chance(250) { run.rng.range(3, 8) } else { run.rng.range(1, 2) };
                let taken = (0..deep).take_while(|_| self.take_back(run, false)).count();
                run.hits_of("undone five or more steps in a row", u64::from(taken >= 5));
            }
            52..58 => {
                for _ in 0..run.rng.range(1, 3) {
                    self.take_back(run, true);
                }
            }
            58..62 if !self.alone => self.remote(run),
            62..82 if !self.alone => self.meddle(run),
            82..86 if !self.alone => self.clash(run),
            58..86 => self.deliver(run, true),
            86..90 => self.live(run),
            90..95 => {
                let online = run.rng.chance(500);
                self.tab.set_online(online);
            }
            95 => {
                self.reload(run);
                return true;
            }
            _ if run.rng.chance(400) => return self.discard(run),
            _ => {}
        }
        false
    }

    fn make(&mut self, run: &mut Run) {
        let view = self.tab.view();
        let edits = self.edits(&mut run.rng, &view);
        if !edits.is_empty() {
            self.tab.now += run.rng.pick(&[3, 30, 2_000, 2_000, 2_000]).copied().unwrap_or(0);
            self.made(run, &view, &edits);
        }
        if run.rng.chance(600) {
            self.tab.run();
        }
    }

    fn made(&mut self, run: &mut Run, view: &Rows, edits: &[Edit]) {
        run.transactions += 1;
        let made = self.tab.make(&call(&self.schema, edits, &[]));
        run.say(|| format!("makes {} -> {made:x?}", shown(&self.schema, edits)));
        let Ok(key) = made else { return };
        let step = Step::new(key, self.tab.now, view, &self.tab.view());
        self.note_made(key);
        run.hits_of("what could be redone given up by a new edit", u64::from(!self.undone.is_empty()));
        self.undone.clear();
        if step.before == step.after {
            return;
        }
        match self.done.last_mut() {
            Some(last) if last.goes_on_with(&step) => {
                run.hit("updates of one gesture undone as one");
                // What somebody else has changed in between is not the gesture's.
                for (key, i) in step.fields.into_iter().flatten() {
                    let value = step.after[&key][i].clone();
                    last.after.get_mut(&key).into_iter().for_each(|row| row[i] = value.clone());
                }
                last.at = step.at;
                last.keys.extend(step.keys);
            }
            _ => self.done.push(step),
        }
    }

    /// Several updates of the same fields, one soon after the other.
    fn drag(&mut self, run: &mut Run) {
        let view = self.tab.view();
        let Some(row) = one_of(&mut run.rng, view.keys().copied()) else { return };
        let fields = making::update(&mut run.rng, &self.schema, row).set;
        if fields.is_empty() {
            return;
        }
        self.tab.now += 2_000;
        for _ in 0..run.rng.range(2, 4) {
            let mut edit = Edit::new(Op::Update, row);
            for (column, _) in &fields {
                edit.set.push((*column, making::value(&mut run.rng, &self.schema, row.table, usize::from(*column))));
            }
            self.made(run, &self.tab.view(), &[edit]);
            self.tab.now += run.rng.pick(&[16, 16, 400, 700]).copied().unwrap_or(0);
            if run.rng.chance(300) {
                self.tab.run();
            }
        }
    }

    /// What waits is to come to the server, but for what a later edit has made pointless or taken in.
    fn note_made(&mut self, key: Key) {
        let outbox = self.tab.engine.outbox();
        // What hangs on the row of a large delete the store says beforehand: it does not see what the same transaction moves away.
        let edits = outbox.get(key).map(|entry| entry.edits.as_slice()).unwrap_or_default();
        let moves = edits.iter().any(|edit| edit.op == Op::Update && edit.set.iter().any(|set| refers(&self.schema, edit, set.0)));
        self.exact &= !(moves && edits.iter().any(|edit| edit.op == Op::Delete) && self.server.delete_rows < 100);
        self.pending.retain(|key| outbox.get(*key).is_some());
        self.pending.extend(outbox.get(key).map(|entry| entry.made.key));
    }

    // ---- undo and redo ----

    /// Returns whether anything came of it.
    fn take_back(&mut self, run: &mut Run, redo: bool) -> bool {
        self.settle();
        self.tab.now += run.rng.range(1, 1_500);
        let view = self.tab.view();
        let mut expected = None;
        // Steps of which nothing is left are passed over.
        loop {
            let from = if redo { &mut self.undone } else { &mut self.done };
            let Some(step) = from.last().cloned() else { break };
            let back = taken_back(&self.schema, &view, &step);
            if back.as_ref().is_ok_and(|rows| *rows == model::counted(&self.schema, &view, &view)) {
                run.check("i8", !self.exact || step.before == step.after, || format!("alone, and nothing is left of {step:x?}"));
                run.hit("step passed over");
                let lost = step.before.keys().any(|key| !step.after.contains_key(key) && !view.contains_key(key));
                run.hits_of("row that could not be brought back", u64::from(lost));
                let left = step.after.keys().any(|key| !step.before.contains_key(key) && view.contains_key(key));
                run.hits_of("row left, for what others made of it", u64::from(left));
                from.pop();
                continue;
            }
            expected = Some((step, back));
            break;
        }
        let result = if redo { self.tab.engine.redo(self.tab.now) } else { self.tab.engine.undo(self.tab.now) };
        let is = self.tab.view();
        run.say(|| format!("{} -> {result:x?}", if redo { "redoes" } else { "undoes" }));
        run.transactions += 1;
        match (expected, result) {
            (None, Ok(made)) => {
                run.hit("nothing left to undo");
                run.check("i8", made.is_empty() && is == view, || format!("{made:x?} with nothing to take back"));
                false
            }
            (Some((_, Err(blockers))), Err(problem)) => {
                let fits = problem.code == if blockers.is_some() { "restricted" } else { "cycle" };
                run.check("i8", fits && (!self.exact || blockers.is_none()), || format!("{problem:?} and should be {blockers:?}"));
                run.check("i8", is == view, || "refused, and the view has changed".to_string());
                // It does not stand before the others.
                if redo {
                    self.undone.pop()
                } else {
                    self.done.pop()
                };
                false
            }
            (Some((step, Ok(should))), Ok(made)) => {
                if let Some(text) = model::differ(&self.schema, &is, &should) {
                    run.find("i8", format!("taking back {step:x?}: {text}"));
                }
                run.check("i8", made.len() == 1, || format!("{} transactions for one step", made.len()));
                let Some((key, patch)) = made.into_iter().next() else { return false };
                self.tab.patches.push(patch);
                if self.exact {
                    let exactly = step.before.iter().all(|(key, row)| is.get(key) == Some(row))
                        && step.after.keys().all(|key| step.before.contains_key(key) || !is.contains_key(key));
                    run.check("i8", exactly, || format!("not what it was before {step:x?}"));
                }
                self.note_taken_back(run, redo, &step, &view, &is);
                self.note_made(key);
                self.taken_back.insert(key);
                let back = Step::new(key, self.tab.now, &view, &is);
                let (from, to) = if redo { (&mut self.undone, &mut self.done) } else { (&mut self.done, &mut self.undone) };
                from.pop();
                to.push(back);
                true
            }
            (expected, result) => {
                run.find("i8", format!("{result:x?} and should be {expected:x?}"));
                false
            }
        }
    }

    fn settle(&mut self) {
        let outbox = self.tab.engine.outbox();
        self.pending.retain(|key| outbox.get(*key).is_some() || self.server.logged.contains_key(key));
    }

    fn note_taken_back(&self, run: &mut Run, redo: bool, step: &Step, view: &Rows, is: &Rows) {
        run.hit(match (self.alone, redo) {
            (true, false) => "undone alone",
            (true, true) => "redone alone",
            (false, false) => "undone among others",
            (false, true) => "redone among others",
        });
        match self.tab.engine.outbox().get(step.keys[step.keys.len() - 1]).map(|entry| &entry.state) {
            Some(State::Queued) => run.hit("undone what was not sent yet"),
            Some(State::InFlight) => run.hit("undone what was on its way"),
            None => run.hit("undone what the server had taken"),
            _ => {}
        }
        run.hits_of("undone offline", u64::from(self.tab.engine.status().contains("offline")));
        run.hits_of("undone after a delete went in the background", u64::from(self.server.is_dying()));
        run.hits_of("row deleted by an undo", u64::from(view.keys().any(|key| !is.contains_key(key))));
        let left = step.after.keys().any(|key| !step.before.contains_key(key) && is.contains_key(key));
        run.hits_of("row left, for what others made of it", u64::from(left));
        let gone: Vec<&RowKey> = step.before.keys().filter(|key| !step.after.contains_key(key)).collect();
        let back = gone.iter().filter(|key| !view.contains_key(key) && is.contains_key(key)).count();
        run.hits_of("row brought back", u64::from(back > 0));
        run.hits_of("rows brought back that had died with it", u64::from(back > 1));
        run.hits_of("row that could not be brought back", u64::from(gone.iter().any(|key| !is.contains_key(key))));
        run.hits_of("row that is back already", u64::from(gone.iter().any(|key| view.contains_key(key))));
        for (key, was) in &step.before {
            let (Some(now), after) = (is.get(key), step.after.get(key)) else { continue };
            for i in (0..was.len()).filter(|i| after.is_none_or(|after| after[*i] != was[*i])) {
                let seen = view.get(key).map(|row| &row[i]);
                let kind = model::kind(&self.schema, key.table, i);
                let refers = matches!(was[i], Value::Ref(_));
                match (after.map(|row| &row[i]), seen) {
                    (None, None) => run.hits_of("reference that could not be brought back", u64::from(refers && now[i] != was[i])),
                    (Some(after), Some(seen)) => {
                        let changed = seen != after;
                        let nulled = refers && *after == Value::Null && now[i] == was[i] && !gone.is_empty();
                        run.hits_of("reference brought back that a delete had made null", u64::from(nulled));
                        match kind {
                            Kind::Counter => run.hits_of("counter that others had added to", u64::from(changed)),
                            Kind::Set => run.hits_of("set that others had changed", u64::from(changed)),
                            Kind::Text { conflicts: Some(_), .. } => {
                                let left = changed && now[i] == *seen;
                                run.hits_of("text of somebody else left alone", u64::from(left));
                                run.hits_of("text that others had typed into", u64::from(changed && !left));
                            }
                            Kind::Conflicts { .. } | Kind::Count { .. } => {}
                            _ => run.hits_of("plain field of somebody else left alone", u64::from(changed)),
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// All the way back, and all the way forth.
    fn there_and_back(&mut self, run: &mut Run, start: &Rows) {
        while self.take_back(run, true) {}
        let end = self.tab.view();
        while self.take_back(run, false) {
            if run.rng.chance(200) {
                self.deliver(run, true);
            }
        }
        run.hit("undone to the very start alone");
        if let Some(text) = model::differ(&self.schema, &self.tab.view(), start) {
            run.find("i8", format!("undone to the start: {text}"));
        }
        if run.rng.chance(500) {
            while self.take_back(run, true) {
                if run.rng.chance(200) {
                    self.deliver(run, true);
                }
            }
            run.hit("redone to the very end alone");
            if let Some(text) = model::differ(&self.schema, &self.tab.view(), &end) {
                run.find("i8", format!("redone to the end: {text}"));
            }
        }
        self.check(run);
    }

    // ---- others, and the network ----

    fn remote(&mut self, run: &mut Run) {
        let edits = self.edits(&mut run.rng, &self.other.view());
        self.remote_edits(run, edits);
    }

    /// Somebody else goes on from what was done here, or is done with it.
    fn meddle(&mut self, run: &mut Run) {
        self.hear_each_other(run);
        let rows = self.other.view();
        let rng = &mut run.rng;
        let steps = if rng.chance(700) { &self.done } else { &self.undone };
        let Some(step) = steps.len().checked_sub(1 + usize::from(rng.chance(200))).and_then(|i| steps.get(i)) else { return };
        let row = one_of(rng, step.after.keys().filter(|key| rows.contains_key(key)).copied());
        let gone: Vec<(&RowKey, &Vec<Value>)> =
            step.before.iter().filter(|(key, _)| !step.after.contains_key(key) && !rows.contains_key(key)).collect();
        let edit = match (rng.below(100), row) {
            // What was deleted here, somebody else brings back; or deletes what it hung on.
            (0..90, _) if !gone.is_empty() => {
                let needs = |key: &RowKey, i: usize| !self.schema.tables[usize::from(key.table)].columns[i].nullable;
                let mut named: Vec<(bool, RowKey)> = Vec::new();
                for (key, row) in &gone {
                    named.extend(model::references(&self.schema, key, row).map(|r| (needs(key, r.0), r.1)));
                }
                let needed = named.iter().any(|named| named.0) && rng.chance(900);
                named.retain(|named| named.0 || !needed);
                let named = named.into_iter().map(|named| named.1);
                match one_of(rng, named.filter(|key| rows.contains_key(key))).filter(|_| rng.chance(800)) {
                    Some(named) => Some(Edit::delete(named)),
                    None => rng.pick(&gone).map(|(key, row)| restore(&self.schema, **key, row)),
                }
            }
            (0..78, Some(row)) => Some(self.same_fields(rng, step, row, &rows[&row])).filter(writes),
            (78..92, Some(row)) => self.child(rng, &rows, row),
            (_, row) => row.map(Edit::delete),
        };
        self.remote_edits(run, edit.into_iter().collect());
        if run.rng.chance(900) {
            self.live(run);
            self.deliver(run, false);
            let redo = !self.undone.is_empty() && run.rng.chance(500);
            self.take_back(run, redo);
        }
    }

    /// Two type into one text, or one deletes a row and the other what it cannot do without; then that is taken back.
    fn clash(&mut self, run: &mut Run) {
        let view = self.tab.view();
        let rng = &mut run.rng;
        let typed = |key: &RowKey, i: usize| matches!(model::kind(&self.schema, key.table, i), Kind::Text { conflicts: Some(_), .. });
        let texts: Vec<(RowKey, usize)> =
            view.iter().flat_map(|(key, row)| (0..row.len()).map(|i| (*key, i))).filter(|(key, i)| typed(key, *i)).collect();
        let needs = |key: &RowKey| {
            let columns = &self.schema.tables[usize::from(key.table)].columns;
            model::references(&self.schema, key, &view[key]).find(|(i, to)| !columns[*i].nullable && to != key).map(|r| r.1)
        };
        let type_into = |rng: &mut Rng, (row, i): (RowKey, usize), rows: &Rows| {
            let from = rows.get(&row)?[i].clone();
            let to = Value::Text(making::typed(rng, text_of(&from)));
            Some(Edit { add: vec![(i as u16, Merge::Text { from, to })], ..Edit::new(Op::Update, row) })
        };
        let text = rng.pick(&texts).copied().filter(|_| rng.chance(400));
        let row = one_of(rng, view.keys().filter(|key| needs(key).is_some()).copied());
        let (mine, parent) = match (text, row) {
            (Some(text), _) => (type_into(rng, text, &view), None),
            (None, Some(row)) => (Some(Edit::delete(row)), needs(&row)),
            _ => (None, None),
        };
        let Some(mine) = mine else { return };
        self.tab.now += 2_000;
        self.made(run, &view, &[mine]);
        self.hear_each_other(run);
        let rows = self.other.view();
        let theirs = match text {
            Some(text) => type_into(&mut run.rng, text, &rows),
            None => parent.filter(|parent| rows.contains_key(parent)).map(Edit::delete),
        };
        self.remote_edits(run, theirs.into_iter().collect());
        self.live(run);
        self.deliver(run, false);
        self.take_back(run, false);
    }

    fn hear_each_other(&mut self, run: &mut Run) {
        self.tab.set_online(true);
        self.deliver(run, false);
        self.other.tick(31_000);
        while let Some((id, body)) = self.other.pushes.pop_front() {
            let (status, answer) = serve(&self.schema, &mut self.server, 2, &body, self.other.now, run.rng.draw());
            self.other.answer(id, status, &answer);
        }
    }

    /// An update of the fields that a step wrote, or of any where it made the row.
    fn same_fields(&self, rng: &mut Rng, step: &Step, row: RowKey, values: &Vec<Value>) -> Edit {
        let wrote = |column: u16| {
            let at = usize::from(column);
            step.before.get(&row).is_none_or(|was| was[at] != step.after[&row][at])
        };
        let mut edit = Edit::new(Op::Update, row);
        for _ in 0..12 {
            edit = making::rewrite(rng, &self.schema, row, Some(values));
            edit.set.retain(|set| wrote(set.0));
            edit.add.retain(|add| wrote(add.0));
            if writes(&edit) {
                break;
            }
        }
        edit
    }

    /// A new row that refers to this one.
    fn child(&self, rng: &mut Rng, rows: &Rows, row: RowKey) -> Option<Edit> {
        let refers = |table: &u16| making::reference_columns(&self.schema, *table).iter().any(|c| c.1.contains(&row.table));
        let tables: Vec<u16> = making::held_tables(&self.schema).into_iter().filter(refers).collect();
        let child = rng.pick(&tables).copied().map(|table| making::fresh(rng, table))?;
        making::create(rng, &self.schema, child, |rng, _, to| {
            if to.contains(&row.table) && rng.chance(800) { Some(row) } else { World::target(rng, rows, to) }
        })
    }

    fn remote_edits(&mut self, run: &mut Run, edits: Vec<Edit>) {
        self.other.now = self.other.now.max(self.tab.now) + 1;
        if edits.is_empty() || self.other.make(&call(&self.schema, &edits, &[])).is_err() {
            return;
        }
        run.say(|| format!("another makes {}", shown(&self.schema, &edits)));
        self.other.run();
        while let Some((id, body)) = self.other.pushes.pop_front() {
            let (status, answer) = serve(&self.schema, &mut self.server, 2, &body, self.other.now, run.rng.draw());
            self.other.answer(id, status, &answer);
        }
        if run.rng.chance(500) {
            while self.server.reap_step() {}
        }
        self.other.tick(31_000);
        if run.rng.chance(500) {
            self.tab.now = self.tab.now.max(self.other.now);
        }
    }

    fn deliver(&mut self, run: &mut Run, may_lose: bool) {
        self.tab.run();
        if self.tab.pushes.is_empty() {
            self.tab.tick(11_000);
        }
        for _ in 0..run.rng.range(1, 3) {
            self.tab.load(&self.server);
            let Some((id, body)) = self.tab.pushes.pop_front() else { break };
            let (status, answer) = serve(&self.schema, &mut self.server, 1, &body, self.tab.now, run.rng.draw());
            if may_lose && run.rng.chance(200) {
                run.hit("answer lost");
                self.tab.engine.handle_send_failed(self.tab.now, id, SendFailure::Network);
                self.tab.run();
                self.tab.tick(31_000);
                continue;
            }
            run.say(|| format!("answered {answer}"));
            let before = self.tab.engine.outbox().counts().parked;
            self.tab.answer(id, status, &answer);
            run.hits_of("parked", u64::from(self.tab.engine.outbox().counts().parked > before));
            if run.rng.chance(400) {
                self.server.reap_step();
            }
        }
    }

    fn live(&mut self, run: &mut Run) {
        let cursor = self.tab.engine.replica().rev;
        let Some(text) = self.server.live_message(1, cursor).filter(|_| cursor < self.server.space.rev) else { return };
        self.tab.engine.handle_live_open(self.tab.now);
        self.tab.engine.handle_live_message(self.tab.now, &text);
        self.tab.run();
        run.say(|| format!("told {text}"));
    }

    /// What was done before a reload cannot be taken back.
    fn reload(&mut self, run: &mut Run) {
        self.tab.run();
        run.hit("reloaded");
        run.say(|| "reloads".to_string());
        let kept = self.tab.close();
        let now = self.tab.now + 10;
        self.tab = Tab::opened(config(&self.schema, 0xa1), kept, now);
        self.tab.lead();
        self.tab.load(&self.server);
        (self.done, self.undone) = Default::default();
    }

    /// A transaction is given up: there is nothing of it to take back any more.
    fn discard(&mut self, run: &mut Run) -> bool {
        let waiting: Vec<Key> = self.tab.engine.outbox().iter().map(|entry| entry.made.key).collect();
        let parked = waiting.iter().find(|key| matches!(self.tab.engine.outbox().get(**key).map(|e| &e.state), Some(State::Parked { .. })));
        let Some(key) = parked.or(run.rng.pick(&waiting)).copied() else { return false };
        let result = self.tab.engine.discard(self.tab.now, key, true);
        run.say(|| format!("discards {key:x?} -> {result:?}"));
        let outbox = self.tab.engine.outbox();
        let gone: BTreeSet<Key> = waiting.into_iter().filter(|key| outbox.get(*key).is_none()).collect();
        run.hits_of("undone step discarded", u64::from(gone.iter().any(|key| self.taken_back.contains(key))));
        self.pending.retain(|key| !gone.contains(key));
        // Those of one step have all written the same.
        self.done.retain(|step| step.keys.iter().all(|key| !gone.contains(key)));
        self.undone.retain(|step| step.keys.iter().all(|key| !gone.contains(key)));
        self.exact &= gone.is_empty();
        !gone.is_empty()
    }

    // ---- what must hold ----

    fn check(&mut self, run: &mut Run) {
        let depths = self.tab.engine.undo_depths();
        run.check("i8", depths == (self.done.len(), self.undone.len()), || {
            format!("{depths:?} steps and should be {:?}", (self.done.len(), self.undone.len()))
        });
        self.tab.run();
        let mut should = self.tab.base();
        for entry in self.tab.engine.outbox().iter() {
            entry.edits.iter().for_each(|edit| model::show(&self.schema, &mut should, edit));
        }
        if let Some(text) = model::differ(&self.schema, &self.tab.view(), &should) {
            run.find("v2", format!("in the view, {text}"));
        }
        run.find_all("i3", model::orphans(&self.schema, &values(&self.server.rows)));
        run.find_all("i3", model::orphans(&self.schema, &values(&self.server.visible())));
        let found: Vec<String> = self.server.findings.drain(..).map(|finding| finding.text).collect();
        run.find_all("i3", found);
        let parked = self.tab.engine.outbox().counts().parked;
        run.check("i8", !self.exact || parked == 0, || {
            let problems = self.tab.engine.outbox_json(self.tab.now, 10);
            format!("alone, and {parked} refused: {problems}")
        });
    }

    /// All that waits arrives, each once.
    fn finish(&mut self, run: &mut Run) {
        let seen = self.tab.view();
        self.tab.set_online(true);
        while self.server.reap_step() {}
        let quiet = self.tab.sync(&self.schema, &mut self.server, 1);
        self.check(run);
        run.check("r1", quiet, || "it does not come to rest".to_string());
        run.find_all("i3", model::orphans(&self.schema, &self.tab.base()));
        let is = values(&self.server.visible());
        if let Some(text) = model::differ(&self.schema, &self.tab.base(), &is) {
            run.find("v4", format!("on the device, {text}"));
        }
        run.check("v4", self.tab.engine.replica().digest == self.server.space.digest, || "the digests differ".to_string());
        if self.exact
            && let Some(text) = model::differ(&self.schema, &is, &seen)
        {
            run.find("i8", format!("alone, and on the server {text}"));
        }
        let mut times: BTreeMap<Key, usize> = BTreeMap::new();
        self.server.log().for_each(|(_, key, _)| *times.entry(key).or_insert(0) += 1);
        for key in &self.pending {
            let waits = self.tab.engine.outbox().get(*key).is_some();
            let logged = times.get(key).copied().unwrap_or(0);
            run.check("i8", logged + usize::from(waits) == 1, || format!("{key:x?} took effect {logged} times, waits: {waits}"));
            run.hits_of("came to the server exactly once", u64::from(logged == 1 && self.taken_back.contains(key)));
        }
    }
}

fn restore(schema: &Schema, key: RowKey, row: &[Value]) -> Edit {
    let counted = |i: &usize| matches!(model::kind(schema, key.table, *i), Kind::Count { .. });
    let set = (0..row.len()).filter(|i| !counted(i)).map(|i| (i as u16, row[i].clone())).collect();
    Edit { set, ..Edit::new(Op::Restore, key) }
}

fn refers(schema: &Schema, edit: &Edit, column: u16) -> bool {
    matches!(model::kind(schema, edit.row.table, usize::from(column)), Kind::Ref { .. })
}

fn writes(edit: &Edit) -> bool {
    !edit.set.is_empty() || !edit.add.is_empty()
}

/// The rows with a step taken back, as far as nobody has gone on from it; `Err` with the rows that forbid it, or with
/// `None` where rows went that need each other through required references: nobody could make them.
fn taken_back(schema: &Schema, view: &Rows, step: &Step) -> Result<Rows, Option<BTreeSet<RowKey>>> {
    let mut rows = view.clone();
    let mut back: Rows = step.before.clone();
    back.retain(|key, _| !step.after.contains_key(key) && !view.contains_key(key));
    loop {
        let lacks = |key: &RowKey, row: &Vec<Value>, all: &Rows| {
            let columns = &schema.tables[usize::from(key.table)].columns;
            model::references(schema, key, row).any(|(i, to)| !columns[i].nullable && !view.contains_key(&to) && !all.contains_key(&to))
        };
        let Some(lost) = back.iter().find(|(key, row)| lacks(key, row, &back)).map(|(key, _)| *key) else { break };
        back.remove(&lost);
    }
    let mut left: BTreeSet<RowKey> = back.keys().copied().collect();
    loop {
        let count = left.len();
        let needs = |key: &RowKey, to: &RowKey, i: usize, left: &BTreeSet<RowKey>| {
            let nullable = schema.tables[usize::from(key.table)].columns[i].nullable;
            !nullable && to != key && left.contains(to)
        };
        let rest = left.iter().filter(|key| model::references(schema, key, &back[*key]).any(|(i, to)| needs(key, &to, i, &left)));
        left = rest.copied().collect();
        if left.is_empty() {
            break;
        }
        if left.len() == count {
            return Err(None);
        }
    }
    let there: BTreeSet<RowKey> = view.keys().chain(back.keys()).copied().collect();
    let lost = |value: &Value| matches!(value, Value::Ref(to) if !there.contains(to));
    for (key, row) in back {
        rows.insert(key, row.into_iter().map(|value| if lost(&value) { Value::Null } else { value }).collect());
    }
    for (key, was) in &step.before {
        let (Some(after), Some(row)) = (step.after.get(key), rows.get_mut(key)) else { continue };
        for i in 0..was.len() {
            let (before, after) = (&was[i], &after[i]);
            if before == after {
                continue;
            }
            match model::kind(schema, key.table, i) {
                Kind::Counter => {
                    if let (Value::Int(now), Value::Int(before), Value::Int(after)) = (&mut row[i], before, after) {
                        *now += before - after;
                    }
                }
                Kind::Set => {
                    let set = |value: &Value| texts(value).into_iter().collect::<BTreeSet<String>>();
                    let (before, after, now) = (set(before), set(after), set(&row[i]));
                    let added: BTreeSet<&String> = after.difference(&before).collect();
                    let mut list: BTreeSet<String> = now.into_iter().filter(|text| !added.contains(text)).collect();
                    list.extend(before.difference(&after).cloned());
                    row[i] = list_of(&list.into_iter().collect::<Vec<_>>());
                }
                Kind::Text { conflicts: Some(_), .. } => {
                    if row[i] == *after || text_of(&row[i]) == text_of(after) {
                        row[i] = before.clone();
                    } else if let Some(text) = model::merged(text_of(after), text_of(&row[i]), text_of(before))
                        && text != text_of(&row[i])
                    {
                        row[i] = if text == text_of(before) { before.clone() } else { Value::Text(text) };
                    }
                }
                Kind::Conflicts { .. } | Kind::Count { .. } => {}
                _ if row[i] == *after && !lost(before) => row[i] = before.clone(),
                _ => {}
            }
        }
    }
    // What was made goes, if it is as it was made and nothing hangs on it but what goes too, or has just been moved.
    let same = |key: &RowKey, now: &[Value], made: &[Value]| {
        let counts = |i: usize| matches!(model::kind(schema, key.table, i), Kind::Count { .. });
        now.iter().zip(made).enumerate().all(|(i, (now, made))| counts(i) || now == made)
    };
    let made = step.after.iter().filter(|(key, _)| !step.before.contains_key(key));
    let mut going: BTreeSet<RowKey> =
        made.filter(|(key, after)| view.get(key).is_some_and(|now| same(key, now, after))).map(|(key, _)| *key).collect();
    loop {
        let stays = |key: &RowKey| {
            view.iter()
                .filter(|row| !going.contains(row.0))
                .any(|(child, values)| model::references(schema, child, values).any(|(i, to)| to == *key && rows[child][i] == values[i]))
        };
        let staying: Vec<RowKey> = going.iter().filter(|key| stays(key)).copied().collect();
        if staying.is_empty() {
            break;
        }
        staying.iter().for_each(|key| {
            going.remove(key);
        });
    }
    let going: Vec<RowKey> = going.into_iter().collect();
    for key in model::leaves_first(schema, view, &going) {
        model::delete(schema, &mut rows, key).map_err(Some)?;
    }
    Ok(model::counted(schema, &rows, view))
}
