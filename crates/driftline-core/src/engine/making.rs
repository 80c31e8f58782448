//! What the application makes: transactions, undo and redo, what is refused, and what folds into what waits.

use super::{Engine, read_keys};
use crate::edit::{Edit, Merge, Op, Txn, read_edits};
use crate::field::text_of;
use crate::fold::{Fold, fold};
use crate::json::Json;
use crate::limits;
use crate::load::hangs_on;
use crate::merge::Hlc;
use crate::order::{Step, arrange, components};
use crate::outbox::{Entry, Key, Made};
use crate::patch::{Patch, append};
use crate::problem::Problem;
use crate::schema::{EditsToDeleted, Kind};
use crate::sorted::{SortedMap, SortedSet, sort_dedup};
use crate::text::merge3;
use crate::undo::Undoable;
use crate::value::{Row, RowKey, Value};

/// What a body has beside its edits, at most.
const ENVELOPE_BYTES: usize = 128;

impl Engine {
    /// Makes a transaction of `{"edits": […], "after": ["client:seq", …], "gesture": 7}`. Returns its key and the patch of the view, or why it
    /// cannot be: then nothing has changed.
    pub fn transact(&mut self, now_ms: u64, json: &str) -> Result<(Key, String), Problem> {
        let json = Json::parse(json).map_err(Problem::invalid)?;
        let edits = read_edits(&self.schema, &json)?;
        let after = read_keys(json.list("after"));
        if after.len() != json.list("after").len() || after.len() > limits::AFTER_KEYS {
            return Err(Problem::invalid("`after` lists at most 1,000 keys"));
        }
        let gesture = json.uint("gesture");
        if gesture.is_none() && json.get("gesture").is_some() {
            return Err(Problem::invalid("`gesture` is a whole number, 0 or more"));
        }
        let (key, patch, mut step) = self.make(now_ms, edits, after)?;
        step.gesture = gesture;
        // What nobody did with his own hands is no step of his.
        if !json.flag("apart") {
            self.history.push(step);
        }
        Ok((key, patch))
    }

    /// Takes back what this tab did last, as far as nobody has gone on from it. Returns the keys and patches of what that took;
    /// none where there is nothing left to undo.
    pub fn undo(&mut self, now_ms: u64) -> Result<Vec<(Key, String)>, Problem> {
        self.take_back(now_ms, false)
    }

    /// Takes back the last undo.
    pub fn redo(&mut self, now_ms: u64) -> Result<Vec<(Key, String)>, Problem> {
        self.take_back(now_ms, true)
    }

    /// How many steps there are to undo, and to redo.
    pub fn undo_depths(&self) -> (usize, usize) {
        (self.history.done.len(), self.history.undone.len())
    }

    fn take_back(&mut self, now_ms: u64, redo: bool) -> Result<Vec<(Key, String)>, Problem> {
        let (mut made, mut taken, mut refused) = (Vec::new(), Vec::new(), None);
        let mut edits = self.next_undo(redo).unwrap_or_else(|problem| {
            refused = Some(problem);
            Vec::new()
        });
        // What one step did may be more than one transaction holds: a delete takes all with it that hangs on the row.
        while !edits.is_empty() && refused.is_none() {
            let rest = edits.split_off(self.portion(&edits));
            match self.make(now_ms, edits, Vec::new()) {
                Ok((key, patch, step)) => {
                    made.push((key, patch));
                    taken.push(step);
                }
                Err(problem) => refused = Some(problem),
            }
            edits = rest;
        }
        let history = &mut self.history;
        let (from, to) = if redo { (&mut history.undone, &mut history.done) } else { (&mut history.done, &mut history.undone) };
        // What is refused would be refused again, and the steps before it could never be reached. The rest of one that has begun to
        // go back is tried again.
        if refused.as_ref().is_none_or(|problem| made.is_empty() && problem.code != "outbox_full") {
            from.pop();
        }
        to.extend(Undoable::joined(taken, self.replica.view()));
        match refused {
            // What has been taken back already must be seen.
            Some(problem) if made.is_empty() => Err(problem),
            _ => Ok(made),
        }
    }

    /// How many of these edits one transaction holds, at least one.
    fn portion(&self, edits: &[Edit]) -> usize {
        let mut bytes = ENVELOPE_BYTES;
        let fits = |edit: &&Edit| {
            bytes += edit.bytes(&self.schema) + 1;
            bytes <= limits::TXN_BYTES
        };
        edits.iter().take(limits::TXN_EDITS).take_while(fits).count().max(1)
    }

    /// The edits that the next undo or redo will make. Steps on which everybody has gone on are passed over.
    pub fn next_undo(&mut self, redo: bool) -> Result<Vec<Edit>, Problem> {
        loop {
            let steps = if redo { &mut self.history.undone } else { &mut self.history.done };
            let Some(step) = steps.last() else { return Ok(Vec::new()) };
            let edits = step.inverse(&self.schema, self.replica.view());
            if !edits.is_empty() {
                return self.arranged(edits);
            }
            steps.pop();
        }
    }

