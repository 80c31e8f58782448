//! The same pushes as in `serve`, on a real PostgreSQL that brings each commit to the disk.
//!
//! The limit brings the same into another database of the same PostgreSQL, by `INSERT … SELECT FROM unnest(…)`. For single edits each
//! client has a connection of its own, and each edit is one statement that writes the row, the log, the mark, the client and the space:
//! one way there and back, and one commit. Batches go over one connection, in one transaction for each push, and of the rows only what
//! they are in the end. Afterwards both databases hold the same.

use crate::figure::Figure;
use crate::serve::{Batches, Burst, CLIENTS, EDITS, KNOWN_CLIENT, REPEATS, TABLES, WRITTEN};
use crate::serve::{at_once, change, known_row, single_edits, spaces_of};
use crate::server::{Place, Server};
use crate::work;
use ::postgres::types::{FromSql, ToSql, Type};
use ::postgres::{Client, GenericClient, NoTls, Row, Statement};
use serde_json::Value as Json;
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Instant;

/// A PostgreSQL in a folder of its own. It is stopped, and its folder removed, by a shell that waits for the end of a pipe whose other
/// end this process holds: however this process ends, that goes with it.
struct Cluster {
    folder: PathBuf,
    keeper: Child,
    held: Option<ChildStdin>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.held.take());
        let _ = self.keeper.wait();
    }
}

impl Cluster {
    fn start() -> Cluster {
        let folder = tempfile::Builder::new().prefix("driftline-bench-").tempdir().expect("a folder for PostgreSQL").keep();
        let (at, ctl, own) = (folder.display(), program("pg_ctl"), if is_root() { "chown postgres" } else { "test -d" });
        let script = format!(
            "set -e; trap '' INT TERM HUP; cd /; {own} {at}
             {init} -D {at}/data -U postgres -A trust -E UTF8 --no-locale >/dev/null
             trap '{ctl} -D {at}/data -m immediate -s stop; rm -rf {at}' EXIT
             echo ready; read -r _ || true",
            init = program("initdb"),
        );
        let mut keeper = shell(&script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("there is a shell");
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().expect("it is piped")).read_line(&mut line).expect("it says when it is ready");
        assert_eq!(line.trim(), "ready", "there is no PostgreSQL in {at}");
        let options = format!("-c listen_addresses='' -c unix_socket_directories={at} -c max_connections=200");
        let start = format!("cd /; {ctl} -D {at}/data -s -w -l {at}/data/log -o \"{options}\" start >/dev/null 2>&1");
        let started = shell(&start).status().expect("there is a shell").success();
        let cluster = Cluster { held: keeper.stdin.take(), folder, keeper };
        assert!(started, "PostgreSQL does not start in {}", cluster.folder.display());
        cluster
    }

    fn url(&self, database: &str) -> String {
        format!("postgres:///{database}?user=postgres&host={}", self.folder.display())
    }

    fn connect(&self, database: &str) -> Client {
        Client::connect(&self.url(database), NoTls).expect("PostgreSQL takes connections")
    }

    /// An empty database with the canvas' tables.
    fn database(&self, name: &str) -> Place {
        self.connect("postgres").batch_execute(&format!("CREATE DATABASE {name}")).expect("it can be made");
        Place::postgres("canvas", &self.url(name))
    }
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn is_root() -> bool {
    let told = Command::new("id").arg("-u").output().expect("a system with users").stdout;
    String::from_utf8_lossy(&told).trim() == "0"
}

/// One of PostgreSQL's programs: where Debian puts them, or on the path. They do not run as root.
fn program(name: &str) -> String {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|version| version.path().join("bin"));
    let on_path = std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let found = versions.chain(on_path).map(|folder| folder.join(name)).find(|path| path.exists());
    let found = found.unwrap_or_else(|| panic!("there is no {name} here: install PostgreSQL (on Debian, `apt install postgresql`)"));
    format!("{}{}", if is_root() { "runuser -u postgres -- " } else { "" }, found.display())
}

/// A list of one column's values, to go into a statement.
type List = Box<dyn ToSql + Sync + Send>;

fn list<T>(rows: &[&Row], at: usize) -> List
where
    T: for<'a> FromSql<'a> + ToSql + Sync + Send + 'static,
{
    Box::new(rows.iter().map(|row| row.get::<_, Option<T>>(at)).collect::<Vec<Option<T>>>())
}

/// The columns of rows that were read alike, of which there is one at least.
fn lists(rows: &[&Row], columns: Range<usize>) -> Vec<List> {
    let of = |at: usize| match *rows[0].columns()[at].type_() {
        Type::INT8 => list::<i64>(rows, at),
        Type::FLOAT8 => list::<f64>(rows, at),
        Type::BOOL => list::<bool>(rows, at),
        Type::BYTEA => list::<Vec<u8>>(rows, at),
        _ => list::<String>(rows, at),
    };
    columns.map(of).collect()
}

