pub mod adopt;
pub mod backup;
pub mod check;
#[cfg(feature = "webhooks")]
pub mod effects;
pub mod migrate;
mod places;
pub mod restore;
pub mod serve;
pub mod token;
