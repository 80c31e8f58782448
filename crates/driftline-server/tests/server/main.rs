//! The real router, writer and database, on a database of each test's own. Names begin with the rule that they show.

mod access;
mod backup;
mod beside;
mod check;
mod commit;
mod counts;
mod deleting;
#[cfg(feature = "webhooks")]
mod effects;
mod evolve;
mod feed;
mod fields;
mod findings;
mod grammar;
mod hooks;
mod integrity;
mod jobs;
#[cfg(feature = "jwks")]
mod keys;
mod large;
mod live;
mod migrations;
#[cfg(target_os = "linux")]
mod narrow;
mod plans;
mod presence;
mod process;
mod publishing;
mod push;
mod restore;
mod search;
mod serving;
mod sessions;
mod stages;
mod statements;
#[cfg(feature = "telemetry")]
mod telemetry;
mod upgrades;
mod versions;
#[allow(dead_code, reason = "some of it is for tests on PostgreSQL")]
mod world;

/// Where the databases of these tests are.
fn place(directory: &tempfile::TempDir) -> driftline_server::Place {
    directory.path().join("data").into()
}
