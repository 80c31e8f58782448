//! Counts where the rows are too many to be held: those that a large delete takes along, and all of a space.
//!
//! What is dying counts no more, from the transaction on that deletes it; when the background takes it away, nothing is left
//! to count.

use crate::load::id_list;
use crate::reap::{self, going_where};
use crate::store::{Store, StoreError};
use crate::tables::{Layout, read_u128};
use driftline_core::reconcile::Plan;
use driftline_core::schema::{Count, Schema};
use driftline_core::value::{RowId, RowKey, Value};
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet};

/// By count (its place in the schema), parents and how many of their children.
type Children = BTreeMap<usize, BTreeMap<RowId, i64>>;

/// Takes what is dying from now on out of the counts of rows that stay, and logs these. The plan's rows and `_dying` have been
/// written, the digest has not.
pub fn lower(store: &Store, space: i64, plan: &mut Plan) -> Result<(), StoreError> {
    if store.schema.counts.is_empty() || plan.dying.is_empty() {
        return Ok(());
    }
    let mut gone = dying_children(store, space, "rev > ?2", -1)?;
    // What was dying before is out of the counts already.
    for (i, parents) in dying_children(store, space, "rev < ?2", plan.space.rev as i64)? {
        let gone = gone.entry(i).or_default();
        for (id, before) in parents {
            gone.entry(id).and_modify(|by| *by -= before);
        }
        gone.retain(|_, by| *by != 0);
    }
    let mut lowered = Vec::new();
    for (i, by) in gone.into_iter().filter(|(_, by)| !by.is_empty()) {
        lower_one(store, space, store.schema.counts[i], &by, plan, &mut lowered)?;
    }
    let hidden = if plan.counted.is_empty() { BTreeSet::new() } else { reap::hidden(store, space)? };
    plan.log_counts(&store.schema, lowered, |row| hidden.contains(&row));
    Ok(())
}

/// Of each row that stays, how many of the rows that it counts are dying.
fn dying_children(store: &Store, space: i64, which: &str, rev: i64) -> rusqlite::Result<Children> {
    let mut children = Children::new();
    let Some(going) = going_where(&store.conn, &store.schema, &store.layout, space, which, rev)? else { return Ok(children) };
    let terms = store.schema.counts.iter().enumerate().filter_map(|(i, count)| {
        let child = store.layout.table(count.child);
        let slot = &child.slot(count.reference, count.parent)?.name;
        let (parent, table, index) = (count.parent, &child.name, child.index);
        Some(format!(
            "SELECT {i} AS count, {parent} AS tbl, c.\"{slot}\" AS id FROM going AS g CROSS JOIN \"{table}\" AS c \
             ON g.tbl = {index} AND c.space = ?1 AND c.id = g.id WHERE c.\"{slot}\" IS NOT NULL"
        ))
    });
    let terms = terms.collect::<Vec<_>>().join(" UNION ALL ");
    let sql = format!(
        "{going}SELECT p.count, p.id, p.children FROM (SELECT count, tbl, id, count(*) AS children FROM ({terms}) GROUP BY count, id) AS p \
         LEFT JOIN going AS h ON h.tbl = p.tbl AND h.id = p.id WHERE h.id IS NULL"
    );
    let mut statement = store.conn.prepare_cached(&sql)?;
    let mut rows = statement.query([space, rev])?;
    while let Some(row) = rows.next()? {
        children.entry(row.get(0)?).or_default().insert(RowId(read_u128(row, 1)?), row.get(2)?);
    }
    Ok(children)
}

/// One column of one table: a statement to read and one to write, however many rows.
fn lower_one(
    store: &Store,
    space: i64,
    count: Count,
    by: &BTreeMap<RowId, i64>,
    plan: &mut Plan,
    lowered: &mut Vec<(RowKey, u16, i64)>,
) -> rusqlite::Result<()> {
    let layout = store.layout.table(count.parent);
    let mut statement = store.conn.prepare_cached(&format!("{} AND id IN rarray(?2)", layout.select))?;
    let mut rows = statement.query(params![space, id_list(by.keys().copied())])?;
    let mut values = Vec::with_capacity(by.len());
    while let Some(row) = rows.next()? {
        let (key, mut row) = layout.read(&store.schema, row)?;
        plan.space.digest.remove(&store.schema, key, &row);
        if let (Value::Int(count_now), Some(by)) = (&mut row.values[usize::from(count.column)], by.get(&key.id)) {
            *count_now -= by;
            lowered.push((key, count.column, *count_now));
            values.push(format!("[\"{:032x}\",{count_now}]", key.id.0));
        }
        plan.space.digest.add(&store.schema, key, &row);
    }
    let (table, name) = (&layout.name, &store.schema.tables[usize::from(count.parent)].columns[usize::from(count.column)].name);
    let mut statement = store.conn.prepare_cached(&format!(
        "UPDATE \"{table}\" SET \"{name}\" = j.value ->> 1 FROM json_each(?2) AS j WHERE \"{table}\".space = ?1 AND \"{table}\".id = unhex(j.value ->> 0)"
    ))?;
    statement.execute(params![space, format!("[{}]", values.join(","))])?;
    Ok(())
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

/// Counts a space's children anew, once a migration has changed its tables.
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
