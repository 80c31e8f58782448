//! What the one tab does that sends for all: requests and answers; in rooms of their own the base on disk (`base`), the live connection
//! (`live`), and what fails (`failures`).
//!
//! One push is in flight per space. A batch on which the server fails is halved until the culprit stands alone; that one
//! is put aside and then suspended, and holds only what depends on it.

mod base;
mod failures;
mod live;

use crate::backoff::delay_ms;
use crate::dedupe::Ranges;
use crate::edit::Edit;
use crate::engine::{Absorbed, Effect, Engine, IMPORTED};
use crate::json::Json;
use crate::limits;
use crate::merge::Hlc;
use crate::outbox::{Entry, Key, Ready, State};
use crate::peers::Undeleted;
use crate::problem::Problem;
use crate::sorted::{SortedMap, SortedSet, sort_dedup};
use crate::upgrade::upgrade_snapshot;
use crate::value::RowKey;
use crate::wire::{Answer, Outcome, PushClient, PushText, Snapshot, TxnText, UnitText, read_answer, read_snapshot, snapshot_version};
use base::Committing;
use live::{Live, SILENCE_MS};

/// A request without an answer for so long counts as failed.
const REQUEST_TIMEOUT_MS: u64 = 30_000;
/// A first load may be large and the line thin.
const SNAPSHOT_TIMEOUT_MS: u64 = 300_000;

/// Without a live connection, or a digest to compare with, the server is asked this often.
const POLL_MS: u64 = 10_000;

/// Bodies of one push, in bytes: a batch is on its way quickly, and far below the server's limit.
const BATCH_BYTES: usize = 1024 * 1024;
/// How often a page without a base asks whether the server is of its version again.
const BEHIND_MS: u64 = 60_000;
/// The mark of what may have been sent is set this far ahead.
const SENT_AHEAD_MS: u64 = 10_000;

pub(crate) struct Sender {
    pub epoch: u64,
    /// The server knows a later epoch: nothing is sent before this tab has one.
    renews: bool,
    pub request: Option<Request>,
    /// Failures in a row, for back-off.
    failures: u32,
    pub not_before: u64,
    /// Why nothing is sent, other than being offline.
    pub trouble: Option<String>,
    /// A request is under way, and nothing has been heard for long.
    pub silent: bool,
    batch_txns: usize,
    /// Keys of a failed batch, the culprit among them.
    suspects: Option<Vec<Key>>,
    /// Transactions that wait for their time.
    aside: SortedSet<Key>,
    /// Pushes with transactions that succeeded.
    passes: u64,
    /// Requests of a lone transaction that were refused as such, since the last pass.
    refusals: u32,
    /// What each client's closed ranges were when the server last took them.
    told: Vec<(u64, Ranges)>,
    want_pull: bool,
    /// The last answer had no digest that fits the base here, as while a large delete goes on: it is asked for again.
    unchecked: bool,
    /// What the server told of its revisions does not fit: it may have been set back to a backup.
    pub doubts: bool,
    /// There is something in the queue, and none of it can go.
    pub starved: bool,
    /// Deleted rows to which something referred that was not ours to park.
    pub missed: Vec<RowKey>,
    pub live: Live,
    live_failures: u32,
    live_not_before: u64,
    last_pull: u64,
    /// Settled keys whose base is not on disk yet, with their slots.
    uncommitted: Vec<(u32, Key)>,
    /// Keys that the base on disk holds, but whose records may still be there.
    answered: SortedSet<Key>,
    /// Receipts that are not on disk yet: only those on disk are echoed.
    receipts: SortedMap<u64, u64>,
    /// Changes for the disk, by the revision they lead to.
    tail: Vec<(u64, String)>,
    tail_bytes: usize,
    rewrite: bool,
    /// The time up to which transactions are about to be sent: on disk first.
    sent_wanted: u64,
    /// The revision of the base on disk.
    pub disk_rev: Option<u64>,
    /// The base was replaced: the other tabs read it from disk once it is there.
    replaced: bool,
    /// Parked by an earlier sender in slots that other tabs hold: written again, should the disk still have their records.
    unconfirmed: Vec<Key>,
    /// A file has been imported: nothing is sent before its slot has been read, or until this time. 0: nothing is awaited.
    pub awaits_file_until: u64,
    commit: Option<Committing>,
    commit_failures: u32,
    /// Why the last commit failed, until one succeeds.
    pub commit_problem: Option<String>,
    commit_not_before: u64,
}

impl Sender {
    /// Why nothing is being saved, as this tab and the others say it.
    pub fn told_trouble(&self) -> Option<String> {
        if self.silent { Some("no answer".to_string()) } else { self.trouble.clone() }
    }
}

pub(crate) struct Request {
    pub id: u64,
    pub started: u64,
    kind: Kind,
}

