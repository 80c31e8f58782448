//! A device on which edits wait while the app, and with it the schema, goes from version 1 to version 3.

mod common;

use common::{Store, Tab, create, id, update};
use driftline_core::edit::Txn;
use driftline_core::engine::Disk;
use driftline_core::json::Json;
use driftline_core::outbox::Key;
use driftline_core::schema::Schema;
use driftline_core::upgrade::{upgrade_changes, upgrade_snapshot};
use driftline_core::value::{RowId, RowKey, Value};
use driftline_core::wire::{SNAPSHOT_END, write_rows, write_snapshot_head};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const ONE: &str = r#"{"name": "t", "version": 1, "tables": {
  "line": {"references": {"from": {"to": ["note"], "on_delete": "cascade"}}},
  "note": {"fields": {"title": {"type": "text", "default": ""}, "size": {"type": "text", "default": "0"}, "n": {"type": "counter"}}},
  "spare": {"fields": {"x": {"type": "int", "default": 0}}}
}}"#;

/// A table and a field have other names, a type is another, and a required reference has been added, with a default.
const THREE: &str = r#"{"name": "t", "version": 3, "upgrades": [
  {"to": 2, "steps": [{"rename": {"table": "note", "from": "title", "to": "name"}}, {"rename_table": {"from": "note", "to": "card"}}]},
  {"to": 3, "steps": [
    {"convert": {"table": "card", "field": "size", "from": "text", "to": "int", "default": -1}},
    {"add": {"table": "card", "field": "layer", "default": "00000000-0000-7000-8000-00000000ffff"}},
    {"drop_table": {"table": "spare"}}]}],
 "tables": {
  "card": {"fields": {"name": {"type": "text", "default": ""}, "size": {"type": "int", "default": 0}, "n": {"type": "counter"}},
    "references": {"layer": {"to": ["layer"], "on_delete": "restrict"}}},
  "layer": {"fields": {"name": {"type": "text", "default": "base"}}},
  "line": {"references": {"from": {"to": ["card"], "on_delete": "cascade"}}}
}}"#;

const LAYER: u64 = 0xffff;

fn schema(text: &str) -> Schema {
    Schema::parse(text).unwrap()
}

fn key(table: &str, n: u64) -> RowKey {
    RowKey { table: schema(THREE).table(table).unwrap(), id: RowId::parse(&id(n)).unwrap() }
}

