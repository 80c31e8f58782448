//! The client's control flow, one engine per tab and space.
//!
//! Call a command or a `handle_*` method, then drain [`Engine::poll`] and carry out the effects in order; what comes of
//! them goes back in through `handle_*`. Time is an argument. An edit is in the view when [`Engine::transact`] returns,
//! on disk when its `Save` has succeeded, and may be sent only then.
//!
//! This file holds what every tab does: edits, saving, loading. `sender` is what the one tab does that sends for all,
//! `peers` what tabs tell each other, `report` what the app is told.

use crate::dedupe::{is_shared, own_client};
use crate::edit::{Edit, Merge, Op, Txn, read_edits};
use crate::field::text_of;
use crate::fold::{Fold, fold};
use crate::json::Json;
use crate::limits;
use crate::merge::Hlc;
use crate::order::{Step, arrange, components};
use crate::outbox::{Entry, Key, Made, Outbox, Sending, State};
use crate::patch::Patch;
use crate::problem::Problem;
use crate::reconcile::mix;
use crate::replica::Replica;
use crate::schema::{EditsToDeleted, Kind, Schema};
use crate::sender::Sender;
use crate::sorted::{SortedMap, SortedSet, sort_dedup};
use crate::undo::{History, Undoable};
use crate::upgrade::upgrade_snapshot;
use crate::value::{Row, RowKey, parse_hex64, write_hex64, write_string, write_uint};
use crate::wire::{Part, Revision, read_revisions, read_snapshot};
use std::collections::VecDeque;
use std::rc::Rc;

/// What a body has beside its edits, at most.
const ENVELOPE_BYTES: usize = 128;
/// The slot of what was imported: other devices' transactions under their keys. No tab holds it, and its clients are not ours: their
/// numbers are never closed here, for the device that made them may still send others.
pub const IMPORTED: u32 = 256;

pub struct Config {
    pub schema: Schema,
    /// The slot of this tab: its outbox's database.
    pub slot: u32,
    /// The slot's present client id.
    pub client: u64,
    /// The highest number ever used by each client of the slot.
    pub high: Vec<Key>,
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
        self.high.iter().any(|(client, high)| *client == key.0 && key.1 <= *high) && !records.contains(&key)
    }
}

/// What is to be written to a slot, and what is being written.
#[derive(Default)]
struct Saver {
    slot: u32,
    puts: SortedSet<Key>,
    deletes: SortedSet<Key>,
    client: Option<u64>,
    in_flight: Option<Saving>,
    failures: u32,
    /// Why the last write failed, until one succeeds.
    problem: Option<String>,
    not_before: u64,
}

struct Saving {
    id: u64,
    puts: Vec<(Key, u32)>,
    deletes: Vec<Key>,
    client: Option<u64>,
}

/// A record that cannot be read. It stays on disk, and its number stays open.
pub(crate) struct Damaged {
    pub slot: u32,
    pub key: Key,
    pub record: String,
}

/// A retry, and the spent record that it stands for.
pub(crate) struct Replaces {
    pub new: Key,
    pub slot: u32,
    pub old: Key,
}

pub struct Engine {
    pub(crate) schema: Rc<Schema>,
    pub(crate) slot: u32,
    pub(crate) client: u64,
    pub(crate) high: SortedMap<u64, u64>,
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
            unseen: SortedSet::new(),
            earlier: config.high.clone(),
            vanished: SortedSet::new(),
            replaces: Vec::new(),
            online: true,
            sender: None,
            peer: None,
            undeleted: Vec::new(),
            epoch_heard: 0,
            pings: 0,
            ping_at: u64::MAX,
            unsaid: Vec::new(),
            reloading: None,
            gone_meanwhile: SortedMap::new(),
            replaced: false,
            disk_heard: 0,
            reload_again: false,
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

    /// Whether everything that was made is on disk.
    pub fn is_saved(&self) -> bool {
        self.savers.iter().all(|s| s.puts.is_empty() && s.deletes.is_empty() && s.in_flight.is_none())
    }

