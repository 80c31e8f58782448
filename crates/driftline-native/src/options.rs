//! What a client is opened with.

use crate::error::Error;
use driftline_core::limits::is_space_name;
use driftline_core::schema::Schema;
use futures_util::future::{BoxFuture, FutureExt, ready};
use std::path::PathBuf;
use std::sync::Arc;

/// Whose edits these are where the app does not say.
const ANONYMOUS: &str = "anonymous";
/// Beyond so many waiting transactions, or bytes of them, an edit is refused (`outbox_full`).
const OUTBOX_TXNS: usize = 100_000;
const OUTBOX_BYTES: usize = 64 * 1024 * 1024;

/// Start from [`Options::new`] and set what differs.
#[derive(Clone)]
pub struct Options {
    /// The SQLite file: one for each user and app, for all of their spaces. It is made where there is none, with its folder. Not looked
    /// at by [`crate::Client::with`].
    pub path: PathBuf,
    /// The JSON of the schema, as the server has it.
    pub schema: String,
    /// One document: 1 to 64 characters of `A-Z a-z 0-9 _ . -`.
    pub space: String,
    /// The server's address, `http://…` or `https://…`.
    pub url: String,
    pub token: Option<Token>,
    /// Whose edits these are. Where this is given, the server refuses them (`wrong_user`) with a credential that names somebody else.
    pub user: Option<String>,
    /// Files of unsynced work are an app's own; the schema's name if left out.
    pub app: Option<String>,
    /// Whether to begin online; see [`crate::Client::set_online`].
    pub online: bool,
    /// Beyond so many waiting transactions an edit is refused (`outbox_full`): 100,000.
    pub outbox_txns: usize,
    /// Beyond so many bytes of them, too: 64 MiB.
    pub outbox_bytes: usize,
}

impl Options {
    pub fn new(path: impl Into<PathBuf>, schema: impl Into<String>, space: impl Into<String>, url: impl Into<String>) -> Options {
        Options {
            path: path.into(),
            schema: schema.into(),
            space: space.into(),
            url: url.into(),
            token: None,
            user: None,
            app: None,
            online: true,
            outbox_txns: OUTBOX_TXNS,
            outbox_bytes: OUTBOX_BYTES,
        }
    }

    /// The schema, and whose space this is.
    pub(crate) fn read(&self) -> Result<(Schema, Home), Error> {
        let schema = Schema::parse(&self.schema).map_err(|error| Error::new("invalid_schema", error.to_string()))?;
        if !is_space_name(&self.space) {
            return Err(Error::new("invalid", "a space's name is 1 to 64 of A-Z a-z 0-9 _ . -"));
        }
        let app = self.app.clone().unwrap_or_else(|| schema.name.clone());
        let user = self.user.clone().unwrap_or_else(|| ANONYMOUS.to_string());
        Ok((schema, Home { app, user, space: self.space.clone() }))
    }
}

/// Whose space, of which app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    pub app: String,
    pub user: String,
    pub space: String,
}

/// A credential, or a way to get one: asked whenever the server wants it.
#[derive(Clone)]
pub struct Token(Arc<dyn Fn() -> BoxFuture<'static, Option<String>> + Send + Sync>);

impl Token {
    pub fn fixed(token: impl Into<String>) -> Token {
        let token = token.into();
        Token(Arc::new(move || ready(Some(token.clone())).boxed()))
    }

    /// `ask` may take its time; `None` where there is none now, and the server's refusal leads to the next question.
    pub fn from_fn<F>(ask: impl Fn() -> F + Send + Sync + 'static) -> Token
    where
        F: Future<Output = Option<String>> + Send + 'static,
    {
        Token(Arc::new(move || ask().boxed()))
    }

    pub(crate) fn get(&self) -> BoxFuture<'static, Option<String>> {
        (self.0)()
    }
}
