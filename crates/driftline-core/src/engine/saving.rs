//! What is written to the outboxes on disk, and what is being written.

use super::{Effect, Engine, IMPORTED};
use crate::dedupe::own_client;
use crate::outbox::Key;
use crate::sorted::{SortedSet, sort_dedup};

/// What goes on being folded, as a card that is dragged, is written anew this often at most, where nobody waits for it.
const REWRITE_MS: u64 = 600;

/// What is to be written to a slot, and what is being written.
#[derive(Default)]
pub(super) struct Saver {
    slot: u32,
    puts: SortedSet<Key>,
    deletes: SortedSet<Key>,
    client: Option<u64>,
    in_flight: Option<Saving>,
    failures: u32,
    /// Why the last write failed, until one succeeds.
    problem: Option<String>,
    not_before: u64,
    /// Until then what has been written is not written anew without need.
    calm_until: u64,
}

struct Saving {
    id: u64,
    puts: Vec<(Key, u32)>,
    deletes: Vec<Key>,
    client: Option<u64>,
}

/// A retry, and the spent record that it stands for. Only the retry's own record tells that the other is spent: so the retry's stays on disk
/// until the spent one has gone.
pub(crate) struct Replaces {
    pub new: Key,
    pub slot: u32,
    pub old: Key,
    /// The spent record is being deleted.
    pub goes: bool,
}

impl Engine {
    /// Why the last write failed, where it did.
    pub(crate) fn saving_problem(&self) -> Option<&String> {
        self.savers.iter().find_map(|saver| saver.problem.as_ref())
    }

    /// When there is a write to begin that is put off.
    pub(super) fn next_save(&self, now_ms: u64) -> u64 {
        let due = |saver: &Saver| if saver.puts.is_empty() { saver.not_before } else { saver.not_before.max(saver.calm_until) };
        let waiting = self.savers.iter().filter(|saver| saver.in_flight.is_none()).map(due);
        waiting.filter(|due| *due > now_ms).min().unwrap_or(u64::MAX)
    }

    /// Writes what was made without delay: somebody waits for it, or the page may end.
    pub fn save_now(&mut self, now_ms: u64) {
        self.hurried = true;
        self.pump(now_ms);
    }

    /// Whether somebody waits for what is saved: other tabs to see it, the server to be sent it, or the app.
    fn is_awaited(&self) -> bool {
        let is_sent = self.sender.as_ref().is_some_and(|sender| self.online && sender.trouble.is_none());
        self.hurried || self.has_company || is_sent
    }

    /// What this tab has made and is not on disk yet.
    pub(crate) fn unsaved(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        for saver in self.savers.iter().filter(|saver| saver.slot == self.slot) {
            keys.extend(saver.puts.iter().copied());
            keys.extend(saver.in_flight.iter().flat_map(|saving| &saving.puts).map(|put| put.0));
        }
        sort_dedup(&mut keys);
        keys.retain(|key| self.outbox.get(*key).is_some_and(|entry| entry.slot == self.slot && !entry.saved));
        keys
    }

    /// Whether everything that was made is on disk.
    pub fn is_saved(&self) -> bool {
        self.savers.iter().all(|s| s.puts.is_empty() && s.deletes.is_empty() && s.in_flight.is_none())
    }

    pub fn handle_saved(&mut self, now_ms: u64, slot: u32, id: u64) {
        let saver = self.saver(slot);
        let Some(saving) = saver.in_flight.take_if(|saving| saving.id == id) else { return };
        saver.failures = 0;
        saver.problem = None;
        let mut saved = Vec::new();
        for (key, version) in saving.puts {
            if let Some(entry) = self.outbox.get_mut(key).filter(|entry| entry.version == version) {
                entry.saved = true;
                saved.push(key);
            }
            self.delete_replaced(key);
        }
        let mut gone = Vec::new();
        for key in &saving.deletes {
            self.leaving.remove(key);
            self.replaces.retain(|replaces| !replaces.goes || (replaces.slot, replaces.old) != (slot, *key));
            if self.reloading.is_some() {
                // What is being read may be from before this.
                self.gone_meanwhile.insert(*key, true);
            }
            if self.vanished.remove(key) {
                gone.push(*key);
            }
        }
        self.forget_answered(&saving.deletes);
        self.tell_peers_saved(slot, &saved, &saving.deletes);
        saved.extend(&gone);
        self.event_keys("saved", &saved);
        self.event_keys("accepted", &gone);
        self.pump(now_ms);
    }

