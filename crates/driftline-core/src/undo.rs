//! Undo and redo: what a person's transactions did to the view, and the edits that take it back.
//!
//! A step is undone by a new transaction, through the same outbox as any other. It takes back what is still as the step
//! left it, and nothing that somebody has written since; a deleted row comes back under its id by a restore. Undoing is
//! a step itself, which is how it is redone.

use crate::edit::{Edit, Merge, Op};
use crate::field::{text_of, texts};
use crate::outbox::Key;
use crate::replica::Originals;
use crate::rows::Rows;
use crate::schema::{Kind, Schema};
use crate::sorted::{SortedMap, SortedSet};
use crate::text::merge3;
use crate::value::{Row, RowKey, Value};

/// So many steps can be taken back.
const STEPS: usize = 200;
/// Rows and transactions that all steps may tell of: they are kept in memory.
const ROWS: usize = 20_000;
/// Updates of the same fields that follow one another this closely are one step, where the app does not say which gesture they belong to.
const GESTURE_MS: u64 = 500;

/// What became of a row.
#[derive(Debug, Clone, PartialEq)]
enum Change {
    /// As it was then.
    Made(Row),
    /// With what it was.
    Gone(Row),
    /// Its columns that changed.
    Set(Vec<Field>),
}

/// A column, what it held before, and after.
type Field = (u16, Value, Value);

#[derive(Debug, Clone)]
pub struct Undoable {
    /// The transactions that did it.
    pub keys: Vec<Key>,
    /// By the app's own number: what belongs to one gesture is one step, however long it takes.
    pub gesture: Option<u64>,
    at_ms: u64,
    changes: SortedMap<RowKey, Change>,
}

impl Undoable {
    /// Compares the rows that a transaction changed with what they were.
    pub fn new(at_ms: u64, before: &Originals, view: &Rows) -> Undoable {
        let mut changes = SortedMap::new();
        for (row, old) in before.iter() {
            let change = match (old, view.get(*row)) {
                (None, None) => continue,
                (None, Some(new)) => Change::Made(new.clone()),
                (Some(old), None) => Change::Gone(old.clone()),
                (Some(old), Some(new)) => {
                    let mut set = Vec::new();
                    for (i, (old, new)) in old.values.iter().zip(&new.values).enumerate() {
                        if old != new {
                            set.push((i as u16, old.clone(), new.clone()));
                        }
                    }
                    if set.is_empty() {
                        continue;
                    }
                    Change::Set(set)
                }
            };
            changes.insert(*row, change);
        }
        Undoable { keys: Vec::new(), gesture: None, at_ms, changes }
    }

    /// Several transactions that are one step.
    pub fn joined(steps: Vec<Undoable>, view: &Rows) -> Option<Undoable> {
        let mut steps = steps.into_iter();
        let mut joined = steps.next()?;
        for step in steps {
            joined.keys.extend(step.keys);
            joined.changes.extend(step.changes);
        }
        for (row, change) in joined.changes.iter_mut() {
            if let (Change::Made(made), Some(now)) = (change, view.get(*row)) {
                *made = now.clone();
            }
        }
        Some(joined)
    }

    /// Takes in a step that goes on with this one's gesture: with other rows, or where both only set fields and nobody has written in
    /// between.
    fn take_in(&mut self, later: &Undoable) -> bool {
        let is_named = self.gesture.is_some();
        let is_soon = later.at_ms <= self.at_ms + GESTURE_MS && later.changes.len() == self.changes.len();
        if self.gesture != later.gesture || !(is_named || is_soon) || self.keys.len() >= ROWS {
            return false;
        }
        let has_room = is_named && self.size() < ROWS;
        let goes_on = |(row, change): (&RowKey, &Change)| match (self.changes.get(row), change) {
            (None, _) => has_room,
            (Some(Change::Set(mine)), Change::Set(later)) => {
                let follows = |one: &Field| mine.iter().find(|mine| mine.0 == one.0).map_or(is_named, |mine| mine.2 == one.1);
                (is_named || mine.len() == later.len()) && later.iter().all(follows)
            }
            _ => false,
        };
        if !later.changes.iter().all(goes_on) {
            return false;
        }
        for (row, change) in later.changes.iter() {
            match (self.changes.get_mut(row), change) {
                (Some(Change::Set(mine)), Change::Set(later)) => {
                    for one in later {
                        match mine.iter_mut().find(|mine| mine.0 == one.0) {
                            Some(mine) => mine.2 = one.2.clone(),
                            None => mine.push(one.clone()),
                        }
                    }
                }
                _ => drop(self.changes.insert(*row, change.clone())),
            }
        }
        self.at_ms = later.at_ms;
        if self.keys.last() != later.keys.last() {
            self.keys.extend_from_slice(&later.keys);
        }
        true
    }

