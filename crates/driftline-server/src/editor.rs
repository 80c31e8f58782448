//! Edits by the server's own code: by the same way as everybody's, with the same checks, marks and log.

use crate::error::ApiError;
use crate::router::App;
use driftline_core::dedupe::own_client;
use driftline_core::limits;
use driftline_core::wire::read_push;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
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

/// A writer with a name, which stands where others have a user. Its edits take numbers of the clock, so it remembers nothing.
pub struct Editor {
    app: App,
    name: String,
    client: u64,
    last: Mutex<u64>,
}

impl Editor {
    pub(crate) fn new(app: App, name: &str) -> Editor {
        let hash = Sha256::digest(name.as_bytes());
        let random = hash[..8].iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
        Editor { app, name: name.to_string(), client: own_client(random), last: Mutex::new(0) }
    }

    /// Applies edits as one transaction, and returns its revision once it is committed. `edits` is a list as in the protocol:
    /// `[{"op": "update", "table": "card", "id": "…", "set": {"x": 1}}]`, at most 1,000.
    pub async fn write(&self, space: &str, edits: &Json) -> Result<u64, EditError> {
        if !limits::is_space_name(space) {
            let detail = "a space's name is 1 to 64 characters of A-Z a-z 0-9 _ . -".to_string();
            return Err(EditError::Refused { code: "not_found".into(), detail });
        }
        let mut seq = self.number();
        let mut wait = FIRST_WAIT;
        let mut is_unsure = false;
        for _ in 0..TRIES {
            let result = self.attempt(space, edits, seq).await;
            match result {
                // Another process of this name has closed it: the log does not know it, so it has not been applied.
                Ok(Told::Unknown) => seq = self.number(),
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

    async fn attempt(&self, space: &str, edits: &Json, seq: u64) -> Result<Told, ApiError> {
        let at = [now().as_millis() as u64, 0];
        let body = json!({"schema": self.app.schema.version, "at": at, "edits": edits});
        let client = json!({"id": format!("{:016x}", self.client), "receipt": null, "closed": [[1, seq - 1]]});
        let unit = json!({"txns": [{"key": [0, seq], "body": body}], "after": []});
        let text = json!({"epoch": 1, "cursor": null, "clients": [client], "units": [unit]}).to_string();
        let push = read_push(&self.app.schema, &text)?;
        let bytes = text.len();
        let (_, plan) = self.app.writer.push(space.to_string(), self.name.clone(), push, bytes).await?;
        let told = plan.outcomes.first().map(|(_, told)| format!("{{{told}}}")).unwrap_or_default();
        Ok(Told::read(&serde_json::from_str(&told).unwrap_or_default()))
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
    Refused { code: String, detail: String },
    Held,
    Unknown,
}

impl Told {
    fn read(json: &Json) -> Told {
        let of_problem = |name: &str| json["problem"][name].as_str().unwrap_or_default().to_string();
        match json["outcome"].as_str() {
            Some("applied") => Told::Applied(json["rev"].as_u64().unwrap_or_default()),
            Some("refused") => Told::Refused { code: of_problem("code"), detail: of_problem("detail") },
            Some("unknown") => Told::Unknown,
            _ => Told::Held,
        }
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
