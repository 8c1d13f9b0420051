//! References and Secrets, made in bulk.

use std::collections::BTreeMap;
use std::fmt::Debug;

use fake_cloud::{KAKAO_CREDENTIAL_ID, KAKAO_CREDENTIAL_SECRET};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, ObjectMeta, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use managed_redis_operator::api::RedisClusterRef;
use serde::Serialize;
use serde::de::DeserializeOwned;
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
    create_each(client, namespace, numbers, |number| reference(number, interval_seconds)).await
}

/// Creates an object for each of these numbers.
pub async fn create_each<K>(
    client: &Client,
    namespace: &str,
    numbers: std::ops::RangeInclusive<u32>,
    object: impl Fn(u32) -> Result<K, BenchError>,
) -> Result<(), BenchError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize,
{
    let (api, object): (&Api<K>, _) = (&Api::namespaced(client.clone(), namespace), &object);
    futures::stream::iter(numbers)
        .map(|number| async move {
            api.create(&PostParams::default(), &object(number)?).await?;
            Ok(())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await
}
