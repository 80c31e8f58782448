//! Counts where the rows are too many to be held: those that a large delete takes along, and all of a space.
//!
//! What is dying counts no more, from the transaction on that deletes it; when the background takes it away, nothing is left
//! to count.

use crate::load::id_list;
use crate::reap::going_where;
use crate::store::{Store, StoreError};
use crate::tables::{Layout, blob, read_u128};
use driftline_core::reconcile::Plan;
use driftline_core::schema::{Count, Schema};
use driftline_core::value::{RowId, RowKey, Value};
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet};

const TEMP_TABLES: &str = "CREATE TEMP TABLE IF NOT EXISTS _hidden (tbl INTEGER, id BLOB, before INTEGER, PRIMARY KEY (tbl, id)) WITHOUT ROWID; \
     CREATE TEMP TABLE IF NOT EXISTS _lowered (count INTEGER, id BLOB, by INTEGER, PRIMARY KEY (count, id)) WITHOUT ROWID; \
     DELETE FROM temp._hidden; DELETE FROM temp._lowered";

/// Takes what is dying from now on out of the counts of rows that stay, and logs these. The plan's rows and `_dying` have been written.
pub fn lower(store: &Store, space: i64, plan: &mut Plan) -> Result<(), StoreError> {
    let (schema, layout) = (&store.schema, &store.layout);
    if schema.counts.is_empty() || plan.dying.is_empty() {
        return Ok(());
    }
    store.conn.execute_batch(TEMP_TABLES)?;
    let rev = plan.space.rev as i64;
    // What was dying before is out of the counts already.
    for (before, which) in [(1, "rev < ?2"), (0, "rev = ?2")] {
        if let Some(going) = going_where(&store.conn, schema, layout, space, which, rev)? {
            let sql = format!("INSERT OR IGNORE INTO temp._hidden {going}SELECT tbl, id, {before} FROM going");
            store.conn.prepare_cached(&sql)?.execute([space, rev])?;
        }
    }
    let terms = schema.counts.iter().enumerate().filter_map(|(i, count)| {
        let child = layout.table(count.child);
        let slot = &child.slot(count.reference, count.parent)?.name;
        Some(format!(
            "SELECT {i} AS count, {parent} AS tbl, c.\"{slot}\" AS id FROM temp._hidden AS g CROSS JOIN \"{name}\" AS c \
             ON g.tbl = {index} AND g.before = 0 AND c.space = ?1 AND c.id = g.id WHERE c.\"{slot}\" IS NOT NULL",
            parent = count.parent,
            name = child.name,
            index = child.index,
        ))
    });
    let terms = terms.collect::<Vec<_>>().join(" UNION ALL ");
    let sql = format!(
        "INSERT INTO temp._lowered (count, id, by) SELECT count, id, count(*) FROM ({terms}) AS c \
         WHERE NOT EXISTS (SELECT 1 FROM temp._hidden AS h WHERE h.tbl = c.tbl AND h.id = c.id) GROUP BY count, id"
    );
    store.conn.prepare_cached(&sql)?.execute([space])?;
    let mut lowered = Vec::new();
    let mut statement = store.conn.prepare_cached("SELECT DISTINCT count FROM temp._lowered")?;
    let found: Vec<usize> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for i in found {
        lower_one(store, space, (i, schema.counts[i]), plan, &mut lowered)?;
    }
    let hidden = hidden(store, plan)?;
    plan.log_counts(schema, lowered, |row| hidden.contains(&row));
    let mut statement = store.conn.prepare_cached("UPDATE _space SET digest = ?2 WHERE id = ?1")?;
    statement.execute(params![space, blob(plan.space.digest.0)])?;
    Ok(())
}

