//! KakaoCloud Redis: clusters, instance sets and flavors.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One KakaoCloud Redis cluster or (cluster mode off) instance set, as it is seeded and as the admin API shows it.
///
/// The names are those of the cloud's own body, except `behaviour`, which never leaves the stand-in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KakaoCluster {
    /// The cluster's ID; one is made up when it is empty.
    pub object_id: String,
    /// The project it belongs to.
    pub project_id: String,
    /// The name a person gave it; not unique.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Engine version, for example `7.2.11`.
    pub version: String,
    /// The TCP port Redis listens on.
    pub port: u16,
    /// Cluster mode.
    pub cluster_enabled: bool,
    /// Automatic failover; always true in cluster mode.
    pub recovery_enabled: bool,
    /// Shards; 0 when cluster mode is off.
    pub shard_count: u32,
    /// Primaries and replicas together.
    pub total_node_count: u32,
    /// The flavor's ID.
    pub flavor_id: String,
    /// Virtual CPUs of a node.
    pub vcpu: u32,
    /// Memory of a node in GiB.
    pub memory: u32,
    /// Host names; sent as "" until the cluster has been built. Made up from the name when empty.
    pub endpoints: KakaoEndpoints,
    /// Redis user; "-" stands for no authentication.
    pub user_name: String,
    /// Subnets the nodes are in.
    pub subnets: Vec<KakaoIdRef>,
    /// Where each shard's primary and replicas are.
    pub subnet_assignments: Vec<KakaoSubnetAssignment>,
    /// Security groups.
    pub security_groups: Vec<KakaoIdRef>,
    /// Automatic backups, or null.
    pub backup_schedule: Option<KakaoBackupSchedule>,
    /// Who made it.
    pub creator: String,
    /// Licence of the engine.
    pub license: String,
    /// The cloud's own word for the state. `Init` and `Creating` move on to `Running` by themselves.
    pub status: String,
    /// Parameter group, if it has one.
    pub parameter_group_id: Option<String>,
    /// The parameter group's name.
    pub parameter_group_name: Option<String>,
    /// The cloud's own word for how the group is applied: `In-Sync`, `Error-Sync`, `Applying`, …
    pub parameter_group_sync_status: Option<String>,
    /// When it was made; the stand-in's time when absent.
    pub created_at: Option<Timestamp>,
    /// How the stand-in treats it.
    pub behaviour: KakaoBehaviour,
}

/// How a cluster behaves over time and how its body is bent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KakaoBehaviour {
    /// The next so many applications of the parameter group fail. Counts down.
    pub apply_failures: u32,
    /// The sync status a failed application ends in; `Error-Sync` when absent.
    pub apply_failure_status: Option<String>,
    /// Seconds an application takes, instead of the seed's.
    pub apply_seconds: Option<u32>,
    /// Seconds in `Init`, instead of the seed's.
    pub init_seconds: Option<u32>,
    /// Seconds in `Creating`, instead of the seed's.
    pub create_seconds: Option<u32>,
    /// `Init` and `Creating` never end.
    pub stuck: bool,
    /// Whether the list carries the parameterGroup fields; by default it does unless cluster mode is on.
    pub list_parameter_group: Option<bool>,
    /// How `createdAt` is written.
    pub created_at_style: CreatedAtStyle,
    /// Fields left out of the bodies.
    pub omit: Vec<String>,
    /// Fields replaced in the bodies, whatever their type.
    pub overrides: Map<String, Value>,
}

/// The forms in which `createdAt` has been seen or documented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CreatedAtStyle {
    /// An RFC 3339 string.
    #[default]
    Text,
    /// An integer: seconds since the epoch.
    Seconds,
    /// An integer: milliseconds since the epoch.
    Milliseconds,
    /// `null`.
    ExplicitNull,
    /// No such field.
    Absent,
}

/// Host names of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KakaoEndpoints {
    /// Where writes go.
    pub primary_endpoint: String,
    /// Where reads may go; empty in cluster mode.
    pub read_endpoint: String,
}

/// A reference to another resource of the cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KakaoIdRef {
    /// The resource's ID.
    pub id: String,
}

impl KakaoIdRef {
    /// A reference to `id`.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into() }
    }
}

