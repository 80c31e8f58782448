//! A tab: what the shell around an engine does with its effects, and what it tells the engine.

use super::browser::{Db, Done, TabId, Work};
use super::world::{Event, Input, World};
use driftline_core::engine::{Config, Disk, Effect, Engine};
use driftline_core::json::Json;
use driftline_core::value::{RowId, RowKey, Value};
use std::collections::BTreeMap;

/// Why a tab reads the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    Open,
    Reload,
}

pub struct Tab {
    pub id: TabId,
    pub browser: usize,
    pub slot: u32,
    pub engine: Engine,
    pub opened: bool,
    /// Messages of other tabs that came before the disk was read.
    buffered: Vec<String>,
    /// The epoch under which it leads; 0 while it does not.
    pub epoch: u64,
    pub live: Option<u64>,
    /// The rows as the app knows them from patches.
    pub app: BTreeMap<RowKey, Vec<Value>>,
}

impl World {
    pub fn open_tab(&mut self, browser: usize) {
        if self.tabs_of(browser).len() >= 3 {
            return;
        }
        let id = self.new_id();
        let seed = self.rng.draw();
        let fresh_client = self.rng.draw();
        let b = &mut self.browsers[browser];
        let slot = b.lowest_free_slot();
        b.slot_locks.insert(slot, id);
        let high = b.high(slot);
        let db = b.slots.entry(slot).or_default();
        let client = *db.client.get_or_insert(fresh_client);
        let config = Config { schema: (*self.schema).clone(), slot, client, high, seed, outbox_txns: 10_000, outbox_bytes: 10_000_000 };
        let online = b.online;
        self.principals.insert(id, b.principal);
        let engine = Engine::new(config);
        let tab = Tab { id, browser, slot, engine, opened: false, buffered: Vec::new(), epoch: 0, live: None, app: BTreeMap::new() };
        self.say(|| format!("tab {id} of browser {browser} opens in slot {slot}"));
        self.tabs.insert(id, tab);
        self.with_engine(id, |engine, now| engine.set_online(now, online));
        self.start_reading(id, Read::Open);
    }

    fn grant_lead(&mut self, browser: usize) {
        if self.browsers[browser].lead.is_some() {
            return;
        }
        let Some(next) = self.browsers[browser].lead_queue.pop_front() else { return };
        self.browsers[browser].lead = Some(next);
        self.begin(next, browser, Db::Base, Work::Lead);
    }

    /// The tab is gone at once; what it was writing has reached the disk, or has not.
    pub fn crash(&mut self, tab: TabId) {
        let Some(dead) = self.tabs.remove(&tab) else { return };
        let browser = dead.browser;
        let state = self.state_of(&dead);
        *self.stats.states.entry(state.clone()).or_insert(0) += 1;
        self.say(|| format!("tab {tab} dies while {state}"));
        let mut stopped = Vec::new();
        let pending: Vec<u64> = self.browsers[browser].writes.iter().filter(|w| w.1.tab == tab).map(|w| *w.0).collect();
        for id in pending {
            let Some(write) = self.browsers[browser].writes.remove(&id) else { continue };
            if stopped.contains(&write.db) || self.rng.chance(500) {
                stopped.push(write.db);
                continue;
            }
            self.browsers[browser].carry_out(write, false);
        }
        if let Some(conn) = dead.live {
            self.conns.remove(&conn);
        }
        let b = &mut self.browsers[browser];
        b.slot_locks.remove(&dead.slot);
        b.lead_queue.retain(|waiting| *waiting != tab);
        if b.lead == Some(tab) {
            b.lead = None;
            self.grant_lead(browser);
        } else {
            let delay = if self.rng.chance(500) { 0 } else { self.rng.below(500) };
            self.after(delay, Event::Adopt { browser, slot: dead.slot });
        }
        self.after_crash(tab, browser);
        let delay = self.rng.range(1, 5_000);
        if self.tabs_of(browser).len() < 2 {
            self.after(delay, Event::OpenTab { browser });
        }
    }

    pub fn crash_browser(&mut self, browser: usize) {
        let mut tabs = self.tabs_of(browser);
        self.browsers[browser].lead_queue.clear();
        self.rng.shuffle(&mut tabs);
        for tab in tabs {
            self.browsers[browser].lead_queue.clear();
            self.crash(tab);
        }
        self.browsers[browser].busy.clear();
    }

    fn state_of(&self, tab: &Tab) -> String {
        let writing = |wanted: fn(&Work) -> bool| self.browsers[tab.browser].writes.values().any(|w| w.tab == tab.id && wanted(&w.work));
        let mut state = Vec::new();
        state.push(if !tab.opened {
            "opening"
        } else if tab.epoch > 0 {
            "sending for all"
        } else {
            "following"
        });
        if writing(|w| matches!(w, Work::Save { .. })) {
            state.push("saving");
        }
        if writing(|w| matches!(w, Work::Commit { .. })) {
            state.push("committing");
        }
        if writing(|w| matches!(w, Work::Lead)) {
            state.push("taking the lead");
        }
        if tab.engine.outbox().counts().in_flight > 0 {
            state.push("with a push in flight");
        }
        state.join(", ")
    }