    /// Why something cannot be written or read on this device.
    pub(crate) fn storage_problem(&self) -> Option<&String> {
        let saving = self.savers.iter().find_map(|saver| saver.problem.as_ref());
        let committing = || self.sender.as_ref()?.commit_problem.as_ref();
        saving.or_else(committing).or(self.storage_problem.as_ref())
    }

    // ---- commands ----

    /// Makes a transaction of `{"edits": […], "after": ["client:seq", …]}`. Returns its key and the patch of the view, or why it
    /// cannot be: then nothing has changed.
    pub fn transact(&mut self, now_ms: u64, json: &str) -> Result<(Key, String), Problem> {
        let json = Json::parse(json).map_err(Problem::invalid)?;
        let edits = read_edits(&self.schema, &json)?;
        let after = read_keys(json.list("after"));
        if after.len() != json.list("after").len() || after.len() > limits::AFTER_KEYS {
            return Err(Problem::invalid("`after` lists at most 1,000 keys"));
        }
        let (key, patch, step) = self.make(now_ms, edits, after)?;
        self.history.push(step);
        Ok((key, patch))
    }

    /// Takes back what this tab did last, as far as nobody has gone on from it. Returns the keys and patches of what that took;
    /// none where there is nothing left to undo.
    pub fn undo(&mut self, now_ms: u64) -> Result<Vec<(Key, String)>, Problem> {
        self.take_back(now_ms, false)
    }

    /// Takes back the last undo.
    pub fn redo(&mut self, now_ms: u64) -> Result<Vec<(Key, String)>, Problem> {
        self.take_back(now_ms, true)
    }

    /// How many steps there are to undo, and to redo.
    pub fn undo_depths(&self) -> (usize, usize) {
        (self.history.done.len(), self.history.undone.len())
    }

    fn take_back(&mut self, now_ms: u64, redo: bool) -> Result<Vec<(Key, String)>, Problem> {
        let (mut made, mut taken, mut refused) = (Vec::new(), Vec::new(), None);
        let mut edits = self.next_undo(redo).unwrap_or_else(|problem| {
            refused = Some(problem);
            Vec::new()
        });
        // What one step did may be more than one transaction holds: a delete takes all with it that hangs on the row.
        while !edits.is_empty() && refused.is_none() {
            let rest = edits.split_off(self.portion(&edits));
            match self.make(now_ms, edits, Vec::new()) {
                Ok((key, patch, step)) => {
                    made.push((key, patch));
                    taken.push(step);
                }
                Err(problem) => refused = Some(problem),
            }
            edits = rest;
        }
        let history = &mut self.history;
        let (from, to) = if redo { (&mut history.undone, &mut history.done) } else { (&mut history.done, &mut history.undone) };
        // What is refused would be refused again, and the steps before it could never be reached. The rest of one that has begun to
        // go back is tried again.
        if refused.as_ref().is_none_or(|problem| made.is_empty() && problem.code != "outbox_full") {
            from.pop();
        }
        to.extend(Undoable::joined(taken, &self.schema, self.replica.view()));
        match refused {
            // What has been taken back already must be seen.
            Some(problem) if made.is_empty() => Err(problem),
            _ => Ok(made),
        }
    }

    /// How many of these edits one transaction holds, at least one.
    fn portion(&self, edits: &[Edit]) -> usize {
        let mut bytes = ENVELOPE_BYTES;
        let fits = |edit: &&Edit| {
            bytes += edit.bytes(&self.schema) + 1;
            bytes <= limits::TXN_BYTES
        };
        edits.iter().take(limits::TXN_EDITS).take_while(fits).count().max(1)
    }

    /// The edits that the next undo or redo will make. Steps on which everybody has gone on are passed over.
    pub fn next_undo(&mut self, redo: bool) -> Result<Vec<Edit>, Problem> {
        loop {
            let steps = if redo { &mut self.history.undone } else { &mut self.history.done };
            let Some(step) = steps.last() else { return Ok(Vec::new()) };
            let edits = step.inverse(&self.schema, self.replica.view());
            if !edits.is_empty() {
                return self.arranged(edits);
            }
            steps.pop();
        }
    }

