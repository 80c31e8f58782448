//! Who has a space open.

use crate::storage::StorageError;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Held until it is dropped, or the process ends: SQLite's own lock on a file that holds nothing. It works alike on all systems, between
/// processes and within one.
pub struct Lock {
    _connection: Connection,
}

impl Lock {
    pub fn take(path: &Path, space: &str) -> Result<Lock, StorageError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(beside(path, space), flags)?;
        lock(&connection).map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                StorageError::new("in_use", format!("the space `{space}` is open already: one client at a time holds it on this device"))
            }
            _ => error.into(),
        })?;
        Ok(Lock { _connection: connection })
    }
}

fn lock(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::ZERO)?;
    // Nothing is ever written, so there is no journal to leave behind.
    connection.pragma_update_and_check(None, "journal_mode", "MEMORY", |_| Ok(()))?;
    connection.execute_batch("BEGIN EXCLUSIVE")
}

/// The file of the lock. Some systems hold names to be the same that differ in capitals alone, so these are written in digits.
fn beside(path: &Path, space: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    let mut word = String::from(".");
    for byte in space.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => word.push(char::from(byte)),
            _ => word.push_str(&format!("={byte:02x}")),
        }
    }
    name.push(word + ".lock");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_that_differ_in_capitals_alone_have_locks_of_their_own() {
        let file = |space| beside(Path::new("/home/ada/notes.db"), space);
        assert_eq!(file("my-canvas_1.b"), Path::new("/home/ada/notes.db.my-canvas_1.b.lock"));
        assert_eq!(file("My"), Path::new("/home/ada/notes.db.=4dy.lock"));
    }
}
