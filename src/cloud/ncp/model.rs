//! What NCP's Cloud DB answers, normalised. Unknown fields are ignored; every field may be absent, as the vendor says.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use super::super::{lenient as de, normalise};

/// A Cloud DB instance (a service: one or two servers).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CloudDbInstance {
    /// `cloudDBInstanceNo`, its identity.
    #[serde(rename = "cloudDBInstanceNo", deserialize_with = "de::text")]
    pub no: Option<String>,
    /// `cloudDBServiceName`, the name its owner gave it.
    #[serde(rename = "cloudDBServiceName", deserialize_with = "de::text")]
    pub service_name: Option<String>,
    /// Engine and version, split from `engineVersion` (`"REDIS 4.0.2"`).
    #[serde(rename = "engineVersion", deserialize_with = "engine")]
    pub engine: Engine,
    /// `cpuCount`, virtual CPUs of a server.
    #[serde(rename = "cpuCount", deserialize_with = "de::integer")]
    pub vcpus: Option<i32>,
    /// `memorySize` (bytes) in MiB.
    #[serde(rename = "memorySize", deserialize_with = "de::bytes")]
    pub memory_mib: Option<i64>,
    /// `licenseCode`, licence of the engine.
    #[serde(rename = "licenseCode", deserialize_with = "de::text")]
    pub license: Option<String>,
    /// `cloudDBPort`, TCP port of the servers.
    #[serde(rename = "cloudDBPort", deserialize_with = "de::integer")]
    pub port: Option<u16>,
    /// `isHa`, whether it has a standby.
    #[serde(deserialize_with = "de::boolean")]
    pub is_ha: Option<bool>,
    /// `backupTime`, time of day (`"00:45"`, in the region's time).
    #[serde(deserialize_with = "de::text")]
    pub backup_time: Option<String>,
    /// `backupFileRetentionPeriod`, days a backup is kept.
    #[serde(rename = "backupFileRetentionPeriod", deserialize_with = "de::integer")]
    pub backup_retention_days: Option<i32>,
    /// `cloudDBInstanceStatusName`, the state in the cloud's own word; see [`crate::cloud::state`].
    #[serde(rename = "cloudDBInstanceStatusName", deserialize_with = "de::text")]
    pub status: Option<String>,
    /// `createDate`.
    #[serde(rename = "createDate", deserialize_with = "de::time")]
    pub created_at: Option<Timestamp>,
    /// `cloudDBProductCode`: what KakaoCloud calls a flavor.
    #[serde(rename = "cloudDBProductCode", deserialize_with = "de::text")]
    pub product_code: Option<String>,
    /// `isCloudDBConfigNeedReboot`: a changed configuration waits for a restart.
    #[serde(rename = "isCloudDBConfigNeedReboot", deserialize_with = "de::boolean")]
    pub config_needs_reboot: Option<bool>,
    /// `isCloudDBNeedReboot`: the instance has to be restarted.
    #[serde(rename = "isCloudDBNeedReboot", deserialize_with = "de::boolean")]
    pub needs_reboot: Option<bool>,
    /// `rebootScheduleTime`: when the cloud is going to restart it.
    #[serde(rename = "rebootScheduleTime", deserialize_with = "de::time")]
    pub reboot_scheduled_at: Option<Timestamp>,
    /// `zone`.
    #[serde(deserialize_with = "de::object")]
    pub zone: Option<Zone>,
    /// `cloudDBConfigGroupList`.
    #[serde(rename = "cloudDBConfigGroupList", deserialize_with = "de::list")]
    pub config_groups: Vec<ConfigGroup>,
    /// `accessControlGroupList`.
    #[serde(rename = "accessControlGroupList", deserialize_with = "de::list")]
    pub access_control_groups: Vec<AccessControlGroup>,
    /// `cloudDBServerInstanceList`.
    #[serde(rename = "cloudDBServerInstanceList", deserialize_with = "de::list")]
    pub servers: Vec<ServerInstance>,
}

