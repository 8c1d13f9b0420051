//! `RedisFlushRequest`: one wipe of a cache that leaves the operator at most once.
//!
//! The cloud's flush has no idempotency key and no job ID, so the operator has to know by itself whether it was sent.
//! What decides is one atomic act: the creation of the *claim*, a Lease in the operator's namespace whose name is a hash of
//! (target, request ID). Its order in the protocol makes the rest simple:
//!
//! 1. The status is written `Sending` with a random attempt ID, by a write that carries the resourceVersion.
//! 2. The claim is created with that attempt ID. Whoever finds one already there does not send.
//! 3. The process that did both, in the same reconcile, sends; nobody else ever does, not even the same process later.
//! 4. A claim is deleted only when the status says, of exactly the attempt that the claim carries, that it was not
//!    executed. That is a fact about a random ID which no crash, stale read or restored status can make untrue.
//!
//! [`plan`](plan::plan) is the whole protocol as a pure function from what is known ([`Session`]) to the next single
//! [`Effect`]; `tests/flush_model` checks that very function against crashes, overlapping leaders and lost answers.

pub mod claim;
mod claim_store;
pub mod context;
pub mod effect;
mod executor;
pub mod facts;
mod messages;
pub mod outcome;
pub mod plan;
mod reconcile;
mod reference;
pub mod request;
pub mod sends;
pub mod session;
pub mod slots;
pub mod status;
pub mod sweep;
pub mod targets;

#[cfg(test)]
mod tests;

pub use claim::{Claim, ClaimKey, FlushUnit, HeldClaim};
pub use effect::{Effect, EffectReport, StatusWrite};
pub use facts::{Holder, ObservedCaches, ObservedClaim, ObservedReference, Others, OwnAttempt, PlanTime, TargetCache};
pub use outcome::{NotSent, SendOutcome};
pub use plan::plan;
pub use request::{FINALIZER, StoredRequest};
pub use session::Session;
