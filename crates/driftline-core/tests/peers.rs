//! Several tabs of one browser: whatever overtakes what, and whoever sends, each transaction waits once, goes in order and is over once.

mod common;

use common::{Store, Tab, config, config_for, create, id, push_text, schema, shown, update};
use driftline_core::dedupe::shared_client;
use driftline_core::engine::{Config, Disk, Effect, IMPORTED, SlotDisk, record_key, write_key};
use driftline_core::outbox::{Key, State};
use driftline_core::schema::Schema;
use driftline_core::sender::SendFailure;
use driftline_core::value::{RowId, RowKey, Value};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// A tab beside others, which does not send.
fn beside(slot: u32) -> Tab {
    let mut tab = Tab::of_config(Config { slot, client: 0xaa + u64::from(slot), ..config() });
    tab.open(Disk::default());
    tab.effects.clear();
    tab
}

/// The sending tab, with nothing to do.
fn sending(store: &mut Store) -> Tab {
    let mut tab = Tab::leading(store);
    tab.sync(store);
    tab.effects.clear();
    tab
}

/// Another device, with a transaction that it may export.
fn elsewhere() -> (Tab, Key) {
    let mut tab = Tab::of_config(Config { client: 0xcc, ..config() });
    tab.open(Disk::default());
    let key = make(&mut tab, &create("kind", 1, ""));
    (tab, key)
}

fn hear(tab: &mut Tab, told: &[String]) {
    for text in told {
        tab.engine.handle_peer(tab.now, text);
    }
    tab.run();
}

fn make(tab: &mut Tab, edit: &str) -> Key {
    let key = tab.make(edit).unwrap();
    tab.run();
    key
}

/// The sending tab of an epoch says where it is.
fn lead(epoch: u64, rest: &str) -> String {
    format!("{{\"schema\":1,\"t\":\"lead\",\"epoch\":{epoch},\"rev\":0,\"online\":true{rest}}}")
}

/// The sending tab of an epoch says what has come of the first revision, and whom it settles.
fn base(epoch: u64, changes: &str, settled: Key) -> String {
    let mut key = String::new();
    write_key(settled, &mut key);
    let parts = format!("{{\"rev\":1,\"parts\":[{{\"actor\":1,\"changes\":[{changes}]}}]}}");
    format!("{{\"schema\":1,\"t\":\"base\",\"epoch\":{epoch},\"changes\":[{parts}],\"settled\":[\"{key}\"],\"records\":[]}}")
}

/// A tab says that it has deleted a record.
fn void(key: Key) -> String {
    let mut text = String::new();
    write_key(key, &mut text);
    format!("{{\"schema\":1,\"t\":\"void\",\"keys\":[\"{text}\"]}}")
}

/// Lets time pass, and returns the numbers of what goes then, request by request.
fn goes(tab: &mut Tab, ms: u64) -> Vec<Vec<u64>> {
    tab.now += ms;
    tab.engine.handle_tick(tab.now);
    tab.run();
    tab.pushes.iter().map(|push| sent(&push.1).into_iter().map(|txn| txn["key"][1].as_u64().unwrap()).collect()).collect()
}

/// The transactions of a request.
fn sent(body: &str) -> Vec<serde_json::Value> {
    let push: serde_json::Value = serde_json::from_str(body).unwrap();
    push["units"].as_array().unwrap().iter().flat_map(|unit| unit["txns"].as_array().unwrap().clone()).collect()
}

#[test]
fn d1_what_is_shown_and_then_offered_after_it_was_settled_is_not_there_again() {
    let mut maker = beside(1);
    let key = make(&mut maker, &create("kind", 1, "\"name\":\"\""));
    hear(&mut maker, &[lead(1, "")]);
    let told = maker.told();
    assert_eq!(told.iter().filter(|text| text.contains('\n')).count(), 2, "shown, and then offered: {told:?}");
    let mut tab = beside(2);
    hear(&mut tab, &[base(1, &create("kind", 1, "\"name\":\"\""), key)]);
    for text in told {
        hear(&mut tab, &[text]);
        assert_eq!((tab.engine.outbox().len(), tab.engine.replica().view().len()), (0, 1));
    }
}

/// A tab that has heard of another's transaction from the sending tab, and what that other told of it, which is late.
fn told_of_by_the_sending_tab() -> (Tab, Key, Vec<String>) {
    let mut maker = beside(1);
    let key = make(&mut maker, &create("kind", 1, ""));
    let record = serde_json::to_string(&maker.disk[&key]).unwrap();
    let mut tab = beside(2);
    hear(&mut tab, &[format!("{{\"schema\":1,\"t\":\"base\",\"epoch\":1,\"changes\":[],\"settled\":[],\"records\":[[1,{record}]]}}")]);
    (tab, key, maker.told())
}

#[test]
fn d1_what_the_sending_tab_told_of_and_is_over_is_not_there_again_when_its_own_tab_tells_of_it_late() {
    let (mut tab, key, late) = told_of_by_the_sending_tab();
    assert!(tab.engine.outbox().get(key).is_some());
    hear(&mut tab, &[base(1, &create("kind", 1, "\"name\":\"\""), key), void(key)]);
    hear(&mut tab, &late);
    assert_eq!((tab.engine.outbox().len(), tab.engine.replica().view().len()), (0, 1));
}

// ---- the sending tab's end ----

/// A sending tab that has been told of its transaction that it is applied at revision 1, and not what that revision holds; and a
/// server that was set back to before it.
fn applied_and_forgotten() -> (Tab, Key, Store) {
    let mut backup = Store::default();
    let mut tab = sending(&mut backup);
    let key = make(&mut tab, &create("kind", 1, ""));
    goes(&mut tab, 1_000);
    let (request, _) = tab.pushes.pop().unwrap();
    let outcome = format!("{{\"key\":[0,{}],\"outcome\":\"applied\",\"rev\":1,\"notices\":[]}}", key.1);
    let head = "\"schema\":1,\"rev\":1,\"more\":true,\"reload\":false,\"clients\":[]";
    tab.engine.handle_answer(tab.now, request, 200, None, &format!("{{{head},\"outcomes\":[{outcome}],\"changes\":[]}}"));
    tab.run();
    assert_eq!(tab.engine.outbox().get(key).unwrap().state, State::Applied { rev: 1 });
    (tab, key, backup)
}

#[test]
fn d1_what_a_server_set_back_has_forgotten_goes_again() {
    let (mut tab, key, mut backup) = applied_and_forgotten();
    let (request, body) = tab.pushes.pop().expect("it asks for the rest");
    let answer = backup.push(&schema(), &body).unwrap();
    tab.engine.handle_answer(tab.now, request, 200, None, &answer);
    assert_eq!(tab.engine.outbox().get(key).map(|entry| entry.state.clone()), Some(State::Queued));
    tab.run();
    tab.sync(&mut backup);
    assert_eq!((backup.rows.len(), tab.engine.outbox().len(), tab.disk.len()), (1, 0, 0));
}

#[test]
fn d1_what_a_server_set_back_has_forgotten_is_not_settled_by_what_others_did_in_its_revision() {
    let (mut tab, key, mut backup) = applied_and_forgotten();
    let others = push_text(None, "[]", &[(1, common::body(1, &create("kind", 2, "")))]).replace("00aa", "00dd");
    backup.push(&schema(), &others).unwrap();
    let (request, body) = tab.pushes.pop().expect("it asks for the rest");
    let answer = backup.push(&schema(), &body).unwrap();
    tab.engine.handle_answer(tab.now, request, 200, None, &answer);
    assert_eq!(tab.engine.replica().rev, 1);
    assert_eq!(tab.engine.outbox().get(key).map(|entry| entry.state.clone()), Some(State::Queued));
    tab.run();
    tab.sync(&mut backup);
    assert_eq!((backup.rows.len(), tab.engine.outbox().len(), tab.disk.len()), (2, 0, 0));
}

#[test]
fn l1_a_replaced_tab_offers_what_was_applied_and_has_not_come_to_the_next() {
    let (mut tab, key, mut backup) = applied_and_forgotten();
    tab.engine.handle_unlead(tab.now);
    tab.run();
    tab.effects.clear();
    hear(&mut tab, &[lead(2, "")]);
    let mut next = Tab::of_config(Config { slot: 1, client: 0xbb, ..config() }).lead(&backup);
    next.sync(&mut backup);
    hear(&mut next, &tab.told());
    assert!(next.engine.outbox().get(key).is_some_and(|entry| entry.frozen));
    next.sync(&mut backup);
    assert_eq!((backup.rows.len(), next.engine.outbox().len()), (1, 0));
}

#[test]
fn l1_what_a_replaced_tab_wrote_again_it_deletes_when_it_hears_that_it_is_over() {
    let mut closed = beside(3);
    let key = make(&mut closed, &create("kind", 1, ""));
    let record = closed.disk[&key].replacen('{', "{\"suspended\":true,", 1);
    let mut tab = sending(&mut Store::default());
    tab.engine.handle_adopted(tab.now, SlotDisk { slot: 3, records: vec![record.clone()], high: Vec::new() });
    tab.run();
    assert_eq!(goes(&mut tab, 1_000), [[key.1]]);
    // Frozen here; the next tab sends it and deletes the record. Then this one goes on.
    let (request, _) = tab.pushes.pop().unwrap();
    tab.disk.clear();
    tab.engine.handle_answer(tab.now, request, 500, None, "{\"code\":\"internal\"}");
    tab.run();
    assert!(tab.disk.contains_key(&key), "it has written it again, as suspended");
    tab.engine.handle_unlead(tab.now);
    tab.run();
    let mut key_text = String::new();
    write_key(key, &mut key_text);
    let record = serde_json::to_string(&record).unwrap();
    let again = format!("{{\"schema\":1,\"t\":\"base\",\"epoch\":2,\"changes\":[],\"settled\":[],\"records\":[[3,{record}]]}}");
    hear(&mut tab, &[again, base(2, &create("kind", 1, "\"name\":\"\""), key)]);
    assert_eq!((tab.engine.outbox().len(), tab.disk.len()), (0, 0));
}

#[test]
fn l1_what_a_replaced_tab_wrote_again_and_then_settled_itself_it_deletes_when_another_has() {
    let mut closed = beside(3);
    let key = make(&mut closed, &create("kind", 1, ""));
    let record = closed.disk[&key].replacen('{', "{\"suspended\":true,", 1);
    let mut store = Store::default();
    let mut tab = sending(&mut store);
    tab.engine.handle_adopted(tab.now, SlotDisk { slot: 3, records: vec![record], high: Vec::new() });
    tab.run();
    goes(&mut tab, 1_000);
    let (request, _) = tab.pushes.pop().unwrap();
    // Frozen here; the next tab sends it and deletes the record.
    tab.disk.clear();
    tab.engine.handle_answer(tab.now, request, 500, None, "{\"code\":\"internal\"}");
    tab.run();
    assert!(tab.disk.contains_key(&key), "it has written it again, as suspended");
    assert_eq!(goes(&mut tab, 600_000), [[key.1]]);
    let (request, body) = tab.pushes.pop().unwrap();
    let answer = store.push(&schema(), &body).unwrap();
    tab.engine.handle_answer(tab.now, request, 200, None, &answer);
    tab.engine.handle_unlead(tab.now);
    tab.run();
    assert!(tab.engine.outbox().is_empty() && tab.disk.contains_key(&key));
    hear(&mut tab, &[void(key)]);
    assert!(tab.disk.is_empty());
}

