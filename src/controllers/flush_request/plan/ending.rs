//! The end: a request in a final phase, or one that is deleted before anything was sent.

use std::time::Duration;

use jiff::Timestamp;

use super::super::effect::Effect;
use super::super::facts::ObservedClaim;
use super::super::messages as say;
use super::super::session::Session;
use super::super::status;
use super::steps::{MIN_WAIT, POLL, finish, since, write};
use crate::api::Reason;
use crate::api::flush_request::FlushPhase;
use crate::runtime::events::Note;

/// How long a claim that cannot be released may hold back the finalizer. Past it the sweep deletes the claim one day.
const RELEASE_LIMIT: Duration = Duration::from_mins(10);

/// Deleted while Pending: nothing was sent, unless the status was lost, and nothing will be. The claim is released, then the
/// finalizer goes.
pub(super) fn cancelled(s: &Session, now: Timestamp) -> Effect {
    if !s.object.finalizer {
        return Effect::Done;
    }
    if s.object.may_have_sent() {
        return finish(s, now, FlushPhase::Unknown, Reason::StatusLost, say::status_contradicts(&s.object));
    }
    let cancelled = || remove_finalizer(s, Some(status::normal(Reason::Cancelled, say::CANCELLED.to_owned())));
    match &s.claim {
        ObservedClaim::NotRead => Effect::ReadClaim(None),
        ObservedClaim::Present(claim) if claim.is_of(&s.object.uid) && !claim.is_unused(&s.object) => {
            finish(s, now, FlushPhase::Unknown, Reason::StatusLost, say::status_lost(&s.object, claim))
        }
        ObservedClaim::Present(_) | ObservedClaim::Absent => release_own_claim(s, now).unwrap_or_else(cancelled),
        // Whether something was sent cannot be told, so nothing is said.
        ObservedClaim::Failed(_) => {
            let waits = s.object.deleted_at.is_some_and(|deleted| since(deleted, now) < RELEASE_LIMIT);
            if waits { Effect::Wait(POLL) } else { remove_finalizer(s, None) }
        }
    }
}

/// A final phase: the claim is settled, the finalizer goes, and the object is deleted when its time has come.
pub(super) fn finished(s: &Session, now: Timestamp) -> Effect {
    if s.object.finalizer {
        return release_own_claim(s, now).unwrap_or(Effect::RemoveFinalizer(None));
    }
    if s.object.deleted_at.is_some() {
        return Effect::Done;
    }
    if let Some(echo) = status::echo(s) {
        return write(echo);
    }
    let Some(ttl) = s.object.spec.ttl_after_finished.filter(|ttl| !ttl.is_negative()) else { return Effect::Done };
    let finished_at = s.object.status.finished_time.as_ref().map_or(s.object.created_at, |time| time.0);
    match finished_at.checked_add(Duration::from(ttl)) {
        Ok(due) if now >= due => Effect::Delete,
        Ok(due) => Effect::Wait(since(now, due).max(MIN_WAIT)),
        Err(_) => Effect::Done,
    }
}

/// What has to happen to the claim before the finalizer may go; none if nothing has.
///
/// A claim is released only if it carries the attempt that was not executed according to the status: Pending between two attempts,
/// Failed, Expired after an attempt. The finalizer stays until that is done, so that a crash in between loses nothing. A claim that
/// cannot be read delays it for a bounded time.
fn release_own_claim(s: &Session, now: Timestamp) -> Option<Effect> {
    if s.object.attempt_not_executed().is_empty() {
        return None;
    }
    match &s.claim {
        ObservedClaim::NotRead => Some(Effect::ReadClaim(None)),
        ObservedClaim::Present(claim) if claim.is_unused(&s.object) => Some(Effect::ReleaseClaim(claim.clone())),
        ObservedClaim::Present(_) | ObservedClaim::Absent => None,
        ObservedClaim::Failed(_) => {
            let finished_at = s.object.status.finished_time.as_ref().map(|time| time.0);
            let since_when = finished_at.max(s.object.deleted_at).unwrap_or(s.object.created_at);
            (since(since_when, now) < RELEASE_LIMIT).then_some(Effect::Wait(POLL))
        }
    }
}

/// Takes the finalizer off, if it is on.
pub(super) fn remove_finalizer(s: &Session, note: Option<Note>) -> Effect {
    if s.object.finalizer { Effect::RemoveFinalizer(note) } else { Effect::Done }
}
