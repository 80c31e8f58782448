//! The outbox: transactions that are not settled, what each waits for, and in which order they may go.
//!
//! A transaction is saved, then sent, then settled or parked. Dependencies are not stored: they follow from the rows
//! that transactions name, through two indexes, so that a transaction made today finds its parent made tomorrow.

use crate::digest::body_hash;
use crate::edit::{Edit, Op, Txn};
use crate::engine::IMPORTED;
use crate::json::Json;
use crate::order::Walk;
use crate::problem::Problem;
use crate::schema::Schema;
use crate::sorted::{SortedMap, SortedSet, sort_dedup};
use crate::upgrade::table_now;
use crate::value::{RowId, RowKey, parse_hex128, write_hex64, write_hex128, write_uint};
use crate::wire::read_pair;

/// Client and sequence number.
pub type Key = (u64, u64);

/// The place in the order in which transactions were made: by clock, then key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Made {
    pub at: u64,
    pub key: Key,
}

#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Waits to be sent.
    Queued,
    InFlight,
    /// The server has it at this revision; its change is not in the base yet.
    Applied {
        rev: u64,
    },
    /// The user's to decide. `spent`: the server has answered, so that a retry takes a new key.
    Parked {
        problem: Problem,
        spent: bool,
    },
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub made: Made,
    /// The slot whose database holds it.
    pub slot: u32,
    pub body: String,
    pub edits: Vec<Edit>,
    /// What the rows that it deletes or updates referred to when it was made.
    pub releases: Vec<RowKey>,
    /// Explicit dependencies.
    pub after: Vec<Key>,
    /// Transactions of other tabs that it goes on from: a tab may hear of it before it hears of these.
    pub seen: Vec<Key>,
    /// When it was made, a row that it refers to was not there yet, as one that comes with its file: it waits as long as that takes.
    pub awaits: bool,
    /// The keys that it had before somebody decided about it, the latest last: should those be found on disk, too, this one counts, and
    /// where one of them has taken effect, the server refuses this one.
    pub was: Vec<Key>,
    pub state: State,
    /// Counts the bodies that folding gave it.
    pub version: u32,
    /// Whether this version is on disk.
    pub saved: bool,
    /// Whether it is on disk, and all that has come since was folded into it: it is written anew when there is time.
    pub calm: bool,
    /// Whether it may have reached a server, or a tab that may send it. It is never altered again.
    pub frozen: bool,
    /// Whether it may have taken effect without our knowing: it went out and no answer came, or an earlier page may have sent it.
    pub unanswered: bool,
    /// Requests that failed with it, since it was last put back.
    pub fails: u32,
    /// How many pushes had passed when the first request with it failed.
    pub passes_before: Option<u64>,
    /// Not before this time: the server fails on it.
    pub aside_until_ms: u64,
    /// Not before this time, unless what it has seen is heard of.
    pub unseen_until_ms: u64,
    /// The server fails on it while others pass: shown, and tried seldom.
    pub suspended: bool,
    /// This tab has written its record as the sending one. Whoever sends now may have deleted that before.
    pub rewritten: bool,
    /// Its body is of an older version of the schema; its edits are not.
    pub outdated: bool,
    /// Its body was written anew in the present version; the hash of what it was before, which the server may have all the same.
    pub upgraded: Option<u128>,
}

/// Of the rows or transactions that one waits for, so many are named.
const ROWS_SHOWN: usize = 8;

const CREATES: u8 = 1;
const DELETES: u8 = 2;
const REFERS: u8 = 4;
const RELEASES: u8 = 8;
const UPDATES: u8 = 16;
/// Beside [`CREATES`]: the row had been there before.
const RESTORES: u8 = 32;

/// Who names a row: its own edits, or references to it. The value is what the transaction does, and its place.
type Index = SortedMap<(RowKey, Made), (u8, u32)>;

#[derive(Debug, Default)]
pub struct Outbox {
    slab: Vec<Option<Entry>>,
    free: Vec<u32>,
    by_made: SortedMap<Made, u32>,
    by_key: SortedMap<Key, u32>,
    own: Index,
    refs: Index,
    /// How many entries name a key in their `after`.
    followed: SortedMap<Key, u32>,
    /// The keys that retries stand for, with theirs.
    retries: SortedSet<(Key, Key)>,
    bytes: usize,
    counts: Counts,
    turns: u64,
}