#[test]
fn d5_what_a_retry_stands_for_is_told_by_when_it_was_made_and_not_by_its_number_alone() {
    let (mut tab, mut other) = (beside(1), beside(2));
    let own = make(&mut tab, &create("kind", 1, ""));
    other.now += 5;
    let retry = make(&mut other, &create("kind", 2, ""));
    let was = format!("{{\"was\":[[\"{:016x}\",{}]],", own.0, own.1);
    let record = other.disk[&retry].replacen('{', &was, 1);
    hear(&mut tab, &[shown(2, true, &record)]);
    assert_eq!(tab.engine.outbox().len(), 2, "a copy of the profile has used the number for something else");
    let made = |tab: &Tab, key| format!("\"made\":{},", tab.engine.outbox().get(key).unwrap().made.at);
    let together = record.replacen(&made(&other, retry), &made(&tab, own), 1).replacen("\"seq\":1", "\"seq\":2", 1);
    assert_ne!(record, together);
    hear(&mut tab, &[shown(2, true, &together)]);
    assert!(tab.engine.outbox().get(own).is_none());
}

#[test]
fn v4_where_the_base_is_in_doubt_the_live_connection_ends_before_another_base_is_there() {
    let mut store = Store::default();
    let mut tab = sending(&mut store);
    tab.engine.handle_live_open(tab.now);
    tab.engine.handle_live_message(tab.now, "{\"ping\":1}");
    tab.run();
    let (request, body) = tab.pushes.pop().expect("it asks what is new");
    let answer = store.push(&schema(), &body).unwrap().replace("\"reload\":false", "\"reload\":true");
    tab.engine.handle_answer(tab.now, request, 200, None, &answer);
    tab.run();
    assert!(tab.effects.contains(&Effect::Disconnect) && tab.fetches.len() == 1, "{:?}", tab.effects);
    // What still comes by it follows on the base that is thrown away.
    let parts = format!("{{\"actor\":2,\"changes\":[{}]}}", create("kind", 1, "\"name\":\"\""));
    tab.engine.handle_live_message(tab.now, &format!("{{\"schema\":1,\"changes\":[{{\"rev\":1,\"parts\":[{parts}]}}]}}"));
    tab.run();
    assert_eq!((tab.engine.replica().rev, tab.engine.replica().view().len()), (0, 0));
}

/// What a tab does until it begins to write all of the base, and the number of that write.
fn until_written(tab: &mut Tab) -> (Vec<Effect>, u64) {
    let mut done = Vec::new();
    loop {
        match tab.engine.poll().expect("it writes the base") {
            Effect::Commit { id, base: Some(_), .. } => return (done, id),
            effect => done.push(effect),
        }
    }
}

#[test]
fn v4_the_others_are_to_read_a_replaced_base_once_it_is_on_disk_and_not_after_an_earlier_write() {
    let mut store = Store::default();
    let mut tab = sending(&mut store);
    tab.engine.handle_live_open(tab.now);
    tab.engine.handle_base_lost(tab.now);
    let (_, earlier) = until_written(&mut tab);
    tab.engine.handle_live_message(tab.now, "{\"ping\":1}");
    tab.run();
    let (request, body) = tab.pushes.pop().expect("it asks what is new");
    let answer = store.push(&schema(), &body).unwrap().replace("\"reload\":false", "\"reload\":true");
    tab.engine.handle_answer(tab.now, request, 200, None, &answer);
    tab.run();
    tab.give_snapshot(&store);
    let reload = |effect: &Effect| matches!(effect, Effect::Broadcast(text) if text.contains("\"t\":\"reload\""));
    tab.engine.handle_committed(tab.now, earlier);
    let (before, replaced) = until_written(&mut tab);
    assert!(!before.iter().chain(&tab.effects).any(reload), "what is on disk is the base before: {before:?}");
    tab.engine.handle_committed(tab.now, replaced);
    tab.run();
    assert_eq!(tab.effects.iter().filter(|effect| reload(effect)).count(), 1, "{:?}", tab.effects);
}

// ---- what goes on from another tab's work ----

/// What one tab offers, who has made a card, and what another, who has heard of it, has made of it.
fn one_after_the_other() -> [(Key, Vec<String>); 2] {
    let (mut one, mut other) = (beside(1), beside(2));
    let first = make(&mut one, &create("card", 1, ""));
    let shown = one.told();
    hear(&mut other, &shown);
    let second = make(&mut other, &update("card", 1, "\"set\":{\"x\":7}"));
    assert_eq!(other.engine.outbox().get(second).unwrap().seen, [first]);
    let offered = |tab: &mut Tab, key| {
        tab.effects.clear();
        hear(tab, &[lead(1, "")]);
        (key, tab.told())
    };
    [offered(&mut one, first), offered(&mut other, second)]
}

#[test]
fn o2_what_goes_on_from_another_tabs_work_waits_until_that_is_heard_of() {
    let [(_, first), (_, second)] = one_after_the_other();
    let mut store = Store::default();
    let mut tab = sending(&mut store);
    hear(&mut tab, &second);
    assert!(goes(&mut tab, 1_000).concat().is_empty(), "of the card it knows nothing yet");
    hear(&mut tab, &first);
    goes(&mut tab, 500);
    let request = sent(&tab.pushes.pop().unwrap().1);
    let ops: Vec<_> = request.iter().map(|txn| txn["body"]["edits"][0]["op"].as_str().unwrap()).collect();
    assert_eq!(ops, ["create", "update"]);
}

#[test]
fn o2_what_goes_on_from_work_that_never_comes_goes_after_2_s_and_a_look_at_the_disk() {
    let [_, (second, offered)] = one_after_the_other();
    let mut tab = sending(&mut Store::default());
    hear(&mut tab, &offered);
    let until = Effect::Wake { at_ms: tab.now + 2_000 };
    assert!(goes(&mut tab, 1_900).concat().is_empty());
    assert!(tab.effects.contains(&until), "{:?}", tab.effects);
    assert!(goes(&mut tab, 100).concat().is_empty() && tab.effects.contains(&Effect::Reload), "{:?}", tab.effects);
    let disk = tab.left();
    tab.engine.handle_reloaded(tab.now, disk);
    assert_eq!(goes(&mut tab, 1), [[second.1]]);
}

#[test]
fn o2_what_is_folded_goes_on_from_all_that_its_parts_went_on_from() {
    let (mut one, mut other) = (beside(1), beside(2));
    let first = make(&mut one, &create("card", 1, ""));
    hear(&mut other, &one.told());
    let move_to = |x: u64| update("card", 1, &format!("\"set\":{{\"x\":{x}}}"));
    let key = make(&mut other, &move_to(7));
    let card = create("card", 1, "\"box\":null,\"n\":0,\"note\":null,\"x\":0");
    hear(&mut other, &[base(1, &card, first)]);
    assert_eq!(other.make(&move_to(8)), Ok(key), "it folds");
    other.run();
    assert_eq!(other.engine.outbox().get(key).unwrap().seen, [first], "the next sending tab may not have heard of it");
    assert!(other.disk[&key].contains("\"seen\""));
}

#[test]
fn r6_a_tab_says_that_what_waits_waits_for_more_than_the_network() {
    let mut tab = sending(&mut Store::default());
    let mut other = beside(1);
    hear(&mut other, &[lead(1, "")]);
    // Into a box that nobody has made yet.
    make(&mut other, &create("card", 1, &format!("\"box\":\"{}\"", id(9))));
    hear(&mut tab, &other.told());
    goes(&mut tab, 1_000);
    let waits = |tab: &Tab| tab.engine.status().contains("\"not_saving\",\"reason\":\"waiting\"");
    assert!(waits(&tab) && !waits(&other), "{}", other.engine.status());
    hear(&mut other, &tab.told());
    assert!(waits(&other), "{}", other.engine.status());
    other.hold_saves = true;
    make(&mut other, &create("kind", 2, ""));
    assert!(other.engine.status().contains("\"saving\""), "of this one the sending tab knows nothing: {}", other.engine.status());
}

#[test]
fn r6_what_waits_for_what_is_held_back_does_so_in_every_tab() {
    let mut tab = sending(&mut Store::default());
    let mut other = beside(1);
    hear(&mut other, &[lead(1, "")]);
    let root = make(&mut tab, &create("box", 1, ""));
    goes(&mut tab, 1_000);
    let (request, _) = tab.pushes.pop().unwrap();
    refuse(&mut tab, request, root);
    // The sending tab's own, which has not been sent yet.
    let child = make(&mut tab, &create("card", 2, &format!("\"box\":\"{}\"", id(1))));
    make(&mut tab, &create("kind", 3, ""));
    make(&mut tab, &create("conn", 4, &format!("\"from\":\"{}\",\"kind\":\"{}\"", id(2), id(3))));
    hear(&mut other, &tab.told());
    let entries: serde_json::Value = serde_json::from_str(&other.engine.outbox_json(other.now, 10)).unwrap();
    let seen: Vec<_> = entries.as_array().unwrap().iter().map(|entry| (entry["state"].clone(), entry["waits_on"].clone())).collect();
    let on = |key: Key| {
        let mut text = String::new();
        driftline_core::engine::write_key(key, &mut text);
        serde_json::json!([text])
    };
    let none = serde_json::json!([]);
    let expected = [("parked", none.clone()), ("waiting", on(root)), ("queued", none), ("waiting", on(child))];
    assert_eq!(seen, expected.map(|(state, on)| (serde_json::Value::from(state), on)));
}

// ---- what is known to whoever sends next ----

/// A tab that does not send and has read what is on disk.
fn reading(slot: u32, disk: &Disk) -> Tab {
    let mut tab = Tab::of_config(Config { slot, client: 0xaa + u64::from(slot), ..config() });
    tab.open(disk.clone());
    tab.effects.clear();
    tab
}

/// Another device makes something on a server.
fn made_elsewhere(store: &mut Store, seq: u64, edit: &str) {
    let push = push_text(None, "[]", &[(seq, common::body(seq, edit))]).replace("00aa", "00dd");
    store.push(&schema(), &push).unwrap();
}

/// What a push says is over, of one client.
fn closed_by(push: &str, client: u64) -> serde_json::Value {
    let push: serde_json::Value = serde_json::from_str(push).unwrap();
    let of_client = |other: &&serde_json::Value| other["id"] == format!("{client:016x}");
    push["clients"].as_array().unwrap().iter().find(of_client).map_or(serde_json::Value::Null, |found| found["closed"].clone())
}

/// A sending tab settles what another has offered it, and dies before it has written that. Returns the disk as it was before, what a
/// third tab was told, and the key with its record.
fn settled_and_not_written(maker: &mut Tab, edit: &str) -> (Disk, Vec<String>, Key, String) {
    let mut store = Store::default();
    let mut sender = sending(&mut store);
    let disk = sender.left();
    let key = make(maker, edit);
    hear(maker, &[lead(1, "")]);
    let mut told = maker.told();
    hear(&mut sender, &told);
    sender.sync(&mut store);
    told.extend(sender.told().into_iter().filter(|text| text.contains("\"t\":\"base\"")));
    (disk, told, key, maker.disk[&key].clone())
}

/// The server refuses the one transaction of a request.
fn refuse(tab: &mut Tab, request: u64, key: Key) {
    let problem = "{\"code\":\"not_allowed\",\"detail\":\"\"}";
    let outcome = format!("{{\"key\":[0,{}],\"outcome\":\"refused\",\"problem\":{problem}}}", key.1);
    let head = "\"schema\":1,\"rev\":0,\"more\":false,\"reload\":false,\"clients\":[]";
    tab.engine.handle_answer(tab.now, request, 200, None, &format!("{{{head},\"outcomes\":[{outcome}],\"changes\":[]}}"));
    tab.run();
}

