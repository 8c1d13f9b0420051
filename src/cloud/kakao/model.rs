//! What KakaoCloud Redis answers, normalised. Unknown fields are ignored; every field but the ID may be absent.

use jiff::Timestamp;
use serde::de::{DeserializeSeed as _, Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::super::lenient as de;

/// A cluster (cluster mode) or an instance set (cluster mode off).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// `objectId`, the cluster's or instance set's ID.
    #[serde(rename = "objectId", deserialize_with = "de::identity")]
    pub id: String,
    /// The project that owns it.
    #[serde(default, deserialize_with = "de::text")]
    pub project_id: Option<String>,
    /// Its name, unique only by habit.
    #[serde(default, deserialize_with = "de::text")]
    pub name: Option<String>,
    /// Free text.
    #[serde(default, deserialize_with = "de::prose")]
    pub description: Option<String>,
    /// Redis version, e.g. `6.2.5`.
    #[serde(default, deserialize_with = "de::text")]
    pub version: Option<String>,
    /// TCP port of the endpoints.
    #[serde(default, deserialize_with = "de::integer")]
    pub port: Option<u16>,
    /// Whether cluster mode is on.
    #[serde(default, deserialize_with = "de::boolean")]
    pub cluster_enabled: Option<bool>,
    /// Whether a failed primary is replaced; always true in cluster mode.
    #[serde(default, deserialize_with = "de::boolean")]
    pub recovery_enabled: Option<bool>,
    /// Shards; 0 when cluster mode is off.
    #[serde(default, deserialize_with = "de::integer")]
    pub shard_count: Option<i32>,
    /// Nodes, replicas included.
    #[serde(default, deserialize_with = "de::integer")]
    pub total_node_count: Option<i32>,
    /// ID of a [`Flavor`].
    #[serde(default, deserialize_with = "de::text")]
    pub flavor_id: Option<String>,
    /// Virtual CPUs of a node (`vcpu` here, `vcpus` on flavors).
    #[serde(default, rename = "vcpu", deserialize_with = "de::integer")]
    pub vcpus: Option<i32>,
    /// Memory of a node in MiB (`memory`, sent in GiB).
    #[serde(default, rename = "memory", deserialize_with = "de::gib")]
    pub memory_mib: Option<i64>,
    /// Where to connect; empty while it is being created.
    #[serde(default, deserialize_with = "endpoints")]
    pub endpoints: Endpoints,
    /// User to authenticate as; absent means without authentication (`"-"`).
    #[serde(default, deserialize_with = "de::text")]
    pub user_name: Option<String>,
    /// IDs of the subnets it lives in.
    #[serde(default, rename = "subnets", deserialize_with = "ids")]
    pub subnet_ids: Vec<String>,
    /// Subnets of each shard's nodes.
    #[serde(default, deserialize_with = "de::list")]
    pub subnet_assignments: Vec<ShardSubnets>,
    /// IDs of the security groups.
    #[serde(default, rename = "securityGroups", deserialize_with = "ids")]
    pub security_group_ids: Vec<String>,
    /// Automatic backups, if there are any.
    #[serde(default, deserialize_with = "de::object")]
    pub backup_schedule: Option<BackupSchedule>,
    /// The user who created it.
    #[serde(default, deserialize_with = "de::text")]
    pub creator: Option<String>,
    /// Licence of the engine.
    #[serde(default, deserialize_with = "de::text")]
    pub license: Option<String>,
    /// The state, in the cloud's own word; see [`crate::cloud::state`].
    #[serde(default, deserialize_with = "de::text")]
    pub status: Option<String>,
    /// ID of its parameter group. The list can leave it out where the detail has it.
    #[serde(default, deserialize_with = "de::text")]
    pub parameter_group_id: Option<String>,
    /// Name of its parameter group, as above.
    #[serde(default, deserialize_with = "de::text")]
    pub parameter_group_name: Option<String>,
    /// Whether the group is applied, in the cloud's own word (`In-Sync`, `Error-Sync`, …). Absent says nothing.
    #[serde(default, deserialize_with = "de::text")]
    pub parameter_group_sync_status: Option<String>,
    /// When it was created.
    #[serde(default, deserialize_with = "de::time")]
    pub created_at: Option<Timestamp>,
}

