//! What a large delete takes of SQLite, and what kills leave of it.

use crate::findings::found;
use crate::large::{PUBLISHING, assert_sound, create, delete, site, until_done, view, vote};
use crate::process::{Process, post, try_start};
use crate::world::{Client, World, id, row, verdict};
use driftline_core::schema::Schema;
use driftline_core::wire::read_push;
use driftline_server::Faults;
use driftline_server::db::Dialect;
use driftline_server::store::{Moment, Store};
use driftline_server::tables::Layout;
use serde_json::{Value as Json, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// What it takes to delete article 10: statements, and hundreds of instructions of SQLite's machine.
async fn deleting(world: &World, alice: &mut Client) -> (u64, usize) {
    let schema = Arc::new(Schema::parse(PUBLISHING).unwrap());
    let layout = Arc::new(Layout::new(&schema, Dialect::Sqlite).unwrap());
    let store = Store::open(&world.config.data, schema.clone(), layout).unwrap();
    let conn = store.db().sqlite().unwrap();
    let instructions = Arc::new(AtomicUsize::new(0));
    let counted = instructions.clone();
    let count = move || {
        counted.fetch_add(1, Relaxed);
        false
    };
    conn.progress_handler(100, Some(count));
    let unit = alice.unit(json!([delete("article", 10)]));
    let push = read_push(&schema, &alice.push(vec![unit])).unwrap();
    let before = store.db().statements();
    conn.execute_batch("BEGIN IMMEDIATE").unwrap();
    let plan = store.push("a", "alice", &push, Moment { now_ms: 2_000, random: 7 }, &Faults::default()).unwrap().unwrap();
    conn.execute_batch("COMMIT").unwrap();
    assert!(plan.outcomes[0].1.contains("applied"), "{:?}", plan.outcomes);
    (store.db().statements() - before, instructions.load(Relaxed))
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_the_answer_takes_as_many_statements_for_100000_children_as_for_10() {
    let mut taken = Vec::new();
    for children in [10, 1_000, 100_000] {
        let world = World::of(PUBLISHING);
        let mut alice = site(&world, 1).await;
        view(&world, 10, 10_000, children);
        taken.push(deleting(&world, &mut alice).await.0);
    }
    // In the push, a statement for each 250 ids to remember; in the background, none of the rows is touched by it.
    assert!(taken[1] <= taken[0] + 1_000 / 250 && taken[2] <= taken[0] + 3, "{taken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_the_answer_takes_no_more_work_the_more_rows_there_are() {
    let mut taken = Vec::new();
    for (children, elsewhere) in [(10, 10), (10, 100_000), (10_000, 10), (100_000, 10)] {
        let world = World::of(PUBLISHING);
        let mut alice = site(&world, 2).await;
        vote(&world, 10, 10_000, children);
        vote(&world, 20, 200_000, elsewhere);
        view(&world, 20, 400_000, elsewhere);
        taken.push(deleting(&world, &mut alice).await.1);
    }
    assert!(taken[1] < taken[0] * 2, "an index is not used: {taken:?}");
    assert!(taken[3] < taken[2] * 5 / 4, "what goes is gone through: {taken:?}");
}

/// `None` where the process dies before it has answered in full.
fn try_get(process: &Process, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(&process.address).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.contains("{\"end\":true}").then_some(answer)
}

#[test]
fn i5_killed_at_each_commit_it_goes_on_and_nobody_sees_half() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(async {
        let world = World::of(PUBLISHING);
        let mut alice = site(&world, 1).await;
        view(&world, 10, 10_000, 2_500);
        for poll in 0..40 {
            let edits: Vec<Json> = std::iter::once(create("poll", 2_000 + poll, json!({"article": id(10)})))
                .chain((0..5).map(|o| create("poll_option", 3_000 + poll * 10 + o, json!({"poll": id(2_000 + poll)}))))
                .chain((0..5).map(|o| {
                    let option = id(3_000 + poll * 10 + o);
                    create("poll_vote", 5_000 + poll * 10 + o, json!({"poll": id(2_000 + poll), "option": option}))
                }))
                .collect();
            assert_eq!(verdict(&alice.edit(&world, "a", json!(edits)).await), "applied");
        }
        // The processes below are the only ones on the database.
        world.unserved().await
    });
    let mut alice = Client::new("bob", 2);
    let unit = alice.unit(json!([delete("article", 10)]));
    let push = alice.push(vec![unit]);
    let (mut kills, mut read) = (0, 0);
    let mut accepted = false;
    loop {
        // The first commit is the push, later ones are batches; each life ends with one more.
        let fault = if kills % 2 == 0 { "abort_after_commit=1" } else { "abort_before_commit=2" };
        let Some(mut process) = try_start(&world, fault) else {
            kills += 1;
            continue;
        };
        if !accepted {
            accepted = post(&process, &push).is_some() || world.count("SELECT count(*) FROM _dying") > 0;
        }
        let before = world.count("SELECT count(*) FROM page_view");
        let ended = (0..400).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            process.child.try_wait().unwrap().is_some()
        });
        assert!(!found(&world).iter().any(|found| found.starts_with("orphans")), "after {kills} kills");
        if !ended {
            assert_eq!(world.count("SELECT count(*) FROM _dying"), 0, "it stopped before its end");
            break;
        }
        kills += 1;
        assert!(kills < 60, "{before} rows are left and it does not come to an end");
        if accepted {
            // While somebody keeps the writer, this one cannot go on with the deletes.
            let lock = world.lock();
            let mut reader = try_start(&world, "").expect("it starts");
            let seen = try_get(&reader, "/v1/spaces/a/snapshot").expect("it answers");
            assert!(seen.contains("\"user\"") && !seen.contains(&id(10)) && !seen.contains("poll"), "half of it is seen: {seen}");
            read += 1;
            reader.child.kill().unwrap();
            reader.child.wait().unwrap();
            lock.roll_back().unwrap();
        }
    }
    assert!(kills >= 3 && read > 0, "{kills} kills and {read} readings are too few to tell");
    let left =
        ["article", "page_view", "poll", "poll_option", "poll_vote"].map(|table| world.count(&format!("SELECT count(*) FROM {table}")));
    assert_eq!(left, [0; 5]);
    assert_sound(&world, None);
}

#[test]
fn i5_rows_that_lose_a_reference_to_what_goes_do_so_a_batch_at_a_time() {
    let schema = r#"{"name": "labels", "version": 1, "tables": {
      "label": {}, "note": {"references": {"label": {"to": ["label"], "nullable": true, "on_delete": "set_null"}}}}}"#;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = World::of(schema);
    runtime.block_on(async {
        let mut alice = Client::new("alice", 1);
        assert_eq!(verdict(&alice.edit(&world, "a", json!([create("label", 1, json!({}))])).await), "applied");
    });
    world.plant("note", 1_000..6_000, &[("label", row(1).into())]);
    world.adopt();
    let mut bob = Client::new("bob", 2);
    let unit = bob.unit(json!([delete("label", 1)]));
    // The first commit is the push.
    let mut process = try_start(&world, "abort_after_commit=2").expect("it starts");
    let _ = post(&process, &bob.push(vec![unit]));
    process.child.wait().unwrap();
    assert_eq!(world.count("SELECT count(*) FROM note WHERE label IS NULL"), 1_000);
    assert_sound(&world, None);
    let process = try_start(&world, "").expect("it starts");
    until_done(&world);
    drop(process);
    assert_eq!(world.count("SELECT count(*) FROM note WHERE label IS NULL"), 5_000);
    assert_eq!(world.count("SELECT count(*) FROM label"), 0);
    assert_sound(&world, None);
}