#[test]
fn v4_a_tab_with_another_history_than_the_sending_tabs_reads_the_disk_anew() {
    let mut store = Store::default();
    made_elsewhere(&mut store, 1, &create("kind", 1, ""));
    let mut tab = reading(1, &sending(&mut store.clone()).left());
    // The server is set back to before this, and others go on from there.
    let mut store = Store::default();
    made_elsewhere(&mut store, 1, &create("kind", 2, ""));
    let mut sender = sending(&mut store);
    assert_eq!((tab.engine.replica().rev, sender.engine.replica().rev), (1, 1));
    made_elsewhere(&mut store, 2, &create("kind", 3, ""));
    sender.engine.handle_live_message(sender.now, "{\"ping\":2}");
    sender.run();
    sender.sync(&mut store);
    hear(&mut tab, &sender.told());
    assert!(tab.effects.contains(&Effect::Reload), "{:?}", tab.effects);
    tab.engine.handle_reloaded(tab.now, sender.left());
    tab.run();
    let base = |tab: &Tab| tab.engine.replica().base().iter().map(|row| row.0).collect::<Vec<_>>();
    assert_eq!((base(&tab), tab.engine.replica().rev), (base(&sender), 2));
    assert_eq!(tab.engine.replica().view().len(), 2);
}

#[test]
fn d4_what_a_dead_sender_has_settled_is_closed_only_once_that_is_on_disk() {
    let mut maker = beside(1);
    let (disk, told, key, record) = settled_and_not_written(&mut maker, &create("kind", 1, ""));
    let mut next = reading(2, &disk);
    hear(&mut next, &told);
    assert_eq!((next.engine.outbox().len(), next.engine.replica().rev), (0, 1));
    next.disk.insert(key, record.clone());
    let slots = vec![SlotDisk { slot: 1, records: vec![record], high: Vec::new() }];
    next.engine.handle_lead(next.now, 2, disk.meta.as_deref(), slots);
    next.run();
    assert_eq!(next.engine.outbox().len(), 0, "it is not there again");
    let (request, push) = next.pushes.pop().expect("it asks what is new");
    assert_eq!(closed_by(&push, key.0), serde_json::json!([]));
    assert!(next.kept.meta.as_ref().unwrap().contains(&format!("\"answered\":[\"{:016x}:{}\"]", key.0, key.1)));
    assert!(next.disk.is_empty() && next.high[&(1, key.0)] == key.1);
    next.engine.handle_send_failed(next.now, request, SendFailure::Network);
    goes(&mut next, 60_000);
    assert_eq!(closed_by(&next.pushes.pop().unwrap().1, key.0), serde_json::json!([[key.1, key.1]]));
}

#[test]
fn d1_what_is_told_to_be_settled_and_still_on_disk_is_not_read_again() {
    let mut store = Store::default();
    let mut sender = sending(&mut store);
    let disk = sender.left();
    let (mut elsewhere, _) = elsewhere();
    let file = elsewhere.export().0;
    let mut tab = reading(1, &disk);
    tab.import(&file).unwrap();
    sender.import(&file).unwrap();
    assert_eq!(tab.engine.outbox().len(), 1);
    sender.sync(&mut store);
    hear(&mut tab, &sender.told().into_iter().filter(|text| text.contains("\"t\":\"base\"")).collect::<Vec<_>>());
    assert_eq!(tab.engine.outbox().len(), 0);
    let still_there = Disk { slots: tab.left().slots, ..disk };
    tab.engine.handle_reloaded(tab.now, still_there);
    tab.run();
    assert_eq!((tab.engine.outbox().len(), tab.engine.replica().rev), (0, 1));
}

#[test]
fn r3_what_a_replaced_tab_has_parked_of_its_own_is_parked_at_the_next() {
    let mut tab = sending(&mut Store::default());
    let mut next = Tab::of_config(Config { slot: 1, client: 0xbb, ..config() }).lead(&Store::default());
    let key = make(&mut tab, &create("kind", 1, ""));
    hear(&mut next, &tab.told());
    goes(&mut tab, 1_000);
    let (request, _) = tab.pushes.pop().unwrap();
    refuse(&mut tab, request, key);
    tab.engine.handle_unlead(tab.now);
    tab.run();
    // What it said of that as sender is lost.
    tab.effects.clear();
    let is_parked = |tab: &Tab| matches!(tab.engine.outbox().get(key).unwrap().state, State::Parked { spent: true, .. });
    assert!(is_parked(&tab) && !is_parked(&next));
    hear(&mut tab, &[lead(2, "")]);
    hear(&mut next, &tab.told());
    assert!(is_parked(&next));
    assert!(goes(&mut next, 60_000).concat().is_empty());
}

#[test]
fn q2_what_a_dead_tab_had_deleted_and_not_told_of_is_gone_in_every_tab() {
    let (mut dead, mut other) = (beside(1), beside(2));
    let mut sender = sending(&mut Store::default());
    let key = make(&mut dead, &create("kind", 1, ""));
    let shown = dead.told();
    hear(&mut sender, &shown);
    hear(&mut other, &shown);
    assert_eq!(other.engine.replica().view().len(), 1);
    dead.engine.discard(dead.now, key, false).unwrap();
    dead.run();
    assert!(dead.disk.is_empty());
    sender.effects.clear();
    sender.engine.handle_adopted(sender.now, SlotDisk { slot: 1, records: Vec::new(), high: vec![key] });
    sender.run();
    hear(&mut other, &sender.told());
    for tab in [sender, other] {
        assert_eq!((tab.engine.outbox().len(), tab.engine.replica().view().len()), (0, 0));
    }
}

#[test]
fn q2_what_a_dead_tab_had_deleted_is_gone_in_every_tab_though_the_next_sender_never_heard_of_it() {
    let (mut dead, mut other) = (beside(1), beside(2));
    let key = make(&mut dead, &create("kind", 1, ""));
    let kept = make(&mut dead, &create("kind", 2, ""));
    hear(&mut other, &dead.told());
    let record = dead.disk[&kept].clone();
    let left = || SlotDisk { slot: 1, records: vec![record.clone()], high: vec![key] };
    let mut sender = sending(&mut Store::default());
    sender.engine.handle_adopted(sender.now, left());
    sender.run();
    hear(&mut other, &sender.told());
    other.engine.handle_reloaded(other.now, Disk { slots: vec![left()], ..Disk::default() });
    other.run();
    assert_eq!(other.engine.outbox().keys(&|_| true), [kept]);
    assert_eq!(other.engine.replica().view().len(), 1);
}

#[test]
fn d1_what_was_said_to_be_over_while_the_disk_was_read_does_not_come_back_with_what_was_read() {
    let (mut elsewhere, key) = elsewhere();
    let mut tab = beside(1);
    tab.import(&elsewhere.export().0).unwrap();
    hear(&mut tab, &["{\"schema\":1,\"t\":\"reload\",\"epoch\":1}".to_string()]);
    assert!(tab.effects.contains(&Effect::Reload), "{:?}", tab.effects);
    let read = tab.left();
    hear(&mut tab, &[void(key)]);
    tab.engine.handle_reloaded(tab.now, read.clone());
    tab.run();
    // What a file brought the disk tells of, and that is read once more.
    let mut without = read;
    for slot in without.slots.iter_mut().filter(|slot| slot.slot == IMPORTED) {
        slot.records.clear();
        slot.high.push(key);
    }
    tab.engine.handle_reloaded(tab.now, without);
    tab.run();
    assert_eq!((tab.engine.outbox().len(), tab.engine.replica().view().len()), (0, 0));
}

#[test]
fn q9_what_a_file_brings_again_stays_when_the_word_of_its_discard_comes_late() {
    for is_refused in [false, true] {
        let (mut elsewhere, key) = elsewhere();
        let mut sender = sending(&mut Store::default());
        sender.import(&elsewhere.export().0).unwrap();
        if is_refused {
            // Then it is written again.
            goes(&mut sender, 1_000);
            let (request, _) = sender.pushes.pop().unwrap();
            refuse(&mut sender, request, key);
        }
        hear(&mut sender, &[void(key)]);
        let read = sender.left();
        sender.engine.handle_reloaded(sender.now, read);
        sender.run();
        assert!(sender.engine.outbox().get(key).is_some());
        assert!(sender.imported.contains_key(&key));
    }
}

#[test]
fn i7_what_is_made_after_a_record_was_heard_of_is_made_after_it() {
    let mut maker = beside(1);
    maker.now += 60_000;
    let first = make(&mut maker, &create("kind", 1, ""));
    let record = serde_json::to_string(&maker.disk[&first]).unwrap();
    let mut tab = beside(2);
    hear(&mut tab, &[format!("{{\"schema\":1,\"t\":\"base\",\"epoch\":1,\"changes\":[],\"settled\":[],\"records\":[[1,{record}]]}}")]);
    let second = make(&mut tab, &update("kind", 1, "\"set\":{\"name\":\"later\"}"));
    let made = |key| tab.engine.outbox().get(key).unwrap().made.at;
    assert!(made(second) > made(first), "though its clock is a minute behind");
}

#[test]
fn l1_a_replaced_tab_takes_the_base_on_disk_even_if_it_is_older() {
    let mut store = Store::default();
    made_elsewhere(&mut store, 1, &create("kind", 1, ""));
    made_elsewhere(&mut store, 2, &create("kind", 2, ""));
    let mut tab = sending(&mut store);
    // The server is set back, and whoever has taken this tab's place has written what it holds now.
    let mut store = Store::default();
    made_elsewhere(&mut store, 1, &create("kind", 3, ""));
    let next = sending(&mut store);
    tab.engine.handle_unlead(tab.now);
    tab.run();
    assert!(tab.effects.contains(&Effect::Reload), "{:?}", tab.effects);
    tab.engine.handle_reloaded(tab.now, next.left());
    tab.run();
    let base = |tab: &Tab| tab.engine.replica().base().iter().map(|row| row.0).collect::<Vec<_>>();
    assert_eq!((tab.engine.replica().rev, base(&tab)), (1, base(&next)));
}

#[test]
fn d1_what_a_retry_stands_for_is_not_closed_before_the_retry_is_over() {
    let mut tab = sending(&mut Store::default());
    let disk = tab.left();
    let mut next = reading(1, &disk);
    let key = make(&mut tab, &create("kind", 1, ""));
    goes(&mut tab, 1_000);
    let (request, _) = tab.pushes.pop().unwrap();
    refuse(&mut tab, request, key);
    let refused = tab.disk[&key].clone();
    tab.engine.retry(tab.now, key).unwrap();
    tab.run();
    let mut left = SlotDisk { high: Vec::new(), ..tab.left().slots.remove(0) };
    left.records.push(refused);
    // It dies before the old record is deleted.
    let told = tab.told().into_iter().filter(|text| !text.contains("\"t\":\"void\"")).collect::<Vec<_>>();
    hear(&mut next, &told);
    assert!(next.engine.outbox().get(key).is_none() && next.engine.outbox().len() == 1);
    next.engine.handle_lead(next.now, 2, disk.meta.as_deref(), Vec::new());
    next.run();
    next.engine.handle_reloaded(next.now, Disk { slots: vec![left], ..disk });
    next.hold_saves = true;
    next.run();
    let (request, push) = next.pushes.pop().expect("it asks what is new");
    assert_eq!(closed_by(&push, key.0), serde_json::json!([]));
    next.hold_saves = false;
    for (slot, id) in std::mem::take(&mut next.held) {
        next.engine.handle_save_failed(next.now, slot, id, "storage_aborted");
    }
    goes(&mut next, 1_000);
    assert_eq!(next.high[&(0, key.0)], key.1, "it deletes the record itself");
    next.engine.handle_send_failed(next.now, request, SendFailure::Network);
    goes(&mut next, 60_000);
    // It may have taken effect by way of whom it was offered to before: by its mark the server would know.
    let (request, push) = next.pushes.pop().unwrap();
    assert_eq!(closed_by(&push, key.0), serde_json::json!([]));
    let retry = next.engine.outbox().iter().next().unwrap().made.key;
    refuse(&mut next, request, retry);
    goes(&mut next, 60_000);
    assert_eq!(closed_by(&next.pushes.pop().unwrap().1, key.0), serde_json::json!([[key.1, retry.1]]));
}

