//! One folder a kind: a thin reconcile (observe → plan → act → report), a pure plan, the status it reports.
//!
//! [`kinds`] registers the kinds, and [`kind`] is what the operator asks of each of them. What all kinds share: [`context`] (what a
//! reconcile may touch), [`secrets`], [`subscription`], [`problem`]. The machinery below them, which knows no kind, is in
//! [`crate::runtime`].

pub mod cluster_ref;
pub mod context;
pub mod flush_request;
#[cfg(test)]
mod golden;
pub mod kind;
pub mod kinds;
mod messages;
pub mod parameter_sync;
pub mod problem;
pub mod secrets;
pub mod subscription;
