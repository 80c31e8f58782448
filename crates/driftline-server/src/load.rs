//! Answers what the core asks before it decides: one statement per set, none per edit.

use crate::store::{Known, Store, StoreError};
use crate::tables::digest_of;
use crate::tables::{TableLayout, read_u128};
use driftline_core::dedupe::{ClientState, Ranges, Receipts, Settled};
use driftline_core::digest::Digest;
use driftline_core::json::Json;
use driftline_core::load::{Load, PushKey, Query, SpaceState};
use driftline_core::schema::OnDelete;
use driftline_core::value::{Row, RowId, RowKey};
use driftline_core::wire::Push;
use rusqlite::types::Value as Sql;
use rusqlite::{OptionalExtension, params};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Runs the core's questions to their end.
pub fn answer_all(store: &Store, space: &str, principal: &str, push: &Push, load: &mut Load) -> Result<Known, StoreError> {
    let mut known = Known { next_actor: 1, ..Known::default() };
    while let Some(query) = load.next() {
        match query {
            Query::Space => {
                let found = read_space(store, space)?;
                let found =
                    found.map(|(number, state)| Ok::<_, rusqlite::Error>((number, with_digest(store, number, state)?))).transpose()?;
                known.space = found.map(|found| found.0);
                load.give_space(found.map(|found| found.1).unwrap_or_default());
                load.give_dying(known.space.map_or(Ok(false), |space| any_dying(store, space))?);
            }
            Query::Clients => {
                read_clients(store, principal, push, &mut known)?;
                load.give_clients(known.clients.clone());
            }
            Query::Settled(keys) => load.give_settled(read_settled(store, &known, &keys)?),
            Query::Logged(keys) => load.give_logged(read_logged(store, &known, &keys)?),
            Query::Rows { table, ids } => {
                let table = store.layout.table(table);
                let all = usize::MAX;
                load.give_rows(read_rows(store, &known, table, "id", ids.into_iter(), all)?);
            }
            Query::Children { table, column, parents, limit } => {
                let Some(target) = parents.first().map(|key| key.table) else { continue };
                let table = store.layout.table(table);
                let Some(slot) = table.slot(column, target) else { continue };
                load.give_rows(read_rows(store, &known, table, &slot.name, parents.iter().map(|key| key.id), limit)?);
            }
            Query::Blockers { heads, apart, limit } => load.give_blockers(read_blockers(store, &known, &heads, &apart, limit)?),
            Query::Doomed(keys) => load.give_doomed(read_doomed(store, known.space, &keys)?),
            Query::Above(rows) => load.give_above(read_above(store, &known, &rows)?),
            Query::Deleted(keys) => load.give_deleted(read_deleted(store, &known, &keys)?),
        }
    }
    Ok(known)
}

/// A space's number and state, if it was ever written.
pub fn read_space(store: &Store, name: &str) -> rusqlite::Result<Option<(i64, SpaceState)>> {
    let mut statement = store.conn.prepare_cached("SELECT id, rev, horizon, digest FROM _space WHERE name = ?1")?;
    let read = |row: &rusqlite::Row| {
        let digest = Digest(read_u128(row, 3)?);
        Ok((row.get(0)?, SpaceState { rev: row.get::<_, i64>(1)? as u64, horizon: row.get::<_, i64>(2)? as u64, digest }))
    };
    statement.query_row([name], read).optional()
}

/// The space's state with a digest that counts as this server does. One of another schema version may have written last.
pub fn with_digest(store: &Store, space: i64, state: SpaceState) -> rusqlite::Result<SpaceState> {
    Ok(SpaceState { digest: read_digest(store, space)?, ..state })
}

pub fn read_digest(store: &Store, space: i64) -> rusqlite::Result<Digest> {
    let mut statement = store.conn.prepare_cached("SELECT digest, schema FROM _space WHERE id = ?1")?;
    let (digest, schema) = statement.query_row([space], |row| Ok((read_u128(row, 0)?, row.get::<_, u32>(1)?)))?;
    if schema == store.schema.version { Ok(Digest(digest)) } else { digest_of(&store.conn, &store.schema, &store.layout, space) }
}