#[test]
fn d1_the_record_of_a_retry_stays_until_that_of_what_it_stands_for_has_gone() {
    let mut store = Store::default();
    let mut tab = sending(&mut store);
    let mut other = beside(1);
    let old = make(&mut other, &create("kind", 1, ""));
    hear(&mut other, &[lead(1, "")]);
    hear(&mut tab, &other.told());
    goes(&mut tab, 1_000);
    let (request, _) = tab.pushes.pop().unwrap();
    refuse(&mut tab, request, old);
    tab.hold_slot = Some(1);
    tab.engine.retry(tab.now, old).unwrap();
    tab.run();
    tab.sync(&mut store);
    assert_eq!((store.rows.len(), tab.engine.outbox().len()), (1, 0), "it has taken effect");
    let [retry] = tab.disk.keys().copied().filter(|key| key.0 == 0xaa).collect::<Vec<_>>()[..] else {
        panic!("who finds the old record must find what it has become: {:?}", tab.disk);
    };
    tab.hold_slot = None;
    for (slot, id) in std::mem::take(&mut tab.held) {
        tab.engine.handle_saved(tab.now, slot, id);
    }
    goes(&mut tab, 1_000);
    assert!(!tab.disk.contains_key(&retry), "now nobody needs it");
}

/// A tab opens in a slot, on what an earlier one left there. Returns what it says of that.
fn opened_on(slot: u32, client: u64, records: Vec<String>) -> Vec<String> {
    let left = SlotDisk { slot, high: records.iter().filter_map(|record| record_key(record)).collect(), records };
    let mut tab = Tab::of_config(Config { slot, client, high: left.high.clone(), ..config() });
    tab.open(Disk { slots: vec![SlotDisk { high: Vec::new(), ..left }], ..Disk::default() });
    tab.told()
}

#[test]
fn q2_what_a_tab_finds_in_its_slot_is_not_over_because_a_retry_made_before_it_has_a_later_number() {
    let mut store = Store::default();
    let mut earlier = Tab::of_config(Config { slot: 1, client: 0xbb, ..config() }).lead(&store);
    earlier.sync(&mut store);
    let refused = make(&mut earlier, &create("kind", 1, ""));
    goes(&mut earlier, 1_000);
    let (request, _) = earlier.pushes.pop().unwrap();
    refuse(&mut earlier, request, refused);
    let later = make(&mut earlier, &create("kind", 2, ""));
    earlier.engine.retry(earlier.now, refused).unwrap();
    earlier.run();
    let left = earlier.disk.keys().map(|key| key.1).collect::<Vec<_>>();
    assert_eq!((left, later.1), (vec![2, 3], 2), "the retry has a later number, and was made before");
    let mut tab = sending(&mut store);
    hear(&mut tab, &opened_on(1, 0xbb, earlier.disk.into_values().collect()));
    assert_eq!((tab.engine.outbox().len(), tab.engine.replica().view().len()), (2, 2));
    goes(&mut tab, 1_000);
    assert!(tab.high.is_empty(), "no record is deleted");
}

/// A sending tab settles what it made on a base that it fetches, and dies before it has written that. Returns the disk as it was
/// before, and what another tab was told of the base.
fn settled_on_a_fetched_base() -> (Disk, Key, Vec<String>) {
    let mut store = Store::default();
    let mut sender = sending(&mut store);
    let key = make(&mut sender, &create("kind", 1, ""));
    goes(&mut sender, 1_000);
    let disk = sender.left();
    let (request, body) = sender.pushes.pop().unwrap();
    // The server takes it, and does not tell what its revisions hold.
    let answer = store.push(&schema(), &body).unwrap().replace("\"reload\":false", "\"reload\":true");
    let (head, _) = answer.split_once(",\"changes\"").unwrap();
    sender.engine.handle_answer(sender.now, request, 200, None, &format!("{head},\"changes\":[]}}"));
    sender.run();
    sender.give_snapshot(&store);
    sender.effects.clear();
    sender.sync(&mut store);
    assert_eq!((sender.engine.outbox().len(), sender.engine.replica().rev), (0, 1));
    let mut told = sender.told();
    told.retain(|text| text.contains("\"t\":\"base\""));
    assert!(told.len() == 1 && told[0].contains("\"changes\":[]"), "{told:?}");
    (disk, key, told)
}

/// Leads on the older base that is on disk. The server may have been set back since, and has what waited in the end.
fn assert_sent_by_the_next(mut next: Tab, disk: &Disk, key: Key, reads: bool) {
    assert_eq!(next.engine.outbox().len(), 0);
    next.engine.handle_lead(next.now, 2, disk.meta.as_deref(), disk.slots.clone());
    next.run();
    assert!(next.engine.outbox().get(key).is_some());
    // What was being read when it took over it reads once more.
    for _ in 0..if reads { 2 } else { 0 } {
        next.engine.handle_reloaded(next.now, disk.clone());
        next.run();
    }
    let mut backup = Store::default();
    next.sync(&mut backup);
    assert_eq!((backup.rows.len(), next.engine.outbox().len()), (1, 0));
}

#[test]
fn q2_what_was_settled_on_a_fetched_base_waits_for_a_next_sender_with_an_older_one() {
    let (disk, key, told) = settled_on_a_fetched_base();
    let mut next = reading(1, &disk);
    assert_eq!(next.engine.outbox().len(), 1);
    hear(&mut next, &told);
    assert_sent_by_the_next(next, &disk, key, false);
}

#[test]
fn q2_what_was_only_to_be_deleted_is_taken_up_by_a_tab_that_heard_of_it_while_it_read_the_disk_and_then_leads() {
    let (disk, key, told) = settled_on_a_fetched_base();
    let mut next = reading(1, &disk);
    hear(&mut next, &["{\"schema\":1,\"t\":\"reload\",\"epoch\":1}".to_string()]);
    assert!(next.effects.contains(&Effect::Reload), "{:?}", next.effects);
    hear(&mut next, &told);
    assert_sent_by_the_next(next, &disk, key, true);
}

/// A tab that reads the disk anew, and hears meanwhile what was settled beyond the base that it will find there.
fn settled_while_read() -> (Tab, Disk, Key) {
    let mut store = Store::default();
    let mut sender = sending(&mut store);
    let key = make(&mut sender, &create("kind", 1, ""));
    goes(&mut sender, 1_000);
    let disk = sender.left();
    sender.effects.clear();
    sender.sync(&mut store);
    let mut told = sender.told();
    told.retain(|text| text.contains("\"t\":\"base\""));
    let mut next = reading(1, &disk);
    hear(&mut next, &["{\"schema\":1,\"t\":\"reload\",\"epoch\":1}".to_string()]);
    hear(&mut next, &told);
    assert_eq!(next.engine.replica().rev, 1, "what is being read will go over this");
    (next, disk, key)
}

#[test]
fn q2_what_was_settled_beyond_a_base_that_is_being_read_waits_for_a_tab_that_leads_meanwhile() {
    let (next, disk, key) = settled_while_read();
    assert_sent_by_the_next(next, &disk, key, true);
}

#[test]
fn q2_what_was_settled_beyond_a_base_that_is_being_read_waits_again_once_that_has_been_read() {
    let (mut next, disk, key) = settled_while_read();
    next.engine.handle_reloaded(next.now, disk);
    next.run();
    assert!(next.engine.outbox().get(key).is_some());
    assert_eq!((next.engine.replica().rev, next.engine.replica().view().len()), (0, 1));
}

#[test]
fn q2_a_tab_that_takes_over_twice_in_a_row_reads_what_is_on_disk() {
    let (mut tab, disk) = (sending(&mut Store::default()), Disk::default());
    tab.effects.clear();
    tab.engine.handle_lead(tab.now, 9, disk.meta.as_deref(), disk.slots.clone());
    tab.run();
    assert!(tab.engine.epoch() == Some(9) && tab.effects.contains(&Effect::Reload), "{:?}", tab.effects);
}

#[test]
fn q2_what_this_tab_wrote_again_is_deleted_when_its_retry_is_heard_of() {
    let mut tab = sending(&mut Store::default());
    let key = make(&mut tab, &create("kind", 1, ""));
    goes(&mut tab, 1_000);
    let (request, _) = tab.pushes.pop().unwrap();
    refuse(&mut tab, request, key);
    tab.engine.handle_unlead(tab.now);
    tab.run();
    tab.effects.clear();
    hear(&mut tab, &[lead(2, "")]);
    let mut next = Tab::of_config(Config { slot: 1, client: 0xbb, ..config() }).lead(&Store::default());
    hear(&mut next, &tab.told());
    next.effects.clear();
    next.engine.retry(next.now, key).unwrap();
    next.run();
    assert_eq!(next.high[&(0, key.0)], key.1, "the next sender deletes it");
    assert!(tab.disk.contains_key(&key), "and this tab may have written it, as parked, since");
    hear(&mut tab, &next.told());
    assert!(tab.engine.outbox().len() == 1 && tab.engine.outbox().get(key).is_none());
    assert!(tab.disk.is_empty());
}

#[test]
fn d2_what_was_called_settled_before_it_was_shown_is_not_told_to_be_over_before_its_record_is_gone() {
    let mut store = Store::default();
    let disk = sending(&mut store).left();
    let mut maker = beside(1);
    let key = make(&mut maker, &create("kind", 1, "\"name\":\"\""));
    made_elsewhere(&mut store, 1, &create("kind", 1, "\"name\":\"\""));
    let mut tab = reading(2, &disk);
    let at = format!("\"rev\":1,\"digest\":\"{:032x}\",\"changes\":[{{", store.space.digest.0);
    hear(&mut tab, &[base(1, &create("kind", 1, "\"name\":\"\""), key).replacen("\"changes\":[{", &at, 1)]);
    hear(&mut tab, &maker.told());
    // Whoever settled it has died; its own tab is open, and so its slot is not among those handed over.
    tab.hold_slot = Some(1);
    tab.engine.handle_lead(tab.now, 2, disk.meta.as_deref(), Vec::new());
    tab.run();
    goes(&mut tab, 1_000);
    let (request, body) = tab.pushes.pop().expect("it asks what is new");
    assert_eq!(closed_by(&body, key.0), serde_json::json!([]));
    let (slot, save) = tab.held.pop().expect("it deletes the record");
    assert_eq!(slot, 1);
    tab.engine.handle_saved(tab.now, slot, save);
    tab.engine.handle_send_failed(tab.now, request, SendFailure::Network);
    tab.run();
    goes(&mut tab, 60_000);
    assert_eq!(closed_by(&tab.pushes.pop().unwrap().1, key.0), serde_json::json!([[1, 1]]));
}