/// The subnets of one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KakaoSubnetAssignment {
    /// The primary's subnet.
    pub primary: KakaoIdRef,
    /// The replicas' subnets.
    #[serde(default)]
    pub replicas: Vec<KakaoIdRef>,
}

/// Automatic backups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KakaoBackupSchedule {
    /// When, as a cron expression.
    pub cron: String,
    /// How many days a backup is kept.
    pub retention_limit: u32,
}

/// A size of node that can be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KakaoFlavor {
    /// The flavor's ID.
    pub id: String,
    /// The flavor's name.
    pub name: String,
    /// Virtual CPUs (the clusters' bodies say `vcpu`).
    pub vcpus: u32,
    /// Memory in GiB.
    pub memory: u32,
}

const SUBNET_A: &str = "5b0e7c1a-3d42-4f6b-9a57-1c8f0d2e6b01";
const SUBNET_B: &str = "5b0e7c1a-3d42-4f6b-9a57-1c8f0d2e6b02";
const FLAVOR: &str = "0d9f4a62-71c8-4e35-b2aa-6f3e8c5d1002";

impl Default for KakaoCluster {
    /// A running instance set of two nodes whose parameter group is in sync, without ID or name.
    fn default() -> Self {
        Self {
            object_id: String::new(),
            project_id: "7c1f3a5b9d2e4f60817263544a5b6c7d".into(),
            name: String::new(),
            description: String::new(),
            version: "7.2.11".into(),
            port: 6379,
            cluster_enabled: false,
            recovery_enabled: true,
            shard_count: 0,
            total_node_count: 2,
            flavor_id: FLAVOR.into(),
            vcpu: 4,
            memory: 8,
            endpoints: KakaoEndpoints::default(),
            user_name: "-".into(),
            subnets: vec![KakaoIdRef::new(SUBNET_A), KakaoIdRef::new(SUBNET_B)],
            subnet_assignments: vec![shard()],
            security_groups: vec![KakaoIdRef::new("c4a9e2f7-8b61-4d03-a5ce-907b3f1d4e11")],
            backup_schedule: None,
            creator: "platform@shop.example".into(),
            license: "BSD-3-Clause".into(),
            status: "Running".into(),
            parameter_group_id: Some("e81b6d0c-25f9-4a7e-8c34-d1f07a9b5301".into()),
            parameter_group_name: Some("shop-defaults".into()),
            parameter_group_sync_status: Some("In-Sync".into()),
            created_at: None,
            behaviour: KakaoBehaviour::default(),
        }
    }
}

impl KakaoCluster {
    /// A running instance set (cluster mode off).
    pub fn instance_set(id: impl Into<String>, name: impl Into<String>) -> Self {
        Self { object_id: id.into(), name: name.into(), ..Self::default() }
    }

    /// A running cluster (cluster mode on) of three shards with a replica each.
    pub fn cluster_mode(id: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            object_id: id.into(),
            name: name.into(),
            cluster_enabled: true,
            shard_count: 3,
            total_node_count: 6,
            subnet_assignments: vec![shard(), shard(), shard()],
            ..Self::default()
        }
    }

    /// Whether the cloud still builds it, so that it has no endpoints yet.
    pub(crate) fn is_being_built(&self) -> bool {
        self.status.eq_ignore_ascii_case("init") || self.status.eq_ignore_ascii_case("creating")
    }
}

fn shard() -> KakaoSubnetAssignment {
    KakaoSubnetAssignment { primary: KakaoIdRef::new(SUBNET_A), replicas: vec![KakaoIdRef::new(SUBNET_B)] }
}

/// The flavors offered unless the seed names others.
pub(crate) fn default_flavors() -> Vec<KakaoFlavor> {
    [("r2.small", 2, 4), ("r2.medium", 4, 8), ("r2.large", 8, 16), ("r2.xlarge", 16, 32)]
        .into_iter()
        .zip(1..)
        .map(|((name, vcpus, memory), number)| KakaoFlavor {
            id: format!("0d9f4a62-71c8-4e35-b2aa-6f3e8c5d1{number:03}"),
            name: name.into(),
            vcpus,
            memory,
        })
        .collect()
}

/// The engine versions offered unless the seed names others, newest first.
pub(crate) fn default_versions() -> Vec<String> {
    ["7.2.11", "7.2.6", "7.0.15", "6.2.14", "6.2.5"].map(String::from).into()
}

