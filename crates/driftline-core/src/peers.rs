//! What the tabs of one browser tell each other.
//!
//! Each tab saves its own transactions and shows them to the others; the sending tab passes on what the server said. Until a
//! tab has offered a transaction (or has closed), nobody but itself may send or alter it; once offered, it is frozen, and
//! only the sending tab does. A message is a line of JSON; one that shows records goes on with them, as they are on disk: two lines each.
//! `settled` is what is over by another tab's word, `unseen` what overtook something else on its way here.

mod settled;
mod unseen;

use crate::dedupe::is_shared;
use crate::edit::{Edit, write_edits};
use crate::engine::{Absorbed, Effect, Engine, IMPORTED, SlotDisk, read_keys, record_key, write_keys};
use crate::json::Json;
use crate::outbox::{Entry, Key, State};
use crate::schema::Schema;
use crate::sorted::SortedSet;
use crate::value::{parse_hex128, write_hex128, write_string, write_uint};
use crate::wire::read_changes;
use unseen::UNSEEN_MS;

pub(crate) use settled::Undeleted;

/// So long the sending tab waits at most for the slot of a file to be free, to read it: the page that imports may be frozen.
const FILE_MS: u64 = 10_000;
/// A tab that does not send asks the one that does this often whether it is there. A page that the browser has frozen does not answer.
const PING_MS: u64 = 2_000;
/// So many pings without an answer, and nothing can be called saved.
const PINGS_TO_DOUBT: u32 = 2;
/// So many, and another tab sends instead: within 10 s of the last sign of life.
const PINGS_TO_REPLACE: u32 = 4;

/// What the sending tab said of itself.
pub(crate) struct PeerState {
    pub epoch: u64,
    pub online: bool,
    pub trouble: Option<String>,
    /// The server is newer than these pages.
    pub behind: bool,
    /// What waits, waits for something other than the network.
    pub starved: bool,
    /// Whether it has been offered, under this epoch, what had been offered to others.
    offered: bool,
}

/// What a record is that another tab shows.
enum Heard {
    Over,
    Known,
    /// Known, and from now on the sending tab's.
    Offered,
    New,
}

impl PeerState {
    /// Whether what it is offered goes out soon. While it does not, everybody goes on folding.
    fn takes(&self) -> bool {
        self.online && self.trouble.is_none()
    }
}

impl Engine {
    /// A message of another tab of the same user and space.
    pub fn handle_peer(&mut self, now_ms: u64, message: &str) {
        self.has_company = true;
        let (text, records) = message.split_once('\n').unwrap_or((message, ""));
        let json = Json::parse_or_null(text);
        let version = json.uint("schema").unwrap_or(0);
        let ours = u64::from(self.schema.version);
        if version > ours {
            // A newer page is open beside this one. What is made here is kept, and the newer one sends it.
            self.outdated = true;
            if self.sender.is_some() {
                self.handle_unlead(now_ms);
                // It is not ours any more: that gives the turn back.
                self.effects.push_back(Effect::RenewEpoch { at_least: 0 });
            }
        }
        // What an older page makes can be read here, as on disk; and what it has deleted is gone here, too: keys are the same in every version.
        let heard = match json.text("t") {
            Some("hello" | "void") => true,
            Some("txns") => version <= ours,
            _ => version == ours,
        };
        if !heard {
            if version > ours && json.text("t") == Some("base") {
                self.hear_accepted(&json);
            }
            // What a newer page has taken in cannot be read here, but must not go by numbers that are given here.
            let imported = |json: &Json| json.uint("slot") == Some(u64::from(IMPORTED));
            if imported(&json) {
                records_in(records).filter_map(record_key).for_each(|key| self.see_number(IMPORTED, key));
            }
            return;
        }
        if let Some(epoch) = json.uint("epoch") {
            // Only who sends speaks under one.
            if epoch < self.epoch_heard {
                return;
            }
            (self.epoch_heard, self.pings) = (epoch, 0);
            self.doubt_earlier_sender();
        }
        match json.text("t") {
            Some("hello" | "ping") => self.tell_peers_lead(),
            Some("lead") => self.hear_lead(&json),
            Some("txns") => self.hear_txns(now_ms, &json, records),
            Some("void") => self.hear_void(now_ms, &json),
            Some("left") => self.hear_left(&json),
            Some("base") => self.hear_base(now_ms, &json),
            Some("reload") if self.sender.is_none() => self.read_anew(),
            Some("disk") => self.hear_disk(&json),
            Some("torn") if self.sender.is_some() => self.write_base_again(),
            Some("freeze") => self.hear_freeze(),
            Some("do") => self.hear_decision(now_ms, text),
            _ => {}
        }
        self.pump(now_ms);
    }

