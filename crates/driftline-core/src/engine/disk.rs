//! What is read from disk: the base, and what waits in the outboxes.

use super::{Effect, Engine, IMPORTED, read_keys};
use crate::edit::Op;
use crate::json::Json;
use crate::merge::Hlc;
use crate::outbox::{Entry, Key};
use crate::schema::Schema;
use crate::sorted::{SortedMap, SortedSet};
use crate::upgrade::upgrade_snapshot;
use crate::value::{parse_hex64, write_hex64, write_string, write_uint};
use crate::wire::{Revision, read_base, read_revisions};

/// What is on disk, as the shell finds it.
#[derive(Debug, Default, Clone)]
pub struct Disk {
    /// The last `meta` committed.
    pub meta: Option<String>,
    /// The last `base` committed, in order.
    pub base: Vec<String>,
    /// The tails committed since, by revision.
    pub tails: Vec<String>,
    pub slots: Vec<SlotDisk>,
}

#[derive(Debug, Default, Clone)]
pub struct SlotDisk {
    pub slot: u32,
    pub records: Vec<String>,
    pub high: Vec<Key>,
}

impl SlotDisk {
    pub(crate) fn keys(&self) -> SortedSet<Key> {
        let mut keys = SortedSet::new();
        for record in &self.records {
            if let Some(key) = record_key(record) {
                keys.insert(key);
            }
        }
        keys
    }

    /// Whether a key was there and has been deleted: deleting raises `high`. One that is neither among the records nor below
    /// was written after this was read, or lost.
    pub(crate) fn deleted(&self, records: &SortedSet<Key>, key: Key) -> bool {
        self.is_known(key) && !records.contains(&key)
    }

    /// Whether a key is below what has been deleted.
    pub(crate) fn is_known(&self, key: Key) -> bool {
        self.high.iter().any(|high| high.0 == key.0 && key.1 <= high.1)
    }
}

/// A record that cannot be read. It stays on disk, and its number stays open.
pub(crate) struct Damaged {
    pub slot: u32,
    pub key: Key,
    pub record: String,
}

impl Engine {
    /// What was found on disk when the space was opened. Edits made before it came stay on top of it.
    pub fn handle_opened(&mut self, now_ms: u64, disk: Disk) {
        // Where the slot could not be read at first, this tab has a client id of its own.
        for slot in disk.slots.iter().filter(|slot| slot.slot == self.slot) {
            let others = |key: &Key| key.0 != self.client;
            self.earlier.extend(slot.high.iter().copied().filter(others));
            self.earlier.extend(slot.keys().iter().copied().filter(others));
        }
        self.load(disk);
        self.loaded = true;
        self.tell_peers_opened();
        self.doubt_earlier_sender();
        self.effects.push_back(Effect::Event("{\"event\":\"loaded\"}".to_string()));
        self.pump(now_ms);
    }

    /// The disk read again, because this tab missed something.
    pub fn handle_reloaded(&mut self, now_ms: u64, disk: Disk) {
        // What was on disk and was deleted there has been settled. What is missing for any other reason is written again.
        let known = self.reloading.take().unwrap_or_default();
        let mut gone = Vec::new();
        for slot in &disk.slots {
            let records = slot.keys();
            for &key in &known {
                let of_slot = self.outbox.get(key).is_some_and(|entry| entry.slot == slot.slot);
                if !of_slot || records.contains(&key) {
                    continue;
                }
                if slot.deleted(&records, key) {
                    gone.push(key);
                } else if slot.slot == self.slot {
                    self.put(key);
                }
            }
        }
        for key in &gone {
            self.outbox.remove(*key);
        }
        self.event_keys("accepted", &gone);
        self.confirm(&gone);
        self.note_disk_rev(disk.meta.as_deref().and_then(disk_rev));
        // What began to be read before the base was replaced is not that base: the next read is.
        let anew = self.replaced && self.reload_again;
        self.replaced &= !anew;
        self.load(disk);
        self.replaced |= anew;
        self.gone_meanwhile = SortedMap::new();
        // What was read may be older than what has been told since. What is damaged is not read again until it has been mended.
        let behind = self.sender.is_none() && self.replica.rev < self.disk_heard && !self.torn;
        if std::mem::take(&mut self.reload_again) || behind {
            self.ask_reload();
        }
        self.pump(now_ms);
    }

