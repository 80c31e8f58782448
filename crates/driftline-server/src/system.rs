//! The server's own tables, whose names begin with `_`. They have numbers of their own, so that a later server can change them
//! without touching any app's migrations.

use crate::apply::{has_table, run_statements, transaction};
use crate::clock::now_ms;
use crate::db::{Db, DbResult, Dialect};
use crate::fault::Faults;

/// Numbered from 1, each one transaction. What stands here is never changed; what has to change is put below.
pub const SYSTEM: &[System] = &[
    System { name: "base", sqlite: BASE, postgres: BASE_POSTGRES },
    System { name: "serving", sqlite: SERVING, postgres: SERVING_POSTGRES },
    System { name: "blobs", sqlite: BLOBS, postgres: BLOBS_POSTGRES },
];

pub struct System {
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

impl System {
    pub fn sql(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => self.sqlite,
            Dialect::Postgres => self.postgres,
        }
    }
}

const BASE: &str = r#"CREATE TABLE _system (number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT;
CREATE TABLE _migration (
  number INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, version INTEGER NOT NULL, oldest_server INTEGER NOT NULL,
  applied_at INTEGER NOT NULL) STRICT;
CREATE TABLE _space (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, rev INTEGER NOT NULL, horizon INTEGER NOT NULL, digest BLOB NOT NULL,
  schema INTEGER NOT NULL) STRICT;
CREATE TABLE _client (
  space INTEGER NOT NULL, principal TEXT NOT NULL, client INTEGER NOT NULL, actor INTEGER NOT NULL, epoch INTEGER NOT NULL,
  receipt INTEGER, previous INTEGER, closed TEXT NOT NULL, PRIMARY KEY (space, principal, client)) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX "_client.actor" ON _client (space, actor);
CREATE TABLE _mark (
  space INTEGER NOT NULL, actor INTEGER NOT NULL, seq INTEGER NOT NULL, hash BLOB NOT NULL, applied INTEGER NOT NULL,
  outcome TEXT NOT NULL, PRIMARY KEY (space, actor, seq)) STRICT, WITHOUT ROWID;
CREATE TABLE _log (
  space INTEGER NOT NULL, rev INTEGER NOT NULL, part INTEGER NOT NULL, actor INTEGER NOT NULL, seq INTEGER NOT NULL,
  hash BLOB NOT NULL, schema INTEGER NOT NULL, changes TEXT NOT NULL, PRIMARY KEY (space, rev, part)) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX "_log.key" ON _log (space, actor, seq);
CREATE TABLE _dying (
  space INTEGER NOT NULL, tbl TEXT NOT NULL, id BLOB NOT NULL, rev INTEGER NOT NULL, PRIMARY KEY (space, tbl, id)) STRICT, WITHOUT ROWID;
CREATE TABLE _deleted (
  space INTEGER NOT NULL, id BLOB NOT NULL, tbl TEXT NOT NULL, rev INTEGER NOT NULL, PRIMARY KEY (space, id, tbl)) STRICT, WITHOUT ROWID;
"#;

const BASE_POSTGRES: &str = r#"CREATE TABLE _system (number BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL);
CREATE TABLE _migration (
  number BIGINT PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, version BIGINT NOT NULL, oldest_server BIGINT NOT NULL,
  applied_at BIGINT NOT NULL);
CREATE TABLE _space (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name TEXT NOT NULL UNIQUE, rev BIGINT NOT NULL, horizon BIGINT NOT NULL,
  digest BYTEA NOT NULL, schema BIGINT NOT NULL);
CREATE TABLE _client (
  space BIGINT NOT NULL, principal TEXT NOT NULL, client BIGINT NOT NULL, actor BIGINT NOT NULL, epoch BIGINT NOT NULL,
  receipt BIGINT, previous BIGINT, closed TEXT NOT NULL, PRIMARY KEY (space, principal, client));
CREATE UNIQUE INDEX "_client.actor" ON _client (space, actor);
CREATE TABLE _mark (
  space BIGINT NOT NULL, actor BIGINT NOT NULL, seq BIGINT NOT NULL, hash BYTEA NOT NULL, applied BOOLEAN NOT NULL,
  outcome TEXT NOT NULL, PRIMARY KEY (space, actor, seq));
