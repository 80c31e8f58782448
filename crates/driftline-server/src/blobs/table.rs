//! Blobs in the database: those that are whole, those that are still coming, and the chunks of both. Who writes owns the transaction,
//! and has the space for itself from [`lock`] or [`lock_or_make`] on.

use crate::clock::now_s;
use crate::db::{DbResult, Param, Row};
use crate::load::space_or_new;
use crate::store::Store;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;

/// Bytes of each chunk of a blob but its last.
pub const CHUNK_BYTES: u64 = 256 * 1_024;
/// What a blob counts for beside its bytes.
pub const BESIDE_BYTES: u64 = 1_024;

/// SHA-256 of a blob's bytes: its name.
pub type Hash = [u8; 32];

/// One that is whole. Its chunks stand under the number of the upload that brought them.
pub struct Blob {
    pub upload: u64,
    pub bytes: u64,
    pub media_type: String,
}

/// One that is still coming, from one user.
pub struct Upload {
    pub number: u64,
    pub bytes: u64,
    pub received: u64,
}

fn name(hash: &Hash) -> Param<'_> {
    Param::Bytes(hash.as_slice().into())
}

/// The number of a space, which nobody else writes to until the end of the transaction. `None`: it was never written.
pub fn lock(store: &Store, space: &str) -> DbResult<Option<i64>> {
    let sql = format!("SELECT id FROM _space WHERE name = ?1{}", store.db.row_lock());
    store.db.first(&sql, &[space.into()], |row| row.int(0))
}

/// The same; a space that was never written is made, as empty as it was.
pub fn lock_or_make(store: &Store, space: &str) -> DbResult<i64> {
    if let Some(number) = lock(store, space)? {
        return Ok(number);
    }
    let state = space_or_new(store, space)?.1;
    // Another server may be making it.
    let sql = "INSERT INTO _space (name, rev, horizon, digest, schema) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (name) DO NOTHING";
    let digest = Param::Hash(state.digest.0);
    let params = [space.into(), Param::bits(state.rev), Param::bits(state.horizon), digest, store.schema.version.into()];
    store.db.execute(sql, &params)?;
    let sql = format!("SELECT id FROM _space WHERE name = ?1{}", store.db.row_lock());
    store.db.one(&sql, &[space.into()], |row| row.int(0))
}

pub fn blob(store: &Store, space: i64, hash: &Hash) -> DbResult<Option<Blob>> {
    let sql = "SELECT upload, bytes, media_type FROM _blob WHERE space = ?1 AND hash = ?2";
    let read = |row: &Row| Ok(Blob { upload: row.bits(0)?, bytes: row.bits(1)?, media_type: row.text(2)?.into_owned() });
    store.db.first(sql, &[space.into(), name(hash)], read)
}

pub fn upload(store: &Store, space: i64, hash: &Hash, principal: &str) -> DbResult<Option<Upload>> {
    let sql = "SELECT upload, bytes, received FROM _blob_upload WHERE space = ?1 AND hash = ?2 AND principal = ?3";
    let read = |row: &Row| Ok(Upload { number: row.bits(0)?, bytes: row.bits(1)?, received: row.bits(2)? });
    store.db.first(sql, &[space.into(), name(hash), principal.into()], read)
}

/// What the blobs of a space count for, but for what this user has sent of this one.
pub fn used_bytes(store: &Store, space: i64, hash: &Hash, principal: &str) -> DbResult<u64> {
    let sql = "SELECT CAST(coalesce(sum(b.bytes + ?4), 0) AS BIGINT) FROM (SELECT bytes FROM _blob WHERE space = ?1 \
               UNION ALL SELECT bytes FROM _blob_upload WHERE space = ?1 AND NOT (hash = ?2 AND principal = ?3)) AS b";
    store.db.one(sql, &[space.into(), name(hash), principal.into(), Param::bits(BESIDE_BYTES)], |row| row.bits(0))
}

/// Begins anew: what this user has sent of the blob before is dropped.
pub fn begin(store: &Store, space: i64, hash: &Hash, principal: &str, upload: &Upload, media_type: &str) -> DbResult<()> {
    forget(store, space, hash, principal)?;
    let sql = "INSERT INTO _blob_upload (space, hash, principal, upload, bytes, received, media_type, at) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let (number, bytes, received) = (Param::bits(upload.number), Param::bits(upload.bytes), Param::bits(upload.received));
    let params = [space.into(), name(hash), principal.into(), number, bytes, received, media_type.into(), now_s().into()];
    store.db.execute(sql, &params)
}

