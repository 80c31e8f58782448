//! Unsynced work that goes from one device to another in a file, while the first may come back and send it too.

mod common;

use common::{Store, Tab, config, config_for, create, delete, id, update};
use driftline_core::engine::{Config, Disk, Effect, IMPORTED, SlotDisk, damaged_record};
use driftline_core::outbox::{Key, State};
use driftline_core::schema::Schema;
use driftline_core::value::{RowId, RowKey, Value};
use driftline_core::wire::read_push;
use proptest::prelude::{Just, Strategy, prop_oneof};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const FIRST: u64 = 0xaa;
const SECOND: u64 = 0xbb;

fn row(table: &str, n: u64) -> RowKey {
    RowKey { table: common::schema().table(table).unwrap(), id: RowId::parse(&id(n)).unwrap() }
}

/// A device that has been online, and is no more.
fn device(client: u64, store: &Store) -> Tab {
    let mut tab = Tab::of_config(Config { client, seed: client, ..config() }).lead(store);
    tab.engine.set_online(tab.now, false);
    tab.run();
    tab
}

fn make(tab: &mut Tab, edits: &[String]) -> Key {
    tab.now += 1_000;
    let key = tab.make(&edits.join(",")).unwrap();
    tab.run();
    key
}

/// Cards in a box, and a counter that would tell of anything applied twice.
fn work(tab: &mut Tab) {
    make(tab, &[create("box", 1, "\"n\":1")]);
    make(tab, &[create("card", 2, &format!("\"box\":\"{}\"", id(1)))]);
    make(tab, &[update("box", 1, "\"add\":{\"n\":10}"), create("card", 3, "")]);
    make(tab, &[delete("card", 3), create("card", 4, "")]);
}

fn go_online(tab: &mut Tab, store: &mut Store) {
    tab.now += 60_000;
    tab.engine.set_online(tab.now, true);
    tab.run();
    for _ in 0..60 {
        step(tab, store, false);
    }
    tab.engine.set_online(tab.now, false);
    tab.run();
    tab.pushes.clear();
}

/// A second passes; one request is answered, unless its answer is lost. Epochs are raised as the shell raises them.
fn step(tab: &mut Tab, store: &mut Store, lost: bool) {
    tab.now += 1_000;
    tab.engine.handle_tick(tab.now);
    tab.run();
    while !tab.fetches.is_empty() {
        tab.give_snapshot(store);
    }
    let Some((request, body)) = tab.pushes.pop() else { return };
    let push = read_push(&tab.schema, &body).unwrap();
    let schema = tab.schema.clone();
    match store.decide(&schema, &push).map(drop) {
        Ok(()) => {
            let answer = store.push(&schema, &body).unwrap();
            if lost {
                tab.engine.handle_send_failed(tab.now, request, driftline_core::sender::SendFailure::Network);
            } else {
                tab.engine.handle_answer(tab.now, request, 200, None, &answer);
            }
        }
        Err(stale) => {
            tab.engine.handle_answer(tab.now, request, 409, None, &json!({"code": "stale_sender", "epoch": stale.epoch}).to_string());
        }
    }
    tab.run();
    if let Some(at) = tab.effects.iter().position(|effect| matches!(effect, Effect::RenewEpoch { .. })) {
        let Effect::RenewEpoch { at_least } = tab.effects.remove(at) else { unreachable!() };
        tab.engine.handle_epoch(tab.now, Some(at_least));
        tab.run();
    }
}

fn counter(store: &Store, n: u64) -> Value {
    let schema = common::schema();
    let column = schema.tables[row("box", n).table as usize].column("n").unwrap();
    store.rows[&row("box", n)].values[column as usize].clone()
}

/// Everything of [`work`] is there, once.
fn assert_once(store: &Store) {
    assert_eq!(counter(store, 1), Value::Int(11));
    let held: Vec<bool> = [2, 3, 4].map(|n| store.rows.contains_key(&row("card", n))).to_vec();
    assert_eq!(held, [true, false, true]);
    assert_each_key_once(store);
}

fn assert_each_key_once(store: &Store) {
    let keys: Vec<Key> = store.log.iter().map(|row| row.1).collect();
    assert_eq!(keys.len(), keys.iter().collect::<BTreeSet<_>>().len(), "{keys:x?}");
}

fn assert_done(tab: &Tab) {
    assert_eq!((tab.engine.outbox().len(), tab.disk.len(), tab.imported.len()), (0, 0, 0), "{:?}", tab.events);
}

