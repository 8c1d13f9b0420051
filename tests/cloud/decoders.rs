//! Every decoder against noise, against good answers with something spoiled, and against good answers with values of any type. What
//! must hold is in `cloud::testing` and `inventory::testing`, which the fuzz targets share.

use managed_redis_operator::cloud::testing::{
    decode_kakao_apply, decode_kakao_detail, decode_kakao_flavors, decode_kakao_list, decode_kakao_token,
    decode_kakao_versions, decode_ncp_flush, decode_ncp_list,
};
use managed_redis_operator::inventory::testing::{keep_kakao_detail, keep_kakao_list, keep_ncp_list};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A good answer, and what reads it.
type Case = (fn() -> Value, &'static [fn(&[u8])]);

const CASES: [Case; 8] = [
    (|| json!({ "clusters": [cluster(), cluster()] }), &[decode_kakao_list, keep_kakao_list]),
    (cluster, &[decode_kakao_detail, keep_kakao_detail]),
    (|| json!(["7.2.11", "6.2.5"]), &[decode_kakao_versions]),
    (|| json!({ "flavors": [{ "id": "f-1", "name": "r2.medium", "vcpus": 4, "memory": 8 }] }), &[decode_kakao_flavors]),
    (|| json!({ "objectId": "c-1" }), &[decode_kakao_apply]),
    (|| json!({ "token": { "expires_at": "2036-11-22T10:00:00.123456Z" } }), &[decode_kakao_token]),
    (|| json!({ "getCloudDBInstanceListResponse": response() }), &[decode_ncp_list, keep_ncp_list]),
    (|| json!({ "flushCloudDBInstanceResponse": response() }), &[decode_ncp_flush]),
];

fn cluster() -> Value {
    json!({
        "projectId": "p-1", "objectId": "c-1", "name": "sessions", "description": "x", "version": "7.2.11", "port": 6379,
        "clusterEnabled": true, "recoveryEnabled": true, "shardCount": 3, "totalNodeCount": 6, "flavorId": "f-1",
        "vcpu": 4, "memory": 8, "endpoints": { "primaryEndpoint": "a.example", "readEndpoint": "" }, "userName": "-",
        "subnets": [{ "id": "s-1" }], "subnetAssignments": [{ "primary": { "id": "s-1" }, "replicas": [{ "id": "s-2" }] }],
        "securityGroups": [{ "id": "g-1" }], "backupSchedule": { "cron": "0 1 * * *", "retentionLimit": 7 },
        "creator": "c@example.com", "license": "GPL", "status": "Running", "parameterGroupId": "pg-1",
        "parameterGroupName": "defaults", "parameterGroupSyncStatus": "In-Sync", "createdAt": "2026-03-06T02:35:13Z",
    })
}

fn response() -> Value {
    json!({ "requestId": "r-1", "returnCode": "0", "returnMessage": "success", "totalRows": 1, "cloudDBInstanceList": [{
        "cloudDBInstanceNo": "771203", "cloudDBServiceName": "cart", "engineVersion": "REDIS 4.0.2", "cpuCount": 2,
        "memorySize": 4_294_967_296_i64, "cloudDBPort": 6379, "isHa": true, "backupTime": "03:15",
        "cloudDBInstanceStatusName": "running", "createDate": "2026-03-06T11:35:13+0900",
        "cloudDBConfigGroupList": [{ "configGroupNo": 7, "configGroupName": "defaults" }],
        "accessControlGroupList": [{ "accessControlGroupConfigurationNo": "9" }],
        "cloudDBServerInstanceList": [{ "cloudDBServerInstanceNo": "771204", "cloudDBServerName": "cart-001",
            "cloudDBServerRole": { "code": "M" }, "privateDnsName": "cart.example", "uptime": "2026-03-06T11:40:13+0900" }],
    }] })
}

/// The document in XML, as a gateway may send it.
fn xml(name: &str, value: &Value) -> String {
    let inner = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| xml(name, value)).collect(),
        Value::Array(entries) => entries.iter().map(|entry| xml("entry", entry)).collect(),
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    if name.is_empty() { inner } else { format!("<{name}>{inner}</{name}>") }
}

/// Puts `value` in the place of the `at`-th value of the document, in the order in which they are met.
fn put(document: &mut Value, at: &mut usize, value: &Value) {
    if *at == 0 {
        *document = value.clone();
    }
    *at = at.wrapping_sub(1);
    match document {
        Value::Object(fields) => fields.values_mut().for_each(|field| put(field, at, value)),
        Value::Array(entries) => entries.iter_mut().for_each(|entry| put(entry, at, value)),
        _ => {}
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        Just(json!("-000044-03-15T12:00:00Z")),
        Just(json!("0000-01-01T00:00:00Z")),
        Just(json!("x".repeat(5000))),
        Just(json!(vec![json!({}); 2000])),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[a-zA-Z]{1,8}", inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
}

#[test]
fn good_answers_are_read() {
    use managed_redis_operator::cloud::testing::{kakao_cluster, kakao_clusters, ncp_instances};
    assert_eq!(kakao_clusters(CASES[0].0().to_string().as_bytes()).len(), 2);
    assert!(kakao_cluster(cluster().to_string().as_bytes()).is_some());
    let page = CASES[6].0();
    for body in [page.to_string(), xml("", &page)] {
        assert_eq!(ncp_instances(body.as_bytes()).len(), 1, "{body}");
    }
}

proptest! {
    #[test]
    fn noise(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        CASES.iter().flat_map(|(_, decoders)| *decoders).for_each(|decode| decode(&body));
    }

    #[test]
    fn a_good_answer_with_a_part_of_its_bytes_spoiled(at in 0_usize..2000, part in "[\\[\\]{}\",:0-9a-z.<>/\\\\-]{0,6}") {
        for (good, decoders) in CASES {
            for good in [good().to_string(), xml("", &good())] {
                let start = at.min(good.len());
                let end = (start + part.len()).min(good.len());
                let body = [&good.as_bytes()[..start], part.as_bytes(), &good.as_bytes()[end..]].concat();
                decoders.iter().for_each(|decode| decode(&body));
            }
        }
    }

    #[test]
    fn a_good_answer_with_a_value_of_any_type(at in 0_usize..50, value in value()) {
        for (good, decoders) in CASES {
            let mut document = good();
            put(&mut document, &mut at.clone(), &value);
            let texts = [document.to_string(), format!("\u{feff}{document}"), xml("", &document)];
            texts.iter().for_each(|body| decoders.iter().for_each(|decode| decode(body.as_bytes())));
        }
    }
}
