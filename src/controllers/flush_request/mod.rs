//! `RedisFlushRequest`: one wipe of a cache that leaves the operator at most once.
//!
//! The cloud's flush has no idempotency key and no job ID, so the operator has to know by itself whether it was sent. One atomic
//! act decides that: the creation of the *claim*, a Lease in the operator's namespace whose name is a hash of what is flushed
//! ([`FlushUnit`]) and the request ID. The rest follows from the order of the protocol:
//!
//! 1. The status is written `Sending` with a random attempt ID, by a write that carries the resourceVersion.
//! 2. The claim is created with that attempt ID. A process that finds a claim already there does not send.
//! 3. The process that did both, in the same reconcile, sends. No other process ever does, nor does the same process later.
//! 4. A claim is deleted only when the status says that exactly the attempt which the claim carries was not executed. That is a
//!    fact about a random ID, which no crash, stale read or restored status can make untrue.
//!
//! [`plan`] is the whole protocol as a pure function from what is known ([`Session`]) to the next single [`Effect`];
//! `tests/flush_model` checks that very function against crashes, overlapping leaders and lost answers.
//!
//! The files, each knowing only those before it: `request`, `claim`, `outcome`, `facts`, `messages`, `effect`, `session`, `status`,
//! `plan`, `executor`, `reconcile`.

mod claim;
mod claim_store;
pub(crate) mod context;
mod effect;
mod executor;
mod facts;
pub(super) mod messages;
mod outcome;
mod plan;
mod reconcile;
mod reference;
mod request;
mod sends;
mod session;
mod slots;
mod status;
mod sweep;
mod targets;

#[cfg(test)]
mod tests;

/// The name of another request at the target, in [`Others`].
pub use crate::object_key::ObjectKey;
pub use claim::{Claim, ClaimKey, FlushUnit, HeldClaim};
pub use effect::{Effect, EffectReport, StatusWrite};
pub use facts::{Holder, ObservedCaches, ObservedClaim, ObservedReference, Others, OwnAttempt, PlanTime, TargetCache};
pub use outcome::{NotSent, SendOutcome};
pub use plan::plan;
pub use request::{FINALIZER, StoredRequest};
pub use session::Session;
