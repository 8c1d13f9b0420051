//! One folder a kind: a thin reconcile (observe → plan → act → report), a pure plan, the status it reports.
//!
//! What all kinds share: [`context`] (what a reconcile may touch), [`credentials`], [`report`] (status and events), [`pace`] (how
//! often), [`runner`] (concurrency, deadline, backoff) and its [`workers`], [`queue`], [`watch`] (lists and watches; [`watches`] and [`watch_health`] know how they
//! are), [`objects`] (what the watches brought, past the [`guard`], each as it is [`stored`]), [`wake`].

pub mod announcer;
pub mod cluster_ref;
pub mod context;
pub mod credentials;
pub mod flush_request;
pub mod guard;
pub mod objects;
pub mod pace;
pub mod parameter_sync;
pub mod problem;
pub mod queue;
pub mod report;
pub mod requeue;
pub mod runner;
pub mod stored;
pub mod wake;
pub mod watch;
pub mod watch_failure;
pub mod watch_health;
pub mod watch_time;
pub mod watches;
pub mod workers;
