//! The world of one seed: the queue of events, and what each of them sets off.

use super::browser::{Browser, Done, TabId, Work, Write};
use super::journal::Journal;
use super::network::Conn;
use super::rng::Rng;
use super::server::{Key, Principal, Server};
use super::shell::{Read, Tab};
use super::{Finding, Stats};
use driftline_core::engine::{Disk, SlotDisk};
use driftline_core::schema::Schema;
use driftline_core::sender::SendFailure;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What a tab is told.
pub enum Input {
    Tick,
    Peer(String),
    Done(Done),
    Answer { id: u64, status: u16, retry_after_ms: Option<u64>, body: String },
    SendFailed { id: u64, failure: SendFailure },
    LiveOpen { conn: u64 },
    LiveMessage { conn: u64, text: String },
    LiveClosed { conn: u64 },
    Read { why: Read, disk: Disk },
    Lead { epoch: u64, slots: Vec<SlotDisk> },
    Adopted(SlotDisk),
}

pub enum Event {
    ToTab(TabId, Input),
    /// A transaction of a browser commits.
    Write {
        browser: usize,
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
        browser: usize,
        slot: u32,
    },
    Request {
        tab: TabId,
        id: u64,
        body: Option<String>,
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
        browser: usize,
    },
    Work,
}

/// How often things fail, per mille, drawn anew for each world.
pub struct Rates {
    pub lost: u64,
    pub doubled: u64,
    pub late: u64,
    pub crash_tab: u64,
    pub crash_server: u64,
    pub server_error: u64,
    pub quota: u64,
    pub break_live: u64,
}

impl Rates {
    fn draw(rng: &mut Rng) -> Rates {
        // One world in eight is without faults of a kind, so that the faults of another can be seen alone.
        let mut rate = |most: u64| if rng.chance(300) { 0 } else { rng.below(most + 1) };
        Rates {
            lost: rate(250),
            doubled: rate(250),
            late: rate(250),
            crash_tab: rate(12),
            crash_server: rate(60),
            server_error: rate(100),
            quota: rate(100),
            break_live: rate(100),
        }
    }
}

pub struct World {
    pub now: u64,
    pub rng: Rng,
    pub schema: Rc<Schema>,
    /// The tables in which rows are made.
    pub active: Vec<u16>,
    pub server: Server,
    pub server_up_at: u64,
    pub browsers: Vec<Browser>,
    pub tabs: BTreeMap<TabId, Tab>,
    pub conns: BTreeMap<u64, Conn>,
    /// Of all tabs that ever were.
    pub principals: BTreeMap<TabId, Principal>,
    pub journal: Journal,
    pub rates: Rates,
    pub healed: bool,
    pub work_left: u64,
    /// Transactions of which somebody decided that they say something else.
    pub rewritten: BTreeSet<Key>,
    pub stats: Stats,
    pub findings: Vec<Finding>,
    pub trace: bool,
    pub texts: u64,
    queue: BTreeMap<(u64, u64), Event>,
    ids: u64,
}

const START_MS: u64 = 1_000_000;
/// Within this long everything must have come to rest once faults have ended. A suspended transaction is tried again
/// within ten minutes.
const REST_MS: u64 = 3_600_000;

