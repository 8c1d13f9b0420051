//! How long to wait after failures in a row. A leaf of pure functions: the number of failures and the jitter are arguments.

use std::ops::RangeInclusive;
use std::time::Duration;

/// An exponential backoff: the first wait, twice that, four times that, … up to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// A backoff between two waits.
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    /// The wait after so many failures in a row, without jitter. Zero failures count as one.
    pub(crate) fn after(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(u32::BITS - 1);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }
}

/// A wait with jitter: `jitter` (0 to 1) picks a point in the range of shares, such as `0.9..=1.0` of the wait.
pub(crate) fn spread(wait: Duration, shares: RangeInclusive<f64>, jitter: f64) -> Duration {
    between(wait.mul_f64(*shares.start()), wait.mul_f64(*shares.end()), jitter)
}

/// The point between two waits that `jitter` (0 to 1) picks. It is never outside of them.
pub(crate) fn between(shortest: Duration, longest: Duration, jitter: f64) -> Duration {
    let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.5 };
    shortest + longest.saturating_sub(shortest).mul_f64(jitter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));
        let waits: Vec<u64> = [0, 1, 2, 3, 9, 10, u32::MAX].map(|failures| backoff.after(failures).as_secs()).to_vec();
        assert_eq!(waits, [1, 1, 2, 4, 256, 300, 300]);
        let endless = Backoff::new(Duration::from_secs(60), Duration::MAX);
        assert!(endless.after(u32::MAX) >= endless.after(31), "no overflow");
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_range(seconds in 0..100_000_u64, from in 0.0..1.0_f64, more in 0.0..1.0_f64, jitter in any::<f64>()) {
            let wait = Duration::from_secs(seconds);
            let spread = spread(wait, from..=from + more, jitter);
            prop_assert!(spread >= wait.mul_f64(from) && spread <= wait.mul_f64(from + more), "{spread:?} of {wait:?}");
        }
    }
}
