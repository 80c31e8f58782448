//! What people do: edits in any order, drags, transactions of several edits, decisions, closing and opening.

use super::journal::Fate;
use super::server::Key;
use super::store::{Store, TabId};
use super::world::{Event, Input, World};
use driftline_core::edit::{Edit, read_edits};
use driftline_core::engine::write_key;
use driftline_core::field::{text_of, texts};
use driftline_core::outbox::State;
use driftline_core::schema::{Column, Kind};
use driftline_core::value::{RowId, RowKey, Value};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeSet;

impl World {
    /// One thing that somebody does, and when the next is done.
    pub fn work(&mut self) {
        let is_somebody_away = self.away_until() > self.now;
        if is_somebody_away && (self.work_left == 0 || self.is_nobody_here() || self.rng.chance(120)) {
            return self.wait_for_all();
        }
        if self.work_left == 0 {
            return self.heal();
        }
        self.work_left -= 1;
        let pause = if self.rng.chance(100) { self.rng.range(1_000, 15_000) } else { self.rng.range(1, 600) };
        self.after(pause, Event::Work);
        let tabs: Vec<TabId> = self.tabs.values().filter(|tab| self.now >= tab.frozen_until).map(|tab| tab.id).collect();
        let Some(&tab) = self.rng.pick(&tabs) else { return };
        self.sit_down(tab);
        if self.part.skip.contains(&self.works) {
            return;
        }
        if self.rng.chance(self.rates.incidents) {
            return self.incident(tab);
        }
        if self.rng.chance(self.rates.files) {
            return self.carry_file(tab);
        }
        match self.rng.below(100) {
            0..25 => {
                let edit = self.create(tab, None);
                self.make(tab, vec![edit], Vec::new());
            }
            25..41 => self.update(tab),
            41..43 => self.undo(tab),
            43..55 => self.move_row(tab),
            55..64 => self.delete(tab),
            64..76 => self.several(tab),
            76..84 => self.drag(tab),
            84..88 => self.ordered(tab),
            88..93 => self.decide_parked(tab),
            93..96 => self.turn_network(tab),
            96 if self.happens_to(tab, 1_000, "tab closed") => self.crash(tab),
            97 => self.poison(tab),
            98 => self.undo(tab),
            99 if self.happens_everywhere(self.rates.crash_server * 10, "server crashed at rest") => self.crash_server(),
            _ => {}
        }
        if self.tabs.contains_key(&tab) {
            self.with_engine(tab, |_, _| ());
            self.check_step(tab);
        }
    }

    /// What somebody does at a tab is in the terms of its page.
    pub fn sit_down(&mut self, tab: TabId) {
        if let Some(tab) = self.tabs.get(&tab) {
            self.schema = tab.schema.clone();
        }
    }

    /// Makes a transaction and writes it into the journal. The engine's effects wait for the end of the task.
    pub fn make(&mut self, id: TabId, edits: Vec<Json>, after: Vec<Key>) -> Option<Key> {
        let texts = after.iter().map(|key| {
            let mut text = String::new();
            write_key(*key, &mut text);
            text
        });
        let text = json!({"edits": edits, "after": texts.collect::<Vec<_>>()}).to_string();
        let deletes = edits.iter().any(|edit| edit["op"] == "delete");
        let now = self.time_of(id);
        let tab = self.tabs.get_mut(&id)?;
        let held = |tab: &super::shell::Tab| tab.engine.outbox().iter().map(|entry| entry.made.key).collect::<BTreeSet<Key>>();
        let before = if deletes { held(tab) } else { BTreeSet::new() };
        self.stats.edits += 1;
        let (key, patch) = match tab.engine.transact(now, &text) {
            Ok(made) => made,
            Err(problem) => {
                self.stats.refused += 1;
                self.say(|| format!("tab {id} may not make {text}: {}", problem.code));
                return None;
            }
        };
        let vanished: Vec<Key> = if deletes { before.difference(&held(tab)).copied().collect() } else { Vec::new() };
        self.say(|| format!("tab {id} makes {key:x?} {text}"));
        self.patch_app(id, &patch);
        let edits = read_edits(&self.schema, &driftline_core::json::Json::parse_or_null(&text)).unwrap_or_default();
        self.note_made(id, key, edits, after, vanished);
        Some(key)
    }

