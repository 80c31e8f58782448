//! Versions of a space: what it was at a time, kept as compressed snapshots, to look at or to go back to.
//!
//! Going back makes new edits: what the rows are now becomes what they were, under new revisions, and can be undone in the same way.

use crate::clock::now_s;
use crate::db::{DbError, DbResult, Param};
use crate::editor::{named_client, one_transaction};
use crate::error::ApiError;
use crate::jobs::{Keeping, Progress};
use crate::load::space_or_new;
use crate::reap;
use crate::snapshot;
use crate::store::{Moment, Store, StoreError};
use crate::writer::Background;
use driftline_core::dedupe::Ranges;
use driftline_core::edit::{Edit, Op};
use driftline_core::json::Json as Tree;
use driftline_core::limits;
use driftline_core::order::{Step, arrange};
use driftline_core::rows::Rows;
use driftline_core::schema::Schema;
use driftline_core::sorted::SortedMap;
use driftline_core::undo::Undoable;
use driftline_core::upgrade::upgrade_snapshot;
use driftline_core::value::{Row, RowKey};
use driftline_core::wire::{SNAPSHOT_END, read_push, snapshot_version};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value as Json, json};
use std::io::{Read, Write};

/// Larger spaces get no versions: one is made and read in memory.
const VERSION_BYTES: usize = 32 * 1024 * 1024;
/// A transaction's body has room for this much, whatever stands around it.
const BODY_BYTES: usize = limits::TXN_BYTES - 4_096;

/// Keeps what the space is now, if it has changed since the last version and that is old enough. Others that are too many go.
pub fn keep(store: &Store, writer: &Background, space: i64, name: &str, keeping: &Keeping) -> Result<Progress, StoreError> {
    let sql = "SELECT rev, at FROM _version WHERE space = ?1 ORDER BY rev DESC LIMIT 1";
    let last = store.db.reading(|| store.db.first(sql, &[space.into()], |row| Ok((row.bits(0)?, row.int(1)?))))?;
    if keeping.versions == 0 {
        return Ok(Progress::Done);
    }
    // Somebody may have asked for one, or another server kept it.
    if last.is_some_and(|(_, at)| now_s() < at + keeping.version_every.as_secs() as i64 / 2) {
        return Ok(Progress::Later);
    }
    let Some(version) = read(store, name)? else { return Ok(Progress::Done) };
    if last.is_some_and(|(rev, _)| rev == version.rev) {
        return Ok(Progress::Done);
    }
    let kept = keeping.versions;
    match writer.write(space, move |store| write(store, space, &version, kept)) {
        None => Ok(Progress::Stopping),
        Some(done) => done.map(|()| Progress::Done),
    }
}

/// What a space is at a revision.
pub struct Version {
    pub rev: u64,
    rows: i64,
    data: Vec<u8>,
}

/// `None`: the space is empty, or too large.
pub fn read(store: &Store, name: &str) -> Result<Option<Version>, StoreError> {
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    let (mut bytes, mut head) = (0, None);
    let read = store.db.reading(|| {
        snapshot::read_at_once(store, name, &mut |line| {
            bytes += line.len();
            head.get_or_insert_with(|| serde_json::from_str::<Json>(&line).unwrap_or_default());
            let written = bytes <= VERSION_BYTES && out.write_all(line.as_bytes()).is_ok();
            if written { Ok(()) } else { Err(snapshot::Ended::Gone) }
        })
    });
    match read {
        Err(snapshot::Ended::Failed(error)) => return Err(error.into()),
        Err(snapshot::Ended::Gone) => {
            tracing::warn!(space = name, "the space is too large for a version of it to be kept");
            return Ok(None);
        }
        Ok(()) => {}
    }
    let head = head.unwrap_or_default();
    let data = out.write_all(SNAPSHOT_END.as_bytes()).and_then(|()| out.finish());
    let data = data.map_err(|_| StoreError::Fault("compressing failed"))?;
    let version = Version { rev: head["rev"].as_u64().unwrap_or_default(), rows: head["rows"].as_i64().unwrap_or_default(), data };
    Ok((version.rev > 0).then_some(version))
}

