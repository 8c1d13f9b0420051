//! The ConfigMap of `spec.connectionConfigMap`, from which applications take the connection.
//!
//! [`content`] decides what it should hold, [`object`] reads, writes and deletes it, [`writes`] bounds the writes under way, and
//! [`origin`] tells whose a ConfigMap is.

pub(super) mod content;
pub mod object;
mod origin;
pub mod state;
pub mod writes;