    // ---- telling ----

    pub(crate) fn say_hello(&mut self) {
        self.broadcast("{\"t\":\"hello\"}".to_string());
    }

    /// Asks the sending tab whether it is there, and takes its place where it has not answered for long.
    pub(crate) fn ping_sender(&mut self, now_ms: u64) {
        if self.sender.is_some() || !self.loaded || self.outdated {
            (self.pings, self.ping_at) = (0, u64::MAX);
        } else if self.ping_at == u64::MAX {
            self.ping_at = now_ms + PING_MS;
        } else if now_ms >= self.ping_at {
            self.ping_at = now_ms + PING_MS;
            self.pings += 1;
            if self.pings.is_multiple_of(PINGS_TO_REPLACE + 1) {
                self.effects.push_back(Effect::Replace);
            } else {
                self.broadcast("{\"t\":\"ping\"}".to_string());
            }
        }
    }

    /// Whether the sending tab owes an answer for so long that it may not be sending any more.
    pub(crate) fn is_sender_silent(&self) -> bool {
        self.pings > PINGS_TO_DOUBT
    }

    pub(crate) fn tell_peers_lead(&mut self) {
        let Some(sender) = &self.sender else { return };
        let mut out = String::from("{\"t\":\"lead\",\"epoch\":");
        write_uint(sender.epoch, &mut out);
        out.push_str(",\"rev\":");
        write_uint(sender.disk_rev.unwrap_or(0), &mut out);
        out.push_str(",\"online\":");
        out.push_str(if self.online { "true" } else { "false" });
        if let Some(trouble) = &sender.told_trouble() {
            out.push_str(",\"trouble\":");
            write_string(trouble, &mut out);
        }
        out.push_str(if sender.starved { ",\"starved\":true" } else { "" });
        out.push_str(if self.behind { ",\"behind\":true}" } else { "}" });
        self.broadcast(out);
    }

    /// Shows the others what has just reached the disk. While the sending tab is online the transactions are offered
    /// to it with the same message.
    pub(crate) fn tell_peers_saved(&mut self, slot: u32, saved: &[Key], deleted: &[Key]) {
        if slot == self.slot && self.loaded {
            let offered = self.sender.is_none() && self.peer.as_ref().is_some_and(PeerState::takes);
            if let Some(peer) = self.peer.as_mut().filter(|_| offered && !saved.is_empty()) {
                // It has something to send now.
                peer.starved = false;
            }
            // What has been exported may go by way of another device: that is frozen, whether it is offered or not.
            let is_frozen = |key: &&Key| self.outbox.get(**key).is_some_and(|entry| entry.frozen);
            let (frozen, others): (Vec<Key>, Vec<Key>) = saved.iter().partition(is_frozen);
            self.tell_txns(&frozen, true, None);
            self.tell_txns(&others, offered, None);
        }
        let mut void = deleted.to_vec();
        void.retain(|key| self.outbox.get(*key).is_none());
        self.tell_void(&void);
    }

    pub(crate) fn tell_void(&mut self, keys: &[Key]) {
        if !keys.is_empty() {
            let mut out = String::from("{\"t\":\"void\",\"keys\":");
            write_keys(keys, &mut out);
            out.push('}');
            self.broadcast(out);
        }
    }

    /// Shows the others what an earlier tab left in this slot, before anything that is made now: who hears of a number takes
    /// those below it for known. What the earlier tab had shown and is not among them went with it.
    pub(crate) fn tell_peers_opened(&mut self) {
        let own = self.outbox.keys(&|e| e.slot == self.slot && e.saved);
        let earlier = std::mem::take(&mut self.earlier);
        self.tell_txns(&own, false, Some(&earlier));
    }

