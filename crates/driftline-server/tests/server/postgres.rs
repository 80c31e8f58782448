//! The same contract on PostgreSQL: a real one, which these tests start in a folder of their own.

mod access;
mod cluster;
mod commit;
mod fields;
mod integrity;
mod live;
mod push;
mod restore;
#[allow(dead_code, reason = "some of it is for tests of files")]
mod world;

/// Where the databases of these tests are.
fn place(_: &tempfile::TempDir) -> driftline_server::Place {
    cluster::database()
}
