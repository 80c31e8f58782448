//! One connection to a database, and the few ways in which it is used: rows are read one by one, written many at a time.
//!
//! Nothing else in this crate names a driver but what makes and changes tables. Ids are 16 bytes, highest first, so that they sort
//! as numbers.

use driftline_core::value::RowId;
use rusqlite::types::{ToSqlOutput, Value as Sql, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, Statement};
use std::borrow::Cow;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Another process (a backup, a person with a shell) may hold the lock for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Room for each table's few statements.
const CACHED_STATEMENTS: usize = 512;
/// Rows per statement: more of them gain nothing, and the text of a statement is built once per length.
const CHUNK_ROWS: usize = 250;
/// Statements of up to this many rows are kept prepared, and those of whole chunks.
const KEPT_ROWS: usize = 8;
/// SQLite's limit is 32,766 parameters.
const CHUNK_PARAMETERS: usize = 32_000;

/// What a database answers when it does not do what it was asked.
#[derive(Debug)]
pub enum DbError {
    Sqlite(rusqlite::Error),
    /// A cell holds what the server never wrote there.
    Unreadable(String),
}

pub type DbResult<T> = Result<T, DbError>;

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> DbError {
        DbError::Sqlite(error)
    }
}

impl std::fmt::Display for DbError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DbError::Sqlite(error) => error.fmt(f),
            DbError::Unreadable(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for DbError {}

impl DbError {
    /// Somebody else holds a lock for long.
    pub fn is_busy(&self) -> bool {
        matches!(self.sqlite_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
    }

    pub fn sqlite_code(&self) -> Option<ErrorCode> {
        match self {
            DbError::Sqlite(error) => error.sqlite_error_code(),
            DbError::Unreadable(_) => None,
        }
    }
}

/// What stands for `?1`, `?2` … in a statement.
#[derive(Debug, Clone)]
pub enum Param<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Real(f64),
    Text(Cow<'a, str>),
    Id(RowId),
    /// A hash or a digest.
    Hash(u128),
    /// The rows of `rarray(?)`.
    Ids(Rc<Vec<Sql>>),
}

impl<'a> Param<'a> {
    /// `rarray` of ids.
    pub fn ids(ids: impl IntoIterator<Item = RowId>) -> Param<'a> {
        Param::Ids(Rc::new(ids.into_iter().map(|id| Sql::Blob(id.0.to_be_bytes().to_vec())).collect()))
    }

    /// `rarray` of numbers.
    pub fn ints(ints: impl IntoIterator<Item = i64>) -> Param<'a> {
        Param::Ids(Rc::new(ints.into_iter().map(Sql::Integer).collect()))
    }

    /// Numbers of 64 bits keep their bits: the largest stand as negative ones.
    pub fn bits(number: u64) -> Param<'a> {
        Param::Int(number as i64)
    }
}

impl From<i64> for Param<'_> {
    fn from(value: i64) -> Self {
        Param::Int(value)
    }
}

impl From<u32> for Param<'_> {
    fn from(value: u32) -> Self {
        Param::Int(value.into())
    }
}

impl From<bool> for Param<'_> {
    fn from(value: bool) -> Self {
        Param::Bool(value)
    }
}

impl From<f64> for Param<'_> {
    fn from(value: f64) -> Self {
        Param::Real(value)
    }
}

impl From<RowId> for Param<'_> {
    fn from(value: RowId) -> Self {
        Param::Id(value)
    }
}

impl<'a> From<&'a str> for Param<'a> {
    fn from(value: &'a str) -> Self {
        Param::Text(Cow::Borrowed(value))
    }
}

impl From<String> for Param<'_> {
    fn from(value: String) -> Self {
        Param::Text(Cow::Owned(value))
    }
}

impl<'a, T: Into<Param<'a>>> From<Option<T>> for Param<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Param::Null, Into::into)
    }
}

impl rusqlite::ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Param::Null => ToSqlOutput::Owned(Sql::Null),
            Param::Bool(value) => i64::from(*value).into(),
            Param::Int(value) => (*value).into(),
            Param::Real(value) => (*value).into(),
            Param::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Param::Id(RowId(value)) | Param::Hash(value) => ToSqlOutput::Owned(Sql::Blob(value.to_be_bytes().to_vec())),
            Param::Ids(list) => ToSqlOutput::Array(list.clone()),
        })
    }
}

