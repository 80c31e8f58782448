//! What fails: whom a failed request is blamed on, what is put aside and suspended, and how long to wait.

use super::{Kind, Request, SendFailure};
use crate::backoff::delay_ms;
use crate::edit::Edit;
use crate::engine::{Absorbed, Effect, Engine};
use crate::json::Json;
use crate::limits;
use crate::outbox::Key;
use crate::problem::Problem;
use crate::value::RowKey;

/// So many failed requests of a transaction alone, while others pass, suspend it.
const FAILS_TO_SUSPEND: u32 = 5;
/// So many lone transactions refused as malformed or too large, with none passing, are taken for a failure of the server.
const REFUSALS_IN_A_ROW: u32 = 2;
/// A suspended transaction is tried again after this long.
const SUSPENDED_MS: u64 = 600_000;

impl Engine {
    pub(crate) fn take_refusal(&mut self, now_ms: u64, request: Request, status: u16, retry_after_ms: Option<u64>, body: &str) {
        let json = Json::parse_or_null(body);
        let code = json.text("code").unwrap_or("no answer").to_string();
        // Whoever is on the way between may not know what the server has done; now and then the server itself does not.
        self.requeue(&request, json.flag("unsure") || (status >= 500 && json.text("code").is_none()));
        let keys = match request.kind {
            Kind::Push { keys, .. } => keys,
            Kind::Snapshot => Vec::new(),
        };
        match status {
            409 => {
                let ours = self.epoch().unwrap_or(0);
                let at_least = json.uint("epoch").unwrap_or(0).max(ours).saturating_add(1);
                self.effects.push_back(Effect::RenewEpoch { at_least });
                if let Some(sender) = &mut self.sender {
                    sender.renews = true;
                }
                self.fail(now_ms, None, &code);
            }
            413 | 400 | 415 | 422 if !keys.is_empty() => self.divide(now_ms, keys, &code, &json),
            500 | 502 | 504 if !keys.is_empty() => self.blame(now_ms, keys, retry_after_ms, &code),
            401 | 403 => {
                self.effects.push_back(Effect::Event(format!("{{\"event\":\"token\",\"code\":\"{code}\"}}")));
                self.fail(now_ms, retry_after_ms, &code);
            }
            _ => self.fail(now_ms, retry_after_ms, &code),
        }
    }

    /// Nothing of a request is to blame: wait, and try again.
    pub(crate) fn fail(&mut self, now_ms: u64, retry_after_ms: Option<u64>, trouble: &str) {
        let random = self.random();
        let Some(sender) = &mut self.sender else { return };
        sender.failures += 1;
        sender.trouble = Some(trouble.to_string());
        sender.want_pull = true;
        sender.not_before = now_ms + delay_ms(sender.failures, random).max(retry_after_ms.unwrap_or(0));
    }

    /// The server cannot take this request: halve it; what stands alone is parked.
    fn divide(&mut self, now_ms: u64, keys: Vec<Key>, code: &str, json: &Json) {
        if self.units_of(&keys) > 1 {
            if let Some(sender) = &mut self.sender {
                sender.batch_txns = (keys.len() / 2).max(1);
            }
            return;
        }
        let random = self.random();
        let Some(sender) = &mut self.sender else { return };
        sender.refusals += 1;
        if sender.refusals > REFUSALS_IN_A_ROW {
            // Whoever refuses everything, refuses no one in particular.
            return self.fail(now_ms, None, code);
        }
        let mut problem = Problem::from_json(json);
        problem.code = code.to_string();
        for key in &keys {
            self.park(*key, problem.clone(), false);
        }
        if let Some(sender) = &mut self.sender {
            sender.suspects = None;
            sender.batch_txns = limits::PUSH_TXNS;
            sender.not_before = now_ms + delay_ms(1, random);
        }
        let nothing = Absorbed { from: self.replica.rev, to: self.replica.rev, ..Absorbed::default() };
        self.note_base(nothing, &keys);
        self.pump(now_ms);
    }

    /// The server failed on a request: look for the culprit by halves, and wait before each next try.
    fn blame(&mut self, now_ms: u64, keys: Vec<Key>, retry_after_ms: Option<u64>, trouble: &str) {
        let alone = self.units_of(&keys) <= 1;
        let random = self.random();
        let Some(sender) = &mut self.sender else { return };
        // A search that gets narrower is one failure, however many requests it takes.
        let narrower = sender.suspects.as_ref().is_some_and(|s| keys.len() < s.len() && keys.iter().all(|k| s.contains(k)));
        sender.failures = if narrower { sender.failures.max(1) } else { sender.failures + 1 };
        sender.trouble = Some(trouble.to_string());
        sender.not_before = now_ms + delay_ms(sender.failures, random).max(retry_after_ms.unwrap_or(0));
        let passes = sender.passes;
        for key in &keys {
            if let Some(entry) = self.outbox.get_mut(*key) {
                entry.passes_before.get_or_insert(passes);
            }
        }
        if !alone {
            sender.suspects = Some(keys);
            return;
        }
        sender.suspects = None;
        let mut suspended = Vec::new();
        for key in keys {
            self.put_aside(key);
            let Some(entry) = self.outbox.get_mut(key) else { continue };
            entry.fails += 1;
            let others_pass = entry.passes_before.is_some_and(|before| passes > before);
            // What was suspended already, before a reload even, has had its quick tries.
            if entry.suspended || (entry.fails >= FAILS_TO_SUSPEND && others_pass) {
                entry.suspended = true;
                // It would have been found among what the server had done.
                entry.unanswered &= trouble == "no answer";
                entry.aside_until_ms = now_ms + SUSPENDED_MS / 2 + random % (SUSPENDED_MS / 2);
                suspended.push(key);
            } else {
                entry.aside_until_ms = now_ms + 1 + delay_ms(entry.fails + 1, random);
            }
        }
        for key in suspended {
            let problem = Problem::new("suspended", "the server fails on this transaction; it is tried again now and then");
            self.event_problem("suspended", key, &problem);
            self.put(key);
        }
    }

    pub(crate) fn put_aside(&mut self, key: Key) {
        if let Some(sender) = &mut self.sender {
            sender.aside.insert(key);
        }
    }

    fn units_of(&self, keys: &[Key]) -> usize {
        // Only members of one cycle travel together when there are several and none can go alone; a batch of one is one.
        if keys.len() <= 1 {
            return keys.len();
        }
        let lacks = |edit: &Edit, column: u16, row: RowKey| self.replica.lacks(&self.schema, edit, column, row);
        let mut only = keys.to_vec();
        only.sort_unstable();
        let mut units = 0;
        self.outbox.visit(&self.sending(u64::MAX, &lacks), |members, _, _| {
            units += usize::from(members.iter().any(|m| only.binary_search(&m.made.key).is_ok()));
            units < 2
        });
        units
    }

    pub(crate) fn request_failed(&mut self, now_ms: u64, request: Request, failure: SendFailure) {
        self.requeue(&request, true);
        match (failure, &request.kind) {
            (SendFailure::Timeout, Kind::Push { keys, .. }) => self.blame(now_ms, keys.clone(), None, "no answer"),
            _ => self.fail(now_ms, None, "unreachable"),
        }
    }
}