#[test]
fn q9_imported_work_takes_effect_once_whichever_device_sends_it_first() {
    for import_first in [true, false] {
        let mut store = Store::default();
        let mut first = device(FIRST, &store);
        work(&mut first);
        let (file, left_out) = first.export();
        assert_eq!(left_out, 0);
        // What is made after the export is another matter, and is not lost either.
        make(&mut first, &[update("box", 1, "\"set\":{\"name\":\"later\"}")]);
        let mut second = device(SECOND, &store);
        assert_eq!(second.import(&file), Ok((4, 0, 0)));
        assert!(second.engine.replica().view().contains(row("card", 4)), "it is seen at once");
        let (one, two) = if import_first { (&mut second, &mut first) } else { (&mut first, &mut second) };
        go_online(one, &mut store);
        assert_once(&store);
        go_online(two, &mut store);
        go_online(one, &mut store);
        assert_once(&store);
        assert!(store.rows[&row("box", 1)].values.contains(&Value::Text("later".into())));
        assert_done(&first);
        assert_done(&second);
    }
}

#[test]
fn q9_a_record_that_somebody_has_written_over_more_lines_is_named_unreadable_and_the_others_come() {
    let (mut from, mut tab) = (Tab::new(), Tab::new());
    from.open(Disk::default());
    tab.open(Disk::default());
    from.make(&create("kind", 1, "")).unwrap();
    from.make(&create("kind", 2, "")).unwrap();
    from.run();
    let mut records: Vec<String> = serde_json::from_str(&from.export().0).unwrap();
    // The same JSON to a parser, but not the bytes that were, or will be, sent.
    records[0] = records[0].replacen("\"edits\":[", "\"edits\":\n[", 1);
    assert_eq!(tab.import(&serde_json::to_string(&records).unwrap()), Ok((1, 0, 1)));
    assert_eq!(tab.engine.outbox().len(), 1);
}

#[test]
fn q9_importing_twice_is_importing_once() {
    let mut store = Store::default();
    let mut first = device(FIRST, &store);
    work(&mut first);
    let (file, _) = first.export();
    assert_eq!(first.import(&file), Ok((0, 4, 0)), "it waits here already");
    let mut second = device(SECOND, &store);
    assert_eq!(second.import(&file), Ok((4, 0, 0)));
    assert_eq!(second.import(&file), Ok((0, 4, 0)));
    go_online(&mut second, &mut store);
    // When all of it is settled this device no longer knows; the server does.
    second.import(&file).unwrap();
    go_online(&mut second, &mut store);
    assert_once(&store);
    assert_done(&second);
    go_online(&mut first, &mut store);
    // Whether it was settled or discarded, the device that made it no longer knows either.
    assert_eq!(first.import(&file), Ok((4, 0, 0)));
    go_online(&mut first, &mut store);
    assert_once(&store);
    assert_done(&first);
}

/// What two devices do, in any order.
#[derive(Debug, Clone)]
enum Do {
    Make,
    Fold,
    Export,
    Import,
    Step { first: bool, lost: bool },
    Reload { first: bool },
}

#[test]
fn q9_each_edit_counts_once_in_any_interleaving_with_answers_lost_and_pages_reloaded() {
    let doing = prop_oneof![
        3 => Just(Do::Make),
        3 => Just(Do::Fold),
        3 => Just(Do::Export),
        3 => Just(Do::Import),
        6 => (proptest::bool::ANY, proptest::bool::ANY).prop_map(|(first, lost)| Do::Step { first, lost }),
        1 => proptest::bool::ANY.prop_map(|first| Do::Reload { first }),
    ];
    common::check(proptest::collection::vec(doing, 5..60), |history| {
        let mut store = Store::default();
        let (mut first, mut second) = (device(FIRST, &store), device(SECOND, &store));
        make(&mut first, &[create("box", 1, "")]);
        let (mut files, mut made, mut epoch) = (Vec::new(), 0, 1);
        for what in history {
            match what {
                Do::Make => {
                    made += 1;
                    make(&mut first, &[create("card", 100 + made as u64, ""), update("box", 1, "\"add\":{\"n\":1}")]);
                }
                Do::Fold => {
                    made += 1;
                    make(&mut first, &[update("box", 1, "\"add\":{\"n\":1}")]);
                }
                Do::Export => files.push(first.export().0),
                Do::Import => drop(files.last().map(|file| second.import(file).unwrap())),
                Do::Step { first: is_first, lost } => {
                    let tab = if is_first { &mut first } else { &mut second };
                    tab.engine.set_online(tab.now, true);
                    step(tab, &mut store, lost);
                    tab.engine.set_online(tab.now, false);
                    tab.run();
                    tab.pushes.clear();
                }
                Do::Reload { first: is_first } => {
                    epoch += 1;
                    let (tab, client) = if is_first { (&mut first, FIRST) } else { (&mut second, SECOND) };
                    *tab = reload(tab, config(), client, epoch);
                }
            }
        }
        for _ in 0..3 {
            go_online(&mut second, &mut store);
            go_online(&mut first, &mut store);
        }
        assert_eq!(counter(&store, 1), Value::Int(made));
        assert_each_key_once(&store);
        assert_done(&first);
        assert_done(&second);
    });
}

