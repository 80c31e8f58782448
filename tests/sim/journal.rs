//! What people did, by key: the measure of what is lost or doubled.

use super::browser::TabId;
use super::server::Key;
use driftline_core::edit::{Edit, Merge, Op};
use driftline_core::field::{list_of, texts};
use driftline_core::value::{RowKey, Value};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// It waits, or has taken effect.
    Open,
    /// Folding has made it and what undid it vanish; `told` once that was called saved.
    Vanished { told: bool },
    /// By the user, and carried out by this tab.
    Discarded { by: TabId },
    /// A retry under another key stands for it.
    Replaced(Key),
}

pub struct Story {
    /// The tab that holds it in memory, if it is not on disk.
    pub maker: TabId,
    pub browser: usize,
    /// The edits of each call that was folded into it, in order.
    pub calls: Vec<Vec<Edit>>,
    /// So many calls were called saved.
    pub durable: usize,
    pub fate: Fate,
    /// The first key of its retries.
    pub root: Key,
    pub after: Vec<Key>,
}

#[derive(Default)]
pub struct Journal {
    pub stories: BTreeMap<Key, Story>,
}

/// What a list of edits comes to, row by row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sum {
    pub created: bool,
    pub restored: bool,
    pub deleted: bool,
    pub set: BTreeMap<u16, Value>,
    pub add: BTreeMap<u16, i64>,
    /// What a text was at first, and what it is to be.
    pub text: BTreeMap<u16, (Value, Value)>,
    /// Whether an element goes in or out.
    pub elements: BTreeMap<(u16, String), bool>,
}

pub fn sum<'a>(edits: impl Iterator<Item = &'a Edit>) -> BTreeMap<RowKey, Sum> {
    let mut sums: BTreeMap<RowKey, Sum> = BTreeMap::new();
    for edit in edits {
        let sum = sums.entry(edit.row).or_default();
        sum.created |= edit.op == Op::Create;
        sum.restored |= edit.op == Op::Restore;
        sum.deleted |= edit.op == Op::Delete;
        sum.set.extend(edit.set.iter().cloned());
        for (column, merge) in &edit.add {
            match (sum.set.get_mut(column), merge) {
                (Some(Value::Int(count)), Merge::Add(by)) => *count += by,
                (_, Merge::Add(by)) => *sum.add.entry(*column).or_insert(0) += by,
                (Some(value), Merge::Text { to, .. }) if sum.created || sum.restored => *value = to.clone(),
                (_, Merge::Text { from, to }) => sum.text.entry(*column).or_insert_with(|| (from.clone(), to.clone())).1 = to.clone(),
                (Some(value), Merge::Set { insert, remove }) if sum.created || sum.restored => {
                    let mut all: BTreeSet<String> = texts(value).into_iter().chain(insert.iter().cloned()).collect();
                    all.retain(|text| !remove.contains(text));
                    if !(value.is_null() && all.is_empty()) {
                        *value = list_of(&all.into_iter().collect::<Vec<_>>());
                    }
                }
                (_, Merge::Set { insert, remove }) => {
                    sum.elements.extend(insert.iter().map(|text| ((*column, text.clone()), true)));
                    sum.elements.extend(remove.iter().map(|text| ((*column, text.clone()), false)));
                }
            }
        }
    }
    sums
}

impl Journal {
    pub fn made(&mut self, key: Key, maker: TabId, browser: usize, edits: Vec<Edit>, after: Vec<Key>) {
        let story = self.stories.entry(key).or_insert_with(|| Story {
            maker,
            browser,
            calls: Vec::new(),
            durable: 0,
            fate: Fate::Open,
            root: key,
            after,
        });
        story.calls.push(edits);
    }

    /// Whether the transaction that created a row has vanished or was discarded.
    pub fn taken_back(&self, row: RowKey) -> bool {
        let creates = |story: &&Story| story.calls.iter().flatten().any(|edit| edit.op == Op::Create && edit.row == row);
        // One that was replaced counts by what replaced it.
        let over = |fate: &Fate| matches!(fate, Fate::Vanished { .. } | Fate::Discarded { .. } | Fate::Replaced(_));
        self.stories.values().filter(creates).all(|story| over(&story.fate))
    }

    pub fn saved(&mut self, key: Key) {
        let Some(story) = self.stories.get_mut(&key) else { return };
        match &mut story.fate {
            Fate::Vanished { told } => *told = true,
            _ => story.durable = story.calls.len(),
        }
    }

    pub fn rekeyed(&mut self, maker: TabId, from: Key, to: Key) {
        let Some(old) = self.stories.get_mut(&from) else { return };
        old.fate = Fate::Replaced(to);
        let (calls, root, browser, after) = (old.calls.clone(), old.root, old.browser, old.after.clone());
        self.stories.insert(to, Story { maker, browser, calls, durable: 0, fate: Fate::Open, root, after });
    }
}

impl Story {
    /// Which number of calls, from `least` up, comes to what these edits come to.
    pub fn prefix(&self, edits: &[Edit], least: usize) -> Option<usize> {
        let wanted = sum(edits.iter());
        (least.max(1)..=self.calls.len()).rev().find(|n| sum(self.calls[..*n].iter().flatten()) == wanted)
    }
}
