//! What must hold: at each step where that is cheap, after each crash, and once everything has come to rest.

use super::browser::{Browser, TabId};
use super::journal::Fate;
use super::server::{Key, miscounted};
use super::shell::Tab;
use super::world::World;
use driftline_core::digest::{Digest, body_hash};
use driftline_core::edit::{Edit, Txn};
use driftline_core::engine::parse_key;
use driftline_core::integrity::{Judge, apply};
use driftline_core::merge::Stamp;
use driftline_core::outbox::{Sending, State, Wait};
use driftline_core::rows::Rows;
use driftline_core::schema::Schema;
use driftline_core::value::RowKey;
use driftline_core::wire::{Push, read_push};
use serde_json::Value as Json;
use std::collections::BTreeSet;

impl World {
    // ---- at each step ----

    pub fn check_step(&mut self, id: TabId) {
        let deep = self.rng.chance(60) || self.trace;
        let Some(tab) = self.tabs.get(&id) else { return };
        let view = tab.engine.replica().view();
        let same = view.len() == tab.app.len() && view.iter().zip(&tab.app).all(|(a, b)| a.0 == b.0 && a.1.values == *b.1);
        let mut wrong = Vec::new();
        if !same {
            wrong.push("the app's rows are not the view".to_string());
        }
        if deep && let Some(text) = view_differs(&self.schema, tab) {
            wrong.push(text);
        }
        for text in wrong {
            self.find("diverged", format!("tab {id}: {text}"));
        }
    }

    /// Watches what the app is told.
    pub fn watch(&mut self, id: TabId, text: &str) {
        let event: Json = serde_json::from_str(text).unwrap_or_default();
        let name = event["event"].as_str().unwrap_or("");
        if name != "status" {
            self.say(|| format!("tab {id} tells {text}"));
        }
        let keys: Vec<Key> = event["keys"].as_array().into_iter().flatten().filter_map(|key| parse_key(key.as_str()?)).collect();
        let key = |name: &str| event[name].as_str().and_then(parse_key);
        match name {
            "saved" => keys.into_iter().for_each(|key| self.journal.saved(key)),
            "discarded" => {
                if let Some(story) = key("key").and_then(|key| self.journal.stories.get_mut(&key)) {
                    story.fate = Fate::Discarded { by: id };
                }
            }
            "rekeyed" => {
                if let (Some(from), Some(to)) = (key("from"), key("to")) {
                    self.journal.rekeyed(id, from, to);
                    let entry = self.tabs.get(&id).and_then(|tab| tab.engine.outbox().get(to));
                    if let (true, Some(entry), Some(story)) = (self.rewritten.contains(&from), entry, self.journal.stories.get_mut(&to)) {
                        story.calls = vec![entry.edits.clone()];
                        self.rewritten.insert(to);
                    }
                }
            }
            "parked" => {
                self.stats.parked += 1;
                let code = event["problem"]["code"].as_str().unwrap_or("");
                if matches!(code, "outcome_unknown" | "key_reused" | "invalid" | "schema_too_old" | "schema_dropped") {
                    self.find("lost", format!("tab {id}: {text}"));
                }
            }
            "error" => self.find("diverged", format!("tab {id}: {text}")),
            _ => {}
        }
    }

    /// What is sent must be on disk as it is sent, and must not name what neither it nor the server holds.
    pub fn check_push(&mut self, id: TabId, body: &str) {
        let Ok(push) = read_push(&self.schema, body) else { return };
        let Some(tab) = self.tabs.get(&id) else { return };
        let browser = &self.browsers[tab.browser];
        let mut wrong = Vec::new();
        for txn in push.units.iter().flat_map(|unit| &unit.txns) {
            let key = (push.clients[txn.client].id, txn.seq);
            let on_disk = browser.record(key).and_then(|record| record_body(record));
            if on_disk.is_none_or(|body| body_hash(&body) != txn.hash) {
                wrong.push(("lost", format!("tab {id} sends {key:x?}, which is not on disk like that")));
            }
        }
        wrong.extend(self.misordered(&push).into_iter().map(|text| ("misordered", format!("tab {id} sends {text}"))));
        for (kind, text) in wrong {
            self.find(kind, text);
        }
    }

    fn misordered(&self, push: &Push) -> Vec<String> {
        let mut created: BTreeSet<RowKey> = BTreeSet::new();
        let mut wrong = Vec::new();
        for unit in &push.units {
            let edits: Vec<&Edit> = unit.txns.iter().filter_map(|t| t.txn.as_ref().ok()).flat_map(|t| &t.edits).collect();
            created.extend(edits.iter().filter(|edit| edit.makes()).map(|edit| edit.row));
            let held = |row: &RowKey| created.contains(row) || self.server.rows.contains_key(row) || self.server.deleted.contains(row);
            for edit in edits {
                // An edit of a row whose creation another tab took back is for the server to refuse.
                let own = (!edit.makes() && !self.journal.taken_back(edit.row)).then_some(edit.row);
                let names =
                    own.into_iter().chain(edit.references().filter(|r| r.1 != edit.row && !self.schema.is_loose(edit, r.0)).map(|r| r.1));
                wrong.extend(names.filter(|row| !held(row)).map(|row| format!("{row:?} before it was created, in {edit:?}")));
            }
        }
        wrong
    }

