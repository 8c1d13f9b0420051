//! The three custom resources of the group `managedredis.dev`, and what they share.
//!
//! Nothing here does I/O. The types are the single source of the CRDs: [`crds`] derives them, `cargo xtask generate` writes
//! them to `crds/`.

#![expect(clippy::duplicated_attributes, reason = "print columns of one kind share their types")]
#![expect(unreachable_pub, reason = "the kinds are derived with a module of their own, out of which they are exported")]

pub mod cluster_ref;
pub mod conditions;
pub mod crd;
pub mod flush_request;
pub mod parameter_sync;
pub mod reasons;
pub mod shared;
pub mod target;

pub use cluster_ref::{RedisClusterRef, RedisClusterRefSpec, RedisClusterRefStatus};
pub use crd::crds;
pub use flush_request::{RedisFlushRequest, RedisFlushRequestSpec, RedisFlushRequestStatus};
pub use parameter_sync::{RedisParameterSync, RedisParameterSyncSpec, RedisParameterSyncStatus};
pub use reasons::Reason;
pub use target::{Provider, Target, TargetError, TargetQuery};

/// API group of all three kinds.
pub const GROUP: &str = "managedredis.dev";

/// The field manager under which the operator applies everything it writes.
pub const FIELD_MANAGER: &str = "managed-redis-operator";

/// Any new value of this annotation forces a fresh read of the cloud; it is echoed in `status.lastHandledReconcileAt`.
pub const RECONCILE_REQUESTED_AT: &str = "managedredis.dev/reconcile-requested-at";

/// Longest value of [`RECONCILE_REQUESTED_AT`] that is echoed. The rest is cut, so that an annotation cannot fill the status.
const MAX_ECHOED_BYTES: usize = 256;

/// The value of the reconcile-requested-at annotation of an object, if it has one.
pub fn reconcile_requested_at<K: kube::Resource>(object: &K) -> Option<String> {
    let value = object.meta().annotations.as_ref()?.get(RECONCILE_REQUESTED_AT)?;
    Some(crate::text::printable(echoed(value)).into_owned())
}

/// The part of a value of [`RECONCILE_REQUESTED_AT`] that is echoed.
pub fn echoed(value: &str) -> &str {
    &value[..value.floor_char_boundary(MAX_ECHOED_BYTES)]
}

#[cfg(test)]
mod tests;
