//! Folding: several unsent transactions that may as well be one.
//!
//! Nothing moves across a dependency, and what may have reached a server is never altered. A drag at 60 frames a second
//! leaves one update; a card made and deleted offline leaves nothing.

use crate::edit::{Edit, Merge, Op};
use crate::field::{change_list, text_of, with_elements};
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
    /// It makes earlier ones pointless that nobody has seen: these vanish.
    Cancel(Vec<Key>),
}

/// Looks for what a new transaction of `slot` can fold with. `gone` are the rows that it removes from the view; one that `crosses` a waiting
/// delete lets go what that is after, or comes to hang on it; a row that `is_held` is in the base.
pub fn fold(outbox: &Outbox, slot: u32, edits: &[Edit], gone: &SortedSet<RowKey>, crosses: bool, is_held: &dyn Fn(RowKey) -> bool) -> Fold {
    if edits.iter().all(|edit| edit.op == Op::Update) {
        // Before that delete, it would mean something else.
        return if crosses { None } else { fold_update(outbox, slot, edits, is_held) }.unwrap_or(Fold::None);
    }
    if edits.iter().all(|edit| edit.op == Op::Delete) {
        return cancel(outbox, slot, edits, gone, is_held);
    }
    Fold::None
}

/// Whether an edit may be folded into it. What may stand elsewhere under another key stays as it is, or the two would not be the same.
fn foldable(entry: &Entry, slot: u32) -> bool {
    entry.slot == slot && !entry.frozen && entry.was.is_empty() && entry.state == State::Queued && entry.after.is_empty()
}

fn fold_update(outbox: &Outbox, slot: u32, edits: &[Edit], is_held: &dyn Fn(RowKey) -> bool) -> Option<Fold> {
    let earlier = outbox.touching(edits.first()?.row).last()?;
    // A row that is made again may be there after all, and then what was folded in would go with it.
    let alone = |edit: &Edit| matches!(edit.op, Op::Delete | Op::Restore);
    if !foldable(earlier, slot) || earlier.edits.iter().any(alone) {
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
        // A reference would move before what makes its target, or close a cycle with it.
        if edit.references().any(|(_, target)| outbox.touching(target).next().is_some()) {
            return None;
        }
        let into = folded.iter_mut().rev().find(|into| into.row == edit.row)?;
        // A row that somebody else has made under the same id is theirs, and a create that is refused takes with it what was folded in.
        if into.op == Op::Create && (is_held(edit.row) || makers(outbox, edit.row).nth(1).is_some()) {
            return None;
        }
        take_in(into, edit)?;
    }
    let mut size = 0;
    for edit in &folded {
        size += edit.set.iter().map(|(_, value)| size_of(value)).sum::<usize>();
        size += edit.add.iter().map(|(_, merge)| size_of_merge(merge)).sum::<usize>();
    }
    (size < limits::TXN_BYTES / 2).then_some(Fold::Into(earlier.made.key, folded))
}

/// `None` where the later edit does not go on from what the earlier one left.
fn take_in(into: &mut Edit, edit: &Edit) -> Option<()> {
    for (column, value) in &edit.set {
        into.set_column(*column, value.clone());
    }
    for (column, merge) in &edit.add {
        if into.op == Op::Create {
            // A create names every column, with what its counters, texts and sets begin with.
            let at = into.set.binary_search_by_key(column, |s| s.0).ok()?;
            take_into_value(&mut into.set[at].1, merge)?;
            continue;
        }
        match into.add.binary_search_by_key(column, |a| a.0) {
            Ok(i) => take_into_merge(&mut into.add[i].1, merge)?,
            Err(i) => into.add.insert(i, (*column, merge.clone())),
        }
    }
    Some(())
}

fn take_into_value(value: &mut Value, merge: &Merge) -> Option<()> {
    match merge {
        Merge::Add(by) => {
            if let Value::Int(count) = value {
                *count = (*count + by).clamp(-limits::INT_MAX, limits::INT_MAX);
            }
        }
        Merge::Text { from, to } if text_of(from) == text_of(value) => *value = to.clone(),
        Merge::Text { .. } => return None,
        Merge::Set { insert, remove } => *value = with_elements(value, insert, remove),
    }
    Some(())
}

