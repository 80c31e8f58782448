//! Catching up, until search answers fresh. 100,000 edits go in pushes as large as a client makes them, on one connection; the limit is
//! a server without search. Once they are those of [`work`], 1,000 transactions of 100, and once each makes a card with a text of 30 words.
//!
//! And what search adds to changes of texts, each a transaction, in pushes of 25: 10,000 that make a card each; the same cards changed nine
//! times more; and 10,000 that go on in 500 longer texts, as people type. The limits are a server that brings its index up to date with every push, and one without search
//! in whose database triggers keep an index of the same kind with every row, in the push's transaction. What is found is compared with
//! what the edits say.

use crate::figure::Figure;
use crate::server::{Client, Server, settle};
use crate::work::{self, Chance};
use rusqlite::params;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const REPEATS: usize = 5;
const SPACE: &str = "a";
/// What a client sends at once.
const PUSH_TXNS: usize = 1_000;
const PUSH_BYTES: usize = 1024 * 1024;
/// What people type is sent as they do.
const TYPED_TXNS: usize = 25;
/// Not a frequent word, and not a rare one.
const WORD: &str = "w77";
/// Rows of one answer.
const FOUND: usize = 100;

/// As the server's own index: no texts, no places of words in them, and rows that can be deleted. No row goes while this is measured.
const TRIGGERS: &str = "
CREATE TABLE by_row_doc (doc INTEGER PRIMARY KEY, space INTEGER NOT NULL, id BLOB NOT NULL) STRICT;
CREATE UNIQUE INDEX by_row_doc_row ON by_row_doc (space, id);
CREATE VIRTUAL TABLE by_row USING fts5(words, content='', contentless_delete=1, detail=none, tokenize='ascii');
CREATE TRIGGER by_row_made AFTER INSERT ON card BEGIN
  INSERT INTO by_row_doc (space, id) VALUES (new.space, new.id);
  INSERT INTO by_row (rowid, words) SELECT doc, new.name FROM by_row_doc WHERE space = new.space AND id = new.id;
END;
CREATE TRIGGER by_row_changed AFTER UPDATE OF name ON card WHEN new.name IS NOT old.name BEGIN
  DELETE FROM by_row WHERE rowid = (SELECT doc FROM by_row_doc WHERE space = new.space AND id = new.id);
  INSERT INTO by_row (rowid, words) SELECT doc, new.name FROM by_row_doc WHERE space = new.space AND id = new.id;
END;";

pub fn run() -> Vec<Figure> {
    let mut figures = Vec::new();
    for (edits, name) in [(canvas as fn() -> Edits, "edits of a canvas"), (cards_in_bulk, "new cards of 30 words")] {
        let [deferred, without] = times(&edits(), [Index::Deferred, Index::Without]);
        let name = format!("B13 100,000 {name} until search is fresh; limit: without search");
        figures.push(Figure::of_times(name, &deferred, &without, 1.5));
    }
    let each_alone = Edits { push_txns: 1, ..new_cards() };
    // A push that makes many indexes them at once, so there is nothing to gain over one that always does.
    for (edits, pushes) in [(each_alone, "in pushes of one"), (new_cards(), "in pushes of 25")] {
        let [deferred, by_row, without] = times(&edits, [Index::Deferred, Index::ByRow, Index::Without]);
        figures.push(added(&format!("10,000 new cards {pushes}; limit: with a trigger for each row"), &deferred, &by_row, &without));
    }
    let [deferred, by_row, without] = times(&revised(), [Index::Deferred, Index::ByRow, Index::Without]);
    figures.push(added("10,000 cards made and changed nine times each; limit: with a trigger for each row", &deferred, &by_row, &without));
    let [deferred, by_push, by_row, without] = times(&typing(), [Index::Deferred, Index::ByPush, Index::ByRow, Index::Without]);
    figures.push(added("10,000 changes of 500 texts; limit: with every push", &deferred, &by_push, &without));
    figures.push(added("10,000 changes of 500 texts; limit: with a trigger for each row", &deferred, &by_row, &without));
    figures
}

fn added(name: &str, deferred: &[f64], limits: &[f64], without: &[f64]) -> Figure {
    let above = |times: &[f64]| times.iter().zip(without).map(|(time, without)| time - without).collect::<Vec<_>>();
    Figure::of_times(format!("C3 what search adds to {name}"), &above(deferred), &above(limits), 0.33)
}

/// What the index of texts is kept by.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Index {
    Without,
    Deferred,
    ByPush,
    ByRow,
}

impl Index {
    fn start(self) -> Server {
        let more: &[&str] = match self {
            Index::Without | Index::ByRow => &[],
            Index::Deferred => &["--search"],
            Index::ByPush => &["--search", "--search-rows-at-once", "1000000"],
        };
        let server = Server::start_with("canvas", more);
        if self == Index::ByRow {
            server.database().execute_batch(TRIGGERS).expect("the tables are there");
        }
        server
    }

    fn is_servers(self) -> bool {
        matches!(self, Index::Deferred | Index::ByPush)
    }
}

// ---- the edits ----

struct Edits {
    txns: Vec<Vec<Json>>,
    /// Transactions of a push.
    push_txns: usize,
}

/// The edits of ten people, one after the other.
fn canvas() -> Edits {
    Edits { txns: (0..10).flat_map(work::edits).collect(), push_txns: PUSH_TXNS }
}

fn cards_in_bulk() -> Edits {
    Edits { txns: cards(100_000), push_txns: PUSH_TXNS }
}