enum Kind {
    Push { clients: Vec<PushClient>, keys: Vec<Key> },
    Snapshot,
}

impl Request {
    fn deadline(&self) -> u64 {
        let patience = match self.kind {
            Kind::Push { .. } => REQUEST_TIMEOUT_MS,
            Kind::Snapshot => SNAPSHOT_TIMEOUT_MS,
        };
        self.started + patience
    }
}

/// How a request failed without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendFailure {
    Network,
    Timeout,
}

impl Engine {
    /// This tab sends from now on. `meta` is what the disk holds since the epoch was taken; `slots` are this
    /// tab's own and those of closed tabs.
    pub fn handle_lead(&mut self, now_ms: u64, epoch: u64, meta: Option<&str>, slots: Vec<crate::engine::SlotDisk>) {
        if self.sender.is_some() {
            // It has taken over twice in a row. What it did under the earlier epoch may not have reached the disk, and will not any more.
            self.handle_unlead(now_ms);
        }
        let meta = crate::engine::read_meta(meta);
        let disk_rev = meta.uint("rev");
        self.epoch_heard = self.epoch_heard.max(epoch);
        self.sent_on_disk = meta.uint("sent").unwrap_or(0);
        self.sent_before = if meta.is_null() { u64::MAX } else { self.sent_on_disk };
        self.outdated |= meta.uint("schema").is_some_and(|version| version > u64::from(self.schema.version));
        self.sender = Some(Sender {
            epoch,
            renews: false,
            request: None,
            failures: 0,
            not_before: 0,
            trouble: None,
            silent: false,
            batch_txns: limits::PUSH_TXNS,
            suspects: None,
            aside: SortedSet::new(),
            passes: 0,
            refusals: 0,
            told: Vec::new(),
            want_pull: true,
            unchecked: false,
            doubts: false,
            starved: false,
            missed: Vec::new(),
            live: Live::Off,
            live_failures: 0,
            live_not_before: 0,
            last_pull: 0,
            uncommitted: Vec::new(),
            answered: SortedSet::new(),
            receipts: SortedMap::new(),
            tail: Vec::new(),
            tail_bytes: 0,
            rewrite: self.rewrites,
            sent_wanted: 0,
            disk_rev: None,
            replaced: false,
            unconfirmed: Vec::new(),
            awaits_file_until: 0,
            commit: None,
            commit_failures: 0,
            commit_problem: None,
            commit_not_before: 0,
        });
        self.note_disk_rev(disk_rev);
        (self.peer, self.left_trouble) = (None, None);
        // What the last sender had no time to delete is this tab's to delete now, as far as the base holds it that will count.
        let rev = if self.replaced { disk_rev.unwrap_or(0) } else { self.replica.rev };
        for left in std::mem::take(&mut self.undeleted) {
            if left.rev <= rev {
                self.settle_again(left.slot, left.key);
            } else {
                // It waits again. Whoever has the slot by now shows it; of a closed one it is read.
                self.unheard.insert(left.key, left.slot);
            }
        }
        let mut read = vec![self.slot];
        read.extend(slots.iter().map(|slot| slot.slot));
        self.adopt(now_ms, slots, &meta);
        // Whom it was offered to before may have sent it.
        for key in self.outbox.keys(&|e| e.frozen) {
            if let Some(entry) = self.outbox.get_mut(key) {
                entry.unanswered = true;
            }
        }
        if meta.is_null() {
            // The base was lost, and with it the word of what had been sent: any of these may have been.
            let newest = self.outbox.keys(&|_| true).iter().filter_map(|key| self.outbox.get(*key)).map(|entry| entry.made.at).max();
            if let Some(sender) = &mut self.sender {
                sender.sent_wanted = newest.unwrap_or(0);
            }
        }
        // The last sender may have told us of what it had no time to write. What a newer page has written is not ours to.
        let outdated = self.outdated;
        let parked = self.outbox.keys(&|e| !outdated && matches!(e.state, State::Parked { .. }));
        let slot_of = |key: &Key| self.outbox.get(*key).map_or(self.slot, |entry| entry.slot);
        let (confirmed, unconfirmed): (Vec<Key>, Vec<Key>) = parked.into_iter().partition(|key| read.contains(&slot_of(key)));
        confirmed.into_iter().for_each(|key| self.put(key));
        if let Some(sender) = &mut self.sender {
            sender.unconfirmed = unconfirmed;
        }
        // What an earlier sender deleted from the slot of a tab that is open, and did not live to tell, is found there.
        let heard_of = !self.outbox.keys(&|e| e.saved && !read.contains(&e.slot)).is_empty();
        if heard_of || self.replaced || disk_rev.is_some_and(|rev| rev > self.replica.rev) {
            // The last sender's word has not reached us, or what is being read is older than its last. An older base must not go over
            // a newer one, whose records are gone.
            self.ask_reload();
        }
        self.carry_out_unsaid(now_ms);
        self.tell_peers_lead();
        self.pump(now_ms);
    }