#[test]
fn q2_what_a_sender_that_slept_tells_a_tab_that_opens_is_gone_once_its_successor_is_heard_of() {
    let mut maker = beside(1);
    let key = make(&mut maker, &create("kind", 1, ""));
    let record = serde_json::to_string(&maker.disk[&key]).unwrap();
    let told = format!("{{\"schema\":1,\"t\":\"base\",\"epoch\":2,\"changes\":[],\"settled\":[],\"records\":[[1,{record}]]}}");
    // It was sent and deleted long ago, by the sender of epoch 5.
    let disk = || Disk { slots: vec![SlotDisk { slot: 1, records: Vec::new(), high: vec![key] }], ..Disk::default() };
    for is_heard_first in [true, false] {
        let mut tab = Tab::of_config(Config { slot: 2, client: 0xac, ..config() });
        hear(&mut tab, std::slice::from_ref(&told));
        if is_heard_first {
            hear(&mut tab, &[lead(5, "")]);
        }
        tab.open(disk());
        hear(&mut tab, &[lead(5, "")]);
        assert_eq!(tab.effects.iter().filter(|effect| **effect == Effect::Reload).count(), 1);
        tab.engine.handle_reloaded(tab.now, disk());
        tab.run();
        assert!(tab.engine.outbox().is_empty());
        hear(&mut tab, &[lead(6, "")]);
        assert_eq!(tab.effects.iter().filter(|effect| **effect == Effect::Reload).count(), 1, "once is enough");
    }
}

#[test]
fn d1_what_a_new_sender_has_deleted_is_not_there_again_when_its_own_tab_tells_of_it_late() {
    let mut store = Store::default();
    let mut sender = sending(&mut store);
    let (mut maker, mut tab, disk) = (beside(1), reading(2, &sender.left()), sender.left());
    hear(&mut maker, &[lead(1, "")]);
    maker.hold_saves = true;
    make(&mut maker, &create("kind", 1, ""));
    let key = make(&mut maker, &create("kind", 2, ""));
    maker.hold_saves = false;
    let (slot, id) = maker.held.pop().unwrap();
    maker.engine.handle_saved(maker.now, slot, id);
    maker.run();
    let told = maker.told();
    assert!(told.len() == 2 && told[0].contains("\"unsaved\":[\""), "{told:?}");
    let record = serde_json::to_string(&maker.disk[&key]).unwrap();
    hear(&mut tab, &told[..1]);
    hear(&mut tab, &[format!("{{\"schema\":1,\"t\":\"base\",\"epoch\":1,\"changes\":[],\"settled\":[],\"records\":[[1,{record}]]}}")]);
    hear(&mut sender, &told);
    sender.sync(&mut store);
    // It dies before it has deleted that.
    hear(&mut tab, &sender.told().into_iter().filter(|text| text.contains("\"t\":\"base\"")).collect::<Vec<_>>());
    tab.engine.handle_lead(tab.now, 2, disk.meta.as_deref(), Vec::new());
    tab.run();
    assert_eq!(tab.high[&(1, key.0)], key.1, "it deletes that");
    hear(&mut tab, &told[1..]);
    assert_eq!((tab.engine.outbox().len(), tab.engine.replica().view().len()), (0, 2));
}

#[test]
fn d1_what_was_read_from_disk_before_its_retry_was_there_is_not_shown_beside_it() {
    let (mut elsewhere, key) = elsewhere();
    let mut sender = sending(&mut Store::default());
    let mut tab = reading(1, &sender.left());
    sender.import(&elsewhere.export().0).unwrap();
    hear(&mut tab, &["{\"schema\":1,\"t\":\"reload\",\"epoch\":1}".to_string()]);
    let read = sender.left();
    goes(&mut sender, 1_000);
    let (request, _) = sender.pushes.pop().unwrap();
    refuse(&mut sender, request, key);
    sender.effects.clear();
    sender.engine.retry(sender.now, key).unwrap();
    sender.run();
    hear(&mut tab, &sender.told().into_iter().filter(|text| text.contains("\"t\":\"txns\"")).collect::<Vec<_>>());
    tab.engine.handle_reloaded(tab.now, read);
    tab.run();
    assert_eq!((tab.engine.outbox().len(), tab.engine.replica().view().len()), (1, 1));
    assert!(tab.engine.outbox().get(key).is_none());
}

// ---- copies of a profile ----

#[test]
fn d5_what_was_settled_under_a_shared_key_is_not_taken_in_again_from_a_tab_that_finds_its_record() {
    let mut store = Store::default();
    let mut sender = sending(&mut store);
    let mut tab = reading(1, &sender.left());
    // A copy of this profile has used the number for something else.
    let copied = push_text(None, "[]", &[(1, common::body(1, &create("kind", 9, "")))]);
    store.push(&schema(), &copied).unwrap();
    let key = make(&mut sender, &create("kind", 1, ""));
    goes(&mut sender, 1_000);
    let (request, body) = sender.pushes.pop().unwrap();
    let answer = store.push(&schema(), &body).unwrap();
    sender.engine.handle_answer(sender.now, request, 200, None, &answer);
    sender.run();
    let shared = (shared_client(key.0), key.1);
    let record = sender.disk[&shared].clone();
    hear(&mut tab, &sender.told());
    assert!(tab.engine.outbox().get(shared).is_some());
    sender.sync(&mut store);
    // It dies before it has deleted that.
    hear(&mut tab, &sender.told().into_iter().filter(|text| text.contains("\"t\":\"base\"")).collect::<Vec<_>>());
    assert_eq!((tab.engine.outbox().len(), tab.engine.replica().rev), (0, 2));
    hear(&mut tab, &opened_on(0, 0xaa, vec![record]));
    assert_eq!(tab.engine.outbox().len(), 0);
}

#[test]
fn d5_what_a_copy_has_sent_does_not_settle_what_its_own_tab_may_be_folding_more_into() {
    let mut maker = beside(1);
    let key = make(&mut maker, &create("kind", 1, ""));
    let mut store = Store::default();
    let mut sender = sending(&mut store);
    hear(&mut sender, &maker.told());
    let body = maker.engine.outbox().get(key).unwrap().body.clone();
    store.push(&schema(), &push_text(None, "[]", &[(key.1, body)]).replace("00aa", "00ab")).unwrap();
    let rename = update("kind", 1, "\"set\":{\"name\":\"mine\"}");
    assert_eq!(maker.make(&rename), Ok(key), "it folds");
    maker.run();
    sender.sync(&mut store);
    assert_eq!(sender.engine.replica().rev, 1);
    assert!(sender.engine.outbox().get(key).is_some());
    hear(&mut maker, &[lead(1, "")]);
    hear(&mut sender, &maker.told());
    assert!(sender.engine.outbox().get(key).unwrap().body.contains("mine"), "what was folded in is not lost");
    sender.sync(&mut store);
    let State::Parked { problem, .. } = &sender.engine.outbox().get(key).unwrap().state else { panic!("it is for the user") };
    assert_eq!(problem.code, "outcome_unknown");
}

#[test]
fn q6_nothing_folds_into_what_made_a_row_that_is_in_the_base_already() {
    let mut tab = beside(1);
    let key = make(&mut tab, &create("kind", 1, ""));
    let rename = |name: &str| update("kind", 1, &format!("\"set\":{{\"name\":\"{name}\"}}"));
    assert_eq!(tab.make(&rename("mine")), Ok(key), "while it is nowhere else");
    // A copy of this profile has sent it.
    hear(&mut tab, &[base(1, &create("kind", 1, "\"name\":\"\""), (0xdd, 1))]);
    assert!(tab.engine.outbox().get(key).is_some());
    assert_ne!(tab.make(&rename("later")), Ok(key));
    assert!(tab.engine.outbox().get(key).unwrap().body.contains("mine"));
}

#[test]
fn d1_nothing_is_folded_into_a_retry() {
    let mut tab = sending(&mut Store::default());
    let key = make(&mut tab, &create("kind", 1, ""));
    goes(&mut tab, 1_000);
    let (request, _) = tab.pushes.pop().unwrap();
    refuse(&mut tab, request, key);
    tab.engine.retry(tab.now, key).unwrap();
    // Before it is on disk, where all but a retry would be folded into.
    let retry = tab.engine.outbox().iter().next().unwrap().made.key;
    let later = tab.make(&update("kind", 1, "\"set\":{\"name\":\"later\"}")).unwrap();
    assert_ne!(later, retry);
    assert_eq!(tab.engine.outbox().get(retry).unwrap().was, [key], "by which the server knows what it stands for");
}

/// A tab beside one that has deleted a row, which something that this one has made keeps in its view.
fn keeping_a_deleted_row() -> Tab {
    let mut store = Store::default();
    made_elsewhere(&mut store, 1, &create("card", 1, ""));
    made_elsewhere(&mut store, 2, &create("kind", 2, ""));
    let disk = sending(&mut store).left();
    let (mut tab, mut other) = (reading(1, &disk), reading(2, &disk));
    make(&mut tab, &create("conn", 3, &format!("\"from\":\"{}\",\"kind\":\"{}\"", id(1), id(2))));
    other.now += 1_000;
    make(&mut other, &common::delete("kind", 2));
    hear(&mut tab, &other.told());
    assert_eq!(tab.engine.replica().view().len(), 3);
    tab.effects.clear();
    tab
}

#[test]
fn i8_a_redo_brings_back_no_row_that_somebody_else_has_deleted() {
    let schema = "{\"name\":\"t\",\"version\":1,\"tables\":{
      \"kind\":{\"counts\":{\"uses\":{\"of\":\"node.kind\"}}},
      \"node\":{\"references\":{\"kind\":{\"to\":[\"kind\"],\"nullable\":true,\"on_delete\":\"restrict\"}}}}}";
    let schema = || driftline_core::schema::Schema::parse(schema).unwrap();
    let mut maker = Tab::of_config(Config { slot: 3, client: 0xcc, ..common::config_for(schema()) });
    maker.open(Disk::default());
    make(&mut maker, &create("kind", 1, ""));
    let disk = Disk { slots: vec![SlotDisk { slot: 3, ..maker.slot() }], ..Disk::default() };
    let beside = |slot: u32| {
        let mut tab = Tab::of_config(Config { slot, client: 0xaa + u64::from(slot), ..common::config_for(schema()) });
        tab.open(disk.clone());
        tab.effects.clear();
        tab
    };
    let (mut tab, mut other) = (beside(1), beside(2));
    make(&mut tab, &create("node", 2, &format!("\"kind\":\"{}\"", id(1))));
    other.now += 1_000;
    make(&mut other, &common::delete("kind", 1));
    hear(&mut tab, &other.told());
    assert_eq!(tab.engine.replica().view().len(), 2, "what refers to it keeps it");
    tab.engine.undo(tab.now).unwrap();
    assert_eq!(tab.engine.replica().view().len(), 0);
    tab.engine.redo(tab.now).unwrap();
    let left: Vec<u16> = tab.engine.replica().view().iter().map(|row| row.0.table).collect();
    assert_eq!(left, [tab.schema.table("node").unwrap()]);
}

#[test]
fn v2_what_an_undo_changes_in_the_view_is_in_its_patch() {
    let mut tab = keeping_a_deleted_row();
    let undone = tab.engine.undo(tab.now).unwrap();
    let patch: serde_json::Value = serde_json::from_str(&undone[0].1).unwrap();
    let mut gone: Vec<&str> =
        patch.as_array().unwrap().iter().filter(|change| change[2].is_null()).map(|change| change[0].as_str().unwrap()).collect();
    gone.sort_unstable();
    assert_eq!(gone, ["conn", "kind"]);
    tab.run();
    assert!(
        !tab.effects.iter().any(|effect| matches!(effect, Effect::Patch(_))),
        "a patch that comes later would go over what is made meanwhile"
    );
}

