//! The client's control flow, one engine per tab and space.
//!
//! Call a command or a `handle_*` method, then drain [`Engine::poll`] and carry out the effects in order; what comes of
//! them goes back in through `handle_*`. Time is an argument. An edit is in the view when [`Engine::transact`] returns,
//! on disk when its `Save` has succeeded, and may be sent only then.
//!
//! Every tab makes edits (`making`), saves them (`saving`) and reads what there is (`disk`); this file holds what they share. `sender` is what
//! the one tab does that sends for all, `peers` what tabs tell each other, `report` what the app is told.

mod disk;
mod making;
mod saving;

use crate::dedupe::is_shared;
use crate::edit::{Edit, Op};
use crate::json::Json;
use crate::merge::Hlc;
use crate::outbox::{Entry, Key, Outbox, Sending};
use crate::reconcile::mix;
use crate::replica::Replica;
use crate::schema::Schema;
use crate::sender::Sender;
use crate::sorted::{SortedMap, SortedSet};
use crate::undo::History;
use crate::value::{RowKey, parse_hex64, write_hex64, write_uint};
use crate::wire::{Part, Revision};
use saving::Saver;
use std::collections::VecDeque;
use std::rc::Rc;

pub(crate) use disk::{Damaged, read_meta};
pub use disk::{Disk, SlotDisk, damaged_record, disk_rev, record_key};
pub(crate) use saving::Replaces;

/// The slot of what was imported: other devices' transactions under their keys. No tab holds it, and its clients are not ours: their
/// numbers are never closed here, for the device that made them may still send others.
pub const IMPORTED: u32 = 256;

/// A timer that is so late is set anew.
const OVERDUE_MS: u64 = 1_000;

pub struct Config {
    pub schema: Schema,
    /// The slot of this tab: its outbox's database.
    pub slot: u32,
    /// The slot's present client id.
    pub client: u64,
    /// The highest number ever used by each client of the slot.
    pub high: Vec<Key>,
    /// The same of the slot [`IMPORTED`]: files may have brought what a copy of this profile has made under this client id.
    pub imported: Vec<Key>,
    /// Makes jitter and new ids.
    pub seed: u64,
    /// More than this waits, and an edit is refused.
    pub outbox_txns: usize,
    pub outbox_bytes: usize,
}

/// What the shell has to do. Ids come back with the result.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Write to the outbox of a slot, in one strict transaction. Afterwards `high` of each client is at least the highest
    /// number deleted.
    Save {
        id: u64,
        slot: u32,
        client: Option<u64>,
        puts: Vec<(Key, String)>,
        deletes: Vec<Key>,
    },
    /// Write the base, in one transaction that first checks that the space's epoch is still this one.
    Commit {
        id: u64,
        epoch: u64,
        meta: String,
        tail: Option<(u64, String)>,
        base: Option<Vec<String>>,
    },
    /// `POST …/reconcile`.
    Push {
        id: u64,
        body: String,
    },
    /// `GET …/snapshot`.
    Fetch {
        id: u64,
    },
    /// Give up a request.
    Abort {
        id: u64,
    },
    /// Open the live connection at this cursor.
    Connect {
        cursor: u64,
    },
    Disconnect,
    /// Tell the other tabs.
    Broadcast(String),
    /// Read base and outboxes from disk again.
    Reload,
    /// If the epoch on disk is still ours, raise it to at least this; else it is another tab's turn.
    RenewEpoch {
        at_least: u64,
    },
    /// Change what the application sees.
    Patch(String),
    /// Tell the application.
    Event(String),
    /// The sending tab does not answer: take its turn away and send instead.
    Replace,
    /// Call [`Engine::handle_tick`] at this time, or later.
    Wake {
        at_ms: u64,
    },
}

