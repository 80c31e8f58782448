use crate::world::{Client, World, card, prepare, token, token_with};
use driftline_server::{Claims, Open, Role, Server, Tokens};
use serde_json::{Value as Json, json};
use std::sync::Arc;

const PUSH: &str = r#"{"epoch":1,"cursor":0,"clients":[],"units":[]}"#;

async fn code(world: &World, space: &str, token: Option<&str>, body: &str) -> (u16, String) {
    let (status, text) = world.request("POST", &format!("/v1/spaces/{space}/reconcile"), token, body.to_string()).await;
    let json: Json = serde_json::from_str(&text).unwrap();
    (status, json["code"].as_str().unwrap_or("").to_string())
}

#[tokio::test]
async fn a5_a_credential_opens_what_it_names_and_nothing_else() {
    let world = World::new();
    let refused = |status: u16, code: &str| (status, code.to_string());
    let write = {
        let mut alice = Client::new("alice", 1);
        let unit = alice.unit(json!([card(1)]));
        alice.push(vec![unit])
    };
    assert_eq!(code(&world, "a", None, PUSH).await, refused(401, "unauthenticated"));
    assert_eq!(code(&world, "a", Some("nonsense"), PUSH).await, refused(401, "unauthenticated"));
    let expired = token_with("alice", &["*"], Role::Write, -5);
    assert_eq!(code(&world, "a", Some(&expired), PUSH).await, refused(401, "unauthenticated"));
    let claims = Claims { sub: "alice".into(), exp: 4_000_000_000, spaces: vec!["*".into()], role: Role::Write };
    let forged = Tokens::new(b"another secret of 32 bytes......").issue(&claims).unwrap();
    assert_eq!(code(&world, "a", Some(&forged), PUSH).await, refused(401, "unauthenticated"));
    // {"alg":"none","typ":"JWT"} and the claims of a good token, without a signature.
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", token("alice").split('.').nth(1).unwrap());
    assert_eq!(code(&world, "a", Some(&unsigned), PUSH).await, refused(401, "unauthenticated"));
    let elsewhere = token_with("alice", &["b"], Role::Write, 60);
    assert_eq!(code(&world, "a", Some(&elsewhere), &write).await, refused(403, "forbidden"));
    assert_eq!(code(&world, "b", Some(&elsewhere), &write).await, refused(200, ""));
    let (status, _) = world.request("GET", "/v1/spaces/a/snapshot", Some(&elsewhere), "").await;
    assert_eq!(status, 403);
    let reader = token_with("alice", &["a"], Role::Read, 60);
    assert_eq!(code(&world, "a", Some(&reader), PUSH).await, refused(200, ""));
    assert_eq!(code(&world, "a", Some(&reader), &write).await, refused(403, "forbidden"));
    assert_eq!(world.count("SELECT count(*) FROM _space"), 1, "only space b was written");
}

#[tokio::test]
async fn a5_without_credentials_only_the_own_machine_is_served() {
    let (_directory, config) = prepare();
    let open = || Server::open(config.clone(), Arc::new(Open)).unwrap();
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let refusal = open().run(listener, async {}).await.unwrap_err().to_string();
    assert!(refusal.starts_with("open_needs_loopback"), "{refusal}");
    let router = open().router();
    for (name, value, status) in [
        ("host", "127.0.0.1:4077", 200),
        ("host", "localhost", 200),
        ("host", "[::1]:80", 200),
        ("host", "rebound.example", 403),
        ("host", "127.0.0.1.example", 403),
        ("origin", "http://localhost:5173", 200),
        ("origin", "http://evil.example", 403),
        ("origin", "null", 403),
    ] {
        let request = axum::http::Request::get("/v1/spaces/a/snapshot").header(name, value).body(axum::body::Body::empty()).unwrap();
        let response = tower::ServiceExt::oneshot(router.clone(), request).await.unwrap();
        assert_eq!(response.status(), status, "{name}: {value}");
    }
}

#[tokio::test]
async fn a1_a_credential_is_all_it_takes_also_after_the_server_forgot_everything_in_memory() {
    let mut world = World::new();
    let mut alice = Client::new("alice", 1);
    assert_eq!(alice.edit(&world, "a", json!([card(1)])).await["outcome"], "applied");
    world.restart();
    assert_eq!(alice.edit(&world, "a", json!([card(2)])).await["outcome"], "applied");
    assert_eq!(world.count("SELECT count(*) FROM card"), 2);
}

#[tokio::test]
async fn a7_what_one_user_made_is_not_taken_with_the_credential_of_another() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    let unit = alice.unit(json!([card(1)]));
    let push = alice.push(vec![unit]);
    let post = async |user: &str, token: &str, path: &str| {
        let request = axum::http::Request::builder().method(if path == "snapshot" { "GET" } else { "POST" });
        let request = request.uri(format!("/v1/spaces/a/{path}")).header("content-type", "application/json");
        let request = request.header("authorization", format!("Bearer {token}")).header("driftline-user", user);
        let response =
            tower::ServiceExt::oneshot(world.router.clone(), request.body(axum::body::Body::from(push.clone())).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let text = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&text).map_or(String::new(), |json: Json| json["code"].as_str().unwrap_or("").to_string()))
    };
    let wrong = (403, "wrong_user".to_string());
    for path in ["reconcile", "snapshot"] {
        assert_eq!(post("alice", &token("bob"), path).await, wrong, "{path}");
        assert_eq!(post("%FF", &token("bob"), path).await, wrong, "{path}");
    }
    assert_eq!(world.count("SELECT count(*) FROM _space"), 0, "nothing was written");
    assert_eq!(post("alice", &token("alice"), "reconcile").await, (200, String::new()));
    assert_eq!(post("J%C3%BCrgen%2F1", &token("Jürgen/1"), "snapshot").await.0, 200, "any name can be told");
}

#[tokio::test]
async fn a3_who_may_not_write_can_know_before_editing() {
    let world = World::new();
    let ask = async |space: &str, token: Option<&str>| {
        let (status, text) = world.request("GET", &format!("/v1/spaces/{space}/access"), token, "").await;
        (status, serde_json::from_str::<Json>(&text).unwrap())
    };
    let reader = token_with("alice", &["a"], Role::Read, 60);
    let (status, told) = ask("a", Some(&reader)).await;
    assert_eq!((status, &told["user"], &told["role"]), (200, &json!("alice"), &json!("read")));
    assert!(told["expires_s"].as_u64().is_some_and(|at| at > 1_700_000_000));
    assert_eq!(ask("a", Some(&token("bob"))).await.1["role"], "write");
    assert_eq!(ask("b", Some(&reader)).await.0, 403);
    assert_eq!(ask("a", None).await.0, 401);
}
