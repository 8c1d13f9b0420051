//! The rules of a spec in the form in which decisions use them: what is retried, and when.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::sync_status::SyncStatus;
use super::times::{after, bounded, ceil_seconds};
use crate::api::parameter_sync::{ClusterSync, RedisParameterSyncSpec, Retry};
use crate::backoff::{Backoff, between};
use crate::digest;

/// How long after an attempt the old word is not yet a new failure.
const SETTLE: Duration = Duration::from_secs(10);

/// The rules of one pass.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    retry: Retry,
    retry_on: Vec<SyncStatus>,
    pub stuck_after: Duration,
    pub now: Timestamp,
    pub jitter: f64,
}

impl Policy {
    pub(super) fn new(spec: &RedisParameterSyncSpec, now: Timestamp, jitter: f64) -> Self {
        Self {
            retry: spec.retry.clone(),
            retry_on: spec.retry_on.iter().map(|word| SyncStatus::parse(word)).collect(),
            stuck_after: bounded(spec.stuck_after),
            now,
            jitter,
        }
    }

    /// Whether an application is requested at this sync status.
    pub(super) fn retries(&self, status: &SyncStatus) -> bool {
        self.retry_on.contains(status)
    }

    pub(super) fn max_attempts(&self) -> i32 {
        self.retry.max_attempts
    }

    pub(super) fn initial_backoff(&self) -> Duration {
        bounded(self.retry.initial_backoff)
    }

    /// The longest wait between two attempts.
    pub(super) fn longest_wait(&self) -> Duration {
        bounded(self.retry.max_backoff).max(self.initial_backoff())
    }

    /// How long after an attempt the old word is not yet a new failure; a short `initialBackoff` shortens it.
    pub(super) fn settle(&self) -> Duration {
        self.initial_backoff().min(SETTLE)
    }

    /// When the next attempt may come after a failure that is noticed now.
    pub(super) fn next_attempt(&self, entry: &ClusterSync) -> Time {
        let wait = retry_delay(&self.retry, entry.attempts, jitter_of(&entry.id, self.jitter));
        ceil_seconds(after(self.now, wait))
    }

    pub(super) fn is_exhausted(&self, entry: &ClusterSync) -> bool {
        entry.attempts >= self.retry.max_attempts.max(1)
    }
}

/// The wait after the failure of attempt number `attempts` (1 is the first).
///
/// `initialBackoff · 2^(attempts-1)`, at most `maxBackoff`, with jitter: `jitter` in [0, 1) picks a point evenly between 20 %
/// less and 20 % more, of which what lies beyond `maxBackoff` is cut off before picking, so that clusters at the cap still
/// spread out and none ever waits longer than `maxBackoff`.
pub(super) fn retry_delay(retry: &Retry, attempts: i32, jitter: f64) -> Duration {
    let longest = bounded(retry.max_backoff);
    let wait = Backoff::new(bounded(retry.initial_backoff), longest).after(u32::try_from(attempts).unwrap_or(0));
    between(wait.mul_f64(0.8), wait.mul_f64(1.2).min(longest), jitter)
}

/// The jitter of one cluster: the pass's number moved by the cluster's ID, so that clusters that fail together come back apart.
fn jitter_of(id: &str, jitter: f64) -> f64 {
    let offset = f64::from(u16::try_from(digest::number(id) & 0xffff).unwrap_or(0)) / 65536.0;
    (jitter + offset).fract()
}
