//! What people did, by key: the measure of what is lost or doubled.

use super::check::record_body;
use super::server::Key;
use super::store::{Image, Lineage, TabId, stands_for};
use driftline_core::edit::{Edit, Merge, Op, Txn};
use driftline_core::field::{list_of, texts};
use driftline_core::schema::Schema;
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
    /// The disk that held it came back older. It may have been sent before.
    Abandoned,
}

#[derive(Clone)]
pub struct Story {
    /// The tab that holds it in memory, if it is not on disk.
    pub maker: TabId,
    pub store: usize,
    /// The edits of each call that was folded into it, in order.
    pub calls: Vec<Vec<Edit>>,
    /// So many calls were called saved.
    pub durable: usize,
    pub fate: Fate,
    /// The first of its retries, and of what its copies on other disks are copies of.
    pub root: Root,
    pub after: Vec<Key>,
    /// The server had it, and was set back to before that.
    pub set_back: bool,
    /// Somebody decided about it where it could not be settled.
    pub decided: bool,
    /// Once there was something that stands for it, it is never sent again.
    pub replaced_by: Option<Key>,
    /// What stood for it before that, and does again where that is gone.
    pub stood_before: Vec<Key>,
}

/// Two lives of a disk may use one key for different things.
pub type Name = (Key, Lineage);

/// A name, and the how many-th story it is: a number that was never on disk may be given again, and yet stand in a file.
pub type Root = (Name, u64);

#[derive(Default)]
pub struct Journal {
    made: u64,
    pub stories: BTreeMap<Name, Story>,
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
    pub fn made(&mut self, name: Name, maker: TabId, store: usize, edits: Vec<Edit>, after: Vec<Key>) {
        self.made += 1;
        let root = (name, self.made);
        let story = self.stories.entry(name).or_insert_with(|| Story {
            maker,
            store,
            calls: Vec::new(),
            durable: 0,
            fate: Fate::Open,
            root,
            after,
            set_back: false,
            decided: false,
            replaced_by: None,
            stood_before: Vec::new(),
        });
        story.calls.push(edits);
    }

    /// What goes by a key, in whatever life of a disk.
    pub fn of(&self, key: Key) -> impl Iterator<Item = (&Name, &Story)> {
        self.stories.range((key, 0)..=(key, Lineage::MAX))
    }

    /// Whether the transactions that created a row have vanished, were discarded, are gone with a disk, or have not been heard of again
    /// since. Where another disk has a copy of them, each goes by its own.
    pub fn taken_back(&self, row: RowKey, lineage: Lineage, heard: &dyn Fn(Key) -> bool) -> bool {
        let creates = |story: &Story| story.calls.iter().flatten().any(|edit| edit.op == Op::Create && edit.row == row);
        let creators: Vec<_> = self.stories.iter().filter(|(_, story)| creates(story)).collect();
        let own = creators.iter().any(|(name, _)| name.1 == lineage);
        // One that was replaced counts by what replaced it.
        let over = |name: &Name, story: &Story| story.fate != Fate::Open || story.set_back || !heard(name.0);
        creators.into_iter().filter(|(name, _)| !own || name.1 == lineage).all(|(name, story)| over(name, story))
    }

    /// Whether a transaction of this disk creates a row.
    pub fn creates_here(&self, row: RowKey, lineage: Lineage) -> bool {
        let own = self.stories.iter().filter(|(name, _)| name.1 == lineage);
        own.flat_map(|(_, story)| story.calls.iter().flatten()).any(|edit| edit.op == Op::Create && edit.row == row)
    }

    pub fn saved(&mut self, name: Name) {
        let Some(story) = self.stories.get_mut(&name) else { return };
        match &mut story.fate {
            Fate::Vanished { told } => *told = true,
            _ => story.durable = story.calls.len(),
        }
    }

