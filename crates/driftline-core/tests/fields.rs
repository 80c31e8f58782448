//! Texts, sets and positions, through the engine and the server's decision: what people do at the same time is all there.

mod common;

use common::{Store, Tab, body, check, config_for, create, delete, id, push_text, update};
use driftline_core::edit::{Edit, Merge, Values};
use driftline_core::engine::{Config, Disk, Engine};
use driftline_core::field::{text_of, texts};
use driftline_core::integrity::{Judge, apply};
use driftline_core::json::Json;
use driftline_core::merge::Stamp;
use driftline_core::outbox::State;
use driftline_core::rows::Rows;
use driftline_core::schema::Schema;
use driftline_core::value::{RowId, RowKey, Value, write_string};
use proptest::collection::vec;
use proptest::prelude::any;
use std::collections::BTreeSet;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const SCHEMA: &str = r#"{"name": "t", "version": 1, "tables": {
  "note": {"edits_to_deleted": "park", "fields": {"body": {"type": "text", "default": "", "merge": "three_way", "max_chars": 200},
    "about": {"type": "text", "nullable": true, "merge": "three_way"}, "labels": {"type": "set"},
    "at": {"type": "position", "nullable": true}, "x": {"type": "real", "default": 0}}}}}"#;

fn schema() -> Schema {
    Schema::parse(SCHEMA).unwrap()
}

fn json_of(text: &str) -> String {
    let mut out = String::new();
    write_string(text, &mut out);
    out
}

fn list(texts: &[&str]) -> String {
    format!("[{}]", texts.iter().map(|text| json_of(text)).collect::<Vec<_>>().join(","))
}

fn text(column: &str, from: &str, to: &str) -> String {
    update("note", 1, &format!("\"text\":{{\"{column}\":{}}}", list(&[from, to])))
}

fn labels(insert: &[&str], remove: &[&str]) -> String {
    update("note", 1, &format!("\"insert\":{{\"labels\":{}}},\"remove\":{{\"labels\":{}}}", list(insert), list(remove)))
}

/// A store with one note.
fn store(set: &str) -> Store {
    let mut store = Store::default();
    send(&mut store, 1, 1, 1_000, &create("note", 1, set));
    store
}

/// One transaction of a client, made at a time. Returns the outcome.
fn send(store: &mut Store, client: u64, seq: u64, at: u64, edit: &str) -> String {
    let push = push_text(None, "[]", &[(seq, body(at, edit))]).replace("00000000000000aa", &format!("{client:016x}"));
    let answer = store.push(&schema(), &push).unwrap();
    let answer = Json::parse(&answer).unwrap();
    let outcome = &answer.list("outcomes")[0];
    let code = outcome.get("problem").and_then(|problem| problem.text("code")).unwrap_or("");
    format!("{} {code}", outcome.text("outcome").unwrap())
}

fn key() -> RowKey {
    RowKey { table: 0, id: RowId::parse(&id(1)).unwrap() }
}

fn held(store: &Store, column: &str) -> Value {
    store.rows[&key()].values[schema().tables[0].column(column).unwrap() as usize].clone()
}

fn seen(tab: &Tab, column: &str) -> Value {
    tab.engine.replica().view().get(key()).unwrap().values[schema().tables[0].column(column).unwrap() as usize].clone()
}

fn tab(store: &Store) -> Tab {
    Tab::of(schema()).lead(store)
}

/// Another person's.
fn second(store: &Store) -> Tab {
    Tab { engine: Engine::new(Config { client: 0xbb, ..config_for(schema()) }), ..Tab::of(schema()) }.lead(store)
}

fn make(tab: &mut Tab, edit: &str) {
    tab.make(edit).unwrap();
    tab.run();
}

fn settle(tab: &mut Tab, store: &mut Store) {
    tab.sync(store);
    assert_eq!(tab.engine.outbox().len(), 0, "{:?}", tab.events);
    assert!(!tab.events.iter().any(|event| event.contains("digest_differs")), "{:?}", tab.events);
    assert_eq!(tab.engine.replica().digest, store.space.digest);
    assert_eq!(tab.engine.replica().view().get(key()).unwrap().values, store.rows[&key()].values);
}

// ---- what may be asked ----

