//! The real router, writer and database, on a database of each test's own. Names begin with the rule that they show.

mod access;
mod backup;
mod beside;
mod blobs;
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
mod interrupted;
mod jobs;
#[cfg(feature = "jwks")]
mod keys;
mod large;
mod live;
mod migrating;
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

use driftline_server::Place;

/// Where the databases of these tests are.
fn place(directory: &tempfile::TempDir) -> Place {
    directory.path().join("data").into()
}

/// What the binary is told of it.
fn address(place: &Place) -> String {
    place.to_string()
}

/// Where one is that can be copied. It has a name, which only one test uses.
fn place_to_copy(directory: &tempfile::TempDir, _: &str) -> Place {
    place(directory)
}

/// What another holds, which nobody uses meanwhile.
fn copy(of: &Place, directory: &tempfile::TempDir, _: &str) -> Place {
    let place = place(directory);
    let file = place.file().unwrap();
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    of.connect().unwrap().into_sqlite().unwrap().execute("VACUUM INTO ?1", [file.to_str().unwrap()]).unwrap();
    place
}
