//! The base on disk: one IndexedDB database per user. It is written behind, and can always be fetched again.
//!
//! Store `meta` maps `[space, "meta"]` to the core's text, `[space, "epoch"]` to the epoch of the sending tab, `[space, "opened"]` to
//! when a tab last opened it (in ms since 1970), `[space, "bytes"]` to the size of the base when it was last written anew, and
//! `["slots"]` to the number of slots ever used. Store `base` maps `[space, n]` to a chunk, `tail` maps `[space, revision]` to the
//! changes up to it.

use crate::idb::{Database, commit, done, finished, range};
use crate::js::{is_data_error, storage_code};
use driftline_core::engine::Disk;
use js_sys::Array;
use std::cell::Cell;
use wasm_bindgen::JsValue;
use web_sys::{IdbObjectStore, IdbRequest, IdbTransaction};

pub struct BaseDb {
    pub database: Database,
}

const META: &str = "meta";
const BASE: &str = "base";
const TAIL: &str = "tail";

/// More slots than this are never in use; a larger number is damaged.
pub const SLOTS: u32 = 256;

/// Read in place of what cannot be read, and told by the core from what can.
const DAMAGED: &str = "damaged";

/// One request of a transaction.
struct Write<'a> {
    store: &'static str,
    key: JsValue,
    value: Written<'a>,
}

/// Texts become JavaScript's one by one: together they may be as large as the space.
enum Written<'a> {
    Number(f64),
    Text(&'a str),
    Deleted,
}

/// What the core wants written, together with the epoch under which it may be.
pub struct Commit {
    pub epoch: u64,
    pub meta: String,
    pub tail: Option<(u64, String)>,
    pub base: Option<Vec<String>>,
}

impl BaseDb {
    pub fn new(prefix: &str) -> BaseDb {
        BaseDb { database: Database::new(format!("{prefix}base"), &[META, BASE, TAIL], "default") }
    }

    /// Notes that a space is opened, and in which slot, so that others look into that.
    pub async fn note_opened(&self, space: &str, slot: u32, now_ms: u64) -> Result<(), String> {
        let next = f64::from(slot + 1);
        let note = |known: f64| {
            Some(vec![
                Write { store: META, key: slots_key(), value: Written::Number(known.max(next)) },
                Write { store: META, key: key(space, &"opened".into()), value: Written::Number(now_ms as f64) },
            ])
        };
        self.update(slots_key(), &note).await.map(drop)
    }

    /// Base and meta of a space, and the number of slots ever used; what is in the slots is left to the caller.
    pub async fn read(&self, space: &str) -> Result<(Disk, u32), String> {
        self.try_read(space).await.map_err(|error| storage_code(&error))
    }

    async fn try_read(&self, space: &str) -> Result<(Disk, u32), JsValue> {
        let transaction = self.database.begin("readonly").await?;
        let store = |name| transaction.object_store(name);
        let rows = range(&Array::of1(&space.into()))?;
        let (slots, meta) = (store(META)?.get(&slots_key())?, store(META)?.get(&meta_key(space))?);
        let (base, tail) = (store(BASE)?.get_all_with_key(&rows)?, store(TAIL)?.get_all_with_key(&rows)?);
        let slots = done(&slots).await?.as_f64().unwrap_or(0.0).min(f64::from(SLOTS)) as u32;
        let mut disk = Disk::default();
        let mut texts = Vec::new();
        for request in [meta, base, tail] {
            texts.push(match done(&request).await {
                Ok(found) => found,
                Err(error) if is_data_error(&error) => {
                    // That has ended the transaction: what follows is not read either.
                    disk.tails.push(DAMAGED.to_string());
                    break;
                }
                Err(error) => return Err(error),
            });
        }
        let list = |at: usize| texts.get(at).map(Array::from).unwrap_or_default();
        let text = |text: JsValue| text.as_string().unwrap_or_else(|| DAMAGED.to_string());
        disk.meta = texts.first().filter(|meta| !meta.is_undefined()).map(|meta| text(meta.clone()));
        disk.base.extend(list(1).iter().map(text));
        disk.tails.extend(list(2).iter().map(text));
        Ok((disk, slots))
    }

    /// Makes the epoch of this tab stand again in a base that was made anew, unless another tab has taken a later one.
    pub async fn keep_epoch(&self, space: &str, ours: u64) -> Result<(), String> {
        let ours = ours as f64;
        let keep = |known: f64| {
            let write = Write { store: META, key: epoch_key(space), value: Written::Number(ours) };
            (known < ours).then(|| vec![write])
        };
        self.update(epoch_key(space), &keep).await.map(drop)
    }

