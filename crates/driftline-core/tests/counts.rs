//! Declared counts equal the rows that they count, on the server and on a device, whatever happens.

mod common;

use common::{Store, Tab, body, check, create, delete, id, push_text, update};
use driftline_core::counts::counting;
use driftline_core::digest::Digest;
use driftline_core::edit::{Edit, Op, Txn, Values};
use driftline_core::json::Json;
use driftline_core::schema::Schema;
use driftline_core::value::{Row, RowId, RowKey, Value};
use driftline_core::wire::read_push;
use proptest::collection::vec;
use proptest::prelude::any;
use std::collections::BTreeMap;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const PUBLISHING: &str = include_str!("../../../tests/schemas/publishing/schema.json");

fn schema() -> Schema {
    Schema::parse(PUBLISHING).unwrap()
}

/// Each count that is not the number of the rows that refer to its row.
fn miscounted<'a>(schema: &Schema, rows: impl Iterator<Item = (&'a RowKey, &'a Row)>) -> Vec<String> {
    let rows: Vec<_> = rows.collect();
    let mut wrong = Vec::new();
    for count in &schema.counts {
        for (key, row) in rows.iter().filter(|(key, _)| key.table == count.parent) {
            let counts = |other: &&(&RowKey, &Row)| other.0.table == count.child && counting(count, Some(other.1)) == Some(**key);
            let should = rows.iter().filter(counts).count() as i64;
            let is = &row.values[count.column as usize];
            if *is != Value::Int(should) {
                wrong.push(format!("{key:?} column {} is {is:?} and should be {should}", count.column));
            }
        }
    }
    wrong
}

fn count(schema: &Schema, row: Option<&Row>, table: &str, column: &str) -> i64 {
    let column = schema.tables[schema.table(table).unwrap() as usize].column(column).unwrap();
    match row.unwrap().values[column as usize] {
        Value::Int(count) => count,
        _ => panic!("no count"),
    }
}

fn key(schema: &Schema, table: &str, n: u64) -> RowKey {
    RowKey { table: schema.table(table).unwrap(), id: RowId::parse(&id(n)).unwrap() }
}

fn send(store: &mut Store, units: &[(u64, String)]) -> String {
    let answer = store.push(&schema(), &push_text(None, "[]", units)).unwrap();
    assert_eq!(miscounted(&schema(), store.rows.iter()), [""; 0]);
    answer
}

/// The changes of the newest revision.
fn changes(store: &Store) -> Vec<Edit> {
    let json = Json::parse_or_null(&store.log.last().unwrap().3);
    json.as_list().unwrap().iter().map(|change| Edit::read(&schema(), change, Values::Final).unwrap()).collect()
}

fn site() -> Store {
    let mut store = Store::default();
    let rows = [create("user", 1, ""), create("article", 10, &format!("\"user\":\"{}\"", id(1))), create("podcast", 20, "")];
    send(&mut store, &[(1, body(1, &rows.join(",")))]);
    store
}

fn comment(n: u64, article: u64) -> String {
    create("comment", n, &format!("\"subject\":{{\"article\":\"{}\"}}", id(article)))
}

fn vote(n: u64, article: u64) -> String {
    create("rating_vote", n, &format!("\"article\":\"{}\"", id(article)))
}

type Choice = (u8, u8, u8);

/// Edits over few rows, so that they meet.
fn edit(choice: &Choice) -> String {
    let (what, a, b) = *choice;
    let (a, b) = (u64::from(a % 4), u64::from(b % 4));
    let subject = match b {
        0 => "null".to_string(),
        1 => format!("{{\"podcast\":\"{}\"}}", id(20 + a)),
        _ => format!("{{\"article\":\"{}\"}}", id(10 + b)),
    };
    let parent = if a == b { "null".to_string() } else { format!("\"{}\"", id(30 + b)) };
    match what % 20 {
        0 => create("user", 1 + a, ""),
        1 | 2 => create("article", 10 + a, &format!("\"user\":\"{}\"", id(1 + b))),
        3 => create("podcast", 20 + a, ""),
        4 | 5 => create("comment", 30 + a, &format!("\"subject\":{subject},\"parent\":{parent}")),
        6 => update("comment", 30 + a, &format!("\"set\":{{\"subject\":{subject}}}")),
        7 => update("comment", 30 + a, &format!("\"set\":{{\"parent\":{parent}}}")),
        8 => create("poll", 40 + a, &format!("\"article\":\"{}\"", id(10 + b))),
        9 => create("poll_option", 50 + a, &format!("\"poll\":\"{}\"", id(40 + b))),
        10 => create("poll_vote", 60 + a, &format!("\"poll\":\"{}\",\"option\":\"{}\"", id(40 + b), id(50 + a))),
        11 => update("poll_vote", 60 + a, &format!("\"set\":{{\"option\":\"{}\"}}", id(50 + b))),
        12 => create("rating_vote", 70 + a, &format!("\"article\":\"{}\"", id(10 + b))),
        13 => update("rating_vote", 70 + a, &format!("\"set\":{{\"article\":\"{}\"}}", id(10 + b))),
        14 => delete("comment", 30 + a),
        15 => delete("article", 10 + a),
        16 => delete("poll", 40 + a),
        17 => delete("podcast", 20 + a),
        18 => delete("rating_vote", 70 + a),
        _ => delete(if b == 0 { "user" } else { "poll_vote" }, if b == 0 { 1 + a } else { 60 + a }),
    }
}

