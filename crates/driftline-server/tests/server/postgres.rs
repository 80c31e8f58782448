//! The same contract on PostgreSQL: a real one, which these tests start in a folder of their own.

mod access;
mod balanced;
mod beside;
mod check;
mod cluster;
mod commit;
mod counts;
#[cfg(feature = "webhooks")]
mod effects;
mod evolve;
mod feed;
mod fields;
mod findings;
mod hooks;
mod integrity;
mod jobs;
mod large;
mod live;
mod plans;
mod presence;
mod publishing;
mod push;
mod restore;
mod search;
mod serving;
mod sessions;
mod shared;
mod stages;
mod statements;
mod tls;
mod versions;
#[allow(dead_code, reason = "some of it is for tests of files")]
mod world;

/// Where the databases of these tests are.
fn place(_: &tempfile::TempDir) -> driftline_server::Place {
    cluster::database()
}
