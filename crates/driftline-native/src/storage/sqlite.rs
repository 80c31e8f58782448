//! One SQLite file for each user and app, for all of their spaces.
//!
//! It is written ahead with `synchronous=FULL`: a transaction that has committed outlives a crash of the process and of the system. Who has
//! a space open holds a lock on a small file beside it, which the system lets go of with the process.

mod lock;
mod tables;

use super::{Commit, Disk, IMPORTED, Key, OWN, Save, SlotDisk, Storage, StorageError};
use crate::options::Home;
use driftline_core::engine::{damaged_record, record_key};
use driftline_core::value::parse_hex64;
use lock::Lock;
use rusqlite::{Connection, ErrorCode, Row, ToSql, Transaction, TransactionBehavior, params};
use std::path::Path;

pub struct Sqlite {
    connection: Connection,
    space: String,
    // Last: it is let go of when the file is closed.
    _lock: Lock,
}

impl Sqlite {
    /// Opens a space. Fails with `in_use` while another process, or another client of this one, has it open; and with `wrong_user` where
    /// the file is of another app or user.
    pub fn open(path: &Path, home: &Home) -> Result<Sqlite, StorageError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let refused = |error| StorageError::new("storage_refused", format!("cannot make {}: {error}", folder.display()));
            std::fs::create_dir_all(folder).map_err(refused)?;
        }
        let lock = Lock::take(path, &home.space)?;
        let connection = tables::open(path, home)?;
        Ok(Sqlite { connection, space: home.space.clone(), _lock: lock })
    }

    /// Writes all of it or nothing.
    fn write<T>(&mut self, write: impl FnOnce(&Transaction, &str) -> Result<T, StorageError>) -> Result<T, StorageError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let written = write(&transaction, &self.space)?;
        transaction.commit()?;
        Ok(written)
    }
}

impl Storage for Sqlite {
    fn client(&mut self, fresh: u64) -> Result<u64, StorageError> {
        self.write(|transaction, space| {
            let known: Option<String> = transaction.query_row("SELECT client FROM space WHERE name = ?1", [space], |row| row.get(0))?;
            if let Some(known) = known.as_deref().and_then(parse_hex64) {
                return Ok(known);
            }
            transaction.execute("UPDATE space SET client = ?2 WHERE name = ?1", params![space, hex(fresh)])?;
            Ok(fresh)
        })
    }