    pub fn rekeyed(&mut self, maker: TabId, (from, lineage): Name, to: Key) {
        let Some(old) = self.stories.get_mut(&(from, lineage)) else { return };
        old.stood_before.extend(old.replaced_by);
        (old.fate, old.replaced_by) = (Fate::Replaced(to), Some(to));
        let new = Story { replaced_by: None, stood_before: Vec::new(), maker, durable: 0, fate: Fate::Open, ..old.clone() };
        self.stories.insert((to, lineage), new);
    }

    /// What came in a file may go by a number that this disk has used for something else. From its next key on it is known for what it is.
    pub fn tell_apart(&mut self, name: Name, edits: &[Edit]) {
        self.made += 1;
        let root = (name, self.made);
        if let Some(story) = self.stories.get_mut(&name).filter(|story| story.prefix(edits, 0).is_none()) {
            (story.calls, story.root) = (vec![edits.to_vec()], root);
        }
    }

    /// A disk begins another life: what is on it goes on there, as far as it is on it.
    pub fn fork(&mut self, schema: &Schema, from: Lineage, to: Lineage, store: usize, disk: &Image) {
        // What was over then is over there.
        let on_disk = |key: &Key| disk.slots.values().any(|slot| slot.records.contains_key(key));
        let used = |key: &Key| disk.slots.values().any(|slot| slot.high.get(&key.0).is_some_and(|high| key.1 <= *high));
        let then = |key: &Key| used(key) && !on_disk(key);
        let over = self.stories.iter().filter(|(name, story)| name.1 == from && story.fate != Fate::Open && then(&name.0));
        let over: Vec<_> = over.map(|(name, story)| ((name.0, to), Story { maker: 0, store, ..story.clone() })).collect();
        self.stories.extend(over);
        for (key, copy) in self.copies(schema, from, disk.slots.values().flat_map(|slot| &slot.records)) {
            // Of a record and of what replaces it, the later counts.
            let stood = |by: Key| std::iter::once(by).chain(copy.stood_before.iter().rev().copied()).find(on_disk);
            let standing = if let Fate::Replaced(by) = copy.fate { stood(by) } else { None };
            let fate = standing.map_or(Fate::Open, Fate::Replaced);
            self.stories.insert((key, to), Story { store, fate, ..copy });
        }
    }

    /// Of a record and of what replaces it, the later counts, wherever it was replaced.
    fn replace_known(&mut self, lineage: Lineage) {
        let replaced = self.stories.iter().filter_map(|(name, story)| match story.fate {
            Fate::Replaced(by) => Some(((name.0, story.root), by)),
            _ => Some(((name.0, story.root), story.replaced_by?)),
        });
        // Two devices may each have decided about it.
        let mut by_key: BTreeMap<(Key, Root), Vec<Key>> = BTreeMap::new();
        replaced.for_each(|(key, by)| by_key.entry(key).or_default().push(by));
        let held: BTreeSet<(Key, Root)> = self.stories.iter().filter(|s| s.0.1 == lineage).map(|s| (s.0.0, s.1.root)).collect();
        for (name, story) in self.stories.iter_mut().filter(|(name, story)| name.1 == lineage && story.fate == Fate::Open) {
            let mut later = vec![name.0];
            while let Some(key) = later.pop() {
                if key != name.0 && held.contains(&(key, story.root)) {
                    story.fate = Fate::Replaced(key);
                    break;
                }
                later.extend(by_key.get(&(key, story.root)).into_iter().flatten().filter(|by| **by != name.0));
            }
        }
    }

