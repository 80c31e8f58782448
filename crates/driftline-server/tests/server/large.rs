//! Large deletes: answered at once, carried out in the background, never seen half.

use crate::findings::found;
use crate::world::{Client, World, id, row, verdict};
use driftline_core::schema::Schema;
use driftline_core::wire::read_snapshot;
use driftline_server::db::Param;
use serde_json::{Value as Json, json};
use std::ops::Range;
use std::time::{Duration, Instant};

pub const PUBLISHING: &str = include_str!("../../../../tests/schemas/publishing/schema.json");
pub const AUTHOR: u64 = 1;
pub const ORGANIZATION: u64 = 2;

pub fn create(table: &str, n: u64, set: Json) -> Json {
    json!({"op": "create", "table": table, "id": id(n), "set": set})
}

pub fn delete(table: &str, n: u64) -> Json {
    json!({"op": "delete", "table": table, "id": id(n)})
}

/// An author with an organization, and articles 10, 20, …
pub async fn site(world: &World, articles: u64) -> Client {
    let mut client = Client::new("alice", 1);
    let mut edits = vec![create("user", AUTHOR, json!({})), create("organization", ORGANIZATION, json!({}))];
    for article in 1..=articles {
        edits.push(create("article", article * 10, json!({"user": id(AUTHOR), "organization": id(ORGANIZATION)})));
    }
    assert_eq!(verdict(&client.edit(world, "a", json!(edits)).await), "applied");
    client
}

/// Page views of an article, as a counter of views would write them: past the clients, which do not hold them.
pub fn view(world: &World, article: u64, from: u64, count: u64) {
    let counts = [("article", "page_views", article), ("user", "page_views", AUTHOR)];
    let cells = [("seconds", Param::Int(1)), ("article", row(article).into()), ("user", row(AUTHOR).into())];
    plant(world, "page_view", from..from + count, &cells, &counts);
}

/// Votes on an article.
pub fn vote(world: &World, article: u64, from: u64, count: u64) {
    plant(world, "rating_vote", from..from + count, &[("article", row(article).into())], &[("article", "rating_votes", article)]);
}

fn plant(world: &World, table: &str, ids: Range<u64>, cells: &[(&str, Param)], counts: &[(&str, &str, u64)]) {
    world.plant(table, ids.clone(), cells);
    for (table, column, n) in counts {
        let sql = format!("UPDATE \"{table}\" SET {column} = {column} + ?3 WHERE space = ?1 AND id = ?2");
        world.db().execute(&sql, &[world.number("a").into(), row(*n).into(), Param::Int(ids.clone().count() as i64)]).unwrap();
    }
    world.adopt();
}

/// Comments, a chain as long as it is wide, with a reaction on each.
async fn discuss(world: &World, client: &mut Client, article: u64, from: u64, count: u64) {
    let mut units = Vec::new();
    for n in 0..count {
        let parent = if n % 30 == 0 { Json::Null } else { json!(id(from + n - 1)) };
        let comment = create("comment", from + n, json!({"subject": {"article": id(article)}, "parent": parent}));
        let reaction = create("reaction", 1_000_000 + from + n, json!({"to": {"comment": id(from + n)}}));
        units.push(client.unit(json!([comment, reaction])));
    }
    for units in units.chunks(1_000) {
        let answer = client.send(world, "a", units.to_vec()).await;
        assert!(answer["outcomes"].as_array().unwrap().iter().all(|outcome| outcome["outcome"] == "applied"));
    }
}

