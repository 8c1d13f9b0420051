//! What a plan is made from: the spec, the status as it stands, and what is known about each cluster.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::parameter_sync::{RedisParameterSyncSpec, RedisParameterSyncStatus};

/// Everything a pass looks at.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The spec.
    pub spec: &'a RedisParameterSyncSpec,
    /// metadata.generation; another one begins a new episode for every cluster.
    pub generation: i64,
    /// The annotation managedredis.dev/reconcile-requested-at; a value that is not the last one handled begins new episodes.
    pub requested_at: Option<&'a str>,
    /// The status as it was last written. It must not be an older copy from a cache: attempts are counted in it.
    pub previous: Option<&'a RedisParameterSyncStatus>,
    /// The clusters, in any order, or what keeps the operator from telling which they are.
    pub targets: Result<&'a [Target], &'a Problem>,
    /// Clusters that the spec means and that are not among the targets, because an object covers no more than `most`.
    pub beyond: usize,
    /// How many clusters one object covers.
    pub most: usize,
    /// The time of this pass.
    pub now: Timestamp,
    /// How often the clusters are looked at when nothing is under way.
    pub poll_interval: Duration,
    /// A random number in [0, 1).
    pub jitter: f64,
    /// IDs of clusters whose connection has no room for another request now: their turn comes later.
    pub held: &'a HashSet<String>,
}

/// One cluster this object is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// ID of the cluster or instance set; of a reference that has none yet, the reference's name.
    pub id: String,
    /// Name of the cluster, if known.
    pub name: Option<String>,
    /// What is known about it.
    pub outcome: Outcome,
    /// What other objects have to do with it.
    pub elsewhere: Elsewhere,
    /// What the status of its RedisClusterRef shows, which goes on standing while the cloud cannot be read.
    pub last_known: Option<LastKnown>,
}

/// A parameter group as the status of a RedisClusterRef shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastKnown {
    /// ID of the parameter group.
    pub group_id: Option<String>,
    /// Sync status in the provider's word.
    pub sync_status: Option<String>,
}

/// What other objects have to do with a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// The older RedisParameterSync that applies its parameter group, as `<namespace>/<name>`; this one only watches then.
    pub applied_by: Option<String>,
    /// When another object last asked for the application.
    pub asked_at: Option<Timestamp>,
}

/// What is known about one cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The cloud described it.
    Observed(Observation),
    /// It was not read yet; what the status says of it stays.
    Pending,
    /// The cloud does not have it.
    NotFound {
        /// Which cluster is missing where, as a sentence.
        message: String,
    },
    /// It has no parameter group that can be applied (an NCP reference, or none in its detail).
    NotSupported {
        /// Why, as a sentence.
        message: String,
    },
    /// It could not be read.
    Unavailable {
        /// Why, in a word.
        reason: CloudProblem,
        /// Why, as a sentence that stays the same while the cause does (no trace IDs, no times).
        message: String,
    },
}

/// One answer of the cloud about one cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// State of the cluster in the provider's word (KakaoCloud `status`).
    pub state: Option<String>,
    /// ID of its parameter group (KakaoCloud `parameterGroupId`).
    pub group_id: Option<String>,
    /// Name of its parameter group (KakaoCloud `parameterGroupName`).
    pub group_name: Option<String>,
    /// Sync status in the provider's word (KakaoCloud `parameterGroupSyncStatus`); a list may leave it out.
    pub sync_status: Option<String>,
    /// When the request for this answer was sent.
    pub observed_at: Timestamp,
}

/// Why it cannot be told which clusters this object is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Problem {
    /// The operator has not read the references or the cloud's list yet; the status stays as it is.
    Pending,
    /// The RedisClusterRef does not exist.
    ReferenceNotFound {
        /// Which one, as a sentence.
        message: String,
    },
    /// The selector cannot be used.
    InvalidSelector {
        /// Why, as a sentence.
        message: String,
    },
    /// The selector selects no reference.
    NoClusters {
        /// Which selector, as a sentence.
        message: String,
    },
    /// The cloud's list could not be read; the clusters stay as they were last seen.
    Unavailable {
        /// Why, in a word.
        reason: CloudProblem,
        /// Why, as a sentence that stays the same while the cause does.
        message: String,
    },
}

/// Why the cloud could not be read; the words are those of RedisClusterRef's conditions. Ordered from what needs a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CloudProblem {
    /// The Secret or a key of it is missing.
    CredentialsNotFound,
    /// The cloud does not accept the credential.
    CredentialsRejected,
    /// The credential may not do this.
    PermissionDenied,
    /// The operator knows no endpoint for the region.
    UnknownRegion,
    /// Several clusters have the name.
    AmbiguousName,
    /// The reference is suspended, so nobody reads its cluster.
    Suspended,
    /// The cloud asks to slow down.
    RateLimited,
    /// The cloud cannot be reached or fails.
    CloudUnavailable,
    /// The answer could not be understood.
    UnexpectedResponse,
}

impl CloudProblem {
    /// The reason in a condition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CredentialsNotFound => "CredentialsNotFound",
            Self::CredentialsRejected => "CredentialsRejected",
            Self::PermissionDenied => "PermissionDenied",
            Self::UnknownRegion => "UnknownRegion",
            Self::AmbiguousName => "AmbiguousName",
            Self::Suspended => "Suspended",
            Self::RateLimited => "RateLimited",
            Self::CloudUnavailable => "CloudUnavailable",
            Self::UnexpectedResponse => "UnexpectedResponse",
        }
    }

    /// Whether it lasts until somebody helps.
    pub fn stalls(self) -> bool {
        match self {
            Self::CredentialsNotFound
            | Self::CredentialsRejected
            | Self::PermissionDenied
            | Self::UnknownRegion
            | Self::AmbiguousName => true,
            Self::Suspended | Self::RateLimited | Self::CloudUnavailable | Self::UnexpectedResponse => false,
        }
    }
}

/// What the cloud answered to one request for application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyResult {
    /// 2xx: it was accepted; the result shows in the sync status.
    Accepted,
    /// 409: another operation runs. Not an attempt.
    Busy,
    /// It failed.
    Error {
        /// The cloud's error code, or the HTTP status.
        code: Option<String>,
        /// What happened, as a sentence without secrets.
        message: String,
        /// Whether the cloud was asked at all.
        kind: ErrorKind,
    },
}

/// Whether a failed request counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The cloud refused, failed, or may have received it (any HTTP error but 409, a time-out, a reset): an attempt.
    Failed,
    /// It certainly never reached the cloud (no connection, no credential to sign it with): not an attempt.
    NotSent,
}
