//! Undo and redo across sync and other people's edits, and what becomes of edits to rows that somebody deleted.

mod common;

use common::{Store, Tab, config_for, create, delete, id, update};
use driftline_core::engine::{Config, Disk, Engine};
use driftline_core::schema::Schema;
use driftline_core::value::{RowId, RowKey, Value};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// One table for each fate of an edit to a deleted row.
const SCHEMA: &str = r#"{"name": "t", "version": 1, "tables": {
  "board": {"edits_to_deleted": "restore",
    "fields": {"name": {"type": "text", "default": ""}, "n": {"type": "counter"}},
    "references": {"folder": {"to": ["folder"], "nullable": true, "on_delete": "set_null"}}},
  "card": {"fields": {"x": {"type": "real", "default": 0}, "y": {"type": "real", "default": 0}, "n": {"type": "counter"}},
    "references": {"board": {"to": ["board"], "nullable": true, "on_delete": "cascade"}}},
  "folder": {"fields": {"name": {"type": "text", "default": ""}}},
  "link": {"edits_to_deleted": "null", "fields": {"label": {"type": "text", "default": ""}},
    "references": {"to": {"to": ["card"], "nullable": true, "on_delete": "cascade"}}},
  "note": {"edits_to_deleted": "park", "fields": {"text": {"type": "text", "default": ""}},
    "references": {"card": {"to": ["card"], "on_delete": "cascade"}}}
}}"#;

fn schema() -> Schema {
    Schema::parse(SCHEMA).unwrap()
}

struct World {
    store: Store,
    ann: Tab,
    ben: Tab,
}

/// Two people, each with a device, in one space.
fn world() -> World {
    let store = Store::default();
    let person = |client| {
        let mut tab = Tab::of(schema());
        tab.engine = Engine::new(Config { client, ..config_for(schema()) });
        tab.lead(&store)
    };
    World { ann: person(0xaa), ben: person(0xbb), store }
}

fn make(tab: &mut Tab, edits: &[String]) {
    // Far enough apart to be steps of their own.
    tab.now += 10_000;
    tab.make(&edits.join(",")).unwrap();
    tab.run();
}

/// A step of a gesture, long after the one before.
fn go_on(tab: &mut Tab, gesture: u64, edits: &[String]) {
    tab.now += 10_000;
    let json = format!("{{\"edits\": [{}], \"gesture\": {gesture}}}", edits.join(","));
    tab.engine.transact(tab.now, &json).unwrap();
    tab.run();
}

fn undo(tab: &mut Tab) -> usize {
    tab.now += 10_000;
    let made = tab.engine.undo(tab.now).unwrap();
    tab.run();
    made.len()
}

fn redo(tab: &mut Tab) -> usize {
    tab.now += 10_000;
    let made = tab.engine.redo(tab.now).unwrap();
    tab.run();
    made.len()
}

impl World {
    /// Both send what waits and hear of what the other sent.
    fn sync(&mut self) {
        for _ in 0..2 {
            self.ann.now += 20_000;
            self.ann.sync(&mut self.store);
            self.ben.now += 20_000;
            self.ben.sync(&mut self.store);
        }
        assert_eq!(self.store.orphans(), 0);
    }

    fn row(&self, table: &str, n: u64) -> Option<Vec<Value>> {
        self.store.rows.get(&key(table, n)).map(|row| row.values.clone())
    }

    /// Both devices hold what the server holds.
    fn assert_same(&self) {
        for tab in [&self.ann, &self.ben] {
            let base = tab.engine.replica().base();
            assert_eq!(base.len(), self.store.rows.len());
            assert!(base.iter().zip(&self.store.rows).all(|(a, b)| a.0 == *b.0 && a.1.values == b.1.values));
            assert_eq!(tab.engine.replica().digest, self.store.space.digest);
        }
    }
}

fn key(table: &str, n: u64) -> RowKey {
    RowKey { table: schema().table(table).unwrap(), id: RowId::parse(&id(n)).unwrap() }
}

fn column(table: &str, name: &str) -> usize {
    let schema = schema();
    schema.tables[schema.table(table).unwrap() as usize].column(name).unwrap() as usize
}

fn seen(tab: &Tab, table: &str, n: u64, name: &str) -> Option<Value> {
    Some(tab.engine.replica().view().get(key(table, n))?.values[column(table, name)].clone())
}

fn reference(name: &str, n: u64) -> String {
    format!("\"{name}\":\"{}\"", id(n))
}

fn parked(tab: &Tab) -> Vec<String> {
    let outbox = tab.engine.outbox_json(tab.now, 100);
    let outbox: serde_json::Value = serde_json::from_str(&outbox).unwrap();
    let problems = outbox.as_array().unwrap().iter().map(|entry| entry["problem"]["code"].as_str().unwrap_or("").to_string());
    problems.filter(|code| !code.is_empty()).collect()
}

/// What the app was told beside the outcome.
fn notices(tab: &Tab) -> Vec<String> {
    let events = tab.events.iter().map(|event| serde_json::from_str::<serde_json::Value>(event).unwrap());
    let notices = events.filter(|event| event["event"] == "notice");
    notices.map(|event| event["problem"]["code"].as_str().unwrap().to_string()).collect()
}

