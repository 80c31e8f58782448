//! Times in buckets that grow with what they hold: any number of them in a few kilobytes.

/// Buckets for each doubling: a value is told to within 3 %.
const FINE: u64 = 32;
/// More than an hour counts as this.
const MOST_US: u64 = u32::MAX as u64;
const BUCKETS: usize = 28 * FINE as usize;

#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    most_us: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: vec![0; BUCKETS], total: 0, most_us: 0 }
    }
}

/// Below 64 each value has a bucket of its own; from there on each doubling has 32.
fn bucket(us: u64) -> usize {
    if us < FINE {
        return us as usize;
    }
    let shift = us.ilog2() - FINE.ilog2();
    (u64::from(shift) * FINE + (us >> shift)) as usize
}

/// The largest value of a bucket.
fn largest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < FINE {
        return bucket;
    }
    let shift = bucket / FINE - 1;
    ((FINE + bucket % FINE + 1) << shift) - 1
}

impl Histogram {
    pub fn record(&mut self, us: u64) {
        let us = us.min(MOST_US);
        self.counts[bucket(us)] += 1;
        self.total += 1;
        self.most_us = self.most_us.max(us);
    }

    pub fn add(&mut self, other: &Histogram) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
        self.total += other.total;
        self.most_us = self.most_us.max(other.most_us);
    }

    /// What has come since this was as it was earlier.
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let counts: Vec<u64> = self.counts.iter().zip(&earlier.counts).map(|(now, then)| now - then).collect();
        let most_us = counts.iter().rposition(|count| *count > 0).map_or(0, |last| largest(last).min(self.most_us));
        Histogram { counts, total: self.total - earlier.total, most_us }
    }

    pub fn count(&self) -> u64 {
        self.total
    }

    pub fn most_us(&self) -> u64 {
        self.most_us
    }

    /// The time below which this share of all lies, rounded up to the end of its bucket; 0 where there is none.
    pub fn quantile_us(&self, share: f64) -> u64 {
        let rank = (share * self.total as f64).ceil().max(1.0) as u64;
        let mut below = 0;
        for (at, count) in self.counts.iter().enumerate() {
            below += count;
            if below >= rank {
                return largest(at).min(self.most_us);
            }
        }
        self.most_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_one_another_and_hold_what_is_put_there() {
        assert_eq!((bucket(0), bucket(31), bucket(32), bucket(63), bucket(64), bucket(MOST_US)), (0, 31, 32, 63, 64, BUCKETS - 1));
        for at in 1..BUCKETS {
            assert_eq!(bucket(largest(at - 1) + 1), at);
            assert_eq!(bucket(largest(at)), at);
            assert!(largest(at) - largest(at - 1) <= 1 + largest(at) / FINE, "{at}");
        }
    }

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut all = Histogram::default();
        assert_eq!((all.quantile_us(0.5), all.most_us(), all.count()), (0, 0, 0));
        (1..=50).for_each(|us| all.record(us));
        let earlier = all.clone();
        (51..=60).for_each(|us| all.record(us));
        assert_eq!((all.quantile_us(0.5), all.quantile_us(0.9), all.quantile_us(1.0)), (30, 54, 60));
        let later = all.since(&earlier);
        assert_eq!((later.count(), later.quantile_us(0.5), later.most_us()), (10, 55, 60));
        let mut both = earlier;
        both.add(&later);
        assert_eq!((both.count(), both.quantile_us(0.9), both.most_us()), (60, 54, 60));
        all.record(u64::MAX);
        assert_eq!((all.quantile_us(1.0), all.count()), (MOST_US, 61));
    }
}
