//! Spans of requests reach a collector, and one that is away costs nothing else.

use crate::process::{get, post, spawn_by};
use crate::world::{Client, World, card, verdict};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

#[test]
fn t4_spans_go_to_a_collector_that_the_environment_names() {
    let world = World::new();
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = collector.local_addr().unwrap();
    let (sender, told) = channel();
    std::thread::spawn(move || {
        for stream in collector.incoming() {
            let Ok(mut stream) = stream else { return };
            stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let mut text = Vec::new();
            let _ = stream.read_to_end(&mut text);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = sender.send(text);
        }
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_driftline"));
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"));
    let mut process = spawn_by(command, &world, "", &[]).unwrap();
    let mut alice = Client::new("alice", 1);
    let unit = alice.unit(json!([card(1)]));
    assert!(post(&process, &alice.push(vec![unit])).is_some());
    assert!(get(&process, "/healthz", "").contains("200"));
    assert!(Command::new("kill").arg(process.child.id().to_string()).status().unwrap().success());
    let told = told.recv_timeout(Duration::from_secs(20)).expect("nothing comes");
    assert!(process.child.wait().unwrap().success());
    let has = |word: &[u8]| told.windows(word.len()).any(|part| part == word);
    assert!(has(b"POST /v1/traces") && has(b"driftline") && has(b"/v1/spaces/a/reconcile"), "{}", String::from_utf8_lossy(&told));
}

#[test]
fn t4_a_collector_that_is_away_costs_nothing_else() {
    let world = World::new();
    // An address at which nobody listens any more.
    let away = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_driftline"));
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{away}"));
    let mut process = spawn_by(command, &world, "", &[]).unwrap();
    let mut alice = Client::new("alice", 1);
    let unit = alice.unit(json!([card(1)]));
    let answer = post(&process, &alice.push(vec![unit])).expect("no answer comes");
    assert_eq!(verdict(&answer["outcomes"][0]), "applied");
    assert!(Command::new("kill").arg(process.child.id().to_string()).status().unwrap().success());
    let began = Instant::now();
    let status = loop {
        assert!(began.elapsed() < Duration::from_secs(20), "the process does not end");
        match process.child.try_wait().unwrap() {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    assert!(status.success(), "{status}");
}