#[test]
fn i7_what_merges_is_not_set_and_what_is_set_does_not_merge() {
    let mut tab = tab(&store(""));
    let mut refused = |edit: String| {
        let problem = tab.engine.transact(1, &format!("{{\"edits\":[{edit}]}}")).unwrap_err();
        assert_eq!((problem.code.as_str(), tab.engine.outbox().len()), ("invalid", 0));
        problem.detail
    };
    let update = |rest: &str| update("note", 1, rest);
    assert!(refused(update("\"set\":{\"body\":\"x\"}")).contains("takes `text` with what it was and what it is to be"));
    assert!(refused(update("\"set\":{\"labels\":[]}")).contains("takes `insert` and `remove`"));
    assert!(refused(update("\"text\":{\"labels\":[\"a\",\"b\"]}")).contains("not a text that is merged"));
    assert!(refused(update("\"text\":{\"body\":\"x\"}")).contains("a list of two"));
    assert!(refused(update("\"text\":{\"body\":[\"x\",null]}")).contains("must not be null"));
    assert!(refused(text("body", "", &"x".repeat(201))).contains("at most 200 characters"));
    assert!(refused(update("\"insert\":{\"body\":[\"a\"]}")).contains("not a set"));
    assert!(refused(update("\"insert\":{\"body_conflict\":[\"a\"]}")).contains("not a set"));
    assert!(refused(labels(&["a", "b"], &["b"])).contains("both"));
    assert!(refused(labels(&[&"x".repeat(201)], &[])).contains("at most 200 characters"));
    assert!(refused(update("\"add\":{\"body\":1}")).contains("not a counter"));
    assert!(refused(create("note", 2, "\"labels\":\"a\"")).contains("a list of texts"));
    assert!(refused(create("note", 2, "").replace("\"set\":{}", "\"insert\":{\"labels\":[\"a\"]}")).contains("only an update"));
    assert!(refused(delete("note", 1).replace('}', ",\"remove\":{\"labels\":[\"a\"]}}")).contains("only an update"));
}

#[test]
fn i7_positions_have_one_form_that_sorts() {
    let mut tab = tab(&store(""));
    for good in ["1", "V", "a0z", "0001", &"z".repeat(200)] {
        make(&mut tab, &update("note", 1, &format!("\"set\":{{\"at\":\"{good}\"}}")));
        assert_eq!(seen(&tab, "at"), Value::Text(good.to_string()));
    }
    for bad in ["", "0", "a0", "a b", "ä", "a-", &"z".repeat(201)] {
        assert_eq!(tab.make(&update("note", 1, &format!("\"set\":{{\"at\":\"{bad}\"}}"))), Err("invalid".to_string()), "{bad}");
    }
}

#[test]
fn i7_a_merged_text_brings_a_field_for_what_lost() {
    let error = |fields: &str| {
        let text = format!("{{\"name\":\"s\",\"version\":1,\"tables\":{{\"a\":{{\"fields\":{{{fields}}}}}}}}}");
        Schema::parse(&text).map(|schema| schema.tables[0].columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>().join(" "))
    };
    let merged = "{\"type\":\"text\",\"default\":\"\",\"merge\":\"three_way\"}";
    assert_eq!(error(&format!("\"a\":{merged},\"a_b\":{merged},\"b\":{merged}")).unwrap(), "a a_b a_b_conflict a_conflict b b_conflict");
    let taken = error(&format!("\"a\":{merged},\"a_conflict\":{{\"type\":\"json\",\"nullable\":true}}")).unwrap_err().to_string();
    assert!(taken.contains("field `a_conflict`") && taken.contains("comes with a text"), "{taken}");
    assert!(error(&format!("\"{}\":{merged}", "a".repeat(55))).unwrap_err().to_string().contains("54 characters"));
    assert!(error("\"a\":{\"type\":\"text\",\"merge\":\"four_way\"}").unwrap_err().to_string().contains("three_way"));
    assert!(error("\"a\":{\"type\":\"int\",\"merge\":\"three_way\"}").unwrap_err().to_string().contains("only a text"));
    assert!(error("\"a\":{\"type\":\"set\",\"nullable\":true}").unwrap_err().to_string().contains("begins empty"));
    // What lost stands beside its own text, wherever the names sort.
    let schema = Schema::parse(&SCHEMA.replace("\"x\"", "\"body_a\"")).unwrap();
    let columns = &schema.tables[0].columns;
    for column in columns {
        if let driftline_core::schema::Kind::Text { conflicts: Some(at), .. } = column.kind {
            assert_eq!(columns[at as usize].name, format!("{}_conflict", column.name));
        }
    }
}

