//! What is told to a webhook: what was committed, at least once, each change of a row merged into the next.

use crate::world::{Client, World, card, id, open, verdict};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use driftline_server::db::Param;
use driftline_server::effects::{ATTEMPTS, Webhook, retry_parked, sign};
use serde_json::{Value as Json, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::sleep;

pub const SECRET: &[u8] = b"a secret for the tests of 32 bytes";

/// The app's own address: it refuses as often as it is told to, and notes what it has taken.
#[derive(Default)]
pub struct Receiver {
    pub refuses: AtomicU64,
    calls: AtomicU64,
    /// Of all calls, also of those that were refused.
    keys: Mutex<Vec<String>>,
    pub taken: Mutex<Vec<(String, Json)>>,
}

impl Receiver {
    fn told(&self) -> Vec<String> {
        let taken = self.taken.lock().unwrap();
        taken
            .iter()
            .map(|(_, json)| format!("{} {} {}", json["op"].as_str().unwrap(), json["table"].as_str().unwrap(), json["rev"]))
            .collect()
    }
}

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    receiver.calls.fetch_add(1, Ordering::Relaxed);
    let text = |name: &str| headers[name].to_str().unwrap().to_string();
    let body = std::str::from_utf8(&body).unwrap();
    let at: u64 = text("driftline-signature")[2..].split(',').next().unwrap().parse().unwrap();
    assert_eq!(text("driftline-signature"), sign(SECRET, at, body));
    receiver.keys.lock().unwrap().push(text("idempotency-key"));
    if receiver.refuses.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    receiver.taken.lock().unwrap().push((text("idempotency-key"), serde_json::from_str(body).unwrap()));
    StatusCode::OK
}

