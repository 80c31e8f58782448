//! What a server need not remember, and what it says of those whom it turns away: memory that is lost at any moment, credentials that end,
//! clocks that are off.

mod lines;

use crate::findings::found;
use crate::live::{connect, connect_to, next, start};
use crate::world::{Client, SECRET, World, card, id, token, token_with, verdict};
use axum::body::Body;
use axum::http::Request;
use driftline_core::limits;
use driftline_server::{Claims, Limits, Role, Tokens};
use jsonwebtoken::{EncodingKey, Header, encode};
use lines::Line;
use serde_json::{Value as Json, json};
use std::num::NonZeroU32;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::time::timeout;
use tower::ServiceExt;

const PATH: &str = "/v1/spaces/a/reconcile";
const HOUR_MS: u64 = 3_600_000;
const WEEK_MS: u64 = 7 * 24 * HOUR_MS;
/// What happens at all has happened by then, also on a machine with much to do.
const SOON: Duration = Duration::from_secs(20);

/// Posts a body as it is: the status, and the answer or the problem.
async fn post(world: &World, token: &str, push: &str) -> (u16, Json) {
    let (status, text) = world.request("POST", PATH, Some(token), push.to_string()).await;
    (status, serde_json::from_str(&text).unwrap())
}

fn verdicts(answer: &Json) -> Vec<String> {
    answer["outcomes"].as_array().unwrap().iter().map(verdict).collect()
}

/// Cards, parts of the log, and marks: one of each for each transaction that was applied, while nothing is told to be over.
fn held(world: &World) -> [i64; 3] {
    ["card", "_log", "_mark"].map(|table| world.count(&format!("SELECT count(*) FROM {table}")))
}

// ---- memory ----

/// A server that starts anew in the same process remembers no more than one in another: what is static in the server are threads and
/// roots of trust for PostgreSQL, and a count of the statements of migrations.
#[tokio::test]
async fn a1_a_server_that_forgets_everything_between_any_two_requests_of_a_drain_refuses_nothing() {
    let (requests, each) = (6, 5);
    let mut world = World::new();
    let mut alice = Client::new("alice", 1);
    for request in 0..requests {
        let first = request * each + 1;
        let units = (first..first + each).map(|n| alice.unit(json!([card(n)]))).collect();
        let push = alice.push(units);
        world.restart();
        let (status, answer) = post(&world, &alice.token, &push).await;
        assert_eq!((status, verdicts(&answer)), (200, vec!["applied".to_string(); each as usize]), "request {request}");
        assert_eq!((&answer["rev"], &answer["clients"][0]["fork"]), (&json!(first + each - 1), &json!(false)), "request {request}");
        // Its answer is lost, and who is asked again has never heard of it.
        world.restart();
        assert_eq!(post(&world, &alice.token, &push).await, (200, answer.clone()), "request {request}");
        alice.receipt = answer["clients"][0]["receipt"].clone();
        alice.closed = json!([[1, alice.seq]]);
    }
    assert_eq!(world.count("SELECT count(*) FROM card"), (requests * each) as i64);
    assert_eq!(world.count("SELECT rev FROM _space"), (requests * each) as i64);
    assert_eq!(found(&world), [""; 0]);
}

#[tokio::test]
async fn a4_whoever_comes_back_to_a_server_that_has_forgotten_him_is_told_of_all_that_he_missed() {
    let mut world = World::new();
    let mut alice = Client::new("alice", 1);
    for round in 0..3 {
        let running = start(&mut world).await;
        // Taken before anybody has come back.
        assert_eq!(verdict(&alice.edit(&world, "a", json!([card(2 * round + 1)])).await), "applied");
        let mut bob = connect(&running, json!({"token": token("bob"), "cursor": 2 * round})).await;
        assert_eq!(next(&mut bob).await["rev"], 2 * round + 1);
        assert_eq!(verdict(&alice.edit(&world, "a", json!([card(2 * round + 2)])).await), "applied");
        assert_eq!(next(&mut bob).await["rev"], 2 * round + 2);
        running.stop.send(()).unwrap();
        assert_eq!(next(&mut bob).await, 1001);
        running.ended.await.unwrap();
    }
}