    fn note_made(&mut self, id: TabId, key: Key, edits: Vec<Edit>, after: Vec<Key>, vanished: Vec<Key>) {
        let Some(tab) = self.tabs.get(&id) else { return };
        let (store, held) = (tab.store, tab.engine.outbox().get(key).is_some());
        let Store { space, lineage, .. } = self.stores[store];
        let journal = &mut self.spaces[space].journal;
        for key in vanished {
            if let Some(story) = journal.stories.get_mut(&(key, lineage)) {
                story.fate = Fate::Vanished { told: false };
            }
        }
        if held {
            self.stats.folded += u64::from(journal.stories.contains_key(&(key, lineage)));
            journal.made((key, lineage), id, store, edits, after);
        }
    }

    /// Undoes or redoes some steps, as somebody does who holds the keys down.
    fn undo(&mut self, id: TabId) {
        for _ in 0..self.rng.range(1, 5) {
            let redo = self.rng.chance(300);
            let now = self.time_of(id);
            let Some(tab) = self.tabs.get_mut(&id) else { return };
            let held = |tab: &super::shell::Tab| tab.engine.outbox().iter().map(|entry| entry.made.key).collect::<BTreeSet<Key>>();
            let before = held(tab);
            let edits = tab.engine.next_undo(redo).unwrap_or_default();
            let made = if redo { tab.engine.redo(now) } else { tab.engine.undo(now) };
            let vanished: Vec<Key> = before.difference(&held(tab)).copied().collect();
            self.say(|| format!("tab {id} {} {made:x?}", if redo { "redoes" } else { "undoes" }));
            for (key, patch) in made.unwrap_or_default() {
                self.note(if redo { "redone" } else { "undone" });
                self.stats.edits += 1;
                self.patch_app(id, &patch);
                self.note_made(id, key, edits.clone(), Vec::new(), vanished.clone());
            }
        }
    }

    // ---- edits ----

    fn fresh_text(&mut self) -> String {
        self.texts += 1;
        format!("text {}", self.texts)
    }

    fn fresh_row(&mut self) -> u128 {
        u128::from(self.rng.draw()) << 64 | u128::from(self.rng.draw())
    }

    fn row(&mut self, tab: TabId, tables: &[u16]) -> Option<RowKey> {
        let rows: Vec<RowKey> = self.tabs.get(&tab)?.app.keys().filter(|key| tables.contains(&key.table)).copied().collect();
        self.rng.pick(&rows).copied()
    }

    fn any_row(&mut self, tab: TabId) -> Option<RowKey> {
        let tables: Vec<u16> = (0..self.schema.tables.len() as u16).collect();
        self.row(tab, &tables)
    }

    fn edit(&self, op: &str, row: RowKey) -> Json {
        json!({"op": op, "table": self.schema.tables[row.table as usize].name, "id": row.id.to_string()})
    }

    /// A value for a reference: a row that is seen, or at times one that nobody has made yet.
    fn reference(&mut self, tab: TabId, column: &Column) -> Option<Json> {
        let Kind::Ref { to, .. } = &column.kind else { return None };
        let promise = self.rng.chance(120);
        let target = match self.row(tab, to).filter(|_| !promise) {
            Some(row) => row,
            None => {
                let active: Vec<u16> = to.iter().copied().filter(|table| self.active.contains(table)).collect();
                let table = *self.rng.pick(if active.is_empty() { to } else { &active })?;
                let id = self.fresh_row();
                let store = self.tabs.get(&tab)?.store;
                let promised = &mut self.stores[store].promised;
                let old = promised.iter().find(|p| to.contains(&p.0)).copied().filter(|_| self.rng.chance(500));
                let (table, id) = old.unwrap_or((table, id));
                if old.is_none() {
                    promised.push((table, id));
                }
                RowKey { table, id: RowId(id) }
            }
        };
        Some(self.reference_to(column, target))
    }

