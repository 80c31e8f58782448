//! Runs what changes tables: all of it or nothing.

use crate::db::{Db, DbError, DbResult, Dialect};
use crate::fault::Faults;
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::{Batch, Connection};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// PostgreSQL takes one migration at a time, by a lock on this number.
const LOCK: i64 = 0x6472_6966_746c_696e;
/// Where PostgreSQL makes tables only to compare them.
const SCRATCH: &str = "_driftline_compare";

/// How many statements this process has run.
static STATEMENTS: AtomicU64 = AtomicU64::new(0);

fn fault_point(faults: &Faults) {
    if let Some(at) = faults.abort_in_migration
        && STATEMENTS.fetch_add(1, Ordering::Relaxed) + 1 == at
    {
        std::process::abort();
    }
}

fn fail(error: DbError) -> String {
    error.to_string()
}

pub fn transaction<T>(db: &Db, faults: &Faults, run: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let result = match db.sqlite() {
        Some(conn) => in_sqlite(conn, faults, run),
        None => in_postgres(db, faults, run),
    };
    let ended = db.roll_back().map_err(fail);
    if let Some(conn) = db.sqlite() {
        conn.pragma_update(None, "foreign_keys", true).map_err(|e| e.to_string())?;
    }
    fault_point(faults);
    ended.and(result)
}

/// Foreign keys are checked at the end and not at each step, because a rebuilt table is away for a moment.
fn in_sqlite<T>(conn: &Connection, faults: &Faults, run: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let fail = |e: rusqlite::Error| e.to_string();
    conn.execute_batch("PRAGMA foreign_keys = OFF; BEGIN EXCLUSIVE").map_err(fail)?;
    let result = run()?;
    let dangling = conn.prepare("PRAGMA foreign_key_check").and_then(|mut check| check.exists([])).map_err(fail)?;
    if dangling {
        return Err("it would leave references to rows that are not there".to_string());
    }
    fault_point(faults);
    conn.execute_batch("COMMIT").map_err(fail)?;
    Ok(result)
}

fn in_postgres<T>(db: &Db, faults: &Faults, run: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    db.begin_writing().map_err(fail)?;
    db.execute("SELECT pg_advisory_xact_lock(?1)", &[LOCK.into()]).map_err(fail)?;
    if has_table(db, "_space").map_err(fail)? {
        // Nobody writes or reads meanwhile: what is worked out from the rows has to hold until the end, and a reading that began before
        // would find the new tables empty.
        db.batch("SET LOCAL lock_timeout = '60s'; LOCK TABLE _space IN ACCESS EXCLUSIVE MODE").map_err(fail)?;
    }
    let result = run()?;
    fault_point(faults);
    db.commit().map_err(fail)?;
    Ok(result)
}

/// Runs a file's statements one by one, inside a transaction.
pub fn run_statements(db: &Db, sql: &str, faults: &Faults) -> Result<(), String> {
    let Some(conn) = db.sqlite() else {
        for statement in statements(sql) {
            refuse_transactions(statement.split_whitespace().next().unwrap_or(""))?;
            fault_point(faults);
            // What is more than one statement to PostgreSQL may hold a COMMIT.
            db.verbatim(statement).map_err(fail)?;
        }
        return Ok(());
    };
    let mut batch = Batch::new(conn, sql);
    while let Some(mut statement) = batch.next().map_err(|e| e.to_string())? {
        // BEGIN, COMMIT and their like write nothing by themselves and return nothing.
        if statement.readonly() && statement.column_count() == 0 {
            return refuse_transactions("COMMIT");
        }
        fault_point(faults);
        let mut rows = statement.raw_query();
        while rows.next().map_err(|e| e.to_string())?.is_some() {}
    }
    Ok(())
}