#[test]
fn i7_edits_read_back_as_written() {
    let schema = schema();
    let edits = [
        text("body", "a\nb", "ü \"c\""),
        update(
            "note",
            1,
            "\"text\":{\"about\":[null,\"x\"],\"body\":[\"\",\"y\"]},\"remove\":{\"labels\":[\"b\"],\"about_conflict\":[\"lost\"]}",
        ),
        labels(&["z", "a", "a"], &["b"]),
    ];
    for text in edits {
        let edit = Edit::read(&schema, &Json::parse(&text).unwrap(), Values::Asked).unwrap();
        let mut written = String::new();
        edit.write_json(&schema, &mut written);
        assert_eq!(Edit::read(&schema, &Json::parse(&written).unwrap(), Values::Asked).unwrap(), edit, "{written}");
        assert!(edit.add.iter().all(|(_, merge)| !matches!(merge, Merge::Add(_))));
    }
}

// ---- texts ----

#[test]
fn i7_texts_changed_apart_are_merged_and_both_clients_hold_the_same() {
    let mut store = store("\"body\":\"one\\n\\ntwo\\n\\nthree\"");
    let (mut alice, mut bob) = (tab(&store), second(&store));
    make(&mut alice, &text("body", "one\n\ntwo\n\nthree", "ONE\n\ntwo\n\nthree"));
    make(&mut bob, &text("body", "one\n\ntwo\n\nthree", "one\n\ntwo\n\nthree\n\nfour"));
    settle(&mut alice, &mut store);
    settle(&mut bob, &mut store);
    let both = Value::Text("ONE\n\ntwo\n\nthree\n\nfour".into());
    assert_eq!((held(&store, "body"), held(&store, "body_conflict")), (both, Value::Null));
    make(&mut alice, &update("note", 1, "\"set\":{\"x\":1}"));
    settle(&mut alice, &mut store);
}

#[test]
fn i7_of_texts_that_overlap_the_last_stands_and_the_other_beside_it() {
    for alice_is_last in [true, false] {
        let mut store = store("\"body\":\"a\"");
        let (mut alice, mut bob) = (tab(&store), second(&store));
        (alice.now, bob.now) = if alice_is_last { (900_000, 500_000) } else { (500_000, 900_000) };
        make(&mut alice, &text("body", "a", "alice"));
        make(&mut bob, &text("body", "a", "bob"));
        settle(&mut alice, &mut store);
        settle(&mut bob, &mut store);
        let (last, lost) = if alice_is_last { ("alice", "[\"bob\"]") } else { ("bob", "[\"alice\"]") };
        assert_eq!(held(&store, "body"), Value::Text(last.into()));
        assert_eq!(held(&store, "body_conflict"), Value::Json(lost.into()));
        // It is settled by whoever sees it, and what they have not seen stays.
        let other = lost.replace("[\"", "").replace("\"]", "");
        let settled = format!("\"text\":{{\"body\":{}}},\"remove\":{{\"body_conflict\":{lost}}}", list(&[last, "both"]));
        make(&mut bob, &update("note", 1, &settled));
        send(&mut store, 9, 1, 600_000, &text("body", "a", &format!("{other}, unseen")));
        settle(&mut bob, &mut store);
        let kept: Vec<String> =
            [text_of(&held(&store, "body")).to_string()].into_iter().chain(texts(&held(&store, "body_conflict"))).collect();
        assert!(kept.contains(&"both".to_string()) && kept.contains(&format!("{other}, unseen")), "{kept:?}");
        assert!(!kept.contains(&other), "{kept:?}");
        make(&mut bob, &update("note", 1, "\"set\":{\"body_conflict\":null}"));
        settle(&mut bob, &mut store);
        assert_eq!(held(&store, "body_conflict"), Value::Null);
    }
}

#[test]
fn i7_what_waits_is_shown_merged_with_what_arrives() {
    let mut store = store("\"body\":\"a\\nb\\nc\"");
    let mut tab = tab(&store);
    tab.sync(&mut store);
    send(&mut store, 9, 1, 5_000, &text("body", "a\nb\nc", "A\nb\nc"));
    make(&mut tab, &text("body", "a\nb\nc", "a\nb\nC"));
    // Saved on the server, and the answer brings what the other did; a second edit goes on from the first meanwhile.
    let first = loop {
        tab.now += 1_000;
        tab.engine.handle_tick(tab.now);
        tab.run();
        if let Some(push) = tab.pushes.pop() {
            break push;
        }
    };
    make(&mut tab, &text("body", "a\nb\nC", "a\nb\nC\nd"));
    assert_eq!(tab.engine.outbox().len(), 2, "what is in flight is never altered");
    let answer = store.push(&tab.schema, &first.1).unwrap();
    tab.engine.handle_answer(tab.now, first.0, 200, None, &answer);
    tab.run();
    assert_eq!(seen(&tab, "body"), Value::Text("A\nb\nC\nd".into()));
    settle(&mut tab, &mut store);
    assert_eq!(held(&store, "body"), Value::Text("A\nb\nC\nd".into()));
}

