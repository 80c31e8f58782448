//! A device, and what its browser keeps of one user's work on one space: databases, whose transactions commit later and one
//! after the other, locks, and the channel between tabs.

use super::journal::Story;
use super::server::{Key, Principal};
use super::transfer::Leaving;
use driftline_core::engine::{Disk, IMPORTED, SlotDisk, damaged_record, record_key};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub type TabId = u64;

/// Counts the lives of disks: a disk that came back older, or was copied, begins another.
pub type Lineage = u32;

/// What all stores of a device have in common.
#[derive(Clone)]
pub struct Device {
    pub online: bool,
    /// Of which version of the schema the pages are that it opens.
    pub version: usize,
    /// How far the system's clock is ahead, in milliseconds; below 0 it is behind.
    pub ahead: i64,
    pub user: Principal,
    /// The client id of each user's slots.
    pub clients: BTreeMap<(Principal, u32), u64>,
    /// Until then nothing more fits on its disk.
    pub full_until: u64,
    /// It is a copy, or there is one, or it came back older.
    pub forked: bool,
    /// Until then nothing runs on it and it has no network, and whether it has one afterwards.
    pub asleep_until: u64,
    pub wakes_online: bool,
}

impl Device {
    /// What its clock shows.
    pub fn clock_ms(&self, now: u64) -> u64 {
        now.saturating_add_signed(self.ahead)
    }
}

#[derive(Default, Clone)]
pub struct SlotDb {
    pub records: BTreeMap<Key, String>,
    pub high: BTreeMap<u64, u64>,
}

impl SlotDb {
    /// The highest number ever used by each client: noted when records were deleted, or that of a record.
    fn used(&self) -> BTreeMap<u64, u64> {
        let mut high = self.high.clone();
        for (client, seq) in self.records.keys() {
            let known = high.entry(*client).or_insert(0);
            *known = (*known).max(*seq);
        }
        high
    }
}

