//! An app's own word on each edit, before it is decided: whether a row may be as somebody wants it, and by whom.

use crate::auth::SERVER_PREFIX;
use driftline_core::edit::{Edit, Merge, Op};
use driftline_core::problem::Problem;
use driftline_core::schema::Schema;
use driftline_core::value::{Row, RowId, Value};
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// An app's rules, in Rust. They are asked inside the transaction that decides, once for each edit that is new: what was answered
/// before is not asked about again. They must be quick, and wait for nobody. One that panics refuses that request with `internal`.
///
/// `Restore` makes a row, as `Create` does; so may an update of a row that is not there, which comes as `Restore` then. What a delete
/// takes with it, the schema decides and no rule is asked.
pub trait Rules: Send + Sync {
    /// # Errors
    /// A sentence for the person who made the edit. Its transaction is refused with the code `denied`, whole.
    fn judge(&self, proposal: &Proposal<'_>) -> Result<(), String>;
}

/// One edit, who wants it, and the row that it is about.
pub struct Proposal<'a> {
    pub space: &'a str,
    /// Of server-side code, the name that it writes under.
    pub principal: &'a str,
    pub(crate) schema: &'a Schema,
    pub(crate) edit: &'a Edit,
    pub(crate) before: Option<&'a Row>,
}

impl Proposal<'_> {
    pub fn op(&self) -> Op {
        self.edit.op
    }

    pub fn table(&self) -> &str {
        &self.schema.tables[self.edit.row.table as usize].name
    }

    pub fn id(&self) -> RowId {
        self.edit.row.id
    }

    /// Whether the edit concerns a field or a reference: sets it, adds to it, or is merged into it.
    pub fn touches(&self, field: &str) -> bool {
        self.column(field).is_some_and(|at| self.edit.set.iter().any(|set| set.0 == at) || self.edit.add.iter().any(|add| add.0 == at))
    }

    /// What the edit sets a field or a reference to; `None` where it does not set it.
    pub fn sets(&self, field: &str) -> Option<Json> {
        let at = self.column(field)?;
        self.edit.set.iter().find(|set| set.0 == at).map(|set| self.json(at, &set.1))
    }

    /// What is worked into a field, as the protocol has it: `{"add": 2}`, `{"text": ["was", "is"]}`, or `{"insert": […], "remove": […]}`.
    pub fn merges(&self, field: &str) -> Option<Json> {
        let at = self.column(field)?;
        let merge = &self.edit.add.iter().find(|add| add.0 == at)?.1;
        Some(match merge {
            Merge::Add(by) => json!({ "add": by }),
            Merge::Text { from, to } => json!({"text": [self.json(at, from), self.json(at, to)]}),
            Merge::Set { insert, remove } => json!({"insert": insert, "remove": remove}),
        })
    }

    /// Whether the server's own code wants it.
    pub fn is_server(&self) -> bool {
        self.principal.starts_with(SERVER_PREFIX)
    }

    /// What a field or a reference is before the edit's unit; `None` where the row is not there.
    pub fn before(&self, field: &str) -> Option<Json> {
        let at = self.column(field)?;
        self.before.map(|row| self.json(at, &row.values[at as usize]))
    }

    fn column(&self, field: &str) -> Option<u16> {
        self.schema.tables[self.edit.row.table as usize].column(field)
    }

    fn json(&self, column: u16, value: &Value) -> Json {
        let mut text = String::new();
        value.write_json(self.schema, &self.schema.tables[self.edit.row.table as usize].columns[column as usize], &mut text);
        serde_json::from_str(&text).unwrap_or_default()
    }
}

/// Rules, for a struct that is printed.
#[derive(Clone)]
pub struct Ruled(pub Arc<dyn Rules>);

impl std::fmt::Debug for Ruled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rules")
    }
}

impl Ruled {
    pub(crate) fn judge(&self, proposal: Proposal) -> Result<(), Problem> {
        self.0.judge(&proposal).map_err(|detail| Problem::new("denied", detail).row(proposal.schema, proposal.edit.row))
    }
}
