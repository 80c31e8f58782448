//! Deletes of articles with 10, 1,000 and 100,000 votes below them.

use crate::figure::Figure;
use crate::server::{Client, Server};
use rusqlite::{Connection, params};
use serde_json::{Value as Json, json};
use std::process::Command;
use std::time::{Duration, Instant};

const REPEATS: usize = 5;
const SIZES: [u64; 3] = [10, 1_000, 100_000];
/// Of a transaction, and of a push.
const EDITS: usize = 1_000;
const UNITS: usize = 15;

/// An article per repeat and size; its votes have the numbers above its own.
fn article(repeat: usize, size: usize) -> u64 {
    ((repeat * SIZES.len() + size + 1) * 1_000_000) as u64
}

fn id(n: u64) -> String {
    format!("0199aaaa-bbbb-7ccc-8ddd-{n:012x}")
}

fn bytes(n: u64) -> Vec<u8> {
    let high = 0x0199_aaaa_bbbb_7ccc_8ddd_0000_0000_0000_u128;
    (high | u128::from(n)).to_be_bytes().to_vec()
}

fn fill(client: &mut Client) {
    let mut edits = vec![json!({"op": "create", "table": "user", "id": id(1), "set": {}})];
    for repeat in 0..REPEATS {
        for (size, votes) in SIZES.iter().enumerate() {
            let article = article(repeat, size);
            edits.push(json!({"op": "create", "table": "article", "id": id(article), "set": {"user": id(1)}}));
            for n in 1..=*votes {
                edits.push(json!({"op": "create", "table": "rating_vote", "id": id(article + n), "set": {"article": id(article)}}));
            }
        }
    }
    let units: Vec<Json> = edits.chunks(EDITS).map(|edits| client.unit(edits.to_vec())).collect();
    for (at, units) in units.chunks(UNITS).enumerate() {
        client.push("a", units);
        if at % 10 == 0 {
            eprintln!("  {} of {} rows", at * UNITS * EDITS, edits.len());
        }
    }
}

fn count(conn: &Connection, sql: &str) -> i64 {
    conn.query_row(sql, [], |row| row.get(0)).expect("a count")
}

/// What earlier deletes left to be written is on disk, so that nobody waits for it now.
fn settle(databases: &[&Connection]) {
    for conn in databases {
        count(conn, "PRAGMA wal_checkpoint(TRUNCATE)");
    }
    assert!(Command::new("sync").status().expect("a system with sync").success());
}

/// The same rows gone, and the same marks that they were there, in one transaction that is on disk when it returns.
fn delete_raw(conn: &mut Connection, article: u64) -> f64 {
    let began = Instant::now();
    let transaction = conn.transaction().expect("nobody else writes");
    let of_votes =
        "INSERT INTO _deleted (space, id, tbl, rev) SELECT space, id, 'rating_vote', 1 FROM rating_vote WHERE space = 1 AND article = ?1";
    let of_article = "INSERT INTO _deleted (space, id, tbl, rev) VALUES (1, ?1, 'article', 1)";
    let votes = "DELETE FROM rating_vote WHERE space = 1 AND article = ?1";
    let row = "DELETE FROM article WHERE space = 1 AND id = ?1";
    for sql in [of_votes, of_article, votes, row] {
        transaction.execute(sql, params![bytes(article)]).expect("SQL that the schema allows");
    }
    transaction.commit().expect("the disk takes it");
    began.elapsed().as_secs_f64()
}

pub fn run() -> Vec<Figure> {
    let server = Server::start("publishing");
    let mut client = server.connect();
    fill(&mut client);
    let conn = server.database();
    let copies = tempfile::tempdir().expect("a folder for a copy");
    let copy = copies.path().join("copy.db");
    conn.execute("VACUUM INTO ?1", [copy.to_str().expect("a plain path")]).expect("room for a copy");
    let mut raw = Connection::open(copy).expect("the copy opens");
    raw.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON").expect("it takes these");

    let mut answers = SIZES.map(|_| Vec::new());
    let (mut ends, mut raw_ends) = (Vec::new(), Vec::new());
    for repeat in 0..REPEATS {
        eprintln!("  repeat {} of {REPEATS}", repeat + 1);
        for (size, votes) in SIZES.iter().enumerate() {
            let article = article(repeat, size);
            let before = count(&conn, "SELECT count(*) FROM rating_vote");
            settle(&[&conn, &raw]);
            let unit = client.unit(vec![json!({"op": "delete", "table": "article", "id": id(article)})]);
            let began = Instant::now();
            client.push("a", &[unit]);
            answers[size].push(began.elapsed().as_secs_f64());
            while count(&conn, "SELECT count(*) FROM _dying") > 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            let end = began.elapsed().as_secs_f64();
            assert_eq!(before - count(&conn, "SELECT count(*) FROM rating_vote"), *votes as i64, "its votes are gone");
            settle(&[&conn, &raw]);
            let raw_end = delete_raw(&mut raw, article);
            if size == SIZES.len() - 1 {
                ends.push(end);
                raw_ends.push(raw_end);
            }
        }
    }
    assert_eq!(count(&conn, "SELECT count(*) FROM rating_vote") + count(&conn, "SELECT count(*) FROM article"), 0);
    assert_eq!(count(&conn, "SELECT count(*) FROM _deleted"), count(&raw, "SELECT count(*) FROM _deleted"), "the same marks");
    vec![
        Figure::of_times("B12 delete of a parent of 1,000, to the answer; limit: of 10", &answers[1], &answers[0], 2.0),
        Figure::of_times("B12 delete of a parent of 100,000, to the answer; limit: of 10", &answers[2], &answers[0], 2.0),
        Figure::of_times("B12 delete of a parent of 100,000, to the end; limit: the same in SQL", &ends, &raw_ends, 2.0),
    ]
}
