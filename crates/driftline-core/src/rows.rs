//! Rows in memory, with who refers to whom, and an account of what they were before.

use crate::digest::Digest;
use crate::schema::Schema;
use crate::sorted::{SortedMap, SortedSet};
use crate::value::{Row, RowKey};

/// A set of rows that can be changed and taken back. Whoever changes it decides what is allowed.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    rows: SortedMap<RowKey, Row>,
    /// (parent, child, the child's column).
    children: SortedSet<(RowKey, RowKey, u16)>,
    /// What changed since the last [`Rows::mark`], newest last.
    undo: Vec<(RowKey, Option<Row>)>,
}

impl Rows {
    pub fn get(&self, key: RowKey) -> Option<&Row> {
        self.rows.get(&key)
    }

    pub fn contains(&self, key: RowKey) -> bool {
        self.rows.contains_key(&key)
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&RowKey, &Row)> {
        self.rows.iter()
    }

    /// The rows that refer to `parent`, with the column that does, in a fixed order.
    pub fn children(&self, parent: RowKey) -> impl Iterator<Item = (RowKey, u16)> + '_ {
        let lowest = RowKey { table: 0, id: crate::value::RowId(0) };
        let of_parent = self.children.range((parent, lowest, 0)..).take_while(move |c| c.0 == parent);
        of_parent.map(|c| (c.1, c.2))
    }

    /// Sets or removes a row and returns what was there.
    pub fn put(&mut self, key: RowKey, row: Option<Row>) -> Option<Row> {
        let targets: Vec<_> = row.iter().flat_map(|r| r.references()).collect();
        let old = match row {
            Some(row) => self.rows.insert(key, row),
            None => self.rows.remove(&key),
        };
        for (column, target) in old.iter().flat_map(|r| r.references()) {
            self.children.remove(&(target, key, column));
        }
        for (column, target) in targets {
            self.children.insert((target, key, column));
        }
        old
    }

    /// Like [`Rows::put`], remembered until [`Rows::mark`].
    pub fn change(&mut self, key: RowKey, row: Option<Row>) {
        let old = self.put(key, row);
        self.undo.push((key, old));
    }

    /// What the rows changed beyond a depth were there, each once.
    pub fn since(&self, depth: usize) -> SortedMap<RowKey, Option<Row>> {
        let mut originals = SortedMap::new();
        for (key, old) in &self.undo[depth..] {
            originals.get_or_insert_with(*key, || old.clone());
        }
        originals
    }

    /// What the rows changed since the mark were, oldest first; a row may stand there twice. What has changed stays.
    pub fn take_undo(&mut self) -> Vec<(RowKey, Option<Row>)> {
        std::mem::take(&mut self.undo)
    }

    /// What has changed so far stays.
    pub fn mark(&mut self) {
        self.undo.clear();
    }

    /// How much has changed since the mark; give it to [`Rows::roll_back`].
    pub fn depth(&self) -> usize {
        self.undo.len()
    }

    /// Takes back the newest changes, down to a depth.
    pub fn roll_back(&mut self, depth: usize) {
        while self.undo.len() > depth {
            if let Some((key, old)) = self.undo.pop() {
                self.put(key, old);
            }
        }
    }

    pub fn digest(&self, schema: &Schema) -> Digest {
        let mut digest = Digest::default();
        for (key, row) in self.rows.iter() {
            digest.add(schema, *key, row);
        }
        digest
    }
}