    /// `earlier`: up to these numbers there is nothing else in this slot.
    pub(crate) fn tell_txns(&mut self, keys: &[Key], offered: bool, earlier: Option<&[Key]>) {
        let mut out = String::from("{\"t\":\"txns\",\"slot\":");
        write_uint(u64::from(self.slot), &mut out);
        // They have numbers between those shown; without this the sender would take them for settled.
        out.push_str(if offered { ",\"frozen\":true,\"unsaved\":" } else { ",\"frozen\":false,\"unsaved\":" });
        write_keys(&self.unsaved(), &mut out);
        if let Some(earlier) = earlier {
            out.push_str(",\"earlier\":");
            write_keys(earlier, &mut out);
        }
        out.push('}');
        let bare = out.len();
        let sends = self.sender.is_some();
        for key in keys {
            let own_slot = self.slot;
            let Some(entry) = self.outbox.get_mut(*key).filter(|entry| entry.slot == own_slot && entry.saved) else { continue };
            if offered {
                // Whom it was offered to before may have sent it.
                entry.unanswered |= entry.frozen && !sends;
                entry.frozen = true;
            }
            out.push('\n');
            out.push_str(&entry.to_record(&self.schema));
        }
        if out.len() > bare || earlier.is_some() {
            self.broadcast(out);
        }
    }

    /// What a closed tab has left on disk: up to these numbers there is nothing else in its slot. It may have deleted what this tab
    /// has never heard of.
    pub(crate) fn tell_left(&mut self, slot: &SlotDisk, records: &SortedSet<Key>) {
        if slot.high.is_empty() {
            return;
        }
        let keys: Vec<Key> = records.iter().copied().filter(|key| slot.is_known(*key)).collect();
        let mut out = String::from("{\"t\":\"left\"");
        self.write_epoch(&mut out);
        out.push_str(",\"slot\":");
        write_uint(u64::from(slot.slot), &mut out);
        out.push_str(",\"high\":");
        write_keys(&slot.high, &mut out);
        out.push_str(",\"keys\":");
        write_keys(&keys, &mut out);
        out.push('}');
        self.broadcast(out);
    }

    pub(crate) fn tell_peers_base(&mut self, absorbed: &Absorbed, settled: &[Key], changed: &[Key]) {
        if absorbed.text.is_empty() && settled.is_empty() && changed.is_empty() {
            return;
        }
        let mut out = String::from("{\"t\":\"base\"");
        self.write_epoch(&mut out);
        out.push_str(",\"rev\":");
        write_uint(self.replica.rev, &mut out);
        out.push_str(",\"changes\":[");
        out.push_str(&absorbed.text);
        out.push_str("],\"digest\":\"");
        write_hex128(self.replica.digest.0, &mut out);
        out.push_str("\",\"settled\":");
        write_keys(settled, &mut out);
        out.push_str(",\"records\":[");
        let mut first = true;
        for key in changed {
            let Some(entry) = self.outbox.get(*key) else { continue };
            out.push_str(if first { "[" } else { ",[" });
            write_uint(u64::from(entry.slot), &mut out);
            out.push(',');
            write_string(&entry.to_record(&self.schema), &mut out);
            out.push(']');
            first = false;
        }
        out.push_str("]}");
        self.broadcast(out);
    }

    /// What only the sending tab may say it says under its epoch.
    pub(crate) fn write_epoch(&self, out: &mut String) {
        if let Some(epoch) = self.epoch() {
            out.push_str(",\"epoch\":");
            write_uint(epoch, out);
        }
    }

    pub(crate) fn broadcast(&mut self, message: String) {
        let mut out = String::from("{\"schema\":");
        write_uint(u64::from(self.schema.version), &mut out);
        out.push(',');
        out.push_str(message.get(1..).unwrap_or_default());
        self.effects.push_back(Effect::Broadcast(out));
    }

