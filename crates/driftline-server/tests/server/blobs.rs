//! Files of a space: sent in parts, resumed, told from each other by their hash, and kept with the rows.

use crate::findings::{found, report};
use crate::world::{Client, World, card, open, token, token_with, verdict};
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, header};
use driftline_server::{Limits, Role};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};
use tower::ServiceExt;

/// More than two chunks of the server's.
const BYTES: usize = 700_000;

fn bytes_of(seed: u8) -> Vec<u8> {
    (0..BYTES).map(|n| (n as u8).wrapping_mul(31).wrapping_add(seed).wrapping_add((n >> 8) as u8)).collect()
}

fn hash_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The status, with how much is there.
    fn offset(&self) -> (u16, String) {
        (self.status, format!("{}/{}", self.header("upload-offset"), self.header("upload-length")))
    }

    fn code(&self) -> (u16, String) {
        let problem: Json = serde_json::from_slice(&self.body).unwrap_or_default();
        (self.status, problem["code"].as_str().unwrap_or_default().to_string())
    }
}

/// One user at one blob.
struct Sender<'a> {
    world: &'a World,
    token: String,
    path: String,
}

impl<'a> Sender<'a> {
    fn new(world: &'a World, user: &str, hash: &str) -> Sender<'a> {
        Sender { world, token: token(user), path: format!("/v1/spaces/a/blobs/{hash}") }
    }

    async fn ask(&self, method: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(&self.path);
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.world.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        Answer { status: head.status.as_u16(), headers: head.headers, body: to_bytes(body, usize::MAX).await.unwrap().to_vec() }
    }

    async fn head(&self) -> (u16, String) {
        self.ask("HEAD", &[], "").await.offset()
    }

    async fn get(&self) -> Answer {
        self.ask("GET", &[], "").await
    }

    /// Begins an upload of so many bytes with these.
    async fn begin(&self, length: usize, bytes: &[u8]) -> Answer {
        let length = length.to_string();
        self.ask("PUT", &[("upload-length", length.as_str()), ("content-type", "image/png")], bytes.to_vec()).await
    }

    async fn go_on(&self, offset: usize, bytes: &[u8]) -> Answer {
        let offset = offset.to_string();
        self.ask("PATCH", &[("upload-offset", offset.as_str())], bytes.to_vec()).await
    }
}

fn whole(status: u16) -> (u16, String) {
    (status, format!("{BYTES}/{BYTES}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn v8_a_blob_comes_in_parts_of_any_size_and_is_served_as_it_was() {
    let world = World::new();
    let bytes = bytes_of(1);
    let alice = Sender::new(&world, "alice", &hash_of(&bytes));
    assert_eq!(alice.get().await.code(), (404, "not_found".to_string()));
    assert_eq!(alice.head().await.0, 404);
    // Parts that end within a chunk, at its end and at its beginning.
    let ends = [0, 1, 1_000, 262_143, 262_144, 262_145, 524_288, 699_999];
    assert_eq!(alice.begin(BYTES, &[]).await.offset(), (202, format!("0/{BYTES}")));
    for two in ends.windows(2) {
        assert_eq!(alice.go_on(two[0], &bytes[two[0]..two[1]]).await.offset(), (202, format!("{}/{BYTES}", two[1])));
        assert_eq!(alice.head().await, (204, format!("{}/{BYTES}", two[1])));
        assert_eq!(alice.get().await.status, 404, "nobody sees a part");
    }
    assert_eq!(alice.go_on(699_999, &bytes[699_999..]).await.offset(), whole(201));
    assert_eq!(alice.head().await, whole(200));
    let answer = Sender::new(&world, "bob", &hash_of(&bytes)).ask("GET", &[("accept-encoding", "gzip")], "").await;
    assert_eq!((answer.status, answer.body == bytes), (200, true), "{} bytes came", answer.body.len());
    for (name, value) in [
        ("content-type", "image/png"),
        ("content-length", "700000"),
        ("content-encoding", ""),
        ("content-disposition", "attachment"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; sandbox"),
        ("cache-control", "private, max-age=31536000, immutable"),
        ("cross-origin-resource-policy", "same-origin"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    assert!(answer.header("vary").contains("authorization"), "{}", answer.header("vary"));
    assert_eq!((found(&world), report(&world).blobs), (vec![], 1));
    assert_eq!(world.count("SELECT count(*) FROM _blob_chunk"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn v8_an_upload_that_was_cut_goes_on_from_what_is_there_also_at_another_process() {
    let mut world = World::new();
    let bytes = bytes_of(2);
    let hash = hash_of(&bytes);
    assert_eq!(Sender::new(&world, "alice", &hash).begin(BYTES, &bytes[..300_000]).await.status, 202);
    world.restart();
    let alice = Sender::new(&world, "alice", &hash);
    assert_eq!(alice.head().await, (204, format!("300000/{BYTES}")));
    // What had been taken before its answer was lost is not taken twice, and nothing is left out.
    for wrong in [0, 299_999, 300_001, BYTES] {
        assert_eq!(alice.go_on(wrong, &bytes[..10]).await.code(), (409, "wrong_offset".to_string()), "{wrong}");
    }
    assert_eq!(alice.go_on(300_000, &bytes[300_000..]).await.offset(), whole(201));
    assert_eq!(alice.go_on(300_000, &bytes[300_000..]).await.offset(), whole(200), "it is answered as what it has come to");
    assert!(alice.get().await.body == bytes);
    // The last part has come, and the process ends before it has hashed them all.
    world
        .db()
        .batch("INSERT INTO _blob_upload SELECT space, hash, 'alice', upload, bytes, bytes, media_type, at FROM _blob; DELETE FROM _blob")
        .unwrap();
    assert_eq!(alice.head().await, (204, format!("{BYTES}/{BYTES}")));
    assert_eq!(alice.go_on(BYTES, &[]).await.offset(), whole(201));
    assert!(alice.get().await.body == bytes);
    assert_eq!(found(&world), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn v8_bytes_of_another_hash_are_refused_and_dropped() {
    let world = World::new();
    let (bytes, others) = (bytes_of(3), bytes_of(4));
    let alice = Sender::new(&world, "alice", &hash_of(&bytes));
    assert_eq!(alice.ask("PUT", &[], others.clone()).await.code(), (422, "hash_mismatch".to_string()));
    assert_eq!(alice.begin(BYTES, &others[..1_000]).await.status, 202);
    assert_eq!(alice.go_on(1_000, &bytes[1_000..]).await.code(), (422, "hash_mismatch".to_string()));
    assert_eq!(alice.head().await.0, 404);
    assert_eq!(world.count("SELECT count(*) FROM _blob_chunk") + world.count("SELECT count(*) FROM _blob_upload"), 0);
    assert_eq!(alice.ask("PUT", &[], bytes).await.offset(), whole(201));
    assert_eq!(alice.get().await.header("content-type"), "application/octet-stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn v8_what_a_space_has_is_not_sent_again_and_nobody_spoils_anothers_upload() {
    let world = World::new();
    let bytes = bytes_of(5);
    let hash = hash_of(&bytes);
    let (alice, bob, eve) = (Sender::new(&world, "alice", &hash), Sender::new(&world, "bob", &hash), Sender::new(&world, "eve", &hash));
    let dave = Sender::new(&world, "dave", &hash);
    for one in [&alice, &dave] {
        assert_eq!(one.begin(BYTES, &bytes[..500_000]).await.status, 202);
    }
    assert_eq!(eve.begin(BYTES, &[0; 600_000]).await.status, 202);
    assert_eq!(bob.head().await.0, 404, "a part is its sender's");
    assert_eq!(eve.go_on(600_000, &[0; 100_000]).await.code(), (422, "hash_mismatch".to_string()));
    assert_eq!(alice.head().await, (204, format!("500000/{BYTES}")));
    assert_eq!(bob.ask("PUT", &[], bytes.clone()).await.offset(), whole(201));
    assert_eq!(alice.head().await, whole(200), "it is there, whoever has sent it");
    assert_eq!(alice.begin(BYTES, &[]).await.offset(), whole(200));
    assert_eq!(world.count("SELECT count(*) FROM _blob_upload"), 1, "what she has sent of it is not kept beside it");
    assert_eq!(world.count("SELECT count(*) FROM _blob_chunk"), 3 + 2);
    // Nobody has gone on with the other one, which a day takes away.
    let server = open(&world.config);
    world.db().batch("UPDATE _blob_upload SET at = at - 86000").unwrap();
    server.jobs().await;
    assert_eq!(world.count("SELECT count(*) FROM _blob_upload"), 1);
    world.db().batch("UPDATE _blob_upload SET at = at - 500").unwrap();
    server.jobs().await;
    assert_eq!(world.count("SELECT count(*) FROM _blob_upload"), 0);
    assert_eq!((world.count("SELECT count(*) FROM _blob_chunk"), found(&world)), (3, vec![]));
    assert!(bob.get().await.body == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn v8_who_takes_nothing_of_a_blob_for_long_loses_the_place() {
    let world = World::new();
    // Some of it is read ahead of the reader.
    let bytes = bytes_of(6).repeat(4);
    let alice = Sender::new(&world, "alice", &hash_of(&bytes));
    assert_eq!(alice.ask("PUT", &[], bytes.clone()).await.status, 201);
    let open = || async {
        let request = Request::builder().uri(&alice.path).header(header::AUTHORIZATION, format!("Bearer {}", alice.token));
        world.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    };
    let mut stalled = Vec::new();
    while stalled.last().is_none_or(|answer: &axum::response::Response| answer.status() == 200) {
        stalled.push(open().await);
    }
    assert_eq!(stalled.pop().unwrap().status(), 429);
    tokio::time::sleep(std::time::Duration::from_secs(31)).await;
    assert!(alice.get().await.body == bytes, "there is a place again");
    let rest = to_bytes(stalled.remove(0).into_body(), usize::MAX).await;
    assert!(rest.is_ok_and(|rest| rest.len() < bytes.len()), "the stream has broken off");
}

#[tokio::test(flavor = "multi_thread")]
async fn v8_a_credential_opens_the_blobs_of_its_spaces_and_no_others() {
    let world = World::new();
    let bytes = bytes_of(6);
    let mut sender = Sender::new(&world, "alice", &hash_of(&bytes));
    assert_eq!(sender.ask("PUT", &[], bytes.clone()).await.status, 201);
    let reader = token_with("bob", &["a"], Role::Read, 60);
    let elsewhere = token_with("bob", &["b"], Role::Write, 60);
    for (token, method, status) in [
        (&reader, "GET", 200),
        (&reader, "HEAD", 200),
        (&reader, "PUT", 403),
        (&reader, "PATCH", 403),
        (&elsewhere, "GET", 403),
        (&elsewhere, "HEAD", 403),
        (&elsewhere, "PUT", 403),
        (&elsewhere, "PATCH", 403),
        (&"nonsense".to_string(), "GET", 401),
        (&"nonsense".to_string(), "PUT", 401),
    ] {
        sender.token.clone_from(token);
        assert_eq!(sender.ask(method, &[], "").await.status, status, "{method}");
    }
    // The same bytes in another space are another blob.
    sender.token = elsewhere;
    sender.path = sender.path.replace("/a/", "/b/");
    assert_eq!(sender.get().await.status, 404);
    assert_eq!(sender.ask("PUT", &[], bytes).await.status, 201);
    assert_eq!(world.count("SELECT count(*) FROM _blob"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn v8_what_is_too_much_or_makes_no_sense_is_refused_with_a_code() {
    let space_blob_bytes = 3 * (BYTES as u64 + 1_024);
    let world = World::set(|config| config.limits = Limits { blob_bytes: BYTES as u64, space_blob_bytes, ..Limits::default() });
    let refusal = |status: u16, code: &str| (status, code.to_string());
    let bytes = bytes_of(7);
    let alice = Sender::new(&world, "alice", &hash_of(&bytes));
    assert_eq!(alice.begin(BYTES + 1, &[]).await.code(), refusal(413, "blob_too_large"));
    assert_eq!(alice.ask("PUT", &[], vec![0_u8; BYTES + 1]).await.code(), refusal(413, "blob_too_large"));
    assert_eq!(alice.ask("PUT", &[], vec![0_u8; 4 * 1_024 * 1_024 + 1]).await.code(), refusal(413, "too_large"));
    for (method, headers, body) in [
        ("PUT", vec![], 0),
        ("PUT", vec![("upload-length", "0")], 0),
        ("PUT", vec![("upload-length", "5")], 6),
        ("PUT", vec![("upload-length", "-1")], 1),
        ("PUT", vec![("upload-length", "many")], 1),
        ("PATCH", vec![], 1),
        ("PATCH", vec![("upload-offset", "1e3")], 1),
    ] {
        assert_eq!(alice.ask(method, &headers, vec![0_u8; body]).await.code(), refusal(400, "invalid_request"), "{method} {headers:?}");
    }
    assert_eq!(alice.go_on(0, &bytes).await.code(), refusal(409, "wrong_offset"), "nobody has begun");
    assert_eq!(world.count("SELECT count(*) FROM _blob_upload"), 0);
    assert_eq!(alice.begin(BYTES - 1, &bytes[..10]).await.status, 202);
    assert_eq!(alice.go_on(10, &bytes[10..]).await.code(), refusal(400, "invalid_request"));
    // What has begun counts in full; what begins anew counts once.
    for seed in [8, 9] {
        let hash = hash_of(&bytes_of(seed));
        assert_eq!(Sender::new(&world, "bob", &hash).begin(BYTES, &[]).await.status, 202);
        assert_eq!(Sender::new(&world, "bob", &hash).begin(BYTES, &[]).await.status, 202);
    }
    let last = Sender::new(&world, "alice", &hash_of(&[1]));
    assert_eq!(last.ask("PUT", &[], vec![1_u8]).await.code(), refusal(413, "blobs_full"));
    assert_eq!(alice.begin(BYTES, &[]).await.status, 202);
    let absent = Sender { path: "/v1/spaces/a/blobs/abc".to_string(), ..Sender::new(&world, "alice", "") };
    assert_eq!(absent.ask("PUT", &[], "x").await.code(), refusal(404, "not_found"));
    assert_eq!(found(&world), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn v8_a_blob_may_come_before_the_first_row_and_changes_nothing_about_the_rows() {
    let world = World::new();
    let bytes = bytes_of(10);
    assert_eq!(Sender::new(&world, "alice", &hash_of(&bytes)).ask("PUT", &[], bytes).await.status, 201);
    let snapshot: Json = serde_json::from_str(world.snapshot("a").await.lines().next().unwrap()).unwrap();
    assert_eq!((&snapshot["rev"], &snapshot["rows"]), (&json!(0), &json!(0)));
    let mut alice = Client::new("alice", 1);
    alice.cursor = json!(0);
    let unit = alice.unit(json!([card(1)]));
    let answer = alice.send(&world, "a", vec![unit]).await;
    assert_eq!((verdict(&answer["outcomes"][0]).as_str(), &answer["rev"]), ("applied", &json!(1)));
    assert_eq!((found(&world), report(&world).blobs), (vec![], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn t6_the_check_finds_chunks_that_are_missing_or_too_many() {
    let world = World::new();
    let bytes = bytes_of(11);
    let alice = Sender::new(&world, "alice", &hash_of(&bytes));
    assert_eq!(alice.ask("PUT", &[], bytes).await.status, 201);
    world.db().batch("DELETE FROM _blob_chunk WHERE idx = 1").unwrap();
    assert_eq!(found(&world), ["blobs: 1 blobs and 0 uploads have more or fewer bytes than are noted of them"]);
    world.db().batch("DELETE FROM _blob").unwrap();
    assert_eq!(found(&world), ["blobs: 2 chunks belong to no blob"]);
}
