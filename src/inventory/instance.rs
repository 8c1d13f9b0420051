//! The mapper: one managed Redis as the clouds describe it, in the terms of `RedisClusterRef`.

use crate::api::Provider;
use crate::api::cluster_ref::{
    BackupStatus, ClusterStatus, EndpointsStatus, FlavorStatus, NodeStatus, ParameterGroupStatus, SubnetAssignment,
};
use crate::api::shared::whole_seconds;
use crate::cloud::{CloudError, kakao, ncp, normalise};

/// One Redis as a cloud describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// The cloud.
    pub provider: Provider,
    /// State in the provider's own word.
    pub state: Option<String>,
    /// Everything else.
    pub cluster: ClusterStatus,
    /// Whether this is all the cloud knows; KakaoCloud's list can lack the parameter group, which a single read then has.
    pub complete: bool,
}

/// Most texts that the lists of one instance may have together: a status that is too large for an object cannot be stored.
const MAX_LISTED: usize = 1024;

impl Instance {
    /// The error for an instance that cannot be used.
    pub(super) fn refused(&self, problem: &'static str) -> CloudError {
        let operation = match self.provider {
            Provider::KakaoCloud => "listClusters",
            Provider::Ncp => "getCloudDBInstanceList",
        };
        CloudError::unexpected(self.provider, operation, problem)
    }

    /// An instance that fits into an object: lists that are too long are left out as a whole, for a part would look like all.
    fn bounded(mut self) -> Self {
        let cluster = &mut self.cluster;
        let assigned: usize = cluster.subnet_assignments.iter().map(|shard| 1 + shard.replicas.len()).sum();
        let plain = cluster.subnet_ids.len() + cluster.security_group_ids.len();
        if plain + assigned + cluster.nodes.len() * TEXTS_OF_NODE > MAX_LISTED {
            cluster.nodes = Vec::new();
            cluster.subnet_assignments = Vec::new();
            cluster.subnet_ids = Vec::new();
            cluster.security_group_ids = Vec::new();
        }
        self
    }
}

/// Texts of a [`NodeStatus`].
const TEXTS_OF_NODE: usize = 6;

/// A KakaoCloud cluster or instance set.
impl From<kakao::Cluster> for Instance {
    fn from(cluster: kakao::Cluster) -> Self {
        let complete = cluster.parameter_group_id.is_some() && cluster.parameter_group_sync_status.is_some();
        let group = ParameterGroupStatus {
            id: cluster.parameter_group_id,
            name: cluster.parameter_group_name,
            sync_status: cluster.parameter_group_sync_status.map(normalise::word),
        };
        let endpoints = EndpointsStatus { primary: cluster.endpoints.primary, read: cluster.endpoints.read };
        let flavor =
            FlavorStatus { id: cluster.flavor_id, name: None, vcpus: cluster.vcpus, memory_mib: cluster.memory_mib };
        Instance {
            provider: Provider::KakaoCloud,
            state: cluster.status.map(normalise::word),
            complete,
            cluster: ClusterStatus {
                id: Some(cluster.id),
                name: cluster.name,
                description: cluster.description,
                project_id: cluster.project_id,
                engine: Some("Redis".to_owned()),
                engine_version: cluster.version,
                port: cluster.port.map(i32::from),
                mode: cluster.cluster_enabled.map(|on| if on { "Cluster" } else { "Standalone" }.to_owned()),
                high_availability: cluster.recovery_enabled,
                shard_count: cluster.shard_count,
                node_count: cluster.total_node_count,
                flavor: present(flavor),
                endpoints: present(endpoints),
                user_name: cluster.user_name,
                subnet_ids: cluster.subnet_ids,
                subnet_assignments: cluster
                    .subnet_assignments
                    .into_iter()
                    .map(|shard| SubnetAssignment { primary: shard.primary, replicas: shard.replicas })
                    .collect(),
                security_group_ids: cluster.security_group_ids,
                backup: cluster
                    .backup_schedule
                    .map(|backup| BackupStatus { schedule: backup.cron, retention_days: backup.retention_days }),
                creator: cluster.creator,
                license: cluster.license,
                created_at: cluster.created_at.map(whole_seconds),
                parameter_group: present(group),
                ..ClusterStatus::default()
            },
        }
        .bounded()
    }
}

