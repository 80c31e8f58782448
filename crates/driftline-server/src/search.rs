//! Search over the texts of a space.
//!
//! A row is found by the words of its texts: runs of letters and digits, in lower case. A push indexes the rows that it makes, by the
//! set, and what it changes of others. Where many of these come within a second, as in a large catch-up, each would be indexed again
//! and again. So would the new rows of many small pushes cost too much: every commit that touches the index writes a segment of it. Then
//! the index falls behind: `_search_space` says up to which revision it knows everything, and such a push does not move that. When the space
//! is quiet, a job reads in the log what has changed since, puts each row once into `_search_dirty`, and indexes what waits there. Where
//! the log does not go back so far, all rows wait. So nothing is lost by a crash or by a server without search, a small push that is left
//! for later writes nothing, and search says when it is stale. A push that makes many rows while the index
//! knows everything indexes those, and puts what else it changes into `_search_dirty` itself. Beside servers of a newer version of the schema
//! one of an older indexes nothing.
//!
//! All spaces share an index. Each of its words begins with its space (`7~word`), so a look at one does not grow with the others.

use crate::db::{DbError, DbResult, Dialect, Insert, Param};
use crate::jobs::Progress;
use crate::load::read_space;
use crate::log::in_present_terms;
use crate::reap;
use crate::store::{Known, Store, StoreError};
use crate::writer::Background;
use driftline_core::edit::{Edit, Op, Values};
use driftline_core::json::Json;
use driftline_core::limits;
use driftline_core::reconcile::Plan;
use driftline_core::schema::{Kind, Schema};
use driftline_core::value::{Row, RowId, RowKey, Value};
use serde_json::json;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// Rows of one answer.
pub const FOUND_ROWS: usize = 100;
/// Words of one question; more of them find nothing that these do not.
const ASKED_WORDS: usize = 10;
/// Distinct words of one row that are kept, and the characters of one.
const ROW_WORDS: usize = 20_000;
const WORD_CHARS: usize = 64;
/// PostgreSQL keeps up to 1 MB of words of a row.
const ROW_WORDS_BYTES: usize = 800_000;
/// Rows that are indexed in one transaction: pushes wait for it no longer than for each other.
const FILL_ROWS: i64 = 2_000;
/// Rows of the log's changes that come to wait in one transaction, at most those of as many revisions and bytes as an answer has; a
/// revision is taken whole.
const GATHER_ROWS: usize = 20_000;
/// Such transactions before other spaces have their turn.
const FILL_STEPS: usize = 10;

const DIRTY: Insert = Insert { table: "_search_dirty", columns: &["space", "tbl", "id"], conflict: " ON CONFLICT DO NOTHING" };
const DOC: Insert = Insert { table: "_search_doc", columns: &["doc", "space", "tbl", "id"], conflict: "" };
const WORDS: Insert = Insert { table: "_search", columns: &["rowid", "words"], conflict: "" };

/// New rows of one push that may wait as well; of more, indexing them at once costs less than reading them back.
const MADE_FEW: usize = 5;

/// What comes within this time counts as one.
const BURST: Duration = Duration::from_secs(1);
/// Spaces whose last changes are remembered, before all are forgotten.
const BURST_SPACES: usize = 10_000;

/// What an operator sets.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    /// Where more texts of a space than this change or come, a few at a time, within a second, indexing them is left to a job.
    pub rows_at_once: usize,
}

impl Default for Search {
    fn default() -> Search {
        Search { rows_at_once: 20 }
    }
}

/// How many rows have changed in each space since a moment not long ago.
#[derive(Default)]
pub struct Bursts(RefCell<HashMap<i64, (Instant, usize)>>);

impl Bursts {
    fn count(&self, space: i64, rows: usize) -> usize {
        let mut bursts = self.0.borrow_mut();
        if bursts.len() >= BURST_SPACES {
            bursts.clear();
        }
        let now = Instant::now();
        let burst = bursts.entry(space).or_insert((now, 0));
        if now.duration_since(burst.0) > BURST {
            *burst = (now, 0);
        }
        burst.1 += rows;
        burst.1
    }
}