fn refuse_transactions(word: &str) -> Result<(), String> {
    let words = ["BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "PREPARE"];
    if words.iter().any(|begins| word.trim_end_matches(';').eq_ignore_ascii_case(begins)) {
        return Err("the file begins or ends a transaction by itself; take BEGIN, COMMIT and ROLLBACK out".to_string());
    }
    Ok(())
}

/// The statements of a file, without the comments before them.
fn statements(sql: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut start, mut at) = (None, 0);
    while at < sql.len() {
        let rest = &sql[at..];
        let ends = |opened: usize, by: &str| rest[opened..].find(by).map_or(rest.len(), |end| opened + end + by.len());
        let length = match rest.as_bytes()[0] {
            b'-' if rest.starts_with("--") => ends(2, "\n"),
            b'/' if rest.starts_with("/*") => ends(2, "*/"),
            b'\'' => ends(1, "'"),
            b'"' => ends(1, "\""),
            b'$' => dollar_quote(rest).map_or(1, |tag| ends(tag.len(), tag)),
            b';' => {
                found.extend(start.take().map(|start| &sql[start..at]));
                1
            }
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        let is_text = !rest.starts_with("--") && !rest.starts_with("/*") && !rest.starts_with(';');
        if is_text && start.is_none() && !rest.starts_with(char::is_whitespace) {
            start = Some(at);
        }
        at += length;
    }
    found.extend(start.map(|start| sql[start..].trim_end()));
    found
}

/// `$$` or `$name$` at the beginning.
fn dollar_quote(text: &str) -> Option<&str> {
    let end = text[1..].find('$')? + 2;
    let name = &text[1..end - 1];
    let is_name = name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()) && !name.starts_with(|c: char| c.is_ascii_digit());
    is_name.then(|| &text[..end])
}

/// Asked of the catalog itself: what the connection remembers of it may be older.
pub fn has_table(db: &Db, name: &str) -> DbResult<bool> {
    let sql = match db.dialect() {
        Dialect::Sqlite => "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1",
        Dialect::Postgres => "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = ?1",
    };
    db.exists(sql, &[name.into()])
}

/// What is in a database by name: its kind, and what it is made of.
pub type Catalog = BTreeMap<String, (String, String)>;

const SQLITE_CATALOG: &str = "SELECT name, type, coalesce(sql, '') FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";

const POSTGRES_CATALOG: &str = "SELECT CAST(c.relname AS TEXT), 'table', string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) \
     || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END || coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), ''), ', ' \
     ORDER BY a.attnum) \
   FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
   LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum \
   WHERE c.relnamespace = CAST(current_schema() AS regnamespace) AND c.relkind IN ('r', 'p') GROUP BY c.relname \
   UNION ALL SELECT CAST(c.relname AS TEXT), 'index', replace(pg_get_indexdef(c.oid), ' ON ' || current_schema() || '.', ' ON ') \
   FROM pg_class AS c WHERE c.relnamespace = CAST(current_schema() AS regnamespace) AND c.relkind IN ('i', 'I') \
   UNION ALL SELECT 'constraint ' || c.conname || ' of ' || t.relname, 'constraint', pg_get_constraintdef(c.oid) \
   FROM pg_constraint AS c JOIN pg_class AS t ON t.oid = c.conrelid \
   WHERE c.connamespace = CAST(current_schema() AS regnamespace) AND c.contype IN ('c', 'f', 'u', 'x')";

pub fn catalog(db: &Db) -> DbResult<Catalog> {
    let sql = match db.dialect() {
        Dialect::Sqlite => SQLITE_CATALOG,
        Dialect::Postgres => POSTGRES_CATALOG,
    };
    let read = db.all(sql, &[], |row| Ok((row.text(0)?.into_owned(), (row.text(1)?.into_owned(), row.text(2)?.into_owned()))))?;
    Ok(read.into_iter().collect())
}

/// What these statements make of an empty database.
pub fn catalog_of<'a>(db: &Db, scripts: impl Iterator<Item = &'a str>) -> DbResult<Catalog> {
    if db.dialect() == Dialect::Sqlite {
        let made = Db::in_memory()?;
        made.batch("PRAGMA foreign_keys = OFF")?;
        scripts.into_iter().try_for_each(|sql| made.batch(sql))?;
        return catalog(&made);
    }
    // In a corner of the database itself, of which nothing is kept.
    let make = || {
        db.begin_writing()?;
        db.batch(&format!("CREATE SCHEMA {SCRATCH}; SET LOCAL search_path TO {SCRATCH}"))?;
        scripts.into_iter().try_for_each(|sql| db.batch(sql))?;
        catalog(db)
    };
    let made = make();
    db.roll_back()?;
    made
}

#[cfg(test)]
mod tests {
    use super::statements;

    #[test]
    fn m1_a_file_is_taken_apart_where_its_statements_end() {
        let sql = "-- one; two\nCREATE TABLE \"a;b\" (c TEXT DEFAULT 'it''s; so');\n/* ; */ SELECT $$;$$, $x$;$;$x$, $1; ;\nDROP TABLE é";
        let expected = ["CREATE TABLE \"a;b\" (c TEXT DEFAULT 'it''s; so')", "SELECT $$;$$, $x$;$;$x$, $1", "DROP TABLE é"];
        assert_eq!(statements(sql), expected);
        assert_eq!(statements("-- nothing\n"), [""; 0]);
    }
}