#[test]
fn r6_a_clock_that_is_put_forward_leaves_no_tab_without_a_timer() {
    let mut tab = sending(&mut Store::default());
    make(&mut tab, &create("kind", 1, ""));
    goes(&mut tab, 1_000);
    tab.effects.clear();
    // The timers that run were set by the time before.
    tab.now += 3_600_000;
    tab.engine.set_online(tab.now, true);
    tab.run();
    assert!(tab.effects.iter().any(|effect| matches!(effect, Effect::Wake { at_ms } if *at_ms <= tab.now)), "{:?}", tab.effects);
}

#[test]
fn q1_what_is_not_on_disk_is_parked_only_once_it_is() {
    let mut store = Store::default();
    made_elsewhere(&mut store, 1, &create("card", 1, ""));
    made_elsewhere(&mut store, 2, &create("kind", 2, ""));
    let mut tab = sending(&mut store);
    tab.hold_saves = true;
    let key = make(&mut tab, &create("conn", 3, &format!("\"from\":\"{}\",\"kind\":\"{}\"", id(1), id(2))));
    made_elsewhere(&mut store, 3, &common::delete("kind", 2));
    tab.engine.handle_live_message(tab.now, "{\"ping\":3}");
    tab.run();
    goes(&mut tab, 1_000);
    let (request, body) = tab.pushes.pop().expect("it asks what is new");
    let answer = store.push(&schema(), &body).unwrap();
    tab.engine.handle_answer(tab.now, request, 200, None, &answer);
    tab.run();
    assert_eq!(tab.engine.replica().rev, 3);
    // Another tab may yet give its number to something else, should this one die.
    assert_eq!(tab.engine.outbox().get(key).unwrap().state, State::Queued);
    assert!(!tab.told().concat().contains(&id(3)));
    tab.hold_saves = false;
    for (slot, save) in std::mem::take(&mut tab.held) {
        tab.engine.handle_saved(tab.now, slot, save);
    }
    tab.run();
    tab.sync(&mut store);
    assert!(matches!(tab.engine.outbox().get(key).unwrap().state, State::Parked { spent: false, .. }));
}

#[test]
fn d5_a_number_that_has_come_in_a_file_is_not_given_again() {
    let mut own = Vec::new();
    // It was given up, and the space deleted: only that it was there is known.
    let imported = SlotDisk { slot: IMPORTED, records: Vec::new(), high: vec![(0xaa, 1)] };
    let mut tab = Tab::new();
    tab.open(Disk { slots: vec![imported], ..Disk::default() });
    own.push(make(&mut tab, &create("kind", 1, "")));
    // The sending tab has found it on disk, and tells.
    let mut copy = Tab::new();
    copy.open(Disk::default());
    let key = make(&mut copy, &create("kind", 2, ""));
    let record = serde_json::to_string(&copy.disk[&key]).unwrap();
    let mut tab = Tab::new();
    tab.open(Disk::default());
    hear(
        &mut tab,
        &[format!("{{\"schema\":1,\"t\":\"base\",\"epoch\":1,\"changes\":[],\"settled\":[],\"records\":[[{IMPORTED},{record}]]}}")],
    );
    own.push(make(&mut tab, &create("kind", 3, "")));
    assert!(own.iter().all(|made| made.0 != 0xaa), "{own:?}");
}

#[test]
fn r3_what_a_dead_sender_had_discarded_is_not_written_again_into_the_slot_of_an_open_tab() {
    let mut dead = beside(2);
    let key = make(&mut dead, &create("kind", 1, ""));
    let mut sender = sending(&mut Store::default());
    hear(&mut sender, &dead.told());
    let mut next = reading(1, &sender.left());
    let refused = "{\"spent\":true,\"parked\":{\"code\":\"not_allowed\",\"detail\":\"\"},";
    let record = serde_json::to_string(&dead.disk[&key].replacen('{', refused, 1)).unwrap();
    hear(&mut next, &[format!("{{\"schema\":1,\"t\":\"base\",\"epoch\":1,\"changes\":[],\"settled\":[],\"records\":[[2,{record}]]}}")]);
    assert!(matches!(next.engine.outbox().get(key).unwrap().state, State::Parked { .. }));
    // It was discarded and deleted, and nobody was told. By now another tab holds the slot, and so it is not among those handed over.
    let disk = sender.left();
    next.engine.handle_lead(next.now, 2, disk.meta.as_deref(), Vec::new());
    next.run();
    assert!(next.disk.is_empty() && next.effects.contains(&Effect::Reload), "{:?}", next.effects);
    next.effects.clear();
    let slots = vec![SlotDisk { slot: 2, records: Vec::new(), high: vec![key] }];
    next.engine.handle_reloaded(next.now, Disk { slots, ..disk });
    next.run();
    assert!(next.disk.is_empty() && next.engine.outbox().is_empty());
    assert!(next.told().concat().contains("void"), "the others may have it, too");
}

#[test]
fn q2_what_a_sender_settled_on_a_base_that_is_not_here_waits_again_when_its_own_tab_shows_it_to_the_next() {
    let mut maker = beside(1);
    let key = make(&mut maker, &create("kind", 1, ""));
    let shown = maker.told();
    let mut tab = beside(2);
    hear(&mut tab, &shown);
    // It had fetched that base, and died before it was on disk.
    let settled = format!("\"settled\":[\"{:016x}:{}\"]", key.0, key.1);
    hear(&mut tab, &[format!("{{\"schema\":1,\"t\":\"base\",\"epoch\":1,\"rev\":5,\"changes\":[],{settled},\"records\":[]}}")]);
    assert!(tab.engine.outbox().is_empty());
    hear(&mut tab, &[lead(2, "")]);
    hear(&mut tab, &shown);
    assert!(tab.engine.outbox().get(key).is_some());
}

#[test]
fn q2_what_the_next_sender_parks_is_not_deleted_because_an_earlier_one_had_called_it_settled() {
    let mut tab = beside(1);
    let key = make(&mut tab, &create("kind", 1, ""));
    let record = tab.disk[&key].clone();
    let settled = format!("\"settled\":[\"{:016x}:{}\"]", key.0, key.1);
    hear(&mut tab, &[format!("{{\"schema\":1,\"t\":\"base\",\"epoch\":1,\"rev\":1,\"changes\":[],{settled},\"records\":[]}}")]);
    // That was never on disk; the server was set back, and refuses it now.
    let refused = "{\"spent\":true,\"parked\":{\"code\":\"not_allowed\",\"detail\":\"\"},";
    let parked = serde_json::to_string(&record.replacen('{', refused, 1)).unwrap();
    let told = format!("{{\"schema\":1,\"t\":\"base\",\"epoch\":2,\"rev\":0,\"changes\":[],\"settled\":[],\"records\":[[1,{parked}]]}}");
    hear(&mut tab, &[told]);
    hear(&mut tab, &[lead(2, "").replace("\"rev\":0", "\"rev\":7")]);
    assert!(matches!(tab.engine.outbox().get(key).unwrap().state, State::Parked { .. }));
    assert!(tab.disk.contains_key(&key), "it waits for a decision, and its record is all that there is of it");
}

#[test]
fn r3_what_was_discarded_by_the_sending_tab_before_its_own_tab_has_shown_it_does_not_come_back() {
    let (mut tab, key, late) = told_of_by_the_sending_tab();
    tab.engine.handle_lead(tab.now, 2, None, Vec::new());
    tab.run();
    tab.engine.discard(tab.now, key, false).unwrap();
    tab.run();
    hear(&mut tab, &late);
    assert!(tab.engine.outbox().is_empty());
}

#[test]
fn q2_a_tab_that_does_not_send_leaves_a_record_whose_retry_it_has_only_heard_of() {
    let mut store = Store::default();
    let mut maker = beside(2);
    let key = make(&mut maker, &create("kind", 1, ""));
    let mut sender = Tab::of_config(Config { slot: 1, client: 0xbb, ..config() }).lead(&store);
    sender.sync(&mut store);
    let mut other = reading(3, &Disk::default());
    let record = maker.disk[&key].clone();
    sender.engine.handle_adopted(sender.now, SlotDisk { slot: 2, records: vec![record], high: Vec::new() });
    sender.run();
    goes(&mut sender, 1_000);
    let (request, _) = sender.pushes.pop().unwrap();
    refuse(&mut sender, request, key);
    let refused = SlotDisk { slot: 2, records: vec![sender.disk[&key].clone()], high: Vec::new() };
    sender.effects.clear();
    sender.engine.retry(sender.now, key).unwrap();
    sender.run();
    hear(&mut other, &sender.told().into_iter().filter(|text| text.contains("\"txns\"")).collect::<Vec<_>>());
    hear(&mut other, &["{\"schema\":1,\"t\":\"reload\",\"epoch\":1}".to_string()]);
    other.engine.handle_reloaded(other.now, Disk { slots: vec![refused], ..Disk::default() });
    other.run();
    assert_eq!(other.engine.outbox().iter().map(|entry| entry.was.clone()).collect::<Vec<_>>(), [[key]], "it is known for what it is");
    assert!(other.high.is_empty(), "and left to the sending tab: {:?}", other.high);
}

#[test]
fn r6_a_tab_whose_turn_ends_says_no_better_than_before_until_somebody_sends() {
    let mut tab = sending(&mut Store::default());
    make(&mut tab, &create("kind", 1, ""));
    goes(&mut tab, 1_000);
    goes(&mut tab, 6_000);
    let state = |tab: &Tab| serde_json::from_str::<serde_json::Value>(&tab.engine.status()).unwrap()["reason"].clone();
    assert_eq!(state(&tab), "no answer");
    tab.engine.handle_unlead(tab.now);
    tab.run();
    assert_eq!(state(&tab), "no answer");
    hear(&mut tab, &[lead(2, "")]);
    assert_eq!(state(&tab), serde_json::Value::Null);
}

#[test]
fn r6_what_is_new_while_a_request_is_out_is_not_told_to_wait_for_rows() {
    let mut store = Store::default();
    let mut tab = sending(&mut store);
    let state = |tab: &Tab| serde_json::from_str::<serde_json::Value>(&tab.engine.status()).unwrap()["state"].as_str().unwrap().to_string();
    make(&mut tab, &create("card", 1, &format!("\"box\":\"{}\"", id(9))));
    tab.sync(&mut store);
    for made_here in [true, false] {
        goes(&mut tab, 20_000);
        assert_eq!((tab.pushes.len(), state(&tab)), (1, "not_saving".to_string()));
        if made_here {
            make(&mut tab, &create("kind", 2, ""));
        } else {
            let mut other = beside(1);
            hear(&mut other, &[lead(1, "")]);
            make(&mut other, &create("kind", 3, ""));
            hear(&mut tab, &other.told());
        }
        assert_eq!(state(&tab), "saving");
        tab.sync(&mut store);
    }
}

#[test]
fn r6_what_another_tab_has_yet_to_offer_is_not_told_to_wait_for_rows() {
    let mut tab = sending(&mut Store::default());
    let mut other = beside(1);
    make(&mut other, &create("kind", 1, ""));
    hear(&mut tab, &other.told());
    assert!(goes(&mut tab, 1_000).is_empty(), "it is the other's until it is offered");
    let status: serde_json::Value = serde_json::from_str(&tab.engine.status()).unwrap();
    assert_eq!((&status["state"], &status["reason"], &status["queued"]), (&"saving".into(), &serde_json::Value::Null, &1.into()));
    assert!(!tab.told().concat().contains("starved"), "nor are the others told so");
}

