//! The log as readers see it, and the pool of their connections.

use crate::db::{DbError, DbResult, Param};
use crate::load::space_or_new;
use crate::store::Store;
use driftline_core::json::Json;
use driftline_core::limits;
use driftline_core::schema::Schema;
use driftline_core::upgrade;
use driftline_core::wire::ChangeRow;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// The revisions after a cursor.
#[derive(Debug, Default)]
pub struct Changes {
    pub rows: Vec<ChangeRow>,
    /// Others follow.
    pub more: bool,
    /// The cursor lies outside the log.
    pub reload: bool,
}

/// Reads whole revisions after `cursor`, up to `until` where one is given, within the limits of an answer.
pub fn read_changes(store: &Store, space: &str, principal: &str, cursor: u64, until: Option<u64>) -> DbResult<Changes> {
    // The horizon and the rows are of one moment.
    store.db.reading(|| read_at_once(store, space, principal, cursor, until))
}

fn read_at_once(store: &Store, space: &str, principal: &str, cursor: u64, until: Option<u64>) -> DbResult<Changes> {
    let (number, state) = space_or_new(store, space)?;
    let until = until.unwrap_or(state.rev);
    if cursor < state.horizon || cursor > until {
        return Ok(Changes { reload: true, ..Changes::default() });
    }
    let mut changes = Changes::default();
    let sql = "SELECT l.rev, l.actor, l.seq, l.changes, c.client, c.principal = ?2, l.schema, l.hash FROM _log AS l \
               LEFT JOIN _client AS c ON c.space = l.space AND c.actor = l.actor \
               WHERE l.space = ?1 AND l.rev > ?3 AND l.rev <= ?4 ORDER BY l.rev, l.part";
    let (mut last, mut revisions, mut bytes) = (None, 0, 0);
    // One revision more than an answer takes tells whether others follow.
    let last_read = until.min(cursor.saturating_add(limits::CHANGES_REVISIONS as u64 + 1));
    store.db.each_while(sql, &[number.into(), principal.into(), Param::bits(cursor), Param::bits(last_read)], |row| {
        let rev = row.bits(0)?;
        if last != Some(rev) {
            if revisions == limits::CHANGES_REVISIONS || bytes >= limits::CHANGES_BYTES {
                changes.more = true;
                return Ok(false);
            }
            revisions += 1;
            last = Some(rev);
        }
        let is_own = !row.is_null(5)? && row.bool(5)?;
        let own = if is_own { Some((row.bits(4)?, row.bits(2)?, row.hash(7)?)) } else { None };
        let Some(text) = in_present_terms(&store.schema, row.number(6)?, &row.text(3)?) else {
            changes.reload = true;
            return Ok(false);
        };
        bytes += text.len();
        changes.rows.push(ChangeRow { rev, actor: row.number(1)?, own, changes: text });
        Ok::<_, DbError>(true)
    })?;
    Ok(if changes.reload { Changes { reload: true, ..Changes::default() } } else { changes })
}

/// Changes as they were written under a version of the schema, in terms of the present one; `None` where nothing leads from there
/// to here.
pub fn in_present_terms(schema: &Schema, version: u32, text: &str) -> Option<String> {
    if version == schema.version {
        return Some(text.to_string());
    }
    if version > schema.version || version < upgrade::oldest(schema) {
        return None;
    }
    let Json::List(changes) = Json::parse(text).ok()? else { return None };
    let changes = upgrade::upgrade_changes(schema, version, changes);
    let changes = changes.inspect_err(|problem| tracing::error!(version, ?problem, "changes of the log could not be brought up to date"));
    let mut out = String::new();
    Json::List(changes.ok()?).write(&mut out);
    Some(out)
}

/// Connections for reading, each used by one task at a time.
pub struct Readers {
    idle: Mutex<Vec<Store>>,
    free: Arc<Semaphore>,
}

impl Readers {
    pub fn new(stores: Vec<Store>) -> Readers {
        let free = Arc::new(Semaphore::new(stores.len()));
        Readers { idle: Mutex::new(stores), free }
    }

    /// Runs `read` on a thread that may block. `None` where the reading panicked or the pool is closed.
    pub async fn run<T: Send + 'static>(self: &Arc<Self>, read: impl FnOnce(&Store) -> T + Send + 'static) -> Option<T> {
        let permit = self.free.clone().acquire_owned().await.ok()?;
        let readers = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let lent = Lent { store: readers.take(), readers: &readers };
            let result = lent.store.as_ref().map(read);
            drop(lent);
            drop(permit);
            result
        });
        task.await.ok().flatten()
    }

    fn take(&self) -> Option<Store> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// A connection that finds its way back even through a panic.
struct Lent<'a> {
    store: Option<Store>,
    readers: &'a Readers,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(store) = self.store.take() {
            // A reading that broke off inside its transaction must not pin an old state for the next one.
            let _ = store.db.roll_back();
            self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(store);
        }
    }
}
