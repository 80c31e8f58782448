//! Three versions of one schema, and what is under way while a database goes from the first to the last.

use crate::findings::found;
use crate::migrating::{catalog, plan_next, refusal};
use crate::stages::{LAYER, first, fourth, third};
use crate::world::{Client, World, id, open, plan, prepare_for, row, token, verdict};
use driftline_core::digest::Digest;
use driftline_core::edit::Op;
use driftline_core::schema::Schema;
use driftline_core::upgrade::upgrade_snapshot;
use driftline_core::value::{Row, RowId, RowKey, write_hex128};
use driftline_core::wire::{read_answer, read_snapshot};
use driftline_server::{Config, migrate};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

fn body(schema: u32, at: u64, edits: Json) -> Json {
    json!({"schema": schema, "at": [at, 0], "edits": edits})
}

fn unit(n: u64, body: Json) -> Json {
    json!({"txns": [{"key": [0, n], "body": body}], "after": []})
}

fn note(n: u64, set: Json) -> Json {
    json!({"op": "create", "table": "note", "id": id(n), "set": set})
}

/// A world of the first version with some rows, and who made them.
async fn begin() -> (World, Client) {
    let world = World::of(&first().to_string());
    let alice = fill(&world).await;
    (world, alice)
}

/// Some rows of the first version, all in space `a`.
pub async fn fill(world: &World) -> Client {
    let mut alice = Client::new("alice", 1);
    let units = vec![
        unit(1, body(1, 1_000, json!([{"op": "create", "table": "box", "id": id(50), "set": {"label": "a box"}}]))),
        unit(2, body(1, 1_000, json!([note(1, json!({"title": "one", "count": "7", "box": id(50)})), note(2, json!({"count": "many"}))]))),
        unit(
            3,
            body(1, 5_000, json!([{"op": "update", "table": "note", "id": id(1), "set": {"title": "uno"}, "insert": {"labels": ["a b"]}}])),
        ),
        unit(
            4,
            body(
                1,
                1_000,
                json!([{"op": "create", "table": "line", "id": id(60), "set": {"from": {"note": id(1)}}},
                {"op": "create", "table": "scrap", "id": id(70), "set": {"note": id(2), "x": 3}}, note(3, json!({}))]),
            ),
        ),
        unit(5, body(1, 1_000, json!([{"op": "delete", "table": "note", "id": id(3)}]))),
    ];
    let answer = alice.send(world, "a", units).await;
    assert!(answer["outcomes"].as_array().unwrap().iter().all(|outcome| verdict(outcome) == "applied"), "{answer}");
    alice
}

