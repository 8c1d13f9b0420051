//! What KakaoCloud Redis answers, normalised. Unknown fields are ignored; every field but the ID may be absent.

use std::fmt;

use jiff::Timestamp;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::super::normalise::de;

/// A cluster (cluster mode) or an instance set (cluster mode off).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// `objectId`, the cluster's or instance set's ID.
    #[serde(rename = "objectId")]
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
    #[serde(default)]
    pub port: Option<u16>,
    /// Whether cluster mode is on.
    #[serde(default)]
    pub cluster_enabled: Option<bool>,
    /// Whether a failed primary is replaced; always true in cluster mode.
    #[serde(default)]
    pub recovery_enabled: Option<bool>,
    /// Shards; 0 when cluster mode is off.
    #[serde(default)]
    pub shard_count: Option<i32>,
    /// Nodes, replicas included.
    #[serde(default)]
    pub total_node_count: Option<i32>,
    /// ID of a [`Flavor`].
    #[serde(default, deserialize_with = "de::text")]
    pub flavor_id: Option<String>,
    /// Virtual CPUs of a node (`vcpu` here, `vcpus` on flavors).
    #[serde(default, rename = "vcpu")]
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
    pub subnet_assignments: Vec<SubnetAssignment>,
    /// IDs of the security groups.
    #[serde(default, rename = "securityGroups", deserialize_with = "ids")]
    pub security_group_ids: Vec<String>,
    /// Automatic backups, if there are any.
    #[serde(default)]
    pub backup_schedule: Option<BackupSchedule>,
    /// Who created it.
    #[serde(default, deserialize_with = "de::text")]
    pub creator: Option<String>,
    /// Licence of the engine.
    #[serde(default, deserialize_with = "de::text")]
    pub license: Option<String>,
    /// The state, in the cloud's own word; see [`crate::cloud::words`].
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
pub struct SubnetAssignment {
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
    #[serde(default, rename = "retentionLimit")]
    pub retention_days: Option<i32>,
}

/// A node size on offer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Flavor {
    /// What [`Cluster::flavor_id`] refers to.
    pub id: String,
    /// Its name.
    #[serde(default, deserialize_with = "de::text")]
    pub name: Option<String>,
    /// Virtual CPUs.
    #[serde(default)]
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

/// The body of the list of clusters. A missing list is an error: it must not look like "no clusters".
pub(super) struct ClusterList<'a, T> {
    /// What becomes of each cluster.
    pub(super) take_in: &'a (dyn Fn(Cluster) -> T + Sync),
}

impl<'de, T> DeserializeSeed<'de> for ClusterList<'_, T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T> Visitor<'de> for ClusterList<'_, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a list of clusters")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Vec<T>, A::Error> {
        let mut clusters = None;
        while let Some(field) = fields.next_key::<String>()? {
            if field == "clusters" {
                clusters = Some(fields.next_value_seed(Each { take_in: self.take_in })?);
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        clusters.ok_or_else(|| A::Error::missing_field("clusters"))
    }
}

struct Each<'a, T> {
    take_in: &'a (dyn Fn(Cluster) -> T + Sync),
}

impl<'de, T> DeserializeSeed<'de> for Each<'_, T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T> Visitor<'de> for Each<'_, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of clusters")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut clusters: A) -> Result<Vec<T>, A::Error> {
        let mut all = Vec::new();
        while let Some(cluster) = clusters.next_element()? {
            all.push((self.take_in)(cluster));
        }
        Ok(all)
    }
}

/// The body of the list of flavors.
#[derive(Deserialize)]
pub(super) struct FlavorList {
    pub(super) flavors: Vec<Flavor>,
}

/// The body of an answer to apply.
#[derive(Deserialize)]
pub(super) struct ApplyBody {
    #[serde(default, rename = "objectId", deserialize_with = "de::text")]
    pub(super) object_id: Option<String>,
}

/// The body of a token.
#[derive(Deserialize)]
pub(super) struct TokenBody {
    pub(super) token: TokenLife,
}

/// When a token ends.
#[derive(Deserialize)]
pub(super) struct TokenLife {
    pub(super) expires_at: String,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(default, deserialize_with = "de::text")]
    id: Option<String>,
}

fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Reference>::deserialize(deserializer)?.and_then(|reference| reference.id))
}

fn ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(de::list::<Reference, D>(deserializer)?.into_iter().filter_map(|reference| reference.id).collect())
}

fn endpoints<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Endpoints, D::Error> {
    Ok(Option::<Endpoints>::deserialize(deserializer)?.unwrap_or_default())
}
