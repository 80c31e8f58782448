//! The replica: base plus outbox is the view.
//!
//! The view is kept whole, and of each row that waiting transactions have changed the base is kept aside. Reconciling is
//! one readable block, [`Replica::rebase`]: roll back, apply, replay, diff. Where the server has only taken what was shown
//! first, exactly as it was sent, the view stays, and [`Replica::settle`] moves the base up under it: what it costs to send a
//! long outbox grows with it, and not with its square.

use crate::digest::Digest;
use crate::edit::{Edit, Op};
use crate::integrity::{Effect, Judge, apply};
use crate::merge::Stamp;
use crate::order::{Step, arrange};
use crate::outbox::{Entry, Made, Outbox};
use crate::patch::Patch;
use crate::problem::Problem;
use crate::rows::Rows;
use crate::schema::Schema;
use crate::sorted::{SortedMap, sort_dedup};
use crate::value::{Row, RowKey};

/// A patch is a text here, a text in JavaScript and a tree there: of what is larger not all of that is in memory at once.
const PATCH_BYTES: usize = 128 * 1024;

/// What a waiting transaction has made of the rows that it changed.
#[derive(Debug)]
struct Shown {
    made: Made,
    rows: Vec<(RowKey, Option<Row>)>,
}

#[derive(Debug, Default)]
pub struct Replica {
    /// The view.
    rows: Rows,
    /// What the server confirmed of the rows in which view and base may differ.
    aside: Originals,
    /// In the order made.
    shown: Vec<Shown>,
    /// [`Outbox::turns`] when that was what waits, in the order made. A later one: something has come or gone out of order since.
    shown_at: u64,
    /// The revision of the base.
    pub rev: u64,
    /// The digest of the base.
    pub digest: Digest,
}

impl Replica {
    pub fn view(&self) -> &Rows {
        &self.rows
    }

    pub fn base_row(&self, key: RowKey) -> Option<&Row> {
        match self.aside.get(&key) {
            Some(row) => row.as_ref(),
            None => self.rows.get(key),
        }
    }

    pub fn in_base(&self, key: RowKey) -> bool {
        self.base_row(key).is_some()
    }

    /// Whether the base lacks the row at which an edit makes a column point, and the server would refuse it for that.
    pub fn lacks(&self, schema: &Schema, edit: &Edit, column: u16, row: RowKey) -> bool {
        !self.in_base(row) && !schema.is_loose(edit, column)
    }

    /// The rows of the base, in order.
    pub fn base(&self) -> Vec<(RowKey, &Row)> {
        let mut base = Vec::with_capacity(self.rows.len());
        let mut aside = self.aside.iter().peekable();
        // Both are sorted; where a row stands in both, the one kept aside counts.
        for (key, row) in self.rows.iter() {
            while let Some((earlier, old)) = aside.next_if(|(earlier, _)| *earlier < key) {
                base.extend(old.as_ref().map(|old| (*earlier, old)));
            }
            match aside.next_if(|(same, _)| *same == key) {
                Some((_, old)) => base.extend(old.as_ref().map(|old| (*key, old))),
                None => base.push((*key, row)),
            }
        }
        for (key, old) in aside {
            base.extend(old.as_ref().map(|old| (*key, old)));
        }
        base
    }

    /// Takes a person's new transaction into the view, or says why not and changes nothing. Returns what the rows were, too.
    pub fn make(&mut self, schema: &Schema, edits: &[Edit]) -> Result<(Effect, Originals), Problem> {
        let steps: Vec<_> = edits.iter().map(|edit| (0, edit)).collect();
        let effect = apply(schema, &mut self.rows, Judge::Maker, &[Stamp::default()], &steps).map_err(|refused| refused.1)?;
        let originals = self.rows.since(0);
        for (key, old) in self.rows.take_undo() {
            self.aside.get_or_insert_with(key, || old);
        }
        Ok((effect, originals))
    }

    /// What has been made just now, which changed these rows, is the last of those that wait.
    pub fn keep(&mut self, made: Made, changed: &Originals, waiting: &Outbox) {
        if self.shown_at + 1 == waiting.turns() && waiting.last() == Some(made) {
            self.shown_at = waiting.turns();
            let mut rows = Vec::with_capacity(changed.len());
            for (key, _) in changed.iter() {
                rows.push(*key);
            }
            self.note_shown(made, rows);
        }
    }

    fn note_shown(&mut self, made: Made, changed: Vec<RowKey>) {
        if !changed.is_empty() {
            let mut rows = Vec::with_capacity(changed.len());
            for key in changed {
                rows.push((key, self.rows.get(key).cloned()));
            }
            self.shown.push(Shown { made, rows });
        }
    }

