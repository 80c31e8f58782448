//! A tab: what the shell around an engine does with its effects, and what it tells the engine.

use super::store::{Db, Done, TabId, Work};
use super::world::{Asker, Event, Input, TABS, World};
use driftline_core::clock::Clock;
use driftline_core::dedupe::own_client;
use driftline_core::engine::{Config, Disk, Effect, Engine, IMPORTED};
use driftline_core::json::Json;
use driftline_core::schema::Schema;
use driftline_core::value::{RowId, RowKey, Value};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// Why a tab reads the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    Open,
    Reload,
}

/// What a tab asks the server for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    Load,
    Push,
    Pull,
}

pub struct Tab {
    pub id: TabId,
    pub store: usize,
    pub slot: u32,
    pub engine: Engine,
    /// Of its page.
    pub schema: Rc<Schema>,
    pub clock: Clock,
    pub opened: bool,
    /// Until then it hears nothing and does nothing.
    pub frozen_until: u64,
    /// What came while it was frozen, in the order in which it came: tabs hear each other's messages in the order said.
    waiting: VecDeque<Input>,
    /// Messages of other tabs that came before the disk was read.
    buffered: Vec<String>,
    /// The epoch under which it leads; 0 while it does not.
    pub epoch: u64,
    pub request: Option<(u64, Request)>,
    pub live: Option<u64>,
    /// The rows as the app knows them from patches.
    pub app: BTreeMap<RowKey, Vec<Value>>,
    /// When it was opened, or last had reason to hope.
    pub awake_at: u64,
    /// Requests since the last that succeeded, and since when.
    pub unanswered: (u64, u64),
}

impl World {
    pub fn open_tab(&mut self, place: usize) {
        let asleep_until = self.devices[self.stores[place].device].asleep_until;
        if self.now < asleep_until {
            return self.at(asleep_until, Event::OpenTab { store: place });
        }
        if self.tabs_of(place).len() >= TABS {
            return;
        }
        let id = self.new_id();
        let seed = self.rng.draw();
        let fresh_client = own_client(self.rng.draw());
        let store = &mut self.stores[place];
        let device = &mut self.devices[store.device];
        // Now and then the browser still has the old page.
        if device.online && self.migrated && (self.healed || self.rng.chance(600)) {
            device.version = self.schemas.len() - 1;
        }
        let schema = self.schemas[device.version].clone();
        let slot = store.lowest_free_slot();
        store.slot_locks.insert(slot, id);
        let (high, imported) = (store.high(slot), store.high(IMPORTED));
        store.disk.slots.entry(slot).or_default();
        let client = *device.clients.entry((store.principal, slot)).or_insert(fresh_client);
        let config =
            Config { schema: (*schema).clone(), slot, client, high, imported, seed, outbox_txns: 10_000, outbox_bytes: 10_000_000 };
        let online = device.online;
        self.askers.insert(id, Asker { principal: store.principal, space: store.space, store: place });
        let tab = Tab {
            id,
            store: place,
            slot,
            engine: Engine::new(config),
            schema,
            clock: Clock::default(),
            opened: false,
            frozen_until: 0,
            waiting: VecDeque::new(),
            buffered: Vec::new(),
            epoch: 0,
            request: None,
            live: None,
            app: BTreeMap::new(),
            awake_at: self.now,
            unanswered: (0, 0),
        };
        let (user, space) = (store.principal, store.space);
        self.say(|| format!("tab {id} opens in slot {slot} of store {place}: user {user}, space {space}"));
        self.tabs.insert(id, tab);
        self.with_engine(id, |engine, now| engine.set_online(now, online));
        self.start_reading(id, Read::Open);
    }

    fn grant_lead(&mut self, store: usize) {
        if self.stores[store].lead.is_some() {
            return;
        }
        let Some(next) = self.stores[store].lead_queue.pop_front() else { return };
        self.stores[store].lead = Some(next);
        self.after(0, Event::ToTab(next, Input::Granted));
    }

    /// A tab takes the lock from whoever holds it.
    fn steal_lead(&mut self, thief: TabId) {
        let Some(store) = self.tabs.get(&thief).map(|tab| tab.store) else { return };
        if self.stores[store].lead == Some(thief) {
            return;
        }
        self.note("sender replaced");
        self.say(|| format!("tab {thief} takes the lock from {:?}", self.stores[store].lead));
        self.stores[store].lead_queue.retain(|waiting| *waiting != thief);
        if let Some(victim) = self.stores[store].lead.replace(thief) {
            self.after(0, Event::ToTab(victim, Input::Stolen));
        }
        self.after(0, Event::ToTab(thief, Input::Granted));
    }