pub fn until_done(world: &World) {
    let began = Instant::now();
    while world.count("SELECT count(*) FROM _dying") > 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "the background does not come to an end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Every reference leads to a row, and the digest is that of the rows.
pub fn assert_sound(world: &World, digest: Option<&str>) {
    assert_eq!(found(world), [""; 0]);
    let stored = format!("{:032x}", world.db().one("SELECT digest FROM _space", &[], |row| row.hash(0)).unwrap());
    assert_eq!(stored, world.digest("a"));
    assert!(digest.is_none_or(|digest| digest == stored));
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_row_with_very_much_below_it_goes_at_once_for_everybody() {
    let world = World::of(PUBLISHING);
    let mut alice = site(&world, 2).await;
    view(&world, 10, 10_000, 40_000);
    view(&world, 20, 1_000, 7);
    discuss(&world, &mut alice, 10, 100, 50).await;
    // Somebody keeps the writer, so that the background cannot begin.
    let answer = alice.edit(&world, "a", json!([delete("article", 10)])).await;
    assert_eq!(verdict(&answer), "applied");
    let lock = world.lock();
    let left = world.count("SELECT count(*) FROM page_view WHERE article = (SELECT id FROM _dying)");
    let snapshot = world.snapshot("a").await;
    let schema = Schema::parse(PUBLISHING).unwrap();
    let seen = read_snapshot(&schema, &snapshot).unwrap();
    assert!(!snapshot.contains(&id(10)), "neither the article nor a reference to it is to be seen");
    assert!(!snapshot.contains("\"page_view\""), "clients do not hold those");
    let comments = seen.rows.iter().filter(|(key, _)| schema.tables[key.table as usize].name == "comment");
    assert_eq!(comments.count(), 50, "comments stay, and lose their subject");
    lock.roll_back().unwrap();
    assert!(left > 0, "the test was too late to see anything");
    // The digest of what is seen is that of the rows once they are gone.
    until_done(&world);
    assert_sound(&world, Some(&format!("{:032x}", seen.digest.0)));
    assert_eq!(world.count("SELECT count(*) FROM page_view"), 7);
    assert_eq!(world.count("SELECT count(*) FROM article"), 1);
    assert_eq!(world.count("SELECT count(*) FROM _deleted WHERE tbl = 'page_view'"), 40_000);
    let changes = world.text("SELECT changes FROM _log ORDER BY rev DESC LIMIT 1").unwrap();
    let gone = json!({"op": "delete_tree", "table": "article", "id": id(10)});
    let counted = json!({"op": "update", "table": "user", "id": id(AUTHOR), "set": {"page_views": 7}});
    assert_eq!(serde_json::from_str::<Json>(&changes).unwrap(), json!([gone, counted]));
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_nothing_can_be_hung_on_what_is_dying() {
    let world = World::of(PUBLISHING);
    let mut alice = site(&world, 1).await;
    discuss(&world, &mut alice, 10, 100, 4).await;
    let comment = alice.edit(&world, "a", json!([create("poll", 500, json!({"article": id(10)}))])).await;
    assert_eq!(verdict(&comment), "applied");
    view(&world, 10, 10_000, 3_000);
    // The article is marked by hand, so that nothing takes it away while the test looks.
    let dying = [world.number("a").into(), row(10).into()];
    world.db().execute("INSERT INTO _dying VALUES (?1, 'article', ?2, 1)", &dying).unwrap();
    let mut verdicts = Vec::new();
    for edit in [
        create("poll", 501, json!({"article": id(10)})),
        create("poll_option", 502, json!({"poll": id(500)})),
        json!({"op": "update", "table": "article", "id": id(10), "set": {"title": "late"}}),
        json!({"op": "update", "table": "poll", "id": id(500), "set": {"question": "late"}}),
        delete("poll", 500),
        json!({"op": "update", "table": "comment", "id": id(100), "set": {"text": "still here"}}),
    ] {
        let outcome = alice.edit(&world, "a", json!([edit])).await;
        verdicts.push(format!("{} {}", verdict(&outcome), outcome["notices"].as_array().map_or(0, Vec::len)));
    }
    let refused = "refused missing_parent 0";
    assert_eq!(verdicts, [refused, refused, "applied 1", "applied 1", "applied 0", "applied 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_large_delete_is_judged_as_a_small_one_is() {
    let world = World::of(PUBLISHING);
    let mut alice = site(&world, 1).await;
    view(&world, 10, 10_000, 3_000);
    let credit = alice.edit(&world, "a", json!([create("credit", 600, json!({"organization": id(ORGANIZATION)}))])).await;
    assert_eq!(verdict(&credit), "applied");
    // 3,000 rows would lose their user, so that this is a large one; what forbids deleting the organization does not matter to it.
    let outcome = alice.edit(&world, "a", json!([delete("organization", ORGANIZATION)])).await;
    assert_eq!(verdict(&outcome), "refused restricted");
    let all = json!([delete("organization", ORGANIZATION), delete("credit", 600), delete("user", AUTHOR)]);
    let outcome = alice.edit(&world, "a", all).await;
    assert_eq!(verdict(&outcome), "applied", "what forbids it goes with it: {outcome}");
    until_done(&world);
    assert_sound(&world, None);
    let left =
        ["user", "article", "page_view", "credit", "organization"].map(|table| world.count(&format!("SELECT count(*) FROM \"{table}\"")));
    assert_eq!(left, [0; 5]);
}

const PINNED: &str = r#"{"name": "pinned", "version": 1, "tables": {
  "board": {},
  "note": {"references": {"board": {"to": ["board"], "on_delete": "cascade"}}},
  "pin": {"references": {
    "board": {"to": ["board"], "nullable": true, "on_delete": "cascade"},
    "note": {"to": ["note"], "on_delete": "restrict"}}}
}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn i4_what_forbids_a_large_delete_is_found_wherever_it_hangs() {
    let world = World::of(PINNED);
    let mut alice = Client::new("alice", 1);
    let mut units = vec![alice.unit(json!([create("board", 1, json!({}))]))];
    units.extend((0..900).map(|n| {
        let notes = (0..3).map(|i| create("note", 1_000 + 3 * n + i, json!({"board": id(1)})));
        alice.unit(notes.collect())
    }));
    alice.send(&world, "a", units).await;
    assert_eq!(world.count("SELECT count(*) FROM note"), 2_700);
    // Far below, on a row that the push would never load.
    let pin = alice.edit(&world, "a", json!([create("pin", 5, json!({"note": id(3_699)}))])).await;
    assert_eq!(verdict(&pin), "applied");
    let outcome = alice.edit(&world, "a", json!([delete("board", 1)])).await;
    assert_eq!(verdict(&outcome), "refused restricted");
    assert_eq!(outcome["problem"]["rows"], json!([{"table": "pin", "id": id(5)}]));
    assert_eq!(world.count("SELECT count(*) FROM _dying"), 0);
    let outcome = alice.edit(&world, "a", json!([delete("pin", 5), delete("board", 1)])).await;
    assert_eq!(verdict(&outcome), "applied", "what forbids it goes first: {outcome}");
    until_done(&world);
    assert_sound(&world, None);
    assert_eq!(["board", "note", "pin"].map(|table| world.count(&format!("SELECT count(*) FROM {table}"))), [0; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_a_large_delete_is_judged_by_what_its_transaction_has_done_so_far() {
    let world = World::of(PINNED);
    let mut alice = Client::new("alice", 1);
    let mut units = vec![alice.unit(json!([create("board", 1, json!({})), create("board", 2, json!({}))]))];
    units.extend((0..900).map(|n| {
        let notes = (0..3).map(|i| create("note", 1_000 + 3 * n + i, json!({"board": id(1)})));
        alice.unit(notes.collect())
    }));
    units.push(alice.unit((0..3).map(|n| create("note", 5_000 + n, json!({"board": id(2)}))).collect()));
    alice.send(&world, "a", units).await;
    let pin = |n: u64, note: u64, board: Json| create("pin", n, json!({"note": id(note), "board": board}));
    let pins = json!([pin(7, 5_000, Json::Null), pin(8, 5_001, json!(id(1)))]);
    assert_eq!(verdict(&alice.edit(&world, "a", pins).await), "applied");
    let moved = |n: u64, note: u64| json!({"op": "update", "table": "pin", "id": id(n), "set": {"note": id(note)}});
    // What comes to refer to the row forbids it.
    for come in [pin(9, 5_002, Json::Null), moved(7, 5_002)] {
        let outcome = alice.edit(&world, "a", json!([come, delete("note", 5_002), delete("board", 1)])).await;
        assert_eq!(verdict(&outcome), "refused restricted");
        assert_eq!(outcome["problem"]["rows"].as_array().unwrap().len(), 1, "{outcome}");
    }
    assert_eq!(world.count("SELECT count(*) FROM _dying"), 0);
    // One pin is moved away, the other goes along with its board.
    let all = json!([moved(7, 5_002), delete("note", 5_000), delete("board", 1), delete("note", 5_001)]);
    let outcome = alice.edit(&world, "a", all).await;
    assert_eq!(verdict(&outcome), "applied", "{outcome}");
    until_done(&world);
    assert_sound(&world, None);
    assert_eq!(["board", "note", "pin"].map(|table| world.count(&format!("SELECT count(*) FROM {table}"))), [1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_many_deletes_in_one_push_go_by_as_many_as_fit() {
    let world = World::of(PUBLISHING);
    let mut alice = site(&world, 8).await;
    for article in 1..=8 {
        view(&world, article * 10, article * 10_000, 600);
    }
    let mut waiting: Vec<Json> = (1..=8).map(|article| alice.unit(json!([delete("article", article * 10)]))).collect();
    let mut counts = Vec::new();
    while !waiting.is_empty() {
        let answer = alice.send(&world, "a", waiting.clone()).await;
        let outcomes: Vec<&str> = answer["outcomes"].as_array().unwrap().iter().map(|o| o["outcome"].as_str().unwrap()).collect();
        let applied = outcomes.iter().take_while(|outcome| **outcome == "applied").count();
        assert!(applied > 0 && outcomes[applied..].iter().all(|outcome| *outcome == "held"), "{outcomes:?}");
        waiting.drain(..applied);
        counts.push(applied);
    }
    assert!(counts.len() < 8, "each by itself: {counts:?}");
    assert_eq!(world.count("SELECT count(*) FROM _dying"), 0, "600 rows are not many");
    assert_eq!(world.count("SELECT count(*) FROM page_view"), 0);
    assert_sound(&world, None);
}