CREATE TABLE _log (
  space BIGINT NOT NULL, rev BIGINT NOT NULL, part BIGINT NOT NULL, actor BIGINT NOT NULL, seq BIGINT NOT NULL,
  hash BYTEA NOT NULL, schema BIGINT NOT NULL, changes TEXT NOT NULL, PRIMARY KEY (space, rev, part));
CREATE UNIQUE INDEX "_log.key" ON _log (space, actor, seq);
CREATE TABLE _dying (
  space BIGINT NOT NULL, tbl TEXT NOT NULL, id UUID NOT NULL, rev BIGINT NOT NULL, PRIMARY KEY (space, tbl, id));
CREATE TABLE _deleted (
  space BIGINT NOT NULL, id UUID NOT NULL, tbl TEXT NOT NULL, rev BIGINT NOT NULL, PRIMARY KEY (space, id, tbl));
"#;

/// What is pruned by revision; versions of spaces; words to search for; calls to make.
const SERVING: &str = r#"CREATE INDEX "_deleted.rev" ON _deleted (space, rev);
CREATE TABLE _version (
  space INTEGER NOT NULL, rev INTEGER NOT NULL, at INTEGER NOT NULL, rows INTEGER NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY (space, rev)) STRICT;
CREATE TABLE _search_space (space INTEGER PRIMARY KEY, rev INTEGER NOT NULL) STRICT;
CREATE TABLE _search_dirty (
  space INTEGER NOT NULL, tbl TEXT NOT NULL, id BLOB NOT NULL, PRIMARY KEY (space, tbl, id)) STRICT, WITHOUT ROWID;
CREATE TABLE _search_doc (doc INTEGER PRIMARY KEY, space INTEGER NOT NULL, tbl TEXT NOT NULL, id BLOB NOT NULL) STRICT;
CREATE UNIQUE INDEX "_search_doc.row" ON _search_doc (space, tbl, id);
CREATE VIRTUAL TABLE _search USING fts5(
  words, content='', contentless_delete=1, detail=none, tokenize="ascii tokenchars '~'");
CREATE TABLE _effect (
  space INTEGER NOT NULL, tbl TEXT NOT NULL, id BLOB NOT NULL, key TEXT NOT NULL, op TEXT NOT NULL, rev INTEGER NOT NULL,
  data TEXT NOT NULL, attempts INTEGER NOT NULL, due INTEGER NOT NULL, parked INTEGER NOT NULL,
  PRIMARY KEY (space, tbl, id)) STRICT, WITHOUT ROWID;
CREATE INDEX "_effect.due" ON _effect (parked, due);
"#;

const SERVING_POSTGRES: &str = r#"CREATE INDEX "_deleted.rev" ON _deleted (space, rev);
CREATE TABLE _version (
  space BIGINT NOT NULL, rev BIGINT NOT NULL, at BIGINT NOT NULL, rows BIGINT NOT NULL, data BYTEA NOT NULL, PRIMARY KEY (space, rev));
CREATE TABLE _search_space (space BIGINT PRIMARY KEY, rev BIGINT NOT NULL);
CREATE TABLE _search_dirty (space BIGINT NOT NULL, tbl TEXT NOT NULL, id UUID NOT NULL, PRIMARY KEY (space, tbl, id));
CREATE TABLE _search (space BIGINT NOT NULL, tbl TEXT NOT NULL, id UUID NOT NULL, words TSVECTOR NOT NULL, PRIMARY KEY (space, tbl, id));
CREATE INDEX "_search.words" ON _search USING gin (words);
CREATE TABLE _effect (
  space BIGINT NOT NULL, tbl TEXT NOT NULL, id UUID NOT NULL, key TEXT NOT NULL, op TEXT NOT NULL, rev BIGINT NOT NULL,
  data TEXT NOT NULL, attempts BIGINT NOT NULL, due BIGINT NOT NULL, parked BOOLEAN NOT NULL, PRIMARY KEY (space, tbl, id));
CREATE INDEX "_effect.due" ON _effect (parked, due);
"#;

