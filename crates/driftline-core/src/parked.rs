//! What the user decides about transactions that wait: retry, amend, re-parent, detach, discard, export.
//!
//! A decision is a JSON object, `{"what", "key", …}`. An entry is altered by the sending tab once it is frozen, and by its
//! own tab before; a decision made elsewhere is passed on as it is.

use crate::dedupe::shared_client;
use crate::edit::{Edit, Op, Txn, read_edits};
use crate::engine::{Effect, Engine, Replaces, parse_key, write_key};
use crate::json::Json;
use crate::limits;
use crate::merge::Hlc;
use crate::outbox::{Entry, Key, Made, State};
use crate::problem::Problem;
use crate::schema::{Kind, Schema};
use crate::value::{RowId, RowKey, Value, write_string, write_uint};

/// A transaction of which nothing is known to have taken effect, and what it is to say from now on.
type Rewritten = (Key, Vec<Edit>);

/// What the server says where what a transaction stands for has taken effect.
const TOO_LATE: &str = "too_late";

/// No time takes more digits.
const LONGEST: Hlc = Hlc(u64::MAX);

impl Engine {
    /// Carries out a decision, or passes it on to the tab whose business it is:
    ///
    /// - `retry`: sends it again; if the server has answered it, under a new key.
    /// - `discard`, with `dependents` or without: takes it out for good; the view rolls back these and nothing else.
    /// - `amend`, with `edits`: it says something else from now on, under a new key.
    /// - `reparent`, `from` a row (`{"table", "id"}`) `to` another or null, with `dependents` or without: references move.
    /// - `detach`: references of others to rows that it makes become null, so that they no longer wait for it.
    pub fn decide(&mut self, now_ms: u64, decision: &str) -> Result<(), Problem> {
        let json = Json::parse(decision).map_err(Problem::invalid)?;
        let key = json.text("key").and_then(parse_key).ok_or_else(unknown_key)?;
        let dependents = json.flag("dependents");
        match json.text("what").unwrap_or("") {
            "retry" => self.retry(now_ms, key),
            "discard" => self.discard(now_ms, key, dependents),
            what @ ("amend" | "reparent" | "detach") => {
                let rewritten = self.rewritten(what, key, dependents, &json)?;
                if !self.may_alter(key) {
                    self.pass_on(decision);
                    return Ok(());
                }
                for (key, _) in &rewritten {
                    self.refuse_too_late(*key)?;
                    if !self.may_alter(*key) {
                        return Err(Problem::new("busy", "another tab is still writing what depends on it; try again in a moment"));
                    }
                }
                self.refuse_unanswered(key, &rewritten)?;
                for (key, edits) in rewritten {
                    let at = self.clock_next(now_ms);
                    self.rekey(key, Some(Txn { at, edits }));
                }
                self.redraw();
                self.pump(now_ms);
                Ok(())
            }
            _ => Err(Problem::invalid("`what` is retry, discard, amend, reparent or detach")),
        }
    }

    /// A decision made in another tab.
    pub(crate) fn hear_decision(&mut self, now_ms: u64, text: &str) {
        let json = Json::parse_or_null(text);
        let Some(key) = json.text("key").and_then(parse_key) else { return };
        if self.may_alter(key) {
            // Of what else is wrong with it whoever decided has been told already.
            if self.decide(now_ms, text).is_err_and(|problem| problem.code == "in_flight") {
                self.unsaid.push(text.to_string());
            }
        } else if self.outbox.get(key).is_some_and(|entry| entry.slot == self.slot) {
            // It has been offered meanwhile: now it is the sending tab's, which has heard of the offer before this.
            self.pass_on(text);
        }
    }

    pub(crate) fn may_alter(&self, key: Key) -> bool {
        match self.outbox.get(key) {
            Some(entry) if entry.frozen => self.sender.is_some(),
            Some(entry) => entry.slot == self.slot,
            None => false,
        }
    }

    fn pass_on(&mut self, decision: &str) {
        // The first member says what kind of message it is; of two of one name the later counts.
        // A message is one line; JSON has a line's end only where it has a space.
        let decision = decision.replace('\n', " ");
        let rest = decision.trim().strip_suffix('}').unwrap_or_default();
        let out = format!("{rest},\"t\":\"do\"}}");
        if self.peer.is_some() || self.sender.is_some() {
            self.broadcast(out);
        } else {
            self.unsaid.push(out);
        }
    }