    fn make(&mut self, now_ms: u64, edits: Vec<Edit>, after: Vec<Key>) -> Result<(Key, String, Undoable), Problem> {
        let mut edits = self.arranged(edits)?;
        self.refuse_impossible(&edits)?;
        self.note_what_was(&mut edits);
        let at = self.clock.next(now_ms);
        let txn = Txn { at, edits: self.bounded(at, at.0, edits)? };
        let releases = self.releases(&txn.edits);
        let is_apart = self.is_typed_over(&txn.edits);
        let (effect, originals) = self.replica.make(&self.schema, &txn.edits)?;
        let gone = effect.changes.iter().filter(|edit| edit.op == Op::Delete).map(|edit| edit.row).collect();
        let mut patch = Patch::new(&self.schema);
        effect.changes.iter().for_each(|change| patch.change(change));
        let patch = patch.finish();
        let fold = if is_apart { Fold::None } else { fold(&self.outbox, self.slot, &txn.edits, &after, &gone) };
        let key = match fold {
            Fold::None => self.append(txn, releases, after),
            Fold::Into(key, edits) => {
                let folded = Txn { at, edits };
                let made = self.outbox.get(key).map_or(at.0, |entry| entry.made.at);
                // What has made a row that is there was sent by a copy of this profile: nothing more goes by its key.
                let is_there = folded.edits.iter().any(|edit| edit.op == Op::Create && self.replica.in_base(edit.row));
                let fits = !is_there && folded.to_body(&self.schema, made).len() <= limits::TXN_BYTES;
                if fits { self.refold(key, folded, releases) } else { self.append(txn, releases, after) }
            }
            Fold::Vanish(keys) => self.vanish(keys),
            Fold::Cancel(keys) => {
                let key = self.append(txn, releases, after);
                self.vanish(keys);
                key
            }
        };
        self.pump(now_ms);
        let step = Undoable::new(key, now_ms, originals, &self.schema, self.replica.view());
        Ok((key, patch, step))
    }

    /// Whether texts are edited under which somebody else's change has come, or that could not be merged with one. Two edits of such a
    /// text are not one edit: what the first met is not what both would meet.
    fn is_typed_over(&self, edits: &[Edit]) -> bool {
        edits.iter().any(|edit| {
            let (Some(seen), Some(base)) = (self.replica.view().get(edit.row), self.replica.base_row(edit.row)) else { return false };
            let columns = &self.schema.tables[edit.row.table as usize].columns;
            edit.add.iter().any(|(column, merge)| match (merge, &columns[*column as usize].kind) {
                (Merge::Text { from, .. }, Kind::Text { conflicts: Some(kept), .. }) => {
                    let kept = *kept as usize;
                    text_of(from) != text_of(&seen.values[*column as usize]) || seen.values[kept] != base.values[kept]
                }
                _ => false,
            })
        })
    }

    /// The edits, if a transaction of these times holds them; what rows were is left out where there is no room for it.
    pub(crate) fn bounded(&self, at: Hlc, made: u64, edits: Vec<Edit>) -> Result<Vec<Edit>, Problem> {
        if edits.len() > limits::TXN_EDITS {
            return Err(Problem::invalid("with the references that have to be set last, these are more than 1,000 edits: split it"));
        }
        let mut txn = Txn { at, edits };
        if txn.to_body(&self.schema, made).len() <= limits::TXN_BYTES {
            return Ok(txn.edits);
        }
        let mut were = Vec::with_capacity(txn.edits.len());
        for edit in &mut txn.edits {
            were.push(std::mem::take(&mut edit.was));
        }
        let mut bytes = txn.to_body(&self.schema, made).len();
        for (edit, was) in txn.edits.iter_mut().zip(were) {
            let without = edit.bytes(&self.schema);
            edit.was = was;
            let more = edit.bytes(&self.schema) - without;
            if bytes + more <= limits::TXN_BYTES {
                bytes += more;
            } else {
                edit.was.clear();
            }
        }
        if bytes > limits::TXN_BYTES {
            return Err(Problem::invalid("a transaction has at most 1 MiB: split it"));
        }
        Ok(txn.edits)
    }