/// Indexes what a push has changed, in its transaction, or leaves it to the job.
pub fn note(store: &Store, space: i64, known: &Known, plan: &Plan) -> DbResult<()> {
    let Some(search) = store.search else { return Ok(()) };
    if plan.space.rev == known.rev {
        return Ok(());
    }
    let is_new = known.space.is_none();
    if is_outdated(store)? || (!is_new && noted(store, space)? != Some(known.rev)) {
        return Ok(());
    }
    let has_texts: Vec<bool> = (0..store.schema.tables.len()).map(|table| has_texts(&store.schema, table)).collect();
    let is_searched = |key: &RowKey| has_texts[key.table as usize];
    let is_kept = |row: &&(RowKey, Row)| is_searched(&row.0);
    let made = plan.inserts.iter().filter(is_kept).map(|(key, row)| (*key, Some(row)));
    let reworded = plan.updates.iter().filter(is_kept).filter(|(key, _)| plan.reworded.contains(key));
    let gone = plan.deletes.iter().filter(is_kept).map(|(key, _)| (*key, None));
    let changed: Vec<_> = reworded.map(|(key, row)| (*key, Some(row))).chain(gone).collect();
    let made: Vec<_> = made.collect();
    let makes_few = made.len() <= MADE_FEW;
    let may_wait = changed.len() + if makes_few { made.len() } else { 0 };
    if store.bursts.count(space, may_wait) <= search.rows_at_once {
        index(store, space, &[made, changed].concat())?;
    } else if makes_few {
        return Ok(());
    } else {
        index(store, space, &made)?;
        defer(store, space, changed.iter().map(|(key, _)| *key))?;
    }
    reach(store, space, plan.space.rev)
}

/// Notes that rows are gone which died before; the revision stays.
pub fn note_gone(store: &Store, space: i64, rows: &[RowKey]) -> DbResult<()> {
    if store.search.is_none() {
        // A server that searches finds out by this that it does not know everything.
        return store.db.execute("DELETE FROM _search_space WHERE space = ?1", &[space.into()]);
    }
    defer(store, space, rows.iter().copied().filter(|key| has_texts(&store.schema, key.table as usize)))
}

/// Whether servers of a newer version of the schema may be at work on the same database: these index what this one does not know, and
/// can read in the log what this one writes.
fn is_outdated(store: &Store) -> DbResult<bool> {
    store.db.exists("SELECT 1 FROM _migration WHERE version > ?1 LIMIT 1", &[store.schema.version.into()])
}

fn has_texts(schema: &Schema, table: usize) -> bool {
    let table = &schema.tables[table];
    !table.server_only && table.columns.iter().any(|column| matches!(column.kind, Kind::Text { .. }))
}

fn is_waiting(store: &Store, space: i64) -> DbResult<bool> {
    store.db.exists("SELECT 1 FROM _search_dirty WHERE space = ?1 LIMIT 1", &[space.into()])
}

fn defer(store: &Store, space: i64, rows: impl Iterator<Item = RowKey>) -> DbResult<()> {
    let mut values = Vec::new();
    for key in rows {
        values.extend([space.into(), store.schema.tables[key.table as usize].name.as_str().into(), key.id.into()]);
    }
    store.db.insert(DIRTY, &values)
}

/// Up to which revision all that has changed is indexed, or waits in `_search_dirty`.
fn noted(store: &Store, space: i64) -> DbResult<Option<u64>> {
    store.db.first("SELECT rev FROM _search_space WHERE space = ?1", &[space.into()], |row| row.bits(0))
}

fn reach(store: &Store, space: i64, rev: u64) -> DbResult<()> {
    let sql = "INSERT INTO _search_space (space, rev) VALUES (?1, ?2) ON CONFLICT (space) DO UPDATE SET rev = excluded.rev";
    store.db.execute(sql, &[space.into(), Param::bits(rev)])
}

/// Brings the index of rows up to date; `None` is a row that is not there.
fn index(store: &Store, space: i64, rows: &[(RowKey, Option<&Row>)]) -> DbResult<()> {
    let mut tables: BTreeMap<u16, Vec<(RowId, Option<String>)>> = BTreeMap::new();
    for (key, row) in rows {
        let words = row.map(|row| words_of(&store.schema, space, key.table, row));
        tables.entry(key.table).or_default().push((key.id, words));
    }
    tables.into_iter().try_for_each(|(table, rows)| index_table(store, space, &store.schema.tables[table as usize].name, rows))
}

