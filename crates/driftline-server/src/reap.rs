//! Large deletes: what hangs on a dying row goes in the background, leaves first, a batch per transaction.
//!
//! The push that deleted the row only marked it (`_dying`). A thread of its own works out from the database which rows go
//! and in which order, and hands the writer batch after batch; first those that stay lose their references to what goes. It keeps nothing: after a crash it begins again with what is
//! left, which still hangs together, because no row goes before those that refer to it.

use crate::load::{id_bytes, id_list, read_digest, read_doomed};
use crate::store::{Store, StoreError};
use crate::tables::{Layout, blob, read_u128};
use crate::write::insert;
use crate::writer::Background;
use driftline_core::digest::Digest;
use driftline_core::order::referrers_first;
use driftline_core::schema::{OnDelete, Schema};
use driftline_core::value::{Row, RowId, RowKey, Value};
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Rows of one transaction: pushes wait for it no longer than for each other.
const BATCH_ROWS: usize = 1_000;
/// How long to wait after a failure, and how often to look without being told.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// What to do in one transaction.
#[derive(Debug, Clone)]
pub struct Batch {
    pub space: i64,
    /// Rows that stay, with a column whose reference becomes null if it leads to a row that is dying.
    pub nulls: Vec<(RowKey, u16)>,
    /// Rows to delete, in order.
    pub rows: Vec<RowKey>,
    /// The revision that deleted them.
    pub rev: u64,
    /// With the last batch, the rows that were dying.
    pub done: Vec<RowKey>,
}

/// Wakes the thread: some row is dying.
#[derive(Clone)]
pub struct Waker(Sender<bool>);

impl Waker {
    pub fn wake(&self) {
        let _ = self.0.send(true);
    }

    pub fn stop(&self) {
        let _ = self.0.send(false);
    }
}

pub fn waker() -> (Waker, Receiver<bool>) {
    let (sender, receiver) = channel();
    (Waker(sender), receiver)
}

/// Starts the thread. It looks at once, for an earlier process may have left something.
pub fn start(store: Store, writer: Background, woken: Receiver<bool>) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("reaper".into()).spawn(move || {
        loop {
            match dying(&store) {
                Ok(spaces) => {
                    for (space, dying) in spaces {
                        // What fails for one does not keep the others.
                        match reap(&store, &writer, space, dying) {
                            Ok(Progress::Done) => {}
                            Ok(Progress::BatchFailed) => tracing::warn!(space, "a large delete is tried again later"),
                            Ok(Progress::Stopping) => return,
                            Err(error) => tracing::error!(space, %error, "a large delete could not go on; it is tried again"),
                        }
                    }
                }
                Err(error) => tracing::error!(%error, "cannot read what is being deleted"),
            }
            match woken.recv_timeout(LOOK_EVERY) {
                Ok(true) | Err(RecvTimeoutError::Timeout) => {}
                Ok(false) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    })
}

/// What came of handing something to the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Done,
    BatchFailed,
    Stopping,
}

/// What is dying in one space, and the latest revision that deleted any of it.
#[derive(Default)]
struct Dying {
    roots: Vec<RowKey>,
    rev: u64,
}

fn dying(store: &Store) -> rusqlite::Result<BTreeMap<i64, Dying>> {
    let mut statement = store.conn.prepare_cached("SELECT space, tbl, id, rev FROM _dying")?;
    let mut rows = statement.query([])?;
    let mut spaces: BTreeMap<i64, Dying> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        if let Some(table) = store.schema.table(row.get_ref(1)?.as_str()?) {
            let dying = spaces.entry(row.get(0)?).or_default();
            dying.roots.push(RowKey { table, id: RowId(read_u128(row, 2)?) });
            dying.rev = dying.rev.max(row.get::<_, i64>(3)? as u64);
        }
    }
    Ok(spaces)
}

