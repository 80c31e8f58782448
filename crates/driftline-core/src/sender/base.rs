//! The base on disk: what the sending tab writes behind, under its epoch.

use crate::engine::{Absorbed, Effect, Engine, write_key};
use crate::outbox::Key;
use crate::sorted::SortedMap;
use crate::value::{write_hex64, write_hex128, write_uint};
use crate::wire::write_snapshot_head;

/// Rows in one record of the base on disk.
const CHUNK_ROWS: usize = 1_000;
/// The base is written anew when the tails since have grown to this many bytes.
const TAIL_BYTES: usize = 512 * 1024;

pub(super) struct Committing {
    id: u64,
    epoch: u64,
    rev: u64,
    receipts: SortedMap<u64, u64>,
    settled: Vec<(u32, Key)>,
    tail: Vec<(u64, String)>,
    rewrite: bool,
    /// It writes a base that was replaced, and the others are to read it.
    replaced: bool,
    sent: u64,
}

impl Engine {
    /// Notes what base the disk holds: a tail there must follow on it.
    pub(crate) fn note_disk_rev(&mut self, rev: Option<u64>) {
        if let Some(sender) = &mut self.sender {
            sender.disk_rev = rev;
            sender.rewrite |= rev.is_none_or(|rev| rev < self.replica.rev);
        }
    }

    /// Takes note of a base that has moved on, for the disk and for the other tabs.
    pub(crate) fn note_base(&mut self, absorbed: Absorbed, changed: &[Key]) {
        let mut keys = Vec::with_capacity(absorbed.settled.len());
        for (_, key) in &absorbed.settled {
            keys.push(*key);
        }
        self.event_keys("accepted", &keys);
        self.tell_peers_base(&absorbed, &keys, changed);
        let Some(sender) = &mut self.sender else { return };
        sender.uncommitted.extend(absorbed.settled);
        if !absorbed.text.is_empty() {
            sender.tail_bytes += absorbed.text.len();
            sender.tail.push((absorbed.to, absorbed.text));
        }
    }

    pub(crate) fn commit(&mut self, now_ms: u64) {
        let Some(sender) = &mut self.sender else { return };
        let told = sender.sent_wanted <= self.sent_on_disk;
        let idle = sender.tail.is_empty() && sender.uncommitted.is_empty() && !sender.rewrite && told;
        if idle || sender.commit.is_some() || !self.has_base || sender.commit_not_before > now_ms {
            return;
        }
        let tail = std::mem::take(&mut sender.tail);
        let rewrite = std::mem::take(&mut sender.rewrite) || sender.tail_bytes > TAIL_BYTES;
        let settled = std::mem::take(&mut sender.uncommitted);
        for (_, key) in &settled {
            sender.answered.insert(*key);
        }
        if rewrite {
            sender.tail_bytes = 0;
        }
        let replaced = rewrite && std::mem::take(&mut sender.replaced);
        let epoch = sender.epoch;
        let mut text = None;
        if let (Some(last), false) = (tail.last(), rewrite) {
            let mut joined = String::from("{\"changes\":[");
            for (i, (_, changes)) in tail.iter().enumerate() {
                joined.push_str(if i > 0 { "," } else { "" });
                joined.push_str(changes);
            }
            joined.push_str("]}");
            text = Some((last.0, joined));
        }
        let receipts = std::mem::take(&mut sender.receipts);
        let base = rewrite.then(|| self.base_chunks());
        let meta = self.meta(&receipts);
        let rev = self.replica.rev;
        let id = self.new_id();
        self.effects.push_back(Effect::Commit { id, epoch, meta, tail: text, base });
        if let Some(sender) = &mut self.sender {
            sender.commit = Some(Committing { id, epoch, rev, receipts, settled, tail, rewrite, replaced, sent: sender.sent_wanted });
        }
    }

    pub fn handle_committed(&mut self, now_ms: u64, id: u64) {
        let Some(sender) = &mut self.sender else { return };
        let Some(done) = sender.commit.take_if(|commit| commit.id == id) else { return };
        sender.commit_failures = 0;
        sender.commit_problem = None;
        self.receipts.extend(done.receipts);
        sender.disk_rev = Some(done.rev);
        self.sent_on_disk = self.sent_on_disk.max(done.sent);
        self.rewrites &= !done.rewrite;
        self.torn &= !done.rewrite;
        let mut epoch = String::new();
        self.write_epoch(&mut epoch);
        self.broadcast(format!("{{\"t\":\"disk\"{epoch},\"rev\":{}}}", done.rev));
        if done.replaced {
            self.broadcast(format!("{{\"t\":\"reload\"{epoch}}}"));
        }
        for (slot, key) in done.settled {
            self.delete(slot, key);
        }
        self.pump(now_ms);
    }

