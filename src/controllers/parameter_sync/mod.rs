//! `RedisParameterSync`: keeps the parameter groups of some clusters applied.
//!
//! A pass is `observe` → `plan` → write the status → request each of the plan's applications → write the status with the answers.
//! The plan is pure: the time, the jitter and what the cloud said are arguments. From below: `messages`, `input`, `entry` and `policy`
//! (one cluster's stored episode, and the rules for it), `episode` (the plan for one cluster), `status` and `events`, `plan` (for all
//! clusters of an object). What is remembered between passes: `membership`, `ownership`, `apply_slots`, `reminders`.
//!
//! Invariants, each held by a property test:
//! - An attempt is counted in the status before the application is requested. A crash after that write costs one attempt and never
//!   adds a request: in one episode at most `maxAttempts` applications of a cluster are requested (a 409 is no attempt).
//! - The same input gives the same status, and planning again on that status changes nothing.
//! - `Reconciling` and `Stalled` are never both present, and `Ready` is True only if there are clusters and all are In-Sync.

mod apply;
mod apply_slots;
mod claims;
pub(crate) mod context;
mod entry;
mod episode;
mod events;
mod input;
mod membership;
pub(super) mod messages;
mod not_ready;
mod notify;
mod observe;
mod ownership;
mod plan;
mod policy;
mod reconcile;
mod reference;
pub(crate) mod reminders;
mod seed;
mod status;
mod sync_status;
mod times;
mod write;

#[cfg(test)]
mod tests;
