//! Pushes of 64 clients at once that send one edit at a time, and of one that sends what it has made offline, 500 edits at a time.
//!
//! The limit brings the same rows, log, marks, clients and spaces into another database with the same tables, by SQL alone: single edits
//! in as many transactions as the server made of them, with a statement for each row; batches in one transaction for each push, and of
//! the rows only what they are in the end. Afterwards both databases hold the same.

use crate::figure::Figure;
use crate::server::{Client, Place, Server, settle};
use crate::work;
use driftline_core::value::RowId;
use rusqlite::types::Value;
use rusqlite::{Connection, TransactionBehavior, params_from_iter};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Barrier;
use std::time::Instant;

pub const REPEATS: usize = 5;
pub const CLIENTS: usize = 64;
/// Clients of a space see each other's edits, and wait for each other where a database locks its row.
const SPACES: usize = 4;
/// Of each client. The first one is not measured: with it the server gets to know the client.
pub const EDITS: usize = 41;
/// Transactions of a push, so that it has 500 edits.
const PUSH_TXNS: usize = 500 / work::TXN_EDITS;

/// The tables of the rows that are made, parents first.
pub const TABLES: [&str; 3] = ["connection_type", "card", "connection"];
/// All that is written, each with its column for the space.
pub const WRITTEN: [(&str, &str); 8] = [
    ("connection_type", "space"),
    ("card", "space"),
    ("connection", "space"),
    ("_log", "space"),
    ("_mark", "space"),
    ("_deleted", "space"),
    ("_client", "space"),
    ("_space", "id"),
];

pub const KNOWN_CLIENT: &str = " ON CONFLICT (space, principal, client) DO UPDATE SET epoch = excluded.epoch, \
                                receipt = excluded.receipt, previous = excluded.previous, closed = excluded.closed";
const SPACE: &str = "UPDATE _space SET rev = ?2, horizon = ?3, digest = ?4, schema = ?5 WHERE id = ?1";

/// What an insert of rows ends with that may be there, as the server writes it.
pub fn known_row<'a>(columns: impl Iterator<Item = &'a str>) -> String {
    let own = columns.filter(|name| !matches!(*name, "space" | "id"));
    let sets: Vec<String> = own.map(|name| format!("\"{name}\" = excluded.\"{name}\"")).collect();
    format!(" ON CONFLICT (space, id) DO UPDATE SET {}", sets.join(", "))
}

/// The table, the id, and whether it makes the row: of the only change in a row of the log.
pub fn change(text: &str) -> (usize, String, bool) {
    let changes: Vec<Json> = serde_json::from_str(text).expect("the log has changes");
    let [change] = changes.as_slice() else { panic!("a single edit is a single change, and not {text}") };
    let table = TABLES.iter().position(|table| change["table"] == *table).expect("a table of the work");
    (table, change["id"].as_str().expect("a row's id").to_string(), change["op"] == "create")
}

/// What single clients do: the beginnings of works that have nothing to do with each other. Nothing is deleted, so that each row that an
/// edit writes is there in the end.
pub fn single_edits() -> Vec<Vec<Json>> {
    let stays = |edit: &Json| edit["op"] != "delete";
    (0..CLIENTS).map(|client| work::edits(1 + client as u64).into_iter().flatten().filter(stays).take(EDITS).collect()).collect()
}

/// The spaces in which they do it.
pub fn spaces_of(repeat: usize) -> Vec<String> {
    (0..SPACES).map(|n| format!("single-{repeat}-{n}")).collect()
}

/// Clients that the server knows, each with its edits made and waiting.
pub struct Burst(Vec<Sender>);

struct Sender {
    client: Client,
    space: String,
    units: Vec<String>,
}

impl Burst {
    pub fn prepare(server: &Server, edits: &[Vec<Json>], repeat: usize) -> Burst {
        let spaces = spaces_of(repeat);
        let sender = |(n, edits): (usize, &Vec<Json>)| {
            let (mut client, space) = (server.connect_as(1 + n as u64), spaces[n % SPACES].clone());
            let mut units: Vec<String> = edits.iter().map(|edit| json!([client.unit(vec![edit.clone()])]).to_string()).collect();
            client.push_text(&space, &units.remove(0), 1);
            Sender { client, space, units }
        };
        Burst(edits.iter().enumerate().map(sender).collect())
    }

    /// In seconds.
    pub fn send(self) -> f64 {
        at_once(self.0, |Sender { mut client, space, units }| units.iter().for_each(|unit| client.push_text(&space, unit, 1)))
    }
}

