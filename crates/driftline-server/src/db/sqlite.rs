//! SQLite: one file, one writer at a time.

use super::values::Content;
use super::{DbError, DbResult, Insert, Param};
use rusqlite::types::{ToSqlOutput, Value as Sql, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, Row, Statement, ToSql};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Another process (a backup, a person with a shell) may hold the lock for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages of the file that each connection keeps. Beside the writer there are a dozen that read, and the system keeps the file, too.
const CACHE_KIB: i64 = 512;
/// Room for each table's few statements.
const CACHED_STATEMENTS: usize = 512;
/// Statements of up to this many rows are kept prepared, and those of whole chunks.
const KEPT_ROWS: usize = 8;

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> DbError {
        DbError::Sqlite(error)
    }
}

/// Opens a database file as every part of the server needs it.
pub fn open(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    write_ahead(&conn)?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
    conn.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    rusqlite::vtab::array::load_module(&conn)?;
    Ok(conn)
}

pub fn each_while<E: From<DbError>>(
    conn: &Connection,
    sql: &str,
    params: &[Param],
    each: &mut dyn FnMut(&super::Row) -> Result<bool, E>,
) -> Result<(), E> {
    let mut statement = conn.prepare_cached(sql).map_err(DbError::from)?;
    bind(&mut statement, params).map_err(DbError::from)?;
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next().map_err(DbError::from)? {
        if !each(&super::Row::Sqlite(row))? {
            break;
        }
    }
    Ok(())
}

pub fn execute(conn: &Connection, sql: &str, params: &[Param]) -> DbResult<()> {
    run(&mut *conn.prepare_cached(sql)?, params)
}

pub fn verbatim(conn: &Connection, sql: &str) -> DbResult<()> {
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.raw_query();
    while rows.next()?.is_some() {}
    Ok(())
}

pub fn insert_at_once(conn: &Connection, insert: Insert, values: &[Param]) -> DbResult<()> {
    let width = insert.columns.len();
    let count = values.len() / width;
    let tuple = format!("({}),", ["?"].repeat(width).join(","));
    let tuples = tuple.repeat(count);
    let (table, names, tuples, conflict) = (insert.table, insert.names(), tuples.trim_end_matches(','), insert.conflict);
    let sql = format!("INSERT INTO \"{table}\" ({names}) VALUES {tuples}{conflict}");
    // Only lengths that come often are kept: a long statement of every length would fill the memory.
    if count == insert.chunk_rows() || count <= KEPT_ROWS { execute(conn, &sql, values) } else { run(&mut conn.prepare(&sql)?, values) }
}

fn run(statement: &mut Statement, params: &[Param]) -> DbResult<()> {
    bind(statement, params)?;
    statement.raw_execute()?;
    Ok(())
}

fn bind(statement: &mut Statement, params: &[Param]) -> rusqlite::Result<()> {
    params.iter().enumerate().try_for_each(|(i, param)| statement.raw_bind_parameter(i + 1, Bound(param)))
}

struct Bound<'a>(&'a Param<'a>);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let bytes = |value: &u128| Sql::Blob(value.to_be_bytes().to_vec());
        Ok(match self.0 {
            Param::Null => ToSqlOutput::Owned(Sql::Null),
            Param::Bool(value) => i64::from(*value).into(),
            Param::Int(value) => (*value).into(),
            Param::Real(value) => (*value).into(),
            Param::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Param::Id(id) => ToSqlOutput::Owned(bytes(&{ id.0 })),
            Param::Hash(value) => ToSqlOutput::Owned(bytes(value)),
            Param::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Param::Ids(ids) => ToSqlOutput::Array(Rc::new(ids.iter().map(|id| bytes(&{ id.0 })).collect())),
            Param::Ints(ints) => ToSqlOutput::Array(Rc::new(ints.iter().copied().map(Sql::Integer).collect())),
            Param::Texts(texts) => ToSqlOutput::Array(Rc::new(texts.iter().cloned().map(Sql::Text).collect())),
        })
    }
}

pub fn cell<'a>(row: &'a Row, at: usize) -> DbResult<Content<'a>> {
    Ok(match row.get_ref(at)? {
        ValueRef::Null => Content::Null,
        ValueRef::Integer(value) => Content::Int(value),
        ValueRef::Real(value) => Content::Real(value),
        ValueRef::Text(text) => std::str::from_utf8(text).map_or(Content::Other, |text| Content::Text(text.into())),
        ValueRef::Blob(bytes) => bytes.try_into().map_or(Content::Blob(bytes), |bytes| Content::Bytes(u128::from_be_bytes(bytes))),
    })
}

/// A new database is switched once. SQLite does not wait for another process that is just doing the same.
fn write_ahead(conn: &Connection) -> rusqlite::Result<()> {
    let began = Instant::now();
    loop {
        match conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && began.elapsed() < BUSY_TIMEOUT => {
                std::thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}
