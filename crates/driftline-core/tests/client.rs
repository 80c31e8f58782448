//! The client's half: order, folding, what is kept, how failures are dealt with.

mod common;

use common::{Store, Tab, body, check, config, create, delete, id, push_text, schema, update};
use driftline_core::engine::{Config, Disk, Effect, Engine, SlotDisk, write_key};
use driftline_core::outbox::State;
use driftline_core::value::{RowId, RowKey, Value};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// A tree of boxes with cards and connections: each edit valid after those before it.
fn history(n: u64) -> Vec<String> {
    let up = |i: u64| if i == 0 { "null".to_string() } else { format!("\"{}\"", id(100 + (i * 7 + 3) % i)) };
    let mut edits = vec![create("kind", 1, "")];
    for i in 0..n {
        edits.push(create("box", 100 + i, &format!("\"up\":{}", up(i))));
        edits.push(create("card", 200 + i, &format!("\"box\":\"{}\"", id(100 + i))));
        edits.push(create("conn", 300 + i, &format!("\"from\":\"{}\",\"kind\":\"{}\"", id(200 + i), id(1))));
    }
    edits
}

/// The row ids that a request names as created, in order, and whether each reference was created before it.
fn sent_in_order(body: &str) -> Vec<String> {
    let json: serde_json::Value = serde_json::from_str(body).unwrap();
    let mut made: Vec<String> = Vec::new();
    for edit in json["units"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|u| u["txns"].as_array().unwrap())
        .flat_map(|t| t["body"]["edits"].as_array().unwrap())
    {
        for name in ["up", "box", "from", "kind"] {
            if let Some(target) = edit["set"][name].as_str() {
                assert!(made.iter().any(|id| id == target), "{target} is named before it is created");
            }
        }
        made.push(edit["id"].as_str().unwrap().to_string());
    }
    made
}

#[test]
fn o1_any_order_of_making_is_sent_parents_first() {
    let shuffled = (1u64..12).prop_flat_map(|n| Just(history(n)).prop_shuffle());
    check(shuffled, |edits| {
        let mut store = Store::default();
        let mut tab = Tab::leading(&store);
        tab.pushes.clear();
        tab.engine.set_online(tab.now, false);
        for edit in &edits {
            tab.make(edit).unwrap();
        }
        tab.run();
        tab.engine.set_online(tab.now, true);
        tab.now += 1_000;
        tab.engine.handle_tick(tab.now);
        tab.run();
        assert_eq!(sent_in_order(&tab.pushes[0].1).len(), edits.len());
        tab.sync(&mut store);
        assert_eq!((store.rows.len(), tab.engine.outbox().len()), (edits.len(), 0));
    });
}

#[test]
fn o3_a_valid_history_is_sent_unchanged() {
    check(1u64..12, |n| {
        let mut tab = Tab::leading(&Store::default());
        tab.pushes.clear();
        tab.engine.set_online(tab.now, false);
        let edits = history(n);
        for edit in &edits {
            tab.make(edit).unwrap();
        }
        tab.run();
        tab.engine.set_online(tab.now, true);
        tab.now += 1_000;
        tab.engine.handle_tick(tab.now);
        tab.run();
        let made: Vec<String> =
            edits.iter().map(|e| serde_json::from_str::<serde_json::Value>(e).unwrap()["id"].as_str().unwrap().to_string()).collect();
        assert_eq!(sent_in_order(&tab.pushes[0].1), made);
    });
}

#[test]
fn o4_a_cycle_travels_as_one_and_a_required_one_is_refused_when_made() {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    tab.make(&create("box", 1, &format!("\"up\":\"{}\"", id(2)))).unwrap();
    tab.make(&create("box", 2, &format!("\"up\":\"{}\"", id(1)))).unwrap();
    tab.run();
    tab.sync(&mut store);
    assert_eq!((store.rows.len(), store.space.rev), (2, 1), "one unit, one revision");
    tab.make(&create("node", 3, &format!("\"up\":{{\"node\":\"{}\"}}", id(4)))).unwrap();
    let before = tab.engine.outbox().len();
    assert_eq!(tab.make(&create("node", 4, &format!("\"up\":{{\"node\":\"{}\"}}", id(3)))), Err("cycle".to_string()));
    assert_eq!(tab.engine.outbox().len(), before, "nothing has changed");
}

