//! What is asked often is found by an index however much there is, and takes as many statements as there are batches. The statements
//! are those that a store and a server run themselves, explained where they run and with what they are given.

use crate::large::{create, delete};
use crate::world::{Client, World, id, open, prepare_for, verdict};
use axum::Router;
use driftline_core::limits::PUSH_TXNS;
use driftline_core::schema::Schema;
use driftline_core::wire::read_push;
use driftline_server::db::{Db, Dialect, Param, Watch};
use driftline_server::log::read_changes;
use driftline_server::store::{Moment, Store};
use driftline_server::tables::Layout;
use driftline_server::{Faults, Keeping};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::timeout;

const SCHEMA: &str = r#"{"name": "plans", "version": 1, "tables": {
  "board": {"fields": {"name": {"type": "text", "default": ""}}, "counts": {"notes": {"of": "note.board"}}},
  "tag": {},
  "note": {"fields": {"text": {"type": "text", "default": ""}}, "references": {
    "board": {"to": ["board"], "on_delete": "cascade"},
    "up": {"to": ["note"], "nullable": true, "on_delete": "cascade"},
    "tag": {"to": ["tag"], "nullable": true, "on_delete": "set_null"}}},
  "pin": {"references": {
    "note": {"to": ["note"], "on_delete": "restrict"},
    "board": {"to": ["board"], "nullable": true, "on_delete": "cascade"}}},
  "link": {"references": {"of": {"to": ["note", "board"], "on_delete": "cascade"}}}
}}"#;

const SPACES: u64 = 100;
/// The tables that are looked at. PostgreSQL reads those of a page or two, which come first, as a whole.
const TABLES: [&str; 11] = ["_space", "_dying", "_client", "_mark", "_log", "_deleted", "board", "tag", "note", "pin", "link"];
const SMALL_TABLES: usize = 2;
/// What wants every row there is: the jobs look at all spaces, and count for the metrics once a minute.
const WANT_ALL: [&str; 5] = [
    "SELECT space, tbl, id, rev FROM _dying",
    "SELECT id, name FROM _space ORDER BY id",
    "SELECT id, name FROM _space AS s WHERE rev > (SELECT coalesce(max(rev), 0) FROM _version AS v WHERE v.space = s.id)",
    "SELECT count(*) FROM _mark",
    "SELECT count(*) FROM _dying",
];

/// What has to be asked by whatever is done below; then what its plan names on SQLite and on PostgreSQL. Nothing: any index will do,
/// for the table is small, or the rows are many enough for PostgreSQL to read them with others of their space.
const HOT: [(&str, &str, &str); 26] = [
    ("FROM _space WHERE name = ?1", "sqlite_autoindex__space_1 (name=?)", ""),
    ("FROM _space WHERE id = ?1", "PRIMARY KEY (rowid=?)", ""),
    ("FROM _client WHERE space = ?1 AND principal", "_client USING PRIMARY KEY (space=? AND principal=? AND client=?)", "_client_pkey"),
    ("max(actor)", "_client.actor (space=?)", "\"_client.actor\""),
    ("FROM _mark WHERE space = ?1 AND actor = ?2 AND seq IN rarray", "PRIMARY KEY (space=? AND actor=? AND seq=?)", "_mark_pkey"),
    ("DELETE FROM _mark", "m USING PRIMARY KEY (space=? AND actor=? AND seq>? AND seq<?)", "_mark_pkey"),
    ("FROM _log WHERE space = ?1 AND actor", "_log USING INDEX _log.key (space=? AND actor=? AND seq=?)", "\"_log.key\""),
    ("FROM _log AS l", "l USING PRIMARY KEY (space=? AND rev>? AND rev<?)", "_log_pkey"),
    ("FROM _log AS l", "_client.actor (space=? AND actor=?)", ""),
    ("SELECT id, tbl FROM _deleted", "_deleted USING PRIMARY KEY (space=? AND id=?)", "_deleted_pkey"),
    ("DELETE FROM _deleted WHERE space = ?1 AND tbl", "_deleted USING PRIMARY KEY (space=? AND id=? AND tbl=?)", "_deleted_pkey"),
    ("FROM _dying WHERE space = ?1 LIMIT 1", "_dying USING PRIMARY KEY (space=?)", ""),
    ("FROM _dying AS d", "d USING PRIMARY KEY (space=? AND tbl=? AND id=?)", ""),
    ("FROM \"note\" WHERE space = ?1 AND \"id\" IN rarray(?2) LIMIT", "PRIMARY KEY (space=? AND id=?)", "\"note:key\""),
    ("FROM \"note\" WHERE space = ?1 AND \"board\" IN rarray(?2) LIMIT", "_note.board (space=? AND board=?)", "\"_note.board\""),
    ("FROM \"note\" WHERE space = ?1 AND \"up\" IN rarray(?2) LIMIT", "_note.up (space=? AND up=?)", "\"_note.up\""),
    ("FROM \"note\" WHERE space = ?1 AND \"tag\" IN rarray(?2) LIMIT", "_note.tag (space=? AND tag=?)", "\"_note.tag\""),
    ("up (child_tbl, child, tbl, id)", "c USING PRIMARY KEY (space=? AND id=?)", "\"note:key\""),
    ("u.first, 2, c.\"up\"", "c USING PRIMARY KEY (space=? AND id=?)", "\"note:key\""),
    ("going (tbl, id)", "_note.board (space=? AND board=?)", "\"_note.board\""),
    ("going (head_tbl, head, tbl, id)", "_pin.note (space=? AND note=?)", "\"_note.up\""),
    ("UPDATE \"board\" SET \"notes\"", "board USING PRIMARY KEY (space=? AND id=?)", "\"board:key\""),
    ("SELECT count(*) FROM \"note\"", "note USING COVERING INDEX", ""),
    ("SELECT id, \"up\" FROM \"note\"", "_note.up (space=? AND up=?)", ""),
    ("DELETE FROM \"note\"", "note USING PRIMARY KEY (space=? AND id=?)", ""),
    // What SQLite looks up for the foreign keys.
    ("DELETE FROM \"note\"", "_pin.note (space=? AND note=?)", ""),
];

