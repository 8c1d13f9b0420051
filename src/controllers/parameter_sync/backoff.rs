//! How long to wait between two attempts.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::parameter_sync::Retry;

/// Longest duration worked with; more (the CRD's rules allow no more than a week) is cut, so that no sum overflows.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// The wait after the failure of attempt number `attempts` (1 is the first).
///
/// `initialBackoff · 2^(attempts-1)`, at most `maxBackoff`, with jitter: `jitter` in [0, 1) picks a point evenly between 20 %
/// less and 20 % more, of which what lies beyond `maxBackoff` is cut off before picking, so that clusters at the cap still
/// spread out and none ever waits longer than `maxBackoff`.
pub fn delay(retry: &Retry, attempts: i32, jitter: f64) -> Duration {
    let cap = bounded(retry.max_backoff);
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0).min(30);
    let base = bounded(retry.initial_backoff).saturating_mul(1 << doublings).min(cap);
    let shortest = base.mul_f64(0.8);
    let longest = base.mul_f64(1.2).min(cap);
    shortest + longest.saturating_sub(shortest).mul_f64(share(jitter))
}

/// The jitter of one cluster: the pass's number moved by the cluster's ID, so that clusters that fail together come back apart.
pub(super) fn jitter_for(id: &str, jitter: f64) -> f64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    let offset = f64::from(u16::try_from(hasher.finish() & 0xffff).unwrap_or(0)) / 65536.0;
    (share(jitter) + offset).fract()
}

fn share(jitter: f64) -> f64 {
    if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.5 }
}

/// A duration of the spec, without its sign and no longer than a year.
pub(super) fn bounded(duration: crate::api::shared::Duration) -> Duration {
    Duration::from(duration).min(LONGEST)
}

/// `time` + `wait`, at most the end of time.
pub(super) fn after(time: Timestamp, wait: Duration) -> Timestamp {
    time.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// A moment not before `time` at the precision at which Kubernetes stores it: whole seconds, rounded up.
pub(super) fn ceil_seconds(time: Timestamp) -> Time {
    let up = i64::from(time.subsec_nanosecond() > 0);
    Time(Timestamp::from_second(time.as_second().saturating_add(up)).unwrap_or(time))
}