fn index_table(store: &Store, space: i64, name: &str, rows: Vec<(RowId, Option<String>)>) -> DbResult<()> {
    let all: Vec<RowId> = rows.iter().map(|row| row.0).collect();
    let gone = Param::ids(rows.iter().filter(|(_, words)| words.is_none()).map(|(id, _)| *id));
    let (ids, words): (Vec<RowId>, Vec<String>) = rows.into_iter().filter_map(|(id, words)| Some((id, words?))).unzip();
    if store.db.dialect() == Dialect::Sqlite {
        forget_docs(store, space, name, all.into_iter())?;
        return write_docs(store, space, name, &ids, &words);
    }
    let sql = "DELETE FROM _search WHERE space = ?1 AND tbl = ?2 AND id IN rarray(?3)";
    store.db.execute(sql, &[space.into(), name.into(), gone])?;
    let sql = "INSERT INTO _search (space, tbl, id, words) SELECT ?1, ?2, t.id, array_to_tsvector(string_to_array(t.words, ' ')) \
               FROM unnest(?3::uuid[], ?4::text[]) AS t (id, words) ON CONFLICT (space, tbl, id) DO UPDATE SET words = excluded.words";
    store.db.execute(sql, &[space.into(), name.into(), Param::ids(ids), Param::texts(words)])
}

fn forget_docs(store: &Store, space: i64, table: &str, ids: impl Iterator<Item = RowId>) -> DbResult<()> {
    let sql = "SELECT doc FROM _search_doc WHERE space = ?1 AND tbl = ?2 AND id IN rarray(?3)";
    let docs = store.db.all(sql, &[space.into(), table.into(), Param::ids(ids)], |row| row.int(0))?;
    if docs.is_empty() {
        return Ok(());
    }
    let docs = Param::ints(docs);
    store.db.execute("DELETE FROM _search WHERE rowid IN rarray(?1)", std::slice::from_ref(&docs))?;
    store.db.execute("DELETE FROM _search_doc WHERE doc IN rarray(?1)", &[docs])
}

fn write_docs(store: &Store, space: i64, table: &str, ids: &[RowId], words: &[String]) -> DbResult<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let first = store.db.one("SELECT coalesce(max(doc), 0) FROM _search_doc", &[], |row| row.int(0))? + 1;
    let (mut docs, mut texts) = (Vec::new(), Vec::new());
    for (doc, (id, words)) in (first..).zip(ids.iter().zip(words)) {
        docs.extend([doc.into(), space.into(), table.into(), Param::from(*id)]);
        texts.extend([Param::from(doc), words.as_str().into()]);
    }
    store.db.insert(DOC, &docs)?;
    store.db.insert(WORDS, &texts)
}

/// The distinct words of a row, each with its space, sorted, between spaces.
fn words_of(schema: &Schema, space: i64, table: u16, row: &Row) -> String {
    let mut words = BTreeSet::new();
    let columns = &schema.tables[table as usize].columns;
    for (column, value) in columns.iter().zip(&row.values) {
        if let (Kind::Text { .. }, Value::Text(text)) = (&column.kind, value) {
            for word in split(text) {
                if words.len() == ROW_WORDS {
                    break;
                }
                words.insert(word);
            }
        }
    }
    let mut out = String::new();
    for word in words {
        let next = format!("{}{space}~{word}", if out.is_empty() { "" } else { " " });
        if out.len() + next.len() > ROW_WORDS_BYTES {
            break;
        }
        out += &next;
    }
    out
}

/// The words of a text. Both databases are given these, and split nothing themselves: so they find the same.
fn split(text: &str) -> impl Iterator<Item = String> + '_ {
    let runs = text.split(|c: char| !c.is_alphanumeric()).filter(|run| !run.is_empty());
    // In lower case some letters become two, of which one is a mark.
    runs.map(|run| run.chars().take(WORD_CHARS).flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric()).collect())
}

/// Indexes what waits in a space, some rows to a transaction.
pub fn fill(store: &Store, writer: &Background, space: i64) -> Result<Progress, StoreError> {
    for turn in 0..FILL_STEPS {
        let look = || Ok::<_, DbError>((noted(store, space)? != Some(revision(store, space, "")?.0), is_waiting(store, space)?));
        let (is_behind, is_waiting) = store.db.reading(look)?;
        if !is_behind && !is_waiting || store.db.reading(|| is_outdated(store))? {
            return Ok(Progress::Done);
        }
        // In turns: while a space is pushed to, its log goes on.
        let step = if is_behind && !(is_waiting && turn % 2 == 1) { gather } else { fill_some };
        match writer.write(space, move |store| step(store, space)) {
            None => return Ok(Progress::Stopping),
            Some(done) => done?,
        }
    }
    Ok(Progress::Later)
}