    /// What these records stand for, each as far as it is in them.
    pub fn copies<'a>(&self, schema: &Schema, lineage: Lineage, records: impl Iterator<Item = (&'a Key, &'a String)>) -> Vec<(Key, Story)> {
        let copy = |(key, record): (&Key, &String)| {
            let txn = record_body(record).and_then(|body| Txn::parse(schema, &body).ok())?;
            let story = self.stories.get(&(*key, lineage))?;
            let calls = story.prefix(&txn.edits, 0)?;
            let mut copy = Story { maker: 0, durable: calls, ..story.clone() };
            copy.calls.truncate(calls);
            Some((*key, copy))
        };
        records.filter_map(copy).collect()
    }

    /// A file is on a disk now. What waits there, or has taken effect, stays as it is, and so does what something else stands for;
    /// what was given up is open again.
    pub fn imported(
        &mut self,
        lineage: Lineage,
        store: usize,
        stories: &[(Key, Story)],
        puts: &[(Key, String)],
        is_logged: impl Fn(Key) -> bool,
    ) {
        for (key, story) in stories {
            let copy = Story { store, fate: Fate::Open, ..story.clone() };
            let known = self.stories.entry((*key, lineage)).or_insert_with(|| copy.clone());
            if known.root != copy.root && known.fate != Fate::Open && !is_logged(*key) {
                *known = copy;
            } else if known.root != copy.root {
                // A copied profile has used the key for something else, which counts.
            } else if let Some(by) = known.replaced_by {
                (known.fate, known.decided) = (Fate::Replaced(by), true);
            } else if matches!(known.fate, Fate::Replaced(_)) {
                known.decided = true;
            } else if known.fate != Fate::Open {
                *known = Story { decided: known.decided || copy.decided, ..copy };
            }
        }
        self.replace_known(lineage);
        // Also what goes by a key that a copied profile has used otherwise stands for what it says.
        for (key, record) in puts {
            for was in stands_for(record) {
                let story = self.stories.get_mut(&(was, lineage));
                let root = stories.iter().find(|(of, _)| of == key).map(|(_, story)| story.root);
                if let Some(story) = story.filter(|story| story.fate == Fate::Open && Some(story.root) == root) {
                    (story.fate, story.replaced_by) = (Fate::Replaced(*key), Some(*key));
                }
            }
        }
    }

    /// Somebody gives up what waits on a disk; what had not got there is gone, too.
    pub fn give_up(&mut self, keys: &[Key], lineage: Lineage) {
        let waits = |name: &Name, story: &Story| name.1 == lineage && (keys.contains(&name.0) || story.durable == 0);
        for (_, story) in self.stories.iter_mut().filter(|(name, story)| story.fate == Fate::Open && waits(name, story)) {
            story.fate = Fate::Discarded { by: 0 };
        }
    }

    /// A disk's life is over.
    pub fn abandon(&mut self, lineage: Lineage) {
        let open = self.stories.iter_mut().filter(|(name, story)| name.1 == lineage && story.fate == Fate::Open);
        open.for_each(|(_, story)| story.fate = Fate::Abandoned);
    }

    /// The server no longer knows of these.
    pub fn set_back(&mut self, gone: &BTreeSet<Key>) {
        self.stories.iter_mut().filter(|(name, _)| gone.contains(&name.0)).for_each(|(_, story)| story.set_back = true);
    }
}

impl Story {
    /// Whether it comes to the same as these edits, but for where references lead.
    pub fn differs_in_references(&self, edits: &[Edit]) -> bool {
        let blank = |mut sums: BTreeMap<RowKey, Sum>| {
            let values = sums.values_mut().flat_map(|sum| sum.set.values_mut());
            values.filter(|value| matches!(value, Value::Ref(_))).for_each(|value| *value = Value::Null);
            sums
        };
        blank(sum(self.calls.iter().flatten())) == blank(sum(edits.iter()))
    }

    /// Forgets the calls that are not on disk. Whether what is there is what was called saved, or more of it.
    pub fn cut_to(&mut self, on_disk: Option<Txn>) -> bool {
        let calls = on_disk.and_then(|txn| self.prefix(&txn.edits, self.durable));
        self.calls.truncate(calls.unwrap_or(usize::MAX));
        calls.is_some()
    }

    /// Which number of calls, from `least` up, comes to what these edits come to.
    pub fn prefix(&self, edits: &[Edit], least: usize) -> Option<usize> {
        let wanted = sum(edits.iter());
        (least.max(1)..=self.calls.len()).rev().find(|n| sum(self.calls[..*n].iter().flatten()) == wanted)
    }
}
