//! Large deletes: what hangs on a dying row goes in the background, leaves first, a batch per transaction.
//!
//! The push that deleted the row only marked it (`_dying`). The jobs work out from the database which rows go
//! and in which order, and hands the writer batch after batch; first those that stay lose their references to what goes. It keeps nothing: after a crash it begins again with what is
//! left, which still hangs together, because no row goes before those that refer to it.

use crate::db::{Db, DbError, DbResult, Param};
use crate::jobs::Progress;
use crate::load::{read_digest, read_doomed};
use crate::search;
use crate::store::{Store, StoreError};
use crate::tables::{Layout, TableLayout};
use crate::write::write_deleted;
use crate::writer::Background;
use driftline_core::digest::Digest;
use driftline_core::order::referrers_first;
use driftline_core::schema::{OnDelete, Schema};
use driftline_core::value::{Row, RowId, RowKey, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Rows of one transaction: pushes wait for it no longer than for each other.
const BATCH_ROWS: usize = 1_000;
/// Ids of one question about what refers to them.
const LIST_ROWS: usize = 10_000;
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

/// What is dying in one space, and the latest revision that deleted any of it.
#[derive(Default)]
pub struct Dying {
    roots: Vec<RowKey>,
    rev: u64,
}

pub fn dying(store: &Store) -> DbResult<BTreeMap<i64, Dying>> {
    let mut spaces: BTreeMap<i64, Dying> = BTreeMap::new();
    store.db.each("SELECT space, tbl, id, rev FROM _dying", &[], |row| {
        if let Some(table) = store.schema.table(&row.text(1)?) {
            let dying = spaces.entry(row.int(0)?).or_default();
            dying.roots.push(RowKey { table, id: row.id(2)? });
            dying.rev = dying.rev.max(row.bits(3)?);
        }
        Ok::<_, DbError>(())
    })?;
    Ok(spaces)
}

/// All that is dying in a space goes together: one may refer to what hangs on another.
pub fn reap(store: &Store, writer: &Background, space: i64, dying: &Dying) -> Result<Progress, StoreError> {
    let (groups, nulls) = store.db.reading(|| {
        let going = going(store, space)?;
        let nulls = nulled(store, space, &going)?;
        Ok::<_, DbError>((groups(store, space, going)?, nulls))
    })?;
    for nulls in nulls.chunks(BATCH_ROWS) {
        let batch = Batch { space, nulls: nulls.to_vec(), rows: Vec::new(), rev: dying.rev, done: Vec::new() };
        if hand_over(store, writer, batch)? == Progress::Stopping {
            return Ok(Progress::Stopping);
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
        if hand_over(store, writer, Batch { space, nulls: Vec::new(), rows, rev: dying.rev, done })? == Progress::Stopping {
            return Ok(Progress::Stopping);
        }
    }
    Ok(Progress::Done)
}

fn hand_over(store: &Store, writer: &Background, batch: Batch) -> Result<Progress, StoreError> {
    let again = batch.clone();
    match writer.write(batch.space, move |store| write(store, &batch)) {
        None => Ok(Progress::Stopping),
        Some(Ok(())) => Ok(Progress::Done),
        Some(Err(error)) => {
            log_blockers(store, &again);
            Err(error)
        }
    }
}

/// Which of the rows that are dying.
#[derive(Debug, Clone, Copy)]
pub enum Which {
    All,
    /// Those deleted before this revision.
    Before(u64),
}

impl Which {
    /// What of `_dying`, by [`Which::params`].
    pub fn condition(self) -> &'static str {
        match self {
            Which::All => "space = ?1",
            Which::Before(_) => "space = ?1 AND rev < ?2",
        }
    }

    pub fn params(self, space: i64) -> Vec<Param<'static>> {
        match self {
            Which::All => vec![space.into()],
            Which::Before(rev) => vec![space.into(), Param::bits(rev)],
        }
    }
}

/// The tables of what is dying.
pub fn dying_tables(db: &Db, schema: &Schema, space: i64, which: Which) -> DbResult<Vec<u16>> {
    let sql = format!("SELECT DISTINCT tbl FROM _dying WHERE {}", which.condition());
    let tables = db.all(&sql, &which.params(space), |row| Ok(schema.table(&row.text(0)?)))?;
    Ok(tables.into_iter().flatten().collect())
}