/// The revision of a space, and the first that its log goes back to.
fn revision(store: &Store, space: i64, lock: &str) -> DbResult<(u64, u64)> {
    let sql = format!("SELECT rev, horizon FROM _space WHERE id = ?1{lock}");
    store.db.one(&sql, &[space.into()], |row| Ok((row.bits(0)?, row.bits(1)?)))
}

/// Lets wait what has changed since the index knew everything, or all of it where nothing tells what that is.
fn gather(store: &Store, space: i64) -> DbResult<()> {
    let (rev, horizon) = revision(store, space, store.db.row_lock())?;
    let told = match noted(store, space)? {
        _ if is_outdated(store)? => return Ok(()),
        Some(noted) if noted == rev => return Ok(()),
        Some(noted) if noted >= horizon && noted < rev => read_log(store, space, noted)?,
        _ => None,
    };
    let Some((reached, rows)) = told else {
        all_wait(store, space)?;
        return reach(store, space, rev);
    };
    defer(store, space, rows.into_iter())?;
    reach(store, space, reached)
}

/// The rows whose words have changed after a revision, and up to which one that is; `None` where the log cannot be understood.
fn read_log(store: &Store, space: i64, noted: u64) -> DbResult<Option<(u64, BTreeSet<RowKey>)>> {
    let (mut reached, mut rows, mut is_clear, mut bytes) = (noted, BTreeSet::new(), true, 0);
    let sql = "SELECT rev, schema, changes FROM _log WHERE space = ?1 AND rev > ?2 AND rev <= ?3 ORDER BY rev, part";
    let last = noted.saturating_add(limits::CHANGES_REVISIONS as u64);
    store.db.each_while(sql, &[space.into(), Param::bits(noted), Param::bits(last)], |row| {
        let rev = row.bits(0)?;
        if rev != reached && (rows.len() >= GATHER_ROWS || bytes >= limits::CHANGES_BYTES) {
            return Ok(false);
        }
        let text = row.text(2)?;
        bytes += text.len();
        let changes = in_present_terms(&store.schema, row.number(1)?, &text).and_then(|text| read_edits(&store.schema, &text));
        is_clear = changes.is_some() && rev <= reached + 1;
        reached = rev;
        rows.extend(changes.into_iter().flatten().filter(|edit| rewords(&store.schema, edit)).map(|edit| edit.row));
        Ok::<_, DbError>(is_clear)
    })?;
    // A log with a hole tells nothing.
    Ok((is_clear && reached > noted).then_some((reached, rows)))
}

fn read_edits(schema: &Schema, text: &str) -> Option<Vec<Edit>> {
    let changes = Json::parse(text).ok()?;
    changes.as_list()?.iter().map(|change| Edit::read(schema, change, Values::Final).ok()).collect()
}

/// Whether an edit changes the words of a row.
fn rewords(schema: &Schema, edit: &Edit) -> bool {
    let columns = &schema.tables[edit.row.table as usize].columns;
    let is_text = |column: u16| matches!(columns[column as usize].kind, Kind::Text { .. });
    has_texts(schema, edit.row.table as usize) && (edit.op != Op::Update || edit.set.iter().any(|(column, _)| is_text(*column)))
}

/// All rows of a space wait. What is indexed and not there any more is found out when its turn comes.
fn all_wait(store: &Store, space: i64) -> DbResult<()> {
    for (i, table) in store.schema.tables.iter().enumerate().filter(|(i, _)| has_texts(&store.schema, *i)) {
        let name = &store.layout.table(i as u16).name;
        let sql = format!(
            "INSERT INTO _search_dirty (space, tbl, id) SELECT space, ?2, id FROM \"{name}\" WHERE space = ?1 ON CONFLICT DO NOTHING"
        );
        store.db.execute(&sql, &[space.into(), table.name.as_str().into()])?;
    }
    let indexed = if store.db.dialect() == Dialect::Sqlite { "_search_doc" } else { "_search" };
    let sql =
        format!("INSERT INTO _search_dirty (space, tbl, id) SELECT space, tbl, id FROM {indexed} WHERE space = ?1 ON CONFLICT DO NOTHING");
    store.db.execute(&sql, &[space.into()])
}