    /// Takes out a transaction that was given up, and says whether there is anything left to take back. Rows that it made are not there,
    /// and those that it deleted are: those need no word.
    fn give_up(&mut self, key: Key, edits: &[Edit]) -> bool {
        if !self.keys.contains(&key) {
            return true;
        }
        self.keys.retain(|mine| *mine != key);
        for edit in edits {
            if let Some(Change::Set(set)) = self.changes.get_mut(&edit.row) {
                set.retain(|field| !edit.writes(field.0));
            }
        }
        !self.keys.is_empty() && !self.changes.values().all(|change| matches!(change, Change::Set(set) if set.is_empty()))
    }

    fn size(&self) -> usize {
        self.changes.len() + self.keys.len()
    }

    /// Whether a gesture has ended where it began, as one that was given up.
    fn is_back(&self) -> bool {
        let is_back = |change: &Change| matches!(change, Change::Set(set) if set.iter().all(|one| one.1 == one.2));
        self.gesture.is_some() && self.changes.values().all(is_back)
    }

    /// The edits that take the step back, as far as nobody has gone on from it.
    pub fn inverse(&self, schema: &Schema, view: &Rows) -> Vec<Edit> {
        let back = self.restorable(schema, view);
        let there = |row: RowKey| view.contains(row) || back.contains(&row);
        let mut edits = Vec::new();
        for (row, change) in self.changes.iter() {
            let columns = &schema.tables[row.table as usize].columns;
            match (change, view.get(*row)) {
                (Change::Gone(old), None) if back.contains(row) => {
                    let mut edit = Edit::new(Op::Restore, *row);
                    for (i, value) in old.values.iter().enumerate() {
                        // Counts follow from the rows.
                        if columns[i].is_count() {
                            continue;
                        }
                        // Whatever it referred to may have gone since.
                        let lost = matches!(value, Value::Ref(target) if !there(*target));
                        edit.set.push((i as u16, if lost { Value::Null } else { value.clone() }));
                    }
                    edits.push(edit);
                }
                (Change::Set(set), Some(now)) => {
                    let mut edit = Edit::new(Op::Update, *row);
                    for (column, before, after) in set {
                        // It may have gone and come back.
                        if before == after {
                            continue;
                        }
                        let lost = matches!(before, Value::Ref(target) if !there(*target));
                        let now = &now.values[*column as usize];
                        match back_to(&columns[*column as usize].kind, before, after, now) {
                            Some(Back::Merge(merge)) => edit.add.push((*column, merge)),
                            Some(Back::Set) if !lost => edit.set.push((*column, before.clone())),
                            _ => {}
                        }
                    }
                    if !edit.set.is_empty() || !edit.add.is_empty() {
                        edits.push(edit);
                    }
                }
                _ => {}
            }
        }
        for row in self.removable(schema, view, &edits).iter() {
            edits.push(Edit::delete(*row));
        }
        edits
    }

    /// The rows that can go again: still as they were made, and nothing hangs on them but what goes too, or is moved by `edits`.
    fn removable(&self, schema: &Schema, view: &Rows, edits: &[Edit]) -> SortedSet<RowKey> {
        let mut gone = SortedSet::new();
        for (row, change) in self.changes.iter() {
            if let (Change::Made(made), Some(now)) = (change, view.get(*row))
                && is_alike(schema, *row, made, now)
            {
                gone.insert(*row);
            }
        }
        let mut moved = SortedSet::new();
        for edit in edits {
            moved.extend(edit.set.iter().map(|(column, _)| (edit.row, *column)));
        }
        let mut stay = Vec::new();
        for row in gone.iter() {
            if view.children(*row).any(|child| !gone.contains(&child.0) && !moved.contains(&child)) {
                stay.push(*row);
            }
        }
        while let Some(row) = stay.pop() {
            if gone.remove(&row)
                && let Some(now) = view.get(row)
            {
                stay.extend(now.references().map(|(_, parent)| parent));
            }
        }
        gone
    }