#[derive(Default, Clone)]
pub struct BaseDb {
    pub epoch: u64,
    pub meta: Option<String>,
    pub chunks: Vec<String>,
    pub tails: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Db {
    Base,
    Slot(u32),
}

/// A transaction on a database, until it commits.
pub struct Write {
    pub tab: TabId,
    pub db: Db,
    pub work: Work,
}

pub enum Work {
    Save {
        id: u64,
        client: Option<u64>,
        puts: Vec<(Key, String)>,
        deletes: Vec<Key>,
    },
    /// Of a file, with what is told to every tab once it is on disk.
    Import {
        puts: Vec<(Key, String)>,
        stories: Vec<(Key, Story)>,
        message: String,
    },
    Commit {
        id: u64,
        epoch: u64,
        meta: String,
        tail: Option<String>,
        base: Option<Vec<String>>,
    },
    Lead,
    RenewEpoch {
        held: u64,
        at_least: u64,
    },
}

/// What came of a transaction.
pub enum Done {
    Saved {
        slot: u32,
        id: u64,
    },
    SaveFailed {
        slot: u32,
        id: u64,
    },
    /// With what is to be told.
    Imported {
        message: String,
    },
    ImportFailed,
    Committed {
        id: u64,
    },
    CommitFailed {
        id: u64,
        code: &'static str,
    },
    Led {
        epoch: u64,
    },
    Epoch(Option<u64>),
}

/// What is on the disk, and nothing else.
#[derive(Default, Clone)]
pub struct Image {
    pub slots: BTreeMap<u32, SlotDb>,
    pub base: BaseDb,
}

impl Image {
    /// What is left of a space that is deleted: the highest numbers, the epoch, and of the notes the receipts and how far was sent.
    pub fn without_rows(&self) -> Image {
        let left = |slot: &SlotDb| SlotDb { high: slot.used(), ..SlotDb::default() };
        let meta: Json = self.base.meta.as_deref().and_then(|meta| serde_json::from_str(meta).ok()).unwrap_or_default();
        let kept = |name: &str, default: Json| meta.get(name).cloned().unwrap_or(default);
        let meta = json!({"receipts": kept("receipts", json!({})), "sent": kept("sent", json!(0))}).to_string();
        let base = BaseDb { epoch: self.base.epoch, meta: Some(meta), ..BaseDb::default() };
        Image { slots: self.slots.iter().map(|(slot, db)| (*slot, left(db))).collect(), base }
    }
}

/// The keys that a record had before somebody decided about it.
pub fn stands_for(record: &str) -> Vec<Key> {
    if !record.contains("\"was\":") {
        return Vec::new();
    }
    let head = record.lines().next().unwrap_or_default();
    let json: Json = serde_json::from_str(head).unwrap_or_default();
    let key = |was: &Json| Some((u64::from_str_radix(was[0].as_str()?, 16).ok()?, was[1].as_u64()?));
    json["was"].as_array().into_iter().flatten().filter_map(key).collect()
}

/// What cannot be told to be over: what has a record or is replaced by what has one, and the numbers that are given later.
#[derive(Default)]
pub struct Open {
    pub keys: BTreeSet<Key>,
    pub high: BTreeMap<u64, u64>,
}

pub struct Store {
    pub device: usize,
    pub principal: Principal,
    pub space: usize,
    pub lineage: Lineage,
    /// It was copied, or came back older: what others know of its numbers may not be what it knows.
    pub forked: bool,
    /// Work of it has left in a file, or came in one: another disk may hold it, too.
    pub shared: bool,
    /// It has taken in a file. Of rows that others made, it may have edits alone: they were left out, or given up where the file was made.
    pub partial: bool,
    /// A base could not be written: what was sent then was not marked as such, and the next version may have put it in its own words.
    pub unmarked: bool,
    /// What somebody does while the next write is under way.
    pub leaving: Option<Leaving>,
    /// An import was written, and its tab died before it told the others.
    pub untold: bool,
    /// The sending tab waits for the end of an import, to take over what that brings.
    pub awaits_import: bool,
    /// When one of its tabs last heard of the server.
    pub heard_at: u64,
    /// What was open as the last request left: nothing has been sent since to say that it is off the disk.
    pub open_then: Open,
    /// When a file had last been written here, and was about to be told of.
    pub brought_at: u64,
    /// What has been deleted, and until when the tab that did has not heard so.
    pub unheard: Vec<(u64, Key)>,
    pub disk: Image,
    /// The revision of a base of which a part was torn: what was settled up to there is on no disk until it is fetched again.
    pub torn_rev: u64,
    /// Transactions under way, in the order in which they were begun.
    pub writes: BTreeMap<u64, Write>,
    /// When the last transaction of a database commits.
    pub busy: BTreeMap<Db, u64>,
    pub slot_locks: BTreeMap<u32, TabId>,
    pub lead: Option<TabId>,
    pub lead_queue: VecDeque<TabId>,
    /// When the last message from one tab to another arrives.
    pub channel: BTreeMap<(TabId, TabId), u64>,
    /// Ids of rows that somebody has referred to before they were made: table and id.
    pub promised: Vec<(u16, u128)>,
}

impl Store {
    pub fn new(device: usize, principal: Principal, space: usize, lineage: Lineage) -> Store {
        Store {
            device,
            principal,
            space,
            lineage,
            forked: false,
            shared: false,
            unmarked: false,
            leaving: None,
            untold: false,
            partial: false,
            awaits_import: false,
            heard_at: 0,
            open_then: Open::default(),
            brought_at: 0,
            unheard: Vec::new(),
            disk: Image::default(),
            torn_rev: 0,
            writes: BTreeMap::new(),
            busy: BTreeMap::new(),
            slot_locks: BTreeMap::new(),
            lead: None,
            lead_queue: VecDeque::new(),
            channel: BTreeMap::new(),
            promised: Vec::new(),
        }
    }

    /// A request goes out.
    pub fn note_open(&mut self, now: u64) {
        let mut high = BTreeMap::new();
        for (client, seq) in self.disk.slots.values().flat_map(SlotDb::used) {
            let known = high.entry(client).or_insert(0);
            *known = seq.max(*known);
        }
        self.unheard.retain(|unheard| unheard.0 >= now);
        let mut keys = self.open();
        keys.extend(self.unheard.iter().map(|unheard| unheard.1));
        self.open_then = Open { keys, high };
    }