/// A world with tables and no server, so that nothing takes away what is dying.
pub fn unserved(schema: &str) -> World {
    let (directory, config) = prepare_for(schema);
    World { directory, config, router: Router::new(), schema: schema.to_string() }
}

struct Direct {
    schema: Arc<Schema>,
    store: Store,
}

impl Direct {
    fn open(world: &World) -> Direct {
        let schema = Arc::new(Schema::parse(&world.schema).unwrap());
        let layout = Arc::new(Layout::new(&schema, world.config.data.dialect()).unwrap());
        Direct { store: Store::open(&world.config.data, schema.clone(), layout).unwrap(), schema }
    }

    /// Pushes, and returns the verdicts.
    fn push(&self, client: &mut Client, space: &str, units: Vec<Json>) -> Vec<String> {
        let push = read_push(&self.schema, &client.push(units)).unwrap();
        self.store.db().begin_writing().unwrap();
        let plan = self.store.push(space, "alice", &push, Moment { now_ms: 2_000, random: 7 }, &Faults::default()).unwrap().unwrap();
        self.store.db().commit().unwrap();
        client.receipt = json!(format!("{:016x}", plan.clients[0].receipts.current.unwrap()));
        plan.outcomes.iter().map(|outcome| verdict(&serde_json::from_str(&format!("{{{}}}", outcome.1)).unwrap())).collect()
    }
}

/// Statements with their plans.
type Seen = Arc<Mutex<BTreeSet<(String, Vec<String>)>>>;

fn watch(seen: &Seen) -> Watch {
    let seen = seen.clone();
    Watch::new(move |db, sql, params| {
        // The check at the start goes through everything, and is in no hurry.
        if std::thread::current().name() == Some("check")
            || !["SELECT", "WITH", "UPDATE", "DELETE"].iter().any(|word| sql.starts_with(word))
        {
            return;
        }
        let plans = explain(db, sql, params).into_iter().map(|plan| (sql.to_string(), plan));
        seen.lock().unwrap().extend(plans);
    })
}

/// PostgreSQL has two: for what is given now, and, after some turns, for whatever may be given.
fn explain(db: &Db, sql: &str, params: &[Param]) -> Vec<Vec<String>> {
    if db.dialect() == Dialect::Sqlite {
        return vec![lines(db, &format!("EXPLAIN QUERY PLAN {sql}"), params, 3)];
    }
    let own = lines(db, &format!("EXPLAIN (COSTS OFF) {sql}"), params, 0);
    let any = if params.is_empty() { String::new() } else { format!("({})", vec!["NULL"; params.len()].join(", ")) };
    db.batch("SET plan_cache_mode = force_generic_plan").unwrap();
    db.execute(&format!("PREPARE looked_at AS {sql}"), &[]).unwrap();
    let generic = lines(db, &format!("EXPLAIN (COSTS OFF) EXECUTE looked_at{any}"), &[], 0);
    db.batch("DEALLOCATE looked_at; RESET plan_cache_mode").unwrap();
    vec![own, generic]
}

