//! A clock that never goes back, made of one that may: a person sets it, or the network does.

/// What [`Clock::read`] returned last, and how far the system's clock has gone back in all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock {
    last: u64,
    lag: u64,
}

impl Clock {
    /// The time, in milliseconds, when the system's clock shows `system_ms`. What was set for a time an hour ahead before the
    /// system's clock went back an hour is due when it would have been.
    pub fn read(&mut self, system_ms: u64) -> u64 {
        let time = system_ms + self.lag;
        if time < self.last {
            self.lag += self.last - time;
        }
        self.last = self.last.max(time);
        self.last
    }

    /// The time when a timer has gone off that was set for `due_ms`: at least that, whatever the system's clock shows.
    pub fn reach(&mut self, system_ms: u64, due_ms: u64) -> u64 {
        let behind = due_ms.saturating_sub(self.read(system_ms));
        self.lag += behind;
        self.last += behind;
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a2_a_clock_that_is_set_back_an_hour_makes_nothing_wait_an_hour() {
        let mut clock = Clock::default();
        assert_eq!(clock.read(3_600_000), 3_600_000);
        assert_eq!(clock.read(0), 3_600_000, "it stands still");
        assert_eq!(clock.read(500), 3_600_500, "and goes on at once");
        assert_eq!(clock.read(9_000_000), 12_600_000, "forward it follows");
        assert_eq!(clock.reach(8_999_000, 12_602_000), 12_602_000, "a timer that has gone off was due");
        assert_eq!(clock.read(8_999_100), 12_602_100);
    }
}
