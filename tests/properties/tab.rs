//! A tab that sends, over a disk that never fails, and the request that leads from it to the server.

use crate::model::{Rows, values};
use driftline_core::engine::{Config, Disk, Effect, Engine, SlotDisk};
use driftline_core::outbox::Key;
use driftline_core::problem::Problem;
use driftline_core::reconcile::mix;
use driftline_core::schema::Schema;
use driftline_core::wire::{Push, read_push};
use driftline_tests::sim::server::{Principal, Server};
use std::collections::{BTreeMap, VecDeque};

/// What the disk of a slot holds, and the base.
#[derive(Default, Clone)]
pub struct Kept {
    pub records: BTreeMap<Key, String>,
    pub high: BTreeMap<u64, u64>,
    pub client: Option<u64>,
    pub epoch: u64,
    pub meta: Option<String>,
    pub base: Vec<String>,
    pub tails: Vec<String>,
}

impl Kept {
    pub fn slot(&self) -> SlotDisk {
        let mut high = self.high.clone();
        for key in self.records.keys() {
            let known = high.entry(key.0).or_insert(0);
            *known = (*known).max(key.1);
        }
        SlotDisk { slot: 0, records: self.records.values().cloned().collect(), high: high.into_iter().collect() }
    }

    fn disk(&self) -> Disk {
        Disk { meta: self.meta.clone(), base: self.base.clone(), tails: self.tails.clone(), slots: vec![self.slot()] }
    }
}

pub struct Tab {
    pub engine: Engine,
    pub now: u64,
    pub kept: Kept,
    pub pushes: VecDeque<(u64, String)>,
    pub events: Vec<String>,
    pub patches: Vec<String>,
    fetch: Option<u64>,
    served: u64,
}

pub fn config(schema: &Schema, client: u64) -> Config {
    Config {
        schema: schema.clone(),
        slot: 0,
        client,
        high: Vec::new(),
        imported: Vec::new(),
        seed: client,
        outbox_txns: 100_000,
        outbox_bytes: 100_000_000,
    }
}

impl Tab {
    /// A tab that has opened what was kept on disk, and does not send yet.
    pub fn opened(config: Config, kept: Kept, now: u64) -> Tab {
        let disk = kept.disk();
        Tab::opened_on(config, kept, disk, now)
    }

    pub fn opened_on(mut config: Config, kept: Kept, disk: Disk, now: u64) -> Tab {
        config.client = kept.client.unwrap_or(config.client);
        config.high = kept.slot().high;
        let engine = Engine::new(config);
        let (pushes, events, patches) = Default::default();
        let mut tab = Tab { engine, now, kept, pushes, events, patches, fetch: None, served: 0 };
        tab.engine.handle_opened(now, disk);
        tab.run();
        tab
    }

    pub fn lead(&mut self) {
        self.kept.epoch += 1;
        let meta = self.kept.meta.clone();
        self.engine.handle_lead(self.now, self.kept.epoch, meta.as_deref(), vec![self.kept.slot()]);
        self.run();
    }

    /// A tab that has loaded what the server holds.
    pub fn leading(config: Config, server: &Server, now: u64) -> Tab {
        let mut tab = Tab::opened(config, Kept::default(), now);
        tab.lead();
        tab.load(server);
        tab
    }

    /// Answers the fetch of a snapshot, if there is one.
    pub fn load(&mut self, server: &Server) {
        if let Some(id) = self.fetch.take() {
            self.engine.handle_answer(self.now, id, 200, None, &server.snapshot());
            self.run();
        }
    }

    pub fn make(&mut self, call: &str) -> Result<Key, Problem> {
        let (key, patch) = self.engine.transact(self.now, call)?;
        self.patches.push(patch);
        Ok(key)
    }

    /// Carries out what the engine wants.
    /// The page is left: the browser says so before it ends, and what is on disk then is what is kept.
    pub fn close(&mut self) -> Kept {
        self.engine.save_now(self.now);
        self.run();
        std::mem::take(&mut self.kept)
    }