    fn read(&mut self) -> Result<Disk, StorageError> {
        let transaction = self.connection.transaction()?;
        let space = &self.space;
        let texts = |sql: &str| list(&transaction, sql, &[space], |row| lossy(row, 0));
        Ok(Disk {
            meta: transaction.query_row("SELECT meta FROM space WHERE name = ?1", [space], |row| {
                Ok(row.get_ref(0)?.as_bytes_or_null()?.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
            })?,
            base: texts("SELECT chunk FROM base WHERE space = ?1 ORDER BY number")?,
            tails: texts("SELECT changes FROM tail WHERE space = ?1 ORDER BY rev")?,
            slots: vec![read_slot(&transaction, space, OWN)?, read_slot(&transaction, space, IMPORTED)?],
        })
    }

    fn read_slot(&mut self, slot: u32) -> Result<SlotDisk, StorageError> {
        let transaction = self.connection.transaction()?;
        read_slot(&transaction, &self.space, slot)
    }

    fn save(&mut self, slot: u32, save: Save) -> Result<(), StorageError> {
        self.write(|transaction, space| {
            if let Some(client) = save.client {
                transaction.execute("UPDATE space SET client = ?2 WHERE name = ?1", params![space, hex(client)])?;
            }
            let mut put = transaction.prepare_cached(PUT)?;
            for ((client, seq), record) in &save.puts {
                put.execute(params![space, slot, hex(*client), int(*seq), record])?;
            }
            let (mut delete, mut raise) = (transaction.prepare_cached(DELETE)?, transaction.prepare_cached(RAISE)?);
            for (client, seq) in &save.deletes {
                delete.execute(params![space, slot, hex(*client), int(*seq)])?;
                raise.execute(params![space, slot, hex(*client), int(*seq)])?;
            }
            Ok(())
        })
    }

    fn commit(&mut self, commit: Commit) -> Result<(), StorageError> {
        self.write(|transaction, space| {
            let mut update = transaction.prepare_cached("UPDATE space SET meta = ?2 WHERE name = ?1 AND epoch = ?3")?;
            if update.execute(params![space, commit.meta, int(commit.epoch)])? == 0 {
                return Err(StorageError::stale_epoch());
            }
            if let Some(chunks) = &commit.base {
                transaction.execute("DELETE FROM base WHERE space = ?1", [space])?;
                transaction.execute("DELETE FROM tail WHERE space = ?1", [space])?;
                let mut insert = transaction.prepare_cached("INSERT INTO base (space, number, chunk) VALUES (?1, ?2, ?3)")?;
                for (number, chunk) in chunks.iter().enumerate() {
                    insert.execute(params![space, number, chunk])?;
                }
            }
            if let Some((rev, changes)) = &commit.tail {
                let mut insert = transaction.prepare_cached("INSERT OR REPLACE INTO tail (space, rev, changes) VALUES (?1, ?2, ?3)")?;
                insert.execute(params![space, int(*rev), changes])?;
            }
            Ok(())
        })
    }

    fn take_epoch(&mut self) -> Result<u64, StorageError> {
        let sql = "UPDATE space SET epoch = epoch + 1 WHERE name = ?1 RETURNING epoch";
        self.write(|transaction, space| Ok(transaction.query_row(sql, [space], |row| row.get::<_, i64>(0))? as u64))
    }

    fn renew_epoch(&mut self, ours: u64, at_least: u64) -> Result<Option<u64>, StorageError> {
        let epoch = ours.max(at_least);
        let sql = "UPDATE space SET epoch = ?2 WHERE name = ?1 AND epoch = ?3";
        self.write(|transaction, space| {
            let renewed = transaction.execute(sql, params![space, int(epoch), int(ours)])?;
            Ok((renewed > 0).then_some(epoch))
        })
    }
}

const PUT: &str = "INSERT INTO txn (space, slot, client, seq, record) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (space, slot, client, seq) DO UPDATE SET record = excluded.record";
const DELETE: &str = "DELETE FROM txn WHERE space = ?1 AND slot = ?2 AND client = ?3 AND seq = ?4";
const RAISE: &str = "INSERT INTO high (space, slot, client, seq) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (space, slot, client) DO UPDATE SET seq = max(seq, excluded.seq)";

fn read_slot(connection: &Connection, space: &str, slot: u32) -> Result<SlotDisk, StorageError> {
    let place: [&dyn ToSql; 2] = [&space, &slot];
    let records = "SELECT client, seq, record FROM txn WHERE space = ?1 AND slot = ?2 ORDER BY client, seq";
    let records = list(connection, records, &place, |row| Ok(key(row)?.map(|key| (key, lossy(row, 2)))))?;
    let high = list(connection, "SELECT client, seq FROM high WHERE space = ?1 AND slot = ?2 ORDER BY client", &place, key)?;
    let mut disk = SlotDisk { slot, records: Vec::with_capacity(records.len()), high: high.into_iter().flatten().collect() };
    for (key, record) in records.into_iter().flatten() {
        // Of what is damaged the key is known all the same.
        let record = record.unwrap_or_default();
        disk.records.push(if record_key(&record) == Some(key) { record } else { damaged_record(key, &record) });
    }
    Ok(disk)
}

fn list<T>(
    connection: &Connection,
    sql: &str,
    params: &[&dyn ToSql],
    read: impl FnMut(&Row) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StorageError> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params, read)?;
    Ok(rows.collect::<rusqlite::Result<Vec<T>>>()?)
}

/// The key in the first two columns; `None` where the client is no id.
fn key(row: &Row) -> rusqlite::Result<Option<Key>> {
    let seq: i64 = row.get(1)?;
    Ok(parse_hex64(&lossy(row, 0)?).map(|client| (client, seq as u64)))
}

/// A text, whatever its bytes.
fn lossy(row: &Row, column: usize) -> rusqlite::Result<String> {
    Ok(String::from_utf8_lossy(row.get_ref(column)?.as_bytes()?).into_owned())
}

fn hex(client: u64) -> String {
    format!("{client:016x}")
}

/// Numbers are counted up from 1: none comes near the end of what SQLite holds.
fn int(number: u64) -> i64 {
    number as i64
}

impl From<rusqlite::Error> for StorageError {
    fn from(error: rusqlite::Error) -> StorageError {
        let code = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => "storage_full",
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "storage_busy",
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => "storage_corrupt",
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => "storage_refused",
            _ => "storage_failed",
        };
        StorageError::new(code, error.to_string())
    }
}
