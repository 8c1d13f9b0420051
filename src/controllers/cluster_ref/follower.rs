//! What other kinds are told about references. They depend on this kind; it knows none of them.

use std::sync::Arc;

use crate::controllers::problem::Problem;
use crate::inventory::{Connection, Observation};
use crate::object_key::ObjectKey;

/// How a reference is connected, as its own reconcile left it.
#[derive(Clone, Debug)]
pub enum ReferenceConnection {
    /// To this connection.
    Connected(Arc<Connection>),
    /// Not at all, for this reason.
    Blocked(Arc<Problem>),
}

/// A kind that follows references.
pub trait Follower: Send + Sync {
    /// A reference was created, changed or deleted.
    fn reference_changed(&self, key: &ObjectKey);

    /// A reconcile of the reference has found out how it is connected, and what there is to see.
    fn reference_observed(
        &self,
        _key: &ObjectKey,
        _connection: &ReferenceConnection,
        _observation: Option<&Observation>,
    ) {
    }

    /// The reference is suspended or gone, so it has no connection.
    fn reference_disconnected(&self, _key: &ObjectKey) {}
}
