//! What one RedisParameterSync claims: the clusters whose parameter groups it keeps applied.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;

use crate::api::RedisParameterSync;
use crate::api::parameter_sync::SyncPhase;
use crate::api::shared::KakaoParameterGroup;
use crate::object_key::ObjectKey;

/// A RedisParameterSync in the order in which ownership is given: by creation, then by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Claimant {
    created: Timestamp,
    key: ObjectKey,
}

impl Claimant {
    /// The object as it is stored in the API server.
    pub(super) fn of(sync: &RedisParameterSync) -> Self {
        Self {
            created: sync.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0),
            key: ObjectKey::of(&sync.metadata),
        }
    }

    /// Its namespace and name.
    pub(super) fn key(&self) -> &ObjectKey {
        &self.key
    }
}

impl fmt::Display for Claimant {
    /// `<namespace>/<name>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

/// What one object claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Claims {
    /// IDs of clusters that its credential has read, or is about to read.
    pub clusters: BTreeSet<String>,
    /// IDs of clusters that could not be read in this pass; those that were claimed before stay claimed.
    pub unreadable: BTreeSet<String>,
    /// A whole parameter group.
    pub group: Option<ClaimedGroup>,
}

/// A parameter group all of whose clusters are claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClaimedGroup {
    /// Label of the connection; empty means every connection.
    pub connection: String,
    /// The group.
    pub group: KakaoParameterGroup,
}

/// What the status of an object tells about its claims; read once, after a restart.
#[derive(Debug)]
pub(super) struct StoredClaims {
    /// The object.
    pub claimant: Claimant,
    /// IDs of the clusters that it claimed.
    pub clusters: BTreeSet<String>,
    /// A parameter group with more clusters than the status shows. Its connection is not known yet: until the object's first pass
    /// the group is claimed on every connection.
    pub group: Option<KakaoParameterGroup>,
    /// When it last requested an application, by the cluster's ID.
    pub last_requests: Vec<(String, Timestamp)>,
}

impl StoredClaims {
    /// What the object's status says.
    pub(super) fn of(sync: &RedisParameterSync) -> Self {
        let entries = || sync.status.iter().flat_map(|status| &status.clusters);
        let last_requests = entries().filter_map(|entry| Some((entry.id.clone(), entry.last_attempt_time.as_ref()?.0)));
        let was_read = entries().filter(|entry| entry.phase != SyncPhase::NotFound && entry.sync_status.is_some());
        let group = sync.spec.parameter_group.as_ref().filter(|_| has_unshown_clusters(sync));
        Self {
            claimant: Claimant::of(sync),
            clusters: was_read.map(|entry| entry.id.clone()).collect(),
            group: group.map(|group| group.kakao_cloud.clone()),
            last_requests: last_requests.collect(),
        }
    }
}

/// Whether the status of an object counts clusters that it does not show.
pub(super) fn has_unshown_clusters(sync: &RedisParameterSync) -> bool {
    sync.status.as_ref().is_some_and(|status| {
        usize::try_from(status.total.unwrap_or(0)).is_ok_and(|total| total > status.clusters.len())
    })
}
