//! Driftline without a browser: the engine of `driftline-core` with SQLite for its disk, HTTP and a WebSocket for its server.
//!
//! [`Client::open`] opens one space. Every edit is seen at once, is on disk when [`Change::saved`] resolves, and has taken effect on
//! the server, exactly once, when [`Change::accepted`] does. Nothing waits for the network: offline is a state, not an error.
//!
//! ```no_run
//! # fn main() -> Result<(), driftline_native::Error> {
//! use driftline_native::{Client, Edits, Options, new_id};
//! use serde_json::json;
//!
//! let schema = r#"{"name": "notes", "version": 1, "tables": {"note": {"fields": {"text": {"type": "text"}}}}}"#;
//! let client = Client::open(Options::new("notes.db", schema, "my-notes", "http://127.0.0.1:4077"))?;
//! let change = client.transact(Edits::new().create("note", &new_id(), json!({"text": "Hello"}))).wait()?;
//! assert_eq!(client.rows("note").wait()?.len(), 1);
//! // Both are futures; any executor will do.
//! let (saved, accepted) = (change.saved(), change.accepted());
//! # drop((saved, accepted));
//! client.close().wait()
//! # }
//! ```
//!
//! Modules in reading order: what an app holds (`client`, `options`, `edits`, `change`, `event`, `rows`, `error`), the task that owns the
//! engine (`task`, `actor`, with `effects`, `asks`, `waits` and `files`), what it stands on ([`storage`] behind `keeper`, [`network`]),
//! and files of unsynced work (`transfer`).
#![forbid(unsafe_code)]

mod actor;
mod change;
mod client;
mod edits;
mod error;
mod event;
mod keeper;
pub mod network;
mod options;
mod random;
mod rows;
pub mod storage;
mod task;
mod transfer;

pub use change::Change;
pub use client::{Client, Reply, Subscription};
pub use edits::Edits;
pub use error::Error;
pub use event::{Changed, Event, State, Status};
pub use network::{Network, Web};
pub use options::{Home, Options, Token};
pub use random::new_id;
pub use rows::Row;
pub use storage::{Memory, Sqlite, Storage};
pub use task::Task;
pub use transfer::{Exported, Imported};

/// What the README shows compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
