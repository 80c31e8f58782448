//! A replay: 10,000 edits of a canvas that have been applied are sent once more, the same bytes under the same keys, as by a client that
//! never got the answer. From sending to the answer, on an open connection; nothing may have been written by then.
//!
//! The limit is a loop without a server: the same bytes come in over a loopback socket, are parsed into plain structures and hashed as
//! the server does, and each transaction's mark is looked up in the server's database by its key.

use crate::figure::Figure;
use crate::server::{Server, settle};
use crate::work;
use driftline_core::digest::body_hash;
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

const REPEATS: usize = 21;
const SPACE: &str = "a";
/// What the server does by itself after a push is over once nothing has been written for so long.
const QUIET: Duration = Duration::from_secs(2);
const MARK: &str = "SELECT hash, applied, outcome FROM _mark WHERE space = 1 AND actor = 1 AND seq = ?1";

pub fn run() -> Vec<Figure> {
    let server = Server::start("canvas");
    let txns = work::edits(14);
    let mut client = server.connect();
    let units: Vec<Json> = txns.iter().map(|edits| client.unit(edits.clone())).collect();
    let units = Json::from(units).to_string();
    client.push_text(SPACE, &units, work::TXNS);
    let conn = server.database();
    for (table, count) in work::rows_after(&txns) {
        assert_eq!(number(&conn, &format!("SELECT count(*) FROM {table}")), count, "rows of {table}");
    }
    await_quiet(&conn);
    settle(&[&conn]);

    let pair = Loopback::new();
    let body = body(&units);
    let (mut replays, mut raw) = (Vec::new(), Vec::new());
    let before = version(&conn);
    for _ in 0..REPEATS {
        // One that has not got the receipt, either.
        let mut client = server.connect();
        let began = Instant::now();
        client.push_text(SPACE, &units, work::TXNS);
        replays.push(began.elapsed().as_secs_f64());
        assert_eq!(version(&conn), before, "nothing is written");
        raw.push(look_up(&pair, &body, &conn));
    }
    let name = "B14 replay of 10,000 edits; limit: to receive, parse and hash them and read their marks";
    vec![Figure::of_times(name, &replays, &raw, 1.5)]
}

/// What the client puts around its units.
fn body(units: &str) -> String {
    let client = json!({"id": "00000000000000be", "receipt": null, "closed": []});
    format!("{{\"epoch\":1,\"cursor\":null,\"clients\":[{client}],\"units\":{units}}}")
}

fn number(conn: &Connection, sql: &str) -> i64 {
    conn.query_row(sql, [], |row| row.get(0)).expect("a number")
}

/// It is another one after each transaction in which another connection has written.
fn version(conn: &Connection) -> i64 {
    number(conn, "PRAGMA data_version")
}

fn await_quiet(conn: &Connection) {
    let (mut last, mut since) = (version(conn), Instant::now());
    while since.elapsed() < QUIET {
        std::thread::sleep(Duration::from_millis(50));
        let now = version(conn);
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
}

// ---- the limit ----

/// The two ends of a connection.
struct Loopback {
    sender: TcpStream,
    receiver: TcpStream,
}

impl Loopback {
    fn new() -> Loopback {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let sender = TcpStream::connect(listener.local_addr().expect("it listens")).expect("it listens");
        sender.set_nodelay(true).expect("a socket takes it");
        Loopback { sender, receiver: listener.accept().expect("somebody connects").0 }
    }

    /// Returns when it began.
    fn send(&self, text: &str) -> Instant {
        let began = Instant::now();
        (&self.sender).write_all(text.as_bytes()).expect("the other end reads");
        began
    }

    fn receive(&self, length: usize) -> String {
        let mut bytes = vec![0; length];
        (&self.receiver).read_exact(&mut bytes).expect("the other end writes");
        String::from_utf8(bytes).expect("it is text")
    }
}

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow)]
    units: Vec<Unit<'a>>,
}

#[derive(Deserialize)]
struct Unit<'a> {
    #[serde(borrow)]
    txns: Vec<Txn<'a>>,
}

#[derive(Deserialize)]
struct Txn<'a> {
    key: (usize, u64),
    #[serde(borrow)]
    body: &'a RawValue,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    edits: Vec<Edit<'a>>,
}

#[derive(Deserialize)]
struct Edit<'a> {
    op: &'a str,
    table: &'a str,
    id: &'a str,
    #[serde(borrow, default)]
    set: BTreeMap<&'a str, Json>,
}

/// From sending until all marks are known, in seconds.
fn look_up(pair: &Loopback, text: &str, conn: &Connection) -> f64 {
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| pair.send(text));
        let text = pair.receive(text.len());
        let push: Push = serde_json::from_str(&text).expect("it is a push");
        let mut statement = conn.prepare_cached(MARK).expect("there are marks");
        let mut bodies: Vec<Body> = Vec::with_capacity(work::TXNS);
        let mut known = 0;
        for txn in push.units.iter().flat_map(|unit| &unit.txns) {
            let text = txn.body.get();
            let hash = body_hash(text).to_be_bytes();
            bodies.push(serde_json::from_str(text).expect("it is a transaction"));
            let mark = statement
                .query_row([txn.key.1 as i64], |row| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, bool>(1)?, row.get::<_, String>(2)?)));
            let (marked, is_applied, outcome) = mark.expect("it has a mark");
            known += usize::from(marked == hash && is_applied && outcome.contains("applied"));
        }
        let end = Instant::now();
        let began = sender.join().expect("it was sent");
        assert_eq!((known, bodies.len()), (work::TXNS, work::TXNS), "all are known");
        assert!(bodies.iter().all(|body| body.edits.iter().filter(|edit| edit.is_whole()).count() == work::TXN_EDITS));
        (end - began).as_secs_f64()
    })
}

impl Edit<'_> {
    fn is_whole(&self) -> bool {
        !self.table.is_empty() && self.id.len() == 36 && (self.op == "delete") == self.set.is_empty()
    }
}