    /// The tab is gone at once; what it was writing has reached the disk, or has not.
    pub fn crash(&mut self, tab: TabId) {
        let Some(dead) = self.tabs.remove(&tab) else { return };
        let store = dead.store;
        let state = self.state_of(&dead);
        self.say(|| format!("tab {tab} dies while {state}"));
        let mut stopped = Vec::new();
        let pending: Vec<u64> = self.stores[store].writes.iter().filter(|w| w.1.tab == tab).map(|w| *w.0).collect();
        for id in pending {
            let Some(write) = self.stores[store].writes.remove(&id) else { continue };
            if stopped.contains(&write.db) {
                continue;
            }
            if self.rng.chance(500) {
                stopped.push(write.db);
                if !self.healed && self.rng.chance(self.rates.tear) {
                    self.tear(store, write, state);
                }
                continue;
            }
            self.carry_out_write(store, write, false);
        }
        if let Some(conn) = dead.live {
            self.conns.remove(&conn);
        }
        let left = &mut self.stores[store];
        left.slot_locks.remove(&dead.slot);
        let imports = left.slot_locks.get(&IMPORTED) == Some(&tab);
        left.lead_queue.retain(|waiting| *waiting != tab);
        if left.lead == Some(tab) {
            left.lead = None;
            self.grant_lead(store);
        } else {
            let delay = if self.rng.chance(500) { 0 } else { self.rng.below(500) };
            self.after(delay, Event::Adopt { store, slot: dead.slot });
        }
        if imports {
            self.stores[store].untold = true;
            self.note("import cut short");
            self.end_import(store);
        }
        self.after_crash(tab, store);
        let delay = self.rng.range(1, 5_000);
        if self.tabs_of(store).len() < 2 {
            self.after(delay, Event::OpenTab { store });
        }
    }

    /// Of what was being written only a part has reached the disk: of a new record, or of the base.
    fn tear(&mut self, store: usize, write: super::store::Write, state: &'static str) {
        let tears = |kind: &str| !self.part.without.contains(kind);

        let half = |text: &mut String| {
            let at = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(at);
        };
        let space = self.stores[store].space;
        let lineage = self.stores[store].lineage;
        let disk = &mut self.stores[store].disk;
        match (write.work, write.db) {
            (Work::Save { puts, .. }, Db::Slot(slot)) if tears("record torn") => {
                let records = &mut disk.slots.entry(slot).or_default().records;
                // The one it replaces would have to be lost for this.
                let fresh = |key: &super::server::Key| !records.contains_key(key);
                let Some((key, mut record)) = puts.into_iter().rfind(|put| fresh(&put.0)) else { return };
                half(&mut record);
                records.insert(key, record);
                self.spaces[space].journal.stories.remove(&(key, lineage));
                self.hit_in(state, "record torn");
            }
            (Work::Commit { epoch, meta, tail, base, .. }, _) if epoch == disk.base.epoch && tears("base torn") => {
                disk.base.meta = Some(meta);
                if let Some(mut chunks) = base {
                    chunks.last_mut().into_iter().for_each(half);
                    (disk.base.chunks, disk.base.tails) = (chunks, Vec::new());
                } else if let Some(mut tail) = tail {
                    half(&mut tail);
                    disk.base.tails.push(tail);
                }
                let store = &mut self.stores[store];
                store.torn_rev = store.torn_rev.max(store.disk_rev().unwrap_or(0));
                self.hit_in(state, "base torn");
            }
            _ => {}
        }
    }

    pub fn crash_device(&mut self, device: usize) {
        let mut tabs = self.tabs_on(device);
        self.rng.shuffle(&mut tabs);
        // They all go before anybody could take over.
        for tab in &tabs {
            let store = self.tabs[tab].store;
            self.stores[store].lead_queue.clear();
        }
        for tab in tabs {
            self.crash(tab);
        }
        for store in self.stores.iter_mut().filter(|store| store.device == device) {
            store.busy.clear();
        }
    }

    pub fn adopt(&mut self, store: usize, slot: u32) {
        let b = &mut self.stores[store];
        b.awaits_import |= slot == IMPORTED && b.slot_locks.contains_key(&IMPORTED);
        let Some(lead) = b.lead.filter(|_| !b.slot_locks.contains_key(&slot)) else { return };
        if self.tabs.get(&lead).is_some_and(|tab| tab.epoch > 0) {
            let disk = self.stores[store].read_slot(slot);
            self.to_tab(lead, Input::Adopted(disk));
        }
    }

