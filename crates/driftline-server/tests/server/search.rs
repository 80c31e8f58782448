//! Search: what it finds is what the rows say, whichever way they came, on both databases.

use crate::jobs::figure;
use crate::world::{Client, World, id, open, token, verdict};
use driftline_core::schema::Schema;
use driftline_core::value::RowId;
use driftline_server::db::Dialect;
use driftline_server::{Search, Server, check};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

fn world(rows_at_once: usize) -> (World, Server) {
    let mut world = World::set(|config| config.search = Some(Search { rows_at_once }));
    let server = open(&world.config);
    world.router = server.router();
    (world, server)
}

/// What a question finds: rows by their numbers, and whether it is stale.
async fn find(world: &World, space: &str, asked: &str) -> (Vec<u64>, bool) {
    let asked: String = asked.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let (status, text) = world.request("GET", &format!("/v1/spaces/{space}/search?q={asked}"), Some(&token("alice")), "").await;
    assert_eq!(status, 200, "{text}");
    let found: Json = serde_json::from_str(&text).unwrap();
    let number = |row: &Json| (RowId::parse(row["id"].as_str().unwrap()).unwrap().0 & 0xffff_ffff) as u64;
    (found["rows"].as_array().unwrap().iter().map(number).collect(), found["stale"].as_bool().unwrap())
}

fn card(n: u64, text: &str) -> Json {
    json!({"op": "create", "table": "card", "id": id(n), "set": {"text": text}})
}

#[tokio::test(flavor = "multi_thread")]
async fn c3_search_finds_words_of_the_space_and_what_begins_with_the_last() {
    let (world, _server) = world(100);
    let mut alice = Client::new("alice", 1);
    let texts = [
        (1, "Plan the launch"),
        (2, "plan B: Größe 12 µm"),
        (3, "planet"),
        (4, "crème brûlée"),
        (5, "日本語のノート"),
        (6, "it's a \"quoted\" * (thing) | & ! :word"),
        (7, "İstanbul"),
        (8, "a\u{0}b"),
    ];
    let cards: Vec<Json> = texts.iter().map(|(n, text)| card(*n, text)).collect();
    assert_eq!(verdict(&alice.edit(&world, "a", json!(cards)).await), "applied");
    alice.edit(&world, "b", json!([card(20, "plan of another space ~1")])).await;
    for (asked, expected) in [
        ("plan", vec![3, 2, 1]),
        ("plan ", vec![2, 1]),
        ("PLAN la", vec![1]),
        ("größe", vec![2]),
        ("µ", vec![2]),
        ("12", vec![2]),
        ("creme", vec![]),
        ("crè", vec![4]),
        ("日本", vec![5]),
        ("quoted thing", vec![6]),
        ("\"*(|&!:", vec![]),
        ("~1", vec![2]),
        ("s\" OR \"plan", vec![]),
        ("word'", vec![6]),
        ("istanbul", vec![7]),
        ("b", vec![8, 4, 2]),
        ("", vec![]),
        ("another", vec![]),
    ] {
        assert_eq!(find(&world, "a", asked).await, (expected, false), "{asked}");
    }
    assert_eq!(find(&world, "nobody", "plan").await, (vec![], false));
    let (status, text) = world.request("GET", "/v1/spaces/a/search?q=plan&limit=2", Some(&token("alice")), "").await;
    assert!(status == 200 && text.contains("\"more\":true"), "{text}");
    assert_eq!(world.request("GET", "/v1/spaces/a/search", Some(&token("alice")), "").await.0, 400);
    assert_eq!(world.request("GET", "/v1/spaces/a/search?q=x", None, "").await.0, 401);
    let without = World::new();
    assert_eq!(without.request("GET", "/v1/spaces/a/search?q=x", Some(&token("alice")), "").await.0, 404);
}

/// The spaces whose index does not know what the log tells.
const BEHIND: &str = "SELECT count(*) FROM _search_space AS n JOIN _space AS s ON s.id = n.space WHERE n.rev < s.rev";

const WORDS: [&str; 7] = ["ash", "birch", "cedar", "elm", "fir", "oak", "pine"];

