//! Tables change through numbered migrations only: `NNNN_name.sql`, and `NNNN_name.schema.json` with the schema as of it.
//! The server itself never alters a table.

use crate::apply::{catalog, catalog_of, has_table, run_statements, transaction};
use crate::clock::now_ms;
use crate::counts;
use crate::db::{Db, DbError, DbResult, Dialect, Param};
use crate::diff;
use crate::fault::Faults;
use crate::place::Place;
use crate::planner;
use crate::rebuild::{self, Part};
use crate::system::{self, SYSTEM};
use crate::tables::{self, Layout};
use driftline_core::digest::Digest;
use driftline_core::schema::Schema;
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};

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
    schema: Schema,
    sha256: String,
    /// What its header says, for machines.
    oldest_server: u32,
    contracts: bool,
    needs_no_deletes: bool,
    dialect: Dialect,
}

/// A migration that a database has.
struct Applied {
    number: u32,
    name: String,
    sha256: String,
    version: u32,
    oldest_server: u32,
}

/// What to plan for, and whether what deletes may be planned.
#[derive(Debug, Clone, Copy)]
pub struct Planning {
    pub dialect: Dialect,
    pub allow_drop: bool,
}

impl Default for Planning {
    fn default() -> Planning {
        Planning { dialect: Dialect::Sqlite, allow_drop: false }
    }
}

/// Writes the next migrations, none where the schema has not changed since the last: one, or, where something is taken away beside, one that expands and one that contracts.
pub fn plan(schema: &str, directory: &Path, name: &str, planning: &Planning) -> Result<Vec<PathBuf>, String> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        return Err("a migration's name is made of a-z, 0-9 and _".to_string());
    }
    let new = Schema::parse(schema).map_err(|e| e.to_string())?;
    std::fs::create_dir_all(directory).map_err(|e| format!("cannot make {}: {e}", directory.display()))?;
    let Planning { dialect, allow_drop } = *planning;
    let files = list_for(directory, dialect)?;
    let last = files.last();
    let parts = match last {
        Some(last) if same_tables(&last.schema, &new) => return Ok(Vec::new()),
        Some(last) => {
            let oldest = files.iter().map(|file| file.oldest_server).max().unwrap_or(1);
            rebuild::parts(dialect, &last.schema, &new, oldest, allow_drop)?
        }
        None => {
            let sql = rebuild::first(dialect, &new)?;
            vec![Part { sql, contracts: false, oldest_server: new.version, needs_no_deletes: false }]
        }
    };
    let mut paths = Vec::new();
    let both = parts.len() > 1;
    for (number, part) in (last.map_or(1, |last| last.number + 1)..).zip(parts) {
        let stem = format!("{number:04}_{name}{}", if both && part.contracts { "_contract" } else { "" });
        let write = |file: String, text: &str| std::fs::write(directory.join(&file), text).map_err(|e| format!("cannot write {file}: {e}"));
        // The schema first: a lone .sql file would count as a broken migration, a lone schema as none.
        write(format!("{stem}.schema.json"), schema)?;
        write(format!("{stem}.sql"), &(header(&stem, &new, dialect, &part) + &part.sql))?;
        paths.push(directory.join(format!("{stem}.sql")));
    }
    Ok(paths)
}

fn header(stem: &str, schema: &Schema, dialect: Dialect, part: &Part) -> String {
    let mut text = format!("-- {stem}: schema `{}`, version {}. Runs in one transaction.\n", schema.name, schema.version);
    if part.contracts {
        text += &format!(
            "-- It takes away what older servers use: those of versions below {} must be gone before it is applied.\n",
            schema.version
        );
    }
    text += &format!("{OLDEST_SERVER} {}\n", part.oldest_server);
    for line in [(dialect == Dialect::Postgres, POSTGRES), (part.contracts, CONTRACTS), (part.needs_no_deletes, NEEDS_NO_DELETES)] {
        if line.0 {
            text += line.1;
            text += "\n";
        }
    }
    text
}

const POSTGRES: &str = "-- database: postgres";
const OLDEST_SERVER: &str = "-- oldest_server:";
const CONTRACTS: &str = "-- phase: contract";
const NEEDS_NO_DELETES: &str = "-- needs: no_deletes";

/// What `apply` does beside applying.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Stop before a migration that takes away what older servers use.
    pub expand_only: bool,
    pub faults: Faults,
}

/// Applies what is pending, each in one transaction, and returns the names.
pub fn apply(directory: &Path, data: &Place) -> Result<Vec<String>, String> {
    apply_with(directory, data, &Options::default())
}