fn new_cards() -> Edits {
    Edits { txns: cards(10_000), push_txns: TYPED_TXNS }
}

fn cards(count: u64) -> Vec<Vec<Json>> {
    (0..count).map(|row| vec![json!({"op": "create", "table": "card", "id": id(row), "set": {"name": text(row, 30)}})]).collect()
}

/// 500 texts are made with 200 words, and each of 19 changes adds one.
fn typing() -> Edits {
    Edits { txns: texts(500, 200, 20), push_txns: TYPED_TXNS }
}

/// 10,000 texts are made with 30 words, and each of nine changes adds one.
fn revised() -> Edits {
    Edits { txns: texts(10_000, 30, 10), push_txns: TYPED_TXNS }
}

/// All of them are changed before one is changed again.
fn texts(rows: u64, first: usize, times: u64) -> Vec<Vec<Json>> {
    let edit = |n: u64| {
        let (row, words) = (n % rows, first + (n / rows) as usize);
        if words == first {
            return json!({"op": "create", "table": "card", "id": id(row), "set": {"name": text(row, words)}});
        }
        json!({"op": "update", "table": "card", "id": id(row), "text": {"name": [text(row, words - 1), text(row, words)]}})
    };
    (0..rows * times).map(|n| vec![edit(n)]).collect()
}

/// The first words of a row.
fn text(row: u64, words: usize) -> String {
    Chance::new(row).words(words)
}

fn id(row: u64) -> String {
    Chance::new(row).id(row)
}

impl Edits {
    /// Arrays of units as text, each with how many there are.
    fn pushes(&self, client: &mut Client) -> Vec<(String, usize)> {
        let mut pushes: Vec<(String, usize)> = Vec::new();
        for txn in &self.txns {
            let unit = client.unit(txn.clone()).to_string();
            match pushes.last_mut() {
                Some((text, count)) if *count < self.push_txns && text.len() + unit.len() <= PUSH_BYTES => {
                    text.push(',');
                    text.push_str(&unit);
                    *count += 1;
                }
                _ => pushes.push((format!("[{unit}"), 1)),
            }
        }
        pushes.iter_mut().for_each(|(text, _)| text.push(']'));
        pushes
    }

    /// The ids of the cards with the word, the highest first, as far as an answer goes.
    fn found(&self) -> Vec<&str> {
        let cards = work::rows_left(&self.txns).into_iter().filter(|edit| edit["table"] == "card");
        let mut names: BTreeMap<&str, &str> = cards.map(|edit| (text_of(&edit["id"]), text_of(&edit["set"]["name"]))).collect();
        for edit in self.txns.iter().flatten().filter(|edit| edit["text"].is_object()) {
            names.insert(text_of(&edit["id"]), text_of(&edit["text"]["name"][1]));
        }
        let has = |name: &str| name.split(' ').any(|word| word == WORD);
        names.into_iter().rev().filter(|(_, name)| has(name)).map(|(id, _)| id).take(FOUND).collect()
    }
}

fn text_of(json: &Json) -> &str {
    json.as_str().expect("it is a text")
}

// ---- measuring ----

/// The times of all repeats for each kind of index, in seconds; the kinds take turns.
fn times<const N: usize>(edits: &Edits, indexes: [Index; N]) -> [Vec<f64>; N] {
    let mut times = [const { Vec::new() }; N];
    for repeat in 0..REPEATS {
        for (times, index) in times.iter_mut().zip(indexes) {
            let time = catch_up(edits, index);
            eprintln!("  {} of {REPEATS}: {time:.2} s, {index:?}", repeat + 1);
            times.push(time);
        }
    }
    times
}

/// Pushes all of it to a new server, and waits until search has it; in seconds.
fn catch_up(edits: &Edits, index: Index) -> f64 {
    let server = index.start();
    let mut client = server.connect();
    let pushes = edits.pushes(&mut client);
    settle(&[]);
    let began = Instant::now();
    for (units, count) in &pushes {
        client.push_text(SPACE, units, *count);
    }
    if index.is_servers() {
        while client.get(&format!("/v1/spaces/{SPACE}/search?q={WORD}%20"))["stale"] != false {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let time = began.elapsed().as_secs_f64();
    for (table, count) in work::rows_after(&edits.txns) {
        let sql = format!("SELECT count(*) FROM {table}");
        let rows: i64 = server.database().query_row(&sql, [], |row| row.get(0)).expect("a count");
        assert_eq!(rows, count, "rows of {table}");
    }
    if index != Index::Without {
        let found = if index.is_servers() { found_by_server(&mut client) } else { found_by_row(&server) };
        assert_eq!(found, edits.found(), "search finds what the edits say");
    }
    time
}

fn found_by_server(client: &mut Client) -> Vec<String> {
    let found = client.get(&format!("/v1/spaces/{SPACE}/search?q={WORD}%20&limit={FOUND}"));
    found["rows"].as_array().expect("rows").iter().map(|row| text_of(&row["id"]).to_string()).collect()
}

fn found_by_row(server: &Server) -> Vec<String> {
    let sql = "SELECT lower(hex(d.id)) FROM by_row JOIN by_row_doc AS d ON d.doc = by_row.rowid WHERE by_row MATCH ?1 \
               ORDER BY d.id DESC LIMIT ?2";
    let conn = server.database();
    let mut statement = conn.prepare(sql).expect("the index is there");
    let rows = statement.query_map(params![WORD, FOUND as i64], |row| row.get::<_, String>(0)).expect("it can be asked");
    let id = |hex: String| [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    rows.map(|row| id(row.expect("a row"))).collect()
}