// ---- undo and redo ----

#[test]
fn i8_what_is_made_after_an_undo_ends_what_could_be_redone() {
    let mut world = world();
    let ann = &mut world.ann;
    make(ann, &[create("card", 1, "")]);
    make(ann, &[update("card", 1, "\"set\":{\"x\":1.0}")]);
    undo(ann);
    assert_eq!(ann.engine.undo_depths(), (1, 1));
    make(ann, &[update("card", 1, "\"set\":{\"y\":2.0}")]);
    assert_eq!((ann.engine.undo_depths(), redo(ann)), ((2, 0), 0));
}

#[test]
fn i8_undoing_a_delete_brings_back_the_same_rows_across_sync() {
    let mut w = world();
    make(&mut w.ann, &[create("board", 1, "\"name\":\"plan\",\"n\":3")]);
    make(&mut w.ann, &[create("card", 2, &reference("board", 1)), create("note", 3, &reference("card", 2))]);
    make(&mut w.ann, &[create("link", 4, &reference("to", 2))]);
    w.sync();
    let before = w.store.rows.keys().copied().collect::<Vec<_>>();
    make(&mut w.ann, &[delete("board", 1)]);
    w.sync();
    assert_eq!(w.store.rows.len(), 0);
    assert_eq!(undo(&mut w.ann), 1);
    assert_eq!(w.ann.engine.replica().view().len(), 4, "seen at once");
    w.sync();
    assert_eq!(w.store.rows.keys().copied().collect::<Vec<_>>(), before);
    assert_eq!(w.row("board", 1).unwrap()[column("board", "n")], Value::Int(3));
    assert_eq!(w.row("note", 3).unwrap()[column("note", "card")], Value::Ref(key("card", 2)));
    w.assert_same();
    assert_eq!(redo(&mut w.ann), 1);
    w.sync();
    assert_eq!(w.store.rows.len(), 0, "redone");
    assert_eq!(undo(&mut w.ann), 1);
    w.sync();
    assert_eq!(w.store.rows.len(), 4, "and undone again");
    w.assert_same();
}

#[test]
fn i8_undo_takes_back_what_is_still_as_it_was_left_and_nothing_that_others_wrote() {
    let mut w = world();
    make(&mut w.ann, &[create("card", 1, "\"x\":1,\"y\":1")]);
    w.sync();
    make(&mut w.ann, &[update("card", 1, "\"set\":{\"x\":2,\"y\":2}")]);
    w.sync();
    w.ben.now = w.ann.now + 1_000;
    make(&mut w.ben, &[update("card", 1, "\"set\":{\"y\":9}")]);
    w.sync();
    assert_eq!(undo(&mut w.ann), 1);
    w.sync();
    assert_eq!((seen(&w.ben, "card", 1, "x"), seen(&w.ben, "card", 1, "y")), (Some(Value::Real(1.0)), Some(Value::Real(9.0))));
    assert_eq!(redo(&mut w.ann), 1);
    w.sync();
    assert_eq!((seen(&w.ben, "card", 1, "x"), seen(&w.ben, "card", 1, "y")), (Some(Value::Real(2.0)), Some(Value::Real(9.0))));
    w.assert_same();
}

#[test]
fn i8_undoing_an_increment_takes_away_what_it_added_and_no_more() {
    let mut w = world();
    make(&mut w.ann, &[create("card", 1, "")]);
    w.sync();
    make(&mut w.ann, &[update("card", 1, "\"add\":{\"n\":5}")]);
    make(&mut w.ben, &[update("card", 1, "\"add\":{\"n\":2}")]);
    w.sync();
    assert_eq!(undo(&mut w.ann), 1);
    w.sync();
    assert_eq!(w.row("card", 1).unwrap()[column("card", "n")], Value::Int(2));
    w.assert_same();
}

#[test]
fn i8_a_drag_is_undone_as_a_whole_and_a_step_on_which_others_went_on_is_passed_over() {
    let mut w = world();
    make(&mut w.ann, &[create("card", 1, "")]);
    make(&mut w.ann, &[update("card", 1, "\"set\":{\"y\":7}")]);
    w.ann.now += 10_000;
    for x in 1..60 {
        w.ann.now += 16;
        w.ann.make(&update("card", 1, &format!("\"set\":{{\"x\":{x}}}"))).unwrap();
    }
    w.ann.run();
    w.sync();
    assert_eq!(w.ann.engine.undo_depths(), (3, 0));
    w.ben.now = w.ann.now + 1_000;
    make(&mut w.ben, &[update("card", 1, "\"set\":{\"x\":1000}")]);
    w.sync();
    // The drag has been overwritten: the next step is what is undone.
    assert_eq!(undo(&mut w.ann), 1);
    assert_eq!((seen(&w.ann, "card", 1, "x"), seen(&w.ann, "card", 1, "y")), (Some(Value::Real(1000.0)), Some(Value::Real(0.0))));
    make(&mut w.ann, &[update("card", 1, "\"set\":{\"y\":3}")]);
    assert_eq!(redo(&mut w.ann), 0, "something new has been done since");
}

