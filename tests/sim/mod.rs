//! The simulator: devices, users, tabs and spaces, one server, virtual time, one seed.
//!
//! The engines and the server's decision are the real ones; disks, locks, channels and the network are simulated, and
//! everything that can fail does. Nothing here reads a clock or draws real chance, so a seed replays exactly.
//!
//! In reading order: [`world`] (the queue of events), [`store`] (disks and locks), [`shell`] (what a tab does with an
//! engine's effects), [`network`], [`server`], [`tokens`] (who may), [`workload`] (what people do), [`faults`] (what happens to them),
//! [`silence`] (when nothing does), [`transfer`] (what leaves a device on purpose), [`journal`] and [`check`] (what must hold), [`shrink`]
//! (the least of a history that still fails); and [`replay`], which plays what a real page has recorded.

pub mod check;
pub mod faults;
pub mod journal;
pub mod network;
pub mod replay;
pub mod rng;
pub mod schema;
pub mod server;
pub mod shell;
pub mod shrink;
pub mod silence;
pub mod store;
pub mod tokens;
pub mod transfer;
pub mod workload;
pub mod world;

use std::collections::{BTreeMap, BTreeSet};

/// Something that must never happen.
#[derive(Debug, Clone)]
pub struct Finding {
    pub kind: &'static str,
    pub text: String,
}

pub const KINDS: [&str; 8] = ["lost", "doubled", "misordered", "diverged", "stuck", "lie", "unbounded", "panic"];

/// Which part of a seed's history is played.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// Things that people do, by their number, that are left out.
    pub skip: BTreeSet<u64>,
    /// Faults that do not happen.
    pub without: BTreeSet<String>,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Stats {
    pub edits: u64,
    pub refused: u64,
    pub parked: u64,
    pub pushes: u64,
    pub applied: u64,
    pub folded: u64,
    pub virtual_ms: u64,
    /// Of that, what passed while everybody was away.
    pub silent_ms: u64,
    /// Faults, by what the tabs that they hit were doing.
    pub faults: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    /// What is no fault, and must happen often all the same.
    pub events: BTreeMap<&'static str, u64>,
}

impl Stats {
    pub fn add(&mut self, other: &Stats) {
        self.edits += other.edits;
        self.refused += other.refused;
        self.parked += other.parked;
        self.pushes += other.pushes;
        self.applied += other.applied;
        self.folded += other.folded;
        self.virtual_ms += other.virtual_ms;
        self.silent_ms += other.silent_ms;
        for (kind, states) in &other.faults {
            for (state, count) in states {
                *self.faults.entry(kind).or_default().entry(state).or_default() += count;
            }
        }
        for (event, count) in &other.events {
            *self.events.entry(event).or_default() += count;
        }
    }
}

/// Runs the world of one seed to its end.
pub fn run(seed: u64, part: &Part, trace: bool) -> (Stats, Vec<Finding>) {
    let mut world = world::World::new(seed, part.clone(), trace);
    world.run();
    (world.stats, world.findings)
}