#[test]
fn v2_texts_that_could_not_be_merged_are_not_folded() {
    let mut store = store("\"body\":\"a\"");
    let mut tab = tab(&store);
    tab.sync(&mut store);
    make(&mut tab, &update("note", 1, "\"set\":{\"x\":1}"));
    let first = loop {
        tab.now += 1_000;
        tab.engine.handle_tick(tab.now);
        tab.run();
        if let Some(push) = tab.pushes.pop() {
            break push;
        }
    };
    make(&mut tab, &text("body", "a", "mine"));
    send(&mut store, 9, 1, 1_001, &text("body", "a", "theirs"));
    let answer = store.push(&tab.schema, &first.1).unwrap();
    tab.engine.handle_answer(tab.now, first.0, 200, None, &answer);
    // What is seen now is not what the two edits would come to as one: that would be none, and show what the other wrote.
    tab.make(&text("body", "mine", "a")).unwrap();
    assert_eq!(seen(&tab, "body"), Value::Text("a".into()));
    assert_eq!(tab.engine.outbox().len(), 2);
    tab.run();
    settle(&mut tab, &mut store);
    assert_eq!((held(&store, "body"), held(&store, "body_conflict")), (Value::Text("a".into()), Value::Json("[\"theirs\"]".into())));
}

#[test]
fn i7_a_text_that_would_grow_too_long_is_not_merged() {
    let mut store = store("\"body\":\"a\\nb\\nc\"");
    let long = |c: &str| c.repeat(150);
    send(&mut store, 8, 1, 2_000, &text("body", "a\nb\nc", &format!("{}\nb\nc", long("1"))));
    send(&mut store, 9, 1, 3_000, &text("body", "a\nb\nc", &format!("a\nb\n{}", long("2"))));
    assert_eq!(held(&store, "body"), Value::Text(format!("a\nb\n{}", long("2"))));
    assert_eq!(texts(&held(&store, "body_conflict")), [format!("{}\nb\nc", long("1"))]);
}

#[test]
fn i7_a_text_that_is_null_counts_as_empty() {
    let about = |from: &str, to: &str| update("note", 1, &format!("\"text\":{{\"about\":[{from},{to}]}}"));
    let mut store = store("");
    send(&mut store, 8, 1, 2_000, &about("null", "\"a\\nb\\nc\""));
    assert_eq!(held(&store, "about"), Value::Text("a\nb\nc".into()));
    send(&mut store, 8, 2, 2_001, &about("\"\"", "\"a\\nb\\nc\""));
    assert_eq!((held(&store, "about"), held(&store, "about_conflict")), (Value::Text("a\nb\nc".into()), Value::Null));
    send(&mut store, 8, 3, 2_002, &about("\"a\\nb\\nc\"", "null"));
    assert_eq!(held(&store, "about"), Value::Null);
    // Someone types into what was taken away: one of them is there, and nothing empty is kept.
    send(&mut store, 9, 1, 2_001, &about("\"a\\nb\\nc\"", "\"a\\nb\\nC\""));
    assert_eq!((held(&store, "about"), texts(&held(&store, "about_conflict"))), (Value::Null, vec!["a\nb\nC".to_string()]));
    // What changes nothing is nobody's last word.
    send(&mut store, 7, 1, 9_000, &about("\"a\"", "\"a\""));
    send(&mut store, 9, 2, 3_000, &about("\"a\\nb\\nc\"", "\"x\""));
    assert_eq!((held(&store, "about"), texts(&held(&store, "about_conflict")).len()), (Value::Text("x".into()), 1));
}

#[test]
fn i7_whether_a_text_is_null_or_empty_does_not_depend_on_the_order_of_arrival() {
    let about = |from: &str, to: &str| update("note", 1, &format!("\"text\":{{\"about\":[{from},{to}]}}"));
    for order in [[2_000, 3_000], [3_000, 2_000]] {
        let mut store = store("\"about\":\"x\"");
        for at in order {
            send(&mut store, at, 1, at, &about("\"x\"", if at == 2_000 { "null" } else { "\"\"" }));
        }
        assert_eq!(held(&store, "about"), Value::Text(String::new()));
    }
}