/// The same device after its page was loaded again, offline.
fn reload(old: &Tab, config: Config, client: u64, epoch: u64) -> Tab {
    let disk = old.left();
    let records = old.disk.keys().copied();
    let high = disk.slots[0].high.iter().copied().chain(records).collect();
    let mut tab = Tab::of_config(Config { client, seed: client + epoch, high, ..config });
    (tab.now, tab.disk, tab.kept) = (old.now + 1_000, old.disk.clone(), old.kept.clone());
    (tab.imported, tab.high) = (old.imported.clone(), old.high.clone());
    tab.engine.set_online(tab.now, false);
    tab.open(disk.clone());
    tab.engine.handle_lead(tab.now, epoch, disk.meta.as_deref(), disk.slots);
    tab.run();
    tab
}

#[test]
fn q9_what_was_exported_is_never_folded_into() {
    let store = Store::default();
    let mut first = device(FIRST, &store);
    make(&mut first, &[create("box", 1, "")]);
    let exported = make(&mut first, &[update("box", 1, "\"add\":{\"n\":1}")]);
    let (file, _) = first.export();
    let later = make(&mut first, &[update("box", 1, "\"add\":{\"n\":1}")]);
    assert_ne!(exported, later, "it is another transaction from then on");
    make(&mut first, &[delete("box", 1)]);
    assert!(first.engine.outbox().get(exported).is_some(), "nor does it vanish");
    assert_eq!((file.matches("edits").count(), first.export().0.matches("edits").count()), (1, 2));
    let amended = json!({"what": "amend", "key": format!("{FIRST:016x}:{}", exported.1),
        "edits": [{"op": "create", "table": "box", "id": id(1), "set": {}}]});
    let problem = first.engine.decide(first.now, &amended.to_string()).unwrap_err();
    assert_eq!(problem.code, "in_flight", "under a new key it would count beside what is in the file");
}

#[test]
fn q9_a_device_that_imports_closes_no_number_of_the_device_that_made_it() {
    let mut store = Store::default();
    let mut first = device(FIRST, &store);
    make(&mut first, &[create("box", 1, "")]);
    make(&mut first, &[create("card", 2, "")]);
    make(&mut first, &[create("card", 3, "")]);
    let (file, _) = first.export();
    // The second brings only the later ones, settles one after the other, and goes on for a while.
    let later: Vec<Json> = serde_json::from_str::<Vec<Json>>(&file).unwrap().split_off(1);
    let mut second = device(SECOND, &store);
    for record in later {
        second.import(&json!([record]).to_string()).unwrap();
        go_online(&mut second, &mut store);
    }
    let mut second = reload(&second, config(), SECOND, 2);
    make(&mut second, &[create("card", 5, "")]);
    go_online(&mut second, &mut store);
    assert!(store.clients[&FIRST].closed.is_empty());
    go_online(&mut first, &mut store);
    let held = [row("box", 1), row("card", 2), row("card", 3), row("card", 5)].map(|row| store.rows.contains_key(&row));
    assert_eq!(held, [true; 4]);
    assert_each_key_once(&store);
    assert_done(&first);
    assert_eq!(make(&mut first, &[create("card", 6, "")]).0, FIRST, "nor is it taken for a copied profile");
}

#[test]
fn q9_what_the_first_device_gave_up_is_the_users_to_decide_on_the_second() {
    let mut store = Store::default();
    let mut first = device(FIRST, &store);
    let key = make(&mut first, &[create("box", 1, "")]);
    make(&mut first, &[create("box", 9, "")]);
    let (file, _) = first.export();
    first.engine.discard(first.now, key, false).unwrap();
    first.run();
    go_online(&mut first, &mut store);
    let mut second = device(SECOND, &store);
    second.import(&file).unwrap();
    go_online(&mut second, &mut store);
    assert!(!store.rows.contains_key(&row("box", 1)));
    let State::Parked { problem, .. } = &second.engine.outbox().get(key).unwrap().state else { panic!("it waits for the user") };
    assert_eq!(problem.code, "outcome_unknown");
}

