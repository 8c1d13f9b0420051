//! The protocol: from what is known of a request to the next single thing to do about it.

use std::time::Duration;

use jiff::Timestamp;

use super::claim::Claim;
use super::effect::{Effect, SEND_WITHIN, StatusWrite};
use super::facts::{
    Holder, ObservedCaches, ObservedClaim, ObservedReference, Others, OwnAttempt, PlanTime, TargetCache,
};
use super::messages as say;
use super::outcome::{Consequence, NotSent};
use super::session::Session;
use super::status::{self, Draft};
use crate::api::Reason;
use crate::api::flush_request::FlushPhase;
use crate::cloud::ObservedCache;
use crate::runtime::events::Note;

/// A running state counts as "running again" without another state seen since the flush once this time passed: a small
/// cache can be wiped between two reads, but the first read may also come before the cloud has begun.
pub const SETTLE: Duration = Duration::from_secs(10);
/// An accepted flush whose cache is not seen running for this long is reported as stalled, and still watched.
pub const STALLED_AFTER: Duration = Duration::from_mins(30);
/// An accepted flush whose cache was not seen running for this long is given up as Unknown.
pub const WATCH_LIMIT: Duration = Duration::from_hours(24);
/// How long a claim that cannot be released may hold back the finalizer; past it the sweep deletes the claim one day.
pub const RELEASE_LIMIT: Duration = Duration::from_mins(10);

const POLL: Duration = Duration::from_secs(10);
const POLL_ACCEPTED: Duration = Duration::from_secs(5);
const POLL_STALLED: Duration = Duration::from_secs(60);
/// A request that waits for its turn is woken when it comes; the poll is only a net below that.
const POLL_QUEUED: Duration = Duration::from_secs(300);
const MIN_WAIT: Duration = Duration::from_secs(1);

/// The next thing to do. Final phases are looked at first: nothing below them can leave one.
#[must_use]
pub fn plan(session: &Session, clock: PlanTime) -> Effect {
    if session.gone {
        return Effect::Done;
    }
    if session.object_is_stale {
        return Effect::ReadObject;
    }
    match session.object.phase() {
        FlushPhase::Succeeded
        | FlushPhase::Failed
        | FlushPhase::Unknown
        | FlushPhase::Rejected
        | FlushPhase::Expired => finished(session, clock.now),
        FlushPhase::Sending => sending(session, clock),
        FlushPhase::Accepted => accepted(session, clock.now),
        FlushPhase::Pending if session.object.deleted_at.is_some() => cancelled(session, clock.now),
        FlushPhase::Pending => pending(session, clock.now),
    }
}

/// Pending: nothing was sent. The verdicts that need no cloud come first, then what has to be waited for.
fn pending(s: &Session, now: Timestamp) -> Effect {
    if s.object.may_have_sent() {
        return finish(s, now, FlushPhase::Unknown, Reason::StatusLost, say::status_contradicts(&s.object));
    }
    if s.reference == ObservedReference::NotRead {
        return Effect::ReadReference;
    }
    if s.claim == ObservedClaim::NotRead {
        return Effect::ReadClaim(s.confirmed_target().map(|target| s.claim_key(target)));
    }
    if let Some(verdict) = verdict_of_claim(s, now).or_else(|| verdict_of_checks(s, now)) {
        return verdict;
    }
    let target = match wanted_target(s) {
        Ok(target) => target,
        Err((reason, message)) => return wait_for(s, now, reason, message, None),
    };
    match &s.claim {
        ObservedClaim::NotRead => Effect::ReadClaim(Some(s.claim_key(target))),
        ObservedClaim::Failed(why) => wait_for(s, now, Reason::ClaimUnavailable, say::claim_unavailable(why), None),
        ObservedClaim::Present(claim) if !claim.is_of(&s.object.uid) => {
            let message = say::claim_held(&s.object.request_id(), claim, s.holder_of(claim));
            wait_for(s, now, Reason::ClaimHeld, message, None)
        }
        // Of this request and this attempt, or one of the verdicts above would have been reached.
        ObservedClaim::Present(claim) => Effect::ReleaseClaim(claim.clone()),
        ObservedClaim::Absent => ready_to_send(s, now, target),
    }
}

