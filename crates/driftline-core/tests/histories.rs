//! Histories that broke real canvas services, in the schema of one. Each is told as it happened, and ends as it should have.

mod common;

use common::{Store, Tab, config_for, create, delete, id, update};
use driftline_core::engine::{Config, Disk, Engine};
use driftline_core::schema::Schema;
use driftline_core::value::{RowId, RowKey, Value};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const CANVAS: &str = include_str!("../../../tests/schemas/canvas/schema.json");

fn canvas() -> Schema {
    Schema::parse(CANVAS).unwrap()
}

fn tab(store: &Store) -> Tab {
    Tab::of(canvas()).lead(store)
}

fn make(tab: &mut Tab, edits: &[String]) {
    tab.make(&edits.join(",")).unwrap();
    tab.run();
}

/// A field of a row as the app sees it.
fn seen(tab: &Tab, table: &str, n: u64, column: &str) -> Option<Value> {
    let schema = canvas();
    let table = schema.table(table).unwrap();
    let column = schema.tables[table as usize].column(column).unwrap();
    let row = tab.engine.replica().view().get(RowKey { table, id: RowId::parse(&id(n)).unwrap() })?;
    Some(row.values[column as usize].clone())
}

fn real(value: f64) -> Option<Value> {
    Some(Value::Real(value))
}

/// The rows named by each part of the log, in order.
fn log(store: &Store) -> Vec<String> {
    store.log.iter().map(|row| row.3.clone()).collect()
}

/// Sends everything; nothing may be refused, and no part of the log may name a row before it is there.
fn settle(tab: &mut Tab, store: &mut Store) {
    tab.sync(store);
    let counts = tab.engine.outbox().counts();
    assert_eq!((counts.queued, counts.parked, tab.engine.outbox().len()), (0, 0, 0), "{:?}", tab.events);
    let mut there = String::new();
    for changes in log(store) {
        let json = driftline_core::json::Json::parse(&changes).unwrap();
        for change in json.as_list().unwrap() {
            let edit = driftline_core::edit::Edit::read(&tab.schema, change, driftline_core::edit::Values::Final).unwrap();
            there += &format!(" {}", edit.row.id);
            for (_, target) in edit.references() {
                assert!(there.contains(&target.id.to_string()), "{target:?} is named before it is there: {changes}");
            }
        }
    }
    assert_eq!(store.orphans(), 0);
    assert_eq!(tab.engine.replica().digest, store.space.digest);
}

const TYPE: u64 = 90;

fn connection(n: u64, start: (&str, u64), end: (&str, u64)) -> String {
    let item = |(table, n): (&str, u64)| format!("{{\"{table}\":\"{}\"}}", id(n));
    let set = format!("\"start_item\":{},\"end_item\":{},\"connection_type\":\"{}\"", item(start), item(end), id(TYPE));
    create("connection", n, &set)
}

#[test]
fn o1_a_connection_made_before_its_type_and_before_its_box() {
    let mut store = Store::default();
    let mut tab = tab(&store);
    make(&mut tab, &[connection(3, ("card", 1), ("box", 2))]);
    make(&mut tab, &[create("box", 2, "")]);
    make(&mut tab, &[create("connection_type", TYPE, "")]);
    make(&mut tab, &[create("card", 1, "")]);
    settle(&mut tab, &mut store);
    assert_eq!(store.rows.len(), 4);
}

#[test]
fn q6_a_card_that_moves_into_a_list_made_after_its_last_change() {
    let mut store = Store::default();
    let mut tab = tab(&store);
    make(&mut tab, &[create("card", 1, "")]);
    settle(&mut tab, &mut store);
    // Merging the two updates would name the list before it is there.
    make(&mut tab, &[update("card", 1, "\"text\":{\"name\":[\"\",\"a\"]}")]);
    make(&mut tab, &[create("list", 2, "")]);
    make(&mut tab, &[update("card", 1, &format!("\"set\":{{\"list\":\"{}\"}}", id(2)))]);
    settle(&mut tab, &mut store);
    assert!(matches!(seen(&tab, "card", 1, "list"), Some(Value::Ref(_))));
    assert_eq!(seen(&tab, "card", 1, "name"), Some(Value::Text("a".into())));
}

#[test]
fn o1_a_parent_deleted_before_its_children() {
    let mut store = Store::default();
    let mut tab = tab(&store);
    let tag = create("tag", 2, &format!("\"name\":\"t\",\"card\":\"{}\"", id(1)));
    let mention = create("mention", 3, &format!("\"card\":\"{}\"", id(1)));
    make(&mut tab, &[create("card", 1, ""), tag, mention, create("list", 4, "")]);
    make(&mut tab, &[update("card", 1, &format!("\"set\":{{\"list\":\"{}\"}}", id(4)))]);
    settle(&mut tab, &mut store);
    make(&mut tab, &[delete("card", 1)]);
    make(&mut tab, &[delete("tag", 2)]);
    make(&mut tab, &[delete("mention", 3)]);
    make(&mut tab, &[delete("list", 4)]);
    settle(&mut tab, &mut store);
    assert!(store.rows.is_empty());
}

