//! Requests that a grammar makes, most of them wrong somewhere: each is answered in the protocol's own words, and nobody else feels it.

mod answers;
mod bodies;
mod mutations;
mod requests;
mod rng;

use crate::findings::found;
use crate::large::until_done;
use crate::world::{Client, World, card, id, open, prepare_for, token, token_with, verdict};
use answers::{Tally, send};
use bodies::Grammar;
use driftline_core::schema::Schema;
use driftline_core::wire::read_snapshot;
use driftline_server::{Limits, Role, Search};
use futures_util::future::join_all;
use requests::{Expected, Made, bearer, forged, unsigned};
use serde_json::json;
use std::num::NonZeroU32;

const RICH: &str = include_str!("grammar/schema.json");
const SEED: u64 = 4;
const ROUNDS: usize = 20;
const ROUND_REQUESTS: usize = 500;
/// Requests under way at once: what they write shares a commit.
const AT_ONCE: usize = 10;
/// By then every cache and pool is as large as it gets.
const WARM_ROUNDS: usize = 4;
/// What 8,000 requests may leave in memory: 25 KiB of each, if nothing were ever freed.
const GROWTH_KIB: u64 = 200 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn r4_ten_thousand_requests_made_by_a_grammar_stop_nothing() {
    let (world, schema) = (unhurried(), Schema::parse(RICH).unwrap());
    let (mut grammar, mut tally) = (Grammar::new(SEED), Tally::default());
    let mut innocent = Client::new("innocent", 1);
    let mut warm = None;
    for round in 0..ROUNDS {
        grammar.begin(round);
        for _ in 0..ROUND_REQUESTS / AT_ONCE {
            let made: Vec<Made> = (0..AT_ONCE).map(|_| grammar.request()).collect();
            let answers = join_all(made.iter().map(|made| send(&world.router, made))).await;
            made.iter().zip(&answers).for_each(|(made, answer)| tally.take(&schema, made, answer));
        }
        let outcome = innocent.edit(&world, "innocent", json!([card(round as u64)])).await;
        assert_eq!(verdict(&outcome), "applied", "after round {round}: {outcome}");
        if round + 1 == WARM_ROUNDS {
            warm = resident_kib();
        }
    }
    if let (Some(warm), Some(now)) = (warm, resident_kib()) {
        assert!(now < warm + GROWTH_KIB, "the process had {warm} KiB, and has {now}");
    }
    until_done(&world);
    assert_eq!(found(&world), [""; 0]);
    let rows = read_snapshot(&schema, &world.snapshot("innocent").await).unwrap().rows;
    assert_eq!(rows.len(), ROUNDS);
    assert_deep(&tally);
}

/// A world in which nobody asks too often.
fn unhurried() -> World {
    let (directory, mut config) = prepare_for(RICH);
    let rate = NonZeroU32::new(1_000_000).unwrap();
    config.search = Some(Search::default());
    config.limits = Limits { requests_per_s: rate, burst_requests: rate, ..Limits::default() };
    let router = open(&config).router();
    World { directory, config, router, schema: RICH.to_string() }
}

/// The requests have met every part of the server, and not only the first thing that refuses.
fn assert_deep(tally: &Tally) {
    let statuses = |status: u16| tally.statuses.get(&status).copied().unwrap_or(0);
    let outcomes = |name: &str| tally.outcomes.get(name).copied().unwrap_or(0);
    assert_eq!(tally.statuses.values().sum::<usize>(), ROUNDS * ROUND_REQUESTS);
    assert!(statuses(200) >= 500, "{tally:?}");
    for status in [400, 401, 403, 413] {
        assert!(statuses(status) >= 100, "{status}: {tally:?}");
    }
    for outcome in ["applied", "refused"] {
        assert!(outcomes(outcome) >= 100, "{outcome}: {tally:?}");
    }
    for code in ["invalid", "missing_parent", "row_exists", "row_unknown"] {
        assert!(outcomes(&format!("refused {code}")) > 0, "{code}: {tally:?}");
    }
}

/// What the process holds in memory, where the system tells.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    value.trim().trim_end_matches("kB").trim().parse().ok()
}

const READ: &str = r#"{"epoch":1,"cursor":0,"clients":[],"units":[]}"#;

/// A route of one space, or a path.
fn asking(method: &'static str, route: &str, body: &str, authorization: Option<&[u8]>, user: Option<&str>) -> Made {
    let mut headers = vec![("content-type", b"application/json".to_vec())];
    headers.extend(authorization.map(|authorization| ("authorization", authorization.to_vec())));
    headers.extend(user.map(|user| ("driftline-user", user.as_bytes().to_vec())));
    let path = if route.starts_with('/') { route.to_string() } else { format!("/v1/spaces/a/{route}") };
    let body = body.as_bytes().to_vec();
    Made { method, path, headers, body, breaks_off: false, expected: Expected::Anything }
}

