//! `driftline check` finds what it is there to find: each kind of damage is planted, with the database's own guards off.

use crate::world::{Client, World, id, verdict};
use driftline_core::schema::Schema;
use driftline_core::value::RowId;
use driftline_server::check::{Report, check};
use driftline_server::tables::{Layout, TableLayout};
use serde_json::{Value as Json, json};
use std::process::Command;

const CANVAS: &str = include_str!("../../../../tests/schemas/canvas/schema.json");
const PUBLISHING: &str = include_str!("../../../../tests/schemas/publishing/schema.json");

fn report(world: &World) -> Report {
    check(&Schema::parse(&world.schema).unwrap(), &world.config.data, None, |_| {}).unwrap()
}

/// What was found, as `kind: text`.
fn found(world: &World) -> Vec<String> {
    report(world).findings.into_iter().map(|finding| format!("{}: {}", finding.kind, finding.text)).collect()
}

async fn start(schema: &str, edits: Json) -> World {
    let world = World::of(schema);
    let mut alice = Client::new("alice", 1);
    assert_eq!(verdict(&alice.edit(&world, "a", edits).await), "applied");
    assert_eq!(found(&world), [""; 0]);
    world
}

/// Without foreign keys and checks, as a careless person with a shell would.
fn damage(world: &World, sql: &str) {
    let database = world.database();
    database.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON").unwrap();
    database.execute_batch(sql).unwrap();
}

/// A row that refers by one of its SQL columns to nothing.
fn orphan(schema: &Schema, table: &TableLayout, column: &str, n: u64) -> String {
    let blob = |n: u64| format!("x'{:032x}'", RowId::parse(&id(n)).unwrap().0);
    let mut names = vec!["space".to_string(), "id".to_string(), "_clock".to_string()];
    let mut values = vec!["1".to_string(), blob(n), "'0.0000000000000000.0'".to_string()];
    for slot in &table.slots {
        let definition = &schema.tables[table.index as usize].columns[slot.column as usize];
        let value = match slot.target {
            Some(_) if slot.name == column => blob(900_000 + n),
            Some(_) => continue,
            None if definition.nullable => continue,
            None => "0".to_string(),
        };
        names.push(format!("\"{}\"", slot.name));
        values.push(value);
    }
    format!("INSERT INTO \"{}\" ({}) VALUES ({})", table.name, names.join(", "), values.join(", "))
}

#[tokio::test]
async fn i3_the_scan_finds_an_orphan_of_every_reference_there_is() {
    for text in [CANVAS, PUBLISHING] {
        let schema = Schema::parse(text).unwrap();
        let layout = Layout::new(&schema).unwrap();
        let mut planted = 0;
        for table in &layout.tables {
            for slot in table.slots.iter().filter(|slot| slot.target.is_some()) {
                let anything = if text == CANVAS { "box" } else { "user" };
                let world = start(text, json!([{"op": "create", "table": anything, "id": id(1), "set": {}}])).await;
                // A column that must not be null cannot be left out, whatever the checks say.
                damage(
                    &world,
                    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = replace(sql, 'BLOB NOT NULL,', 'BLOB,'); PRAGMA writable_schema = RESET",
                );
                damage(&world, &orphan(&schema, table, &slot.name, 50));
                let target = &layout.table(slot.target.unwrap()).name;
                let wanted = format!(
                    "orphans: 1 rows of `{}` refer by `{}` to rows of `{target}` that are not there, such as {}",
                    table.name,
                    slot.name,
                    id(50)
                );
                assert!(found(&world).contains(&wanted), "{wanted}: {:?}", found(&world));
                planted += 1;
            }
        }
        assert!(planted >= 11, "{planted} references");
    }
}

#[tokio::test]
async fn v4_what_differs_from_what_is_noted_is_found() {
    let card = |n: u64| json!({"op": "create", "table": "card", "id": id(n), "set": {"name": "a"}});
    let kind = json!({"op": "create", "table": "connection_type", "id": id(3), "set": {}});
    let ends = json!({"connection_type": id(3), "start_item": {"card": id(1)}, "end_item": {"card": id(2)}});
    let connection = json!({"op": "create", "table": "connection", "id": id(4), "set": ends});
    let edits = json!([card(1), card(2), kind, connection]);
    for (sql, kind, text) in [
        ("UPDATE card SET name = 'b' WHERE name = 'a'", "digest", "its rows have the digest"),
        (
            "UPDATE connection SET start_item_box = start_item_card",
            "arc",
            "1 rows of `connection` name none or more than one row in `start_item`",
        ),
        ("DELETE FROM _log", "log", "the log should hold the revisions 1 to 1, and holds 0 of them"),
        ("UPDATE _space SET rev = 5", "log", "the log should hold the revisions 1 to 5, and holds 1 of them, from 1 to 1"),
        ("DELETE FROM _client", "marks", "1 parts of the log belong to clients that are not known"),
        ("INSERT INTO _deleted SELECT space, id, 'card', 1 FROM card", "revived", "2 rows of `card` are there although they were deleted"),
    ] {
        let world = start(CANVAS, edits.clone()).await;
        damage(&world, sql);
        let found = found(&world);
        assert!(found.iter().any(|finding| finding.starts_with(&format!("{kind}: {text}"))), "{sql}: {found:?}");
    }
}

#[tokio::test]
async fn v4_the_command_says_so_in_words_and_by_its_exit_code() {
    let world = start(CANVAS, json!([{"op": "create", "table": "box", "id": id(1), "set": {}}])).await;
    let run = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_driftline"))
            .arg("check")
            .arg("--schema")
            .arg(&world.config.schema)
            .arg("--migrations")
            .arg(&world.config.migrations)
            .arg("--data")
            .arg(&world.config.data)
            .args(more)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).to_string())
    };
    assert_eq!(run(&[]), (Some(0), "1 spaces with 1 rows: nothing is wrong\n".to_string()));
    assert_eq!(run(&["--space", "b"]).0, Some(2));
    damage(&world, "UPDATE box SET name = 'x'");
    let (code, said) = run(&["--space", "a"]);
    assert!(code == Some(1) && said.starts_with("a: digest: ") && said.ends_with("1 spaces with 1 rows: 1 findings\n"), "{code:?} {said}");
}
