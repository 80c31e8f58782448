pub mod adopt;
pub mod backup;
pub mod check;
mod data;
#[cfg(feature = "webhooks")]
pub mod effects;
pub mod migrate;
pub mod restore;
pub mod serve;
pub mod token;
