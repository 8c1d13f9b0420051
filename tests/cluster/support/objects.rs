//! Objects as a user writes them, and ways to look at them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use managed_redis_operator::api::{RedisClusterRef, RedisClusterRefStatus, RedisParameterSync};
use serde_json::{Value, json};

/// A kind with conditions.
pub(crate) trait Conditions {
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
pub(crate) fn condition<'a>(object: &'a impl Conditions, type_: &str) -> Option<&'a Condition> {
    object.conditions().iter().find(|condition| condition.type_ == type_)
}

/// The status of a reference that has one.
pub(crate) fn status(reference: &RedisClusterRef) -> &RedisClusterRefStatus {
    reference.status.as_ref().expect("a status")
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    let mut object = json!({ "apiVersion": "managedredis.dev/v1alpha1", "kind": kind, "metadata": { "name": name } });
    object["spec"] = spec;
    object
}

/// A reference to a KakaoCloud cluster by ID, through the Secret `kakaocloud`.
pub(crate) fn kakao(name: &str, id: &str) -> Value {
    let target = json!({ "clusterID": id, "credentialsSecretRef": { "name": "kakaocloud" } });
    object("RedisClusterRef", name, json!({ "kakaoCloud": target }))
}

/// A reference to a KakaoCloud cluster by name, through the Secret `kakaocloud`.
pub(crate) fn kakao_by_name(name: &str, cluster: &str) -> Value {
    let target = json!({ "clusterName": cluster, "credentialsSecretRef": { "name": "kakaocloud" } });
    object("RedisClusterRef", name, json!({ "kakaoCloud": target }))
}

/// A reference to an NCP instance by number, through the Secret `ncp`.
pub(crate) fn ncp(name: &str, number: &str) -> Value {
    let target = json!({ "cloudDBInstanceNo": number, "credentialsSecretRef": { "name": "ncp" } });
    object("RedisClusterRef", name, json!({ "ncp": target }))
}

/// A parameter sync.
pub(crate) fn parameter_sync(name: &str, spec: Value) -> Value {
    object("RedisParameterSync", name, spec)
}
