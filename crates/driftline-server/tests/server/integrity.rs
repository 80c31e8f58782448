use crate::world::{Client, World, card, id, verdict};
use driftline_server::db::Dialect;
use serde_json::json;

#[tokio::test]
async fn a5_references_do_not_cross_spaces() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    let kind = json!([{"op": "create", "table": "connection_type", "id": id(1), "set": {"name": "t"}}, card(2)]);
    alice.edit(&world, "a", kind.clone()).await;
    let mut there = Client::new("alice", 1);
    there.edit(&world, "b", json!([card(9)])).await;
    let connection = json!([{"op": "create", "table": "connection", "id": id(3), "set": {"type": id(1), "from": {"card": id(9)}}}]);
    let outcome = there.edit(&world, "b", connection).await;
    assert_eq!(verdict(&outcome), "refused missing_parent");
    assert_eq!(outcome["problem"]["rows"][0]["id"], id(1));
    assert_eq!(verdict(&there.edit(&world, "b", kind).await), "applied", "the same ids in another space are other rows");
    there.edit(&world, "b", json!([{"op": "delete", "table": "card", "id": id(2)}])).await;
    assert_eq!(world.count("SELECT count(*) FROM card"), 2);
}

#[tokio::test]
async fn i2_the_database_itself_refuses_a_dangling_reference() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    alice.edit(&world, "a", json!([card(1), {"op": "create", "table": "connection_type", "id": id(2), "set": {"name": "t"}}])).await;
    alice
        .edit(&world, "a", json!([{"op": "create", "table": "connection", "id": id(3), "set": {"type": id(2), "from": {"card": id(1)}}}]))
        .await;
    let db = world.db();
    let nobody = if db.dialect() == Dialect::Sqlite { "zeroblob(16)" } else { "'00000000-0000-0000-0000-000000000000'" };
    let elsewhere = format!("UPDATE connection SET from_card = {nobody}");
    for (sql, expected) in [
        ("DELETE FROM card", "FOREIGN KEY"),
        ("DELETE FROM connection_type", "FOREIGN KEY"),
        (elsewhere.as_str(), "FOREIGN KEY"),
        ("UPDATE connection SET from_card = NULL", "CHECK"),
        ("UPDATE connection SET type = NULL", "NOT NULL"),
        ("UPDATE connection SET space = 2", "FOREIGN KEY"),
    ] {
        let error = db.batch(sql).unwrap_err().to_string().to_uppercase().replace('-', " ");
        assert!(error.contains(expected), "{sql}: {error}");
    }
    let unindexed = match db.dialect() {
        Dialect::Sqlite => {
            "SELECT count(*) FROM sqlite_master AS m, pragma_foreign_key_list(m.name) AS f WHERE m.type = 'table' AND f.seq = 1 AND NOT EXISTS \
             (SELECT 1 FROM pragma_index_list(m.name) AS i, pragma_index_info(i.name) AS c WHERE c.seqno = 1 AND c.name = f.\"from\")"
        }
        Dialect::Postgres => {
            "SELECT count(*) FROM pg_constraint AS f WHERE f.connamespace = current_schema()::regnamespace AND f.contype = 'f' AND NOT EXISTS \
             (SELECT 1 FROM pg_index AS i WHERE i.indrelid = f.conrelid AND i.indkey[0] = f.conkey[1] AND i.indkey[1] = f.conkey[2])"
        }
    };
    assert_eq!(world.count(unindexed), 0, "every reference has an index");
}

#[tokio::test]
async fn i3_cascade_set_null_and_restrict_hold_in_real_tables() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    let units = vec![
        alice.unit(json!([{"op": "create", "table": "box", "id": id(1)}, {"op": "create", "table": "box", "id": id(2), "set": {"parent": id(1)}}])),
        alice.unit(json!([{"op": "create", "table": "card", "id": id(3), "set": {"box": id(2)}}, {"op": "create", "table": "connection_type", "id": id(4), "set": {"name": "t"}}])),
        alice.unit(json!([{"op": "create", "table": "connection", "id": id(5), "set": {"type": id(4), "from": {"box": id(2)}, "to": {"card": id(3)}}}])),
    ];
    alice.send(&world, "a", units).await;
    let outcome = alice.edit(&world, "a", json!([{"op": "delete", "table": "connection_type", "id": id(4)}])).await;
    assert_eq!(verdict(&outcome), "refused restricted");
    assert_eq!(outcome["problem"]["rows"], json!([{"table": "connection", "id": id(5)}]));
    alice.cursor = json!(3);
    let unit = alice.unit(json!([{"op": "delete", "table": "box", "id": id(1)}]));
    let answer = alice.send(&world, "a", vec![unit]).await;
    assert_eq!(verdict(&answer["outcomes"][0]), "applied");
    assert_eq!(world.count("SELECT (SELECT count(*) FROM box) + (SELECT count(*) FROM connection)"), 0, "boxes and the connection went");
    assert_eq!(world.count("SELECT count(*) FROM card WHERE box IS NULL"), 1, "the card stays, without a box");
    assert_eq!(world.count("SELECT count(*) FROM _deleted"), 3);
    assert_eq!(answer["digest"], world.digest("a"));
    let update = json!([{"op": "update", "table": "box", "id": id(2), "set": {"title": "x"}}]);
    let outcome = alice.edit(&world, "a", update).await;
    assert_eq!((verdict(&outcome), &outcome["notices"][0]["code"]), ("applied".to_string(), &json!("row_deleted")));
    let outcome = alice.edit(&world, "a", json!([{"op": "create", "table": "box", "id": id(2)}])).await;
    assert_eq!(verdict(&outcome), "refused row_deleted");
}

