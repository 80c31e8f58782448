//! Edits by the server's own code: by the same way as everybody's, with the same checks, marks and log.

use crate::auth::SERVER_PREFIX;
use crate::clock::now;
use crate::error::ApiError;
use crate::router::App;
use driftline_core::dedupe::own_client;
use driftline_core::limits;
use driftline_core::wire::read_push;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::time::sleep;

/// How often an edit is sent whose fate is not told. It has one number all the while, so it takes effect once.
const TRIES: u32 = 6;
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// Why nothing was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditError {
    /// The transaction is refused, for good.
    Refused { code: String, detail: String },
    /// It cannot be taken now: a large delete comes first, or the database is away. It may be tried again.
    Later(String),
    /// The database was away, and whether it has taken effect cannot be told. Write again what does no harm twice.
    Unsure(String),
}

impl std::fmt::Display for EditError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EditError::Refused { code, detail } => write!(f, "{code}: {detail}"),
            EditError::Later(detail) | EditError::Unsure(detail) => f.write_str(detail),
        }
    }
}

impl std::error::Error for EditError {}

/// A writer with a name, which stands, after `server:`, where others have a user. Its edits take numbers of the clock, so it remembers nothing.
pub struct Editor {
    app: App,
    name: String,
    client: u64,
    last: Mutex<u64>,
}

impl Editor {
    pub(crate) fn new(app: App, name: &str) -> Editor {
        Editor { app, name: format!("{SERVER_PREFIX}{name}"), client: named_client(name), last: Mutex::new(0) }
    }

    /// Applies edits as one transaction, and returns its revision once it is committed. `edits` is a list as in the protocol:
    /// `[{"op": "update", "table": "card", "id": "…", "set": {"x": 1}}]`, at most 1,000.
    pub async fn write(&self, space: &str, edits: &Json) -> Result<u64, EditError> {
        if !limits::is_space_name(space) {
            let detail = "a space's name is 1 to 64 characters of A-Z a-z 0-9 _ . -".to_string();
            return Err(EditError::Refused { code: "not_found".into(), detail });
        }
        let mut numbered = self.numbered(edits);
        let mut wait = FIRST_WAIT;
        let mut is_unsure = false;
        for _ in 0..TRIES {
            match self.attempt(space, &numbered).await {
                // Another process of this name has closed the number, and the log does not know it: it has not been applied.
                Ok(Told::Unknown { closed }) if !is_unsure => {
                    self.exceed(closed);
                    numbered = self.numbered(edits);
                }
                Ok(Told::Unknown { .. }) => break,
                Ok(Told::Applied(rev)) => return Ok(rev),
                Ok(Told::Refused { code, detail }) => return Err(EditError::Refused { code, detail }),
                Ok(Told::Held) => {
                    sleep(wait).await;
                    wait *= 2;
                }
                Err(error) if error.status >= 500 => {
                    is_unsure |= error.unsure || error.status == 500;
                    sleep(wait).await;
                    wait *= 2;
                }
                Err(error) => return Err(EditError::Refused { code: error.code.to_string(), detail: error.detail }),
            }
        }
        let detail = "the edit was not taken in some seconds; the log says why".to_string();
        Err(if is_unsure { EditError::Unsure(detail) } else { EditError::Later(detail) })
    }

    /// A transaction under the next number. It is the same to the byte however often it is sent.
    fn numbered(&self, edits: &Json) -> String {
        one_transaction(self.app.schema.version, self.client, self.number(), now().as_millis() as u64, &edits.to_string())
    }

    async fn attempt(&self, space: &str, numbered: &str) -> Result<Told, ApiError> {
        let push = read_push(&self.app.schema, numbered)?;
        let (_, plan) = self.app.writer.push(space.to_string(), self.name.clone(), push, numbered.len()).await?;
        let told = plan.outcomes.first().map(|(_, told)| format!("{{{told}}}")).unwrap_or_default();
        let closed = plan.clients.first().and_then(|client| client.closed.iter().last()).map_or(0, |range| range.1);
        Ok(Told::read(&serde_json::from_str(&told).unwrap_or_default(), closed))
    }

    /// The clock may have been set back since another process drew its numbers from it.
    fn exceed(&self, number: u64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = number.max(*last);
    }

    /// Microseconds since 1970, and never the same twice.
    fn number(&self) -> u64 {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = (now().as_micros() as u64).max(*last + 1);
        *last
    }
}

enum Told {
    Applied(u64),
    Refused {
        code: String,
        detail: String,
    },
    Held,
    /// The number is closed, as all are up to `closed`.
    Unknown {
        closed: u64,
    },
}

impl Told {
    fn read(json: &Json, closed: u64) -> Told {
        let of_problem = |name: &str| json["problem"][name].as_str().unwrap_or_default().to_string();
        match json["outcome"].as_str() {
            Some("applied") => Told::Applied(json["rev"].as_u64().unwrap_or_default()),
            Some("refused") => Told::Refused { code: of_problem("code"), detail: of_problem("detail") },
            Some("unknown") => Told::Unknown { closed },
            _ => Told::Held,
        }
    }
}

/// The client that stands for a name: the same in every process.
pub(crate) fn named_client(name: &str) -> u64 {
    let hash = Sha256::digest(name.as_bytes());
    own_client(hash[..8].iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte)))
}

/// A push of one transaction, `edits` being a list of JSON. It closes all numbers before its own.
pub(crate) fn one_transaction(schema: u32, client: u64, seq: u64, at_ms: u64, edits: &str) -> String {
    let closed = seq - 1;
    format!(
        r#"{{"epoch":1,"cursor":null,"clients":[{{"id":"{client:016x}","receipt":null,"closed":[[1,{closed}]]}}],"units":[{{"txns":[{{"key":[0,{seq}],"body":{{"schema":{schema},"at":[{at_ms},0],"edits":{edits}}}}}],"after":[]}}]}}"#
    )
}