    /// The disk has been read since this tab began to send: what it has deleted nobody has any more, and what an earlier sender parked and had
    /// no time to write is written.
    pub(crate) fn confirm(&mut self, gone: &[Key]) {
        if self.sender.is_some() {
            self.tell_void(gone);
        }
        let Some(sender) = self.sender.as_mut().filter(|_| !self.reload_again) else { return };
        let mut parked = std::mem::take(&mut sender.unconfirmed);
        parked.retain(|key| self.outbox.get(*key).is_some_and(|entry| matches!(entry.state, State::Parked { .. })));
        parked.iter().for_each(|key| self.put(*key));
        self.tell_changed(&parked);
    }

    /// A tab has closed: its transactions are ours to send. The slot of what is imported is read after each message that tells of a file.
    pub fn handle_adopted(&mut self, now_ms: u64, slot: crate::engine::SlotDisk) {
        if let Some(sender) = self.sender.as_mut().filter(|_| slot.slot == IMPORTED) {
            sender.awaits_file_until = 0;
        }
        self.adopt(now_ms, vec![slot], &Json::Null);
        self.pump(now_ms);
    }

    /// Another tab sends now.
    pub fn handle_unlead(&mut self, now_ms: u64) {
        let left: Vec<(u32, Key)> = self.unsettled().concat();
        if let Some(sender) = self.sender.take() {
            // Nobody has heard of the server since.
            self.left_trouble = sender.told_trouble();
            for (slot, key) in left {
                self.undeleted.push(Undeleted { slot, key, rev: self.replica.rev, epoch: sender.epoch });
            }
            if let Some(request) = sender.request {
                self.requeue(&request, true);
                self.effects.push_back(Effect::Abort { id: request.id });
            }
            // Whose revision has not come yet, the next sender asks for again.
            self.send_again(&|_| true);
            self.effects.push_back(Effect::Disconnect);
            // Its base may be ahead of the disk, and others have gone on from there: perhaps with a server that was set back meanwhile.
            self.read_anew();
        }
        self.pump(now_ms);
    }

    /// The result of [`Effect::RenewEpoch`].
    pub fn handle_epoch(&mut self, now_ms: u64, epoch: Option<u64>) {
        match (epoch, &mut self.sender) {
            (Some(epoch), Some(sender)) => (sender.epoch, sender.renews, self.epoch_heard) = (epoch, false, epoch),
            _ => self.handle_unlead(now_ms),
        }
        self.pump(now_ms);
    }

    fn adopt(&mut self, now_ms: u64, slots: Vec<crate::engine::SlotDisk>, meta: &Json) {
        let disk = crate::engine::Disk { slots, ..Default::default() };
        let mut gone = Vec::new();
        // What a closed tab left on disk is the last word: it may have altered what it had not offered, or deleted it. In
        // our own slot that goes for what an earlier sender may have settled or parked.
        for slot in &disk.slots {
            let own = slot.slot == self.slot;
            let records = slot.keys();
            // A decision of an earlier sender that has not been heard of: it took a parked one out for good.
            let parked = |e: &Entry| e.slot == slot.slot && e.saved && matches!(e.state, State::Parked { .. });
            for key in self.outbox.keys(&parked) {
                if slot.deleted(&records, key) {
                    self.outbox.remove(key);
                    gone.push(key);
                }
            }
            let stale = |e: &Entry| e.slot == slot.slot && e.saved && e.state == State::Queued && (e.frozen || !own);
            for key in self.outbox.keys(&stale) {
                // What was saved while the disk was being read is not among its records, and was not deleted either.
                if records.contains(&key) || slot.deleted(&records, key) {
                    self.outbox.remove(key);
                    gone.push(key);
                } else if let Some(entry) = self.outbox.get_mut(key).filter(|_| !own) {
                    (entry.frozen, entry.unanswered) = (true, true);
                }
            }
            self.unheard.retain(|_, owner| *owner != slot.slot);
        }
        let mut before = self.outbox.keys(&|_| true);
        before.sort_unstable();
        self.load_outbox(&disk, meta, true);
        // What a tab had saved when it died, and had not told of.
        let found = self.outbox.keys(&|e| e.slot != self.slot && before.binary_search(&e.made.key).is_err());
        self.tell_changed(&found);
        self.wait_for_unseen(now_ms, &found);
        // And what it had deleted. What cannot be read here, of a newer version perhaps, is there.
        gone.retain(|key| self.outbox.get(*key).is_none() && !self.unheard.contains_key(key));
        self.tell_void(&gone);
        self.redraw();
    }