/// An NCP Cloud DB for Redis instance. Its endpoint is the master's private domain; it is never sharded.
impl From<ncp::CloudDbInstance> for Instance {
    fn from(instance: ncp::CloudDbInstance) -> Self {
        let flavor = FlavorStatus {
            id: instance.product_code,
            name: None,
            vcpus: instance.vcpus,
            memory_mib: instance.memory_mib,
        };
        let group = instance.config_groups.into_iter().next().map(|group| ParameterGroupStatus {
            id: group.no,
            name: group.name,
            sync_status: None,
        });
        let nodes: Vec<NodeStatus> = instance.servers.into_iter().map(node).collect();
        let is_master = |node: &&NodeStatus| node.role.as_deref() == Some("Master");
        let endpoints = EndpointsStatus {
            primary: nodes.iter().find(is_master).and_then(|master| master.private_domain.clone()),
            read: None,
        };
        let backup = BackupStatus { schedule: instance.backup_time, retention_days: instance.backup_retention_days };
        Instance {
            provider: Provider::Ncp,
            state: instance.status.map(normalise::word),
            complete: true,
            cluster: ClusterStatus {
                id: instance.no,
                name: instance.service_name,
                engine: instance.engine.name,
                engine_version: instance.engine.version,
                port: instance.port.map(i32::from),
                mode: Some("Standalone".to_owned()),
                high_availability: instance.is_ha,
                node_count: i32::try_from(nodes.len()).ok().filter(|count| *count > 0),
                flavor: present(flavor),
                endpoints: present(endpoints),
                security_group_ids: instance.access_control_groups.into_iter().filter_map(|group| group.no).collect(),
                backup: present(backup),
                license: instance.license,
                created_at: instance.created_at.map(whole_seconds),
                parameter_group: group.and_then(present),
                zone: instance.zone.and_then(|zone| zone.code),
                needs_reboot: instance.needs_reboot,
                config_needs_reboot: instance.config_needs_reboot,
                reboot_scheduled_at: instance.reboot_scheduled_at.map(whole_seconds),
                nodes,
                ..ClusterStatus::default()
            },
        }
        .bounded()
    }
}

fn node(server: ncp::ServerInstance) -> NodeStatus {
    NodeStatus {
        role: server.role_name().map(|role| normalise::word(role.to_owned())),
        id: server.no,
        name: server.name,
        state: server.status.map(normalise::word),
        private_domain: server.private_dns_name,
        public_domain: server.public_dns_name,
        created_at: server.created_at.map(whole_seconds),
        started_at: server.started_at.map(whole_seconds),
    }
}

/// A group of fields, absent when none of them is known.
fn present<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What etcd takes at most, less half of it for spec, metadata and conditions.
    const MOST_BYTES: usize = 1536 * 1024 / 2;

    fn texts(count: usize) -> Vec<String> {
        vec!["x".repeat(512); count]
    }

    #[test]
    fn the_largest_picture_fits_into_an_object() {
        let node = |_| NodeStatus { name: Some("x".repeat(512)), ..NodeStatus::default() };
        let shard = || SubnetAssignment { primary: None, replicas: texts(99) };
        for (lists, kept) in [
            (ClusterStatus { subnet_ids: texts(MAX_LISTED), ..ClusterStatus::default() }, true),
            (ClusterStatus { subnet_ids: texts(MAX_LISTED + 1), ..ClusterStatus::default() }, false),
            (ClusterStatus { security_group_ids: texts(2000), ..ClusterStatus::default() }, false),
            (ClusterStatus { subnet_assignments: vec![shard(); 10], ..ClusterStatus::default() }, true),
            (ClusterStatus { subnet_assignments: vec![shard(); 11], ..ClusterStatus::default() }, false),
            (ClusterStatus { nodes: (0..170).map(node).collect(), ..ClusterStatus::default() }, true),
            (ClusterStatus { nodes: (0..171).map(node).collect(), ..ClusterStatus::default() }, false),
        ] {
            let whole = Instance { provider: Provider::Ncp, state: None, cluster: lists.clone(), complete: true };
            let bounded = whole.clone().bounded();
            assert_eq!(bounded == whole, kept);
            assert!(json!(bounded.cluster).to_string().len() < MOST_BYTES);
        }
    }
}
