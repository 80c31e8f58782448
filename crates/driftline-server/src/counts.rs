//! Counts where the rows are too many to be held: those that a large delete takes along, and all of a space.
//!
//! What is dying counts no more, from the transaction on that deletes it; when the background takes it away, nothing is left
//! to count.

use crate::db::{Db, DbError, DbResult, Dialect, Param};
use crate::load::read_doomed;
use crate::reap::{self, Which, all_going};
use crate::store::Store;
use crate::tables::Layout;
use driftline_core::reconcile::Plan;
use driftline_core::schema::{Count, Schema};
use driftline_core::value::{RowId, RowKey, Value};
use std::collections::BTreeMap;

/// By count (its place in the schema), parents and how many of their children.
type Children = BTreeMap<usize, BTreeMap<RowId, i64>>;

/// Takes what is dying from now on out of the counts of rows that stay, and logs these. The plan's rows and `_dying` have been
/// written, the digest has not.
pub fn lower(store: &Store, space: i64, plan: &mut Plan) -> DbResult<()> {
    if store.schema.counts.is_empty() || plan.dying.is_empty() {
        return Ok(());
    }
    let mut gone = dying_children(store, space, Which::All)?;
    // What was dying before is out of the counts already.
    for (i, parents) in dying_children(store, space, Which::Before(plan.space.rev))? {
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
    let counted: Vec<RowKey> = plan.counted.iter().map(|edit| edit.row).collect();
    let hidden = read_doomed(store, Some(space), &counted)?;
    plan.log_counts(&store.schema, lowered, |row| hidden.contains(&row));
    Ok(())
}

/// Of each row that stays, how many of the rows that it counts are dying.
fn dying_children(store: &Store, space: i64, which: Which) -> DbResult<Children> {
    let mut children = Children::new();
    let (schema, layout) = (&store.schema, &store.layout);
    let roots = reap::dying_tables(&store.db, schema, space, which)?;
    let cascades = layout.cascades(schema, &roots);
    let mut wanted = Vec::new();
    let mut terms = Vec::new();
    for (i, count) in schema.counts.iter().enumerate() {
        let child = layout.table(count.child);
        let Some(slot) = child.slot(count.reference, count.parent) else { continue };
        // What goes because the row that counts it does need not be looked at: so the work does not grow with it.
        let elsewise = cascades.iter().any(|(from, by, _)| from.index == child.index && by.name != slot.name);
        let (parent, name, slot) = (count.parent, &child.name, &slot.name);
        let from = if elsewise {
            wanted.push(child.index);
            format!("going AS g CROSS JOIN \"{name}\" AS c ON g.tbl = {} AND c.space = ?1 AND c.id = g.id", child.index)
        } else if roots.contains(&child.index) {
            let dying = which.condition();
            format!(
                "(SELECT id FROM _dying WHERE {dying} AND tbl = '{name}') AS g CROSS JOIN \"{name}\" AS c ON c.space = ?1 AND c.id = g.id"
            )
        } else {
            continue;
        };
        wanted.push(parent);
        terms.push(format!("SELECT {i} AS count, {parent} AS tbl, c.\"{slot}\" AS id FROM {from} WHERE c.\"{slot}\" IS NOT NULL"));
    }
    if terms.is_empty() {
        return Ok(children);
    }
    let going = reap::going_of(schema, layout, &roots, which, Some(&wanted));
    let sql = format!(
        "{going}SELECT p.count, p.id, p.children FROM (SELECT count, tbl, id, count(*) AS children FROM ({}) AS e GROUP BY count, tbl, id) AS p \
         LEFT JOIN going AS h ON h.tbl = p.tbl AND h.id = p.id WHERE h.id IS NULL",
        terms.join(" UNION ALL ")
    );
    store.db.each(&sql, &which.params(space), |row| {
        children.entry(row.number(0)?).or_default().insert(row.id(1)?, row.int(2)?);
        Ok::<_, DbError>(())
    })?;
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
) -> DbResult<()> {
    let layout = store.layout.table(count.parent);
    let sql = format!("{} AND id IN rarray(?2)", layout.select);
    let mut values = Vec::with_capacity(by.len());
    store.db.each(&sql, &[space.into(), Param::ids(by.keys().copied())], |row| {
        let (key, mut row) = layout.read(&store.schema, row)?;
        plan.space.digest.remove(&store.schema, key, &row);
        if let (Value::Int(count_now), Some(by)) = (&mut row.values[usize::from(count.column)], by.get(&key.id)) {
            *count_now -= by;
            lowered.push((key, count.column, *count_now));
            values.push(format!("[\"{:032x}\",{count_now}]", { key.id.0 }));
        }
        plan.space.digest.add(&store.schema, key, &row);
        Ok::<_, DbError>(())
    })?;
    let (table, name) = (&layout.name, &store.schema.tables[usize::from(count.parent)].columns[usize::from(count.column)].name);
    let new = match store.db.dialect() {
        Dialect::Sqlite => "SELECT unhex(value ->> 0), value ->> 1 FROM json_each(?2)",
        Dialect::Postgres => {
            "SELECT CAST(r ->> 0 AS UUID), CAST(r ->> 1 AS BIGINT) FROM json_array_elements(CAST(CAST(?2 AS TEXT) AS JSON)) AS r"
        }
    };
    // As a table of its own: else the rows are gone through for each of the values.
    let sql = format!(
        "WITH new (id, value) AS MATERIALIZED ({new}) \
         UPDATE \"{table}\" SET \"{name}\" = new.value FROM new WHERE \"{table}\".space = ?1 AND \"{table}\".id = new.id"
    );
    store.db.execute(&sql, &[space.into(), format!("[{}]", values.join(",")).into()])
}

/// Which rows of space `?1` have how many children, `(id, children)`; where rows are dying, in the scope of `going`. Joins, because
/// SQLite makes no index for a subquery that looks into it.
fn live(layout: &Layout, count: &Count, dying: bool) -> Option<String> {
    let child = layout.table(count.child);
    let slot = &child.slot(count.reference, count.parent)?.name;
    let (name, index) = (&child.name, child.index);
    let (join, only) = match dying {
        true => (format!(" LEFT JOIN going AS g ON g.tbl = {index} AND g.id = c.id"), " AND g.id IS NULL"),
        false => (String::new(), ""),
    };
    Some(format!(
        "(SELECT c.\"{slot}\" AS id, count(*) AS children FROM \"{name}\" AS c{join} \
         WHERE c.space = ?1 AND c.\"{slot}\" IS NOT NULL{only} GROUP BY c.\"{slot}\")"
    ))
}

/// How many rows of a space, none of them dying, have a wrong count, with one of them.
pub fn wrong(db: &Db, schema: &Schema, layout: &Layout, space: i64, count: &Count) -> DbResult<Option<(i64, RowId)>> {
    let going = all_going(db, schema, layout, space)?;
    let Some(live) = live(layout, count, going.is_some()) else { return Ok(None) };
    let table = layout.table(count.parent);
    let name = &schema.tables[usize::from(count.parent)].columns[usize::from(count.column)].name;
    let (going, join, staying) = match going {
        Some(going) => (going, format!("LEFT JOIN going AS h ON h.tbl = {} AND h.id = p.id ", table.index), " AND h.id IS NULL"),
        None => Default::default(),
    };
    let sql = format!(
        "{going}SELECT count(*) OVER (), p.id FROM \"{}\" AS p {join}LEFT JOIN {live} AS n ON n.id = p.id \
         WHERE p.space = ?1 AND p.\"{name}\" IS DISTINCT FROM coalesce(n.children, 0){staying} LIMIT 1",
        table.name
    );
    db.first(&sql, &[space.into()], |row| Ok((row.int(0)?, row.id(1)?)))
}

/// Counts a space's children anew, once a migration has changed its tables.
pub fn fill(db: &Db, schema: &Schema, layout: &Layout, space: i64, counts: &[Count]) -> DbResult<()> {
    let going = all_going(db, schema, layout, space)?;
    for count in counts {
        let table = &layout.table(count.parent).name;
        let Some(live) = live(layout, count, going.is_some()) else { continue };
        let name = &schema.tables[usize::from(count.parent)].columns[usize::from(count.column)].name;
        // Nothing tells of rows without children, and it may have counted something else before.
        let sql = format!("UPDATE \"{table}\" SET \"{name}\" = 0 WHERE space = ?1 AND \"{name}\" <> 0");
        db.execute(&sql, &[space.into()])?;
        let sql = format!(
            "{}UPDATE \"{table}\" SET \"{name}\" = n.children FROM {live} AS n WHERE \"{table}\".space = ?1 AND \"{table}\".id = n.id",
            going.as_deref().unwrap_or("")
        );
        db.execute(&sql, &[space.into()])?;
    }
    Ok(())
}
