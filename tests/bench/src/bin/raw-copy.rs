//! `raw-copy DATABASE SPACE`: writes all that a database holds of a space into an empty one with the same tables, indexes and keys, as
//! one transaction with strict durability, and prints how long that took as `{"ms", "rows"}`. What is copied is read before.

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};
use std::time::Instant;

type Any = Box<dyn std::error::Error>;

/// The rows of one table, and the statement that writes one.
struct Table {
    insert: String,
    rows: Vec<Vec<Value>>,
}

fn main() -> Result<(), Any> {
    let args: Vec<String> = std::env::args().collect();
    let [_, database, space] = args.as_slice() else { return Err("raw-copy DATABASE SPACE".into()) };
    let from = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let space: i64 = from.query_row("SELECT id FROM _space WHERE name = ?1", [space], |row| row.get(0))?;
    let (ddl, tables) = (ddl(&from)?, read(&from, space)?);
    let folder = tempfile::tempdir()?;
    let into = Connection::open(folder.path().join("copy.db"))?;
    into.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")?;
    into.execute_batch(&ddl)?;
    into.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    let began = Instant::now();
    into.execute_batch("BEGIN IMMEDIATE; PRAGMA defer_foreign_keys = ON")?;
    for table in &tables {
        let mut insert = into.prepare(&table.insert)?;
        for row in &table.rows {
            insert.execute(params_from_iter(row))?;
        }
    }
    into.execute_batch("COMMIT")?;
    let ms = began.elapsed().as_secs_f64() * 1e3;
    let rows: usize = tables.iter().map(|table| table.rows.len()).sum();
    println!("{}", serde_json::json!({"ms": ms, "rows": rows}));
    Ok(())
}

/// What makes the tables and indexes.
fn ddl(db: &Connection) -> Result<String, Any> {
    let sql = "SELECT sql || ';' FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '_search%' \
               ORDER BY type DESC, rowid";
    let found: Result<Vec<String>, _> = db.prepare(sql)?.query_map([], |row| row.get(0))?.collect();
    Ok(found?.concat())
}

/// All rows of a space, by table: what `_space` holds of it, and every table with a column `space`.
fn read(db: &Connection, space: i64) -> Result<Vec<Table>, Any> {
    let sql = "SELECT t.name, group_concat('\"' || c.name || '\"') FROM sqlite_schema t, pragma_table_info(t.name) c \
               WHERE t.type = 'table' AND t.name NOT LIKE '_search%' GROUP BY t.name ORDER BY t.name";
    let found: Result<Vec<(String, String)>, _> = db.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect();
    let mut tables = Vec::new();
    for (name, columns) in found? {
        let key = if name == "_space" { "id" } else { "space" };
        if !columns.split(',').any(|column| column.trim_matches('"') == key) {
            continue;
        }
        let count = columns.split(',').count();
        let mut select = db.prepare(&format!("SELECT {columns} FROM \"{name}\" WHERE \"{key}\" = ?1"))?;
        let row = |row: &rusqlite::Row<'_>| (0..count).map(|at| row.get(at)).collect::<Result<Vec<Value>, _>>();
        let rows: Result<Vec<Vec<Value>>, _> = select.query_map([space], row)?.collect();
        let values = vec!["?"; count].join(",");
        tables.push(Table { insert: format!("INSERT INTO \"{name}\" ({columns}) VALUES ({values})"), rows: rows? });
    }
    Ok(tables)
}
