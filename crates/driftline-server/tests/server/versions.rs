//! What a space was: listed, read, and gone back to by new edits.

use crate::findings::found;
use crate::world::{Client, World, card, id, open, token, token_with, verdict};
use driftline_server::{Keeping, Proposal, Role, Ruled, Rules};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Rows of each kind of field and reference, some of which hang on others.
const SCHEMA: &str = r#"{"name": "t", "version": 1, "tables": {
  "board": {"fields": {"name": {"type": "text", "merge": "three_way", "default": ""}, "n": {"type": "counter"}, "tags": {"type": "set"}},
    "counts": {"cards": {"of": "card.board"}}},
  "card": {"fields": {"x": {"type": "real", "default": 0}, "note": {"type": "json", "default": null, "nullable": true}},
    "references": {"board": {"to": ["board"], "on_delete": "cascade"}, "next": {"to": ["card"], "nullable": true, "on_delete": "set_null"}}}
}}"#;

async fn ask(world: &World, method: &str, path: &str, token: &str) -> (u16, Json) {
    let (status, text) = world.request(method, &format!("/v1/spaces/a/{path}"), Some(token), "").await;
    (status, serde_json::from_str(&text).unwrap_or_default())
}

/// Rows without what no edit sets: the head, and the stamps, which no snapshot has.
fn rows(snapshot: &str) -> Vec<String> {
    let of_line = |line: &str| {
        let line: Json = serde_json::from_str(line).unwrap();
        let rows = line["rows"].as_array().cloned().unwrap_or_default();
        rows.into_iter().map(|row| format!("{} {} {row}", line["table"], line["columns"])).collect::<Vec<_>>()
    };
    let mut rows: Vec<String> = snapshot.lines().skip(1).flat_map(of_line).collect();
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn v6_a_space_goes_back_to_a_version_by_new_edits_whatever_has_happened_since() {
    let world = World::of(SCHEMA);
    let (mut alice, mut bob) = (Client::new("alice", 1), Client::new("bob", 2));
    let create = |table: &str, n: u64, set: Json| json!({"op": "create", "table": table, "id": id(n), "set": set});
    let first = json!([
        create("board", 1, json!({"name": "Plan\nb", "n": 5, "tags": ["x", "y"]})),
        create("board", 2, json!({"name": "Other"})),
        create("card", 10, json!({"board": id(1), "x": 1, "note": {"a": [1]}})),
        create("card", 11, json!({"board": id(1), "x": 2, "next": id(10)})),
        create("card", 12, json!({"board": id(2), "x": 3, "next": id(11)})),
    ]);
    assert_eq!(verdict(&alice.edit(&world, "a", first).await), "applied");
    let then = world.snapshot("a").await;
    assert_eq!(ask(&world, "POST", "versions", &token("alice")).await, (200, json!({"rev": 1})));
    let since = [
        json!([{"op": "delete", "table": "board", "id": id(1)}, create("board", 3, json!({"name": "New"}))]),
        json!([create("card", 20, json!({"board": id(3)})), {"op": "update", "table": "card", "id": id(12), "set": {"board": id(3), "next": id(20)}}]),
        json!([{"op": "update", "table": "board", "id": id(2), "text": {"name": ["Other", "Another"]}, "add": {"n": 7}, "insert": {"tags": ["z"]}}]),
    ];
    for edits in since {
        assert_eq!(verdict(&bob.edit(&world, "a", edits).await), "applied");
    }
    let later = world.snapshot("a").await;
    assert_eq!(ask(&world, "POST", "versions", &token("alice")).await, (200, json!({"rev": 4})));
    let (_, list) = ask(&world, "GET", "versions", &token("alice")).await;
    let revs = |list: &Json| list["versions"].as_array().unwrap().iter().map(|v| v["rev"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!((revs(&list), &list["versions"][1]["rows"]), (vec![4, 1], &json!(5)));
    let (status, text) = world.request("GET", "/v1/spaces/a/versions/1", Some(&token("alice")), "").await;
    assert_eq!((status, &text), (200, &then));
    // Back, and forth again.
    let (status, back) = ask(&world, "POST", "versions/1/restore", &token("alice")).await;
    assert_eq!((status, &back["rev"]), (200, &json!(5)), "{back}");
    assert_eq!(rows(&world.snapshot("a").await), rows(&then));
    assert_eq!(found(&world), [""; 0]);
    assert_eq!(ask(&world, "POST", "versions/4/restore", &token("alice")).await.0, 200);
    assert_eq!(rows(&world.snapshot("a").await), rows(&later));
    assert_eq!(found(&world), [""; 0]);
    // To where it is already: nothing is written.
    let rev = world.count("SELECT rev FROM _space");
    assert_eq!(ask(&world, "POST", "versions/4/restore", &token("alice")).await, (200, json!({"rev": rev, "edits": 0})));
    // Everybody hears of it as of any other edit.
    bob.cursor = json!(4);
    let answer = bob.send(&world, "a", vec![]).await;
    assert_eq!(answer["changes"].as_array().unwrap().len() as i64, rev - 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn v6_versions_are_kept_by_themselves_and_the_oldest_go() {
    let mut world = World::set(|config| config.keeping = Keeping { versions: 3, version_every: Duration::ZERO, ..Keeping::default() });
    let server = open(&world.config);
    world.router = server.router();
    let mut alice = Client::new("alice", 1);
    for n in 1..=5 {
        alice.edit(&world, "a", json!([card(n)])).await;
        server.jobs().await;
        server.jobs().await;
    }
    let revs = async || {
        let (_, list) = ask(&world, "GET", "versions", &token("alice")).await;
        list["versions"].as_array().unwrap().iter().map(|v| v["rev"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(revs().await, [5, 4, 3]);
    // Nobody has to ask for it.
    alice.edit(&world, "a", json!([card(6)])).await;
    for _ in 0..200 {
        if revs().await[0] == 6 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(revs().await, [6, 5, 4]);
    let reader = token_with("alice", &["a"], Role::Read, 60);
    assert_eq!(ask(&world, "GET", "versions", &reader).await.0, 200);
    assert_eq!(ask(&world, "POST", "versions", &reader).await.0, 403);
    assert_eq!(ask(&world, "POST", "versions/3/restore", &reader).await.0, 403);
    assert_eq!(ask(&world, "GET", "versions/3", &token_with("alice", &["b"], Role::Write, 60)).await.0, 403);
    for path in ["versions/1/restore", "versions/x/restore", "versions/-1/restore", "versions/99999999999999999999999/restore"] {
        assert_eq!(ask(&world, "POST", path, &token("alice")).await.0, 404, "{path}");
    }
}

/// Lets so many edits pass, and no more.
struct Few(AtomicUsize);

impl Rules for Few {
    fn judge(&self, _: &Proposal<'_>) -> Result<(), String> {
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(|_| ()).map_err(|_| "no more".to_string())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn v6_going_back_over_many_rows_is_one_step_for_everybody() {
    let rules = Arc::new(Few(AtomicUsize::new(usize::MAX)));
    let world = World::set(|config| config.rules = Some(Ruled(rules.clone())));
    let mut alice = Client::new("alice", 1);
    for hundred in 0..30 {
        let units = (0..100).map(|n| alice.unit(json!([card(hundred * 100 + n + 1)]))).collect();
        alice.send(&world, "a", units).await;
    }
    let then = world.snapshot("a").await;
    assert_eq!(ask(&world, "POST", "versions", &token("alice")).await.0, 200);
    for thousand in 0..3 {
        let edits: Vec<Json> = (0..1_000).map(|n| json!({"op": "delete", "table": "card", "id": id(thousand * 1_000 + n + 1)})).collect();
        assert_eq!(verdict(&alice.edit(&world, "a", json!(edits)).await), "applied");
    }
    // Where the last row is refused, those before it stay as they are.
    let empty = world.snapshot("a").await;
    rules.0.store(2_999, Ordering::Relaxed);
    let (status, problem) = ask(&world, "POST", "versions/3000/restore", &token("alice")).await;
    assert_eq!((status, &problem["code"]), (409, &json!("not_restored")), "{problem}");
    assert_eq!((rules.0.swap(usize::MAX, Ordering::Relaxed), world.snapshot("a").await), (0, empty));
    let (status, back) = ask(&world, "POST", "versions/3000/restore", &token("alice")).await;
    assert_eq!((status, &back["edits"]), (200, &json!(3_000)), "{back}");
    assert_eq!(rows(&world.snapshot("a").await), rows(&then));
    assert_eq!(found(&world), [""; 0]);
}

/// What goes when a space goes back may have more below it than one request may delete beside what it names.
#[tokio::test(flavor = "multi_thread")]
async fn v6_going_back_takes_away_what_many_rows_hang_on() {
    let world = World::of(SCHEMA);
    let mut alice = Client::new("alice", 1);
    alice.edit(&world, "a", json!([{"op": "create", "table": "board", "id": id(1)}])).await;
    let then = world.snapshot("a").await;
    assert_eq!(ask(&world, "POST", "versions", &token("alice")).await.0, 200);
    for board in 0..60 {
        let own = 10_000 + board * 100;
        let cards = (1..=40).map(|n| json!({"op": "create", "table": "card", "id": id(own + n), "set": {"board": id(own)}}));
        let edits: Vec<Json> = std::iter::once(json!({"op": "create", "table": "board", "id": id(own)})).chain(cards).collect();
        assert_eq!(verdict(&alice.edit(&world, "a", json!(edits)).await), "applied");
    }
    let (status, back) = ask(&world, "POST", "versions/1/restore", &token("alice")).await;
    assert_eq!((status, &back["edits"]), (200, &json!(60 * 41)), "{back}");
    assert_eq!(rows(&world.snapshot("a").await), rows(&then));
    assert_eq!(found(&world), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn v6_going_back_holds_against_a_clock_that_is_ahead() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    alice.edit(&world, "a", json!([card(1)])).await;
    let then = world.snapshot("a").await;
    assert_eq!(ask(&world, "POST", "versions", &token("alice")).await.0, 200);
    // An hour ahead, of which a minute is believed.
    let at = (std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 3_600) * 1_000;
    let edit = json!([{"op": "update", "table": "card", "id": id(1), "set": {"text": "later", "x": 9}}]);
    alice.seq += 1;
    let unit = json!({"txns": [{"key": [0, alice.seq], "body": {"schema": 1, "at": [at, 0], "edits": edit}}], "after": []});
    assert_eq!(verdict(&alice.send(&world, "a", vec![unit]).await["outcomes"][0]), "applied");
    assert_eq!(ask(&world, "POST", "versions/1/restore", &token("alice")).await.0, 200);
    assert_eq!(rows(&world.snapshot("a").await), rows(&then));
}

#[tokio::test(flavor = "multi_thread")]
async fn v6_whoever_watches_hears_of_it_also_where_the_asker_has_gone() {
    let mut world = World::new();
    let running = crate::live::start(&mut world).await;
    let mut alice = Client::new("alice", 1);
    alice.edit(&world, "a", json!([card(1)])).await;
    assert_eq!(ask(&world, "POST", "versions", &token("alice")).await.0, 200);
    alice.edit(&world, "a", json!([card(2)])).await;
    let mut socket = crate::live::connect(&running, json!({"token": token("bob"), "cursor": 2})).await;
    let lock = world.lock();
    let asked = tokio::time::timeout(Duration::from_millis(300), ask(&world, "POST", "versions/1/restore", &token("alice"))).await;
    assert!(asked.is_err(), "it waits for the writer, and is given up");
    lock.roll_back().unwrap();
    assert_eq!(crate::live::next(&mut socket).await["rev"], 3);
}

#[tokio::test]
async fn v6_a_server_that_keeps_no_versions_says_so() {
    let world = World::set(|config| config.keeping = Keeping { versions: 0, ..Keeping::default() });
    Client::new("alice", 1).edit(&world, "a", json!([card(1)])).await;
    let (status, problem) = ask(&world, "POST", "versions", &token("alice")).await;
    assert_eq!((status, &problem["code"]), (409, &json!("no_version")));
}

#[tokio::test(flavor = "multi_thread")]
async fn v6_going_back_works_again_after_the_servers_clock_was_set_back() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    alice.edit(&world, "a", json!([card(1)])).await;
    assert_eq!(ask(&world, "POST", "versions", &token("alice")).await.0, 200);
    for n in 2..4 {
        alice.edit(&world, "a", json!([card(n)])).await;
        assert_eq!(ask(&world, "POST", "versions/1/restore", &token("alice")).await.0, 200);
        assert_eq!(world.count("SELECT count(*) FROM card"), 1);
        // As if the last time had been years from now.
        world.db().batch("UPDATE _client SET closed = '[[1,8000000000000000]]' WHERE closed <> '[]'").unwrap();
    }
}
