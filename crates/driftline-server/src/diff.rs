//! The SQL between two schemas: new tables, and new columns by rebuilding their table.
//!
//! A rebuild keeps the tables exactly as a fresh database would have them, and is the only way in SQLite to add a foreign
//! key over two columns.

use crate::tables::{Layout, SYSTEM_TABLES, TableLayout, create_indexes, create_table};
use driftline_core::schema::{Column, Count, Kind, Schema, Table};
use driftline_core::value::Value;

/// The statements that lead from `old` (`None`: an empty database) to `new`, or why there are none.
pub fn statements(old: Option<&Schema>, new: &Schema) -> Result<String, String> {
    let layout = Layout::new(new)?;
    let Some(old) = old else {
        let tables = layout.tables.iter().map(|table| create_table(new, table, &table.name) + &create_indexes(table));
        return Ok(SYSTEM_TABLES.to_string() + &tables.collect::<String>());
    };
    if old.name != new.name {
        return Err(format!(
            "the schema was named `{}` and is now `{}`: that is another app's; use another migrations directory",
            old.name, new.name
        ));
    }
    if new.version <= old.version {
        return Err(format!("the schema has changed, so its version must be above {}: senders name it", old.version));
    }
    if let Some(gone) = old.tables.iter().find(|table| new.table(&table.name).is_none()) {
        return Err(format!("table `{}` is gone: dropping or renaming a table is not supported yet", gone.name));
    }
    let mut sql = String::new();
    for (table, layout) in new.tables.iter().zip(&layout.tables) {
        match old.table(&table.name) {
            None => sql += &(create_table(new, layout, &table.name) + &create_indexes(layout)),
            Some(index) => {
                let before = &old.tables[index as usize];
                let added = added_columns(old, before, new, table)?;
                if !added.is_empty() {
                    sql += &rebuild(new, layout, &added);
                }
            }
        }
    }
    Ok(if sql.is_empty() { "-- No table changes.\n".to_string() } else { sql })
}

/// Whether rows that exist get another digest: nulls do not count in it, other defaults do.
pub fn changes_digests(old: &Schema, new: &Schema) -> bool {
    let columns = |table: &Table| table.columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
    new.tables.iter().any(|table| {
        let before = old.table(&table.name).map(|index| columns(&old.tables[index as usize]));
        before.is_some_and(|before| {
            table.columns.iter().any(|c| !before.contains(&c.name) && c.default.as_ref().is_some_and(|d| !d.is_null()))
        })
    })
}

/// Counts of rows that exist: their children must be counted.
pub fn added_counts(old: &Schema, new: &Schema) -> Vec<Count> {
    let is_new = |count: &&Count| {
        let table = &new.tables[usize::from(count.parent)];
        let before = old.table(&table.name).map(|before| &old.tables[usize::from(before)]);
        before.is_some_and(|before| before.column(&table.columns[usize::from(count.column)].name).is_none())
    };
    new.counts.iter().filter(is_new).copied().collect()
}

fn added_columns<'a>(old: &Schema, before: &Table, new: &Schema, table: &'a Table) -> Result<Vec<&'a Column>, String> {
    for column in &before.columns {
        let place = format!("table `{}`, field `{}`", table.name, column.name);
        let Some(index) = table.column(&column.name) else {
            return Err(format!("{place} is gone: dropping or renaming a field is not supported yet"));
        };
        let now = &table.columns[index as usize];
        if now.nullable != column.nullable {
            return Err(format!("{place}: changing `nullable` is not supported yet"));
        }
        if !still_fits(old, &column.kind, new, &now.kind) {
            return Err(format!("{place}: changing its type, its targets, what it counts or shortening `max_chars` is not supported yet"));
        }
    }
    let added: Vec<&Column> = table.columns.iter().filter(|column| before.column(&column.name).is_none()).collect();
    match added.iter().find(|column| column.default.is_none()) {
        Some(column) => Err(format!("table `{}`, field `{}` is new: it must be nullable or have a default", table.name, column.name)),
        None => Ok(added),
    }
}

fn still_fits(old: &Schema, before: &Kind, new: &Schema, now: &Kind) -> bool {
    let names = |schema: &Schema, to: &[u16]| to.iter().map(|t| schema.tables[*t as usize].name.clone()).collect::<Vec<_>>();
    match (before, now) {
        (Kind::Text { max_chars: before, .. }, Kind::Text { max_chars: now, .. }) => now >= before,
        (Kind::Ref { to: before, .. }, Kind::Ref { to: now, .. }) => names(old, before) == names(new, now),
        (Kind::Conflicts { .. }, Kind::Conflicts { .. }) => true,
        (Kind::Count { table: before, column: a }, Kind::Count { table: now, column: b }) => {
            column_name(old, *before, *a) == column_name(new, *now, *b)
        }
        (Kind::Ref { .. }, _) | (_, Kind::Ref { .. }) => false,
        (before, now) => before == now,
    }
}

fn column_name(schema: &Schema, table: u16, column: u16) -> (&str, &str) {
    let table = &schema.tables[usize::from(table)];
    (&table.name, &table.columns[usize::from(column)].name)
}

fn rebuild(new: &Schema, layout: &TableLayout, added: &[&Column]) -> String {
    let name = &layout.name;
    let columns = &new.tables[layout.index as usize].columns;
    let (mut into, mut from) = (String::new(), String::new());
    for slot in &layout.slots {
        let column = &columns[slot.column as usize];
        let is_new = added.iter().any(|added| added.name == column.name);
        into += &format!("\"{}\", ", slot.name);
        from += &if is_new { format!("{}, ", literal(column)) } else { format!("\"{}\", ", slot.name) };
    }
    let counts = added.iter().filter(|column| column.is_count());
    let counts = counts.map(|count| format!("-- \"{name}\".\"{}\" is filled when this has run: by counting.\n", count.name));
    format!(
        "{create}INSERT INTO \"_new.{name}\" (space, id, {into}_clock)\n  SELECT space, id, {from}_clock FROM \"{name}\";\n\
         DROP TABLE \"{name}\";\nALTER TABLE \"_new.{name}\" RENAME TO \"{name}\";\n{indexes}{counts}",
        create = create_table(new, layout, &format!("_new.{name}")),
        indexes = create_indexes(layout),
        counts = counts.collect::<String>(),
    )
}

fn literal(column: &Column) -> String {
    match column.default.as_ref().unwrap_or(&Value::Null) {
        Value::Null | Value::Ref(_) => "NULL".to_string(),
        Value::Bool(b) => u8::from(*b).to_string(),
        Value::Int(i) => i.to_string(),
        Value::Real(r) => format!("{r:?}"),
        Value::Text(text) | Value::Json(text) => format!("'{}'", text.replace('\'', "''")),
    }
}
