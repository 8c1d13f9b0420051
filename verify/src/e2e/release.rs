//! The operator's release: Helm, its pods, its leader.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use delivery::chart;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::{Value, json};

use super::cloud::ClusterCloud;
use super::cluster::TestCluster;
use super::until::until;

/// Name of the release and, with it, of its objects.
pub(super) const RELEASE: &str = "managed-redis-operator";
/// Where it is.
pub(super) const NAMESPACE: &str = "managed-redis-system";
/// Selects its pods.
pub(super) const SELECTOR: &str = "app.kubernetes.io/name=managed-redis-operator";
/// How long Helm may wait for the pods.
const HELM_WAIT: &str = "--timeout=120s";
/// How long another pod may take to lead after one was killed: the lease's 15 s, and a busy machine.
const TAKEOVER_WITHIN: Duration = Duration::from_secs(60);

/// Which of the two versions an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The one that is upgraded from.
    Previous,
    /// The one that is tested.
    Present,
}

/// Values for a cluster in which both clouds are the fake one. `image` is `repository:tag`; `role` tells the version that is
/// upgraded from the one that is upgraded to, even if both are the same image.
pub(super) fn values(cloud: &ClusterCloud, image: &str, role: Role) -> Value {
    let (repository, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
    json!({
        "image": {"repository": repository, "tag": tag},
        "config": {
            "kakaoEndpoint": [cloud.url],
            "kakaoIamEndpoint": [cloud.url],
            "ncpEndpoint": [cloud.url],
            "allowInsecureEndpoints": true,
        },
        "podAnnotations": {"managedredis.dev/e2e": format!("{role:?}")},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
    })
}

/// Installs or upgrades the release with exactly these values, and waits until its pods are ready.
///
/// # Errors
/// With what Helm said.
pub(super) async fn upgrade(cluster: &TestCluster, chart: &Path, values: &Value) -> anyhow::Result<String> {
    let file = write(cluster, values)?;
    let (chart, file) = (chart.to_string_lossy(), file.to_string_lossy());
    let arguments = ["upgrade", "--install", RELEASE, &chart, "--namespace", NAMESPACE, "--values", &file];
    cluster.helm.run(&[&arguments[..], &["--reset-values", "--wait", HELM_WAIT]].concat()).await
}

/// As [`upgrade`], with the repository's chart.
///
/// # Errors
/// With what Helm said.
pub(super) async fn upgrade_here(cluster: &TestCluster, values: &Value) -> anyhow::Result<String> {
    upgrade(cluster, &chart::folder(), values).await
}

/// Writes values to a file of Helm's time.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write(cluster: &TestCluster, values: &Value) -> anyhow::Result<PathBuf> {
    let path = cluster.helm.scratch().join("values.json");
    std::fs::write(&path, values.to_string())?;
    Ok(path)
}

/// The operator's pods that are not on their way out.
///
/// # Errors
/// When they cannot be listed.
pub(super) async fn pods(cluster: &TestCluster) -> anyhow::Result<Vec<Pod>> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let list = api.list(&ListParams::default().labels(SELECTOR)).await.context("cannot list pods")?;
    Ok(list.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect())
}

/// Whether a pod says it is ready.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

/// Waits until so many pods are ready.
///
/// # Errors
/// When they are not in time.
pub(super) async fn wait_for_pods(cluster: &TestCluster, count: usize) -> anyhow::Result<Vec<Pod>> {
    until(&format!("{count} pods of the operator are ready"), Duration::from_secs(90), || async {
        let pods = pods(cluster).await?;
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        Ok(if ready == count && pods.len() == count { Ok(pods) } else { Err(format!("{ready} of {} are", pods.len())) })
    })
    .await
}

/// The holder of the leader's lease: an identity that begins with the pod's name. None while the lease is free.
///
/// # Errors
/// When the lease cannot be read.
pub(super) async fn leader(cluster: &TestCluster) -> anyhow::Result<Option<String>> {
    let api: Api<Lease> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let lease = api.get_opt(RELEASE).await.context("cannot read the leader's lease")?;
    let holder = lease.and_then(|lease| lease.spec).and_then(|spec| spec.holder_identity);
    Ok(holder.filter(|holder| !holder.is_empty()))
}

/// Waits for a leader that is not `before`.
///
/// # Errors
/// When there is none in time.
pub(super) async fn wait_for_leader(cluster: &TestCluster, before: Option<&str>) -> anyhow::Result<String> {
    until("another pod leads", TAKEOVER_WITHIN, || async {
        Ok(match leader(cluster).await? {
            Some(holder) if Some(holder.as_str()) != before => Ok(holder),
            holder => Err(format!("the lease is held by {}", holder.as_deref().unwrap_or("nobody"))),
        })
    })
    .await
}

/// The pod of a leader's identity.
pub(super) fn pod_of(identity: &str) -> &str {
    identity.rsplit_once('_').map_or(identity, |(pod, _)| pod)
}

/// Kills the leading process without a warning, and says who it was. In a cluster that is not the tests' own the pod is
/// deleted by force instead, which lets it know.
///
/// # Errors
/// When there is no leader, or it cannot be killed.
pub(super) async fn kill_leader(cluster: &TestCluster) -> anyhow::Result<String> {
    let identity = wait_for_leader(cluster, None).await?;
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let name = pod_of(&identity);
    match &cluster.own {
        Some(own) => {
            let pod = api.get(name).await.with_context(|| format!("cannot read the pod {name}"))?;
            let killed = own.kill_containers(&pod.uid().unwrap_or_default())?;
            ensure!(killed > 0, "the pod {name} has no process to kill");
        }
        None => {
            let force = DeleteParams::default().grace_period(0);
            api.delete(name, &force).await.with_context(|| format!("cannot delete the pod {name}"))?;
        }
    }
    Ok(identity)
}