    /// Reads everything from disk again. What is known to be there now, and then is not, has been settled meanwhile.
    pub(crate) fn ask_reload(&mut self) {
        self.reload_again |= self.reloading.is_some();
        if self.reloading.is_none() {
            self.reloading = Some(self.outbox.keys(&|e| e.saved));
            self.effects.push_back(Effect::Reload);
        }
    }

    /// Whatever base is on disk counts, even an older one.
    pub(crate) fn read_anew(&mut self) {
        self.replaced = true;
        self.disk_heard = 0;
        self.ask_reload();
    }

    // ---- hearing ----

    fn hear_lead(&mut self, json: &Json) {
        if self.sender.is_some() {
            return;
        }
        let online = json.flag("online");
        let trouble = json.text("trouble").map(str::to_string);
        self.hear_disk(json);
        let epoch = json.uint("epoch").unwrap_or(0);
        let same = self.peer.as_ref().is_some_and(|peer| peer.offered && peer.epoch == epoch);
        let mut peer = PeerState { epoch, online, trouble, behind: json.flag("behind"), starved: json.flag("starved"), offered: same };
        let takes = peer.takes();
        peer.offered |= takes;
        (self.peer, self.left_trouble) = (Some(peer), None);
        if takes {
            // Another sender may not know what an earlier one was offered or has parked, nor what an earlier tab left in this slot.
            let own = self.outbox.keys(&|e| e.slot == self.slot && e.saved && !(same && e.frozen));
            self.tell_txns(&own, true, None);
        }
        for text in std::mem::take(&mut self.unsaid) {
            self.broadcast(text);
        }
        self.delete_left_over(json.uint("rev").unwrap_or(0));
    }

    /// The base on disk is at a revision. Who is behind has missed something, and finds it there.
    fn hear_disk(&mut self, json: &Json) {
        let rev = json.uint("rev").unwrap_or(0);
        self.disk_heard = self.disk_heard.max(rev);
        if self.sender.is_none() && rev > self.replica.rev {
            self.ask_reload();
        }
        self.delete_left_over(rev);
    }

    fn hear_txns(&mut self, now_ms: u64, json: &Json, records: &str) {
        let slot = json.uint("slot").unwrap_or(0) as u32;
        let frozen = json.flag("frozen");
        if slot == self.slot {
            return;
        }
        // A message that was long on its way may tell of numbers that have been found on disk and settled since.
        let unknown = |key: &Key| self.unheard.contains_key(key) || !self.has_number(*key);
        let mut unsaved = read_keys(json.list("unsaved"));
        unsaved.retain(unknown);
        let mut shown = Vec::new();
        for record in records_in(records) {
            let Some(entry) = Entry::from_record(&self.schema, slot, record) else { continue };
            // By what was known before: they come in the order made, and a retry has a later number than what was made after it.
            let was_over = slot != IMPORTED && !self.take_open_again(slot, entry.made.key) && self.is_over(entry.made.key);
            shown.push((entry, was_over));
        }
        let mut news = json.get("earlier").is_some() && self.forget_unshown(slot, &read_keys(json.list("earlier")), records);
        let (mut over, mut offered) = (Vec::new(), Vec::new());
        for (entry, was_over) in shown {
            let key = entry.made.key;
            match self.hear_txn(now_ms, Entry { frozen, ..entry }, was_over) {
                Heard::Over => over.push(key),
                Heard::Known => {}
                Heard::Offered => offered.push(key),
                Heard::New => {
                    offered.push(key);
                    news = true;
                }
            }
        }
        self.wait_for_unseen(now_ms, &offered);
        if !offered.is_empty() {
            self.note_work();
        }
        for key in unsaved {
            if self.outbox.get(key).is_none() {
                self.unheard.insert(key, slot);
            }
        }
        if let Some(sender) = self.sender.as_mut().filter(|_| slot == IMPORTED) {
            // Whoever tells of a file knows from disk what an earlier one brought, whose tab may have died before it told of that.
            sender.awaits_file_until = now_ms + FILE_MS;
        }
        // It found their records on disk: they go, once the base is there.
        for key in over {
            self.settle_again(slot, key);
        }
        if news {
            self.redraw();
        }
        if slot == IMPORTED && news && self.sender.is_none() {
            // The word of whoever imported it may come after all of it is over: the disk tells.
            self.ask_reload();
        }
    }

