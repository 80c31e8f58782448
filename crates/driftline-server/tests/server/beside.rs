//! Large deletes and what happens beside them: what the same transaction moves, and what others do meanwhile.

use crate::large::{create, delete};
use crate::world::{Client, World, id, row, verdict};
use driftline_core::schema::Schema;
use driftline_server::db::Param;
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

fn update(table: &str, n: u64, set: Json) -> Json {
    json!({"op": "update", "table": table, "id": id(n), "set": set})
}

fn done_within(world: &World, time: Duration) -> bool {
    let began = Instant::now();
    while world.count("SELECT count(*) FROM _dying") > 0 {
        if began.elapsed() > time {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Rows put there by hand, and the digest with them.
fn fill(world: &World, table: &str, ids: impl Iterator<Item = u64>, cells: &[(&str, Param)]) {
    world.plant(table, ids, cells);
    world.adopt();
}

const PINNED: &str = r#"{"name": "pinned", "version": 1, "tables": {
  "board": {},
  "note": {"references": {"board": {"to": ["board"], "on_delete": "cascade"}}},
  "pin": {"references": {
    "board": {"to": ["board"], "nullable": true, "on_delete": "cascade"},
    "note": {"to": ["note"], "on_delete": "restrict"},
    "other": {"to": ["note"], "on_delete": "restrict"}}}
}}"#;

/// Board 1 has 2,700 notes from 1,000 on, board 2 has two, 9,001 and 9,002.
async fn pinned() -> (World, Client) {
    let world = World::of(PINNED);
    let mut alice = Client::new("alice", 1);
    let notes = [create("note", 9_001, json!({"board": id(2)})), create("note", 9_002, json!({"board": id(2)}))];
    let mut all = vec![create("board", 1, json!({})), create("board", 2, json!({}))];
    all.extend(notes);
    assert_eq!(verdict(&alice.edit(&world, "a", json!(all)).await), "applied");
    fill(&world, "note", 1_000..3_700, &[("board", row(1).into())]);
    (world, alice)
}

/// Pin 5 stays, and refers to a note of board 1: had that been deleted, it could never be carried out, and nobody could load the space.
async fn assert_forbidden(world: &World, outcome: &Json) {
    let is_done = done_within(world, Duration::from_secs(3));
    let snapshot = world.snapshot("a").await;
    let is_readable = driftline_core::wire::read_snapshot(&Schema::parse(PINNED).unwrap(), &snapshot).is_some();
    assert_eq!((verdict(outcome).as_str(), is_done, is_readable), ("refused restricted", true, true), "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_a_row_that_moves_another_of_its_references_still_forbids_a_large_delete() {
    let (world, mut alice) = pinned().await;
    // Beyond the rows that the push loads.
    let pin = create("pin", 5, json!({"note": id(3_699), "other": id(9_001)}));
    assert_eq!(verdict(&alice.edit(&world, "a", json!([pin])).await), "applied");
    let outcome = alice.edit(&world, "a", json!([update("pin", 5, json!({"other": id(9_002)})), delete("board", 1)])).await;
    assert_forbidden(&world, &outcome).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_a_row_that_is_moved_out_still_forbids_a_large_delete() {
    let (world, mut alice) = pinned().await;
    let pin = create("pin", 5, json!({"note": id(1_000), "other": id(9_001), "board": id(1)}));
    assert_eq!(verdict(&alice.edit(&world, "a", json!([pin])).await), "applied");
    let outcome = alice.edit(&world, "a", json!([update("pin", 5, json!({"board": id(2)})), delete("board", 1)])).await;
    assert_forbidden(&world, &outcome).await;
}

const FOLDERS: &str = r#"{"name": "folders", "version": 1, "tables": {
  "folder": {"references": {"up": {"to": ["folder"], "nullable": true, "on_delete": "cascade"}}},
  "doc": {"fields": {"name": {"type": "text", "default": ""}}, "references": {"folder": {"to": ["folder"], "on_delete": "cascade"}}}
}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn i5_what_is_moved_out_with_the_row_above_it_can_be_edited_in_the_same_transaction() {
    let world = World::of(FOLDERS);
    let mut alice = Client::new("alice", 1);
    let all =
        json!([create("folder", 1, json!({})), create("folder", 2, json!({"up": id(1)})), create("doc", 3, json!({"folder": id(2)})),]);
    assert_eq!(verdict(&alice.edit(&world, "a", all).await), "applied");
    fill(&world, "doc", 1_000..3_700, &[("name", "".into()), ("folder", row(1).into())]);
    let all = json!([update("folder", 2, json!({"up": null})), delete("folder", 1), update("doc", 3, json!({"name": "kept"})),]);
    let outcome = alice.edit(&world, "a", all).await;
    assert!(done_within(&world, Duration::from_secs(10)));
    assert_eq!(world.count("SELECT count(*) FROM doc"), 1, "the document is still there");
    assert_eq!(outcome["notices"], json!([]), "nothing of it was dropped");
    assert_eq!(world.count("SELECT count(*) FROM doc WHERE name = 'kept'"), 1, "and has its name");
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_new_row_can_be_hung_on_what_is_moved_out_of_a_large_delete() {
    let world = World::of(FOLDERS);
    let mut alice = Client::new("alice", 1);
    let all =
        json!([create("folder", 1, json!({})), create("folder", 2, json!({"up": id(1)})), create("folder", 4, json!({"up": id(2)})),]);
    assert_eq!(verdict(&alice.edit(&world, "a", all).await), "applied");
    fill(&world, "doc", 1_000..3_700, &[("name", "".into()), ("folder", row(1).into())]);
    let all = json!([update("folder", 2, json!({"up": null})), delete("folder", 1), create("doc", 3, json!({"folder": id(4)})),]);
    let outcome = alice.edit(&world, "a", all).await;
    assert_eq!(verdict(&outcome), "applied", "folder 4 went out with folder 2: {outcome}");
}

const TAGGED: &str = r#"{"name": "tagged", "version": 1, "tables": {
  "board": {}, "tag": {},
  "note": {"references": {
    "board": {"to": ["board"], "nullable": true, "on_delete": "cascade"},
    "tag": {"to": ["tag"], "nullable": true, "on_delete": "cascade"}}}
}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_row_that_has_come_back_meanwhile_is_not_taken_away_by_an_older_large_delete() {
    let world = World::of(TAGGED);
    let mut alice = Client::new("alice", 1);
    let last = 900_000;
    let all =
        json!([create("board", 1, json!({})), create("tag", 2, json!({})), create("note", last, json!({"board": id(1), "tag": id(2)})),]);
    assert_eq!(verdict(&alice.edit(&world, "a", all).await), "applied");
    fill(&world, "note", 1_000..61_000, &[("board", row(1).into())]);
    assert_eq!(verdict(&alice.edit(&world, "a", json!([delete("board", 1)])).await), "applied");
    // The background has begun: it knows by now what it is going to take.
    let began = Instant::now();
    while world.count("SELECT count(*) FROM note") > 60_000 {
        assert!(began.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(verdict(&alice.edit(&world, "a", json!([delete("tag", 2)])).await), "applied");
    let restore = |table: &str, n: u64, set: Json| json!({"op": "restore", "table": table, "id": id(n), "set": set});
    let back = json!([restore("tag", 2, json!({})), restore("note", last, json!({"tag": id(2)}))]);
    let outcome = alice.edit(&world, "a", back).await;
    assert!(world.count("SELECT count(*) FROM _dying") > 0, "the test was too late to see anything");
    if verdict(&outcome) == "held" {
        return;
    }
    assert_eq!(verdict(&outcome), "applied");
    assert!(done_within(&world, Duration::from_secs(60)));
    assert_eq!(world.count("SELECT count(*) FROM note"), 1, "it was brought back, and everybody has been told so");
}

const KINDS: &str = r#"{"name": "kinds", "version": 1, "tables": {
  "kind": {},
  "folder": {"references": {"up": {"to": ["folder"], "nullable": true, "on_delete": "cascade"}}},
  "doc": {"references": {"folder": {"to": ["folder"], "on_delete": "cascade"}}},
  "link": {"references": {"doc": {"to": ["doc"], "on_delete": "restrict"}}}
}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn i5_many_deletes_in_one_transaction_do_not_each_go_through_all_that_is_below() {
    let mut times = Vec::new();
    for chain in [1, 200] {
        let world = World::of(KINDS);
        let mut alice = Client::new("alice", 1);
        let folder = |n: u64| create("folder", n, if n == 1 { json!({}) } else { json!({"up": id(n - 1)}) });
        let folders: Vec<Json> = (1..=200).map(folder).collect();
        assert_eq!(verdict(&alice.edit(&world, "a", json!(folders)).await), "applied");
        fill(&world, "doc", 10_000..30_000, &[("folder", row(200).into())]);
        let deletes: Vec<Json> = (1..=chain).map(|n| delete("folder", n)).collect();
        let began = Instant::now();
        let outcome = alice.edit(&world, "a", json!(deletes)).await;
        times.push(began.elapsed());
        assert_eq!(verdict(&outcome), "applied");
    }
    assert!(times[1] < times[0] * 20, "{times:?}");
}