pub async fn receiver() -> (Arc<Receiver>, String) {
    let receiver = Arc::new(Receiver::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let app = Router::new().route("/hook", post(receive)).with_state(receiver.clone());
    tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
    (receiver, url)
}

fn told_of(url: &str, tables: &[&str]) -> World {
    let tables = tables.iter().map(|table| table.to_string()).collect();
    World::set(|config| config.webhook = Some(Webhook { url: url.to_string(), secret: SECRET.to_vec(), tables }))
}

/// Waits until nothing is to be told any more, at the first call.
async fn until_told(world: &World) {
    for _ in 0..400 {
        if world.count("SELECT count(*) FROM _effect WHERE NOT parked") == 0 {
            return;
        }
        sleep(Duration::from_millis(25)).await;
    }
    panic!("{} effects are not told", world.count("SELECT count(*) FROM _effect"));
}

pub fn hurry(world: &World) {
    let _ = world.db().execute("UPDATE _effect SET due = ?1 WHERE attempts > 0", &[Param::Int(0)]);
}

/// Waits until nothing is to be told any more; what is put off is due at once.
pub async fn until_told_again(world: &World) {
    for _ in 0..800 {
        if world.count("SELECT count(*) FROM _effect") == 0 {
            return;
        }
        hurry(world);
        sleep(Duration::from_millis(25)).await;
    }
    panic!("{} effects are not told", world.count("SELECT count(*) FROM _effect"));
}

#[tokio::test(flavor = "multi_thread")]
async fn e1_what_is_committed_is_told_and_what_is_refused_is_not() {
    let (receiver, url) = receiver().await;
    let world = told_of(&url, &["card", "box"]);
    let mut alice = Client::new("alice", 1);
    alice.edit(&world, "a", json!([card(1), {"op": "create", "table": "connection_type", "id": id(9), "set": {"name": "t"}}])).await;
    assert_eq!(verdict(&alice.edit(&world, "a", json!([card(2), card(1)])).await), "refused row_exists");
    until_told(&world).await;
    alice.edit(&world, "a", json!([{"op": "update", "table": "card", "id": id(1), "set": {"text": "new", "x": 2.5}}])).await;
    until_told(&world).await;
    alice.edit(&world, "a", json!([{"op": "delete", "table": "card", "id": id(1)}])).await;
    until_told(&world).await;
    assert_eq!(receiver.told(), ["create card 1", "update card 2", "delete card 3"]);
    let taken = receiver.taken.lock().unwrap().clone();
    assert_eq!(
        (&taken[1].1["space"], &taken[1].1["id"], &taken[1].1["row"]["text"], &taken[1].1["row"]["x"]),
        (&json!("a"), &json!(id(1)), &json!("new"), &json!(2.5))
    );
    assert_eq!(taken[2].1["row"], Json::Null);
    let keys: std::collections::BTreeSet<_> = taken.iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn e1_what_fails_is_tried_again_with_its_key_and_parked_after_a_bound() {
    let (receiver, url) = receiver().await;
    receiver.refuses.store(3, Ordering::Relaxed);
    let mut world = told_of(&url, &[]);
    let mut alice = Client::new("alice", 1);
    alice.edit(&world, "a", json!([card(1)])).await;
    for _ in 0..400 {
        if receiver.taken.lock().unwrap().len() == 1 {
            break;
        }
        hurry(&world);
        sleep(Duration::from_millis(25)).await;
    }
    assert_eq!((receiver.told(), receiver.calls.load(Ordering::Relaxed)), (vec!["create card 1".to_string()], 4));
    // A receiver that never takes it: after so many calls it is left alone, and a person can have it tried again.
    receiver.refuses.store(u64::MAX, Ordering::Relaxed);
    alice.edit(&world, "a", json!([card(2)])).await;
    for _ in 0..2_000 {
        if world.count("SELECT count(*) FROM _effect WHERE parked") == 1 {
            break;
        }
        hurry(&world);
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(receiver.calls.load(Ordering::Relaxed), 4 + ATTEMPTS as u64);
    let keys = receiver.keys.lock().unwrap().clone();
    let (first, second) = keys.split_at(4);
    assert!([first, second].iter().all(|keys| keys.iter().all(|key| *key == keys[0])) && first[0] != second[0], "{keys:?}");
    // A server that starts anew has forgotten nothing.
    world.router = open(&world.config).router();
    receiver.refuses.store(0, Ordering::Relaxed);
    assert_eq!(retry_parked(&world.config.data), Ok(1));
    until_told(&world).await;
    assert_eq!(receiver.told(), ["create card 1", "create card 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn e2_changes_of_a_row_are_merged_and_what_goes_with_another_is_not_told() {
    let (receiver, url) = receiver().await;
    receiver.refuses.store(u64::MAX, Ordering::Relaxed);
    let world = told_of(&url, &[]);
    let mut alice = Client::new("alice", 1);
    let children: Vec<Json> = (100..200).map(|n| json!({"op": "create", "table": "box", "id": id(n), "set": {"parent": id(5)}})).collect();
    let mut edits = vec![json!({"op": "create", "table": "box", "id": id(5)}), card(1)];
    edits.extend(children);
    alice.edit(&world, "a", json!(edits)).await;
    for x in 0..50 {
        alice.edit(&world, "a", json!([{"op": "update", "table": "card", "id": id(1), "set": {"x": x}}])).await;
    }
    assert!(world.count("SELECT count(*) FROM _effect") <= 102, "one for each row");
    assert_eq!(verdict(&alice.edit(&world, "a", json!([{"op": "delete", "table": "box", "id": id(5)}])).await), "applied");
    assert_eq!(world.count("SELECT count(*) FROM _effect"), 2, "the parent, and the card");
    receiver.refuses.store(0, Ordering::Relaxed);
    until_told_again(&world).await;
    let mut told: Vec<String> = receiver.told().iter().map(|told| told.rsplit_once(' ').unwrap().0.to_string()).collect();
    told.sort();
    assert!(told == ["delete box", "update card"] || told == ["create card", "delete box"], "{told:?}");
    assert_eq!(receiver.taken.lock().unwrap().iter().find(|(_, json)| json["table"] == "card").unwrap().1["row"]["x"], 49);
}

/// A delete that goes on in the background makes one call, too.
#[tokio::test(flavor = "multi_thread")]
async fn e2_a_large_delete_makes_one_call() {
    let (receiver, url) = receiver().await;
    receiver.refuses.store(u64::MAX, Ordering::Relaxed);
    let mut world = World::set(|config| config.webhook = Some(Webhook { url, secret: SECRET.to_vec(), tables: Vec::new() }));
    let server = open(&world.config);
    world.router = server.router();
    let mut alice = Client::new("alice", 1);
    alice.edit(&world, "a", json!([{"op": "create", "table": "box", "id": id(5)}])).await;
    for part in 0..3 {
        let box_in = |n: u64| json!({"op": "create", "table": "box", "id": id(1_000 * (part + 1) + n), "set": {"parent": id(5)}});
        assert_eq!(verdict(&alice.edit(&world, "a", json!((0..1_000).map(box_in).collect::<Vec<_>>())).await), "applied");
    }
    assert_eq!(verdict(&alice.edit(&world, "a", json!([{"op": "delete", "table": "box", "id": id(5)}])).await), "applied");
    server.jobs().await;
    assert_eq!(world.count("SELECT count(*) FROM box"), 0);
    assert_eq!(world.count("SELECT count(*) FROM _effect"), 1);
    receiver.refuses.store(0, Ordering::Relaxed);
    until_told_again(&world).await;
    assert_eq!(receiver.told(), ["delete box 5"]);
}

/// Only some tables are told of, and what is not told of cannot stand for what goes with it.
#[tokio::test(flavor = "multi_thread")]
async fn e2_what_goes_with_a_row_that_is_not_told_of_is_told_itself() {
    let (receiver, url) = receiver().await;
    let world = told_of(&url, &["connection"]);
    let mut alice = Client::new("alice", 1);
    let connection = |n: u64| json!({"op": "create", "table": "connection", "id": id(n), "set": {"type": id(9), "from": {"card": id(1)}}});
    let first =
        json!([{"op": "create", "table": "connection_type", "id": id(9), "set": {"name": "t"}}, card(1), connection(20), connection(21)]);
    assert_eq!(verdict(&alice.edit(&world, "a", first).await), "applied");
    until_told(&world).await;
    assert_eq!(verdict(&alice.edit(&world, "a", json!([{"op": "delete", "table": "card", "id": id(1)}])).await), "applied");
    until_told(&world).await;
    assert_eq!(receiver.told(), ["create connection 1", "create connection 1", "delete connection 2", "delete connection 2"]);
}

/// A box inside itself, and two inside each other: one of them is told of.
#[tokio::test(flavor = "multi_thread")]
async fn e2_rows_that_go_with_each_other_make_one_call() {
    let (receiver, url) = receiver().await;
    let world = told_of(&url, &[]);
    let mut alice = Client::new("alice", 1);
    let inside = |n: u64, parent: u64| json!({"op": "create", "table": "box", "id": id(n), "set": {"parent": id(parent)}});
    assert_eq!(verdict(&alice.edit(&world, "a", json!([inside(1, 1), inside(2, 3), inside(3, 2)])).await), "applied");
    until_told(&world).await;
    let deletes: Vec<Json> = [1, 2].iter().map(|n| json!({"op": "delete", "table": "box", "id": id(*n)})).collect();
    assert_eq!(verdict(&alice.edit(&world, "a", json!(deletes)).await), "applied");
    until_told(&world).await;
    let taken = receiver.taken.lock().unwrap();
    let mut deleted: Vec<&str> = taken.iter().skip(3).map(|(_, json)| json["id"].as_str().unwrap()).collect();
    deleted.sort_unstable();
    assert_eq!(deleted, [id(1), id(2)]);
}

/// A receiver that is down is called at intervals, however often a row changes, and hears of the last change alone.
#[tokio::test(flavor = "multi_thread")]
async fn e1_a_row_that_goes_on_changing_is_put_off_like_any_other() {
    let (receiver, url) = receiver().await;
    receiver.refuses.store(u64::MAX, Ordering::Relaxed);
    let world = told_of(&url, &[]);
    let mut alice = Client::new("alice", 1);
    alice.edit(&world, "a", json!([card(1)])).await;
    for _ in 0..200 {
        if receiver.calls.load(Ordering::Relaxed) > 0 {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    world.db().execute("UPDATE _effect SET due = due + ?1", &[Param::Int(3_600_000)]).unwrap();
    let before = receiver.calls.load(Ordering::Relaxed);
    for x in 0..30 {
        alice.edit(&world, "a", json!([{"op": "update", "table": "card", "id": id(1), "set": {"x": x}}])).await;
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(receiver.calls.load(Ordering::Relaxed), before);
    receiver.refuses.store(0, Ordering::Relaxed);
    until_told_again(&world).await;
    let taken = receiver.taken.lock().unwrap();
    assert_eq!((taken.len(), &taken[0].1["row"]["x"]), (1, &json!(29)));
}

/// A large delete whose root is not told of: what is told of goes by itself, though not what hangs on it.
#[tokio::test(flavor = "multi_thread")]
async fn e2_of_a_large_delete_what_is_told_of_is_told_once_from_above() {
    let schema = r#"{"name": "t", "version": 1, "tables": {"board": {},
      "card": {"references": {"board": {"to": ["board"], "on_delete": "cascade"}}},
      "note": {"references": {"card": {"to": ["card"], "on_delete": "cascade"}}}}}"#;
    let (receiver, url) = receiver().await;
    let mut world = World::of(schema);
    let tables = ["card", "note"].map(str::to_string).to_vec();
    world.config.webhook = Some(Webhook { url, secret: SECRET.to_vec(), tables });
    let server = open(&world.config);
    world.router = server.router();
    let create = |table: &str, n: u64, set: Json| json!({"op": "create", "table": table, "id": id(n), "set": set});
    let mut alice = Client::new("alice", 1);
    assert_eq!(verdict(&alice.edit(&world, "a", json!([create("board", 1, json!({}))])).await), "applied");
    let cards = (10..15).map(|n| create("card", n, json!({"board": id(1)}))).collect::<Vec<_>>();
    assert_eq!(verdict(&alice.edit(&world, "a", json!(cards)).await), "applied");
    for part in 0..5 {
        let note = |n: u64| create("note", 10_000 + part * 1_000 + n, json!({"card": id(10 + part)}));
        assert_eq!(verdict(&alice.edit(&world, "a", json!((0..500).map(note).collect::<Vec<_>>())).await), "applied");
    }
    world.db().batch("DELETE FROM _effect").unwrap();
    receiver.taken.lock().unwrap().clear();
    assert_eq!(verdict(&alice.edit(&world, "a", json!([{"op": "delete", "table": "board", "id": id(1)}])).await), "applied");
    server.jobs().await;
    assert_eq!(world.count("SELECT count(*) FROM note"), 0);
    until_told(&world).await;
    let mut told = receiver.told();
    told.retain(|told| told.starts_with("delete"));
    assert_eq!(told, ["delete card 8"; 5], "{told:?}");
}