/// What a migration does to a server: its rows and its log are of the present version from now on.
fn migrate(store: &mut Store) {
    let (one, three) = (schema(ONE), schema(THREE));
    let mut text = write_snapshot_head(store.space.rev, store.space.digest, store.rows.len());
    for (key, row) in &store.rows {
        write_rows(&one, key.table, std::iter::once((key.id, row)), &mut text);
    }
    text.push_str(SNAPSHOT_END);
    let snapshot = upgrade_snapshot(&three, 1, &text).unwrap();
    store.space.digest = snapshot.digest;
    store.rows = snapshot.rows.into_iter().collect();
    for row in &mut store.log {
        let Json::List(changes) = Json::parse(&row.3).unwrap() else { unreachable!() };
        row.3.clear();
        Json::List(upgrade_changes(&three, 1, changes).unwrap()).write(&mut row.3);
    }
    // What it adds to a space stands in the log, in nobody's name.
    store.space.rev += 1;
    store.log.push((store.space.rev, (0, 1), 0, format!("[{}]", create("layer", LAYER, r#""name":"base""#))));
}

/// The same device after its page was loaded again, with another version of the app.
fn reload(old: &Tab, text: &str) -> Tab {
    let mut tab = Tab::of(schema(text));
    tab.now = old.now + 60_000;
    tab.disk = old.disk.clone();
    tab.kept = old.kept.clone();
    tab.open(Disk { slots: vec![tab.slot()], ..tab.kept.clone() });
    let (meta, slot) = (tab.kept.meta.clone(), tab.slot());
    tab.engine.handle_lead(tab.now, 2, meta.as_deref(), vec![slot]);
    tab.run();
    tab
}

fn make(tab: &mut Tab, edits: &[String]) -> Key {
    tab.now += 20_000;
    let key = tab.make(&edits.join(",")).unwrap();
    tab.run();
    key
}

fn bodies(tab: &Tab) -> Vec<(Key, u64, String)> {
    let body = |record: &String| Json::parse(record).unwrap().text("body").unwrap().to_string();
    let all = tab.disk.iter().map(|(key, record)| (*key, body(record)));
    all.map(|(key, body)| (key, Json::parse(&body).unwrap().uint("schema").unwrap(), body)).collect()
}

#[test]
fn m3_q8_what_waits_syncs_exactly_once_after_the_page_was_upgraded_offline() {
    let mut store = Store::default();
    let mut tab = Tab::of(schema(ONE)).lead(&store);
    make(&mut tab, &[create("note", 1, r#""title":"first","size":"7","n":1"#)]);
    tab.sync(&mut store);
    // Sent, taken, and the answer lost.
    tab.pushes.clear();
    let lost = make(&mut tab, &[update("note", 1, r#""set":{"title":"second"},"add":{"n":10}"#), create("note", 2, r#""size":"many""#)]);
    let (_, request) = tab.pushes.pop().expect("it has been sent");
    store.push(&tab.schema, &request).unwrap();
    tab.engine.set_online(tab.now, false);
    tab.run();
    // Made offline, for days, and never sent.
    tab.now += 86_400_000;
    let unsent = make(&mut tab, &[update("note", 1, r#""set":{"size":"8"},"add":{"n":100}"#)]);
    let child = make(&mut tab, &[create("note", 3, r#""title":"third""#), create("line", 4, &format!("\"from\":\"{}\"", id(3)))]);
    let before = bodies(&tab);

    migrate(&mut store);
    let mut tab = reload(&tab, THREE);
    // The view is of the new version at once, with no network.
    let view = tab.engine.replica().view();
    assert_eq!(
        view.get(key("card", 1)).unwrap().values,
        [Value::Int(111), Value::Text("second".into()), Value::Int(8), Value::Ref(key("layer", LAYER))].into_iter().enumerate().fold(
            view.get(key("card", 1)).unwrap().values.clone(),
            |mut all, (i, value)| {
                let names = ["n", "name", "size", "layer"];
                all[schema(THREE).tables[key("card", 1).table as usize].column(names[i]).unwrap() as usize] = value;
                all
            }
        )
    );
    assert!(view.contains(key("card", 3)) && view.contains(key("line", 4)));
    let now = bodies(&tab);
    let body = |list: &[(Key, u64, String)], key: Key| list.iter().find(|entry| entry.0 == key).cloned().unwrap();
    assert_eq!(body(&now, lost), body(&before, lost), "what may have been sent stays as it was, byte for byte");
    for key in [unsent, child] {
        assert_eq!((body(&before, key).1, body(&now, key).1), (1, 3), "what was never sent is of the present version");
    }

    tab.engine.set_online(tab.now, true);
    tab.now += 60_000;
    tab.sync(&mut store);
    assert_eq!((tab.engine.outbox().len(), tab.disk.len()), (0, 0), "{:?}", tab.events);
    for key in [lost, unsent, child] {
        assert_eq!(store.log.iter().filter(|row| row.1 == key).count(), 1, "exactly once");
    }
    let three = schema(THREE);
    let field = |n: u64, name: &str| {
        store.rows[&key("card", n)].values[three.tables[key("card", n).table as usize].column(name).unwrap() as usize].clone()
    };
    assert_eq!((field(1, "n"), field(1, "size"), field(1, "name")), (Value::Int(111), Value::Int(8), Value::Text("second".into())));
    assert_eq!((field(2, "size"), field(3, "layer")), (Value::Int(-1), Value::Ref(key("layer", LAYER))));
    assert_eq!(store.orphans(), 0);
    assert_eq!(tab.engine.replica().digest, store.space.digest);
    let base = tab.engine.replica().base();
    assert!(base.len() == store.rows.len() && base.iter().zip(&store.rows).all(|(a, b)| a.0 == *b.0 && a.1.values == b.1.values));
    // The base on disk has been written anew: a cold start needs no upgrade.
    assert_eq!(Json::parse(tab.kept.meta.as_ref().unwrap()).unwrap().uint("schema"), Some(3));
    let cold = reload(&tab, THREE);
    assert_eq!(cold.engine.replica().digest, store.space.digest);
}

#[test]
fn m3_the_row_of_a_default_reference_is_seen_before_the_server_has_told_of_it() {
    for deleted in [false, true] {
        let mut store = Store::default();
        let mut tab = Tab::of(schema(ONE)).lead(&store);
        make(&mut tab, &[create("note", 1, "")]);
        tab.sync(&mut store);
        if deleted {
            make(&mut tab, &[common::delete("note", 1)]);
            tab.sync(&mut store);
        }
        assert!(!tab.kept.tails.is_empty(), "behind the base, not in it");
        tab.engine.set_online(tab.now, false);
        let tab = reload(&tab, THREE);
        let view = tab.engine.replica().view();
        assert_eq!((view.contains(key("card", 1)), view.contains(key("layer", LAYER))), (!deleted, !deleted));
    }
}

#[test]
fn m3_what_a_new_version_has_no_place_for_is_parked_and_not_lost() {
    let store = Store::default();
    let mut tab = Tab::of(schema(ONE)).lead(&store);
    tab.engine.set_online(tab.now, false);
    make(&mut tab, &[create("spare", 9, "")]);
    let tab = reload(&tab, THREE);
    let outbox: serde_json::Value = serde_json::from_str(&tab.engine.outbox_json(tab.now, 10)).unwrap();
    assert_eq!((&outbox[0]["state"], &outbox[0]["problem"]["code"]), (&"parked".into(), &"schema_dropped".into()));
    assert_eq!(tab.disk.len(), 1);
    assert!(tab.disk.values().next().unwrap().contains("spare"));
}

#[test]
fn m3_nothing_is_sent_before_the_disk_says_that_it_may_have_been() {
    let mut store = Store::default();
    let mut tab = Tab::of(schema(ONE)).lead(&store);
    tab.sync(&mut store);
    for n in 0..20 {
        tab.pushes.clear();
        tab.now += 3_000;
        tab.make(&create("note", 100 + n, "")).unwrap();
        tab.run();
        let (id, body) = tab.pushes.pop().expect("it is sent");
        let sent = Json::parse(tab.kept.meta.as_ref().unwrap()).unwrap().uint("sent").unwrap();
        let newest = tab.engine.outbox().iter().map(|entry| entry.made.at).max().unwrap();
        assert!(newest <= sent, "{n}");
        let answer = store.push(&tab.schema, &body).unwrap();
        tab.engine.handle_answer(tab.now, id, 200, None, &answer);
        tab.run();
    }
}

#[test]
fn m3_an_older_page_beside_a_newer_one_gives_its_turn_back_and_says_so() {
    let store = Store::default();
    let mut old = Tab::of(schema(ONE)).lead(&store);
    old.engine.handle_peer(old.now, "{\"schema\":3,\"t\":\"hello\"}");
    old.run();
    assert!(old.engine.epoch().is_none(), "it sends no more");
    assert!(old.engine.status(old.now).contains("\"reason\":\"schema_newer\""));
    make(&mut old, &[create("note", 1, "")]);
    assert_eq!(old.disk.len(), 1, "what is made there is kept");
    // And a newer page takes no word of an older one for its own.
    let mut new = Tab::of(schema(THREE)).lead(&store);
    let text =
        "{\"schema\":1,\"t\":\"base\",\"changes\":[{\"rev\":1,\"parts\":[{\"actor\":1,\"changes\":[]}]}],\"settled\":[],\"records\":[]}";
    new.engine.handle_unlead(new.now);
    new.engine.handle_peer(new.now, text);
    new.run();
    assert_eq!(new.engine.replica().rev, 0);
}

#[test]
fn m3_a_page_older_than_what_is_on_the_device_changes_nothing_there() {
    let mut store = Store::default();
    let mut tab = Tab::of(schema(THREE)).lead(&store);
    make(&mut tab, &[create("layer", 1, "")]);
    tab.sync(&mut store);
    let kept = tab.kept.clone();
    let mut old = reload(&tab, ONE);
    assert!(old.engine.status(old.now).contains("schema_newer"));
    old.now += 60_000;
    old.engine.handle_tick(old.now);
    old.run();
    assert!(old.pushes.is_empty() && old.fetches.is_empty());
    assert_eq!((old.kept.meta, old.kept.base), (kept.meta, kept.base));
    assert!(Txn::parse(&schema(ONE), "{\"schema\":3,\"at\":[1,0],\"edits\":[]}").is_err());
}
