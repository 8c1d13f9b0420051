//! How often one object's status is written when nobody asked for it.
//!
//! Two processes that see the cloud differently (leaders that overlap, replicas without election) would overwrite each other's
//! status as fast as the watch brings the other's write. The limit bounds that, and any other write loop.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::object_key::ObjectKey;

/// Writes at once: more than a new object needs for its first status.
const BURST: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// One more write is allowed after each period. No poll is faster than 10 s.
const PERIOD: Duration = Duration::from_secs(3);
/// Objects that are not limited any more are forgotten once at least this many are remembered.
const REMEMBERED: usize = 256;

/// The rate limit of status writes, for each object.
pub struct WriteLimit {
    limits: DefaultKeyedRateLimiter<ObjectKey>,
    clock: DefaultClock,
    /// The number of remembered objects at which those that are not limited any more are forgotten. Checking all of them at every
    /// write would cost more than the writes.
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
    pub fn write(&self, key: &ObjectKey) -> Result<(), Duration> {
        if self.limits.len() >= self.sweep_at.load(Ordering::Relaxed) {
            self.limits.retain_recent();
            self.sweep_at.store((2 * self.limits.len()).max(REMEMBERED), Ordering::Relaxed);
        }
        self.limits.check_key(key).map_err(|until| until.wait_time_from(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembered_objects_are_swept_seldom() {
        let limit = WriteLimit::default();
        let sweeps = (0..10_000).map(|number| {
            let before = limit.sweep_at.load(Ordering::Relaxed);
            assert_eq!(limit.write(&ObjectKey::new("shop", &number.to_string())), Ok(()));
            usize::from(limit.sweep_at.load(Ordering::Relaxed) != before)
        });
        assert_eq!(sweeps.sum::<usize>(), 6, "256, 512, … 8192");
    }

    #[test]
    fn a_status_that_is_written_in_circles_is_slowed_down_and_no_other() {
        let limit = WriteLimit::default();
        for _ in 0..BURST.get() {
            assert_eq!(limit.write(&ObjectKey::new("shop", "carts")), Ok(()));
        }
        let wait = limit.write(&ObjectKey::new("shop", "carts")).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= PERIOD, "{wait:?}");
        assert_eq!(limit.write(&ObjectKey::new("shop", "sessions")), Ok(()));
    }
}
