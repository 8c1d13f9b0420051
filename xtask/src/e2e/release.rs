//! The operator's release: Helm, its pods, its leader.

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::{Value, json};

use super::cloud::Cloud;
use super::error::{E2eError, ensure, until};
use super::scene::Scene;
use crate::chart::chart;

/// Name of the release and, with it, of its objects.
pub const RELEASE: &str = "managed-redis-operator";
/// Where it is.
pub const NAMESPACE: &str = "managed-redis-system";
/// Selects its pods.
pub const SELECTOR: &str = "app.kubernetes.io/name=managed-redis-operator";
/// How long Helm may wait for the pods.
const HELM_WAIT: &str = "--timeout=120s";
/// How long another pod may take to lead after one was killed: the lease's 15 s, and a busy machine.
const TAKEOVER_WITHIN: Duration = Duration::from_secs(60);

/// Which of the two versions an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The one that is upgraded from.
    Previous,
    /// The one that is tested.
    Present,
}

/// Values for a cluster in which both clouds are the fake one. `image` is `repository:tag`; `role` tells the version that is
/// upgraded from the one that is upgraded to, even if both are the same image.
pub fn values(cloud: &Cloud, image: &str, role: Role) -> Value {
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
pub async fn upgrade(scene: &Scene, chart: &Path, values: &Value) -> Result<String, E2eError> {
    let file = write(scene, values)?;
    let (chart, file) = (chart.to_string_lossy(), file.to_string_lossy());
    let arguments = ["upgrade", "--install", RELEASE, &chart, "--namespace", NAMESPACE, "--values", &file];
    Ok(scene.helm.run(&[&arguments[..], &["--reset-values", "--wait", HELM_WAIT]].concat()).await?)
}

/// As [`upgrade`], with the repository's chart.
///
/// # Errors
/// With what Helm said.
pub async fn upgrade_here(scene: &Scene, values: &Value) -> Result<String, E2eError> {
    upgrade(scene, &chart(), values).await
}

/// Writes values to a file of Helm's time.
///
/// # Errors
/// When it cannot be written.
pub fn write(scene: &Scene, values: &Value) -> Result<PathBuf, E2eError> {
    let path = scene.helm.scratch().join("values.json");
    std::fs::write(&path, values.to_string())?;
    Ok(path)
}

/// The operator's pods that are not on their way out.
///
/// # Errors
/// When they cannot be listed.
pub async fn pods(scene: &Scene) -> Result<Vec<Pod>, E2eError> {
    let api: Api<Pod> = Api::namespaced(scene.client.clone(), NAMESPACE);
    let list = api.list(&ListParams::default().labels(SELECTOR)).await.map_err(E2eError::kube("list pods"))?;
    Ok(list.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect())
}

/// Whether a pod says it is ready.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

/// Waits until so many pods are ready.
///
/// # Errors
/// When they are not in time.
pub async fn wait_for_pods(scene: &Scene, count: usize) -> Result<Vec<Pod>, E2eError> {
    until(&format!("{count} pods of the operator are ready"), Duration::from_secs(90), || async {
        let pods = pods(scene).await?;
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        Ok(if ready == count && pods.len() == count { Ok(pods) } else { Err(format!("{ready} of {} are", pods.len())) })
    })
    .await
}

/// Who holds the leader's lease: the identity, which begins with the pod's name. None while nobody does.
///
/// # Errors
/// When the lease cannot be read.
pub async fn leader(scene: &Scene) -> Result<Option<String>, E2eError> {
    let api: Api<Lease> = Api::namespaced(scene.client.clone(), NAMESPACE);
    let lease = api.get_opt(RELEASE).await.map_err(E2eError::kube("read the leader's lease"))?;
    let holder = lease.and_then(|lease| lease.spec).and_then(|spec| spec.holder_identity);
    Ok(holder.filter(|holder| !holder.is_empty()))
}

/// Waits for a leader that is not `before`.
///
/// # Errors
/// When there is none in time.
pub async fn wait_for_leader(scene: &Scene, before: Option<&str>) -> Result<String, E2eError> {
    until("another pod leads", TAKEOVER_WITHIN, || async {
        Ok(match leader(scene).await? {
            Some(holder) if Some(holder.as_str()) != before => Ok(holder),
            holder => Err(format!("the lease is held by {}", holder.as_deref().unwrap_or("nobody"))),
        })
    })
    .await
}

/// The pod of a leader's identity.
pub fn pod_of(identity: &str) -> &str {
    identity.rsplit_once('_').map_or(identity, |(pod, _)| pod)
}

/// Kills the leading process without a warning, and says who it was. In a cluster that is not the tests' own the pod is
/// deleted by force instead, which lets it know.
///
/// # Errors
/// When nobody leads, or it cannot be killed.
pub async fn kill_leader(scene: &Scene) -> Result<String, E2eError> {
    let identity = wait_for_leader(scene, None).await?;
    let api: Api<Pod> = Api::namespaced(scene.client.clone(), NAMESPACE);
    let name = pod_of(&identity);
    match &scene.cluster {
        Some(cluster) => {
            let pod = api.get(name).await.map_err(E2eError::kube(format!("read the pod {name}")))?;
            let killed = cluster.kill_containers(&pod.uid().unwrap_or_default())?;
            ensure(killed > 0, || format!("the pod {name} has no process to kill"))?;
        }
        None => {
            let force = DeleteParams::default().grace_period(0);
            api.delete(name, &force).await.map_err(E2eError::kube(format!("delete the pod {name}")))?;
        }
    }
    Ok(identity)
}