#[test]
fn o1_what_an_earlier_file_brought_and_nobody_told_of_goes_before_what_a_later_one_does_to_it() {
    let (mut elsewhere, _) = elsewhere();
    let earlier = elsewhere.export().0;
    make(&mut elsewhere, &update("kind", 1, "\"set\":{\"name\":\"later\"}"));
    let later = elsewhere.export().0;
    let mut sender = sending(&mut Store::default());
    // What is to be sent next is marked as such already.
    make(&mut sender, &create("box", 2, ""));
    goes(&mut sender, 1_000);
    let (request, _) = sender.pushes.pop().unwrap();
    refuse(&mut sender, request, (0xaa, 1));
    let mut importing = reading(1, &Disk::default());
    importing.import(&earlier).unwrap();
    let untold = importing.imported.clone();
    importing.effects.clear();
    let told = importing.engine.admit(&later).unwrap();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["puts"].as_array().unwrap().len(), 1, "the other is known there");
    sender.imported = untold;
    sender.pushes.clear();
    hear(&mut sender, &[told["message"].as_str().unwrap().to_string()]);
    assert!(goes(&mut sender, 5_000).concat().is_empty());
    sender.effects.clear();
    assert!(
        goes(&mut sender, 6_000).concat().is_empty() && sender.effects.contains(&Effect::Reload),
        "nobody lets go of the slot: it reads all"
    );
    let read = sender.left();
    sender.engine.handle_reloaded(sender.now, read);
    sender.run();
    assert_eq!(goes(&mut sender, 60_000).concat()[..2], [1, 2]);
}

#[test]
fn d1_what_all_copies_share_is_not_there_again_when_a_dead_tab_tells_of_it_late() {
    for frozen in [false, true] {
        let key = (shared_client(0xaa), 7);
        let mut maker = beside(1);
        let made = make(&mut maker, &create("kind", 1, ""));
        let ids = |key: Key| format!("\"client\":\"{:016x}\",\"seq\":{}", key.0, key.1);
        let record = maker.disk[&made].replacen(&ids(made), &ids(key), 1);
        let told = record.clone();
        let mut tab = beside(2);
        let meta = format!("{{\"rev\":0,\"sent\":0,\"answered\":[\"{:016x}:{}\"]}}", key.0, key.1);
        // A dead tab had settled it, and had not deleted it yet.
        let slot = SlotDisk { slot: 1, records: vec![record], high: Vec::new() };
        tab.engine.handle_lead(tab.now, 2, Some(&meta), vec![slot]);
        tab.run();
        assert_eq!(tab.high[&(1, key.0)], key.1, "it is deleted");
        hear(&mut tab, &[shown(1, frozen, &told)]);
        assert!(tab.engine.outbox().is_empty());
    }
}

#[test]
fn v4_a_base_that_the_server_contradicts_does_not_come_back_from_disk() {
    let mut store = Store::default();
    made_elsewhere(&mut store, 1, &create("kind", 1, ""));
    let mut tab = sending(&mut store);
    let disk = tab.left();
    goes(&mut tab, 60_000);
    let (request, _) = tab.pushes.pop().expect("it asks what is new");
    // It reads the disk again, for whatever reason, while the answer comes.
    hear(&mut tab, &["{\"schema\":1,\"t\":\"torn\"}".to_string()]);
    let digest = "\"digest\":\"00000000000000000000000000000001\"";
    let head = "\"schema\":1,\"rev\":1,\"more\":false,\"reload\":false,\"clients\":[]";
    tab.engine.handle_answer(tab.now, request, 200, None, &format!("{{{head},{digest},\"outcomes\":[],\"changes\":[]}}"));
    tab.engine.handle_reloaded(tab.now, disk);
    tab.run();
    assert_eq!(tab.fetches.len(), 1);
}

#[test]
fn d1_what_a_tab_deletes_while_it_reads_the_disk_does_not_come_back_with_what_it_reads() {
    let mut store = Store::default();
    let (mut elsewhere, _) = elsewhere();
    let mut tab = sending(&mut store);
    tab.import(&elsewhere.export().0).unwrap();
    tab.hold_saves = true;
    tab.sync(&mut store);
    assert_eq!((tab.engine.outbox().len(), tab.held.len()), (0, 1), "its record is being deleted");
    let read = tab.left();
    tab.engine.handle_unlead(tab.now);
    tab.run();
    for (slot, save) in std::mem::take(&mut tab.held) {
        tab.engine.handle_saved(tab.now, slot, save);
    }
    tab.engine.handle_reloaded(tab.now, read);
    tab.run();
    assert!(tab.engine.outbox().is_empty());
}

#[test]
fn q9_what_a_file_brought_and_is_over_goes_again_when_its_importer_tells_of_it_late() {
    let (mut elsewhere, key) = elsewhere();
    let told = elsewhere.export().0;
    let told: serde_json::Value = serde_json::from_str(&beside(1).engine.admit(&told).unwrap()).unwrap();
    let record = serde_json::to_string(&elsewhere.disk[&key]).unwrap();
    let mut tab = beside(2);
    let first = format!("{{\"schema\":1,\"t\":\"base\",\"epoch\":1,\"changes\":[],\"settled\":[],\"records\":[[{IMPORTED},{record}]]}}");
    hear(&mut tab, &[first, base(1, &create("kind", 1, "\"name\":\"\""), key), void(key)]);
    assert!(tab.engine.outbox().is_empty());
    tab.effects.clear();
    hear(&mut tab, &[told["message"].as_str().unwrap().to_string()]);
    assert!(tab.effects.contains(&Effect::Reload), "{:?}", tab.effects);
    let slots = vec![SlotDisk { slot: IMPORTED, records: Vec::new(), high: vec![key] }];
    tab.engine.handle_reloaded(tab.now, Disk { slots, ..Disk::default() });
    tab.run();
    assert!(tab.engine.outbox().is_empty());
}

#[test]
fn q9_what_a_file_brings_again_while_the_disk_is_read_is_not_what_was_deleted_before() {
    let (mut elsewhere, key) = elsewhere();
    let file = elsewhere.export().0;
    let mut tab = sending(&mut Store::default());
    tab.engine.set_online(tab.now, false);
    tab.import(&file).unwrap();
    hear(&mut tab, &["{\"schema\":1,\"t\":\"reload\",\"epoch\":9}".to_string()]);
    tab.engine.handle_unlead(tab.now);
    tab.engine.handle_lead(tab.now, 9, None, Vec::new());
    tab.run();
    tab.engine.discard(tab.now, key, false).unwrap();
    tab.run();
    assert!(tab.imported.is_empty() && tab.engine.outbox().is_empty());
    tab.import(&file).unwrap();
    assert!(tab.engine.outbox().get(key).is_some());
}

#[test]
fn q2_what_was_called_settled_and_is_found_on_disk_is_offered_and_sent_again() {
    let mut maker = beside(1);
    let (disk, told, key, record) = settled_and_not_written(&mut maker, &create("kind", 1, ""));
    let (said, shown): (Vec<String>, Vec<String>) = told.into_iter().partition(|text| text.contains("\"t\":\"base\""));
    let mut next = reading(2, &disk);
    // Of what its own tab showed it has missed all.
    hear(&mut next, &said);
    next.engine.handle_lead(next.now, 2, disk.meta.as_deref(), Vec::new());
    next.run();
    let slots = vec![SlotDisk { slot: 1, records: vec![record], high: Vec::new() }];
    next.engine.handle_reloaded(next.now, Disk { slots, ..disk });
    next.run();
    hear(&mut next, &shown);
    let request = next.pushes.pop().expect("it asks what is new").0;
    next.engine.handle_send_failed(next.now, request, SendFailure::Network);
    assert_eq!(goes(&mut next, 60_000), [[key.1]]);
}

/// A tab whose retry another copy of the profile has sent too, so that it was settled before it was on disk. It is being written, or
/// waits behind another that is. Then another tab sends, from what was on disk before. Returns that, and the keys.
fn settled_before_it_was_written(is_behind: bool) -> (Tab, Disk, Key, Key) {
    let mut store = Store::default();
    let mut tab = sending(&mut store);
    let older = tab.left();
    // The copy has used the same number.
    store.push(&schema(), &push_text(None, "[]", &[(1, common::body(1, &create("kind", 2, "")))])).unwrap();
    let old = make(&mut tab, &create("kind", 1, ""));
    assert_eq!(goes(&mut tab, 1_000), [[1]]);
    // The disk is busy, with the base and with the outbox.
    tab.engine.handle_base_lost(tab.now);
    until_written(&mut tab);
    tab.hold_saves = true;
    if is_behind {
        make(&mut tab, &create("kind", 3, ""));
    }
    let (request, body) = tab.pushes.pop().unwrap();
    let answer = store.push(&schema(), &body).unwrap();
    tab.engine.handle_answer(tab.now, request, 200, None, &answer);
    tab.run();
    let new = tab.engine.outbox().iter().next().unwrap().made.key;
    assert!(new != old && tab.disk.contains_key(&old), "{:?}", tab.disk);
    let other = tab.engine.outbox().get(new).unwrap().body.clone();
    let other = push_text(None, "[]", &[(new.1, other)]).replace("00000000000000aa", &format!("{:016x}", new.0));
    store.push(&schema(), &other).unwrap();
    tab.sync(&mut store);
    assert!(tab.engine.outbox().get(new).is_none());
    tab.engine.handle_unlead(tab.now);
    tab.run();
    let read = Disk { slots: tab.left().slots, ..older };
    (tab, read, old, new)
}

#[test]
fn q2_a_retry_that_was_settled_before_it_was_written_waits_again_as_what_it_stands_for() {
    let (mut tab, read, old, _) = settled_before_it_was_written(true);
    tab.engine.handle_reloaded(tab.now, read);
    tab.run();
    assert!(tab.engine.outbox().get(old).is_some_and(|entry| entry.saved));
}

#[test]
fn q2_a_retry_that_was_settled_while_it_was_written_waits_again() {
    let (mut tab, read, old, new) = settled_before_it_was_written(false);
    let record = tab.disk[&old].replace(&format!("{:016x}", old.0), &format!("{:016x}", new.0));
    // It is shown late, so that its number is known.
    hear(&mut tab, &[shown(1, true, &record)]);
    tab.effects.clear();
    tab.engine.handle_reloaded(tab.now, read.clone());
    tab.run();
    assert!(tab.effects.contains(&Effect::Reload), "{:?}", tab.effects);
    for (slot, save) in std::mem::take(&mut tab.held) {
        tab.engine.handle_saved(tab.now, slot, save);
    }
    let slots = vec![SlotDisk { slot: 0, records: vec![record], high: Vec::new() }];
    tab.engine.handle_reloaded(tab.now, Disk { slots, ..read });
    tab.run();
    assert!(tab.engine.outbox().get(new).is_some());
}

#[test]
fn q2_a_retry_that_was_settled_and_could_not_be_written_waits_again_as_what_it_stands_for() {
    let (mut tab, read, old, _) = settled_before_it_was_written(false);
    tab.engine.handle_reloaded(tab.now, read.clone());
    tab.run();
    tab.engine.handle_reloaded(tab.now, read.clone());
    tab.run();
    tab.effects.clear();
    for (slot, save) in std::mem::take(&mut tab.held) {
        tab.engine.handle_save_failed(tab.now, slot, save, "storage_aborted");
    }
    tab.run();
    assert!(tab.effects.contains(&Effect::Reload), "{:?}", tab.effects);
    tab.engine.handle_reloaded(tab.now, read);
    tab.run();
    assert!(tab.engine.outbox().get(old).is_some_and(|entry| entry.saved));
}

