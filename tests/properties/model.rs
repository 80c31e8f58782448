//! Rows as plain maps and rules as plain loops: written for itself, to judge the core by. Nothing here is fast, and nothing asks
//! the core for an opinion.

use driftline_core::edit::{Edit, Merge, Op};
use driftline_core::field::{list_of, text_of, texts};
use driftline_core::schema::{EditsToDeleted, Kind, OnDelete, Schema};
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

/// The rows that a transaction deletes, each after those of them that name it, else as they stand.
pub fn leaves_first(schema: &Schema, rows: &Rows, named: &[RowKey]) -> Vec<RowKey> {
    fn visit(row: RowKey, named: &[RowKey], refers: &dyn Fn(RowKey, RowKey) -> bool, seen: &mut Vec<RowKey>, out: &mut Vec<RowKey>) {
        if seen.contains(&row) {
            return;
        }
        seen.push(row);
        for child in named.iter().filter(|child| refers(**child, row)) {
            visit(*child, named, refers, seen, out);
        }
        out.push(row);
    }
    let refers =
        |child: RowKey, parent: RowKey| rows.get(&child).is_some_and(|values| references(schema, &child, values).any(|r| r.1 == parent));
    let (mut seen, mut out) = (Vec::new(), Vec::new());
    named.iter().for_each(|row| visit(*row, named, &refers, &mut seen, &mut out));
    out
}

/// Sets fields, adds to counters, and works into texts and sets what was done to them, as the last who writes.
pub fn write(schema: &Schema, row: &mut [Value], edit: &Edit) {
    write_if(schema, row, edit, &mut |_, _| true);
}

/// As [`write`], where `is_last` says whether this counts as the last word about a field, or about an element of a set.
pub fn write_if(schema: &Schema, row: &mut [Value], edit: &Edit, is_last: &mut dyn FnMut(u16, Option<&str>) -> bool) {
    for (column, value) in &edit.set {
        let refers = matches!(kind(schema, edit.row.table, usize::from(*column)), Kind::Ref { .. });
        if refers || is_last(*column, None) {
            row[usize::from(*column)] = value.clone();
        }
    }
    for (column, merge) in &edit.add {
        let at = usize::from(*column);
        match (merge, kind(schema, edit.row.table, at)) {
            (Merge::Add(by), _) => {
                if let Value::Int(count) = &mut row[at] {
                    *count += by;
                }
            }
            (Merge::Text { from, to }, Kind::Text { conflicts: Some(kept), .. }) if from != to => {
                let is_last = is_last(*column, None);
                type_into(row, at, usize::from(*kept), (from, to), is_last);
            }
            (Merge::Set { insert, remove }, kind) => {
                let mut list: BTreeSet<String> = texts(&row[at]).into_iter().collect();
                for (texts, is_in) in [(insert, true), (remove, false)] {
                    for text in texts.iter().filter(|text| *kind != Kind::Set || is_last(*column, Some(text))) {
                        list.remove(text);
                        list.extend(is_in.then(|| text.clone()));
                    }
                }
                let is_null = *kind != Kind::Set && list.is_empty();
                row[at] = if is_null { Value::Null } else { list_of(&list.into_iter().collect::<Vec<_>>()) };
            }
            _ => {}
        }
    }
}

fn type_into(row: &mut [Value], at: usize, kept: usize, (from, to): (&Value, &Value), is_last: bool) {
    let (was, is, wanted) = (text_of(from).to_string(), text_of(&row[at]).to_string(), text_of(to));
    if is == was {
        row[at] = to.clone();
    } else if is == wanted {
        if is_last {
            row[at] = to.clone();
        }
    } else if let Some(text) = merged(&was, &is, wanted) {
        row[at] = Value::Text(text);
    } else {
        let lost = if is_last { is } else { wanted.to_string() };
        if is_last {
            row[at] = to.clone();
        }
        let mut list: BTreeSet<String> = texts(&row[kept]).into_iter().collect();
        if !lost.is_empty() {
            list.insert(lost);
            row[kept] = list_of(&list.into_iter().collect::<Vec<_>>());
        }
    }
}

/// Merges texts whose lines say in which place they stand (see `making::typed`): so they are told apart by nothing but their places.
/// Lines that both have left alone cut a text into regions, and of each at most one side may have changed something.
pub fn merged(was: &str, is: &str, wanted: &str) -> Option<String> {
    let lines = |text: &str| text.split('\n').map(str::to_string).collect::<Vec<_>>();
    let (was, is, wanted) = (lines(was), lines(is), lines(wanted));
    if was.len() != is.len() || was.len() != wanted.len() {
        return (is == was || is == wanted).then(|| wanted.join("\n")).or((wanted == was).then(|| is.join("\n")));
    }
    let mut merged = Vec::new();
    let mut at = 0;
    while at < was.len() {
        let left_alone = |i: usize| was[i] == is[i] && was[i] == wanted[i];
        let end = if left_alone(at) { at + 1 } else { (at..was.len()).find(|i| left_alone(*i)).unwrap_or(was.len()) };
        let (was, is, wanted) = (&was[at..end], &is[at..end], &wanted[at..end]);
        if is != was && wanted != was && is != wanted {
            return None;
        }
        merged.extend_from_slice(if is == was { wanted } else { is });
        at = end;
    }
    Some(merged.join("\n"))
}

/// A row as a create makes it, absent columns by their defaults.
pub fn created(schema: &Schema, edit: &Edit) -> Vec<Value> {
    let columns = &schema.tables[usize::from(edit.row.table)].columns;
    let mut row: Vec<Value> = columns.iter().map(|column| column.default.clone().unwrap_or(Value::Null)).collect();
    edit.set.iter().for_each(|(column, value)| row[usize::from(*column)] = value.clone());
    row
}

/// Takes one edit into the rows as somebody sees it: what does not apply is passed over.
pub fn show(schema: &Schema, rows: &mut Rows, edit: &Edit) {
    match edit.op {
        Op::Create | Op::Restore => drop(rows.entry(edit.row).or_insert_with(|| created(schema, edit))),
        Op::Update => match rows.get_mut(&edit.row) {
            Some(row) => write(schema, row, edit),
            None => drop(revived(schema, edit).map(|row| rows.insert(edit.row, row))),
        },
        Op::Delete | Op::DeleteTree => drop(delete(schema, rows, edit.row)),
    }
}

/// The row that an update makes again, where its table says that edits of deleted rows do.
pub fn revived(schema: &Schema, edit: &Edit) -> Option<Vec<Value>> {
    let restores = schema.tables[usize::from(edit.row.table)].edits_to_deleted == EditsToDeleted::Restore;
    if !restores || edit.was.is_empty() {
        return None;
    }
    let mut row: Vec<Value> = edit.was.iter().map(|(_, value)| value.clone()).collect();
    write(schema, &mut row, edit);
    Some(row)
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