    /// Moves the base up over these transactions, which have just left what waits, if they are the first that are shown on it, in this
    /// order: the server has taken each exactly as it was sent. Returns what each has changed, and nothing where a
    /// [rebase](Replica::rebase) has to find that out.
    pub fn settle(&mut self, schema: &Schema, taken: &[&Entry], waiting: &Outbox) -> Option<Vec<Vec<Edit>>> {
        let mut is_exact = self.shown_at + taken.len() as u64 == waiting.turns() && taken.len() <= self.shown.len();
        if let (Some(last), Some(first)) = (taken.last(), waiting.first()) {
            // What was made earlier and has shown nothing so far may show something on another base.
            is_exact &= last.made < first;
        }
        // What the base will be of the rows that those before have changed.
        let mut ahead = Originals::new();
        for (entry, shown) in taken.iter().zip(&self.shown) {
            is_exact = is_exact && entry.made == shown.made && self.is_taken_in_order(schema, &entry.edits, &ahead);
            if !is_exact {
                break;
            }
            for (key, row) in &shown.rows {
                ahead.insert(*key, row.clone());
            }
        }
        if !is_exact {
            return None;
        }
        self.shown_at = waiting.turns();
        let rest = self.shown.split_off(taken.len());
        let mut changes = Vec::with_capacity(taken.len());
        for shown in std::mem::replace(&mut self.shown, rest) {
            changes.push(self.settle_one(schema, shown.rows));
        }
        Some(changes)
    }

    /// Whether the server, which goes by what refers to what in the base, took these edits in the order in which they are shown.
    fn is_taken_in_order(&self, schema: &Schema, edits: &[Edit], ahead: &Originals) -> bool {
        if edits.len() < 2 || edits.iter().all(|edit| edit.op != Op::Delete) {
            return true;
        }
        let mut steps = Vec::with_capacity(edits.len());
        for (part, edit) in edits.iter().enumerate() {
            steps.push(Step { part, edit: edit.clone() });
        }
        let held = |key: RowKey| {
            let row = ahead.get(&key).map_or_else(|| self.base_row(key), Option::as_ref);
            row.map_or_else(Vec::new, Row::reference_list)
        };
        let Ok(arranged) = arrange(schema, steps, &held) else { return false };
        arranged.len() == edits.len() && arranged.iter().enumerate().all(|(i, step)| step.part == i)
    }

    fn settle_one(&mut self, schema: &Schema, rows: Vec<(RowKey, Option<Row>)>) -> Vec<Edit> {
        let mut changes = Vec::with_capacity(rows.len());
        for (key, new) in rows {
            let old = self.base_row(key).cloned();
            if let Some(old) = &old {
                self.digest.remove(schema, key, old);
            }
            if let Some(new) = &new {
                self.digest.add(schema, key, new);
            }
            changes.extend(difference(key, old.as_ref(), new.as_ref()));
            if new.as_ref() == self.rows.get(key) {
                self.aside.remove(&key);
            } else {
                self.aside.insert(key, new);
            }
        }
        changes
    }

    /// Changes the base and shows again what waits on top of it; returns the patches of the view, none of them much larger than
    /// [`PATCH_BYTES`].
    pub fn rebase(&mut self, schema: &Schema, change: impl FnOnce(&mut Base), waiting: &Outbox) -> Vec<String> {
        let mut change = Some(change);
        self.rebase_once(schema, &mut |base| change.take().map_or((), |change| change(base)), waiting)
    }

    fn rebase_once(&mut self, schema: &Schema, change: &mut dyn FnMut(&mut Base), waiting: &Outbox) -> Vec<String> {
        // Roll back.
        let mut before = SortedMap::new();
        for (key, row) in std::mem::take(&mut self.aside) {
            before.insert(key, self.rows.put(key, row));
        }
        self.shown.clear();
        self.shown_at = waiting.turns();
        // Apply.
        let mut base = Base { schema, rows: &mut self.rows, digest: &mut self.digest, rev: &mut self.rev };
        change(&mut base);
        for (key, old) in self.rows.take_undo() {
            before.get_or_insert_with(key, || old);
        }
        // Replay.
        for entry in waiting.iter() {
            let steps: Vec<_> = entry.edits.iter().map(|edit| (0, edit)).collect();
            // A view passes over what does not apply, so there is no error to see.
            let _ = apply(schema, &mut self.rows, Judge::View, &[Stamp::default()], &steps);
            let mut changed = Vec::new();
            for (key, old) in self.rows.take_undo() {
                before.get_or_insert_with(key, || old.clone());
                self.aside.get_or_insert_with(key, || old);
                changed.push(key);
            }
            sort_dedup(&mut changed);
            self.note_shown(entry.made, changed);
        }
        // Diff.
        let (mut patch, mut patches) = (Patch::new(schema), Vec::new());
        for (key, old) in before.iter() {
            patch.diff(*key, old.as_ref(), self.rows.get(*key));
            if patch.len() >= PATCH_BYTES {
                patches.push(patch.finish());
                patch = Patch::new(schema);
            }
        }
        patches.extend((!patch.is_empty()).then(|| patch.finish()));
        patches
    }
}

