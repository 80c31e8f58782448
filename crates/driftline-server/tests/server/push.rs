use crate::world::{Client, World, card, id, verdict};
use driftline_core::limits;
use serde_json::json;

#[tokio::test]
async fn r4_a_missing_parent_is_named_and_its_neighbours_are_applied() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    let units = vec![
        alice.unit(json!([card(1)])),
        alice.unit(json!([{"op": "create", "table": "connection", "id": id(2), "set": {"type": id(3), "from": {"card": id(1)}}}])),
        alice.unit(json!([{"op": "create", "table": "connection_type", "id": id(3), "set": {"name": "leads to"}}])),
    ];
    let answer = alice.send(&world, "a", units).await;
    let outcomes: Vec<String> = answer["outcomes"].as_array().unwrap().iter().map(verdict).collect();
    assert_eq!(outcomes, ["applied", "refused missing_parent", "applied"]);
    assert_eq!(answer["outcomes"][1]["problem"]["rows"], json!([{"table": "connection_type", "id": id(3)}]));
    let outcome = alice
        .edit(&world, "a", json!([{"op": "create", "table": "connection", "id": id(4), "set": {"type": id(3), "from": {"card": id(1)}}}]))
        .await;
    assert_eq!(verdict(&outcome), "applied");
}

#[tokio::test]
async fn d1_a_repeat_gets_the_first_answer_and_changes_nothing() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    let units = vec![
        alice.unit(json!([{"op": "create", "table": "card", "id": id(1), "set": {"count": 5}}])),
        alice.unit(json!([{"op": "update", "table": "card", "id": id(1), "add": {"count": 2}}])),
        alice.unit(json!([{"op": "update", "table": "card", "id": id(9), "set": {"x": 1}}])),
    ];
    let push = alice.push(units);
    let (_, first) = world.post("a", push.clone()).await;
    let before = world.dump();
    for _ in 0..3 {
        let (status, again) = world.post("a", push.clone()).await;
        assert_eq!((status, &again), (200, &first));
        assert_eq!(world.dump(), before);
    }
    assert_eq!(world.count("SELECT count FROM card"), 7);
}

#[tokio::test]
async fn d1_marks_of_closed_keys_go_and_the_log_still_answers() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    let units = vec![alice.unit(json!([card(1)])), alice.unit(json!([card(1)])), alice.unit(json!([card(3)]))];
    alice.send(&world, "a", units.clone()).await;
    assert_eq!(world.count("SELECT count(*) FROM _mark"), 3);
    alice.closed = json!([[1, 2]]);
    alice.send(&world, "a", vec![]).await;
    assert_eq!(world.count("SELECT CAST(sum(seq) AS BIGINT) FROM _mark"), 3);
    let answer = alice.send(&world, "a", units).await;
    let outcomes: Vec<String> = answer["outcomes"].as_array().unwrap().iter().map(verdict).collect();
    assert_eq!(outcomes, ["applied", "unknown outcome_unknown", "applied"]);
    assert_eq!(answer["rev"], 2);
}

#[tokio::test]
async fn d5_a_key_used_for_another_body_is_refused() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    alice.edit(&world, "a", json!([card(1)])).await;
    let mut made_later = Client::body(json!([card(2)]));
    made_later["at"] = json!([2000, 0]);
    let answer = alice.send(&world, "a", vec![json!({"txns": [{"key": [0, 1], "body": made_later}], "after": []})]).await;
    assert_eq!(verdict(&answer["outcomes"][0]), "refused key_reused");
    // Made at the same time, it is the same transaction in other words: what it adds may be there already.
    alice.seq = 0;
    let outcome = alice.edit(&world, "a", json!([card(3)])).await;
    assert_eq!(verdict(&outcome), "unknown outcome_unknown");
    assert_eq!(world.count("SELECT count(*) FROM card"), 1);
}

#[tokio::test]
async fn d1_of_a_transaction_and_what_replaces_it_one_takes_effect() {
    let replacing = |mut unit: serde_json::Value, seq: u64| {
        unit["txns"][0]["replaces"] = json!([[0, seq]]);
        unit
    };
    for expected in [["applied", "refused too_late"], ["unknown outcome_unknown", "applied"]] {
        let world = World::new();
        let mut alice = Client::new("alice", 1);
        let (old, new) = (alice.unit(json!([card(1)])), alice.unit(json!([card(2)])));
        let units = [old, replacing(new, 1)];
        let mut told = [String::new(), String::new()];
        let order = if expected[0] == "applied" { [0, 1] } else { [1, 0] };
        for at in order {
            told[at] = verdict(&alice.send(&world, "a", vec![units[at].clone()]).await["outcomes"][0]);
        }
        assert_eq!(told, expected);
        assert_eq!(world.count("SELECT count(*) FROM card"), 1);
        assert_eq!(world.count("SELECT count(*) FROM _mark"), 2, "both are settled");
    }
}