/// The body of one cluster; `in_list` because the list leaves out the parameter group of some.
pub(crate) fn cluster_body(cluster: &KakaoCluster, in_list: bool) -> ClusterBody<'_> {
    let wire = WireCluster::of(cluster, in_list);
    let KakaoBehaviour { omit, overrides, .. } = &cluster.behaviour;
    if omit.is_empty() && overrides.is_empty() {
        return ClusterBody::Plain(Box::new(wire));
    }
    match serde_json::to_value(&wire) {
        Ok(mut body) => {
            super::bend(&mut body, omit, overrides);
            ClusterBody::Bent(body)
        }
        Err(_) => ClusterBody::Plain(Box::new(wire)),
    }
}

/// A cluster's body, ready to be written.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum ClusterBody<'a> {
    /// As the cloud sends it.
    Plain(Box<WireCluster<'a>>),
    /// With fields left out or replaced.
    Bent(Value),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WireCluster<'a> {
    project_id: &'a str,
    object_id: &'a str,
    name: &'a str,
    description: &'a str,
    version: &'a str,
    port: u16,
    cluster_enabled: bool,
    recovery_enabled: bool,
    shard_count: u32,
    total_node_count: u32,
    flavor_id: &'a str,
    vcpu: u32,
    memory: u32,
    endpoints: WireEndpoints<'a>,
    user_name: &'a str,
    subnets: &'a [KakaoIdRef],
    subnet_assignments: &'a [KakaoSubnetAssignment],
    security_groups: &'a [KakaoIdRef],
    backup_schedule: Option<&'a KakaoBackupSchedule>,
    creator: &'a str,
    license: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter_group_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter_group_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter_group_sync_status: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<WireTime>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireEndpoints<'a> {
    primary_endpoint: &'a str,
    read_endpoint: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireTime {
    Text(Timestamp),
    Number(i64),
    Null,
}

impl<'a> WireCluster<'a> {
    fn of(cluster: &'a KakaoCluster, in_list: bool) -> Self {
        let group = !in_list || cluster.behaviour.list_parameter_group.unwrap_or(!cluster.cluster_enabled);
        let shown = |field: &'a Option<String>| if group { field.as_deref() } else { None };
        let host = |name: &'a str| if cluster.is_being_built() { "" } else { name };
        Self {
            project_id: &cluster.project_id,
            object_id: &cluster.object_id,
            name: &cluster.name,
            description: &cluster.description,
            version: &cluster.version,
            port: cluster.port,
            cluster_enabled: cluster.cluster_enabled,
            recovery_enabled: cluster.recovery_enabled,
            shard_count: cluster.shard_count,
            total_node_count: cluster.total_node_count,
            flavor_id: &cluster.flavor_id,
            vcpu: cluster.vcpu,
            memory: cluster.memory,
            endpoints: WireEndpoints {
                primary_endpoint: host(&cluster.endpoints.primary_endpoint),
                read_endpoint: host(&cluster.endpoints.read_endpoint),
            },
            user_name: &cluster.user_name,
            subnets: &cluster.subnets,
            subnet_assignments: &cluster.subnet_assignments,
            security_groups: &cluster.security_groups,
            backup_schedule: cluster.backup_schedule.as_ref(),
            creator: &cluster.creator,
            license: &cluster.license,
            status: &cluster.status,
            parameter_group_id: shown(&cluster.parameter_group_id),
            parameter_group_name: shown(&cluster.parameter_group_name),
            parameter_group_sync_status: shown(&cluster.parameter_group_sync_status),
            created_at: created_at(cluster),
        }
    }
}

fn created_at(cluster: &KakaoCluster) -> Option<WireTime> {
    let Some(time) = cluster.created_at else { return Some(WireTime::Null) };
    match cluster.behaviour.created_at_style {
        CreatedAtStyle::Text => Some(WireTime::Text(time)),
        CreatedAtStyle::Seconds => Some(WireTime::Number(time.as_second())),
        CreatedAtStyle::Milliseconds => Some(WireTime::Number(time.as_millisecond())),
        CreatedAtStyle::ExplicitNull => Some(WireTime::Null),
        CreatedAtStyle::Absent => None,
    }
}
