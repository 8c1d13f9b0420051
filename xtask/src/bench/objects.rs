//! References and Secrets, made in bulk.

use std::collections::BTreeMap;

use fake_cloud::{KAKAO_CREDENTIAL_ID, KAKAO_CREDENTIAL_SECRET};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use managed_redis_operator::api::RedisClusterRef;
use serde_json::json;

use super::BenchError;

/// Requests to the API server under way at once.
const AT_ONCE: usize = 16;

/// A namespace with the Secret that references name.
pub async fn namespace(client: &Client, name: &str) -> Result<(), BenchError> {
    let metadata = |name: &str| ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata: metadata(name), ..Namespace::default() };
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    let data = [
        ("KAKAOCLOUD_APPLICATION_CREDENTIAL_ID", KAKAO_CREDENTIAL_ID),
        ("KAKAOCLOUD_APPLICATION_CREDENTIAL_SECRET", KAKAO_CREDENTIAL_SECRET),
    ];
    let data: BTreeMap<String, String> = data.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let secret = Secret { metadata: metadata("kakaocloud"), string_data: Some(data), ..Secret::default() };
    Api::namespaced(client.clone(), name).create(&PostParams::default(), &secret).await?;
    Ok(())
}

/// The name of the `number`-th cluster, and of its reference.
pub fn name(number: u32) -> String {
    format!("bench-{number:05}")
}

/// The ID that the fake cloud gives to the `number`-th cluster it makes up.
pub fn cluster_id(number: u32) -> String {
    format!("{number:08x}-0d1c-4b2a-9f3e-{number:012x}")
}

/// The reference to the `number`-th cluster.
pub fn reference(number: u32, interval_seconds: u64) -> Result<RedisClusterRef, BenchError> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "managedredis.dev/v1alpha1",
        "kind": "RedisClusterRef",
        "metadata": { "name": name(number) },
        "spec": {
            "kakaoCloud": { "clusterID": cluster_id(number), "credentialsSecretRef": { "name": "kakaocloud" } },
            "pollInterval": format!("{interval_seconds}s"),
        },
    }))?)
}

/// Creates the references to clusters of these numbers.
pub async fn create(
    client: &Client,
    namespace: &str,
    numbers: std::ops::RangeInclusive<u32>,
    interval_seconds: u64,
) -> Result<(), BenchError> {
    let api: &Api<RedisClusterRef> = &Api::namespaced(client.clone(), namespace);
    futures::stream::iter(numbers)
        .map(|number| async move {
            api.create(&PostParams::default(), &reference(number, interval_seconds)?).await?;
            Ok(())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await
}
