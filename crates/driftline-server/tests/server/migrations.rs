use crate::world::{Client, SCHEMA, World, card, folder, id, open, plan, prepare, verdict};
use driftline_core::schema::Schema;
use driftline_server::migrate::{self, State};
use driftline_server::{Config, Open, Server};
use serde_json::{Value as Json, json};
use std::sync::Arc;

fn master(config: &Config) -> String {
    let conn = config.data.connect().unwrap().into_sqlite().unwrap();
    let sql = "SELECT group_concat(type || name || tbl_name || rootpage || coalesce(sql, ''), char(10)) FROM (SELECT * FROM sqlite_master ORDER BY rowid)";
    conn.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn refusal(config: &Config) -> String {
    Server::open(config.clone(), Arc::new(Open)).err().expect("the server starts").to_string()
}

fn changed(change: impl Fn(&mut Json)) -> String {
    let mut schema: Json = serde_json::from_str(SCHEMA).unwrap();
    schema["version"] = json!(2);
    change(&mut schema["tables"]);
    schema.to_string()
}

#[tokio::test]
async fn m2_starts_leave_the_tables_as_they_are() {
    let (_directory, config) = prepare();
    let before = master(&config);
    for _ in 0..20 {
        drop(open(&config).router());
        assert_eq!(migrate::apply(&config.migrations, &config.data).unwrap(), Vec::<String>::new());
    }
    assert_eq!(master(&config), before);
}

#[test]
fn m1_the_server_refuses_tables_that_are_not_its_own_and_changes_nothing() {
    let (directory, config) = prepare();
    let absent = Config { data: directory.path().join("elsewhere").into(), ..config.clone() };
    assert!(refusal(&absent).starts_with("no_database"));
    assert!(!absent.data.exists(), "nothing was made");
    let before = master(&config);

    let newer = changed(|tables| tables["tag"] = json!({"fields": {"name": {"type": "text"}}}));
    std::fs::write(&config.schema, &newer).unwrap();
    assert!(refusal(&config).starts_with("schema_differs"), "{}", refusal(&config));
    let path = plan(&config, &newer, "tags").unwrap().unwrap();
    assert!(path.ends_with("0002_tags.sql"));
    assert!(refusal(&config).starts_with("migration_pending: 0002_tags"), "{}", refusal(&config));
    assert_eq!(plan(&config, &newer, "tags").unwrap(), None, "a second plan has nothing to say");
    assert_eq!(master(&config), before);

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
    let before = master(&config);
    let newer = changed(|tables| tables["tag"] = json!({"fields": {"name": {"type": "text"}}}));
    let path = plan(&config, &newer, "tags").unwrap().unwrap();
    let sql = std::fs::read_to_string(&path).unwrap();
    for end in ["CREATE TABLE card (x);", "COMMIT;", "INSERT INTO picture VALUES (1, zeroblob(16), zeroblob(16), '');"] {
        std::fs::write(&path, format!("{}{end}", if end == "COMMIT;" { "" } else { &sql })).unwrap();
        let error = migrate::apply(&config.migrations, &config.data).unwrap_err();
        assert!(error.contains("nothing has changed"), "{error}");
        assert_eq!(master(&config), before, "{end}");
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
    assert_eq!(world.count("SELECT count(*) FROM pragma_foreign_key_check"), 0);
    assert!(world.database().execute("DELETE FROM card WHERE box IS NULL", []).unwrap_err().to_string().contains("FOREIGN KEY"));
    let world = World { router: open(&world.config).router(), ..world };
    let unit =
        |n: u64, edits: Json| json!({"txns": [{"key": [0, n], "body": {"schema": 2, "at": [1000, 0], "edits": edits}}], "after": []});
    let edits = json!([{"op": "update", "table": "card", "id": id(1), "set": {"next": {"card": id(3)}}}, {"op": "create", "table": "tag", "id": id(7), "set": {"card": id(3)}}]);
    let answer = alice.send(&world, "a", vec![unit(2, edits)]).await;
    assert_eq!(verdict(&answer["outcomes"][0]), "applied");
    let answer = alice.send(&world, "a", vec![unit(3, json!([{"op": "delete", "table": "card", "id": id(3)}]))]).await;
    assert_eq!(verdict(&answer["outcomes"][0]), "applied");
    assert_eq!(world.count("SELECT count(*) FROM card WHERE next_card IS NULL"), 1);
    let digest = migrate::digest_of(&world.db(), &Schema::parse(&newer).unwrap(), 1).unwrap();
    assert_eq!(answer["digest"], format!("{:032x}", digest.0), "the migration brought the digest along");
    assert_eq!(world.directory.path().join("data"), folder(&world.config));
}
