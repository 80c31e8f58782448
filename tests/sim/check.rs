//! What must hold: at each step where that is cheap, after each crash, and once everything has come to rest.

use super::journal::{Fate, Name, Root, Story};
use super::server::{Applied, Key, miscounted};
use super::shell::Tab;
use super::store::{Store, TabId};
use super::world::{Space, World};
use driftline_core::dedupe::is_shared;
use driftline_core::digest::{Digest, body_hash};
use driftline_core::edit::{Edit, Txn};
use driftline_core::engine::{IMPORTED, parse_key};
use driftline_core::integrity::{Judge, apply};
use driftline_core::merge::Stamp;
use driftline_core::outbox::{Sending, State, Wait};
use driftline_core::rows::Rows;
use driftline_core::value::RowKey;
use driftline_core::wire::{Push, read_push};
use serde_json::Value as Json;
use std::collections::BTreeSet;

/// A tab that has heard nothing of the server for so long, and has something to send, says so: it asks every 10 s, and doubts after 5.
const DOUBT_MS: u64 = 15_000;
/// What was sent in the pushes before the last, and was not yet on disk as settled when that left.
const SLACK: usize = 8;
/// What one tab tells another is heard within this time.
const MESSAGE_MS: u64 = 1_600;

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
        if deep && let Some(text) = view_differs(tab) {
            wrong.push(text);
        }
        let lie = if deep { self.lie(tab) } else { None };
        for text in wrong {
            self.find("diverged", format!("tab {id}: {text}"));
        }
        if let Some(text) = lie {
            self.find("lie", format!("tab {id}: {text}"));
        }
    }

    /// What the status says, and is not so.
    fn lie(&self, tab: &Tab) -> Option<String> {
        let text = tab.engine.status();
        let status: Json = serde_json::from_str(&text).unwrap_or_default();
        let store = &self.stores[tab.store];
        let Space { server, journal, .. } = self.space_of(tab);
        match (status["state"].as_str()?, status["reason"].as_str()) {
            ("saved", _) if !store.forked => {
                let open = |story: &Story| story.maker == tab.id && story.fate == Fate::Open;
                let waits = |name: &Name, story: &Story| open(story) && !server.logged.contains_key(&name.0);
                let (name, _) = journal.stories.iter().find(|(name, story)| waits(name, story))?;
                Some(format!("it says that all is saved, and the server does not have {:x?}: {text}", name.0))
            }
            ("saving", None) => {
                let heard = store.heard_at.max(tab.awake_at).max(tab.frozen_until);
                (self.now > heard + DOUBT_MS).then(|| format!("it says that it is saving, and has heard nothing since {heard}: {text}"))
            }
            _ => None,
        }
    }

    /// Requests that get nowhere become rare: backing off to 30 s, with full jitter.
    pub fn check_patience(&mut self, id: TabId) {
        let Some(tab) = self.tabs.get_mut(&id) else { return };
        let (count, since) = &mut tab.unanswered;
        if *count == 0 {
            *since = self.now;
        }
        *count += 1;
        let (count, elapsed) = (*count, self.now - *since);
        if count > 20 + elapsed / 4_000 {
            self.find("unbounded", format!("tab {id} made {count} requests in {elapsed} ms, and none succeeded"));
        }
    }

    /// What the server still remembers of a client is what that has not acknowledged.
    fn check_memory(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        for store in self.stores.iter().filter(|store| !store.forked) {
            let server = &self.spaces[store.space].server;
            // The marks of what was imported are for those to close who made it.
            let own = store.disk.slots.keys().filter(|slot| **slot != IMPORTED);
            let clients: BTreeSet<u64> = own.flat_map(|slot| store.high(*slot)).map(|high| high.0).collect();
            for client in clients {
                let held = store.open().iter().filter(|key| key.0 == client).count();
                let marks = server.marks_of(store.principal, client).len();
                let ranges = server.client(store.principal, client).map_or(0, |state| state.closed.iter().count());
                let open = &store.open_then;
                let high_now =
                    store.disk.slots.keys().flat_map(|slot| store.high(*slot)).filter(|high| high.0 == client).map(|high| high.1);
                let high_then = open.high.get(&client).copied().unwrap_or(0);
                let later = high_now.max().unwrap_or(0).saturating_sub(high_then) as usize;
                let last = open.keys.iter().filter(|key| key.0 == client).count() + later;
                if marks > held + last + SLACK || ranges > held + last + SLACK {
                    let waiting = format!("{held} wait, and {last} could not be told to be over when something was sent last");
                    wrong.push(("unbounded", format!("of {client:x} the server keeps {marks} marks and {ranges} ranges; {waiting}")));
                }
            }
        }
        wrong
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
        let Some(place) = self.tabs.get(&id).map(|tab| tab.store) else { return };
        let Store { space, lineage, forked, shared, .. } = self.stores[place];
        let Space { journal, rewritten, .. } = &mut self.spaces[space];
        match name {
            "saved" => keys.into_iter().for_each(|key| journal.saved((key, lineage))),
            "discarded" => {
                if let Some(story) = key("key").and_then(|key| journal.stories.get_mut(&(key, lineage))) {
                    story.fate = Fate::Discarded { by: id };
                }
            }
            "rekeyed" => {
                if let (Some(from), Some(to)) = (key("from"), key("to")) {
                    journal.rekeyed(id, (from, lineage), to);
                    let entry = self.tabs.get(&id).and_then(|tab| tab.engine.outbox().get(to));
                    let told = rewritten.contains(&from);
                    if let (Some(entry), Some(story)) = (entry, journal.stories.get_mut(&(to, lineage)))
                        // Whoever carries a decision out may know of more that depends on it.
                        && (told || !rewritten.is_empty() && story.differs_in_references(&entry.edits))
                    {
                        story.calls = vec![entry.edits.clone()];
                        rewritten.insert(to);
                    }
                    if let Some(entry) = entry.filter(|_| forked && shared) {
                        journal.tell_apart((to, lineage), &entry.edits);
                    }
                }
            }
            "parked" => {
                self.stats.parked += 1;
                let code = event["problem"]["code"].as_str().unwrap_or("");
                if forked && code == "outcome_unknown" {
                    self.note("outcome unknown, after a fork");
                } else if shared && matches!(code, "outcome_unknown" | "key_reused") {
                    self.note("outcome unknown, after an import");
                } else if self.migrated && self.stores[place].unmarked && code == "outcome_unknown" {
                    self.note("outcome unknown, after an upgrade");
                } else if is_needless(code) {
                    self.find("lost", format!("tab {id}: {text}"));
                }
            }
            "error" => match event["problem"]["code"].as_str().unwrap_or("") {
                "record_corrupt" | "base_corrupt" if self.rates.tear > 0 => self.note("corruption reported"),
                // It must, where two histories have the same length.
                "digest_differs" if self.stores[place].forked => self.note("digest differed"),
                "digest_differs" => {
                    let differs = self.tabs.get(&id).and_then(|tab| self.base_differs(tab));
                    self.find("diverged", format!("tab {id}: {text}: {differs:?}"));
                }
                _ => self.find("diverged", format!("tab {id}: {text}")),
            },
            "token" => self.ask_token(id),
            _ => {}
        }
    }

    /// What is sent must be on disk as it is sent, and must not name what neither it nor the server holds.
    pub fn check_push(&mut self, id: TabId, body: &str) {
        let Ok(push) = read_push(self.latest(), body) else { return };
        let Some(tab) = self.tabs.get(&id) else { return };
        let store = &self.stores[tab.store];
        let Space { sent, server, journal, .. } = &mut self.spaces[store.space];
        let (mut wrong, mut keys) = (Vec::new(), Vec::new());
        for txn in push.units.iter().flat_map(|unit| &unit.txns) {
            let key = (push.clients[txn.client].id, txn.seq);
            sent.insert((key, txn.hash, store.lineage));
            keys.push(key);
            // A replaced tab may have upgraded the record of what its successor sends as it was.
            let before = format!("\"upgraded\":\"{:032x}\"", txn.hash);
            let is_same =
                |record: &&String| record_body(record).is_some_and(|body| body_hash(&body) == txn.hash) || record.contains(&before);
            let on_disk = store.records(key).any(|record| is_same(&record));
            // Who has been replaced without knowing may say again what has been settled: the server does not listen.
            // What all copies may send nobody keeps account of.
            // What has taken effect and comes again in a file may still be on its way off the disk.
            // So may what a tab that was frozen has offered, and deleted when it heard.
            let is_old = |applied: &Applied| store.shared || store.disk_rev().is_some_and(|rev| applied.rev <= rev);
            let same = |applied: &Applied| applied.hash == txn.hash && is_old(applied);
            let is_repeat = server.logged.get(&key).is_some_and(|at| same(&server.applied[*at]));
            // Who has been replaced may have carried out a decision that has not been heard of here; the server lets one take effect.
            let replaced = journal
                .stories
                .get(&(key, store.lineage))
                .is_some_and(|story| matches!(story.fate, Fate::Replaced(_) | Fate::Discarded { .. }));
            let listened = !replaced && push.epoch >= store.disk.base.epoch && !is_shared(key.0) && !is_repeat;
            if listened && !on_disk {
                wrong.push(("lost", format!("tab {id} sends {key:x?}, which is not on disk like that")));
            }
        }
        let place = tab.store;
        wrong.extend(self.misordered(tab, &push).into_iter().map(|text| ("misordered", format!("tab {id} sends {text}"))));
        let now = self.now;
        self.stores[place].note_open(now);
        for (kind, text) in wrong {
            self.find(kind, text);
        }
    }

    fn misordered(&self, tab: &Tab, push: &Push) -> Vec<String> {
        let store = &self.stores[tab.store];
        // What a file has brought may be on disk before the sending tab has heard of it.
        // A tab that slept meanwhile hears of it as it wakes.
        let told_at = store.brought_at.max(tab.frozen_until);
        let is_new = store.untold || store.slot_locks.contains_key(&IMPORTED) || self.now <= told_at + MESSAGE_MS;
        let imported = store.disk.slots.get(&IMPORTED).filter(|_| is_new);
        let heard = |key: Key| tab.engine.outbox().get(key).is_some() || !imported.is_some_and(|db| db.records.contains_key(&key));
        let Space { server, journal, .. } = &self.spaces[store.space];
        let mut created: BTreeSet<RowKey> = BTreeSet::new();
        let mut wrong = Vec::new();
        for unit in &push.units {
            let edits: Vec<&Edit> = unit.txns.iter().filter_map(|t| t.txn.as_ref().ok()).flat_map(|t| &t.edits).collect();
            created.extend(edits.iter().filter(|edit| edit.makes()).map(|edit| edit.row));
            let known = |row: &RowKey| server.rows.contains_key(row) || server.deleted.contains(row) || server.once.contains(row);
            let held = |row: &RowKey| created.contains(row) || known(row);
            for edit in edits {
                // An edit of a row whose creation another tab took back, or is not in the file, is for the server to refuse.
                let left_behind = || store.partial && !journal.creates_here(edit.row, store.lineage);
                let own = (!edit.makes() && !journal.taken_back(edit.row, store.lineage, &heard) && !left_behind()).then_some(edit.row);
                let names =
                    own.into_iter().chain(edit.references().filter(|r| r.1 != edit.row && !self.latest().is_loose(edit, r.0)).map(|r| r.1));
                wrong.extend(names.filter(|row| !held(row)).map(|row| format!("{row:?} before it was created, in {edit:?}")));
            }
        }
        wrong
    }

    // ---- after a crash ----

    /// What was called saved must be on disk: as a record, or in a base that holds its effect.
    pub fn after_crash(&mut self, dead: TabId, place: usize) {
        let mut wrong = Vec::new();
        let mut forget = Vec::new();
        let mut reopen = Vec::new();
        let latest = self.latest().clone();
        let store = &self.stores[place];
        let Space { server, journal, sent, .. } = &mut self.spaces[store.space];
        let disk_rev = store.disk_rev().filter(|_| !store.disk.base.chunks.is_empty()).unwrap_or(0).max(store.torn_rev);
        // Of two that go by one key, the one that was sent from here, or from where there is a copy of it.
        let hash = |key: &Key| server.logged.get(key).map(|at| server.applied[*at].hash);
        let was_sent = |name: &Name| hash(&name.0).is_some_and(|hash| sent.contains(&(name.0, hash, name.1)));
        let effective = journal.stories.iter().filter(|(name, _)| was_sent(name));
        let effective: BTreeSet<(Key, Root)> = effective.map(|(name, story)| (name.0, story.root)).collect();
        let of_store = journal.stories.iter_mut().filter(|(name, story)| story.store == place && name.1 == store.lineage);
        for (name, story) in of_store {
            let key = &name.0;
            // A copy may have given the number to something else, which came in a file.
            let txn = |record: &String| record_body(record).and_then(|body| Txn::parse(&latest, &body).ok());
            let same = |record: &&String| txn(record).is_some_and(|txn| story.prefix(&txn.edits, 1).is_some());
            let record = store.records(*key).find(same).or(store.record(*key).filter(|_| !(store.forked && store.shared)));
            // Any copy may have sent what all share.
            let own = is_shared(key.0) || effective.contains(&(*key, story.root));
            let logged = server.logged.get(key).filter(|_| own).map(|at| server.applied[*at].rev);
            let was_sent = was_sent(name);
            match (&story.fate, record) {
                // What all copies may send each of them may have on disk.
                (Fate::Open, Some(record)) if story.maker == dead && !is_shared(key.0) => {
                    let as_saved = story.cut_to(txn(record));
                    if !as_saved {
                        wrong.push(format!("{key:x?} is on disk, but not as it was called saved"));
                    }
                }
                (Fate::Open, None) if story.durable > 0 && logged.is_none_or(|rev| rev > disk_rev) && !(store.forked || story.set_back) => {
                    wrong.push(format!("{key:x?} was called saved and is not on disk (in the log: {logged:?}, base on disk: {disk_rev})"));
                }
                // Its number was never on disk, and may be given again. It may have taken effect from a file that holds it: it is told there.
                (Fate::Open, None)
                    if story.maker == dead && story.durable == 0 && (logged.is_none() || !(was_sent || is_shared(key.0))) =>
                {
                    forget.push(*name);
                    reopen.extend((story.root.0.0 != *key).then_some((*key, false)));
                }
                (Fate::Vanished { told: true }, Some(_)) => wrong.push(format!("{key:x?} had vanished for good and is on disk again")),
                // Its number was never on disk, and may be given again.
                (Fate::Vanished { told: false }, None) if story.maker == dead && story.durable == 0 => {
                    forget.push(*name);
                    reopen.extend((story.root.0.0 != *key).then_some((*key, true)));
                }
                (Fate::Vanished { told: false }, None) if story.maker == dead => story.fate = Fate::Vanished { told: true },
                (Fate::Discarded { .. }, None) if story.maker == dead && story.durable == 0 && logged.is_none() => {
                    forget.push(*name);
                    reopen.extend((story.root.0.0 != *key).then_some((*key, true)));
                }
                // What had been folded in since, and its end, were in memory alone.
                (Fate::Vanished { .. }, Some(record)) if story.maker == dead => {
                    story.cut_to(txn(record));
                    story.fate = Fate::Open;
                }
                // The tab that was about to delete it is not always the one that made it.
                (Fate::Discarded { by }, Some(record)) if *by == dead => {
                    if story.maker == dead {
                        story.cut_to(txn(record));
                    }
                    story.fate = Fate::Open;
                }
                _ => {}
            }
        }
        while let Some((new, given_up)) = reopen.pop() {
            for (_, story) in journal.stories.iter_mut().filter(|(name, _)| name.1 == store.lineage) {
                story.stood_before.retain(|by| *by != new);
            }
            let replaced = |name: &Name, story: &Story| name.1 == store.lineage && story.fate == Fate::Replaced(new);
            for (name, story) in journal.stories.iter_mut().filter(|(name, story)| replaced(name, story)) {
                // What it stood for went with it, where it was given up.
                let went_along = given_up && story.durable > 0 && store.record(name.0).is_none();
                // It may have come in a file once more, and been decided about again.
                story.replaced_by = story.stood_before.pop();
                story.fate = match story.replaced_by {
                    _ if went_along => Fate::Discarded { by: dead },
                    Some(by) => Fate::Replaced(by),
                    None => Fate::Open,
                };
                // Nor was that ever on disk.
                let never = story.replaced_by.is_none() && story.durable == 0 && story.maker == dead;
                reopen.extend(never.then_some((name.0, given_up)));
            }
        }
        // One that was never on disk is not there again either.
        let gone = |name: &Name, story: &Story| {
            let own = story.store == place && name.1 == store.lineage && story.maker == dead;
            own && story.fate == Fate::Open && story.durable == 0 && store.record(name.0).is_none() && !server.logged.contains_key(&name.0)
        };
        journal.stories.retain(|name, story| !gone(name, story));
        for name in forget {
            journal.stories.remove(&name);
        }
        for text in wrong {
            self.find("lost", text);
        }
    }

    // ---- at rest ----

    /// Whether nothing is left to be done: everyone has the server's revision, and what waits can only wait.
    pub fn at_rest(&self) -> bool {
        let rev = |store: &Store| self.spaces[store.space].server.space.rev;
        let rested = |tab: &Tab| {
            let (replica, server) = (tab.engine.replica(), &self.space_of(tab).server.space);
            let same = (replica.rev, replica.digest) == (server.rev, server.digest);
            let idle = tab.opened && tab.engine.is_saved() && tab.request.is_none() && self.sendable(tab).is_none();
            same && idle && self.is_heard(tab)
        };
        let on_disk = |store: &Store| store.writes.is_empty() && store.disk_rev() == Some(rev(store));
        self.stores.iter().all(on_disk) && self.tabs.values().all(rested)
    }

    /// Whether the server knows the live connection of a tab that sends: what it has lost of it has to be made up for.
    fn is_heard(&self, tab: &Tab) -> bool {
        self.stores[tab.store].lead != Some(tab.id) || tab.live.is_some_and(|conn| self.conns.contains_key(&conn))
    }

    /// A transaction that could be sent, or that is on its way.
    fn sendable(&self, tab: &Tab) -> Option<String> {
        let outbox = tab.engine.outbox();
        if self.stores[tab.store].lead != Some(tab.id) {
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
                Some(Wait::Parked | Wait::Keys(_)) => false,
                Some(Wait::Rows(_)) => !members.iter().any(|entry| entry.awaits),
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
        for space in &mut self.spaces {
            space.server.check_end();
            wrong.extend(space.server.findings.drain(..).map(|finding| (finding.kind, finding.text)));
        }
        for tab in self.tabs.values() {
            if !rested {
                let why = self.sendable(tab).unwrap_or_default() + if self.is_heard(tab) { "" } else { " it has no live connection" };
                let line = tab.engine.status();
                let rev = self.space_of(tab).server.space.rev;
                wrong.push(("stuck", format!("tab {} (sends: {}) at {line}, server at {rev}: {why}", tab.id, tab.epoch > 0)));
            }
            wrong.extend(self.check_tab(tab).into_iter().map(|text| ("diverged", format!("tab {}: {text}", tab.id))));
        }
        for space in 0..self.spaces.len() {
            wrong.extend(self.check_journal(space));
        }
        if rested {
            wrong.extend(self.check_memory());
        }
        for (kind, text) in wrong {
            self.find(kind, text);
        }
    }

    /// The first row of a tab's base that is another on the server.
    fn base_differs(&self, tab: &Tab) -> Option<String> {
        let (base, server) = (tab.engine.replica().base(), self.space_of(tab).server.visible());
        let here: std::collections::BTreeMap<RowKey, _> = base.into_iter().map(|(key, row)| (key, &row.values)).collect();
        let keys: BTreeSet<RowKey> = here.keys().chain(server.keys()).copied().collect();
        let key = keys.into_iter().find(|key| here.get(key).copied() != server.get(key).map(|row| &row.values))?;
        Some(format!("{key:?} is {:?} here, and {:?} there", here.get(&key), server.get(&key).map(|row| &row.values)))
    }

    fn check_tab(&self, tab: &Tab) -> Vec<String> {
        let mut wrong = Vec::new();
        let server = &self.space_of(tab).server;
        let replica = tab.engine.replica();
        let base = replica.base();
        let visible = server.visible();
        let same = base.len() == visible.len() && base.iter().zip(&visible).all(|(a, b)| a.0 == *b.0 && a.1.values == b.1.values);
        if !same {
            wrong.push(format!("its base at {} is not the server's at {}", replica.rev, server.space.rev));
        }
        let mut digest = Digest::default();
        base.iter().for_each(|(key, row)| digest.add(&tab.schema, *key, row));
        if replica.digest != digest || digest != server.space.digest {
            wrong.push("its digest is not that of its rows, or not the server's".to_string());
        }
        wrong.extend(miscounted(&tab.schema, &base).map(|text| format!("its base: {text}")));
        // In these worlds nobody makes rows that stay on the server.
        let view: Vec<_> = replica.view().iter().map(|(key, row)| (*key, row)).collect();
        wrong.extend(miscounted(&tab.schema, &view).map(|text| format!("its view: {text}")));
        wrong.extend(view_differs(tab));
        let slots = self.stores[tab.store].disk.slots.iter();
        // A file may have brought once more what has taken effect here: that goes when the next tab opens.
        // And what a sending tab has settled before it was replaced, another may still ask for: it was answered while its base was not on disk.
        let asked_for = |key: &Key| self.tabs.values().any(|other| other.store == tab.store && other.engine.outbox().get(*key).is_some());
        let left_over = |slot: u32, key: &Key| (slot == IMPORTED || asked_for(key)) && server.logged.contains_key(key);
        let held: BTreeSet<Key> = tab.engine.outbox().iter().map(|entry| entry.made.key).collect();
        let records = slots.flat_map(|(slot, db)| db.records.iter().filter(|(key, _)| held.contains(key) || !left_over(*slot, key)));
        // What cannot be read is set aside.
        let on_disk: BTreeSet<Key> = records.filter(|(_, record)| record_body(record).is_some()).map(|(key, _)| *key).collect();
        // Two tabs may have put one key that all copies share into their slots: the second record goes when it is found.
        let differ: Vec<&Key> = on_disk.symmetric_difference(&held).filter(|key| !is_shared(key.0)).collect();
        if !differ.is_empty() {
            wrong.push(format!("its outbox and the disk differ in {differ:x?}"));
        }
        wrong
    }

    /// Each key took effect once, with all that was folded into it, or still waits.
    fn check_journal(&self, space: usize) -> Vec<(&'static str, String)> {
        let Space { server, journal, sent, .. } = &self.spaces[space];
        let mut wrong = Vec::new();
        let mut roots = BTreeSet::new();
        let mut settled: BTreeSet<Name> = BTreeSet::new();
        for (key, at) in &server.logged {
            let Applied { edits, hash, .. } = &server.applied[*at];
            // Of several that go by this key, it is the one that was sent as this, and its copies.
            let senders = journal.of(*key).filter(|(name, _)| sent.contains(&(*key, *hash, name.1)));
            let senders: BTreeSet<Root> = senders.map(|(_, story)| story.root).collect();
            let least = |story: &Story| if self.tabs.contains_key(&story.maker) { story.calls.len() } else { story.durable };
            let (same, others): (Vec<_>, Vec<_>) = journal
                .of(*key)
                .filter(|(_, story)| senders.contains(&story.root))
                .partition(|(_, story)| story.prefix(edits, least(story)).is_some());
            let Some((_, story)) = same.first() else {
                match others.first() {
                    Some((_, story)) => wrong.push(("lost", format!("{key:x?} took effect as {edits:?} and should be {:?}", story.calls))),
                    None => wrong.push(("doubled", format!("{key:x?} is in the log and nobody made it"))),
                }
                continue;
            };
            settled.extend(same.iter().map(|(name, _)| **name));
            // Whoever decides about a copy of it decides that it is something else.
            if !same.iter().any(|(_, story)| story.decided) && !roots.insert(story.root) {
                wrong.push(("doubled", format!("{key:x?} took effect under more than one key")));
            }
            let early = story.after.iter().filter_map(|after| server.logged.get(after)).any(|after| after > at);
            let apart = |store: &Store| store.forked || store.shared;
            if early && !same.iter().any(|(_, story)| apart(&self.stores[story.store])) {
                wrong.push(("misordered", format!("{key:x?} took effect before what it comes after")));
            }
        }
        let of_space = |tab: &&Tab| self.stores[tab.store].space == space;
        let held: BTreeSet<Name> = self
            .tabs
            .values()
            .filter(of_space)
            .flat_map(|tab| tab.engine.outbox().iter().map(|entry| (entry.made.key, self.stores[tab.store].lineage)))
            .collect();
        for (name, story) in journal.stories.iter().filter(|(_, story)| story.fate == Fate::Open && !story.set_back) {
            if !settled.contains(name) && !held.contains(name) {
                let (key, calls) = (name.0, story.calls.len());
                let (place, saved) = (story.store, story.durable);
                let logged = if server.logged.contains_key(&key) { "; something else is in the log under it" } else { "" };
                let text =
                    format!("{key:x?} of store {place} is neither in the log nor in an outbox, {saved} of {calls} calls saved{logged}");
                wrong.push(("lost", text));
            }
        }
        wrong
    }
}

