use crate::world::{Client, SCHEMA, World, card, id, prepare, verdict};
use axum::response::IntoResponse;
use driftline_core::schema::Schema;
use driftline_core::value::RowId;
use driftline_core::wire::read_push;
use driftline_server::db::Dialect;
use driftline_server::store::{Moment, Store};
use driftline_server::tables::Layout;
use driftline_server::{ApiError, Faults};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;

/// Ten pushes of ten clients, sent while the database is locked: the writer takes the first, the others wait as a group.
async fn ten_at_once(world: &World) -> Vec<(u16, Json)> {
    let lock = world.lock();
    let pushes = (0..10).map(|n| {
        let mut client = Client::new("alice", n);
        let unit = client.unit(json!([card(n)]));
        client.push(vec![unit])
    });
    let all = futures_util::future::join_all(pushes.map(|push| world.post("a", push)));
    let release = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        lock.commit().unwrap();
    };
    tokio::join!(all, release).0
}

#[tokio::test]
async fn t1_a_group_that_fails_is_tried_one_by_one_and_only_the_culprit_hears() {
    let world = World::with(Faults { fail_row: RowId::parse(&id(6)), ..Faults::default() });
    for (n, (status, answer)) in ten_at_once(&world).await.into_iter().enumerate() {
        if n == 6 {
            assert_eq!((status, answer["code"].as_str()), (500, Some("internal")));
        } else {
            assert_eq!((status, verdict(&answer["outcomes"][0]).as_str()), (200, "applied"), "push {n}: {answer}");
        }
    }
    assert_eq!(world.count("SELECT count(*) FROM card"), 9);
    assert_eq!(world.count("SELECT rev FROM _space"), 9);
    assert_eq!(world.count("SELECT count(*) FROM _log"), 9);
}

#[tokio::test]
async fn d3_an_error_at_any_table_leaves_neither_effect_nor_mark() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    alice.edit(&world, "a", json!([card(1), card(2)])).await;
    alice.closed = json!([[1, 1]]);
    let edits = json!([card(3), {"op": "update", "table": "card", "id": id(2), "add": {"count": 1}}, {"op": "delete", "table": "card", "id": id(1)},
        {"op": "create", "table": "box", "id": id(4), "set": {"main": id(3)}}]);
    let unit = alice.unit(edits);
    let push = alice.push(vec![unit]);
    let before = world.dump();
    let places = ["INSERT ON card", "UPDATE ON card", "DELETE ON card", "INSERT ON box", "INSERT ON _log", "INSERT ON _mark"];
    for place in places.into_iter().chain(["INSERT ON _deleted", "UPDATE ON _space", "UPDATE ON _client", "DELETE ON _mark"]) {
        let db = world.db();
        // FAIL keeps what the statement has done so far, so that only the rollback can take it back.
        let (fault, mended) = match db.dialect() {
            Dialect::Sqlite => (format!("CREATE TRIGGER fault AFTER {place} BEGIN SELECT RAISE(FAIL, 'fault'); END"), "DROP TRIGGER fault"),
            Dialect::Postgres => {
                let fault = "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'fault'; END $$";
                (
                    format!("{fault}; CREATE TRIGGER fault AFTER {place} FOR EACH ROW EXECUTE FUNCTION fault()"),
                    "DROP FUNCTION fault CASCADE",
                )
            }
        };
        db.batch(&fault).unwrap();
        let (status, _) = world.post("a", push.clone()).await;
        db.batch(mended).unwrap();
        assert_eq!((status, world.dump() == before), (500, true), "{place}");
    }
    let (_, answer) = world.post("a", push).await;
    assert_eq!(verdict(&answer["outcomes"][0]), "applied");
}

#[tokio::test]
async fn t1_an_error_at_any_statement_of_a_push_leaves_before_or_after() {
    let mut world = World::new();
    let mut alice = Client::new("alice", 1);
    let first = json!([card(1), card(2), {"op": "create", "table": "box", "id": id(5)}]);
    alice.edit(&world, "a", first).await;
    alice.closed = json!([[1, 1]]);
    let edits = json!([card(3), {"op": "update", "table": "card", "id": id(2), "set": {"box": id(5)}}, {"op": "delete", "table": "card", "id": id(1)},
        {"op": "create", "table": "box", "id": id(4), "set": {"main": id(3)}}]);
    let unit = alice.unit(edits);
    let push = alice.push(vec![unit]);
    let before = world.dump();
    let mut nth = 0;
    let answer = loop {
        nth += 1;
        world.config.faults.fail_statement = Some(nth);
        world.restart();
        let (status, answer) = world.post("a", push.clone()).await;
        if status == 200 {
            break answer;
        }
        assert_eq!((status, world.dump() == before), (500, true), "statement {nth}: {answer}");
    };
    assert!(nth > 15, "the push takes more than {nth} statements");
    assert_eq!(verdict(&answer["outcomes"][0]), "applied");
    assert!(world.dump() != before);
}

