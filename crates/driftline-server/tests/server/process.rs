//! The binary itself, killed at the moment that matters.

use crate::world::{Client, World, card, folder, id};
use serde_json::{Value as Json, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

pub struct Process {
    pub child: Child,
    pub address: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn start(world: &World, fault: &str) -> Process {
    start_with(world, fault, &[])
}

fn start_with(world: &World, fault: &str, more: &[&str]) -> Process {
    spawn(world, fault, more).expect("the server starts")
}

/// `None` where the process dies before it listens.
pub fn try_start(world: &World, fault: &str) -> Option<Process> {
    spawn(world, fault, &[])
}

fn spawn(world: &World, fault: &str, more: &[&str]) -> Option<Process> {
    spawn_by(Command::new(env!("CARGO_BIN_EXE_driftline")), world, fault, more)
}

/// Has `command` start the server: the binary itself, or what runs it with the arguments that follow.
pub fn spawn_by(mut command: Command, world: &World, fault: &str, more: &[&str]) -> Option<Process> {
    let config = &world.config;
    let mut child = command
        .arg("serve")
        .args(more)
        .args(["--listen", "127.0.0.1:0", "--schema"])
        .arg(&config.schema)
        .arg("--migrations")
        .arg(&config.migrations)
        .arg("--data")
        .arg(config.data.to_string())
        .env("DRIFTLINE_FAULT", fault)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let Some(address) = line.trim().strip_prefix("listening on http://").map(str::to_string) else {
        let _ = child.kill();
        let _ = child.wait();
        return None;
    };
    Some(Process { child, address })
}

/// `None` where the connection ends without an answer.
pub fn post(process: &Process, body: &str) -> Option<Json> {
    post_to(process, "a", body)
}

pub fn post_to(process: &Process, space: &str, body: &str) -> Option<Json> {
    let mut stream = TcpStream::connect(&process.address).ok()?;
    let head = format!(
        "POST /v1/spaces/{space}/reconcile HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        process.address,
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

#[test]
fn d1_an_answer_lost_with_the_process_is_given_again_and_nothing_is_doubled() {
    for (fault, committed) in [("abort_after_commit=1", 1), ("abort_before_commit=1", 0)] {
        let world = World::new();
        let mut alice = Client::new("alice", 1);
        let units =
            vec![alice.unit(json!([card(1)])), alice.unit(json!([{"op": "update", "table": "card", "id": id(1), "add": {"count": 1}}]))];
        let push = alice.push(units);
        let mut process = start(&world, fault);
        assert_eq!(post(&process, &push), None, "{fault}");
        assert!(!process.child.wait().unwrap().success());
        assert_eq!(world.count("SELECT count(*) FROM card"), committed, "{fault}");
        let process = start(&world, "");
        let answer = post(&process, &push).unwrap();
        assert_eq!((&answer["rev"], &answer["outcomes"][1]["outcome"]), (&json!(2), &json!("applied")), "{fault}");
        assert_eq!(world.count("SELECT count FROM card"), 1, "{fault}");
    }
}

pub fn get(process: &Process, path: &str, more: &str) -> String {
    let mut stream = TcpStream::connect(&process.address).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{more}\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).to_lowercase()
}

#[test]
fn a5_the_token_command_makes_what_the_server_takes() {
    let world = World::new();
    let secret = world.directory.path().join("secret");
    let secret = secret.to_str().unwrap();
    let make = |more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_driftline"))
            .args(["token", "--secret-file", secret, "--sub", "alice"])
            .args(more)
            .output()
            .unwrap()
    };
    let (all, other) = (make(&[]), make(&["--space", "b", "--role", "read", "--hours", "1"]));
    assert!(String::from_utf8_lossy(&all.stderr).contains("made a new secret") && other.stderr.is_empty());
    let process = start_with(&world, "", &["--secret-file", secret]);
    let status = |token: &[u8]| {
        let more = format!("authorization: Bearer {}\r\n", String::from_utf8_lossy(token).trim());
        get(&process, "/v1/spaces/a/snapshot", &more)[9..12].to_string()
    };
    assert_eq!([status(&all.stdout), status(&other.stdout), status(b"x")], ["200", "403", "401"]);
    std::process::Command::new("chmod").args(["644", secret]).status().unwrap();
    let readable = make(&[]);
    assert!(!readable.status.success() && String::from_utf8_lossy(&readable.stderr).contains("chmod 600"));
}

#[test]
fn a6_files_of_an_app_are_served_with_types_that_hold() {
    let world = World::new();
    let files = world.directory.path().join("files");
    std::fs::create_dir_all(files.join("assets")).unwrap();
    for name in ["index.html", "assets/engine-0a1b2c.wasm", "assets/app-0a1b2c.js"] {
        std::fs::write(files.join(name), "x").unwrap();
    }
    let process = start_with(&world, "", &["--static", files.to_str().unwrap()]);
    for (path, status, parts) in [
        ("/", "200", ["text/html", "no-cache"]),
        ("/assets/engine-0a1b2c.wasm", "200", ["content-type: application/wasm", "immutable"]),
        ("/assets/app-0a1b2c.js", "200", ["text/javascript", "immutable"]),
        ("/assets/gone.js", "404", ["nosniff", "no-cache"]),
        ("/../schema.json", "404", ["nosniff", "no-cache"]),
        ("/v1/nothing", "404", ["application/problem+json", "not_found"]),
    ] {
        let answer = get(&process, path, "");
        assert!(answer[9..12] == *status && parts.iter().all(|part| answer.contains(part)), "{path}: {answer}");
    }
}

#[test]
fn m1_serve_refuses_with_exit_code_2_and_says_what_to_run() {
    let world = World::new();
    std::fs::remove_dir_all(folder(&world.config)).unwrap();
    let (schema, migrations, data) = (&world.config.schema, &world.config.migrations, &world.config.data);
    let places = |command: &mut Command| {
        command.arg("--schema").arg(schema).arg("--migrations").arg(migrations).arg("--data").arg(data.to_string()).output().unwrap()
    };
    let output = places(Command::new(env!("CARGO_BIN_EXE_driftline")).arg("serve"));
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("run: driftline migrate apply"));
    let status = |word: &str| places(Command::new(env!("CARGO_BIN_EXE_driftline")).args(["migrate", word]));
    assert_eq!(status("status").status.code(), Some(1));
    assert_eq!(status("apply").status.code(), Some(0));
    assert_eq!(status("status").status.code(), Some(0));
}

#[tokio::test]
async fn v4_the_command_says_so_in_words_and_by_its_exit_code() {
    let world = crate::check::start(crate::check::CANVAS, json!([{"op": "create", "table": "box", "id": id(1), "set": {}}])).await;
    let run = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_driftline"))
            .arg("check")
            .arg("--schema")
            .arg(&world.config.schema)
            .arg("--migrations")
            .arg(&world.config.migrations)
            .arg("--data")
            .arg(world.config.data.to_string())
            .args(more)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).to_string())
    };
    assert_eq!(run(&[]), (Some(0), "1 spaces with 1 rows: nothing is wrong\n".to_string()));
    assert_eq!(run(&["--space", "b"]).0, Some(2));
    crate::check::damage(&world, "UPDATE box SET name = 'x'");
    let (code, said) = run(&["--space", "a"]);
    assert!(code == Some(1) && said.starts_with("a: digest: ") && said.ends_with("1 spaces with 1 rows: 1 findings\n"), "{code:?} {said}");
}

#[test]
fn m1_a_url_is_never_taken_for_a_folder() {
    let world = World::new();
    let (schema, migrations) = (&world.config.schema, &world.config.migrations);
    let mut command = Command::new(env!("CARGO_BIN_EXE_driftline"));
    command.current_dir(world.directory.path()).args(["migrate", "apply", "--data", "postgres://nobody@127.0.0.1:1/none"]);
    let output = command.arg("--schema").arg(schema).arg("--migrations").arg(migrations).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("PostgreSQL"), "{output:?}");
    assert!(!world.directory.path().join("postgres:").exists());
}