#[test]
fn i8_a_row_that_two_people_bring_back_is_there_once_and_keeps_what_was_written_since() {
    let mut w = world();
    make(&mut w.ann, &[create("card", 1, "\"x\":1")]);
    w.sync();
    make(&mut w.ann, &[delete("card", 1)]);
    make(&mut w.ben, &[delete("card", 1)]);
    w.sync();
    assert_eq!(undo(&mut w.ann), 1);
    w.sync();
    make(&mut w.ann, &[update("card", 1, "\"set\":{\"x\":5}")]);
    w.ann.sync(&mut w.store);
    // Ben has not heard of it, and undoes his delete too.
    let seq = w.ben.make(&format!("{{\"op\":\"restore\",\"table\":\"card\",\"id\":\"{}\",\"set\":{{\"x\":1}}}}", id(1)));
    assert!(seq.is_ok());
    w.ben.run();
    w.sync();
    assert_eq!(w.row("card", 1).unwrap()[column("card", "x")], Value::Real(5.0));
    w.assert_same();
}

#[test]
fn i8_what_cannot_come_back_whole_comes_back_without_what_is_gone() {
    let mut w = world();
    make(&mut w.ann, &[create("folder", 1, ""), create("board", 2, &reference("folder", 1))]);
    make(&mut w.ann, &[create("card", 3, ""), create("note", 4, &reference("card", 3))]);
    w.sync();
    make(&mut w.ann, &[delete("board", 2), delete("note", 4)]);
    w.sync();
    // Meanwhile, and unknown to Ann, both of what they hung on go.
    make(&mut w.ben, &[delete("folder", 1), delete("card", 3)]);
    w.ben.sync(&mut w.store);
    w.ann.now += 10_000;
    assert_eq!(w.ann.engine.undo(w.ann.now).unwrap().len(), 1);
    w.ann.run();
    w.sync();
    // One transaction: it takes effect together or not at all, and the note cannot be without its card.
    assert_eq!((w.row("board", 2).is_some(), parked(&w.ann)), (false, vec!["missing_parent".to_string()]));
    let key = w.ann.engine.outbox().iter().next().unwrap().made.key;
    w.ann.engine.discard(w.ann.now, key, true).unwrap();
    w.ann.run();
    // What was given up cannot be redone, nor undone.
    assert_eq!((redo(&mut w.ann), w.ann.engine.undo_depths().1), (0, 0));

    make(&mut w.ann, &[create("folder", 11, ""), create("board", 12, &reference("folder", 11))]);
    w.sync();
    make(&mut w.ann, &[delete("board", 12)]);
    w.sync();
    make(&mut w.ben, &[delete("folder", 11)]);
    w.ben.sync(&mut w.store);
    assert_eq!(undo(&mut w.ann), 1);
    w.sync();
    assert_eq!(w.row("board", 12).unwrap()[column("board", "folder")], Value::Null, "it can do without its folder");
    assert_eq!(notices(&w.ann), ["reference_dropped"], "and that is said");
    w.assert_same();

    make(&mut w.ann, &[create("folder", 21, ""), create("board", 22, &reference("folder", 21))]);
    w.sync();
    make(&mut w.ann, &[delete("board", 22)]);
    make(&mut w.ben, &[delete("folder", 21)]);
    w.sync();
    assert_eq!(undo(&mut w.ann), 1);
    assert_eq!(seen(&w.ann, "board", 22, "folder"), Some(Value::Null), "she has heard that it is gone");
}

#[test]
fn i8_a_transaction_given_up_is_not_undone() {
    let mut w = world();
    make(&mut w.ann, &[create("card", 1, "")]);
    w.sync();
    make(&mut w.ann, &[update("card", 1, "\"add\":{\"n\":5}")]);
    let key = w.ann.engine.outbox().iter().last().unwrap().made.key;
    w.ann.pushes.clear();
    w.ann.engine.set_online(w.ann.now, false);
    w.ann.engine.discard(w.ann.now, key, false).unwrap();
    w.ann.run();
    assert_eq!(seen(&w.ann, "card", 1, "n"), Some(Value::Int(0)));
    undo(&mut w.ann);
    assert_eq!(seen(&w.ann, "card", 1, "n"), None, "the step before, which made the card");
}

#[test]
fn i8_an_undo_of_more_than_a_transaction_holds_takes_several() {
    let mut w = world();
    make(&mut w.ann, &[create("board", 1, "")]);
    for part in 0..3 {
        let cards: Vec<String> = (0..600).map(|n| create("card", 100 + part * 600 + n, &reference("board", 1))).collect();
        make(&mut w.ann, &cards);
    }
    w.sync();
    make(&mut w.ann, &[delete("board", 1)]);
    w.sync();
    assert_eq!(w.store.rows.len(), 0);
    assert_eq!(undo(&mut w.ann), 2, "1,801 rows in transactions of at most 1,000");
    w.sync();
    assert_eq!(w.store.rows.len(), 1_801);
    w.assert_same();
    assert_eq!(redo(&mut w.ann), 2);
    w.sync();
    assert_eq!(w.store.rows.len(), 0);
}

