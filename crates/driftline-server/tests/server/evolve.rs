//! What migrations make of a database with rows in it.

use crate::findings::found;
use crate::stages::{LAYER, first, fourth, third};
use crate::world::{Client, World, id, prepare_for, verdict};
use driftline_core::schema::Schema;
use driftline_server::Config;
use driftline_server::db::Dialect;
use driftline_server::migrate::{self, Planning};
use serde_json::{Value as Json, json};

/// Columns, constraints and indexes, a line for each.
fn tables(config: &Config) -> Vec<String> {
    let sql = match config.data.dialect() {
        Dialect::Sqlite => "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%' ORDER BY name",
        Dialect::Postgres => {
            "SELECT line FROM (SELECT t.relname || '.' || a.attname || ' ' || format_type(a.atttypid, -1) || ' ' || a.attnotnull AS line \
             FROM pg_class AS t JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped \
             WHERE t.relnamespace = current_schema()::regnamespace AND t.relkind = 'r' \
             UNION ALL SELECT replace(pg_get_indexdef(c.oid), current_schema() || '.', '') FROM pg_class AS c \
             WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'i' \
             UNION ALL SELECT c.conrelid::regclass || ' ' || c.conname || ' ' || pg_get_constraintdef(c.oid) FROM pg_constraint AS c \
             WHERE c.connamespace = current_schema()::regnamespace) AS lines ORDER BY line"
        }
    };
    config.data.connect().unwrap().all(sql, &[], |row| Ok(row.text(0)?.into_owned())).unwrap()
}

fn migrate_to(mut world: World, schema: &Json) -> World {
    let planning = Planning { dialect: world.config.data.dialect(), allow_drop: true };
    migrate::plan(&schema.to_string(), &world.config.migrations, "next", &planning).unwrap();
    migrate::apply(&world.config.migrations, &world.config.data).unwrap();
    std::fs::write(&world.config.schema, schema.to_string()).unwrap();
    world.schema = schema.to_string();
    world.restart();
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn m1_rows_come_through_migrations_and_the_tables_stand_like_fresh_ones() {
    let mut world = World::of(&first().to_string());
    let mut alice = Client::new("alice", 1);
    let note = |n: u64, set: Json| json!({"op": "create", "table": "note", "id": id(n), "set": set});
    let edits = json!([
        {"op": "create", "table": "box", "id": id(1), "set": {"label": "it's"}},
        note(2, json!({"title": "uno 'due'", "count": "7", "box": id(1)})),
        note(3, json!({"title": "a\u{0}b\u{1}c", "count": "-0"})),
        note(4, json!({"count": "9007199254740993"})),
        {"op": "create", "table": "line", "id": id(5), "set": {"from": {"note": id(2)}}},
        {"op": "create", "table": "scrap", "id": id(6), "set": {"note": id(3)}}]);
    assert_eq!(verdict(&alice.edit(&world, "a", edits).await), "applied");
    for stage in [third(), fourth()] {
        world = migrate_to(world, &stage);
        let (_directory, fresh) = prepare_for(&stage.to_string());
        assert_eq!(tables(&world.config), tables(&fresh));
        let schema = Schema::parse(&world.schema).unwrap();
        assert_eq!(migrate::differences(&schema, &world.config.migrations, &world.config.data).unwrap(), [""; 0]);
        assert_eq!(found(&world), [""; 0]);
        let count = |n: u64| world.count(&format!("SELECT count FROM card WHERE id = {}", world.literal(n)));
        assert_eq!([count(2), count(3), count(4)], [7, -1, -1], "what is no number, or spelled otherwise, or too large");
        let snapshot = world.snapshot("a").await;
        assert!(snapshot.contains("uno 'due'") && snapshot.contains("a\\u0000b\\u0001c") && snapshot.contains(LAYER), "{snapshot}");
        assert_eq!(world.count("SELECT count(*) FROM layer"), 1);
    }
}
