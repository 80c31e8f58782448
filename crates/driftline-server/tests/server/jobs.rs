//! What is done beside the pushes: it is done for each space by itself, and a fault passes with its cause.

use crate::findings::found;
use crate::world::{Client, World, card, id, open, token, verdict};
use driftline_server::db::{Dialect, Insert, Param};
use driftline_server::{Keeping, Server};
use serde_json::{Value as Json, json};

const KEPT: u64 = 10;

fn keeping(world: &World) -> (World, Server) {
    let mut config = world.config.clone();
    config.keeping = Keeping { revisions: KEPT, versions: 0, ..Keeping::default() };
    let server = open(&config);
    let router = server.router();
    (World { directory: tempfile::tempdir().unwrap(), config, router, schema: world.schema.clone() }, server)
}

/// Spaces `s0` and on, each with so many more revisions in its log that nobody made by hand.
fn lengthen(world: &World, spaces: std::ops::Range<i64>, revisions: i64) {
    let db = world.db();
    let digest = Param::Hash(0);
    for n in spaces {
        let name = format!("s{n}");
        db.begin_writing().unwrap();
        let new = "INSERT INTO _space (name, rev, horizon, digest, schema) VALUES (?1, 0, 0, ?2, 1) ON CONFLICT (name) DO NOTHING";
        db.execute(new, &[name.as_str().into(), digest.clone()]).unwrap();
        let (id, rev) =
            db.one("SELECT id, rev FROM _space WHERE name = ?1", &[name.as_str().into()], |row| Ok((row.int(0)?, row.int(1)?))).unwrap();
        let columns = &["space", "rev", "part", "actor", "seq", "hash", "schema", "changes"];
        let mut values: Vec<Param> = Vec::new();
        for rev in rev + 1..=rev + revisions {
            values.extend([id.into(), rev.into(), 0i64.into(), 0i64.into(), rev.into(), digest.clone(), 1i64.into(), "[]".into()]);
        }
        db.insert(Insert { table: "_log", columns, conflict: "" }, &values).unwrap();
        db.execute("UPDATE _space SET rev = ?2 WHERE id = ?1", &[id.into(), (rev + revisions).into()]).unwrap();
        db.commit().unwrap();
    }
}

/// The lengths of all logs.
fn lengths(world: &World) -> Vec<i64> {
    let sql = "SELECT (SELECT count(*) FROM _log AS l WHERE l.space = s.id) FROM _space AS s ORDER BY s.id";
    world.db().all(sql, &[], |row| row.int(0)).unwrap()
}

/// Has the database refuse to prune one space, and returns what makes it stop refusing.
fn spoil(world: &World, space: &str) -> &'static str {
    let db = world.db();
    let number = world.number(space);
    match db.dialect() {
        Dialect::Sqlite => {
            db.batch(&format!(
                "CREATE TRIGGER spoiled BEFORE DELETE ON _log WHEN old.space = {number} BEGIN SELECT RAISE(ABORT, 'a bad row'); END"
            ))
            .unwrap();
            "DROP TRIGGER spoiled"
        }
        Dialect::Postgres => {
            db.batch(&format!(
                "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'a bad row'; END $$; \
                 CREATE TRIGGER spoiled BEFORE DELETE ON _log FOR EACH ROW WHEN (OLD.space = {number}) EXECUTE FUNCTION spoil()"
            ))
            .unwrap();
            "DROP TRIGGER spoiled ON _log; DROP FUNCTION spoil()"
        }
    }
}

pub async fn figure(world: &World, line: &str) -> f64 {
    let (_, text) = world.request("GET", "/metrics", Some(&token("alice")), "").await;
    let told = text.lines().find_map(|told| told.strip_prefix(line).map(|value| value.trim().parse().unwrap()));
    told.unwrap_or(0.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn t2_one_bad_space_among_a_hundred_keeps_no_other_from_being_pruned() {
    let world = World::new();
    lengthen(&world, 0..100, 40);
    let mend = spoil(&world, "s50");
    let (world, server) = keeping(&world);
    server.jobs().await;
    let expected = |bad: i64| (0..100).map(|n| if n == 50 { bad } else { KEPT as i64 }).collect::<Vec<_>>();
    assert_eq!(lengths(&world), expected(40), "the others are pruned in the same tick");
    let faults = || async { figure(&world, "driftline_jobs_total{job=\"prune\",result=\"failed\"} ").await };
    let before = faults().await;
    assert!(before >= 1.0);
    assert_eq!(figure(&world, "driftline_last_prune ").await, 0.0, "not all is pruned, and health says so");
    // A thousand faults later the loop still runs, and each of them was counted.
    for _ in 0..1_000 {
        server.jobs().await;
    }
    assert!(faults().await >= before + 1_000.0);
    lengthen(&world, 0..100, 30);
    server.jobs().await;
    assert_eq!(lengths(&world), expected(70));
    world.db().batch(mend).unwrap();
    server.jobs().await;
    server.jobs().await;
    assert_eq!(lengths(&world), expected(KEPT as i64), "nothing is stale two ticks after the fault");
    assert!(figure(&world, "driftline_last_prune ").await > 0.0);
    assert_eq!(found(&world), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn t3_who_comes_from_beyond_the_horizon_reloads_and_still_delivers_what_waited() {
    let world = World::new();
    let (world, server) = keeping(&world);
    let (mut alice, mut bob) = (Client::new("alice", 1), Client::new("bob", 2));
    assert_eq!(verdict(&alice.edit(&world, "a", json!([card(1)])).await), "applied");
    // Sent and settled, but the answer was lost; and one more that was never sent.
    let lost = alice.unit(json!([card(2)]));
    let receipt = alice.receipt.clone();
    alice.send(&world, "a", vec![lost.clone()]).await;
    alice.receipt = receipt;
    alice.cursor = json!(1);
    for n in 100..160 {
        bob.edit(&world, "a", json!([card(n)])).await;
    }
    bob.edit(&world, "a", json!([{"op": "delete", "table": "card", "id": id(1)}])).await;
    for n in 160..200 {
        bob.edit(&world, "a", json!([card(n)])).await;
    }
    server.jobs().await;
    assert_eq!(world.count("SELECT horizon FROM _space"), 93);
    assert_eq!(world.count("SELECT count(*) FROM _log"), KEPT as i64);
    assert_eq!(world.count("SELECT count(*) FROM _deleted"), 0);
    let late = alice.unit(json!([card(3)]));
    let gone = alice.unit(json!([{"op": "update", "table": "card", "id": id(1), "set": {"text": "late"}}]));
    let answer = alice.send(&world, "a", vec![lost, late, gone]).await;
    assert_eq!(answer["reload"], true);
    let told: Vec<Json> = answer["outcomes"].as_array().unwrap().clone();
    assert_eq!((verdict(&told[0]), told[0]["rev"].clone()), ("applied".to_string(), json!(2)), "by its mark, which pruning leaves alone");
    assert_eq!(verdict(&told[1]), "applied");
    assert_eq!(verdict(&told[2]), "refused row_unknown");
    assert_eq!(world.count("SELECT count(*) FROM card"), 102);
    let mut carol = Client::new("carol", 3);
    carol.cursor = json!(92);
    assert_eq!(carol.send(&world, "a", vec![]).await["reload"], true);
    carol.cursor = json!(93);
    assert_eq!(carol.send(&world, "a", vec![]).await["reload"], false);
    assert_eq!(found(&world), [""; 0]);
}