#[test]
fn i8_a_drag_that_ended_where_it_began_is_passed_over() {
    let mut w = world();
    make(&mut w.ann, &[create("card", 1, "")]);
    make(&mut w.ann, &[update("card", 1, "\"set\":{\"y\":7}")]);
    w.ann.now += 10_000;
    for x in [1, 2, 0] {
        w.ann.now += 16;
        w.ann.make(&update("card", 1, &format!("\"set\":{{\"x\":{x}}}"))).unwrap();
    }
    w.ann.run();
    assert_eq!(undo(&mut w.ann), 1);
    assert_eq!(seen(&w.ann, "card", 1, "y"), Some(Value::Real(0.0)), "the step before, for nothing is left of the drag");
}

#[test]
fn i8_what_a_cascade_took_is_brought_back_also_where_an_edit_of_it_had_not_been_sent_yet() {
    let mut w = world();
    make(&mut w.ann, &[create("board", 1, ""), create("card", 2, &reference("board", 1)), create("card", 3, "")]);
    w.sync();
    w.ann.engine.set_online(w.ann.now, false);
    // It also writes another row, so the delete does not make it pointless.
    make(&mut w.ann, &[update("card", 2, "\"set\":{\"x\":5}"), update("card", 3, "\"set\":{\"x\":6}")]);
    make(&mut w.ann, &[update("board", 1, "\"add\":{\"n\":1}"), update("card", 3, "\"set\":{\"y\":6}")]);
    make(&mut w.ann, &[delete("board", 1)]);
    assert_eq!(undo(&mut w.ann), 1);
    w.ann.engine.set_online(w.ann.now, true);
    w.sync();
    assert_eq!((w.store.rows.len(), parked(&w.ann).len()), (3, 0), "board and card are back");
    assert_eq!(w.row("card", 2).unwrap()[column("card", "x")], Value::Real(5.0));
}

#[test]
fn i8_a_delete_of_more_bytes_than_a_transaction_holds_can_be_undone() {
    let mut w = world();
    for n in 0..20 {
        make(&mut w.ann, &[create("folder", n, &format!("\"name\":\"{}\"", "a".repeat(60_000)))]);
    }
    w.sync();
    make(&mut w.ann, &(0..20).map(|n| delete("folder", n)).collect::<Vec<_>>());
    w.sync();
    assert_eq!(w.store.rows.len(), 0);
    assert_eq!(undo(&mut w.ann), 2, "1.2 MB come back");
    w.sync();
    assert_eq!(w.store.rows.len(), 20);
    w.assert_same();
}

/// A row that grew beyond what one transaction holds, and one that did not.
fn large_row() -> (Store, Tab) {
    let fields: Vec<String> = (0..5).map(|n| format!("\"f{n}\":{{\"type\":\"json\",\"nullable\":true}}")).collect();
    let text = format!(
        "{{\"name\":\"t\",\"version\":1,\"tables\":{{\"page\":{{\"edits_to_deleted\":\"restore\",\"fields\":{{\"x\":{{\"type\":\"int\",\"default\":0}},{}}}}}}}}}",
        fields.join(",")
    );
    let mut store = Store::default();
    let mut tab = Tab::of(Schema::parse(&text).unwrap()).lead(&store);
    make(&mut tab, &[create("page", 1, ""), create("page", 2, "")]);
    tab.sync(&mut store);
    let large = "a".repeat(250_000);
    for n in 0..5 {
        make(&mut tab, &[update("page", 1, &format!("\"set\":{{\"f{n}\":\"{large}\"}}"))]);
        tab.sync(&mut store);
    }
    (store, tab)
}

#[test]
fn i8_a_step_that_cannot_be_undone_says_so_once_and_does_not_stand_before_the_others() {
    let (mut store, mut tab) = large_row();
    make(&mut tab, &[update("page", 2, "\"set\":{\"x\":5}")]);
    make(&mut tab, &[delete("page", 1)]);
    tab.sync(&mut store);
    let depth = tab.engine.undo_depths().0;
    tab.now += 10_000;
    assert_eq!(tab.engine.undo(tab.now).map_err(|problem| problem.code), Err("invalid".into()));
    assert_eq!(tab.engine.undo_depths(), (depth - 1, 0));
    assert_eq!(undo(&mut tab), 1);
    tab.sync(&mut store);
    assert!(store.rows.values().all(|row| row.values.contains(&Value::Int(0))), "the step before");
}

#[test]
fn i8_undoing_a_create_takes_nothing_with_it_that_others_have_made_or_changed() {
    let mut w = world();
    let steps = [create("board", 1, ""), create("folder", 2, ""), create("card", 3, ""), create("link", 4, "")];
    for step in &steps {
        make(&mut w.ann, std::slice::from_ref(step));
    }
    w.sync();
    w.ben.now = w.ann.now + 1_000;
    make(&mut w.ben, &[create("card", 11, &reference("board", 1)), create("board", 12, &reference("folder", 2))]);
    make(&mut w.ben, &[update("card", 3, "\"set\":{\"x\":1}")]);
    w.sync();
    assert_eq!((undo(&mut w.ann), undo(&mut w.ann)), (1, 0), "the link goes, the others are passed over");
    w.sync();
    assert_eq!((w.store.rows.len(), w.row("link", 4)), (5, None));
    assert_eq!(w.row("board", 12).unwrap()[column("board", "folder")], Value::Ref(key("folder", 2)));
    w.assert_same();
}