#[test]
fn q5_folding_keeps_a_null_and_what_the_later_edit_does_not_name() {
    let mut store = Store::default();
    let mut tab = tab(&store);
    make(&mut tab, &[create("card", 1, "\"resize_width\":300,\"z\":1")]);
    settle(&mut tab, &mut store);
    tab.engine.set_online(tab.now, false);
    make(&mut tab, &[update("card", 1, "\"set\":{\"x\":1,\"y\":2,\"z\":7}")]);
    make(&mut tab, &[update("card", 1, "\"set\":{\"x\":5,\"resize_width\":null}")]);
    make(&mut tab, &[update("card", 1, "\"set\":{\"x\":9,\"y\":8}")]);
    assert_eq!(tab.engine.outbox().len(), 1, "they fold");
    tab.engine.set_online(tab.now, true);
    settle(&mut tab, &mut store);
    let fields = ["x", "y", "z", "resize_width"].map(|column| seen(&tab, "card", 1, column).unwrap());
    assert_eq!(fields, [Value::Real(9.0), Value::Real(8.0), Value::Int(7), Value::Null]);
}

#[test]
fn q5_counters_add_where_others_count_too() {
    let mut store = Store::default();
    let mut tab = tab(&store);
    make(&mut tab, &[create("card", 1, "")]);
    settle(&mut tab, &mut store);
    for _ in 0..5 {
        make(&mut tab, &[update("card", 1, "\"add\":{\"counter_value\":2}")]);
    }
    // Somebody else counts meanwhile.
    let other = common::push_text(None, "[]", &[(1, common::body(5_000, &update("card", 1, "\"add\":{\"counter_value\":100}")))]);
    store.push(&tab.schema, &other.replace("00000000000000aa", "00000000000000bb")).unwrap();
    settle(&mut tab, &mut store);
    assert_eq!(seen(&tab, "card", 1, "counter_value"), Some(Value::Int(110)));
}

#[test]
fn r4_an_edit_without_a_row_is_refused_and_never_merged() {
    let mut tab = tab(&Store::default());
    for edit in
        ["{\"op\":\"update\",\"table\":\"card\",\"set\":{\"x\":1}}", "{\"op\":\"update\",\"table\":\"card\",\"id\":\"\",\"set\":{\"x\":2}}"]
    {
        assert_eq!(tab.make(edit), Err("invalid".to_string()));
    }
    assert_eq!(tab.engine.outbox().len(), 0);
}

#[test]
fn q3_what_is_made_while_a_request_is_in_flight_outlives_its_answer() {
    let mut store = Store::default();
    let mut tab = tab(&store);
    make(&mut tab, &[create("card", 1, "\"x\":1")]);
    let (request, body) = tab.pushes.pop().unwrap();
    make(&mut tab, &[update("card", 1, "\"set\":{\"x\":2}")]);
    make(&mut tab, &[create("card", 2, "\"x\":3")]);
    let answer = store.push(&tab.schema, &body).unwrap();
    tab.engine.handle_answer(tab.now, request, 200, None, &answer);
    tab.run();
    assert_eq!((seen(&tab, "card", 1, "x"), seen(&tab, "card", 2, "x")), (real(2.0), real(3.0)));
    settle(&mut tab, &mut store);
    assert_eq!((seen(&tab, "card", 1, "x"), seen(&tab, "card", 2, "x")), (real(2.0), real(3.0)));
}

#[test]
fn q3_what_is_made_before_the_disk_was_read_is_not_overwritten_by_it() {
    let mut first = Tab::of(canvas());
    first.open(Disk::default());
    make(&mut first, &[create("card", 1, "\"x\":1")]);
    let slot = first.slot();
    let mut tab = Tab::of(canvas());
    tab.engine = Engine::new(Config { high: first.disk.keys().copied().collect(), ..config_for(canvas()) });
    make(&mut tab, &[create("card", 2, "\"x\":2")]);
    tab.open(Disk { slots: vec![slot], ..Disk::default() });
    assert_eq!((seen(&tab, "card", 1, "x"), seen(&tab, "card", 2, "x")), (real(1.0), real(2.0)));
    assert_eq!(tab.engine.outbox().len(), 2);
}

#[test]
fn r1_a_server_that_fails_empties_no_outbox() {
    let mut store = Store::default();
    let mut tab = tab(&store);
    make(&mut tab, &[create("card", 1, "")]);
    make(&mut tab, &[create("box", 2, "")]);
    for status in [500, 502, 503, 504, 429, 408, 425] {
        let Some((request, _)) = tab.pushes.pop() else {
            tab.now += 40_000;
            tab.engine.handle_tick(tab.now);
            tab.run();
            continue;
        };
        tab.engine.handle_answer(tab.now, request, status, None, "<html>bad gateway</html>");
        tab.run();
        assert_eq!((tab.engine.outbox().len(), tab.disk.len()), (2, 2), "after {status}");
        tab.now += 40_000;
        tab.engine.handle_tick(tab.now);
        tab.run();
    }
    settle(&mut tab, &mut store);
    assert_eq!(store.rows.len(), 2);
}

