//! PostgreSQL: a connection to a server that others share. Who uses it waits for it, like for a disk; what arrives is taken in by threads
//! of its own, so that it may be used from anywhere.
//!
//! Statements come in SQLite's words. What PostgreSQL says otherwise, [`translated`] says; there is no more than that, so that one text is
//! tested on both.

use super::values::{Content, ESCAPE};
use super::{DbError, DbResult, Insert, Param, escaped, tls};
use bytes::{BufMut, BytesMut};
use futures_util::StreamExt;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Config, Row, Statement};

/// Statements that are kept prepared; beyond it all are prepared anew.
const CACHED_STATEMENTS: usize = 512;
/// A statement's own limit is shorter: what says nothing for so long is not there any more.
pub const SILENCE: Duration = Duration::from_secs(90);
/// Reaching the server, and being let in.
const CONNECTING: Duration = Duration::from_secs(10);
/// Its lock makes a migration wait for the reading, and the reading for a migration: its moment is that of the first question after it.
const READING: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE _space IN ACCESS SHARE MODE";
/// Threads that take in what arrives over all connections.
const ARRIVALS: usize = 2;
impl From<tokio_postgres::Error> for DbError {
    fn from(error: tokio_postgres::Error) -> DbError {
        DbError::Postgres(error)
    }
}

pub fn is_busy(error: &tokio_postgres::Error) -> bool {
    matches!(error.code(), Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE || *code == SqlState::QUERY_CANCELED)
}

/// Where PostgreSQL says nothing at all, the way to it is broken.
pub fn is_away(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code() else { return error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>()) };
    // Connections (08), resources (53), and an operator's hand (57P0).
    ["08", "53", "57P0"].iter().any(|class| code.code().starts_with(class))
}

pub fn is_conflict(error: &tokio_postgres::Error) -> bool {
    let Some(told) = error.as_db_error() else { return false };
    let code = told.code();
    let is_new_space = *code == SqlState::UNIQUE_VIOLATION && told.table() == Some("_space");
    is_new_space || *code == SqlState::T_R_DEADLOCK_DETECTED || *code == SqlState::T_R_SERIALIZATION_FAILURE
}

pub struct Postgres {
    config: Config,
    silence: Option<Duration>,
    session: RefCell<Session>,
}

struct Session {
    client: Client,
    /// How long it may say nothing: a statement of an operator's may take as long as it takes.
    silence: Option<Duration>,
    statements: HashMap<String, Statement>,
    /// A transaction is open.
    is_open: bool,
    is_writing: bool,
    /// A statement of it has failed: PostgreSQL would answer a commit by rolling back, and call that a success.
    has_failed: bool,
    /// Nothing more is to be expected of it.
    is_broken: bool,
}

/// Waits for what arrives. A task that is just being run may have used up its share of turns; waiting here is not one of them.
fn wait<F: Future>(silence: Option<Duration>, future: F) -> DbResult<F::Output> {
    let _timers = arrivals()?.enter();
    let arriving = async {
        match silence {
            Some(silence) => timeout(silence, future).await.map_err(|_| DbError::Silent),
            None => Ok(future.await),
        }
    };
    futures_executor::block_on(tokio::task::unconstrained(arriving))
}

/// Where connections take in what arrives.
pub fn arrivals() -> DbResult<&'static Runtime> {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    let start = || tokio::runtime::Builder::new_multi_thread().worker_threads(ARRIVALS).thread_name("postgres").enable_all().build().ok();
    RUNTIME.get_or_init(start).as_ref().ok_or_else(|| DbError::Unreadable("there is no thread for PostgreSQL".to_string()))
}

impl Session {
    fn connect(config: &Config, silence: Option<Duration>) -> DbResult<Session> {
        let (runtime, config) = (arrivals()?, config.clone());
        let connecting = async move { timeout(CONNECTING, tls::connect(&config)).await };
        let connected =
            wait(Some(SILENCE), runtime.spawn(connecting))?.map_err(|e| DbError::Unreadable(format!("connecting broke off: {e}")))?;
        let (client, connection) = connected.map_err(|_| DbError::Silent)??;
        runtime.spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(%error, "a connection to PostgreSQL has ended");
            }
        });
        Ok(Session { client, silence, statements: HashMap::new(), is_open: false, is_writing: false, has_failed: false, is_broken: false })
    }

    fn prepare(&mut self, sql: &str) -> DbResult<Statement> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = wait(self.silence, self.client.prepare(&translated(sql)))??;
        if self.statements.len() >= CACHED_STATEMENTS {
            self.statements.clear();
        }
        self.statements.insert(sql.to_string(), statement.clone());
        Ok(statement)
    }

    fn noting<T>(&mut self, result: DbResult<T>) -> DbResult<T> {
        self.has_failed |= result.is_err();
        self.is_broken |= matches!(result, Err(DbError::Silent));
        result
    }

    fn batch(&mut self, sql: &str) -> DbResult<()> {
        let done = wait(self.silence, self.client.batch_execute(sql)).and_then(|done| Ok(done?));
        self.noting(done)
    }
}

