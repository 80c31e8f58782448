//! What is planned and what is refused, by the command and by a server that starts.

use crate::findings::found;
use crate::migrating::{catalog, plan_next, refusal, standing};
use crate::stages::{first, third};
use crate::world::{Client, SCHEMA, World, card, id, open, plan, planning, prepare, prepare_for, verdict};
use driftline_server::db::Dialect;
use driftline_server::migrate::{self, State};
use driftline_server::{Config, Open, Server};
use serde_json::{Value as Json, json};
use std::process::Command;
use std::sync::Arc;

fn changed(change: impl Fn(&mut Json)) -> String {
    let mut schema: Json = serde_json::from_str(SCHEMA).unwrap();
    schema["version"] = json!(2);
    change(&mut schema["tables"]);
    schema.to_string()
}

#[tokio::test]
async fn m2_starts_leave_the_tables_as_they_are() {
    let (_directory, config) = prepare();
    let before = standing(&config);
    for _ in 0..20 {
        drop(open(&config).router());
        assert_eq!(migrate::apply(&config.migrations, &config.data).unwrap(), Vec::<String>::new());
    }
    assert_eq!(standing(&config), before);
}

#[test]
fn m1_the_server_refuses_tables_that_are_not_its_own_and_changes_nothing() {
    let (_directory, config) = prepare();
    let elsewhere = tempfile::tempdir().unwrap();
    let absent = Config { data: crate::place(&elsewhere), ..config.clone() };
    // A folder has none before it is made; on PostgreSQL there is one with nothing in it.
    let expected = if config.data.dialect() == Dialect::Sqlite { "no_database: " } else { "system_pending: " };
    assert!(refusal(&absent).starts_with(expected), "{}", refusal(&absent));
    assert!(!absent.data.exists() || catalog(&absent).is_empty(), "nothing was made");
    let before = standing(&config);

    let newer = changed(|tables| tables["tag"] = json!({"fields": {"name": {"type": "text"}}}));
    std::fs::write(&config.schema, &newer).unwrap();
    assert!(refusal(&config).starts_with("schema_differs"), "{}", refusal(&config));
    let path = plan(&config, &newer, "tags").unwrap().unwrap();
    assert!(path.ends_with("0002_tags.sql"));
    assert!(refusal(&config).starts_with("migration_pending: 0002_tags"), "{}", refusal(&config));
    assert_eq!(plan(&config, &newer, "tags").unwrap(), None, "a second plan has nothing to say");
    assert_eq!(standing(&config), before);

    assert_eq!(migrate::apply(&config.migrations, &config.data).unwrap(), ["0002_tags"]);
    drop(Server::open(config.clone(), Arc::new(Open)).unwrap());
    let sql = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{sql}-- a word\n")).unwrap();
    assert!(refusal(&config).starts_with("migration_changed: 0002_tags"), "{}", refusal(&config));
    assert!(migrate::apply(&config.migrations, &config.data).unwrap_err().starts_with("migration_changed"));
    std::fs::remove_file(&path).unwrap();
    assert!(refusal(&config).starts_with("migration_unknown: the database has 0002_tags"), "{}", refusal(&config));
    let states: Vec<State> = migrate::status(&config.migrations, &config.data).unwrap().iter().map(|entry| entry.state).collect();
    assert_eq!(states, [State::Applied, State::Unknown]);
}

#[test]
fn m1_a_migration_that_fails_leaves_nothing_behind() {
    let (_directory, config) = prepare();
    let before = standing(&config);
    let newer = changed(|tables| tables["tag"] = json!({"fields": {"name": {"type": "text"}}}));
    let path = plan(&config, &newer, "tags").unwrap().unwrap();
    let sql = std::fs::read_to_string(&path).unwrap();
    let (header, statements) = sql.split_at(sql.find("CREATE").unwrap());
    let nobody = if config.data.dialect() == Dialect::Sqlite { "zeroblob(16)" } else { "'00000000-0000-0000-0000-000000000000'" };
    let orphan = format!("INSERT INTO picture (space, id, page, _clock) VALUES (1, {nobody}, {nobody}, '');");
    for (statements, end) in [
        (statements, "CREATE TABLE card (x TEXT);"),
        ("", "COMMIT;"),
        (statements, "COMMIT;"),
        // Where a text ends is not for everybody the same.
        (statements, "SELECT E'\\''; COMMIT; SELECT E'\\'';"),
        (statements, &orphan),
    ] {
        std::fs::write(&path, format!("{header}{statements}{end}")).unwrap();
        let error = migrate::apply(&config.migrations, &config.data).unwrap_err();
        assert!(error.contains("nothing has changed"), "{error}");
        assert_eq!(standing(&config), before, "{end}");
    }
}

