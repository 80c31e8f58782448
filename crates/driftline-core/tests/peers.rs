//! Several tabs of one browser: whatever overtakes what, and whoever sends, each transaction waits once, goes in order and is over once.

mod common;

use common::{Store, Tab, config, create, id, push_text, schema, update};
use driftline_core::dedupe::shared_client;
use driftline_core::engine::{Config, Disk, Effect, SlotDisk, record_key, write_key};
use driftline_core::outbox::{Key, State};
use driftline_core::sender::SendFailure;
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

/// What a tab has told the others since it was last asked, oldest first.
fn told_by(tab: &mut Tab) -> Vec<String> {
    let told = std::mem::take(&mut tab.effects).into_iter();
    told.filter_map(|effect| if let Effect::Broadcast(text) = effect { Some(text) } else { None }).collect()
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
    let told = told_by(&mut maker);
    assert_eq!(told.iter().filter(|text| text.contains("\"records\":[\"")).count(), 2, "shown, and then offered: {told:?}");
    let mut tab = beside(2);
    hear(&mut tab, &[base(1, &create("kind", 1, "\"name\":\"\""), key)]);
    for text in told {
        hear(&mut tab, &[text]);
        assert_eq!((tab.engine.outbox().len(), tab.engine.replica().view().len()), (0, 1));
    }
}