fn execute(client: &mut impl GenericClient, statement: &Statement, lists: &[List]) -> u64 {
    let params: Vec<&(dyn ToSql + Sync)> = lists.iter().map(|list| &**list as &(dyn ToSql + Sync)).collect();
    client.execute(statement, &params).expect("values that the schema allows")
}

struct Table {
    name: &'static str,
    columns: Vec<(String, Type)>,
}

impl Table {
    fn of(client: &mut Client, name: &'static str) -> Table {
        let statement = client.prepare(&format!("SELECT * FROM \"{name}\"")).expect("the table is there");
        let columns = statement.columns().iter().map(|column| (column.name().to_string(), column.type_().clone()));
        Table { name, columns: columns.collect() }
    }

    /// Ids are read and written as texts: the driver knows them in no other way.
    fn read(&self, client: &mut Client, spaces: &[i64]) -> Vec<Row> {
        let column = |(name, kind): &(String, Type)| match *kind {
            Type::UUID => format!("CAST(\"{name}\" AS TEXT) AS \"{name}\""),
            _ => format!("\"{name}\""),
        };
        let columns: Vec<String> = self.columns.iter().map(column).collect();
        let sql = format!("SELECT {} FROM \"{}\" WHERE space = ANY($1)", columns.join(", "), self.name);
        client.query(sql.as_str(), &[&spaces]).expect("a question that the table answers")
    }

    /// The statement that inserts rows; its lists are its parameters from `$first` on.
    fn insert(&self, first: usize, conflict: &str) -> String {
        let names: Vec<String> = self.columns.iter().map(|column| format!("\"{}\"", column.0)).collect();
        let list = |(at, (_, kind)): (usize, &(String, Type))| match *kind {
            Type::UUID => format!("${}::text[]::uuid[]", first + at),
            _ => format!("${}::{}[]", first + at, kind.name()),
        };
        let lists: Vec<String> = self.columns.iter().enumerate().map(list).collect();
        format!("INSERT INTO \"{}\" ({}) SELECT * FROM unnest({}){conflict}", self.name, names.join(", "), lists.join(", "))
    }

    fn known_row(&self) -> String {
        known_row(self.columns.iter().map(|column| column.0.as_str()))
    }
}

/// Takes the space on by so many revisions: digest, number of the space, revisions, each in a list of one.
fn space_update(first: usize) -> String {
    let (id, count) = (first + 1, first + 2);
    format!("UPDATE _space SET rev = rev + (${count}::int8[])[1], digest = (${first}::bytea[])[1] WHERE id = (${id}::int8[])[1]")
}

struct Tables {
    rows: [Table; TABLES.len()],
    log: Table,
    mark: Table,
    client: Table,
    deleted: Table,
}

impl Tables {
    fn of(client: &mut Client) -> Tables {
        Tables {
            rows: TABLES.map(|name| Table::of(client, name)),
            log: Table::of(client, "_log"),
            mark: Table::of(client, "_mark"),
            client: Table::of(client, "_client"),
            deleted: Table::of(client, "_deleted"),
        }
    }

    /// All that an edit writes, in one statement.
    fn of_edit(&self, table: &Table, conflict: &str) -> String {
        let log = 1 + table.columns.len();
        let mark = log + self.log.columns.len();
        let client = mark + self.mark.columns.len();
        let space = client + self.client.columns.len();
        format!(
            "WITH r AS ({}), l AS ({}), m AS ({}), c AS ({}) {}",
            table.insert(1, conflict),
            self.log.insert(log, ""),
            self.mark.insert(mark, ""),
            self.client.insert(client, KNOWN_CLIENT),
            space_update(space)
        )
    }

    /// For a new row of each table, and for a card that moves.
    fn of_edits(&self) -> Vec<String> {
        let [_, card, _] = &self.rows;
        let creates = self.rows.iter().map(|table| self.of_edit(table, ""));
        creates.chain([self.of_edit(card, &card.known_row())]).collect()
    }

    /// What a push is made of, in order.
    fn of_push(&self) -> Vec<String> {
        let rows = self.rows.iter().chain([&self.log, &self.mark, &self.deleted]).map(|table| table.insert(1, ""));
        rows.chain([self.client.insert(1, KNOWN_CLIENT), space_update(1)]).collect()
    }
}

/// A connection of the limit's.
struct Raw {
    client: Client,
    statements: Vec<Statement>,
}

impl Raw {
    fn prepare(mut client: Client, sql: &[String]) -> Raw {
        let statements = sql.iter().map(|sql| client.prepare(sql).expect("SQL that the schema allows")).collect();
        Raw { client, statements }
    }
}