pub struct Engine {
    pub(crate) schema: Rc<Schema>,
    pub(crate) slot: u32,
    pub(crate) client: u64,
    pub(crate) high: SortedMap<u64, u64>,
    /// Keys that all copies of a profile share, and that were heard of or found on disk: nobody owns their numbers, so each is known by itself.
    pub(crate) shared: SortedSet<Key>,
    clock: Hlc,
    random: u64,
    outbox_txns: usize,
    outbox_bytes: usize,
    pub(crate) replica: Replica,
    pub(crate) outbox: Outbox,
    /// What the disk held has been read.
    pub(crate) loaded: bool,
    /// A server has told what the space holds, now or earlier.
    pub(crate) has_base: bool,
    pub(crate) receipts: SortedMap<u64, u64>,
    /// One per slot that was ever written to.
    savers: Vec<Saver>,
    /// Keys that have left the outbox, but not the disk.
    pub(crate) leaving: SortedSet<Key>,
    /// Keys with a record in a tab's slot, which counts, and one in that of what was imported.
    pub(crate) twice: SortedSet<Key>,
    /// Keys that other tabs have made and not shown yet, with their slots.
    pub(crate) unheard: SortedMap<Key, u32>,
    /// Keys of which another tab has said that they are over before their own tab had shown them, and when.
    pub(crate) early: SortedMap<Key, u64>,
    /// Of those whose records may still be on disk, the revision at which they were said to be.
    pub(crate) early_settled: SortedMap<Key, u64>,
    /// Records in the slots of others that this tab has written as the sending one, until they are to be deleted.
    pub(crate) rewrote: SortedMap<Key, u32>,
    /// What waits, for a while, for something that it goes on from and that has not been heard of.
    pub(crate) unseen: SortedSet<Key>,
    /// The highest number of each client that earlier tabs used in this slot, until the others have been told.
    pub(crate) earlier: Vec<Key>,
    /// Keys that vanished by folding: done when the disk knows.
    vanished: SortedSet<Key>,
    /// Retries whose spent record is deleted once they are on disk.
    pub(crate) replaces: Vec<Replaces>,
    pub(crate) online: bool,
    pub(crate) sender: Option<Sender>,
    /// What the sending tab said last.
    pub(crate) peer: Option<crate::peers::PeerState>,
    /// What the base holds by the word of a sending tab that has yet to delete the records.
    pub(crate) undeleted: Vec<crate::peers::Undeleted>,
    /// The latest epoch that was heard of: who speaks under an earlier one was frozen, and has been replaced.
    pub(crate) epoch_heard: u64,
    /// The epoch under which a sending tab has last told what waits. 0: none has, or the disk was read since another sends.
    pub(crate) epoch_told: u64,
    /// Whether another tab has ever been heard.
    pub(crate) has_company: bool,
    /// Whether what was made is to be written at once.
    pub(crate) hurried: bool,
    /// How often it has been asked since whether it is there, and when it is asked next.
    pub(crate) pings: u32,
    pub(crate) ping_at: u64,
    /// Decisions for the sending tab, made while there was none.
    pub(crate) unsaid: Vec<String>,
    /// A reload is under way; these were on disk when it was asked for.
    pub(crate) reloading: Option<Vec<Key>>,
    /// Keys that were said to be over while the disk was read, and whether their records had been deleted: what was read may still hold them.
    pub(crate) gone_meanwhile: SortedMap<Key, bool>,
    /// The sending tab has replaced the base: what is on disk counts, even if it is older.
    pub(crate) replaced: bool,
    /// The latest revision of the base on disk that the sending tab told of, since it last replaced it.
    pub(crate) disk_heard: u64,
    /// There was a reason for another reload since.
    pub(crate) reload_again: bool,
    /// Why nothing was sent as this tab's turn ended, until the next sending tab speaks.
    pub(crate) left_trouble: Option<String>,
    pub(crate) told_trouble: Option<(Option<String>, bool, bool)>,
    /// Why a database cannot be opened or read, as the shell finds.
    storage_problem: Option<String>,
    pub(crate) damaged: Vec<Damaged>,
    /// The base on disk was found damaged, and has not been written anew since.
    pub(crate) torn: bool,
    pub(crate) effects: VecDeque<Effect>,
    pub(crate) last_status: String,
    wake_at: u64,
    pump_at: Option<u64>,
    ids: u64,
    pub(crate) history: History,
    /// Transactions made up to this time of the clock may have been sent: so it stands on disk.
    pub(crate) sent_on_disk: u64,
    /// The same of earlier pages, as this one found it; of a lost base, any time.
    pub(crate) sent_before: u64,
    /// The base on disk is of an older version of the schema.
    pub(crate) rewrites: bool,
    /// Another tab, or the disk, is of a newer version of the schema: this page must be loaded again.
    pub(crate) outdated: bool,
    /// The server is of a newer version of the schema: it takes what is made here, and what it has to say cannot be read.
    pub(crate) behind: bool,
}

