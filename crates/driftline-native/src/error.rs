//! What went wrong, for a program to branch on and a person to act on.

use crate::storage::StorageError;
use driftline_core::problem::Problem;
use serde_json::Value;

/// A stable `code`, a sentence that says what to do, and the rows concerned.
///
/// Beside the codes of refused transactions (`docs/protocol.md`): `closed`, `not_saved`, `discarded`, `parked`, `in_use`, `invalid`,
/// `invalid_schema`, `invalid_file`, `wrong_app`, `wrong_user`, `wrong_space`, `outbox_full`, and those that begin with `storage_`
/// ([`StorageError`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub code: String,
    pub detail: String,
    /// Table and id.
    pub rows: Vec<(String, String)>,
}

impl Error {
    pub fn new(code: &str, detail: impl Into<String>) -> Error {
        Error { code: code.to_string(), detail: detail.into(), rows: Vec::new() }
    }

    pub(crate) fn closed() -> Error {
        Error::new("closed", "the space is closed; what waits is kept, and is sent when it is opened again")
    }

    /// Reads a problem as the engine writes it.
    pub(crate) fn read(problem: &Value) -> Error {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let rows = problem["rows"].as_array().into_iter().flatten();
        Error {
            code: text(&problem["code"]),
            detail: text(&problem["detail"]),
            rows: rows.map(|row| (text(&row["table"]), text(&row["id"]))).collect(),
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Error {}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Error {
        let rows = problem.rows.into_iter().map(|(table, id)| (table, id.to_string())).collect();
        Error { code: problem.code, detail: problem.detail, rows }
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Error {
        Error::new(error.code, error.detail)
    }
}