#[test]
fn i9_counts_equal_the_children_after_any_history() {
    let schema = schema();
    // Each transaction is one edit or several; each push has some transactions.
    check((vec(vec(any::<Choice>(), 1..4), 1..60), 1usize..12), |(choices, portion)| {
        let text = |edits: &[Choice]| edits.iter().map(edit).collect::<Vec<_>>().join(",");
        let all: Vec<_> = choices.iter().enumerate().map(|(i, edits)| (i as u64 + 1, body(1_000 + i as u64, &text(edits)))).collect();
        let mut store = Store::default();
        // Rows that clients do not hold, as the server's own code would write them.
        (0..4).for_each(|n| plant_views(&schema, &mut store, n));
        for some in all.chunks(portion) {
            send(&mut store, some);
        }
        let mut digest = Digest::default();
        store.rows.iter().for_each(|(key, row)| digest.add(&schema, *key, row));
        assert_eq!(digest, store.space.digest);
        assert_eq!(replayed(&schema, &store), shown(&schema, &store), "the log tells it all");
    });
}

/// A user, an article of his and views of it by another user, each in the store and in its log.
fn plant_views(schema: &Schema, store: &mut Store, n: u64) {
    let edits = format!("{},{}", create("user", 1 + n, ""), create("article", 10 + n, &format!("\"user\":\"{}\"", id(1 + n))));
    store.push(schema, &push_text(None, "[]", &[(900 + n, body(1, &edits))])).unwrap();
    let viewer = key(schema, "user", 1 + n / 2);
    view(schema, store, 100 + n, key(schema, "article", 10 + n), viewer);
}

fn view(schema: &Schema, store: &mut Store, n: u64, article: RowKey, user: RowKey) {
    let view = key(schema, "page_view", n);
    store.rows.insert(view, Row::of(vec![Value::Int(1), Value::Ref(article), Value::Ref(user)]));
    for parent in [article, user] {
        let row = store.rows.get_mut(&parent).unwrap();
        store.space.digest.remove(schema, parent, row);
        let column = schema.tables[parent.table as usize].column("page_views").unwrap();
        if let Value::Int(count) = &mut row.values[column as usize] {
            *count += 1;
            let table = &schema.tables[parent.table as usize].name;
            let text = format!("{{\"op\":\"update\",\"table\":\"{table}\",\"id\":\"{}\",\"set\":{{\"page_views\":{count}}}}}", parent.id);
            store.log.push((store.space.rev, (0, 0), 0, format!("[{text}]")));
        }
        store.space.digest.add(schema, parent, row);
    }
}

/// The rows that the log leads to.
fn replayed(schema: &Schema, store: &Store) -> BTreeMap<RowKey, Vec<Value>> {
    let mut rows: BTreeMap<RowKey, Vec<Value>> = BTreeMap::new();
    for row in &store.log {
        let json = Json::parse_or_null(&row.3);
        for change in json.as_list().unwrap() {
            let edit = Edit::read(schema, change, Values::Final).unwrap();
            match edit.op {
                Op::Create | Op::Restore => drop(rows.insert(edit.row, edit.set.into_iter().map(|s| s.1).collect())),
                Op::Update => {
                    let values = rows.get_mut(&edit.row).expect("an update of a row that is not there");
                    edit.set.into_iter().for_each(|(column, value)| values[column as usize] = value);
                }
                Op::Delete | Op::DeleteTree => drop(rows.remove(&edit.row)),
            }
        }
    }
    rows
}

