//! How long things took: counts in buckets that are each at most a thirty-second wide.
//!
//! Every power of two of nanoseconds has 32 buckets, so a quantile is known to about 3 % whatever
//! its size, and recording one costs a shift and an addition.

use std::time::Duration;

/// Bits that tell the buckets of a power of two apart.
const BITS: u32 = 5;
const EACH: usize = 1 << BITS;

/// Durations, counted.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; bucket(u64::MAX) + 1], count: 0 }
    }
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, took: Duration) {
        self.counts[bucket(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX))] += 1;
        self.count += 1;
    }

    /// Counts all of another one, too.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, its)| *mine += its);
        self.count += other.count;
    }

    /// How long this share of them took at most; nothing if none was counted.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        // The smallest rank that is the share, and never none.
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut below = 0;
        let found = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        });
        found.map(|found| Duration::from_nanos(end(found)))
    }
}

/// The bucket of a number.
fn bucket(nanos: u64) -> usize {
    if nanos < EACH as u64 {
        return nanos as usize;
    }
    let shift = nanos.ilog2() - BITS;
    // The leading bit is not repeated within the bucket's number: it is what `shift` stands for.
    ((shift as usize + 1) << BITS) + (nanos >> shift) as usize - EACH
}

/// The greatest number of a bucket.
fn end(bucket: usize) -> u64 {
    if bucket < EACH {
        return bucket as u64;
    }
    let (shift, within) = ((bucket >> BITS) - 1, bucket % EACH);
    let next = u128::from((EACH + within) as u64 + 1) << shift;
    u64::try_from(next - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_in_a_bucket_that_ends_within_a_thirty_second() {
        let mut numbers: Vec<u64> = (0..200).collect();
        for shift in 0..64 {
            let power = 1_u64 << shift;
            numbers.extend([power - 1, power, power | power >> 1, power | power >> 5]);
        }
        numbers.push(u64::MAX);
        for number in numbers {
            let last = end(bucket(number));
            assert!(last >= number, "{number} is behind the end of its bucket, {last}");
            assert!(last - number <= number / 32, "{number} counts as {last}");
            assert_eq!(bucket(last), bucket(number));
            assert!(last == u64::MAX || bucket(last + 1) == bucket(number) + 1);
        }
    }

    #[test]
    fn quantiles_are_those_of_all_that_was_counted() {
        let mut all = Histogram::default();
        assert_eq!(all.quantile(0.5), None);
        let mut some = Histogram::default();
        for millis in 1..=500 {
            some.record(Duration::from_millis(millis));
            all.record(Duration::from_millis(millis + 500));
        }
        all.add(&some);
        for (share, millis) in [(0.0, 1.0), (0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = all.quantile(share).unwrap().as_secs_f64() * 1e3;
            assert!(found >= millis && found <= millis * 1.04, "{share}: {found}, not {millis}");
        }
    }
}
