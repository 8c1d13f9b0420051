//! References and other objects, made in bulk.

use std::fmt::Debug;

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::Resource;
use kube::api::{Api, PostParams};
use kube::core::NamespaceResourceScope;
use managed_redis_operator::api::RedisClusterRef;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

/// Requests to the API server under way at once.
const AT_ONCE: usize = 16;

/// The name of the `number`-th cluster, and of its reference.
pub(crate) fn name(number: u32) -> String {
    format!("bench-{number:05}")
}

/// The ID that the fake cloud gives to the `number`-th cluster it makes up.
pub(crate) fn cluster_id(number: u32) -> String {
    format!("{number:08x}-0d1c-4b2a-9f3e-{number:012x}")
}

/// The reference to the `number`-th cluster.
pub(crate) fn reference(number: u32, interval_seconds: u64) -> Result<RedisClusterRef> {
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
pub(crate) async fn create(
    api: &Api<RedisClusterRef>,
    numbers: std::ops::RangeInclusive<u32>,
    interval_seconds: u64,
) -> Result<()> {
    create_each(api, numbers, |number| reference(number, interval_seconds)).await
}

/// Creates an object for each of these numbers.
pub(crate) async fn create_each<K>(
    api: &Api<K>,
    numbers: std::ops::RangeInclusive<u32>,
    object: impl Fn(u32) -> Result<K>,
) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize,
{
    let object = &object;
    futures::stream::iter(numbers)
        .map(|number| async move {
            api.create(&PostParams::default(), &object(number)?).await?;
            Ok(())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await
}
