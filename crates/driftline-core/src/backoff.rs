//! How long to wait before trying again: exponential, with full jitter, `random(0, min(cap, base · 2ⁿ))`
//! (Brooker, "Exponential Backoff and Jitter", 2015).

pub const BASE_MS: u64 = 500;
pub const CAP_MS: u64 = 30_000;

/// The delay after the `failures`-th failure in a row (from 1); `random` is uniform over all of u64.
pub fn delay_ms(failures: u32, random: u64) -> u64 {
    let ceiling = CAP_MS.min(BASE_MS << failures.saturating_sub(1).min(16));
    random % (ceiling + 1)
}

/// The same for what this device is asked to do: asking it often burdens nobody else.
pub fn local_delay_ms(failures: u32, random: u64) -> u64 {
    delay_ms(failures.min(4), random)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::mix;

    #[test]
    fn r1_the_ceiling_doubles_up_to_the_cap_and_the_jitter_is_full() {
        for (failures, ceiling) in [(1, 500), (2, 1_000), (3, 2_000), (7, 30_000), (60, 30_000)] {
            let delays: Vec<u64> = (0..2_000).map(|i| delay_ms(failures, mix(i))).collect();
            assert!(delays.iter().all(|d| *d <= ceiling));
            assert!(delays.iter().any(|d| *d < ceiling / 20) && delays.iter().any(|d| *d > ceiling - ceiling / 20));
        }
    }

    #[test]
    fn r1_an_hour_of_outage_makes_a_bounded_number_of_requests() {
        for seed in 0..200 {
            let (mut now, mut requests) = (0, 0u32);
            while now < 3_600_000 {
                requests += 1;
                now += delay_ms(requests, mix(seed * 1_000_000 + u64::from(requests)));
            }
            // 240 are expected at a mean of 15 s; full jitter spreads them.
            assert!((180..=340).contains(&requests), "{requests}");
        }
    }
}
