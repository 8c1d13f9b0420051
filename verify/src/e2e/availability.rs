//! What must not be noticed: a killed leader, an upgrade in the middle of a flush, a drained node.

use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt as _;
use kube::api::{Api, EvictParams, ListParams};
use managed_redis_operator::api::flush_request::FlushPhase;
use serde_json::json;

use super::cloud::ClusterCloud;
use super::cluster::TestCluster;
use super::flush::{CreatedFlush, INSTANCE};
use super::release::{self, Role};
use super::until::until;

/// The leader dies while the cloud flushes: another takes over and follows the same flush to its end.
///
/// # Errors
/// When no other pod takes over, or there is more than one flush.
pub(super) async fn killed_while_accepted(cluster: &TestCluster, cloud: &ClusterCloud) -> anyhow::Result<String> {
    let before = cloud.effects().await?.flushes_of(INSTANCE);
    let flush = CreatedFlush::create(cluster, "leader-killed-while-accepted").await?;
    flush.reaches(&[FlushPhase::Accepted]).await?;
    let killed = release::kill_leader(cluster).await?;
    let started = Instant::now();
    release::wait_for_leader(cluster, Some(&killed)).await?;
    let takeover = started.elapsed();
    flush.reaches(&[FlushPhase::Succeeded]).await?;
    flushed_once_more(cloud, before).await?;
    Ok(format!("led again after {:.0} s, Succeeded, one flush", takeover.as_secs_f64()))
}

/// The leader dies while it waits for the answer: whether the instance was flushed is unknown, so the flush is never sent again.
///
/// # Errors
/// When it is anything but Unknown, or there is more than one flush.
pub(super) async fn killed_while_sending(cluster: &TestCluster, cloud: &ClusterCloud) -> anyhow::Result<String> {
    let before = cloud.effects().await?.flushes_of(INSTANCE);
    cloud.fault_next_flush(INSTANCE, json!({"delay": {"ms": 20_000}})).await?;
    let flush = CreatedFlush::create(cluster, "leader-killed-while-sending").await?;
    flush.reaches(&[FlushPhase::Sending]).await?;
    let killed = release::kill_leader(cluster).await?;
    release::wait_for_leader(cluster, Some(&killed)).await?;
    flush.reaches(&[FlushPhase::Unknown]).await?;
    let flushes = cloud.effects().await?.flushes_of(INSTANCE) - before;
    ensure!(flushes <= 1, "{flushes} flushes for one request");
    release::wait_for_pods(cluster, 2).await?;
    Ok(format!("Unknown, not sent again ({flushes} of at most one flush)"))
}

/// `helm upgrade` from the previous version while a flush is on its way: the old leader finishes what it has begun, the new
/// one goes on.
///
/// # Errors
/// When the upgrade fails, the flush does not succeed, or it is done twice.
pub(super) async fn upgraded_while_flushing(cluster: &TestCluster, cloud: &ClusterCloud) -> anyhow::Result<String> {
    let before = cloud.effects().await?.flushes_of(INSTANCE);
    // Long enough for the upgrade to reach the leader while it waits for the answer.
    cloud.fault_next_flush(INSTANCE, json!({"delay": {"ms": 5_000}})).await?;
    let flush = CreatedFlush::create(cluster, "upgraded-while-flushing").await?;
    flush.reaches(&[FlushPhase::Sending, FlushPhase::Accepted]).await?;
    release::upgrade_here(cluster, &release::values(cloud, &cluster.images.operator, Role::Present)).await?;
    flush.reaches(&[FlushPhase::Succeeded]).await?;
    flushed_once_more(cloud, before).await?;
    let pods = release::wait_for_pods(cluster, 2).await?;
    let images: Vec<&str> =
        pods.iter().filter_map(|pod| pod.spec.as_ref()?.containers.first()?.image.as_deref()).collect();
    ensure!(images.iter().all(|image| *image == cluster.images.operator), "the pods run {images:?}");
    Ok(format!("{} to {}, Succeeded, one flush", cluster.images.previous, cluster.images.operator))
}