    /// Takes the next epoch, and with it the right to write.
    pub async fn take_epoch(&self, space: &str) -> Result<u64, String> {
        let taken = Cell::new(0.0);
        let take = |known: f64| {
            taken.set(known + 1.0);
            Some(vec![Write { store: META, key: epoch_key(space), value: Written::Number(known + 1.0) }])
        };
        self.update(epoch_key(space), &take).await?;
        Ok(taken.get() as u64)
    }

    /// Raises our epoch to at least this, unless another tab has taken a later one.
    pub async fn renew_epoch(&self, space: &str, ours: u64, at_least: u64) -> Result<Option<u64>, String> {
        let epoch = ours.max(at_least);
        let renew = |known: f64| {
            let write = Write { store: META, key: epoch_key(space), value: Written::Number(epoch as f64) };
            (known == ours as f64).then(|| vec![write])
        };
        Ok(self.update(epoch_key(space), &renew).await?.then_some(epoch))
    }

    /// Writes, unless another tab has taken a later epoch (`stale_epoch`).
    pub async fn commit(&self, space: &str, commit: Commit) -> Result<(), String> {
        let write = |known: f64| {
            if known != commit.epoch as f64 {
                return None;
            }
            let mut writes = vec![Write { store: META, key: meta_key(space), value: Written::Text(&commit.meta) }];
            if let Some(chunks) = &commit.base {
                for store in [BASE, TAIL] {
                    writes.push(Write { store, key: range(&Array::of1(&space.into())).ok()?.into(), value: Written::Deleted });
                }
                let bytes: usize = chunks.iter().map(String::len).sum();
                writes.push(Write { store: META, key: key(space, &"bytes".into()), value: Written::Number(bytes as f64) });
                for (i, chunk) in chunks.iter().enumerate() {
                    writes.push(Write { store: BASE, key: key(space, &(i as u32).into()), value: Written::Text(chunk) });
                }
            }
            if let Some((rev, tail)) = &commit.tail {
                writes.push(Write { store: TAIL, key: key(space, &(*rev as f64).into()), value: Written::Text(tail) });
            }
            Some(writes)
        };
        if self.update(epoch_key(space), &write).await? { Ok(()) } else { Err("stale_epoch".to_string()) }
    }

    /// One transaction that reads a number (0 where there is none) and writes what `decide` makes of it. Returns whether
    /// there was anything to decide on: `None` leaves everything as it is.
    async fn update<'a>(&self, guard: JsValue, decide: &dyn Fn(f64) -> Option<Vec<Write<'a>>>) -> Result<bool, String> {
        self.try_update(guard, decide).await.map_err(|error| storage_code(&error))
    }

    async fn try_update<'a>(&self, guard: JsValue, decide: &dyn Fn(f64) -> Option<Vec<Write<'a>>>) -> Result<bool, JsValue> {
        let transaction = self.database.begin("readwrite").await?;
        let known = done(&transaction.object_store(META)?.get(&guard)?).await?.as_f64();
        let Some(writes) = decide(known.unwrap_or(0.0)) else { return Ok(false) };
        let mut requests = Vec::with_capacity(writes.len());
        for write in writes {
            match request(&transaction, write) {
                Ok(request) => requests.push(request),
                Err(error) => {
                    // Half of it must not stay.
                    let _ = transaction.abort();
                    return Err(error);
                }
            }
        }
        commit(&transaction);
        finished(&transaction, &requests).await?;
        Ok(true)
    }
}

fn request(transaction: &IdbTransaction, write: Write<'_>) -> Result<IdbRequest, JsValue> {
    let store: IdbObjectStore = transaction.object_store(write.store)?;
    match write.value {
        Written::Number(number) => store.put_with_key(&number.into(), &write.key),
        Written::Text(text) => store.put_with_key(&text.into(), &write.key),
        Written::Deleted => store.delete(&write.key),
    }
}

fn key(space: &str, part: &JsValue) -> JsValue {
    Array::of2(&space.into(), part).into()
}

fn epoch_key(space: &str) -> JsValue {
    key(space, &"epoch".into())
}

fn meta_key(space: &str) -> JsValue {
    key(space, &"meta".into())
}

fn slots_key() -> JsValue {
    Array::of1(&"slots".into()).into()
}