/// A change of a row, as a server would tell it.
fn difference(key: RowKey, old: Option<&Row>, new: Option<&Row>) -> Option<Edit> {
    let Some(new) = new else { return old.map(|_| Edit::delete(key)) };
    let mut edit = Edit::new(if old.is_some() { Op::Update } else { Op::Create }, key);
    for (column, value) in new.values.iter().enumerate() {
        if old.is_none_or(|old| old.values[column] != *value) {
            edit.set.push((column as u16, value.clone()));
        }
    }
    (edit.op == Op::Create || !edit.set.is_empty()).then_some(edit)
}

/// What rows were before something changed them.
pub type Originals = SortedMap<RowKey, Option<Row>>;

/// The base while it is being changed.
pub struct Base<'a> {
    schema: &'a Schema,
    rows: &'a mut Rows,
    digest: &'a mut Digest,
    rev: &'a mut u64,
}

impl Base<'_> {
    pub fn rev(&self) -> u64 {
        *self.rev
    }

    pub fn set_rev(&mut self, rev: u64) {
        *self.rev = rev;
    }

    /// Applies what a server says holds now; appends the rows that it removes.
    pub fn changes(&mut self, changes: &[Edit], removed: &mut Vec<RowKey>) {
        for change in changes {
            let row = match (change.op, self.rows.get(change.row)) {
                (Op::DeleteTree, _) => {
                    for gone in self.as_sent(&[Edit::delete(change.row)]) {
                        if gone.op == Op::Delete {
                            removed.push(gone.row);
                        }
                    }
                    continue;
                }
                (Op::Delete, _) => {
                    removed.push(change.row);
                    None
                }
                (Op::Create | Op::Restore, _) => Some(Row::of(change.set.iter().map(|(_, value)| value.clone()).collect())),
                // A server says nothing of rows that are not there; what it might say of one is not enough to make it.
                (Op::Update, None) => continue,
                (Op::Update, Some(row)) => {
                    let mut row = row.clone();
                    for (column, value) in &change.set {
                        row.values[*column as usize] = value.clone();
                    }
                    Some(row)
                }
            };
            self.put(change.row, row);
        }
    }

    /// Makes a row of defaults that an upgrade has rows refer to, where they still do and it is not there.
    pub fn make_default(&mut self, made: &Edit) {
        if !self.rows.contains(made.row) && self.rows.children(made.row).next().is_some() {
            self.changes(std::slice::from_ref(made), &mut Vec::new());
        }
    }

    /// Applies a transaction of our own of which the server says that it took effect exactly as sent.
    pub fn as_sent(&mut self, edits: &[Edit]) -> Vec<Edit> {
        let mut steps = Vec::with_capacity(edits.len());
        for edit in edits {
            steps.push(Step { part: 0, edit: edit.clone() });
        }
        // In the order in which the server took them: what refers to what may have changed since it was made.
        let rows = &*self.rows;
        let held = |key| rows.get(key).map_or_else(Vec::new, Row::reference_list);
        let arranged = arrange(self.schema, steps, &held).unwrap_or_default();
        let steps: Vec<_> = arranged.iter().map(|step| (0, &step.edit)).collect();
        let depth = self.rows.depth();
        let effect = apply(self.schema, self.rows, Judge::View, &[Stamp::default()], &steps).unwrap_or_default();
        let originals = self.rows.since(depth);
        for (key, old) in originals {
            self.account(key, old.as_ref());
        }
        effect.changes
    }

    pub fn put(&mut self, key: RowKey, row: Option<Row>) {
        let old = self.rows.get(key).cloned();
        self.rows.change(key, row);
        self.account(key, old.as_ref());
    }

    /// Replaces everything.
    pub fn replace(&mut self, rev: u64, digest: Digest, rows: Vec<(RowKey, Row)>) {
        let mut all = Vec::with_capacity(self.rows.len());
        for (key, _) in self.rows.iter() {
            all.push(*key);
        }
        for key in all {
            self.rows.change(key, None);
        }
        for (key, row) in rows {
            self.rows.change(key, Some(row));
        }
        *self.rev = rev;
        *self.digest = digest;
    }

    fn account(&mut self, key: RowKey, old: Option<&Row>) {
        if let Some(old) = old {
            self.digest.remove(self.schema, key, old);
        }
        if let Some(new) = self.rows.get(key) {
            self.digest.add(self.schema, key, new);
        }
    }
}