#[test]
fn m1_what_cannot_be_planned_is_named() {
    let (_directory, config) = prepare();
    let cases: [(&str, String); 7] = [
        (
            "table `node` is gone",
            changed(|tables| {
                tables.as_object_mut().unwrap().remove("node");
            }),
        ),
        (
            "table `card`, field `x` is gone",
            changed(|tables| {
                tables["card"]["fields"].as_object_mut().unwrap().remove("x");
            }),
        ),
        ("table `card`, field `x`: changing its type", changed(|tables| tables["card"]["fields"]["x"]["type"] = json!("int"))),
        (
            "table `card`, field `data`: nulls are no longer allowed",
            changed(|tables| tables["card"]["fields"]["data"]["nullable"] = json!(false)),
        ),
        ("table `card`, field `z` is new: it must be nullable", changed(|tables| tables["card"]["fields"]["z"] = json!({"type": "text"}))),
        (
            "its SQL column `from_card` is taken",
            changed(|tables| tables["connection"]["fields"] = json!({"from_card": {"type": "text", "nullable": true}})),
        ),
        ("`sqlite_`", changed(|tables| tables["sqlite_x"] = json!({}))),
    ];
    for (expected, schema) in cases {
        let error = plan(&config, &schema, "x").unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let same_version = changed(|tables| tables["tag"] = json!({})).replace("\"version\":2", "\"version\":1");
    assert!(plan(&config, &same_version, "x").unwrap_err().contains("version must be above 1"));
}

#[tokio::test]
async fn m1_columns_and_references_are_added_to_rows_that_stay() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    let edits = json!([card(1), {"op": "create", "table": "box", "id": id(2), "set": {"main": id(1)}}, {"op": "create", "table": "card", "id": id(3), "set": {"box": id(2)}}]);
    assert_eq!(verdict(&alice.edit(&world, "a", edits).await), "applied");
    let newer = changed(|tables| {
        tables["card"]["fields"]["label"] = json!({"type": "text", "default": "it's"});
        tables["card"]["references"]["next"] = json!({"to": ["card", "page"], "nullable": true, "on_delete": "set_null"});
        tables["tag"] = json!({"references": {"card": {"to": ["card"], "on_delete": "cascade"}}});
    });
    std::fs::write(&world.config.schema, &newer).unwrap();
    plan(&world.config, &newer, "more").unwrap();
    migrate::apply(&world.config.migrations, &world.config.data).unwrap();
    assert_eq!(world.count("SELECT count(*) FROM card WHERE label = 'it''s' AND next_card IS NULL"), 2);
    let world = World { router: open(&world.config).router(), schema: newer, ..world };
    assert_eq!(found(&world), [""; 0]);
    let refused = world.db().batch("DELETE FROM card WHERE box IS NULL").unwrap_err().to_string().to_uppercase();
    assert!(refused.contains("FOREIGN KEY"), "{refused}");
    let unit =
        |n: u64, edits: Json| json!({"txns": [{"key": [0, n], "body": {"schema": 2, "at": [1000, 0], "edits": edits}}], "after": []});
    let edits = json!([{"op": "update", "table": "card", "id": id(1), "set": {"next": {"card": id(3)}}}, {"op": "create", "table": "tag", "id": id(7), "set": {"card": id(3)}}]);
    let answer = alice.send(&world, "a", vec![unit(2, edits)]).await;
    assert_eq!(verdict(&answer["outcomes"][0]), "applied");
    let answer = alice.send(&world, "a", vec![unit(3, json!([{"op": "delete", "table": "card", "id": id(3)}]))]).await;
    assert_eq!(verdict(&answer["outcomes"][0]), "applied");
    assert_eq!(world.count("SELECT count(*) FROM card WHERE next_card IS NULL"), 1);
    assert_eq!(answer["digest"], world.digest("a"), "the migration brought the digest along");
}

#[test]
fn m1_the_servers_own_tables_have_numbers_of_their_own() {
    let (_directory, config) = prepare_for(&first().to_string());
    let db = config.data.connect().unwrap();
    db.batch("INSERT INTO _system VALUES (4, 'x', 0)").unwrap();
    assert!(refusal(&config).starts_with("system_newer"), "{}", refusal(&config));
    db.batch("DELETE FROM _system").unwrap();
    assert!(refusal(&config).starts_with("system_pending: the server's own tables lack number 1 (base); run: driftline migrate apply"));
    db.batch("DROP TABLE _system").unwrap();
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
            .arg(crate::address(&config.data))
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
    plan_next(&config, &third());
    assert_eq!(status(), (Some(1), "0001 first applied\n0002 next pending\n".to_string()));
    migrate::apply(&config.migrations, &config.data).unwrap();
    assert_eq!(status().0, Some(0));
    let by_hand = "CREATE INDEX mine ON box (label); DROP INDEX \"_card:by_name\"; ALTER TABLE line ADD COLUMN more TEXT; DROP TABLE scrap";
    config.data.connect().unwrap().batch(by_hand).unwrap();
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
    let paths = migrate::plan(&schema.to_string(), &config.migrations, "next", &planning(&config, false))?;
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
            migrate::plan(&schema.to_string(), &config.migrations, "next", &planning(&config, true)).unwrap_err()
        } else {
            planned(change).unwrap_err()
        };
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn m1_indexes_and_nulls_come_and_go() {
    let text = planned(|s| s["tables"]["note"]["indexes"] = json!({"box": ["title"]})).unwrap().concat();
    // An index of PostgreSQL takes the beginning of a text.
    let columns = if text.contains("-- database: postgres") { "space, left(\"title\", 512)" } else { "space, \"title\"" };
    assert!(text.contains(&format!("CREATE INDEX \"_note:box\" ON \"note\" ({columns})")) && !text.contains("DROP"), "{text}");
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

#[tokio::test(flavor = "multi_thread")]
async fn m1_a_table_that_takes_the_name_of_one_that_is_dropped_is_refused_when_planned() {
    let one = r#"{"name": "n", "version": 1, "tables": {"a": {"fields": {"x": {"type": "int", "default": 0}}}, "b": {}}}"#;
    let two = r#"{"name": "n", "version": 2, "tables": {"b": {"fields": {"x": {"type": "int", "default": 0}}}},
        "upgrades": [{"to": 2, "steps": [{"drop_table": {"table": "b"}}, {"rename_table": {"from": "a", "to": "b"}}]}]}"#;
    let (_directory, config) = prepare_for(one);
    let planned = migrate::plan(two, &config.migrations, "swap", &planning(&config, true));
    let applied = planned.as_ref().map(|_| migrate::apply(&config.migrations, &config.data));
    assert!(matches!(&applied, Err(_) | Ok(Ok(_))), "what is planned can be applied: {applied:?}");
}
