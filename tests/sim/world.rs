//! The world of one seed: the queue of events, and what each of them sets off.

use super::faults::Rates;
use super::journal::Journal;
use super::network::Conn;
use super::rng::Rng;
use super::server::{Key, Principal, Server};
use super::shell::{Read, Tab};
use super::store::{Device, Done, Lineage, Store, TabId, Work, Write};
use super::tokens::{Holder, Tokens};
use super::{Finding, Part, Stats};
use driftline_core::engine::{Disk, SlotDisk};
use driftline_core::schema::Schema;
use driftline_core::sender::SendFailure;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What a tab is told.
pub enum Input {
    Tick {
        at_ms: u64,
    },
    Online(bool),
    Peer(String),
    Done(Done),
    Answer {
        id: u64,
        status: u16,
        retry_after_ms: Option<u64>,
        body: String,
    },
    SendFailed {
        id: u64,
        failure: SendFailure,
    },
    LiveOpen {
        conn: u64,
    },
    LiveMessage {
        conn: u64,
        text: String,
    },
    LiveClosed {
        conn: u64,
    },
    Read {
        why: Read,
        disk: Disk,
    },
    /// Its request for the lock of the sending tab is granted.
    Granted,
    /// Another tab has taken it away.
    Stolen,
    Lead {
        epoch: u64,
        slots: Vec<SlotDisk>,
    },
    Adopted(SlotDisk),
}

pub enum Event {
    ToTab(TabId, Input),
    Thaw {
        tab: TabId,
    },
    /// A transaction of a store commits.
    Write {
        store: usize,
        write: u64,
    },
    /// A tab reads one half of the disk, and then the other.
    ReadDisk {
        tab: TabId,
        why: Read,
        disk: Disk,
        half: u8,
    },
    /// The sending tab looks at a slot whose tab has died.
    Adopt {
        store: usize,
        slot: u32,
    },
    Request {
        tab: TabId,
        id: u64,
        body: Option<String>,
        token: usize,
        answered: bool,
    },
    Connect {
        tab: TabId,
        conn: u64,
        cursor: u64,
    },
    Live {
        conn: u64,
    },
    Ping {
        conn: u64,
    },
    OpenTab {
        store: usize,
    },
    /// A device has another token for a user.
    Token {
        holder: Holder,
    },
    /// A device that was silent goes on.
    Awake {
        device: usize,
    },
    /// Somebody does what is due, while a tab writes.
    Leave {
        tab: TabId,
        store: usize,
    },
    /// What was due happens.
    Befall {
        tab: TabId,
        kind: u64,
    },
    /// A tab dies while it writes.
    Die {
        tab: TabId,
    },
    /// A tab looks again for what the others have handed over for a file.
    Export {
        tab: TabId,
        tries: usize,
    },
    Work,
}

/// One space: what the server holds of it, and what people did there.
pub struct Space {
    pub server: Server,
    pub journal: Journal,
    /// Transactions of which somebody decided that they say something else.
    pub rewritten: BTreeSet<Key>,
    /// What was sent under a key, by its hash, from which disk.
    pub sent: BTreeSet<(Key, u128, Lineage)>,
}

/// Who makes a request, and of what: known of tabs that are gone, too.
#[derive(Clone, Copy)]
pub struct Asker {
    pub principal: Principal,
    pub space: usize,
    pub store: usize,
}

pub struct World {
    pub now: u64,
    pub rng: Rng,
    /// In all versions that there will be, and of whoever works just now.
    pub schemas: Vec<Rc<Schema>>,
    pub schema: Rc<Schema>,
    /// The server is of the latest version.
    pub migrated: bool,
    /// The tables in which rows are made.
    pub active: Vec<u16>,
    pub spaces: Vec<Space>,
    pub server_up_at: u64,
    pub tokens: Tokens,
    pub devices: Vec<Device>,
    pub stores: Vec<Store>,
    pub tabs: BTreeMap<TabId, Tab>,
    pub conns: BTreeMap<u64, Conn>,
    /// Of all tabs that ever were.
    pub askers: BTreeMap<TabId, Asker>,
    pub lineages: Lineage,
    pub rates: Rates,
    pub part: Part,
    pub healed: bool,
    pub works: u64,
    pub work_left: u64,
    pub stats: Stats,
    pub findings: Vec<Finding>,
    pub trace: bool,
    pub texts: u64,
    pub backups: super::faults::Backups,
    /// Incidents that wait for a tab in a state.
    pub due: BTreeMap<&'static str, u64>,
    pub files: Vec<super::transfer::WorkFile>,
    queue: BTreeMap<(u64, u64), Event>,
    ids: u64,
    seed: u64,
}