/// One of these statements, and its parameters.
struct Write {
    statement: usize,
    lists: Vec<List>,
}

/// What each client's edits write, in its order.
fn of_edits(served: &mut Client, tables: &Tables, spaces: &[i64]) -> Vec<Vec<Write>> {
    let mut rows: HashMap<String, Row> = HashMap::new();
    for table in &tables.rows {
        rows.extend(table.read(served, spaces).into_iter().map(|row| (row.get::<_, String>("id"), row)));
    }
    let sql = "SELECT l.*, m.*, c.*, s.digest, s.id FROM _log AS l JOIN _space AS s ON s.id = l.space \
               JOIN _mark AS m ON m.space = l.space AND m.actor = l.actor AND m.seq = l.seq \
               JOIN _client AS c ON c.space = l.space AND c.actor = l.actor WHERE l.space = ANY($1) ORDER BY c.client, l.seq";
    let logged = served.query(sql, &[&spaces]).expect("a question that the tables answer");
    assert_eq!(logged.len(), CLIENTS * EDITS, "each edit is in the log");
    let write = |logged: &Row| {
        let (table, id, is_new) = change(logged.get("changes"));
        let row = &rows[&id];
        let mut lists_of_all = lists(&[row], 0..row.len());
        lists_of_all.extend(lists(&[logged], 0..logged.len()));
        lists_of_all.push(Box::new(vec![1_i64]));
        Write { statement: if is_new { table } else { TABLES.len() }, lists: lists_of_all }
    };
    logged.chunks(EDITS).map(|edits| edits.iter().map(&write).collect()).collect()
}

/// What each push has left behind: rows as they are in the end, and ids of those that are gone.
fn of_pushes(served: &mut Client, tables: &Tables, batches: &Batches, space: i64) -> Vec<Vec<Write>> {
    let mut pushes: Vec<Vec<Write>> = (0..batches.pushes()).map(|_| Vec::new()).collect();
    let mut deal = |statement: usize, rows: &[Row], push_of: &dyn Fn(&Row) -> usize| {
        for (push, writes) in pushes.iter_mut().enumerate() {
            let own: Vec<&Row> = rows.iter().filter(|row| push_of(row) == push).collect();
            if let Some(first) = own.first() {
                writes.push(Write { statement, lists: lists(&own, 0..first.len()) });
            }
        }
    };
    for (at, table) in tables.rows.iter().enumerate() {
        deal(at, &table.read(served, &[space]), &|row: &Row| batches.made[row.get::<_, &str>("id")]);
    }
    let by_number = |row: &Row| Batches::push_of(row.get("seq"));
    let log = tables.log.read(served, &[space]);
    let push_at: HashMap<i64, usize> = log.iter().map(|row| (row.get("rev"), by_number(row))).collect();
    deal(TABLES.len(), &log, &by_number);
    deal(TABLES.len() + 1, &tables.mark.read(served, &[space]), &by_number);
    deal(TABLES.len() + 2, &tables.deleted.read(served, &[space]), &|row: &Row| push_at[&row.get::<_, i64>("rev")]);
    let client = tables.client.read(served, &[space]).remove(0);
    let state = served.query_one("SELECT digest, id FROM _space WHERE id = $1", &[&space]).expect("the space is there");
    let revisions = (push_at.len() / pushes.len()) as i64;
    for writes in &mut pushes {
        writes.push(Write { statement: TABLES.len() + 3, lists: lists(&[&client], 0..client.len()) });
        let mut after = lists(&[&state], 0..2);
        after.push(Box::new(vec![revisions]));
        writes.push(Write { statement: TABLES.len() + 4, lists: after });
    }
    pushes
}

/// The server's database, and that of the limit.
struct Databases {
    served: Client,
    raw: Raw,
    /// One for each client.
    raws: Vec<Raw>,
    tables: Tables,
}

impl Databases {
    fn open(cluster: &Cluster) -> Databases {
        let (mut served, raw) = (cluster.connect("served"), cluster.connect("raw"));
        let tables = Tables::of(&mut served);
        let raw = Raw::prepare(raw, &tables.of_push());
        let raws = (0..CLIENTS).map(|_| Raw::prepare(cluster.connect("raw"), &tables.of_edits())).collect();
        Databases { served, raw, raws, tables }
    }

    /// What was written earlier is on disk, so that nobody waits for it now.
    fn settle(&mut self) {
        self.served.batch_execute("CHECKPOINT").expect("the disk takes it");
    }

    fn numbers(&mut self, names: &[String]) -> Vec<i64> {
        let rows = self.served.query("SELECT id FROM _space WHERE name = ANY($1) ORDER BY id", &[&names]);
        rows.expect("the spaces are there").iter().map(|row| row.get(0)).collect()
    }

