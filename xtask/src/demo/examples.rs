//! The manifests of `examples/` on an API server, and the ConfigMap that comes of them.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::Api;

use super::expect::Board;
use super::manifests::{self, ManifestError, sentence};
use crate::root;

/// Where the examples are applied.
pub const NAMESPACE: &str = "shop";

/// Applies everything in `examples/` and `examples/bad/`.
///
/// # Errors
/// As [`manifests::read`] and [`manifests::apply`].
pub async fn apply_examples(client: &Client, board: &mut Board) -> Result<(), ManifestError> {
    for folder in ["examples", "examples/bad"] {
        for object in manifests::read(&root().join(folder))? {
            manifests::apply(client, NAMESPACE, &object, board).await?;
        }
    }
    Ok(())
}

/// The ConfigMap that applications mount, as a sentence; `Err` if it is not as the example asks for.
pub async fn connection(client: &Client) -> Result<String, String> {
    const NAME: &str = "orders-redis";
    const HOST: &str = "orders.kr-central-2.memstore.shop.example";
    let found = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE).get(NAME).await;
    let data = found.map(|found| found.data.unwrap_or_default());
    let data = data
        .map_err(|error| format!("configmap/{NAME}\n    expected  host={HOST}\n    found     {}", sentence(&error)))?;
    let told: Vec<String> = data.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if data.get("host").map(String::as_str) == Some(HOST) {
        Ok(format!("The ConfigMap {NAME} tells applications {}.", told.join(", ")))
    } else {
        Err(format!("configmap/{NAME}\n    expected  host={HOST}\n    found     {}", told.join(", ")))
    }
}