impl Postgres {
    pub fn connect(config: &Config, silence: Option<Duration>) -> DbResult<Postgres> {
        Ok(Postgres { config: config.clone(), silence, session: RefCell::new(Session::connect(config, silence)?) })
    }

    pub fn each_while<E: From<DbError>>(
        &self,
        sql: &str,
        params: &[Param],
        each: &mut dyn FnMut(&super::Row) -> Result<bool, E>,
    ) -> Result<(), E> {
        let session = &mut *self.session.borrow_mut();
        let begun = session.prepare(sql);
        let statement = session.noting(begun)?;
        let params: Vec<Bound> = params.iter().map(Bound).collect();
        let begun = wait(session.silence, session.client.query_raw(&statement, params)).and_then(|rows| Ok(rows?));
        let mut rows = std::pin::pin!(session.noting(begun)?);
        let mut goes_on = true;
        while let Some(row) = session.noting(wait(session.silence, rows.next()).and_then(|row| Ok(row.transpose()?)))? {
            // What is left is taken in all the same: an error may come after it.
            if goes_on {
                goes_on = each(&super::Row::Postgres(&row)).inspect_err(|_| {
                    // Nobody wants the rest, and it may be long.
                    session.is_broken |= !session.is_writing;
                })?;
            }
        }
        Ok(())
    }

    pub fn execute(&self, sql: &str, params: &[Param]) -> DbResult<()> {
        let session = &mut *self.session.borrow_mut();
        let done = session.prepare(sql).and_then(|statement| {
            let params: Vec<Bound> = params.iter().map(Bound).collect();
            Ok(wait(session.silence, session.client.execute_raw(&statement, params))?.map(|_| ())?)
        });
        session.noting(done)
    }

    /// One list per column, so that the text does not depend on the number of rows.
    pub fn insert_at_once(&self, insert: Insert, values: &[Param]) -> DbResult<()> {
        let session = &mut *self.session.borrow_mut();
        let done = insert_columns(session, insert, values);
        session.noting(done)
    }

    /// Begins anew with another connection where the last one has broken.
    pub fn begin(&self, is_writing: bool) -> DbResult<()> {
        self.roll_back()?;
        let mut session = self.session.borrow_mut();
        if session.client.is_closed() || session.is_broken {
            *session = Session::connect(&self.config, self.silence)?;
        }
        session.has_failed = false;
        session.is_writing = is_writing;
        session.is_open = true;
        session.batch(if is_writing { "BEGIN" } else { READING })
    }

    pub fn commit(&self) -> DbResult<()> {
        let mut session = self.session.borrow_mut();
        if session.has_failed {
            return Err(DbError::Unreadable("a transaction in which a statement failed cannot be committed".to_string()));
        }
        session.batch("COMMIT")?;
        session.is_open = false;
        Ok(())
    }

    pub fn roll_back(&self) -> DbResult<()> {
        let mut session = self.session.borrow_mut();
        let was_open = std::mem::take(&mut session.is_open);
        // Where the connection is gone, so is its transaction.
        if session.is_broken {
            *session = Session::connect(&self.config, self.silence)?;
        } else if was_open && !session.client.is_closed() {
            session.batch("ROLLBACK")?;
        }
        Ok(())
    }

    pub fn row_lock(&self) -> &'static str {
        let session = self.session.borrow();
        if session.is_open && session.is_writing { " FOR UPDATE" } else { "" }
    }

    /// One statement without parameters, in PostgreSQL's own words: it refuses several.
    pub fn verbatim(&self, sql: &str) -> DbResult<()> {
        let session = &mut *self.session.borrow_mut();
        let done = wait(session.silence, session.client.execute(sql, &[])).and_then(|done| Ok(done.map(|_| ())?));
        session.noting(done)
    }

    /// Several statements without parameters, in PostgreSQL's own words.
    pub fn batch(&self, sql: &str) -> DbResult<()> {
        self.session.borrow_mut().batch(sql)
    }
}

fn insert_columns(session: &mut Session, insert: Insert, values: &[Param]) -> DbResult<()> {
    let (table, names, conflict) = (insert.table, insert.names(), insert.conflict);
    // The kinds of the columns are the table's own.
    let kinds = session.prepare(&format!("SELECT {names} FROM \"{table}\" LIMIT 0"))?;
    let lists = kinds.columns().iter().enumerate().map(|(i, column)| format!("${}::{}[]", i + 1, column.type_().name()));
    let lists: Vec<String> = lists.collect();
    let sql = format!("INSERT INTO \"{table}\" ({names}) SELECT * FROM unnest({}){conflict}", lists.join(", "));
    let statement = session.prepare(&sql)?;
    let width = insert.columns.len();
    let columns = (0..width).map(|column| values.iter().skip(column).step_by(width).map(Bound).collect::<Vec<_>>());
    wait(session.silence, session.client.execute_raw(&statement, columns.collect::<Vec<_>>()))??;
    Ok(())
}