/// Does all at once, each on a thread of its own; in seconds, from where the first begins to where the last ends.
pub fn at_once<T: Send>(tasks: Vec<T>, run: impl Fn(T) + Sync) -> f64 {
    let barrier = Barrier::new(tasks.len());
    let timed = |task: T| {
        barrier.wait();
        let began = Instant::now();
        run(task);
        (began, Instant::now())
    };
    let timed = &timed;
    let times: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
        let threads: Vec<_> = tasks.into_iter().map(|task| scope.spawn(move || timed(task))).collect();
        threads.into_iter().map(|thread| thread.join().expect("all is done")).collect()
    });
    let began = times.iter().map(|time| time.0).min().expect("there is a task");
    let ended = times.iter().map(|time| time.1).max().expect("there is a task");
    (ended - began).as_secs_f64()
}

/// What a client has made offline.
pub struct Batches {
    pub txns: Vec<Vec<Json>>,
    /// The push that makes a row, by its id.
    pub made: HashMap<String, usize>,
}

impl Batches {
    pub fn prepare() -> Batches {
        let txns = work::edits(0);
        let mut made = HashMap::new();
        for (n, edits) in txns.iter().enumerate() {
            for edit in edits.iter().filter(|edit| edit["op"] == "create") {
                made.insert(edit["id"].as_str().expect("a row's id").to_string(), n / PUSH_TXNS);
            }
        }
        Batches { txns, made }
    }

    pub fn pushes(&self) -> usize {
        self.txns.len() / PUSH_TXNS
    }

    /// The push of a transaction, by the number that the client gave it.
    pub fn push_of(seq: i64) -> usize {
        (seq - 1) as usize / PUSH_TXNS
    }

    /// Sends them, one after another; in seconds.
    pub fn send(&self, server: &Server, space: &str) -> f64 {
        let mut client = server.connect_as(1);
        let mut push = |txns: &[Vec<Json>]| {
            let units: Vec<Json> = txns.iter().map(|edits| client.unit(edits.clone())).collect();
            Json::from(units).to_string()
        };
        let pushes: Vec<String> = self.txns.chunks(PUSH_TXNS).map(&mut push).collect();
        let began = Instant::now();
        pushes.iter().for_each(|units| client.push_text(space, units, PUSH_TXNS));
        began.elapsed().as_secs_f64()
    }
}

/// A statement with its parameters.
struct Write<'a> {
    sql: &'a str,
    values: Vec<Value>,
}

struct Statements {
    insert: BTreeMap<&'static str, String>,
    move_card: String,
    client: String,
}

impl Statements {
    fn of(conn: &Connection) -> Statements {
        let insert: BTreeMap<&str, String> = WRITTEN.iter().map(|(table, _)| (*table, insert_into(conn, table))).collect();
        let columns = columns_of(conn, "card");
        let move_card = insert["card"].clone() + &known_row(columns.iter().map(String::as_str));
        let client = insert["_client"].clone() + KNOWN_CLIENT;
        Statements { insert, move_card, client }
    }

    fn insert(&self, table: &str, values: Vec<Value>) -> Write<'_> {
        Write { sql: &self.insert[table], values }
    }
}

fn columns_of(conn: &Connection, table: &str) -> Vec<String> {
    let statement = conn.prepare(&format!("SELECT * FROM \"{table}\"")).expect("the table is there");
    statement.column_names().into_iter().map(str::to_string).collect()
}

fn insert_into(conn: &Connection, table: &str) -> String {
    let columns = columns_of(conn, table);
    let places = vec!["?"; columns.len()].join(", ");
    format!("INSERT INTO \"{table}\" (\"{}\") VALUES ({places})", columns.join("\", \""))
}

fn read(conn: &Connection, sql: &str) -> Vec<Vec<Value>> {
    let mut statement = conn.prepare(sql).expect("a question that the tables answer");
    let width = statement.column_count();
    let mut rows = statement.query([]).expect("a question that the tables answer");
    let mut found = Vec::new();
    while let Some(row) = rows.next().expect("a row") {
        found.push((0..width).map(|at| row.get(at).expect("a value")).collect());
    }
    found
}

/// In the order of their keys.
fn read_table(conn: &Connection, table: &str, column: &str, spaces: &[i64]) -> Vec<Vec<Value>> {
    read(conn, &format!("SELECT * FROM \"{table}\" WHERE {column} IN ({}) ORDER BY 1, 2, 3", list(spaces)))
}