/// `WITH RECURSIVE going (tbl, id)` of what is dying, whose tables are `roots`.
pub fn going_of(schema: &Schema, layout: &Layout, roots: &[u16], which: Which, wanted: Option<&[u16]>) -> String {
    let cases: String = roots.iter().map(|root| format!(" WHEN '{}' THEN {root}", schema.tables[*root as usize].name)).collect();
    let base = format!("SELECT CASE tbl{cases} END, id FROM _dying WHERE {}", which.condition());
    layout.going(schema, &base, roots, wanted)
}

/// The same of all that is dying in space `?1`; `None` where nothing is.
pub fn all_going(db: &Db, schema: &Schema, layout: &Layout, space: i64) -> DbResult<Option<String>> {
    let roots = dying_tables(db, schema, space, Which::All)?;
    Ok((!roots.is_empty()).then(|| going_of(schema, layout, &roots, Which::All, None)))
}

/// All rows of a space that go with what is dying, itself included: they are not to be seen any more.
pub fn going(store: &Store, space: i64) -> DbResult<BTreeSet<RowKey>> {
    let Some(going) = all_going(&store.db, &store.schema, &store.layout, space)? else { return Ok(BTreeSet::new()) };
    let sql = format!("{going}SELECT tbl, id FROM going");
    let keys = store.db.all(&sql, &[space.into()], |row| Ok(RowKey { table: row.number(0)?, id: row.id(1)? }))?;
    Ok(keys.into_iter().collect())
}

/// The rows of a table that refer by `column` to one of `targets`, each with its target.
fn referring(store: &Store, space: i64, table: &TableLayout, column: &str, targets: &[RowId]) -> DbResult<Vec<(RowId, RowId)>> {
    let sql = format!("SELECT id, \"{column}\" FROM \"{}\" WHERE space = ?1 AND \"{column}\" IN rarray(?2)", table.name);
    let mut found = Vec::new();
    for targets in targets.chunks(LIST_ROWS) {
        let params = [space.into(), Param::ids(targets.iter().copied())];
        found.extend(store.db.all(&sql, &params, |row| Ok((row.id(0)?, row.id(1)?)))?);
    }
    Ok(found)
}

fn ids_of(keys: &BTreeSet<RowKey>, table: u16) -> Vec<RowId> {
    keys.iter().filter(|key| key.table == table).map(|key| key.id).collect()
}

/// What goes, each group after those that refer to it.
fn groups(store: &Store, space: i64, going: BTreeSet<RowKey>) -> DbResult<Vec<Vec<RowKey>>> {
    let keys: Vec<RowKey> = going.iter().copied().collect();
    let place = |key: RowKey| keys.binary_search(&key).ok();
    let mut refers: Vec<Vec<usize>> = vec![Vec::new(); keys.len()];
    let tables: BTreeSet<u16> = keys.iter().map(|key| key.table).collect();
    for &target in &tables {
        let ids = ids_of(&going, target);
        for (table, slot, _) in store.layout.referring(&store.schema, target).filter(|from| tables.contains(&from.0.index)) {
            for (from, to) in referring(store, space, table, &slot.name, &ids)? {
                let (from, to) = (RowKey { table: table.index, id: from }, RowKey { table: target, id: to });
                if let (Some(from), Some(to)) = (place(from), place(to)) {
                    refers[from].push(to);
                }
            }
        }
    }
    let groups = referrers_first(keys.len(), |node, out| out.extend_from_slice(&refers[node]));
    Ok(groups.into_iter().map(|group| group.into_iter().map(|i| keys[i]).collect()).collect())
}

/// The rows that stay and refer to one that goes, with the column.
fn nulled(store: &Store, space: i64, going: &BTreeSet<RowKey>) -> DbResult<Vec<(RowKey, u16)>> {
    let mut found = Vec::new();
    let tables: BTreeSet<u16> = going.iter().map(|key| key.table).collect();
    for target in tables {
        let ids = ids_of(going, target);
        for (table, slot, _) in store.layout.referring(&store.schema, target).filter(|from| from.2 == OnDelete::SetNull) {
            let rows = referring(store, space, table, &slot.name, &ids)?.into_iter().map(|(id, _)| RowKey { table: table.index, id });
            found.extend(rows.filter(|key| !going.contains(key)).map(|key| (key, slot.column)));
        }
    }
    Ok(found)
}