/// A claim that says the request has to end here.
fn verdict_of_claim(s: &Session, now: Timestamp) -> Option<Effect> {
    let ObservedClaim::Present(claim) = &s.claim else { return None };
    if !claim.is_of(&s.object.uid) {
        return match s.holder_of(claim) {
            None => Some(Effect::ReadHolder(claim.clone())),
            Some(Holder::Open | Holder::Failed(_)) => None,
            Some(Holder::Spent) => {
                let message = say::already_executed(&s.object.request_id(), claim);
                Some(finish(s, now, FlushPhase::Rejected, Reason::AlreadyExecuted, message))
            }
        };
    }
    // A claim of this request for an attempt that the status does not know as not executed: the status was lost or set
    // back after something may have been sent.
    let message = || say::status_lost(&s.object, claim);
    (!claim.is_unused(&s.object)).then(|| finish(s, now, FlushPhase::Unknown, Reason::StatusLost, message()))
}

/// Checks that end the request before anything is sent.
fn verdict_of_checks(s: &Session, now: Timestamp) -> Option<Effect> {
    let reject = |reason, message| Some(finish(s, now, FlushPhase::Rejected, reason, message));
    match &s.reference {
        ObservedReference::NoFlush => return reject(Reason::NotSupported, say::not_supported(&s.object)),
        ObservedReference::Target(target) if s.confirmed_target().is_none() => {
            return reject(Reason::ConfirmMismatch, say::confirm_mismatch(&s.object, &target.instance_no));
        }
        ObservedReference::NotRead
        | ObservedReference::Missing
        | ObservedReference::NotReady(_)
        | ObservedReference::Suspended
        | ObservedReference::Target(_) => {}
    }
    let deadline = s.object.deadline();
    (now >= deadline.at)
        .then(|| finish(s, now, FlushPhase::Expired, Reason::DeadlineExceeded, say::expired(&s.object, deadline)))
}

fn wanted_target(s: &Session) -> Result<&TargetCache, (Reason, String)> {
    s.confirmed_target().ok_or_else(|| {
        let name = &s.object.spec.cluster_ref.name;
        match &s.reference {
            ObservedReference::Suspended => (Reason::ReferenceSuspended, say::reference_suspended(name)),
            ObservedReference::NotReady(why) => (Reason::ReferenceNotReady, say::reference_not_ready(name, why)),
            ObservedReference::Missing
            | ObservedReference::NotRead
            | ObservedReference::NoFlush
            | ObservedReference::Target(_) => (Reason::ReferenceNotFound, say::reference_missing(name)),
        }
    })
}

/// Everything but the cloud was checked and no claim exists.
fn ready_to_send(s: &Session, now: Timestamp, target: &TargetCache) -> Effect {
    if let Some(not_before) = s.object.status.next_attempt_time.as_ref().filter(|time| now < time.0) {
        return wait_until(s, now, not_before.0);
    }
    let cache = match only_cache(s, target) {
        Ok(cache) => cache,
        Err(Unseen::NotRead) => return Effect::ReadCloud(target.clone()),
        Err(Unseen::Queued) => return wait_for_turn(s, now),
        Err(Unseen::Because(reason, message)) => return wait_for(s, now, reason, message, None),
    };
    if !cache.is_running() {
        let message = say::target_not_running(cache);
        return wait_for(s, now, Reason::TargetNotRunning, message, Some(cache));
    }
    match &s.others {
        Others::NotRead => return Effect::ReadOthers(target.clone()),
        Others::Busy(by) => return wait_for(s, now, Reason::TargetBusy, say::target_busy(target, by), Some(cache)),
        Others::Free => {}
    }
    if !s.object.finalizer {
        return Effect::AddFinalizer;
    }
    if s.own.as_ref().is_some_and(|own| own.outcome.is_some()) {
        return Effect::Wait(MIN_WAIT); // one attempt for each reconcile
    }
    Effect::BeginAttempt(Box::new(status::begin_attempt(s, now, cache)))
}