/// Their beginnings: lists of ids stand in them.
fn lines(db: &Db, sql: &str, params: &[Param], at: usize) -> Vec<String> {
    db.all(sql, params, |row| Ok(row.text(at)?.chars().take(200).collect())).unwrap_or_else(|error| panic!("{error}: {sql}"))
}

/// So many rows `r (space, k)` for each space; `k` begins at 0.
fn rows(dialect: Dialect, each: u64) -> String {
    let last = SPACES * each - 1;
    let numbers = match dialect {
        Dialect::Sqlite => format!("(WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {last}) SELECT i FROM n)"),
        Dialect::Postgres => format!("generate_series(0, {last})"),
    };
    format!("(SELECT 1 + i / {each} AS space, i % {each} AS k FROM {numbers} AS i) AS r")
}

/// What [`id`] makes of a number.
fn id_of(dialect: Dialect, number: &str) -> String {
    match dialect {
        Dialect::Sqlite => format!("unhex(printf('0199aaaabbbb7ccc8ddd%012x', {number}))"),
        Dialect::Postgres => format!("CAST('0199aaaabbbb7ccc8ddd' || lpad(to_hex({number}), 12, '0') AS UUID)"),
    }
}

/// A million rows of the log, 10,000 in each of 100 spaces, and what goes with them. Everybody's numbers 1 to 100 are settled, and 1 to
/// 90 are closed. A board has 20 notes; from the 50th on it also has a pin that forbids its delete. In spaces 1 and 2, boards 0
/// and 1 have 2,100 notes more, all under tag 0.
fn fill(world: &World) {
    let dialect = world.config.data.dialect();
    let (hash, yes) = match dialect {
        Dialect::Sqlite => ("zeroblob(16)", "1"),
        Dialect::Postgres => ("decode(repeat('00', 16), 'hex')", "true"),
    };
    let (id, rows) = (|number: &str| id_of(dialect, number), |each: u64| rows(dialect, each));
    let [k, up, tag, tenfold, half, twentieth] = ["k", "k - 1", "k % 100", "k * 10", "k / 2", "k / 20"].map(id);
    let [new, old, odd, first] = ["10000 + k", "1000000 + k", "k % 2", "0"].map(id);
    let clock = "'0.0000000000000000.0'";
    let outcome = r#"'"outcome":"applied","rev":1,"notices":[]'"#;
    let note = "note (space, id, text, board, tag, up, _clock)";
    let db = world.config.data.connect_for_long().unwrap();
    let insert = |into: &str, cells: &str, from: &str| db.batch(&format!("INSERT INTO {into} SELECT {cells} FROM {from}")).unwrap();
    db.begin_writing().unwrap();
    insert("_space (name, rev, horizon, digest, schema)", &format!("'s' || space, 10000, 0, {hash}, 1"), &rows(1));
    insert("_client", "space, 'alice', k + 1, k + 1, 1, NULL, NULL, '[[1,90]]'", &rows(100));
    insert("_mark", &format!("space, 1 + k / 10, 91 + k % 10, {hash}, {yes}, {outcome}"), &rows(1_000));
    insert("_log", &format!("space, k + 1, 0, 1 + k % 100, 1 + k / 100, {hash}, 1, '[]'"), &rows(10_000));
    insert("_deleted", &format!("space, {old}, 'note', 1"), &rows(1_000));
    insert("board (space, id, name, notes, _clock)", &format!("space, {k}, '', 20, {clock}"), &rows(100));
    insert("tag (space, id, _clock)", &format!("space, {k}, {clock}"), &rows(100));
    let ups = format!("CASE WHEN k % 4 > 0 THEN {up} END");
    insert(note, &format!("space, {k}, '', {twentieth}, {tag}, {ups}, {clock}"), &rows(2_000));
    insert(note, &format!("space, {new}, '', {odd}, {first}, NULL, {clock}"), &format!("{} WHERE space <= 2", rows(4_200)));
    let boards = format!("CASE WHEN k < 100 OR k % 2 = 0 THEN {half} END");
    insert("pin (space, id, board, note, _clock)", &format!("space, {k}, {boards}, {tenfold}, {clock}"), &rows(200));
    let of = format!("CASE WHEN k % 2 = 0 THEN {tenfold} END, CASE WHEN k % 2 = 1 THEN {half} END");
    insert("link (space, id, of_note, of_board, _clock)", &format!("space, {k}, {of}, {clock}"), &rows(200));
    db.commit().unwrap();
}

fn update(table: &str, n: u64, set: Json) -> Json {
    json!({"op": "update", "table": table, "id": id(n), "set": set})
}