#[test]
fn m3_a_retry_in_one_tab_does_not_write_what_another_has_made_after_it() {
    let mut tab = beside(1);
    let key = make(&mut tab, &create("kind", 1, ""));
    let mut other = beside(2);
    hear(&mut other, &tab.told());
    let text = |key: Key| format!("{:016x}:{}", key.0, key.1);
    let after = format!("{{\"edits\":[{}],\"after\":[\"{}\"]}}", create("kind", 2, ""), text(key));
    let later = other.engine.transact(other.now, &after).unwrap().0;
    other.run();
    hear(&mut tab, &other.told());
    // Nobody sends, so that it is this tab's to decide about.
    let edits = create("kind", 1, "\"name\":\"b\"");
    tab.engine.decide(tab.now, &format!("{{\"what\":\"amend\",\"key\":\"{}\",\"edits\":[{edits}]}}", text(key))).unwrap();
    tab.run();
    assert!(!tab.disk.contains_key(&key) && !tab.disk.contains_key(&later), "{:?}", tab.disk);
    hear(&mut other, &tab.told());
    let [retry] = tab.disk.keys().copied().collect::<Vec<_>>()[..] else { panic!("one is there: {:?}", tab.disk) };
    assert_eq!(other.engine.outbox().with_dependents(retry), [retry, later]);
}

#[test]
fn m3_what_a_newer_page_has_sent_stays_to_be_seen_in_an_older_one() {
    let newer = |text: String| text.replace("\"schema\":1", "\"schema\":2");
    let mut tab = beside(1);
    let (sent, discarded) = (make(&mut tab, &create("kind", 1, "")), make(&mut tab, &create("kind", 2, "")));
    hear(&mut tab, &[newer(lead(1, "")), newer(base(1, &create("kind", 1, "\"name\":\"\""), sent))]);
    let mut text = String::new();
    write_key(sent, &mut text);
    assert!(tab.events.iter().any(|event| event.contains("accepted") && event.contains(&text)), "{:?}", tab.events);
    hear(&mut tab, &[newer(void(sent)), newer(void(discarded))]);
    hear(&mut tab, &["{\"schema\":1,\"t\":\"reload\",\"epoch\":1}".to_string()]);
    let slots = vec![SlotDisk { slot: 1, records: Vec::new(), high: vec![discarded] }];
    tab.engine.handle_reloaded(tab.now, Disk { slots, ..Disk::default() });
    tab.run();
    assert_eq!(tab.engine.replica().view().iter().map(|(key, _)| key.id).collect::<Vec<_>>(), [RowId::parse(&id(1)).unwrap()]);
    // It is not to be sent again, or to be put into a file.
    assert_eq!((tab.engine.outbox().len(), tab.export()), (0, ("[]".to_string(), 0)));
    let edit = format!("{{\"edits\":[{}]}}", update("kind", 1, "\"set\":{\"name\":\"b\"}"));
    assert!(tab.engine.transact(tab.now, &edit).is_ok(), "and one can go on from it");
}

/// What a tab sees as the name of kind 1.
fn name_seen(tab: &Tab) -> Option<Value> {
    let kind = RowKey { table: schema().table("kind").unwrap(), id: RowId::parse(&id(1)).unwrap() };
    tab.engine.replica().view().get(kind).map(|row| row.values[0].clone())
}

#[test]
fn q6_an_edit_of_a_row_that_somebody_else_has_made_first_does_not_fold_into_a_create_of_it() {
    let (mut elsewhere, _) = elsewhere();
    let mut tab = beside(1);
    tab.now += 1_000;
    let own = make(&mut tab, &create("kind", 1, ""));
    tab.import(&elsewhere.export().0).unwrap();
    let edit = make(&mut tab, &update("kind", 1, "\"set\":{\"name\":\"mine\"}"));
    assert_ne!(edit, own, "that create may be refused, and takes nothing else with it");
    assert_eq!(name_seen(&tab), Some(Value::Text("mine".into())));
}

/// Boxes in boxes, which go with these, and pins that hold theirs.
const PINS: &str = r#"{"name": "t", "version": 1, "tables": {
  "box": {"references": {"up": {"to": ["box"], "nullable": true, "on_delete": "cascade"}}},
  "pin": {"references": {"box": {"to": ["box"], "nullable": true, "on_delete": "restrict"}}}
}}"#;

#[test]
fn q6_what_lets_go_a_row_that_a_waiting_delete_is_after_is_not_folded_before_that_delete() {
    let schema = Schema::parse(PINS).unwrap();
    let tab = |slot: u32| {
        let mut tab = Tab::of_config(Config { slot, client: 0xaa + u64::from(slot), ..config_for(schema.clone()) });
        tab.open(Disk::default());
        tab
    };
    let up = |n: u64| format!("\"up\":\"{}\"", id(n));
    let to = |n: &str| format!("\"box\":{n}");
    let boxes = [create("box", 1, ""), create("box", 2, &up(1)), create("box", 3, "")].join(",");
    let three = format!("\"{}\"", id(3));
    // A pin holds box 2, and with it box 1; another tab deletes one of them without having heard of the pin.
    for (deleted, moves_to) in [(2, "null"), (2, &*three), (1, "null"), (1, &three)] {
        let (mut own, mut other) = (tab(1), tab(2));
        make(&mut other, &boxes);
        hear(&mut own, &other.told());
        own.now += 10;
        let pin = make(&mut own, &create("pin", 4, &to(&format!("\"{}\"", id(2)))));
        other.now += 20;
        make(&mut other, &common::delete("box", deleted));
        hear(&mut own, &other.told());
        assert_eq!(own.engine.replica().view().len(), 4, "it is held");
        own.now += 20;
        let freed = make(&mut own, &update("pin", 4, &format!("\"set\":{{{}}}", to(moves_to))));
        assert_ne!(freed, pin, "{deleted} {moves_to}");
        assert_eq!(own.engine.replica().view().len(), 4, "it was held when that was to go");
    }
}

#[test]
fn q6_what_lets_go_a_row_is_not_folded_before_a_delete_from_which_that_row_has_been_moved_away_since() {
    let schema = Schema::parse(PINS).unwrap();
    let tab = |slot: u32| {
        let mut tab = Tab::of_config(Config { slot, client: 0xaa + u64::from(slot), ..config_for(schema.clone()) });
        tab.open(Disk::default());
        tab
    };
    let (mut own, mut other) = (tab(1), tab(2));
    let up = |n: u64| format!("\"up\":\"{}\"", id(n));
    make(&mut other, &[create("box", 1, ""), create("box", 2, &up(1)), create("box", 3, &up(2)), create("box", 5, "")].join(","));
    hear(&mut own, &other.told());
    own.now += 10;
    let pin = make(&mut own, &create("pin", 4, &format!("\"box\":\"{}\"", id(3))));
    other.now += 20;
    make(&mut other, &common::delete("box", 1));
    hear(&mut own, &other.told());
    own.now += 20;
    assert_eq!(own.engine.replica().view().len(), 5, "it is held");
    make(&mut own, &update("box", 3, "\"set\":{\"up\":null}"));
    assert_ne!(make(&mut own, &update("pin", 4, "\"set\":{\"box\":null}")), pin, "the pin has held box 3, and so box 1");
    assert_eq!(own.engine.replica().view().len(), 5);
}

#[test]
fn q6_what_comes_to_hang_on_a_row_that_goes_with_a_waiting_delete_is_not_folded_before_that_delete() {
    let schema = Schema::parse(PINS).unwrap();
    let mut store = Store::default();
    let boxes = [create("box", 1, ""), create("box", 2, &format!("\"up\":\"{}\"", id(1)))].join(",");
    let push = push_text(None, "[]", &[(1, common::body(1, &boxes))]).replace("00aa", "00dd");
    store.push(&schema, &push).unwrap();
    let mut tab = Tab::of(schema).lead(&store);
    tab.sync(&mut store);
    tab.engine.set_online(tab.now, false);
    let made = make(&mut tab, &create("box", 3, ""));
    tab.now += 10;
    make(&mut tab, &common::delete("box", 1));
    tab.now += 10;
    let moved = tab.make(&update("box", 3, &format!("\"set\":{{\"up\":\"{}\"}}", id(2))));
    assert_ne!(moved, Ok(made), "it would go with that box, and nobody would be told");
}

#[test]
fn q6_the_delete_of_a_row_that_the_server_holds_does_not_vanish_with_a_create_of_it() {
    let mut store = Store::default();
    let mut tab = sending(&mut store);
    tab.engine.handle_live_open(tab.now);
    make(&mut tab, &create("kind", 2, ""));
    assert_eq!(goes(&mut tab, 1_000), [[1]], "what comes after it waits for its answer");
    let own = make(&mut tab, &create("kind", 1, ""));
    made_elsewhere(&mut store, 1, &create("kind", 1, "\"name\":\"theirs\""));
    let parts = format!("{{\"actor\":2,\"changes\":{}}}", store.log[0].3);
    tab.engine.handle_live_message(tab.now, &format!("{{\"schema\":1,\"changes\":[{{\"rev\":1,\"parts\":[{parts}]}}]}}"));
    tab.run();
    assert_eq!((tab.engine.replica().rev, tab.engine.outbox().get(own).is_some()), (1, true));
    assert_ne!(make(&mut tab, &update("kind", 1, "\"set\":{\"name\":\"mine\"}")), own);
    make(&mut tab, &common::delete("kind", 1));
    assert_eq!(name_seen(&tab), None);
    tab.sync(&mut store);
    assert_eq!((store.rows.len(), tab.engine.outbox().iter().filter(|entry| entry.state == State::Queued).count()), (1, 0));
}

#[test]
fn v2_what_the_server_takes_in_another_order_than_it_is_shown_in_is_found_out_and_not_taken_from_the_view() {
    let mut store = Store::default();
    let conn = |from: u64| format!("\"from\":\"{}\"", id(from));
    let rows = [create("kind", 2, ""), create("card", 1, ""), create("card", 4, ""), create("card", 5, "")].join(",");
    made_elsewhere(&mut store, 1, &rows);
    made_elsewhere(&mut store, 2, &create("conn", 3, &format!("{},\"kind\":\"{}\"", conn(4), id(2))));
    let mut tab = sending(&mut store);
    tab.engine.handle_live_open(tab.now);
    // What goes away with the card is not what comes away from it.
    let both = format!("{},{}", common::delete("card", 1), update("conn", 3, &format!("\"set\":{{{}}}", conn(5))));
    make(&mut tab, &both);
    // Meanwhile somebody moves it to that very card, and this tab hears of that first.
    made_elsewhere(&mut store, 3, &update("conn", 3, &format!("\"set\":{{{}}}", conn(1))));
    let (rev, theirs) = (store.space.rev, store.log.last().unwrap().3.clone());
    let parts = format!("{{\"actor\":2,\"changes\":{theirs}}}");
    tab.engine.handle_live_message(tab.now, &format!("{{\"schema\":1,\"changes\":[{{\"rev\":{rev},\"parts\":[{parts}]}}]}}"));
    tab.run();
    assert_eq!(tab.engine.replica().rev, rev);
    tab.sync(&mut store);
    assert_eq!((store.rows.len(), tab.engine.outbox().len()), (4, 0), "the connection has come away, and stays");
    assert_eq!(tab.engine.replica().digest, store.space.digest);
    assert!(tab.fetches.is_empty(), "and nothing had to be fetched again for that");
}
