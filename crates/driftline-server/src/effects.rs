//! Effects: what has to happen outside the database, told to an address of the app's (a webhook).
//!
//! A change writes its effect into `_effect` in its own transaction, one for each row: later changes of the row take its place, and
//! what goes because another row does leaves none. A thread takes what is due, counts the attempt, calls, and strikes out what was
//! taken (`calls`). So each effect arrives at least once, with a key that tells repeats; after a bound it is parked.

mod calls;

pub(crate) use self::calls::Calls;
pub use self::calls::{ATTEMPTS, parked, retry_parked, retry_parked_over, sign};
use crate::clock::now_ms;
use crate::db::{DbResult, Insert, Param};
use crate::load::{read_above, read_doomed};
use crate::store::Store;
use driftline_core::reconcile::Plan;
use driftline_core::schema::{Kind, OnDelete};
use driftline_core::value::{Row, RowId, RowKey};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// Rows above one that are looked at: what hangs deeper is told of by itself.
const CLIMB_ROWS: usize = 1_000;
const EFFECT: Insert = Insert {
    table: "_effect",
    columns: &["space", "tbl", "id", "key", "op", "rev", "data", "attempts", "due", "parked"],
    // A row that nobody has been told of is new to whoever hears of it first. A call that is under way, or has failed, is waited for:
    // so the newer one does not overtake it, and a receiver that is down is not called for every change.
    conflict: " ON CONFLICT (space, tbl, id) DO UPDATE SET key = excluded.key, rev = excluded.rev, data = excluded.data, \
               attempts = CASE WHEN _effect.parked THEN 1 ELSE _effect.attempts END, \
               due = CASE WHEN _effect.parked OR _effect.due < excluded.due THEN excluded.due ELSE _effect.due END, parked = excluded.parked, \
               op = CASE WHEN _effect.op = 'create' AND _effect.attempts = 0 AND excluded.op = 'update' THEN 'create' ELSE excluded.op END",
};

/// Where to tell what, and the secret that says who tells it.
#[derive(Clone)]
pub struct Webhook {
    pub url: String,
    /// Keys the signature: `Driftline-Signature: t=<seconds>,v1=<hex of HMAC-SHA256 over "<seconds>.<body>">`.
    pub secret: Vec<u8>,
    /// Tables whose rows are told of; all of them where this is empty.
    pub tables: Vec<String>,
}

impl Webhook {
    fn tells(&self, table: &str) -> bool {
        self.tables.is_empty() || self.tables.iter().any(|told| told == table)
    }
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither the secret, nor the address, which may hold one.
        f.debug_struct("Webhook").field("tables", &self.tables).finish_non_exhaustive()
    }
}

/// Writes the effects of a push, in its transaction.
pub fn note(store: &Store, space: i64, plan: &Plan) -> DbResult<()> {
    let Some(webhook) = &store.webhook else { return Ok(()) };
    let name = |key: RowKey| store.schema.tables[key.table as usize].name.as_str();
    let is_told = |key: RowKey| webhook.tells(name(key));
    let dying = plan.dying.iter().map(|row| row.0);
    let gone: BTreeMap<RowKey, Option<&Row>> =
        plan.deletes.iter().map(|(key, row)| (*key, Some(row))).chain(dying.map(|key| (key, None))).collect();
    let mut parents: Parents = BTreeMap::new();
    for (key, row) in &gone {
        let columns = &store.schema.tables[key.table as usize].columns;
        let cascades = |column: u16| matches!(columns[column as usize].kind, Kind::Ref { on_delete: OnDelete::Cascade, .. });
        let above = row.iter().flat_map(|row| row.references()).filter(|(column, target)| cascades(*column) && gone.contains_key(target));
        parents.insert(*key, above.map(|(_, target)| target).collect());
    }
    let roots: BTreeSet<RowKey> = gone.keys().copied().filter(|key| is_told(*key) && !goes_with_told(&parents, *key, is_told)).collect();
    let with: Vec<RowKey> = gone.keys().copied().filter(|key| !roots.contains(key)).collect();
    forget(store, space, &with)?;
    let inserts = plan.inserts.iter().map(|(key, row)| (*key, "create", Some(row)));
    let updates = plan.updates.iter().filter(|row| !gone.contains_key(&row.0)).map(|(key, row)| (*key, "update", Some(row)));
    let deletes = roots.into_iter().map(|key| (key, "delete", None));
    write(store, space, plan.space.rev, inserts.chain(updates).filter(|told| is_told(told.0)).chain(deletes))
}

