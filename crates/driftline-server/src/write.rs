//! Writes a plan in bulk: rows, log, marks, clients. Statements grow with the number of tables and of chunks of rows,
//! never with the number of edits.

use crate::counts;
use crate::load::id_list;
use crate::store::{Known, Store, StoreError};
use crate::tables::blob;
use driftline_core::dedupe::Ranges;
use driftline_core::order::components;
use driftline_core::reconcile::{Plan, by_table};
use driftline_core::schema::Kind;
use driftline_core::value::{Row, RowId, RowKey};
use driftline_core::wire::Push;
use rusqlite::types::ToSqlOutput;
use rusqlite::{Statement, params};
use std::collections::{BTreeMap, BTreeSet};

/// Rows per statement: more of them gain nothing, and the text of a statement is built once per length.
const CHUNK_ROWS: usize = 250;
/// Statements of up to this many rows are kept prepared, and those of whole chunks.
const KEPT_ROWS: usize = 8;
/// SQLite's limit is 32,766 parameters.
const CHUNK_PARAMETERS: usize = 32_000;

type Rows<'a> = Vec<&'a (RowKey, Row)>;

pub fn plan(store: &Store, space: &str, principal: &str, push: &Push, known: &Known, plan: &mut Plan) -> Result<(), StoreError> {
    // A question without a sender leaves no trace.
    if push.clients.is_empty() {
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
    let width = 8;
    let mut log = Vec::with_capacity(plan.log.len() * width);
    for row in &plan.log {
        let place: [i64; 4] = [space, row.rev as i64, i64::from(row.part), i64::from(actors[row.key.0])];
        log.extend(place.map(ToSqlOutput::from));
        log.extend([ToSqlOutput::from(row.key.1 as i64), blob(row.hash), store.schema.version.into(), row.changes.as_str().into()]);
    }
    insert(store, "INSERT INTO _log (space, rev, part, actor, seq, hash, schema, changes) VALUES ", "", width, &log)?;
    let width = 6;
    let mut marks = Vec::with_capacity(plan.settled.len() * width);
    for ((client, seq), settled) in &plan.settled {
        marks.extend([space, i64::from(actors[*client]), *seq as i64].map(ToSqlOutput::from));
        marks.extend([blob(settled.hash), settled.applied.into(), settled.outcome.as_str().into()]);
    }
    insert(store, "INSERT INTO _mark (space, actor, seq, hash, applied, outcome) VALUES ", "", width, &marks)?;
    for (table, rows) in by_table(plan.revived.iter().map(|key| (*key, ())).collect()) {
        let sql = "DELETE FROM _deleted WHERE space = ?1 AND tbl = ?2 AND id IN rarray(?3)";
        let name = &store.schema.tables[table as usize].name;
        store.conn.prepare_cached(sql)?.execute(params![space, name, id_list(rows.iter().map(|row| row.0.id))])?;
    }
    let width = 4;
    let mut deleted = Vec::with_capacity(plan.deleted.len() * width);
    for (key, rev) in &plan.deleted {
        let table = store.schema.tables[key.table as usize].name.as_str();
        deleted.extend([ToSqlOutput::from(space), blob(key.id.0), table.into(), (*rev as i64).into()]);
    }
    insert(store, "INSERT INTO _deleted (space, id, tbl, rev) VALUES ", " ON CONFLICT DO NOTHING", width, &deleted)?;
    write_clients(store, space, principal, push, known, plan)
}

fn write_dying(store: &Store, space: i64, plan: &Plan) -> Result<(), StoreError> {
    let width = 4;
    let mut dying = Vec::with_capacity(plan.dying.len() * width);
    for (key, rev) in &plan.dying {
        let table = store.schema.tables[key.table as usize].name.as_str();
        dying.extend([ToSqlOutput::from(space), table.into(), blob(key.id.0), (*rev as i64).into()]);
    }
    insert(store, "INSERT INTO _dying (space, tbl, id, rev) VALUES ", " ON CONFLICT DO NOTHING", width, &dying)
}

fn create_space(store: &Store, name: &str, plan: &Plan) -> Result<i64, StoreError> {
    let (rev, horizon, digest) = (plan.space.rev as i64, plan.space.horizon as i64, blob(plan.space.digest.0));
    let mut statement = store.conn.prepare_cached("INSERT INTO _space (name, rev, horizon, digest, schema) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    Ok(statement.insert(params![name, rev, horizon, digest, store.schema.version])?)
}

fn update_space(store: &Store, space: i64, plan: &Plan) -> Result<(), StoreError> {
    let (rev, horizon, digest) = (plan.space.rev as i64, plan.space.horizon as i64, blob(plan.space.digest.0));
    let mut statement = store.conn.prepare_cached("UPDATE _space SET rev = ?2, horizon = ?3, digest = ?4, schema = ?5 WHERE id = ?1")?;
    statement.execute(params![space, rev, horizon, digest, store.schema.version])?;
    Ok(())
}

fn write_clients(store: &Store, space: i64, principal: &str, push: &Push, known: &Known, plan: &Plan) -> Result<(), StoreError> {
    let mut values = Vec::new();
    for (i, (client, state)) in push.clients.iter().zip(&plan.clients).enumerate() {
        let receipt = |receipt: Option<u64>| receipt.map_or(ToSqlOutput::from(rusqlite::types::Null), |r| (r as i64).into());
        values.extend([ToSqlOutput::from(space), principal.into(), (client.id as i64).into(), state.actor.into()]);
        values.extend([(state.epoch as i64).into(), receipt(state.receipts.current), receipt(state.receipts.previous)]);
        values.push(state.closed.to_json().into());
        let before: BTreeSet<_> = known.clients[i].iter().flat_map(|known| known.closed.iter()).collect();
        let mut news = Ranges::default();
        state.closed.iter().filter(|range| !before.contains(range)).for_each(|range| news.add(range.0, range.1));
        if known.clients[i].is_some() && !news.is_empty() {
            forget_marks(store, space, state.actor, &news)?;
        }
    }
    let head = "INSERT INTO _client (space, principal, client, actor, epoch, receipt, previous, closed) VALUES ";
    let tail = " ON CONFLICT (space, principal, client) DO UPDATE SET epoch = excluded.epoch, receipt = excluded.receipt, \
                previous = excluded.previous, closed = excluded.closed";
    insert(store, head, tail, 8, &values)
}

/// The ranges go in as JSON: one statement however many there are.
fn forget_marks(store: &Store, space: i64, actor: u32, ranges: &Ranges) -> Result<(), StoreError> {
    let mut statement = store.conn.prepare_cached(
        "DELETE FROM _mark WHERE space = ?1 AND actor = ?2 AND seq IN (SELECT m.seq FROM json_each(?3) AS r CROSS JOIN _mark AS m \
         WHERE m.space = ?1 AND m.actor = ?2 AND m.seq BETWEEN r.value ->> 0 AND r.value ->> 1)",
    )?;
    statement.execute(params![space, actor, ranges.to_json()])?;
    Ok(())
}

/// Rows in an order in which no statement leaves a dangling reference behind: parents are inserted first, a nullable
/// reference to a row of a later statement is set once that row exists, and the rows to go lose theirs before they go.
fn write_rows(store: &Store, space: i64, plan: &Plan) -> Result<(), StoreError> {
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
        let columns = &store.schema.tables[*table as usize].columns;
        let later = |column: u16, target: RowKey| columns[column as usize].nullable && place.get(&target).is_some_and(|at| *at > i);
        let mut values = Vec::with_capacity(rows.len() * layout.width());
        for row in rows {
            layout.bind(&store.schema, space, row.0.id, &row.1, later, &mut values);
            if row.1.references().any(|(column, target)| later(column, target)) {
                updates.entry(*table).or_default().push(row);
            }
        }
        // A chunk of rows that need each other must be one statement.
        run(store, &layout.insert, "", layout.width(), &values)?;
    }
    for (table, rows) in updates {
        let layout = store.layout.table(table);
        let mut values = Vec::with_capacity(rows.len() * layout.width());
        for row in rows {
            layout.bind(&store.schema, space, row.0.id, &row.1, |_, _| false, &mut values);
        }
        insert(store, &layout.insert, &layout.upsert, layout.width(), &values)?;
    }
    delete_rows(store, space, plan)
}

/// Splits a table's new rows into statements. Those whose required references point at rows of the same table come
/// after them, and those that need each other stand together.
fn chunks_parents_first<'a>(store: &Store, table: u16, rows: Rows<'a>) -> Vec<Rows<'a>> {
    let limit = chunk_rows(store.layout.table(table).width());
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