/// Pushes of every kind, the last of them large deletes and what comes while these are under way; and the log from its middle.
fn edit(direct: &Direct, space: &str) {
    let mut alice = Client::new("alice", 1);
    (alice.seq, alice.closed) = (100, json!([[1, 92]]));
    let all = json!([
        create("board", 5_000, json!({})),
        create("tag", 5_000, json!({})),
        create("note", 5_000, json!({"board": id(5_000), "tag": id(5_000), "up": id(40)})),
        create("pin", 5_000, json!({"note": id(5_000)})),
        create("link", 5_000, json!({"of": {"note": id(5_000)}})),
    ]);
    let moved = json!([update("note", 120, json!({"board": id(7)})), update("note", 125, json!({"up": id(10_000)}))]);
    let restore = json!([{"op": "restore", "table": "note", "id": id(1_000_002), "set": {"board": id(8)}}]);
    let mut units: Vec<Json> = [
        all,
        json!([update("note", 100, json!({"text": "x", "tag": id(7)}))]),
        moved,
        json!([delete("tag", 9)]),
        json!([delete("board", 3)]),
        json!([delete("board", 60)]),
        json!([update("note", 1_000_001, json!({"text": "y"}))]),
        restore,
        json!([update("board", 8, json!({"name": "x"}))]),
    ]
    .map(|edits| alice.unit(edits))
    .to_vec();
    units[8]["after"] = json!([[0, 95]]);
    let other = Client::body(json!([update("board", 8, json!({"name": "y"}))]));
    units.extend([96, 5].map(|seq| json!({"txns": [{"key": [0, seq], "body": other}], "after": []})));
    let verdicts = direct.push(&mut alice, space, units.clone());
    let (applied, refused, reused) = ("applied", "refused restricted", "refused key_reused");
    assert_eq!(verdicts, [applied, applied, applied, applied, applied, refused, applied, applied, applied, reused, reused]);
    assert_eq!(direct.push(&mut alice, space, units), verdicts, "sent once more");
    let verdicts = [
        json!([update("note", 200, json!({"text": "z"})), delete("board", 0)]),
        json!([update("note", 0, json!({"text": "late"})), create("note", 5_001, json!({"board": id(8)}))]),
        json!([delete("board", 1)]),
        json!([delete("tag", 0)]),
    ]
    .map(|edits| vec![alice.unit(edits)])
    .map(|units| direct.push(&mut alice, space, units).concat());
    assert_eq!(verdicts, [applied; 4]);
    let changes = read_changes(&direct.store, space, "alice", 5_000, None).unwrap();
    assert_eq!((changes.rows.len(), changes.more), (2_000, true));
}

/// A space that somebody has measured may be small enough to be gone through.
fn trouble_of_sqlite(sql: &str, line: &str, is_measured: bool) -> Option<String> {
    let mut words = line.split(' ');
    let (how, name) = (words.next()?, words.next()?);
    let stands_for = |table: &&str| sql.contains(&format!("{table} AS {name} ")) || sql.contains(&format!("\"{table}\" AS {name} "));
    if !TABLES.contains(&name) && !TABLES.iter().any(stands_for) {
        return None;
    }
    let wants_all = sql.ends_with("WHERE space = ?1") || name == "_dying";
    match how {
        "SCAN" => Some(format!("it goes through all of {name}")),
        "SEARCH" if line.contains(" AUTOMATIC ") => Some(format!("it makes an index of {name}")),
        "SEARCH" if line.contains("(space=?)") && !wants_all && !is_measured => Some(format!("it goes through a whole space of {name}")),
        _ => None,
    }
}

/// Of the first of these lines; what it looks for in an index stands in the second.
fn trouble_of_postgres(plan: &[String]) -> Option<String> {
    let (line, next) = (&plan[0], plan.get(1).map_or("", |next| next.trim_start()));
    if let Some((_, scanned)) = line.split_once("Seq Scan on ") {
        let table = scanned.split(' ').next().unwrap_or_default().trim_matches('"');
        return TABLES[SMALL_TABLES..].contains(&table).then(|| format!("it goes through all of {table}"));
    }
    let is_index = line.contains("Index Scan ") || line.contains("Index Only Scan ");
    (is_index && !next.starts_with("Index Cond: ")).then(|| "it goes through a whole index".to_string())
}