#[test]
fn i8_undoing_a_create_takes_what_was_made_with_it_and_lets_go_of_what_was_moved_to_it() {
    let mut w = world();
    make(&mut w.ann, &[create("card", 1, "")]);
    let moved = update("card", 1, &format!("\"set\":{{{}}}", reference("board", 2)));
    make(&mut w.ann, &[create("board", 2, ""), create("card", 3, &reference("board", 2)), moved]);
    make(&mut w.ann, &[update("card", 3, "\"set\":{\"x\":1},\"add\":{\"n\":4}")]);
    w.sync();
    assert_eq!((undo(&mut w.ann), undo(&mut w.ann)), (1, 1));
    w.sync();
    assert_eq!((w.store.rows.len(), seen(&w.ben, "card", 1, "board")), (1, Some(Value::Null)));
    assert_eq!((redo(&mut w.ann), redo(&mut w.ann)), (1, 1));
    w.sync();
    assert_eq!((seen(&w.ben, "card", 1, "board"), seen(&w.ben, "card", 3, "n")), (Some(Value::Ref(key("board", 2))), Some(Value::Int(4))));
    w.assert_same();
}

#[test]
fn r3_what_waits_for_a_row_brought_back_is_discarded_with_it_and_what_came_before_is_not() {
    let mut w = world();
    make(&mut w.ann, &[create("card", 1, "\"x\":1"), create("card", 2, "")]);
    w.sync();
    w.ann.engine.set_online(w.ann.now, false);
    make(&mut w.ann, &[update("card", 1, "\"set\":{\"y\":1}"), update("card", 2, "\"set\":{\"y\":1}")]);
    make(&mut w.ann, &[delete("card", 1)]);
    assert_eq!(undo(&mut w.ann), 1);
    make(&mut w.ann, &[update("card", 1, "\"set\":{\"x\":9}")]);
    let waits = |tab: &Tab| tab.engine.outbox().iter().map(|entry| entry.made.key).collect::<Vec<_>>();
    let keys = waits(&w.ann);
    assert_eq!(keys.len(), 4);
    w.ann.engine.discard(w.ann.now, keys[2], true).unwrap();
    assert_eq!(waits(&w.ann), keys[..2]);
    w.ann.engine.set_online(w.ann.now, true);
    w.sync();
    assert_eq!((w.row("card", 1), parked(&w.ann).len()), (None, 0));
}

#[test]
fn i8_who_wrote_a_row_before_it_was_deleted_and_brought_back_is_told_that_it_came_too_late() {
    let mut w = world();
    make(&mut w.ann, &[create("card", 1, "\"x\":1")]);
    w.sync();
    w.ben.engine.set_online(w.ben.now, false);
    w.ben.now = w.ann.now;
    make(&mut w.ben, &[update("card", 1, "\"set\":{\"x\":7},\"add\":{\"n\":2}")]);
    w.ann.now += 60_000;
    make(&mut w.ann, &[delete("card", 1)]);
    assert_eq!(undo(&mut w.ann), 1);
    w.ann.sync(&mut w.store);
    w.ben.engine.set_online(w.ben.now, true);
    w.sync();
    assert_eq!((seen(&w.ann, "card", 1, "x"), seen(&w.ann, "card", 1, "n")), (Some(Value::Real(1.0)), Some(Value::Int(2))));
    assert_eq!(notices(&w.ben), ["row_newer"]);
    w.assert_same();
}

// ---- edits to rows that somebody deleted ----

#[test]
fn i6_a_row_of_a_table_that_restores_can_be_edited_however_large_it_is() {
    let (mut store, mut tab) = large_row();
    make(&mut tab, &[update("page", 1, "\"set\":{\"x\":1}"), update("page", 2, "\"set\":{\"x\":1}")]);
    let sent: Vec<bool> = tab.engine.outbox().iter().flat_map(|entry| &entry.edits).map(|edit| edit.was.is_empty()).collect();
    assert_eq!(sent, [true, false], "what does not fit is left out");
    tab.sync(&mut store);
    assert!(store.rows.values().all(|row| row.values.contains(&Value::Int(1))));
}

/// Ann edits a row offline that Ben deletes first.
fn edit_of_deleted(table: &str, first: &[String], edit: String) -> World {
    let mut w = world();
    make(&mut w.ann, first);
    w.sync();
    make(&mut w.ben, &[delete(table, 1)]);
    w.ben.sync(&mut w.store);
    make(&mut w.ann, &[edit]);
    w.sync();
    w.assert_same();
    w
}

#[test]
fn i6_drop_drops_the_edit_with_a_notice() {
    let w = edit_of_deleted("card", &[create("card", 1, "")], update("card", 1, "\"set\":{\"x\":5}"));
    assert_eq!((w.row("card", 1), parked(&w.ann).len()), (None, 0));
    assert_eq!(notices(&w.ann), ["row_deleted"]);
}

