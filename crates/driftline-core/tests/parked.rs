//! Parked groups: what the user sees of them, and what each decision does to them and to nothing else.

mod common;

use common::{Store, Tab, create, delete, id, update};
use driftline_core::engine::{Config, Disk, Effect, SlotDisk};
use driftline_core::outbox::Key;
use driftline_core::sender::SendFailure;
use driftline_core::value::{RowId, RowKey, Value};
use serde_json::{Value as Json, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn row(table: &str, n: u64) -> RowKey {
    RowKey { table: common::schema().table(table).unwrap(), id: RowId::parse(&id(n)).unwrap() }
}

fn name(table: &str, n: u64) -> Json {
    json!({"table": table, "id": id(n)})
}

fn key_text(key: Key) -> String {
    let mut out = String::new();
    driftline_core::engine::write_key(key, &mut out);
    out
}

fn make(tab: &mut Tab, edits: &[String]) -> Key {
    tab.now += 1_000;
    let key = tab.make(&edits.join(",")).unwrap();
    tab.run();
    key
}

fn decide(tab: &mut Tab, mut decision: Json, key: Key) -> Result<(), String> {
    decision["key"] = json!(key_text(key));
    let result = tab.engine.decide(tab.now, &decision.to_string()).map_err(|problem| problem.code);
    tab.run();
    result
}

fn outbox(tab: &Tab) -> Vec<Json> {
    serde_json::from_str::<Json>(&tab.engine.outbox_json(tab.now, 100)).unwrap().as_array().unwrap().clone()
}

fn parked(tab: &Tab) -> Vec<Json> {
    outbox(tab).into_iter().filter(|entry| entry["state"] == "parked").collect()
}

/// Offline, on a card that somebody else deletes meanwhile: a connection to it, and what hangs on that in turn. The connection is
/// refused; a box and another card have nothing to do with it.
struct Group {
    store: Store,
    tab: Tab,
    root: Key,
}

fn group() -> Group {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    make(&mut tab, &[create("card", 1, ""), create("card", 2, "\"note\":\"was\""), create("kind", 3, "")]);
    tab.sync(&mut store);
    // Somebody else, whose word has not come yet.
    store.rows.remove(&row("card", 1));
    store.deleted.insert(row("card", 1));
    tab.engine.set_online(tab.now, false);
    let from = format!("\"from\":\"{}\",\"kind\":\"{}\"", id(1), id(3));
    let root = make(&mut tab, &[create("conn", 10, &from), update("card", 2, "\"set\":{\"note\":\"mine\"}"), create("box", 11, "")]);
    make(&mut tab, &[create("card", 12, &format!("\"box\":\"{}\"", id(11)))]);
    make(&mut tab, &[create("box", 20, "")]);
    tab.engine.set_online(tab.now, true);
    tab.now += 20_000;
    tab.sync(&mut store);
    assert!(store.rows.contains_key(&row("box", 20)), "what has nothing to do with it flows");
    Group { store, tab, root }
}

#[test]
fn r3_each_parked_group_shows_its_reason_what_was_before_and_what_waits_on_it() {
    let Group { tab, root, .. } = group();
    let parked = parked(&tab);
    assert_eq!(parked.len(), 1);
    let entry = &parked[0];
    assert_eq!((&entry["key"], &entry["problem"]["code"]), (&json!(key_text(root)), &json!("missing_parent")));
    assert_eq!(entry["problem"]["rows"], json!([name("card", 1)]));
    assert_eq!(entry["dependents"].as_array().unwrap().len(), 1, "the card in its box");
    let before = entry["before"].as_array().unwrap();
    let card = before.iter().find(|edit| edit["table"] == "card").unwrap();
    assert_eq!((&card["op"], &card["set"]["note"]), (&json!("create"), &json!("was")), "what the server holds");
    let conn = before.iter().find(|edit| edit["table"] == "conn").unwrap();
    assert_eq!((&conn["op"], conn.get("set")), (&json!("delete"), None), "it holds no such row");
    assert_eq!(outbox(&tab).iter().filter(|entry| entry["state"] == "waiting").count(), 1);
}

#[test]
fn r3_discarding_rolls_back_the_group_and_nothing_else() {
    let Group { mut tab, root, .. } = group();
    make(&mut tab, &[update("card", 2, "\"set\":{\"x\":7}")]);
    tab.engine.set_online(tab.now, false);
    decide(&mut tab, json!({"what": "discard", "dependents": false}), root).unwrap();
    let view = tab.engine.replica().view();
    assert_eq!(view.get(row("card", 2)).unwrap().values[1..3], [Value::Text("was".into()), Value::Real(7.0)]);
    assert!(view.contains(row("card", 12)) && view.contains(row("box", 20)) && !view.contains(row("conn", 10)));

    let Group { mut tab, root, .. } = group();
    decide(&mut tab, json!({"what": "discard", "dependents": true}), root).unwrap();
    assert!(!tab.engine.replica().view().contains(row("card", 12)), "with what depends on it");
    assert_eq!((outbox(&tab).len(), tab.disk.len()), (0, 0));
}

#[test]
fn r3_an_amended_transaction_says_something_else_and_goes() {
    let Group { mut store, mut tab, root } = group();
    let edits = json!([
        {"op": "create", "table": "conn", "id": id(10), "set": {"from": id(2), "kind": id(3)}},
        {"op": "create", "table": "box", "id": id(11), "set": {"name": "amended"}},
    ]);
    decide(&mut tab, json!({"what": "amend", "edits": edits}), root).unwrap();
    assert!(parked(&tab).is_empty());
    assert_eq!(tab.engine.replica().view().get(row("card", 2)).unwrap().values[1], Value::Text("was".into()), "rolled back");
    tab.now += 20_000;
    tab.sync(&mut store);
    assert_eq!((outbox(&tab).len(), tab.disk.len()), (0, 0));
    assert_eq!(store.rows[&row("conn", 10)].values[0], Value::Ref(row("card", 2)));
    assert_eq!(store.rows[&row("box", 11)].values[1], Value::Text("amended".into()));
    assert!(store.rows.contains_key(&row("card", 12)), "what waited on it has gone too");
    assert!(!store.log.iter().any(|entry| entry.1 == root), "its old number never took effect");

    let Group { mut tab, root, .. } = group();
    let before = outbox(&tab);
    let wrong = json!([{"op": "create", "table": "nowhere", "id": id(10)}]);
    assert_eq!(decide(&mut tab, json!({"what": "amend", "edits": wrong}), root), Err("invalid".into()));
    assert_eq!(outbox(&tab), before, "nothing has changed");
}

#[test]
fn r3_reparenting_moves_references_of_the_group_to_another_row() {
    let Group { mut store, mut tab, root } = group();
    let wrong = json!({"what": "reparent", "from": name("card", 1), "to": name("box", 20), "dependents": true});
    assert_eq!(decide(&mut tab, wrong, root), Err("not_allowed".into()), "a connection begins at a card");
    let none = json!({"what": "reparent", "from": name("card", 1), "to": null, "dependents": true});
    assert_eq!(decide(&mut tab, none, root), Err("not_allowed".into()), "and begins somewhere");
    let nothing = json!({"what": "reparent", "from": name("card", 99), "to": name("card", 2)});
    assert_eq!(decide(&mut tab, nothing, root), Err("nothing_to_change".into()));
    assert_eq!(parked(&tab).len(), 1);
    decide(&mut tab, json!({"what": "reparent", "from": name("card", 1), "to": name("card", 2)}), root).unwrap();
    tab.now += 20_000;
    tab.sync(&mut store);
    assert_eq!((outbox(&tab).len(), store.orphans()), (0, 0));
    assert_eq!(store.rows[&row("conn", 10)].values[0], Value::Ref(row("card", 2)));
    assert_eq!(store.rows[&row("card", 2)].values[1], Value::Text("mine".into()), "the rest of it is as it was");
}

#[test]
fn r3_detaching_frees_what_waits() {
    let Group { mut store, mut tab, root } = group();
    decide(&mut tab, json!({"what": "detach"}), root).unwrap();
    tab.now += 20_000;
    tab.sync(&mut store);
    assert_eq!(store.rows[&row("card", 12)].values[3], Value::Null, "it went, into no box");
    let left = parked(&tab);
    assert_eq!((left.len(), outbox(&tab).len()), (1, 1));
    assert_eq!(left[0]["dependents"], json!([]));
}

#[test]
fn r3_detaching_leaves_the_refused_one_as_it_was_made() {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    make(&mut tab, &[create("card", 1, ""), create("kind", 3, "")]);
    tab.sync(&mut store);
    store.rows.remove(&row("card", 1));
    store.deleted.insert(row("card", 1));
    // It refers to what it makes itself.
    let from = format!("\"from\":\"{}\",\"kind\":\"{}\"", id(1), id(3));
    let into = format!("\"box\":\"{}\"", id(11));
    let root = make(&mut tab, &[create("conn", 10, &from), create("box", 11, ""), create("card", 12, &into)]);
    make(&mut tab, &[create("card", 13, &into)]);
    tab.now += 20_000;
    tab.sync(&mut store);
    let before = tab.engine.outbox().get(root).unwrap().body.clone();
    decide(&mut tab, json!({"what": "detach"}), root).unwrap();
    assert_eq!(tab.engine.outbox().get(root).unwrap().body, before);
}

#[test]
fn r3_an_export_tells_all_of_the_group() {
    let Group { tab, root, .. } = group();
    let file: Json = serde_json::from_str(&tab.engine.export(root, true).unwrap()).unwrap();
    assert_eq!((&file["name"], &file["version"]), (&json!("t"), &json!(1)));
    let transactions = file["transactions"].as_array().unwrap();
    assert_eq!(transactions.len(), 2);
    assert_eq!(transactions[0]["body"]["edits"][0]["table"], "conn", "in the order made, edits and all");
    assert_eq!(transactions[0]["problem"]["code"], "missing_parent");
    assert_eq!(transactions[0]["before"].as_array().unwrap().len(), 3);
    assert_eq!(transactions[1]["body"]["edits"][0]["id"], id(12));
    let alone: Json = serde_json::from_str(&tab.engine.export(root, false).unwrap()).unwrap();
    assert_eq!(alone["transactions"].as_array().unwrap().len(), 1);
    assert!(tab.engine.export((1, 1), true).is_err());
}

/// The page, loaded again.
fn reopened(disk: &Tab, store: &Store) -> Tab {
    let mut tab = Tab::new();
    tab.open(Disk { slots: vec![disk.slot()], ..Disk::default() });
    tab.engine.handle_lead(tab.now, 2, None, vec![disk.slot()]);
    tab.run();
    tab.give_snapshot(store);
    tab
}

#[test]
fn r3_a_group_and_what_was_decided_survive_a_reload() {
    let Group { store, tab, root } = group();
    let mut again = reopened(&tab, &store);
    assert_eq!(parked(&again).len(), 1);
    assert_eq!(parked(&again)[0]["problem"]["code"], "missing_parent");
    assert_eq!(parked(&again)[0]["dependents"].as_array().unwrap().len(), 1);
    decide(&mut again, json!({"what": "reparent", "from": name("card", 1), "to": name("card", 2)}), root).unwrap();
    let mut last = reopened(&again, &store);
    let mut store = store.clone();
    last.now += 20_000;
    last.sync(&mut store);
    assert_eq!(store.rows[&row("conn", 10)].values[0], Value::Ref(row("card", 2)));
    assert_eq!((outbox(&last).len(), last.disk.len()), (0, 0));
}

#[test]
fn o4_a_new_row_that_others_wait_for_closes_no_cycle_by_what_comes_with_it() {
    let mut tab = Tab::leading(&Store::default());
    make(&mut tab, &[create("card", 1, "")]);
    let conn = |n| create("conn", n, &format!("\"from\":\"{}\",\"kind\":\"{}\"", id(1), id(2)));
    make(&mut tab, &[conn(3)]);
    // The kind comes late, and with another connection of its own.
    make(&mut tab, &[conn(4), create("kind", 2, "")]);
    let mut store = Store::default();
    tab.sync(&mut store);
    assert_eq!((store.rows.len(), parked(&tab).len()), (4, 0));
}

#[test]
fn r3_what_is_discarded_with_dependents_takes_what_waits_for_a_row_that_it_restores() {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    make(&mut tab, &[create("box", 1, "")]);
    tab.sync(&mut store);
    make(&mut tab, &[delete("box", 1)]);
    tab.sync(&mut store);
    tab.engine.set_online(tab.now, false);
    tab.run();
    tab.now += 10_000;
    let restore = tab.engine.undo(tab.now).unwrap()[0].0;
    tab.run();
    make(&mut tab, &[create("box", 2, &format!("\"up\":\"{}\"", id(1)))]);
    assert_eq!(tab.engine.outbox().len(), 2);
    decide(&mut tab, json!({"what": "discard", "dependents": true}), restore).unwrap();
    assert_eq!(tab.engine.outbox().len(), 0, "box 2 waits for box 1, which nobody makes any more");
}

#[test]
fn r3_amending_what_has_taken_effect_already_does_not_double_it() {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    make(&mut tab, &[create("card", 1, "")]);
    tab.sync(&mut store);
    let key = make(&mut tab, &[update("card", 1, "\"add\":{\"n\":5}")]);
    // It arrives, and the answer is lost.
    let (request, body) = tab.pushes.pop().expect("it is on its way");
    store.push(&tab.schema, &body).unwrap();
    tab.engine.handle_send_failed(tab.now, request, SendFailure::Network);
    tab.run();
    let edits: Json = serde_json::from_str(&format!("[{}]", update("card", 1, "\"add\":{\"n\":6}"))).unwrap();
    let decided = decide(&mut tab, json!({"what": "amend", "edits": edits}), key);
    tab.now += 60_000;
    tab.sync(&mut store);
    let n = store.rows[&row("card", 1)].values[0].clone();
    assert!(n == Value::Int(6) || (decided.is_err() && n == Value::Int(5)), "{n:?}, decided {decided:?}");
}

#[test]
fn o6_an_amended_transaction_is_bounded_like_any_other() {
    let mut tab = Tab::leading(&Store::default());
    tab.engine.set_online(tab.now, false);
    tab.run();
    let key = make(&mut tab, &[create("card", 1, "")]);
    let text = "a".repeat(60_000);
    let edits: Vec<Json> =
        (0..20).map(|n| serde_json::from_str(&create("card", 10 + n, &format!("\"note\":\"{text}\""))).unwrap()).collect();
    assert_eq!(decide(&mut tab, json!({"what": "amend", "edits": edits}), key), Err("invalid".into()), "more than 1 MiB");
}

#[test]
fn r3_what_an_earlier_page_may_have_sent_is_not_amended_but_what_waits_for_a_refused_one_is_detached() {
    let Group { store, tab, root } = group();
    let mut again = reopened(&tab, &store);
    decide(&mut again, json!({"what": "detach"}), root).unwrap();
    assert_eq!(parked(&again).len(), 1);
    let mut offline = Tab::leading(&store);
    offline.engine.set_online(offline.now, false);
    let key = make(&mut offline, &[create("box", 30, "")]);
    let mut again = Tab::new();
    again.open(Disk { slots: vec![offline.slot()], ..Disk::default() });
    again.engine.handle_lead(again.now, 2, None, vec![offline.slot()]);
    again.run();
    let edits = json!([{"op": "create", "table": "box", "id": id(30)}]);
    assert_eq!(decide(&mut again, json!({"what": "amend", "edits": edits}), key), Err("in_flight".into()));
    assert_eq!(decide(&mut offline, json!({"what": "amend", "edits": edits}), key), Ok(()), "this page knows that it never went");
}

#[test]
fn r3_what_another_tab_discards_while_it_is_on_its_way_is_discarded_if_the_server_does_not_take_it() {
    for taken in [false, true] {
        let mut store = Store::default();
        let mut tab = Tab::leading(&store);
        tab.sync(&mut store);
        let key = make(&mut tab, &[create("box", 1, "")]);
        let (request, body) = tab.pushes.pop().expect("it is on its way");
        let decision = format!("{{\"schema\":1,\"what\":\"discard\",\"key\":\"{}\",\"t\":\"do\"}}", key_text(key));
        tab.engine.handle_peer(tab.now, &decision);
        tab.run();
        assert!(tab.engine.outbox().get(key).is_some());
        if taken {
            let answer = store.push(&tab.schema, &body).unwrap();
            tab.engine.handle_answer(tab.now, request, 200, None, &answer);
        } else {
            tab.engine.handle_answer(tab.now, request, 503, None, "{\"code\":\"busy\"}");
        }
        tab.run();
        assert_eq!((tab.engine.outbox().len(), tab.disk.len()), (0, 0));
        tab.now += 60_000;
        tab.sync(&mut store);
        assert_eq!(store.rows.len(), usize::from(taken));
    }
}

#[test]
fn r3_what_a_dead_tab_left_refused_is_decided_by_the_one_that_sends_now() {
    for what in ["discard", "amend", "detach"] {
        let Group { store, tab: dead, root } = group();
        let slots = vec![SlotDisk { slot: 1, ..dead.slot() }];
        let mut tab = Tab::new();
        // It reads the disk while the other is open, and sends once that has died.
        tab.open(Disk { slots: slots.clone(), ..Disk::default() });
        tab.engine.handle_lead(tab.now, 2, None, slots);
        tab.run();
        tab.give_snapshot(&store);
        assert_eq!(parked(&tab).len(), 1);
        tab.told();
        let edits = json!([{"op": "create", "table": "box", "id": id(1)}]);
        decide(&mut tab, json!({"what": what, "edits": edits}), root).unwrap();
        tab.run();
        assert_eq!(tab.engine.outbox().get(root).is_some(), what == "detach", "{what}");
        assert!(tab.told().iter().all(|told| !told.contains("\"t\":\"do\"")), "{what}: there is nobody else to do it");
    }
}

#[test]
fn r3_what_the_server_is_unsure_of_is_not_amended_before_it_answers() {
    for (unsure, expected) in [("", Ok(())), (",\"unsure\":true", Err("in_flight".into()))] {
        let mut store = Store::default();
        let mut tab = Tab::leading(&store);
        tab.sync(&mut store);
        let key = make(&mut tab, &[create("box", 1, "")]);
        let (request, body) = tab.pushes.pop().expect("it is on its way");
        if !unsure.is_empty() {
            store.push(&tab.schema, &body).unwrap();
        }
        tab.engine.handle_answer(tab.now, request, 503, None, &format!("{{\"code\":\"server_disk\"{unsure}}}"));
        tab.run();
        let edits = json!([{"op": "create", "table": "box", "id": id(2)}]);
        assert_eq!(decide(&mut tab, json!({"what": "amend", "edits": edits}), key), expected, "{unsure}");
        tab.now += 60_000;
        tab.sync(&mut store);
        assert_eq!((tab.engine.outbox().len(), store.rows.len()), (0, 1), "it takes effect once: as it was, or as it was amended");
    }
}

#[test]
fn r3_what_was_offered_to_an_earlier_sender_is_not_amended_before_the_server_answers() {
    let mut store = Store::default();
    let mut maker = Tab::leading(&store);
    let key = make(&mut maker, &[create("box", 1, "")]);
    let record = maker.engine.outbox().get(key).unwrap().to_record(&maker.schema);
    let mut tab = Tab::of_config(Config { slot: 1, client: 0xbb, ..common::config() });
    tab.open(Disk::default());
    tab.engine.handle_peer(tab.now, &common::shown(0, true, &record));
    tab.run();
    // The sending tab closes, and with it goes what it knew.
    tab.engine.handle_lead(tab.now, 2, None, Vec::new());
    tab.run();
    tab.engine.handle_reloaded(tab.now, Disk { slots: maker.left().slots, ..Disk::default() });
    tab.run();
    let edits = json!([{"op": "create", "table": "box", "id": id(1), "set": {"name": "amended"}}]);
    let amend = json!({"what": "amend", "edits": edits});
    assert_eq!(decide(&mut tab, amend.clone(), key), Err("in_flight".into()));
    // In the same epoch it hears of another, which nobody else has been offered.
    let other = make(&mut maker, &[create("conn", 2, &format!("\"from\":\"{}\",\"kind\":\"{}\"", id(8), id(9)))]);
    let record = maker.engine.outbox().get(other).unwrap().to_record(&maker.schema);
    tab.engine.handle_peer(tab.now, &common::shown(0, true, &record));
    tab.run();
    let edits = json!([{"op": "create", "table": "box", "id": id(2)}]);
    assert_eq!(decide(&mut tab, json!({"what": "amend", "edits": edits}), other), Ok(()));
    tab.give_snapshot(&store);
    tab.sync(&mut store);
    assert!(tab.engine.outbox().is_empty());
}

// ---- what a decision replaces ----

fn amend(tab: &mut Tab, key: Key, name: &str) -> Key {
    let edits = json!([{"op": "create", "table": "box", "id": id(1), "set": {"name": name}}]);
    tab.engine.decide(tab.now, &json!({"what": "amend", "key": key_text(key), "edits": edits}).to_string()).unwrap();
    tab.engine.outbox().iter().find(|entry| entry.was.last() == Some(&key)).unwrap().made.key
}

/// The keys that the transaction of the next request replaces.
fn replaced(tab: &mut Tab) -> Vec<Key> {
    tab.pushes.clear();
    tab.engine.set_online(tab.now, true);
    tab.now += 20_000;
    tab.engine.handle_tick(tab.now);
    tab.run();
    let push: Json = serde_json::from_str(&tab.pushes.pop().unwrap().1).unwrap();
    let client = |at: &Json| u64::from_str_radix(push["clients"][at.as_u64().unwrap() as usize]["id"].as_str().unwrap(), 16).unwrap();
    let keys = push["units"][0]["txns"][0]["replaces"].as_array().unwrap();
    keys.iter().map(|key| (client(&key[0]), key[1].as_u64().unwrap())).collect()
}

#[test]
fn d1_an_amended_transaction_names_the_latest_8_keys_that_it_had() {
    let mut tab = Tab::leading(&Store::default());
    tab.engine.set_online(tab.now, false);
    let mut keys = vec![make(&mut tab, &[create("box", 1, "")])];
    for i in 0..10 {
        keys.push(amend(&mut tab, keys[i], "again"));
        tab.run();
    }
    assert_eq!(replaced(&mut tab), keys[2..10]);
    assert_eq!(tab.disk.keys().copied().collect::<Vec<_>>(), keys[10..]);
}

#[test]
fn q1_what_is_amended_again_before_it_is_on_disk_leaves_one_record_and_names_both_old_keys() {
    let mut tab = Tab::leading(&Store::default());
    tab.engine.set_online(tab.now, false);
    let first = make(&mut tab, &[create("box", 1, "")]);
    let mut save = None;
    let second = amend(&mut tab, first, "second");
    while let Some(effect) = tab.engine.poll() {
        if let Effect::Save { id, slot, puts, .. } = effect {
            save = Some((id, slot, puts));
        }
    }
    let (id, slot, puts) = save.unwrap();
    let third = amend(&mut tab, second, "third");
    tab.disk.extend(puts);
    tab.hold_saves = true;
    tab.engine.handle_saved(tab.now, slot, id);
    tab.run();
    assert!(tab.disk.contains_key(&first) && !tab.disk.contains_key(&third), "one of them is always there");
    tab.hold_saves = false;
    // A page that is loaded now finds both, and takes the later for the one that counts.
    tab.disk.insert(third, tab.engine.outbox().get(third).unwrap().to_record(&tab.schema));
    let again = reopened(&tab, &Store::default());
    assert_eq!(again.engine.outbox().iter().map(|entry| entry.made.key).collect::<Vec<_>>(), [third]);
    let (slot, save) = tab.held.pop().unwrap();
    tab.engine.handle_saved(tab.now, slot, save);
    tab.run();
    assert_eq!(tab.disk.keys().copied().collect::<Vec<_>>(), [third]);
    assert_eq!(replaced(&mut tab), [first, second]);
}

#[test]
fn r3_what_came_too_late_is_not_sent_again_but_discarded() {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    tab.sync(&mut store);
    tab.engine.set_online(tab.now, false);
    let key = make(&mut tab, &[create("box", 1, "\"name\":\"first\"")]);
    // While this tab was frozen another sent it.
    let body = tab.engine.outbox().get(key).unwrap().body.clone();
    store.push(&tab.schema, &common::push_text(None, "[]", &[(key.1, body)])).unwrap();
    let new = amend(&mut tab, key, "amended");
    tab.run();
    tab.engine.set_online(tab.now, true);
    tab.now += 20_000;
    tab.sync(&mut store);
    let left = parked(&tab);
    assert_eq!((left.len(), &left[0]["key"], &left[0]["problem"]["code"]), (1, &json!(key_text(new)), &json!("too_late")));
    assert_eq!(decide(&mut tab, json!({"what": "retry"}), new), Err("too_late".into()));
    let edits = json!([{"op": "create", "table": "box", "id": id(2)}]);
    assert_eq!(decide(&mut tab, json!({"what": "amend", "edits": edits}), new), Err("too_late".into()));
    assert_eq!(parked(&tab), left);
    decide(&mut tab, json!({"what": "discard"}), new).unwrap();
    assert_eq!((outbox(&tab).len(), tab.disk.len(), store.rows.len()), (0, 0, 1));
    assert_eq!(tab.engine.replica().view().get(row("box", 1)).unwrap().values[1], Value::Text("first".into()));
}

// ---- what refers to a row that is nowhere ----

/// Lets time pass, second by second, and answers what is asked.
fn wait(tab: &mut Tab, store: &mut Store, seconds: u64) {
    for _ in 0..seconds {
        tab.now += 1_000;
        tab.engine.handle_tick(tab.now);
        tab.run();
        while let Some((id, body)) = tab.pushes.pop() {
            let answer = store.push(&tab.schema, &body).unwrap();
            tab.engine.handle_answer(tab.now, id, 200, None, &answer);
            tab.run();
        }
    }
}

fn states(tab: &Tab) -> Vec<String> {
    outbox(tab).iter().map(|entry| entry["state"].as_str().unwrap().to_string()).collect()
}

/// Two tabs; somebody deletes a card, which the one that sends hears of, and then the other, which has not, connects it.
fn late_reference() -> (Tab, Store, Key) {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    make(&mut tab, &[create("card", 1, ""), create("kind", 3, "")]);
    tab.sync(&mut store);
    let mut other = Tab::of_config(Config { slot: 1, client: 0xab, ..common::config() });
    other.open(tab.left());
    store.push(&tab.schema, &common::push_text(None, "[]", &[(9, common::body(9, &delete("card", 1)))]).replace("00aa", "00dd")).unwrap();
    wait(&mut tab, &mut store, 15);
    assert!(!tab.engine.replica().view().contains(row("card", 1)));
    for text in tab.told() {
        if !text.contains("\"t\":\"base\"") {
            other.engine.handle_peer(other.now, &text);
        }
    }
    let conn = create("conn", 10, &format!("\"from\":\"{}\",\"kind\":\"{}\"", id(1), id(3)));
    let key = make(&mut other, &[conn]);
    for text in other.told() {
        tab.engine.handle_peer(tab.now, &text);
    }
    tab.run();
    (tab, store, key)
}

#[test]
fn r2_what_was_made_on_a_row_after_its_delete_was_heard_is_parked_and_goes_when_the_row_is_there_again() {
    let (mut tab, mut store, key) = late_reference();
    wait(&mut tab, &mut store, 5);
    assert_eq!(states(&tab), ["waiting"], "the row may be on its way");
    wait(&mut tab, &mut store, 10);
    let left = parked(&tab);
    assert_eq!((left.len(), &left[0]["key"], &left[0]["problem"]["code"]), (1, &json!(key_text(key)), &json!("missing_parent")));
    assert_eq!(left[0]["problem"]["rows"], json!([name("card", 1)]));
    assert!(tab.engine.status().contains("\"not_saving\",\"reason\":\"parked\""), "{}", tab.engine.status());
    wait(&mut tab, &mut store, 60);
    assert_eq!(parked(&tab), left, "and stays so");
    let back = format!("{{\"op\":\"restore\",\"table\":\"card\",\"id\":\"{}\",\"set\":{{}}}}", id(1));
    store.push(&tab.schema, &common::push_text(None, "[]", &[(10, common::body(10, &back))]).replace("00aa", "00dd")).unwrap();
    wait(&mut tab, &mut store, 30);
    assert!(outbox(&tab).is_empty() && store.rows.contains_key(&row("conn", 10)), "{:?}", outbox(&tab));
}

#[test]
fn r2_what_refers_to_a_row_that_is_nowhere_is_not_parked_before_the_server_was_asked_for_it() {
    let (mut tab, mut store, _) = late_reference();
    for _ in 0..60 {
        tab.now += 1_000;
        tab.engine.handle_tick(tab.now);
        tab.run();
        while let Some((id, _)) = tab.pushes.pop() {
            tab.engine.handle_send_failed(tab.now, id, SendFailure::Network);
            tab.run();
        }
    }
    assert_eq!(states(&tab), ["waiting"], "nobody knows whether the row is there");
    wait(&mut tab, &mut store, 60);
    assert_eq!(states(&tab), ["parked"]);
}

#[test]
fn r2_what_awaits_a_new_row_goes_on_waiting_when_the_one_that_it_let_go_of_is_deleted() {
    let mut store = Store::default();
    let mut tab = Tab::leading(&store);
    make(&mut tab, &[create("box", 1, "")]);
    make(&mut tab, &[create("card", 2, &format!("\"box\":\"{}\"", id(1)))]);
    tab.sync(&mut store);
    // The new one comes later, as one does that comes with its file.
    make(&mut tab, &[update("card", 2, &format!("\"set\":{{\"box\":\"{}\"}}", id(7)))]);
    store.push(&tab.schema, &common::push_text(None, "[]", &[(9, common::body(9, &delete("box", 1)))]).replace("00aa", "00dd")).unwrap();
    wait(&mut tab, &mut store, 60);
    assert!(!tab.engine.replica().view().contains(row("box", 1)));
    assert_eq!(states(&tab), ["waiting"]);
    make(&mut tab, &[create("box", 7, "")]);
    wait(&mut tab, &mut store, 5);
    assert!(outbox(&tab).is_empty() && store.rows[&row("card", 2)].values.contains(&Value::Ref(row("box", 7))));
}

#[test]
fn r2_what_needs_a_deleted_row_is_parked_while_other_edits_flow() {
    let (mut tab, mut store, _) = late_reference();
    let conn = |n: u64| create("conn", n, &format!("\"from\":\"{}\",\"kind\":\"{}\"", id(5), id(3)));
    make(&mut tab, &[create("card", 5, "")]);
    wait(&mut tab, &mut store, 1);
    tab.engine.set_online(tab.now, false);
    let lost = make(&mut tab, &[conn(11)]);
    store.push(&tab.schema, &common::push_text(None, "[]", &[(10, common::body(10, &delete("card", 5)))]).replace("00aa", "00dd")).unwrap();
    tab.engine.set_online(tab.now, true);
    for n in 0..5 {
        // Before each answer there is something new.
        tab.now += 1_000;
        make(&mut tab, &[create("box", 100 + n, "")]);
        tab.engine.handle_tick(tab.now);
        tab.run();
        let Some((id, body)) = tab.pushes.pop() else { continue };
        make(&mut tab, &[create("box", 200 + n, "")]);
        let answer = store.push(&tab.schema, &body).unwrap();
        tab.engine.handle_answer(tab.now, id, 200, None, &answer);
        tab.run();
    }
    assert!(parked(&tab).iter().any(|entry| entry["key"] == json!(key_text(lost))), "{:?}", states(&tab));
}
