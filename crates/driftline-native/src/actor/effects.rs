//! What the engine wants done, and what comes of it.

use super::{Actor, Failing};
use crate::error::Error;
use crate::event::{Changed, Event, Status};
use crate::keeper::{Done, Found, Reading, Work};
use crate::network::{Answer, Heard, NetworkError};
use crate::rows::Row;
use crate::storage::{Commit, STALE_EPOCH, Save, StorageError};
use driftline_core::engine::Effect;
use driftline_core::sender::SendFailure;
use driftline_core::value::{RowId, RowKey};
use serde_json::Value;

/// How long to wait before what could not be read is read again.
const READ_AGAIN_MS: u64 = 1_000;

impl Actor {
    pub(super) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Save { id, slot, client, puts, deletes } => {
                self.keeper.begin(Work::Save { id, slot, save: Save { client, puts, deletes } });
            }
            Effect::Commit { id, epoch, meta, tail, base } => {
                self.keeper.begin(Work::Commit { id, commit: Commit { epoch, meta, tail, base } });
            }
            Effect::Push { id, body } => self.request = Some((id, self.network.push(body))),
            Effect::Fetch { id } => self.request = Some((id, self.network.fetch())),
            Effect::Abort { id } => drop(self.request.take_if(|request| request.0 == id)),
            Effect::Connect { cursor } => self.live = Some(self.network.connect(cursor)),
            Effect::Disconnect => self.live = None,
            Effect::Reload => self.keeper.begin(Work::Read(Reading::Reload)),
            Effect::RenewEpoch { at_least } => match self.engine.epoch() {
                Some(ours) => self.keeper.begin(Work::RenewEpoch { ours, at_least }),
                None => self.renewed(None),
            },
            Effect::Patch(patch) => self.show(&patch),
            Effect::Event(event) => self.hear(&event),
            Effect::Wake { at_ms } => self.wake_at_ms = Some(at_ms),
            // Nobody else has this space open.
            Effect::Broadcast(_) | Effect::Replace => {}
        }
    }

    // ---- the disk ----

    pub(super) fn take_done(&mut self, done: Done) {
        match done {
            Done::Saved { id, slot, result: Ok(()) } => self.tell(|engine, now| engine.handle_saved(now, slot, id)),
            Done::Saved { id, slot, result: Err(error) } => {
                self.tell(|engine, now| engine.handle_save_failed(now, slot, id, error.code));
            }
            Done::Committed { id, result: Ok(()) } => self.tell(|engine, now| engine.handle_committed(now, id)),
            Done::Committed { id, result: Err(error) } => {
                self.tell(|engine, now| engine.handle_commit_failed(now, id, error.code));
                if error.code == STALE_EPOCH && self.engine.epoch().is_none() {
                    self.keeper.begin(Work::Read(Reading::Lead));
                }
            }
            Done::Renewed(result) => self.renewed(result.ok().flatten()),
            Done::Imported { number, result } => self.imported(number, result),
            Done::Read(reading, found) => self.take_read(reading, found),
        }
    }

    fn renewed(&mut self, epoch: Option<u64>) {
        self.tell(|engine, now| engine.handle_epoch(now, epoch));
        if epoch.is_none() {
            self.keeper.begin(Work::Read(Reading::Lead));
        }
    }

    fn take_read(&mut self, reading: Reading, found: Result<Found, StorageError>) {
        self.failing.retain(|failing| failing.reading != reading);
        let found = match found {
            Ok(found) => Some(found),
            Err(error) => {
                let again_at_ms = Some(self.now_ms() + READ_AGAIN_MS);
                self.failing.push(Failing { reading, code: error.code, again_at_ms });
                None
            }
        };
        let code = self.failing.first().map(|failing| failing.code.to_string());
        self.tell(|engine, now| engine.handle_storage(now, code));
        let Some(Found { epoch, mut disk }) = found else { return };
        self.tell(|engine, now| match reading {
            Reading::Reload => engine.handle_reloaded(now, disk),
            Reading::Imported => disk.slots.drain(..).for_each(|slot| engine.handle_adopted(now, slot)),
            Reading::Lead => engine.handle_lead(now, epoch, disk.meta.as_deref(), disk.slots),
        });
    }

    /// Reads what could not be read, where it is time to.
    pub(super) fn read_again(&mut self, now_ms: u64) {
        for failing in &mut self.failing {
            if failing.again_at_ms.take_if(|at_ms| *at_ms <= now_ms).is_some() {
                self.keeper.begin(Work::Read(failing.reading));
            }
        }
    }

    // ---- the server ----

    pub(super) fn take_answer(&mut self, id: u64, answer: Result<Answer, NetworkError>) {
        self.request = None;
        self.tell(|engine, now| match answer {
            Ok(Answer { status, retry_after_ms, body }) => engine.handle_answer(now, id, status, retry_after_ms, &body),
            Err(_) => engine.handle_send_failed(now, id, SendFailure::Network),
        });
    }

    pub(super) fn take_heard(&mut self, heard: Option<Heard>) {
        if heard.is_none() {
            self.live = None;
        }
        self.tell(|engine, now| match heard {
            Some(Heard::Open) => engine.handle_live_open(now),
            Some(Heard::Message(text)) => engine.handle_live_message(now, &text),
            None => engine.handle_live_closed(now),
        });
    }

    // ---- the app ----

    pub(super) fn publish(&mut self, event: &Event) {
        self.listeners.retain(|listener| listener.0.strong_count() > 0);
        for (_, hear) in &mut self.listeners {
            hear(event);
        }
    }

    /// A patch of the view, as the core writes it: `[table, id, …]` for each row.
    pub(super) fn show(&mut self, patch: &str) {
        if self.listeners.is_empty() {
            return;
        }
        let patch: Vec<Vec<Value>> = serde_json::from_str(patch).unwrap_or_default();
        let changed: Vec<Changed> = patch.iter().filter_map(|row| self.changed(row)).collect();
        if !changed.is_empty() {
            self.publish(&Event::Rows(changed));
        }
    }

    fn changed(&self, patch: &[Value]) -> Option<Changed> {
        let (table, id) = (patch.first()?.as_str()?, patch.get(1)?.as_str()?);
        let schema = self.engine.schema();
        let key = RowKey { table: schema.table(table)?, id: RowId::parse(id)? };
        let row = self.engine.replica().view().get(key).map(|row| Row::of(schema, key, row));
        Some(Changed { table: table.to_string(), id: id.to_string(), row })
    }

    fn hear(&mut self, event: &str) {
        let mut event: Value = serde_json::from_str(event).unwrap_or_default();
        let (name, key) = (text(&event, "event"), text(&event, "key"));
        let error = Error::read(&event["problem"]);
        match name.as_str() {
            "status" => self.take_status(event["status"].take()),
            "saved" => keys(&event).for_each(|key| self.changes.saved(key)),
            "accepted" => keys(&event).for_each(|key| self.changes.accepted(key)),
            "parked" => {
                self.changes.parked(&key, &error);
                self.publish(&Event::Parked { key, error });
            }
            "discarded" => {
                let detail = "the transaction was discarded, and the view shows the rows without it";
                self.changes.discarded(&key, &Error::new("discarded", detail));
            }
            "rekeyed" => self.changes.rekeyed(&text(&event, "from"), &text(&event, "to")),
            "suspended" => self.publish(&Event::Suspended { key, error }),
            "notice" => self.publish(&Event::Notice { key, error }),
            "error" => self.publish(&Event::Trouble(error)),
            _ => {}
        }
    }

    fn take_status(&mut self, status: Value) {
        let Ok(status) = serde_json::from_value::<Status>(status) else { return };
        self.status.send_replace(status.clone());
        self.publish(&Event::Status(status));
    }
}

fn text(event: &Value, name: &str) -> String {
    event[name].as_str().unwrap_or_default().to_string()
}

fn keys(event: &Value) -> impl Iterator<Item = &str> {
    event["keys"].as_array().into_iter().flatten().filter_map(Value::as_str)
}