#[tokio::test]
async fn d1_of_two_retries_of_what_was_refused_one_takes_effect() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    let lost = json!({"op": "create", "table": "card", "id": id(1), "set": {"box": id(9)}});
    let mut units = [json!([lost]), json!([card(2)]), json!([card(3)])].map(|edits| alice.unit(edits));
    for retry in &mut units[1..] {
        retry["txns"][0]["replaces"] = json!([[0, 1]]);
    }
    let answers = [&units[..2], &units[2..], &units[..1]].map(<[_]>::to_vec);
    let mut told = Vec::new();
    for units in answers {
        let answer = alice.send(&world, "a", units).await;
        told.extend(answer["outcomes"].as_array().unwrap().iter().map(verdict));
    }
    assert_eq!(told, ["refused missing_parent", "applied", "refused too_late", "refused too_late"]);
    assert_eq!(world.count("SELECT count(*) FROM card"), 1);
    assert_eq!(world.count("SELECT count(*) FROM _mark"), 3);
}

#[tokio::test]
async fn d7_two_principals_may_have_the_same_client_id() {
    let world = World::new();
    let (mut alice, mut bob) = (Client::new("alice", 1), Client::new("bob", 1));
    assert_eq!(verdict(&alice.edit(&world, "a", json!([card(1)])).await), "applied");
    assert_eq!(verdict(&bob.edit(&world, "a", json!([card(2)])).await), "applied");
    bob.cursor = json!(0);
    let answer = bob.send(&world, "a", vec![]).await;
    assert_eq!(answer["changes"][0]["parts"][0]["key"], json!(null), "alice's key is not for bob");
    assert_eq!(answer["changes"][0]["parts"][0]["actor"], 1);
    assert_eq!(answer["changes"][1]["parts"][0]["key"], json!(["0000000000000001", 1]));
}

#[tokio::test]
async fn d6_an_older_epoch_is_stale_and_changes_nothing() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    alice.epoch = 7;
    alice.edit(&world, "a", json!([card(1)])).await;
    alice.epoch = 6;
    let before = world.dump();
    let unit = alice.unit(json!([card(2)]));
    let (status, problem) = world.post("a", alice.push(vec![unit])).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("stale_sender")));
    assert_eq!(problem["epoch"], 7, "a device that lost its own has nothing else to go by");
    assert_eq!(world.dump(), before);
}

#[tokio::test]
async fn i7_fields_go_to_the_last_writer_and_counters_add() {
    let world = World::new();
    let (mut alice, mut bob) = (Client::new("alice", 1), Client::new("bob", 2));
    alice.edit(&world, "a", json!([card(1)])).await;
    let at = |ms: u64, seq: u64, edits: serde_json::Value| json!({"txns": [{"key": [0, seq], "body": {"schema": 1, "at": [ms, 0], "edits": edits}}], "after": []});
    let edit = |text: &str| json!([{"op": "update", "table": "card", "id": id(1), "set": {"text": text}, "add": {"count": 3}}]);
    bob.send(&world, "a", vec![at(3_000, 1, edit("later"))]).await;
    let answer = alice.send(&world, "a", vec![at(2_000, 2, edit("earlier"))]).await;
    assert_eq!(verdict(&answer["outcomes"][0]), "applied");
    assert_eq!(world.count("SELECT count(*) FROM card WHERE text = 'later' AND count = 6"), 1);
    assert_eq!(answer["digest"], world.digest("a"));
}

#[tokio::test]
async fn v1_changes_come_in_bounded_answers_and_whole_revisions() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    for _ in 0..3 {
        let first = alice.seq + 1;
        let units = (first..first + 700).map(|n| alice.unit(json!([card(n)]))).collect();
        alice.send(&world, "a", units).await;
    }
    alice.cursor = json!(0);
    let answer = alice.send(&world, "a", vec![]).await;
    assert_eq!(answer["changes"].as_array().unwrap().len(), limits::CHANGES_REVISIONS);
    assert_eq!((&answer["more"], &answer["digest"]), (&json!(true), &json!(null)));
    alice.cursor = json!(2_000);
    let answer = alice.send(&world, "a", vec![]).await;
    assert_eq!((answer["changes"].as_array().unwrap().len(), &answer["more"]), (100, &json!(false)));
    assert_eq!(answer["digest"], world.digest("a"));
    alice.cursor = json!(2_101);
    let answer = alice.send(&world, "a", vec![]).await;
    assert_eq!((&answer["reload"], &answer["changes"]), (&json!(true), &json!([])));
}

