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
use crate::sorted::SortedSet;
use crate::value::{Row, RowId, RowKey};
use crate::wire::{Push, PushUnit};
use std::collections::{BTreeMap, BTreeSet};

/// Rows that forbid a large delete: so many are looked at, which is more than one transaction can move away.
const BLOCKERS: usize = crate::limits::TXN_EDITS + 10;

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
    /// Rows that refer, by a `restrict` reference, to one of `heads` or to what hangs on it, and do not hang on the same one.
    /// What hangs on a head only by way of another, or of one of `apart`, does not count. `limit` of them are enough.
    Blockers { heads: Vec<RowKey>, apart: Vec<RowKey>, limit: usize },
    /// Which of these rows hang, by cascading references, on one that is dying.
    Doomed(Vec<RowKey>),
    /// The cascading references of these rows, of the rows that they lead to, and so on up.
    Above(Vec<RowKey>),
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
    /// Rows whose delete takes more with it than one push may.
    large: BTreeSet<RowKey>,
    /// Rows that forbid one of these deletes as the store has them, with what they refer to.
    blockers: BTreeSet<(RowKey, RowKey)>,
    /// There may be more of them.
    more_blockers: bool,
    /// What stored rows hang on. Those that are loaded may have moved since.
    above: BTreeMap<RowKey, Vec<RowKey>>,
    /// Rows that hang on one that is dying. They are still there, and are not to be seen any more.
    doomed: BTreeSet<RowKey>,
}

impl Knowledge for Known {
    fn is_deleted(&self, row: RowKey) -> bool {
        self.deleted.contains(&row)
    }

    fn is_large(&self, row: RowKey) -> bool {
        self.large.contains(&row)
    }

    /// By the rows as they are now: the unit may have moved any of them, with all that hangs on it.
    fn blockers(&self, schema: &Schema, rows: &Rows, unit: &[Edit], trees: &SortedSet<RowKey>, root: RowKey) -> Vec<RowKey> {
        let mut only_root = SortedSet::new();
        only_root.insert(root);
        let goes = |row: RowKey| self.is_hidden(schema, rows, row, &only_root);
        let dying = self.blockers.iter().filter(|(row, target)| self.doomed.contains(row) && goes(*target));
        let mut found: BTreeSet<RowKey> = dying.map(|pair| pair.0).collect();
        let stored = self.blockers.iter().map(|pair| pair.0);
        let candidates: BTreeSet<RowKey> = stored.chain(unit.iter().map(|edit| edit.row)).collect();
        for row in candidates.into_iter().filter(|row| !self.doomed.contains(row)) {
            let blocks = restricts(schema, rows, row).any(goes);
            if blocks && !goes(row) && !self.is_hidden(schema, rows, row, trees) {
                found.insert(row);
            }
        }
        if found.is_empty() && self.more_blockers {
            // Nobody has looked at the others: better a delete too few than one that can never be carried out.
            return self.blockers.iter().map(|pair| pair.0).collect();
        }
        found.into_iter().collect()
    }

    fn are_doomed(&self, rows: &[RowKey]) -> bool {
        rows.iter().all(|row| self.doomed.contains(row))
    }

    /// Loaded rows hang on what they refer to now, others on what the store has told.
    fn is_hidden(&self, schema: &Schema, rows: &Rows, row: RowKey, roots: &SortedSet<RowKey>) -> bool {
        if self.doomed.contains(&row) {
            return true;
        }
        if roots.is_empty() {
            return false;
        }
        let mut up = vec![row];
        let mut seen = BTreeSet::new();
        while let Some(row) = up.pop() {
            if roots.contains(&row) {
                return true;
            }
            if seen.insert(row) {
                match rows.get(row) {
                    Some(found) => up.extend(hangs_on(schema, row, found.references())),
                    None => up.extend(self.above.get(&row).into_iter().flatten()),
                }
            }
        }
        false
    }
}

