//! The real server, as a process of its own, and clients of its protocol, each over one connection.

use rusqlite::Connection;
use serde_json::{Value as Json, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A database with a schema's tables and no rows, and what the server's commands need to find it.
pub struct Place {
    binary: PathBuf,
    schema: PathBuf,
    migrations: PathBuf,
    /// What `--data` is given.
    data: String,
    folder: TempDir,
}

/// The server's binaries lie beside this one.
fn binary(name: &str) -> PathBuf {
    std::env::current_exe().expect("this program has a path").with_file_name(name)
}

impl Place {
    /// A file of SQLite's with one of the schemas of `tests/schemas`.
    pub fn sqlite(schema: &str) -> Place {
        let folder = tempfile::tempdir().expect("a folder for the database");
        let data = folder.path().to_str().expect("a plain path").to_string();
        let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas").join(schema);
        let (schema, migrations) = (schemas.join("schema.json"), schemas.join("migrations"));
        Place { binary: binary("driftline"), schema, migrations, data, folder }.migrated()
    }

    /// A database of PostgreSQL, by its URL. The migrations beside the schemas are SQLite's, so its own is planned first.
    pub fn postgres(schema: &str, url: &str) -> Place {
        let folder = tempfile::tempdir().expect("a folder for the migration");
        let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas").join(schema).join("schema.json");
        let (binary, migrations) = (binary("driftline-postgres"), folder.path().join("migrations"));
        let place = Place { binary, schema, migrations, data: url.to_string(), folder };
        assert!(place.command(&["migrate", "plan"]).status().expect("the server is built with PostgreSQL").success());
        place.migrated()
    }

    fn migrated(self) -> Place {
        assert!(self.command(&["migrate", "apply"]).status().expect("the server is built").success());
        self
    }

    fn command(&self, arg: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arg).arg("--schema").arg(&self.schema).arg("--migrations").arg(&self.migrations).arg("--data").arg(&self.data);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        command
    }

    /// SQLite's.
    pub fn database_file(&self) -> PathBuf {
        self.folder.path().join("driftline.db")
    }
}

pub struct Server {
    child: Child,
    address: String,
    place: Place,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// On an empty database with one of the schemas of `tests/schemas`.
    pub fn start(schema: &str) -> Server {
        Server::start_with(schema, &[])
    }

    /// The same, as an operator sets it up.
    pub fn start_with(schema: &str, more: &[&str]) -> Server {
        Server::start_on(Place::sqlite(schema), more)
    }

    pub fn start_on(place: Place, more: &[&str]) -> Server {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], more].concat();
        let mut child = place.command(&arguments).spawn().expect("the server is built");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("it says where it listens");
        let address = line.trim().strip_prefix("listening on http://").expect("it says where it listens").to_string();
        Server { child, address, place }
    }

    pub fn connect(&self) -> Client {
        self.connect_as(0xbe)
    }

    /// As a client of this id: those that push to a space at the same time each have their own.
    pub fn connect_as(&self, id: u64) -> Client {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_nodelay(true).expect("a socket takes it");
        Client { stream: BufReader::new(stream), id, receipt: Json::Null, seq: 0 }
    }

    /// How many transactions of the database it has made of all the pushes so far.
    pub fn group_commits(&self) -> usize {
        let text = String::from_utf8(self.connect().download("/metrics")).expect("metrics are text");
        let count = text.lines().find_map(|line| line.strip_prefix("driftline_group_pushes_count "));
        count.and_then(|count| count.trim().parse().ok()).expect("the server counts its commits")
    }

    pub fn database_file(&self) -> PathBuf {
        self.place.database_file()
    }

    pub fn database(&self) -> Connection {
        Connection::open(self.database_file()).expect("it has a database")
    }
}

/// What was written earlier is on disk, so that nobody waits for it now.
pub fn settle(databases: &[&Connection]) {
    for conn in databases {
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("a database that can be written");
    }
    assert!(Command::new("sync").status().expect("a system with sync").success());
}

pub struct Client {
    stream: BufReader<TcpStream>,
    id: u64,
    receipt: Json,
    seq: u64,
}

impl Client {
    /// A unit of one transaction under the next number.
    pub fn unit(&mut self, edits: Vec<Json>) -> Json {
        self.seq += 1;
        json!({"txns": [{"key": [0, self.seq], "body": {"schema": 1, "at": [1000, 0], "edits": edits}}], "after": []})
    }

    /// Sends units; all of them must be applied.
    pub fn push(&mut self, space: &str, units: &[Json]) {
        self.push_text(space, &serde_json::to_string(units).expect("units are JSON"), units.len());
    }

    /// The same for an array of `count` units that is text already, so that writing it is no part of what is measured.
    pub fn push_text(&mut self, space: &str, units: &str, count: usize) {
        let client = json!({"id": format!("{:016x}", self.id), "receipt": self.receipt, "closed": []});
        let body = format!("{{\"epoch\":1,\"cursor\":null,\"clients\":[{client}],\"units\":{units}}}");
        let head = format!(
            "POST /v1/spaces/{space}/reconcile HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let stream = self.stream.get_mut();
        stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).expect("the server reads");
        let answer = self.read_answer();
        self.receipt = answer["clients"][0]["receipt"].clone();
        let outcomes = answer["outcomes"].as_array().expect("an answer has outcomes");
        let applied = outcomes.iter().filter(|outcome| outcome["outcome"] == "applied").count();
        assert_eq!(applied, count, "all are applied");
    }

    pub fn get(&mut self, path: &str) -> Json {
        serde_json::from_slice(&self.download(path)).expect("an answer is JSON")
    }

    /// The bytes of an answer, to the last one.
    pub fn download(&mut self, path: &str) -> Vec<u8> {
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        self.stream.get_mut().write_all(head.as_bytes()).expect("the server reads");
        self.read_body()
    }

    fn read_answer(&mut self) -> Json {
        serde_json::from_slice(&self.read_body()).expect("an answer is JSON")
    }

    fn read_body(&mut self) -> Vec<u8> {
        let mut length = None;
        let mut chunked = false;
        let mut status = String::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("the server answers");
            let line = line.trim_end().to_lowercase();
            if line.is_empty() {
                break;
            }
            if status.is_empty() {
                status = line;
            } else if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse::<usize>().ok();
            } else if line == "transfer-encoding: chunked" {
                chunked = true;
            }
        }
        let body = if chunked { self.read_chunks() } else { self.read_bytes(length.expect("an answer has a length")) };
        assert!(status.contains(" 200"), "{status}: {}", String::from_utf8_lossy(&body));
        body
    }

    fn read_bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).expect("the answer is whole");
        bytes
    }

    fn read_chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("the answer is whole");
            let length = usize::from_str_radix(line.trim(), 16).expect("a chunk has a length");
            let at = body.len();
            body.resize(at + length, 0);
            self.stream.read_exact(&mut body[at..]).expect("the answer is whole");
            self.read_bytes(2);
            if length == 0 {
                return body;
            }
        }
    }
}
