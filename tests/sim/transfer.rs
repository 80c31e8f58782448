//! What leaves a device on purpose: files of unsynced work, which may come to another, and what somebody gives up.

use super::journal::Story;
use super::server::{Key, Principal};
use super::store::{Db, Image, Store, TabId, Work};
use super::world::{Event, World};
use driftline_core::engine::{IMPORTED, parse_key, record_key};
use serde_json::{Value as Json, json};

/// Files that are kept in a world, at most.
const FILES: usize = 8;

/// What other tabs have not handed over is waited for so long, again and again.
const HANDOVER_MS: [u64; 4] = [50, 150, 400, 1_000];

/// What somebody is about to do with what waits.
#[derive(Clone, Copy)]
pub enum Leaving {
    Export,
    SignOut,
    DeleteSpace,
}

/// A file of unsynced work.
pub struct WorkFile {
    principal: Principal,
    space: usize,
    store: usize,
    records: Vec<String>,
    /// What the records stand for.
    stories: Vec<(Key, Story)>,
}

impl World {
    /// Somebody writes what waits to a file, or takes in what such a file holds.
    pub fn carry_file(&mut self, tab: TabId) {
        let file = if self.rng.chance(450) { None } else { self.file_and_place() };
        let tab = file.map_or(tab, |(_, place)| place);
        if let Some((file, _)) = file {
            self.import(tab, file);
        } else if let Some(place) = self.tabs.get(&tab).map(|tab| tab.store) {
            self.leave_soon(tab, place, Leaving::Export);
        }
        self.with_engine(tab, |_, _| ());
        self.check_step(tab);
    }

    /// Now, or while a tab writes the next time: few writes are under way at any moment.
    pub fn leave_soon(&mut self, tab: TabId, place: usize, leaving: Leaving) {
        self.stores[place].leaving = Some(leaving);
        if self.rng.chance(500) {
            self.leave(tab, place);
        }
    }

    /// A tab of the store does what is due.
    pub fn leave(&mut self, tab: TabId, place: usize) {
        if self.is_asleep(self.stores[place].device) {
            return;
        }
        match self.stores[place].leaving.take() {
            Some(Leaving::Export) if self.exportable(tab) && self.happens_to(tab, 1_000, "work exported") => self.export(tab, 0),
            Some(Leaving::SignOut) => self.sign_out(place),
            Some(Leaving::DeleteSpace) => self.delete_space(place),
            _ => {}
        }
    }

    fn exportable(&self, id: TabId) -> bool {
        self.tabs.get(&id).is_some_and(|tab| tab.opened && tab.engine.outbox().iter().next().is_some())
    }

    /// What others could not hand over in time is not in the file.
    pub fn export(&mut self, id: TabId, tries: usize) {
        let Some(tab) = self.tabs.get(&id) else { return };
        let (place, frozen_until) = (tab.store, tab.frozen_until);
        if self.now < frozen_until {
            return self.at(frozen_until, Event::Export { tab: id, tries });
        }
        let now = self.time_of(id);
        let Some(text) = self.tabs.get_mut(&id).map(|tab| tab.engine.export_unsynced(now)) else { return };
        let found: Json = serde_json::from_str(&text).unwrap_or_default();
        self.stores[place].shared = true;
        let left_out = found["left_out"].as_u64().unwrap_or(0);
        if let Some(delay) = HANDOVER_MS.get(tries).filter(|_| left_out > 0) {
            return self.after(*delay, Event::Export { tab: id, tries: tries + 1 });
        }
        let records: Vec<String> = strings(&found["records"]);
        let Store { principal, space, lineage, .. } = self.stores[place];
        let keys: Vec<Option<Key>> = records.iter().map(|record| record_key(record)).collect();
        let keyed = keys.iter().zip(&records).filter_map(|(key, record)| Some((key.as_ref()?, record)));
        let stories = self.spaces[space].journal.copies(self.latest(), lineage, keyed);
        self.say(|| format!("tab {id} exports {keys:x?}, and leaves out {left_out}"));
        if left_out > 0 {
            self.note("file without all that waits");
        }
        self.files.push(WorkFile { principal, space, store: place, records, stories });
        if self.files.len() > FILES {
            self.files.remove(0);
        }
    }

    /// A file, and a tab that may import it; rather one of another store than of that where it was made.
    fn file_and_place(&mut self) -> Option<(usize, TabId)> {
        let elsewhere = self.rng.chance(800);
        let mut pairs = Vec::new();
        for tab in self.tabs.values().filter(|tab| tab.opened && self.now >= tab.frozen_until) {
            let Store { principal, space, .. } = self.stores[tab.store];
            let fits = |file: &WorkFile| (file.principal, file.space) == (principal, space) && !(elsewhere && file.store == tab.store);
            pairs.extend((0..self.files.len()).filter(|file| fits(&self.files[*file])).map(|file| (file, tab.id)));
        }
        self.rng.pick(&pairs).copied()
    }

