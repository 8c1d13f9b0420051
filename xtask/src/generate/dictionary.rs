//! The dictionary of the operator's packing: what its objects look like, from the types of the `api` module.
//!
//! A field that an object has in the dictionary costs a few bytes when it is packed, whatever its value. So the samples have
//! every field, with the values that most objects have.

use managed_redis_operator::api::RedisClusterRef;
use managed_redis_operator::api::shared::DEFAULT_KAKAO_REGION;
use serde_json::{Error, Value, json};

/// Where the operator takes it from.
const PATH: &str = "src/packing-dictionary.txt";
const TIME: &str = "2026-11-22T10:00:00Z";

/// The dictionary and its path. What comes last is found in the fewest bytes, so the provider with most objects does.
pub(super) fn file() -> Result<(String, String), Error> {
    let samples = [ncp(), kakao()].map(serde_json::from_value::<RedisClusterRef>);
    let mut text = String::new();
    for sample in samples {
        // LZ4 indexes every third byte of a dictionary, so where a sample begins matters a few percent; this place was measured.
        text.push('\n');
        text.push_str(&serde_json::to_string(&sample?)?);
    }
    text.push('\n');
    Ok((PATH.to_owned(), text))
}

fn kakao() -> Value {
    let mut cluster = cluster("Cluster", 3, 6);
    cluster["flavor"] = json!({ "id": "", "name": "r2.medium", "vcpus": 4, "memoryMiB": 8192 });
    cluster["endpoints"] = json!({ "primary": "", "read": "" });
    cluster["userName"] = json!("");
    cluster["subnetIDs"] = json!(["", ""]);
    cluster["subnetAssignments"] = json!([{ "primary": "", "replicas": [""] }, { "primary": "", "replicas": [""] }]);
    cluster["parameterGroup"] = json!({ "id": "", "name": "", "syncStatus": "In-Sync" });
    let mut object = object("KakaoCloud", "Running", &cluster);
    object["spec"]["kakaoCloud"] = json!({
        "region": DEFAULT_KAKAO_REGION, "clusterID": "", "clusterName": "",
        "credentialsSecretRef": { "name": "kakaocloud" },
    });
    object
}

fn ncp() -> Value {
    let mut cluster = cluster("Standalone", 0, 2);
    cluster["flavor"] = json!({ "id": "", "memoryMiB": 8192 });
    cluster["endpoints"] = json!({ "primary": "" });
    cluster["parameterGroup"] = json!({ "id": "", "name": "" });
    cluster["zone"] = json!("KR-2");
    cluster["needsReboot"] = json!(false);
    cluster["configNeedsReboot"] = json!(false);
    cluster["rebootScheduledAt"] = json!(TIME);
    let node = |role| {
        json!({ "id": "", "name": "", "role": role, "state": "running", "privateDomain": "", "publicDomain": "",
                "createdAt": TIME, "startedAt": TIME })
    };
    cluster["nodes"] = json!([node("Master"), node("HiddenMaster")]);
    let mut object = object("NCP", "running", &cluster);
    object["spec"]["ncp"] = json!({
        "site": "Public", "cloudDBInstanceNo": "", "cloudDBServiceName": "", "credentialsSecretRef": { "name": "ncp" },
    });
    object
}

fn cluster(mode: &str, shards: i32, nodes: i32) -> Value {
    json!({
        "id": "", "name": "", "description": "", "projectID": "", "engine": "Redis", "engineVersion": "7.2.11",
        "port": 6379, "mode": mode, "highAvailability": true, "shardCount": shards, "nodeCount": nodes,
        "securityGroupIDs": [""], "backup": { "schedule": "", "retentionDays": 7 }, "creator": "",
        "license": "BSD-3-Clause", "createdAt": TIME,
    })
}

fn object(provider: &str, state: &str, cluster: &Value) -> Value {
    let condition = |type_: &str, reason: &str, message: &str| {
        json!({ "type": type_, "status": "True", "reason": reason, "message": message, "observedGeneration": 1,
                "lastTransitionTime": TIME })
    };
    json!({
        "apiVersion": "managedredis.dev/v1alpha1",
        "kind": "RedisClusterRef",
        "metadata": {
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "",
                "managedredis.dev/reconcile-requested-at": "2026-",
            },
            "creationTimestamp": TIME,
            "generation": 1,
            "labels": {
                "app.kubernetes.io/instance": "", "app.kubernetes.io/managed-by": "", "app.kubernetes.io/name": "",
                "app.kubernetes.io/part-of": "", "argocd.argoproj.io/instance": "",
                "kustomize.toolkit.fluxcd.io/name": "", "kustomize.toolkit.fluxcd.io/namespace": "",
            },
            "name": "", "namespace": "", "resourceVersion": "", "uid": "",
        },
        "spec": { "pollInterval": "1m", "suspend": false, "connectionConfigMap": { "name": "" } },
        "status": {
            "observedGeneration": 1, "lastHandledReconcileAt": "", "lastObservedTime": TIME,
            "conditions": [
                condition("Ready", "Running", &format!("The cloud reports state {state}.")),
                condition("Synced", "ObserveSucceeded", "The cloud was read."),
            ],
            "provider": provider, "state": state, "cluster": cluster,
            "engine": { "offered": true, "newest": "7.2.11" },
            "connectionConfigMap": "",
        },
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, JSONSchemaPropsOrArray};
    use kube::CustomResourceExt as _;

    use super::*;

    fn names(schema: &JSONSchemaProps, found: &mut Vec<String>) {
        for (name, property) in schema.properties.iter().flatten() {
            found.push(name.clone());
            names(property, found);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
            names(items, found);
        }
    }

    #[test]
    fn each_field_is_in_the_dictionary() {
        let (_, text) = file().unwrap();
        let crd = RedisClusterRef::crd();
        let schema =
            crd.spec.versions[0].schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref()).unwrap();
        let mut fields = Vec::new();
        names(schema, &mut fields);
        assert!(fields.len() > 60, "{} fields were found", fields.len());
        for field in fields {
            assert!(text.contains(&format!("\"{field}\":")), "no sample has the field {field}");
        }
    }
}
