//! The simulator: two browsers of two tabs, one server, virtual time, one seed.
//!
//! The engines and the server's decision are the real ones; disks, locks, channels and the network are simulated, and
//! everything that can fail does. Nothing here reads a clock or draws real chance, so a seed replays exactly.
//!
//! In reading order: [`world`] (the queue of events), [`browser`] (disks and locks), [`shell`] (what a tab does with an
//! engine's effects), [`network`], [`server`], [`workload`] (what people do), [`journal`] and [`check`] (what must hold).

pub mod browser;
pub mod check;
pub mod journal;
pub mod network;
pub mod rng;
pub mod schema;
pub mod server;
pub mod shell;
pub mod workload;
pub mod world;

use std::collections::BTreeMap;

/// Something that must never happen.
#[derive(Debug, Clone)]
pub struct Finding {
    pub kind: &'static str,
    pub text: String,
}

pub const KINDS: [&str; 5] = ["lost", "doubled", "misordered", "diverged", "stuck"];

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
    pub faults: BTreeMap<&'static str, u64>,
    /// Faults by what the tab was doing.
    pub states: BTreeMap<String, u64>,
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
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_insert(0) += count;
        }
        for (state, count) in &other.states {
            *self.states.entry(state.clone()).or_insert(0) += count;
        }
    }
}

/// Runs the world of one seed to its end.
pub fn run(seed: u64, trace: bool) -> (Stats, Vec<Finding>) {
    let mut world = world::World::new(seed, trace);
    world.run();
    (world.stats, world.findings)
}