    /// Where edits to deleted rows make them again, an update carries the row.
    fn note_what_was(&self, edits: &mut [Edit]) {
        for edit in edits {
            if edit.op == Op::Update
                && self.schema.tables[edit.row.table as usize].edits_to_deleted == EditsToDeleted::Restore
                && let Some(row) = self.replica.view().get(edit.row)
            {
                edit.was = row.values.iter().cloned().enumerate().map(|(i, value)| (i as u16, value)).collect();
            }
        }
    }

    pub fn set_online(&mut self, now_ms: u64, online: bool) {
        self.online = online;
        self.sender_online_changed(now_ms);
        self.pump(now_ms);
    }

    // ---- results of effects ----

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

    pub fn handle_saved(&mut self, now_ms: u64, slot: u32, id: u64) {
        let saver = self.saver(slot);
        let Some(saving) = saver.in_flight.take_if(|saving| saving.id == id) else { return };
        saver.failures = 0;
        saver.problem = None;
        let mut saved = Vec::new();
        for (key, version) in saving.puts {
            if let Some(entry) = self.outbox.get_mut(key).filter(|entry| entry.version == version) {
                entry.saved = true;
                saved.push(key);
            }
            self.delete_replaced(key);
        }
        let mut gone = Vec::new();
        for key in &saving.deletes {
            self.leaving.remove(key);
            if self.vanished.remove(key) {
                gone.push(*key);
            }
        }
        self.forget_answered(&saving.deletes);
        self.tell_peers_saved(slot, &saved, &saving.deletes);
        saved.extend(&gone);
        self.event_keys("saved", &saved);
        self.event_keys("accepted", &gone);
        self.pump(now_ms);
    }

    /// The write failed; it is tried again, and nothing is lost from memory meanwhile.
    pub fn handle_save_failed(&mut self, now_ms: u64, slot: u32, id: u64, code: &str) {
        let random = self.random();
        let saver = self.saver(slot);
        let Some(saving) = saver.in_flight.take_if(|saving| saving.id == id) else { return };
        saver.failures += 1;
        saver.not_before = now_ms + crate::backoff::local_delay_ms(saver.failures, random);
        saver.problem = Some(code.to_string());
        saver.client = saver.client.or(saving.client);
        // Those that are in the outbox no more are passed over when it is tried again.
        saver.deletes.extend(saving.deletes);
        for (key, _) in saving.puts {
            saver.puts.insert(key);
        }
        self.pump(now_ms);
    }

    /// A database cannot be opened or read, and why; or all can.
    pub fn handle_storage(&mut self, now_ms: u64, problem: Option<String>) {
        self.storage_problem = problem;
        self.pump(now_ms);
    }

