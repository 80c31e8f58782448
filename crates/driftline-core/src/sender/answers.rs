//! What comes back: answers to requests, what they settle and park, and the base that they move on or replace.

use super::live::Live;
use super::{Kind, LOST_MS, Request, SendFailure};
use crate::backoff::delay_ms;
use crate::edit::Edit;
use crate::engine::{Absorbed, Effect, Engine, IMPORTED};
use crate::limits;
use crate::outbox::{Entry, Key, State};
use crate::problem::Problem;
use crate::sorted::SortedSet;
use crate::upgrade::upgrade_snapshot;
use crate::value::RowKey;
use crate::wire::{Answer, Outcome, PushClient, Snapshot, read_answer, read_snapshot, snapshot_version};

/// How often a page without a base asks whether the server is of its version again.
const BEHIND_MS: u64 = 60_000;

impl Engine {
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

    pub(super) fn take_request(&mut self, id: u64) -> Option<Request> {
        self.sender.as_mut()?.request.take_if(|request| request.id == id)
    }

    /// Puts what a request carried back into the queue; it stays frozen. `lost`: it may have arrived and taken effect.
    pub(super) fn requeue(&mut self, request: &Request, lost: bool) {
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
        let parked = self.settle_outcomes(now_ms, clients, answer.outcomes);
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
        self.lose(&absorbed.deleted);
        self.note_base(absorbed, &parked);
    }

    /// Whether the server is newer than this page. Then all that its answers say is what became of what was sent.
    pub(crate) fn hear_version(&mut self, version: u32) -> bool {
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
    pub(super) fn settle_applied(&mut self, absorbed: &mut Absorbed) {
        let done = self.outbox.keys(&|e| matches!(e.state, State::Applied { rev } if rev <= absorbed.from));
        for key in &done {
            absorbed.settled.extend(self.outbox.remove(*key).map(|entry| (entry.slot, *key)));
        }
        if !done.is_empty() {
            self.redraw();
        }
        self.send_again(&|rev| rev <= absorbed.to);
    }

    /// What needs a row that has just been deleted waits no longer for it, also where it was made before that row was there.
    pub(super) fn lose(&mut self, deleted: &[RowKey]) {
        for row in deleted {
            if self.replica.in_base(*row) || self.outbox.creates(*row) {
                continue;
            }
            let needs = |edit: &Edit| edit.references().any(|r| r.1 == *row && !self.schema.is_loose(edit, r.0));
            let entries = self.outbox.referring(*row).filter(|entry| entry.edits.iter().any(needs));
            for key in entries.map(|entry| entry.made.key).collect::<Vec<Key>>() {
                if let Some(sender) = &mut self.sender {
                    sender.lost.insert(key, 0);
                }
                let is_ours = self.may_alter(key);
                if self.outbox.get_mut(key).is_some_and(|entry| std::mem::take(&mut entry.awaits)) && is_ours {
                    self.put(key);
                }
            }
        }
    }

    /// What refers to a row that was there when it was made and is not any more can never be sent as it is: the user decides. Where nobody
    /// has heard of a delete since, it may have been deleted before: so it waits a little, and the server is asked. Should the row come
    /// back, it goes.
    pub(super) fn park_lost(&mut self, now_ms: u64) {
        let mut lost = Vec::new();
        for key in self.outbox.keys(&|e| e.state == State::Queued && e.saved && !e.awaits) {
            lost.extend(self.lacking(key).filter(|_| self.may_alter(key)).map(|row| (key, row)));
        }
        let Some(sender) = &mut self.sender else { return };
        let before = std::mem::take(&mut sender.lost);
        for (key, _) in &lost {
            let since = before.get(key).copied();
            sender.want_pull |= since.is_none();
            sender.lost.insert(*key, since.unwrap_or(now_ms));
        }
        let is_due = |since: u64| since + LOST_MS <= now_ms;
        // Who has slept asks once more.
        let is_old = now_ms >= sender.last_pull + 2 * LOST_MS;
        sender.want_pull |= is_old && sender.lost.values().any(|since| is_due(*since));
        let asked = !sender.want_pull && sender.trouble.is_none() && !self.behind;
        lost.retain(|(key, _)| sender.lost.get(key).is_some_and(|since| *since == 0 || (asked && is_due(*since))));
        let mut parked = Vec::new();
        for (key, row) in lost {
            let table = &self.schema.tables[row.table as usize].name;
            let problem = Problem::new("missing_parent", format!("the {table} that this refers to is not there any more"));
            let problem = problem.row(&self.schema, row);
            self.park(key, problem, false);
            parked.push(key);
        }
        self.tell_changed(&parked);
    }

    /// Lets go what was parked for a row that is there now, before it was ever sent.
    pub(super) fn queue_found(&mut self) {
        if self.outbox.counts().parked == 0 {
            return;
        }
        let is_lost = |e: &Entry| matches!(&e.state, State::Parked { problem, spent: false } if problem.code == "missing_parent");
        let mut found = self.outbox.keys(&is_lost);
        found.retain(|key| self.may_alter(*key) && self.lacking(*key).is_none());
        for key in &found {
            self.outbox.set_state(*key, State::Queued);
            self.put(*key);
        }
        self.tell_changed(&found);
    }

    /// A row that a transaction refers to and that is nowhere, so that sending it would be in vain.
    pub(crate) fn lacking(&self, key: Key) -> Option<RowKey> {
        let lacks = |edit: &Edit, column: u16, row: RowKey| self.replica.lacks(&self.schema, edit, column, row);
        self.outbox.missing(self.outbox.get(key)?, &lacks).first().copied()
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
        let patches = self.replica.rebase(&self.schema, replace, &self.outbox);
        self.effects.extend(patches.into_iter().map(Effect::Patch));
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
    pub(super) fn send_again(&mut self, wanted: &dyn Fn(u64) -> bool) {
        for key in self.outbox.keys(&|e| matches!(e.state, State::Applied { rev } if wanted(rev))) {
            self.outbox.set_state(key, State::Queued);
            if let Some(entry) = self.outbox.get_mut(key) {
                entry.unanswered = true;
            }
        }
    }
}