/// The same random history in a space: creates, changes, moves, deletes; some at once.
async fn history(world: &World, space: &str, at_once: usize) -> BTreeMap<u64, String> {
    let mut alice = Client::new("alice", 7);
    let (mut rows, mut used) = (BTreeMap::new(), BTreeSet::new());
    let mut state = 99u64;
    let mut random = |n: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % n
    };
    for _ in 0..12 {
        let mut units = Vec::new();
        for _ in 0..at_once {
            let n = random(60) + 1;
            let text = (0..3).map(|_| WORDS[random(7) as usize]).collect::<Vec<_>>().join(" ");
            let edit = match (rows.contains_key(&n), random(5)) {
                (false, _) if used.insert(n) => card(n, &text),
                // What was deleted stays so.
                (false, _) => continue,
                (true, 0) => json!({"op": "delete", "table": "card", "id": id(n)}),
                (true, _) => json!({"op": "update", "table": "card", "id": id(n), "set": {"text": text}}),
            };
            match edit["op"].as_str() {
                Some("delete") => drop(rows.remove(&n)),
                _ => drop(rows.insert(n, text)),
            }
            units.push(alice.unit(json!([edit])));
        }
        let answer = alice.send(world, space, units).await;
        assert!(answer["outcomes"].as_array().unwrap().iter().all(|outcome| outcome["outcome"] == "applied"), "{answer}");
    }
    rows
}

async fn agrees(world: &World, space: &str, rows: &BTreeMap<u64, String>) {
    for word in WORDS {
        let expected: Vec<u64> = rows.iter().rev().filter(|(_, text)| text.contains(word)).map(|(n, _)| *n).take(100).collect();
        assert_eq!(find(world, space, &format!("{word} ")).await, (expected, false), "{space}: {word}");
    }
}

