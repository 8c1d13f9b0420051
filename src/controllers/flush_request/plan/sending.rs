//! Sending: the reconcile that began the attempt claims and sends; every other one knows only that it may have been sent.

use jiff::Timestamp;

use super::super::claim::Claim;
use super::super::effect::{Effect, SEND_WITHIN};
use super::super::facts::{ObservedClaim, OwnAttempt, PlanTime, TargetCache};
use super::super::messages as say;
use super::super::outcome::{Consequence, NotSent};
use super::super::session::Session;
use super::super::status;
use super::steps::{finish, write};
use crate::api::Reason;
use crate::api::flush_request::FlushPhase;

/// Only the reconcile that began this very attempt goes on with it; found by any other, it is Unknown.
pub(super) fn sending(s: &Session, time: PlanTime) -> Effect {
    let now = time.now;
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
    match target_still_good(s, time) {
        Ok(target) => claim_then_send(s, now, own, target),
        Err(why) => Effect::GiveUp(why),
    }
}

/// Repeats the checks of Pending that may fail by now, right before the claim and right before the send.
fn target_still_good(s: &Session, time: PlanTime) -> Result<&TargetCache, NotSent> {
    if s.object.deleted_at.is_some() {
        return Err(NotSent::Deleted);
    }
    if time.since_attempt_began > SEND_WITHIN {
        return Err(NotSent::Paused);
    }
    if time.now >= s.object.deadline().at {
        return Err(NotSent::DeadlinePassed);
    }
    s.confirmed_target().ok_or(NotSent::ReferenceChanged)
}

/// Creates the claim, or sends under it.
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
