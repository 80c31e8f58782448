//! Statements that make tables, and values as they stand in statements, for each database.
//!
//! SQLite takes constraints only with their table. PostgreSQL gets them once all tables are there: it keeps a table that others
//! refer to from being replaced.

use crate::db::{Dialect, escaped};
use crate::tables::{Slot, TableLayout};
use driftline_core::limits::{INT_MAX, JSON_BYTES};
use driftline_core::schema::{Kind, Schema};
use driftline_core::upgrade::Type;
use driftline_core::value::{RowId, Value};

/// An index of PostgreSQL takes 2,704 bytes of a row; a character has up to four.
const INDEXED_CHARS: usize = 512;

/// A column that the schema no longer has and that waits to be dropped, with its type.
pub type Leftover = (String, &'static str);

/// The statement that creates a table, under a name of its own when it is to replace another.
pub fn create_table(dialect: Dialect, schema: &Schema, layout: &TableLayout, name: &str, more: &[Leftover]) -> String {
    let table = &schema.tables[layout.index as usize];
    let mut lines = Vec::new();
    for (i, column) in table.columns.iter().enumerate() {
        let slots = slots_of(layout, i);
        for slot in &slots {
            let required = if column.nullable || slots.len() > 1 { "" } else { " NOT NULL" };
            let default = if column.is_count() { " DEFAULT 0" } else { "" };
            lines.push(format!("\"{}\" {}{required}{default}", slot.name, sql_type(dialect, &column.kind)));
        }
    }
    lines.extend(more.iter().map(|(name, kind)| format!("\"{name}\" {kind}")));
    let constraints = match dialect {
        Dialect::Sqlite => constraints(dialect, schema, layout).into_iter().map(|constraint| constraint.text).collect(),
        Dialect::Postgres => Vec::new(),
    };
    create(dialect, name, lines, constraints)
}

/// A table that the present schema no longer has: nothing is required of its columns.
pub fn create_loose(dialect: Dialect, name: &str, columns: &[Leftover]) -> String {
    create(dialect, name, columns.iter().map(|(name, kind)| format!("\"{name}\" {kind}")).collect(), Vec::new())
}

fn create(dialect: Dialect, name: &str, columns: Vec<String>, constraints: Vec<String>) -> String {
    let (first, key, end) = match dialect {
        Dialect::Sqlite => (
            ["space INTEGER NOT NULL", "id BLOB NOT NULL CHECK (length(id) = 16)"],
            "PRIMARY KEY (space, id)".to_string(),
            " STRICT, WITHOUT ROWID",
        ),
        Dialect::Postgres => {
            (["space BIGINT NOT NULL", "id UUID NOT NULL"], format!("CONSTRAINT \"{name}:key\" PRIMARY KEY (space, id)"), "")
        }
    };
    let first = first.into_iter().map(str::to_string);
    let lines: Vec<String> = first.chain(columns).chain(["_clock TEXT NOT NULL".to_string(), key]).chain(constraints).collect();
    format!("CREATE TABLE \"{name}\" (\n  {}\n){end};\n", lines.join(",\n  "))
}

fn slots_of(layout: &TableLayout, column: usize) -> Vec<&Slot> {
    layout.slots.iter().filter(|slot| slot.column as usize == column).collect()
}

struct Constraint {
    name: String,
    text: String,
    /// The table that it needs.
    target: Option<u16>,
}

fn constraints(dialect: Dialect, schema: &Schema, layout: &TableLayout) -> Vec<Constraint> {
    let mut all = Vec::new();
    for (i, column) in schema.tables[layout.index as usize].columns.iter().enumerate() {
        let slots = slots_of(layout, i);
        for slot in &slots {
            if let Some(target) = slot.target {
                let table = &schema.tables[target as usize].name;
                let text = format!("FOREIGN KEY (space, \"{}\") REFERENCES \"{table}\" (space, id) ON DELETE NO ACTION", slot.name);
                all.push(Constraint { name: slot.name.clone(), text, target: Some(target) });
            }
        }
        if slots.len() > 1 {
            let compare = if column.nullable { "<=" } else { "=" };
            let count = match dialect {
                Dialect::Sqlite => slots.iter().map(|slot| format!("(\"{}\" IS NOT NULL)", slot.name)).collect::<Vec<_>>().join(" + "),
                Dialect::Postgres => {
                    let names: Vec<String> = slots.iter().map(|slot| format!("\"{}\"", slot.name)).collect();
                    format!("num_nonnulls({})", names.join(", "))
                }
            };
            all.push(Constraint { name: format!("{}:one", column.name), text: format!("CHECK ({count} {compare} 1)"), target: None });
        }
    }
    all
}

/// Adds those of a table's constraints that `wanted` says, by the table that they need, where they did not come with it.
pub fn add_constraints(dialect: Dialect, schema: &Schema, layout: &TableLayout, wanted: impl Fn(Option<u16>) -> bool) -> String {
    if dialect == Dialect::Sqlite {
        return String::new();
    }
    let table = &layout.name;
    let wanted = constraints(dialect, schema, layout).into_iter().filter(|constraint| wanted(constraint.target));
    wanted.map(|Constraint { name, text, .. }| format!("ALTER TABLE \"{table}\" ADD CONSTRAINT \"{table}.{name}\" {text};\n")).collect()
}

/// Drops a table. What refers to it is made anew, or goes as well.
pub fn drop_table(dialect: Dialect, name: &str) -> String {
    let cascade = if dialect == Dialect::Postgres { " CASCADE" } else { "" };
    format!("DROP TABLE \"{name}\"{cascade};\n")
}

/// The name of a table that is to replace another.
pub fn new_name(name: &str) -> String {
    format!("_new.{name}")
}

/// Puts it in the other's place.
pub fn rename_table(dialect: Dialect, name: &str) -> String {
    let new = new_name(name);
    let key = match dialect {
        Dialect::Sqlite => String::new(),
        Dialect::Postgres => format!("ALTER TABLE \"{name}\" RENAME CONSTRAINT \"{new}:key\" TO \"{name}:key\";\n"),
    };
    format!("ALTER TABLE \"{new}\" RENAME TO \"{name}\";\n{key}")
}

/// The indexes of a table, by name: one per reference column, because deletes look up who refers to a row, and those that the
/// schema declares.
pub fn indexes(dialect: Dialect, schema: &Schema, layout: &TableLayout) -> Vec<(String, String)> {
    let name = &layout.name;
    let index = |index: String, columns: &str| {
        let sql = format!("CREATE INDEX \"{index}\" ON \"{name}\" (space{columns});\n");
        (index, sql)
    };
    let references = layout.slots.iter().filter(|slot| slot.target.is_some());
    let mut all: Vec<_> = references.map(|slot| index(format!("_{name}.{}", slot.name), &format!(", \"{}\"", slot.name))).collect();
    let table = &schema.tables[layout.index as usize];
    let is_text = |column: &u16| sql_type(dialect, &table.columns[*column as usize].kind) == "TEXT";
    let part = |column: &u16, texts: usize| {
        let name = &table.columns[*column as usize].name;
        match dialect {
            Dialect::Postgres if is_text(column) => format!(", left(\"{name}\", {})", INDEXED_CHARS / texts),
            _ => format!(", \"{name}\""),
        }
    };
    all.extend(table.indexes.iter().map(|(declared, columns)| {
        // A colon stands in no field's name.
        index(
            format!("_{name}:{declared}"),
            &columns.iter().map(|column| part(column, columns.iter().filter(|column| is_text(column)).count())).collect::<String>(),
        )
    }));
    all
}

pub fn create_indexes(dialect: Dialect, schema: &Schema, layout: &TableLayout) -> String {
    indexes(dialect, schema, layout).into_iter().map(|index| index.1).collect()
}

pub fn sql_type(dialect: Dialect, kind: &Kind) -> &'static str {
    let (sqlite, postgres) = match kind {
        Kind::Text { .. } | Kind::Json | Kind::Weak | Kind::Set | Kind::Conflicts { .. } | Kind::Position => ("TEXT", "TEXT"),
        Kind::Real => ("REAL", "DOUBLE PRECISION"),
        Kind::Int | Kind::Counter | Kind::Count { .. } => ("INTEGER", "BIGINT"),
        Kind::Bool => ("INTEGER", "BOOLEAN"),
        Kind::Ref { .. } => ("BLOB", "UUID"),
    };
    match dialect {
        Dialect::Sqlite => sqlite,
        Dialect::Postgres => postgres,
    }
}

