//! Chance, and the ids that are made of it.

use driftline_core::value::RowId;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// The random bits of an id behind its counter.
const RANDOM_BITS: u128 = (1 << 62) - 1;
const HIGHEST_COUNT: u64 = 0xfff;
/// The counter starts low, so that there is room to count up.
const HIGHEST_START: u64 = 0xff;

/// The time and the counter of the last id.
static LAST: Mutex<(u64, u64)> = Mutex::new((0, 0));

/// A random number from the system.
pub(crate) fn draw() -> u64 {
    // Without a secure source: an id need only be unlike others.
    getrandom::u64().unwrap_or_else(|_| RandomState::new().build_hasher().finish())
}

/// Milliseconds since 1970, as the system's clock shows them: it may go back.
pub(crate) fn system_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// An id for a new row: a UUID of version 7 (RFC 9562), 36 lower-case characters. Ids of one process sort in the order in which they
/// were made, also within a millisecond and when the clock steps back (section 6.2, method 1).
pub fn new_id() -> String {
    let (now_ms, start) = (system_ms(), draw() & HIGHEST_START);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    *last = match *last {
        (last_ms, _) if now_ms > last_ms => (now_ms, start),
        (last_ms, count) if count < HIGHEST_COUNT => (last_ms, count + 1),
        // A full counter borrows the next millisecond rather than repeat itself.
        (last_ms, _) => (last_ms + 1, 0),
    };
    let (ms, count) = *last;
    drop(last);
    let random = u128::from(draw()) & RANDOM_BITS;
    RowId(u128::from(ms) << 80 | 7_u128 << 76 | u128::from(count) << 64 | 2_u128 << 62 | random).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i8_new_ids_are_uuids_of_version_7_in_the_order_in_which_they_were_made() {
        let ids: Vec<String> = (0..10_000).map(|_| new_id()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        for id in &ids {
            assert!(RowId::parse(id).is_some(), "{id}");
            assert_eq!(id.as_bytes()[14], b'7', "{id}");
            assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{id}");
        }
    }
}