fn list(spaces: &[i64]) -> String {
    spaces.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
}

fn int(value: &Value) -> i64 {
    let Value::Integer(number) = value else { panic!("{value:?} should be a number") };
    *number
}

fn uuid(value: &Value) -> String {
    let Value::Blob(bytes) = value else { panic!("{value:?} should be an id") };
    RowId(u128::from_be_bytes(bytes.as_slice().try_into().expect("an id has 16 bytes"))).to_string()
}

/// Runs each group in a transaction that is on disk when it ends; in seconds.
fn write_groups(conn: &mut Connection, groups: &[Vec<Write>]) -> f64 {
    let began = Instant::now();
    for group in groups {
        let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate).expect("nobody else writes");
        for Write { sql, values } in group {
            let mut statement = transaction.prepare_cached(sql).expect("SQL that the schema allows");
            assert_eq!(statement.execute(params_from_iter(values)).expect("values that the schema allows"), 1);
        }
        transaction.commit().expect("the disk takes it");
    }
    began.elapsed().as_secs_f64()
}

/// What is written for each edit, in the order in which they took effect, apart from the first of each client.
fn of_edits<'a>(conn: &Connection, statements: &'a Statements, spaces: &[i64]) -> (Vec<Write<'a>>, Vec<Vec<Write<'a>>>) {
    let mut rows: HashMap<String, Vec<Value>> = HashMap::new();
    for table in TABLES {
        rows.extend(read_table(conn, table, "space", spaces).into_iter().map(|row| (uuid(&row[1]), row)));
    }
    let (mut first, mut others) = (Vec::new(), Vec::new());
    let sql = format!(
        "SELECT l.*, m.*, c.*, s.id, l.rev, s.horizon, s.digest, s.schema FROM _log AS l JOIN _space AS s ON s.id = l.space \
         JOIN _mark AS m ON m.space = l.space AND m.actor = l.actor AND m.seq = l.seq \
         JOIN _client AS c ON c.space = l.space AND c.actor = l.actor WHERE l.space IN ({}) ORDER BY l.rev, l.space",
        list(spaces)
    );
    for mut log in read(conn, &sql) {
        let Value::Text(changes) = &log[7] else { panic!("changes are text") };
        let (table, id, is_new) = change(changes);
        let is_first = int(&log[4]) == 1;
        let (space, client, mark) = (log.split_off(22), log.split_off(14), log.split_off(8));
        let row = match is_new {
            true => statements.insert(TABLES[table], rows[&id].clone()),
            false => Write { sql: &statements.move_card, values: rows[&id].clone() },
        };
        let edit = vec![
            row,
            Write { sql: SPACE, values: space },
            statements.insert("_log", log),
            statements.insert("_mark", mark),
            Write { sql: &statements.client, values: client },
        ];
        if is_first { first.extend(edit) } else { others.push(edit) }
    }
    (first, others)
}

/// Deals them out to so many transactions, about as many to each.
fn grouped(edits: Vec<Vec<Write>>, commits: usize) -> Vec<Vec<Write>> {
    let count = edits.len();
    let mut groups: Vec<Vec<Write>> = (0..commits).map(|_| Vec::new()).collect();
    for (n, edit) in edits.into_iter().enumerate() {
        groups[n * commits / count].extend(edit);
    }
    groups
}

/// What each push has left behind: rows as they are in the end, and ids of those that are gone.
fn of_pushes<'a>(conn: &Connection, statements: &'a Statements, batches: &Batches, space: i64) -> Vec<Vec<Write<'a>>> {
    let mut groups: Vec<Vec<Write>> = (0..batches.pushes()).map(|_| Vec::new()).collect();
    let rows_of = |table: &str| read_table(conn, table, "space", &[space]);
    for table in TABLES {
        for row in rows_of(table) {
            groups[batches.made[&uuid(&row[1])]].push(statements.insert(table, row));
        }
    }
    let log = rows_of("_log");
    let push_at: HashMap<i64, usize> = log.iter().map(|row| (int(&row[1]), Batches::push_of(int(&row[4])))).collect();
    for (table, rows) in [("_log", log), ("_deleted", rows_of("_deleted"))] {
        let column = if table == "_log" { 1 } else { 3 };
        for row in rows {
            groups[push_at[&int(&row[column])]].push(statements.insert(table, row));
        }
    }
    for mark in rows_of("_mark") {
        groups[Batches::push_of(int(&mark[2]))].push(statements.insert("_mark", mark));
    }
    let clients = rows_of("_client");
    let sql = format!("SELECT id, rev, horizon, digest, schema FROM _space WHERE id = {space}");
    let spaces = read(conn, &sql);
    for group in &mut groups {
        group.push(Write { sql: SPACE, values: spaces[0].clone() });
        group.push(Write { sql: &statements.client, values: clients[0].clone() });
    }
    groups
}