    /// The keys of what is on disk, and of what that stands for.
    pub fn open(&self) -> BTreeSet<Key> {
        let records = self.disk.slots.values().flat_map(|db| &db.records);
        records.flat_map(|(key, record)| std::iter::once(*key).chain(stands_for(record))).collect()
    }

    pub fn lowest_free_slot(&self) -> u32 {
        (0..).find(|slot| !self.slot_locks.contains_key(slot)).unwrap_or(0)
    }

    /// Carries a transaction out, but for the client id, which belongs to the device. `fails` aborts a write.
    pub fn carry_out(&mut self, write: Write, fails: bool) -> Done {
        let base = &mut self.disk.base;
        match write.work {
            Work::Save { id, puts, deletes, .. } => {
                let Db::Slot(slot) = write.db else { return Done::SaveFailed { slot: 0, id } };
                if fails {
                    return Done::SaveFailed { slot, id };
                }
                let db = self.disk.slots.entry(slot).or_default();
                db.records.extend(puts);
                for key in deletes {
                    db.records.remove(&key);
                    let high = db.high.entry(key.0).or_insert(0);
                    *high = (*high).max(key.1);
                }
                Done::Saved { slot, id }
            }
            Work::Import { .. } if fails => Done::ImportFailed,
            Work::Import { puts, message, .. } => {
                self.disk.slots.entry(IMPORTED).or_default().records.extend(puts);
                Done::Imported { message }
            }
            Work::Commit { id, epoch, meta, tail, base: chunks } => {
                if base.epoch != epoch {
                    return Done::CommitFailed { id, code: "stale_epoch" };
                }
                if fails {
                    return Done::CommitFailed { id, code: "quota" };
                }
                base.meta = Some(meta);
                if let Some(chunks) = chunks {
                    base.chunks = chunks;
                    base.tails.clear();
                }
                base.tails.extend(tail);
                Done::Committed { id }
            }
            Work::Lead => {
                base.epoch += 1;
                Done::Led { epoch: base.epoch }
            }
            Work::RenewEpoch { held, at_least } => {
                if base.epoch != held {
                    return Done::Epoch(None);
                }
                base.epoch = base.epoch.max(at_least);
                Done::Epoch(Some(base.epoch))
            }
        }
    }

    pub fn read_base(&self, disk: &mut Disk) {
        disk.meta = self.disk.base.meta.clone();
        disk.base = self.disk.base.chunks.clone();
        disk.tails = self.disk.base.tails.clone();
    }

    pub fn read_slots(&self, disk: &mut Disk) {
        disk.slots = self.disk.slots.keys().map(|slot| self.read_slot(*slot)).collect();
    }

    pub fn read_slot(&self, slot: u32) -> SlotDisk {
        let records = self.disk.slots.get(&slot).into_iter().flat_map(|db| &db.records);
        // Of what is damaged the key is known all the same.
        let read = |(key, text): (&Key, &String)| match record_key(text) == Some(*key) {
            true => text.clone(),
            false => damaged_record(*key, text),
        };
        SlotDisk { slot, records: records.map(read).collect(), high: self.high(slot) }
    }

    pub fn high(&self, slot: u32) -> Vec<Key> {
        self.disk.slots.get(&slot).map(|db| db.used().into_iter().collect()).unwrap_or_default()
    }

    pub fn record(&self, key: Key) -> Option<&String> {
        self.records(key).next()
    }

    /// What was torn in one slot may have come in a file into another.
    pub fn records(&self, key: Key) -> impl Iterator<Item = &String> {
        self.disk.slots.values().filter_map(move |db| db.records.get(&key))
    }

    /// The revision of the base on disk.
    pub fn disk_rev(&self) -> Option<u64> {
        let meta: serde_json::Value = serde_json::from_str(self.disk.base.meta.as_ref()?).ok()?;
        meta.get("rev")?.as_u64()
    }
}