/// How many transactions are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub queued: usize,
    pub in_flight: usize,
    pub applied: usize,
    pub parked: usize,
}

impl Counts {
    fn of(&mut self, state: &State) -> &mut usize {
        match state {
            State::Queued => &mut self.queued,
            State::InFlight => &mut self.in_flight,
            State::Applied { .. } => &mut self.applied,
            State::Parked { .. } => &mut self.parked,
        }
    }
}

/// Why a transaction is not sent yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// It is not on disk, or another tab may still fold it.
    Saving,
    /// For rows that nobody has made.
    Rows(Vec<RowKey>),
    /// For transactions that cannot go.
    Keys(Vec<Key>),
    /// For the user.
    Parked,
    /// For its time.
    Aside,
}

/// A unit ready to go: its members in the order made, and what it comes after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    pub keys: Vec<Key>,
    pub after: Vec<Key>,
}

/// What the outbox must ask others about.
pub struct Sending<'a> {
    pub now_ms: u64,
    /// Whether the base lacks the row at which an edit makes a column point, and cannot do without it.
    pub lacks: &'a dyn Fn(&Edit, u16, RowKey) -> bool,
    /// The tab's own slot: its entries need not be frozen to be sent.
    pub own_slot: u32,
}

/// What keeps a unit from going.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Hold {
    Free,
    /// The disk, another tab or time lets it go.
    Passing,
    /// None of these does.
    Stuck,
}

/// Gets a unit's members, what they wait for, and what they come after; returns whether to go on.
type VisitUnit<'a> = dyn FnMut(&[&Entry], Option<Wait>, Vec<Key>) -> bool + 'a;

impl Outbox {
    pub fn len(&self) -> usize {
        self.by_made.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_made.is_empty()
    }

    /// Bytes of all bodies.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn get(&self, key: Key) -> Option<&Entry> {
        self.slab[*self.by_key.get(&key)? as usize].as_ref()
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether an entry names this one in its `after`.
    pub fn is_followed(&self, key: Key) -> bool {
        self.followed.contains_key(&key)
    }

    pub fn set_state(&mut self, key: Key, state: State) {
        let Some(place) = self.by_key.get(&key) else { return };
        let Some(entry) = &mut self.slab[*place as usize] else { return };
        *self.counts.of(&entry.state) -= 1;
        *self.counts.of(&state) += 1;
        entry.state = state;
    }

    /// Makes an entry come after `new` instead of `old`.
    pub fn follow(&mut self, key: Key, old: Key, new: Key) {
        let Some(mut entry) = self.remove(key) else { return };
        entry.after.iter_mut().filter(|after| **after == old).for_each(|after| *after = new);
        self.insert(entry);
    }

