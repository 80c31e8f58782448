//! Answers what the core asks before it decides: one statement per set, none per edit.

use crate::store::{Known, Store, StoreError};
use crate::tables::{TableLayout, read_u128};
use driftline_core::dedupe::{ClientState, Ranges, Receipts, Settled};
use driftline_core::digest::Digest;
use driftline_core::json::Json;
use driftline_core::load::{Load, PushKey, Query, SpaceState};
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
                known.space = found.map(|found| found.0);
                load.give_space(found.map(|found| found.1).unwrap_or_default());
            }
            Query::Clients => {
                read_clients(store, principal, push, &mut known)?;
                load.give_clients(known.clients.clone());
            }
            Query::Settled(keys) => load.give_settled(read_settled(store, &known, &keys)?),
            Query::Logged(keys) => load.give_logged(read_logged(store, &known, &keys)?),
            Query::Rows { table, ids } => {
                let table = store.layout.table(table);
                load.give_rows(read_rows(store, &known, table, "id", ids.into_iter())?);
            }
            Query::Children { table, column, parents } => {
                let Some(target) = parents.first().map(|key| key.table) else { continue };
                let table = store.layout.table(table);
                let Some(slot) = table.slot(column, target) else { continue };
                load.give_rows(read_rows(store, &known, table, &slot.name, parents.iter().map(|key| key.id))?);
            }
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
) -> rusqlite::Result<Vec<(RowKey, Row)>> {
    let Some(space) = known.space else { return Ok(Vec::new()) };
    let mut statement = store.conn.prepare_cached(&format!("{} AND \"{column}\" IN rarray(?2)", table.select))?;
    let rows = statement.query_map(params![space, id_list(ids)], |row| table.read(&store.schema, row))?;
    rows.collect()
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

pub fn id_list(ids: impl Iterator<Item = RowId>) -> Rc<Vec<Sql>> {
    Rc::new(ids.map(|id| Sql::Blob(id.0.to_be_bytes().to_vec())).collect())
}