    pub(crate) fn make(&mut self, now_ms: u64, edits: Vec<Edit>, after: Vec<Key>) -> Result<(Key, String, Undoable), Problem> {
        let mut edits = self.arranged(edits)?;
        self.refuse_impossible(&edits)?;
        self.note_what_was(&mut edits);
        let at = self.clock.next(now_ms);
        let (txn, body) = self.bounded(at, at.0, edits)?;
        let releases = self.releases(&txn.edits);
        let crosses = self.crosses_delete(&txn.edits, &releases);
        let is_apart = !after.is_empty() || self.is_typed_over(&txn.edits);
        let (effect, originals) = self.replica.make(&self.schema, &txn.edits)?;
        let gone = effect.changes.iter().filter(|edit| edit.op == Op::Delete).map(|edit| edit.row).collect();
        let mut patch = Patch::new(&self.schema);
        effect.changes.iter().for_each(|change| patch.change(change));
        let mut patch = patch.finish();
        // Before anything else is shown again: that is not what this did.
        let mut step = Undoable::new(now_ms, &originals, self.replica.view());
        let is_held = |row: RowKey| self.replica.base_row(row).is_some();
        let fold = if is_apart { Fold::None } else { fold(&self.outbox, self.slot, &txn.edits, &gone, crosses, &is_held) };
        let key = match fold {
            Fold::None => {
                let key = self.append(txn, body, releases, after);
                self.replica.keep(Made { at: at.0, key }, &originals, &self.outbox);
                key
            }
            Fold::Into(key, edits) => {
                let folded = Txn { at, edits };
                let made = self.outbox.get(key).map_or(at.0, |entry| entry.made.at);
                // What has made a row that is there was sent by a copy of this profile: nothing more goes by its key.
                let is_there = folded.edits.iter().any(|edit| edit.op == Op::Create && self.replica.in_base(edit.row));
                let whole = folded.to_body(&self.schema, made);
                let fits = !is_there && whole.len() <= limits::TXN_BYTES;
                if fits { self.refold(key, folded, whole, releases) } else { self.append(txn, body, releases, after) }
            }
            Fold::Vanish(keys) => {
                let last = keys.last().copied().unwrap_or_default();
                self.vanish(keys, &mut patch);
                last
            }
            Fold::Cancel(keys) => {
                let key = self.append(txn, body, releases, after);
                self.vanish(keys, &mut patch);
                key
            }
        };
        step.keys.push(key);
        self.pump(now_ms);
        Ok((key, patch, step))
    }

    /// Whether texts are edited under which somebody else's change has come, or that could not be merged with one. Two edits of such a
    /// text are not one edit: what the first met is not what both would meet.
    fn is_typed_over(&self, edits: &[Edit]) -> bool {
        edits.iter().any(|edit| {
            let Some(seen) = self.replica.view().get(edit.row) else { return false };
            // What keeps others' texts has none in a row that is not there yet.
            let base = |column: usize| self.replica.base_row(edit.row).map_or(&Value::Null, |row| &row.values[column]);
            let columns = &self.schema.tables[edit.row.table as usize].columns;
            edit.add.iter().any(|(column, merge)| match (merge, &columns[*column as usize].kind) {
                (Merge::Text { from, .. }, Kind::Text { conflicts: Some(kept), .. }) => {
                    let kept = *kept as usize;
                    let met = || self.last_text_met_another(edit.row, *column);
                    text_of(from) != text_of(&seen.values[*column as usize]) || seen.values[kept] != *base(kept) || met()
                }
                _ => false,
            })
        })
    }

    /// Whether the last edit of a text that waits was not made on what lies below it.
    fn last_text_met_another(&self, row: RowKey, column: u16) -> bool {
        let mut left = self.replica.base_row(row).map_or("", |row| text_of(&row.values[column as usize])).to_string();
        let mut met = false;
        let waiting = self.outbox.touching(row).flat_map(|entry| &entry.edits);
        for edit in waiting.filter(|edit| edit.row == row) {
            if let Some((_, value)) = edit.set.iter().find(|set| set.0 == column) {
                (left, met) = (text_of(value).to_string(), false);
            }
            if let Some((_, Merge::Text { from, to })) = edit.add.iter().find(|add| add.0 == column) {
                let (from, to) = (text_of(from), text_of(to));
                met = left != from;
                // What cannot be merged is not looked at more closely.
                left = merge3(from, &left, to).unwrap_or_default();
            }
        }
        met
    }

