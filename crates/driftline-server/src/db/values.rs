//! What goes into statements and what comes out of them, whichever the database.

#[cfg(feature = "postgres")]
use super::postgres;
use super::{DbError, DbResult, sqlite};
use driftline_core::value::RowId;
use std::borrow::Cow;
use std::rc::Rc;

/// Rows per statement: more of them gain nothing, and the text of a statement is built once per length.
const CHUNK_ROWS: usize = 250;
/// SQLite's limit is 32,766 parameters.
const CHUNK_PARAMETERS: usize = 32_000;

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
    Bytes(Cow<'a, [u8]>),
    /// The rows of an `rarray`.
    Ids(Rc<[RowId]>),
    Ints(Rc<[i64]>),
    Texts(Rc<[String]>),
}

impl<'a> Param<'a> {
    pub fn ids(ids: impl IntoIterator<Item = RowId>) -> Param<'a> {
        Param::Ids(ids.into_iter().collect())
    }

    pub fn ints(ints: impl IntoIterator<Item = i64>) -> Param<'a> {
        Param::Ints(ints.into_iter().collect())
    }

    pub fn texts(texts: impl IntoIterator<Item = String>) -> Param<'a> {
        Param::Texts(texts.into_iter().collect())
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

/// Rows that are written many at a time.
#[derive(Debug, Clone, Copy)]
pub struct Insert<'a> {
    pub table: &'a str,
    pub columns: &'a [&'a str],
    /// What comes after the rows: ` ON CONFLICT …`, or nothing.
    pub conflict: &'a str,
}

impl Insert<'_> {
    pub(super) fn names(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|name| format!("\"{name}\"")).collect();
        names.join(", ")
    }

    /// How many rows one statement takes.
    pub fn chunk_rows(&self) -> usize {
        CHUNK_ROWS.min(CHUNK_PARAMETERS / self.columns.len()).max(1)
    }
}

/// PostgreSQL's texts have no NUL. It is written as this character and `0`, and the character as twice itself.
pub(super) const ESCAPE: char = '\u{1}';

/// A text as PostgreSQL holds it.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(ESCAPE, "\u{1}\u{1}").replace('\0', "\u{1}0"))
}

/// What stands in one place of a row.
pub enum Content<'a> {
    Null,
    Int(i64),
    Real(f64),
    Text(Cow<'a, str>),
    /// Ids, hashes and digests stand as 16 bytes, highest first, so that they sort as numbers.
    Bytes(u128),
    Blob(&'a [u8]),
    Other,
}

/// One row of an answer; columns count from 0.
pub enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    #[cfg(feature = "postgres")]
    Postgres(&'a ::tokio_postgres::Row),
}

impl Row<'_> {
    fn cell(&self, at: usize) -> DbResult<Content<'_>> {
        match self {
            Row::Sqlite(row) => sqlite::cell(row, at),
            #[cfg(feature = "postgres")]
            Row::Postgres(row) => postgres::cell(row, at),
        }
    }

    fn name(&self, at: usize) -> &str {
        match self {
            Row::Sqlite(row) => row.as_ref().column_name(at).unwrap_or("?"),
            #[cfg(feature = "postgres")]
            Row::Postgres(row) => row.columns().get(at).map_or("?", |column| column.name()),
        }
    }

    fn wrong(&self, at: usize, expected: &str) -> DbError {
        DbError::Unreadable(format!("column `{}` should hold {expected}, and holds something else", self.name(at)))
    }

    pub fn is_null(&self, at: usize) -> DbResult<bool> {
        Ok(matches!(self.cell(at)?, Content::Null))
    }

    pub fn int(&self, at: usize) -> DbResult<i64> {
        if let Content::Int(value) = self.cell(at)? { Ok(value) } else { Err(self.wrong(at, "a whole number")) }
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
        match self.cell(at)? {
            Content::Real(value) => Ok(value),
            _ => Err(self.wrong(at, "a number")),
        }
    }

    pub fn text(&self, at: usize) -> DbResult<Cow<'_, str>> {
        if let Content::Text(text) = self.cell(at)? { Ok(text) } else { Err(self.wrong(at, "text")) }
    }

    /// A hash or a digest.
    pub fn hash(&self, at: usize) -> DbResult<u128> {
        if let Content::Bytes(value) = self.cell(at)? { Ok(value) } else { Err(self.wrong(at, "16 bytes")) }
    }

    /// What [`Param::Bytes`] wrote.
    pub fn bytes(&self, at: usize) -> DbResult<Vec<u8>> {
        match self.cell(at)? {
            Content::Bytes(value) => Ok(value.to_be_bytes().to_vec()),
            Content::Blob(bytes) => Ok(bytes.to_vec()),
            _ => Err(self.wrong(at, "bytes")),
        }
    }

    pub fn id(&self, at: usize) -> DbResult<RowId> {
        self.hash(at).map(RowId)
    }
}