fn take_into_merge(into: &mut Merge, merge: &Merge) -> Option<()> {
    match (into, merge) {
        (Merge::Add(count), Merge::Add(by)) => *count = (*count + by).clamp(-limits::INT_MAX, limits::INT_MAX),
        // Where somebody else's change came in between, the two could not be told apart any more in one.
        (Merge::Text { to: last, .. }, Merge::Text { from, to }) if last == from => *last = to.clone(),
        (Merge::Set { insert, remove }, Merge::Set { insert: later_in, remove: later_out }) => {
            for element in later_in {
                change_list(insert, element, true);
                change_list(remove, element, false);
            }
            for element in later_out {
                change_list(insert, element, false);
                change_list(remove, element, true);
            }
            if insert.len().max(remove.len()) > limits::SET_ELEMENTS {
                return None;
            }
        }
        _ => return None,
    }
    Some(())
}

fn size_of(value: &Value) -> usize {
    match value {
        Value::Text(text) | Value::Json(text) => text.len() + 32,
        _ => 64,
    }
}

fn size_of_merge(merge: &Merge) -> usize {
    match merge {
        Merge::Add(_) => 64,
        Merge::Text { from, to } => size_of(from) + size_of(to),
        Merge::Set { insert, remove } => insert.iter().chain(remove).map(|element| element.len() + 8).sum(),
    }
}

/// What a delete makes pointless: unsent edits of the rows that go, if nothing else hangs on them. Where the rows themselves
/// were made unsent, the delete vanishes with them.
fn cancel(outbox: &Outbox, slot: u32, edits: &[Edit], gone: &SortedSet<RowKey>, is_held: &dyn Fn(RowKey) -> bool) -> Fold {
    let mut keys = SortedSet::new();
    for row in gone.iter() {
        for entry in outbox.touching(*row) {
            let key = entry.made.key;
            // What else it does to other rows would be lost; and what comes after it counts on it.
            if foldable(entry, slot) && entry.edits.iter().all(|edit| gone.contains(&edit.row)) && !outbox.is_followed(key) {
                keys.insert(key);
            }
        }
    }
    // Each that stays may need another to stay.
    loop {
        let mut needed = Vec::new();
        needed.extend(keys.iter().copied().filter(|key| is_needed(outbox, *key, &keys, is_held)));
        if needed.is_empty() {
            break;
        }
        for key in &needed {
            keys.remove(key);
        }
    }
    let made_here = |row: &RowKey| !is_held(*row) && makers(outbox, *row).any(|entry| keys.contains(&entry.made.key));
    if !edits.is_empty() && gone.iter().all(made_here) && edits.iter().all(|edit| gone.contains(&edit.row)) {
        return Fold::Vanish(keys.into_iter().collect());
    }
    // The delete goes out, for what is on the server. What waits below its row would only be taken along there.
    let pointless: Vec<Key> = keys.into_iter().collect();
    if pointless.is_empty() { Fold::None } else { Fold::Cancel(pointless) }
}

/// Those that make a row.
fn makers(outbox: &Outbox, row: RowKey) -> impl Iterator<Item = &Entry> {
    outbox.touching(row).filter(move |entry| entry.edits.iter().any(|edit| edit.op == Op::Create && edit.row == row))
}

/// It changes neither what exists nor what refers to what.
fn is_plain_update(edit: &Edit) -> bool {
    edit.op == Op::Update && edit.references().next().is_none() && !edit.set.iter().any(|(_, value)| value.is_null())
}

/// Whether without this one, others that stay would lack something.
fn is_needed(outbox: &Outbox, key: Key, vanishing: &SortedSet<Key>, is_held: &dyn Fn(RowKey) -> bool) -> bool {
    let Some(entry) = outbox.get(key) else { return true };
    entry.edits.iter().any(|edit| match edit.op {
        Op::Create => {
            let users = outbox.touching(edit.row).chain(outbox.referring(edit.row));
            users.into_iter().any(|user| !vanishing.contains(&user.made.key))
        }
        Op::Update if is_plain_update(edit) => false,
        // It moves its row under another: the server must know of that, unless the row is never there.
        Op::Update => is_held(edit.row) || !makers(outbox, edit.row).any(|maker| vanishing.contains(&maker.made.key)),
        _ => true,
    })
}