    /// Carries out what was decided while no tab sent, as one does after a reload.
    pub(crate) fn carry_out_unsaid(&mut self, now_ms: u64) {
        for text in std::mem::take(&mut self.unsaid) {
            self.hear_decision(now_ms, &text);
        }
    }

    pub fn retry(&mut self, now_ms: u64, key: Key) -> Result<(), Problem> {
        let Some(entry) = self.outbox.get(key) else { return Err(unknown_key()) };
        if !self.may_alter(key) {
            self.pass_on(&decision("retry", key, false));
            return Ok(());
        }
        match entry.state.clone() {
            // It would wait for that row for ever, and be shown as on its way.
            State::Parked { problem, .. } if problem.code == "missing_parent" && self.lacking(key).is_some() => return Err(problem),
            State::Parked { spent: true, .. } => {
                self.refuse_too_late(key)?;
                self.rekey(key, None);
            }
            State::Parked { spent: false, .. } => {
                self.outbox.set_state(key, State::Queued);
                self.put(key);
                self.tell_changed(&[key]);
            }
            _ => {}
        }
        if let Some(entry) = self.outbox.get_mut(key) {
            (entry.fails, entry.aside_until_ms, entry.suspended) = (0, 0, false);
        }
        self.pump(now_ms);
        Ok(())
    }

    pub fn discard(&mut self, now_ms: u64, key: Key, dependents: bool) -> Result<(), Problem> {
        if let Some(at) = self.damaged.iter().position(|damaged| damaged.key == key) {
            let damaged = self.damaged.swap_remove(at);
            self.unheard.remove(&key);
            self.delete(damaged.slot, key);
            self.pump(now_ms);
            return Ok(());
        }
        if self.outbox.get(key).is_none() {
            return Err(unknown_key());
        }
        if !self.may_alter(key) {
            self.pass_on(&decision("discard", key, dependents));
            return Ok(());
        }
        for key in self.group(key, dependents)? {
            if !self.may_alter(key) {
                // What another tab has not offered yet it may be folding this very moment.
                self.pass_on(&decision("discard", key, false));
                continue;
            }
            if let Some(entry) = self.outbox.remove(key) {
                self.delete(entry.slot, key);
                self.history.forget(key, &entry.edits);
                let mut event = String::from("{\"event\":\"discarded\",\"key\":\"");
                write_key(key, &mut event);
                event.push_str("\"}");
                self.effects.push_back(Effect::Event(event));
            }
        }
        self.redraw();
        self.pump(now_ms);
        Ok(())
    }

    /// A transaction, and with `dependents` all that cannot do without it. None of them may be on its way.
    fn group(&self, key: Key, dependents: bool) -> Result<Vec<Key>, Problem> {
        let group = if dependents { self.outbox.with_dependents(key) } else { vec![key] };
        let on_its_way = |entry: &Entry| matches!(entry.state, State::InFlight | State::Applied { .. });
        if group.iter().any(|key| self.outbox.get(*key).is_some_and(on_its_way)) {
            return Err(Problem::new("in_flight", "it is on its way to the server; try again in a moment"));
        }
        Ok(group)
    }

    /// Under yet another key, it would take effect a second time.
    fn refuse_too_late(&self, key: Key) -> Result<(), Problem> {
        match self.outbox.get(key).map(|entry| &entry.state) {
            Some(State::Parked { problem, .. }) if problem.code == TOO_LATE => Err(problem.clone()),
            _ => Ok(()),
        }
    }

    /// Under a new key, what has taken effect already would do so once more. Nothing has, that waits for a refused one.
    fn refuse_unanswered(&self, root: Key, rewritten: &[Rewritten]) -> Result<(), Problem> {
        let is_parked = |entry: &Entry| matches!(entry.state, State::Parked { .. });
        let get = |key: Key| self.outbox.get(key);
        if get(root).is_some_and(is_parked) || !rewritten.iter().any(|(key, _)| get(*key).is_some_and(|e| e.unanswered && !is_parked(e))) {
            return Ok(());
        }
        Err(Problem::new("in_flight", "it may be with the server; try again when that has answered"))
    }

    // ---- saying something else ----