#[test]
fn i6_park_refuses_the_edit_and_its_author_decides() {
    let first = [create("card", 2, ""), create("note", 1, &reference("card", 2))];
    let w = edit_of_deleted("note", &first, update("note", 1, "\"set\":{\"text\":\"mine\"}"));
    assert_eq!((w.row("note", 1), parked(&w.ann)), (None, vec!["row_deleted".to_string()]));
}

#[test]
fn i6_restore_makes_the_row_again_with_the_edit() {
    let first = [create("folder", 2, ""), create("board", 1, &format!("\"name\":\"plan\",\"n\":4,{}", reference("folder", 2)))];
    let w = edit_of_deleted("board", &first, update("board", 1, "\"set\":{\"name\":\"better\"},\"add\":{\"n\":3}"));
    let row = w.row("board", 1).expect("it is back");
    assert_eq!(row[column("board", "name")], Value::Text("better".into()));
    assert_eq!(row[column("board", "n")], Value::Int(7));
    assert_eq!(row[column("board", "folder")], Value::Ref(key("folder", 2)));
    assert_eq!(parked(&w.ann).len(), 0);
    assert!(!w.store.deleted.contains(&key("board", 1)), "its id is not remembered as deleted any more");
}

#[test]
fn i6_null_makes_references_to_the_deleted_row_null_with_a_notice() {
    let mut w = world();
    make(&mut w.ann, &[create("card", 1, "")]);
    w.sync();
    make(&mut w.ben, &[delete("card", 1)]);
    w.ben.sync(&mut w.store);
    make(&mut w.ann, &[create("link", 2, &format!("\"label\":\"to it\",{}", reference("to", 1)))]);
    w.sync();
    let row = w.row("link", 2).expect("it is there");
    assert_eq!((&row[column("link", "label")], &row[column("link", "to")]), (&Value::Text("to it".into()), &Value::Null));
    assert_eq!(notices(&w.ann), ["reference_dropped"]);
    w.assert_same();
    // Also where the deletion was heard of before the edit was sent.
    make(&mut w.ann, &[create("card", 3, "")]);
    w.sync();
    w.ann.engine.set_online(w.ann.now, false);
    make(&mut w.ann, &[create("link", 4, &reference("to", 3))]);
    make(&mut w.ben, &[delete("card", 3)]);
    w.ben.sync(&mut w.store);
    w.ann.engine.set_online(w.ann.now, true);
    w.sync();
    assert_eq!((w.row("link", 4).map(|row| row[column("link", "to")].clone()), parked(&w.ann).len()), (Some(Value::Null), 0));
}

#[test]
fn i6_an_edit_of_a_row_that_no_memory_tells_of_is_row_unknown() {
    let mut w = world();
    make(&mut w.ann, &[create("card", 1, "")]);
    w.sync();
    make(&mut w.ben, &[delete("card", 1)]);
    w.ben.sync(&mut w.store);
    w.store.deleted.clear();
    make(&mut w.ann, &[update("card", 1, "\"set\":{\"x\":5}")]);
    w.sync();
    assert_eq!(parked(&w.ann), ["row_unknown"]);
}

#[test]
fn i6_a_local_delete_cancels_what_waits_below() {
    let mut w = world();
    make(&mut w.ann, &[create("board", 1, ""), create("card", 2, &reference("board", 1)), create("card", 3, ""), create("card", 4, "")]);
    w.sync();
    w.ann.engine.set_online(w.ann.now, false);
    make(&mut w.ann, &[update("card", 2, "\"set\":{\"x\":5}")]);
    make(&mut w.ann, &[update("card", 2, "\"set\":{\"y\":5}"), update("card", 3, "\"set\":{\"x\":6}")]);
    make(&mut w.ann, &[update("board", 1, "\"add\":{\"n\":1}")]);
    make(&mut w.ann, &[update("card", 4, &format!("\"set\":{{{}}}", reference("board", 1)))]);
    assert_eq!(w.ann.engine.outbox().len(), 4);
    make(&mut w.ann, &[delete("board", 1)]);
    // The one that also moved another card stays, and so does the one that put that card on the board.
    let waits: Vec<u64> = w.ann.engine.outbox().iter().map(|entry| entry.made.key.1).collect();
    assert_eq!(waits, [3, 5, 6]);
    assert_eq!(w.ann.engine.replica().view().len(), 1);
    w.ann.engine.set_online(w.ann.now, true);
    w.sync();
    assert_eq!((w.store.rows.len(), parked(&w.ann).len(), w.ann.engine.outbox().len()), (1, 0, 0));
    w.assert_same();
}

