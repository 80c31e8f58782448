//! Rules of SPEC.md that are best told as one short story each.

mod common;

use common::{Store, Tab, body, config, create, id, push_text, schema, update};
use driftline_core::engine::{Disk, Engine, SlotDisk};
use driftline_core::outbox::State;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn state(tab: &Tab) -> String {
    let status: serde_json::Value = serde_json::from_str(&tab.engine.status()).unwrap();
    format!("{} {}", status["state"].as_str().unwrap(), status["reason"].as_str().unwrap_or("-"))
}

fn wait(tab: &mut Tab, ms: u64) {
    tab.now += ms;
    tab.engine.handle_tick(tab.now);
    tab.run();
}

#[test]
fn q7_beyond_its_limit_the_outbox_refuses_and_nothing_has_changed() {
    let mut config = config();
    config.outbox_txns = 2;
    let mut engine = Engine::new(config);
    engine.handle_opened(1, Disk::default());
    for n in [1, 2] {
        engine.transact(2, &format!("{{\"edits\":[{}]}}", create("kind", n, ""))).unwrap();
    }
    let refused = engine.transact(3, &format!("{{\"edits\":[{}]}}", create("kind", 3, ""))).unwrap_err();
    assert_eq!(refused.code, "outbox_full");
    assert_eq!((engine.outbox().len(), engine.replica().view().len()), (2, 2));
}

#[test]
fn o2_an_explicit_dependency_orders_what_no_reference_does() {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    // It waits for rows that nobody has made, and what comes after it waits with it.
    let first = tab.make(&create("conn", 1, &format!("\"from\":\"{}\",\"kind\":\"{}\"", id(8), id(9)))).unwrap();
    let after = format!("{{\"edits\":[{}],\"after\":[\"{:016x}:{}\"]}}", create("kind", 2, ""), first.0, first.1);
    let second = tab.engine.transact(tab.now, &after).unwrap().0;
    tab.run();
    tab.sync(&mut store);
    assert!(store.log.is_empty() && tab.engine.outbox().get(second).is_some());
    tab.make(&create("card", 8, "")).unwrap();
    tab.make(&create("kind", 9, "")).unwrap();
    tab.run();
    tab.sync(&mut store);
    let keys: Vec<u64> = store.log.iter().map(|row| row.1.1).collect();
    let place = |key: (u64, u64)| keys.iter().position(|seq| *seq == key.1).unwrap();
    assert_eq!(keys.len(), 4);
    assert!(place(first) < place(second), "{keys:?}");
}

#[test]
fn o7_a_refused_transaction_holds_its_descendants_and_nobody_else() {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    tab.make(&create("card", 1, "")).unwrap();
    tab.run();
    tab.sync(&mut store);
    // Someone else deletes the card, unheard of here.
    let card = *store.rows.keys().next().unwrap();
    store.rows.clear();
    store.deleted.insert(card);
    tab.engine.set_online(tab.now, false);
    tab.make(&create("kind", 2, "")).unwrap();
    let refused = tab.make(&create("conn", 3, &format!("\"from\":\"{}\",\"kind\":\"{}\"", id(1), id(2)))).unwrap();
    let bystander = tab.make(&create("box", 4, "")).unwrap();
    let child =
        tab.make(&format!("{},{}", update("conn", 3, &format!("\"set\":{{\"kind\":\"{}\"}}", id(2))), create("box", 5, ""))).unwrap();
    tab.run();
    tab.engine.set_online(tab.now, true);
    tab.sync(&mut store);
    assert!(tab.engine.outbox().get(bystander).is_none(), "applied");
    assert!(matches!(tab.engine.outbox().get(refused).unwrap().state, State::Parked { .. }));
    assert_eq!(tab.engine.outbox().get(child).unwrap().state, State::Queued, "its number is not spent");
}

#[test]
fn d2_a_resend_after_a_reload_is_byte_for_byte() {
    let store = Store::default();
    let mut tab = Tab::leading(&store);
    tab.pushes.clear();
    tab.engine.set_online(tab.now, false);
    let key = tab.make(&create("card", 1, "\"x\":0.1")).unwrap();
    tab.run();
    tab.engine.set_online(tab.now, true);
    wait(&mut tab, 1_000);
    let body = tab.engine.outbox().get(key).unwrap().body.clone();
    assert!(tab.pushes[0].1.contains(&body));
    // The answer is lost with the tab; the next one finds the record, and an update does not fold into it.
    let slot = SlotDisk { slot: 0, records: tab.disk.values().cloned().collect(), high: Vec::new() };
    let mut next = Tab::new();
    next.open(Disk { slots: vec![slot], ..Disk::default() });
    let other = next.make(&update("card", 1, "\"set\":{\"x\":2}")).unwrap();
    assert!(other != key && next.engine.outbox().get(key).unwrap().body == body);
}

#[test]
fn r6_the_status_tells_the_truth() {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    tab.sync(&mut store);
    assert_eq!(state(&tab), "saved -");
    tab.make(&create("kind", 1, "")).unwrap();
    tab.run();
    wait(&mut tab, 0);
    assert_eq!(state(&tab), "saving -");
    wait(&mut tab, 1_000);
    // The request is on its way, and nothing is heard.
    wait(&mut tab, 5_000);
    assert_eq!(state(&tab), "not_saving no answer");
    tab.sync(&mut store);
    assert_eq!(state(&tab), "saved -");
    tab.engine.set_online(tab.now, false);
    tab.make(&create("kind", 2, "")).unwrap();
    tab.run();
    assert_eq!(state(&tab), "offline -");
    tab.engine.set_online(tab.now, true);
    tab.sync(&mut store);
    // A connection to a card that nobody has made can only wait, which is not saving.
    tab.make(&create("conn", 3, &format!("\"from\":\"{}\",\"kind\":\"{}\"", id(77), id(1)))).unwrap();
    tab.run();
    wait(&mut tab, 1_000);
    assert_eq!(state(&tab), "not_saving waiting");
}

