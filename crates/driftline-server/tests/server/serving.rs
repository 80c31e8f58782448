//! What stands around every request: limits, other origins, health and figures.

use crate::live::{connect, connect_to, next, start};
use crate::world::{Client, World, card, id, token, token_with, verdict};
use axum::body::Body;
use axum::response::Response;
use driftline_server::{Limits, Role};
use futures_util::SinkExt;
use futures_util::stream::{iter, pending};
use serde_json::{Value as Json, json};
use std::io::Read;
use std::num::NonZeroU32;
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

const PUSH: &str = r#"{"epoch":1,"cursor":0,"clients":[],"units":[]}"#;
const RECONCILE: &str = "/v1/spaces/a/reconcile";
const SNAPSHOT: &str = "/v1/spaces/a/snapshot";
/// What comes at all has come by then, also on a machine with much to do.
const SOON: Duration = Duration::from_secs(20);

fn number(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

#[tokio::test]
async fn a6_a_user_who_asks_too_often_is_told_when_to_come_again_and_no_other_is() {
    let world = World::set(|config| config.limits = Limits { requests_per_s: number(1), burst_requests: number(3), ..Limits::default() });
    for _ in 0..3 {
        assert_eq!(world.request("POST", RECONCILE, Some(&token("alice")), PUSH).await.0, 200);
    }
    let (head, body) = world.response("POST", RECONCILE, Some(&token("alice")), &[], PUSH).await;
    let problem: Json = serde_json::from_slice(&body).unwrap();
    assert_eq!((head.status.as_u16(), &problem["code"]), (429, &json!("rate_limited")));
    let wait: u64 = head.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    assert_eq!(world.request("GET", "/v1/spaces/a/snapshot", Some(&token("alice")), "").await.0, 429, "it is one limit for all routes");
    assert_eq!(world.request("POST", RECONCILE, Some(&token("bob")), PUSH).await.0, 200);
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(world.request("POST", RECONCILE, Some(&token("alice")), PUSH).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a6_live_connections_are_counted_by_user_and_in_all() {
    let mut world = World::set(|config| config.limits = Limits { live: 3, live_per_principal: 2, ..Limits::default() });
    let running = start(&mut world).await;
    let hello = |sub: &str| json!({"token": token(sub), "cursor": 0});
    let first = connect(&running, hello("alice")).await;
    let mut second = connect_to(&running, "b", hello("alice")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(next(&mut connect(&running, hello("alice")).await).await, json!(4429));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let bob = connect(&running, hello("bob")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let full = connect_async(format!("ws://{}/v1/spaces/a/live", running.address)).await.unwrap_err();
    assert!(full.to_string().contains("503"), "{full}");
    drop((first, bob));
    second.close(None).await.unwrap();
    // Places that are given up are free again, in all and for the user.
    assert_eq!(verdict(&Client::new("alice", 1).edit(&world, "a", json!([card(1)])).await), "applied");
    let mut again = Vec::new();
    let come_back = async {
        while again.len() < 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let Ok((mut socket, _)) = connect_async(format!("ws://{}/v1/spaces/a/live", running.address)).await else { continue };
            socket.send(Message::text(hello("alice").to_string())).await.unwrap();
            let told = next(&mut socket).await;
            if told != json!(4429) {
                assert_eq!(told["rev"], 1, "{told}");
                again.push(socket);
            }
        }
    };
    timeout(SOON, come_back).await.expect("places are not free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_a_live_connection_ends_with_its_credential() {
    let mut world = World::new();
    let running = start(&mut world).await;
    let mut brief = connect(&running, json!({"token": token_with("alice", &["a"], Role::Read, 2), "cursor": 0})).await;
    let mut lasting = connect(&running, json!({"token": token("alice"), "cursor": 0})).await;
    assert_eq!(next(&mut brief).await, json!(4401));
    let mut bob = Client::new("bob", 2);
    assert_eq!(verdict(&bob.edit(&world, "a", json!([card(1)])).await), "applied");
    assert_eq!(next(&mut lasting).await["rev"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_a_server_asks_for_a_pause_and_takes_everything_after_it() {
    let mut world = World::new();
    let running = start(&mut world).await;
    let mut socket = connect(&running, json!({"token": token("alice"), "cursor": 0})).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    (running.pause)(Duration::from_secs(2));
    assert_eq!(next(&mut socket).await, json!({"pause": 2}));
    let (head, body) = world.response("POST", RECONCILE, Some(&token("alice")), &[], PUSH).await;
    let problem: Json = serde_json::from_slice(&body).unwrap();
    assert_eq!((head.status.as_u16(), &problem["code"], &head.headers["retry-after"]), (503, &json!("unavailable"), &"2".parse().unwrap()));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.request("POST", RECONCILE, Some(&token("alice")), PUSH).await.0, 200);
}

#[tokio::test]
async fn a6_pages_of_named_origins_may_ask_and_no_others() {
    let world = World::set(|config| config.origins = vec!["https://app.example".into()]);
    let ask = [("access-control-request-method", "POST"), ("access-control-request-headers", "authorization,content-type,driftline-user")];
    let allowed =
        |head: &axum::http::response::Parts| head.headers.get("access-control-allow-origin").map(|o| o.to_str().unwrap().to_string());
    let headers: Vec<_> = [("origin", "https://app.example")].into_iter().chain(ask).collect();
    let (head, _) = world.response("OPTIONS", RECONCILE, None, &headers, "").await;
    assert_eq!((head.status.as_u16(), allowed(&head).as_deref()), (200, Some("https://app.example")));
    assert!(head.headers["access-control-allow-headers"].to_str().unwrap().contains("driftline-user"));
    let headers: Vec<_> = [("origin", "https://evil.example")].into_iter().chain(ask).collect();
    assert_eq!(allowed(&world.response("OPTIONS", RECONCILE, None, &headers, "").await.0), None);
    let (head, _) = world.response("POST", RECONCILE, Some(&token("alice")), &[("origin", "https://app.example")], PUSH).await;
    assert_eq!((head.status.as_u16(), allowed(&head).as_deref()), (200, Some("https://app.example")));
    // A refusal can be read as well.
    let (head, _) = world.response("POST", RECONCILE, None, &[("origin", "https://app.example")], PUSH).await;
    assert_eq!((head.status.as_u16(), allowed(&head).as_deref()), (401, Some("https://app.example")));
    let closed = World::new();
    assert_eq!(
        allowed(&closed.response("POST", RECONCILE, Some(&token("alice")), &[("origin", "https://app.example")], PUSH).await.0),
        None
    );
    for name in ["x-content-type-options", "referrer-policy", "content-security-policy", "cache-control", "x-request-id"] {
        assert!(head.headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn t4_health_and_figures_tell_what_happened_and_to_whom_they_may() {
    let world = World::new();
    let health = async || serde_json::from_str::<Json>(&world.request("GET", "/healthz", None, "").await.1).unwrap();
    assert_eq!(health().await["last_write_s_ago"], Json::Null);
    let mut alice = Client::new("alice", 1);
    alice.edit(&world, "a", json!([card(1)])).await;
    alice.edit(&world, "a", json!([card(1)])).await;
    world.request("POST", RECONCILE, Some("nonsense"), PUSH).await;
    assert!(health().await["last_write_s_ago"].as_i64().unwrap() < 60);
    assert_eq!(world.request("GET", "/readyz", None, "").await, (200, "{\"status\":\"ready\"}".to_string()));
    for token in [None, Some(token_with("alice", &["a"], Role::Write, 60))] {
        assert!([401, 403].contains(&world.request("GET", "/metrics", token.as_deref(), "").await.0));
    }
    let (status, text) = world.request("GET", "/metrics", Some(&token("alice")), "").await;
    assert_eq!(status, 200);
    for line in [
        "driftline_requests_total{route=\"/v1/spaces/{space}/reconcile\",status=\"200\"} 2",
        "driftline_requests_total{route=\"/v1/spaces/{space}/reconcile\",status=\"401\"} 1",
        "driftline_refusals_total{code=\"unauthenticated\"} 2",
        "driftline_transactions_total{outcome=\"applied\"} 1",
        "driftline_transactions_total{outcome=\"refused\"} 1",
        "driftline_group_pushes_count 2",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn c1_long_answers_come_compressed_where_that_is_asked_for() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    let units = (1..=200).map(|n| alice.unit(json!([card(n)]))).collect();
    alice.send(&world, "a", units).await;
    let plain = world.snapshot("a").await;
    let (head, body) = world.response("GET", "/v1/spaces/a/snapshot", Some(&token("alice")), &[("accept-encoding", "gzip")], "").await;
    assert_eq!(head.headers["content-encoding"], "gzip");
    assert!(body.len() * 3 < plain.len(), "{} of {}", body.len(), plain.len());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, plain);
}

#[tokio::test]
async fn a5_who_may_only_read_writes_nothing_whatever_he_says() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    alice.edit(&world, "a", json!([card(1)])).await;
    let before = (world.dump(), world.count("SELECT count(*) FROM _client"));
    let mut reader = Client::new("eve", 2);
    reader.token = token_with("eve", &["*"], Role::Read, 60);
    for round in 0..3u64 {
        reader.closed = json!((0..1_000u64).map(|n| [round * 5_000 + 2 * n + 1, round * 5_000 + 2 * n + 1]).collect::<Vec<_>>());
        reader.send(&world, "a", vec![]).await;
        reader.send(&world, &format!("new{round}"), vec![]).await;
    }
    assert!((world.dump(), world.count("SELECT count(*) FROM _client")) == before);
}

#[tokio::test]
async fn d4_what_a_client_says_is_closed_is_kept_within_a_bound() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    alice.edit(&world, "a", json!([card(1)])).await;
    // Two that lie beyond the bound when they are said to be closed: one that is refused for now, and one that adds.
    let add = |n: u64| json!([{"op": "update", "table": "card", "id": id(n), "add": {"count": 1}}]);
    alice.seq = 64_999;
    let refused = alice.unit(add(2));
    alice.seq = 65_001;
    let applied = alice.unit(add(1));
    let first = alice.send(&world, "a", vec![refused.clone(), applied.clone()]).await;
    let verdicts: Vec<String> = first["outcomes"].as_array().unwrap().iter().map(verdict).collect();
    assert_eq!(verdicts, ["refused row_unknown", "applied"]);
    for round in 1..15u64 {
        alice.closed = json!((0..1_000u64).map(|n| [round * 5_000 + 2 * n, round * 5_000 + 2 * n]).collect::<Vec<_>>());
        alice.send(&world, "a", vec![]).await;
    }
    let kept = world.text("SELECT closed FROM _client").unwrap();
    let ranges = serde_json::from_str::<Vec<Json>>(&kept).unwrap().len();
    assert_eq!(ranges, 10_000, "further ones are left out, which loses nothing");
    alice.closed = json!([]);
    assert_eq!(verdict(&alice.edit(&world, "a", json!([card(2)])).await), "applied");
    // By now the first of them could take effect, and the other could do so twice.
    let again = alice.send(&world, "a", vec![refused, applied]).await;
    assert_eq!(again["outcomes"], first["outcomes"]);
    assert_eq!(world.count(&format!("SELECT count FROM card WHERE id = {}", world.literal(1))), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a6_bodies_are_held_within_a_bound() {
    let world = World::new();
    // Bodies that do not come: of all, some are asked to come back.
    let pending = || Body::from_stream(pending::<Result<Vec<u8>, std::io::Error>>());
    let mut waiting = Vec::new();
    for n in 0..40 {
        let (router, token) = (world.router.clone(), token(&format!("user{n}")));
        let request = axum::http::Request::post(RECONCILE)
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {token}"))
            .body(pending())
            .unwrap();
        waiting.push(tokio::spawn(async move { tower::ServiceExt::oneshot(router, request).await.unwrap().status().as_u16() }));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let refused = waiting.iter().filter(|waits| waits.is_finished()).count();
    assert_eq!(refused, 40 - 24, "24 of the longest bodies have room");
    for waits in waiting {
        waits.abort();
        let _ = waits.await;
    }
    // One that does not say how long it is takes as much room as those did.
    let unsaid = Body::from_stream(iter([Ok::<_, std::io::Error>(PUSH)]));
    assert_eq!(world.request("POST", RECONCILE, Some(&token("alice")), unsaid).await.0, 200, "room that is given up is free again");
}

/// Rows of more lines than are read ahead: a first load goes on until somebody takes them.
async fn fill(world: &World) {
    let mut alice = Client::new("alice", 1);
    for part in 0..3 {
        let cards: Vec<Json> = (1..=1_000).map(|n| card(part * 1_000 + n)).collect();
        assert_eq!(verdict(&alice.edit(world, "a", json!(cards)).await), "applied");
    }
}

/// Begins a first load; nobody takes what it reads.
async fn load(router: axum::Router, user: String) -> Response {
    let request = axum::http::Request::get(SNAPSHOT).header("authorization", format!("Bearer {}", token(&user)));
    tower::ServiceExt::oneshot(router, request.body(Body::empty()).unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a6_first_loads_of_all_users_are_bounded() {
    let world = World::new();
    fill(&world).await;
    // A few of them are read, and the others wait for their turn.
    let mut loads = Vec::new();
    for n in 0..256 {
        let mut answer = Box::pin(load(world.router.clone(), format!("user{}", n / 4)));
        let begun = timeout(Duration::from_millis(1), &mut answer).await;
        assert!(begun.as_ref().map_or(200, |answer| answer.status().as_u16()) == 200, "load {n}: {begun:?}");
        loads.push((answer, begun));
    }
    let ask = async || world.request("GET", SNAPSHOT, Some(&token("another")), "").await;
    let (status, text) = ask().await;
    assert!(status == 503 && text.contains("there is room for no more of these"), "{status}: {text:.200}");
    drop(loads);
    let served = async {
        while ask().await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(SOON, served).await.expect("places are not free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a6_first_loads_of_one_user_are_few_at_a_time() {
    let world = World::new();
    fill(&world).await;
    let load = async |user: &str| load(world.router.clone(), user.to_string()).await;
    let mut taken = Vec::new();
    for n in 0..5 {
        let answer = load("alice").await;
        assert_eq!(answer.status().as_u16(), if n < 4 { 200 } else { 429 });
        taken.push(answer);
    }
    assert_eq!(load("bob").await.status().as_u16(), 200, "others have theirs");
}
