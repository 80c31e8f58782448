//! What migrations make of a database with rows in it.

use crate::findings::found;
use crate::migrating::catalog;
use crate::stages::{LAYER, first, fourth, third};
use crate::world::{Client, World, id, prepare_for, verdict};
use driftline_core::reconcile::mix;
use driftline_core::schema::Schema;
use driftline_core::upgrade::upgrade_snapshot;
use driftline_core::value::{Row, RowKey};
use driftline_core::wire::read_snapshot;
use driftline_server::migrate;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

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
        world = world.migrate(&stage);
        let (_directory, fresh) = prepare_for(&stage.to_string());
        assert_eq!(catalog(&world.config), catalog(&fresh));
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