#[tokio::test]
async fn i4_rows_that_need_each_other_arrive_and_leave_together() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    let page = json!({"key": [0, 1], "body": Client::body(json!([{"op": "create", "table": "page", "id": id(1), "set": {"title": "p", "cover": id(2)}}]))});
    let picture =
        json!({"key": [0, 2], "body": Client::body(json!([{"op": "create", "table": "picture", "id": id(2), "set": {"page": id(1)}}]))});
    let answer = alice.send(&world, "a", vec![json!({"txns": [page, picture], "after": []})]).await;
    let outcomes: Vec<String> = answer["outcomes"].as_array().unwrap().iter().map(verdict).collect();
    assert_eq!(outcomes, ["applied", "applied"], "{answer}");
    assert_eq!(world.count("SELECT count(*) FROM page JOIN picture ON picture.id = page.cover AND page.id = picture.page"), 1);
    assert_eq!(answer["digest"], world.digest("a"));
    // Both references of the other cycle are nullable, and the second row is in the table that is written first.
    alice.seq = 2;
    let both = json!([
        {"op": "create", "table": "box", "id": id(3)}, {"op": "create", "table": "card", "id": id(4), "set": {"box": id(3)}},
        {"op": "update", "table": "box", "id": id(3), "set": {"main": id(4)}}]);
    assert_eq!(verdict(&alice.edit(&world, "a", both).await), "applied");
    assert_eq!(world.count("SELECT count(*) FROM box JOIN card ON card.id = box.main AND box.id = card.box"), 1);
    let gone = json!([{"op": "delete", "table": "page", "id": id(1)}, {"op": "delete", "table": "box", "id": id(3)}, {"op": "delete", "table": "card", "id": id(4)}]);
    assert_eq!(verdict(&alice.edit(&world, "a", gone).await), "applied");
    assert_eq!(
        world.count(
            "SELECT (SELECT count(*) FROM page) + (SELECT count(*) FROM picture) + (SELECT count(*) FROM box) + (SELECT count(*) FROM card)"
        ),
        0
    );
}

#[tokio::test]
async fn i4_long_chains_within_a_table_are_written_in_any_order() {
    let world = World::new();
    let mut alice = Client::new("alice", 1);
    alice.edit(&world, "a", json!([{"op": "create", "table": "page", "id": id(5_000), "set": {"title": "root"}}])).await;
    // Required references against the order of the ids, over several statements; and nullable ones, likewise.
    let mut edits = vec![];
    for n in (1..=400).rev() {
        let up = if n == 400 { json!({"page": id(5_000)}) } else { json!({"node": id(n + 1)}) };
        edits.push(json!({"op": "create", "table": "node", "id": id(n), "set": {"up": up}}));
        edits.push(json!({"op": "create", "table": "box", "id": id(1_000 + n), "set": {"parent": if n == 400 { json!(null) } else { json!(id(1_001 + n)) }}}));
    }
    let answer = alice.edit(&world, "a", json!(edits)).await;
    assert_eq!(verdict(&answer), "applied");
    assert_eq!(world.count("SELECT count(*) FROM node JOIN node AS up ON up.id = node.up_node"), 399);
    assert_eq!(world.count("SELECT count(*) FROM box JOIN box AS up ON up.id = box.parent"), 399);
    let outcome = alice
        .edit(&world, "a", json!([{"op": "delete", "table": "page", "id": id(5_000)}, {"op": "delete", "table": "box", "id": id(1_400)}]))
        .await;
    assert_eq!(verdict(&outcome), "applied");
    assert_eq!(world.count("SELECT (SELECT count(*) FROM node) + (SELECT count(*) FROM box)"), 0);
}

/// So that a database can be divided by space.
#[tokio::test]
async fn n2_every_key_and_index_begins_with_the_space() {
    let world = World::new();
    let db = world.db();
    let sql = match db.dialect() {
        Dialect::Sqlite => {
            "SELECT m.name || ' ' || i.name, c.name FROM sqlite_master AS m, pragma_index_list(m.name) AS i, pragma_index_info(i.name) AS c \
             WHERE m.type = 'table' AND c.seqno = 0"
        }
        Dialect::Postgres => {
            "SELECT t.relname || ' ' || c.relname, CAST(a.attname AS TEXT) FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid \
             JOIN pg_class AS t ON t.oid = i.indrelid JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = i.indkey[0] \
             WHERE t.relnamespace = current_schema()::regnamespace"
        }
    };
    let firsts = db.all(sql, &[], |row| Ok((row.text(0)?.into_owned(), row.text(1)?.into_owned()))).unwrap();
    // Who looks for a space by its name does not know its number yet; a migration is of no space; the full-text index is one, whose words
    // name the space; and what is due is looked for in all spaces.
    let others = ["_space ", "_system ", "_migration ", "_search_idx ", "_search_config ", "_search _search.words", "_effect _effect.due"];
    let of_spaces = |name: &str| !others.iter().any(|other| name.starts_with(other));
    let others: Vec<_> = firsts.iter().filter(|(name, column)| of_spaces(name) && column != "space").collect();
    assert!(others.is_empty(), "{others:?}");
    assert!(firsts.iter().filter(|(name, _)| of_spaces(name)).count() > 12, "{firsts:?}");
}
