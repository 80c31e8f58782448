//! Memory for a disk: for tests, and for thousands of clients at once. "Saved" means nothing here.

use super::{Commit, Disk, IMPORTED, Key, OWN, Save, SlotDisk, Storage, StorageError};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub struct Memory {
    client: Option<u64>,
    epoch: u64,
    meta: Option<String>,
    base: Vec<String>,
    tails: BTreeMap<u64, String>,
    slots: BTreeMap<u32, Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    records: BTreeMap<Key, String>,
    high: BTreeMap<u64, u64>,
}

impl Storage for Memory {
    fn client(&mut self, fresh: u64) -> Result<u64, StorageError> {
        Ok(*self.client.get_or_insert(fresh))
    }

    fn read(&mut self) -> Result<Disk, StorageError> {
        Ok(Disk {
            meta: self.meta.clone(),
            base: self.base.clone(),
            tails: self.tails.values().cloned().collect(),
            slots: vec![self.read_slot(OWN)?, self.read_slot(IMPORTED)?],
        })
    }

    fn read_slot(&mut self, slot: u32) -> Result<SlotDisk, StorageError> {
        Ok(self.slots.get(&slot).map_or_else(
            || SlotDisk { slot, ..SlotDisk::default() },
            |kept| SlotDisk {
                slot,
                records: kept.records.values().cloned().collect(),
                high: kept.high.iter().map(|(client, seq)| (*client, *seq)).collect(),
            },
        ))
    }

    fn save(&mut self, slot: u32, save: Save) -> Result<(), StorageError> {
        self.client = save.client.or(self.client);
        let kept = self.slots.entry(slot).or_default();
        kept.records.extend(save.puts);
        for key in save.deletes {
            kept.records.remove(&key);
            let high = kept.high.entry(key.0).or_default();
            *high = key.1.max(*high);
        }
        Ok(())
    }

    fn commit(&mut self, commit: Commit) -> Result<(), StorageError> {
        if commit.epoch != self.epoch {
            return Err(StorageError::stale_epoch());
        }
        self.meta = Some(commit.meta);
        if let Some(base) = commit.base {
            self.base = base;
            self.tails.clear();
        }
        self.tails.extend(commit.tail);
        Ok(())
    }

    fn take_epoch(&mut self) -> Result<u64, StorageError> {
        self.epoch += 1;
        Ok(self.epoch)
    }

    fn renew_epoch(&mut self, ours: u64, at_least: u64) -> Result<Option<u64>, StorageError> {
        if self.epoch != ours {
            return Ok(None);
        }
        self.epoch = ours.max(at_least);
        Ok(Some(self.epoch))
    }

    fn is_instant(&self) -> bool {
        true
    }
}
