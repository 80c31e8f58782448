//! What happens to people: faults, how often, and what the tabs that they hit were doing.

use super::rng::Rng;
use super::server::Server;
use super::shell::{Request, Tab};
use super::silence::{HOUR_MS, WEEK_MS};
use super::store::{Image, Store, TabId, Work};
use super::transfer::Leaving;
use super::world::{Event, World};

/// How often things fail, per mille, drawn anew for each world.
pub struct Rates {
    pub lost: u64,
    pub doubled: u64,
    pub late: u64,
    pub cut: u64,
    pub crash_tab: u64,
    pub crash_server: u64,
    pub server_error: u64,
    pub abort: u64,
    pub tear: u64,
    pub break_live: u64,
    /// Of what people do, so much is something that happens to them.
    pub incidents: u64,
    /// So often somebody writes a file of unsynced work, or reads one.
    pub files: u64,
    /// Of writes, so many the tab does not live to see the end of.
    pub crash_writing: u64,
    /// So often the disk takes its time.
    pub slow_disk: u64,
    /// Of requests, so many carry a token that holds no more when they arrive.
    pub expire: u64,
    /// Before so many requests the server loses all that is not in its database.
    pub forget: u64,
}

impl Rates {
    pub fn draw(rng: &mut Rng) -> Rates {
        // Some worlds are without faults of a kind, so that the faults of another can be seen alone.
        let mut rate = |most: u64| if rng.chance(300) { 0 } else { rng.below(most + 1) };
        Rates {
            lost: rate(250),
            doubled: rate(250),
            late: rate(250),
            cut: rate(100),
            crash_tab: rate(12),
            crash_server: rate(60),
            server_error: rate(100),
            abort: rate(100),
            tear: rate(1_000),
            break_live: rate(100),
            incidents: rate(145),
            files: rate(120),
            crash_writing: rate(12),
            slow_disk: 80 + rate(600),
            expire: rate(20),
            forget: rate(30),
        }
    }
}

/// Disks as they once were, and the server's spaces.
#[derive(Default)]
pub struct Backups {
    pub device: Option<DeviceBackup>,
    pub server: Option<Vec<Server>>,
}

#[derive(Clone)]
pub struct DeviceBackup {
    device: usize,
    clients: std::collections::BTreeMap<(u32, u32), u64>,
    disks: Vec<(usize, Image)>,
}

/// What a tab can be doing, as far as faults are concerned.
pub const STATES: [&str; 9] = ["opening", "offline", "loading", "pushing", "pulling", "committing", "saving", "leading", "following"];

/// In which states a fault can hit a tab, where that is not all of them: an answer can be lost only by whoever waits for one.
const CONFINED: [(&str, &[&str]); 18] = [
    ("answer cut off", &WAITING),
    ("answer lost", &WAITING),
    ("back online", &["opening", "offline"]),
    ("base torn", &["offline", "loading", "pushing", "pulling", "committing"]),
    ("live broken", &CONNECTED),
    ("live ended with its token", &CONNECTED),
    ("live refused", &CONNECTED),
    ("message late", &["loading", "pushing", "pulling", "committing", "saving", "leading"]),
    ("record torn", &["opening", "offline", "loading", "pushing", "pulling", "committing", "saving"]),
    ("request doubled", &WAITING),
    ("request lost", &WAITING),
    ("server error", &WAITING),
    ("server fails on a row", &["pushing"]),
    ("token expired on the way", &WAITING),
    ("token refused", &WAITING),
    ("went offline", &["opening", "loading", "pushing", "pulling", "committing", "saving", "leading", "following"]),
    ("work exported", &OPENED),
    ("work imported", &OPENED),
];
const WAITING: [&str; 3] = ["loading", "pushing", "pulling"];
const CONNECTED: [&str; 5] = ["pushing", "pulling", "committing", "saving", "leading"];
const OPENED: [&str; 8] = ["offline", "loading", "pushing", "pulling", "committing", "saving", "leading", "following"];

