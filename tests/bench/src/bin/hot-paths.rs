//! `hot-paths NAME`: runs one hot path of the core, once, so that its instructions can be counted. Without a name, lists them.

#[path = "../work.rs"]
#[allow(dead_code, reason = "some of it is for other benchmarks")]
mod work;

use driftline_core::engine::{Config, Disk, Effect, Engine, SlotDisk};
use driftline_core::schema::Schema;

const CLIENT: u64 = 0x8000_0000_0000_0001;

fn main() {
    let paths: &[(&str, fn())] = &[("burst", burst), ("single", single)];
    match std::env::args().nth(1) {
        None => paths.iter().for_each(|(name, _)| println!("{name}")),
        Some(wanted) => {
            let (_, run) = paths.iter().find(|(name, _)| *name == wanted).expect("one of the names");
            run();
        }
    }
}

fn schema() -> Schema {
    Schema::parse(include_str!("../../../schemas/canvas/schema.json")).expect("the schema is right")
}

fn engine() -> Engine {
    let mut engine = Engine::new(Config {
        schema: schema(),
        slot: 0,
        client: CLIENT,
        high: Vec::new(),
        imported: Vec::new(),
        seed: 1,
        outbox_txns: 100_000,
        outbox_bytes: 64 * 1024 * 1024,
    });
    engine.set_online(0, false);
    engine.handle_opened(0, Disk { slots: vec![SlotDisk::default()], ..Disk::default() });
    engine
}

/// Tells the engine that what it wants saved is on the disk. Returns the bytes of it.
fn save(engine: &mut Engine) -> usize {
    let mut bytes = 0;
    while let Some(effect) = engine.poll() {
        if let Effect::Save { id, slot, puts, .. } = effect {
            bytes += puts.iter().map(|(_, record)| record.len()).sum::<usize>();
            engine.handle_saved(1, slot, id);
        }
    }
    bytes
}

/// 10,000 edits in 100 transactions, until they are saved.
fn burst() {
    let mut engine = engine();
    let mut bytes = 0;
    for edits in texts() {
        engine.transact(1, &edits).expect("it can be");
        bytes += save(&mut engine);
    }
    assert!(bytes > 1_000_000, "{bytes} bytes were saved");
    assert!(engine.replica().view().len() > 4_000);
}

/// 1,000 single edits, each saved before the next.
fn single() {
    let mut engine = engine();
    for n in 0..1_000 {
        let edit = format!(
            r#"{{"edits":[{{"op":"create","table":"card","id":"0199dddd-0000-7000-8000-{n:012x}","set":{{"name":"card {n}","x":{n},"y":7}}}}]}}"#
        );
        engine.transact(1, &edit).expect("it can be");
        assert!(save(&mut engine) > 0);
    }
}

/// The work as the package hands it over.
fn texts() -> Vec<String> {
    let lists = work::edits(1);
    lists.iter().map(|edits| serde_json::json!({"edits": edits}).to_string()).collect()
}