    fn hear_txn(&mut self, now_ms: u64, entry: Entry, was_over: bool) -> Heard {
        let (key, slot) = (entry.made.key, entry.slot);
        // A file may bring anew what is over; only what was said to be just now was meant.
        let early = self.early.remove(&key).is_some_and(|said| slot != IMPORTED || now_ms < said + UNSEEN_MS);
        if let Some(rev) = self.early_settled.remove(&key).filter(|_| early && self.sender.is_none()) {
            // Should whoever settled it not live to delete it, its number must not count as over before somebody has.
            self.undeleted.push(Undeleted { slot, key, rev, epoch: self.epoch_heard });
        }
        if early || was_over || self.is_settled(key) {
            // Of what has been settled first and shown then, it may be shown more than once.
            self.see_number(slot, key);
            self.unheard.remove(&key);
            return Heard::Over;
        }
        if let Some(new) = self.outbox.replacement(entry.made) {
            // A file has it, or a tab that slept while it was decided about.
            self.see_number(slot, key);
            self.unheard.remove(&key);
            if self.sender.is_some() {
                self.drop_replaced(slot, key, new);
            }
            return Heard::Known;
        }
        self.note_twice(slot, key);
        // What has been written anew since its own tab has read it. That tab may offer it all the same.
        let in_older_words = |known: &Entry| known.upgraded.is_some() && entry.upgraded.is_none();
        // An older version of what may have been sent already: what is frozen is not altered, so whoever says otherwise spoke before.
        let older = |known: &Entry| {
            known.state != State::Queued || (known.frozen && !entry.frozen) || (in_older_words(known) && entry.state != State::Queued)
        };
        // What waits here under a number is not changed by what a file has under it.
        let waits_here = |known: &Entry| slot == IMPORTED && known.slot != IMPORTED;
        let comes_again = slot == IMPORTED && self.take_back_delete(key);
        let is_leaving = self.is_leaving(slot, key) && !comes_again;
        if is_leaving || self.outbox.get(key).is_some_and(|known| older(known) || waits_here(known)) {
            return Heard::Known;
        }
        self.see_clock(entry.made.at);
        self.see_number(slot, key);
        self.unheard.remove(&key);
        let same = |known: &Entry| known.state == entry.state && (known.body == entry.body || in_older_words(known));
        if let Some(known) = self.outbox.get_mut(key).filter(|known| same(known)) {
            let heard = if entry.frozen && !known.frozen { Heard::Offered } else { Heard::Known };
            known.frozen |= entry.frozen;
            known.unanswered |= entry.unanswered;
            return heard;
        }
        // A retry stands for the one whose key is spent.
        for was in &entry.was {
            // By its number alone it may be something else, of a copied profile.
            if self.outbox.get(*was).is_some_and(|old| old.made.at == entry.made.at)
                && let Some(old) = self.outbox.remove(*was)
            {
                self.see_deleted(&old);
            }
        }
        if slot == IMPORTED {
            // It has come again, whatever was deleted before.
            self.gone_meanwhile.remove(&key);
        }
        self.outbox.insert(entry);
        if comes_again {
            // What is being deleted may be what the file has brought.
            self.put(key);
        }
        Heard::New
    }

    /// A tab has opened in a slot and shown all that an earlier one left there. What that one had told of and nobody has been
    /// offered is gone. Of what is made since, which may be found on disk before this is heard, it says nothing. Returns whether
    /// there was any.
    fn forget_unshown(&mut self, slot: u32, earlier: &[Key], records: &str) -> bool {
        let shown: Vec<Key> = records_in(records).filter_map(record_key).collect();
        let left = |key: Key| earlier.iter().any(|high| high.0 == key.0 && key.1 <= high.1);
        let unshown = |e: &Entry| e.slot == slot && left(e.made.key) && !shown.contains(&e.made.key);
        let gone = self.outbox.keys(&|e| unshown(e) && !e.frozen && e.state == State::Queued);
        self.unheard.retain(|_, owner| *owner != slot);
        for key in &gone {
            self.outbox.remove(*key);
        }
        !gone.is_empty()
    }