#[test]
fn q2_nothing_is_sent_before_it_is_saved() {
    let mut tab = Tab::leading(&Store::default());
    tab.pushes.clear();
    tab.hold_saves = true;
    tab.engine.set_online(tab.now, false);
    tab.engine.set_online(tab.now, true);
    tab.make(&create("kind", 1, "")).unwrap();
    for _ in 0..20 {
        tab.now += 500;
        tab.engine.handle_tick(tab.now);
        tab.run();
    }
    assert!(tab.pushes.iter().all(|push| !push.1.contains(&id(1))));
}

#[test]
fn q3_keeps_edits_made_in_flight_and_while_opening() {
    let mut tab = Tab::new();
    let early = tab.make(&create("kind", 1, "")).unwrap();
    tab.run();
    tab.hold_saves = true;
    let unsaved = tab.make(&create("kind", 7, "")).unwrap();
    tab.run();
    tab.open(Disk { slots: vec![tab.slot()], ..Disk::default() });
    assert!(tab.engine.outbox().get(early).is_some() && tab.engine.outbox().get(unsaved).is_some());
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    tab.sync(&mut store);
    tab.make(&create("card", 2, "")).unwrap();
    tab.now += 1_000;
    tab.engine.handle_tick(tab.now);
    tab.run();
    let late = tab.make(&update("card", 2, "\"add\":{\"n\":5}")).unwrap();
    tab.run();
    assert!(tab.disk.contains_key(&late));
    tab.sync(&mut store);
    assert_eq!((tab.engine.outbox().len(), store.log.len()), (0, 2));
}

#[test]
fn q5_folding_leaves_one_update_and_the_same_rows() {
    check(vec(any::<(u8, Option<u8>)>(), 1..60), |moves| {
        let rows = |fold: bool| {
            let mut store = Store::default();
            let mut tab = Tab::leading(&store);
            tab.make(&create("card", 1, "")).unwrap();
            tab.run();
            tab.sync(&mut store);
            tab.engine.set_online(tab.now, false);
            for (x, note) in &moves {
                let note = note.map_or("null".to_string(), |n| format!("\"{n}\""));
                tab.make(&update("card", 1, &format!("\"set\":{{\"x\":{x},\"note\":{note}}},\"add\":{{\"n\":{x}}}"))).unwrap();
                tab.run();
                if !fold {
                    tab.engine.set_online(tab.now, true);
                    tab.sync(&mut store);
                    tab.engine.set_online(tab.now, false);
                }
            }
            assert!(!fold || tab.engine.outbox().len() == 1);
            tab.engine.set_online(tab.now, true);
            tab.sync(&mut store);
            store.rows.values().map(|row| row.values.clone()).collect::<Vec<_>>()
        };
        assert_eq!(rows(true), rows(false));
    });
}

#[test]
fn q6_a_create_and_its_delete_vanish_and_nothing_moves_across_a_dependency() {
    let mut tab = Tab::new();
    tab.make(&create("card", 1, "")).unwrap();
    tab.make(&delete("card", 1)).unwrap();
    assert!(tab.engine.outbox().is_empty());
    let first = tab.make(&create("card", 2, "")).unwrap();
    let both = tab.make(&format!("{},{}", update("card", 2, "\"set\":{\"x\":1}"), create("kind", 3, ""))).unwrap();
    let last = tab.make(&update("card", 2, "\"set\":{\"x\":2}")).unwrap();
    assert!(first != both && last != first, "the last stays behind what touched the row in between");
    // One row was touched in between, the other was not: the two stay together, and behind.
    let pair = tab.make(&format!("{},{}", create("box", 4, ""), create("card", 5, ""))).unwrap();
    let between = tab.make(&format!("{},{}", update("card", 5, "\"set\":{\"x\":1}"), create("kind", 6, ""))).unwrap();
    let late = tab.make(&format!("{},{}", update("box", 4, "\"add\":{\"n\":1}"), update("card", 5, "\"set\":{\"x\":2}"))).unwrap();
    assert!(late != pair && late != between);
}