    fn reference_to(&self, column: &Column, target: RowKey) -> Json {
        let several = matches!(&column.kind, Kind::Ref { to, .. } if to.len() > 1);
        let id = json!(target.id.to_string());
        if several { json!({self.schema.tables[target.table as usize].name.as_str(): id}) } else { id }
    }

    pub fn create(&mut self, tab: TabId, table: Option<u16>) -> Json {
        let active = self.active.clone();
        let table = table.or_else(|| self.rng.pick(&active).copied()).unwrap_or(0);
        let store = self.tabs.get(&tab).map_or(0, |tab| tab.store);
        let promised = self.stores[store].promised.iter().position(|p| p.0 == table);
        let id = match promised.filter(|_| self.rng.chance(700)) {
            Some(i) => self.stores[store].promised.remove(i).1,
            None => self.fresh_row(),
        };
        let mut set = Map::new();
        let schema = self.schema.clone();
        for column in &schema.tables[table as usize].columns {
            let value = match &column.kind {
                Kind::Ref { .. } if column.nullable && self.rng.chance(500) => None,
                Kind::Ref { .. } => self.reference(tab, column),
                Kind::Text { conflicts: Some(_), .. } => Some(json!(self.fresh_lines())),
                Kind::Text { .. } => Some(json!(self.fresh_text())),
                Kind::Set if self.rng.chance(500) => Some(json!([self.label(), self.label()])),
                Kind::Position if self.rng.chance(500) => Some(json!(self.fresh_position())),
                Kind::Counter if self.rng.chance(300) => Some(json!(self.rng.below(10))),
                Kind::Json if column.default.is_none() || self.rng.chance(300) => Some(json!({"b": [self.rng.below(9)], "a": null})),
                Kind::Weak if self.rng.chance(500) => Some(json!(RowId(self.fresh_row()).to_string())),
                _ => None,
            };
            set.extend(value.map(|value| (column.name.clone(), value)));
        }
        let mut edit = self.edit("create", RowKey { table, id: RowId(id) });
        edit["set"] = Json::Object(set);
        edit
    }

    /// A row that needs no other.
    pub fn create_alone(&mut self, tab: TabId) -> Json {
        let schema = self.schema.clone();
        let refers = |column: &Column| matches!(column.kind, Kind::Ref { .. });
        let alone = |table: &u16| !schema.tables[*table as usize].columns.iter().any(|column| refers(column) && !column.nullable);
        let table = self.active.iter().copied().find(alone);
        let mut edit = self.create(tab, table);
        if let (Some(table), Some(set)) = (table, edit["set"].as_object_mut()) {
            set.retain(|name, _| !schema.tables[table as usize].columns.iter().any(|column| refers(column) && column.name == *name));
        }
        edit
    }

    /// Few, so that they meet.
    fn label(&mut self) -> String {
        format!("label {}", self.rng.below(6))
    }

    fn fresh_position(&mut self) -> String {
        format!("{}V", self.rng.below(1_000))
    }

    fn fresh_lines(&mut self) -> String {
        (0..self.rng.range(1, 5)).map(|_| self.fresh_text()).collect::<Vec<_>>().join("\n\n")
    }

    /// A text in which somebody has typed: a line changed, put in, or taken out. Some lines are blank.
    fn retyped(&mut self, text: &str) -> String {
        let mut lines: Vec<String> = text.split('\n').map(str::to_string).collect();
        let at = self.rng.below(lines.len() as u64) as usize;
        match self.rng.below(5) {
            0 if lines.len() > 2 => drop(lines.remove(at)),
            1 => lines.insert(at, self.fresh_text()),
            2 => lines.extend([String::new(), self.fresh_text()]),
            _ => lines[at] = self.fresh_text(),
        }
        lines.join("\n")
    }