#[test]
fn i7_what_is_kept_has_a_limit_in_bytes_but_one_text_always_fits() {
    let about = |letter: &str| text("about", "", &letter.repeat(65_536));
    let mut store = store("\"about\":\"\"");
    for (n, letter) in ["\u{1F600}", "\u{1F601}"].into_iter().enumerate() {
        assert_eq!(send(&mut store, 9, n as u64 + 1, 2_000 + n as u64, &about(letter)), "applied ");
    }
    assert_eq!(texts(&held(&store, "about_conflict")).len(), 1);
    assert_eq!(send(&mut store, 9, 3, 1_999, &about("\u{20AC}")), "refused conflicts_full");
}

#[test]
fn i7_more_texts_than_can_be_kept_are_refused_and_stay_where_they_were_made() {
    let mut store = store("\"body\":\"a\"");
    for n in 0..21 {
        assert_eq!(send(&mut store, 9, n + 1, 2_000 + n, &text("body", "a", &format!("text {n}"))), "applied ");
    }
    let mut tab = tab(&store);
    // Offline since the beginning, as it were.
    let full = tab.make(&text("body", "a", "late"));
    assert_eq!(full, Err("conflicts_full".into()));
    assert_eq!(send(&mut store, 9, 30, 3_000, &text("body", "a", "late")), "refused conflicts_full");
    assert_eq!((held(&store, "body"), texts(&held(&store, "body_conflict")).len()), (Value::Text("text 20".into()), 20));
}

#[test]
fn i7_a_refused_text_is_parked_with_its_words_and_can_be_sent_again() {
    let mut store = store("\"body\":\"a\"");
    let mut tab = tab(&store);
    tab.engine.set_online(tab.now, false);
    make(&mut tab, &text("body", "a", "mine"));
    for n in 0..21 {
        send(&mut store, 9, n + 1, 2_000 + n, &text("body", "a", &format!("text {n}")));
    }
    tab.engine.set_online(tab.now, true);
    tab.sync(&mut store);
    let parked = tab.engine.outbox().iter().next().unwrap();
    assert!(matches!(&parked.state, State::Parked { problem, .. } if problem.code == "conflicts_full"));
    let key = parked.made.key;
    assert_eq!(seen(&tab, "body"), Value::Text("mine".into()), "it is still shown");
    send(&mut store, 9, 40, 9_000, &update("note", 1, "\"set\":{\"body_conflict\":null}"));
    tab.engine.retry(tab.now, key).unwrap();
    tab.run();
    settle(&mut tab, &mut store);
    let kept: Vec<String> = [text_of(&held(&store, "body")).to_string()].into_iter().chain(texts(&held(&store, "body_conflict"))).collect();
    assert!(kept.contains(&"mine".to_string()), "{kept:?}");
}

#[test]
fn q5_typing_folds_into_one_update_from_the_first_text_to_the_last() {
    let mut store = store("\"body\":\"a\"");
    let mut tab = tab(&store);
    tab.engine.set_online(tab.now, false);
    for (from, to) in [("a", "ab"), ("ab", "abc"), ("abc", "abcd")] {
        make(&mut tab, &text("body", from, to));
    }
    make(&mut tab, &labels(&["x", "y"], &["z"]));
    make(&mut tab, &labels(&["z"], &["y"]));
    assert_eq!(tab.engine.outbox().len(), 1);
    let body = tab.engine.outbox().iter().next().unwrap().body.clone();
    assert!(
        body.contains("\"text\":{\"body\":[\"a\",\"abcd\"]},\"insert\":{\"labels\":[\"x\",\"z\"]},\"remove\":{\"labels\":[\"y\"]}"),
        "{body}"
    );
    tab.engine.set_online(tab.now, true);
    settle(&mut tab, &mut store);
    assert_eq!((held(&store, "body"), held(&store, "labels")), (Value::Text("abcd".into()), Value::Json("[\"x\",\"z\"]".into())));
}

#[test]
fn q5_what_is_typed_into_a_new_row_folds_into_its_creation() {
    let mut store = Store::default();
    let mut tab = tab(&store);
    tab.engine.set_online(tab.now, false);
    make(&mut tab, &create("note", 1, "\"labels\":[\"b\",\"a\"]"));
    make(&mut tab, &text("body", "", "x"));
    make(&mut tab, &labels(&["c"], &["a"]));
    make(&mut tab, &update("note", 1, "\"remove\":{\"body_conflict\":[\"nothing\"]}"));
    assert_eq!(tab.engine.outbox().len(), 1);
    tab.engine.set_online(tab.now, true);
    settle(&mut tab, &mut store);
    assert_eq!((held(&store, "body"), held(&store, "labels")), (Value::Text("x".into()), Value::Json("[\"b\",\"c\"]".into())));
    assert_eq!(held(&store, "body_conflict"), Value::Null);
}

