//! What the property tests share: a schema, a store in memory, and a tab whose disk never fails.
#![allow(dead_code)]

use driftline_core::dedupe::{ClientState, Settled};
use driftline_core::engine::{Config, Disk, Effect, Engine, IMPORTED, SlotDisk};
use driftline_core::load::{Load, Query, SpaceState};
use driftline_core::outbox::Key;
use driftline_core::reconcile::{Plan, StaleSender, reconcile};
use driftline_core::schema::Schema;
use driftline_core::value::{Row, RowKey, Value};
use driftline_core::wire::{ChangeRow, Push, read_push, write_answer};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config as RunnerConfig, RngAlgorithm, TestRng, TestRunner};
use std::collections::{BTreeMap, BTreeSet};

pub const SCHEMA: &str = r#"{"name": "t", "version": 1, "tables": {
  "box": {"fields": {"name": {"type": "text", "default": ""}, "n": {"type": "counter"}},
    "references": {"up": {"to": ["box"], "nullable": true, "on_delete": "cascade"}}},
  "card": {"fields": {"x": {"type": "real", "default": 0}, "note": {"type": "text", "nullable": true}, "n": {"type": "counter"}},
    "references": {"box": {"to": ["box"], "nullable": true, "on_delete": "set_null"}}},
  "conn": {"edits_to_deleted": "park", "references": {
    "from": {"to": ["card"], "on_delete": "cascade"}, "kind": {"to": ["kind"], "on_delete": "restrict"}}},
  "kind": {"fields": {"name": {"type": "text", "default": ""}}},
  "node": {"references": {"up": {"to": ["node", "box"], "on_delete": "cascade"}}}
}}"#;

pub fn schema() -> Schema {
    Schema::parse(SCHEMA).unwrap()
}