    /// Sets some fields of a row, adds to its counters, types into its texts, or all of it.
    fn update_of(&mut self, tab: TabId, row: RowKey) -> Json {
        let [mut set, mut add, mut text, mut insert, mut remove] = [(); 5].map(|()| Map::new());
        let schema = self.schema.clone();
        for (i, column) in schema.tables[row.table as usize].columns.iter().enumerate() {
            let seen = self.tabs.get(&tab).and_then(|tab| tab.app.get(&row)).map_or(Value::Null, |values| values[i].clone());
            match &column.kind {
                Kind::Text { conflicts: Some(_), .. } if self.rng.chance(700) => {
                    let from = text_of(&seen).to_string();
                    let to = if column.nullable && self.rng.chance(50) { Json::Null } else { json!(self.retyped(&from)) };
                    let from = if seen.is_null() { Json::Null } else { json!(from) };
                    text.insert(column.name.clone(), json!([from, to]));
                }
                Kind::Text { conflicts: Some(_), .. } => {}
                Kind::Conflicts { .. } if !seen.is_null() && self.rng.chance(150) => {
                    remove.insert(column.name.clone(), json!(texts(&seen)));
                }
                Kind::Set if self.rng.chance(500) => {
                    let (one, other) = (self.label(), self.label());
                    if one != other {
                        remove.insert(column.name.clone(), json!([other]));
                    }
                    insert.insert(column.name.clone(), json!([one]));
                }
                Kind::Position if self.rng.chance(500) => drop(set.insert(column.name.clone(), json!(self.fresh_position()))),
                Kind::Counter if self.rng.chance(700) => drop(add.insert(column.name.clone(), json!(self.rng.below(9) as i64 - 3))),
                Kind::Text { .. } if column.nullable && self.rng.chance(200) => drop(set.insert(column.name.clone(), Json::Null)),
                Kind::Text { .. } if self.rng.chance(500) => drop(set.insert(column.name.clone(), json!(self.fresh_text()))),
                Kind::Real if self.rng.chance(500) => drop(set.insert(column.name.clone(), json!(self.rng.below(10_000) as f64 / 4.0))),
                _ => {}
            }
        }
        let mut edit = self.edit("update", row);
        edit["set"] = Json::Object(set);
        for (way, members) in [("add", add), ("text", text), ("insert", insert), ("remove", remove)] {
            edit[way] = Json::Object(members);
        }
        edit
    }

    fn update(&mut self, tab: TabId) {
        let Some(row) = self.any_row(tab) else { return };
        let edit = self.update_of(tab, row);
        self.make(tab, vec![edit], Vec::new());
    }

    fn moved(&mut self, tab: TabId, row: RowKey) -> Option<Json> {
        let schema = self.schema.clone();
        let columns: Vec<&Column> =
            schema.tables[row.table as usize].columns.iter().filter(|c| matches!(c.kind, Kind::Ref { .. })).collect();
        let column = *self.rng.pick(&columns)?;
        let value = if column.nullable && self.rng.chance(300) { Json::Null } else { self.reference(tab, column)? };
        let mut edit = self.edit("update", row);
        edit["set"] = json!({column.name.as_str(): value});
        Some(edit)
    }

    fn move_row(&mut self, tab: TabId) {
        let Some(row) = self.any_row(tab) else { return };
        if let Some(edit) = self.moved(tab, row) {
            self.make(tab, vec![edit], Vec::new());
        }
    }

    fn delete(&mut self, tab: TabId) {
        let Some(row) = self.any_row(tab) else { return };
        let mut edits = vec![self.edit("delete", row)];
        if self.rng.chance(200)
            && let Some(other) = self.any_row(tab).filter(|other| *other != row)
        {
            edits.push(self.edit("delete", other));
        }
        self.make(tab, edits, Vec::new());
    }

