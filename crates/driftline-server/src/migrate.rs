//! Tables change through numbered migrations only: `NNNN_name.sql`, and `NNNN_name.schema.json` with the schema as of it.
//! The server itself never alters a table.

use crate::counts;
use crate::diff;
use crate::store::{DATABASE_FILE, connect};
use crate::tables::{Layout, blob};
use driftline_core::digest::Digest;
use driftline_core::schema::Schema;
use rusqlite::{Connection, OpenFlags, params};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Applied,
    Pending,
    /// Applied, and its file has changed since.
    Changed,
    /// Applied, and there is no file: the database is ahead of these files.
    Unknown,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::Applied => "applied",
            State::Pending => "pending",
            State::Changed => "changed",
            State::Unknown => "unknown",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub number: u32,
    pub name: String,
    pub state: State,
}

struct Migration {
    number: u32,
    name: String,
    sql: String,
    schema: String,
    sha256: String,
}

/// Writes the next migration. `None`: the schema has not changed since the last one.
pub fn plan(schema: &str, directory: &Path, name: &str) -> Result<Option<PathBuf>, String> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        return Err("a migration's name is made of a-z, 0-9 and _".to_string());
    }
    let new = Schema::parse(schema).map_err(|e| e.to_string())?;
    std::fs::create_dir_all(directory).map_err(|e| format!("cannot make {}: {e}", directory.display()))?;
    let files = list(directory)?;
    let old = files.last().map(parse).transpose()?;
    if old.as_ref() == Some(&new) {
        return Ok(None);
    }
    let statements = diff::statements(old.as_ref(), &new)?;
    let number = files.last().map_or(1, |last| last.number + 1);
    let stem = format!("{number:04}_{name}");
    let text = format!("-- {stem}: schema `{}`, version {}. Runs in one transaction.\n{statements}", new.name, new.version);
    let write = |file: String, text: &str| std::fs::write(directory.join(&file), text).map_err(|e| format!("cannot write {file}: {e}"));
    // The schema first: a lone .sql file would count as a broken migration, a lone schema as none.
    write(format!("{stem}.schema.json"), schema)?;
    write(format!("{stem}.sql"), &text)?;
    Ok(Some(directory.join(format!("{stem}.sql"))))
}

/// Applies what is pending, each in one transaction, and returns the names.
pub fn apply(directory: &Path, data: &Path) -> Result<Vec<String>, String> {
    std::fs::create_dir_all(data).map_err(|e| format!("cannot make {}: {e}", data.display()))?;
    let path = data.join(DATABASE_FILE);
    let conn = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
        .map_err(|e| format!("cannot open {}: {e}", path.display()))?;
    let files = list(directory)?;
    let entries = compare(&files, &applied(&conn)?);
    if let Some(wrong) = entries.iter().find(|entry| matches!(entry.state, State::Changed | State::Unknown)) {
        return Err(describe(wrong));
    }
    let mut names = Vec::new();
    for (i, file) in files.iter().enumerate() {
        if entries.iter().any(|entry| entry.number == file.number && entry.state == State::Pending) {
            let before = if i > 0 { Some(parse(&files[i - 1])?) } else { None };
            apply_one(&conn, file, before.as_ref())
                .map_err(|e| format!("{:04}_{} was not applied, and nothing has changed: {e}", file.number, file.name))?;
            names.push(format!("{:04}_{}", file.number, file.name));
        }
    }
    Ok(names)
}

pub fn status(directory: &Path, data: &Path) -> Result<Vec<Entry>, String> {
    let files = list(directory)?;
    let path = data.join(DATABASE_FILE);
    if !path.exists() {
        return Ok(compare(&files, &[]));
    }
    let conn = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(|e| format!("cannot open {}: {e}", path.display()))?;
    Ok(compare(&files, &applied(&conn)?))
}

/// Refuses a database whose tables are not those of the schema, and says what to run.
pub fn require_current(schema: &Schema, directory: &Path, data: &Path) -> Result<(), String> {
    if !data.join(DATABASE_FILE).exists() {
        return Err(format!("no_database: there is none in {}; run: driftline migrate apply", data.display()));
    }
    let files = list(directory)?;
    if let Some(wrong) = status(directory, data)?.iter().find(|entry| entry.state != State::Applied) {
        return Err(describe(wrong));
    }
    let last =
        files.last().ok_or_else(|| format!("no_migrations: there are none in {}; run: driftline migrate plan", directory.display()))?;
    if parse(last)? != *schema {
        return Err(format!(
            "schema_differs: the schema differs from that of migration {:04}_{}; run: driftline migrate plan, review, driftline migrate apply",
            last.number, last.name
        ));
    }
    Ok(())
}

fn describe(entry: &Entry) -> String {
    let name = format!("{:04}_{}", entry.number, entry.name);
    match entry.state {
        State::Applied => format!("migration {name} is applied"),
        State::Pending => format!("migration_pending: {name} has not been applied; run: driftline migrate apply"),
        State::Changed => format!(
            "migration_changed: {name} was applied and its file has changed since; restore the file, and put the change into a new migration"
        ),
        State::Unknown => format!(
            "migration_unknown: the database has {name}, which is not among the files here; use the files, and the server, that belong to it"
        ),
    }
}