#[test]
fn d1_what_the_sending_tab_told_of_and_is_over_is_not_there_again_when_its_own_tab_tells_of_it_late() {
    let mut maker = beside(1);
    let key = make(&mut maker, &create("kind", 1, ""));
    let late = told_by(&mut maker);
    let record = serde_json::to_string(&maker.disk[&key]).unwrap();
    let mut tab = beside(2);
    hear(&mut tab, &[format!("{{\"schema\":1,\"t\":\"base\",\"epoch\":1,\"changes\":[],\"settled\":[],\"records\":[[1,{record}]]}}")]);
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
    hear(&mut next, &told_by(&mut tab));
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
fn d5_what_a_retry_stands_for_is_told_by_when_it_was_made_and_not_by_its_number_alone() {
    let (mut tab, mut other) = (beside(1), beside(2));
    let own = make(&mut tab, &create("kind", 1, ""));
    other.now += 5;
    let retry = make(&mut other, &create("kind", 2, ""));
    let was = format!("{{\"was\":[[\"{:016x}\",{}]],", own.0, own.1);
    let record = other.disk[&retry].replacen('{', &was, 1);
    let shown = |record: &str| {
        let record = serde_json::to_string(record).unwrap();
        format!("{{\"schema\":1,\"t\":\"txns\",\"slot\":2,\"frozen\":true,\"records\":[{record}],\"unsaved\":[]}}")
    };
    hear(&mut tab, &[shown(&record)]);
    assert_eq!(tab.engine.outbox().len(), 2, "a copy of the profile has used the number for something else");
    let made = |tab: &Tab, key| format!("\"made\":{},", tab.engine.outbox().get(key).unwrap().made.at);
    let together = record.replacen(&made(&other, retry), &made(&tab, own), 1).replacen("\"seq\":1", "\"seq\":2", 1);
    assert_ne!(record, together);
    hear(&mut tab, &[shown(&together)]);
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
    let shown = told_by(&mut one);
    hear(&mut other, &shown);
    let second = make(&mut other, &update("card", 1, "\"set\":{\"x\":7}"));
    assert_eq!(other.engine.outbox().get(second).unwrap().seen, [first]);
    let offered = |tab: &mut Tab, key| {
        tab.effects.clear();
        hear(tab, &[lead(1, "")]);
        (key, told_by(tab))
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
    hear(&mut other, &told_by(&mut one));
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
    hear(&mut tab, &told_by(&mut other));
    goes(&mut tab, 1_000);
    let waits = |tab: &Tab| tab.engine.status().contains("\"not_saving\",\"reason\":\"waiting\"");
    assert!(waits(&tab) && !waits(&other), "{}", other.engine.status());
    hear(&mut other, &told_by(&mut tab));
    assert!(waits(&other), "{}", other.engine.status());
    other.hold_saves = true;
    make(&mut other, &create("kind", 2, ""));
    assert!(other.engine.status().contains("\"saving\""), "of this one the sending tab knows nothing: {}", other.engine.status());
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
    let mut told = told_by(maker);
    hear(&mut sender, &told);
    sender.sync(&mut store);
    told.extend(told_by(&mut sender).into_iter().filter(|text| text.contains("\"t\":\"base\"")));
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
    hear(&mut tab, &told_by(&mut sender));
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
    let mut elsewhere = Tab::of_config(Config { client: 0xcc, ..config() });
    elsewhere.open(Disk::default());
    make(&mut elsewhere, &create("kind", 1, ""));
    let file = elsewhere.export().0;
    let mut tab = reading(1, &disk);
    tab.import(&file).unwrap();
    sender.import(&file).unwrap();
    assert_eq!(tab.engine.outbox().len(), 1);
    sender.sync(&mut store);
    hear(&mut tab, &told_by(&mut sender).into_iter().filter(|text| text.contains("\"t\":\"base\"")).collect::<Vec<_>>());
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
    hear(&mut next, &told_by(&mut tab));
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
    hear(&mut next, &told_by(&mut tab));
    assert!(is_parked(&next));
    assert!(goes(&mut next, 60_000).concat().is_empty());
}

#[test]
fn q2_what_a_dead_tab_had_deleted_and_not_told_of_is_gone_in_every_tab() {
    let (mut dead, mut other) = (beside(1), beside(2));
    let mut sender = sending(&mut Store::default());
    let key = make(&mut dead, &create("kind", 1, ""));
    let shown = told_by(&mut dead);
    hear(&mut sender, &shown);
    hear(&mut other, &shown);
    assert_eq!(other.engine.replica().view().len(), 1);
    dead.engine.discard(dead.now, key, false).unwrap();
    dead.run();
    assert!(dead.disk.is_empty());
    sender.effects.clear();
    sender.engine.handle_adopted(sender.now, SlotDisk { slot: 1, records: Vec::new(), high: vec![key] });
    sender.run();
    hear(&mut other, &told_by(&mut sender));
    for tab in [sender, other] {
        assert_eq!((tab.engine.outbox().len(), tab.engine.replica().view().len()), (0, 0));
    }
}

#[test]
fn d1_what_was_said_to_be_over_while_the_disk_was_read_does_not_come_back_with_what_was_read() {
    let mut elsewhere = Tab::of_config(Config { client: 0xcc, ..config() });
    elsewhere.open(Disk::default());
    let key = make(&mut elsewhere, &create("kind", 1, ""));
    let mut tab = beside(1);
    tab.import(&elsewhere.export().0).unwrap();
    hear(&mut tab, &["{\"schema\":1,\"t\":\"reload\",\"epoch\":1}".to_string()]);
    assert!(tab.effects.contains(&Effect::Reload), "{:?}", tab.effects);
    let read = tab.left();
    hear(&mut tab, &[void(key)]);
    tab.engine.handle_reloaded(tab.now, read);
    tab.run();
    assert_eq!((tab.engine.outbox().len(), tab.engine.replica().view().len()), (0, 0));
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
fn d4_what_a_retry_stands_for_is_closed_only_once_its_record_is_deleted() {
    let mut tab = sending(&mut Store::default());
    let disk = tab.left();
    let mut next = reading(1, &disk);
    let key = make(&mut tab, &create("kind", 1, ""));
    goes(&mut tab, 1_000);
    let (request, _) = tab.pushes.pop().unwrap();
    refuse(&mut tab, request, key);
    tab.engine.retry(tab.now, key).unwrap();
    tab.run();
    // It dies before the old record is deleted.
    let told = told_by(&mut tab).into_iter().filter(|text| !text.contains("\"t\":\"void\"")).collect::<Vec<_>>();
    hear(&mut next, &told);
    assert!(next.engine.outbox().get(key).is_none() && next.engine.outbox().len() == 1);
    next.engine.handle_lead(next.now, 2, disk.meta.as_deref(), Vec::new());
    next.run();
    let (request, push) = next.pushes.pop().expect("it asks what is new");
    assert_eq!(closed_by(&push, key.0), serde_json::json!([]));
    assert_eq!(next.high[&(0, key.0)], key.1, "it deletes the record itself");
    next.engine.handle_send_failed(next.now, request, SendFailure::Network);
    goes(&mut next, 60_000);
    assert_eq!(closed_by(&next.pushes.pop().unwrap().1, key.0), serde_json::json!([[key.1, key.1]]));
}

/// A tab opens in a slot, on what an earlier one left there. Returns what it says of that.
fn opened_on(slot: u32, client: u64, records: Vec<String>) -> Vec<String> {
    let left = SlotDisk { slot, high: records.iter().filter_map(|record| record_key(record)).collect(), records };
    let mut tab = Tab::of_config(Config { slot, client, high: left.high.clone(), ..config() });
    tab.open(Disk { slots: vec![SlotDisk { high: Vec::new(), ..left }], ..Disk::default() });
    told_by(&mut tab)
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
    let mut told = told_by(&mut sender);
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
    let mut told = told_by(&mut sender);
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
    hear(&mut next, &told_by(&mut tab));
    next.effects.clear();
    next.engine.retry(next.now, key).unwrap();
    next.run();
    assert_eq!(next.high[&(0, key.0)], key.1, "the next sender deletes it");
    assert!(tab.disk.contains_key(&key), "and this tab may have written it, as parked, since");
    hear(&mut tab, &told_by(&mut next));
    assert!(tab.engine.outbox().len() == 1 && tab.engine.outbox().get(key).is_none());
    assert!(tab.disk.is_empty());
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
    let told = told_by(&mut maker);
    assert!(told.len() == 2 && told[0].contains("\"unsaved\":[\""), "{told:?}");
    let record = serde_json::to_string(&maker.disk[&key]).unwrap();
    hear(&mut tab, &told[..1]);
    hear(&mut tab, &[format!("{{\"schema\":1,\"t\":\"base\",\"epoch\":1,\"changes\":[],\"settled\":[],\"records\":[[1,{record}]]}}")]);
    hear(&mut sender, &told);
    sender.sync(&mut store);
    // It dies before it has deleted that.
    hear(&mut tab, &told_by(&mut sender).into_iter().filter(|text| text.contains("\"t\":\"base\"")).collect::<Vec<_>>());
    tab.engine.handle_lead(tab.now, 2, disk.meta.as_deref(), Vec::new());
    tab.run();
    assert_eq!(tab.high[&(1, key.0)], key.1, "it deletes that");
    hear(&mut tab, &told[1..]);
    assert_eq!((tab.engine.outbox().len(), tab.engine.replica().view().len()), (0, 2));
}

#[test]
fn d1_what_was_read_from_disk_before_its_retry_was_there_is_not_shown_beside_it() {
    let mut elsewhere = Tab::of_config(Config { client: 0xcc, ..config() });
    elsewhere.open(Disk::default());
    let key = make(&mut elsewhere, &create("kind", 1, ""));
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
    hear(&mut tab, &told_by(&mut sender).into_iter().filter(|text| text.contains("\"t\":\"txns\"")).collect::<Vec<_>>());
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
    hear(&mut tab, &told_by(&mut sender));
    assert!(tab.engine.outbox().get(shared).is_some());
    sender.sync(&mut store);
    // It dies before it has deleted that.
    hear(&mut tab, &told_by(&mut sender).into_iter().filter(|text| text.contains("\"t\":\"base\"")).collect::<Vec<_>>());
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
    hear(&mut sender, &told_by(&mut maker));
    let body = maker.engine.outbox().get(key).unwrap().body.clone();
    store.push(&schema(), &push_text(None, "[]", &[(key.1, body)]).replace("00aa", "00ab")).unwrap();
    let rename = update("kind", 1, "\"set\":{\"name\":\"mine\"}");
    assert_eq!(maker.make(&rename), Ok(key), "it folds");
    maker.run();
    sender.sync(&mut store);
    assert_eq!(sender.engine.replica().rev, 1);
    assert!(sender.engine.outbox().get(key).is_some());
    hear(&mut maker, &[lead(1, "")]);
    hear(&mut sender, &told_by(&mut maker));
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
