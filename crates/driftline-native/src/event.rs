//! What a client tells its app.

use crate::error::Error;
use crate::rows::Row;
use serde::Deserialize;

/// Something that the app has not asked for.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Rows of the view have changed: by this client, by others, or because something was taken back. In the order in which it happened.
    Rows(Vec<Changed>),
    Status(Status),
    /// The server has refused a transaction; it waits for a decision ([`crate::Client::retry`], `discard`, `amend`).
    Parked {
        key: String,
        error: Error,
    },
    /// The server fails on a transaction. It is tried again now and then, and holds only what depends on it.
    Suspended {
        key: String,
        error: Error,
    },
    /// The server did something otherwise than a transaction said, by the rules of its tables.
    Notice {
        key: String,
        error: Error,
    },
    /// A problem that belongs to no single transaction, such as a damaged record (`record_corrupt`).
    Trouble(Error),
}

/// A row that has changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    pub table: String,
    pub id: String,
    /// As it is now; `None` where it is gone.
    pub row: Option<Row>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The server has everything.
    Saved,
    Saving,
    Offline,
    /// With the reason in [`Status::reason`].
    NotSaving,
}

/// True within 5 s of any cause.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Status {
    pub state: State,
    /// Why nothing is saved. What begins with `storage_` is this device's: edits wait in memory until it can be written again.
    pub reason: Option<String>,
    /// For people and tests: queued, in flight, parked, revision, as in `q3 f2 p1 r40`.
    pub line: String,
    pub queued: usize,
    pub in_flight: usize,
    pub parked: usize,
    /// The revision of the space that this device holds.
    pub rev: u64,
    /// Steps of this client that can be undone, and redone.
    pub undo: usize,
    pub redo: usize,
}

impl Status {
    pub(crate) fn opening() -> Status {
        Status {
            state: State::Saving,
            reason: Some("opening".to_string()),
            line: "q0 f0 p0 r0".to_string(),
            queued: 0,
            in_flight: 0,
            parked: 0,
            rev: 0,
            undo: 0,
            redo: 0,
        }
    }
}
