//! One clock for all clients, so that what one makes and another shows can be compared.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Who waits for later than this looks at the clock again.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Milliseconds since 1970 that never go back.
#[derive(Clone, Copy)]
pub struct Clock {
    began: Instant,
    began_ms: u64,
}

impl Clock {
    pub fn start() -> Clock {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { began: Instant::now(), began_ms: since.as_millis() as u64 }
    }

    pub fn now_ms(&self) -> u64 {
        self.began_ms + self.began.elapsed().as_millis() as u64
    }

    /// When this clock will show a time.
    pub fn instant(&self, at_ms: u64) -> Instant {
        let after = Duration::from_millis(at_ms.saturating_sub(self.began_ms));
        self.began + after.min(self.began.elapsed() + LONGEST)
    }
}