#[test]
fn q6_a_text_that_does_not_go_on_from_a_creation_does_not_fold_into_it() {
    let mut store = Store::default();
    let mut tab = tab(&store);
    tab.engine.set_online(tab.now, false);
    make(&mut tab, &create("note", 1, "\"body\":\"a\\nb\\nc\\nd\""));
    make(&mut tab, &text("body", "a\nb\nc", "A\nb\nc"));
    tab.engine.set_online(tab.now, true);
    settle(&mut tab, &mut store);
    assert_eq!(held(&store, "body"), Value::Text("A\nb\nc\nd".into()));
}

#[test]
fn q6_an_edit_that_saw_another_s_change_does_not_fold_into_one_that_did_not() {
    let mut store = store("\"body\":\"a\\nb\\nc\"");
    let mut tab = tab(&store);
    tab.sync(&mut store);
    tab.engine.set_online(tab.now, false);
    make(&mut tab, &text("body", "a\nb\nc", "a\nb\nC"));
    send(&mut store, 9, 1, 1, &text("body", "a\nb\nc", "A\nb\nc"));
    // The other's change has been seen, and the next edit changes it: that is no conflict.
    make(&mut tab, &text("body", "A\nb\nC", "AA\nb\nC"));
    assert_eq!(tab.engine.outbox().len(), 2);
    tab.engine.set_online(tab.now, true);
    settle(&mut tab, &mut store);
    assert_eq!((held(&store, "body"), held(&store, "body_conflict")), (Value::Text("AA\nb\nC".into()), Value::Null));
}

/// What the base and all that waits come to, made anew.
fn made_anew(tab: &Tab) -> Vec<Value> {
    let mut rows = Rows::default();
    for (key, row) in tab.engine.replica().base() {
        rows.put(key, Some(row.clone()));
    }
    for entry in tab.engine.outbox().iter() {
        let steps: Vec<_> = entry.edits.iter().map(|edit| (0, edit)).collect();
        let _ = apply(&tab.schema, &mut rows, Judge::View, &[Stamp::default()], &steps);
    }
    rows.get(key()).unwrap().values.clone()
}

/// Two tabs of one device.
fn two_tabs() -> [Tab; 2] {
    [0, 1].map(|slot| {
        let mut tab = Tab::of_config(Config { slot, client: 0xaa + u64::from(slot), ..config_for(schema()) });
        tab.open(Disk::default());
        tab
    })
}

fn tell(from: &mut Tab, to: &mut Tab) {
    for text in from.told() {
        to.engine.handle_peer(to.now, &text);
    }
    to.run();
}

#[test]
fn q6_the_undo_of_a_text_that_met_another_in_a_new_row_does_not_fold_into_it() {
    let [mut tab, mut other] = two_tabs();
    make(&mut tab, &create("note", 1, "\"body\":\"a\""));
    // Nothing folds into this any more.
    tab.export();
    tell(&mut tab, &mut other);
    other.now += 1_000;
    make(&mut other, &text("body", "a", "theirs"));
    tab.now += 2_000;
    make(&mut tab, &text("body", "a", "mine"));
    tell(&mut other, &mut tab);
    assert_eq!((seen(&tab, "body"), texts(&seen(&tab, "body_conflict"))), (Value::Text("mine".into()), vec!["theirs".to_string()]));
    tab.engine.undo(tab.now).unwrap();
    tab.run();
    assert_eq!((seen(&tab, "body"), texts(&seen(&tab, "body_conflict"))), (Value::Text("a".into()), vec!["theirs".to_string()]));
    assert_eq!(tab.engine.replica().view().get(key()).unwrap().values, made_anew(&tab));
}

#[test]
fn q6_a_text_that_met_the_same_change_of_another_tab_is_not_folded() {
    let [mut tab, mut other] = two_tabs();
    make(&mut tab, &create("note", 1, "\"about\":\"a\""));
    tab.export();
    tell(&mut tab, &mut other);
    other.now += 1_000;
    make(&mut other, &text("about", "a", "b"));
    tell(&mut other, &mut tab);
    tab.now += 2_000;
    make(&mut tab, &text("about", "b", "c"));
    // The other tab has not heard of this, nor offered what it made.
    make(&mut other, &text("about", "b", "c"));
    tell(&mut other, &mut tab);
    make(&mut tab, &update("note", 1, "\"text\":{\"about\":[\"c\",null]}"));
    assert_eq!(tab.engine.outbox().len(), 4);
    assert_eq!((seen(&tab, "about"), seen(&tab, "about_conflict")), (Value::Null, Value::Null));
    assert_eq!(tab.engine.replica().view().get(key()).unwrap().values, made_anew(&tab));
}

