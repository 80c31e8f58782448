//! What the one tab does that sends for all: what it sends, and when; in rooms of their own how its turn comes and goes (`turn`), what comes
//! back (`answers`), the base on disk (`base`), the live connection (`live`), and what fails (`failures`).
//!
//! One push is in flight per space. A batch on which the server fails is halved until the culprit stands alone; that one
//! is put aside and then suspended, and holds only what depends on it.

mod answers;
mod base;
mod failures;
mod live;
mod turn;

use crate::dedupe::Ranges;
use crate::edit::Edit;
use crate::engine::{Effect, Engine};
use crate::limits;
use crate::merge::Hlc;
use crate::outbox::{Entry, Key, Ready, State};
use crate::sorted::{SortedMap, SortedSet, sort_dedup};
use crate::value::RowKey;
use crate::wire::{PushClient, PushText, TxnText, UnitText};
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
/// What refers to a row that is not there any more waits so long for it.
const LOST_MS: u64 = 10_000;
/// What another tab has shown it offers within this time, unless the browser has frozen it.
const OFFER_MS: u64 = 5_000;
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
    /// Until then another tab may take to offer what it has shown.
    offer_until: u64,
    /// What waits for rows that are not there any more, and since when; 0 where their delete was heard.
    lost: SortedMap<Key, u64>,
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
    fn new(epoch: u64, rewrite: bool) -> Sender {
        Sender {
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
            offer_until: 0,
            lost: SortedMap::new(),
            live: Live::Off,
            live_failures: 0,
            live_not_before: 0,
            last_pull: 0,
            uncommitted: Vec::new(),
            answered: SortedSet::new(),
            receipts: SortedMap::new(),
            tail: Vec::new(),
            tail_bytes: 0,
            rewrite,
            sent_wanted: 0,
            disk_rev: None,
            replaced: false,
            unconfirmed: Vec::new(),
            awaits_file_until: 0,
            commit: None,
            commit_failures: 0,
            commit_problem: None,
            commit_not_before: 0,
        }
    }

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
        self.queue_found();
        let units = self.batch(now_ms);
        // What waits, waits for rows that nobody has made, or for what is parked: that is not saving.
        let unseen = self.unseen.iter().any(|key| self.outbox.get(*key).is_some_and(|entry| entry.unseen_until_ms > now_ms));
        let starved = units.is_empty() && self.outbox.counts().queued > 0 && self.is_saved() && !unseen;
        // What another tab has shown and not offered yet is for a while not told to wait for rows: it is about to be.
        let unoffered = |e: &Entry| e.slot != self.slot && e.saved && !e.frozen && e.state == State::Queued;
        let is_offered = starved && self.outbox.keys(&unoffered).is_empty();
        let Some(sender) = &mut self.sender else { return };
        if !starved || is_offered {
            sender.offer_until = 0;
        } else if sender.offer_until == 0 {
            sender.offer_until = now_ms + OFFER_MS;
        }
        sender.starved = is_offered || (starved && now_ms >= sender.offer_until);
        if starved || sender.lost.values().any(|since| *since == 0) {
            self.park_lost(now_ms);
        }
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

    /// There is something new to send: until that has been looked at, nobody can say that all waits for rows.
    pub(crate) fn note_work(&mut self) {
        if let Some(sender) = &mut self.sender {
            sender.starved = false;
        }
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
            times.extend(sender.lost.values().map(|since| since + LOST_MS));
            times.push(sender.offer_until);
            for key in self.unseen.iter() {
                times.extend(self.outbox.get(*key).map(|entry| entry.unseen_until_ms));
            }
        }
        times.retain(|at| *at > now_ms);
        times.into_iter().min()
    }
}