#[test]
fn v2_remote_state_neither_removes_a_pending_create_nor_hides_a_pending_field() {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    tab.make(&create("card", 1, "")).unwrap();
    tab.run();
    tab.sync(&mut store);
    tab.engine.set_online(tab.now, false);
    tab.make(&update("card", 1, "\"set\":{\"x\":7}")).unwrap();
    tab.make(&create("kind", 2, "")).unwrap();
    tab.run();
    let key = *store.rows.keys().next().unwrap();
    let view = |tab: &Tab, key: RowKey| tab.engine.replica().view().get(key).cloned();
    let text = format!(
        "{{\"schema\":1,\"t\":\"base\",\"changes\":[{{\"rev\":2,\"parts\":[{{\"actor\":9,\"changes\":[{}]}}]}}],\"settled\":[],\"records\":[]}}",
        update("card", 1, "\"set\":{\"x\":3,\"note\":\"theirs\"}")
    );
    // As a tab that does not send, it hears of others' changes from the one that does.
    tab.engine.handle_unlead(tab.now);
    tab.engine.handle_peer(tab.now, &text);
    tab.run();
    let row = view(&tab, key).unwrap();
    assert!(format!("{row:?}").contains("7.0") && format!("{row:?}").contains("theirs"));
    assert_eq!(tab.engine.replica().view().len(), 2);
}

fn next_push(tab: &mut Tab) -> (u64, String) {
    for _ in 0..100 {
        tab.now += 1_000;
        tab.engine.handle_tick(tab.now);
        tab.run();
        if let Some(push) = tab.pushes.pop() {
            return push;
        }
    }
    panic!("nothing is sent");
}

#[test]
fn v2_what_has_been_applied_stays_in_view_until_its_revision_comes() {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    tab.sync(&mut store);
    let key = tab.make(&create("kind", 1, "")).unwrap();
    let push = next_push(&mut tab).0;
    // There is more before it than one answer holds.
    let head = "\"schema\":1,\"rev\":1,\"more\":true,\"reload\":false,\"clients\":[]";
    let outcome = format!("{{\"key\":[0,{}],\"outcome\":\"applied\",\"rev\":1,\"notices\":[]}}", key.1);
    let answer = format!("{{{head},\"outcomes\":[{outcome}],\"changes\":[]}}");
    tab.engine.handle_answer(tab.now, push, 200, None, &answer);
    tab.run();
    assert_eq!(tab.engine.outbox().get(key).unwrap().state, State::Applied { rev: 1 });
    assert_eq!(tab.engine.replica().view().len(), 1);
}

#[test]
fn o5_a_sender_refused_by_its_epoch_goes_on_with_the_higher_one_that_it_gets() {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    tab.sync(&mut store);
    tab.make(&create("kind", 1, "")).unwrap();
    let (push, body) = next_push(&mut tab);
    assert!(body.contains("\"epoch\":1,"));
    tab.engine.handle_answer(tab.now, push, 409, None, "{\"code\":\"stale_epoch\",\"epoch\":7}");
    tab.run();
    assert!(tab.effects.contains(&Effect::RenewEpoch { at_least: 8 }));
    for _ in 0..9 {
        tab.now += 10_000;
        tab.engine.handle_tick(tab.now);
        tab.run();
    }
    assert!(tab.pushes.is_empty(), "under the old one it would be refused again");
    tab.engine.handle_epoch(tab.now, Some(8));
    assert!(next_push(&mut tab).1.contains("\"epoch\":8,"));
}