    // ---- after a crash ----

    /// What was called saved must be on disk: as a record, or in a base that holds its effect.
    pub fn after_crash(&mut self, dead: TabId, browser: usize) {
        let mut wrong = Vec::new();
        let mut forget = Vec::new();
        let mut reopen = Vec::new();
        let b = &self.browsers[browser];
        let disk_rev = b.disk_rev().filter(|_| !b.base.chunks.is_empty()).unwrap_or(0);
        for (key, story) in self.journal.stories.iter_mut().filter(|(_, story)| story.browser == browser) {
            let record = b.record(*key);
            let logged = self.server.logged.get(key).map(|at| self.server.applied[*at].rev);
            match (&story.fate, record) {
                (Fate::Open, Some(record)) if story.maker == dead => {
                    let body = record_body(record).and_then(|body| Txn::parse(&self.schema, &body).ok());
                    match body.and_then(|txn| story.prefix(&txn.edits, story.durable)) {
                        Some(calls) => story.calls.truncate(calls),
                        None => wrong.push(format!("{key:x?} is on disk, but not as it was called saved")),
                    }
                }
                (Fate::Open, None) if story.durable > 0 && logged.is_none_or(|rev| rev > disk_rev) => {
                    wrong.push(format!("{key:x?} was called saved and is not on disk (in the log: {logged:?}, base on disk: {disk_rev})"));
                }
                (Fate::Open, None) if story.maker == dead && logged.is_none() => {
                    forget.push(*key);
                    reopen.extend((story.root != *key).then_some(*key));
                }
                (Fate::Vanished { told: true }, Some(_)) => wrong.push(format!("{key:x?} had vanished for good and is on disk again")),
                // Its number was never on disk, and may be given again.
                (Fate::Vanished { told: false }, None) if story.maker == dead => forget.push(*key),
                (Fate::Vanished { .. }, Some(_)) if story.maker == dead => story.fate = Fate::Open,
                // The tab that was about to delete it is not always the one that made it.
                (Fate::Discarded { by }, Some(_)) if *by == dead => story.fate = Fate::Open,
                _ => {}
            }
        }
        for new in reopen {
            let replaced = self.journal.stories.values_mut().filter(|story| story.fate == Fate::Replaced(new));
            replaced.for_each(|story| story.fate = Fate::Open);
        }
        for key in forget {
            self.journal.stories.remove(&key);
        }
        for text in wrong {
            self.find("lost", text);
        }
    }

    // ---- at rest ----

    /// Whether nothing is left to be done: everyone has the server's revision, and what waits can only wait.
    pub fn at_rest(&self) -> bool {
        let rested = |tab: &Tab| {
            tab.opened && tab.engine.is_saved() && tab.engine.replica().rev == self.server.space.rev && self.sendable(tab).is_none()
        };
        let on_disk = |b: &Browser| b.writes.is_empty() && b.disk_rev() == Some(self.server.space.rev);
        self.browsers.iter().all(on_disk) && self.tabs.values().all(rested)
    }

    /// A transaction that could be sent, or that is on its way.
    fn sendable(&self, tab: &Tab) -> Option<String> {
        let outbox = tab.engine.outbox();
        if self.browsers[tab.browser].lead != Some(tab.id) {
            return None;
        }
        let lacks = |edit: &Edit, column: u16, row: RowKey| tab.engine.replica().lacks(tab.engine.schema(), edit, column, row);
        let moving = outbox.iter().find(|e| matches!(e.state, State::InFlight | State::Applied { .. }));
        let mut found = moving.map(|entry| format!("{:x?} is {:?}", entry.made.key, entry.state));
        let now_ms = u64::MAX;
        let sending = Sending { now_ms, lacks: &lacks, own_slot: tab.slot };
        let mut unknown = BTreeSet::new();
        outbox.visit(&sending, |members, wait, _| {
            let stuck = match &wait {
                Some(Wait::Rows(rows)) => rows.iter().all(|row| self.server.visible().contains_key(row)),
                Some(Wait::Parked | Wait::Keys(_)) => false,
                Some(Wait::Saving | Wait::Aside) | None => true,
            };
            if stuck && unknown.is_empty() && found.is_none() {
                found = Some(format!("{:x?} waits for {wait:?}", members[0].made.key));
                unknown.insert(members[0].made.key);
            }
            true
        });
        found
    }