/// All that is dying in a space goes together: one may refer to what hangs on another.
fn reap(store: &Store, writer: &Background, space: i64, dying: Dying) -> rusqlite::Result<Progress> {
    let groups = going(store, space)?;
    let nulls = nulled(store, space)?;
    for nulls in nulls.chunks(BATCH_ROWS) {
        let batch = Batch { space, nulls: nulls.to_vec(), rows: Vec::new(), rev: dying.rev, done: Vec::new() };
        let progress = writer.reap(batch);
        if progress != Progress::Done {
            return Ok(progress);
        }
    }
    let mut batches: Vec<Vec<RowKey>> = vec![Vec::new()];
    for group in groups {
        match batches.last_mut() {
            Some(last) if last.is_empty() || last.len() + group.len() <= BATCH_ROWS => last.extend(group),
            _ => batches.push(group),
        }
    }
    let (count, rows) = (batches.len(), batches.iter().map(Vec::len).sum::<usize>());
    tracing::info!(space, rows, "a large delete goes on in the background");
    for (i, rows) in batches.into_iter().enumerate() {
        let done = if i + 1 == count { dying.roots.clone() } else { Vec::new() };
        let progress = writer.reap(Batch { space, nulls: Vec::new(), rows, rev: dying.rev, done });
        if progress != Progress::Done {
            return Ok(progress);
        }
    }
    Ok(Progress::Done)
}

/// Which of the rows that are dying.
#[derive(Debug, Clone, Copy)]
pub enum Which {
    All,
    /// Those deleted before this revision.
    Before(u64),
}

impl Which {
    /// What of `_dying` in space `?1`.
    pub fn condition(self) -> String {
        match self {
            Which::All => "space = ?1".to_string(),
            Which::Before(rev) => format!("space = ?1 AND rev < {rev}"),
        }
    }
}