    /// For everything but the state and what the indexes are made from: made, edits, releases, after, was, body.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Entry> {
        self.slab[*self.by_key.get(&key)? as usize].as_mut()
    }

    /// How often something has come or gone.
    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// The one made first.
    pub fn first(&self) -> Option<Made> {
        self.by_made.keys().next().copied()
    }

    /// The one made last.
    pub fn last(&self) -> Option<Made> {
        self.by_made.keys().next_back().copied()
    }

    /// In the order made.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.by_made.values().filter_map(|i| self.slab[*i as usize].as_ref())
    }

    /// The keys of those that are `wanted`, in the order made.
    pub fn keys(&self, wanted: &dyn Fn(&Entry) -> bool) -> Vec<Key> {
        let mut keys = Vec::new();
        for place in self.by_made.values() {
            keys.extend(self.slab[*place as usize].as_ref().filter(|entry| wanted(entry)).map(|entry| entry.made.key));
        }
        keys
    }

    /// The retry that stands for what was made then under this key.
    pub fn replacement(&self, made: Made) -> Option<Key> {
        self.made_at(made.at).find(|entry| entry.was.contains(&made.key)).map(|entry| entry.made.key)
    }

    /// Those made at the same time: retries of one transaction, unless two clocks agree.
    pub fn made_at(&self, at: u64) -> impl Iterator<Item = &Entry> {
        let places = self.by_made.range(Made { at, key: (0, 0) }..=Made { at, key: (u64::MAX, u64::MAX) });
        places.filter_map(|(_, place)| self.slab[*place as usize].as_ref())
    }

    /// The numbers of a client that are not settled, ascending.
    pub fn seqs_of(&self, client: u64) -> impl Iterator<Item = u64> + '_ {
        self.by_key.range((client, 0)..=(client, u64::MAX)).map(|(key, _)| key.1)
    }

    pub fn insert(&mut self, entry: Entry) {
        self.remove(entry.made.key);
        self.turns += 1;
        let place = self.free.pop().unwrap_or(self.slab.len() as u32);
        self.by_made.insert(entry.made, place);
        self.by_key.insert(entry.made.key, place);
        self.bytes += entry.body.len();
        *self.counts.of(&entry.state) += 1;
        for after in &entry.after {
            *self.followed.get_or_insert_with(*after, || 0) += 1;
        }
        for was in &entry.was {
            self.retries.insert((*was, entry.made.key));
        }
        for (index, row, role) in roles(&entry) {
            let index = if index { &mut self.own } else { &mut self.refs };
            index.get_or_insert_with((row, entry.made), || (0, place)).0 |= role;
        }
        match self.slab.get_mut(place as usize) {
            Some(free) => *free = Some(entry),
            None => self.slab.push(Some(entry)),
        }
    }

    pub fn remove(&mut self, key: Key) -> Option<Entry> {
        let place = self.by_key.remove(&key)?;
        let entry = self.slab[place as usize].take()?;
        self.turns += 1;
        self.free.push(place);
        self.by_made.remove(&entry.made);
        self.bytes -= entry.body.len();
        *self.counts.of(&entry.state) -= 1;
        for after in &entry.after {
            if let Some(count) = self.followed.get_mut(after) {
                *count -= 1;
                if *count == 0 {
                    self.followed.remove(after);
                }
            }
        }
        for was in &entry.was {
            self.retries.remove(&(*was, key));
        }
        for (index, row, _) in roles(&entry) {
            let index = if index { &mut self.own } else { &mut self.refs };
            index.remove(&(row, entry.made));
        }
        Some(entry)
    }

    // ---- who names a row ----

    /// Transactions with edits of a row, in the order made.
    pub fn touching(&self, row: RowKey) -> impl Iterator<Item = &Entry> {
        named(&self.own, row).filter_map(|(_, place)| self.slab[place as usize].as_ref())
    }

    /// Transactions that make a row refer to this one, or that change or delete one that did.
    pub fn referring(&self, row: RowKey) -> impl Iterator<Item = &Entry> {
        named(&self.refs, row).filter_map(|(_, place)| self.slab[place as usize].as_ref())
    }

    /// The transaction to which one made at this time owes a row: the last before it that makes the row, or else the next
    /// one. Not the next where the row is deleted in between, or where that one makes it again, for then it had been there: it may
    /// have gone with another row.
    fn creator(&self, row: RowKey, at: Made) -> Option<usize> {
        let mut found = None;
        for (key, (role, place)) in self.own.range((row, LOWEST)..=(row, HIGHEST)) {
            if key.1 > at && (found.is_some() || role & (DELETES | RESTORES) != 0) {
                break;
            }
            if role & CREATES != 0 {
                found = Some(*place as usize);
            } else if key.1 == at && role & DELETES != 0 {
                break;
            }
        }
        found
    }

    /// The transaction that makes a row.
    pub fn creator_of(&self, row: RowKey) -> Option<&Entry> {
        self.slab[self.creator(row, HIGHEST)?].as_ref()
    }

    pub fn creates(&self, row: RowKey) -> bool {
        named(&self.own, row).any(|(role, _)| role & CREATES != 0)
    }

    pub fn deletes(&self, row: RowKey) -> bool {
        named(&self.own, row).any(|(role, _)| role & DELETES != 0)
    }

    /// Appends the places of the transactions that must go before this one.
    fn dependencies(&self, place: usize, out: &mut Vec<usize>) {
        let Some(entry) = &self.slab[place] else { return };
        let mut found = Vec::new();
        for edit in &entry.edits {
            if !edit.makes() {
                found.extend(self.creator(edit.row, entry.made));
            }
            for (_, (role, place)) in self.own.range((edit.row, LOWEST)..(edit.row, entry.made)).rev() {
                // Those before it have gone before this one by then; for a create it is a delete of the same id that counts.
                if !edit.makes() || role & DELETES != 0 {
                    found.push(*place as usize);
                    break;
                }
            }
            if edit.op == Op::Delete {
                // What refers to the row must have come and gone, until it is made again.
                let mut later = self.own.range((edit.row, entry.made)..=(edit.row, HIGHEST));
                let again = later.find(|(key, (role, _))| key.1 > entry.made && role & CREATES != 0).map_or(HIGHEST, |(key, _)| key.1);
                for (key, (role, place)) in self.refs.range((edit.row, LOWEST)..=(edit.row, again)) {
                    if key.1 < entry.made || role & RELEASES != 0 {
                        found.push(*place as usize);
                    }
                }
            }
            for (_, target) in edit.references() {
                found.extend(self.creator(target, entry.made));
            }
        }
        for key in &entry.after {
            if let Some(place) = self.by_key.get(key) {
                found.push(*place as usize);
                continue;
            }
            // Whoever retried it may not have been the one to say so here. Of two retries one has come too late.
            let retries = self.retries.range((*key, (0, 0))..=(*key, (u64::MAX, u64::MAX)));
            let places = retries.filter_map(|retry| self.by_key.get(&retry.1)).map(|place| *place as usize);
            found.extend(places.filter(|place| !matches!(&self.slab[*place], Some(e) if e.came_too_late())));
        }
        sort_dedup(&mut found);
        // What the server has applied holds nobody up.
        found.retain(|p| *p != place && matches!(&self.slab[*p], Some(e) if !e.is_applied()));
        out.append(&mut found);
    }

    /// What other slots' transactions one must go after.
    pub fn seen_by(&self, key: Key) -> Vec<Key> {
        let (mut places, mut seen) = (Vec::new(), Vec::new());
        if let (Some(place), Some(entry)) = (self.by_key.get(&key), self.get(key)) {
            self.dependencies(*place as usize, &mut places);
            let others = places.into_iter().filter_map(|place| self.slab[place].as_ref()).filter(|other| other.slot != entry.slot);
            seen.extend(others.map(|other| other.made.key));
        }
        seen
    }

    /// The rows an entry refers to that neither the base nor any transaction has; a few are enough.
    pub fn missing(&self, entry: &Entry, lacks: &dyn Fn(&Edit, u16, RowKey) -> bool) -> Vec<RowKey> {
        let mut missing = Vec::new();
        for edit in &entry.edits {
            for (column, target) in edit.references() {
                if missing.len() < ROWS_SHOWN && self.creator(target, entry.made).is_none() && lacks(edit, column, target) {
                    missing.push(target);
                }
            }
        }
        missing
    }

    /// Why an entry cannot go by itself; its dependencies aside.
    fn wait(&self, entry: &Entry, sending: &Sending) -> Option<Wait> {
        if let State::Parked { .. } = entry.state {
            return Some(Wait::Parked);
        }
        if !entry.saved {
            return Some(Wait::Saving);
        }
        let missing = self.missing(entry, sending.lacks);
        if !missing.is_empty() {
            return Some(Wait::Rows(missing));
        }
        if !(entry.frozen || entry.slot == sending.own_slot) || entry.unseen_until_ms > sending.now_ms {
            return Some(Wait::Saving);
        }
        (entry.aside_until_ms > sending.now_ms).then_some(Wait::Aside)
    }

    /// Visits what is not applied in the order in which it would be sent. `unit` gets the members, whether they can go, and what
    /// they wait for; it returns `false` to stop.
    pub fn visit(&self, sending: &Sending, mut unit: impl FnMut(&[&Entry], Option<Wait>, Vec<Key>) -> bool) {
        self.visit_units(sending, &mut unit);
    }

    /// One copy of this in the wasm, whoever calls.
    fn visit_units(&self, sending: &Sending, unit: &mut VisitUnit) {
        let mut walk = Walk::new();
        let mut holds = vec![Hold::Free; self.slab.len()];
        let mut go_on = true;
        for root in self.by_made.values() {
            if matches!(&self.slab[*root as usize], Some(e) if e.is_applied()) {
                continue;
            }
            let edges = |place: usize, out: &mut Vec<usize>| self.dependencies(place, out);
            walk.visit(*root as usize, edges, |places| {
                let (members, wait, after, hold) = self.unit(places, &holds, sending);
                for place in places {
                    holds[*place] = hold;
                }
                go_on = go_on && unit(&members, wait, after);
            });
            if !go_on {
                return;
            }
        }
    }

    fn unit(&self, places: &[usize], holds: &[Hold], sending: &Sending) -> (Vec<&Entry>, Option<Wait>, Vec<Key>, Hold) {
        let (mut members, mut needs) = (Vec::new(), Vec::new());
        for place in places {
            members.extend(self.slab[*place].as_ref());
            self.dependencies(*place, &mut needs);
        }
        members.sort_unstable_by_key(|entry| entry.made);
        sort_dedup(&mut needs);
        let (mut wait, mut hold) = (None, Hold::Free);
        for entry in &members {
            let own = self.wait(entry, sending);
            let of_own = match own {
                None => Hold::Free,
                Some(Wait::Parked | Wait::Rows(_)) => Hold::Stuck,
                Some(_) => Hold::Passing,
            };
            if of_own > hold {
                (wait, hold) = (own, of_own);
            }
        }
        let (own, mut held, mut after) = (hold, Vec::new(), Vec::new());
        for place in needs {
            if let (false, Some(entry)) = (places.contains(&place), &self.slab[place]) {
                after.push(entry.made.key);
                if holds[place] > hold {
                    hold = holds[place];
                    held.clear();
                }
                if hold > own && holds[place] == hold && held.len() < ROWS_SHOWN {
                    held.push(entry.made.key);
                }
            }
        }
        if hold > own {
            wait = Some(Wait::Keys(held));
        }
        (members, wait, after, hold)
    }

    /// The next units to send, at most so many transactions and bytes; the first is taken whatever its size. `only` these keys,
    /// ascending.
    pub fn ready(&self, sending: &Sending, max_txns: usize, max_bytes: usize, only: Option<&[Key]>) -> Vec<Ready> {
        let (mut units, mut txns, mut bytes) = (Vec::new(), 0, 0);
        self.visit(sending, |members, wait, after| {
            let left_out = only.is_some_and(|only| !members.iter().all(|m| only.binary_search(&m.made.key).is_ok()));
            // What has failed alone is tried alone, so that it takes nobody with it.
            let suspect = members.iter().any(|m| m.aside_until_ms > 0);
            if wait.is_some() || left_out || (suspect && !units.is_empty()) {
                return true;
            }
            let size: usize = members.iter().map(|m| m.body.len() + 64).sum();
            if !units.is_empty() && (txns + members.len() > max_txns || bytes + size > max_bytes) {
                return false;
            }
            txns += members.len();
            bytes += size;
            units.push(Ready { keys: members.iter().map(|m| m.made.key).collect(), after });
            !suspect
        });
        // A unit may come after one that was left for a later request.
        let mut sent = SortedSet::new();
        units.retain(|unit: &Ready| {
            let ok = unit.after.iter().all(|key| sent.contains(key));
            for key in unit.keys.iter().filter(|_| ok) {
                sent.insert(*key);
            }
            ok
        });
        units
    }

    /// A transaction and all that cannot do without it.
    pub fn with_dependents(&self, key: Key) -> Vec<Key> {
        let mut group = vec![key];
        let mut known = SortedSet::new();
        known.insert(key);
        let mut next = 0;
        while let Some(entry) = group.get(next).and_then(|key| self.get(*key)) {
            next += 1;
            let mut join = |user: &Entry| {
                if known.insert(user.made.key) {
                    group.push(user.made.key);
                }
            };
            let place = self.by_key.get(&entry.made.key).map(|place| *place as usize);
            for edit in &entry.edits {
                // What came before a row is made again owes that nothing.
                let owes = |user: &&Entry| edit.op == Op::Create || self.creator(edit.row, user.made) == place;
                if edit.makes() {
                    self.touching(edit.row).filter(owes).for_each(&mut join);
                    self.referring(edit.row).filter(owes).for_each(&mut join);
                }
            }
            for key in std::iter::once(&entry.made.key).chain(&entry.was).filter(|key| self.is_followed(**key)) {
                for user in self.iter() {
                    if user.after.contains(key) {
                        join(user);
                    }
                }
            }
        }
        group
    }
}