/// Sending: only the reconcile that wrote this very attempt goes on with it; for everybody else it is Unknown.
fn sending(s: &Session, clock: PlanTime) -> Effect {
    let now = clock.now;
    let Some(own) = s.own.as_ref().filter(|own| own.id == s.object.attempt_id()) else {
        return finish(s, now, FlushPhase::Unknown, Reason::Interrupted, say::interrupted(&s.object));
    };
    if let Some(outcome) = &own.outcome {
        return write(match outcome.consequence() {
            Consequence::Accepted => status::accept(s, now, outcome),
            Consequence::TryAgain(after) => status::try_again(s, now, outcome, after),
            Consequence::Refused => status::refuse(s, now, outcome),
            Consequence::Unknown => status::lose(s, now, outcome),
        });
    }
    match target_still_good(s, clock) {
        Ok(target) => claim_then_send(s, now, own, target),
        Err(why) => Effect::GiveUp(why),
    }
}

/// The checks of Pending that time can undo, once more right before the claim and right before the send.
fn target_still_good(s: &Session, clock: PlanTime) -> Result<&TargetCache, NotSent> {
    if s.object.deleted_at.is_some() {
        return Err(NotSent::Deleted);
    }
    if clock.since_attempt_began > SEND_WITHIN {
        return Err(NotSent::Paused);
    }
    if clock.now >= s.object.deadline().at {
        return Err(NotSent::DeadlinePassed);
    }
    s.confirmed_target().ok_or(NotSent::ReferenceChanged)
}

fn claim_then_send(s: &Session, now: Timestamp, own: &OwnAttempt, target: &TargetCache) -> Effect {
    match &s.claim {
        ObservedClaim::NotRead => Effect::ReadClaim(Some(s.claim_key(target))),
        ObservedClaim::Failed(why) => Effect::GiveUp(NotSent::ClaimUnavailable(why.clone())),
        ObservedClaim::Absent => Effect::CreateClaim(Box::new(Claim {
            key: s.claim_key(target),
            request_uid: s.object.uid.clone(),
            namespace: s.object.namespace.clone(),
            name: s.object.name.clone(),
            attempt_id: own.id.clone(),
            operator: s.operator.clone(),
            claimed_at: now,
        })),
        ObservedClaim::Present(claim)
            if claim.is_for(&s.object.uid, &own.id) && claim.lease_name == s.claim_key(target).lease_name() =>
        {
            Effect::Send { unit: target.unit(), attempt_id: own.id.clone() }
        }
        ObservedClaim::Present(claim) if claim.is_of(&s.object.uid) => {
            finish(s, now, FlushPhase::Unknown, Reason::StatusLost, say::status_lost(&s.object, claim))
        }
        ObservedClaim::Present(claim) => {
            Effect::GiveUp(NotSent::ClaimedByAnother(say::claimed_first(&s.object.request_id(), claim)))
        }
    }
}

/// Accepted: watch until the cache runs again.
fn accepted(s: &Session, now: Timestamp) -> Effect {
    if s.object.deleted_at.is_some() {
        return remove_finalizer(s, Some(status::warning(Reason::NotWatched, say::deleted_while_accepted(&s.object))));
    }
    if s.reference == ObservedReference::NotRead {
        return Effect::ReadReference;
    }
    let seen = match wanted_target(s) {
        Err((_, message)) => Err(message),
        Ok(target) => match only_cache(s, target) {
            Err(Unseen::NotRead) => return Effect::ReadCloud(target.clone()),
            Err(Unseen::Queued) => Err(say::QUEUED.to_owned()),
            Err(Unseen::Because(_, message)) => Err(message),
            Ok(cache) => Ok(cache),
        },
    };
    let age = since(s.object.sent_at(), now);
    let mut draft = Draft::of(s, now);
    let doubt = match seen {
        Ok(cache) => {
            draft.saw(cache);
            match cache.is_running() {
                true if draft.left_running() || age >= SETTLE => return write(status::succeed(draft)),
                true => say::STILL_RUNNING.to_owned(),
                false => say::target_not_running(cache),
            }
        }
        Err(message) => message,
    };
    if age >= WATCH_LIMIT {
        return finish(s, now, FlushPhase::Unknown, Reason::NotRunningAgain, say::not_running_again(&s.object, &doubt));
    }
    if s.cloud == ObservedCaches::Queued {
        return Effect::Wait((WATCH_LIMIT - age).clamp(MIN_WAIT, POLL_QUEUED));
    }
    let stalled = age >= STALLED_AFTER;
    let poll = if stalled { POLL_STALLED } else { POLL_ACCEPTED };
    status::watch(draft, stalled, &doubt).map_or(Effect::Wait(poll), write)
}

