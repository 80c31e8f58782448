//! The base on disk: one database per user, by rexie. It is written behind, and can always be fetched again.
//!
//! Store `meta` maps `[space, "meta"]` to the core's text, `[space, "epoch"]` to the epoch of the sending tab, and
//! `["slots"]` to the number of slots ever used. Store `base` maps `[space, n]` to a chunk, `tail` maps `[space, revision]` to the
//! changes up to it.

use driftline_core::engine::Disk;
use js_sys::Array;
use rexie::{KeyRange, ObjectStore, Rexie, Store, TransactionMode};
use wasm_bindgen::JsValue;

pub struct BaseDb(Rexie);

const STORES: [&str; 3] = ["meta", "base", "tail"];

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

    /// Notes that a slot is in use, so that others look into it.
    pub async fn note_slot(&self, slot: u32) -> Result<(), String> {
        self.note(slot).await.map_err(code)
    }

    async fn note(&self, slot: u32) -> rexie::Result<()> {
        let transaction = self.0.transaction(&STORES, TransactionMode::ReadWrite)?;
        let meta = transaction.store("meta")?;
        let key: JsValue = Array::of1(&"slots".into()).into();
        if number(&meta, &key).await?.unwrap_or(0) <= u64::from(slot) {
            meta.put(&(slot + 1).into(), Some(&key)).await?;
        }
        transaction.done().await.map(drop)
    }

    pub async fn slots(&self) -> Result<u32, String> {
        let slots = async {
            let transaction = self.0.transaction(&STORES, TransactionMode::ReadOnly)?;
            number(&transaction.store("meta")?, &Array::of1(&"slots".into()).into()).await
        };
        Ok(slots.await.map_err(code)?.unwrap_or(0) as u32)
    }

    /// Base and meta of a space; the slots are left to the caller.
    pub async fn read(&self, space: &str) -> Result<Disk, String> {
        let read = async {
            let transaction = self.0.transaction(&STORES, TransactionMode::ReadOnly)?;
            let meta = transaction.store("meta")?.get(key(space, &"meta".into())).await?;
            let base = transaction.store("base")?.get_all(Some(range(space)?), None).await?;
            let tails = transaction.store("tail")?.get_all(Some(range(space)?), None).await?;
            let texts = |list: Vec<JsValue>| list.iter().filter_map(JsValue::as_string).collect();
            Ok(Disk { meta: meta.and_then(|m| m.as_string()), base: texts(base), tails: texts(tails), slots: Vec::new() })
        };
        read.await.map_err(code)
    }

    /// Takes the next epoch, and with it the right to write.
    pub async fn take_epoch(&self, space: &str) -> Result<u64, String> {
        let take = async {
            let transaction = self.0.transaction(&STORES, TransactionMode::ReadWrite)?;
            let meta = transaction.store("meta")?;
            let key = key(space, &"epoch".into());
            let epoch = number(&meta, &key).await?.unwrap_or(0) + 1;
            meta.put(&(epoch as f64).into(), Some(&key)).await?;
            transaction.done().await?;
            Ok(epoch)
        };
        take.await.map_err(code)
    }

    /// Raises our epoch to at least this, unless another tab has taken a later one.
    pub async fn renew_epoch(&self, space: &str, ours: u64, at_least: u64) -> Result<Option<u64>, String> {
        let renew = async {
            let transaction = self.0.transaction(&STORES, TransactionMode::ReadWrite)?;
            let meta = transaction.store("meta")?;
            let key = key(space, &"epoch".into());
            if number(&meta, &key).await? != Some(ours) {
                return Ok(None);
            }
            let epoch = ours.max(at_least);
            meta.put(&(epoch as f64).into(), Some(&key)).await?;
            transaction.done().await?;
            Ok(Some(epoch))
        };
        renew.await.map_err(code)
    }

    /// Writes, unless another tab has taken a later epoch (`stale_epoch`).
    pub async fn commit(&self, space: &str, commit: Commit) -> Result<(), String> {
        match self.try_commit(space, commit).await {
            Ok(true) => Ok(()),
            Ok(false) => Err("stale_epoch".to_string()),
            Err(error) => Err(code(error)),
        }
    }

    async fn try_commit(&self, space: &str, commit: Commit) -> rexie::Result<bool> {
        let transaction = self.0.transaction(&STORES, TransactionMode::ReadWrite)?;
        let meta = transaction.store("meta")?;
        if number(&meta, &key(space, &"epoch".into())).await? != Some(commit.epoch) {
            return Ok(false);
        }
        meta.put(&commit.meta.into(), Some(&key(space, &"meta".into()))).await?;
        if let Some(chunks) = commit.base {
            let base = transaction.store("base")?;
            base.delete(range(space)?.into()).await?;
            transaction.store("tail")?.delete(range(space)?.into()).await?;
            for (i, chunk) in chunks.into_iter().enumerate() {
                base.put(&chunk.into(), Some(&key(space, &(i as u32).into()))).await?;
            }
        }
        if let Some((rev, tail)) = commit.tail {
            transaction.store("tail")?.put(&tail.into(), Some(&key(space, &(rev as f64).into()))).await?;
        }
        // rexie reports an abort without an error event as success, so the result is looked at.
        Ok(transaction.done().await?.is_committed())
    }

    pub fn close(self) {
        self.0.close();
    }
}

fn key(space: &str, part: &JsValue) -> JsValue {
    Array::of2(&space.into(), part).into()
}

fn range(space: &str) -> rexie::Result<KeyRange> {
    let (from, to) = (Array::of1(&space.into()), Array::of2(&space.into(), &Array::new()));
    Ok(KeyRange::bound(&from, &to, None, None)?)
}

async fn number(store: &Store, key: &JsValue) -> rexie::Result<Option<u64>> {
    Ok(store.get(key.clone()).await?.and_then(|value| value.as_f64()).map(|number| number as u64))
}

fn code(error: rexie::Error) -> String {
    // The reason stands in the text alone.
    let text = error.to_string();
    let code = match error {
        _ if text.contains("Quota") => "storage_full",
        rexie::Error::IdbError(_) => "storage_failed",
        _ => "storage_aborted",
    };
    code.to_string()
}