const LOWEST: Made = Made { at: 0, key: (0, 0) };
const HIGHEST: Made = Made { at: u64::MAX, key: (u64::MAX, u64::MAX) };

fn named(index: &Index, row: RowKey) -> impl Iterator<Item = (u8, u32)> + '_ {
    index.range((row, LOWEST)..=(row, HIGHEST)).map(|(_, value)| *value)
}

/// The rows that an entry names: whether as its own, which, and as what.
fn roles(entry: &Entry) -> Vec<(bool, RowKey, u8)> {
    let mut roles = Vec::with_capacity(entry.edits.len() + entry.releases.len());
    for edit in &entry.edits {
        let role = match edit.op {
            Op::Create => CREATES,
            Op::Restore => CREATES | RESTORES,
            Op::Update => UPDATES,
            Op::Delete | Op::DeleteTree => DELETES,
        };
        roles.push((true, edit.row, role));
        for (_, target) in edit.references() {
            roles.push((false, target, REFERS));
        }
    }
    for row in &entry.releases {
        roles.push((false, *row, RELEASES));
    }
    roles
}

// ---- records: an entry as it stands on disk, and as tabs show it to each other ----

impl Entry {
    pub fn to_record(&self, schema: &Schema) -> String {
        let mut out = String::with_capacity(self.body.len() + 160);
        out.push_str("{\"made\":");
        write_uint(self.made.at, &mut out);
        out.push_str(",\"client\":\"");
        write_hex64(self.made.key.0, &mut out);
        out.push_str("\",\"seq\":");
        write_uint(self.made.key.1, &mut out);
        write_pairs(",\"was\":[", &self.was, &mut out);
        write_pairs(",\"after\":[", &self.after, &mut out);
        write_pairs(",\"seen\":[", &self.seen, &mut out);
        if !self.releases.is_empty() {
            if self.outdated {
                // These names are not those of the body's version.
                out.push_str(",\"names\":");
                write_uint(u64::from(schema.version), &mut out);
            }
            out.push_str(",\"releases\":[");
            for (i, row) in self.releases.iter().enumerate() {
                out.push_str(if i > 0 { ",[\"" } else { "[\"" });
                out.push_str(&schema.tables[row.table as usize].name);
                out.push_str("\",\"");
                row.id.write(&mut out);
                out.push_str("\"]");
            }
            out.push(']');
        }
        if let State::Parked { problem, spent } = &self.state {
            out.push_str(if *spent { ",\"spent\":true,\"parked\":" } else { ",\"parked\":" });
            problem.write_json(&mut out);
        }
        if self.suspended {
            out.push_str(",\"suspended\":true");
        }
        if self.awaits {
            out.push_str(",\"awaits\":true");
        }
        if self.unanswered {
            out.push_str(",\"unanswered\":true");
        }
        if let Some(before) = self.upgraded {
            out.push_str(",\"upgraded\":\"");
            write_hex128(before, &mut out);
            out.push('"');
        }
        // On a line of its own: the bytes must come back as they were.
        out.push_str("}\n");
        out.push_str(&self.body);
        out
    }

