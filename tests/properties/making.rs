//! Random edits of any schema.

use driftline_core::edit::{Edit, Merge, Op, write_edits};
use driftline_core::field::{list_of, text_of, texts};
use driftline_core::outbox::Key;
use driftline_core::schema::{Kind, Schema};
use driftline_core::value::{RowId, RowKey, Value};
use driftline_tests::sim::rng::Rng;

pub fn fresh(rng: &mut Rng, table: u16) -> RowKey {
    RowKey { table, id: RowId(u128::from(rng.draw()) << 64 | u128::from(rng.draw())) }
}

/// The tables whose rows clients make.
pub fn held_tables(schema: &Schema) -> Vec<u16> {
    (0..schema.tables.len() as u16).filter(|table| !schema.tables[usize::from(*table)].server_only).collect()
}

/// Some tables, with those that their required references need, so that a short history has rows that meet.
pub fn some_tables(rng: &mut Rng, schema: &Schema, held_only: bool, most: usize) -> Vec<u16> {
    let all: Vec<u16> = if held_only { held_tables(schema) } else { (0..schema.tables.len() as u16).collect() };
    let mut some: Vec<u16> = Vec::new();
    while some.len() < most.min(all.len()) {
        let mut wanted: Vec<u16> = rng.pick(&all).copied().into_iter().collect();
        while let Some(table) = wanted.pop() {
            if some.contains(&table) {
                continue;
            }
            some.push(table);
            for column in &schema.tables[usize::from(table)].columns {
                if let Kind::Ref { to, .. } = &column.kind
                    && (!column.nullable || rng.chance(500))
                {
                    wanted.extend(rng.pick(to));
                }
            }
        }
    }
    some
}

/// A value of a column that is no reference.
pub fn value(rng: &mut Rng, schema: &Schema, table: u16, column: usize) -> Value {
    let column = &schema.tables[usize::from(table)].columns[column];
    if column.nullable && rng.chance(250) {
        return Value::Null;
    }
    match &column.kind {
        Kind::Text { conflicts: Some(_), .. } => Value::Text(typed(rng, "")),
        Kind::Text { .. } => Value::Text(format!("t{}", rng.below(10_000))),
        Kind::Real => Value::Real(rng.below(10_000) as f64 / 4.0),
        Kind::Int | Kind::Counter => Value::Int(rng.below(100) as i64 - 20),
        Kind::Bool => Value::Bool(rng.chance(500)),
        Kind::Json => Value::Json(format!("{{\"a\":[{}],\"b\":null}}", rng.below(100))),
        Kind::Weak => Value::Text(fresh(rng, 0).id.to_string()),
        Kind::Position => Value::Text(format!("{}V", rng.below(1_000))),
        Kind::Set => list_of(&elements(rng)),
        Kind::Ref { .. } | Kind::Conflicts { .. } => Value::Null,
        Kind::Count { .. } => Value::Int(0),
    }
}

/// A create of a row with every column. `target` chooses what a reference names; without an answer a nullable one stays
/// null, and one that must not be null leaves the row unmade.
pub fn create(
    rng: &mut Rng,
    schema: &Schema,
    row: RowKey,
    mut target: impl FnMut(&mut Rng, usize, &[u16]) -> Option<RowKey>,
) -> Option<Edit> {
    let mut edit = Edit::new(Op::Create, row);
    for (i, column) in schema.tables[usize::from(row.table)].columns.iter().enumerate() {
        let value = match &column.kind {
            Kind::Count { .. } => continue,
            Kind::Ref { to, .. } => match target(rng, i, to) {
                Some(target) => Value::Ref(target),
                None if column.nullable => Value::Null,
                None => return None,
            },
            // Most fields of a new row are what they always are.
            _ => match &column.default {
                Some(default) if rng.chance(600) => default.clone(),
                _ => value(rng, schema, row.table, i),
            },
        };
        edit.set.push((i as u16, value));
    }
    Some(edit)
}

/// An update of some fields, and of counters.
pub fn update(rng: &mut Rng, schema: &Schema, row: RowKey) -> Edit {
    let mut edit = Edit::new(Op::Update, row);
    for (i, column) in schema.tables[usize::from(row.table)].columns.iter().enumerate() {
        if !rng.chance(350) {
            continue;
        }
        match column.kind {
            // What is merged by its content is for `rewrite`, and counts follow from other rows.
            Kind::Ref { .. } | Kind::Set | Kind::Conflicts { .. } | Kind::Count { .. } | Kind::Text { conflicts: Some(_), .. } => {}
            Kind::Counter => edit.add.push((i as u16, Merge::Add(rng.below(20) as i64 - 6))),
            _ => edit.set.push((i as u16, value(rng, schema, row.table, i))),
        }
    }
    edit
}

