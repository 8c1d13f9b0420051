//! Installing the chart, and what the examples come to.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use serde_json::Value;

use super::cloud::Cloud;
use super::error::{E2eError, ensure, until};
use super::release;
use super::scene::{Scene, restricted};
use crate::demo::expect::{self, Board, EXPECTATIONS, Found};
use crate::demo::{examples, seen};

const SETTLE_WITHIN: Duration = Duration::from_secs(120);

/// `helm install --wait`, into a namespace that enforces the restricted Pod Security Standard.
///
/// # Errors
/// When Helm fails, or the pods are not as they should be.
pub async fn install(scene: &Scene, values: &Value) -> Result<String, E2eError> {
    restricted(&scene.client, release::NAMESPACE).await?;
    let notes = release::upgrade_here(scene, values).await?;
    ensure(!notes.contains("would violate PodSecurity"), || format!("Pod Security warns:\n{notes}"))?;
    let pods = release::wait_for_pods(scene, 2).await?;
    let leader = release::wait_for_leader(scene, None).await?;
    Ok(format!("{} pods, {} leads", pods.len(), release::pod_of(&leader)))
}

/// Applies examples/ and waits until every object is as the demonstration promises.
///
/// # Errors
/// With every difference.
pub async fn examples(scene: &Scene, cloud: &Cloud) -> Result<String, E2eError> {
    restricted(&scene.client, examples::NAMESPACE).await?;
    let mut refused = Board::new();
    examples::apply_examples(&scene.client, &mut refused).await?;
    until("the examples come out as promised", SETTLE_WITHIN, || async {
        let mut board = refused.clone();
        let seen = seen::list(&scene.client, examples::NAMESPACE).await.map_err(E2eError::kube("list the objects"))?;
        board.extend(seen.into_iter().map(|(key, seen)| (key, Found::Stands(seen))));
        Ok(if expect::all_met(&board) { Ok(()) } else { Err(expect::mismatches(&board).join("\n")) })
    })
    .await?;
    let effects = cloud.effects().await?;
    expect::effects(effects.flushes, effects.applies).map_err(E2eError::Wrong)?;
    examples::connection(&scene.client).await.map_err(E2eError::Wrong)?;
    Ok(format!("{} of {0}, one flush, two applies, the ConfigMap", EXPECTATIONS.len()))
}

/// What a scrape of every operator pod shows: one of them leads.
///
/// # Errors
/// When the metrics cannot be read, or say something else.
pub async fn metrics(scene: &Scene) -> Result<String, E2eError> {
    let api: Api<Pod> = Api::namespaced(scene.client.clone(), release::NAMESPACE);
    let pods = api.list(&ListParams::default().labels(release::SELECTOR)).await.map_err(E2eError::kube("list pods"))?;
    let mut leaders = 0;
    for pod in &pods.items {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let path = format!("/api/v1/namespaces/{}/pods/{name}:8080/proxy/metrics", release::NAMESPACE);
        let request = http::Request::get(path).body(Vec::new()).map_err(|error| E2eError::Wrong(error.to_string()))?;
        let text =
            scene.client.request_text(request).await.map_err(E2eError::kube(format!("the metrics of {name}")))?;
        leaders += usize::from(text.lines().any(|line| line == "managed_redis_leader 1"));
    }
    ensure(leaders == 1, || format!("{leaders} of {} pods say that they lead", pods.items.len()))?;
    Ok(format!("{} pods scraped, one of them leads", pods.items.len()))
}
