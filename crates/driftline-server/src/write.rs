//! Writes a plan in bulk: rows, log, marks, clients. Statements grow with the number of tables and of chunks of rows,
//! never with the number of edits.

use crate::counts;
use crate::db::{DbResult, Dialect, Insert, Param};
use crate::search;
use crate::store::{Known, Store};
use crate::tables::TableLayout;
use driftline_core::dedupe::Ranges;
use driftline_core::order::components;
use driftline_core::reconcile::{Plan, by_table};
use driftline_core::schema::Kind;
use driftline_core::value::{Row, RowId, RowKey};
use driftline_core::wire::Push;
use std::collections::{BTreeMap, BTreeSet};

const LOG: Insert = Insert { table: "_log", columns: &["space", "rev", "part", "actor", "seq", "hash", "schema", "changes"], conflict: "" };
const MARK: Insert = Insert {
    table: "_mark",
    columns: &["space", "actor", "seq", "hash", "applied", "outcome"],
    // What was refused, and another has replaced, is marked anew.
    conflict: " ON CONFLICT (space, actor, seq) DO UPDATE SET outcome = excluded.outcome",
};
const DYING: Insert = Insert { table: "_dying", columns: &["space", "tbl", "id", "rev"], conflict: " ON CONFLICT DO NOTHING" };
const DELETED: Insert = Insert { table: "_deleted", columns: &["space", "id", "tbl", "rev"], conflict: " ON CONFLICT DO NOTHING" };
const CLIENT: Insert = Insert {
    table: "_client",
    columns: &["space", "principal", "client", "actor", "epoch", "receipt", "previous", "closed"],
    conflict: " ON CONFLICT (space, principal, client) DO UPDATE SET epoch = excluded.epoch, receipt = excluded.receipt, \
               previous = excluded.previous, closed = excluded.closed",
};

type Rows<'a> = Vec<&'a (RowKey, Row)>;

pub fn plan(store: &Store, space: &str, principal: &str, push: &Push, known: &Known, plan: &mut Plan) -> DbResult<()> {
    // A question leaves no trace, but for what is known already: whoever may only read makes nothing.
    let is_question = push.units.is_empty();
    if push.clients.is_empty() || (is_question && known.clients.iter().all(Option::is_none)) {
        return Ok(());
    }
    let space = match known.space {
        Some(space) => space,
        None => create_space(store, space, plan)?,
    };
    write_rows(store, space, plan)?;
    write_dying(store, space, plan)?;
    // What the log says of counts that a large delete lowers, only the rows in the database can tell.
    counts::lower(store, space, plan)?;
    if known.space.is_some() {
        update_space(store, space, plan)?;
    }
    let actors: Vec<u32> = plan.clients.iter().map(|client| client.actor).collect();
    let mut log = Vec::with_capacity(plan.log.len() * LOG.columns.len());
    for row in &plan.log {
        log.extend([space.into(), Param::bits(row.rev), row.part.into(), actors[row.key.0].into(), Param::bits(row.key.1)]);
        log.extend([Param::Hash(row.hash), store.schema.version.into(), row.changes.as_str().into()]);
    }
    store.db.insert(LOG, &log)?;
    let mut marks = Vec::with_capacity(plan.settled.len() * MARK.columns.len());
    for ((client, seq), settled) in &plan.settled {
        marks.extend([space.into(), actors[*client].into(), Param::bits(*seq)]);
        marks.extend([Param::Hash(settled.hash), settled.applied.into(), settled.outcome.as_str().into()]);
    }
    store.db.insert(MARK, &marks)?;
    for (table, rows) in by_table(plan.revived.iter().map(|key| (*key, ())).collect()) {
        let sql = "DELETE FROM _deleted WHERE space = ?1 AND tbl = ?2 AND id IN rarray(?3)";
        let name = store.schema.tables[table as usize].name.as_str();
        store.db.execute(sql, &[space.into(), name.into(), Param::ids(rows.iter().map(|row| row.0.id))])?;
    }
    write_deleted(store, space, plan.deleted.iter().map(|(key, rev)| (*key, *rev)))?;
    search::note(store, space, known, plan)?;
    #[cfg(feature = "webhooks")]
    crate::effects::note(store, space, plan)?;
    write_clients(store, space, principal, push, known, plan)
}

/// Notes that rows are gone for good.
pub fn write_deleted(store: &Store, space: i64, rows: impl Iterator<Item = (RowKey, u64)>) -> DbResult<()> {
    let mut deleted = Vec::new();
    for (key, rev) in rows {
        let table = store.schema.tables[key.table as usize].name.as_str();
        deleted.extend([space.into(), key.id.into(), table.into(), Param::bits(rev)]);
    }
    store.db.insert(DELETED, &deleted)
}

