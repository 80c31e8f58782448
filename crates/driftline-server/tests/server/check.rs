//! `driftline check` finds what it is there to find: each kind of damage is planted, with the database's own guards off.

use crate::findings::found;
use crate::world::{Client, World, id, verdict};
use driftline_core::schema::Schema;
use driftline_server::db::Dialect;
use driftline_server::tables::{Layout, TableLayout};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;

pub const CANVAS: &str = include_str!("../../../../tests/schemas/canvas/schema.json");
const PUBLISHING: &str = include_str!("../../../../tests/schemas/publishing/schema.json");

pub async fn start(schema: &str, edits: Json) -> World {
    let world = World::of(schema);
    let mut alice = Client::new("alice", 1);
    assert_eq!(verdict(&alice.edit(&world, "a", edits).await), "applied");
    assert_eq!(found(&world), [""; 0]);
    world
}

/// Without foreign keys and checks, as a careless person with a shell would.
pub fn damage(world: &World, sql: &str) {
    let db = world.db();
    let careless = match db.dialect() {
        Dialect::Sqlite => "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON",
        Dialect::Postgres => {
            "SET session_replication_role = replica; DO $$ DECLARE c RECORD; BEGIN \
             FOR c IN SELECT conrelid::regclass AS t, conname FROM pg_constraint WHERE contype = 'c' AND connamespace = current_schema()::regnamespace \
             LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', c.t, c.conname); END LOOP; END $$"
        }
    };
    db.batch(careless).unwrap();
    db.batch(sql).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn t6_a_start_looks_through_the_database_and_serves_meanwhile() {
    let world = start(CANVAS, json!([{"op": "create", "table": "box", "id": id(1)}])).await;
    let findings = async |world: &World| {
        for _ in 0..200 {
            let health: Json = serde_json::from_str(&world.request("GET", "/healthz", None, "").await.1).unwrap();
            if !health["findings"].is_null() {
                return health["findings"].clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("the check does not end");
    };
    assert_eq!(findings(&world).await, 0);
    damage(&world, "UPDATE box SET name = 'by hand'");
    let mut world = world;
    world.restart();
    assert_eq!(findings(&world).await, 1);
    let mut bob = Client::new("bob", 2);
    let edit = json!([{"op": "create", "table": "box", "id": id(2)}]);
    assert_eq!(verdict(&bob.edit(&world, "b", edit).await), "applied", "what is found keeps nobody");
}

/// The id of the one sound row of a table.
fn base(table: &TableLayout) -> u64 {
    1_000 + u64::from(table.index)
}

/// A row of a table with these SQL columns for one of its references, and all others sound.
fn row(world: &World, schema: &Schema, layout: &Layout, table: &TableLayout, n: u64, column: Option<u16>, set: &[(&str, u64)]) -> String {
    let blob = |n: u64| world.literal(n);
    let mut names = vec!["space".to_string(), "id".to_string(), "_clock".to_string()];
    let mut values = vec!["1".to_string(), blob(n), "'0.0000000000000000.0'".to_string()];
    let mut done = Vec::new();
    for slot in &table.slots {
        let definition = &schema.tables[table.index as usize].columns[slot.column as usize];
        let value = match slot.target {
            _ if column == Some(slot.column) => match set.iter().find(|set| set.0 == slot.name) {
                Some((_, target)) => blob(*target),
                None => continue,
            },
            _ if definition.nullable || done.contains(&slot.column) => continue,
            Some(target) => blob(base(layout.table(target))),
            None => "'0'".to_string(),
        };
        done.push(slot.column);
        names.push(format!("\"{}\"", slot.name));
        values.push(value);
    }
    format!("INSERT INTO \"{}\" ({}) VALUES ({})", table.name, names.join(", "), values.join(", "))
}

/// Everything that can be wrong with a reference, worked out from the schema: each column of SQL names a row that is not there, each two
/// arms of one reference are set at once, and none where there must be one. Returns the statements and what must be found.
fn plant(world: &World, schema: &Schema, layout: &Layout) -> (Vec<String>, BTreeSet<String>) {
    let (mut sql, mut wanted) = (Vec::new(), BTreeSet::new());
    let sound = schema.parents_first();
    sql.extend(sound.iter().map(|table| row(world, schema, layout, layout.table(*table), base(layout.table(*table)), None, &[])));
    let mut n = 2_000;
    for table in &layout.tables {
        for (i, column) in schema.tables[table.index as usize].columns.iter().enumerate() {
            let arms: Vec<_> = table.slots.iter().filter(|slot| slot.column as usize == i && slot.target.is_some()).collect();
            let mut add = |set: &[(&str, u64)]| {
                n += 1;
                sql.push(row(world, schema, layout, table, n, Some(i as u16), set));
                n
            };
            let mut unsound = 0;
            for (k, arm) in arms.iter().enumerate() {
                let target = layout.table(arm.target.unwrap());
                let orphan = add(&[(&arm.name, 900_000)]);
                wanted.insert(format!(
                    "orphans: 1 rows of `{}` refer by `{}` to rows of `{}` that are not there, such as {}",
                    table.name,
                    arm.name,
                    target.name,
                    id(orphan)
                ));
                for other in &arms[..k] {
                    add(&[(&arm.name, base(target)), (&other.name, base(layout.table(other.target.unwrap())))]);
                    unsound += 1;
                }
            }
            if !arms.is_empty() && !column.nullable {
                add(&[]);
                unsound += 1;
            }
            if unsound > 0 {
                wanted.insert(format!("arc: {unsound} rows of `{}` name none or more than one row in `{}`", table.name, column.name));
            }
        }
    }
    (sql, wanted)
}

#[tokio::test]
async fn i3_the_scan_finds_whatever_can_be_wrong_with_any_reference() {
    for (text, slots, columns) in [(CANVAS, 11, 5), (PUBLISHING, 25, 15)] {
        let schema = Schema::parse(text).unwrap();
        let anything = if text == CANVAS { "box" } else { "user" };
        let world = start(text, json!([{"op": "create", "table": anything, "id": id(1), "set": {}}])).await;
        // A column that must not be null cannot be left out, whatever the checks say.
        let nullable = match world.config.data.dialect() {
            Dialect::Sqlite => {
                "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = replace(sql, 'BLOB NOT NULL,', 'BLOB,'); PRAGMA writable_schema = RESET"
            }
            Dialect::Postgres => {
                "DO $$ DECLARE c RECORD; BEGIN FOR c IN SELECT table_name AS t, column_name AS n FROM information_schema.columns \
                 WHERE table_schema = current_schema() AND data_type = 'uuid' AND column_name <> 'id' \
                 LOOP EXECUTE format('ALTER TABLE %I ALTER COLUMN %I DROP NOT NULL', c.t, c.n); END LOOP; END $$"
            }
        };
        damage(&world, nullable);
        let layout = Layout::new(&schema, world.config.data.dialect()).unwrap();
        let (sql, wanted) = plant(&world, &schema, &layout);
        damage(&world, &sql.join(";"));
        // What was planted is in no digest and in no count.
        let beside = |finding: &String| !finding.starts_with("digest: ") && !finding.starts_with("counts: ");
        let found: BTreeSet<String> = found(&world).into_iter().filter(beside).collect();
        assert_eq!(found, wanted);
        let of = |kind: &str| wanted.iter().filter(|finding| finding.starts_with(kind)).count();
        assert_eq!((of("orphans"), of("arc")), (slots, columns), "as many as there are");
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
        ("UPDATE card SET _clock = ''", "unreadable", "a row holds what the server never wrote: "),
        ("DELETE FROM _client", "marks", "1 parts of the log belong to clients that are not known"),
        ("INSERT INTO _deleted SELECT space, id, 'card', 1 FROM card", "revived", "2 rows of `card` are there although they were deleted"),
    ] {
        let world = start(CANVAS, edits.clone()).await;
        damage(&world, sql);
        let found = found(&world);
        assert!(found.iter().any(|finding| finding.starts_with(&format!("{kind}: {text}"))), "{sql}: {found:?}");
    }
}