/// Foreign keys are checked at the end and not at each step, because a rebuilt table is away for a moment.
fn apply_one(conn: &Connection, file: &Migration, before: Option<&Schema>) -> Result<(), String> {
    let schema = parse(file)?;
    let run = || -> Result<(), String> {
        let fail = |e: rusqlite::Error| e.to_string();
        conn.execute_batch("PRAGMA foreign_keys = OFF; BEGIN EXCLUSIVE").map_err(fail)?;
        conn.execute_batch(&file.sql).map_err(fail)?;
        if conn.is_autocommit() {
            return Err("the file ends the transaction by itself; take COMMIT and ROLLBACK out".to_string());
        }
        if let Some(before) = before {
            fill_counts(conn, before, &schema)?;
        }
        if before.is_some_and(|before| diff::changes_digests(before, &schema)) {
            recompute_digests(conn, &schema)?;
        }
        let dangling = conn.prepare("PRAGMA foreign_key_check").and_then(|mut check| check.exists([])).map_err(fail)?;
        if dangling {
            return Err("it would leave references to rows that are not there".to_string());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        let sql = "INSERT INTO _migration (number, name, sha256, applied_at) VALUES (?1, ?2, ?3, ?4)";
        conn.execute(sql, params![file.number, file.name, file.sha256, now]).map_err(fail)?;
        conn.execute_batch("COMMIT").map_err(fail)
    };
    let result = run();
    if !conn.is_autocommit() {
        conn.execute_batch("ROLLBACK").map_err(|e| e.to_string())?;
    }
    conn.pragma_update(None, "foreign_keys", true).map_err(|e| e.to_string())?;
    result
}

fn fill_counts(conn: &Connection, before: &Schema, schema: &Schema) -> Result<(), String> {
    let added = diff::added_counts(before, schema);
    if added.is_empty() {
        return Ok(());
    }
    let layout = Layout::new(schema)?;
    for space in spaces(conn)? {
        counts::fill(conn, schema, &layout, space, &added).map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn spaces(conn: &Connection) -> Result<Vec<i64>, String> {
    let read = conn.prepare("SELECT id FROM _space").and_then(|mut s| s.query_map([], |row| row.get(0))?.collect());
    read.map_err(|e| e.to_string())
}

fn recompute_digests(conn: &Connection, schema: &Schema) -> Result<(), String> {
    let fail = |e: rusqlite::Error| e.to_string();
    for space in spaces(conn)? {
        let digest = digest_of(conn, schema, space)?;
        conn.execute("UPDATE _space SET digest = ?2 WHERE id = ?1", params![space, blob(digest.0)]).map_err(fail)?;
    }
    Ok(())
}

/// The digest of a space's rows as the tables hold them.
pub fn digest_of(conn: &Connection, schema: &Schema, space: i64) -> Result<Digest, String> {
    let fail = |e: rusqlite::Error| e.to_string();
    let layout = Layout::new(schema)?;
    let mut digest = Digest::default();
    for table in &layout.tables {
        let mut statement = conn.prepare(&table.select).map_err(fail)?;
        let mut rows = statement.query([space]).map_err(fail)?;
        while let Some(row) = rows.next().map_err(fail)? {
            let (key, row) = table.read(schema, row).map_err(fail)?;
            digest.add(schema, key, &row);
        }
    }
    Ok(digest)
}

fn parse(file: &Migration) -> Result<Schema, String> {
    Schema::parse(&file.schema).map_err(|e| format!("{:04}_{}.schema.json: {e}", file.number, file.name))
}

/// The migrations of a directory, numbered from 1 without a gap.
fn list(directory: &Path) -> Result<Vec<Migration>, String> {
    let entries = std::fs::read_dir(directory).map_err(|e| format!("cannot read {}: {e}", directory.display()))?;
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).filter(|name| name.ends_with(".sql")).collect();
    names.sort();
    let mut files = Vec::new();
    for (i, file) in names.iter().enumerate() {
        let stem = file.trim_end_matches(".sql");
        let parsed = stem.split_once('_').and_then(|(number, name)| Some((number.parse::<u32>().ok()?, name)));
        let Some((number, name)) = parsed.filter(|(number, _)| *number as usize == i + 1) else {
            return Err(format!("{file}: migrations are named NNNN_name.sql and numbered from 0001 without a gap"));
        };
        let read = |file: String| std::fs::read_to_string(directory.join(&file)).map_err(|e| format!("cannot read {file}: {e}"));
        let (sql, schema) = (read(file.clone())?, read(format!("{stem}.schema.json"))?);
        let mut hasher = Sha256::new();
        hasher.update(sql.len().to_be_bytes());
        hasher.update(&sql);
        hasher.update(&schema);
        let sha256 = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        files.push(Migration { number, name: name.to_string(), sql, schema, sha256 });
    }
    Ok(files)
}

fn applied(conn: &Connection) -> Result<Vec<(u32, String, String)>, String> {
    let read = || -> rusqlite::Result<_> {
        if !conn.table_exists(None, "_migration")? {
            return Ok(Vec::new());
        }
        let mut statement = conn.prepare("SELECT number, name, sha256 FROM _migration ORDER BY number")?;
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
    };
    read().map_err(|e| format!("cannot read which migrations were applied: {e}"))
}

fn compare(files: &[Migration], applied: &[(u32, String, String)]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for file in files {
        let state = match applied.iter().find(|row| row.0 == file.number) {
            None => State::Pending,
            Some(row) if row.1 == file.name && row.2 == file.sha256 => State::Applied,
            Some(_) => State::Changed,
        };
        entries.push(Entry { number: file.number, name: file.name.clone(), state });
    }
    for (number, name, _) in applied.iter().filter(|row| row.0 as usize > files.len()) {
        entries.push(Entry { number: *number, name: name.clone(), state: State::Unknown });
    }
    entries
}