#[test]
fn r2_one_that_makes_the_server_fail_is_found_by_halves() {
    check(0u64..64, |bad| {
        let mut store = Store::default();
        let mut tab = Tab::leading(&store);
        tab.pushes.clear();
        tab.engine.set_online(tab.now, false);
        for n in 0..64 {
            tab.make(&create("kind", 100 + n, "")).unwrap();
        }
        tab.run();
        tab.engine.set_online(tab.now, true);
        let mut failures = 0;
        for _ in 0..400 {
            let Some((push, body)) = tab.pushes.pop() else {
                tab.now += 500;
                tab.engine.handle_tick(tab.now);
                tab.run();
                continue;
            };
            if body.contains(&id(100 + bad)) {
                failures += 1;
                tab.engine.handle_answer(tab.now, push, 500, None, "{\"code\":\"internal\"}");
            } else {
                let answer = store.push(&schema(), &body).unwrap();
                tab.engine.handle_answer(tab.now, push, 200, None, &answer);
            }
            tab.run();
        }
        assert_eq!(store.rows.len(), 63, "all others are applied");
        assert!(tab.engine.outbox().iter().all(|e| e.suspended) && tab.engine.outbox().len() == 1);
        assert!(failures <= 6 + 1 + 5, "{failures} failed requests");
    });
}

#[test]
fn r2_a_refused_one_is_parked_and_discarding_rolls_back_only_it() {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    tab.make(&create("card", 1, "")).unwrap();
    tab.run();
    tab.sync(&mut store);
    store.rows.clear();
    let gone = tab.engine.replica().view().iter().next().map(|row| *row.0).unwrap();
    store.deleted.insert(gone);
    tab.make(&create("kind", 2, "")).unwrap();
    let bad = tab.make(&create("conn", 3, &format!("\"from\":\"{}\",\"kind\":\"{}\"", id(1), id(2)))).unwrap();
    tab.run();
    tab.sync(&mut store);
    assert!(matches!(tab.engine.outbox().get(bad).unwrap().state, State::Parked { spent: true, .. }));
    let before = tab.engine.replica().view().len();
    tab.engine.discard(tab.now, bad, true).unwrap();
    tab.run();
    assert_eq!((tab.engine.outbox().len(), tab.engine.replica().view().len()), (0, before - 1));
    assert!(!tab.disk.contains_key(&bad));
}

#[test]
fn r5_a_request_that_is_too_large_is_halved() {
    let mut tab = Tab::leading(&Store::default());
    tab.pushes.clear();
    tab.engine.set_online(tab.now, false);
    for n in 0..8 {
        tab.make(&create("kind", 100 + n, "")).unwrap();
    }
    tab.run();
    tab.engine.set_online(tab.now, true);
    let mut sizes = Vec::new();
    for _ in 0..20 {
        tab.now += 500;
        tab.engine.handle_tick(tab.now);
        tab.run();
        let Some((push, body)) = tab.pushes.pop() else { continue };
        sizes.push(body.matches("\"key\"").count());
        if sizes.len() == 3 {
            break;
        }
        tab.engine.handle_answer(tab.now, push, 413, None, "{\"code\":\"too_large\"}");
        tab.run();
    }
    assert_eq!(sizes, [8, 4, 2]);
}

// ---- bugs that the simulator found ----

fn echoed(body: &str) -> Option<String> {
    serde_json::from_str::<serde_json::Value>(body).unwrap()["clients"][0]["receipt"].as_str().map(str::to_string)
}

#[test]
fn d5_a_new_sender_echoes_the_receipt_on_disk_and_not_the_one_it_once_read() {
    let mut engine = Engine::new(config());
    engine.handle_opened(1, Disk::default());
    let base = driftline_core::wire::write_snapshot_head(&schema(), 4, Default::default(), 0);
    let meta = "{\"rev\":4,\"digest\":\"00000000000000000000000000000000\",\"receipts\":{\"00000000000000aa\":\"00000000000000bb\"},\"answered\":[]}";
    engine.transact(2, &format!("{{\"edits\":[{}]}}", create("kind", 1, ""))).unwrap();
    engine.handle_lead(3, 2, Some(meta), Vec::new());
    let mut pushed = None;
    while let Some(effect) = engine.poll() {
        match effect {
            Effect::Reload => engine.handle_reloaded(4, Disk { meta: Some(meta.into()), base: vec![base.clone()], ..Disk::default() }),
            Effect::Save { id, slot, .. } => engine.handle_saved(4, slot, id),
            Effect::Push { body, .. } => pushed = Some(body),
            _ => {}
        }
    }
    assert_eq!(engine.replica().rev, 4, "an older base does not go over a newer one");
    assert_eq!(echoed(&pushed.unwrap()).as_deref(), Some("00000000000000bb"));
}