#[tokio::test]
async fn a5_every_route_refuses_every_wrong_credential() {
    let world = World::set(|config| config.search = Some(Search::default()));
    let mut alice = Client::new("alice", 1);
    alice.edit(&world, "a", json!([card(1)])).await;
    let unit = alice.unit(json!([card(2)]));
    let write = alice.push(vec![unit]);
    let good = token("alice");
    let with = |space: &str, role: Role, valid_s: i64| Some(bearer(&token_with("alice", &[space], role, valid_s)));
    let nobody = Some((401, "unauthenticated"));
    let (forbidden, wrong_user) = (Some((403, "forbidden")), Some((403, "wrong_user")));
    // What reading is answered with, and writing, and asking about all spaces; `None` where it is allowed.
    let credentials = [
        ("none", None, None, [nobody; 3]),
        ("another scheme", Some(b"Basic YWxpY2U6cGFzcw==".to_vec()), None, [nobody; 3]),
        ("garbage", Some(bearer("nonsense")), None, [nobody; 3]),
        ("one that is over", with("*", Role::Write, -5), None, [nobody; 3]),
        ("one that somebody else signed", Some(bearer(&forged())), None, [nobody; 3]),
        ("one that nobody signed", Some(bearer(&unsigned(&good))), None, [nobody; 3]),
        ("one for another space", with("b", Role::Write, 60), None, [forbidden; 3]),
        ("one for reading", with("a", Role::Read, 60), None, [None, forbidden, forbidden]),
        ("one of another user", Some(bearer(&good)), Some("bob"), [wrong_user; 3]),
        ("the right one", Some(bearer(&good)), Some("alice"), [None; 3]),
    ];
    let (ok, absent) = ((200, ""), (404, "not_found"));
    let routes = [
        ("POST", "reconcile", READ, 0usize, ok),
        ("POST", "reconcile", write.as_str(), 1, ok),
        ("GET", "snapshot", "", 0, ok),
        ("GET", "changes?cursor=0", "", 0, ok),
        ("GET", "search?q=card", "", 0, ok),
        ("GET", "access", "", 0, ok),
        ("GET", "versions", "", 0, ok),
        ("POST", "versions", "", 1, ok),
        ("GET", "versions/99", "", 0, absent),
        ("POST", "versions/99/restore", "", 1, absent),
        ("GET", "/v1/spaces", "", 2, ok),
        ("GET", "/metrics", "", 2, ok),
        // The credential comes in the first message, and without a connection there is none.
        ("GET", "live", "", 3, (400, "invalid_request")),
    ];
    for (name, authorization, user, refusals) in credentials {
        for (method, route, body, action, allowed) in routes {
            let expected = refusals.get(action).copied().flatten().unwrap_or(allowed);
            let answer = send(&world.router, &asking(method, route, body, authorization.as_deref(), user)).await;
            assert_eq!((answer.status, answer.code().as_str()), expected, "{name}: {method} {route}");
            assert!(expected == ok || !answer.text.contains(&id(1)), "{name}: {method} {route} tells of a row");
        }
        let cards = if name == "the right one" { 2 } else { 1 };
        assert_eq!(world.count("SELECT count(*) FROM card"), cards, "{name}");
    }
}

#[tokio::test]
async fn a5_what_is_in_one_space_is_not_there_for_another() {
    let world = World::new();
    let (mut here, mut there) = (Client::new("alice", 1), Client::new("alice", 2));
    let made = json!([{"op": "create", "table": "box", "id": id(1), "set": {"title": "mine"}}]);
    assert_eq!(verdict(&here.edit(&world, "a", made).await), "applied");
    let hung = there.edit(&world, "b", json!([{"op": "create", "table": "card", "id": id(2), "set": {"box": id(1)}}])).await;
    assert_eq!(verdict(&hung), "refused missing_parent");
    assert_eq!(hung["problem"]["rows"], json!([{"table": "box", "id": id(1)}]));
    assert_eq!(verdict(&there.edit(&world, "b", json!([card(3)])).await), "applied");
    for (edit, expected) in [
        (json!({"op": "update", "table": "card", "id": id(3), "set": {"box": id(1)}}), "refused missing_parent"),
        (json!({"op": "update", "table": "box", "id": id(1), "set": {"title": "taken"}}), "refused row_unknown"),
        (json!({"op": "delete", "table": "box", "id": id(1)}), "applied"),
        // The id is free here, whatever stands under it elsewhere.
        (json!({"op": "create", "table": "box", "id": id(1), "set": {"title": "another"}}), "applied"),
    ] {
        let outcome = there.edit(&world, "b", json!([edit])).await;
        assert_eq!(verdict(&outcome), expected, "{edit}");
    }
    assert_eq!(world.count("SELECT count(*) FROM box WHERE title = 'mine'"), 1);
    assert!(!world.snapshot("b").await.contains("mine"));
    assert_eq!(found(&world), [""; 0]);
}

#[tokio::test]
async fn a5_whoever_uses_the_keys_of_another_burns_none_of_them() {
    let world = World::new();
    let (mut alice, mut bob) = (Client::new("alice", 1), Client::new("bob", 1));
    let unit = alice.unit(json!([card(1)]));
    let first = alice.send(&world, "a", vec![unit.clone()]).await;
    assert_eq!(verdict(&first["outcomes"][0]), "applied");
    let copied = bob.send(&world, "a", vec![unit.clone()]).await;
    assert_eq!(verdict(&copied["outcomes"][0]), "refused row_exists", "for bob it is no repeat");
    bob.closed = json!([[1, 1_000]]);
    bob.epoch = 9;
    assert_eq!(bob.send(&world, "a", vec![]).await["clients"][0]["fork"], false);
    bob.seq = 1;
    assert_eq!(verdict(&bob.edit(&world, "a", json!([card(2)])).await), "unknown outcome_unknown", "his own are over");
    let again = alice.send(&world, "a", vec![unit]).await;
    assert_eq!(again["outcomes"], first["outcomes"]);
    assert_eq!(verdict(&alice.edit(&world, "a", json!([card(2)])).await), "applied", "hers are not");
}
