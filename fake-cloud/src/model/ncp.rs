//! NAVER Cloud Platform, Cloud DB (Classic): Redis instances.

use jiff::Timestamp;
use jiff::tz::{self, TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// One Cloud DB instance, as it is seeded and as the admin API shows it.
///
/// The names are those of the cloud's own body, except `behaviour`, which never leaves the stand-in. Times are RFC 3339
/// here and in the cloud's own form (`2018-12-28T17:28:00+0900`) in its answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NcpInstance {
    /// The instance's number.
    #[serde(rename = "cloudDBInstanceNo")]
    pub instance_no: String,
    /// The name a person gave it.
    #[serde(rename = "cloudDBServiceName")]
    pub service_name: String,
    /// Engine and version in one, for example `REDIS 4.0.2`.
    pub engine_version: String,
    /// CPUs of a server.
    pub cpu_count: u32,
    /// Memory of a server in bytes.
    pub memory_size: u64,
    /// Kind of disk.
    pub data_storage_type: NcpCode,
    /// Licence of the engine.
    pub license_code: String,
    /// The TCP port Redis listens on.
    #[serde(rename = "cloudDBPort")]
    pub port: u16,
    /// Whether a stand-by server exists.
    pub is_ha: bool,
    /// Time of the daily backup, `HH:MM`.
    pub backup_time: String,
    /// Days a backup is kept.
    pub backup_file_retention_period: u32,
    /// The cloud's own word for the state. `creating` and `settingup` move on to `running` by themselves.
    #[serde(rename = "cloudDBInstanceStatusName")]
    pub status_name: String,
    /// Collation; empty for Redis.
    pub collation: String,
    /// When it was made; the stand-in's time when absent.
    pub create_date: Option<Timestamp>,
    /// The image's product code.
    #[serde(rename = "cloudDBImageProductCode")]
    pub image_product_code: String,
    /// The product code.
    #[serde(rename = "cloudDBProductCode")]
    pub product_code: String,
    /// Whether a changed configuration waits for a restart.
    #[serde(rename = "isCloudDBConfigNeedReboot")]
    pub config_needs_reboot: bool,
    /// Whether a restart is due.
    #[serde(rename = "isCloudDBNeedReboot")]
    pub needs_reboot: bool,
    /// NcpZone.
    pub zone: NcpZone,
    /// NcpRegion.
    pub region: NcpRegion,
    /// Settings: `{configName, configValue}` each.
    #[serde(rename = "cloudDBConfigList")]
    pub config_list: Vec<Value>,
    /// Groups of settings: `{configGroupNo, configGroupType, configGroupName}` each.
    #[serde(rename = "cloudDBConfigGroupList")]
    pub config_group_list: Vec<Value>,
    /// Firewall groups.
    pub access_control_group_list: Vec<Value>,
    /// The servers it runs on.
    #[serde(rename = "cloudDBServerInstanceList")]
    pub servers: Vec<NcpServer>,
    /// How the stand-in treats it.
    pub behaviour: NcpBehaviour,
}

/// How an instance behaves over time and how its body is bent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NcpBehaviour {
    /// Seconds an instance is `settingup` after a flush, instead of the seed's.
    pub flush_seconds: Option<u32>,
    /// Seconds in `creating`, instead of the seed's.
    pub create_seconds: Option<u32>,
    /// `creating` and `settingup` never end.
    pub stuck: bool,
    /// Fields left out of the bodies.
    pub omit: Vec<String>,
    /// Fields replaced in the bodies, whatever their type.
    pub overrides: Map<String, Value>,
}

/// One server of an instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NcpServer {
    /// Its number; some entries have none, and then no status either.
    #[serde(rename = "cloudDBServerInstanceNo", default)]
    pub server_no: Option<String>,
    /// Its name.
    #[serde(rename = "cloudDBServerName")]
    pub name: String,
    /// M (master) or H (hidden master).
    #[serde(rename = "cloudDBServerRole")]
    pub role: NcpCode,
    /// Host name inside the cloud.
    #[serde(default)]
    pub private_dns_name: String,
    /// Host name outside, if it has one.
    #[serde(default)]
    pub public_dns_name: String,
}

/// A code with its words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NcpCode {
    /// The code.
    pub code: String,
    /// What it stands for.
    pub code_name: String,
}

/// A region of the cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NcpRegion {
    /// Its number, by which lists are filtered.
    pub region_no: String,
    /// Its code.
    pub region_code: String,
    /// Its name.
    pub region_name: String,
}

/// A zone of a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NcpZone {
    /// Its number, by which lists are filtered.
    pub zone_no: String,
    /// Its name.
    pub zone_name: String,
    /// Its code.
    pub zone_code: String,
    /// Free text.
    pub zone_description: String,
    /// The region it is in.
    pub region_no: String,
}

/// Ways in which a good NCP answer may still look odd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NcpQuirks {
    /// The body comes without the outer `…Response` key.
    pub omit_wrapper: bool,
    /// `returnCode` is a number instead of a string.
    pub integer_return_code: bool,
    /// `returnCode` is missing.
    pub omit_return_code: bool,
    /// `totalRows` is a string instead of a number.
    pub string_total_rows: bool,
    /// Every server entry comes without its number and status.
    pub bare_servers: bool,
    /// `requestId` is missing.
    pub omit_request_id: bool,
    /// `cloudDBInstanceList` is missing.
    pub omit_instances: bool,
}

