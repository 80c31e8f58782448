//! The base on disk: one database per user, by rexie. It is written behind, and can always be fetched again.
//!
//! Store `meta` maps `[space, "meta"]` to the core's text, `[space, "epoch"]` to the epoch of the sending tab, `[space, "opened"]` to
//! when a tab last opened it (in ms since 1970), `[space, "bytes"]` to the size of the base when it was last written anew, and
//! `["slots"]` to the number of slots ever used. Store `base` maps `[space, n]` to a chunk, `tail` maps `[space, revision]` to the
//! changes up to it.

use crate::js::storage_code;
use driftline_core::engine::Disk;
use js_sys::Array;
use rexie::{KeyRange, ObjectStore, Rexie, Store, Transaction, TransactionMode};
use std::cell::Cell;
use wasm_bindgen::JsValue;

pub struct BaseDb(Rexie);

const META: &str = "meta";
const BASE: &str = "base";
const TAIL: &str = "tail";
const STORES: [&str; 3] = [META, BASE, TAIL];

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
    pub async fn open(prefix: &str) -> Result<BaseDb, String> {
        let mut builder = Rexie::builder(&format!("{prefix}base")).version(1);
        for store in STORES {
            builder = builder.add_object_store(ObjectStore::new(store));
        }
        Ok(BaseDb(builder.build().await.map_err(code)?))
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
        let read = async {
            let transaction = self.0.transaction(&STORES, TransactionMode::ReadOnly)?;
            let meta = transaction.store(META)?;
            let slots = number(&meta, slots_key()).await?;
            let meta = meta.get(meta_key(space)).await?.and_then(|meta| meta.as_string());
            let mut disk = Disk { meta, ..Disk::default() };
            for (store, list) in [(BASE, &mut disk.base), (TAIL, &mut disk.tails)] {
                for text in transaction.store(store)?.get_all(Some(range(space)?), None).await? {
                    list.extend(text.as_string());
                }
            }
            Ok((disk, slots as u32))
        };
        read.await.map_err(code)
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
                    writes.push(Write { store, key: range(space).ok()?.into(), value: Written::Deleted });
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
        let update = async {
            let transaction = self.0.transaction(&STORES, TransactionMode::ReadWrite)?;
            let Some(writes) = decide(number(&transaction.store(META)?, guard).await?) else { return Ok(false) };
            for write in writes {
                if let Err(error) = request(&transaction, write).await {
                    // Half of it must not stay.
                    let _ = transaction.abort().await;
                    return Err(error);
                }
            }
            // rexie reports an abort without an error event as success, so the result is looked at.
            let committed = transaction.done().await?.is_committed();
            if committed { Ok(true) } else { Err(rexie::Error::TransactioncommitFailed) }
        };
        update.await.map_err(code)
    }

    pub fn close(self) {
        self.0.close();
    }
}

async fn request(transaction: &Transaction, write: Write<'_>) -> rexie::Result<()> {
    let store = transaction.store(write.store)?;
    let value = match write.value {
        Written::Number(number) => number.into(),
        Written::Text(text) => text.into(),
        Written::Deleted => return store.delete(write.key).await,
    };
    store.put(&value, Some(&write.key)).await.map(drop)
}

fn key(space: &str, part: &JsValue) -> JsValue {
    Array::of2(&space.into(), part).into()
}

fn range(space: &str) -> rexie::Result<KeyRange> {
    let (from, to) = (Array::of1(&space.into()), Array::of2(&space.into(), &Array::new()));
    Ok(KeyRange::bound(&from, &to, None, None)?)
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

async fn number(store: &Store, key: JsValue) -> rexie::Result<f64> {
    Ok(store.get(key).await?.and_then(|value| value.as_f64()).unwrap_or(0.0))
}

fn code(error: rexie::Error) -> String {
    match error {
        rexie::Error::IdbError(idb::Error::DomException(error)) => storage_code(&error),
        rexie::Error::IdbError(_) => "storage_failed".to_string(),
        _ => "storage_aborted".to_string(),
    }
}
