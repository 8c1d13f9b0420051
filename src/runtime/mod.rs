//! The machinery of a controller that no kind owns: it knows the Kubernetes API, no kind and no cloud.
//!
//! A kind implements [`reconcile::Reconcile`]. [`runner`] runs its controller: it takes the changes from the watches ([`watch`],
//! [`watches`], [`watch_health`]) into the [`store`] and the [`queue`], and reconciles with a bounded number of [`workers`], a
//! deadline and a backoff ([`requeue`]). What the controllers of all kinds share is the [`machinery`].
//! [`trigger`] sends an object back into its queue; [`status`] writes a status, within its [`write_limit`]; [`events`] publishes
//! events; [`guard`] and [`stored`] keep what one object holds from costing the others.

pub(crate) mod events;
pub(crate) mod guard;
pub(crate) mod invalid;
pub(crate) mod machinery;
pub(crate) mod queue;
pub(crate) mod reconcile;
pub(crate) mod requeue;
pub(crate) mod runner;
pub(crate) mod status;
pub(crate) mod store;
pub(crate) mod stored;
pub(crate) mod trigger;
pub(crate) mod watch;
pub(crate) mod watch_failure;
pub(crate) mod watch_health;
pub(crate) mod watch_time;
pub(crate) mod watches;
pub(crate) mod workers;
pub(crate) mod write_limit;
