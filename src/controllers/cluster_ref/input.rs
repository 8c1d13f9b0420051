//! What the plan of a reference looks at. Values only.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::cluster_ref::{ClusterStatus, EngineStatus, RedisClusterRefSpec, RedisClusterRefStatus};
use crate::controllers::problem::Problem;
use crate::inventory::Observation;

/// Everything a plan looks at.
#[derive(Debug)]
pub struct Input<'a> {
    /// What is wanted.
    pub spec: &'a RedisClusterRefSpec,
    /// The object's metadata.generation.
    pub generation: i64,
    /// The reconcile-requested-at annotation.
    pub requested_at: Option<String>,
    /// The status as it stands.
    pub previous: &'a RedisClusterRefStatus,
    /// What there is to see.
    pub view: View,
    /// The ConfigMap the spec names, as it stands.
    pub config_map: ConfigMapState,
    /// Whether the ConfigMap that an earlier spec named could not be deleted, so that it has to be tried again.
    pub renamed_remains: bool,
    /// How often an unchanged status is written again, for its lastObservedTime.
    pub heartbeat: Duration,
    /// Where in each heartbeat this object has its turn, so that those of many objects are spread evenly.
    pub phase: Duration,
    /// The time.
    pub now: Timestamp,
}

/// What there is to see.
#[derive(Debug)]
pub enum View {
    /// The spec says not to look.
    Suspended,
    /// The cloud could not even be asked.
    Blocked(Problem),
    /// What the inventory has.
    Seen(Observation),
}

/// The ConfigMap of `spec.connectionConfigMap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigMapState {
    /// None is wanted.
    NotWanted,
    /// There is none of that name.
    Absent,
    /// It belongs to this object.
    Owned {
        /// Its data.
        data: BTreeMap<String, String>,
        /// Whether it carries the stale annotation.
        stale: bool,
        /// Whether its owner and its marks are as they should be; else it came back from a backup, say.
        intact: bool,
    },
    /// Somebody else's.
    NotOwned,
    /// The operator was told to leave ConfigMaps alone, so nobody looked.
    Disabled,
    /// It cannot be read or written.
    Failed(MapProblem),
}

/// Why a ConfigMap cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapProblem {
    /// What happened, what it means.
    pub message: String,
    /// Whether it waits for somebody (a quota, a policy), or heals by itself.
    pub needs_a_person: bool,
    /// When to try again.
    pub again: Duration,
}

/// The last known picture, fresh or from the status.
pub(super) struct Picture {
    pub(super) state: Option<String>,
    pub(super) cluster: Option<ClusterStatus>,
    pub(super) engine: Option<EngineStatus>,
    pub(super) read_at: Option<Timestamp>,
}
