//! Three versions of one schema, and what is under way while a database goes from the first to the last.

use crate::stages::{LAYER, first, fourth, third};
use crate::world::{Client, World, folder, id, open, plan, prepare_for, token, verdict};
use driftline_core::digest::Digest;
use driftline_core::edit::Op;
use driftline_core::reconcile::mix;
use driftline_core::schema::Schema;
use driftline_core::upgrade::upgrade_snapshot;
use driftline_core::value::{Row, RowKey, write_hex128};
use driftline_core::wire::{read_answer, read_snapshot};
use driftline_server::check::check;
use driftline_server::migrate::Planning;
use driftline_server::{Config, Open, Server, migrate};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

/// Plans what leads to a schema, without applying it.
fn planned_next(config: &Config, schema: &Json) -> Vec<String> {
    std::fs::write(&config.schema, schema.to_string()).unwrap();
    let paths =
        migrate::plan(&schema.to_string(), &config.migrations, "next", &Planning { allow_drop: true, ..Planning::default() }).unwrap();
    paths.iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_string()).collect()
}

impl World {
    /// The same data under another schema, behind a new server.
    fn migrate(mut self, schema: &Json) -> World {
        planned_next(&self.config, schema);
        migrate::apply(&self.config.migrations, &self.config.data).unwrap();
        self.schema = schema.to_string();
        self.restart();
        self
    }

    fn findings(&self) -> Vec<String> {
        let report = check(&Schema::parse(&self.schema).unwrap(), &self.config.data, None, |_| {}).unwrap();
        report.findings.into_iter().map(|finding| format!("{}: {}", finding.kind, finding.text)).collect()
    }
}

fn body(schema: u32, at: u64, edits: Json) -> Json {
    json!({"schema": schema, "at": [at, 0], "edits": edits})
}

fn unit(n: u64, body: Json) -> Json {
    json!({"txns": [{"key": [0, n], "body": body}], "after": []})
}

fn note(n: u64, set: Json) -> Json {
    json!({"op": "create", "table": "note", "id": id(n), "set": set})
}

/// Some rows of the first version, all in space `a`.
async fn begin() -> (World, Client) {
    let world = World::of(&first().to_string());
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
    let answer = alice.send(&world, "a", units).await;
    assert!(answer["outcomes"].as_array().unwrap().iter().all(|outcome| verdict(outcome) == "applied"), "{answer}");
    (world, alice)
}