    /// Several edits as one, in any order: a child before its parent, two rows that need each other.
    fn several(&mut self, tab: TabId) {
        let mut edits = Vec::new();
        let table = |name: &str, world: &World| world.schema.table(name);
        let is_small = self.schema.name == "sim";
        if is_small && self.rng.chance(300) {
            let mut team = self.create(tab, table("team", self));
            let mut person = self.create(tab, table("person", self));
            person["set"]["team"] = team["id"].clone();
            team["set"]["lead"] = person["id"].clone();
            edits = vec![team, person];
        } else if is_small && self.rng.chance(400) {
            let kind = self.create(tab, table("kind", self));
            let card = self.create(tab, table("card", self));
            let mut conn = self.create(tab, table("conn", self));
            conn["set"]["kind"] = kind["id"].clone();
            conn["set"]["from"] = json!({"card": card["id"]});
            edits = vec![conn, card, kind];
        } else if self.rng.chance(500) {
            edits = self.family(tab);
        }
        let mut rows = BTreeSet::new();
        for _ in 0..self.rng.range(1, 3) {
            let Some(row) = self.any_row(tab).filter(|row| rows.insert(*row)) else { continue };
            let edit = match self.rng.below(8) {
                0 => Some(self.edit("delete", row)),
                1..4 => self.moved(tab, row),
                _ => Some(self.update_of(tab, row)),
            };
            edits.extend(edit);
        }
        self.rng.shuffle(&mut edits);
        if !edits.is_empty() {
            self.make(tab, edits, Vec::new());
        }
    }

    /// A new row, and new rows that refer to it.
    fn family(&mut self, tab: TabId) -> Vec<Json> {
        let parent = self.create(tab, None);
        let Some(table) = parent["table"].as_str().and_then(|name| self.schema.table(name)) else { return Vec::new() };
        let id = parent["id"].as_str().and_then(RowId::parse);
        let schema = self.schema.clone();
        let referrers: Vec<(u16, u16)> = schema.referrers(table).map(|r| (r.0, r.1)).filter(|r| self.active.contains(&r.0)).collect();
        let mut edits = vec![parent];
        for _ in 0..self.rng.range(1, 4) {
            let (Some(&(from, column)), Some(id)) = (self.rng.pick(&referrers), id) else { continue };
            let column = &schema.tables[from as usize].columns[column as usize];
            let mut child = self.create(tab, Some(from));
            child["set"][column.name.as_str()] = self.reference_to(column, RowKey { table, id });
            edits.push(child);
        }
        edits
    }

    fn drag(&mut self, tab: TabId) {
        let Some(row) = self.any_row(tab) else { return };
        for _ in 0..self.rng.range(3, 12) {
            let edit = self.update_of(tab, row);
            if self.make(tab, vec![edit], Vec::new()).is_none() {
                return;
            }
            // Each frame is a task of its own, unless the machine is slow.
            if self.rng.chance(400) {
                self.with_engine(tab, |_, _| ());
            }
        }
    }

    /// An edit that comes after others by the app's word.
    fn ordered(&mut self, tab: TabId) {
        let Some(engine) = self.tabs.get(&tab).map(|tab| &tab.engine) else { return };
        let keys: Vec<Key> = engine.outbox().iter().map(|entry| entry.made.key).collect();
        let after: BTreeSet<Key> = (0..2).filter_map(|_| self.rng.pick(&keys).copied()).collect();
        let edit = self.create(tab, None);
        self.make(tab, vec![edit], after.into_iter().collect());
    }

    // ---- decisions ----

    fn decide_parked(&mut self, tab: TabId) {
        let Some(engine) = self.tabs.get(&tab).map(|tab| &tab.engine) else { return };
        let decide = |entry: &&driftline_core::outbox::Entry| matches!(entry.state, State::Parked { .. }) || entry.suspended;
        let parked: Vec<Key> = engine.outbox().iter().filter(decide).map(|entry| entry.made.key).collect();
        let waiting: Vec<Key> = engine.outbox().iter().map(|entry| entry.made.key).collect();
        // At times somebody thinks better of what only waits.
        let any = self.rng.chance(200);
        let Some(&key) = self.rng.pick(if any { &waiting } else { &parked }) else { return };
        let dependents = self.rng.chance(600);
        self.note_decided(tab, key);
        if any || self.rng.chance(300) {
            self.rewrite(tab, key, dependents);
        } else if self.rng.chance(500) {
            self.say(|| format!("tab {tab} retries {key:x?}"));
            self.with_engine(tab, |engine, now| Some(engine.retry(now, key)));
        } else {
            self.say(|| format!("tab {tab} discards {key:x?}"));
            self.with_engine(tab, |engine, now| Some(engine.discard(now, key, dependents)));
        }
    }