impl Engine {
    pub fn new(config: Config) -> Engine {
        let mut engine = Engine {
            schema: Rc::new(config.schema),
            slot: config.slot,
            client: config.client,
            high: SortedMap::new(),
            shared: SortedSet::new(),
            clock: Hlc::default(),
            random: config.seed,
            outbox_txns: config.outbox_txns,
            outbox_bytes: config.outbox_bytes,
            replica: Replica::default(),
            outbox: Outbox::default(),
            loaded: false,
            has_base: false,
            receipts: SortedMap::new(),
            savers: Vec::new(),
            leaving: SortedSet::new(),
            twice: SortedSet::new(),
            unheard: SortedMap::new(),
            early: SortedMap::new(),
            rewrote: SortedMap::new(),
            early_settled: SortedMap::new(),
            unseen: SortedSet::new(),
            earlier: config.high.clone(),
            vanished: SortedSet::new(),
            replaces: Vec::new(),
            online: true,
            sender: None,
            peer: None,
            undeleted: Vec::new(),
            epoch_heard: 0,
            epoch_told: 0,
            has_company: false,
            hurried: false,
            pings: 0,
            ping_at: u64::MAX,
            unsaid: Vec::new(),
            reloading: None,
            gone_meanwhile: SortedMap::new(),
            replaced: false,
            disk_heard: 0,
            reload_again: false,
            left_trouble: None,
            told_trouble: None,
            storage_problem: None,
            damaged: Vec::new(),
            torn: false,
            effects: VecDeque::new(),
            last_status: String::new(),
            wake_at: u64::MAX,
            pump_at: None,
            ids: 0,
            history: History::default(),
            sent_on_disk: 0,
            sent_before: u64::MAX,
            rewrites: false,
            outdated: false,
            behind: false,
        };
        for (client, seq) in config.high.into_iter().filter(|high| !is_shared(high.0)) {
            let high = engine.high.get_or_insert_with(client, || 0);
            *high = (*high).max(seq);
        }
        for key in config.imported {
            engine.see_number(IMPORTED, key);
        }
        engine.say_hello();
        engine
    }

    // ---- getters ----

    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The epoch under which this tab sends, if it does.
    pub fn epoch(&self) -> Option<u64> {
        self.sender.as_ref().map(|sender| sender.epoch)
    }

    /// Why something cannot be written or read on this device.
    pub(crate) fn storage_problem(&self) -> Option<&String> {
        let committing = || self.sender.as_ref()?.commit_problem.as_ref();
        self.saving_problem().or_else(committing).or(self.storage_problem.as_ref())
    }

    // ---- commands ----

    pub fn set_online(&mut self, now_ms: u64, online: bool) {
        self.online = online;
        self.sender_online_changed(now_ms);
        self.pump(now_ms);
    }

    // ---- results of effects ----

    /// A database cannot be opened or read, and why; or all can.
    pub fn handle_storage(&mut self, now_ms: u64, problem: Option<String>) {
        self.storage_problem = problem;
        self.pump(now_ms);
    }

    pub fn handle_tick(&mut self, now_ms: u64) {
        if now_ms >= self.wake_at {
            self.wake_at = u64::MAX;
        }
        self.sender_tick(now_ms);
        self.pump(now_ms);
    }

    /// The next thing to do, if any. What was made since the last call is saved together.
    pub fn poll(&mut self) -> Option<Effect> {
        if self.effects.is_empty()
            && let Some(now_ms) = self.pump_at.take()
        {
            self.advance(now_ms);
        }
        self.effects.pop_front()
    }

    // ---- the base moves on ----