// ---- credentials ----

#[tokio::test]
async fn a2_a_token_that_expires_in_mid_drain_loses_and_doubles_nothing() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    alice.token = token_with("alice", &["a"], Role::Write, 2);
    let (mut accepted, mut last) = (0, None);
    let began = Instant::now();
    let refused = loop {
        assert!(began.elapsed() < SOON, "the token does not expire");
        let unit = alice.unit(json!([card(alice.seq)]));
        let push = alice.push(vec![unit]);
        let (head, body) = world.response("POST", PATH, Some(&alice.token), &[], push.clone()).await;
        let answer: Json = serde_json::from_slice(&body).unwrap();
        if head.status != 200 {
            assert_eq!((head.status.as_u16(), &answer["code"]), (401, &json!("unauthenticated")));
            assert_eq!(head.headers["www-authenticate"], "Bearer");
            break push;
        }
        assert_eq!(verdicts(&answer), ["applied"]);
        accepted += 1;
        alice.receipt = answer["clients"][0]["receipt"].clone();
        last = Some((push, answer));
        tokio::time::sleep(Duration::from_millis(40)).await;
    };
    let (last, told) = last.expect("it was good when the drain began");
    for _ in 0..3 {
        assert_eq!(post(&world, &alice.token, &refused).await.0, 401);
        assert_eq!(held(&world), [accepted; 3]);
    }
    alice.token = token("alice");
    // As if the answer had been lost while the token was renewed.
    assert_eq!(post(&world, &alice.token, &last).await, (200, told), "what was accepted under the old token is known under the new one");
    assert_eq!(held(&world), [accepted; 3]);
    let (status, answer) = post(&world, &alice.token, &refused).await;
    assert_eq!((status, verdicts(&answer)), (200, vec!["applied".to_string()]));
    assert_eq!((&answer["rev"], &answer["clients"][0]["fork"]), (&json!(accepted + 1), &json!(false)));
    assert_eq!(post(&world, &alice.token, &refused).await, (200, answer.clone()), "it is saved once");
    alice.receipt = answer["clients"][0]["receipt"].clone();
    let rest = (1..=3).map(|_| alice.unit(json!([card(alice.seq)]))).collect();
    assert_eq!(verdicts(&alice.send(&world, "a", rest).await), ["applied"; 3]);
    assert_eq!(held(&world), [accepted + 4; 3]);
    assert_eq!(found(&world), [""; 0]);
}

#[tokio::test]
async fn a2_a_credential_that_opens_too_little_for_a_while_costs_nothing_but_another() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    assert_eq!(verdict(&alice.edit(&world, "a", json!([card(1)])).await), "applied");
    let unit = alice.unit(json!([card(2)]));
    let push = alice.push(vec![unit]);
    let user = [("driftline-user", "alice")];
    for (token, refusal) in [
        (token_with("alice", &["a"], Role::Read, 60), (403, "forbidden")),
        (token_with("alice", &["b"], Role::Write, 60), (403, "forbidden")),
        (token("bob"), (403, "wrong_user")),
        (token_with("alice", &["*"], Role::Write, -5), (401, "unauthenticated")),
    ] {
        let (head, body) = world.response("POST", PATH, Some(&token), &user, push.clone()).await;
        let problem: Json = serde_json::from_slice(&body).unwrap();
        assert_eq!((head.status.as_u16(), problem["code"].as_str().unwrap()), refusal);
        assert_eq!(held(&world), [1; 3], "after {refusal:?}");
    }
    let (status, answer) = post(&world, &alice.token, &push).await;
    assert_eq!((status, verdicts(&answer), &answer["rev"]), (200, vec!["applied".to_string()], &json!(2)));
    assert_eq!(post(&world, &alice.token, &push).await, (200, answer));
    assert_eq!(held(&world), [2; 3]);
}

