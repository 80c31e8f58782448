//! `hot-paths NAME`: runs one hot path of the core, once, so that the instructions of [`counted`] can be counted. Without a name, lists
//! them.

#[path = "../work.rs"]
#[allow(dead_code, reason = "some of it is for other benchmarks")]
mod work;

use driftline_core::engine::{Config, Disk, Effect, Engine, SlotDisk};
use driftline_core::outbox::Key;
use driftline_core::schema::Schema;

const CLIENT: u64 = 0x8000_0000_0000_0001;

fn main() {
    let paths: &[(&str, fn())] = &[("burst", burst), ("single", single), ("reopen", reopen), ("push", push)];
    match std::env::args().nth(1) {
        None => paths.iter().for_each(|(name, _)| println!("{name}")),
        Some(wanted) => {
            let (_, run) = paths.iter().find(|(name, _)| *name == wanted).expect("one of the names");
            run();
        }
    }
}

/// What is counted begins and ends here.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    work()
}

fn engine() -> Engine {
    Engine::new(Config {
        schema: Schema::parse(include_str!("../../../schemas/canvas/schema.json")).expect("the schema is right"),
        slot: 0,
        client: CLIENT,
        high: Vec::new(),
        imported: Vec::new(),
        seed: 1,
        outbox_txns: 100_000,
        outbox_bytes: 64 * 1024 * 1024,
    })
}

fn opened(slot: SlotDisk) -> Engine {
    let mut engine = engine();
    engine.set_online(0, false);
    engine.handle_opened(0, Disk { slots: vec![slot], ..Disk::default() });
    engine
}

/// Tells the engine that what it wants saved is on the disk. Returns what that is.
fn save(engine: &mut Engine) -> Vec<(Key, String)> {
    let mut records = Vec::new();
    while let Some(effect) = engine.poll() {
        if let Effect::Save { id, slot, puts, .. } = effect {
            records.extend(puts);
            engine.handle_saved(1, slot, id);
        }
    }
    records
}

/// Makes 10,000 edits in 100 transactions, until they are saved.
fn made(engine: &mut Engine, transactions: &[String]) -> Vec<(Key, String)> {
    let mut records = Vec::new();
    for edits in transactions {
        engine.transact(1, edits).expect("it can be");
        records.extend(save(engine));
    }
    assert!(engine.replica().view().len() > 4_000);
    records
}

fn burst() {
    let mut engine = opened(SlotDisk::default());
    let transactions = transactions();
    let records = counted(|| made(&mut engine, &transactions));
    assert!(records.iter().map(|(_, record)| record.len()).sum::<usize>() > 1_000_000);
}

/// 1,000 single edits, each saved before the next.
fn single() {
    let mut engine = opened(SlotDisk::default());
    let card = |n| {
        format!(r#"{{"op":"create","table":"card","id":"0199dddd-0000-7000-8000-{n:012x}","set":{{"name":"card {n}","x":{n},"y":7}}}}"#)
    };
    let edits: Vec<String> = (0..1_000).map(|n| format!("{{\"edits\":[{}]}}", card(n))).collect();
    counted(|| {
        for edit in &edits {
            engine.transact(1, edit).expect("it can be");
            assert_eq!(save(&mut engine).len(), 1);
        }
    });
}

/// What the burst has left on the disk.
fn left() -> SlotDisk {
    let records = made(&mut opened(SlotDisk::default()), &transactions());
    SlotDisk { records: records.into_iter().map(|(_, record)| record).collect(), ..SlotDisk::default() }
}

/// Opens what the burst has left.
fn reopen() {
    let left = left();
    let engine = counted(|| opened(left));
    assert!(engine.replica().view().len() > 4_000);
}

/// The first request with what the burst has left.
fn push() {
    let mut engine = opened(left());
    engine.set_online(1, true);
    engine.handle_lead(1, 1, None, Vec::new());
    let pushed = counted(|| {
        let mut now = 1;
        while let Some(effect) = engine.poll() {
            match effect {
                Effect::Fetch { id } => {
                    let empty = "{\"schema\":1,\"rev\":0,\"digest\":\"00000000000000000000000000000000\",\"rows\":0}\n{\"end\":true}\n";
                    engine.handle_answer(now, id, 200, None, empty);
                }
                Effect::Commit { id, .. } => engine.handle_committed(now, id),
                Effect::Push { body, .. } if body.len() > 100_000 => return body.len(),
                Effect::Push { id, .. } => engine.handle_answer(now, id, 503, None, ""),
                Effect::Wake { at_ms } => {
                    now = now.max(at_ms);
                    engine.handle_tick(now);
                }
                _ => {}
            }
        }
        0
    });
    assert!(pushed > 100_000, "{pushed} bytes");
}

/// The work as the package hands it over.
fn transactions() -> Vec<String> {
    work::edits(1).iter().map(|edits| serde_json::json!({"edits": edits}).to_string()).collect()
}
