//! What the app is told: events, the true status, the outbox as it is sorted and sent.

use crate::edit::{Edit, Op};
use crate::engine::{Effect, Engine, write_key, write_keys};
use crate::outbox::{Entry, Key, State, Wait};
use crate::problem::Problem;
use crate::value::{RowKey, write_string, write_uint};

/// Of what waits on a parked transaction, so many are named.
const DEPENDENTS_SHOWN: usize = 1_000;

impl Engine {
    // ---- events ----

    pub(crate) fn event_keys(&mut self, event: &str, keys: &[Key]) {
        if keys.is_empty() {
            return;
        }
        let mut out = format!("{{\"event\":\"{event}\",\"keys\":");
        write_keys(keys, &mut out);
        out.push('}');
        self.effects.push_back(Effect::Event(out));
    }

    pub(crate) fn event_problem(&mut self, event: &str, key: Key, problem: &Problem) {
        let mut out = format!("{{\"event\":\"{event}\",\"key\":\"");
        write_key(key, &mut out);
        out.push_str("\",\"problem\":");
        problem.write_json(&mut out);
        out.push('}');
        self.effects.push_back(Effect::Event(out));
    }

    pub(crate) fn report(&mut self, code: &str, detail: &str) {
        let problem = Problem::new(code, detail).to_json();
        self.effects.push_back(Effect::Event(format!("{{\"event\":\"error\",\"problem\":{problem}}}")));
    }

    // ---- status ----

    /// `{"state", "reason", "line", "queued", "in_flight", "parked", "rev", "undo", "redo"}`. The line is for people and tests: `q3 f2 p1 r40` is
    /// queued, in flight, parked, revision.
    pub fn status(&self) -> String {
        let counts = self.outbox.counts();
        let (state, reason) = self.state();
        let mut out = format!("{{\"state\":\"{state}\",\"reason\":");
        match reason {
            Some(reason) => write_string(&reason, &mut out),
            None => out.push_str("null"),
        }
        let line = self.line();
        out.push_str(&format!(",\"line\":\"{line}\",\"queued\":"));
        write_uint(counts.queued as u64, &mut out);
        out.push_str(",\"in_flight\":");
        write_uint((counts.in_flight + counts.applied) as u64, &mut out);
        out.push_str(",\"parked\":");
        write_uint(counts.parked as u64, &mut out);
        out.push_str(",\"rev\":");
        write_uint(self.replica.rev, &mut out);
        let (undo, redo) = self.undo_depths();
        out.push_str(",\"undo\":");
        write_uint(undo as u64, &mut out);
        out.push_str(",\"redo\":");
        write_uint(redo as u64, &mut out);
        out.push_str(if self.sender.is_some() { ",\"sender\":true}" } else { ",\"sender\":false}" });
        out
    }

    /// The one-line status.
    pub fn line(&self) -> String {
        let counts = self.outbox.counts();
        format!("q{} f{} p{} r{}", counts.queued, counts.in_flight + counts.applied, counts.parked, self.replica.rev)
    }

    fn state(&self) -> (&'static str, Option<String>) {
        let counts = self.outbox.counts();
        // What a newer server has taken is saved; that it has, this page will not see until it is loaded again.
        let behind = if self.sender.is_some() { self.behind } else { self.peer.as_ref().map_or(self.behind, |peer| peer.behind) };
        let newer = || behind.then(|| "schema_newer".to_string());
        let waiting = counts.queued + counts.in_flight + if behind { 0 } else { counts.applied };
        if self.outdated {
            return ("not_saving", Some("schema_newer".to_string()));
        }
        if let Some(code) = self.storage_problem() {
            return ("not_saving", Some(code.clone()));
        }
        if !self.online {
            return ("offline", None);
        }
        let trouble = match (&self.sender, &self.peer) {
            (Some(sender), _) => sender.told_trouble(),
            (None, _) if self.is_sender_silent() => Some("sender_silent".to_string()),
            (None, Some(peer)) if !peer.online => return ("offline", None),
            (None, Some(peer)) => peer.trouble.clone(),
            (None, None) => self.left_trouble.clone(),
        };
        match trouble.as_deref() {
            Some("unreachable") => ("offline", None),
            Some(_) => ("not_saving", trouble),
            None if counts.queued == waiting && waiting > 0 && self.is_starved() => ("not_saving", Some("waiting".to_string())),
            None if waiting > 0 => ("saving", newer()),
            None if counts.parked > 0 => ("not_saving", Some("parked".to_string())),
            None if !self.has_base => ("saving", None),
            None => ("saved", newer()),
        }
    }

    /// Whether what waits, waits for rows that nobody has made, or for what is parked.
    fn is_starved(&self) -> bool {
        match (&self.sender, &self.peer) {
            (Some(sender), _) => sender.starved,
            // What this tab has not offered yet the sending one knows nothing of.
            (None, Some(peer)) => peer.starved && self.outbox.keys(&|e| e.slot == self.slot && !e.frozen).is_empty(),
            (None, None) => false,
        }
    }

