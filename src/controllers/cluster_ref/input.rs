//! What the plan of a reference looks at. Values only.

use std::time::Duration;

use jiff::Timestamp;

use super::config_map::state::ConfigMapState;
use crate::api::cluster_ref::{RedisClusterRefSpec, RedisClusterRefStatus};
use crate::controllers::problem::Problem;
use crate::inventory::Observation;

/// Everything a plan looks at.
#[derive(Debug)]
pub struct Input<'a> {
    /// The spec.
    pub spec: &'a RedisClusterRefSpec,
    /// The object's metadata.generation.
    pub generation: i64,
    /// The reconcile-requested-at annotation.
    pub requested_at: Option<String>,
    /// The status as it is stored.
    pub previous: &'a RedisClusterRefStatus,
    /// What is known of the Redis.
    pub cloud: CloudObservation,
    /// What is known of the ConfigMap that the spec names.
    pub config_map: ConfigMapState,
    /// Whether the ConfigMap that an earlier spec named could not be deleted, so that it has to be tried again.
    pub obsolete_remains: bool,
    /// How often an unchanged status is written again, for its lastObservedTime.
    pub heartbeat: Duration,
    /// Where in each heartbeat this object has its turn, so that those of many objects are spread evenly.
    pub phase: Duration,
    /// The time.
    pub now: Timestamp,
}

/// What is known of the Redis.
#[derive(Debug)]
pub enum CloudObservation {
    /// The spec says not to read the cloud.
    Suspended,
    /// The cloud could not even be asked.
    Blocked(Problem),
    /// What the inventory knows.
    Read(Observation),
}

impl CloudObservation {
    /// The inventory's part, if the inventory was asked.
    pub(super) fn read(&self) -> Option<&Observation> {
        match self {
            Self::Read(observation) => Some(observation),
            Self::Suspended | Self::Blocked(_) => None,
        }
    }
}