pub fn write(store: &Store, space: i64, version: &Version, kept: u32) -> DbResult<()> {
    let sql = "INSERT INTO _version (space, rev, at, rows, data) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (space, rev) DO NOTHING";
    let data = Param::Bytes(version.data.as_slice().into());
    store.db.execute(sql, &[space.into(), Param::bits(version.rev), now_s().into(), version.rows.into(), data])?;
    let sql = "DELETE FROM _version WHERE space = ?1 AND rev <= coalesce((SELECT rev FROM _version WHERE space = ?1 ORDER BY rev DESC LIMIT 1 \
               OFFSET ?2), -1)";
    store.db.execute(sql, &[space.into(), kept.into()])
}

/// The versions of a space as JSON, the newest first.
pub fn list(store: &Store, name: &str) -> DbResult<String> {
    let sql = "SELECT v.rev, v.at, v.rows, length(v.data) FROM _version AS v WHERE v.space = (SELECT id FROM _space WHERE name = ?1) \
               ORDER BY v.rev DESC";
    let listed = store.db.reading(|| {
        store.db.all(sql, &[name.into()], |row| {
            Ok(json!({"rev": row.bits(0)?, "at_s": row.int(1)?, "rows": row.int(2)?, "bytes": row.int(3)?}))
        })
    })?;
    Ok(json!({ "versions": listed }).to_string())
}

/// A version as it is kept, compressed; `None` where there is none of this revision.
pub fn data(store: &Store, name: &str, rev: u64) -> DbResult<Option<Vec<u8>>> {
    let sql = "SELECT data FROM _version WHERE space = (SELECT id FROM _space WHERE name = ?1) AND rev = ?2";
    store.db.first(sql, &[name.into(), Param::bits(rev)], |row| row.bytes(0))
}

/// What the rows were, in terms of the present schema. It takes a while, and no writer should wait for it.
pub fn then(schema: &Schema, data: &[u8]) -> Result<Vec<(RowKey, Row)>, ApiError> {
    let mut text = String::new();
    GzDecoder::new(data).read_to_string(&mut text).map_err(|_| refused("the version cannot be read"))?;
    let snapshot = upgrade_snapshot(schema, snapshot_version(schema, &text), &text);
    Ok(snapshot.ok_or_else(|| refused("the version is of a schema from which nothing leads to the present one"))?.rows)
}

/// What going back has come to.
pub struct Restored {
    pub rev: u64,
    pub edits: usize,
}

/// Makes the rows what they were, in the caller's transaction: all of it, or a refusal and nothing.
pub fn restore(store: &Store, name: &str, principal: &str, then: Vec<(RowKey, Row)>, moment: Moment) -> Result<Restored, StoreError> {
    let (rev, now) = rows_now(store, name)?;
    let mut before: SortedMap<RowKey, Option<Row>> = SortedMap::new();
    for (key, _) in now.iter() {
        before.insert(*key, None);
    }
    for (key, row) in then {
        before.insert(key, Some(row));
    }
    let edits = Undoable::new(0, &before, &now).inverse(&store.schema, &now);
    let count = edits.len();
    let units = units(store, &now, edits).ok_or_else(|| refuse(refused("the rows of the version cannot be put in an order")))?;
    // Later than whatever has been written, so that it holds; the stamps of a clock ahead are.
    let last_ms = now.iter().map(|(_, row)| row.clocks.latest().ms()).max().unwrap_or_default();
    let at_ms = moment.now_ms.max(last_ms) + 1;
    // A clock ahead is believed for as far as rows have been written by it.
    let moment = Moment { now_ms: moment.now_ms.max(last_ms), ..moment };
    // A client of its own for each user, whose numbers are the clock's: whoever goes back has others for what they type.
    let client = named_client(&format!("versions of {principal}"));
    let (mut seq, mut rev) = (last_closed(store, name, principal, client)?.max(moment.now_ms * 1_000), rev);
    // One after the other: what goes with the rows of one counts for it alone.
    for edits in units.iter().filter(|edits| !edits.is_empty()) {
        seq += 1;
        let push = one_transaction(store.schema.version, client, seq, at_ms, &format!("[{edits}]"));
        let push = read_push(&store.schema, &push).map_err(|error| {
            tracing::error!(detail = error.detail, "going back to a version made a request that does not read");
            StoreError::Fault("going back to a version")
        })?;
        let plan = store.push(name, principal, &push, moment, &crate::Faults::default())?;
        let plan = plan.map_err(|_| refuse(ApiError::unavailable("the edits could not be decided; try again")))?;
        match plan.outcomes.first() {
            Some((_, told)) if told.starts_with("\"outcome\":\"applied\"") => rev = plan.space.rev,
            Some((_, told)) if told.starts_with("\"outcome\":\"held\"") => {
                return Err(refuse(ApiError::unavailable("a large delete is under way; try again")));
            }
            told => {
                let told = told.map(|(_, told)| told.as_str()).unwrap_or_default();
                return Err(refuse(refused(&format!("one of the edits is not applied: {{{told}}}"))));
            }
        }
    }
    Ok(Restored { rev, edits: count })
}