    fn load(&mut self, mut disk: Disk) {
        let meta = read_meta(disk.meta.as_deref());
        let mut torn = meta.is_null() && disk.meta.is_some();
        self.load_outbox(&disk, &meta, false);
        let version = meta.uint("schema").map_or(self.schema.version, |version| version as u32);
        self.outdated |= version > self.schema.version;
        let is_old = version < self.schema.version;
        let had_base = !disk.base.is_empty();
        let snapshot = match (!had_base || self.outdated, is_old) {
            (true, _) => None,
            (_, true) => upgrade_snapshot(&self.schema, version, &(disk.base.concat() + crate::wire::SNAPSHOT_END)),
            (_, false) => read_base(&self.schema, std::mem::take(&mut disk.base)),
        };
        // What is written next is of the present version, all of it.
        if is_old {
            self.rewrites = true;
            self.rewrite_base();
        }
        torn |= snapshot.is_none() && had_base && !self.outdated;
        let mut tails: Vec<Revision> = Vec::new();
        for tail in &disk.tails {
            let Some(revisions) = read_tail(&self.schema, version, tail) else {
                torn |= !self.outdated;
                break;
            };
            tails.extend(revisions);
        }
        let found = snapshot.is_some() && !torn;
        // The other tabs' word may have led further than the disk, from the empty base of revision 0 too.
        let forced = std::mem::take(&mut self.replaced);
        let keep = !forced
            && self.replica.rev > 0
            && snapshot.as_ref().is_some_and(|s| tails.last().map_or(s.rev, |t| t.rev.max(s.rev)) <= self.replica.rev);
        let change = |base: &mut crate::replica::Base| {
            let Some(snapshot) = snapshot.filter(|_| !keep) else { return };
            base.replace(snapshot.rev, snapshot.digest, snapshot.rows);
            let mut defaults = Vec::new();
            for revision in tails {
                if revision.rev == base.rev() + 1 {
                    for change in revision.parts.iter().flat_map(|part| part.changes.as_deref().unwrap_or(&[])) {
                        if change.op == Op::Restore {
                            defaults.push(change.clone());
                        } else {
                            base.changes(std::slice::from_ref(change), &mut Vec::new());
                        }
                    }
                    base.set_rev(revision.rev);
                }
            }
            defaults.iter().for_each(|made| base.make_default(made));
        };
        let patches = self.replica.rebase(&self.schema, change, &self.outbox);
        // What the server has contradicted only its snapshot replaces: the disk holds the same.
        let doubted = self.sender.as_ref().is_some_and(|sender| sender.doubts);
        self.has_base |= found && !doubted;
        self.effects.extend(patches.into_iter().map(Effect::Patch));
        if torn && !self.torn {
            self.report("base_corrupt", "the copy of the space on this device was damaged; it is fetched again");
        }
        self.torn = torn;
        if torn {
            self.write_base_again();
        }
    }

