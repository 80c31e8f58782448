//! What the engine makes of a device that does not write, or gives back something else than was written.

mod common;

use common::{Store, Tab, config, create};
use driftline_core::digest::body_hash;
use driftline_core::engine::{Config, Disk, Effect, Engine, SlotDisk, damaged_record, write_key};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn effects(engine: &mut Engine) -> Vec<Effect> {
    std::iter::from_fn(|| engine.poll()).collect()
}

fn reason(engine: &Engine) -> Option<String> {
    let status: serde_json::Value = serde_json::from_str(&engine.status()).unwrap();
    status["reason"].as_str().map(str::to_string)
}

#[test]
fn l2_what_can_be_written_does_not_hide_what_cannot() {
    let mut tab = Tab::leading(&Store::default());
    tab.hold_saves = true;
    tab.make(&create("kind", 1, "")).unwrap();
    tab.run();
    let (slot, id) = tab.held.pop().unwrap();
    tab.engine.handle_save_failed(tab.now, slot, id, "storage_full");
    assert_eq!(reason(&tab.engine).as_deref(), Some("storage_full"));
    // The base is written, the databases can be opened, and another slot takes what it is given.
    tab.engine.handle_base_lost(tab.now);
    tab.run();
    tab.engine.handle_storage(tab.now, None);
    assert_eq!(reason(&tab.engine).as_deref(), Some("storage_full"));
    tab.engine.handle_storage(tab.now, Some("storage_closed".to_string()));
    tab.now += 10_000;
    tab.hold_saves = false;
    tab.engine.handle_tick(tab.now);
    tab.run();
    assert_eq!(reason(&tab.engine).as_deref(), Some("storage_closed"));
    tab.engine.handle_storage(tab.now, None);
    assert!(!reason(&tab.engine).is_some_and(|reason| reason.starts_with("storage")));
}

#[test]
fn l2_a_lost_slot_is_written_again_but_for_what_another_tab_may_be_folding() {
    let mut other = Engine::new(Config { slot: 1, client: 0xbb, ..config() });
    other.handle_opened(1, Disk::default());
    let mut shown = Vec::new();
    for frozen in [true, false] {
        let i = 1 + u64::from(frozen);
        let (key, _) = other.transact(1, &format!("{{\"edits\":[{}]}}", create("kind", i, ""))).unwrap();
        for effect in effects(&mut other) {
            if let Effect::Save { id, puts, .. } = effect {
                shown.push((key, puts[0].1.clone(), frozen));
                other.handle_saved(1, 1, id);
            }
        }
    }
    let mut tab = Tab::leading(&Store::default());
    for (_, record, frozen) in &shown {
        tab.engine.set_online(tab.now, false);
        tab.engine.handle_peer(tab.now, &common::shown(1, *frozen, record));
    }
    tab.run();
    tab.disk.clear();
    tab.engine.handle_slot_lost(tab.now, 1);
    tab.run();
    assert_eq!(tab.disk.into_keys().collect::<Vec<_>>(), [shown[0].0], "what has been offered is the sending tab's to write");
}

#[test]
fn l2_a_tab_whose_slot_was_lost_gives_numbers_of_a_client_of_its_own() {
    let mut tab = Tab::leading(&Store::default());
    tab.engine.set_online(tab.now, false);
    let first = tab.make(&create("kind", 1, "")).unwrap();
    tab.run();
    tab.disk.clear();
    tab.engine.handle_slot_lost(tab.now, 0);
    let second = tab.make(&create("kind", 2, "")).unwrap();
    let saves = effects(&mut tab.engine);
    for effect in &saves {
        if let Effect::Save { id, puts, client, .. } = effect {
            assert_eq!(*client, Some(second.0), "the slot is its client's from now on");
            tab.disk.extend(puts.clone());
            tab.engine.handle_saved(tab.now, 0, *id);
        }
    }
    assert_ne!(first.0, second.0);
    assert!(tab.disk.contains_key(&first) && tab.disk.contains_key(&second), "under the key that it had");
}

