//! The Driftline sync server: a thin shell of axum and a database around `driftline-core`.
//!
//! A push runs through three steps: load what the decision needs in a few set-based reads ([`store`]), decide by the
//! core's pure `reconcile`, and commit the plan in bulk together with log and marks. What writes is
//! a thread, or on PostgreSQL a few ([`writer`]); answers leave after the commit.
//!
//! Modules in reading order: what runs ([`server`], [`router`], [`guard`]), a push's way ([`writer`], [`store`],
//! `load`, `write`, [`tables`]), what it leaves for later (`jobs`: `reap`, `prune`, `search`, `versions`; `effects` and its `calls`), readers ([`log`],
//! [`snapshot`], [`live`], `presence`, `feed`, `history`), files (`blobs`), who may, and how much ([`auth`], `keys`, `quota`), an app's own code (`rules`,
//! `editor`), how tables change ([`migrate`], `rebuild`, `ddl`, `apply`), where the database is and how it is spoken to ([`place`],
//! [`db`]), how it is copied and put back ([`backup`]), what several servers tell each other (`notes`), whether all is well ([`check`],
//! `metrics`), what a disk may do (`disk`), and how to see it fail ([`fault`]).
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use driftline_server::{Config, Server, Tokens};
//! let config = Config::new("schema.json", "migrations", std::path::Path::new("data"));
//! let server = Server::open(config, std::sync::Arc::new(Tokens::new(b"a secret of at least 32 bytes......")))?;
//! let app = axum::Router::new().nest("/sync", server.router());
//! # Ok(()) }
//! ```

mod apply;
pub mod auth;
pub mod backup;
mod blobs;
pub mod check;
mod clock;
mod counts;
pub mod db;
mod ddl;
mod diff;
mod disk;
mod editor;
#[cfg(feature = "webhooks")]
pub mod effects;
pub mod error;
pub mod fault;
mod feed;
pub mod guard;
mod history;
#[cfg(any(feature = "jwks", feature = "telemetry", feature = "webhooks"))]
mod http;
mod jobs;
#[cfg(feature = "jwks")]
pub mod keys;
mod linger;
pub mod live;
mod load;
pub mod log;
mod metrics;
pub mod migrate;
#[cfg(feature = "postgres")]
mod notes;
pub mod place;
mod planner;
mod presence;
mod prune;
mod quota;
mod reap;
mod rebuild;
pub mod router;
mod rules;
mod search;
pub mod server;
pub mod snapshot;
pub mod store;
mod system;
pub mod tables;
#[cfg(feature = "telemetry")]
pub mod telemetry;
mod versions;
mod write;
pub mod writer;

pub use auth::{Action, AuthError, Authorizer, Claims, Open, Principal, Role, Tokens};
pub use editor::{EditError, Editor};
pub use error::ApiError;
pub use fault::Faults;
pub use jobs::Keeping;
#[cfg(feature = "jwks")]
pub use keys::{Keys, KeysConfig};
pub use place::Place;
pub use quota::Limits;
pub use rules::{Proposal, Ruled, Rules};
pub use search::Search;
pub use server::{Config, Server, StartError};
