//! What one principal may take of the server: requests a second, and live connections.
//!
//! All of it is memory: a server that starts anew has forgotten it, and refuses nothing for that.

use crate::error::ApiError;
use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Principals whose last requests are remembered, before those that have been quiet are forgotten.
const KEPT_PRINCIPALS: u64 = 4_096;

/// How soon one of a principal's own may have ended.
const RETRY_AFTER_S: u32 = 5;

const MIB: u64 = 1_024 * 1_024;

/// What an operator sets.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests of one principal, in the long run.
    pub requests_per_s: NonZeroU32,
    /// Requests at once, after a silence.
    pub burst_requests: NonZeroU32,
    /// Live connections of the whole server: each is a socket and a little memory.
    pub live: usize,
    pub live_per_principal: usize,
    /// Bytes of one blob.
    pub blob_bytes: u64,
    /// Bytes of all blobs of a space, those that are still coming among them.
    pub space_blob_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        let number = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        Limits {
            requests_per_s: number(100),
            burst_requests: number(1_000),
            live: 4_096,
            live_per_principal: 256,
            blob_bytes: 32 * MIB,
            space_blob_bytes: 1_024 * MIB,
        }
    }
}

pub struct Rates {
    limiter: RateLimiter<String, HashMapStateStore<String>, DefaultClock>,
    asked: AtomicU64,
}

impl Rates {
    pub fn new(limits: &Limits) -> Rates {
        let quota = Quota::per_second(limits.requests_per_s).allow_burst(limits.burst_requests);
        Rates { limiter: RateLimiter::hashmap(quota), asked: AtomicU64::new(0) }
    }

    /// Counts a request, and refuses it where there are too many.
    pub fn take(&self, principal: &str) -> Result<(), ApiError> {
        if self.asked.fetch_add(1, Ordering::Relaxed) % KEPT_PRINCIPALS == KEPT_PRINCIPALS - 1 {
            self.limiter.retain_recent();
        }
        let taken = self.limiter.check_key(&principal.to_string());
        taken.map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            ApiError::rate_limited(u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX))
        })
    }
}

/// What takes long, such as a live connection: so many of all, and of each principal.
pub struct Seats {
    count: usize,
    of_each: usize,
    all: Arc<Semaphore>,
    taken: Mutex<HashMap<String, usize>>,
}

impl Seats {
    pub fn new(count: usize, of_each: usize) -> Arc<Seats> {
        Arc::new(Seats { count, of_each, all: Arc::new(Semaphore::new(count)), taken: Mutex::default() })
    }

    /// A place for a principal; without one, where everybody is the same.
    pub fn seat(self: &Arc<Self>, principal: Option<&str>) -> Result<Seat, ApiError> {
        let full = || ApiError::unavailable("there is room for no more of these at once; try again");
        let mut seat = self.enter().ok_or_else(full)?;
        let has_room = principal.is_none_or(|principal| seat.take(principal));
        if has_room { Ok(seat) } else { Err(ApiError::rate_limited(RETRY_AFTER_S)) }
    }

    /// Room for a socket whose principal is not known yet.
    pub fn enter(self: &Arc<Self>) -> Option<Seat> {
        let permit = self.all.clone().try_acquire_owned().ok()?;
        Some(Seat { seats: self.clone(), principal: None, _permit: permit })
    }

    pub fn taken(&self) -> usize {
        self.count - self.all.available_permits()
    }

    /// Waits until nobody is there any more, and lets nobody in.
    pub async fn emptied(&self) {
        let _ = self.all.acquire_many(self.count as u32).await;
    }

    fn of_principals(&self) -> std::sync::MutexGuard<'_, HashMap<String, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of them; it is free again once this is dropped.
pub struct Seat {
    seats: Arc<Seats>,
    principal: Option<String>,
    _permit: OwnedSemaphorePermit,
}

impl Seat {
    /// `false`: the principal has as many as it may.
    #[must_use]
    pub fn take(&mut self, principal: &str) -> bool {
        let mut taken = self.seats.of_principals();
        let count = taken.entry(principal.to_string()).or_default();
        if *count >= self.seats.of_each {
            return false;
        }
        *count += 1;
        drop(taken);
        self.principal = Some(principal.to_string());
        true
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(principal) = self.principal.take() else { return };
        let mut taken = self.seats.of_principals();
        if let Some(count) = taken.get_mut(&principal) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&principal);
            }
        }
    }
}
