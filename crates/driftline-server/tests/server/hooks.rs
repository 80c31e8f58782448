//! What an app adds in Rust: rules of its own, edits of its own, and rows that it has changed behind the server's back.

use crate::findings::found;
use crate::world::{Client, SCHEMA, World, card, id, open, verdict};
use driftline_core::edit::Op;
use driftline_core::schema::Schema;
use driftline_server::{EditError, Proposal, Ruled, Rules, check};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Nobody writes `forbidden`; only its owner, who stands in the text, deletes a card; whoever says `panic` makes it panic.
#[derive(Default)]
struct Owned {
    asked: AtomicUsize,
}

impl Rules for Owned {
    fn judge(&self, proposal: &Proposal<'_>) -> Result<(), String> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let text = proposal.sets("text").and_then(|text| text.as_str().map(str::to_string)).unwrap_or_default();
        assert!(!text.contains("panic"));
        let owner = proposal.before("text").and_then(|text| text.as_str().map(str::to_string));
        match proposal.op() {
            Op::Delete if owner.is_some_and(|owner| owner != proposal.principal) => Err("only its owner deletes a card".into()),
            _ if proposal.table() == "card" && proposal.touches("text") && text == "forbidden" => Err("not this word".into()),
            _ => Ok(()),
        }
    }
}

fn ruled() -> (World, Arc<Owned>) {
    let rules = Arc::new(Owned::default());
    let world = World::set(|config| config.rules = Some(Ruled(rules.clone())));
    (world, rules)
}

fn text(n: u64, text: &str) -> serde_json::Value {
    json!({"op": "create", "table": "card", "id": id(n), "set": {"text": text}})
}