// ---- clocks ----

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// Sends one transaction that says when it was made; what came of it.
async fn edit_at(world: &World, client: &mut Client, at_ms: u64, edit: Json) -> String {
    let mut unit = client.unit(json!([edit]));
    unit["txns"][0]["body"]["at"] = json!([at_ms, 0]);
    verdict(&client.send(world, "a", vec![unit]).await["outcomes"][0])
}

fn says(n: u64, text: &str) -> Json {
    json!({"op": "update", "table": "card", "id": id(n), "set": {"text": text}, "add": {"count": 1}})
}

#[tokio::test]
async fn a2_a_clock_an_hour_off_is_never_refused_and_the_order_of_last_writers_holds() {
    let world = World::new();
    // Whose clocks are a week ahead, an hour ahead, right, and an hour behind.
    let mut clients = ["far", "ahead", "right", "behind"].into_iter().zip(1..).map(|(sub, n)| Client::new(sub, n)).collect::<Vec<_>>();
    let [far, ahead, right, behind] = [0, 1, 2, 3];
    let text = |n: u64| world.text(&format!("SELECT text FROM card WHERE id = {}", world.literal(n))).unwrap();
    let stamp = |n: u64| world.text(&format!("SELECT _clock FROM card WHERE id = {}", world.literal(n))).unwrap();

    let before_ms = now_ms();
    assert_eq!(edit_at(&world, &mut clients[far], now_ms() + WEEK_MS, card(1)).await, "applied");
    let after_ms = now_ms();
    let made_ms = u64::from_str_radix(stamp(1).split('.').next().unwrap(), 16).unwrap() >> 16;
    let clamped_ms = before_ms + limits::CLOCK_AHEAD_MS..=after_ms + limits::CLOCK_AHEAD_MS;
    assert!(clamped_ms.contains(&made_ms), "{made_ms} is not in {clamped_ms:?}");
    for (client, at_ms, written, stands) in [
        (ahead, now_ms() + HOUR_MS, "later, by a lesser clock", "later, by a lesser clock"),
        (right, now_ms(), "within the minute", "later, by a lesser clock"),
        (behind, now_ms() - HOUR_MS, "long ago", "later, by a lesser clock"),
    ] {
        assert_eq!(edit_at(&world, &mut clients[client], at_ms, says(1, written)).await, "applied");
        assert_eq!(text(1), stands, "after {written:?}");
    }

    let then_ms = now_ms() - HOUR_MS;
    assert_eq!(edit_at(&world, &mut clients[behind], then_ms, card(2)).await, "applied");
    for (client, at_ms, written, stands) in [
        (behind, then_ms + 2, "second", "second"),
        (behind, then_ms + 1, "first", "second"),
        (right, now_ms(), "an hour later", "an hour later"),
        (behind, then_ms + 3, "third", "an hour later"),
        (ahead, now_ms() + HOUR_MS, "ahead", "ahead"),
        (right, now_ms(), "within the minute", "ahead"),
    ] {
        assert_eq!(edit_at(&world, &mut clients[client], at_ms, says(2, written)).await, "applied");
        assert_eq!(text(2), stands, "after {written:?}");
    }
    let count = |n: u64| world.count(&format!("SELECT count FROM card WHERE id = {}", world.literal(n)));
    assert_eq!([count(1), count(2)], [3, 6], "what was added counts, whoever wrote last");
    assert_eq!(found(&world), [""; 0]);
}

// ---- the log ----

const ASK: &str = r#"{"epoch":1,"cursor":0,"clients":[],"units":[]}"#;
const AS_JSON: (&str, &str) = ("content-type", "application/json");
/// What somebody says in a credential of his own making.
const WORD: &str = "qzjxkvwpb";
/// `{"alg":"qzjxkvwpb","typ":"JWT"}`.
const HEAD: &str = "eyJhbGciOiJxemp4a3Z3cGIiLCJ0eXAiOiJKV1QifQ";
/// So much of a credential is a part of it; shorter ones stand in any text.
const PART_BYTES: usize = 8;

