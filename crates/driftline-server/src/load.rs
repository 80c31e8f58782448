//! Answers what the core asks before it decides: one statement per set, none per edit.

use crate::db::{DbError, DbResult, Param};
use crate::store::{Known, Store};
use crate::tables::{TableLayout, digest_of};
use driftline_core::dedupe::{ClientState, Ranges, Receipts, Settled};
use driftline_core::digest::Digest;
use driftline_core::json::Json;
use driftline_core::load::{Load, PushKey, Query, SpaceState};
use driftline_core::schema::OnDelete;
use driftline_core::value::{Row, RowId, RowKey};
use driftline_core::wire::Push;
use std::collections::{BTreeMap, BTreeSet};

/// Runs the core's questions to their end.
pub fn answer_all(store: &Store, space: &str, principal: &str, push: &Push, load: &mut Load) -> DbResult<Known> {
    let mut known = Known { next_actor: 1, ..Known::default() };
    while let Some(query) = load.next() {
        match query {
            Query::Space => {
                let (number, state) = space_or_new(store, space)?;
                known.space = (number != 0).then_some(number);
                known.rev = state.rev;
                load.give_space(known.space.map_or(Ok(state), |number| with_digest(store, number, state))?);
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
            Query::Above(rows) => load.give_above(read_above(store, known.space, &rows)?),
            Query::Deleted(keys) => load.give_deleted(read_deleted(store, &known, &keys)?),
        }
    }
    Ok(known)
}

/// A space's number and state, if it was ever written.
pub fn read_space(store: &Store, name: &str) -> DbResult<Option<(i64, SpaceState)>> {
    let sql = format!("SELECT id, rev, horizon, digest FROM _space WHERE name = ?1{}", store.db.row_lock());
    store.db.first(&sql, &[name.into()], |row| {
        Ok((row.int(0)?, SpaceState { rev: row.bits(1)?, horizon: row.bits(2)?, digest: Digest(row.hash(3)?) }))
    })
}

/// A space's number and state; of one that was never written, 0 and where it begins. On a restored server that is where all others
/// went on, above the cursors of the time that is lost.
pub fn space_or_new(store: &Store, name: &str) -> DbResult<(i64, SpaceState)> {
    if let Some(found) = read_space(store, name)? {
        return Ok(found);
    }
    let first = store.db.first("SELECT horizon FROM _space ORDER BY id LIMIT 1", &[], |row| row.bits(0))?;
    let rev = first.filter(|horizon| *horizon >= crate::backup::LEAP_REVS).unwrap_or(0);
    Ok((0, SpaceState { rev, horizon: rev, digest: Digest::default() }))
}

/// The space's state with a digest that counts as this server does. One of another schema version may have written last.
pub fn with_digest(store: &Store, space: i64, state: SpaceState) -> DbResult<SpaceState> {
    Ok(SpaceState { digest: read_digest(store, space)?, ..state })
}

pub fn read_digest(store: &Store, space: i64) -> DbResult<Digest> {
    let sql = format!("SELECT digest, schema FROM _space WHERE id = ?1{}", store.db.row_lock());
    let (digest, schema) = store.db.one(&sql, &[space.into()], |row| Ok((row.hash(0)?, row.number::<u32>(1)?)))?;
    if schema == store.schema.version { Ok(Digest(digest)) } else { digest_of(&store.db, &store.schema, &store.layout, space) }
}

fn read_clients(store: &Store, principal: &str, push: &Push, known: &mut Known) -> DbResult<()> {
    known.clients = vec![None; push.clients.len()];
    let Some(space) = known.space else { return Ok(()) };
    if push.clients.is_empty() {
        return Ok(());
    }
    let sql = "SELECT coalesce(max(actor), 0) FROM _client WHERE space = ?1";
    known.next_actor = store.db.one(sql, &[space.into()], |row| row.number::<u32>(0))? + 1;
    let sql =
        "SELECT client, actor, epoch, receipt, previous, closed FROM _client WHERE space = ?1 AND principal = ?2 AND client IN rarray(?3)";
    let ids = Param::ints(push.clients.iter().map(|client| client.id as i64));
    store.db.each(sql, &[space.into(), principal.into(), ids], |row| {
        let id = row.bits(0)?;
        let receipt = |at| Ok::<_, DbError>(row.int_or_null(at)?.map(|receipt| receipt as u64));
        let closed = Ranges::from_json(&Json::parse_or_null(&row.text(5)?));
        let closed =
            closed.ok_or_else(|| DbError::Unreadable("column `closed` should hold ranges, and holds something else".to_string()))?;
        let receipts = Receipts { current: receipt(3)?, previous: receipt(4)? };
        let state = ClientState { actor: row.number(1)?, epoch: row.bits(2)?, receipts, closed };
        if let Some(i) = push.clients.iter().position(|client| client.id == id) {
            known.clients[i] = Some(state);
        }
        Ok(())
    })
}

/// Calls `each` with every known client's index, its actor and the sequence numbers asked for.
fn by_actor(known: &Known, keys: &[PushKey], mut each: impl FnMut(usize, u32, Param) -> DbResult<()>) -> DbResult<()> {
    let mut clients: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
    for key in keys {
        clients.entry(key.0).or_default().push(key.1 as i64);
    }
    for (client, seqs) in clients {
        if let Some(state) = &known.clients[client] {
            each(client, state.actor, Param::ints(seqs))?;
        }
    }
    Ok(())
}

fn read_settled(store: &Store, known: &Known, keys: &[PushKey]) -> DbResult<Vec<(PushKey, Settled)>> {
    let mut found = Vec::new();
    by_actor(known, keys, |client, actor, seqs| {
        let sql = "SELECT seq, hash, applied, outcome FROM _mark WHERE space = ?1 AND actor = ?2 AND seq IN rarray(?3)";
        store.db.each(sql, &[known.space.into(), actor.into(), seqs], |row| {
            let settled = Settled { hash: row.hash(1)?, applied: row.bool(2)?, outcome: row.text(3)?.to_string() };
            found.push(((client, row.bits(0)?), settled));
            Ok(())
        })
    })?;
    Ok(found)
}

fn read_logged(store: &Store, known: &Known, keys: &[PushKey]) -> DbResult<Vec<(PushKey, (u128, u64))>> {
    let mut found = Vec::new();
    by_actor(known, keys, |client, actor, seqs| {
        let sql = "SELECT seq, hash, rev FROM _log WHERE space = ?1 AND actor = ?2 AND seq IN rarray(?3)";
        store.db.each(sql, &[known.space.into(), actor.into(), seqs], |row| {
            found.push(((client, row.bits(0)?), (row.hash(1)?, row.bits(2)?)));
            Ok(())
        })
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
) -> DbResult<Vec<(RowKey, Row)>> {
    let Some(space) = known.space else { return Ok(Vec::new()) };
    let sql = format!("{} AND \"{column}\" IN rarray(?2) LIMIT ?3", table.select);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    store.db.all(&sql, &[space.into(), Param::ids(ids), limit.into()], |row| table.read(&store.schema, row))
}

pub fn any_dying(store: &Store, space: i64) -> DbResult<bool> {
    store.db.exists("SELECT 1 FROM _dying WHERE space = ?1 LIMIT 1", &[space.into()])
}

/// Who refers, by a `restrict` reference, to a head or to what goes with it, and does not go with the same one: with what it
/// refers to. One statement for all heads of a pair of tables.
fn read_blockers(store: &Store, known: &Known, heads: &[RowKey], apart: &[RowKey], limit: usize) -> DbResult<Vec<(RowKey, RowKey)>> {
    let Some(space) = known.space else { return Ok(Vec::new()) };
    let (schema, layout) = (&store.schema, &store.layout);
    let (heads, apart) = (by_table(heads), by_table(apart));
    let roots: Vec<u16> = heads.keys().copied().collect();
    let mut tables: Vec<u16> = layout.cascades(schema, &roots).iter().map(|cascade| cascade.0.index).collect();
    tables.extend(&roots);
    let list = |(table, ids): (u16, Vec<RowId>)| (table, Param::ids(ids));
    let mut ends = heads.clone();
    apart.into_iter().for_each(|(table, ids)| ends.entry(table).or_default().extend(ids));
    ends.retain(|table, _| tables.contains(table));
    let (heads, ends): (BTreeMap<_, _>, BTreeMap<_, _>) = (heads.into_iter().map(list).collect(), ends.into_iter().map(list).collect());
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
            let mut params = vec![space.into(), (limit as i64).into()];
            let going = layout.going_by_head(schema, &heads, &ends, &wanted, &mut params);
            let sql = format!(
                "{going}SELECT DISTINCT c.id, g.id FROM going AS g CROSS JOIN \"{name}\" AS c ON g.tbl = {target} AND c.space = ?1 AND \
                 c.\"{slot}\" = g.id{join}{stays} LIMIT ?2"
            );
            store.db.each(&sql, &params, |row| {
                blockers.push((RowKey { table: index, id: row.id(0)? }, RowKey { table: target, id: row.id(1)? }));
                Ok::<_, DbError>(())
            })?;
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
pub fn read_above(store: &Store, space: Option<i64>, keys: &[RowKey]) -> DbResult<Vec<(RowKey, RowKey)>> {
    let Some(space) = space else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (table, ids) in by_table(keys) {
        let Some(above) = store.layout.above(&store.schema, table) else { continue };
        let sql = format!("{above}SELECT child_tbl, child, tbl, id FROM up WHERE child IS NOT NULL");
        store.db.each(&sql, &[space.into(), Param::ids(ids)], |row| {
            let key = |at| Ok::<_, DbError>(RowKey { table: row.number(at)?, id: row.id(at + 1)? });
            found.push((key(0)?, key(2)?));
            Ok::<_, DbError>(())
        })?;
    }
    Ok(found)
}

/// Which of the rows are dying: follows cascading references up from each, to see whether one leads to a row that is.
pub fn read_doomed(store: &Store, space: Option<i64>, keys: &[RowKey]) -> DbResult<BTreeSet<RowKey>> {
    let Some(space) = space else { return Ok(BTreeSet::new()) };
    let cases = store.schema.tables.iter().enumerate().map(|(i, table)| format!(" WHEN {i} THEN '{}'", table.name));
    let dying = format!(
        "EXISTS (SELECT 1 FROM _dying AS d WHERE d.space = ?1 AND d.id = u.id AND d.tbl = CASE u.tbl{} END)",
        cases.collect::<String>()
    );
    let mut found = BTreeSet::new();
    for (table, ids) in by_table(keys) {
        let up = store.layout.above_each(&store.schema, table);
        let sql = format!("{up}SELECT DISTINCT u.first FROM up AS u WHERE {dying}");
        found.extend(store.db.all(&sql, &[space.into(), Param::ids(ids)], |row| Ok(RowKey { table, id: row.id(0)? }))?);
    }
    Ok(found)
}

fn read_deleted(store: &Store, known: &Known, keys: &[RowKey]) -> DbResult<BTreeSet<RowKey>> {
    let Some(space) = known.space else { return Ok(BTreeSet::new()) };
    let asked: BTreeSet<RowKey> = keys.iter().copied().collect();
    let sql = "SELECT id, tbl FROM _deleted WHERE space = ?1 AND id IN rarray(?2)";
    let mut found = BTreeSet::new();
    store.db.each(sql, &[space.into(), Param::ids(keys.iter().map(|key| key.id))], |row| {
        let (id, table) = (row.id(0)?, store.schema.table(&row.text(1)?));
        found.extend(table.map(|table| RowKey { table, id }).filter(|key| asked.contains(key)));
        Ok::<_, DbError>(())
    })?;
    Ok(found)
}