/// Adds to what has come of an upload, and returns how much that is.
pub fn append(store: &Store, space: i64, hash: &Hash, principal: &str, upload: &Upload, data: &[u8]) -> DbResult<u64> {
    let (first, begun) = (upload.received / CHUNK_BYTES, upload.received % CHUNK_BYTES);
    let mut data = Cow::Borrowed(data);
    let received = upload.received + data.len() as u64;
    if begun > 0 {
        let mut joined = chunk(store, space, hash, upload.number, first)?.unwrap_or_default();
        joined.extend_from_slice(&data);
        data = Cow::Owned(joined);
    }
    let sql = "INSERT INTO _blob_chunk (space, hash, upload, idx, data) VALUES (?1, ?2, ?3, ?4, ?5) \
               ON CONFLICT (space, hash, upload, idx) DO UPDATE SET data = excluded.data";
    for (index, chunk) in (first..).zip(data.chunks(CHUNK_BYTES as usize)) {
        let params = [space.into(), name(hash), Param::bits(upload.number), Param::bits(index), Param::Bytes(chunk.into())];
        store.db.execute(sql, &params)?;
    }
    let sql = "UPDATE _blob_upload SET received = ?4, at = ?5 WHERE space = ?1 AND hash = ?2 AND principal = ?3";
    store.db.execute(sql, &[space.into(), name(hash), principal.into(), Param::bits(received), now_s().into()])?;
    Ok(received)
}

/// A part of a blob, or of an upload.
pub fn chunk(store: &Store, space: i64, hash: &Hash, upload: u64, index: u64) -> DbResult<Option<Vec<u8>>> {
    let sql = "SELECT data FROM _blob_chunk WHERE space = ?1 AND hash = ?2 AND upload = ?3 AND idx = ?4";
    store.db.first(sql, &[space.into(), name(hash), Param::bits(upload), Param::bits(index)], |row| row.bytes(0))
}

/// The hash of what has come of an upload.
pub fn hash_of(store: &Store, space: i64, hash: &Hash, upload: &Upload) -> DbResult<Hash> {
    let mut hasher = Sha256::new();
    for index in 0..upload.bytes.div_ceil(CHUNK_BYTES) {
        hasher.update(chunk(store, space, hash, upload.number, index)?.unwrap_or_default());
    }
    Ok(hasher.finalize().into())
}

/// Makes a blob of an upload that has come whole.
pub fn complete(store: &Store, space: i64, hash: &Hash, principal: &str) -> DbResult<()> {
    let sql = "INSERT INTO _blob (space, hash, upload, bytes, media_type, at) SELECT space, hash, upload, bytes, media_type, at \
               FROM _blob_upload WHERE space = ?1 AND hash = ?2 AND principal = ?3";
    store.db.execute(sql, &[space.into(), name(hash), principal.into()])?;
    remove(store, space, hash, principal)
}

/// Drops what a user has sent of a blob.
pub fn forget(store: &Store, space: i64, hash: &Hash, principal: &str) -> DbResult<()> {
    let Some(upload) = upload(store, space, hash, principal)? else { return Ok(()) };
    let sql = "DELETE FROM _blob_chunk WHERE space = ?1 AND hash = ?2 AND upload = ?3";
    store.db.execute(sql, &[space.into(), name(hash), Param::bits(upload.number)])?;
    remove(store, space, hash, principal)
}

fn remove(store: &Store, space: i64, hash: &Hash, principal: &str) -> DbResult<()> {
    let sql = "DELETE FROM _blob_upload WHERE space = ?1 AND hash = ?2 AND principal = ?3";
    store.db.execute(sql, &[space.into(), name(hash), principal.into()])
}

/// The spaces with an upload of which nothing has come since a time, in seconds. There are no more uploads than are under way.
pub fn stale_spaces(store: &Store, before_s: i64) -> DbResult<Vec<i64>> {
    store.db.all("SELECT DISTINCT space FROM _blob_upload WHERE at < ?1", &[before_s.into()], |row| row.int(0))
}

/// Whether a space has an upload of which nothing has come since a time, in seconds.
pub fn has_stale(store: &Store, space: i64, before_s: i64) -> DbResult<bool> {
    store.db.exists("SELECT 1 FROM _blob_upload WHERE space = ?1 AND at < ?2 LIMIT 1", &[space.into(), before_s.into()])
}

/// Drops one of these, unless something has come of it, or another server was here first.
pub fn forget_stale(store: &Store, space: i64, before_s: i64) -> DbResult<()> {
    let lock = format!("SELECT id FROM _space WHERE id = ?1{}", store.db.row_lock());
    store.db.exists(&lock, &[space.into()])?;
    let sql = "SELECT hash, principal FROM _blob_upload WHERE space = ?1 AND at < ?2 LIMIT 1";
    let read = |row: &Row| Ok((row.bytes(0)?, row.text(1)?.into_owned()));
    let Some((hash, principal)) = store.db.first(sql, &[space.into(), before_s.into()], read)? else { return Ok(()) };
    match Hash::try_from(hash) {
        Ok(hash) => forget(store, space, &hash, &principal),
        Err(_) => Err(crate::db::DbError::Unreadable("column `hash` should hold 32 bytes, and holds something else".to_string())),
    }
}
