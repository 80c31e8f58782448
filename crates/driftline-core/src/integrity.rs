//! How a unit takes effect on rows: existence, references, cascades. Client and server run this same code.
//!
//! The server judges strictly and by clocks. A client shows what it can ([`Judge::View`]): a row whose parent has not been
//! created yet is seen all the same, and what no longer applies is passed over, because the server will have the word.

use crate::counts::Counts;
use crate::edit::{Edit, Op};
use crate::field::work_in;
use crate::merge::{Clocks, Stamp};
use crate::order::components;
use crate::problem::Problem;
use crate::rows::Rows;
use crate::schema::{EditsToDeleted, Kind, OnDelete, Schema};
use crate::sorted::{SortedMap, SortedSet};
use crate::value::{Row, RowKey, Value};

/// Named blockers of a delete, at most this many: a problem is read by a person.
const BLOCKERS_SHOWN: usize = 10;

/// The code of a problem that goes away by itself: the unit is held, and not refused.
pub const WAITS: &str = "waits";

/// Who decides, and what it knows.
#[derive(Clone, Copy)]
pub enum Judge<'a> {
    /// Parents must exist; fields go to the last writer.
    Server(&'a dyn Knowledge),
    /// A person's new transaction: an update of nothing is a mistake, a missing parent may still come.
    Maker,
    /// What waits, shown again on a changed base: what cannot be shown is passed over.
    View,
}

/// What a server knows beside the rows it has loaded. Its own half of the crate answers; a client has no such code.
pub trait Knowledge {
    /// Whether the row is known to have been deleted.
    fn is_deleted(&self, row: RowKey) -> bool;
    /// Whether deleting the row takes more with it than one push may.
    fn is_large(&self, row: RowKey) -> bool;
    /// Those that forbid a large delete, after what its unit has done so far: some have been let go or go along, others have come.
    fn blockers(&self, schema: &Schema, rows: &Rows, unit: &[Edit], trees: &SortedSet<RowKey>, root: RowKey) -> Vec<RowKey>;
    /// Whether all of these hang on rows that are dying: still there, and not to be seen any more.
    fn are_doomed(&self, rows: &[RowKey]) -> bool;
    /// Whether the row is dying, or one of `roots`, or hangs on one of these: it may be loaded, and is not there for anybody.
    fn is_hidden(&self, schema: &Schema, rows: &Rows, row: RowKey, roots: &SortedSet<RowKey>) -> bool;
}

/// What a unit did.
#[derive(Debug, Default)]
pub struct Effect {
    /// Final values, in the order in which they hold.
    pub changes: Vec<Edit>,
    /// New counts of a unit with a delete in the background: what goes then is counted too, by whoever holds the rows.
    pub counted: Vec<Edit>,
    /// Edits dropped by policy, with their part.
    pub notices: Vec<(usize, Problem)>,
    /// Whether a client that applies the same edits to the same rows comes to the same changes.
    pub as_sent: bool,
}

/// Applies the arranged steps of a unit, or changes nothing and says which part is to blame.
///
/// A step is its part in the unit and the edit; `stamps` has one stamp per part.
pub fn apply(
    schema: &Schema,
    rows: &mut Rows,
    judge: Judge,
    stamps: &[Stamp],
    steps: &[(usize, &Edit)],
) -> Result<Effect, (usize, Problem)> {
    let depth = rows.depth();
    let effect = Effect { as_sent: true, ..Effect::default() };
    let mut unit = Unit { schema, rows, judge, effect, counts: Counts::default(), trees: SortedSet::new() };
    for (part, edit) in steps {
        if let Err(problem) = unit.step(*part, edit, stamps[*part]) {
            unit.rows.roll_back(depth);
            return Err((*part, problem));
        }
    }
    Ok(unit.finish())
}

struct Unit<'a> {
    schema: &'a Schema,
    rows: &'a mut Rows,
    judge: Judge<'a>,
    effect: Effect,
    counts: Counts,
    /// Rows that the unit has deleted in the background.
    trees: SortedSet<RowKey>,
}

