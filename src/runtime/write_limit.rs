//! How often one object's status is written when nobody asked for it.
//!
//! Two processes that see the cloud differently (leaders that overlap, replicas without election) would overwrite each other's
//! status as fast as the watch brings the other's write. The pace bounds that, and any other loop that nobody thought of.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Writes at once: more than the reads that bring a new object its status.
const BURST: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// One more after each of these: no poll is faster than 10 s.
const PERIOD: Duration = Duration::from_secs(3);
/// So many objects are remembered at least before those that rested are forgotten.
const REMEMBERED: usize = 256;

/// The pace of status writes, for each object.
pub struct WriteLimit {
    limits: DefaultKeyedRateLimiter<(String, String)>,
    clock: DefaultClock,
    /// How many objects are remembered when those that rested are forgotten next: looking through all of them at every write would
    /// cost more than the writes.
    sweep_at: AtomicUsize,
}

impl Default for WriteLimit {
    fn default() -> Self {
        let quota = Quota::with_period(PERIOD).map_or(Quota::per_minute(BURST), |quota| quota.allow_burst(BURST));
        Self {
            limits: RateLimiter::hashmap(quota),
            clock: DefaultClock::default(),
            sweep_at: AtomicUsize::new(REMEMBERED),
        }
    }
}

impl WriteLimit {
    /// Counts a write of an object's status.
    ///
    /// # Errors
    /// How long to wait before it, if there were too many.
    pub fn write(&self, namespace: &str, name: &str) -> Result<(), Duration> {
        if self.limits.len() >= self.sweep_at.load(Ordering::Relaxed) {
            self.limits.retain_recent();
            self.sweep_at.store((2 * self.limits.len()).max(REMEMBERED), Ordering::Relaxed);
        }
        let key = (namespace.to_owned(), name.to_owned());
        self.limits.check_key(&key).map_err(|until| until.wait_time_from(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_that_write_at_once_are_looked_through_seldom() {
        let pace = WriteLimit::default();
        let sweeps = (0..10_000).map(|number| {
            let before = pace.sweep_at.load(Ordering::Relaxed);
            assert_eq!(pace.write("shop", &number.to_string()), Ok(()));
            usize::from(pace.sweep_at.load(Ordering::Relaxed) != before)
        });
        assert_eq!(sweeps.sum::<usize>(), 6, "256, 512, … 8192");
    }

    #[test]
    fn a_status_that_is_written_in_circles_is_slowed_down_and_no_other() {
        let pace = WriteLimit::default();
        for _ in 0..BURST.get() {
            assert_eq!(pace.write("shop", "carts"), Ok(()));
        }
        let wait = pace.write("shop", "carts").unwrap_err();
        assert!(wait > Duration::ZERO && wait <= PERIOD, "{wait:?}");
        assert_eq!(pace.write("shop", "sessions"), Ok(()));
    }
}