    /// Writes the body anew, in the present version. Returns whether it could be.
    pub fn upgrade(&mut self, schema: &Schema) -> bool {
        let Some(body) = self.reworded(schema).filter(|body| body.len() <= crate::limits::TXN_BYTES && self.state == State::Queued) else {
            return false;
        };
        self.upgraded = Some(body_hash(&self.body));
        (self.body, self.outdated) = (body, false);
        self.version += 1;
        true
    }

    /// The body as it is in the present version.
    fn reworded(&self, schema: &Schema) -> Option<String> {
        Some(Txn::parse(schema, &self.body).ok()?.to_body(schema, self.made.at))
    }

    /// Whether this is what somebody has sent with a body of this hash: as it stands here, as it did before it was upgraded, or, for what
    /// came in a file, as it does where it was made and has been upgraded since.
    pub fn is_same(&self, schema: &Schema, hash: u128) -> bool {
        let elsewhere = || self.reworded(schema).is_some_and(|body| body_hash(&body) == hash);
        hash == body_hash(&self.body) || self.upgraded == Some(hash) || (self.outdated && self.slot == IMPORTED && elsewhere())
    }

    /// Another retry of the same has taken effect.
    fn came_too_late(&self) -> bool {
        matches!(&self.state, State::Parked { problem, .. } if problem.code == "too_late")
    }