#[test]
fn q5_typing_goes_on_folding_where_an_earlier_edit_met_another_s_change() {
    let mut store = store("\"body\":\"a\\nb\\nc\"");
    let mut tab = tab(&store);
    tab.sync(&mut store);
    make(&mut tab, &text("body", "a\nb\nc", "a\nb\nC"));
    tab.export();
    send(&mut store, 9, 1, 1, &text("body", "a\nb\nc", "A\nb\nc"));
    tab.engine.handle_live_open(tab.now);
    let (rev, theirs) = (store.space.rev, &store.log.last().unwrap().3);
    let parts = format!("[{{\"actor\":2,\"changes\":{theirs}}}]");
    tab.engine.handle_live_message(tab.now, &format!("{{\"schema\":1,\"changes\":[{{\"rev\":{rev},\"parts\":{parts}}}]}}"));
    tab.run();
    assert_eq!(seen(&tab, "body"), Value::Text("A\nb\nC".into()));
    for (from, to) in [("A\nb\nC", "A\nb\nC1"), ("A\nb\nC1", "A\nb\nC12"), ("A\nb\nC12", "A\nb\nC123")] {
        make(&mut tab, &text("body", from, to));
    }
    assert_eq!(tab.engine.outbox().len(), 2, "what met it, and all that was typed since");
    assert_eq!(tab.engine.replica().view().get(key()).unwrap().values, made_anew(&tab));
}

/// Text edits of one base: for each person which lines are changed, to what, and which go.
type Typing = Vec<(u8, u8)>;

const LINES: usize = 9;

fn base_text() -> Vec<String> {
    // Blank lines between, as between paragraphs.
    (0..LINES).map(|n| if n % 2 == 1 { String::new() } else { format!("line {n}") }).collect()
}

/// What a person types over the base, and the lines that are new in it.
fn typed(person: usize, typing: &Typing) -> (String, Vec<String>) {
    let mut lines: Vec<Vec<String>> = base_text().into_iter().map(|line| vec![line]).collect();
    let mut new = Vec::new();
    for (i, (line, what)) in typing.iter().enumerate() {
        let at = usize::from(*line) % LINES;
        let word = format!("p{person} {i}");
        match what % 4 {
            0 => lines[at].clear(),
            1 => lines[at].push(word),
            2 => lines[at].insert(0, word),
            _ => lines[at] = vec![word],
        }
    }
    let lines: Vec<String> = lines.into_iter().flatten().collect();
    new.extend(lines.iter().filter(|line| line.starts_with('p')).cloned());
    (lines.join("\n"), new)
}

/// The orders in which `n` edits can arrive, picked by a number.
fn order(n: usize, mut pick: usize) -> Vec<usize> {
    let mut left: Vec<usize> = (0..n).collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        order.push(left.remove(pick % left.len()));
        pick /= left.len() + 1;
    }
    order
}

#[test]
fn i7_whatever_the_order_of_arrival_nothing_typed_is_gone() {
    check((vec(vec(any::<(u8, u8)>(), 1..4), 2..5), vec(any::<u8>(), 4), any::<usize>()), |(people, times, pick)| {
        let base = base_text().join("\n");
        let mut store = store(&format!("\"body\":{}", json_of(&base)));
        // A reader who is told of everything, and works out what was sent by others for himself.
        let mut reader = tab(&store);
        for person in order(people.len(), pick) {
            let (to, _) = typed(person, &people[person]);
            let at = 2_000 + u64::from(times[person]);
            assert_eq!(send(&mut store, 10 + person as u64, 1, at, &text("body", &base, &to)), "applied ");
        }
        settle(&mut reader, &mut store);
        let kept: Vec<String> =
            [text_of(&held(&store, "body")).to_string()].into_iter().chain(texts(&held(&store, "body_conflict"))).collect();
        let lines: BTreeSet<&str> = kept.iter().flat_map(|text| text.split('\n')).collect();
        for (person, typing) in people.iter().enumerate() {
            for line in typed(person, typing).1 {
                assert!(lines.contains(line.as_str()), "{line} is gone: {kept:?}");
            }
        }
    });
}

