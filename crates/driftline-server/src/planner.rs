//! What SQLite's planner is told of the tables' sizes. Told nothing, it takes ten rows of a space for likely, and goes through the
//! space rather than use the index on a reference; measuring with `ANALYZE` would let plans depend on what was there that day.
//! See <https://www.sqlite.org/fileformat2.html#stat1tab>.

use rusqlite::{Connection, params};

const ROWS: u64 = 1_000_000;
/// Rows alike in the first column of an index, which is the space.
const OF_SPACE: u64 = 100_000;
/// Rows alike in more of its columns.
const OF_MORE: u64 = 10;

/// Writes the statistics of every table as it is now. Connections that are opened later go by them.
pub fn inform(conn: &Connection) -> rusqlite::Result<()> {
    // Makes the table of statistics, which cannot be made in any other way, and measures nothing.
    conn.execute_batch("ANALYZE sqlite_schema; DELETE FROM sqlite_stat1")?;
    let sql = "SELECT t.name, i.name, i.origin = 'pk', i.\"unique\", (SELECT count(*) FROM pragma_index_info(i.name)) \
               FROM pragma_table_list AS t JOIN pragma_index_list(t.name) AS i WHERE t.schema = 'main' AND t.wr";
    let mut indexes = conn.prepare(sql)?;
    let mut insert = conn.prepare("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (?1, ?2, ?3)")?;
    let mut rows = indexes.query([])?;
    while let Some(row) = rows.next()? {
        let (table, index): (String, String) = (row.get(0)?, row.get(1)?);
        let (is_key, is_unique, columns): (bool, bool, u64) = (row.get(2)?, row.get(3)?, row.get(4)?);
        let alike = |column| match column {
            _ if is_unique && column == columns => 1,
            1 => OF_SPACE,
            _ => OF_MORE,
        };
        let stat = (1..=columns).fold(ROWS.to_string(), |stat, column| format!("{stat} {}", alike(column)));
        insert.execute(params![table, if is_key { &table } else { &index }, stat])?;
    }
    Ok(())
}