    /// The rows that can come back: all that they cannot do without is there, or comes back too.
    fn restorable(&self, schema: &Schema, view: &Rows) -> SortedSet<RowKey> {
        let mut back = SortedSet::new();
        for (row, change) in self.changes.iter() {
            if matches!(change, Change::Gone(_)) && !view.contains(*row) {
                back.insert(*row);
            }
        }
        loop {
            let mut lost = Vec::new();
            for row in back.iter() {
                let Some(Change::Gone(old)) = self.changes.get(row) else { continue };
                let columns = &schema.tables[row.table as usize].columns;
                let lacks = old.values.iter().enumerate().any(|(i, value)| match value {
                    Value::Ref(target) => !columns[i].nullable && !view.contains(*target) && !back.contains(target),
                    _ => false,
                });
                if lacks {
                    lost.push(*row);
                }
            }
            if lost.is_empty() {
                return back;
            }
            for row in lost {
                back.remove(&row);
            }
        }
    }
}

/// Whether a row is as it was; counts follow from other rows.
fn is_alike(schema: &Schema, key: RowKey, then: &Row, now: &Row) -> bool {
    let columns = &schema.tables[key.table as usize].columns;
    columns.iter().zip(&then.values).zip(&now.values).all(|((column, then), now)| column.is_count() || then == now)
}

/// How a field goes back.
enum Back {
    Set,
    Merge(Merge),
}

/// How a field that went from `before` to `after` goes back, as far as what it holds now allows.
fn back_to(kind: &Kind, before: &Value, after: &Value, now: &Value) -> Option<Back> {
    let merge = match (kind, before, after) {
        (Kind::Counter, Value::Int(before), Value::Int(after)) => Merge::Add(before - after),
        (Kind::Set, _, _) => {
            let (before, after, now) = (texts(before), texts(after), texts(now));
            let but = |list: &[String], without: &[String], there: bool| {
                let mut list = list.to_vec();
                list.retain(|text| without.binary_search(text).is_err() && now.binary_search(text).is_ok() == there);
                list
            };
            let (insert, remove) = (but(&before, &after, false), but(&after, &before, true));
            if insert.is_empty() && remove.is_empty() {
                return None;
            }
            Merge::Set { insert, remove }
        }
        // What somebody has written in the same place since stays.
        (Kind::Text { conflicts: Some(_), .. }, _, _) => {
            let clean = now == after || merge3(text_of(after), text_of(now), text_of(before)).is_some_and(|text| text != text_of(now));
            if !clean {
                return None;
            }
            Merge::Text { from: after.clone(), to: before.clone() }
        }
        // The texts that lost go when their reader says so; counts follow from the rows.
        (Kind::Conflicts { .. } | Kind::Count { .. }, _, _) => return None,
        _ => return (now == after).then_some(Back::Set),
    };
    Some(Back::Merge(merge))
}

/// What can be undone, and what can be redone; the last is the next.
#[derive(Debug, Default)]
pub struct History {
    pub done: Vec<Undoable>,
    pub undone: Vec<Undoable>,
}

impl History {
    /// A person did something: what was undone before cannot be redone any more.
    pub fn push(&mut self, step: Undoable) {
        self.undone.clear();
        if step.changes.is_empty() {
            return;
        }
        if let Some(last) = self.done.last_mut()
            && last.take_in(&step)
        {
            if last.is_back() {
                self.done.pop();
            }
            return;
        }
        self.done.push(step);
        let mut rows = 0;
        let kept = self.done.iter().rev().take_while(|step| {
            rows += step.size();
            rows <= ROWS
        });
        let drop = self.done.len() - kept.count().min(STEPS);
        self.done.drain(..drop);
    }

    /// A transaction was given up: there is nothing of it to take back.
    pub fn forget(&mut self, key: Key, edits: &[Edit]) {
        for steps in [&mut self.done, &mut self.undone] {
            steps.retain_mut(|step| step.give_up(key, edits));
        }
    }

    pub fn rekey(&mut self, old: Key, new: Key) {
        for step in self.done.iter_mut().chain(&mut self.undone) {
            step.keys.iter_mut().filter(|key| **key == old).for_each(|key| *key = new);
        }
    }
}
