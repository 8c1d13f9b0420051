//! The examples of `examples/`: read, applied, and what has to become of them.

pub mod expected;
pub mod manifests;
pub mod seen;

use anyhow::bail;
use harness::{describe, root};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::Api;

use self::expected::ExampleOutcomes;

/// The namespace that they are applied to.
pub const NAMESPACE: &str = "shop";

/// Applies everything in `examples/` and `examples/bad/`.
///
/// # Errors
/// As [`manifests::read`] and [`manifests::apply`].
pub async fn apply(client: &Client, outcomes: &mut ExampleOutcomes) -> anyhow::Result<()> {
    for folder in ["examples", "examples/bad"] {
        for object in manifests::read(&root().join(folder))? {
            manifests::apply(client, NAMESPACE, &object, outcomes).await?;
        }
    }
    Ok(())
}

/// The ConfigMap that applications mount, as a sentence.
///
/// # Errors
/// When it is not as the example asks for.
pub async fn connection(client: &Client) -> anyhow::Result<String> {
    const NAME: &str = "orders-redis";
    const HOST: &str = "orders.kr-central-2.memstore.shop.example";
    let found = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE).get(NAME).await;
    let told = match found {
        Ok(found) => {
            let data = found.data.unwrap_or_default();
            let told = data.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ");
            if data.get("host").map(String::as_str) == Some(HOST) {
                return Ok(format!("The ConfigMap {NAME} tells applications {told}."));
            }
            told
        }
        Err(error) => describe(&error.into()),
    };
    bail!("configmap/{NAME}\n    expected  host={HOST}\n    found     {told}")
}