/// The tables of what is dying.
pub fn dying_tables(conn: &Connection, schema: &Schema, space: i64, which: Which) -> rusqlite::Result<Vec<u16>> {
    let mut statement = conn.prepare(&format!("SELECT DISTINCT tbl FROM _dying WHERE {}", which.condition()))?;
    let names: Vec<String> = statement.query_map([space], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(names.iter().filter_map(|name| schema.table(name)).collect())
}

/// `WITH RECURSIVE going (tbl, id)` of what is dying in space `?1`, whose tables are `roots`.
pub fn going_of(schema: &Schema, layout: &Layout, roots: &[u16], which: Which, wanted: Option<&[u16]>) -> String {
    let cases: String = roots.iter().map(|root| format!(" WHEN '{}' THEN {root}", schema.tables[*root as usize].name)).collect();
    let base = format!("SELECT CASE tbl{cases} END, id FROM _dying WHERE {}", which.condition());
    layout.going(schema, &base, roots, wanted)
}

/// The same of all that is dying; `None` where nothing is.
pub fn all_going(conn: &Connection, schema: &Schema, layout: &Layout, space: i64) -> rusqlite::Result<Option<String>> {
    let roots = dying_tables(conn, schema, space, Which::All)?;
    Ok((!roots.is_empty()).then(|| going_of(schema, layout, &roots, Which::All, None)))
}

/// All rows that go with what is dying, itself included; each group after those that refer to it.
fn going(store: &Store, space: i64) -> rusqlite::Result<Vec<Vec<RowKey>>> {
    let Some(going) = all_going(&store.conn, &store.schema, &store.layout, space)? else { return Ok(Vec::new()) };
    store.conn.execute_batch(
        "CREATE TEMP TABLE IF NOT EXISTS _going (tbl INTEGER, id BLOB, PRIMARY KEY (tbl, id)) WITHOUT ROWID; DELETE FROM temp._going",
    )?;
    store.conn.prepare_cached(&format!("INSERT INTO temp._going {going}SELECT tbl, id FROM going"))?.execute([space])?;
    let mut keys = Vec::new();
    let mut places = BTreeMap::new();
    let mut statement = store.conn.prepare_cached("SELECT tbl, id FROM temp._going ORDER BY tbl, id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let key = RowKey { table: row.get(0)?, id: RowId(read_u128(row, 1)?) };
        places.insert(key, keys.len());
        keys.push(key);
    }
    let mut refers: Vec<Vec<usize>> = vec![Vec::new(); keys.len()];
    let tables: BTreeSet<u16> = keys.iter().map(|key| key.table).collect();
    for &table in &tables {
        let layout = store.layout.table(table);
        for slot in &layout.slots {
            let Some(target) = slot.target.filter(|target| tables.contains(target)) else { continue };
            let (name, column) = (&layout.name, &slot.name);
            let mut statement = store.conn.prepare_cached(&format!(
                "SELECT c.id, c.\"{column}\" FROM temp._going AS g CROSS JOIN \"{name}\" AS c ON c.space = ?1 AND c.id = g.id \
                 WHERE g.tbl = {table} AND c.\"{column}\" IS NOT NULL"
            ))?;
            let mut rows = statement.query([space])?;
            while let Some(row) = rows.next()? {
                let place = |table: u16, at: usize| {
                    Ok::<_, rusqlite::Error>(places.get(&RowKey { table, id: RowId(read_u128(row, at)?) }).copied())
                };
                if let (Some(from), Some(to)) = (place(table, 0)?, place(target, 1)?) {
                    refers[from].push(to);
                }
            }
        }
    }
    let groups = referrers_first(keys.len(), |node, out| out.extend_from_slice(&refers[node]));
    Ok(groups.into_iter().map(|group| group.into_iter().map(|i| keys[i]).collect()).collect())
}

/// The rows that stay and refer to one that goes, with the column. [`going`] has been called before.
fn nulled(store: &Store, space: i64) -> rusqlite::Result<Vec<(RowKey, u16)>> {
    let mut found = Vec::new();
    for target in 0..store.schema.tables.len() as u16 {
        for (table, slot, _) in store.layout.referring(&store.schema, target).filter(|from| from.2 == OnDelete::SetNull) {
            let (name, index, column) = (&table.name, table.index, &slot.name);
            let mut statement = store.conn.prepare_cached(&format!(
                "SELECT c.id FROM temp._going AS g CROSS JOIN \"{name}\" AS c ON c.space = ?1 AND c.\"{column}\" = g.id \
                 LEFT JOIN temp._going AS h ON h.tbl = {index} AND h.id = c.id WHERE g.tbl = {target} AND h.id IS NULL"
            ))?;
            let mut rows = statement.query([space])?;
            while let Some(row) = rows.next()? {
                found.push((RowKey { table: index, id: RowId(read_u128(row, 0)?) }, slot.column));
            }
        }
    }
    Ok(found)
}

/// Makes references null. By now a row may refer to another one, or what it refers to may have come back.
fn write_nulls(store: &Store, batch: &Batch, digest: &mut Digest) -> Result<(), StoreError> {
    let mut columns: BTreeMap<(u16, u16), Vec<RowId>> = BTreeMap::new();
    for (key, column) in &batch.nulls {
        columns.entry((key.table, *column)).or_default().push(key.id);
    }
    for ((table, column), ids) in columns {
        let rows = read(store, batch.space, table, "id", &ids)?;
        let target = |row: &Row| if let Value::Ref(target) = row.values[column as usize] { Some(target) } else { None };
        let targets: BTreeSet<RowKey> = rows.iter().filter_map(|(_, row)| target(row)).collect();
        let doomed = read_doomed(store, Some(batch.space), &targets.into_iter().collect::<Vec<_>>())?;
        let mut nulled = Vec::new();
        for (key, mut row) in rows {
            if target(&row).is_some_and(|target| doomed.contains(&target)) {
                digest.remove(&store.schema, key, &row);
                row.values[column as usize] = Value::Null;
                digest.add(&store.schema, key, &row);
                nulled.push(key.id);
            }
        }
        let layout = store.layout.table(table);
        let slots = layout.slots.iter().filter(|slot| slot.column == column);
        let sets: Vec<String> = slots.map(|slot| format!("\"{}\" = NULL", slot.name)).collect();
        let sql = format!("UPDATE \"{}\" SET {} WHERE space = ?1 AND id IN rarray(?2)", layout.name, sets.join(", "));
        store.conn.prepare_cached(&sql)?.execute(params![batch.space, id_list(nulled.into_iter())])?;
    }
    Ok(())
}

/// Says which rows keep a batch from being deleted: no push should have let it come to this.
pub fn log_blockers(store: &Store, batch: &Batch) {
    let going: BTreeSet<RowKey> = batch.rows.iter().copied().collect();
    let targets: BTreeSet<u16> = batch.rows.iter().map(|key| key.table).collect();
    for target in targets {
        let ids: Vec<RowId> = batch.rows.iter().filter(|key| key.table == target).map(|key| key.id).collect();
        for (table, slot, _) in store.layout.referring(&store.schema, target) {
            let found = read(store, batch.space, table.index, &slot.name, &ids).unwrap_or_default();
            if let Some((blocker, _)) = found.iter().find(|(key, _)| !going.contains(key)) {
                let (table, column, id) = (&table.name, &slot.name, format!("{:032x}", blocker.id.0));
                tracing::error!(space = batch.space, table, column, id, "this row refers to one that is being deleted");
            }
        }
    }
}

/// Writes one batch, inside the caller's transaction. Rows that are gone already are passed over, and so are those that are
/// dying no more: somebody has made them anew since the batch was put together.
pub fn write(store: &Store, batch: &Batch) -> Result<(), StoreError> {
    let mut digest = read_digest(store, batch.space)?;
    write_nulls(store, batch, &mut digest)?;
    let doomed = read_doomed(store, Some(batch.space), &batch.rows)?;
    let going: Vec<RowKey> = batch.rows.iter().copied().filter(|key| doomed.contains(key)).collect();
    let mut tables: BTreeMap<u16, Vec<RowId>> = BTreeMap::new();
    for key in &going {
        tables.entry(key.table).or_default().push(key.id);
    }
    for (&target, ids) in &tables {
        for (table, slot, _) in store.layout.referring(&store.schema, target) {
            if !store.schema.tables[table.index as usize].columns[slot.column as usize].nullable {
                continue;
            }
            for (key, mut row) in read(store, batch.space, table.index, &slot.name, ids)? {
                digest.remove(&store.schema, key, &row);
                row.values[slot.column as usize] = Value::Null;
                digest.add(&store.schema, key, &row);
            }
            let sql = format!("UPDATE \"{0}\" SET \"{1}\" = NULL WHERE space = ?1 AND \"{1}\" IN rarray(?2)", table.name, slot.name);
            store.conn.prepare_cached(&sql)?.execute(params![batch.space, id_list(ids.iter().copied())])?;
        }
    }
    for (&table, ids) in &tables {
        for (key, row) in read(store, batch.space, table, "id", ids)? {
            digest.remove(&store.schema, key, &row);
        }
    }
    for run in going.chunk_by(|a, b| a.table == b.table) {
        let name = &store.layout.table(run[0].table).name;
        let mut statement = store.conn.prepare_cached(&format!("DELETE FROM \"{name}\" WHERE space = ?1 AND id IN rarray(?2)"))?;
        statement.execute(params![batch.space, id_list(run.iter().map(|key| key.id))])?;
    }
    let mut deleted = Vec::with_capacity(going.len() * 4);
    for key in &going {
        let table = store.schema.tables[key.table as usize].name.as_str();
        deleted.extend([ToSqlOutput::from(batch.space), blob(key.id.0), table.into(), (batch.rev as i64).into()]);
    }
    insert(store, "INSERT INTO _deleted (space, id, tbl, rev) VALUES ", " ON CONFLICT DO NOTHING", 4, &deleted)?;
    store.conn.prepare_cached("UPDATE _space SET digest = ?2, schema = ?3 WHERE id = ?1")?.execute(params![
        batch.space,
        blob(digest.0),
        store.schema.version
    ])?;
    for root in &batch.done {
        let table = &store.schema.tables[root.table as usize].name;
        let mut statement = store.conn.prepare_cached("DELETE FROM _dying WHERE space = ?1 AND tbl = ?2 AND id = ?3")?;
        statement.execute(params![batch.space, table, id_bytes(root.id)])?;
    }
    Ok(())
}

fn read(store: &Store, space: i64, table: u16, column: &str, ids: &[RowId]) -> rusqlite::Result<Vec<(RowKey, Row)>> {
    let layout = store.layout.table(table);
    let mut statement = store.conn.prepare_cached(&format!("{} AND \"{column}\" IN rarray(?2)", layout.select))?;
    let rows = statement.query_map(params![space, id_list(ids.iter().copied())], |row| layout.read(&store.schema, row))?;
    rows.collect()
}

/// The rows of a space that are not to be seen any more.
pub fn hidden(store: &Store, space: i64) -> rusqlite::Result<BTreeSet<RowKey>> {
    let Some(going) = all_going(&store.conn, &store.schema, &store.layout, space)? else { return Ok(BTreeSet::new()) };
    let mut statement = store.conn.prepare_cached(&format!("{going}SELECT tbl, id FROM going"))?;
    let rows = statement.query_map([space], |row| Ok(RowKey { table: row.get(0)?, id: RowId(read_u128(row, 1)?) }))?;
    rows.collect()
}
