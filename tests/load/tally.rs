//! What all clients count together.

use crate::histogram::Histogram;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Requests and live connections that failed. Clients try again.
    Error,
    /// Edits that the engine did not let be made.
    Unmade,
    /// Transactions that the server refused, or could not but refuse. They are given up.
    Parked,
    /// Edits that came to nothing, as their rows were gone.
    Notice,
    /// What must never be.
    Fault,
}

#[derive(Default)]
pub struct Tally {
    pub made: AtomicU64,
    /// Own transactions that are in the base of whoever made them.
    pub accepted: AtomicU64,
    pub pushes: AtomicU64,
    /// Clients that have ever had a live connection.
    pub connected: AtomicUsize,
    /// How much later than planned edits were made: the load itself was too slow.
    pub late: Mutex<Histogram>,
    counts: Mutex<BTreeMap<(Kind, String), u64>>,
}

impl Tally {
    pub fn count(&self, kind: Kind, what: impl Into<String>) {
        *lock(&self.counts).entry((kind, what.into())).or_default() += 1;
    }

    pub fn of(&self, kind: Kind) -> BTreeMap<String, u64> {
        lock(&self.counts).iter().filter(|(key, _)| key.0 == kind).map(|(key, count)| (key.1.clone(), *count)).collect()
    }

    pub fn sum(&self, kind: Kind) -> u64 {
        lock(&self.counts).iter().filter(|(key, _)| key.0 == kind).map(|(_, count)| count).sum()
    }
}

/// A client that panicked is told of as a fault; what it held is as good as before.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