/// Whether there can be a tab in this state that a fault hits.
pub fn can_hit(fault: &str, state: &str) -> bool {
    CONFINED.iter().find(|confined| confined.0 == fault).is_none_or(|confined| confined.1.contains(&state))
}

/// How many kinds of incidents there are, and which of them are seldom, or hit a tab in one of these states too seldom: where a base is written,
/// which is over soonest, above all.
const INCIDENTS: u64 = 35;
const RARE: [u64; 20] = [3, 4, 10, 14, 15, 17, 20, 21, 22, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34];
const FLEETING: [&str; 6] = ["opening", "loading", "pulling", "committing", "committing", "saving"];

impl World {
    /// What a tab is doing.
    pub fn state_of(&self, tab: &Tab) -> &'static str {
        let writing = |wanted: fn(&Work) -> bool| self.stores[tab.store].writes.values().any(|w| w.tab == tab.id && wanted(&w.work));
        match tab.request.map(|request| request.1) {
            _ if !tab.opened => "opening",
            _ if !self.devices[self.stores[tab.store].device].online => "offline",
            Some(Request::Load) => "loading",
            Some(Request::Push) => "pushing",
            Some(Request::Pull) => "pulling",
            None if writing(|w| matches!(w, Work::Commit { .. })) => "committing",
            None if writing(|w| matches!(w, Work::Save { .. } | Work::Import { .. })) => "saving",
            None if tab.epoch > 0 => "leading",
            None => "following",
        }
    }

    /// Counts a fault that hits a tab.
    pub fn hit(&mut self, tab: TabId, kind: &'static str) {
        let Some(state) = self.tabs.get(&tab).map(|tab| self.state_of(tab)) else { return };
        self.hit_in(state, kind);
    }

    /// The same of a tab that is gone, and was in this state.
    pub fn hit_in(&mut self, state: &'static str, kind: &'static str) {
        *self.stats.faults.entry(kind).or_default().entry(state).or_default() += 1;
    }

    /// How long the disk takes.
    pub fn disk_delay(&mut self) -> u64 {
        if self.rng.chance(self.rates.slow_disk) { self.rng.range(50, 2_000) } else { self.rng.range(1, 25) }
    }

    /// Whether a fault of this rate happens now to a tab; none does once the world is healing.
    pub fn happens_to(&mut self, tab: TabId, per_mille: u64, kind: &'static str) -> bool {
        let happens = self.rng.chance(per_mille) && !self.healed && !self.part.without.contains(kind);
        if happens {
            self.hit(tab, kind);
        }
        happens
    }

    /// The same of what hits the tabs of a whole device.
    pub fn happens_on(&mut self, device: usize, kind: &'static str) -> bool {
        self.hits_all(self.tabs_on(device), kind)
    }

    /// The same of what hits everybody.
    pub fn happens_everywhere(&mut self, per_mille: u64, kind: &'static str) -> bool {
        self.rng.chance(per_mille) && self.hits_all(self.tabs.keys().copied().collect(), kind)
    }

    pub fn hits_all(&mut self, tabs: Vec<TabId>, kind: &'static str) -> bool {
        let happens = !self.healed && !self.part.without.contains(kind);
        if happens {
            tabs.into_iter().for_each(|tab| self.hit(tab, kind));
            self.say(|| format!("---- {kind}"));
        }
        happens
    }

    /// Something happens to whoever sits at this tab: now, or when some tab is in a state that does not last.
    pub fn incident(&mut self, tab: TabId) {
        let kind = self.rng.below(INCIDENTS);
        if RARE.contains(&kind) && self.rng.chance(500) {
            let state = self.rng.pick(&FLEETING).copied().unwrap_or_default();
            self.due.insert(state, kind);
        } else {
            self.befall(tab, kind);
        }
    }

    /// A tab has come into a state that lasts so long: what is due in it happens.
    pub fn meet(&mut self, id: TabId, lasts: u64) {
        let Some(state) = self.tabs.get(&id).map(|tab| self.state_of(tab)) else { return };
        if let Some(kind) = self.due.remove(state) {
            let delay = self.rng.below(lasts);
            self.after(delay, Event::Befall { tab: id, kind });
        }
    }

    pub fn befall(&mut self, tab: TabId, kind: u64) {
        let Some(store) = self.tabs.get(&tab).map(|tab| tab.store) else { return };
        let Store { device, principal, .. } = self.stores[store];
        if self.is_asleep(device) {
            return;
        }
        match kind {
            0..3 => self.freeze(tab),
            3 | 4 => self.turn_clock(device),
            5 if self.happens_on(device, "disk full") => self.devices[device].full_until = self.now + self.rng.range(500, 40_000),
            6 | 7 if self.happens_on(device, "token expired") => self.expire((device, principal)),
            8 | 9 if self.happens_on(device, "user changed") => self.change_user(device),
            10..13 if self.happens_to(tab, 1_000, "space left") => {
                self.crash(tab);
                let store = self.some_store(device);
                self.after(10, Event::OpenTab { store });
            }
            13 => self.back_up(device),
            14 | 24 | 28 => self.restore(device),
            15 => self.copy(device),
            16 => {
                self.backups.server = Some(self.spaces.iter().map(|space| space.server.clone()).collect());
            }
            17 => self.restore_server(),
            18 => self.cut_log(),
            19 if self.happens_on(device, "browser crashed") => self.crash_device(device),
            20..23 => {
                let leaving = if self.rng.chance(600) { Leaving::SignOut } else { Leaving::DeleteSpace };
                self.leave_soon(tab, store, leaving);
            }
            23 => self.back_up(device),
            25 => self.restore_server(),
            26 | 27 => self.migrate(),
            29 => self.withdraw(principal),
            30 if self.happens_everywhere(1_000, "server forgot its sessions") => self.forget_sessions(),
            31 | 32 => self.fall_silent(vec![device]),
            33 => self.fall_silent((0..self.devices.len()).collect()),
            34 if self.happens_on(device, "wrong token came") => self.take_wrong_token((device, principal)),
            _ => {}
        }
    }

    /// The browser stops a page for a while, or its process hangs. It knows nothing of that.
    fn freeze(&mut self, tab: TabId) {
        if self.happens_to(tab, 1_000, "tab frozen") {
            let until = self.now + self.rng.range(1_000, 60_000);
            if let Some(tab) = self.tabs.get_mut(&tab) {
                tab.frozen_until = until;
            }
        }
    }

    /// How far a device's clock is off: up to an hour either way, seldom by a week.
    pub fn wrong_clock(&mut self) -> i64 {
        match self.rng.below(20) {
            0 => WEEK_MS as i64,
            1..8 => self.rng.below(100_000) as i64,
            _ => self.rng.range(0, 2 * HOUR_MS) as i64 - HOUR_MS as i64,
        }
    }

    /// Somebody sets a device's clock, or the network does.
    fn turn_clock(&mut self, device: usize) {
        let before = self.devices[device].ahead;
        let after = if self.rng.chance(500) { self.wrong_clock() } else { before + self.rng.below(40_000) as i64 - 20_000 };
        if self.happens_on(device, if after < before { "clock set back" } else { "clock set forward" }) {
            self.devices[device].ahead = after;
        }
    }

    /// One signs out, and another (or the same) signs in. What waits stays with whom it belongs to.
    fn change_user(&mut self, device: usize) {
        for tab in self.tabs_on(device) {
            self.crash(tab);
        }
        self.devices[device].user = 1 + self.rng.below(3) as u32;
        for _ in 0..self.rng.range(1, 2) {
            let store = self.some_store(device);
            let delay = self.rng.range(10, 3_000);
            self.after(delay, Event::OpenTab { store });
        }
    }

    /// The server forgets what is old: some of its log, or all.
    pub fn cut_log(&mut self) {
        if self.happens_everywhere(1_000, "log cut") {
            for space in 0..self.spaces.len() {
                let (from, to) = (self.spaces[space].server.space.horizon, self.spaces[space].server.space.rev);
                self.spaces[space].server.space.horizon = if self.rng.chance(500) { to } else { self.rng.range(from, to) };
            }
        }
    }

    /// The server is started again with the next version of the schema. Pages follow as they are opened again.
    fn migrate(&mut self) {
        if self.migrated || self.schemas.len() < 2 || !self.happens_everywhere(1_000, "schema migrated") {
            return;
        }
        self.crash_server();
        self.migrate_rows();
        self.migrated = true;
    }

    fn migrate_rows(&mut self) {
        let next = self.latest().clone();
        for space in 0..self.spaces.len() {
            let server = &mut self.spaces[space].server;
            if server.schema().version == next.version {
                continue;
            }
            while server.reap_step() {}
            match std::mem::replace(server, Server::new(next.clone())).migrated(next.clone()) {
                Some(migrated) => self.spaces[space].server = migrated,
                None => self.find("lost", "the rows could not be migrated".to_string()),
            }
        }
    }

    // ---- disks that come back ----

    fn disks_of(&self, device: usize) -> Vec<(usize, Image)> {
        let of_device = self.stores.iter().enumerate().filter(|(_, store)| store.device == device);
        of_device.map(|(i, store)| (i, store.disk.clone())).collect()
    }

    fn back_up(&mut self, device: usize) {
        let clients = self.devices[device].clients.clone();
        self.backups.device = Some(DeviceBackup { device, clients, disks: self.disks_of(device) });
    }

    /// A device's disk comes back as it was when it was backed up. Who has no backup makes one.
    fn restore(&mut self, of: usize) {
        let Some(DeviceBackup { device, clients, disks }) = self.backups.device.clone() else { return self.back_up(of) };
        if !self.happens_on(device, "disk came back older") {
            return;
        }
        self.crash_device(device);
        (self.devices[device].clients, self.devices[device].forked) = (clients, true);
        for store in 0..self.stores.len() {
            if self.stores[store].device != device {
                continue;
            }
            let disk = disks.iter().find(|(of, _)| *of == store).map(|(_, disk)| disk.clone()).unwrap_or_default();
            self.lineages += 1;
            let latest = self.latest().clone();
            let (space, old) = (self.stores[store].space, self.stores[store].lineage);
            let journal = &mut self.spaces[space].journal;
            journal.fork(&latest, old, self.lineages, store, &disk);
            journal.abandon(old);
            let Store { lineage, disk: present, forked, .. } = &mut self.stores[store];
            (*lineage, *present, *forked) = (self.lineages, disk, true);
        }
    }

    /// Somebody copies a profile, as it is on disk, to another device, and goes on on both.
    fn copy(&mut self, device: usize) {
        if self.devices.len() > 3 || !self.happens_on(device, "profile copied") {
            return;
        }
        let copy = self.devices.len();
        self.devices[device].forked = true;
        self.devices.push(self.devices[device].clone());
        for (from, disk) in self.disks_of(device) {
            self.lineages += 1;
            let Store { principal, space, lineage, shared, partial, torn_rev, .. } = self.stores[from];
            self.stores[from].forked = true;
            let promised = self.stores[from].promised.clone();
            let store = Store { forked: true, promised, shared, partial, torn_rev, ..Store::new(copy, principal, space, self.lineages) };
            let (place, latest) = (self.stores.len(), self.latest().clone());
            self.spaces[space].journal.fork(&latest, lineage, self.lineages, place, &disk);
            self.stores.push(Store { disk, ..store });
            let delay = self.rng.below(3_000);
            self.after(delay, Event::OpenTab { store: place });
        }
    }

    /// The server's database is set back to a backup: what was accepted since is gone, unless a device still holds it.
    fn restore_server(&mut self) {
        let Some(backup) = self.backups.server.clone() else { return };
        if !self.happens_everywhere(1_000, "server set back") {
            return;
        }
        self.crash_server();
        for (space, server) in self.spaces.iter_mut().zip(backup) {
            let gone = space.server.logged.keys().filter(|key| !server.logged.contains_key(key)).copied().collect();
            space.journal.set_back(&gone);
            space.server.set_back(server);
        }
        // What starts on the backup is of the present version.
        if self.migrated {
            self.migrate_rows();
        }
        for store in &mut self.stores {
            store.forked = true;
        }
    }
}