/// Host names of a cluster, without port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Endpoints {
    /// For reads and writes.
    #[serde(default, rename = "primaryEndpoint", deserialize_with = "de::text")]
    pub primary: Option<String>,
    /// For reads alone; none in cluster mode.
    #[serde(default, rename = "readEndpoint", deserialize_with = "de::text")]
    pub read: Option<String>,
}

/// The subnets of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ShardSubnets {
    /// Subnet ID of the primary.
    #[serde(default, deserialize_with = "id")]
    pub primary: Option<String>,
    /// Subnet IDs of the replicas.
    #[serde(default, deserialize_with = "ids")]
    pub replicas: Vec<String>,
}

/// When backups are made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct BackupSchedule {
    /// A cron expression.
    #[serde(default, deserialize_with = "de::text")]
    pub cron: Option<String>,
    /// Days a backup is kept.
    #[serde(default, rename = "retentionLimit", deserialize_with = "de::integer")]
    pub retention_days: Option<i32>,
}

/// A node size on offer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Flavor {
    /// What [`Cluster::flavor_id`] refers to.
    #[serde(deserialize_with = "de::identity")]
    pub id: String,
    /// Its name.
    #[serde(default, deserialize_with = "de::text")]
    pub name: Option<String>,
    /// Virtual CPUs.
    #[serde(default, deserialize_with = "de::integer")]
    pub vcpus: Option<i32>,
    /// Memory in MiB (`memory`, sent in GiB).
    #[serde(default, rename = "memory", deserialize_with = "de::gib")]
    pub memory_mib: Option<i64>,
}

/// The request to apply a parameter group was accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplyReply {
    /// HTTP status, any 2xx.
    pub http_status: u16,
    /// `objectId` of the answer, if it has a body.
    pub object_id: Option<String>,
    /// The cloud's identifier of the request, if it gives one.
    pub trace_id: Option<String>,
}

/// The envelope of the list of clusters, whose clusters are taken out of it while it comes. A missing list is an error: it must
/// not look like "no clusters".
#[derive(Deserialize)]
pub(super) struct ClusterList {
    #[serde(rename = "clusters")]
    _clusters: Vec<IgnoredAny>,
}

/// The body of the list of flavors. What cannot be read is left out: a flavor only adds its name.
#[derive(Deserialize)]
pub(super) struct FlavorList {
    #[serde(deserialize_with = "flavors")]
    pub(super) flavors: Vec<Flavor>,
}

/// The body of the list of versions.
#[derive(Deserialize)]
pub(super) struct VersionList(#[serde(deserialize_with = "versions")] pub(super) Vec<String>);

/// The body of a token.
#[derive(Deserialize)]
pub(super) struct TokenBody {
    #[serde(deserialize_with = "de::object")]
    pub(super) token: Option<TokenLife>,
}

/// When a token ends.
#[derive(Deserialize)]
pub(super) struct TokenLife {
    #[serde(default, deserialize_with = "de::time")]
    pub(super) expires_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct IdObject {
    #[serde(default, deserialize_with = "de::text")]
    id: Option<String>,
}

fn flavors<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Flavor>, D::Error> {
    let listed: Vec<&RawValue> = de::elements(deserializer)?;
    let (mut flavors, mut failed) = (Vec::new(), None);
    for flavor in listed {
        match de::Document::new().deserialize(&mut serde_json::Deserializer::from_str(flavor.get())) {
            Ok(flavor) => flavors.push(flavor),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if flavors.is_empty() => Err(D::Error::custom(error)),
        _ => Ok(flavors),
    }
}

fn versions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    struct Version(#[serde(deserialize_with = "de::text")] Option<String>);
    Ok(de::elements::<Version, D>(deserializer)?.into_iter().filter_map(|Version(version)| version).collect())
}

fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(de::object::<IdObject, D>(deserializer)?.and_then(|reference| reference.id))
}

fn ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(de::list::<IdObject, D>(deserializer)?.into_iter().filter_map(|reference| reference.id).collect())
}

fn endpoints<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Endpoints, D::Error> {
    Ok(de::object(deserializer)?.unwrap_or_default())
}