#[tokio::test]
async fn m1_rows_go_from_version_1_to_3_and_are_what_clients_make_of_theirs() {
    let (world, _) = begin().await;
    let before = world.snapshot("a").await;
    let world = world.migrate(&third());
    let rows = "SELECT group_concat(name || ' ' || count || ' ' || hex(layer), ',') FROM (SELECT * FROM card ORDER BY id)";
    let layer = LAYER.replace('-', "").to_uppercase();
    assert_eq!(world.database().query_row(rows, [], |row| row.get::<_, String>(0)).unwrap(), format!("uno 7 {layer}, -1 {layer}"));
    assert_eq!(world.count("SELECT count(*) FROM layer WHERE name = 'base'"), 1);
    assert_eq!(world.count("SELECT count(*) FROM _deleted WHERE tbl = 'card'"), 1, "what was deleted goes by the new name");
    assert_eq!(world.count("SELECT schema FROM _space"), 3, "the digest was made anew");
    assert_eq!(world.findings(), [""; 0]);
    let schema = Schema::parse(&world.schema).unwrap();
    let (ours, theirs) = (upgrade_snapshot(&schema, 1, &before).unwrap(), read_snapshot(&schema, &world.snapshot("a").await).unwrap());
    let sorted = |rows: Vec<(RowKey, Row)>| {
        rows.into_iter().map(|(key, row)| (key, row.values)).collect::<BTreeMap<_, _>>().into_iter().collect::<Vec<_>>()
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
    let value = |sql: &str| world.database().query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(value("SELECT group_concat(name || count) FROM (SELECT * FROM card ORDER BY id)"), "uno12,-1,four4,five-1");
    assert_eq!(value("SELECT tags FROM card WHERE name = 'uno'"), r#"["a b","c"]"#, "stamps go with the new names");
    assert_eq!(world.count("SELECT count(*) FROM line WHERE from_card IS NOT NULL"), 2);
    assert_eq!(again["digest"], world.digest("a"));
    assert_eq!(world.findings(), [""; 0]);
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
                rows.insert(change.row, Row { values, clocks: Default::default() });
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
        assert_eq!(world.findings(), [""; 0]);
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

/// Everything in the catalog, in one text.
fn catalog(config: &Config) -> String {
    let conn = config.data.connect().unwrap().into_sqlite().unwrap();
    let sql = "SELECT group_concat(type || ' ' || name || ' ' || tbl_name || ' ' || coalesce(sql, ''), char(10)) FROM (SELECT * FROM sqlite_master ORDER BY name)";
    conn.query_row(sql, [], |row| row.get(0)).unwrap()
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
    assert_eq!(planned_next(&world.config, &fourth()), ["0002_next", "0003_next_contract"]);
    let text = |name: &str| std::fs::read_to_string(world.config.migrations.join(name)).unwrap();
    assert!(
        text("0003_next_contract.sql").contains("versions below 4 must be gone")
            && text("0003_next_contract.sql").contains("\n-- oldest_server: 4\n")
    );
    let options = migrate::Options { expand_only: true, ..Default::default() };
    assert_eq!(migrate::apply_with(&world.config.migrations, &world.config.data, &options).unwrap(), ["0002_next"]);
    let world = World { router: open(&world.config).router(), schema, ..world };
    assert_eq!(world.count("SELECT sum(old) FROM card"), 10, "still there");
    // The new server makes, and deletes, rows that what is left over has no word in.
    alice.seq = 5;
    let edits =
        json!([{"op": "create", "table": "card", "id": id(20), "set": {"layer": LAYER}}, {"op": "delete", "table": "card", "id": id(2)}]);
    let answer = alice.send(&world, "a", vec![unit(6, body(4, 9_000, edits))]).await;
    assert_eq!(verdict(&answer["outcomes"][0]), "applied", "{answer}");
    world.database().execute("INSERT INTO _deleted (space, id, tbl, rev) VALUES (1, zeroblob(16), 'scrap', 1)", []).unwrap();
    assert_eq!(migrate::apply(&world.config.migrations, &world.config.data).unwrap(), ["0003_next_contract"]);
    assert_eq!(world.count("SELECT count(*) FROM _deleted WHERE tbl = 'scrap'"), 0);
    assert_eq!(world.count("SELECT count(*) FROM pragma_table_info('card') WHERE name = 'old'"), 0);
    assert_eq!(world.count("SELECT count(*) FROM sqlite_master WHERE name = 'scrap'"), 0);
    assert_eq!(world.findings(), [""; 0]);
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
    assert_eq!(planned_next(&world.config, &schema), ["0002_next", "0003_next_contract"]);
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
    let (world, _) = begin().await;
    planned_next(&world.config, &fourth());
    world.database().execute("INSERT INTO _dying (space, tbl, id, rev) SELECT space, 'note', id, 1 FROM note", []).unwrap();
    let error = migrate::apply(&world.config.migrations, &world.config.data).unwrap_err();
    assert!(error.contains("deletes_under_way"), "{error}");
    planned_next(&world.config, &fourth());
    assert_eq!(world.count("SELECT count(*) FROM note"), 2);
}

fn refusal(config: &Config) -> String {
    Server::open(config.clone(), Arc::new(Open)).err().expect("the server starts").to_string()
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
    assert_eq!(forward.findings(), [""; 0]);
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
    assert_eq!(world.findings(), [""; 0]);
}

#[test]
fn m1_the_servers_own_tables_have_numbers_of_their_own() {
    let (_directory, config) = prepare_for(&first().to_string());
    let conn = config.data.connect().unwrap().into_sqlite().unwrap();
    conn.execute("INSERT INTO _system VALUES (3, 'x', 0)", []).unwrap();
    assert!(refusal(&config).starts_with("system_newer"), "{}", refusal(&config));
    conn.execute("DELETE FROM _system", []).unwrap();
    assert!(refusal(&config).starts_with("system_pending: the server's own tables lack number 1 (base); run: driftline migrate apply"));
    conn.execute("DROP TABLE _system", []).unwrap();
    assert!(refusal(&config).starts_with("old_layout"), "{}", refusal(&config));
    assert!(migrate::apply(&config.migrations, &config.data).unwrap_err().starts_with("old_layout"));
}

#[test]
fn m1_status_says_in_words_what_differs() {
    let (_directory, config) = prepare_for(&first().to_string());
    let status = || {
        let places = ["--schema", config.schema.to_str().unwrap(), "--migrations", config.migrations.to_str().unwrap()];
        let output = Command::new(env!("CARGO_BIN_EXE_driftline"))
            .args(["migrate", "status"])
            .args(places)
            .arg("--data")
            .arg(config.data.to_string())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(status(), (Some(0), "0001 first applied\n".to_string()));
    std::fs::write(&config.schema, third().to_string()).unwrap();
    let (code, said) = status();
    assert_eq!(code, Some(1));
    for line in [
        "the version goes from 1 to 3",
        "table `note` is gone",
        "table `layer` is new",
        "table `line`, field `from` was a reference to note, box",
    ] {
        assert!(said.contains(&format!("since 0001_first: {line}")), "{line}: {said}");
    }
    planned_next(&config, &third());
    assert_eq!(status(), (Some(1), "0001 first applied\n0002 next pending\n".to_string()));
    migrate::apply(&config.migrations, &config.data).unwrap();
    assert_eq!(status().0, Some(0));
    let conn = config.data.connect().unwrap().into_sqlite().unwrap();
    conn.execute_batch(
        "CREATE INDEX mine ON box (label); DROP INDEX \"_card:by_name\"; ALTER TABLE line ADD COLUMN more TEXT; DROP TABLE scrap",
    )
    .unwrap();
    let (code, said) = status();
    assert_eq!(code, Some(1));
    for line in [
        "the database has the index `mine`, which no migration makes",
        "the database lacks the index `_card:by_name`",
        "the table `line` of the database is not as the migrations make it",
        "the database lacks the table `scrap`",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}: {said}");
    }
}

/// A change of the first version's tables, planned as version 2.
fn planned(change: impl Fn(&mut Json)) -> Result<Vec<String>, String> {
    let (_directory, config) = prepare_for(&first().to_string());
    let mut schema = first();
    schema["version"] = json!(2);
    change(&mut schema);
    let paths = migrate::plan(&schema.to_string(), &config.migrations, "next", &Planning::default())?;
    let texts = paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    migrate::apply(&config.migrations, &config.data)?;
    let (_directory, fresh) = prepare_for(&schema.to_string());
    assert_eq!(catalog(&config), catalog(&fresh));
    Ok(texts)
}

type Change = Box<dyn Fn(&mut Json)>;

#[test]
fn m1_what_is_not_explained_is_refused_naming_it() {
    fn steps(schema: &mut Json, steps: Json) {
        schema["upgrades"] = json!([{"to": 2, "steps": steps}]);
    }
    fn take(schema: &mut Json, table: &str, field: &str) -> Json {
        schema["tables"][table]["fields"].as_object_mut().unwrap().remove(field).unwrap()
    }
    let cases: Vec<(&str, Change)> = vec![
        ("table `note`, field `title` is gone: say what became of it", Box::new(|s| drop(take(s, "note", "title")))),
        ("table `scrap` is gone: say what became of it", Box::new(|s| drop(s["tables"].as_object_mut().unwrap().remove("scrap")))),
        (
            "table `note`, field `old`: changing its type takes a `convert` step; allowed are int to real",
            Box::new(|s| s["tables"]["note"]["fields"]["old"]["type"] = json!("real")),
        ),
        (
            "table `note`, field `title`: max_chars goes from 65536 down to 9",
            Box::new(|s| s["tables"]["note"]["fields"]["title"]["max_chars"] = json!(9)),
        ),
        (
            "table `note`, field `box`: a reference that was nullable",
            Box::new(|s| s["tables"]["note"]["references"]["box"] = json!({"to": ["box"], "on_delete": "cascade"})),
        ),
        (
            "table `note`, field `box`: changing what a reference may point at",
            Box::new(|s| s["tables"]["note"]["references"]["box"]["to"] = json!(["box", "line"])),
        ),
        ("table `note`, field `z` is new: it must be nullable", Box::new(|s| s["tables"]["note"]["fields"]["z"] = json!({"type": "text"}))),
        (
            "table `note`, field `old`: there is no such conversion; allowed are",
            Box::new(|s| {
                s["tables"]["note"]["fields"]["old"] = json!({"type": "json", "nullable": true});
                steps(s, json!([{"convert": {"table": "note", "field": "old", "from": "int", "to": "json"}}]));
            }),
        ),
        (
            "table `note`, field `title`: an upgrade converts it from a type that it did not have",
            Box::new(|s| {
                s["tables"]["note"]["fields"]["title"] = json!({"type": "int", "default": 0});
                steps(s, json!([{"convert": {"table": "note", "field": "title", "from": "bool", "to": "int"}}]));
            }),
        ),
        (
            "this would be lost for good: table `note`, field `old`",
            Box::new(|s| {
                take(s, "note", "old");
                steps(s, json!([{"drop": {"table": "note", "field": "old"}}]));
            }),
        ),
        (
            "another takes its name",
            Box::new(|s| {
                s["tables"]["note"]["fields"]["more"] = json!({"type": "int", "default": 1});
                steps(s, json!([{"drop": {"table": "note", "field": "old"}}, {"add": {"table": "note", "field": "old", "default": 2}}]));
            }),
        ),
    ];
    for (expected, change) in cases {
        let error = if expected.starts_with("another") {
            let (_directory, config) = prepare_for(&first().to_string());
            let mut schema = first();
            schema["version"] = json!(2);
            change(&mut schema);
            migrate::plan(&schema.to_string(), &config.migrations, "next", &Planning { allow_drop: true, ..Planning::default() })
                .unwrap_err()
        } else {
            planned(change).unwrap_err()
        };
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn m1_indexes_and_nulls_come_and_go() {
    let text = planned(|s| s["tables"]["note"]["indexes"] = json!({"box": ["title"]})).unwrap().concat();
    assert!(text.contains("CREATE INDEX \"_note:box\" ON \"note\" (space, \"title\")") && !text.contains("DROP"), "{text}");
    assert!(text.contains("\n-- oldest_server: 1\n"), "{text}");
    let text = planned(|s| s["tables"]["note"]["fields"]["title"] = json!({"type": "text", "nullable": true})).unwrap().concat();
    assert!(text.contains("\n-- oldest_server: 2\n"), "an older server could not read a null: {text}");
    let text = planned(|s| s["tables"]["note"]["fields"]["title"]["max_chars"] = json!(100_000)).unwrap().concat();
    assert!(text.contains("-- No table changes.") && text.contains("\n-- oldest_server: 1\n"), "{text}");
}

#[test]
fn m1_a_server_that_counts_something_else_cannot_stay() {
    let reference = json!({"to": ["shelf"], "nullable": true, "on_delete": "set_null"});
    let schema = |version: u32, of: &str| {
        json!({"name": "s", "version": version, "tables": {
            "shelf": {"counts": {"leaves": {"of": of}}}, "leaf": {"references": {"a": reference, "b": reference}}}})
        .to_string()
    };
    for (of, oldest) in [("leaf.a", 1), ("leaf.b", 2)] {
        let (_directory, config) = prepare_for(&schema(1, "leaf.a"));
        let path = plan(&config, &schema(2, of), "next").unwrap().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(&format!("\n-- oldest_server: {oldest}\n")), "{of}: {text}");
    }
}

/// Values at the edges of each type, and random ones.
fn values_of(kind: &str, random: &mut impl FnMut() -> u64) -> Json {
    let n = random();
    let int = (n % 19_000_000_000_000_000) as i64 - 9_000_000_000_000_000;
    let int =
        [0, 1, -1, int.clamp(-9_007_199_254_740_991, 9_007_199_254_740_991), 9_007_199_254_740_991, -9_007_199_254_740_991][n as usize % 6];
    match kind {
        "int" | "counter" => json!(int),
        "bool" => json!(n.is_multiple_of(2)),
        "real" => {
            let edges = [
                0.5,
                -0.5,
                0.499_999_999_999_999_94,
                1.5,
                -2.5,
                4_503_599_627_370_495.5,
                9_007_199_254_740_991.0,
                -9_007_199_254_740_991.0,
                9_007_199_254_740_992.0,
                1e300,
                -0.0,
            ];
            let free = f64::from_bits(n);
            json!(if n.is_multiple_of(3) || !free.is_finite() {
                edges[(n >> 8) as usize % edges.len()]
            } else {
                (free % 1e6) + (n % 7) as f64 / 2.0
            })
        }
        _ => {
            let edges = [
                "",
                "0",
                "-0",
                "+5",
                "05",
                " 5",
                "5 ",
                "5\u{0}",
                "9007199254740991",
                "9007199254740992",
                "-9007199254740991",
                "-9223372036854775808",
                "9223372036854775808",
                "1e3",
                "0x10",
                "-",
                "it's \"q\" \\ \n\r\t\u{8}\u{c}\u{1}\u{1f}\u{7f} ü \u{1F600} \u{0}",
            ];
            match n % 4 {
                0 => json!(int.to_string()),
                // Around the limit of what JSON may take.
                1 if n >> 8 & 15 == 0 => json!(format!("\u{1}{}", "\"".repeat(131_067 + (n >> 16) as usize % 4))),
                _ => json!(edges[(n >> 8) as usize % edges.len()]),
            }
        }
    }
}

#[tokio::test]
async fn m1_a_conversion_in_sql_gives_what_it_gives_in_rust() {
    let pairs = [
        ("int", "real", json!(1)),
        ("real", "int", json!(-3)),
        ("int", "text", json!("none")),
        ("text", "int", json!(-3)),
        ("bool", "int", json!(9)),
        ("int", "bool", json!(true)),
        ("text", "json", json!({"a": "it's"})),
        ("counter", "int", json!(4)),
        ("int", "counter", json!(4)),
        ("text", "text", json!("n\u{0}")),
    ];
    let (mut before, mut after, mut steps) = (json!({}), json!({}), Vec::new());
    for (i, (from, to, default)) in pairs.iter().enumerate() {
        for (nullable, name) in [(false, format!("f{i}")), (true, format!("n{i}")), (true, format!("l{i}"))] {
            // The last kind may be null before and not after.
            let (was, is) = (nullable && *from != "counter", name.starts_with('n') && *to != "counter");
            before[&name] = json!({"type": from, "nullable": was, "max_chars": 300_000});
            after[&name] = json!({"type": to, "nullable": is, "max_chars": 300_000});
            steps.push(json!({"convert": {"table": "t", "field": name, "from": from, "to": to, "default": default}}));
        }
    }
    let first = json!({"name": "c", "version": 1, "tables": {"t": {"fields": before}}});
    let second = json!({"name": "c", "version": 2, "tables": {"t": {"fields": after}}, "upgrades": [{"to": 2, "steps": steps}]});
    let world = World::of(&first.to_string());
    let mut seed = 0;
    let mut random = || {
        seed += 1;
        mix(seed)
    };
    let mut alice = Client::new("alice", 1);
    for n in 0..400 {
        let mut set = json!({});
        for (name, field) in first["tables"]["t"]["fields"].as_object().unwrap() {
            let is_null = field["nullable"] == json!(true) && random().is_multiple_of(5);
            set[name] = if is_null { Json::Null } else { values_of(field["type"].as_str().unwrap(), &mut random) };
        }
        let edits = json!([{"op": "create", "table": "t", "id": id(n), "set": set}]);
        let outcome = alice.edit(&world, "a", edits).await;
        assert_eq!(verdict(&outcome), "applied", "{outcome}");
    }
    let snapshot = world.snapshot("a").await;
    let world = world.migrate(&second);
    let schema = Schema::parse(&second.to_string()).unwrap();
    let rust = upgrade_snapshot(&schema, 1, &snapshot).expect("all of it converts");
    let sql: BTreeMap<RowKey, Row> = read_snapshot(&schema, &world.snapshot("a").await).unwrap().rows.into_iter().collect();
    assert_eq!(sql.len(), 400);
    for (key, row) in rust.rows {
        for ((column, ours), theirs) in schema.tables[0].columns.iter().zip(&row.values).zip(&sql[&key].values) {
            assert_eq!(ours, theirs, "{} {}", column.name, &snapshot[..200]);
        }
    }
}

/// All rows of all tables, but for when migrations were applied.
fn contents(config: &Config) -> String {
    let conn = config.data.connect().unwrap().into_sqlite().unwrap();
    let mut names = conn.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").unwrap();
    let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut out = String::new();
    for name in names {
        let mut statement = conn.prepare(&format!("SELECT * FROM \"{name}\"")).unwrap();
        // When it was applied stands last.
        let width = statement.column_count() - usize::from(name == "_migration" || name == "_system");
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let cells: Vec<_> = (0..width).map(|i| format!("{:?}", row.get_ref(i).unwrap())).collect();
            out += &format!("{name} {}\n", cells.join(" "));
        }
    }
    out
}

/// The state of a database: what is in its catalog, to the byte, and in its tables.
fn state(config: &Config) -> (String, String) {
    let conn = config.data.connect().unwrap().into_sqlite().unwrap();
    let sql = "SELECT group_concat(type || name || tbl_name || rootpage || coalesce(sql, ''), char(10)) FROM (SELECT * FROM sqlite_master ORDER BY rowid)";
    (conn.query_row(sql, [], |row| row.get::<_, Option<String>>(0)).unwrap().unwrap_or_default(), contents(config))
}

fn apply_command(config: &Config) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_driftline"));
    command.args(["migrate", "apply", "--schema"]).arg(&config.schema).arg("--migrations").arg(&config.migrations);
    command.arg("--data").arg(config.data.to_string()).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    command
}

/// A database of the first version with rows, and two migrations that wait; it makes copies of it, and of none at all.
async fn waiting() -> (World, impl Fn(&World, usize, bool) -> Config) {
    let (world, _) = begin().await;
    planned_next(&world.config, &fourth());
    let copy = |world: &World, n: usize, with_rows: bool| {
        let config = Config { data: world.directory.path().join(format!("copy{n}")).into(), ..world.config.clone() };
        std::fs::create_dir(folder(&config)).unwrap();
        if with_rows {
            world.database().execute("VACUUM INTO ?1", [config.data.file().unwrap().to_str().unwrap()]).unwrap();
        }
        config
    };
    (world, copy)
}

#[tokio::test]
async fn m2_a_migration_cut_off_at_any_statement_has_happened_or_has_not() {
    let (world, copy) = waiting().await;
    for with_rows in [true, false] {
        let (mut next, mut aborted) = (if with_rows { 0 } else { 10_000 }, 0);
        let reference = copy(&world, next, with_rows);
        let mut states = Vec::new();
        if with_rows {
            states.push(state(&reference));
            let options = migrate::Options { expand_only: true, ..Default::default() };
            migrate::apply_with(&reference.migrations, &reference.data, &options).unwrap();
            states.push(state(&reference));
        }
        migrate::apply(&reference.migrations, &reference.data).unwrap();
        let last = state(&reference);
        states.push(last.clone());
        loop {
            next += 1;
            let config = copy(&world, next, with_rows);
            let status = apply_command(&config).env("DRIFTLINE_FAULT", format!("abort_in_migration={}", aborted + 1)).status().unwrap();
            let found = state(&config);
            if with_rows {
                assert!(states.contains(&found), "at {}: {found:?}", aborted + 1);
            }
            if status.success() {
                assert!(found == last, "{found:?}");
                break;
            }
            aborted += 1;
            assert!(apply_command(&config).status().unwrap().success());
            assert!(state(&config) == last, "begun again after {aborted}");
            std::fs::remove_dir_all(folder(&config)).unwrap();
        }
        assert!(aborted > 30, "{aborted} statements");
    }
}

#[tokio::test]
async fn m2_several_that_apply_at_once_do_it_once() {
    let (world, copy) = waiting().await;
    for round in 0..6 {
        let config = copy(&world, round, round % 2 == 0);
        let all: Vec<_> = (0..6).map(|_| apply_command(&config).stderr(std::process::Stdio::piped()).spawn().unwrap()).collect();
        for child in all {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "round {round}: {}", String::from_utf8_lossy(&output.stderr));
        }
        assert!(migrate::status(&config.migrations, &config.data).unwrap().iter().all(|entry| entry.state == migrate::State::Applied));
    }
}

#[tokio::test]
async fn m2_1000_starts_some_killed_leave_what_one_leaves() {
    let (world, copy) = waiting().await;
    let reference = copy(&world, 0, true);
    let began = std::time::Instant::now();
    assert!(apply_command(&reference).status().unwrap().success());
    let takes = began.elapsed().as_micros() as u64;
    let last = state(&reference);
    let (mut starts, mut kills, mut round) = (0, 0, 0);
    while starts < 300 {
        round += 1;
        let config = copy(&world, round, true);
        for tries in 5.. {
            starts += 1;
            let mut child = apply_command(&config).spawn().unwrap();
            // Longer each time, for a machine that has become slower.
            std::thread::sleep(std::time::Duration::from_micros(mix(starts) % (takes * tries / 4)));
            child.kill().unwrap();
            if child.wait().unwrap().success() {
                break;
            }
            kills += 1;
        }
        assert!(state(&config) == last, "round {round}");
        std::fs::remove_dir_all(folder(&config)).unwrap();
    }
    assert!(kills > 0);
    for _ in starts..1_000 {
        assert_eq!(migrate::apply(&reference.migrations, &reference.data).unwrap(), [""; 0]);
    }
    assert!(state(&reference) == last);
    drop(Server::open(reference, Arc::new(Open)).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn m1_a_table_that_takes_the_name_of_one_that_is_dropped_is_refused_when_planned() {
    let one = r#"{"name": "n", "version": 1, "tables": {"a": {"fields": {"x": {"type": "int", "default": 0}}}, "b": {}}}"#;
    let two = r#"{"name": "n", "version": 2, "tables": {"b": {"fields": {"x": {"type": "int", "default": 0}}}},
        "upgrades": [{"to": 2, "steps": [{"drop_table": {"table": "b"}}, {"rename_table": {"from": "a", "to": "b"}}]}]}"#;
    let (_directory, config) = prepare_for(one);
    let planned = migrate::plan(two, &config.migrations, "swap", &Planning { allow_drop: true, ..Planning::default() });
    let applied = planned.as_ref().map(|_| migrate::apply(&config.migrations, &config.data));
    assert!(matches!(&applied, Err(_) | Ok(Ok(_))), "what is planned can be applied: {applied:?}");
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
    let color: String = world.database().query_row("SELECT color FROM note", [], |row| row.get(0)).unwrap();
    assert_eq!(color, "the later");
}
