//! The same contract on PostgreSQL: a real one, which these tests start in a folder of their own.

mod access;
mod balanced;
mod beside;
mod blobs;
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
mod interrupted;
mod jobs;
mod large;
mod live;
mod migrating;
mod migrations;
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
mod upgrades;
mod versions;
#[allow(dead_code, reason = "some of it is for tests of files")]
mod world;

use driftline_server::Place;

/// Where the databases of these tests are.
fn place(_: &tempfile::TempDir) -> Place {
    cluster::common().database()
}

/// What the binary is told of it.
fn address(place: &Place) -> String {
    cluster::url(place)
}

/// Where one is that can be copied. It has a name, which only one test uses.
fn place_to_copy(_: &tempfile::TempDir, name: &str) -> Place {
    cluster::common().copy(None, name)
}

/// What another holds, which nobody uses meanwhile. The copy before of this name goes.
fn copy(of: &Place, _: &tempfile::TempDir, name: &str) -> Place {
    cluster::common().copy(Some(of), name)
}
