//! Folding: several unsent transactions that may as well be one.
//!
//! Nothing moves across a dependency, and what may have reached a server is never altered. A drag at 60 frames a second
//! leaves one update; a card made and deleted offline leaves nothing.

use crate::edit::{Edit, Op};
use crate::limits;
use crate::outbox::{Entry, Key, Outbox, State};
use crate::sorted::SortedSet;
use crate::value::{RowKey, Value};

/// What becomes of a new transaction.
#[derive(Debug, PartialEq)]
pub enum Fold {
    /// It is one of its own.
    None,
    /// An earlier one takes it in: these are its edits now.
    Into(Key, Vec<Edit>),
    /// It undoes earlier ones that nobody has seen: all of them vanish with it.
    Vanish(Vec<Key>),
}

/// Looks for what a new transaction of `slot` can fold with. `gone` are the rows that it removes from the view.
pub fn fold(outbox: &Outbox, slot: u32, edits: &[Edit], after: &[Key], gone: &SortedSet<RowKey>) -> Fold {
    if !after.is_empty() {
        return Fold::None;
    }
    if edits.iter().all(|edit| edit.op == Op::Update) {
        return fold_update(outbox, slot, edits).unwrap_or(Fold::None);
    }
    if edits.iter().all(|edit| edit.op == Op::Delete) {
        return vanish(outbox, slot, edits, gone).unwrap_or(Fold::None);
    }
    Fold::None
}

fn foldable(entry: &Entry, slot: u32) -> bool {
    entry.slot == slot && !entry.frozen && entry.state == State::Queued && entry.after.is_empty()
}

fn fold_update(outbox: &Outbox, slot: u32, edits: &[Edit]) -> Option<Fold> {
    let earlier = outbox.touching(edits.first()?.row).last()?;
    if !foldable(earlier, slot) || earlier.edits.iter().any(|edit| edit.op == Op::Delete) {
        return None;
    }
    // Somebody may count on this one having come before itself.
    if outbox.is_followed(earlier.made.key) {
        return None;
    }
    // All of it takes the later's time: whoever has changed another of its rows since would lose to it.
    for edit in &earlier.edits {
        if outbox.touching(edit.row).last()?.made != earlier.made {
            return None;
        }
    }
    let mut folded = earlier.edits.clone();
    for edit in edits {
        // The later's rows are among the earlier's, and nobody touched them in between.
        if outbox.touching(edit.row).last()?.made != earlier.made {
            return None;
        }
        // A reference would move before what makes its target, or close a cycle with it; a row let go, before what deletes it.
        let moved = edit.set.iter().any(|(column, value)| match value {
            Value::Ref(target) => outbox.touching(*target).next().is_some(),
            Value::Null => released(&folded, edit.row, *column).is_some_and(|target| outbox.deletes(target)),
            _ => false,
        });
        if moved {
            return None;
        }
        let into = folded.iter_mut().rev().find(|into| into.row == edit.row)?;
        take_in(into, edit);
    }
    let size: usize = folded.iter().flat_map(|edit| &edit.set).map(|(_, value)| size_of(value)).sum();
    (size < limits::TXN_BYTES / 2).then_some(Fold::Into(earlier.made.key, folded))
}

fn released(edits: &[Edit], row: RowKey, column: u16) -> Option<RowKey> {
    let set = edits.iter().rev().filter(|edit| edit.row == row).flat_map(|edit| &edit.set);
    set.filter(|(c, _)| *c == column).find_map(|(_, value)| if let Value::Ref(target) = value { Some(*target) } else { None })
}

fn take_in(into: &mut Edit, edit: &Edit) {
    for (column, value) in &edit.set {
        into.set_column(*column, value.clone());
    }
    for (column, by) in &edit.add {
        if into.op == Op::Create {
            // A create names every column, its counters' first values among them.
            if let Some((_, Value::Int(count))) = into.set.iter_mut().find(|(c, _)| c == column) {
                *count = (*count + by).clamp(-limits::INT_MAX, limits::INT_MAX);
            }
            continue;
        }
        match into.add.binary_search_by_key(column, |a| a.0) {
            Ok(i) => into.add[i].1 = (into.add[i].1 + by).clamp(-limits::INT_MAX, limits::INT_MAX),
            Err(i) => into.add.insert(i, (*column, *by)),
        }
    }
}

fn size_of(value: &Value) -> usize {
    match value {
        Value::Text(text) | Value::Json(text) => text.len() + 32,
        _ => 64,
    }
}

/// A create and its delete vanish with what hung on the row, if none of it may have been seen by others.
fn vanish(outbox: &Outbox, slot: u32, edits: &[Edit], gone: &SortedSet<RowKey>) -> Option<Fold> {
    if edits.iter().any(|edit| !outbox.creates(edit.row)) {
        return None;
    }
    let mut keys = SortedSet::new();
    for row in gone.iter() {
        let mut created = false;
        for entry in outbox.touching(*row).chain(outbox.referring(*row)) {
            // What else it does to other rows would be lost.
            if !foldable(entry, slot) || !entry.edits.iter().all(|edit| gone.contains(&edit.row)) {
                return None;
            }
            created |= entry.edits.iter().any(|edit| edit.op == Op::Create && edit.row == *row);
            keys.insert(entry.made.key);
        }
        if !created {
            return None;
        }
    }
    if keys.iter().any(|key| outbox.is_followed(*key)) {
        return None;
    }
    Some(Fold::Vanish(keys.into_iter().collect()))
}
