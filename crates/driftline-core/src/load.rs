//! What a decision needs to know, asked for in sets.
//!
//! Ask [`Load::next`], answer with the `give_*` method of that query, and go on until there is none; then
//! [`Load::finish`] has the working set. A store answers each query with one statement or a few; none is per edit.

use crate::counts::counting;
use crate::dedupe::{ClientState, Settled};
use crate::digest::Digest;
use crate::edit::{Edit, Op};
use crate::integrity::{Knowledge, on_delete};
use crate::rows::Rows;
use crate::schema::{OnDelete, Schema};
use crate::value::{Row, RowId, RowKey};
use crate::wire::{Push, PushUnit};
use std::collections::{BTreeMap, BTreeSet};

/// A transaction's key within a push: the client's index there, and the sequence number.
pub type PushKey = (usize, u64);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// The space's revision and digest, and the log's beginning.
    Space,
    /// What is remembered of each of the push's clients, in its order.
    Clients,
    /// The marks of these keys, as far as there are.
    Settled(Vec<PushKey>),
    /// The log's hash and revision of these keys, as far as it has them.
    Logged(Vec<PushKey>),
    /// These rows of a table, as far as they are there.
    Rows { table: u16, ids: Vec<RowId> },
    /// The rows of `table` whose reference `column` points at one of these rows; `limit` of them are enough.
    Children { table: u16, column: u16, parents: Vec<RowKey>, limit: usize },
    /// Rows that forbid, by a `restrict` reference, deleting this row and all that goes with it; `limit` of them are enough.
    Blockers { root: RowKey, limit: usize },
    /// Which of these rows hang, by cascading references, on one that is dying.
    Doomed(Vec<RowKey>),
    /// Which of these rows hang, by cascading references, on which of `roots`.
    Below { roots: Vec<RowKey>, rows: Vec<RowKey> },
    /// Which of these rows are known to have been deleted.
    Deleted(Vec<RowKey>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpaceState {
    pub rev: u64,
    /// Revisions up to this one have left the log.
    pub horizon: u64,
    pub digest: Digest,
}

/// All that `reconcile` may know.
#[derive(Debug, Default)]
pub struct WorkingSet {
    pub space: SpaceState,
    /// `None` for a client never seen.
    pub clients: Vec<Option<ClientState>>,
    pub settled: BTreeMap<PushKey, Settled>,
    pub logged: BTreeMap<PushKey, (u128, u64)>,
    pub rows: Rows,
    pub known: Known,
    /// Units from this one on have to come again: the deletes of those before take with them as much as one push may.
    pub cut: Option<usize>,
    /// Rows of the space are dying: they are still counted in its digest.
    pub dying: bool,
}

/// What is known beside the rows that were loaded.
#[derive(Debug, Default)]
pub struct Known {
    /// Rows known to have been deleted, or to hang on one that is dying.
    pub deleted: BTreeSet<RowKey>,
    /// Rows whose delete takes more with it than one push may, with the rows that forbid it.
    large: BTreeMap<RowKey, Vec<RowKey>>,
    /// Rows of the push that hang on one of those, with that one.
    below: BTreeSet<(RowKey, RowKey)>,
    /// Rows that hang on one that is dying. They are still there, and are not to be seen any more.
    doomed: BTreeSet<RowKey>,
}

impl Knowledge for Known {
    fn is_deleted(&self, row: RowKey) -> bool {
        self.deleted.contains(&row)
    }

    fn large(&self, row: RowKey) -> Option<&[RowKey]> {
        self.large.get(&row).map(Vec::as_slice)
    }

    fn blockers(&self, schema: &Schema, rows: &Rows, unit: &[Edit], trees: &[RowKey], root: RowKey) -> Vec<RowKey> {
        let mut roots = trees.to_vec();
        roots.push(root);
        let restricts = |row: RowKey, column: u16| on_delete(schema, row, column) == OnDelete::Restrict;
        let moved = |row: RowKey| unit.iter().any(|edit| edit.row == row && edit.set.iter().any(|(column, _)| restricts(row, *column)));
        let gone = |row: RowKey| {
            let deleted = unit.iter().any(|edit| edit.row == row && edit.op == Op::Delete);
            deleted || self.is_hidden(schema, rows, row, &roots)
        };
        let blocks = |row: RowKey| {
            let mut references = rows.get(row).into_iter().flat_map(|found| found.references());
            references.any(|(column, target)| restricts(row, column) && self.is_hidden(schema, rows, target, &[root]))
        };
        let stored = self.large.get(&root).into_iter().flatten().copied().filter(|row| !moved(*row));
        let came = unit.iter().map(|edit| edit.row).filter(|row| blocks(*row));
        let all: BTreeSet<RowKey> = stored.chain(came).filter(|row| self.doomed.contains(row) || !gone(*row)).collect();
        all.into_iter().collect()
    }

    fn are_doomed(&self, rows: &[RowKey]) -> bool {
        rows.iter().all(|row| self.doomed.contains(row))
    }

    /// Follows the rows up as far as they are loaded; of others the store has told.
    fn is_hidden(&self, schema: &Schema, rows: &Rows, row: RowKey, roots: &[RowKey]) -> bool {
        if self.doomed.contains(&row) {
            return true;
        }
        if roots.is_empty() {
            return false;
        }
        let mut up = vec![row];
        let mut seen = BTreeSet::new();
        while let Some(row) = up.pop() {
            if roots.iter().any(|root| *root == row || self.below.contains(&(row, *root))) {
                return true;
            }
            if seen.insert(row) {
                let targets = rows.get(row).into_iter().flat_map(|found| found.references());
                up.extend(targets.filter(|(column, _)| on_delete(schema, row, *column) == OnDelete::Cascade).map(|target| target.1));
            }
        }
        false
    }
}

pub struct Load<'a> {
    schema: &'a Schema,
    push: &'a Push,
    set: WorkingSet,
    stage: Stage,
    /// Queries of the present stage still to be asked, last first.
    queue: Vec<Query>,
    /// Rows that the push deletes, and those that would go with them, as far as they are known.
    going: BTreeSet<RowKey>,
    /// More than so many loaded for deletes, and these happen in the background.
    delete_rows: usize,
    /// Rows that came as answers to [`Query::Children`].
    children: Vec<RowKey>,
    /// Rows that were asked for because they count others.
    counting: Vec<RowKey>,
    /// Those found in the last round; `None` before the first.
    frontier: Option<Vec<RowKey>>,
    /// What the push itself makes refer to a row.
    hung: BTreeMap<RowKey, Vec<(RowKey, u16)>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Start,
    Marks,
    Logged,
    Rows,
    Doomed,
    Children,
    Counting,
    Blockers,
    Below,
    Deleted,
    Done,
}

