//! What one reconcile finds out about its request: the reference, the claim, the cloud's list, the attempt it makes.

use std::time::Duration;

use jiff::Timestamp;

use super::claim::{FlushUnit, HeldClaim};
use super::outcome::SendOutcome;
use super::request::StoredRequest;
use crate::api::Reason;
use crate::api::cluster_ref::NcpSite;
use crate::api::flush_request::FlushPhase;
use crate::cloud::ObservedCache;
use crate::object_key::ObjectKey;

/// The cache that the reference leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TargetCache {
    /// Its site.
    pub site: NcpSite,
    /// Its instance number, which the request has to confirm.
    pub instance_no: String,
    /// Its name, as far as the reference knows it.
    pub name: Option<String>,
}

impl TargetCache {
    /// What a flush of it empties.
    #[must_use]
    pub fn unit(&self) -> FlushUnit {
        FlushUnit { site: self.site, instance_no: self.instance_no.clone() }
    }
}

/// What `spec.clusterRef` leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ObservedReference {
    /// Not read yet.
    NotRead,
    /// There is no RedisClusterRef of that name.
    Missing,
    /// It does not lead to a cache (yet); the sentence says why.
    NotReady(String),
    /// Its `spec.suspend` is true.
    Suspended,
    /// It leads to a cloud that has no flush.
    NoFlush,
    /// The cache it leads to.
    Target(TargetCache),
}

/// The claim on (target, request ID); without a target, any claim that this request holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ObservedClaim {
    /// Not read yet.
    NotRead,
    /// It cannot be read or deleted; the sentence says why.
    Failed(String),
    /// There is none.
    Absent,
    /// A request holds it.
    Present(HeldClaim),
}

/// What is known of another request that holds the claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// It cannot be read now; the sentence says why.
    Failed(String),
    /// It has no verdict yet, or one that proves its attempt was not executed: the claim may still be released.
    Open,
    /// Its flush was executed, or that cannot be told: the claim stays.
    Spent,
}

impl Holder {
    /// What a request says about the claim it holds; none if there is no such request, or none that can be read.
    #[must_use]
    pub fn of(claim: &HeldClaim, request: Option<&StoredRequest>) -> Self {
        let Some(request) = request.filter(|request| claim.is_of(&request.uid)) else { return Self::Spent };
        match request.phase() {
            FlushPhase::Pending | FlushPhase::Sending => Self::Open,
            FlushPhase::Failed | FlushPhase::Rejected | FlushPhase::Expired if claim.is_unused(request) => Self::Open,
            FlushPhase::Accepted
            | FlushPhase::Succeeded
            | FlushPhase::Unknown
            | FlushPhase::Failed
            | FlushPhase::Rejected
            | FlushPhase::Expired => Self::Spent,
        }
    }
}

/// What the cloud's own list says, read for the target's number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ObservedCaches {
    /// Not read yet, or read before the flush.
    NotRead,
    /// Other requests are first. This one is reconciled again when it may ask.
    Queued,
    /// It could not be read.
    Failed {
        /// The reason of the condition.
        reason: Reason,
        /// Why, as a sentence.
        message: String,
    },
    /// A complete list; empty if the cache is not in it.
    Caches(Vec<ObservedCache>),
}

/// Whether another request is flushing this target: its phase is Sending or Accepted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Others {
    /// Not read yet.
    NotRead,
    /// None is.
    Free,
    /// This one is.
    Busy(ObjectKey),
}

/// The attempt that this reconcile alone may send. The permission lives in memory only, and is used up by one send.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnAttempt {
    /// Its random ID.
    pub id: String,
    /// Set before anything is sent, and when it is decided not to send. An attempt with an outcome is never sent.
    pub outcome: Option<SendOutcome>,
}

/// The time, as the plan is told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanTime {
    /// Wall-clock time.
    pub now: Timestamp,
    /// Monotonic time since this reconcile first began to write Sending; zero before.
    pub since_attempt_began: Duration,
}
