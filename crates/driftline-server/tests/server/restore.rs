//! Rows that come back, and edits to rows that somebody deleted, in real tables.

use crate::world::{Client, World, id, verdict};
use serde_json::json;
use std::time::{Duration, Instant};

/// One table for each fate of an edit to a deleted row.
const SCHEMA: &str = r#"{"name": "t", "version": 1, "tables": {
  "board": {"edits_to_deleted": "restore", "fields": {"name": {"type": "text", "default": ""}, "n": {"type": "counter"}}},
  "card": {"fields": {"x": {"type": "real", "default": 0}},
    "references": {"board": {"to": ["board"], "nullable": true, "on_delete": "cascade"}}},
  "link": {"edits_to_deleted": "null", "references": {"to": {"to": ["card"], "nullable": true, "on_delete": "cascade"}}}
}}"#;

fn restore(table: &str, n: u64, set: serde_json::Value) -> serde_json::Value {
    json!({"op": "restore", "table": table, "id": id(n), "set": set})
}

#[tokio::test]
async fn i8_a_deleted_row_comes_back_under_its_id_and_can_go_again() {
    let world = World::of(SCHEMA);
    let mut alice = Client::new("alice", 1);
    alice.edit(&world, "a", json!([{"op": "create", "table": "card", "id": id(1), "set": {"x": 4}}])).await;
    for round in 0..2 {
        alice.edit(&world, "a", json!([{"op": "delete", "table": "card", "id": id(1)}])).await;
        assert_eq!(world.count("SELECT count(*) FROM _deleted"), 1);
        let again = alice.edit(&world, "a", json!([{"op": "create", "table": "card", "id": id(1)}])).await;
        assert_eq!(verdict(&again), "refused row_deleted", "a create does not bring it back");
        let back = alice.edit(&world, "a", json!([restore("card", 1, json!({"x": 5 + round}))])).await;
        assert_eq!(verdict(&back), "applied");
        assert_eq!(world.count("SELECT count(*) FROM _deleted"), 0);
        assert_eq!(world.count("SELECT CAST(x AS INTEGER) FROM card"), 5 + round);
    }
    let there = alice.edit(&world, "a", json!([restore("card", 1, json!({"x": 99}))])).await;
    assert_eq!((verdict(&there), world.count("SELECT CAST(x AS INTEGER) FROM card")), ("applied".to_string(), 6));
    let update = alice.edit(&world, "a", json!([{"op": "update", "table": "card", "id": id(1), "set": {"x": 7}}])).await;
    assert_eq!((verdict(&update), world.count("SELECT CAST(x AS INTEGER) FROM card")), ("applied".to_string(), 7));
}

#[tokio::test]
async fn i6_an_edit_brings_its_row_back_or_lets_a_reference_go_as_the_table_says() {
    let world = World::of(SCHEMA);
    let mut alice = Client::new("alice", 1);
    let first = json!([{"op": "create", "table": "board", "id": id(1), "set": {"name": "plan", "n": 4}}, {"op": "create", "table": "card", "id": id(2)}]);
    alice.edit(&world, "a", first).await;
    alice.edit(&world, "a", json!([{"op": "delete", "table": "board", "id": id(1)}, {"op": "delete", "table": "card", "id": id(2)}])).await;
    let bare = alice.edit(&world, "a", json!([{"op": "update", "table": "board", "id": id(1), "add": {"n": 1}}])).await;
    assert_eq!(bare["notices"][0]["code"], "row_deleted", "an edit that does not carry the row cannot bring it back");
    let edit = json!([{"op": "update", "table": "board", "id": id(1), "set": {"name": "better"}, "add": {"n": 3}, "was": {"name": "plan", "n": 4}}]);
    let outcome = alice.edit(&world, "a", edit).await;
    assert_eq!(verdict(&outcome), "applied");
    assert_eq!((world.text("SELECT name FROM board").as_deref(), world.count("SELECT n FROM board")), (Some("better"), 7));
    let link = alice.edit(&world, "a", json!([{"op": "create", "table": "link", "id": id(3), "set": {"to": id(2)}}])).await;
    assert_eq!((verdict(&link), &link["notices"][0]["code"]), ("applied".to_string(), &json!("reference_dropped")));
    assert_eq!(world.count("SELECT count(*) FROM link WHERE \"to\" IS NULL"), 1);
    let was = json!([{"op": "delete", "table": "board", "id": id(1), "was": {"name": "", "n": 0}}]);
    assert_eq!(verdict(&alice.edit(&world, "a", was).await), "refused invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_what_is_dying_comes_back_only_once_it_is_gone() {
    let world = World::of(SCHEMA);
    let mut alice = Client::new("alice", 1);
    alice.edit(&world, "a", json!([{"op": "create", "table": "board", "id": id(1)}])).await;
    for part in 0..3 {
        let cards = (0..1_000).map(|n| json!({"op": "create", "table": "card", "id": id(100 + part * 1_000 + n), "set": {"board": id(1)}}));
        assert_eq!(verdict(&alice.edit(&world, "a", json!(cards.collect::<Vec<_>>())).await), "applied");
    }
    let delete = alice.unit(json!([{"op": "delete", "table": "board", "id": id(1)}]));
    let back = alice.unit(json!([restore("board", 1, json!({"name": "again"}))]));
    let answer = alice.send(&world, "a", vec![delete, back]).await;
    assert_eq!((verdict(&answer["outcomes"][0]), verdict(&answer["outcomes"][1])), ("applied".to_string(), "held".to_string()));
    let began = Instant::now();
    loop {
        let outcome = alice.edit(&world, "a", json!([restore("board", 1, json!({"name": "again"}))])).await;
        if verdict(&outcome) == "applied" {
            break;
        }
        assert_eq!(verdict(&outcome), "held");
        assert!(began.elapsed() < Duration::from_secs(20), "the background does not come to an end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((world.count("SELECT count(*) FROM board"), world.count("SELECT count(*) FROM card")), (1, 0));
    assert_eq!(world.count("SELECT count(*) FROM _dying"), 0);
}
