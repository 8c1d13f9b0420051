//! The steps that all phases share: a status to write, a wait.

use std::time::Duration;

use jiff::Timestamp;

use super::super::effect::{Effect, StatusWrite};
use super::super::messages as say;
use super::super::session::Session;
use super::super::status::{self, Draft};
use crate::api::Reason;
use crate::api::flush_request::FlushPhase;
use crate::cloud::ObservedCache;

/// Between two looks at what a request waits for.
pub(super) const POLL: Duration = Duration::from_secs(10);
/// A request that waits for its turn is triggered when it comes. The poll is only there in case that fails.
pub(super) const POLL_QUEUED: Duration = Duration::from_secs(300);
/// The shortest wait.
pub(super) const MIN_WAIT: Duration = Duration::from_secs(1);

/// Ends the request.
pub(super) fn finish(s: &Session, now: Timestamp, phase: FlushPhase, reason: Reason, message: String) -> Effect {
    write(status::finish(Draft::of(s, now), phase, reason, message))
}

/// Writes a status.
pub(super) fn write(write: StatusWrite) -> Effect {
    Effect::WriteStatus(Box::new(write))
}

/// Says in the status what the request waits for, then waits, but not past the deadline.
pub(super) fn wait_for(
    s: &Session,
    now: Timestamp,
    reason: Reason,
    message: String,
    cache: Option<&ObservedCache>,
) -> Effect {
    let mut draft = Draft::of(s, now);
    if let Some(cache) = cache {
        draft.found(cache);
    }
    let next = now.checked_add(POLL).unwrap_or(Timestamp::MAX);
    status::wait(draft, reason, message).map_or_else(|| wait_until(s, now, next), write)
}

/// Waits for the request's turn to ask the cloud. A message about what it waited for before stays in the status.
pub(super) fn wait_for_turn(s: &Session, now: Timestamp) -> Effect {
    let said = s.object.status.message.is_some();
    let news = if said { None } else { status::wait(Draft::of(s, now), Reason::Queued, say::QUEUED.to_owned()) };
    news.map_or_else(|| wait_until(s, now, now.checked_add(POLL_QUEUED).unwrap_or(Timestamp::MAX)), write)
}

/// Waits until a time, but not past the deadline.
pub(super) fn wait_until(s: &Session, now: Timestamp, next: Timestamp) -> Effect {
    Effect::Wait(since(now, next.min(s.object.deadline().at)).max(MIN_WAIT))
}

/// Time from `start` to `end`, zero if `end` comes first.
pub(super) fn since(start: Timestamp, end: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(start)).unwrap_or_default()
}
