//! The steps of the protocol: everything that touches the world, and what came of it.

use std::time::Duration;

use super::claim::{Claim, ClaimKey, FlushUnit, HeldClaim};
use super::facts::{Holder, ObservedCaches, ObservedClaim, ObservedReference, Others, TargetCache};
use super::outcome::{NotSent, SendOutcome};
use super::request::StoredRequest;
use crate::api::flush_request::RedisFlushRequestStatus;
use crate::runtime::events::Note;

/// The longest time from the begin of an attempt to its send. A process that needs longer stood still, and does not send.
pub(super) const SEND_WITHIN: Duration = Duration::from_secs(20);

/// A status to write, and the event to record once it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusWrite {
    /// The whole status.
    pub status: RedisFlushRequestStatus,
    /// The event, if the write is a transition.
    pub note: Option<Note>,
}

/// One thing to do. The plan names it, the executor does it and reports what came of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Read the request from the API server (not from a cache).
    ReadObject,
    /// Resolve `spec.clusterRef`.
    ReadReference,
    /// Read the claim by its key from the API server; without a key, or if there is none, any claim with the label of this
    /// request's UID.
    ReadClaim(Option<ClaimKey>),
    /// Read the other request that holds the claim from the API server.
    ReadHolder(HeldClaim),
    /// Read the cloud's list for the target's number.
    ReadCloud(TargetCache),
    /// Look whether another request for the target is Sending or Accepted.
    ReadOthers(TargetCache),
    /// Put the finalizer on, by a write that carries the resourceVersion.
    AddFinalizer,
    /// Write the status that begins the attempt of this reconcile: phase Sending and the attempt's ID, by a write that carries
    /// the resourceVersion, so that one process alone can win. From then on the attempt may be under way, as others see it.
    BeginAttempt(Box<StatusWrite>),
    /// Write any other status, by a write that carries the resourceVersion.
    WriteStatus(Box<StatusWrite>),
    /// Create the claim; never update one.
    CreateClaim(Box<Claim>),
    /// Send the flush, once, unless more than [`SEND_WITHIN`] has passed when the request would leave.
    Send {
        /// What to empty.
        unit: FlushUnit,
        /// The attempt, for the log.
        attempt_id: String,
    },
    /// Remember that the attempt of this reconcile is not to be sent. Touches nothing but the session.
    GiveUp(NotSent),
    /// Delete the claim, with the UID of its Lease as precondition.
    ReleaseClaim(HeldClaim),
    /// Take the finalizer off, by a write that carries the resourceVersion.
    RemoveFinalizer(Option<Note>),
    /// Delete the request, with its UID and resourceVersion as preconditions.
    Delete,
    /// Nothing to do until this time has passed or something has changed.
    Wait(Duration),
    /// Nothing to do until the request changes.
    Done,
}

/// What came of an effect.
#[derive(Clone, Debug, PartialEq)]
pub enum EffectReport {
    /// The request, as a read or a write of it returned it.
    Object(Box<StoredRequest>),
    /// The request does not exist.
    Gone,
    /// A write of the request was refused because it changed meanwhile, or it is not known whether the write was done.
    ObjectUncertain,
    /// What the reference leads to.
    Reference(ObservedReference),
    /// The claim, as a read showed it or its creation returned it.
    Claim(ObservedClaim),
    /// What is known of the request that holds this claim.
    Holder(HeldClaim, Holder),
    /// The claim could not be created because one exists, or it is not known whether it was created.
    ClaimUncertain,
    /// The claim is gone.
    Released,
    /// What the cloud's list says.
    Cloud(ObservedCaches),
    /// Other requests at the same target.
    Others(Others),
    /// What the send came to.
    Sent(SendOutcome),
    /// Nothing to learn from it.
    Nothing,
}