/// Makes references null. By now a row may refer to another one, or what it refers to may have come back.
fn write_nulls(store: &Store, batch: &Batch, digest: &mut Digest) -> DbResult<()> {
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
        store.db.execute(&sql, &[batch.space.into(), Param::ids(nulled)])?;
    }
    Ok(())
}

/// Says which rows keep a batch from being deleted: no push should have let it come to this.
fn log_blockers(store: &Store, batch: &Batch) {
    let going: BTreeSet<RowKey> = batch.rows.iter().copied().collect();
    let targets: BTreeSet<u16> = batch.rows.iter().map(|key| key.table).collect();
    for target in targets {
        let ids: Vec<RowId> = batch.rows.iter().filter(|key| key.table == target).map(|key| key.id).collect();
        for (table, slot, _) in store.layout.referring(&store.schema, target) {
            let found = read(store, batch.space, table.index, &slot.name, &ids).unwrap_or_default();
            if let Some((blocker, _)) = found.iter().find(|(key, _)| !going.contains(key)) {
                let (table, column, id) = (&table.name, &slot.name, format!("{:032x}", { blocker.id.0 }));
                tracing::error!(space = batch.space, table, column, id, "this row refers to one that is being deleted");
            }
        }
    }
}

/// Writes one batch, inside the caller's transaction. Rows that are gone already are passed over, and so are those that are
/// dying no more: somebody has made them anew since the batch was put together.
fn write(store: &Store, batch: &Batch) -> DbResult<()> {
    let mut digest = read_digest(store, batch.space)?;
    write_nulls(store, batch, &mut digest)?;
    let doomed = read_doomed(store, Some(batch.space), &batch.rows)?;
    let going: Vec<RowKey> = batch.rows.iter().copied().filter(|key| doomed.contains(key)).collect();
    let mut tables: BTreeMap<u16, Vec<RowId>> = BTreeMap::new();
    for key in &going {
        tables.entry(key.table).or_default().push(key.id);
    }
    #[cfg(feature = "webhooks")]
    crate::effects::note_going(store, batch.space, &going, batch.rev)?;
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
            store.db.execute(&sql, &[batch.space.into(), Param::ids(ids.iter().copied())])?;
        }
    }
    for (&table, ids) in &tables {
        let rows = read(store, batch.space, table, "id", ids)?;
        rows.iter().for_each(|(key, row)| digest.remove(&store.schema, *key, row));
    }
    for run in going.chunk_by(|a, b| a.table == b.table) {
        let name = &store.layout.table(run[0].table).name;
        let sql = format!("DELETE FROM \"{name}\" WHERE space = ?1 AND id IN rarray(?2)");
        store.db.execute(&sql, &[batch.space.into(), Param::ids(run.iter().map(|key| key.id))])?;
    }
    write_deleted(store, batch.space, going.iter().map(|key| (*key, batch.rev)))?;
    search::note_gone(store, batch.space, &going)?;
    let sql = "UPDATE _space SET digest = ?2, schema = ?3 WHERE id = ?1";
    store.db.execute(sql, &[batch.space.into(), Param::Hash(digest.0), store.schema.version.into()])?;
    for root in &batch.done {
        let table = store.schema.tables[root.table as usize].name.as_str();
        // What has been deleted anew since is another matter.
        let sql = "DELETE FROM _dying WHERE space = ?1 AND tbl = ?2 AND id = ?3 AND rev <= ?4";
        store.db.execute(sql, &[batch.space.into(), table.into(), root.id.into(), Param::bits(batch.rev)])?;
    }
    Ok(())
}

fn read(store: &Store, space: i64, table: u16, column: &str, ids: &[RowId]) -> DbResult<Vec<(RowKey, Row)>> {
    let layout = store.layout.table(table);
    let sql = format!("{} AND \"{column}\" IN rarray(?2)", layout.select);
    store.db.all(&sql, &[space.into(), Param::ids(ids.iter().copied())], |row| layout.read(&store.schema, row))
}
