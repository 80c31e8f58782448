//! What went wrong, in a form that a program can branch on and a person can act on.

use crate::json::Json;
use crate::limits::is_space_name;
use crate::schema::Schema;
use crate::value::{RowId, RowKey, write_string};

/// A problem with one transaction: a stable `code`, a sentence that says what to do, and the rows concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub code: String,
    pub detail: String,
    /// Table name and row id.
    pub rows: Vec<(String, RowId)>,
}

impl Problem {
    pub fn new(code: &str, detail: impl Into<String>) -> Problem {
        Problem { code: code.to_string(), detail: detail.into(), rows: Vec::new() }
    }

    pub fn invalid(detail: impl Into<String>) -> Problem {
        Problem::new("invalid", detail)
    }

    pub fn row(mut self, schema: &Schema, key: RowKey) -> Problem {
        self.rows.push((schema.tables[key.table as usize].name.clone(), key.id));
        self
    }

    /// RFC 9457 members, as one JSON object.
    pub fn write_json(&self, out: &mut String) {
        out.push_str("{\"type\":\"urn:driftline:");
        out.push_str(&self.code);
        out.push_str("\",\"code\":\"");
        out.push_str(&self.code);
        out.push_str("\",\"title\":");
        write_string(title(&self.code), out);
        out.push_str(",\"detail\":");
        write_string(&self.detail, out);
        out.push_str(",\"rows\":[");
        for (i, (table, id)) in self.rows.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            out.push_str("{\"table\":");
            write_string(table, out);
            out.push_str(",\"id\":\"");
            id.write(out);
            out.push_str("\"}");
        }
        out.push_str("]}");
    }

    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    /// Reads what [`Problem::write_json`] wrote; unknown members are passed over.
    pub fn from_json(json: &Json) -> Problem {
        // It is written into texts as it is, so its letters are those of a space's name.
        let code = json.text("code").filter(|code| is_space_name(code)).unwrap_or("");
        let mut problem = Problem::new(code, json.text("detail").unwrap_or(""));
        for row in json.list("rows") {
            if let (Some(table), Some(id)) = (row.text("table"), row.text("id").and_then(RowId::parse)) {
                problem.rows.push((table.to_string(), id));
            }
        }
        problem
    }
}

fn title(code: &str) -> &'static str {
    match code {
        "invalid" => "The transaction is not valid",
        "schema_newer" => "The transaction is of a later schema version",
        "schema_too_old" => "The transaction is of a schema version that is no longer known",
        "schema_dropped" => "What the transaction edits is gone from the schema",
        "row_exists" => "The row exists already",
        "row_deleted" => "The row was deleted",
        "row_unknown" => "The row is not known",
        "missing_parent" => "A row that is referred to does not exist",
        "restricted" => "Other rows still need this row",
        "cycle" => "Rows need each other through required references",
        "conflicts_full" => "Too many texts wait to be settled",
        "set_full" => "The set is full",
        "key_reused" => "The key was used for another transaction",
        "too_late" => "The transaction that this replaces has taken effect",
        "unit_refused" => "Another transaction of the unit was refused",
        "outcome_unknown" => "What became of the transaction is no longer known",
        "suspended" => "The server fails on this transaction",
        "row_newer" => "The row is newer than what was written",
        "reference_dropped" => "A reference to a deleted row was dropped",
        "denied" => "A rule of this app refuses it",
        "outbox_full" => "Too much waits to be sent",
        "closed" => "The space is closed",
        _ => "The request cannot be served",
    }
}
