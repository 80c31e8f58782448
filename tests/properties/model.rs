//! Rows as plain maps and rules as plain loops: written for itself, to judge the core by. Nothing here is fast, and nothing asks
//! the core for an opinion.

use driftline_core::edit::{Edit, Merge, Op};
use driftline_core::schema::{Kind, OnDelete, Schema};
use driftline_core::value::{Row, RowKey, Value};
use std::collections::{BTreeMap, BTreeSet};

pub type Rows = BTreeMap<RowKey, Vec<Value>>;

pub fn values<'a>(rows: impl IntoIterator<Item = (&'a RowKey, &'a Row)>) -> Rows {
    rows.into_iter().map(|(key, row)| (*key, row.values.clone())).collect()
}

pub fn kind(schema: &Schema, table: u16, column: usize) -> &Kind {
    &schema.tables[usize::from(table)].columns[column].kind
}

fn policy(schema: &Schema, table: u16, column: usize) -> Option<OnDelete> {
    match kind(schema, table, column) {
        Kind::Ref { on_delete, .. } => Some(*on_delete),
        _ => None,
    }
}

/// The references of a row: column and target.
pub fn references<'a>(schema: &'a Schema, key: &'a RowKey, values: &'a [Value]) -> impl Iterator<Item = (usize, RowKey)> + 'a {
    let columns = &schema.tables[usize::from(key.table)].columns;
    columns.iter().zip(values).enumerate().filter_map(|(i, (column, value))| match (&column.kind, value) {
        (Kind::Ref { .. }, Value::Ref(target)) => Some((i, *target)),
        _ => None,
    })
}

/// The orphan scan: every reference column of every row, those to one of several tables included.
pub fn orphans(schema: &Schema, rows: &Rows) -> Vec<String> {
    let mut found = Vec::new();
    for (key, values) in rows {
        let table = &schema.tables[usize::from(key.table)];
        if table.columns.len() != values.len() {
            found.push(format!("{} {} has {} columns", table.name, key.id, values.len()));
        }
        for (column, value) in table.columns.iter().zip(values) {
            let why = match (&column.kind, value) {
                (Kind::Ref { to, .. }, Value::Ref(target)) if !to.contains(&target.table) => "names a row of a table that it must not",
                (Kind::Ref { .. }, Value::Ref(target)) if !rows.contains_key(target) => "names a row that is not there",
                (Kind::Ref { .. }, Value::Ref(_)) => continue,
                (Kind::Ref { .. }, Value::Null) if column.nullable => continue,
                (Kind::Ref { .. }, _) => "names no row, and must",
                (_, Value::Ref(_)) => "is no reference and names a row",
                _ => continue,
            };
            found.push(format!("{}.{} of {} {why}: {value:?}", table.name, column.name, key.id));
        }
    }
    found
}

/// What deleting a row comes to.
#[derive(Debug, Default)]
pub struct Going {
    pub gone: BTreeSet<RowKey>,
    pub nulled: BTreeSet<(RowKey, usize)>,
    pub blockers: BTreeSet<RowKey>,
}

/// Looks at all rows again and again until nothing more goes.
pub fn going(schema: &Schema, rows: &Rows, root: RowKey) -> Going {
    let mut going = Going { gone: BTreeSet::from([root]), ..Going::default() };
    loop {
        let before = going.gone.len();
        for (key, values) in rows {
            let mut cascading = references(schema, key, values).filter(|r| policy(schema, key.table, r.0) == Some(OnDelete::Cascade));
            if !going.gone.contains(key) && cascading.any(|r| going.gone.contains(&r.1)) {
                going.gone.insert(*key);
            }
        }
        if going.gone.len() == before {
            break;
        }
    }
    for (key, values) in rows.iter().filter(|(key, _)| !going.gone.contains(key)) {
        for (column, _) in references(schema, key, values).filter(|r| going.gone.contains(&r.1)) {
            match policy(schema, key.table, column) {
                Some(OnDelete::SetNull) => drop(going.nulled.insert((*key, column))),
                _ => drop(going.blockers.insert(*key)),
            }
        }
    }
    going
}