    /// A transaction of these times and its body, if it holds the edits; what rows were is left out where there is no room for it.
    pub(crate) fn bounded(&self, at: Hlc, made: u64, edits: Vec<Edit>) -> Result<(Txn, String), Problem> {
        if edits.len() > limits::TXN_EDITS {
            return Err(Problem::invalid("with the references that have to be set last, these are more than 1,000 edits: split it"));
        }
        let mut txn = Txn { at, edits };
        let body = txn.to_body(&self.schema, made);
        if body.len() <= limits::TXN_BYTES {
            return Ok((txn, body));
        }
        let mut were = Vec::with_capacity(txn.edits.len());
        for edit in &mut txn.edits {
            were.push(std::mem::take(&mut edit.was));
        }
        let mut bytes = txn.to_body(&self.schema, made).len();
        for (edit, was) in txn.edits.iter_mut().zip(were) {
            let without = edit.bytes(&self.schema);
            edit.was = was;
            let more = edit.bytes(&self.schema) - without;
            if bytes + more <= limits::TXN_BYTES {
                bytes += more;
            } else {
                edit.was.clear();
            }
        }
        if bytes > limits::TXN_BYTES {
            return Err(Problem::invalid("a transaction has at most 1 MiB: split it"));
        }
        let body = txn.to_body(&self.schema, made);
        Ok((txn, body))
    }

    /// Where edits to deleted rows make them again, an update carries the row.
    fn note_what_was(&self, edits: &mut [Edit]) {
        for edit in edits {
            if edit.op == Op::Update
                && self.schema.tables[edit.row.table as usize].edits_to_deleted == EditsToDeleted::Restore
                && let Some(row) = self.replica.view().get(edit.row)
            {
                edit.was = row.values.iter().cloned().enumerate().map(|(i, value)| (i as u16, value)).collect();
            }
        }
    }

    pub(crate) fn arranged(&self, edits: Vec<Edit>) -> Result<Vec<Edit>, Problem> {
        let mut steps = Vec::with_capacity(edits.len());
        for edit in edits {
            steps.push(Step { part: 0, edit });
        }
        let view = self.replica.view();
        let held = |key| view.get(key).map_or_else(Vec::new, Row::reference_list);
        let mut arranged = Vec::with_capacity(steps.len());
        for step in arrange(&self.schema, steps, &held)? {
            arranged.push(step.edit);
        }
        Ok(arranged)
    }

    /// Refuses what the outbox has no room for beside what waits.
    pub(crate) fn refuse_overfull(&self, txns: usize, bytes: usize) -> Result<(), Problem> {
        if self.outbox.len() + txns > self.outbox_txns || self.outbox.bytes() + bytes > self.outbox_bytes {
            let detail = format!("{} transactions wait to be sent; go online, or discard some", self.outbox.len());
            return Err(Problem::new("outbox_full", detail));
        }
        Ok(())
    }

    fn refuse_impossible(&self, edits: &[Edit]) -> Result<(), Problem> {
        self.refuse_overfull(1, 1)?;
        let mut created = Vec::new();
        for edit in edits {
            if edit.makes() {
                created.push(edit.row);
            }
        }
        created.sort_unstable();
        for edit in edits {
            for (_, target) in edit.references() {
                let deleted_here = self.outbox.deletes(target) && !self.replica.view().contains(target);
                if deleted_here && created.binary_search(&target).is_err() {
                    return Err(Problem::new("missing_parent", "the row that this refers to was deleted here").row(&self.schema, target));
                }
            }
        }
        self.refuse_cycle(edits, &created)
    }

    /// A new row that waiting transactions refer to may close a cycle. Without a nullable reference on it nothing could
    /// ever be sent, so it is refused now. Transactions may need each other all the same, where their rows do not.
    fn refuse_cycle(&self, edits: &[Edit], created: &[RowKey]) -> Result<(), Problem> {
        if created.iter().all(|row| self.outbox.referring(*row).next().is_none()) {
            return Ok(());
        }
        let (mut rows, mut places, mut needs) = (Vec::new(), SortedMap::new(), Vec::new());
        let mut place = |row: RowKey, rows: &mut Vec<RowKey>| {
            *places.get_or_insert_with(row, || {
                rows.push(row);
                rows.len() - 1
            })
        };
        // First the new rows, then those that they need, as far as somebody waits to create them.
        let mut creates = Vec::with_capacity(created.len());
        for edit in edits {
            if edit.makes() && place(edit.row, &mut rows) == creates.len() {
                creates.push(edit);
            }
        }
        while let Some(&row) = rows.get(needs.len()) {
            let waiting = || self.outbox.creator_of(row)?.edits.iter().find(|edit| edit.makes() && edit.row == row);
            let mut list = Vec::new();
            if let Some(edit) = creates.get(needs.len()).copied().or_else(waiting) {
                let columns = &self.schema.tables[row.table as usize].columns;
                for (column, target) in edit.references() {
                    if !columns[column as usize].nullable && target != row {
                        list.push(place(target, &mut rows));
                    }
                }
            }
            needs.push(list);
        }
        for group in components(rows.len(), |node, out| out.extend_from_slice(&needs[node])) {
            if group.len() > 1 && group[0] < creates.len() {
                let detail = "this row and others that wait need each other through required references";
                let mut problem = Problem::new("cycle", detail);
                for node in group {
                    problem = problem.row(&self.schema, rows[node]);
                }
                return Err(problem);
            }
        }
        Ok(())
    }

