//! A slot's outbox: one IndexedDB database per slot, written with strict durability.
//!
//! This is the one place below rexie, because an outbox needs what rexie lacks: strict durability, an explicit commit, the
//! reason of an abort, and to hear of being closed. Store `txn` maps `[space, client, seq]` to a record. Store `meta` maps
//! `"client"` to the slot's present client id and `["high", space, client]` to the highest number that was deleted.

use crate::js::{call, get, promise, storage_code};
use driftline_core::engine::SlotDisk;
use driftline_core::outbox::Key;
use js_sys::Array;
use std::cell::RefCell;
use std::iter::once;
use std::rc::Rc;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{IdbDatabase, IdbKeyRange, IdbObjectStore, IdbRequest, IdbTransaction};

pub struct OutboxDb {
    name: String,
    pub slot: u32,
    /// `None` after the browser closed it; it is opened again when it is needed.
    database: Rc<RefCell<Option<IdbDatabase>>>,
}

/// What is to be written in one transaction.
pub struct Write {
    pub client: Option<u64>,
    pub puts: Vec<(Key, String)>,
    pub deletes: Vec<Key>,
}

impl OutboxDb {
    pub fn new(prefix: &str, slot: u32) -> OutboxDb {
        OutboxDb { name: format!("{prefix}outbox/{slot}"), slot, database: Rc::default() }
    }

    async fn open(&self) -> Result<IdbDatabase, JsValue> {
        if let Some(database) = self.database.borrow().clone() {
            return Ok(database);
        }
        let factory = crate::js::global("indexedDB");
        let request: IdbRequest = call(&factory, "open", &[self.name.as_str().into(), 1.into()])?.unchecked_into();
        let upgrading = request.clone();
        let upgrade = Closure::once_into_js(move || {
            if let Ok(database) = upgrading.result().map(JsCast::unchecked_into::<IdbDatabase>) {
                let _ = database.create_object_store("txn");
                let _ = database.create_object_store("meta");
            }
        });
        let _ = js_sys::Reflect::set(&request, &"onupgradeneeded".into(), &upgrade);
        let database: IdbDatabase = done(&request).await?.unchecked_into();
        for event in ["close", "versionchange"] {
            let (open, closing) = (self.database.clone(), database.clone());
            crate::js::listen(&database, event, move |_| {
                closing.close();
                open.borrow_mut().take();
            });
        }
        *self.database.borrow_mut() = Some(database.clone());
        Ok(database)
    }