/// One column of one table, for all its rows in `_lowered`.
fn lower_one(
    store: &Store,
    space: i64,
    (i, count): (usize, Count),
    plan: &mut Plan,
    lowered: &mut Vec<(RowKey, u16, i64)>,
) -> rusqlite::Result<()> {
    let layout = store.layout.table(count.parent);
    let column = usize::from(count.column);
    let name = &store.schema.tables[usize::from(count.parent)].columns[column].name;
    let by: BTreeMap<u128, i64> = {
        let mut statement = store.conn.prepare_cached("SELECT id, by FROM temp._lowered WHERE count = ?1")?;
        statement.query_map([i], |row| Ok((read_u128(row, 0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?
    };
    let among = format!("id IN (SELECT l.id FROM temp._lowered AS l WHERE l.count = {i})");
    let mut statement = store.conn.prepare_cached(&format!("{} AND {among}", layout.select))?;
    let mut rows = statement.query([space])?;
    while let Some(row) = rows.next()? {
        let (key, mut row) = layout.read(&store.schema, row)?;
        plan.space.digest.remove(&store.schema, key, &row);
        if let (Value::Int(count), Some(by)) = (&mut row.values[column], by.get(&key.id.0)) {
            *count -= by;
            lowered.push((key, column as u16, *count));
        }
        plan.space.digest.add(&store.schema, key, &row);
    }
    let table = &layout.name;
    let sql = format!(
        "UPDATE \"{table}\" SET \"{name}\" = \"{name}\" - (SELECT l.by FROM temp._lowered AS l WHERE l.count = {i} AND l.id = \"{table}\".id) \
         WHERE space = ?1 AND {among}"
    );
    store.conn.prepare_cached(&sql)?.execute([space])?;
    Ok(())
}

/// Which of the rows with new counts go themselves.
fn hidden(store: &Store, plan: &Plan) -> rusqlite::Result<BTreeSet<RowKey>> {
    let mut tables: BTreeMap<u16, Vec<RowId>> = BTreeMap::new();
    plan.counted.iter().for_each(|edit| tables.entry(edit.row.table).or_default().push(edit.row.id));
    let mut hidden = BTreeSet::new();
    for (table, ids) in tables {
        let mut statement = store.conn.prepare_cached("SELECT id FROM temp._hidden WHERE tbl = ?1 AND id IN rarray(?2)")?;
        let mut rows = statement.query(params![table, id_list(ids.into_iter())])?;
        while let Some(row) = rows.next()? {
            hidden.insert(RowKey { table, id: RowId(read_u128(row, 0)?) });
        }
    }
    Ok(hidden)
}

/// What the count of a row `p` in space `?1` should be; where rows are dying, in the scope of `going`.
fn live(layout: &Layout, count: &Count, p: &str, dying: bool) -> Option<String> {
    let child = layout.table(count.child);
    let slot = &child.slot(count.reference, count.parent)?.name;
    let (name, index) = (&child.name, child.index);
    let only =
        if dying { format!(" AND NOT EXISTS (SELECT 1 FROM going AS g WHERE g.tbl = {index} AND g.id = c.id)") } else { String::new() };
    Some(format!("(SELECT count(*) FROM \"{name}\" AS c WHERE c.space = ?1 AND c.\"{slot}\" = {p}.id{only})"))
}

/// How many rows of a space, none of them dying, have a wrong count, with one of them.
pub fn wrong(conn: &Connection, schema: &Schema, layout: &Layout, space: i64, count: &Count) -> rusqlite::Result<Option<(i64, RowId)>> {
    let going = going_where(conn, schema, layout, space, "rev > ?2", -1)?;
    let Some(live) = live(layout, count, "p", going.is_some()) else { return Ok(None) };
    let table = layout.table(count.parent);
    let name = &schema.tables[usize::from(count.parent)].columns[usize::from(count.column)].name;
    let (going, staying) = match going {
        Some(going) => (going, format!(" AND NOT EXISTS (SELECT 1 FROM going AS h WHERE h.tbl = {} AND h.id = p.id)", table.index)),
        None => (String::new(), " AND ?2 IS NOT NULL".to_string()),
    };
    let sql = format!(
        "{going}SELECT count(*), min(p.id) FROM \"{}\" AS p WHERE p.space = ?1 AND p.\"{name}\" IS NOT {live}{staying}",
        table.name
    );
    conn.query_row(&sql, [space, -1], |row| {
        let count: i64 = row.get(0)?;
        Ok(if count > 0 { Some((count, RowId(read_u128(row, 1)?))) } else { None })
    })
}

/// Counts a space's children for columns that a migration has added.
pub fn fill(conn: &Connection, schema: &Schema, layout: &Layout, space: i64, counts: &[Count]) -> rusqlite::Result<()> {
    let going = going_where(conn, schema, layout, space, "rev > ?2", -1)?;
    for count in counts {
        let table = &layout.table(count.parent).name;
        let Some(live) = live(layout, count, &format!("\"{table}\""), going.is_some()) else { continue };
        let name = &schema.tables[usize::from(count.parent)].columns[usize::from(count.column)].name;
        let going = going.as_deref().unwrap_or("");
        let sql = format!("{going}UPDATE \"{table}\" SET \"{name}\" = {live} WHERE space = ?1 AND ?2 IS NOT NULL");
        conn.execute(&sql, [space, -1])?;
    }
    Ok(())
}