#[test]
fn q9_work_in_memory_parked_work_and_what_cannot_be_read_are_exported() {
    let mut store = Store::default();
    let mut first = device(FIRST, &store);
    make(&mut first, &[create("box", 1, "")]);
    go_online(&mut first, &mut store);
    // Somebody else has taken the id.
    store.rows.insert(row("box", 2), store.rows[&row("box", 1)].clone());
    let parked = make(&mut first, &[create("box", 2, "")]);
    go_online(&mut first, &mut store);
    assert!(matches!(first.engine.outbox().get(parked).unwrap().state, State::Parked { .. }));
    let mut first = reload(&first, config(), FIRST, 2);
    let torn = SlotDisk { slot: 0, records: vec![damaged_record((FIRST, 9), "{\"made\":1,\"client\":\"torn")], high: Vec::new() };
    first.engine.handle_adopted(first.now, torn);
    first.run();
    first.hold_saves = true;
    let unsaved = make(&mut first, &[create("box", 3, "")]);
    fill_the_disk(&mut first);
    let (file, left_out) = first.export();
    assert_eq!(left_out, 0);
    assert_ne!(make(&mut first, &[update("box", 3, "\"add\":{\"n\":1}")]), unsaved, "in the file already");
    let mut second = device(SECOND, &store);
    assert_eq!(second.import(&file), Ok((2, 0, 1)));
    go_online(&mut second, &mut store);
    assert!(store.rows.contains_key(&row("box", 3)));
    assert!(matches!(second.engine.outbox().get(parked).unwrap().state, State::Parked { spent: true, .. }), "as it was");
}

#[test]
fn q9_another_tab_hands_over_what_it_could_still_alter() {
    let store = Store::default();
    let mut sender = device(FIRST, &store);
    let mut other = Tab::of_config(Config { slot: 1, client: SECOND, ..config() });
    other.open(Disk::default());
    other.engine.set_online(other.now, false);
    other.run();
    let broadcasts = |tab: &mut Tab| -> Vec<String> {
        let texts = std::mem::take(&mut tab.effects).into_iter();
        texts.filter_map(|effect| if let Effect::Broadcast(text) = effect { Some(text) } else { None }).collect()
    };
    let tell = |from: &mut Tab, to: &mut Tab| {
        for text in broadcasts(from) {
            to.engine.handle_peer(to.now, &text);
        }
        to.run();
    };
    make(&mut sender, &[create("box", 1, "")]);
    let key = make(&mut other, &[create("box", 2, "")]);
    tell(&mut other, &mut sender);
    tell(&mut sender, &mut other);
    assert!(!sender.engine.outbox().get(key).unwrap().frozen, "nobody has been offered it");
    let (file, left_out) = sender.export();
    assert_eq!((file.matches("edits").count(), left_out), (1, 1));
    tell(&mut sender, &mut other);
    tell(&mut other, &mut sender);
    let (file, left_out) = sender.export();
    assert_eq!((file.matches("edits").count(), left_out), (2, 0));
    other.now += 1_000;
    let later = make(&mut other, &[update("box", 2, "\"add\":{\"n\":1}")]);
    assert_ne!(later, key, "its maker folds nothing into it any more");
}

#[test]
fn q9_a_file_that_cannot_be_taken_changes_nothing() {
    let store = Store::default();
    let mut first = device(FIRST, &store);
    work(&mut first);
    let (file, _) = first.export();
    let newer = file.replace(r#"\"schema\":1"#, r#"\"schema\":9"#);
    assert_ne!(newer, file);
    for (text, code) in [(&file[1..], "invalid_file"), (&newer, "schema_newer")] {
        let mut second = device(SECOND, &store);
        assert_eq!(second.import(text), Err(code.to_string()));
        assert_eq!((second.engine.outbox().len(), second.imported.len()), (0, 0));
    }
    let mut full = Tab::of_config(Config { client: SECOND, outbox_txns: 3, ..config() }).lead(&store);
    assert_eq!(full.import(&file), Err("outbox_full".to_string()));
    assert_eq!(full.engine.outbox().len(), 0);
}

const OLD: &str =
    r#"{"name": "t", "version": 1, "tables": {"note": {"fields": {"title": {"type": "text", "default": ""}, "n": {"type": "counter"}}}}}"#;
const NEW: &str = r#"{"name": "t", "version": 2,
  "upgrades": [{"to": 2, "steps": [{"rename": {"table": "note", "from": "title", "to": "name"}}]}],
  "tables": {"note": {"fields": {"name": {"type": "text", "default": ""}, "n": {"type": "counter"}}}}}"#;