pub fn apply_with(directory: &Path, data: &Place, options: &Options) -> Result<Vec<String>, String> {
    let files = list_for(directory, data.dialect())?;
    let db = data.create()?;
    let mut names = system::apply(&db, &options.faults)?;
    if let Some(trouble) = system::trouble(&db)? {
        return Err(trouble);
    }
    let entries = compare(&files, &applied(&db)?);
    let version = files.last().map_or(0, |last| last.schema.version);
    for entry in &entries {
        match entry.state {
            State::Changed => return Err(describe(entry)),
            State::Unknown => refuse_unless_beside(entry, &applied(&db)?, version)?,
            State::Applied | State::Pending => {}
        }
    }
    for (file, _) in files.iter().zip(&entries).filter(|(_, entry)| entry.state == State::Pending) {
        if file.contracts && options.expand_only {
            break;
        }
        let name = format!("{:04}_{}", file.number, file.name);
        let done = transaction(&db, &options.faults, || apply_one(&db, file, &options.faults));
        if done.map_err(|e| format!("{name} was not applied, and nothing has changed: {e}"))? {
            names.push(name);
        }
    }
    Ok(names)
}

pub fn status(directory: &Path, data: &Place) -> Result<Vec<Entry>, String> {
    let files = list_for(directory, data.dialect())?;
    if !data.exists() {
        return Ok(compare(&files, &[]));
    }
    let db = data.open()?;
    Ok(compare(&files, &applied(&db)?))
}

/// How the schema differs from the last migration, and the database from what the migrations make, a line for each.
pub fn differences(schema: &Schema, directory: &Path, data: &Place) -> Result<Vec<String>, String> {
    let files = list_for(directory, data.dialect())?;
    let mut lines = Vec::new();
    if let Some(last) = files.last() {
        let name = format!("{:04}_{}", last.number, last.name);
        lines.extend(diff::describe(&last.schema, schema).into_iter().map(|line| format!("since {name}: {line}")));
    }
    if !data.exists() {
        return Ok(lines);
    }
    let db = data.open()?;
    if let Some(trouble) = system::trouble(&db)? {
        lines.push(trouble);
        return Ok(lines);
    }
    let entries = compare(&files, &applied(&db)?);
    if entries.iter().any(|entry| matches!(entry.state, State::Changed | State::Unknown)) {
        return Ok(lines);
    }
    let system = SYSTEM.iter().map(|system| system.sql(db.dialect()));
    let done = files.iter().zip(&entries).filter(|(_, entry)| entry.state == State::Applied).map(|(file, _)| file.sql.as_str());
    let made = catalog_of(&db, system.chain(done)).map_err(|e| format!("the migrations do not run on an empty database: {e}"))?;
    let found = catalog(&db).map_err(|e| format!("cannot read the tables: {e}"))?;
    for (name, entry) in &made {
        match found.get(name) {
            None => lines.push(format!("the database lacks the {} `{name}`", entry.0)),
            Some(found) if found != entry => {
                lines.push(format!("the {} `{name}` of the database is not as the migrations make it", entry.0))
            }
            Some(_) => {}
        }
    }
    for (name, entry) in found.iter().filter(|entry| !made.contains_key(entry.0)) {
        lines.push(format!("the database has the {} `{name}`, which no migration makes", entry.0));
    }
    Ok(lines)
}

/// Refuses a database whose tables this schema's server cannot use, and says what to run.
pub fn require_current(schema: &Schema, directory: &Path, data: &Place) -> Result<(), String> {
    if !data.exists() {
        return Err(format!("no_database: there is none in {data}; run: driftline migrate apply"));
    }
    let files = list_for(directory, data.dialect())?;
    let db = data.open()?;
    if let Some(trouble) = system::trouble(&db)? {
        return Err(trouble);
    }
    let applied = applied(&db)?;
    for (i, entry) in compare(&files, &applied).iter().enumerate() {
        match entry.state {
            State::Applied => {}
            // What older servers use may still be there: nothing is required of it any more.
            State::Pending if i > 0 && files[i].contracts && files[i - 1].schema.version == files[i].schema.version => {}
            State::Pending | State::Changed => return Err(describe(entry)),
            State::Unknown => refuse_unless_beside(entry, &applied, schema.version)?,
        }
    }
    let last =
        files.last().ok_or_else(|| format!("no_migrations: there are none in {}; run: driftline migrate plan", directory.display()))?;
    if !same_tables(&last.schema, schema) {
        return Err(format!(
            "schema_differs: the schema differs from that of migration {:04}_{}; run: driftline migrate plan, review, driftline migrate apply",
            last.number, last.name
        ));
    }
    Ok(())
}

/// A migration of a later release may let older servers run beside it.
fn refuse_unless_beside(entry: &Entry, applied: &[Applied], version: u32) -> Result<(), String> {
    let row = applied.iter().find(|row| row.number == entry.number && row.version > version);
    let Some(row) = row else { return Err(describe(entry)) };
    if row.oldest_server > version {
        return Err(format!(
            "server_too_old: migration {:04}_{} needs servers of schema version {} or later, and this one is of version {version}; \
             use the files, and the server, that belong to it",
            row.number, row.name, row.oldest_server
        ));
    }
    Ok(())
}