    /// What is shown here and has gone from the slot of a closed tab, the disk tells.
    fn hear_left(&mut self, json: &Json) {
        let slot = json.uint("slot");
        let (high, mut keys) = (read_keys(json.list("high")), read_keys(json.list("keys")));
        keys.sort_unstable();
        let is_gone = |key: Key| high.iter().any(|high| high.0 == key.0 && key.1 <= high.1) && keys.binary_search(&key).is_err();
        if !self.outbox.keys(&|e| slot == Some(u64::from(e.slot)) && e.saved && is_gone(e.made.key)).is_empty() {
            self.ask_reload();
        }
    }

    fn hear_void(&mut self, now_ms: u64, json: &Json) {
        let mut news = false;
        for key in read_keys(json.list("keys")) {
            let expected = self.undeleted.iter().any(|left| left.key == key && (left.slot == IMPORTED || self.has_number(key)));
            self.undeleted.retain(|left| left.key != key);
            self.unheard.remove(&key);
            // This tab slept, and wrote that again before it heard of its end.
            if let Some(slot) = self.rewrote.get(&key).copied().filter(|_| self.outbox.get(key).is_none()) {
                self.delete(slot, key);
            }
            news |= self.hear_over(now_ms, key, true);
            if expected {
                // It had been heard of: should a file bring it again, it is not this that was meant.
                self.early.remove(&key);
            }
        }
        if news {
            self.redraw();
        }
    }

    /// What is over may be known by the sending tab's word alone: its own tab has yet to tell of it.
    pub(crate) fn note_early(&mut self, slot: u32, key: Key) {
        if slot != IMPORTED && is_shared(key.0) {
            self.see_number(slot, key);
        } else if slot != IMPORTED && !self.has_number(key) {
            self.early.insert(key, 0);
        }
    }

    /// Another tab says that a key is over, and whether its record is deleted; returns whether it was in the outbox.
    fn hear_over(&mut self, now_ms: u64, key: Key, deleted: bool) -> bool {
        let imported = |entry: &Entry| entry.slot == IMPORTED && (entry.saved || !entry.rewritten);
        if deleted && self.outbox.get(key).is_some_and(imported) {
            // A file may have brought it again since, and the word of a tab that slept come late: the disk tells.
            self.ask_reload();
            return false;
        }
        if self.reloading.is_some() {
            *self.gone_meanwhile.get_or_insert_with(key, || false) |= deleted;
        }
        let Some(entry) = self.outbox.remove(key) else {
            if !self.is_over(key) {
                self.early.insert(key, now_ms);
                self.early_settled.remove(&key);
            }
            return false;
        };
        if deleted {
            // Of what is settled the base has told before: this was given up.
            self.history.forget(key, &entry.edits);
        }
        if self.sender.is_some() || entry.rewritten {
            // The word came late, and this tab may have written it again meanwhile.
            self.delete(entry.slot, key);
        } else {
            self.twice.remove(&key);
            self.note_early(entry.slot, key);
        }
        true
    }

    /// A newer page tells of a base that cannot be read here. What it has taken in waits no more, and stays to be seen: in the base that is
    /// here, which nobody writes or compares any more.
    fn hear_accepted(&mut self, json: &Json) {
        let (mut accepted, mut edits) = (Vec::new(), Vec::new());
        for key in read_keys(json.list("settled")) {
            if let Some(entry) = self.outbox.remove(key) {
                accepted.push(key);
                edits.extend(entry.edits);
            }
        }
        let change = |base: &mut crate::replica::Base| drop(base.as_sent(&edits));
        let patches = self.replica.rebase(&self.schema, change, &self.outbox);
        self.effects.extend(patches.into_iter().map(Effect::Patch));
        self.event_keys("accepted", &accepted);
    }