fn read_clients(store: &Store, principal: &str, push: &Push, known: &mut Known) -> rusqlite::Result<()> {
    known.clients = vec![None; push.clients.len()];
    let Some(space) = known.space else { return Ok(()) };
    if push.clients.is_empty() {
        return Ok(());
    }
    let mut statement = store.conn.prepare_cached("SELECT max(actor) FROM _client WHERE space = ?1")?;
    known.next_actor = statement.query_row([space], |row| row.get::<_, Option<u32>>(0))?.unwrap_or(0) + 1;
    let mut statement = store.conn.prepare_cached(
        "SELECT client, actor, epoch, receipt, previous, closed FROM _client WHERE space = ?1 AND principal = ?2 AND client IN rarray(?3)",
    )?;
    let ids = Rc::new(push.clients.iter().map(|client| Sql::from(client.id as i64)).collect::<Vec<_>>());
    let mut rows = statement.query(params![space, principal, ids])?;
    while let Some(row) = rows.next()? {
        let id = row.get::<_, i64>(0)? as u64;
        let receipt = |at| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(at)?.map(|receipt| receipt as u64));
        let closed = Ranges::from_json(&Json::parse_or_null(row.get_ref(5)?.as_str()?));
        let closed = closed.ok_or(rusqlite::Error::InvalidColumnType(5, "closed".into(), rusqlite::types::Type::Text))?;
        let receipts = Receipts { current: receipt(3)?, previous: receipt(4)? };
        let state = ClientState { actor: row.get(1)?, epoch: row.get::<_, i64>(2)? as u64, receipts, closed };
        if let Some(i) = push.clients.iter().position(|client| client.id == id) {
            known.clients[i] = Some(state);
        }
    }
    Ok(())
}

/// Calls `each` with every known client's index, its actor and the sequence numbers asked for.
fn by_actor(
    known: &Known,
    keys: &[PushKey],
    mut each: impl FnMut(usize, u32, Rc<Vec<Sql>>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut clients: BTreeMap<usize, Vec<Sql>> = BTreeMap::new();
    for key in keys {
        clients.entry(key.0).or_default().push(Sql::from(key.1 as i64));
    }
    for (client, seqs) in clients {
        if let Some(state) = &known.clients[client] {
            each(client, state.actor, Rc::new(seqs))?;
        }
    }
    Ok(())
}

fn read_settled(store: &Store, known: &Known, keys: &[PushKey]) -> rusqlite::Result<Vec<(PushKey, Settled)>> {
    let mut found = Vec::new();
    by_actor(known, keys, |client, actor, seqs| {
        let sql = "SELECT seq, hash, applied, outcome FROM _mark WHERE space = ?1 AND actor = ?2 AND seq IN rarray(?3)";
        let mut statement = store.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params![known.space, actor, seqs])?;
        while let Some(row) = rows.next()? {
            let settled = Settled { hash: read_u128(row, 1)?, applied: row.get(2)?, outcome: row.get(3)? };
            found.push(((client, row.get::<_, i64>(0)? as u64), settled));
        }
        Ok(())
    })?;
    Ok(found)
}

fn read_logged(store: &Store, known: &Known, keys: &[PushKey]) -> rusqlite::Result<Vec<(PushKey, (u128, u64))>> {
    let mut found = Vec::new();
    by_actor(known, keys, |client, actor, seqs| {
        let sql = "SELECT seq, hash, rev FROM _log WHERE space = ?1 AND actor = ?2 AND seq IN rarray(?3)";
        let mut statement = store.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params![known.space, actor, seqs])?;
        while let Some(row) = rows.next()? {
            found.push(((client, row.get::<_, i64>(0)? as u64), (read_u128(row, 1)?, row.get::<_, i64>(2)? as u64)));
        }
        Ok(())
    })?;
    Ok(found)
}