    /// At no revision yet.
    fn add_spaces(&mut self, spaces: &[i64]) {
        let rows = self.served.query("SELECT id, name, horizon, digest, schema FROM _space WHERE id = ANY($1)", &[&spaces]);
        let sql = "INSERT INTO _space (id, name, rev, horizon, digest, schema) OVERRIDING SYSTEM VALUE VALUES ($1, $2, 0, $3, $4, $5)";
        for row in rows.expect("the spaces are there") {
            let (id, name, horizon): (i64, String, i64) = (row.get(0), row.get(1), row.get(2));
            let (digest, schema): (Vec<u8>, i64) = (row.get(3), row.get(4));
            self.raw.client.execute(sql, &[&id, &name, &horizon, &digest, &schema]).expect("a space that is not there");
        }
    }

    /// The first edit of each client is not measured, as with the server.
    fn write_edits(&mut self, spaces: &[i64]) -> f64 {
        self.add_spaces(spaces);
        let mut edits = of_edits(&mut self.served, &self.tables, spaces);
        for (raw, edits) in self.raws.iter_mut().zip(&mut edits) {
            let Write { statement, lists } = edits.remove(0);
            execute(&mut raw.client, &raw.statements[statement], &lists);
        }
        self.settle();
        let tasks: Vec<(&mut Raw, Vec<Write>)> = self.raws.iter_mut().zip(edits).collect();
        at_once(tasks, |(raw, edits)| {
            for Write { statement, lists } in &edits {
                let updated = execute(&mut raw.client, &raw.statements[*statement], lists);
                assert_eq!(updated, 1, "the space is updated");
            }
        })
    }

    fn write_batches(&mut self, batches: &Batches, space: i64) -> f64 {
        self.add_spaces(&[space]);
        let pushes = of_pushes(&mut self.served, &self.tables, batches, space);
        self.settle();
        let began = Instant::now();
        for writes in &pushes {
            let mut transaction = self.raw.client.transaction().expect("a transaction");
            for Write { statement, lists } in writes {
                execute(&mut transaction, &self.raw.statements[*statement], lists);
            }
            transaction.commit().expect("the disk takes it");
        }
        began.elapsed().as_secs_f64()
    }

    /// Both hold what the work says, and so does the log.
    fn check(&mut self, spaces: &[i64], txns: &[Vec<Json>], logged: usize) {
        for (table, column) in WRITTEN {
            let sql = format!(
                "SELECT count(*), md5(string_agg(CAST(t AS TEXT), ',' ORDER BY CAST(t AS TEXT))) FROM \"{table}\" AS t \
                 WHERE {column} = ANY($1)"
            );
            let read = |client: &mut Client| {
                let row = client.query_one(sql.as_str(), &[&spaces]).expect("a question that the table answers");
                (row.get::<_, i64>(0), row.get::<_, Option<String>>(1))
            };
            let served = read(&mut self.served);
            assert_eq!(served, read(&mut self.raw.client), "the same rows of {table}");
            if TABLES.contains(&table) {
                assert_eq!(served.0, work::rows_after(txns)[table], "the work's rows of {table}");
            } else if table == "_log" {
                assert_eq!(served.0, logged as i64, "what the log tells");
            }
        }
    }
}

pub fn run() -> Vec<Figure> {
    let cluster = Cluster::start();
    let (place, _raw) = (cluster.database("served"), cluster.database("raw"));
    let server = Server::start_on(place, &[]);
    let mut databases = Databases::open(&cluster);
    let (edits, batches) = (single_edits(), Batches::prepare());
    let (mut singles, mut raw_singles, mut pushes, mut raw_pushes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for repeat in 0..REPEATS {
        let burst = Burst::prepare(&server, &edits, repeat);
        databases.settle();
        singles.push(burst.send());
        let spaces = databases.numbers(&spaces_of(repeat));
        raw_singles.push(databases.write_edits(&spaces));
        databases.check(&spaces, &edits, CLIENTS * EDITS);

        let name = format!("batches-{repeat}");
        databases.settle();
        pushes.push(batches.send(&server, &name));
        let spaces = databases.numbers(&[name]);
        raw_pushes.push(databases.write_batches(&batches, spaces[0]));
        databases.check(&spaces, &batches.txns, batches.txns.len());
        let (single, push) = (singles[repeat], pushes[repeat]);
        eprintln!("  {} of {REPEATS}: {single:.2} s for single edits; {push:.2} s for batches", repeat + 1);
    }
    let single = "B9 PostgreSQL, 64 clients, single edits; limit: raw unnest inserts, a connection per client";
    vec![
        Figure::of_times(single, &singles, &raw_singles, 2.0),
        Figure::of_times("B9 PostgreSQL, 20 pushes of 500 edits; limit: raw unnest inserts", &pushes, &raw_pushes, 2.0),
    ]
}