#[test]
fn q1_what_a_closed_tab_saved_last_goes_before_what_it_told() {
    let store = Store::default();
    let mut other = Tab::new();
    other.open(Disk::default());
    let key = other.make(&create("kind", 1, "\"name\":\"old\"")).unwrap();
    other.run();
    let told =
        other.effects.iter().rev().find_map(|e| if let Effect::Broadcast(t) = e { t.contains('\n').then(|| t.clone()) } else { None });
    other.make(&update("kind", 1, "\"set\":{\"name\":\"new\"}")).unwrap();
    other.engine.save_now(other.now);
    other.run();
    let mut tab = Tab::leading(&store);
    // The same tab's records, as those of another slot.
    tab.engine.handle_peer(tab.now, &told.unwrap().replace("\"slot\":0", "\"slot\":1"));
    let slot = SlotDisk { slot: 1, records: other.disk.values().cloned().collect(), high: Vec::new() };
    tab.engine.handle_adopted(tab.now, slot);
    assert!(tab.engine.outbox().get(key).unwrap().body.contains("new"));
}

#[test]
fn l1_what_an_open_tab_has_on_disk_is_not_sent_until_it_offers_it() {
    let mut other = Tab::new();
    other.open(Disk::default());
    let key = other.make(&create("kind", 1, "")).unwrap();
    other.run();
    let slot = SlotDisk { slot: 1, records: other.disk.values().cloned().collect(), high: Vec::new() };
    let mut tab = Tab::new();
    tab.open(Disk { slots: vec![slot], ..Disk::default() });
    assert!(!tab.engine.outbox().get(key).unwrap().frozen);
}

/// What a tab told the others, oldest first, as told from slot 1.
fn told_by(tab: &Tab) -> Vec<String> {
    let told = tab.effects.iter().filter_map(|e| if let Effect::Broadcast(text) = e { Some(text) } else { None });
    told.map(|text| text.replace("\"slot\":0", "\"slot\":1")).collect()
}

#[test]
fn q1_a_tab_that_opens_says_nothing_of_what_it_makes_and_others_find_on_disk() {
    let mut other = Tab::new();
    let key = other.make(&create("kind", 1, "")).unwrap();
    other.open(Disk::default());
    other.run();
    let slot = SlotDisk { slot: 1, records: other.disk.values().cloned().collect(), high: Vec::new() };
    let mut tab = Tab::new();
    tab.open(Disk { slots: vec![slot], ..Disk::default() });
    for text in told_by(&other) {
        tab.engine.handle_peer(tab.now, &text);
    }
    assert!(tab.engine.outbox().get(key).is_some(), "found on disk, and then heard of as not there yet");
}

#[test]
fn q1_what_a_closed_tab_told_and_did_not_leave_is_forgotten_when_another_opens_in_its_slot() {
    let mut other = Tab::new();
    other.open(Disk::default());
    let key = other.make(&create("kind", 1, "")).unwrap();
    other.run();
    let mut tab = Tab::new();
    tab.open(Disk::default());
    for text in told_by(&other) {
        tab.engine.handle_peer(tab.now, &text);
    }
    assert!(tab.engine.outbox().get(key).is_some());
    // It took it back, and was gone before it could say so.
    let mut next = Tab::of_config(Config { high: vec![key], ..config() });
    next.open(Disk { slots: vec![SlotDisk { slot: 0, records: Vec::new(), high: vec![key] }], ..Disk::default() });
    next.run();
    for text in told_by(&next) {
        tab.engine.handle_peer(tab.now, &text);
    }
    assert!(tab.engine.outbox().get(key).is_none());
}

#[test]
fn o5_a_stale_sender_asks_for_an_epoch_beyond_its_own_and_beyond_what_the_server_names() {
    for (answer, wanted) in [("{\"code\":\"stale_sender\"}", 2), ("{\"code\":\"stale_sender\",\"epoch\":9}", 10)] {
        let mut tab = Tab::leading(&Store::default());
        tab.make(&create("kind", 1, "")).unwrap();
        tab.run();
        let (id, _) = tab.pushes.pop().unwrap();
        tab.engine.handle_answer(tab.now, id, 409, None, answer);
        tab.run();
        assert!(tab.effects.contains(&Effect::RenewEpoch { at_least: wanted }), "{answer}");
    }
}