#[test]
fn l3_the_number_of_a_damaged_record_stays_open_and_is_not_given_again() {
    let store = Store::default();
    let mut tab = Tab::new();
    let bad = (0xaa, 3);
    let disk = || SlotDisk { slot: 0, records: vec![damaged_record(bad, "torn")], high: Vec::new() };
    tab.open(Disk { slots: vec![disk()], ..Disk::default() });
    tab.engine.handle_lead(tab.now, 1, None, vec![disk()]);
    tab.run();
    tab.give_snapshot(&store);
    assert_eq!(tab.events.iter().filter(|event| event.contains("record_corrupt")).count(), 1, "it is told once");
    let shown: serde_json::Value = serde_json::from_str(&tab.engine.damaged_json()).unwrap();
    assert_eq!(shown[0]["record"], "torn");
    assert_eq!(tab.make(&create("kind", 1, "")).unwrap(), (0xaa, 4));
    tab.run();
    let closed = |tab: &Tab| {
        let push: serde_json::Value = serde_json::from_str(&tab.pushes.last().unwrap().1).unwrap();
        push["clients"][0]["closed"].to_string()
    };
    assert_eq!(closed(&tab), "[[1,2]]");

    let mut key = String::new();
    write_key(bad, &mut key);
    tab.engine.decide(tab.now, &format!("{{\"what\":\"discard\",\"key\":\"{key}\"}}")).unwrap();
    assert_eq!(tab.engine.damaged_json(), "[]");
    assert!(effects(&mut tab.engine).iter().any(|effect| matches!(effect, Effect::Save { deletes, .. } if deletes.contains(&bad))));
}

#[test]
fn l3_a_tab_that_finds_the_base_torn_has_the_sending_tab_write_it_anew() {
    let mut sending = Tab::leading(&Store::default());
    let mut torn = sending.kept.clone();
    torn.base = vec!["torn".to_string()];
    let mut other = Engine::new(Config { slot: 1, client: 0xbb, ..config() });
    other.handle_opened(1, torn);
    let told = effects(&mut other);
    assert!(told.iter().any(|effect| matches!(effect, Effect::Event(event) if event.contains("base_corrupt"))));
    sending.effects.clear();
    sending.kept.base = vec!["torn".to_string()];
    for effect in told {
        if let Effect::Broadcast(text) = effect {
            sending.engine.handle_peer(sending.now, &text);
        }
    }
    sending.run();
    assert_ne!(sending.kept.base, ["torn"]);
    let reload = |effect: &Effect| matches!(effect, Effect::Broadcast(text) if text.contains("\"t\":\"reload\""));
    assert!(sending.effects.iter().any(reload));
}

#[test]
fn d5_what_a_copy_of_this_profile_made_under_the_same_number_does_not_settle_what_waits() {
    for same in [false, true] {
        let mut tab = Tab::leading(&Store::default());
        let key = tab.make(&create("kind", 1, "")).unwrap();
        tab.run();
        tab.engine.handle_live_open(tab.now);
        let body = tab.engine.outbox().get(key).unwrap().body.clone();
        let hash = body_hash(if same { &body } else { "the copy's" });
        let row = if same { 1 } else { 2 };
        let part =
            format!("{{\"actor\":1,\"key\":[\"{:016x}\",{}],\"hash\":\"{hash:032x}\",\"changes\":[{}]}}", key.0, key.1, full_kind(row));
        let message = format!("{{\"schema\":{},\"rev\":1,\"changes\":[{{\"rev\":1,\"parts\":[{part}]}}]}}", tab.schema.version);
        tab.engine.handle_live_message(tab.now, &message);
        tab.run();
        assert_eq!(tab.engine.replica().rev, 1, "it is in the base");
        assert_eq!(tab.engine.outbox().get(key).is_none(), same);
    }
}

/// A new row of `kind` as the log tells of it.
fn full_kind(n: u64) -> String {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    tab.make(&create("kind", n, "")).unwrap();
    tab.run();
    tab.sync(&mut store);
    let changes = &store.log[0].3;
    changes[1..changes.len() - 1].to_string()
}
