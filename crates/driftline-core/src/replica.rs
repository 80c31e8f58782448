//! The replica: base plus outbox is the view.
//!
//! The view is kept whole, and of each row that waiting transactions have changed the base is kept aside. Reconciling is
//! one readable block, [`Replica::rebase`]: roll back, apply, replay, diff.

use crate::digest::Digest;
use crate::edit::{Edit, Op};
use crate::integrity::{Effect, Judge, apply};
use crate::merge::Stamp;
use crate::order::{Step, arrange};
use crate::outbox::Outbox;
use crate::patch::Patch;
use crate::problem::Problem;
use crate::rows::Rows;
use crate::schema::Schema;
use crate::sorted::SortedMap;
use crate::value::{Row, RowKey};

/// A patch is a text here, a text in JavaScript and a tree there: of what is larger not all of that is in memory at once.
const PATCH_BYTES: usize = 128 * 1024;

#[derive(Debug, Default)]
pub struct Replica {
    /// The view.
    rows: Rows,
    /// What the server confirmed of the rows in which view and base may differ.
    aside: SortedMap<RowKey, Option<Row>>,
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
        }
        for (key, old) in self.rows.take_undo() {
            before.get_or_insert_with(key, || old.clone());
            self.aside.get_or_insert_with(key, || old);
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
