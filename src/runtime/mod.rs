//! The machinery of a controller that no kind owns: it knows the Kubernetes API, no kind and no cloud.
//!
//! [`runner`] runs a controller: it takes the changes from the watches ([`watch`], [`watches`], [`watch_health`]) into the
//! [`store`] and the [`queue`], and reconciles with a bounded number of [`workers`], a deadline and a backoff ([`requeue`]).
//! [`trigger`] sends an object back into its queue; [`status`] writes a status, within its [`write_limit`]; [`events`] publishes
//! events; [`guard`] and [`stored`] keep what one object holds from costing the others.

pub mod events;
pub mod guard;
pub mod queue;
pub mod requeue;
pub mod runner;
pub mod status;
pub mod store;
pub mod stored;
pub mod trigger;
pub mod watch;
pub mod watch_failure;
pub mod watch_health;
pub mod watch_time;
pub mod watches;
pub mod workers;
pub mod write_limit;
