//! The replica: base plus outbox is the view.
//!
//! The view is kept whole, and of each row that waiting transactions have changed is kept aside what it was before each of them: before
//! the first, that is the base. Reconciling is one readable block, [`Replica::rebase`]: roll back, apply, replay, diff. Where the server
//! has only taken what was shown first, exactly as it was sent, the view stays, and [`Replica::settle`] moves the base up under it: what a
//! long outbox costs to send grows with it and not with its square.

use crate::digest::Digest;
use crate::edit::{Edit, Op};
use crate::integrity::{Effect, Judge, apply};
use crate::merge::Stamp;
use crate::order::{Step, arrange};
use crate::outbox::{Made, Outbox};
use crate::patch::Patch;
use crate::problem::Problem;
use crate::rows::Rows;
use crate::schema::Schema;
use crate::sorted::{SortedMap, SortedSet};
use crate::value::{Row, RowKey};

/// A patch is a text here, a text in JavaScript and a tree there: of what is larger not all of that is in memory at once.
const PATCH_BYTES: usize = 128 * 1024;

#[derive(Debug, Default)]
pub struct Replica {
    /// The view.
    rows: Rows,
    /// What rows were before a waiting transaction changed them. Of a row the first is what the server confirmed.
    aside: SortedMap<(RowKey, Made), Option<Row>>,
    /// The same by transaction: which rows it has changed.
    shown: SortedSet<(Made, RowKey)>,
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
        match self.aside_from(key, EARLIEST) {
            Some(row) => row.as_ref(),
            None => self.rows.get(key),
        }
    }

    /// What a row was before the first transaction from `made` on that has changed it.
    fn aside_from(&self, key: RowKey, made: Made) -> Option<&Option<Row>> {
        self.aside.range((key, made)..).next().filter(|(found, _)| found.0 == key).map(|(_, row)| row)
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
        let mut last = None;
        let mut aside =
            self.aside.iter().filter(|((key, _), _)| last.replace(*key) != Some(*key)).map(|((key, _), row)| (key, row)).peekable();
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

    /// Takes a person's new transaction into the view, or says why not and changes nothing. Returns what the rows were, too; they are
    /// to be [kept](Replica::keep) once it is known what it became.
    pub fn make(&mut self, schema: &Schema, edits: &[Edit]) -> Result<(Effect, Originals), Problem> {
        let steps: Vec<_> = edits.iter().map(|edit| (0, edit)).collect();
        let effect = apply(schema, &mut self.rows, Judge::Maker, &[Stamp::default()], &steps).map_err(|refused| refused.1)?;
        let originals = self.rows.since(0);
        self.rows.mark();
        // Until then it may belong to any of those that wait.
        for (key, old) in originals.iter() {
            if self.aside_from(*key, EARLIEST).is_none() {
                self.aside.insert((*key, LATEST), old.clone());
            }
        }
        Ok((effect, originals))
    }

    /// A transaction has been made that is the last of those that wait, and these rows were so before it.
    pub fn keep(&mut self, made: Made, originals: &Originals, waiting: &Outbox) {
        if self.shown_at + 1 != waiting.turns() || waiting.last() != Some(made) {
            return;
        }
        self.shown_at = waiting.turns();
        for (key, old) in originals.iter() {
            self.aside.remove(&(*key, LATEST));
            self.aside.insert((*key, made), old.clone());
            self.shown.insert((made, *key));
        }
    }

    /// Moves the base up over these transactions, which have just left what waits, if they are the first that are shown on it, in this
    /// order: the server has taken each exactly as it was sent. Returns what each has changed, and nothing where a
    /// [rebase](Replica::rebase) has to find that out.
    pub fn settle(&mut self, schema: &Schema, taken: &[Made], waiting: &Outbox) -> Option<Vec<Vec<Edit>>> {
        // What was made earlier and has shown nothing so far may show something on another base.
        let is_first = taken.last().is_none_or(|last| waiting.first().is_none_or(|first| first > *last));
        let is_exact = is_first && self.shown_at + taken.len() as u64 == waiting.turns();
        let mut last = None;
        let first = self.shown.iter().map(|shown| shown.0).filter(|made| last.replace(*made) != Some(*made));
        if !is_exact || !first.take(taken.len()).eq(taken.iter().copied()) {
            return None;
        }
        self.shown_at = waiting.turns();
        Some(taken.iter().map(|made| self.settle_one(schema, *made)).collect())
    }

    fn settle_one(&mut self, schema: &Schema, made: Made) -> Vec<Edit> {
        let mut changes = Vec::new();
        let rows: Vec<RowKey> = self.shown.iter().take_while(|shown| shown.0 == made).map(|shown| shown.1).collect();
        for key in rows {
            self.shown.remove(&(made, key));
            let old = self.aside.remove(&(key, made)).flatten();
            let new = self.base_row(key).cloned();
            if let Some(old) = &old {
                self.digest.remove(schema, key, old);
            }
            if let Some(new) = &new {
                self.digest.add(schema, key, new);
            }
            changes.extend(difference(key, old.as_ref(), new.as_ref()));
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
        for ((key, _), row) in std::mem::take(&mut self.aside) {
            if !before.contains_key(&key) {
                before.insert(key, self.rows.put(key, row));
            }
        }
        self.shown = SortedSet::new();
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
            for (key, old) in self.rows.take_undo() {
                before.get_or_insert_with(key, || old.clone());
                self.aside.get_or_insert_with((key, entry.made), || old);
                self.shown.insert((entry.made, key));
            }
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

const EARLIEST: Made = Made { at: 0, key: (0, 0) };
const LATEST: Made = Made { at: u64::MAX, key: (u64::MAX, u64::MAX) };

/// A change of a row, as a server would tell it.
fn difference(key: RowKey, old: Option<&Row>, new: Option<&Row>) -> Option<Edit> {
    let values = |row: &Row| (0..).zip(row.values.iter().cloned()).collect::<Vec<(u16, _)>>();
    match (old, new) {
        (None, None) => None,
        (Some(_), None) => Some(Edit::delete(key)),
        (None, Some(new)) => Some(Edit { set: values(new), ..Edit::new(Op::Create, key) }),
        (Some(old), Some(new)) => {
            let mut set = values(new);
            set.retain(|(column, value)| old.values[*column as usize] != *value);
            (!set.is_empty()).then(|| Edit { set, ..Edit::new(Op::Update, key) })
        }
    }
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