/// Files: those that are whole, those that are still coming, and the bytes of both. An upload's number is that of the blob it becomes.
const BLOBS: &str = r#"CREATE TABLE _blob (
  space INTEGER NOT NULL, hash BLOB NOT NULL, upload INTEGER NOT NULL, bytes INTEGER NOT NULL, media_type TEXT NOT NULL,
  at INTEGER NOT NULL, PRIMARY KEY (space, hash)) STRICT, WITHOUT ROWID;
CREATE TABLE _blob_upload (
  space INTEGER NOT NULL, hash BLOB NOT NULL, principal TEXT NOT NULL, upload INTEGER NOT NULL, bytes INTEGER NOT NULL,
  received INTEGER NOT NULL, media_type TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (space, hash, principal)) STRICT, WITHOUT ROWID;
CREATE TABLE _blob_chunk (
  space INTEGER NOT NULL, hash BLOB NOT NULL, upload INTEGER NOT NULL, idx INTEGER NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY (space, hash, upload, idx)) STRICT;
"#;

const BLOBS_POSTGRES: &str = r#"CREATE TABLE _blob (
  space BIGINT NOT NULL, hash BYTEA NOT NULL, upload BIGINT NOT NULL, bytes BIGINT NOT NULL, media_type TEXT NOT NULL, at BIGINT NOT NULL,
  PRIMARY KEY (space, hash));
CREATE TABLE _blob_upload (
  space BIGINT NOT NULL, hash BYTEA NOT NULL, principal TEXT NOT NULL, upload BIGINT NOT NULL, bytes BIGINT NOT NULL,
  received BIGINT NOT NULL, media_type TEXT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (space, hash, principal));
CREATE TABLE _blob_chunk (
  space BIGINT NOT NULL, hash BYTEA NOT NULL, upload BIGINT NOT NULL, idx BIGINT NOT NULL, data BYTEA NOT NULL,
  PRIMARY KEY (space, hash, upload, idx));
"#;

const OLD_LAYOUT: &str = "old_layout: this database was made by an early release that kept its own tables among the app's; \
                          this one cannot read it: keep it aside, and begin with an empty data folder";

/// How many of them a database has.
pub fn count(db: &Db) -> Result<usize, String> {
    let read = || -> DbResult<Option<usize>> {
        // In this order: another process may just be making both, in one transaction.
        let has_migrations = has_table(db, "_migration")?;
        if has_table(db, "_system")? {
            return db.one("SELECT count(*) FROM _system", &[], |row| row.number(0)).map(Some);
        }
        Ok(if has_migrations { None } else { Some(0) })
    };
    let found = read().map_err(|e| format!("cannot read which of the server's own tables there are: {e}"))?;
    found.ok_or_else(|| OLD_LAYOUT.to_string())
}

/// What is missing, or too new, in a sentence.
pub fn trouble(db: &Db) -> Result<Option<String>, String> {
    let count = count(db)?;
    Ok(match SYSTEM.get(count) {
        Some(System { name, .. }) => {
            let number = count + 1;
            Some(format!("system_pending: the server's own tables lack number {number} ({name}); run: driftline migrate apply"))
        }
        None if count > SYSTEM.len() => {
            let known = SYSTEM.len();
            Some(format!(
                "system_newer: the server's own tables are at number {count}, and this server knows {known}: use a server as new as the database"
            ))
        }
        None => None,
    })
}

/// Applies what is missing, each in one transaction, and returns the names.
pub fn apply(db: &Db, faults: &Faults) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    let there = count(db)?;
    for (at, system) in SYSTEM.iter().enumerate().skip(there) {
        let (number, name) = (at + 1, system.name);
        let run = || -> Result<bool, String> {
            if count(db)? > at {
                return Ok(false);
            }
            run_statements(db, system.sql(db.dialect()), faults)?;
            let insert = "INSERT INTO _system (number, name, applied_at) VALUES (?1, ?2, ?3)";
            db.execute(insert, &[(number as i64).into(), name.into(), now_ms().into()]).map_err(|e| e.to_string())?;
            Ok(true)
        };
        let done = transaction(db, faults, run);
        if done.map_err(|e| format!("the server's own number {number} ({name}) was not applied, and nothing has changed: {e}"))? {
            names.push(format!("system {number:04}_{name}"));
        }
    }
    Ok(names)
}