#[tokio::test]
async fn r4_a_panic_loses_one_answer_only() {
    let world = World::with(Faults { panic_row: RowId::parse(&id(3)), ..Faults::default() });
    for (n, (status, answer)) in ten_at_once(&world).await.into_iter().enumerate() {
        let expected = if n == 3 { (500, Some("internal")) } else { (200, None) };
        assert_eq!((status, answer["code"].as_str()), expected, "push {n}");
    }
    assert_eq!(world.count("SELECT count(*) FROM card"), 9);
    assert_eq!(verdict(&Client::new("alice", 77).edit(&world, "a", json!([card(50)])).await), "applied");
}

#[tokio::test]
async fn a6_a_full_queue_asks_to_come_back() {
    let world = World::new();
    let lock = world.lock();
    let pushes = (0..600).map(|n| {
        let mut client = Client::new("alice", n);
        let unit = client.unit(json!([card(n)]));
        client.push(vec![unit])
    });
    let mut waiting: FuturesUnordered<_> = pushes.map(|push| world.post("a", push)).collect();
    let (mut applied, mut refused) = (0, 0);
    while let Some((status, answer)) = waiting.next().await {
        match status {
            200 => applied += 1,
            _ => {
                assert_eq!((status, answer["code"].as_str()), (503, Some("unavailable")));
                assert!(answer["detail"].as_str().unwrap().starts_with("too much waits"), "{answer}");
                refused += 1;
                if refused == 1 {
                    lock.commit().unwrap();
                }
            }
        }
    }
    assert!(refused > 0 && applied >= 512, "{applied} applied, {refused} refused");
    assert_eq!(world.count("SELECT count(*) FROM card"), applied);
    let response = ApiError::unavailable("").into_response();
    assert_eq!(response.headers()["retry-after"], "1");
}

#[test]
fn c2_statements_grow_with_the_chunks_and_not_with_the_edits() {
    let (_directory, config) = prepare();
    let schema = Arc::new(Schema::parse(SCHEMA).unwrap());
    let layout = Arc::new(Layout::new(&schema, config.data.dialect()).unwrap());
    let store = Store::open(&config.data, schema.clone(), layout).unwrap();
    let run = |client: &mut Client, space: &str, units: Vec<Json>| {
        let push = read_push(&schema, &client.push(units)).unwrap();
        let before = store.db().statements();
        store.db().begin_writing().unwrap();
        let plan = store.push(space, "alice", &push, Moment { now_ms: 2_000, random: 7 }, &Faults::default()).unwrap().unwrap();
        store.db().commit().unwrap();
        client.receipt = json!(format!("{:016x}", plan.clients[0].receipts.current.unwrap()));
        assert!(plan.outcomes.iter().all(|outcome| outcome.1.contains("applied")), "{:?}", plan.outcomes);
        store.db().statements() - before
    };
    for (i, n) in [1, 499, 500, 501, 1_000].into_iter().enumerate() {
        let (mut client, space, chunks) = (Client::new("alice", 1), format!("s{i}"), n / 250 + 1);
        let creates =
            (1..=n).map(|c| client.unit(json!([card(c), {"op": "create", "table": "box", "id": id(c), "set": {"main": id(c)}}]))).collect();
        let created = run(&mut client, &space, creates);
        let updates =
            (1..=n).map(|c| client.unit(json!([{"op": "update", "table": "card", "id": id(c), "set": {"box": id(c)}}]))).collect();
        let updated = run(&mut client, &space, updates);
        let deletes = (1..=n).map(|c| client.unit(json!([{"op": "delete", "table": "card", "id": id(c)}]))).collect();
        let deleted = run(&mut client, &space, deletes);
        assert!(created <= 12 + 5 * chunks, "{n} creates took {created} statements");
        assert!(updated <= 12 + 3 * chunks, "{n} updates took {updated} statements");
        assert!(deleted <= 16 + 4 * chunks, "{n} deletes took {deleted} statements");
    }
}