async fn flushed_once_more(cloud: &ClusterCloud, before: u64) -> anyhow::Result<()> {
    let flushes = cloud.effects().await?.flushes_of(INSTANCE) - before;
    ensure!(flushes == 1, "{flushes} flushes for one request");
    Ok(())
}

/// The budget lets go one pod but not the other, and a drain therefore gets through without an outage.
///
/// # Errors
/// When the second pod may be evicted as well, or the drain does not finish.
pub(super) async fn drained(cluster: &TestCluster) -> anyhow::Result<String> {
    let pods = release::wait_for_pods(cluster, 2).await?;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let nodes = nodes.list(&ListParams::default()).await.context("cannot list nodes")?;
    let names: Vec<String> = nodes.items.iter().map(Node::name_any).collect();
    // With no node to go to, the evicted pod's successor stays Pending.
    for name in &names {
        cluster.kubectl(&["cordon", name]).await?;
    }
    let outcome = budget_holds(cluster, &pods).await;
    for name in &names {
        cluster.kubectl(&["uncordon", name]).await?;
    }
    outcome?;
    release::wait_for_pods(cluster, 2).await?;
    if names.len() < 2 {
        return Ok("one pod evicted, the other refused (a single node is not drained)".to_owned());
    }
    let leader = release::wait_for_leader(cluster, None).await?;
    let node = node_of(cluster, release::pod_of(&leader)).await?;
    let selector = format!("--pod-selector={}", release::SELECTOR);
    cluster.kubectl(&["drain", &node, &selector, "--ignore-daemonsets", "--timeout=90s"]).await?;
    let pods = release::wait_for_pods(cluster, 2).await?;
    let left = pods.iter().filter(|pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(&node));
    let left = left.count();
    cluster.kubectl(&["uncordon", &node]).await?;
    ensure!(left == 0, "{left} pods are still on the drained {node}");
    let next = release::wait_for_leader(cluster, Some(&leader)).await?;
    Ok(format!("the second eviction was refused; {node} drained, {} leads", release::pod_of(&next)))
}

/// Evicts one pod, and then the other, which must be refused.
async fn budget_holds(cluster: &TestCluster, pods: &[Pod]) -> anyhow::Result<()> {
    let api: Api<Pod> = Api::namespaced(cluster.impatient.clone(), release::NAMESPACE);
    let [first, second] = pods else { bail!("{} pods instead of two", pods.len()) };
    let evict = EvictParams::default();
    // Refused as well while the budget's controller has not yet seen that both are ready.
    until("the first pod may be evicted", Duration::from_secs(30), || async {
        Ok(match api.evict(&first.name_any(), &evict).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 429 => Err(status.message.clone()),
            Err(error) => return Err(error).context("cannot evict the first pod"),
        })
    })
    .await?;
    until("the first pod is on its way out", Duration::from_secs(30), || async {
        let left = release::pods(cluster).await?;
        let gone = left.iter().all(|pod| pod.metadata.uid != first.metadata.uid);
        Ok(if gone { Ok(()) } else { Err("it is still there".to_owned()) })
    })
    .await?;
    match api.evict(&second.name_any(), &evict).await {
        Err(kube::Error::Api(status)) if status.code == 429 => Ok(()),
        Err(error) => Err(error).context("cannot evict the second pod"),
        Ok(_) => Err(anyhow!("both pods were evicted: the budget does not hold")),
    }
}

async fn node_of(cluster: &TestCluster, pod: &str) -> anyhow::Result<String> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), release::NAMESPACE);
    let found = api.get(pod).await.with_context(|| format!("cannot read the pod {pod}"))?;
    let node = found.spec.and_then(|spec| spec.node_name);
    node.ok_or_else(|| anyhow!("the pod {pod} has no node"))
}
