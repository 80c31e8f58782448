//! Counts in the database: small deletes and large ones, migrations, and what `driftline check` says.

use crate::findings::found;
use crate::world::{Client, World, id, plan, verdict};
use driftline_core::schema::Schema;
use driftline_core::value::RowId;
use driftline_core::wire::read_push;
use driftline_server::store::{Moment, Store};
use driftline_server::tables::Layout;
use driftline_server::{Faults, migrate};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PUBLISHING: &str = include_str!("../../../../tests/schemas/publishing/schema.json");

/// A leaf hangs on two branches, and is counted by a shelf that stays.
const SHELVES: &str = r#"{"name": "shelves", "version": 1, "tables": {
  "branch": {"references": {"up": {"to": ["branch"], "nullable": true, "on_delete": "cascade"}}, "counts": {"branches": {"of": "branch.up"}}},
  "leaf": {"references": {
    "left": {"to": ["branch"], "on_delete": "cascade"}, "right": {"to": ["branch"], "nullable": true, "on_delete": "cascade"},
    "shelf": {"to": ["shelf"], "nullable": true, "on_delete": "set_null"}}},
  "shelf": {"fields": {"name": {"type": "text", "default": ""}}, "counts": {"leaves": {"of": "leaf.shelf"}}}
}}"#;

fn create(table: &str, n: u64, set: Json) -> Json {
    json!({"op": "create", "table": table, "id": id(n), "set": set})
}

fn update(table: &str, n: u64, set: Json) -> Json {
    json!({"op": "update", "table": table, "id": id(n), "set": set})
}

fn delete(table: &str, n: u64) -> Json {
    json!({"op": "delete", "table": table, "id": id(n)})
}

fn row(n: u64) -> RowId {
    RowId::parse(&id(n)).unwrap()
}

/// A connection like the server's own, whose pushes nothing in the background follows.
fn store(world: &World) -> Store {
    let schema = Arc::new(Schema::parse(&world.schema).unwrap());
    let layout = Arc::new(Layout::new(&schema, world.config.data.dialect()).unwrap());
    Store::open(&world.config.data, schema, layout).unwrap()
}

/// Sends past the server; returns the outcomes.
fn send(world: &World, store: &Store, client: &mut Client, edits: Json) -> String {
    let unit = client.unit(edits);
    let push = read_push(&Schema::parse(&world.schema).unwrap(), &client.push(vec![unit])).unwrap();
    store.db().begin_writing().unwrap();
    let plan = store.push("a", "alice", &push, Moment { now_ms: 2_000, random: 7 }, &Faults::default()).unwrap().unwrap();
    store.db().commit().unwrap();
    plan.outcomes.iter().map(|outcome| outcome.1.clone()).collect()
}

fn leaves(world: &World, shelf: u64) -> i64 {
    world.db().one("SELECT leaves FROM shelf WHERE id = ?1", &[row(shelf).into()], |row| row.int(0)).unwrap()
}

fn last_changes(world: &World) -> Json {
    serde_json::from_str(&world.text("SELECT changes FROM _log ORDER BY rev DESC LIMIT 1").unwrap()).unwrap()
}

/// Branches 1 to 4 of which 2 hangs on 1, shelves 7 to 9, and leaves: `(first, count, left, right, shelf)`.
async fn grow(all: &[(u64, u64, u64, Option<u64>, u64)]) -> (World, Client) {
    let world = World::of(SHELVES);
    let mut alice = Client::new("alice", 1);
    let mut edits: Vec<Json> = (7..10).map(|n| create("shelf", n, json!({}))).collect();
    edits.extend((1..5).map(|n| create("branch", n, json!({"up": if n == 2 { json!(id(1)) } else { Json::Null }}))));
    assert_eq!(verdict(&alice.edit(&world, "a", json!(edits)).await), "applied");
    for (first, count, left, right, shelf) in all {
        let leaf = |n: u64| create("leaf", n, json!({"left": id(*left), "right": right.map(id), "shelf": id(*shelf)}));
        let leaves: Vec<Json> = (*first..first + count).map(leaf).collect();
        let units = leaves.chunks(1_000).map(|leaves| alice.unit(json!(leaves))).collect();
        alice.send(&world, "a", units).await;
    }
    assert_eq!(found(&world), [""; 0]);
    (world.unserved().await, alice)
}