    pub fn is_applied(&self) -> bool {
        matches!(self.state, State::Applied { .. })
    }

    /// Reads a record: two lines. What is on disk may have been sent, so it comes back frozen.
    pub fn from_record(schema: &Schema, slot: u32, text: &str) -> Option<Entry> {
        let (head, body) = text.split_once('\n').filter(|(_, body)| !body.contains('\n'))?;
        let json = Json::parse(head).ok()?;
        let spent = json.flag("spent");
        let mut parked = json.get("parked").map(|problem| State::Parked { problem: Problem::from_json(problem), spent });
        let (edits, version) = match Txn::parse_versioned(schema, body) {
            Ok((txn, version)) => (txn.edits, version),
            // There is nothing to send any more, and its maker shall hear of that.
            Err(problem) if problem.code == "schema_dropped" => {
                parked = parked.or(Some(State::Parked { problem, spent }));
                (Vec::new(), body_version(body)? as u32)
            }
            Err(_) => return None,
        };
        let names = json.uint("names").map_or(version, |version| version as u32);
        if names > schema.version {
            return None;
        }
        let mut releases = Vec::new();
        for row in json.list("releases") {
            if let Some(table) = table_now(schema, names, row.at(0)?.as_str()?) {
                releases.push(RowKey { table, id: RowId::parse(row.at(1)?.as_str()?)? });
            }
        }
        let suspended = json.flag("suspended");
        let made = Made { at: json.uint("made")?, key: (crate::dedupe::read_id(json.get("client"))?, json.uint("seq")?) };
        Some(Entry {
            made,
            slot,
            edits,
            releases,
            after: read_pairs(json.list("after"))?,
            seen: read_pairs(json.list("seen"))?,
            awaits: json.flag("awaits"),
            was: read_pairs(json.list("was"))?,
            state: parked.unwrap_or(State::Queued),
            version: 0,
            saved: true,
            calm: false,
            frozen: true,
            unanswered: json.flag("unanswered"),
            fails: 0,
            passes_before: None,
            // A suspended one is tried again, but alone.
            aside_until_ms: u64::from(suspended),
            unseen_until_ms: 0,
            suspended,
            rewritten: false,
            outdated: version < schema.version,
            upgraded: json.text("upgraded").and_then(parse_hex128),
            body: body.to_string(),
        })
    }
}