    // ---- what to do next ----

    pub(crate) fn sender_pump(&mut self, now_ms: u64) {
        if self.sender.is_none() || !self.loaded || self.reloading.is_some() || self.outdated {
            return;
        }
        if self.sender.as_ref().is_some_and(|sender| sender.request.is_none()) {
            // What was on its way when it was decided about is so no more.
            self.carry_out_unsaid(now_ms);
        }
        self.commit(now_ms);
        if self.look_for_unseen(now_ms) || self.waits_too_long_for_a_file(now_ms) {
            return;
        }
        let Some(sender) = &self.sender else { return };
        if !self.online {
            return;
        }
        if sender.request.is_none() && !sender.renews && sender.not_before <= now_ms && sender.awaits_file_until == 0 {
            if self.has_base {
                self.push(now_ms);
            } else {
                self.fetch(now_ms);
            }
        }
        self.connect(now_ms);
    }

    /// Whether the page that imported a file keeps its slot: then all of the disk is read, for which nobody has to let go of anything.
    fn waits_too_long_for_a_file(&mut self, now_ms: u64) -> bool {
        let Some(sender) = self.sender.as_mut().filter(|sender| (1..=now_ms).contains(&sender.awaits_file_until)) else { return false };
        sender.awaits_file_until = 0;
        self.ask_reload();
        true
    }

    fn fetch(&mut self, now_ms: u64) {
        let id = self.new_id();
        let Some(sender) = &mut self.sender else { return };
        sender.request = Some(Request { id, started: now_ms, kind: Kind::Snapshot });
        self.effects.push_back(Effect::Fetch { id });
    }

    fn push(&mut self, now_ms: u64) {
        let units = self.batch(now_ms);
        // What waits, waits for rows that nobody has made, or for what is parked: that is not saving.
        let unseen = self.unseen.iter().any(|key| self.outbox.get(*key).is_some_and(|entry| entry.unseen_until_ms > now_ms));
        let starved = units.is_empty() && self.outbox.counts().queued > 0 && self.is_saved() && !unseen;
        let Some(sender) = &mut self.sender else { return };
        sender.starved = starved;
        if self.must_be_told_first(now_ms, &units) {
            return;
        }
        let Some(sender) = &self.sender else { return };
        let polls = (sender.live == Live::Off || sender.unchecked) && now_ms >= sender.last_pull + POLL_MS;
        if units.is_empty() && !sender.want_pull && !polls {
            return;
        }
        let mut keys = Vec::new();
        for unit in &units {
            keys.extend_from_slice(&unit.keys);
        }
        let clients = self.push_clients(&keys);
        let index = |key: &Key| (clients.iter().position(|c| c.id == key.0).unwrap_or(0), key.1);
        let mut texts = Vec::with_capacity(units.len());
        for unit in &units {
            let mut text = UnitText { txns: Vec::with_capacity(unit.keys.len()), after: Vec::with_capacity(unit.after.len()) };
            for key in &unit.keys {
                let Some(entry) = self.outbox.get(*key) else { continue };
                let replaces = entry.was.iter().filter(|was| clients.iter().any(|client| client.id == was.0)).map(index).collect();
                text.txns.push(TxnText { key: index(key), replaces, body: &entry.body });
            }
            for key in &unit.after {
                text.after.push(index(key));
            }
            texts.push(text);
        }
        let body =
            PushText { epoch: sender.epoch, cursor: (!self.behind).then_some(self.replica.rev), clients: &clients, units: texts }.to_json();
        for key in &keys {
            self.outbox.set_state(*key, State::InFlight);
            if let Some(entry) = self.outbox.get_mut(*key) {
                entry.frozen = true;
            }
        }
        let id = self.new_id();
        let Some(sender) = &mut self.sender else { return };
        sender.want_pull = false;
        sender.last_pull = now_ms;
        sender.request = Some(Request { id, started: now_ms, kind: Kind::Push { clients, keys } });
        self.effects.push_back(Effect::Push { id, body });
    }

    /// Whether the disk does not say yet that these may have been sent. After an upgrade of the schema that decides whether they
    /// go as they are. The mark is set ahead, so that it is written seldom; and where it cannot be written they go all the same:
    /// what is then written anew under a key that the server knows is parked.
    fn must_be_told_first(&mut self, now_ms: u64, units: &[Ready]) -> bool {
        let mut newest = 0;
        for key in units.iter().flat_map(|unit| &unit.keys) {
            newest = newest.max(self.outbox.get(*key).map_or(0, |entry| entry.made.at));
        }
        let Some(sender) = self.sender.as_mut().filter(|sender| newest > self.sent_on_disk && sender.commit_failures == 0) else {
            return false;
        };
        sender.sent_wanted = newest.max(Hlc::new(now_ms + SENT_AHEAD_MS, 0).0);
        self.commit(now_ms);
        true
    }