    /// Takes revisions into the base, with what they settle. Returns whether they followed on it without a gap.
    pub(crate) fn absorb(&mut self, revisions: Vec<Revision>) -> Absorbed {
        let mut absorbed = Absorbed { from: self.replica.rev, ..Absorbed::default() };
        let mut next = self.replica.rev;
        let mut follow = Vec::new();
        for revision in revisions.into_iter().filter(|r| r.rev > absorbed.from) {
            let unknown = |part: &crate::wire::Part| part.changes.is_none() && part.key.is_none_or(|key| self.outbox.get(key).is_none());
            if revision.rev != next + 1 || revision.parts.iter().any(unknown) {
                absorbed.gap = true;
                break;
            }
            next = revision.rev;
            // Aligned with the parts: what was sent.
            let mut sent = Vec::with_capacity(revision.parts.len());
            for part in &revision.parts {
                let entry = self.made_here(part).and_then(|key| self.outbox.remove(key));
                absorbed.settled.extend(entry.iter().map(|entry| (entry.slot, entry.made.key)));
                sent.push(entry);
            }
            follow.push((revision, sent));
        }
        let made = self.settle_as_sent(&follow).unwrap_or_else(|| self.follow(&follow, &mut absorbed.deleted));
        self.tell_followed(&follow, &made, &mut absorbed);
        absorbed.to = self.replica.rev;
        absorbed
    }

    /// Where all of it is what was sent and shown first, only the base moves. Returns what each part has changed, if that was so.
    fn settle_as_sent(&mut self, follow: &[Followed]) -> Option<Vec<Vec<Edit>>> {
        let mut taken = Vec::new();
        for (revision, sent) in follow {
            for (part, entry) in revision.parts.iter().zip(sent) {
                taken.push(entry.as_ref().filter(|_| part.changes.is_none())?);
            }
        }
        let made = self.replica.settle(&self.schema, &taken, &self.outbox)?;
        if let Some((revision, _)) = follow.last() {
            self.replica.rev = revision.rev;
        }
        Some(made)
    }

    /// Takes the revisions into the base and shows again what waits. Returns what each part has changed, and nothing of one that says so.
    fn follow(&mut self, follow: &[Followed], deleted: &mut Vec<RowKey>) -> Vec<Vec<Edit>> {
        let mut made = Vec::new();
        let change = |base: &mut crate::replica::Base| {
            for (revision, sent) in follow {
                for (part, entry) in revision.parts.iter().zip(sent) {
                    let mut own = Vec::new();
                    match (&part.changes, entry) {
                        (Some(changes), _) => base.changes(changes, deleted),
                        (None, Some(entry)) => own = base.as_sent(&entry.edits),
                        (None, None) => {}
                    }
                    made.push(own);
                }
                base.set_rev(revision.rev);
            }
        };
        let patches = self.replica.rebase(&self.schema, change, &self.outbox);
        self.effects.extend(patches.into_iter().map(Effect::Patch));
        made
    }

    /// Writes down the revisions, as the disk and the other tabs are to have them, and what is gone by our own hand.
    fn tell_followed(&self, follow: &[Followed], made: &[Vec<Edit>], absorbed: &mut Absorbed) {
        let mut made = made.iter();
        for (revision, _) in follow {
            crate::peers::begin_revision(revision.rev, &mut absorbed.text);
            for (i, part) in revision.parts.iter().enumerate() {
                let Some(own) = made.next() else { continue };
                for change in own {
                    if change.op == Op::Delete {
                        absorbed.deleted.push(change.row);
                    }
                }
                let changes = part.changes.as_ref().unwrap_or(own);
                crate::peers::write_part(&self.schema, i, part.actor, changes, &mut absorbed.text);
            }
            absorbed.text.push_str("]}");
        }
    }

    /// The key of a part, if what it stands for is what waits here under it. A copy of this profile gives the same numbers to other
    /// transactions: of ours the server will say that it is one of these.
    fn made_here(&self, part: &Part) -> Option<Key> {
        let same = |entry: &&Entry| {
            // What its own tab has not offered yet may have more folded into it by now.
            let is_final = entry.frozen || entry.slot == self.slot;
            is_final && part.hash.is_some_and(|hash| entry.is_same(&self.schema, hash))
        };
        part.key.filter(|key| part.changes.is_none() || self.outbox.get(*key).as_ref().is_some_and(same))
    }

    /// Shows the outbox again on an unchanged base, after something left it.
    pub(crate) fn redraw(&mut self) {
        let patches = self.replica.rebase(&self.schema, |_| {}, &self.outbox);
        self.effects.extend(patches.into_iter().map(Effect::Patch));
    }

