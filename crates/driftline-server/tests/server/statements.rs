//! Whatever writes is one transaction: with an error at each of its statements in turn it leaves what was before or what is after, and the
//! next attempt does the rest. A push by itself is in `commit`, and what fills the index of words in `search`.

use crate::findings::found;
use crate::jobs::figure;
use crate::large::{create, delete};
use crate::plans::unserved;
use crate::world::{self, Client, SCHEMA, World, card, id, open, token, verdict};
use driftline_core::schema::Schema;
use driftline_core::wire::{read_push, read_snapshot};
use driftline_server::check::adopt_over;
use driftline_server::db::{Db, Dialect};
use driftline_server::store::{Moment, Store};
use driftline_server::tables::Layout;
use driftline_server::{Faults, Keeping, Server};
use futures_util::future::join_all;
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// What a writer's clock and chance decide in an edit of the server's own: stamps, hashes of bodies, numbers.
const DRAWN: [&str; 3] = ["_clock", "hash", "seq"];

/// A server of which each writer fails at its nth statement, once.
fn start(world: &mut World, nth: Option<u64>) -> Server {
    world.config.faults.fail_statement = nth;
    let server = open(&world.config);
    world.router = server.router();
    server
}

/// A world in which these edits have taken effect, with no server any more, and who made them.
async fn prepared(schema: &str, edits: Vec<Json>) -> (World, Client) {
    let mut world = unserved(schema);
    let server = start(&mut world, None);
    let mut alice = Client::new("alice", 1);
    for edits in edits {
        assert_eq!(verdict(&alice.edit(&world, "a", edits).await), "applied");
    }
    server.stop().await.unwrap();
    (world, alice)
}

/// Something of each kind to do, where there are cards 1 and 2.
fn work() -> Json {
    let update = json!({"op": "update", "table": "card", "id": id(2), "set": {"x": 7}});
    json!([card(3), update, delete("card", 1), create("box", 4, json!({"main": id(3)}))])
}

async fn post(world: &World, path: &str) -> (u16, String) {
    world.request("POST", &format!("/v1/spaces/a/{path}"), Some(&token("alice")), "").await
}

fn tables(db: &Db) -> Vec<String> {
    let sql = match db.dialect() {
        Dialect::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name",
        Dialect::Postgres => "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1",
    };
    let names = db.all(sql, &[], |row| Ok(row.text(0)?.into_owned())).unwrap();
    // Nothing is searched for here, and SQLite's index is no table to copy.
    names.into_iter().filter(|name| !name.starts_with("_search")).collect()
}

/// The rows of all tables as they were, to begin with once more.
struct Saved {
    /// The copies are temporary, and go with their connection.
    db: Db,
    put_back: String,
}

impl Saved {
    fn of(world: &World) -> Saved {
        let db = world.db();
        let names = tables(&db);
        let (careless, empty) = match db.dialect() {
            Dialect::Sqlite => ("PRAGMA foreign_keys = OFF", format!("DELETE FROM \"{}\"", names.join("\"; DELETE FROM \""))),
            // Rows then stand in the order of the copies, and not wherever there is room.
            Dialect::Postgres => ("SET session_replication_role = replica", format!("TRUNCATE \"{}\"", names.join("\", \""))),
        };
        db.batch(careless).unwrap();
        let mut put_back = format!("BEGIN; {empty}");
        for name in &names {
            db.batch(&format!("CREATE TEMP TABLE \"saved:{name}\" AS SELECT * FROM \"{name}\"")).unwrap();
            let is_numbered = db.dialect() == Dialect::Postgres && name == "_space";
            let own = if is_numbered { " OVERRIDING SYSTEM VALUE" } else { "" };
            put_back += &format!("; INSERT INTO \"{name}\"{own} SELECT * FROM \"saved:{name}\"");
        }
        Saved { db, put_back: put_back + "; COMMIT" }
    }

    fn put_back(&self) {
        self.db.batch(&self.put_back).unwrap();
    }
}