fn write<'a>(store: &Store, space: i64, rev: u64, told: impl Iterator<Item = (RowKey, &'static str, Option<&'a Row>)>) -> DbResult<()> {
    let mut values = Vec::new();
    for (key, op, row) in told {
        let name = store.schema.tables[key.table as usize].name.as_str();
        let id = format!("{space}:{rev}:{name}:{}", key.id);
        let data = row.map_or(Json::Null, |row| fields(store, key, row)).to_string();
        values.extend([space.into(), name.into(), key.id.into(), id.into(), op.into(), Param::bits(rev)]);
        values.extend([data.into(), 0i64.into(), now_ms().into(), false.into()]);
    }
    store.db.insert(EFFECT, &values)
}

/// What each row that goes hangs on, of what goes as well.
type Parents = BTreeMap<RowKey, Vec<RowKey>>;

/// Whether a row goes with another that is told of. Of rows that go with each other, the first is told of.
fn goes_with_told(parents: &Parents, key: RowKey, is_told: impl Fn(RowKey) -> bool) -> bool {
    climb(parents, key, |other| is_told(other) && (other < key || !climb(parents, other, |above| above == key)))
}

/// Whether a row hangs, in however many steps, on one that is looked for. Beyond [`CLIMB_ROWS`] it is taken not to.
fn climb(parents: &Parents, from: RowKey, is_it: impl Fn(RowKey) -> bool) -> bool {
    let (mut seen, mut next) = (BTreeSet::from([from]), vec![from]);
    while let Some(key) = next.pop() {
        for above in parents.get(&key).into_iter().flatten().copied() {
            if seen.len() < CLIMB_ROWS && seen.insert(above) {
                if is_it(above) {
                    return true;
                }
                next.push(above);
            }
        }
    }
    false
}

/// Of rows that are dying, what they hang on that is dying, too.
fn dying_parents(store: &Store, space: i64, rows: &[RowKey]) -> DbResult<Parents> {
    let above = read_above(store, Some(space), rows)?;
    let all: BTreeSet<RowKey> = above.iter().map(|(_, parent)| *parent).collect();
    let doomed = read_doomed(store, Some(space), &all.into_iter().collect::<Vec<_>>())?;
    let mut parents = Parents::new();
    for (child, parent) in above.into_iter().filter(|(_, parent)| doomed.contains(parent)) {
        parents.entry(child).or_default().push(parent);
    }
    Ok(parents)
}

/// Notes what of a large delete is about to go, as far as it does not go with a row that is told of.
pub fn note_going(store: &Store, space: i64, rows: &[RowKey], rev: u64) -> DbResult<()> {
    let Some(webhook) = &store.webhook else { return Ok(()) };
    forget(store, space, rows)?;
    let is_told = |key: RowKey| webhook.tells(&store.schema.tables[key.table as usize].name);
    let sql = "SELECT tbl, id FROM _dying WHERE space = ?1";
    let told = store.db.all(sql, &[space.into()], |row| Ok((store.schema.table(&row.text(0)?), row.id(1)?)))?;
    // Of these the push has told.
    let roots: BTreeSet<RowKey> = told.into_iter().filter_map(|(table, id)| Some(RowKey { table: table?, id })).collect();
    let asked: Vec<RowKey> = rows.iter().copied().filter(|key| is_told(*key) && !roots.contains(key)).collect();
    let parents = dying_parents(store, space, &asked)?;
    let gone = asked.into_iter().filter(|key| !goes_with_told(&parents, *key, is_told));
    write(store, space, rev, gone.map(|key| (key, "delete", None)))
}

/// Drops what was to be told of rows that go with another.
pub fn forget(store: &Store, space: i64, rows: &[RowKey]) -> DbResult<()> {
    if store.webhook.is_none() {
        return Ok(());
    }
    for (table, name) in store.schema.tables.iter().enumerate().map(|(i, table)| (i as u16, table.name.as_str())) {
        let ids: Vec<RowId> = rows.iter().filter(|key| key.table == table).map(|key| key.id).collect();
        if !ids.is_empty() {
            let sql = "DELETE FROM _effect WHERE space = ?1 AND tbl = ?2 AND id IN rarray(?3) AND op <> 'delete'";
            store.db.execute(sql, &[space.into(), name.into(), Param::ids(ids)])?;
        }
    }
    Ok(())
}

fn fields(store: &Store, key: RowKey, row: &Row) -> Json {
    let columns = &store.schema.tables[key.table as usize].columns;
    let field = |(i, column): (usize, &driftline_core::schema::Column)| {
        let mut text = String::new();
        row.values[i].write_json(&store.schema, column, &mut text);
        (column.name.clone(), serde_json::from_str(&text).unwrap_or_default())
    };
    Json::Object(columns.iter().enumerate().map(field).collect())
}