#[test]
fn v3_an_answer_that_belongs_to_another_request_changes_nothing() {
    let mut store = Store::default();
    let mut tab = tab(&store);
    make(&mut tab, &[create("card", 1, "")]);
    let (request, body) = tab.pushes.pop().unwrap();
    // The answer of another space to the same transaction, under a number that this tab never gave.
    let foreign = Store::default().push(&tab.schema, &body).unwrap();
    tab.engine.handle_answer(tab.now, request + 1_000, 200, None, &foreign);
    tab.run();
    assert_eq!((tab.engine.outbox().len(), tab.engine.replica().rev), (1, 0));
    tab.pushes.push((request, body));
    settle(&mut tab, &mut store);
}

#[test]
fn v2_a_space_loaded_anew_keeps_what_was_created_offline() {
    let mut store = Store::default();
    let mut tab = tab(&store);
    make(&mut tab, &[create("card", 1, "\"x\":1")]);
    settle(&mut tab, &mut store);
    tab.engine.set_online(tab.now, false);
    make(&mut tab, &[create("card", 2, "\"x\":2")]);
    make(&mut tab, &[update("card", 1, "\"set\":{\"x\":5}")]);
    tab.engine.set_online(tab.now, true);
    tab.now += 1_000;
    tab.engine.handle_tick(tab.now);
    tab.run();
    // While the push is on its way, more is made; and the answer says that the cursor is too old.
    let (request, body) = tab.pushes.pop().unwrap();
    make(&mut tab, &[create("card", 3, "\"x\":3")]);
    let answer = store.push(&tab.schema, &body).unwrap().replace("\"reload\":false", "\"reload\":true");
    let answer = format!("{}\"changes\":[]}}", &answer[..answer.find("\"changes\":").unwrap()]);
    tab.engine.handle_answer(tab.now, request, 200, None, &answer);
    tab.run();
    let expected = [real(5.0), real(2.0), real(3.0)];
    let all = |tab: &Tab| [1, 2, 3].map(|n| seen(tab, "card", n, "x"));
    assert_eq!(all(&tab), expected);
    tab.give_snapshot(&store);
    assert_eq!(all(&tab), expected);
    settle(&mut tab, &mut store);
    assert_eq!(all(&tab), expected);
}

#[test]
fn v2_a_server_set_back_to_a_backup_hides_nothing_until_the_space_is_loaded_anew() {
    // So far back that the cursor is beyond the log, and so little that only the digest tells.
    for (later, reload) in [(8, true), (2, false)] {
        let mut store = Store::default();
        let mut tab = tab(&store);
        make(&mut tab, &[create("card", 1, "\"x\":1")]);
        settle(&mut tab, &mut store);
        let backup = store.clone();
        for n in 10..10 + later {
            make(&mut tab, &[create("card", n, "")]);
            settle(&mut tab, &mut store);
        }
        tab.engine.set_online(tab.now, false);
        make(&mut tab, &[create("card", 2, "\"x\":2")]);
        make(&mut tab, &[update("card", 1, "\"set\":{\"x\":5}")]);
        store = backup;
        tab.engine.set_online(tab.now, true);
        tab.now += 1_000;
        tab.engine.handle_tick(tab.now);
        tab.run();
        let (request, body) = tab.pushes.pop().unwrap();
        let mut answer = store.push(&tab.schema, &body).unwrap();
        if reload {
            assert!(store.space.rev < tab.engine.replica().rev);
            answer = answer.replace("\"reload\":false", "\"reload\":true");
        }
        tab.engine.handle_answer(tab.now, request, 200, None, &answer);
        tab.run();
        assert_eq!(tab.fetches.len(), 1);
        let all = |tab: &Tab| [1, 2].map(|n| seen(tab, "card", n, "x"));
        assert_eq!(all(&tab), [real(5.0), real(2.0)], "both were applied, and the base that shows it is on its way");
        tab.give_snapshot(&store);
        assert_eq!(all(&tab), [real(5.0), real(2.0)]);
        settle(&mut tab, &mut store);
        assert_eq!((tab.engine.replica().base().len(), tab.disk.len()), (2, 0));
        assert_eq!(tab.engine.replica().digest, store.space.digest);
    }
}

#[test]
fn o7_a_tag_whose_card_is_gone_keeps_nobody_else() {
    let mut store = Store::default();
    let mut tab = tab(&store);
    // As in exports of real spaces: some tags stand on cards that are not there.
    for n in 1..=20 {
        make(&mut tab, &[create("card", n, "")]);
        let card = if n % 5 == 0 { 1_000 + n } else { n };
        make(&mut tab, &[create("tag", 100 + n, &format!("\"name\":\"t\",\"card\":\"{}\"", id(card)))]);
    }
    tab.sync(&mut store);
    assert_eq!(store.rows.len(), 20 + 16);
    let waiting = tab.engine.outbox_json(tab.now, 100);
    assert_eq!(waiting.matches("\"state\":\"waiting\"").count(), 4, "{waiting}");
    assert!(waiting.contains(&format!("\"card {}\"", id(1_005))), "each says for which row");
}
