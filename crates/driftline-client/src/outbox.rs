//! A slot's outbox: one IndexedDB database per slot, written with strict durability.
//!
//! Store `txn` maps `[space, client, seq]` to a record. Store `meta` maps `"client"` to the slot's present client id and
//! `["high", space, client]` to the highest number that was deleted.

use crate::idb::{Database, commit, done, finished, range};
use crate::js::{is_data_error, storage_code};
use driftline_core::engine::{SlotDisk, damaged_record, record_key};
use driftline_core::outbox::Key;
use driftline_core::value::parse_hex64;
use js_sys::Array;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{IdbObjectStore, IdbRequest, IdbTransaction};

pub struct OutboxDb {
    pub slot: u32,
    pub database: Database,
}

/// What is to be written in one transaction.
pub struct Write {
    pub client: Option<u64>,
    pub puts: Vec<(Key, String)>,
    pub deletes: Vec<Key>,
}

impl OutboxDb {
    pub fn new(prefix: &str, slot: u32) -> OutboxDb {
        OutboxDb { slot, database: Database::new(format!("{prefix}outbox/{slot}"), &["txn", "meta"], "strict") }
    }

    /// Writes and waits until it is on disk. The error is a stable code.
    pub async fn write(&self, space: &str, write: Write) -> Result<(), String> {
        let mut result = self.try_write(space, &write).await;
        // Once the disk was full, Firefox opens the next transaction for deletes alone, and takes puts again in the one after.
        if result.as_ref().is_err_and(|error| storage_code(error) == "storage_closed") {
            result = self.try_write(space, &write).await;
        }
        result.map_err(|error| storage_code(&error))
    }

    async fn try_write(&self, space: &str, write: &Write) -> Result<(), JsValue> {
        let transaction = self.database.begin("readwrite").await?;
        match put_all(&transaction, space, write) {
            Ok(puts) => finished(&transaction, &puts).await,
            Err(error) => {
                // Half of it must not stay.
                let _ = transaction.abort();
                Err(error)
            }
        }
    }

    /// The slot's client id; `fresh` becomes it if there is none.
    pub async fn client(&self, fresh: u64) -> Result<u64, JsValue> {
        let meta = self.database.begin("readonly").await?.object_store("meta")?;
        let known = done(&meta.get(&"client".into())?).await?.as_string();
        if let Some(known) = known.as_deref().and_then(parse_hex64) {
            return Ok(known);
        }
        // Nobody else takes one: the slot is ours.
        let transaction = self.database.begin("readwrite").await?;
        transaction.object_store("meta")?.put_with_key(&hex(fresh), &"client".into())?;
        finished(&transaction, &[]).await?;
        Ok(fresh)
    }

    /// All that the slot holds of a space.
    pub async fn read(&self, space: &str) -> Result<SlotDisk, JsValue> {
        let transaction = self.database.begin("readonly").await?;
        let (txn, meta) = (transaction.object_store("txn")?, transaction.object_store("meta")?);
        let records = range(&Array::of1(&space.into()))?;
        let highs = range(&Array::of2(&"high".into(), &space.into()))?;
        let clients = (meta.get_all_keys_with_key(&highs)?, meta.get_all_with_key(&highs)?);
        let (keys, found) = (txn.get_all_keys_with_key(&records)?, txn.get_all_with_key(&records)?);
        let (clients, highs): (Array, Array) = (done(&clients.0).await?.unchecked_into(), done(&clients.1).await?.unchecked_into());
        let keys: Array = done(&keys).await?.unchecked_into();
        let found = match done(&found).await {
            Err(error) if is_data_error(&error) => self.read_one_by_one(&keys).await?,
            found => found?.unchecked_into(),
        };
        let high = clients.iter().zip(highs.iter()).filter_map(|(key, high)| {
            let client = key.unchecked_into::<Array>().get(2).as_string()?;
            Some((parse_hex64(&client)?, high.as_f64()? as u64))
        });
        let records = keys.iter().zip(found.iter()).filter_map(|(key, record)| read_record(&key.unchecked_into(), &record));
        Ok(SlotDisk { slot: self.slot, records: records.collect(), high: high.collect() })
    }

    /// One record that the browser cannot read keeps it from reading any together with it.
    async fn read_one_by_one(&self, keys: &Array) -> Result<Array, JsValue> {
        let found = Array::new();
        for key in keys.iter() {
            let transaction = self.database.begin("readonly").await?;
            let record = done(&transaction.object_store("txn")?.get(&key)?).await;
            found.push(&match record {
                Err(error) if !is_data_error(&error) => return Err(error),
                record => record.unwrap_or_default(),
            });
        }
        Ok(found)
    }
}

/// Makes the requests of a write. Returns the puts, whose errors tell why there was no room.
fn put_all(transaction: &IdbTransaction, space: &str, write: &Write) -> Result<Vec<IdbRequest>, JsValue> {
    let (txn, meta) = (transaction.object_store("txn")?, transaction.object_store("meta")?);
    let mut puts = Vec::new();
    if let Some(client) = write.client {
        puts.push(meta.put_with_key(&hex(client), &"client".into())?);
    }
    for (key, record) in &write.puts {
        puts.push(txn.put_with_key(&record.as_str().into(), &key_of_record(space, *key))?);
    }
    for key in &write.deletes {
        txn.delete(&key_of_record(space, *key))?;
    }
    if !raise_high(&meta, space, &write.deletes)? {
        commit(transaction);
    }
    Ok(puts)
}

/// Raises the highest number of each client to that of what is deleted. Returns whether it has to read first.
fn raise_high(meta: &IdbObjectStore, space: &str, deletes: &[Key]) -> Result<bool, JsValue> {
    let mut highest: Vec<Key> = Vec::new();
    for (client, seq) in deletes {
        match highest.iter_mut().find(|h| h.0 == *client) {
            Some(high) => high.1 = high.1.max(*seq),
            None => highest.push((*client, *seq)),
        }
    }
    for (client, seq) in &highest {
        let key: JsValue = Array::of3(&"high".into(), &space.into(), &hex(*client)).into();
        let request = meta.get(&key)?;
        let (reading, store, seq) = (request.clone(), meta.clone(), *seq as f64);
        let write = Closure::once_into_js(move || {
            let known = reading.result().ok().and_then(|value| value.as_f64()).unwrap_or(0.0);
            // The larger of the two, for another tab may have deleted later ones.
            let _ = store.put_with_key(&known.max(seq).into(), &key);
        });
        request.set_onsuccess(Some(write.unchecked_ref()));
    }
    Ok(!highest.is_empty())
}

fn hex(client: u64) -> JsValue {
    format!("{client:016x}").into()
}

fn key_of_record(space: &str, (client, seq): Key) -> JsValue {
    Array::of3(&space.into(), &hex(client), &(seq as f64).into()).into()
}

/// A record, or, where what is there does not tell its key, one that says so.
fn read_record(key: &Array, found: &JsValue) -> Option<String> {
    let key = (parse_hex64(&key.get(1).as_string()?)?, key.get(2).as_f64()? as u64);
    let text = found.as_string();
    if let Some(record) = text.as_ref().filter(|record| record_key(record) == Some(key)) {
        return Some(record.clone());
    }
    let shown = || js_sys::JSON::stringify(found).ok()?.as_string();
    Some(damaged_record(key, &text.or_else(shown).unwrap_or_default()))
}