    /// The base could not be written. `code` `stale_epoch` means that another tab sends.
    pub fn handle_commit_failed(&mut self, now_ms: u64, id: u64, code: &str) {
        let random = self.random();
        let Some(sender) = &mut self.sender else { return };
        let Some(failed) = sender.commit.take_if(|commit| commit.id == id) else { return };
        // What failed comes before what has come since.
        let (mut settled, mut tail) = (failed.settled, failed.tail);
        settled.append(&mut sender.uncommitted);
        tail.append(&mut sender.tail);
        (sender.uncommitted, sender.tail) = (settled, tail);
        sender.rewrite |= failed.rewrite;
        sender.replaced |= failed.replaced;
        for (client, receipt) in failed.receipts {
            sender.receipts.get_or_insert_with(client, || receipt);
        }
        match code {
            // It may have been this tab that took a later one meanwhile.
            "stale_epoch" if failed.epoch == sender.epoch => self.handle_unlead(now_ms),
            "stale_epoch" => {}
            _ => {
                sender.commit_failures += 1;
                sender.commit_not_before = now_ms + crate::backoff::local_delay_ms(sender.commit_failures, random);
                sender.commit_problem = Some(code.to_string());
            }
        }
        self.pump(now_ms);
    }

    /// The base on disk is gone, and the epoch of this tab stands there again: all else is written anew from memory.
    pub fn handle_base_lost(&mut self, now_ms: u64) {
        self.note_disk_rev(None);
        self.pump(now_ms);
    }

    /// What is on disk of the base is of an older version, as was not known yet when this tab began to send.
    pub(crate) fn rewrite_base(&mut self) {
        if let Some(sender) = &mut self.sender {
            sender.rewrite = true;
        }
    }

    /// What is on disk of the base is damaged: the sending tab writes it anew.
    pub(crate) fn write_base_again(&mut self) {
        match &mut self.sender {
            Some(sender) => (sender.rewrite, sender.replaced) = (true, true),
            None => self.broadcast("{\"t\":\"torn\"}".to_string()),
        }
    }

    fn base_chunks(&self) -> Vec<String> {
        let base = self.replica.base();
        let mut chunks = vec![write_snapshot_head(&self.schema, self.replica.rev, self.replica.digest, base.len())];
        for table in base.chunk_by(|a, b| a.0.table == b.0.table) {
            for rows in table.chunks(CHUNK_ROWS) {
                let mut chunk = String::new();
                crate::wire::write_rows(&self.schema, rows[0].0.table, rows.iter().map(|(key, row)| (key.id, *row)), &mut chunk);
                chunks.push(chunk);
            }
        }
        chunks
    }

    fn meta(&self, receipts: &SortedMap<u64, u64>) -> String {
        let mut out = String::from("{\"rev\":");
        write_uint(self.replica.rev, &mut out);
        out.push_str(",\"schema\":");
        write_uint(u64::from(self.schema.version), &mut out);
        out.push_str(",\"sent\":");
        let wanted = self.sender.as_ref().map_or(0, |sender| sender.sent_wanted);
        write_uint(self.sent_on_disk.max(wanted), &mut out);
        out.push_str(",\"digest\":\"");
        write_hex128(self.replica.digest.0, &mut out);
        out.push_str("\",\"receipts\":{");
        let mut all = self.receipts.clone();
        for (client, receipt) in receipts.iter() {
            all.insert(*client, *receipt);
        }
        for (i, (client, receipt)) in all.iter().enumerate() {
            out.push_str(if i > 0 { ",\"" } else { "\"" });
            write_hex64(*client, &mut out);
            out.push_str("\":\"");
            write_hex64(*receipt, &mut out);
            out.push('"');
        }
        out.push_str("},\"answered\":[");
        if let Some(sender) = &self.sender {
            for (i, key) in sender.answered.iter().enumerate() {
                out.push_str(if i > 0 { ",\"" } else { "\"" });
                write_key(*key, &mut out);
                out.push('"');
            }
        }
        out.push_str("]}");
        out
    }

    pub(crate) fn note_answered(&mut self, keys: Vec<Key>) {
        if let Some(sender) = &mut self.sender {
            sender.answered.extend(keys);
        }
    }

    pub(crate) fn forget_answered(&mut self, keys: &[Key]) {
        if let Some(sender) = &mut self.sender {
            for key in keys {
                sender.answered.remove(key);
            }
        }
    }

    /// A record of what is over has turned up: an earlier sender had no time to delete it.
    pub(crate) fn settle_again(&mut self, slot: u32, key: Key) {
        if let Some(sender) = self.sender.as_mut().filter(|_| !self.leaving.contains(&key)) {
            sender.uncommitted.push((slot, key));
        }
    }

    /// Whether the disk still has waiting what the server has taken.
    pub fn is_settling(&self) -> bool {
        self.unsettled() != [&[], &[]]
    }

    /// Whether a key is in the base in memory, and perhaps not yet in that on disk.
    pub(crate) fn is_settled(&self, key: Key) -> bool {
        let told = self.undeleted.iter().any(|left| left.key == key && left.rev <= self.replica.rev);
        told || self.unsettled().iter().any(|list| list.iter().any(|settled| settled.1 == key))
    }

    /// What is in the base in memory, and not yet in that on disk: what waits for a commit, and what is in one.
    pub(crate) fn unsettled(&self) -> [&[(u32, Key)]; 2] {
        let Some(sender) = &self.sender else { return [&[], &[]] };
        [&sender.uncommitted, sender.commit.as_ref().map_or(&[], |commit| &commit.settled)]
    }
}