    // ---- odds and ends ----

    /// Something has happened: at the next poll, whatever can be done is done.
    pub(crate) fn pump(&mut self, now_ms: u64) {
        self.pump_at = Some(now_ms);
    }

    pub(crate) fn advance(&mut self, now_ms: u64) {
        self.start_saves(now_ms);
        self.sender_pump(now_ms);
        self.ping_sender(now_ms);
        self.report_status(now_ms);
        let mut wake = self.sender_wake(now_ms).unwrap_or(self.ping_at);
        wake = wake.min(self.next_save(now_ms));
        // A timer that should have gone off was set before the clock was put forward, and goes off by as much too late.
        let overdue = self.wake_at.saturating_add(OVERDUE_MS) < now_ms;
        if overdue {
            wake = now_ms;
        }
        if overdue || wake < self.wake_at {
            self.wake_at = wake;
            self.effects.push_back(Effect::Wake { at_ms: wake });
        }
    }

    pub(crate) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.random)
    }

    pub(crate) fn new_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    pub(crate) fn clock_next(&mut self, now_ms: u64) -> Hlc {
        self.clock.next(now_ms)
    }

    /// Takes note that a number is used.
    pub(crate) fn see_number(&mut self, slot: u32, key: Key) {
        if slot != IMPORTED && is_shared(key.0) {
            self.shared.insert(key);
        } else if slot != IMPORTED {
            let high = self.high.get_or_insert_with(key.0, || 0);
            *high = (*high).max(key.1);
        } else if key.0 == self.client && self.high.get(&key.0).is_none_or(|high| key.1 > *high) {
            // Ours, from before this profile was put back to an older state: what is made from now on must not meet it.
            self.take_new_client();
        }
    }

    pub(crate) fn see_clock(&mut self, at: u64) {
        self.clock = self.clock.max(Hlc(at));
    }

    pub(crate) fn sending<'a>(&'a self, now_ms: u64, lacks: &'a dyn Fn(&Edit, u16, RowKey) -> bool) -> Sending<'a> {
        Sending { now_ms, lacks, own_slot: self.slot }
    }

    /// Whether a number was heard of from whoever gives it, or found on disk.
    pub(crate) fn has_number(&self, key: Key) -> bool {
        self.shared.contains(&key) || self.high.get(&key.0).is_some_and(|high| key.1 <= *high)
    }

    /// Whether a key was known and is no more.
    pub(crate) fn is_over(&self, key: Key) -> bool {
        self.has_number(key) && self.outbox.get(key).is_none() && !self.unheard.contains_key(&key)
    }
}

/// A revision, and for each of its parts what waited here until it came.
type Followed = (Revision, Vec<Option<Entry>>);

/// What came of taking revisions into the base.
#[derive(Default)]
pub(crate) struct Absorbed {
    pub from: u64,
    pub to: u64,
    /// Something was missing: ask, or read again.
    pub gap: bool,
    /// Own transactions that are in the base now, with their slots.
    pub settled: Vec<(u32, Key)>,
    pub deleted: Vec<RowKey>,
    /// The revisions with their content, separated by commas.
    pub text: String,
}

/// Reads a list of `client:seq`; others are passed over.
pub(crate) fn read_keys(list: &[Json]) -> Vec<Key> {
    let mut keys = Vec::with_capacity(list.len());
    for key in list {
        keys.extend(key.as_str().and_then(parse_key));
    }
    keys
}

/// Reads `client:seq`.
pub fn parse_key(text: &str) -> Option<Key> {
    let (client, seq) = text.split_once(':')?;
    Some((parse_hex64(client)?, seq.parse().ok()?))
}

/// Writes a list of `client:seq`.
pub(crate) fn write_keys(keys: &[Key], out: &mut String) {
    out.push('[');
    for (i, key) in keys.iter().enumerate() {
        out.push_str(if i > 0 { ",\"" } else { "\"" });
        write_key(*key, out);
        out.push('"');
    }
    out.push(']');
}

pub fn write_key(key: Key, out: &mut String) {
    write_hex64(key.0, out);
    out.push(':');
    write_uint(key.1, out);
}
