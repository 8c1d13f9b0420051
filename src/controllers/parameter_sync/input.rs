//! What a plan is made from: the spec, the status as it is stored, and what was observed of each cluster.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::cluster_ref::ParameterGroupStatus;
use crate::api::parameter_sync::{RedisParameterSyncSpec, RedisParameterSyncStatus, SyncError};
use crate::controllers::problem::Problem;

/// Everything a plan looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'a> {
    /// The spec.
    pub spec: &'a RedisParameterSyncSpec,
    /// `metadata.generation`; another one begins a new episode for every cluster.
    pub generation: i64,
    /// The annotation managedredis.dev/reconcile-requested-at; a value that is not the last one handled begins new episodes.
    pub refresh_requested: Option<&'a str>,
    /// The status as it was last written. It must not be an older copy from a cache: attempts are counted in it.
    pub previous: Option<&'a RedisParameterSyncStatus>,
    /// The clusters, in any order, or why it is not known which they are.
    pub clusters: Result<&'a [ObservedCluster], &'a Unresolved>,
    /// How many clusters the spec means beside these, because there are more than `max_clusters`.
    pub left_out: usize,
    /// How many clusters one object keeps in sync.
    pub max_clusters: usize,
    /// The time of this pass.
    pub now: Timestamp,
    /// How often the clusters are observed when nothing is under way.
    pub poll_interval: Duration,
    /// A random number in [0, 1).
    pub jitter: f64,
    /// IDs of clusters at whose connection this object has no slot: no application is requested for them in this pass.
    pub without_slot: &'a HashSet<String>,
}

/// One cluster that the spec means.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ObservedCluster {
    /// ID of the cluster or instance set; of a reference that has none yet, the reference's name.
    pub id: String,
    /// Name of the cluster, if known.
    pub name: Option<String>,
    /// What was observed of it.
    pub observation: ClusterObservation,
    /// What other objects have to do with it.
    pub others: OtherSyncs,
    /// The parameter group that the status of its RedisClusterRef shows, which stays there while the cloud cannot be read.
    pub shown_group: Option<ParameterGroupStatus>,
}

/// What other RedisParameterSyncs have to do with a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OtherSyncs {
    /// The older object that applies the parameter group, as `<namespace>/<name>`; this one only watches the cluster then.
    pub owner: Option<String>,
    /// When another object last requested the application.
    pub last_request_at: Option<Timestamp>,
}

/// What was observed of one cluster.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ClusterObservation {
    /// The cloud described it.
    Read(GroupObservation),
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
    /// It could not be read. The sentence stays the same while the cause does (no trace IDs, no times).
    Unreadable(Problem),
}

/// One answer of the cloud about one cluster and its parameter group.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GroupObservation {
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

impl GroupObservation {
    /// Whether the cluster is Running. Stricter than whether it serves: no application is requested in a state such as
    /// `Running(…)`, whose meaning is not documented.
    pub(super) fn is_running(&self) -> bool {
        self.state.as_deref().is_some_and(|state| state.trim().eq_ignore_ascii_case("Running"))
    }
}

/// Why it is not known which clusters the spec means.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Unresolved {
    /// The operator has not read the references or the cloud's list yet; the status stays as it is.
    Pending,
    /// The spec means no cluster: the reference or the group's clusters do not exist, or the selector matches nothing.
    NoClusters(Problem),
    /// The cloud's list could not be read; the clusters stay as they were last observed.
    Unreadable(Problem),
}

/// What the cloud answered to one request for application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ApplyResult {
    /// 2xx: it was accepted; the result shows in the sync status.
    Accepted,
    /// 409: another operation is under way. Not an attempt.
    Busy,
    /// The cloud refused it, failed, or may have received it (any HTTP error but 409 and 429, a time-out, a reset): an attempt.
    Failed(SyncError),
    /// It certainly never reached the cluster (no connection, no credential to sign it with, 429): a failure, but not an attempt.
    NotSent(SyncError),
}