#[test]
fn q9_a_file_of_an_older_version_is_read_as_the_disk_is_and_sent_as_it_was() {
    for import_first in [true, false] {
        let (old, new) = (Schema::parse(OLD).unwrap(), Schema::parse(NEW).unwrap());
        let mut store = Store::default();
        let mut first = Tab::of(old).lead(&store);
        first.engine.set_online(first.now, false);
        first.run();
        let key = make(&mut first, &[create("note", 1, "\"title\":\"mine\",\"n\":1")]);
        let (file, _) = first.export();
        let mut second = Tab::of_config(Config { client: SECOND, ..config_for(new.clone()) }).lead(&store);
        second.engine.set_online(second.now, false);
        second.run();
        assert_eq!(second.import(&file), Ok((1, 0, 0)));
        let note = RowKey { table: new.table("note").unwrap(), id: RowId::parse(&id(1)).unwrap() };
        assert!(second.engine.replica().view().get(note).unwrap().values.contains(&Value::Text("mine".into())));
        // Both are loaded again. The first, which never sent it, writes it anew in the words of the new version.
        let mut second = reload(&second, config_for(new.clone()), SECOND, 2);
        let mut first = reload(&first, config_for(new.clone()), FIRST, 2);
        let body = |tab: &Tab| tab.engine.outbox().get(key).unwrap().body.clone();
        assert!(file.contains(&body(&second).replace('"', "\\\"")), "byte for byte: {}", body(&second));
        assert_ne!(body(&first), body(&second));
        let (one, two) = if import_first { (&mut second, &mut first) } else { (&mut first, &mut second) };
        go_online(one, &mut store);
        go_online(two, &mut store);
        assert!(store.rows[&note].values.contains(&Value::Int(1)), "once");
        assert!(!two.events.iter().any(|event| event.contains("rekeyed")), "under another key it would count twice");
        // The log tells that the key has taken effect.
        assert_done(&first);
        assert_done(&second);
    }
}

#[test]
fn q9_a_profile_put_back_to_an_older_state_takes_its_own_later_work_from_a_file() {
    let mut store = Store::default();
    let mut first = device(FIRST, &store);
    work(&mut first);
    let (file, _) = first.export();
    let mut restored = device(FIRST, &store);
    assert_eq!(restored.import(&file), Ok((4, 0, 0)));
    let key = make(&mut restored, &[create("card", 8, "")]);
    assert_ne!(key.0, FIRST, "its numbers are used, so it takes another id");
    go_online(&mut restored, &mut store);
    assert_once(&store);
    assert!(store.rows.contains_key(&row("card", 8)));
    assert_done(&restored);
}

#[test]
fn q9_discarded_work_comes_back_from_its_file() {
    for told in [false, true] {
        let mut store = Store::default();
        let mut tab = device(FIRST, &store);
        let key = make(&mut tab, &[create("box", 1, "\"n\":1")]);
        let (file, _) = tab.export();
        tab.engine.discard(tab.now, key, false).unwrap();
        tab.run();
        if told {
            make(&mut tab, &[create("box", 9, "")]);
            go_online(&mut tab, &mut store);
        }
        assert_eq!(tab.import(&file), Ok((1, 0, 0)));
        let mut tab = reload(&tab, config(), FIRST, 2);
        go_online(&mut tab, &mut store);
        if told {
            // The server knows only that the number is over.
            let State::Parked { problem, .. } = &tab.engine.outbox().get(key).unwrap().state else { panic!("it is the user's to decide") };
            assert_eq!(problem.code, "outcome_unknown");
            tab.engine.retry(tab.now, key).unwrap();
            go_online(&mut tab, &mut store);
        }
        assert_eq!(counter(&store, 1), Value::Int(1));
        assert_done(&tab);
    }
}

#[test]
fn q9_a_copy_of_a_profile_does_not_take_other_work_under_its_own_numbers_for_known() {
    let store = Store::default();
    let mut first = device(FIRST, &store);
    make(&mut first, &[create("box", 1, "")]);
    let (file, _) = first.export();
    let mut copy = device(FIRST, &store);
    make(&mut copy, &[create("box", 2, "")]);
    assert_eq!(copy.import(&file), Err("key_reused".to_string()));
    assert!(copy.imported.is_empty());
}

#[test]
fn q9_imported_work_waits_on_disk_through_a_reload() {
    let mut store = Store::default();
    let mut first = device(FIRST, &store);
    work(&mut first);
    let (file, _) = first.export();
    let mut second = device(SECOND, &store);
    second.import(&file).unwrap();
    assert_eq!(second.left().slots.iter().find(|slot| slot.slot == IMPORTED).unwrap().records.len(), 4);
    let mut second = reload(&second, config(), SECOND, 2);
    assert_eq!(second.engine.outbox().counts().queued, 4);
    go_online(&mut second, &mut store);
    assert_once(&store);
    assert_done(&second);
}

#[test]
fn q9_what_was_exported_before_it_was_saved_is_offered_once_it_is() {
    let mut tab = Tab::of_config(Config { slot: 1, client: SECOND, ..config() });
    tab.open(Disk::default());
    tab.hold_saves = true;
    let key = make(&mut tab, &[create("box", 1, "")]);
    fill_the_disk(&mut tab);
    assert_eq!(tab.export().0.matches("edits").count(), 1);
    tab.effects.clear();
    release(&mut tab);
    let mut sender = device(FIRST, &Store::default());
    for effect in &tab.effects {
        if let Effect::Broadcast(text) = effect {
            sender.engine.handle_peer(sender.now, text);
        }
    }
    assert!(sender.engine.outbox().get(key).is_some_and(|entry| entry.frozen), "its maker folds nothing into it any more");
}