#[test]
fn i8_of_a_gesture_what_was_given_up_is_not_undone_and_the_rest_is() {
    let mut w = world();
    make(&mut w.ann, &[create("card", 1, ""), create("card", 2, ""), create("card", 3, "")]);
    w.sync();
    w.ann.engine.set_online(w.ann.now, false);
    let ann = &mut w.ann;
    let mut keys = Vec::new();
    for edit in [
        create("card", 10, ""),
        update("card", 1, r#""set": {"x": 5}, "add": {"n": 2}"#),
        delete("card", 3),
        create("card", 11, ""),
        update("card", 2, r#""set": {"x": 7}, "add": {"n": 3}"#),
    ] {
        go_on(ann, 1, &[edit]);
        keys.push(ann.engine.outbox().iter().last().unwrap().made.key);
    }
    assert_eq!(ann.engine.undo_depths().0, 2, "the gesture is one step");
    let now = ann.now;
    // The last of them said something else from then on; one in the middle and the last are given up.
    let amend = format!(r#"{{"what": "amend", "key": "{:016x}:{}", "edits": [{}]}}"#, keys[3].0, keys[3].1, create("card", 12, ""));
    ann.engine.decide(now, &amend).unwrap();
    for given_up in [keys[1], keys[2], keys[4]] {
        ann.engine.discard(now, given_up, false).unwrap();
    }
    ann.run();
    let there = |tab: &Tab| [1, 2, 3, 10, 11, 12].map(|card| seen(tab, "card", card, "x").is_some());
    assert_eq!(there(ann), [true, true, true, true, false, true]);
    assert_eq!(ann.engine.undo_depths().0, 2);
    undo(ann);
    assert_eq!(there(ann), [true, true, true, false, false, true], "what was made and not given up goes, and nothing else");
    assert_eq!([1, 2].map(|card| seen(ann, "card", card, "n")), [Some(Value::Int(0)), Some(Value::Int(0))]);
    redo(ann);
    assert_eq!(there(ann), [true, true, true, true, false, true]);
    undo(ann);
    undo(ann);
    w.ann.engine.set_online(w.ann.now, true);
    w.sync();
    w.assert_same();
}

#[test]
fn i8_what_another_tab_gave_up_is_not_undone_in_the_one_that_made_it() {
    let mut store = Store::default();
    let mut sends = Tab::of(schema()).lead(&store);
    make(&mut sends, &[create("card", 1, "")]);
    sends.sync(&mut store);
    let mut tab = Tab::of_config(Config { slot: 1, client: 0xbb, ..config_for(schema()) });
    tab.open(Disk { slots: Vec::new(), ..sends.kept.clone() });
    make(&mut tab, &[update("card", 1, "\"add\":{\"n\":5}")]);
    let key = tab.engine.outbox().iter().last().unwrap().made.key;
    assert_eq!(tab.engine.undo_depths(), (1, 0));
    let void = format!("{{\"schema\":1,\"t\":\"void\",\"keys\":[\"{:016x}:{}\"]}}", key.0, key.1);
    tab.engine.handle_peer(tab.now, &void);
    tab.run();
    assert_eq!(seen(&tab, "card", 1, "n"), Some(Value::Int(0)));
    assert_eq!(tab.engine.undo_depths(), (0, 0));
}

#[test]
fn i8_a_step_that_was_given_up_transaction_by_transaction_is_no_step() {
    let mut w = world();
    make(&mut w.ann, &[create("card", 1, "")]);
    w.sync();
    w.ann.engine.set_online(w.ann.now, false);
    let ann = &mut w.ann;
    let mut keys = Vec::new();
    for n in [20, 21, 22] {
        go_on(ann, 1, &[create("card", n, "")]);
        keys.push(ann.engine.outbox().iter().last().unwrap().made.key);
    }
    for (given_up, key) in keys.into_iter().enumerate() {
        assert_eq!(ann.engine.undo_depths().0, 2, "{given_up} given up");
        let now = ann.now;
        ann.engine.discard(now, key, false).unwrap();
    }
    assert_eq!(ann.engine.undo_depths().0, 1);
}

#[test]
fn i8_a_gesture_is_one_step_however_long_it_takes_and_no_more_than_that() {
    let mut world = world();
    let ann = &mut world.ann;
    make(ann, &[create("card", 1, ""), create("card", 2, "")]);
    make(ann, &[update("card", 1, r#""set": {"x": 1}"#)]);
    go_on(ann, 7, &[update("card", 1, r#""set": {"x": 2}"#)]);
    go_on(ann, 7, &[update("card", 1, r#""set": {"x": 3, "y": 3}"#), update("card", 2, r#""set": {"x": 9}"#)]);
    go_on(ann, 7, &[update("card", 2, r#""set": {"x": 10}"#), update("card", 1, r#""set": {"y": 4}"#)]);
    go_on(ann, 8, &[update("card", 1, r#""set": {"x": 5}"#)]);
    assert_eq!(ann.engine.undo_depths(), (4, 0));
    let at = |tab: &Tab, card, name| match seen(tab, "card", card, name) {
        Some(Value::Real(at)) => at,
        other => panic!("{name} of {card} is {other:?}"),
    };
    let places = |tab: &Tab| [1, 2].map(|card| [at(tab, card, "x"), at(tab, card, "y")]);
    undo(ann);
    assert_eq!(places(ann), [[3.0, 4.0], [10.0, 0.0]]);
    undo(ann);
    assert_eq!(places(ann), [[1.0, 0.0], [0.0, 0.0]]);
    ann.now += 10_000;
    ann.engine.redo(ann.now).unwrap();
    assert_eq!(places(ann), [[3.0, 4.0], [10.0, 0.0]]);
    undo(ann);
    undo(ann);
    assert_eq!(places(ann), [[0.0, 0.0], [0.0, 0.0]]);
}

#[test]
fn i8_what_a_gesture_makes_after_something_else_is_a_step_of_its_own() {
    let mut world = world();
    let ann = &mut world.ann;
    go_on(ann, 7, &[create("card", 1, "")]);
    go_on(ann, 7, &[update("card", 1, r#""set": {"x": 2}"#)]);
    make(ann, &[update("card", 1, r#""set": {"x": 3}"#)]);
    go_on(ann, 7, &[update("card", 1, r#""set": {"x": 4}"#)]);
    assert_eq!(ann.engine.undo_depths(), (4, 0));
}

#[test]
fn i8_updates_of_other_fields_are_steps_of_their_own_however_soon_they_come() {
    let mut world = world();
    let ann = &mut world.ann;
    make(ann, &[create("card", 1, ""), create("card", 2, "")]);
    for set in [r#"{"x": 1, "y": 1}"#, r#"{"x": 2, "y": 2}"#, r#"{"x": 3}"#, r#"{"x": 4}"#] {
        ann.now += 16;
        ann.make(&update("card", 1, &format!("\"set\": {set}"))).unwrap();
    }
    assert_eq!(ann.engine.undo_depths(), (3, 0));
}

#[test]
fn i8_a_gesture_that_comes_back_to_where_it_began_leaves_no_step() {
    let mut world = world();
    let ann = &mut world.ann;
    make(ann, &[create("card", 1, "")]);
    for x in [5, 6, 0] {
        assert_eq!(ann.engine.undo_depths().0, if x == 5 { 1 } else { 2 });
        go_on(ann, 7, &[update("card", 1, &format!("\"set\": {{\"x\": {x}}}"))]);
    }
    assert_eq!(ann.engine.undo_depths(), (1, 0));
}

#[test]
fn i8_what_does_not_number_a_gesture_is_refused() {
    let mut world = world();
    let ann = &mut world.ann;
    for wrong in ["-1", "1.5", "1e300", "null", "\"7\"", "[7]"] {
        let json = format!("{{\"edits\": [{}], \"gesture\": {wrong}}}", create("card", 1, ""));
        let problem = ann.engine.transact(ann.now, &json).unwrap_err();
        assert_eq!(problem.code, "invalid", "{wrong}");
    }
    assert_eq!((ann.engine.outbox().len(), ann.engine.undo_depths()), (0, (0, 0)));
}

#[test]
fn i8_a_gesture_with_many_rows_is_one_step_in_whatever_order_they_come() {
    let mut world = world();
    let ann = &mut world.ann;
    let cards: Vec<u64> = (1..=2_000).collect();
    for cards in cards.chunks(500) {
        make(ann, &cards.iter().map(|card| create("card", *card, "")).collect::<Vec<_>>());
    }
    let steps = ann.engine.undo_depths().0;
    let moves = |x: u64, cards: &mut dyn Iterator<Item = &u64>| -> Vec<String> {
        cards.map(|card| update("card", *card, &format!("\"set\": {{\"x\": {x}}}"))).collect()
    };
    for half in cards.chunks(1_000) {
        go_on(ann, 1, &moves(1, &mut half.iter()));
        go_on(ann, 1, &moves(2, &mut half.iter().rev()));
    }
    assert_eq!(ann.engine.undo_depths().0, steps + 1);
    // One transaction holds 1,000 edits.
    ann.now += 10_000;
    assert_eq!(ann.engine.undo(ann.now).unwrap().len(), 2);
    assert!(cards.iter().all(|card| seen(ann, "card", *card, "x") == Some(Value::Real(0.0))));
}

#[test]
fn i8_what_a_gesture_makes_and_deletes_in_several_transactions_is_one_step() {
    let mut world = world();
    let ann = &mut world.ann;
    let all: Vec<u64> = (1..=1_200).collect();
    for part in all.chunks(500) {
        go_on(ann, 1, &part.iter().map(|card| create("card", *card, "")).collect::<Vec<_>>());
    }
    assert_eq!(ann.engine.undo_depths(), (1, 0));
    for part in all.chunks(500) {
        go_on(ann, 2, &part.iter().map(|card| delete("card", *card)).collect::<Vec<_>>());
    }
    go_on(ann, 3, &[create("card", 5_000, "")]);
    assert_eq!(ann.engine.undo_depths(), (3, 0));
    let there = |tab: &Tab| all.iter().filter(|card| seen(tab, "card", **card, "x").is_some()).count();
    undo(ann);
    assert_eq!(there(ann), 0);
    undo(ann);
    assert_eq!(there(ann), 1_200);
    undo(ann);
    assert_eq!((there(ann), ann.engine.undo_depths()), (0, (0, 3)));
    redo(ann);
    redo(ann);
    assert_eq!((there(ann), ann.engine.undo_depths()), (0, (2, 1)));
    undo(ann);
    assert_eq!(there(ann), 1_200);
}
