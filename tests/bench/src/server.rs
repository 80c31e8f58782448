//! The real server, as a process of its own, and a client of its protocol over one connection.

use rusqlite::Connection;
use serde_json::{Value as Json, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

pub struct Server {
    child: Child,
    address: String,
    folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server's binary lies beside this one.
fn binary() -> PathBuf {
    std::env::current_exe().expect("this program has a path").with_file_name("driftline")
}

impl Server {
    /// On an empty database with one of the schemas of `tests/schemas`.
    pub fn start(schema: &str) -> Server {
        Server::start_with(schema, &[])
    }

    /// The same, as an operator sets it up.
    pub fn start_with(schema: &str, more: &[&str]) -> Server {
        let folder = tempfile::tempdir().expect("a folder for the database");
        let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas").join(schema);
        let command = |arg: &[&str]| {
            let mut command = Command::new(binary());
            command.args(arg).arg("--schema").arg(schemas.join("schema.json"));
            command.arg("--migrations").arg(schemas.join("migrations")).arg("--data").arg(folder.path());
            command.stdout(Stdio::piped()).stderr(Stdio::null());
            command
        };
        assert!(command(&["migrate", "apply"]).status().expect("the server is built").success());
        let mut child = command(&[&["serve", "--listen", "127.0.0.1:0"], more].concat()).spawn().expect("the server is built");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("it says where it listens");
        let address = line.trim().strip_prefix("listening on http://").expect("it says where it listens").to_string();
        Server { child, address, folder }
    }

    pub fn connect(&self) -> Client {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_nodelay(true).expect("a socket takes it");
        Client { stream: BufReader::new(stream), receipt: Json::Null, seq: 0 }
    }

    pub fn database_file(&self) -> PathBuf {
        self.folder.path().join("driftline.db")
    }

    pub fn database(&self) -> Connection {
        Connection::open(self.database_file()).expect("it has a database")
    }
}

pub struct Client {
    stream: BufReader<TcpStream>,
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
        let client = json!({"id": "00000000000000be", "receipt": self.receipt, "closed": []});
        let body = json!({"epoch": 1, "cursor": null, "clients": [client], "units": units}).to_string();
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
        assert_eq!(applied, units.len(), "all are applied");
    }

    pub fn get(&mut self, path: &str) -> Json {
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        self.stream.get_mut().write_all(head.as_bytes()).expect("the server reads");
        self.read_answer()
    }

    fn read_answer(&mut self) -> Json {
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
        serde_json::from_slice(&body).expect("an answer is JSON")
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
            body.extend(self.read_bytes(length));
            self.read_bytes(2);
            if length == 0 {
                return body;
            }
        }
    }
}