/// Starts a server, and waits until its background has done what was left.
fn reaped(world: &mut World) {
    world.restart();
    let began = Instant::now();
    while world.count("SELECT count(*) FROM _dying") > 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "the background does not come to an end");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(found(world), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_counts_follow_the_rows_in_the_database() {
    let world = World::of(PUBLISHING);
    let mut alice = Client::new("alice", 1);
    let comments: Vec<Json> = (100..110).map(|n| create("comment", n, json!({"subject": {"article": id(10)}}))).collect();
    for edits in [
        json!([create("user", 1, json!({})), create("article", 10, json!({"user": id(1)})), create("podcast", 20, json!({}))]),
        json!(comments),
        json!([update("comment", 100, json!({"subject": {"podcast": id(20)}})), update("comment", 101, json!({"subject": null}))]),
        json!([update("comment", 103, json!({"parent": id(102)})), update("comment", 104, json!({"parent": id(102)}))]),
        json!([delete("comment", 104), delete("comment", 105)]),
    ] {
        assert_eq!(verdict(&alice.edit(&world, "a", edits).await), "applied");
        assert_eq!(found(&world), [""; 0]);
    }
    let counts = "SELECT a.comments * 100 + p.comments * 10 + (SELECT max(replies) FROM comment) FROM article AS a, podcast AS p";
    assert_eq!(world.count(counts), 6 * 100 + 10 + 1);
    // The thread goes, and what it counts with it.
    assert_eq!(verdict(&alice.edit(&world, "a", json!([delete("comment", 102)])).await), "applied");
    assert_eq!(world.count(counts), 4 * 100 + 10);
    let edit = json!([{"op": "update", "table": "article", "id": id(10), "set": {"comments": 3}}]);
    assert_eq!(verdict(&alice.edit(&world, "a", edit).await), "refused invalid");
    assert_eq!(found(&world), [""; 0]);
}

#[tokio::test]
async fn i9_a_wrong_count_is_found() {
    let (world, _) = grow(&[(100, 3, 3, None, 8)]).await;
    world.db().execute("UPDATE shelf SET leaves = 4 WHERE id = ?1", &[row(8).into()]).unwrap();
    let wanted = format!("counts: 1 rows of `shelf` have a `leaves` other than their `leaf.shelf`, such as {}", id(8));
    assert!(found(&world).contains(&wanted), "{:?}", found(&world));
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_what_a_large_delete_takes_along_counts_no_more_from_that_moment() {
    let (mut world, mut alice) = grow(&[(1_000, 2_500, 2, None, 8), (10_000, 3, 3, None, 8), (20_000, 5, 3, Some(1), 9)]).await;
    let outer = store(&world);
    // In the same transaction a leaf leaves branch 2 and another is hung there, some change shelves, and branch 2 gets a branch.
    let edits = json!([
        update("leaf", 1_000, json!({"left": id(4)})),
        update("leaf", 10_000, json!({"left": id(2)})),
        update("leaf", 10_001, json!({"shelf": id(9)})),
        update("leaf", 10_002, json!({"shelf": id(7)})),
        create("leaf", 30_000, json!({"left": id(4), "shelf": id(9)})),
        create("branch", 5, json!({"up": id(2)})),
        delete("branch", 1)
    ]);
    let outcomes = send(&world, &outer, &mut alice, edits);
    assert!(outcomes.contains("applied"), "{outcomes}");
    assert_eq!(world.count("SELECT count(*) FROM _dying"), 1);
    assert_eq!(world.count("SELECT count(*) FROM leaf"), 2_509, "nothing has been taken away yet");
    // Those that came over, the one that moved away from what goes, and the new one.
    assert_eq!([7, 8, 9].map(|shelf| leaves(&world, shelf)), [1, 1, 2]);
    assert_eq!(found(&world), [""; 0]);
    let changes = last_changes(&world);
    let updates = |table: &str| {
        let of = changes.as_array().unwrap().iter().filter(|change| change["op"] == "update" && change["table"] == table);
        of.cloned().collect::<Vec<Json>>()
    };
    let counted = |n, leaves| json!({"op": "update", "table": "shelf", "id": id(n), "set": {"leaves": leaves}});
    assert_eq!(updates("shelf"), [counted(7, 1), counted(8, 1), counted(9, 2)], "one change for each");
    assert_eq!(updates("branch"), [Json::Null; 0], "what goes is not counted again");
    reaped(&mut world);
    assert_eq!([7, 8, 9].map(|shelf| leaves(&world, shelf)), [1, 1, 2]);
    assert_eq!(world.count("SELECT count(*) FROM leaf"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_what_hangs_on_two_dying_rows_is_taken_out_once() {
    let (mut world, mut alice) =
        grow(&[(1_000, 2_200, 3, Some(4), 8), (5_000, 2_100, 4, None, 8), (8_000, 30, 3, Some(2), 9), (9_000, 7, 2, None, 9)]).await;
    let outer = store(&world);
    assert!(send(&world, &outer, &mut alice, json!([delete("branch", 3)])).contains("applied"));
    assert_eq!((leaves(&world, 8), leaves(&world, 9)), (2_100, 7));
    assert_eq!(found(&world), [""; 0]);
    // A small delete that takes rows along that are dying already, and a large one.
    assert!(send(&world, &outer, &mut alice, json!([delete("branch", 2)])).contains("applied"));
    assert_eq!((world.count("SELECT count(*) FROM _dying"), leaves(&world, 9)), (1, 0));
    assert!(send(&world, &outer, &mut alice, json!([delete("branch", 4)])).contains("applied"));
    assert_eq!((world.count("SELECT count(*) FROM _dying"), leaves(&world, 8)), (2, 0));
    assert_eq!(found(&world), [""; 0]);
    reaped(&mut world);
    assert_eq!((leaves(&world, 8), leaves(&world, 9), world.count("SELECT count(*) FROM leaf")), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_counting_takes_no_statement_for_each_row() {
    let mut taken = Vec::new();
    for rows in [2, 200] {
        let world = World::of(SHELVES);
        let mut alice = Client::new("alice", 1);
        let mut edits = vec![create("branch", 1, json!({}))];
        edits.extend((0..rows).map(|n| create("shelf", 1_000 + n, json!({}))));
        edits.extend((0..rows).map(|n| create("leaf", 2_000 + n, json!({"left": id(1), "shelf": id(1_000 + n)}))));
        assert_eq!(verdict(&alice.edit(&world, "a", json!(edits)).await), "applied");
        let store = store(&world);
        // None of the shelves is named.
        let edits: Vec<Json> = (0..rows / 2).map(|n| update("leaf", 2_000 + n, json!({"shelf": null}))).collect();
        send(&world, &store, &mut alice, json!(edits));
        send(&world, &store, &mut alice, json!([delete("branch", 1)]));
        taken.push(store.db().statements());
        assert_eq!(found(&world), [""; 0]);
        assert_eq!(world.count("SELECT CAST(sum(leaves) AS BIGINT) FROM shelf"), 0);
    }
    assert_eq!(taken[0], taken[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_a_migration_that_adds_a_count_counts_what_is_there() {
    let mut schema: Json = serde_json::from_str(SHELVES).unwrap();
    schema["tables"]["shelf"].as_object_mut().unwrap().remove("counts");
    let world = World::of(&schema.to_string());
    let mut alice = Client::new("alice", 1);
    let mut edits = vec![create("branch", 1, json!({})), create("branch", 2, json!({})), create("shelf", 8, json!({}))];
    edits.extend((100..110).map(|n| create("leaf", n, json!({"left": id(if n < 103 { 1 } else { 2 }), "shelf": id(8)}))));
    assert_eq!(verdict(&alice.edit(&world, "a", json!(edits)).await), "applied");
    // One of the branches is dying, and the background has not come to it yet.
    let space = world.count("SELECT id FROM _space");
    world.db().execute("INSERT INTO _dying VALUES (?1, 'branch', ?2, 1)", &[space.into(), row(2).into()]).unwrap();
    schema["tables"]["shelf"]["counts"] = json!({"leaves": {"of": "leaf.shelf"}});
    schema["version"] = json!(2);
    plan(&world.config, &schema.to_string(), "counts").unwrap();
    migrate::apply(&world.config.migrations, &world.config.data).unwrap();
    std::fs::write(&world.config.schema, schema.to_string()).unwrap();
    let mut world = World { schema: schema.to_string(), ..world };
    assert_eq!(leaves(&world, 8), 3);
    assert_eq!(found(&world), [""; 0], "the digest is that of the rows");
    reaped(&mut world);
    schema["tables"]["shelf"]["counts"] = json!({"leaves": {"of": "leaf.shelf"}, "more": {"of": "leaf.shelf"}});
    schema["tables"]["leaf"]["references"]["other"] = json!({"to": ["shelf"], "nullable": true, "on_delete": "set_null"});
    schema["version"] = json!(3);
    schema["tables"]["shelf"]["counts"]["leaves"]["of"] = json!("leaf.other");
    plan(&world.config, &schema.to_string(), "other").unwrap();
    migrate::apply(&world.config.migrations, &world.config.data).unwrap();
    std::fs::write(&world.config.schema, schema.to_string()).unwrap();
    let world = World { schema: schema.to_string(), ..world };
    assert_eq!((leaves(&world, 8), world.count("SELECT more FROM shelf")), (0, 3), "one counts something else now");
    assert_eq!(found(&world), [""; 0]);
}