    fn batch(&self, now_ms: u64) -> Vec<Ready> {
        let Some(sender) = &self.sender else { return Vec::new() };
        if self.outbox.is_empty() {
            return Vec::new();
        }
        // The first half of the suspects: whichever half fails has the culprit.
        let half = sender.suspects.as_ref().map(|s| {
            let mut half = s[..s.len().div_ceil(2)].to_vec();
            half.sort_unstable();
            half
        });
        let lacks = |edit: &Edit, column: u16, row: RowKey| self.replica.lacks(&self.schema, edit, column, row);
        let sending = self.sending(now_ms, &lacks);
        let units = self.outbox.ready(&sending, sender.batch_txns, BATCH_BYTES, half.as_deref());
        if units.is_empty() && half.is_some() {
            // They cannot go any more (discarded, or waiting): look no further for the culprit.
            return self.outbox.ready(&sending, sender.batch_txns, BATCH_BYTES, None);
        }
        units
    }

    /// The clients of a push: those whose transactions it carries, and those with news of what is closed.
    fn push_clients(&self, keys: &[Key]) -> Vec<PushClient> {
        let mut ids: Vec<u64> = Vec::new();
        for (client, _) in keys {
            if !ids.contains(client) {
                ids.push(*client);
            }
        }
        // What something stands for is named, too.
        for (client, _) in keys.iter().filter_map(|key| self.outbox.get(*key)).flat_map(|entry| &entry.was) {
            if ids.len() < limits::PUSH_CLIENTS && !ids.contains(client) {
                ids.push(*client);
            }
        }
        let told = self.sender.as_ref().map(|s| &s.told);
        for client in self.high.keys() {
            if ids.len() < limits::PUSH_CLIENTS && !ids.contains(client) {
                let told = told.and_then(|told| told.iter().find(|told| told.0 == *client));
                if told.is_none_or(|told| told.1 != self.closed(*client)) {
                    ids.push(*client);
                }
            }
        }
        let mut clients = Vec::with_capacity(ids.len());
        for id in ids {
            clients.push(PushClient { id, receipt: self.receipts.get(&id).copied(), closed: self.closed(id) });
        }
        clients
    }

    /// The numbers of a client that are over: not in the outbox, or parked for good, and the disk knows it; and nothing that waits stands
    /// for them. By their marks the server knows whether they have taken effect before that comes.
    fn closed(&self, client: u64) -> Ranges {
        let numbers = (client, 0)..=(client, u64::MAX);
        let is_over = |e: &Entry| e.saved && matches!(e.state, State::Parked { spent: true, .. });
        let mut open = Vec::new();
        for seq in self.outbox.seqs_of(client) {
            if !self.outbox.get((client, seq)).is_some_and(is_over) {
                open.push(seq);
            }
        }
        for entry in self.outbox.iter().filter(|entry| !entry.was.is_empty() && !is_over(entry)) {
            open.extend(entry.was.iter().filter(|was| was.0 == client).map(|was| was.1));
        }
        for list in self.unsettled() {
            for (_, key) in list {
                if key.0 == client {
                    open.push(key.1);
                }
            }
        }
        for key in self.leaving.range(numbers.clone()) {
            open.push(key.1);
        }
        for (key, _) in self.unheard.range(numbers) {
            open.push(key.1);
        }
        for damaged in &self.damaged {
            if damaged.key.0 == client {
                open.push(damaged.key.1);
            }
        }
        sort_dedup(&mut open);
        let high = self.high.get(&client).copied().unwrap_or(0);
        let mut closed = Ranges::all_but(high, &open);
        closed.truncate(limits::CLOSED_RANGES);
        closed
    }

    // ---- what comes back ----

    /// The answer to a push or a fetch. `retry_after_ms` as the server asked.
    pub fn handle_answer(&mut self, now_ms: u64, id: u64, status: u16, retry_after_ms: Option<u64>, body: &str) {
        let Some(request) = self.take_request(id) else { return };
        match (&request.kind, status) {
            (Kind::Snapshot, 200) => match self.read_snapshot(body) {
                Some(snapshot) => self.take_snapshot(now_ms, snapshot),
                // This page can do nothing until it is loaded again.
                None if self.behind => self.fail(now_ms, Some(BEHIND_MS), "schema_newer"),
                // Cut off on the way.
                None => self.fail(now_ms, None, "no answer"),
            },
            (Kind::Push { clients, keys }, 200) => match read_answer(&self.schema, body) {
                Some(answer) => self.take_answer(now_ms, clients, keys, answer),
                None => {
                    self.requeue(&request, true);
                    self.fail(now_ms, None, "no answer");
                }
            },
            _ => self.take_refusal(now_ms, request, status, retry_after_ms, body),
        }
        self.pump(now_ms);
    }