/// Deleted while Pending: nothing was sent, unless the status was lost, and nothing will be; give back what was taken and let go.
fn cancelled(s: &Session, now: Timestamp) -> Effect {
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
        // Nobody can tell, so nothing is said.
        ObservedClaim::Failed(_) => {
            let waits = s.object.deleted_at.is_some_and(|deleted| since(deleted, now) < RELEASE_LIMIT);
            if waits { Effect::Wait(POLL) } else { remove_finalizer(s, None) }
        }
    }
}

/// A final phase: settle the claim, let go of the object, delete it when its time has come.
fn finished(s: &Session, now: Timestamp) -> Effect {
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
/// A claim is released only if it carries the attempt of which the status says that it was not executed: Pending between
/// two attempts, Failed, Expired after an attempt. The finalizer
/// stays until that is done, so a crash in between is made up for; a claim nobody can read delays it for a bounded time.
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

fn remove_finalizer(s: &Session, note: Option<Note>) -> Effect {
    if s.object.finalizer { Effect::RemoveFinalizer(note) } else { Effect::Done }
}

fn finish(s: &Session, now: Timestamp, phase: FlushPhase, reason: Reason, message: String) -> Effect {
    write(status::finish(Draft::of(s, now), phase, reason, message))
}

fn write(write: StatusWrite) -> Effect {
    Effect::WriteStatus(Box::new(write))
}

/// Says in the status what is waited for, then waits; never past the deadline.
fn wait_for(s: &Session, now: Timestamp, reason: Reason, message: String, cache: Option<&ObservedCache>) -> Effect {
    let mut draft = Draft::of(s, now);
    if let Some(cache) = cache {
        draft.found(cache);
    }
    let next = now.checked_add(POLL).unwrap_or(Timestamp::MAX);
    status::wait(draft, reason, message).map_or_else(|| wait_until(s, now, next), write)
}

/// Waits for its turn to ask the cloud. What the request waited for before stays said.
fn wait_for_turn(s: &Session, now: Timestamp) -> Effect {
    let said = s.object.status.message.is_some();
    let news = if said { None } else { status::wait(Draft::of(s, now), Reason::Queued, say::QUEUED.to_owned()) };
    news.map_or_else(|| wait_until(s, now, now.checked_add(POLL_QUEUED).unwrap_or(Timestamp::MAX)), write)
}

fn wait_until(s: &Session, now: Timestamp, next: Timestamp) -> Effect {
    Effect::Wait(since(now, next.min(s.object.deadline().at)).max(MIN_WAIT))
}

enum Unseen {
    NotRead,
    Queued,
    Because(Reason, String),
}

/// The one cache of the target's number in the cloud's list.
fn only_cache<'a>(s: &'a Session, target: &TargetCache) -> Result<&'a ObservedCache, Unseen> {
    let listed = match &s.cloud {
        ObservedCaches::NotRead => return Err(Unseen::NotRead),
        ObservedCaches::Queued => return Err(Unseen::Queued),
        ObservedCaches::Failed { reason, message } => return Err(Unseen::Because(*reason, say::cloud_failed(message))),
        ObservedCaches::Caches(listed) => listed,
    };
    let mut same = listed.iter().filter(|cache| cache.number == target.instance_no);
    match (same.next(), same.next()) {
        (Some(cache), None) => Ok(cache),
        (None, _) => Err(Unseen::Because(Reason::TargetNotFound, say::target_not_found(target))),
        (Some(_), Some(_)) => Err(Unseen::Because(Reason::TargetAmbiguous, say::target_ambiguous(target))),
    }
}

/// Time from `start` to `end`, zero if it is the other way round.
fn since(start: Timestamp, end: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(start)).unwrap_or_default()
}