/// Rows that are written many at a time.
#[derive(Debug, Clone, Copy)]
pub struct Insert<'a> {
    pub table: &'a str,
    pub columns: &'a [&'a str],
    /// What comes after the rows: ` ON CONFLICT …`, or nothing.
    pub conflict: &'a str,
}

impl Insert<'_> {
    /// How many rows one statement takes.
    pub fn chunk_rows(&self) -> usize {
        CHUNK_ROWS.min(CHUNK_PARAMETERS / self.columns.len()).max(1)
    }
}

/// One row of an answer; columns count from 0.
pub struct Row<'a>(&'a rusqlite::Row<'a>);

impl Row<'_> {
    fn cell(&self, at: usize) -> DbResult<ValueRef<'_>> {
        Ok(self.0.get_ref(at)?)
    }

    fn wrong(&self, at: usize, expected: &str) -> DbError {
        let name = self.0.as_ref().column_name(at).unwrap_or("?");
        let found = self.0.get_ref(at).map_or_else(|error| error.to_string(), |cell| cell.data_type().to_string());
        DbError::Unreadable(format!("column `{name}` should hold {expected}, and holds {found}"))
    }

    pub fn is_null(&self, at: usize) -> DbResult<bool> {
        Ok(self.cell(at)? == ValueRef::Null)
    }

    pub fn int(&self, at: usize) -> DbResult<i64> {
        self.cell(at)?.as_i64().map_err(|_| self.wrong(at, "a whole number"))
    }

    pub fn int_or_null(&self, at: usize) -> DbResult<Option<i64>> {
        if self.is_null(at)? { Ok(None) } else { self.int(at).map(Some) }
    }

    /// What [`Param::bits`] wrote.
    pub fn bits(&self, at: usize) -> DbResult<u64> {
        Ok(self.int(at)? as u64)
    }

    /// A number that fits the type asked for.
    pub fn number<T: TryFrom<i64>>(&self, at: usize) -> DbResult<T> {
        T::try_from(self.int(at)?).map_err(|_| self.wrong(at, "a smaller number"))
    }

    pub fn bool(&self, at: usize) -> DbResult<bool> {
        Ok(self.int(at)? != 0)
    }

    pub fn real(&self, at: usize) -> DbResult<f64> {
        self.cell(at)?.as_f64().map_err(|_| self.wrong(at, "a number"))
    }

    pub fn text(&self, at: usize) -> DbResult<&str> {
        self.cell(at)?.as_str().map_err(|_| self.wrong(at, "text"))
    }

    /// A hash or a digest.
    pub fn hash(&self, at: usize) -> DbResult<u128> {
        let bytes = self.cell(at)?.as_blob().ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(u128::from_be_bytes).ok_or_else(|| self.wrong(at, "16 bytes"))
    }

    pub fn id(&self, at: usize) -> DbResult<RowId> {
        self.hash(at).map(RowId)
    }
}

pub struct Db {
    conn: Connection,
}

