//! The Redis as it was last known: as just observed or, until there is news, as the status has it.

use jiff::Timestamp;

use super::input::{CloudObservation, Input};
use crate::api::cluster_ref::{
    ClusterStatus, EngineStatus, ParameterGroupStatus, RedisClusterRefSpec, RedisClusterRefStatus,
};
use crate::inventory::{Observation, Observed};

/// The Redis as it was last known.
#[derive(Default)]
pub(super) struct LastKnown {
    pub(super) state: Option<String>,
    pub(super) cluster: Option<ClusterStatus>,
    pub(super) engine: Option<EngineStatus>,
    pub(super) read_at: Option<Timestamp>,
}

impl LastKnown {
    pub(super) fn of(input: &Input<'_>) -> Self {
        match &input.cloud {
            CloudObservation::Read(Observation { observed: Observed::Found(found), engine, .. }) => {
                let mut cluster = found.cluster();
                if found.parameters_read_at.is_none() && cluster.parameter_group.is_none() {
                    cluster.parameter_group = known_group(input.previous, &cluster);
                }
                Self {
                    state: found.state().map(str::to_owned),
                    cluster: Some(cluster),
                    engine: engine.as_deref().cloned(),
                    read_at: Some(found.read_at),
                }
            }
            // The cloud has no such Redis, or does not say which one it is.
            CloudObservation::Read(Observation {
                observed: Observed::Absent | Observed::Ambiguous(_) | Observed::Members(_),
                ..
            }) => Self::default(),
            _ if !describes_target(input.spec, input.previous) => Self::default(),
            _ => Self {
                state: input.previous.state.clone(),
                cluster: input.previous.cluster.clone(),
                engine: input.previous.engine.clone(),
                read_at: input.previous.last_observed_time.as_ref().map(|time| time.0),
            },
        }
    }
}

/// The parameter group that the status has of this cluster. After a restart it stays until the group is read again.
fn known_group(previous: &RedisClusterRefStatus, cluster: &ClusterStatus) -> Option<ParameterGroupStatus> {
    let known = previous.cluster.as_ref().filter(|known| known.id.is_some() && known.id == cluster.id)?;
    known.parameter_group.clone()
}

/// Whether the status describes the Redis that the spec names now.
fn describes_target(spec: &RedisClusterRefSpec, status: &RedisClusterRefStatus) -> bool {
    let (Ok(target), Some(cluster)) = (spec.target(), &status.cluster) else { return false };
    status.provider.as_deref() == Some(target.provider().as_str()) && target.query().selects(cluster)
}
