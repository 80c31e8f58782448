//! The client on real files against the real server. Names begin with the rule that they show.

mod client;
mod kills;
mod shared;
mod storage;
mod world;