#[tokio::test]
async fn r4_what_cannot_be_served_is_coded_and_leaves_nothing() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    let many: Vec<_> = (0..1_001).map(|n| alice.unit(json!([card(n)]))).collect();
    let too_many = alice.push(many);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_closed =
        format!(r#"{{"epoch":1,"cursor":0,"clients":[{{"id":"0000000000000001","receipt":null,"closed":{deep}}}],"units":[]}}"#);
    let cases: Vec<(Vec<u8>, u16, &str)> = vec![
        (vec![b' '; limits::PUSH_BYTES + 1], 413, "too_large"),
        (too_many.into_bytes(), 413, "too_large"),
        (b"".to_vec(), 400, "malformed"),
        (b"{\"epoch\":".to_vec(), 400, "malformed"),
        (vec![0xff, 0xfe, 0x00], 400, "malformed"),
        (deep.clone().into_bytes(), 400, "malformed"),
        (deep_closed.into_bytes(), 400, "malformed"),
        (br#"{"epoch":1,"cursor":-1,"clients":[],"units":[]}"#.to_vec(), 400, "malformed"),
        (br#"{"epoch":1,"cursor":0,"clients":[],"units":[{"txns":[],"after":[]}]}"#.to_vec(), 400, "invalid_request"),
        (
            br#"{"epoch":1,"cursor":0,"clients":[],"units":[{"txns":[{"key":[0,1],"body":{}}],"after":[]}]}"#.to_vec(),
            400,
            "invalid_request",
        ),
    ];
    for (body, expected, code) in cases {
        let start = String::from_utf8_lossy(&body[..body.len().min(60)]).to_string();
        let (status, problem) = world.post("a", body).await;
        assert_eq!((status, problem["code"].as_str()), (expected, Some(code)), "{start}");
        assert_eq!((&problem["status"], &problem["type"]), (&json!(expected), &json!(format!("urn:driftline:{code}"))));
    }
    assert_eq!(world.count("SELECT count(*) FROM _space"), 0);
    let body = |text: &str| format!(r#"{{"txns":[{{"key":[0,{{}}],"body":{text}}}],"after":[]}}"#);
    let bad = [
        body(&deep),
        body("7"),
        body("{\"schema\":9}"),
        body("\"\\ud800\""),
        body("{\"schema\":1,\"at\":[1,0],\"edits\":[{\"op\":\"create\",\"table\":\"nope\"}]}"),
    ];
    let units: Vec<String> = bad.iter().enumerate().map(|(i, unit)| unit.replace("[0,{}]", &format!("[0,{}]", i + 1))).collect();
    let good = json!({"txns": [{"key": [0, 9], "body": Client::body(json!([card(1)]))}], "after": []});
    let push = format!(
        r#"{{"epoch":1,"cursor":0,"clients":[{{"id":"0000000000000001","receipt":null,"closed":[]}}],"units":[{},{good}]}}"#,
        units.join(",")
    );
    let (status, answer) = world.post("a", push).await;
    assert_eq!(status, 200, "{answer}");
    let outcomes: Vec<String> = answer["outcomes"].as_array().unwrap().iter().map(verdict).collect();
    let invalid = "refused invalid";
    assert_eq!(outcomes, [invalid, invalid, "held", invalid, invalid, "applied"]);
}

#[tokio::test]
async fn r4_routes_methods_and_media_types_are_coded() {
    let world = World::new();
    let token = crate::world::token("alice");
    let code = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["code"].as_str().unwrap().to_string();
    for (method, path, status, expected) in [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1", 404, "not_found"),
        ("POST", "/v1/spaces/a%20b/reconcile", 404, "not_found"),
        ("POST", "/v1/spaces/%FF/reconcile", 404, "not_found"),
        ("GET", "/v1/spaces/a/reconcile", 405, "method_not_allowed"),
        ("DELETE", "/v1/spaces/a/snapshot", 405, "method_not_allowed"),
        ("GET", "/v1/spaces/a/live", 400, "invalid_request"),
    ] {
        let (got, text) = world.request(method, path, Some(&token), "{}").await;
        assert_eq!((got, code(&text).as_str()), (status, expected), "{method} {path}");
    }
    let request = axum::http::Request::post("/v1/spaces/a/reconcile")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "text/plain");
    let response = tower::ServiceExt::oneshot(world.router.clone(), request.body(axum::body::Body::from("{}")).unwrap()).await.unwrap();
    assert_eq!(response.status(), 415);
}
