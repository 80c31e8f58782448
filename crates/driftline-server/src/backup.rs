//! `driftline backup` and `driftline restore`: a copy of a database while servers write to it, and a database from such a copy.
//!
//! **The copy** is made by `VACUUM INTO`: one statement, so one read transaction, and with it one moment of all spaces. SQLite's
//! backup interface goes page by page instead, and begins anew whenever another process has written meanwhile; beside a busy server
//! it would not come to an end. A reader keeps nobody from writing. What it costs is that the write-ahead log grows as long as the
//! copying takes; what comes out is one packed file, with no log beside it.
//!
//! **A restored database has forgotten** what came after the backup, and its clients have not. It must not give out a revision again
//! that they have seen with other contents, so all spaces go on above every revision of the time that is lost, and their logs begin
//! there: any cursor of before lies outside, its client loads the space anew, and its outbox arrives as ever. The rows of the logs
//! stay, beneath that beginning, because repeats are told by them, by their keys. They are pruned once as many revisions have come
//! after the beginning as a log keeps.
//!
//! **Receipts stay as they were.** Who has talked to the server since echoes one that it does not know, is told `fork`, and goes on
//! under another client id. What it has closed since is then not taken for closed: what a file or a copied profile still holds of
//! that time takes effect, instead of being parked as `outcome_unknown`.

mod part;

use self::part::{BESIDE, Part, with_ending};
use crate::clock;
use crate::db::{Db, DbError, DbResult, Param};
use crate::disk::Trouble;
use crate::place::Place;
use crate::system::{self, SYSTEM};
use driftline_core::limits;
use rusqlite::{Connection, OpenFlags};
use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;

/// More revisions than a space makes in years: so far a restored one is lifted at least, should the clock stand still or have been
/// set back. No other space comes this far.
pub const LEAP_REVS: u64 = 1 << 32;

const SPACES: &str = "SELECT count(*), coalesce(max(rev), 0) FROM _space";

/// What a database holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    pub spaces: u64,
    /// The highest of any space; in one that was restored, that of all.
    pub rev: u64,
    /// Of the file; 0 where there is none.
    pub bytes: u64,
}