// ---- bugs that random histories found ----

/// A field of a row on the server.
fn kept(store: &Store, table: &str, n: u64, column: &str) -> Option<Value> {
    let schema = schema();
    let table = schema.table(table).unwrap();
    let row = store.rows.get(&RowKey { table, id: RowId::parse(&id(n)).unwrap() })?;
    Some(row.values[schema.tables[table as usize].column(column).unwrap() as usize].clone())
}

fn conn(n: u64, card: u64, kind: u64) -> String {
    create("conn", n, &format!("\"from\":\"{}\",\"kind\":\"{}\"", id(card), id(kind)))
}

#[test]
fn o4_transactions_may_need_each_other_where_their_rows_do_not() {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    tab.make(&format!("{},{}", create("card", 1, ""), conn(2, 3, 4))).unwrap();
    let both = format!("{},{},{},{}", create("card", 3, ""), create("kind", 4, ""), conn(5, 1, 4), conn(6, 3, 4));
    tab.make(&both).unwrap();
    tab.run();
    tab.sync(&mut store);
    assert_eq!((store.rows.len(), store.space.rev, tab.engine.outbox().len()), (6, 1, 0), "one unit");
}

#[test]
fn o4_a_cycle_without_a_nullable_reference_is_refused_naming_its_rows() {
    let mut tab = Tab::leading(&Store::default());
    let node = |n: u64, up: u64| create("node", n, &format!("\"up\":{{\"node\":\"{}\"}}", id(up)));
    tab.make(&node(3, 4)).unwrap();
    tab.make(&node(4, 5)).unwrap();
    let closing = format!("{{\"edits\":[{},{}]}}", create("kind", 9, ""), node(5, 3));
    let problem = tab.engine.transact(tab.now, &closing).unwrap_err();
    let rows: Vec<String> = problem.rows.iter().map(|row| row.1.to_string()).collect();
    assert_eq!((problem.code.as_str(), rows.len()), ("cycle", 3), "{rows:?}");
    assert!([3, 4, 5].iter().all(|n| rows.contains(&id(*n))));
}

#[test]
fn q6_folding_gives_no_row_a_later_time_than_an_edit_made_after_it() {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    tab.engine.set_online(tab.now, false);
    tab.make(&format!("{},{}", create("card", 1, ""), create("card", 2, ""))).unwrap();
    tab.now += 10;
    tab.make(&format!("{},{}", update("card", 2, "\"set\":{\"x\":5}"), create("kind", 3, ""))).unwrap();
    tab.now += 10;
    tab.make(&update("card", 1, "\"set\":{\"x\":7}")).unwrap();
    tab.run();
    tab.engine.set_online(tab.now, true);
    tab.sync(&mut store);
    assert_eq!(kept(&store, "card", 2, "x"), Some(Value::Real(5.0)), "it was written last");
    assert_eq!(kept(&store, "card", 1, "x"), Some(Value::Real(7.0)));
}

#[test]
fn q6_folding_closes_no_cycle() {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    tab.engine.set_online(tab.now, false);
    let node = |n: u64, up: &str| create("node", n, &format!("\"up\":{up}"));
    let up = |n: u64| format!("{{\"node\":\"{}\"}}", id(n));
    let boxed = format!("{{\"box\":\"{}\"}}", id(1));
    tab.make(&format!("{},{},{}", create("box", 1, ""), node(2, &boxed), node(3, &up(2)))).unwrap();
    tab.make(&update("node", 2, &format!("\"set\":{{\"up\":{}}}", up(3)))).unwrap();
    tab.run();
    tab.engine.set_online(tab.now, true);
    tab.sync(&mut store);
    assert_eq!((store.rows.len(), tab.engine.outbox().len()), (3, 0), "{:?}", tab.events);
}