#[test]
fn q9_a_file_changes_nothing_of_what_waits_here_under_the_same_number() {
    let store = Store::default();
    let mut copy = device(FIRST, &store);
    make(&mut copy, &[create("box", 2, "")]);
    // It is taken in a tab that has not heard yet of what waits.
    let admitted = device(SECOND, &store).engine.admit(&copy.export().0).unwrap();
    let admitted: Json = serde_json::from_str(&admitted).unwrap();
    let mut tab = device(FIRST, &store);
    let key = make(&mut tab, &[create("box", 1, "")]);
    tab.engine.handle_peer(tab.now, admitted["message"].as_str().unwrap());
    tab.run();
    let entry = tab.engine.outbox().get(key).unwrap();
    assert!(entry.slot == 0 && entry.body.contains(&id(1)), "{}", entry.body);
    assert!(tab.engine.replica().view().contains(row("box", 1)));
}

#[test]
fn q9_what_was_just_discarded_comes_back_from_its_file_at_once() {
    let mut store = Store::default();
    let mut tab = device(FIRST, &store);
    let key = make(&mut tab, &[create("box", 1, "\"n\":1")]);
    let (file, _) = tab.export();
    tab.hold_saves = true;
    tab.engine.discard(tab.now, key, false).unwrap();
    tab.run();
    assert_eq!(tab.held.len(), 1, "its record is being deleted");
    assert_eq!(tab.import(&file), Ok((1, 0, 0)));
    assert!(tab.engine.outbox().get(key).is_some_and(|entry| entry.slot == IMPORTED));
    tab.hold_saves = false;
    tab.disk.clear();
    let (slot, id) = tab.held.pop().unwrap();
    tab.engine.handle_saved(tab.now, slot, id);
    go_online(&mut tab, &mut store);
    assert_eq!(counter(&store, 1), Value::Int(1));
    assert_done(&tab);
}

#[test]
fn q9_what_a_file_brings_again_while_its_record_is_about_to_go_stays_on_disk() {
    let store = Store::default();
    let mut elsewhere = device(SECOND, &store);
    let keys = [1, 2].map(|n| make(&mut elsewhere, &[create("box", n, "")]));
    let (file, _) = elsewhere.export();
    // The delete of the first is under way, that of the second waits for it.
    for again in keys {
        let mut tab = device(FIRST, &store);
        assert_eq!(tab.import(&file), Ok((2, 0, 0)));
        tab.hold_slot = Some(IMPORTED);
        for key in keys {
            tab.engine.discard(tab.now, key, false).unwrap();
            tab.run();
        }
        assert_eq!((tab.held.len(), tab.engine.outbox().len()), (1, 0));
        assert_eq!(tab.import(&file), Err("in_flight".to_string()), "here one can wait; another tab does not know");
        import_beside(&mut tab, &file);
        // The disk may have come to it only after the file.
        tab.imported.remove(&keys[0]);
        tab.hold_slot = None;
        let (slot, id) = tab.held.pop().unwrap();
        tab.engine.handle_saved(tab.now, slot, id);
        tab.run();
        assert!(tab.engine.outbox().get(again).is_some() && tab.imported.contains_key(&again), "{:?}", tab.imported.keys());
    }
}

#[test]
fn q9_what_a_file_brings_again_after_a_server_was_set_back_is_not_dropped_as_answered() {
    let mut backup = Store::default();
    let mut tab = device(FIRST, &backup);
    let key = make(&mut tab, &[create("box", 1, "\"n\":1")]);
    let (file, _) = tab.export();
    go_online(&mut tab, &mut backup.clone());
    assert_done(&tab);
    assert!(tab.kept.meta.as_ref().unwrap().contains(&format!("\"answered\":[\"{:016x}:{}\"]", key.0, key.1)));
    assert_eq!(tab.import(&file), Ok((1, 0, 0)));
    let mut tab = reload(&tab, config(), FIRST, 2);
    assert!(tab.engine.outbox().get(key).is_some());
    tab.now += 60_000;
    tab.engine.set_online(tab.now, true);
    tab.engine.handle_tick(tab.now + 1_000);
    tab.run();
    let (request, body) = tab.pushes.pop().unwrap();
    let answer = backup.push(&tab.schema, &body).unwrap().replace("\"reload\":false", "\"reload\":true");
    tab.engine.handle_answer(tab.now, request, 200, None, &answer);
    go_online(&mut tab, &mut backup);
    assert_eq!(counter(&backup, 1), Value::Int(1));
    assert_done(&tab);
}