    /// Begins to write what the engine lets through. No tab takes the slot over meanwhile.
    fn import(&mut self, id: TabId, file: usize) {
        let Some(tab) = self.tabs.get(&id).filter(|tab| tab.opened) else { return };
        let place = tab.store;
        if self.stores[place].slot_locks.contains_key(&IMPORTED) {
            return;
        }
        let WorkFile { store: from, records, stories, .. } = &self.files[file];
        let from = *from;
        let admitted: Json = match tab.engine.admit(&json!(records).to_string()) {
            Ok(text) => serde_json::from_str(&text).unwrap_or_default(),
            Err(problem) => {
                self.say(|| format!("tab {id} may not import: {}", problem.code));
                return self.note("file refused");
            }
        };
        let put = |put: &Json| Some((parse_key(put[0].as_str()?)?, put[1].as_str()?.to_string()));
        let puts: Vec<(Key, String)> = admitted["puts"].as_array().into_iter().flatten().filter_map(put).collect();
        let Store { space, lineage, .. } = self.stores[place];
        let journal = &self.spaces[space].journal;
        // What could not be saved may be in the file in words that have not outlived their tab.
        // And a copy that was made meanwhile may have less of it than was saved here.
        let differs =
            |known: &Story, story: &Story| known.root != story.root || known.prefix(&story.calls.concat(), known.durable).is_none();
        let used_otherwise = |(key, story): &(Key, Story)| journal.stories.get(&(*key, lineage)).is_some_and(|known| differs(known, story));
        if stories.iter().any(used_otherwise) {
            // The journal keeps one story under a name. That numbers of copies meet is played without files.
            return self.note("file of a copy left alone");
        }
        let stories = stories.iter().filter(|(key, _)| puts.iter().any(|put| put.0 == *key)).cloned().collect();
        if puts.is_empty() || !self.happens_to(id, 1_000, "work imported") {
            return;
        }
        self.note(if from == place { "imported where it was made" } else { "imported elsewhere" });
        self.say(|| format!("tab {id} imports {:x?} from store {from}", puts.iter().map(|put| put.0).collect::<Vec<_>>()));
        let message = admitted["message"].as_str().unwrap_or("").to_string();
        self.stores[place].shared = true;
        self.stores[place].partial = true;
        self.stores[place].slot_locks.insert(IMPORTED, id);
        self.begin(id, Db::Slot(IMPORTED), Work::Import { puts, stories, message });
    }

    // ---- giving up ----

    /// Somebody signs out and gives up what waits: no database of theirs stays on this device.
    pub fn sign_out(&mut self, place: usize) {
        let Store { device, principal, .. } = self.stores[place];
        let of_user = |store: &Store| (store.device, store.principal) == (device, principal);
        let places: Vec<usize> = (0..self.stores.len()).filter(|place| of_user(&self.stores[*place])).collect();
        if self.close_all(&places, "signed out, work given up") {
            for place in places {
                self.give_up(place, Image::default());
            }
            self.devices[device].clients.retain(|(of, _), _| *of != principal);
        }
    }

    /// Somebody deletes a space from this device, and gives up what waits in it. What keeps a key from being used twice stays.
    pub fn delete_space(&mut self, place: usize) {
        if self.close_all(&[place], "space deleted, work given up") {
            let image = self.stores[place].disk.without_rows();
            self.give_up(place, image);
        }
    }

    fn close_all(&mut self, places: &[usize], kind: &'static str) -> bool {
        let tabs: Vec<TabId> = places.iter().flat_map(|place| self.tabs_of(*place)).collect();
        if !self.hits_all(tabs.clone(), kind) {
            return false;
        }
        for place in places {
            self.stores[*place].lead_queue.clear();
        }
        tabs.into_iter().for_each(|tab| self.crash(tab));
        true
    }

    fn give_up(&mut self, place: usize, left: Image) {
        let store = &mut self.stores[place];
        store.torn_rev = store.torn_rev.max(store.disk_rev().unwrap_or(0));
        let waited: Vec<Key> = store.disk.slots.values().flat_map(|slot| slot.records.keys().copied()).collect();
        store.disk = left;
        store.note_open(self.now);
        self.spaces[store.space].journal.give_up(&waited, store.lineage);
        self.say(|| format!("what waited in store {place} is given up: {waited:x?}"));
    }
}

fn strings(list: &Json) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|text| Some(text.as_str()?.to_string())).collect()
}