const START_MS: u64 = 10_000_000;
/// Within this long everything must have come to rest once faults have ended. A suspended transaction is tried again
/// within ten minutes.
const REST_MS: u64 = 3_600_000;
/// So many things people do in a world, at most.
pub const MOST_WORK: u64 = 240;
/// Tabs of a store, at most.
pub const TABS: usize = 3;

impl World {
    pub fn new(seed: u64, part: Part, trace: bool) -> World {
        let schemas: Vec<Rc<Schema>> = super::schema::versions(seed).into_iter().map(Rc::new).collect();
        let schema = schemas[0].clone();
        let mut rng = Rng::new(seed);
        let active = super::schema::active(&schema, |n| rng.below(n));
        let rates = Rates::draw(&mut rng);
        let spaces = if rng.chance(350) { 2 } else { 1 };
        let users = rng.range(1, 3) as Principal;
        let devices = if rng.chance(250) { 3 } else { 2 };
        // A real server deletes in the background what more than 2,000 rows hang on; the histories here are smaller.
        let delete_rows = rng.pick(&[1, 3, 8, 2_000]).copied().unwrap_or(1);
        let space = |_| {
            let mut server = Server::new(schema.clone());
            server.delete_rows = delete_rows;
            Space { server, journal: Journal::default(), rewritten: BTreeSet::new(), sent: BTreeSet::new() }
        };
        let work_left = rng.range(90, MOST_WORK);
        let mut world = World {
            now: START_MS,
            spaces: (0..spaces).map(space).collect(),
            rng,
            schemas,
            schema: schema.clone(),
            migrated: false,
            active,
            server_up_at: 0,
            tokens: Tokens::default(),
            devices: Vec::new(),
            stores: Vec::new(),
            tabs: BTreeMap::new(),
            conns: BTreeMap::new(),
            askers: BTreeMap::new(),
            lineages: 0,
            rates,
            part,
            healed: false,
            works: 0,
            work_left,
            stats: Stats::default(),
            findings: Vec::new(),
            trace,
            texts: 0,
            backups: Default::default(),
            due: BTreeMap::new(),
            files: Vec::new(),
            queue: BTreeMap::new(),
            ids: 0,
            seed,
        };
        for device in 0..devices {
            let user = 1 + world.rng.below(u64::from(users)) as Principal;
            let ahead = if world.rng.chance(400) { world.wrong_clock() } else { 0 };
            world.devices.push(Device {
                online: true,
                version: 0,
                ahead,
                user,
                clients: BTreeMap::new(),
                full_until: 0,
                forked: false,
                asleep_until: 0,
                wakes_online: true,
            });
            for _ in 0..2 {
                let store = world.some_store(device);
                let delay = world.rng.below(2_000);
                world.after(delay, Event::OpenTab { store });
            }
        }
        world.after(50, Event::Work);
        world
    }

    /// What a device keeps for its present user of some space; there is one of each.
    pub fn some_store(&mut self, device: usize) -> usize {
        let space = self.rng.below(self.spaces.len() as u64) as usize;
        let user = self.devices[device].user;
        let known = self.stores.iter().position(|s| (s.device, s.principal, s.space) == (device, user, space));
        known.unwrap_or_else(|| {
            self.lineages += 1;
            let forked = self.devices[device].forked;
            self.stores.push(Store { forked, ..Store::new(device, user, space, self.lineages) });
            self.stores.len() - 1
        })
    }

    pub fn new_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    pub fn at(&mut self, time: u64, event: Event) {
        let id = self.new_id();
        self.queue.insert((time.max(self.now), id), event);
    }

    pub fn after(&mut self, delay: u64, event: Event) {
        self.at(self.now + delay, event);
    }

    pub fn find(&mut self, kind: &'static str, text: String) {
        if self.trace {
            println!("{:>9} FOUND {kind}: {text}", self.now - START_MS);
        }
        self.findings.push(Finding { kind, text });
    }

    /// Something that is no fault, and is to happen often.
    pub fn note(&mut self, event: &'static str) {
        *self.stats.events.entry(event).or_default() += 1;
    }