/// The server's database, and that of the limit.
struct Databases {
    served: Connection,
    raw: Connection,
    statements: Statements,
}

impl Databases {
    fn open(server: &Server, place: &Place) -> Databases {
        let raw = Connection::open(place.database_file()).expect("it has a database");
        raw.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON").expect("it takes these");
        let statements = Statements::of(&raw);
        Databases { served: server.database(), raw, statements }
    }

    fn settle(&self) {
        settle(&[&self.served, &self.raw]);
    }

    fn numbers(&self, names: &[String]) -> Vec<i64> {
        let number = |name: &String| self.served.query_row("SELECT id FROM _space WHERE name = ?1", [name], |row| row.get::<_, i64>(0));
        names.iter().map(|name| number(name).expect("the space is there")).collect()
    }

    /// Its state is written over by each of its transactions.
    fn add_spaces(&mut self, spaces: &[i64]) {
        let rows = read_table(&self.served, "_space", "id", spaces).into_iter();
        let inserts: Vec<Write> = rows.map(|row| self.statements.insert("_space", row)).collect();
        write_groups(&mut self.raw, &[inserts]);
    }

    fn write_edits(&mut self, spaces: &[i64], commits: usize) -> f64 {
        self.add_spaces(spaces);
        let (first, others) = of_edits(&self.served, &self.statements, spaces);
        assert_eq!(others.len(), CLIENTS * (EDITS - 1), "each edit is in the log");
        write_groups(&mut self.raw, &[first]);
        let groups = grouped(others, commits);
        settle(&[&self.served, &self.raw]);
        write_groups(&mut self.raw, &groups)
    }

    fn write_batches(&mut self, batches: &Batches, space: i64) -> f64 {
        self.add_spaces(&[space]);
        let groups = of_pushes(&self.served, &self.statements, batches, space);
        settle(&[&self.served, &self.raw]);
        write_groups(&mut self.raw, &groups)
    }

    /// Both hold what the work says, and so does the log.
    fn check(&self, spaces: &[i64], txns: &[Vec<Json>], logged: usize) {
        for (table, column) in WRITTEN {
            let rows = read_table(&self.served, table, column, spaces);
            assert!(rows == read_table(&self.raw, table, column, spaces), "the same rows of {table}");
            if TABLES.contains(&table) {
                assert_eq!(rows.len() as i64, work::rows_after(txns)[table], "the work's rows of {table}");
            } else if table == "_log" {
                assert_eq!(rows.len(), logged, "what the log tells");
            }
        }
    }
}

pub fn run() -> Vec<Figure> {
    let (server, place) = (Server::start("canvas"), Place::sqlite("canvas"));
    let mut databases = Databases::open(&server, &place);
    let (edits, batches) = (single_edits(), Batches::prepare());
    let (mut singles, mut raw_singles, mut pushes, mut raw_pushes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for repeat in 0..REPEATS {
        let burst = Burst::prepare(&server, &edits, repeat);
        databases.settle();
        let before = server.group_commits();
        singles.push(burst.send());
        let commits = server.group_commits() - before;
        let spaces = databases.numbers(&spaces_of(repeat));
        raw_singles.push(databases.write_edits(&spaces, commits));
        databases.check(&spaces, &edits, CLIENTS * EDITS);

        let name = format!("batches-{repeat}");
        databases.settle();
        pushes.push(batches.send(&server, &name));
        let spaces = databases.numbers(&[name]);
        raw_pushes.push(databases.write_batches(&batches, spaces[0]));
        databases.check(&spaces, &batches.txns, batches.txns.len());
        let (single, push) = (singles[repeat], pushes[repeat]);
        eprintln!("  {} of {REPEATS}: {single:.2} s for single edits, in {commits} transactions; {push:.2} s for batches", repeat + 1);
    }
    vec![
        Figure::of_times("B8 64 clients, single edits; limit: raw transactions grouped alike", &singles, &raw_singles, 1.5),
        Figure::of_times("B8 20 pushes of 500 edits; limit: raw bulk inserts", &pushes, &raw_pushes, 2.0),
    ]
}
