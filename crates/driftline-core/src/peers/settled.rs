//! What is over by the word of another tab, and whose record is still on disk.

use crate::engine::Engine;
use crate::outbox::{Entry, Key};

/// A record that the sending tab of an epoch means to delete, once the base on disk is at a revision.
pub(crate) struct Undeleted {
    pub slot: u32,
    pub key: Key,
    pub rev: u64,
    pub epoch: u64,
}

impl Engine {
    /// Somebody else is about to delete a record. Should that fail, its number must not count as over before it is gone.
    pub(crate) fn see_deleted(&mut self, old: &Entry) {
        let (slot, key) = (old.slot, old.made.key);
        if old.rewritten {
            // This tab may have written it again since.
            self.delete(slot, key);
        } else if self.sender.is_some() {
            self.settle_again(slot, key);
        } else {
            self.undeleted.push(Undeleted { slot, key, rev: 0, epoch: self.epoch_heard });
        }
    }

    /// Forgets that an earlier sending tab called settled what its own tab shows, if that was at a revision that has not come here; returns
    /// whether it did, so that it waits again.
    pub(crate) fn take_open_again(&mut self, slot: u32, key: Key) -> bool {
        let (epoch, rev) = (self.epoch_heard, self.replica.rev);
        let known = self.undeleted.len();
        self.undeleted.retain(|left| (left.slot, left.key) != (slot, key) || left.epoch >= epoch || left.rev <= rev);
        self.undeleted.len() < known
    }

    /// What was called settled at a later revision than that of the base that counts now is not: if its record is still there, it waits
    /// again, and is offered again. Returns these keys.
    pub(crate) fn reopen(&mut self, rev: u64) -> Vec<Key> {
        let (held, open): (Vec<Undeleted>, Vec<Undeleted>) =
            std::mem::take(&mut self.undeleted).into_iter().partition(|left| left.rev <= rev);
        self.undeleted = held;
        if let Some(peer) = self.peer.as_mut().filter(|_| !open.is_empty()) {
            peer.offered = false;
        }
        if !open.is_empty() {
            self.say_hello();
        }
        let mut keys = Vec::with_capacity(open.len());
        for left in open {
            keys.push(left.key);
            keys.extend(self.keep_replaced(left.key));
        }
        keys
    }

    /// Deletes from this tab's slot what an earlier sending tab had no time to. The later one may not know of it.
    pub(crate) fn delete_left_over(&mut self, disk_rev: u64) {
        for left in std::mem::take(&mut self.undeleted) {
            if left.slot == self.slot && left.epoch != self.epoch_heard && left.rev <= disk_rev {
                self.delete(self.slot, left.key);
            } else {
                self.undeleted.push(left);
            }
        }
    }
}