    fn read_snapshot(&mut self, body: &str) -> Option<Snapshot> {
        let version = snapshot_version(&self.schema, body);
        self.behind = version > self.schema.version;
        match version < self.schema.version {
            _ if self.behind => None,
            true => upgrade_snapshot(&self.schema, version, body),
            false => read_snapshot(&self.schema, body),
        }
    }

    pub fn handle_send_failed(&mut self, now_ms: u64, id: u64, failure: SendFailure) {
        let Some(request) = self.take_request(id) else { return };
        self.request_failed(now_ms, request, failure);
        self.pump(now_ms);
    }

    fn take_request(&mut self, id: u64) -> Option<Request> {
        self.sender.as_mut()?.request.take_if(|request| request.id == id)
    }

    /// Puts what a request carried back into the queue; it stays frozen. `lost`: it may have arrived and taken effect.
    fn requeue(&mut self, request: &Request, lost: bool) {
        let Kind::Push { keys, .. } = &request.kind else { return };
        for key in keys {
            if let Some(entry) = self.outbox.get_mut(*key).filter(|e| e.state == State::InFlight) {
                entry.unanswered |= lost;
                self.outbox.set_state(*key, State::Queued);
            }
        }
    }

    fn take_answer(&mut self, now_ms: u64, clients: &[PushClient], keys: &[Key], answer: Answer) {
        if let Some(sender) = &mut self.sender {
            sender.failures = 0;
            sender.trouble = None;
            if !keys.is_empty() {
                sender.passes += 1;
                sender.refusals = 0;
            }
            sender.batch_txns = (sender.batch_txns * 2).min(limits::PUSH_TXNS);
            for client in clients {
                sender.told.retain(|told| told.0 != client.id);
                sender.told.push((client.id, client.closed.clone()));
            }
            if let Some(suspects) = &mut sender.suspects {
                suspects.retain(|key| !keys.contains(key));
            }
            sender.suspects.take_if(|suspects| suspects.is_empty());
            sender.want_pull |= answer.more;
        }
        for client in &answer.clients {
            // To the device that made what was imported, another's echo would be news of a copied profile.
            let ours = !client.fork && self.high.contains_key(&client.id);
            if let (Some(sender), Some(receipt)) = (&mut self.sender, client.receipt.filter(|_| ours)) {
                sender.receipts.insert(client.id, receipt);
            }
            if client.fork && client.id == self.client {
                self.take_new_client();
            }
        }
        let mut taken = Vec::new();
        for ((client, seq), outcome) in &answer.outcomes {
            if matches!(outcome, Outcome::Applied { .. }) {
                taken.extend(clients.get(*client).map(|client| (client.id, *seq)));
            }
        }
        let mut parked = self.settle_outcomes(now_ms, clients, answer.outcomes);
        if self.hear_version(answer.schema) {
            self.event_keys("accepted", &taken);
            return self.note_base(Absorbed { from: self.replica.rev, to: self.replica.rev, ..Absorbed::default() }, &parked);
        }
        if answer.reload {
            self.fetch_in_doubt();
        }
        let mut absorbed = self.absorb(answer.changes);
        if absorbed.gap {
            self.fetch_in_doubt();
        }
        let complete = !answer.more && !answer.reload && self.replica.rev == answer.rev;
        // Another version counts other columns.
        let digest = answer.digest.filter(|_| complete && answer.schema == self.schema.version);
        if let Some(sender) = &mut self.sender {
            sender.unchecked = digest.is_none() && answer.schema == self.schema.version;
        }
        if digest.is_some_and(|digest| digest != self.replica.digest) {
            self.report("digest_differs", "the rows here differ from the server's; they are fetched again");
            self.fetch_in_doubt();
        }
        if self.has_base {
            // The revisions of another base than ours say nothing about what ours holds.
            self.settle_applied(&mut absorbed);
            if complete {
                // Whatever was applied at a later one, the server does not have it any more.
                self.send_again(&|rev| rev > absorbed.to);
            }
        }
        parked.extend(self.park_orphans(&absorbed.deleted));
        self.note_base(absorbed, &parked);
    }

    /// Whether the server is newer than this page. Then all that its answers say is what became of what was sent.
    fn hear_version(&mut self, version: u32) -> bool {
        let was = std::mem::replace(&mut self.behind, version > self.schema.version);
        let Some(sender) = &mut self.sender else { return self.behind };
        if self.behind {
            sender.want_pull = false;
            if sender.live != Live::Off {
                sender.live = Live::Off;
                self.effects.push_back(Effect::Disconnect);
            }
        } else if was {
            sender.want_pull = true;
        }
        self.behind
    }