fn read_rows(
    store: &Store,
    known: &Known,
    table: &TableLayout,
    column: &str,
    ids: impl Iterator<Item = RowId>,
    limit: usize,
) -> rusqlite::Result<Vec<(RowKey, Row)>> {
    let Some(space) = known.space else { return Ok(Vec::new()) };
    let mut statement = store.conn.prepare_cached(&format!("{} AND \"{column}\" IN rarray(?2) LIMIT ?3", table.select))?;
    let limit = i64::try_from(limit).unwrap_or(-1);
    let rows = statement.query_map(params![space, id_list(ids), limit], |row| table.read(&store.schema, row))?;
    rows.collect()
}

pub fn any_dying(store: &Store, space: i64) -> rusqlite::Result<bool> {
    store.conn.prepare_cached("SELECT 1 FROM _dying WHERE space = ?1 LIMIT 1")?.exists([space])
}

/// Who refers, by a `restrict` reference, to a head or to what goes with it, and does not go with the same one: with what it
/// refers to. One statement for all heads of a pair of tables.
fn read_blockers(
    store: &Store,
    known: &Known,
    heads: &[RowKey],
    apart: &[RowKey],
    limit: usize,
) -> rusqlite::Result<Vec<(RowKey, RowKey)>> {
    let Some(space) = known.space else { return Ok(Vec::new()) };
    let (schema, layout) = (&store.schema, &store.layout);
    let (heads, apart) = (by_table(heads), by_table(apart));
    let roots: Vec<u16> = heads.keys().copied().collect();
    let mut tables: Vec<u16> = layout.cascades(schema, &roots).iter().map(|cascade| cascade.0.index).collect();
    tables.extend(&roots);
    // `?1` is the space, `?2` the limit; then a list per table of heads, and one per table of those where another way ends.
    let mut lists = Vec::new();
    let mut place = |ids: &[RowId]| {
        lists.push(id_list(ids.iter().copied()));
        lists.len() + 2
    };
    let base: BTreeMap<u16, usize> = heads.iter().map(|(table, ids)| (*table, place(ids))).collect();
    let mut ends = heads.clone();
    apart.into_iter().for_each(|(table, ids)| ends.entry(table).or_default().extend(ids));
    ends.retain(|table, _| tables.contains(table));
    let ends: BTreeMap<u16, usize> = ends.iter().map(|(table, ids)| (*table, place(ids))).collect();
    let mut blockers = Vec::new();
    for target in 0..schema.tables.len() as u16 {
        if !tables.contains(&target) {
            continue;
        }
        for (table, slot, _) in layout.referring(schema, target).filter(|from| from.2 == OnDelete::Restrict) {
            let (name, slot, index) = (&table.name, &slot.name, table.index);
            // A join, because SQLite makes no index for a subquery that looks into what is going.
            let (wanted, join, stays) = match tables.contains(&index) {
                true => (
                    vec![target, index],
                    format!(" LEFT JOIN going AS h ON h.tbl = {index} AND h.id = c.id AND h.head_tbl = g.head_tbl AND h.head = g.head"),
                    " WHERE h.id IS NULL",
                ),
                false => (vec![target], String::new(), ""),
            };
            // Each list is bound in every statement, whether it needs it or not.
            let going = layout.going_by_head(schema, &base, &ends, &wanted);
            let mut statement = store.conn.prepare_cached(&format!(
                "{going}SELECT DISTINCT c.id, g.id FROM going AS g CROSS JOIN \"{name}\" AS c ON g.tbl = {target} AND c.space = ?1 AND \
                 c.\"{slot}\" = g.id{join}{stays} LIMIT ?2"
            ))?;
            statement.raw_bind_parameter(1, space)?;
            statement.raw_bind_parameter(2, limit as i64)?;
            for (i, list) in lists.iter().enumerate().take(statement.parameter_count().saturating_sub(2)) {
                statement.raw_bind_parameter(i + 3, list)?;
            }
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next()? {
                let key = |table: u16, at| Ok::<_, rusqlite::Error>(RowKey { table, id: RowId(read_u128(row, at)?) });
                blockers.push((key(index, 0)?, key(target, 1)?));
            }
        }
    }
    Ok(blockers)
}

