//! Decides, when single reads fail, whether the whole cloud is in trouble. Only a list tells. Values only: the time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::cloud::{CloudError, ErrorKind};

/// So many single reads that fail in a row open the breaker.
const OPENS_AT: u32 = 2;
/// From then on single reads are made ever slower, until one succeeds or a list has ended. The longest pause is short, so that reads
/// that would succeed are not held up for long by those that fail.
const PAUSES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

/// The circuit breaker of one connection's single reads.
#[derive(Debug, Default)]
pub(crate) struct CircuitBreaker {
    /// Single reads that failed in a row.
    failures: u32,
    /// When the last of them failed.
    failed_at: Option<Instant>,
    /// A list was asked for; no single read begins before it has ended.
    open: bool,
    /// When the breaker was last opened.
    opened_at: Option<Instant>,
}

impl CircuitBreaker {
    /// Records the outcome of a single read. Returns whether a list is needed now, which opens the breaker.
    ///
    /// One cluster that cannot be read among others that can does not open it. Nor is it opened twice within `interval`: the list
    /// has just said that the cloud works.
    pub(crate) fn record(&mut self, outcome: Result<(), &CloudError>, now: Instant, interval: Duration) -> bool {
        let in_trouble = |error: &CloudError| {
            matches!(error.kind, ErrorKind::Unavailable | ErrorKind::RateLimited | ErrorKind::CredentialsRejected)
        };
        (self.failures, self.failed_at) =
            if outcome.is_err_and(in_trouble) { (self.failures + 1, Some(now)) } else { (0, None) };
        if self.failures < OPENS_AT || self.open || self.was_open(now, interval) {
            return false;
        }
        (self.open, self.opened_at) = (true, Some(now));
        true
    }

    /// Whether no single read may begin before a list has ended.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// When the next single read may begin, if reads have failed in a row.
    pub(crate) fn not_before(&self) -> Option<Instant> {
        let more = self.failures.checked_sub(OPENS_AT)?;
        self.failed_at.map(|at| at + PAUSES.after(more + 1))
    }

    /// Whether the next single read is tried only once: the last one failed, or the breaker was opened within `interval`.
    pub(crate) fn forbids_retries(&self, now: Instant, interval: Duration) -> bool {
        self.failures > 0 || self.was_open(now, interval)
    }

    /// A list has ended.
    pub(crate) fn reset(&mut self) {
        (self.open, self.failures, self.failed_at) = (false, 0, None);
    }

    fn was_open(&self, now: Instant, interval: Duration) -> bool {
        self.opened_at.is_some_and(|at| now.duration_since(at) < interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Provider;

    const INTERVAL: Duration = Duration::from_secs(60);

    fn error(kind: ErrorKind) -> CloudError {
        CloudError::sample(Provider::KakaoCloud, "getCluster", kind)
    }

    /// What comes of reads at these seconds: whether each asks for a list.
    fn asks(breaker: &mut CircuitBreaker, begun: Instant, reads: &[(u64, Option<ErrorKind>)]) -> Vec<bool> {
        let ask = |&(second, kind): &(u64, Option<ErrorKind>)| {
            let error = kind.map(error);
            breaker.record(error.as_ref().map_or(Ok(()), Err), begun + Duration::from_secs(second), INTERVAL)
        };
        reads.iter().map(ask).collect()
    }

    #[test]
    fn two_failures_in_a_row_ask_once() {
        let (mut breaker, begun, down) = (CircuitBreaker::default(), Instant::now(), Some(ErrorKind::Unavailable));
        assert_eq!(asks(&mut breaker, begun, &[(0, down), (1, down), (2, down)]), [false, true, false]);
        assert!(breaker.is_open());
        breaker.reset();
        assert!(!breaker.is_open());
        let later = [(5, down), (6, down), (59, down), (61, down), (62, down)];
        assert_eq!(asks(&mut breaker, begun, &later), [false, false, false, true, false], "once an interval");
    }

    #[test]
    fn reads_that_go_on_failing_are_made_ever_slower_until_one_succeeds() {
        let (mut breaker, begun, down) = (CircuitBreaker::default(), Instant::now(), Some(ErrorKind::Unavailable));
        let mut pauses = Vec::new();
        for _ in 0..9 {
            asks(&mut breaker, begun, &[(5, down)]);
            pauses.push(breaker.not_before().map(|at| (at - begun).as_secs() - 5));
        }
        let slower = [1, 2, 4, 8, 16, 30, 30, 30].map(Some);
        assert_eq!(pauses, [&[None], slower.as_slice()].concat());
        asks(&mut breaker, begun, &[(6, None)]);
        assert_eq!(breaker.not_before(), None, "one succeeded");
        asks(&mut breaker, begun, &[(7, down), (8, down)]);
        breaker.reset();
        assert_eq!(breaker.not_before(), None, "a list has ended");
    }

    #[test]
    fn one_bad_cluster_among_others_and_what_is_about_one_alone_are_no_reason() {
        let (mut breaker, begun) = (CircuitBreaker::default(), Instant::now());
        let (down, gone) = (Some(ErrorKind::Unavailable), Some(ErrorKind::NotFound));
        let reads = [(0, down), (1, None), (2, down), (3, gone), (4, down), (5, None)];
        assert_eq!(asks(&mut breaker, begun, &reads), [false; 6]);
        assert!(!breaker.is_open());
    }

    #[test]
    fn a_cloud_that_may_be_in_trouble_is_asked_once() {
        let (mut breaker, begun, down) = (CircuitBreaker::default(), Instant::now(), Some(ErrorKind::Unavailable));
        let at = |second| begun + Duration::from_secs(second);
        assert!(!breaker.forbids_retries(at(0), INTERVAL), "all is well");
        asks(&mut breaker, begun, &[(0, down)]);
        assert!(breaker.forbids_retries(at(1), INTERVAL), "the last read failed");
        asks(&mut breaker, begun, &[(1, None)]);
        assert!(!breaker.forbids_retries(at(2), INTERVAL));
        asks(&mut breaker, begun, &[(2, Some(ErrorKind::RateLimited)), (3, Some(ErrorKind::RateLimited))]);
        breaker.reset();
        assert!(breaker.forbids_retries(at(62), INTERVAL), "an outage can follow a 429 without another list");
        assert!(!breaker.forbids_retries(at(63), INTERVAL), "an interval after it opened");
    }
}
