//! What happens to objects when the release changes or goes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use delivery::chart;
use delivery::examples::NAMESPACE as SHOP;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::api::rbac::v1::{ClusterRole, Role};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, PostParams};
use managed_redis_operator::api::flush_request::FlushPhase;
use managed_redis_operator::api::{RedisClusterRef, crds};
use serde_json::{Value, json};

use super::cloud::{self, ClusterCloud};
use super::cluster::TestCluster;
use super::flush::{CreatedFlush, INSTANCE};
use super::namespace::restricted;
use super::release::{self, RELEASE};
use super::until::until;

/// A namespace that the operator is told not to look at.
pub(super) const OTHER: &str = "managed-redis-e2e-other";
const WITHIN: Duration = Duration::from_secs(60);
const CLUSTER_REFS: &str = "redisclusterrefs.managedredis.dev";
/// An instance of the fake cloud's seed that runs.
const RUNNING: &str = "882701";
/// A column that no version has.
const COLUMN: &str = "E2E";

/// `helm upgrade` to a chart with another CRD: the CRD changes, its objects stay the same ones, and back again.
///
/// # Errors
/// When the CRD does not change, or an object is another.
pub(super) async fn crd_changed(cluster: &TestCluster, values: &Value) -> anyhow::Result<String> {
    let before = uids(cluster).await?;
    let newer = newer_chart(cluster.helm.scratch())?;
    release::upgrade(cluster, &newer, values).await?;
    ensure!(has_column(cluster).await?, "helm upgrade did not change the CRD");
    ensure!(uids(cluster).await? == before, "objects were replaced by the upgrade");
    release::upgrade_here(cluster, values).await?;
    ensure!(!has_column(cluster).await?, "helm upgrade did not change the CRD back");
    ensure!(uids(cluster).await? == before, "objects were replaced on the way back");
    Ok(format!("a column of {CLUSTER_REFS} renamed and back; the same {} objects", before.len()))
}

/// A copy of the chart whose CRD of RedisClusterRef calls a column otherwise.
fn newer_chart(scratch: &Path) -> anyhow::Result<PathBuf> {
    let copy = scratch.join("newer-chart");
    chart::copy_to(&copy)?;
    let path = copy.join("templates/crds/managedredis.dev_redisclusterrefs.yaml");
    let text = std::fs::read_to_string(&path)?;
    let newer = text.replacen("name: Mode\n", &format!("name: {COLUMN}\n"), 1);
    ensure!(newer != text, "{} has no column Mode", path.display());
    std::fs::write(&path, newer)?;
    Ok(copy)
}

async fn has_column(cluster: &TestCluster) -> anyhow::Result<bool> {
    let api: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let crd = api.get(CLUSTER_REFS).await.context("cannot read the CRD")?;
    let columns = crd.spec.versions.iter().filter_map(|version| version.additional_printer_columns.as_ref()).flatten();
    Ok(columns.into_iter().any(|column| column.name == COLUMN))
}

/// UIDs of all references of the shop.
async fn uids(cluster: &TestCluster) -> anyhow::Result<Vec<String>> {
    let api: Api<RedisClusterRef> = Api::namespaced(cluster.client.clone(), SHOP);
    let list = api.list(&ListParams::default()).await.context("cannot list the references")?;
    let mut uids: Vec<String> = list.items.iter().filter_map(RedisClusterRef::uid).collect();
    uids.sort();
    Ok(uids)
}

/// With `watchNamespaces`, other namespaces are left alone and there is no right to them.
///
/// # Errors
/// When an object outside is touched, or one inside is not.
pub(super) async fn watch_namespaces(cluster: &TestCluster, values: &Value) -> anyhow::Result<String> {
    let mut narrow = values.clone();
    narrow["watchNamespaces"] = json!([SHOP]);
    release::upgrade_here(cluster, &narrow).await?;
    let cluster_roles: Api<ClusterRole> = Api::all(cluster.client.clone());
    let role = cluster_roles.get_opt(RELEASE).await.context("cannot read the ClusterRole")?;
    ensure!(role.is_none(), "there is still a ClusterRole {RELEASE}");
    let roles: Api<Role> = Api::namespaced(cluster.client.clone(), SHOP);
    roles.get(RELEASE).await.with_context(|| format!("cannot read the Role in {SHOP}"))?;

    restricted(&cluster.client, OTHER).await?;
    copy_secret(cluster, "ncp").await?;
    cluster.create_reference(OTHER, "outside", RUNNING).await?;
    // Created later, seen earlier: the one outside is not just slow.
    cluster.create_reference(SHOP, "inside", RUNNING).await?;
    wait_for_status(cluster, SHOP, "inside").await?;
    let outside: Api<RedisClusterRef> = Api::namespaced(cluster.client.clone(), OTHER);
    let untouched = outside.get("outside").await.context("cannot read the reference outside")?;
    let fields = untouched.managed_fields().iter().filter_map(|entry| entry.manager.clone()).collect::<Vec<_>>();
    ensure!(!fields.contains(&RELEASE.to_owned()), "the operator wrote to an object outside");
    Ok("a Role instead of the ClusterRole; the object outside is untouched".to_owned())
}

