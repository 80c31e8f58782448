//! The thread that calls the webhook: what is due is claimed, told, and struck out or put off.

use super::{Webhook, dying_parents, forget, goes_with_told};
use crate::clock::{self, now_ms};
use crate::db::{Db, DbResult, Dialect};
use crate::http;
use crate::metrics::{Metrics, Outcome};
use crate::store::Store;
use crate::writer::Background;
use driftline_core::value::{RowId, RowKey};
use futures_util::future::join_all;
use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::Sha256;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// How often a call is tried: with [`FIRST_WAIT_MS`] doubling up to [`LONGEST_WAIT_MS`], over about nine hours.
pub const ATTEMPTS: i64 = 15;
const FIRST_WAIT_MS: u64 = 2_000;
const LONGEST_WAIT_MS: u64 = 3 * 3_600 * 1_000;
/// A call takes no longer. One that was begun is not begun again sooner, by another server neither.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const CLAIM_MS: i64 = 30_000;
/// Calls at once.
const CALLS: i64 = 16;
/// How often to look for what is due.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// One effect that is due.
#[derive(Debug, Clone)]
struct Effect {
    space: i64,
    name: String,
    table: String,
    id: RowId,
    key: String,
    op: String,
    rev: u64,
    data: String,
    attempts: i64,
}

/// The thread that calls.
pub struct Calls {
    webhook: Arc<Webhook>,
    store: Store,
    writer: Background,
    metrics: Arc<Metrics>,
    client: reqwest::Client,
    url: reqwest::Url,
}

impl Calls {
    pub fn new(webhook: Arc<Webhook>, store: Store, writer: Background, metrics: Arc<Metrics>) -> Result<Calls, String> {
        let url = http::address(&webhook.url).map_err(|e| format!("webhook: the address is not fit: {e}"))?;
        let client = http::client(CALL_TIMEOUT)?;
        Ok(Calls { webhook, store, writer, metrics, client, url })
    }

    /// Starts it. It ends when the server stops; what is due then is so at the next start.
    pub fn start(self, stopping: watch::Receiver<bool>) -> std::io::Result<std::thread::JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            // A server that is dropped without a word stops, too.
            while !*stopping.borrow() && !self.writer.is_gone() {
                // There may be more of what is due.
                match catch_unwind(AssertUnwindSafe(|| self.round(&runtime))) {
                    Ok(Ok(called)) if called > 0 => continue,
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => tracing::error!(error, "effects could not be read or written; they are tried again"),
                    Err(_) => tracing::error!("calling the webhook panicked; it is tried again"),
                }
                std::thread::sleep(LOOK_EVERY);
            }
        };
        std::thread::Builder::new().name("effects".into()).spawn(run)
    }

    /// Calls what is due, some at once.
    fn round(&self, runtime: &Runtime) -> Result<usize, String> {
        let is_due = "SELECT 1 FROM _effect WHERE parked = ?1 AND due <= ?2 LIMIT 1";
        let due = self.store.db.reading(|| self.store.db.exists(is_due, &[false.into(), now_ms().into()]));
        if !due.map_err(|e| e.to_string())? {
            return Ok(0);
        }
        let claimed = self.write(claim)?;
        let count = claimed.len();
        let done = runtime.block_on(join_all(claimed.into_iter().map(|effect| self.call(effect))));
        for (_, taken) in &done {
            let outcome = if *taken { "taken" } else { "failed" };
            self.metrics.calls.get_or_create(&Outcome { outcome }).inc();
        }
        self.write(move |store| strike_out(store, &done))?;
        Ok(count)
    }

    fn write<T: Send + 'static>(&self, run: impl FnOnce(&Store) -> DbResult<T> + Send + 'static) -> Result<T, String> {
        let stopping = || "the server is stopping".to_string();
        self.writer.write(0, run).ok_or_else(stopping)?.map_err(|e| e.to_string())
    }

    async fn call(&self, effect: Effect) -> (Effect, bool) {
        let Effect { name, table, id, key, op, rev, data, .. } = &effect;
        let row = serde_json::value::RawValue::from_string(data.clone()).ok();
        let body = json!({"space": name, "table": table, "id": id.to_string(), "op": op, "rev": rev, "row": row}).to_string();
        let at_s = clock::now().as_secs();
        let request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("idempotency-key", key)
            .header("driftline-signature", sign(&self.webhook.secret, at_s, &body))
            .body(body);
        let taken = match request.send().await {
            Ok(answer) if answer.status().is_success() => true,
            Ok(answer) => {
                tracing::warn!(key, attempt = effect.attempts, status = answer.status().as_u16(), "the webhook did not take an effect");
                false
            }
            Err(error) => {
                tracing::warn!(key, attempt = effect.attempts, error = http::reason(error), "the webhook cannot be reached");
                false
            }
        };
        (effect, taken)
    }
}