impl Db {
    /// Opens a database file as every part of the server needs it.
    pub fn open(path: &Path, flags: OpenFlags) -> DbResult<Db> {
        let conn = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        write_ahead(&conn)?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "foreign_keys", true)?;
        conn.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
        rusqlite::vtab::array::load_module(&conn)?;
        Ok(Db { conn })
    }

    /// For what makes and changes tables.
    pub fn sqlite(&self) -> &Connection {
        &self.conn
    }

    /// The driver's own connection, for what this module has no word for.
    pub fn into_sqlite(self) -> Connection {
        self.conn
    }

    /// Calls `each` with every row of the answer, as long as it says `true`.
    pub fn each_while<E: From<DbError>>(
        &self,
        sql: &str,
        params: &[Param],
        mut each: impl FnMut(&Row) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mut statement = self.conn.prepare_cached(sql).map_err(DbError::from)?;
        bind(&mut statement, params).map_err(DbError::from)?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(DbError::from)? {
            if !each(&Row(row))? {
                break;
            }
        }
        Ok(())
    }

    pub fn each<E: From<DbError>>(&self, sql: &str, params: &[Param], mut each: impl FnMut(&Row) -> Result<(), E>) -> Result<(), E> {
        self.each_while(sql, params, |row| each(row).map(|()| true))
    }

    pub fn all<T>(&self, sql: &str, params: &[Param], mut read: impl FnMut(&Row) -> DbResult<T>) -> DbResult<Vec<T>> {
        let mut found = Vec::new();
        self.each(sql, params, |row| read(row).map(|one| found.push(one)))?;
        Ok(found)
    }

    /// The first row of the answer.
    pub fn first<T>(&self, sql: &str, params: &[Param], mut read: impl FnMut(&Row) -> DbResult<T>) -> DbResult<Option<T>> {
        let mut found = None;
        self.each_while(sql, params, |row| {
            found = Some(read(row)?);
            Ok::<_, DbError>(false)
        })?;
        Ok(found)
    }

    /// The first row of an answer that always has one.
    pub fn one<T>(&self, sql: &str, params: &[Param], read: impl FnMut(&Row) -> DbResult<T>) -> DbResult<T> {
        self.first(sql, params, read)?.ok_or(DbError::Sqlite(rusqlite::Error::QueryReturnedNoRows))
    }

    pub fn exists(&self, sql: &str, params: &[Param]) -> DbResult<bool> {
        Ok(self.first(sql, params, |_| Ok(()))?.is_some())
    }

    pub fn execute(&self, sql: &str, params: &[Param]) -> DbResult<()> {
        let mut statement = self.conn.prepare_cached(sql)?;
        bind(&mut statement, params)?;
        statement.raw_execute()?;
        Ok(())
    }

    /// Inserts rows, as many parameters each as there are columns, a chunk at a time.
    pub fn insert(&self, insert: Insert, values: &[Param]) -> DbResult<()> {
        values.chunks(insert.chunk_rows() * insert.columns.len()).try_for_each(|chunk| self.insert_at_once(insert, chunk))
    }

    /// Inserts rows by one statement.
    pub fn insert_at_once(&self, insert: Insert, values: &[Param]) -> DbResult<()> {
        let width = insert.columns.len();
        let count = values.len() / width;
        if count == 0 {
            return Ok(());
        }
        let tuple = format!("({}),", ["?"].repeat(width).join(","));
        let tuples = tuple.repeat(count);
        let names: Vec<String> = insert.columns.iter().map(|name| format!("\"{name}\"")).collect();
        let (table, names, tuples, conflict) = (insert.table, names.join(", "), tuples.trim_end_matches(','), insert.conflict);
        let sql = format!("INSERT INTO \"{table}\" ({names}) VALUES {tuples}{conflict}");
        // Only lengths that come often are kept: a long statement of every length would fill the memory.
        if count == insert.chunk_rows() || count <= KEPT_ROWS {
            return self.execute(&sql, values);
        }
        let mut statement = self.conn.prepare(&sql)?;
        bind(&mut statement, values)?;
        statement.raw_execute()?;
        Ok(())
    }

    pub fn begin_writing(&self) -> DbResult<()> {
        Ok(self.conn.execute_batch("BEGIN IMMEDIATE")?)
    }

    /// What is read until the end is of one moment.
    pub fn begin_reading(&self) -> DbResult<()> {
        Ok(self.conn.execute_batch("BEGIN DEFERRED")?)
    }

    pub fn commit(&self) -> DbResult<()> {
        Ok(self.conn.execute_batch("COMMIT")?)
    }

    /// Ends a transaction, if there is one, without a trace.
    pub fn roll_back(&self) -> DbResult<()> {
        if !self.conn.is_autocommit() {
            self.conn.execute_batch("ROLLBACK")?;
        }
        Ok(())
    }

    /// Runs `read` on one moment of the database.
    pub fn reading<T, E: From<DbError>>(&self, read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.begin_reading()?;
        let result = read();
        self.roll_back()?;
        result
    }
}

fn bind(statement: &mut Statement, params: &[Param]) -> rusqlite::Result<()> {
    params.iter().enumerate().try_for_each(|(i, param)| statement.raw_bind_parameter(i + 1, param))
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