/// The SQL of a conversion; the core's `upgrade::convert` gives the same.
pub fn convert(dialect: Dialect, e: &str, from: Type, to: Type, default: &str) -> String {
    match (dialect, from, to) {
        (_, Type::Int | Type::Counter, Type::Real) => format!("CAST({e} AS {})", sql_type(dialect, &Kind::Real)),
        (_, Type::Int, Type::Text) => format!("CAST({e} AS TEXT)"),
        (_, Type::Int, Type::Bool) => format!("({e} <> 0)"),
        (Dialect::Postgres, Type::Bool, Type::Int) => format!("CAST(CAST({e} AS INTEGER) AS BIGINT)"),
        (Dialect::Sqlite, Type::Real, Type::Int) => {
            let whole = format!("CAST({e} AS INTEGER)");
            format!("CASE WHEN abs({e}) <= {INT_MAX}.0 THEN {whole} + ({e} - {whole} >= 0.5) - ({e} - {whole} <= -0.5) ELSE {default} END")
        }
        (Dialect::Postgres, Type::Real, Type::Int) => {
            let step = format!("CASE WHEN abs({e} - trunc({e})) >= 0.5 THEN sign({e}) ELSE 0 END");
            format!("CASE WHEN abs({e}) <= {INT_MAX} THEN CAST(trunc({e}) + {step} AS BIGINT) ELSE {default} END")
        }
        (Dialect::Sqlite, Type::Text, Type::Int) => {
            let whole = format!("CAST({e} AS INTEGER)");
            format!("CASE WHEN CAST({whole} AS TEXT) = {e} AND {whole} BETWEEN -{INT_MAX} AND {INT_MAX} THEN {whole} ELSE {default} END")
        }
        (Dialect::Postgres, Type::Text, Type::Int) => {
            let fits =
                format!("CASE WHEN CAST({e} AS BIGINT) BETWEEN -{INT_MAX} AND {INT_MAX} THEN CAST({e} AS BIGINT) ELSE {default} END");
            format!("CASE WHEN {e} ~ '^(0|-?[1-9][0-9]{{0,15}})$' THEN {fits} ELSE {default} END")
        }
        (Dialect::Sqlite, Type::Text, Type::Json) => {
            format!("CASE WHEN length(CAST(json_quote({e}) AS BLOB)) <= {JSON_BYTES} THEN json_quote({e}) ELSE {default} END")
        }
        (Dialect::Postgres, Type::Text, Type::Json) => {
            // A NUL and what it is written with, as JSON has them.
            // A backslash that is one stands aside; no control character stands in JSON as it is.
            let quoted = format!("replace(CAST(to_json({e}) AS TEXT), '\\\\', chr(2))");
            let quoted = format!("replace(replace({quoted}, '\\u0001\\u0001', chr(1)), '\\u00010', '\\u0000')");
            let quoted = format!("replace(replace({quoted}, chr(1), '\\u0001'), chr(2), '\\\\')");
            format!("CASE WHEN octet_length({quoted}) <= {JSON_BYTES} THEN {quoted} ELSE {default} END")
        }
        _ => e.to_string(),
    }
}

