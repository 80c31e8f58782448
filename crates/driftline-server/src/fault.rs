//! Fault points: a way to see the real server fail where it matters.
//!
//! The environment variable `DRIFTLINE_FAULT`, read once when `driftline serve` or `driftline migrate apply` starts, is a comma-separated list of
//!
//! - `fail_row=<uuid>`: a push that names this row fails while its plan is written;
//! - `fail_statement=<n>`: the writer's nth statement fails instead of being run;
//! - `panic_row=<uuid>`: deciding a push that names this row panics;
//! - `abort_before_commit=<n>`: the process aborts instead of its nth commit;
//! - `abort_after_commit=<n>`: the process aborts after its nth commit and before any answer to it;
//! - `fail_after_commit=<n>`: the writer's nth commit takes effect, and those who wait for it hear that it failed;
//! - `abort_in_migration=<n>`: the process aborts instead of the nth statement of `migrate apply`.

use driftline_core::value::RowId;
use driftline_core::wire::Push;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    pub fail_row: Option<RowId>,
    pub fail_statement: Option<u64>,
    pub panic_row: Option<RowId>,
    pub abort_before_commit: Option<u64>,
    pub abort_after_commit: Option<u64>,
    pub fail_after_commit: Option<u64>,
    pub abort_in_migration: Option<u64>,
}

impl Faults {
    pub fn parse(text: &str) -> Result<Faults, String> {
        let mut faults = Faults::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let row = || RowId::parse(value).map(Some).ok_or_else(|| format!("DRIFTLINE_FAULT: `{name}` takes a row id"));
            let count = || value.parse().map(Some).map_err(|_| format!("DRIFTLINE_FAULT: `{name}` takes a number"));
            match name {
                "fail_row" => faults.fail_row = row()?,
                "fail_statement" => faults.fail_statement = count()?,
                "panic_row" => faults.panic_row = row()?,
                "abort_before_commit" => faults.abort_before_commit = count()?,
                "abort_after_commit" => faults.abort_after_commit = count()?,
                "fail_after_commit" => faults.fail_after_commit = count()?,
                "abort_in_migration" => faults.abort_in_migration = count()?,
                _ => return Err(format!("DRIFTLINE_FAULT: there is no fault point `{name}`")),
            }
        }
        Ok(faults)
    }

    pub fn names(row: Option<RowId>, push: &Push) -> bool {
        let Some(row) = row else { return false };
        let txns = push.units.iter().flat_map(|unit| &unit.txns).filter_map(|txn| txn.txn.as_ref().ok());
        txns.flat_map(|txn| &txn.edits).any(|edit| edit.row.id == row)
    }

    pub fn is_set(&self) -> bool {
        *self != Faults::default()
    }
}