    pub fn check_end(&mut self, rested: bool) {
        let mut wrong = Vec::new();
        while self.server.reap_step() {}
        for tab in self.tabs.values() {
            if !rested {
                let why = self.sendable(tab).unwrap_or_default();
                let line = tab.engine.status(self.now);
                wrong.push((
                    "stuck",
                    format!("tab {} (sends: {}) at {line}, server at {}: {why}", tab.id, tab.epoch > 0, self.server.space.rev),
                ));
            }
            wrong.extend(self.check_tab(tab).into_iter().map(|text| ("diverged", format!("tab {}: {text}", tab.id))));
        }
        self.server.check_end();
        wrong.extend(self.server.findings.drain(..).map(|finding| (finding.kind, finding.text)));
        wrong.extend(self.check_journal());
        for (kind, text) in wrong {
            self.find(kind, text);
        }
    }

    fn check_tab(&self, tab: &Tab) -> Vec<String> {
        let mut wrong = Vec::new();
        let replica = tab.engine.replica();
        let base = replica.base();
        let visible = self.server.visible();
        let same = base.len() == visible.len() && base.iter().zip(&visible).all(|(a, b)| a.0 == *b.0 && a.1.values == b.1.values);
        if !same {
            wrong.push(format!("its base at {} is not the server's at {}", replica.rev, self.server.space.rev));
        }
        let mut digest = Digest::default();
        base.iter().for_each(|(key, row)| digest.add(&self.schema, *key, row));
        if replica.digest != digest || digest != self.server.space.digest {
            wrong.push("its digest is not that of its rows, or not the server's".to_string());
        }
        wrong.extend(miscounted(&self.schema, &base).map(|text| format!("its base: {text}")));
        // In these worlds nobody makes rows that stay on the server.
        let view: Vec<_> = replica.view().iter().map(|(key, row)| (*key, row)).collect();
        wrong.extend(miscounted(&self.schema, &view).map(|text| format!("its view: {text}")));
        wrong.extend(view_differs(&self.schema, tab));
        let browser = &self.browsers[tab.browser];
        let on_disk: BTreeSet<Key> = browser.slots.values().flat_map(|db| db.records.keys().copied()).collect();
        let held: BTreeSet<Key> = tab.engine.outbox().iter().map(|entry| entry.made.key).collect();
        if on_disk != held {
            let differ: Vec<_> = on_disk.symmetric_difference(&held).collect();
            wrong.push(format!("its outbox and the disk differ in {differ:x?}"));
        }
        wrong
    }

    /// Each key took effect once, with all that was folded into it, or still waits.
    fn check_journal(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let mut roots = BTreeSet::new();
        for (key, at) in &self.server.logged {
            let Some(story) = self.journal.stories.get(key) else {
                wrong.push(("doubled", format!("{key:x?} is in the log and nobody made it")));
                continue;
            };
            if !roots.insert(story.root) {
                wrong.push(("doubled", format!("{key:x?} took effect under more than one key")));
            }
            let applied = &self.server.applied[*at];
            let alive = self.tabs.contains_key(&story.maker);
            let least = if alive { story.calls.len() } else { story.durable };
            if story.prefix(&applied.edits, least).is_none() {
                wrong.push(("lost", format!("{key:x?} took effect as {:?} and should be {:?}", applied.edits, story.calls)));
            }
            let early = story.after.iter().filter_map(|after| self.server.logged.get(after)).any(|after| after > at);
            if early {
                wrong.push(("misordered", format!("{key:x?} took effect before what it comes after")));
            }
        }
        let held: BTreeSet<Key> = self.tabs.values().flat_map(|tab| tab.engine.outbox().iter().map(|entry| entry.made.key)).collect();
        for (key, story) in self.journal.stories.iter().filter(|(_, story)| story.fate == Fate::Open) {
            if !self.server.logged.contains_key(key) && !held.contains(key) {
                wrong.push((
                    "lost",
                    format!("{key:x?} is neither in the log nor in an outbox, {} of {} calls saved", story.durable, story.calls.len()),
                ));
            }
        }
        wrong
    }
}

pub fn record_body(record: &str) -> Option<String> {
    let json: Json = serde_json::from_str(record).ok()?;
    Some(json.get("body")?.as_str()?.to_string())
}

/// Makes the view anew of base and outbox, and says how it differs.
fn view_differs(schema: &Schema, tab: &Tab) -> Option<String> {
    let mut rows = Rows::default();
    for (key, row) in tab.engine.replica().base() {
        rows.put(key, Some(row.clone()));
    }
    for entry in tab.engine.outbox().iter() {
        let steps: Vec<_> = entry.edits.iter().map(|edit| (0, edit)).collect();
        let _ = apply(schema, &mut rows, Judge::View, &[Stamp::default()], &steps);
    }
    let view = tab.engine.replica().view();
    let keys: BTreeSet<RowKey> = rows.iter().chain(view.iter()).map(|(key, _)| *key).collect();
    let values = |rows: &Rows, key: RowKey| rows.get(key).map(|row| row.values.clone());
    let key = keys.into_iter().find(|key| values(&rows, *key) != values(view, *key))?;
    Some(format!("{key:?} is {:?} in the view, and by base and outbox {:?}", values(view, key), values(&rows, key)))
}
