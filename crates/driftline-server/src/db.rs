//! One connection to a database, and the few ways in which it is used: rows are read one by one, written many at a time.
//!
//! Nothing else in this crate asks a driver, but what makes and changes tables (`apply`, `planner`, `backup`), and the connection for `notes`.

#[cfg(feature = "postgres")]
mod postgres;
mod sqlite;
#[cfg(feature = "postgres")]
pub mod tls;
mod values;

#[cfg(feature = "postgres")]
pub(crate) use self::postgres::arrivals;
pub(crate) use self::values::escaped;
pub use self::values::{Insert, Param, Row};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

/// What a database answers when it does not do what it was asked.
#[derive(Debug)]
pub enum DbError {
    Sqlite(rusqlite::Error),
    #[cfg(feature = "postgres")]
    Postgres(::tokio_postgres::Error),
    /// Nothing has come from the database for too long.
    Silent,
    /// A fault point.
    Fault,
    /// A cell holds what the server never wrote there, or there is no row where there always is one.
    Unreadable(String),
}

pub type DbResult<T> = Result<T, DbError>;

impl std::fmt::Display for DbError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DbError::Sqlite(error) => error.fmt(f),
            #[cfg(feature = "postgres")]
            DbError::Postgres(error) => match error.as_db_error() {
                Some(told) => write!(f, "{} ({})", told.message(), told.code().code()),
                None => {
                    error.fmt(f)?;
                    std::error::Error::source(error).map_or(Ok(()), |cause| write!(f, ": {cause}"))
                }
            },
            DbError::Silent => f.write_str("the database does not answer"),
            DbError::Fault => f.write_str("fault point fail_statement"),
            DbError::Unreadable(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for DbError {}

impl DbError {
    /// Somebody else holds a lock for long.
    pub fn is_busy(&self) -> bool {
        match self {
            DbError::Sqlite(_) => matches!(self.sqlite_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)),
            #[cfg(feature = "postgres")]
            DbError::Postgres(error) => postgres::is_busy(error),
            DbError::Silent | DbError::Fault | DbError::Unreadable(_) => false,
        }
    }

    /// The database cannot be reached, or has gone away.
    pub fn is_away(&self) -> bool {
        match self {
            DbError::Silent => true,
            #[cfg(feature = "postgres")]
            DbError::Postgres(error) => postgres::is_away(error),
            _ => false,
        }
    }

    /// Another server was at the same: it goes another way when it is tried again.
    pub fn is_conflict(&self) -> bool {
        match self {
            #[cfg(feature = "postgres")]
            DbError::Postgres(error) => postgres::is_conflict(error),
            _ => false,
        }
    }

    pub fn sqlite_code(&self) -> Option<ErrorCode> {
        match self {
            DbError::Sqlite(error) => error.sqlite_error_code(),
            _ => None,
        }
    }
}

/// Which SQL a database speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Sqlite => "SQLite",
            Dialect::Postgres => "PostgreSQL",
        }
    }
}

enum Driver {
    Sqlite(Connection),
    #[cfg(feature = "postgres")]
    Postgres(Box<postgres::Postgres>),
}

/// One connection.
pub struct Db {
    driver: Driver,
    /// How many statements it has been asked to run.
    statements: Cell<u64>,
    /// The one of them that fails.
    fault: Cell<Option<u64>>,
    /// Who is shown each statement.
    watch: Cell<Option<Watch>>,
}

/// Sees each statement just before it runs, and may ask the same connection more: so tests look at the plans of what really runs.
#[derive(Clone)]
pub struct Watch(Arc<See>);

type See = dyn Fn(&Db, &str, &[Param]) + Send + Sync;