impl<'a> Load<'a> {
    /// `delete_rows` is [`crate::limits::DELETE_ROWS`], or fewer.
    pub fn new(schema: &'a Schema, push: &'a Push, delete_rows: usize) -> Load<'a> {
        let queue = vec![Query::Clients, Query::Space];
        Load {
            schema,
            push,
            set: WorkingSet::default(),
            stage: Stage::Start,
            queue,
            going: BTreeSet::new(),
            delete_rows,
            children: Vec::new(),
            counting: Vec::new(),
            frontier: None,
            hung: BTreeMap::new(),
        }
    }

    #[allow(clippy::should_implement_trait)] // Queries depend on the answers given in between.
    pub fn next(&mut self) -> Option<Query> {
        while self.queue.is_empty() && self.stage != Stage::Done {
            self.advance();
        }
        self.queue.pop()
    }

    pub fn give_space(&mut self, space: SpaceState) {
        self.set.space = space;
    }

    /// Tells that rows of the space are dying.
    pub fn give_dying(&mut self, dying: bool) {
        self.set.dying = dying;
    }

    pub fn give_clients(&mut self, clients: Vec<Option<ClientState>>) {
        self.set.clients = clients;
    }

    pub fn give_settled(&mut self, settled: impl IntoIterator<Item = (PushKey, Settled)>) {
        self.set.settled.extend(settled);
    }

    pub fn give_logged(&mut self, logged: impl IntoIterator<Item = (PushKey, (u128, u64))>) {
        self.set.logged.extend(logged);
    }

    /// Answers [`Query::Rows`] and [`Query::Children`].
    pub fn give_rows(&mut self, rows: impl IntoIterator<Item = (RowKey, Row)>) {
        for (key, row) in rows {
            self.set.rows.put(key, Some(row));
            if self.stage == Stage::Children {
                self.children.push(key);
            }
        }
    }

    pub fn give_blockers(&mut self, root: RowKey, blockers: Vec<RowKey>) {
        self.set.known.large.insert(root, blockers);
    }

    /// Each with the root that it hangs on.
    pub fn give_below(&mut self, below: impl IntoIterator<Item = (RowKey, RowKey)>) {
        self.set.known.below.extend(below);
    }

    pub fn give_doomed(&mut self, doomed: impl IntoIterator<Item = RowKey>) {
        for key in doomed {
            self.set.known.doomed.insert(key);
            if self.stage == Stage::Doomed {
                // For whoever edits it or refers to it, it is gone.
                self.set.rows.put(key, None);
                self.set.known.deleted.insert(key);
            }
        }
    }

    pub fn give_deleted(&mut self, deleted: impl IntoIterator<Item = RowKey>) {
        self.set.known.deleted.extend(deleted);
    }

    pub fn finish(self) -> WorkingSet {
        self.set
    }

    fn advance(&mut self) {
        match self.stage {
            Stage::Start => {
                self.stage = Stage::Marks;
                self.ask(self.keys(), Query::Settled);
            }
            Stage::Marks => {
                self.stage = Stage::Logged;
                let closed = |key: &PushKey| matches!(&self.set.clients[key.0], Some(state) if state.closed.contains(key.1));
                self.ask(self.keys().into_iter().filter(closed).collect(), Query::Logged);
            }
            Stage::Logged => {
                self.stage = Stage::Rows;
                self.ask_rows();
            }
            Stage::Rows => {
                self.stage = Stage::Doomed;
                if self.set.dying {
                    // The root of a large delete may be gone already, and must not come back before all that is below it is.
                    let back = self.edits().filter(|edit| edit.makes() || !edit.was.is_empty()).map(|edit| edit.row);
                    let rows: BTreeSet<RowKey> = self.set.rows.iter().map(|(key, _)| *key).chain(back).collect();
                    self.ask(rows.into_iter().collect(), Query::Doomed);
                }
            }
            // Each round asks for the children of the rows that the last one found going.
            Stage::Doomed | Stage::Children => {
                self.stage = Stage::Children;
                if self.children.len() <= self.delete_rows || self.try_fewer() {
                    self.ask_children();
                }
                if self.queue.is_empty() {
                    self.stage = Stage::Counting;
                    self.ask_counting();
                }
            }
            Stage::Counting => {
                self.stage = Stage::Blockers;
                self.ask_blockers();
            }
            Stage::Blockers => {
                self.stage = Stage::Below;
                self.ask_below();
            }
            Stage::Below => {
                self.stage = Stage::Deleted;
                self.ask_deleted();
            }
            Stage::Deleted | Stage::Done => self.stage = Stage::Done,
        }
    }

    fn ask<T>(&mut self, list: Vec<T>, query: impl Fn(Vec<T>) -> Query) {
        if !list.is_empty() {
            self.queue.push(query(list));
        }
    }

    fn keys(&self) -> Vec<PushKey> {
        let own = self.push.units.iter().flat_map(|u| u.txns.iter().map(|t| (t.client, t.seq)));
        let after = self.push.units.iter().flat_map(|u| u.after.iter().copied());
        own.chain(after).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn units(&self) -> &'a [PushUnit] {
        &self.push.units[..self.set.cut.unwrap_or(self.push.units.len())]
    }

    fn edits(&self) -> impl Iterator<Item = &'a Edit> {
        self.units().iter().flat_map(|u| &u.txns).filter_map(|t| t.txn.as_ref().ok()).flat_map(|t| &t.edits)
    }

    fn ask_rows(&mut self) {
        let mut wanted = BTreeSet::new();
        for edit in self.edits() {
            wanted.extend(edit.named());
        }
        self.ask_for(wanted);
    }

    fn ask_for(&mut self, wanted: BTreeSet<RowKey>) {
        let mut tables: BTreeMap<u16, Vec<RowId>> = BTreeMap::new();
        for key in wanted {
            tables.entry(key.table).or_default().push(key.id);
        }
        self.queue.extend(tables.into_iter().map(|(table, ids)| Query::Rows { table, ids }));
    }

    /// Asks for the rows that count, as things stand, one that the push may change. Those that it names itself are here.
    fn ask_counting(&mut self) {
        if self.schema.counts.is_empty() {
            return;
        }
        let mut changing: BTreeSet<RowKey> = self.edits().map(|edit| edit.row).collect();
        // What goes in the background the store counts by itself.
        if self.children.len() <= self.delete_rows {
            changing.extend(&self.going);
        }
        let mut wanted = BTreeSet::new();
        for key in changing {
            let counts = self.schema.counts.iter().filter(|count| count.child == key.table);
            wanted.extend(counts.filter_map(|count| counting(count, self.set.rows.get(key))));
        }
        wanted.retain(|key| !self.set.rows.contains(*key) && !self.set.known.doomed.contains(key));
        self.counting = wanted.iter().copied().collect();
        self.ask_for(wanted);
    }

    /// More would go than one push may write: begins again with half of the units that delete. `false` where one is left.
    fn try_fewer(&mut self) -> bool {
        let deletes = |unit: &PushUnit| unit.txns.iter().flat_map(|txn| &txn.txn).flat_map(|txn| &txn.edits).any(|e| e.op == Op::Delete);
        let units = self.units();
        let deleting: Vec<usize> = units.iter().enumerate().filter(|(_, unit)| deletes(unit)).map(|(i, _)| i).collect();
        if deleting.len() < 2 {
            return false;
        }
        self.set.cut = Some(deleting[deleting.len() / 2]);
        self.going.clear();
        self.children.clear();
        self.frontier = None;
        true
    }

    /// Where more would go than one push may write, even for one unit, its deletes go in the background.
    fn ask_blockers(&mut self) {
        let mut children = std::mem::take(&mut self.children);
        if children.len() > self.delete_rows {
            let roots = self.roots();
            let mut rows: Vec<RowKey> = self.edits().flat_map(Edit::named).collect();
            rows.retain(|row| self.set.rows.contains(*row));
            self.queue.push(Query::Below { roots: roots.clone(), rows });
            for root in roots {
                if self.schema.may_be_restricted(root.table) {
                    self.queue.push(Query::Blockers { root, limit: crate::limits::TXN_EDITS + 10 });
                } else {
                    self.set.known.large.insert(root, Vec::new());
                }
            }
        }
        if self.set.dying {
            children.append(&mut self.counting);
            self.ask(children, Query::Doomed);
        }
    }

    /// What forbids a large delete may be dying, or go along with another of them.
    fn ask_below(&mut self) {
        let large = &self.set.known.large;
        let roots: Vec<RowKey> = large.keys().copied().collect();
        let blockers: BTreeSet<RowKey> = large.values().flatten().copied().collect();
        let blockers: Vec<RowKey> = blockers.into_iter().collect();
        if self.set.dying {
            self.ask(blockers.clone(), Query::Doomed);
        }
        if roots.len() > 1 {
            self.ask(blockers, |rows| Query::Below { roots: roots.clone(), rows });
        }
    }

    /// Asks for the children of the rows that were found going since the last round; each row is looked at once.
    fn ask_children(&mut self) {
        while self.queue.is_empty() {
            let found = match self.frontier.take() {
                None => self.roots(),
                Some(frontier) => frontier.iter().flat_map(|parent| self.going_children(*parent)).collect(),
            };
            let mut parents: BTreeMap<u16, Vec<RowKey>> = BTreeMap::new();
            let fresh: Vec<RowKey> = found.into_iter().filter(|key| self.going.insert(*key)).collect();
            fresh.iter().for_each(|key| parents.entry(key.table).or_default().push(*key));
            for (table, parents) in parents {
                for (from, column, _) in self.schema.referrers(table) {
                    let (parents, limit) = (parents.clone(), self.delete_rows + 1);
                    self.queue.push(Query::Children { table: from, column, parents, limit });
                }
            }
            let done = fresh.is_empty();
            self.frontier = Some(fresh);
            if done {
                return;
            }
        }
    }

    /// The rows that the push deletes.
    fn roots(&mut self) -> Vec<RowKey> {
        let roots: BTreeSet<RowKey> = self.edits().filter(|e| e.op == Op::Delete).map(|e| e.row).collect();
        if !roots.is_empty() {
            // The push itself may hang rows, with all below them, on a row that it deletes later.
            let mut hung: BTreeMap<RowKey, Vec<(RowKey, u16)>> = BTreeMap::new();
            for edit in self.edits() {
                edit.references().for_each(|(column, parent)| hung.entry(parent).or_default().push((edit.row, column)));
            }
            self.hung = hung;
        }
        roots.into_iter().collect()
    }

    fn going_children(&self, parent: RowKey) -> Vec<RowKey> {
        let hung = self.hung.get(&parent).into_iter().flatten().copied();
        let children = self.set.rows.children(parent).chain(hung);
        let cascades = |child: &(RowKey, u16)| on_delete(self.schema, child.0, child.1) == OnDelete::Cascade;
        children.filter(cascades).map(|child| child.0).collect()
    }

    fn ask_deleted(&mut self) {
        let mut missing = BTreeSet::new();
        for edit in self.edits() {
            missing.extend(edit.named().filter(|key| !self.set.rows.contains(*key)));
        }
        self.ask(missing.into_iter().collect(), Query::Deleted);
    }
}