    // ---- reading the disk: first the base and then the outboxes, or (2) both at once ----

    fn start_reading(&mut self, tab: TabId, why: Read) {
        let half = if self.rng.chance(500) { 2 } else { 0 };
        let delay = self.disk_delay();
        self.meet(tab, delay);
        self.after(delay, Event::ReadDisk { tab, why, disk: Disk::default(), half });
    }

    pub fn read_disk(&mut self, tab: TabId, why: Read, mut disk: Disk, half: u8) {
        let Some(reader) = self.tabs.get(&tab) else { return };
        let store = &self.stores[reader.store];
        if half != 1 {
            store.read_base(&mut disk);
        }
        if half != 0 {
            store.read_slots(&mut disk);
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
        if self.now >= tab.frozen_until && tab.waiting.is_empty() {
            return self.hand_to_tab(id, input);
        }
        let until = tab.frozen_until;
        if let Input::Adopted(disk) = &input {
            // Until a closed tab's slot has been taken over nobody opens there, or it is read once more.
            let event = Event::Adopt { store: tab.store, slot: disk.slot };
            return self.at(until, event);
        }
        tab.waiting.push_back(input);
        if tab.waiting.len() == 1 {
            self.at(until, Event::Thaw { tab: id });
        }
    }

    /// A tab goes on where it was, with one after another of what waits in its page's queue.
    pub fn thaw(&mut self, id: TabId) {
        let Some(tab) = self.tabs.get_mut(&id) else { return };
        let until = tab.frozen_until;
        if self.now < until {
            return self.at(until, Event::Thaw { tab: id });
        }
        let Some(input) = tab.waiting.pop_front() else { return };
        if !tab.waiting.is_empty() {
            self.after(0, Event::Thaw { tab: id });
        }
        self.hand_to_tab(id, input);
    }

    fn hand_to_tab(&mut self, id: TabId, input: Input) {
        let Some(tab) = self.tabs.get_mut(&id) else { return };
        let store = tab.store;
        match input {
            Input::Answer { status: 200, .. } => (tab.unanswered, self.stores[store].heard_at) = ((0, 0), self.now),
            Input::LiveOpen { .. } | Input::LiveMessage { .. } => self.stores[store].heard_at = self.now,
            Input::Online(_) => (tab.unanswered, tab.awake_at) = ((0, 0), self.now),
            _ => {}
        }
        match input {
            Input::Tick { at_ms } => {
                tab.clock.reach(self.devices[self.stores[store].device].clock_ms(self.now), at_ms);
                self.with_engine(id, |e, now| e.handle_tick(now));
            }
            Input::Online(online) => self.with_engine(id, |e, now| e.set_online(now, online)),
            Input::Peer(text) if !tab.opened => tab.buffered.push(text),
            Input::Peer(text) => self.hear(id, store, &text),
            Input::Done(done) => self.done(id, store, done),
            Input::Answer { id: request, status, retry_after_ms, body } => {
                tab.request.take_if(|asked| asked.0 == request);
                self.with_engine(id, |e, now| e.handle_answer(now, request, status, retry_after_ms, &body));
            }
            Input::SendFailed { id: request, failure } => {
                tab.request.take_if(|asked| asked.0 == request);
                self.with_engine(id, |e, now| e.handle_send_failed(now, request, failure));
            }
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
                    self.stores[store].lead_queue.push_back(id);
                    self.grant_lead(store);
                }
            }
            Input::Read { why: Read::Reload, disk } => {
                self.say(|| format!("tab {id} has read the disk"));
                self.with_engine(id, |e, now| e.handle_reloaded(now, disk));
            }
            Input::Granted if self.stores[store].lead == Some(id) => self.begin(id, Db::Base, Work::Lead),
            Input::Granted => {}
            Input::Stolen => {
                tab.epoch = 0;
                tab.request = None;
                self.with_engine(id, |e, now| e.handle_unlead(now));
                self.queue_for_lead(id);
            }
            Input::Lead { epoch, slots } => {
                tab.epoch = epoch;
                // Whoever takes over has reason to hope.
                self.stores[store].heard_at = self.now;
                let meta = self.stores[store].disk.base.meta.clone();
                self.with_engine(id, |e, now| e.handle_lead(now, epoch, meta.as_deref(), slots));
            }
            Input::Adopted(slot) => self.with_engine(id, |e, now| e.handle_adopted(now, slot)),
        }
        self.check_step(id);
    }

    /// A tab whose turn is over lets others send, and waits for its next.
    fn lead_again(&mut self, id: TabId) {
        let Some(tab) = self.tabs.get_mut(&id).filter(|tab| tab.engine.epoch().is_none()) else { return };
        tab.epoch = 0;
        tab.request = None;
        let store = tab.store;
        self.stores[store].lead.take_if(|lead| *lead == id);
        self.grant_lead(store);
        self.queue_for_lead(id);
    }

    fn queue_for_lead(&mut self, id: TabId) {
        let Some(store) = self.tabs.get(&id).map(|tab| tab.store) else { return };
        let store_ref = &mut self.stores[store];
        if store_ref.lead != Some(id) && !store_ref.lead_queue.contains(&id) {
            store_ref.lead_queue.push_back(id);
            self.grant_lead(store);
        }
    }

    /// Whoever sends looks into the slot of what is imported when it hears of it.
    fn hear(&mut self, id: TabId, store: usize, text: &str) {
        self.with_engine(id, |e, now| e.handle_peer(now, text));
        let leads = self.tabs.get(&id).is_some_and(|tab| tab.epoch > 0);
        if leads && text.contains(&format!("\"slot\":{IMPORTED}")) {
            self.after(0, Event::Adopt { store, slot: IMPORTED });
        }
    }

    /// Others may take over what has been imported.
    fn end_import(&mut self, store: usize) {
        self.stores[store].slot_locks.remove(&IMPORTED);
        self.stores[store].brought_at = self.now;
        if std::mem::take(&mut self.stores[store].awaits_import) {
            self.after(0, Event::Adopt { store, slot: IMPORTED });
        }
    }

    fn done(&mut self, id: TabId, store: usize, done: Done) {
        match done {
            Done::Saved { slot, id: save } => self.with_engine(id, |e, now| e.handle_saved(now, slot, save)),
            Done::SaveFailed { slot, id: save } => self.with_engine(id, |e, now| e.handle_save_failed(now, slot, save, "quota")),
            Done::Imported { message } => {
                self.hear(id, store, &message);
                self.broadcast(id, store, &message);
                self.end_import(store);
            }
            Done::ImportFailed => self.end_import(store),
            Done::Committed { id: commit } => self.with_engine(id, |e, now| e.handle_committed(now, commit)),
            Done::CommitFailed { id: commit, code } => {
                self.with_engine(id, |e, now| e.handle_commit_failed(now, commit, code));
                if code == "stale_epoch" {
                    self.lead_again(id);
                }
            }
            Done::Epoch(epoch) => {
                if let Some(tab) = self.tabs.get_mut(&id) {
                    tab.epoch = epoch.unwrap_or(0);
                }
                // Under a higher epoch the server may listen.
                self.stores[store].heard_at = self.now;
                self.with_engine(id, |e, now| e.handle_epoch(now, epoch));
                self.lead_again(id);
            }
            // It has been taken away meanwhile.
            Done::Led { .. } if self.stores[store].lead != Some(id) => {}
            Done::Led { epoch } => {
                // The locks of closed tabs' slots are taken while they are read.
                let b = &mut self.stores[store];
                b.awaits_import = b.slot_locks.contains_key(&IMPORTED);
                let closed =
                    b.disk.slots.keys().filter(|slot| b.slot_locks.get(slot).is_none_or(|holder| *holder == id && **slot != IMPORTED));
                let slots = closed.map(|slot| b.read_slot(*slot)).collect();
                self.say(|| format!("tab {id} leads, epoch {epoch}"));
                self.to_tab(id, Input::Lead { epoch, slots });
            }
        }
    }

    /// What a tab's engine takes for the time.
    pub fn time_of(&mut self, id: TabId) -> u64 {
        let Some(tab) = self.tabs.get_mut(&id) else { return self.now };
        tab.clock.read(self.devices[self.stores[tab.store].device].clock_ms(self.now))
    }

    /// Tells an engine something and carries out what it wants done.
    pub fn with_engine<R: Default>(&mut self, id: TabId, tell: impl FnOnce(&mut Engine, u64) -> R) -> R {
        let now = self.time_of(id);
        let Some(tab) = self.tabs.get_mut(&id) else { return R::default() };
        let result = tell(&mut tab.engine, now);
        while let Some(effect) = self.tabs.get_mut(&id).and_then(|tab| tab.engine.poll()) {
            if self.happens_to(id, self.rates.crash_tab, "tab crashed") {
                self.crash(id);
                break;
            }
            if self.happens_to(id, self.rates.crash_tab / 6, "browser crashed") {
                let device = self.stores[self.tabs[&id].store].device;
                self.crash_device(device);
                break;
            }
            self.effect(id, effect);
        }
        result
    }

    fn effect(&mut self, id: TabId, effect: Effect) {
        let Some(tab) = self.tabs.get_mut(&id) else { return };
        let store = tab.store;
        match effect {
            Effect::Save { id: save, slot, client, puts, deletes } => {
                if client.is_some() {
                    self.note("copy found out");
                    if !self.stores[store].forked && !self.stores[store].shared {
                        self.find("doubled", format!("tab {id} takes itself for a copy"));
                    }
                }
                self.say(|| {
                    format!(
                        "tab {id} writes {:x?} to slot {slot}, and deletes {deletes:x?}",
                        puts.iter().map(|put| put.0).collect::<Vec<_>>()
                    )
                });
                self.begin(id, Db::Slot(slot), Work::Save { id: save, client, puts, deletes });
            }
            Effect::Commit { id: commit, epoch, meta, tail, base } => {
                let tail = tail.map(|tail| tail.1);
                self.say(|| format!("tab {id} writes the base under epoch {epoch}: {meta}"));
                self.begin(id, Db::Base, Work::Commit { id: commit, epoch, meta, tail, base });
            }
            Effect::Push { id: request, body } => {
                let kind = if body.contains("\"units\":[]") { Request::Pull } else { Request::Push };
                tab.request = Some((request, kind));
                self.check_push(id, &body);
                self.send(id, request, Some(body));
            }
            Effect::Fetch { id: request } => {
                tab.request = Some((request, Request::Load));
                self.send(id, request, None);
            }
            Effect::Abort { id: request } => drop(tab.request.take_if(|asked| asked.0 == request)),
            Effect::Connect { cursor } => {
                let conn = self.new_id();
                if let Some(tab) = self.tabs.get_mut(&id) {
                    tab.live = Some(conn);
                }
                let delay = if self.online(id) { self.latency(id) } else { 0 };
                self.after(delay, Event::Connect { tab: id, conn, cursor });
            }
            Effect::Disconnect => {
                if let Some(conn) = tab.live.take() {
                    self.conns.remove(&conn);
                }
            }
            Effect::Broadcast(text) => self.broadcast(id, store, &text),
            Effect::Reload => {
                self.say(|| format!("tab {id} reads the disk again"));
                self.start_reading(id, Read::Reload);
            }
            Effect::RenewEpoch { at_least } => {
                let held = tab.epoch;
                self.begin(id, Db::Base, Work::RenewEpoch { held, at_least });
            }
            Effect::Replace => self.steal_lead(id),
            Effect::Patch(patch) => self.patch_app(id, &patch),
            Effect::Event(event) => self.watch(id, &event),
            Effect::Wake { at_ms } => {
                let delay = at_ms.saturating_sub(self.time_of(id));
                self.after(delay, Event::ToTab(id, Input::Tick { at_ms }));
            }
        }
    }

    fn broadcast(&mut self, from: TabId, store: usize, text: &str) {
        self.say(|| format!("tab {from} says {text}"));
        for to in self.tabs_of(store).into_iter().filter(|to| *to != from) {
            let delay = if self.rng.chance(30) { self.rng.below(1_500) } else { self.rng.below(8) };
            let last = self.stores[store].channel.entry((from, to)).or_insert(0);
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
            let table = part(0).as_str().and_then(|name| tab.schema.table(name));
            let (Some(table), Some(row)) = (table, part(1).as_str().and_then(RowId::parse)) else { continue };
            let key = RowKey { table, id: row };
            let set = part(2);
            let Json::Object(_) = set else {
                tab.app.remove(&key);
                continue;
            };
            let columns = &tab.schema.tables[table as usize].columns;
            let full = part(3).as_u64() == Some(1);
            if full {
                tab.app.insert(key, vec![Value::Null; columns.len()]);
            }
            let Some(values) = tab.app.get_mut(&key) else {
                wrong = Some(format!("a patch of a row that the app does not have: {change:?}"));
                continue;
            };
            for (i, column) in columns.iter().enumerate() {
                match set.get(&column.name).map(|value| column.read(Some(&tab.schema), value)) {
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
