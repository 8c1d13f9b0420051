//! `RedisClusterRef`: a live, read-only picture of one managed Redis.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{
    CommonStatus, Duration, LocalRef, PRINTABLE, SecretRef, conditions_schema, default_kakao_region, duration_schema,
    time_schema,
};

/// Refers to one managed Redis of KakaoCloud or NAVER Cloud Platform and shows its live state.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "managedredis.dev",
    version = "v1alpha1",
    kind = "RedisClusterRef",
    plural = "redisclusterrefs",
    shortname = "rcr",
    category = "managedredis",
    namespaced,
    status = "RedisClusterRefStatus",
    derive = "PartialEq",
    doc = "A live, read-only picture of one managed Redis: state, endpoints, nodes, flavor, engine version, parameter group.",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".status.cluster.mode"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.cluster.engineVersion"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.cluster.endpoints.primary", priority = 1),
    printcolumn(name = "Parameters", type_ = "string", json_path = ".status.cluster.parameterGroup.syncStatus"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.kakaoCloud) != has(self.ncp)").message("set exactly one of kakaoCloud and ncp"))]
pub struct RedisClusterRefSpec {
    /// A KakaoCloud Redis: a cluster, or an instance set (cluster mode off).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kakao_cloud: Option<KakaoCloudTarget>,
    /// A Cloud DB for Redis instance of NAVER Cloud Platform (Classic).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ncp: Option<NcpTarget>,
    /// How often the cloud is read, 10s to 24h.
    #[serde(default = "default_poll_interval")]
    #[schemars(schema_with = "duration_schema")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s') && duration(self) <= duration('24h')")
        .message("pollInterval must be between 10s and 24h"))]
    pub poll_interval: Duration,
    /// Stops reading the cloud; the last known picture stays in the status.
    #[serde(default)]
    pub suspend: bool,
    /// A ConfigMap, made and owned by this object, from which applications take the connection: keys host, port, readHost,
    /// url, mode, username.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_config_map: Option<LocalRef>,
}

/// Which Redis of KakaoCloud is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.clusterID) != has(self.clusterName)")
    .message("set exactly one of clusterID and clusterName"))]
pub struct KakaoCloudTarget {
    /// KakaoCloud region, such as kr-central-2.
    #[serde(default = "default_kakao_region")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[a-z]{2}-[a-z]+-[0-9]+$"))]
    pub region: String,
    /// ID of the cluster or instance set (objectId in the KakaoCloud API).
    #[serde(rename = "clusterID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"))]
    pub cluster_id: Option<String>,
    /// Name of the cluster or instance set; it must be the only one of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = PRINTABLE))]
    pub cluster_name: Option<String>,
    /// Secret that holds the KakaoCloud credential: KAKAOCLOUD_APPLICATION_CREDENTIAL_ID and
    /// KAKAOCLOUD_APPLICATION_CREDENTIAL_SECRET, or KAKAOCLOUD_TOKEN.
    pub credentials_secret_ref: SecretRef,
}

/// Which Cloud DB for Redis instance of NAVER Cloud Platform is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.cloudDBInstanceNo) != has(self.cloudDBServiceName)")
    .message("set exactly one of cloudDBInstanceNo and cloudDBServiceName"))]
pub struct NcpTarget {
    /// Site of the platform: Public, Gov or Fin.
    #[serde(default)]
    pub site: NcpSite,
    /// Number of the instance (cloudDBInstanceNo in the NCP API), in quotes.
    #[serde(rename = "cloudDBInstanceNo", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[0-9]+$"))]
    pub cloud_db_instance_no: Option<String>,
    /// Service name of the instance; it must be the only one of that name.
    #[serde(rename = "cloudDBServiceName", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = PRINTABLE))]
    pub cloud_db_service_name: Option<String>,
    /// Secret that holds the NCP credential: NCLOUD_ACCESS_KEY and NCLOUD_SECRET_KEY.
    pub credentials_secret_ref: SecretRef,
}

/// The separate installations of NAVER Cloud Platform, each with its own gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum NcpSite {
    /// ncloud.com
    #[default]
    Public,
    /// gov-ncloud.com
    Gov,
    /// fin-ncloud.com
    Fin,
}

impl NcpSite {
    /// The word used in specs, flags and claims.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "Public",
            Self::Gov => "Gov",
            Self::Fin => "Fin",
        }
    }
}

fn default_poll_interval() -> Duration {
    std::time::Duration::from_secs(60).into()
}