    /// The write failed; it is tried again, and nothing is lost from memory meanwhile.
    pub fn handle_save_failed(&mut self, now_ms: u64, slot: u32, id: u64, code: &str) {
        let random = self.random();
        let saver = self.saver(slot);
        let Some(saving) = saver.in_flight.take_if(|saving| saving.id == id) else { return };
        saver.failures += 1;
        saver.not_before = now_ms + crate::backoff::local_delay_ms(saver.failures, random);
        saver.problem = Some(code.to_string());
        saver.client = saver.client.or(saving.client);
        // Those that are in the outbox no more are passed over when it is tried again.
        saver.deletes.extend(saving.deletes);
        for (key, _) in saving.puts {
            self.saver(slot).puts.insert(key);
            // A retry that waits again, and is not on disk: what it stands for is.
            if self.unheard.remove(&key).is_some() {
                for old in self.keep_replaced(key) {
                    self.unheard.insert(old, slot);
                }
                self.ask_reload();
            }
        }
        self.pump(now_ms);
    }

    /// The database of a slot is a new and empty one: it was deleted, or what it held could not be told. What this tab may write there
    /// is written again; and nobody knows any more which numbers its client has used.
    pub fn handle_slot_lost(&mut self, now_ms: u64, slot: u32) {
        let own = slot == self.slot;
        if own {
            self.take_new_client();
        }
        // What another tab has not offered yet it may be folding: it writes that itself.
        for key in self.outbox.keys(&|e| e.slot == slot && (own || e.frozen)) {
            self.put(key);
        }
        self.pump(now_ms);
    }

    /// Marks an entry to be written.
    pub(crate) fn put(&mut self, key: Key) {
        let Some(entry) = self.outbox.get_mut(key) else { return };
        (entry.saved, entry.calm) = (false, false);
        entry.rewritten |= entry.frozen;
        let slot = entry.slot;
        if entry.frozen && slot != self.slot && slot != IMPORTED {
            self.rewrote.insert(key, slot);
        }
        self.saver(slot).puts.insert(key);
    }

    /// Marks a record to be deleted.
    pub(crate) fn delete(&mut self, slot: u32, key: Key) {
        self.note_early(slot, key);
        self.leaving.insert(key);
        self.rewrote.remove(&key);
        let saver = self.saver(slot);
        saver.puts.remove(&key);
        saver.deletes.insert(key);
        self.delete_imported(key);
        // A retry that will never be on disk takes the records that it stands for with it.
        self.delete_replaced(key);
    }

    /// Whether what stands under a key in a slot is about to be deleted. What was discarded may come back in a file at once.
    pub(crate) fn is_leaving(&self, slot: u32, key: Key) -> bool {
        let deletes =
            |saver: &Saver| saver.deletes.contains(&key) || saver.in_flight.as_ref().is_some_and(|saving| saving.deletes.contains(&key));
        let replaced = || self.replaces.iter().any(|replaces| replaces.old == key && !replaces.goes);
        self.leaving.contains(&key)
            && (slot != IMPORTED || replaced() || self.savers.iter().any(|saver| saver.slot == slot && deletes(saver)))
    }

    /// A file has brought again what was discarded or settled, and whose record was about to go: that stays. Not that of what a retry
    /// stands for.
    pub(crate) fn take_back_delete(&mut self, key: Key) -> bool {
        if !self.is_leaving(IMPORTED, key) || self.replaces.iter().any(|replaces| replaces.old == key) {
            return false;
        }
        let saver = self.saver(IMPORTED);
        saver.deletes.remove(&key);
        if saver.in_flight.as_ref().is_none_or(|saving| !saving.deletes.contains(&key)) {
            self.leaving.remove(&key);
        }
        true
    }

    fn delete_replaced(&mut self, new: Key) {
        let waits = |replaces: &&mut Replaces| replaces.new == new && !replaces.goes;
        let mut spent = Vec::new();
        for replaces in self.replaces.iter_mut().filter(waits) {
            replaces.goes = true;
            spent.push((replaces.slot, replaces.old));
        }
        for (slot, old) in spent {
            self.saver(slot).deletes.insert(old);
            if self.delete_imported(old) {
                self.replaces.push(Replaces { new, slot: IMPORTED, old, goes: true });
            }
        }
    }

    /// Deletes the record of what a retry on disk stands for, before that of the retry.
    pub(crate) fn delete_spent(&mut self, slot: u32, old: Key, new: Key) {
        self.replaces.push(Replaces { new, slot, old, goes: true });
        self.delete(slot, old);
    }

