//! Messages of two tabs overtake each other: what goes on from something waits until that has been heard of.

use crate::dedupe::is_shared;
use crate::engine::{Engine, IMPORTED};
use crate::outbox::Key;
use crate::sorted::SortedSet;

/// What goes on from something that has not been heard of yet waits so long for it: messages of two tabs overtake each other.
pub(super) const UNSEEN_MS: u64 = 2_000;

impl Engine {
    /// Keeps back of these what goes on from something that has not been heard of, for a while, and lets go what waited for what has come.
    pub(crate) fn wait_for_unseen(&mut self, now_ms: u64, new: &[Key]) {
        let before = std::mem::take(&mut self.unseen);
        for key in new.iter().chain(before.iter().filter(|key| !new.contains(key))) {
            let Some(entry) = self.outbox.get(*key).filter(|entry| entry.slot != IMPORTED) else { continue };
            let unseen =
                |key: &Key| !is_shared(key.0) && self.outbox.get(*key).is_none() && !self.early.contains_key(key) && !self.is_over(*key);
            let waits = entry.seen.iter().chain(&entry.after).any(unseen);
            if let Some(entry) = self.outbox.get_mut(*key) {
                let until = if before.contains(key) { entry.unseen_until_ms } else { now_ms + UNSEEN_MS };
                entry.unseen_until_ms = if waits { until } else { 0 };
            }
            if waits {
                self.unseen.insert(*key);
            }
        }
    }

    /// Whether something has waited long enough for what it goes on from: that may be on disk, from a tab that died before it told.
    pub(crate) fn look_for_unseen(&mut self, now_ms: u64) -> bool {
        let waits = |key: &&Key| self.outbox.get(**key).is_some_and(|entry| entry.unseen_until_ms > now_ms);
        let still: SortedSet<Key> = self.unseen.iter().filter(waits).copied().collect();
        let found = still.len() < self.unseen.len();
        self.unseen = still;
        if found {
            self.ask_reload();
        }
        found
    }
}