/// The version of the schema in whose terms a record is.
pub(crate) fn record_version(text: &str) -> Option<u64> {
    let (head, body) = text.split_once('\n')?;
    Json::parse_or_null(head).uint("names").max(body_version(body))
}

/// The version of the schema under which a body was made.
fn body_version(body: &str) -> Option<u64> {
    Json::parse_or_null(body).uint("schema")
}

fn write_pairs(head: &str, keys: &[Key], out: &mut String) {
    for (i, (client, seq)) in keys.iter().enumerate() {
        out.push_str(if i > 0 { ",[\"" } else { head });
        out.push_str(if i > 0 { "" } else { "[\"" });
        write_hex64(*client, out);
        out.push_str("\",");
        write_uint(*seq, out);
        out.push(']');
    }
    out.push_str(if keys.is_empty() { "" } else { "]" });
}

fn read_pairs(list: &[Json]) -> Option<Vec<Key>> {
    let mut keys = Vec::with_capacity(list.len());
    for pair in list {
        keys.push(read_pair(pair)?);
    }
    Some(keys)
}

impl Txn {
    /// An entry for a transaction just made, with its body.
    pub fn into_entry(self, body: String, made: Made, slot: u32, releases: Vec<RowKey>, after: Vec<Key>) -> Entry {
        let state = State::Queued;
        let (version, saved, frozen, unanswered, fails, aside_until_ms, suspended) = (0, false, false, false, 0, 0, false);
        let was = Vec::new();
        let passes_before = None;
        Entry {
            passes_before,
            made,
            slot,
            body,
            edits: self.edits,
            releases,
            after,
            seen: Vec::new(),
            awaits: false,
            was,
            state,
            version,
            saved,
            calm: false,
            frozen,
            unanswered,
            fails,
            aside_until_ms,
            unseen_until_ms: 0,
            suspended,
            rewritten: false,
            outdated: false,
            upgraded: None,
        }
    }
}