async fn ask(world: &World, path: &str, token: Option<&str>, headers: &[(&str, &str)], body: String) -> (u16, Json) {
    let credential = token.map(|token| format!("Bearer {token}"));
    let mut request = Request::builder().method("POST").uri(path);
    for (name, value) in headers.iter().copied().chain(credential.as_deref().map(|value| ("authorization", value))) {
        request = request.header(name, value);
    }
    let response = world.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let text = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&text).unwrap())
}

/// Credentials that fail one check each: what they are, and how that check is named.
fn credentials() -> [(&'static str, Option<String>, &'static str); 7] {
    let good = token("alice");
    let (_, rest) = good.split_once('.').unwrap();
    let claims = Claims { sub: "alice".into(), exp: 4_000_000_000, spaces: vec!["*".into()], role: Role::Write };
    let forged = Tokens::new(b"another secret of 32 bytes......").issue(&claims).unwrap();
    let odd = json!({"sub": "alice", "exp": 4_000_000_000u64, "spaces": ["*"], "role": WORD});
    let odd = encode(&Header::default(), &odd, &EncodingKey::from_secret(SECRET)).unwrap();
    [
        ("no-token", None, "no bearer token was presented"),
        ("malformed", Some("bm9uZSBvZiB0aGF0.b3IgdGhpcw".into()), "the token does not hold: it cannot be read"),
        ("unknown-algorithm", Some(format!("{HEAD}.{rest}")), "cannot be read"),
        ("unknown-role", Some(odd), "`role` is missing or cannot be read"),
        ("expired", Some(token_with("alice", &["*"], Role::Write, -5)), "its `exp` is past"),
        ("wrong-signature", Some(forged), "its signature is not that of its key"),
        ("too-long", Some("x7".repeat(5_000)), "the token is too long"),
    ]
}

fn refusals(path: &str) -> Vec<Line> {
    lines::of(path).into_iter().filter(|line| line["message"] == "refused").collect()
}

/// Exactly one line says that the request was refused, with the code and the reason that its sender was told.
fn assert_logged(path: &str, status: u16, problem: &Json, check: &str) {
    let refused = refusals(path);
    let [line] = &refused[..] else { panic!("{path}: {refused:?}") };
    assert_eq!((&line["status"], line["code"].as_str()), (&status.to_string(), problem["code"].as_str().unwrap()), "{path}");
    assert_eq!((line["method"].as_str(), line["why"].as_str()), ("POST", problem["detail"].as_str().unwrap()), "{path}");
    assert!(line["why"].contains(check), "{path}: {line:?}");
}

fn assert_untold(credential: &str) {
    for part in credential.as_bytes().windows(PART_BYTES) {
        let part = std::str::from_utf8(part).unwrap();
        assert!(!lines::tell(part), "{part} of a credential stands in the log");
    }
}

#[tokio::test]
async fn a3_the_log_names_the_check_of_each_credential_that_is_refused_and_no_part_of_it() {
    lines::listen();
    let world = World::new();
    for (name, credential, check) in credentials() {
        let path = format!("/v1/spaces/a3-{name}/reconcile");
        let (status, problem) = ask(&world, &path, credential.as_deref(), &[AS_JSON], ASK.into()).await;
        assert_eq!((status, &problem["code"]), (401, &json!("unauthenticated")), "{name}");
        assert_logged(&path, status, &problem, check);
        assert_untold(credential.as_deref().unwrap_or_default());
    }
    assert_untold(WORD);
    assert_eq!(world.count("SELECT count(*) FROM _space"), 0, "nothing was written");
}