    pub(crate) fn report_status(&mut self, now_ms: u64) {
        self.listen(now_ms);
        let trouble = |engine: &Engine| engine.sender.as_ref().map(|sender| (sender.told_trouble(), engine.behind, sender.starved));
        if trouble(self) != self.told_trouble {
            self.told_trouble = trouble(self);
            self.tell_peers_lead();
        }
        let status = self.status();
        if status == self.last_status {
            return;
        }
        self.effects.push_back(Effect::Event(format!("{{\"event\":\"status\",\"status\":{status}}}")));
        self.last_status = status;
    }

    // ---- the outbox ----

    /// The records that cannot be read, as a JSON array of `{"key", "record"}`.
    pub fn damaged_json(&self) -> String {
        let mut out = String::from("[");
        for (i, damaged) in self.damaged.iter().enumerate() {
            out.push_str(if i > 0 { ",{\"key\":\"" } else { "{\"key\":\"" });
            write_key(damaged.key, &mut out);
            out.push_str("\",\"record\":");
            write_string(&damaged.record, &mut out);
            out.push('}');
        }
        out.push(']');
        out
    }

    /// The outbox in the order in which it would be sent, as a JSON array of
    /// `{"key", "state", "edits": [{"op", "table", "id"}], "waits_on": […], "problem"}`, at most `limit` of them. What is parked
    /// or suspended also has `before`, what the base holds of its rows as edits, and `dependents`, the keys of what waits on it.
    pub fn outbox_json(&self, now_ms: u64, limit: usize) -> String {
        let mut out = String::from("[");
        let mut count = 0;
        for entry in self.outbox.iter().filter(|entry| entry.is_applied()).take(limit) {
            self.write_entry(entry, "applied", None, count == 0, &mut out);
            count += 1;
        }
        let lacks = |edit: &Edit, column: u16, row: RowKey| self.replica.lacks(&self.schema, edit, column, row);
        self.outbox.visit(&self.sending(now_ms, &lacks), |members, wait, _| {
            for entry in members {
                let state = match (&entry.state, &wait) {
                    (State::Parked { .. }, _) => "parked",
                    (State::InFlight, _) => "in_flight",
                    _ if entry.suspended => "suspended",
                    _ if !entry.saved => "saving",
                    (_, Some(Wait::Rows(_) | Wait::Keys(_) | Wait::Parked)) => "waiting",
                    _ => "queued",
                };
                if count < limit {
                    self.write_entry(entry, state, wait.as_ref(), count == 0, &mut out);
                    count += 1;
                }
            }
            count < limit
        });
        out.push(']');
        out
    }

    fn write_entry(&self, entry: &Entry, state: &str, wait: Option<&Wait>, first: bool, out: &mut String) {
        out.push_str(if first { "{\"key\":\"" } else { ",{\"key\":\"" });
        write_key(entry.made.key, out);
        out.push_str("\",\"state\":\"");
        out.push_str(state);
        out.push_str("\",\"edits\":[");
        for (i, edit) in entry.edits.iter().take(10).enumerate() {
            out.push_str(match (i, edit.op) {
                (0, Op::Create) => "{\"op\":\"create\",",
                (0, Op::Restore) => "{\"op\":\"restore\",",
                (0, Op::Update) => "{\"op\":\"update\",",
                (0, _) => "{\"op\":\"delete\",",
                (_, Op::Create) => ",{\"op\":\"create\",",
                (_, Op::Restore) => ",{\"op\":\"restore\",",
                (_, Op::Update) => ",{\"op\":\"update\",",
                (_, _) => ",{\"op\":\"delete\",",
            });
            self.write_row(edit.row, out);
            out.push('}');
        }
        out.push_str("],\"waits_on\":");
        match wait {
            Some(Wait::Rows(rows)) => {
                out.push('[');
                for (i, row) in rows.iter().enumerate() {
                    out.push_str(if i > 0 { ",\"" } else { "\"" });
                    out.push_str(&self.schema.tables[row.table as usize].name);
                    out.push(' ');
                    row.id.write(out);
                    out.push('"');
                }
                out.push(']');
            }
            Some(Wait::Keys(keys)) => write_keys(keys, out),
            _ => out.push_str("[]"),
        }
        if matches!(entry.state, State::Parked { .. }) || entry.suspended {
            out.push_str(",\"before\":");
            self.write_before(entry, out);
            out.push_str(",\"dependents\":");
            let dependents = self.outbox.with_dependents(entry.made.key);
            write_keys(&dependents[1..dependents.len().min(DEPENDENTS_SHOWN + 1)], out);
        }
        out.push_str(",\"problem\":");
        match &entry.state {
            State::Parked { problem, .. } => problem.write_json(out),
            _ if entry.suspended => {
                Problem::new("suspended", "the server fails on this transaction; it is tried again now and then").write_json(out);
            }
            _ => out.push_str("null"),
        }
        out.push('}');
    }

    fn write_row(&self, row: RowKey, out: &mut String) {
        out.push_str("\"table\":\"");
        out.push_str(&self.schema.tables[row.table as usize].name);
        out.push_str("\",\"id\":\"");
        row.id.write(out);
        out.push('"');
    }
}