fn fill_some(store: &Store, space: i64) -> DbResult<()> {
    revision(store, space, store.db.row_lock())?;
    if is_outdated(store)? {
        return Ok(());
    }
    let sql = "SELECT tbl, id FROM _search_dirty WHERE space = ?1 ORDER BY tbl, id LIMIT ?2";
    let mut waiting: BTreeMap<String, Vec<RowId>> = BTreeMap::new();
    store.db.each(sql, &[space.into(), FILL_ROWS.into()], |row| {
        waiting.entry(row.text(0)?.into_owned()).or_default().push(row.id(1)?);
        Ok::<_, DbError>(())
    })?;
    for (name, ids) in waiting {
        // A table may have gone since, or is not searched any more.
        let table = store.schema.table(&name).filter(|table| has_texts(&store.schema, usize::from(*table)));
        let mut found = Vec::new();
        if let Some(table) = table {
            let layout = store.layout.table(table);
            let sql = format!("{} AND id IN rarray(?2)", layout.select);
            found = store.db.all(&sql, &[space.into(), Param::ids(ids.iter().copied())], |row| layout.read(&store.schema, row))?;
        }
        let words: BTreeMap<RowId, String> =
            found.iter().map(|(key, row)| (key.id, words_of(&store.schema, space, key.table, row))).collect();
        let rows: Vec<_> = ids.iter().map(|id| (*id, words.get(id).cloned())).collect();
        index_table(store, space, &name, rows)?;
        let sql = "DELETE FROM _search_dirty WHERE space = ?1 AND tbl = ?2 AND id IN rarray(?3)";
        store.db.execute(sql, &[space.into(), name.as_str().into(), Param::ids(ids)])?;
    }
    Ok(())
}

/// The rows that have all words of `asked`, the last of which may go on; the newest first. As JSON.
pub fn find(store: &Store, space: &str, asked: &str, limit: usize) -> DbResult<String> {
    let Some((number, state)) = read_space(store, space)? else {
        return Ok(json!({"rev": 0, "stale": false, "more": false, "rows": []}).to_string());
    };
    let stale = noted(store, number)? != Some(state.rev) || is_waiting(store, number)?;
    let mut words: Vec<String> = split(asked).take(ASKED_WORDS).collect();
    let last = words.pop();
    let hidden = reap::going(store, number)?;
    let mut found = Vec::new();
    if let Some(last) = last {
        let of_space = |word: String| format!("{number}~{word}");
        let words: Vec<String> = words.into_iter().map(of_space).collect();
        let goes_on = asked.ends_with(char::is_alphanumeric);
        let (sql, question) = question(store.db.dialect(), &words, &of_space(last), goes_on);
        let all = limit + 1 + hidden.len();
        let params = [question.into(), number.into(), (all as i64).into()];
        store.db.each_while(sql, &params, |row| {
            let (id, table) = (row.id(1)?, store.schema.table(&row.text(0)?));
            let is_searched = |table: &u16| has_texts(&store.schema, usize::from(*table));
            found.extend(table.filter(is_searched).map(|table| RowKey { table, id }).filter(|key| !hidden.contains(key)));
            Ok::<_, DbError>(found.len() <= limit)
        })?;
    }
    let more = found.len() > limit;
    found.truncate(limit);
    let rows: Vec<_> =
        found.iter().map(|key| json!({"table": store.schema.tables[key.table as usize].name, "id": key.id.to_string()})).collect();
    Ok(json!({"rev": state.rev, "stale": stale, "more": more, "rows": rows}).to_string())
}

/// The statement, and what it looks for in the words of the database.
fn question(dialect: Dialect, words: &[String], last: &str, goes_on: bool) -> (&'static str, String) {
    match dialect {
        Dialect::Sqlite => {
            let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            let more = if goes_on { "*" } else { "" };
            let sql = "SELECT d.tbl, d.id FROM _search AS s CROSS JOIN _search_doc AS d ON d.doc = s.rowid \
                       WHERE s._search MATCH ?1 AND d.space = ?2 ORDER BY d.id DESC, d.tbl LIMIT ?3";
            (sql, words.into_iter().chain([format!("\"{last}\"{more}")]).collect::<Vec<_>>().join(" "))
        }
        Dialect::Postgres => {
            let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            let more = if goes_on { ":*" } else { "" };
            let sql = "SELECT tbl, id FROM _search WHERE words @@ CAST(CAST(?1 AS TEXT) AS TSQUERY) AND space = ?2 \
                       ORDER BY id DESC, tbl LIMIT ?3";
            (sql, words.into_iter().chain([format!("'{last}'{more}")]).collect::<Vec<_>>().join(" & "))
        }
    }
}