    pub fn adopt(&mut self, browser: usize, slot: u32) {
        let b = &self.browsers[browser];
        let Some(lead) = b.lead.filter(|_| !b.slot_locks.contains_key(&slot)) else { return };
        if self.tabs.get(&lead).is_some_and(|tab| tab.epoch > 0) {
            let disk = self.browsers[browser].read_slot(slot);
            self.to_tab(lead, Input::Adopted(disk));
        }
    }

    // ---- reading the disk: first the base and then the outboxes, or (2) both at once ----

    fn start_reading(&mut self, tab: TabId, why: Read) {
        let half = if self.rng.chance(500) { 2 } else { 0 };
        let delay = self.rng.below(20);
        self.after(delay, Event::ReadDisk { tab, why, disk: Disk::default(), half });
    }

    pub fn read_disk(&mut self, tab: TabId, why: Read, mut disk: Disk, half: u8) {
        let Some(reader) = self.tabs.get(&tab) else { return };
        let browser = &self.browsers[reader.browser];
        if half != 1 {
            browser.read_base(&mut disk);
        }
        if half != 0 {
            browser.read_slots(&mut disk);
        }
        let delay = self.rng.below(15);
        match half {
            0 => self.after(delay, Event::ReadDisk { tab, why, disk, half: half + 1 }),
            _ => self.after(delay, Event::ToTab(tab, Input::Read { why, disk })),
        }
    }

    // ---- what a tab is told ----

    pub fn to_tab(&mut self, id: TabId, input: Input) {
        let Some(tab) = self.tabs.get_mut(&id) else { return };
        let browser = tab.browser;
        match input {
            Input::Tick => self.with_engine(id, |e, now| e.handle_tick(now)),
            Input::Peer(text) if !tab.opened => tab.buffered.push(text),
            Input::Peer(text) => self.with_engine(id, |e, now| e.handle_peer(now, &text)),
            Input::Done(done) => self.done(id, browser, done),
            Input::Answer { id: request, status, retry_after_ms, body } => {
                self.with_engine(id, |e, now| e.handle_answer(now, request, status, retry_after_ms, &body));
            }
            Input::SendFailed { id: request, failure } => self.with_engine(id, |e, now| e.handle_send_failed(now, request, failure)),
            Input::LiveOpen { conn } if tab.live == Some(conn) => self.with_engine(id, |e, now| e.handle_live_open(now)),
            Input::LiveMessage { conn, text } if tab.live == Some(conn) => self.with_engine(id, |e, now| e.handle_live_message(now, &text)),
            Input::LiveClosed { conn } if tab.live == Some(conn) => {
                tab.live = None;
                self.with_engine(id, |e, now| e.handle_live_closed(now));
            }
            Input::LiveOpen { .. } | Input::LiveMessage { .. } | Input::LiveClosed { .. } => {}
            Input::Read { why: Read::Open, disk } => {
                tab.opened = true;
                let buffered = std::mem::take(&mut tab.buffered);
                self.with_engine(id, |e, now| e.handle_opened(now, disk));
                for text in buffered {
                    self.with_engine(id, |e, now| e.handle_peer(now, &text));
                }
                if self.tabs.contains_key(&id) {
                    self.browsers[browser].lead_queue.push_back(id);
                    self.grant_lead(browser);
                }
            }
            Input::Read { why: Read::Reload, disk } => self.with_engine(id, |e, now| e.handle_reloaded(now, disk)),
            Input::Lead { epoch, slots } => {
                tab.epoch = epoch;
                let meta = self.browsers[browser].base.meta.clone();
                self.with_engine(id, |e, now| e.handle_lead(now, epoch, meta.as_deref(), slots));
            }
            Input::Adopted(slot) => self.with_engine(id, |e, now| e.handle_adopted(now, slot)),
        }
        self.check_step(id);
    }

    fn done(&mut self, id: TabId, browser: usize, done: Done) {
        match done {
            Done::Saved { slot, id: save } => self.with_engine(id, |e, now| e.handle_saved(now, slot, save)),
            Done::SaveFailed { slot, id: save } => self.with_engine(id, |e, now| e.handle_save_failed(now, slot, save, "quota")),
            Done::Committed { id: commit } => self.with_engine(id, |e, now| e.handle_committed(now, commit)),
            Done::CommitFailed { id: commit, code } => self.with_engine(id, |e, now| e.handle_commit_failed(now, commit, code)),
            Done::Epoch(epoch) => {
                if let (Some(epoch), Some(tab)) = (epoch, self.tabs.get_mut(&id)) {
                    tab.epoch = epoch;
                }
                self.with_engine(id, |e, now| e.handle_epoch(now, epoch));
            }
            Done::Led { epoch } => {
                // The locks of closed tabs' slots are taken while they are read.
                let b = &self.browsers[browser];
                let closed = b.slots.keys().filter(|slot| b.slot_locks.get(slot).is_none_or(|holder| *holder == id));
                let slots = closed.map(|slot| b.read_slot(*slot)).collect();
                self.say(|| format!("tab {id} leads, epoch {epoch}"));
                self.to_tab(id, Input::Lead { epoch, slots });
            }
        }
    }