/// What the cloud last said about the Redis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisClusterRefStatus {
    /// The metadata.generation this status was written for; -1 before the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The value of the annotation managedredis.dev/reconcile-requested-at that was last acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// When the cloud was last read with success. It is written when something else changes, and at each heartbeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub last_observed_time: Option<Time>,
    /// Ready, Synced; Reconciling and Stalled while they hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// The cloud the Redis lives in: KakaoCloud or NCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The state in the provider's own word, unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The Redis as the cloud describes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterStatus>,
    /// What the cloud offers for the engine (KakaoCloud only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineStatus>,
    /// Name of the ConfigMap of spec.connectionConfigMap, remembered so that it is removed when the spec names another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_config_map: Option<String>,
}

impl CommonStatus for RedisClusterRefStatus {
    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

/// One managed Redis; a field the cloud does not give is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct ClusterStatus {
    /// ID (KakaoCloud objectId, NCP cloudDBInstanceNo).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Name (KakaoCloud name, NCP cloudDBServiceName).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Description given by its creator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Project the Redis belongs to.
    #[serde(rename = "projectID", default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// Engine, such as Redis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Version of the engine, such as 6.2.5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_version: Option<String>,
    /// TCP port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65535))]
    pub port: Option<i32>,
    /// Cluster (sharded) or Standalone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Whether a replica takes over when the primary fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high_availability: Option<bool>,
    /// Number of shards, in cluster mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard_count: Option<i32>,
    /// Number of nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_count: Option<i32>,
    /// Size of each node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flavor: Option<FlavorStatus>,
    /// Host names at which the Redis is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<EndpointsStatus>,
    /// User to authenticate as; absent without authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// Subnets the Redis is in.
    #[serde(rename = "subnetIDs", default, skip_serializing_if = "Vec::is_empty")]
    pub subnet_ids: Vec<String>,
    /// Subnets of the primary and the replicas of each shard.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnet_assignments: Vec<SubnetAssignment>,
    /// Security groups (KakaoCloud) or access control groups (NCP).
    #[serde(rename = "securityGroupIDs", default, skip_serializing_if = "Vec::is_empty")]
    pub security_group_ids: Vec<String>,
    /// Automatic backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupStatus>,
    /// Who created the Redis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creator: Option<String>,
    /// Licence of the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// When the Redis was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub created_at: Option<Time>,
    /// The parameter group and whether it is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter_group: Option<ParameterGroupStatus>,
    /// Code of the zone the Redis is in (NCP zone.zoneCode).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Whether the Redis has to be restarted (NCP isCloudDBNeedReboot).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs_reboot: Option<bool>,
    /// Whether a changed configuration takes effect only after a restart (NCP isCloudDBConfigNeedReboot).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_needs_reboot: Option<bool>,
    /// When the cloud is going to restart the Redis (NCP rebootScheduleTime).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub reboot_scheduled_at: Option<Time>,
    /// The servers of the Redis (NCP only).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeStatus>,
}

/// Size of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlavorStatus {
    /// ID of the flavor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Name of the flavor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Virtual CPUs of a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<i32>,
    /// Memory of a node in MiB.
    #[serde(rename = "memoryMiB", default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<i64>,
}

/// Host names of the Redis.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointsStatus {
    /// Host for reads and writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// Host for reads only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<String>,
}

/// Subnets of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubnetAssignment {
    /// Subnet of the primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// Subnets of the replicas.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<String>,
}

/// Automatic backups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupStatus {
    /// When backups are made: a cron expression (KakaoCloud) or a time of day (NCP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// How many days a backup is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<i32>,
}

/// A parameter group (KakaoCloud) or configuration group (NCP) of a Redis.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParameterGroupStatus {
    /// ID of the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Name of the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether the group is applied, in the provider's own word, such as In-Sync or Error-Sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_status: Option<String>,
}

/// One server of a Redis.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// ID of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Name of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Master or HiddenMaster, or the provider's own code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// State in the provider's own word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Host name inside the cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_domain: Option<String>,
    /// Host name on the internet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_domain: Option<String>,
    /// When the server was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub created_at: Option<Time>,
    /// When the server was last started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub started_at: Option<Time>,
}

/// What the versions endpoint offers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct EngineStatus {
    /// Whether the version in use is still offered for new clusters.
    #[serde(default)]
    pub offered: bool,
    /// The newest version offered; an upgrade is available when it is newer than cluster.engineVersion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<String>,
}