impl World {
    pub fn new(seed: u64, trace: bool) -> World {
        let schema = Rc::new(super::schema::schema(seed));
        let mut rng = Rng::new(seed);
        let active = super::schema::active(&schema, |n| rng.below(n));
        let rates = Rates::draw(&mut rng);
        let same = rng.chance(400);
        let skew = |rng: &mut Rng| if rng.chance(300) { rng.below(100_000) } else { 0 };
        let browsers = vec![Browser::new(1, skew(&mut rng)), Browser::new(if same { 1 } else { 2 }, skew(&mut rng))];
        let work_left = rng.range(20, 140);
        let mut world = World {
            now: START_MS,
            rng,
            schema: schema.clone(),
            active,
            server: Server::new(schema),
            server_up_at: 0,
            browsers,
            tabs: BTreeMap::new(),
            conns: BTreeMap::new(),
            principals: BTreeMap::new(),
            journal: Journal::default(),
            rates,
            healed: false,
            work_left,
            rewritten: BTreeSet::new(),
            stats: Stats::default(),
            findings: Vec::new(),
            trace,
            texts: 0,
            queue: BTreeMap::new(),
            ids: 0,
        };
        // A real server deletes in the background what more than 2,000 rows hang on; the histories here are smaller.
        world.server.delete_rows = world.rng.pick(&[1, 3, 8, 2_000]).copied().unwrap_or(1);
        for browser in [0, 0, 1, 1] {
            let delay = world.rng.below(2_000);
            world.after(delay, Event::OpenTab { browser });
        }
        world.after(50, Event::Work);
        world
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

    pub fn fault(&mut self, kind: &'static str) {
        *self.stats.faults.entry(kind).or_insert(0) += 1;
    }

    pub fn say(&self, text: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>9} {}", self.now - START_MS, text());
        }
    }

    /// Whether a fault of this rate happens now; none does once the world is healing.
    pub fn happens(&mut self, per_mille: u64, kind: &'static str) -> bool {
        let happens = !self.healed && self.rng.chance(per_mille);
        if happens {
            self.fault(kind);
        }
        happens
    }

    /// Runs until the work is done and everything has come to rest.
    pub fn run(&mut self) {
        while !self.healed && self.findings.is_empty() {
            self.step();
        }
        let deadline = self.now + REST_MS;
        let mut next_look = self.now + 5_000;
        let (mut rested, mut was_at_rest) = (false, false);
        while self.findings.is_empty() && self.now < deadline && !rested {
            self.step();
            if self.now >= next_look {
                next_look = self.now + 5_000;
                // Twice in a row: what has just been written may not have been heard of.
                rested = was_at_rest && self.at_rest();
                was_at_rest = self.at_rest();
            }
        }
        self.stats.virtual_ms = self.now - START_MS;
        self.stats.applied = self.server.applied.len() as u64;
        if self.findings.is_empty() {
            self.check_end(rested);
        }
    }

    fn step(&mut self) {
        let Some(((time, _), event)) = self.queue.pop_first() else {
            self.healed = true;
            self.now += REST_MS;
            return;
        };
        self.now = time;
        self.carry_out(event);
        let found = std::mem::take(&mut self.server.findings);
        for finding in found {
            self.find(finding.kind, finding.text);
        }
    }

    fn carry_out(&mut self, event: Event) {
        match event {
            Event::ToTab(tab, input) => self.to_tab(tab, input),
            Event::Write { browser, write } => self.write(browser, write),
            Event::ReadDisk { tab, why, disk, half } => self.read_disk(tab, why, disk, half),
            Event::Adopt { browser, slot } => self.adopt(browser, slot),
            Event::Request { tab, id, body, answered } => self.request(tab, id, body.as_deref(), answered),
            Event::Connect { tab, conn, cursor } => self.connect(tab, conn, cursor),
            Event::Live { conn } => self.live(conn),
            Event::Ping { conn } => self.ping(conn),
            Event::OpenTab { browser } => self.open_tab(browser),
            Event::Work => self.work(),
        }
    }

    // ---- disks ----

    /// Begins a transaction: it commits after those begun before it on the same database.
    pub fn begin(&mut self, tab: TabId, browser: usize, db: super::browser::Db, work: Work) {
        let delay = if self.rng.chance(50) { self.rng.range(50, 2_000) } else { self.rng.range(1, 25) };
        let id = self.new_id();
        let browser_ref = &mut self.browsers[browser];
        let busy = browser_ref.busy.entry(db).or_insert(0);
        *busy = (*busy).max(self.now) + delay;
        let time = *busy;
        browser_ref.writes.insert(id, Write { tab, db, work });
        self.at(time, Event::Write { browser, write: id });
    }

    fn write(&mut self, browser: usize, write: u64) {
        let Some(write) = self.browsers[browser].writes.remove(&write) else { return };
        let tab = write.tab;
        let quota = matches!(write.work, Work::Save { .. } | Work::Commit { .. });
        let quota = quota && self.happens(self.rates.quota, "save failed");
        let done = self.browsers[browser].carry_out(write, quota);
        // The tab may die between the commit and hearing of it.
        let delay = self.rng.below(4);
        self.after(delay, Event::ToTab(tab, Input::Done(done)));
    }

    // ---- the end ----

    /// Ends all faults and brings everybody back.
    pub fn heal(&mut self) {
        self.healed = true;
        self.say(|| "---- healing".to_string());
        self.server.poison.clear();
        self.server_up_at = self.now;
        for browser in 0..self.browsers.len() {
            self.browsers[browser].online = true;
            let tabs: Vec<TabId> = self.tabs_of(browser);
            for tab in &tabs {
                self.with_engine(*tab, |engine, now| engine.set_online(now, true));
            }
            for _ in tabs.len()..2 {
                self.after(100, Event::OpenTab { browser });
            }
        }
    }

    pub fn tabs_of(&self, browser: usize) -> Vec<TabId> {
        self.tabs.values().filter(|tab| tab.browser == browser).map(|tab| tab.id).collect()
    }
}
