//! The binary itself on one core and in 512 MB, with a hundred thousand rows.

use crate::large::{create, delete, until_done};
use crate::plans::unserved;
use crate::process::{Process, spawn_by};
use crate::world::{Client, World, id};
use driftline_core::digest::Digest;
use driftline_core::limits::PUSH_TXNS;
use driftline_core::schema::Schema;
use driftline_core::wire::read_snapshot;
use serde_json::{Value as Json, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

const SCHEMA: &str = r#"{"name": "narrow", "version": 1, "tables": {
  "board": {},
  "note": {"fields": {"text": {"type": "text", "default": ""}}, "references": {"board": {"to": ["board"], "on_delete": "cascade"}}}
}}"#;

const MEMORY_KIB: u64 = 512 * 1024;
/// What it may hold at its peak. It has addresses for little more than a quarter of that limit, so half of it is plenty.
const PEAK_KIB: u64 = MEMORY_KIB / 2;
/// Nothing that is asked here takes so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// A line of one of the kernel's files about a process, without its name.
fn told(pid: u32, file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{file} has no {name}")).trim().to_string()
}

/// The limit is on addresses, which the kernel refuses to give beyond it: memory cannot be more, and no peak is missed between two
/// looks. What a process keeps addresses for without using them (a stack for each thread, an arena for each of a few threads) counts,
/// too, so it is told to make two arenas, and has room for many threads: it takes about 150 MB of addresses.
fn start(world: &World) -> Process {
    // The first core that this process may have: a container may lack number 0.
    let cores = told(std::process::id(), "status", "Cpus_allowed_list:");
    let core: String = cores.chars().take_while(char::is_ascii_digit).collect();
    let script = format!("ulimit -v {MEMORY_KIB} && exec taskset -c {core} \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_driftline")]).env("MALLOC_ARENA_MAX", "2");
    let process = spawn_by(command, world, "", &[]).expect("the server starts");
    let pid = process.child.id();
    assert_eq!(told(pid, "status", "Cpus_allowed_list:"), core);
    assert_eq!(told(pid, "limits", "Max address space").split_whitespace().next(), Some((MEMORY_KIB * 1024).to_string().as_str()));
    process
}

/// By HTTP/1.0, where what is streamed comes as it is, and ends with the connection.
fn ask(process: &Process, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(&process.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (host, length) = (&process.address, body.len());
    let head = format!("{method} {path} HTTP/1.0\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(&head[9..12], "200", "{method} {path}: {body}");
    body.to_string()
}

/// Pushes; every transaction is applied.
fn send(process: &Process, space: &str, client: &mut Client, units: Vec<Json>) -> Json {
    let (path, count) = (format!("/v1/spaces/{space}/reconcile"), units.len());
    let answer: Json = serde_json::from_str(&ask(process, "POST", &path, &client.push(units))).unwrap();
    let applied = answer["outcomes"].as_array().unwrap().iter().filter(|outcome| outcome["outcome"] == "applied").count();
    assert_eq!(applied, count, "{answer}");
    client.receipt = answer["clients"][0]["receipt"].clone();
    client.closed = if client.seq == 0 { json!([]) } else { json!([[1, client.seq]]) };
    answer
}

/// Asks for the log from a cursor on, page by page: how many revisions, the last of them, and the digest there.
fn follow(process: &Process, space: &str, client: &mut Client, mut cursor: u64) -> (u64, u64, Json) {
    let mut revisions = 0;
    loop {
        client.cursor = json!(cursor);
        let answer = send(process, space, client, Vec::new());
        assert_eq!(answer["reload"], json!(false), "in {space} from {cursor}");
        let changes = answer["changes"].as_array().unwrap();
        revisions += changes.len() as u64;
        cursor = changes.last().map_or(cursor, |last| last["rev"].as_u64().unwrap());
        if answer["more"] == false {
            client.cursor = Json::Null;
            return (revisions, cursor, answer["digest"].clone());
        }
        assert!(!changes.is_empty(), "others follow, and none comes: {answer}");
    }
}

/// So many rows below one: they are made, read from the log and from a snapshot, and deleted with the one.
fn pass(world: &World, schema: &Schema, process: &Process, space: &str, rows: u64) {
    let mut alice = Client::new("alice", 1);
    let board = alice.unit(json!([create("board", 1, json!({}))]));
    send(process, space, &mut alice, vec![board]);
    let note = |n: &u64| json!([create("note", *n, json!({"board": id(1), "text": format!("note {n}")}))]);
    let all: Vec<u64> = (1_000..1_000 + rows).collect();
    let (mut revisions, mut last, mut digest) = (0, 0, Json::Null);
    // A log is pruned beyond 10,000 revisions; who follows sooner has all of it.
    for some in all.chunks(5 * PUSH_TXNS) {
        for some in some.chunks(PUSH_TXNS) {
            let units = some.iter().map(|n| alice.unit(note(n))).collect();
            send(process, space, &mut alice, units);
        }
        let (more, cursor, now) = follow(process, space, &mut alice, last);
        (revisions, last, digest) = (revisions + more, cursor, now);
    }
    assert_eq!((revisions, last), (rows + 1, rows + 1), "in {space}");
    let text = ask(process, "GET", &format!("/v1/spaces/{space}/snapshot"), "");
    let head: Json = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(head, json!({"schema": 1, "rev": last, "digest": digest, "rows": rows + 1}), "in {space}");
    let mut counted = Digest::default();
    let snapshot = read_snapshot(schema, &text).expect("the snapshot is whole");
    snapshot.rows.iter().for_each(|(key, row)| counted.add(schema, *key, row));
    assert_eq!(digest, json!(format!("{:032x}", counted.0)), "in {space}");
    let gone = alice.unit(json!([delete("board", 1)]));
    send(process, space, &mut alice, vec![gone]);
    until_done(world);
    let nothing = json!("0".repeat(32));
    assert_eq!(follow(process, space, &mut alice, last), (1, last + 1, nothing), "in {space}");
    let number = world.number(space);
    let left = ["note", "board"].map(|table| world.count(&format!("SELECT count(*) FROM {table} WHERE space = {number}")));
    assert_eq!(left, [0, 0], "in {space}");
    let deleted = world.count(&format!("SELECT count(*) FROM _deleted WHERE tbl = 'note' AND space = {number}"));
    assert_eq!(deleted as u64, rows, "in {space}");
}

#[test]
fn c2_a_hundred_thousand_rows_pass_in_a_narrow_process() {
    let world = unserved(SCHEMA);
    let schema = Schema::parse(SCHEMA).unwrap();
    let process = start(&world);
    for rows in [1, 499, 500, 501, 100_000] {
        pass(&world, &schema, &process, &format!("n{rows}"), rows);
    }
    let peak: u64 = told(process.child.id(), "status", "VmHWM:").split(' ').next().unwrap().parse().unwrap();
    assert!(peak < PEAK_KIB, "{peak} KiB");
}