fn shown(schema: &Schema, store: &Store) -> BTreeMap<RowKey, Vec<Value>> {
    let rows = store.rows.iter().filter(|(key, _)| !schema.tables[key.table as usize].server_only);
    rows.map(|(key, row)| (*key, row.values.clone())).collect()
}

#[test]
fn i9_nobody_sets_a_count_or_adds_to_it() {
    let schema = schema();
    for edits in [
        create("article", 10, &format!("\"user\":\"{}\",\"rating_votes\":0", id(1))),
        update("article", 10, "\"set\":{\"rating_votes\":5}"),
        update("article", 10, "\"add\":{\"rating_votes\":1}"),
    ] {
        let problem = Txn::parse(&schema, &body(1, &edits)).unwrap_err();
        assert_eq!(problem.code, "invalid");
        assert!(problem.detail.starts_with("article.rating_votes is a count: nobody sets it"), "{}", problem.detail);
    }
    let txn = Txn::parse(&schema, &body(1, &create("user", 1, ""))).unwrap();
    assert!(!txn.to_body(&schema, 0).contains("page_views"), "a body that can be read again");
}

#[test]
fn i9_a_unit_changes_each_parent_once_and_a_dying_one_not_at_all() {
    let schema = schema();
    let mut store = site();
    // The children are named before a parent that is created with them.
    let made = [comment(30, 11), comment(31, 11), comment(32, 10), vote(70, 10), vote(71, 10)];
    let article = create("article", 11, &format!("\"user\":\"{}\"", id(1)));
    send(&mut store, &[(2, body(2, &format!("{},{article}", made.join(","))))]);
    let updates: Vec<RowKey> = changes(&store).into_iter().filter(|change| change.op == Op::Update).map(|change| change.row).collect();
    assert_eq!(updates.len(), 2, "{updates:?}");
    assert!(updates.contains(&key(&schema, "article", 10)) && updates.contains(&key(&schema, "article", 11)));
    // Two votes go with the article, a comment loses its subject: that is all.
    send(&mut store, &[(3, body(3, &delete("article", 10)))]);
    let mut told: Vec<(Op, RowKey)> = changes(&store).into_iter().map(|change| (change.op, change.row)).collect();
    told.sort_by_key(|change| change.1);
    let gone = |table, n| (Op::Delete, key(&schema, table, n));
    let mut expected =
        vec![gone("article", 10), gone("rating_vote", 70), gone("rating_vote", 71), (Op::Update, key(&schema, "comment", 32))];
    expected.sort_by_key(|change| change.1);
    assert_eq!(told, expected);
    // A move there and back within a transaction changes nothing.
    let away = update("comment", 30, "\"set\":{\"subject\":null}");
    let back = update("comment", 30, &format!("\"set\":{{\"subject\":{{\"article\":\"{}\"}}}}", id(11)));
    send(&mut store, &[(4, body(4, &format!("{away},{back}")))]);
    assert!(changes(&store).iter().all(|change| change.row == key(&schema, "comment", 30)));
}

#[test]
fn i9_a_cascade_lowers_the_counts_of_those_who_stay() {
    let schema = schema();
    let mut store = site();
    let poll = create("poll", 40, &format!("\"article\":\"{}\"", id(10)));
    let other = create("poll", 41, &format!("\"article\":\"{}\"", id(10)));
    let option = create("poll_option", 50, &format!("\"poll\":\"{}\"", id(41)));
    let vote = |n| create("poll_vote", n, &format!("\"poll\":\"{}\",\"option\":\"{}\"", id(40), id(50)));
    send(&mut store, &[(2, body(2, &[poll, other, option, vote(60), vote(61)].join(",")))]);
    let votes = |store: &Store| count(&schema, store.rows.get(&key(&schema, "poll_option", 50)), "poll_option", "votes");
    assert_eq!(votes(&store), 2);
    send(&mut store, &[(3, body(3, &delete("poll", 40)))]);
    assert_eq!(votes(&store), 0);
}