/// Whether nothing that people do here can make the server refuse a transaction for good with this code. Least of all may one be that
/// says why a request was refused.
fn is_needless(code: &str) -> bool {
    let of_requests = matches!(code, "unauthenticated" | "forbidden" | "wrong_user" | "internal" | "stale_sender");
    of_requests || matches!(code, "outcome_unknown" | "key_reused" | "invalid" | "schema_too_old" | "schema_dropped")
}

/// The body in a record, unless it is torn.
pub fn record_body(record: &str) -> Option<String> {
    let (_, body) = record.split_once('\n')?;
    serde_json::from_str::<Json>(body).is_ok().then(|| body.to_string())
}

/// Makes the view anew of base and outbox, and says how it differs.
fn view_differs(tab: &Tab) -> Option<String> {
    let mut rows = Rows::default();
    for (key, row) in tab.engine.replica().base() {
        rows.put(key, Some(row.clone()));
    }
    for entry in tab.engine.outbox().iter() {
        let steps: Vec<_> = entry.edits.iter().map(|edit| (0, edit)).collect();
        let _ = apply(&tab.schema, &mut rows, Judge::View, &[Stamp::default()], &steps);
    }
    let view = tab.engine.replica().view();
    let keys: BTreeSet<RowKey> = rows.iter().chain(view.iter()).map(|(key, _)| *key).collect();
    let values = |rows: &Rows, key: RowKey| rows.get(key).map(|row| row.values.clone());
    let key = keys.into_iter().find(|key| values(&rows, *key) != values(view, *key))?;
    Some(format!("{key:?} is {:?} in the view, and by base and outbox {:?}", values(view, key), values(&rows, key)))
}