#[tokio::test]
async fn a3_the_log_names_the_check_of_each_request_that_is_refused() {
    lines::listen();
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    let (good, reader) = (token("alice"), token_with("alice", &["*"], Role::Read, 60));
    let elsewhere = token_with("alice", &["elsewhere"], Role::Write, 60);
    let unit = alice.unit(json!([card(1)]));
    let write = alice.push(vec![unit]);
    alice.epoch = 7;
    alice.edit(&world, "a3-stale", json!([card(2)])).await;

    let at = |place: &str| format!("/v1/spaces/a3-{place}/reconcile");
    let large = " ".repeat(limits::PUSH_BYTES + 1);
    let usual = [AS_JSON, ("accept", "*/*")];
    let plain = [("content-type", "text/plain"), ("accept", "*/*")];
    let other = [AS_JSON, ("driftline-user", "bob")];
    for (path, token, headers, body, status, code, check) in [
        (at("elsewhere"), &elsewhere, usual, ASK, 403, "forbidden", "`spaces` do not name this space"),
        (at("reading"), &reader, usual, write.as_str(), 403, "forbidden", "`role` is read"),
        (at("other"), &good, other, ASK, 403, "wrong_user", "another user's"),
        (at("stale"), &good, usual, write.as_str(), 409, "stale_sender", "a sender of epoch 7"),
        (at("large"), &good, usual, large.as_str(), 413, "too_large", "at most 4 MiB"),
        (at("plain"), &good, plain, ASK, 415, "unsupported_media_type", "content-type: application/json"),
        (at("broken"), &good, usual, "{\"epoch\":", 400, "malformed", "does not read as a reconcile request"),
        ("/v1/a3-nowhere".to_string(), &good, usual, ASK, 404, "not_found", "no such route"),
    ] {
        let (told, problem) = ask(&world, &path, Some(token), &headers, body.to_string()).await;
        assert_eq!((told, &problem["code"]), (status, &json!(code)), "{path}");
        assert_logged(&path, status, &problem, check);
    }
    let (status, _) = ask(&world, &at("taken"), Some(&good), &usual, write).await;
    assert_eq!((status, refusals(&at("taken"))), (200, Vec::new()));
    [good, reader, elsewhere].iter().for_each(|token| assert_untold(token));
}

#[tokio::test]
async fn a3_the_log_says_that_somebody_asks_too_often() {
    lines::listen();
    let one = Limits { burst_requests: NonZeroU32::MIN, requests_per_s: NonZeroU32::MIN, ..Limits::default() };
    let world = World::set(|config| config.limits = one);
    let (path, good) = ("/v1/spaces/a3-often/reconcile", token("alice"));
    // A second later the next is served, too.
    let refusal = async {
        loop {
            let answer = ask(&world, path, Some(&good), &[AS_JSON], ASK.into()).await;
            if answer.0 != 200 {
                return answer;
            }
        }
    };
    let (status, problem) = timeout(SOON, refusal).await.expect("nobody asks too often");
    assert_eq!((status, &problem["code"]), (429, &json!("rate_limited")));
    assert_logged(path, status, &problem, "too many requests of one user");
    assert_untold(&good);
}

#[tokio::test]
async fn a3_the_log_names_the_check_of_each_live_connection_that_is_refused() {
    lines::listen();
    let mut world = World::new();
    let running = start(&mut world).await;
    let (good, over) = (token("alice"), token_with("alice", &["*"], Role::Read, -5));
    let elsewhere = token_with("alice", &["elsewhere"], Role::Read, 60);
    for (name, hello, code, check) in [
        ("a3-silent", json!({"cursor": 0}), 4401, "no bearer token was presented"),
        ("a3-over", json!({"token": over, "cursor": 0}), 4401, "its `exp` is past"),
        ("a3-closed", json!({"token": elsewhere, "cursor": 0}), 4403, "`spaces` do not name this space"),
        ("a3-bob", json!({"token": good, "user": "bob", "cursor": 0}), 4403, "another user's"),
    ] {
        assert_eq!(next(&mut connect_to(&running, name, hello).await).await, code, "{name}");
        let told = lines::of(name);
        let [line] = &told[..] else { panic!("{name}: {told:?}") };
        assert_eq!(line["message"], "live connection refused");
        assert!(line["check"].contains(check), "{name}: {line:?}");
    }
    [good, over, elsewhere].iter().for_each(|token| assert_untold(token));
}