fn refuse(refusal: ApiError) -> StoreError {
    StoreError::Refused(Box::new(refusal))
}

fn refused(detail: &str) -> ApiError {
    ApiError::new(409, "not_restored", detail)
}

/// The rows that are to be seen, with their stamps, and the revision.
fn rows_now(store: &Store, name: &str) -> DbResult<(u64, Rows)> {
    let (number, state) = space_or_new(store, name)?;
    let hidden = reap::going(store, number)?;
    let mut rows = Rows::default();
    for table in snapshot::shown(store) {
        store.db.each(&table.select, &[number.into()], |row| {
            if let Some((key, row)) = snapshot::without_hidden(&store.schema, table.read(&store.schema, row)?, &hidden) {
                rows.put(key, Some(row));
            }
            Ok::<_, DbError>(())
        })?;
    }
    Ok((state.rev, rows))
}

/// Transactions one after the other: what is made or changed, parents first; then what goes, children first.
fn units(store: &Store, now: &Rows, edits: Vec<Edit>) -> Option<Vec<String>> {
    let held = |key| now.get(key).map(|row| row.references().collect()).unwrap_or_default();
    let (gone, made): (Vec<Edit>, Vec<Edit>) = edits.into_iter().partition(|edit| edit.op == Op::Delete);
    let mut units = vec![String::new()];
    let (mut count, mut body_bytes) = (0, 0);
    for edits in [made, gone] {
        let steps = edits.into_iter().map(|edit| Step { part: 0, edit }).collect();
        for step in arrange(&store.schema, steps, &held).ok()? {
            let bytes = step.edit.bytes(&store.schema) + 1;
            if count == limits::TXN_EDITS || (count > 0 && body_bytes + bytes > BODY_BYTES) {
                units.push(String::new());
                (count, body_bytes) = (0, 0);
            }
            let body = units.last_mut()?;
            if count > 0 {
                body.push(',');
            }
            step.edit.write_json(&store.schema, body);
            (count, body_bytes) = (count + 1, body_bytes + bytes);
        }
    }
    Some(units)
}

/// Up to where its numbers are used: the clock may have been set back.
fn last_closed(store: &Store, name: &str, principal: &str, client: u64) -> DbResult<u64> {
    let sql = "SELECT closed FROM _client WHERE space = (SELECT id FROM _space WHERE name = ?1) AND principal = ?2 AND client = ?3";
    let closed = store.db.first(sql, &[name.into(), principal.into(), Param::bits(client)], |row| Ok(row.text(0)?.into_owned()))?;
    let ranges = closed.and_then(|closed| Ranges::from_json(&Tree::parse_or_null(&closed))).unwrap_or_default();
    Ok(ranges.iter().last().map_or(0, |range| range.1 + 1))
}