    /// Applies outcomes to the outbox; returns the keys whose records changed.
    fn settle_outcomes(&mut self, now_ms: u64, clients: &[PushClient], outcomes: Vec<((usize, u64), Outcome)>) -> Vec<Key> {
        let mut parked = Vec::new();
        for ((client, seq), outcome) in outcomes {
            let Some(key) = clients.get(client).map(|client| (client.id, seq)) else { continue };
            let random = self.random();
            let Some(entry) = self.outbox.get_mut(key) else { continue };
            match outcome {
                Outcome::Applied { rev, notices } => {
                    self.outbox.set_state(key, State::Applied { rev });
                    for notice in notices {
                        self.event_problem("notice", key, &notice);
                    }
                }
                // Our view of its dependencies was wrong; it is not asked again at once.
                Outcome::Held => {
                    entry.unanswered = false;
                    entry.fails += 1;
                    entry.aside_until_ms = now_ms + 1 + delay_ms(entry.fails, random);
                    self.outbox.set_state(key, State::Queued);
                    self.put_aside(key);
                }
                // The device that made what was imported has used its key for something else.
                Outcome::Refused(problem) if problem.code == "key_reused" && entry.slot == IMPORTED => {
                    self.park(key, problem, true);
                    parked.push(key);
                }
                Outcome::Refused(problem) if problem.code == "key_reused" => self.reissue(key),
                Outcome::Refused(problem) | Outcome::Unknown(problem) => {
                    self.park(key, problem, true);
                    parked.push(key);
                }
            }
        }
        parked
    }

    /// Settles what was applied no later than the revision that the base had before. What was applied since has been found in its
    /// revision; if not, the server has forgotten it since, and it goes again.
    fn settle_applied(&mut self, absorbed: &mut Absorbed) {
        let done = self.outbox.keys(&|e| matches!(e.state, State::Applied { rev } if rev <= absorbed.from));
        for key in &done {
            absorbed.settled.extend(self.outbox.remove(*key).map(|entry| (entry.slot, *key)));
        }
        if !done.is_empty() {
            self.redraw();
        }
        self.send_again(&|rev| rev <= absorbed.to);
    }

    /// What refers to a row that someone else has deleted can never be sent as it is: the user decides.
    pub(crate) fn park_orphans(&mut self, deleted: &[RowKey]) -> Vec<Key> {
        let mut orphans = Vec::new();
        for row in deleted {
            if self.replica.in_base(*row) || self.outbox.creates(*row) {
                continue;
            }
            for entry in self.outbox.referring(*row) {
                let refers = |edit: &Edit| edit.references().any(|r| r.1 == *row && !self.schema.is_loose(edit, r.0));
                if entry.state == State::Queued && entry.edits.iter().any(refers) {
                    orphans.push((entry.made.key, *row));
                }
            }
        }
        sort_dedup(&mut orphans);
        let mut parked = Vec::new();
        for (key, row) in orphans {
            if !self.may_alter(key) || self.outbox.get(key).is_some_and(|entry| !entry.saved) {
                // Another tab has not offered it yet, and may be folding it, or it is not on disk: it is parked when it comes.
                if let Some(sender) = self.sender.as_mut().filter(|sender| !sender.missed.contains(&row)) {
                    sender.missed.push(row);
                }
            } else if self.is_queued(key) {
                let table = &self.schema.tables[row.table as usize].name;
                let problem = Problem::new("missing_parent", format!("the {table} that this refers to was deleted by someone else"));
                let problem = problem.row(&self.schema, row);
                self.park(key, problem, false);
                parked.push(key);
            }
        }
        parked
    }

    /// The same of what refers to rows that were deleted earlier, and has become ours to park.
    pub(crate) fn park_missed(&mut self) {
        let Some(missed) = self.sender.as_ref().map(|sender| sender.missed.clone()) else { return };
        let parked = self.park_orphans(&missed);
        self.tell_changed(&parked);
        let outbox = &self.outbox;
        if let Some(sender) = &mut self.sender {
            sender.missed.retain(|row| outbox.referring(*row).next().is_some());
        }
    }

    pub(crate) fn park(&mut self, key: Key, problem: Problem, spent: bool) {
        self.event_problem("parked", key, &problem);
        self.outbox.set_state(key, State::Parked { problem, spent });
        if let Some(entry) = self.outbox.get_mut(key) {
            entry.suspended = false;
        }
        self.put(key);
    }