#[test]
fn v3_a_load_that_failed_uploads_nothing() {
    let mut tab = Tab::new();
    tab.open(Disk::default());
    tab.make(&create("kind", 1, "")).unwrap();
    tab.engine.handle_lead(tab.now, 1, None, Vec::new());
    tab.run();
    for round in 0..20 {
        if let Some(fetch) = tab.fetches.pop() {
            // Cut off before its last line, with or without the rows that it announced.
            let text = driftline_core::wire::write_snapshot_head(&schema(), 3, Default::default(), round % 2);
            tab.engine.handle_answer(tab.now, fetch, 200, None, &text);
        }
        wait(&mut tab, 5_000);
    }
    assert!(tab.pushes.is_empty() && tab.engine.outbox().len() == 1);
    assert_eq!(state(&tab), "not_saving no answer");
}

#[test]
fn r1_a_server_s_pause_is_kept_and_what_is_made_meanwhile_goes_out_after_it() {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    tab.sync(&mut store);
    tab.engine.handle_live_open(tab.now);
    tab.engine.handle_live_message(tab.now, "{\"pause\":30}");
    tab.make(&create("kind", 1, "")).unwrap();
    let hear = |tab: &mut Tab| {
        // It stays connected.
        tab.engine.handle_live_message(tab.now, "{\"ping\":0}");
        wait(tab, 1_000);
        tab.pushes.len()
    };
    assert_eq!((0..29).map(|_| hear(&mut tab)).max(), Some(0));
    assert_eq!((0..4).map(|_| hear(&mut tab)).max(), Some(1));
    tab.sync(&mut store);
    assert_eq!(store.log.len(), 1);
}

#[test]
fn v4_a_base_that_could_not_be_compared_is_compared_later() {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    let backup = store.clone();
    tab.make(&create("kind", 1, "")).unwrap();
    tab.run();
    tab.sync(&mut store);
    // The server was set back, and others have made as many revisions again.
    store = backup;
    let theirs = [(1, body(1, &create("kind", 2, ""))), (2, body(2, &create("kind", 3, "")))];
    store.push(&schema(), &push_text(None, "[]", &theirs).replace("00aa", "00dd")).unwrap();
    // While a large delete goes on, it has no digest.
    tab.engine.set_online(tab.now, false);
    tab.engine.set_online(tab.now, true);
    let seconds = |tab: &mut Tab, rev: u64| {
        tab.now += 2_000;
        tab.engine.handle_live_message(tab.now, &format!("{{\"ping\":{rev}}}"));
        tab.engine.handle_tick(tab.now);
        tab.run();
    };
    seconds(&mut tab, 2);
    let (request, push) = tab.pushes.pop().expect("it asks what is new");
    let answer = store.push(&schema(), &push).unwrap();
    let digest = format!("\"digest\":\"{:032x}\",", store.space.digest.0);
    assert!(answer.contains(&digest));
    tab.engine.handle_live_open(tab.now);
    tab.engine.handle_answer(tab.now, request, 200, None, &answer.replace(&digest, ""));
    tab.run();
    assert!(tab.engine.replica().rev == 2 && tab.engine.replica().digest != store.space.digest);
    // Nothing is new.
    (0..6).for_each(|_| seconds(&mut tab, 2));
    let (request, push) = tab.pushes.pop().expect("it asks for the digest");
    let answer = store.push(&schema(), &push).unwrap();
    tab.engine.handle_answer(tab.now, request, 200, None, &answer);
    tab.run();
    tab.give_snapshot(&store);
    assert_eq!((tab.engine.replica().rev, tab.engine.replica().digest), (store.space.rev, store.space.digest));
    tab.sync(&mut store);
    (0..20).for_each(|_| seconds(&mut tab, 2));
    assert!(tab.pushes.is_empty(), "what has been compared is not asked about again");
}

#[test]
fn v4_a_base_that_differs_is_found_and_fetched_again_and_what_waits_stays() {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    for n in [1, 2] {
        tab.make(&create("kind", n, "\"name\":\"a\"")).unwrap();
    }
    tab.run();
    tab.sync(&mut store);
    // Somebody changes a row behind everybody's back, and the server takes note of it.
    let (key, row) = store.rows.iter_mut().next().unwrap();
    store.space.digest.remove(&common::schema(), *key, row);
    row.values[0] = driftline_core::value::Value::Text("b".to_string());
    store.space.digest.add(&common::schema(), *key, row);
    // What waits here cannot be sent: it refers to rows that nobody has made.
    let waiting = tab.make(&create("conn", 3, &format!("\"from\":\"{}\",\"kind\":\"{}\"", id(8), id(1)))).unwrap();
    tab.make(&create("kind", 4, "")).unwrap();
    tab.run();
    tab.sync(&mut store);
    assert!(tab.events.iter().any(|event| event.contains("digest_differs")), "{:?}", tab.events);
    tab.give_snapshot(&store);
    let replica = tab.engine.replica();
    assert_eq!((replica.digest, replica.base().len()), (store.space.digest, store.rows.len()));
    assert!(replica.base().iter().zip(&store.rows).all(|(a, b)| a.0 == *b.0 && a.1.values == b.1.values));
    assert!(tab.engine.outbox().get(waiting).is_some() && tab.disk.contains_key(&waiting));
}