    /// What a decision makes of the transactions that it concerns; nothing has changed yet.
    fn rewritten(&self, what: &str, key: Key, dependents: bool, json: &Json) -> Result<Vec<Rewritten>, Problem> {
        let Some(root) = self.outbox.get(key) else { return Err(unknown_key()) };
        if what == "amend" {
            self.group(key, false)?;
            let edits = self.arranged(read_edits(&self.schema, json)?)?;
            return Ok(vec![(key, self.bounded(LONGEST, LONGEST.0 - 1, edits)?.0.edits)]);
        }
        let mut group = self.group(key, dependents || what == "detach")?;
        let (mut from, mut to) = (Vec::new(), None);
        if what == "detach" {
            group.retain(|member| *member != key);
            from.extend(root.edits.iter().filter(|edit| edit.makes()).map(|edit| edit.row));
        } else {
            from.push(self.read_row(json.get("from"))?);
            to = match json.get("to") {
                None | Some(Json::Null) => None,
                row => Some(self.read_row(row)?),
            };
        }
        let mut rewritten = Vec::new();
        for key in group {
            let Some(entry) = self.outbox.get(key) else { continue };
            let mut edits = entry.edits.clone();
            let mut changed = false;
            for edit in &mut edits {
                for i in 0..edit.set.len() {
                    let column = edit.set[i].0;
                    if matches!(edit.set[i].1, Value::Ref(target) if from.contains(&target)) {
                        edit.set[i].1 = self.pointed(edit.row, column, to)?;
                        changed = true;
                    }
                }
            }
            if changed {
                let edits = self.arranged(edits)?;
                rewritten.push((key, self.bounded(LONGEST, LONGEST.0 - 1, edits)?.0.edits));
            }
        }
        if rewritten.is_empty() {
            return Err(Problem::new("nothing_to_change", "nothing in this group refers to the row"));
        }
        Ok(rewritten)
    }

    /// A reference to another row, or to none, where the column may hold that.
    fn pointed(&self, row: RowKey, column: u16, to: Option<RowKey>) -> Result<Value, Problem> {
        let table = &self.schema.tables[row.table as usize];
        let column = &table.columns[column as usize];
        let fits = match (to, &column.kind) {
            (Some(target), Kind::Ref { to, .. }) => to.contains(&target.table),
            (Some(_), _) => false,
            (None, _) => column.nullable,
        };
        if fits {
            return Ok(to.map_or(Value::Null, Value::Ref));
        }
        let detail = format!("{}.{} cannot point there; amend or discard the transaction instead", table.name, column.name);
        Err(Problem::new("not_allowed", detail).row(&self.schema, row))
    }

    fn read_row(&self, json: Option<&Json>) -> Result<RowKey, Problem> {
        let table = json.and_then(|row| self.schema.table(row.text("table")?));
        let id = json.and_then(|row| RowId::parse(row.text("id")?));
        match (table, id) {
            (Some(table), Some(id)) => Ok(RowKey { table, id }),
            _ => Err(Problem::invalid("a row is {\"table\": …, \"id\": …}")),
        }
    }

    /// The server holds another transaction under this key: this profile is a copy. It goes on under an id of its own. What waits may be
    /// on other copies too: so it gets a key that each of them gives it, and takes effect once.
    pub(crate) fn reissue(&mut self, key: Key) {
        if key.0 == self.client {
            self.take_new_client();
        }
        let shared = (shared_client(key.0), key.1);
        let new = if self.outbox.get(shared).is_none() { shared } else { self.new_key() };
        self.rekey_as(key, new, None);
    }

    /// Gives a transaction whose key is spent, or must never count, a new one; and new content, if there is any.
    fn rekey(&mut self, key: Key, content: Option<Txn>) {
        let new = self.new_key();
        self.rekey_as(key, new, content);
    }

