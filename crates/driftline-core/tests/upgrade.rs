//! A device on which edits wait while the app, and with it the schema, goes from version 1 to version 3.

mod common;

use common::{Store, Tab, create, id, update};
use driftline_core::edit::Txn;
use driftline_core::engine::{Config, Disk, Effect, Engine, SlotDisk};
use driftline_core::json::Json;
use driftline_core::limits::TXN_BYTES;
use driftline_core::outbox::{Entry, Key, Made, State};
use driftline_core::problem::Problem;
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
    let mut text = write_snapshot_head(&one, store.space.rev, store.space.digest, store.rows.len());
    for (key, row) in &store.rows {
        write_rows(&one, key.table, std::iter::once((key.id, row)), &mut text);
    }
    text.push_str(SNAPSHOT_END);
    let snapshot = upgrade_snapshot(&three, 1, &text).unwrap();
    store.space.digest = snapshot.digest;
    store.rows = snapshot.rows.into_iter().collect();
    for row in &mut store.log {
        let Json::List(changes) = Json::parse(&row.3).unwrap() else { unreachable!() };
        let mut upgraded = String::new();
        Json::List(upgrade_changes(&three, 1, changes).unwrap()).write(&mut upgraded);
        row.3 = upgraded;
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

/// A page of the first version in slot 1, with a note.
fn made_in_an_older_page() -> (Tab, Key) {
    let mut old = Tab::of_config(Config { slot: 1, client: 0xbb, ..common::config_for(schema(ONE)) });
    old.open(Disk::default());
    let made = make(&mut old, &[create("note", 1, "")]);
    (old, made)
}

/// An entry with this body, as a page of this version would have made it.
fn entry(schema: &Schema, body: &str, made: Made, releases: Vec<RowKey>) -> Entry {
    Txn::parse(schema, body).unwrap().into_entry(body.to_string(), made, 0, releases, Vec::new())
}

fn bodies(tab: &Tab) -> Vec<(Key, u64, String)> {
    let body = |record: &String| record.split_once('\n').unwrap().1.to_string();
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
fn m3_a_tab_that_leads_before_it_has_read_the_older_base_on_disk_writes_all_of_it_anew() {
    let mut store = Store::default();
    let mut old = Tab::of(schema(ONE)).lead(&store);
    // The newer page is open by now, and has found nothing.
    let mut new = Tab::of(schema(THREE));
    new.open(Disk::default());
    make(&mut old, &[create("note", 1, "")]);
    old.sync(&mut store);
    migrate(&mut store);
    new.kept = old.kept.clone();
    let meta = new.kept.meta.clone();
    new.engine.handle_lead(new.now, 2, meta.as_deref(), vec![old.slot()]);
    new.run();
    assert!(new.effects.contains(&Effect::Reload), "{:?}", new.effects);
    let disk = new.left();
    new.engine.handle_reloaded(new.now, disk);
    new.run();
    new.sync(&mut store);
    assert_eq!(new.engine.replica().rev, store.space.rev, "it has been told of more");
    let cold = reload(&new, THREE);
    assert!(!cold.events.iter().any(|event| event.contains("base_corrupt")), "{:?}", cold.events);
    assert_eq!((cold.engine.replica().rev, cold.engine.replica().digest), (store.space.rev, store.space.digest));
    assert!(cold.engine.replica().view().contains(key("card", 1)));
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
fn m3_what_is_to_be_sent_waits_until_the_disk_has_been_told() {
    let mut store = Store::default();
    let mut tab = Tab::of(schema(ONE)).lead(&store);
    tab.sync(&mut store);
    tab.now += 20_000;
    tab.make(&create("note", 1, "")).unwrap();
    let (mut commits, mut pushes) = (Vec::new(), 0);
    while let Some(effect) = tab.engine.poll() {
        match effect {
            Effect::Save { id, slot, .. } => tab.engine.handle_saved(tab.now, slot, id),
            Effect::Commit { id, .. } => commits.push(id),
            Effect::Push { .. } => pushes += 1,
            _ => {}
        }
    }
    assert_eq!((commits.len(), pushes), (1, 0));
    tab.engine.handle_committed(tab.now, commits[0]);
    tab.run();
    assert!(tab.pushes[0].1.contains(&id(1)));
}

#[test]
fn m3_an_older_page_beside_a_newer_one_gives_its_turn_back_and_says_so() {
    let store = Store::default();
    let mut old = Tab::of(schema(ONE)).lead(&store);
    old.engine.handle_peer(old.now, "{\"schema\":3,\"t\":\"hello\"}");
    old.run();
    assert!(old.engine.epoch().is_none(), "it sends no more");
    assert!(old.engine.status().contains("\"reason\":\"schema_newer\""));
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
fn m3_what_an_older_page_deletes_is_gone_in_a_newer_one_beside_it() {
    let (mut old, made) = made_in_an_older_page();
    let mut new = Tab::of(schema(THREE));
    new.open(Disk { slots: vec![SlotDisk { slot: 1, ..old.slot() }], ..Disk::default() });
    assert!(new.engine.outbox().get(made).is_some() && new.engine.replica().view().contains(key("card", 1)));
    old.effects.clear();
    old.engine.discard(old.now, made, false).unwrap();
    old.run();
    for effect in &old.effects {
        if let Effect::Broadcast(text) = effect {
            new.engine.handle_peer(new.now, text);
        }
    }
    new.run();
    assert_eq!((new.engine.outbox().len(), new.engine.replica().view().len()), (0, 0));
}

#[test]
fn m3_a_page_older_than_what_is_on_the_device_changes_nothing_there() {
    let mut store = Store::default();
    let mut tab = Tab::of(schema(THREE)).lead(&store);
    make(&mut tab, &[create("layer", 1, "")]);
    tab.sync(&mut store);
    let kept = tab.kept.clone();
    let mut old = reload(&tab, ONE);
    assert!(old.engine.status().contains("schema_newer"));
    old.now += 60_000;
    old.engine.handle_tick(old.now);
    old.run();
    assert!(old.pushes.is_empty() && old.fetches.is_empty());
    assert_eq!((old.kept.meta, old.kept.base), (kept.meta, kept.base));
    assert!(Txn::parse(&schema(ONE), "{\"schema\":3,\"at\":[1,0],\"edits\":[]}").is_err());
}

#[test]
fn m3_a_page_that_takes_its_turn_after_a_newer_one_changes_nothing() {
    let mut old = Tab::of(schema(ONE));
    old.open(Disk::default());
    // A newer one was opened, was the first to write, and was closed, before any word of it came.
    old.engine.handle_lead(old.now, 2, Some("{\"rev\":0,\"schema\":3}"), Vec::new());
    old.run();
    make(&mut old, &[create("note", 1, "")]);
    assert!(old.fetches.is_empty() && old.pushes.is_empty());
    assert!(old.engine.status().contains("schema_newer"));
}

/// What its answers say to a page that is older than the server.
#[test]
fn m3_an_older_page_goes_on_saving_at_a_newer_server_and_shows_all_of_it_once_it_is_loaded_again() {
    let (mut store, three) = (Store::default(), schema(THREE));
    let mut old = Tab::of(schema(ONE)).lead(&store);
    make(&mut old, &[create("note", 1, r#""title":"first","n":1"#)]);
    old.sync(&mut store);
    migrate(&mut store);
    let rev = old.engine.replica().rev;
    let made = [
        make(&mut old, &[update("note", 1, r#""set":{"title":"second"},"add":{"n":10}"#)]),
        make(&mut old, &[create("note", 2, ""), create("line", 3, &format!("\"from\":\"{}\"", id(2)))]),
    ];
    old.sync_with(&mut store, &three);
    assert!(made.iter().all(|key| store.log.iter().filter(|row| row.1 == *key).count() == 1), "taken, each once");
    let status = old.engine.status();
    assert!(status.contains("\"state\":\"saved\"") && status.contains("\"reason\":\"schema_newer\""), "{status}");
    let accepted = |tab: &Tab| tab.events.iter().filter(|event| event.contains("accepted")).map(String::len).sum::<usize>();
    assert!(accepted(&old) > 0);
    // It has not read a word of what it cannot understand, shows what it made, and asks for nothing but whether that has changed.
    let one = schema(ONE);
    let note = |n: u64| RowKey { table: one.table("note").unwrap(), id: RowId::parse(&id(n)).unwrap() };
    assert_eq!(old.engine.replica().rev, rev);
    assert!(old.engine.replica().view().contains(note(2)) && old.engine.replica().base().iter().all(|row| row.0 != note(2)));
    old.now += 60_000;
    old.engine.handle_tick(old.now);
    old.run();
    let (_, poll) = old.pushes.pop().expect("it asks again");
    assert!(poll.contains("\"cursor\":null") && poll.contains("\"units\":[]"), "{poll}");
    let live = driftline_core::wire::write_live(&three, store.space.rev, &[]);
    old.engine.handle_live_message(old.now, &live);
    assert_eq!(old.engine.replica().rev, rev);

    let mut new = reload(&old, THREE);
    new.sync(&mut store);
    assert_eq!((new.engine.outbox().len(), new.disk.len()), (0, 0));
    assert_eq!(new.engine.replica().digest, store.space.digest);
    assert!(made.iter().all(|key| store.log.iter().filter(|row| row.1 == *key).count() == 1), "still each once");
    let n = three.tables[key("card", 1).table as usize].column("n").unwrap();
    assert_eq!(store.rows[&key("card", 1)].values[n as usize], Value::Int(11));
    // Without a base it can do nothing, and says so.
    let mut bare = Tab::of(schema(ONE));
    bare.open(Disk::default());
    bare.engine.handle_lead(bare.now, 3, None, Vec::new());
    bare.run();
    let kept = make(&mut bare, &[create("note", 9, "")]);
    let fetch = bare.fetches.pop().unwrap();
    bare.engine.handle_answer(bare.now, fetch, 200, None, &(write_snapshot_head(&three, 0, Default::default(), 0) + SNAPSHOT_END));
    bare.run();
    assert!(bare.engine.status().contains("\"state\":\"not_saving\",\"reason\":\"schema_newer\""));
    assert!(bare.pushes.is_empty() && bare.disk.contains_key(&kept));
}

#[test]
fn m3_a_newer_page_reads_an_older_server_and_waits_with_what_it_makes() {
    let (mut store, one) = (Store::default(), schema(ONE));
    let mut other = Tab::of(one.clone()).lead(&store);
    make(&mut other, &[create("note", 1, r#""title":"first","n":1"#)]);
    other.sync(&mut store);
    let mut new = Tab::of_config(Config { client: 0xbb, ..common::config_for(schema(THREE)) });
    new.open(Disk::default());
    new.engine.handle_lead(new.now, 1, None, Vec::new());
    new.run();
    let fetch = new.fetches.pop().unwrap();
    let mut text = write_snapshot_head(&one, store.space.rev, store.space.digest, store.rows.len());
    for (key, row) in &store.rows {
        write_rows(&one, key.table, std::iter::once((key.id, row)), &mut text);
    }
    new.engine.handle_answer(new.now, fetch, 200, None, &(text + SNAPSHOT_END));
    new.run();
    assert!(new.engine.replica().view().contains(key("card", 1)), "under its new name");
    other.engine = Engine::new(Config { client: 0xcc, ..common::config_for(one.clone()) });
    let mut other = other.lead(&store);
    make(&mut other, &[create("note", 2, "")]);
    other.sync(&mut store);
    let made = make(&mut new, &[create("layer", 7, "")]);
    new.sync_with(&mut store, &one);
    assert!(new.engine.replica().base().iter().any(|row| row.0 == key("card", 2)), "what is made there is read");
    assert!(new.engine.outbox().get(made).is_some(), "held, and kept");
    assert!(new.engine.status().contains("\"state\":\"not_saving\",\"reason\":\"waiting\""));
    migrate(&mut store);
    new.now += 60_000;
    new.sync(&mut store);
    assert_eq!(new.engine.outbox().len(), 0);
    assert_eq!(new.engine.replica().digest, store.space.digest);
}

#[test]
fn m3_d1_what_may_have_been_sent_is_not_doubled_where_the_base_was_lost() {
    let mut store = Store::default();
    let mut tab = Tab::of(schema(ONE)).lead(&store);
    make(&mut tab, &[create("note", 1, r#""n":1"#)]);
    tab.sync(&mut store);
    // Sent, taken, and the answer lost.
    tab.pushes.clear();
    make(&mut tab, &[update("note", 1, r#""add":{"n":10}"#)]);
    let (_, request) = tab.pushes.pop().expect("it has been sent");
    store.push(&tab.schema, &request).unwrap();
    migrate(&mut store);
    // The base is written behind, and may be lost; the outbox is not.
    tab.kept = Disk::default();
    let mut tab = reload(&tab, THREE);
    tab.give_snapshot(&store);
    tab.now += 60_000;
    tab.sync(&mut store);
    let three = schema(THREE);
    let n = three.tables[key("card", 1).table as usize].column("n").unwrap() as usize;
    assert_eq!(store.rows[&key("card", 1)].values[n], Value::Int(11), "ten were added once");
    assert!(!tab.events.iter().any(|event| event.contains("\"event\":\"parked\"")), "it went as it was: {:?}", tab.events);
}

#[test]
fn m3_d1_what_was_sent_and_the_disk_does_not_know_it_is_parked_and_not_doubled() {
    let mut store = Store::default();
    let mut tab = Tab::of(schema(ONE)).lead(&store);
    make(&mut tab, &[create("note", 1, r#""n":1"#)]);
    tab.sync(&mut store);
    tab.pushes.clear();
    let lost = make(&mut tab, &[update("note", 1, r#""add":{"n":10}"#)]);
    let (_, request) = tab.pushes.pop().expect("it has been sent");
    store.push(&tab.schema, &request).unwrap();
    migrate(&mut store);
    // The disk took no mark while it was sent.
    let mut meta = Json::parse(tab.kept.meta.as_ref().unwrap()).unwrap();
    meta.put("sent", Json::int(0));
    let mut text = String::new();
    meta.write(&mut text);
    tab.kept.meta = Some(text);
    let mut tab = reload(&tab, THREE);
    // It stays known over one more reload that it was written anew.
    tab.engine.set_online(tab.now, false);
    tab.run();
    let mut tab = reload(&tab, THREE);
    tab.now += 60_000;
    tab.sync(&mut store);
    let three = schema(THREE);
    let n = three.tables[key("card", 1).table as usize].column("n").unwrap() as usize;
    assert_eq!(store.rows[&key("card", 1)].values[n], Value::Int(11), "ten were added once");
    // Held back at first; and then the log tells that it was taken.
    assert!(tab.events.iter().any(|event| event.contains("parked") && event.contains("outcome_unknown")), "{:?}", tab.events);
    assert!(tab.engine.outbox().get(lost).is_none() && tab.engine.outbox().is_empty());
}

#[test]
fn m3_a_record_names_the_rows_that_it_releases_by_the_version_whose_names_it_uses() {
    let tables = "\"pin\": {\"references\": {\"to\": {\"to\": [\"a\", \"b\"], \"on_delete\": \"cascade\"}}}, \"a\": {}, \"b\": {}";
    let one = schema(&format!("{{\"name\": \"t\", \"version\": 1, \"tables\": {{{tables}}}}}"));
    let swap =
        [("a", "c"), ("b", "a"), ("c", "b")].map(|(from, to)| format!("{{\"rename_table\": {{\"from\": \"{from}\", \"to\": \"{to}\"}}}}"));
    let two = schema(&format!(
        "{{\"name\": \"t\", \"version\": 2, \"upgrades\": [{{\"to\": 2, \"steps\": [{}]}}], \"tables\": {{{tables}}}}}",
        swap.join(",")
    ));
    let row = |schema: &Schema, table: &str| RowKey { table: schema.table(table).unwrap(), id: RowId::parse(&id(1)).unwrap() };
    let body = format!("{{\"schema\":1,\"at\":[1,0],\"edits\":[{}]}}", common::delete("pin", 2));
    let made = Made { at: 1, key: (1, 1) };
    let entry = entry(&one, &body, made, vec![row(&one, "a")]);
    let read = Entry::from_record(&two, 0, &entry.to_record(&one)).unwrap();
    assert_eq!(read.releases, [row(&two, "b")]);
    let again = Entry::from_record(&two, 0, &read.to_record(&two)).unwrap();
    assert_eq!(again.releases, read.releases);
}

#[test]
fn m3_r3_what_is_parked_outlives_an_upgrade_and_is_decided_in_the_new_version() {
    let mut store = Store::default();
    let mut tab = Tab::of(schema(ONE)).lead(&store);
    make(&mut tab, &[create("note", 1, ""), create("note", 3, "")]);
    tab.sync(&mut store);
    // Somebody else has deleted the one that the line is drawn from.
    let gone = RowKey { table: schema(ONE).table("note").unwrap(), id: RowId::parse(&id(1)).unwrap() };
    let row = store.rows.remove(&gone).unwrap();
    store.space.digest.remove(&schema(ONE), gone, &row);
    store.deleted.insert(gone);
    let line = make(&mut tab, &[create("line", 2, &format!("\"from\":\"{}\"", id(1)))]);
    tab.sync(&mut store);
    assert_eq!(tab.engine.outbox().counts().parked, 1);
    migrate(&mut store);
    let mut tab = reload(&tab, THREE);
    tab.sync(&mut store);
    // That deletion stands in no log here: the base is fetched anew.
    tab.give_snapshot(&store);
    let outbox: serde_json::Value = serde_json::from_str(&tab.engine.outbox_json(tab.now, 10)).unwrap();
    assert_eq!((&outbox[0]["state"], &outbox[0]["problem"]["code"]), (&"parked".into(), &"missing_parent".into()));
    let mut text = String::new();
    driftline_core::engine::write_key(line, &mut text);
    let card = |n: u64| serde_json::json!({"table": "card", "id": id(n)});
    let decision = serde_json::json!({"what": "reparent", "key": text, "from": card(1), "to": card(3)});
    tab.engine.decide(tab.now, &decision.to_string()).unwrap();
    tab.run();
    tab.now += 20_000;
    tab.sync(&mut store);
    assert_eq!((tab.engine.outbox().len(), tab.disk.len()), (0, 0));
    assert_eq!(store.rows[&key("line", 2)].values, [Value::Ref(key("card", 3))]);
    assert_eq!(store.orphans(), 0);
}

#[test]
fn m3_a_record_is_written_anew_where_it_waits_and_then_still_fits() {
    const NOTES: usize = 20;
    let (one, three) = (schema(ONE), schema(THREE));
    let outdated = |letters: usize, state: State| {
        let title = |n: usize| "x".repeat(letters / NOTES + usize::from(n < letters % NOTES));
        let edits: Vec<String> = (0..NOTES).map(|n| create("note", n as u64, &format!("\"title\":\"{}\"", title(n)))).collect();
        let body = common::body(5, &edits.join(","));
        let entry = Entry { state, ..entry(&one, &body, Made { at: 5, key: (1, 1) }, Vec::new()) };
        Entry::from_record(&three, 0, &entry.to_record(&one)).unwrap()
    };
    let mut small = outdated(0, State::Queued);
    assert!(small.outdated && small.upgrade(&three));
    assert_eq!((small.version, small.outdated, small.upgraded.is_some()), (1, false, true));
    assert_eq!(Txn::parse(&three, &small.body).unwrap().edits, small.edits);
    // To the byte.
    let room = TXN_BYTES - small.body.len();
    let mut full = outdated(room, State::Queued);
    assert!(full.upgrade(&three) && full.body.len() == TXN_BYTES);
    let parked = State::Parked { problem: Problem::new("refused", "no"), spent: true };
    for mut stays in [outdated(room + 1, State::Queued), outdated(0, parked)] {
        let body = stays.body.clone();
        assert!(!stays.upgrade(&three) && stays.outdated && stays.body == body && stays.version == 0);
    }
}

#[test]
fn m3_a_record_of_a_newer_page_is_not_called_damaged_and_its_number_stays_open() {
    let mut new = Tab::of(schema(THREE));
    new.open(Disk::default());
    let key = make(&mut new, &[create("layer", 1, "")]);
    let mut old = Tab::of(schema(ONE));
    old.disk = new.disk.clone();
    old.open(Disk { slots: vec![old.slot()], ..Disk::default() });
    assert!(old.engine.status().contains("\"reason\":\"schema_newer\""), "{}", old.engine.status());
    assert_eq!(old.engine.damaged_json(), "[]");
    assert!(!old.events.iter().any(|event| event.contains("record_corrupt")), "{:?}", old.events);
    assert_eq!(old.export().1, 1, "it waits, though it cannot be handed out here");
    let next = make(&mut old, &[create("note", 1, "")]);
    assert_eq!((next.0, next.1), (key.0, key.1 + 1));
    assert_eq!(old.disk[&key], new.disk[&key]);
}

#[test]
fn m3_a_record_that_a_newer_page_has_named_is_left_to_it() {
    let (one, three) = (schema(ONE), schema(THREE));
    let note = RowKey { table: one.table("note").unwrap(), id: RowId::parse(&id(1)).unwrap() };
    let made = Made { at: 1, key: (0xaa, 1) };
    let entry = entry(&one, &common::body(1, &common::delete("line", 2)), made, vec![note]);
    let record = entry.to_record(&one);
    let named = Entry::from_record(&three, 0, &record).unwrap().to_record(&three);
    assert!(named.contains("[\"card\",") && named.ends_with(&format!("\n{}", entry.body)), "{named}");
    for (record, newer) in [(record, false), (named, true)] {
        let mut old = Tab::of(schema(ONE));
        old.disk.insert(made.key, record);
        old.open(Disk { slots: vec![old.slot()], ..Disk::default() });
        assert_eq!(old.engine.outbox().get(made.key).is_none(), newer);
        assert_eq!(old.engine.status().contains("\"reason\":\"schema_newer\""), newer, "{}", old.engine.status());
        assert_eq!(old.engine.damaged_json(), "[]");
    }
}

#[test]
fn m3_q9_a_file_made_before_the_page_was_upgraded_is_recognised_after_it() {
    let mut store = Store::default();
    let mut tab = Tab::of(schema(ONE)).lead(&store);
    make(&mut tab, &[create("note", 2, "")]);
    tab.sync(&mut store);
    tab.engine.set_online(tab.now, false);
    tab.run();
    make(&mut tab, &[create("note", 1, r#""n":1"#)]);
    let (file, _) = tab.export();
    migrate(&mut store);
    let mut tab = reload(&tab, THREE);
    assert_eq!(bodies(&tab)[0].1, 3, "it has been written anew since");
    assert_eq!(tab.import(&file), Ok((0, 1, 0)));
    tab.sync(&mut store);
    assert_eq!((tab.engine.outbox().len(), tab.disk.len(), tab.imported.len()), (0, 0, 0));
    let n = schema(THREE).tables[key("card", 1).table as usize].column("n").unwrap() as usize;
    assert_eq!(store.rows[&key("card", 1)].values[n], Value::Int(1));
}

#[test]
fn m3_a_tab_that_read_a_record_before_it_was_upgraded_does_not_undo_that_at_the_sending_tab() {
    let mut store = Store::default();
    let mut old = Tab::of(schema(ONE)).lead(&store);
    make(&mut old, &[create("note", 1, "")]);
    old.sync(&mut store);
    let beside = |text: &str| Tab::of_config(Config { slot: 1, client: 0xbb, ..common::config_for(schema(text)) });
    let mut closed = beside(ONE);
    closed.open(Disk::default());
    closed.now = old.now + 60_000;
    let key = make(&mut closed, &[create("note", 2, "")]);
    let left = || SlotDisk { slot: 1, records: closed.disk.values().cloned().collect(), high: Vec::new() };
    migrate(&mut store);
    let mut sender = reload(&old, THREE);
    sender.engine.handle_adopted(sender.now, left());
    sender.run();
    let upgraded = bodies(&sender);
    assert_eq!((upgraded.len(), upgraded[0].0, upgraded[0].1), (1, key, 3));
    let mut late = beside(THREE);
    late.open(Disk { slots: vec![left()], ..Disk::default() });
    late.effects.clear();
    late.engine.handle_peer(late.now, "{\"schema\":3,\"t\":\"lead\",\"epoch\":2,\"rev\":0,\"online\":true}");
    late.run();
    let told = late.told();
    let offered = told.iter().any(|text| text.contains("\"frozen\":true") && text.contains("note"));
    assert!(offered, "in the words of the old version: {told:?}");
    // Who has found the new words on disk may be the next to send: what it is offered is these.
    let mut third = Tab::of_config(Config { slot: 2, client: 0xcc, ..common::config_for(schema(THREE)) });
    third.open(Disk {
        slots: vec![SlotDisk { slot: 1, records: sender.disk.values().cloned().collect(), high: Vec::new() }],
        ..Disk::default()
    });
    for tab in [&mut sender, &mut third] {
        told.iter().for_each(|text| tab.engine.handle_peer(tab.now, text));
        tab.run();
        let entry = tab.engine.outbox().get(key).unwrap();
        assert_eq!((entry.frozen, &entry.body), (true, &upgraded[0].2));
    }
    sender.sync(&mut store);
    assert_eq!(store.log.iter().filter(|row| row.1 == key).count(), 1);
    assert_eq!((sender.engine.outbox().len(), sender.disk.len()), (0, 0));
}

#[test]
fn m3_d2_what_an_earlier_sender_told_of_and_did_not_write_anew_is_written_before_it_is_sent() {
    let mut store = Store::default();
    let mut old = Tab::of(schema(ONE)).lead(&store);
    make(&mut old, &[create("note", 1, "")]);
    old.sync(&mut store);
    let beside = |slot: u32, text: &str| Tab::of_config(Config { slot, client: 0xbb, ..common::config_for(schema(text)) });
    let mut closed = beside(1, ONE);
    closed.open(Disk::default());
    closed.now = old.now + 60_000;
    let key = make(&mut closed, &[create("note", 2, "")]);
    let left = || SlotDisk { slot: 1, records: closed.disk.values().cloned().collect(), high: Vec::new() };
    migrate(&mut store);
    let mut sender = reload(&old, THREE);
    let mut next = beside(2, THREE);
    next.disk.extend(sender.disk.clone());
    next.kept = sender.kept.clone();
    next.open(Disk { slots: vec![left()], ..next.kept.clone() });
    // The sending tab dies with this on its way to the disk.
    sender.hold_slot = Some(1);
    sender.effects.clear();
    sender.engine.handle_adopted(sender.now, left());
    sender.run();
    let told = sender.told();
    told.iter().for_each(|text| next.engine.handle_peer(next.now, text));
    next.run();
    let told = next.engine.outbox().get(key).unwrap().body.clone();
    assert!(told.starts_with("{\"schema\":3"), "heard of: {told}");
    next.hold_slot = Some(1);
    // A tab has opened there meanwhile, so that nothing is left behind for who leads now.
    next.engine.handle_lead(next.now, 3, next.kept.meta.clone().as_deref(), Vec::new());
    next.run();
    next.open(Disk { slots: vec![left()], ..next.kept.clone() });
    next.run();
    assert_eq!((next.held.len(), next.pushes.len()), (1, 0), "it is written first");
}

#[test]
fn m3_d5_an_upgraded_record_is_settled_by_its_old_words_and_not_by_others_of_a_copy_made_at_the_same_time() {
    for same in [true, false] {
        let mut store = Store::default();
        let mut tab = Tab::of(schema(ONE)).lead(&store);
        tab.sync(&mut store);
        tab.engine.set_online(tab.now, false);
        tab.run();
        let made = make(&mut tab, &[create("note", 1, r#""n":1"#)]);
        // A copy of this profile has sent it, or what it folded into it.
        let body = bodies(&tab)[0].2.clone();
        let folded = format!("{},{}]}}", body.strip_suffix("]}").unwrap(), create("note", 2, ""));
        let sent = if same { body } else { folded };
        store.push(&tab.schema, &common::push_text(None, "[]", &[(made.1, sent)])).unwrap();
        migrate(&mut store);
        let mut tab = reload(&tab, THREE);
        assert_eq!(bodies(&tab)[0].1, 3, "it was never sent from here");
        tab.sync(&mut store);
        assert_eq!(tab.engine.replica().rev, store.space.rev, "it has heard of that");
        let waits = tab.engine.outbox().get(made).map(|entry| entry.state.clone());
        match waits {
            None => assert!(same),
            Some(State::Parked { problem, .. }) => assert_eq!((same, problem.code.as_str()), (false, "outcome_unknown")),
            Some(other) => panic!("{other:?}"),
        }
        let n = schema(THREE).tables[key("card", 1).table as usize].column("n").unwrap() as usize;
        assert_eq!(store.rows[&key("card", 1)].values[n], Value::Int(1), "once");
    }
}

#[test]
fn m3_a_decision_of_an_older_page_is_heard_whole_by_a_newer_one() {
    let (mut old, made) = made_in_an_older_page();
    let mut new = Tab::of(schema(THREE));
    new.open(Disk { slots: vec![SlotDisk { slot: 1, ..old.slot() }], ..Disk::default() });
    old.effects.clear();
    let edits = create("note", 1, r#""title":"amended""#);
    let amend = format!("{{\"what\":\"amend\",\"key\":\"{:016x}:{}\",\"edits\":[{edits}]}}", made.0, made.1);
    old.engine.decide(old.now, &amend).unwrap();
    old.run();
    for text in old.told() {
        new.engine.handle_peer(new.now, &text);
    }
    new.run();
    let view = new.engine.replica().view();
    let name = schema(THREE).tables[key("card", 1).table as usize].column("name").unwrap() as usize;
    assert_eq!(view.get(key("card", 1)).map(|row| row.values[name].clone()), Some(Value::Text("amended".into())));
    assert_eq!(new.engine.outbox().iter().map(|entry| entry.was.clone()).collect::<Vec<_>>(), [[made]]);
}

#[test]
fn m3_an_older_page_does_not_take_what_it_cannot_read_for_deleted() {
    let (maker, made) = made_in_an_older_page();
    let mut old = Tab::of(schema(ONE));
    old.open(Disk { slots: vec![SlotDisk { slot: 1, ..maker.slot() }], ..Disk::default() });
    assert!(old.engine.outbox().get(made).is_some());
    // A newer page has written it anew, and died: then this one begins to send.
    let record = maker.disk[&made].clone();
    let mut new = Tab::of(schema(THREE));
    new.open(Disk::default());
    let slots = vec![SlotDisk { slot: 1, records: vec![record], high: Vec::new() }];
    new.engine.handle_lead(new.now, 1, Some("{\"rev\":0,\"sent\":0}"), slots);
    new.run();
    let record = new.disk[&made].clone();
    assert!(record.contains("card"), "{record}");
    old.effects.clear();
    old.engine.handle_lead(old.now, 2, None, vec![SlotDisk { slot: 1, records: vec![record], high: Vec::new() }]);
    old.run();
    let told = old.told();
    assert!(!told.iter().any(|text| text.contains("\"t\":\"void\"")), "{told:?}");
}

#[test]
fn m3_d5_an_older_page_gives_no_number_that_a_newer_one_has_taken_in_with_a_file() {
    let mut lost = Tab::of(schema(ONE));
    lost.open(Disk::default());
    let made = make(&mut lost, &[create("note", 1, "")]);
    let file = lost.export().0;
    // The profile was put back to before this was made.
    let mut old = Tab::of_config(Config { client: made.0, ..common::config_for(schema(ONE)) });
    old.open(Disk::default());
    let mut new = Tab::of_config(Config { slot: 1, client: 0xbb, ..common::config_for(schema(THREE)) });
    new.open(Disk::default());
    let told: serde_json::Value = serde_json::from_str(&new.engine.admit(&file).unwrap()).unwrap();
    old.engine.handle_peer(old.now, told["message"].as_str().unwrap());
    old.run();
    assert_ne!(make(&mut old, &[create("note", 2, "")]), made);
}

#[test]
fn m3_what_the_sending_tab_has_sent_for_an_older_page_goes_in_the_same_words_once_that_is_closed() {
    let mut store = Store::default();
    let mut before = Tab::of(schema(THREE)).lead(&store);
    before.sync_with(&mut store, &schema(THREE));
    let mut new = reload(&before, THREE);
    let (mut old, _) = made_in_an_older_page();
    old.now = new.now + 60_000;
    let made = make(&mut old, &[create("note", 2, "")]);
    new.engine.handle_peer(new.now, &common::shown(1, true, &old.disk[&made]));
    new.run();
    let mut sends = || {
        for _ in 0..20 {
            new.now += 60_000;
            new.engine.handle_tick(new.now);
            new.run();
            while let Some((request, push)) = new.pushes.pop() {
                new.engine.handle_send_failed(new.now, request, driftline_core::sender::SendFailure::Network);
                if push.contains(&id(2)) {
                    return (push, new.engine.outbox().get(made).unwrap().body.clone(), new.now);
                }
            }
        }
        panic!("{:?}", new.effects);
    };
    let first = sends();
    assert!(first.1.contains("\"schema\":1"));
    old.now = first.2;
    new.engine.handle_adopted(first.2, SlotDisk { slot: 1, ..old.slot() });
    new.run();
    assert_eq!(new.engine.outbox().get(made).unwrap().body, first.1, "it may have taken effect");
}