/// What a dump says without the columns that two runs have no reason to agree in.
fn rows(world: &World, but: &[&str]) -> String {
    let db = world.db();
    let tables = tables(&db);
    let is_wanted = |table: &str| table != "_client" && tables.iter().any(|wanted| wanted == table);
    world::rows(&db, is_wanted, |column| !but.contains(&column))
}

/// Waits until a job has run in the first look of the server's, and says whether it has failed. The next look is far away.
async fn has_failed(world: &World, job: &str) -> bool {
    for _ in 0..2_000 {
        let failed = figure(world, &format!("driftline_jobs_total{{job=\"{job}\",result=\"failed\"}} ")).await;
        let done = figure(world, &format!("driftline_jobs_total{{job=\"{job}\",result=\"done\"}} ")).await;
        if failed + done > 0.0 {
            return failed > 0.0;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{job} does not run");
}

/// Has a job of one transaction fail at each statement: all is as before, and the next look of the same server does it. Returns how many
/// statements have failed.
async fn fail_job(world: &mut World, job: &str, but: &[&str]) -> u64 {
    let (saved, before) = (Saved::of(world), world.dump());
    saved.put_back();
    let server = start(world, None);
    assert!(!has_failed(world, job).await);
    let after = rows(world, but);
    server.stop().await.unwrap();
    let mut nth = 0;
    loop {
        nth += 1;
        saved.put_back();
        let server = start(world, Some(nth));
        let failed = has_failed(world, job).await;
        if failed {
            assert!(world.dump() == before, "{job} leaves a part of itself at statement {nth}");
            server.jobs().await;
        }
        assert!(rows(world, but) == after, "{job} does not come to its end after statement {nth}");
        assert_eq!(found(world), [""; 0], "statement {nth}");
        server.stop().await.unwrap();
        if !failed {
            return nth - 1;
        }
    }
}

/// The same for a request, which is made again at the same server.
async fn fail_post(world: &mut World, path: &str, but: &[&str]) -> u64 {
    let (saved, before) = (Saved::of(world), world.dump());
    saved.put_back();
    let server = start(world, None);
    let (told, after) = (post(world, path).await, rows(world, but));
    server.stop().await.unwrap();
    assert_eq!(told.0, 200, "{}", told.1);
    let mut nth = 0;
    loop {
        nth += 1;
        saved.put_back();
        let server = start(world, Some(nth));
        let mut answer = post(world, path).await;
        let failed = answer.0 == 500;
        if failed {
            assert!(world.dump() == before, "{path} leaves a part of itself at statement {nth}");
            answer = post(world, path).await;
        }
        assert_eq!(answer, told, "statement {nth}");
        assert!(rows(world, but) == after, "{path} does not come to its end after statement {nth}");
        assert_eq!(found(world), [""; 0], "statement {nth}");
        server.stop().await.unwrap();
        if !failed {
            return nth - 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t1_pruning_that_fails_at_any_statement_leaves_before_or_after() {
    let made = (1..=12).map(|n| json!([card(n)]));
    let gone = (1..=3).map(|n| json!([delete("card", n)]));
    let later = (13..=18).map(|n| json!([card(n)]));
    let (mut world, _) = prepared(SCHEMA, made.chain(gone).chain(later).collect()).await;
    let sums = |world: &World| {
        ["SELECT horizon FROM _space", "SELECT count(*) FROM _log", "SELECT count(*) FROM _deleted"].map(|sql| world.count(sql))
    };
    assert_eq!(sums(&world), [0, 21, 3]);
    world.config.keeping = Keeping { revisions: 4, ..Keeping::default() };
    let failed = fail_job(&mut world, "prune", &[]).await;
    assert!(failed > 6, "{failed} statements are too few");
    assert_eq!(sums(&world), [17, 4, 0]);
}

/// A space of three revisions, of which the first two are kept.
async fn kept() -> World {
    let mut world = unserved(SCHEMA);
    let server = start(&mut world, None);
    let mut alice = Client::new("alice", 1);
    for n in 1..=3 {
        assert!(n == 1 || post(&world, "versions").await.0 == 200);
        assert_eq!(verdict(&alice.edit(&world, "a", json!([card(n)])).await), "applied");
    }
    server.stop().await.unwrap();
    assert_eq!(versions(&world), [1, 2]);
    world
}

fn versions(world: &World) -> Vec<i64> {
    world.db().all("SELECT rev FROM _version ORDER BY rev", &[], |row| row.int(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn t1_keeping_a_version_by_the_job_fails_at_any_statement_as_a_whole() {
    let mut world = kept().await;
    world.config.keeping = Keeping { versions: 2, version_every: Duration::ZERO, ..Keeping::default() };
    let failed = fail_job(&mut world, "version", &["at"]).await;
    assert!(failed > 3, "{failed} statements are too few");
    assert_eq!(versions(&world), [2, 3], "the oldest goes with the same commit");
}

#[tokio::test(flavor = "multi_thread")]
async fn t1_keeping_a_version_on_demand_fails_at_any_statement_as_a_whole() {
    let mut world = kept().await;
    world.config.keeping = Keeping { versions: 2, ..Keeping::default() };
    let failed = fail_post(&mut world, "versions", &["at"]).await;
    assert!(failed > 4, "{failed} statements are too few");
    assert_eq!(versions(&world), [2, 3], "the oldest goes with the same commit");
}

/// What a first load shows: the revision, the digest, and the rows in no order.
async fn seen(world: &World) -> (u64, u128, Vec<String>) {
    let schema = Schema::parse(&world.schema).unwrap();
    let snapshot = read_snapshot(&schema, &world.snapshot("a").await).unwrap();
    let mut rows: Vec<String> = snapshot.rows.iter().map(|(key, row)| format!("{key:?} {:?}", row.values)).collect();
    rows.sort();
    (snapshot.rev, snapshot.digest.0, rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn t1_going_back_to_a_version_fails_at_any_statement_as_a_whole() {
    let mut world = unserved(SCHEMA);
    let server = start(&mut world, None);
    let mut alice = Client::new("alice", 1);
    let first = json!([
        create("box", 1, json!({})),
        create("box", 2, json!({"parent": id(1)})),
        create("card", 3, json!({"box": id(2), "text": "then"})),
        create("connection_type", 4, json!({"name": "t"})),
        create("connection", 5, json!({"type": id(4), "from": {"box": id(2)}, "to": {"card": id(3)}})),
    ]);
    assert_eq!(verdict(&alice.edit(&world, "a", first).await), "applied");
    assert_eq!(post(&world, "versions").await.0, 200);
    let then = seen(&world).await;
    let update = json!({"op": "update", "table": "card", "id": id(3), "set": {"text": "now"}, "add": {"count": 2}});
    let since = json!([update, create("card", 7, json!({})), delete("box", 1)]);
    assert_eq!(verdict(&alice.edit(&world, "a", since).await), "applied");
    assert!(seen(&world).await.2 != then.2);
    server.stop().await.unwrap();
    let failed = fail_post(&mut world, "versions/1/restore", &DRAWN).await;
    assert!(failed > 30, "{failed} statements are too few");
    let server = start(&mut world, None);
    let now = seen(&world).await;
    assert_eq!((now.0, now.1, now.2), (3, then.1, then.2), "it is one revision more, and what it was");
    server.stop().await.unwrap();
}

/// Items that hang on one, and notes that lose an item with it.
const TREE: &str = r#"{"name": "tree", "version": 1, "tables": {
  "item": {"references": {"up": {"to": ["item"], "nullable": true, "on_delete": "cascade"}}},
  "note": {"references": {"item": {"to": ["item"], "nullable": true, "on_delete": "set_null"}}}
}}"#;

/// A space in which item 1 is dying, with 2,400 more and three notes to see to.
async fn dying() -> World {
    let mut edits = vec![json!([create("item", 1, json!({}))])];
    for part in 1..=3 {
        let items = (0..800).map(|n| create("item", part * 1_000 + n, json!({"up": id(1)})));
        edits.push(items.collect());
    }
    edits.push((1..=3).map(|n| create("note", 9_000 + n, json!({"item": id(1_000)}))).collect());
    let (world, mut alice) = prepared(TREE, edits).await;
    // Past the server, whose jobs would go on with it at once.
    let schema = Arc::new(Schema::parse(TREE).unwrap());
    let layout = Arc::new(Layout::new(&schema, world.config.data.dialect()).unwrap());
    let store = Store::open(&world.config.data, schema.clone(), layout).unwrap();
    let unit = alice.unit(json!([delete("item", 1)]));
    let push = read_push(&schema, &alice.push(vec![unit])).unwrap();
    store.db().begin_writing().unwrap();
    let plan = store.push("a", "alice", &push, Moment { now_ms: 2_000, random: 7 }, &Faults::default()).unwrap().unwrap();
    store.db().commit().unwrap();
    assert!(plan.outcomes[0].1.contains("applied"), "{:?}", plan.outcomes);
    world
}

/// Items, and notes that refer to one.
fn left(world: &World) -> [i64; 2] {
    ["SELECT count(*) FROM item", "SELECT count(*) FROM note WHERE item IS NOT NULL"].map(|sql| world.count(sql))
}

#[tokio::test(flavor = "multi_thread")]
async fn t1_a_large_delete_that_fails_at_any_statement_stops_between_two_batches_and_nobody_sees_it() {
    let mut world = dying().await;
    let (saved, before) = (Saved::of(&world), world.dump());
    let server = start(&mut world, None);
    assert!(!has_failed(&world, "reap").await);
    let (shown, after) = (seen(&world).await, world.dump());
    server.stop().await.unwrap();
    assert_eq!((shown.2.len(), left(&world)), (3, [0, 0]), "the notes stay");
    let mut stages: Vec<([i64; 2], String)> = Vec::new();
    let mut nth = 0;
    loop {
        nth += 1;
        saved.put_back();
        let server = start(&mut world, Some(nth));
        let failed = has_failed(&world, "reap").await;
        assert_eq!(seen(&world).await, shown, "statement {nth}");
        assert_eq!(found(&world), [""; 0], "statement {nth}");
        if failed {
            let stage = (left(&world), world.dump());
            if stages.last() != Some(&stage) {
                stages.push(stage);
            }
            server.jobs().await;
        }
        assert!(world.dump() == after, "it does not come to its end after statement {nth}");
        server.stop().await.unwrap();
        if !failed {
            break;
        }
    }
    assert!(nth > 40, "{nth} statements are too few");
    let counts: Vec<[i64; 2]> = stages.iter().map(|stage| stage.0).collect();
    assert_eq!(counts, [[2_401, 3], [2_401, 0], [1_401, 0], [401, 0]], "one state before each transaction, and no other");
    assert!(stages[0].1 == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn t1_an_edit_of_the_servers_own_that_fails_at_any_statement_is_applied_once() {
    let (mut world, _) = prepared(SCHEMA, vec![json!([card(1), card(2)])]).await;
    let saved = Saved::of(&world);
    let mut clean = None;
    for nth in 0.. {
        saved.put_back();
        let server = start(&mut world, (nth > 0).then_some(nth));
        assert_eq!(server.editor("import").write("a", &work()).await, Ok(2), "statement {nth}");
        let now = rows(&world, &DRAWN);
        assert!(now == *clean.get_or_insert_with(|| now.clone()), "something is missing, or is there twice, after statement {nth}");
        assert_eq!(found(&world), [""; 0], "statement {nth}");
        let attempts = figure(&world, "driftline_commit_seconds_count ").await;
        server.stop().await.unwrap();
        if nth > 0 && attempts == 1.0 {
            assert!(nth > 15, "{nth} statements are too few");
            break;
        }
        assert_eq!(attempts, if nth == 0 { 1.0 } else { 2.0 }, "statement {nth}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t1_an_edit_of_the_servers_own_that_is_committed_and_said_to_have_failed_is_applied_once() {
    let (mut world, _) = prepared(SCHEMA, vec![json!([card(1), card(2)])]).await;
    world.config.faults.fail_after_commit = Some(1);
    let server = start(&mut world, None);
    let add = json!([{"op": "update", "table": "card", "id": id(1), "add": {"count": 1}}]);
    assert_eq!(server.editor("import").write("a", &add).await, Ok(2));
    assert_eq!(figure(&world, "driftline_commit_seconds_count ").await, 2.0, "it was tried again");
    assert_eq!(world.count(&format!("SELECT count FROM card WHERE id = {}", world.literal(1))), 1);
    assert_eq!(world.count("SELECT rev FROM _space"), 2);
    assert_eq!(found(&world), [""; 0]);
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn t1_what_follows_a_push_that_failed_at_any_statement_commits_nothing_of_it() {
    let (mut world, mut alice) = prepared(SCHEMA, vec![json!([card(1), card(2)])]).await;
    alice.closed = json!([[1, 1]]);
    let unit = alice.unit(work());
    let mut other = Client::new("alice", 2);
    let others = other.unit(json!([card(9)]));
    let (first, second) = (alice.push(vec![unit]), other.push(vec![others]));
    let saved = Saved::of(&world);
    let server = start(&mut world, None);
    assert_eq!(world.post("a", second.clone()).await.0, 200);
    let only_second = world.dump();
    assert_eq!(world.post("a", first.clone()).await.0, 200);
    let both = world.dump();
    server.stop().await.unwrap();
    let mut nth = 0;
    loop {
        nth += 1;
        saved.put_back();
        let server = start(&mut world, Some(nth));
        let (status, answer) = world.post("a", first.clone()).await;
        if status != 200 {
            assert_eq!((status, answer["code"].as_str()), (500, Some("internal")), "statement {nth}");
            assert_eq!(world.post("a", second.clone()).await.0, 200, "statement {nth}");
            assert!(world.dump() == only_second, "the next commit has something of what failed at statement {nth}");
            assert_eq!(world.post("a", first.clone()).await.0, 200, "statement {nth}");
            assert!(world.dump() == both, "statement {nth}");
            assert_eq!(found(&world), [""; 0], "statement {nth}");
        }
        server.stop().await.unwrap();
        if status == 200 {
            break;
        }
    }
    assert!(nth > 15, "{nth} statements are too few");
}

/// Pushes that are sent while the database is locked: a writer takes the first, and the others wait as a group.
async fn at_once(world: &World, pushes: &[(&str, String)]) -> Vec<(u16, Json)> {
    let lock = world.lock();
    let all = join_all(pushes.iter().map(|(space, push)| world.post(space, push.clone())));
    let release = async {
        sleep(Duration::from_millis(200)).await;
        lock.commit().unwrap();
    };
    tokio::join!(all, release).0
}

/// A push of one card by a client that is in the space for the first time.
fn push_of(n: u64) -> String {
    let mut client = Client::new("alice", 100 + n);
    let unit = client.unit(json!([card(100 + n)]));
    client.push(vec![unit])
}

#[tokio::test(flavor = "multi_thread")]
async fn t1_a_group_that_fails_at_any_statement_is_tried_push_by_push_and_doubles_nothing() {
    let (mut world, _) = prepared(SCHEMA, vec![json!([card(1)])]).await;
    let pushes: Vec<(&str, String)> = (1..=3).map(|n| ("a", push_of(n))).collect();
    let sums = |world: &World| {
        ["SELECT count(*) FROM card", "SELECT count(*) FROM _log", "SELECT rev FROM _space", "SELECT count(*) FROM _mark"]
            .map(|sql| world.count(sql))
    };
    let saved = Saved::of(&world);
    let (mut nth, mut groups) = (0, 0);
    loop {
        nth += 1;
        saved.put_back();
        let server = start(&mut world, Some(nth));
        let answers = at_once(&world, &pushes).await;
        let refused: Vec<usize> = (0..3).filter(|i| answers[*i].0 != 200).collect();
        // Who was alone hears of it. A group is tried again, and by then nothing fails.
        assert!(refused.len() <= 1, "statement {nth}: {answers:?}");
        assert_eq!(sums(&world), [4 - refused.len() as i64; 4], "statement {nth}");
        for at in &refused {
            assert_eq!((answers[*at].0, answers[*at].1["code"].as_str()), (500, Some("internal")), "statement {nth}");
            assert_eq!(world.post("a", pushes[*at].1.clone()).await.0, 200, "statement {nth}");
        }
        assert_eq!(sums(&world), [4; 4], "statement {nth}");
        assert_eq!(found(&world), [""; 0], "statement {nth}");
        let failed_groups = figure(&world, "driftline_failed_groups_total ").await;
        server.stop().await.unwrap();
        groups += u32::from(failed_groups > 0.0);
        if refused.is_empty() && failed_groups == 0.0 {
            break;
        }
    }
    assert!(groups > 15, "{groups} statements of groups are too few");
}

/// Has the database refuse new cards in one space, and returns what makes it stop refusing.
fn spoil(world: &World, space: &str) -> &'static str {
    let (db, number) = (world.db(), world.number(space));
    let (spoil, mend) = match db.dialect() {
        // FAIL keeps what the statement has done so far, so that only the rollback can take it back.
        Dialect::Sqlite => (
            format!("CREATE TRIGGER spoiled AFTER INSERT ON card WHEN new.space = {number} BEGIN SELECT RAISE(FAIL, 'a bad space'); END"),
            "DROP TRIGGER spoiled",
        ),
        Dialect::Postgres => (
            format!(
                "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'a bad space'; END $$; \
                 CREATE TRIGGER spoiled AFTER INSERT ON card FOR EACH ROW WHEN (NEW.space = {number}) EXECUTE FUNCTION spoil()"
            ),
            "DROP FUNCTION spoil CASCADE",
        ),
    };
    db.batch(&spoil).unwrap();
    mend
}

#[tokio::test(flavor = "multi_thread")]
async fn t1_the_fault_of_one_space_in_a_group_costs_the_others_nothing() {
    const BAD: &str = "s3";
    // Each of PostgreSQL's writers has several of them.
    let spaces = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"];
    let mut world = unserved(SCHEMA);
    let server = start(&mut world, None);
    for space in spaces {
        assert_eq!(verdict(&Client::new("alice", 1).edit(&world, space, json!([card(1)])).await), "applied");
    }
    let sums = |world: &World, space: &str| {
        let number = world.number(space);
        ["card", "_log", "_mark", "_client"].map(|table| world.count(&format!("SELECT count(*) FROM {table} WHERE space = {number}")))
    };
    let mend = spoil(&world, BAD);
    let pushes: Vec<(&str, String)> = (1..=3).flat_map(|n| spaces.map(|space| (space, push_of(n)))).collect();
    for ((space, _), (status, answer)) in pushes.iter().zip(at_once(&world, &pushes).await) {
        match *space {
            BAD => assert_eq!((status, answer["code"].as_str()), (500, Some("internal"))),
            _ => assert_eq!((status, verdict(&answer["outcomes"][0]).as_str()), (200, "applied"), "{space}: {answer}"),
        }
    }
    assert!(figure(&world, "driftline_failed_groups_total ").await >= 1.0, "no group has failed");
    for space in spaces {
        assert_eq!(sums(&world, space), [if space == BAD { 1 } else { 4 }; 4], "{space}");
    }
    assert_eq!(found(&world), [""; 0]);
    world.db().batch(mend).unwrap();
    for (space, push) in pushes.iter().filter(|push| push.0 == BAD) {
        assert_eq!(world.post(space, push.clone()).await.0, 200);
    }
    assert_eq!(sums(&world, BAD), [4; 4]);
    assert_eq!(found(&world), [""; 0]);
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn t1_taking_rows_as_they_are_fails_at_any_statement_as_a_whole() {
    let (world, _) = prepared(SCHEMA, vec![json!([card(1), card(2)])]).await;
    world.db().batch("UPDATE card SET text = 'by hand'").unwrap();
    let (schema, saved, before) = (Schema::parse(SCHEMA).unwrap(), Saved::of(&world), world.dump());
    let mut clean = None;
    for nth in 0.. {
        saved.put_back();
        let db = world.db();
        db.fail_statement((nth > 0).then_some(nth));
        let mut adopted = adopt_over(&db, &schema, "a");
        let failed = adopted.is_err();
        if failed {
            assert!(world.dump() == before, "it leaves a part of itself at statement {nth}");
            adopted = adopt_over(&db, &schema, "a");
        }
        assert_eq!(adopted, Ok(2), "statement {nth}");
        let now = world.dump();
        assert!(now == *clean.get_or_insert_with(|| now.clone()), "statement {nth}");
        assert_eq!(found(&world), [""; 0], "statement {nth}");
        if nth > 0 && !failed {
            assert!(nth > 40, "{nth} statements are too few");
            break;
        }
    }
}

/// What is told to another: a push notes it, and a thread takes it and strikes it out.
#[cfg(feature = "webhooks")]
mod told {
    use super::{Saved, prepared, start, work};
    use crate::effects::{Receiver, SECRET, receiver, until_told_again};
    use crate::findings::found;
    use crate::world::{SCHEMA, card};
    use driftline_server::db::Watch;
    use driftline_server::effects::Webhook;
    use serde_json::json;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// What was taken under each key, and how many calls that were.
    fn taken(receiver: &Receiver) -> (BTreeMap<String, String>, usize) {
        let taken = receiver.taken.lock().unwrap();
        let mut told = BTreeMap::new();
        for (key, body) in taken.iter() {
            let body = body.to_string();
            let before = told.insert(key.clone(), body.clone());
            assert!(before.is_none_or(|before| before == body), "{key} stands for two effects");
        }
        (told, taken.len())
    }

    /// Sees how many statements a writer had run when it last wrote down that something was told.
    fn watch(reached: &Arc<AtomicU64>) -> Watch {
        let reached = reached.clone();
        Watch::new(move |db, sql, _| {
            if sql.starts_with("UPDATE _effect") || sql.starts_with("DELETE FROM _effect") {
                reached.fetch_max(db.statements(), Ordering::Relaxed);
            }
        })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn t1_effects_that_fail_at_any_statement_are_told_at_least_once_and_under_one_key() {
        let (mut world, mut alice) = prepared(SCHEMA, vec![json!([card(1), card(2)])]).await;
        let unit = alice.unit(work());
        let push = alice.push(vec![unit]);
        let (receiver, url) = receiver().await;
        let reached = Arc::new(AtomicU64::new(0));
        world.config.webhook = Some(Webhook { url, secret: SECRET.to_vec(), tables: Vec::new() });
        world.config.watch = Some(watch(&reached));
        let (saved, before) = (Saved::of(&world), world.dump());
        let (mut clean, mut refused, mut repeated) = (None, 0, 0);
        for nth in 0.. {
            saved.put_back();
            receiver.taken.lock().unwrap().clear();
            // So that one of them is put off, and told by itself.
            receiver.refuses.store(1, Ordering::Relaxed);
            reached.store(0, Ordering::Relaxed);
            let server = start(&mut world, (nth > 0).then_some(nth));
            let (status, _) = world.post("a", push.clone()).await;
            if status != 200 {
                refused += 1;
                assert_eq!((status, world.dump() == before), (500, true), "statement {nth}");
                assert_eq!(world.post("a", push.clone()).await.0, 200, "statement {nth}");
            }
            until_told_again(&world).await;
            let (told, calls) = taken(&receiver);
            assert_eq!(told.len(), 4, "statement {nth}: {told:?}");
            let now = (told, world.dump());
            assert!(now == *clean.get_or_insert_with(|| now.clone()), "statement {nth}: {:?}", now.0);
            assert_eq!(found(&world), [""; 0], "statement {nth}");
            server.stop().await.unwrap();
            repeated += u32::from(calls > 4);
            // The statement after the last one is the commit.
            let is_past_the_end = nth > reached.load(Ordering::Relaxed) + 1;
            if nth == 0 || (status == 200 && is_past_the_end) {
                assert_eq!(calls, 4, "where nothing fails each is told once");
            }
            if status == 200 && is_past_the_end {
                assert!(nth > 20, "{nth} statements are too few");
                break;
            }
        }
        assert!(refused > 15 && repeated > 5, "{refused} pushes and {repeated} calls that failed are too few");
    }
}