impl Unit<'_> {
    fn step(&mut self, part: usize, edit: &Edit, stamp: Stamp) -> Result<(), Problem> {
        match edit.op {
            Op::Create => self.create(part, edit, stamp),
            Op::Restore => self.restore(part, edit, stamp),
            Op::Update => self.update(part, edit, stamp),
            Op::Delete | Op::DeleteTree => self.delete(edit.row),
        }
    }

    fn create(&mut self, part: usize, edit: &Edit, stamp: Stamp) -> Result<(), Problem> {
        let exists = self.rows.contains(edit.row);
        let holds = self.holds(edit.row);
        match self.judge {
            Judge::View if exists => return Ok(()),
            _ if holds => {
                return Err(Problem::new("row_exists", "a row with this id is there already; make a new id").row(self.schema, edit.row));
            }
            Judge::Server(known) if exists || known.is_deleted(edit.row) => {
                return Err(Problem::new("row_deleted", "a row with this id was deleted; make a new id").row(self.schema, edit.row));
            }
            _ => {}
        }
        let made = self.with_parents(part, edit)?;
        self.make(made.as_ref().unwrap_or(edit), stamp);
        Ok(())
    }

    fn make(&mut self, edit: &Edit, stamp: Stamp) {
        let made = self.counts.complete(self.schema, self.rows, edit);
        let values = made.set.iter().map(|(_, value)| value.clone()).collect();
        let clocks = if self.is_server() { Clocks::created(stamp) } else { Clocks::default() };
        self.change(edit.row, Some(Row::new(values, clocks)));
        self.effect.changes.push(made);
    }

    /// Makes a row again, whether it was deleted or never there.
    fn restore(&mut self, part: usize, edit: &Edit, stamp: Stamp) -> Result<(), Problem> {
        if self.holds(edit.row) {
            return Ok(());
        }
        if let Judge::Server(known) = self.judge
            && known.are_doomed(&[edit.row])
        {
            return Err(Problem::new(WAITS, "the row is still being deleted"));
        }
        if self.goes_with_unit(edit.row) {
            return Err(Problem::new("row_deleted", "this unit deletes the row itself").row(self.schema, edit.row));
        }
        let made = self.with_parents(part, edit)?;
        self.make(made.as_ref().unwrap_or(edit), stamp);
        Ok(())
    }

    fn update(&mut self, part: usize, edit: &Edit, stamp: Stamp) -> Result<(), Problem> {
        let Some(before) = self.rows.get(edit.row).filter(|_| self.holds(edit.row)).cloned() else {
            return self.update_of_nothing(part, edit, stamp);
        };
        let with_parents = self.with_parents(part, edit)?;
        let edit = with_parents.as_ref().unwrap_or(edit);
        let table = &self.schema.tables[edit.row.table as usize];
        let columns = &table.columns;
        let mut row = before.clone();
        let mut done = Edit::new(Op::Update, edit.row);
        let mut is_older = false;
        for (column, value) in &edit.set {
            let is_reference = matches!(columns[*column as usize].kind, Kind::Ref { .. });
            if self.is_server() && !is_reference && !row.clocks.write(*column, stamp) {
                self.effect.as_sent = false;
                is_older |= row.clocks.created > stamp;
                continue;
            }
            row.values[*column as usize] = value.clone();
            done.set_column(*column, value.clone());
        }
        if is_older {
            let problem = Problem::new("row_newer", "the row was made or brought back after this was written");
            self.effect.notices.push((part, problem.row(self.schema, edit.row)));
        }
        let mut written = Vec::new();
        for (column, merge) in &edit.add {
            let stamp = self.is_server().then_some(stamp);
            match work_in(table, &mut row, *column, merge, stamp, &mut written) {
                Ok(lost) => self.effect.as_sent &= !lost,
                // The server will have the word.
                Err(_) if matches!(self.judge, Judge::View) => {}
                Err(problem) => return Err(problem.row(self.schema, edit.row)),
            }
        }
        for column in written {
            let value = &row.values[column as usize];
            let set = done.set.iter().any(|(c, _)| *c == column);
            if set || *value != before.values[column as usize] {
                done.set_column(column, value.clone());
            }
        }
        // Stamps may have changed where no value has: they decide about what is still on its way.
        if row != before {
            self.change(edit.row, Some(row));
        }
        if !done.set.is_empty() {
            self.effect.changes.push(done);
        }
        Ok(())
    }

    fn update_of_nothing(&mut self, part: usize, edit: &Edit, stamp: Stamp) -> Result<(), Problem> {
        let row = edit.row;
        let table = &self.schema.tables[row.table as usize];
        if table.edits_to_deleted == EditsToDeleted::Restore && !edit.was.is_empty() && !self.goes_with_unit(row) {
            self.effect.as_sent = false;
            return self.restore(part, &self.revived(edit), stamp);
        }
        let unknown = Problem::new("row_unknown", "there is no such row to update").row(self.schema, row);
        match self.judge {
            Judge::View => Ok(()),
            Judge::Server(known) if known.is_deleted(row) || self.rows.contains(row) => {
                let problem = Problem::new("row_deleted", "the row was deleted by someone else").row(self.schema, row);
                if table.edits_to_deleted == EditsToDeleted::Park {
                    return Err(problem);
                }
                self.effect.notices.push((part, problem));
                self.effect.as_sent = false;
                Ok(())
            }
            Judge::Server(_) | Judge::Maker => Err(unknown),
        }
    }

    /// Deletes a row and what hangs on it: children before parents, nulls before either.
    fn delete(&mut self, root: RowKey) -> Result<(), Problem> {
        if !self.holds(root) {
            return Ok(());
        }
        if let Judge::Server(known) = self.judge
            && known.is_large(root)
        {
            let blockers = known.blockers(self.schema, self.rows, &self.effect.changes, &self.trees, root);
            return self.delete_tree(root, &blockers);
        }
        let doomed = self.doomed(root)?;
        for (child, column) in doomed.nulled {
            let Some(row) = self.rows.get(child) else { continue };
            let mut row = row.clone();
            row.values[column as usize] = Value::Null;
            self.change(child, Some(row));
            let set = vec![(column, Value::Null)];
            self.effect.changes.push(Edit { set, ..Edit::new(Op::Update, child) });
        }
        for key in doomed.leaves_first {
            self.change(key, None);
            self.effect.changes.push(Edit::delete(key));
        }
        Ok(())
    }

    /// Deletes a row with more below it than can be written now: the row is marked, and the rest follows in the background. Who
    /// holds the rows sees all of it go at once.
    fn delete_tree(&mut self, root: RowKey, blockers: &[RowKey]) -> Result<(), Problem> {
        if !blockers.is_empty() {
            return Err(self.restricted(blockers));
        }
        self.effect.changes.push(Edit { op: Op::DeleteTree, ..Edit::delete(root) });
        self.trees.insert(root);
        Ok(())
    }

    /// Changes a row, and has it counted. One that is dying has been taken out of the counts already.
    fn change(&mut self, key: RowKey, row: Option<Row>) {
        if !is_dying(self.judge, self.schema, self.rows, key) {
            self.counts.note(self.schema, key, self.rows.get(key), row.as_ref());
        }
        self.rows.change(key, row);
    }

    fn finish(mut self) -> Effect {
        let (schema, judge) = (self.schema, self.judge);
        let (updates, as_sent) = self.counts.settle(schema, self.rows, &|rows, row| is_dying(judge, schema, rows, row));
        self.effect.as_sent &= as_sent;
        let into = if self.trees.is_empty() { &mut self.effect.changes } else { &mut self.effect.counted };
        into.extend(updates);
        self.effect
    }

    /// Whether a row is there for those who edit it or refer to it.
    fn holds(&self, row: RowKey) -> bool {
        match self.judge {
            Judge::Server(known) if known.is_hidden(self.schema, self.rows, row, &self.trees) => false,
            _ => self.rows.contains(row),
        }
    }

    /// Makes the row as an update left it.
    fn revived(&self, edit: &Edit) -> Edit {
        let table = &self.schema.tables[edit.row.table as usize];
        let mut revived = Edit { set: edit.was.clone(), ..Edit::new(Op::Restore, edit.row) };
        for (column, value) in &edit.set {
            revived.set_column(*column, value.clone());
        }
        let mut row = Row::of(revived.set.iter().map(|(_, value)| value.clone()).collect());
        for (column, merge) in &edit.add {
            // What has no room is left as it was.
            let _ = work_in(table, &mut row, *column, merge, None, &mut Vec::new());
        }
        for (at, value) in std::mem::take(&mut row.values).into_iter().enumerate() {
            revived.set[at].1 = value;
        }
        revived
    }

    /// Whether the unit itself deletes the row in the background: it is loaded, and not there any more.
    fn goes_with_unit(&self, row: RowKey) -> bool {
        !self.trees.is_empty() && self.rows.contains(row) && !self.holds(row)
    }

    /// Names some of the rows that forbid a delete. Where they are to go anyway, it only has to wait.
    fn restricted(&self, blockers: &[RowKey]) -> Problem {
        if let Judge::Server(known) = self.judge
            && known.are_doomed(blockers)
        {
            return Problem::new(WAITS, "other rows that are being deleted still refer to this row");
        }
        let mut problem = Problem::new("restricted", "other rows still refer to this row; delete or change them first");
        // Those that are going anyway nobody sees any more.
        let is_going = |row: RowKey| matches!(self.judge, Judge::Server(known) if known.are_doomed(&[row]));
        for blocker in blockers.iter().filter(|row| !is_going(**row)).take(BLOCKERS_SHOWN) {
            problem = problem.row(self.schema, *blocker);
        }
        problem
    }

    fn doomed(&self, root: RowKey) -> Result<Doomed, Problem> {
        let mut dying = vec![root];
        let mut known = SortedMap::new();
        known.insert(root, 0usize);
        let (mut nulled, mut blockers) = (Vec::new(), Vec::new());
        let mut next = 0;
        while let Some(&parent) = dying.get(next) {
            next += 1;
            for (child, column) in self.rows.children(parent) {
                match on_delete(self.schema, child, column) {
                    OnDelete::Cascade => {
                        if !known.contains_key(&child) {
                            known.insert(child, dying.len());
                            dying.push(child);
                        }
                    }
                    OnDelete::SetNull => nulled.push((child, column)),
                    OnDelete::Restrict => blockers.push(child),
                }
            }
        }
        blockers.retain(|child| !known.contains_key(child));
        if !blockers.is_empty() {
            if matches!(self.judge, Judge::View) {
                return Ok(Doomed { nulled: Vec::new(), leaves_first: Vec::new() });
            }
            return Err(self.restricted(&blockers));
        }
        nulled.retain(|(child, _)| !known.contains_key(child));
        let order = components(dying.len(), |i, out| {
            for (child, _) in self.rows.children(dying[i]) {
                out.extend(known.get(&child));
            }
        });
        let mut leaves_first = Vec::with_capacity(dying.len());
        for i in order.iter().flatten() {
            leaves_first.push(dying[*i]);
        }
        Ok(Doomed { nulled, leaves_first })
    }

    /// A server refuses a reference to nothing, or makes it null where the edit can do without: then it returns the edit as it
    /// goes on. A client lets it wait, for the parent may be made later.
    fn with_parents(&mut self, part: usize, edit: &Edit) -> Result<Option<Edit>, Problem> {
        let Judge::Server(known) = self.judge else { return Ok(None) };
        let (mut missing, mut loose) = (Vec::new(), Vec::new());
        for (column, target) in edit.references() {
            if target != edit.row && !self.holds(target) {
                if self.schema.is_loose(edit, column) {
                    loose.push((column, target));
                } else {
                    missing.push(target);
                }
            }
        }
        let Some(&first) = missing.first() else { return Ok(self.without(part, edit, loose)) };
        let table = &self.schema.tables[first.table as usize].name;
        let why = if known.is_deleted(first) || self.rows.contains(first) { "was deleted" } else { "is not there" };
        let mut problem = Problem::new("missing_parent", format!("the {table} that this refers to {why}"));
        for target in missing {
            problem = problem.row(self.schema, target);
        }
        Err(problem)
    }

    /// The edit with these references null, and a notice of each.
    fn without(&mut self, part: usize, edit: &Edit, references: Vec<(u16, RowKey)>) -> Option<Edit> {
        let mut edit = if references.is_empty() { return None } else { edit.clone() };
        self.effect.as_sent = false;
        for (column, target) in references {
            edit.set_column(column, Value::Null);
            let detail = "a row that this one referred to was deleted by someone else; the reference is null now";
            self.effect.notices.push((part, Problem::new("reference_dropped", detail).row(self.schema, edit.row).row(self.schema, target)));
        }
        Some(edit)
    }

    fn is_server(&self) -> bool {
        matches!(self.judge, Judge::Server(_))
    }
}

/// Whether a row hangs on one that an earlier unit deleted in the background.
fn is_dying(judge: Judge, schema: &Schema, rows: &Rows, row: RowKey) -> bool {
    matches!(judge, Judge::Server(known) if known.is_hidden(schema, rows, row, &SortedSet::new()))
}

struct Doomed {
    nulled: Vec<(RowKey, u16)>,
    leaves_first: Vec<RowKey>,
}

pub fn on_delete(schema: &Schema, child: RowKey, column: u16) -> OnDelete {
    match schema.tables[child.table as usize].columns[column as usize].kind {
        Kind::Ref { on_delete, .. } => on_delete,
        // Only reference columns have children; a wrong answer here must not delete.
        _ => OnDelete::Restrict,
    }
}