#[test]
fn o7_a_row_made_elsewhere_in_the_end_does_not_hold_up_what_it_was_to_refer_to() {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    tab.make(&create("box", 1, "")).unwrap();
    tab.run();
    tab.sync(&mut store);
    tab.engine.set_online(tab.now, false);
    tab.make(&create("card", 2, &format!("\"box\":\"{}\"", id(1)))).unwrap();
    // Into a box that nobody has made yet, and perhaps never will.
    tab.make(&update("card", 2, &format!("\"set\":{{\"box\":\"{}\"}}", id(7)))).unwrap();
    tab.make(&delete("box", 1)).unwrap();
    tab.run();
    tab.engine.set_online(tab.now, true);
    tab.sync(&mut store);
    assert_eq!((store.rows.len(), tab.engine.outbox().len()), (0, 1), "the box goes, the card waits");
}

fn says(epoch: u64, rest: &str) -> String {
    format!("{{\"schema\":1,{rest},\"epoch\":{epoch},\"rev\":0,\"online\":true}}")
}

/// Lets time pass, and tells when the tab wanted to take the sending tab's place.
fn wait(tab: &mut Tab, ms: u64) -> Vec<u64> {
    let (end, mut replaced) = (tab.now + ms, Vec::new());
    while tab.now < end {
        tab.now += 500;
        tab.engine.handle_tick(tab.now);
        tab.run();
        replaced.extend(tab.effects.drain(..).filter(|effect| *effect == Effect::Replace).map(|_| tab.now));
    }
    replaced
}

#[test]
fn l1_a_sending_tab_that_does_not_answer_is_told_and_replaced_within_10_s() {
    let mut tab = Tab::new();
    tab.open(Disk::default());
    for _ in 0..10 {
        tab.engine.handle_peer(tab.now, &says(3, "\"t\":\"lead\""));
        assert!(wait(&mut tab, 2_000).is_empty(), "it answers");
    }
    tab.make(&create("kind", 1, "")).unwrap();
    tab.run();
    let frozen = tab.now;
    let mut told = None;
    let mut replaced = Vec::new();
    while replaced.is_empty() && tab.now < frozen + 60_000 {
        replaced = wait(&mut tab, 500);
        if tab.engine.status().contains("\"not_saving\",\"reason\":\"sender_silent\"") {
            told.get_or_insert(tab.now - frozen);
        }
    }
    assert!(told.is_some_and(|ms| ms <= 6_500), "{told:?}");
    assert!((6_000..=10_000).contains(&(replaced[0] - frozen)), "{replaced:?}");
    assert!(tab.engine.status().contains("sender_silent"), "while it takes over, too");
    // Nobody comes: it is tried again.
    assert_eq!(wait(&mut tab, 10_000).len(), 1);
}

#[test]
fn l1_what_a_replaced_tab_says_is_not_listened_to() {
    let mut tab = Tab::new();
    tab.open(Disk::default());
    tab.engine.handle_peer(tab.now, &says(3, "\"t\":\"lead\""));
    tab.engine.handle_peer(tab.now, &says(4, "\"t\":\"lead\""));
    tab.run();
    let key = tab.make(&create("kind", 1, "")).unwrap();
    tab.run();
    let mut settled = String::new();
    write_key(key, &mut settled);
    let base = |epoch| says(epoch, &format!("\"t\":\"base\",\"changes\":[],\"settled\":[\"{settled}\"],\"records\":[]"));
    tab.engine.handle_peer(tab.now, &base(3));
    tab.run();
    assert!(tab.engine.outbox().get(key).is_some(), "it was frozen while another took its place");
    tab.engine.handle_peer(tab.now, &base(4));
    tab.run();
    assert!(tab.engine.outbox().get(key).is_none());
}

// ---- what is found on disk ----

#[test]
fn d5_what_a_deleted_space_leaves_is_no_damaged_base_and_its_receipts_are_echoed() {
    let meta = "{\"receipts\":{\"00000000000000aa\":\"00000000000000bb\"},\"sent\":0}";
    let mut tab = Tab::new();
    tab.open(Disk { meta: Some(meta.to_string()), ..Disk::default() });
    tab.make(&create("kind", 1, "")).unwrap();
    tab.engine.handle_lead(tab.now, 2, Some(meta), Vec::new());
    tab.run();
    tab.give_snapshot(&Store::default());
    assert_eq!(echoed(&tab.pushes.pop().unwrap().1).as_deref(), Some("00000000000000bb"));
    assert!(!tab.events.iter().any(|event| event.contains("base_corrupt")), "{:?}", tab.events);
}

