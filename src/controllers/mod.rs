//! One folder a kind: a thin reconcile (observe → plan → act → report), a pure plan, the status it reports.
//!
//! What all kinds share: [`context`] (what a reconcile may touch), [`credentials`], [`problem`]. The machinery below them, which
//! knows no kind, is in [`crate::runtime`].

pub mod cluster_ref;
pub mod context;
pub mod credentials;
pub mod flush_request;
pub mod parameter_sync;
pub mod problem;
