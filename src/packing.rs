//! Values in the fewest bytes: JSON, compressed against a text that has what all of them have, the names of their fields.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What objects of this operator look like, fields in the order in which they are written. It is only a means of compression: what
/// is not in it is packed all the same, in more bytes. It never leaves the process, so it may change with any version.
const LIKENESS: &[u8] = br#"{"apiVersion":"managedredis.dev/v1alpha1","kind":"RedisClusterRef","metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"","managedredis.dev/reconcile-requested-at":"2026-"},"creationTimestamp":"2026-11-22T10:00:00Z","generation":1,"labels":{"app.kubernetes.io/managed-by":"","app.kubernetes.io/name":"","app.kubernetes.io/part-of":"","kustomize.toolkit.fluxcd.io/name":"","kustomize.toolkit.fluxcd.io/namespace":"","argocd.argoproj.io/instance":""},"name":"","namespace":"","resourceVersion":"","uid":""},"spec":{"ncp":{"site":"Public","cloudDBInstanceNo":"","cloudDBServiceName":"","credentialsSecretRef":{"name":"ncp"}},"pollInterval":"60s","suspend":false}},"spec":{"kakaoCloud":{"region":"kr-central-2","clusterID":"","clusterName":"","credentialsSecretRef":{"name":"kakaocloud"}},"pollInterval":"1m","suspend":false,"connectionConfigMap":{"name":""}},"status":{"observedGeneration":1,"lastHandledReconcileAt":"","lastObservedTime":"2026-11-22T10:00:00Z","conditions":[{"lastTransitionTime":"2026-11-22T10:00:00Z","message":"the cloud says Running","observedGeneration":1,"reason":"Running","status":"True","type":"Ready"},{"lastTransitionTime":"2026-11-22T10:00:00Z","message":"the cloud was read with success","observedGeneration":1,"reason":"ObserveSucceeded","status":"True","type":"Synced"}],"provider":"NCP","provider":"KakaoCloud","state":"running","state":"Running","cluster":{"id":"","name":"","description":"","projectID":"","engine":"Redis","engineVersion":"7.2.11","port":6379,"mode":"Cluster","highAvailability":false,"mode":"Standalone","highAvailability":true,"shardCount":3,"nodeCount":6,"shardCount":0,"nodeCount":2,"flavor":{"id":"","name":"r2.medium","vcpus":4,"memoryMiB":8192},"endpoints":{"primary":"","read":""},"userName":"","subnetIDs":["",""],"subnetAssignments":[{"primary":"","replicas":[""]},{"primary":"","replicas":[""]}],"securityGroupIDs":[""],"backup":{"schedule":"","retentionDays":7},"creator":"","license":"BSD-3-Clause","createdAt":"2026-11-22T10:00:00Z","parameterGroup":{"id":"","name":"","syncStatus":"In-Sync"},"nodes":[{"id":"","name":"","role":"Master","state":"running","privateDomain":"","publicDomain":"","createdAt":"2026-11-22T10:00:00Z","startedAt":"2026-11-22T10:00:00Z"},{"id":"","name":"","role":"HiddenMaster","state":"running"}]},"engine":{"offered":true,"newest":"7.2.11"},"connectionConfigMap":""}}"#;

/// A value, packed. Equal values give equal bytes, as long as the process lives.
///
/// # Errors
/// When the value cannot be written as JSON, as a map with keys that are no texts.
pub fn pack<T: Serialize>(value: &T) -> Result<Box<[u8]>, serde_json::Error> {
    let json = serde_json::to_vec(value)?;
    Ok(lz4_flex::block::compress_prepend_size_with_dict(&json, LIKENESS).into())
}

/// A value that was packed; none if these bytes are not of one of that type.
pub fn unpack<T: DeserializeOwned>(packed: &[u8]) -> Option<T> {
    let json = lz4_flex::block::decompress_size_prepended_with_dict(packed, LIKENESS).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_cluster_takes_less_than_half_of_its_json() {
        let cluster = json!({
            "id": "00000001-0d1c-4b2a-9f3e-000000000001", "name": "orders", "engine": "Redis", "engineVersion": "7.2.11",
            "port": 6379, "mode": "Standalone", "highAvailability": true, "shardCount": 0, "nodeCount": 2,
            "endpoints": { "primary": "orders-primary.memstore.example", "read": "orders-read.memstore.example" },
            "subnetIDs": ["5b0e7c1a-3d42-4f6b-9a57-1c8f0d2e6b01"], "license": "BSD-3-Clause",
        });
        let packed = pack(&cluster).unwrap();
        assert!(packed.len() * 2 < cluster.to_string().len(), "{} of {}", packed.len(), cluster.to_string().len());
        assert_eq!(unpack::<Value>(&packed), Some(cluster));
    }

    proptest! {
        #[test]
        fn whatever_is_packed_comes_out_again(text in "\\PC{0,200}", numbers in proptest::collection::vec(any::<i64>(), 0..50)) {
            let value = json!({ "name": text, "numbers": numbers });
            let packed = pack(&value).unwrap();
            prop_assert_eq!(&packed, &pack(&value).unwrap());
            prop_assert_eq!(unpack::<Value>(&packed), Some(value));
        }

        #[test]
        fn bytes_that_are_no_packed_value_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 4..100)) {
            // The first four bytes are the length, for which memory is taken.
            let mut bytes = bytes;
            bytes[2..4].fill(0);
            let _: Option<Value> = unpack(&bytes);
        }
    }
}