/// Takes what is due, counts the attempt, and puts off the next one. What is dying is told by its root alone.
fn claim(store: &Store) -> DbResult<Vec<Effect>> {
    let skip = if store.db.dialect() == Dialect::Postgres { " FOR UPDATE OF e SKIP LOCKED" } else { "" };
    let sql = format!(
        "SELECT e.space, s.name, e.tbl, e.id, e.key, e.op, e.rev, e.data, e.attempts FROM _effect AS e JOIN _space AS s ON s.id = e.space \
         WHERE e.parked = ?1 AND e.due <= ?2 ORDER BY e.due LIMIT ?3{skip}"
    );
    let mut due = store.db.all(&sql, &[false.into(), now_ms().into(), CALLS.into()], |row| {
        Ok(Effect {
            space: row.int(0)?,
            name: row.text(1)?.into_owned(),
            table: row.text(2)?.into_owned(),
            id: row.id(3)?,
            key: row.text(4)?.into_owned(),
            op: row.text(5)?.into_owned(),
            rev: row.bits(6)?,
            data: row.text(7)?.into_owned(),
            attempts: row.int(8)? + 1,
        })
    })?;
    let mut dropped = Vec::new();
    for effect in due.iter().filter(|effect| effect.op != "delete") {
        if let Some(table) = store.schema.table(&effect.table) {
            let key = RowKey { table, id: effect.id };
            let is_told =
                |key: RowKey| store.webhook.as_ref().is_some_and(|hook| hook.tells(&store.schema.tables[key.table as usize].name));
            if goes_with_told(&dying_parents(store, effect.space, &[key])?, key, is_told) {
                forget(store, effect.space, &[key])?;
                dropped.push(effect.key.clone());
            }
        }
    }
    due.retain(|effect| !dropped.contains(&effect.key));
    for effect in &due {
        let sql = "UPDATE _effect SET attempts = ?4, due = ?5 WHERE space = ?1 AND tbl = ?2 AND id = ?3";
        let until = now_ms() + CLAIM_MS;
        store
            .db
            .execute(sql, &[effect.space.into(), effect.table.as_str().into(), effect.id.into(), effect.attempts.into(), until.into()])?;
    }
    Ok(due)
}

/// Strikes out what was taken, and says when the rest is tried again. A row that has changed meanwhile has another effect by now.
fn strike_out(store: &Store, done: &[(Effect, bool)]) -> DbResult<()> {
    for (effect, taken) in done {
        let row = [effect.space.into(), effect.table.as_str().into(), effect.id.into(), effect.key.as_str().into()];
        if *taken {
            store.db.execute("DELETE FROM _effect WHERE space = ?1 AND tbl = ?2 AND id = ?3 AND key = ?4", &row)?;
            // What has changed meanwhile is the next.
            let sql = "UPDATE _effect SET due = ?4, attempts = 1 WHERE space = ?1 AND tbl = ?2 AND id = ?3";
            let [space, table, id, _] = row;
            store.db.execute(sql, &[space, table, id, now_ms().into()])?;
            continue;
        }
        let random = getrandom::u64().unwrap_or_default();
        let wait = (random % (LONGEST_WAIT_MS.min(FIRST_WAIT_MS << effect.attempts.clamp(0, 20)) + 1)) as i64;
        let is_parked = effect.attempts >= ATTEMPTS;
        if is_parked {
            tracing::error!(key = effect.key, "the webhook has not taken an effect in all its attempts; it is parked");
        }
        // One that has changed meanwhile has not been tried.
        let sql =
            "UPDATE _effect SET due = ?4, parked = CASE WHEN key = ?6 THEN ?5 ELSE parked END WHERE space = ?1 AND tbl = ?2 AND id = ?3";
        let [space, table, id, key] = row;
        let params = [space, table, id, (now_ms() + wait).into(), is_parked.into(), key];
        store.db.execute(sql, &params)?;
    }
    Ok(())
}

/// What was parked, a line for each, the first thousand of them.
pub fn parked(data: &crate::Place) -> Result<Vec<String>, String> {
    let db = data.open()?;
    let sql = "SELECT s.name, e.tbl, e.id, e.op, e.rev FROM _effect AS e JOIN _space AS s ON s.id = e.space WHERE e.parked = ?1 \
               ORDER BY e.due LIMIT 1000";
    let line = |row: &crate::db::Row| {
        Ok(format!("{}: {} {} {} at revision {}", row.text(0)?, row.text(3)?, row.text(1)?, row.id(2)?, row.int(4)?))
    };
    db.reading(|| db.all(sql, &[true.into()], line)).map_err(|e| e.to_string())
}

/// Has what was parked tried again; returns how many there are.
pub fn retry_parked(data: &crate::Place) -> Result<i64, String> {
    retry_parked_over(&data.open()?)
}

/// The same over a connection that there is already. On an error nothing has changed.
pub fn retry_parked_over(db: &Db) -> Result<i64, String> {
    let run = || {
        db.begin_writing()?;
        let count = db.one("SELECT count(*) FROM _effect WHERE parked = ?1", &[true.into()], |row| row.int(0))?;
        let sql = "UPDATE _effect SET parked = ?1, attempts = 1, due = ?2 WHERE parked = ?3";
        db.execute(sql, &[false.into(), now_ms().into(), true.into()])?;
        db.commit()?;
        DbResult::Ok(count)
    };
    let done = run();
    if done.is_err() {
        db.roll_back().map_err(|e| e.to_string())?;
    }
    done.map_err(|e| e.to_string())
}

/// What a receiver compares with its own: over the time and the body, so that neither can be another.
pub fn sign(secret: &[u8], at_s: u64, body: &str) -> String {
    let mut code = match Hmac::<Sha256>::new_from_slice(secret) {
        Ok(code) => code,
        Err(_) => return String::new(),
    };
    code.update(format!("{at_s}.{body}").as_bytes());
    let mut out = format!("t={at_s},v1=");
    for byte in code.finalize().into_bytes() {
        let _ = write!(out, "{byte:02x}");
    }
    out
}