    /// What a sending tab that slept has told of may have been over for long when it woke: then the disk knows better.
    pub(crate) fn doubt_earlier_sender(&mut self) {
        if self.loaded && (1..self.epoch_heard).contains(&self.epoch_told) {
            self.epoch_told = 0;
            self.ask_reload();
        }
    }

    fn hear_base(&mut self, now_ms: u64, json: &Json) {
        if self.sender.is_some() {
            return;
        }
        let mut accepted = Vec::new();
        // What is settled by a base that was fetched comes without changes.
        let rev = json.uint("rev").unwrap_or(u64::MAX);
        for key in read_keys(json.list("settled")) {
            if let Some(slot) = self.outbox.get(key).map(|entry| entry.slot) {
                self.undeleted.push(Undeleted { slot, key, rev, epoch: self.epoch_heard });
            }
            if self.hear_over(now_ms, key, false) {
                accepted.push(key);
            } else if self.early.contains_key(&key) {
                self.early_settled.insert(key, rev);
            }
        }
        for record in json.list("records").iter() {
            let slot = record.at(0).and_then(Json::as_u64).unwrap_or(0) as u32;
            let Some(mut entry) = record.at(1).and_then(Json::as_str).and_then(|text| Entry::from_record(&self.schema, slot, text)) else {
                continue;
            };
            if self.leaving.contains(&entry.made.key) {
                continue;
            }
            // Who sends now says that it waits: that an earlier one called it settled counts no more.
            let epoch = self.epoch_heard;
            self.epoch_told = epoch;
            self.undeleted.retain(|left| left.key != entry.made.key || left.epoch >= epoch);
            self.unheard.remove(&entry.made.key);
            self.note_twice(slot, entry.made.key);
            if let Some(known) = self.outbox.get(entry.made.key) {
                entry.rewritten = known.rewritten;
                if slot == IMPORTED {
                    // What its own tab is still saving stays so.
                    (entry.slot, entry.saved, entry.version) = (known.slot, known.saved, known.version);
                }
            }
            self.see_clock(entry.made.at);
            if slot == IMPORTED {
                // Of a tab's numbers that tab tells: who hears of one takes those below it for known.
                self.see_number(slot, entry.made.key);
            }
            if let State::Parked { problem, .. } = &entry.state {
                self.event_problem("parked", entry.made.key, problem);
            }
            self.outbox.insert(entry);
        }
        let revisions = json.get("changes").and_then(|changes| read_changes(&self.schema, changes)).unwrap_or_default();
        let moved_on = !revisions.is_empty();
        let differs = |engine: &Engine| json.text("digest").and_then(parse_hex128) != Some(engine.replica.digest.0);
        if self.absorb(revisions).gap {
            self.ask_reload();
        } else if moved_on && self.replica.rev == rev && differs(self) {
            // This base has another history: of a server that was set back since.
            self.read_anew();
        }
        self.event_keys("accepted", &accepted);
    }

    pub(crate) fn tell_changed(&mut self, keys: &[Key]) {
        let nothing = Absorbed::default();
        self.tell_peers_base(&nothing, &[], keys);
    }
}

/// Begins a revision of changes as they are kept on disk and told to other tabs: like the server's, with all content.
pub(crate) fn begin_revision(rev: u64, out: &mut String) {
    out.push_str(if out.is_empty() { "{\"rev\":" } else { ",{\"rev\":" });
    write_uint(rev, out);
    out.push_str(",\"parts\":[");
}

pub(crate) fn write_part(schema: &Schema, index: usize, actor: u32, changes: &[Edit], out: &mut String) {
    out.push_str(if index > 0 { ",{\"actor\":" } else { "{\"actor\":" });
    write_uint(u64::from(actor), out);
    out.push_str(",\"changes\":[");
    write_edits(schema, changes, out);
    out.push_str("]}");
}

/// The records that a message goes on with.
fn records_in(lines: &str) -> impl Iterator<Item = &str> {
    let mut rest = lines;
    std::iter::from_fn(move || {
        let end = rest.match_indices('\n').nth(1).map_or(rest.len(), |found| found.0);
        let (record, left) = rest.split_at(end);
        rest = left.get(1..).unwrap_or_default();
        (!record.is_empty()).then_some(record)
    })
}