    /// Where a disk, or a file, has a copy, each of the two may come to another decision.
    fn note_decided(&mut self, tab: TabId, key: Key) {
        let group = self.tabs[&tab].engine.outbox().with_dependents(key);
        let Store { space, lineage, forked, shared, .. } = self.stores[self.tabs[&tab].store];
        for key in group.into_iter().filter(|_| forked || shared) {
            if let Some(story) = self.spaces[space].journal.stories.get_mut(&(key, lineage)) {
                story.decided = true;
            }
        }
    }

    /// Amends a parked transaction, makes it refer to something else, or frees others from it.
    fn rewrite(&mut self, tab: TabId, key: Key, dependents: bool) {
        let Some(entry) = self.tabs.get(&tab).and_then(|tab| tab.engine.outbox().get(key)).cloned() else { return };
        let mut text = String::new();
        write_key(key, &mut text);
        let mut decision = json!({"key": text, "dependents": dependents});
        let named = |schema: &driftline_core::schema::Schema, row: RowKey| json!({"table": schema.tables[row.table as usize].name, "id": row.id.to_string()});
        let references: Vec<RowKey> = entry.edits.iter().flat_map(|edit| edit.references().map(|r| r.1)).collect();
        match (self.rng.below(3), self.rng.pick(&references).copied()) {
            (0, _) => {
                let mut edits = String::new();
                let kept = entry.edits.len().max(2) / 2;
                driftline_core::edit::write_edits(&self.schema, &entry.edits[..kept.min(entry.edits.len())], &mut edits);
                decision["what"] = json!("amend");
                decision["edits"] = serde_json::from_str(&format!("[{edits}]")).unwrap_or_default();
            }
            (1, Some(from)) => {
                let to = self.row(tab, &[from.table]).filter(|_| self.rng.chance(700));
                decision["what"] = json!("reparent");
                decision["from"] = named(&self.schema, from);
                decision["to"] = to.map_or(Json::Null, |to| named(&self.schema, to));
            }
            _ => decision["what"] = json!("detach"),
        }
        // Whoever carries it out may know of more that depends on it.
        let store = self.tabs[&tab].store;
        let group: Vec<Key> =
            self.tabs_of(store).into_iter().flat_map(|tab| self.tabs[&tab].engine.outbox().with_dependents(key)).collect();
        let Store { space, .. } = self.stores[store];
        self.spaces[space].rewritten.extend(group);
        let text = decision.to_string();
        let done = self.with_engine(tab, |engine, now| Some(engine.decide(now, &text)));
        self.say(|| format!("tab {tab} decides {text}: {done:?}"));
        if let Some(Ok(())) = done {
            self.note("rewritten");
        }
    }

    fn turn_network(&mut self, tab: TabId) {
        let device = self.stores[self.tabs[&tab].store].device;
        let online = !self.devices[device].online;
        if self.happens_on(device, if online { "back online" } else { "went offline" }) {
            self.switch_network(device, online);
        }
    }

    pub fn switch_network(&mut self, device: usize, online: bool) {
        self.devices[device].online = online;
        self.say(|| format!("device {device} is {}", if online { "online" } else { "offline" }));
        for tab in self.tabs_on(device) {
            self.to_tab(tab, Input::Online(online));
            if self.commits(tab) && self.rng.chance(500) {
                self.after(1, Event::Die { tab });
            }
        }
    }

    fn poison(&mut self, tab: TabId) {
        if self.rates.server_error == 0 {
            return;
        }
        let edit = self.create(tab, None);
        let id = edit["id"].as_str().and_then(RowId::parse);
        let table = edit["table"].as_str().and_then(|name| self.schema.table(name));
        if let (Some(table), Some(id)) = (table, id)
            && self.make(tab, vec![edit], Vec::new()).is_some()
        {
            let space = self.stores[self.tabs[&tab].store].space;
            self.spaces[space].server.poison.insert(RowKey { table, id });
        }
    }
}