    /// What a retry stands for has turned up again: its record goes once the retry is on disk.
    pub(crate) fn drop_replaced(&mut self, slot: u32, old: Key, new: Key) {
        self.leaving.insert(old);
        self.replaces.push(Replaces { new, slot, old, goes: false });
        if self.outbox.get(new).is_some_and(|entry| entry.saved) {
            self.delete_replaced(new);
        }
    }

    /// A retry that was settled before it was written waits again, and is on disk only as what it stands for: that does not go. Returns
    /// the keys of these. Where it is being written, the disk is read once more.
    pub(crate) fn keep_replaced(&mut self, new: Key) -> Vec<Key> {
        let mut kept = Vec::new();
        for saver in &self.savers {
            if saver.in_flight.as_ref().is_some_and(|saving| saving.puts.iter().any(|put| put.0 == new)) {
                self.unheard.insert(new, saver.slot);
                self.reload_again = true;
                return kept;
            }
        }
        self.replaces.retain(|replaces| {
            let is_kept = replaces.new == new && !replaces.goes;
            if is_kept {
                kept.push(replaces.old);
            }
            !is_kept
        });
        for key in &kept {
            self.leaving.remove(key);
        }
        if let Some(latest) = kept.last() {
            // What these stood for stands behind the latest of them again.
            self.replaces.iter_mut().filter(|replaces| replaces.new == new).for_each(|replaces| replaces.new = *latest);
        }
        kept
    }

    /// What was exported before it was saved may have come back in its file before its own tab has saved it.
    pub(crate) fn note_twice(&mut self, slot: u32, key: Key) {
        let Some(known) = self.outbox.get_mut(key).filter(|known| (known.slot == IMPORTED) != (slot == IMPORTED)) else { return };
        if slot != IMPORTED {
            known.slot = slot;
        }
        self.twice.insert(key);
    }

    fn delete_imported(&mut self, key: Key) -> bool {
        let was_there = self.twice.remove(&key);
        if was_there {
            self.saver(IMPORTED).deletes.insert(key);
        }
        was_there
    }

    /// From now on new transactions carry another client id.
    pub(crate) fn take_new_client(&mut self) {
        self.client = own_client(self.random());
        self.saver(self.slot).client = Some(self.client);
    }

    fn saver(&mut self, slot: u32) -> &mut Saver {
        let known = self.savers.iter().position(|saver| saver.slot == slot);
        let at = known.unwrap_or(self.savers.len());
        if known.is_none() {
            self.savers.push(Saver { slot, ..Saver::default() });
        }
        &mut self.savers[at]
    }

    pub(crate) fn start_saves(&mut self, now_ms: u64) {
        let is_awaited = self.is_awaited();
        for saver in &mut self.savers {
            // In one transaction the two go together.
            let is_held = |key: &Key| self.replaces.iter().any(|spent| spent.new == *key && spent.goes && spent.slot != saver.slot);
            let deletes = saver.deletes.iter().any(|key| !is_held(key));
            let idle = saver.puts.is_empty() && !deletes && saver.client.is_none();
            if idle || saver.in_flight.is_some() || saver.not_before > now_ms {
                continue;
            }
            let is_calm = |key: &Key| self.outbox.get(*key).is_none_or(|entry| entry.calm);
            let may_wait = saver.calm_until > now_ms && !is_awaited && !deletes && saver.client.is_none();
            if may_wait && saver.puts.iter().all(is_calm) {
                continue;
            }
            saver.calm_until = now_ms + REWRITE_MS;
            self.ids += 1;
            let mut saving = Saving { id: self.ids, puts: Vec::new(), deletes: Vec::new(), client: saver.client.take() };
            let mut puts = Vec::new();
            for key in std::mem::take(&mut saver.puts) {
                if let Some(entry) = self.outbox.get(key) {
                    saving.puts.push((key, entry.version));
                    puts.push((key, entry.to_record(&self.schema)));
                }
            }
            for key in std::mem::take(&mut saver.deletes) {
                if is_held(&key) {
                    saver.deletes.insert(key);
                } else {
                    saving.deletes.push(key);
                }
            }
            let deletes = saving.deletes.clone();
            self.effects.push_back(Effect::Save { id: saving.id, slot: saver.slot, client: saving.client, puts, deletes });
            saver.in_flight = Some(saving);
        }
        self.hurried &= self.savers.iter().any(|saver| !saver.puts.is_empty());
    }
}
