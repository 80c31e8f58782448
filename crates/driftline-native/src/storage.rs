//! Where a space is kept on this device.

mod memory;
mod sqlite;

pub use driftline_core::engine::{Disk, IMPORTED, SlotDisk};
pub use driftline_core::outbox::Key;
pub use memory::Memory;
pub use sqlite::Sqlite;

/// The slot of what is made here. There is one client at a time, so there is no other but [`IMPORTED`], which holds what files brought.
pub const OWN: u32 = 0;

/// What a storage must do for the engine. Each call is one transaction: it takes effect as a whole, or it fails and nothing has changed.
/// Nobody else writes the same space meanwhile.
///
/// Calls may wait for a disk: they are made on a thread of their own, one after the other, unless [`Storage::is_instant`].
pub trait Storage: Send + 'static {
    /// The client id under which edits are made here. `fresh` becomes it where there is none yet.
    fn client(&mut self, fresh: u64) -> Result<u64, StorageError>;

    /// All that there is: the base, and both slots.
    fn read(&mut self) -> Result<Disk, StorageError>;

    /// One slot; empty where nothing was ever written.
    fn read_slot(&mut self, slot: u32) -> Result<SlotDisk, StorageError>;

    /// Writes to a slot. It is on the disk, and outlives a crash of this process and of the system, when this returns: an app is told that
    /// its edit is saved.
    fn save(&mut self, slot: u32, save: Save) -> Result<(), StorageError>;

    /// Writes the base, where the epoch is still this one; else the code is [`STALE_EPOCH`].
    fn commit(&mut self, commit: Commit) -> Result<(), StorageError>;

    /// Raises the epoch by one, and returns it. The first is 1.
    fn take_epoch(&mut self) -> Result<u64, StorageError>;

    /// Raises the epoch to at least this, where it is still `ours`, and returns it; `None` where it is not.
    fn renew_epoch(&mut self, ours: u64, at_least: u64) -> Result<Option<u64>, StorageError>;

    /// Whether no call waits for anything. Then no thread is needed.
    fn is_instant(&self) -> bool {
        false
    }
}

/// What is written to a slot. Afterwards the `high` of each client in it is at least the highest number deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Save {
    /// The client id from now on, where it changes.
    pub client: Option<u64>,
    pub puts: Vec<(Key, String)>,
    /// Some may not be there.
    pub deletes: Vec<Key>,
}

/// What is written of the base.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    pub epoch: u64,
    pub meta: String,
    /// Changes, by the revision they lead to; added to those that are there.
    pub tail: Option<(u64, String)>,
    /// Replaces the base and all earlier tails.
    pub base: Option<Vec<String>>,
}

/// The code of a [`Storage::commit`] under an epoch that is over.
pub const STALE_EPOCH: &str = "stale_epoch";

/// Why something could not be read or written. Beside [`STALE_EPOCH`] the codes are `in_use` (another process, or another client of this
/// one, has the space open), `wrong_user` (the file is of another app or user), `storage_full`, `storage_busy`, `storage_refused` (the
/// system does not allow it), `storage_newer` (a later version of this crate has written it), `storage_corrupt` and `storage_failed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageError {
    pub code: &'static str,
    pub detail: String,
}

impl StorageError {
    pub fn new(code: &'static str, detail: impl Into<String>) -> StorageError {
        StorageError { code, detail: detail.into() }
    }

    /// Of a commit under an epoch that is over.
    pub fn stale_epoch() -> StorageError {
        StorageError::new(STALE_EPOCH, "another client sends now")
    }
}

impl std::fmt::Display for StorageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for StorageError {}
