//! The wasm shell of Driftline: a [`session::Session`] per open space.
//!
//! The core decides; this crate carries out. `driver` is the one loop that runs effects and feeds results back; `outbox` and
//! `base` are the two kinds of database, over `idb`, `locks` and `channel` what tabs share, `net` the server. JavaScript comes in through
//! `session` and nowhere else. Natively the crate is empty, because there is no browser to be a shell of.
#![cfg(target_arch = "wasm32")]

mod base;
mod channel;
mod driver;
mod idb;
mod js;
mod locks;
mod net;
mod outbox;
mod session;

pub use session::Session;