impl Watch {
    pub fn new(see: impl Fn(&Db, &str, &[Param]) + Send + Sync + 'static) -> Watch {
        Watch(Arc::new(see))
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

impl Db {
    fn over(driver: Driver) -> Db {
        Db { driver, statements: Cell::new(0), fault: Cell::new(None), watch: Cell::new(None) }
    }

    /// How many statements it has run so far.
    pub fn statements(&self) -> u64 {
        self.statements.get()
    }

    /// Has the nth statement from now on fail, instead of running it.
    pub fn fail_statement(&self, nth: Option<u64>) {
        self.fault.set(nth.map(|nth| self.statements.get() + nth));
    }

    /// Has each statement shown, but for inserts of many rows.
    pub fn set_watch(&self, watch: Option<Watch>) {
        self.watch.set(watch);
    }

    fn show(&self, sql: &str, params: &[Param]) {
        // It is away meanwhile, so that what it asks itself is not shown.
        if let Some(watch) = self.watch.take() {
            (watch.0)(self, sql, params);
            self.watch.set(Some(watch));
        }
    }

    fn count(&self) -> DbResult<()> {
        self.statements.set(self.statements.get() + 1);
        if self.fault.get() == Some(self.statements.get()) { Err(DbError::Fault) } else { Ok(()) }
    }

    /// Opens a database file.
    pub fn open(path: &Path, flags: OpenFlags) -> DbResult<Db> {
        Ok(Db::over(Driver::Sqlite(sqlite::open(path, flags)?)))
    }

    /// A database of SQLite that nobody else sees.
    pub fn in_memory() -> DbResult<Db> {
        Ok(Db::over(Driver::Sqlite(Connection::open_in_memory()?)))
    }

    #[cfg(feature = "postgres")]
    pub fn connect(config: &::tokio_postgres::Config) -> DbResult<Db> {
        Ok(Db::over(Driver::Postgres(Box::new(postgres::Postgres::connect(config, Some(postgres::SILENCE))?))))
    }

    /// The same for statements that take as long as they take.
    #[cfg(feature = "postgres")]
    pub fn connect_to_wait(config: &::tokio_postgres::Config) -> DbResult<Db> {
        Ok(Db::over(Driver::Postgres(Box::new(postgres::Postgres::connect(config, None)?))))
    }

    pub fn dialect(&self) -> Dialect {
        match &self.driver {
            Driver::Sqlite(_) => Dialect::Sqlite,
            #[cfg(feature = "postgres")]
            Driver::Postgres(_) => Dialect::Postgres,
        }
    }

    /// The driver's own connection, for what this module has no word for.
    pub fn sqlite(&self) -> Option<&Connection> {
        match &self.driver {
            Driver::Sqlite(conn) => Some(conn),
            #[cfg(feature = "postgres")]
            Driver::Postgres(_) => None,
        }
    }

    pub fn into_sqlite(self) -> Option<Connection> {
        match self.driver {
            Driver::Sqlite(conn) => Some(conn),
            #[cfg(feature = "postgres")]
            Driver::Postgres(_) => None,
        }
    }

    /// Calls `each` with every row of the answer, as long as it says `true`.
    pub fn each_while<E: From<DbError>>(
        &self,
        sql: &str,
        params: &[Param],
        mut each: impl FnMut(&Row) -> Result<bool, E>,
    ) -> Result<(), E> {
        self.count()?;
        self.show(sql, params);
        match &self.driver {
            Driver::Sqlite(conn) => sqlite::each_while(conn, sql, params, &mut each),
            #[cfg(feature = "postgres")]
            Driver::Postgres(db) => db.each_while(sql, params, &mut each),
        }
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
        self.first(sql, params, read)?.ok_or_else(|| DbError::Unreadable("the answer has no row".to_string()))
    }

    pub fn exists(&self, sql: &str, params: &[Param]) -> DbResult<bool> {
        Ok(self.first(sql, params, |_| Ok(()))?.is_some())
    }

    pub fn execute(&self, sql: &str, params: &[Param]) -> DbResult<()> {
        self.count()?;
        self.show(sql, params);
        match &self.driver {
            Driver::Sqlite(conn) => sqlite::execute(conn, sql, params),
            #[cfg(feature = "postgres")]
            Driver::Postgres(db) => db.execute(sql, params),
        }
    }

    /// Several statements without parameters, in the database's own words.
    pub fn batch(&self, sql: &str) -> DbResult<()> {
        match &self.driver {
            Driver::Sqlite(conn) => Ok(conn.execute_batch(sql)?),
            #[cfg(feature = "postgres")]
            Driver::Postgres(db) => db.batch(sql),
        }
    }

    /// One statement of somebody else's, without parameters and in the database's own words. Where it is more than one, none runs.
    pub fn verbatim(&self, sql: &str) -> DbResult<()> {
        match &self.driver {
            Driver::Sqlite(conn) => sqlite::verbatim(conn, sql),
            #[cfg(feature = "postgres")]
            Driver::Postgres(db) => db.verbatim(sql),
        }
    }

    /// Inserts rows, as many parameters each as there are columns, a chunk at a time.
    pub fn insert(&self, insert: Insert, values: &[Param]) -> DbResult<()> {
        values.chunks(insert.chunk_rows() * insert.columns.len()).try_for_each(|chunk| self.insert_at_once(insert, chunk))
    }

    /// Inserts rows by one statement.
    pub fn insert_at_once(&self, insert: Insert, values: &[Param]) -> DbResult<()> {
        if values.is_empty() {
            return Ok(());
        }
        self.count()?;
        match &self.driver {
            Driver::Sqlite(conn) => sqlite::insert_at_once(conn, insert, values),
            #[cfg(feature = "postgres")]
            Driver::Postgres(db) => db.insert_at_once(insert, values),
        }
    }

    /// What a statement that reads a row for writing ends with: no other writer gets at the row until the end of the transaction. One
    /// that only reads waits for nobody.
    pub fn row_lock(&self) -> &'static str {
        match &self.driver {
            // There is one writer at a time.
            Driver::Sqlite(_) => "",
            #[cfg(feature = "postgres")]
            Driver::Postgres(db) => db.row_lock(),
        }
    }

    pub fn begin_writing(&self) -> DbResult<()> {
        self.count()?;
        match &self.driver {
            Driver::Sqlite(conn) => Ok(conn.execute_batch("BEGIN IMMEDIATE")?),
            #[cfg(feature = "postgres")]
            Driver::Postgres(db) => db.begin(true),
        }
    }

    /// What is read until the end is of one moment.
    pub fn begin_reading(&self) -> DbResult<()> {
        self.count()?;
        match &self.driver {
            Driver::Sqlite(conn) => Ok(conn.execute_batch("BEGIN DEFERRED")?),
            #[cfg(feature = "postgres")]
            Driver::Postgres(db) => db.begin(false),
        }
    }

    /// On an error nobody knows whether it has taken effect.
    pub fn commit(&self) -> DbResult<()> {
        self.count()?;
        match &self.driver {
            Driver::Sqlite(conn) => Ok(conn.execute_batch("COMMIT")?),
            #[cfg(feature = "postgres")]
            Driver::Postgres(db) => db.commit(),
        }
    }

    /// Ends a transaction, if there is one, without a trace.
    pub fn roll_back(&self) -> DbResult<()> {
        match &self.driver {
            Driver::Sqlite(conn) if conn.is_autocommit() => Ok(()),
            Driver::Sqlite(conn) => Ok(conn.execute_batch("ROLLBACK")?),
            #[cfg(feature = "postgres")]
            Driver::Postgres(db) => db.roll_back(),
        }
    }

    /// Runs `read` on one moment of the database.
    pub fn reading<T, E: From<DbError>>(&self, read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.begin_reading()?;
        let result = read();
        self.roll_back()?;
        result
    }
}
