//! When single reads fail: whether that is the whole cloud's trouble, which only a list tells. Values only.

use std::time::Duration;

use tokio::time::Instant;

use crate::cloud::{CloudError, ErrorKind};

/// So many single reads that fail one after the other cast doubt on the whole cloud.
const DOUBTFUL: u32 = 2;
/// From then on single reads are made ever slower until one succeeds or a list has ended: this much after the failure, twice that, …
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// … and at most this much: those that would succeed are not held up for long by those that fail.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Whether single reads that fail are the whole cloud's trouble, which only a list tells.
#[derive(Debug, Default)]
pub struct Doubt {
    /// Single reads that failed in a row.
    failures: u32,
    /// When the last of them did.
    failed_at: Option<Instant>,
    /// A list was asked for to settle it; no single read begins before that has ended.
    open: bool,
    /// When it was last asked for.
    since: Option<Instant>,
}

impl Doubt {
    /// Takes in what came of a single read; whether a list is to be asked for now. One cluster that cannot be read among others
    /// that can is no reason, and neither is anything a second time within `interval`: the list has said that the cloud is well.
    pub fn arises(&mut self, outcome: Result<(), &CloudError>, now: Instant, interval: Duration) -> bool {
        let in_trouble = |error: &CloudError| {
            matches!(error.kind, ErrorKind::Unavailable | ErrorKind::RateLimited | ErrorKind::CredentialsRejected)
        };
        (self.failures, self.failed_at) =
            if outcome.is_err_and(in_trouble) { (self.failures + 1, Some(now)) } else { (0, None) };
        let again = self.since.is_none_or(|since| now.duration_since(since) >= interval);
        if self.failures < DOUBTFUL || self.open || !again {
            return false;
        }
        (self.open, self.since) = (true, Some(now));
        true
    }

    /// Whether no single read may begin before a list has ended.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// When the next single read may begin, if reads have failed in a row.
    pub fn not_before(&self) -> Option<Instant> {
        let more = self.failures.checked_sub(DOUBTFUL)?;
        let pause = FIRST_PAUSE.saturating_mul(1 << more.min(5)).min(LONGEST_PAUSE);
        self.failed_at.map(|at| at + pause)
    }

    /// A list has ended.
    pub fn settle(&mut self) {
        (self.open, self.failures, self.failed_at) = (false, 0, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::{Executed, Provider};

    const INTERVAL: Duration = Duration::from_secs(60);

    fn error(kind: ErrorKind) -> CloudError {
        CloudError {
            provider: Provider::KakaoCloud,
            operation: "getCluster",
            kind,
            http_status: None,
            code: None,
            message: String::new(),
            trace_id: None,
            retry_after: None,
            executed: Executed::No,
        }
    }

    /// What comes of reads at these seconds: whether each asks for a list.
    fn asks(doubt: &mut Doubt, begun: Instant, reads: &[(u64, Option<ErrorKind>)]) -> Vec<bool> {
        let ask = |&(second, kind): &(u64, Option<ErrorKind>)| {
            let error = kind.map(error);
            doubt.arises(error.as_ref().map_or(Ok(()), Err), begun + Duration::from_secs(second), INTERVAL)
        };
        reads.iter().map(ask).collect()
    }

    #[test]
    fn two_failures_in_a_row_ask_once() {
        let (mut doubt, begun, down) = (Doubt::default(), Instant::now(), Some(ErrorKind::Unavailable));
        assert_eq!(asks(&mut doubt, begun, &[(0, down), (1, down), (2, down)]), [false, true, false]);
        assert!(doubt.is_open());
        doubt.settle();
        assert!(!doubt.is_open());
        let later = [(5, down), (6, down), (59, down), (61, down), (62, down)];
        assert_eq!(asks(&mut doubt, begun, &later), [false, false, false, true, false], "once an interval");
    }

    #[test]
    fn reads_that_go_on_failing_are_made_ever_slower_until_one_succeeds() {
        let (mut doubt, begun, down) = (Doubt::default(), Instant::now(), Some(ErrorKind::Unavailable));
        let mut pauses = Vec::new();
        for _ in 0..9 {
            asks(&mut doubt, begun, &[(5, down)]);
            pauses.push(doubt.not_before().map(|at| (at - begun).as_secs() - 5));
        }
        let slower = [1, 2, 4, 8, 16, 30, 30, 30].map(Some);
        assert_eq!(pauses, [&[None], slower.as_slice()].concat());
        asks(&mut doubt, begun, &[(6, None)]);
        assert_eq!(doubt.not_before(), None, "one succeeded");
        asks(&mut doubt, begun, &[(7, down), (8, down)]);
        doubt.settle();
        assert_eq!(doubt.not_before(), None, "a list has ended");
    }

    #[test]
    fn one_bad_cluster_among_others_and_what_is_about_one_alone_are_no_reason() {
        let (mut doubt, begun) = (Doubt::default(), Instant::now());
        let (down, gone) = (Some(ErrorKind::Unavailable), Some(ErrorKind::NotFound));
        let reads = [(0, down), (1, None), (2, down), (3, gone), (4, down), (5, None)];
        assert_eq!(asks(&mut doubt, begun, &reads), [false; 6]);
        assert!(!doubt.is_open());
    }
}