/// Copies a folder's database into a new file while servers write to it; `progress` hears what is being done. The file is there
/// only once it is whole, looked through, and on disk.
pub fn backup(data: &Place, to: &Path, mut progress: impl FnMut(&str)) -> Result<Report, String> {
    let Some(file) = data.file() else {
        return Err(format!(
            "backup_by_postgres: {data} has means of its own: use pg_dump --format=custom, or the snapshots of whoever runs it; after one \
             of them was put back, run: driftline restore --in-place"
        ));
    };
    let db = open(data)?;
    let part = Part::beside(to).map_err(|e| unwritten(to, &e, "backup_exists"))?;
    let name = part.path().to_str().ok_or_else(|| format!("{} is not UTF-8: choose another name", to.display()))?;
    progress("copying the database");
    db.execute("VACUUM INTO ?1", &[name.into()]).map_err(|e| uncopied(&file, to, &e))?;
    drop(db);
    progress("looking through the copy");
    // Not by the server's own way, which needs a write-ahead log, and with it a disk of this machine.
    let look = || -> DbResult<_> {
        let copy = Connection::open_with_flags(part.path(), OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        let (spaces, rev) = copy.query_row(SPACES, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        Ok((fault_of(&copy)?, spaces as u64, rev as u64))
    };
    let (fault, spaces, rev) = look().map_err(|e| uncopied(&file, to, &e))?;
    if let Some(fault) = fault {
        return Err(damaged(&file, fault));
    }
    let bytes = part.bytes().map_err(|e| unwritten(to, &e, "backup_exists"))?;
    part.put().map_err(|e| unwritten(to, &e, "backup_exists"))?;
    Ok(Report { spaces, rev, bytes })
}

/// Makes the database of a folder that has none from a file that [`backup`] wrote, and makes it safe for clients that know more than
/// it does.
pub fn restore(from: &Path, data: &Place, mut progress: impl FnMut(&str)) -> Result<Report, String> {
    let Some(file) = data.file() else {
        return Err(format!(
            "restore_by_postgres: put {data} back by pg_restore, or from a snapshot of whoever runs it; then run: \
             driftline restore --in-place"
        ));
    };
    for ending in [""].iter().chain(&BESIDE) {
        let there = with_ending(&file, ending);
        if there.symlink_metadata().is_ok() {
            return Err(format!(
                "restore_exists: {} is there already, of a database in use or one that was: restore into another folder, or move it and \
                 what is beside it away first",
                there.display()
            ));
        }
    }
    let mut source = open_backup(from)?;
    let part = Part::in_folder(&file).map_err(|e| unwritten(&file, &e, "restore_exists"))?;
    progress("copying the backup");
    let copied = OpenOptions::new().write(true).open(part.path()).and_then(|mut copy| io::copy(&mut source, &mut copy));
    copied.map_err(|e| unwritten(&file, &e, "restore_exists"))?;
    progress("looking through the copy");
    let (spaces, rev) = prepare(from, part.path())?;
    let bytes = part.bytes().map_err(|e| unwritten(&file, &e, "restore_exists"))?;
    part.put().map_err(|e| unwritten(&file, &e, "restore_exists"))?;
    Ok(Report { spaces, rev, bytes })
}

/// Makes a database safe for clients that know more than it does, where it was put back by other means: by pg_restore, or from a
/// snapshot of its disk. Servers may be at work on it.
pub fn restore_in_place(data: &Place) -> Result<Report, String> {
    let db = open(data)?;
    let (spaces, rev) = lift(&db, |e| data.describe(&e))?;
    let bytes = data.file().and_then(|file| file.metadata().ok()).map_or(0, |file| file.len());
    Ok(Report { spaces, rev, bytes })
}

fn open(data: &Place) -> Result<Db, String> {
    if !data.exists() {
        return Err(format!("no_database: there is none in {data}"));
    }
    let db = data.open()?;
    require_ours(&db, data)?;
    Ok(db)
}

fn require_ours(db: &Db, what: impl Display) -> Result<(), String> {
    match system::count(db)? {
        0 => Err(format!("other_database: {what} has none of Driftline's tables")),
        count if count > SYSTEM.len() => Err(system::trouble(db)?.unwrap_or_default()),
        _ => Ok(()),
    }
}

/// A backup is one file. Where a log stands beside it, it is a database in use, or one that was killed, and part of it is in the log.
fn open_backup(from: &Path) -> Result<File, String> {
    for ending in ["-wal", "-journal"] {
        let beside = with_ending(from, ending);
        if beside.metadata().is_ok_and(|beside| beside.len() > 0) {
            return Err(format!(
                "restore_unfinished: part of {} is still in {}: put both into a folder of their own as driftline.db and \
                 driftline.db{ending}, and run `driftline backup` there",
                from.display(),
                beside.display()
            ));
        }
    }
    let unread = |e: io::Error| format!("cannot read {}: {e}", from.display());
    let source = File::open(from).map_err(unread)?;
    match source.metadata().map_err(unread)?.is_file() {
        true => Ok(source),
        false => Err(format!("cannot read {}: it is no file", from.display())),
    }
}

/// Makes of a copy what a server may open, all of it in this one file.
fn prepare(from: &Path, copy: &Path) -> Result<(u64, u64), String> {
    let fail = |e: DbError| uncopied(from, copy, &e);
    let db = Db::open(copy, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(fail)?;
    let fault = db.sqlite().map(fault_of).transpose().map_err(fail)?.flatten();
    if let Some(fault) = fault {
        return Err(damaged(from, fault));
    }
    require_ours(&db, from.display())?;
    let lifted = lift(&db, fail)?;
    // The write-ahead log would have to be put into place with it.
    let mode = db.one("PRAGMA journal_mode = DELETE", &[], |row| Ok(row.text(0)?.into_owned())).map_err(fail)?;
    if mode != "delete" {
        return Err(format!("server_disk: {} could not be written in one piece: try again", copy.display()));
    }
    Ok(lifted)
}

/// What SQLite finds wrong with any page, row, index or constraint.
fn fault_of(conn: &Connection) -> DbResult<Option<String>> {
    let found: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    Ok((found != "ok").then_some(found))
}

/// Has all spaces go on above what clients may have seen; returns how many there are, and from where they go on. It is one
/// revision for all, so that a space which the backup does not know can begin there, too.
fn lift(db: &Db, fail: impl Fn(DbError) -> String + Copy) -> Result<(u64, u64), String> {
    db.begin_writing().map_err(fail)?;
    let (spaces, highest) = db.one(SPACES, &[], |row| Ok((row.bits(0)?, row.bits(1)?))).map_err(fail)?;
    let now_us = clock::now().as_micros() as u64;
    let rev = first_rev(highest, now_us)?;
    db.execute("UPDATE _space SET rev = ?1, horizon = ?1", &[Param::bits(rev)]).map_err(fail)?;
    db.commit().map_err(fail)?;
    Ok((spaces, rev))
}

/// The time in microseconds: no space makes one revision in each of them, so what is restored later begins above whatever came of an
/// earlier restore, also of the same backup.
fn first_rev(highest: u64, now_us: u64) -> Result<u64, String> {
    let rev = now_us.max(highest.saturating_add(LEAP_REVS));
    if rev > limits::INT_MAX as u64 - LEAP_REVS {
        return Err("restore_clock: this machine's clock is centuries ahead: set it, and run this again".to_string());
    }
    Ok(rev)
}

fn damaged(file: &Path, what: impl Display) -> String {
    format!("server_corrupt: {} is damaged, or is no database ({what}): keep it aside, and use a backup that is whole", file.display())
}

fn full(file: &Path) -> String {
    format!("server_full: {} could not be written, because its disk is full: make room, and run this again", file.display())
}

/// Why SQLite could not make a copy, or of it what it is to be.
fn uncopied(from: &Path, to: &Path, error: &DbError) -> String {
    match Trouble::of(error) {
        Some(Trouble::Full) => full(to),
        Some(Trouble::Corrupt) => damaged(from, error),
        _ => format!(
            "server_disk: {} could not be copied to {} ({error}): look whether both disks work, and whether this user may read the one \
             and write the other, and its directory",
            from.display(),
            to.display()
        ),
    }
}

fn unwritten(file: &Path, error: &io::Error, exists: &str) -> String {
    match error.kind() {
        ErrorKind::AlreadyExists => format!("{exists}: {} is there already, and nothing is written over it", file.display()),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => full(file),
        _ => format!(
            "server_disk: {} could not be written ({error}): look whether the disk works, and whether this user may write there",
            file.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t3_a_second_restore_of_one_backup_begins_above_what_came_of_the_first() {
        let now_us = 1_800_000_000_000_000;
        assert_eq!(first_rev(100, now_us), Ok(now_us));
        assert_eq!(first_rev(100, now_us + 1), Ok(now_us + 1));
    }

    #[test]
    fn t3_a_restore_lifts_revisions_whatever_the_clock_says() {
        assert_eq!(first_rev(0, 0), Ok(LEAP_REVS));
        let later = 1_800_000_000_000_000;
        assert_eq!(first_rev(later, 1_000), Ok(later + LEAP_REVS));
        let highest = limits::INT_MAX as u64 - 2 * LEAP_REVS;
        assert_eq!(first_rev(highest, 0), Ok(highest + LEAP_REVS));
        for (highest, now_us) in [(highest + 1, 0), (0, limits::INT_MAX as u64), (u64::MAX, u64::MAX)] {
            assert!(first_rev(highest, now_us).is_err_and(|why| why.starts_with("restore_clock: ")), "{highest} {now_us}");
        }
    }
}