    /// Tells an engine something and carries out what it wants done.
    pub fn with_engine<R: Default>(&mut self, id: TabId, tell: impl FnOnce(&mut Engine, u64) -> R) -> R {
        let Some(tab) = self.tabs.get_mut(&id) else { return R::default() };
        let now = self.now + self.browsers[tab.browser].skew;
        let result = tell(&mut tab.engine, now);
        while let Some(effect) = self.tabs.get_mut(&id).and_then(|tab| tab.engine.poll()) {
            if self.happens(self.rates.crash_tab, "tab crashed") {
                self.crash(id);
                break;
            }
            if self.happens(self.rates.crash_tab / 6, "browser crashed") {
                let browser = self.tabs[&id].browser;
                self.crash_browser(browser);
                break;
            }
            self.effect(id, effect);
        }
        result
    }

    fn effect(&mut self, id: TabId, effect: Effect) {
        let Some(tab) = self.tabs.get_mut(&id) else { return };
        let browser = tab.browser;
        match effect {
            Effect::Save { id: save, slot, client, puts, deletes } => {
                if client.is_some() {
                    self.find("doubled", format!("tab {id} takes itself for a copy"));
                }
                self.begin(id, browser, Db::Slot(slot), Work::Save { id: save, client, puts, deletes });
            }
            Effect::Commit { id: commit, epoch, meta, tail, base } => {
                let tail = tail.map(|tail| tail.1);
                self.begin(id, browser, Db::Base, Work::Commit { id: commit, epoch, meta, tail, base });
            }
            Effect::Push { id: request, body } => {
                self.check_push(id, &body);
                self.send(id, request, Some(body));
            }
            Effect::Fetch { id: request } => self.send(id, request, None),
            Effect::Abort { .. } => {}
            Effect::Connect { cursor } => {
                let conn = self.new_id();
                if let Some(tab) = self.tabs.get_mut(&id) {
                    tab.live = Some(conn);
                }
                let delay = self.latency();
                self.after(delay, Event::Connect { tab: id, conn, cursor });
            }
            Effect::Disconnect => {
                if let Some(conn) = tab.live.take() {
                    self.conns.remove(&conn);
                }
            }
            Effect::Broadcast(text) => self.broadcast(id, browser, &text),
            Effect::Reload => self.start_reading(id, Read::Reload),
            Effect::RenewEpoch { at_least } => {
                let held = tab.epoch;
                self.begin(id, browser, Db::Base, Work::RenewEpoch { held, at_least });
            }
            Effect::Patch(patch) => self.patch_app(id, &patch),
            Effect::Event(event) => self.watch(id, &event),
            Effect::Wake { at_ms } => {
                let at = at_ms.saturating_sub(self.browsers[browser].skew);
                self.at(at, Event::ToTab(id, Input::Tick));
            }
        }
    }

    fn broadcast(&mut self, from: TabId, browser: usize, text: &str) {
        self.say(|| format!("tab {from} says {text}"));
        for to in self.tabs_of(browser).into_iter().filter(|to| *to != from) {
            let delay = if self.rng.chance(30) { self.rng.below(1_500) } else { self.rng.below(8) };
            let last = self.browsers[browser].channel.entry((from, to)).or_insert(0);
            *last = (*last).max(self.now + delay);
            let time = *last;
            self.at(time, Event::ToTab(to, Input::Peer(text.to_string())));
        }
    }

    /// Takes a patch into the app's rows.
    pub fn patch_app(&mut self, id: TabId, patch: &str) {
        let Some(tab) = self.tabs.get_mut(&id) else { return };
        let json = Json::parse_or_null(patch);
        let mut wrong = None;
        for change in json.as_list().unwrap_or_default() {
            let part = |i: usize| change.at(i).unwrap_or(&Json::Null);
            let table = part(0).as_str().and_then(|name| self.schema.table(name));
            let (Some(table), Some(row)) = (table, part(1).as_str().and_then(RowId::parse)) else { continue };
            let key = RowKey { table, id: row };
            let set = part(2);
            let Json::Object(_) = set else {
                tab.app.remove(&key);
                continue;
            };
            let columns = &self.schema.tables[table as usize].columns;
            let full = part(3).as_u64() == Some(1);
            if full {
                tab.app.insert(key, vec![Value::Null; columns.len()]);
            }
            let Some(values) = tab.app.get_mut(&key) else {
                wrong = Some(format!("a patch of a row that the app does not have: {change:?}"));
                continue;
            };
            for (i, column) in columns.iter().enumerate() {
                match set.get(&column.name).map(|value| column.read(Some(&self.schema), value)) {
                    Some(Ok(value)) => values[i] = value,
                    None if !full => {}
                    _ => wrong = Some(format!("a patch that does not read: {change:?}")),
                }
            }
        }
        if let Some(text) = wrong {
            self.find("diverged", text);
        }
    }
}