#[test]
fn q9_what_a_file_holds_is_settled_by_nothing_but_its_own_bytes() {
    let mut store = Store::default();
    let (mut first, mut second) = (device(FIRST, &store), device(SECOND, &store));
    let key = make(&mut first, &[create("box", 1, "")]);
    let (file, _) = first.export();
    // A copy of the first device has folded something else into the same.
    let body = &first.engine.outbox().get(key).unwrap().body;
    let folded = format!("{},{}]}}", body.strip_suffix("]}").unwrap(), create("card", 2, ""));
    store.push(&common::schema(), &common::push_text(None, "[]", &[(key.1, folded)])).unwrap();
    second.import(&file).unwrap();
    go_online(&mut second, &mut store);
    assert_eq!(second.engine.replica().rev, 1, "it has heard of that");
    let Some(State::Parked { problem, .. }) = second.engine.outbox().get(key).map(|entry| entry.state.clone()) else {
        panic!("it is the user's to decide")
    };
    assert_eq!(problem.code, "outcome_unknown");
}

/// What is imported elsewhere, by a tab that has heard of nothing, reaches the disk and this tab.
fn import_beside(tab: &mut Tab, file: &str) {
    let admitted = device(SECOND, &Store::default()).engine.admit(file).unwrap();
    let admitted: Json = serde_json::from_str(&admitted).unwrap();
    for put in admitted["puts"].as_array().unwrap() {
        let key = driftline_core::engine::parse_key(put[0].as_str().unwrap()).unwrap();
        tab.imported.insert(key, put[1].as_str().unwrap().to_string());
    }
    tab.engine.handle_peer(tab.now, admitted["message"].as_str().unwrap());
    tab.run();
    let mut slots = tab.left().slots;
    tab.engine.handle_adopted(tab.now, slots.remove(1));
    tab.run();
}

/// Nothing can be saved, and the tab knows.
fn fill_the_disk(tab: &mut Tab) {
    tab.hold_saves = true;
    for (slot, id) in std::mem::take(&mut tab.held) {
        tab.engine.handle_save_failed(tab.now, slot, id, "storage_full");
    }
    tab.run();
}

/// What could not be saved reaches the disk.
fn release(tab: &mut Tab) {
    tab.hold_saves = false;
    tab.now += 60_000;
    tab.engine.handle_tick(tab.now);
    tab.run();
    let entries = tab.engine.outbox().iter().filter(|entry| entry.slot != IMPORTED);
    tab.disk.extend(entries.map(|entry| (entry.made.key, entry.to_record(&tab.schema))));
    for (slot, id) in std::mem::take(&mut tab.held) {
        tab.engine.handle_saved(tab.now, slot, id);
    }
    tab.run();
}

#[test]
fn q9_what_came_back_in_its_file_before_it_was_saved_leaves_no_record_behind() {
    for reloaded in [false, true] {
        let mut store = Store::default();
        let mut tab = device(FIRST, &store);
        tab.hold_saves = true;
        let key = make(&mut tab, &[create("box", 1, "\"n\":1")]);
        fill_the_disk(&mut tab);
        let (file, _) = tab.export();
        import_beside(&mut tab, &file);
        release(&mut tab);
        assert!(tab.disk.contains_key(&key) && tab.imported.contains_key(&key));
        if reloaded {
            tab = reload(&tab, config(), FIRST, 2);
        }
        go_online(&mut tab, &mut store);
        assert_eq!(counter(&store, 1), Value::Int(1));
        assert_done(&tab);
    }
}

#[test]
fn q9_what_another_tab_tells_of_an_imported_record_does_not_take_it_from_its_own_tab() {
    let mut store = Store::default();
    let mut tab = Tab::of_config(Config { slot: 1, client: SECOND, ..config() });
    tab.open(Disk::default());
    tab.hold_saves = true;
    let key = make(&mut tab, &[create("box", 1, "\"n\":1")]);
    fill_the_disk(&mut tab);
    let (file, _) = tab.export();
    let mut sender = device(FIRST, &store);
    assert_eq!(sender.import(&file), Ok((1, 0, 0)));
    // It leads anew, and tells what it finds on disk.
    let mut sender = reload(&sender, config(), FIRST, 2);
    let tell = |from: &mut Tab, to: &mut Tab| {
        for effect in std::mem::take(&mut from.effects) {
            if let Effect::Broadcast(text) = effect {
                to.engine.handle_peer(to.now, &text);
            }
        }
        to.run();
    };
    tell(&mut sender, &mut tab);
    let own = tab.engine.outbox().get(key).unwrap();
    assert_eq!((own.slot, own.saved), (1, false));
    tab.effects.clear();
    release(&mut tab);
    sender.disk.extend(tab.disk.clone());
    tell(&mut tab, &mut sender);
    assert_eq!(sender.engine.outbox().get(key).map(|entry| entry.slot), Some(1));
    go_online(&mut sender, &mut store);
    assert_eq!(counter(&store, 1), Value::Int(1));
    assert_done(&sender);
}