/// A value as a column holds it; a reference to another table than the column's is none.
pub fn literal(dialect: Dialect, value: &Value, target: Option<u16>) -> String {
    match value {
        Value::Null => "NULL".to_string(),
        Value::Ref(key) if target == Some(key.table) => id(dialect, key.id),
        Value::Ref(_) => "NULL".to_string(),
        Value::Bool(b) if dialect == Dialect::Postgres => b.to_string(),
        Value::Bool(b) => u8::from(*b).to_string(),
        Value::Int(i) => i.to_string(),
        Value::Real(r) => format!("{r:?}"),
        Value::Text(text) | Value::Json(text) => quote(dialect, text),
    }
}

pub fn id(dialect: Dialect, id: RowId) -> String {
    match dialect {
        Dialect::Sqlite => format!("x'{:032x}'", { id.0 }),
        Dialect::Postgres => format!("'{id}'::uuid"),
    }
}

/// The hash of nothing.
pub fn no_hash(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "zeroblob(16)",
        Dialect::Postgres => "'\\x00000000000000000000000000000000'::bytea",
    }
}

pub fn quote(dialect: Dialect, text: &str) -> String {
    match dialect {
        // A NUL would end the statement's text.
        Dialect::Sqlite if text.contains('\0') => {
            let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
            format!("CAST(x'{hex}' AS TEXT)")
        }
        Dialect::Sqlite => format!("'{}'", text.replace('\'', "''")),
        Dialect::Postgres => format!("'{}'", escaped(text).replace('\'', "''")),
    }
}