fn write_dying(store: &Store, space: i64, plan: &Plan) -> DbResult<()> {
    let mut dying = Vec::with_capacity(plan.dying.len() * DYING.columns.len());
    for (key, rev) in &plan.dying {
        let table = store.schema.tables[key.table as usize].name.as_str();
        dying.extend([space.into(), table.into(), key.id.into(), Param::bits(*rev)]);
    }
    store.db.insert(DYING, &dying)
}

fn create_space(store: &Store, name: &str, plan: &Plan) -> DbResult<i64> {
    let sql = "INSERT INTO _space (name, rev, horizon, digest, schema) VALUES (?1, ?2, ?3, ?4, ?5) RETURNING id";
    let digest = Param::Hash(plan.space.digest.0);
    let params = [name.into(), Param::bits(plan.space.rev), Param::bits(plan.space.horizon), digest, store.schema.version.into()];
    store.db.one(sql, &params, |row| row.int(0))
}

fn update_space(store: &Store, space: i64, plan: &Plan) -> DbResult<()> {
    let sql = "UPDATE _space SET rev = ?2, horizon = ?3, digest = ?4, schema = ?5 WHERE id = ?1";
    let digest = Param::Hash(plan.space.digest.0);
    let params = [space.into(), Param::bits(plan.space.rev), Param::bits(plan.space.horizon), digest, store.schema.version.into()];
    store.db.execute(sql, &params)
}

fn write_clients(store: &Store, space: i64, principal: &str, push: &Push, known: &Known, plan: &Plan) -> DbResult<()> {
    let mut values = Vec::new();
    for (i, (client, state)) in push.clients.iter().zip(&plan.clients).enumerate() {
        if push.units.is_empty() && known.clients[i].is_none() {
            continue;
        }
        let receipt = |receipt: Option<u64>| receipt.map_or(Param::Null, Param::bits);
        values.extend([space.into(), principal.into(), Param::bits(client.id), state.actor.into()]);
        values.extend([Param::bits(state.epoch), receipt(state.receipts.current), receipt(state.receipts.previous)]);
        values.push(state.closed.to_json().into());
        let before: BTreeSet<_> = known.clients[i].iter().flat_map(|known| known.closed.iter()).collect();
        let mut news = Ranges::default();
        state.closed.iter().filter(|range| !before.contains(range)).for_each(|range| news.add(range.0, range.1));
        if known.clients[i].is_some() && !news.is_empty() {
            forget_marks(store, space, state.actor, &news)?;
        }
    }
    store.db.insert(CLIENT, &values)
}

/// The ranges go in as JSON: one statement however many there are.
fn forget_marks(store: &Store, space: i64, actor: u32, ranges: &Ranges) -> DbResult<()> {
    let sql = match store.db.dialect() {
        Dialect::Sqlite => {
            "DELETE FROM _mark WHERE space = ?1 AND actor = ?2 AND seq IN (SELECT m.seq FROM json_each(?3) AS r CROSS JOIN _mark AS m \
             WHERE m.space = ?1 AND m.actor = ?2 AND m.seq BETWEEN r.value ->> 0 AND r.value ->> 1)"
        }
        Dialect::Postgres => {
            "DELETE FROM _mark AS m USING json_array_elements(CAST(CAST(?3 AS TEXT) AS JSON)) AS r WHERE m.space = ?1 AND m.actor = ?2 \
             AND m.seq BETWEEN CAST(r ->> 0 AS BIGINT) AND CAST(r ->> 1 AS BIGINT)"
        }
    };
    store.db.execute(sql, &[space.into(), actor.into(), ranges.to_json().into()])
}

/// Rows in an order in which no statement leaves a dangling reference behind: parents are inserted first, a nullable
/// reference to a row of a later statement is set once that row exists, and the rows to go lose theirs before they go.
fn write_rows(store: &Store, space: i64, plan: &Plan) -> DbResult<()> {
    let inserts = group(&plan.inserts);
    let mut chunks: Vec<(u16, Rows)> = Vec::new();
    for &table in &store.layout.parents_first {
        let rows = inserts.get(&table).cloned().unwrap_or_default();
        chunks.extend(chunks_parents_first(store, table, rows).into_iter().map(|rows| (table, rows)));
    }
    let place: BTreeMap<RowKey, usize> =
        chunks.iter().enumerate().flat_map(|(i, (_, rows))| rows.iter().map(move |row| (row.0, i))).collect();
    let mut updates = group(&plan.updates);
    for (i, (table, rows)) in chunks.iter().enumerate() {
        let layout = store.layout.table(*table);
        let names = layout.column_names();
        let columns = &store.schema.tables[*table as usize].columns;
        let later = |column: u16, target: RowKey| columns[column as usize].nullable && place.get(&target).is_some_and(|at| *at > i);
        let mut values = Vec::with_capacity(rows.len() * names.len());
        for row in rows {
            layout.bind(&store.schema, space, row.0.id, &row.1, later, &mut values);
            if row.1.references().any(|(column, target)| later(column, target)) {
                updates.entry(*table).or_default().push(row);
            }
        }
        // A chunk of rows that need each other must be one statement.
        store.db.insert_at_once(Insert { table: &layout.name, columns: &names, conflict: "" }, &values)?;
    }
    for (table, rows) in updates {
        let layout = store.layout.table(table);
        let names = layout.column_names();
        let mut values = Vec::with_capacity(rows.len() * names.len());
        for row in rows {
            layout.bind(&store.schema, space, row.0.id, &row.1, |_, _| false, &mut values);
        }
        store.db.insert(Insert { table: &layout.name, columns: &names, conflict: &layout.upsert }, &values)?;
    }
    delete_rows(store, space, plan)
}

