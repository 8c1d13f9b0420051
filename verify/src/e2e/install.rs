//! Installing the chart, and what the examples come to.

use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use delivery::examples::expected::{self, EXPECTATIONS, ExampleOutcome, ExampleOutcomes};
use delivery::examples::{self, seen};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use serde_json::Value;

use super::cloud::ClusterCloud;
use super::cluster::TestCluster;
use super::namespace::restricted;
use super::release;
use super::until::until;

const SETTLE_WITHIN: Duration = Duration::from_secs(120);

/// `helm install --wait`, into a namespace that enforces the restricted Pod Security Standard.
///
/// # Errors
/// When Helm fails, or the pods are not as they should be.
pub(super) async fn install(cluster: &TestCluster, values: &Value) -> anyhow::Result<String> {
    restricted(&cluster.client, release::NAMESPACE).await?;
    let notes = release::upgrade_here(cluster, values).await?;
    ensure!(!notes.contains("would violate PodSecurity"), "Pod Security warns:\n{notes}");
    let pods = release::wait_for_pods(cluster, 2).await?;
    let leader = release::wait_for_leader(cluster, None).await?;
    Ok(format!("{} pods, {} leads", pods.len(), release::pod_of(&leader)))
}

/// Applies examples/ and waits until every object is as the demonstration promises.
///
/// # Errors
/// With every difference.
pub(super) async fn examples(cluster: &TestCluster, cloud: &ClusterCloud) -> anyhow::Result<String> {
    restricted(&cluster.client, examples::NAMESPACE).await?;
    let mut refused = ExampleOutcomes::new();
    examples::apply(&cluster.client, &mut refused).await?;
    until("the examples come out as promised", SETTLE_WITHIN, || async {
        let mut outcomes = refused.clone();
        let rows = seen::list(&cluster.client, examples::NAMESPACE).await.context("cannot list the objects")?;
        outcomes.extend(rows.into_iter().map(|(name, row)| (name, ExampleOutcome::Stands(row))));
        Ok(if expected::all_met(&outcomes) { Ok(()) } else { Err(expected::mismatches(&outcomes).join("\n")) })
    })
    .await?;
    let effects = cloud.effects().await?;
    expected::effects(effects.flushes, effects.applies).map_err(|difference| anyhow!(difference))?;
    examples::connection(&cluster.client).await?;
    Ok(format!("{} of {0}, one flush, two applies, the ConfigMap", EXPECTATIONS.len()))
}

/// What a scrape of every operator pod shows: one of them leads.
///
/// # Errors
/// When the metrics cannot be read, or say something else.
pub(super) async fn metrics(cluster: &TestCluster) -> anyhow::Result<String> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), release::NAMESPACE);
    let pods = api.list(&ListParams::default().labels(release::SELECTOR)).await.context("cannot list pods")?;
    let mut leaders = 0;
    for pod in &pods.items {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let path = format!("/api/v1/namespaces/{}/pods/{name}:8080/proxy/metrics", release::NAMESPACE);
        let request = http::Request::get(path).body(Vec::new())?;
        let text =
            cluster.client.request_text(request).await.with_context(|| format!("cannot read the metrics of {name}"))?;
        leaders += usize::from(text.lines().any(|line| line == "managed_redis_leader 1"));
    }
    ensure!(leaders == 1, "{leaders} of {} pods say that they lead", pods.items.len());
    Ok(format!("{} pods scraped, one of them leads", pods.items.len()))
}
