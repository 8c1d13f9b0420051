//! When connections begin that can wait: after a restart not all of them in one second.

use std::time::Duration;

use tokio::time::Instant;

/// Two connections begin no closer than this.
const APART: Duration = Duration::from_millis(500);

/// Gives each connection its own time to begin.
#[derive(Debug, Default)]
pub(crate) struct Stagger {
    next: Option<Instant>,
}

impl Stagger {
    /// How long a connection that is read every `interval` waits before its first list; `random` is at least 0 and below 1.
    ///
    /// The first begins at once and the others follow one by one. Those that would wait longer than half an interval are spread
    /// over it.
    pub(crate) fn delay(&mut self, now: Instant, interval: Duration, random: f64) -> Duration {
        let at = self.next.map_or(now, |next| next.max(now));
        self.next = Some(at + APART);
        let (delay, most) = (at - now, interval / 2);
        if delay <= most { delay } else { most.mul_f64(random) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn one_connection_begins_at_once_and_a_few_one_after_the_other() {
        let (mut stagger, now) = (Stagger::default(), Instant::now());
        let delays: Vec<u128> = (0..4).map(|_| stagger.delay(now, MINUTE, 0.5).as_millis()).collect();
        assert_eq!(delays, [0, 500, 1000, 1500]);
        assert_eq!(stagger.delay(now + MINUTE, MINUTE, 0.5), Duration::ZERO, "long after the others");
    }

    #[tokio::test]
    async fn many_are_spread_over_half_an_interval() {
        let (mut stagger, now) = (Stagger::default(), Instant::now());
        let mut seconds = [0; 31];
        for number in 0..600u32 {
            let delay = stagger.delay(now, MINUTE, f64::from(number % 100) / 100.0);
            seconds[usize::try_from(delay.as_secs()).unwrap()] += 1;
        }
        assert!(seconds[..30].iter().all(|count| (10..=40).contains(count)), "{seconds:?}");
    }
}