/// Where the cascading ones of a row's references lead.
pub(crate) fn hangs_on(schema: &Schema, row: RowKey, references: impl Iterator<Item = (u16, RowKey)>) -> impl Iterator<Item = RowKey> {
    references.filter(move |(column, _)| on_delete(schema, row, *column) == OnDelete::Cascade).map(|target| target.1)
}

/// The rows that a loaded row forbids deleting.
fn restricts<'a>(schema: &'a Schema, rows: &'a Rows, row: RowKey) -> impl Iterator<Item = RowKey> + 'a {
    let references = rows.get(row).into_iter().flat_map(|found| found.references());
    references.filter(move |(column, _)| on_delete(schema, row, *column) == OnDelete::Restrict).map(|target| target.1)
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
    /// How many rows came as answers to [`Query::Children`].
    children: usize,
    /// Rows that came since it was asked which are dying.
    unasked: BTreeSet<RowKey>,
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
    Large,
    Blockers,
    BlockingRows,
    AboveBlockers,
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
            children: 0,
            unasked: BTreeSet::new(),
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
            self.children += usize::from(self.stage == Stage::Children);
            if self.stage > Stage::Doomed {
                self.unasked.insert(key);
            }
        }
    }

    /// Each with what it refers to.
    pub fn give_blockers(&mut self, blockers: impl IntoIterator<Item = (RowKey, RowKey)>) {
        self.set.known.blockers.extend(blockers);
    }

    /// Each row with one that it hangs on.
    pub fn give_above(&mut self, above: impl IntoIterator<Item = (RowKey, RowKey)>) {
        for (row, target) in above {
            let targets = self.set.known.above.entry(row).or_default();
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
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
                if self.children <= self.delete_rows || self.try_fewer() {
                    self.ask_children();
                }
                if self.queue.is_empty() {
                    self.stage = Stage::Counting;
                    self.ask_counting();
                }
            }
            Stage::Counting => {
                self.stage = Stage::Large;
                self.ask_large();
            }
            Stage::Large => {
                self.stage = Stage::Blockers;
                self.ask_blockers();
            }
            Stage::Blockers => {
                self.stage = Stage::BlockingRows;
                self.ask_blocking_rows();
            }
            Stage::BlockingRows => {
                self.stage = Stage::AboveBlockers;
                self.ask_above_blockers();
            }
            Stage::AboveBlockers => {
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
        let txns = || self.push.units.iter().flat_map(|u| &u.txns);
        let own = txns().map(|t| (t.client, t.seq)).chain(txns().flat_map(|t| t.replaces.iter().copied()));
        let after = self.push.units.iter().flat_map(|u| u.after.iter().copied());
        own.chain(after).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn units(&self) -> &'a [PushUnit] {
        &self.push.units[..self.set.cut.unwrap_or(self.push.units.len())]
    }

    fn edits(&self) -> impl Iterator<Item = &'a Edit> {
        self.units().iter().flat_map(edits_of)
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
        if self.children <= self.delete_rows {
            changing.extend(&self.going);
        }
        let mut wanted = BTreeSet::new();
        for key in changing {
            let counts = self.schema.counts.iter().filter(|count| count.child == key.table);
            wanted.extend(counts.filter_map(|count| counting(count, self.set.rows.get(key))));
        }
        wanted.retain(|key| !self.set.rows.contains(*key) && !self.set.known.doomed.contains(key));
        self.ask_for(wanted);
    }

    /// More would go than one push may write: begins again with half of the units that delete. `false` where one is left.
    fn try_fewer(&mut self) -> bool {
        let units = self.units();
        let deleting: Vec<usize> = units.iter().enumerate().filter(|(_, unit)| deletes(unit)).map(|(i, _)| i).collect();
        if deleting.len() < 2 {
            return false;
        }
        self.set.cut = Some(deleting[deleting.len() / 2]);
        self.going.clear();
        self.children = 0;
        self.frontier = None;
        true
    }

    /// Where more would go than one push may write, even for one unit, its deletes go in the background.
    fn ask_large(&mut self) {
        if self.children > self.delete_rows {
            self.set.known.large = self.roots().into_iter().collect();
            let named: BTreeSet<RowKey> = self.edits().flat_map(Edit::named).filter(|row| self.set.rows.contains(*row)).collect();
            self.ask(named.into_iter().collect(), Query::Above);
        }
        let unasked = std::mem::take(&mut self.unasked);
        if self.set.dying {
            self.ask(unasked.into_iter().collect(), Query::Doomed);
        }
    }

    /// What hangs on a row that the push moves goes where that goes, so such rows are looked at by themselves.
    fn ask_blockers(&mut self) {
        let known = &self.set.known;
        if !known.large.iter().any(|root| self.schema.may_be_restricted(root.table)) {
            return;
        }
        let deleting: Vec<&PushUnit> = self.units().iter().filter(|unit| deletes(unit)).collect();
        let mut moved: BTreeMap<RowKey, Vec<&Edit>> = BTreeMap::new();
        for edit in deleting.iter().flat_map(|unit| edits_of(unit)) {
            if edit.set.iter().any(|(column, _)| on_delete(self.schema, edit.row, *column) == OnDelete::Cascade) {
                moved.entry(edit.row).or_default().push(edit);
            }
        }
        // Rows that hang on one that is deleted, or may come to.
        let may_go = |row: RowKey| {
            let mut up = vec![row];
            let mut seen = BTreeSet::new();
            while let Some(row) = up.pop() {
                if known.large.contains(&row) {
                    return true;
                }
                if !seen.insert(row) {
                    continue;
                }
                let edits = moved.get(&row).into_iter().flatten();
                up.extend(edits.clone().flat_map(|edit| hangs_on(self.schema, row, edit.references())));
                // Another unit may find it where it was.
                let sets = |column: u16| deleting.len() == 1 && edits.clone().any(|edit| edit.set.iter().any(|set| set.0 == column));
                match self.set.rows.get(row) {
                    Some(found) => up.extend(hangs_on(self.schema, row, found.references().filter(|(column, _)| !sets(*column)))),
                    None => up.extend(known.above.get(&row).into_iter().flatten()),
                }
            }
            false
        };
        let all: BTreeSet<RowKey> = known.large.iter().chain(moved.keys()).copied().collect();
        let stored = all.into_iter().filter(|row| self.set.rows.contains(*row));
        let (heads, apart): (Vec<RowKey>, Vec<RowKey>) = stored.partition(|row| may_go(*row));
        self.ask(heads, |heads| Query::Blockers { heads, apart: apart.clone(), limit: BLOCKERS });
    }

    /// What forbids a large delete may be dying, or go along, or be moved by the push.
    fn ask_blocking_rows(&mut self) {
        self.set.known.more_blockers = self.set.known.blockers.len() >= BLOCKERS;
        let blockers: BTreeSet<RowKey> = self.set.known.blockers.iter().map(|pair| pair.0).collect();
        let mut wanted = blockers.clone();
        wanted.retain(|row| !self.set.rows.contains(*row) && !self.set.known.doomed.contains(row));
        self.ask_for(wanted);
        if self.set.dying {
            self.ask(blockers.into_iter().collect(), Query::Doomed);
        }
    }

    fn ask_above_blockers(&mut self) {
        if self.set.known.large.is_empty() {
            return;
        }
        let mut wanted: BTreeSet<RowKey> = self.set.known.blockers.iter().flat_map(|pair| [pair.0, pair.1]).collect();
        let looked_at: BTreeSet<RowKey> = wanted.iter().copied().chain(self.edits().map(|edit| edit.row)).collect();
        wanted.extend(looked_at.into_iter().flat_map(|row| restricts(self.schema, &self.set.rows, row)));
        wanted.retain(|row| !self.set.known.above.contains_key(row));
        self.ask(wanted.into_iter().collect(), Query::Above);
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

fn edits_of(unit: &PushUnit) -> impl Iterator<Item = &Edit> {
    unit.txns.iter().filter_map(|txn| txn.txn.as_ref().ok()).flat_map(|txn| &txn.edits)
}

fn deletes(unit: &PushUnit) -> bool {
    edits_of(unit).any(|edit| edit.op == Op::Delete)
}