/// Runs a property on as many cases as the place allows, always the same ones.
pub fn check<S: Strategy>(strategy: S, property: impl Fn(S::Value)) {
    let cases = if cfg!(target_arch = "wasm32") { 12 } else { 200 };
    let config = RunnerConfig { cases, failure_persistence: None, ..RunnerConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let result = runner.run(&strategy, |value| {
        property(value);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

pub fn id(n: u64) -> String {
    format!("00000000-0000-7000-8000-{n:012x}")
}

/// A body with these edits, made at a time.
pub fn body(at: u64, edits: &str) -> String {
    format!("{{\"schema\":1,\"at\":[{at},0],\"edits\":[{edits}]}}")
}

pub fn create(table: &str, n: u64, set: &str) -> String {
    format!("{{\"op\":\"create\",\"table\":\"{table}\",\"id\":\"{}\",\"set\":{{{set}}}}}", id(n))
}

pub fn update(table: &str, n: u64, rest: &str) -> String {
    format!("{{\"op\":\"update\",\"table\":\"{table}\",\"id\":\"{}\",{rest}}}", id(n))
}

/// A tab of a slot shows a record.
pub fn shown(slot: u32, frozen: bool, record: &str) -> String {
    format!("{{\"schema\":1,\"t\":\"txns\",\"slot\":{slot},\"frozen\":{frozen},\"unsaved\":[]}}\n{record}")
}

pub fn delete(table: &str, n: u64) -> String {
    format!("{{\"op\":\"delete\",\"table\":\"{table}\",\"id\":\"{}\"}}", id(n))
}

/// A push of one client, one unit for each `(seq, body)`.
pub fn push_text(receipt: Option<&str>, closed: &str, units: &[(u64, String)]) -> String {
    let receipt = receipt.map_or("null".to_string(), |r| format!("\"{r}\""));
    let units: Vec<String> =
        units.iter().map(|(seq, body)| format!("{{\"txns\":[{{\"key\":[0,{seq}],\"body\":{body}}}],\"after\":[]}}")).collect();
    format!(
        "{{\"epoch\":1,\"cursor\":0,\"clients\":[{{\"id\":\"00000000000000aa\",\"receipt\":{receipt},\"closed\":{closed}}}],\"units\":[{}]}}",
        units.join(",")
    )
}

/// A store in memory.
#[derive(Default, Clone)]
pub struct Store {
    pub space: SpaceState,
    pub rows: BTreeMap<RowKey, Row>,
    pub log: Vec<(u64, Key, u128, String)>,
    pub marks: BTreeMap<Key, Settled>,
    pub clients: BTreeMap<u64, ClientState>,
    pub deleted: BTreeSet<RowKey>,
    /// What goes in the background.
    pub dying: BTreeSet<RowKey>,
}

impl Store {
    pub fn decide(&self, schema: &Schema, push: &Push) -> Result<Plan, StaleSender> {
        self.decide_within(schema, push, driftline_core::limits::DELETE_ROWS)
    }

    /// Where so many rows go at once.
    pub fn decide_within(&self, schema: &Schema, push: &Push, delete_rows: usize) -> Result<Plan, StaleSender> {
        let key = |k: &(usize, u64)| (push.clients[k.0].id, k.1);
        let mut load = Load::new(schema, push, delete_rows);
        load.give_dying(!self.dying.is_empty());
        while let Some(query) = load.next() {
            match query {
                Query::Space => load.give_space(self.space),
                Query::Clients => load.give_clients(push.clients.iter().map(|c| self.clients.get(&c.id).cloned()).collect()),
                Query::Settled(keys) => load.give_settled(keys.iter().filter_map(|k| Some((*k, self.marks.get(&key(k))?.clone())))),
                Query::Logged(keys) => {
                    let row = |k: &(usize, u64)| self.log.iter().find(|row| row.1 == key(k)).map(|row| (*k, (row.2, row.0)));
                    load.give_logged(keys.iter().filter_map(row));
                }
                Query::Rows { table, ids } => {
                    let keys = ids.into_iter().map(|id| RowKey { table, id });
                    load.give_rows(keys.filter_map(|key| Some((key, self.rows.get(&key)?.clone()))));
                }
                Query::Children { table, column, parents, limit } => {
                    let refers = |row: &Row| matches!(row.values[column as usize], Value::Ref(to) if parents.contains(&to));
                    let found = self.rows.iter().filter(|(key, row)| key.table == table && refers(row));
                    load.give_rows(found.take(limit).map(|(key, row)| (*key, row.clone())));
                }
                // None of these histories has as many rows as a large delete.
                Query::Blockers { .. } | Query::Above(_) => unreachable!("a large delete"),
                Query::Doomed(keys) => load.give_doomed(keys.into_iter().filter(|key| self.dying.contains(key))),
                Query::Deleted(keys) => load.give_deleted(keys.into_iter().filter(|key| self.deleted.contains(key))),
            }
        }
        reconcile(schema, push, load.finish(), 1_000_000, 7 + self.space.rev, self.clients.len() as u32 + 1)
    }

    /// Carries a request out and returns the answer's text, or the status of a refusal.
    pub fn push(&mut self, schema: &Schema, text: &str) -> Result<String, u16> {
        let push = read_push(schema, text).map_err(|error| error.status)?;
        let plan = self.decide(schema, &push).map_err(|_| 409u16)?;
        self.space = plan.space;
        for (key, row) in plan.inserts.iter().chain(&plan.updates) {
            self.rows.insert(*key, row.clone());
        }
        for (key, _) in &plan.deletes {
            self.rows.remove(key);
        }
        self.deleted.retain(|row| !plan.revived.contains(row));
        self.deleted.extend(plan.deleted.iter().map(|d| d.0));
        let key = |k: (usize, u64)| (push.clients[k.0].id, k.1);
        self.log.extend(plan.log.iter().map(|row| (row.rev, key(row.key), row.hash, row.changes.clone())));
        self.marks.extend(plan.settled.iter().map(|(k, settled)| (key(*k), settled.clone())));
        for (client, state) in push.clients.iter().zip(&plan.clients) {
            self.marks.retain(|key, _| key.0 != client.id || !state.closed.contains(key.1));
            self.clients.insert(client.id, state.clone());
        }
        let cursor = push.cursor.unwrap_or(u64::MAX);
        let rows = self.log.iter().filter(|row| row.0 > cursor);
        let rows = rows.map(|row| ChangeRow { rev: row.0, actor: 1, own: Some((row.1.0, row.1.1, row.2)), changes: row.3.clone() });
        Ok(write_answer(schema, &push, &plan, &rows.collect::<Vec<_>>(), false, false))
    }

    /// References to rows that are not there.
    pub fn orphans(&self) -> usize {
        self.rows.values().flat_map(|row| row.references()).filter(|r| !self.rows.contains_key(&r.1)).count()
    }

    /// What must not depend on how often and in which portions something was sent.
    pub fn essence(&self) -> (u64, u128, Vec<(u64, Key, String)>) {
        let log = self.log.iter().map(|row| (row.0, row.1, row.3.clone())).collect();
        (self.space.rev, self.space.digest.0, log)
    }
}

/// A tab that sends, with a disk that keeps everything.
pub struct Tab {
    pub schema: Schema,
    pub engine: Engine,
    pub now: u64,
    pub disk: BTreeMap<Key, String>,
    /// The slot of what was imported.
    pub imported: BTreeMap<Key, String>,
    /// The highest numbers deleted, by slot and client.
    pub high: BTreeMap<(u32, u64), u64>,
    /// Saves are held back while this is set.
    pub hold_saves: bool,
    /// The database of this slot alone is slow.
    pub hold_slot: Option<u32>,
    pub held: Vec<(u32, u64)>,
    pub pushes: Vec<(u64, String)>,
    pub fetches: Vec<u64>,
    pub events: Vec<String>,
    pub effects: Vec<Effect>,
    /// The base on disk.
    pub kept: Disk,
}

pub fn config() -> Config {
    config_for(schema())
}

pub fn config_for(schema: Schema) -> Config {
    Config {
        schema,
        slot: 0,
        client: 0xaa,
        high: Vec::new(),
        imported: Vec::new(),
        seed: 5,
        outbox_txns: 100_000,
        outbox_bytes: 100_000_000,
    }
}

impl Tab {
    /// A tab before the disk was read.
    pub fn new() -> Tab {
        Tab::of(schema())
    }

    pub fn of(schema: Schema) -> Tab {
        Tab::of_config(config_for(schema))
    }

    pub fn of_config(config: Config) -> Tab {
        let (pushes, fetches, events, effects) = Default::default();
        Tab {
            schema: config.schema.clone(),
            engine: Engine::new(config),
            now: 1_000,
            disk: BTreeMap::new(),
            imported: BTreeMap::new(),
            high: BTreeMap::new(),
            hold_saves: false,
            hold_slot: None,
            held: Vec::new(),
            pushes,
            fetches,
            events,
            effects,
            kept: Disk::default(),
        }
    }

    /// A tab that leads and has an empty base, or what a store holds.
    pub fn leading(store: &Store) -> Tab {
        Tab::new().lead(store)
    }

    pub fn lead(mut self, store: &Store) -> Tab {
        self.open(Disk::default());
        self.engine.handle_lead(self.now, 1, None, Vec::new());
        self.run();
        self.give_snapshot(store);
        self
    }

    /// Answers the fetch that waits.
    pub fn give_snapshot(&mut self, store: &Store) {
        let fetch = self.fetches.pop().unwrap();
        let mut text = driftline_core::wire::write_snapshot_head(&self.schema, store.space.rev, store.space.digest, store.rows.len());
        for (key, row) in &store.rows {
            driftline_core::wire::write_rows(&self.schema, key.table, std::iter::once((key.id, row)), &mut text);
        }
        text.push_str(driftline_core::wire::SNAPSHOT_END);
        self.engine.handle_answer(self.now, fetch, 200, None, &text);
        self.run();
    }

    pub fn open(&mut self, disk: Disk) {
        self.engine.handle_opened(self.now, disk);
        self.run();
    }

    pub fn slot(&self) -> SlotDisk {
        SlotDisk { slot: 0, records: self.disk.values().cloned().collect(), high: Vec::new() }
    }

    /// All that is on disk, as the next tab finds it.
    pub fn left(&self) -> Disk {
        let high = |slot: u32| self.high.iter().filter(|high| high.0.0 == slot).map(|high| (high.0.1, *high.1)).collect();
        let own = SlotDisk { high: high(0), ..self.slot() };
        let imported = SlotDisk { slot: IMPORTED, records: self.imported.values().cloned().collect(), high: high(IMPORTED) };
        Disk { slots: vec![own, imported], ..self.kept.clone() }
    }

    /// The records of everything that waits, as a file has them, and how many were left out.
    pub fn export(&mut self) -> (String, u64) {
        let out: serde_json::Value = serde_json::from_str(&self.engine.export_unsynced(self.now)).unwrap();
        self.run();
        (out["records"].to_string(), out["left_out"].as_u64().unwrap())
    }

    /// Imports records as the shell does: first to disk, then to every tab. Returns how many there were, were known, and could not
    /// be read; or the code of a refusal.
    pub fn import(&mut self, records: &str) -> Result<(usize, u64, u64), String> {
        let admitted = self.engine.admit(records).map_err(|problem| problem.code)?;
        let admitted: serde_json::Value = serde_json::from_str(&admitted).unwrap();
        let puts = admitted["puts"].as_array().unwrap();
        for put in puts {
            let key = driftline_core::engine::parse_key(put[0].as_str().unwrap()).unwrap();
            self.imported.insert(key, put[1].as_str().unwrap().to_string());
        }
        self.engine.handle_peer(self.now, admitted["message"].as_str().unwrap());
        self.run();
        if self.engine.epoch().is_some() {
            let mut slots = self.left().slots;
            self.engine.handle_adopted(self.now, slots.remove(1));
            self.run();
        }
        Ok((puts.len(), admitted["known"].as_u64().unwrap(), admitted["unreadable"].as_u64().unwrap()))
    }

    /// What it has told the other tabs since its effects were last taken, oldest first.
    pub fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.effects)
            .into_iter()
            .filter_map(|effect| if let Effect::Broadcast(text) = effect { Some(text) } else { None })
            .collect()
    }

    pub fn make(&mut self, edits: &str) -> Result<Key, String> {
        let made = self.engine.transact(self.now, &format!("{{\"edits\":[{edits}]}}"));
        made.map(|made| made.0).map_err(|problem| problem.code)
    }

    pub fn run(&mut self) {
        while let Some(effect) = self.engine.poll() {
            match effect.clone() {
                Effect::Save { id, slot, puts, deletes, .. } => {
                    if self.hold_saves || self.hold_slot == Some(slot) {
                        self.held.push((slot, id));
                        continue;
                    }
                    let disk = if slot == IMPORTED { &mut self.imported } else { &mut self.disk };
                    disk.extend(puts);
                    deletes.iter().for_each(|key| drop(disk.remove(key)));
                    for (client, seq) in deletes {
                        let high = self.high.entry((slot, client)).or_default();
                        *high = (*high).max(seq);
                    }
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
                Effect::Push { id, body } => self.pushes.push((id, body)),
                Effect::Fetch { id } => self.fetches.push(id),
                Effect::Event(text) => self.events.push(text),
                _ => self.effects.push(effect),
            }
        }
    }

    /// Lets time pass and answers every request from the store until nothing more is sent.
    pub fn sync(&mut self, store: &mut Store) {
        let schema = self.schema.clone();
        self.sync_with(store, &schema);
    }

    /// With a server of another version, perhaps.
    pub fn sync_with(&mut self, store: &mut Store, schema: &Schema) {
        for _ in 0..200 {
            let Some((id, body)) = self.pushes.pop() else {
                self.now += 1_000;
                self.engine.handle_tick(self.now);
                self.run();
                if self.pushes.is_empty() && self.engine.outbox().counts().queued == 0 {
                    return;
                }
                continue;
            };
            match store.push(schema, &body) {
                Ok(answer) => self.engine.handle_answer(self.now, id, 200, None, &answer),
                Err(status) => self.engine.handle_answer(self.now, id, status, None, "{}"),
            }
            self.run();
        }
    }
}