/// What was once said of older versions may be left out later.
fn same_tables(one: &Schema, other: &Schema) -> bool {
    (&one.name, one.version, &one.tables) == (&other.name, other.version, &other.tables)
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

fn spaces(db: &Db) -> DbResult<Vec<i64>> {
    db.all("SELECT id FROM _space", &[], |row| row.int(0))
}

fn fill_counts(db: &Db, schema: &Schema) -> Result<(), String> {
    let layout = Layout::new(schema, db.dialect())?;
    let fill = |space| counts::fill(db, schema, &layout, space, &schema.counts);
    spaces(db).and_then(|spaces| spaces.into_iter().try_for_each(fill)).map_err(|e| e.to_string())
}

/// Inside a transaction. `false`: another process was faster.
fn apply_one(db: &Db, file: &Migration, faults: &Faults) -> Result<bool, String> {
    let fail = |e: DbError| e.to_string();
    if applied(db)?.iter().any(|row| row.number == file.number) {
        return Ok(false);
    }
    if file.needs_no_deletes && db.exists("SELECT 1 FROM _dying", &[]).map_err(fail)? {
        return Err(
            "deletes_under_way: rows are being deleted in the background; let a server of the version before finish that first".into()
        );
    }
    run_statements(db, &file.sql, faults)?;
    // Also where nothing should have changed: the file may have been altered by hand.
    fill_counts(db, &file.schema)?;
    recompute_digests(db, &file.schema)?;
    // Texts and tables may be others now: what is searched for is looked through anew.
    db.execute("DELETE FROM _search_space", &[]).map_err(fail)?;
    if let Some(conn) = db.sqlite() {
        planner::inform(conn).map_err(|e| e.to_string())?;
    }
    let sql = "INSERT INTO _migration (number, name, sha256, version, oldest_server, applied_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (name, sha256) = (file.name.as_str().into(), file.sha256.as_str().into());
    let params = [file.number.into(), name, sha256, file.schema.version.into(), file.oldest_server.into(), now_ms().into()];
    db.execute(sql, &params).map_err(fail)?;
    Ok(true)
}

fn recompute_digests(db: &Db, schema: &Schema) -> Result<(), String> {
    let fail = |e: DbError| e.to_string();
    for space in spaces(db).map_err(fail)? {
        let digest = digest_of(db, schema, space)?;
        let sql = "UPDATE _space SET digest = ?2, schema = ?3 WHERE id = ?1";
        db.execute(sql, &[space.into(), Param::Hash(digest.0), schema.version.into()]).map_err(fail)?;
    }
    Ok(())
}

/// The digest of a space's rows as the tables hold them.
pub fn digest_of(db: &Db, schema: &Schema, space: i64) -> Result<Digest, String> {
    tables::digest_of(db, schema, &Layout::new(schema, db.dialect())?, space).map_err(|e| e.to_string())
}

/// The migrations of a directory, which must be written for this kind of database.
fn list_for(directory: &Path, dialect: Dialect) -> Result<Vec<Migration>, String> {
    let files = list(directory)?;
    if let Some(file) = files.iter().find(|file| file.dialect != dialect) {
        return Err(format!(
            "wrong_database: migration {:04}_{} is written for {}, and the database is {}: keep a directory of migrations for each",
            file.number,
            file.name,
            file.dialect.name(),
            dialect.name()
        ));
    }
    Ok(files)
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
        let schema = Schema::parse(&schema).map_err(|e| format!("{stem}.schema.json: {e}"))?;
        let says = |line: &str| sql.lines().take_while(|line| line.starts_with("--")).any(|said| said.trim_end() == line);
        let oldest = sql.lines().take_while(|line| line.starts_with("--")).find_map(|line| line.strip_prefix(OLDEST_SERVER));
        files.push(Migration {
            number,
            name: name.to_string(),
            // Where nothing is said, nothing is promised.
            oldest_server: oldest.and_then(|version| version.trim().parse().ok()).unwrap_or(schema.version),
            contracts: says(CONTRACTS),
            needs_no_deletes: says(NEEDS_NO_DELETES),
            dialect: if says(POSTGRES) { Dialect::Postgres } else { Dialect::Sqlite },
            sql,
            schema,
            sha256,
        });
    }
    Ok(files)
}

fn applied(db: &Db) -> Result<Vec<Applied>, String> {
    let read = || -> DbResult<_> {
        if !has_table(db, "_migration")? {
            return Ok(Vec::new());
        }
        db.all("SELECT number, name, sha256, version, oldest_server FROM _migration ORDER BY number", &[], |row| {
            let (name, sha256) = (row.text(1)?.to_string(), row.text(2)?.to_string());
            Ok(Applied { number: row.number(0)?, name, sha256, version: row.number(3)?, oldest_server: row.number(4)? })
        })
    };
    system::count(db)?;
    read().map_err(|e| format!("cannot read which migrations were applied: {e}"))
}

fn compare(files: &[Migration], applied: &[Applied]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for file in files {
        let state = match applied.iter().find(|row| row.number == file.number) {
            None => State::Pending,
            Some(row) if row.name == file.name && row.sha256 == file.sha256 => State::Applied,
            Some(_) => State::Changed,
        };
        entries.push(Entry { number: file.number, name: file.name.clone(), state });
    }
    for row in applied.iter().filter(|row| row.number as usize > files.len()) {
        entries.push(Entry { number: row.number, name: row.name.clone(), state: State::Unknown });
    }
    entries
}
