//! Hashes: of a transaction's body (is this the same transaction?) and of a space's rows (do we hold the same?).
//!
//! Both are SipHash-2-4 with 128 bits (Aumasson and Bernstein, 2012) under fixed keys: they guard against accidents, not
//! against somebody who means to deceive; who may write may write anything.

use crate::schema::{Schema, Table};
use crate::value::{Row, RowKey, Value};
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;

const BODY_KEY: &[u8; 16] = b"driftline-body-1";
const ROW_KEY: &[u8; 16] = b"driftline-rows-1";

/// How many of the last bits of a body's hash are of the whole body. Those before are of when it was made.
const WHOLE_BITS: u32 = 96;

/// What a body is known by. The first 32 bits depend on nothing but when the transaction was made: folding says more under the
/// same key, and two bodies of one transaction are told from two transactions that a copied profile put under one key.
pub fn body_hash(body: &str) -> u128 {
    sip(made(body)) >> WHOLE_BITS << WHOLE_BITS | sip(body) << (128 - WHOLE_BITS) >> (128 - WHOLE_BITS)
}

/// Whether two bodies are of transactions made at the same time: one transaction, then, before and after it was folded or upgraded.
pub fn made_together(a: u128, b: u128) -> bool {
    a >> WHOLE_BITS == b >> WHOLE_BITS
}

fn sip(text: &str) -> u128 {
    let mut hasher = SipHasher24::new_with_key(BODY_KEY);
    hasher.write(text.as_bytes());
    hasher.finish128().as_u128()
}

/// `[milliseconds, count]` of `made`, or of `at` where nothing was folded in later.
fn made(body: &str) -> &str {
    let head = body.split_once("\"edits\"").map_or(body, |parts| parts.0);
    let from = |name| head.split_once(name)?.1.split_once(']').map(|parts| parts.0);
    from("\"made\":").or_else(|| from("\"at\":")).unwrap_or("")
}

/// The digest of a set of rows: the sum of their hashes modulo 2^128. A row goes in and out in constant time, in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest(pub u128);

impl Digest {
    /// Rows that clients do not hold change nothing.
    pub fn add(&mut self, schema: &Schema, key: RowKey, row: &Row) {
        self.0 = self.0.wrapping_add(row_hash(schema, key, row));
    }

    pub fn remove(&mut self, schema: &Schema, key: RowKey, row: &Row) {
        self.0 = self.0.wrapping_sub(row_hash(schema, key, row));
    }
}

/// Nulls are left out, so that adding a nullable column changes no digest. Columns go by name.
fn row_hash(schema: &Schema, key: RowKey, row: &Row) -> u128 {
    let mut hasher = SipHasher24::new_with_key(ROW_KEY);
    let table: &Table = &schema.tables[key.table as usize];
    if table.server_only {
        return 0;
    }
    put(&mut hasher, table.name.as_bytes());
    hasher.write(&key.id.0.to_be_bytes());
    for (column, value) in table.columns.iter().zip(&row.values) {
        if value.is_null() {
            continue;
        }
        put(&mut hasher, column.name.as_bytes());
        match value {
            Value::Null => {}
            Value::Bool(b) => hasher.write(&[1, u8::from(*b)]),
            Value::Int(i) => {
                hasher.write(&[2]);
                hasher.write(&i.to_be_bytes());
            }
            Value::Real(r) => {
                hasher.write(&[3]);
                hasher.write(&r.to_bits().to_be_bytes());
            }
            Value::Text(t) | Value::Json(t) => {
                hasher.write(&[4]);
                put(&mut hasher, t.as_bytes());
            }
            Value::Ref(target) => {
                hasher.write(&[5]);
                put(&mut hasher, schema.tables[target.table as usize].name.as_bytes());
                hasher.write(&target.id.0.to_be_bytes());
            }
        }
    }
    hasher.finish128().as_u128()
}

/// A length before the bytes: otherwise two neighbours could trade theirs unseen.
fn put(hasher: &mut SipHasher24, bytes: &[u8]) {
    hasher.write(&(bytes.len() as u32).to_be_bytes());
    hasher.write(bytes);
}
