//! Migrations that are cut off, begun again, and begun by several at once, each on a copy of one database.

use crate::migrating::{catalog, plan_next, standing};
use crate::stages::{first, fourth};
use crate::upgrades::fill;
use crate::world::{World, rows};
use driftline_core::reconcile::mix;
use driftline_server::db::Dialect;
use driftline_server::{Config, Open, Server, migrate};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What a database is made of, and all its rows but for when migrations were applied.
fn state(config: &Config) -> (Vec<String>, String) {
    let made = match config.data.dialect() {
        Dialect::Sqlite => standing(config),
        // What is made in two copies of one database gets other numbers.
        Dialect::Postgres => catalog(config),
    };
    (made, rows(&config.data.connect().unwrap(), |_| true, |column| column != "applied_at"))
}

fn apply_command(config: &Config) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_driftline"));
    command.args(["migrate", "apply", "--schema"]).arg(&config.schema).arg("--migrations").arg(&config.migrations);
    command.arg("--data").arg(crate::address(&config.data)).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A database of the first version with rows, and two migrations that wait.
async fn waiting(name: &str) -> World {
    let directory = tempfile::tempdir().unwrap();
    let place = crate::place_to_copy(&directory, name);
    let world = World::at(directory, place, &first().to_string());
    fill(&world).await;
    plan_next(&world.config, &fourth());
    world.unserved().await
}

/// A copy of it, instead of the one before of this name, or a database with nothing in it.
fn copy(world: &World, name: &str, with_rows: bool) -> (TempDir, Config) {
    let directory = tempfile::tempdir().unwrap();
    let place = if with_rows { crate::copy(&world.config.data, &directory, name) } else { crate::place(&directory) };
    (directory, Config { data: place, ..world.config.clone() })
}

#[tokio::test]
async fn m2_a_migration_cut_off_at_any_statement_has_happened_or_has_not() {
    let world = waiting("cut").await;
    for with_rows in [true, false] {
        let (_directory, reference) = copy(&world, "cut_reference", with_rows);
        let mut states = Vec::new();
        if with_rows {
            states.push(state(&reference));
            let options = migrate::Options { expand_only: true, ..Default::default() };
            migrate::apply_with(&reference.migrations, &reference.data, &options).unwrap();
            states.push(state(&reference));
        }
        migrate::apply(&reference.migrations, &reference.data).unwrap();
        let last = state(&reference);
        states.push(last.clone());
        let mut aborted = 0;
        loop {
            let (_directory, config) = copy(&world, "cut_copy", with_rows);
            let status = apply_command(&config).env("DRIFTLINE_FAULT", format!("abort_in_migration={}", aborted + 1)).status().unwrap();
            let found = state(&config);
            if with_rows {
                assert!(states.contains(&found), "at {}: {found:?}", aborted + 1);
            }
            if status.success() {
                assert!(found == last, "{found:?}");
                break;
            }
            aborted += 1;
            assert!(apply_command(&config).status().unwrap().success());
            assert!(state(&config) == last, "begun again after {aborted}");
        }
        assert!(aborted > 30, "{aborted} statements");
    }
}

#[tokio::test]
async fn m2_several_that_apply_at_once_do_it_once() {
    let world = waiting("several").await;
    for with_rows in [true, false] {
        let (_directory, reference) = copy(&world, "several_reference", with_rows);
        migrate::apply(&reference.migrations, &reference.data).unwrap();
        let last = state(&reference);
        for round in 0..3 {
            let (_directory, config) = copy(&world, "several_copy", with_rows);
            let all: Vec<_> = (0..6).map(|_| apply_command(&config).stderr(Stdio::piped()).spawn().unwrap()).collect();
            for child in all {
                let output = child.wait_with_output().unwrap();
                assert!(output.status.success(), "round {round}: {}", String::from_utf8_lossy(&output.stderr));
            }
            assert!(state(&config) == last, "round {round}");
        }
    }
}

#[tokio::test]
async fn m2_1000_starts_some_killed_leave_what_one_leaves() {
    let world = waiting("kills").await;
    let (_directory, reference) = copy(&world, "kills_reference", true);
    let began = Instant::now();
    assert!(apply_command(&reference).status().unwrap().success());
    let takes = began.elapsed().as_micros() as u64;
    let last = state(&reference);
    let (mut starts, mut kills, mut round) = (0, 0, 0);
    while starts < 300 {
        round += 1;
        let (_directory, config) = copy(&world, "kills_copy", true);
        for tries in 5.. {
            starts += 1;
            let mut child = apply_command(&config).spawn().unwrap();
            // Longer each time, for a machine that has become slower.
            std::thread::sleep(Duration::from_micros(mix(starts) % (takes * tries / 4)));
            child.kill().unwrap();
            if child.wait().unwrap().success() {
                break;
            }
            kills += 1;
        }
        assert!(state(&config) == last, "round {round}");
    }
    assert!(kills > 0);
    for _ in starts..1_000 {
        assert_eq!(migrate::apply(&reference.migrations, &reference.data).unwrap(), [""; 0]);
    }
    assert!(state(&reference) == last);
    drop(Server::open(reference, Arc::new(Open)).unwrap());
}