/// Deletes a row with what hangs on it; `Err` with those that forbid it, and nothing has changed.
pub fn delete(schema: &Schema, rows: &mut Rows, root: RowKey) -> Result<Going, BTreeSet<RowKey>> {
    if !rows.contains_key(&root) {
        return Ok(Going::default());
    }
    let going = going(schema, rows, root);
    if !going.blockers.is_empty() {
        return Err(going.blockers);
    }
    going.gone.iter().for_each(|key| drop(rows.remove(key)));
    for (key, column) in &going.nulled {
        if let Some(values) = rows.get_mut(key) {
            values[*column] = Value::Null;
        }
    }
    Ok(going)
}

/// Sets fields and adds to counters.
pub fn write(row: &mut [Value], edit: &Edit) {
    for (column, value) in &edit.set {
        row[usize::from(*column)] = value.clone();
    }
    for (column, merge) in &edit.add {
        if let (Value::Int(count), Merge::Add(by)) = (&mut row[usize::from(*column)], merge) {
            *count += by;
        }
    }
}

/// A row as a create makes it, absent columns by their defaults.
pub fn created(schema: &Schema, edit: &Edit) -> Vec<Value> {
    let columns = &schema.tables[usize::from(edit.row.table)].columns;
    let mut row: Vec<Value> = columns.iter().map(|column| column.default.clone().unwrap_or(Value::Null)).collect();
    write(&mut row, edit);
    row
}

/// Takes one edit into the rows as somebody sees it: what does not apply is passed over.
pub fn show(schema: &Schema, rows: &mut Rows, edit: &Edit) {
    match edit.op {
        Op::Create | Op::Restore => drop(rows.entry(edit.row).or_insert_with(|| created(schema, edit))),
        Op::Update => rows.get_mut(&edit.row).into_iter().for_each(|row| write(row, edit)),
        Op::Delete | Op::DeleteTree => drop(delete(schema, rows, edit.row)),
    }
}

/// The rows with every count made anew; but for counts of rows that only a server holds, which are taken as they are.
pub fn counted(schema: &Schema, rows: &Rows, is: &Rows) -> Rows {
    let mut counted = rows.clone();
    for (table, columns) in schema.tables.iter().map(|table| &table.columns).enumerate() {
        for (at, column) in columns.iter().enumerate() {
            let Kind::Count { table: child, column: reference } = column.kind else { continue };
            for (key, values) in counted.iter_mut().filter(|(key, _)| usize::from(key.table) == table) {
                let refers = |(from, row): &(&RowKey, &Vec<Value>)| from.table == child && row[usize::from(reference)] == Value::Ref(*key);
                values[at] = match is.get(key) {
                    Some(row) if schema.tables[usize::from(child)].server_only => row[at].clone(),
                    _ => Value::Int(rows.iter().filter(refers).count() as i64),
                };
            }
        }
    }
    counted
}

/// The first difference between two sets of rows; of the second, counts are made anew.
pub fn differ(schema: &Schema, is: &Rows, should: &Rows) -> Option<String> {
    let should = &counted(schema, should, is);
    let keys: BTreeSet<&RowKey> = is.keys().chain(should.keys()).collect();
    let key = keys.into_iter().find(|key| is.get(key) != should.get(key))?;
    let name = &schema.tables[usize::from(key.table)].name;
    Some(match (is.get(key), should.get(key)) {
        (Some(is), Some(should)) => {
            let column = is.iter().zip(should).position(|(a, b)| a != b).unwrap_or(0);
            let field = &schema.tables[usize::from(key.table)].columns[column].name;
            format!("{name}.{field} of {} is {:?} and should be {:?}", key.id, is[column], should[column])
        }
        (is, _) => format!("{name} {} is {}there", key.id, if is.is_some() { "" } else { "not " }),
    })
}
