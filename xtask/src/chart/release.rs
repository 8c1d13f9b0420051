//! Releases on a real API server. No pod starts there: what is looked at is what Helm does with the objects.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use delivery::chart::{self, RELEASE};
use delivery::helm::{CommandFailed, Helm};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use managed_redis_operator::api::{RedisClusterRef, crds};
use serde_json::{Value, json};
use testbed::ApiServer;

use crate::generate;

/// How long the API server may take to act on what it accepted.
const BOUND: Duration = Duration::from_secs(60);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(50);
const CLUSTER_REFS: &str = "redisclusterrefs.managedredis.dev";
/// Where the object is that outlives the releases.
const TENANT: &str = "default";

/// Takes a release through its life.
///
/// # Errors
/// At the first step that goes wrong.
pub(super) async fn check(helm: &Helm, server: &ApiServer) -> anyhow::Result<()> {
    let client = server.client()?;
    let here = chart::folder().to_string_lossy().into_owned();
    upgrade(helm, &client, &here).await?;
    uninstall(helm, &client).await?;
    adopt(helm, &here).await?;
    remove_all(helm, &client, &here).await
}

/// From a chart whose CRD has no `spec.suspend` yet to this one: an object made before is there, and can use the new field.
async fn upgrade(helm: &Helm, client: &Client, here: &str) -> anyhow::Result<()> {
    let older = older_chart(helm.scratch())?;
    install(helm, RELEASE, &older.to_string_lossy(), &["--create-namespace"]).await?;
    ensure!(!has_suspend(client).await?, "the older chart's CRD has spec.suspend already");
    let object =
        json!({ "spec": { "ncp": { "cloudDBInstanceNo": "882701", "credentialsSecretRef": { "name": "ncp" } } } });
    eventually("the older CRD is served", || apply(client, &object)).await?;
    let notes = helm.run(&["upgrade", RELEASE, here, "--namespace", RELEASE]).await?;
    for words in ["rollout status deployment/managed-redis-operator", "create secret generic", "get managedredis"] {
        ensure!(notes.contains(words), "the notes do not say {words:?}:\n{notes}");
    }
    ensure!(has_suspend(client).await?, "helm upgrade did not bring the new CRD");
    let mut newer = object;
    newer["spec"]["suspend"] = json!(true);
    eventually("the new field is served", || apply(client, &newer)).await
}

/// CRDs and objects stay, and nothing holds them.
async fn uninstall(helm: &Helm, client: &Client) -> anyhow::Result<()> {
    remove(helm, RELEASE).await?;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), RELEASE);
    ensure!(deployments.get_opt(RELEASE).await?.is_none(), "the Deployment outlived its release");
    let kept = match Api::<RedisClusterRef>::namespaced(client.clone(), TENANT).get("kept").await {
        Ok(kept) => Some(kept),
        // Of a kind that is gone the API server says so in plain text.
        Err(kube::Error::Api(status)) if status.code == 404 => None,
        Err(error) => return Err(error.into()),
    };
    let as_it_was =
        |kept: RedisClusterRef| kept.metadata.deletion_timestamp.is_none() && kept.metadata.finalizers.is_none();
    ensure!(kept.is_some_and(as_it_was), "the object did not outlive the release as it was");
    Ok(())
}

/// What was kept is adopted by a release of the same name; by another only if told to.
async fn adopt(helm: &Helm, here: &str) -> anyhow::Result<()> {
    install(helm, RELEASE, here, &[]).await?;
    remove(helm, RELEASE).await?;
    match install(helm, "other", here, &["--set", "rbac.create=false"]).await {
        Err(error) => {
            let failed = error.downcast::<CommandFailed>()?;
            ensure!(failed.output.contains("invalid ownership metadata"), failed);
        }
        Ok(()) => bail!("another release took the CRDs without being told to"),
    }
    install(helm, "other", here, &["--take-ownership"]).await?;
    remove(helm, "other").await
}

/// With `crds.keep=false` they go with the release, and their objects with them.
async fn remove_all(helm: &Helm, client: &Client, here: &str) -> anyhow::Result<()> {
    install(helm, RELEASE, here, &["--set", "crds.keep=false", "--take-ownership"]).await?;
    remove(helm, RELEASE).await?;
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let is_gone = || async { Ok(api.get_opt(CLUSTER_REFS).await?.map_or(Ok(()), |_| Err("it is there".to_owned()))) };
    eventually("the CRD is gone", is_gone).await
}

/// Installs a release in the namespace of all of them.
pub(super) async fn install(helm: &Helm, name: &str, chart: &str, more: &[&str]) -> anyhow::Result<()> {
    let arguments = [&["install", name, chart, "--namespace", RELEASE], more].concat();
    helm.run(&arguments).await.map(drop)
}

/// Uninstalls a release.
pub(super) async fn remove(helm: &Helm, name: &str) -> anyhow::Result<()> {
    helm.run(&["uninstall", name, "--namespace", RELEASE, "--wait"]).await.map(drop)
}

/// Applies the object that is kept; the inner error is what the API server said against it.
async fn apply(client: &Client, object: &Value) -> anyhow::Result<Result<(), String>> {
    let mut object = object.clone();
    object["apiVersion"] = json!("managedredis.dev/v1alpha1");
    object["kind"] = json!("RedisClusterRef");
    object["metadata"] = json!({ "name": "kept" });
    let api: Api<RedisClusterRef> = Api::namespaced(client.clone(), TENANT);
    let params = PatchParams::apply("chart").force().validation_strict();
    match api.patch("kept", &params, &Patch::Apply(&object)).await {
        Ok(_) => Ok(Ok(())),
        Err(kube::Error::Api(status)) => Ok(Err(status.message.clone())),
        Err(error) => Err(error.into()),
    }
}

async fn has_suspend(client: &Client) -> anyhow::Result<bool> {
    let crd = Api::<CustomResourceDefinition>::all(client.clone()).get(CLUSTER_REFS).await?;
    let field = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/suspend";
    Ok(json!(crd).pointer(field).is_some())
}

/// Asks again until the answer is good.
///
/// # Errors
/// With the last answer after a minute; at once what is no answer.
pub(super) async fn eventually<F>(what: &str, mut ask: impl FnMut() -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<Result<(), String>>>,
{
    let started = Instant::now();
    loop {
        let Err(answer) = ask().await? else { return Ok(()) };
        ensure!(started.elapsed() < BOUND, "not within {} s: {what}: {answer}", BOUND.as_secs());
        tokio::time::sleep(POLL).await;
    }
}

/// A copy of the chart whose RedisClusterRef has no `spec.suspend`.
fn older_chart(scratch: &Path) -> anyhow::Result<PathBuf> {
    let older = scratch.join("older").join(RELEASE);
    chart::copy_to(&older)?;
    for crd in crds() {
        let mut crd = json!(crd);
        if crd["metadata"]["name"] != CLUSTER_REFS {
            continue;
        }
        let properties = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        let removed =
            crd.pointer_mut(properties).and_then(Value::as_object_mut).and_then(|fields| fields.remove("suspend"));
        ensure!(removed.is_some(), "RedisClusterRef has no spec.suspend to take away");
        let (name, text) = generate::crd_template(&crd)?;
        let path = older.join("templates/crds").join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(older)
}