    fn take_snapshot(&mut self, now_ms: u64, snapshot: Snapshot) {
        let replace = |base: &mut crate::replica::Base| base.replace(snapshot.rev, snapshot.digest, snapshot.rows);
        let patch = self.replica.rebase(&self.schema, replace, &self.outbox);
        self.effects.extend(patch.map(Effect::Patch));
        self.has_base = true;
        self.send_doubtful_again();
        let mut absorbed = Absorbed { from: self.replica.rev, to: self.replica.rev, ..Absorbed::default() };
        self.settle_applied(&mut absorbed);
        if let Some(sender) = &mut self.sender {
            sender.failures = 0;
            sender.trouble = None;
            sender.rewrite = true;
            sender.replaced = true;
            sender.want_pull = true;
            sender.last_pull = now_ms;
        }
        self.note_base(absorbed, &[]);
    }

    fn fetch_in_doubt(&mut self) {
        self.has_base = false;
        if let Some(sender) = &mut self.sender {
            sender.doubts = true;
            if sender.live != Live::Off {
                // Its cursor belongs to the base that is thrown away.
                sender.live = Live::Off;
                self.effects.push_back(Effect::Disconnect);
            }
        }
    }

    /// A server that was set back to a backup has forgotten what it applied since. What has not left the outbox is asked for again:
    /// a server that remembers takes it for a repeat.
    fn send_doubtful_again(&mut self) {
        let doubts = self.sender.as_mut().is_some_and(|sender| std::mem::take(&mut sender.doubts));
        if let Some(sender) = self.sender.as_mut().filter(|_| doubts) {
            sender.answered = SortedSet::new();
        }
        let rev = self.replica.rev;
        self.send_again(&|at| doubts || at > rev);
    }

    /// Puts back into the queue what was applied at such a revision.
    fn send_again(&mut self, wanted: &dyn Fn(u64) -> bool) {
        for key in self.outbox.keys(&|e| matches!(e.state, State::Applied { rev } if wanted(rev))) {
            self.outbox.set_state(key, State::Queued);
            if let Some(entry) = self.outbox.get_mut(key) {
                entry.unanswered = true;
            }
        }
    }

    // ---- time ----

    pub(crate) fn sender_tick(&mut self, now_ms: u64) {
        let Some(sender) = &mut self.sender else { return };
        if let Some(request) = sender.request.take_if(|r| now_ms >= r.deadline()) {
            self.effects.push_back(Effect::Abort { id: request.id });
            self.request_failed(now_ms, request, SendFailure::Timeout);
        }
        let Some(sender) = &self.sender else { return };
        let silent = match sender.live {
            Live::Off => false,
            Live::Connecting { since } => now_ms >= since + SILENCE_MS,
            Live::On { heard } => now_ms >= heard + SILENCE_MS,
        };
        if silent {
            // Until something answers again, nothing can be called saved.
            if let Some(sender) = &mut self.sender {
                sender.trouble.get_or_insert_with(|| "no answer".to_string());
            }
            self.effects.push_back(Effect::Disconnect);
            self.handle_live_closed(now_ms);
        }
    }

    pub(crate) fn sender_online_changed(&mut self, now_ms: u64) {
        let random = self.random();
        let online = self.online;
        let Some(sender) = &mut self.sender else { return };
        if online {
            // Soon, but not all at once with everybody who comes back.
            sender.not_before = sender.not_before.min(now_ms + random % 500);
            sender.live_not_before = sender.live_not_before.min(now_ms + random % 500);
            sender.failures = 0;
            sender.want_pull = true;
        } else {
            sender.live = Live::Off;
            self.effects.push_back(Effect::Disconnect);
            if let Some(request) = self.sender.as_mut().and_then(|s| s.request.take()) {
                self.requeue(&request, true);
                self.effects.push_back(Effect::Abort { id: request.id });
            }
        }
        self.tell_peers_lead();
    }

    pub(crate) fn sender_wake(&self, now_ms: u64) -> Option<u64> {
        let sender = self.sender.as_ref()?;
        let mut times = vec![sender.commit_not_before, sender.awaits_file_until];
        if let Some(request) = &sender.request {
            times.push(request.deadline());
            times.push(request.started + SILENCE_MS);
        }
        if self.online {
            times.push(sender.not_before);
            times.push(sender.live_not_before);
            times.push(match sender.live {
                Live::Off => sender.last_pull + POLL_MS,
                Live::Connecting { since } => since + SILENCE_MS,
                Live::On { heard } => heard + SILENCE_MS,
            });
            if sender.unchecked {
                times.push(sender.last_pull + POLL_MS);
            }
            for key in sender.aside.iter() {
                times.extend(self.outbox.get(*key).map(|entry| entry.aside_until_ms));
            }
            for key in self.unseen.iter() {
                times.extend(self.outbox.get(*key).map(|entry| entry.unseen_until_ms));
            }
        }
        times.retain(|at| *at > now_ms);
        times.into_iter().min()
    }
}