    pub fn run(&mut self) {
        while let Some(effect) = self.engine.poll() {
            match effect {
                Effect::Save { id, slot, client, puts, deletes } => {
                    self.kept.records.extend(puts);
                    for key in deletes {
                        self.kept.records.remove(&key);
                        let high = self.kept.high.entry(key.0).or_insert(0);
                        *high = (*high).max(key.1);
                    }
                    self.kept.client = client.or(self.kept.client);
                    self.engine.handle_saved(self.now, slot, id);
                }
                Effect::Commit { id, meta, tail, base, .. } => {
                    self.kept.meta = Some(meta);
                    if let Some(base) = base {
                        self.kept.base = base;
                        self.kept.tails.clear();
                    }
                    self.kept.tails.extend(tail.map(|tail| tail.1));
                    self.engine.handle_committed(self.now, id);
                }
                Effect::Push { id, body } => self.pushes.push_back((id, body)),
                Effect::Fetch { id } => self.fetch = Some(id),
                Effect::Abort { id } => self.pushes.retain(|push| push.0 != id),
                Effect::Reload => self.engine.handle_reloaded(self.now, self.kept.disk()),
                Effect::RenewEpoch { at_least } => {
                    self.kept.epoch = self.kept.epoch.max(at_least);
                    self.engine.handle_epoch(self.now, Some(self.kept.epoch));
                }
                Effect::Patch(patch) => self.patches.push(patch),
                Effect::Event(text) => self.events.push(text),
                Effect::Connect { .. } | Effect::Disconnect | Effect::Broadcast(_) | Effect::Replace | Effect::Wake { .. } => {}
            }
        }
    }

    pub fn tick(&mut self, ms: u64) {
        self.now += ms;
        self.engine.handle_tick(self.now);
        self.run();
    }

    pub fn set_online(&mut self, online: bool) {
        self.engine.set_online(self.now, online);
        self.run();
        if online {
            self.tick(600);
        }
    }

    pub fn answer(&mut self, id: u64, status: u16, body: &str) {
        self.engine.handle_answer(self.now, id, status, None, body);
        self.run();
    }

    /// Answers everything until nothing more can be sent; gives up after a bounded number of requests.
    pub fn sync(&mut self, schema: &Schema, server: &mut Server, principal: Principal) -> bool {
        let mut quiet = 0;
        for _ in 0..400 {
            self.load(server);
            let Some((id, body)) = self.pushes.pop_front() else {
                // What was held is tried again after a while.
                quiet += 1;
                if quiet > 2 && (self.engine.outbox().counts().queued == 0 || quiet > 6) {
                    return true;
                }
                self.tick(31_000);
                continue;
            };
            self.served += 1;
            let (status, answer) = serve(schema, server, principal, &body, self.now, mix(self.served));
            self.answer(id, status, &answer);
            while server.reap_step() {}
            if self.engine.replica().rev < server.space.rev {
                quiet = 0;
            }
        }
        false
    }

    pub fn view(&self) -> Rows {
        values(self.engine.replica().view().iter())
    }

    pub fn base(&self) -> Rows {
        values(self.engine.replica().base().iter().map(|(key, row)| (key, *row)))
    }
}

/// A request as a server takes it: status and body of the answer.
pub fn serve(schema: &Schema, server: &mut Server, principal: Principal, body: &str, now: u64, random: u64) -> (u16, String) {
    match read_push(schema, body) {
        Ok(push) => serve_push(server, principal, &push, now, random),
        Err(error) => (error.status, format!("{{\"code\":\"{}\"}}", error.code)),
    }
}

pub fn serve_push(server: &mut Server, principal: Principal, push: &Push, now: u64, random: u64) -> (u16, String) {
    match server.decide(principal, push, now, random) {
        Ok(mut plan) => {
            server.commit(principal, push, &mut plan, now);
            (200, server.answer(principal, push, &plan, 2_000))
        }
        Err(stale) => (409, format!("{{\"code\":\"stale_sender\",\"epoch\":{}}}", stale.epoch)),
    }
}
