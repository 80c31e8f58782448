//! What time it is, by the wall.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Since 1970.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

pub fn now_s() -> i64 {
    now().as_secs() as i64
}

pub fn now_ms() -> i64 {
    now().as_millis() as i64
}
