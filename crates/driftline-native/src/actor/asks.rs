//! What an app asks for.

use super::{Actor, Listener};
use crate::change::Change;
use crate::edits::Edits;
use crate::error::Error;
use crate::rows::Row;
use driftline_core::engine::write_key;
use driftline_core::problem::Problem;
use driftline_core::value::{RowId, RowKey};
use serde_json::Value;

/// Entries of the outbox that are shown at once.
const OUTBOX_SHOWN: usize = 1_000;

type Made = (driftline_core::outbox::Key, String);

impl Actor {
    pub(crate) fn transact(&mut self, edits: &Edits) -> Result<Change, Error> {
        self.refuse_closing()?;
        let made = self.tell(|engine, now| engine.transact(now, &edits.to_json()))?;
        Ok(self.made(made))
    }

    pub(crate) fn take_back(&mut self, redo: bool) -> Result<Vec<Change>, Error> {
        self.refuse_closing()?;
        let made = self.tell(|engine, now| if redo { engine.redo(now) } else { engine.undo(now) })?;
        Ok(made.into_iter().map(|made| self.made(made)).collect())
    }

    fn made(&mut self, (key, patch): Made) -> Change {
        let mut text = String::new();
        write_key(key, &mut text);
        let progress = self.changes.add(text);
        self.show(&patch);
        Change::new(progress, self.asks_back.clone())
    }

    fn refuse_closing(&self) -> Result<(), Error> {
        if self.is_closing { Err(Error::closed()) } else { Ok(()) }
    }

    pub(crate) fn rows(&self, table: &str) -> Result<Vec<Row>, Error> {
        let (schema, number) = (self.engine.schema(), self.table(table)?);
        let rows = self.engine.replica().view().iter().filter(|(key, _)| key.table == number);
        Ok(rows.map(|(key, row)| Row::of(schema, *key, row)).collect())
    }

    pub(crate) fn row(&self, table: &str, id: &str) -> Result<Option<Row>, Error> {
        let (schema, table) = (self.engine.schema(), self.table(table)?);
        let Some(id) = RowId::parse(id) else { return Ok(None) };
        let key = RowKey { table, id };
        Ok(self.engine.replica().view().get(key).map(|row| Row::of(schema, key, row)))
    }

    fn table(&self, name: &str) -> Result<u16, Error> {
        let table = self.engine.schema().table(name);
        table.ok_or_else(|| Problem::invalid(format!("the schema has no table `{name}`")).into())
    }

    pub(crate) fn listen(&mut self, listener: Listener) {
        self.listeners.push(listener);
    }

    pub(crate) fn outbox(&mut self) -> Result<Vec<Value>, Error> {
        let text = self.tell(|engine, now| engine.outbox_json(now, OUTBOX_SHOWN));
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    pub(crate) fn decide(&mut self, decision: &Value) -> Result<(), Error> {
        self.refuse_closing()?;
        let decision = decision.to_string();
        Ok(self.tell(|engine, now| engine.decide(now, &decision))?)
    }

    pub(crate) fn set_online(&mut self, online: bool) {
        self.tell(|engine, now| engine.set_online(now, online));
    }
}
