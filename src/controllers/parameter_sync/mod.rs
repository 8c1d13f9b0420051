//! `RedisParameterSync`: keeps the parameter groups of some clusters applied.
//!
//! A pass is `plan` → write `Plan::status` → ask the cloud for each of `Plan::applies` → `Plan::record` → write again.
//! Everything but [`reconcile`] and [`targets`] is pure: the time, the jitter and what the cloud said are arguments.
//!
//! Invariants, each held by a property test:
//! - An attempt is counted in the status of the plan that asks for it, so a crash after the write costs one attempt and never
//!   adds a request: in one episode a cluster is asked for at most `maxAttempts` times (a 409 is no attempt).
//! - The same input gives the same status, and planning again on that status changes nothing.
//! - `Reconciling` and `Stalled` never stand together, and `Ready` is True only if there are clusters and all are In-Sync.

mod backoff;
pub mod context;
pub mod coverage;
mod episode;
mod events;
mod input;
pub mod membership;
mod plan;
mod reconcile;
pub mod reminders;
mod status;
pub(super) mod targets;
mod text;
pub mod turns;

pub use backoff::delay;
pub use events::{Event, EventType};
pub use input::{
    ApplyResult, CloudProblem, Elsewhere, ErrorKind, Input, LastKnown, Observation, Outcome, Problem, Target,
};
pub use plan::{Apply, MAX_APPLIES_PER_PASS, Plan, plan};
pub use status::{MAX_CLUSTERS_SHOWN, SHOWN_WHOLE};

#[cfg(test)]
mod tests;