/// The two halves of `"REDIS 4.0.2"`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Engine {
    /// `Redis`.
    pub name: Option<String>,
    /// `4.0.2`.
    pub version: Option<String>,
}

/// One server of an instance. An entry may lack its number and its status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServerInstance {
    /// `cloudDBServerInstanceNo`.
    #[serde(rename = "cloudDBServerInstanceNo", deserialize_with = "de::text")]
    pub no: Option<String>,
    /// `cloudDBServerInstanceStatusName`, in the cloud's own word.
    #[serde(rename = "cloudDBServerInstanceStatusName", deserialize_with = "de::text")]
    pub status: Option<String>,
    /// `cloudDBServerName`.
    #[serde(rename = "cloudDBServerName", deserialize_with = "de::text")]
    pub name: Option<String>,
    /// `cloudDBServerRole`.
    #[serde(rename = "cloudDBServerRole", deserialize_with = "de::object")]
    pub role: Option<CommonCode>,
    /// `privateDnsName`.
    #[serde(deserialize_with = "de::text")]
    pub private_dns_name: Option<String>,
    /// `publicDnsName`; none until a public domain is asked for.
    #[serde(deserialize_with = "de::text")]
    pub public_dns_name: Option<String>,
    /// `createDate`.
    #[serde(rename = "createDate", deserialize_with = "de::time")]
    pub created_at: Option<Timestamp>,
    /// `uptime`: since when it runs.
    #[serde(rename = "uptime", deserialize_with = "de::time")]
    pub started_at: Option<Timestamp>,
}

impl ServerInstance {
    /// The role in one word: `Master` for code M, `HiddenMaster` for H, any other code unchanged.
    #[must_use]
    pub fn role_name(&self) -> Option<&str> {
        let role = self.role.as_ref()?;
        Some(match role.code.as_deref().or(role.name.as_deref())? {
            "M" => "Master",
            "H" => "HiddenMaster",
            other => other,
        })
    }
}

/// NCP's pair of a code and its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct CommonCode {
    /// `code`.
    #[serde(deserialize_with = "de::text")]
    pub code: Option<String>,
    /// `codeName`.
    #[serde(rename = "codeName", deserialize_with = "de::text")]
    pub name: Option<String>,
}

/// Where an instance lives, within a region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Zone {
    /// `zoneCode`.
    #[serde(rename = "zoneCode", deserialize_with = "de::text")]
    pub code: Option<String>,
}

/// A group of settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ConfigGroup {
    /// `configGroupNo`.
    #[serde(rename = "configGroupNo", deserialize_with = "de::text")]
    pub no: Option<String>,
    /// `configGroupName`.
    #[serde(rename = "configGroupName", deserialize_with = "de::text")]
    pub name: Option<String>,
}

/// An access control group (ACG), NCP's security group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AccessControlGroup {
    /// `accessControlGroupConfigurationNo`.
    #[serde(rename = "accessControlGroupConfigurationNo", deserialize_with = "de::text")]
    pub no: Option<String>,
}

/// The service accepted a flush (HTTP 2xx and return code 0). It goes on in the background: read the instance until it
/// is running again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlushReply {
    /// HTTP status, any 2xx.
    pub http_status: u16,
    /// The cloud's identifier of the request: a trace header, else `requestId`.
    pub trace_id: Option<String>,
    /// `returnCode`, always `0` here.
    pub return_code: String,
    /// `returnMessage`.
    pub return_message: Option<String>,
    /// `totalRows`, instances that the flush concerns.
    pub total_rows: Option<i64>,
    /// The instances as they are now, as a rule in state `settingup`; without those that cannot be read.
    pub instances: Vec<CloudDbInstance>,
}

fn engine<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Engine, D::Error> {
    let (name, version) = de::text(deserializer)?.map_or((None, None), |text| normalise::split_engine(&text));
    Ok(Engine { name, version })
}
