//! Everything that one reconcile of one request knows, and how it grows by what effects report.

use super::claim::{ClaimKey, HeldClaim};
use super::effect::{Effect, EffectReport};
use super::facts::{Holder, ObservedCaches, ObservedClaim, ObservedReference, Others, OwnAttempt, TargetCache};
use super::outcome::SendOutcome;
use super::request::StoredRequest;
use crate::api::flush_request::FlushPhase;

/// Everything that one reconcile knows about its request. It is never shared and never outlives the reconcile.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// The request.
    pub object: StoredRequest,
    /// Whether the request has to be read again because a write failed or its answer was lost.
    pub object_is_stale: bool,
    /// Whether the request does not exist any more.
    pub gone: bool,
    /// What its reference leads to.
    pub reference: ObservedReference,
    /// Its claim.
    pub claim: ObservedClaim,
    /// The other request that holds the claim: the UID of the Lease, and what is known of that request. The claim is read again
    /// after this.
    pub holder: Option<(String, Holder)>,
    /// What the cloud's list says.
    pub cloud: ObservedCaches,
    /// Other requests at the same target.
    pub others: Others,
    /// The attempt this reconcile makes, once it began to.
    pub own: Option<OwnAttempt>,
    /// Random ID for the one attempt that this reconcile may make.
    pub fresh_attempt_id: String,
    /// Identity of this operator process, for `status.attempt.operator`.
    pub operator: String,
}

impl Session {
    /// Starts a reconcile with a fresh read of the request, and an ID that no other reconcile ever uses.
    #[must_use]
    pub fn new(object: StoredRequest, fresh_attempt_id: String, operator: String) -> Self {
        Self {
            object,
            object_is_stale: false,
            gone: false,
            reference: ObservedReference::NotRead,
            claim: ObservedClaim::NotRead,
            holder: None,
            cloud: ObservedCaches::NotRead,
            others: Others::NotRead,
            own: None,
            fresh_attempt_id,
            operator,
        }
    }

    /// To be called *before* an effect is done: what it uses up is used up even if it never comes back.
    pub fn begin(&mut self, effect: &Effect) {
        match effect {
            Effect::BeginAttempt(_) if self.own.is_none() => {
                self.own = Some(OwnAttempt { id: self.fresh_attempt_id.clone(), outcome: None });
            }
            Effect::Send { .. } => self.close_attempt(SendOutcome::NoAnswer),
            Effect::GiveUp(why) => self.close_attempt(SendOutcome::NotSent(why.clone())),
            _ => {}
        }
    }

    /// To be called with what came of an effect.
    pub fn absorb(&mut self, report: EffectReport) {
        match report {
            EffectReport::Object(object) if object.uid == self.object.uid => {
                // Whether there is a claim to release can be told only by a read that follows this state of the object.
                let reread = std::mem::take(&mut self.object_is_stale);
                let left_sending = self.object.phase() == FlushPhase::Sending && object.phase() != FlushPhase::Sending;
                if reread || (left_sending && self.claim == ObservedClaim::Absent) {
                    self.claim = ObservedClaim::NotRead;
                }
                self.object = *object;
            }
            EffectReport::Object(_) | EffectReport::Gone => self.gone = true,
            EffectReport::ObjectUncertain => self.object_is_stale = true,
            EffectReport::Reference(reference) => self.reference = reference,
            EffectReport::Claim(claim) => self.claim = claim,
            EffectReport::Holder(claim, holder) => {
                // A request that was not executed releases its claim before it disappears. So its absence, or its verdict, counts
                // only if the claim is still there afterwards.
                if holder == Holder::Spent {
                    self.claim = ObservedClaim::NotRead;
                }
                self.holder = Some((claim.lease_uid, holder));
            }
            EffectReport::ClaimUncertain => self.claim = ObservedClaim::NotRead,
            EffectReport::Released => self.claim = ObservedClaim::Absent,
            EffectReport::Cloud(cloud) => self.cloud = cloud,
            EffectReport::Others(others) => self.others = others,
            EffectReport::Sent(outcome) => {
                self.close_attempt(outcome);
                self.cloud = ObservedCaches::NotRead;
            }
            EffectReport::Nothing => {}
        }
    }

    /// The target, if the reference leads to the very instance that the request confirms.
    #[must_use]
    pub fn confirmed_target(&self) -> Option<&TargetCache> {
        match &self.reference {
            ObservedReference::Target(target) if target.instance_no == self.object.spec.confirm => Some(target),
            _ => None,
        }
    }

    /// What the claim of this request on a target is on.
    #[must_use]
    pub fn claim_key(&self, target: &TargetCache) -> ClaimKey {
        ClaimKey { unit: target.unit(), request_id: self.object.request_id() }
    }

    /// What is known of the request that holds this claim; none if it was not read yet.
    #[must_use]
    pub fn holder_of(&self, claim: &HeldClaim) -> Option<&Holder> {
        self.holder.as_ref().filter(|(lease_uid, _)| *lease_uid == claim.lease_uid).map(|(_, holder)| holder)
    }

    /// Whether this session knows what its attempt came to and the status does not: to end now would lose a verdict.
    #[must_use]
    pub fn holds_answer(&self) -> bool {
        self.object.phase() == FlushPhase::Sending
            && self.own.as_ref().is_some_and(|own| own.outcome.is_some() && own.id == self.object.attempt_id())
    }

    fn close_attempt(&mut self, outcome: SendOutcome) {
        if let Some(own) = &mut self.own {
            own.outcome = Some(outcome);
        }
    }
}
