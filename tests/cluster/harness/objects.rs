//! Objects as a user writes them, and ways to look at them.

use std::collections::BTreeMap;

use fake_cloud::{KAKAO_CREDENTIAL_ID, KAKAO_CREDENTIAL_SECRET, NCP_ACCESS_KEY, NCP_SECRET_KEY};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use managed_redis_operator::api::{RedisClusterRef, RedisClusterRefStatus, RedisParameterSync};
use serde_json::{Value, json};

/// A kind with conditions.
pub trait Conditions {
    /// `status.conditions`.
    fn conditions(&self) -> &[Condition];
}

impl Conditions for RedisClusterRef {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }
}

impl Conditions for RedisParameterSync {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }
}

/// The condition of a type, if it stands.
pub fn condition<'a>(object: &'a impl Conditions, type_: &str) -> Option<&'a Condition> {
    object.conditions().iter().find(|condition| condition.type_ == type_)
}

/// The status of a reference that has one.
pub fn status(reference: &RedisClusterRef) -> &RedisClusterRefStatus {
    reference.status.as_ref().expect("a status")
}

fn map(pairs: [(&str, &str); 2]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The data of a Secret with the KakaoCloud credential the clouds know.
pub fn kakao_secret() -> BTreeMap<String, String> {
    map([
        ("KAKAOCLOUD_APPLICATION_CREDENTIAL_ID", KAKAO_CREDENTIAL_ID),
        ("KAKAOCLOUD_APPLICATION_CREDENTIAL_SECRET", KAKAO_CREDENTIAL_SECRET),
    ])
}

/// The data of a Secret with the NCP key the clouds know.
pub fn ncp_secret() -> BTreeMap<String, String> {
    map([("NCLOUD_ACCESS_KEY", NCP_ACCESS_KEY), ("NCLOUD_SECRET_KEY", NCP_SECRET_KEY)])
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "managedredis.dev/v1alpha1",
        "kind": kind,
        "metadata": { "name": name },
        "spec": spec,
    })
}

/// A reference to a KakaoCloud cluster by ID, through the Secret `kakaocloud`.
pub fn kakao(name: &str, id: &str) -> Value {
    let target = json!({ "clusterID": id, "credentialsSecretRef": { "name": "kakaocloud" } });
    object("RedisClusterRef", name, json!({ "kakaoCloud": target }))
}

/// A reference to a KakaoCloud cluster by name, through the Secret `kakaocloud`.
pub fn kakao_by_name(name: &str, cluster: &str) -> Value {
    let target = json!({ "clusterName": cluster, "credentialsSecretRef": { "name": "kakaocloud" } });
    object("RedisClusterRef", name, json!({ "kakaoCloud": target }))
}

/// A reference to an NCP instance by number, through the Secret `ncp`.
pub fn ncp(name: &str, number: &str) -> Value {
    let target = json!({ "cloudDBInstanceNo": number, "credentialsSecretRef": { "name": "ncp" } });
    object("RedisClusterRef", name, json!({ "ncp": target }))
}

/// A parameter sync.
pub fn parameter_sync(name: &str, spec: Value) -> Value {
    object("RedisParameterSync", name, spec)
}