    pub fn say(&self, text: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>9} {}", self.now - START_MS, text());
        }
    }

    /// What was made under any version can be read in terms of this one.
    pub fn latest(&self) -> &Rc<Schema> {
        self.schemas.last().unwrap_or(&self.schema)
    }

    /// The space in which a tab works.
    pub fn space_of(&self, tab: &Tab) -> &Space {
        &self.spaces[self.stores[tab.store].space]
    }

    /// Runs until the work is done and everything has come to rest; then once more, after a last edit in each space.
    pub fn run(&mut self) {
        while !self.healed && self.findings.is_empty() {
            self.step();
        }
        let mut rested = self.rest();
        // The first may free others that waited for a row; what the second finds out is told with it.
        for _ in 0..3 {
            if rested && self.findings.is_empty() {
                self.say_farewell();
                rested = self.rest();
            }
        }
        self.stats.virtual_ms = self.now - START_MS;
        self.stats.applied = self.spaces.iter().map(|space| space.server.applied.len() as u64).sum();
        if self.findings.is_empty() {
            self.check_end(rested);
        }
    }

    fn rest(&mut self) -> bool {
        let deadline = self.now + REST_MS;
        let mut next_look = self.now + 5_000;
        let (mut rested, mut was_at_rest) = (false, false);
        while self.findings.is_empty() && self.now < deadline && !rested {
            self.step();
            if self.now >= next_look {
                next_look = self.now + 5_000;
                for space in &mut self.spaces {
                    while space.server.reap_step() {}
                }
                // Twice in a row: what has just been written may not have been heard of.
                let at_rest = self.at_rest();
                rested = was_at_rest && at_rest;
                was_at_rest = at_rest;
            }
        }
        rested
    }

    fn step(&mut self) {
        let Some(((time, _), event)) = self.queue.pop_first() else {
            self.healed = true;
            self.now += REST_MS;
            return;
        };
        self.now = time;
        self.carry_out(event);
        let found: Vec<Finding> = self.spaces.iter_mut().flat_map(|space| std::mem::take(&mut space.server.findings)).collect();
        for finding in found {
            self.find(finding.kind, finding.text);
        }
    }

    fn carry_out(&mut self, event: Event) {
        match event {
            Event::ToTab(tab, input) => self.to_tab(tab, input),
            Event::Thaw { tab } => self.thaw(tab),
            Event::Write { store, write } => self.write(store, write),
            Event::ReadDisk { tab, why, disk, half } => self.read_disk(tab, why, disk, half),
            Event::Adopt { store, slot } => self.adopt(store, slot),
            Event::Request { tab, id, body, token, answered } => self.request(tab, id, body.as_deref(), token, answered),
            Event::Connect { tab, conn, cursor } => self.connect(tab, conn, cursor),
            Event::Live { conn } => self.live(conn),
            Event::Ping { conn } => self.ping(conn),
            Event::OpenTab { store } => self.open_tab(store),
            Event::Token { holder } => self.renew(holder),
            Event::Awake { device } => self.wake(device),
            Event::Die { tab } if self.happens_to(tab, 1_000, "tab crashed") => self.crash(tab),
            Event::Die { .. } => {}
            Event::Befall { tab, kind } => {
                self.befall(tab, kind);
                self.with_engine(tab, |_, _| ());
                self.check_step(tab);
            }
            Event::Leave { tab, store } => {
                self.leave(tab, store);
                self.with_engine(tab, |_, _| ());
                self.check_step(tab);
            }
            Event::Export { tab, tries } => {
                self.export(tab, tries);
                self.with_engine(tab, |_, _| ());
                self.check_step(tab);
            }
            Event::Work => {
                self.works += 1;
                // What somebody does depends on the seed and on when it is their turn, not on what happened before: so what does not
                // matter can be left out of a history.
                let own = Rng::new(self.seed ^ self.works.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let all = std::mem::replace(&mut self.rng, own);
                self.work();
                self.rng = all;
            }
        }
    }

    // ---- disks ----

    /// Begins a transaction: it commits after those begun before it on the same database.
    pub fn begin(&mut self, tab: TabId, db: super::store::Db, work: Work) {
        let delay = self.disk_delay();
        let id = self.new_id();
        let Some(store) = self.tabs.get(&tab).map(|tab| tab.store) else { return };
        let busy = self.stores[store].busy.entry(db).or_insert(0);
        *busy = (*busy).max(self.now) + delay;
        let time = *busy;
        self.stores[store].writes.insert(id, Write { tab, db, work });
        if self.stores[store].leaving.is_some() {
            let delay = self.rng.below(time - self.now);
            self.after(delay, Event::Leave { tab, store });
        }
        self.meet(tab, time - self.now);
        // What is written before the disk was read is little.
        let is_opening = self.tabs.get(&tab).is_some_and(|tab| !tab.opened);
        if self.rng.chance(if is_opening { 20 } else { 1 } * self.rates.crash_writing) {
            let delay = self.rng.below(time - self.now);
            self.after(delay, Event::Die { tab });
        }
        self.at(time, Event::Write { store, write: id });
    }

    fn write(&mut self, store: usize, write: u64) {
        let Some(write) = self.stores[store].writes.remove(&write) else { return };
        let tab = write.tab;
        let device = self.stores[store].device;
        let fails = match write.work {
            Work::Save { .. } | Work::Import { .. } | Work::Commit { .. } => {
                let full = self.now < self.devices[device].full_until && self.happens_to(tab, 1_000, "disk full");
                full || self.happens_to(tab, self.rates.abort, "write aborted")
            }
            Work::Lead | Work::RenewEpoch { .. } => false,
        };
        self.stores[store].unmarked |= fails && matches!(write.work, Work::Commit { .. });
        let deletes = if let Work::Save { deletes, .. } = &write.work { deletes.clone() } else { Vec::new() };
        let done = self.carry_out_write(store, write, fails);
        // The tab may die between the commit and hearing of it.
        let delay = self.rng.below(4);
        let heard = self.now + delay;
        self.stores[store].unheard.extend(deletes.into_iter().map(|key| (heard, key)));
        self.after(delay, Event::ToTab(tab, Input::Done(done)));
    }

    pub fn carry_out_write(&mut self, store: usize, write: Write, fails: bool) -> Done {
        if let (Work::Save { client: Some(client), .. }, super::store::Db::Slot(slot), false) = (&write.work, write.db, fails) {
            let Store { device, principal, .. } = self.stores[store];
            self.devices[device].clients.insert((principal, slot), *client);
        }
        if let (Work::Import { stories, puts, .. }, false) = (&write.work, fails) {
            let Store { space, lineage, .. } = self.stores[store];
            let Space { journal, server, .. } = &mut self.spaces[space];
            journal.imported(lineage, store, stories, puts, |key| server.logged.contains_key(&key));
        }
        self.stores[store].carry_out(write, fails)
    }

    // ---- the end ----

    /// Ends all faults and brings everybody back.
    pub fn heal(&mut self) {
        self.healed = true;
        self.say(|| "---- healing".to_string());
        for space in &mut self.spaces {
            space.server.poison.clear();
        }
        self.server_up_at = self.now;
        self.restore_access();
        for device in 0..self.devices.len() {
            self.devices[device].full_until = 0;
            self.switch_network(device, true);
        }
        // Whoever has the old page loads it again.
        let version = self.server_version();
        let old: Vec<TabId> = self.tabs.values().filter(|tab| tab.schema.version < version).map(|tab| tab.id).collect();
        for tab in old {
            self.crash(tab);
        }
        // What was imported and told to nobody is found by the next that takes over.
        for store in 0..self.stores.len() {
            if let Some(lead) = self.stores[store].lead.filter(|_| self.stores[store].untold) {
                self.crash(lead);
            }
        }
        // Whatever a disk still holds, somebody comes back to.
        for store in 0..self.stores.len() {
            for _ in self.tabs_of(store).len()..2 {
                self.after(100, Event::OpenTab { store });
            }
        }
    }

    /// One more edit by everybody: what the server remembers of what has been acknowledged since must be little.
    fn say_farewell(&mut self) {
        for store in 0..self.stores.len() {
            if let Some(tab) = self.stores[store].lead {
                self.sit_down(tab);
                let edit = self.create_alone(tab);
                self.make(tab, vec![edit], Vec::new());
                self.with_engine(tab, |_, _| ());
            }
        }
    }

    fn server_version(&self) -> u32 {
        if self.migrated { self.latest().version } else { self.schemas[0].version }
    }

    pub fn tabs_of(&self, store: usize) -> Vec<TabId> {
        self.tabs.values().filter(|tab| tab.store == store).map(|tab| tab.id).collect()
    }

    pub fn tabs_on(&self, device: usize) -> Vec<TabId> {
        self.tabs.values().filter(|tab| self.stores[tab.store].device == device).map(|tab| tab.id).collect()
    }
}
