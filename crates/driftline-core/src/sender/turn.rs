//! How a tab's turn to send comes and goes: what it takes over from the one before, and from tabs that have closed.

use super::Sender;
use crate::engine::{Disk, Effect, Engine, IMPORTED, SlotDisk, read_meta};
use crate::json::Json;
use crate::outbox::{Entry, Key, State};
use crate::peers::Undeleted;

impl Engine {
    /// This tab sends from now on. `meta` is what the disk holds since the epoch was taken; `slots` are this
    /// tab's own and those of closed tabs.
    pub fn handle_lead(&mut self, now_ms: u64, epoch: u64, meta: Option<&str>, slots: Vec<SlotDisk>) {
        if self.sender.is_some() {
            // It has taken over twice in a row. What it did under the earlier epoch may not have reached the disk, and will not any more.
            self.handle_unlead(now_ms);
        }
        let meta = read_meta(meta);
        let disk_rev = meta.uint("rev");
        self.epoch_heard = self.epoch_heard.max(epoch);
        self.sent_on_disk = meta.uint("sent").unwrap_or(0);
        self.sent_before = if meta.is_null() { u64::MAX } else { self.sent_on_disk };
        self.outdated |= meta.uint("schema").is_some_and(|version| version > u64::from(self.schema.version));
        self.sender = Some(Sender::new(epoch, self.rewrites));
        self.note_disk_rev(disk_rev);
        (self.peer, self.left_trouble) = (None, None);
        // What the last sender had no time to delete is this tab's to delete now, as far as the base holds it that will count.
        let rev = if self.replaced { disk_rev.unwrap_or(0) } else { self.replica.rev };
        for left in std::mem::take(&mut self.undeleted) {
            if left.rev <= rev {
                self.settle_again(left.slot, left.key);
            } else {
                // It waits again. Whoever has the slot by now shows it; of a closed one it is read.
                self.unheard.insert(left.key, left.slot);
            }
        }
        let mut read = vec![self.slot];
        read.extend(slots.iter().map(|slot| slot.slot));
        self.adopt(now_ms, slots, &meta);
        // Whom it was offered to before may have sent it.
        for key in self.outbox.keys(&|e| e.frozen) {
            if let Some(entry) = self.outbox.get_mut(key) {
                entry.unanswered = true;
            }
        }
        if meta.is_null() {
            // The base was lost, and with it the word of what had been sent: any of these may have been.
            let newest = self.outbox.keys(&|_| true).iter().filter_map(|key| self.outbox.get(*key)).map(|entry| entry.made.at).max();
            if let Some(sender) = &mut self.sender {
                sender.sent_wanted = newest.unwrap_or(0);
            }
        }
        // The last sender may have told us of what it had no time to write. What a newer page has written is not ours to.
        let outdated = self.outdated;
        let parked = self.outbox.keys(&|e| !outdated && matches!(e.state, State::Parked { .. }));
        let slot_of = |key: &Key| self.outbox.get(*key).map_or(self.slot, |entry| entry.slot);
        let (confirmed, unconfirmed): (Vec<Key>, Vec<Key>) = parked.into_iter().partition(|key| read.contains(&slot_of(key)));
        confirmed.into_iter().for_each(|key| self.put(key));
        if let Some(sender) = &mut self.sender {
            sender.unconfirmed = unconfirmed;
        }
        // What an earlier sender deleted from the slot of a tab that is open, and did not live to tell, is found there.
        let heard_of = !self.outbox.keys(&|e| e.saved && !read.contains(&e.slot)).is_empty();
        if heard_of || self.replaced || disk_rev.is_some_and(|rev| rev > self.replica.rev) {
            // The last sender's word has not reached us, or what is being read is older than its last. An older base must not go over
            // a newer one, whose records are gone.
            self.ask_reload();
        }
        self.carry_out_unsaid(now_ms);
        self.tell_peers_lead();
        self.pump(now_ms);
    }

    /// The disk has been read since this tab began to send: what it has deleted nobody has any more, and what an earlier sender parked and had
    /// no time to write is written.
    pub(crate) fn confirm(&mut self, gone: &[Key]) {
        if self.sender.is_some() {
            self.tell_void(gone);
        }
        let Some(sender) = self.sender.as_mut().filter(|_| !self.reload_again) else { return };
        let mut parked = std::mem::take(&mut sender.unconfirmed);
        parked.retain(|key| self.outbox.get(*key).is_some_and(|entry| matches!(entry.state, State::Parked { .. })));
        parked.iter().for_each(|key| self.put(*key));
        self.tell_changed(&parked);
    }