impl NcpQuirks {
    /// Both sets of quirks at once.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            omit_wrapper: self.omit_wrapper || other.omit_wrapper,
            integer_return_code: self.integer_return_code || other.integer_return_code,
            omit_return_code: self.omit_return_code || other.omit_return_code,
            string_total_rows: self.string_total_rows || other.string_total_rows,
            bare_servers: self.bare_servers || other.bare_servers,
            omit_request_id: self.omit_request_id || other.omit_request_id,
            omit_instances: self.omit_instances || other.omit_instances,
        }
    }
}

impl NcpCode {
    /// A code and its words.
    pub fn new(code: impl Into<String>, code_name: impl Into<String>) -> Self {
        Self { code: code.into(), code_name: code_name.into() }
    }
}

impl Default for NcpInstance {
    /// A running instance without number, name or servers.
    fn default() -> Self {
        Self {
            instance_no: String::new(),
            service_name: String::new(),
            engine_version: "REDIS 4.0.2".into(),
            cpu_count: 2,
            memory_size: 4_294_967_296,
            data_storage_type: NcpCode::new("SSD", "Solid state disk"),
            license_code: "BSD".into(),
            port: 6379,
            is_ha: false,
            backup_time: "03:15".into(),
            backup_file_retention_period: 3,
            status_name: "running".into(),
            collation: String::new(),
            create_date: None,
            image_product_code: "SPSWREDISLINUX01".into(),
            product_code: "SPSVRDBAAS000008".into(),
            config_needs_reboot: false,
            needs_reboot: false,
            zone: NcpZone {
                zone_no: "3".into(),
                zone_name: "KR-2".into(),
                zone_code: "KR-2".into(),
                zone_description: "Pyeongchon zone".into(),
                region_no: "1".into(),
            },
            region: NcpRegion { region_no: "1".into(), region_code: "KR".into(), region_name: "Korea".into() },
            config_list: Vec::new(),
            config_group_list: Vec::new(),
            access_control_group_list: Vec::new(),
            servers: Vec::new(),
            behaviour: NcpBehaviour::default(),
        }
    }
}

impl NcpInstance {
    /// A running instance with one server.
    pub fn single(instance_no: impl Into<String>, service_name: impl Into<String>) -> Self {
        let (instance_no, service_name) = (instance_no.into(), service_name.into());
        let servers = vec![NcpServer {
            server_no: Some(format!("{instance_no}1")),
            name: format!("{service_name}-001"),
            role: NcpCode::new("M", "Master"),
            private_dns_name: format!("{service_name}-001.cdb.ncp.example"),
            public_dns_name: String::new(),
        }];
        Self { instance_no, service_name, servers, ..Self::default() }
    }

    /// A running instance with a master and a hidden master, whose entry lacks its number and status.
    pub fn highly_available(instance_no: impl Into<String>, service_name: impl Into<String>) -> Self {
        let mut instance = Self::single(instance_no, service_name);
        instance.is_ha = true;
        instance.servers.push(NcpServer {
            server_no: None,
            name: format!("{}-002", instance.service_name),
            role: NcpCode::new("H", "Hidden Master"),
            private_dns_name: String::new(),
            public_dns_name: String::new(),
        });
        instance
    }
}

/// The body of one instance.
pub(crate) fn instance_body(instance: &NcpInstance, quirks: NcpQuirks) -> Value {
    let Ok(mut body) = serde_json::to_value(instance) else { return Value::Null };
    let create_date = instance.create_date.map(local_time);
    let servers: Vec<Value> =
        instance.servers.iter().map(|server| server_body(instance, server, create_date.as_deref(), quirks)).collect();
    if let Value::Object(fields) = &mut body {
        fields.remove("behaviour");
        fields.insert("dbKindCode".into(), "REDIS".into());
        fields.insert("cloudDBServerInstanceList".into(), servers.into());
        match create_date {
            Some(date) => fields.insert("createDate".into(), date.into()),
            None => fields.remove("createDate"),
        };
    }
    super::bend(&mut body, &instance.behaviour.omit, &instance.behaviour.overrides);
    body
}

fn server_body(instance: &NcpInstance, server: &NcpServer, create_date: Option<&str>, quirks: NcpQuirks) -> Value {
    let mut body = json!({"cloudDBServerName": server.name, "cloudDBServerRole": server.role});
    if let (Value::Object(fields), Some(number), false) = (&mut body, &server.server_no, quirks.bare_servers) {
        fields.insert("cloudDBServerInstanceNo".into(), number.as_str().into());
        fields.insert("cloudDBServerInstanceStatusName".into(), instance.status_name.as_str().into());
        fields.insert("privateDnsName".into(), server.private_dns_name.as_str().into());
        fields.insert("publicDnsName".into(), server.public_dns_name.as_str().into());
        fields.insert("dataStorageSize".into(), 0.into());
        fields.insert("usedDataStorageSize".into(), 0.into());
        if let Some(date) = create_date {
            fields.insert("createDate".into(), date.into());
            fields.insert("uptime".into(), date.into());
        }
    }
    body
}

/// Korean time with an offset that has no colon, as the cloud writes it.
fn local_time(time: Timestamp) -> String {
    time.to_zoned(TimeZone::fixed(tz::offset(9))).strftime("%Y-%m-%dT%H:%M:%S%z").to_string()
}