/// What a tab has sent alone is refused, and its user tries again. Returns the key that it waits under from then on.
fn refused_and_retried(tab: &mut Tab, key: Key) -> Key {
    tab.engine.set_online(tab.now, true);
    tab.now += 1_000;
    tab.engine.handle_tick(tab.now);
    tab.run();
    let (request, _) = tab.pushes.pop().unwrap();
    let outcome = json!({"key": [0, key.1], "outcome": "refused", "problem": {"code": "not_allowed", "detail": ""}});
    let head = "\"schema\":1,\"rev\":0,\"more\":false,\"reload\":false,\"clients\":[]";
    tab.engine.handle_answer(tab.now, request, 200, None, &format!("{{{head},\"outcomes\":[{outcome}],\"changes\":[]}}"));
    tab.engine.set_online(tab.now, false);
    tab.run();
    tab.engine.retry(tab.now, key).unwrap();
    tab.run();
    let keys: Vec<Key> = tab.engine.outbox().iter().map(|entry| entry.made.key).collect();
    assert!(keys.len() == 1 && keys[0] != key);
    keys[0]
}

#[test]
fn q9_what_was_decided_about_here_is_not_taken_in_again_from_its_file() {
    let mut store = Store::default();
    let mut tab = device(FIRST, &store);
    let key = make(&mut tab, &[create("box", 1, "\"n\":1")]);
    let (file, _) = tab.export();
    let retry = refused_and_retried(&mut tab, key);
    assert_eq!(tab.import(&file), Ok((0, 1, 0)), "it is known");
    // A tab that has not heard of the decision takes it in.
    import_beside(&mut tab, &file);
    assert!(tab.engine.outbox().len() == 1 && tab.engine.outbox().get(retry).is_some());
    assert!(tab.imported.is_empty() && tab.disk.keys().eq([&retry]), "what stands for it is on disk");
    go_online(&mut tab, &mut store);
    assert_eq!(counter(&store, 1), Value::Int(1));
    assert_done(&tab);
}

#[test]
fn q9_a_retry_takes_with_it_what_it_stands_for_in_both_its_places() {
    let mut store = Store::default();
    let mut tab = device(FIRST, &store);
    tab.hold_saves = true;
    let key = make(&mut tab, &[create("box", 1, "\"n\":1")]);
    fill_the_disk(&mut tab);
    let (file, _) = tab.export();
    import_beside(&mut tab, &file);
    release(&mut tab);
    assert!(tab.disk.contains_key(&key) && tab.imported.contains_key(&key));
    let retry = refused_and_retried(&mut tab, key);
    assert!(tab.disk.keys().eq([&retry]) && tab.imported.is_empty());
    go_online(&mut tab, &mut store);
    assert_eq!(counter(&store, 1), Value::Int(1));
    assert_done(&tab);
}

#[test]
fn q9_a_file_has_nothing_that_is_still_being_saved_unless_it_cannot_be() {
    let mut tab = device(FIRST, &Store::default());
    tab.hold_saves = true;
    make(&mut tab, &[create("box", 1, "\"n\":1")]);
    assert_eq!(tab.export(), ("[]".to_string(), 1));
    fill_the_disk(&mut tab);
    let (file, left_out) = tab.export();
    assert!(file.contains(&id(1)) && left_out == 0);
}

#[test]
fn d6_a_tab_that_makes_before_it_has_read_meets_no_number_that_a_file_has_brought() {
    let mut store = Store::default();
    let mut first = Tab::of_config(Config { client: 0xcc, ..config() });
    first.open(Disk::default());
    make(&mut first, &[create("box", 1, "")]);
    let later = make(&mut first, &[create("box", 2, "")]);
    let file = first.export().0;
    let mut second = Tab::new().lead(&store);
    second.engine.set_online(second.now, false);
    second.import(&file).unwrap();
    // A copy of the first one's profile: the slot's client id is the same, and has not been used here.
    let imported = second.imported.keys().copied().collect();
    let mut tab = Tab::of_config(Config { client: 0xcc, imported, ..config() });
    tab.imported = second.imported.clone();
    let key = make(&mut tab, &[create("box", 8, "")]);
    tab.open(second.left());
    assert!(key.0 != later.0 && tab.engine.replica().view().len() == 3, "{key:?}");
    tab.engine.handle_lead(tab.now, 2, None, second.left().slots);
    tab.run();
    go_online(&mut tab, &mut store);
    assert_eq!((tab.engine.outbox().len(), store.rows.len()), (0, 3));
}
