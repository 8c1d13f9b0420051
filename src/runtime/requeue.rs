//! When an object is looked at again.

use std::time::Duration;

use crate::backoff::{Backoff, spread};
use crate::digest;

/// For objects at rest, which a change brings back. The long requeue only makes up for events that were missed.
pub(crate) const WHEN_CHANGED: Duration = Duration::from_secs(3600);

/// The waits of a reconcile that fails again and again.
const AFTER_FAILURES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));

/// A wait of roughly `duration` (up to a tenth less), so that objects created together do not stay in step.
pub(crate) fn jittered(duration: Duration) -> Duration {
    spread(duration, 0.9..=1.0, rand::random())
}

/// A part of `period` that is always the same for one object, and evenly spread over objects.
pub(crate) fn phase(uid: &str, period: Duration) -> Duration {
    Duration::from_secs(digest::number(uid) % period.as_secs().max(1))
}

/// The wait after so many failures in a row: 1 s, 2 s, 4 s … 5 minutes.
pub(crate) fn after_failures(failures: u32) -> Duration {
    AFTER_FAILURES.after(failures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_back_off_to_a_bound() {
        let waits: Vec<u64> = [0, 1, 2, 3, 9, 10, u32::MAX].map(|n| after_failures(n).as_secs()).to_vec();
        assert_eq!(waits, [1, 1, 2, 4, 256, 300, 300]);
    }

    #[test]
    fn phases_are_spread_evenly_and_stay() {
        let period = Duration::from_secs(600);
        let mut minutes = [0; 10];
        for number in 0..10_000 {
            let phase = phase(&format!("8f14e45f-ceea-467f-a0e6-{number:012}"), period);
            minutes[usize::try_from(phase.as_secs() / 60).unwrap()] += 1;
        }
        assert!(minutes.iter().all(|count| (900..1100).contains(count)), "{minutes:?}");
        assert_eq!(phase("a", period), phase("a", period));
    }

    #[test]
    fn jitter_never_lengthens() {
        for _ in 0..100 {
            let wait = jittered(Duration::from_secs(60));
            assert!(wait <= Duration::from_secs(60) && wait >= Duration::from_secs(54));
        }
    }
}
