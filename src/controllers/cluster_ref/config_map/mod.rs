//! The ConfigMap of `spec.connectionConfigMap`, from which applications take the connection.
//!
//! [`content`] has the keys that it holds, [`state`] what is known of it, [`object`] reads, writes and deletes it, [`writes`]
//! bounds the writes under way, and [`origin`] tells which object it was made for.

pub(super) mod content;
pub mod object;
mod origin;
pub mod state;
pub mod writes;
