//! Arithmetic with times that cannot overflow, whatever a spec or a stored status holds.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::shared;

/// Longest duration worked with; the CRD's rules allow no more than a week.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// A duration of the spec, without its sign and no longer than a year.
pub(super) fn bounded(duration: shared::Duration) -> Duration {
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
