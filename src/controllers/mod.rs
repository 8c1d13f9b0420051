//! One folder a kind: a thin reconcile (observe → plan → act → report), a pure plan, the status it reports.
//!
//! [`kinds`] registers the kinds, and [`kind`] is what the operator asks of each of them. What all kinds share: [`context`] (what a
//! reconcile may touch), [`secrets`], [`subscription`], [`problem`]. The machinery below them, which knows no kind, is in
//! [`crate::runtime`].

pub mod cluster_ref;
pub(crate) mod context;
pub mod flush_request;
#[cfg(test)]
mod golden;
pub(crate) mod kind;
pub(crate) mod kinds;
mod messages;
pub(crate) mod parameter_sync;
pub(crate) mod problem;
pub(crate) mod secrets;
pub(crate) mod subscription;