fn by_table(keys: &[RowKey]) -> BTreeMap<u16, Vec<RowId>> {
    let mut tables: BTreeMap<u16, Vec<RowId>> = BTreeMap::new();
    for key in keys {
        tables.entry(key.table).or_default().push(key.id);
    }
    tables
}

/// Follows cascading references up from each row: returns each row on the way with what it refers to.
fn read_above(store: &Store, known: &Known, keys: &[RowKey]) -> rusqlite::Result<Vec<(RowKey, RowKey)>> {
    let Some(space) = known.space else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (table, ids) in by_table(keys) {
        let sql = format!("{}SELECT child_tbl, child, tbl, id FROM up WHERE child IS NOT NULL", store.layout.above(&store.schema, table));
        let mut statement = store.conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params![space, id_list(ids.into_iter())])?;
        while let Some(row) = rows.next()? {
            let key = |at| Ok::<_, rusqlite::Error>(RowKey { table: row.get(at)?, id: RowId(read_u128(row, at + 1)?) });
            found.push((key(0)?, key(2)?));
        }
    }
    Ok(found)
}

/// Which of the rows are dying: follows cascading references up from each, to see whether one leads to a row that is.
pub fn read_doomed(store: &Store, space: Option<i64>, keys: &[RowKey]) -> rusqlite::Result<BTreeSet<RowKey>> {
    let Some(space) = space else { return Ok(BTreeSet::new()) };
    let cases = store.schema.tables.iter().enumerate().map(|(i, table)| format!(" WHEN {i} THEN '{}'", table.name));
    let dying = format!(
        "EXISTS (SELECT 1 FROM _dying AS d WHERE d.space = ?1 AND d.id = u.id AND d.tbl = CASE u.tbl{} END)",
        cases.collect::<String>()
    );
    let mut found = BTreeSet::new();
    for (table, ids) in by_table(keys) {
        let up = store.layout.above_each(&store.schema, table);
        let mut statement = store.conn.prepare_cached(&format!("{up}SELECT DISTINCT u.first FROM up AS u WHERE {dying}"))?;
        let mut rows = statement.query(params![space, id_list(ids.into_iter())])?;
        while let Some(row) = rows.next()? {
            found.insert(RowKey { table, id: RowId(read_u128(row, 0)?) });
        }
    }
    Ok(found)
}

fn read_deleted(store: &Store, known: &Known, keys: &[RowKey]) -> rusqlite::Result<BTreeSet<RowKey>> {
    let Some(space) = known.space else { return Ok(BTreeSet::new()) };
    let asked: BTreeSet<RowKey> = keys.iter().copied().collect();
    let mut statement = store.conn.prepare_cached("SELECT id, tbl FROM _deleted WHERE space = ?1 AND id IN rarray(?2)")?;
    let mut rows = statement.query(params![space, id_list(keys.iter().map(|key| key.id))])?;
    let mut found = BTreeSet::new();
    while let Some(row) = rows.next()? {
        let id = RowId(read_u128(row, 0)?);
        let table = store.schema.table(row.get_ref(1)?.as_str()?);
        found.extend(table.map(|table| RowKey { table, id }).filter(|key| asked.contains(key)));
    }
    Ok(found)
}

pub fn id_bytes(id: RowId) -> Sql {
    Sql::Blob(id.0.to_be_bytes().to_vec())
}

pub fn id_list(ids: impl Iterator<Item = RowId>) -> Rc<Vec<Sql>> {
    Rc::new(ids.map(id_bytes).collect())
}
