//! What a kind has to provide so that its objects can be reconciled.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use super::stored::Watched;
use super::workers::Worker;
use crate::object_key::ObjectKey;

/// A reconcile that takes longer than this is given up and tried again.
pub(super) const DEADLINE: Duration = Duration::from_secs(120);

/// What came of a reconcile, for metrics and the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The label of `reconcile_total`.
    pub word: &'static str,
    /// When to look again, if nothing happens before.
    pub requeue_after: Duration,
}

impl Outcome {
    /// The object is as it should be.
    pub fn settled(requeue_after: Duration) -> Self {
        Self { word: "settled", requeue_after }
    }

    /// Something was written.
    pub fn applied(requeue_after: Duration) -> Self {
        Self { word: "applied", requeue_after }
    }
}

/// Why a reconcile has to be done again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The Kubernetes API did not do as asked.
    #[error("the Kubernetes API: {0}")]
    Kube(#[from] kube::Error),
    /// The Kubernetes API refuses to record what the reconcile came to, and will do so again: an invalid object, an admission
    /// webhook, a quota.
    #[error("the Kubernetes API refuses the write: {0}")]
    Refused(String),
    /// It took too long.
    #[error("the reconcile took longer than {} s", DEADLINE.as_secs())]
    Deadline,
    /// A bug.
    #[error("the reconcile panicked; this is a bug of the operator")]
    Panic,
}

/// A kind with a controller.
pub trait Reconcile: Watched + Debug {
    /// Name in logs and metrics.
    const KIND: &'static str;

    /// A finalizer of this operator. It is taken off objects that cannot be read when they are deleted.
    const FINALIZER: Option<&'static str> = None;

    /// What the kind's reconciles may touch.
    type Context: Send + Sync + 'static;

    /// Brings one object up to date. The worker is held until the end, unless the reconcile leaves it before.
    fn reconcile(
        self: Arc<Self>,
        ctx: Arc<Self::Context>,
        worker: Worker,
    ) -> impl Future<Output = Result<Outcome, ReconcileError>> + Send;

    /// An object was created, changed, or deleted: triggers the objects that depend on it.
    fn changed(_ctx: &Self::Context, _key: &ObjectKey) {}

    /// An object is gone: what the context keeps about it goes too.
    fn forget(ctx: &Self::Context, key: &ObjectKey);
}