#[test]
fn r3_a_retry_that_is_over_takes_with_it_what_it_stands_for() {
    let mut maker = Tab::new();
    maker.open(Disk::default());
    let key = maker.make(&create("kind", 1, "")).unwrap();
    maker.run();
    let retry = maker.disk[&key].replace("\"seq\":1", "\"seq\":2,\"was\":[[\"00000000000000aa\",1]]");
    let mut tab = Tab::new();
    tab.disk = maker.disk;
    tab.disk.insert((key.0, 2), retry);
    let meta = Some("{\"rev\":1,\"answered\":[\"00000000000000aa:2\"]}".to_string());
    tab.open(Disk { meta, slots: vec![tab.slot()], ..Disk::default() });
    assert_eq!((tab.engine.outbox().len(), tab.disk.len()), (0, 0), "it would go again");
}

// ---- what took effect as sent ----

#[test]
fn v4_what_took_effect_as_sent_is_arranged_here_as_the_server_arranged_it() {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    let conn = create("conn", 4, &format!("\"from\":\"{}\",\"kind\":\"{}\"", id(3), id(1)));
    tab.make(&[create("kind", 1, ""), create("kind", 2, ""), create("card", 3, ""), conn].join(",")).unwrap();
    tab.run();
    tab.sync(&mut store);
    tab.engine.set_online(tab.now, false);
    tab.make(&[delete("kind", 2), delete("conn", 4)].join(",")).unwrap();
    tab.run();
    // Only now does the second row come to refer to the first.
    let points = update("conn", 4, &format!("\"set\":{{\"kind\":\"{}\"}}", id(2)));
    let others = push_text(None, "[]", &[(1, body(tab.now + 1, &points))]).replace("00aa", "00dd");
    store.push(&schema(), &others).unwrap();
    tab.engine.set_online(tab.now, true);
    tab.sync(&mut store);
    let base: Vec<RowKey> = tab.engine.replica().base().iter().map(|row| row.0).collect();
    assert_eq!((base.len(), base), (2, store.rows.keys().copied().collect()));
    assert_eq!((tab.engine.replica().rev, tab.engine.replica().digest), (3, store.space.digest));
    assert!(tab.fetches.is_empty() && !tab.events.iter().any(|event| event.contains("digest_differs")), "{:?}", tab.events);
}

#[test]
fn q5_what_goes_on_being_folded_while_nobody_waits_is_written_now_and_then() {
    let mut tab = Tab::new();
    tab.open(Disk::default());
    let key = tab.make(&create("kind", 1, "")).unwrap();
    tab.run();
    let rename = |tab: &mut Tab, n: u64| {
        tab.make(&update("kind", 1, &format!("\"set\":{{\"name\":\"{n}\"}}"))).unwrap();
        tab.run();
    };
    let (mut writes, mut last) = (0, tab.disk[&key].clone());
    for n in 0..600 {
        tab.now += 16;
        tab.engine.handle_tick(tab.now);
        rename(&mut tab, n);
        writes += u32::from(tab.disk[&key] != last);
        last.clone_from(&tab.disk[&key]);
    }
    assert!((10..20).contains(&writes), "{writes} writes in 10 s");
    // Once it rests, the last of it is written, without anything else happening.
    tab.now += 1_000;
    tab.engine.handle_tick(tab.now);
    tab.run();
    assert!(tab.engine.is_saved() && tab.disk[&key].contains("\"599\""));
    rename(&mut tab, 600);
    assert!(!tab.engine.is_saved());
    tab.engine.save_now(tab.now);
    tab.run();
    assert!(tab.engine.is_saved() && tab.disk[&key].contains("\"600\""), "whoever waits for it does not wait long");
    // What is not on disk in any form is never put off.
    tab.make(&create("kind", 2, "")).unwrap();
    tab.run();
    assert!(tab.engine.is_saved());
}
