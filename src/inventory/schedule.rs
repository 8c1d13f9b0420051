//! When a connection is listed again. Values only: the time and the random numbers are arguments.

use std::time::Duration;

use crate::backoff::{Backoff, spread};

/// While an instance is on its way to another state, the list is read this often, or a little less often.
const IN_TRANSITION: Duration = Duration::from_secs(10);
/// The most that is added to that.
const IN_TRANSITION_SPREAD: Duration = Duration::from_secs(5);
/// A connection that fails is probed no more often than this.
const PROBE: Duration = Duration::from_secs(30);
/// And no less often than this, or than its interval if that is shorter.
const SLOWEST_PROBE: Duration = Duration::from_secs(300);
/// Probes come up to this share later than they could, so that many operators do not return at once.
const PROBE_JITTER: f64 = 0.1;
/// An interval is up to this share shorter or longer. With more of it, one change in a hundred would be seen later than an
/// interval and a second after it happened.
const JITTER: f64 = 0.05;

/// What the time of the next list depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PollSchedule {
    /// The shortest interval of a subscription.
    pub shortest: Duration,
    /// Whether a subscriber's instance is on its way to another state.
    pub in_transition: bool,
    /// How many lists failed in a row.
    pub failures: u32,
    /// How long the cloud asked to wait.
    pub retry_after: Option<Duration>,
}

impl PollSchedule {
    /// The time from the start of a list to the start of the next; `random` is at least 0 and below 1.
    pub(crate) fn gap(&self, random: f64) -> Duration {
        if self.failures == 0 {
            let shortest = if self.in_transition {
                self.shortest.min(IN_TRANSITION + IN_TRANSITION_SPREAD.mul_f64(random))
            } else {
                self.shortest
            };
            return spread(shortest, 1.0 - JITTER..=1.0 + JITTER, random);
        }
        // With its jitter the slowest probe still comes within one interval.
        let slowest = self.shortest.div_f64(1.0 + PROBE_JITTER).min(SLOWEST_PROBE).max(PROBE);
        let gap = Backoff::new(PROBE, slowest).after(self.failures).max(self.retry_after.unwrap_or_default());
        spread(gap, 1.0..=1.0 + PROBE_JITTER, random)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn schedule(shortest: u64, failures: u32) -> PollSchedule {
        PollSchedule { shortest: seconds(shortest), in_transition: false, failures, retry_after: None }
    }

    #[test]
    fn a_connection_in_transition_is_listed_every_ten_to_fifteen_seconds() {
        for (shortest, fewest, most) in [(60, 9, 16), (86_400, 9, 16), (10, 9, 11)] {
            for random in [0.0, 0.5, 0.999] {
                let gap = PollSchedule { in_transition: true, ..schedule(shortest, 0) }.gap(random);
                assert!((seconds(fewest)..=seconds(most)).contains(&gap), "{shortest} {random}: {gap:?}");
            }
        }
    }

    #[test]
    fn an_outage_is_probed_every_thirty_seconds_then_every_interval() {
        let gaps = |shortest: u64| [1, 2, 3, 9].map(|failures| schedule(shortest, failures).gap(0.0).as_secs());
        assert_eq!(gaps(10), [30, 30, 30, 30]);
        assert_eq!(gaps(60), [30, 54, 54, 54]);
        assert_eq!(gaps(86_400), [30, 60, 120, 300]);
    }

    proptest! {
        #[test]
        fn no_gap_is_out_of_bounds(
            shortest in 10u64..=86_400, failures in 0u32..50, random in 0.0..1.0f64, wait in proptest::option::of(0u64..600)
        ) {
            let gap = PollSchedule { retry_after: wait.map(seconds), ..schedule(shortest, failures) }.gap(random);
            if failures == 0 {
                prop_assert!(gap >= seconds(shortest).mul_f64(0.9) && gap <= seconds(shortest).mul_f64(1.1));
            } else {
                prop_assert!(gap >= PROBE.max(seconds(wait.unwrap_or(0))), "an outage is not hammered");
                let longest = seconds(shortest).max(seconds(33)).max(seconds(wait.unwrap_or(0)).mul_f64(1.1));
                prop_assert!(gap <= longest, "recovery within one interval: {gap:?}");
            }
        }
    }
}