#[test]
fn i9_what_clients_cannot_count_the_server_tells() {
    let schema = schema();
    let mut store = site();
    let (article, user) = (key(&schema, "article", 10), key(&schema, "user", 2));
    send(&mut store, &[(2, body(2, &create("user", 2, "")))]);
    (100..103).for_each(|n| view(&schema, &mut store, n, article, user));
    let own = r#""key":["00000000000000aa",3]}"#;
    let answer = send(&mut store, &[(3, body(3, &update("article", 10, "\"set\":{\"title\":\"a\"}")))]);
    assert!(answer.contains(own), "as sent: {answer}");
    let answer = send(&mut store, &[(4, body(4, &delete("article", 10)))]);
    let told = answer.split(r#""key":["00000000000000aa",4]"#).nth(1).unwrap();
    assert!(
        told.contains(&format!("{{\"op\":\"update\",\"table\":\"user\",\"id\":\"{}\",\"set\":{{\"page_views\":0}}}}", id(2))),
        "{answer}"
    );
}

#[test]
fn i9_a_device_counts_what_it_shows() {
    let schema = schema();
    let mut store = site();
    let mut tab = Tab::of(schema.clone()).lead(&store);
    let sound = |tab: &Tab| {
        assert_eq!(miscounted(&schema, tab.engine.replica().view().iter()), [""; 0], "the view");
        let base: Vec<(RowKey, Row)> = tab.engine.replica().base().into_iter().map(|(key, row)| (key, row.clone())).collect();
        assert_eq!(miscounted(&schema, base.iter().map(|(key, row)| (key, row))), [""; 0], "the base");
    };
    let comments = |tab: &Tab, n| count(&schema, tab.engine.replica().view().get(key(&schema, "article", n)), "article", "comments");
    // Children that are seen before their parent are counted when it comes.
    tab.make(&comment(30, 11)).unwrap();
    tab.make(&comment(31, 10)).unwrap();
    assert_eq!(comments(&tab, 10), 1);
    tab.make(&create("article", 11, &format!("\"user\":\"{}\"", id(1)))).unwrap();
    assert_eq!(comments(&tab, 11), 1);
    sound(&tab);
    // Somebody else writes meanwhile.
    let theirs = push_text(None, "[]", &[(9, body(9, &comment(33, 10)))]).replace("00000000000000aa", "00000000000000bb");
    store.push(&schema, &theirs).unwrap();
    tab.run();
    tab.sync(&mut store);
    assert_eq!((comments(&tab, 10), comments(&tab, 11)), (2, 1));
    sound(&tab);
    assert_eq!(miscounted(&schema, store.rows.iter()), [""; 0]);
    assert_eq!(tab.engine.replica().digest, store.space.digest);
    // What is taken back is not counted.
    tab.make(&comment(34, 10)).unwrap();
    tab.make(&update("comment", 31, &format!("\"set\":{{\"subject\":{{\"article\":\"{}\"}}}}", id(11)))).unwrap();
    assert_eq!((comments(&tab, 10), comments(&tab, 11)), (2, 2));
    tab.make(&delete("comment", 34)).unwrap();
    assert_eq!((comments(&tab, 10), comments(&tab, 11)), (1, 2));
    sound(&tab);
    tab.run();
    tab.sync(&mut store);
    sound(&tab);
    assert_eq!(tab.engine.replica().digest, store.space.digest);
}

#[test]
fn i9_what_is_dying_is_not_counted_either_where_one_push_deletes_too_much() {
    let schema = Schema::parse(
        r#"{"name": "t", "version": 1, "tables": {
          "person": {"references": {"team": {"to": ["team"], "on_delete": "cascade"}}, "counts": {"leads": {"of": "team.lead"}}},
          "team": {"references": {"lead": {"to": ["person"], "nullable": true, "on_delete": "set_null"}}}}}"#,
    )
    .unwrap();
    let mut store = Store::default();
    let person = create("person", 2, &format!("\"team\":\"{}\"", id(1)));
    let made = [create("team", 1, ""), person, create("team", 3, &format!("\"lead\":\"{}\"", id(2)))];
    store.push(&schema, &push_text(None, "[]", &[(1, body(1, &made.join(",")))])).unwrap();
    // A large delete of the person goes on in the background, and hers alone is all that one push may delete now.
    store.dying.insert(key(&schema, "person", 2));
    let units = [(2, body(2, &delete("team", 3))), (3, body(3, &delete("team", 1)))];
    let push = read_push(&schema, &push_text(None, "[]", &units)).unwrap();
    let plan = store.decide_within(&schema, &push, 1).unwrap();
    assert_eq!(plan.deletes.iter().map(|gone| gone.0).collect::<Vec<_>>(), [key(&schema, "team", 3)]);
    assert!(plan.updates.is_empty(), "{:?}", plan.updates);
    assert!(!plan.log[0].changes.contains("update"), "{}", plan.log[0].changes);
}