    /// The database of a slot is a new and empty one: it was deleted, or what it held could not be told. What this tab may write there
    /// is written again; and nobody knows any more which numbers its client has used.
    pub fn handle_slot_lost(&mut self, now_ms: u64, slot: u32) {
        let own = slot == self.slot;
        if own {
            self.take_new_client();
        }
        // What another tab has not offered yet it may be folding: it writes that itself.
        for key in self.outbox.keys(&|e| e.slot == slot && (own || e.frozen)) {
            self.put(key);
        }
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

    // ---- making ----

    pub(crate) fn arranged(&self, edits: Vec<Edit>) -> Result<Vec<Edit>, Problem> {
        let mut steps = Vec::with_capacity(edits.len());
        for edit in edits {
            steps.push(Step { part: 0, edit });
        }
        let view = self.replica.view();
        let held = |key| view.get(key).map_or_else(Vec::new, Row::reference_list);
        let mut arranged = Vec::with_capacity(steps.len());
        for step in arrange(&self.schema, steps, &held)? {
            arranged.push(step.edit);
        }
        Ok(arranged)
    }

    /// Refuses what the outbox has no room for beside what waits.
    pub(crate) fn refuse_overfull(&self, txns: usize, bytes: usize) -> Result<(), Problem> {
        if self.outbox.len() + txns > self.outbox_txns || self.outbox.bytes() + bytes > self.outbox_bytes {
            let detail = format!("{} transactions wait to be sent; go online, or discard some", self.outbox.len());
            return Err(Problem::new("outbox_full", detail));
        }
        Ok(())
    }

    fn refuse_impossible(&self, edits: &[Edit]) -> Result<(), Problem> {
        self.refuse_overfull(1, 1)?;
        let mut created = Vec::new();
        for edit in edits {
            if edit.makes() {
                created.push(edit.row);
            }
        }
        created.sort_unstable();
        for edit in edits {
            for (_, target) in edit.references() {
                let deleted_here = self.outbox.deletes(target) && !self.replica.view().contains(target);
                if deleted_here && created.binary_search(&target).is_err() {
                    return Err(Problem::new("missing_parent", "the row that this refers to was deleted here").row(&self.schema, target));
                }
            }
        }
        self.refuse_cycle(edits, &created)
    }

    /// A new row that waiting transactions refer to may close a cycle. Without a nullable reference on it nothing could
    /// ever be sent, so it is refused now. Transactions may need each other all the same, where their rows do not.
    fn refuse_cycle(&self, edits: &[Edit], created: &[RowKey]) -> Result<(), Problem> {
        if created.iter().all(|row| self.outbox.referring(*row).next().is_none()) {
            return Ok(());
        }
        let (mut rows, mut places, mut needs) = (Vec::new(), SortedMap::new(), Vec::new());
        let mut place = |row: RowKey, rows: &mut Vec<RowKey>| {
            *places.get_or_insert_with(row, || {
                rows.push(row);
                rows.len() - 1
            })
        };
        // First the new rows, then those that they need, as far as somebody waits to create them.
        let mut creates = Vec::with_capacity(created.len());
        for edit in edits {
            if edit.makes() && place(edit.row, &mut rows) == creates.len() {
                creates.push(edit);
            }
        }
        while let Some(&row) = rows.get(needs.len()) {
            let waiting = || self.outbox.creator_of(row)?.edits.iter().find(|edit| edit.makes() && edit.row == row);
            let mut list = Vec::new();
            if let Some(edit) = creates.get(needs.len()).copied().or_else(waiting) {
                let columns = &self.schema.tables[row.table as usize].columns;
                for (column, target) in edit.references() {
                    if !columns[column as usize].nullable && target != row {
                        list.push(place(target, &mut rows));
                    }
                }
            }
            needs.push(list);
        }
        for group in components(rows.len(), |node, out| out.extend_from_slice(&needs[node])) {
            if group.len() > 1 && group[0] < creates.len() {
                let detail = "this row and others that wait need each other through required references";
                let mut problem = Problem::new("cycle", detail);
                for node in group {
                    problem = problem.row(&self.schema, rows[node]);
                }
                return Err(problem);
            }
        }
        Ok(())
    }

    /// What the rows that a transaction deletes, or whose references it changes, refer to now.
    pub(crate) fn releases(&self, edits: &[Edit]) -> Vec<RowKey> {
        let mut released = Vec::new();
        for edit in edits {
            let Some(row) = self.replica.view().get(edit.row).filter(|_| !edit.makes()) else { continue };
            for (column, target) in row.references() {
                if edit.op == Op::Delete || edit.set.iter().any(|(c, _)| *c == column) {
                    released.push(target);
                }
            }
        }
        sort_dedup(&mut released);
        released
    }

    pub(crate) fn new_key(&mut self) -> Key {
        let high = self.high.get_or_insert_with(self.client, || 0);
        *high += 1;
        (self.client, *high)
    }

    fn append(&mut self, txn: Txn, releases: Vec<RowKey>, after: Vec<Key>) -> Key {
        let key = self.new_key();
        let made = Made { at: txn.at.0, key };
        self.outbox.insert(txn.into_entry(&self.schema, made, self.slot, releases, after));
        self.note_seen(key, Vec::new());
        self.put(key);
        key
    }

    fn note_seen(&mut self, key: Key, mut seen: Vec<Key>) {
        seen.append(&mut self.outbox.seen_by(key));
        sort_dedup(&mut seen);
        if let Some(entry) = self.outbox.get_mut(key) {
            entry.seen = seen;
        }
    }

    fn refold(&mut self, key: Key, txn: Txn, releases: Vec<RowKey>) -> Key {
        let Some(old) = self.outbox.remove(key) else { return key };
        let mut all = old.releases;
        all.extend(releases);
        sort_dedup(&mut all);
        if txn.edits.iter().all(|edit| edit.op == Op::Create) {
            // To everyone else these rows never referred to anything else.
            all.clear();
        }
        let mut entry = txn.into_entry(&self.schema, old.made, old.slot, all, Vec::new());
        entry.version = old.version + 1;
        self.outbox.insert(entry);
        self.note_seen(key, old.seen);
        self.put(key);
        key
    }

    fn vanish(&mut self, keys: Vec<Key>) -> Key {
        let last = keys.last().copied().unwrap_or_default();
        for key in keys {
            self.outbox.remove(key);
            self.vanished.insert(key);
            self.delete(self.slot, key);
        }
        // The rows are gone from the view already; now they need not be kept aside either.
        let patch = self.replica.rebase(&self.schema, |_| {}, &self.outbox);
        // Without them an earlier edit may show that a row of theirs had kept back.
        self.effects.extend(patch.map(Effect::Patch));
        last
    }

    // ---- saving ----

    /// Marks an entry to be written.
    pub(crate) fn put(&mut self, key: Key) {
        let Some(entry) = self.outbox.get_mut(key) else { return };
        entry.saved = false;
        entry.rewritten |= entry.frozen;
        let slot = entry.slot;
        self.saver(slot).puts.insert(key);
    }

    /// Marks a record to be deleted.
    pub(crate) fn delete(&mut self, slot: u32, key: Key) {
        self.leaving.insert(key);
        let saver = self.saver(slot);
        saver.puts.remove(&key);
        saver.deletes.insert(key);
        self.delete_imported(key);
        // A retry that will never be on disk takes the records that it stands for with it.
        self.delete_replaced(key);
    }

    /// Whether what stands under a key in a slot is about to be deleted. What was discarded may come back in a file at once.
    pub(crate) fn is_leaving(&self, slot: u32, key: Key) -> bool {
        let deletes =
            |saver: &Saver| saver.deletes.contains(&key) || saver.in_flight.as_ref().is_some_and(|saving| saving.deletes.contains(&key));
        let replaced = || self.replaces.iter().any(|replaces| replaces.old == key);
        self.leaving.contains(&key)
            && (slot != IMPORTED || replaced() || self.savers.iter().any(|saver| saver.slot == slot && deletes(saver)))
    }

    fn delete_replaced(&mut self, new: Key) {
        while let Some(at) = self.replaces.iter().position(|replaces| replaces.new == new) {
            let Replaces { slot, old, .. } = self.replaces.swap_remove(at);
            self.saver(slot).deletes.insert(old);
            self.delete_imported(old);
        }
    }

    /// What was exported before it was saved may have come back in its file before its own tab has saved it.
    pub(crate) fn note_twice(&mut self, slot: u32, key: Key) {
        let Some(known) = self.outbox.get_mut(key).filter(|known| (known.slot == IMPORTED) != (slot == IMPORTED)) else { return };
        if slot != IMPORTED {
            known.slot = slot;
        }
        self.twice.insert(key);
    }

    fn delete_imported(&mut self, key: Key) {
        if self.twice.remove(&key) {
            self.saver(IMPORTED).deletes.insert(key);
        }
    }

    /// From now on new transactions carry another client id.
    pub(crate) fn take_new_client(&mut self) {
        self.client = own_client(self.random());
        self.saver(self.slot).client = Some(self.client);
    }

    fn saver(&mut self, slot: u32) -> &mut Saver {
        let known = self.savers.iter().position(|saver| saver.slot == slot);
        let at = known.unwrap_or(self.savers.len());
        if known.is_none() {
            self.savers.push(Saver { slot, ..Saver::default() });
        }
        &mut self.savers[at]
    }

    fn start_saves(&mut self, now_ms: u64) {
        for saver in &mut self.savers {
            let idle = saver.puts.is_empty() && saver.deletes.is_empty() && saver.client.is_none();
            if idle || saver.in_flight.is_some() || saver.not_before > now_ms {
                continue;
            }
            self.ids += 1;
            let mut saving = Saving { id: self.ids, puts: Vec::new(), deletes: Vec::new(), client: saver.client.take() };
            let mut puts = Vec::new();
            for key in std::mem::take(&mut saver.puts) {
                if let Some(entry) = self.outbox.get(key) {
                    saving.puts.push((key, entry.version));
                    puts.push((key, entry.to_record(&self.schema)));
                }
            }
            saving.deletes.extend(std::mem::take(&mut saver.deletes));
            let deletes = saving.deletes.clone();
            self.effects.push_back(Effect::Save { id: saving.id, slot: saver.slot, client: saving.client, puts, deletes });
            saver.in_flight = Some(saving);
        }
    }

    // ---- loading ----

    fn load(&mut self, disk: Disk) {
        let meta = read_meta(disk.meta.as_deref());
        let mut torn = meta.is_null() && disk.meta.is_some();
        self.load_outbox(&disk, &meta, false);
        let mut text = disk.base.concat();
        text.push_str(crate::wire::SNAPSHOT_END);
        let version = meta.uint("schema").map_or(self.schema.version, |version| version as u32);
        self.outdated |= version > self.schema.version;
        let is_old = version < self.schema.version;
        let snapshot = match (disk.base.is_empty() || self.outdated, is_old) {
            (true, _) => None,
            (_, true) => upgrade_snapshot(&self.schema, version, &text),
            (_, false) => read_snapshot(&self.schema, &text),
        };
        // What is written next is of the present version, all of it.
        self.rewrites |= is_old;
        torn |= snapshot.is_none() && !disk.base.is_empty() && !self.outdated;
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
        let patch = self.replica.rebase(&self.schema, change, &self.outbox);
        self.has_base |= found;
        self.effects.extend(patch.map(Effect::Patch));
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
        let before = self.high.clone();
        let over = |key: Key| before.get(&key.0).is_some_and(|high| key.1 <= *high);
        let mut replaced = Vec::new();
        for slot in &disk.slots {
            let imported = slot.slot == IMPORTED;
            for (client, high) in slot.high.iter().filter(|high| !imported && !is_shared(high.0)) {
                let known = self.high.get_or_insert_with(*client, || 0);
                *known = (*known).max(*high);
            }
            for record in &slot.records {
                let Some(mut entry) = Entry::from_record(&self.schema, slot.slot, record) else {
                    self.set_aside(slot.slot, record);
                    continue;
                };
                entry.frozen = closed || imported || slot.slot == self.slot;
                entry.unanswered = entry.frozen;
                let key = entry.made.key;
                // What was never sent may as well be of the present version. Nobody else can be sending it now.
                let unsent = closed && !imported && entry.made.at > self.sent_before;
                let upgraded = entry.outdated && unsent && entry.upgrade(&self.schema);
                // A read that began before the record was deleted. What an earlier sender only meant to delete is now this tab's.
                let gone = self.gone_meanwhile.get(&key).is_some_and(|deleted| *deleted || !closed);
                let was_over = !open_again.contains(&key)
                    && self.loaded
                    && !closed
                    && !imported
                    && over(key)
                    && self.outbox.get(key).is_none()
                    && !self.unheard.contains_key(&key);
                self.see_number(slot.slot, key);
                self.clock = self.clock.max(Hlc(entry.made.at));
                replaced.extend(entry.was.iter().map(|was| (*was, entry.made.at)));
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
                // What this tab has in memory is as new or newer.
                if self.outbox.get(key).is_none() && !self.is_leaving(slot.slot, key) && !self.is_settled(key) && !was_over && !gone {
                    self.outbox.insert(entry);
                    if upgraded {
                        self.put(key);
                    }
                }
            }
        }
        for (was, at) in replaced {
            if self.outbox.get(was).is_some_and(|old| old.made.at == at)
                && let Some(old) = self.outbox.remove(was)
            {
                self.delete(old.slot, was);
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
        let schema = self.schema.clone();
        let (text, deleted) = (&mut absorbed.text, &mut absorbed.deleted);
        let change = |base: &mut crate::replica::Base| {
            for (revision, sent) in &follow {
                crate::peers::begin_revision(revision.rev, text);
                for (i, part) in revision.parts.iter().enumerate() {
                    let own = match (&part.changes, &sent[i]) {
                        (None, Some(entry)) => base.as_sent(&entry.edits),
                        _ => Vec::new(),
                    };
                    for change in &own {
                        if change.op == Op::Delete {
                            deleted.push(change.row);
                        }
                    }
                    let changes = part.changes.as_ref().unwrap_or(&own);
                    if part.changes.is_some() {
                        base.changes(changes, deleted);
                    }
                    crate::peers::write_part(&schema, i, part.actor, changes, text);
                }
                text.push_str("]}");
                base.set_rev(revision.rev);
            }
        };
        let patch = self.replica.rebase(&self.schema, change, &self.outbox);
        self.effects.extend(patch.map(Effect::Patch));
        absorbed.to = self.replica.rev;
        absorbed
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
        let patch = self.replica.rebase(&self.schema, |_| {}, &self.outbox);
        self.effects.extend(patch.map(Effect::Patch));
    }

    // ---- odds and ends ----

    /// Something has happened: at the next poll, whatever can be done is done.
    pub(crate) fn pump(&mut self, now_ms: u64) {
        self.pump_at = Some(now_ms);
    }

    fn advance(&mut self, now_ms: u64) {
        self.start_saves(now_ms);
        self.sender_pump(now_ms);
        self.ping_sender(now_ms);
        self.report_status(now_ms);
        let mut wake = self.sender_wake(now_ms).unwrap_or(self.ping_at);
        for saver in &self.savers {
            if saver.in_flight.is_none() && saver.not_before > now_ms {
                wake = wake.min(saver.not_before);
            }
        }
        if wake < self.wake_at {
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
        if slot != IMPORTED && !is_shared(key.0) {
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

    /// Whether a key was known and is no more.
    pub(crate) fn is_over(&self, key: Key) -> bool {
        let known = self.high.get(&key.0).is_some_and(|high| key.1 <= *high);
        known && self.outbox.get(key).is_none() && !self.unheard.contains_key(&key)
    }

    pub(crate) fn is_queued(&self, key: Key) -> bool {
        self.outbox.get(key).is_some_and(|entry| entry.state == State::Queued)
    }
}

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

fn read_tail(schema: &Schema, version: u32, text: &str) -> Option<Vec<Revision>> {
    read_revisions(schema, version, Json::parse(text).ok()?.take("changes")?)
}

/// Null where there is none, or what there is cannot be told.
pub(crate) fn read_meta(text: Option<&str>) -> Json {
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
    let json = Json::parse(record).ok()?;
    Some((crate::dedupe::read_id(json.get("client"))?, json.uint("seq")?))
}

/// The revision that a `meta` tells of.
pub fn disk_rev(meta: &str) -> Option<u64> {
    read_meta(Some(meta)).uint("rev")
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

pub fn write_key(key: Key, out: &mut String) {
    write_hex64(key.0, out);
    out.push(':');
    write_uint(key.1, out);
}