#[tokio::test]
async fn a8_an_apps_rule_refuses_an_edit_and_nothing_of_its_transaction_takes_effect() {
    let (world, rules) = ruled();
    let (mut alice, mut bob) = (Client::new("alice", 1), Client::new("bob", 2));
    assert_eq!(verdict(&alice.edit(&world, "a", json!([text(5, "alice"), text(6, "alice")])).await), "applied");
    let told = async || (world.snapshot("a").await, world.count("SELECT count(*) FROM _log"));
    let before = told().await;
    // Something of each kind, which the rule allows, beside what it does not.
    let update = json!({"op": "update", "table": "card", "id": id(5), "set": {"x": 7}, "add": {"count": 1}});
    let delete = json!({"op": "delete", "table": "card", "id": id(6)});
    let unit = alice.unit(json!([text(1, "alice"), update, delete, text(2, "forbidden")]));
    let again = unit.clone();
    let answer = alice.send(&world, "a", vec![unit]).await;
    let problem = &answer["outcomes"][0]["problem"];
    assert_eq!((problem["code"].as_str(), problem["detail"].as_str()), (Some("denied"), Some("not this word")));
    assert_eq!(problem["rows"], json!([{"table": "card", "id": id(2)}]));
    assert_eq!(told().await, before);
    let asked = rules.asked.load(Ordering::Relaxed);
    let repeat = alice.send(&world, "a", vec![again]).await;
    assert_eq!(repeat["outcomes"][0], answer["outcomes"][0]);
    assert_eq!(rules.asked.load(Ordering::Relaxed), asked, "what was answered is not asked about again");
    assert_eq!(verdict(&alice.edit(&world, "a", json!([text(1, "alice")])).await), "applied");
    let delete = json!([{"op": "delete", "table": "card", "id": id(1)}]);
    assert_eq!(verdict(&bob.edit(&world, "a", delete.clone()).await), "refused denied");
    assert_eq!(verdict(&alice.edit(&world, "a", delete).await), "applied");
    // A rule that panics costs that request, and no other.
    let unit = bob.unit(json!([text(9, "panic")]));
    let (status, _) = world.request("POST", "/v1/spaces/a/reconcile", Some(&bob.token), bob.push(vec![unit])).await;
    assert_eq!(status, 500);
    assert_eq!(verdict(&alice.edit(&world, "a", json!([text(3, "alice")])).await), "applied");
    assert_eq!(found(&world), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a8_server_side_code_writes_by_the_same_way_as_everybody() {
    let (mut world, _) = ruled();
    let server = open(&world.config);
    world.router = server.router();
    let import = server.editor("import");
    assert_eq!(import.write("a", &json!([card(1), card(2)])).await, Ok(1));
    let is = |result: Result<u64, EditError>, code: &str| {
        assert!(matches!(&result, Err(EditError::Refused { code: told, .. }) if told == code), "{result:?}");
    };
    is(import.write("a", &json!([card(1)])).await, "row_exists");
    is(import.write("a", &json!([text(3, "forbidden")])).await, "denied");
    is(import.write("a", &json!([{"op": "create", "table": "nothing", "id": id(4)}])).await, "invalid");
    is(import.write("no/space", &json!([card(1)])).await, "not_found");
    // Many at once, also under the same name elsewhere.
    let twin = server.editor("import");
    let mut writes = Vec::new();
    for n in 10..60 {
        let editor = if n % 2 == 0 { &import } else { &twin };
        writes.push(async move { editor.write("a", &json!([card(n)])).await });
    }
    let revs = futures_util::future::join_all(writes).await;
    assert!(revs.iter().all(Result::is_ok), "{revs:?}");
    assert_eq!(world.count("SELECT count(*) FROM card"), 52);
    assert_eq!(world.count("SELECT rev FROM _space"), 51);
    assert_eq!(world.count("SELECT count(*) FROM _client"), 1, "a name is one client, however often a process starts");
    assert!(world.count("SELECT count(*) FROM _mark") <= 25, "what an editor has done it does not ask about again");
    // Its changes reach everybody.
    let mut bob = Client::new("bob", 2);
    bob.cursor = json!(0);
    let answer = bob.send(&world, "a", vec![]).await;
    assert_eq!(answer["changes"].as_array().unwrap().len(), 51);
    assert_eq!(found(&world), [""; 0]);
}

#[tokio::test]
async fn a8_rows_changed_behind_its_back_are_found_and_can_be_taken_as_they_are() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    alice.edit(&world, "a", json!([card(1), card(2)])).await;
    alice.cursor = json!(1);
    world.db().batch("UPDATE card SET text = 'by hand'").unwrap();
    assert!(found(&world)[0].starts_with("digest: "), "{:?}", found(&world));
    let schema = Schema::parse(SCHEMA).unwrap();
    assert_eq!(check::adopt(&schema, &world.config.data, "a"), Ok(2));
    assert_eq!(found(&world), [""; 0]);
    let unit = alice.unit(json!([card(3)]));
    let answer = alice.send(&world, "a", vec![unit]).await;
    assert_eq!((&answer["reload"], verdict(&answer["outcomes"][0])), (&json!(true), "applied".to_string()));
    assert!(world.snapshot("a").await.contains("by hand"));
    assert!(check::adopt(&schema, &world.config.data, "b").is_err());
    // What is broken otherwise is not taken.
    crate::check::damage(&world, "DELETE FROM _client");
    assert!(check::adopt(&schema, &world.config.data, "a").unwrap_err().starts_with("not_sound"));
}

/// Whoever carries what a row was, with an update of a row that is not there, makes it: the rule sees all of it.
#[tokio::test]
async fn a8_a_rule_sees_a_row_that_an_update_makes_again() {
    let schema = r#"{"name": "t", "version": 1, "tables": {"card": {"edits_to_deleted": "restore",
      "fields": {"text": {"type": "text", "default": ""}, "note": {"type": "text", "merge": "three_way", "default": ""}, "n": {"type": "counter"}}}}}"#;
    struct Words;
    impl Rules for Words {
        fn judge(&self, proposal: &Proposal<'_>) -> Result<(), String> {
            let merged = proposal.merges("note").map(|merge| merge["text"][1].to_string()).unwrap_or_default();
            let counts = proposal.merges("n") == Some(json!({"add": 13}));
            let set = proposal.sets("text") == Some(json!("forbidden"));
            if set || counts || merged.contains("forbidden") { Err("no".into()) } else { Ok(()) }
        }
    }
    let mut world = World::of(schema);
    world.config.rules = Some(Ruled(Arc::new(Words)));
    world.restart();
    let mut alice = Client::new("alice", 1);
    let was = |text: &str| json!([{"op": "update", "table": "card", "id": id(1), "set": {}, "was": {"text": text, "note": "", "n": 0}}]);
    assert_eq!(verdict(&alice.edit(&world, "a", was("forbidden")).await), "refused denied");
    assert_eq!(world.count("SELECT count(*) FROM card"), 0);
    assert_eq!(verdict(&alice.edit(&world, "a", was("fine")).await), "applied");
    let note = |text: &str| json!([{"op": "update", "table": "card", "id": id(1), "text": {"note": ["", text]}}]);
    assert_eq!(verdict(&alice.edit(&world, "a", note("forbidden")).await), "refused denied");
    assert_eq!(verdict(&alice.edit(&world, "a", note("fine")).await), "applied");
    let add = |n: i64| json!([{"op": "update", "table": "card", "id": id(1), "add": {"n": n}}]);
    assert_eq!(verdict(&alice.edit(&world, "a", add(13)).await), "refused denied");
    assert_eq!(verdict(&alice.edit(&world, "a", add(1)).await), "applied");
}

#[tokio::test]
async fn a8_no_user_has_the_name_of_the_servers_own_code() {
    let mut world = World::new();
    let server = open(&world.config);
    world.router = server.router();
    let import = server.editor("import");
    assert_eq!(import.write("a", &json!([card(1)])).await, Ok(1));
    // Whoever is called so has a name of his own: under the very client that the code writes as, neither is in the other's way.
    let mut user = Client::new("import", world.count("SELECT client FROM _client") as u64);
    assert_eq!(verdict(&user.edit(&world, "a", json!([card(2)])).await), "applied");
    assert_eq!(world.count("SELECT count(DISTINCT principal) FROM _client"), 2);
    user.closed = json!([[1, 9_000_000_000_000_000u64]]);
    assert_eq!(user.send(&world, "a", vec![]).await["rev"], 2);
    assert_eq!(import.write("a", &json!([card(3)])).await, Ok(3));
    let forged = crate::world::token("server:import");
    assert_eq!(world.request("GET", "/v1/spaces/a/snapshot", Some(&forged), "").await.0, 403);
}
