//! Unsynced work that leaves a device in a file, and comes to another.
//!
//! It travels under its keys and byte for byte, so that whichever device sends it first, the other's is a repeat. What is in a
//! file is frozen from then on: folded into, it would be something else under the same key.

use crate::digest::body_hash;
use crate::engine::{Engine, IMPORTED, write_key};
use crate::json::Json;
use crate::outbox::{Entry, Key, record_version};
use crate::problem::Problem;
use crate::value::{write_string, write_uint};

impl Engine {
    /// All that waits, as `{"records": […], "left_out": n}`: records as they stand on disk, those that could not be read among them.
    /// Left out is what other tabs have not handed over; they have been asked to, so that another call may find it. So is what this tab is still
    /// saving, unless it cannot: should it die, what is on disk would be something else under the same key.
    pub fn export_unsynced(&mut self, now_ms: u64) -> String {
        self.hear_freeze();
        let own = self.slot;
        let cannot_save = self.saving_problem().is_some();
        let is_handed_over = |entry: &Entry| (entry.frozen || entry.slot == own) && (entry.saved || cannot_save);
        let mut left_out = self.outbox.keys(&|e| !e.is_applied() && !is_handed_over(e)).len();
        let unread: Vec<Key> = self.damaged.iter().map(|damaged| damaged.key).collect();
        for (key, _) in self.unheard.iter() {
            left_out += usize::from(!unread.contains(key));
        }
        self.broadcast("{\"t\":\"freeze\"}".to_string());
        self.pump(now_ms);
        let mut records = Vec::with_capacity(self.outbox.len());
        for entry in self.outbox.iter().filter(|entry| !entry.is_applied() && is_handed_over(entry)) {
            records.push(entry.to_record(&self.schema));
        }
        for damaged in &self.damaged {
            records.push(damaged.record.clone());
        }
        let mut out = String::from("{\"records\":[");
        for (i, record) in records.iter().enumerate() {
            out.push_str(if i > 0 { "," } else { "" });
            write_string(record, &mut out);
        }
        out.push_str("],\"left_out\":");
        write_uint(left_out as u64, &mut out);
        out.push('}');
        out
    }

    /// Freezes what this tab may alter, and shows it: from now on it may take effect by way of another device.
    pub(crate) fn hear_freeze(&mut self) {
        self.hurried = true;
        let mut own = Vec::new();
        let mut others = Vec::new();
        for key in self.outbox.keys(&|_| true) {
            let may_alter = self.may_alter(key);
            let Some(entry) = self.outbox.get_mut(key).filter(|_| may_alter) else { continue };
            (entry.frozen, entry.unanswered) = (true, true);
            let list = if entry.slot == self.slot { &mut own } else { &mut others };
            list.extend(entry.saved.then_some(key));
        }
        self.tell_txns(&own, true, None);
        self.tell_changed(&others);
    }

    /// Looks through records of a file, a JSON list of strings. Returns `{"puts": [["key", "record"], …], "message", "known",
    /// "unreadable"}`: what is to be written to the slot [`IMPORTED`], and told to every tab once it is on disk. Known is what waits
    /// here already. What is over is sent again, for it may have been discarded, and only the server can tell.
    pub fn admit(&self, records: &str) -> Result<String, Problem> {
        let json = Json::parse(records).map_err(|_| Problem::new("invalid_file", "this is no file of unsynced work"))?;
        let version = self.schema.version;
        let mut message = format!("{{\"schema\":{version},\"t\":\"txns\",\"slot\":{IMPORTED},\"frozen\":true,\"unsaved\":[]}}");
        let mut puts = String::new();
        let (mut known, mut unreadable, mut count, mut bytes) = (0, 0, 0, 0);
        for record in json.as_list().unwrap_or_default() {
            let record = record.as_str().unwrap_or_default();
            let Some(mut entry) = Entry::from_record(&self.schema, IMPORTED, record) else {
                self.refuse_newer(record)?;
                unreadable += 1;
                continue;
            };
            let key = entry.made.key;
            if let Some(waiting) = self.outbox.get(key) {
                // In the words of another version, it is the same.
                let same = waiting.is_same(&self.schema, body_hash(&entry.body)) || entry.is_same(&self.schema, body_hash(&waiting.body));
                if !same {
                    let detail = "other work waits here under the same numbers: this profile is a copy; import the file elsewhere";
                    return Err(Problem::new("key_reused", detail));
                }
                known += 1;
                continue;
            }
            if self.outbox.replacement(entry.made).is_some() {
                // It has been decided about here, and waits under another key.
                known += 1;
                continue;
            }
            if self.is_leaving(IMPORTED, key) {
                // The delete could come after what the file brings.
                return Err(Problem::new("in_flight", "the record of what is in the file is being deleted here; try again in a moment"));
            }
            entry.unanswered = true;
            count += 1;
            bytes += entry.body.len();
            let comma = if count > 1 { "," } else { "" };
            let record = entry.to_record(&self.schema);
            message.push('\n');
            message.push_str(&record);
            puts.push_str(comma);
            puts.push_str("[\"");
            write_key(key, &mut puts);
            puts.push_str("\",");
            write_string(&record, &mut puts);
            puts.push(']');
        }
        self.refuse_overfull(count, bytes)?;
        let mut told = String::new();
        write_string(&message, &mut told);
        Ok(format!("{{\"puts\":[{puts}],\"message\":{told},\"known\":{known},\"unreadable\":{unreadable}}}"))
    }

    fn refuse_newer(&self, record: &str) -> Result<(), Problem> {
        if record_version(record).is_some_and(|version| version > u64::from(self.schema.version)) {
            return Err(Problem::new("schema_newer", "the file is of a newer version of this app: load the page again, then import it"));
        }
        Ok(())
    }
}
