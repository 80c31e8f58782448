//! What a decision needs to know, asked for in sets.
//!
//! Ask [`Load::next`], answer with the `give_*` method of that query, and go on until there is none; then
//! [`Load::finish`] has the working set. A store answers each query with one statement or a few; none is per edit.

use crate::dedupe::{ClientState, Settled};
use crate::digest::Digest;
use crate::edit::Op;
use crate::rows::Rows;
use crate::schema::{OnDelete, Schema};
use crate::value::{Row, RowId, RowKey};
use crate::wire::Push;
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
    /// The rows of `table` whose reference `column` points at one of these rows.
    Children { table: u16, column: u16, parents: Vec<RowKey> },
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
    pub deleted: BTreeSet<RowKey>,
}

pub struct Load<'a> {
    schema: &'a Schema,
    push: &'a Push,
    set: WorkingSet,
    stage: Stage,
    /// Queries of the present stage still to be asked, last first.
    queue: Vec<Query>,
    /// Rows that the push deletes, and those that would go with them, as far as they are known.
    dying: BTreeSet<RowKey>,
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
    Children,
    Deleted,
    Done,
}

impl<'a> Load<'a> {
    pub fn new(schema: &'a Schema, push: &'a Push) -> Load<'a> {
        let queue = vec![Query::Clients, Query::Space];
        Load {
            schema,
            push,
            set: WorkingSet::default(),
            stage: Stage::Start,
            queue,
            dying: BTreeSet::new(),
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
        }
    }

    pub fn give_deleted(&mut self, deleted: impl IntoIterator<Item = RowKey>) {
        self.set.deleted.extend(deleted);
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
            // Each round asks for the children of the rows that the last one found dying.
            Stage::Rows | Stage::Children => {
                self.stage = Stage::Children;
                self.ask_children();
                if self.queue.is_empty() {
                    self.stage = Stage::Deleted;
                    self.ask_deleted();
                }
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

    fn edits(&self) -> impl Iterator<Item = &crate::edit::Edit> {
        self.push.units.iter().flat_map(|u| &u.txns).filter_map(|t| t.txn.as_ref().ok()).flat_map(|t| &t.edits)
    }

    fn ask_rows(&mut self) {
        let mut wanted = BTreeSet::new();
        for edit in self.edits() {
            wanted.insert(edit.row);
            wanted.extend(edit.references().map(|(_, target)| target));
        }
        let mut tables: BTreeMap<u16, Vec<RowId>> = BTreeMap::new();
        for key in wanted {
            tables.entry(key.table).or_default().push(key.id);
        }
        self.queue.extend(tables.into_iter().map(|(table, ids)| Query::Rows { table, ids }));
    }

    /// Asks for the children of the rows that were found dying since the last round; each row is looked at once.
    fn ask_children(&mut self) {
        while self.queue.is_empty() {
            let found = match self.frontier.take() {
                None => self.roots(),
                Some(frontier) => frontier.iter().flat_map(|parent| self.dying_children(*parent)).collect(),
            };
            let mut parents: BTreeMap<u16, Vec<RowKey>> = BTreeMap::new();
            let fresh: Vec<RowKey> = found.into_iter().filter(|key| self.dying.insert(*key)).collect();
            fresh.iter().for_each(|key| parents.entry(key.table).or_default().push(*key));
            for (table, parents) in parents {
                for (from, column, _) in self.schema.referrers(table) {
                    self.queue.push(Query::Children { table: from, column, parents: parents.clone() });
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

    fn dying_children(&self, parent: RowKey) -> Vec<RowKey> {
        let hung = self.hung.get(&parent).into_iter().flatten().copied();
        let children = self.set.rows.children(parent).chain(hung);
        let cascades = |child: &(RowKey, u16)| crate::integrity::on_delete(self.schema, child.0, child.1) == OnDelete::Cascade;
        children.filter(cascades).map(|child| child.0).collect()
    }

    fn ask_deleted(&mut self) {
        let mut missing = BTreeSet::new();
        for edit in self.edits() {
            missing.extend(Some(edit.row).into_iter().chain(edit.references().map(|r| r.1)).filter(|key| !self.set.rows.contains(*key)));
        }
        self.ask(missing.into_iter().collect(), Query::Deleted);
    }
}