/// A statement in PostgreSQL's words.
fn translated(sql: &str) -> String {
    let sql = sql.replace("CROSS JOIN \"", "JOIN \"");
    let mut out = String::with_capacity(sql.len() + 16);
    let mut rest = sql.as_str();
    while let Some(at) = rest.find('?') {
        let digits = rest[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        let number = &rest[at + 1..at + 1 + digits];
        let (before, after) = (&rest[..at], &rest[at + 1 + digits..]);
        rest = after;
        let (before, said, closing) = if let Some(before) = before.strip_suffix("NOT IN (SELECT value FROM rarray(") {
            (before, format!("<> ALL(${number})"), "))")
        } else if let Some(before) = before.strip_suffix("IN rarray(") {
            (before, format!("= ANY(${number})"), ")")
        } else if let Some(before) = before.strip_suffix("FROM rarray(") {
            (before, format!("FROM unnest(${number}::uuid[]) AS value"), ")")
        } else {
            (before, format!("${number}"), "")
        };
        out += before;
        out += &said;
        rest = rest.strip_prefix(closing).unwrap_or(rest);
    }
    out + rest
}

#[derive(Debug)]
struct Bound<'a>(&'a Param<'a>);

type Unfit = Box<dyn Error + Sync + Send>;

impl ToSql for Bound<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Unfit> {
        match self.0 {
            Param::Null => return Ok(IsNull::Yes),
            Param::Bool(value) => return value.to_sql(kind, out),
            Param::Int(value) => match *kind {
                Type::INT4 => i32::try_from(*value)?.to_sql(kind, out)?,
                Type::INT2 => i16::try_from(*value)?.to_sql(kind, out)?,
                _ => value.to_sql(kind, out)?,
            },
            Param::Real(value) => value.to_sql(kind, out)?,
            Param::Text(text) => escaped(text).to_sql(kind, out)?,
            Param::Id(id) => Sixteen(id.0).to_sql(kind, out)?,
            Param::Hash(value) => Sixteen(*value).to_sql(kind, out)?,
            Param::Bytes(bytes) => bytes.as_ref().to_sql(kind, out)?,
            Param::Ids(ids) => ids.iter().map(|id| Sixteen(id.0)).collect::<Vec<_>>().to_sql(kind, out)?,
            Param::Ints(ints) => ints.to_vec().to_sql(kind, out)?,
            Param::Texts(texts) => texts.iter().map(|text| escaped(text)).collect::<Vec<_>>().to_sql(kind, out)?,
        };
        Ok(IsNull::No)
    }

    /// What does not fit is told by what it is made of.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// Ids as UUID, hashes as bytes: both are the same sixteen on the wire.
#[derive(Debug)]
struct Sixteen(u128);

impl ToSql for Sixteen {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Unfit> {
        out.put_slice(&self.0.to_be_bytes());
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        matches!(*kind, Type::UUID | Type::BYTEA)
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Content<'a> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Content<'a>, Unfit> {
        Ok(match *kind {
            Type::INT8 => Content::Int(i64::from_sql(kind, raw)?),
            Type::INT4 => Content::Int(i32::from_sql(kind, raw)?.into()),
            Type::INT2 => Content::Int(i16::from_sql(kind, raw)?.into()),
            Type::BOOL => Content::Int(bool::from_sql(kind, raw)?.into()),
            Type::FLOAT8 => Content::Real(f64::from_sql(kind, raw)?),
            Type::TEXT | Type::VARCHAR | Type::NAME => Content::Text(unescaped(<&str>::from_sql(kind, raw)?)),
            Type::UUID | Type::BYTEA => raw.try_into().map_or(Content::Blob(raw), |bytes| Content::Bytes(u128::from_be_bytes(bytes))),
            _ => Content::Other,
        })
    }

    fn from_sql_null(_: &Type) -> Result<Content<'a>, Unfit> {
        Ok(Content::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

pub fn cell<'a>(row: &'a Row, at: usize) -> DbResult<Content<'a>> {
    Ok(row.try_get(at)?)
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains(ESCAPE) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        out.push(match char {
            ESCAPE if chars.next() == Some('0') => '\0',
            char => char,
        });
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::{escaped, translated, unescaped};

    #[test]
    fn n3_a_statement_is_said_in_postgresqls_words() {
        let says = |sql: &str, expected: &str| assert_eq!(translated(sql), expected);
        says("SELECT a FROM t WHERE b = ?1 AND c = ?12", "SELECT a FROM t WHERE b = $1 AND c = $12");
        says("WHERE id IN rarray(?2) LIMIT ?3", "WHERE id = ANY($2) LIMIT $3");
        says("AND id NOT IN (SELECT value FROM rarray(?4)) AND x", "AND id <> ALL($4) AND x");
        says("SELECT 1, value FROM rarray(?3) UNION", "SELECT 1, value FROM unnest($3::uuid[]) AS value UNION");
        says("FROM g CROSS JOIN \"card\" AS c ON true", "FROM g JOIN \"card\" AS c ON true");
    }

    #[test]
    fn n3_a_text_with_nuls_comes_back_as_it_was() {
        for text in ["", "plain", "a\0b", "\u{1}", "\u{1}0", "\0\0\u{1}\u{1}0\0", "ends\u{1}"] {
            assert!(!escaped(text).contains('\0'));
            assert_eq!(unescaped(&escaped(text)), text);
        }
    }
}