fn delete_rows(store: &Store, space: i64, plan: &Plan) -> Result<(), StoreError> {
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
        let mut statement =
            store.conn.prepare_cached(&format!("UPDATE \"{table}\" SET \"{column}\" = NULL WHERE space = ?1 AND id IN rarray(?2)"))?;
        statement.execute(params![space, id_list(ids.into_iter())])?;
    }
    let deletes = group(&plan.deletes);
    for table in store.layout.parents_first.iter().rev() {
        let Some(rows) = deletes.get(table) else { continue };
        let name = &store.layout.table(*table).name;
        let mut statement = store.conn.prepare_cached(&format!("DELETE FROM \"{name}\" WHERE space = ?1 AND id IN rarray(?2)"))?;
        statement.execute(params![space, id_list(rows.iter().map(|row| row.0.id))])?;
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

fn chunk_rows(width: usize) -> usize {
    CHUNK_ROWS.min(CHUNK_PARAMETERS / width).max(1)
}

/// Inserts rows of `width` parameters each, a chunk at a time.
pub fn insert(store: &Store, head: &str, tail: &str, width: usize, values: &[ToSqlOutput]) -> Result<(), StoreError> {
    values.chunks(chunk_rows(width) * width).try_for_each(|chunk| run(store, head, tail, width, chunk))
}

fn run(store: &Store, head: &str, tail: &str, width: usize, values: &[ToSqlOutput]) -> Result<(), StoreError> {
    let tuple = format!("({}),", ["?"].repeat(width).join(","));
    let count = values.len() / width;
    let tuples = tuple.repeat(count);
    let sql = format!("{head}{}{tail}", tuples.trim_end_matches(','));
    // Only lengths that come often are kept: a long statement of every length would fill the memory.
    if count == chunk_rows(width) || count <= KEPT_ROWS {
        let mut statement = store.conn.prepare_cached(&sql)?;
        bind_and_run(&mut statement, values)?;
    } else {
        bind_and_run(&mut store.conn.prepare(&sql)?, values)?;
    }
    Ok(())
}

fn bind_and_run(statement: &mut Statement, values: &[ToSqlOutput]) -> rusqlite::Result<usize> {
    for (i, value) in values.iter().enumerate() {
        statement.raw_bind_parameter(i + 1, value)?;
    }
    statement.raw_execute()
}
