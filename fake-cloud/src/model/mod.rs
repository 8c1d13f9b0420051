//! What the clouds hold: the seedable shape of clusters, instances and catalogues, and the bodies sent for them.

mod kakao;
mod ncp;

pub(crate) use kakao::{ClusterBody, cluster_body, default_flavors, default_versions};
pub use kakao::{
    CreatedAtStyle, KakaoBackupSchedule, KakaoBehaviour, KakaoCluster, KakaoEndpoints, KakaoFlavor, KakaoIdRef,
    KakaoSubnetAssignment,
};
pub(crate) use ncp::instance_body;
pub use ncp::{NcpBehaviour, NcpCode, NcpInstance, NcpQuirks, NcpRegion, NcpServer, NcpZone};

use serde_json::{Map, Value};

/// An identifier that looks like the clouds' own (a random version 4 UUID).
pub(crate) fn random_id() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = hex(&bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Leaves out the fields named in `omit` and puts `overrides` in place, whatever their type.
fn bend(body: &mut Value, omit: &[String], overrides: &Map<String, Value>) {
    if let Value::Object(fields) = body {
        fields.retain(|name, _| !omit.contains(name));
        fields.extend(overrides.clone());
    }
}