    /// `closed`: no tab holds the slots. What an open tab has written it may still alter, until it offers it.
    pub(crate) fn load_outbox(&mut self, disk: &Disk, meta: &Json, closed: bool) {
        for (client, receipt) in meta.get("receipts").and_then(Json::as_object).unwrap_or(&[]) {
            if let (Some(client), Some(receipt)) = (parse_hex64(client), receipt.as_str().and_then(parse_hex64)) {
                self.receipts.insert(client, receipt);
            }
        }
        let mut answered = read_keys(meta.list("answered"));
        answered.sort_unstable();
        let open_again = if self.replaced { self.reopen(meta.uint("rev").unwrap_or(0)) } else { Vec::new() };
        let (before, shared) = (self.high.clone(), self.shared.clone());
        let over = |key: Key| shared.contains(&key) || before.get(&key.0).is_some_and(|high| key.1 <= *high);
        let (mut replaced, mut stood_for) = (Vec::new(), Vec::new());
        for slot in &disk.slots {
            let imported = slot.slot == IMPORTED;
            for high in &slot.high {
                self.see_number(slot.slot, *high);
            }
            for record in &slot.records {
                let Some(mut entry) = Entry::from_record(&self.schema, slot.slot, record) else {
                    self.set_aside(slot.slot, record);
                    continue;
                };
                entry.frozen = closed || imported || slot.slot == self.slot;
                entry.unanswered = entry.frozen;
                let key = entry.made.key;
                // What was never sent, by this tab either, may as well be of the present version. Nobody else can be sending it now.
                let unsent = closed && !imported && entry.made.at > self.sent_before.max(self.sent_on_disk);
                let upgraded = entry.outdated && unsent && entry.upgrade(&self.schema);
                // A read that began before the record was deleted. What an earlier sender only meant to delete is now this tab's, or waits
                // again.
                let waits_again = open_again.contains(&key);
                let gone = self.gone_meanwhile.get(&key).is_some_and(|deleted| *deleted || !(closed || waits_again));
                let was_over = !waits_again
                    && self.loaded
                    && !closed
                    && !imported
                    && over(key)
                    && self.outbox.get(key).is_none()
                    && !self.unheard.contains_key(&key);
                self.see_number(slot.slot, key);
                self.clock = self.clock.max(Hlc(entry.made.at));
                replaced.extend(entry.was.iter().map(|was| (*was, entry.made.at, key)));
                // What a file brings after that may have been forgotten by a server that was set back.
                if answered.binary_search(&key).is_ok() && !imported {
                    // Its effect is in the base: only the record was left behind.
                    self.outbox.remove(key);
                    self.delete(slot.slot, key);
                    continue;
                }
                if imported && self.is_settled(key) {
                    // A file has brought once more what the base holds by now.
                    self.settle_again(slot.slot, key);
                }
                self.note_twice(slot.slot, key);
                // An earlier sender has told how it writes this anew, and may have died before it had.
                let is_older = |known: &Entry| known.upgraded.is_some() && known.body != entry.body;
                if self.sender.is_some() && self.outbox.get(key).is_some_and(is_older) {
                    self.put(key);
                }
                // What this tab has in memory is as new or newer.
                if self.outbox.get(key).is_none() && !self.is_leaving(slot.slot, key) && !self.is_settled(key) && !was_over && !gone {
                    if let Some(new) = self.outbox.replacement(entry.made) {
                        stood_for.push((slot.slot, entry.made, new));
                        continue;
                    }
                    // Whatever was said of it: it is there, and waits.
                    self.early.remove(&key);
                    self.outbox.insert(entry);
                    if upgraded {
                        self.put(key);
                    }
                }
            }
        }
        for &(was, at, new) in &replaced {
            if self.outbox.get(was).is_some_and(|old| old.made.at == at)
                && let Some(old) = self.outbox.remove(was)
            {
                self.delete_spent(old.slot, was, new);
            }
        }
        for (slot, old, new) in stood_for {
            if replaced.iter().any(|(was, at, _)| (*was, *at) == (old.key, old.at)) {
                // The retry has been read, too.
                self.delete_spent(slot, old.key, new);
            } else if self.sender.is_some() {
                self.drop_replaced(slot, old.key, new);
            }
        }
        self.note_answered(answered);
    }

    /// Notes a record that cannot be read, and says so once.
    fn set_aside(&mut self, slot: u32, record: &str) {
        let Some(key) = record_key(record) else { return };
        // Its number stays open, for what reads it later may still send it, and is not given to anything else.
        self.unheard.insert(key, slot);
        self.see_number(slot, key);
        if crate::outbox::record_version(record).is_some_and(|version| version > u64::from(self.schema.version)) {
            // A newer page has written it, and will read it.
            self.outdated = true;
            return;
        }
        if self.damaged.iter().all(|damaged| damaged.key != key) {
            let found = Json::parse_or_null(record).text("damaged").unwrap_or(record).to_string();
            self.damaged.push(Damaged { slot, key, record: found });
            self.report("record_corrupt", "an edit on this device cannot be read; it was set aside, and `damaged` has it");
        }
    }
}

fn read_tail(schema: &Schema, version: u32, text: &str) -> Option<Vec<Revision>> {
    read_revisions(schema, version, Json::parse(text).ok()?.take("changes")?)
}

/// Null where there is none, or what there is cannot be told.
pub(crate) fn read_meta(text: Option<&str>) -> Json<'_> {
    let meta = Json::parse_or_null(text.unwrap_or(""));
    // A deleted space leaves no revision behind, but its receipts.
    if meta.uint("rev").is_some() || meta.get("receipts").is_some() { meta } else { Json::Null }
}

/// A record for what stands under a key and is not its record: one that cannot be read, and tells its key.
pub fn damaged_record((client, seq): Key, found: &str) -> String {
    let mut out = String::from("{\"client\":\"");
    write_hex64(client, &mut out);
    out.push_str("\",\"seq\":");
    write_uint(seq, &mut out);
    out.push_str(",\"damaged\":");
    write_string(found, &mut out);
    out.push('}');
    out
}

/// The key of a record as it stands on disk.
pub fn record_key(record: &str) -> Option<Key> {
    let head = record.split_once('\n').map_or(record, |parts| parts.0);
    let json = Json::parse(head).ok()?;
    Some((crate::dedupe::read_id(json.get("client"))?, json.uint("seq")?))
}

/// The revision that a `meta` tells of.
pub fn disk_rev(meta: &str) -> Option<u64> {
    read_meta(Some(meta)).uint("rev")
}