const LINES: u64 = 9;

/// A text after somebody has typed into it. Each line begins with its place, so that it is like none of another place.
pub fn typed(rng: &mut Rng, text: &str) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_string).collect();
    let is_new = lines.len() as u64 != LINES;
    if is_new {
        lines = vec![String::new(); LINES as usize];
    }
    let changed: Vec<u64> = (0..rng.range(1, 2)).map(|_| rng.below(LINES)).collect();
    for (place, line) in lines.iter_mut().enumerate() {
        if is_new || changed.contains(&(place as u64)) {
            *line = format!("{place}{}", (b'a' + rng.below(6) as u8) as char);
        }
    }
    lines.join("\n")
}

/// Some elements of a set.
fn elements(rng: &mut Rng) -> Vec<String> {
    (0..6).filter(|_| rng.chance(300)).map(|i| format!("e{i}")).collect()
}

/// An update of some fields, with what is merged by its content. `values` are those of the row as its editor sees it; without them the
/// row is gone.
pub fn rewrite(rng: &mut Rng, schema: &Schema, row: RowKey, values: Option<&Vec<Value>>) -> Edit {
    let mut edit = update(rng, schema, row);
    for (i, column) in schema.tables[usize::from(row.table)].columns.iter().enumerate() {
        let is = values.map(|values| &values[i]);
        match &column.kind {
            Kind::Set if rng.chance(500) => {
                let (insert, mut remove) = (elements(rng), elements(rng));
                remove.retain(|element| !insert.contains(element));
                if !insert.is_empty() || !remove.is_empty() {
                    edit.add.push((i as u16, Merge::Set { insert, remove }));
                }
            }
            Kind::Text { conflicts: Some(_), .. } if rng.chance(600) => {
                let from = is.cloned().unwrap_or_else(|| column.default.clone().unwrap_or(Value::Null));
                let to = match column.nullable && rng.chance(50) {
                    true => Value::Null,
                    false => Value::Text(typed(rng, text_of(&from))),
                };
                edit.add.push((i as u16, Merge::Text { from, to }));
            }
            // Somebody has looked at what could not be merged.
            Kind::Conflicts { .. } => {
                let settled: Vec<String> = is.map(texts).unwrap_or_default().into_iter().filter(|_| rng.chance(400)).collect();
                if !settled.is_empty() {
                    edit.add.push((i as u16, Merge::Set { insert: Vec::new(), remove: settled }));
                }
            }
            _ => {}
        }
    }
    edit.add.sort_by_key(|add| add.0);
    edit
}

/// The reference columns of a table: column, targets, whether it may be null.
pub fn reference_columns(schema: &Schema, table: u16) -> Vec<(usize, &[u16], bool)> {
    let columns = schema.tables[usize::from(table)].columns.iter().enumerate();
    columns.filter_map(|(i, c)| if let Kind::Ref { to, .. } = &c.kind { Some((i, to.as_slice(), c.nullable)) } else { None }).collect()
}

/// An update that makes one reference of a row name another row, or nothing.
pub fn moved(row: RowKey, column: usize, target: Option<RowKey>) -> Edit {
    Edit { set: vec![(column as u16, target.map_or(Value::Null, Value::Ref))], ..Edit::new(Op::Update, row) }
}

pub fn one_of(rng: &mut Rng, rows: impl Iterator<Item = RowKey>) -> Option<RowKey> {
    let rows: Vec<RowKey> = rows.collect();
    rng.pick(&rows).copied()
}

/// What an app hands to the engine.
pub fn call(schema: &Schema, edits: &[Edit], after: &[Key]) -> String {
    let mut out = String::from("{\"edits\":[");
    write_edits(schema, edits, &mut out);
    out.push_str("],\"after\":[");
    for (i, key) in after.iter().enumerate() {
        out.push_str(if i > 0 { ",\"" } else { "\"" });
        driftline_core::engine::write_key(*key, &mut out);
        out.push('"');
    }
    out.push_str("]}");
    out
}

pub fn named(schema: &Schema, row: RowKey) -> String {
    format!("{} {}", schema.tables[usize::from(row.table)].name, &row.id.to_string()[..8])
}

pub fn shown(schema: &Schema, edits: &[Edit]) -> String {
    let mut out = String::new();
    write_edits(schema, edits, &mut out);
    out
}