/// Splits a table's new rows into statements. Those whose required references point at rows of the same table come
/// after them, and those that need each other stand together.
fn chunks_parents_first<'a>(store: &Store, table: u16, rows: Rows<'a>) -> Vec<Rows<'a>> {
    let limit = chunk_rows(store.layout.table(table));
    let columns = &store.schema.tables[table as usize].columns;
    let to_itself =
        |column: usize| !columns[column].nullable && matches!(&columns[column].kind, Kind::Ref { to, .. } if to.contains(&table));
    if !(0..columns.len()).any(to_itself) {
        return rows.chunks(limit).map(<[_]>::to_vec).collect();
    }
    let place: BTreeMap<RowKey, usize> = rows.iter().enumerate().map(|(i, row)| (row.0, i)).collect();
    let needs = |i: usize, out: &mut Vec<usize>| {
        let required = rows[i].1.references().filter(|(column, _)| to_itself(*column as usize));
        out.extend(required.filter_map(|(_, target)| place.get(&target).copied()));
    };
    let mut chunks: Vec<Rows> = vec![Vec::new()];
    for group in components(rows.len(), needs) {
        if chunks.last().is_some_and(|chunk| !chunk.is_empty() && chunk.len() + group.len() > limit) {
            chunks.push(Vec::new());
        }
        if let Some(chunk) = chunks.last_mut() {
            chunk.extend(group.into_iter().map(|i| rows[i]));
        }
    }
    chunks.retain(|chunk| !chunk.is_empty());
    chunks
}

fn delete_rows(store: &Store, space: i64, plan: &Plan) -> DbResult<()> {
    if plan.deletes.is_empty() {
        return Ok(());
    }
    let order: BTreeMap<u16, usize> = store.layout.parents_first.iter().enumerate().map(|(i, table)| (*table, i)).collect();
    let dying: BTreeSet<RowKey> = plan.deletes.iter().map(|row| row.0).collect();
    // Tables go in reverse, so a reference from an earlier table to a later one, always nullable, would dangle.
    let mut nulls: BTreeMap<(u16, String), Vec<RowId>> = BTreeMap::new();
    for (key, row) in &plan.deletes {
        for (column, target) in row.references().filter(|(_, target)| dying.contains(target) && order[&target.table] > order[&key.table]) {
            if let Some(slot) = store.layout.table(key.table).slot(column, target.table) {
                nulls.entry((key.table, slot.name.clone())).or_default().push(key.id);
            }
        }
    }
    for ((table, column), ids) in nulls {
        let table = &store.layout.table(table).name;
        let sql = format!("UPDATE \"{table}\" SET \"{column}\" = NULL WHERE space = ?1 AND id IN rarray(?2)");
        store.db.execute(&sql, &[space.into(), Param::ids(ids)])?;
    }
    let deletes = group(&plan.deletes);
    for table in store.layout.parents_first.iter().rev() {
        let Some(rows) = deletes.get(table) else { continue };
        let name = &store.layout.table(*table).name;
        let sql = format!("DELETE FROM \"{name}\" WHERE space = ?1 AND id IN rarray(?2)");
        store.db.execute(&sql, &[space.into(), Param::ids(rows.iter().map(|row| row.0.id))])?;
    }
    Ok(())
}

fn group(rows: &[(RowKey, Row)]) -> BTreeMap<u16, Rows<'_>> {
    let mut tables: BTreeMap<u16, Rows> = BTreeMap::new();
    for row in rows {
        tables.entry(row.0.table).or_default().push(row);
    }
    tables
}

fn chunk_rows(table: &TableLayout) -> usize {
    Insert { table: &table.name, columns: &table.column_names(), conflict: "" }.chunk_rows()
}