/// Without `watchNamespaces` again, the object outside is taken up.
///
/// # Errors
/// When it is not, or there is no ClusterRole.
pub(super) async fn all_namespaces(cluster: &TestCluster, values: &Value) -> anyhow::Result<String> {
    release::upgrade_here(cluster, values).await?;
    let cluster_roles: Api<ClusterRole> = Api::all(cluster.client.clone());
    cluster_roles.get(RELEASE).await.context("cannot read the ClusterRole")?;
    wait_for_status(cluster, OTHER, "outside").await?;
    Ok("the ClusterRole is back, the object outside is taken up".to_owned())
}

async fn copy_secret(cluster: &TestCluster, name: &str) -> anyhow::Result<()> {
    let failed = |what: &str| format!("cannot {what} the Secret {name}");
    let shop: Api<Secret> = Api::namespaced(cluster.client.clone(), SHOP);
    let found = shop.get(name).await.with_context(|| failed("read"))?;
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let copy = Secret { metadata, data: found.data, ..Secret::default() };
    let other: Api<Secret> = Api::namespaced(cluster.client.clone(), OTHER);
    other.create(&PostParams::default(), &copy).await.map(drop).with_context(|| failed("copy"))
}

async fn wait_for_status(cluster: &TestCluster, namespace: &str, name: &str) -> anyhow::Result<()> {
    let api: Api<RedisClusterRef> = Api::namespaced(cluster.client.clone(), namespace);
    until(&format!("the reference {namespace}/{name} is running"), WITHIN, || async {
        let found = api.get(name).await.with_context(|| format!("cannot read {namespace}/{name}"))?;
        let state = found.status.and_then(|status| status.state);
        Ok(if state.as_deref() == Some("running") { Ok(()) } else { Err(format!("its state is {state:?}")) })
    })
    .await
}

/// `helm uninstall` in the middle of a flush, which takes the operator's rights away while it works: objects, their statuses,
/// ConfigMaps and CRDs stay. Installed again, the operator follows the same flush to its end.
///
/// # Errors
/// When something is gone, or the flush does not succeed, or is done twice.
pub(super) async fn installed_again(
    cluster: &TestCluster,
    cloud: &ClusterCloud,
    values: &Value,
) -> anyhow::Result<String> {
    let (before, flushes) = (uids(cluster).await?, cloud.effects().await?.flushes_of(INSTANCE));
    let flush = CreatedFlush::create(cluster, "uninstalled-while-flushing").await?;
    flush.reaches(&[FlushPhase::Accepted]).await?;
    uninstall(cluster).await?;
    ensure!(uids(cluster).await? == before, "references went with the release");
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), SHOP);
    maps.get("orders-redis").await.context("cannot read the ConfigMap orders-redis")?;
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    for crd in crds() {
        definitions.get(&crd.name_any()).await.context("cannot read a CRD")?;
    }
    release::upgrade_here(cluster, values).await?;
    flush.reaches(&[FlushPhase::Succeeded]).await?;
    let flushes = cloud.effects().await?.flushes_of(INSTANCE) - flushes;
    ensure!(flushes == 1, "{flushes} flushes for one request");
    Ok(format!("{} references and {} CRDs kept; installed again, Succeeded, one flush", before.len(), crds().len()))
}

/// `helm uninstall` with nothing under way: what is deleted afterwards waits for no operator.
///
/// # Errors
/// When an object stays.
pub(super) async fn uninstalled(cluster: &TestCluster) -> anyhow::Result<String> {
    uninstall(cluster).await?;
    let deleted = cluster.kubectl(&["delete", "managedredis", "--all", "--namespace", SHOP, "--timeout=60s"]).await?;
    Ok(format!("then {} objects deleted, none of which waits for a finalizer", deleted.lines().count()))
}

async fn uninstall(cluster: &TestCluster) -> anyhow::Result<()> {
    cluster.helm.run(&["uninstall", RELEASE, "--namespace", release::NAMESPACE, "--wait", "--timeout=60s"]).await?;
    until("the operator's pods are gone", WITHIN, || async {
        let left = release::pods(cluster).await?.len();
        Ok(if left == 0 { Ok(()) } else { Err(format!("{left} are left")) })
    })
    .await
}

/// Removes what the tests have made, all of which has to go without an operator.
///
/// # Errors
/// When something stays.
pub(super) async fn tidied_up(cluster: &TestCluster) -> anyhow::Result<String> {
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let ours = [SHOP, OTHER, cloud::NAMESPACE, release::NAMESPACE];
    for name in ours {
        // That of a step that was left out is not there.
        let _ = namespaces.delete(name, &DeleteParams::default()).await;
    }
    until("the tests' namespaces are gone", Duration::from_secs(120), || async {
        let list = namespaces.list(&ListParams::default()).await.context("cannot list namespaces")?;
        let left: Vec<String> =
            list.items.iter().map(Namespace::name_any).filter(|n| ours.contains(&n.as_str())).collect();
        Ok(if left.is_empty() { Ok(()) } else { Err(format!("{} are left", left.join(", "))) })
    })
    .await?;
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    for crd in crds() {
        let deleted = definitions.delete(&crd.name_any(), &DeleteParams::default()).await;
        deleted.context("cannot delete a CRD")?;
    }
    Ok(format!("{} namespaces and {} CRDs deleted", ours.len(), crds().len()))
}