    /// A tab has closed: its transactions are ours to send. The slot of what is imported is read after each message that tells of a file.
    pub fn handle_adopted(&mut self, now_ms: u64, slot: SlotDisk) {
        if let Some(sender) = self.sender.as_mut().filter(|_| slot.slot == IMPORTED) {
            sender.awaits_file_until = 0;
        }
        self.adopt(now_ms, vec![slot], &Json::Null);
        self.pump(now_ms);
    }

    /// Another tab sends now.
    pub fn handle_unlead(&mut self, now_ms: u64) {
        let left: Vec<(u32, Key)> = self.unsettled().concat();
        if let Some(sender) = self.sender.take() {
            // Nobody has heard of the server since.
            self.left_trouble = sender.told_trouble();
            for (slot, key) in left {
                self.undeleted.push(Undeleted { slot, key, rev: self.replica.rev, epoch: sender.epoch });
            }
            if let Some(request) = sender.request {
                self.requeue(&request, true);
                self.effects.push_back(Effect::Abort { id: request.id });
            }
            // Whose revision has not come yet, the next sender asks for again.
            self.send_again(&|_| true);
            self.effects.push_back(Effect::Disconnect);
            // Its base may be ahead of the disk, and others have gone on from there: perhaps with a server that was set back meanwhile.
            self.read_anew();
        }
        self.pump(now_ms);
    }

    /// The result of [`Effect::RenewEpoch`].
    pub fn handle_epoch(&mut self, now_ms: u64, epoch: Option<u64>) {
        match (epoch, &mut self.sender) {
            (Some(epoch), Some(sender)) => (sender.epoch, sender.renews, self.epoch_heard) = (epoch, false, epoch),
            _ => self.handle_unlead(now_ms),
        }
        self.pump(now_ms);
    }

    fn adopt(&mut self, now_ms: u64, slots: Vec<SlotDisk>, meta: &Json) {
        let disk = Disk { slots, ..Default::default() };
        let mut gone = Vec::new();
        // What a closed tab left on disk is the last word: it may have altered what it had not offered, or deleted it. In
        // our own slot that goes for what an earlier sender may have settled or parked.
        for slot in &disk.slots {
            let own = slot.slot == self.slot;
            let records = slot.keys();
            // A decision of an earlier sender that has not been heard of: it took a parked one out for good.
            let parked = |e: &Entry| e.slot == slot.slot && e.saved && matches!(e.state, State::Parked { .. });
            for key in self.outbox.keys(&parked) {
                if slot.deleted(&records, key) {
                    self.outbox.remove(key);
                    gone.push(key);
                } else if let Some(entry) = self.outbox.get_mut(key) {
                    // Whoever made it is gone: what is decided about it is this tab's to carry out.
                    (entry.frozen, entry.unanswered) = (true, true);
                }
            }
            let stale = |e: &Entry| e.slot == slot.slot && e.saved && e.state == State::Queued && (e.frozen || !own);
            for key in self.outbox.keys(&stale) {
                // What was saved while the disk was being read is not among its records, and was not deleted either.
                if records.contains(&key) || slot.deleted(&records, key) {
                    self.outbox.remove(key);
                    gone.push(key);
                } else if let Some(entry) = self.outbox.get_mut(key).filter(|_| !own) {
                    (entry.frozen, entry.unanswered) = (true, true);
                }
            }
            self.unheard.retain(|_, owner| *owner != slot.slot);
            if !own {
                self.tell_left(slot, &records);
            }
        }
        let mut before = self.outbox.keys(&|_| true);
        before.sort_unstable();
        self.load_outbox(&disk, meta, true);
        // What a tab had saved when it died, and had not told of.
        let found = self.outbox.keys(&|e| e.slot != self.slot && before.binary_search(&e.made.key).is_err());
        self.tell_changed(&found);
        self.wait_for_unseen(now_ms, &found);
        // And what it had deleted. What cannot be read here, of a newer version perhaps, is there.
        gone.retain(|key| self.outbox.get(*key).is_none() && !self.unheard.contains_key(key));
        self.tell_void(&gone);
        self.redraw();
    }
}
