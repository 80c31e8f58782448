//! Several servers on one PostgreSQL.

use crate::cluster::Cluster;
use crate::live::{connect, next, start};
use crate::world::{Client, SCHEMA, World, card, open, token, verdict};
use driftline_core::schema::Schema;
use driftline_server::check::check;
use futures_util::future::join_all;
use serde_json::{Value as Json, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{sleep, timeout};

fn sound(world: &World) {
    let report = check(&Schema::parse(SCHEMA).unwrap(), &world.config.data, None, |_| {}).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

/// The same database behind a second server.
fn beside(world: &World) -> World {
    World {
        directory: tempfile::tempdir().unwrap(),
        config: world.config.clone(),
        router: open(&world.config).router(),
        schema: world.schema.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn n1_clients_of_either_server_see_each_others_edits() {
    let world = World::new();
    let mut other = beside(&world);
    let running = start(&mut other).await;
    let mut socket = connect(&running, json!({"token": token("bob"), "cursor": 0})).await;
    let mut alice = Client::new("alice", 1);
    for n in 1..=20 {
        assert_eq!(verdict(&alice.edit(&world, "a", json!([card(n)])).await), "applied");
    }
    let mut seen = Vec::new();
    while seen.len() < 20 {
        let message = timeout(Duration::from_secs(20), next(&mut socket)).await.expect("the note does not arrive");
        seen.extend(message["changes"].as_array().unwrap_or_else(|| panic!("{message}")).iter().map(|row| row["rev"].as_u64().unwrap()));
    }
    assert_eq!(seen, (1..=20).collect::<Vec<_>>());
    let mut bob = Client::new("bob", 2);
    bob.cursor = json!(0);
    let answer = bob.send(&other, "a", vec![]).await;
    assert_eq!(answer["rev"], 20);
    running.stop.send(()).unwrap();
    running.ended.await.unwrap();
}

/// Pushes until it is answered; what was sent before is sent again as it was.
async fn insist(world: &World, space: &str, push: &str, token: &str) -> Json {
    for _ in 0..400 {
        let (status, text) = world.request("POST", &format!("/v1/spaces/{space}/reconcile"), Some(token), push.to_string()).await;
        let answer: Json = serde_json::from_str(&text).unwrap();
        match status {
            200 => return answer,
            503 => sleep(Duration::from_millis(25)).await,
            _ => panic!("{status} {answer}"),
        }
    }
    panic!("the server does not come back");
}

/// Clients that each make `edits` cards in one of three spaces, by turns over one and the other server.
async fn crowd(servers: [&World; 2], clients: u64, edits: u64) {
    let work = (0..clients).map(|n| async move {
        let mut client = Client::new(&format!("user{}", n % 5), n + 1);
        let space = ["a", "b", "c"][(n % 3) as usize];
        for edit in 0..edits {
            let unit = client.unit(json!([card(n * 1_000 + edit)]));
            let push = client.push(vec![unit]);
            let answer = insist(servers[((n + edit) % 2) as usize], space, &push, &client.token).await;
            assert_eq!(verdict(&answer["outcomes"][0]), "applied", "{answer}");
            client.receipt = answer["clients"][0]["receipt"].clone();
        }
    });
    join_all(work).await;
}

/// Each edit took effect once, under a revision of its own.
fn once(world: &World, edits: i64) {
    assert_eq!(world.count("SELECT count(*) FROM card"), edits);
    assert_eq!(world.count("SELECT count(*) FROM _log"), edits);
    assert_eq!(world.count("SELECT CAST(sum(rev) AS BIGINT) FROM _space"), edits);
    sound(world);
}

#[tokio::test(flavor = "multi_thread")]
async fn n1_two_servers_that_write_the_same_spaces_lose_and_double_nothing() {
    let world = World::new();
    crowd([&world, &beside(&world)], 24, 12).await;
    once(&world, 24 * 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn n1_killed_connections_lose_and_double_nothing() {
    let world = World::new();
    let other = beside(&world);
    let over = AtomicBool::new(false);
    let killing = async {
        let db = world.db();
        let mut killed = 0;
        // However slow the machine is, there is an end to it.
        while !over.load(Ordering::Relaxed) && killed < 100 {
            // Those of this test alone: others run in other schemas.
            let sql = "SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND state <> 'idle' \
                       AND pid IN (SELECT l.pid FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation \
                       WHERE c.relnamespace = current_schema()::regnamespace)) AS killed";
            killed += db.one(sql, &[], |row| row.int(0)).unwrap();
            sleep(Duration::from_millis(8)).await;
        }
        killed
    };
    let crowding = async {
        crowd([&world, &other], 18, 15).await;
        over.store(true, Ordering::Relaxed);
    };
    let (killed, ()) = tokio::join!(killing, crowding);
    once(&world, 18 * 15);
    assert!(killed > 10, "{killed} connections were killed while they worked");
}

#[tokio::test(flavor = "multi_thread")]
async fn n1_a_database_that_is_killed_loses_and_doubles_nothing() {
    let cluster = Cluster::start();
    let world = World::at(tempfile::tempdir().unwrap(), cluster.database(), SCHEMA);
    let other = beside(&world);
    let over = AtomicBool::new(false);
    let killing = async {
        let mut kills = 0;
        while !over.load(Ordering::Relaxed) && kills < 12 {
            sleep(Duration::from_millis(100)).await;
            tokio::task::block_in_place(|| cluster.kill_and_start());
            kills += 1;
        }
        kills
    };
    let crowding = async {
        crowd([&world, &other], 12, 40).await;
        over.store(true, Ordering::Relaxed);
    };
    let (kills, ()) = tokio::join!(killing, crowding);
    assert!(kills >= 2, "{kills} kills");
    once(&world, 12 * 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn v1_a_first_load_that_begins_beside_a_migration_shows_all_rows() {
    let world = World::new();
    Client::new("alice", 1).edit(&world, "a", json!([card(1)])).await;
    let db = world.db();
    db.begin_writing().unwrap();
    // As a migration does: nobody else, and a table built anew.
    let steps = "LOCK TABLE _space IN ACCESS EXCLUSIVE MODE; CREATE TABLE built (LIKE card INCLUDING ALL); INSERT INTO built SELECT * FROM card; \
                 DROP TABLE card CASCADE; ALTER TABLE built RENAME TO card";
    db.batch(steps).unwrap();
    let ending = async {
        sleep(Duration::from_millis(300)).await;
        db.commit().unwrap();
    };
    let (snapshot, ()) = tokio::join!(world.snapshot("a"), ending);
    assert!(snapshot.contains("card 1"), "{snapshot}");
}

#[tokio::test(flavor = "multi_thread")]
async fn n1_another_app_in_the_same_database_wakes_nobody_and_keeps_nobody_asleep() {
    let (mut world, other) = (World::new(), World::new());
    let running = start(&mut world).await;
    let mut socket = connect(&running, json!({"token": token("bob"), "cursor": 0})).await;
    let beside = beside(&world);
    let (mut alice, mut stranger) = (Client::new("alice", 1), Client::new("alice", 1));
    for n in 1..=5 {
        // The same revision of a space of the same name.
        stranger.edit(&other, "a", json!([card(n)])).await;
        sleep(Duration::from_millis(60)).await;
        alice.edit(&beside, "a", json!([card(n)])).await;
        let message = timeout(Duration::from_secs(5), next(&mut socket)).await.expect("well before anybody looks");
        assert_eq!(message["changes"][0]["rev"], n, "{message}");
    }
    running.stop.send(()).unwrap();
    running.ended.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn v5_people_see_each_other_through_either_server() {
    let mut world = World::new();
    let mut other = beside(&world);
    let (here, there) = (start(&mut world).await, start(&mut other).await);
    let hello = |sub: &str| json!({"token": token(sub), "presence": true});
    let mut bob = connect(&there, hello("bob")).await;
    let mut alice = connect(&here, hello("alice")).await;
    // Until both servers listen to each other.
    let mut heard = Json::Null;
    for n in 0..100 {
        let word = json!({"presence": n}).to_string();
        futures_util::SinkExt::send(&mut alice, tokio_tungstenite::tungstenite::Message::text(word)).await.unwrap();
        if let Ok(message) = timeout(Duration::from_millis(100), next(&mut bob)).await {
            heard = message;
            break;
        }
    }
    let states = heard["presence"].as_object().expect("nobody is seen").clone();
    assert!(states.len() == 1 && states.values().all(Json::is_number), "{states:?}");
    drop(alice);
    while next(&mut bob).await["presence"].as_object().unwrap().values().any(|state| !state.is_null()) {}
}
