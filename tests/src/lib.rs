//! Tests that need more than one crate, and the simulator as a library.

#[path = "../sim/mod.rs"]
pub mod sim;