    fn rekey_as(&mut self, key: Key, new: Key, content: Option<Txn>) {
        let Some(mut entry) = self.outbox.remove(key) else { return };
        let old_slot = entry.slot;
        let mut was = std::mem::take(&mut entry.was);
        was.push(key);
        let made = Made { at: entry.made.at, key: new };
        if let Some(txn) = content {
            let mut releases = self.releases(&txn.edits);
            releases.append(&mut entry.releases);
            crate::sorted::sort_dedup(&mut releases);
            let body = txn.to_body(&self.schema, made.at);
            let old = std::mem::replace(&mut entry, txn.into_entry(body, made, self.slot, releases, Vec::new()));
            (entry.after, entry.seen, entry.version) = (old.after, old.seen, old.version);
            entry.awaits = self.awaits(&entry.edits);
            // What it did is no more.
            self.history.forget(key, &old.edits);
        }
        entry.made = made;
        entry.slot = self.slot;
        entry.state = State::Queued;
        entry.was = was.split_off(was.len().saturating_sub(limits::REPLACED_KEYS));
        (entry.version, entry.saved, entry.frozen, entry.unanswered) = (entry.version + 1, false, false, false);
        (entry.fails, entry.aside_until_ms, entry.suspended) = (0, 0, false);
        self.outbox.insert(entry);
        self.history.rekey(key, new);
        self.put(new);
        if self.outbox.made_at(made.at).nth(1).is_some() {
            // Among those made at the same time its key decides about its place.
            self.redraw();
        }
        // The old record goes when the new one is on disk, so that a crash in between leaves both and not neither.
        self.leaving.insert(key);
        // One that never got there left its own behind.
        self.replaces.iter_mut().filter(|replaces| replaces.new == key).for_each(|replaces| replaces.new = new);
        self.replaces.push(Replaces { new, slot: old_slot, old: key, goes: false });
        let followers = self.outbox.keys(&|e| e.after.contains(&key));
        // Another tab's record is that tab's to write, or the sending one's. Where it names what was retried, it means the retry.
        for follower in followers.into_iter().filter(|follower| self.may_alter(*follower)).collect::<Vec<_>>() {
            self.outbox.follow(follower, key, new);
            self.put(follower);
        }
        let mut event = String::from("{\"event\":\"rekeyed\",\"from\":\"");
        write_key(key, &mut event);
        event.push_str("\",\"to\":\"");
        write_key(new, &mut event);
        event.push_str("\"}");
        self.effects.push_back(Effect::Event(event));
    }

    // ---- telling ----

    /// Transactions as a file may hold them: `{"name", "version", "transactions": [{"key", "made", "problem", "body",
    /// "before"}]}`. `problem` is null of what is not parked. `before` is what the server holds of the rows that they change, null where it holds none.
    pub fn export(&self, key: Key, dependents: bool) -> Result<String, Problem> {
        if self.outbox.get(key).is_none() {
            return Err(unknown_key());
        }
        let mut group = if dependents { self.outbox.with_dependents(key) } else { vec![key] };
        group.sort_unstable_by_key(|key| self.outbox.get(*key).map(|entry| entry.made));
        let mut out = String::from("{\"name\":");
        write_string(&self.schema.name, &mut out);
        out.push_str(",\"version\":");
        write_uint(u64::from(self.schema.version), &mut out);
        out.push_str(",\"transactions\":[");
        let mut first = true;
        for entry in group.iter().filter_map(|key| self.outbox.get(*key)) {
            out.push_str(if first { "{\"key\":\"" } else { ",{\"key\":\"" });
            first = false;
            write_key(entry.made.key, &mut out);
            out.push_str("\",\"made\":");
            write_uint(entry.made.at, &mut out);
            out.push_str(",\"problem\":");
            match &entry.state {
                State::Parked { problem, .. } => problem.write_json(&mut out),
                _ => out.push_str("null"),
            }
            out.push_str(",\"body\":");
            out.push_str(&entry.body);
            out.push_str(",\"before\":");
            self.write_before(entry, &mut out);
            out.push('}');
        }
        out.push_str("]}");
        Ok(out)
    }

    /// What the base holds of the rows of a transaction.
    pub(crate) fn write_before(&self, entry: &Entry, out: &mut String) {
        let mut rows: Vec<RowKey> = entry.edits.iter().map(|edit| edit.row).collect();
        crate::sorted::sort_dedup(&mut rows);
        out.push('[');
        for (i, row) in rows.into_iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            write_before_row(&self.schema, row, self.replica.base_row(row).map(|row| &row.values), out);
        }
        out.push(']');
    }
}

/// `{"op": "create", "table", "id", "set"}` where the row is there, and a delete where it is not: what leads back to it.
fn write_before_row(schema: &Schema, row: RowKey, values: Option<&Vec<Value>>, out: &mut String) {
    let mut edit = Edit::new(if values.is_some() { Op::Create } else { Op::Delete }, row);
    for (i, value) in values.into_iter().flatten().enumerate() {
        edit.set.push((i as u16, value.clone()));
    }
    edit.write_json(schema, out);
}

fn decision(what: &str, key: Key, dependents: bool) -> String {
    let mut out = format!("{{\"what\":\"{what}\",\"dependents\":{dependents},\"key\":\"");
    write_key(key, &mut out);
    out.push_str("\"}");
    out
}

fn unknown_key() -> Problem {
    Problem::new("unknown_key", "no such transaction waits; it may have been settled")
}
