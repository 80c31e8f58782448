//! Carries out what the engine wants of a storage: on a thread of its own where that may wait for a disk, so that nothing else does.

use crate::storage::{Commit, Disk, IMPORTED, Key, Save, Storage, StorageError};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use tokio::sync::mpsc::UnboundedSender;

pub enum Work {
    Save {
        id: u64,
        slot: u32,
        save: Save,
    },
    Commit {
        id: u64,
        commit: Commit,
    },
    RenewEpoch {
        ours: u64,
        at_least: u64,
    },
    /// What a file brought.
    Import {
        number: u64,
        puts: Vec<(Key, String)>,
    },
    Read(Reading),
}

/// Why something is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// The engine wants to see all of it again.
    Reload,
    /// A file has brought something.
    Imported,
    /// To begin to send: under a new epoch.
    Lead,
}

/// What came of it.
pub enum Done {
    Saved { id: u64, slot: u32, result: Result<(), StorageError> },
    Committed { id: u64, result: Result<(), StorageError> },
    Renewed(Result<Option<u64>, StorageError>),
    Imported { number: u64, result: Result<(), StorageError> },
    Read(Reading, Result<Found, StorageError>),
}

pub struct Found {
    /// A new one for [`Reading::Lead`], else 0.
    pub epoch: u64,
    pub disk: Disk,
}

pub enum Keeper {
    Instant { storage: Box<dyn Storage>, done: UnboundedSender<Done> },
    Thread { work: Sender<Work>, thread: JoinHandle<()> },
}

impl Keeper {
    pub fn start(mut storage: Box<dyn Storage>, done: UnboundedSender<Done>) -> std::io::Result<Keeper> {
        if storage.is_instant() {
            return Ok(Keeper::Instant { storage, done });
        }
        let (work, received) = channel();
        let name = "driftline-storage".to_string();
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            while let Ok(work) = received.recv() {
                // Nobody waits any more where the client has ended.
                let _ = done.send(carry_out(storage.as_mut(), work));
            }
        })?;
        Ok(Keeper::Thread { work, thread })
    }

    /// What comes of it is sent as [`Done`], in the order in which work was begun.
    pub fn begin(&mut self, work: Work) {
        match self {
            Keeper::Instant { storage, done } => {
                let _ = done.send(carry_out(storage.as_mut(), work));
            }
            // The thread ends with this.
            Keeper::Thread { work: sender, .. } => drop(sender.send(work)),
        }
    }

    /// Ends what has been begun, and lets go of the storage.
    pub fn end(self) {
        if let Keeper::Thread { work, thread } = self {
            drop(work);
            let _ = thread.join();
        }
    }
}

fn carry_out(storage: &mut dyn Storage, work: Work) -> Done {
    match work {
        Work::Save { id, slot, save } => Done::Saved { id, slot, result: storage.save(slot, save) },
        Work::Commit { id, commit } => Done::Committed { id, result: storage.commit(commit) },
        Work::RenewEpoch { ours, at_least } => Done::Renewed(storage.renew_epoch(ours, at_least)),
        Work::Import { number, puts } => {
            let save = Save { puts, ..Save::default() };
            Done::Imported { number, result: storage.save(IMPORTED, save) }
        }
        Work::Read(reading) => Done::Read(reading, read(storage, reading)),
    }
}

fn read(storage: &mut dyn Storage, reading: Reading) -> Result<Found, StorageError> {
    let epoch = if reading == Reading::Lead { storage.take_epoch()? } else { 0 };
    let disk = match reading {
        Reading::Imported => Disk { slots: vec![storage.read_slot(IMPORTED)?], ..Disk::default() },
        Reading::Reload | Reading::Lead => storage.read()?,
    };
    Ok(Found { epoch, disk })
}