    /// What the rows that a transaction deletes, or whose references it changes, refer to now.
    pub(crate) fn releases(&self, edits: &[Edit]) -> Vec<RowKey> {
        let mut released = Vec::new();
        for edit in edits {
            let Some(row) = self.replica.view().get(edit.row).filter(|_| !edit.makes()) else { continue };
            for (column, target) in row.references() {
                if edit.op == Op::Delete || edit.set.iter().any(|(c, _)| *c == column) {
                    released.push(target);
                }
            }
        }
        sort_dedup(&mut released);
        released
    }

    /// Whether a waiting delete is after one of the rows that these edits let go or come to hang on, or after one with which such a row goes:
    /// as it is seen, as the base has it, or as anything that waits would have it.
    fn crosses_delete(&self, edits: &[Edit], releases: &[RowKey]) -> bool {
        let mut met = SortedSet::new();
        let mut next = releases.to_vec();
        next.extend(edits.iter().flat_map(|edit| edit.references().map(|(_, target)| target)));
        while let Some(row) = next.pop() {
            if self.outbox.deletes(row) {
                return true;
            }
            if !met.insert(row) {
                continue;
            }
            for known in [self.replica.view().get(row), self.replica.base_row(row)].into_iter().flatten() {
                next.extend(hangs_on(&self.schema, row, known.references()));
            }
            for edit in self.outbox.touching(row).flat_map(|entry| &entry.edits).filter(|edit| edit.row == row) {
                next.extend(hangs_on(&self.schema, row, edit.references()));
            }
        }
        false
    }

    pub(crate) fn new_key(&mut self) -> Key {
        let high = self.high.get_or_insert_with(self.client, || 0);
        *high += 1;
        (self.client, *high)
    }

    fn append(&mut self, txn: Txn, body: String, releases: Vec<RowKey>, after: Vec<Key>) -> Key {
        let key = self.new_key();
        let made = Made { at: txn.at.0, key };
        let awaits = self.awaits(&txn.edits);
        self.outbox.insert(Entry { awaits, ..txn.into_entry(body, made, self.slot, releases, after) });
        self.note_seen(key, Vec::new());
        self.put(key);
        key
    }

    /// Whether a row that these refer to is not there yet. Before the disk has been read nobody can tell.
    pub(crate) fn awaits(&self, edits: &[Edit]) -> bool {
        let is_made = |row: RowKey| edits.iter().any(|edit| edit.makes() && edit.row == row);
        let is_there = |row: RowKey| self.replica.view().contains(row) || is_made(row);
        self.loaded && edits.iter().flat_map(Edit::references).any(|(_, target)| !is_there(target))
    }

    fn note_seen(&mut self, key: Key, mut seen: Vec<Key>) {
        self.note_work();
        seen.append(&mut self.outbox.seen_by(key));
        sort_dedup(&mut seen);
        if let Some(entry) = self.outbox.get_mut(key) {
            entry.seen = seen;
        }
    }

    fn refold(&mut self, key: Key, txn: Txn, body: String, releases: Vec<RowKey>) -> Key {
        let Some(old) = self.outbox.remove(key) else { return key };
        let mut all = old.releases;
        all.extend(releases);
        sort_dedup(&mut all);
        if txn.edits.iter().all(|edit| edit.op == Op::Create) {
            // To everyone else these rows never referred to anything else.
            all.clear();
        }
        let mut entry = txn.into_entry(body, old.made, old.slot, all, Vec::new());
        (entry.version, entry.awaits) = (old.version + 1, self.awaits(&entry.edits));
        self.outbox.insert(entry);
        self.note_seen(key, old.seen);
        self.put(key);
        self.outbox.get_mut(key).into_iter().for_each(|entry| entry.calm = old.saved || old.calm);
        key
    }

    fn vanish(&mut self, keys: Vec<Key>, patch: &mut String) {
        for key in keys {
            self.outbox.remove(key);
            self.vanished.insert(key);
            self.delete(self.slot, key);
        }
        // The rows are gone from the view already; now they need not be kept aside either. Without them an earlier edit may show that a
        // row of theirs had kept back.
        for shown in self.replica.rebase(&self.schema, |_| {}, &self.outbox) {
            append(patch, &shown);
        }
    }
}
