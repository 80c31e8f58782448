//! How a client and its server talk.

mod tls;
mod web;

use futures_util::Stream;
use std::pin::Pin;
pub use web::Web;

/// A request under way. Dropped, it is given up.
pub type Asking = Pin<Box<dyn Future<Output = Result<Answer, NetworkError>> + Send>>;

/// A live connection, from the first attempt on. It ends when the connection does; dropped, it is closed.
pub type Line = Pin<Box<dyn Stream<Item = Heard> + Send>>;

/// What carries requests to a server, and its answers back. How long to wait for one, and when to try again, is the engine's business.
/// What is returned runs on Tokio.
pub trait Network: Send + 'static {
    /// `POST …/reconcile`.
    fn push(&self, body: String) -> Asking;

    /// `GET …/snapshot`.
    fn fetch(&self) -> Asking;

    /// Opens `…/live` and says from which revision on.
    fn connect(&self, cursor: u64) -> Line;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Of HTTP.
    pub status: u16,
    /// What the server asked for with `Retry-After`, in milliseconds.
    pub retry_after_ms: Option<u64>,
    pub body: String,
}

/// There was no answer, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkError(pub String);

impl std::fmt::Display for NetworkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NetworkError {}

/// What a live connection tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It stands. This comes first.
    Open,
    Message(String),
}
