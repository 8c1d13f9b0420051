//! Pending: nothing was sent, and what has to hold before a send does not hold yet.

use jiff::Timestamp;

use super::super::effect::Effect;
use super::super::facts::{Holder, ObservedClaim, ObservedReference, Others, TargetCache};
use super::super::messages as say;
use super::super::session::Session;
use super::super::status;
use super::steps::{MIN_WAIT, finish, wait_for, wait_for_turn, wait_until};
use super::target::{UnknownCache, only_cache, wanted_target};
use crate::api::Reason;
use crate::api::flush_request::FlushPhase;

/// The verdicts that need no cloud come first, then what the request has to wait for.
pub(super) fn pending(s: &Session, now: Timestamp) -> Effect {
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
        // It is of this request and of an attempt that was not executed; else there would have been a verdict above.
        ObservedClaim::Present(claim) => Effect::ReleaseClaim(claim.clone()),
        ObservedClaim::Absent => ready_to_send(s, now, target),
    }
}

/// The verdict that follows from the claim, if one does; else the read that it needs.
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
    // The status does not say that the claim's attempt was not executed: it was lost or set back after something may have been
    // sent.
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

/// Everything but the cloud was checked, and no claim exists.
fn ready_to_send(s: &Session, now: Timestamp, target: &TargetCache) -> Effect {
    if let Some(not_before) = s.object.status.next_attempt_time.as_ref().filter(|time| now < time.0) {
        return wait_until(s, now, not_before.0);
    }
    let cache = match only_cache(s, target) {
        Ok(cache) => cache,
        Err(UnknownCache::NotRead) => return Effect::ReadCloud(target.clone()),
        Err(UnknownCache::Queued) => return wait_for_turn(s, now),
        Err(UnknownCache::Because(reason, message)) => return wait_for(s, now, reason, message, None),
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
