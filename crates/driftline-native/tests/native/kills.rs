//! A process is killed in the midst of its edits, again and again. What it had called saved is there once, and reaches the server once.

use crate::client::board;
use crate::world::{World, id, options, token, within};
use driftline_native::{Client, Edits, Options, Token};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

const BOARD: u64 = 1;
/// How many edits are to be called saved before each kill.
const SAVED_BEFORE: [usize; 12] = [1, 30, 7, 0, 64, 2, 90, 16, 5, 41, 3, 25];
/// The first number of each round.
const ROUND: u64 = 1_000_000;
/// Edits that are made before the disk is waited for.
const BURST: u64 = 8;
/// What the child is told of its round; without it, it does nothing.
const ROUND_VARIABLE: &str = "DRIFTLINE_NATIVE_ROUND";

/// Ended when it goes.
struct Running {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Running {
    fn start(world: &World, round: u64, online: bool) -> Running {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "kills::edits_until_it_is_killed", "--ignored", "--nocapture"]);
        command.env(ROUND_VARIABLE, format!("{round} {online} {}", world.url)).env("DRIFTLINE_NATIVE_FOLDER", world.folder.path());
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Running { process, lines }
    }

    /// The next edit that is called saved; `None` when the process has ended.
    fn next_saved(&mut self) -> Option<u64> {
        loop {
            let line = self.lines.next()?.unwrap();
            // The test harness may have begun the line.
            if let Some((_, number)) = line.rsplit_once("saved ") {
                return Some(number.parse().unwrap());
            }
        }
    }

    /// SIGKILL. Returns what had been called saved by then and not been read.
    fn kill(mut self) -> Vec<u64> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        std::iter::from_fn(|| self.next_saved()).collect()
    }
}

/// A process of its own, which the test below starts and kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the test below"]
async fn edits_until_it_is_killed() {
    let Ok(round) = std::env::var(ROUND_VARIABLE) else { return };
    let parts: Vec<&str> = round.split(' ').collect();
    let (round, online, url): (u64, bool, &str) = (parts[0].parse().unwrap(), parts[1].parse().unwrap(), parts[2]);
    let folder = PathBuf::from(std::env::var_os("DRIFTLINE_NATIVE_FOLDER").unwrap());
    let client = Client::open(Options { online, token: Some(Token::fixed(token("ada"))), ..options(&folder, "laptop", url) }).unwrap();
    // The one who kills reads this before the first edit, too.
    println!("saved {}", round * ROUND);
    for n in round * ROUND + 1.. {
        let edits = Edits::new().create("note", &id(n), json!({"text": format!("{n}"), "board": id(BOARD)}));
        let change = client.transact(edits.add("board", &id(BOARD), json!({"edits": 1}))).await.unwrap();
        let saved = change.saved();
        let told = tokio::spawn(async move {
            saved.await.unwrap();
            println!("saved {n}");
        });
        if n % BURST == 0 {
            told.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q1_and_d1_what_was_called_saved_survives_sigkill_and_reaches_the_server_once() {
    let world = World::start().await;
    let client = world.open("laptop");
    within(client.transact(board(BOARD)).await.unwrap().accepted()).await.unwrap();
    client.close().await.unwrap();
    let mut saved = BTreeSet::new();
    for (round, wanted) in (1u64..).zip(SAVED_BEFORE) {
        // Every other round nothing is sent, so that the next finds a full outbox; the last leaves one.
        let mut running = Running::start(&world, round, round % 2 == 1);
        for _ in 0..=wanted {
            saved.insert(running.next_saved().expect("the process has ended by itself"));
        }
        saved.extend(running.kill());
        saved.remove(&(round * ROUND));
        assert!(saved.range(round * ROUND..).count() >= wanted, "round {round}");
    }
    let client = world.open("laptop");
    let notes = client.rows("note").await.unwrap();
    let here: BTreeSet<String> = notes.iter().map(|row| row.id.clone()).collect();
    for n in &saved {
        assert!(here.contains(&id(*n)), "{n} was called saved");
    }
    within(client.accepted()).await.unwrap();
    let there = world.texts("SELECT lower(hex(id)) FROM note");
    let plain: BTreeSet<String> = here.iter().map(|id| id.replace('-', "")).collect();
    assert_eq!(there.iter().cloned().collect::<BTreeSet<_>>(), plain);
    // Each edit of a note has counted once.
    assert_eq!(world.count("SELECT edits FROM board"), there.len() as i64);
    let row = client.get("board", &id(BOARD)).await.unwrap().unwrap();
    assert_eq!(row.field("edits"), &json!(there.len()));
    assert_eq!(client.outbox().await.unwrap().len(), 0);
    client.close().await.unwrap();
    world.stop().await;
}