#[tokio::test]
async fn m1_rows_go_from_version_1_to_3_and_are_what_clients_make_of_theirs() {
    let (world, _) = begin().await;
    let before = world.snapshot("a").await;
    let world = world.migrate(&third());
    let read = "SELECT name, count, layer FROM card ORDER BY id";
    let rows = world.db().all(read, &[], |row| Ok((row.text(0)?.into_owned(), row.int(1)?, row.id(2)?))).unwrap();
    let layer = RowId::parse(LAYER).unwrap();
    assert_eq!(rows, [("uno".to_string(), 7, layer), (String::new(), -1, layer)]);
    assert_eq!(world.count("SELECT count(*) FROM layer WHERE name = 'base'"), 1);
    assert_eq!(world.count("SELECT count(*) FROM _deleted WHERE tbl = 'card'"), 1, "what was deleted goes by the new name");
    assert_eq!(world.count("SELECT schema FROM _space"), 3, "the digest was made anew");
    assert_eq!(found(&world), [""; 0]);
    let schema = Schema::parse(&world.schema).unwrap();
    let (ours, theirs) = (upgrade_snapshot(&schema, 1, &before).unwrap(), read_snapshot(&schema, &world.snapshot("a").await).unwrap());
    let sorted = |rows: Vec<(RowKey, Row)>| {
        rows.into_iter().map(|(key, row)| (key, row.values.clone())).collect::<BTreeMap<_, _>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(ours.digest, theirs.digest);
    assert_eq!(sorted(ours.rows), sorted(theirs.rows));
    let mut digest = String::new();
    write_hex128(theirs.digest.0, &mut digest);
    assert_eq!(digest, world.digest("a"));
}

#[tokio::test]
async fn m3_what_was_made_under_an_older_version_is_applied_once_and_in_the_new_shape() {
    let (world, mut alice) = begin().await;
    let lost = alice.push(vec![unit(6, body(1, 6_000, json!([note(4, json!({"title": "four", "count": "4"}))])))]);
    let (_, first_answer) = world.post("a", lost.clone()).await;
    let unsent = alice.push(vec![
        unit(7, body(1, 6_000, json!([note(5, json!({"title": "five", "count": "x"}))]))),
        unit(8, body(1, 4_000, json!([{"op": "update", "table": "note", "id": id(1), "set": {"title": "too late", "count": "12"}, "insert": {"labels": ["c"]}, "remove": {"labels": ["a b"]}}]))),
        unit(9, body(1, 6_000, json!([{"op": "create", "table": "line", "id": id(61), "set": {"from": {"note": id(5)}}}]))),
    ]);
    let world = world.migrate(&third());
    let (_, again) = world.post("a", lost).await;
    assert_eq!(again["outcomes"], first_answer["outcomes"], "the first answer, for it was applied before");
    let (_, answer) = world.post("a", unsent.clone()).await;
    assert_eq!(answer["outcomes"].as_array().unwrap().iter().map(verdict).collect::<Vec<_>>(), ["applied"; 3], "{answer}");
    let before = world.dump();
    let (_, again) = world.post("a", unsent).await;
    assert_eq!((&again["outcomes"], world.dump() == before), (&answer["outcomes"], true), "sent twice, applied once");
    let cards = world.db().all("SELECT name || count FROM card ORDER BY id", &[], |row| Ok(row.text(0)?.into_owned())).unwrap();
    assert_eq!(cards, ["uno12", "-1", "four4", "five-1"]);
    let tags = world.text("SELECT tags FROM card WHERE name = 'uno'");
    assert_eq!(tags.as_deref(), Some(r#"["a b","c"]"#), "stamps go with the new names");
    assert_eq!(world.count("SELECT count(*) FROM line WHERE from_card IS NOT NULL"), 2);
    assert_eq!(again["digest"], world.digest("a"));
    assert_eq!(found(&world), [""; 0]);
    // A space in which nobody needed a layer before gets it with the first card.
    let mut bob = Client::new("alice", 2);
    let units = vec![
        unit(1, body(1, 1_000, json!([note(9, json!({})), note(10, json!({}))]))),
        unit(2, body(1, 1_000, json!([note(11, json!({}))]))),
    ];
    let answer = bob.send(&world, "b", units).await;
    assert_eq!(answer["outcomes"].as_array().unwrap().iter().map(verdict).collect::<Vec<_>>(), ["applied"; 2], "{answer}");
    assert_eq!(world.count("SELECT count(*) FROM layer"), 2);
    assert_eq!(answer["digest"], world.digest("b"));
    alice.seq = 9;
}

/// What a client holds after it has taken all changes of an answer.
fn replay(schema: &Schema, answer: &str) -> Digest {
    let answer = read_answer(schema, answer).expect("every change reads under the present schema");
    let mut rows: BTreeMap<RowKey, Row> = BTreeMap::new();
    for change in answer.changes.iter().flat_map(|revision| &revision.parts).flat_map(|part| part.changes.as_ref().unwrap()) {
        match change.op {
            Op::Create => {
                let values = change.set.iter().map(|set| set.1.clone()).collect();
                rows.insert(change.row, Row::of(values));
            }
            Op::Update => {
                let row = rows.get_mut(&change.row).unwrap();
                change.set.iter().for_each(|(column, value)| row.values[*column as usize] = value.clone());
            }
            _ => {
                rows.remove(&change.row);
            }
        }
    }
    let mut digest = Digest::default();
    rows.iter().for_each(|(key, row)| digest.add(schema, *key, row));
    digest
}

#[tokio::test]
async fn m3_catching_up_from_an_old_cursor_gives_changes_in_the_new_shape() {
    for last in [third(), fourth()] {
        let (world, _) = begin().await;
        let world = world.migrate(&last);
        let schema = Schema::parse(&world.schema).unwrap();
        let push = r#"{"epoch":1,"cursor":0,"clients":[],"units":[]}"#;
        let (status, answer) = world.request("POST", "/v1/spaces/a/reconcile", Some(&token("alice")), push).await;
        assert_eq!(status, 200, "{answer}");
        assert!(!answer.contains("\"table\":\"note\"") && !answer.contains("title"), "{answer}");
        assert_eq!(Some(replay(&schema, &answer)), read_answer(&schema, &answer).unwrap().digest);
        assert_eq!(found(&world), [""; 0]);
    }
}

#[tokio::test]
async fn m3_what_is_newer_than_the_server_waits_and_what_is_too_old_is_refused() {
    let (world, _) = begin().await;
    let mut bob = Client::new("alice", 2);
    let newer = json!([{"op": "create", "table": "card", "id": id(20), "set": {"layer": id(21)}}, {"op": "create", "table": "layer", "id": id(21)}]);
    let units = vec![unit(1, body(3, 1_000, newer)), unit(2, body(1, 1_000, json!([note(22, json!({}))])))];
    let answer = bob.send(&world, "a", units.clone()).await;
    assert_eq!(answer["outcomes"].as_array().unwrap().iter().map(verdict).collect::<Vec<_>>(), ["held", "applied"]);
    let mut last = third();
    last["upgrades"].as_array_mut().unwrap().remove(0);
    let world = world.migrate(&third());
    let answer = bob.send(&world, "a", units).await;
    assert_eq!(answer["outcomes"].as_array().unwrap().iter().map(verdict).collect::<Vec<_>>(), ["applied", "applied"], "{answer}");
    // What was said of the oldest version may be left out one day; the tables are the same.
    std::fs::write(&world.config.schema, last.to_string()).unwrap();
    let world = World { router: open(&world.config).router(), schema: last.to_string(), ..world };
    let answer = bob.send(&world, "a", vec![unit(3, body(1, 1_000, json!([note(23, json!({}))])))]).await;
    assert_eq!(verdict(&answer["outcomes"][0]), "refused schema_too_old");
    let (_, caught_up) = world.post("a", r#"{"epoch":1,"cursor":0,"clients":[],"units":[]}"#).await;
    assert_eq!(caught_up["reload"], true, "nor can the log of that time be told any more");
}

#[tokio::test]
async fn m3_what_edits_only_what_is_gone_is_refused_and_says_so() {
    let (world, mut alice) = begin().await;
    let world = world.migrate(&fourth());
    alice.seq = 5;
    let edits =
        json!([{"op": "update", "table": "note", "id": id(1), "set": {"old": 9}}, {"op": "delete", "table": "scrap", "id": id(70)}]);
    let both = json!([{"op": "update", "table": "note", "id": id(1), "set": {"old": 9, "title": "x"}}, {"op": "delete", "table": "scrap", "id": id(70)}]);
    let answer = alice.send(&world, "a", vec![unit(6, body(1, 9_000, edits)), unit(7, body(1, 9_000, both))]).await;
    assert_eq!(answer["outcomes"].as_array().unwrap().iter().map(verdict).collect::<Vec<_>>(), ["refused schema_dropped", "applied"]);
    assert_eq!(world.count("SELECT count(*) FROM card WHERE name = 'x'"), 1);
}

#[tokio::test]
async fn m1_a_migrated_database_has_the_tables_of_a_fresh_one() {
    for last in [third(), fourth()] {
        let (world, _) = begin().await;
        let world = world.migrate(&last);
        let (_directory, fresh) = prepare_for(&last.to_string());
        assert_eq!(catalog(&world.config), catalog(&fresh));
        let schema = Schema::parse(&world.schema).unwrap();
        assert_eq!(migrate::differences(&schema, &world.config.migrations, &world.config.data).unwrap(), [""; 0]);
    }
}

#[tokio::test]
async fn m1_what_is_taken_away_has_a_number_of_its_own_and_both_servers_fit_before_it() {
    let (world, mut alice) = begin().await;
    let schema = fourth().to_string();
    let refused = plan(&world.config, &schema, "next").unwrap_err();
    assert!(refused.contains("table `scrap`; table `note`, field `old`") && refused.contains("--allow-drop"), "{refused}");
    assert_eq!(plan_next(&world.config, &fourth()), ["0002_next", "0003_next_contract"]);
    let text = |name: &str| std::fs::read_to_string(world.config.migrations.join(name)).unwrap();
    assert!(
        text("0003_next_contract.sql").contains("versions below 4 must be gone")
            && text("0003_next_contract.sql").contains("\n-- oldest_server: 4\n")
    );
    let options = migrate::Options { expand_only: true, ..Default::default() };
    assert_eq!(migrate::apply_with(&world.config.migrations, &world.config.data, &options).unwrap(), ["0002_next"]);
    let world = World { router: open(&world.config).router(), schema, ..world };
    assert_eq!(world.count("SELECT CAST(sum(old) AS BIGINT) FROM card"), 10, "still there");
    // The new server makes, and deletes, rows that what is left over has no word in.
    alice.seq = 5;
    let edits =
        json!([{"op": "create", "table": "card", "id": id(20), "set": {"layer": LAYER}}, {"op": "delete", "table": "card", "id": id(2)}]);
    let answer = alice.send(&world, "a", vec![unit(6, body(4, 9_000, edits))]).await;
    assert_eq!(verdict(&answer["outcomes"][0]), "applied", "{answer}");
    let (db, space) = (world.db(), world.number("a").into());
    db.execute("INSERT INTO _deleted (space, id, tbl, rev) VALUES (?1, ?2, 'scrap', 1)", &[space, row(99).into()]).unwrap();
    assert_eq!(migrate::apply(&world.config.migrations, &world.config.data).unwrap(), ["0003_next_contract"]);
    assert_eq!(world.count("SELECT count(*) FROM _deleted WHERE tbl = 'scrap'"), 0);
    let (_directory, fresh) = prepare_for(&world.schema);
    assert_eq!(catalog(&world.config), catalog(&fresh), "the field and the table are gone");
    assert_eq!(found(&world), [""; 0]);
    assert_eq!(answer["digest"], world.digest("a"));
}

#[tokio::test]
async fn m1_what_waits_to_be_taken_away_requires_nothing() {
    let (world, mut alice) = begin().await;
    let mut schema = first();
    schema["version"] = json!(2);
    schema["upgrades"] =
        json!([{"to": 2, "steps": [{"drop": {"table": "note", "field": "old"}}, {"drop": {"table": "line", "field": "from"}}]}]);
    schema["tables"]["note"]["fields"].as_object_mut().unwrap().remove("old");
    schema["tables"]["line"] = json!({});
    schema["tables"]["tag"] = json!({});
    assert_eq!(plan_next(&world.config, &schema), ["0002_next", "0003_next_contract"]);
    let options = migrate::Options { expand_only: true, ..Default::default() };
    migrate::apply_with(&world.config.migrations, &world.config.data, &options).unwrap();
    let world = World { router: open(&world.config).router(), schema: schema.to_string(), ..world };
    alice.seq = 5;
    let edits =
        json!([note(20, json!({})), {"op": "create", "table": "line", "id": id(61)}, {"op": "delete", "table": "note", "id": id(1)}]);
    let answer = alice.send(&world, "a", vec![unit(6, body(2, 9_000, edits))]).await;
    assert_eq!(verdict(&answer["outcomes"][0]), "applied", "{answer}");
    migrate::apply(&world.config.migrations, &world.config.data).unwrap();
    assert_eq!(answer["digest"], world.digest("a"));
    let (_directory, fresh) = prepare_for(&schema.to_string());
    assert_eq!(catalog(&world.config), catalog(&fresh));
}

#[tokio::test]
async fn m1_nothing_is_taken_away_while_a_large_delete_is_under_way() {
    let world = begin().await.0.unserved().await;
    plan_next(&world.config, &fourth());
    world.db().batch("INSERT INTO _dying (space, tbl, id, rev) SELECT space, 'note', id, 1 FROM note").unwrap();
    let error = migrate::apply(&world.config.migrations, &world.config.data).unwrap_err();
    assert!(error.contains("deletes_under_way"), "{error}");
    plan_next(&world.config, &fourth());
    assert_eq!(world.count("SELECT count(*) FROM note"), 2);
}

/// The schema and the migrations of now, kept aside: an older release.
fn release(world: &World, name: &str) -> Config {
    let folder = world.directory.path().join(name);
    std::fs::create_dir_all(folder.join("migrations")).unwrap();
    for file in std::fs::read_dir(&world.config.migrations).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), folder.join("migrations").join(file.file_name())).unwrap();
    }
    std::fs::copy(&world.config.schema, folder.join("schema.json")).unwrap();
    Config { schema: folder.join("schema.json"), migrations: folder.join("migrations"), ..world.config.clone() }
}

#[tokio::test]
async fn m1_an_older_server_runs_beside_what_it_can_and_else_says_that_it_is_too_old() {
    let (world, mut alice) = begin().await;
    let old = release(&world, "old");
    let mut wider = first();
    wider["version"] = json!(2);
    wider["tables"]["note"]["fields"]["color"] = json!({"type": "text", "nullable": true});
    wider["tables"]["tag"] = json!({"fields": {"name": {"type": "text"}}});
    let world = world.migrate(&wider);
    alice.seq = 5;
    let edits = json!([{"op": "update", "table": "note", "id": id(1), "set": {"color": "red"}}, {"op": "create", "table": "tag", "id": id(90), "set": {"name": "t"}}]);
    let answer = alice.send(&world, "a", vec![unit(6, body(2, 9_000, edits))]).await;
    assert_eq!(verdict(&answer["outcomes"][0]), "applied", "{answer}");
    // Back to the release before: its tables are there, and its digest counts its own columns.
    let back = World { router: open(&old).router(), schema: first().to_string(), ..world };
    let answer = alice.send(&back, "a", vec![unit(7, body(1, 9_000, json!([note(30, json!({"title": "back"}))])))]).await;
    assert_eq!((verdict(&answer["outcomes"][0]), &answer["digest"]), ("applied".to_string(), &json!(back.digest("a"))), "{answer}");
    let (_, caught_up) = back.post("a", r#"{"epoch":1,"cursor":0,"clients":[],"units":[]}"#).await;
    assert_eq!(caught_up["reload"], true, "it cannot tell what a later version wrote");
    let snapshot = read_snapshot(&Schema::parse(&back.schema).unwrap(), &back.snapshot("a").await).unwrap();
    assert_eq!(answer["digest"], format!("{:032x}", snapshot.digest.0));
    // And forward again.
    let forward = World { router: open(&back.config).router(), schema: wider.to_string(), ..back };
    let answer = alice.send(&forward, "a", vec![unit(8, body(2, 9_000, json!([note(31, json!({"color": "blue"}))])))]).await;
    assert_eq!((verdict(&answer["outcomes"][0]), &answer["digest"]), ("applied".to_string(), &json!(forward.digest("a"))), "{answer}");
    assert_eq!(found(&forward), [""; 0]);
    let world = forward.migrate(&{
        let mut third = third();
        third["tables"]["card"]["fields"]["color"] = json!({"type": "text", "nullable": true});
        third["tables"]["tag"] = wider["tables"]["tag"].clone();
        let steps: Vec<Json> =
            third["upgrades"].as_array().unwrap().iter().flat_map(|to| to["steps"].as_array().unwrap().clone()).collect();
        third["upgrades"] = json!([{"to": 2, "steps": []}, {"to": 3, "steps": steps}]);
        third
    });
    assert!(refusal(&old).starts_with("server_too_old: migration 0003_next needs servers of schema version 3"), "{}", refusal(&old));
    assert_eq!(found(&world), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_a_server_of_the_version_before_keeps_the_stamps_of_fields_that_it_does_not_know() {
    let schema = |version: u32, more: &str| {
        format!(
            "{{\"name\":\"s\",\"version\":{version},\"tables\":{{\"note\":{{\"fields\":{{\"title\":{{\"type\":\"text\",\"default\":\"\"}}{more}}}}}}}}}"
        )
    };
    let (one, two) = (schema(1, ""), schema(2, ",\"color\":{\"type\":\"text\",\"nullable\":true}"));
    let (directory, config) = prepare_for(&one);
    let old = directory.path().join("old");
    std::fs::create_dir_all(old.join("migrations")).unwrap();
    for file in std::fs::read_dir(&config.migrations).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), old.join("migrations").join(file.file_name())).unwrap();
    }
    std::fs::write(old.join("schema.json"), &one).unwrap();
    let before = Config { schema: old.join("schema.json"), migrations: old.join("migrations"), ..config.clone() };
    std::fs::write(&config.schema, &two).unwrap();
    plan(&config, &two, "color").unwrap();
    migrate::apply(&config.migrations, &config.data).unwrap();
    // Both run on the same database, as docs/migrations.md says they can.
    let mut world = World { router: open(&config).router(), directory, config, schema: two };
    let new_router = world.router.clone();
    let old_router = open(&before).router();
    let mut alice = Client::new("alice", 1);
    let mut send = async |world: &World, schema: u32, at: u64, edit: Json| {
        alice.seq += 1;
        let body = json!({"schema": schema, "at": [at, 0], "edits": [edit]});
        let unit = json!({"txns": [{"key": [0, alice.seq], "body": body}], "after": []});
        let answer = alice.send(world, "a", vec![unit]).await;
        assert_eq!(verdict(&answer["outcomes"][0]), "applied", "{answer}");
    };
    send(&world, 2, 1_000, json!({"op": "create", "table": "note", "id": id(1), "set": {}})).await;
    send(&world, 2, 5_000, json!({"op": "update", "table": "note", "id": id(1), "set": {"color": "the later"}})).await;
    world.router = old_router;
    send(&world, 1, 6_000, json!({"op": "update", "table": "note", "id": id(1), "set": {"title": "by the old one"}})).await;
    world.router = new_router;
    send(&world, 2, 3_000, json!({"op": "update", "table": "note", "id": id(1), "set": {"color": "the earlier"}})).await;
    assert_eq!(world.text("SELECT color FROM note").as_deref(), Some("the later"));
}
