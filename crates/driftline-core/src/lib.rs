//! The pure heart of Driftline.
//!
//! No IO, no clock, no randomness, no async and no wasm-bindgen: time and chance are arguments, effects are
//! return values. The same input gives the same output, byte for byte, natively and in a browser.
//!
//! Modules in reading order: what a row is ([`schema`], [`value`]), what a change is ([`edit`], [`upgrade`], [`problem`]), how it
//! takes effect ([`merge`], [`text`], [`field`], [`rows`], [`order`], [`counts`], [`integrity`]), how it is told apart from its repeats
//! ([`dedupe`]), and the two control flows: the server's ([`load`], [`reconcile`]) and the client's ([`outbox`],
//! [`replica`], [`backoff`], [`engine`]). [`wire`] is the only module that knows the bytes of messages.
#![forbid(unsafe_code)]

pub mod backoff;
pub mod clock;
pub mod counts;
pub mod dedupe;
pub mod digest;
pub mod edit;
pub mod engine;
pub mod field;
pub mod fold;
pub mod integrity;
pub mod json;
pub mod limits;
pub mod load;
pub mod merge;
pub mod order;
pub mod outbox;
pub mod parked;
pub mod patch;
pub mod peers;
pub mod problem;
pub mod reconcile;
pub mod replica;
pub mod report;
pub mod rows;
pub mod schema;
pub mod sender;
pub mod sorted;
pub mod text;
pub mod trace;
pub mod transfer;
pub mod undo;
pub mod upgrade;
pub mod value;
pub mod wire;
