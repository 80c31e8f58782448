//! What happens to a database: its disk is full, it fails, it gives back what nobody wrote, or the way to it is broken. No push is to
//! blame for any of it.

use crate::db::DbError;
use crate::error::ApiError;
use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
use std::path::Path;

/// How long a client waits at least: room is made by a person, or by a job that runs now and then.
const RETRY_AFTER_S: u32 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Full,
    Failing,
    Corrupt,
    /// The database is another process, and cannot be reached.
    Away,
}

impl Trouble {
    pub fn of(error: &DbError) -> Option<Trouble> {
        if error.is_away() {
            return Some(Trouble::Away);
        }
        match error.sqlite_code()? {
            ErrorCode::DiskFull => Some(Trouble::Full),
            // The index of the write-ahead log could not grow.
            ErrorCode::SystemIoFailure if extended_code(error) == Some(SQLITE_IOERR_SHMSIZE) => Some(Trouble::Full),
            ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied => {
                Some(Trouble::Failing)
            }
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Some(Trouble::Corrupt),
            _ => None,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Trouble::Full => "server_full",
            Trouble::Failing => "server_disk",
            Trouble::Corrupt => "server_corrupt",
            Trouble::Away => "server_database",
        }
    }
}

/// The answer to a request that met it, or a lock that is held for long: both pass. Anything else is ours to repair.
pub fn refusal(error: &DbError) -> Option<ApiError> {
    if error.is_busy() {
        return Some(ApiError::unavailable("another one keeps the database for long; try again"));
    }
    let trouble = Trouble::of(error)?;
    let (status, detail) = match trouble {
        Trouble::Full => (507, "the server's disk is full; it goes on by itself once there is room again"),
        Trouble::Failing => (503, "the server's disk fails; it goes on by itself once the disk works again"),
        Trouble::Corrupt => (503, "the server's database is damaged, or cannot be read; it has to be looked at"),
        Trouble::Away => (503, "the server cannot reach its database; it goes on by itself once it can"),
    };
    let refusal = ApiError { retry_after_s: Some(RETRY_AFTER_S), ..ApiError::new(status, trouble.code(), detail) };
    // What was written and could not be synced or indexed is found by the next process, if this one ends before it writes again.
    let is_unsure = trouble == Trouble::Away || error.sqlite_code() == Some(ErrorCode::SystemIoFailure);
    Some(if is_unsure { refusal.unsure() } else { refusal })
}

/// Why a database cannot be opened or read, in a sentence that begins with a code and says what to do.
pub fn describe(path: &Path, error: &DbError) -> String {
    let path = path.display();
    match Trouble::of(error) {
        Some(Trouble::Full) => format!("server_full: {path} cannot be opened, because its disk is full ({error}): make room"),
        Some(Trouble::Failing) => format!(
            "server_disk: {path} cannot be opened or read ({error}): look whether the disk works, and whether this user may read and write the \
             file and its directory"
        ),
        Some(Trouble::Corrupt) => format!(
            "server_corrupt: {path} is damaged, or is no database ({error}): keep it and the files beside it aside, and put a backup in their place"
        ),
        Some(Trouble::Away) | None => format!("cannot open {path}: {error}"),
    }
}

/// A database without a byte has lost what it had, unless it was never begun. SQLite would take it for a new one, and remove
/// the write-ahead log beside it.
pub fn refuse_emptied(path: &Path, may_be_new: bool) -> Result<(), String> {
    let length = |path: &Path| std::fs::metadata(path).map(|file| file.len());
    let mut log = path.as_os_str().to_os_string();
    log.push("-wal");
    let is_empty = length(path).is_ok_and(|length| length == 0);
    let has_log = length(Path::new(&log)).is_ok_and(|length| length > 0);
    if !is_empty || (may_be_new && !has_log) {
        return Ok(());
    }
    let path = path.display();
    Err(format!(
        "server_corrupt: {path} is empty: if it has just been made, run: driftline migrate apply; if it had anything in it, keep it and the files \
         beside it aside, and put a backup in their place"
    ))
}

fn extended_code(error: &DbError) -> Option<i32> {
    match error {
        DbError::Sqlite(error) => error.sqlite_error().map(|error| error.extended_code),
        _ => None,
    }
}
