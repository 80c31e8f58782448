//! The log as a consumer follows it.

use crate::world::{Client, World, card, token, token_with, verdict};
use driftline_server::{Limits, Role};
use futures_util::future::join_all;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Well before an ask that waits for 30 s ends by itself, and late for a machine with much to do.
const SOON: Duration = Duration::from_secs(15);
/// What waits is waiting by then.
const BEGUN: Duration = Duration::from_millis(300);

async fn ask(world: &World, path: &str) -> Json {
    let (status, text) = world.request("GET", path, Some(&token("mirror")), "").await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// A mirror of all cards: it keeps its own place in each space, and may stop anywhere.
#[derive(Default)]
struct Mirror {
    cursors: BTreeMap<String, u64>,
    cards: BTreeMap<String, String>,
}

impl Mirror {
    async fn catch_up(&mut self, world: &World, stop_after: usize) {
        let (mut after, mut read) = (String::new(), 0);
        loop {
            let page = ask(world, &format!("/v1/spaces?after={after}&limit=2")).await;
            for space in page["spaces"].as_array().unwrap() {
                after = space["space"].as_str().unwrap().to_string();
                while self.cursors.get(&after).copied().unwrap_or_default() < space["rev"].as_u64().unwrap() {
                    if read == stop_after {
                        return;
                    }
                    read += 1;
                    self.read(world, &after.clone()).await;
                }
            }
            if page["more"] == false {
                return;
            }
        }
    }

    async fn read(&mut self, world: &World, space: &str) {
        let cursor = self.cursors.entry(space.to_string()).or_default();
        let told = ask(world, &format!("/v1/spaces/{space}/changes?cursor={cursor}")).await;
        assert_eq!(told["reload"], false);
        for part in told["changes"].as_array().unwrap().iter().flat_map(|revision| revision["parts"].as_array().unwrap()) {
            for change in part["changes"].as_array().unwrap() {
                let id = format!("{space}/{}", change["id"].as_str().unwrap());
                match change["set"]["text"].as_str() {
                    Some(text) => self.cards.insert(id, text.to_string()),
                    None => self.cards.remove(&id),
                };
            }
        }
        *cursor = told["rev"].as_u64().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t7_a_mirror_that_stops_and_lags_comes_to_the_same_and_holds_nobody_up() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    let mut mirror = Mirror::default();
    for round in 0..4 {
        for space in 0..5 {
            let n = round * 10 + space + 1;
            assert_eq!(verdict(&alice.edit(&world, &format!("s{space}"), json!([card(n), card(n + 1_000)])).await), "applied");
        }
        let delete = json!([{"op": "delete", "table": "card", "id": crate::world::id(round * 10 + 1)}]);
        alice.edit(&world, "s0", delete).await;
        // It breaks off in the middle, and somebody new begins where it stood.
        mirror.catch_up(&world, 2).await;
    }
    mirror.catch_up(&world, usize::MAX).await;
    let expected = world.count("SELECT count(*) FROM card");
    assert_eq!((mirror.cards.len() as i64, expected), (expected, 36));
    let reader = token_with("mirror", &["s1"], Role::Read, 60);
    assert_eq!(world.request("GET", "/v1/spaces", Some(&reader), "").await.0, 403, "only who may read all is told of all");
    assert_eq!(world.request("GET", "/v1/spaces/s1/changes", Some(&reader), "").await.0, 200);
    assert_eq!(world.request("GET", "/v1/spaces/s2/changes", Some(&reader), "").await.0, 403);
    assert_eq!(world.request("GET", "/v1/spaces/s2/changes?cursor=x", Some(&token("mirror")), "").await.0, 400);
    assert_eq!(ask(&world, "/v1/spaces/s2/changes?cursor=99").await["reload"], true);
    // More mirrors wait than the server has connections to read with, and an edit beside them does not.
    let path = format!("/v1/spaces/s1/changes?cursor={}&wait=30", mirror.cursors["s1"]);
    let edit = async {
        sleep(BEGUN).await;
        timeout(SOON, alice.edit(&world, "s1", json!([card(9_000)]))).await.expect("an edit waits for mirrors")
    };
    let (told, outcome) = tokio::join!(join_all((0..20).map(|_| ask(&world, &path))), edit);
    assert_eq!(verdict(&outcome), "applied");
    assert!(told.iter().all(|told| told["changes"][0]["rev"] == outcome["rev"]), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn t7_a_consumer_may_wait_for_what_comes_next() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    alice.edit(&world, "a", json!([card(1)])).await;
    let waits = timeout(SOON, ask(&world, "/v1/spaces/a/changes?cursor=1&wait=30"));
    let edits = async {
        sleep(BEGUN).await;
        alice.edit(&world, "a", json!([card(2)])).await
    };
    let (told, _) = tokio::join!(waits, edits);
    let told = told.expect("who waits does not hear of what comes");
    assert_eq!(told["changes"][0]["rev"], 2, "{told}");
    // What is there already is not waited for.
    let told = timeout(SOON, ask(&world, "/v1/spaces/a/changes?cursor=0&wait=30")).await.expect("what is there is waited for");
    assert_eq!(told["rev"], 2);
    assert_eq!(ask(&world, "/v1/spaces/a/changes?cursor=2&wait=1").await["changes"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a6_who_waits_takes_a_place_and_gives_it_back() {
    let world = World::set(|config| config.limits = Limits { live_per_principal: 2, ..Limits::default() });
    let wait = || async { world.request("GET", "/v1/spaces/a/changes?wait=20", Some(&token("mirror")), "").await.0 };
    let brief = Duration::from_millis(400);
    let (one, two, three) = tokio::join!(timeout(brief, wait()), timeout(brief, wait()), async {
        sleep(brief / 2).await;
        timeout(brief, wait()).await
    },);
    assert!(one.is_err() && two.is_err());
    assert_eq!(three, Ok(429));
    // They have gone, and whoever comes now waits as they did.
    let again = timeout(brief, wait()).await;
    assert!(again.is_err(), "{again:?}: a place is not given back");
    let (_, figures) = world.request("GET", "/metrics", Some(&token("mirror")), "").await;
    assert!(figures.contains("driftline_watched_spaces 0\n"), "who has gone watches nothing");
}
