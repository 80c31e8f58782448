//! Pruning: what lies so far back in a log that hardly anybody asks for it goes, some revisions to a transaction.
//!
//! A client whose cursor lies before the horizon is told to load the space anew, and what waits in its outbox is taken as ever. Keys
//! that were settled before the horizon are known by the ranges that their clients have closed.

use crate::db::{DbError, Param};
use crate::jobs::Progress;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};
use crate::writer::Background;

/// Revisions that go in one transaction: pushes wait for it no longer than for each other.
const STEP_REVISIONS: u64 = 2_000;
/// A log grows by this share of what it keeps before it is pruned again.
const SLACK: u64 = 10;

/// Keeps the last `keep` revisions, or a little more.
pub fn prune(store: &Store, writer: &Background, space: i64, keep: u64, metrics: &Metrics) -> Result<Progress, StoreError> {
    let sql = "SELECT rev, horizon FROM _space WHERE id = ?1";
    let read = store.db.reading(|| store.db.first(sql, &[space.into()], |row| Ok((row.bits(0)?, row.bits(1)?))));
    let Some((rev, mut horizon)) = read? else { return Ok(Progress::Done) };
    if rev.saturating_sub(horizon) <= keep.saturating_add(keep / SLACK) {
        return Ok(Progress::Done);
    }
    let until = rev - keep;
    while horizon < until {
        let next = until.min(horizon + STEP_REVISIONS);
        match writer.write(space, move |store| forget(store, space, next)) {
            None => return Ok(Progress::Stopping),
            Some(done) => done?,
        }
        metrics.pruned_rows.inc_by(next - horizon);
        horizon = next;
    }
    Ok(Progress::Done)
}

/// The horizon and the rows behind it, at once. Another server may have been here first.
fn forget(store: &Store, space: i64, horizon: u64) -> Result<(), DbError> {
    let params = [space.into(), Param::bits(horizon)];
    let before = format!("SELECT horizon FROM _space WHERE id = ?1{}", store.db.row_lock());
    if store.db.one(&before, &params[..1], |row| row.bits(0))? >= horizon {
        return Ok(());
    }
    store.db.execute("UPDATE _space SET horizon = ?2 WHERE id = ?1", &params)?;
    store.db.execute("DELETE FROM _log WHERE space = ?1 AND rev <= ?2", &params)?;
    // What is dying is not gone yet.
    let dying = "SELECT 1 FROM _dying WHERE space = ?1 LIMIT 1";
    if !store.db.exists(dying, &params[..1])? {
        store.db.execute("DELETE FROM _deleted WHERE space = ?1 AND rev <= ?2", &params)?;
    }
    Ok(())
}
