//! A flush request as one read of the API server showed it.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::api::flush_request::{FlushPhase, RedisFlushRequest, RedisFlushRequestSpec, RedisFlushRequestStatus};
use crate::api::reconcile_requested_at;

/// Keeps a request in the API server from its first attempt until its verdict is written and its claim is settled.
pub const FINALIZER: &str = "managedredis.dev/flush";

/// A request as one read of the API server showed it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRequest {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID: an object that is created again under the same name has another.
    pub uid: String,
    /// The version that every write of this object carries.
    pub resource_version: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.creationTimestamp`.
    pub created_at: Timestamp,
    /// `metadata.deletionTimestamp`.
    pub deleted_at: Option<Timestamp>,
    /// Whether [`FINALIZER`] is on it.
    pub finalizer: bool,
    /// The annotation managedredis.dev/reconcile-requested-at.
    pub requested_at: Option<String>,
    /// The spec, immutable.
    pub spec: RedisFlushRequestSpec,
    /// The status; a fresh object has the default.
    pub status: RedisFlushRequestStatus,
}

/// The time from which on nothing may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The time.
    pub at: Timestamp,
    /// The field that it comes from: `notAfter` or `startDeadline`.
    pub field: &'static str,
}

impl StoredRequest {
    /// Reads an object that the API server returned; none if it lacks what every stored object has.
    #[must_use]
    pub fn of(object: &RedisFlushRequest) -> Option<Self> {
        let meta = &object.metadata;
        Some(Self {
            namespace: meta.namespace.clone()?,
            name: meta.name.clone()?,
            uid: meta.uid.clone()?,
            resource_version: meta.resource_version.clone()?,
            generation: meta.generation.unwrap_or_default(),
            created_at: meta.creation_timestamp.as_ref()?.0,
            deleted_at: meta.deletion_timestamp.as_ref().map(|time| time.0),
            finalizer: object.finalizers().iter().any(|finalizer| finalizer == FINALIZER),
            requested_at: reconcile_requested_at(object),
            spec: object.spec.clone(),
            status: object.status.clone().unwrap_or_default(),
        })
    }

    /// The phase. A status without a phase belongs to a request that no reconcile has looked at, so it counts as Pending.
    #[must_use]
    pub fn phase(&self) -> FlushPhase {
        self.status.phase.unwrap_or(FlushPhase::Pending)
    }

    /// `spec.requestID`, by default `<namespace>/<name>`.
    #[must_use]
    pub fn request_id(&self) -> String {
        self.spec.request_id.clone().unwrap_or_else(|| format!("{}/{}", self.namespace, self.name))
    }

    /// The ID of the attempt in the status, "" if there is none.
    #[must_use]
    pub fn attempt_id(&self) -> &str {
        self.status.attempt.as_ref().map_or("", |attempt| attempt.id.as_str())
    }

    /// The ID of the attempt that was not executed according to the status, "" if it says that of none. It is a fact about a
    /// random ID, written together with it, so it stays true however old the status is and whatever part of it is lost.
    #[must_use]
    pub fn attempt_not_executed(&self) -> &str {
        self.status.attempt.as_ref().filter(|attempt| attempt.not_executed).map_or("", |attempt| attempt.id.as_str())
    }

    /// Whether the status records a send without its end. In phase Pending that is a contradiction: the phase was lost or set
    /// back.
    #[must_use]
    pub fn may_have_sent(&self) -> bool {
        let open_attempt = self.status.attempt.as_ref().is_some_and(|attempt| !attempt.not_executed);
        open_attempt || self.status.sent_time.is_some()
    }

    /// When the flush was sent, as far as the status knows.
    #[must_use]
    pub fn sent_at(&self) -> Timestamp {
        let attempt = self.status.attempt.as_ref().map(|attempt| &attempt.started_at);
        self.status.sent_time.as_ref().or(attempt).map_or(self.created_at, |time| time.0)
    }

    /// The earlier of `notAfter` and creation plus `startDeadline`.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        let patience = if self.spec.start_deadline.is_negative() {
            Duration::ZERO
        } else {
            Duration::from(self.spec.start_deadline)
        };
        let start = self.created_at.checked_add(patience).unwrap_or(Timestamp::MAX);
        match &self.spec.not_after {
            Some(not_after) if not_after.0 < start => Deadline { at: not_after.0, field: "notAfter" },
            _ => Deadline { at: start, field: "startDeadline" },
        }
    }
}
