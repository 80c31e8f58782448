pub mod adopt;
pub mod backup;
pub mod check;
pub mod migrate;
pub mod restore;
pub mod serve;
pub mod token;