    async fn begin(&self, mode: &str) -> Result<IdbTransaction, JsValue> {
        let options = js_sys::Object::new();
        let _ = js_sys::Reflect::set(&options, &"durability".into(), &"strict".into());
        let stores: JsValue = Array::of2(&"txn".into(), &"meta".into()).into();
        for _ in 0..2 {
            let database = self.open().await?;
            match call(&database, "transaction", &[stores.clone(), mode.into(), options.clone().into()]) {
                Ok(transaction) => return Ok(transaction.unchecked_into()),
                // It was closed under us: open it again, once.
                Err(_) => drop(self.database.borrow_mut().take()),
            }
        }
        Err(crate::js::problem("storage_closed", "the outbox database was closed"))
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
        let transaction = self.begin("readwrite").await?;
        match request_all(&transaction, space, write) {
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
        let transaction = self.begin("readwrite").await?;
        let meta = transaction.object_store("meta")?;
        let known = done(&meta.get(&"client".into())?).await?.as_string();
        let known = known.as_deref().and_then(driftline_core::value::parse_hex64);
        if known.is_none() {
            meta.put_with_key(&hex(fresh), &"client".into())?;
        }
        finished(&transaction, &[]).await?;
        Ok(known.unwrap_or(fresh))
    }

    /// All that the slot holds of a space.
    pub async fn read(&self, space: &str) -> Result<SlotDisk, JsValue> {
        let transaction = self.begin("readonly").await?;
        let (txn, meta) = (transaction.object_store("txn")?, transaction.object_store("meta")?);
        let records = range(&Array::of1(&space.into()))?;
        let highs = range(&Array::of2(&"high".into(), &space.into()))?;
        let records = txn.get_all_with_key(&records)?;
        let (keys, values) = (meta.get_all_keys_with_key(&highs)?, meta.get_all_with_key(&highs)?);
        let records: Array = done(&records).await?.unchecked_into();
        let (keys, values): (Array, Array) = (done(&keys).await?.unchecked_into(), done(&values).await?.unchecked_into());
        let high = keys.iter().zip(values.iter()).filter_map(|(key, high)| {
            let client = key.unchecked_into::<Array>().get(2).as_string()?;
            Some((driftline_core::value::parse_hex64(&client)?, high.as_f64()? as u64))
        });
        // What is not a string cannot be ours; an empty record is reported as unreadable and kept.
        let records = records.iter().map(|record| record.as_string().unwrap_or_default());
        Ok(SlotDisk { slot: self.slot, records: records.collect(), high: high.collect() })
    }

    pub fn close(&self) {
        if let Some(database) = self.database.borrow_mut().take() {
            database.close();
        }
    }
}

/// Makes the requests of a write. Returns the puts, whose errors tell why there was no room.
fn request_all(transaction: &IdbTransaction, space: &str, write: &Write) -> Result<Vec<IdbRequest>, JsValue> {
    let (txn, meta) = (transaction.object_store("txn")?, transaction.object_store("meta")?);
    let mut puts = Vec::new();
    if let Some(client) = write.client {
        puts.push(meta.put_with_key(&hex(client), &"client".into())?);
    }
    for (key, record) in &write.puts {
        puts.push(txn.put_with_key(&record.as_str().into(), &record_key(space, *key))?);
    }
    for key in &write.deletes {
        txn.delete(&record_key(space, *key))?;
    }
    let reads = raise_high(&meta, space, &write.deletes)?;
    if !reads {
        // Without this the browser waits a turn for more requests.
        let _ = call(transaction, "commit", &[]);
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

fn record_key(space: &str, (client, seq): Key) -> JsValue {
    Array::of3(&space.into(), &hex(client), &(seq as f64).into()).into()
}

/// All keys that begin with these parts: an array sorts after every string and number.
fn range(parts: &Array) -> Result<IdbKeyRange, JsValue> {
    let end = parts.slice(0, parts.length());
    end.push(&Array::new());
    IdbKeyRange::bound(parts, &end)
}

/// Waits for a request.
async fn done(request: &IdbRequest) -> Result<JsValue, JsValue> {
    let (promise, resolve) = promise();
    let finish = Closure::once_into_js(move || drop(resolve.call0(&JsValue::NULL)));
    request.set_onsuccess(Some(finish.unchecked_ref()));
    request.set_onerror(Some(finish.unchecked_ref()));
    let _ = js_sys::Reflect::set(request, &"onblocked".into(), &JsValue::NULL);
    JsFuture::from(promise).await?;
    match request.error() {
        Ok(Some(error)) => Err(error.into()),
        Ok(None) => request.result(),
        Err(error) => Err(error),
    }
}

/// Waits until a transaction is on disk; an abort comes with its reason.
async fn finished(transaction: &IdbTransaction, requests: &[IdbRequest]) -> Result<(), JsValue> {
    let (promise, resolve) = promise();
    let aborted = resolve.clone();
    let complete = Closure::once_into_js(move || drop(resolve.call1(&JsValue::NULL, &JsValue::TRUE)));
    let abort = Closure::once_into_js(move || drop(aborted.call1(&JsValue::NULL, &JsValue::FALSE)));
    transaction.set_oncomplete(Some(complete.unchecked_ref()));
    transaction.set_onabort(Some(abort.unchecked_ref()));
    if JsFuture::from(promise).await?.is_truthy() {
        return Ok(());
    }
    // WebKit leaves a transaction that was told to commit without a reason: its requests have it.
    let reasons = requests.iter().map(|request| get(request, "error"));
    let reason = once(get(transaction, "error")).chain(reasons).find(JsValue::is_object);
    Err(reason.unwrap_or_else(|| crate::js::problem("storage_aborted", "the transaction was aborted")))
}