fn catalog(world: &World) -> String {
    let db = world.db();
    let sql = match db.dialect() {
        Dialect::Sqlite => "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_master ORDER BY name)",
        Dialect::Postgres => {
            "SELECT string_agg(t, ';') FROM (SELECT table_name || ' ' || column_name || ' ' || data_type AS t FROM information_schema.columns \
             WHERE table_schema = current_schema() UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema() ORDER BY 1) AS x"
        }
    };
    world.text(sql).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn c3_a_catch_up_that_is_indexed_later_finds_the_same_and_makes_no_table() {
    let (world, server) = world(20);
    let before = catalog(&world);
    let small = history(&world, "small", 1).await;
    agrees(&world, "small", &small).await;
    let large = history(&world, "large", 40).await;
    assert!(find(&world, "large", "ash").await.1, "what waits is told as stale");
    assert!(world.count(BEHIND) + world.count("SELECT count(*) FROM _search_dirty") > 0);
    assert!(!find(&world, "small", "ash").await.1, "no other space is");
    server.jobs().await;
    agrees(&world, "large", &large).await;
    agrees(&world, "small", &small).await;
    assert_eq!((world.count(BEHIND), world.count("SELECT count(*) FROM _search_dirty")), (0, 0));
    assert_eq!(catalog(&world), before);
}

/// Each commit that touches the index costs more than the words of one row.
#[tokio::test(flavor = "multi_thread")]
async fn c3_new_rows_of_many_small_pushes_wait_and_those_of_a_large_one_do_not() {
    let (world, server) = world(3);
    let mut alice = Client::new("alice", 1);
    for n in 1..=5 {
        alice.edit(&world, "a", json!([card(n, "oak")])).await;
        assert_eq!(world.count(BEHIND), i64::from(n > 3), "{n}");
    }
    let many: Vec<Json> = (10..20).map(|n| card(n, "oak")).collect();
    alice.edit(&world, "a", json!(many)).await;
    assert_eq!(find(&world, "a", "oak").await, (vec![3, 2, 1], true), "what comes after what waits, waits too");
    server.jobs().await;
    assert_eq!(find(&world, "a", "oak").await, (vec![19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 5, 4, 3, 2, 1], false));
    alice.edit(&world, "b", json!(many)).await;
    assert_eq!(find(&world, "b", "oak").await, ((10..20).rev().collect(), false));
}

/// More than is read of the log in one transaction, with what has no words in between.
#[tokio::test(flavor = "multi_thread")]
async fn c3_a_long_log_is_read_in_parts() {
    let (world, server) = world(0);
    let mut alice = Client::new("alice", 1);
    for from in (0..45_000).step_by(1_000) {
        let cards: Vec<Json> = (from..from + 1_000).map(|n| card(n, if n % 9_000 == 7 { "oak" } else { "elm" })).collect();
        assert_eq!(verdict(&alice.edit(&world, "a", json!(cards)).await), "applied");
        let moved = json!({"op": "update", "table": "card", "id": id(from), "set": {"x": 5}});
        assert_eq!(verdict(&alice.edit(&world, "a", json!([moved])).await), "applied");
    }
    alice.edit(&world, "a", json!([{"op": "delete", "table": "card", "id": id(7)}])).await;
    for _ in 0..100 {
        server.jobs().await;
        if world.count(BEHIND) == 0 && world.count("SELECT count(*) FROM _search_dirty") == 0 {
            break;
        }
    }
    assert_eq!(find(&world, "a", "oak").await, ([4, 3, 2, 1].map(|n| n * 9_000 + 7).to_vec(), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn c3_the_index_comes_by_itself_once_a_space_is_quiet() {
    let (world, _server) = world(20);
    let rows = history(&world, "a", 40).await;
    for _ in 0..100 {
        if !find(&world, "a", "ash").await.1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    agrees(&world, "a", &rows).await;
}

/// Whoever wrote without search, and rows that somebody changed by hand and took over.
#[tokio::test(flavor = "multi_thread")]
async fn c4_what_a_server_without_search_has_written_is_found_out_and_indexed() {
    let (mut world, server) = world(100);
    let mut alice = Client::new("alice", 1);
    alice.edit(&world, "a", json!([card(1, "oak"), card(2, "elm")])).await;
    drop(server);
    let mut without = world.config.clone();
    without.search = None;
    world.router = open(&without).router();
    let update = json!({"op": "update", "table": "card", "id": id(1), "set": {"text": "fir"}});
    let delete = json!({"op": "delete", "table": "card", "id": id(2)});
    assert_eq!(verdict(&alice.edit(&world, "a", json!([card(3, "oak"), update, delete])).await), "applied");
    alice.edit(&world, "new", json!([card(9, "oak")])).await;
    let server = open(&world.config);
    world.router = server.router();
    server.jobs().await;
    assert_eq!(find(&world, "a", "oak").await, (vec![3], false));
    assert_eq!(find(&world, "a", "fir").await, (vec![1], false));
    assert_eq!(find(&world, "a", "elm").await, (vec![], false));
    assert_eq!(find(&world, "new", "oak").await, (vec![9], false));
    world.db().batch(&format!("UPDATE card SET text = 'pine' WHERE id = {}", world.literal(3))).unwrap();
    assert_eq!(check::adopt(&Schema::parse(&world.schema).unwrap(), &world.config.data, "a"), Ok(3));
    assert!(find(&world, "a", "pine").await.1, "what was taken over is told as stale");
    server.jobs().await;
    assert_eq!(find(&world, "a", "oak").await, (vec![], false));
    assert_eq!(find(&world, "a", "pine").await, (vec![3], false));
}

/// Leaves nothing of the index: what a fill does not do is missing from then on.
fn forget_index(world: &World) {
    let db = world.db();
    let index = match db.dialect() {
        Dialect::Sqlite => "DELETE FROM _search WHERE rowid IN (SELECT doc FROM _search_doc); DELETE FROM _search_doc",
        Dialect::Postgres => "DELETE FROM _search",
    };
    db.begin_writing().unwrap();
    db.batch(&format!("DELETE FROM _search_space; {index}")).unwrap();
    db.commit().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn c4_a_fill_that_fails_at_any_statement_delays_only_search() {
    let (mut world, server) = world(0);
    let mut alice = Client::new("alice", 1);
    let cards: Vec<Json> = (1..=30).map(|n| card(n, WORDS[n as usize % 7])).collect();
    alice.edit(&world, "a", json!(cards)).await;
    server.jobs().await;
    server.stop().await.unwrap();
    forget_index(&world);
    let expected: Vec<u64> = (1..=30).rev().filter(|n| n % 7 == 5).collect();
    let mut failed = 0;
    for nth in 1..200 {
        world.config.faults.fail_statement = Some(nth);
        let server = open(&world.config);
        world.router = server.router();
        server.jobs().await;
        // The first look has failed, and the next one has gone on from there.
        assert_eq!(find(&world, "a", "oak ").await, (expected.clone(), false), "statement {nth}");
        if figure(&world, "driftline_jobs_total{job=\"search\",result=\"failed\"} ").await == 0.0 {
            break;
        }
        failed += 1;
        server.stop().await.unwrap();
        world.config.faults.fail_statement = None;
        let server = open(&world.config);
        world.router = server.router();
        assert_eq!(verdict(&alice.edit(&world, "b", json!([card(1_000 + nth, "x")])).await), "applied");
        // Nobody looks at what is missing before the next that fails.
        server.stop().await.unwrap();
        forget_index(&world);
    }
    assert!(failed > 8, "{failed} statements are too few");
}

#[tokio::test(flavor = "multi_thread")]
async fn c4_a_log_whose_reading_fails_at_any_statement_is_read_again() {
    let (mut world, server) = world(0);
    let mut alice = Client::new("alice", 1);
    let cards: Vec<Json> = (1..=30).map(|n| card(n, "oak")).collect();
    alice.edit(&world, "a", json!(cards)).await;
    server.jobs().await;
    server.stop().await.unwrap();
    let mut failed = 0;
    for nth in 1..200 {
        // Its jobs index nothing meanwhile.
        let mut without = world.config.clone();
        (without.search, without.faults.fail_statement) = (None, None);
        let server = open(&without);
        world.router = server.router();
        let (word, row) = (format!("word{nth}"), nth % 30 + 1);
        let update = json!({"op": "update", "table": "card", "id": id(row), "set": {"text": word}});
        assert_eq!(verdict(&alice.edit(&world, "a", json!([update])).await), "applied");
        server.stop().await.unwrap();
        world.config.faults.fail_statement = Some(nth);
        let server = open(&world.config);
        world.router = server.router();
        server.jobs().await;
        assert_eq!(find(&world, "a", &word).await, (vec![row], false), "statement {nth}");
        let is_over = figure(&world, "driftline_jobs_total{job=\"search\",result=\"failed\"} ").await == 0.0;
        server.stop().await.unwrap();
        if is_over {
            break;
        }
        failed += 1;
    }
    assert!(failed > 8, "{failed} statements are too few");
}

/// It does not know their tables and texts, and they can read what it writes.
#[tokio::test(flavor = "multi_thread")]
async fn c4_beside_servers_of_a_newer_schema_an_older_one_indexes_nothing() {
    let (world, server) = world(100);
    let mut alice = Client::new("alice", 1);
    alice.edit(&world, "a", json!([card(1, "oak")])).await;
    let before = world.text("SELECT CAST(count(*) AS TEXT) FROM _migration");
    let newer = "INSERT INTO _migration (number, name, sha256, version, oldest_server, applied_at) VALUES (99, 'newer', '', 99, 1, 0)";
    world.db().batch(newer).unwrap();
    alice.edit(&world, "a", json!([card(2, "oak")])).await;
    server.jobs().await;
    assert_eq!(find(&world, "a", "oak").await, (vec![1], true));
    world.db().batch("DELETE FROM _migration WHERE number = 99").unwrap();
    assert_eq!(world.text("SELECT CAST(count(*) AS TEXT) FROM _migration"), before);
    // The space is looked at again once somebody has changed it.
    alice.edit(&world, "a", json!([card(3, "oak")])).await;
    server.jobs().await;
    assert_eq!(find(&world, "a", "oak").await, (vec![3, 2, 1], false));
}

/// Where the log does not tell all, all rows are looked at.
#[tokio::test(flavor = "multi_thread")]
async fn c4_a_hole_in_the_log_is_no_hole_in_the_index() {
    for hole in ["rev = 2", "rev >= 2"] {
        let (world, server) = world(0);
        let mut alice = Client::new("alice", 1);
        alice.edit(&world, "a", json!([card(1, "oak"), card(11, "oak")])).await;
        server.jobs().await;
        alice.edit(&world, "a", json!([card(2, "oak")])).await;
        alice.edit(&world, "a", json!([card(3, "oak")])).await;
        let rev: i64 = world.count("SELECT rev FROM _search_space");
        let sql = format!("DELETE FROM _log WHERE {}", hole.replace('2', &(rev + 1).to_string()));
        world.db().batch(&sql).unwrap();
        server.jobs().await;
        assert_eq!(find(&world, "a", "oak").await, (vec![11, 3, 2, 1], false), "{hole}");
    }
}
