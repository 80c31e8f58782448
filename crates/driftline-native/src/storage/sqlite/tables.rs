//! The file and its tables.

use crate::options::Home;
use crate::storage::StorageError;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};
use std::path::Path;
use std::time::{Duration, Instant};

/// Clients of other spaces of the same file write, too; each for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The form of the tables, kept as `user_version`.
const FORMAT: i64 = 1;

/// A client is 16 hex digits. `meta`, `chunk`, `changes` and `record` are the core's texts; what is no UTF-8 any more is damaged.
const TABLES: &str = "
CREATE TABLE owner (app TEXT NOT NULL, user TEXT NOT NULL) STRICT;
CREATE TABLE space (
  name TEXT NOT NULL PRIMARY KEY,
  client TEXT,
  epoch INTEGER NOT NULL DEFAULT 0,
  meta TEXT
) STRICT;
CREATE TABLE txn (
  space TEXT NOT NULL,
  slot INTEGER NOT NULL,
  client TEXT NOT NULL,
  seq INTEGER NOT NULL,
  record TEXT NOT NULL,
  PRIMARY KEY (space, slot, client, seq)
) STRICT;
CREATE TABLE high (
  space TEXT NOT NULL,
  slot INTEGER NOT NULL,
  client TEXT NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (space, slot, client)
) STRICT;
CREATE TABLE base (space TEXT NOT NULL, number INTEGER NOT NULL, chunk TEXT NOT NULL, PRIMARY KEY (space, number)) STRICT;
CREATE TABLE tail (space TEXT NOT NULL, rev INTEGER NOT NULL, changes TEXT NOT NULL, PRIMARY KEY (space, rev)) STRICT;
PRAGMA user_version = 1;
";

/// Opens the file, makes it where there is none, and notes the space in it.
pub fn open(path: &Path, home: &Home) -> Result<Connection, StorageError> {
    // Without `SQLITE_OPEN_URI`: a path is a path.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    write_ahead(&connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Elsewhere than on a Mac this changes nothing; there a sync would else end in the drive's own memory.
    connection.pragma_update(None, "fullfsync", true)?;
    prepare(&mut connection, home)?;
    Ok(connection)
}

fn prepare(connection: &mut Connection, home: &Home) -> Result<(), StorageError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let format: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if format > FORMAT {
        return Err(StorageError::new("storage_newer", "a later version of this app has written the file: use that one"));
    }
    if format == 0 {
        transaction.execute_batch(TABLES)?;
        transaction.execute("INSERT INTO owner (app, user) VALUES (?1, ?2)", params![home.app, home.user])?;
    }
    let owner: (String, String) = transaction.query_row("SELECT app, user FROM owner", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if owner != (home.app.clone(), home.user.clone()) {
        let detail = format!("the file is of the user `{}` of the app `{}`: each has one of their own", owner.1, owner.0);
        return Err(StorageError::new("wrong_user", detail));
    }
    transaction.execute("INSERT OR IGNORE INTO space (name) VALUES (?1)", [&home.space])?;
    Ok(transaction.commit()?)
}

/// A new file is switched once. SQLite does not wait for another process that is just doing the same.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let began = Instant::now();
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && began.elapsed() < BUSY_TIMEOUT => {
                std::thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}