#[test]
fn i7_edits_that_do_not_overlap_come_to_the_same_in_any_order() {
    check((vec((any::<u8>(), any::<u8>()), 4), any::<usize>(), any::<usize>()), |(typings, one, other)| {
        // Each has a paragraph of their own; the blank lines between them stay.
        let people: Vec<Typing> = typings.iter().enumerate().map(|(i, (_, what))| vec![(2 * i as u8, *what)]).collect();
        let base = base_text().join("\n");
        let deliver = |pick: usize| {
            let mut store = store(&format!("\"body\":{}", json_of(&base)));
            for person in order(people.len(), pick) {
                send(&mut store, 10 + person as u64, 1, 2_000, &text("body", &base, &typed(person, &people[person]).0));
            }
            assert_eq!(held(&store, "body_conflict"), Value::Null);
            held(&store, "body")
        };
        assert_eq!(deliver(one), deliver(other));
    });
}

#[test]
fn i7_a_tab_works_out_what_its_own_texts_came_to() {
    check((vec(vec(any::<(u8, u8)>(), 1..4), 2..4), any::<bool>(), any::<u16>()), |(people, late, at)| {
        let base = base_text().join("\n");
        let mut store = store(&format!("\"body\":{}", json_of(&base)));
        let mut tab = tab(&store);
        tab.now = if late { 900_000 } else { 1_000 };
        make(&mut tab, &text("body", &base, &typed(0, &people[0]).0));
        for (person, typing) in people.iter().enumerate().skip(1) {
            send(&mut store, 10 + person as u64, 1, 2_000 + u64::from(at), &text("body", &base, &typed(person, typing).0));
        }
        settle(&mut tab, &mut store);
    });
}

// ---- sets ----

#[test]
fn i7_elements_go_to_the_last_writer_each_and_concurrent_ones_unite() {
    let mut store = store("\"labels\":[\"a\",\"b\",\"a\"]");
    assert_eq!(held(&store, "labels"), Value::Json("[\"a\",\"b\"]".into()));
    let mut tab = tab(&store);
    make(&mut tab, &labels(&["c", "to do \"=%\""], &["a"]));
    send(&mut store, 9, 1, 2_000, &labels(&["d"], &["b"]));
    settle(&mut tab, &mut store);
    assert_eq!(texts(&held(&store, "labels")), ["c", "d", "to do \"=%\""]);
    // Long on its way: `d` had not been put in yet, and `b` was there.
    send(&mut store, 8, 1, 1_500, &labels(&["b"], &["d"]));
    assert_eq!(texts(&held(&store, "labels")), ["c", "d", "to do \"=%\""]);
    // What changes nothing now still decides about what comes late.
    send(&mut store, 8, 2, 7_000, &labels(&["c"], &["x"]));
    send(&mut store, 9, 2, 6_000, &labels(&["x"], &["c"]));
    assert_eq!(texts(&held(&store, "labels")), ["c", "d", "to do \"=%\""]);
}

#[test]
fn i7_a_set_has_its_limit() {
    let many: Vec<String> = (0..1_000).map(|n| format!("e{n:04}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut store = store(&format!("\"labels\":{}", list(&many)));
    let mut tab = tab(&store);
    assert_eq!(tab.make(&labels(&["one more"], &[])), Err("set_full".into()));
    make(&mut tab, &labels(&["one more"], &["e0000"]));
    assert_eq!(send(&mut store, 9, 1, 2_000, &labels(&["another"], &[])), "refused set_full");
    settle(&mut tab, &mut store);
    assert_eq!(texts(&held(&store, "labels")).len(), 1_000);
}

#[test]
fn i7_edits_of_sets_commute() {
    let names = ["a", "b", "c", "d"];
    check((vec((any::<u8>(), any::<u8>(), any::<u8>()), 2..7), any::<usize>(), any::<usize>()), |(edits, one, other)| {
        let edit = |(insert, remove, _): &(u8, u8, u8)| {
            let pick = |bits: u8| names.iter().enumerate().filter(move |(i, _)| bits >> i & 1 == 1).map(|n| *n.1);
            let remove: Vec<&str> = pick(*remove & !insert).collect();
            labels(&pick(*insert).collect::<Vec<_>>(), &remove)
        };
        let deliver = |pick: usize| {
            let mut store = store("\"labels\":[\"a\",\"b\"]");
            let mut reader = tab(&store);
            for i in order(edits.len(), pick) {
                send(&mut store, 10 + i as u64, 1, 2_000 + u64::from(edits[i].2 % 4), &edit(&edits[i]));
            }
            // Made before the others' and heard after them, so that most of it does not count.
            make(&mut reader, &labels(&["c", "own"], &["a"]));
            settle(&mut reader, &mut store);
            held(&store, "labels")
        };
        assert_eq!(deliver(one), deliver(other));
    });
}