fn judge(dialect: Dialect, seen: &BTreeSet<(String, Vec<String>)>, is_measured: bool) {
    for (sql, plan) in seen.iter().filter(|(sql, _)| !WANT_ALL.contains(&sql.as_str())) {
        let trouble = match dialect {
            Dialect::Sqlite => plan.iter().find_map(|line| trouble_of_sqlite(sql, line, is_measured)),
            Dialect::Postgres => (0..plan.len()).find_map(|at| trouble_of_postgres(&plan[at..])),
        };
        assert_eq!(trouble, None, "measured: {is_measured}\n{sql}\n{}", plan.join("\n"));
    }
    for (asked, sqlite, postgres) in HOT {
        let index = if dialect == Dialect::Sqlite { sqlite } else { postgres };
        let mut plans = seen.iter().filter(|(sql, _)| sql.contains(asked)).peekable();
        assert!(plans.peek().is_some(), "measured: {is_measured}: nothing asked {asked}");
        for (sql, plan) in plans {
            let is_used = plan.iter().any(|line| line.contains(index));
            assert!(is_used, "measured: {is_measured}: not by {index}\n{sql}\n{}", plan.join("\n"));
        }
    }
}

/// Without `ANALYZE`, which the server never runs on SQLite, and with it.
#[tokio::test(flavor = "multi_thread")]
async fn c1_each_hot_query_names_its_index_at_a_million_log_rows() {
    let mut world = unserved(SCHEMA);
    world.config.keeping = Keeping { versions: 0, ..Keeping::default() };
    fill(&world);
    assert_eq!(["_log", "_mark", "note"].map(|t| world.count(&format!("SELECT count(*) FROM {t}"))), [1_000_000, 100_000, 208_400]);
    for (space, is_measured) in [("s1", false), ("s2", true)] {
        if is_measured {
            world.db().batch("ANALYZE").unwrap();
        }
        let seen = Seen::default();
        let direct = Direct::open(&world);
        direct.store.db().set_watch(Some(watch(&seen)));
        edit(&direct, space);
        drop(direct);
        assert_eq!(world.count("SELECT count(*) FROM _dying"), 3);
        // A server finds what is dying, and takes it away.
        world.config.watch = Some(watch(&seen));
        let server = open(&world.config);
        world.router = server.router();
        world.snapshot(space).await;
        timeout(Duration::from_secs(120), server.jobs()).await.expect("the jobs come to an end");
        assert_eq!(world.count("SELECT count(*) FROM _dying"), 0);
        world.snapshot(space).await;
        server.stop().await.unwrap();
        judge(world.config.data.dialect(), &seen.lock().unwrap(), is_measured);
    }
}

fn wide(fields: usize) -> String {
    let fields: Map<String, Json> = (0..fields).map(|n| (format!("f{n}"), json!({"type": "int", "default": 0}))).collect();
    json!({"name": "wide", "version": 1, "tables": {"item": {"fields": fields}}}).to_string()
}

/// Rows of 4 columns go by 250; those of 303 by as many as SQLite has variables for.
#[test]
fn c2_any_number_of_edits_takes_statements_by_the_batch() {
    for (fields, batch, txn_edits) in [(1, 250, 1), (1, 250, 1_000), (300, 105, 1_000)] {
        let world = unserved(&wide(fields));
        let direct = Direct::open(&world);
        for n in [1_u64, 499, 500, 501, 5_000] {
            let mut alice = Client::new("alice", 1);
            for what in ["create", "update", "delete"] {
                let edit = |n: u64| match what {
                    "create" => create("item", n, json!({})),
                    "update" => update("item", n, json!({"f0": n})),
                    _ => delete("item", n),
                };
                let edits: Vec<Json> = (1..=n).map(edit).collect();
                let units: Vec<Json> = edits.chunks(txn_edits).map(|edits| alice.unit(json!(edits))).collect();
                let before = direct.store.db().statements();
                for units in units.chunks(PUSH_TXNS) {
                    let verdicts = direct.push(&mut alice, &format!("s{n}"), units.to_vec());
                    assert!(verdicts.iter().all(|verdict| verdict == "applied"), "{n} {what}: {verdicts:?}");
                }
                let taken = direct.store.db().statements() - before;
                let (txns, pushes) = (units.len() as u64, units.chunks(PUSH_TXNS).len() as u64);
                let most = 20 * pushes + n.div_ceil(batch) + 2 * txns.div_ceil(250);
                assert!(taken <= most, "{n} edits ({what}) of {fields} fields, {txn_edits} together: {taken} statements, not {most}");
            }
            assert_eq!(world.count("SELECT count(*) FROM item"), 0);
            assert_eq!(world.count("SELECT count(*) FROM _log"), world.count("SELECT CAST(sum(rev) AS BIGINT) FROM _space"));
        }
    }
}
